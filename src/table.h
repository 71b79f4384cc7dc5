/* SPDX-License-Identifier: MIT */
#pragma once

#include "transfer.h"

#include <stdint.h>

/*
 * The slots of the running transfers: all that another process would need to go on with them, in
 * one shared mapping, apart from what only this process needs. A slot is free while its state is
 * TRANSFER_NOWHERE, which is 0. Who takes a slot fills it in first and sets the state last
 * (transfer_slot_init()); who gives it back clears the state first. The kernel itself writes the
 * offset, inside sendfile(2).
 */
struct table_header {
    uint64_t magic;
    uint32_t version;   /* of the layout; another one is no table of ours */
    uint32_t slot_size; /* bytes */
    uint32_t n_slots;
    uint32_t reserved;
};

struct table {
    struct table_header *header; /* of the mapping, which is owned; the slots follow it */
    struct transfer_slot *slots;
    uint32_t n_slots;
};

/*
 * A table of so many free slots, 1 or more. No page of it is touched before it is used, so that the
 * limit costs nothing, only the connections do. Returns 0 or a negative errno of mmap(2).
 */
int table_open(struct table *table, uint32_t n_slots) __attribute__((nonnull, warn_unused_result));

void table_close(struct table *table) __attribute__((nonnull));
