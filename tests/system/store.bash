# shellcheck shell=bats
# SPDX-License-Identifier: MIT
# decant dies in the middle of a transfer, and the client gets the rest of it from the next one: with the shipped units,
# and Debian 12's systemd (252) and Debian 13's (257) as PID 1, whose file-descriptor store is what it all hangs on.
# 252-store.bats and 257-store.bats are this file under two names. The storms are in storm.bash.
#
# What can go wrong: a client that sees an end too early, or bytes of another file, or of the wrong place of the same
# one; one that waits for ever, as a duplicate of its socket that nobody serves stays in the store; a store that
# systemd drops, since it was told to stop, or has given up; and a PID 1 that is kept busy.

load decantd

# --- Its death --------------------------------------------------------------------------------

@test "SIGKILL: each client gets the rest from the next decant" {
    enable
    kept_midway one two three
    dies_by kill_main KILL
    keeps $((own + 4)) || fail 'the next one does not keep the same'
    go
    for name in one two three; do
        client_has_all "$name" "$payload"
    done
    transfers_say 3 6 'complete: /srv/decant/7070 to .*: 3000000 of 3000000 bytes sent, 3000000 acknowledged, in .*, resumed once"'
    decant_says 1 6 'resumed: 3 transfers of the decant before'
    is "$service_unit" NRestarts 1
    fetch tcp4=7070
    wait_for 10 status_is '0 clients, 4 served, .*'
    nothing_failed
}

# stages NAME N: a client of N stages, in each of which it takes some more and then waits for go_on
stages() {
    local i actions=()

    for ((i = 1; i <= $2; i++)); do
        actions+=(read=1000000 "touch=$T/stage.$i" "wait-file=$T/go.$i")
    done
    client "$1" tcp4=7070 --rcvbuf=64K "${actions[@]}" drain
}

@test "SIGKILL, five times in one transfer" {
    make_payload 20000000
    enable
    stages one 5
    for i in 1 2 3 4 5; do
        wait_for 20 test -e "$T/stage.$i"
        wait_for 10 keeps $((own + 2))
        dies_by kill_main KILL
        : >"$T/go.$i"
    done
    client_has_all one "$payload"
    transfers_say 1 6 'complete: /srv/decant/7070 to .*: 20000000 of 20000000 bytes sent, 20000000 acknowledged, .*, resumed 5 times"'
    decant_says 5 6 'resumed: 1 transfer of the decant before'
    nothing_failed
}

# The client that waits has been told to wait by nobody but the kernel: it is in the queue of the port.
@test "SIGKILL: who connects while there is no decant waits for the next one" {
    enable
    kept_midway one
    main_pid
    before=$pid
    within systemctl kill --kill-whom=main -s STOP "$service_unit"
    waiting two
    kill_main KILL
    wait_for 20 is_another_process "$before"
    client_has_all two "$payload"
    go
    client_has_all one "$payload"
    transfers_say 2 6 'complete: '
    nothing_failed
}

@test "SIGTERM from whomever leaves its transfers to the next decant" {
    enable
    kept_midway one two
    dies_by within systemctl kill -s TERM "$service_unit"
    dies_by within sh -c "kill -TERM $pid"
    go
    client_has_all one "$payload"
    client_has_all two "$payload"
    transfers_say 2 6 'complete: .*, resumed 2 times"'
    decant_says 2 5 '2 transfers are left to the next decant'
    is "$service_unit" NRestarts 2
    nothing_failed
}

@test "SIGTERM without a client is its end" {
    enable
    fetch tcp4=7070
    within systemctl kill -s TERM "$service_unit"
    wait_for 10 is "$service_unit" ActiveState inactive
    is "$service_unit" Result success
    is "$service_unit" NRestarts 0
    fetch tcp4=7070
    nothing_failed
}

@test "SIGINT resets all that run" {
    enable
    kept_midway one
    kill_main INT
    go
    client_gets one 'reset *'
    client_has_start one "$payload"
    transfers_say 1 5 'stopped: '
    fetch tcp4=7070
    nothing_failed
}

@test "a crash: SIGSEGV and SIGABRT" {
    enable
    kept_midway one
    dies_by kill_main SEGV
    dies_by kill_main ABRT
    go
    client_has_all one "$payload"
    transfers_say 1 6 'complete: .*, resumed 2 times"'
    nothing_failed
}

# As in 252.bats and 257.bats, where it resets the client.
@test "the OOM killer" {
    memory=/sys/fs/cgroup/memory
    if [[ ! -e $memory/memory.limit_in_bytes ]]; then
        [[ ${CI-} != true ]] || fail 'no memory controller of version 1, and CI skips nothing'
        skip 'no memory controller of version 1'
    fi
    own_cgroup=$memory/decant-$BASHPID
    mkdir "$own_cgroup"
    echo 32M >"$own_cgroup/memory.limit_in_bytes"
    in_service OOMScoreAdjust=1000
    enable
    kept_midway one
    main_pid
    before=$pid
    nsenter -t "$leader" -p sh -c "echo $pid >$own_cgroup/cgroup.procs"
    for i in 1 2 3 4 5 6 7 8; do
        # shellcheck disable=SC2016
        bash -c 'echo $$ >"$1/cgroup.procs"; exec perl -e "\$x = q(x) x shift; sleep" 5000000' hog "$own_cgroup" 3>&- &
        own_pids+=($!)
    done
    wait_for 20 is_another_process "$before"
    grep -E '^oom_kill [1-9]' "$own_cgroup/memory.oom_control"
    go
    client_has_all one "$payload"
    transfers_say 1 6 'complete: .*, resumed once"'
}

# --- Its upgrade, and other things that an admin does --------------------------------------------

@test "systemctl restart" {
    enable
    kept_midway one two
    dies_by within timeout 20 systemctl restart "$service_unit"
    fetch tcp6=7070
    go
    client_has_all one "$payload"
    client_has_all two "$payload"
    decant_says 1 5 '2 transfers are left to the next decant'
    decant_says 1 6 'resumed: 2 transfers of the decant before'
    transfers_say 3 6 'complete: '
    is "$service_unit" NRestarts 0
    nothing_failed
}

@test "an upgrade: a new program in the place of the old one, and restart" {
    enable
    kept_midway one
    upgrade
    dies_by within systemctl restart "$service_unit"
    [[ $machine/proc/$pid/exe -ef $machine/usr/local/sbin/decant ]] || fail 'not the new program'
    upgrade
    dies_by kill_main KILL
    go
    client_has_all one "$payload"
    transfers_say 1 6 'complete: .*, resumed 2 times"'
    nothing_failed
}

@test "make install, and restart" {
    enable
    kept_midway one
    flock "$root/Makefile" make -C "$root" --silent install DESTDIR="$machine" >"$T/log" 2>&1 || fail "$(cat "$T/log")"
    within systemctl daemon-reload
    dies_by within systemctl restart "$service_unit"
    go
    client_has_all one "$payload"
    nothing_failed
}

@test "daemon-reexec and daemon-reload keep what is kept" {
    enable
    kept_midway one two
    within systemctl daemon-reexec
    keeps $((own + 3)) || fail "$(property "$service_unit" NFileDescriptorStore) are kept"
    dies_by kill_main KILL
    within systemctl daemon-reload
    keeps $((own + 3)) || fail "$(property "$service_unit" NFileDescriptorStore) are kept"
    within systemctl daemon-reexec
    dies_by within systemctl restart "$service_unit"
    go
    client_has_all one "$payload"
    client_has_all two "$payload"
    transfers_say 2 6 'complete: .*, resumed 2 times"'
    nothing_failed
}

@test "systemctl restart of the socket" {
    enable
    kept_midway one
    dies_by within systemctl restart "$socket_unit"
    fetch tcp4=7070
    go
    client_has_all one "$payload"
    transfers_say 2 6 'complete: '
    nothing_failed
}

@test "other options are for new clients" {
    with_options --offset=100 --length=2900000
    enable
    kept_midway one
    with_options --offset=1000 --length=5000
    dies_by within systemctl restart "$service_unit"
    client two tcp4=7070 drain
    tail -c +1001 "$payload" | head -c 5000 >"$T/slice"
    client_has_all two "$T/slice"
    with_options --idle-exit=30s
    dies_by kill_main KILL
    go
    tail -c +101 "$payload" | head -c 2900000 >"$T/slice"
    client_has_all one "$T/slice"
    fetch tcp4=7070
    transfers_say 3 6 'complete: '
    nothing_failed
}

@test "systemctl stop resets" {
    enable
    kept_midway one two
    within timeout 20 systemctl stop "$service_unit"
    go
    client_gets one 'reset *'
    client_gets two 'reset *'
    client_has_start one "$payload"
    wait_for 10 keeps 0
    is "$service_unit" Result success
    decant_says 1 5 '2 transfers are left to the next decant'
    fetch tcp4=7070
    nothing_failed
}

# The next one is started at once, for who waits, and gets nothing of the one that was stopped.
@test "systemctl stop resets also while somebody waits for the next decant" {
    # shellcheck disable=SC2016
    in_service "ExecStopPost=+sh -c 'until test -e /run/go; do sleep 0.01; done'"
    enable
    kept_midway one
    within systemctl --no-block stop "$service_unit"
    wait_for 10 is "$service_unit" SubState stop-post
    waiting two
    : >"$machine/run/go"
    client_has_all two "$payload"
    go
    client_gets one 'reset *'
    client_has_start one "$payload"
    nothing_failed
}

@test "systemctl stop of the socket resets, and the port is gone" {
    enable
    kept_midway one
    within timeout 20 systemctl stop "$socket_unit"
    wait_for 10 is "$service_unit" ActiveState inactive
    go
    client_gets one 'reset *'
    none_runs
    refuses_port 7070 || fail 'it is served still'
    nothing_failed
}

# --- Its file ---------------------------------------------------------------------------------

@test "a new file, put in place by rename: who has begun gets the old one, from whichever decant" {
    enable
    cp "$payload" "$T/before"
    kept_midway one
    make_payload 2000000
    cp "$payload" "$T/between"
    dies_by kill_main KILL
    rm "$T/midway.one"
    client_midway two
    wait_for 10 keeps $((own + 4))
    make_payload 1000000
    dies_by kill_main KILL
    fetch tcp4=7070
    dies_by within systemctl restart "$service_unit"
    go
    client_has_all one "$T/before"
    client_has_all two "$T/between"
    fetch tcp6=7070
    transfers_say 4 6 'complete: '
    # None of the old files is kept any longer than it is needed.
    wait_for 10 keeps $((own + 1))
    nothing_failed
}

@test "a file that is gone: who has begun gets it all the same" {
    enable
    cp "$payload" "$T/before"
    kept_midway one two
    rm "$payload"
    dies_by kill_main KILL
    client three tcp4=7070 drain
    client_is_refused three
    dies_by within systemctl restart "$service_unit"
    go
    client_has_all one "$T/before"
    client_has_all two "$T/before"
    make_payload 100000
    fetch tcp4=7070
}

@test "a file that is written to while there is no decant: a reset, and a warning" {
    enable
    kept_midway one
    mv "$machine/usr/local/sbin/decant" "$machine/usr/local/sbin/elsewhere"
    kill_main KILL
    wait_for 20 failed_starts 2
    echo more >>"$payload"
    mv "$machine/usr/local/sbin/elsewhere" "$machine/usr/local/sbin/decant"
    go
    client_gets one 'reset *'
    transfers_say 1 4 'file changed: /srv/decant/7070 to .*replace it with rename'
}

@test "StandardInput=file: what only root can read is sent to its end" {
    make_payload 3000000 "$machine/srv/private"
    chmod 600 "$machine/srv/private"
    in_service StandardInput=file:/srv/private ExecStart= 'ExecStart=/usr/local/sbin/decant --idle-exit=30s'
    enable
    kept_midway one
    cp "$machine/srv/private" "$T/before"
    make_payload 2000000 "$machine/srv/private"
    chmod 600 "$machine/srv/private"
    dies_by kill_main KILL
    fetch tcp4=7070 "$machine/srv/private"
    go
    client_has_all one "$T/before"
    nothing_failed
}

@test "a directory, and a UNIX socket beside a port" {
    mkdir "$machine/srv/several"
    make_payload 3000000 "$machine/srv/several/by-port"
    make_payload 2000000 "$machine/srv/several/by-path"
    printf '%s\n' '[Socket]' ListenStream=/run/decant.sock FileDescriptorName=by-path "Service=$service_unit" |
        drop_in decantd@path.socket
    in_service Environment=DECANT_FILE=/srv/several BindReadOnlyPaths=/srv/several Sockets=decantd@path.socket
    printf '%s\n' '[Socket]' ListenStream= ListenStream=/run/decant.sock FileDescriptorName=by-path \
        "Service=$service_unit" | drop_in decantd@path.socket
    enable FileDescriptorName=by-port
    within systemctl start decantd@path.socket
    client_midway one
    client_midway two "unix=$machine/run/decant.sock"
    wait_for 10 keeps $((own + 4))
    dies_by kill_main KILL
    fetch tcp6=7070 "$machine/srv/several/by-port"
    dies_by within systemctl restart "$service_unit"
    go
    client_has_all one "$machine/srv/several/by-port"
    client_has_all two "$machine/srv/several/by-path"
    transfers_say 3 6 'complete: '
    nothing_failed
}

# --- Its client -------------------------------------------------------------------------------

# FDPOLL=0: systemd must not drop the socket of a client that has left, or nobody could tell of it.
@test "a client that leaves while there is no decant is recorded by the next one" {
    enable
    client one tcp4=7070 --rcvbuf=64K read=100000 "touch=$T/midway.one" "wait-file=$T/go" reset "touch=$T/left"
    client_midway two
    wait_for 20 test -e "$T/midway.one"
    wait_for 10 keeps $((own + 3))
    mv "$machine/usr/local/sbin/decant" "$machine/usr/local/sbin/elsewhere"
    kill_main KILL
    wait_for 20 failed_starts 1
    go
    wait_for 20 test -e "$T/left"
    mv "$machine/usr/local/sbin/elsewhere" "$machine/usr/local/sbin/decant"
    client_has_all two "$payload"
    wait_for 10 has_transfers 2
    [[ $(transfers | grep -cE '"MESSAGE":"client left: .*, resumed once') == 1 ]] || fail "$(transfers)"
    wait_for 10 keeps $((own + 1)) # the file is the present one, and stays
    nothing_failed
}

@test "a client that takes nothing is cut by its timeout, which death does not start anew for ever" {
    with_options --idle-exit=30s --stall-timeout=2s
    enable
    kept_midway one
    dies_by kill_main KILL
    wait_for 20 has_transfers 1
    go
    client_gets one 'reset *'
    transfers_say 1 5 'client stalled: '
    wait_for 10 keeps $((own + 1)) # the file is the present one, and stays
}

@test "who is kept and has got all sees the end at once, and who is reset the reset: PID 1 need not wake up for that" {
    make_payload 3000000 "$machine/srv/decant/other"
    enable
    kept_midway one two
    freeze
    go
    client_has_all one "$payload"
    client_has_all two "$payload"
    is_frozen || fail 'PID 1 is awake'
    thaw
    wait_for 10 keeps $((own + 1))
    rm "$T/go"
    kept_midway three
    freeze
    echo more >>"$payload"
    go
    client_gets three 'reset *'
    is_frozen || fail 'PID 1 is awake'
    thaw
    wait_for 10 has_transfers 3
}

# freeze: PID 1, and with it all that could be asked of systemd
freeze() {
    kill -STOP "$leader"
    frozen=$leader
    wait_for 10 is_frozen
}

is_frozen() {
    [[ $(awk '/^State:/ { print $2 }' "/proc/$leader/status") == T ]]
}

thaw() {
    kill -CONT "$leader"
    frozen=
}

# Its socket for such messages takes ten, or a few hundred, and then says EAGAIN. The one client that takes its time
# makes it last for five seconds.
@test "PID 1 stopped for five seconds: clients come, go on, and get all" {
    make_payload 3000000
    enable
    kept_midway one
    freeze
    client_midway two tcp6=7070
    load_port --clients=64 --connections=400 --rcvbuf=64K --file="$payload"
    load_port --clients=1 --connections=1 --last=5/5 --file="$payload"
    is_frozen || fail 'PID 1 is awake'
    client_midway three
    thaw
    # Now that it listens: the three that still run, and no more.
    wait_for 20 keeps $((own + 4))
    dies_by kill_main KILL
    go
    for name in one two three; do
        client_has_all "$name" "$payload"
    done
    transfers_say 404 6 'complete: '
    nothing_failed
}

@test "PID 1 stopped, and decant killed: they go on when PID 1 does" {
    enable
    kept_midway one
    main_pid
    freeze
    kill -KILL "$(host_pid)"
    waiting two
    go
    is_frozen || fail 'PID 1 is awake'
    thaw
    client_has_all one "$payload"
    client_has_all two "$payload"
    transfers_say 2 6 'complete: '
}

# --- A next decant that does not come --------------------------------------------------------------

@test "a decant that crashes at once is started ten times a second, until it does not" {
    sbin=$machine/usr/local/sbin
    in_service SystemCallFilter=kill
    enable
    kept_midway one
    mv "$sbin/decant" "$sbin/elsewhere"
    # shellcheck disable=SC2016
    printf '%s\n' '#!/bin/sh' 'kill -ABRT $$' >"$sbin/decant"
    chmod 755 "$sbin/decant"
    kill_main KILL
    waiting two
    wait_for 60 has_exits 6/ABRT 21
    exits_pause 6/ABRT 21 1.8
    is "$socket_unit" ActiveState active
    keeps $((own + 2)) || fail "$(property "$service_unit" NFileDescriptorStore) are kept"
    mv "$sbin/elsewhere" "$sbin/decant"
    client_has_all two "$payload"
    go
    client_has_all one "$payload"
    transfers_say 2 6 'complete: '
    nothing_failed
}

@test "a decant that is not there for a while: they go on when it is" {
    enable
    kept_midway one
    mv "$machine/usr/local/sbin/decant" "$machine/usr/local/sbin/elsewhere"
    kill_main KILL
    wait_for 30 failed_starts 5
    keeps $((own + 2)) || fail "$(property "$service_unit" NFileDescriptorStore) are kept"
    mv "$machine/usr/local/sbin/elsewhere" "$machine/usr/local/sbin/decant"
    go
    client_has_all one "$payload"
    transfers_say 1 6 'complete: .*, resumed once"'
    nothing_failed
}

@test "a wrong option in a drop-in: they are reset, and systemd does not try it again by itself" {
    enable
    kept_midway one
    with_options --nonsense
    within systemctl restart "$service_unit" || true
    go
    client_gets one 'reset *'
    client_has_start one "$payload"
    wait_for 10 is "$service_unit" ActiveState failed
    is "$service_unit" NRestarts 0
    is "$socket_unit" ActiveState active
    rm "$machine/etc/systemd/system/$service_unit.d/override.conf"
    within systemctl daemon-reload
    fetch tcp4=7070
    nothing_failed
}

# --- The store --------------------------------------------------------------------------------

@test "idle, it leaves nothing in the store" {
    with_options --idle-exit=200ms
    enable
    kept_midway one two
    dies_by kill_main KILL
    go
    client_has_all one "$payload"
    client_has_all two "$payload"
    wait_for 10 is "$service_unit" ActiveState inactive
    is "$service_unit" Result success
    wait_for 10 keeps 0
    fetch tcp4=7070
    nothing_failed
}

@test "what is over in one call is not kept" {
    make_payload 20000
    enable
    load_port --clients=4 --connections=50 --file="$payload"
    transfers_say 50 6 'complete: '
    keeps 0 || fail "$(property "$service_unit" NFileDescriptorStore) are kept"
}

# How it stops then is in resident.bash.
@test "FileDescriptorStoreMax=0: one notice, and SIGKILL resets" {
    keeps_nothing
    enable
    client_midway one
    client_midway two tcp6=7070
    decant_says 1 5 'systemd keeps no descriptors for this service \(FileDescriptorStoreMax=\)'
    dies_by kill_main KILL
    go
    client_gets one 'reset *'
    client_gets two 'reset *'
    client_has_start one "$payload"
    fetch tcp4=7070
    transfers_say 1 6 'complete: .* MB/s"'
    nothing_failed
}

@test "FileDescriptorStoreMax=0 while transfers run: after daemon-reload, stop drains" {
    enable
    kept_midway one two
    keeps_nothing
    decant_says 1 5 'systemd keeps no descriptors for this service \(FileDescriptorStoreMax=\)'
    keeps 0 || fail "$(property "$service_unit" NFileDescriptorStore) are kept"
    client_midway three
    begin_stop stop "$service_unit"
    go
    for name in one two three; do
        client_has_all "$name" "$payload"
    done
    wait_for 10 is "$service_unit" ActiveState inactive
    transfers_say 3 6 'complete: .* MB/s"'
    nothing_failed
}

# Three for decant, one for the file, and four for clients.
@test "a store that is too small: all are served, and who is kept outlives a SIGKILL" {
    in_service FileDescriptorStoreMax=8
    enable
    ten_midway
    dies_by kill_main KILL
    go
    whole=0
    for i in 1 2 3 4 5 6 7 8 9 10; do
        wait_for_client "c$i"
        case $(cat "$T/c$i.result") in
        'eof 3000000') whole=$((whole + 1)) && cmp "$T/c$i" "$payload" ;;
        'reset '*) client_has_start "c$i" "$payload" ;;
        *) fail "client c$i got $(cat "$T/c$i.result")" ;;
        esac
    done
    [[ $whole == 4 ]] || fail "$whole were whole"
    fetch tcp4=7070
    nothing_failed
}

@test "a store that is too small: all are served" {
    in_service FileDescriptorStoreMax=8
    enable
    ten_midway
    go
    ten_have_all
    transfers_say 10 6 'complete: '
}

# keep NAME WHAT: in the store, as nobody else puts it there
keep() {
    [[ -e $machine/root/keep ]] || cp "$tools/keep" "$machine/root/keep"
    main_pid
    within /root/keep "$pid" "$@" >"$T/keep.$1" 2>&1 3>&- &
    own_pids+=($!)
    wait_for 20 grep -q '^kept$' "$T/keep.$1" || fail "$(cat "$T/keep.$1")"
}

@test "foreign descriptors in the store do no harm, and are left there" {
    enable
    kept_midway one
    keep stored pipe
    keep connection tcp
    keeps $((own + 4)) || fail "$(property "$service_unit" NFileDescriptorStore) are kept"
    dies_by kill_main KILL
    decant_says 1 4 '2 of the descriptors that systemd keeps for this service are not decant'
    dies_by within systemctl restart "$service_unit"
    keeps $((own + 4)) || fail "$(property "$service_unit" NFileDescriptorStore) are kept"
    go
    client_has_all one "$payload"
    fetch tcp4=7070
    transfers_say 2 6 'complete: '
    [[ $(cat "$T/keep.connection") == kept ]] || fail "the foreign connection: $(cat "$T/keep.connection")"
    nothing_failed
}

@test "foreign files in the store do no harm, and are left there" {
    enable
    kept_midway one
    keep configuration file=/etc/passwd
    keep @nobody memfd
    keeps $((own + 4)) || fail "$(property "$service_unit" NFileDescriptorStore) are kept"
    dies_by kill_main KILL
    decant_says 1 4 '2 of the descriptors that systemd keeps for this service are not decant'
    keeps $((own + 4)) || fail "$(property "$service_unit" NFileDescriptorStore) are kept"
    go
    client_has_all one "$payload"
    fetch tcp4=7070
    nothing_failed
}

@test "a socket in the store that has no transfer is reset, and no other is" {
    enable
    kept_midway one
    keep @7 tcp
    keep @fffff tcp
    dies_by kill_main KILL
    for name in @7 @fffff; do
        wait_for 10 grep -q '^reset$' "$T/keep.$name" || fail "$name: $(cat "$T/keep.$name")"
    done
    decant_says 1 4 '2 sockets in the file-descriptor store without a transfer in the table: reset'
    wait_for 10 keeps $((own + 2))
    go
    client_has_all one "$payload"
    nothing_failed
}

@test "two tables in the store: neither is believed, and all are reset" {
    enable
    kept_midway one
    keep @table memfd
    dies_by kill_main KILL
    go
    client_gets one 'reset *'
    client_has_start one "$payload"
    decant_says 1 3 'the table in the file-descriptor store is not used, since '
    rm "$T/go" "$T"/midway.*
    wait_for 10 keeps 2
    client_midway two
    wait_for 10 keeps $((own + 2))
    dies_by kill_main KILL
    go
    client_has_all two "$payload"
}

@test "a second socket of a transfer's name is reset, and the first goes on" {
    enable
    kept_midway one
    keep @0 tcp
    dies_by kill_main KILL
    wait_for 10 grep -q '^reset$' "$T/keep.@0" || fail "$(cat "$T/keep.@0")"
    go
    client_gets one "@(eof 3000000|reset *)"
    client_has_start one "$payload"
}

# --- Many -------------------------------------------------------------------------------------

@test "as many clients as the shipped unit allows outlive their decant" {
    many_outlive 4096
}

# --- The demonstration ------------------------------------------------------------------------

@test "make demo-kill shows what it says" {
    BYTES=3000000 RATE=2M KILLS=3 timeout 120 "$root/tests/system/demo-kill" "$version" >"$T/demo" 2>&1 3>&- ||
        fail "$(cat "$T/demo")"
    [[ $(grep -cE '^ +[0-9]+ %  kill -9 [0-9]+, and [0-9]+ goes on$' "$T/demo") == 3 ]] || fail "$(cat "$T/demo")"
    grep -q ' 3000000 acknowledged, .*, resumed 3 times$' "$T/demo"
    [[ $(grep -oE '^SHA-256 .* [0-9a-f]{64}$' "$T/demo" | sed 's/.* //' | uniq -c) == *' 2 '* ]] || fail "$(cat "$T/demo")"
    [[ $(tail -n 1 "$T/demo") == 'They are the same.' ]]
}
