# SPDX-License-Identifier: MIT
# One transfer that goes on is a trick; ten thousand are a service. Each death could cost a descriptor, a slot or a
# name in the store, so that the hundredth is the last; and a storm of them comes when it is least convenient.

load common
load store

# Half of what a process may have, at the most, since PID 1 holds as many. Who is about to end does not wait for
# the time that each of so many has to wait for otherwise.
@test "10,000 stored transfers are killed 20 times, and nothing is lost" {
    local i before

    most=$(($(ulimit -Hn) / 2 - 100))
    ((most <= 10000)) || most=10000
    make_file file 1000000
    keep --fuse=300 --store=16384 -- --max-connections=$((most + 10)) "$file"
    "$tools/load" --file="$file" --connections=0 --stalled="$most" --stalled-rcvbuf=2304 \
        --stall-file="$T/stalled" --timeout=280 "@$T/address" >"$T/load" 2>&1 3>&- &
    load_pid=$!
    own_pids+=("$load_pid")
    wait_for 120 test -e "$T/stalled"
    kills TERM
    has_stored "$most" || fail "only $(stored_sockets | wc -l) are stored"
    kills
    before=$(descriptors_of "$(tell pid)")
    ((before > most)) || fail "only $before descriptors"
    for i in {3..20}; do
        kills
        [[ $(descriptors_of "$(tell pid)") == "$before" ]] ||
            fail "$(descriptors_of "$(tell pid)") descriptors instead of $before"
        has_stored "$most" || fail "only $(stored_sockets | wc -l) are stored"
    done
    wait_for 20 lines 20 "^decant: resumed: $most transfers of the decant before$"
    fetch one
    kill -TERM "$load_pid"
    wait "$load_pid" || true
    own_pids=()
    grep -q ' stalled_lost=0 ' "$T/load" || fail "$(cat "$T/load")"
    stored 0
    wait_for 20 lines "$most" '^decant: client left: .*, resumed 20 times: '
    [[ $(descriptors_of "$(tell pid)") -lt 30 ]] || fail "$(ls -l "/proc/$(tell pid)/fd")"
    fetch two
}

# Each of them every byte, and a clean end: nobody was promised less.
@test "1000 transfers are handed from process to process, half of which die in their start" {
    kill_many --lanes=1 --stride=797 startup 'stops-small*1000'
    [[ $(number whole) == 1000 ]] || fail "$killed"
    (($(number kills) >= 10)) || fail "$killed"
}

# storms OPTION...: who is not whole was killed in his first moments
storms() {
    kill_many "$@" storm
    [[ $(number kills) == 30 && $(($(number whole) + $(number reset))) == 300 ]] || fail "$killed"
    (($(number whole) >= 270)) || fail "$killed"
}

@test "a storm: 300 connections of 4 KiB to 8 MiB, fast and slow ones, and 30 kills" { storms; }
@test "a storm over IPv6, and each third is a SIGTERM" { storms --gently=3 --listen=tcp6; }
@test "a storm over UNIX sockets" { storms --listen=unix; }
@test "a storm of SIGTERMs alone" {
    kill_many --gently=1 storm
    [[ $(number whole) == 300 ]] || fail "$killed"
}
