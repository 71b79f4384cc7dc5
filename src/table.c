/* SPDX-License-Identifier: MIT */
#include "table.h"

#include <errno.h>
#include <stddef.h>
#include <sys/mman.h>

#define MAGIC   UINT64_C(0x656c626174636564) /* "dectable", on little-endian machines */
#define VERSION 1

static size_t size_of(uint32_t n_slots)
{
    return sizeof(struct table_header) + n_slots * sizeof(struct transfer_slot);
}

int table_open(struct table *table, uint32_t n_slots)
{
    void *memory = mmap(NULL, size_of(n_slots), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
        -1, 0); /* zeroes: every slot is free */

    if (memory == MAP_FAILED)
        return -errno;
    *table = (struct table){
        .header = memory,
        .slots = (struct transfer_slot *)((struct table_header *)memory + 1),
        .n_slots = n_slots,
    };
    *table->header = (struct table_header){
        .magic = MAGIC,
        .version = VERSION,
        .slot_size = sizeof(struct transfer_slot),
        .n_slots = n_slots,
    };
    return 0;
}

void table_close(struct table *table)
{
    (void)munmap(table->header, size_of(table->n_slots)); /* our own mapping */
    *table = (struct table){0};
}
