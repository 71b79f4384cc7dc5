# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# What the tests of the build stand on.

load ../black-box/common

# builds VARIABLE=VALUE...: the program into $T/build, warnings being errors
builds() {
    make -C "$root" --silent BUILD="$T/build" WERROR=yes "$@" >"$T/log" 2>&1 || fail "$(cat "$T/log")"
    ! grep -vE '^  (CC|LD) ' "$T/log" || fail 'the build is not silent'
}
