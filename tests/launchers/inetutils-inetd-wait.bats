# SPDX-License-Identifier: MIT
# inetutils-inetd with its shipped line of the resident decant, which is a comment as long as the first one is in force.
# Its tcp is IPv4 alone, and tcp6 is both.
# shellcheck disable=SC2119,SC2120 # it is the table that passes an argument to serve

load cases

# serve [SED-EXPRESSION]: with the line as it is, or changed
serve() {
    unpacked inetutils-inetd /usr/sbin/inetutils-inetd
    sed -e '/^7070/d' -e 's/^#\(7070	stream	tcp6	wait\.\)/\1/' -e "${1-}" \
        "$BATS_FILE_TMPDIR/tree/usr/local/share/doc/decant/decant.inetd" >"$T/inetd.conf"
    [[ $(grep -c ^7070 "$T/inetd.conf") == 1 ]] || fail 'not one line:' "$(cat "$T/inetd.conf")"
    enter "${run[@]}" "$program" "$T/inetd.conf"
}

@test "inetutils-inetd-wait: the whole file" { case_whole; }
@test "inetutils-inetd-wait: an empty file" { case_empty; }
@test "inetutils-inetd-wait: a client that talks first" { case_talks_first; }
@test "inetutils-inetd-wait: a client that closes its sending side" { case_half_closes; }
@test "inetutils-inetd-wait: a client that leaves" { case_leaves; }
@test "inetutils-inetd-wait: a client that pauses, and the next" { case_midway; }
@test "inetutils-inetd-wait: SIGKILL in mid-transfer" { case_killed; }
@test "inetutils-inetd-wait: SIGTERM in mid-transfer" { case_terminated; }
@test "inetutils-inetd-wait: a missing file" { case_missing; }
@test "inetutils-inetd-wait: 600 quick clients" { case_quick; }
@test "inetutils-inetd-wait: 50 clients at once" { case_at_once; }
@test "inetutils-inetd-wait: a file that nobody may read" { case_unreadable; }
@test "inetutils-inetd-wait: runs as nobody" { case_as_nobody; }
@test "inetutils-inetd-wait: ends when it is idle, and is started again" { case_idle; }
@test "inetutils-inetd-wait: a new file, put in place by rename" { case_renamed; }
@test "inetutils-inetd-wait: a missing file, 100 quick clients" { case_missing_often; }
@test "inetutils-inetd-wait: a decant that is taken over" { case_attacked; }

@test "inetutils-inetd-wait: both families" {
    payload 3000000
    serve
    gets_over_both
}
