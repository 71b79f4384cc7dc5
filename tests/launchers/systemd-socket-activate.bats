# SPDX-License-Identifier: MIT
# systemd-socket-activate with the manual's command, the first that a reader tries, on a host whose process 1 may be
# anything. tests/black-box/launchers.bats has its other modes.

load cases

serve() {
    need systemd-socket-activate
    documented systemd-socket-activate
    enter sh -c "$command"
    log=err
}

@test "systemd-socket-activate: the whole file" { case_whole; }
@test "systemd-socket-activate: an empty file" { case_empty; }
@test "systemd-socket-activate: a client that talks first" { case_talks_first; }
@test "systemd-socket-activate: a client that closes its sending side" { case_half_closes; }
@test "systemd-socket-activate: a client that leaves" { case_leaves; }
@test "systemd-socket-activate: a client that pauses, and the next" { case_midway; }
@test "systemd-socket-activate: SIGKILL in mid-transfer" { case_killed; }
@test "systemd-socket-activate: SIGTERM in mid-transfer" { case_terminated; }
@test "systemd-socket-activate: a missing file" { case_missing; }
@test "systemd-socket-activate: 600 quick clients" { case_quick; }
@test "systemd-socket-activate: 50 clients at once" { case_at_once; }
@test "systemd-socket-activate: a decant that is taken over" { case_attacked; }
