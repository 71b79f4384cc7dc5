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

/* 128 KiB is what a string of the environment may have, execve(2). */
static void test_names_fit(void **state)
{
    size_t length = sizeof("LISTEN_FDNAMES=") + sizeof("@witness:@witness:@table");

    (void)state;
    length += STORE_MOST * sizeof("@3fff") + 100 * sizeof("@file-ffffffff");
    assert_true(length < 128 * 1024 - 100 * sizeof("a-listener-of-a-decant-unit.socket"));
}

/* ---- one store ---- */

#define SLOTS 64
#define FILES 5

struct shop {
    struct handover handover;
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
        .handover = {.stored = {.table = -1, .witness = -1},
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
        struct source *source = calloc(1, sizeof(*source));
        source->fd = open("file", O_RDONLY | O_CLOEXEC);
        source->generation = (uint32_t)generation;
        source->current = true;
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
    for (int i = 0; i < 10; i++) {
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

/* "+@0" is kept, "-@0" is dropped; in the order in which it was sent, "*2" with two descriptors. */
static void format_messages(char *text, size_t size)
{
    size_t n = 0;

    text[0] = '\0';
    for (size_t i = 0; i < kernel.manager.n_messages; i++) {
        const struct kernel_message *message = &kernel.manager.messages[i];
        const char *name = strstr(message->text, "FDNAME=");
        const char *sign = strstr(message->text, "FDSTOREREMOVE=1") ? "-"
                           : strstr(message->text, "FDSTORE=1")     ? "+"
                                                                    : "";
        n += (size_t)snprintf(text + n, size - n, "%s%s%s%s", i > 0 ? " " : "", sign,
            name ? name + 7 : message->text, message->n_fds == 2 ? "*2" : "");
        assert_true(n < size);
    }
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
    uint32_t fdstore; /* FDSTORE= */
    rlim_t limit;     /* 0: plenty */
    const char *says;
    bool unsettled;
};

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
        {{BUSY, ECONNREFUSED}, {KEEP, 0, 1}, {READY}, {KEEP, 1, 1}, {END, 1}, {PID1}}, "",
        STORE_UNTRIED, 0, .unsettled = true},
    {"PID 1 is gone for a while",
        {{BUSY, ECONNREFUSED}, {KEEP, 0, 1}, {RETRY}, {RETRY}, {RETRY}, {READY}, {RETRY}, {PID1}},
        FIRST, STORE_THERE, 5},
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
        {{KEEP, 0, 1}, {PID1}, {REPLACE, 1}, {KEEP, 1, 2}, {NOT_KEPT, 1}, {END_LATE, 0}, {PID1},
            {KEEP, 2, 2}, {KEPT, 1}},
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

    /* there is none, or not any more */
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
    case OVER:
        break;
    }
}

/* All that PID 1 has, and in it each thing that it must have; what goes may be there still. */
static void check_kept(const struct shop *shop, bool settled)
{
    uint32_t n = 0;
    char name[24];

    for (uint32_t slot = 0; slot < SLOTS; slot++) {
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

static void test_story(void **state)
{
    const struct story *c = *state;
    int descriptors = count_descriptors();
    char sent[2000];
    struct shop shop;

    build(&shop);
    shop.handover.notify.fd = c->no_notify ? -1 : KERNEL_NOTIFY;
    shop.handover.stored.most = c->fdstore;
    world.limit.rlim_max = c->limit ? c->limit : world.limit.rlim_max;
    assert_int_equal(open_shop(&shop), 0);
    for (size_t i = 0; i < LENGTH(c->steps) && c->steps[i].deed; i++)
        take_step(&shop, &c->steps[i]);
    format_messages(sent, sizeof(sent));
    if (strcmp(sent, c->sent) != 0)
        fail_msg("'%s', not '%s'", sent, c->sent);
    assert_int_equal(shop.store.state, c->state);
    assert_int_equal(shop.store.n, c->n);
    assert_int_equal(store_is_settled(&shop.store), !c->unsettled);
    kernel_manage();
    check_kept(&shop, store_is_settled(&shop.store));
    assert_int_equal(world.n_lines, c->says != NULL); /* once */
    if (c->says) {
        assert_int_equal(strncmp(world.lines[0].text, c->says, strlen(c->says)), 0);
        assert_int_equal(world.lines[0].level, LOG_NOTICE);
    }
    assert_int_equal(shop.report.status, 0);
    close_shop(&shop);
    assert_int_equal(count_descriptors(), descriptors);
}

/* ---- opening ---- */

static void test_most(void **state)
{
    static const struct {
        rlim_t limit;
        uint32_t fdstore;
        uint32_t most;
    } cases[] = {
        {1 << 20, 0, STORE_MOST},
        {RLIM_INFINITY, 0, STORE_MOST},
        {524288, 0, STORE_MOST},
        {2 * STORE_MOST, 0, STORE_MOST},
        {2 * STORE_MOST - 1, 0, STORE_MOST - 1},
        {4096, 0, 2048},
        {4096, 2047, 2047},
        {4096, 2049, 2048},
        {1 << 20, 4224, 4224},
        {1 << 20, UINT32_MAX, STORE_MOST},
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

int main(void)
{
    static struct suite suite;

    if (!mkdtemp(directory) || chdir(directory) < 0)
        return 1;
    make_file("file");
    for (size_t i = 0; i < LENGTH(names); i++)
        suite_add(&suite, test_name, &names[i], "name: '%s'", names[i].text);
    suite_add(&suite, test_names_fit, NULL, "name: all of them fit into LISTEN_FDNAMES");
    for (size_t i = 0; i < LENGTH(stories); i++)
        suite_add(&suite, test_story, &stories[i], "story: %s", stories[i].name);
    suite_add(&suite, test_most, NULL, "open: how many may be kept");
    for (size_t i = 0; i < LENGTH(openings); i++)
        suite_add(&suite, test_opening, &openings[i], "open: %s", openings[i].name);
    int failed = suite_run(&suite, "store");
    (void)unlink("file");
    (void)chdir("/");
    (void)rmdir(directory);
    return failed;
}
