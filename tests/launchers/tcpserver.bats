# SPDX-License-Identifier: MIT
# tcpserver (ucspi-tcp) with the manual's command. It serves 40 clients at a time and lets the others wait in silence,
# so forty slow clients are an outage unless the command says otherwise.

load cases

serve() {
    need tcpserver
    documented tcpserver
    enter sh -c "$command"
    log=err
}

@test "tcpserver: the whole file" { case_whole; }
@test "tcpserver: an empty file" { case_empty; }
@test "tcpserver: a client that talks first" { case_talks_first; }
@test "tcpserver: a client that closes its sending side" { case_half_closes; }
@test "tcpserver: a client that leaves" { case_leaves; }
@test "tcpserver: a client that pauses, and the next" { case_midway; }
@test "tcpserver: SIGKILL in mid-transfer" { case_killed; }
@test "tcpserver: SIGTERM in mid-transfer" { case_terminated; }
@test "tcpserver: a missing file" { case_missing; }
@test "tcpserver: 600 quick clients" { case_quick; }
@test "tcpserver: 50 clients at once" { case_at_once; }
@test "tcpserver: a decant that is taken over" { case_attacked; }
