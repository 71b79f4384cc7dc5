/* SPDX-License-Identifier: MIT */

/*
 * What went wrong in others: a limit of a million connections that cost its memory before the first
 * of them came; a program that read another version's table as its own; one that was killed by
 * whoever made a file smaller while it was mapped. The slots must also be where the next process
 * looks for them: their size, and that a free one is all zeroes, are the layout that it trusts.
 */

#include "kernel.h"

#include "table.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static bool no_memory;

static struct {
    int truncate_error;
    int seal_error;
    int lock_error;
    int read_error;
    int set_lock_error; /* of fcntl(2) */
    int locks;          /* calls of mlock2(2) */
} fake;

int __real_ftruncate64(int fd, off_t size);
int __wrap_ftruncate64(int fd, off_t size);
int __wrap_ftruncate64(int fd, off_t size)
{
    errno = fake.truncate_error;
    return fake.truncate_error ? -1 : __real_ftruncate64(fd, size);
}

int __real_fcntl64(int fd, int command, ...);
int __wrap_fcntl64(int fd, int command, ...);
int __wrap_fcntl64(int fd, int command, ...)
{
    va_list arguments;

    va_start(arguments, command);
    long argument = va_arg(arguments, long);
    va_end(arguments);
    if (command == F_ADD_SEALS && fake.seal_error) {
        errno = fake.seal_error;
        return -1;
    }
    if (command == F_SETLK && fake.set_lock_error) {
        errno = fake.set_lock_error;
        return -1;
    }
    return __real_fcntl64(fd, command, argument);
}

int __real_mlock2(const void *at, size_t size, unsigned flags);
int __wrap_mlock2(const void *at, size_t size, unsigned flags);
int __wrap_mlock2(const void *at, size_t size, unsigned flags)
{
    assert_int_equal(flags, MLOCK_ONFAULT); /* else a limit would cost its memory */
    fake.locks++;
    errno = fake.lock_error;
    return fake.lock_error ? -1 : __real_mlock2(at, size, flags);
}

ssize_t __real_pread64(int fd, void *buffer, size_t size, off_t offset);
ssize_t __wrap_pread64(int fd, void *buffer, size_t size, off_t offset);
ssize_t __wrap_pread64(int fd, void *buffer, size_t size, off_t offset)
{
    errno = fake.read_error;
    return fake.read_error ? -1 : __real_pread64(fd, buffer, size, offset);
}

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

/* ---- one that outlives its process ---- */

static off_t size_of(uint32_t n_slots)
{
    return (off_t)(sizeof(struct table_header) + n_slots * sizeof(struct transfer_slot));
}

static void test_lasting(void **state)
{
    const uint32_t *n = *state;
    struct table table;
    struct stat status;

    fake.locks = 0;
    assert_int_equal(table_open(&table, *n, true), 0);
    assert_true(table.fd >= 0);
    assert_int_equal(fcntl(table.fd, F_GETFD), FD_CLOEXEC);
    assert_int_equal(fcntl(table.fd, F_GET_SEALS), F_SEAL_SHRINK);
    assert_true(table_is_one(table.fd));
    assert_int_equal(ftruncate(table.fd, 0), -1); /* which would be SIGBUS with the next access */
    assert_int_equal(errno, EPERM);
    assert_int_equal(fstat(table.fd, &status), 0);
    assert_true(status.st_size == size_of(*n));
    assert_int_equal(fake.locks, 1);
    for (uint32_t i = 0; i < *n; i += 1 + *n / 7)
        assert_int_equal(table.slots[i].state, TRANSFER_NOWHERE);
    /* What is written here is there at once for whoever has the descriptor. */
    struct transfer_slot slot;
    table.slots[*n - 1].offset = 4711;
    assert_int_equal(pread(table.fd, &slot, sizeof(slot), size_of(*n - 1)), sizeof(slot));
    assert_true(slot.offset == 4711);
    int fd = table.fd;
    table_close(&table);
    assert_int_equal(table.fd, -1);
    assert_int_equal(fcntl(fd, F_GETFD), -1);
}

/* Nobody keeps it: it is mere memory, which no page is locked of. */
static void test_not_lasting(void **state)
{
    struct table table;

    (void)state;
    fake.locks = 0;
    assert_int_equal(table_open(&table, 5, false), 0);
    assert_int_equal(table.fd, -1);
    assert_int_equal(fake.locks, 0);
    table_close(&table);
}

static void check_works(struct table *table, uint32_t n)
{
    assert_int_equal(table->n_slots, n);
    assert_int_equal(table->header->n_slots, n);
    memset(&table->slots[n - 1], 0xff, sizeof(struct transfer_slot));
}

/* What makes it last may fail, and it works all the same. */
static void test_no_file(void **state)
{
    struct table table;

    (void)state;
    for (int i = 0; i < 3; i++) {
        kernel.memfd_error = i == 0 ? ENOSYS : 0;
        fake.truncate_error = i == 1 ? ENOSPC : 0;
        fake.seal_error = i == 2 ? EPERM : 0;
        int free = dup(0);
        assert_int_equal(table_open(&table, 5, true), 0);
        assert_int_equal(table.fd, -1);
        check_works(&table, 5);
        table_close(&table);
        int again = dup(0); /* the next descriptor but one: none is left open */
        assert_int_equal(again, free + 1);
        assert_int_equal(close(free) + close(again), 0);
    }
    fake.seal_error = kernel.memfd_error = 0;
    fake.lock_error = ENOMEM; /* RLIMIT_MEMLOCK */
    assert_int_equal(table_open(&table, 5, true), 0);
    fake.lock_error = 0;
    assert_true(table.fd >= 0);
    check_works(&table, 5);
    table_close(&table);
    int free = dup(0);
    no_memory = true;
    assert_int_equal(table_open(&table, 5, true), -ENOMEM);
    no_memory = false;
    int again = dup(0);
    assert_int_equal(again, free + 1);
    assert_int_equal(close(free) + close(again), 0);
}

static void test_used(void **state)
{
    static const uint32_t cases[][2] = {{0, 1}, {0, 1}, {5, 6}, {4, 6}, {0, 6}, {6, 7}, {99, 100}};
    struct table table;

    (void)state;
    assert_int_equal(table_open(&table, 100, false), 0);
    assert_int_equal(table.header->n_used, 0);
    for (size_t i = 0; i < LENGTH(cases); i++) {
        table_use(&table, cases[i][0]);
        assert_int_equal(table.header->n_used, cases[i][1]);
    }
    table_close(&table);
}

/* ---- what is one ---- */

static void test_is_one(void **state)
{
    int ends[2];
    int pair[2];
    FILE *temporary = tmpfile();
    int plain = memfd_create("plain", MFD_CLOEXEC);
    int unsealed = memfd_create("unsealed", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    int growing = memfd_create("growing", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    int sealed = memfd_create("sealed", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    (void)state;
    assert_int_equal(pipe(ends) + socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    assert_int_equal(fcntl(growing, F_ADD_SEALS, F_SEAL_GROW), 0);
    assert_int_equal(fcntl(sealed, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW), 0);
    assert_false(table_is_one(-1));
    assert_false(table_is_one(ends[0]));
    assert_false(table_is_one(pair[0]));
    assert_false(table_is_one(fileno(temporary)));
    assert_false(table_is_one(plain));
    assert_false(table_is_one(unsealed));
    assert_false(table_is_one(growing));
    assert_true(table_is_one(sealed));
    assert_int_equal(fclose(temporary), 0);
    assert_int_equal(close(ends[0]) + close(ends[1]) + close(pair[0]) + close(pair[1]), 0);
    assert_int_equal(close(plain) + close(unsealed) + close(growing) + close(sealed), 0);
}

/* ---- that of another process ---- */

/* So many slots, each with a mark, and used up to the last but one. */
static int leave_table(uint32_t n)
{
    struct table table;

    assert_int_equal(table_open(&table, n, true), 0);
    for (uint32_t i = 0; i < n; i++)
        table.slots[i].offset = 1000 + i;
    table_use(&table, n > 1 ? n - 2 : 0);
    int fd = fcntl(table.fd, F_DUPFD_CLOEXEC, 0);
    assert_true(fd >= 0);
    table_close(&table);
    return fd;
}

static const struct adoption {
    uint32_t has;
    uint32_t wants;
} adoptions[] = {{1, 1}, {1, 2}, {2, 1}, {100, 100}, {100, 101}, {100, 99}, {3, 4096}, {4096, 3},
    {4096, 1000000}};

static void check_adopted(const struct adoption *c, int fd)
{
    uint32_t n = c->has > c->wants ? c->has : c->wants;
    const char *why = NULL;
    struct table table;
    struct stat status;

    assert_int_equal(table_adopt(&table, fd, c->wants, &why), 0);
    assert_int_equal(table.fd, fd);
    assert_int_equal(table.header->n_used, c->has > 1 ? c->has - 1 : 1);
    for (uint32_t i = 0; i < c->has; i++)
        assert_true(table.slots[i].offset == 1000 + i);
    for (uint32_t i = c->has; i < n; i += 1 + n / 7)
        assert_int_equal(table.slots[i].state, TRANSFER_NOWHERE);
    assert_int_equal(fstat(fd, &status), 0);
    assert_true(status.st_size >= size_of(n));
    check_works(&table, n);
    table_close(&table);
    assert_int_equal(fcntl(fd, F_GETFD), -1);
}

static void test_adopt(void **state)
{
    const struct adoption *c = *state;

    fake.locks = 0;
    check_adopted(c, leave_table(c->has));
    assert_int_equal(fake.locks, 2);
}

/* The one that made it larger was killed before it could say so. */
static void test_growth_that_was_killed(void **state)
{
    static const uint32_t grown[] = {4, 5, 50, 4096};

    (void)state;
    for (size_t i = 0; i < LENGTH(grown); i++)
        for (uint32_t wants = 1; wants < 100; wants += 9) {
            int fd = leave_table(3);
            assert_int_equal(ftruncate(fd, size_of(grown[i]) - (off_t)(i % 2)), 0);
            check_adopted(&(struct adoption){3, wants}, fd);
        }
}

/* Twice in a row, and the mappings of both are one. */
static void test_growth_twice(void **state)
{
    int fd = leave_table(3);
    const char *why;
    struct table first;
    struct table second;

    (void)state;
    int other = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    assert_int_equal(table_adopt(&first, fd, 10, &why), 0);
    assert_int_equal(table_adopt(&second, other, 100, &why), 0);
    assert_int_equal(first.header->n_slots, 100);
    second.slots[9].offset = 77;
    assert_true(first.slots[9].offset == 77);
    table_close(&first);
    table_close(&second);
}

struct refusal {
    const char *name;
    size_t offset; /* what is overwritten ... */
    size_t size;
    uint64_t value;
    int result;
    const char *why;
    int seals; /* of a file of its own */
    off_t length;
    int truncate_error;
    int read_error;
    bool no_memory;
    bool closed;
};

#define FIELD(name) offsetof(struct table_header, name), sizeof(((struct table_header *)0)->name)

static const struct refusal refusals[] = {
    {"another magic", FIELD(magic), 4711, -EPROTO, "it is no table", 0, 0, 0, 0, false, false},
    {"the magic, the other way round", FIELD(magic), UINT64_C(0x646563746162656c), -EPROTO,
        "it is no table", 0, 0, 0, 0, false, false},
    {"version 1", FIELD(version), 1, -EPROTO, "it is of another version", 0, 0, 0, 0, false, false},
    {"version 3", FIELD(version), 3, -EPROTO, "it is of another version", 0, 0, 0, 0, false, false},
    {"slots of 72 bytes", FIELD(slot_size), 72, -EPROTO, "it is of another version", 0, 0, 0, 0,
        false, false},
    {"no slots", FIELD(n_slots), 0, -EPROTO, "it is damaged", 0, 0, 0, 0, false, false},
    {"more used than there are", FIELD(n_used), 11, -EPROTO, "it is damaged", 0, 0, 0, 0, false,
        false},
    {"a slot more than there is room for", FIELD(n_slots), 11, -EPROTO, "it is damaged", 0, 0, 0, 0,
        false, false},
    {"as many slots as can be said", FIELD(n_slots), UINT32_MAX, -EPROTO, "it is damaged", 0, 0, 0,
        0, false, false},
    {"it is empty", 0, 0, 0, -EPROTO, "it cannot be read", F_SEAL_SHRINK, 0, 0, 0, false, false},
    {"it is cut in the header", 0, 0, 0, -EPROTO, "it cannot be read", F_SEAL_SHRINK, 31, 0, 0,
        false, false},
    {"zeroes", 0, 0, 0, -EPROTO, "it is no table", F_SEAL_SHRINK, 4096, 0, 0, false, false},
    {"it is not sealed", 0, 0, 0, -EPROTO, "it cannot be read", F_SEAL_GROW, 4096, 0, 0, false,
        false},
    {"it is closed", 0, 0, 0, -EPROTO, "it cannot be read", 0, 0, 0, 0, false, true},
    {"20 processes have died of it", FIELD(tries), 20, -EPROTO,
        "20 processes in a row have died of it", 0, 0, 0, 0, false, false},
    {"many more have", FIELD(tries), UINT32_MAX, -EPROTO, "20 processes in a row have died of it",
        0, 0, 0, 0, false, false},
    {"reading fails", 0, 0, 0, -EPROTO, "it cannot be read", 0, 0, 0, EIO, false, false},
    {"growing fails", 0, 0, 0, -ENOSPC, "it cannot be made larger", 0, 0, ENOSPC, 0, false, false},
    {"no memory", 0, 0, 0, -ENOMEM, "it cannot be made larger", 0, 0, 0, 0, true, false},
};

/* What cannot be used is not touched, and stays the caller's. */
static void test_refusal(void **state)
{
    const struct refusal *c = *state;
    char before[2000] = "";
    char after[2000] = "";
    const char *why = NULL;
    struct table table = {.fd = 4711};

    int fd = c->seals ? memfd_create("other", MFD_CLOEXEC | MFD_ALLOW_SEALING) : leave_table(10);
    if (c->seals) {
        assert_int_equal(ftruncate(fd, c->length), 0);
        assert_int_equal(fcntl(fd, F_ADD_SEALS, c->seals), 0);
    }
    assert_int_equal(pwrite(fd, &c->value, c->size, (off_t)c->offset), (ssize_t)c->size);
    assert_true(pread(fd, before, sizeof(before), 0) >= 0);
    if (c->closed)
        assert_int_equal(close(fd), 0);
    fake.truncate_error = c->truncate_error;
    fake.read_error = c->read_error;
    no_memory = c->no_memory;
    int r = table_adopt(&table, fd, 1000, &why);
    memset(&fake, 0, sizeof(fake));
    no_memory = false;
    assert_int_equal(r, c->result);
    assert_string_equal(why, c->why);
    assert_int_equal(table.fd, 4711);
    assert_null(table.header);
    if (c->closed)
        return;
    assert_true(pread(fd, after, sizeof(after), 0) >= 0);
    assert_memory_equal(before, after, sizeof(before));
    assert_int_equal(close(fd), 0);
}

/* Each process that takes it over counts, until one of them has lasted. */
static void test_tries(void **state)
{
    const char *why = NULL;
    struct table table;
    int kept = leave_table(10);

    (void)state;
    for (int round = 0; round < 3; round++) {
        for (uint32_t i = 1; i <= 20; i++) {
            assert_int_equal(table_adopt(&table, fcntl(kept, F_DUPFD_CLOEXEC, 0), 10, &why), 0);
            assert_int_equal(table.header->tries, i);
            if (i == 20 && round < 2)
                table_last(&table);
            table_close(&table);
        }
        struct table_header header;
        assert_int_equal(pread(kept, &header, sizeof(header), 0), sizeof(header));
        assert_int_equal(header.tries, round < 2 ? 0 : 20);
    }
    assert_int_equal(table_adopt(&table, kept, 10, &why), -EPROTO);
    assert_string_equal(why, "20 processes in a row have died of it");
    assert_int_equal(close(kept), 0);
    assert_int_equal(table_open(&table, 10, true), 0);
    assert_int_equal(table.header->tries, 0); /* whoever made it did not take it over */
    table_close(&table);
}

/* A process that systemd has given up, and that runs all the same: two would send side by side. */
static void test_one_at_a_time(void **state)
{
    (void)state;
    for (int made = 0; made < 2; made++) {
        const char *why = NULL;
        struct table table;
        int kept = made ? -1 : leave_table(10);
        int ends[2];
        int status;
        char byte = 0;

        assert_int_equal(pipe(ends), 0);
        if (made) { /* the one that made it, which is this one: another one tries */
            assert_int_equal(table_open(&table, 10, true), 0);
            kept = fcntl(table.fd, F_DUPFD_CLOEXEC, 0);
            pid_t child = fork();
            if (child == 0) {
                struct table other;
                int r = table_adopt(&other, kept, 10, &why);
                _exit(r == -EPROTO && strcmp(why, "the process that made it still runs") == 0 ? 0
                                                                                              : 1);
            }
            assert_int_equal(waitpid(child, &status, 0), child);
            assert_int_equal(status, 0);
            table_close(&table);
        } else { /* one that took it over, and is killed in the end */
            pid_t child = fork();
            if (child == 0) {
                struct table other;
                if (table_adopt(&other, kept, 10, &why) == 0 && write(ends[1], &byte, 1) == 1)
                    for (;;)
                        (void)pause();
                _exit(1);
            }
            assert_int_equal(read(ends[0], &byte, 1), 1);
            assert_int_equal(table_adopt(&table, kept, 10, &why), -EPROTO);
            assert_string_equal(why, "the process that made it still runs");
            assert_int_equal(kill(child, SIGKILL), 0);
            assert_int_equal(waitpid(child, &status, 0), child);
        }
        assert_int_equal(table_adopt(&table, kept, 10, &why), 0);
        table_close(&table);
        assert_int_equal(close(ends[0]) + close(ends[1]), 0);
    }
}

/* Where locks cannot be had, nobody else is known to have one. */
static void test_no_locks(void **state)
{
    static const struct {
        int error;
        int result;
    } cases[] = {{ENOLCK, 0}, {EINVAL, 0}, {EAGAIN, -EPROTO}, {EACCES, -EPROTO}};

    (void)state;
    for (size_t i = 0; i < LENGTH(cases); i++) {
        const char *why = NULL;
        struct table table;
        int fd = leave_table(10);
        fake.set_lock_error = cases[i].error;
        assert_int_equal(table_adopt(&table, fd, 10, &why), cases[i].result);
        fake.set_lock_error = 0;
        if (cases[i].result == 0)
            table_close(&table);
        else
            assert_int_equal(close(fd), 0);
    }
}

/* Sealed against growing, too, by whoever: as it is, it can be used. */
static void test_sealed(void **state)
{
    const char *why = NULL;
    struct table table;
    int fd = leave_table(10);

    (void)state;
    assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_GROW), 0);
    assert_int_equal(table_adopt(&table, fd, 11, &why), -EPERM);
    assert_string_equal(why, "it cannot be made larger");
    assert_int_equal(table_adopt(&table, fd, 10, &why), 0);
    check_works(&table, 10);
    table_close(&table);
}

/* Another layout is another version: whoever changes the slot must say so here, and in table.c. */
static void test_layout(void **state)
{
    (void)state;
    assert_int_equal(sizeof(struct table_header), 32);
    assert_int_equal(offsetof(struct table_header, magic), 0);
    assert_int_equal(offsetof(struct table_header, version), 8);
    assert_int_equal(offsetof(struct table_header, slot_size), 12);
    assert_int_equal(offsetof(struct table_header, n_slots), 16);
    assert_int_equal(offsetof(struct table_header, n_used), 20);
    assert_int_equal(offsetof(struct table_header, tries), 24);
    assert_int_equal(offsetof(struct table_header, reserved), 28);
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
    for (size_t i = 0; i < LENGTH(sizes); i++)
        suite_add(&suite, test_lasting, &sizes[i], "%u slots, to last", sizes[i]);
    suite_add(&suite, test_not_lasting, NULL, "not to last");
    suite_add(&suite, test_no_file, NULL, "to last, but it cannot");
    suite_add(&suite, test_used, NULL, "the number of those that were ever used");
    suite_add(&suite, test_is_one, NULL, "what is one");
    for (size_t i = 0; i < LENGTH(adoptions); i++)
        suite_add(&suite, test_adopt, &adoptions[i], "adopted: %u slots, for %u", adoptions[i].has,
            adoptions[i].wants);
    suite_add(&suite, test_growth_that_was_killed, NULL, "adopted: growing it came to no end");
    suite_add(&suite, test_growth_twice, NULL, "adopted: and adopted once more");
    suite_add(&suite, test_tries, NULL, "adopted: 20 times in a row");
    suite_add(&suite, test_one_at_a_time, NULL, "adopted: by one process at a time");
    suite_add(&suite, test_no_locks, NULL, "adopted: where there are no locks");
    suite_add(&suite, test_sealed, NULL, "adopted: unless it must grow");
    for (size_t i = 0; i < LENGTH(refusals); i++)
        suite_add(&suite, test_refusal, &refusals[i], "refused: %s", refusals[i].name);
    suite_add(&suite, test_layout, NULL, "the layout of version 2");
    return suite_run(&suite, "table");
}
