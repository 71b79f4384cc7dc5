# SPDX-License-Identifier: MIT
# What store.c says goes wrong, looked for by libFuzzer.
load fuzz

@test "no table, no names and no descriptors make decant send wrong bytes or a clean end short" {
    fuzz "${FUZZ_TIME:-60}"
}
