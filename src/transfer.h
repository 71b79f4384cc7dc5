/* SPDX-License-Identifier: MIT */
#pragma once

#include "peer.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct source;

/*
 * One file onto one connected stream socket: complete, or reset.
 *
 * The whole of the promise is this table. transfer.c moves by it and by nothing else, and the tests
 * are generated from it. A state and an event that it does not name cannot meet.
 *
 * While the state is SENDING or FINISHING the socket is armed (SO_LINGER {1, 0}), so that whatever
 * ends the process resets the client. FINISHING holds the end back (FIN) until the peer has
 * acknowledged every byte, since until then the pages in the send queue are still the file's, and a
 * write to the file would change what the peer gets. A file that fits into the socket at once skips
 * it, because it would pay for a delayed acknowledgement with most of its time; such a file is
 * checked before the end and once more after it. Entering DRAINING disarms, sends the end, and from
 * then on only reads: unread input would make close(2) a reset, and the client lose the tail.
 *
 *  ROW(state,    event,       next state, what the client sees)
 */
#define TRANSFER_TABLE(ROW)                                                                        \
    ROW(SENDING, PROGRESS, SENDING, "more bytes")                                                  \
    ROW(SENDING, FULL, SENDING, "as many bytes as it takes")                                       \
    ROW(SENDING, COLD, SENDING, "no more bytes until the disk has brought them")                   \
    ROW(SENDING, QUEUED_AT_ONCE, DRAINING, "all bytes, and the end")                               \
    ROW(SENDING, QUEUED, FINISHING, "all bytes, and no end yet")                                   \
    ROW(SENDING, SHORT, ABORTED, "a reset")                                                        \
    ROW(SENDING, CHANGED, ABORTED, "a reset")                                                      \
    ROW(SENDING, UNREADABLE, ABORTED, "a reset")                                                   \
    ROW(SENDING, BROKEN, ABORTED, "a reset")                                                       \
    ROW(SENDING, LEFT, ABORTED, "its own reset")                                                   \
    ROW(SENDING, STALLED, ABORTED, "a reset")                                                      \
    ROW(SENDING, STOPPED, ABORTED, "a reset")                                                      \
    ROW(SENDING, RESTARTED, SENDING, "more bytes, after a pause")                                  \
    ROW(FINISHING, PROGRESS, FINISHING, "more bytes")                                              \
    ROW(FINISHING, ACKNOWLEDGED, DRAINING, "the end")                                              \
    ROW(FINISHING, SHORT, ABORTED, "a reset")                                                      \
    ROW(FINISHING, CHANGED, ABORTED, "a reset")                                                    \
    ROW(FINISHING, BROKEN, ABORTED, "a reset")                                                     \
    ROW(FINISHING, LEFT, ABORTED, "its own reset")                                                 \
    ROW(FINISHING, STALLED, ABORTED, "a reset")                                                    \
    ROW(FINISHING, STOPPED, ABORTED, "a reset")                                                    \
    ROW(FINISHING, RESTARTED, FINISHING, "no end yet")                                             \
    ROW(DRAINING, PROGRESS, DRAINING, "more bytes")                                                \
    ROW(DRAINING, ACKNOWLEDGED, DRAINING, "the end")                                               \
    ROW(DRAINING, DRAINED, DONE, "the end")                                                        \
    ROW(DRAINING, SHORT, DONE, "the end, perhaps on changed bytes: the window of the manual")      \
    ROW(DRAINING, CHANGED, DONE, "the end, perhaps on changed bytes: the window of the manual")    \
    ROW(DRAINING, BROKEN, ABORTED, "a reset")                                                      \
    ROW(DRAINING, LEFT, ABORTED, "its own reset")                                                  \
    ROW(DRAINING, STALLED, ABORTED, "a reset")                                                     \
    ROW(DRAINING, STOPPED, ABORTED, "a reset")                                                     \
    ROW(DRAINING, RESTARTED, DRAINING, "the end")                                                  \
    TRANSFER_TABLE_KILLED(ROW)

/* SIGKILL or a crash: no code of ours runs, and the kernel keeps the promise for us. A socket that
 * the store has as well (store.h) lives on, and sees nothing until it is RESTARTED. */
#define TRANSFER_TABLE_KILLED(ROW)                                                                 \
    ROW(SENDING, KILLED, ABORTED, "a reset")                                                       \
    ROW(FINISHING, KILLED, ABORTED, "a reset")                                                     \
    ROW(DRAINING, KILLED, DONE, "all bytes and the end; a reset if it still sends")

enum transfer_state {
    TRANSFER_NOWHERE, /* no row of the table leads anywhere else */
    TRANSFER_SENDING,
    TRANSFER_FINISHING,
    TRANSFER_DRAINING,
    TRANSFER_DONE,    /* the socket is closed; event tells what the check found */
    TRANSFER_ABORTED, /* the socket is reset and closed; event tells why */
};

enum transfer_event {
    TRANSFER_NOTHING,
    TRANSFER_PROGRESS,       /* we queued some, or the peer has acknowledged more */
    TRANSFER_FULL,           /* EAGAIN */
    TRANSFER_COLD,           /* what comes next is not in memory: the disk has been asked for it */
    TRANSFER_QUEUED_AT_ONCE, /* every promised byte is queued in the first turn, file unchanged */
    TRANSFER_QUEUED,         /* every promised byte is queued, in a later turn */
    TRANSFER_ACKNOWLEDGED,   /* every byte is acknowledged, file unchanged */
    TRANSFER_DRAINED,        /* that, and the peer has ended too, or need not be waited for */
    TRANSFER_SHORT,          /* the file has lost promised bytes */
    TRANSFER_CHANGED,        /* the file is not the one that was promised */
    TRANSFER_UNREADABLE,     /* reading the file failed */
    TRANSFER_BROKEN,         /* a system call failed that should not */
    TRANSFER_LEFT,           /* the peer has reset the connection, or cannot be reached */
    TRANSFER_STALLED,        /* the peer has acknowledged nothing for a whole timeout */
    TRANSFER_STOPPED,        /* a signal, or a file that has been led elsewhere */
    TRANSFER_KILLED,         /* the process is gone */
    TRANSFER_RESTARTED,      /* another process has taken the slot over */
    TRANSFER_EVENTS,
};

static inline bool transfer_resets(enum socket_kind kind)
{
    return kind == SOCKET_TCP || kind == SOCKET_MPTCP;
}

/* The most that one step sends, so that a fast client cannot starve the others. */
#define TRANSFER_TURN (1 << 20)

/* A timeout is so many looks in a row without progress: time in which we did not run is one. */
#define TRANSFER_LOOKS 8

struct transfer_limits {
    int64_t stall_timeout; /* ns; 0: never */
    int64_t drain_timeout; /* ns; 0: never */
};

/*
 * Transfers of one queue wait equally long, so that their time comes in the order in which it was
 * set: whoever drives many keeps a list for each queue, and needs no heap. The wait is an eighth of
 * a timeout, or 1, 2, 4 ... 512 ms where only the time can tell.
 */
enum transfer_queue {
    TRANSFER_QUEUE_STALL, /* an eighth of the stall timeout */
    TRANSFER_QUEUE_DRAIN, /* an eighth of the drain timeout */
    TRANSFER_QUEUE_RECHECK,
    TRANSFER_RECHECKS = 10, /* 2^0 ... 2^9 ms: a queue for each */
    TRANSFER_QUEUES = TRANSFER_QUEUE_RECHECK + TRANSFER_RECHECKS,
};

/* In the place of an mtime: the file may change, and must only not shrink. */
#define TRANSFER_ANY_MTIME INT64_MIN

/*
 * What must outlive the process for another one to go on, and nothing else. The promise is made
 * once: no option, and no size that the file has by then, can change it for the process that goes
 * on. In which order all this is written is said in table.h.
 */
struct transfer_slot {
    off_t offset; /* the next byte of the file to queue; sendfile(2) itself writes it */
    off_t start;  /* the promise: bytes start to end of the file */
    off_t end;
    off_t size;          /* of the file, when it was opened */
    int64_t mtime;       /* the same, as source_mtime() has it; or TRANSFER_ANY_MTIME */
    int64_t started;     /* ns, CLOCK_MONOTONIC, which goes on as long as the socket can */
    uint32_t generation; /* which opening of the file, struct source */
    uint32_t seal;       /* over all that never changes, transfer_slot_seal() */
    struct peer peer;
    uint8_t state;   /* enum transfer_state; written before the deed, which may be done twice */
    uint8_t event;   /* enum transfer_event that led there; NOTHING: reported already */
    uint8_t held;    /* 1: has taken more than one turn: FINISHING holds the end back */
    uint8_t resumed; /* by how many processes it was gone on with, at most 255 */
};

struct transfer {
    struct transfer_slot *slot;           /* borrowed */
    struct source *source;                /* borrowed; may serve many transfers */
    const struct transfer_limits *limits; /* borrowed */
    const char *call;                     /* the system call that failed, or NULL */
    off_t acknowledged; /* bytes of the promise that the peer's kernel has, as last looked */
    off_t looked_sent;  /* bytes queued, as last looked */
    int64_t next_look;  /* ns; when the present eighth of the timeout ends */
    int64_t wake;       /* ns; step at that time at the latest; CLOCK_NEVER: only on events */
    int fd;             /* owned; -1 once it is closed */
    int epoll;          /* borrowed; is told before fd is closed, since it would go on watching what
                           a duplicate keeps open; -1: no need */
    int error;          /* errno of call, or 0 */
    short wants;        /* events of poll(2) to step on; 0: do not watch, wake is enough */
    uint8_t kind;       /* enum socket_kind */
    uint8_t event;      /* enum transfer_event; the last */
    uint8_t quiet;      /* looks without progress, up to TRANSFER_LOOKS */
    uint8_t queue;      /* enum transfer_queue, where wake is not CLOCK_NEVER */
    uint8_t recheck;    /* the next wait where only the time can tell is 2^recheck ms */
    bool by_time;       /* sending is tried again when the time has come, since poll(2) cannot tell:
                           EAGAIN although it said POLLOUT, or a page that the disk has to bring */
    bool end_sent;      /* our end of stream is in the queue, which counts it as a byte */
    bool peer_ended;    /* the peer has sent its end of stream */
    bool checked;       /* acknowledged and found unchanged */
    bool connected;     /* the handshake is over, which is true from the start without Fast Open */
};

/*
 * Sets what the promise needs before the first byte, on every connected socket, whoever created it
 * (inherited options miss the connections that were there first): SO_LINGER {1, 0} and
 * TCP_NOTSENT_LOWAT. Returns 0 or a negative errno of setsockopt(2).
 */
int transfer_arm(int fd, enum socket_kind kind) __attribute__((warn_unused_result));

/*
 * The same for a socket that was accepted from one that is armed: sets only SO_LINGER. It has
 * inherited both as a rule, but nobody can tell for certain, since its handshake may have ended
 * before the arming, and the kernel queue it a moment after. Without the low-water mark it costs
 * memory; without the linger it could cost the promise.
 */
int transfer_arm_inherited(int fd, enum socket_kind kind) __attribute__((warn_unused_result));

/* Paces to so many bytes a second. Returns 0; -EOPNOTSUPP where the socket cannot; or -errno. */
int transfer_pace(int fd, enum socket_kind kind, int64_t rate) __attribute__((warn_unused_result));

/*
 * The bytes that were sent over a TCP or MPTCP connection already, or wait to be, by whoever had it
 * before us; 0 where the kernel does not say.
 */
uint64_t transfer_bytes_before(int fd);

/*
 * Resets the connection now and closes fd. connect(2) to AF_UNSPEC resets although others (a
 * supervisor, systemd's store) hold duplicates, where close(2) would wait for the last of them.
 * UNIX and vsock sockets have no reset: the client sees the end. Nor has TCP any when both ends
 * have been sent: then the kernel goes on delivering what is under way.
 */
void transfer_abort(int fd, enum socket_kind kind);

/* A slot for all that source promises. peer is for the records of another process, or NULL. */
void transfer_slot_init(struct transfer_slot *slot, const struct source *source,
    const struct peer *peer, int64_t now) __attribute__((nonnull(1, 2)));

/*
 * Before another process may get slot, file and socket to go on with: ties the three together, by
 * what never changes in the slot, the file's device and inode, and the number that the kernel gives
 * no other socket (SO_COOKIE).
 */
void transfer_slot_seal(struct transfer_slot *slot, const struct source *source, int fd)
    __attribute__((nonnull));

/*
 * Do the three belong together, and is the slot whole? For TCP the kernel also tells where it
 * stands: the bytes that were acknowledged (TCP_INFO) and those that were not (SIOCOUTQ) are as
 * many as the slot says. They are more where a SIGKILL kept sendfile(2) from writing the offset,
 * which takes a page of the table that was not in memory.
 */
bool transfer_slot_is_sound(const struct transfer_slot *slot, const struct source *source, int fd,
    enum socket_kind kind) __attribute__((nonnull));

/*
 * Begins, or goes on with what a slot from another process tells. The transfer owns fd, an armed
 * non-blocking socket, from then on. Call transfer_step() next; with POLLOUT if it begins.
 */
void transfer_start(struct transfer *transfer, struct transfer_slot *slot, int fd,
    enum socket_kind kind, struct source *source, const struct transfer_limits *limits, int64_t now)
    __attribute__((nonnull));

/*
 * Does what can be done at once, at most one turn of it; revents are those of poll(2), or 0 when
 * only the time has come. Afterwards slot->state, wants and wake say how to go on. Never waits.
 */
void transfer_step(struct transfer *transfer, short revents, int64_t now) __attribute__((nonnull));

/* Ends it now, on a signal: a reset, unless the peer has everything already. */
void transfer_stop(struct transfer *transfer) __attribute__((nonnull));

/* Ends it now, with a reset, since the driver's own system call has failed with that errno. */
void transfer_break(struct transfer *transfer, const char *call, int error)
    __attribute__((nonnull));

/* Whether the slot is that of a transfer which has not come to its end. */
static inline bool transfer_slot_runs(const struct transfer_slot *slot)
{
    return slot->state > TRANSFER_NOWHERE && slot->state < TRANSFER_DONE;
}

static inline bool transfer_ended(const struct transfer *transfer)
{
    return transfer->slot->state >= TRANSFER_DONE;
}
