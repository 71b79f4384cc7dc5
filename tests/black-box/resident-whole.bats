# SPDX-License-Identifier: MIT
# A server that stops at the first 0 of sendfile(2), keeps its offset in an int, or forgets that one
# call moves less than 2 GiB, sends most files whole and some not: those of an odd size, the empty
# one, the huge one. Here every size at which a buffer, a turn or a number ends goes out and is
# compared byte by byte.

load common

# sends SIZE [HAND-OPTION...]
sends() {
    local size=$1

    shift
    make_file file "$size"
    start "${systemd[@]}" "$@" -- "$file"
    client one drain
    client_has_all one "$file"
    decant_gives 0
    says "complete: $file to .*: $size of $size bytes sent, $size acknowledged"
}

# sends_range SIZE OFFSET LENGTH OPTION...: the bytes that the options ask for
sends_range() {
    make_file file "$1"
    tail -c "+$(($2 + 1))" "$file" | head -c "$3" >"$T/range"
    start "${systemd[@]}" -- "${@:4}" "$file"
    client one drain
    client_has_all one "$T/range"
    decant_gives 0
    says ": $3 of $3 bytes sent"
}

# refuses_range SIZE WORDS OPTION...: a client that is there is reset, and WORDS say why
refuses_range() {
    make_file file "$1"
    start "${systemd[@]}" -- "${@:3}" "$file"
    client one drain
    client_is_refused one
    decant_gives 64
    says "$2"
}

@test "an empty file" { sends 0; }
@test "1 byte" { sends 1; }
@test "64 KiB - 1" { sends 65535; }
@test "64 KiB" { sends 65536; }
@test "64 KiB + 1" { sends 65537; }
@test "one turn - 1" { sends 1048575; }
@test "one turn" { sends 1048576; }
@test "one turn + 1" { sends 1048577; }
@test "100 MB" { sends 100000000; }

@test "an empty file over IPv6" { sends 0 --listen=tcp6; }
@test "one turn + 1 over IPv6" { sends 1048577 --listen=tcp6; }
@test "20 MB over IPv6" { sends 20000000 --listen=tcp6; }
@test "an empty file over a UNIX socket" { sends 0 --listen=unix="$T/socket"; }
@test "1 byte over a UNIX socket" { sends 1 --listen=unix="$T/socket"; }
@test "one turn + 1 over a UNIX socket" { sends 1048577 --listen=unix="$T/socket"; }
@test "20 MB over a UNIX socket" { sends 20000000 --listen=unix="$T/socket"; }

@test "an empty file over MPTCP" { need_mptcp && sends 0 --listen=mptcp; }
@test "one turn + 1 over MPTCP" { need_mptcp && sends 1048577 --listen=mptcp; }
@test "20 MB over MPTCP" { need_mptcp && sends 20000000 --listen=mptcp; }

# The marks stand where 31 and 32 bits end, so that a wrapped offset sends the wrong ones. Behind the
# 4 GiB there is more than one turn: some call of sendfile(2) has to begin there.
@test "a sparse file over 4 GiB" {
    local at

    file=$T/sparse
    truncate -s $((2 ** 32 + 5000000)) "$file"
    for at in 0 $((2 ** 31 - 5)) $((2 ** 32 - 5)) $((2 ** 32 + 4999995)); do
        head -c 5 /dev/urandom | dd of="$file" bs=5 seek="$at" oflag=seek_bytes conv=notrunc status=none
    done
    start "${systemd[@]}" -- "$file"
    "$tools/peer" --timeout=300 --result="$T/one.result" "@$T/address" drain \
        2>"$T/one.err" 3>&- | cmp - "$file"
    client_gets one "eof $(stat -c %s "$file")"
    decant_gives 0
}

@test "--offset=0 is the whole file" { sends_range 70000 0 70000 --offset=0; }
@test "--offset=1" { sends_range 70000 1 69999 --offset=1; }
@test "--offset in K" { sends_range 70000 65536 4464 --offset=64K; }
@test "--offset in M" { sends_range 1048580 1048576 4 --offset=1M; }
@test "--offset at the last byte" { sends_range 70000 69999 1 --offset=69999; }
@test "--offset at the end sends nothing" { sends_range 70000 70000 0 --offset=70000; }
@test "--length=0 sends nothing" { sends_range 70000 0 0 --length=0; }
@test "--length=1" { sends_range 70000 0 1 --length=1; }
@test "--length in K" { sends_range 70000 0 65536 --length=64K; }
@test "--length one less than the file" { sends_range 70000 0 69999 --length=69999; }
@test "--length of the file" { sends_range 70000 0 70000 --length=70000; }
@test "--offset and --length up to the end" { sends_range 70000 1000 69000 -o1000 -l69000; }
@test "--offset and --length, over several turns" {
    sends_range 5000000 1000001 3000003 --offset=1000001 --length=3000003
}
@test "--offset over several turns, to the end" { sends_range 5000000 4097 4995903 --offset=4097; }
@test "--offset=0 --length=0 of an empty file" { sends_range 0 0 0 --offset=0 --length=0; }

@test "--offset beyond the end" {
    refuses_range 70000 '--offset: 70001 is beyond the end of .* size is 70000 bytes' --offset=70001
}
@test "--offset of an empty file" {
    refuses_range 0 '--offset: 1 is beyond the end of .* size is 0 bytes' --offset=1
}
@test "--length beyond the end" {
    refuses_range 70000 '--length: 70001 .* beyond the end of .* size is 70000 bytes' --length=70001
}
@test "--length beyond the end, behind an offset" {
    refuses_range 70000 '--length: 69000 from offset 1001 .* size is 70000 bytes' -o1001 -l69000
}
@test "--offset of 2^63 - 1" {
    refuses_range 70000 'beyond the end' --offset=9223372036854775807
}
@test "--length of 2^63 - 1" {
    refuses_range 70000 'beyond the end' --offset=1 --length=9223372036854775807
}

@test "a file behind a symbolic link" {
    make_file file 100000
    ln -s file "$T/link"
    start "${systemd[@]}" -- "$T/link"
    client one drain
    client_has_all one "$file"
    decant_gives 0
}

@test "a file whose name begins with a dash or has spaces" {
    make_file '-n a file' 1000
    cd "$T"
    start "${systemd[@]}" -- -- '-n a file'
    client one drain
    client_has_all one "$file"
    decant_gives 0
}

@test "four clients at once, each of them whole" {
    local name

    make_file file 10000000
    several 4
    start "${several[@]}" -- "$file"
    for name in a b c d; do
        client "$name" drain
    done
    for name in a b c d; do
        client_has_all "$name" "$file"
    done
    decant_gives 0
    [[ $(grep -c 'complete: ' "$T/err") == 4 ]] || fail "not four reports"
}

@test "of four clients one resets, and the others are whole" {
    local name

    make_file file 10000000
    several 4
    start "${several[@]}" -- "$file"
    client d read=100000 reset
    for name in a b c; do
        client "$name" drain
    done
    for name in a b c; do
        client_has_all "$name" "$file"
    done
    decant_gives 75
    [[ $(grep -c 'complete: ' "$T/err") == 3 ]] || fail "not three reports"
    says 'client left: .*: (Connection reset by peer|Broken pipe)'
}

@test "of two clients one never reads, and the other does not wait for it" {
    make_file file 10000000
    several 2
    start "${several[@]}" -- "$file"
    client asleep "wait-file=$T/go" drain
    client awake drain
    client_has_all awake "$file"
    go
    client_has_all asleep "$file"
    decant_gives 0
}
