# SPDX-License-Identifier: MIT
# The kernel says no at the worst of times: a disk fails in the middle, a signal interrupts a call,
# memory runs out. A server that takes any of these for the end of the file closes cleanly, and the
# client keeps what it has. Here strace(1) lets the real system calls of the real program fail.

load common

# What each mode waits in.
waiting='?poll,?ppoll'
if [[ $mode == resident ]]; then
    waiting='?epoll_wait,?epoll_pwait'
fi

# with RULE...: decant's calls fail as the rules of strace(1) say
with() {
    local rule rules=()

    for rule; do
        rules+=(-e "inject=$rule")
    done
    trace "sendfile,$waiting,fstat,newfstatat,setsockopt,shutdown,ioctl,connect,signalfd4,pread64" \
        "${rules[@]}"
    make_file file 5000000
    start "${systemd[@]}" -- "$file"
}

# survives RULE...: it goes on, and the client has everything
survives() {
    with "$@"
    client one drain
    client_has_all one "$file"
    decant_gives 0
    grep -q INJECTED "$T/calls" || fail "the fault never came"
}

# ends STATUS WORDS RULE...: a reset, and WORDS
ends() {
    with "${@:3}"
    client one drain
    client_gets one 'reset *'
    client_has_start one "$file"
    decant_gives "$1"
    says "$2"
    grep -q INJECTED "$T/calls" || fail "the fault never came"
}

@test "sendfile: EAGAIN" { survives sendfile:error=EAGAIN:when=2; }
@test "sendfile: EAGAIN at once" { survives sendfile:error=EAGAIN:when=1; }
@test "sendfile: EAGAIN every other time" { survives sendfile:error=EAGAIN:when=1+2; }
@test "sendfile: EINTR" { survives sendfile:error=EINTR:when=2; }
@test "sendfile: EINTR at once" { survives sendfile:error=EINTR:when=1; }
@test "sendfile: EINTR every other time" { survives sendfile:error=EINTR:when=1+2; }
@test "sendfile: 0 before the end" { ends 65 'file shrank: .*of 5000000' sendfile:retval=0:when=2; }
@test "sendfile: 0 at once" { ends 65 'file shrank: .*: 0 of 5000000' sendfile:retval=0:when=1; }
@test "sendfile: EIO" { ends 74 'file unreadable: .*: sendfile: Input/output' sendfile:error=EIO:when=2; }
@test "sendfile: EIO at once" { ends 74 'file unreadable: .*: 0 of ' sendfile:error=EIO:when=1; }
@test "sendfile: ESTALE, of a network file system" { ends 74 'file unreadable' sendfile:error=ESTALE:when=2; }
@test "sendfile: EINVAL, the file system cannot" { ends 74 'file unreadable' sendfile:error=EINVAL:when=1; }
@test "sendfile: ENOMEM" { ends 71 'failed: .*: sendfile: Cannot allocate' sendfile:error=ENOMEM:when=2; }
@test "sendfile: EBADF" { ends 71 'failed: .*: sendfile: Bad file' sendfile:error=EBADF:when=2; }
@test "sendfile: ECONNRESET" { ends 75 'client left: .*: sendfile: Connection reset' sendfile:error=ECONNRESET:when=2; }
@test "sendfile: EPIPE" { ends 75 'client left: .*: sendfile: Broken pipe' sendfile:error=EPIPE:when=2; }
@test "sendfile: ETIMEDOUT of a file" { ends 74 'file unreadable' sendfile:error=ETIMEDOUT:when=2; }
@test "sendfile: ENOTCONN of a file" { ends 74 'file unreadable' sendfile:error=ENOTCONN:when=2; }

@test "waiting: EINTR" { survives "$waiting:error=EINTR:when=1"; }
@test "waiting: EINTR every other time" { survives "$waiting:error=EINTR:when=1+2"; }
@test "waiting: EINVAL ends rather than waits" {
    ends 71 '(failed: .*: poll|^decant: epoll_wait): Invalid argument' "$waiting:error=EINVAL:when=1"
}

@test "shutdown: ENOMEM" { ends 71 'failed: .*: shutdown: Cannot allocate' shutdown:error=ENOMEM:when=1; }
@test "shutdown: ENOBUFS" { ends 71 'failed: .*: shutdown: ' shutdown:error=ENOBUFS:when=1; }
@test "signalfd fails: refused before the first byte" {
    ends 71 '^decant: signalfd: ' signalfd4:error=EMFILE
    client_is_refused one
}
@test "SIOCOUTQ fails: the drain timeout must do" { survives ioctl:error=ENOTTY:when=1+; }

# The abort does not depend on connect(2) alone.
@test "a reset although connect(2) to nobody fails" {
    ends 65 'file shrank' sendfile:retval=0:when=2 connect:error=EINVAL
}

# find_call PROGRAM-OF-AWK: makes a run without a fault, and leaves in $call which call is to
# fail in the next one; those of the loader, of libsystemd and of the hand-over come before it
find_call() {
    with shutdown:delay_enter=0
    client one drain
    client_has_all one "$file"
    decant_gives 0
    rm "$T/address"
    call=$(awk '{ name = $1; sub(/\(.*/, "", name); n[name]++ }'"$1" "$T/calls")
    [[ -n $call ]] || fail "there was none"
}

# find_option REGEX ERROR: the same, of the last setsockopt(2) that is like this
find_option() {
    find_call "/^setsockopt.*$1/ { last = name \":error=$2:when=\" n[name] } END { print last }"
}

@test "arming fails: refused before the first byte, and told so" {
    find_option SO_LINGER.*l_onoff=1 ENOMEM
    ends 71 '^decant: .*setsockopt: Cannot allocate' "$call"
    client_is_refused one
}
@test "disarming fails" {
    find_option SO_LINGER.*l_onoff=0 ENOMEM
    ends 71 'failed: .*: setsockopt: Cannot allocate' "$call"
}
@test "TCP_NOTSENT_LOWAT fails: costs memory only" {
    find_option TCP_NOTSENT_LOWAT ENOPROTOOPT
    survives "$call"
}
@test "TCP_NODELAY fails: costs time only" {
    find_option TCP_NODELAY ENOPROTOOPT
    survives "$call"
}

@test "reading the byte behind the end fails" {
    find_call '/^pread64/ { last = name ":error=EIO:when=" n[name] } /^sendfile/ { print last; exit }'
    ends 74 "^decant: cannot read '.*': Input/output" "$call"
}

@test "fstat fails when the file is looked at once more" {
    find_call '/^(newfstatat|fstat)/ { if (sent) { print name ":error=EIO:when=" n[name]; exit } }
        /^sendfile/ { sent = 1 }'
    ends 71 'failed: .*: fstat: Input/output error' "$call"
}

@test "fstat fails when the file is opened" {
    find_call '/^(newfstatat|fstat)/ { stat = name ":error=EIO:when=" n[name] }
        /^pread64/ { last = stat }
        /^sendfile/ { print last; exit }'
    ends 66 "^decant: cannot stat '" "$call"
}
