# SPDX-License-Identifier: MIT
# xinetd with the shipped entry of the resident decant, copied to /etc/xinetd.d as the README says. With `wait` it
# leaves the port to decant, so that its instances and per_source are nothing to the clients; a start that fails at
# once for a client that stays in the queue would soon reach cps, and close the port.

load cases

# serve [SED-EXPRESSION]: with the entry as it is, or with a line of it changed
serve() {
    need xinetd
    install -d "$T/world/etc/xinetd.d"
    sed "${1-}" "$BATS_FILE_TMPDIR/tree/usr/local/share/doc/decant/decantd.xinetd" >"$T/world/etc/xinetd.d/decantd"
    enter xinetd -stayalive
}

@test "xinetd-wait: the whole file" { case_whole; }
@test "xinetd-wait: an empty file" { case_empty; }
@test "xinetd-wait: a client that talks first" { case_talks_first; }
@test "xinetd-wait: a client that closes its sending side" { case_half_closes; }
@test "xinetd-wait: a client that leaves" { case_leaves; }
@test "xinetd-wait: a client that pauses, and the next" { case_midway; }
@test "xinetd-wait: SIGKILL in mid-transfer" { case_killed; }
@test "xinetd-wait: SIGTERM in mid-transfer" { case_terminated; }
@test "xinetd-wait: a missing file" { case_missing; }
@test "xinetd-wait: 600 quick clients" { case_quick; }
@test "xinetd-wait: 50 clients at once" { case_at_once; }
@test "xinetd-wait: a file that nobody may read" { case_unreadable; }
@test "xinetd-wait: runs as nobody" { case_as_nobody; }
@test "xinetd-wait: ends when it is idle, and is started again" { case_idle; }
@test "xinetd-wait: a new file, put in place by rename" { case_renamed; }
@test "xinetd-wait: a missing file, 100 quick clients" { case_missing_often; }
@test "xinetd-wait: a decant that is taken over" { case_attacked; }

@test "xinetd-wait: with the entry's line for IPv6, both families" {
    payload 3000000
    serve 's/^#\(	flags .*\)/\1/'
    gets_over_both
}
