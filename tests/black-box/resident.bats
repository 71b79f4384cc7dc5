# SPDX-License-Identifier: MIT
# What only a decant meets that accepts its clients itself. Such a server is easily lost for all of them at
# once: one that ends while somebody waits in its queue, that is started for ever because nobody takes the
# client of a missing file, that keeps the old file for ever, that spins when descriptors run out. The tables
# that hold for both modes are in the other files, and run as resident-*.bats here.

load common

# supervised [HAND-OPTION...] -- [DECANT-ARGUMENT...]: hand stays, as inetd does with `wait`
supervised() {
    need pgrep
    start "${systemd[@]}" --supervise="$T/starts" "$@"
}

# The decant that hand has started.
resident_pid() {
    pid=$(pgrep -P "$decant_pid")
}

nobody_runs() {
    ! resident_pid
}

has_started() {
    [[ $(cat "$T/starts") == "$1" ]]
}

started() {
    has_started "$1" || fail "$(cat "$T/starts") starts, not $1"
}

stop() {
    kill -TERM "$decant_pid"
    wait_for_decant
}

# Bit 14 is SIGTERM, which waits for signalfd(2) to be read.
has_taken_term() {
    (($(sed -n 's/^ShdPnd:\t/0x/p' "/proc/$pid/status") & 1 << 14)) && return 1
    return 0
}

stays=(--idle-exit=1h)

# --- Its life ---------------------------------------------------------------------------------

@test "it ends when it is idle, and is started again by the next client" {
    local i

    make_file file 100000
    supervised -- "$file"
    for i in 1 2 3; do
        fetch one
        wait_for 20 nobody_runs
        started "$i"
    done
    stop
    decant_gives 0
    count 3 '^decant: complete: '
}

@test "one that is served keeps it from being idle" {
    make_file file 20000000
    supervised -- --idle-exit=1ms "$file"
    midway one
    go
    client_has_all one "$file"
    started 1
}

# Otherwise it would end before it has ever looked, and be started again, for ever.
@test "a start that takes longer than --idle-exit is no idleness" {
    make_file file 1000
    trace epoll_create1 -e inject=epoll_create1:delay_exit=50000
    supervised -- --idle-exit=10ms "$file"
    client one --timeout=10 drain
    client_has_all one "$file"
    started 1
}

@test "without --idle-exit it stays, until SIGTERM" {
    always=()
    make_file file 100000
    start "${systemd[@]}" -- "$file"
    fetch one
    wait_for 20 lines 1 complete:
    fetch two
    wait_for 20 lines 2 complete:
    stop
    decant_gives 0
}

@test "600 quick clients, and one decant" {
    local wrong

    make_file file 20000
    mkdir "$T/many"
    start "${systemd[@]}" -- "${stays[@]}" "$file"
    wait_for 10 test -e "$T/address"
    # shellcheck disable=SC2016
    seq 600 | timeout 120 xargs -P 8 -n 1 sh -c \
        'exec "$0" --result="$1/many/$2.result" "@$1/address" drain >"$1/many/$2"' "$tools/peer" "$T" 3>&-
    wrong=$(cat "$T"/many/*.result | grep -cvx 'eof 20000' || true)
    [[ $wrong == 0 ]] || fail "$wrong of 600 did not end well"
    rm "$T"/many/*.result
    [[ $(sha256sum "$T"/many/* | cut -d' ' -f1 | uniq) == "$(sha256sum <"$file" | cut -d' ' -f1)" ]] ||
        fail 'other bytes than those of the file'
    wait_for 20 lines 600 '^decant: complete: .*: 20000 of 20000 bytes sent, 20000 acknowledged'
    stop
    decant_gives 0
}

@test "a client that never reads keeps nobody waiting" {
    local i

    make_file file 20000000
    start "${systemd[@]}" -- "${stays[@]}" "$file"
    midway asleep
    for i in 1 2 3 4 5; do
        fetch awake
    done
    go
    client_has_all asleep "$file"
    wait_for 20 lines 6 complete:
    stop
    decant_gives 0
}

# --- Its end ----------------------------------------------------------------------------------

@test "SIGTERM: those that are served get all, and who comes then is for the next decant" {
    make_file file 20000000
    supervised -- "$file"
    midway one
    resident_pid
    kill -TERM "$pid"
    wait_for 20 has_taken_term
    client two "touch=$T/connected" drain
    wait_for 20 test -e "$T/connected"
    go
    client_has_all one "$file"
    client_has_all two "$file"
    started 2
    wait_for 20 lines 2 '^decant: complete: '
    says_not 'stopped: '
}

@test "SIGTERM: who is left after --stop-timeout is reset, and has had that long" {
    make_file file 20000000
    start "${systemd[@]}" -- --stop-timeout=1 "$file"
    midway one
    began=$(date +%s%N)
    stop
    (($(date +%s%N) - began > 1000000000)) || fail 'it has not waited'
    go
    client_gets one 'reset *'
    client_has_start one "$file"
    decant_gives 75
    count 1 '^decant: stopped: '
}

@test "SIGINT resets at once, whatever the --stop-timeout" {
    make_file file 20000000
    start "${systemd[@]}" -- --stop-timeout=1h "$file"
    midway one
    midway two
    kill -INT "$decant_pid"
    wait_for_decant
    go
    client_gets one 'reset *'
    client_gets two 'reset *'
    decant_gives 75
    count 2 '^decant: stopped: '
}

@test "SIGINT after SIGTERM ends the waiting" {
    make_file file 20000000
    start "${systemd[@]}" -- --stop-timeout=1h "$file"
    midway one
    kill -TERM "$decant_pid"
    kill -INT "$decant_pid"
    decant_gives 75
    go
    client_gets one 'reset *'
}

@test "SIGKILL: the client is reset, and the next decant serves the next" {
    make_file file 20000000
    supervised -- "${stays[@]}" "$file"
    midway one
    resident_pid
    kill -KILL "$pid"
    go
    client_gets one 'reset *'
    client_has_start one "$file"
    fetch two
    started 2
}

@test "the status is the gravest that occurred" {
    make_file file 20000000
    start "${systemd[@]}" -- "${stays[@]}" "$file"
    client one read=1000 reset
    wait_for 20 lines 1 '^decant: client left: '
    mv "$file" "$T/elsewhere"
    client two drain
    client_is_refused two
    mv "$T/elsewhere" "$file"
    fetch three
    client four read=1000 close
    wait_for 20 lines 2 '^decant: client left: '
    stop
    decant_gives 66
}

# --- Its file ---------------------------------------------------------------------------------

# Nobody else takes those that wait: where decant did not, the supervisor would start it again for them,
# without end.
@test "a missing file: who waits is reset, and the next decant looks again" {
    supervised --queued=3 -- "$T/file"
    client one drain
    client two drain
    client three drain
    client_is_refused one
    client_is_refused two
    client_is_refused three
    wait_for 20 nobody_runs
    started 1
    count 1 "^decant: cannot open '$T/file' .*No such file"
    [[ $(said | wc -l) == 1 ]] || fail 'more than one line'
}

@test "a missing file that comes back" {
    supervised -- "$T/file"
    client one drain
    client_is_refused one
    wait_for 20 nobody_runs
    make_file file 1000
    fetch two
    started 2
}

# refused_at_start STATUS WORDS ARGUMENT...: the same for whatever else keeps it from serving
refused_at_start() {
    supervised -- "${@:3}"
    client one drain
    client_is_refused one
    wait_for 20 nobody_runs
    started 1
    count 1 "^decant: .*$2"
}

@test "a bad option: who waits is reset" { refused_at_start 64 "'--nonsense' is no option" --nonsense; }
@test "no FILE: who waits is reset" { refused_at_start 64 'FILE is missing'; }
@test "--help: who waits is reset" { refused_at_start 64 'send no file' --help; }
@test "an offset beyond the end: who waits is reset" {
    make_file file 10
    refused_at_start 64 'beyond the end' --offset=11 "$file"
}

@test "a file that goes missing later: a reset and a line for each, until it is there again" {
    make_file file 1000
    start "${systemd[@]}" -- "${stays[@]}" "$file"
    fetch one
    mv "$file" "$T/elsewhere"
    client two drain
    client_is_refused two
    client three drain
    client_is_refused three
    wait_for 20 lines 2 "^decant: cannot open '$file' .*No such file" # the client comes first
    mv "$T/elsewhere" "$file"
    fetch four
    stop
    decant_gives 66
}

@test "a file that is renamed into place goes to those who come later" {
    make_file file 20000000
    cp "$file" "$T/before"
    start "${systemd[@]}" -- "${stays[@]}" "$file"
    midway one
    head -c 3000000 /dev/urandom >"$T/new"
    cp "$T/new" "$T/after"
    mv "$T/new" "$file"
    fetch two "$T/after"
    rm "$file"
    client three drain
    client_is_refused three
    cp "$T/before" "$T/new"
    mv "$T/new" "$file"
    fetch four "$T/before"
    go
    client_has_all one "$T/before"
    wait_for 20 lines 3 '^decant: complete: '
    stop
    decant_gives 66
}

@test "a new version each time, and the old ones are let go" {
    local i

    make_file file 1000
    start "${systemd[@]}" -- "${stays[@]}" "$file"
    for i in {1..50}; do
        make_file "new" "$((i * 1000))"
        mv "$file" "$T/file"
        fetch one "$T/file"
        file=$T/file
    done
    wait_for 20 lines 50 complete:
    [[ $(find "/proc/$decant_pid/fd" -lname '*(deleted)' | wc -l) -le 1 ]] ||
        fail "$(ls -l "/proc/$decant_pid/fd")"
    stop
    decant_gives 0
}

@test "written to: the running transfer is reset, and the next gets what is there then" {
    make_file file 20000000
    cp "$file" "$T/before"
    start "${systemd[@]}" -- "${stays[@]}" "$file"
    midway one
    echo more >>"$file"
    fetch two
    go
    client_gets one 'reset *'
    client_has_start one "$T/before"
    wait_for 20 lines 1 '^decant: file changed: '
    stop
    decant_gives 65
}

two=(--at=0:null --at=3:listening --at=4:listening2 --listen-fds=2)

@test "a directory, and two sockets: each has the file of its name" {
    local file

    mkdir "$T/files"
    make_file files/one 3000000
    make_file files/two 2000000
    start "${two[@]}" --listen-fdnames=one:two -- "${stays[@]}" "$T/files"
    fetch first "$T/files/one"
    at 2 fetch second "$T/files/two"
    wait_for 20 lines 2 complete:
    count 1 "^decant: complete: $T/files/two to "
    stop
    decant_gives 0
}

@test "a directory that lacks the file of one socket: nobody is served, and the line names both" {
    local file

    mkdir "$T/files"
    make_file files/one 1000
    start "${two[@]}" --listen-fdnames=one:two -- "$T/files"
    client first drain
    client_is_refused first
    decant_gives 66
    count 1 "^decant: cannot open '$T/files/two' .*FileDescriptorName=two, "
}

# named NAME: one socket of that name, and a directory with links
named() {
    mkdir "$T/files"
    make_file files/two 2000000
    echo secret >"$T/secret"
    ln -s ../secret "$T/files/relative"
    ln -s "$T/secret" "$T/files/absolute"
    ln -s two "$T/files/within"
    start --at=0:null --at="3:${2-listening}" --listen-fds=1 --listen-fdnames="$1" -- "$T/files"
}

# leads_out NAME: whoever has chosen the name, or made the link
leads_out() {
    named "$1"
    client one drain
    client_is_refused one
    decant_gives 66
    says "^decant: cannot open '$T/files/$1' .*leads out of the served directory.*FileDescriptorName=$1, "
}

@test "a name that leads out of the directory" { leads_out ../secret; }
@test "a link that leads out of the directory" { leads_out relative; }
@test "an absolute link" { leads_out absolute; }
@test "a link within the directory" { named within && fetch one "$T/files/two"; }
@test "a directory, and a connected socket of that name" { named two client && fetch one "$T/files/two"; }
@test "a directory, and a socket without a name" {
    mkdir "$T/files"
    start --at=0:listening -- "$T/files"
    client one drain
    client_is_refused one
    decant_gives 66
    says "'$T/files' is a directory; name a regular file, or give the socket 127.0.0.1:[0-9]+ a name"
}

@test "a log that grows, --allow-changes: each gets what there was when it came, from one opening" {
    local name

    make_file file 20000000
    cp "$file" "$T/before"
    start "${systemd[@]}" -- "${stays[@]}" --allow-changes "$file"
    midway one
    for name in a b c; do
        echo more >>"$file"
        fetch "$name"
    done
    [[ $(find "/proc/$decant_pid/fd" -lname "$file" | wc -l) == 1 ]] || fail 'it is open more than once'
    go
    client_has_all one "$T/before"
    wait_for 20 lines 4 '^decant: complete: '
    stop
    decant_gives 0
}

@test "a plain file goes to the clients of both sockets" {
    make_file file 1000000
    start "${two[@]}" --listen-fdnames=one:two -- "${stays[@]}" "$file"
    fetch first
    at 2 fetch second
    wait_for 20 lines 2 complete:
    stop
    decant_gives 0
}

@test "two UNIX sockets" {
    make_file file 1000000
    start "${two[@]}" --listen=unix="$T/socket" -- "${stays[@]}" "$file"
    fetch first
    at 2 fetch second
    wait_for 20 lines 2 complete:
    stop
    decant_gives 0
}

# --- Its limits -------------------------------------------------------------------------------

@test "--max-connections: who is beyond is reset, until one has ended" {
    make_file file 20000000
    start "${systemd[@]}" -- "${stays[@]}" --max-connections=2 "$file"
    midway one
    midway two
    client three drain
    client_is_refused three
    wait_for 20 lines 1 '^decant: refused: .*\(--max-connections\)'
    go
    client_has_all one "$file"
    client_has_all two "$file"
    wait_for 20 lines 2 complete:
    fetch four
    stop
    decant_gives 75
}

@test "--max-connections-per-source: another address is let in" {
    make_file file 20000000
    start "${systemd[@]}" -- "${stays[@]}" --max-connections-per-source=1 "$file"
    midway one
    client two drain
    client_is_refused two
    wait_for 20 lines 1 '^decant: refused: .* was 127\.0\.0\.1:.*\(--max-connections-per-source\)'
    client three --from=127.0.0.2 drain
    client_has_all three "$file"
    go
    client_has_all one "$file"
    wait_for 20 lines 2 complete:
    fetch four
    stop
    decant_gives 75
}

@test "a flood of refused clients is a few lines" {
    local i

    make_file file 20000000
    start "${systemd[@]}" -- "${stays[@]}" --max-connections=1 "$file"
    midway one
    for i in {1..100}; do
        "$tools/peer" --result="$T/refused" "@$T/address" drain >/dev/null 3>&-
        [[ $(cat "$T/refused") == 'reset 0' ]] || fail "$(cat "$T/refused")"
    done
    go
    client_has_all one "$file"
    stop
    decant_gives 75
    # A line a second, and one at the end for those since the last.
    (($(grep -c '^decant: refused: ' "$T/err") <= 20)) || fail 'a line for each'
    [[ $(awk '/^decant: refused: / { n += $3 } END { print n }' "$T/err") == 100 ]] || fail 'not 100 in all'
}

@test "fewer descriptors than --max-connections by default: a notice, and so many" {
    make_file file 1000
    ulimit -n 300
    start "${systemd[@]}" -- "${stays[@]}" "$file"
    fetch one
    says '^decant: at most [0-9]+ clients at a time instead of 4096, since RLIMIT_NOFILE is 300'
    stop
    decant_gives 0
}

@test "fewer descriptors than --max-connections asks for: refused" {
    make_file file 1000
    ulimit -n 300
    start "${systemd[@]}" -- --max-connections=300 "$file"
    client one drain
    client_is_refused one
    decant_gives 64
    says '^decant: --max-connections: 300 need [0-9]+ descriptors, .*LimitNOFILE='
}

# The soft limit, 1024 as a rule, is no limit.
@test "the soft limit on descriptors is raised" {
    local i

    make_file file 3000000
    ulimit -Sn 256
    start "${systemd[@]}" -- "${stays[@]}" "$file"
    for i in {1..300}; do
        client "$i" --rcvbuf=4K read=10 "touch=$T/midway.$i" "wait-file=$T/go" close
    done
    for i in {1..300}; do
        wait_for 60 test -e "$T/midway.$i"
    done
    go
    wait_for 60 lines 300 '^decant: client left: '
    stop
    decant_gives 75
}

# accepting RULE...: accept4(2) fails, and the client is served all the same
accepting() {
    make_file file 100000
    trace '?accept,?accept4,epoll_wait' -e "inject=?accept,?accept4:$1"
    start "${systemd[@]}" -- "${stays[@]}" "$file"
    fetch one
    grep -q INJECTED "$T/calls" || fail 'the fault never came'
    stop
    decant_gives 0
    # It has not spun meanwhile.
    (($(wc -l <"$T/calls") < 200)) || fail "$(wc -l <"$T/calls") calls"
}

@test "accept: EINTR" { accepting error=EINTR:when=1; }
@test "accept: ECONNABORTED" { accepting error=ECONNABORTED:when=1; }
@test "accept: EPROTO" { accepting error=EPROTO:when=1; }
@test "accept: EMFILE" { accepting error=EMFILE:when=1 && says 'Too many open files'; }
@test "accept: ENFILE, three times" { accepting error=ENFILE:when=1..3; }
@test "accept: ENOBUFS" { accepting error=ENOBUFS:when=1; }
@test "accept: ENOMEM" { accepting error=ENOMEM:when=1; }
@test "accept: EINVAL, somebody has shut the listening socket down" {
    make_file file 100000
    trace '?accept,?accept4,epoll_wait' -e 'inject=?accept,?accept4:error=EINVAL:when=1'
    start "${systemd[@]}" -- "${stays[@]}" "$file"
    client one drain
    decant_gives 71
    says '^decant: accept4 on 127\.0\.0\.1:[0-9]+: Invalid argument'
    client_gets one 'reset 0'
}

# --- Its supervisor ---------------------------------------------------------------------------

# notified [VARIABLE=VALUE...]: starts it with a socket whose messages land in $T/notes, one a line
notified() {
    "$tools/syslog" "$T/notify" "$T/notes" </dev/null >"$T/notes.err" 2>&1 3>&- &
    own_pids+=($!)
    disown $! # or bash prints that teardown has killed it
    wait_for 10 test -S "$T/notify"
    # shellcheck disable=SC2016 # it is the inner shell that expands them
    wrap=(env NOTIFY_SOCKET="$T/notify" "$@" sh -c 'WATCHDOG_PID=${WATCHDOG_PID:-$$} exec "$@"' sh)
    make_file file 20000000
    start "${systemd[@]}" -- "${stays[@]}" "$file"
}

noted() {
    grep -qE -- "$1" "$T/notes"
}

@test "READY=1, STATUS= and STOPPING=1" {
    notified
    midway one
    wait_for 20 noted '^READY=1'
    wait_for 20 noted '^STATUS=1 client, 0 served, .* [0-9]+ % of '"$file"
    go
    client_has_all one "$file"
    wait_for 20 noted '^STATUS=0 clients, 1 served, 20\.0 MB'
    ! noted STOPPING || fail 'it is not about to stop'
    stop
    decant_gives 0
    noted '^STOPPING=1'
    [[ $(grep -c READY=1 "$T/notes") == 1 ]] || fail 'it was ready more than once'
    ! noted WATCHDOG || fail 'nobody has asked for it'
}

watched() {
    (($(grep -c '^WATCHDOG=1' "$T/notes") > $1))
}

@test "WATCHDOG=1, as often as it must be, with and without clients" {
    local before

    notified WATCHDOG_USEC=300000
    midway one
    wait_for 20 watched 3
    go
    client_has_all one "$file"
    before=$(grep -c '^WATCHDOG=1' "$T/notes")
    wait_for 20 watched $((before + 3))
    kill -STOP "$decant_pid"
    before=$(grep -c '^WATCHDOG=1' "$T/notes")
    kill -CONT "$decant_pid"
    wait_for 20 watched "$before"
    stop
    decant_gives 0
}

@test "a watchdog that is another process's is left alone" {
    notified WATCHDOG_USEC=100000 WATCHDOG_PID=1
    fetch one
    wait_for 20 noted READY=1 # where the first WATCHDOG=1 would be, too
    stop
    ! noted WATCHDOG || fail 'it was fed'
}

# The manager reads one message after the other, and its queue is short.
@test "a supervisor that does not take its messages keeps nobody waiting, and gets them later" {
    need perl
    notified WATCHDOG_USEC=200000
    wait_for 10 test -e "$T/address"
    kill -STOP "${own_pids[0]}"
    perl -MIO::Socket::UNIX -e '$s = IO::Socket::UNIX->new(Type => SOCK_DGRAM, Peer => shift) or die;
        $s->blocking(0); 1 while defined $s->send("X=1")' "$T/notify"
    fetch one
    wait_for 20 lines 1 complete:
    kill -CONT "${own_pids[0]}"
    wait_for 20 noted '^READY=1'
    wait_for 20 noted '^STATUS=0 clients, 1 served'
    wait_for 20 watched 2
    stop
    decant_gives 0
}

# --- No busy loop -----------------------------------------------------------------------------

@test "it sleeps while nobody is there, and while a client sleeps" {
    make_file file 20000000
    trace '?epoll_wait,?epoll_pwait,?accept,?accept4'
    start "${systemd[@]}" -- --stall-timeout=1 "${stays[@]}" "$file"
    midway one
    wait_for 20 lines 1 'client stalled'
    go
    stop
    (($(wc -l <"$T/calls") < 500)) || fail "$(wc -l <"$T/calls") calls"
}

# Without waiting for more.
what_is_there() {
    dd if="$T/log" iflag=nonblock bs=64K status=none 2>/dev/null || true
}

# One stopped reader of the log, a pager or a syslog daemon, would be the end of the service for everybody.
@test "a log that nobody reads keeps nobody waiting, and the lines that were lost are told of" {
    make_file file 3000
    mkfifo "$T/log"
    exec 9<>"$T/log"
    # shellcheck disable=SC2016
    wrap=(sh -c 'exec "$@" 2>"$0"' "$T/log")
    always=()
    start "${systemd[@]}" -- "$file"
    # Some 90 bytes each: far more than the pipe holds.
    "$tools/load" --file="$file" --connections=2000 --clients=8 "@$T/address" >"$T/load" 2>&1 3>&- ||
        fail "$(cat "$T/load")"
    what_is_there >"$T/read"
    client last drain
    client_has_all last "$file"
    kill -TERM "$decant_pid"
    decant_gives 0
    what_is_there >>"$T/read"
    exec 9>&-
    (($(grep -c 'complete: ' "$T/read") > 100)) || fail "$(wc -l <"$T/read") lines"
    lost=$(sed -n 's/.*: \([0-9]*\) lines were lost.*/\1/p' "$T/read")
    ((lost + $(grep -c 'complete: ' "$T/read") == 2001)) || fail "$lost lost of $(wc -l <"$T/read")"
}
