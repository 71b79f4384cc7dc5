# shellcheck shell=bats
# SPDX-License-Identifier: MIT
# The units take away all that decant does not need, with Debian 12's systemd (252) and Debian 13's (257) as PID 1, and
# it goes on doing all that it does. 252-locked.bats and 257-locked.bats are this file under two names.
#
# Both halves go wrong unseen. A directive that one version of systemd does not know, or that another one undoes, protects
# from nothing: TemporaryFileSystem=/ had no effect beside ProtectSystem=, and made its mount points in the /usr of the
# host. And one that takes too much away is only felt by the file that is replaced, the client that is kept, the watchdog;
# or by decant's own sandbox, which then does without, and says so in a line that nobody reads.

load decantd

# one_process: from here on with decant.socket, a process for each client
one_process() {
    served=payload
    socket_unit=decant.socket
    service_unit=decant@.service
    payload=$machine/srv/decant/$served
    make_payload 3000000
}

# ships NAME [SED-SCRIPT]: the drop-in of that name for decant@.service, copied as the README says
ships() {
    local from=$machine/usr/local/share/doc/decant/$1

    [[ -z ${2-} ]] || sed -i "$2" "$from"
    within install -D -m 644 "/usr/local/share/doc/decant/$1" "/etc/systemd/system/decant@.service.d/$1"
    within systemctl daemon-reload
}

# exposed_at_most TENTHS UNIT: the score that systemd gives it, which goes from 0 to 100
exposed_at_most() {
    within systemd-analyze security --offline=true --no-pager --threshold="$1" "$2" >"$T/score"
}

# private: $private is a file that only root can read
private() {
    private=$machine/srv/private/payload
    mkdir -m 700 "$machine/srv/private"
    make_payload 3000000 "$private"
    chmod 600 "$private"
}

# nothing_missed: decant could take away all that it wanted to
nothing_missed() {
    (($(records | wc -l) > 0)) || fail 'no records at all'
    ! records | grep -E 'sandbox|running as root' || fail 'it complains'
}

# status_of PID FIELD: of /proc/PID/status
status_of() {
    awk -v field="$2:" '$1 == field { print $2 }' "$machine/proc/$1/status"
}

# is_locked_in PID: what both units take from it
is_locked_in() {
    [[ $(status_of "$1" NoNewPrivs) == 1 ]]
    [[ $(status_of "$1" Seccomp) == 2 ]]
    [[ $(status_of "$1" CapBnd) == 0000000000000000 ]]
    [[ $(status_of "$1" CapEff) == 0000000000000000 ]]
    [[ $(within nsenter -t "$1" -n ip -brief link | awk '{ print $1 }') == lo ]]
    [[ $(within readlink "/proc/$1/ns/user") != "$(within readlink /proc/1/ns/user)" ]]
}

# root_of PID: what is to be seen in its root directory
root_of() {
    ls_in "$1" / | tr '\n' ' '
}

# ls_in PID DIRECTORY: where there may be no ls
ls_in() {
    ls -A "$machine/proc/$1/root$2"
}

# --- What systemd says of them ------------------------------------------------------------------

@test "exposure: decantd@.service 0.1, decant@.service 2.0, and 0.1 with hardened.conf" {
    exposed_at_most 1 decantd@.service || fail "$(cat "$T/score")"
    exposed_at_most 20 decant@.service || fail "$(cat "$T/score")"
    ships hardened.conf
    exposed_at_most 1 decant@.service || fail "$(cat "$T/score")"
    # The score knows drop-ins, and the threshold holds.
    in_service PrivateUsers=no
    ! exposed_at_most 1 decantd@7070.service || fail "$(cat "$T/score")"
}

# It has to let through what decant's own filter lets through, by whichever path it gets there, and what its start takes:
# that is found out by starting it.
@test "the units allow every system call that decant's own filter allows" {
    case $(uname -m) in
    x86_64 | aarch64) machine_name=$(uname -m) ;;
    *) skip "no list for a machine '$(uname -m)'" ;;
    esac
    for filter in $("$root/build/sandbox-filter" filters "$machine_name"); do
        unit=decantd@7070.service
        [[ $filter != single ]] || unit=decant@.service
        within systemctl show --property=SystemCallFilter --value "${unit/@./@x.}" | tr ' ' '\n' | sort -u >"$T/allowed"
        "$root/build/sandbox-filter" list "$machine_name" "$filter" | sort -u >"$T/needed"
        [[ -s $T/needed ]]
        [[ -z $(comm -13 "$T/allowed" "$T/needed") ]] || fail "$unit lacks, for $filter:" "$(comm -13 "$T/allowed" "$T/needed")"
    done
}

# --- Resident -----------------------------------------------------------------------------------

@test "resident: it is locked in" {
    enable
    client_midway one
    main_pid
    is_locked_in "$pid"
    (($(status_of "$pid" Uid) >= 61184)) || fail 'not a user of its own'
    # usr and what may be beside it, and what systemd makes of nothing. No etc of the host, no home, no var.
    [[ $(root_of "$pid") =~ ^(bin\ )?dev\ etc\ (lib[0-9]*\ )*proc\ (root\ )?run\ srv\ sys\ usr\ var\ $ ]] ||
        fail "there is: $(root_of "$pid")"
    [[ -z $(ls_in "$pid" /etc) && $(ls_in "$pid" /srv) == decant ]]
    go
    client_has_all one "$payload"
}

# tries: a shell in the place of decant, with what it has and nothing more, tells what it could do. It cannot make
# processes, so that all it can use is itself.
tries() {
    # shellcheck disable=SC2016
    printf '%s\n' '#!/bin/sh' \
        'for f in /etc/passwd /etc/shadow /proc/1/environ /home /var/log /root; do' \
        '    if { read -r x <$f || test -r $f; } 2>/dev/null; then echo "reads $f"; fi; done' \
        'for d in / /usr /usr/local/sbin /srv/decant /etc /tmp /var/tmp /var /proc /sys; do' \
        '    if { true >$d/forged; } 2>/dev/null; then echo "writes $d"; fi; done' \
        'if { true >/srv/decant/'"$served"'; } 2>/dev/null; then echo "truncates"; fi' \
        'if kill -0 1 2>/dev/null; then echo "signals"; fi' \
        'echo "has tried"' \
        '(echo "forks") 2>/dev/null' >"$machine/usr/local/sbin/tries"
    chmod 755 "$machine/usr/local/sbin/tries"
    printf '%s\n' '[Service]' Type=oneshot Restart=no RestartForceExitStatus= ExecStopPost= ExecStart= \
        ExecStart=/usr/local/sbin/tries StandardOutput=journal StandardError=null SyslogIdentifier=tries \
        'BindReadOnlyPaths=-/usr -/bin' | drop_in "$1"
    within systemctl start "${2-$1}" || true # oneshot: it is over then, and has failed as it could not fork
    within journalctl --sync 2>/dev/null || true
    [[ $(within journalctl --boot --no-pager --output=cat --identifier=tries) == "${3-has tried}" ]] ||
        fail "$(within journalctl --boot --no-pager --output=cat --identifier=tries)"
}

@test "resident: what is in its place can read nothing but the files, write nothing, and start nothing" {
    tries "$service_unit"
}

# The bind mount is of the directory; one of the file would go on being the old one.
@test "resident: a new file, put in place by rename, goes to those who come later" {
    cp "$payload" "$T/before"
    enable
    kept_midway one
    make_payload 2000000
    fetch tcp4=7070
    make_payload 1000000
    dies_by kill_main KILL
    fetch tcp6=7070
    go
    client_has_all one "$T/before"
    transfers_say 3 6 'complete: '
    nothing_missed
}

@test "resident: journal, status, watchdog, store, SIGKILL, restart and daemon-reexec, and decant's own sandbox" {
    with_options --sandbox=require --idle-exit=30s
    printf '%s\n' '[Service]' WatchdogSec=2s >"$machine/etc/systemd/system/$service_unit.d/watchdog.conf"
    within systemctl daemon-reload
    enable
    kept_midway one two
    wait_for 10 status_is '2 clients, 0 served, .*'
    for i in 1 2 3; do
        fed=$(property "$service_unit" WatchdogTimestampMonotonic)
        wait_for 10 fed_since "$fed"
    done
    dies_by kill_main KILL
    within systemctl daemon-reexec
    dies_by within systemctl restart "$service_unit"
    is_locked_in "$pid"
    go
    client_has_all one "$payload"
    client_has_all two "$payload"
    transfers_say 2 6 'complete: /srv/decant/7070 to .*, resumed 2 times"'
    wait_for 10 status_is '0 clients, 2 served, .*'
    nothing_missed
    nothing_failed
}

fed_since() {
    [[ $(property "$service_unit" WatchdogTimestampMonotonic) != "$1" ]]
}

@test "resident: a file that not everybody can read: a reset, and what to do" {
    chmod 640 "$payload"
    enable
    client one tcp4=7070 drain
    client_is_refused one
    decant_says 1 3 "cannot open '/srv/decant/7070' as user [0-9]+: Permission denied; let .* read it.*chmod a\+r"
    chmod 644 "$payload"
    fetch tcp4=7070
}

@test "resident: a file elsewhere is not there, unless a drop-in shows its directory" {
    mkdir "$machine/srv/images"
    make_payload 2000000 "$machine/srv/images/disk.img"
    in_service Environment=DECANT_FILE=/srv/images/disk.img
    enable
    client one tcp4=7070 drain
    client_is_refused one
    decant_says 1 3 "cannot open '/srv/images/disk.img' as user [0-9]+: No such file or directory; create it, or correct.*BindReadOnlyPaths="
    in_service Environment=DECANT_FILE=/srv/images/disk.img BindReadOnlyPaths=/srv/images
    fetch tcp4=7070 "$machine/srv/images/disk.img"
    make_payload 1000000 "$machine/srv/images/disk.img"
    fetch tcp4=7070 "$machine/srv/images/disk.img"
}

@test "resident: nothing is left of its root when it has ended" {
    enable
    fetch tcp4=7070
    within test -e /run/decantd-7070
    within systemctl stop "$socket_unit"
    wait_for 10 is "$service_unit" ActiveState inactive
    [[ -z $(within find /run -maxdepth 1 -name 'decant*') ]] || fail "$(within find /run -maxdepth 1 -name 'decant*')"
    within ls /srv/decant/7070 /usr/local/sbin/decant
}

# --- A process for each client ------------------------------------------------------------------

@test "one process each: it is locked in, and decant's own sandbox, too" {
    one_process
    printf '%s\n' '[Service]' ExecStart= "ExecStart=/usr/local/sbin/decant --sandbox=require \${DECANT_FILE}" |
        drop_in decant@.service
    enable
    client_midway one
    pid=$(property "$(instances)" MainPID)
    is_locked_in "$pid"
    [[ $(status_of "$pid" Uid) == 1 ]] || fail 'not daemon'
    go
    client_has_all one "$payload"
    make_payload 2000000
    fetch tcp6=7070
    records_say 2 6 'complete: /srv/decant/payload to .*'
    nothing_missed
    nothing_failed
}

@test "one process each: a file that not everybody can read: a reset, and what to do" {
    one_process
    chmod 640 "$payload"
    enable
    client one tcp4=7070 drain
    client_is_refused one
    records_say 1 3 "cannot open '/srv/decant/payload' as user 1: Permission denied; let .* read it"
    chmod 644 "$payload"
    fetch tcp4=7070
}

@test "hardened.conf: the same as for the resident one, and nothing is left" {
    one_process
    ships hardened.conf
    enable
    client_midway one
    pid=$(property "$(instances)" MainPID)
    is_locked_in "$pid"
    (($(status_of "$pid" Uid) >= 61184)) || fail 'not a user of its own'
    [[ -z $(ls_in "$pid" /etc) && $(ls_in "$pid" /srv) == decant ]]
    client_midway two tcp6=7070
    cp "$payload" "$T/before"
    make_payload 2000000
    fetch tcp4=7070
    go
    client_has_all one "$T/before"
    client_has_all two "$T/before"
    client three tcp4=7070 --rcvbuf=64K read=1000 reset
    wait_for 10 has_records 4
    wait_for 10 has_instances 0
    [[ -z $(within find /run -maxdepth 1 -name 'decant*') ]] || fail "$(within find /run -maxdepth 1 -name 'decant*')"
    rm "$payload"
    client four tcp4=7070 drain
    client_is_refused four
    records | grep -q "cannot open '/srv/decant/payload' as user [0-9]*: No such file"
}

@test "hardened.conf: what is in its place can read nothing but the files, write nothing, and start nothing" {
    one_process
    ships hardened.conf
    tries decant@.service decant@x.service
}

# Without it there is no root of its own, which costs more than all the rest: it sees what everybody sees, and can make
# files where everybody can. decant's own sandbox is what keeps it from that.
@test "one process each: what is in its place writes nowhere but in /tmp, and cannot signal or start anything" {
    one_process
    tries decant@.service decant@x.service \
        $'reads /etc/passwd\nreads /home\nreads /var/log\nwrites /tmp\nwrites /var/tmp\nhas tried'
}

# --- A file that only root can read -------------------------------------------------------------

# private_by DROP-IN: is served as its comment says, by a process that could not open it, also when it is replaced
private_by() {
    one_process
    private
    ships "$1"
    enable
    client_midway one
    pid=$(property "$(instances)" MainPID)
    [[ $(status_of "$pid" Uid) == "${2-1}" ]] || fail "it runs as $(status_of "$pid" Uid)"
    cp "$private" "$T/before"
    make_payload 2000000 "$private"
    chmod 600 "$private"
    fetch tcp6=7070 "$private"
    go
    client_has_all one "$T/before"
    records_say 2 6 'complete: /srv/private/payload to '
    nothing_missed
    nothing_failed
}

@test "private-file.conf: what only root can read (before systemd 253: private-file-252.conf)" {
    if [[ $version == 252 ]]; then
        private_by private-file-252.conf
    else
        private_by private-file.conf
    fi
}

@test "private-file-252.conf works with every version" {
    private_by private-file-252.conf
    rm "$private"
    client two tcp4=7070 drain
    client_gets two 'eof 0' # as its comment says
    wait_for 10 is decant-failed.service ActiveState failed
}

@test "hardened.conf and private-file.conf together" {
    one_process
    private
    ships hardened.conf
    if [[ $version == 252 ]]; then
        ships private-file-252.conf
    else
        ships private-file.conf
    fi
    enable
    fetch tcp4=7070 "$private"
    client_midway one
    pid=$(property "$(instances)" MainPID)
    (($(status_of "$pid" Uid) >= 61184)) || fail 'not a user of its own'
    go
    client_has_all one "$private"
    wait_for 10 has_records 2
    [[ $(records | grep -c '"MESSAGE":"complete: ') == 2 ]] || fail "$(records)"
    ! records | grep sandbox || fail 'it complains'
}

# --- Who may connect ----------------------------------------------------------------------------

# gets_nothing ADDRESS: neither a byte, nor an end
gets_nothing() {
    ! timeout 3 nsenter -t "$leader" -n bash -c ": <>/dev/tcp/${1/:/\/}" 2>/dev/null
}

# has_no_firewall: systemd says that it cannot do that here, which in a container takes some asking
has_no_firewall() {
    within systemctl log-level debug
    within systemctl daemon-reexec
    within systemctl restart decant.socket
    wait_for 10 manager_says 'does not support BPF/cgroup firewalling'
}

# systemd does it with BPF in cgroups of version 2; where it has none, it lets everybody in. Which of the two is the case
# here is printed, and each is tested.
@test "IPAddressDeny= and IPAddressAllow= of the socket: who is not allowed gets nothing, where systemd can do that" {
    one_process
    enable IPAddressDeny=any IPAddressAllow=192.0.2.2
    timeout 20 nsenter -t "$outside" -n socat -u TCP:192.0.2.1:7070 - | cmp - "$payload"
    if gets_nothing 127.0.0.1:7070; then
        printf '# systemd %s filters by address here\n' "$version" >&3
        [[ $(property decant.socket NAccepted) == 1 ]]
    else
        has_no_firewall || fail 'IPAddressDeny= of the socket has no effect'
        printf '# systemd %s cannot filter by address here, and decant.socket serves everybody\n' "$version" >&3
        fetch tcp4=7070
    fi
}

# There it holds for what the service makes itself, which is nothing.
@test "IPAddressDeny= of the service does not keep clients out" {
    within grep -q '^IPAddressDeny=any' /lib/systemd/system/decantd@.service
    enable
    fetch tcp4=7070
}
