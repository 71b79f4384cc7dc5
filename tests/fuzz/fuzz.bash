# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# A fuzz target is the file TARGET.c beside this one, and begins with tests/fuzz/corpus/TARGET. What it learns stays
# in the build directory, where the next run goes on with it, and so does what it finds.

root=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
fuzzers=${FUZZERS:-$root/build/fuzz}
target=$(basename "$BATS_TEST_FILENAME" .bats)
seeds=$root/tests/fuzz/corpus/$target
corpus=$fuzzers/corpus/$target

setup() {
    T=$BATS_TEST_TMPDIR
    export TMPDIR=$T # of the served files, also of one that a find leaves behind
    if [[ -e $fuzzers/missing ]]; then
        cat "$fuzzers/missing"
        [[ ${CI-} != true ]] || fail "libFuzzer (clang, libclang-rt-dev) is missing, and CI skips nothing"
        skip "libFuzzer (clang, libclang-rt-dev) is missing"
    fi
    [[ -x $fuzzers/$target ]] || fail "$fuzzers/$target is missing; run make fuzzers"
    mkdir -p "$corpus" "$fuzzers/finds"
}

fail() {
    printf '%s\n' "$@"
    return 1
}

# How it came to its end, and how to see it again.
tell() {
    tail -n 60 "$T/log" | cut -c 1-300
    find "$fuzzers/finds" -name "$target-*" -newer "$T/start" -exec echo "to replay it: $fuzzers/$target" {} \;
    return 1
}

# is_chance: no sanitizer has said anything, and what was found does not come again in 300 tries. Then it was the kernel's
# time, in which a reset or an end has come to a client later than it was looked for. The find is kept all the same.
is_chance() {
    local find found=

    ! grep -qE 'Sanitizer:|runtime error' "$T/log" || return 1
    while read -r find; do
        found=yes
        timeout 60 "$fuzzers/$target" -runs=300 -artifact_prefix="$T/" "$find" >"$T/replayed" 2>&1 3>&- || return 1
        printf '# came once, and not again: %s\n' "$find" >&3
    done < <(find "$fuzzers/finds" -name "$target-*" -newer "$T/start")
    [[ -n $found ]]
}

# fuzz SECONDS: random inputs for so long. One that takes a minute counts as a find, too.
fuzz() {
    local options=(-max_total_time="$1" -timeout=60 -print_final_stats=1
        -artifact_prefix="$fuzzers/finds/$target-")

    if [[ -e $root/tests/fuzz/$target.dict ]]; then
        options+=(-dict="$root/tests/fuzz/$target.dict")
    fi
    touch "$T/start"
    "$fuzzers/$target" "${options[@]}" "$corpus" "$seeds" >"$T/log" 2>&1 3>&- || is_chance || tell
    # A target that starts, and then tries nothing, would find nothing.
    (($(awk '/stat::number_of_executed_units/ { print $2 }' "$T/log") > $1)) || tell
    cp "$T/log" "$fuzzers/$target.log"
}
