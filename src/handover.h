/* SPDX-License-Identifier: MIT */
#pragma once

#include "notify.h"
#include "problem.h"
#include "transfer.h"

#include <stdbool.h>
#include <stddef.h>

/* Where words for people can go without reaching a client. */
enum channel {
    CHANNEL_STDERR,  /* descriptor 2 is a terminal, a file or a pipe */
    CHANNEL_JOURNAL, /* descriptor 2 is read by systemd-journald, which takes <6> prefixes */
    CHANNEL_SYSLOG,  /* descriptor 2 is closed, or a socket: under inetd the client itself */
};

/* One connected stream socket. */
struct connection {
    int fd; /* 3 or more, non-blocking, close-on-exec, armed; owned, -1 once a transfer has it */
    enum socket_kind kind;
    const char *name; /* FileDescriptorName=, or NULL */
    char peer[112];   /* as peer_format() has it */
};

/*
 * One listening stream socket, which the supervisor has as well and will take back: nothing that is
 * left in its queue is lost when we end.
 */
struct listener {
    int fd; /* 3 or more, non-blocking, close-on-exec, armed; owned */
    enum socket_kind kind;
    const char *name;  /* FileDescriptorName=, or NULL */
    char address[128]; /* for people: 0.0.0.0:7070, [::]:7070, unix:/run/decant.sock */
};

/*
 * What systemd's file-descriptor store has kept of a process before, store.h. Each descriptor is
 * owned, and close-on-exec, until store.c takes it over; closed it is no reset, as the store has
 * it.
 */
struct stored_socket {
    int fd;
    uint32_t slot; /* of the table, by its name */
    enum socket_kind kind;
};

struct stored_file {
    int fd;
    uint32_t generation; /* by its name */
};

struct stored {
    uint32_t n;     /* descriptors in all */
    uint32_t names; /* bytes of their names, and one for each */
    uint32_t most;  /* FDSTORE=, as many as may be; 0: not said */
    uint32_t room;  /* descriptors that the next process can be handed beside the listeners */
    int table;      /* -1: none */
    uint32_t n_tables;
    int witness; /* the read end of the pipe; -1: none */
    struct stored_socket *sockets;
    size_t n_sockets;
    struct stored_file *files;
    size_t n_files;
    uint32_t last_generation; /* the highest of a file, or 0 */
    uint32_t n_foreign;       /* that are none of these, and were closed */
    const char *foreign;      /* the name of the last of them */
    bool comes_back;          /* what is kept now will be handed over again; StandardInput=socket,
                                 which passes that one socket and nothing else, does not */
};

/* What the supervisor gave us. Written by handover.c, read by everybody else. */
struct handover {
    struct connection *connections; /* freed by handover_end(), as the next one */
    size_t n_connections;
    struct listener *listeners; /* after success there are some of the one or of the other */
    size_t n_listeners;
    char **names;         /* that those of the sockets point into; owned; or NULL */
    struct stored stored; /* beside listeners, or alone */
    struct notify notify;
    int file_fd; /* a regular file that came beside the sockets, or -1; the source's to own */
    bool file_is_stdin; /* descriptor 0: StandardInput=file:, or an accident of the shell */
    enum channel channel;
};

/*
 * Looks at the environment and the descriptors, once, before anything else is opened: the sockets
 * of sd_listen_fds(3), or else descriptor 0. A descriptor is judged by what it is, never by its
 * name or number (systemd 253 to 258 get the names out of step); what the store has kept, by both.
 * Arms each socket, takes the sockets off the descriptors 0, 1 and 2, and fills gaps there with
 * /dev/null, so that no library can ever write to a client. Environment: LISTEN_PID, LISTEN_FDS,
 * LISTEN_FDNAMES, JOURNAL_STREAM, REMOTE_ADDR, REMOTE_PORT, TCPREMOTEIP, TCPREMOTEPORT,
 * NOTIFY_SOCKET, WATCHDOG_PID, WATCHDOG_USEC, FDSTORE; all are taken out.
 *
 * Returns 0, or a negative errno with *problem filled in: EX_PROTOCOL where no usable stream socket
 * was handed over, EX_OSERR where a system call failed. After a failure every connection that had
 * come is reset already, accepted or not. The channel is right in any case.
 */
int handover_take(struct handover *handover, struct problem *problem)
    __attribute__((nonnull, warn_unused_result));

/*
 * We cannot go on: accepts and resets all that wait in the queues of the listeners. Else the
 * supervisor, which finds them there when we are gone, would start us again for them, for ever.
 */
void handover_refuse(struct handover *handover) __attribute__((nonnull));

/* Resets the connections that no transfer has taken over (fd is not -1), but none that the store
 * has: they are for the next process. Frees all. */
void handover_end(struct handover *handover) __attribute__((nonnull));
