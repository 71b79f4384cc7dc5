# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# What every black-box test stands on: the real decant, started by `hand` as a supervisor would,
# and `peer` as its client. A test reads: start, client, ..., decant_gives, client_gets, says.

root=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
tools=${DECANT_TOOLS:-$root/build/tests}
decant=${DECANT:-$root/build/decant}

# Most tables hold for both modes. resident-whole.bats is whole.bats under another name, by which
# decant gets a listening socket where it gets a connected one otherwise; hand starts it when the
# first client is in the queue.
case ${BATS_TEST_FILENAME##*/} in
resident*) mode=resident ;;
*) mode=per-connection ;;
esac

# The options of decant in every start: the resident one ends by itself once its clients have gone.
always=()
# What takes SIGTERM for the end of the running transfers, which the resident decant first lets go on.
stopping=()
if [[ $mode == resident ]]; then
    always=(--idle-exit=100ms)
    stopping=(--stop-timeout=300ms)
    socket=listening
    fdname=decant.socket
else
    socket=client
    fdname=connection
fi

# How the supervisors place the descriptors. stderr is a file of the test, except under inetd.
inetd=(--at="0:$socket" --at="1:$socket" --at="2:$socket")
tcpserver=(--at="0:$socket" --at="1:$socket")
systemd=(--at=0:null --at="3:$socket" --listen-fds=1 --listen-fdnames="$fdname")

# What stands between hand and decant in the command, such as strace(1).
wrap=()

# What is next to decant in it. DECANT_TRACE names a directory that gets the system calls of each decant, in a file of
# its own: tests/attack/calls says which test makes which.
record=()

setup() {
    T=$BATS_TEST_TMPDIR
    [[ -x $decant && -x $tools/hand && -x $tools/peer ]] ||
        fail "$decant, $tools/hand or $tools/peer is missing; run make tests"
    decant_pid=
    status=
    declare -gA client_pids=()
    own_pids=()
    if [[ ${DECANT_TRACE-} ]]; then
        record=(strace -D -qq -ff -o "$DECANT_TRACE/${BATS_TEST_FILENAME##*/}.$BATS_TEST_NUMBER")
    fi
    # Where decant's descriptor 2 is the client, a sanitizer would have nowhere to report to.
    export ASAN_OPTIONS="${ASAN_OPTIONS:+$ASAN_OPTIONS:}log_path=$T/sanitizer"
    export UBSAN_OPTIONS="${UBSAN_OPTIONS:+$UBSAN_OPTIONS:}log_path=$T/sanitizer"
}

teardown() {
    local pid file

    for pid in $decant_pid "${client_pids[@]}" "${own_pids[@]}"; do
        { kill -KILL "$pid" && wait "$pid"; } 2>/dev/null || true # most have ended by now
    done
    if [[ ${DECANT_TRACE-} && -e $T/calls ]]; then
        cp "$T/calls" "$DECANT_TRACE/${BATS_TEST_FILENAME##*/}.$BATS_TEST_NUMBER.calls"
    fi
    for file in "$T"/err "$T"/sanitizer.*; do
        if [[ -e $file ]] && grep -E 'Sanitizer|runtime error' "$file"; then
            return 1
        fi
    done
}

fail() {
    printf '%s\n' "$@"
    if [[ -s ${T-}/err ]]; then
        sed 's/^/stderr: /' "$T/err"
    fi
    return 1
}

# A missing tool is a skip, but in CI it is a hole in the tests.
need() {
    command -v "$1" >/dev/null && return
    [[ ${CI-} != true ]] || fail "$1 is missing, and CI skips nothing"
    skip "$1 is missing"
}

need_mptcp() {
    [[ $(cat /proc/sys/net/mptcp/enabled 2>/dev/null) == 1 ]] && return
    [[ ${CI-} != true ]] || fail "this kernel has no MPTCP, and CI skips nothing"
    skip "this kernel has no MPTCP"
}

# strace(1) between hand and decant: traces CALLS, and does what else its OPTIONs say. -D leaves
# decant the process that was started, which LISTEN_PID and the tests name.
trace() {
    need strace
    wrap=(strace -D -qq -o "$T/calls" -e "trace=$1" "${@:2}")
    if [[ ${DECANT_TRACE-} ]]; then # a process has but one tracer
        wrap=(strace -D -qq -o "$T/calls" -e trace=all "${@:2}")
        record=()
    fi
    export ASAN_OPTIONS="$ASAN_OPTIONS:detect_leaks=0" # which needs ptrace(2) itself
}

# wait_for SECONDS COMMAND...: until COMMAND succeeds.
wait_for() {
    local end=$((SECONDS + $1 + 1))

    shift
    until "$@"; do
        ((SECONDS < end)) || { fail "waited in vain for: $*"; return 1; }
        sleep 0.01
    done
}

resident() {
    [[ $mode == resident ]]
}

# several N: in $several the options of hand for N clients that are all there when decant starts
several() {
    local i

    if resident; then
        several=("${systemd[@]}" --queued="$1")
        return
    fi
    several=(--at=0:null --at=3:client --listen-fds="$1")
    for ((i = 2; i <= $1; i++)); do
        several+=(--at="$((i + 2)):client$i")
    done
}

# start_late ACTION [HAND-OPTION...] -- [DECANT-ARGUMENT...]: the only client has reset its
# connection, or closed it, before decant starts. The resident one finds it in its queue all the same.
start_late() {
    local when=(--after-reset)

    if resident; then
        when=(--exec-after="$T/gone")
    fi
    start "${when[@]}" "${@:2}"
    client one "$1" "touch=$T/gone"
}

# make_file NAME SIZE: random bytes, and its path in $file.
make_file() {
    file=$T/$1
    head -c "$2" /dev/urandom >"$file"
}

# start [HAND-OPTION...] -- [DECANT-ARGUMENT...]
start() {
    local options=()

    while [[ $1 != -- ]]; do
        options+=("$1")
        shift
    done
    shift
    "$tools/hand" --address-file="$T/address" "${options[@]}" -- "${wrap[@]}" "${record[@]}" "$decant" "${always[@]}" "$@" \
        </dev/null >"$T/out" 2>"$T/err" 3>&- &
    decant_pid=$!
}

# client NAME [PEER-OPTION...] ACTION...: its bytes go to $T/NAME, how it ended to $T/NAME.result.
client() {
    local name=$1 options=()

    shift
    while [[ ${1-} == --* ]]; do
        options+=("$1")
        shift
    done
    "$tools/peer" "${options[@]}" --result="$T/$name.result" "@$T/address" "$@" \
        </dev/null >"$T/$name" 2>"$T/$name.err" 3>&- &
    client_pids[$name]=$!
}

# Half of the transfer is over, and it does not go on before go(): the client takes no more, and
# the buffers between the two are far smaller than the file must be.
start_midway() {
    start "$@"
    client one --rcvbuf=64K read=100000 "touch=$T/midway" "wait-file=$T/go" drain
    wait_for 30 test -e "$T/midway"
}

go() {
    : >"$T/go"
}

# midway NAME [PEER-OPTION...]: it has got some, and takes no more before go()
midway() {
    client "$1" --rcvbuf=64K "${@:2}" read=100000 "touch=$T/midway.$1" "wait-file=$T/go" drain
    wait_for 30 test -e "$T/midway.$1"
}

# fetch NAME [FILE]: all of it
fetch() {
    client "$1" drain
    client_has_all "$1" "${2-$file}"
}

# at SUFFIX COMMAND...: client() with the address of another listening socket
at() {
    cp "$T/address.$1" "$T/address"
    "${@:2}"
}

# A process that has ended, waited for or not, has no program any more.
has_ended() {
    [[ ! -e /proc/$1/exe ]]
}

# The status lands in $status. hand's fuse is no bound here: strace(1) takes it out.
wait_for_decant() {
    status=0
    wait_for 40 has_ended "$decant_pid"
    wait "$decant_pid" || status=$?
    decant_pid=
}

decant_gives() {
    [[ -z $decant_pid ]] || wait_for_decant
    [[ $status == "$1" ]] || fail "decant gave $status, not $1"
}

wait_for_client() {
    wait "${client_pids[$1]}" || true # its result tells
    unset "client_pids[$1]"
}

# client_gets NAME PATTERN: how its stream ended, as a pattern of bash.
client_gets() {
    local result

    [[ -z ${client_pids[$1]-} ]] || wait_for_client "$1"
    result=$(cat "$T/$1.result" "$T/$1.err")
    # shellcheck disable=SC2053
    [[ $result == $2 ]] || fail "client $1 got '$result', not '$2'"
}

# client_has_all NAME FILE: every byte of it, and a clean end.
client_has_all() {
    client_gets "$1" "eof $(stat -Lc %s "$2")"
    cmp "$T/$1" "$2" || fail "client $1 got other bytes than those of $2"
}

# client_has_start NAME FILE: what it got are the first bytes of FILE, however many.
client_has_start() {
    cmp -n "$(stat -c %s "$T/$1")" "$T/$1" "$2" || fail "client $1 got other bytes than those of $2"
}

# A connection that was refused: a reset, and nothing sent.
client_is_refused() {
    client_gets "$1" 'reset 0'
    [[ ! -s $T/$1 ]] || fail "client $1 got bytes"
}

# says REGEX: a line on decant's stderr.
says() {
    grep -qE -- "$1" "$T/err" || fail "decant did not say '$1'"
}

says_not() {
    ! grep -E -- "$1" "$T/err" || fail "decant said '$1'"
}

# All that decant has said, but for what root, who mostly runs these tests, is told at each start.
said() {
    grep -v 'running as root' "$T/err" || true
}

lines() {
    [[ $(grep -cE -- "$2" "$T/err") == "$1" ]]
}

# count N REGEX: so many lines of decant are like this
count() {
    lines "$@" || fail "not $1 lines of '$2'"
}

# queues: of decant's TCP socket, not the listening one, its state (01 open, 04 its end is sent) and the bytes that are not
# acknowledged, and then the bytes that wait for the client to read them. Nothing without a socket.
queues() {
    local port

    port=$(sed 's/.*=//' "$T/address")
    awk -v port="$(printf '%04X' "$port")" '
        function number(hex,    i, n) {
            for (i = 1; i <= length(hex); i++)
                n = n * 16 + index("0123456789ABCDEF", substr(hex, i, 1)) - 1
            return n
        }
        { split($5, queue, ":") }
        $2 ~ ":" port "$" && $4 != "0A" { state = $4; sent = number(queue[1]) }
        $3 ~ ":" port "$" && $4 != "0A" { waiting = number(queue[2]) }
        END { if (state) print state, sent, waiting }' /proc/net/tcp
}

# FIN-WAIT-1, or CLOSING: decant has sent the end, and the client has not got it yet.
end_is_sent() {
    [[ $(queues) == 04' '* ]]
}

all_is_queued() {
    local state unacknowledged unread

    read -r state unacknowledged unread < <(queues) && [[ $state == 01 ]] &&
        ((unacknowledged + unread == $1))
}

# Every byte of $file has left decant for the send queue; the client has read all but the last
# 12000, and has no room for these before go().
start_with_tail() {
    make_file file 2000000
    start "${systemd[@]}" -- "$@" "$file"
    client one --rcvbuf=4K read=1988000 "wait-file=$T/go" drain
    wait_for 30 all_is_queued 12000
}

# The same with the end behind it: what fits at once has its end sent at once.
start_with_tail_and_end() {
    make_file file 16000
    start "${systemd[@]}" -- "$@" "$file"
    client one --rcvbuf=2K "wait-file=$T/go" drain
    wait_for 30 end_is_sent
}

# wrong_beside_client WORDS HAND-OPTION...: a hand-over that cannot be, and the good client in it is reset
wrong_beside_client() {
    make_file file 100
    start "${@:2}" -- "$file"
    client one drain
    client_is_refused one
    decant_gives 76
    says "$1"
}
how='systemd-socket-activate --accept' # what such a message ends with
