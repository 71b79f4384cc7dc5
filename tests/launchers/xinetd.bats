# SPDX-License-Identifier: MIT
# xinetd with the shipped entry, copied to /etc/xinetd.d as the README says. Its defaults, `cps = 50 10`, close the
# port for ten seconds after fifty quick clients; a word of the entry that it does not know is a line in syslog and
# no service at all.

load cases

# serve [SED-EXPRESSION]: with the entry as it is, or with a line of it changed
serve() {
    need xinetd
    install -d "$T/world/etc/xinetd.d"
    sed "${1-}" "$BATS_FILE_TMPDIR/tree/usr/local/share/doc/decant/decant.xinetd" >"$T/world/etc/xinetd.d/decant"
    enter xinetd -stayalive
}

@test "xinetd: the whole file" { case_whole; }
@test "xinetd: an empty file" { case_empty; }
@test "xinetd: a client that talks first" { case_talks_first; }
@test "xinetd: a client that closes its sending side" { case_half_closes; }
@test "xinetd: a client that leaves" { case_leaves; }
@test "xinetd: a client that pauses, and the next" { case_midway; }
@test "xinetd: SIGKILL in mid-transfer" { case_killed; }
@test "xinetd: SIGTERM in mid-transfer" { case_terminated; }
@test "xinetd: a missing file" { case_missing; }
@test "xinetd: 600 quick clients" { case_quick; }
@test "xinetd: 50 clients at once" { case_at_once; }
@test "xinetd: a file that nobody may read" { case_unreadable; }
@test "xinetd: runs as nobody" { case_as_nobody; }
@test "xinetd: a decant that is taken over" { case_attacked; }

@test "xinetd: with the entry's line for IPv6, both families" {
    payload 3000000
    serve 's/^#\(	flags .*\)/\1/'
    gets_over_both
}
