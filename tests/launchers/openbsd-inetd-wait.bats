# SPDX-License-Identifier: MIT
# openbsd-inetd with its shipped line of the resident decant, which is a comment as long as the first one is in force.
# Beyond so many starts in a minute it closes the service for ten, and one decant for all is far from that.
# shellcheck disable=SC2119,SC2120 # it is the table that passes an argument to serve

load cases

# serve [SED-EXPRESSION]: with the line as it is, or changed
serve() {
    unpacked openbsd-inetd /usr/sbin/inetd
    sed -e '/^7070/d' -e 's/^#\(7070	stream	tcp	wait\.\)/\1/' -e "${1-}" \
        "$BATS_FILE_TMPDIR/tree/usr/local/share/doc/decant/decant.inetd" >"$T/inetd.conf"
    [[ $(grep -c ^7070 "$T/inetd.conf") == 1 ]] || fail 'not one line:' "$(cat "$T/inetd.conf")"
    enter "${run[@]}" "$program" "$T/inetd.conf"
}

@test "openbsd-inetd-wait: the whole file" { case_whole; }
@test "openbsd-inetd-wait: an empty file" { case_empty; }
@test "openbsd-inetd-wait: a client that talks first" { case_talks_first; }
@test "openbsd-inetd-wait: a client that closes its sending side" { case_half_closes; }
@test "openbsd-inetd-wait: a client that leaves" { case_leaves; }
@test "openbsd-inetd-wait: a client that pauses, and the next" { case_midway; }
@test "openbsd-inetd-wait: SIGKILL in mid-transfer" { case_killed; }
@test "openbsd-inetd-wait: SIGTERM in mid-transfer" { case_terminated; }
@test "openbsd-inetd-wait: a missing file" { case_missing; }
@test "openbsd-inetd-wait: 600 quick clients" { case_quick; }
@test "openbsd-inetd-wait: 50 clients at once" { case_at_once; }
@test "openbsd-inetd-wait: a file that nobody may read" { case_unreadable; }
@test "openbsd-inetd-wait: runs as nobody" { case_as_nobody; }
@test "openbsd-inetd-wait: ends when it is idle, and is started again" { case_idle; }
@test "openbsd-inetd-wait: a new file, put in place by rename" { case_renamed; }
@test "openbsd-inetd-wait: a missing file, 100 quick clients" { case_missing_often; }
@test "openbsd-inetd-wait: a decant that is taken over" { case_attacked; }

@test "openbsd-inetd-wait: both families" {
    payload 3000000
    serve
    gets_over_both
}
