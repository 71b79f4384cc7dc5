# SPDX-License-Identifier: MIT
# A server that is killed takes all downloads along with it: hours of them, at the worst moment, since it is
# killed for its upgrade, by the OOM killer, or because it has crashed. systemd can keep the sockets, the file
# and the table of the transfers meanwhile; then nobody but the supervisor has noticed.

load common
load store

# --- What is stored, and when -----------------------------------------------------------------

# A message to PID 1 costs as much as a small file does.
@test "what one call can finish is never stored" {
    local i size

    for size in 0 1 4096 100000; do
        make_file file "$size"
        keep -- "$file"
        for i in {1..10}; do
            fetch one
        done
        wait_for 20 lines 10 complete:
        stops_with 0
        logged_not FDSTORE
        kill -TERM "$decant_pid"
        decant_gives 0
        rm -f "$T/address" "$T/log" "$T/notify" "$T/control"
    done
}

@test "the first that does not fit: the witness, a barrier, the table, its file, and its socket" {
    make_file file 5000000
    keep -- "$file"
    parked one
    sed -nE 's/^1: (FDSTORE|BARRIER)=1/\1/p' "$T/log" >"$T/messages"
    diff "$T/messages" - <<END
FDSTORE FDPOLL=0 FDNAME=@witness [pipe-read] [pipe-write] stored
BARRIER [pipe-write] barrier
FDSTORE FDPOLL=0 FDNAME=@table [memfd=decant (deleted)] stored
FDSTORE FDPOLL=0 FDNAME=@file-1 [file=$file] stored
FDSTORE FDPOLL=0 FDNAME=@0 [tcp4] stored
END
    kept @witness @table @file-1 @0
}

@test "the second one is one message, and each that ends is one" {
    make_file file 5000000
    keep -- "$file"
    parked one
    parked two
    [[ $(grep -c FDSTORE= "$T/log") == 5 ]] || fail "$(cat "$T/log")"
    logged '^1: FDSTORE=1 FDPOLL=0 FDNAME=@1 \[tcp4\] stored$'
    go
    client_has_all one "$file"
    client_has_all two "$file"
    stored 0
    logged '^1: FDSTOREREMOVE=1 FDNAME=@0 removed 1$'
    logged '^1: FDSTOREREMOVE=1 FDNAME=@1 removed 1$'
    [[ $(grep -c FDSTOREREMOVE= "$T/log") == 2 ]] || fail "$(cat "$T/log")"
    kept @witness @table @file-1
    stops_with 0
    logged '^1: dropped 4$'
}

# PID 1 drops what hangs up, unless it is told not to, and then nobody can tell what became of the client.
@test "nothing is stored without FDPOLL=0, and a client that leaves is taken out by decant itself" {
    make_file file 5000000
    keep -- "$file"
    client one --rcvbuf=64K read=100000 "touch=$T/midway" "wait-file=$T/go" reset
    stored 1
    ! grep FDSTORE=1 "$T/log" | grep -v FDPOLL=0 || fail 'PID 1 would watch that one'
    go
    reports 'client left: '
    stored 0
    logged '^1: FDSTOREREMOVE=1 FDNAME=@0 removed 1$'
    logged_not 'hung up'
}

@test "a slot's number is given again, but not before the store has dropped what bears it" {
    make_file file 5000000
    keep -- "$file"
    parked one
    tell deaf
    : >"$T/go"
    client_has_all one "$file"
    rm "$T/go"
    midway two
    tell hear
    wait_for 20 is_logged 'FDNAME=@0 removed 1$'
    stored 1
    kills
    go
    client_has_all two "$file"
    logged_not ' same$'
}

# --- A stored duplicate keeps nobody waiting --------------------------------------------------

# ends_despite_duplicate [KEEPER-OPTION...]: PID 1 sleeps, so that its duplicate stays
ends_despite_duplicate() {
    make_file file 5000000
    keep "$@" -- "$file"
    parked one
    tell deaf
    go
    client_has_all one "$file"
    reports 'complete: '
    tell hear
    stored 0
}

@test "a client sees its end although PID 1 still has its socket" { ends_despite_duplicate; }
@test "the same over IPv6" { ends_despite_duplicate --listen=tcp6; }
@test "the same over a UNIX socket" { ends_despite_duplicate --listen=unix="$T/socket"; }
@test "the same over MPTCP" { need_mptcp && ends_despite_duplicate --listen=mptcp; }

@test "a client is reset although PID 1 still has its socket" {
    make_file file 5000000
    keep -- "$file"
    client one --rcvbuf=64K read=100000 "touch=$T/midway" wait-end "touch=$T/ended" drain
    stored 1
    tell deaf
    truncate -s 1000 "$file"
    tell kill INT
    wait_for 20 test -e "$T/ended" # it has not read meanwhile
    client_gets one 'reset *'
}

# --- Resumed ----------------------------------------------------------------------------------

# dies SIGNAL [KEEPER-OPTION...]: and nobody but the report knows of it
dies() {
    # What a sanitizer makes of a crash is none of this test's concern.
    export ASAN_OPTIONS="$ASAN_OPTIONS:handle_segv=0:handle_abort=0"
    ulimit -c 0
    make_file file 5000000
    keep "${@:2}" -- "$file"
    parked one
    kills "$1"
    logged "^1: end $1\$"
    logged '^2: start with 5$'
    count 1 '^decant: resumed: 1 transfer of the decant before$'
    go
    client_has_all one "$file"
    reports "complete: $file to .*: 5000000 of 5000000 bytes sent, 5000000 acknowledged, in .*, resumed once$"
    [[ $(said | grep -c '^decant:') == 2 ]] || fail 'it said more than that'
    fetch two
    stored 0
    stops_with 0
}

@test "SIGKILL" { dies KILL; }
@test "SIGSEGV" { dies SEGV; }
@test "SIGABRT" { dies ABRT; }
@test "SIGKILL, over IPv6" { dies KILL --listen=tcp6; }
@test "SIGKILL, over a UNIX socket" { dies KILL --listen=unix="$T/socket"; }
@test "SIGKILL, over MPTCP" { need_mptcp && dies KILL --listen=mptcp; }
@test "SIGKILL, and systemd starts it after RestartSec=" { dies KILL --pause=100; }
@test "SIGKILL, after daemon-reload" {
    make_file file 5000000
    keep -- "$file"
    parked one
    tell reload
    kills
    tell reload
    kills
    go
    client_has_all one "$file"
    reports 'complete: .*, resumed 2 times$'
}

@test "resumed three times, and the report counts the whole transfer" {
    local i

    make_file file 5000000
    keep -- "$file"
    parked one
    for i in 1 2 3; do
        kills
        lines "$i" '^decant: resumed: 1 transfer '
    done
    go
    client_has_all one "$file"
    reports 'complete: .*: 5000000 of 5000000 bytes sent, 5000000 acknowledged, in .*, resumed 3 times$'
    seconds=$(sed -n 's/.*acknowledged, in \([0-9]*\.[0-9]*\) s.*/\1/p' "$T/err")
    awk -v s="$seconds" 'BEGIN { exit !(s > 0.001) }' || fail "in $seconds s: that is only the last part"
}

@test "half of it comes from each of two processes" {
    make_file file 5000000
    keep -- "$file"
    client one --rcvbuf=64K read=1500000 "touch=$T/first" "wait-file=$T/go1" read=1500000 "touch=$T/second" \
        "wait-file=$T/go2" drain
    wait_for 30 test -e "$T/first"
    stored 1
    kills
    touch "$T/go1"
    wait_for 30 test -e "$T/second"
    kills
    touch "$T/go2"
    client_has_all one "$file"
}

@test "12 clients at once" {
    local i

    make_file file 5000000
    keep -- "$file"
    for i in {1..12}; do
        midway "$i"
    done
    stored 12
    kills
    count 1 '^decant: resumed: 12 transfers of the decant before$'
    go
    for i in {1..12}; do
        client_has_all "$i" "$file"
    done
    wait_for 20 lines 12 'complete: .*, resumed once$'
    stored 0
}

@test "a client that comes while nobody runs is served by the next" {
    make_file file 5000000
    keep -- "$file"
    parked one
    tell hold
    tell kill KILL
    wait_for 20 nobody_runs
    client two "touch=$T/connected" drain
    wait_for 20 test -e "$T/connected"
    tell run
    client_has_all two "$file"
    go
    client_has_all one "$file"
}

# The client's end must not be promised by the one and forgotten by the other.
@test "all is queued and not acknowledged: no end is sent before the client has it all" {
    make_file file 2000000
    keep -- "$file"
    client one --rcvbuf=4K read=1988000 "wait-file=$T/go" drain
    wait_for 30 all_is_queued 12000
    stored 1
    kills
    all_is_queued 12000 || fail "the queues are $(queues)"
    kills
    all_is_queued 12000 || fail "the queues are $(queues)"
    go
    client_has_all one "$file"
    reports 'complete: .*: 2000000 of 2000000 bytes sent, 2000000 acknowledged, .*, resumed 2 times$'
}

@test "all is acknowledged, and the client stays" {
    make_file file 2000000
    keep -- --drain-timeout=1h "$file"
    client one read=2000000 "touch=$T/has-all" "wait-file=$T/go" drain
    wait_for 30 test -e "$T/has-all"
    stored 1
    wait_for 30 is_finished
    kills
    kills
    stored 1
    go
    client_has_all one "$file"
    reports 'complete: .*: 2000000 of 2000000 bytes sent, 2000000 acknowledged, .*, resumed 2 times$'
    stored 0
}

# FIN-WAIT-2: the end is sent, and acknowledged.
is_finished() {
    [[ $(queues) == 05' '* ]]
}

@test "the drain timeout goes on after it" {
    make_file file 2000000
    keep -- --drain-timeout=1 "$file"
    client one read=2000000 "touch=$T/has-all" "wait-file=$T/go" drain
    wait_for 30 test -e "$T/has-all"
    stored 1
    kills
    reports 'complete: .*, resumed once$'
    stored 0
    go
    client_has_all one "$file"
}

@test "the stall timeout goes on after it" {
    make_file file 5000000
    keep -- --stall-timeout=1 "$file"
    parked one
    kills
    reports 'client stalled: .*, resumed once: '
    go
    client_gets one 'reset *'
    client_has_start one "$file"
    stored 0
}

@test "one that talks all the while" {
    make_file file 5000000
    keep -- "$file"
    client one --rcvbuf=64K send=300K read=100000 send=300K "touch=$T/midway" "wait-file=$T/go" send=300K drain
    wait_for 30 test -e "$T/midway"
    stored 1
    between
    go
    client_has_all one "$file"
}

# What a dead process has not read must not make the kernel reset the client.
@test "one that talks while nobody runs" {
    make_file file 5000000
    keep -- "$file"
    client one --rcvbuf=64K read=100000 "touch=$T/midway" "wait-file=$T/talk" send=50K "touch=$T/talked" \
        "wait-file=$T/go" drain
    wait_for 30 test -e "$T/midway"
    stored 1
    talks() {
        touch "$T/talk"
        wait_for 30 test -e "$T/talked"
    }
    between talks
    go
    client_has_all one "$file"
}

@test "one that has closed its side" {
    make_file file 5000000
    keep -- "$file"
    client one --rcvbuf=64K half-close read=100000 "touch=$T/midway" "wait-file=$T/go" drain
    wait_for 30 test -e "$T/midway"
    stored 1
    kills
    go
    client_has_all one "$file"
}

@test "one that closes its side while nobody runs" {
    make_file file 5000000
    keep -- "$file"
    client one --rcvbuf=64K read=100000 "touch=$T/midway" "wait-file=$T/close" half-close "touch=$T/closed" \
        "wait-file=$T/go" drain
    wait_for 30 test -e "$T/midway"
    stored 1
    closes() {
        touch "$T/close"
        wait_for 30 test -e "$T/closed"
    }
    between closes
    go
    client_has_all one "$file"
}

leaves() {
    touch "$T/leave"
    wait_for 30 test -e "$T/left"
}

@test "one that leaves while nobody runs is told of, and its socket does not stay" {
    make_file file 5000000
    keep -- "$file"
    client one --rcvbuf=64K read=100000 "touch=$T/midway" "wait-file=$T/leave" reset "touch=$T/left"
    wait_for 30 test -e "$T/midway"
    stored 1
    between leaves
    reports 'client left: .*, resumed once: '
    stored 0
    fetch two
    stops_with 75
}

@test "one that has no room for the last bytes, and leaves while nobody runs" {
    make_file file 2000000
    keep -- --stall-timeout=0 "$file"
    client one --rcvbuf=4K read=1988000 "touch=$T/midway" "wait-file=$T/leave" reset "touch=$T/left"
    wait_for 30 all_is_queued 12000
    stored 1
    between leaves
    reports 'client left: .*, resumed once: '
    stored 0
}

@test "one that has everything, and leaves while nobody runs" {
    make_file file 2000000
    keep -- --drain-timeout=0 "$file"
    client one read=2000000 "touch=$T/has-all" "wait-file=$T/leave" reset "touch=$T/left"
    wait_for 30 test -e "$T/has-all"
    stored 1
    wait_for 30 is_finished
    between leaves
    reports 'complete: .*: 2000000 of 2000000 bytes sent, 2000000 acknowledged, .*, resumed once$'
    stored 0
}

@test "one that is given everything by the kernel while nobody runs is complete" {
    make_file file 2000000
    keep -- "$file"
    client one --rcvbuf=4K read=1988000 "wait-file=$T/go" read=12000 "touch=$T/has-all" drain
    wait_for 30 all_is_queued 12000
    stored 1
    reads() {
        go
        wait_for 30 test -e "$T/has-all"
    }
    between reads
    client_has_all one "$file"
    reports 'complete: .*: 2000000 of 2000000 bytes sent, 2000000 acknowledged, .*, resumed once$'
}

# --- What was not stored ----------------------------------------------------------------------

@test "killed before it was stored: a reset, and a record of it" {
    make_file file 5000000
    keep -- "$file"
    parked one
    fill_queue
    midway two
    kills_unheard
    go
    client_has_all one "$file"
    client_gets two 'reset *'
    client_has_start two "$file"
    reports "killed: $file to .*: [0-9]+ of 5000000 bytes sent, \\? acknowledged, .* before systemd had its socket"
    count 1 '^decant: resumed: 1 transfer '
    stored 0
    stops_with 75
}

# The one that has all its bytes and its end is the kernel's affair.
@test "killed while its end is on the way, without a place in the store: whole, and a record of it" {
    make_file file 16000
    make_file big 5000000
    mkdir "$T/files"
    mv "$T/file" "$T/big" "$T/files"
    keep --listen=tcp4,big --listen=tcp4,file -- "$T/files"
    parked one
    at 2 client two --rcvbuf=2K "wait-file=$T/go" drain
    wait_for 30 end_is_sent
    kills
    go
    client_has_all two "$T/files/file"
    client_has_all one "$T/files/big"
    reports "killed: $T/files to .*: 16000 of 16000 bytes sent, \\? acknowledged"
}

@test "an exit drops the store, and the next decant begins anew" {
    make_file file 3000000
    keep -- --idle-exit=100ms "$file"
    parked one
    go
    client_has_all one "$file"
    wait_for 20 nobody_runs
    logged '^1: end 0$'
    logged '^1: dropped 4$'
    rm "$T/go"
    parked two
    kept @witness @table @file-1 @0
    logged '^2: start with 0$'
    kills
    go
    client_has_all two "$file"
}
