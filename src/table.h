/* SPDX-License-Identifier: MIT */
#pragma once

#include "transfer.h"

#include <stdbool.h>
#include <stdint.h>

/*
 * The slots of the running transfers: all that another process needs to go on with them, in one
 * shared mapping, apart from what only this process needs. With a supervisor that keeps descriptors
 * the mapping is a memfd, which outlives us in its store.
 *
 * SIGKILL can come between any two instructions, so a slot is right after each of them, if each is
 * written in this order. A slot is free while its state is TRANSFER_NOWHERE, which is 0.
 *
 *   begin    all that is promised, then the state: there is never half a promise
 *   sending  the offset, which the kernel itself writes before sendfile(2) returns, and before a
 *            SIGKILL can take effect: what is in the socket's queue and what the slot says are one
 *   keeping  the seal, then the socket goes to the store: what is there has a sealed slot
 *   moving   the event, then the state, then the deed (a socket option, shutdown(2), close(2), a
 *            reset): whoever finds the state does the deed once more, which does no harm
 *   ending   the state DONE or ABORTED; the deed; the record; the event NOTHING, as it is recorded;
 *            the socket out of the store; the state NOWHERE, and only then is the slot's number,
 *            which is the socket's name there, free for another one
 *
 * So another process finds for a slot that is SENDING, FINISHING or DRAINING its socket, and goes
 * on; or no socket, as the process was killed before it was kept, so that the kernel has reset the
 * client, or sends it the last bytes by itself. With DONE it closes what it finds, with ABORTED it
 * resets it, and a record that was written a moment before the kill may be written twice.
 */
struct table_header {
    uint64_t magic;
    uint32_t version;   /* of the layout; another one is no table of ours */
    uint32_t slot_size; /* bytes */
    uint32_t n_slots;
    uint32_t n_used; /* no slot from this number on was ever used */
    uint32_t tries;  /* processes that have taken it over, since one of them lasted */
    uint32_t reserved;
};

struct table {
    struct table_header *header; /* of the mapping, which is owned; the slots follow it */
    struct transfer_slot *slots;
    uint32_t n_slots;
    int fd; /* owned; the memfd, or -1 where nobody could keep one */
};

/*
 * A table of so many free slots, 1 or more. No page of it is touched before it is used, so that the
 * limit costs nothing, only the connections do. lasting: in a memfd, where the kernel has them.
 * Returns 0 or a negative errno of mmap(2).
 */
int table_open(struct table *table, uint32_t n_slots, bool lasting)
    __attribute__((nonnull, warn_unused_result));

/*
 * The table of another process, of at least so many slots, grown if it has fewer. Owns fd after
 * success. -EPROTO: it is not one of this version, or it is damaged, and *why tells in what; or the
 * other process still runs, as one may that waits for a dead disk when systemd has given it up, and
 * would send beside us; or too many have died of it in a row. Or a negative errno of mmap(2) or
 * ftruncate(2).
 */
int table_adopt(struct table *table, int fd, uint32_t n_slots, const char **why)
    __attribute__((nonnull, warn_unused_result));

/* Could that descriptor be a table? No other file is sealed against shrinking, memfd_create(2). */
bool table_is_one(int fd) __attribute__((warn_unused_result));

/* This process has lasted: that it took the table over does not count against it. */
void table_last(struct table *table) __attribute__((nonnull));

/* Before a slot is used for the first time. */
void table_use(struct table *table, uint32_t slot) __attribute__((nonnull));

void table_close(struct table *table) __attribute__((nonnull));
