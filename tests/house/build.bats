# SPDX-License-Identifier: MIT
# What a user meets before the first byte: the build on a machine unlike ours, the install, the documents. A flag
# that only our compiler knows, a unit that names a file nobody installs, an option that the manual does not have:
# none of them fails a test of the program itself.

load common

# The program of builds() sends a file on descriptor 0.
it_sends() {
    decant=$T/build/decant
    make_file file 3000000
    start "${tcpserver[@]}" -- "$file"
    client one drain
    client_has_all one "$file"
    decant_gives 0
}

# options_of TEXT: the long options that it names, one a line
options_of() {
    grep -oE -- '--[a-z]+(-[a-z]+)*' <<<"$1" | sort -u
}

@test "builds with gcc" {
    need gcc
    builds CC=gcc
    it_sends
}

@test "builds with clang" {
    need clang
    builds CC=clang
    it_sends
}

@test "builds without libsystemd" {
    builds SYSTEMD=no
    readelf -d "$T/build/decant" | grep libc.so
    ! readelf -d "$T/build/decant" | grep libsystemd || fail 'libsystemd is needed all the same'
    it_sends
}

@test "builds one static file with musl" {
    need musl-gcc
    builds SYSTEMD=no STATIC=yes CC=musl-gcc
    ! readelf -l "$T/build/decant" | grep INTERP || fail 'it is not static'
    it_sends
}

@test "builds without optimisation" {
    builds CFLAGS=-O0
    it_sends
}

@test "a build without libsystemd resets what systemd hands over, and says why" {
    builds SYSTEMD=no
    decant=$T/build/decant
    make_file file 1000
    start "${systemd[@]}" -- "$file"
    client one drain
    client_is_refused one
    decant_gives 76
    says 'StandardInput=socket'
}

@test "another set of flags builds anew, the same set does not" {
    builds
    before=$(stat -c %y "$T/build/obj/main.o")
    builds
    [[ $(stat -c %y "$T/build/obj/main.o") == "$before" ]]
    builds SYSTEMD=no
    [[ $(stat -c %y "$T/build/obj/main.o") != "$before" ]]
}

@test "what is installed is removed again" {
    make -C "$root" --silent install DESTDIR="$T/tree" >"$T/log" 2>&1 || fail "$(cat "$T/log")"
    "$T/tree/usr/local/sbin/decant" --version | grep -qx "decant [0-9.]*"
    ! grep -r '@[a-z]*@' "$T/tree" --exclude=decant || fail 'a placeholder is left'
    make -C "$root" --silent uninstall DESTDIR="$T/tree" >"$T/log" 2>&1 || fail "$(cat "$T/log")"
    [[ -z $(find "$T/tree" ! -type d) ]] || fail "$(find "$T/tree" ! -type d)"
}

@test "systemd-analyze verify is silent on the installed units" {
    need systemd-analyze
    "$root/tests/house/verify-units"
}

# A restarted instance gets the same connection in mid-stream: whatever it sends can only make a corrupt copy.
@test "no unit for a connection is ever restarted" {
    grep -q Accept=yes "$root/units/decant.socket"
    ! grep -E '^Restart=' "$root/units/decant@.service" | grep -v 'Restart=no$' || fail 'it is restarted'
    # The resident one is, since all that its successor gets has a name, and a place in the table.
    grep -q '^FileDescriptorStoreMax=[1-9]' "$root/units/decantd@.service"
}

@test "--help, the manual and the README name the same options" {
    need mandoc
    help=$(options_of "$("$decant" --help | grep -E '^ +-.,')")
    manual=$(options_of "$(sed -n '/^OPTIONS/,/^[A-Z]/p' <<<"$(mandoc -T ascii "$root/src/decant.8" | sed 's|.\x08||g')" |
        grep -E '^ +-.( [a-z]+)?, --')")
    readme=$(options_of "$(sed -n '/^## Options/,/^## [^O]/p' "$root/README.md" | grep -E '^-.,')")
    [[ $(wc -l <<<"$help") -ge 13 ]]
    [[ $help == "$manual" ]] || fail "help: $help" "manual: $manual"
    [[ $help == "$readme" ]] || fail "help: $help" "README: $readme"
}

# left_in FILTER: so many system calls
left_in() {
    "$root/build/sandbox-filter" list "$(uname -m)" "$1" | wc -l
}

@test "the README counts the system calls that are left as the filters have them" {
    grep -qF "left are | $(left_in single) | $(left_in resident-path) | $(left_in store-path) |" "$root/README.md" ||
        fail "they are $(left_in single), $(left_in resident-path) and $(left_in store-path)"
}

@test "the manual is clean" {
    need mandoc
    "$root/tests/house/verify-manual"
}

@test "make help lists every target that is for people" {
    for target in all run run-resident check lint format asan bench install uninstall clean help; do
        make -C "$root" --silent help | grep -qE "^  $target " || fail "$target is missing"
    done
}

@test "the top level holds what a reader expects, and no more" {
    found=$(cd "$root" && printf '%s ' *)
    [[ ${found/build /} == 'LICENSE Makefile README.md src tests units ' ]] || fail "there is: $found"
}

# serves TARGET PORT: in the background, with its words in $T/run
serves() {
    setsid make -C "$root" --silent "$1" FILE="$file" PORT="$2" >"$T/run" 2>&1 3>&- &
    own_pids+=("-$!") # the group: make, and what it has started
    wait_for 20 grep -qE '^Listening|already in use|Error' "$T/run"
    grep -q '^Listening' "$T/run"
}

four_are_complete() {
    [[ $(grep -c 'complete: .*: 30000000 of 30000000 bytes sent' "$T/run") == 4 ]]
}

# serves_as_it_says TARGET: four clients, by the very command that it prints
serves_as_it_says() {
    need systemd-socket-activate
    need socat
    make_file "payload.$$" 30000000
    until serves "$1" $((20000 + RANDOM % 10000)); do :; done
    command=$(sed -n 's/^ *\(socat .*\)/\1/p' "$T/run")
    [[ $command == *CREATE:/tmp/payload.$$.copy ]] || fail "make $1 prints '$command'"
    pids=()
    for i in 1 2 3 4; do
        bash -c "${command/\/tmp\//$T/$i.}" 3>&- &
        pids+=($!)
    done
    for i in 1 2 3 4; do
        wait "${pids[i - 1]}"
        cmp "$file" "$T/$i.payload.$$.copy"
    done
    wait_for 10 four_are_complete
}

@test "make run serves four clients by the very command that it prints" {
    serves_as_it_says run
    [[ $(grep -c 'Spawned' "$T/run") == 4 ]] || fail "$(cat "$T/run")"
}

@test "make run-resident serves them from one process" {
    serves_as_it_says run-resident
    [[ $(grep -c 'Execing' "$T/run") == 1 ]] || fail "$(cat "$T/run")"
}
