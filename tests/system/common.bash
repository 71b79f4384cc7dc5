# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# What the tests with a real systemd stand on: each test boots a machine of its own, which takes about a second,
# with decant installed in it as a user would. Its clients are the `peer` of the black-box tests, in its network.

load ../black-box/common

case ${BATS_TEST_FILENAME##*/} in
252*) version=252 ;;
*) version=257 ;;
esac

# What is served, by which units: most files are for those of the resident decant.
served=payload
socket_unit=decant.socket
case ${BATS_TEST_FILENAME##*/} in
*-resident.bats | *-store.bats | *-storm.bats | *-locked.bats)
    served=7070
    socket_unit=decantd@7070.socket
    service_unit=decantd@7070.service
    ;;
esac

setup() {
    local tool

    T=$BATS_TEST_TMPDIR
    own_pids=()
    declare -gA client_pids=()
    boot_pid=
    frozen=
    own_cgroup=
    for tool in mmdebstrap systemd-nspawn ip nsenter setpriv; do
        need "$tool"
    done
    if ((EUID != 0)); then
        [[ ${CI-} != true ]] || fail 'this needs root, and CI skips nothing'
        skip 'this needs root'
    fi
    [[ -x $decant && -x $tools/peer ]] || fail "$decant or $tools/peer is missing; run make tests"
    boot
    # One at a time: where something is left to build, two would write the same files.
    flock "$root/Makefile" make -C "$root" --silent install DESTDIR="$machine" >"$T/log" 2>&1 || fail "$(cat "$T/log")"
    mkdir "$machine/srv/decant"
    make_payload 3000000
    within systemctl daemon-reload
}

teardown() {
    local pid

    [[ -z $frozen ]] || kill -CONT "$frozen" || true
    for pid in "${client_pids[@]}" "${own_pids[@]}"; do
        kill -KILL "$pid" 2>/dev/null || true # most have ended by now
    done
    if [[ -n $boot_pid ]]; then
        if [[ ! ${BATS_TEST_COMPLETED-} && -e $T/boot/leader ]]; then
            within journalctl -b --no-pager -o cat -n 15 || true
        fi
        kill -TERM "$boot_pid" 2>/dev/null || true
        wait "$boot_pid" || true
    fi
    [[ -z $own_cgroup ]] || wait_for 10 rmdir "$own_cgroup" 2>/dev/null
}

boot() {
    setpriv --pdeathsig TERM "$root/tests/system/root" boot "$version" "$T/boot" </dev/null >"$T/boot.log" 2>&1 3>&- &
    boot_pid=$!
    wait_for 600 is_up_or_gone # 600: it may have to be unpacked first
    [[ -e $T/boot/leader ]] || fail "$(cat "$T/boot.log")"
    leader=$(cat "$T/boot/leader")
    outside=$(cat "$T/boot/outside")
    machine=/proc/$leader/root
    payload=$machine/srv/decant/$served
}

is_up_or_gone() {
    [[ -e $T/boot/leader ]] || has_ended "$boot_pid"
}

# within COMMAND...: in the machine; from_outside COMMAND...: at the other end of its network
within() {
    nsenter -t "$leader" -a env -i PATH=/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 "$@"
}

from_outside() {
    nsenter -t "$outside" -n "$@"
}

# make_payload SIZE [FILE]: a new version, put in place as the README says.
make_payload() {
    local new=${2-$payload}.new

    head -c "$1" /dev/urandom >"$new"
    chmod 644 "$new"
    mv "$new" "${new%.new}"
}

# drop_in UNIT: what `systemctl edit UNIT` does with the text on standard input.
drop_in() {
    mkdir -p "$machine/etc/systemd/system/$1.d"
    cat >"$machine/etc/systemd/system/$1.d/override.conf"
    within systemctl daemon-reload
}

# readme_drop_in NUMBER: the example of that number in the README
readme_drop_in() {
    awk -v number="$1" '/^```ini$/ { n++; next } /^```$/ { if (n == number) exit } n == number' "$root/README.md" |
        grep . || fail "the README has no example $1"
}

# enable [LINE...]: the socket, with those lines added to its section [Socket].
enable() {
    if (($# > 0)); then
        printf '%s\n' '[Socket]' "$@" | drop_in "$socket_unit"
    fi
    within systemctl enable --quiet --now "$socket_unit"
}

# refuses_port PORT: nobody listens there, over IPv4
refuses_port() {
    ! nsenter -t "$leader" -n bash -c ": </dev/tcp/127.0.0.1/$1" 2>/dev/null
}

# quick_clients N: they come and go as fast as one shell can
quick_clients() {
    nsenter -t "$leader" -n bash -c "for ((i = 0; i < $1; i++)); do exec 4<>/dev/tcp/127.0.0.1/7070 4>&-; done" \
        2>"$T/quick" || true # a socket that is gone refuses
}

# client NAME [--inside] ADDRESS [PEER-OPTION...] ACTION...: in the machine's network, with the files of the host;
# --inside: in all its namespaces, where the actions cannot name files
client() {
    local name=$1 namespaces=(-n) program=$tools/peer address options=()

    shift
    if [[ $1 == --inside ]]; then
        cp "$tools/peer" "$machine/root/peer"
        namespaces=(-a)
        program=/root/peer
        shift
    fi
    address=$1
    shift
    while [[ ${1-} == --* ]]; do
        options+=("$1")
        shift
    done
    # peer's words on how it ended go to its standard error as well as to a file.
    nsenter -t "$leader" "${namespaces[@]}" "$program" "${options[@]}" "$address" "$@" \
        </dev/null >"$T/$name" 2>"$T/$name.result" 3>&- &
    client_pids[$name]=$!
    : >"$T/$name.err"
}

# fetch ADDRESS: the whole payload, and a clean end
fetch() {
    client fetch "$1" drain
    client_has_all fetch "${2-$payload}"
}

# client_midway NAME [ADDRESS]: it has got some of a payload that the buffers cannot hold, and takes no more
# before go().
client_midway() {
    client "$1" "${2-tcp4=7070}" --rcvbuf=64K read=100000 "touch=$T/midway.$1" "wait-file=$T/go" drain
    wait_for 30 test -e "$T/midway.$1"
}

# instances: the units of the transfers that are running or remembered
instances() {
    within systemctl list-units --all --no-legend --plain 'decant@*.service' | awk '{ print $1 }'
}

has_instances() {
    [[ $(instances | wc -l) == "$1" ]]
}

# The processes of ours, whatever their units are called.
none_runs() {
    ! within sh -c 'ls -l /proc/[0-9]*/exe 2>/dev/null' | grep -q 'sbin/decant$'
}

# records [FIELD...]: of our messages in the journal, oldest first, one a line
records() {
    within journalctl --sync 2>/dev/null || true
    within journalctl --boot --no-pager --output=json --output-fields=PRIORITY,MESSAGE,_SYSTEMD_UNIT,_PID \
        SYSLOG_IDENTIFIER=decant
}

has_records() {
    [[ $(records | wc -l) == "$1" ]]
}

# records_say N PRIORITY REGEX: there are N, and N of them have that priority and match
records_say() {
    wait_for 10 has_records "$1" || fail "$(records)"
    [[ $(records | grep "\"PRIORITY\":\"$2\"" | grep -cE -- "\"MESSAGE\":\"$3") == "$1" ]] ||
        fail "not $1 records of priority $2 that say '$3':" "$(records)"
}

failed_units() {
    within systemctl --failed --no-legend --plain | awk '{ print $1 }'
}

nothing_failed() {
    [[ -z $(failed_units) ]] || fail "failed: $(within systemctl --failed --no-legend --plain)"
}

# manager_says REGEX: a record of PID 1, which the journal may get later than we do
manager_says() {
    within journalctl --boot --no-pager --output=cat _PID=1 | grep -qE -- "$1"
}

property() {
    within systemctl show --property="$2" --value "$1"
}

is() {
    [[ $(property "$1" "$2") == "$3" ]]
}

# one_record_each: three clients of each address, whose ports are known; a record of priority info for each of them
one_record_each() {
    local i address

    for i in 1 2 3; do
        nsenter -t "$leader" -n timeout 20 socat -u "TCP4:127.0.0.1:7070,sourceport=$((40000 + i))" - | cmp - "$payload"
        nsenter -t "$leader" -n timeout 20 socat -u "TCP6:[::1]:7070,sourceport=$((40000 + i))" - | cmp - "$payload"
        from_outside timeout 20 socat -u "TCP:192.0.2.1:7070,sourceport=$((40000 + i))" - | cmp - "$payload"
    done
    records_say 9 6 "complete: /srv/decant/$served to .*: 3000000 of 3000000 bytes sent, 3000000 acknowledged"
    for i in 1 2 3; do
        for address in "127.0.0.1:4000$i" "\[::1\]:4000$i" "192.0.2.2:4000$i"; do
            [[ $(records | grep -c " to $address: ") == 1 ]] || fail "no record of $address:" "$(records)"
        done
    done
}
