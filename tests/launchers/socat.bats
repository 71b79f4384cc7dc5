# SPDX-License-Identifier: MIT
# socat EXEC:...,nofork with the manual's command: the one launcher that is replaced by decant after it has used the
# connection itself, with the options and signal dispositions that it set.

load cases

serve() {
    need socat
    documented socat
    enter sh -c "$command"
    log=err
}

@test "socat: the whole file" { case_whole; }
@test "socat: an empty file" { case_empty; }
@test "socat: a client that talks first" { case_talks_first; }
@test "socat: a client that closes its sending side" { case_half_closes; }
@test "socat: a client that leaves" { case_leaves; }
@test "socat: a client that pauses, and the next" { case_midway; }
@test "socat: SIGKILL in mid-transfer" { case_killed; }
@test "socat: SIGTERM in mid-transfer" { case_terminated; }
@test "socat: a missing file" { case_missing; }
@test "socat: 600 quick clients" { case_quick; }
@test "socat: 50 clients at once" { case_at_once; }
@test "socat: a decant that is taken over" { case_attacked; }
