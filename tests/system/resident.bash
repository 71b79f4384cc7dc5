# shellcheck shell=bats
# SPDX-License-Identifier: MIT
# The shipped units of the resident decant as a user gets them: `make install`, the commands of the README and the
# manual's examples, with Debian 12's systemd (252) and Debian 13's (257) as PID 1. 252-resident.bats and
# 257-resident.bats are this file under two names, so that prove runs them side by side.
#
# Here systemd keeps the port, and decant is only ever there for a while. What goes wrong then is a socket that
# systemd gives up after a few starts in vain, one that it cannot open anew since decant listens still, and a
# client that is lost between one decant and the next. What becomes of running transfers is in store.bash; where this
# file has them end, it is in the way of the unit's comment, FileDescriptorStoreMax=0.

load decantd

# --- Its life ---------------------------------------------------------------------------------

@test "README: enable, fetch over each address, disable, uninstall" {
    within systemctl enable --now decantd@7070.socket
    is decantd@7070.service ActiveState inactive
    for address in tcp4=7070 tcp6=7070; do
        fetch "$address"
    done
    for address in TCP4:192.0.2.1 'TCP6:[2001:db8::1]'; do
        from_outside timeout 20 socat -u "$address:7070" "CREATE:$T/copy"
        cmp "$T/copy" "$payload"
        rm "$T/copy"
    done
    within systemctl disable --now decantd@7070.socket
    wait_for 10 is decantd@7070.service ActiveState inactive
    none_runs
    make -C "$root" --silent uninstall DESTDIR="$machine"
    within systemctl daemon-reload
    [[ -z $(within find /etc/systemd /run/systemd /usr/local /usr/lib/systemd -name '*decant*') ]] ||
        fail "$(within find /etc/systemd /run/systemd /usr/local /usr/lib/systemd -name '*decant*')"
    ! within systemctl list-units --all --no-legend --plain '*decant*' | grep -v '^system-decantd.slice ' ||
        fail 'units are left'
    nothing_failed
}

@test "README: another file, and another address" {
    mkdir "$machine/srv/images"
    make_payload 5000000 "$machine/srv/images/disk.img"
    readme_drop_in 1 | drop_in decantd@7070.service
    enable
    fetch tcp4=7070 "$machine/srv/images/disk.img"
    readme_drop_in 2 | drop_in decantd@7070.socket
    within systemctl restart decantd@7070.socket
    from_outside timeout 20 socat -u TCP:192.0.2.1:7070 "CREATE:$T/copy"
    cmp "$T/copy" "$machine/srv/images/disk.img"
    refuses_port 7070 || fail 'the shipped address is still there'
    nothing_failed
}

@test "two ports side by side" {
    make_payload 2000000 "$machine/srv/decant/8080"
    within systemctl enable --quiet --now decantd@7070.socket decantd@8080.socket
    client_midway one
    fetch tcp4=8080 "$machine/srv/decant/8080"
    fetch tcp6=8080 "$machine/srv/decant/8080"
    within systemctl stop decantd@8080.socket
    refuses_port 8080 || fail 'it is served still'
    go
    client_has_all one "$payload"
    fetch tcp6=7070
    records_say 4 6 'complete: '
    were _SYSTEMD_UNIT 2
    nothing_failed
}

@test "it ends when it is idle, and is started again by the next client" {
    with_options --idle-exit=100ms
    enable
    for i in 1 2 3; do
        fetch tcp4=7070
        wait_for 10 is decantd@7070.service ActiveState inactive
        is decantd@7070.service Result success
    done
    none_runs
    records_say 3 6 'complete: '
    were _PID 3
    nothing_failed
}

@test "clients that come while it ends are all served" {
    make_payload 20000
    with_options --idle-exit=10ms
    enable
    load_port --file="$payload" --clients=1 --connections=100 --gap=0/30
    wait_for 30 has_records 100
    (($(records | grep -o '"_PID":"[0-9]*"' | sort -u | wc -l) > 3)) || fail 'it hardly ever ended'
    is decantd@7070.socket ActiveState active
    nothing_failed
}

@test "600 quick clients, one process, one record for each" {
    make_payload 20000
    enable
    load_port --file="$payload" --clients=8 --connections=600
    wait_for 30 has_records 600
    records_say 600 6 'complete: /srv/decant/7070 to .*: 20000 of 20000 bytes sent, 20000 acknowledged'
    were _PID 1
    is decantd@7070.service NRestarts 0
    nothing_failed
}

@test "600 quick clients that come and go" {
    enable
    quick_clients 600
    [[ ! -s $T/quick ]] || fail "$(cat "$T/quick")"
    wait_for 60 has_records 600
    ! records | grep -vE '"PRIORITY":"[56]"' || fail 'a record is of another priority'
    were _PID 1
    is decantd@7070.socket ActiveState active
    fetch tcp4=7070
    nothing_failed
}

@test "one record for each transfer: its priority, its client, its unit" {
    enable
    one_record_each
    [[ $(records | grep -c '"_SYSTEMD_UNIT":"decantd@7070.service"') == 9 ]] || fail "$(records)"
    were _PID 1
    no_complaints
}

@test "Type=notify: systemctl start waits until it serves, and systemctl status has what it does" {
    within systemctl start decantd@7070.socket
    within systemctl start decantd@7070.service
    is decantd@7070.service SubState running
    wait_for 10 is decantd@7070.service StatusText '0 clients, 0 served, 0.0 MB sent in all'
    make_payload 20000000
    client_midway one
    wait_for 10 status_is '1 client, 0 served, [0-9.]+ MB sent in all; [0-9]+ % of /srv/decant/7070'
    within systemctl status --no-pager decantd@7070.service | grep 'Status: "1 client, 0 served'
    client_midway two
    wait_for 10 status_is '2 clients, 0 served, [0-9.]+ MB sent in all'
    go
    client_has_all one "$payload"
    client_has_all two "$payload"
    wait_for 10 is decantd@7070.service StatusText '0 clients, 2 served, 40.0 MB sent in all'
    nothing_failed
}

# --- Its end ----------------------------------------------------------------------------------

@test "drained, systemctl stop: running transfers get to their end, and who comes meanwhile is for the next decant" {
    keeps_nothing
    enable
    client_midway one
    client_midway two tcp6=7070
    begin_stop stop decantd@7070.service
    waiting three
    go
    client_has_all one "$payload"
    client_has_all two "$payload"
    client_has_all three "$payload"
    transfers_say 3 6 'complete: '
    were _PID 2
    nothing_failed
}

@test "drained, systemctl stop: who takes nothing is reset after --stop-timeout" {
    keeps_nothing ExecStart= "ExecStart=/usr/local/sbin/decant --idle-exit=30s --stop-timeout=1s \${DECANT_FILE}"
    enable
    client_midway one
    client_midway two tcp6=7070
    timeout 20 nsenter -t "$leader" -a systemctl stop decantd@7070.service
    go
    client_gets one 'reset *'
    client_gets two 'reset *'
    client_has_start one "$payload"
    transfers_say 2 5 'stopped: /srv/decant/7070 to '
    is decantd@7070.service Result success
    nothing_failed
    fetch tcp4=7070
}

# Where TimeoutStopSec= is the shorter one, SIGKILL has the last word.
@test "drained, systemctl stop: TimeoutStopSec= resets as well" {
    keeps_nothing TimeoutStopSec=1s
    enable
    client_midway one
    timeout 20 nsenter -t "$leader" -a systemctl stop decantd@7070.service
    go
    client_gets one 'reset *'
    client_has_start one "$payload"
    is decantd@7070.service Result timeout
    fetch tcp4=7070
    nothing_failed
}

@test "manual: a longer time for running transfers" {
    manual_drop_in 'For a longer time' | drop_in decantd@7070.service
    enable
    client_midway one
    is decantd@7070.service TimeoutStopUSec '2min 5s'
    begin_stop stop decantd@7070.service
    go
    client_has_all one "$payload"
    wait_for 10 is decantd@7070.service ActiveState inactive
    nothing_failed
}

# decant listens on the same socket: if it were not stopped, too, the port would go on being served, and could not
# be opened anew beside it.
@test "drained, systemctl stop of the socket: running transfers get to their end, and the port is gone" {
    keeps_nothing
    enable
    client_midway one
    begin_stop stop decantd@7070.socket
    go
    client_has_all one "$payload"
    wait_for 10 is decantd@7070.service ActiveState inactive
    wait_for 10 is decantd@7070.socket ActiveState inactive
    none_runs
    refuses_port 7070 || fail 'it is served still'
    within systemctl start decantd@7070.socket
    fetch tcp4=7070
    nothing_failed
}

@test "drained, systemctl restart of the socket: running transfers get to their end, and the port comes back" {
    keeps_nothing
    enable
    client_midway one
    before=$(property decantd@7070.socket InvocationID)
    begin_stop restart decantd@7070.socket
    go
    client_has_all one "$payload"
    wait_for 20 is_another_invocation "$before" # till then it takes clients, and resets them when it closes
    fetch tcp4=7070
    within systemctl restart decantd@7070.socket
    fetch tcp6=7070
    nothing_failed
}

is_another_invocation() {
    [[ $(property "$socket_unit" ActiveState) == active && $(property "$socket_unit" InvocationID) != "$1" ]]
}

@test "the machine goes down: the client is reset" {
    enable
    client_midway one
    kill -TERM "$boot_pid"
    wait "$boot_pid" || true
    boot_pid=
    go
    client_gets one 'reset *'
}

@test "drained, the machine goes down: who is quick gets all" {
    keeps_nothing
    enable
    client_midway one
    main_pid
    kill -TERM "$boot_pid"
    wait_for 10 is_stopping
    go
    client_has_all one "$payload"
    wait "$boot_pid" || true
    boot_pid=
}

# systemd runs no longer to be asked; the process that was started may end meanwhile.
is_stopping() {
    [[ $(property "$service_unit" ActiveState 2>/dev/null) == deactivating ]] && has_taken_term
}

# --- Its file ---------------------------------------------------------------------------------

# Each start takes those that wait in the queue. By default systemd stops the socket for good after 20 starts within
# 2 s, and the service after 5 within 10 s.
@test "a missing file: resets, a failed unit, a socket that 300 quick clients leave alive, and no lasting harm" {
    mv "$payload" "$machine/srv/elsewhere"
    enable
    for i in 1 2 3 4 5 6 7 8; do
        client one tcp4=7070 drain
        client_is_refused one
    done
    wait_for 10 has_failed
    within journalctl --boot --no-pager --output=cat --identifier=decant --priority=err |
        grep -E "cannot open '/srv/decant/7070' as user [0-9]+: No such file or directory; create it, or correct"
    quick_clients 300
    client one tcp6=7070 drain
    client_is_refused one
    [[ ! -s $T/quick ]] || fail "$(cat "$T/quick")"
    wait_for 10 has_failed
    is decantd@7070.socket ActiveState active
    ! records | grep -v '"PRIORITY":"3"' || fail 'a record is of another priority'
    mv "$machine/srv/elsewhere" "$payload"
    fetch tcp4=7070
    nothing_failed
}

@test "a missing file: five starts a second" {
    mv "$payload" "$machine/srv/elsewhere"
    enable
    nsenter -t "$leader" -n "$tools/load" --connections=20 --clients=1 --gap=0/1 tcp4=7070 >"$T/load" 3>&- || true
    grep '^connections=20 whole=0 reset=20 ' "$T/load"
    wait_for 10 has_exits 66/NOINPUT 11
    exits_pause 66/NOINPUT 11 1
    mv "$machine/srv/elsewhere" "$payload"
    fetch tcp4=7070
}

has_failed() {
    [[ $(failed_units) == "$service_unit" ]]
}

@test "a file that goes missing later: a reset and a record for each, until it is there again" {
    with_options --idle-exit=1s
    enable
    fetch tcp4=7070
    mv "$payload" "$machine/srv/elsewhere"
    client one tcp4=7070 drain
    client_is_refused one
    client two tcp4=7070 drain
    client_is_refused two
    mv "$machine/srv/elsewhere" "$payload"
    fetch tcp4=7070
    wait_for 20 has_failed # its status says it when it ends
    wait_for 10 has_records 4
    [[ $(records | grep -c '"PRIORITY":"3"') == 2 ]] || fail "$(records)"
    fetch tcp4=7070
    nothing_failed
}

@test "a new file, put in place by rename, goes to those who come later" {
    make_payload 20000000
    cp "$payload" "$T/before"
    enable
    client_midway one
    make_payload 3000000
    fetch tcp4=7070
    go
    client_has_all one "$T/before"
    records_say 2 6 'complete: '
    were _PID 1
    nothing_failed
}

@test "a file that is written to: a reset, a warning, and a failed unit when it ends" {
    with_options --idle-exit=100ms
    enable
    client_midway one
    echo more >>"$payload"
    go
    client_gets one 'reset *'
    records_say 1 4 'file changed: /srv/decant/7070 to .*replace it with rename'
    wait_for 10 has_failed
    fetch tcp4=7070
    nothing_failed
}

@test "clients that leave are recorded, and leave no failed unit" {
    with_options --idle-exit=100ms
    enable
    client one tcp4=7070 --rcvbuf=64K read=1000 reset
    client two tcp6=7070 --rcvbuf=64K read=1000 close
    records_say 2 5 'client left: /srv/decant/7070 to '
    wait_for 10 is decantd@7070.service ActiveState inactive
    nothing_failed
}

@test "StandardInput=file: opens what only root can read" {
    make_payload 3000000 "$machine/srv/private"
    chmod 600 "$machine/srv/private"
    in_service StandardInput=file:/srv/private ExecStart= 'ExecStart=/usr/local/sbin/decant --idle-exit=30s'
    enable
    fetch tcp4=7070 "$machine/srv/private"
    fetch tcp6=7070 "$machine/srv/private"
    records_say 2 6 'complete: /srv/private to '
    nothing_failed
}

# --- Its sockets ------------------------------------------------------------------------------

@test "manual: a UNIX socket" {
    make_payload 3000000 "$machine/srv/decant/image"
    manual_drop_in 'A UNIX socket, as' | drop_in decantd@image.socket
    within systemctl enable --quiet --now decantd@image.socket
    for name in one two; do
        client "$name" --inside unix=/run/decant.sock send=100 drain
        client_has_all "$name" "$machine/srv/decant/image"
    done
    # PID 1 must know nothing of the clients, so that one of another PID namespace is served, too.
    client three "unix=$machine/run/decant.sock" drain
    client_has_all three "$machine/srv/decant/image"
    records_say 3 6 'complete: /srv/decant/image to unix:'
    nothing_failed
}

@test "manual: one process for several ports, each with its file" {
    make_payload 3000000 "$machine/srv/decant/manual.pdf"
    make_payload 2000000 "$machine/srv/decant/disk.img"
    manual_drop_in 'here for the instances 7071 and 7072' | drop_in decantd@7071.socket
    manual_drop_in 'which then starts the service of the other one' | drop_in decantd@7072.socket
    manual_drop_in 'And for' | drop_in decantd@7071.service
    within systemctl start decantd@7071.socket decantd@7072.socket
    fetch tcp4=7071 "$machine/srv/decant/manual.pdf"
    fetch tcp6=7072 "$machine/srv/decant/disk.img"
    make_payload 1000000 "$machine/srv/decant/manual.pdf"
    fetch tcp4=7071 "$machine/srv/decant/manual.pdf"
    records_say 3 6 'complete: /srv/decant/(manual.pdf|disk.img) to '
    were _PID 1
    # Either of them can be opened anew, and serves again.
    for port in 7071 7072; do
        within systemctl restart "decantd@$port.socket"
        fetch tcp4=7071 "$machine/srv/decant/manual.pdf"
        fetch tcp4=7072 "$machine/srv/decant/disk.img"
    done
    no_complaints
    nothing_failed
}

@test "manual: two processes for one port" {
    for name in a b; do
        manual_drop_in 'For each of the sockets' | drop_in "decantd@$name.socket"
        manual_drop_in 'and for each of the services' | drop_in "decantd@$name.service"
    done
    within systemctl enable --quiet --now decantd@a.socket decantd@b.socket
    load_port --file="$payload" --clients=8 --connections=100
    records_say 100 6 'complete: /srv/decant/7070 to '
    were _SYSTEMD_UNIT 2
    were _PID 2
    # One of them goes: the other has the port alone.
    within systemctl stop decantd@a.socket
    load_port --file="$payload" --clients=8 --connections=20
    nothing_failed
}

# --- Its supervisor ---------------------------------------------------------------------------

@test "daemon-reload and daemon-reexec leave running transfers alone" {
    enable
    client_midway one
    main_pid
    before=$pid
    within systemctl daemon-reload
    client_midway two tcp6=7070
    within systemctl daemon-reexec
    client_midway three
    go
    for name in one two three; do
        client_has_all "$name" "$payload"
    done
    wait_for 10 status_is '0 clients, 3 served, .*' # still heard
    main_pid
    [[ $pid == "$before" ]] || fail 'another process'
    within systemctl stop decantd@7070.service
    is decantd@7070.service ActiveState inactive
    fetch tcp4=7070
    nothing_failed
}

fed_since() {
    [[ $(property "$service_unit" WatchdogTimestampMonotonic) != "$1" ]]
}

@test "WatchdogSec=: it is fed with and without clients, and one that hangs is killed, which costs no client" {
    in_service WatchdogSec=2s
    enable
    kept_midway one
    for i in 1 2 3; do
        fed=$(property decantd@7070.service WatchdogTimestampMonotonic)
        wait_for 10 fed_since "$fed"
    done
    within systemctl kill -s STOP decantd@7070.service
    waiting two
    wait_for 20 manager_says 'decantd@7070.service: Watchdog timeout'
    go
    client_has_all one "$payload"
    client_has_all two "$payload"
    transfers_say 2 6 'complete: '
    fetch tcp4=7070
    is decantd@7070.service ActiveState active
    is decantd@7070.service NRestarts 1
    for i in 1 2 3; do
        fed=$(property decantd@7070.service WatchdogTimestampMonotonic)
        wait_for 10 fed_since "$fed"
    done
    is decantd@7070.service ActiveState active
    nothing_failed
}

# PID 1 starts it again and again: a few times a second, thanks to RestartSec= and ExecStopPost=, and not 80, which would
# stop the socket for good. When the program is there, the client that waits is still there, too.
@test "a decant that cannot be executed is started a few times a second, until it can" {
    mv "$machine/usr/local/sbin/decant" "$machine/usr/local/sbin/elsewhere"
    enable
    client one tcp4=7070 drain
    wait_for 30 failed_starts 11
    is decantd@7070.socket ActiveState active
    exits_pause 203/EXEC 11 1 # ten pauses of 0.2 s; the rest of it is for a journal that gets to the first ones late
    mv "$machine/usr/local/sbin/elsewhere" "$machine/usr/local/sbin/decant"
    client_has_all one "$payload"
    nothing_failed
}

# Where not even ExecStopPost= can be run, there is still RestartSec=.
@test "a user that does not exist: ten starts a second, until it does" {
    in_service DynamicUser=no User=nosuch # which it would make up
    enable
    client one tcp4=7070 drain
    wait_for 60 has_restarted 21
    is decantd@7070.socket ActiveState active
    rm "$machine/etc/systemd/system/decantd@7070.service.d/override.conf"
    within systemctl daemon-reload
    client_has_all one "$payload"
    nothing_failed
}

has_restarted() {
    (($(property "$service_unit" NRestarts) >= $1))
}

# What nobody has foreseen: it ends well, and at once, with a client in the queue, and no pause in between. The limit is a
# lower one here, since a busy machine may not even come to 20 starts a second.
@test "too many starts stop the socket, which resets, until it is restarted" {
    in_service Type=simple ExecStart= ExecStart=true '[Unit]' StartLimitBurst=20
    enable
    client one tcp4=7070 drain
    wait_for 60 is decantd@7070.socket ActiveState failed
    client_gets one '@(reset|eof) 0' # decant was never there to arm it
    refuses_port 7070 || fail 'it listens still'
    rm "$machine/etc/systemd/system/decantd@7070.service.d/override.conf"
    within systemctl daemon-reload
    within systemctl reset-failed decantd@7070.service # its limit lasts 10 s, or till then
    within systemctl restart decantd@7070.socket
    fetch tcp4=7070
    nothing_failed
}

@test "systemd-analyze has nothing to say of the units" {
    [[ -z $(within systemd-analyze verify --man=no decant.socket decant@.service decantd@7070.socket decantd@7070.service \
        decant-failure.service decant-failed.service 2>&1) ]]
}
