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

# --- Several files, and clients that take their time ------------------------------------------------------------

# A listening socket, for as many clients as come.
resident=(--at=0:null --at=3:listening --listen-fds=1)

# two_files [OTHER]: a decant for each, of which the second sends OTHER if that is given. $targets is what load is to
# know of them: three of four connections for the first, which is the small one.
two_files() {
    make_file small 20000
    start "${resident[@]}" -- --idle-exit=60s "$file"
    wait_for 20 test -s "$T/address"
    mv "$T/address" "$T/address.small"
    own_pids+=("$decant_pid")
    make_file large 3000000
    start "${resident[@]}" -- --idle-exit=60s "${1-$file}"
    targets=("@$T/address.small,3,$T/small" "@$T/address,1,$T/large")
}

# load_of N STATUS KEYS [ARGUMENT...]: with N connections; targets are among the arguments
load_of() {
    local wanted=$2 keys="connections=$1 $3" given=0

    "$tools/load" --connections="$1" --clients=4 --timeout=20 "${@:4}" >"$T/account" 2>&1 || given=$?
    [[ $given == "$wanted" ]] || fail "load gave $given, not $wanted: $(cat "$T/account")"
    [[ $(cat "$T/account") == "$keys "* ]] || fail "not '$keys' in: $(cat "$T/account")"
}

# value KEY: of the account
value() {
    grep -oP " $1=\K\S+" "$T/account"
}

@test "load: each of several files is compared with its own, and drawn by its weight" {
    two_files
    load_of 40 0 'whole=40 reset=0 short=0 wrong=0 refused=0 timeout=0' --seed=1 "${targets[@]}"
    # So many large ones: that is what the seed gives.
    large=$((($(value bytes) - 40 * 20000) / (3000000 - 20000)))
    ((large > 3 && large < 20)) || fail "$large of 40 were large"
    [[ $(value bytes) == $((large * 3000000 + (40 - large) * 20000)) ]]
    [[ $(value reset_of) == 0/0 ]]
    load_of 40 0 'whole=40 reset=0 short=0 wrong=0 refused=0 timeout=0' --seed=1 "${targets[@]}"
    [[ $(value bytes) == $((large * 3000000 + (40 - large) * 20000)) ]] || fail 'the same seed draws others'
}

@test "load: one of several files is wrong" {
    make_file other 3000000
    two_files "$file"
    load_of 40 1 'whole=31 reset=0 short=0 wrong=9 refused=0 timeout=0' --seed=1 "${targets[@]}"
}

@test "load: one of several files is missing, and its resets are told" {
    make_file other 3000000
    two_files "$file"
    "$tools/load" --connections=1 --file="$T/other" "@$T/address" >"$T/account"
    rm "$T/other"
    load_of 40 1 'whole=31 reset=9 short=0 wrong=0 refused=0 timeout=0' --seed=1 "${targets[@]}"
    [[ $(value reset_of) == 0/9 ]]
}

@test "load: who takes its time gets all, and not before its time" {
    make_file file 300000
    sends "$file"
    load_gets 0 "$whole" --file="$file" --last=0.5/0.5
    # Not a bound on how fast anything is: a byte too early would be an error of load.
    longest=$(value max_ms)
    ((${longest%.*} >= 450)) || fail "$(cat "$T/account")"
}

@test "load: who takes its time needs not take it as fast as it comes" {
    make_file file 3000000
    sends "$file"
    load_gets 0 "$whole" --file="$file" --last=3600/3600 --fast=100
}

@test "load: the times are drawn between the two" {
    make_file file 20000
    start "${resident[@]}" -- --idle-exit=60s "$file"
    load_of 20 0 'whole=20' --file="$file" --last=0.1/0.4 --seed=1 "@$T/address"
    median=$(value p50_ms)
    ((${median%.*} >= 90)) || fail "$(cat "$T/account")"
}

@test "load: who takes its time learns of a reset at once" {
    make_file file 3000000
    sends "$file"
    load_gets 1 "$reset" --file="$file" --last=3600/3600 &
    load_pid=$!
    own_pids+=("$load_pid")
    wait_for 20 has_begun
    kill -KILL "$decant_pid"
    wait "$load_pid"
}

has_begun() {
    local state unacknowledged unread

    [[ -s $T/address ]] && read -r state unacknowledged unread < <(queues) && [[ $state == 01 ]] &&
        ((unacknowledged + unread > 0))
}

@test "load: a pause is how long one that wanted bytes had to wait" {
    make_file file 300000
    start "${systemd[@]}" --exec-after="$T/go" -- "$file"
    load_gets 0 "$whole" --file="$file" --pauses &
    load_pid=$!
    own_pids+=("$load_pid")
    wait_for 20 is_connected
    since=${EPOCHREALTIME/[.,]/}
    wait_for 20 is_connected
    waited=$((${EPOCHREALTIME/[.,]/} - since))
    go
    wait "$load_pid"
    awk -v pause="$(value pause_ms)" -v waited="$waited" 'BEGIN { exit !(1000 * pause >= waited) }' ||
        fail "not $waited us: $(cat "$T/account")"
}

is_connected() {
    [[ -s $T/address && -n $(queues) ]]
}

# stall N [OPTION...]: so many that do not read before SIGTERM, in the background
stall() {
    start "${resident[@]}" -- --idle-exit=60s "$file"
    "$tools/load" --connections=0 --stalled="$1" --stalled-rcvbuf=4K --stall-file="$T/held" --stalled-finish \
        --timeout=60 "${@:2}" "@$T/address" >"$T/account" 2>&1 3>&- &
    client_pids[held]=$!
    wait_for 20 test -e "$T/held"
}

# stalled_give STATUS KEYS
stalled_give() {
    local given=0

    kill -TERM "${client_pids[held]}"
    wait "${client_pids[held]}" || given=$?
    unset 'client_pids[held]'
    [[ $given == "$1" && $(cat "$T/account") == "$2 "* ]] || fail "load gave $given, not $2: $(cat "$T/account")"
}

@test "load: stalled clients read at last, and are counted" {
    make_file file 300000
    stall 5 --file="$file"
    stalled_give 0 'connections=5 whole=5 reset=0 short=0 wrong=0 refused=0 timeout=0'
    [[ $(value bytes) == 1500000 && $(value stalled_lost) == 0 ]]
}

@test "load: stalled clients read at last, and are compared" {
    make_file other 300000
    make_file file 300000
    stall 5 --file="$T/other"
    stalled_give 1 'connections=5 whole=0 reset=0 short=0 wrong=5 refused=0 timeout=0'
}

@test "load: stalled clients read at last, after those that did not stall" {
    make_file file 300000
    start "${resident[@]}" -- --idle-exit=60s "$file"
    load_of 7 0 'whole=7' --file="$file" "@$T/address"
    "$tools/load" --connections=7 --stalled=3 --stalled-rcvbuf=4K --stalled-finish --file="$file" "@$T/address" \
        >"$T/account"
    [[ $(cat "$T/account") == 'connections=10 whole=10 '* ]] || fail "$(cat "$T/account")"
}

@test "load: stalled clients that were reset meanwhile" {
    make_file file 300000
    stall 5 --file="$file"
    kill -KILL "$decant_pid"
    wait_for_decant
    stalled_give 1 'connections=5 whole=0 reset=5 short=0 wrong=0 refused=0 timeout=0'
}
