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
#include "handover.h"
#include "source.h"
#include "transfer.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define KERNEL_SOCKET    1000 /* the first of our descriptors: far above any real one */
#define KERNEL_SOCKETS   1000
#define KERNEL_FILE      2500
#define KERNEL_LISTENER  3000
#define KERNEL_LISTENERS 3
#define KERNEL_EPOLL     4000
#define KERNEL_EPOLLS    2
#define KERNEL_NOTIFY    5000
#define KERNEL_DUPLICATE 100 /* the manager's descriptors of what is real are from here on */

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
    int outq_error;   /* ENOTTY: vsock before Linux 6.11 */
    int recv_error;   /* once */
    off_t more_acked; /* than was queued by us, as TCP_INFO has it */
    int busy_looks;   /* so many times a byte is acknowledged just before SIOCOUTQ is answered */

    /* How it came. */
    int listener;     /* its number, from 0, of a client that accept4(2) brings */
    uint32_t source;  /* IPv4 address, or the user of a UNIX socket */
    bool connected;   /* the client's side: it is in the queue, or accepted */
    int64_t accepted; /* ns */
    int64_t closed;   /* ns; by us */

    /* How things stand. */
    int fd;
    bool open;
    int duplicates; /* that the manager has */
    off_t promised; /* as soon as sendfile(2) was called: the end of the promise, less its start */
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
    char calls[256]; /* L armed, l disarmed, N no delay, W low water, P paced, F end, B both ends
                       shut, X reset by connect, C closed; in order */
    off_t turn;      /* bytes since kernel_turn() */
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
    EVENT_WAKE,     /* value: poll(2) or epoll_wait(2) fails with this errno */
    EVENT_ARRIVES,  /* the handshake of this client, which is one of kernel.sockets, has ended */
    EVENT_ACCEPT,   /* value: what accept4(2) says from now on instead; 0: nothing */
    EVENT_SHUTS,    /* the listener of that number is shut down by another process */
    EVENT_TEST,     /* value: for the test's own kernel.hook */
};

/*
 * A listening socket. What accept4(2) says once it tells of a connection, which is lost by that,
 * since accept(2) gives the errors of a new connection as its own.
 */
struct kernel_listener {
    enum socket_kind kind;
    bool open;
    bool shut;
    bool armed;                /* so that those accepted are */
    int error;                 /* accept4(2) fails with it, and takes nothing from the queue */
    const int *losses;         /* up to a 0: each takes a connection, and fails with that */
    int pace_error;            /* of setsockopt(2) */
    unsigned long pace;        /* that those accepted inherit */
    int queue[KERNEL_SOCKETS]; /* numbers of sockets */
    int first;
    int n;
    unsigned long accepts; /* calls */
};

struct kernel_watch {
    int epoll;
    int fd;
    const struct kernel_socket *socket; /* what is watched, not its number, epoll(7) */
    uint32_t events;
    uint64_t data;
};

/*
 * systemd as the manager of a service of Type=notify. It takes messages in their order, while the
 * service waits, and closes what it does not keep.
 */
struct kernel_kept {
    char name[24];
    int real; /* a duplicate; -1: it is a socket of ours */
    struct kernel_socket *socket;
};

struct kernel_message {
    int64_t at;
    char text[512];
    struct kernel_kept fds[2];
    int n_fds;
};

struct kernel_manager {
    bool stopped;  /* it takes nothing from its queue */
    uint32_t room; /* messages that fit in there, net.unix.max_dgram_qlen; 0: any number */
    uint32_t most; /* FileDescriptorStoreMax= */
    int error;     /* send(2) and sendmsg(2) fail with it: the so-manieth from here, and then */
    int fails;     /* no more; 0: each */
    struct kernel_message messages[4000]; /* all that were taken */
    size_t n_messages;
    size_t n_read;                /* of which it has come to so many */
    struct kernel_kept kept[800]; /* in its store */
    size_t n_kept;
};

struct kernel_event {
    int64_t at; /* ns; in order */
    enum kernel_event_kind kind;
    off_t value;
    int socket; /* its number, from 0 */
};

struct kernel {
    struct kernel_socket sockets[KERNEL_SOCKETS];
    int n_sockets;                             /* of them were ever used */
    struct kernel_socket *fds[KERNEL_SOCKETS]; /* by descriptor, NULL: closed */
    struct kernel_listener listeners[KERNEL_LISTENERS];
    struct {
        off_t size;
        int64_t mtime;
        off_t first_size;
        int error;           /* what fstat(2) says */
        unsigned long stats; /* calls of fstat(2) */
        bool seen_changed;   /* by the last of them */

        bool on_disk; /* what lies behind `cached` is not in memory */
        off_t cached; /* bytes from 0 that are */
        struct kernel_read {
            off_t to;
            int64_t comes; /* ns */
        } reads[64];       /* on their way */
        size_t n_reads;
        int64_t seek;          /* ns that the disk takes; CLOCK_NEVER: it is broken */
        int ready_error;       /* what preadv2(2) says, EOPNOTSUPP ... */
        int fadvise_error;     /* what posix_fadvise(2) returns */
        unsigned long looks;   /* calls of preadv2(2) */
        unsigned long advices; /* calls of posix_fadvise(2) */
        off_t advised_from;    /* by all of them */
        off_t advised_to;
        off_t advised; /* bytes, each as often as it was */
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
    int pipe_fails;              /* the so-manieth pipe2(2) from here, with EMFILE; 0: none */
    int memfd_error;             /* of memfd_create(2) */
    int fstat_fails;             /* the so-manieth call for a real file from here; 0: none */
    int listen_fds_error;        /* of sd_listen_fds(3), whatever the environment says */
    int64_t send_cost;           /* ns that each sendfile(2) takes: a disk that has to seek */
    unsigned long zero_timeouts; /* how often poll(2) was not to wait at all */

    struct kernel_watch watches[KERNEL_SOCKETS + KERNEL_LISTENERS + 8];
    size_t n_watches;
    size_t turn;                /* of epoll_wait(2), which promises no order */
    bool epolls[KERNEL_EPOLLS]; /* are open; one may watch another */
    int epoll_create_error;
    int epoll_create_fails; /* the so-manieth call from here; 0: none */
    int epoll_ctl_error;    /* of the call that this counts down to: */
    int epoll_ctl_fails;    /* the so-manieth call from here; 0: none */
    int epoll_most;         /* events that epoll_wait(2) may return */
    int epoll_max;          /* and did, at most */
    void (*hook)(off_t value, struct kernel_socket *socket);
    struct kernel_manager manager;

    long kill_in;     /* SIGKILL before the so-manieth system call from here: longjmp to killed */
    long kill_inside; /* SIGKILL inside the so-manieth sendfile(2), which cannot write back then */
    jmp_buf killed;
    bool waiting; /* what is called then is none of the process's */
};

extern struct kernel kernel;

/* All as on the first day, with a file of so many bytes, and what source_open() would make of it.
 */
void kernel_reset(struct source *source, off_t size);

/* A connected, armed socket with a client that takes whatever comes, and acknowledges nothing. */
struct kernel_socket *kernel_connect(enum socket_kind kind, const struct transfer_slot *slot);

/* The same client, not connected: EVENT_ARRIVES puts it into the queue of the listener. */
struct kernel_socket *kernel_expect(int listener);

/* A listening socket; returns its descriptor. */
int kernel_listen(int number, enum socket_kind kind);

int kernel_fd(const struct kernel_socket *socket);

/* Things that a client, a network or an admin does. */
void kernel_do(enum kernel_event_kind kind, struct kernel_socket *socket, off_t value);

/* What poll(2) would say at once. */
short kernel_revents(const struct kernel_socket *socket, short events);

/* Waits as poll(2) does, until the instant given; the number of ready descriptors. */
int kernel_wait(struct pollfd *polls, size_t n, int64_t until);

/* What epoll_wait(2) would say at once. */
bool kernel_is_ready(int epoll);

/* After SIGKILL: all that the process had is closed. */
void kernel_bury(void);

/* So much time goes by without any process. */
void kernel_pass(int64_t span);

/* What the next process gets of all that the manager keeps, as handover.c would find it. */
void kernel_hand_over(struct stored *stored);

/* What it has left of that. */
void kernel_take_back(struct stored *stored);

/* The manager comes to all that waits in its queue. */
void kernel_manage(void);

/* All that was sent about descriptors, in its order: "+@0" to be kept, "-@0" to be dropped, "*2"
 * with two of them. */
void kernel_format_messages(char *text, size_t size);

/* It drops everything that it keeps: FileDescriptorStoreMax=0 and a daemon-reload. */
void kernel_drop_all(void);

/* How many it keeps under that name, and the number of the last of them. */
int kernel_kept(const char *name, size_t *number);

/* A new turn begins: what it moves is counted from here. */
void kernel_turn(struct kernel_socket *socket);

/* How often the call with that letter was made. */
int kernel_calls(const struct kernel_socket *socket, char letter);

/* Chance, the same on every machine: SEED= of the environment, or else this one; it is printed. */
void kernel_seed(uint64_t seed);
uint64_t kernel_roll(uint64_t sides);
uint64_t kernel_dice(void); /* a SEED= with which all goes on as from here */

/* What one sendfile(2) in a storm does; for kernel_socket.chance. */
off_t kernel_by_chance(struct kernel_socket *socket, size_t count);

/* A signal that came to nobody must not come to the next test. */
void kernel_forget_signals(void);

/* Cases are data: one line of TAP for each, made from a table. */
struct suite {
    struct CMUnitTest tests[1200];
    size_t n;
};

void suite_add(struct suite *suite, CMUnitTestFunction run, const void *data, const char *format,
    ...) __attribute__((format(printf, 4, 5)));
int suite_run(struct suite *suite, const char *name);

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))
