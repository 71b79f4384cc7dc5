# SPDX-License-Identifier: MIT
# A process that is killed in the middle closes its socket like one that has finished: the client
# saw a clean end of stream at 5 % of the file, and took it for the whole.

load common

# dies SIGNAL STATUS [HAND-OPTION...]: in the middle; the client takes nothing before it is dead
dies() {
    # What a sanitizer makes of a crash is none of this test's concern.
    export ASAN_OPTIONS="$ASAN_OPTIONS:handle_segv=0:handle_abort=0"
    ulimit -c 0
    make_file file 20000000
    start_midway "${systemd[@]}" "${@:3}" -- "${stopping[@]}" "$file"
    kill -"$1" "$decant_pid"
    wait_for_decant
    go
    client_gets one 'reset *'
    client_has_start one "$file"
    decant_gives "$2"
}

reports_stop() {
    says '^decant: stopped: .*: [0-9]+ of 20000000 bytes sent, [0-9]+ acknowledged, .*: decant ends$'
}

@test "SIGKILL" { dies KILL 137; }
@test "SIGSEGV" { dies SEGV 139; }
@test "SIGABRT" { dies ABRT 134; }
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
    start_midway "${systemd[@]}" --listen=unix="$T/socket" -- "${stopping[@]}" "$file"
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
    several 3
    start "${several[@]}" -- "${stopping[@]}" "$file"
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
    start_with_tail "${stopping[@]}"
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

@test "SIGHUP kills the decant of one client, and is nothing to the resident one" {
    make_file file 20000000
    start_midway "${systemd[@]}" -- "$file"
    kill -HUP "$decant_pid"
    if resident; then
        go
        client_has_all one "$file"
        decant_gives 0
        return
    fi
    wait_for_decant
    go
    client_gets one 'reset *'
    client_has_start one "$file"
    decant_gives 129
}
