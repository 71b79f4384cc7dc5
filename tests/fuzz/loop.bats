# SPDX-License-Identifier: MIT
# What loop.c says goes wrong, looked for by libFuzzer; and then with the program as it is installed, since one that
# runs in a fuzzer runs without its sandbox, and in a time of its own.
load fuzz

@test "no client and no change of the file make decant give anybody a clean end short, or a wrong byte" {
    fuzz "${FUZZ_TIME:-60}"
}

# The inputs that led the fuzzer to something new are the most telling ones.
play() {
    local list

    mkdir "$T/list"
    find "$seeds" "$corpus" -type f | head -n 500 | xargs -d '\n' cp -t "$T/list"
    list=("$T/list"/*)
    [[ -x $1 ]] || fail "$1 is missing; run make"
    if ! DECANT_REAL=$1 DECANT_REAL_OPTION=${2-} "$fuzzers/$target" \
        -artifact_prefix="$fuzzers/finds/$target-" "${list[@]}" >"$T/log" 2>&1 3>&-; then
        tail -n 60 "$T/log" | cut -c 1-300
        cp "$(sed -n 's/^Running: //p' "$T/log" | tail -n 1)" "$fuzzers/finds/$target-real"
        printf 'to replay it: DECANT_REAL=%s DECANT_REAL_OPTION=%s %s %s\n' "$1" "${2-}" "$fuzzers/$target" \
            "$fuzzers/finds/$target-real"
        return 1
    fi
    (($(grep -c '^Executed' "$T/log") == ${#list[@]})) || fail "not all of ${#list[@]} inputs were played"
}

@test "the same inputs, played with the real program, locked in" {
    play "${DECANT:-$root/build/decant}" --sandbox=require
}
