# SPDX-License-Identifier: MIT
# A server that closes while input is unread sends a reset and takes the tail of the file back: a
# client that said so much as "GET" got 113 KB of 400. One that watches for input without reading it
# burns a CPU for every client that is half closed; one without a deadline keeps every client that
# has gone to sleep; and one whose deadline is a budget cuts those that are merely slow.

load common

short=(--stall-timeout=500ms --drain-timeout=500ms)

# talker SIZE ACTION...: a client that sends first gets SIZE bytes whole. What it sends at once is
# there before decant is.
talker() {
    make_file file "$1"
    start "${systemd[@]}" --exec-after="$T/sent" -- "$file"
    client one "${@:2}"
    client_has_all one "$file"
    decant_gives 0
}

@test "sends nothing" { talker 400000 "touch=$T/sent" drain; }
@test "sends 16 bytes first, a small file" { talker 1000 send=16 "touch=$T/sent" drain; }
@test "sends 16 bytes first" { talker 400000 send=16 "touch=$T/sent" drain; }
@test "sends 16 bytes first, a large file" { talker 20000000 send=16 "touch=$T/sent" drain; }
@test "sends 1 MB first, an empty file" { talker 0 "touch=$T/sent" send=1M drain; }
@test "sends 1 MB first" { talker 400000 "touch=$T/sent" send=1M drain; }
@test "sends 64 MB first, and reads nothing before" { talker 20000000 "touch=$T/sent" send=64M drain; }
@test "sends 1 MB in the middle" {
    talker 20000000 "touch=$T/sent" read=1000000 send=1M drain
}
@test "sends 1 MB before its end, after all bytes" {
    talker 400000 "touch=$T/sent" read=400000 send=1M half-close drain
}
@test "half-closes at once, an empty file" { talker 0 half-close "touch=$T/sent" drain; }
@test "half-closes at once" { talker 400000 half-close "touch=$T/sent" drain; }
@test "half-closes at once, a large file" { talker 20000000 half-close "touch=$T/sent" drain; }
@test "sends 16 bytes and half-closes" { talker 20000000 send=16 half-close "touch=$T/sent" drain; }
@test "sends 1 MB and half-closes" { talker 20000000 "touch=$T/sent" send=1M half-close drain; }

# The end of both directions is not followed by any event: somebody must look.
@test "half-closes at once, and there is no drain timeout that would end the waiting" {
    make_file file 20000000
    start "${systemd[@]}" --exec-after="$T/sent" -- --drain-timeout=0 "$file"
    client one half-close "touch=$T/sent" drain
    client_has_all one "$file"
    decant_gives 0
}

# The same over sockets without a reset, where unread input is lost in another way.
unix_talker() {
    make_file file "$1"
    start "${systemd[@]}" --listen=unix="$T/socket" --exec-after="$T/sent" -- "$file"
    client one "${@:2}"
    client_has_all one "$file"
    decant_gives 0
}

@test "sends 16 bytes first, over a UNIX socket" { unix_talker 400000 send=16 "touch=$T/sent" drain; }
@test "sends 1 MB first, over a UNIX socket" { unix_talker 400000 "touch=$T/sent" send=1M drain; }
@test "half-closes at once, over a UNIX socket" {
    unix_talker 400000 half-close "touch=$T/sent" drain
}

# leaver PATTERN ACTION...: a client that goes early is 75, and its end is its own
leaver() {
    make_file file 20000000
    start "${systemd[@]}" -- "$file"
    client one "${@:2}"
    client_gets one "$1"
    client_has_start one "$file"
    decant_gives 75
    says '^decant: client left: .*: [0-9]+ of 20000000 bytes sent, .*: (Connection reset|Broken pipe)'
}

@test "closes early" { leaver 'left 1000' read=1000 close; }
@test "closes early, after its own end of stream" { leaver 'left 1000' half-close read=1000 close; }
@test "resets early" { leaver 'left 1000' read=1000 reset; }
@test "resets at once" { leaver 'left 0' reset; }
@test "closes at once" { leaver 'left 0' close; }

@test "closes early, over a UNIX socket" {
    make_file file 20000000
    start "${systemd[@]}" --listen=unix="$T/socket" -- "$file"
    client one read=1000 close
    client_gets one 'left 1000'
    decant_gives 75
    says 'client left: '
}

# SIGPIPE is as it is by default when decant starts: hand sees to that.
@test "has reset the connection before decant starts: no SIGPIPE, and a report" {
    make_file file 20000000
    start_late reset "${systemd[@]}" -- "$file"
    decant_gives 75
    says 'client left: '
}
@test "has reset the connection before decant starts, under inetd" {
    make_file file 20000000
    start_late reset "${inetd[@]}" -- "$file"
    decant_gives 75
}
@test "has reset the connection before decant starts, an empty file" {
    : >"$T/file"
    start_late reset "${systemd[@]}" -- "$T/file"
    decant_gives 75 # all of nothing was there, but the end never was
    says 'client left: .*: 0 of 0 bytes sent'
}
@test "has closed before decant starts, over a UNIX socket" {
    make_file file 20000000
    start_late close "${systemd[@]}" --listen=unix="$T/socket" -- "$file"
    decant_gives 75
}

# sleeper ACTION...: a client that never reads is reset, and told to be stalled
sleeper() {
    make_file file 20000000
    start "${systemd[@]}" -- "${short[@]}" "$file"
    client one "$@" "wait-file=$T/go" drain
    wait_for_decant
    go
    client_gets one 'reset *'
    client_has_start one "$file"
    decant_gives 75
    says '^decant: client stalled: .*: [0-9]+ of 20000000 bytes sent'
}

@test "never reads" { sleeper; }
@test "never reads, after the middle" { sleeper read=1000000; }
@test "never reads, half-closed" { sleeper half-close; }
@test "sends 16 bytes and never reads" { sleeper send=16; }
@test "sends for ever and never reads" {
    make_file file 20000000
    start "${systemd[@]}" -- "${short[@]}" "$file"
    client one send-ever
    client_gets one 'reset 0'
    decant_gives 75
    says 'client stalled: '
}
@test "never reads, over a UNIX socket: cut short, and told so" {
    make_file file 20000000
    start "${systemd[@]}" --listen=unix="$T/socket" -- "${short[@]}" "$file"
    client one "wait-file=$T/go" drain
    decant_gives 75
    go
    client_has_start one "$file"
    client_gets one '* *'
    (($(stat -c %s "$T/one") < 20000000)) || fail "nothing is missing"
    says 'client stalled: '
}

# lasts SECONDS COMMAND...: whatever it waits for took longer than that
lasts() {
    local began

    began=$(date +%s%N)
    "${@:2}"
    (($(date +%s%N) - began > $1 * 1000000000)) ||
        fail "it took no longer than $1 s, and proves nothing"
}

# 60 pieces with 40 ms between any two of them: 2.4 s at the least.
@test "reads a little at a time, longer than the stall timeout in all" {
    make_file file 1500000
    start "${systemd[@]}" -- --stall-timeout=1 "$file"
    client one --rcvbuf=16K slow=25000/40
    lasts 2 client_has_all one "$file"
    decant_gives 0
}

@test "reads a little at a time, over a UNIX socket" {
    make_file file 3000000
    start "${systemd[@]}" --listen=unix="$T/socket" -- --stall-timeout=1 "$file"
    client one slow=50000/40
    lasts 2 client_has_all one "$file"
    decant_gives 0
}

# Small enough to be queued at once, so that all the waiting is for the tail.
@test "reads a tail that takes longer than the drain timeout" {
    make_file file 16000
    start "${systemd[@]}" -- --drain-timeout=1 "$file"
    client one --rcvbuf=2K slow=150/25
    lasts 2 client_has_all one "$file"
    decant_gives 0
    says 'complete: '
}

@test "never closes after the end: success when the drain timeout is over" {
    make_file file 400000
    start "${systemd[@]}" -- "${short[@]}" "$file"
    client one drain "wait-file=$T/go"
    decant_gives 0
    go
    client_has_all one "$file"
    says 'complete: .*400000 acknowledged'
}

@test "never closes after the end of a large file" {
    make_file file 20000000
    start "${systemd[@]}" -- "${short[@]}" "$file"
    client one drain "wait-file=$T/go"
    decant_gives 0
    go
    client_has_all one "$file"
}

@test "never closes after the end, over a UNIX socket" {
    make_file file 400000
    start "${systemd[@]}" --listen=unix="$T/socket" -- "${short[@]}" "$file"
    client one drain "wait-file=$T/go"
    decant_gives 0
    go
    client_has_all one "$file"
}

@test "sends for ever after it has got everything: the drain timeout ends it" {
    make_file file 400000
    start "${systemd[@]}" -- "${short[@]}" "$file"
    client one read=400000 send-ever
    decant_gives 0
    client_gets one '* 400000'
    cmp "$T/one" "$file"
}

@test "resets after it has got everything: complete all the same" {
    make_file file 400000
    start "${systemd[@]}" -- "$file"
    client one drain reset
    decant_gives 0
    says 'complete: '
}

@test "never reads a tail that was queued at once: stalled, and reset" {
    start_with_tail_and_end "${short[@]}"
    decant_gives 75
    go
    client_gets one 'reset *'
    says 'client stalled: '
}

# waits_calmly SIZE ACTION...: while nothing happens decant sleeps, where a loop that watches for
# what it does not take would make a hundred thousand calls.
waits_calmly() {
    make_file file "$1"
    trace '?poll,?ppoll,?epoll_wait,?epoll_pwait,?epoll_pwait2,recvfrom'
    start "${systemd[@]}" -- -s1 -d1 "$file"
    client one "${@:2}" "wait-file=$T/go"
    wait_for_decant
    go
    wait_for_client one
    # Looks at the clock, rising steps of looks at the last bytes, and what was read and sent.
    (($(wc -l <"$T/calls") < 1000)) || fail "$(wc -l <"$T/calls") calls"
}

@test "no busy loop while a client sleeps" { waits_calmly 20000000; }
@test "no busy loop while a client that has sent something sleeps" { waits_calmly 20000000 send=16; }
@test "no busy loop while a half-closed client sleeps" { waits_calmly 20000000 half-close; }
@test "no busy loop while a client does not close" { waits_calmly 400000 drain; }
@test "no busy loop while a half-closed client does not take the tail" {
    waits_calmly 300000 half-close
}
