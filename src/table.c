/* SPDX-License-Identifier: MIT */
#include "table.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAGIC   UINT64_C(0x656c626174636564) /* "dectable", on little-endian machines */
#define VERSION 2

/* As many may die in a row while they take it over: else one slot could kill each of them. */
#define MOST_TRIES 20

static size_t size_of(uint32_t n_slots)
{
    return sizeof(struct table_header) + n_slots * sizeof(struct transfer_slot);
}

/*
 * Shrinking would turn each access into a SIGBUS, and so be a way to kill us. Growing stays
 * allowed: a process with a higher limit does it.
 */
static int make_file(uint32_t n_slots)
{
    int fd = memfd_create("decant", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    if (fd >= 0 &&
        (ftruncate(fd, (off_t)size_of(n_slots)) < 0 || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK) < 0)) {
        (void)close(fd); /* nobody has seen it */
        fd = -1;
    }
    return fd;
}

/*
 * Whoever runs with the table has this lock. It is the process's own, whoever has duplicates of the
 * descriptor, and is gone when the last instruction of it is, fcntl_locking(2).
 */
static int lock(int fd)
{
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

    return fcntl(fd, F_SETLK, &whole) < 0 && (errno == EAGAIN || errno == EACCES) ? -errno : 0;
}

static int map(struct table *table, int fd, uint32_t n_slots)
{
    int flags = fd < 0 ? MAP_SHARED | MAP_ANONYMOUS : MAP_SHARED;
    void *memory = mmap(NULL, size_of(n_slots), PROT_READ | PROT_WRITE, flags, fd, 0);

    if (memory == MAP_FAILED)
        return -errno;
    /* In memory from the first touch on: sendfile(2) cannot write an offset to a page that is on
     * disk once SIGKILL has come. Where it is not allowed, the socket tells of the difference. */
    if (fd >= 0)
        (void)mlock2(memory, size_of(n_slots), MLOCK_ONFAULT);
    *table = (struct table){
        .header = memory,
        .slots = (struct transfer_slot *)((struct table_header *)memory + 1),
        .n_slots = n_slots,
        .fd = fd,
    };
    return 0;
}

int table_open(struct table *table, uint32_t n_slots, bool lasting)
{
    int fd = lasting ? make_file(n_slots) : -1; /* zeroes, as well: every slot is free */

    if (fd >= 0)
        (void)lock(fd); /* nobody else has it */
    int r = map(table, fd, n_slots);
    if (r < 0) {
        if (fd >= 0)
            (void)close(fd);
        return r;
    }
    *table->header = (struct table_header){
        .magic = MAGIC,
        .version = VERSION,
        .slot_size = sizeof(struct transfer_slot),
        .n_slots = n_slots,
    };
    return 0;
}

bool table_is_one(int fd)
{
    int seals = fcntl(fd, F_GET_SEALS);

    return seals >= 0 && (seals & F_SEAL_SHRINK);
}

static int judge(const struct table_header *header, off_t size, const char **why)
{
    *why = "it is no table";
    if (header->magic != MAGIC)
        return -EPROTO;
    *why = "it is of another version";
    if (header->version != VERSION || header->slot_size != sizeof(struct transfer_slot))
        return -EPROTO;
    *why = "it is damaged";
    if (header->n_slots == 0 || header->n_used > header->n_slots ||
        size < (off_t)size_of(header->n_slots)) /* more: growing it came to no end */
        return -EPROTO;
    *why = "20 processes in a row have died of it";
    if (header->tries >= MOST_TRIES)
        return -EPROTO;
    return 0;
}

int table_adopt(struct table *table, int fd, uint32_t n_slots, const char **why)
{
    struct table_header header;
    struct stat status;

    *why = "it cannot be read";
    if (!table_is_one(fd) || fstat(fd, &status) < 0 ||
        pread(fd, &header, sizeof(header), 0) != sizeof(header))
        return -EPROTO;
    int r = judge(&header, status.st_size, why);
    if (r < 0)
        return r;
    *why = "the process that made it still runs";
    if (lock(fd) < 0)
        return -EPROTO;
    if (n_slots < header.n_slots)
        n_slots = header.n_slots;
    *why = "it cannot be made larger";
    if (status.st_size < (off_t)size_of(n_slots) && ftruncate(fd, (off_t)size_of(n_slots)) < 0)
        return -errno;
    r = map(table, fd, n_slots);
    if (r < 0)
        return r;
    table->header->n_slots = n_slots;
    table->header->tries++;
    return 0;
}

void table_last(struct table *table)
{
    table->header->tries = 0;
}

void table_use(struct table *table, uint32_t slot)
{
    if (slot >= table->header->n_used)
        __atomic_store_n(&table->header->n_used, slot + 1, __ATOMIC_RELEASE);
}

void table_close(struct table *table)
{
    (void)munmap(table->header, size_of(table->n_slots)); /* our own mapping */
    if (table->fd >= 0)
        (void)close(table->fd); /* the store has it, or nobody needs it */
    *table = (struct table){.fd = -1};
}
