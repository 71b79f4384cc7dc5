# SPDX-License-Identifier: MIT
# openbsd-inetd with the shipped line. Without the number behind nowait it closes the service for ten minutes after
# 256 starts within one: of 600 clients 345 saw zero bytes and a clean end, like an empty file.

load cases

serve() {
    unpacked openbsd-inetd /usr/sbin/inetd
    cp "$BATS_FILE_TMPDIR/tree/usr/local/share/doc/decant/decant.inetd" "$T/inetd.conf"
    enter "${run[@]}" "$program" "$T/inetd.conf"
}

@test "openbsd-inetd: the whole file" { case_whole; }
@test "openbsd-inetd: an empty file" { case_empty; }
@test "openbsd-inetd: a client that talks first" { case_talks_first; }
@test "openbsd-inetd: a client that closes its sending side" { case_half_closes; }
@test "openbsd-inetd: a client that leaves" { case_leaves; }
@test "openbsd-inetd: a client that pauses, and the next" { case_midway; }
@test "openbsd-inetd: SIGKILL in mid-transfer" { case_killed; }
@test "openbsd-inetd: SIGTERM in mid-transfer" { case_terminated; }
@test "openbsd-inetd: a missing file" { case_missing; }
@test "openbsd-inetd: 600 quick clients" { case_quick; }
@test "openbsd-inetd: 50 clients at once" { case_at_once; }
@test "openbsd-inetd: a file that nobody may read" { case_unreadable; }
@test "openbsd-inetd: runs as nobody" { case_as_nobody; }
@test "openbsd-inetd: a decant that is taken over" { case_attacked; }

@test "openbsd-inetd: both families" {
    payload 3000000
    serve
    gets_over_both
}
