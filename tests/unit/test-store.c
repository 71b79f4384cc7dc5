/* SPDX-License-Identifier: MIT */

/*
 * What went wrong in others: a service that kept its clients' sockets with systemd, and kept them
 * open long after they had been served; one whose loop stood still because the manager did; one
 * that filled the manager's table of descriptors, and with it stopped the machine; one that sent
 * the second half of one file after the first half of another, since a name had been used twice.
 *
 * The messages, and a manager that takes them when a test says so, are scripted (kernel.h). What
 * only a kernel knows of a connection, its number and how many bytes it has taken, is asked of real
 * ones.
 */

#include "clock.h"
#include "kernel.h"
#include "store.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <syslog.h>
#include <unistd.h>

#define MS CLOCK_MS

static char directory[] = "/tmp/decant-test-store.XXXXXX";

static struct {
    struct {
        int level;
        char text[1024];
    } lines[100];
    size_t n_lines;
    struct rlimit limit;
    int getrlimit_error;
    int mmap_error;
} world;

void __wrap_openlog(const char *name, int options, int facility);
void __wrap_openlog(const char *name, int options, int facility)
{
    (void)name;
    (void)options;
    (void)facility;
}

void __wrap_syslog(int level, const char *format, ...);
void __wrap_syslog(int level, const char *format, ...)
{
    va_list arguments;

    assert_true(world.n_lines < LENGTH(world.lines));
    world.lines[world.n_lines].level = level;
    va_start(arguments, format);
    (void)vsnprintf(
        world.lines[world.n_lines].text, sizeof(world.lines[0].text), format, arguments);
    va_end(arguments);
    world.n_lines++;
}

int __wrap_getrlimit64(int resource, struct rlimit *ret);
int __wrap_getrlimit64(int resource, struct rlimit *ret)
{
    assert_int_equal(resource, RLIMIT_NOFILE);
    *ret = world.limit;
    errno = world.getrlimit_error;
    return world.getrlimit_error ? -1 : 0;
}

void *__real_mmap64(void *at, size_t size, int protection, int flags, int fd, off_t offset);
void *__wrap_mmap64(void *at, size_t size, int protection, int flags, int fd, off_t offset);
void *__wrap_mmap64(void *at, size_t size, int protection, int flags, int fd, off_t offset)
{
    errno = world.mmap_error;
    return world.mmap_error ? MAP_FAILED : __real_mmap64(at, size, protection, flags, fd, offset);
}

static int count_descriptors(void)
{
    int n = 0;

    for (int fd = 0; fd < 1024; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

/* ---- names ---- */

struct name {
    const char *text;
    enum store_kind kind;
    uint32_t number;
};

static const struct name names[] = {
    {"@0", STORE_SOCKET, 0},
    {"@1", STORE_SOCKET, 1},
    {"@a", STORE_SOCKET, 10},
    {"@10", STORE_SOCKET, 16},
    {"@fff", STORE_SOCKET, 4095},
    {"@270f", STORE_SOCKET, 9999},
    {"@fffffffe", STORE_SOCKET, UINT32_MAX - 1},
    {"@file-0", STORE_FILE, 0},
    {"@file-1", STORE_FILE, 1},
    {"@file-deadbeef", STORE_FILE, 0xdeadbeef},
    {"@file-fffffffe", STORE_FILE, UINT32_MAX - 1},
    {"@table", STORE_TABLE, 0},
    {"@witness", STORE_WITNESS, 0},

    {"", STORE_FOREIGN, 0},
    {"@", STORE_FOREIGN, 0},
    {"0", STORE_FOREIGN, 0},
    {"table", STORE_FOREIGN, 0},
    {"stored", STORE_FOREIGN, 0},
    {"connection", STORE_FOREIGN, 0},
    {"decant.socket", STORE_FOREIGN, 0},
    {"@tables", STORE_FOREIGN, 0},
    {"@tabl", STORE_FOREIGN, 0},
    {"@Table", STORE_FOREIGN, 0},
    {"@witness1", STORE_FOREIGN, 0},
    {"@file", STORE_FOREIGN, 0},
    {"@file-", STORE_FOREIGN, 0},
    {"@file-g", STORE_FOREIGN, 0},
    {"@file-1 ", STORE_FOREIGN, 0},
    {"@file-ffffffff", STORE_FOREIGN, 0},
    {"@ffffffff", STORE_FOREIGN, 0}, /* STORE_NOBODY */
    {"@100000000", STORE_FOREIGN, 0},
    {"@fffffffffffffffff", STORE_FOREIGN, 0},
    {"@00", STORE_FOREIGN, 0},
    {"@01", STORE_FOREIGN, 0},
    {"@0x1", STORE_FOREIGN, 0},
    {"@A", STORE_FOREIGN, 0},
    {"@ 1", STORE_FOREIGN, 0},
    {"@+1", STORE_FOREIGN, 0},
    {"@-1", STORE_FOREIGN, 0},
    {"@1 ", STORE_FOREIGN, 0},
    {"@1g", STORE_FOREIGN, 0},
    {"@@1", STORE_FOREIGN, 0},
    {" @1", STORE_FOREIGN, 0},
};

static void test_name(void **state)
{
    const struct name *c = *state;
    uint32_t number = 0;

    assert_int_equal(store_read_name(c->text, &number), c->kind);
    if (c->kind != STORE_FOREIGN)
        assert_int_equal(number, c->number);
}

/* ---- one store ---- */

#define SLOTS 350
#define CROWD 64 /* of them, where chance decides */
#define FILES 64 /* generations from 1 on */

struct shop {
    struct handover handover;
    struct sources sources; /* none: nobody new comes, unless a test says so */
    struct options options;
    struct report report;
    struct table table;
    struct store store;
    struct source *files[FILES]; /* the present ones */
    struct {
        struct kernel_socket *socket; /* NULL: none */
        struct source *source;
    } clients[SLOTS];
};

static void make_file(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, 100000), 0);
    assert_int_equal(close(fd), 0);
}

static void build(struct shop *shop)
{
    struct source unused;

    kernel_reset(&unused, 0);
    kernel.clock = true;
    kernel.manager.most = 100;
    memset(&world, 0, sizeof(world));
    world.limit = (struct rlimit){1024, 1 << 20};
    *shop = (struct shop){
        .handover = {.stored = {.table = -1, .witness = -1, .room = UINT32_MAX, .comes_back = true},
            .notify = {.fd = KERNEL_NOTIFY},
            .file_fd = -1},
        .table = {.fd = -1},
        .store = {.events = -1, .witness = -1, .barrier = -1, .retry_at = CLOCK_NEVER},
    };
    report_open(&shop->report, CHANNEL_SYSLOG, LOG_DEBUG);
}

static int open_shop(struct shop *shop)
{
    return store_open(&shop->store, &shop->handover, &shop->table, SLOTS, &shop->report);
}

static struct source *file(struct shop *shop, int generation)
{
    if (!shop->files[generation]) {
        int fd = open("file", O_RDONLY | O_CLOEXEC);
        struct stat status;
        assert_int_equal(fstat(fd, &status), 0);
        struct source *source = source_resume(fd, (uint32_t)generation, "file");
        source_expect(source, status.st_size, source_mtime(&status));
        source->current = true;
        source->transfers = 0;
        shop->files[generation] = source;
    }
    return shop->files[generation];
}

static void begin_client(struct shop *shop, uint32_t slot, int generation)
{
    struct source *source = file(shop, generation);

    assert_null(shop->clients[slot].socket);
    table_use(&shop->table, slot);
    source_hold(source);
    transfer_slot_init(&shop->table.slots[slot], source, NULL, kernel.now);
    shop->clients[slot].socket = kernel_connect(SOCKET_TCP, NULL);
    shop->clients[slot].source = source;
}

static void keep_client(struct shop *shop, uint32_t slot)
{
    store_keep(
        &shop->store, slot, kernel_fd(shop->clients[slot].socket), shop->clients[slot].source);
}

/* As resident.c ends one. */
static bool end_client(struct shop *shop, uint32_t slot)
{
    shop->table.slots[slot].state = TRANSFER_ABORTED;
    transfer_abort(kernel_fd(shop->clients[slot].socket), SOCKET_TCP);
    shop->clients[slot].socket = NULL;
    source_release(shop->clients[slot].source);
    bool free = store_forget(&shop->store, slot);
    store_tidy(&shop->store);
    return free;
}

/* As source_refresh() does when the name has got another file. */
static void replace_file(struct shop *shop, int generation)
{
    struct source *source = file(shop, generation);

    shop->files[generation] = NULL;
    source_hold(source);
    source->current = false;
    source_release(source);
    store_tidy(&shop->store);
}

/* PID 1 comes to all that waits, and the store hears of it, until there is nothing left to hear. */
static void settle(struct shop *shop)
{
    for (int i = 0; i < 500; i++) {
        kernel_manage();
        if (!kernel_is_ready(shop->store.events))
            return;
        store_take_events(&shop->store);
    }
    fail_msg("it spins: ready, and nothing comes of it");
}

static void close_shop(struct shop *shop)
{
    for (uint32_t i = 0; i < SLOTS; i++)
        if (shop->clients[i].socket)
            (void)end_client(shop, i);
    store_close(&shop->store);
    if (shop->table.header)
        table_close(&shop->table);
    for (int i = 0; i < FILES; i++)
        if (shop->files[i]) {
            assert_int_equal(shop->files[i]->transfers, 0);
            (void)close(shop->files[i]->fd);
            free(shop->files[i]);
        }
    kernel.manager.stopped = false;
    kernel_manage();
    kernel_drop_all();
    for (int i = 0; i < KERNEL_EPOLLS; i++)
        assert_false(kernel.epolls[i]);
    assert_int_equal(kernel.n_watches, 0);
}

/* What a case does not say is 0. */
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"

/* ---- what is sent, and when ---- */

enum deed {
    OVER,
    KEEP,     /* slot, file */
    AGAIN,    /* slot: is asked for once more */
    END,      /* slot: is free at once */
    END_LATE, /* slot: is not */
    FREE,     /* slot: comes free by now */
    NO_FREE,
    KEPT,     /* slot */
    NOT_KEPT, /* slot */
    PID1,     /* takes all messages, and we hear of it */
    REPLACE,  /* file: is no longer the present one */
    RETRY,    /* the time for it has come */
    BUSY,     /* an errno: all messages from now on */
    FAIL,     /* an errno, so-manieth: one message */
    READY,
    LOSE,   /* PID 1 drops everything */
    MOST,   /* that PID 1 keeps */
    CTL,    /* errno, so-manieth: of epoll_ctl(2) */
    CALLOC, /* so-manieth */
    PIPE,   /* so-manieth */
    COPY,   /* file: is of the description of another */
};

struct step {
    enum deed deed;
    int one;
    int other;
};

struct story {
    const char *name;
    struct step steps[24];
    const char *sent;
    enum store_state state;
    uint32_t n;
    bool no_notify;
    bool gone;        /* the store, for the next process: StandardInput=socket */
    uint32_t fdstore; /* FDSTORE= */
    uint32_t room;    /* for what the next process is handed; 0: plenty */
    rlim_t limit;     /* 0: plenty */
    uint32_t names;   /* bytes of what is there already, under whatever names */
    const char *says;
    bool unsettled;
};

#define NAMES (120 * 1024u) /* bytes, of the 128 KiB that a string of the environment may have */
#define HELLO "+@witness*2 BARRIER=1"
#define FIRST HELLO " +@table +@file-1 +@0"

static const struct story stories[] = {
    {"nothing is asked before it is needed", {{PID1}}, "", STORE_UNTRIED, 0},
    {"the witness first, and nothing before it is known", {{KEEP, 0, 1}, {NOT_KEPT, 0}}, HELLO,
        STORE_ASKED, 0, .unsettled = true},
    {"once there is a store", {{KEEP, 0, 1}, {PID1}, {KEPT, 0}}, FIRST, STORE_THERE, 5},
    {"in their order", {{KEEP, 0, 1}, {KEEP, 2, 1}, {KEEP, 1, 1}, {PID1}}, FIRST " +@2 +@1",
        STORE_THERE, 7},
    {"asked once", {{KEEP, 0, 1}, {KEEP, 1, 1}, {AGAIN, 0}, {AGAIN, 1}, {PID1}, {AGAIN, 0}},
        FIRST " +@1", STORE_THERE, 6},
    {"the table once, and each file once",
        {{KEEP, 0, 1}, {PID1}, {KEEP, 1, 2}, {KEEP, 2, 1}, {KEEP, 3, 2}},
        FIRST " +@file-2 +@1 +@2 +@3", STORE_THERE, 9},
    {"hexadecimal", {{KEEP, 31, 1}, {PID1}, {KEEP, 16, 4}, {PID1}, {END_LATE, 31}},
        HELLO " +@table +@file-1 +@1f +@file-4 +@10 -@1f", STORE_THERE, 6},
    {"over before it is known", {{KEEP, 0, 1}, {END, 0}, {PID1}, {NO_FREE}}, HELLO, STORE_THERE, 2},
    {"over before it is known, and another is not",
        {{KEEP, 0, 1}, {KEEP, 1, 1}, {KEEP, 2, 1}, {END, 1}, {PID1}}, FIRST " +@2", STORE_THERE, 6},
    {"the first of three is over", {{KEEP, 0, 1}, {KEEP, 1, 1}, {KEEP, 2, 1}, {END, 0}, {PID1}},
        HELLO " +@table +@file-1 +@1 +@2", STORE_THERE, 6},
    {"the last of three is over",
        {{KEEP, 0, 1}, {KEEP, 1, 1}, {KEEP, 2, 1}, {END, 2}, {KEEP, 3, 1}, {PID1}},
        FIRST " +@1 +@3", STORE_THERE, 7},
    {"over: dropped at once, and then the slot is free",
        {{KEEP, 0, 1}, {PID1}, {NO_FREE}, {END_LATE, 0}, {NOT_KEPT, 0}, {FREE, 0}, {NO_FREE}},
        FIRST " -@0", STORE_THERE, 4},
    {"a slot is used again",
        {{KEEP, 0, 1}, {PID1}, {END_LATE, 0}, {FREE, 0}, {KEEP, 0, 1}, {PID1}, {KEPT, 0}},
        FIRST " -@0 +@0", STORE_THERE, 5},
    {"slots come free in the order in which they went",
        {{KEEP, 0, 1}, {KEEP, 1, 1}, {KEEP, 2, 1}, {PID1}, {END_LATE, 2}, {END_LATE, 0},
            {END_LATE, 1}, {FREE, 2}, {FREE, 0}, {FREE, 1}, {NO_FREE}},
        FIRST " +@1 +@2 -@2 -@0 -@1", STORE_THERE, 4},

    /* files */
    {"the present file stays", {{KEEP, 0, 1}, {PID1}, {END_LATE, 0}}, FIRST " -@0", STORE_THERE, 4},
    {"a replaced file stays for its transfers", {{KEEP, 0, 1}, {PID1}, {REPLACE, 1}}, FIRST,
        STORE_THERE, 5},
    {"a replaced file goes with its last transfer",
        {{KEEP, 0, 1}, {KEEP, 1, 1}, {PID1}, {REPLACE, 1}, {END_LATE, 0}, {END_LATE, 1}},
        FIRST " +@1 -@0 -@1 -@file-1", STORE_THERE, 3},
    {"a file that is replaced when nobody has it",
        {{KEEP, 0, 1}, {PID1}, {END_LATE, 0}, {REPLACE, 1}}, FIRST " -@0 -@file-1", STORE_THERE, 3},
    {"also one that waits for another that is not kept",
        {{KEEP, 0, 1}, {PID1}, {KEEP, 1, 2}, {REPLACE, 1}, {REPLACE, 2}, {END_LATE, 1},
            {END_LATE, 0}},
        FIRST " +@file-2 +@1 -@1 -@file-2 -@0 -@file-1", STORE_THERE, 3},
    {"a file that was never kept needs no message", {{KEEP, 0, 1}, {REPLACE, 1}, {END, 0}, {PID1}},
        HELLO, STORE_THERE, 2},
    {"the third of four files",
        {{KEEP, 0, 1}, {KEEP, 1, 2}, {KEEP, 2, 3}, {KEEP, 3, 4}, {PID1}, {REPLACE, 2},
            {END_LATE, 1}},
        FIRST " +@file-2 +@1 +@file-3 +@2 +@file-4 +@3 -@1 -@file-2", STORE_THERE, 9},

    /* PID 1 takes no message */
    {"the first is not taken", {{BUSY, EAGAIN}, {KEEP, 0, 1}, {NOT_KEPT, 0}}, "", STORE_UNTRIED, 0,
        .unsettled = true},
    {"the first is not taken at once",
        {{BUSY, EAGAIN}, {KEEP, 0, 1}, {KEEP, 1, 1}, {PID1}, {READY}, {PID1}, {KEPT, 1}},
        FIRST " +@1", STORE_THERE, 6},
    {"the barrier is not taken",
        {{FAIL, EAGAIN, 2}, {KEEP, 0, 1}, {NOT_KEPT, 0}, {PID1}, {KEPT, 0}}, FIRST, STORE_THERE, 5},
    {"the barrier is not taken: the witness is not sent again",
        {{FAIL, EAGAIN, 2}, {KEEP, 0, 1}, {BUSY, EAGAIN}, {PID1}, {KEEP, 1, 1}, {PID1}, {READY},
            {PID1}},
        FIRST " +@1", STORE_THERE, 6},
    {"the table is not taken", {{KEEP, 0, 1}, {FAIL, EAGAIN, 1}, {PID1}, {KEPT, 0}}, FIRST,
        STORE_THERE, 5},
    {"the file is not taken", {{KEEP, 0, 1}, {FAIL, EAGAIN, 2}, {PID1}, {KEPT, 0}}, FIRST,
        STORE_THERE, 5},
    {"the socket is not taken", {{KEEP, 0, 1}, {FAIL, EAGAIN, 3}, {PID1}, {KEPT, 0}}, FIRST,
        STORE_THERE, 5},
    {"the second is not taken, and its client leaves",
        {{KEEP, 0, 1}, {PID1}, {BUSY, EAGAIN}, {KEEP, 1, 1}, {KEEP, 2, 1}, {END, 1}, {READY},
            {PID1}},
        FIRST " +@2", STORE_THERE, 6},
    {"dropping is not taken: the slot is not free",
        {{KEEP, 0, 1}, {PID1}, {BUSY, EAGAIN}, {END_LATE, 0}, {NO_FREE}, {PID1}, {NO_FREE}}, FIRST,
        STORE_THERE, 5, .unsettled = true},
    {"dropping is not taken at once",
        {{KEEP, 0, 1}, {PID1}, {BUSY, EAGAIN}, {END_LATE, 0}, {READY}, {NO_FREE}, {PID1},
            {FREE, 0}},
        FIRST " -@0", STORE_THERE, 4},
    {"what goes comes before what comes",
        {{KEEP, 0, 1}, {KEEP, 1, 1}, {PID1}, {BUSY, EAGAIN}, {KEEP, 2, 1}, {END_LATE, 0},
            {END_LATE, 1}, {KEEP, 3, 1}, {READY}, {PID1}},
        FIRST " +@1 -@0 -@1 +@2 +@3", STORE_THERE, 6},
    {"dropping a file is not taken at once",
        {{KEEP, 0, 1}, {PID1}, {REPLACE, 1}, {FAIL, EAGAIN, 2}, {END_LATE, 0}, {FREE, 0}, {PID1}},
        FIRST " -@0 -@file-1", STORE_THERE, 3},
    {"dropping a file has to wait for the rest",
        {{KEEP, 0, 1}, {PID1}, {REPLACE, 1}, {BUSY, EAGAIN}, {END_LATE, 0}, {READY}, {PID1},
            {FREE, 0}},
        FIRST " -@0 -@file-1", STORE_THERE, 3},
    {"dropping one of two files is not taken at once",
        {{KEEP, 0, 1}, {KEEP, 1, 2}, {PID1}, {REPLACE, 1}, {REPLACE, 2}, {BUSY, EAGAIN},
            {END_LATE, 0}, {END_LATE, 1}, {READY}, {PID1}},
        FIRST " +@file-2 +@1 -@0 -@1 -@file-2 -@file-1", STORE_THERE, 3},

    /* it fails for want of something that tells no one when it is back */
    {"too many under way",
        {{FAIL, ETOOMANYREFS, 1}, {KEEP, 0, 1}, {PID1}, {NOT_KEPT, 0}, {RETRY}, {PID1}, {KEPT, 0}},
        FIRST, STORE_THERE, 5},
    {"no buffers, for the barrier", {{FAIL, ENOBUFS, 2}, {KEEP, 0, 1}, {PID1}, {RETRY}, {PID1}},
        FIRST, STORE_THERE, 5},
    {"no buffers, for the table",
        {{KEEP, 0, 1}, {FAIL, ENOBUFS, 1}, {PID1}, {NOT_KEPT, 0}, {RETRY}, {PID1}}, FIRST,
        STORE_THERE, 5},
    {"no memory, for the file",
        {{KEEP, 0, 1}, {FAIL, ENOMEM, 2}, {PID1}, {NOT_KEPT, 0}, {RETRY}, {PID1}}, FIRST,
        STORE_THERE, 5},
    {"too many under way, for the socket",
        {{KEEP, 0, 1}, {FAIL, ETOOMANYREFS, 3}, {PID1}, {NOT_KEPT, 0}, {RETRY}, {PID1}}, FIRST,
        STORE_THERE, 5},
    {"no buffers, for dropping",
        {{KEEP, 0, 1}, {PID1}, {FAIL, ENOBUFS, 1}, {END_LATE, 0}, {PID1}, {NO_FREE}, {RETRY},
            {FREE, 0}},
        FIRST " -@0", STORE_THERE, 4},
    {"no buffers, for dropping a file",
        {{KEEP, 0, 1}, {PID1}, {REPLACE, 1}, {FAIL, ENOBUFS, 2}, {END_LATE, 0}, {PID1}, {RETRY}},
        FIRST " -@0 -@file-1", STORE_THERE, 3},
    {"nothing is tried before its time",
        {{BUSY, ENOBUFS}, {KEEP, 0, 1}, {READY}, {KEEP, 1, 1}, {END, 1}, {PID1}}, "", STORE_UNTRIED,
        0, .unsettled = true},
    {"no memory for a while",
        {{BUSY, ENOMEM}, {KEEP, 0, 1}, {RETRY}, {RETRY}, {RETRY}, {READY}, {RETRY}, {PID1}}, FIRST,
        STORE_THERE, 5},
    {"no watch on the socket to PID 1",
        {{CTL, ENOMEM, 1}, {BUSY, EAGAIN}, {KEEP, 0, 1}, {READY}, {PID1}, {NOT_KEPT, 0}, {RETRY},
            {PID1}},
        FIRST, STORE_THERE, 5},
    {"no pipe", {{PIPE, 1}, {KEEP, 0, 1}, {PID1}, {RETRY}, {PID1}}, FIRST, STORE_THERE, 5},
    {"no second pipe", {{PIPE, 2}, {KEEP, 0, 1}, {PID1}, {RETRY}, {PID1}}, FIRST, STORE_THERE, 5},
    {"no watch on the witness: another one",
        {{CTL, ENOSPC, 1}, {KEEP, 0, 1}, {PID1}, {RETRY}, {PID1}},
        "+@witness*2 +@witness*2 BARRIER=1 +@table +@file-1 +@0", STORE_THERE, 5},
    {"no watch on the barrier: another one",
        {{CTL, ENOSPC, 2}, {KEEP, 0, 1}, {PID1}, {RETRY}, {PID1}},
        "+@witness*2 BARRIER=1 BARRIER=1 +@table +@file-1 +@0", STORE_THERE, 5},
    {"no memory for the file's place: not kept",
        {{CALLOC, 1}, {KEEP, 0, 1}, {KEEP, 1, 1}, {PID1}, {NOT_KEPT, 0}, {KEPT, 1}, {END, 0}},
        HELLO " +@table +@file-1 +@1", STORE_THERE, 5},

    /* it is full */
    {"FDSTORE= leaves room for one",
        {{KEEP, 0, 1}, {KEEP, 1, 1}, {KEEP, 2, 1}, {PID1}, {KEPT, 0}, {NOT_KEPT, 1}, {NOT_KEPT, 2}},
        FIRST, STORE_THERE, 5, .fdstore = 5, .unsettled = true,
        .says = "the file-descriptor store is full (5 of 5): more transfers than these end with "
                "this process"},
    {"FDSTORE= leaves room for one: when it goes, another comes",
        {{KEEP, 0, 1}, {KEEP, 1, 1}, {KEEP, 2, 1}, {PID1}, {END_LATE, 0}, {KEPT, 1}, {FREE, 0},
            {NOT_KEPT, 2}, {END_LATE, 1}, {KEPT, 2}},
        FIRST " -@0 +@1 -@1 +@2", STORE_THERE, 5, .fdstore = 5,
        .says = "the file-descriptor store"},
    {"FDSTORE= leaves room for none", {{KEEP, 0, 1}, {PID1}, {NOT_KEPT, 0}}, HELLO, STORE_THERE, 2,
        .fdstore = 4, .unsettled = true, .says = "the file-descriptor store is full (2 of 4)"},
    {"a file of its own takes room, too",
        {{KEEP, 0, 1}, {PID1}, {KEEP, 1, 2}, {NOT_KEPT, 1}, {END, 1}, {KEEP, 2, 1}, {KEPT, 2}},
        FIRST " +@2", STORE_THERE, 6, .fdstore = 6, .says = "the file-descriptor store is full"},
    {"a file that goes makes room",
        {{KEEP, 0, 1}, {PID1}, {REPLACE, 1}, {KEEP, 1, 2}, {NOT_KEPT, 1}, {END_LATE, 0}, {KEPT, 1},
            {KEEP, 2, 2}, {NOT_KEPT, 2}},
        FIRST " -@0 -@file-1 +@file-2 +@1", STORE_THERE, 5, .fdstore = 5, .unsettled = true,
        .says = "the file-descriptor store is full"},
    {"half of RLIMIT_NOFILE", {{KEEP, 0, 1}, {KEEP, 1, 1}, {KEEP, 2, 1}, {PID1}, {NOT_KEPT, 2}},
        FIRST " +@1", STORE_THERE, 6, .limit = 13, .unsettled = true,
        .says = "the file-descriptor store is full (6 of 6)"},
    {"the lower of the two counts: FDSTORE=",
        {{KEEP, 0, 1}, {KEEP, 1, 1}, {KEEP, 2, 1}, {PID1}, {NOT_KEPT, 2}}, FIRST " +@1",
        STORE_THERE, 6, .limit = 100, .fdstore = 6, .unsettled = true,
        .says = "the file-descriptor store is full (6 of 6)"},
    {"the lower of the two counts: RLIMIT_NOFILE",
        {{KEEP, 0, 1}, {KEEP, 1, 1}, {KEEP, 2, 1}, {PID1}, {NOT_KEPT, 2}}, FIRST " +@1",
        STORE_THERE, 6, .limit = 12, .fdstore = 60, .unsettled = true,
        .says = "the file-descriptor store is full (6 of 6)"},

    {"room for the name, exactly", {{KEEP, 0, 1}, {PID1}, {KEPT, 0}}, FIRST, STORE_THERE, 5,
        .names = NAMES - 2 * sizeof("@witness") - 3 * 16},
    {"a byte too few for the longest names", {{KEEP, 0, 1}, {PID1}, {NOT_KEPT, 0}}, HELLO,
        STORE_THERE, 2, .names = NAMES - 2 * sizeof("@witness") - 3 * 16 + 1, .unsettled = true,
        .says = "the file-descriptor store is full (2 of"},
    {"a name that goes makes room",
        {{KEEP, 0, 1}, {PID1}, {KEEP, 1, 1}, {KEEP, 2, 1}, {KEEP, 3, 1}, {KEEP, 4, 1}, {KEEP, 5, 1},
            {KEPT, 5}, {KEEP, 6, 1}, {NOT_KEPT, 6}, {END_LATE, 0}, {KEPT, 6}},
        FIRST " +@1 +@2 +@3 +@4 +@5 -@0 +@6", STORE_THERE, 10,
        .names = NAMES - 2 * sizeof("@witness") - 3 * 16,
        .says = "the file-descriptor store is full"},

    {"room for what the next process can be handed",
        {{KEEP, 0, 1}, {KEEP, 1, 1}, {KEEP, 2, 1}, {PID1}, {NOT_KEPT, 2}}, FIRST " +@1",
        STORE_THERE, 6, .fdstore = 100, .room = 6, .unsettled = true,
        .says = "the file-descriptor store is full (6 of 6)"},
    {"room for more than FDSTORE= allows", {{KEEP, 0, 1}, {KEEP, 1, 1}, {PID1}, {NOT_KEPT, 1}},
        FIRST, STORE_THERE, 5, .fdstore = 5, .room = 6, .unsettled = true,
        .says = "the file-descriptor store is full (5 of 5)"},
    {"a second opening of one description: PID 1 would not keep it",
        {{COPY, 2}, {KEEP, 0, 1}, {KEEP, 1, 2}, {PID1}, {NOT_KEPT, 1}, {END, 1}}, FIRST,
        STORE_THERE, 5},

    /* there is none, or not any more */
    {"it would not come back", {{KEEP, 0, 1}, {PID1}, {NOT_KEPT, 0}, {END, 0}}, "", STORE_NONE, 0,
        .gone = true},
    {"nobody to notify", {{KEEP, 0, 1}, {PID1}, {NOT_KEPT, 0}, {END, 0}, {NO_FREE}}, "", STORE_NONE,
        0, .no_notify = true},
    {"FileDescriptorStoreMax=0",
        {{MOST, 0}, {KEEP, 0, 1}, {KEEP, 1, 1}, {PID1}, {NOT_KEPT, 0}, {KEEP, 2, 1}, {END, 0},
            {END, 2}, {NO_FREE}},
        HELLO, STORE_NONE, 0,
        .says = "systemd keeps no descriptors for this service (FileDescriptorStoreMax=)"},
    {"FileDescriptorStoreMax=1: half a witness is none", {{MOST, 1}, {KEEP, 0, 1}, {PID1}}, HELLO,
        STORE_NONE, 0, .says = "systemd keeps no descriptors"},
    {"no store, and it is over before that is known", {{MOST, 0}, {KEEP, 0, 1}, {END, 0}, {PID1}},
        HELLO, STORE_NONE, 0, .says = "systemd keeps no descriptors"},
    {"nobody takes messages any more",
        {{BUSY, ECONNREFUSED}, {KEEP, 0, 1}, {NOT_KEPT, 0}, {END, 0}}, "", STORE_NONE, 0,
        .says = "systemd keeps no descriptors"},
    {"nobody takes the barrier any more",
        {{FAIL, ECONNRESET, 2}, {KEEP, 0, 1}, {NOT_KEPT, 0}, {PID1}, {KEEP, 1, 1}, {END, 0},
            {END, 1}},
        "+@witness*2", STORE_NONE, 0, .says = "systemd keeps no descriptors"},
    {"nobody takes the table any more",
        {{KEEP, 0, 1}, {BUSY, EPIPE}, {PID1}, {NOT_KEPT, 0}, {END, 0}, {NO_FREE}}, HELLO,
        STORE_NONE, 0, .says = "systemd keeps no descriptors"},
    {"nobody takes the file any more",
        {{KEEP, 0, 1}, {FAIL, ENOENT, 2}, {PID1}, {NOT_KEPT, 0}, {END, 0}, {NO_FREE}},
        HELLO " +@table", STORE_NONE, 0, .says = "systemd keeps no descriptors"},
    {"nobody drops anything any more: each slot comes free once",
        {{KEEP, 0, 1}, {KEEP, 1, 1}, {KEEP, 2, 2}, {PID1}, {BUSY, ECONNREFUSED}, {END_LATE, 1},
            {FREE, 1}, {NO_FREE}, {NOT_KEPT, 0}, {END, 0}, {END, 2}, {NO_FREE}},
        FIRST " +@1 +@file-2 +@2", STORE_NONE, 0, .says = "systemd keeps no descriptors"},
    {"nobody drops a file any more",
        {{KEEP, 0, 1}, {PID1}, {REPLACE, 1}, {FAIL, ECONNREFUSED, 2}, {END_LATE, 0}, {FREE, 0},
            {NO_FREE}},
        FIRST " -@0", STORE_NONE, 0, .says = "systemd keeps no descriptors"},
    {"nobody drops the second of two files any more",
        {{KEEP, 0, 1}, {KEEP, 1, 2}, {PID1}, {REPLACE, 1}, {BUSY, EAGAIN}, {REPLACE, 2},
            {END_LATE, 0}, {END_LATE, 1}, {FAIL, ECONNREFUSED, 4}, {PID1}},
        FIRST " +@file-2 +@1 -@0 -@1 -@file-2", STORE_NONE, 0,
        .says = "systemd keeps no descriptors"},
    {"taken away later", {{KEEP, 0, 1}, {PID1}, {LOSE}, {PID1}, {NOT_KEPT, 0}, {END, 0}, {NO_FREE}},
        FIRST, STORE_NONE, 0, .says = "systemd keeps no descriptors"},
    {"taken away: each slot comes free once",
        {{KEEP, 0, 1}, {KEEP, 1, 1}, {KEEP, 2, 1}, {KEEP, 3, 2}, {PID1}, {END_LATE, 3},
            {BUSY, EAGAIN}, {END_LATE, 0}, {KEEP, 4, 1}, {LOSE}, {PID1}, {FREE, 3}, {FREE, 0},
            {NO_FREE}, {END, 1}, {END, 4}, {READY}, {PID1}, {NO_FREE}, {END, 2}},
        FIRST " +@1 +@2 +@file-2 +@3 -@3", STORE_NONE, 0, .says = "systemd keeps no descriptors"},
    {"taken away while one waits for its time",
        {{KEEP, 0, 1}, {PID1}, {BUSY, ENOBUFS}, {KEEP, 1, 1}, {LOSE}, {PID1}, {READY}, {RETRY},
            {PID1}, {END, 1}},
        FIRST, STORE_NONE, 0, .says = "systemd keeps no descriptors"},
};

static void take_step(struct shop *shop, const struct step *step)
{
    uint32_t slot = (uint32_t)step->one;

    switch (step->deed) {
    case KEEP:
        begin_client(shop, slot, step->other);
        keep_client(shop, slot);
        break;
    case AGAIN:
        keep_client(shop, slot);
        break;
    case END:
        assert_true(end_client(shop, slot));
        break;
    case END_LATE:
        assert_false(end_client(shop, slot));
        break;
    case FREE:
        assert_int_equal(store_next_free(&shop->store), slot);
        break;
    case NO_FREE:
        assert_int_equal(store_next_free(&shop->store), STORE_NOBODY);
        break;
    case KEPT:
        assert_true(store_has(&shop->store, slot));
        break;
    case NOT_KEPT:
        assert_false(store_has(&shop->store, slot));
        break;
    case PID1:
        settle(shop);
        break;
    case REPLACE:
        replace_file(shop, step->one);
        break;
    case RETRY:
        assert_true(shop->store.retry_at == kernel.now + 100 * MS);
        kernel.now = shop->store.retry_at;
        store_retry(&shop->store);
        break;
    case BUSY:
        kernel.manager.error = step->one;
        kernel.manager.fails = 0;
        break;
    case FAIL:
        kernel.manager.error = step->one;
        kernel.manager.fails = step->other;
        break;
    case READY:
        kernel.manager.error = 0;
        break;
    case LOSE:
        kernel_drop_all();
        break;
    case MOST:
        kernel.manager.most = slot;
        break;
    case CTL:
        kernel.epoll_ctl_error = step->one;
        kernel.epoll_ctl_fails = step->other;
        break;
    case CALLOC:
        (void)file(shop, 1);
        kernel.calloc_fails = step->one;
        break;
    case PIPE:
        kernel.pipe_fails = step->one;
        break;
    case COPY:
        file(shop, step->one)->is_copy = true;
        break;
    case OVER:
        break;
    }
}

/* All that PID 1 has, and in it each thing that it must have; what goes may be there still. */
static void check_kept(const struct shop *shop, bool settled)
{
    uint32_t n = 0;
    char name[24];

    for (uint32_t slot = 0; slot < shop->table.header->n_used; slot++) {
        size_t at = 0;
        (void)snprintf(name, sizeof(name), "@%" PRIx32, slot);
        int kept = kernel_kept(name, &at);
        if (settled)
            assert_int_equal(kept, store_has(&shop->store, slot));
        if (!store_has(&shop->store, slot))
            continue;
        assert_int_equal(kept, 1);
        n++;
        assert_ptr_equal(kernel.manager.kept[at].socket, shop->clients[slot].socket);
        assert_true(shop->table.slots[slot].seal != 0);
        assert_int_equal(kernel_kept("@table", NULL), 1);
        (void)snprintf(name, sizeof(name), "@file-%" PRIx32, shop->table.slots[slot].generation);
        assert_int_equal(kernel_kept(name, NULL), 1);
    }
    assert_int_equal(shop->store.n_kept, n);
}

/* The bytes that LISTEN_FDNAMES takes, counted by who has them. */
static uint32_t count_names(void)
{
    uint32_t bytes = 0;

    for (size_t i = 0; i < kernel.manager.n_kept; i++)
        bytes += (uint32_t)strlen(kernel.manager.kept[i].name) + 1;
    return bytes;
}

static void test_story(void **state)
{
    const struct story *c = *state;
    int descriptors = count_descriptors();
    char sent[9000];
    struct shop shop;

    build(&shop);
    shop.handover.notify.fd = c->no_notify ? -1 : KERNEL_NOTIFY;
    shop.handover.stored.comes_back = !c->gone;
    shop.handover.stored.most = c->fdstore;
    shop.handover.stored.names = c->names;
    if (c->room)
        shop.handover.stored.room = c->room;
    world.limit.rlim_max = c->limit ? c->limit : world.limit.rlim_max;
    assert_int_equal(open_shop(&shop), 0);
    for (size_t i = 0; i < LENGTH(c->steps) && c->steps[i].deed; i++)
        take_step(&shop, &c->steps[i]);
    kernel_format_messages(sent, sizeof(sent));
    if (strcmp(sent, c->sent) != 0)
        fail_msg("'%s', not '%s'", sent, c->sent);
    assert_int_equal(shop.store.state, c->state);
    assert_int_equal(shop.store.n, c->n);
    assert_int_equal(store_is_settled(&shop.store), !c->unsettled);
    kernel_manage();
    if (c->state == STORE_NONE)
        kernel_drop_all(); /* by who is gone */
    check_kept(&shop, store_is_settled(&shop.store));
    if (shop.store.n == kernel.manager.n_kept)
        assert_int_equal(shop.store.names, c->names + count_names());
    else if (c->state == STORE_NONE)
        assert_int_equal(shop.store.names, 0);
    if (c->state == STORE_NONE)
        assert_null(shop.store.files);                /* nor is one held that nobody could want */
    assert_int_equal(world.n_lines, c->says != NULL); /* once */
    if (c->says) {
        assert_int_equal(strncmp(world.lines[0].text, c->says, strlen(c->says)), 0);
        assert_int_equal(world.lines[0].level, LOG_NOTICE);
    }
    assert_int_equal(shop.report.status, 0);
    close_shop(&shop);
    assert_int_equal(count_descriptors(), descriptors);
}

/* ---- chance ---- */

/* A manager that is slow, full, deaf or gone for a while, and clients that come and go. */
static void do_anything(struct shop *shop, bool *free, int *present)
{
    static const int errors[] = {EAGAIN, EAGAIN, ENOBUFS, ETOOMANYREFS, ENOMEM};
    uint32_t slot = (uint32_t)kernel_roll(CROWD);
    bool runs = shop->clients[slot].socket;

    switch (kernel_roll(16)) {
    case 0:
        kernel.manager.error = errors[kernel_roll(LENGTH(errors))];
        kernel.manager.fails = (int)kernel_roll(6);
        break;
    case 1:
        kernel.manager.error = 0;
        break;
    case 2:
        kernel.manager.stopped = kernel_roll(2);
        break;
    case 3:
        if (shop->files[*present] && *present + 1 < FILES) {
            replace_file(shop, *present);
            ++*present;
        }
        break;
    case 4:
        if (kernel.now < store_next_time(&shop->store) &&
            store_next_time(&shop->store) != CLOCK_NEVER)
            kernel.now = store_next_time(&shop->store);
        if (kernel.now >= store_next_time(&shop->store))
            store_retry(&shop->store);
        break;
    case 5:
    case 6:
        kernel_manage();
        break;
    case 7:
    case 8:
        if (kernel_is_ready(shop->store.events))
            store_take_events(&shop->store);
        break;
    case 9:
        kernel.pipe_fails = (int)kernel_roll(3);
        kernel.epoll_ctl_fails = (int)kernel_roll(4);
        kernel.epoll_ctl_error = ENOMEM;
        break;
    default:
        if (runs) {
            free[slot] = end_client(shop, slot);
        } else if (free[slot]) {
            begin_client(shop, slot, *present);
            keep_client(shop, slot);
            free[slot] = false;
        }
        break;
    }
    while ((slot = store_next_free(&shop->store)) != STORE_NOBODY) {
        assert_false(free[slot]);
        assert_null(shop->clients[slot].socket);
        free[slot] = true;
    }
}

/* The manager is well again: all that is to be kept is kept, and nothing else. */
static void check_in_the_end(struct shop *shop, const bool *free)
{
    kernel.manager.error = 0;
    kernel.manager.stopped = false;
    for (int i = 0; i < 500; i++) {
        if (i >= 5 && store_next_time(&shop->store) == CLOCK_NEVER)
            break;
        if (store_next_time(&shop->store) != CLOCK_NEVER)
            kernel.now = store_next_time(&shop->store);
        if (kernel.now >= store_next_time(&shop->store))
            store_retry(&shop->store);
        settle(shop);
    }
    uint32_t n_running = 0;
    uint32_t n_free = 0;
    for (uint32_t slot = 0; slot < CROWD; slot++) {
        n_running += shop->clients[slot].socket != NULL;
        n_free += free[slot];
    }
    assert_int_equal(shop->store.going.first, STORE_NOBODY);
    while (store_next_free(&shop->store) != STORE_NOBODY)
        n_free++;
    assert_int_equal(n_running + n_free, CROWD);
    if (shop->store.state == STORE_UNTRIED) /* nobody has ever come */
        return;
    assert_int_equal(shop->store.state, STORE_THERE);
    check_kept(shop, true);
    if (shop->store.n_kept < n_running) { /* for want of room, and for nothing else */
        assert_false(store_is_settled(&shop->store));
        if (shop->store.n + 3 <= shop->store.most)
            fail_msg("%u of %u are kept, %u of %u: it is not full", shop->store.n_kept, n_running,
                shop->store.n, shop->store.most);
    }
    uint32_t witnesses = (uint32_t)kernel_kept("@witness", NULL);
    /* One that could not be watched is there, and not counted. */
    assert_int_equal(shop->store.n + witnesses - 2, kernel.manager.n_kept);
    assert_true(shop->store.n <= shop->store.most || shop->store.most < 2);
}

static void test_chance(void **state)
{
    int descriptors = count_descriptors();
    unsigned long n_kept = 0;
    unsigned long n_messages = 0;

    (void)state;
    kernel_seed(UINT64_C(0x2545f4914f6cdd1d));
    for (int i = 0; i < 400; i++) {
        struct shop shop;
        bool free[CROWD];
        int present = 1;
        memset(free, true, sizeof(free));
        build(&shop);
        kernel.manager.room = (uint32_t)kernel_roll(2) * (1 + (uint32_t)kernel_roll(10));
        kernel.manager.most = 200;
        shop.handover.stored.most = kernel_roll(2) ? 2 + (uint32_t)kernel_roll(30) : 0;
        assert_int_equal(open_shop(&shop), 0);
        int steps = i % 20 ? 400 : 2500; /* more than PID 1 is asked to keep at once */
        for (int j = 0; j < steps; j++) {
            do_anything(&shop, free, &present);
            if (kernel.manager.n_read == kernel.manager.n_messages)
                check_kept(&shop, false);
        }
        check_in_the_end(&shop, free);
        n_kept += shop.store.n_kept;
        n_messages += kernel.manager.n_messages;
        kernel.pipe_fails = kernel.epoll_ctl_fails = 0;
        close_shop(&shop);
        assert_int_equal(count_descriptors(), descriptors);
    }
    assert_true(n_kept > 1000);
    assert_true(n_messages > 10000);
}

/* ---- no more than is good for PID 1 ---- */

static uint32_t keep_many(struct shop *shop, uint32_t from, uint32_t to)
{
    for (uint32_t slot = from; slot < to; slot++) {
        begin_client(shop, slot, 1);
        keep_client(shop, slot);
    }
    return shop->store.n_kept;
}

/* What one more costs, of those that PID 1 compares with all that it has. */
static int64_t price(const struct shop *shop)
{
    return MS + MS * shop->store.n / 500;
}

/* Each has its price, of time; a quarter of a second's worth may go at once. */
static void test_pace(void **state)
{
    const int64_t credit = 256 * MS;
    int64_t paid = 0;
    struct shop shop;

    (void)state;
    build(&shop);
    kernel.manager.most = 1000;
    assert_int_equal(open_shop(&shop), 0);
    begin_client(&shop, 0, 1);
    keep_client(&shop, 0);
    settle(&shop);
    paid = price(&shop);
    for (uint32_t slot = 1; slot < 300; slot++) {
        uint32_t before = shop.store.n_kept;
        begin_client(&shop, slot, 1);
        keep_client(&shop, slot);
        assert_int_equal(shop.store.n_kept > before, paid < credit);
        paid += shop.store.n_kept > before ? price(&shop) : 0;
    }
    uint32_t kept = shop.store.n_kept;
    assert_true(kept > 150 && kept < 250);
    int64_t start = kernel.now;
    for (int i = 0; i < 10; i++) {
        int64_t time = store_next_time(&shop.store);
        assert_true(time > kernel.now && time <= kernel.now + 3 * MS);
        kernel.now = time;
        store_retry(&shop.store);
        assert_int_equal(shop.store.n_kept, ++kept);
        paid += price(&shop);
    }
    assert_true(kernel.now - start >= 10 * MS && kernel.now - start < 30 * MS);
    /* Dropping is not held up, and who is over before its time costs no message. */
    size_t before = kernel.manager.n_messages;
    assert_false(end_client(&shop, 3));
    assert_true(end_client(&shop, 298));
    assert_int_equal(kernel.manager.n_messages, before + 1);
    kernel.now += 1000 * MS;
    store_retry(&shop.store);
    assert_int_equal(shop.store.n_kept, 298);
    assert_true(store_next_time(&shop.store) == CLOCK_NEVER);
    assert_true(store_is_settled(&shop.store));
    settle(&shop);
    check_kept(&shop, false);
    /* After a pause there is the same credit again, and no more. */
    for (uint32_t slot = 10; slot < 298; slot++)
        assert_false(end_client(&shop, slot));
    while (store_next_free(&shop.store) != STORE_NOBODY)
        continue;
    kernel.now += 3600 * CLOCK_SECOND;
    kept = keep_many(&shop, 10, 298);
    assert_true(kept > 150 && kept < 250);
    settle(&shop);
    check_kept(&shop, false);
    close_shop(&shop);
}

static void test_hurry(void **state)
{
    struct shop shop;

    (void)state;
    build(&shop);
    kernel.manager.most = 1000;
    assert_int_equal(open_shop(&shop), 0);
    (void)keep_many(&shop, 0, 1);
    settle(&shop);
    assert_true(keep_many(&shop, 1, 300) < 250);
    store_hurry(&shop.store);
    assert_int_equal(shop.store.n_kept, 300);
    assert_int_equal(keep_many(&shop, 300, 350), 350);
    assert_true(store_next_time(&shop.store) == CLOCK_NEVER);
    settle(&shop);
    check_kept(&shop, true);
    close_shop(&shop);
}

/* The manager drops all while some wait for their time. */
static void test_pace_of_nobody(void **state)
{
    struct shop shop;

    (void)state;
    build(&shop);
    kernel.manager.most = 1000;
    assert_int_equal(open_shop(&shop), 0);
    (void)keep_many(&shop, 0, 1);
    settle(&shop);
    (void)keep_many(&shop, 1, 300);
    kernel_manage();
    kernel_drop_all();
    settle(&shop);
    assert_int_equal(shop.store.state, STORE_NONE);
    assert_true(store_next_time(&shop.store) == CLOCK_NEVER);
    store_hurry(&shop.store);
    assert_int_equal(shop.store.n_kept, 0);
    close_shop(&shop);
}

/* ---- opening ---- */

static void test_most(void **state)
{
    static const struct {
        rlim_t limit;
        uint32_t fdstore;
        uint32_t most;
    } cases[] = {
        {1 << 20, 0, 1 << 19},
        {RLIM_INFINITY, 0, UINT32_MAX},
        {UINT64_C(2) * UINT32_MAX, 0, UINT32_MAX},
        {UINT64_C(2) * UINT32_MAX - 1, 0, UINT32_MAX - 1},
        {4096, 0, 2048},
        {4096, 2047, 2047},
        {4096, 2049, 2048},
        {4097, 0, 2048},
        {1 << 20, 4224, 4224},
        {RLIM_INFINITY, UINT32_MAX, UINT32_MAX},
        {1, 0, 0},
    };

    (void)state;
    for (size_t i = 0; i < LENGTH(cases); i++) {
        struct shop shop;
        build(&shop);
        world.limit.rlim_max = cases[i].limit;
        shop.handover.stored.most = cases[i].fdstore;
        assert_int_equal(open_shop(&shop), 0);
        assert_int_equal(shop.store.most, cases[i].most);
        close_shop(&shop);
    }
}

struct opening {
    const char *name;
    int getrlimit_error;
    int mmap_error;
    int epoll_error;
    int memfd_error;
    int calloc_fails;
    bool no_notify;
    int result;
    enum store_state state;
};

static const struct opening openings[] = {
    {"as usual", .state = STORE_UNTRIED},
    {"nobody to notify", .no_notify = true, .state = STORE_NONE},
    {"no memfd", .memfd_error = ENOSYS, .state = STORE_NONE},
    {"getrlimit", .getrlimit_error = EPERM, .result = -EPERM},
    {"no memory for the table", .mmap_error = ENOMEM, .result = -ENOMEM},
    {"no memory for the places", .calloc_fails = 1, .result = -ENOMEM},
    {"epoll_create1", .epoll_error = EMFILE, .result = -EMFILE},
};

static void test_opening(void **state)
{
    const struct opening *c = *state;
    int descriptors = count_descriptors();
    struct shop shop;

    build(&shop);
    world.getrlimit_error = c->getrlimit_error;
    world.mmap_error = c->mmap_error;
    kernel.epoll_create_error = c->epoll_error;
    kernel.epoll_create_fails = c->epoll_error != 0;
    kernel.memfd_error = c->memfd_error;
    kernel.calloc_fails = c->calloc_fails;
    shop.handover.notify.fd = c->no_notify ? -1 : KERNEL_NOTIFY;
    assert_int_equal(open_shop(&shop), c->result);
    world.mmap_error = 0;
    if (c->result == 0) {
        assert_int_equal(shop.store.state, c->state);
        assert_int_equal(shop.table.fd >= 0, c->state != STORE_NONE);
        assert_int_equal(shop.table.n_slots, SLOTS);
        begin_client(&shop, 0, 1);
        keep_client(&shop, 0);
        assert_int_equal(kernel.manager.n_messages > 0, c->state != STORE_NONE);
        assert_true(store_forget(&shop.store, 0)); /* not kept: free at once */
    }
    assert_int_equal(world.n_lines, 0);
    close_shop(&shop);
    assert_false(store_has(&shop.store, 0)); /* closed, it has nothing */
    assert_true(store_forget(&shop.store, 0));
    assert_int_equal(count_descriptors(), descriptors);
}

/* ---- reclaiming: what a process before has left ---- */

/*
 * Real connections, since the socket itself is asked where it stands. The manager has a duplicate
 * of each, as it would: a reset must reach the client all the same.
 */

#define NUMBER 3 /* of the slot, of 8 */
#define START  100
#define SENT   10000 /* of the promise, where it is half done */
#define ALL    30000

enum place { RIGHT, NONE, WRONG, TWICE, WRONG_FIRST, UNUSED, BEYOND, PLACES };

static const char *const place_names[PLACES] = {"its socket", "no socket", "another's socket",
    "its socket and another", "another socket and its own", "a socket of an unused slot",
    "a socket beyond the table"};

enum keeping { THERE, MISSING, OTHER, TWO_FILES, KEEPINGS };

static const char *const keeping_names[KEEPINGS] = {
    "its file", "no file", "another file", "its file twice"};

static const struct phase {
    const char *name;
    uint8_t state;
    bool end_sent;
    bool all;
} phases[] = {
    {"NOWHERE", TRANSFER_NOWHERE, false, false},
    {"SENDING", TRANSFER_SENDING, false, false},
    {"SENDING, all queued", TRANSFER_SENDING, false, true},
    {"FINISHING", TRANSFER_FINISHING, false, true},
    {"DRAINING, disarmed", TRANSFER_DRAINING, false, true},
    {"DRAINING", TRANSFER_DRAINING, true, true},
    {"DONE", TRANSFER_DONE, true, true},
    {"ABORTED", TRANSFER_ABORTED, false, false},
    {"a state that is none", 6, false, false},
    {"no state at all", 255, false, false},
};

/* What is wrong with the slot. */
static void damage_start(struct transfer_slot *slot)
{
    slot->start ^= 1;
}

static void damage_end(struct transfer_slot *slot)
{
    slot->end ^= 1 << 20;
}

static void damage_size(struct transfer_slot *slot)
{
    slot->size ^= 1 << 20;
}

static void damage_mtime(struct transfer_slot *slot)
{
    slot->mtime ^= 1;
}

static void damage_started(struct transfer_slot *slot)
{
    slot->started ^= INT64_C(1) << 62;
}

static void damage_generation(struct transfer_slot *slot)
{
    slot->generation ^= 2;
}

static void damage_seal(struct transfer_slot *slot)
{
    slot->seal ^= 1u << 31;
}

static void damage_peer(struct transfer_slot *slot)
{
    slot->peer.at.internet[3] ^= 0x40;
}

static void one_byte_less(struct transfer_slot *slot)
{
    slot->offset--;
}

static void one_byte_more(struct transfer_slot *slot)
{
    slot->offset++;
}

static void before_the_start(struct transfer_slot *slot)
{
    slot->offset = slot->start - 1;
}

static void behind_the_end(struct transfer_slot *slot)
{
    slot->offset = slot->end + 1;
}

static void far_apart(struct transfer_slot *slot)
{
    slot->start = INT64_MIN;
    slot->offset = slot->end = INT64_MAX;
}

static void far_back(struct transfer_slot *slot)
{
    slot->start = 0;
    slot->offset = INT64_MAX;
    slot->end = INT64_MIN;
}

static void negative_start(struct transfer_slot *slot)
{
    slot->start = -1;
}

static void end_before_offset(struct transfer_slot *slot)
{
    slot->end = slot->offset - 1;
}

static void started_in_the_future(struct transfer_slot *slot)
{
    slot->started = INT64_MAX;
}

static void started_before_time(struct transfer_slot *slot)
{
    slot->started = INT64_MIN;
}

static void change_nothing(struct transfer_slot *slot)
{
    (void)slot;
}

static void change_the_rest(struct transfer_slot *slot)
{
    slot->held ^= 1;
    slot->resumed = 17;
    slot->event = 201;
}

static const struct damage {
    const char *name;
    void (*deed)(struct transfer_slot *slot);
    bool harmless;
    const char *says; /* of figures that nobody can reckon with; NULL: what they are */
} damages[] = {
    {"nothing", change_nothing, true},
    {"what may change", change_the_rest, true},
    {"its start", damage_start, false},
    {"its end", damage_end, false},
    {"its size", damage_size, false},
    {"its mtime", damage_mtime, false},
    {"its time", damage_started, false},
    {"its generation", damage_generation, false},
    {"its seal", damage_seal, false},
    {"its peer", damage_peer, false},
    {"its offset, by one less", one_byte_less, false},
    {"its offset, by one more", one_byte_more, false},
    {"its offset, before the start", before_the_start, false, ": 0 of 0 bytes sent, "},
    {"its offset, behind the end", behind_the_end, false, ": 0 of 0 bytes sent, "},
    {"its figures, as far apart as can be", far_apart, false, ": 0 of 0 bytes sent, "},
    {"its figures, and its end far back", far_back, false, ": 0 of 0 bytes sent, "},
    {"its start, before the file", negative_start, false, ": 0 of 0 bytes sent, "},
    {"its end, before its offset", end_before_offset, false, ": 0 of 0 bytes sent, "},
    {"its time, far ahead", started_in_the_future, false, ", in 0.000 s, 0 B/s"},
    {"its time, before any", started_before_time, false, ", in 0.000 s, 0 B/s"},
};

struct legacy {
    const struct phase *phase;
    enum place place;
    enum keeping keeping;
    const struct damage *damage;
    uint8_t event;
};

static struct legacy legacies[1000];
static size_t n_legacies;

struct pair {
    int client;
    int kept;      /* the manager's */
    int inherited; /* the next process's */
    uint16_t port;
};

struct bequest {
    struct shop shop;
    const struct legacy *c;
    struct pair own;
    struct pair other;
    int file_fd;
    struct resumed {
        uint32_t slot;
        int fd;
        struct source *source;
    } resumed[3];
    size_t n_resumed;
    size_t line; /* the next to look at */
};

static int connect_pair(struct pair *pair)
{
    const struct timeval patience = {.tv_sec = 10};
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(bind(listener, (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &size), 0);
    pair->client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(pair->client, (struct sockaddr *)&address, size), 0);
    assert_int_equal(
        setsockopt(pair->client, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), 0);
    int server = accept(listener, NULL, NULL);
    assert_true(server >= 0);
    assert_int_equal(getsockname(pair->client, (struct sockaddr *)&address, &size), 0);
    pair->port = ntohs(address.sin_port);
    assert_int_equal(close(listener), 0);
    return server;
}

static void send_some(int server, int fd, off_t from, off_t bytes)
{
    while (bytes > 0) {
        ssize_t n = sendfile(server, fd, &from, (size_t)bytes);
        assert_true(n > 0);
        bytes -= n;
    }
}

/* The process that had it has died, and the next one begins. */
static void pass_on(struct pair *pair, int server)
{
    pair->kept = fcntl(server, F_DUPFD_CLOEXEC, KERNEL_DUPLICATE);
    assert_int_equal(close(server), 0);
    pair->inherited = fcntl(pair->kept, F_DUPFD_CLOEXEC, 0);
    assert_true(pair->inherited >= 0);
}

/* What a process has done up to there, with a client of its own, and with another for whom the
 * table has no slot. */
static void live_before(struct bequest *b)
{
    const struct legacy *c = b->c;
    struct stored *stored = &b->shop.handover.stored;
    struct table table;
    struct stat status;
    struct peer peer = {.kind = SOCKET_TCP, .is_ipv4 = 1, .at.internet = {127, 0, 0, 1}};

    b->file_fd = open("file", O_RDONLY | O_CLOEXEC);
    assert_int_equal(fstat(b->file_fd, &status), 0);
    struct source *source = source_resume(fcntl(b->file_fd, F_DUPFD_CLOEXEC, 0), 1, "file");
    source_expect(source, status.st_size, source_mtime(&status));
    source->start = START;
    source->end = START + ALL;
    int server = connect_pair(&b->own);
    int other = connect_pair(&b->other);
    peer.port = b->own.port;
    assert_int_equal(table_open(&table, 8, true), 0);
    table_use(&table, NUMBER);
    struct transfer_slot *slot = &table.slots[NUMBER];
    transfer_slot_init(slot, source, &peer, clock_now());
    send_some(server, b->file_fd, START, c->phase->all ? ALL : SENT);
    send_some(other, b->file_fd, 0, SENT);
    slot->offset = START + (c->phase->all ? ALL : SENT);
    transfer_slot_seal(slot, source, server);
    slot->state = c->phase->state;
    slot->event = c->event;
    c->damage->deed(slot);
    assert_int_equal(transfer_arm(other, SOCKET_TCP), 0);
    if (c->phase->state != TRANSFER_DRAINING && c->phase->state != TRANSFER_DONE)
        assert_int_equal(transfer_arm(server, SOCKET_TCP), 0);
    if (c->phase->end_sent)
        assert_int_equal(shutdown(server, SHUT_WR), 0);
    pass_on(&b->own, server);
    pass_on(&b->other, other);
    stored->table = fcntl(table.fd, F_DUPFD_CLOEXEC, 0);
    stored->n_tables = 1;
    source_release(source);
    table_close(&table);
}

static void add_socket(struct bequest *b, const struct pair *pair, uint32_t number)
{
    struct stored *stored = &b->shop.handover.stored;

    stored->sockets[stored->n_sockets++] =
        (struct stored_socket){pair->inherited, number, SOCKET_TCP};
    stored->n++;
}

static void add_file(struct bequest *b, const char *path)
{
    struct stored *stored = &b->shop.handover.stored;

    stored->files[stored->n_files++] = (struct stored_file){open(path, O_RDONLY | O_CLOEXEC), 1};
    stored->n++;
}

static void hand_over(struct bequest *b)
{
    const struct legacy *c = b->c;
    struct stored *stored = &b->shop.handover.stored;

    stored->sockets = calloc(4, sizeof(*stored->sockets));
    stored->files = calloc(4, sizeof(*stored->files));
    stored->n = 1; /* the table */
    if (c->place == WRONG || c->place == WRONG_FIRST)
        add_socket(b, &b->other, NUMBER);
    if (c->place == RIGHT || c->place == TWICE || c->place == WRONG_FIRST)
        add_socket(b, &b->own, NUMBER);
    if (c->place == TWICE)
        add_socket(b, &b->other, NUMBER);
    if (c->place == UNUSED)
        add_socket(b, &b->other, NUMBER + 1);
    if (c->place == BEYOND)
        add_socket(b, &b->other, SLOTS + 5);
    if (c->keeping == OTHER)
        add_file(b, "other");
    if (c->keeping == THERE || c->keeping == TWO_FILES)
        add_file(b, "file");
    if (c->keeping == TWO_FILES)
        add_file(b, "other");
}

static void note_resumed(
    void *context, uint32_t slot, int fd, enum socket_kind kind, struct source *source)
{
    struct bequest *b = context;

    assert_int_equal(kind, SOCKET_TCP);
    assert_true(store_has(&b->shop.store, slot));
    assert_true(b->n_resumed < LENGTH(b->resumed));
    source_hold(source);
    b->resumed[b->n_resumed++] = (struct resumed){slot, fd, source};
}

/* ---- what must come of it ---- */

enum view { SEES_NOTHING, SEES_RESET, SEES_END, SEES_OVER };

static void check_view(const struct pair *pair, enum view view, off_t bytes)
{
    static char buffer[ALL];
    off_t n = 0;
    ssize_t r;

    while (view == SEES_NOTHING && n < bytes && (r = recv(pair->client, buffer, ALL, 0)) > 0)
        n += r;
    if (view == SEES_NOTHING) {
        assert_true(n == bytes);
        assert_int_equal(recv(pair->client, buffer, ALL, MSG_DONTWAIT), -1);
        assert_int_equal(errno, EAGAIN);
        return;
    }
    while ((r = recv(pair->client, buffer, ALL, 0)) > 0)
        n += r;
    if (r < 0 && errno != ECONNRESET)
        fail_msg("the client waits: %s", strerror(errno));
    if (view == SEES_RESET)
        assert_int_equal(r, -1);
    if (view == SEES_END)
        assert_int_equal(r, 0);
    if (r == 0) /* it has had the end before */
        assert_true(n == bytes);
}

/* The next line begins so, and says that. */
static void check_line(struct bequest *b, int level, const char *begins, const char *says)
{
    if (b->line >= world.n_lines)
        fail_msg("nobody has said '%s'", begins);
    const char *text = world.lines[b->line].text;
    if (strncmp(text, begins, strlen(begins)) != 0 || !strstr(text, says))
        fail_msg("'%s' is not '%s...%s'", text, begins, says);
    assert_int_equal(world.lines[b->line++].level, level);
}

static bool runs(const struct phase *phase)
{
    return phase->state >= TRANSFER_SENDING && phase->state <= TRANSFER_DRAINING;
}

/* A record of the event that the process before has noted, if it was not recorded. */
static void check_record(struct bequest *b)
{
    const struct phase *phase = b->c->phase;
    char peer[40];

    (void)snprintf(peer, sizeof(peer), "file to 127.0.0.1:%u: ", b->own.port);
    if (b->c->event == TRANSFER_NOTHING || b->c->event >= TRANSFER_EVENTS)
        return;
    check_line(b, b->c->event == TRANSFER_DRAINED ? LOG_INFO : LOG_NOTICE,
        b->c->event == TRANSFER_DRAINED ? "complete: " : "client left: ", peer);
    char sent[80];
    (void)snprintf(sent, sizeof(sent), ": %d of %d bytes sent, %s acknowledged, in ",
        phase->all ? ALL : SENT, ALL, phase->state == TRANSFER_DONE ? "30000" : "?");
    assert_non_null(
        strstr(world.lines[b->line - 1].text, b->c->damage->says ? b->c->damage->says : sent));
}

static bool is_known(const struct phase *phase)
{
    return phase->state != TRANSFER_NOWHERE && phase->state <= TRANSFER_ABORTED;
}

/* A socket under the slot's name, the first; or none. What the client of the slot sees. */
static enum view check_slot(struct bequest *b, bool *resumed)
{
    const struct legacy *c = b->c;
    bool has_socket = c->place < UNUSED && c->place != NONE;
    bool own_first = c->place == RIGHT || c->place == TWICE;
    bool file_there = c->keeping == THERE || c->keeping == TWO_FILES;
    bool no_file = c->keeping == MISSING || c->damage->deed == damage_generation;

    *resumed = false;
    if (!has_socket) {
        if (runs(c->phase))
            check_line(b, LOG_NOTICE, "killed: ", "before systemd had its socket to keep");
        else if (c->phase->state != TRANSFER_NOWHERE)
            check_record(b);
        return SEES_NOTHING;
    }
    if (!is_known(c->phase))
        return SEES_RESET; /* an orphan */
    if (!runs(c->phase)) {
        check_record(b);
        return c->phase->state == TRANSFER_DONE ? SEES_END : SEES_RESET;
    }
    *resumed = own_first && file_there && c->damage->harmless;
    if (*resumed)
        return c->phase->end_sent ? SEES_END : SEES_NOTHING;
    check_line(b, LOG_ERR, "failed: ",
        no_file ? "its file is not in the file-descriptor store"
                : "its slot in the table is damaged, or does not belong to this file and this "
                  "socket");
    if (c->damage->says)
        assert_non_null(strstr(world.lines[b->line - 1].text, c->damage->says));
    return c->phase->end_sent ? SEES_OVER : SEES_RESET;
}

static size_t count_orphans(const struct legacy *c)
{
    size_t sockets = c->place == TWICE || c->place == WRONG_FIRST ? 2 : c->place == NONE ? 0 : 1;

    if (c->place == UNUSED || c->place == BEYOND)
        return 1;
    return is_known(c->phase) && sockets > 0 ? sockets - 1 : sockets;
}

static void check_messages(const struct bequest *b, bool resumed)
{
    const struct legacy *c = b->c;
    bool generation_damaged = c->damage->deed == damage_generation;
    bool wanted = runs(c->phase) && !generation_damaged;
    bool own = c->place < UNUSED && c->place != NONE;
    char expected[80];
    char sent[200];

    /* A file that a slot wanted stays until its last transfer has come to its end. */
    bool file_goes = c->keeping != MISSING && !resumed;
    bool file_first = file_goes && !wanted;
    (void)snprintf(expected, sizeof(expected), "%s%s%s%s%s%s", file_first ? "-@file-1" : "",
        file_first && c->keeping == TWO_FILES ? " -@file-1" : "",
        c->place == BEYOND ? " -@163" : "", c->place == UNUSED ? " -@4" : "",
        own && !resumed ? " -@3" : "", file_goes && wanted ? " -@file-1" : "");
    kernel_format_messages(sent, sizeof(sent));
    const char *text = expected[0] == ' ' ? expected + 1 : expected;
    if (strcmp(sent, text) != 0)
        fail_msg("'%s', not '%s'", sent, text);
}

static void end_bequest(struct bequest *b)
{
    struct shop *shop = &b->shop;

    for (size_t i = 0; i < b->n_resumed; i++) {
        transfer_abort(b->resumed[i].fd, SOCKET_TCP);
        source_release(b->resumed[i].source);
        shop->table.slots[b->resumed[i].slot].state = TRANSFER_ABORTED;
        assert_false(store_forget(&shop->store, b->resumed[i].slot));
        store_tidy(&shop->store);
        assert_int_equal(store_next_free(&shop->store), b->resumed[i].slot);
    }
    if (b->c->place == NONE || b->c->place == WRONG || b->c->place == UNUSED ||
        b->c->place == BEYOND)
        (void)close(b->own.inherited);
    if (b->c->place == NONE || b->c->place == RIGHT)
        (void)close(b->other.inherited);
    (void)close(b->own.kept);
    (void)close(b->other.kept);
    (void)close(b->own.client);
    (void)close(b->other.client);
    (void)close(b->file_fd);
    close_shop(shop);
    free(shop->handover.stored.sockets);
    free(shop->handover.stored.files);
}

static void test_reclaim(void **state)
{
    static struct bequest bequest;
    struct bequest *b = &bequest;
    int descriptors = count_descriptors();
    bool resumed;

    *b = (struct bequest){.c = *state};
    const struct legacy *c = b->c;
    build(&b->shop);
    kernel.clock = false; /* the peer's clock is real */
    b->shop.options.file = "file";
    live_before(b);
    hand_over(b);
    uint32_t n = b->shop.handover.stored.n;
    assert_int_equal(open_shop(&b->shop), 0);
    assert_true(b->shop.store.table_kept);
    assert_int_equal(b->shop.store.n, n);
    store_reclaim(
        &b->shop.store, &b->shop.handover, &b->shop.sources, &b->shop.options, note_resumed, b);

    assert_int_equal(b->shop.handover.stored.n_sockets, 0);
    assert_int_equal(b->shop.handover.stored.n_files, 0);
    enum view view = check_slot(b, &resumed);
    size_t orphans = count_orphans(c);
    if (orphans > 0)
        check_line(b, LOG_WARNING,
            orphans == 1 ? "1 socket in the file-descriptor store without a transfer"
                         : "2 sockets in the file-descriptor store without a transfer",
            ": reset");
    if (resumed)
        check_line(b, LOG_INFO, "resumed: 1 transfer of the decant before", "");
    if (b->line != world.n_lines)
        fail_msg("'%s'", world.lines[b->line].text);
    check_messages(b, resumed);

    const struct transfer_slot *slot = &b->shop.table.slots[NUMBER];
    bool own = c->place == RIGHT || c->place == TWICE || c->place == WRONG_FIRST;
    bool named = c->place < UNUSED && c->place != NONE;
    assert_int_equal(b->n_resumed, resumed);
    if (resumed) {
        assert_int_equal(b->resumed[0].slot, NUMBER);
        assert_int_equal(b->resumed[0].fd, b->own.inherited);
        assert_int_equal(b->resumed[0].source->generation, 1);
        assert_int_equal(b->shop.store.n_kept, 1);
        assert_int_equal(slot->resumed, c->damage->deed == change_the_rest ? 18 : 1);
    } else {
        assert_int_equal(slot->state == TRANSFER_NOWHERE, !named);
        assert_true(slot->event == TRANSFER_NOTHING || !named); /* it is recorded */
        assert_int_equal(b->shop.store.n_kept, 0);
    }
    bool first_is_closed = c->phase->state == TRANSFER_DONE; /* and the manager's with it */
    if (c->place == WRONG_FIRST)                             /* an orphan then */
        view = c->phase->end_sent ? SEES_OVER : SEES_RESET;
    if (own)
        check_view(&b->own, view, c->phase->all ? ALL : SENT);
    if (c->place != RIGHT && c->place != NONE)
        check_view(&b->other,
            first_is_closed && (c->place == WRONG || c->place == WRONG_FIRST) ? SEES_NOTHING
                                                                              : SEES_RESET,
            SENT);
    uint32_t free = store_next_free(&b->shop.store);
    assert_int_equal(free, c->place == UNUSED  ? NUMBER + 1
                           : named && !resumed ? NUMBER
                                               : STORE_NOBODY);
    assert_int_equal(store_next_free(&b->shop.store), STORE_NOBODY);
    end_bequest(b);
    assert_int_equal(count_descriptors(), descriptors);
}

static void add_legacy(struct suite *suite, const struct phase *phase, enum place place,
    enum keeping keeping, const struct damage *damage, uint8_t event)
{
    struct legacy *c = &legacies[n_legacies++];

    assert(n_legacies <= LENGTH(legacies));
    *c = (struct legacy){phase, place, keeping, damage, event};
    suite_add(suite, test_reclaim, c, "reclaim: %s, event %d, %s, %s, damaged: %s", phase->name,
        event, place_names[place], keeping_names[keeping], damage->name);
}

static void add_legacies(struct suite *suite)
{
    static const uint8_t ends[] = {TRANSFER_NOTHING, TRANSFER_LEFT, TRANSFER_DRAINED, 200, 255};

    for (size_t i = 0; i < LENGTH(phases); i++)
        for (int place = 0; place < PLACES; place++)
            for (int keeping = 0; keeping < KEEPINGS; keeping++)
                add_legacy(suite, &phases[i], (enum place)place, (enum keeping)keeping, &damages[0],
                    phases[i].state == TRANSFER_DONE      ? TRANSFER_DRAINED
                    : phases[i].state == TRANSFER_ABORTED ? TRANSFER_LEFT
                                                          : TRANSFER_NOTHING);
    for (size_t i = 0; i < LENGTH(phases); i++)
        for (size_t j = 1; j < LENGTH(damages) && runs(&phases[i]); j++)
            add_legacy(suite, &phases[i], RIGHT, THERE, &damages[j], TRANSFER_FULL);
    for (size_t i = 0; i < LENGTH(phases); i++) /* what is only to be recorded */
        for (size_t j = 0; j < LENGTH(damages); j++)
            if (damages[j].says && is_known(&phases[i]) && !runs(&phases[i]))
                add_legacy(suite, &phases[i], RIGHT, THERE, &damages[j],
                    phases[i].state == TRANSFER_DONE ? TRANSFER_DRAINED : TRANSFER_LEFT);
    for (size_t i = 0; i < LENGTH(phases); i++)
        for (size_t j = 0; j < LENGTH(ends) && !runs(&phases[i]); j++) {
            add_legacy(suite, &phases[i], RIGHT, THERE, &damages[0], ends[j]);
            add_legacy(suite, &phases[i], NONE, THERE, &damages[0], ends[j]);
        }
}

/* ---- one process after the other ---- */

static void open_next(struct shop *shop)
{
    *shop = (struct shop){
        .handover = {.notify = {.fd = KERNEL_NOTIFY}, .file_fd = -1},
        .options = {.file = "file"},
        .table = {.fd = -1},
        .store = {.events = -1, .witness = -1, .barrier = -1},
    };
    report_open(&shop->report, CHANNEL_SYSLOG, LOG_DEBUG);
    kernel_hand_over(&shop->handover.stored);
    world.n_lines = 0;
    kernel.manager.n_messages = kernel.manager.n_read = 0;
}

/* SIGKILL: what it had is closed, and what it had sent is taken. */
static void die(struct shop *shop)
{
    for (uint32_t i = 0; i < SLOTS; i++)
        if (shop->clients[i].socket)
            source_release(shop->clients[i].source);
    store_close(&shop->store);
    table_close(&shop->table);
    kernel_take_back(&shop->handover.stored);
    for (int i = 0; i < FILES; i++)
        if (shop->files[i]) {
            (void)close(shop->files[i]->fd);
            free(shop->files[i]);
        }
    kernel_bury();
}

static struct kernel_socket *socket_of(int fd)
{
    for (int i = 0; i < kernel.n_sockets; i++)
        if (kernel.sockets[i].open && kernel.sockets[i].fd == fd)
            return &kernel.sockets[i];
    fail_msg("%d is no socket", fd);
    return NULL;
}

static uint32_t ends_at_once; /* slot */

static void take_over(
    void *context, uint32_t slot, int fd, enum socket_kind kind, struct source *source)
{
    struct shop *shop = context;

    assert_int_equal(kind, socket_of(fd)->kind);
    assert_int_equal(source->generation, shop->table.slots[slot].generation);
    source_hold(source);
    shop->clients[slot].socket = socket_of(fd);
    shop->clients[slot].source = source;
    if (slot == ends_at_once)
        assert_false(end_client(shop, slot));
}

static int reclaim_all(struct shop *shop)
{
    int r = store_open(&shop->store, &shop->handover, &shop->table, SLOTS, &shop->report);

    if (r == 0)
        store_reclaim(
            &shop->store, &shop->handover, &shop->sources, &shop->options, take_over, shop);
    return r;
}

static void close_next(struct shop *shop)
{
    kernel.calloc_fails = 0;
    for (uint32_t i = 0; i < SLOTS; i++)
        if (shop->clients[i].socket)
            (void)end_client(shop, i);
    kernel_take_back(&shop->handover.stored);
    close_shop(shop);
}

/* Clients 0 and 2 with file 1, and 1 with file 2. */
static void live_first(struct shop *shop)
{
    ends_at_once = STORE_NOBODY;
    build(shop);
    assert_int_equal(open_shop(shop), 0);
    begin_client(shop, 0, 1);
    keep_client(shop, 0);
    begin_client(shop, 1, 2);
    keep_client(shop, 1);
    begin_client(shop, 2, 1);
    keep_client(shop, 2);
    settle(shop);
    assert_int_equal(shop->store.n_kept, 3);
}

static void check_sent(const char *expected)
{
    char sent[500];

    kernel_format_messages(sent, sizeof(sent));
    if (strcmp(sent, expected) != 0)
        fail_msg("'%s', not '%s'", sent, expected);
}

/* Nothing is sent for what is kept already; and what is over goes as it would have gone before. */
static void test_heir(void **state)
{
    int descriptors = count_descriptors();
    struct shop shop;

    (void)state;
    live_first(&shop);
    for (unsigned life = 1; life <= 300; life++) {
        die(&shop);
        open_next(&shop);
        assert_int_equal(reclaim_all(&shop), 0);
        check_sent("");
        assert_int_equal(shop.store.state, STORE_THERE);
        assert_int_equal(shop.store.n, 8);
        assert_int_equal(shop.store.n_kept, 3);
        assert_int_equal(world.n_lines, 1);
        assert_string_equal(world.lines[0].text, "resumed: 3 transfers of the decant before");
        assert_int_equal(world.lines[0].level, LOG_INFO);
        table_last(&shop.table); /* as one does that has not died of it */
        for (uint32_t slot = 0; slot < 3; slot++)
            assert_int_equal(shop.table.slots[slot].resumed, life < 255 ? life : 255);
        assert_ptr_equal(shop.clients[0].source, shop.clients[2].source);
        assert_int_equal(shop.store.witness >= 0, true);
    }
    settle(&shop);
    check_kept(&shop, true);
    begin_client(&shop, 3, 3); /* it has a store from the start */
    keep_client(&shop, 3);
    assert_false(end_client(&shop, 0));
    assert_false(end_client(&shop, 1));
    assert_false(end_client(&shop, 2));
    check_sent("+@file-3 +@3 -@0 -@1 -@file-2 -@2 -@file-1");
    settle(&shop);
    check_kept(&shop, true);
    kernel_drop_all();
    settle(&shop);
    assert_int_equal(shop.store.state, STORE_NONE); /* the witness was watched */
    close_next(&shop);
    assert_int_equal(count_descriptors(), descriptors);
}

/* One that ends in its first step must not take the file with it that the others need. */
static void test_heir_of_one_that_ends(void **state)
{
    static const char *const sent[] = {"-@0", "-@1 -@file-2", "-@2"};

    (void)state;
    for (uint32_t slot = 0; slot < 3; slot++) {
        struct shop shop;
        live_first(&shop);
        die(&shop);
        open_next(&shop);
        ends_at_once = slot;
        assert_int_equal(reclaim_all(&shop), 0);
        settle(&shop);
        assert_int_equal(shop.store.n_kept, 2);
        check_kept(&shop, true);
        check_sent(sent[slot]);
        assert_int_equal(shop.report.status, 0);
        assert_int_equal(store_next_free(&shop.store), slot);
        close_next(&shop);
    }
}

/* Those that it cannot go on with are reset, and the others go on. */
static void test_heir_without_memory(void **state)
{
    bool whole = false;

    (void)state;
    for (int fails = 2; !whole; fails++) { /* the first is the store's own */
        struct shop shop;
        int descriptors = count_descriptors();
        uint32_t n_resumed = 0;
        live_first(&shop);
        die(&shop);
        open_next(&shop);
        kernel.calloc_fails = fails;
        assert_int_equal(reclaim_all(&shop), 0);
        for (uint32_t slot = 0; slot < 3; slot++) {
            n_resumed += shop.clients[slot].socket != NULL;
            assert_int_equal(
                kernel.sockets[slot].view, shop.clients[slot].socket ? VIEW_OPEN : VIEW_RESET);
        }
        whole = n_resumed == 3;
        assert_int_equal(whole, kernel.calloc_fails > 0);
        assert_int_equal(shop.report.status, whole ? 0 : EX_OSERR);
        settle(&shop);
        assert_int_equal(shop.store.n_kept, n_resumed);
        check_kept(&shop, true);
        close_next(&shop);
        assert_int_equal(count_descriptors(), descriptors);
    }
}

/* One damaged slot costs itself, and none of those with the same file. */
static void test_heir_of_a_damaged_one(void **state)
{
    struct shop shop;

    (void)state;
    live_first(&shop);
    shop.table.slots[0].mtime ^= 0x10000;
    shop.table.slots[0].size ^= 0x10000;
    die(&shop);
    open_next(&shop);
    assert_int_equal(reclaim_all(&shop), 0);
    assert_null(shop.clients[0].socket);
    assert_non_null(shop.clients[1].socket);
    assert_non_null(shop.clients[2].socket);
    assert_true(shop.clients[2].source->mtime == shop.table.slots[2].mtime);
    assert_true(shop.clients[2].source->size == shop.table.slots[2].size);
    close_next(&shop);
}

/* New clients get the file of the store as well, where it is still the one that they would get. */
static void test_heir_with_the_same_file(void **state)
{
    (void)state;
    for (int same = 0; same < 2; same++) {
        struct shop shop;
        struct problem problem;
        struct source *source = NULL;
        int descriptors = count_descriptors();
        live_first(&shop);
        die(&shop);
        open_next(&shop);
        shop.options =
            (struct options){.file = same ? "file" : "other", .length = OPTIONS_TO_THE_END};
        struct listener listener = {.fd = -1};
        shop.handover.listeners = &listener;
        shop.handover.n_listeners = 1;
        assert_int_equal(sources_open(&shop.sources, &shop.options, &shop.handover, &problem), 0);
        assert_int_equal(reclaim_all(&shop), 0);
        assert_int_equal(source_refresh(sources_for(&shop.sources, 0), &source, &problem), 0);
        bool united = source == shop.clients[0].source || source == shop.clients[1].source;
        assert_int_equal(united, same);
        assert_true(source->generation == (same ? 1 : 3) || source->generation == (same ? 2 : 3));
        uint32_t generation = source->generation;
        for (uint32_t slot = 0; slot < 3; slot++)
            (void)end_client(&shop, slot);
        /* Files 1 and 2 are of one inode here: one of them is what new clients get. */
        check_sent(!same             ? "-@0 -@1 -@file-2 -@2 -@file-1"
                   : generation == 1 ? "-@0 -@1 -@file-2 -@2"
                                     : "-@0 -@1 -@2 -@file-1");
        sources_close(&shop.sources);
        store_tidy(&shop.store);
        close_next(&shop);
        assert_int_equal(count_descriptors(), descriptors);
    }
}

static void remove_kept(const char *name)
{
    size_t at;

    while (kernel_kept(name, &at) > 0) {
        assert_int_equal(close(kernel.manager.kept[at].real), 0);
        kernel.manager.kept[at] = kernel.manager.kept[--kernel.manager.n_kept];
    }
}

/* The store is known, but not whether it stays: it is asked anew. */
static void test_heir_without_witness(void **state)
{
    (void)state;
    for (int unwatched = 0; unwatched < 2; unwatched++) {
        struct shop shop;
        live_first(&shop);
        die(&shop);
        if (!unwatched)
            remove_kept("@witness");
        open_next(&shop);
        kernel.epoll_ctl_fails = unwatched;
        kernel.epoll_ctl_error = ENOMEM;
        assert_int_equal(reclaim_all(&shop), 0);
        assert_int_equal(shop.store.state, STORE_UNTRIED);
        assert_int_equal(shop.store.n_kept, 3);
        assert_false(end_client(&shop, 1));
        check_sent("-@1 -@file-2");
        begin_client(&shop, 3, 3);
        keep_client(&shop, 3);
        settle(&shop);
        check_sent("-@1 -@file-2 +@witness*2 BARRIER=1 +@file-3 +@3");
        assert_int_equal(shop.store.state, STORE_THERE);
        check_kept(&shop, true);
        close_next(&shop);
    }
}

/* Whoever has lost the way to the manager serves its clients all the same. */
static void test_heir_without_manager(void **state)
{
    struct shop shop;

    (void)state;
    live_first(&shop);
    die(&shop);
    open_next(&shop);
    shop.handover.notify.fd = -1;
    assert_int_equal(reclaim_all(&shop), 0);
    assert_int_equal(shop.store.state, STORE_NONE);
    for (uint32_t slot = 0; slot < 3; slot++) {
        assert_non_null(shop.clients[slot].socket);
        (void)end_client(&shop, slot);
        assert_int_equal(store_next_free(&shop.store), slot);
    }
    check_sent("");
    close_next(&shop);
}

struct table_fault {
    const char *name;
    size_t offset;
    uint64_t value;
    size_t size;
    const char *says;
};

static const struct table_fault table_faults[] = {
    {"another magic", offsetof(struct table_header, magic), 1, 8, "it is no table"},
    {"another version", offsetof(struct table_header, version), 1, 4, "it is of another version"},
    {"slots of another size", offsetof(struct table_header, slot_size), 88, 4,
        "it is of another version"},
    {"no slots", offsetof(struct table_header, n_slots), 0, 4, "it is damaged"},
    {"more used than there are", offsetof(struct table_header, n_used), SLOTS + 1, 4,
        "it is damaged"},
    {"more slots than it has", offsetof(struct table_header, n_slots), SLOTS + 100, 4,
        "it is damaged"},
    {"too many deaths", offsetof(struct table_header, tries), 20, 4,
        "20 processes in a row have died of it"},
    {"two of them", 0, 0, 0, "there are two of them"},
};

/* All are reset, and what was kept is dropped; a new table takes the place of the other. */
static void test_table_fault(void **state)
{
    const struct table_fault *c = *state;
    int descriptors = count_descriptors();
    struct kernel_manager *m = &kernel.manager;
    struct shop shop;
    size_t at;

    for (int deaf = 0; deaf < 2; deaf++) {
        live_first(&shop);
        die(&shop);
        assert_int_equal(kernel_kept("@table", &at), 1);
        assert_int_equal(
            pwrite(m->kept[at].real, &c->value, c->size, (off_t)c->offset), (ssize_t)c->size);
        if (c->size == 0) {
            m->kept[m->n_kept] = m->kept[at];
            m->kept[m->n_kept++].real = fcntl(m->kept[at].real, F_DUPFD_CLOEXEC, KERNEL_DUPLICATE);
        }
        open_next(&shop);
        m->error = deaf ? EAGAIN : 0;
        m->fails = 1;
        assert_int_equal(reclaim_all(&shop), 0);
        char line[200];
        (void)snprintf(line, sizeof(line),
            "the table in the file-descriptor store is not used, since %s; its transfers are reset",
            c->says);
        assert_string_equal(world.lines[0].text, line);
        assert_int_equal(world.lines[0].level, LOG_ERR);
        assert_int_equal(strncmp(world.lines[1].text, "3 sockets in the file-descr", 27), 0);
        assert_int_equal(world.n_lines, 2);
        assert_int_equal(shop.report.status, EX_OSERR);
        for (int i = 0; i < 3; i++)
            assert_int_equal(kernel.sockets[i].view, VIEW_RESET);
        check_sent(
            deaf ? "-@file-1 -@file-2 -@0 -@1 -@2" : "-@table -@file-1 -@file-2 -@0 -@1 -@2");
        assert_int_equal(shop.store.state, deaf ? STORE_NONE : STORE_THERE);
        settle(&shop);
        for (uint32_t i = 0; i < 3; i++)
            assert_int_equal(store_next_free(&shop.store), i);
        begin_client(&shop, 0, 1);
        keep_client(&shop, 0);
        settle(&shop);
        assert_int_equal(kernel_kept("@0", NULL), !deaf);
        assert_int_equal(shop.store.n_kept, !deaf);
        check_kept(&shop, true);
        close_next(&shop);
        assert_int_equal(count_descriptors(), descriptors);
    }
}

/* A process with a higher limit has more slots; the next one, with a lower, goes on with all. */
static void test_heir_of_many(void **state)
{
    struct shop shop;

    (void)state;
    live_first(&shop);
    begin_client(&shop, SLOTS - 1, 1);
    keep_client(&shop, SLOTS - 1);
    die(&shop);
    open_next(&shop);
    assert_int_equal(store_open(&shop.store, &shop.handover, &shop.table, 2, &shop.report), 0);
    assert_int_equal(shop.table.n_slots, SLOTS);
    store_reclaim(&shop.store, &shop.handover, &shop.sources, &shop.options, take_over, &shop);
    assert_int_equal(shop.store.n_kept, 4);
    check_kept(&shop, true);
    close_next(&shop);
}

/* Over UNIX, the position cannot be asked for; the number of the socket can. */
static void test_heir_of_unix(void **state)
{
    struct shop shop;

    (void)state;
    ends_at_once = STORE_NOBODY;
    build(&shop);
    assert_int_equal(open_shop(&shop), 0);
    for (uint32_t slot = 0; slot < 2; slot++) {
        begin_client(&shop, slot, 1);
        shop.clients[slot].socket->kind = SOCKET_UNIX;
        shop.clients[slot].socket->armed = false;
        keep_client(&shop, slot);
    }
    settle(&shop);
    die(&shop);
    for (int i = 0; i < 2; i++) { /* each under the name of the other */
        size_t at;
        assert_int_equal(kernel_kept(i ? "@1" : "@0", &at), 1);
        kernel.manager.kept[at].name[1] = 'x';
    }
    for (size_t i = 0, n = 1; i < kernel.manager.n_kept; i++)
        if (kernel.manager.kept[i].name[1] == 'x')
            kernel.manager.kept[i].name[1] = (char)('0' + n--);
    kernel.sockets[1].view = VIEW_OPEN;
    open_next(&shop);
    assert_int_equal(reclaim_all(&shop), 0);
    assert_int_equal(shop.store.n_kept, 0); /* neither is the one that was promised it */
    assert_int_equal(shop.report.status, EX_OSERR);
    close_next(&shop);
}

static void test_foreign(void **state)
{
    static const struct {
        uint32_t n;
        const char *says;
    } cases[] = {
        {1, "1 of the descriptors that systemd keeps for this service is not decant's "
            "(FDNAME=NAME), and left there"},
        {3, "3 of the descriptors that systemd keeps for this service are not decant's "
            "(FDNAME=NAME), and left there"},
    };

    (void)state;
    for (size_t i = 0; i < LENGTH(cases); i++) {
        struct shop shop;
        ends_at_once = STORE_NOBODY;
        build(&shop);
        open_next(&shop);
        shop.handover.stored.n_foreign = cases[i].n;
        shop.handover.stored.foreign = "NAME";
        assert_int_equal(reclaim_all(&shop), 0);
        assert_int_equal(world.n_lines, 1);
        assert_string_equal(world.lines[0].text, cases[i].says);
        assert_int_equal(world.lines[0].level, LOG_WARNING);
        assert_int_equal(shop.report.status, 0);
        check_sent("");
        close_next(&shop);
    }
}

/* A handed-over file has no name of its own: its records still say something. */
static void test_nameless(void **state)
{
    struct shop shop;

    (void)state;
    live_first(&shop);
    remove_kept("@file-1");
    remove_kept("@file-2");
    die(&shop);
    remove_kept("@file-1");
    remove_kept("@file-2");
    open_next(&shop);
    shop.options.file = NULL;
    assert_int_equal(reclaim_all(&shop), 0);
    assert_int_equal(strncmp(world.lines[0].text, "failed: the handed-over file to ", 32), 0);
    assert_int_equal(world.n_lines, 3);
    close_next(&shop);
}

int main(void)
{
    static struct suite suite;

    if (!mkdtemp(directory) || chdir(directory) < 0)
        return 1;
    make_file("file");
    make_file("other");
    for (size_t i = 0; i < LENGTH(names); i++)
        suite_add(&suite, test_name, &names[i], "name: '%s'", names[i].text);
    for (size_t i = 0; i < LENGTH(stories); i++)
        suite_add(&suite, test_story, &stories[i], "story: %s", stories[i].name);
    suite_add(&suite, test_chance, NULL, "chance: 400 managers");
    suite_add(&suite, test_pace, NULL, "pace: so many at once, and so many a second");
    suite_add(&suite, test_hurry, NULL, "pace: none, once the process is about to end");
    suite_add(&suite, test_pace_of_nobody, NULL, "pace: there is nobody any more");
    suite_add(&suite, test_most, NULL, "open: how many may be kept");
    for (size_t i = 0; i < LENGTH(openings); i++)
        suite_add(&suite, test_opening, &openings[i], "open: %s", openings[i].name);
    add_legacies(&suite);
    suite_add(&suite, test_heir, NULL, "heir: 300, one after the other");
    suite_add(&suite, test_heir_of_one_that_ends, NULL, "heir: one ends in its first step");
    suite_add(&suite, test_heir_without_memory, NULL, "heir: no memory");
    suite_add(&suite, test_heir_of_a_damaged_one, NULL, "heir: one slot is damaged");
    suite_add(&suite, test_heir_with_the_same_file, NULL, "heir: the file is the same, or another");
    suite_add(&suite, test_heir_without_witness, NULL, "heir: no witness");
    suite_add(&suite, test_heir_without_manager, NULL, "heir: nobody to notify");
    for (size_t i = 0; i < LENGTH(table_faults); i++)
        suite_add(&suite, test_table_fault, &table_faults[i], "heir: a table with %s",
            table_faults[i].name);
    suite_add(&suite, test_heir_of_many, NULL, "heir: more slots than it would have");
    suite_add(&suite, test_heir_of_unix, NULL, "heir: two UNIX sockets, exchanged");
    suite_add(&suite, test_foreign, NULL, "heir: what is not decant's");
    suite_add(&suite, test_nameless, NULL, "heir: no name");
    int failed = suite_run(&suite, "store");
    (void)unlink("file");
    (void)unlink("other");
    (void)chdir("/");
    (void)rmdir(directory);
    return failed;
}
