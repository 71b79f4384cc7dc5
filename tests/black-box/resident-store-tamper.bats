# SPDX-License-Identifier: MIT
# The store is in the hands of others: another version of decant, an admin with FDSTOREREMOVE, a bug, a bit that
# has flipped. Whatever the next process finds there, it must not guess: who cannot be known for certain is
# reset, which is said, and everybody else is served.

load common
load store

# tampered COMMAND...: two clients, at different offsets, and while nobody runs, COMMAND
tampered() {
    make_file file 5000000
    keep -- "$file"
    client one --rcvbuf=64K read=100000 "touch=$T/midway.one" "wait-file=$T/go" drain
    stored 1
    client two --rcvbuf=64K read=2000000 "touch=$T/midway.two" "wait-file=$T/go" drain
    stored 2
    wait_for 30 test -e "$T/midway.one"
    wait_for 30 test -e "$T/midway.two"
    between "$@"
    wait_for 20 is_ready
    go
}

# all_is_well [N]: nobody hangs, nothing but N sockets of others stays behind, and who comes is served, also by
# the process after that
all_is_well() {
    fetch new
    stored "${1-0}"
    kills
    fetch newer
    stored "${1-0}"
}

is_reset() {
    client_gets "$1" 'reset *'
    client_has_start "$1" "$file"
}

both_are_reset() {
    is_reset one
    is_reset two
    all_is_well
}

both_are_whole() {
    client_has_all one "$file"
    client_has_all two "$file"
    all_is_well
}

# first_is_reset REGEX: and told of; the other one is whole
first_is_reset() {
    is_reset one
    client_has_all two "$file"
    reports "$1"
    all_is_well
}

# --- The table --------------------------------------------------------------------------------

no_table='2 sockets in the file-descriptor store without a transfer in the table: reset'
bad_table='the table in the file-descriptor store is not used, since'

@test "no table" {
    tampered tell forget @table
    both_are_reset
    says "$no_table"
}

@test "two tables" {
    tampered tell twice @table
    both_are_reset
    says "$bad_table there are two of them"
    says "$no_table"
}

# The names say nothing about the table in memory that nobody has sealed.
@test "a table that can shrink" {
    resealed() {
        tell copy @table "$T/table"
        tell replace @table "memory=$T/table"
    }
    tampered resealed
    both_are_reset
    says "$bad_table"
}

@test "random bytes for a table" {
    tampered tell replace @table "sealed=$T/file"
    both_are_reset
    says "$bad_table it is no table"
}

@test "an empty table" {
    : >"$T/empty"
    tampered tell replace @table "sealed=$T/empty"
    both_are_reset
    says "$bad_table it cannot be read"
}

@test "a table that was cut" {
    cut() {
        tell copy @table "$T/table"
        head -c 4000 "$T/table" >"$T/cut"
        tell replace @table "sealed=$T/cut"
    }
    tampered cut
    both_are_reset
    says "$bad_table it is damaged"
}

# instead_of_table KIND
instead_of_table() {
    tampered tell replace @table "$1"
    both_are_reset
}

@test "a pipe for a table" { instead_of_table pipe; }
@test "a socket for a table" { instead_of_table pair; }
@test "/dev/null for a table" { instead_of_table null; }
@test "a file on disk for a table" {
    head -c 100000 /dev/zero >"$T/disk"
    instead_of_table "file=$T/disk"
}

# The layout of table.h, which a test of another version must know: magic, version, slot size, slots, used.
@test "another version's table" {
    tampered tell poke @table 8 ff000000
    both_are_reset
    says "$bad_table it is of another version"
}

@test "another size of slots" {
    tampered tell poke @table 12 00010000
    both_are_reset
    says "$bad_table it is of another version"
}

@test "a table of more slots than it has" {
    tampered tell poke @table 16 ffffff7f
    both_are_reset
    says "$bad_table it is damaged"
}

@test "a table of no slots" {
    tampered tell poke @table 16 00000000
    both_are_reset
    says "$bad_table it is damaged"
}

@test "more slots in use than there are" {
    tampered tell poke @table 20 ffffff7f
    both_are_reset
    says "$bad_table it is damaged"
}

@test "fewer slots in use than there are" {
    tampered tell poke @table 20 01000000
    client_has_all one "$file"
    is_reset two
    says '1 socket in the file-descriptor store without a transfer in the table: reset'
    all_is_well
}

@test "more slots in use than there were" {
    tampered tell poke @table 20 09000000
    both_are_whole
}

# field OFFSET: a number of the header, in the copy at $T/table
field() {
    od -An -tu4 -j"$1" -N4 "$T/table" | tr -d ' '
}

# Each byte of the slot in turn is another: there may be some that nobody reads, but none that turns the
# transfer into something else.
@test "each byte of a slot" {
    local i n size header whole=0 damaged=0

    make_file file 3000000
    keep --fuse=300 -- "$file"
    parked keeper
    tell copy @table "$T/table"
    size=$(field 12)
    header=$(($(stat -c %s "$T/table") - $(field 16) * size)) # the slots follow it
    ((header >= 24 && header <= 64)) || fail "the header has $header bytes"
    ((size >= 64 && size <= 256)) || fail "a slot has $size bytes"
    step=1
    [[ $decant != */asan/* ]] || step=5
    for ((i = 0; i < size; i += step)); do
        rm -f "$T/go.$i"
        client "$i" --rcvbuf=64K read=100000 "touch=$T/midway.$i" "wait-file=$T/go.$i" drain
        wait_for 30 test -e "$T/midway.$i"
        stored 2
        n=$(stored_sockets | sed -n '/^@0 /!s/^@\([0-9a-f]*\) .*/\1/p')
        between tell flip "@table" $((header + 16#$n * size + i))
        touch "$T/go.$i"
        client_gets "$i" '@(eof 3000000|reset *)'
        client_has_start "$i" "$file"
        if [[ $(cat "$T/$i.result") == eof* ]]; then
            whole=$((whole + 1))
        else
            damaged=$((damaged + 1))
        fi
        rm "$T/$i"
        stored 1
    done
    go
    client_has_all keeper "$file"
    ((damaged > whole)) || fail "$damaged found, $whole not"
}

# --- The sockets ------------------------------------------------------------------------------

@test "a slot without its socket" {
    tampered tell forget @0
    first_is_reset 'killed: .* before systemd had its socket to keep'
}

@test "a socket that is there twice" {
    tampered tell twice @0
    is_reset one
    client_has_all two "$file"
    says '1 socket in the file-descriptor store without a transfer in the table: reset'
    all_is_well
}

orphan='1 socket in the file-descriptor store without a transfer in the table: reset'

# of_slot NAME: the first socket has that name
of_slot() {
    tampered tell rename @0 "$1"
    is_reset one
    client_has_all two "$file"
    says "$orphan"
    all_is_well
}

@test "a socket with the name of a slot that is free" { of_slot @5; }
@test "a socket with the name of a slot far beyond the table" { of_slot @fffffff0; }
@test "a socket with the name of the other" {
    tampered tell rename @0 @1
    is_reset one
    client_gets two '@(eof 5000000|reset *)'
    client_has_start two "$file"
    says "$orphan"
    all_is_well
}

# of_nobody NAME [N]: the first socket is not decant's any more, or so it seems; N sockets are left
of_nobody() {
    tampered tell rename @0 "$1"
    client_has_all two "$file"
    reports 'killed: .* before systemd had its socket to keep'
    says "1 of the descriptors that systemd keeps for this service is not decant's \\(FDNAME=$1\\), and left there"
    all_is_well "${2-0}"
}

# What begins with an @ is another version's.
@test "a socket with the name of a slot that cannot be" { of_nobody @ffffffff 1 && is_reset one; }
@test "a socket with a name that is no number" { of_nobody @zz && is_reset one; }
@test "a socket with another's name" {
    of_nobody connection
    tell forget connection
    is_reset one
}
@test "a socket that was stored without a name" {
    of_nobody stored
    tell forget stored
    is_reset one
}

mixed='its slot in the table is damaged, or does not belong to this file and this socket'

@test "two sockets, each with the name of the other" {
    tampered tell swap @0 @1
    both_are_reset
    [[ $(grep -c "$mixed" "$T/err") == 2 ]] || fail 'it did not say so twice'
}

@test "the same, and both are at the same byte" {
    make_file file 5000000
    keep -- "$file"
    client one --rcvbuf=4K "wait-file=$T/go" drain
    stored 1
    client two --rcvbuf=4K "wait-file=$T/go" drain
    stored 2
    between tell swap @0 @1
    go
    # Nothing would be wrong with either, only with the records.
    client_gets one '@(eof 5000000|reset *)'
    client_gets two '@(eof 5000000|reset *)'
    client_has_start one "$file"
    client_has_start two "$file"
    all_is_well
}

# instead_of_socket KIND WORDS
instead_of_socket() {
    tampered tell replace @0 "$1"
    first_is_reset "$2"
}

@test "a pipe for a socket" { instead_of_socket pipe 'killed: '; }
@test "/dev/null for a socket" { instead_of_socket null 'killed: '; }
@test "a datagram socket for a socket" { instead_of_socket datagram 'killed: '; }
@test "a listening socket for a socket" { instead_of_socket listening 'killed: '; }
@test "an unconnected socket for a socket" { instead_of_socket unconnected "failed: .*$mixed"; }
@test "another connection for a socket" { instead_of_socket connected "failed: .*$mixed"; }
@test "a UNIX socket for a socket" { instead_of_socket pair "failed: .*$mixed"; }

# --- The file ---------------------------------------------------------------------------------

no_file='its file is not in the file-descriptor store'

@test "no file" {
    tampered tell forget @file-1
    both_are_reset
    [[ $(grep -c "$no_file" "$T/err") == 2 ]] || fail 'it did not say so twice'
}

@test "a file of another number" {
    tampered tell rename @file-1 @file-2
    both_are_reset
    says "$no_file"
}

@test "a file that is there twice" {
    tampered tell twice @file-1
    both_are_whole
}

# Same size, same time: only which file it is tells.
@test "another file, of the same size and time" {
    lookalike() {
        head -c 5000000 /dev/urandom >"$T/other"
        touch -r "$file" "$T/other"
        tell replace @file-1 "file=$T/other"
    }
    tampered lookalike
    both_are_reset
    says "$mixed"
}

@test "the same file, opened anew" {
    tampered tell replace @file-1 "file=$T/file"
    both_are_whole
}

@test "two generations of the file, each with the number of the other" {
    make_file file 5000000
    cp "$file" "$T/before"
    keep -- "$file"
    parked one
    make_file new 5000000
    touch -r "$T/file" "$T/new"
    mv "$T/new" "$T/file"
    file=$T/file
    parked two
    kept @witness @table @file-1 @file-2 @0 @1
    between tell swap @file-1 @file-2
    go
    client_gets one 'reset *'
    client_has_start one "$T/before"
    is_reset two
    [[ $(grep -c "$mixed" "$T/err") == 2 ]] || fail 'it did not say so twice'
    all_is_well
}

@test "a pipe for a file" { tampered tell replace @file-1 pipe && both_are_reset && says "$no_file"; }
@test "a socket for a file" { tampered tell replace @file-1 pair && both_are_reset && says "$no_file"; }
@test "/dev/null for a file" { tampered tell replace @file-1 null && both_are_reset && says "$no_file"; }

@test "the table for a file, and the file for the table" {
    tampered tell swap @table @file-1
    both_are_reset
    says "$bad_table"
}

@test "a socket for the table, and the table for a socket" {
    tampered tell swap @table @0
    is_reset two
    says "$orphan"
    all_is_well
    tell forget @table # which is the first one's socket by now, or so its name says
    is_reset one
}

# --- The witness, and what is not decant's ----------------------------------------------------

@test "no witness" {
    tampered tell forget @witness
    both_are_whole
}

@test "a socket for a witness" {
    tampered tell replace @witness pair
    both_are_whole
}

@test "another witness beside it" {
    tampered tell add @witness pipe
    both_are_whole
}

# Whoever started it has handed over something else than systemd would.
@test "no names at all" {
    make_file file 5000000
    keep -- "$file"
    parked one
    between tell unnamed
    go
    client_gets one 'reset *'
    client_has_start one "$file"
    wait_for 20 nobody_runs
    [[ $(last_end) == @(64|76) ]] || fail "it ended with $(last_end)"
    [[ -s $T/err ]] || fail 'it said nothing'
    fetch two
}

# foreign NAME KIND: it stays where it is, and is told of
foreign() {
    tampered tell add "$1" "$2"
    both_are_whole
    says "1 of the descriptors that systemd keeps for this service is not decant's \\(FDNAME=$1\\), and left there"
    tell store | grep -E "^$1 " || fail 'it was dropped'
    logged_not "FDSTOREREMOVE=1 FDNAME=$1"
}

@test "somebody's pipe" { foreign pipe pipe; }
@test "somebody's connection" { foreign client connected; }
@test "somebody's UNIX connection" { foreign client pair; }
@test "somebody's unconnected socket" { foreign client unconnected; }
@test "somebody's datagram socket" { foreign bus datagram; }
@test "somebody's device" { foreign device null; }
@test "somebody's pipe, stored without a name" { foreign stored pipe; }
@test "somebody's file, stored without a name" { foreign stored "file=$BATS_TEST_FILENAME"; }
@test "somebody's names that look like ours" {
    others() {
        local name

        for name in @ @tables @file- @file-x @file-01 @00 @1x @witness2 @0x1 '@ 1' @+1 @-1 @FF; do
            tell add "$name" connected
        done
    }
    tampered others
    client_has_all one "$file"
    client_has_all two "$file"
    all_is_well 1 # @00
    says "13 of the descriptors that systemd keeps for this service are not decant's"
}

@test "somebody's descriptors are closed in each process, and not kept open" {
    add() {
        local i

        for i in {1..20}; do
            tell add "foreign$i" pipe
        done
    }
    make_file file 5000000
    keep -- "$file"
    parked one
    kills
    before=$(descriptors_of "$(tell pid)")
    between add
    wait_for 20 is_ready
    [[ $(descriptors_of "$(tell pid)") == "$before" ]] || fail "$(ls -l "/proc/$(tell pid)/fd")"
    go
    client_has_all one "$file"
}
