# SPDX-License-Identifier: MIT
# What only Debian 13's systemd (257) can do: open the file itself (OpenFile=), accept MPTCP. The names that it gives
# to descriptors are out of step with them in one combination, which made a program that trusts names send the
# socket to the socket; and a missing file gives the client a clean end, unless OpenFile= is told to be graceful.

load common

# opens WHAT: systemd opens the file, and decant gets no path.
opens() {
    printf '%s\n' '[Service]' "OpenFile=$1" ExecStart= ExecStart=/usr/local/sbin/decant "${@:2}" |
        drop_in decant@.service
}

private() {
    head -c 3000000 /dev/urandom >"$machine/srv/private"
    chmod 600 "$machine/srv/private"
}

@test "OpenFile=: a file that only root can read" {
    private
    opens /srv/private:data:read-only
    enable
    fetch tcp4=7070 "$machine/srv/private"
    records_say 1 6 'complete: /srv/private to '
}

@test "private-file.conf: a missing file is a reset" {
    cp "$machine/usr/local/share/doc/decant/private-file.conf" "$T/private-file.conf"
    drop_in decant@.service <"$T/private-file.conf"
    enable
    client one tcp4=7070 drain
    client_is_refused one
    wait_for 10 is decant-failed.service ActiveState failed
    records_say 1 3 '.*OpenFile='
}

@test "OpenFile= with FileDescriptorName=" {
    private
    opens /srv/private:data:read-only
    enable FileDescriptorName=flask
    fetch tcp6=7070 "$machine/srv/private"
}

@test "OpenFile= with StandardInput=socket, where the names are out of step" {
    private
    opens /srv/private:data:read-only StandardInput=socket
    enable
    client one tcp4=7070 drain
    client_has_all one "$machine/srv/private"
    rm "$machine/srv/private"
    opens /srv/private:data:read-only,graceful StandardInput=socket
    client one tcp4=7070 drain
    client_is_refused one
}

@test "OpenFile=: a missing file is a reset only if it is graceful" {
    opens /srv/private:data:read-only
    enable
    client one tcp4=7070 drain
    client_gets one 'eof 0' # decant was never started; the manual says so
    wait_for 10 is decant-failed.service ActiveState failed
    within systemctl reset-failed
    opens /srv/private:data:read-only,graceful
    client two tcp4=7070 drain
    client_is_refused two
    wait_for 10 is decant-failed.service ActiveState failed
    records_say 1 3 '.*OpenFile='
}

@test "OpenFile= for the resident decant" {
    private
    printf '%s\n' '[Service]' OpenFile=/srv/private:data:read-only,graceful ExecStart= \
        'ExecStart=/usr/local/sbin/decant --idle-exit=30s' | drop_in decantd@7070.service
    within systemctl enable --quiet --now decantd@7070.socket
    fetch tcp4=7070 "$machine/srv/private"
    fetch tcp6=7070 "$machine/srv/private"
    records_say 2 6 'complete: /srv/private to '
    nothing_failed
}

@test "SocketProtocol=mptcp" {
    need_mptcp
    enable SocketProtocol=mptcp
    client one mptcp=7070 drain
    client_has_all one "$payload"
    client two tcp4=7070 drain
    client_has_all two "$payload"
    rm "$payload"
    client three mptcp=7070 drain
    client_is_refused three
}

refused() {
    within journalctl --quiet --output=cat | grep -q 'something was sent to .* before decant was started'
}

# Why no unit of ours ever sets Restart=, which tests/house checks: the second process gets the same connection,
# and would send from the first byte again, in mid-stream. It sees that somebody was there before it.
@test "Restart= in a drop-in: the second process refuses the connection of the first" {
    printf '%s\n' '[Service]' Restart=on-failure RestartSec=0 | drop_in decant@.service
    enable
    client_midway one
    instance=$(instances)
    within systemctl kill -s KILL "$instance"
    wait_for 10 refused
    go
    client_gets one 'reset *'
    client_has_start one "$payload"
}

# Before, its name is always the same.
@test "a directory, and FileDescriptorName= of a connected socket" {
    make_payload 2000000 "$machine/srv/decant/flask"
    printf '%s\n' '[Service]' Environment=DECANT_FILE=/srv/decant | drop_in decant@.service
    enable FileDescriptorName=flask
    fetch tcp4=7070 "$machine/srv/decant/flask"
    records_say 1 6 'complete: /srv/decant/flask to '
}
