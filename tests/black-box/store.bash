# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# What the tests of the file-descriptor store have beside common.bash: `keeper` as the supervisor, which is
# told what to do while the test runs. $decant_pid is keeper's; that of the decant of the moment is tell pid.

# keep [KEEPER-OPTION...] -- [DECANT-ARGUMENT...]
keep() {
    local options=()

    while [[ $1 != -- ]]; do
        options+=("$1")
        shift
    done
    shift
    [[ -x $tools/keeper ]] || fail "$tools/keeper is missing; run make tests"
    "$tools/keeper" --address-file="$T/address" --notify="$T/notify" --control="$T/control" --log="$T/log" \
        "${options[@]}" -- "${wrap[@]}" "${record[@]}" "$decant" "$@" </dev/null >"$T/out" 2>"$T/err" 3>&- &
    decant_pid=$!
}

tell() {
    "$tools/keeper" --tell="$T/control" "$@"
}

# An address file is there before the log is.
is_logged() {
    grep -qE -- "$1" "$T/log" 2>/dev/null
}

# logged REGEX: a line of keeper's log
logged() {
    is_logged "$1" || fail "the supervisor's log has no '$1'" "$(cat "$T/log")"
}

logged_not() {
    ! is_logged "$1" || fail "the supervisor's log has '$1'" "$(cat "$T/log")"
}

# The clients' sockets, by name and kind.
stored_sockets() {
    tell store | grep -E '^@[0-9a-f]+ (tcp4|tcp6|unix)$' || true
}

has_stored() {
    [[ $(stored_sockets | wc -l) == "$1" ]]
}

# stored N: so many clients' sockets, soon
stored() {
    wait_for 30 has_stored "$1"
}

# kept NAME...: all that is in the store, in this order of the names; the two ends of the witness count once
kept() {
    local names

    names=$(tell store | cut -d' ' -f1 | uniq | sort | paste -sd' ')
    [[ $names == "$(printf '%s\n' "$@" | sort | paste -sd' ')" ]] || fail "the store has $names, not $*"
}

nobody_runs() {
    [[ $(tell pid) == 0 ]]
}

has_started() {
    (($(tell starts) >= $1))
}

is_ready() {
    [[ $(tell ready) == 1 ]]
}

# between [COMMAND...]: decant is killed, COMMAND is done while none runs, and the next one starts
between() {
    local starts

    starts=$(tell starts)
    tell hold
    tell kill KILL
    wait_for 20 nobody_runs
    "$@"
    tell run
    wait_for 20 has_started $((starts + 1))
}

# kills [SIGNAL]: and the next one is ready
kills() {
    local starts

    starts=$(tell starts)
    tell kill "${1-KILL}"
    wait_for 20 has_started $((starts + 1))
    wait_for 20 is_ready
}

# parked NAME [PEER-OPTION...]: midway, and its socket in the store
parked() {
    local n

    n=$(stored_sockets | wc -l)
    midway "$@"
    stored $((n + 1))
}

# What it ended with, the last time: a status, or the name of a signal.
last_end() {
    sed -n 's/^[0-9]*: end //p' "$T/log" | tail -n 1
}

# stops_with STATUS: as `systemctl stop`
stops_with() {
    tell stop
    wait_for 40 nobody_runs
    [[ $(last_end) == "$1" ]] || fail "decant gave $(last_end), not $1"
}

# next_args ARGUMENT...: of the next decant
next_args() {
    tell arguments "$@"
}

# reports REGEX: a record, soon; it is written when the client has its end already
reports() {
    wait_for 20 grep -qE -- "^decant: $1" "$T/err" || fail "decant did not report '$1'"
}

descriptors_of() {
    find "/proc/$1/fd" -mindepth 1 | wc -l
}

# PID 1 takes no messages, and there is no room for another one.
fill_queue() {
    need perl
    tell deaf
    perl -MIO::Socket::UNIX -e 'for (my $n = 1; $n > 0;) {
        my $s = IO::Socket::UNIX->new(Type => SOCK_DGRAM, Peer => $ARGV[0]) or die;
        $s->blocking(0);
        for ($n = 0; defined $s->send("X=1"); $n++) {}
    }' "$T/notify"
}

# The process dies before PID 1 takes any messages again.
kills_unheard() {
    local pid starts

    pid=$(tell pid)
    starts=$(tell starts)
    tell kill KILL
    wait_for 20 has_ended "$pid"
    tell hear
    wait_for 20 has_started $((starts + 1))
    wait_for 20 is_ready
}

# kill_many OPTION... WAY CLIENT...: killer, and what came of it in $killed and in the log of the tests
kill_many() {
    # The sanitizer's own way of looking for leaks needs ptrace(2) itself.
    export ASAN_OPTIONS="$ASAN_OPTIONS:detect_leaks=0"
    [[ -x $tools/killer ]] || fail "$tools/killer is missing; run make tests"
    mkdir "$T/killer"
    "$tools/killer" --dir="$T/killer" --timeout=60 "$@" -- "$decant" --drain-timeout=1h \
        >"$T/killed" 2>"$T/failures" </dev/null 3>&- || fail "$(head -n 50 "$T/failures")" "$(cat "$T/killed")"
    killed=$(cat "$T/killed")
    printf '# %s: %s\n' "$*" "$killed" >&3
    if grep -hE 'Sanitizer|runtime error|damaged|without a transfer|keeps for this service' "$T"/killer/*.err; then
        fail 'it said that'
    fi
    rm -r "$T/killer"
}

# number NAME: of $killed
number() {
    sed -E "s/.*\\b$1=([0-9]+).*/\\1/" <<<"$killed"
}

# The sanitizers make a start ten times as long: then only each fifth call has its turn.
stride=1
[[ $decant != */asan/* ]] || stride=5

# at_least N NAME [EVERY]: of $killed, where every system call, or one of so many, had its turn
at_least() {
    (($(number "$2") >= $1 / stride / ${3-1})) || fail "$2: $(number "$2") instead of $1: $killed"
}

# The place in between is a matter of chance, and needs to know what a system call looks like.
places=(behind before)
case $(uname -m) in
x86_64 | aarch64) places+=(between) ;;
esac

# walks KILLS PARKED EVERY OPTION... CLIENT...: at least so many of the one and of the other, if every system call had
# its turn; only one of EVERY has
walks() {
    local place

    for place in "${places[@]}"; do
        kill_many --stride=$((stride * $3)) --where="$place" "${@:4}"
        at_least "$1" kills "$3"
        at_least "$2" parked "$3"
    done
}

# Whoever is killed before the socket is in the store is reset: of the first one, until PID 1 has answered; of the
# next one, until its first turn is over.
resets_only_up_to() {
    (($(number last_reset) <= $1)) || fail "a reset behind system call $(number last_reset): $killed"
}
