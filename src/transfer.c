/* SPDX-License-Identifier: MIT */
#include "transfer.h"

#include "clock.h"
#include "source.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

/* tcp(7) and unix(7) call it SIOCOUTQ; <linux/sockios.h>, which musl has not, makes it this one. */
#define OUTQ TIOCOUTQ

/* What may wait in the kernel unsent: bounds what a stalled client can pin there. */
#define NOTSENT_LOWAT (16 * 1024)

/* The beginning of the kernel's struct tcp_info, of which each libc's own lacks another part. */
struct tcp_facts {
    uint8_t state; /* TCP_SYN_RECV, TCP_LAST_ACK ... */
    uint8_t not_needed[119];
    uint64_t bytes_acked;
    uint8_t not_needed_either[16];
    uint32_t notsent_bytes;
    uint32_t min_rtt;
    uint32_t data_segs_in;
    uint32_t data_segs_out; /* since Linux 4.6 */
};

_Static_assert(offsetof(struct tcp_facts, data_segs_out) == 156, "not the layout of tcp_info");

static int set_linger(int fd, bool armed)
{
    const struct linger linger = {.l_onoff = armed, .l_linger = 0};

    return setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)) < 0 ? -errno : 0;
}

int transfer_arm(int fd, enum socket_kind kind)
{
    const int lowat = NOTSENT_LOWAT;

    if (!transfer_resets(kind))
        return 0;
    int r = set_linger(fd, true);
    /* Without it a stalled client only costs more kernel memory: no reason to fail. */
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &lowat, sizeof(lowat));
    return r;
}

int transfer_arm_inherited(int fd, enum socket_kind kind)
{
    return transfer_resets(kind) ? set_linger(fd, true) : 0;
}

int transfer_pace(int fd, enum socket_kind kind, int64_t rate)
{
    /* 8 bytes since Linux 4.20, where a long has them; all ones would mean no limit. */
    unsigned long pace = rate < (int64_t)(~0UL >> 1) ? (unsigned long)rate : ~0UL >> 1;

    if (kind != SOCKET_TCP) /* a UNIX socket takes the option, and does nothing with it */
        return -EOPNOTSUPP;
    return setsockopt(fd, SOL_SOCKET, SO_MAX_PACING_RATE, &pace, sizeof(pace)) < 0 ? -errno : 0;
}

/* All zero where the kernel has nothing to say. */
static struct tcp_facts get_facts(int fd)
{
    struct tcp_facts facts = {0};
    socklen_t size = sizeof(facts);

    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &facts, &size) < 0 || size < sizeof(facts))
        return (struct tcp_facts){0};
    return facts;
}

uint64_t transfer_bytes_before(int fd)
{
    struct tcp_facts facts = get_facts(fd);

    /* A segment has a byte at least; how many exactly is all the same. */
    return facts.bytes_acked + facts.notsent_bytes + facts.data_segs_out;
}

void transfer_abort(int fd, enum socket_kind kind)
{
    const struct sockaddr nobody = {.sa_family = AF_UNSPEC};
    struct tcp_facts facts = kind == SOCKET_TCP ? get_facts(fd) : (struct tcp_facts){0};

    if (facts.state == TCP_LAST_ACK && facts.notsent_bytes == 0) {
        /* Both ends are sent: connect(2) would forget the tail without a word to the client. */
        (void)set_linger(fd, false);
    } else if (transfer_resets(kind)) {
        /* Armed again, in case that connect(2) fails and close(2) must do it. */
        (void)set_linger(fd, true);
        /* tcp_disconnect() in the kernel: RST. Of that length it can be nothing else, which is how
         * the sandbox knows it. */
        (void)connect(fd, &nobody, sizeof(nobody.sa_family));
    } else {
        (void)shutdown(fd, SHUT_RDWR); /* the end, also for the holders of duplicates */
    }
    (void)close(fd);
}

static enum transfer_state next_state(enum transfer_state state, enum transfer_event event)
{
#define ROW(state, event, next, sees) [TRANSFER_##state][TRANSFER_##event] = TRANSFER_##next,
    static const uint8_t table[TRANSFER_DONE][TRANSFER_EVENTS] = {TRANSFER_TABLE(ROW)};
#undef ROW
    return table[state][event];
}

/*
 * The bytes that the peer's kernel has not acknowledged, the end of stream counted as one; or -1
 * where the socket cannot tell (vsock before Linux 6.11).
 */
static off_t outstanding(struct transfer *t)
{
    int bytes;

    if (ioctl(t->fd, OUTQ, &bytes) < 0)
        return -1;
    if (bytes > 0 || t->kind != SOCKET_TCP || t->connected)
        return bytes;
    /* TCP Fast Open: before the handshake has ended it says 0, whatever was queued. */
    t->connected = get_facts(t->fd).state != TCP_SYN_RECV;
    return t->connected ? 0 : t->slot->offset - t->slot->start + t->end_sent;
}

/*
 * Has the peer moved since the last look, and how far? Where acknowledged bytes are not exact, room
 * in the queue tells.
 */
static bool note_progress(struct transfer *t, off_t left)
{
    off_t sent = t->slot->offset - t->slot->start;
    off_t end_of_stream = t->end_sent && transfer_resets(t->kind);
    off_t acknowledged = left < 0 ? 0 : sent + end_of_stream - left;
    bool more =
        acknowledged > t->acknowledged || (!transfer_resets(t->kind) && sent > t->looked_sent);

    if (acknowledged > t->acknowledged)
        t->acknowledged = acknowledged;
    t->looked_sent = sent;
    return more;
}

/* After all that was written to the slot before: another process must never find half of it. */
static void set_state(struct transfer_slot *slot, enum transfer_state state)
{
    __atomic_store_n(&slot->state, (uint8_t)state, __ATOMIC_RELEASE);
}

static void move(struct transfer *t, enum transfer_event event)
{
    enum transfer_state next = next_state(t->slot->state, event);

    if (next == TRANSFER_NOWHERE) { /* a bug of ours: no reason to hang, nor to call it success */
        next = TRANSFER_ABORTED;
        event = TRANSFER_BROKEN;
    }
    /* The last look, for the report. A UNIX queue may be empty only because the peer has left. */
    if (next == TRANSFER_ABORTED && transfer_resets(t->kind))
        (void)note_progress(t, outstanding(t));
    t->event = event;
    t->slot->event = event;
    set_state(t->slot, next);
    if (next < TRANSFER_DONE)
        return;
    if (t->epoll >= 0)
        (void)epoll_ctl(t->epoll, EPOLL_CTL_DEL, t->fd, NULL); /* it may not be watched at all */
    if (next == TRANSFER_DONE)
        (void)close(t->fd); /* the peer has the end: there is nothing left to lose */
    else
        transfer_abort(t->fd, t->kind);
    t->fd = -1;
    t->wants = 0;
    t->wake = CLOCK_NEVER;
}

/* Whose fault an errno of a call on the socket alone is. */
static enum transfer_event blame_socket(int error)
{
    switch (error) {
    case ECONNRESET:
    case EPIPE:
    case ENOTCONN: /* shutdown(2) after a reset */
    case ETIMEDOUT:
    case ECONNABORTED:
    case ECONNREFUSED:
    case EHOSTUNREACH:
    case EHOSTDOWN:
    case ENETUNREACH:
    case ENETDOWN:
    case ENETRESET:
    case ENONET:
    case ENOPROTOOPT: /* ICMP: protocol unreachable */
    case EPROTO:      /* MPTCP */
        return TRANSFER_LEFT;
    default:
        return TRANSFER_BROKEN;
    }
}

/*
 * The same for sendfile(2), which also reads the file. Files never say EPIPE or ECONNRESET, but
 * those of a network or in user space may say all the rest, while the connection is as it was.
 */
static enum transfer_event blame_sendfile(int fd, int error)
{
    struct sockaddr peer;
    socklen_t size = sizeof(peer);

    switch (error) {
    case EPIPE:
    case ECONNRESET:
        return TRANSFER_LEFT;
    case EIO:
    case EINVAL: /* the file system has no splice_read: sendfile(2) cannot read from it */
    case EACCES:
    case ENXIO:
    case ENODATA:
    case ESTALE:
    case EUCLEAN: /* ext4 and xfs: the file system is corrupt */
    case EBADMSG: /* the same, by a checksum */
    case EREMOTEIO:
    case ENOKEY: /* fscrypt: the key is gone */
        return TRANSFER_UNREADABLE;
    default:
        break;
    }
    enum transfer_event event = blame_socket(error);
    if (event == TRANSFER_LEFT && getpeername(fd, &peer, &size) == 0)
        return TRANSFER_UNREADABLE;
    return event;
}

/* -ESTALE and -ENODATA are source_check()'s own words, anything else is an errno of fstat(2). */
static enum transfer_event judge_file(struct transfer *t, enum transfer_event if_unchanged)
{
    int r = source_check(t->source, t->slot->end);

    if (r == 0)
        return if_unchanged;
    if (r == -ESTALE)
        return TRANSFER_CHANGED;
    if (r == -ENODATA)
        return TRANSFER_SHORT;
    t->call = "fstat";
    t->error = -r;
    return TRANSFER_BROKEN;
}

/*
 * Every byte, with the end on its way? After a reset, TCP still tells what had been acknowledged.
 * The end itself may be missing there: a client that has read it can reset before its kernel, which
 * may delay that, acknowledges it. A UNIX socket empties the queue when the peer closes, read or
 * not: there, only what was seen before counts.
 */
static bool has_everything(struct transfer *t)
{
    if (t->kind != SOCKET_TCP)
        return t->checked;
    (void)note_progress(t, outstanding(t));
    return t->checked || (t->end_sent && t->acknowledged >= t->slot->end - t->slot->start);
}

/* The peer has everything: a last look at a file that was in the queue when the end was sent. */
static void settle(struct transfer *t)
{
    t->call = NULL;
    t->error = 0;
    move(t, t->slot->held || t->checked ? TRANSFER_DRAINED : judge_file(t, TRANSFER_DRAINED));
}

static void fail(struct transfer *t, enum transfer_event event, const char *call, int error)
{
    if (t->slot->state == TRANSFER_DRAINING && event != TRANSFER_BROKEN && has_everything(t)) {
        settle(t);
        return;
    }
    t->call = call;
    t->error = error;
    move(t, event);
}

static int64_t timeout_of(const struct transfer *t)
{
    return t->slot->state == TRANSFER_DRAINING ? t->limits->drain_timeout
                                               : t->limits->stall_timeout;
}

static void watch_from(struct transfer *t, int64_t now)
{
    int64_t timeout = timeout_of(t);

    t->next_look = timeout > 0 ? now + timeout / TRANSFER_LOOKS : CLOCK_NEVER;
    t->quiet = 0;
    t->recheck = 0;
    t->wake = now; /* what was waited for in the state before is over */
}

/*
 * Disarmed first: a death between the two lets the kernel send all bytes and the end, which is
 * complete. The state was written before either, and both may be done twice.
 */
static void send_end(struct transfer *t, int64_t now)
{
    watch_from(t, now);
    int r = transfer_resets(t->kind) ? set_linger(t->fd, false) : 0;
    if (r < 0) {
        fail(t, TRANSFER_BROKEN, "setsockopt", -r);
    } else if (shutdown(t->fd, SHUT_WR) < 0) {
        int error = errno;
        fail(t, blame_socket(error), "shutdown", error);
    } else {
        t->end_sent = true;
    }
}

/* The end is held back: push what Nagle would keep, since no FIN is there to force it out. */
static void hold_end(struct transfer *t, int64_t now)
{
    const int on = 1;

    watch_from(t, now);
    if (transfer_resets(t->kind)) /* costs only time where it fails */
        (void)setsockopt(t->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

static void finish(struct transfer *t, enum transfer_event event, int64_t now)
{
    move(t, event);
    if (t->slot->state == TRANSFER_FINISHING)
        hold_end(t, now);
    else if (t->slot->state == TRANSFER_DRAINING)
        send_end(t, now);
}

/*
 * Sending waits for its time. A disk that has not brought the page after all the waits may have
 * failed to: then sendfile(2) must tell, and wait if it has to.
 */
static bool is_cold(struct transfer *t, off_t turn_end)
{
    return t->recheck < TRANSFER_RECHECKS - 1 &&
           !source_ready(t->source, t->slot->offset, turn_end, t->slot->end);
}

static void wait_for_time(struct transfer *t, enum transfer_event event)
{
    t->slot->held = 1;
    t->by_time = true;
    move(t, event);
}

/*
 * Sends until the socket is full, the promise is queued, or the turn is over. One sendfile(2) moves
 * less than 2 GiB and may return short at any time, so only EAGAIN and the end stop it.
 */
static void send_turn(struct transfer *t, int64_t now)
{
    struct transfer_slot *slot = t->slot;
    off_t turn_start = slot->offset;
    off_t turn_end =
        slot->end - slot->offset > TRANSFER_TURN ? slot->offset + TRANSFER_TURN : slot->end;

    t->by_time = false;
    if (is_cold(t, turn_end)) {
        wait_for_time(t, TRANSFER_COLD);
        return;
    }
    while (slot->offset < turn_end) {
        ssize_t n =
            sendfile(t->fd, t->source->fd, &slot->offset, (size_t)(turn_end - slot->offset));
        if (n > 0 || (n < 0 && errno == EINTR))
            continue;
        if (n == 0) {
            fail(t, TRANSFER_SHORT, NULL, 0);
            return;
        }
        if (errno == EAGAIN && slot->offset == turn_start) {
            wait_for_time(t, TRANSFER_FULL);
            return;
        }
        if (errno == EAGAIN) {
            t->slot->held = 1;
            t->recheck = 0;
            move(t, TRANSFER_FULL);
            return;
        }
        int error = errno;
        fail(t, blame_sendfile(t->fd, error), "sendfile", error);
        return;
    }
    if (slot->offset < slot->end) {
        t->slot->held = 1;
        t->recheck = 0;
        move(t, TRANSFER_PROGRESS);
    } else {
        finish(t, t->slot->held ? TRANSFER_QUEUED : judge_file(t, TRANSFER_QUEUED_AT_ONCE), now);
    }
}

/* What a reset leaves behind for those who no longer read. */
static void learn_error(struct transfer *t)
{
    int error = 0;
    socklen_t size = sizeof(error);

    if (getsockopt(t->fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error != 0)
        fail(t, blame_socket(error), "SO_ERROR", error);
}

/*
 * Reads and drops what the client sends, while we send as well: a client that first writes more
 * than the socket holds would else wait for us, and we for it. With MSG_TRUNC TCP does not even
 * copy it, tcp(7). Once the client has ended, only an error is left to learn.
 */
static void discard_input(struct transfer *t)
{
    static char dropped[16384]; /* nobody reads it: made and cleared once, not for each call */

    if (t->peer_ended) {
        learn_error(t);
        return;
    }
    ssize_t n = recv(t->fd, dropped, sizeof(dropped), MSG_DONTWAIT | MSG_TRUNC);
    if (n == 0) {
        t->peer_ended = true;
    } else if (n < 0 && errno != EAGAIN && errno != EINTR) {
        int error = errno;
        fail(t, blame_socket(error), "recv", error);
    }
}

/* A timeout begins anew when the peer acknowledges more, not when we queue or it sends. */
static void look_for_stall(struct transfer *t, off_t left, int64_t now)
{
    int64_t timeout = timeout_of(t);

    if (note_progress(t, left)) {
        t->quiet = 0;
        t->recheck -= t->recheck > 1 ? 2 : t->recheck; /* after a pause it is soon done */
        move(t, TRANSFER_PROGRESS);
    } else if (now < t->next_look) {
        return;
    } else if (t->event == TRANSFER_COLD && left <= 0) {
        t->quiet = 0; /* it has all that there is: the disk is slow, not the peer */
    } else if (++t->quiet >= TRANSFER_LOOKS) {
        fail(t, TRANSFER_STALLED, NULL, 0);
        return;
    }
    t->next_look = timeout > 0 ? now + timeout / TRANSFER_LOOKS : CLOCK_NEVER;
}

/* Whatever happened between two processes: not a byte more or less may have a clean end. */
static bool has_exactly_all(const struct transfer *t)
{
    return t->slot->resumed == 0 || t->kind != SOCKET_TCP ||
           get_facts(t->fd).bytes_acked == (uint64_t)(t->slot->end - t->slot->start);
}

/* Everything is acknowledged, or the socket cannot tell: on to the end, or past it. */
static void everything_acknowledged(struct transfer *t, bool known, int64_t now)
{
    /* A UNIX peer that closed with bytes unread has emptied the queue, too, and left an error. */
    if (!transfer_resets(t->kind))
        learn_error(t);
    if (transfer_ended(t))
        return;
    if (t->slot->state == TRANSFER_FINISHING && !has_exactly_all(t)) {
        fail(t, TRANSFER_BROKEN, "other bytes were sent than ours", 0);
    } else if (t->slot->state == TRANSFER_FINISHING) {
        finish(t, judge_file(t, TRANSFER_ACKNOWLEDGED), now);
    } else if (t->peer_ended) {
        settle(t);
    } else if (known && !t->checked) {
        enum transfer_event event =
            t->slot->held ? TRANSFER_ACKNOWLEDGED : judge_file(t, TRANSFER_ACKNOWLEDGED);
        t->checked = event == TRANSFER_ACKNOWLEDGED;
        move(t, event);
    }
}

/* The next look for progress, in a queue in which nobody has been set an earlier time. */
static void plan_look(struct transfer *t, int64_t now)
{
    uint8_t queue =
        t->slot->state == TRANSFER_DRAINING ? TRANSFER_QUEUE_DRAIN : TRANSFER_QUEUE_STALL;
    int64_t timeout = timeout_of(t);

    if (t->queue != queue && timeout > 0)
        t->next_look = now + timeout / TRANSFER_LOOKS;
    t->queue = queue;
    t->wake = t->next_look;
}

/* Where only the time can tell: after 1, 2, 4 ... ms, and in such steps up to the next look. */
static void plan_recheck(struct transfer *t, int64_t now)
{
    uint8_t step = t->recheck;

    if (t->queue >= TRANSFER_QUEUE_RECHECK && now < t->wake)
        return; /* an event came between: a client that talks must not put the time off */
    while (step > 0 && (CLOCK_MS << step) > t->next_look - now)
        step--;
    t->queue = (uint8_t)(TRANSFER_QUEUE_RECHECK + step);
    t->wake = now + (CLOCK_MS << step);
    if (t->recheck < TRANSFER_RECHECKS - 1) /* also where the step was cut: is_cold() counts them */
        t->recheck++;
}

/* What to wait for. After both ends of stream POLLHUP never ceases: then the time alone must do. */
static void plan(struct transfer *t, int64_t now)
{
    bool sending = t->slot->state == TRANSFER_SENDING;

    t->wants = t->peer_ended ? 0 : POLLIN;
    if (sending && !t->by_time)
        t->wants |= POLLOUT;
    if (sending ? t->by_time : !t->checked)
        plan_recheck(t, now);
    else
        plan_look(t, now);
}

void transfer_slot_init(
    struct transfer_slot *slot, const struct source *source, const struct peer *peer, int64_t now)
{
    *slot = (struct transfer_slot){
        .offset = source->start,
        .start = source->start,
        .end = source->end,
        .size = source->size,
        .mtime = source->allow_changes ? TRANSFER_ANY_MTIME : source->mtime,
        .started = now,
        .generation = source->generation,
    };
    if (peer)
        slot->peer = *peer;
    set_state(slot, TRANSFER_SENDING); /* nothing is sent before it is set */
}

/* FNV-1a, by 64 bits at a time: it is to find damage, not to withstand malice. */
static uint64_t mix(uint64_t hash, uint64_t value)
{
    return (hash ^ value) * UINT64_C(0x100000001b3);
}

static uint32_t seal_of(const struct transfer_slot *slot, const struct source *source, int fd)
{
    const uint64_t values[] = {(uint64_t)slot->start, (uint64_t)slot->end, (uint64_t)slot->size,
        (uint64_t)slot->mtime, (uint64_t)slot->started, slot->generation, source->device,
        source->inode};
    const uint8_t *peer = (const uint8_t *)&slot->peer;
    uint64_t cookie = 0;
    socklen_t size = sizeof(cookie);
    uint64_t hash = UINT64_C(0xcbf29ce484222325);

    (void)getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &size); /* 0 on both sides before 4.12 */
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++)
        hash = mix(hash, values[i]);
    for (size_t i = 0; i < sizeof(slot->peer); i++)
        hash = mix(hash, peer[i]);
    hash = mix(hash, cookie);
    return (uint32_t)(hash >> 32);
}

void transfer_slot_seal(struct transfer_slot *slot, const struct source *source, int fd)
{
    slot->seal = seal_of(slot, source, fd);
}

/*
 * How many bytes were ever queued, the end of stream counted as one; -1 where nobody can tell. An
 * acknowledgement between the two looks would be missed, or counted twice.
 */
static off_t queued_in_all(int fd)
{
    for (int tries = 0; tries < 100; tries++) {
        uint64_t before = get_facts(fd).bytes_acked;
        int left;
        if (ioctl(fd, OUTQ, &left) < 0)
            return -1;
        if (get_facts(fd).bytes_acked == before)
            return (off_t)before + left;
    }
    return -1;
}

bool transfer_slot_is_sound(
    const struct transfer_slot *slot, const struct source *source, int fd, enum socket_kind kind)
{
    if (!transfer_slot_runs(slot) || slot->start < 0 || slot->offset < slot->start ||
        slot->offset > slot->end || slot->end > slot->size)
        return false;
    if (slot->state != TRANSFER_SENDING && slot->offset != slot->end)
        return false;
    if (slot->seal != seal_of(slot, source, fd))
        return false;
    if (kind != SOCKET_TCP)
        return true;
    off_t queued = queued_in_all(fd);
    off_t sent = slot->offset - slot->start;
    return queued == sent || (slot->state == TRANSFER_DRAINING && queued == sent + 1);
}

/* Whatever the process before has begun is done once more: it may have come to it or not. */
static void resume(struct transfer *t, int64_t now)
{
    struct transfer_slot *slot = t->slot;

    move(t, TRANSFER_RESTARTED);
    if (slot->state == TRANSFER_DRAINING) {
        /* Where both ends are sent, and the connection is gone, shutdown(2) says no more than it
         * does after a reset. TCP has counted our end, if it was acknowledged. */
        t->end_sent = t->kind == SOCKET_TCP &&
                      get_facts(t->fd).bytes_acked > (uint64_t)(slot->end - slot->start);
        send_end(t, now);
        return;
    }
    slot->held = 1; /* the pause was long enough for the file to change */
    if (slot->state != TRANSFER_FINISHING)
        return;
    hold_end(t, now);
    learn_error(t);
    /* Before our end only a reset closes it; the process before may have read the error of that,
     * and then nothing tells any more. */
    if (!transfer_ended(t) && t->kind == SOCKET_TCP && get_facts(t->fd).state == TCP_CLOSE)
        fail(t, TRANSFER_LEFT, NULL, 0);
}

void transfer_start(struct transfer *t, struct transfer_slot *slot, int fd, enum socket_kind kind,
    struct source *source, const struct transfer_limits *limits, int64_t now)
{
    *t = (struct transfer){
        .slot = slot,
        .source = source,
        .limits = limits,
        .fd = fd,
        .epoll = -1,
        .kind = kind,
    };
    watch_from(t, now);
    if (slot->state != TRANSFER_SENDING || slot->offset != slot->start)
        resume(t, now);
}

void transfer_step(struct transfer *t, short revents, int64_t now)
{
    off_t left = 0;

    if ((revents & (POLLIN | POLLERR | POLLHUP)) || t->peer_ended)
        discard_input(t);
    bool try = (revents & ~POLLIN) || (t->by_time && now >= t->wake);
    if (!transfer_ended(t) && t->slot->state == TRANSFER_SENDING && try)
        send_turn(t, now);
    /* While sending, a look at every event would cost more than it tells. */
    if (!transfer_ended(t) && (t->slot->state != TRANSFER_SENDING || now >= t->next_look)) {
        left = t->checked ? 0 : outstanding(t); /* what is acknowledged stays so */
        look_for_stall(t, left, now);
    }
    if (!transfer_ended(t) && t->slot->state != TRANSFER_SENDING && left <= 0)
        everything_acknowledged(t, left == 0, now);
    if (!transfer_ended(t))
        plan(t, now);
}

void transfer_break(struct transfer *t, const char *call, int error)
{
    fail(t, TRANSFER_BROKEN, call, error);
}

void transfer_stop(struct transfer *t)
{
    fail(t, TRANSFER_STOPPED, NULL, 0);
}
