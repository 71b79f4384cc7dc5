# SPDX-License-Identifier: MIT
# What an admin has of a transfer is one line. If it lies (sent is not received), is written where
# nobody reads, or can be forged by the name of a file, an incomplete download looks like a finished
# one; and an option that is half understood (a rate of "1e6" that becomes 1) is found out in
# production.

load common

seconds='[0-9]+\.[0-9]{3} s'
rate='[0-9.]+ [kMGTP]?B/s'

@test "every field of a complete transfer" {
    make_file file 123456
    start "${systemd[@]}" -- "$file"
    client one drain
    decant_gives 0
    says "^decant: complete: $file to 127\.0\.0\.1:[0-9]+: 123456 of 123456 bytes sent, 123456 acknowledged, in $seconds, $rate\$"
    [[ $(said | wc -l) == 1 ]] || fail "more than one line"
}

@test "the rate has one space before its unit" {
    : >"$T/file"
    start "${systemd[@]}" -- "$T/file"
    client one drain
    decant_gives 0
    says ', 0 B/s$'
}

# peer_is REGEX HAND-OPTION...
peer_is() {
    make_file file 10
    start "${systemd[@]}" "${@:2}" -- "$file"
    client one drain
    decant_gives 0
    says "^decant: complete: $file to $1: 10 of 10 "
}

@test "a peer over IPv6" { peer_is '\[::1\]:[0-9]+' --listen=tcp6; }
@test "a peer over a UNIX socket" { peer_is 'unix:pid=[0-9]+:uid=[0-9]+' --listen=unix="$T/socket"; }

@test "sent is what was queued, acknowledged what the client's kernel has" {
    make_file file 20000000
    start_midway "${systemd[@]}" -- "${stopping[@]}" "$file"
    kill -TERM "$decant_pid"
    decant_gives 75
    says "^decant: stopped: $file to .*: [0-9]+ of 20000000 bytes sent, [0-9]+ acknowledged, in $seconds, $rate: decant ends"
    read -r sent acknowledged < <(sed -E 's/.*: ([0-9]+) of .* sent, ([0-9]+) ack.*/\1 \2/' <(said))
    ((sent < 20000000)) || fail "sent $sent"
    ((acknowledged <= sent)) || fail "more acknowledged than sent"
    ((acknowledged > 0)) || fail "the client has read more than its first window"
}

@test "the name of a handed-over file" {
    make_file file 10
    start --at=0:null --at="3:$socket" --at=4:file="$file" --listen-fds=2 --
    client one drain
    decant_gives 0
    says "^decant: complete: $file to "
}

# at_level PREFIX WORDS ARGUMENT...: systemd's journal reads descriptor 2, and takes priorities
at_level() {
    start "${systemd[@]}" --journal -- "${@:3}"
    client one read=1 "wait-file=$T/go" drain
    wait_for_decant
    go
    says "^$1$2"
    says_not '^decant:'
    ! grep -vE '^<[0-7]>' "$T/err" || fail "a line without its priority"
}

@test "to the journal: complete is <6>" { make_file file 10 && at_level '<6>' 'complete: ' -d1 "$file"; }
@test "to the journal: a stalled client is <5>" {
    make_file file 20000000 && at_level '<5>' 'client stalled: ' --stall-timeout=300ms "$file"
}
@test "to the journal: a missing file is <3>" { at_level '<3>' 'cannot open ' "$T/none"; }
@test "to the journal: a bad option is <3>" { at_level '<3>' '--rate: ' --rate=0 "$T/none"; }
@test "to the journal: a changed file is <4>" {
    make_file file 20000000
    start_midway "${systemd[@]}" --journal -- "$file"
    echo more >>"$file"
    go
    decant_gives 65
    says '^<4>file changed: '
}
@test "JOURNAL_STREAM that names another file is not ours" {
    make_file file 10
    JOURNAL_STREAM=1:2 start "${systemd[@]}" -- "$file"
    client one drain
    decant_gives 0
    says '^decant: complete: '
}

# to_syslog HAND-OPTION...: there it goes when nothing may be said on descriptor 2
to_syslog() {
    trace connect
    start "$@" -- "$T/none"
    client one drain
    client_is_refused one
    decant_gives 66
    grep -q 'connect(.*"/dev/log"' "$T/calls" || fail "it did not call syslog"
}

@test "to syslog under inetd" { to_syslog "${inetd[@]}"; }
@test "to syslog where descriptor 2 is closed" {
    to_syslog "${systemd[@]}" --at=2:closed
}

@test "to syslog where descriptor 2 is the client, and 0 is not" {
    to_syslog --at=0:null --at="2:$socket" --at="3:$socket" --listen-fds=1
}

# level LEVEL: a transfer that is complete, then one whose client stalls, then a missing file
level() {
    make_file small 10
    start "${systemd[@]}" -- --log-level="$1" "$T/small"
    client one drain
    decant_gives 0
    said >"$T/all"

    rm "$T/address"
    make_file large 20000000
    start "${systemd[@]}" -- --log-level="$1" --stall-timeout=300ms "$T/large"
    client two "wait-file=$T/go"
    decant_gives 75
    go
    said >>"$T/all"

    rm "$T/address"
    start "${systemd[@]}" -- --log-level="$1" "$T/none"
    client three drain
    decant_gives 66
    said >>"$T/all"
    cut -d: -f2 "$T/all" | cut -d' ' -f2,3 | tr '\n' ','
}

@test "--log-level=debug" { [[ $(level debug) == 'complete,client stalled,cannot open,' ]]; }
@test "--log-level=info" { [[ $(level info) == 'complete,client stalled,cannot open,' ]]; }
@test "--log-level=notice hides what is complete" { [[ $(level notice) == 'client stalled,cannot open,' ]]; }
@test "--log-level=warning hides the client's doing" { [[ $(level warning) == 'cannot open,' ]]; }
@test "--log-level=err" { [[ $(level err) == 'cannot open,' ]]; }

@test "the name of a file does not forge a line, nor a colour" {
    make_file $'a\ndecant: complete: all of it\e[31m' 10
    start "${systemd[@]}" -- "$file"
    client one drain
    decant_gives 0
    [[ $(said | wc -l) == 1 ]] || fail "more than one line"
    says 'a\?decant: complete: all of it\?\[31m to '
}
@test "nor does that of a missing file, to the journal" {
    start "${systemd[@]}" --journal -- $'none\n<6>complete: all of it'
    client one drain
    decant_gives 66
    [[ $(said | wc -l) == 1 ]] || fail "more than one line"
}
@test "nor does a handed-over one" {
    make_file $'a\nb' 10
    start --at=0:null --at="3:$socket" --at=4:file="$file" --listen-fds=2 --
    client one drain
    decant_gives 0
    [[ $(said | wc -l) == 1 ]] || fail "more than one line"
}
@test "a very long name is cut, and the file is sent" {
    local long

    printf -v long '%0250d' 0
    mkdir -p "$T/$long/$long/$long"
    make_file "$long/$long/$long/file" 10
    start "${systemd[@]}" -- "$file"
    client one drain
    client_has_all one "$file"
    decant_gives 0
    [[ $(said | wc -l) == 1 ]] || fail "not one line"
}

# bad WORDS ARGUMENT...: 64, and a client that is there is reset
bad() {
    make_file file 1000
    start "${systemd[@]}" -- "${@:2}" "$file"
    client one drain
    client_is_refused one
    decant_gives 64
    says "^decant: .*$1"
    [[ $(said | wc -l) == 1 ]] || fail "more than one line"
}

@test "an unknown option" { bad "'--nonsense' is no option.*--help" --nonsense; }
@test "an unknown letter" { bad "'-x' is no option" -x; }
@test "an ambiguous beginning" { bad "'--l=1' is no option of decant, or the beginning" --l=1; }
@test "a value where none is taken" { bad '--allow-changes takes no value' --allow-changes=yes; }
@test "--rate=0" { bad "--rate: '0' .*above 0" --rate=0; }
@test "--rate negative" { bad "--rate: '-1' is not understood" --rate=-1; }
@test "--rate with an exponent" { bad "--rate: '1e6' is not understood; it takes" --rate=1e6; }
@test "--offset empty" { bad "--offset: '' is not understood; it takes a number" --offset=; }
@test "--offset negative" { bad "--offset: '-1' is not understood" --offset=-1; }
@test "--offset with a space" { bad "--offset: ' 1' is not understood" '--offset= 1'; }
@test "--offset hexadecimal" { bad "--offset: '0x10' is not understood" --offset=0x10; }
@test "--offset with a small k" { bad "--offset: '1k' is not understood" --offset=1k; }
@test "--offset of 2^63" { bad "--offset: '9223372036854775808' is too large" --offset=9223372036854775808; }
@test "--offset that wraps with its unit" { bad "--offset: '16777216T' is too large" --offset=16777216T; }
@test "--length with a fraction" { bad "--length: '1.5M' is not understood" --length=1.5M; }
@test "--length with a wrong unit" { bad "--length: '1X' is not understood" --length=1X; }
@test "--stall-timeout with a wrong unit" { bad "--stall-timeout: '1d' .*ms, s, min or h" -s 1d; }
@test "--stall-timeout beyond 2^63 ns" { bad '--stall-timeout: .* too large' -s 9999999999999; }
@test "--drain-timeout negative" { bad "--drain-timeout: '-5' is not understood" --drain-timeout=-5; }
@test "--log-level of an unknown name" { bad "--log-level: 'loud' .*err, warning, notice" -L loud; }
@test "a rate that the stall timeout cannot bear" {
    bad '--rate: 1000 bytes a second are too slow for --stall-timeout' --rate=1000 -d 0
}
@test "a rate that the drain timeout cannot bear" {
    bad '--rate: 10000 .* too slow for --drain-timeout' --rate=10000
}
@test "an option without its value" {
    start "${systemd[@]}" -- "$T/file" --rate
    client one drain
    client_is_refused one
    decant_gives 64
    says '--rate needs a value: --rate=BYTES'
}
@test "a bad option comes before a bad hand-over" {
    start --at=0:null -- --nonsense
    decant_gives 64
    says "'--nonsense' is no option"
}

@test "--rate slower than the defaults bear, with timeouts that bear it" {
    make_file file 1000
    start "${systemd[@]}" -- --rate=1000 -s 5min -d 5min "$file"
    client one drain
    client_has_all one "$file"
    decant_gives 0
}

# The one that is paced began first, and is still at it when the other has got everything.
@test "--rate paces" {
    local paced

    make_file file 20000000
    start "${systemd[@]}" -- "${stopping[@]}" --rate=1M "$file"
    client paced read=1 "touch=$T/begun" drain
    wait_for 30 test -e "$T/begun"
    paced=$decant_pid
    own_pids+=("$paced")

    rm "$T/address"
    start "${systemd[@]}" -- "$file"
    client free drain
    client_has_all free "$file"
    decant_gives 0

    kill -TERM "$paced" || fail "the paced one has ended before the other"
    decant_pid=$paced
    own_pids=()
    decant_gives 75
    client_gets paced 'reset *'
}

@test "--rate with a file that is all queued at once" {
    make_file file 100000
    start "${systemd[@]}" -- --rate=10M "$file"
    client one drain
    client_has_all one "$file"
    decant_gives 0
}

@test "--rate over a UNIX socket: no" {
    make_file file 1000
    start "${systemd[@]}" --listen=unix="$T/socket" -- --rate=1M "$file"
    client one drain
    client_gets one '@(eof|reset) 0' # the kernel resets those in the queue of a socket that is closed
    decant_gives 64
    says '--rate: .*(only plain TCP can|only those of plain TCP can)'
}
@test "--rate over MPTCP: no, and a reset" {
    need_mptcp
    make_file file 1000
    start "${systemd[@]}" --listen=mptcp -- --rate=1M "$file"
    client one drain
    client_is_refused one
    decant_gives 64
    says '--rate: .*(only plain TCP can|only those of plain TCP can)'
}

@test "--stall-timeout=0 and --drain-timeout=0 are never" {
    make_file file 2000000
    start "${systemd[@]}" -- -s0 -d0 "$file"
    client one drain
    client_has_all one "$file"
    decant_gives 0
}

@test "--help lists every option, on standard output" {
    local option

    start --at=0:null -- --help
    decant_gives 0
    for option in offset length rate stall-timeout drain-timeout allow-changes log-level help version; do
        grep -q -- "--$option" "$T/out" || fail "--$option is missing"
    done
    [[ -z $(said) ]] || fail "something on stderr"
}
@test "--version" {
    start --at=0:null -- --version
    decant_gives 0
    [[ $(cat "$T/out") == decant\ * ]] || fail "$(cat "$T/out")"
    [[ $(wc -l <"$T/out") == 1 ]]
}

# A pipe to a logger that hangs: the words can wait, and the client cannot.
@test "a log that blocks does not keep a client from its reset" {
    mkfifo "$T/full"
    exec {log}<>"$T/full"
    dd if=/dev/zero of="$T/full" bs=4096 oflag=nonblock status=none 2>/dev/null || true # it is full
    # shellcheck disable=SC2016 # it is the inner shell that expands them
    wrap=(sh -c 'exec "$@" 2>"$0"' "$T/full")
    start "${systemd[@]}" -- "$T/none"
    client one --timeout=20 drain
    client_is_refused one
    head -c 65536 <&"$log" >/dev/null
    decant_gives 66
    exec {log}>&-
}
