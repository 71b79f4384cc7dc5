# SPDX-License-Identifier: MIT
# hand only claims to do what supervisors do. Real ones leave SIGPIPE and blocking sockets as they
# please, keep descriptors of their own open, and set variables that the manual does not name.

load common

# activate OPTION... -- ARGUMENT...: systemd-socket-activate listens on a UNIX socket, and on an
# address of 127/8 that no other process of these tests has, since it takes no port 0.
activate() {
    local options=()

    need systemd-socket-activate
    while [[ $1 != -- ]]; do
        options+=("$1")
        shift
    done
    shift
    address=127.$((BASHPID >> 16 & 255)).$((BASHPID >> 8 & 255)).$((BASHPID & 255)):7070
    systemd-socket-activate "${options[@]}" -l "$address" -l "$T/socket" "$decant" "$@" \
        </dev/null >"$T/out" 2>"$T/err" 3>&- &
    decant_pid=$!
    wait_for 20 grep -q "Listening on $T/socket" "$T/err"
}

fetch() {
    need socat
    socat -d -u "$1" "CREATE:$T/$2" 2>"$T/$2.err" 3>&-
}

# socat takes a reset for an end, status 0; with -d it says so at least.
fetch_is_reset() {
    fetch "$1" got || true
    [[ ! -s $T/got ]] || fail "it got something"
    grep -q 'Connection reset' "$T/got.err" || fail "a clean end"
}

# fetched_from ADDRESS: whole, and the child reported success
fetched_from() {
    fetch "$1" got
    cmp "$T/got" "$file"
    wait_for 20 grep -qE 'died with code 0' "$T/err"
    says 'complete: '
}

@test "systemd-socket-activate --accept, TCP" {
    make_file file 5000000
    activate --accept -- "$file"
    fetched_from "TCP:$address"
}
@test "systemd-socket-activate --accept, UNIX" {
    make_file file 5000000
    activate --accept -- "$file"
    fetched_from "UNIX-CONNECT:$T/socket"
}
@test "systemd-socket-activate --accept --inetd, TCP" {
    make_file file 5000000
    activate --accept --inetd -- "$file"
    fetched_from "TCP:$address"
}
@test "systemd-socket-activate --accept --inetd, UNIX" {
    make_file file 5000000
    activate --accept --inetd -- "$file"
    fetched_from "UNIX-CONNECT:$T/socket"
}
@test "systemd-socket-activate --accept, four clients at once" {
    local name

    make_file file 20000000
    activate --accept -- "$file"
    for name in a b c d; do
        fetch "TCP:$address" "$name" &
        own_pids+=($!)
    done
    wait "${own_pids[@]}"
    own_pids=()
    for name in a b c d; do
        cmp "$T/$name" "$file"
    done
}
@test "systemd-socket-activate --accept, a missing file: a reset" {
    activate --accept -- "$T/none"
    fetch_is_reset "TCP:$address"
    wait_for 20 grep -q 'cannot open' "$T/err" # the client comes first
}
# It becomes decant itself, so that the sockets end with it.
@test "systemd-socket-activate without --accept: both sockets, and the end when it is idle" {
    make_file file 5000000
    activate -- --idle-exit=2s "$file"
    fetch "TCP:$address" got
    cmp "$T/got" "$file"
    fetch "UNIX-CONNECT:$T/socket" got
    cmp "$T/got" "$file"
    decant_gives 0
    [[ $(grep -c '^decant: complete: ' "$T/err") == 2 ]] || fail "not two reports"
}
@test "systemd-socket-activate without --accept, a missing file: a reset" {
    activate -- "$T/none"
    fetch_is_reset "TCP:$address"
    decant_gives 66
    says 'cannot open'
}

# socat_serves OPTION ARGUMENT...: one more supervisor that forks and places 0 and 1; the port is its
# own choice, and in its log
socat_serves() {
    need socat
    socat -d -d TCP-LISTEN:0,bind=127.0.0.1,fork "EXEC:$decant ${*:2}$1" \
        </dev/null >"$T/out" 2>"$T/err" 3>&- &
    decant_pid=$!
    wait_for 20 grep -q 'listening on' "$T/err"
    port=$(sed -n 's/.*listening on .*:\([0-9]*\)$/\1/p' "$T/err" | head -n 1)
}

@test "socat EXEC:...,nofork" {
    make_file file 5000000
    socat_serves ,nofork "$file"
    fetch "TCP:127.0.0.1:$port" got
    cmp "$T/got" "$file"
    wait_for 20 grep -q 'complete: ' "$T/err"
}
@test "socat EXEC:...,nofork, a missing file: a reset" {
    socat_serves ,nofork "$T/none"
    fetch_is_reset "TCP:127.0.0.1:$port"
}
@test "socat EXEC: with a pipe is refused, and says how to do it right" {
    make_file file 1000
    socat_serves ,pipes "$file"
    fetch "TCP:127.0.0.1:$port" got || true
    [[ ! -s $T/got ]] || fail "it got something"
    wait_for 20 grep -q 'descriptor 0 is a pipe' "$T/err"
}
