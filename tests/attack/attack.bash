# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# What the tests with the attack build stand on.

load ../black-box/common

attack=${DECANT_ATTACK:-$root/build/attack/decant}
maker=$root/build/sandbox-filter

# The records of an attack, and no others but those of the sandbox.
quiet=--log-level=warning

# musl: from now on it is the static build that is attacked
musl() {
    need musl-gcc
    make -C "$root" --silent BUILD="$T/musl" CC=musl-gcc SYSTEMD=no STATIC=yes WERROR=yes "$T/musl/attack/decant" \
        >"$T/log" 2>&1 || fail "$(cat "$T/log")"
    attack=$T/musl/attack/decant
}

# rows: the table, without its words
rows() {
    grep -vE '^(#|$)' "$root/tests/attack/table"
}

# attack FILTER NAME [DECANT-ARGUMENT...]: it is done in a decant that has this filter, and one client. Where that may be,
# the sockets are where inetd and tcpserver have them, which a build without libsystemd takes, too.
attack() {
    local filter=$1 name=$2 options what=(file) notify=

    shift 2
    # A directory of its own for each: what is in it, and what may have been made of it.
    T=$BATS_TEST_TMPDIR/$filter.$name
    mkdir -p "$T/served"
    make_file "served/attack-$name" 10000
    printf 'other' >"$T/served/other"
    what=("$file")
    always=("$quiet" --idle-exit=100ms)
    options=(--at=3:listening --listen-fds=1 --listen-fdnames="attack-$name")
    case $filter in
    single)
        always=("$quiet")
        options=(--at=0:client --at=1:client)
        ;;
    *-path) options=(--at=0:listening --at=1:listening) ;;
    *-directory)
        options+=(--at=0:null)
        what=("$T/served")
        ;;
    *) # the file is handed over
        options+=(--at=0:file="$file")
        what=()
        ;;
    esac
    receives target forged
    if [[ $filter == store* ]]; then
        receives notify notified
        notify=$T/notify
    fi
    decant=$attack
    ATTACK_TARGET=$T/target NOTIFY_SOCKET=$notify start "${options[@]}" -- "$@" "${what[@]}"
    client one drain
}

# receives SOCKET FILE: what is sent to it
receives() {
    [[ -x $tools/syslog ]] || fail "$tools/syslog is missing; run make tests"
    "$tools/syslog" "$T/$1" "$T/$2" </dev/null >"$T/$1.out" 2>&1 3>&- &
    own_pids+=($!)
    disown $! # or bash prints that teardown has killed it
    wait_for 20 test -S "$T/$1"
}

# outcomes: of $T/err, each attack with the call that it died of, its errno, or "succeeded". A call of another
# architecture is the end without a word.
outcomes() {
    awk '/ sandbox: the system call / { call = $0; sub(/.*the system call /, "", call); sub(/[, ].*/, "", call) }
        / attack / {
            name = $0; sub(/.* attack /, "", name); what = name; sub(/: .*/, "", name); sub(/[^:]*: /, "", what)
            if (what == "killed by signal 31") what = call ? call : "SIGSYS"
            sub(/^refused, /, "", what); print name, what; call = ""
        }' "$T/err"
}

came_to() {
    outcomes | sed -n "s/^$1 //p"
}

# table FILTER: each attack, and what it comes to with this filter
table() {
    local name outcome except exception

    while read -r name _ outcome except; do
        for exception in $except; do
            # shellcheck disable=SC2053
            [[ $1 != ${exception%=*} ]] || outcome=${exception#*=}
        done
        echo "$name $outcome"
    done < <(rows)
}

comes_to_the_table() {
    attack "$1" each
    client_has_all one "$file"
    decant_gives 0
    diff <(table "$1") <(outcomes) || fail "the first is what the table says of $1, the second what it came to"
    # Of one message the filter cannot see whom it is for.
    [[ $1 == store* ]] || [[ ! -s $T/forged ]] || fail "there is a forged record: $(cat "$T/forged")"
}

# numbers: those of the calls of this machine, as the kernel's headers have them
numbers() {
    echo '#include <sys/syscall.h>' | "${CC:-cc}" -E -dM -x c - | sed -nE 's/^#define __NR_([a-z0-9_]+) ([0-9]+)$/\2 \1/p'
}

# With arguments that make no sense, a call that is let through fails, and the process is still there.
calls_are_those_of_the_list() {
    attack "$1" numbers
    client_has_all one "$file"
    decant_gives 0
    [[ $(outcomes | wc -l) == 600 ]] || fail "$(outcomes | wc -l) numbers were tried"
    "$maker" list "$(uname -m)" "$1" | sort -u >"$T/list"
    # 336 is uprobe(2), which Linux 6.18 itself lets through any filter, and which does nothing elsewhere.
    outcomes | grep -E ' (E[A-Z]+|errno [0-9]+|succeeded)$' | grep -v '^336 errno 6$' | sort >"$T/through"
    numbers | sort | join -a 2 - "$T/through" | awk '{ print $2 }' | sort >"$T/names"
    [[ $(wc -l <"$T/names") -gt 10 ]] || fail "$(cat "$T/through")"
    # socket(2) and connect(2) are refused. Of some that are in the list, these arguments are not.
    ! comm -23 "$T/names" "$T/list" | grep -vxE 'socket|connect' ||
        fail 'these are not in the list, and let through'
}
