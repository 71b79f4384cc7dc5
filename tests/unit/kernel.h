/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * A kernel to order: sockets that take as much as a test says, a peer that acknowledges when a test
 * says, one file, and a clock that moves only while somebody waits. Real kernels do each of these
 * things once in a month, and then nobody is looking.
 *
 * It is strict about itself (an answer that Linux would never give proves nothing) and about its
 * caller: what breaks the promise fails the test on the spot, in whatever test it happens.
 */

#include "clock.h"
#include "source.h"
#include "transfer.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define KERNEL_SOCKET  1000 /* the first of our descriptors: far above any real one */
#define KERNEL_SOCKETS 6
#define KERNEL_FILE    2000

/* What one sendfile(2) is to do, before the kernel goes on as it would by itself. */
enum kernel_send_kind { SEND_AS_IS, SEND_AT_MOST, SEND_FAILS, SEND_TRUNCATED, SEND_TOUCHED };

struct kernel_send {
    enum kernel_send_kind kind;
    off_t value; /* bytes, an errno, or the file's new size */
};

/* What the client has come to know. */
enum kernel_view { VIEW_OPEN, VIEW_END, VIEW_RESET, VIEW_OWN_RESET };

struct kernel_socket {
    enum socket_kind kind;
    const struct transfer_slot *slot; /* the promise, and the state that must be written first;
                                         NULL: as soon as sendfile(2) tells it */

    /* What the client is like. */
    off_t room;         /* it lets so many bytes be unacknowledged */
    off_t reads;        /* bytes that it takes in a millisecond, while we wait; 0: none */
    bool ends_at_end;   /* it answers the end of stream with its own */
    bool resets_at_end; /* the same with a reset: it is gone as soon as it has everything */

    /* What the calls are to answer instead of success; 0: success. */
    const struct kernel_send *script;                            /* ends with SEND_AS_IS */
    off_t (*chance)(struct kernel_socket *socket, size_t count); /* instead: bytes, or -errno */
    int lowat_error;
    int linger_error;
    int pace_error;
    int nodelay_error;
    int connect_error;
    int shutdown_error;
    int outq_error; /* ENOTTY: vsock before Linux 6.11 */
    int recv_error; /* once */

    /* How things stand. */
    bool open;
    bool armed;
    bool no_delay;
    bool fin;         /* we have sent the end */
    bool unreachable; /* the network has given it up: no peer any more */
    uint32_t unsent;  /* of what is queued, behind a closed window */
    bool fast_open;   /* TCP Fast Open: the handshake has not ended */
    bool fin_acked;   /* never on UNIX, where nothing counts it */
    bool ended;       /* the client has sent its end, or has closed */
    bool reset;       /* by either side */
    int so_error;
    off_t queued;
    off_t acked;
    off_t input;     /* from the client, not yet read */
    off_t discarded; /* read */
    enum kernel_view view;
    char calls[96]; /* L armed, l disarmed, N no delay, W low water, P paced, F end, B both ends
                       shut, X reset by connect, C closed; in order */
    off_t turn;     /* bytes since kernel_turn() */
    unsigned long pace;
    unsigned long sends;   /* calls of sendfile */
    unsigned long stats;   /* how often the file had been looked at when the last byte went out */
    bool allow_changes;    /* a change of the file is none of the promise's business */
    bool restarted_at_end; /* another process had sent the end: no look at the file is due */
};

/* What happens of itself while somebody waits. */
enum kernel_event_kind {
    EVENT_NONE,
    EVENT_ACK,      /* value: bytes, and the end if it is out and value is more than is left */
    EVENT_ROOM,     /* value: bytes; autotuning lets so many more be unacknowledged */
    EVENT_INPUT,    /* value: bytes */
    EVENT_ENDS,     /* the client half-closes */
    EVENT_CLOSES,   /* UNIX: the client closes, read or not */
    EVENT_RESETS,   /* TCP: the client resets */
    EVENT_ERROR,    /* value: an errno that the network reports */
    EVENT_TRUNCATE, /* value: the new size */
    EVENT_TOUCH,    /* the file is written to in place */
    EVENT_SIGNAL,   /* value: sent to this process */
    EVENT_JUMP,     /* value: ns in which nobody ran */
    EVENT_WAKE,     /* value: poll(2) fails with this errno */
};

struct kernel_event {
    int64_t at; /* ns; in order */
    enum kernel_event_kind kind;
    off_t value;
    int socket; /* its number, from 0 */
};

struct kernel {
    struct kernel_socket sockets[KERNEL_SOCKETS];
    struct {
        off_t size;
        int64_t mtime;
        off_t first_size;
        int error;           /* what fstat(2) says */
        unsigned long stats; /* calls of fstat(2) */
        bool seen_changed;   /* by the last of them */
    } file;
    int64_t now;
    bool clock;                        /* clock_gettime(2) tells now */
    const struct kernel_event *events; /* ends with EVENT_NONE */
    int poll_error;                    /* once */
    int first_timeout;                 /* of poll(2), ms */
    unsigned long polls;
    unsigned long idle; /* waits since the clock or a byte last moved */
    int calloc_fails;   /* the so-manieth call from here; 0: none */
    int signalfd_error;
    int domain; /* SO_DOMAIN and SO_PROTOCOL of real sockets; 0: what they are */
    int protocol;
    int setsockopt_error;        /* of real sockets */
    int fstat_fails;             /* the so-manieth call for a real file from here; 0: none */
    int listen_fds_error;        /* of sd_listen_fds(3), whatever the environment says */
    int64_t send_cost;           /* ns that each sendfile(2) takes: a disk that has to seek */
    unsigned long zero_timeouts; /* how often poll(2) was not to wait at all */
};

extern struct kernel kernel;

/* All as on the first day, with a file of so many bytes, and what source_open() would make of it.
 */
void kernel_reset(struct source *source, off_t size);

/* A connected, armed socket with a client that takes whatever comes, and acknowledges nothing. */
struct kernel_socket *kernel_connect(enum socket_kind kind, const struct transfer_slot *slot);

int kernel_fd(const struct kernel_socket *socket);

/* Things that a client, a network or an admin does. */
void kernel_do(enum kernel_event_kind kind, struct kernel_socket *socket, off_t value);

/* What poll(2) would say at once. */
short kernel_revents(const struct kernel_socket *socket, short events);

/* Waits as poll(2) does, until the instant given; the number of ready descriptors. */
int kernel_wait(struct pollfd *polls, size_t n, int64_t until);

/* A new turn begins: what it moves is counted from here. */
void kernel_turn(struct kernel_socket *socket);

/* How often the call with that letter was made. */
int kernel_calls(const struct kernel_socket *socket, char letter);

/* Cases are data: one line of TAP for each, made from a table. */
struct suite {
    struct CMUnitTest tests[1024];
    size_t n;
};

void suite_add(struct suite *suite, CMUnitTestFunction run, const void *data, const char *format,
    ...) __attribute__((format(printf, 4, 5)));
int suite_run(struct suite *suite, const char *name);

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))
