# SPDX-License-Identifier: MIT
# The list of system calls goes wrong in two ways. A call that is missing ends the process, on the day when a disk fails
# or a client leaves at that very moment, and nobody had tried. And one that nobody makes is a gift to whoever takes the
# process over; it stays there for good, as no test ever fails for it.
#
# So here is, for each filter, all that is known to make decant call: each call of the list must be made, by glibc or by
# musl, and none beyond it. Where a new one is needed, add what makes it here. The list of all tests together, error by
# error, is made by `make calls`; it takes a quarter of an hour.

load attack
load ../black-box/store

# In the list, and not made here. The vDSO answers clock_gettime, but not in every virtual machine.
excused=(clock_gettime)
# The list is that of all C libraries that decant has met. Those of Debian 12 make all of it between them; where others
# are at work, these are what they do in another way: fstat(3), and the memory of malloc(3).
[[ $(getconf GNU_LIBC_VERSION 2>/dev/null) == 'glibc 2.36' ]] || excused+=(newfstatat fstat brk mmap munmap madvise)
# What syslog(3) tries when syslogd has gone, and is refused.
refused=(socket)

# Other names of the same, in musl; where it has no build with that filter, they are known from those that it has.
of_musl=(fstat open stat epoll_pwait madvise tkill)

setup_file() {
    ! command -v musl-gcc >/dev/null || make -C "$BATS_TEST_DIRNAME/../.." --silent BUILD="$BATS_FILE_TMPDIR/musl" \
        CC=musl-gcc SYSTEMD=no STATIC=yes WERROR=yes >"$BATS_FILE_TMPDIR/log" 2>&1 || cat "$BATS_FILE_TMPDIR/log" >&2
}

# scenario NAME [RULE]: what follows has a directory, and traces, of its own; RULE is one of strace(1), for a fault
scenario() {
    T=$BATS_TEST_TMPDIR/$libc.$1
    mkdir -p "$T/served" "$BATS_TEST_TMPDIR/traces"
    make_file served/payload 3000000
    record=(strace -D -qq -ff -o "$BATS_TEST_TMPDIR/traces/$libc.$1" ${2:+-e "inject=$2"})
    own=()
}

# serve [DECANT-ARGUMENT...]: with the filter of this test, under the supervisor that goes with it
serve() {
    local what=("$file") options

    case $filter in
    *-path) ;;
    *-directory) what=("$T/served") ;;
    resident | store) what=() ;;
    esac
    if [[ $filter == store* ]]; then
        case $filter in
        store-path) options=() ;;
        store-directory) options=('--listen=tcp4,payload') ;;
        *) options=(--open-file="$file,data") ;;
        esac
        [[ $libc != musl ]] || options=(--standard-input) # for which systemd stores, but hands over nothing
        keep "${options[@]}" --prevent=64,66,71,76 --pause=10 -- --sandbox=require "$@" "${what[@]}"
        return
    fi
    always=(--sandbox=require --idle-exit=100ms)
    case $filter in
    single)
        always=(--sandbox=require)
        options=(--at=0:client --at=1:client)
        ;;
    *-path) options=(--at=0:listening --at=1:listening) ;;
    *-directory) options=(--at=0:null --at=3:listening --listen-fds=1 --listen-fdnames=payload) ;;
    *) options=(--at=0:file="$file" --at=3:listening --listen-fds=1) ;;
    esac
    start "${options[@]}" "${own[@]}" -- "$@" "${what[@]}"
}

# ends [STATUS]: "any" is one of those that have a test of their own
ends() {
    if [[ $filter == store* ]]; then
        tell stop
        wait_for 40 nobody_runs
        kill -TERM "$decant_pid"
        decant_gives 0
        return
    fi
    wait_for_decant
    [[ ${1-0} == any || $status == "${1-0}" ]] || fail "decant gave $status, not $1"
}

# signals SIGNAL: decant
signals() {
    if [[ $filter == store* ]]; then
        tell kill "$1"
    else
        kill -"$1" "$decant_pid"
    fi
}

# --- What makes it call -----------------------------------------------------------------------

whole() {
    scenario whole
    serve
    client one drain
    client_has_all one "$file"
    ends
}

changed() {
    scenario changed
    serve
    midway one
    echo more >>"$file"
    go
    client_gets one 'reset *'
    ends 65
}

# Of a client that has nothing more to say, only an error can be learnt.
half_closes() {
    scenario half_closes
    serve
    client one --rcvbuf=64K half-close drain
    client_has_all one "$file"
    ends
}

# The file is not in memory.
cold() {
    scenario cold preadv2:error=EAGAIN:when=1
    serve
    client one drain
    client_has_all one "$file"
    ends
}

# An error that may be the client's or the file's.
timed_out() {
    scenario timed_out sendfile:error=ETIMEDOUT:when=2
    serve
    client one drain
    client_gets one 'reset *'
    ends 74
}

# For those who come next it is another file, or one that was touched.
renew() {
    case $filter in
    resident | store) touch "$file" ;;
    *)
        cp "$file" "$file.new"
        mv "$file.new" "$file"
        ;;
    esac
}

renewed() {
    scenario "${1-renewed}"
    serve
    midway one
    renew
    fetch two
    go
    client_gets one '*'
    ends any
}

# Each piece of memory is the kernel's, or the heap has no room beyond what was asked for.
by_mmap() (
    export MALLOC_MMAP_THRESHOLD_=1
    renewed by_mmap
)

by_brk() (
    local i

    export MALLOC_TOP_PAD_=0
    scenario by_brk
    make_file served/payload 1000
    serve --idle-exit=1s
    for i in {1..20}; do # of an opening each, of some hundred bytes
        renew
        fetch "$i"
    done
    ends
)

# openat2(2) is refused by some units, and not there before Linux 5.6.
without_openat2() {
    scenario without_openat2 openat2:error=ENOSYS
    serve
    midway one
    renew
    fetch two
    go
    client_gets one '*'
    ends any
}

missing() {
    scenario missing
    serve
    midway one
    mv "$file" "$T/elsewhere"
    client two drain
    client_is_refused two
    go
    client_has_all one "$T/elsewhere"
    ends 66
}

# It can be read, but not from the sandbox.
elsewhere() {
    scenario elsewhere
    serve
    midway one
    mkdir "$T/other"
    cp "$file" "$T/other/payload"
    ln -s "$T/other/payload" "$T/link"
    mv -T "$T/link" "$file"
    client two drain
    client_is_refused two
    go
    client_has_all one "$T/other/payload"
    ends any
}

terminated() {
    scenario terminated
    serve
    midway one
    signals TERM
    if [[ $filter == store* && $libc == glibc ]]; then
        wait_for 20 has_started 2
    fi
    go
    client_gets one '*'
    ends any
}

# The loop cannot go on, and those that wait are refused.
broken() {
    scenario broken '?epoll_wait,?epoll_pwait:error=EINVAL:when=1'
    serve
    client one drain
    client_gets one 'reset *'
    if [[ $filter == store* ]]; then
        wait_for 20 nobody_runs
    fi
    ends 71
}

paced() {
    scenario paced
    serve --rate=1G
    client one drain
    client_has_all one "$file"
    ends
}

killed() {
    [[ $libc == glibc ]] || return 0
    scenario killed
    serve
    parked one
    kills
    go
    client_has_all one "$file"
    ends
}

is_stopped() {
    grep -q '^State:	[tT]' "/proc/$decant_pid/status"
}

# Where poll(2) goes on after SIGCONT, it is by restart_syscall(2).
stopped() {
    scenario stopped
    serve
    midway one
    kill -STOP "$decant_pid"
    wait_for 20 is_stopped
    kill -CONT "$decant_pid"
    go
    client_has_all one "$file"
    ends
}

# What is on descriptor 2 may be somebody's stream.
to_syslog() {
    scenario to_syslog
    if ((EUID != 0)); then
        [[ ${CI-} != true ]] || fail 'this needs root, and CI skips nothing'
        excused+=(sendto getpid)
        return
    fi
    receives log syslog
    mkdir "$T/dev"
    : >"$T/dev/null"
    ln -s "$T/log" "$T/dev/log"
    own=(--at=2:pair)
    local tools=$T/tools
    mkdir "$tools"
    # shellcheck disable=SC2016
    printf '#!/bin/sh\nexec unshare --mount sh -c '\''mount --bind /dev/null "$0/null" && mount --rbind "$0" /dev && exec "$@"'\'' %q %q "$@"\n' \
        "$T/dev" "$real_tools/hand" >"$tools/hand"
    chmod +x "$tools/hand"
    serve
    tools=$real_tools client one drain
    client_has_all one "$file"
    ends
    wait_for 10 grep -q 'decant.*: complete: ' "$T/syslog"
}

# --- What it is to come to --------------------------------------------------------------------

# conditions: of this filter, each line of the list that names arguments, as the call and their names
conditions() {
    awk -v filter="$filter" '
        /^ *\{"[a-z0-9_]+", .*INT\(/ {
            for_whom = $0
            sub(/^ *\{"[a-z0-9_]+", */, "", for_whom)
            sub(/,.*/, "", for_whom)
            if (!(for_whom ~ /ANY/ || (for_whom ~ /SINGLE/ && filter == "single") ||
                (for_whom ~ /LOOP/ && filter != "single") || (for_whom ~ /STORE/ && filter ~ /^store/) ||
                (for_whom ~ /PATH/ && filter ~ /-path$/) || (for_whom ~ /DIRECTORY/ && filter ~ /-directory$/)))
                next
            split($0, part, "\"")
            words = part[2]
            rest = $0
            while (match(rest, /INT\([0-9], [A-Z][A-Z_]+\)/)) {
                word = substr(rest, RSTART + 7, RLENGTH - 8)
                rest = substr(rest, RSTART + RLENGTH)
                if (word !~ /^SANDBOX_/) words = words " " word
            }
            sub(/IPPROTO_TCP/, "SOL_TCP", words) # as strace(1) has it
            if (words ~ / /) print words
        }' "$root/src/sandbox-filter.c"
}

# each_condition_is_met: some call has had each of these arguments
each_condition_is_met() {
    local call words

    "$root/tests/attack/calls" lines "$BATS_TEST_TMPDIR/traces" | cut -d' ' -f3- | sort -u >"$BATS_TEST_TMPDIR/lines"
    [[ $(conditions | wc -l) -ge 5 ]] || fail 'where are the conditions?' "$(conditions)"
    while read -r call words; do
        ! grep -qxF -e "$call" -e "$call $words" <(printf '%s\n' "${excused[@]}") || continue
        grep -qE "^$call\\(.*[ (]${words// /.*[ (]}\\b" "$BATS_TEST_TMPDIR/lines" || fail "nobody makes $call with $words"
    done < <(conditions)
}

# makes SCENARIO...: for this filter, with glibc, and with musl where it has one
makes() {
    local scenario libc musl=$BATS_FILE_TMPDIR/musl/decant

    need strace
    real_tools=$tools
    for libc in glibc musl; do
        if [[ $libc == musl ]]; then
            case $filter in
            single | *-path) need musl-gcc ;;
            *)
                excused+=("${of_musl[@]}")
                break
                ;;
            esac
            decant=$musl
        fi
        for scenario; do
            printf '%s, %s: %s\n' "$filter" "$libc" "$scenario"
            "$scenario"
        done
    done
    "$root/tests/attack/calls" made "$BATS_TEST_TMPDIR/traces" >"$BATS_TEST_TMPDIR/made"
    [[ $(cut -d' ' -f1 "$BATS_TEST_TMPDIR/made" | sort -u) == "$filter" ]] ||
        fail 'of other filters:' "$(cut -d' ' -f1 "$BATS_TEST_TMPDIR/made" | sort | uniq -c)"
    cut -d' ' -f2 "$BATS_TEST_TMPDIR/made" | sort -u >"$BATS_TEST_TMPDIR/names"
    "$maker" list "$(uname -m)" "$filter" | sort -u >"$BATS_TEST_TMPDIR/list"
    ! comm -23 "$BATS_TEST_TMPDIR/list" "$BATS_TEST_TMPDIR/names" | grep -vxF "$(printf '%s\n' "${excused[@]}")" ||
        fail 'these are in the list, and nobody makes them'
    ! comm -13 "$BATS_TEST_TMPDIR/list" "$BATS_TEST_TMPDIR/names" | grep -vxF "$(printf '%s\n' "${refused[@]}")" ||
        fail 'these are made, and not in the list'
    each_condition_is_met
}

@test "single: each call of the list is made, and no other" {
    filter=single
    excused+=(brk mmap) # syslog(3) of some C libraries asks for memory
    makes whole changed half_closes cold timed_out terminated stopped to_syslog
}

@test "resident: each call of the list is made, and no other" {
    filter=resident
    makes whole changed half_closes cold timed_out renewed by_mmap by_brk terminated broken paced to_syslog
}

@test "resident-path: each call of the list is made, and no other" {
    filter=resident-path
    makes whole changed half_closes cold timed_out renewed by_mmap by_brk missing elsewhere terminated broken paced to_syslog
}

@test "resident-directory: each call of the list is made, and no other" {
    filter=resident-directory
    makes whole changed half_closes cold timed_out renewed by_mmap by_brk missing without_openat2 terminated broken paced to_syslog
}

@test "store: each call of the list is made, and no other" {
    filter=store
    makes whole changed half_closes cold timed_out renewed by_mmap by_brk terminated broken paced killed
}

@test "store-path: each call of the list is made, and no other" {
    filter=store-path
    excused+=(tkill) # of a musl build that systemd hands its sockets to, which takes a libsystemd for musl
    makes whole changed half_closes cold timed_out renewed by_mmap by_brk missing elsewhere terminated broken paced killed
}

@test "store-directory: each call of the list is made, and no other" {
    filter=store-directory
    makes whole changed half_closes cold timed_out renewed by_mmap by_brk missing without_openat2 terminated broken paced killed
}
