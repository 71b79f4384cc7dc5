# SPDX-License-Identifier: MIT
# What options.c says goes wrong, looked for by libFuzzer.
load fuzz

@test "no command line makes the parser break its word" {
    fuzz "${FUZZ_TIME:-60}"
}
