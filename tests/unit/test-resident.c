/* SPDX-License-Identifier: MIT */

/*
 * What went wrong in others: a loop that spun because descriptors had run out while somebody waited
 * to be accepted; an event that spoke of the client before, whose number a new one had got; one
 * that stalled and was found only when all others had gone; a service that went to sleep with a
 * client in its hands, or never; a limit that was not lowered again. Clock, clients, accept4(2) and
 * epoll(7) are scripted, the signals and the files are real.
 */

#include "handover.h"
#include "kernel.h"
#include "options.h"
#include "resident.h"
#include "table.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <syslog.h>
#include <unistd.h>

#define KIB    1024
#define MIB    ((off_t)1 << 20)
#define MS     CLOCK_MS
#define SECOND CLOCK_SECOND
#define START  (1000 * SECOND) /* of the scripted clock */
#define AT(ms) (START + (ms)*MS)

static char directory[] = "/tmp/decant-test-resident.XXXXXX";

/* ---- what is written down ---- */

static struct {
    struct {
        int level;
        char text[1024];
    } lines[600];
    size_t n_lines;
    struct rlimit limit;
    struct rlimit limit_set;
    int getrlimit_error;
    int setrlimit_error;
    int mmap_error;
    bool shut_out;   /* landlock no longer lets open(2) have FILE */
    bool unreadable; /* nor would anything else */
    int64_t start;   /* ns that it takes */
    int64_t log;     /* ns that a line takes */
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
    kernel.now += world.log;
}

static int give(int error)
{
    errno = error;
    return error ? -1 : 0;
}

int __wrap_getrlimit64(int resource, struct rlimit *ret);
int __wrap_getrlimit64(int resource, struct rlimit *ret)
{
    assert_int_equal(resource, RLIMIT_NOFILE);
    *ret = world.limit;
    return give(world.getrlimit_error);
}

int __wrap_setrlimit64(int resource, const struct rlimit *limit);
int __wrap_setrlimit64(int resource, const struct rlimit *limit)
{
    assert_int_equal(resource, RLIMIT_NOFILE);
    assert_true(limit->rlim_cur <= limit->rlim_max);      /* EINVAL */
    assert_true(limit->rlim_max == world.limit.rlim_max); /* lowered for ever, raised by nobody */
    if (!world.setrlimit_error)
        world.limit_set = *limit;
    return give(world.setrlimit_error);
}

void *__real_mmap64(void *at, size_t size, int protection, int flags, int fd, off_t offset);
void *__wrap_mmap64(void *at, size_t size, int protection, int flags, int fd, off_t offset);
void *__wrap_mmap64(void *at, size_t size, int protection, int flags, int fd, off_t offset)
{
    kernel.now += world.start;
    if (world.mmap_error) {
        errno = world.mmap_error;
        return MAP_FAILED;
    }
    return __real_mmap64(at, size, protection, flags, fd, offset);
}

/* FILE, or what it leads to, is beneath none of the directories any more, sandbox.h. */
int __real_open64(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...)
{
    bool reads = (flags & O_ACCMODE) == O_RDONLY && !(flags & O_PATH);

    if ((world.shut_out || world.unreadable) && reads && strcmp(path, "file") == 0) {
        errno = EACCES;
        return -1;
    }
    return __real_open64(path, flags, 0644);
}

int __wrap_access(const char *path, int mode);
int __wrap_access(const char *path, int mode)
{
    assert_string_equal(path, "file");
    assert_int_equal(mode, R_OK);
    return give(world.unreadable ? EACCES : 0);
}

/* ---- what an admin does ---- */

enum deed {
    PUBLISH, /* a new file of NEW_SIZE bytes by rename(2) */
    REMOVE,
    RESTORE,   /* it is back, as large as at first */
    OVERWRITE, /* in place */
    EMPTY,
    GROW,     /* by a byte */
    BUSY,     /* the manager takes no message ... */
    READY,    /* ... and does again */
    GONE,     /* ... or is no longer there */
    NO_WATCH, /* the next client cannot be watched */
    NO_DISK,  /* the file is no longer in memory */
    DEAF,     /* the manager comes to no message ... */
    HEARS,    /* ... and does again */
    LOSE,     /* it drops all that it keeps */
    MOVE,     /* FILE leads to another directory now, by a link */
    PROTECT,  /* a new file that we may not read */
    PERMIT,   /* and now may */
    KILL,     /* SIGKILL, to us */
};

#define NEW_SIZE 777

static off_t first_size;

static void make_file(const char *path, off_t size, time_t mtime)
{
    const struct timespec times[2] = {{mtime, 1}, {mtime, 1}};
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, size), 0);
    assert_int_equal(futimens(fd, times), 0);
    assert_int_equal(close(fd), 0);
}

static void touch(time_t mtime)
{
    const struct timespec times[2] = {{mtime, 1}, {mtime, 1}};

    assert_int_equal(utimensat(AT_FDCWD, "file", times, 0), 0);
}

static void do_deed(off_t deed, struct kernel_socket *s)
{
    struct stat status;

    (void)s;
    switch ((enum deed)deed) {
    case PUBLISH:
        make_file("new", NEW_SIZE, 1000000000);
        assert_int_equal(rename("new", "file"), 0);
        break;
    case REMOVE:
        assert_int_equal(unlink("file"), 0);
        break;
    case RESTORE:
        make_file("file", first_size, 1000000000);
        break;
    case OVERWRITE:
        touch(1000000001);
        break;
    case EMPTY:
        assert_int_equal(truncate("file", 0), 0);
        break;
    case GROW:
        assert_int_equal(stat("file", &status), 0);
        assert_int_equal(truncate("file", status.st_size + 1), 0);
        break;
    case BUSY:
        kernel.manager.error = EAGAIN;
        break;
    case READY:
        kernel.manager.error = 0;
        break;
    case GONE:
        kernel.manager.error = ECONNREFUSED;
        break;
    case NO_WATCH:
        kernel.epoll_ctl_fails = 1;
        kernel.epoll_ctl_error = ENOSPC;
        break;
    case NO_DISK:
        kernel.file.on_disk = true;
        kernel.file.cached = 0;
        break;
    case DEAF:
        kernel.manager.stopped = true;
        break;
    case HEARS:
        kernel.manager.stopped = false;
        break;
    case MOVE:
        make_file("new", NEW_SIZE, 1000000000);
        assert_int_equal(rename("new", "file"), 0);
        world.shut_out = true;
        break;
    case PROTECT:
        make_file("new", NEW_SIZE, 1000000000);
        assert_int_equal(rename("new", "file"), 0);
        world.unreadable = true;
        break;
    case PERMIT:
        world.unreadable = false;
        break;
    case KILL:
        longjmp(kernel.killed, 1);
    case LOSE:
        kernel.manager.most = 0;
        kernel_drop_all();
        break;
    }
}

/* ---- scenes ---- */

/* So many clients of one sort. */
struct guest {
    int n;
    int64_t at;    /* ms; when the first one comes */
    int64_t every; /* ms; between them */
    int listener;
    uint32_t source; /* its address, or its user; 0: 127.0.0.1 */
    off_t room;      /* bytes that it lets be unacknowledged; 0: any */
    off_t reads;     /* bytes a millisecond */
    bool stays;      /* does not answer the end */
    enum kernel_view view;
    off_t gets;     /* bytes; 0: the whole file as it was at first */
    int64_t lasts;  /* ms from its arrival, to 8 ms exactly; 0: any time */
    int64_t begins; /* ms; accepted then, or a rest later; 0: as it comes */
    int64_t by;     /* ms; accepted then at the latest; 0: as above */
    bool left;      /* to the next process */
};

struct scene {
    const char *name;
    off_t size;
    struct guest guests[6];
    struct kernel_event events[12];
    enum socket_kind kinds[KERNEL_LISTENERS];
    int listeners;         /* 0: one, TCP */
    int64_t idle_exit;     /* 0: a second; -1: never */
    int64_t stop_timeout;  /* 0: 20 seconds; -1: none */
    int64_t stall_timeout; /* 0: a minute; -1: never */
    int64_t drain_timeout; /* 0: ten seconds; -1: never */
    int64_t most;
    int64_t per_source;
    int64_t rate;
    int64_t seek; /* ns, of the disk */
    const int *losses;
    bool allow_changes;
    int status;
    int64_t ends;          /* ms; when it is over, exactly; 0: any time */
    int result;            /* of resident_run() */
    unsigned long accepts; /* at most so many calls of accept4(2); 0: any number */
    const char *says[5];   /* lines, in order, among others */
    const char *not_says;
    int keeps;        /* descriptors that the manager keeps; -1: none; 0: there is no manager */
    uint32_t fdstore; /* FDSTORE= */
    uint32_t room;    /* for messages; 0: any number */
    const char *sent; /* about descriptors; NULL: whatever */
    uint32_t left;    /* transfers, to the next process */
};

#define GOOD(...)                                                                                  \
    {                                                                                              \
        .n = 1, .reads = 64 * KIB, .view = VIEW_END, __VA_ARGS__                                   \
    }
#define STUCK(...)                                                                                 \
    {                                                                                              \
        .n = 1, .room = 1000, .view = VIEW_RESET, __VA_ARGS__                                      \
    }
#define SLOW(...)                                                                                  \
    {                                                                                              \
        .n = 1, .room = 1000, .reads = 1000, .view = VIEW_END, __VA_ARGS__                         \
    }
#define LEFT(...)                                                                                  \
    {                                                                                              \
        .n = 1, .room = 1000, .view = VIEW_OPEN, .left = true, __VA_ARGS__                         \
    }
#define KEPT "+@witness*2 BARRIER=1 +@table +@file-1 +@0"
#define WAITS(...)                                                                                 \
    {                                                                                              \
        .n = 1, .view = VIEW_OPEN, __VA_ARGS__                                                     \
    }

/* A later value takes the place of the usual one, and what a scene does not say is 0. */
#pragma GCC diagnostic ignored "-Woverride-init"
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"

static const int losses[] = {ECONNABORTED, EPROTO, ENETDOWN, ENOPROTOOPT, EHOSTDOWN, ENONET,
    EHOSTUNREACH, ENETUNREACH, ETIMEDOUT, 0};

static const struct scene scenes[] = {
    {"one client", 1000, {GOOD(.at = 100)}, .ends = 1101,
        .says = {"complete: file to 127.0.0.1:1: "
                 "1000 of 1000 bytes sent"}},
    {"one client, an empty file", 0, {GOOD(.at = 100)}},
    {"one client, a large file", 20 * MIB, {GOOD(.at = 100)}},
    {"one that was there first", 1000, {GOOD(.at = 0)}, .ends = 1001},
    {"fifty, one after the other", 1000, {GOOD(.n = 50, .every = 10)}},
    {"fifty at once", 3 * MIB, {GOOD(.n = 50)}},
    {"more than a batch at once", 1000, {GOOD(.n = 200)}, .accepts = 206},
    {"a batch, exactly", 1000, {GOOD(.n = 64)}, .accepts = 65},
    {"more than one epoll_wait tells of", 100000, {SLOW(.n = 380)}},
    {"a small file that is read slowly", 100000, {SLOW(.room = 2000, .reads = 10)},
        .stall_timeout = SECOND, .drain_timeout = SECOND},
    {"fast and slow ones", 2 * MIB, {GOOD(.n = 20, .every = 7), SLOW(.n = 20, .every = 11)}},
    {"clients that half-close first", 3 * MIB, {GOOD(), GOOD(.at = 5)},
        {{AT(0), EVENT_ENDS, 0, 0}, {AT(5), EVENT_ENDS, 0, 1}}},
    {"clients that talk", 3 * MIB, {GOOD(), GOOD(.at = 5)},
        {{AT(0), EVENT_INPUT, 300000, 0}, {AT(9), EVENT_INPUT, 300000, 1}}},
    {"clients that stay for ever", 1000, {GOOD(.n = 3, .stays = true, .lasts = 10000)},
        .ends = 11001},
    {"three listeners", 100000,
        {GOOD(.n = 5), GOOD(.n = 5, .listener = 1), GOOD(.n = 5, .listener = 2, .room = 50000)},
        .kinds = {SOCKET_TCP, SOCKET_MPTCP, SOCKET_UNIX}, .listeners = 3},
    {"a vsock listener", 100000, {GOOD(.n = 5, .source = 3, .room = 50000)},
        .kinds = {SOCKET_VSOCK}, .listeners = 1, .says = {"complete: file to vsock:3:0"}},
    {"a UNIX client is named", 1000, {GOOD(.source = 1234)}, .kinds = {SOCKET_UNIX}, .listeners = 1,
        .says = {"complete: file to unix:pid=4711:uid=1234"}},

    /* how long it stays */
    {"idle from the start", 1000, {{0}}, .idle_exit = 5 * SECOND, .ends = 5000},
    {"idle from the start, no whole ms", 1000, {{0}}, .idle_exit = 1234567890, .ends = 1235},
    {"idle after the last", 1000, {GOOD(.at = 100), GOOD(.at = 3000), GOOD(.at = 7999)},
        .idle_exit = 5 * SECOND, .ends = 13000},
    {"one comes just before", 1000, {GOOD(.at = 999)}, .ends = 2000},
    {"one comes just then", 1000, {GOOD(.at = 1000)}, .ends = 2001},
    {"not idle while one is served", 100000, {SLOW(.room = 100, .reads = 100)},
        .stall_timeout = 10 * SECOND, .ends = 2001},
    {"not idle while one is refused", 1000,
        {STUCK(.room = 10, .lasts = 8000), {.n = 1, .at = 7900, .view = VIEW_RESET}}, .most = 1,
        .idle_exit = SECOND, .stall_timeout = 8 * SECOND, .status = 75, .ends = 9000},
    {"never idle, and SIGTERM in the end", 1000, {GOOD()},
        {{AT(3600000), EVENT_SIGNAL, SIGTERM, 0}}, .idle_exit = -1, .ends = 3600000},
    {"idle for as long as can be said", 1000, {GOOD()}, {{AT(3600000), EVENT_SIGNAL, SIGTERM, 0}},
        .idle_exit = INT64_MAX, .ends = 3600000},
    {"a client that comes and goes", 1000, {{.n = 1, .at = 500, .view = VIEW_OWN_RESET}},
        {{AT(500), EVENT_RESETS, 0, 0}}, .ends = 1000, .accepts = 2},

    /* signals */
    {"SIGTERM, nobody there", 1000, {{0}}, {{AT(300), EVENT_SIGNAL, SIGTERM, 0}}, .ends = 300},
    {"SIGTERM: what runs may end", 1000000, {SLOW()}, {{AT(300), EVENT_SIGNAL, SIGTERM, 0}},
        .says = {"complete: "}},
    {"SIGTERM: but not for ever", 3 * MIB, {STUCK(.n = 3)}, {{AT(300), EVENT_SIGNAL, SIGTERM, 0}},
        .stop_timeout = 7 * SECOND, .status = 75, .ends = 7300,
        .says = {"stopped: ", "stopped: ", "stopped: "}},
    {"SIGTERM: no time at all", 3 * MIB, {STUCK(.n = 2)}, {{AT(300), EVENT_SIGNAL, SIGTERM, 0}},
        .stop_timeout = -1, .status = 75, .ends = 300},
    {"SIGTERM: as much time as can be said", 1000000, {SLOW()},
        {{AT(300), EVENT_SIGNAL, SIGTERM, 0}}, .stop_timeout = INT64_MAX, .says = {"complete: "}},
    {"SIGTERM: those who come then wait for the next", 1000000, {SLOW(), WAITS(.n = 3, .at = 500)},
        {{AT(300), EVENT_SIGNAL, SIGTERM, 0}}, .accepts = 2},
    {"SIGTERM twice", 3 * MIB, {STUCK()},
        {{AT(300), EVENT_SIGNAL, SIGTERM, 0}, {AT(5000), EVENT_SIGNAL, SIGTERM, 0}}, .status = 75,
        .ends = 20300},
    {"SIGTERM: one that has everything is complete", 1000, {GOOD(.stays = true)},
        {{AT(300), EVENT_SIGNAL, SIGTERM, 0}}, .stop_timeout = SECOND, .ends = 1300},
    {"SIGINT", 3 * MIB, {STUCK(.n = 2)}, {{AT(300), EVENT_SIGNAL, SIGINT, 0}}, .status = 75,
        .ends = 300},
    {"SIGTERM, then SIGINT", 3 * MIB, {STUCK()},
        {{AT(300), EVENT_SIGNAL, SIGTERM, 0}, {AT(400), EVENT_SIGNAL, SIGINT, 0}}, .status = 75,
        .ends = 400},
    {"SIGHUP", 1000000, {SLOW(), GOOD(.at = 900)},
        {{AT(300), EVENT_SIGNAL, SIGHUP, 0}, {AT(400), EVENT_SIGNAL, SIGHUP, 0}}},
    {"SIGHUP and SIGTERM at once", 3 * MIB, {STUCK()},
        {{AT(300), EVENT_SIGNAL, SIGHUP, 0}, {AT(300), EVENT_SIGNAL, SIGTERM, 0}}, .status = 75,
        .ends = 20300},
    {"SIGTERM while accepting rests", 1000000, {SLOW(), WAITS(.at = 200)},
        {{AT(100), EVENT_ACCEPT, EMFILE, 0}, {AT(250), EVENT_SIGNAL, SIGTERM, 0}}},

    /* limits */
    {"too many", 1000000,
        {SLOW(.n = 2), {.n = 3, .at = 100, .view = VIEW_RESET, .lasts = 0}, GOOD(.at = 2000)},
        .most = 2, .status = 75,
        .says = {"refused: 1 client reset: 2 at a time is the limit (--max-connections)",
            "refused: 2 clients reset: 2 at a time"}},
    {"too many: room again after each end", 1000000,
        {SLOW(.at = 0), SLOW(.at = 500), {.n = 1, .at = 900, .view = VIEW_RESET}, SLOW(.at = 1100),
            {.n = 1, .at = 1200, .view = VIEW_RESET}, SLOW(.at = 1600)},
        .most = 2, .status = 75},
    {"too many in one batch", 1000000, {SLOW(.n = 5), {.n = 95, .view = VIEW_RESET}}, .most = 5,
        .status = 75},
    {"one at a time, and small: all in one batch", 1000,
        {{.n = 1, .view = VIEW_END, .reads = 1000}, {.n = 1, .view = VIEW_RESET}}, .most = 1,
        .status = 75},
    {"too many of one source", 1000000,
        {SLOW(.n = 2, .source = 1), {.n = 1, .at = 100, .source = 1, .view = VIEW_RESET},
            SLOW(.at = 200, .source = 2), {.n = 1, .at = 300, .source = 1, .view = VIEW_RESET},
            GOOD(.at = 2000, .source = 1)},
        .per_source = 2, .status = 75,
        .says = {"refused: 1 client reset: the last was 0.0.0.1:3, whose address has 2 already "
                 "(--max-connections-per-source)"}},
    {"too many of one user", 1000000,
        {SLOW(.n = 2, .source = 1000),
            {.n = 1, .at = 100, .source = 1000, .view = VIEW_END, .gets = -1},
            SLOW(.at = 200, .source = 1001)},
        .kinds = {SOCKET_UNIX}, .listeners = 1, .per_source = 2, .status = 75,
        .says = {"refused: 1 client reset: the last was unix:pid=4711:uid=1000"}},
    {"both limits", 1000000,
        {SLOW(.n = 2, .source = 1), SLOW(.at = 1, .source = 2),
            {.n = 1, .at = 100, .source = 3, .view = VIEW_RESET}, GOOD(.at = 2000, .source = 3)},
        .most = 3, .per_source = 2, .status = 75},
    {"one of each source, 300 of them in turn", 1000, {GOOD(.n = 300, .every = 20)},
        .per_source = 1},
    {"those refused are told once a second", 1000000,
        {STUCK(), {.n = 100, .at = 100, .every = 50, .view = VIEW_RESET}}, .most = 1,
        .stall_timeout = 8 * SECOND, .status = 75,
        .says = {"refused: 1 client reset", "refused: 20 clients reset",
            "refused: 20 clients reset", "refused: 20 clients reset", "refused: 20 clients reset"}},
    {"those refused are told in the end", 1000000,
        {STUCK(), {.n = 3, .at = 100, .every = 10, .view = VIEW_RESET}},
        {{AT(200), EVENT_SIGNAL, SIGINT, 0}}, .most = 1, .status = 75, .ends = 200,
        .says = {"refused: 1 client reset", "refused: 2 clients reset"}},

    /* accept4(2) fails */
    {"EMFILE, and descriptors again", 1000, {GOOD(.at = 100, .begins = 5000)},
        {{AT(50), EVENT_ACCEPT, EMFILE, 0}, {AT(5000), EVENT_ACCEPT, 0, 0}},
        .idle_exit = 10 * SECOND, .accepts = 60,
        .says = {"accept4: Too many open files; 0 clients are served, and new ones have to wait",
            "complete: "}},
    {"ENFILE", 1000, {GOOD(.at = 100, .begins = 5000)},
        {{AT(50), EVENT_ACCEPT, ENFILE, 0}, {AT(5000), EVENT_ACCEPT, 0, 0}},
        .idle_exit = 10 * SECOND, .accepts = 60,
        .says = {"accept4: Too many open files in system"}},
    {"ENOBUFS", 1000, {GOOD(.at = 100, .begins = 5000)},
        {{AT(50), EVENT_ACCEPT, ENOBUFS, 0}, {AT(5000), EVENT_ACCEPT, 0, 0}},
        .idle_exit = 10 * SECOND, .accepts = 60},
    {"ENOMEM", 1000, {GOOD(.at = 100, .begins = 5000)},
        {{AT(50), EVENT_ACCEPT, ENOMEM, 0}, {AT(5000), EVENT_ACCEPT, 0, 0}},
        .idle_exit = 10 * SECOND, .accepts = 60},
    {"EPERM, of a security module or of seccomp", 1000, {GOOD(.at = 100, .begins = 5000)},
        {{AT(50), EVENT_ACCEPT, EPERM, 0}, {AT(5000), EVENT_ACCEPT, 0, 0}},
        .idle_exit = 10 * SECOND, .accepts = 60},
    {"EACCES, of a security module", 1000, {GOOD(.at = 100, .begins = 5000)},
        {{AT(50), EVENT_ACCEPT, EACCES, 0}, {AT(5000), EVENT_ACCEPT, 0, 0}},
        .idle_exit = 10 * SECOND, .accepts = 60},
    {"EMFILE: told once a minute", 1000, {GOOD(.at = 100, .begins = 130000)},
        {{AT(50), EVENT_ACCEPT, EMFILE, 0}, {AT(130000), EVENT_ACCEPT, 0, 0}},
        .idle_exit = 300 * SECOND, .accepts = 1400,
        .says = {"accept4: ", "accept4: ", "accept4: ", "complete: "}},
    {"EMFILE: idle, and those who wait stay for the next", 1000, {WAITS(.n = 3, .at = 500)},
        {{AT(50), EVENT_ACCEPT, EMFILE, 0}}, .ends = 1000},
    {"EMFILE: the others go on", 1000000, {SLOW(.n = 3), GOOD(.at = 100, .begins = 400)},
        {{AT(50), EVENT_ACCEPT, EMFILE, 0}, {AT(400), EVENT_ACCEPT, 0, 0}}},
    {"EMFILE: one that ends makes room", 1000000,
        {SLOW(), STUCK(.at = 1, .view = VIEW_OWN_RESET), GOOD(.at = 100, .by = 334)},
        {{AT(50), EVENT_ACCEPT, EMFILE, 0}, {AT(333), EVENT_ACCEPT, 0, 0},
            {AT(333), EVENT_RESETS, 0, 1}},
        .status = 75},
    {"EMFILE on one, the other was shut down before", 1000,
        {GOOD(.at = 100, .begins = 2000, .listener = 1)},
        {{AT(50), EVENT_SHUTS, 0, 0}, {AT(60), EVENT_ACCEPT, EMFILE, 0},
            {AT(2000), EVENT_ACCEPT, 0, 0}},
        .listeners = 2, .idle_exit = 10 * SECOND, .status = 71},
    {"EMFILE on one, and the other is shut down", 1000,
        {GOOD(.at = 100, .begins = 2000, .listener = 1)},
        {{AT(60), EVENT_ACCEPT, EMFILE, 0}, {AT(130), EVENT_SHUTS, 0, 0},
            {AT(2000), EVENT_ACCEPT, 0, 0}},
        .listeners = 2, .idle_exit = 10 * SECOND, .status = 71},
    {"connections that are lost before they are accepted", 1000,
        {{.n = 9, .view = VIEW_RESET}, GOOD(.n = 3)}, .losses = losses, .accepts = 15},
    {"reset in the queue", 1000, {{.n = 2, .view = VIEW_OWN_RESET}, GOOD(.n = 3)},
        {{AT(0), EVENT_RESETS, 0, 0}, {AT(0), EVENT_RESETS, 0, 1}}, .accepts = 7},
    {"shut down", 1000, {GOOD()}, {{AT(300), EVENT_SHUTS, 0, 0}}, .status = 71, .ends = 300,
        .idle_exit = -1,
        .says = {"complete: ",
            "accept4 on ADDRESS-0: Invalid argument; it is listened on no longer"}},
    {"shut down: what runs may end", 1000000, {SLOW()}, {{AT(300), EVENT_SHUTS, 0, 0}},
        .status = 71, .idle_exit = -1, .says = {"accept4 on ADDRESS-0", "complete: "}},
    {"shut down, UNIX", 1000, {GOOD()}, {{AT(300), EVENT_SHUTS, 0, 0}}, .kinds = {SOCKET_UNIX},
        .listeners = 1, .status = 71, .ends = 300, .idle_exit = -1,
        .says = {"complete: ", "accept4 on ADDRESS-0: "}},
    {"shut down, UNIX: who waits is served", 1000, {GOOD(), GOOD(.n = 3, .at = 300)},
        {{AT(300), EVENT_SHUTS, 0, 0}}, .kinds = {SOCKET_UNIX}, .listeners = 1, .status = 71,
        .idle_exit = -1},
    {"shut down, one of two", 1000, {GOOD(), GOOD(.at = 500, .listener = 1)},
        {{AT(300), EVENT_SHUTS, 0, 0}}, .listeners = 2, .status = 71,
        .says = {"complete: ", "accept4 on ADDRESS-0", "complete: "}},
    {"shut down, one of two, and SIGTERM", 1000, {GOOD(.listener = 1)},
        {{AT(300), EVENT_SHUTS, 0, 0}, {AT(400), EVENT_SIGNAL, SIGTERM, 0}}, .listeners = 2,
        .status = 71, .ends = 400, .idle_exit = -1},

    /* epoll(7) fails */
    {"epoll_wait: EINTR", 1000000, {SLOW()},
        {{AT(1), EVENT_WAKE, EINTR, 0}, {AT(300), EVENT_WAKE, EINTR, 0}}},
    {"epoll_wait: EBADF", 3 * MIB, {STUCK(.n = 3)}, {{AT(300), EVENT_WAKE, EBADF, 0}},
        .result = -EBADF, .status = 71, .ends = 300,
        .says = {"failed: file to 127.0.0.1:1", "failed: ", "failed: "}},
    {"epoll_wait: EBADF, nobody there", 1000, {WAITS(.at = 400)}, {{AT(300), EVENT_WAKE, EBADF, 0}},
        .result = -EBADF, .ends = 300},
    {"epoll_ctl: no more watches", 3 * MIB, {STUCK(.at = 100), GOOD(.at = 200)},
        {{AT(99), EVENT_TEST, NO_WATCH, 0}}, .status = 71,
        .says = {"failed: file to 127.0.0.1:1", "complete: "}},

    /* the file */
    {"a new file between two clients", 100000, {GOOD(), GOOD(.at = 500, .gets = NEW_SIZE)},
        {{AT(400), EVENT_TEST, PUBLISH, 0}}},
    {"a new file while one is served", 1000000, {SLOW(), GOOD(.at = 500, .gets = NEW_SIZE)},
        {{AT(400), EVENT_TEST, PUBLISH, 0}}},
    {"new files again and again", 1000000,
        {SLOW(), SLOW(.at = 150, .gets = NEW_SIZE), GOOD(.at = 500, .gets = NEW_SIZE)},
        {{AT(100), EVENT_TEST, PUBLISH, 0}, {AT(200), EVENT_TEST, PUBLISH, 0},
            {AT(400), EVENT_TEST, PUBLISH, 0}}},
    {"missing for a new client", 1000000,
        {SLOW(), {.n = 2, .at = 500, .view = VIEW_RESET}, GOOD(.at = 700)},
        {{AT(400), EVENT_TEST, REMOVE, 0}, {AT(600), EVENT_TEST, RESTORE, 0}}, .status = 66,
        .says = {"cannot open 'file'", "cannot open 'file'", "complete: ", "complete: "}},
    {"missing for all", 1000, {{.n = 100, .at = 500, .view = VIEW_RESET}},
        {{AT(400), EVENT_TEST, REMOVE, 0}}, .status = 66, .ends = 1500},
    {"not readable for a new client", 1000000,
        {SLOW(), {.n = 2, .at = 500, .view = VIEW_RESET}, GOOD(.at = 700, .gets = NEW_SIZE)},
        {{AT(400), EVENT_TEST, PROTECT, 0}, {AT(600), EVENT_TEST, PERMIT, 0}}, .status = 66,
        .says = {"cannot open 'file'", "cannot open 'file'", "complete: ", "complete: "}},

    /* the file is where this process may not go: only the next one can serve it */
    {"led elsewhere, nobody there", 1000,
        {{.n = 1, .at = 500, .view = VIEW_RESET}, WAITS(.at = 501)},
        {{AT(400), EVENT_TEST, MOVE, 0}}, .idle_exit = -1, .status = 66, .ends = 500, .accepts = 2,
        .says = {"'file' leads to another directory"}},
    {"led elsewhere, and the idle exit is due", 1000, {{.n = 1, .at = 999, .view = VIEW_RESET}},
        {{AT(400), EVENT_TEST, MOVE, 0}}, .status = 66, .ends = 999,
        .says = {"'file' leads to another directory"}},
    {"led elsewhere: what runs may end", 1000000,
        {SLOW(.n = 2), {.n = 1, .at = 500, .view = VIEW_RESET}, WAITS(.n = 3, .at = 501)},
        {{AT(400), EVENT_TEST, MOVE, 0}}, .idle_exit = -1, .status = 66, .accepts = 5,
        .says = {"'file' leads to another directory", "complete: ", "complete: "}},
    {"led elsewhere: but not for ever", 3 * MIB,
        {STUCK(.n = 2), {.n = 1, .at = 500, .view = VIEW_RESET}, WAITS(.n = 3, .at = 501)},
        {{AT(400), EVENT_TEST, MOVE, 0}}, .stop_timeout = 7 * SECOND, .status = 66, .ends = 7500,
        .says = {"'file' leads to another directory", "stopped: ", "stopped: "}},
    {"led elsewhere: each of a batch is told", 1000000,
        {SLOW(), {.n = 3, .at = 500, .view = VIEW_RESET}, WAITS(.at = 501)},
        {{AT(400), EVENT_TEST, MOVE, 0}}, .status = 66,
        .says = {"'file' leads", "'file' leads", "'file' leads", "complete: "}},
    {"led elsewhere: no listener goes on", 1000000,
        {SLOW(.listener = 1), {.n = 1, .at = 500, .view = VIEW_RESET},
            WAITS(.at = 501, .listener = 1), WAITS(.at = 501)},
        {{AT(400), EVENT_TEST, MOVE, 0}}, .listeners = 2, .status = 66,
        .says = {"'file' leads to another directory", "complete: "}},
    {"led elsewhere, and SIGTERM", 1000000, {SLOW(), {.n = 1, .at = 500, .view = VIEW_RESET}},
        {{AT(400), EVENT_TEST, MOVE, 0}, {AT(600), EVENT_SIGNAL, SIGTERM, 0}}, .status = 66,
        .says = {"'file' leads to another directory", "complete: "}},
    {"led elsewhere, and SIGINT", 3 * MIB, {STUCK(), {.n = 1, .at = 500, .view = VIEW_RESET}},
        {{AT(400), EVENT_TEST, MOVE, 0}, {AT(600), EVENT_SIGNAL, SIGINT, 0}}, .status = 66,
        .ends = 600, .says = {"'file' leads to another directory", "stopped: "}},
    {"led elsewhere, but nobody asks", 1000000, {SLOW()}, {{AT(400), EVENT_TEST, MOVE, 0}},
        .not_says = "leads to another", .says = {"complete: "}},
    {"overwritten while one is served", 1000000, {SLOW(.view = VIEW_RESET), GOOD(.at = 500)},
        {{AT(400), EVENT_TEST, OVERWRITE, 0}}, .status = 65,
        .says = {"complete: ", "file changed: "}},
    {"emptied while one is served", 1000000,
        {SLOW(.view = VIEW_RESET), GOOD(.at = 500, .gets = -1)}, {{AT(400), EVENT_TEST, EMPTY, 0}},
        .status = 65, .says = {"file shrank: "}},
    {"a log: each has its own end", 1000000,
        {SLOW(), GOOD(.at = 500, .gets = 1000001), GOOD(.at = 700, .gets = 1000002)},
        {{AT(400), EVENT_TEST, GROW, 0}, {AT(600), EVENT_TEST, GROW, 0}}, .allow_changes = true},
    {"a disk that seeks holds up nobody", 2 * MIB, {SLOW(.n = 3), GOOD(.at = 500)},
        {{AT(400), EVENT_TEST, NO_DISK, 0}}, .seek = 30 * MS},
    {"a broken disk", 2 * MIB, {GOOD(.at = 500, .view = VIEW_RESET)},
        {{AT(400), EVENT_TEST, NO_DISK, 0}}, .seek = CLOCK_NEVER, .status = 74,
        .says = {"file unreadable: "}},

    /* clients that do not do their part */
    {"stalled ones are cut on time, while others are served", 3 * MIB,
        {STUCK(.n = 3, .every = 1000, .lasts = 60000), GOOD(.n = 100, .at = 50, .every = 1000),
            STUCK(.at = 5000, .lasts = 60000)},
        .status = 75, .says = {"client stalled: "}},
    {"stalled in each phase", 2 * MIB,
        {STUCK(.lasts = 60000), STUCK(.room = 2 * MIB, .lasts = 60000)}, .status = 75},
    {"stalled at the end", 1000, {STUCK(.room = 2000, .lasts = 10000)}, .status = 75},
    {"no timeouts", 3 * MIB, {STUCK(.view = VIEW_OWN_RESET), GOOD(.at = 1000)},
        {{AT(7200000), EVENT_RESETS, 0, 0}}, .stall_timeout = -1, .drain_timeout = -1,
        .status = 75},
    {"one leaves, the others go on", 1000000, {SLOW(.n = 3), STUCK(.view = VIEW_OWN_RESET)},
        {{AT(100), EVENT_RESETS, 0, 3}}, .status = 75, .says = {"client left: "}},
    {"all leave at once", 3 * MIB, {STUCK(.n = 5, .view = VIEW_OWN_RESET)},
        {{AT(100), EVENT_RESETS, 0, 0}, {AT(100), EVENT_RESETS, 0, 1},
            {AT(100), EVENT_RESETS, 0, 2}, {AT(100), EVENT_RESETS, 0, 3},
            {AT(100), EVENT_RESETS, 0, 4}},
        .status = 75, .ends = 1100},
    {"one leaves and another comes, at once", 1000000,
        {SLOW(), STUCK(.view = VIEW_OWN_RESET), GOOD(.n = 3, .at = 100)},
        {{AT(100), EVENT_RESETS, 0, 1}}, .status = 75},
    {"the clock jumps an hour ahead", 1000000, {SLOW(.n = 3)},
        {{AT(100), EVENT_JUMP, 3600 * SECOND, 0}}},
    {"a rate", 1000, {GOOD(.n = 3)}, .rate = 1 << 20},

    /* a manager that keeps descriptors */
    {"kept: nothing of what one call can finish", 1000, {GOOD(.n = 50, .every = 10)}, .keeps = 100,
        .sent = ""},
    {"kept: nothing of what fits at once", MIB, {GOOD(.n = 3, .every = 100)}, .keeps = 100,
        .sent = ""},
    {"kept: nor while the end is waited for", 1000, {GOOD(.n = 3, .stays = true)}, .keeps = 100,
        .sent = ""},
    {"kept: what outlives its first turn", 20000, {SLOW()}, .keeps = 100, .sent = KEPT " -@0"},
    {"kept: more than a turn", MIB + 1, {GOOD()}, .keeps = 100, .sent = KEPT " -@0"},
    {"kept: what the disk has to bring", 20000, {GOOD(.at = 500)},
        {{AT(400), EVENT_TEST, NO_DISK, 0}}, .seek = 30 * MS, .keeps = 100, .sent = KEPT " -@0"},
    {"kept: one after the other, under one name", 20000, {SLOW(), SLOW(.at = 100), SLOW(.at = 200)},
        .keeps = 100, .sent = KEPT " -@0 +@0 -@0 +@0 -@0"},
    {"kept: only those that need it", 20000,
        {GOOD(.n = 20, .every = 10, .room = 20000), SLOW(.at = 5, .reads = 100), GOOD(.at = 250)},
        .keeps = 100, .stall_timeout = 10 * SECOND},
    {"kept: over UNIX", 200000, {SLOW(.room = 50000)}, .kinds = {SOCKET_UNIX}, .listeners = 1,
        .keeps = 100, .sent = KEPT " -@0"},
    {"kept: over vsock", 200000, {SLOW(.room = 50000, .source = 3)}, .kinds = {SOCKET_VSOCK},
        .listeners = 1, .keeps = 100, .sent = KEPT " -@0"},
    {"kept: one leaves", 20000, {STUCK(.view = VIEW_OWN_RESET)}, {{AT(100), EVENT_RESETS, 0, 0}},
        .keeps = 100, .sent = KEPT " -@0", .status = 75},
    {"kept: one stalls", 20000, {STUCK(.lasts = 60000)}, .keeps = 100, .sent = KEPT " -@0",
        .status = 75},
    {"kept: a new file, and the old one goes with its last", 20000,
        {SLOW(.reads = 100), SLOW(.at = 10, .reads = 100), GOOD(.at = 60, .gets = NEW_SIZE)},
        {{AT(50), EVENT_TEST, PUBLISH, 0}}, .stall_timeout = 10 * SECOND, .keeps = 100,
        .sent = KEPT " +@1 -@0 -@1 -@file-1"},
    {"kept: a new file, when nobody has the old one", 20000,
        {SLOW(), GOOD(.at = 160, .gets = NEW_SIZE)}, {{AT(150), EVENT_TEST, PUBLISH, 0}},
        .keeps = 100, .sent = KEPT " -@0 -@file-1"},
    {"kept: no room for the second", 20000, {SLOW(.n = 2)}, .keeps = 100, .fdstore = 5,
        .says = {"the file-descriptor store is full (5 of 5)"}},
    {"kept: nobody keeps anything", 20000, {SLOW(.n = 3)}, .keeps = -1,
        .sent = "+@witness*2 BARRIER=1", .says = {"systemd keeps no descriptors for this service"}},
    {"kept: until it is taken away", 20000, {SLOW(), SLOW(.at = 100)},
        {{AT(10), EVENT_TEST, LOSE, 0}}, .keeps = 100, .sent = KEPT,
        .says = {"systemd keeps no descriptors for this service"}},
    {"kept: the manager is stopped for five seconds", 100000,
        {SLOW(.reads = 10, .lasts = 0), SLOW(.at = 100)},
        {{AT(50), EVENT_TEST, DEAF, 0}, {AT(5050), EVENT_TEST, HEARS, 0}},
        .stall_timeout = 10 * SECOND, .keeps = 100},
    {"kept: the manager takes one message at a time", 20000,
        {SLOW(.n = 20, .every = 1, .reads = 100)}, .stall_timeout = 10 * SECOND, .keeps = 100,
        .room = 1},
    {"kept: the manager takes none for a while", 20000, {SLOW(.n = 3)},
        {{AT(0), EVENT_TEST, BUSY, 0}, {AT(15), EVENT_TEST, READY, 0}}, .keeps = 100},
    {"kept: the manager is gone", 20000, {SLOW(.n = 3)}, {{AT(0), EVENT_TEST, GONE, 0}},
        .keeps = 100, .sent = ""},
    {"kept: slots that the manager has not dropped yet", 20000,
        {SLOW(.n = 2), {.n = 3, .at = 100, .view = VIEW_RESET}, GOOD(.at = 2000)},
        {{AT(10), EVENT_TEST, BUSY, 0}, {AT(1500), EVENT_TEST, READY, 0}}, .most = 2, .keeps = 100,
        .idle_exit = 5 * SECOND, .status = 75,
        .says = {"refused: 1 client reset: 2 slots wait for systemd to drop what it has kept"}},
    {"kept: the same, and only one of them", 20000,
        {SLOW(), SLOW(.reads = 100, .room = 5000), {.n = 1, .at = 100, .view = VIEW_RESET},
            GOOD(.at = 2000)},
        {{AT(10), EVENT_TEST, BUSY, 0}, {AT(1500), EVENT_TEST, READY, 0}}, .most = 2, .keeps = 100,
        .stall_timeout = 10 * SECOND, .idle_exit = 5 * SECOND, .status = 75,
        .says = {"refused: 1 client reset: 2 slots wait for systemd"}},

    /* SIGTERM with a store, and without */
    {"left: all are kept", 200000, {LEFT(.n = 3, .every = 10)},
        {{AT(100), EVENT_SIGNAL, SIGTERM, 0}}, .keeps = 100, .ends = 100, .left = 3,
        .sent = KEPT " +@1 +@2", .says = {"3 transfers are left to the next decant"}},
    {"left: also one that only waits for the client's end", 1000,
        {LEFT(.room = 2000, .stays = true, .view = VIEW_END)},
        {{AT(100), EVENT_SIGNAL, SIGTERM, 0}}, .keeps = 100, .ends = 100, .left = 1, .sent = KEPT,
        .says = {"1 transfer is left to the next decant"}},
    {"left: and those who come then wait for the next", 200000, {LEFT(), WAITS(.n = 3, .at = 101)},
        {{AT(100), EVENT_SIGNAL, SIGTERM, 0}}, .keeps = 100, .ends = 100, .left = 1},
    {"left: not before all is sent", 200000, {LEFT(.n = 5, .at = 60)},
        {{AT(50), EVENT_TEST, BUSY, 0}, {AT(100), EVENT_SIGNAL, SIGTERM, 0},
            {AT(300), EVENT_TEST, READY, 0}},
        .keeps = 100, .ends = 300, .left = 5},
    {"left: not before the manager has come to the first", 200000, {LEFT(.n = 5, .at = 60)},
        {{AT(50), EVENT_TEST, DEAF, 0}, {AT(100), EVENT_SIGNAL, SIGTERM, 0},
            {AT(300), EVENT_TEST, HEARS, 0}},
        .keeps = 100, .ends = 300, .left = 5},
    {"left: the manager takes one message at a time", 200000, {LEFT(.n = 20)},
        {{AT(100), EVENT_SIGNAL, SIGTERM, 0}}, .keeps = 100, .room = 1, .left = 20},
    {"left: more than it is asked for in a second", 200000, {LEFT(.n = 300)},
        {{AT(10), EVENT_SIGNAL, SIGTERM, 0}}, .keeps = 700, .ends = 10, .left = 300},
    {"left: some; for the others there is no room", 200000,
        {LEFT(), SLOW(.n = 2, .room = 20000, .reads = 10000)}, {{AT(1), EVENT_SIGNAL, SIGTERM, 0}},
        .keeps = 100, .fdstore = 5, .left = 1,
        .says = {"the file-descriptor store is full",
            "complete: ", "complete: ", "1 transfer is left to the next decant"}},
    {"left: some; the others have taken too long", 3 * MIB,
        {LEFT(.room = 1000, .reads = 0), STUCK(.n = 2)}, {{AT(100), EVENT_SIGNAL, SIGTERM, 0}},
        .stop_timeout = 7 * SECOND, .keeps = 100, .fdstore = 5, .left = 1, .status = 75,
        .ends = 7100,
        .says = {"the file-descriptor store is full",
            "stopped: ", "stopped: ", "1 transfer is left"}},
    {"left: all, as the file has been led elsewhere", 200000,
        {LEFT(.n = 3), {.n = 1, .at = 500, .view = VIEW_RESET}, WAITS(.n = 2, .at = 501)},
        {{AT(400), EVENT_TEST, MOVE, 0}}, .keeps = 100, .ends = 500, .left = 3, .status = 66,
        .sent = KEPT " +@1 +@2",
        .says = {"'file' leads to another directory", "3 transfers are left to the next decant"}},
    {"left: none; nobody keeps anything", 20000, {SLOW(.n = 3, .reads = 100)},
        {{AT(1), EVENT_SIGNAL, SIGTERM, 0}}, .stall_timeout = 10 * SECOND, .keeps = -1,
        .says = {"systemd keeps no descriptors", "complete: ", "complete: ", "complete: "}},
    {"left: none; the manager does not answer", 20000, {SLOW(.n = 3, .reads = 100)},
        {{AT(0), EVENT_TEST, DEAF, 0}, {AT(1), EVENT_SIGNAL, SIGTERM, 0}},
        .stall_timeout = 10 * SECOND, .keeps = 100, .says = {"complete: ", "complete: "}},
    {"left: none; it is taken away first", 20000, {SLOW(.n = 3, .reads = 100)},
        {{AT(50), EVENT_TEST, LOSE, 0}, {AT(60), EVENT_SIGNAL, SIGTERM, 0}},
        .stall_timeout = 10 * SECOND, .keeps = 100,
        .says = {"systemd keeps no descriptors", "complete: ", "complete: "}},
    {"left: none; nobody is there", 1000, {GOOD()}, {{AT(100), EVENT_SIGNAL, SIGTERM, 0}},
        .keeps = 100, .ends = 100, .sent = ""},
    {"left: none, after SIGINT", 3 * MIB, {STUCK(.n = 3)}, {{AT(100), EVENT_SIGNAL, SIGINT, 0}},
        .keeps = 100, .ends = 100, .status = 75, .sent = KEPT " +@1 +@2 -@0 -@1 -@2",
        .says = {"stopped: ", "stopped: ", "stopped: "}},
    {"left: none, after SIGINT: nor is anything kept then", 1000, {GOOD(.stays = true)},
        {{AT(100), EVENT_SIGNAL, SIGINT, 0}}, .keeps = 100, .ends = 100, .sent = ""},
    {"left: none, after SIGTERM and SIGINT", 3 * MIB, {STUCK(.n = 3)},
        {{AT(100), EVENT_SIGNAL, SIGTERM, 0}, {AT(200), EVENT_SIGNAL, SIGINT, 0}}, .keeps = 100,
        .fdstore = 6, .ends = 200, .status = 75,
        .says = {"the file-descriptor store is full", "stopped: ", "stopped: ", "stopped: "}},
    {"left: none; epoll_wait fails", 3 * MIB, {STUCK(.n = 2)}, {{AT(300), EVENT_WAKE, EBADF, 0}},
        .result = -EBADF, .status = 71, .keeps = 100, .ends = 300, .sent = KEPT " +@1 -@0 -@1"},
};

struct stage {
    const struct scene *scene;
    struct sources sources;
    struct options options;
    struct handover handover;
    struct listener listeners[KERNEL_LISTENERS];
    struct report report;
    struct problem problem;
    struct kernel_event events[KERNEL_SOCKETS + 40];
    size_t n_events;
    const struct guest *guests[KERNEL_SOCKETS]; /* of each socket */
    int64_t arrivals[KERNEL_SOCKETS];
};

/* In the order of their times, and those of one time in that in which they were added. */
static void add_event(struct stage *stage, struct kernel_event event)
{
    size_t i = stage->n_events++;

    assert_true(stage->n_events < LENGTH(stage->events));
    for (; i > 0 && stage->events[i - 1].at > event.at; i--)
        stage->events[i] = stage->events[i - 1];
    stage->events[i] = event;
}

static void add_guest(struct stage *stage, const struct guest *guest, int i)
{
    struct kernel_socket *s = kernel_expect(guest->listener);
    int number = (int)(s - kernel.sockets);
    int64_t at = AT(guest->at + i * guest->every);

    s->room = guest->room ? guest->room : s->room;
    s->reads = guest->reads;
    s->ends_at_end = !guest->stays;
    s->source = guest->source ? guest->source : s->source;
    s->allow_changes = stage->options.allow_changes;
    stage->guests[number] = guest;
    stage->arrivals[number] = at;
    add_event(stage, (struct kernel_event){at, EVENT_ARRIVES, 0, number});
}

static int64_t or_usual(int64_t value, int64_t usual)
{
    return value < 0 ? 0 : value == 0 ? usual : value;
}

static void build_listeners(struct stage *stage, const struct scene *scene)
{
    int n = scene->listeners ? scene->listeners : 1;

    for (int i = 0; i < n; i++) {
        struct listener *listener = &stage->listeners[i];
        *listener = (struct listener){
            .fd = kernel_listen(i, scene->kinds[i]), .kind = scene->kinds[i], .name = "NAME"};
        kernel.listeners[i].losses = scene->losses;
        (void)snprintf(listener->address, sizeof(listener->address), "ADDRESS-%d", i);
    }
    stage->handover = (struct handover){
        .listeners = stage->listeners,
        .n_listeners = (size_t)n,

        .stored = {.table = -1, .witness = -1, .room = UINT32_MAX, .comes_back = true},
        .file_fd = -1,
        .notify.fd = -1,
    };
}

/* The file is there, the listeners are armed, and the clients are on their way. */
static void build(struct stage *stage, const struct scene *scene)
{
    struct source unused;

    *stage = (struct stage){
        .scene = scene,
        .options =
            {
                .file = "file",
                .length = OPTIONS_TO_THE_END,
                .rate = scene->rate,
                .idle_exit = or_usual(scene->idle_exit, SECOND),
                .stop_timeout = or_usual(scene->stop_timeout, 20 * SECOND),
                .stall_timeout = or_usual(scene->stall_timeout, 60 * SECOND),
                .drain_timeout = or_usual(scene->drain_timeout, 10 * SECOND),
                .most_connections = scene->most,
                .most_per_source = scene->per_source,
                .allow_changes = scene->allow_changes,
            },
    };
    memset(&world, 0, sizeof(world));
    world.limit = (struct rlimit){1 << 20, 1 << 20};
    kernel_reset(&unused, scene->size);
    kernel.clock = true;
    kernel.hook = do_deed;
    kernel.file.seek = scene->seek;
    first_size = scene->size;
    make_file("file", scene->size, 1000000000);
    build_listeners(stage, scene);
    kernel.manager.most = scene->keeps > 0 ? (uint32_t)scene->keeps : 0;
    kernel.manager.room = scene->room;
    stage->handover.notify.fd = scene->keeps ? KERNEL_NOTIFY : -1;
    stage->handover.stored.most = scene->fdstore;
    /* What comes of an admin at the same time as a client comes before it. */
    for (size_t i = 0; i < LENGTH(scene->events) && scene->events[i].kind; i++)
        if (scene->events[i].kind == EVENT_TEST || scene->events[i].kind == EVENT_ACCEPT)
            add_event(stage, scene->events[i]);
    for (size_t i = 0; i < LENGTH(scene->guests); i++)
        for (int j = 0; j < scene->guests[i].n; j++)
            add_guest(stage, &scene->guests[i], j);
    for (size_t i = 0; i < LENGTH(scene->events) && scene->events[i].kind; i++)
        if (scene->events[i].kind != EVENT_TEST && scene->events[i].kind != EVENT_ACCEPT)
            add_event(stage, scene->events[i]);
    kernel.events = stage->events;
    assert_true(kernel.now == START);
    report_open(&stage->report, CHANNEL_SYSLOG, LOG_INFO);
    if (sources_open(&stage->sources, &stage->options, &stage->handover, &stage->problem) < 0)
        fail_msg("%s", stage->problem.text);
}

static int run(struct stage *stage)
{
    struct resident *resident;
    int directories[SOURCES_DIRECTORIES];

    int r = resident_open(&resident, &stage->handover, &stage->sources, &stage->options,
        &stage->report, &stage->problem);
    if (r < 0)
        return r;
    for (size_t n = sources_directories(&stage->sources, directories); n > 0; n--) /* sandbox.h */
        assert_int_equal(close(directories[n - 1]), 0);
    r = resident_run(resident, &stage->problem);
    resident_close(resident);
    return r;
}

static int count_descriptors(void)
{
    DIR *all = opendir("/proc/self/fd");
    int n = 0;

    while (readdir(all))
        n++;
    assert_int_equal(closedir(all), 0);
    return n;
}

static void check_client(const struct stage *stage, int number)
{
    const struct kernel_socket *s = &kernel.sockets[number];
    const struct guest *guest = stage->guests[number];
    int64_t came = stage->arrivals[number];
    int64_t took = s->closed - s->accepted;

    if (s->view != guest->view)
        fail_msg(
            "client %d has come to know %d, not %d ('%s')", number, s->view, guest->view, s->calls);
    assert_false(s->open);
    assert_int_equal(s->duplicates, guest->left);
    if (guest->left)
        return;
    if (guest->view == VIEW_OPEN) {
        assert_int_equal(s->fd, -1);
        return;
    }
    if (s->fd < 0)
        return; /* lost before it was ours */
    if (s->kind <= SOCKET_MPTCP)
        assert_int_equal(s->calls[0], 'L'); /* before anything else */
    if (s->view == VIEW_END && guest->gets >= 0 &&
        s->acked != (guest->gets ? guest->gets : first_size))
        fail_msg("client %d has %jd bytes", number, (intmax_t)s->acked);
    int64_t latest = guest->by       ? AT(guest->by)
                     : guest->begins ? AT(guest->begins) + 101 * MS
                                     : came + MS;
    if (s->accepted > latest)
        fail_msg(
            "client %d was accepted after %jd ms", number, (intmax_t)((s->accepted - came) / MS));
    if (guest->lasts && (took < guest->lasts * MS || took > (guest->lasts + 8) * MS))
        fail_msg("client %d was served for %jd us", number, (intmax_t)(took / 1000));
    if (stage->options.rate)
        assert_true(s->pace == (unsigned long)stage->options.rate);
}

static void check_manager(const struct stage *stage)
{
    const struct scene *scene = stage->scene;
    char sent[4000];

    kernel.manager.stopped = false;
    kernel_manage();
    kernel_format_messages(sent, sizeof(sent));
    if (scene->sent && strcmp(sent, scene->sent) != 0)
        fail_msg("'%s', not '%s'", sent, scene->sent);
    assert_int_equal(stage->report.signal, scene->left > 0 ? SIGTERM : 0);
    for (size_t i = 0; i < kernel.manager.n_kept; i++)
        if (kernel.manager.kept[i].socket)
            assert_true(scene->left > 0);
}

static void check_lines(const struct scene *scene)
{
    size_t next = 0;

    for (size_t i = 0; i < world.n_lines; i++) {
        if (next < LENGTH(scene->says) && scene->says[next] &&
            strncmp(world.lines[i].text, scene->says[next], strlen(scene->says[next])) == 0)
            next++;
        if (scene->not_says && strstr(world.lines[i].text, scene->not_says))
            fail_msg("'%s'", world.lines[i].text);
    }
    if (next < LENGTH(scene->says) && scene->says[next])
        fail_msg("nobody has said '%s'", scene->says[next]);
}

/* Nothing is left: no descriptor, no client without an answer, no opening of a file. */
static void check_stage(struct stage *stage, int descriptors)
{
    for (int i = 0; i < kernel.n_sockets; i++)
        check_client(stage, i);
    for (size_t i = 0; i < LENGTH(kernel.fds); i++)
        assert_null(kernel.fds[i]);
    for (int i = 0; i < KERNEL_EPOLLS; i++)
        assert_false(kernel.epolls[i]);
    assert_int_equal(kernel.n_watches, 0);
    for (size_t i = 0; i < stage->handover.n_listeners; i++)
        assert_true(kernel.listeners[i].open); /* the caller's to close */
    for (size_t i = 0; i < stage->sources.n; i++)
        if (stage->sources.served[i].current)
            assert_int_equal(stage->sources.served[i].current->transfers, 0);
    sources_close(&stage->sources);
    kernel_drop_all();
    assert_int_equal(count_descriptors(), descriptors);
}

static void test_scene(void **state)
{
    static struct stage stage;
    const struct scene *scene = *state;
    unsigned long accepts = 0;
    int descriptors = count_descriptors();

    kernel_forget_signals();
    build(&stage, scene);
    int r = run(&stage);
    if (r != scene->result)
        fail_msg("%d: %s", r, stage.problem.text);
    int64_t lasted = kernel.now - START;
    check_manager(&stage);
    check_stage(&stage, descriptors);
    assert_int_equal(stage.report.status, scene->status);
    check_lines(scene);
    if (scene->ends && (lasted < scene->ends * MS || lasted >= (scene->ends + 1) * MS))
        fail_msg("it was over after %jd us", (intmax_t)(lasted / 1000));
    for (size_t i = 0; i < stage.handover.n_listeners; i++)
        accepts += kernel.listeners[i].accepts;
    if (scene->accepts && accepts > scene->accepts)
        fail_msg("accept4 was called %lu times", accepts);
}

/* More than one call of epoll_wait(2) can tell of: those that it leaves out must have their turn.
 */
static void test_many_events(void **state)
{
    static const struct scene scene = {.size = 100000, .guests = {SLOW(.n = 380, .room = 50000)}};
    static struct stage stage;
    int descriptors = count_descriptors();

    (void)state;
    kernel_forget_signals();
    build(&stage, &scene);
    assert_int_equal(run(&stage), 0);
    assert_int_equal(kernel.epoll_max, kernel.epoll_most);
    check_stage(&stage, descriptors);
}

/* A start that took longer than --idle-exit: whoever waits is served, not left to the next start.
 */
static void test_slow_start(void **state)
{
    static const struct scene scene = {
        .size = 1000, .guests = {GOOD(.n = 3, .begins = 5000)}, .idle_exit = SECOND};
    static struct stage stage;
    int descriptors = count_descriptors();

    (void)state;
    kernel_forget_signals();
    build(&stage, &scene);
    world.start = 5 * SECOND;
    assert_int_equal(run(&stage), 0);
    world.start = 0;
    check_stage(&stage, descriptors);
}

/* The same of a log that blocks, while somebody comes. */
static void test_slow_log(void **state)
{
    static const struct scene scene = {.size = 1000,
        .guests = {GOOD(.at = 100), GOOD(.at = 2000, .by = 12000)},
        .idle_exit = SECOND};
    static struct stage stage;
    int descriptors = count_descriptors();

    (void)state;
    kernel_forget_signals();
    build(&stage, &scene);
    world.log = 5 * SECOND;
    assert_int_equal(run(&stage), 0);
    check_stage(&stage, descriptors);
}

/* What is not inherited costs two calls for each client: only those that were there first pay. */
static void test_arming(void **state)
{
    static const struct {
        struct kernel_event event; /* something else that epoll_wait(2) may tell of first */
        int first;                 /* of three, one after the other, the low water is set on */
    } cases[] = {
        {{0}, 1}, {{AT(0), EVENT_WAKE, EINTR, 0}, 1}, /* nobody has looked at the queue */
    };

    (void)state;
    for (size_t i = 0; i < LENGTH(cases); i++) {
        static struct stage stage;
        struct scene scene = {.size = 1000, .guests = {GOOD(.n = 3, .every = 100)}};
        scene.events[0] = cases[i].event;
        int descriptors = count_descriptors();
        kernel_forget_signals();
        build(&stage, &scene);
        assert_int_equal(run(&stage), 0);
        for (int j = 0; j < 3; j++) {
            if (kernel_calls(&kernel.sockets[j], 'W') != (j < cases[i].first))
                fail_msg("case %zu, client %d: '%s'", i, j, kernel.sockets[j].calls);
            assert_int_equal(kernel.sockets[j].calls[0], 'L');
        }
        check_stage(&stage, descriptors);
    }
}

/* Each listener its own file, where FILE is a directory. */
static void test_directory(void **state)
{
    static const struct scene scene = {.size = 5000,
        .guests = {GOOD(.n = 2, .gets = 100), GOOD(.n = 2, .listener = 1, .gets = 200),
            {.n = 1, .at = 500, .view = VIEW_RESET}, GOOD(.at = 500, .listener = 1, .gets = 200)},
        .events = {{AT(400), EVENT_TEST, REMOVE, 0}},
        .listeners = 2,
        .status = 66};
    static struct stage stage;
    int descriptors = count_descriptors();

    (void)state;
    kernel_forget_signals();
    (void)mkdir("below", 0755);
    build(&stage, &scene);
    sources_close(&stage.sources);
    make_file("below/other", 200, 1000000000);
    make_file("below/file", 100, 1000000000);
    stage.listeners[0].name = "file";
    stage.listeners[1].name = "other";
    stage.options.file = "below";
    assert_int_equal(
        sources_open(&stage.sources, &stage.options, &stage.handover, &stage.problem), 0);
    assert_int_equal(rename("below/file", "file"), 0); /* where REMOVE finds it; it is open */
    assert_int_equal(link("file", "below/file"), 0);
    assert_int_equal(chdir("below"), 0);
    int r = run(&stage);
    assert_int_equal(chdir(".."), 0);
    assert_int_equal(r, 0);
    assert_int_equal(stage.report.status, 66);
    check_stage(&stage, descriptors);
    (void)unlink("below/other");
    (void)rmdir("below");
}

/* ---- refused before the first client ---- */

struct refusal {
    const char *name;
    enum socket_kind kind;
    int64_t most;
    int64_t per_source;
    int64_t rate;
    struct rlimit limit;
    int getrlimit_error;
    int setrlimit_error;
    int mmap_error;
    int calloc_fails;
    int signalfd_error;
    int epoll_create_fails;
    int epoll_ctl_fails; /* the so-manieth, with ENOSPC */
    int result;
    int status;
    const char *says[2];
};

#define PLENTY                                                                                     \
    {                                                                                              \
        1 << 20, 1 << 20                                                                           \
    }

static const struct refusal refusals[] = {
    {"a rate on a UNIX socket", SOCKET_UNIX, .rate = 1 << 20, .limit = PLENTY,
        .result = -EOPNOTSUPP, .status = EX_USAGE, .says = {"--rate: clients of ADDRESS-1", "TCP"}},
    {"a rate on MPTCP", SOCKET_MPTCP, .rate = 1 << 20, .limit = PLENTY, .result = -EOPNOTSUPP,
        .status = EX_USAGE, .says = {"--rate: clients of ADDRESS-1"}},
    {"a rate on vsock", SOCKET_VSOCK, .rate = 1 << 20, .limit = PLENTY, .result = -EOPNOTSUPP,
        .status = EX_USAGE, .says = {"--rate: clients of ADDRESS-1"}},
    {"more than descriptors", SOCKET_TCP, .most = 5000, .limit = {1024, 5000}, .result = -EMFILE,
        .status = EX_USAGE,
        .says = {"--max-connections: 5000 need 5036 descriptors", "LimitNOFILE="}},
    {"one descriptor too few", SOCKET_TCP, .most = 100, .limit = {135, 135}, .result = -EMFILE,
        .status = EX_USAGE, .says = {"--max-connections: 100 need 136 descriptors", "allows 135"}},
    {"no descriptors at all", SOCKET_TCP, .limit = {34, 34}, .result = -EMFILE, .status = EX_USAGE,
        .says = {"RLIMIT_NOFILE allows 34"}},
    {"getrlimit", SOCKET_TCP, .limit = PLENTY, .getrlimit_error = EPERM, .result = -EPERM,
        .status = EX_OSERR, .says = {"getrlimit: Operation not permitted"}},
    {"setrlimit", SOCKET_TCP, .limit = {1024, 1 << 20}, .setrlimit_error = EPERM, .result = -EPERM,
        .status = EX_OSERR, .says = {"setrlimit: Operation not permitted"}},
    {"no memory for the table", SOCKET_TCP, .limit = PLENTY, .mmap_error = ENOMEM,
        .result = -ENOMEM, .status = EX_OSERR,
        .says = {"the table of 4096 connections: Cannot allocate memory"}},
    {"no memory for the loop", SOCKET_TCP, .limit = PLENTY, .calloc_fails = 1, .result = -ENOMEM,
        .status = EX_OSERR, .says = {"calloc: Cannot allocate memory"}},
    {"no memory for the store", SOCKET_TCP, .limit = PLENTY, .calloc_fails = 2, .result = -ENOMEM,
        .status = EX_OSERR, .says = {"the table of 4096 connections: Cannot allocate memory"}},
    {"no memory for the clients", SOCKET_TCP, .limit = PLENTY, .calloc_fails = 3, .result = -ENOMEM,
        .status = EX_OSERR, .says = {"out of memory for 4096 connections"}},
    {"no memory for the listeners", SOCKET_TCP, .limit = PLENTY, .calloc_fails = 4,
        .result = -ENOMEM, .status = EX_OSERR, .says = {"out of memory for 4096 connections"}},
    {"no memory for the crowd", SOCKET_TCP, .limit = PLENTY, .per_source = 3, .calloc_fails = 5,
        .result = -ENOMEM, .status = EX_OSERR, .says = {"out of memory for 4096 connections"}},
    {"signalfd", SOCKET_TCP, .limit = PLENTY, .signalfd_error = EMFILE, .result = -EMFILE,
        .status = EX_OSERR, .says = {"signalfd: Too many open files"}},
    {"epoll_create1, for the store", SOCKET_TCP, .limit = PLENTY, .epoll_create_fails = 1,
        .result = -EMFILE, .status = EX_OSERR,
        .says = {"the table of 4096 connections: Too many open files"}},
    {"epoll_create1", SOCKET_TCP, .limit = PLENTY, .epoll_create_fails = 2, .result = -EMFILE,
        .status = EX_OSERR, .says = {"epoll_create1: Too many open files"}},
    {"epoll_ctl, for the signals", SOCKET_TCP, .limit = PLENTY, .epoll_ctl_fails = 1,
        .result = -ENOSPC, .status = EX_OSERR, .says = {"epoll_ctl: No space left"}},
    {"epoll_ctl, for the first listener", SOCKET_TCP, .limit = PLENTY, .epoll_ctl_fails = 2,
        .result = -ENOSPC, .status = EX_OSERR, .says = {"epoll_ctl: No space left"}},
    {"epoll_ctl, for the second listener", SOCKET_TCP, .limit = PLENTY, .epoll_ctl_fails = 3,
        .result = -ENOSPC, .status = EX_OSERR, .says = {"epoll_ctl: No space left"}},
    {"epoll_ctl, for the store", SOCKET_TCP, .limit = PLENTY, .epoll_ctl_fails = 4,
        .result = -ENOSPC, .status = EX_OSERR, .says = {"epoll_ctl: No space left"}},
};

static void test_refusal(void **state)
{
    static struct stage stage;
    const struct refusal *c = *state;
    const struct scene scene = {.size = 1000,
        .guests = {WAITS(.n = 2), WAITS(.listener = 1)},
        .kinds = {SOCKET_TCP, c->kind},
        .listeners = 2,
        .most = c->most,
        .per_source = c->per_source,
        .rate = c->rate};
    int descriptors = count_descriptors();

    kernel_forget_signals();
    build(&stage, &scene);
    world.limit = c->limit;
    world.getrlimit_error = c->getrlimit_error;
    world.setrlimit_error = c->setrlimit_error;
    world.mmap_error = c->mmap_error;
    kernel.calloc_fails = c->calloc_fails;
    kernel.signalfd_error = c->signalfd_error;
    kernel.epoll_create_fails = c->epoll_create_fails;
    kernel.epoll_create_error = EMFILE;
    kernel.epoll_ctl_fails = c->epoll_ctl_fails;
    kernel.epoll_ctl_error = ENOSPC;
    int r = run(&stage);
    world.mmap_error = 0;
    assert_int_equal(r, c->result);
    assert_int_equal(stage.problem.status, c->status);
    for (size_t i = 0; i < LENGTH(c->says) && c->says[i]; i++)
        if (!strstr(stage.problem.text, c->says[i]))
            fail_msg("'%s' does not say '%s'", stage.problem.text, c->says[i]);
    assert_int_equal(stage.report.status, 0); /* reported by the caller, once */
    assert_int_equal(world.n_lines, 0);
    assert_int_equal(kernel.listeners[0].accepts + kernel.listeners[1].accepts, 0);
    assert_int_equal(kernel.polls, 0);
    check_stage(&stage, descriptors);
}

/* ---- RLIMIT_NOFILE ---- */

struct limit {
    const char *name;
    int64_t most;
    rlim_t soft;
    rlim_t hard;
    rlim_t raised_to; /* 0: as it was */
    uint32_t served;  /* of 100 who come at once, and stay */
    const char *says;
};

static const struct limit limits[] = {
    {"enough", 0, 8192, 8192, 0, 100, NULL},
    {"unlimited", 0, RLIM_INFINITY, RLIM_INFINITY, 0, 100, NULL},
    {"the soft one is raised", 0, 1024, 524288, 8226, 100, NULL},
    {"the soft one is raised, to what was asked for", 50, 64, 524288, 134, 50, NULL},
    {"just enough", 0, 4130, 4130, 0, 100, NULL},
    {"lowered", 0, 64, 94, 94, 60,
        "at most 60 clients at a time instead of 4096, since "
        "RLIMIT_NOFILE is 94"},
    {"lowered, by one", 0, 4129, 4129, 0, 100, "at most 4095 clients at a time"},
    {"a single client", 0, 35, 35, 0, 1, "at most 1 clients at a time"},
    {"as many as were asked for, exactly", 50, 84, 84, 0, 50, NULL},
};

static void test_limit(void **state)
{
    static struct stage stage;
    const struct limit *c = *state;
    const struct scene scene = {.size = 1000000,
        .guests = {SLOW(.n = (int)c->served), {.n = 100 - (int)c->served, .view = VIEW_RESET}},
        .most = c->most};
    int descriptors = count_descriptors();

    kernel_forget_signals();
    build(&stage, &scene);
    world.limit = (struct rlimit){c->soft, c->hard};
    assert_int_equal(run(&stage), 0);
    assert_true(world.limit_set.rlim_cur == c->raised_to);
    assert_int_equal(stage.report.status, c->served < 100 ? EX_TEMPFAIL : 0);
    bool said = strncmp(world.lines[0].text, "at most", 7) == 0;
    assert_int_equal(said, c->says != NULL);
    if (c->says) {
        assert_int_equal(strncmp(world.lines[0].text, c->says, strlen(c->says)), 0);
        assert_int_equal(world.lines[0].level, LOG_NOTICE);
    }
    check_stage(&stage, descriptors);
}

/* ---- what the supervisor hears ---- */

struct message {
    int64_t at; /* ms */
    const char *text;
};

struct talk {
    const char *name;
    struct scene scene;
    int64_t watchdog; /* ns */
    struct message messages[12];
    bool busy; /* from the start */
};

#define NONE "0 clients, 0 served, 0.0 MB sent in all"

static const struct talk talks[] = {
    {"nobody comes", {.size = 1000, .idle_exit = 10 * SECOND}, 0, {{0, "READY=1\nSTATUS=" NONE}}},
    {"one client, quick", {.size = 1000000, .guests = {GOOD(.at = 500)}, .idle_exit = 10 * SECOND},
        0,
        {{0, "READY=1\nSTATUS=" NONE}, {1000, "STATUS=0 clients, 1 served, 1.0 MB sent in all"}}},
    {"one client, slow",
        {.size = 4000000,
            .guests = {SLOW(.at = 500)},
            .idle_exit = 10 * SECOND,
            .stall_timeout = 10 * SECOND},
        0,
        {{0, "READY=1\nSTATUS=" NONE},
            {1000, "STATUS=1 client, 0 served, 0.5 MB sent in all; 13 % of file"},
            {2000, "STATUS=1 client, 0 served, 1.5 MB sent in all; 38 % of file"},
            {3000, "STATUS=1 client, 0 served, 2.5 MB sent in all; 63 % of file"},
            {4000, "STATUS=1 client, 0 served, 3.5 MB sent in all; 88 % of file"},
            {5000, "STATUS=0 clients, 1 served, 4.0 MB sent in all"}}},
    {"one client that takes nothing: no news",
        {.size = 1000000, .guests = {STUCK(.at = 500, .room = 250000)}, .status = 75}, 0,
        {{0, "READY=1\nSTATUS=" NONE},
            {1000, "STATUS=1 client, 0 served, 0.2 MB sent in all; 25 % of file"},
            {60500, "STATUS=0 clients, 0 served, 0.2 MB sent in all"}}},
    {"SIGTERM", {.size = 1000, .events = {{AT(2500), EVENT_SIGNAL, SIGTERM, 0}}, .idle_exit = -1},
        0, {{0, "READY=1\nSTATUS=" NONE}, {2500, "STOPPING=1"}}},
    {"the manager is busy at first",
        {.size = 1000, .events = {{AT(550), EVENT_TEST, READY, 0}}, .idle_exit = 5 * SECOND}, 0,
        {{600, "READY=1\nSTATUS=" NONE}}, .busy = true},
    {"the manager is busy for a while",
        {.size = 1000,
            .guests = {GOOD(.at = 500)},
            .events = {{AT(600), EVENT_TEST, BUSY, 0}, {AT(1250), EVENT_TEST, READY, 0}},
            .idle_exit = 5 * SECOND},
        0,
        {{0, "READY=1\nSTATUS=" NONE}, {1300, "STATUS=0 clients, 1 served, 0.0 MB sent in all"}}},
    {"the manager is gone",
        {.size = 1000,
            .guests = {GOOD(.at = 500)},
            .events = {{AT(100), EVENT_TEST, GONE, 0}},
            .idle_exit = 5 * SECOND},
        0, {{0, "READY=1\nSTATUS=" NONE}}},
    {"a watchdog", {.size = 1000, .idle_exit = 10 * SECOND}, 6 * SECOND,
        {{0, "READY=1\nWATCHDOG=1\nSTATUS=" NONE}, {3000, "WATCHDOG=1"}, {6000, "WATCHDOG=1"},
            {9000, "WATCHDOG=1"}}},
    {"a hasty watchdog", {.size = 1000, .guests = {GOOD(.at = 100)}, .idle_exit = 1500 * MS},
        800 * MS,
        {{0, "READY=1\nWATCHDOG=1\nSTATUS=" NONE}, {400, "WATCHDOG=1"}, {800, "WATCHDOG=1"},
            {1000, "STATUS=0 clients, 1 served, 0.0 MB sent in all"}, {1200, "WATCHDOG=1"},
            {1600, "WATCHDOG=1"}}},
    {"a watchdog, and the manager is busy",
        {.size = 1000,
            .events = {{AT(100), EVENT_TEST, BUSY, 0}, {AT(3350), EVENT_TEST, READY, 0}},
            .idle_exit = 8 * SECOND},
        6 * SECOND,
        {{0, "READY=1\nWATCHDOG=1\nSTATUS=" NONE}, {3400, "WATCHDOG=1"}, {6400, "WATCHDOG=1"}}},
    {"a watchdog while it stops",
        {.size = 3 * MIB,
            .guests = {STUCK()},
            .events = {{AT(100), EVENT_SIGNAL, SIGTERM, 0}},
            .stop_timeout = 4 * SECOND,
            .idle_exit = -1,
            .status = 75},
        2 * SECOND,
        {{0, "READY=1\nWATCHDOG=1\nSTATUS=" NONE}, {100, "STOPPING=1"},
            {1000, "WATCHDOG=1\nSTATUS=1 client, 0 served, 0.0 MB sent in all; 0 % of file"},
            {2000, "WATCHDOG=1"}, {3000, "WATCHDOG=1"}, {4000, "WATCHDOG=1"}}},
};

/* What is not about descriptors. */
static const struct kernel_message *next_word(size_t *next)
{
    while (*next < kernel.manager.n_messages) {
        const struct kernel_message *message = &kernel.manager.messages[(*next)++];
        if (message->n_fds == 0 && strncmp(message->text, "FDSTORE", 7) != 0)
            return message;
    }
    return NULL;
}

static void test_talk(void **state)
{
    static struct stage stage;
    const struct talk *c = *state;
    int descriptors = count_descriptors();
    size_t next = 0;
    size_t n = 0;

    kernel_forget_signals();
    build(&stage, &c->scene);
    stage.handover.notify = (struct notify){.fd = KERNEL_NOTIFY, .watchdog = c->watchdog};
    kernel.manager.error = c->busy ? EAGAIN : 0;
    assert_int_equal(run(&stage), 0);
    assert_int_equal(stage.report.status, c->scene.status);
    for (; n < LENGTH(c->messages) && c->messages[n].text; n++) {
        const struct kernel_message *said = next_word(&next);
        if (!said)
            fail_msg("'%s' was never sent", c->messages[n].text);
        if (strcmp(said->text, c->messages[n].text) != 0)
            fail_msg("'%s' at %jd ms, not '%s'", said->text, (intmax_t)((said->at - START) / MS),
                c->messages[n].text);
        int64_t late = said->at - AT(c->messages[n].at);
        if (late < 0 || late > 2 * MS)
            fail_msg("'%s' at %jd ms, not at %jd", c->messages[n].text,
                (intmax_t)((said->at - START) / MS), (intmax_t)c->messages[n].at);
    }
    const struct kernel_message *more = next_word(&next);
    if (more)
        fail_msg(
            "'%s' at %jd ms, and nothing is new", more->text, (intmax_t)((more->at - START) / MS));
    check_stage(&stage, descriptors);
}

/* The name of a file may hold what it will: a message is lines, and none of them is ours to forge.
 */
static void test_status_of_an_evil_name(void **state)
{
    static const struct scene scene = {
        .size = 4000000, .guests = {SLOW()}, .stall_timeout = 10 * SECOND};
    static struct stage stage;
    int descriptors = count_descriptors();

    (void)state;
    kernel_forget_signals();
    build(&stage, &scene);
    sources_close(&stage.sources);
    stage.options.file = "x\nMAINPID=1\nx";
    assert_int_equal(rename("file", stage.options.file), 0);
    assert_int_equal(
        sources_open(&stage.sources, &stage.options, &stage.handover, &stage.problem), 0);
    stage.handover.notify = (struct notify){.fd = KERNEL_NOTIFY};
    int r = run(&stage);
    (void)unlink(stage.options.file);
    assert_int_equal(r, 0);
    assert_true(kernel.manager.n_messages > 2);
    for (size_t i = 0; i < kernel.manager.n_messages; i++)
        if (strstr(kernel.manager.messages[i].text, "\nMAINPID"))
            fail_msg("'%s'", kernel.manager.messages[i].text);
    check_stage(&stage, descriptors);
}

/* ---- one process after the other ---- */

/*
 * A manager that keeps descriptors, and a process that dies, by SIGKILL before each of its system
 * calls in turn, or by SIGTERM. What the next one then does is told by its clients alone: the file
 * is whole, or it is a reset, and what was kept in time is whole.
 */

/* All real descriptors but those from before, and the manager's. */
static void close_all(const bool *before)
{
    for (int fd = 0; fd < KERNEL_DUPLICATE; fd++)
        if (!before[fd])
            (void)close(fd);
}

static void note_descriptors(bool *open)
{
    for (int fd = 0; fd < KERNEL_DUPLICATE; fd++)
        open[fd] = fcntl(fd, F_GETFD) >= 0;
}

enum fate { ENDED, LEFT, KILLED };

/* One process, from its start to its end, or to SIGKILL before the so-manieth call (0: never). */
static enum fate live(struct stage *stage, long kill_in)
{
    static bool before[KERNEL_DUPLICATE];

    if (!stage->sources.served) {
        kernel.manager.stopped = false; /* who starts us has come to all that was before */
        kernel_manage();
        note_descriptors(before);
        kernel_hand_over(&stage->handover.stored);
        stage->handover.stored.most = stage->scene->fdstore;
        report_open(&stage->report, CHANNEL_SYSLOG, LOG_INFO);
        stage->handover.notify = (struct notify){.fd = KERNEL_NOTIFY};
        if (sources_open(&stage->sources, &stage->options, &stage->handover, &stage->problem) < 0)
            fail_msg("%s", stage->problem.text);
    }
    kernel.kill_in = kill_in;
    kernel.epoll_ctl_fails = 0; /* a start that fails is another test */
    kernel.idle = 0;
    if (setjmp(kernel.killed)) {
        kernel_bury();
        close_all(before);
        stage->sources.served = NULL;
        return KILLED;
    }
    int r = run(stage);
    kernel.kill_in = 0;
    if (r != 0)
        fail_msg("%d: %s", r, stage->problem.text);
    assert_int_equal(stage->handover.stored.n_sockets + stage->handover.stored.n_files, 0);
    kernel_take_back(&stage->handover.stored);
    sources_close(&stage->sources);
    kernel_manage();
    return stage->report.signal ? LEFT : ENDED;
}

/* What is to be whole, since another process can go on with it. */
static void note_kept(bool *kept)
{
    for (int i = 0; i < kernel.n_sockets; i++)
        kept[i] = kernel.sockets[i].duplicates > 0 && kernel.sockets[i].view == VIEW_OPEN;
}

static bool has_record(int number)
{
    char peer[40];

    (void)snprintf(peer, sizeof(peer), " to 127.0.0.1:%d: ", number + 1);
    for (size_t i = 0; i < world.n_lines; i++)
        if (strstr(world.lines[i].text, peer))
            return true;
    return false;
}

static void check_fates(const struct stage *stage, const bool *kept, unsigned long *views)
{
    for (int i = 0; i < kernel.n_sockets; i++) {
        const struct kernel_socket *s = &kernel.sockets[i];
        views[s->view]++;
        if (s->view == VIEW_OPEN)
            fail_msg("client %d waits for ever ('%s')", i, s->calls);
        if (s->view == VIEW_END && s->queued != s->promised && s->kind <= SOCKET_MPTCP)
            fail_msg("client %d has the end after %jd of %jd bytes ('%s')", i, (intmax_t)s->queued,
                (intmax_t)s->promised, s->calls);
        if (s->view == VIEW_END && s->promised != first_size && s->promised != NEW_SIZE &&
            s->promised != stage->guests[i]->gets)
            fail_msg("client %d was promised %jd bytes", i, (intmax_t)s->promised);
        if (kept[i] && kernel.manager.most > 0 && s->kind == SOCKET_TCP && !has_record(i))
            fail_msg("client %d was kept, and nobody has said what became of it", i);
        if (kept[i] && kernel.manager.most > 0 && s->view != stage->guests[i]->view)
            fail_msg("client %d was kept, and has come to know %d ('%s')", i, s->view, s->calls);
        assert_int_equal(s->duplicates, 0);
    }
}

static bool somebody_waits(void)
{
    for (int i = 0; i < kernel.n_sockets; i++)
        if (kernel.sockets[i].view == VIEW_OPEN)
            return true;
    return false;
}

/* Until none has anything to do any more; from now on without an accident. */
static int live_on(struct stage *stage)
{
    int lives = 0;

    for (enum fate fate = KILLED; fate != ENDED || somebody_waits(); lives++) {
        assert_true(lives < 10);
        kernel_pass(100 * MS);
        kernel_forget_signals(); /* which nobody was there to hear */
        fate = live(stage, 0);
    }
    return lives;
}

static void prepare(struct stage *stage, const struct scene *scene)
{
    kernel_forget_signals();
    build(stage, scene);
    sources_close(&stage->sources);
    for (size_t i = 0; i < stage->handover.n_listeners; i++)
        kernel.listeners[i].armed = kernel.listeners[i].kind <= SOCKET_MPTCP;
}

/* ---- SIGTERM, and the next one ---- */

struct dynasty {
    struct scene scene;
    int lives;
    int64_t most; /* later; 0: as before */
    int64_t per_source;
};

#define KEPT_3 KEPT " +@1 +@2"
#define TERM(ms)                                                                                   \
    {                                                                                              \
        AT(ms), EVENT_SIGNAL, SIGTERM, 0                                                           \
    }

/* Read in a second or so, each a little later than the one before. */
#define PATIENT(...)                                                                               \
    {                                                                                              \
        .n = 1, .room = 1000, .reads = 100, .view = VIEW_END, __VA_ARGS__                          \
    }

static const struct dynasty dynasties[] = {
    {{"restarted once", 100000,
         {PATIENT(), PATIENT(.reads = 99), PATIENT(.reads = 98), GOOD(.at = 300, .room = 50000)},
         {TERM(200)}, .keeps = 100,
         .sent = KEPT_3 " +@3 -@3 -@0 -@1 -@2", /* the file is the same */
         .says = {"3 transfers are left to the next decant",
             "resumed: 3 transfers of the decant before", "complete: ", "complete: "}},
        2},
    {{"restarted four times", 100000, {PATIENT(), PATIENT(.reads = 99), PATIENT(.reads = 98)},
         {TERM(200), TERM(400), TERM(600), TERM(800)}, .keeps = 100, .sent = KEPT_3 " -@0 -@1 -@2"},
        5},
    {{"one that waits for the client's end", 1000,
         {PATIENT(.room = 2000, .reads = 1000, .stays = true)}, {TERM(200), {AT(900), EVENT_ENDS}},
         .keeps = 100, .sent = KEPT " -@0",
         .says = {"1 transfer is left to the next decant", "complete: "}},
        2},
    {{"one whose client has left meanwhile", 100000,
         {PATIENT(.view = VIEW_OWN_RESET), PATIENT(.view = VIEW_OWN_RESET), PATIENT()},
         {TERM(200), {AT(250), EVENT_RESETS, 0, 0}, {AT(250), EVENT_RESETS, 0, 1}}, .keeps = 100,
         .status = 75,
         .says = {"resumed: 3 transfers of the decant before",
             "client left: ", "client left: ", "complete: "}},
        2},
    {{"fewer at a time than there are", 100000,
         {PATIENT(), PATIENT(.reads = 99), PATIENT(.reads = 98),
             {.n = 1, .at = 400, .view = VIEW_RESET}, GOOD(.at = 1200)},
         {TERM(200)}, .keeps = 100, .idle_exit = 5 * SECOND, .status = 75,
         .says = {"resumed: 3 transfers", "refused: 1 client reset: 2 at a time is the limit"}},
        2, .most = 2},
    {{"more at a time than before", 100000,
         {PATIENT(), PATIENT(.reads = 99), GOOD(.n = 8, .at = 400)}, {TERM(200)}, .most = 2,
         .keeps = 100},
        2, .most = 5000},
    {{"fewer of each source than there are", 100000,
         {PATIENT(.source = 1), PATIENT(.reads = 99, .source = 1),
             {.n = 1, .at = 400, .source = 1, .view = VIEW_RESET}, GOOD(.at = 450, .source = 2),
             GOOD(.at = 1200, .source = 1)},
         {TERM(200)}, .per_source = 5, .keeps = 100, .idle_exit = 5 * SECOND, .status = 75,
         .says = {"resumed: 2 transfers", "refused: 1 client reset: the last was 0.0.0.1:3"}},
        2, .per_source = 1},
    {{"slots that are free are used first, the lowest first", 100000,
         {PATIENT(), SLOW(.at = 10), PATIENT(.at = 11, .reads = 99), SLOW(.at = 12),
             PATIENT(.at = 13, .reads = 98), PATIENT(.n = 3, .at = 400, .every = 5, .reads = 97)},
         {TERM(200)}, .keeps = 100,
         .sent = KEPT " +@1 +@2 +@3 +@4 -@1 -@3 +@1 +@3 +@5 -@0 -@2 -@4 "
                      "-@1 -@3 -@5"},
        2},
    {{"the file is missing by then", 100000,
         {PATIENT(), PATIENT(.reads = 99), {.n = 1, .at = 400, .view = VIEW_RESET}},
         {{AT(250), EVENT_TEST, REMOVE, 0}, TERM(200)}, .keeps = 100, .status = 66,
         .says = {"resumed: 2 transfers", "cannot open 'file'", "complete: ", "complete: "}},
        2},
    {{"the file is another by then", 100000,
         {PATIENT(), PATIENT(.reads = 99), GOOD(.at = 400, .gets = NEW_SIZE)},
         {{AT(250), EVENT_TEST, PUBLISH, 0}, TERM(200)}, .keeps = 100,
         .sent = KEPT " +@1 -@0 -@1 -@file-1"},
        2},
    {{"the file was written to meanwhile", 100000,
         {PATIENT(.view = VIEW_RESET), PATIENT(.view = VIEW_RESET), GOOD(.at = 400)},
         {{AT(250), EVENT_TEST, OVERWRITE, 0}, TERM(200)}, .keeps = 100, .status = 65,
         .says = {"resumed: 2 transfers", "file changed: ", "file changed: "}},
        2},
    {{"the file was written to meanwhile, which is allowed", 100000,
         {PATIENT(), PATIENT(), GOOD(.at = 400, .gets = 100001)},
         {{AT(250), EVENT_TEST, GROW, 0}, TERM(200)}, .keeps = 100, .allow_changes = true},
        2},
    {{"the store is taken away later", 100000, {PATIENT(), PATIENT(.reads = 99)},
         {TERM(200), {AT(400), EVENT_TEST, LOSE, 0}, TERM(600)}, .keeps = 100,
         .says = {"2 transfers are left", "resumed: 2 transfers", "systemd keeps no descriptors",
             "complete: ", "complete: "}},
        2},
    {{"over UNIX", 100000, {PATIENT(.room = 50000)}, {TERM(200)}, .kinds = {SOCKET_UNIX},
         .listeners = 1, .keeps = 100, .sent = KEPT " -@0"},
        2},
    {{"over MPTCP and vsock", 100000,
         {PATIENT(), PATIENT(.listener = 1, .room = 50000, .source = 3)}, {TERM(200)},
         .kinds = {SOCKET_MPTCP, SOCKET_VSOCK}, .listeners = 2, .keeps = 100},
        2},
};

static void test_dynasty(void **state)
{
    static struct stage stage;
    const struct dynasty *c = *state;
    int descriptors = count_descriptors();
    bool kept[KERNEL_SOCKETS] = {false};
    unsigned long views[4] = {0};
    char sent[4000];

    prepare(&stage, &c->scene);
    int lives = 1;
    while (live(&stage, 0) == LEFT) {
        lives++;
        stage.options.most_connections = c->most ? c->most : c->scene.most;
        stage.options.most_per_source = c->per_source ? c->per_source : c->scene.per_source;
        kernel_pass(10 * MS);
    }
    assert_int_equal(lives, c->lives);
    check_fates(&stage, kept, views);
    for (int i = 0; i < kernel.n_sockets; i++)
        assert_int_equal(kernel.sockets[i].view, stage.guests[i]->view);
    assert_int_equal(stage.report.status, c->scene.status);
    check_lines(&c->scene);
    kernel_format_messages(sent, sizeof(sent));
    if (c->scene.sent && strcmp(sent, c->scene.sent) != 0)
        fail_msg("'%s', not '%s'", sent, c->scene.sent);
    for (size_t i = 0; i < kernel.manager.n_kept; i++)
        assert_null(kernel.manager.kept[i].socket);
    kernel_drop_all();
    assert_int_equal(count_descriptors(), descriptors);
}

/* The socket unit is gone: what was begun is ended, and nobody waits for more. */
static void test_without_listeners(void **state)
{
    static const struct scene scene = {.size = 100000,
        .guests = {PATIENT(.n = 3)},
        .events = {TERM(200)},
        .idle_exit = -1,
        .keeps = 100};
    static struct stage stage;
    bool kept[KERNEL_SOCKETS] = {false};
    unsigned long views[4] = {0};

    (void)state;
    prepare(&stage, &scene);
    assert_int_equal(live(&stage, 0), LEFT);
    size_t n = stage.handover.n_listeners;
    stage.handover.n_listeners = 0;
    assert_int_equal(live(&stage, 0), ENDED);
    stage.handover.n_listeners = n;
    check_fates(&stage, kept, views);
    assert_int_equal(views[VIEW_END], 3);
    kernel_drop_all();
}

/* A start that fails leaves the clients to the next one; one that cannot watch a client, resets
 * that one. */
static void test_start_fails(void **state)
{
    static const struct scene scene = {
        .size = 100000, .guests = {PATIENT(.n = 3)}, .events = {TERM(200)}, .keeps = 100};
    static struct stage stage;
    int failed = 0;
    int reset = 0;
    bool whole = false;

    (void)state;
    for (int fails = 1; !whole; fails++) {
        unsigned long views[4] = {0};
        bool kept[KERNEL_SOCKETS] = {false};
        int descriptors = count_descriptors();
        prepare(&stage, &scene);
        assert_int_equal(live(&stage, 0), LEFT);
        kernel_hand_over(&stage.handover.stored);
        assert_int_equal(
            sources_open(&stage.sources, &stage.options, &stage.handover, &stage.problem), 0);
        kernel.epoll_ctl_fails = fails;
        kernel.epoll_ctl_error = ENOMEM;
        int r = run(&stage);
        whole = kernel.epoll_ctl_fails > 0;
        kernel.epoll_ctl_fails = 0;
        for (size_t i = 0; i < 3 && r < 0; i++) {
            assert_int_equal(kernel.sockets[i].view, VIEW_OPEN);
            assert_int_equal(kernel.sockets[i].duplicates, 1);
        }
        kernel_take_back(&stage.handover.stored);
        sources_close(&stage.sources);
        kernel_manage();
        failed += r < 0;
        if (r < 0)
            assert_int_equal(live_on(&stage), 1);
        check_fates(&stage, kept, views);
        assert_int_equal(views[VIEW_END] + views[VIEW_RESET], 3);
        assert_true(views[VIEW_RESET] <= 1);
        reset += views[VIEW_RESET] > 0;
        kernel_drop_all();
        assert_int_equal(count_descriptors(), descriptors);
    }
    assert_int_equal(failed, 3); /* signals, a listener, the store */
    assert_int_equal(reset, 3);
}

static uint32_t count_tries(void)
{
    struct table_header header;
    size_t at = 0;

    assert_int_equal(kernel_kept("@table", &at), 1);
    assert_int_equal(
        pread(kernel.manager.kept[at].real, &header, sizeof(header), 0), sizeof(header));
    return header.tries;
}

/* One of the slots kills whoever takes it over: it must not do so for ever. Nor must 20 processes
 * that were killed by something else, and had lasted, be taken for such. */
static void test_many_deaths(void **state)
{
    static const struct scene scene = {
        .size = 100000, .guests = {PATIENT(.n = 3)}, .events = {TERM(200)}, .keeps = 100};
    static struct stage stage;

    (void)state;
    for (int lasting = 0; lasting < 3; lasting++) {
        unsigned long views[4] = {0};
        bool kept[KERNEL_SOCKETS] = {false};
        prepare(&stage, &scene);
        assert_int_equal(live(&stage, 0), LEFT);
        assert_int_equal(count_tries(), 0); /* whoever was asked to end has not died of it */
        for (uint32_t i = 1; i <= 20; i++) {
            assert_int_equal(live(&stage, lasting == 1 && i == 20 ? 600 : 40), KILLED);
            assert_int_equal(count_tries(), lasting == 1 && i == 20 ? 0 : i);
            if (lasting == 2 && i == 19) { /* SIGTERM comes before it has lasted */
                kernel_forget_signals();
                assert_int_equal(kill(getpid(), SIGTERM), 0);
                assert_int_equal(live(&stage, 0), LEFT);
                assert_int_equal(count_tries(), 0);
                break;
            }
        }
        kernel_forget_signals();
        (void)live_on(&stage);
        check_fates(&stage, kept, views);
        assert_int_equal(views[lasting ? VIEW_END : VIEW_RESET], 3);
        bool said = false;
        for (size_t i = 0; i < world.n_lines; i++)
            said |= strstr(world.lines[i].text, "20 processes in a row have died of it") != NULL;
        assert_int_equal(said, lasting == 0);
        kernel_drop_all();
    }
}

/* One that was over, and recorded, before the manager could be told to drop it: it is not told
 * again; nor is its slot free before. */
static void test_recorded_once(void **state)
{
    static const struct scene scene = {.size = 20000,
        .guests = {SLOW(), STUCK(.view = VIEW_OWN_RESET), STUCK(.at = 1, .view = VIEW_OWN_RESET),
            PATIENT(.at = 400, .room = 5000)},
        .events = {{AT(10), EVENT_TEST, BUSY, 0}, {AT(15), EVENT_RESETS, 0, 1},
            {AT(200), EVENT_TEST, KILL, 0}, {AT(250), EVENT_TEST, READY, 0},
            {AT(550), EVENT_RESETS, 0, 2}},
        .keeps = 100};
    static struct stage stage;
    int descriptors = count_descriptors();
    bool kept[KERNEL_SOCKETS] = {false};
    unsigned long views[4] = {0};
    char sent[2000];
    int records[4] = {0};

    (void)state;
    prepare(&stage, &scene);
    assert_int_equal(live(&stage, 0), KILLED);
    assert_int_equal(kernel.sockets[0].duplicates + kernel.sockets[1].duplicates, 2);
    (void)live_on(&stage);
    check_fates(&stage, kept, views);
    for (size_t i = 0; i < world.n_lines; i++)
        for (int j = 0; j < 4; j++) {
            char peer[40];
            (void)snprintf(peer, sizeof(peer), " to 127.0.0.1:%d: ", j + 1);
            records[j] += strstr(world.lines[i].text, peer) != NULL;
        }
    for (int j = 0; j < 4; j++)
        assert_int_equal(records[j], 1);
    kernel_format_messages(sent, sizeof(sent));
    assert_string_equal(sent, KEPT " +@1 +@2 -@0 -@1 +@1 -@2 -@1");
    kernel_drop_all();
    assert_int_equal(count_descriptors(), descriptors);
}

/* One that cannot be armed must not be served: the others are. */
static void test_unarmed(void **state)
{
    static const struct scene scene = {.size = 1000, .guests = {GOOD(.n = 3)}, .status = 71};
    static struct stage stage;
    int descriptors = count_descriptors();

    (void)state;
    kernel_forget_signals();
    build(&stage, &scene);
    kernel.sockets[1].linger_error = ENOBUFS;
    assert_int_equal(run(&stage), 0);
    assert_int_equal(stage.report.status, 71);
    assert_int_equal(kernel.sockets[0].view, VIEW_END);
    assert_int_equal(kernel.sockets[1].view, VIEW_RESET);
    assert_int_equal(kernel.sockets[2].view, VIEW_END);
    assert_string_equal(world.lines[0].text, "setsockopt: No buffer space available");
    sources_close(&stage.sources);
    assert_int_equal(count_descriptors(), descriptors);
}

/* ---- SIGKILL ---- */

static const struct scene deaths[] = {
    {"one client", 10000, {SLOW()}, .keeps = 100},
    {"a small one, that is never kept", 1000, {GOOD()}, .keeps = 100},
    {"a small one, that waits for the client's end", 1000, {GOOD(.stays = true)}, .keeps = 100},
    {"small ones and large ones", 5000,
        {SLOW(.n = 2), GOOD(.n = 2, .room = 5000, .at = 1), SLOW(.at = 2, .room = 3000)},
        .keeps = 100},
    {"one after the other", 3000, {SLOW(), SLOW(.at = 20), SLOW(.at = 40)}, .keeps = 100},
    {"clients that talk, and that half-close", 10000, {SLOW(), SLOW()},
        {{AT(0), EVENT_INPUT, 20000, 0}, {AT(2), EVENT_ENDS, 0, 1}}, .keeps = 100},
    {"a client that resets", 10000, {SLOW(.view = VIEW_OWN_RESET), SLOW()},
        {{AT(5), EVENT_RESETS, 0, 0}}, .keeps = 100},
    {"a new file", 10000, {SLOW(), SLOW(.at = 6, .gets = NEW_SIZE, .room = 500)},
        {{AT(5), EVENT_TEST, PUBLISH, 0}}, .keeps = 100},
    {"a cold file", 10000, {GOOD(.at = 5), GOOD(.at = 6)}, {{AT(4), EVENT_TEST, NO_DISK, 0}},
        .seek = 3 * MS, .keeps = 100},
    {"SIGTERM", 10000, {SLOW(.n = 2), GOOD(.stays = true, .room = 10000)}, {TERM(5)}, .keeps = 100},
    {"SIGINT", 10000, {STUCK(.n = 2)}, {{AT(5), EVENT_SIGNAL, SIGINT, 0}}, .keeps = 100,
        .stall_timeout = SECOND},
    {"a manager that takes one message at a time", 5000, {SLOW(.n = 3)}, .keeps = 100, .room = 1},
    {"a manager that is slow", 5000, {SLOW(.n = 3)},
        {{AT(1), EVENT_TEST, DEAF, 0}, {AT(3), EVENT_TEST, HEARS, 0}}, .keeps = 100},
    {"no room for all", 5000, {SLOW(.n = 4)}, .keeps = 6},
    {"nobody keeps anything", 5000, {SLOW(.n = 2)}, .keeps = -1},
    {"taken away", 5000, {SLOW(.n = 2)}, {{AT(2), EVENT_TEST, LOSE, 0}}, .keeps = 100},
    {"one of a source at a time", 5000, {SLOW(.n = 3, .every = 30)}, .per_source = 1, .keeps = 100},
    {"over MPTCP", 5000, {SLOW(.n = 2)}, .kinds = {SOCKET_MPTCP}, .listeners = 1, .keeps = 100},
    {"over UNIX", 100000, {SLOW(.room = 20000, .reads = 20000)}, .kinds = {SOCKET_UNIX},
        .listeners = 1, .keeps = 100},
};

static void test_death(void **state)
{
    static struct stage stage;
    const struct scene *scene = *state;
    int descriptors = count_descriptors();
    unsigned long views[4] = {0};
    unsigned long n_kept = 0;
    bool more = true;

    for (long at = 1; more; at++) {
        bool kept[KERNEL_SOCKETS];
        prepare(&stage, scene);
        more = live(&stage, at) == KILLED;
        note_kept(kept);
        for (int i = 0; i < kernel.n_sockets; i++)
            n_kept += kept[i];
        (void)live_on(&stage);
        check_fates(&stage, kept, views);
        kernel_drop_all();
        assert_int_equal(count_descriptors(), descriptors);
    }
    print_message("# %lu whole, %lu reset, %lu left by themselves; %lu were kept\n",
        views[VIEW_END], views[VIEW_RESET], views[VIEW_OWN_RESET], n_kept);
}

/*
 * SIGKILL inside sendfile(2), and the page of its offset is on the disk, so that the kernel cannot
 * write it: the socket has more than its slot says, and nobody may go on from there.
 */
static void test_death_inside(void **state)
{
    static const struct scene scene = {.size = 10000, .guests = {SLOW(.n = 2)}, .keeps = 100};
    static struct stage stage;
    unsigned long views[4] = {0};
    bool more = true;

    (void)state;
    for (long at = 1; more; at++) {
        bool kept[KERNEL_SOCKETS] = {false};
        prepare(&stage, &scene);
        kernel.kill_inside = at;
        more = live(&stage, 0) == KILLED;
        (void)live_on(&stage);
        check_fates(&stage, kept, views);
        kernel_drop_all();
    }
    assert_true(views[VIEW_RESET] > 10); /* one of two, each time */
    assert_true(views[VIEW_END] > 10);
}

/* ---- the storm ---- */

#define CROWD 120

/* Whoever comes; some leave, some stall, and the descriptors run out at times. */
static void add_somebody(struct stage *stage, int64_t span)
{
    struct kernel_socket *s = kernel_expect((int)kernel_roll(stage->handover.n_listeners));
    int number = (int)(s - kernel.sockets);
    int64_t at = START + (int64_t)kernel_roll((uint64_t)span) / MS * MS;
    bool tcp = s->kind <= SOCKET_MPTCP;

    s->room = 1 + (off_t)kernel_roll(100000);
    s->reads = kernel_roll(10) ? 1 + (off_t)kernel_roll(20000) : 0;
    s->ends_at_end = kernel_roll(4);
    s->source = (uint32_t)kernel_roll(10);
    s->chance = kernel_by_chance;
    s->allow_changes = true; /* the fake does not follow several files */
    stage->arrivals[number] = at;
    add_event(stage, (struct kernel_event){at, EVENT_ARRIVES, 0, number});
    if (kernel_roll(4) == 0)
        add_event(stage, (struct kernel_event){at + (int64_t)kernel_roll(100) * MS,
                             tcp && kernel_roll(2) ? EVENT_RESETS : EVENT_INPUT, 3000, number});
    if (kernel_roll(6) == 0)
        add_event(stage,
            (struct kernel_event){at + (int64_t)kernel_roll(1000) * MS, EVENT_ENDS, 0, number});
}

static void add_accidents(struct stage *stage, int64_t span)
{
    static const int shortages[] = {EMFILE, ENFILE, ENOBUFS, ENOMEM};
    static const enum deed deeds[] = {PUBLISH, RESTORE, OVERWRITE, NO_WATCH, NO_DISK};

    for (int i = 0; i < 3; i++) {
        int64_t at = START + (int64_t)kernel_roll((uint64_t)span);
        int error = shortages[kernel_roll(LENGTH(shortages))];
        add_event(stage, (struct kernel_event){at, EVENT_ACCEPT, error, 0});
        add_event(
            stage, (struct kernel_event){at + (int64_t)kernel_roll(500) * MS, EVENT_ACCEPT, 0, 0});
    }
    for (int i = 0; i < 6; i++)
        add_event(stage, (struct kernel_event){START + (int64_t)kernel_roll((uint64_t)span),
                             EVENT_TEST, deeds[kernel_roll(LENGTH(deeds))], 0});
    if (kernel_roll(4) == 0)
        add_event(stage, (struct kernel_event){START + (int64_t)kernel_roll((uint64_t)span),
                             EVENT_SIGNAL, kernel_roll(2) ? SIGTERM : SIGINT, 0});
    add_event(stage, (struct kernel_event){START + span, EVENT_ACCEPT, 0, 0});
}

/* Each has an answer, and it is the end only on all bytes; nothing is left behind. */
static void check_storm(struct stage *stage, int descriptors, unsigned long *views)
{
    for (int i = 0; i < kernel.n_sockets; i++) {
        const struct kernel_socket *s = &kernel.sockets[i];
        views[s->view]++;
        assert_false(s->open);
        if (s->fd < 0 || !s->slot)
            continue;
        if (s->kind <= SOCKET_MPTCP && s->view == VIEW_END && s->acked < s->queued &&
            !(s->fin && s->ended))
            fail_msg("client %d has %jd of %jd bytes, and an end", i, (intmax_t)s->acked,
                (intmax_t)s->queued);
    }
    for (size_t i = 0; i < LENGTH(kernel.fds); i++)
        assert_null(kernel.fds[i]);
    assert_int_equal(stage->sources.served[0].current->transfers, 0);
    sources_close(&stage->sources);
    assert_int_equal(count_descriptors(), descriptors);
}

static void test_storm(void **state)
{
    static struct stage stage;
    int descriptors = count_descriptors();
    unsigned long views[4] = {0};

    (void)state;
    kernel_seed(UINT64_C(0x9e3779b97f4a7c15));
    for (int i = 0; i < 300; i++) {
        const struct scene scene = {.size = (off_t)kernel_roll(kernel_roll(3) ? 50000 : 3 * MIB),
            .kinds = {SOCKET_TCP, SOCKET_UNIX, SOCKET_MPTCP},
            .listeners = 1 + (int)kernel_roll(3),
            .stall_timeout = (int64_t)(1 + kernel_roll(8)) * SECOND,
            .drain_timeout = (int64_t)(1 + kernel_roll(8)) * SECOND,
            .stop_timeout = (int64_t)(1 + kernel_roll(3)) * SECOND,
            .idle_exit = 5 * SECOND,
            .most = 5 + (int64_t)kernel_roll(CROWD),
            .per_source = (int64_t)kernel_roll(12),
            .seek = (int64_t)kernel_roll(600 * MS)};
        int64_t span = (int64_t)(1 + kernel_roll(4000)) * MS;
        kernel_forget_signals();
        build(&stage, &scene);
        stage.handover.notify =
            (struct notify){.fd = KERNEL_NOTIFY, .watchdog = (int64_t)kernel_roll(2) * 3 * SECOND};
        stage.report.level = LOG_ERR - 1;
        for (int j = 0; j < CROWD; j++)
            add_somebody(&stage, span);
        add_accidents(&stage, span);
        if (run(&stage) != 0)
            fail_msg("scene %d: %s", i, stage.problem.text);
        check_storm(&stage, descriptors, views);
    }
    /* A storm that only ever sees one end proves little. */
    assert_true(views[VIEW_END] > 1000);
    assert_true(views[VIEW_RESET] > 1000);
    assert_true(views[VIEW_OWN_RESET] > 300);
    assert_true(views[VIEW_OPEN] > 10);
}

/* ---- the storm, with a store, and a process that is killed again and again ---- */

#define FEWER 40

static void add_store_accidents(struct stage *stage, int64_t span)
{
    static const enum deed deeds[] = {BUSY, READY, DEAF, HEARS, READY, HEARS, LOSE};

    for (int i = 0; i < 4; i++)
        add_event(
            stage, (struct kernel_event){START + (int64_t)kernel_roll((uint64_t)span), EVENT_TEST,
                       deeds[kernel_roll(kernel_roll(8) ? LENGTH(deeds) - 1 : LENGTH(deeds))], 0});
    add_event(stage, (struct kernel_event){START + span, EVENT_TEST, READY, 0});
    add_event(stage, (struct kernel_event){START + span, EVENT_TEST, HEARS, 0});
    for (int i = 0; i < 2; i++)
        if (kernel_roll(2))
            add_event(stage, (struct kernel_event){START + (int64_t)kernel_roll((uint64_t)span),
                                 EVENT_SIGNAL, SIGTERM, 0});
}

/* An end only on all bytes; whoever has come has an answer, before systemd drops the store of a
 * service that has ended, in which the manager may not have heard of the last to go. */
static void check_deaths(unsigned long *views)
{
    for (int i = 0; i < kernel.n_sockets; i++) {
        const struct kernel_socket *s = &kernel.sockets[i];
        views[s->view]++;
        if (s->view == VIEW_OPEN)
            fail_msg("client %d waits for ever ('%s')", i, s->calls);
        if (s->kind == SOCKET_TCP && s->view == VIEW_END && s->queued != s->promised)
            fail_msg("client %d has the end after %jd of %jd bytes ('%s')", i, (intmax_t)s->queued,
                (intmax_t)s->promised, s->calls);
    }
}

static void one_of_the_deaths(struct stage *stage, unsigned long *views, unsigned long *n_resumed)
{
    uint32_t keeps = (uint32_t)kernel_roll(100);
    const struct scene scene = {.size = (off_t)kernel_roll(kernel_roll(3) ? 50000 : 3 * MIB),
        .kinds = {SOCKET_TCP, SOCKET_UNIX, SOCKET_MPTCP},
        .listeners = 1 + (int)kernel_roll(3),
        .stall_timeout = (int64_t)(1 + kernel_roll(8)) * SECOND,
        .drain_timeout = (int64_t)(1 + kernel_roll(8)) * SECOND,
        .stop_timeout = (int64_t)(1 + kernel_roll(3)) * SECOND,
        .idle_exit = 2 * SECOND,
        .most = 5 + (int64_t)kernel_roll(FEWER),
        .per_source = (int64_t)kernel_roll(12),
        .seek = (int64_t)kernel_roll(600 * MS),
        .keeps = keeps ? (int)keeps : -1,
        .fdstore = keeps,
        .room = (uint32_t)(kernel_roll(2) * kernel_roll(10))};
    int64_t span = (int64_t)(1 + kernel_roll(2000)) * MS;

    prepare(stage, &scene);
    kernel.manager.most +=
        keeps ? 20 : 0; /* a witness that could not be watched is there, and not counted */
    for (int j = 0; j < FEWER; j++)
        add_somebody(stage, span);
    add_accidents(stage, span);
    add_store_accidents(stage, span);
    int lives = 0;
    for (enum fate fate = KILLED; fate != ENDED || somebody_waits(); lives++) {
        long kill_in = lives < 5 ? 1 + (long)kernel_roll(kernel_roll(2) ? 300 : 5000) : 0;
        assert_true(lives < 30);
        world.n_lines = 0;
        fate = live(stage, kill_in);
        for (size_t i = 0; i < world.n_lines; i++)
            *n_resumed += strncmp(world.lines[i].text, "resumed: ", 9) == 0;
        kernel_pass((int64_t)kernel_roll(200) * MS);
        kernel_forget_signals();
    }
    check_deaths(views);
}

static void test_storm_of_deaths(void **state)
{
    static struct stage stage;
    int descriptors = count_descriptors();
    unsigned long views[4] = {0};
    unsigned long n_resumed = 0;

    (void)state;
    kernel_seed(UINT64_C(0xd1342543de82ef95));
    for (int i = 0; i < 300; i++) {
        uint64_t before = kernel_dice();
        one_of_the_deaths(&stage, views, &n_resumed);
        kernel.manager.stopped = false;
        kernel_manage();
        kernel_drop_all();
        if (count_descriptors() != descriptors)
            fail_msg("SEED=0x%" PRIx64 ": a descriptor is left", before);
    }
    print_message("# %lu whole, %lu reset, %lu left by themselves; resumed %lu times\n",
        views[VIEW_END], views[VIEW_RESET], views[VIEW_OWN_RESET], n_resumed);
    assert_true(views[VIEW_END] > 1000);
    assert_true(views[VIEW_RESET] > 1000);
    assert_true(n_resumed > 300);
}

int main(void)
{
    static struct suite suite;

    if (!mkdtemp(directory) || chdir(directory) < 0)
        return 1;
    for (size_t i = 0; i < LENGTH(scenes); i++)
        suite_add(&suite, test_scene, &scenes[i], "scene: %s", scenes[i].name);
    suite_add(&suite, test_many_events, NULL, "scene: more events than one call tells of");
    suite_add(&suite, test_slow_start, NULL, "scene: a start that takes longer than --idle-exit");
    suite_add(&suite, test_slow_log, NULL, "scene: a log that takes longer than --idle-exit");
    suite_add(&suite, test_arming, NULL, "arming: in full, until the queue was empty once");
    suite_add(&suite, test_directory, NULL, "directory: each listener its file");
    for (size_t i = 0; i < LENGTH(refusals); i++)
        suite_add(&suite, test_refusal, &refusals[i], "refused: %s", refusals[i].name);
    for (size_t i = 0; i < LENGTH(limits); i++)
        suite_add(&suite, test_limit, &limits[i], "RLIMIT_NOFILE: %s", limits[i].name);
    for (size_t i = 0; i < LENGTH(talks); i++)
        suite_add(&suite, test_talk, &talks[i], "supervisor: %s", talks[i].name);
    suite_add(&suite, test_status_of_an_evil_name, NULL, "supervisor: a name with newlines");
    for (size_t i = 0; i < LENGTH(dynasties); i++)
        suite_add(&suite, test_dynasty, &dynasties[i], "next: %s", dynasties[i].scene.name);
    suite_add(&suite, test_without_listeners, NULL, "next: no listening socket any more");
    suite_add(&suite, test_many_deaths, NULL, "next: 20 that die of the table");
    suite_add(&suite, test_recorded_once, NULL, "next: what is recorded already");
    suite_add(&suite, test_unarmed, NULL, "arming: it fails");
    suite_add(&suite, test_start_fails, NULL, "next: it fails to start, or to watch a client");
    for (size_t i = 0; i < LENGTH(deaths); i++)
        suite_add(&suite, test_death, &deaths[i], "death: %s", deaths[i].name);
    suite_add(&suite, test_death_inside, NULL, "death: inside sendfile");
    suite_add(&suite, test_storm, NULL, "storm: 300 times 120 clients");
    suite_add(&suite, test_storm_of_deaths, NULL, "storm: 300 times 40 clients, and SIGKILL");
    int failed = suite_run(&suite, "resident");
    kernel_forget_signals();
    (void)unlink("file");
    (void)unlink("new");
    (void)chdir("/");
    (void)rmdir(directory);
    return failed;
}
