# SPDX-License-Identifier: MIT
# decant reads the environment of its supervisor and bytes of any client. A fault in that code is a fault all
# the same with these flags, but it ends the process, where it would otherwise go on with what the client wrote:
# on the stack, into the table of imported functions, or as code. A flag that the compiler stopped to know, that
# a later flag overrides, or that one object of the link cancels, is missed by nobody until then.
#
# So it is the installed program that is looked at, of three builds, and a probe that does on purpose what each
# flag is there to stop. What does not apply, and why:
# - FORTIFY under musl: it is the C library's part of it that is missing, so the flag changes nothing.
# - Control flow marks in the static build: they are read by the loader, and there is none.
# - Read-only relocations in the static build at run time: musl's start protects them in dynamic programs only.
#   The program header is there, and what would be protected is position-independent all the same.

load common

# The kinds of builds, and how each is made.
declare -gA kinds=([gcc]='CC=gcc' [clang]='CC=clang' [musl]='CC=musl-gcc SYSTEMD=no STATIC=yes')

setup_file() {
    local kind arguments

    for kind in "${!kinds[@]}"; do
        read -ra arguments <<<"${kinds[$kind]}"
        command -v "${arguments[0]#CC=}" >/dev/null || continue
        T=$BATS_FILE_TMPDIR/$kind
        mkdir "$T"
        builds "${arguments[@]}" DESTDIR="$T/tree" all install "$T/build/tests/probe"
    done
}

# for_each KIND... -- COMMAND: with $binary, $probe and $objects of this build
for_each() {
    local kind of=()

    while [[ $1 != -- ]]; do
        of+=("$1")
        shift
    done
    shift
    for kind in "${of[@]}"; do
        read -r kind_compiler _ <<<"${kinds[$kind]#CC=}"
        need "$kind_compiler"
        where=$BATS_FILE_TMPDIR/$kind
        binary=$where/tree/usr/local/sbin/decant
        probe=$where/build/tests/probe
        objects=("$where"/build/obj/*.o)
        T=$BATS_TEST_TMPDIR/$kind
        mkdir -p "$T"
        printf '%s:\n' "$kind"
        "$@"
    done
}

# has REGEX READELF-OPTION...: a line of what readelf says of the installed program
has() {
    LC_ALL=C readelf -W "${@:2}" "$binary" | grep -E -- "$1" || fail "readelf ${*:2} has no '$1'"
}

has_not() {
    ! LC_ALL=C readelf -W "${@:2}" "$binary" | grep -E -- "$1" || fail "readelf ${*:2} has '$1'"
}

# An address that a bug gives away, or that is always the same, is where the next bug jumps to.
is_loaded_anywhere() {
    has 'Type: *DYN' -h
    has '\(FLAGS_1\).* PIE' -d # a shared library is a DYN too
    has_not 'TEXTREL' -d       # which would have to make the code writable
}

@test "it is loaded at any address" {
    for_each gcc clang musl -- is_loaded_anywhere
}

# Bytes that were written become code only where a page is both.
is_code_or_data() {
    has 'GNU_STACK +.* RW +0x' -l
    has 'LOAD +.* R E +0x' -l
    has_not '(LOAD|GNU_STACK) .* (RWE|WE|[ W]E) +0x' -l
}

@test "no page is writable and executable" {
    for_each gcc clang musl -- is_code_or_data
}

# The mappings of the program in the middle of a transfer, in $T/maps.
maps() {
    make_file file 3000000
    start_midway "${tcpserver[@]}" -- "$file"
    cat "/proc/$decant_pid/maps" >"$T/maps"
    go
    client_has_all one "$file"
    decant_gives 0
}

runs_as_code_or_data() {
    decant=$binary
    maps
    grep ' r-xp .*/decant$' "$T/maps"
    ! grep -E ' .w.?x' "$T/maps" || fail 'it has a page that is writable and executable'
}

@test "no page is writable and executable while it runs" {
    for_each gcc clang musl -- runs_as_code_or_data
}

# The table of imported functions is the first thing that a wild write is aimed at.
is_bound_at_once() {
    has '^ *GNU_RELRO' -l
    has '\(FLAGS\) .*BIND_NOW' -d
    has '\(FLAGS_1\) .*NOW' -d
}

# The mapping of the program's data begins with what has been made read-only.
is_read_only() {
    local offset

    decant=$binary
    maps
    offset=$(LC_ALL=C readelf -lW "$binary" | awk '$1 == "LOAD" && $7 == "RW" { print $2 }')
    offset=$(printf '%08x' $((offset & ~4095)))
    grep -E " r--p $offset .*/decant\$" "$T/maps" || fail "$(cat "$T/maps")"
}

@test "the table of imported functions is filled at the start, and read-only from then on" {
    for_each gcc clang musl -- is_bound_at_once
    for_each gcc clang -- is_read_only
}

# A library that a user may put somewhere is a program that a user may put there.

@test "no path of its own leads to a library" {
    for_each gcc clang musl -- has_not 'RPATH|RUNPATH' -d
    for_each gcc clang -- has '\(NEEDED\).*libc\.so' -d
    for_each musl -- has_not 'NEEDED|INTERP' -ld
}

# probe_gives STATUS [ARGUMENT...]
probe_gives() {
    local status=0 core

    # A core file would be a file in the directory of the caller.
    core=$(ulimit -c)
    ulimit -Sc 0
    "$probe" "${@:2}" >"$T/out" 2>&1 || status=$?
    ulimit -Sc "$core"
    [[ $status == "$1" ]] || fail "probe ${*:2} gave $status, not $1" "$(cat "$T/out")"
}

# The return address lies behind what is written over.
canaries() {
    has '__stack_chk_fail' -s
    probe_gives 7 array
    probe_gives 7 local # -fstack-protector-strong
}

@test "what is written over on the stack ends the process" {
    for_each gcc clang musl -- canaries
}

# A frame that is larger than the guard page reaches what lies behind it.
@test "the guard page below the stack cannot be jumped over" {
    for_each gcc clang musl -- probe_gives 7 guard
}

# Only level 3 knows the size of memory that is a matter of the run.
is_fortified() {
    has ' UND __[a-z_]*_chk@' -s
    probe_gives 0 fortify
    [[ $(cat "$T/out") == 3 ]] || fail "the level is $(cat "$T/out")"
    probe_gives 134 heap 10
}

@test "what is written over on the heap, by a function of the C library, ends the process" {
    for_each gcc clang -- is_fortified
}

# The functions of the installed program that others see, each with its first instruction.
first_instructions() {
    LC_ALL=C objdump --disassemble --no-show-raw-insn --section=.text --section=.init --section=.fini "$binary" |
        awk '/^[0-9a-f]+ <.*>:$/ { name = substr($2, 2, length($2) - 3); next }
            name { print name, $2; name = "" }' | sort >"$T/first"
    LC_ALL=C nm --defined-only --extern-only "$binary" | awk '$2 ~ /[TW]/ { print $3 }' | sort >"$T/extern"
    join "$T/first" "$T/extern"
}

# A return goes where the call came from, and a call through a pointer goes to the start of a function. The
# mark on the program says so to the loader, of all its objects.
is_marked() {
    has 'x86 feature: IBT, SHSTK' -n
    first_instructions >"$T/functions"
    [[ $(grep -c ' endbr64$' "$T/functions") -gt 50 ]] || fail "$(cat "$T/functions")"
    # The three are the C library's own, in the objects that every program starts with. No kernel looks for
    # the instruction so far; what Linux has is the other one, the stack of return addresses.
    ! grep -vE ' endbr64$|^(_start|_init|_fini) ' "$T/functions" || fail 'it is marked, and has these'
}

objects_are_marked() {
    local object

    for object in "${objects[@]}"; do
        LC_ALL=C readelf -nW "$object" | grep -q 'x86 feature: IBT, SHSTK' || fail "$object has no mark"
    done
}

@test "calls and returns go where the program means them to go" {
    [[ $(uname -m) == x86_64 ]] || skip 'the marks are those of x86'
    for_each gcc clang musl -- objects_are_marked
    for_each gcc clang -- is_marked
}

# gcc keeps the flags of each source in the debug information, of the installed program.
each_source_has_flags() {
    local flags flag

    LC_ALL=C readelf --debug-dump=info --dwarf-depth=1 "$binary" | sed -n 's/.*DW_AT_producer.*: GNU C11/GNU C11/p' >"$T/producers"
    [[ $(wc -l <"$T/producers") -ge $(find "$root/src" -name '*.c' ! -name systemd.c ! -name sandbox-filter.c | wc -l) ]] ||
        fail "$(cat "$T/producers")"
    for flag in -O2 -fstack-protector-strong -fstack-clash-protection -fcf-protection=full -fno-strict-overflow \
        -fno-strict-aliasing -fno-delete-null-pointer-checks -ftrivial-auto-var-init=zero -fPIE; do
        ! grep -v -e " $flag" "$T/producers" || fail "has no $flag"
    done
}

@test "each source was compiled with all flags" {
    for_each gcc musl -- each_source_has_flags
}

# Where the package devscripts is: seventy others come with it, which is much for what readelf tells as well.
hardening_check() {
    hardening-check "$binary"
}

@test "hardening-check passes, where it is installed" {
    if command -v hardening-check >/dev/null; then
        for_each gcc clang -- hardening_check
    fi
}
