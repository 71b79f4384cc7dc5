# SPDX-License-Identifier: MIT
# What only a decant meets that was started with the connection itself, and the resident one never: a
# supervisor that holds a duplicate of it, so that even an orderly abort by close(2) is not seen by
# anybody; somebody who has written to it before; a descriptor 2 that is the client.

load common

# The call that waits for one client can run out of memory, unlike that of the resident one.
@test "poll: ENOMEM" {
    make_file file 5000000
    trace '?poll,?ppoll' -e 'inject=?poll,?ppoll:error=ENOMEM:when=1'
    start "${systemd[@]}" -- "$file"
    client one drain
    client_has_all one "$file"
    decant_gives 0
    grep -q INJECTED "$T/calls" || fail "the fault never came"
}

# A supervisor, or systemd's store, has the same socket open.
start_with_duplicate() {
    start_midway "${systemd[@]}" --duplicate="$T/duplicate" -- "$@"
    own_pids+=("$(cat "$T/duplicate")")
}

reset_despite_duplicate() {
    go
    client_gets one 'reset *'
    client_has_start one "$file"
    decant_gives "$1"
    kill -0 "${own_pids[0]}" || fail "there is no duplicate any more: this proves nothing"
}

@test "SIGTERM while another process holds a duplicate of the socket" {
    make_file file 20000000
    start_with_duplicate "$file"
    kill -TERM "$decant_pid"
    wait_for_decant
    reset_despite_duplicate 75
}

@test "a stalled client while another process holds a duplicate" {
    make_file file 20000000
    start_with_duplicate --stall-timeout=300ms "$file"
    wait_for_decant
    reset_despite_duplicate 75
}

@test "a truncated file while another process holds a duplicate" {
    make_file file 20000000
    start_with_duplicate "$file"
    truncate -s 1000 "$file"
    go
    client_gets one 'reset *'
    decant_gives 65
    kill -0 "${own_pids[0]}"
}

@test "a missing file while another process holds a duplicate" {
    start "${systemd[@]}" --duplicate="$T/duplicate" -- "$T/missing"
    client one drain
    client_is_refused one
    decant_gives 66
    own_pids+=("$(cat "$T/duplicate")")
    kill -0 "${own_pids[0]}"
}

@test "the whole file while another process holds a duplicate" {
    make_file file 2000000
    start "${systemd[@]}" --duplicate="$T/duplicate" -- "$file"
    client one drain
    client_has_all one "$file"
    decant_gives 0
    own_pids+=("$(cat "$T/duplicate")")
    kill -0 "${own_pids[0]}"
}

@test "a listening socket behind a client" {
    wrong_beside_client "descriptor 3 is a connected socket and descriptor 4 a listening one.*$how" \
        --at=3:client --at=4:listener --listen-fds=2
}
@test "a listening socket before a client" {
    wrong_beside_client "descriptor 4 is a connected socket and descriptor 3 a listening one.*$how" \
        --at=3:listener --at=4:client --listen-fds=2
}

@test "a wrong descriptor among three clients resets all of them" {
    local name

    make_file file 100
    start --at=3:client --at=4:client2 --at=5:pipe --at=6:client3 --listen-fds=4 -- "$file"
    for name in a b c; do
        client "$name" drain
    done
    for name in a b c; do
        client_is_refused "$name"
    done
    decant_gives 76
}

# Such as ld.so, which complains of a stale LD_PRELOAD on descriptor 2, or a first decant before
# Restart=. With the file behind that, a stream would look whole that is not the file.
@test "somebody has written to the client before" {
    make_file file 100
    wrap=(sh -c 'echo noise >&3; exec "$@"' sh)
    start "${systemd[@]}" -- "$file"
    client one drain
    client_gets one 'reset *'
    ! grep -qv noise "$T/one" || fail 'the client got more than the noise'
    decant_gives 76
    says 'something was sent to .* before decant was started'
}

@test "the client is on 2, and 0 is another" {
    make_file file 2000000
    start --listen=unix="$T/socket" --at=0:client --at=2:client2 -- "$file"
    client one "touch=$T/connected" drain
    wait_for 10 test -e "$T/connected"
    client two drain
    client_has_all one "$file"
    decant_gives 0
    client_gets two 'eof 0'
}
