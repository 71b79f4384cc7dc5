# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# The one table of cases. Each launcher's file names them all, and table.bats sees to that. A file
# defines `serve`, which starts its launcher with the shipped entry or the documented command; with
# an argument, one of sed(1), with that line of it changed.

load world

case_whole() {
    payload 3000000
    serve
    client one drain
    client_has_all one "$file"
    logs info "complete: /srv/decant/payload to $peer: $all"
}

case_empty() {
    payload 0
    serve
    client one drain
    client_has_all one "$file"
    logs info "complete: /srv/decant/payload to $peer: 0 of 0 bytes sent"
}

case_talks_first() {
    payload 3000000
    serve
    client one send=100K drain
    client_has_all one "$file"
    logs info "complete: .* to $peer: $all"
}

case_half_closes() {
    payload 3000000
    serve
    client one half-close drain
    client_has_all one "$file"
    logs info "complete: .* to $peer: $all"
}

case_leaves() {
    payload 20000000
    serve
    client one --rcvbuf=64K read=100000 close
    client_gets one 'left 100000'
    logs notice "client left: .* to $peer: "
}

# The log names the very client, and the next one is served as well.
case_midway() {
    payload 20000000
    serve
    midway one
    go
    client_has_all one "$file"
    logs info "complete: .* to $peer: $all"
    peer='.*'
    client two drain
    client_has_all two "$file"
    logs info "complete: .* to $peer: $all" 2
}

# Whatever descriptors the launcher has placed: none of them, and none of its own, keeps the client.
case_killed() {
    payload 20000000
    serve
    midway one
    kill -KILL "$pid"
    go
    client_gets one "$cut *"
    client_has_start one "$file"
    client two drain
    client_has_all two "$file"
    logs info "complete: .*: $all"
}

case_terminated() {
    payload 20000000
    serve
    midway one
    kill -TERM "$pid"
    if resident; then
        lets_go_on
        return
    fi
    go
    client_gets one "$cut *"
    client_has_start one "$file"
    logs notice "stopped: .* to $peer: "
}

# Who is served by the resident decant gets all of it, and who comes then waits for the next one.
lets_go_on() {
    wait_for 20 has_taken_term
    [[ ! $keeps ]] || client two "touch=$T/connected" drain
    [[ ! $keeps ]] || wait_for 20 test -e "$T/connected"
    go
    client_has_all one "$file"
    if [[ ! $keeps ]]; then
        logs info "complete: .* to $peer: $all"
        wait_for 20 no_port
        return
    fi
    client_has_all two "$file"
    logs info "complete: .* to 127\.0\.0\.1:[0-9]+: $all" 2
    were_processes 2
}

# Where descriptor 2 is the client, this is where cat(1) writes its own words into the stream.
case_missing() {
    serve
    client one drain
    client_gets one "$cut 0"
    [[ ! -s $T/one ]] || fail "it got: $(head -c 200 "$T/one")"
    logs err '.*/srv/decant/payload.*No such file'
}

# 600 in quick succession, eight at a time; inetds close a service that is used so much, if they may.
case_quick() {
    local wrong

    payload 20000
    serve
    mkdir "$T/many"
    # shellcheck disable=SC2016
    seq 600 | timeout 120 nsenter --net="/proc/$world/ns/net" xargs -P 8 -n 1 sh -c \
        'exec "$0/peer" --result="$1/many/$2.result" "@$1/address" drain >"$1/many/$2"' \
        "$tools_of_tests" "$T" 3>&-
    wrong=$(cat "$T"/many/*.result | grep -cvx 'eof 20000' || true)
    [[ $wrong == 0 ]] || fail "$wrong of 600 did not end well: $(cat "$T"/many/*.result | sort | uniq -c)"
    rm "$T"/many/*.result
    [[ $(sha256sum "$T"/many/* | cut -d' ' -f1 | uniq) == "$(sha256sum <"$file" | cut -d' ' -f1)" ]] ||
        fail 'other bytes than those of the file'
    logs info "complete: .* to $peer: $all" 600
    ! resident || were_processes 1
}

# Fifty that are slow together: the default of tcpserver and its kin lets the 41st wait in silence.
case_at_once() {
    local i

    payload 3000000
    serve
    for i in {1..50}; do
        client "$i" --rcvbuf=64K read=10 "touch=$T/midway.$i" "wait-file=$T/go" drain
    done
    for i in {1..50}; do
        wait_for 30 test -e "$T/midway.$i"
    done
    go
    for i in {1..50}; do
        client_has_all "$i" "$file"
    done
    logs info "complete: .* to $peer: $all" 50
    ! resident || were_processes 1
}

# The rest of its table is for `wait` alone. The entry's 30 s become so few that clients come while it
# ends, again and again: who is in the queue then waits for the next one.
case_idle() {
    local i

    payload 100000
    serve 's/--idle-exit=30s/--idle-exit=10ms/'
    for i in 1 2 3; do
        client "$i" drain
        client_has_all "$i" "$file"
        wait_for 20 no_decant
    done
    logs info "complete: .* to $peer: $all" 3
    were_processes 3
    load_world --clients=1 --connections=60 --gap=0/30
    logs info "complete: .* to $peer: $all" 63
}

case_renamed() {
    payload 20000000
    cp "$file" "$T/before"
    serve
    midway one
    head -c 3000000 /dev/urandom >"$file.new"
    chmod 644 "$file.new"
    mv "$file.new" "$file"
    client two drain
    client_has_all two "$file"
    go
    client_has_all one "$T/before"
    logs info 'complete: .*: (3000000 of 3000000|20000000 of 20000000) bytes sent' 2
    were_processes 1
}

# Nobody but decant takes those that wait: if it did not, the launcher would start it for ever for the
# first of them, and close the service before long. All are reset, and the file that is there at last goes
# to the next.
case_missing_often() {
    local i wrong

    serve
    mkdir "$T/many"
    # shellcheck disable=SC2016
    seq 100 | timeout 120 nsenter --net="/proc/$world/ns/net" xargs -P 8 -n 1 sh -c \
        'exec "$0/peer" --result="$1/many/$2.result" "@$1/address" drain >"$1/many/$2"' \
        "$tools_of_tests" "$T" 3>&-
    wrong=$(cat "$T"/many/*.result | grep -cvx 'reset 0' || true)
    [[ $wrong == 0 ]] || fail "$wrong of 100 were not reset: $(cat "$T"/many/*.result | sort | uniq -c)"
    [[ -z $(find "$T/many" -type f ! -name '*.result' -size +0) ]] || fail 'they got bytes'
    wait_for 20 no_decant
    (($(records) <= 100)) || fail "$(records) starts for 100 clients"
    payload 3000000
    client one drain
    client_has_all one "$file"
}

# For the entries alone, which name a user. The mode keeps out everybody but root.
case_unreadable() {
    payload 1000
    chmod 600 "$file"
    serve
    client one drain
    client_gets one 'reset 0'
    [[ ! -s $T/one ]] || fail "it got: $(head -c 200 "$T/one")"
    logs err '.*/srv/decant/payload.*Permission denied'
}

case_as_nobody() {
    local uid gid

    uid=$(id -u nobody)
    gid=$(id -g nobody)
    payload 20000000
    serve
    midway one
    grep -qxE "Uid:(	$uid){4}" "/proc/$pid/status" || fail "$(grep Uid "/proc/$pid/status")"
    grep -qxE "Gid:(	$gid){4}" "/proc/$pid/status" || fail "$(grep Gid "/proc/$pid/status")"
    grep -qxE "Groups:	($gid )? ?" "/proc/$pid/status" || fail "$(grep Groups "/proc/$pid/status")"
    [[ /proc/$pid/fd/0 -ef /proc/$pid/fd/2 ]] || fail 'descriptor 2 is not the client'
    go
    client_has_all one "$file"
}

# Whoever takes decant over has no more than it has. In its place is one that tries, see tests/attack.
case_attacked() {
    local attack n=0

    payload 100000
    serve
    install -m 755 "$root/build/attack/decant" "$T/world/usr/local/sbin/decant"
    for attack in execve:execve openat2-passwd:openat2 kill-parent:kill write-parent:process_vm_writev; do
        takes_over "${attack%:*}"
        client "$attack" drain
        client_gets "$attack" "$cut 0"
        logs err 'sandbox: the system call [a-z0-9_]+, ' $((++n))
        grep -qF "the system call ${attack#*:}, " "$T/$log" || fail "$(cat "$T/$log")"
        [[ $keeps ]] || return 0
    done
    # This one is refused, and that is all. No record says that any has succeeded.
    takes_over socket-unix
    client last drain
    client_has_all last "$file"
    wait_for 10 has_lines 'attack socket-unix: refused, EPERM' 1
}

# takes_over ATTACK: from now on it is what is served that tells decant what to try
takes_over() {
    cp -p --remove-destination "$file" "$T/world/srv/decant/attack-$1"
    ln -sfn "attack-$1" "$T/world/srv/decant/link"
    mv -T "$T/world/srv/decant/link" "$file"
}

# gets_over_both: IPv4 and IPv6, and the log has the first as IPv4 although the socket is IPv6's
gets_over_both() {
    client four drain
    client_has_all four "$file"
    logs info "complete: .* to $peer: $all"
    printf 'tcp6=7070\n' >"$T/address"
    client six drain
    client_has_all six "$file"
    logs info "complete: .* to ($peer|\\[::1\\]:[0-9]+): $all" 2
    has_lines 'to \[::1\]:[0-9]+: ' 1 || fail "$(tail -n 5 "$T/$log")"
}
