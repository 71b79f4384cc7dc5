# SPDX-License-Identifier: MIT
# A process that is killed in the middle closes its socket like one that has finished: the client
# saw a clean end of stream at 5 % of the file, and took it for the whole. And where a supervisor
# holds a duplicate, even an orderly abort by close(2) is not seen by anybody.

load common

# dies SIGNAL STATUS [HAND-OPTION...]: in the middle
dies() {
    # What a sanitizer makes of a crash is none of this test's concern.
    export ASAN_OPTIONS="$ASAN_OPTIONS:handle_segv=0:handle_abort=0"
    ulimit -c 0
    make_file file 20000000
    start_midway "${systemd[@]}" "${@:3}" -- "$file"
    kill -"$1" "$decant_pid"
    wait_for_decant
    go
    client_gets one 'reset *'
    client_has_start one "$file"
    decant_gives "$2"
}

reports_stop() {
    says '^decant: stopped: .*: [0-9]+ of 20000000 bytes sent, [0-9]+ acknowledged, .*signal'
}

@test "SIGKILL" { dies KILL 137; }
@test "SIGSEGV" { dies SEGV 139; }
@test "SIGABRT" { dies ABRT 134; }
@test "SIGHUP" { dies HUP 129; }
@test "SIGTERM" { dies TERM 75 && reports_stop; }
@test "SIGINT" { dies INT 75 && reports_stop; }
@test "SIGKILL under inetd" {
    make_file file 20000000
    start_midway "${inetd[@]}" -- "$file"
    kill -KILL "$decant_pid"
    wait_for_decant
    go
    client_gets one 'reset *'
    client_has_start one "$file"
}
@test "SIGKILL, over IPv6" { dies KILL 137 --listen=tcp6; }
@test "SIGTERM, over IPv6" { dies TERM 75 --listen=tcp6 && reports_stop; }

@test "SIGKILL, over MPTCP" { need_mptcp && dies KILL 137 --listen=mptcp; }
@test "SIGTERM, over MPTCP" { need_mptcp && dies TERM 75 --listen=mptcp && reports_stop; }

@test "SIGTERM, over a UNIX socket, which knows no reset: cut short, and told so" {
    make_file file 20000000
    start_midway "${systemd[@]}" --listen=unix="$T/socket" -- "$file"
    kill -TERM "$decant_pid"
    decant_gives 75
    go
    client_gets one '* *'
    client_has_start one "$file"
    (($(stat -c %s "$T/one") < 20000000)) || fail "nothing is missing"
    reports_stop
}

@test "SIGTERM with three clients resets and reports each" {
    local name

    make_file file 20000000
    start --at=0:null --at=3:client --at=4:client2 --at=5:client3 --listen-fds=3 -- "$file"
    for name in a b c; do
        client "$name" read=100000 "touch=$T/midway-$name" "wait-file=$T/go" drain
    done
    for name in a b c; do
        wait_for 30 test -e "$T/midway-$name"
    done
    kill -TERM "$decant_pid"
    decant_gives 75
    go
    for name in a b c; do
        client_gets "$name" 'reset *'
    done
    [[ $(grep -c 'stopped: ' "$T/err") == 3 ]] || fail "not three reports"
}

# The end must not be promised to the client before it has every byte.
@test "a tail that waits in the send queue has no end behind it" {
    start_with_tail # which has looked that the socket is still open
    go
    client_has_all one "$file"
    decant_gives 0
}

@test "SIGKILL while a tail waits in the send queue" {
    start_with_tail
    kill -KILL "$decant_pid"
    wait_for_decant
    go
    client_gets one 'reset *'
}

@test "SIGTERM while a tail waits in the send queue" {
    start_with_tail
    kill -TERM "$decant_pid"
    decant_gives 75
    go
    client_gets one 'reset *'
}

@test "SIGKILL after the end has been sent: whole" {
    make_file file 30000
    start "${systemd[@]}" -- "$file"
    client one wait-end "touch=$T/midway" "wait-file=$T/go" drain
    wait_for 30 test -e "$T/midway"
    kill -KILL "$decant_pid"
    wait_for_decant
    go
    client_has_all one "$file"
}

@test "SIGKILL after the end has been sent and while the tail is in the send queue: whole" {
    start_with_tail_and_end
    kill -KILL "$decant_pid"
    wait_for_decant
    go
    client_has_all one "$file"
}

# A supervisor, or systemd's store, has the same socket open.
start_with_duplicate() {
    start_midway "${systemd[@]}" --duplicate="$T/duplicate" -- "$@"
    own_pids+=("$(cat "$T/duplicate")")
}

reset_despite_duplicate() {
    go
    client_gets one 'reset *'
    client_has_start one "$file"
    decant_gives "$1"
    kill -0 "${own_pids[0]}" || fail "there is no duplicate any more: this proves nothing"
}

@test "SIGTERM while another process holds a duplicate of the socket" {
    make_file file 20000000
    start_with_duplicate "$file"
    kill -TERM "$decant_pid"
    wait_for_decant
    reset_despite_duplicate 75
}

@test "a stalled client while another process holds a duplicate" {
    make_file file 20000000
    start_with_duplicate --stall-timeout=300ms "$file"
    wait_for_decant
    reset_despite_duplicate 75
}

@test "a truncated file while another process holds a duplicate" {
    make_file file 20000000
    start_with_duplicate "$file"
    truncate -s 1000 "$file"
    go
    client_gets one 'reset *'
    decant_gives 65
    kill -0 "${own_pids[0]}"
}

@test "a missing file while another process holds a duplicate" {
    start "${systemd[@]}" --duplicate="$T/duplicate" -- "$T/missing"
    client one drain
    client_is_refused one
    decant_gives 66
    own_pids+=("$(cat "$T/duplicate")")
    kill -0 "${own_pids[0]}"
}

@test "the whole file while another process holds a duplicate" {
    make_file file 2000000
    start "${systemd[@]}" --duplicate="$T/duplicate" -- "$file"
    client one drain
    client_has_all one "$file"
    decant_gives 0
    own_pids+=("$(cat "$T/duplicate")")
    kill -0 "${own_pids[0]}"
}
