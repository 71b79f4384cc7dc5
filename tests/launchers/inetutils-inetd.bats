# SPDX-License-Identifier: MIT
# inetutils-inetd with the shipped line for it, which is a comment as long as the other one is in force. It may
# close the service for ten minutes: its manual says after 40 starts within one, and version 2.4 bears 600.

load cases

serve() {
    unpacked inetutils-inetd /usr/sbin/inetutils-inetd
    sed -e '/^7070/d' -e 's/^#\(7070.*\)/\1/' "$BATS_FILE_TMPDIR/tree/usr/local/share/doc/decant/decant.inetd" \
        >"$T/inetd.conf"
    enter "${run[@]}" "$program" "$T/inetd.conf"
}

@test "inetutils-inetd: the whole file" { case_whole; }
@test "inetutils-inetd: an empty file" { case_empty; }
@test "inetutils-inetd: a client that talks first" { case_talks_first; }
@test "inetutils-inetd: a client that closes its sending side" { case_half_closes; }
@test "inetutils-inetd: a client that leaves" { case_leaves; }
@test "inetutils-inetd: a client that pauses, and the next" { case_midway; }
@test "inetutils-inetd: SIGKILL in mid-transfer" { case_killed; }
@test "inetutils-inetd: SIGTERM in mid-transfer" { case_terminated; }
@test "inetutils-inetd: a missing file" { case_missing; }
@test "inetutils-inetd: 600 quick clients" { case_quick; }
@test "inetutils-inetd: 50 clients at once" { case_at_once; }
@test "inetutils-inetd: a file that nobody may read" { case_unreadable; }
@test "inetutils-inetd: runs as nobody" { case_as_nobody; }
@test "inetutils-inetd: a decant that is taken over" { case_attacked; }

@test "inetutils-inetd: both families" {
    payload 3000000
    serve
    gets_over_both
}

@test "inetutils-inetd: the line for openbsd-inetd serves IPv4" {
    payload 3000000
    unpacked inetutils-inetd /usr/sbin/inetutils-inetd
    cp "$BATS_FILE_TMPDIR/tree/usr/local/share/doc/decant/decant.inetd" "$T/inetd.conf"
    enter "${run[@]}" "$program" "$T/inetd.conf"
    client one drain
    client_has_all one "$file"
    logs info "complete: .* to $peer: $all"
}
