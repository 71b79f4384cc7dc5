# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# What the launchers' tests stand on: the installed program in a world of its own (see `world`),
# where the shipped entries and the documents' commands are true word by word: port 7070,
# /usr/local/sbin/decant and /srv/decant/payload. Clients are the black-box tests' `peer`.

load ../black-box/common

here=$root/tests/launchers
tools_of_tests=$tools # enter() puts others into their place

# The files *-wait.bats are those of the launchers that hand over the listening socket, and then wait:
# their decant stays for 30 s after its last client, and is the same for all of them.
case ${BATS_TEST_FILENAME##*/} in
*-wait.bats) mode=resident ;;
esac

setup_file() {
    # One at a time: where something is left to build, two would write the same files.
    flock "$root/Makefile" make -C "$root" --silent install DESTDIR="$BATS_FILE_TMPDIR/tree" \
        >"$BATS_FILE_TMPDIR/log" 2>&1 || fail "$(cat "$BATS_FILE_TMPDIR/log")"
}

need_namespaces() {
    need unshare
    need nsenter
    need ip
    unshare --net --mount --pid --fork true 2>/dev/null && return
    [[ ${CI-} != true ]] || fail "no namespaces here, and CI skips nothing"
    skip "no namespaces here: it takes root, or CAP_SYS_ADMIN"
}

# unpacked PACKAGE PROGRAM: its path in $program; $run is what to put before it.
unpacked() {
    local tree=$root/build/launchers/$1 libraries

    program=$tree$2
    run=()
    if [[ ! -x $program ]]; then
        [[ ${CI-} != true ]] || fail "$program is missing, and CI skips nothing"
        skip "$1 is not unpacked; try: make check-launchers"
    fi
    libraries=$(find "$tree" -name '*.so.*' -printf '%h\n' | sort -u | tr '\n' ':')
    [[ -z $libraries ]] || run=(env "LD_LIBRARY_PATH=$libraries")
}

# from_document FILE WORD: the command of the manual or the README that begins with WORD and starts
# decant, a continued line as one.
from_document() {
    sed 's/\\e$/\\/' "$1" | sed -n "/^$2 /{:more /\\\\\$/{N;s/\\\\\n[ \t]*//;b more};/decant /p}"
}

# documented WORD: the same, in $command; both documents must have it, and alike.
documented() {
    local manual readme

    manual=$(from_document "$root/src/decant.8" "$1")
    readme=$(from_document "$root/README.md" "$1")
    [[ $manual == "$1 "* && $manual != *$'\n'* ]] || fail "the manual has for $1: '$manual'"
    [[ $manual == "$readme" ]] || fail "the manual has '$manual', the README '$readme'"
    command=$manual
}

# payload SIZE: what is served, and what clients must get
payload() {
    mkdir -p "$T/world/srv/decant"
    chmod 755 "$T/world/srv/decant"
    file=$T/world/srv/decant/payload
    head -c "$1" /dev/urandom >"$file"
    chmod 644 "$file"
    all="$1 of $1 bytes sent, $1 acknowledged, in " # what the log says when a client got it
}

# enter COMMAND...: starts a launcher in its world, where $T/world holds what it needs. The launcher
# may be a daemon or stay in the foreground; nothing of it outlives $world, which teardown ends.
enter() {
    need_namespaces # not in setup_file, where the older bats takes a skip for a failure
    install -d "$T"/{world,world/{dev,run,srv,usr,usr/local},tools}
    cp -a "$BATS_FILE_TMPDIR/tree/usr/local/sbin" "$T/world/usr/local/sbin"
    "$tools/syslog" "$T/world/dev/log" "$T/syslog" </dev/null >"$T/syslog.err" 2>&1 3>&- &
    own_pids+=($!)
    disown $! # or bash prints that teardown has killed it
    wait_for 20 test -S "$T/world/dev/log"
    PATH=$PATH:/usr/local/sbin unshare --net --mount --pid --fork --kill-child=KILL \
        "$here/world" "$T/world" "$T/ready" "$@" </dev/null >"$T/out" 2>"$T/err" 3>&- &
    world=$!
    own_pids+=("$world")
    disown "$world"
    wait_for 20 test -e "$T/ready"
    # From now on a peer runs on the network of that world.
    printf '#!/bin/sh\nexec nsenter --net=/proc/%s/ns/net %q/peer "$@"\n' "$world" "$tools" \
        >"$T/tools/peer"
    chmod +x "$T/tools/peer"
    tools=$T/tools
    printf 'tcp4=7070\n' >"$T/address"
    peer='127\.0\.0\.1:[0-9]+'
    log=syslog # where the records go: syslog or err
    cut=reset  # how a client sees that it has not got everything
    keeps=yes  # the launcher keeps the port when decant ends
}

# load_world OPTION...: many clients in that world; what has become of them is in $T/load
load_world() {
    timeout 150 nsenter --net="/proc/$world/ns/net" "$tools_of_tests/load" --file="$file" "$@" tcp4=7070 \
        >"$T/load" 3>&- || fail "not all of them were served: $(cat "$T/load")"
}

# The decant that runs in this world, in $pid.
find_decant() {
    local proc

    for proc in /proc/[0-9]*; do
        if [[ $proc/exe -ef $T/world/usr/local/sbin/decant &&
            $proc/ns/pid -ef /proc/$world/ns/pid_for_children ]]; then
            pid=${proc#/proc/}
            return
        fi
    done
    return 1
}

no_decant() {
    ! find_decant
}

# Bit 14 is SIGTERM, which waits for signalfd(2) to be read.
has_taken_term() {
    (($(sed -n 's/^ShdPnd:\t/0x/p' "/proc/$pid/status") & 1 << 14)) && return 1
    return 0
}

# A client of its own would try again for ever.
no_port() {
    ! nsenter --net="/proc/$world/ns/net" bash -c ': </dev/tcp/127.0.0.1/7070' 2>/dev/null
}

# midway NAME: half of the payload is over, and the rest waits for go(); decant is in $pid, and
# $peer is exactly this client.
midway() {
    client "$1" --rcvbuf=64K read=100000 "touch=$T/midway" "wait-file=$T/go" drain
    wait_for 30 test -e "$T/midway"
    wait_for 20 find_decant
    if [[ $(cat "$T/address") == tcp4=* ]]; then
        peer="127\\.0\\.0\\.1:$(client_port)"
    fi
}

# The port of the only client, from the table of its network.
client_port() {
    local hex

    hex=$(awk '$3 ~ /:1B9E$/ { sub(/.*:/, "", $2); print $2 }' "/proc/$world/net/tcp")
    echo $((16#$hex))
}

# Where nobody names another user, as in the commands that log to standard error, root is told so.
records() {
    grep -vx 'decant: running as root, .*' "$T/$log" | grep -cE '^(<[0-9]+>.{15} decant\[[0-9]+\]|decant): '
}

# logs PRIORITY REGEX [COUNT]: so many records of decant, one as a rule, and each like this
logs() {
    local -A priorities=([err]=27 [warning]=28 [notice]=29 [info]=30)
    local wanted="decant: $2" found i

    if [[ $log == syslog ]]; then
        wanted="<${priorities[$1]}>.{15} decant\\[[0-9]+\\]: $2"
    fi
    # Where a launcher's own lines come last, they tell why there is none of decant.
    wait_for 10 recorded "^$wanted" "${3-1}" ||
        fail "not ${3-1} lines of '$wanted', or decant still runs ($pid), in:" "$(tail -n 5 "$T/$log")"
    found=$(records)
    ((found == ${3-1})) || fail "$found records, not ${3-1}:" "$(tail -n 5 "$T/$log")"
}

# A resident decant reports while it runs; of the others, one that reports and stays is stuck.
recorded() {
    has_lines "$@" && { resident || no_decant; }
}

# were_processes COUNT: so many have written those records. Without syslog none has said its id.
were_processes() {
    local found

    [[ $log == syslog ]] || return 0
    found=$(sed -nE 's/^<[0-9]+>.{15} decant\[([0-9]+)\]: .*/\1/p' "$T/$log" | sort -u | wc -l)
    [[ $found == "$1" ]] || fail "$found processes, not $1"
}

has_lines() {
    [[ $(grep -cE -- "$1" "$T/$log") == "$2" ]]
}
