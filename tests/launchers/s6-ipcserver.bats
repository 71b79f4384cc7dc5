# SPDX-License-Identifier: MIT
# s6-ipcserver (s6) with the manual's command: a UNIX socket, where there is no reset. So what a client sees of a
# transfer that was cut is a clean end, and what is tested is that the report tells. It closes the 41st client of a
# user before decant starts, which looks like an empty file, unless the command says otherwise.

load cases

serve() {
    need s6-ipcserver
    documented s6-ipcserver
    enter sh -c "$command"
    log=err
    cut=eof
    printf 'unix=%s\n' "$T/world/run/decant.socket" >"$T/address"
    peer='unix:pid=0:uid=0' # 0: that process is not of decant's namespace
}

@test "s6-ipcserver: the whole file" { case_whole; }
@test "s6-ipcserver: an empty file" { case_empty; }
@test "s6-ipcserver: a client that talks first" { case_talks_first; }
@test "s6-ipcserver: a client that closes its sending side" { case_half_closes; }
@test "s6-ipcserver: a client that leaves" { case_leaves; }
@test "s6-ipcserver: a client that pauses, and the next" { case_midway; }
@test "s6-ipcserver: SIGKILL in mid-transfer" { case_killed; }
@test "s6-ipcserver: SIGTERM in mid-transfer" { case_terminated; }
@test "s6-ipcserver: a missing file" { case_missing; }
@test "s6-ipcserver: 600 quick clients" { case_quick; }
@test "s6-ipcserver: 50 clients at once" { case_at_once; }
@test "s6-ipcserver: a decant that is taken over" { case_attacked; }
