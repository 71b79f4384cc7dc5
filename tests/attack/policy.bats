# SPDX-License-Identifier: MIT
# A kernel without landlock(7), a container whose runtime keeps seccomp(2) to itself: decant then serves all the same,
# and says what it could not give up, or, for those who would rather not be served, refuses. What it must not do is to
# serve without a word, or not to serve without one.

load attack

# What is asked of the kernel for it.
calls_of_the_sandbox=landlock_create_ruleset,landlock_add_rule,landlock_restrict_self,seccomp,prctl,capset,prlimit64,setrlimit

# Each step, the call that it needs, and how it fails where there is none.
steps=(
    'no_new_privs prctl EINVAL'
    'limits prlimit64 EPERM'
    'landlock landlock_create_ruleset ENOSYS'
    'landlock landlock_create_ruleset EOPNOTSUPP'
    'landlock landlock_restrict_self EPERM'
    'seccomp seccomp EINVAL'
    'seccomp seccomp ENOSYS'
)

# for_each_step COMMAND MODE: and the words of each step
for_each_step() {
    local step words when

    if ((EUID == 0)); then # others have none to give up
        steps+=('capabilities capset EPERM')
    fi
    for step in "${steps[@]}"; do
        read -ra words <<<"$step"
        T=$BATS_TEST_TMPDIR/${words[1]}.${words[2]}
        mkdir "$T"
        make_file file 100000
        # The resident one asks for the number of its descriptors before, once or twice.
        when=
        [[ ${words[1]} != prlimit64 || $2 != resident ]] || when=:when=6+
        trace "${words[1]}" -e "inject=${words[1]}:error=${words[2]}$when"
        "$@" "${words[@]}"
    done
}

starts_in() {
    rm -f "$T/address" # of a start before
    case $1 in
    single)
        always=()
        start --at=0:client --at=1:client -- "${@:2}" "$file"
        ;;
    resident)
        always=(--idle-exit=100ms)
        start --at=0:listening --at=1:listening -- "${@:2}" "$file"
        ;;
    esac
    client one drain
}

tries_and_serves() {
    starts_in "$1"
    client_has_all one "$file"
    decant_gives 0
    says "sandbox: not possible here: $2 \("
    count 1 'sandbox'
}

@test "--sandbox=try, the default: says what was not possible, and serves" {
    for_each_step tries_and_serves single
}

@test "--sandbox=try, resident: the same" {
    for_each_step tries_and_serves resident
}

refuses() {
    starts_in "$1" --sandbox=require
    client_is_refused one
    decant_gives 71
    says "--sandbox=require: not possible here: $2 \("
}

@test "--sandbox=require: says what was not possible, and refuses" {
    for_each_step refuses single
}

@test "--sandbox=require, resident: the same" {
    for_each_step refuses resident
}

@test "what was not possible is one line, however much it is" {
    make_file file 100000
    trace "$calls_of_the_sandbox" -e inject=landlock_create_ruleset,seccomp:error=ENOSYS
    starts_in single
    client_has_all one "$file"
    decant_gives 0
    says 'sandbox: not possible here: landlock \(.*\), seccomp \('
    count 1 'sandbox'
}

@test "--sandbox=require: serves where all is possible, and has nothing to say" {
    for mode in single resident; do
        T=$BATS_TEST_TMPDIR/$mode
        mkdir "$T"
        make_file file 100000
        starts_in "$mode" --sandbox=require
        client_has_all one "$file"
        decant_gives 0
        says_not sandbox
    done
}

# What the C library asks for at its start is not meant: prctl(2) of nothing that is given up, limits that are only read.
@test "--sandbox=off makes none of the calls" {
    for mode in single resident; do
        T=$BATS_TEST_TMPDIR/$mode
        mkdir "$T"
        make_file file 100000
        trace "$calls_of_the_sandbox"
        starts_in "$mode"
        client_has_all one "$file"
        decant_gives 0
        for call in landlock_restrict_self seccomp PR_SET_NO_NEW_PRIVS RLIMIT_NPROC; do
            grep -q "$call" "$T/calls" || fail "there is no $call to leave out" "$(cat "$T/calls")"
        done
        starts_in "$mode" --sandbox=off
        client_has_all one "$file"
        decant_gives 0
        ! grep -E 'landlock|seccomp|PR_SET_NO_NEW_PRIVS|capset|RLIMIT_(NPROC|FSIZE)' "$T/calls" || fail 'it is not off'
    done
}

# The limits are what is seen from outside, and what stays when all else is not there.
@test "from outside: no new privileges, a filter, no capabilities, no new processes" {
    local wanted

    make_file file 3000000
    start_midway --at=0:client --at=1:client -- "$file"
    for wanted in 'NoNewPrivs:	1' 'Seccomp:	2' 'CapEff:	0000000000000000' 'CapPrm:	0000000000000000'; do
        grep -qx "$wanted" "/proc/$decant_pid/status" || fail "not '$wanted' but" "$(cat "/proc/$decant_pid/status")"
    done
    grep -E '^Max processes +0 +0 ' "/proc/$decant_pid/limits"
    grep -E '^Max locked memory +0 +0 ' "/proc/$decant_pid/limits"
    go
    client_has_all one "$file"
    decant_gives 0
}

# A log that is a file must grow; it is all that may.
@test "no file can grow, but a log that is one" {
    make_file file 3000000
    start_midway --at=0:client --at=1:client -- "$file" # $T/err is one
    grep -E '^Max file size +unlimited +unlimited ' "/proc/$decant_pid/limits"
    go
    client_has_all one "$file"
    decant_gives 0
    says 'complete: '

    rm "$T/midway" "$T/go" "$T/address"
    start_midway "${inetd[@]}" -- "$file"
    grep -E '^Max file size +0 +0 ' "/proc/$decant_pid/limits"
    go
    client_has_all one "$file"
    decant_gives 0
}
