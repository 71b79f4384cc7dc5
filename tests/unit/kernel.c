/* SPDX-License-Identifier: MIT */

/*
 * The answers are Linux's: sendfile(2) advances the offset by what it returns; SIOCOUTQ is what was
 * queued less what was acknowledged, plus one for the end of stream (TCP), or memory (UNIX); an
 * error waits in the socket and is told once; after a reset, the first call says ECONNRESET, the
 * next EPIPE. Where the fake was kinder than that, broken programs passed.
 */

#include "kernel.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

struct kernel kernel;

/* Weak, because a test that wraps nothing has none of them. */
#define REAL extern __attribute__((weak))
REAL ssize_t __real_sendfile64(int out, int in, off_t *offset, size_t count);
REAL int __real_ioctl(int fd, unsigned long request, ...);
REAL int __real_setsockopt(int fd, int level, int name, const void *value, socklen_t size);
REAL int __real_getsockopt(int fd, int level, int name, void *value, socklen_t *size);
REAL int __real_getpeername(int fd, struct sockaddr *address, socklen_t *size);
REAL int __real_shutdown(int fd, int how);
REAL ssize_t __real_recv(int fd, void *buffer, size_t size, int flags);
REAL int __real_connect(int fd, const struct sockaddr *address, socklen_t size);
REAL int __real_close(int fd);
REAL int __real_poll(struct pollfd *polls, nfds_t n, int timeout);
REAL int __real_clock_gettime(clockid_t clock, struct timespec *ret);
REAL int __real_fstat64(int fd, struct stat *ret);
REAL void *__real_calloc(size_t n, size_t size);
REAL int __real_signalfd(int fd, const sigset_t *set, int flags);

static struct kernel_socket *find(int fd)
{
    if (fd < KERNEL_SOCKET || fd >= KERNEL_SOCKET + KERNEL_SOCKETS)
        return NULL;
    struct kernel_socket *s = &kernel.sockets[fd - KERNEL_SOCKET];
    if (!s->open)
        fail_msg("descriptor %d is used after it was closed, or before it was there", fd);
    return s;
}

static bool is_tcp(const struct kernel_socket *s)
{
    return s->kind == SOCKET_TCP || s->kind == SOCKET_MPTCP;
}

static int give(int error)
{
    if (error == 0)
        return 0;
    errno = error;
    return -1;
}

static void note(struct kernel_socket *s, char letter)
{
    size_t n = strlen(s->calls);

    if (n + 1 < sizeof(s->calls))
        s->calls[n] = letter;
}

static int take_error(struct kernel_socket *s)
{
    int error = s->so_error;

    s->so_error = 0;
    return error;
}

void kernel_reset(struct source *source, off_t size)
{
    memset(&kernel, 0, sizeof(kernel));
    kernel.now = 1000 * CLOCK_SECOND;
    kernel.file.size = size;
    kernel.file.first_size = size;
    *source = (struct source){.fd = KERNEL_FILE, .name = "FILE", .size = size, .end = size};
}

struct kernel_socket *kernel_connect(enum socket_kind kind, const struct transfer_slot *slot)
{
    struct kernel_socket *s = kernel.sockets;

    while (s->open)
        s++;
    *s = (struct kernel_socket){.kind = kind,
        .slot = slot,
        .open = true,
        .armed = kind == SOCKET_TCP || kind == SOCKET_MPTCP,
        .room = INT64_MAX};
    return s;
}

int kernel_fd(const struct kernel_socket *s)
{
    return KERNEL_SOCKET + (int)(s - kernel.sockets);
}

void kernel_turn(struct kernel_socket *s)
{
    s->turn = 0;
}

int kernel_calls(const struct kernel_socket *s, char letter)
{
    int n = 0;

    for (const char *c = s->calls; *c; c++)
        n += *c == letter;
    return n;
}

/* The client's kernel takes bytes, and then the end; its program may answer that. */
static void acknowledge(struct kernel_socket *s, off_t bytes)
{
    off_t left = s->queued - s->acked;

    if (s->reset)
        return;
    s->acked += bytes < left ? bytes : left;
    if (!s->fin || s->acked < s->queued || bytes <= left)
        return;
    s->fin_acked = true;
    if (s->resets_at_end)
        kernel_do(EVENT_RESETS, s, 0);
    else if (s->ends_at_end)
        s->ended = true;
}

void kernel_do(enum kernel_event_kind kind, struct kernel_socket *s, off_t value)
{
    switch (kind) {
    case EVENT_ACK:
        acknowledge(s, value);
        break;
    case EVENT_ROOM:
        s->room += value;
        break;
    case EVENT_INPUT:
        s->input += value;
        break;
    case EVENT_ENDS:
        s->ended = true;
        break;
    case EVENT_CLOSES: /* unix(7): what was not read is lost, and told as ECONNRESET */
        assert_int_equal(s->kind, SOCKET_UNIX);
        if (s->acked < s->queued)
            s->so_error = ECONNRESET;
        s->reset = true;
        s->ended = true;
        s->view = s->view == VIEW_OPEN ? VIEW_OWN_RESET : s->view;
        break;
    case EVENT_RESETS:
        assert_true(is_tcp(s));
        s->so_error = s->ended ? EPIPE : ECONNRESET; /* tcp_reset(): CLOSE_WAIT says EPIPE */
        s->reset = true;
        s->view = VIEW_OWN_RESET;
        break;
    case EVENT_ERROR:
        s->so_error = (int)value;
        s->reset = true;
        break;
    case EVENT_TRUNCATE:
        kernel.file.size = value;
        kernel.file.mtime++;
        break;
    case EVENT_TOUCH:
        kernel.file.mtime++;
        break;
    case EVENT_SIGNAL:
        assert_int_equal(kill(getpid(), (int)value), 0);
        break;
    case EVENT_JUMP:
        kernel.now += value;
        break;
    case EVENT_WAKE:
        kernel.poll_error = (int)value;
        break;
    case EVENT_NONE:
        break;
    }
}

short kernel_revents(const struct kernel_socket *s, short events)
{
    short ready = 0;

    if (s->input > 0 || s->ended || s->reset || s->so_error)
        ready |= POLLIN;
    if (s->queued - s->acked < s->room || s->reset || s->so_error)
        ready |= POLLOUT;
    ready &= events;
    if (s->so_error) /* these two are told whether they are asked for or not */
        ready |= POLLERR;
    if (s->reset || (s->ended && s->fin))
        ready |= POLLHUP;
    return ready;
}

static int look(struct pollfd *polls, size_t n)
{
    int ready = 0;

    for (size_t i = 0; i < n; i++) {
        polls[i].revents = 0;
        if (polls[i].fd >= KERNEL_SOCKET)
            polls[i].revents = kernel_revents(find(polls[i].fd), polls[i].events);
        else if (polls[i].fd >= 0)
            (void)__real_poll(&polls[i], 1, 0);
        ready += polls[i].revents != 0;
    }
    return ready;
}

/* A millisecond has gone by: the clients have read. */
static void let_read(void)
{
    for (size_t i = 0; i < KERNEL_SOCKETS; i++) {
        struct kernel_socket *s = &kernel.sockets[i];
        if (s->open && s->reads > 0)
            acknowledge(s, s->reads);
    }
}

static bool somebody_reads(void)
{
    for (size_t i = 0; i < KERNEL_SOCKETS; i++) {
        const struct kernel_socket *s = &kernel.sockets[i];
        if (s->open && s->reads > 0 && !s->reset && (s->acked < s->queued || s->fin > s->fin_acked))
            return true;
    }
    return false;
}

static void happen(void)
{
    const struct kernel_event *e = kernel.events++;

    kernel_do(e->kind, &kernel.sockets[e->socket], e->value);
}

int kernel_wait(struct pollfd *polls, size_t n, int64_t until)
{
    /* Readiness that nobody does anything about is a processor at 100 %. */
    if (++kernel.idle > 1000)
        fail_msg("it spins: ready a thousand times, and neither a byte nor the clock has moved");
    for (;;) {
        while (
            kernel.events && kernel.events->kind != EVENT_NONE && kernel.events->at <= kernel.now)
            happen();
        int ready = look(polls, n);
        if (ready > 0 || kernel.poll_error || kernel.now >= until)
            return ready;
        int64_t next = somebody_reads() ? kernel.now + CLOCK_MS : CLOCK_NEVER;
        const struct kernel_event *e = kernel.events;
        bool reading = next != CLOCK_NEVER;
        if (e && e->kind != EVENT_NONE && e->at < next)
            next = e->at;
        if (until < next)
            next = until;
        if (next == CLOCK_NEVER)
            fail_msg("it waits for ever, and nothing is left that could happen");
        kernel.now = next;
        kernel.idle = 0;
        if (reading)
            let_read();
    }
}

/* The default of every test: as much as fits, as much as the file has. */
static off_t move_bytes(struct kernel_socket *s, off_t offset, off_t most)
{
    off_t free = s->room - (s->queued - s->acked);
    off_t bytes = kernel.file.size - offset;

    if (bytes <= 0)
        return 0;
    if (free <= 0)
        return -EAGAIN;
    bytes = bytes < free ? bytes : free;
    return bytes < most ? bytes : most;
}

static off_t send_scripted(struct kernel_socket *s, off_t offset, off_t count)
{
    struct kernel_send step = s->script ? *s->script : (struct kernel_send){0};

    if (s->script && step.kind != SEND_AS_IS)
        s->script++;
    if (step.kind == SEND_FAILS)
        return -step.value;
    if (step.kind == SEND_TRUNCATED)
        kernel_do(EVENT_TRUNCATE, s, step.value);
    if (step.kind == SEND_TOUCHED)
        kernel_do(EVENT_TOUCH, s, 0);
    if (step.kind == SEND_AT_MOST && step.value < count)
        count = step.value;
    return move_bytes(s, offset, count);
}

ssize_t __wrap_sendfile64(int out, int in, off_t *offset, size_t count)
{
    struct kernel_socket *s = find(out);
    off_t n;

    if (!s)
        return __real_sendfile64(out, in, offset, count);
    s->sends++;
    kernel.now += kernel.send_cost;
    assert_int_equal(in, KERNEL_FILE);
    if (!s->slot) /* single.c makes it: whose the offset is */
        s->slot = (const struct transfer_slot *)((const char *)offset -
                                                 offsetof(struct transfer_slot, offset));
    if (offset != &s->slot->offset) /* the file's position is shared by all transfers */
        fail_msg("sendfile is not given the slot's own offset");
    if (*offset != s->slot->start + s->queued)
        fail_msg("byte %jd of the file is sent as byte %jd of the stream", (intmax_t)*offset,
            (intmax_t)(s->slot->start + s->queued));
    if ((off_t)count > s->slot->end - *offset)
        fail_msg("more is asked for than was promised");
    if (s->turn + (off_t)count > TRANSFER_TURN)
        fail_msg("a turn of %jd bytes", (intmax_t)(s->turn + (off_t)count));
    if (s->slot->state != TRANSFER_SENDING)
        fail_msg("sendfile in state %d", s->slot->state);
    if (s->so_error)
        return give(take_error(s));
    if (s->reset)
        return give(EPIPE);
    n = s->chance ? s->chance(s, count) : send_scripted(s, *offset, (off_t)count);
    if (n < 0)
        return give((int)-n);
    *offset += n;
    s->queued += n;
    s->turn += n;
    if (n > 0)
        kernel.idle = 0;
    s->stats = kernel.file.stats;
    return n;
}

int __wrap_ioctl(int fd, unsigned long request, ...)
{
    struct kernel_socket *s = find(fd);
    va_list arguments;
    va_start(arguments, request);
    int *ret = va_arg(arguments, int *);
    va_end(arguments);

    if (!s)
        return __real_ioctl(fd, request, ret);
    assert_int_equal(request, TIOCOUTQ);
    if (s->outq_error)
        return give(s->outq_error);
    off_t left = s->queued - s->acked;
    if (s->fast_open)
        left = 0;       /* tcp_ioctl() in SYN_RECV */
    else if (is_tcp(s)) /* also after a reset: write_seq - snd_una stay as they were */
        left += s->fin && !s->fin_acked;
    else if (s->kind == SOCKET_UNIX && s->reset)
        left = 0;
    else if (s->kind == SOCKET_UNIX && left > 0)
        left = (left + 4095) / 4096 * 4096 + 768; /* memory: pages, and what describes them */
    *ret = left > INT32_MAX ? INT32_MAX : (int)left;
    return 0;
}

static int set_linger(struct kernel_socket *s, const struct linger *linger)
{
    if (s->linger_error)
        return give(s->linger_error);
    assert_int_equal(linger->l_linger, 0);
    s->armed = linger->l_onoff;
    note(s, s->armed ? 'L' : 'l');
    if (s->armed || !s->slot)
        return 0;
    /* Whoever takes the slot over must not reset what is being ended, nor end what is not whole. */
    if (s->slot->state != TRANSFER_DRAINING && !(s->fin && s->ended))
        fail_msg("disarmed in state %d, before the state was written", s->slot->state);
    if (s->queued != s->slot->end - s->slot->start && !s->restarted_at_end)
        fail_msg("disarmed with %jd bytes queued", (intmax_t)s->queued);
    return 0;
}

int __wrap_setsockopt(int fd, int level, int name, const void *value, socklen_t size)
{
    struct kernel_socket *s = find(fd);

    if (!s)
        return kernel.setsockopt_error ? give(kernel.setsockopt_error)
                                       : __real_setsockopt(fd, level, name, value, size);
    if (level == SOL_SOCKET && name == SO_LINGER) {
        assert_int_equal(size, sizeof(struct linger));
        assert_true(is_tcp(s)); /* on a UNIX socket it says yes, and does nothing */
        return set_linger(s, value);
    }
    if (level == SOL_SOCKET && name == SO_MAX_PACING_RATE) {
        assert_int_equal(size, sizeof(s->pace));
        s->pace = *(const unsigned long *)value;
        note(s, 'P');
        return give(s->pace_error);
    }
    assert_int_equal(level, IPPROTO_TCP);
    assert_true(is_tcp(s));
    assert_int_equal(size, sizeof(int));
    if (name == TCP_NODELAY) {
        s->no_delay = *(const int *)value;
        note(s, 'N');
        return give(s->nodelay_error);
    }
    assert_int_equal(name, TCP_NOTSENT_LOWAT);
    note(s, 'W');
    return give(s->lowat_error);
}

/* As struct tcp_info of <linux/tcp.h>: the state is the first byte, tcpi_bytes_acked the 120th. */
static int give_tcp_info(
    const struct kernel_socket *s, int name, void *value, const socklen_t *size)
{
    uint8_t *info = value;
    uint64_t acked = (uint64_t)s->acked;

    assert_int_equal(name, TCP_INFO);
    assert_true(*size >= 128 && *size <= 232);
    memset(info, 0, *size);
    info[0] = s->reset             ? TCP_CLOSE
              : s->fast_open       ? TCP_SYN_RECV
              : s->fin_acked       ? TCP_FIN_WAIT2
              : s->fin && s->ended ? TCP_LAST_ACK
              : s->fin             ? TCP_FIN_WAIT1
              : s->ended           ? TCP_CLOSE_WAIT
                                   : TCP_ESTABLISHED;
    memcpy(info + 120, &acked, sizeof(acked));
    memcpy(info + 144, &s->unsent, sizeof(s->unsent));
    return 0;
}

int __wrap_getsockopt(int fd, int level, int name, void *value, socklen_t *size)
{
    struct kernel_socket *s = find(fd);

    int *other = level != SOL_SOCKET   ? NULL
                 : name == SO_DOMAIN   ? &kernel.domain
                 : name == SO_PROTOCOL ? &kernel.protocol
                                       : NULL;

    if (!s && (!other || !*other))
        return __real_getsockopt(fd, level, name, value, size);
    if (!s) {
        *(int *)value = *other;
        return 0;
    }
    if (level == IPPROTO_TCP)
        return give_tcp_info(s, name, value, size);
    assert_int_equal(level, SOL_SOCKET);
    assert_int_equal(name, SO_ERROR);
    assert_int_equal(*size, sizeof(int));
    *(int *)value = take_error(s);
    return 0;
}

/* Weak: where whole hand-overs are tested, the test has one of its own. */
__attribute__((weak)) int __wrap_getpeername(int fd, struct sockaddr *address, socklen_t *size)
{
    const struct kernel_socket *s = find(fd);

    if (!s)
        return __real_getpeername(fd, address, size);
    return give(s->reset || s->unreachable ? ENOTCONN : 0);
}

int __wrap_shutdown(int fd, int how)
{
    struct kernel_socket *s = find(fd);

    if (!s)
        return __real_shutdown(fd, how);
    if (how == SHUT_RDWR) {
        assert_false(is_tcp(s));
        note(s, 'B');
        s->view = s->view == VIEW_OPEN ? VIEW_END : s->view;
        return 0;
    }
    assert_int_equal(how, SHUT_WR);
    if (s->armed)
        fail_msg(
            "the end is sent on an armed socket: a death now would be a reset of a whole file");
    if (s->slot && s->slot->state != TRANSFER_DRAINING)
        fail_msg("the end is sent in state %d, before the state was written", s->slot->state);
    if (s->slot && !s->restarted_at_end) {
        if (s->queued != s->slot->end - s->slot->start)
            fail_msg("the end after %jd bytes", (intmax_t)s->queued);
        if (kernel.file.stats == s->stats)
            fail_msg("the end without a look at the file since the last byte was queued");
        if (kernel.file.seen_changed && !s->allow_changes)
            fail_msg("the end on a file that was seen to have changed");
    }
    if (s->shutdown_error)
        return give(s->shutdown_error);
    if (s->reset && s->kind != SOCKET_UNIX)
        return give(ENOTCONN);
    note(s, 'F');
    s->fin = true;
    s->view = s->view == VIEW_OPEN ? VIEW_END : s->view;
    return 0;
}

ssize_t __wrap_recv(int fd, void *buffer, size_t size, int flags)
{
    struct kernel_socket *s = find(fd);

    if (!s)
        return __real_recv(fd, buffer, size, flags);
    if (!(flags & MSG_DONTWAIT)) /* whoever shares the description may have made it block */
        fail_msg("recv may block");
    if (s->recv_error) {
        int error = s->recv_error;
        s->recv_error = 0;
        return give(error);
    }
    if (s->input > 0) {
        off_t n = s->input < (off_t)size ? s->input : (off_t)size;
        s->input -= n;
        s->discarded += n;
        kernel.idle = 0;
        return n;
    }
    if (is_tcp(s) && s->ended) /* SOCK_DONE comes before the error */
        return 0;
    if (s->so_error)
        return give(take_error(s));
    return s->ended || s->reset ? 0 : give(EAGAIN);
}

int __wrap_connect(int fd, const struct sockaddr *address, socklen_t size)
{
    struct kernel_socket *s = find(fd);

    if (!s)
        return __real_connect(fd, address, size);
    assert_int_equal(address->sa_family, AF_UNSPEC);
    assert_true(is_tcp(s));
    if (!s->armed && !s->linger_error)
        fail_msg("reset by connect alone: if that fails, close would send the end");
    if (s->connect_error)
        return give(s->connect_error);
    note(s, 'X');
    s->reset = true;
    s->view = s->view == VIEW_OWN_RESET ? VIEW_OWN_RESET : VIEW_RESET;
    return 0;
}

int __wrap_close(int fd)
{
    struct kernel_socket *s = find(fd);

    if (!s)
        return __real_close(fd);
    note(s, 'C');
    s->open = false;
    if (s->reset || s->view == VIEW_OWN_RESET || kernel_calls(s, 'B'))
        return 0;
    if (is_tcp(s) && (s->armed || s->input > 0)) { /* tcp_close() */
        s->view = VIEW_RESET;
        return 0;
    }
    if (is_tcp(s) && s->fin && s->ended) { /* LAST_ACK: the kernel goes on without us */
        s->view = VIEW_END;
        return 0;
    }
    if (!s->fin)
        fail_msg("closed without the end and without a reset: the client sees a whole file");
    /* The end may still be on its way, and the kernel goes on with it: the bytes must be there. */
    if (is_tcp(s) && s->acked < s->queued)
        fail_msg("closed before the client has acknowledged every byte");
    return 0;
}

int __wrap_fstat64(int fd, struct stat *ret)
{
    if (fd != KERNEL_FILE && kernel.fstat_fails > 0 && --kernel.fstat_fails == 0)
        return give(EIO);
    if (fd != KERNEL_FILE)
        return __real_fstat64(fd, ret);
    if (kernel.file.error)
        return give(kernel.file.error);
    *ret = (struct stat){.st_mode = S_IFREG | 0644, .st_size = kernel.file.size};
    ret->st_mtim.tv_nsec = kernel.file.mtime;
    kernel.file.stats++;
    kernel.file.seen_changed = kernel.file.mtime != 0 || kernel.file.size != kernel.file.first_size;
    return 0;
}

int __wrap_poll(struct pollfd *polls, nfds_t n, int timeout)
{
    if (kernel.polls++ == 0)
        kernel.first_timeout = timeout;
    kernel.zero_timeouts += timeout == 0;
    for (size_t i = 0; i < KERNEL_SOCKETS; i++)
        kernel_turn(&kernel.sockets[i]); /* one turn for each client, then the others again */
    int ready =
        kernel_wait(polls, n, timeout < 0 ? CLOCK_NEVER : kernel.now + timeout * (int64_t)CLOCK_MS);
    if (kernel.poll_error) {
        int error = kernel.poll_error;
        kernel.poll_error = 0;
        return give(error); /* revents is then as it was before the call */
    }
    return ready;
}

int __wrap_clock_gettime(clockid_t clock, struct timespec *ret)
{
    if (!kernel.clock || clock != CLOCK_MONOTONIC)
        return __real_clock_gettime(clock, ret);
    ret->tv_sec = kernel.now / CLOCK_SECOND;
    ret->tv_nsec = kernel.now % CLOCK_SECOND;
    return 0;
}

void *__wrap_calloc(size_t n, size_t size)
{
    if (kernel.calloc_fails > 0 && --kernel.calloc_fails == 0) {
        errno = ENOMEM;
        return NULL;
    }
    return __real_calloc(n, size);
}

int __wrap_signalfd(int fd, const sigset_t *set, int flags)
{
    return kernel.signalfd_error ? give(kernel.signalfd_error) : __real_signalfd(fd, set, flags);
}

/*
 * The door to libsystemd, so that the tests need none: what sd_listen_fds(3) does with
 * unset_environment, step by step.
 */
int systemd_listen_fds(void);
int systemd_listen_fds(void)
{
    const char *pid = getenv("LISTEN_PID");
    const char *count = getenv("LISTEN_FDS");
    char *rest = NULL;
    long n = 0;
    int r = -kernel.listen_fds_error;

    if (r == 0 && pid && count && strtol(pid, NULL, 10) == getpid()) {
        errno = 0;
        n = strtol(count, &rest, 0);
        if (rest == count || *rest != '\0')
            r = -EINVAL;
        else if (errno != 0 || n != (int)n)
            r = -ERANGE;
        else if (n <= 0 || n > INT32_MAX - 3)
            r = -EINVAL;
        for (int fd = 3; r == 0 && fd < 3 + (int)n; fd++)
            if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
                r = -errno;
    }
    (void)unsetenv("LISTEN_PID");
    (void)unsetenv("LISTEN_FDS");
    (void)unsetenv("LISTEN_FDNAMES");
    return r < 0 ? r : (int)n;
}

void suite_add(
    struct suite *suite, CMUnitTestFunction run, const void *data, const char *format, ...)
{
    struct CMUnitTest *test = &suite->tests[suite->n++];
    va_list arguments;
    char *name;

    if (suite->n > LENGTH(suite->tests))
        abort();
    va_start(arguments, format);
    if (vasprintf(&name, format, arguments) < 0)
        abort();
    va_end(arguments);
    *test = (struct CMUnitTest){name, run, NULL, NULL, (void *)data};
}

int suite_run(struct suite *suite, const char *name)
{
    (void)alarm(300); /* what hangs fails, and does not hang those who wait for it */
    int failed = _cmocka_run_group_tests(name, suite->tests, suite->n, NULL, NULL);

    for (size_t i = 0; i < suite->n; i++)
        free((void *)suite->tests[i].name);
    suite->n = 0;
    return failed;
}
