# SPDX-License-Identifier: MIT
# What handover.c says goes wrong, looked for by libFuzzer.
load fuzz

@test "no environment and no descriptors make decant write to a client, lose a descriptor, or end one cleanly" {
    fuzz "${FUZZ_TIME:-60}"
}
