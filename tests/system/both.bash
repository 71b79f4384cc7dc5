# shellcheck shell=bats
# SPDX-License-Identifier: MIT
# The shipped units as a user gets them: `make install` and the commands of the README, with Debian 12's systemd (252)
# and Debian 13's (257) as PID 1. 252.bats and 257.bats are this file under two names, so that prove runs them side
# by side.
#
# What systemd does by itself had to be found out, and each find is a test here: by default 201 quick clients stop
# the socket for good (252), instances that failed pile up, and without them a missing file is nowhere to be seen.

load common

@test "README: enable, fetch over each address, disable, uninstall" {
    within systemctl enable --now decant.socket
    for address in tcp4=7070 tcp6=7070; do
        fetch "$address"
    done
    for address in TCP4:192.0.2.1 'TCP6:[2001:db8::1]'; do
        from_outside timeout 20 socat -u "$address:7070" "CREATE:$T/copy"
        cmp "$T/copy" "$payload"
        rm "$T/copy"
    done
    within systemctl disable --now decant.socket
    wait_for 10 has_instances 0
    none_runs
    make -C "$root" --silent uninstall DESTDIR="$machine"
    within systemctl daemon-reload
    [[ -z $(within find /etc/systemd /run/systemd /usr/local /usr/lib/systemd -name '*decant*') ]] ||
        fail "$(within find /etc/systemd /run/systemd /usr/local /usr/lib/systemd -name '*decant*')"
    ! within systemctl list-units --all --no-legend --plain '*decant*' | grep -v '^system-decant.slice ' ||
        fail 'units are left'
    nothing_failed
}

@test "README: another file, and another port" {
    mkdir "$machine/srv/images"
    head -c 5000000 /dev/urandom >"$machine/srv/images/disk.img"
    readme_drop_in 3 | drop_in decant@.service
    within systemctl enable --quiet --now decant.socket
    fetch tcp4=7070 "$machine/srv/images/disk.img"
    readme_drop_in 4 | drop_in decant.socket
    within systemctl restart decant.socket
    from_outside timeout 20 socat -u TCP:192.0.2.1:8080 "CREATE:$T/copy"
    cmp "$T/copy" "$machine/srv/images/disk.img"
    refuses_port 7070 || fail 'the shipped port is still there'
}

@test "600 quick clients leave the socket alive" {
    enable
    quick_clients 600
    wait_for 60 has_instances 0
    is decant.socket ActiveState active
    [[ ! -s $T/quick ]] || fail "$(cat "$T/quick")"
    fetch tcp4=7070
    nothing_failed
}

# Above, most are turned away by MaxConnectionsPerSource=. Here each starts a decant.
@test "600 quick clients, all of them let in" {
    enable MaxConnections=1000 MaxConnectionsPerSource=1000
    quick_clients 600
    wait_for 90 has_records 600
    wait_for 10 has_instances 0
    [[ $(property decant.socket NAccepted) == 600 ]]
    ! records | grep -vE '"PRIORITY":"[56]"' || fail 'a record is of another priority'
    fetch tcp4=7070
    nothing_failed
}

@test "MaxConnections= and MaxConnectionsPerSource= hold, and let go" {
    enable MaxConnections=3 MaxConnectionsPerSource=2
    client_midway one
    client_midway two
    client three tcp4=7070 drain
    client_gets three 'eof 0'
    client_midway four tcp6=7070
    from_outside timeout 20 socat -u TCP:192.0.2.1:7070 "CREATE:$T/copy"
    [[ ! -s $T/copy ]] || fail 'MaxConnections= does not hold'
    go
    for name in one two four; do
        client_has_all "$name" "$payload"
    done
    wait_for 10 has_instances 0
    fetch tcp4=7070
    from_outside timeout 20 socat -u TCP:192.0.2.1:7070 - | cmp - "$payload"
}

@test "clients that leave are recorded, and leave no failed unit" {
    enable
    client one tcp4=7070 --rcvbuf=64K read=1000 reset
    client two tcp6=7070 --rcvbuf=64K read=1000 close
    records_say 2 5 'client left: /srv/decant/payload to '
    wait_for 10 has_instances 0
    nothing_failed
}

# Instances that failed must not stay: they pile up in PID 1, and some versions count them as connections. But gone as
# they are, nothing was left in systemctl --failed; decant-failed.service stands there for them. Named in their
# OnFailure=, it kept them all.
@test "a missing file: a reset, a record that says what to mend, a failed unit, and no lasting harm" {
    enable MaxConnectionsPerSource=2
    mv "$payload" "$machine/srv/elsewhere"
    for i in 1 2 3 4 5 6 7 8; do
        client one tcp4=7070 drain
        client_is_refused one
        wait_for 10 has_instances 0
    done
    records_say 8 3 "cannot open '/srv/decant/payload' as user 1: No such file or directory; create it, or correct"
    wait_for 10 is decant-failed.service ActiveState failed
    [[ $(failed_units) == decant-failed.service ]] || fail "failed: $(failed_units)"
    within systemctl --failed --no-pager | grep -q 'could not send its file: see journalctl -t decant'
    mv "$machine/srv/elsewhere" "$payload"
    fetch tcp4=7070
    within systemctl reset-failed
    nothing_failed
}

@test "one record for each transfer: its priority, its client, its unit" {
    enable
    one_record_each
    [[ $(records | grep -o '"_SYSTEMD_UNIT":"decant@[^"]*' | sort -u | wc -l) == 9 ]] || fail "$(records)"
    [[ $(within journalctl --boot --no-pager --quiet --output=cat --identifier=decant | wc -l) == 9 ]]
    # PID 1's own lines beside them are of priority info: no complaint of a unit of ours.
    ! within journalctl --boot --no-pager --output=cat --priority=notice | grep -i decant || fail 'complaints'
}

@test "a file that is written to: a reset, a warning, and a failed unit" {
    enable
    client_midway one
    echo more >>"$payload"
    go
    client_gets one 'reset *'
    records_say 1 4 'file changed: /srv/decant/payload to .*replace it with rename'
    wait_for 10 is decant-failed.service ActiveState failed
}

@test "systemctl stop resets the clients, which are recorded" {
    enable
    client_midway one
    client_midway two tcp6=7070
    within systemctl stop 'decant@*.service'
    go
    client_gets one 'reset *'
    client_gets two 'reset *'
    client_has_start one "$payload"
    records_say 2 5 'stopped: /srv/decant/payload to '
    wait_for 10 has_instances 0
    nothing_failed
    fetch tcp4=7070
}

@test "systemctl stop and restart of the socket leave transfers alone" {
    enable
    client_midway one
    within systemctl stop decant.socket
    within systemctl start decant.socket
    within systemctl restart decant.socket
    go
    client_has_all one "$payload"
    fetch tcp4=7070
}

@test "systemctl kill -s KILL resets the client" {
    enable
    client_midway one
    within systemctl kill -s KILL 'decant@*.service'
    go
    client_gets one 'reset *'
    client_has_start one "$payload"
    wait_for 10 has_instances 0
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

# The limit is put on from outside, since the machine may not write to its cgroups of version 1. decant itself hardly
# takes memory: eight others ask for more than there is, and decant is the one that must go.
@test "the OOM killer resets the client" {
    memory=/sys/fs/cgroup/memory
    if [[ ! -e $memory/memory.limit_in_bytes ]]; then
        [[ ${CI-} != true ]] || fail 'no memory controller of version 1, and CI skips nothing'
        skip 'no memory controller of version 1'
    fi
    own_cgroup=$memory/decant-$BASHPID
    mkdir "$own_cgroup"
    echo 32M >"$own_cgroup/memory.limit_in_bytes"
    printf '%s\n' '[Service]' OOMScoreAdjust=1000 | drop_in decant@.service
    enable
    client_midway one
    pid=$(property "$(instances)" MainPID)
    nsenter -t "$leader" -p sh -c "echo $pid >$own_cgroup/cgroup.procs"
    [[ $(wc -l <"$own_cgroup/cgroup.procs") == 1 ]]
    for i in 1 2 3 4 5 6 7 8; do
        # shellcheck disable=SC2016
        bash -c 'echo $$ >"$1/cgroup.procs"; exec perl -e "\$x = q(x) x shift; sleep" 5000000' hog "$own_cgroup" 3>&- &
        own_pids+=($!)
    done
    wait_for 10 has_instances 0
    go
    client_gets one 'reset *'
    wait_for 10 manager_says 'decant@.*(status=9/KILL|oom-kill)'
    grep -E '^oom_kill [1-9]' "$own_cgroup/memory.oom_control"
}

@test "a UNIX socket, with and without PassCredentials=" {
    enable ListenStream= ListenStream=/run/decant.sock
    client one --inside "unix=/run/decant.sock" drain
    client_has_all one "$payload"
    enable ListenStream= ListenStream=/run/decant.sock PassCredentials=yes
    within systemctl restart decant.socket
    client two --inside "unix=/run/decant.sock" send=100 drain
    client_has_all two "$payload"
    records_say 2 6 'complete: '
}

# systemd 257 cannot tell who a client of another PID namespace is, such as that of a container, which it wants to
# know for MaxConnectionsPerSource=; the first such client stopped the whole socket with the result 'resources'.
@test "a UNIX socket with clients in another PID namespace needs MaxConnectionsPerSource=0" {
    enable ListenStream= ListenStream=/run/decant.sock MaxConnectionsPerSource=0
    client fetch "unix=$machine/run/decant.sock" drain
    client_has_all fetch "$payload"
    is decant.socket ActiveState active
}

@test "FileDescriptorName=: decant goes by what it gets, not by its name" {
    enable FileDescriptorName=flask
    fetch tcp4=7070
}

@test "BindIPv6Only=ipv6-only" {
    enable ListenStream= 'ListenStream=[::]:7070' BindIPv6Only=ipv6-only
    fetch tcp6=7070
    refuses_port 7070 || fail 'IPv4 is served'
}

@test "StandardInput=file: opens what only root can read" {
    head -c 3000000 /dev/urandom >"$machine/srv/private"
    chmod 600 "$machine/srv/private"
    printf '%s\n' '[Service]' StandardInput=file:/srv/private ExecStart= ExecStart=/usr/local/sbin/decant |
        drop_in decant@.service
    enable
    fetch tcp4=7070 "$machine/srv/private"
    rm "$machine/srv/private"
    # systemd gives up before decant has armed the socket; the manual says so.
    client one tcp4=7070 drain
    client_gets one 'eof 0'
    wait_for 10 is decant-failed.service ActiveState failed
}

@test "StandardInput=socket" {
    printf '%s\n' '[Service]' StandardInput=socket | drop_in decant@.service
    enable
    fetch tcp4=7070
    rm "$payload"
    client one tcp4=7070 drain
    client_is_refused one
}
