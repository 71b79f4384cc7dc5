# shellcheck shell=bats
# SPDX-License-Identifier: MIT
# The units take away what decant takes away by itself, once more and from outside: that is what counts where its own
# sandbox has a hole, or an admin has put --sandbox=off into a drop-in. So here is a decant that is taken over (see
# tests/attack) in each unit, with Debian 12's systemd (252) and Debian 13's (257), without its own sandbox and with it.
# 252-attack.bats and 257-attack.bats are this file under two names.
#
# What each unit does not stop by itself stands in its test. For decant@.service that is what would cost every client too
# much: it has no file system of its own, so that it can read and execute what everybody may, and write where everybody
# may; and it may make memory executable. hardened.conf takes that away, too.

load decantd

# one_for_each, one_for_all: from here on with decant.socket, or with decantd@7070.socket
one_for_each() {
    served=payload
    socket_unit=decant.socket
    service_unit=decant@.service
    take_over
    enable MaxConnections=1000 MaxConnectionsPerSource=1000
}

one_for_all() {
    served=7070
    socket_unit=decantd@7070.socket
    service_unit=decantd@7070.service
    take_over
    enable
}

take_over() {
    payload=$machine/srv/decant/$served
    make_payload 30000
    printf 'other' >"$machine/srv/decant/other"
    install -m 755 "$root/build/attack/decant" "$machine/usr/local/sbin/decant"
}

without_own_sandbox() {
    sed -n 's/^ExecStart=.*\/decant\b/&/p' "$machine/usr/lib/systemd/system/$1" |
        sed 's/\/decant\b/& --sandbox=off/;1i[Service]\nExecStart=' >"$T/drop-in"
    grep -q sandbox=off "$T/drop-in" || fail "$1 has no such line"
    drop_in "$1" <"$T/drop-in"
}

# attack NAME...: each of them, with a client and a process of its own
attack() {
    local name

    for name; do
        cp "$payload" "$machine/srv/decant/attack-$name"
        ln -sfn "attack-$name" "$machine/srv/decant/link"
        mv -T "$machine/srv/decant/link" "$payload"
        [[ $socket_unit == decant.socket ]] || within systemctl --quiet stop "$service_unit" 2>/dev/null
        client "$name" tcp4=7070 drain
        client_gets "$name" '@(reset 0|eof 30000)'
    done
    [[ $socket_unit == decant.socket ]] || within systemctl --quiet stop "$service_unit" 2>/dev/null
    wait_for 20 each_is_told "$@" || fail 'of these nobody has heard:' "$(told | sort | comm -13 - <(printf '%s\n' "$@" | sort))"
}

# journal: what decant, what it has become, and PID 1 say of them
journal() {
    within journalctl --sync 2>/dev/null || true
    within journalctl --boot --no-pager --quiet --output=cat | grep -E '^attack [a-z0-9-]+: |status=31/SYS|sandbox: the system call'
}

told() {
    journal | sed -nE 's/^attack ([a-z0-9-]+): .*/\1/p'
}

# Those that die have told nothing.
each_is_told() {
    local n

    n=$(journal | grep -cE '^attack |code=(killed|dumped), status=31/SYS')
    ((n >= $#))
}

# succeeded: names, in one line
succeeded() {
    journal | sed -nE 's/^attack ([a-z0-9-]+): succeeded$/\1/p' | sort -u | paste -sd' '
}

# what_succeeds NAME...: these, and no others
what_succeeds() {
    local expected

    expected=$(printf '%s\n' "$@" | sort | paste -sd' ')
    [[ $(succeeded) == "$expected" ]] ||
        fail "expected to succeed: $expected" "did succeed:         $(succeeded)"
}

mapfile -t every < <(grep -vE '^(#|$)' "$root/tests/attack/table" | cut -d' ' -f1)

# What any process may do with itself, and what it has open. (The parent's affinity can only be read; the limits are
# those that it had.)
itself=(affinity-parent limit-files limit-processes mmap-file mremap prctl reuse-port seccomp tgkill-self)
# And what there is to be seen in its file system. open-memory is its own.
to_read=(open-device open-directory open-memory open-other open-path)

@test "decant@.service without decant's own sandbox" {
    without_own_sandbox decant@.service
    one_for_each
    attack "${every[@]}"
    what_succeeds "${itself[@]}" "${to_read[@]}" open-passwd stat-passwd open-tmpfile execve execve-ignored mmap-exec mprotect-exec
}

@test "decant@.service with hardened.conf, without decant's own sandbox" {
    without_own_sandbox decant@.service
    within install -D -m 644 /usr/local/share/doc/decant/hardened.conf /etc/systemd/system/decant@.service.d/hardened.conf
    within systemctl daemon-reload
    one_for_each
    attack "${every[@]}"
    what_succeeds "${itself[@]}" "${to_read[@]}"
}

# The shell is for ExecStopPost=, memfd_create(2) for the table, AF_UNIX for the supervisor. What it would like to
# connect to is not there; systemd 257 shows the journal's sockets to a service with a root of its own.
@test "decantd@.service without decant's own sandbox" {
    without_own_sandbox decantd@.service
    one_for_all
    attack "${every[@]}"
    what_succeeds "${itself[@]}" "${to_read[@]}" execve execve-ignored memfd socket-unix
}

# Some of each kind, with both sandboxes on top of each other.
some=(open-passwd openat2-passwd open-other open-write open-create reopen-write unlink stat-passwd socket-inet socket-unix
journal-send journal-connect journal-sendmsg connect-tcp sendmsg-tcp listen execve clone ptrace-parent write-parent
kill-parent pidfd-getfd sigio-owner limit-parent mmap-exec memfd mount unshare io-uring)

# tells_what_was_caught: each death has a record that names the system call
tells_what_was_caught() {
    [[ $(journal | grep -c 'sandbox: the system call ') == $(journal | grep -cE 'code=(killed|dumped), status=31/SYS') ]] ||
        fail "$(journal)"
    (($(journal | grep -c 'sandbox: the system call ') > 10)) || fail "$(journal)"
}

@test "decant@.service with decant's own sandbox" {
    one_for_each
    attack "${some[@]}"
    what_succeeds stat-passwd
    tells_what_was_caught
}

@test "decantd@.service with decant's own sandbox" {
    one_for_all
    attack "${some[@]}"
    what_succeeds open-other
    tells_what_was_caught
}
