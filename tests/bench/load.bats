# SPDX-License-Identifier: MIT
# load is what other tests count on: one that took a short copy for a whole one, or compared nothing, would let them
# all pass. So each way in which a connection can end is made here by decant, and load must tell them apart.

load ../black-box/common

# load_gets STATUS KEYS [OPTION...]: with one connection, where KEYS is the start of its account
load_gets() {
    local wanted=$1 keys=$2 given=0

    shift 2
    "$tools/load" --connections=1 --clients=1 --timeout=20 "$@" "@$T/address" >"$T/account" 2>&1 || given=$?
    [[ $given == "$wanted" ]] || fail "load gave $given, not $wanted: $(cat "$T/account")"
    [[ $(cat "$T/account") == "connections=1 $keys "* ]] || fail "not '$keys' in: $(cat "$T/account")"
}

# decant sends FILE, and load compares with $file: sends FILE [DECANT-OPTION...]
sends() {
    start "${systemd[@]}" -- "${@:2}" "$1"
}

whole='whole=1 reset=0 short=0 wrong=0 refused=0 timeout=0'
reset='whole=0 reset=1 short=0 wrong=0 refused=0 timeout=0'
short='whole=0 reset=0 short=1 wrong=0 refused=0 timeout=0'
wrong='whole=0 reset=0 short=0 wrong=1 refused=0 timeout=0'
refused='whole=0 reset=0 short=0 wrong=0 refused=1 timeout=0'
timeout='whole=0 reset=0 short=0 wrong=0 refused=0 timeout=1'

@test "load: whole, compared" {
    make_file file 300000
    sends "$file"
    load_gets 0 "$whole" --file="$file"
    grep -q ' bytes=300000 ' "$T/account"
}

@test "load: whole, compared and spinning" {
    make_file file 300000
    sends "$file"
    load_gets 0 "$whole" --file="$file" --spin
}

@test "load: whole, counted and dropped" {
    make_file file 300000
    sends "$file"
    load_gets 0 "$whole" --size=300000 --spin
    grep -q ' bytes=300000 ' "$T/account"
}

@test "load: an empty file" {
    make_file file 0
    sends "$file"
    load_gets 0 "$whole" --file="$file"
}

@test "load: one byte too few" {
    make_file file 300000
    sends "$file" --length=299999
    load_gets 1 "$short" --file="$file"
}

@test "load: one byte too few, spinning" {
    make_file file 300000
    sends "$file" --length=299999
    load_gets 1 "$short" --size=300000 --spin
}

@test "load: one byte too many" {
    make_file file 300000
    sends "$file"
    load_gets 1 "$wrong" --size=299999
}

@test "load: the last byte is another" {
    make_file file 300000
    cp "$file" "$T/other"
    sends "$T/other"
    printf '\x%02x' $((0x$(tail -c 1 "$file" | od -An -tx1 | tr -d ' ') ^ 1)) |
        dd of="$file" bs=1 seek=299999 conv=notrunc status=none
    load_gets 1 "$wrong" --file="$file"
}

@test "load: a reset without a byte" {
    make_file file 300000
    sends "$T/missing"
    load_gets 1 "$reset" --file="$file"
}

@test "load: a reset, which a request meets first" {
    make_file file 300000
    sends "$T/missing"
    load_gets 1 "$reset" --file="$file" --request='GET / HTTP/1.0\r\n\r\n' --spin
}

@test "load: nobody listens" {
    printf 'unix=%s\n' "$T/nobody" >"$T/address"
    load_gets 1 "$refused" --wait=0.1
}

@test "load: the time is over" {
    make_file file 3000000
    sends "$file" --rate=128K
    load_gets 1 "$timeout" --timeout=0.5
}

@test "load: a header is no part of the file" {
    make_file file 300000
    { printf 'HTTP/1.0 200 OK\r\nServer: none\r\n\r\n' && cat "$file"; } >"$T/answer"
    sends "$T/answer"
    load_gets 0 "$whole" --file="$file" --skip-header --request='GET /file HTTP/1.0\r\n\r\n'
}

@test "load: stalled clients are held until SIGTERM, and their loss is told" {
    make_file file 9000000
    sends "$file"
    "$tools/load" --connections=0 --stalled=1 --stalled-rcvbuf=4K --stall-file="$T/held" "@$T/address" \
        >"$T/account" 2>&1 3>&- &
    client_pids[held]=$!
    wait_for 20 test -e "$T/held"
    kill -TERM "$decant_pid"
    decant_gives 75
    kill -TERM "${client_pids[held]}"
    status=0
    wait "${client_pids[held]}" || status=$?
    unset 'client_pids[held]'
    [[ $status == 1 ]] || fail "load gave $status: $(cat "$T/account")"
    grep -q ' stalled=1 stalled_lost=1 ' "$T/account" || fail "$(cat "$T/account")"
}
