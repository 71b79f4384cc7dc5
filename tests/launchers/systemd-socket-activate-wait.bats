# SPDX-License-Identifier: MIT
# systemd-socket-activate with the manual's command, without --accept. It becomes the resident decant itself when the
# first client is there, and nobody keeps the socket: what ends decant, ends the port. So it is to try it, as
# `make run-resident` does, and no way to serve.

load cases

# serve [DECANT-OPTION...]
serve() {
    need systemd-socket-activate
    documented systemd-socket-activate
    [[ $command == *' --accept '*' decant /'* ]] || fail "the manual has '$command'"
    command=${command/ --accept / }
    enter sh -c "${command/ decant / decant $* }"
    log=err
    keeps=
}

@test "systemd-socket-activate-wait: the whole file" { case_whole; }
@test "systemd-socket-activate-wait: an empty file" { case_empty; }
@test "systemd-socket-activate-wait: a client that talks first" { case_talks_first; }
@test "systemd-socket-activate-wait: a client that closes its sending side" { case_half_closes; }
@test "systemd-socket-activate-wait: a client that leaves" { case_leaves; }
@test "systemd-socket-activate-wait: a client that pauses, and the next" { case_midway; }
@test "systemd-socket-activate-wait: SIGTERM in mid-transfer" { case_terminated; }
@test "systemd-socket-activate-wait: a missing file" { case_missing; }
@test "systemd-socket-activate-wait: 600 quick clients" { case_quick; }
@test "systemd-socket-activate-wait: 50 clients at once" { case_at_once; }
@test "systemd-socket-activate-wait: a new file, put in place by rename" { case_renamed; }
@test "systemd-socket-activate-wait: a decant that is taken over" { case_attacked; }

@test "systemd-socket-activate-wait: SIGKILL in mid-transfer resets, and takes the port along" {
    payload 20000000
    serve
    midway one
    kill -KILL "$pid"
    go
    client_gets one 'reset *'
    client_has_start one "$file"
    wait_for 20 no_port
}

@test "systemd-socket-activate-wait: ends when it is idle, and takes the port along" {
    payload 100000
    serve --idle-exit=2s
    client one drain
    client_has_all one "$file"
    client two drain
    client_has_all two "$file"
    wait_for 20 no_decant
    no_port
    logs info "complete: .* to $peer: $all" 2
}
