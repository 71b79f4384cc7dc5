# SPDX-License-Identifier: MIT
# What of store.bash only Debian 13's systemd (257) can do: tell how much it keeps ($FDSTORE), keep it when it is told to
# stop (FileDescriptorStorePreserve=), open the file itself (OpenFile=), accept MPTCP.

load decantd

# From version 254 on it tells, so that decant knows whom it must not leave to the next one.
@test "a store that is too small: one notice, and SIGTERM lets those end that are not kept" {
    in_service FileDescriptorStoreMax=8
    enable
    ten_midway
    decant_says 1 5 'the file-descriptor store is full \(8 of 8\)'
    main_pid
    before=$pid
    within systemctl kill --kill-whom=main -s TERM "$service_unit"
    wait_for 10 has_taken_term
    go
    ten_have_all
    wait_for 20 is_another_process "$before"
    fetch tcp4=7070
    transfers_say 11 6 'complete: '
    nothing_failed
}

@test "FileDescriptorStorePreserve=yes: systemctl stop leaves them to the next start" {
    in_service FileDescriptorStorePreserve=yes
    enable
    kept_midway one
    within systemctl stop "$service_unit"
    is "$service_unit" ActiveState inactive
    keeps $((own + 2)) || fail "$(property "$service_unit" NFileDescriptorStore) are kept"
    within systemctl start "$service_unit"
    go
    client_has_all one "$payload"
    transfers_say 1 6 'complete: .*, resumed once"'
    nothing_failed
}

@test "OpenFile=: what only root can read is sent to its end" {
    make_payload 3000000 "$machine/srv/private"
    chmod 600 "$machine/srv/private"
    in_service OpenFile=/srv/private:data:read-only,graceful ExecStart= 'ExecStart=/usr/local/sbin/decant --idle-exit=30s'
    enable
    kept_midway one
    cp "$machine/srv/private" "$T/before"
    make_payload 2000000 "$machine/srv/private"
    chmod 600 "$machine/srv/private"
    dies_by kill_main KILL
    fetch tcp4=7070 "$machine/srv/private"
    dies_by within systemctl restart "$service_unit"
    go
    client_has_all one "$T/before"
    transfers_say 2 6 'complete: /srv/private'
    nothing_failed
}

@test "OpenFile=: a file that is gone is sent to its end" {
    make_payload 3000000 "$machine/srv/private"
    in_service OpenFile=/srv/private:data:read-only,graceful ExecStart= 'ExecStart=/usr/local/sbin/decant --idle-exit=30s'
    enable
    kept_midway one
    cp "$machine/srv/private" "$T/before"
    rm "$machine/srv/private"
    dies_by kill_main KILL
    go
    client_has_all one "$T/before"
}

@test "SocketProtocol=mptcp" {
    need_mptcp
    enable SocketProtocol=mptcp
    client_midway one mptcp=7070
    client_midway two tcp4=7070
    wait_for 10 keeps $((own + 3))
    dies_by kill_main KILL
    dies_by within systemctl restart "$service_unit"
    go
    client_has_all one "$payload"
    client_has_all two "$payload"
    transfers_say 2 6 'complete: .*, resumed 2 times"'
    nothing_failed
}

# As many as this machine's limits allow, 9000 at most: RLIMIT_NOFILE is also that of PID 1, which decant asks for half
# of it. LISTEN_FDNAMES has to fit into one string of the environment then.
@test "thousands of clients outlive their decant" {
    most=$(($(ulimit -Hn) / 2 - 100))
    many=$((most < 9000 ? most : 9000))
    many_outlive "$many" FileDescriptorStoreMax=$((many + 100))
}
