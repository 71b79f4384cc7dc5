# SPDX-License-Identifier: MIT
# What goes well with one client can go wrong with the hundred thousandth: a descriptor that is not
# closed, a slot that is not given back, a queue out of order, memory for each client that was ever
# there; and with an exit between two of them, a client that nobody serves.

load common

# Each test says itself when decant is to end.
always=()

descriptors() {
    find "/proc/$decant_pid/fd" -mindepth 1 | wc -l
}

has_descriptors() {
    [[ $(descriptors) == "$1" ]]
}

resident_kib() {
    awk '/^VmRSS:/ { print $2 }' "/proc/$decant_pid/status"
}

# ends_with STATUS: asked to, by SIGTERM
ends_with() {
    kill -TERM "$decant_pid"
    decant_gives "$1"
}

# loads OPTION...: many clients, each of which must be whole
loads() {
    "$tools/load" --file="$file" "$@" "@$T/address" >"$T/load" 2>&1 3>&- || fail "$(cat "$T/load")"
}

# serves_many SIZE CONNECTIONS CLIENTS [HAND-OPTION...]
serves_many() {
    make_file file "$1"
    start "${systemd[@]}" "${@:4}" -- --log-level=notice "$file"
    loads --connections="$2" --clients="$3"
    ends_with 0
    [[ -z $(said) ]] || fail 'it said something'
}

@test "2000 clients, 64 at a time" { serves_many 5000 2000 64; }
@test "2000 clients, 500 at a time" { serves_many 5000 2000 500; }
@test "2000 clients, over IPv6" { serves_many 5000 2000 64 --listen=tcp6; }
@test "2000 clients, over a UNIX socket" { serves_many 5000 2000 64 --listen=unix="$T/socket"; }
@test "200 clients of a file of many turns" { serves_many 5000000 200 20; }
@test "2000 clients of an empty file" { serves_many 0 2000 64; }

@test "100,000 connections of 4 KiB: nothing is lost, and nothing piles up" {
    make_file file 4096
    # What it keeps of freed memory is a sanitizer's own affair.
    grown=256
    [[ $decant != */asan/* ]] || grown=20480
    start "${systemd[@]}" --fuse=400 -- --log-level=notice "$file"
    loads --connections=2000 --clients=32
    before=$(descriptors)
    kib=$(resident_kib)
    loads --connections=100000 --clients=32 --timeout=300
    wait_for 10 has_descriptors "$before"
    (($(resident_kib) - kib <= grown)) || fail "it has grown from $kib to $(resident_kib) KiB"
    ends_with 0
    [[ -z $(said) ]] || fail 'it said something'
}

# As many as the hard limit allows, at the most: a stalled client costs its slot, and little else.
@test "10,000 stalled clients cost 2 MiB at the most, and others are served meanwhile" {
    make_file file 1000000
    most=$(($(ulimit -Hn) - 200))
    ((most <= 10000)) || most=10000
    grown=2048
    [[ $decant != */asan/* ]] || grown=20480
    start "${systemd[@]}" --fuse=200 -- --max-connections=$((most + 10)) --log-level=notice "$file"
    client first drain
    client_has_all first "$file"
    before=$(resident_kib)
    "$tools/load" --file="$file" --connections=0 --stalled="$most" --stalled-rcvbuf=2304 \
        --stall-file="$T/stalled" --timeout=150 "@$T/address" >"$T/load" 2>&1 3>&- &
    load_pid=$!
    own_pids+=("$load_pid")
    wait_for 120 test -e "$T/stalled"
    (($(descriptors) >= most)) || fail "only $(descriptors) descriptors"
    (($(resident_kib) - before <= grown)) || fail "it has grown from $before to $(resident_kib) KiB"
    client second drain
    client_has_all second "$file"
    kill -INT "$decant_pid"
    decant_gives 75
    kill -TERM "$load_pid"
    wait "$load_pid" || true
    own_pids=()
}

# Whoever comes in the moment of the exit is in the queue of the supervisor, who starts it again.
@test "10,000 connections around the idle time: none is lost" {
    make_file file 3000
    start --supervise="$T/starts" --fuse=400 "${systemd[@]}" -- --idle-exit=3ms --log-level=notice "$file"
    loads --connections=10000 --clients=1 --gap=0/8 --timeout=300
    kill -TERM "$decant_pid"
    decant_gives 0
    (($(cat "$T/starts") > 1000)) || fail "only $(cat "$T/starts") starts: this proves little"
    [[ -z $(said) ]] || fail 'it said something'
}

@test "killed again and again: whoever is there is reset, whoever comes is served" {
    make_file file 20000000
    start --supervise="$T/starts" "${systemd[@]}" -- "$file"
    for i in 1 2 3; do
        rm -f "$T/go" "$T/midway"
        client "one$i" --rcvbuf=64K read=100000 "touch=$T/midway" "wait-file=$T/go" drain
        wait_for 30 test -e "$T/midway"
        kill -KILL "$(pgrep -P "$decant_pid")"
        go
        client_gets "one$i" 'reset *'
        client "two$i" drain
        client_has_all "two$i" "$file"
    done
    [[ $(cat "$T/starts") == 4 ]] || fail "$(cat "$T/starts") starts"
    kill -TERM "$decant_pid"
    decant_gives 0
}

# The handshake of the first client was over before decant had armed anything: only what accept(2)
# returns can be armed for it.
@test "SIGKILL of the first client after activation, at each of the first calls" {
    make_file file 20000000
    for call in sendfile:signal=KILL:when=1 sendfile:signal=KILL:when=2 epoll_ctl:signal=KILL:when=3; do
        rm -f "$T/address"
        trace sendfile,epoll_ctl -e "inject=$call"
        start "${systemd[@]}" -- "$file"
        client one drain
        decant_gives 137
        client_gets one 'reset *'
        client_has_start one "$file"
    done
}

# --- The kernel says no

# despite RULE: the faults cost time, and nothing else
despite() {
    trace accept4,preadv2,fadvise64,epoll_wait -e "inject=$1"
    make_file file 3000000
    start "${systemd[@]}" -- --idle-exit=1 "$file"
    client one drain
    client_has_all one "$file"
    decant_gives 0
    grep -q INJECTED "$T/calls" || fail 'the fault never came'
    (($(wc -l <"$T/calls") < 500)) || fail "$(wc -l <"$T/calls") calls: it spins"
}

@test "epoll_wait: EINTR every other time" { despite epoll_wait:error=EINTR:when=1+2; }
@test "accept4: EPERM, of a firewall" { despite accept4:error=EPERM:when=1..3; }

was_asked() {
    grep -q 'fadvise64(.*POSIX_FADV_WILLNEED' "$T/calls" || fail 'the disk was not asked to read'
}

# Others are served while the disk brings what comes next.
@test "a disk that is slow" { despite preadv2:error=EAGAIN:when=1..9 && was_asked; }
@test "a disk that is slow again and again" { despite preadv2:error=EAGAIN:when=2+3 && was_asked; }
@test "a kernel that never tells that the page is there" { despite preadv2:error=EAGAIN && was_asked; }
@test "a file system that cannot tell" { despite preadv2:error=EOPNOTSUPP; }

# fails_with STATUS RULE: the client is reset
fails_with() {
    trace epoll_ctl,epoll_wait -e "inject=$2"
    make_file file 20000000
    start "${systemd[@]}" -- --idle-exit=300ms "$file"
    client one drain
    client_gets one 'reset *'
    decant_gives "$1"
}

@test "epoll_wait: EBADF ends it" { fails_with 71 epoll_wait:error=EBADF:when=4 && says '^decant: epoll_wait: '; }
@test "epoll_ctl fails for a client" {
    fails_with 71 epoll_ctl:error=ENOMEM:when=4 # after the signals, the listener and the store
    says 'failed: .*: epoll_ctl: Cannot allocate memory'
}
@test "epoll_ctl fails for the listener" { fails_with 71 epoll_ctl:error=ENOSPC:when=2 && says 'epoll_ctl: No space'; }
@test "epoll_create1 fails" {
    trace epoll_create1 -e inject=epoll_create1:error=EMFILE
    make_file file 100
    start "${systemd[@]}" -- "$file"
    client one drain
    client_is_refused one
    decant_gives 71
}
