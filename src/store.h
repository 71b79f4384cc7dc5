/* SPDX-License-Identifier: MIT */
#pragma once

#include "clock.h"
#include "handover.h"
#include "options.h"
#include "report.h"
#include "source.h"
#include "table.h"

#include <stdbool.h>
#include <stdint.h>

/*
 * The file-descriptor store of systemd (FileDescriptorStoreMax=, sd_pid_notify_with_fds(3)), which
 * keeps duplicates of what the transfers need when this process dies, and hands them to the next
 * one: the table, the served files, and the clients' sockets. As long as it has a socket, the death
 * of a process does not reset the client.
 *
 * A message to PID 1 costs it as much time as a small file costs us, and it has the whole system to
 * look after. So a socket is kept when its transfer outlives its first turn, and never for what one
 * call can finish; and if more than 1000 a second do that, the others wait for their time, which
 * most of them have no need of any more when it comes. What dies before is reset. PID 1 does not
 * answer, and nothing here waits for it.
 *
 * Everything is kept with FDPOLL=0: PID 1 would drop a socket whose client has left, and nobody
 * could tell any more what became of it.
 */

/* The names of what is kept, sd_listen_fds_with_names(3). They are short, since all of them must
 * fit into one string. */
enum store_kind {
    STORE_FOREIGN, /* no name of ours */
    STORE_TABLE,   /* @table */
    STORE_WITNESS, /* @witness: both ends of a pipe */
    STORE_FILE,    /* @file- and the generation, hexadecimal */
    STORE_SOCKET,  /* @ and the number of its slot, hexadecimal */
};

/* What a name says; *number is that of STORE_FILE and STORE_SOCKET. */
enum store_kind store_read_name(const char *name, uint32_t *number) __attribute__((nonnull));

#define STORE_NOBODY UINT32_MAX

enum store_state {
    STORE_UNTRIED, /* nothing was asked to be kept yet */
    STORE_ASKED,   /* the witness is on its way, and nothing else may be before it was kept */
    STORE_THERE,
    STORE_NONE, /* there is nobody, or nobody keeps anything */
};

struct store_place;
struct store_file;

struct store {
    const struct notify *notify; /* borrowed */
    struct table *table;         /* borrowed */
    struct report *report;       /* borrowed */
    enum store_state state;
    int events;  /* owned; for epoll(7): readable when store_take_events() is to be called; or -1 */
    int witness; /* owned; our end of a pipe: hangs up when the store drops the other; -1 */
    int barrier; /* owned; the same: hangs up when PID 1 has come to it; -1 */
    uint32_t most;              /* descriptors that may be kept */
    uint32_t n;                 /* descriptors that are kept */
    uint32_t names;             /* bytes that their names take */
    uint32_t n_kept;            /* sockets that are kept */
    struct store_place *places; /* of each slot; owned */
    struct store_queue {
        uint32_t first;
        uint32_t last;
    } coming, going, gone;    /* sockets to be kept, and to be dropped; slots that are free again */
    struct store_file *files; /* owned; to be kept, kept, or to be dropped */
    int64_t retry_at;         /* ns; PID 1 took no message, and a socket can't tell when it will */
    int64_t keep_at;          /* ns; more were to be kept than is good for PID 1; or CLOCK_NEVER */
    int64_t paid_to;          /* ns; each one kept puts it off by its share of a second */
    bool blocked;             /* PID 1 took no message, and events will tell when it does */
    bool hurried;             /* this process is about to end */
    bool reclaiming;          /* files may be wanted by transfers that have not been looked at */
    bool table_kept;
    bool told_full;
};

/* A transfer to go on with; all are the callee's to own, the source is held once. */
typedef void store_resume(
    void *context, uint32_t slot, int fd, enum socket_kind kind, struct source *source);

/*
 * Opens the table, too, of that many slots or more: that of the process before, or a new one.
 * Returns 0, or a negative errno: ENOMEM, or of mmap(2), epoll_create1(2) or getrlimit(2). That
 * nothing can be kept is no failure: transfers then run as they would without a store.
 */
int store_open(struct store *store, struct handover *handover, struct table *table,
    uint32_t n_slots, struct report *report) __attribute__((nonnull, warn_unused_result));

/*
 * Goes through what a process before has left, by type and by name: each transfer that is whole
 * goes to resume(); each other socket is reset, and said so; a slot without a socket is reported as
 * killed. Never guesses. options->file names what has no name. Everything that handover->stored
 * has is owned from then on.
 */
void store_reclaim(struct store *store, struct handover *handover, const struct sources *sources,
    const struct options *options, store_resume *resume, void *context)
    __attribute__((nonnull(1, 2, 3, 4, 5)));

/* The socket of that transfer is to be kept, as soon as PID 1 takes the message. Again: nothing. */
void store_keep(struct store *store, uint32_t slot, int fd, struct source *source)
    __attribute__((nonnull));

/*
 * The transfer has ended, and its socket is closed. True: the slot is free. False: the store has a
 * duplicate, which must go first; then store_next_free() has the slot.
 */
bool store_forget(struct store *store, uint32_t slot) __attribute__((nonnull, warn_unused_result));

/* A slot that is free by now, or STORE_NOBODY. */
uint32_t store_next_free(struct store *store) __attribute__((nonnull));

/* Drops the files that nobody needs any more: when a transfer has ended, or a file was opened anew.
 */
void store_tidy(struct store *store) __attribute__((nonnull));

/* PID 1 takes messages again, or has come to one, or has dropped everything. */
void store_take_events(struct store *store) __attribute__((nonnull));

/* When store_retry() is to be called, or CLOCK_NEVER. */
static inline int64_t store_next_time(const struct store *store)
{
    return store->retry_at < store->keep_at ? store->retry_at : store->keep_at;
}

/* Sends what had to wait till now. */
void store_retry(struct store *store) __attribute__((nonnull));

/* This process is about to end: what is to be kept is sent however many they are. */
void store_hurry(struct store *store) __attribute__((nonnull));

/* Is its socket kept? */
bool store_has(const struct store *store, uint32_t slot) __attribute__((nonnull));

/* Nothing that was to be kept, or to be dropped, waits for PID 1. */
static inline bool store_is_settled(const struct store *store)
{
    return store->coming.first == STORE_NOBODY && store->going.first == STORE_NOBODY;
}

void store_close(struct store *store) __attribute__((nonnull));

/* Bytes of memory for each connection, for the budget in resident.c. */
#define STORE_COST (4 * sizeof(uint32_t))
