# SPDX-License-Identifier: MIT
# There is not always a store, nor always room in it, nor is PID 1 always there to listen; and how a process ends
# is not always a crash. Transfers must run as well without all that, each client must get a whole file or a
# reset, and an admin must get what he has asked for.

load common
load store

# --- No store, or a full one ------------------------------------------------------------------

no_store='nothing can be kept|no file-descriptor store|FileDescriptorStoreMax'

# unkept [KEEPER-OPTION...]: a transfer ends with its process, and runs as well as any until then
unkept() {
    make_file file 5000000
    keep "$@" -- "$file"
    midway one
    fetch two
    tell kill KILL
    wait_for 20 nobody_runs_or_again
    go
    client_gets one 'reset *'
    client_has_start one "$file"
    midway three
    client_has_all three "$file"
    (($(grep -cE "$no_store" "$T/err") <= 2)) || fail 'more than a line for each process'
}

nobody_runs_or_again() {
    nobody_runs || has_started 2
}

@test "FileDescriptorStoreMax=0" {
    unkept --store=0
    says "$no_store"
}

@test "FileDescriptorStoreMax=0, since systemd 254" {
    unkept --store=0 --tell-store
    says "$no_store"
}

@test "no NOTIFY_SOCKET" {
    unkept --notify=
    says_not "$no_store"
}

@test "without a store one notice is enough for all" {
    local i

    make_file file 5000000
    keep --store=0 -- "$file"
    for i in {1..20}; do
        midway "$i"
    done
    go
    for i in {1..20}; do
        client_has_all "$i" "$file"
    done
    count 1 "$no_store"
    [[ $(grep -c FDSTORE= "$T/log") == 1 ]] || fail 'it tried more than once'
}

# full N [KEEPER-OPTION...]: there is room for N clients and what they need
full() {
    local i whole=0

    make_file file 5000000
    keep --store=$((4 + $1)) "${@:2}" -- "$file"
    for i in {1..6}; do
        midway "$i"
        ((i > $1)) || stored "$i"
    done
    has_stored "$1" || fail "$(tell store)"
    kills
    go
    for i in {1..6}; do
        client_gets "$i" '@(eof 5000000|reset *)'
        client_has_start "$i" "$file"
        [[ $(cat "$T/$i.result") != eof* ]] || whole=$((whole + 1))
    done
    ((whole == $1)) || fail "$whole are whole"
    [[ $1 == 0 ]] || count $((6 - $1)) '^decant: killed: ' # without any, there is no table, either
    wait_for 20 lines "$1" '^decant: complete: .*, resumed once$'
    stored 0
    fetch seven
}

@test "a full store: who has no place in it ends with the process" { full 3; }
@test "a full store, and systemd 254 or later has said how large it is" {
    full 3 --tell-store
    logged_not ' closed$'
    count 1 'the file-descriptor store is full'
}

@test "a store with room for one" { full 1; }
@test "a store with room for one, which systemd 254 or later has said" { full 1 --tell-store; }
@test "a store with room for nobody" { full 0; }
@test "a store with room for nobody, which systemd 254 or later has said" { full 0 --tell-store; }

# What is worth nothing alone must not look as if it were: the witness, or the table, or the file.
@test "a store that is too small for anything" {
    local n i

    make_file file 5000000
    for n in 1 2 3; do
        keep --store="$n" -- "$file"
        for i in 1 2 3; do
            midway "$i"
        done
        kills
        go
        for i in 1 2 3; do
            client_gets "$i" 'reset *'
            client_has_start "$i" "$file"
        done
        fetch new
        tell stop
        wait_for 20 nobody_runs
        kill -TERM "$decant_pid"
        decant_gives 0
        rm "$T"/{address,log,control,notify,go} "$T"/midway.*
    done
}

@test "room that is there again is used" {
    make_file file 5000000
    keep --store=5 --tell-store -- "$file"
    client one --rcvbuf=64K read=100000 "touch=$T/midway.one" "wait-file=$T/go.one" drain
    stored 1
    midway two
    count 1 'the file-descriptor store is full'
    touch "$T/go.one"
    client_has_all one "$file"
    wait_for 20 is_logged 'FDNAME=@1 \[tcp4\] stored$'
    kills
    go
    client_has_all two "$file"
}

# PID 1 has the same limit, and more to hold; and each descriptor that is handed over needs a number below ours.
@test "no more than half of RLIMIT_NOFILE" {
    local i most

    make_file file 5000000
    ulimit -n 120
    keep -- --max-connections=70 "$file"
    for i in {1..70}; do
        client "$i" --rcvbuf=4K read=10 "touch=$T/midway.$i" "wait-file=$T/go" drain
    done
    for i in {1..70}; do
        wait_for 60 test -e "$T/midway.$i"
    done
    wait_for 20 lines 1 'the file-descriptor store is full'
    most=$(sed -n 's/.*store is full (\([0-9]*\) of .*/\1/p' "$T/err")
    ((most >= 10 && most <= 60)) || fail "$most is the most"
    [[ $(tell store | wc -l) == "$most" ]] || fail "$(tell store | wc -l) are stored"
    kills
    go
    for i in {1..70}; do
        client_gets "$i" '@(eof 5000000|reset *)'
    done
    [[ $(cat "$T"/*.result | grep -c eof) == $((most - 4)) ]] || fail "$(cat "$T"/*.result)"
}

# systemd sets the limit of the unit, and then gives each descriptor its number.
@test "what is kept can be handed over below the soft RLIMIT_NOFILE" {
    local i

    make_file file 5000000
    keep --soft-limit=160 -- --max-connections=120 "$file"
    for i in {1..120}; do
        client "$i" --rcvbuf=4K read=10 "touch=$T/midway.$i" "wait-file=$T/go" drain
    done
    for i in {1..120}; do
        wait_for 60 test -e "$T/midway.$i"
    done
    wait_for 20 lines 1 'the file-descriptor store is full'
    kills
    kills
    go
    for i in {1..120}; do
        client_gets "$i" '@(eof 5000000|reset *)'
    done
    (($(cat "$T"/*.result | grep -c eof) > 20)) || fail "$(cat "$T"/*.result)"
    fetch new
}

# systemd hands over nothing else then, so that what it keeps would never come back.
@test "StandardInput=socket: nothing is kept" {
    make_file file 5000000
    keep --standard-input -- --stop-timeout=1h "$file"
    midway one
    midway two
    tell kill KILL
    go
    client_gets one 'reset *'
    client_gets two 'reset *'
    rm "$T/go" "$T"/midway.*
    logged_not FDSTORE
    midway three
    tell kill TERM
    wait_for 20 is_stopping
    go
    client_has_all three "$file"
    wait_for 20 nobody_runs
    [[ $(last_end) == 0 ]] || fail "$(last_end)"
}

# An admin takes the store away, so that the next SIGTERM drains.
@test "FileDescriptorStoreMax= is lowered to 0 later" {
    make_file file 5000000
    keep -- --stop-timeout=1h "$file"
    parked one
    tell max 0
    tell reload
    wait_for 20 lines 1 "$no_store"
    midway two
    tell kill TERM
    wait_for 20 is_stopping
    go
    client_has_all one "$file"
    client_has_all two "$file"
    wait_for 20 nobody_runs
    [[ $(last_end) == 0 ]] || fail "$(last_end)"
}

# The message says so before the listening ends, and the end may come much later.
is_stopping() {
    is_logged STOPPING=1
}

@test "FileDescriptorStoreMax= is lowered to less than what is stored" {
    make_file file 5000000
    keep -- "$file"
    parked one
    parked two
    parked three
    tell max 2 # the first of them, or the last: none of it is of use without the table
    tell reload
    kills
    go
    for i in one two three; do
        client_gets "$i" '@(eof 5000000|reset *)'
        client_has_start "$i" "$file"
    done
    fetch four
}

# --- PID 1 does not listen --------------------------------------------------------------------

@test "PID 1 does not read: nobody waits for it, and when it does, all are stored" {
    local i

    make_file file 5000000
    keep -- "$file"
    fetch first
    tell deaf
    for i in {1..20}; do
        midway "$i"
    done
    fetch second
    tell hear
    stored 20
    kills
    go
    for i in {1..20}; do
        client_has_all "$i" "$file"
    done
    stored 0
}

@test "PID 1 does not read for the whole of their lives" {
    local i

    make_file file 5000000
    keep -- "$file"
    parked one
    fill_queue
    for i in {1..20}; do
        midway "$i"
    done
    go
    for i in {1..20} one; do
        client_has_all "$i" "$file"
    done
    rm "$T/go"
    fetch second
    tell hear
    stored 0
    parked three
    kills
    go
    client_has_all three "$file"
    logged_not ' same$'
}

@test "PID 1 does not read, and 300 quick clients do not mind" {
    make_file file 5000000
    keep -- "$file"
    parked one
    fill_queue
    head -c 20000 "$file" >"$T/new"
    cp "$T/new" "$T/small"
    mv "$T/new" "$file"
    "$tools/load" --file="$T/small" --connections=300 --clients=8 --timeout=60 "@$T/address" >"$T/load" 2>&1 3>&- ||
        fail "$(cat "$T/load")"
    tell hear
    stored 1
}

# A stopped process, not only one that does not read.
@test "PID 1 is stopped, and goes on" {
    local i

    make_file file 5000000
    keep -- "$file"
    parked one
    kill -STOP "$decant_pid"
    for i in {1..20}; do
        midway "$i"
    done
    go
    for i in {1..20} one; do
        client_has_all "$i" "$file"
    done
    kill -CONT "$decant_pid"
    stored 0
    fetch second
}

@test "the table has no free slot before PID 1 has dropped some: who comes is reset, and served later" {
    make_file file 5000000
    keep -- --max-connections=2 "$file"
    parked one
    parked two
    fill_queue
    go
    client_has_all one "$file"
    client_has_all two "$file"
    wait_for 20 lines 2 complete:
    client three drain
    client_gets three '@(eof 5000000|reset *)'
    tell hear
    stored 0
    fetch four
}

# --- SIGTERM and SIGINT -----------------------------------------------------------------------

left_one='^decant: 1 transfer is left to the next decant$'

@test "SIGTERM: ends at once, and the next one goes on" {
    make_file file 5000000
    keep -- --stop-timeout=1h "$file"
    parked one
    kills TERM
    logged '^1: STOPPING=1$'
    logged '^1: end TERM$'
    count 1 "$left_one"
    says_not 'stopped: '
    go
    client_has_all one "$file"
    reports 'complete: .*: 5000000 of 5000000 bytes sent, 5000000 acknowledged, .*, resumed once$'
    stored 0
    stops_with 0
}

@test "SIGTERM: five times, and in between SIGKILL" {
    local i

    make_file file 5000000
    keep -- "$file"
    parked one
    for i in 1 2 3 4 5; do
        kills TERM
        kills KILL
    done
    go
    client_has_all one "$file"
    reports 'complete: .*, resumed 10 times$'
}

@test "SIGTERM: 30 times, one right after the other" {
    local i starts

    make_file file 5000000
    keep -- "$file"
    parked one
    for i in {1..30}; do
        starts=$(tell starts)
        tell kill TERM
        wait_for 20 has_started $((starts + 1))
    done
    wait_for 20 is_ready
    go
    client_has_all one "$file"
    says_not 'the table in the file-descriptor store is not used'
}

@test "SIGTERM: also who only waits for the end of a small file is left to the next" {
    make_file small 4000
    make_file big 5000000
    mkdir "$T/files"
    mv "$T/small" "$T/big" "$T/files"
    keep --listen=tcp4,big --listen=tcp4,small -- --drain-timeout=1h --stop-timeout=1h "$T/files"
    parked one
    at 2 client two read=4000 "touch=$T/has-all" "wait-file=$T/go" drain
    wait_for 30 test -e "$T/has-all"
    kills TERM
    logged '^1: FDSTORE=1 FDPOLL=0 FDNAME=@1 \[tcp4\] stored$'
    count 1 '^decant: 2 transfers are left to the next decant$'
    count 1 '^decant: resumed: 2 transfers '
    go
    client_has_all two "$T/files/small"
    client_has_all one "$T/files/big"
    reports "complete: $T/files/small to .*: 4000 of 4000 bytes sent, 4000 acknowledged, .*, resumed once$"
    stored 0
}

@test "SIGTERM: the first that there ever was to be kept" {
    make_file file 4000
    keep -- --drain-timeout=1h --stop-timeout=1h "$file"
    client one read=4000 "touch=$T/has-all" "wait-file=$T/go" drain
    wait_for 30 test -e "$T/has-all"
    logged_not FDSTORE
    kills TERM
    logged '^1: FDSTORE=1 FDPOLL=0 FDNAME=@0 \[tcp4\] stored$'
    count 1 "$left_one"
    go
    client_has_all one "$file"
    reports 'complete: .*: 4000 of 4000 bytes sent, 4000 acknowledged, .*, resumed once$'
}

@test "SIGTERM: who is in the queue is served by the next" {
    make_file file 5000000
    keep -- "$file"
    parked one
    tell hold
    tell kill TERM
    wait_for 20 nobody_runs
    client two "touch=$T/connected" drain
    wait_for 20 test -e "$T/connected"
    tell run
    client_has_all two "$file"
    go
    client_has_all one "$file"
}

@test "SIGTERM without transfers is an exit as ever" {
    make_file file 5000000
    keep -- "$file"
    parked one
    go
    client_has_all one "$file"
    stored 0
    tell kill TERM
    wait_for 20 nobody_runs
    [[ $(last_end) == 0 ]] || fail "$(last_end)"
    says_not 'left to the next'
}

# systemctl stop: systemd drops the store when it has ended.
@test "systemctl stop: ends at once, and who is served is reset" {
    make_file file 5000000
    keep -- --stop-timeout=1h "$file"
    parked one
    parked two
    stops_with TERM
    go
    client_gets one 'reset *'
    client_gets two 'reset *'
    client_has_start one "$file"
    fetch three
}

@test "SIGTERM without RestartForceExitStatus=SIGTERM is an end: who is served is reset" {
    make_file file 5000000
    keep --force=none -- --stop-timeout=1h "$file"
    parked one
    tell kill TERM
    wait_for 20 nobody_runs
    go
    client_gets one 'reset *'
    fetch two
}

@test "SIGTERM without a store: who is served gets all" {
    make_file file 5000000
    keep --store=0 -- --stop-timeout=1h "$file"
    midway one
    wait_for 20 lines 1 "$no_store"
    tell kill TERM
    wait_for 20 is_logged 'STOPPING=1'
    go
    client_has_all one "$file"
    wait_for 20 nobody_runs
    [[ $(last_end) == 0 ]] || fail "$(last_end)"
}

@test "SIGTERM without a store: who is left after --stop-timeout is reset" {
    make_file file 5000000
    keep --store=0 -- --stop-timeout=300ms "$file"
    midway one
    stops_with 75
    go
    client_gets one 'reset *'
    reports 'stopped: '
}

@test "SIGTERM with a store that is full: who has no place in it gets all before the end" {
    make_file file 5000000
    keep --store=5 --tell-store -- --stop-timeout=1h "$file"
    parked one
    client two --rcvbuf=64K read=100000 "touch=$T/midway.two" "wait-file=$T/go.two" drain
    wait_for 30 test -e "$T/midway.two"
    tell kill TERM
    wait_for 20 is_logged 'STOPPING=1'
    touch "$T/go.two"
    client_has_all two "$file"
    wait_for 20 has_started 2
    logged '^1: end TERM$'
    go
    client_has_all one "$file"
}

@test "SIGTERM, and PID 1 does not read: who is not stored gets all before the end" {
    make_file file 5000000
    keep -- --stop-timeout=1h "$file"
    parked one
    fill_queue
    client two --rcvbuf=64K read=100000 "touch=$T/midway.two" "wait-file=$T/go.two" drain
    wait_for 30 test -e "$T/midway.two"
    pid=$(tell pid)
    kill -TERM "$pid"
    touch "$T/go.two"
    client_has_all two "$file"
    wait_for 20 has_ended "$pid"
    tell hear
    logged '^1: end TERM$'
    wait_for 20 has_started 2
    go
    client_has_all one "$file"
}

@test "SIGTERM, PID 1 does not read, and then it does: nobody has to wait for --stop-timeout" {
    make_file file 5000000
    keep -- --stop-timeout=1h "$file"
    parked one
    fill_queue
    midway two
    kill -TERM "$(tell pid)"
    tell hear
    wait_for 20 has_started 2
    logged '^1: end TERM$'
    go
    client_has_all one "$file"
    client_has_all two "$file"
}

@test "SIGTERM, PID 1 does not read, and --stop-timeout: who is stored goes on, who is not is reset" {
    make_file file 5000000
    keep -- --stop-timeout=300ms "$file"
    parked one
    fill_queue
    midway two
    pid=$(tell pid)
    kill -TERM "$pid"
    wait_for 20 has_ended "$pid"
    tell hear
    wait_for 20 has_started 2
    go
    client_gets two 'reset *'
    client_has_all one "$file"
}

@test "SIGINT resets at once, also who is stored" {
    make_file file 5000000
    keep -- --stop-timeout=1h "$file"
    parked one
    parked two
    tell kill INT
    wait_for 20 nobody_runs
    [[ $(last_end) == 75 ]] || fail "$(last_end)"
    count 2 '^decant: stopped: '
    go
    client_gets one 'reset *'
    client_gets two 'reset *'
    fetch three
}

@test "SIGINT in a process that has resumed them" {
    make_file file 5000000
    keep -- --stop-timeout=1h "$file"
    parked one
    kills
    tell kill INT
    wait_for 20 nobody_runs
    [[ $(last_end) == 75 ]] || fail "$(last_end)"
    reports 'stopped: .*, resumed once: '
    go
    client_gets one 'reset *'
}

# --- Something is missing at the restart ------------------------------------------------------

@test "the listening socket is gone: those who are served get all, and then it ends" {
    make_file file 5000000
    keep -- "$file"
    parked one
    parked two
    between tell unlisten 1
    kills
    go
    client_has_all one "$file"
    client_has_all two "$file"
    reports 'complete: .*, resumed 2 times$'
    wait_for 20 nobody_runs
    [[ $(last_end) == 0 ]] || fail "$(last_end)"
}

@test "a wrong option: it ends, systemd gives up, and who was served is reset" {
    make_file file 5000000
    keep -- "$file"
    parked one
    next_args --nonsense "$file"
    tell kill KILL
    go
    client_gets one 'reset *'
    says "'--nonsense' is no option"
    wait_for 20 nobody_runs
    [[ $(last_end) == 64 ]] || fail "$(last_end)"
    next_args "$file"
    fetch two
}

@test "Restart=no: who is served is reset" {
    make_file file 5000000
    keep --restart=no -- "$file"
    parked one
    tell kill KILL
    go
    client_gets one 'reset *'
    client_has_start one "$file"
    fetch two
}

# --- A process that cannot be trusted ---------------------------------------------------------

# What has killed 20 of them would kill the next as well. Some 130 system calls bring it to the table, and the
# clients take some 50 after that.
@test "20 processes in a row die of what they have taken over: who was served is reset" {
    local i

    export ASAN_OPTIONS="$ASAN_OPTIONS:detect_leaks=0" # which needs ptrace(2) itself
    make_file file 5000000
    keep -- "$file"
    for i in {1..6}; do
        parked "$i"
    done
    tell hold
    tell kill KILL
    for i in {1..20}; do
        wait_for 20 nobody_runs
        tell step main 155
        tell start
    done
    wait_for 20 nobody_runs
    tell run
    wait_for 20 is_ready
    says 'the table in the file-descriptor store is not used, since 20 processes in a row'
    go
    for i in {1..6}; do
        client_gets "$i" 'reset *'
        client_has_start "$i" "$file"
    done
    fetch new
    stored 0
}

# A disk that is dead keeps a process from its death, and systemd starts the next one after a while.
@test "the process before is still there: who was served is reset, and never gets bytes of both" {
    make_file file 5000000
    keep -- "$file"
    parked one
    parked two
    pid=$(tell pid)
    kill -STOP "$pid"
    tell abandon
    wait_for 20 has_started 2
    wait_for 20 is_ready
    go
    kill -CONT "$pid"
    client_gets one 'reset *'
    client_gets two 'reset *'
    client_has_start one "$file"
    client_has_start two "$file"
    fetch three
    says 'the table in the file-descriptor store is not used'
}

# SIGHUP is nothing to it, but by its default it would be an end that systemd calls clean: all that is kept goes.
@test "SIGHUP in the middle of the start" {
    make_file file 5000000
    trace epoll_create1 -e inject=epoll_create1:signal=HUP:when=1
    keep -- "$file"
    parked one
    kills
    kills
    go
    client_has_all one "$file"
    grep -q SIGHUP "$T/calls" || fail 'the signal never came'
    reports 'complete: .*, resumed 2 times$'
}
