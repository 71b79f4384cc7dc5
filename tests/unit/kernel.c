/* SPDX-License-Identifier: MIT */

/*
 * The answers are Linux's: sendfile(2) advances the offset by what it returns; SIOCOUTQ is what was
 * queued less what was acknowledged, plus one for the end of stream (TCP), or memory (UNIX); an
 * error waits in the socket and is told once; after a reset, the first call says ECONNRESET, the
 * next EPIPE. Where the fake was kinder than that, broken programs passed.
 */

#include "kernel.h"

#include "peer.h"
#include "store.h"
#include "systemd/sd-daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
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
REAL ssize_t __real_preadv64v2(int fd, const struct iovec *to, int n, off_t offset, int flags);
REAL int __real_posix_fadvise64(int fd, off_t offset, off_t length, int advice);
REAL ssize_t __real_send(int fd, const void *buffer, size_t size, int flags);
REAL ssize_t __real_sendmsg(int fd, const struct msghdr *message, int flags);
REAL int __real_pipe2(int *ends, int flags);
REAL int __real_memfd_create(const char *name, unsigned flags);
REAL int __real_accept4(int fd, struct sockaddr *address, socklen_t *size, int flags);

static struct kernel_socket *find(int fd)
{
    if (fd < KERNEL_SOCKET || fd >= KERNEL_SOCKET + KERNEL_SOCKETS)
        return NULL;
    struct kernel_socket *s = kernel.fds[fd - KERNEL_SOCKET];
    if (!s)
        fail_msg("descriptor %d is used after it was closed, or before it was there", fd);
    return s;
}

static struct kernel_listener *find_listener(int fd)
{
    if (fd < KERNEL_LISTENER || fd >= KERNEL_LISTENER + KERNEL_LISTENERS)
        return NULL;
    struct kernel_listener *l = &kernel.listeners[fd - KERNEL_LISTENER];
    if (!l->open)
        fail_msg("descriptor %d is no listener, or no longer", fd);
    return l;
}

static bool is_tcp(const struct kernel_socket *s)
{
    return s->kind == SOCKET_TCP || s->kind == SOCKET_MPTCP;
}

/* Both ends were sent, and ours was acknowledged: TIME_WAIT, of which the socket knows nothing. */
static bool is_over(const struct kernel_socket *s)
{
    return is_tcp(s) && s->fin_acked && s->ended;
}

/* Each of the process's own calls begins with it. */
static void enter(void)
{
    if (!kernel.waiting && kernel.kill_in > 0 && --kernel.kill_in == 0)
        longjmp(kernel.killed, 1);
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

/* What a test leaves behind is not the next one's. */
static void forget_manager(void)
{
    int (*really_close)(int) = __real_close ? __real_close : close;
    struct kernel_manager *m = &kernel.manager;

    for (size_t i = 0; i < m->n_kept; i++)
        if (m->kept[i].real >= 0)
            (void)really_close(m->kept[i].real);
    for (; m->n_read < m->n_messages; m->n_read++)
        for (int i = 0; i < m->messages[m->n_read].n_fds; i++)
            if (m->messages[m->n_read].fds[i].real >= 0)
                (void)really_close(m->messages[m->n_read].fds[i].real);
}

void kernel_reset(struct source *source, off_t size)
{
    forget_manager();
    memset(&kernel, 0, sizeof(kernel));
    kernel.now = 1000 * CLOCK_SECOND;
    kernel.file.size = size;
    kernel.file.first_size = size;
    *source = (struct source){.fd = KERNEL_FILE, .name = "FILE", .size = size, .end = size};
}

/* The lowest that is free, as everywhere. */
static void give_fd(struct kernel_socket *s)
{
    int i = 0;

    while (kernel.fds[i])
        i++;
    kernel.fds[i] = s;
    s->fd = KERNEL_SOCKET + i;
    s->open = true;
}

static struct kernel_socket *new_socket(enum socket_kind kind)
{
    struct kernel_socket *s = &kernel.sockets[kernel.n_sockets++];

    assert_true(kernel.n_sockets <= KERNEL_SOCKETS);
    *s = (struct kernel_socket){.kind = kind, .fd = -1, .room = INT64_MAX};
    return s;
}

struct kernel_socket *kernel_connect(enum socket_kind kind, const struct transfer_slot *slot)
{
    struct kernel_socket *s = new_socket(kind);

    s->slot = slot;
    s->connected = true;
    s->armed = kind == SOCKET_TCP || kind == SOCKET_MPTCP;
    give_fd(s);
    return s;
}

struct kernel_socket *kernel_expect(int listener)
{
    struct kernel_socket *s = new_socket(kernel.listeners[listener].kind);

    s->listener = listener;
    s->source = INADDR_LOOPBACK;
    return s;
}

int kernel_listen(int number, enum socket_kind kind)
{
    kernel.listeners[number] = (struct kernel_listener){.kind = kind, .open = true};
    return KERNEL_LISTENER + number;
}

int kernel_fd(const struct kernel_socket *s)
{
    return s->fd;
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

static void arrive(struct kernel_socket *s)
{
    struct kernel_listener *l = &kernel.listeners[s->listener];

    assert_false(s->connected);
    s->connected = true;
    if (l->shut) { /* the port says RST, tcp(7) */
        s->view = VIEW_RESET;
        return;
    }
    l->queue[(l->first + l->n++) % KERNEL_SOCKETS] = (int)(s - kernel.sockets);
}

/* inet_csk_listen_stop() resets those who wait. In the queue of a UNIX socket they stay. */
static void shut(struct kernel_listener *l)
{
    l->shut = true;
    for (; l->n > 0 && l->kind != SOCKET_UNIX; l->n--) {
        kernel.sockets[l->queue[l->first]].view = VIEW_RESET;
        l->first = (l->first + 1) % KERNEL_SOCKETS;
    }
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
    case EVENT_INPUT: /* after its end, a client has nothing more to say */
        s->input += s->ended || s->reset ? 0 : value;
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
    case EVENT_ARRIVES:
        arrive(s);
        break;
    case EVENT_ACCEPT:
        for (int i = 0; i < KERNEL_LISTENERS; i++)
            kernel.listeners[i].error = (int)value;
        break;
    case EVENT_SHUTS:
        shut(&kernel.listeners[s - kernel.sockets]);
        break;
    case EVENT_TEST:
        kernel.hook(value, s);
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

/* The kernel goes on with what was ended, whether anybody has a descriptor of it or not. */
static bool is_alive(const struct kernel_socket *s)
{
    return (s->open || s->duplicates > 0 || s->fin) && !s->reset && s->view != VIEW_RESET;
}

/* A millisecond has gone by: the clients have read. */
static void let_read(void)
{
    for (int i = 0; i < kernel.n_sockets; i++) {
        struct kernel_socket *s = &kernel.sockets[i];
        if (is_alive(s) && s->reads > 0)
            acknowledge(s, s->reads);
    }
}

static bool somebody_reads(void)
{
    for (int i = 0; i < kernel.n_sockets; i++) {
        const struct kernel_socket *s = &kernel.sockets[i];
        if (is_alive(s) && s->reads > 0 && (s->acked < s->queued || s->fin > s->fin_acked))
            return true;
    }
    return false;
}

static void happen(void)
{
    const struct kernel_event *e = kernel.events++;

    kernel_do(e->kind, &kernel.sockets[e->socket], e->value);
}

/* Waits until something is ready, as look() says, or the instant has come. */
static int wait_until(int (*look)(void *of), void *of, int64_t until)
{
    /* Readiness that nobody does anything about is a processor at 100 %. */
    if (++kernel.idle > 1000)
        fail_msg("it spins: ready a thousand times, and neither a byte nor the clock has moved");
    kernel.waiting = true;
    for (;;) {
        while (
            kernel.events && kernel.events->kind != EVENT_NONE && kernel.events->at <= kernel.now)
            happen();
        kernel_manage();
        int ready = look(of);
        if (ready > 0 || kernel.poll_error || kernel.now >= until) {
            kernel.waiting = false;
            return ready;
        }
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

static bool takes_messages(void);

struct polled {
    struct pollfd *polls;
    size_t n;
};

static int look_at_polls(void *of)
{
    const struct polled *polled = of;
    int ready = 0;

    for (size_t i = 0; i < polled->n; i++) {
        struct pollfd *p = &polled->polls[i];
        p->revents = 0;
        if (p->fd == KERNEL_NOTIFY)
            p->revents = takes_messages() ? p->events & POLLOUT : 0;
        else if (p->fd >= KERNEL_SOCKET)
            p->revents = kernel_revents(find(p->fd), p->events);
        else if (p->fd >= 0)
            (void)__real_poll(p, 1, 0);
        ready += p->revents != 0;
    }
    return ready;
}

int kernel_wait(struct pollfd *polls, size_t n, int64_t until)
{
    return wait_until(look_at_polls, &(struct polled){polls, n}, until);
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

/* O_NONBLOCK is no word for disks: sendfile(2) waits for the page, or learns that it will not come.
 */
static off_t read_from_disk(off_t offset, off_t bytes)
{
    if (!kernel.file.on_disk || bytes <= 0 || offset + bytes <= kernel.file.cached)
        return bytes;
    if (kernel.file.seek == CLOCK_NEVER) /* what lies before it goes out all the same */
        return offset < kernel.file.cached ? kernel.file.cached - offset : -EIO;
    int64_t comes = kernel.now + kernel.file.seek;
    for (size_t i = 0; i < kernel.file.n_reads; i++) /* it may be on its way already */
        if (kernel.file.reads[i].to >= offset + bytes && kernel.file.reads[i].comes < comes)
            comes = kernel.file.reads[i].comes;
    if (comes > kernel.now)
        kernel.now = comes;
    kernel.file.cached = offset + bytes;
    return bytes;
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

/* Where files are real, only what happens to their size is of interest. */
static void learn_file(int fd)
{
    struct stat status;

    if (fd == KERNEL_FILE)
        return;
    assert_int_equal(__real_fstat64(fd, &status), 0);
    kernel.file.size = status.st_size;
}

ssize_t __wrap_sendfile64(int out, int in, off_t *offset, size_t count)
{
    struct kernel_socket *s = find(out);
    off_t n;

    enter();
    if (!s)
        return __real_sendfile64(out, in, offset, count);
    s->sends++;
    kernel.now += kernel.send_cost;
    learn_file(in);
    if (!s->slot) /* single.c makes it: whose the offset is */
        s->slot = (const struct transfer_slot *)((const char *)offset -
                                                 offsetof(struct transfer_slot, offset));
    s->promised = s->slot->end - s->slot->start;
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
    n = read_from_disk(*offset, n);
    if (n < 0)
        return give((int)-n);
    s->queued += n;
    if (n > 0 && kernel.kill_inside > 0 && --kernel.kill_inside == 0)
        longjmp(kernel.killed, 1); /* SIGKILL, and the page of the offset is on the disk */
    *offset += n;
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

    enter();
    if (!s)
        return __real_ioctl(fd, request, ret);
    assert_int_equal(request, TIOCOUTQ);
    if (s->outq_error)
        return give(s->outq_error);
    if (s->busy_looks > 0) {
        s->busy_looks--;
        acknowledge(s, 1);
    }
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

/* Asked of a listener: what those that it accepts will have. */
static int set_for_all(struct kernel_listener *l, int name, const void *value, socklen_t size)
{
    assert_int_equal(name, SO_MAX_PACING_RATE);
    assert_int_equal(size, sizeof(l->pace));
    l->pace = *(const unsigned long *)value;
    return give(l->pace_error);
}

int __wrap_setsockopt(int fd, int level, int name, const void *value, socklen_t size)
{
    struct kernel_listener *l = find_listener(fd);
    struct kernel_socket *s = find(fd);

    enter();
    if (l)
        return set_for_all(l, name, value, size);
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
    uint64_t acked = (uint64_t)(s->acked + s->more_acked) + s->fin_acked; /* a byte as well */

    assert_int_equal(name, TCP_INFO);
    assert_true(*size >= 128 && *size <= 232);
    memset(info, 0, *size);
    info[0] = s->reset || is_over(s) ? TCP_CLOSE
              : s->fast_open         ? TCP_SYN_RECV
              : s->fin_acked         ? TCP_FIN_WAIT2
              : s->fin && s->ended   ? TCP_LAST_ACK
              : s->fin               ? TCP_FIN_WAIT1
              : s->ended             ? TCP_CLOSE_WAIT
                                     : TCP_ESTABLISHED;
    memcpy(info + 120, &acked, sizeof(acked));
    memcpy(info + 144, &s->unsent, sizeof(s->unsent));
    return 0;
}

int __wrap_getsockopt(int fd, int level, int name, void *value, socklen_t *size)
{
    struct kernel_socket *s = find(fd);

    enter();
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
    if (name == SO_COOKIE) {
        assert_int_equal(*size, sizeof(uint64_t));
        *(uint64_t *)value = UINT64_C(0x1234500000001) + (uint64_t)(s - kernel.sockets);
        return 0;
    }
    if (name == SO_PEERCRED) {
        assert_int_equal(*size, sizeof(struct ucred));
        *(struct ucred *)value = (struct ucred){.pid = 4711, .uid = s->source};
        return 0;
    }
    assert_int_equal(name, SO_ERROR);
    assert_int_equal(*size, sizeof(int));
    *(int *)value = take_error(s);
    return 0;
}

/* Weak: where whole hand-overs are tested, the test has one of its own. */
__attribute__((weak)) int __wrap_getpeername(int fd, struct sockaddr *address, socklen_t *size)
{
    const struct kernel_socket *s = find(fd);

    enter();
    if (!s)
        return __real_getpeername(fd, address, size);
    return give(s->reset || is_over(s) || s->unreachable ? ENOTCONN : 0);
}

int __wrap_shutdown(int fd, int how)
{
    struct kernel_socket *s = find(fd);

    enter();
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
    if (!s->slot && s->sends > 0 && s->queued != s->promised)
        fail_msg("the end, of another process's transfer, after %jd bytes", (intmax_t)s->queued);
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
    if (is_over(s) || (s->reset && s->kind != SOCKET_UNIX))
        return give(ENOTCONN);
    note(s, 'F');
    s->fin = true;
    s->view = s->view == VIEW_OPEN ? VIEW_END : s->view;
    return 0;
}

ssize_t __wrap_recv(int fd, void *buffer, size_t size, int flags)
{
    struct kernel_socket *s = find(fd);

    enter();
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

    enter();
    if (!s)
        return __real_connect(fd, address, size);
    assert_int_equal(address->sa_family, AF_UNSPEC);
    assert_int_equal(size, sizeof(address->sa_family)); /* all that the sandbox lets pass */
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

static bool is_epoll(int fd)
{
    return fd >= KERNEL_EPOLL && fd < KERNEL_EPOLL + KERNEL_EPOLLS &&
           kernel.epolls[fd - KERNEL_EPOLL];
}

static void remove_watch(size_t i)
{
    kernel.watches[i] = kernel.watches[--kernel.n_watches];
}

/* Of descriptors that nobody else has. */
static void unwatch(int fd)
{
    for (size_t i = 0; i < kernel.n_watches; i++)
        if (kernel.watches[i].fd == fd && !kernel.watches[i].socket)
            remove_watch(i--);
}

/* Nobody has it any more: what its client sees if nothing else was done. */
static void end_socket(struct kernel_socket *s)
{
    for (size_t i = 0; i < kernel.n_watches; i++)
        if (kernel.watches[i].socket == s)
            remove_watch(i--);
    if (s->reset || s->view == VIEW_OWN_RESET || kernel_calls(s, 'B'))
        return;
    if (is_tcp(s) && (s->armed || s->input > 0)) /* tcp_close() */
        s->view = VIEW_RESET;
    else if (s->view == VIEW_OPEN) {
        s->fin = true;
        s->view = VIEW_END;
    }
}

static void forget_slot(struct kernel_socket *s)
{
    s->restarted_at_end = s->slot && s->slot->state == TRANSFER_DRAINING;
    s->slot = NULL;
}

/* A transfer that is over is over for its client, whoever else has a duplicate. */
static void check_close(const struct kernel_socket *s)
{
    if (s->reset || s->view == VIEW_OWN_RESET || kernel_calls(s, 'B'))
        return;
    if (is_tcp(s) && (s->armed || s->input > 0)) {
        if (s->duplicates > 0)
            fail_msg("closed as if that were a reset, and the manager has a duplicate");
        return;
    }
    if (is_tcp(s) && s->fin && s->ended) /* LAST_ACK: the kernel goes on without us */
        return;
    if (!s->fin)
        fail_msg("closed without the end and without a reset: the client sees a whole file");
    /* The end may still be on its way, and the kernel goes on with it: the bytes must be there. */
    if (is_tcp(s) && s->acked < s->queued)
        fail_msg("closed before the client has acknowledged every byte");
}

int __wrap_close(int fd)
{
    struct kernel_socket *s = find(fd);

    enter();
    if (is_epoll(fd)) {
        for (size_t i = 0; i < kernel.n_watches; i++)
            if (kernel.watches[i].epoll == fd)
                remove_watch(i--);
        unwatch(fd);
        kernel.epolls[fd - KERNEL_EPOLL] = false;
        return 0;
    }
    unwatch(fd); /* of real ones, the signals */
    if (!s)
        return __real_close(fd);
    note(s, 'C');
    s->open = false;
    s->closed = kernel.now;
    kernel.fds[fd - KERNEL_SOCKET] = NULL;
    if (s->duplicates == 0 || (s->slot && s->slot->state >= TRANSFER_DONE))
        check_close(s);
    if (s->duplicates == 0)
        end_socket(s);
    else /* it may be another process's next */
        forget_slot(s);
    return 0;
}

int __wrap_fstat64(int fd, struct stat *ret)
{
    enter();
    if (fd != KERNEL_FILE && kernel.fstat_fails > 0 && --kernel.fstat_fails == 0)
        return give(EIO);
    if (fd != KERNEL_FILE) {
        kernel.file.stats++;
        return __real_fstat64(fd, ret);
    }
    if (kernel.file.error)
        return give(kernel.file.error);
    *ret = (struct stat){.st_mode = S_IFREG | 0644, .st_size = kernel.file.size};
    ret->st_mtim.tv_nsec = kernel.file.mtime;
    kernel.file.stats++;
    kernel.file.seen_changed = kernel.file.mtime != 0 || kernel.file.size != kernel.file.first_size;
    return 0;
}

/* One turn for each client, then the others again. */
static void begin_turns(void)
{
    for (int i = 0; i < kernel.n_sockets; i++)
        kernel_turn(&kernel.sockets[i]);
}

int __wrap_poll(struct pollfd *polls, nfds_t n, int timeout)
{
    enter();
    if (n == 1 && timeout == 0) /* a look, not a wait */
        return look_at_polls(&(struct polled){polls, 1});
    if (kernel.polls++ == 0)
        kernel.first_timeout = timeout;
    kernel.zero_timeouts += timeout == 0;
    begin_turns();
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
    enter();
    return kernel.signalfd_error ? give(kernel.signalfd_error) : __real_signalfd(fd, set, flags);
}

/* ---- the page cache ---- */

/* What the disk has read by now. */
static void bring(void)
{
    size_t n = 0;

    for (size_t i = 0; i < kernel.file.n_reads; i++) {
        struct kernel_read *r = &kernel.file.reads[i];
        if (r->comes > kernel.now)
            kernel.file.reads[n++] = *r;
        else if (r->to > kernel.file.cached)
            kernel.file.cached = r->to;
    }
    kernel.file.n_reads = n;
}

/* RWF_NOWAIT: what is in memory, or EAGAIN. The end of the file is known without the disk. */
ssize_t __wrap_preadv64v2(int fd, const struct iovec *to, int n, off_t offset, int flags)
{
    enter();
    if (fd != KERNEL_FILE && !kernel.clock) /* else real time would be told from real disks */
        return __real_preadv64v2(fd, to, n, offset, flags);
    learn_file(fd);
    assert_int_equal(flags, RWF_NOWAIT);
    assert_int_equal(n, 1);
    assert_int_equal(to->iov_len, 1);
    assert_true(offset >= 0);
    kernel.file.looks++;
    if (kernel.file.ready_error)
        return give(kernel.file.ready_error);
    bring();
    if (offset >= kernel.file.size)
        return 0;
    if (kernel.file.on_disk && offset >= kernel.file.cached)
        return give(EAGAIN);
    return 1;
}

/* Returns the error, and leaves errno alone, posix_fadvise(2). */
int __wrap_posix_fadvise64(int fd, off_t offset, off_t length, int advice)
{
    enter();
    if (fd != KERNEL_FILE && !kernel.clock)
        return __real_posix_fadvise64(fd, offset, length, advice);
    assert_int_equal(advice, POSIX_FADV_WILLNEED);
    assert_true(length > 0); /* 0 would be: all of it */
    if (kernel.file.advices++ == 0 || offset < kernel.file.advised_from)
        kernel.file.advised_from = offset;
    if (offset + length > kernel.file.advised_to)
        kernel.file.advised_to = offset + length;
    kernel.file.advised += length;
    if (kernel.file.fadvise_error)
        return kernel.file.fadvise_error;
    for (size_t i = 0; i < kernel.file.n_reads; i++)
        if (kernel.file.reads[i].to >= offset + length)
            return 0; /* it is on its way */
    assert_true(kernel.file.n_reads < LENGTH(kernel.file.reads));
    kernel.file.reads[kernel.file.n_reads++] = (struct kernel_read){offset + length,
        kernel.file.seek == CLOCK_NEVER ? CLOCK_NEVER : kernel.now + kernel.file.seek};
    return 0;
}

/* ---- accept4(2) and epoll(7) ---- */

static void give_address(const struct kernel_socket *s, struct sockaddr *address, socklen_t *size)
{
    const struct sockaddr_in in = {.sin_family = AF_INET,
        .sin_port = htons((uint16_t)(1 + s - kernel.sockets)),
        .sin_addr.s_addr = htonl(s->source)};
    const struct sockaddr none = {.sa_family = AF_UNIX};
    const struct peer_vsock_address vsock = {
        .family = AF_VSOCK, .port = (uint32_t)(s - kernel.sockets), .cid = s->source};

    if (s->kind == SOCKET_VSOCK) {
        assert_true(*size >= sizeof(vsock));
        memcpy(address, &vsock, sizeof(vsock));
        *size = sizeof(vsock);
        return;
    }
    if (s->kind == SOCKET_UNIX) {
        assert_true(*size >= sizeof(none.sa_family));
        memcpy(address, &none, sizeof(none.sa_family));
        *size = sizeof(none.sa_family);
        return;
    }
    assert_true(*size >= sizeof(in));
    memcpy(address, &in, sizeof(in));
    *size = sizeof(in);
}

/*
 * A client that was reset in the queue has no name any more, and inet_accept() says ECONNABORTED;
 * one of a UNIX socket comes all the same. What has run out (EMFILE ...) is asked for before the
 * queue is looked at.
 */
int __wrap_accept4(int fd, struct sockaddr *address, socklen_t *size, int flags)
{
    struct kernel_listener *l = find_listener(fd);

    enter();
    if (!l)
        return __real_accept4(fd, address, size, flags);
    assert_int_equal(flags, SOCK_NONBLOCK | SOCK_CLOEXEC);
    l->accepts++;
    if (l->error)
        return give(l->error);
    if (l->shut && l->kind != SOCKET_UNIX)
        return give(EINVAL);
    if (l->n == 0) /* unix_accept() says so also after a shutdown(2), of what does not block */
        return give(EAGAIN);
    struct kernel_socket *s = &kernel.sockets[l->queue[l->first]];
    l->first = (l->first + 1) % KERNEL_SOCKETS;
    l->n--;
    kernel.idle = 0;
    if (l->losses && *l->losses) {
        s->view = VIEW_RESET;
        return give(*l->losses++);
    }
    if (s->reset && is_tcp(s))
        return give(ECONNABORTED);
    give_fd(s);
    s->accepted = kernel.now;
    s->armed = l->armed;
    s->pace = l->pace;
    give_address(s, address, size);
    return s->fd;
}

int __wrap_epoll_create1(int flags)
{
    int i = 0;

    enter();
    assert_int_equal(flags, EPOLL_CLOEXEC);
    if (kernel.epoll_create_fails > 0 && --kernel.epoll_create_fails == 0)
        return give(kernel.epoll_create_error);
    while (i < KERNEL_EPOLLS && kernel.epolls[i])
        i++;
    assert_true(i < KERNEL_EPOLLS);
    kernel.epolls[i] = true;
    return KERNEL_EPOLL + i;
}

/* EEXIST of an ADD and ENOENT of the rest are mistakes, but of a listener that was given up, and of
 * a client that is told to be gone whether it was watched or not. */
int __wrap_epoll_ctl(int epoll, int deed, int fd, struct epoll_event *event)
{
    struct kernel_watch *watch = NULL;

    enter();
    assert_true(is_epoll(epoll));
    const struct kernel_socket *s = find(fd); /* EBADF fails the test */
    const struct kernel_listener *l = find_listener(fd);
    for (size_t i = 0; i < kernel.n_watches; i++)
        if (kernel.watches[i].fd == fd && kernel.watches[i].epoll == epoll &&
            kernel.watches[i].socket == s)
            watch = &kernel.watches[i];
    if (deed == EPOLL_CTL_ADD && watch)
        fail_msg("descriptor %d is watched already", fd);
    if (deed == EPOLL_CTL_MOD && !watch && s)
        fail_msg("descriptor %d is not watched", fd);
    if (deed != EPOLL_CTL_DEL && s)
        assert_true(event->events != 0); /* EPOLLHUP would never cease */
    if (deed == EPOLL_CTL_ADD && kernel.epoll_ctl_fails > 0 && --kernel.epoll_ctl_fails == 0)
        return give(kernel.epoll_ctl_error); /* only to add takes memory, or a watch */
    if (deed != EPOLL_CTL_ADD && !watch) {
        assert_true(s || (l && (l->shut || l->error))); /* which is why nobody watches it */
        return give(ENOENT);
    }
    if (deed == EPOLL_CTL_DEL) {
        *watch = kernel.watches[--kernel.n_watches];
        return 0;
    }
    if (!watch)
        watch = &kernel.watches[kernel.n_watches++];
    assert_true(kernel.n_watches <= LENGTH(kernel.watches));
    *watch = (struct kernel_watch){epoll, fd, s, event->events, event->data.u64};
    return 0;
}

/*
 * Level-triggered. A listener that was shut down is hung up, and is told so whatever is watched
 * for; one of UNIX is readable as well, whether anybody waits or not.
 */
static uint32_t ready_events(const struct kernel_watch *watch)
{
    const struct kernel_listener *l = find_listener(watch->fd);

    if (l) {
        bool readable = l->n > 0 || (l->shut && l->kind == SOCKET_UNIX);
        return (readable ? watch->events & EPOLLIN : 0) | (l->shut ? EPOLLHUP : 0);
    }
    if (is_epoll(watch->fd))
        return kernel_is_ready(watch->fd) ? watch->events & EPOLLIN : 0;
    if (watch->fd == KERNEL_NOTIFY)
        return takes_messages() ? watch->events & EPOLLOUT : 0;
    if (watch->socket) {
        if (!watch->socket->open)
            fail_msg("a client is watched that was closed, as the manager has a duplicate");
        return (uint32_t)kernel_revents(watch->socket, (short)watch->events);
    }
    struct pollfd p = {.fd = watch->fd, .events = (short)watch->events};
    (void)__real_poll(&p, 1, 0);
    return (uint32_t)p.revents;
}

bool kernel_is_ready(int epoll)
{
    for (size_t i = 0; i < kernel.n_watches; i++)
        if (kernel.watches[i].epoll == epoll && ready_events(&kernel.watches[i]))
            return true;
    return false;
}

struct waited {
    int epoll;
    struct epoll_event *events;
    int most;
};

/* Each time from another one on: the order is nobody's promise. */
static int look_at_watches(void *of)
{
    const struct waited *waited = of;
    int n = 0;

    for (size_t i = 0; i < kernel.n_watches && n < waited->most; i++) {
        const struct kernel_watch *watch = &kernel.watches[(kernel.turn + i) % kernel.n_watches];
        uint32_t ready = watch->epoll == waited->epoll ? ready_events(watch) : 0;
        if (ready)
            waited->events[n++] = (struct epoll_event){.events = ready, .data.u64 = watch->data};
    }
    return n;
}

int __wrap_epoll_wait(int epoll, struct epoll_event *events, int most, int timeout)
{
    enter();
    assert_true(is_epoll(epoll));
    assert_true(most > 0);
    kernel.epoll_most = most;
    if (kernel.polls++ == 0)
        kernel.first_timeout = timeout;
    kernel.turn += 7;
    begin_turns();
    int ready = wait_until(look_at_watches, &(struct waited){epoll, events, most},
        timeout < 0 ? CLOCK_NEVER : kernel.now + timeout * (int64_t)CLOCK_MS);
    if (kernel.poll_error) {
        int error = kernel.poll_error;
        kernel.poll_error = 0;
        return give(error);
    }
    kernel.epoll_max = ready > kernel.epoll_max ? ready : kernel.epoll_max;
    return ready;
}

/* ---- the manager ---- */

static bool takes_messages(void)
{
    const struct kernel_manager *m = &kernel.manager;

    return !(m->error == EAGAIN && m->fails == 0) &&
           (m->room == 0 || m->n_messages - m->n_read < m->room);
}

static void drop(struct kernel_kept *kept)
{
    struct kernel_socket *s = kept->socket;

    if (!s)
        assert_int_equal(__real_close(kept->real), 0);
    else if (--s->duplicates == 0 && !s->open)
        end_socket(s);
}

static void drop_name(const char *name)
{
    struct kernel_manager *m = &kernel.manager;
    size_t n = 0;

    for (size_t i = 0; i < m->n_kept; i++)
        if (name && strcmp(m->kept[i].name, name) != 0)
            m->kept[n++] = m->kept[i];
        else
            drop(&m->kept[i]);
    m->n_kept = n;
}

void kernel_drop_all(void)
{
    drop_name(NULL);
}

int kernel_kept(const char *name, size_t *number)
{
    int n = 0;

    for (size_t i = 0; i < kernel.manager.n_kept; i++)
        if (strcmp(kernel.manager.kept[i].name, name) == 0) {
            n++;
            if (number)
                *number = i;
        }
    return n;
}

void kernel_format_messages(char *text, size_t size)
{
    size_t n = 0;

    text[0] = '\0';
    for (size_t i = 0; i < kernel.manager.n_messages; i++) {
        const struct kernel_message *message = &kernel.manager.messages[i];
        const char *name = strstr(message->text, "FDNAME=");
        const char *sign = strstr(message->text, "FDSTOREREMOVE=1") ? "-"
                           : strstr(message->text, "FDSTORE=1")     ? "+"
                                                                    : "";
        if (!name && message->n_fds == 0)
            continue;
        n += (size_t)snprintf(text + n, size - n, "%s%s%s%s", n > 0 ? " " : "", sign,
            name ? name + 7 : message->text, message->n_fds == 2 ? "*2" : "");
        assert_true(n < size);
    }
}

/* service_add_fd_store_set() */
static void keep(struct kernel_message *message, const char *name)
{
    struct kernel_manager *m = &kernel.manager;

    for (int i = 0; i < message->n_fds; i++) {
        struct kernel_kept *kept = &message->fds[i];
        for (size_t j = 0; j < m->n_kept; j++)
            if (kept->socket && strcmp(m->kept[j].name, name) == 0)
                fail_msg("two sockets are kept as %s", name);
        if (m->n_kept >= m->most) {
            drop(kept);
            continue;
        }
        (void)snprintf(kept->name, sizeof(kept->name), "%s", name);
        assert_true(m->n_kept < LENGTH(m->kept));
        m->kept[m->n_kept++] = *kept;
    }
}

/* The words of systemd(1): what it knows, it understands to the letter. */
static void take_message(struct kernel_message *message)
{
    char text[sizeof(message->text)];
    const char *name = NULL;
    bool stores = false, removes = false, unpolled = false, barrier = false;
    int lines = 0;

    (void)snprintf(text, sizeof(text), "%s", message->text);
    for (char *rest = text, *line; (line = strsep(&rest, "\n")); lines++) {
        stores |= strcmp(line, "FDSTORE=1") == 0;
        removes |= strcmp(line, "FDSTOREREMOVE=1") == 0;
        unpolled |= strcmp(line, "FDPOLL=0") == 0;
        barrier |= strcmp(line, "BARRIER=1") == 0;
        if (strncmp(line, "FDNAME=", 7) == 0)
            name = line + 7;
    }
    if (barrier) { /* alone, sd_notify_barrier(3) */
        assert_int_equal(lines, 1);
        assert_int_equal(message->n_fds, 1);
        drop(&message->fds[0]);
    } else if (stores) {
        if (!unpolled)
            fail_msg("a socket that hangs up would be dropped: %s", message->text);
        assert_non_null(name);
        assert_true(message->n_fds > 0);
        keep(message, name);
    } else {
        assert_int_equal(message->n_fds, 0);
    }
    if (removes) {
        assert_non_null(name);
        drop_name(name);
    }
}

void kernel_manage(void)
{
    struct kernel_manager *m = &kernel.manager;

    while (!m->stopped && m->n_read < m->n_messages)
        take_message(&m->messages[m->n_read++]);
}

static int inherit(const struct kernel_kept *kept)
{
    if (!kept->socket)
        return fcntl(kept->real, F_DUPFD_CLOEXEC, 3);
    if (!kept->socket->open)
        give_fd(kept->socket);
    return kept->socket->fd;
}

void kernel_hand_over(struct stored *stored)
{
    const struct kernel_manager *m = &kernel.manager;

    *stored = (struct stored){.table = -1,
        .witness = -1,
        .n = (uint32_t)m->n_kept,
        .room = UINT32_MAX,
        .comes_back = true};
    stored->sockets = calloc(m->n_kept + 1, sizeof(*stored->sockets));
    stored->files = calloc(m->n_kept + 1, sizeof(*stored->files));
    for (size_t i = 0; i < m->n_kept; i++) {
        uint32_t number = 0;
        enum store_kind kind = store_read_name(m->kept[i].name, &number);
        int fd = inherit(&m->kept[i]);
        stored->names += (uint32_t)strlen(m->kept[i].name) + 1;
        if (kind == STORE_TABLE && stored->n_tables++ == 0) {
            stored->table = fd;
        } else if (kind == STORE_FILE) {
            stored->files[stored->n_files++] = (struct stored_file){fd, number};
            if (number > stored->last_generation)
                stored->last_generation = number;
        } else if (kind == STORE_SOCKET) {
            assert_non_null(m->kept[i].socket);
            stored->sockets[stored->n_sockets++] =
                (struct stored_socket){fd, number, m->kept[i].socket->kind};
        } else if (kind == STORE_WITNESS && (fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDONLY &&
                   stored->witness < 0) {
            stored->witness = fd;
        } else {
            (void)close(fd);
        }
    }
}

void kernel_take_back(struct stored *stored)
{
    for (size_t i = 0; i < stored->n_files; i++)
        (void)close(stored->files[i].fd);
    for (size_t i = 0; i < stored->n_sockets; i++)
        (void)close(stored->sockets[i].fd);
    if (stored->table >= 0)
        (void)close(stored->table);
    if (stored->witness >= 0)
        (void)close(stored->witness);
    free(stored->sockets);
    free(stored->files);
    *stored = (struct stored){.table = -1, .witness = -1};
}

static int look_at_nothing(void *of)
{
    (void)of;
    return 0;
}

void kernel_pass(int64_t span)
{
    kernel.idle = 0;
    (void)wait_until(look_at_nothing, NULL, kernel.now + span);
}

/* exit(2), without a word of the process: also with unread input, and with what it has not sent. */
void kernel_bury(void)
{
    kernel.kill_in = kernel.kill_inside = 0;
    kernel.waiting = false;
    for (int i = 0; i < KERNEL_SOCKETS; i++) {
        struct kernel_socket *s = kernel.fds[i];
        if (!s)
            continue;
        kernel.fds[i] = NULL;
        forget_slot(s);
        s->open = false;
        s->closed = kernel.now;
        if (s->duplicates == 0)
            end_socket(s);
    }
    kernel.n_watches = 0;
    memset(kernel.epolls, 0, sizeof(kernel.epolls));
    kernel_manage();
}

static struct kernel_message *new_message(const void *text, size_t size, int flags)
{
    struct kernel_manager *m = &kernel.manager;
    struct kernel_message *message = &m->messages[m->n_messages];

    assert_true(flags & MSG_DONTWAIT);
    assert_true(flags & MSG_NOSIGNAL);
    assert_true(size > 0 && size < sizeof(message->text));
    if (m->error && m->fails <= 1) {
        errno = m->error;
        if (m->fails == 1)
            m->error = m->fails = 0;
        return NULL;
    }
    m->fails -= m->fails > 1;
    if (!takes_messages()) {
        errno = EAGAIN;
        return NULL;
    }
    assert_true(m->n_messages < LENGTH(m->messages));
    *message = (struct kernel_message){.at = kernel.now};
    if (((const char *)text)[size - 1] == '\n') /* which the manager does not need */
        size--;
    memcpy(message->text, text, size);
    return message;
}

ssize_t __wrap_send(int fd, const void *buffer, size_t size, int flags)
{
    enter();
    if (fd != KERNEL_NOTIFY)
        return __real_send(fd, buffer, size, flags);
    if (!new_message(buffer, size, flags))
        return -1;
    kernel.manager.n_messages++;
    return (ssize_t)size;
}

ssize_t __wrap_sendmsg(int fd, const struct msghdr *given, int flags)
{
    const struct cmsghdr *header = CMSG_FIRSTHDR(given);
    int fds[2];

    enter();
    if (fd != KERNEL_NOTIFY)
        return __real_sendmsg(fd, given, flags);
    assert_int_equal(flags, MSG_DONTWAIT | MSG_NOSIGNAL); /* or the sandbox ends it */
    assert_null(given->msg_name);
    assert_int_equal(given->msg_iovlen, 1);
    assert_non_null(header);
    assert_int_equal(header->cmsg_level, SOL_SOCKET);
    assert_int_equal(header->cmsg_type, SCM_RIGHTS);
    size_t n = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    assert_in_range(n, 1, LENGTH(fds));
    assert_int_equal(given->msg_controllen, CMSG_SPACE(n * sizeof(int)));
    memcpy(fds, CMSG_DATA(header), n * sizeof(int));
    struct kernel_message *message =
        new_message(given->msg_iov->iov_base, given->msg_iov->iov_len, flags);
    if (!message)
        return -1;
    for (size_t i = 0; i < n; i++) {
        struct kernel_kept *kept = &message->fds[message->n_fds++];
        kept->socket = find(fds[i]);
        kept->real = kept->socket ? -1 : fcntl(fds[i], F_DUPFD_CLOEXEC, KERNEL_DUPLICATE);
        if (kept->socket)
            kept->socket->duplicates++;
        else
            assert_true(kept->real >= 0); /* EBADF */
    }
    kernel.manager.n_messages++;
    return (ssize_t)given->msg_iov->iov_len;
}

int __wrap_pipe2(int *ends, int flags)
{
    enter();
    assert_int_equal(flags, O_CLOEXEC | O_NONBLOCK);
    if (kernel.pipe_fails > 0 && --kernel.pipe_fails == 0)
        return give(EMFILE);
    return __real_pipe2(ends, flags);
}

int __wrap_memfd_create(const char *name, unsigned flags)
{
    enter();
    if (kernel.memfd_error)
        return give(kernel.memfd_error);
    return __real_memfd_create(name, flags);
}

/* ---- libsystemd ---- */

static void unset_listen(bool unset)
{
    static const char *const names[] = {"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"};

    for (size_t i = 0; i < LENGTH(names) && unset; i++)
        (void)unsetenv(names[i]);
}

/* Step by step as the one of systemd 252. */
int sd_listen_fds(int unset_environment)
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
    unset_listen(unset_environment);
    return r < 0 ? r : (int)n;
}

/* A name is whatever lies between colons, also nothing. */
static int split_names(char *text, char **names, int most)
{
    int n = 0;

    for (char *name = text; name && n < most; n++)
        names[n] = strsep(&name, ":");
    return n;
}

/* As many names as descriptors, or else -EINVAL, although the descriptors are as they should be. */
int sd_listen_fds_with_names(int unset_environment, char ***names)
{
    const char *text = getenv("LISTEN_FDNAMES");
    char copy[400];
    char *given[64];

    (void)snprintf(copy, sizeof(copy), "%s", text ? text : "");
    int n_names = split_names(copy, given, (int)LENGTH(given));
    int n = sd_listen_fds(unset_environment);
    if (n <= 0)
        return n;
    if (text && n_names != n)
        return -EINVAL;
    *names = malloc(((size_t)n + 1) * sizeof(**names));
    for (int i = 0; i < n; i++)
        (*names)[i] = strdup(text ? given[i] : "unknown");
    (*names)[n] = NULL;
    return n;
}

static uint64_t dice; /* not of struct kernel, which each test begins anew */

void kernel_seed(uint64_t seed)
{
    const char *given = getenv("SEED");

    dice = given ? strtoull(given, NULL, 0) | 1 : seed;
    print_message("# SEED=0x%" PRIx64 "\n", dice);
}

uint64_t kernel_dice(void)
{
    return dice;
}

uint64_t kernel_roll(uint64_t sides)
{
    dice ^= dice << 13; /* xorshift64 */
    dice ^= dice >> 7;
    dice ^= dice << 17;
    return dice % sides;
}

off_t kernel_by_chance(struct kernel_socket *s, size_t count)
{
    off_t free = s->room - (s->queued - s->acked);
    off_t bytes = kernel.file.size - s->slot->offset;

    switch (kernel_roll(12)) {
    case 0:
        return -EINTR;
    case 1:
        return -EAGAIN;
    case 2:
        if (kernel_roll(20) == 0)
            return kernel_roll(2) ? -EIO : -ENOMEM;
    }
    if (bytes <= 0)
        return 0;
    if (free <= 0)
        return -EAGAIN;
    bytes = bytes < free ? bytes : free;
    bytes = bytes < (off_t)count ? bytes : (off_t)count;
    return kernel_roll(3) ? bytes : 1 + (off_t)kernel_roll((uint64_t)bytes);
}

void kernel_forget_signals(void)
{
    static const struct timespec none = {0, 0};
    sigset_t set;

    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGINT);
    (void)sigaddset(&set, SIGHUP);
    assert_int_equal(sigprocmask(SIG_BLOCK, &set, NULL), 0);
    while (sigtimedwait(&set, NULL, &none) >= 0)
        continue;
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
    cmocka_set_test_filter(getenv("ONLY")); /* "death: *", for whoever mends it */
    int failed = _cmocka_run_group_tests(name, suite->tests, suite->n, NULL, NULL);

    for (size_t i = 0; i < suite->n; i++)
        free((void *)suite->tests[i].name);
    suite->n = 0;
    return failed;
}
