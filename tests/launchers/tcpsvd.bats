# SPDX-License-Identifier: MIT
# tcpsvd (ipsvd) with the manual's command. It serves 30 clients at a time and lets the others wait in silence, so
# thirty slow clients are an outage unless the command says otherwise.

load cases

serve() {
    need tcpsvd
    documented tcpsvd
    enter sh -c "$command"
    log=err
}

@test "tcpsvd: the whole file" { case_whole; }
@test "tcpsvd: an empty file" { case_empty; }
@test "tcpsvd: a client that talks first" { case_talks_first; }
@test "tcpsvd: a client that closes its sending side" { case_half_closes; }
@test "tcpsvd: a client that leaves" { case_leaves; }
@test "tcpsvd: a client that pauses, and the next" { case_midway; }
@test "tcpsvd: SIGKILL in mid-transfer" { case_killed; }
@test "tcpsvd: SIGTERM in mid-transfer" { case_terminated; }
@test "tcpsvd: a missing file" { case_missing; }
@test "tcpsvd: 600 quick clients" { case_quick; }
@test "tcpsvd: 50 clients at once" { case_at_once; }
@test "tcpsvd: a decant that is taken over" { case_attacked; }
