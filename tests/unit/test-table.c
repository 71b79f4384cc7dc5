/* SPDX-License-Identifier: MIT */

/*
 * What went wrong in others: a limit of a million connections that cost its memory before the first
 * of them came. The slots must also be where the next process looks for them: their size, and that
 * a free one is all zeroes, are the layout that it trusts.
 */

#include "kernel.h"

#include "table.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static bool no_memory;

void *__real_mmap64(void *at, size_t size, int protection, int flags, int fd, off_t offset);
void *__wrap_mmap64(void *at, size_t size, int protection, int flags, int fd, off_t offset);
void *__wrap_mmap64(void *at, size_t size, int protection, int flags, int fd, off_t offset)
{
    assert_true(flags & MAP_SHARED); /* a private one would be another process's copy */
    if (no_memory) {
        errno = ENOMEM;
        return MAP_FAILED;
    }
    return __real_mmap64(at, size, protection, flags, fd, offset);
}

static const uint32_t sizes[] = {1, 2, 100, 4096, 1000000};

static void test_slots(void **state)
{
    const uint32_t *n = *state;
    struct table table;

    assert_int_equal(table_open(&table, *n, false), 0);
    assert_int_equal(table.n_slots, *n);
    assert_int_equal(table.header->n_slots, *n);
    assert_int_equal(table.header->slot_size, sizeof(struct transfer_slot));
    assert_int_equal(table.header->version, 2);
    assert_int_equal(table.header->n_used, 0);
    assert_true(table.header->magic != 0);
    assert_ptr_equal(table.slots, (struct transfer_slot *)(table.header + 1));
    assert_int_equal((uintptr_t)table.slots % _Alignof(struct transfer_slot), 0);
    for (uint32_t i = 0; i < *n; i += 1 + *n / 7)
        assert_int_equal(table.slots[i].state, TRANSFER_NOWHERE);
    /* To the very last byte of the last one. */
    memset(&table.slots[*n - 1], 0xff, sizeof(struct transfer_slot));
    assert_int_equal(table.header->n_slots, *n);
    table_close(&table);
    assert_null(table.header);
    assert_null(table.slots);
    assert_int_equal(table.n_slots, 0);
}

/* Pages of a mapping that are in memory. */
static size_t resident_pages(void *memory, size_t size)
{
    static unsigned char pages[100000];
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t n = 0;

    assert_true(size / page < sizeof(pages));
    assert_int_equal(mincore(memory, size, pages), 0);
    for (size_t i = 0; i < (size + page - 1) / page; i++)
        n += pages[i] & 1;
    return n;
}

/* A limit costs nothing, only the connections do. */
static void test_untouched(void **state)
{
    const size_t size = sizeof(struct table_header) + 1000000 * sizeof(struct transfer_slot);
    struct table table;

    (void)state;
    assert_int_equal(table_open(&table, 1000000, false), 0);
    assert_int_equal(resident_pages(table.header, size), 1);
    table.slots[500000].state = TRANSFER_SENDING;
    assert_int_equal(resident_pages(table.header, size), 2);
    table_close(&table);
}

static void test_no_memory(void **state)
{
    struct table table = {0};

    (void)state;
    no_memory = true;
    assert_int_equal(table_open(&table, 10, false), -ENOMEM);
    no_memory = false;
    assert_null(table.header); /* and so there is nothing to close */
}

/* Another layout is another version: whoever changes the slot must say so here, and in table.c. */
static void test_layout(void **state)
{
    (void)state;
    assert_int_equal(sizeof(struct table_header), 24);
    assert_int_equal(sizeof(struct transfer_slot), 80);
    assert_int_equal(offsetof(struct transfer_slot, offset), 0);
    assert_int_equal(offsetof(struct transfer_slot, start), 8);
    assert_int_equal(offsetof(struct transfer_slot, end), 16);
    assert_int_equal(offsetof(struct transfer_slot, size), 24);
    assert_int_equal(offsetof(struct transfer_slot, mtime), 32);
    assert_int_equal(offsetof(struct transfer_slot, started), 40);
    assert_int_equal(offsetof(struct transfer_slot, generation), 48);
    assert_int_equal(offsetof(struct transfer_slot, seal), 52);
    assert_int_equal(offsetof(struct transfer_slot, peer), 56);
    assert_int_equal(sizeof(struct peer), 20);
    assert_int_equal(offsetof(struct transfer_slot, state), 76);
    assert_int_equal(offsetof(struct transfer_slot, event), 77);
    assert_int_equal(offsetof(struct transfer_slot, held), 78);
    assert_int_equal(offsetof(struct transfer_slot, resumed), 79);
}

int main(void)
{
    static struct suite suite;

    for (size_t i = 0; i < LENGTH(sizes); i++)
        suite_add(&suite, test_slots, &sizes[i], "%u slots", sizes[i]);
    suite_add(&suite, test_untouched, NULL, "a million slots cost one page");
    suite_add(&suite, test_no_memory, NULL, "no memory");
    suite_add(&suite, test_layout, NULL, "the layout of version 2");
    return suite_run(&suite, "table");
}
