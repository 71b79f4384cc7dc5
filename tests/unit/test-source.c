/* SPDX-License-Identifier: MIT */

/*
 * What went wrong in others: open(2) of a FIFO that waits for ever, a file of /proc that says it
 * has 0 bytes and is then sent as an empty one, a log that grew behind the size that was promised,
 * and a replaced file whose old opening was called changed although not a byte of it was. Servers
 * that stay: one that served yesterday's file until it was restarted, one that lost a descriptor
 * with each new version, and one that followed a symbolic link out of the directory it served.
 */

#include "handover.h"
#include "kernel.h"
#include "options.h"
#include "source.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

static char directory[] = "/tmp/decant-test-source.XXXXXX";

#define SIZE 1000

/* ---- calls that fail, as on a disk that is broken ---- */

static struct {
    int pread_error;
    int open_error;
    bool grow; /* the file, between the look at its size and the look behind it */
    bool no_proc;
    const char *proc_says; /* what readlink(2) does; NULL: the truth */
    bool no_flags;
    bool no_duplicate;
    int openat2_error;
    int openat2_again; /* so many times a rename(2) came between, anywhere */
    unsigned long openat2s;
    enum channel channel;
    int open_fails; /* open(2) fails with open_error: the so-manieth from here; 0: each */
    int access_error;
    bool accessible; /* whoever asks */
    unsigned long asked;
    bool no_strndup;
} fake;

int __real_access(const char *path, int mode);
int __wrap_access(const char *path, int mode);
int __wrap_access(const char *path, int mode)
{
    if (mode != R_OK) /* what counts which lines are run */
        return __real_access(path, mode);
    fake.asked++;
    if (fake.access_error) {
        errno = fake.access_error;
        return -1;
    }
    return fake.accessible ? 0 : __real_access(path, mode);
}

char *__real_strndup(const char *text, size_t n);
char *__wrap_strndup(const char *text, size_t n);
char *__wrap_strndup(const char *text, size_t n)
{
    return fake.no_strndup ? NULL : __real_strndup(text, n);
}

long __real_syscall(long number, ...);
long __wrap_syscall(long number, ...);
long __wrap_syscall(long number, ...)
{
    va_list arguments;

    va_start(arguments, number);
    int directory = va_arg(arguments, int);
    const char *name = va_arg(arguments, const char *);
    void *how = va_arg(arguments, void *);
    size_t size = va_arg(arguments, size_t);
    va_end(arguments);
    assert_int_equal(number, SYS_openat2);
    fake.openat2s++;
    if (fake.openat2_again > 0) {
        fake.openat2_again--;
        errno = EAGAIN;
        return -1;
    }
    if (fake.openat2_error) {
        errno = fake.openat2_error;
        return -1;
    }
    return __real_syscall(number, directory, name, how, size);
}

int __real_open64(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...)
{
    if (fake.open_error && fake.open_fails <= 1) {
        errno = fake.open_error;
        if (fake.open_fails == 1)
            fake.open_error = 0;
        return -1;
    }
    fake.open_fails -= fake.open_fails > 0;
    return __real_open64(path, flags, 0600);
}

ssize_t __real_pread64(int fd, void *buffer, size_t size, off_t offset);
ssize_t __wrap_pread64(int fd, void *buffer, size_t size, off_t offset);
ssize_t __wrap_pread64(int fd, void *buffer, size_t size, off_t offset)
{
    if (fake.pread_error) {
        errno = fake.pread_error;
        return -1;
    }
    if (fake.grow)
        assert_int_equal(truncate("file", offset + 1), 0);
    return __real_pread64(fd, buffer, size, offset);
}

ssize_t __real_readlink(const char *path, char *buffer, size_t size);
ssize_t __wrap_readlink(const char *path, char *buffer, size_t size);
ssize_t __wrap_readlink(const char *path, char *buffer, size_t size)
{
    if (fake.no_proc) {
        errno = ENOENT;
        return -1;
    }
    if (fake.proc_says) {
        size_t n = strlen(fake.proc_says);
        memcpy(buffer, fake.proc_says, n < size ? n : size);
        return (ssize_t)(n < size ? n : size);
    }
    return __real_readlink(path, buffer, size);
}

int __real_fcntl64(int fd, int command, ...);
int __wrap_fcntl64(int fd, int command, ...);
int __wrap_fcntl64(int fd, int command, ...)
{
    if (fake.no_flags && command == F_GETFL) {
        errno = EBADF;
        return -1;
    }
    if (fake.no_duplicate && command == F_DUPFD_CLOEXEC) {
        errno = EMFILE;
        return -1;
    }
    return __real_fcntl64(fd, command, 0L);
}

/* A file of its own for each test, as it is on disk: mtime long ago, so that a change shows. */
static void make_file(off_t size)
{
    static const struct timespec past[2] = {{1000000000, 1}, {1000000000, 1}};
    int fd = open("file", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, size), 0);
    assert_int_equal(futimens(fd, past), 0);
    assert_int_equal(close(fd), 0);
}

static void make_others(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "socket"};

    make_file(SIZE);
    assert_int_equal(mkdir("directory", 0755), 0);
    assert_int_equal(mkfifo("fifo", 0644), 0);
    assert_int_equal(symlink("file", "link"), 0);
    assert_int_equal(symlink("nowhere", "dangling"), 0);
    assert_int_equal(symlink("loop", "loop"), 0);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(close(fd), 0);
}

/* ---- the sockets that want a file ---- */

#define SOCKETS 3

/* What handover.c would have brought: so many sockets, and perhaps a file. */
struct shop {
    struct handover handover;
    struct listener listeners[SOCKETS];
    struct connection connections[SOCKETS];
    struct sources sources;
    struct problem problem;
};

static int open_shop(
    struct shop *shop, const struct options *options, size_t n, const char *const *names, int given)
{
    bool listening = names != NULL;

    memset(shop, 0, sizeof(*shop));
    for (size_t i = 0; i < n; i++) {
        shop->listeners[i] = (struct listener){.fd = -1, .name = names ? names[i] : NULL};
        shop->connections[i] = (struct connection){.fd = -1};
        (void)snprintf(
            shop->listeners[i].address, sizeof(shop->listeners[i].address), "ADDRESS-%zu", i);
        (void)snprintf(shop->connections[i].peer, sizeof(shop->connections[i].peer), "PEER-%zu", i);
    }
    shop->handover = (struct handover){
        .connections = shop->connections,
        .n_connections = listening ? 0 : n,
        .listeners = shop->listeners,
        .n_listeners = listening ? n : 0,
        .file_fd = given,
        .channel = fake.channel,
    };
    return sources_open(&shop->sources, options, &shop->handover, &shop->problem);
}

/* The usual: one connection. */
static int open_file(struct shop *shop, const struct options *options, int given)
{
    return open_shop(shop, options, 1, NULL, given);
}

static struct source *present(const struct shop *shop)
{
    return sources_for(&shop->sources, 0)->current;
}

static int count_descriptors(void)
{
    DIR *all = opendir("/proc/self/fd");
    int n = 0;

    assert_non_null(all);
    while (readdir(all))
        n++;
    assert_int_equal(closedir(all), 0);
    return n;
}

static void check_empty(const struct shop *shop)
{
    assert_null(shop->sources.served);
    assert_int_equal(shop->sources.n, 0);
    assert_int_equal(shop->sources.directory, -1);
}

struct opening {
    const char *name;
    const char *path;
    off_t size; /* of "file", if that is opened */
    int64_t offset;
    int64_t length;
    int error;
    int status;
    const char *says[2];
    off_t start;
    off_t end;
};

#define ALL OPTIONS_TO_THE_END

static const struct opening openings[] = {
    {"a regular file", "file", SIZE, 0, ALL, 0, 0, {NULL}, 0, SIZE},
    {"an empty file", "file", 0, 0, ALL, 0, 0, {NULL}, 0, 0},
    {"a file over 4 GiB", "file", (off_t)5 << 30, 0, ALL, 0, 0, {NULL}, 0, (off_t)5 << 30},
    {"through a symbolic link", "link", SIZE, 0, ALL, 0, 0, {NULL}, 0, SIZE},
    {"through directories", "directory/../file", SIZE, 0, ALL, 0, 0, {NULL}, 0, SIZE},

    {"from the second byte", "file", SIZE, 1, ALL, 0, 0, {NULL}, 1, SIZE},
    {"the last byte", "file", SIZE, SIZE - 1, ALL, 0, 0, {NULL}, SIZE - 1, SIZE},
    {"from the end: nothing", "file", SIZE, SIZE, ALL, 0, 0, {NULL}, SIZE, SIZE},
    {"from behind the end", "file", SIZE, SIZE + 1, ALL, EINVAL, EX_USAGE,
        {"--offset: 1001", "1000 bytes"}, 0, 0},
    {"from the far end of the world", "file", SIZE, INT64_MAX, ALL, EINVAL, EX_USAGE,
        {"--offset: 9223372036854775807", "1000 bytes"}, 0, 0},
    {"nothing of it", "file", SIZE, 0, 0, 0, 0, {NULL}, 0, 0},
    {"nothing, from the end", "file", SIZE, SIZE, 0, 0, 0, {NULL}, SIZE, SIZE},
    {"the first byte", "file", SIZE, 0, 1, 0, 0, {NULL}, 0, 1},
    {"as long as it is", "file", SIZE, 0, SIZE, 0, 0, {NULL}, 0, SIZE},
    {"longer than it is", "file", SIZE, 0, SIZE + 1, EINVAL, EX_USAGE,
        {"--length: 1001", "1000 bytes"}, 0, 0},
    {"as much as it can be", "file", SIZE, 1, INT64_MAX, EINVAL, EX_USAGE,
        {"--length: 9223372036854775807 from offset 1", "1000 bytes"}, 0, 0},
    {"a part of it", "file", SIZE, 10, 20, 0, 0, {NULL}, 10, 30},
    {"a part up to the end", "file", SIZE, 10, SIZE - 10, 0, 0, {NULL}, 10, SIZE},
    {"a part beyond the end", "file", SIZE, 10, SIZE - 9, EINVAL, EX_USAGE,
        {"--length: 991 from offset 10", "1000 bytes"}, 0, 0},
    {"a byte of an empty file", "file", 0, 0, 1, EINVAL, EX_USAGE, {"--length: 1", " 0 bytes"}, 0,
        0},
    {"offset 1 of an empty file", "file", 0, 1, ALL, EINVAL, EX_USAGE, {"--offset: 1", " 0 bytes"},
        0, 0},

    {"missing", "nothing", SIZE, 0, ALL, ENOENT, EX_NOINPUT, {"'nothing'", "create it"}, 0, 0},
    {"a dangling link", "dangling", SIZE, 0, ALL, ENOENT, EX_NOINPUT, {"'dangling'", "create it"},
        0, 0},
    {"a link to itself", "loop", SIZE, 0, ALL, ELOOP, EX_NOINPUT, {"'loop'"}, 0, 0},
    {"a file taken for a directory", "file/x", SIZE, 0, ALL, ENOTDIR, EX_NOINPUT,
        {"'file/x'", "correct the path"}, 0, 0},
    {"a directory", "directory", SIZE, 0, ALL, EINVAL, EX_NOINPUT,
        {"'directory' is a directory", "regular file"}, 0, 0},
    {"a FIFO without a writer", "fifo", SIZE, 0, ALL, EINVAL, EX_NOINPUT,
        {"'fifo' is a pipe", "regular file"}, 0, 0},
    {"a socket", "socket", SIZE, 0, ALL, ENXIO, EX_NOINPUT, {"'socket'", "regular file"}, 0, 0},
    {"a device", "/dev/null", SIZE, 0, ALL, EINVAL, EX_NOINPUT,
        {"'/dev/null' is a device", "regular file"}, 0, 0},
    {"a device without an end", "/dev/zero", SIZE, 0, ALL, EINVAL, EX_NOINPUT,
        {"'/dev/zero' is a device"}, 0, 0},
    {"a file of /proc", "/proc/version", SIZE, 0, ALL, EINVAL, EX_NOINPUT,
        {"more than the 0 bytes", "serve a copy"}, 0, 0},
    {"no file at all", NULL, SIZE, 0, ALL, EINVAL, EX_USAGE,
        {"FILE is missing", "decant [OPTION...] FILE"}, 0, 0},
};

static void check_refusal(
    int r, int error, int status, const char *const *says, const struct problem *problem)
{
    assert_int_equal(r, -error);
    assert_int_equal(problem->status, status);
    for (int i = 0; i < 2 && says[i]; i++)
        if (!strstr(problem->text, says[i]))
            fail_msg("'%s' does not say '%s'", problem->text, says[i]);
}

static void test_opening(void **state)
{
    const struct opening *c = *state;
    const struct options options = {.file = c->path, .offset = c->offset, .length = c->length};
    struct shop shop;
    int descriptors = count_descriptors();

    make_file(c->size);
    int r = open_file(&shop, &options, -1);
    if (c->error != 0) {
        check_refusal(r, c->error, c->status, c->says, &shop.problem);
    } else {
        if (r != 0)
            fail_msg("%s", shop.problem.text);
        const struct source *source = present(&shop);
        assert_true(source->start == c->start);
        assert_true(source->end == c->end);
        assert_true(source->size == c->size);
        assert_string_equal(source->name, c->path);
        assert_int_equal(source_check(source, source->end), 0);
        assert_int_equal(fcntl(source->fd, F_GETFL) & O_ACCMODE, O_RDONLY);
        assert_int_equal(fcntl(source->fd, F_GETFD), FD_CLOEXEC);
        sources_close(&shop.sources);
    }
    check_empty(&shop);
    sources_close(&shop.sources);                       /* once more does nothing */
    assert_int_equal(count_descriptors(), descriptors); /* nothing is left open */
}

/* Root may read everything, so that somebody else has to try: in a process of their own. */
static void as_nobody(const char *path, const char *says)
{
    int status;
    pid_t child = fork();

    assert_true(child >= 0);
    if (child == 0) {
        const struct options options = {.file = path, .length = ALL};
        struct shop shop;
        if (geteuid() == 0 && (setgid(65534) < 0 || setuid(65534) < 0))
            exit(77);
        int r = open_file(&shop, &options, -1);
        exit(r != -EACCES                                       ? 1
             : shop.problem.status != EX_NOINPUT                ? 2
             : !strstr(shop.problem.text, says)                 ? 3
             : !strstr(shop.problem.text, "let this user read") ? 4
                                                                : 0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void test_unreadable(void **state)
{
    char says[40];

    (void)state;
    make_file(SIZE);
    assert_int_equal(chmod(".", 0755), 0);
    assert_int_equal(chmod("file", 0), 0);
    /* The user is named: under DynamicUser= nobody can guess it. */
    (void)snprintf(says, sizeof(says), "as user %ju", geteuid() ? (uintmax_t)geteuid() : 65534);
    as_nobody("file", says);
    assert_int_equal(chmod("file", 0644), 0);
    if (geteuid() == 0) {
        assert_int_equal(chmod(".", 0700), 0);
        as_nobody("file", "'file'");
        assert_int_equal(chmod(".", 0755), 0);
    }
}

/* In a unit there are a file system and a user of its own, which nobody thinks of. */
static const struct {
    enum channel channel;
    int open_error;
    const char *ends;
} hints[] = {
    {CHANNEL_JOURNAL, ENOENT,
        "create it, or correct the path (the unit sees only what is in its BindReadOnlyPaths=)"},
    {CHANNEL_JOURNAL, EACCES,
        "let this user read it, and enter its directories "
        "(chmod a+r and a+x, as nothing can belong to a DynamicUser=)"},
    {CHANNEL_JOURNAL, EPERM, "let this user read it, and enter its directories"},
    {CHANNEL_JOURNAL, ENOTDIR, "create it, or correct the path"},
    {CHANNEL_JOURNAL, EMFILE, "Too many open files"},
    {CHANNEL_STDERR, ENOENT, "create it, or correct the path"},
    {CHANNEL_STDERR, EACCES, "let this user read it, and enter its directories"},
    {CHANNEL_SYSLOG, ENOENT, "create it, or correct the path"},
    {CHANNEL_SYSLOG, EACCES, "let this user read it, and enter its directories"},
};

static void test_hints(void **state)
{
    const struct options options = {.file = "file", .length = ALL};

    (void)state;
    make_file(SIZE);
    for (size_t i = 0; i < LENGTH(hints); i++) {
        struct shop shop;
        fake.channel = hints[i].channel;
        fake.open_error = fake.access_error = hints[i].open_error;
        int r = open_file(&shop, &options, -1);
        fake.channel = CHANNEL_STDERR;
        fake.open_error = fake.access_error = 0;
        assert_int_equal(r, -hints[i].open_error);
        const char *ends = strstr(shop.problem.text, hints[i].ends);
        if (!ends || strcmp(ends, hints[i].ends) != 0)
            fail_msg("'%s' does not end with '%s'", shop.problem.text, hints[i].ends);
    }
}

/* ---- a descriptor that came from elsewhere ---- */

struct adoption {
    const char *name;
    const char *path;
    int flags;
    bool with_file; /* FILE is given as well */
    int error;
    int status;
    const char *says[2];
};

static const struct adoption adoptions[] = {
    {"read-only", "file", O_RDONLY, false, 0, 0, {NULL}},
    {"read-write", "file", O_RDWR, false, 0, 0, {NULL}},
    {"for appending", "file", O_RDWR | O_APPEND, false, 0, 0, {NULL}},
    {"write-only", "file", O_WRONLY, false, EBADF, EX_NOINPUT,
        {"not open for reading", "read-only"}},
    {"O_PATH", "file", O_PATH, false, EBADF, EX_NOINPUT, {"not open for reading", "read-only"}},
    {"a directory", "directory", O_RDONLY, false, EINVAL, EX_NOINPUT, {"is a directory"}},
    {"a file of /proc", "/proc/version", O_RDONLY, false, EINVAL, EX_NOINPUT,
        {"more than the 0 bytes"}},
    {"and FILE", "file", O_RDONLY, true, EINVAL, EX_USAGE,
        {"FILE is given ('other')", "leave one"}},
};

static void test_adoption(void **state)
{
    const struct adoption *c = *state;
    const struct options options = {.file = c->with_file ? "other" : NULL, .length = ALL};
    struct shop shop;
    int descriptors = count_descriptors();

    make_file(SIZE);
    int fd = open(c->path, c->flags | O_CLOEXEC);
    assert_true(fd >= 0);
    int r = open_file(&shop, &options, fd);
    if (c->error != 0) {
        check_refusal(r, c->error, c->status, c->says, &shop.problem);
        check_empty(&shop);
        if (shop.handover.file_fd >= 0) /* it was not taken over */
            assert_int_equal(close(fd), 0);
    } else {
        const struct source *source = present(&shop);
        assert_int_equal(r, 0);
        assert_int_equal(shop.handover.file_fd, -1);
        assert_true(source->end == SIZE);
        assert_int_equal(fcntl(source->fd, F_GETFD), FD_CLOEXEC);
        /* For people: what /proc knows. */
        assert_int_equal(strncmp(source->name, directory, strlen(directory)), 0);
        sources_close(&shop.sources);
    }
    assert_int_equal(count_descriptors(), descriptors); /* it is ours to close */
}

/* decant FILE <file: an accident of the shell, and no second file. */
static void test_stdin_beside_file(void **state)
{
    const struct options options = {.file = "file", .length = ALL};
    struct shop shop = {.handover.file_fd = -1};

    (void)state;
    make_file(SIZE);
    memset(&shop, 0, sizeof(shop));
    shop.handover = (struct handover){.connections = shop.connections,
        .n_connections = 1,
        .file_fd = STDIN_FILENO,
        .file_is_stdin = true};
    assert_int_equal(sources_open(&shop.sources, &options, &shop.handover, &shop.problem), 0);
    assert_string_equal(present(&shop)->name, "file");
    assert_int_equal(shop.handover.file_fd, STDIN_FILENO);
    sources_close(&shop.sources);
    assert_true(fcntl(STDIN_FILENO, F_GETFD) >= 0);
}

/* StandardInput=file: and no FILE: that is the one. */
static void test_stdin_alone(void **state)
{
    const struct options options = {.length = ALL};
    struct shop shop;

    (void)state;
    make_file(SIZE);
    memset(&shop, 0, sizeof(shop));
    shop.handover = (struct handover){.connections = shop.connections,
        .n_connections = 1,
        .file_fd = open("file", O_RDONLY | O_CLOEXEC),
        .file_is_stdin = true};
    int given = shop.handover.file_fd;
    assert_int_equal(sources_open(&shop.sources, &options, &shop.handover, &shop.problem), 0);
    assert_int_equal(shop.handover.file_fd, -1); /* it is the source's now */
    assert_true(present(&shop)->end == SIZE);
    sources_close(&shop.sources);
    assert_int_equal(fcntl(given, F_GETFD), -1);
}

/* Its position may be anywhere, and is another's: it does not matter. */
static void test_adopted_position(void **state)
{
    const struct options options = {.offset = 10, .length = 20};
    struct shop shop;

    (void)state;
    make_file(SIZE);
    int fd = open("file", O_RDONLY | O_CLOEXEC);
    assert_int_equal(lseek(fd, 500, SEEK_SET), 500);
    assert_int_equal(open_file(&shop, &options, fd), 0);
    assert_true(present(&shop)->start == 10);
    assert_true(present(&shop)->end == 30);
    assert_int_equal(lseek(fd, 0, SEEK_CUR), 500);
    sources_close(&shop.sources);
}

/* ---- what else may happen ---- */

struct accident {
    const char *name;
    bool adopted;
    int pread_error;
    int fstat_fails;
    bool grow;
    bool no_proc;
    bool no_flags;
    bool no_duplicate;
    int error;
    int status;
    const char *says[2];
};

static const struct accident accidents[] = {
    {"it cannot be read", .pread_error = EIO, .error = EIO, .status = EX_IOERR,
        .says = {"cannot read 'file'", "Input/output error"}},
    {"fstat fails", .fstat_fails = 1, .error = EIO, .status = EX_NOINPUT,
        .says = {"cannot stat 'file'"}},
    {"it has just grown", .grow = true},
    {"it has just grown, and fstat fails", .grow = true, .fstat_fails = 2},
    {"handed over, without /proc", .adopted = true, .no_proc = true},
    {"handed over, and closed meanwhile", .adopted = true, .no_flags = true, .no_proc = true,
        .error = EBADF, .status = EX_NOINPUT,
        .says = {"the handed-over file", "not open for reading"}},
    {"handed over, and no descriptor left", .adopted = true, .no_duplicate = true, .error = EMFILE,
        .status = EX_OSERR, .says = {"fcntl: Too many open files"}},
};

static void test_accident(void **state)
{
    const struct accident *c = *state;
    const struct options options = {.file = c->adopted ? NULL : "file", .length = ALL};
    struct shop shop;

    make_file(SIZE);
    int fd = c->adopted ? open("file", O_RDONLY | O_CLOEXEC) : -1;
    fake.pread_error = c->pread_error;
    fake.grow = c->grow;
    fake.no_proc = c->no_proc;
    fake.no_duplicate = c->no_duplicate;
    fake.no_flags = c->no_flags;
    kernel.fstat_fails = c->fstat_fails;
    int r = open_file(&shop, &options, fd);
    memset(&fake, 0, sizeof(fake));
    kernel.fstat_fails = 0;
    if (c->error != 0) {
        check_refusal(r, c->error, c->status, c->says, &shop.problem);
        check_empty(&shop);
        return;
    }
    assert_int_equal(r, 0);
    assert_true(present(&shop)->end == SIZE); /* the promise is the size at open */
    /* A regular file that grows is no file of /proc: the check on the way will tell. */
    assert_int_equal(source_check(present(&shop), SIZE), c->grow ? -ESTALE : 0);
    sources_close(&shop.sources);
}

/* A name of the longest sort is cut, for people, and opened in full. */
static void test_long_name(void **state)
{
    char path[1200] = "";
    const struct options options = {.file = path, .length = ALL};
    struct shop shop;

    (void)state;
    make_file(SIZE);
    for (int i = 0; i < 500; i++)
        strcat(path, "./");
    strcat(path, "file");
    assert_int_equal(open_file(&shop, &options, -1), 0);
    assert_int_equal(strlen(present(&shop)->name), sizeof(present(&shop)->name) - 1);
    sources_close(&shop.sources);
    strcat(path, "-that-is-missing");
    assert_int_equal(open_file(&shop, &options, -1), -ENOENT);
    assert_true(strlen(shop.problem.text) < sizeof(shop.problem.text));
}

/* A process without descriptors is no missing file, and a disk that fails is none either. */
static void test_open_error(void **state)
{
    static const struct {
        int error;
        int status;
    } cases[] = {{EMFILE, EX_OSERR}, {ENFILE, EX_OSERR}, {ENOMEM, EX_OSERR}, {EIO, EX_IOERR},
        {ENXIO, EX_NOINPUT}};
    static const char *const paths[] = {"/proc/self/exe", "directory"};
    static const char *const names[] = {"x"};

    (void)state;
    for (size_t i = 0; i < 2 * LENGTH(cases); i++) {
        const struct options options = {.file = paths[i % 2], .length = ALL};
        struct shop shop;
        fake.open_error = cases[i / 2].error;
        assert_int_equal(open_shop(&shop, &options, 1, names, -1), -cases[i / 2].error);
        fake.open_error = 0;
        assert_int_equal(shop.problem.status, cases[i / 2].status);
        assert_non_null(strstr(shop.problem.text, strerror(cases[i / 2].error)));
        assert_non_null(strstr(shop.problem.text, paths[i % 2]));
        assert_null(shop.sources.served);
    }
}

/* ---- is it still the same? ---- */

enum deed {
    NOTHING,
    GROW,
    SHRINK, /* by a byte */
    SHRINK_TO_END,
    EMPTY,
    OVERWRITE,
    TOUCH,
    TOUCH_BY_1NS,
    CHMOD,
    RENAME,
    REPLACE,
    UNLINK,
    LINK,
    READ,
    CLOSE,
};

struct check {
    const char *name;
    enum deed deed;
    int64_t length; /* of the promise */
    int unchanged_only;
    int changes_allowed;
};

static const struct check checks[] = {
    {"nothing", NOTHING, ALL, 0, 0},
    {"grown", GROW, ALL, -ESTALE, 0},
    {"grown, a part promised", GROW, 500, -ESTALE, 0},
    {"shrunk by a byte", SHRINK, ALL, -ENODATA, -ENODATA},
    {"shrunk by a byte, a part promised", SHRINK, 500, -ESTALE, 0},
    {"shrunk to the promise", SHRINK_TO_END, 500, -ESTALE, 0},
    {"shrunk below the promise", SHRINK_TO_END, 501, -ENODATA, -ENODATA},
    {"emptied", EMPTY, ALL, -ENODATA, -ENODATA},
    {"emptied, nothing promised", EMPTY, 0, -ESTALE, 0},
    {"overwritten", OVERWRITE, ALL, -ESTALE, 0},
    {"touched", TOUCH, ALL, -ESTALE, 0},
    {"touched by a nanosecond", TOUCH_BY_1NS, ALL, -ESTALE, 0},
    {"chmoded", CHMOD, ALL, 0, 0},
    {"renamed", RENAME, ALL, 0, 0},
    {"replaced by rename", REPLACE, ALL, 0, 0},
    {"deleted", UNLINK, ALL, 0, 0},
    {"linked", LINK, ALL, 0, 0},
    {"read", READ, ALL, 0, 0},
    {"closed by somebody", CLOSE, ALL, -EBADF, -EBADF},
};

static void write_at(const char *path, off_t at)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);

    assert_int_equal(pwrite(fd, "!", 1, at), 1);
    assert_int_equal(close(fd), 0);
}

static void set_mtime(time_t seconds, long nanoseconds)
{
    const struct timespec times[2] = {{seconds, nanoseconds}, {seconds, nanoseconds}};

    assert_int_equal(utimensat(AT_FDCWD, "file", times, 0), 0);
}

static void do_deed(enum deed deed, int fd)
{
    char byte;

    switch (deed) {
    case NOTHING:
        break;
    case GROW:
        write_at("file", SIZE);
        set_mtime(1000000000, 1); /* the size alone must tell */
        break;
    case SHRINK:
        assert_int_equal(truncate("file", SIZE - 1), 0);
        set_mtime(1000000000, 1);
        break;
    case SHRINK_TO_END:
        assert_int_equal(truncate("file", 500), 0);
        break;
    case EMPTY:
        assert_int_equal(truncate("file", 0), 0);
        break;
    case OVERWRITE:
        write_at("file", 0); /* mtime was long ago: no step of the clock can hide it */
        break;
    case TOUCH:
        set_mtime(1000000001, 1);
        break;
    case TOUCH_BY_1NS:
        set_mtime(1000000000, 2);
        break;
    case CHMOD:
        assert_int_equal(chmod("file", 0600), 0);
        break;
    case RENAME:
        assert_int_equal(rename("file", "elsewhere"), 0);
        break;
    case REPLACE:
        write_at("new", 0);
        assert_int_equal(rename("new", "file"), 0);
        break;
    case UNLINK:
        assert_int_equal(unlink("file"), 0);
        break;
    case LINK:
        assert_int_equal(link("file", "second"), 0);
        break;
    case READ:
        assert_int_equal(pread(fd, &byte, 1, 0), 1);
        break;
    case CLOSE:
        assert_int_equal(close(fd), 0);
        break;
    }
}

static void test_check(void **state)
{
    const struct check *c = *state;

    for (int allow = 0; allow < 2; allow++) {
        const struct options options = {
            .file = "file", .length = c->length, .allow_changes = allow};
        struct shop shop;
        (void)unlink("second");
        (void)unlink("file");
        make_file(SIZE);
        int other = open("new", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
        assert_int_equal(close(other), 0);
        assert_int_equal(open_file(&shop, &options, -1), 0);
        const struct source *source = present(&shop);
        do_deed(c->deed, source->fd);
        assert_int_equal(
            source_check(source, source->end), allow ? c->changes_allowed : c->unchanged_only);
        sources_close(&shop.sources);
    }
}

/* ---- a new client, after something has happened ---- */

/* What the next client gets. */
enum fresh {
    SAME,      /* the same opening, with the same promise */
    SAME_MORE, /* the same opening, with another end */
    ANEW,      /* another opening */
    REFUSED,
};

struct refreshment {
    const char *name;
    enum deed deed;
    bool given; /* a handed-over file, which no name leads to */
    enum fresh strict;
    enum fresh allowed; /* with --allow-changes */
    int error;
    off_t end;
};

static const struct refreshment refreshments[] = {
    {"nothing has happened", NOTHING, false, SAME, SAME, 0, SIZE},
    {"grown", GROW, false, ANEW, SAME_MORE, 0, SIZE + 1},
    {"shrunk", SHRINK, false, ANEW, SAME_MORE, 0, SIZE - 1},
    {"emptied", EMPTY, false, ANEW, SAME_MORE, 0, 0},
    {"overwritten", OVERWRITE, false, ANEW, SAME_MORE, 0, SIZE},
    {"touched by a nanosecond", TOUCH_BY_1NS, false, ANEW, SAME_MORE, 0, SIZE},
    {"chmoded", CHMOD, false, SAME, SAME, 0, SIZE},
    {"linked", LINK, false, SAME, SAME, 0, SIZE},
    {"read", READ, false, SAME, SAME, 0, SIZE},
    {"replaced by rename", REPLACE, false, ANEW, ANEW, 0, 1},
    {"renamed", RENAME, false, REFUSED, REFUSED, ENOENT, 0},
    {"deleted", UNLINK, false, REFUSED, REFUSED, ENOENT, 0},

    {"given: nothing has happened", NOTHING, true, SAME, SAME, 0, SIZE},
    {"given: grown", GROW, true, ANEW, SAME_MORE, 0, SIZE + 1},
    {"given: overwritten", OVERWRITE, true, ANEW, SAME_MORE, 0, SIZE},
    {"given: replaced by rename", REPLACE, true, SAME, SAME, 0, SIZE},
    {"given: deleted", UNLINK, true, SAME, SAME, 0, SIZE},
};

static void lay_out(void)
{
    (void)unlink("second");
    (void)unlink("elsewhere");
    (void)unlink("file");
    (void)unlink("new");
    make_file(SIZE);
    int other = open("new", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    assert_int_equal(close(other), 0);
}

/* Transfers that run keep what they began with, and the last of them takes it away. */
static void check_old(struct source *old, int held, int descriptors)
{
    int fd = old->fd;
    struct stat before;
    struct stat now;

    assert_int_equal(fstat(fd, &before), 0);
    for (int left = held; left > 0; left--) {
        assert_int_equal(count_descriptors(), descriptors);
        assert_int_equal(fstat(fd, &now), 0);
        assert_true(now.st_ino == before.st_ino);
        source_release(old);
    }
    assert_int_equal(count_descriptors(), descriptors - 1);
    assert_int_equal(fcntl(fd, F_GETFD), -1);
}

static void refresh_with(const struct refreshment *c, bool allow, int held)
{
    const struct options options = {
        .file = c->given ? NULL : "file", .length = ALL, .allow_changes = allow};
    enum fresh fresh = allow ? c->allowed : c->strict;
    int descriptors = count_descriptors();
    struct source *now = NULL;
    struct shop shop;

    lay_out();
    int given = c->given ? open("file", O_RDONLY | O_CLOEXEC) : -1;
    assert_int_equal(open_file(&shop, &options, given), 0);
    struct source *old = present(&shop);
    uint32_t generation = old->generation;
    int with_one = count_descriptors();
    for (int i = 0; i < held; i++)
        source_hold(old);
    do_deed(c->deed, old->fd);
    int r = source_refresh(sources_for(&shop.sources, 0), &now, &shop.problem);
    assert_int_equal(r, fresh == REFUSED ? -c->error : 0);
    if (fresh == SAME || fresh == SAME_MORE) {
        assert_ptr_equal(now, old);
        assert_int_equal(now->generation, generation);
        assert_int_equal(count_descriptors(), with_one);
    } else if (fresh == ANEW) {
        assert_ptr_equal(now, present(&shop));
        assert_true(now->generation > generation);
        if (held)
            check_old(old, held, with_one + 1);
        assert_int_equal(count_descriptors(), with_one);
    } else {
        assert_null(now);
        assert_null(present(&shop));
        assert_int_equal(shop.problem.status, EX_NOINPUT);
        if (held)
            check_old(old, held, with_one);
        assert_int_equal(count_descriptors(), with_one - 1);
    }
    if (fresh != REFUSED) {
        assert_true(now->start == 0);
        assert_true(now->end == c->end);
        assert_int_equal(source_check(now, now->end), 0);
    }
    for (int i = 0; i < held && (fresh == SAME || fresh == SAME_MORE); i++) {
        source_release(old);
        assert_true(fcntl(old->fd, F_GETFD) >= 0); /* the next client will get it */
    }
    sources_close(&shop.sources);
    assert_int_equal(count_descriptors(), descriptors);
}

static void test_refresh(void **state)
{
    const struct refreshment *c = *state;

    for (int held = 0; held < 4; held++)
        for (int allow = 0; allow < 2; allow++)
            refresh_with(c, allow, held);
}

/*
 * A log that was truncated has lost what --offset and --length promise. Not only to the first
 * client after it: to each, until it has grown again.
 */
struct relapse {
    const char *name;
    int64_t offset;
    int64_t length;
    off_t shrunk;
    const char *says;
};

static const struct relapse relapses[] = {
    {"shrunk below the offset", 500, ALL, 499, "--offset: 500"},
    {"shrunk below the length", 0, 500, 499, "--length: 500"},
    {"shrunk below offset and length", 400, 100, 450, "--length: 100"},
    {"emptied, with an offset", 1, ALL, 0, "--offset: 1"},
    {"emptied, with a length", 0, 1, 0, "--length: 1"},
};

static void test_relapse(void **state)
{
    const struct relapse *c = *state;
    const struct options options = {
        .file = "file", .offset = c->offset, .length = c->length, .allow_changes = true};
    struct source *source = NULL;
    struct shop shop;

    lay_out();
    assert_int_equal(open_file(&shop, &options, -1), 0);
    struct source *old = present(&shop);
    source_hold(old);
    assert_int_equal(truncate("file", c->shrunk), 0);
    for (int i = 0; i < 3; i++) {
        int r = source_refresh(sources_for(&shop.sources, 0), &source, &shop.problem);
        if (r == 0)
            fail_msg("client %d is promised the bytes %jd to %jd of %jd", i + 1,
                (intmax_t)source->start, (intmax_t)source->end, (intmax_t)c->shrunk);
        assert_int_equal(r, -EINVAL);
        assert_int_equal(shop.problem.status, EX_USAGE);
        assert_non_null(strstr(shop.problem.text, c->says));
    }
    assert_int_equal(truncate("file", SIZE), 0);
    set_mtime(1000000002, 0);
    assert_int_equal(source_refresh(sources_for(&shop.sources, 0), &source, &shop.problem), 0);
    assert_true(source->start == c->offset);
    assert_true(source->end == (c->length == ALL ? SIZE : c->offset + c->length));
    source_release(old);
    sources_close(&shop.sources);
}

static void test_log_that_grows(void **state)
{
    const struct options options = {.file = "file", .length = ALL, .allow_changes = true};
    struct source *source = NULL;
    struct shop shop;

    (void)state;
    lay_out();
    assert_int_equal(open_file(&shop, &options, -1), 0);
    const struct source *first = present(&shop);
    int descriptors = count_descriptors();
    for (int i = 1; i <= 1000; i++) {
        write_at("file", SIZE - 1 + i);
        assert_int_equal(source_refresh(sources_for(&shop.sources, 0), &source, &shop.problem), 0);
        assert_ptr_equal(source, first);
        assert_int_equal(source->generation, 1);
        assert_true(source->end == SIZE + i);
        source_hold(source);
    }
    assert_int_equal(count_descriptors(), descriptors);
    for (int i = 1; i <= 1000; i++)
        source_release(source);
    sources_close(&shop.sources);
}

static void test_missing_and_back(void **state)
{
    const struct options options = {.file = "file", .length = ALL};
    int descriptors = count_descriptors();
    struct source *source = NULL;
    struct shop shop;

    (void)state;
    lay_out();
    assert_int_equal(open_file(&shop, &options, -1), 0);
    struct served *served = sources_for(&shop.sources, 0);
    struct source *old = present(&shop);
    source_hold(old);
    assert_int_equal(rename("file", "elsewhere"), 0);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(source_refresh(served, &source, &shop.problem), -ENOENT);
        assert_int_equal(shop.problem.status, EX_NOINPUT);
        assert_non_null(strstr(shop.problem.text, "create it"));
    }
    make_file(7);
    assert_int_equal(source_refresh(served, &source, &shop.problem), 0);
    assert_true(source->generation > old->generation);
    assert_true(source->end == 7);
    assert_int_equal(source_check(old, old->end), 0); /* whole, wherever it is now */
    /* Moved back: the same file as the old one, and yet another opening, which is no harm. */
    assert_int_equal(rename("elsewhere", "file"), 0);
    assert_int_equal(source_refresh(served, &source, &shop.problem), 0);
    assert_true(source->end == SIZE);
    source_release(old);
    sources_close(&shop.sources);
    assert_int_equal(count_descriptors(), descriptors);
}

/* The one that is there already is no help: what it was is no longer what the file is. */
static void test_no_memory(void **state)
{
    const struct options options = {.file = "file", .length = ALL};
    struct source *source = NULL;
    struct shop shop;

    (void)state;
    lay_out();
    kernel.calloc_fails = 1;
    assert_int_equal(open_file(&shop, &options, -1), -ENOMEM);
    kernel.calloc_fails = 2;
    assert_int_equal(open_file(&shop, &options, -1), -ENOMEM);
    assert_int_equal(shop.problem.status, EX_OSERR);
    check_empty(&shop);
    assert_int_equal(open_file(&shop, &options, -1), 0);
    write_at("file", 0);
    kernel.calloc_fails = 1;
    assert_int_equal(
        source_refresh(sources_for(&shop.sources, 0), &source, &shop.problem), -ENOMEM);
    assert_null(source);
    assert_int_equal(source_refresh(sources_for(&shop.sources, 0), &source, &shop.problem), 0);
    sources_close(&shop.sources);
}

/* As many descriptors as there are openings that somebody counts on, and each still its own file.
 */
static void test_openings(void **state)
{
    static struct {
        struct source *source;
        uint32_t generation;
        off_t size;
    } transfers[30];
    const struct options options = {.file = "file", .length = ALL};
    int descriptors = count_descriptors();
    struct shop shop;
    off_t size = SIZE;

    (void)state;
    kernel_seed(UINT64_C(0x9e3779b97f4a7c15));
    memset(transfers, 0, sizeof(transfers));
    lay_out();
    assert_int_equal(open_file(&shop, &options, -1), 0);
    struct served *served = sources_for(&shop.sources, 0);
    for (int i = 0; i < 5000; i++) {
        size_t n = kernel_roll(LENGTH(transfers));
        struct source *source;
        if (kernel_roll(10) == 0) {
            size = 1 + (off_t)kernel_roll(100000);
            assert_int_equal(truncate("new", size), 0);
            assert_int_equal(rename("new", "file"), 0);
            assert_int_equal(close(open("new", O_WRONLY | O_CREAT | O_CLOEXEC, 0644)), 0);
        }
        if (transfers[n].source) {
            assert_int_equal(transfers[n].source->generation, transfers[n].generation);
            assert_true(transfers[n].source->end == transfers[n].size);
            assert_int_equal(source_check(transfers[n].source, transfers[n].size), 0);
            source_release(transfers[n].source);
            transfers[n].source = NULL;
        } else {
            assert_int_equal(source_refresh(served, &source, &shop.problem), 0);
            assert_true(source->end == size);
            source_hold(source);
            transfers[n].source = source;
            transfers[n].generation = source->generation;
            transfers[n].size = size;
        }
        if (i % 100)
            continue;
        int openings = 1; /* the present one */
        for (size_t j = 0; j < LENGTH(transfers); j++) {
            bool first = transfers[j].source && transfers[j].source != served->current;
            for (size_t k = 0; k < j && first; k++)
                first = transfers[k].source != transfers[j].source;
            openings += first;
        }
        assert_int_equal(count_descriptors(), descriptors + openings);
    }
    for (size_t j = 0; j < LENGTH(transfers); j++)
        if (transfers[j].source)
            source_release(transfers[j].source);
    sources_close(&shop.sources);
    assert_int_equal(count_descriptors(), descriptors);
}

/* ---- what a process before has begun ---- */

static void make_below(void);

struct resumption {
    const char *name;
    off_t size; /* as it was */
    int64_t mtime;
    off_t is; /* the size by now */
    off_t end;
    int check;
};

#define MTIME (INT64_C(1000000000) * CLOCK_SECOND + 1) /* as make_file() sets it */

static const struct resumption resumptions[] = {
    {"as it was", SIZE, MTIME, SIZE, SIZE, 0},
    {"written to", SIZE, MTIME - 1, SIZE, SIZE, -ESTALE},
    {"grown", SIZE, MTIME, SIZE + 1, SIZE, -ESTALE},
    {"shrunk", SIZE, MTIME, SIZE - 1, SIZE, -ENODATA},
    {"shrunk, behind the promise", SIZE, MTIME, SIZE - 1, SIZE - 1, -ESTALE},
    {"written to, allowed", SIZE, TRANSFER_ANY_MTIME, SIZE, SIZE, 0},
    {"grown, allowed", SIZE, TRANSFER_ANY_MTIME, 2 * SIZE, SIZE, 0},
    {"shrunk, allowed", SIZE, TRANSFER_ANY_MTIME, SIZE - 1, SIZE, -ENODATA},
    {"shrunk, behind the promise, allowed", SIZE, TRANSFER_ANY_MTIME, SIZE - 1, SIZE - 1, 0},
};

static void test_resumption(void **state)
{
    const struct resumption *c = *state;
    int descriptors = count_descriptors();
    struct stat status;
    char path[300];

    make_file(c->is);
    int fd = open("file", O_RDONLY | O_CLOEXEC);
    assert_int_equal(fstat(fd, &status), 0);
    struct source *source = source_resume(fd, 77, "NAME");
    assert_non_null(source);
    source_expect(source, c->size, c->mtime);
    assert_int_equal(source->fd, fd);
    assert_int_equal(source->generation, 77);
    assert_int_equal(source->transfers, 1);
    assert_false(source->current);
    assert_int_equal(source->allow_changes, c->mtime == TRANSFER_ANY_MTIME);
    assert_true(source->size == c->size && source->mtime == c->mtime);
    assert_true(source->device == status.st_dev && source->inode == status.st_ino);
    assert_non_null(realpath("file", path));
    assert_string_equal(source->name, path);
    assert_int_equal(source_check(source, c->end), c->check);
    source_hold(source);
    source_release(source);
    assert_true(fcntl(fd, F_GETFD) >= 0);
    source_release(source); /* the last of them, and nobody will come any more */
    assert_int_equal(fcntl(fd, F_GETFD), -1);
    assert_int_equal(count_descriptors(), descriptors);
}

static void test_resumed_name(void **state)
{
    (void)state;
    make_file(SIZE);
    fake.no_proc = true;
    struct source *source = source_resume(open("file", O_RDONLY | O_CLOEXEC), 1, "NAME");
    fake.no_proc = false;
    assert_string_equal(source->name, "NAME");
    source_release(source);
}

/* In the mount namespace of a service that is no more, a file has lost where it was. */
static const struct {
    const char *proc; /* NULL: there is none */
    const char *known;
    const char *name;
} resumed_names[] = {
    {"/7070", "/srv/decant/7070", "/srv/decant/7070"},
    {"/srv/decant/7070", "/srv/decant/7070", "/srv/decant/7070"},
    {"/srv/decant/7071", "/srv/decant/7070", "/srv/decant/7071"},
    {"/srv/decant/7070 (deleted)", "/srv/decant/7070", "/srv/decant/7070 (deleted)"},
    {"/7070", "7070", "7070"},
    {"/17070", "/srv/decant/7070", "/17070"},
    {"/70", "/srv/decant/7070", "/70"},
    {"/srv/7070/file", "/srv/decant/7070", "/srv/7070/file"},
    {"/memfd:file (deleted)", "a file", "/memfd:file (deleted)"},
    {"x", "y", "x"},
    {"", "/srv/decant/7070", "/srv/decant/7070"},
    {NULL, "/srv/decant/7070", "/srv/decant/7070"},
};

static void test_resumed_names(void **state)
{
    (void)state;
    make_file(SIZE);
    for (size_t i = 0; i < LENGTH(resumed_names); i++) {
        fake.no_proc = !resumed_names[i].proc;
        fake.proc_says = resumed_names[i].proc;
        struct source *source =
            source_resume(open("file", O_RDONLY | O_CLOEXEC), 1, resumed_names[i].known);
        fake.no_proc = false;
        fake.proc_says = NULL;
        assert_string_equal(source->name, resumed_names[i].name);
        source_release(source);
    }
}

/* A path that is longer than there is room for. */
static void test_long_resumed_name(void **state)
{
    static char path[1000];

    (void)state;
    make_file(SIZE);
    memset(path, 'p', sizeof(path) - 1);
    path[0] = '/';
    fake.proc_says = path;
    struct source *source = source_resume(open("file", O_RDONLY | O_CLOEXEC), 1, "NAME");
    fake.proc_says = NULL;
    assert_int_equal(strlen(source->name), sizeof(source->name) - 1);
    assert_int_equal(strncmp(source->name, path, sizeof(source->name) - 1), 0);
    source_release(source);
}

/* The descriptor is the callee's also where it cannot go on. */
static void test_resumption_fails(void **state)
{
    int descriptors = count_descriptors();

    (void)state;
    make_file(SIZE);
    for (int i = 0; i < 2; i++) {
        int fd = open("file", O_RDONLY | O_CLOEXEC);
        kernel.calloc_fails = i == 0;
        kernel.fstat_fails = i == 1;
        errno = 0;
        assert_null(source_resume(fd, 1, "NAME"));
        assert_int_equal(errno, i ? EIO : ENOMEM);
        assert_int_equal(fcntl(fd, F_GETFD), -1);
        kernel.calloc_fails = kernel.fstat_fails = 0;
    }
    assert_int_equal(count_descriptors(), descriptors);
}

/* Only the present one outlives its transfers; and it, too, once it is the present one no more. */
static void test_current(void **state)
{
    const struct options options = {.file = "file", .length = ALL};
    struct source *source = NULL;
    struct shop shop;

    (void)state;
    lay_out();
    assert_int_equal(open_file(&shop, &options, -1), 0);
    struct source *first = present(&shop);
    assert_true(first->current);
    int fd = first->fd;
    for (int i = 0; i < 3; i++) {
        source_hold(first);
        source_release(first);
        assert_true(fcntl(fd, F_GETFD) >= 0);
    }
    source_hold(first);
    assert_int_equal(rename("new", "file"), 0);
    assert_int_equal(source_refresh(sources_for(&shop.sources, 0), &source, &shop.problem), 0);
    assert_false(first->current);
    assert_true(source->current);
    assert_true(fcntl(fd, F_GETFD) >= 0);
    source_release(first);
    assert_int_equal(fcntl(fd, F_GETFD), -1);
    source_hold(source);
    sources_close(&shop.sources);
    assert_false(source->current);
    fd = source->fd;
    assert_true(fcntl(fd, F_GETFD) >= 0); /* it serves those who have it to their end */
    source_release(source);
    assert_int_equal(fcntl(fd, F_GETFD), -1);
}

/* Transfers wait to be gone on with: that a file is missing is for those who will ask for it. */
static void test_missing_beside_stored(void **state)
{
    static const struct {
        const char *file;
        size_t n_sockets;
        int result;
    } cases[] = {
        {"nothing", 0, -ENOENT},
        {"nothing", 1, 0},
        {"nothing", 1000, 0},
        {"fifo", 1, 0},
        {NULL, 0, -EINVAL},
        {NULL, 1, 0},
    };
    static struct stored_socket sockets[1000];

    (void)state;
    make_file(SIZE);
    for (size_t i = 0; i < LENGTH(cases); i++) {
        const struct options options = {.file = cases[i].file, .length = ALL};
        struct source *source = NULL;
        struct sources sources;
        struct problem problem;
        struct listener listener = {.fd = -1, .address = "ADDRESS"};
        struct handover handover = {.listeners = &listener,
            .n_listeners = 1,
            .stored = {.table = -1,
                .witness = -1,
                .sockets = sockets,
                .n_sockets = cases[i].n_sockets,
                .last_generation = 41},
            .file_fd = -1};
        assert_int_equal(sources_open(&sources, &options, &handover, &problem), cases[i].result);
        if (cases[i].result < 0) {
            assert_null(sources.served);
            continue;
        }
        assert_null(sources_for(&sources, 0)->current);
        for (int tries = 0; tries < 2; tries++) {
            assert_true(source_refresh(sources_for(&sources, 0), &source, &problem) < 0);
            assert_int_equal(problem.status, cases[i].file ? EX_NOINPUT : EX_USAGE);
        }
        sources_close(&sources);
    }
}

/* A file beside the store of a process that was given a name is not for us to serve. */
static void test_foreign_file(void **state)
{
    const struct options options = {.file = "file", .length = ALL};
    struct listener listener = {.fd = -1, .address = "ADDRESS"};
    struct sources sources;
    struct problem problem;

    (void)state;
    make_file(SIZE);
    for (uint32_t tables = 0; tables < 3; tables++) {
        int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
        struct handover handover = {.listeners = &listener,
            .n_listeners = 1,
            .stored = {.table = -1, .witness = -1, .n_tables = tables},
            .file_fd = fd};
        int r = sources_open(&sources, &options, &handover, &problem);
        assert_int_equal(r, tables ? 0 : -EINVAL);
        assert_int_equal(handover.stored.n_foreign, tables > 0);
        if (r == 0) {
            assert_string_equal(handover.stored.foreign, "a regular file");
            assert_string_equal(sources_for(&sources, 0)->current->name, "file");
            sources_close(&sources);
        } else {
            assert_int_equal(problem.status, EX_USAGE);
        }
        if (r == 0) {
            assert_int_equal(fcntl(fd, F_GETFD), -1);
            assert_int_equal(handover.file_fd, -1);
        } else {
            assert_int_equal(close(fd), 0);
        }
    }
}

/* What is still the same file, for whoever comes anew, is one opening: that of the store. */
struct union_case {
    const char *name;
    enum deed deed; /* between the two openings */
    bool allow;     /* of the one before */
    bool allow_now;
    int transfers; /* that the fresh one has already */
    bool united;
    off_t end; /* for the next client */
};

static const struct union_case unions[] = {
    {"unchanged", NOTHING, false, false, 0, true, SIZE - 10},
    {"unchanged, and somebody has come already", NOTHING, false, false, 1, false, SIZE - 10},
    {"grown", GROW, false, false, 0, false, SIZE - 10},
    {"overwritten", OVERWRITE, false, false, 0, false, SIZE - 10},
    {"replaced by rename", REPLACE, false, false, 0, false, 1},
    {"chmoded", CHMOD, false, false, 0, true, SIZE - 10},
    {"allowed, and unchanged", NOTHING, true, true, 0, true, SIZE - 10},
    {"allowed, and grown", GROW, true, true, 0, true, SIZE - 10},
    {"allowed, and shrunk", SHRINK, true, true, 0, true, SIZE - 10},
    {"allowed, and replaced by rename", REPLACE, true, true, 0, false, 1},
    {"allowed then, and not now", NOTHING, true, false, 0, false, SIZE - 10},
    {"allowed now, and not then", NOTHING, false, true, 0, false, SIZE - 10},
};

static void test_union(void **state)
{
    const struct union_case *c = *state;
    const struct options options = {.file = "file",
        .offset = c->deed == REPLACE ? 0 : 10,
        .length = c->deed == REPLACE ? 1 : SIZE - 20,
        .allow_changes = c->allow_now};
    int descriptors = count_descriptors();
    struct source *source = NULL;
    struct shop shop;
    struct stat status;

    lay_out();
    int fd = open("file", O_RDONLY | O_CLOEXEC);
    assert_int_equal(fstat(fd, &status), 0);
    struct source *resumed = source_resume(fd, 7, "NAME");
    source_expect(resumed, SIZE, c->allow ? TRANSFER_ANY_MTIME : source_mtime(&status));
    do_deed(c->deed, fd);
    assert_int_equal(open_file(&shop, &options, -1), 0);
    struct source *fresh = present(&shop);
    int fresh_fd = fresh->fd;
    for (int i = 0; i < c->transfers; i++)
        source_hold(fresh);
    source_unite(&shop.sources, resumed);
    assert_ptr_equal(present(&shop), c->united ? resumed : fresh);
    assert_int_equal(resumed->current, c->united);
    assert_int_equal(fcntl(fresh_fd, F_GETFD) < 0, c->united);
    source_unite(&shop.sources, resumed); /* once more does nothing */
    assert_int_equal(resumed->transfers, 1);
    /* The next client gets what options and file say now, and no third opening is made for it. */
    assert_int_equal(source_refresh(sources_for(&shop.sources, 0), &source, &shop.problem), 0);
    assert_ptr_equal(source, c->united ? resumed : fresh);
    assert_true(source->start == options.offset && source->end == c->end);
    if (c->united)
        assert_string_equal(source->name, "file");
    assert_int_equal(source_check(source, source->end), 0);
    for (int i = 0; i < c->transfers; i++)
        source_release(fresh);
    source_release(resumed);
    sources_close(&shop.sources);
    assert_int_equal(count_descriptors(), descriptors);
}

/* The name of one listener of several; of the others, none. */
static void test_union_of_several(void **state)
{
    static const char *const names[] = {"alpha", "beta", "alpha"};
    const struct options options = {.file = "below", .length = ALL};
    struct source *source = NULL;
    struct shop shop;
    struct stat status;

    (void)state;
    make_below();
    int fd = open("below/beta", O_RDONLY | O_CLOEXEC);
    assert_int_equal(fstat(fd, &status), 0);
    struct source *resumed = source_resume(fd, 7, "NAME");
    source_expect(resumed, status.st_size, source_mtime(&status));
    assert_int_equal(open_shop(&shop, &options, 3, names, -1), 0);
    source_unite(&shop.sources, resumed);
    assert_ptr_equal(sources_for(&shop.sources, 1)->current, resumed);
    assert_ptr_not_equal(sources_for(&shop.sources, 0)->current, resumed);
    assert_ptr_not_equal(sources_for(&shop.sources, 2)->current, resumed);
    assert_string_equal(resumed->name, "below/beta");
    source_release(resumed);
    assert_int_equal(source_refresh(sources_for(&shop.sources, 1), &source, &shop.problem), 0);
    assert_ptr_equal(source, resumed); /* it is owned by that name now */
    sources_close(&shop.sources);
}

/* PID 1 would take the second opening of one description for the first. */
static void test_copies(void **state)
{
    const struct options named = {.file = "file", .length = ALL};
    const struct options unnamed = {.length = ALL};
    struct source *source = NULL;
    struct shop shop;

    (void)state;
    for (int given = 0; given < 2; given++) {
        lay_out();
        int fd = given ? open("file", O_RDONLY | O_CLOEXEC) : -1;
        assert_int_equal(open_file(&shop, given ? &unnamed : &named, fd), 0);
        assert_false(present(&shop)->is_copy);
        for (int i = 0; i < 3; i++) {
            write_at("file", i);
            assert_int_equal(
                source_refresh(sources_for(&shop.sources, 0), &source, &shop.problem), 0);
            assert_int_equal(source->is_copy, given);
        }
        sources_close(&shop.sources);
    }
}

/* The socket unit is gone: there is nothing to serve but what a process before has begun. */
static void test_no_sockets(void **state)
{
    const struct options options = {.file = "nothing", .length = ALL};
    struct handover handover = {
        .stored = {.table = -1, .witness = -1, .last_generation = 41}, .file_fd = -1};
    struct sources sources;
    struct problem problem;

    (void)state;
    assert_int_equal(sources_open(&sources, &options, &handover, &problem), 0);
    assert_int_equal(sources.n, 0);
    assert_null(sources.served);
    sources_close(&sources);
}

/* No opening has a number of which the store may have a file. */
static void test_generations(void **state)
{
    static const uint32_t lasts[] = {0, 1, 41, 0xfffffff0};
    const struct options options = {.file = "file", .length = ALL};
    struct source *source = NULL;

    (void)state;
    for (size_t i = 0; i < LENGTH(lasts); i++) {
        struct sources sources;
        struct problem problem;
        struct listener listeners[2] = {{.fd = -1, .name = "alpha"}, {.fd = -1, .name = "beta"}};
        struct handover handover = {.listeners = listeners,
            .n_listeners = 2,
            .stored = {.table = -1, .witness = -1, .last_generation = lasts[i]},
            .file_fd = -1};
        struct options both = options;
        lay_out();
        assert_int_equal(sources_open(&sources, &options, &handover, &problem), 0);
        assert_int_equal(sources_for(&sources, 0)->current->generation, lasts[i] + 1);
        for (uint32_t n = 2; n < 5; n++) {
            write_at("file", (off_t)n);
            assert_int_equal(source_refresh(sources_for(&sources, 0), &source, &problem), 0);
            assert_int_equal(source->generation, lasts[i] + n);
        }
        sources_close(&sources);
        make_below(); /* the files of a directory share the numbers */
        both.file = "below";
        assert_int_equal(sources_open(&sources, &both, &handover, &problem), 0);
        assert_int_equal(sources_for(&sources, 0)->current->generation, lasts[i] + 1);
        assert_int_equal(sources_for(&sources, 1)->current->generation, lasts[i] + 2);
        sources_close(&sources);
    }
}

static void test_mtime(void **state)
{
    static const struct {
        time_t seconds;
        long ns;
        int64_t mtime;
    } cases[] = {
        {0, 0, 0},
        {0, 1, 1},
        {1, 0, CLOCK_SECOND},
        {-1, 999999999, -1},
        {1000000000, 1, MTIME},
        {9223372036, 854775807, INT64_MAX}, /* the year 2262 */
        {9223372036, 854775808, INT64_MIN},
        {-9223372037, 145224192, INT64_MIN},
    };

    (void)state;
    for (size_t i = 0; i < LENGTH(cases); i++) {
        struct stat status = {.st_mtim = {.tv_sec = cases[i].seconds, .tv_nsec = cases[i].ns}};
        assert_true(source_mtime(&status) == cases[i].mtime);
    }
}

/* ---- a directory ---- */

static void make_below(void)
{
    char target[200];

    (void)mkdir("below", 0755);
    (void)mkdir("below/sub", 0755);
    (void)unlink("below/absolute");
    (void)snprintf(target, sizeof(target), "%s/below/alpha", directory);
    (void)symlink(target, "below/absolute");
    (void)symlink("sub/../alpha", "below/inner");
    (void)symlink("../file", "below/up");
    (void)symlink("loop", "below/loop");
    (void)unlink("below/magic");
    (void)symlink("/proc/self/fd/0", "below/magic");
    (void)mkfifo("below/fifo", 0644);
    assert_int_equal(close(open("below/alpha", O_RDWR | O_CREAT | O_CLOEXEC, 0644)), 0);
    assert_int_equal(close(open("below/beta", O_RDWR | O_CREAT | O_CLOEXEC, 0644)), 0);
    assert_int_equal(close(open("below/sub/deep", O_RDWR | O_CREAT | O_CLOEXEC, 0644)), 0);
    assert_int_equal(truncate("below/alpha", 10), 0);
    assert_int_equal(truncate("below/beta", 20), 0);
    assert_int_equal(truncate("below/sub/deep", 30), 0);
}

struct name_below {
    const char *name;
    const char *below;
    int openat2_error;
    int error;
    int status;
    const char *says[2];
    off_t size;
};

static const struct name_below names_below[] = {
    {"a file", "alpha", 0, 0, 0, {NULL}, 10},
    {"a file of a directory in it", "sub/deep", 0, 0, 0, {NULL}, 30},
    {"down and up again", "sub/../beta", 0, 0, 0, {NULL}, 20},
    {"a link that stays", "inner", 0, 0, 0, {NULL}, 10},
    {"a name with an odd look", "./alpha", 0, 0, 0, {NULL}, 10},
    {"..", "..", 0, EXDEV, EX_NOINPUT, {"'below/..'", "out of the served directory"}, 0},
    {"a file of the parent", "../file", 0, EXDEV, EX_NOINPUT,
        {"'below/../file'", "out of the served directory"}, 0},
    {"out and in again", "../below/alpha", 0, EXDEV, EX_NOINPUT, {"out of the served"}, 0},
    {"a link that leads out", "up", 0, EXDEV, EX_NOINPUT, {"'below/up'", "out of the served"}, 0},
    {"an absolute link, although it leads in", "absolute", 0, EXDEV, EX_NOINPUT,
        {"'below/absolute'", "out of the served"}, 0},
    {"a link of /proc", "magic", 0, EXDEV, EX_NOINPUT, {"'below/magic'"}, 0},
    {"an absolute name", "/etc/passwd", 0, EXDEV, EX_NOINPUT, {"out of the served directory"}, 0},
    {"missing", "gamma", 0, ENOENT, EX_NOINPUT, {"'below/gamma'", "create it"}, 0},
    {"the default of systemd", "unknown", 0, ENOENT, EX_NOINPUT, {"'below/unknown'"}, 0},
    {"no name", "", 0, ENOENT, EX_NOINPUT, {"'below/'"}, 0},
    {"itself", ".", 0, EINVAL, EX_NOINPUT, {"'below/.' is a directory"}, 0},
    {"a directory in it", "sub", 0, EINVAL, EX_NOINPUT, {"'below/sub' is a directory"}, 0},
    {"a FIFO", "fifo", 0, EINVAL, EX_NOINPUT, {"'below/fifo' is a pipe"}, 0},
    {"a link to itself", "loop", 0, ELOOP, EX_NOINPUT, {"'below/loop'"}, 0},
    {"no openat2", "alpha", ENOSYS, 0, 0, {NULL}, 10},
    {"no openat2, a file of a directory in it", "sub/deep", ENOSYS, ENOSYS, EX_NOINPUT,
        {"'below/sub/deep'", "Linux 5.6"}, 0},
    {"no openat2, a name with an odd look", "./alpha", ENOSYS, ENOSYS, EX_NOINPUT, {"Linux 5.6"},
        0},
    {"no openat2, ..", "..", ENOSYS, ENOSYS, EX_NOINPUT, {"'below/..'", "Linux 5.6"}, 0},
    {"no openat2, itself", ".", ENOSYS, ENOSYS, EX_NOINPUT, {"'below/.'", "Linux 5.6"}, 0},
    {"no openat2, a file of the parent", "../file", ENOSYS, ENOSYS, EX_NOINPUT, {"Linux 5.6"}, 0},
    {"no openat2, an absolute name", "/etc/passwd", ENOSYS, ENOSYS, EX_NOINPUT, {"Linux 5.6"}, 0},
    {"no openat2, a link that stays", "inner", ENOSYS, ELOOP, EX_NOINPUT, {"'below/inner'"}, 0},
    {"no openat2, a link that leads out", "up", ENOSYS, ELOOP, EX_NOINPUT, {"'below/up'"}, 0},
    {"no openat2, an absolute link", "absolute", ENOSYS, ELOOP, EX_NOINPUT, {"'below/absolute'"},
        0},
    {"no openat2, a link of /proc", "magic", ENOSYS, ELOOP, EX_NOINPUT, {"'below/magic'"}, 0},
    {"no openat2, missing", "gamma", ENOSYS, ENOENT, EX_NOINPUT, {"'below/gamma'", "create it"}, 0},
    {"no openat2, no name", "", ENOSYS, ENOENT, EX_NOINPUT, {"'below/'"}, 0},
    {"no openat2, a directory in it", "sub", ENOSYS, EINVAL, EX_NOINPUT,
        {"'below/sub' is a directory"}, 0},
    {"no openat2, a FIFO", "fifo", ENOSYS, EINVAL, EX_NOINPUT, {"'below/fifo' is a pipe"}, 0},
    {"no descriptor left", "alpha", EMFILE, EMFILE, EX_OSERR, {"Too many open files"}, 0},
};

static void test_name_below(void **state)
{
    const struct name_below *c = *state;
    const struct options options = {.file = "below", .length = ALL};
    const char *const names[] = {"beta", c->below, "beta"};
    int descriptors = count_descriptors();
    struct shop shop;

    make_file(SIZE);
    make_below();
    fake.openat2_error = c->openat2_error;
    int r = open_shop(&shop, &options, 3, names, -1);
    fake.openat2_error = 0;
    if (c->error == 0) {
        if (r < 0)
            fail_msg("%s", shop.problem.text);
        assert_true(sources_for(&shop.sources, 1)->current->end == c->size);
        sources_close(&shop.sources);
    } else {
        char socket[100];
        /* Which of the units it is: the name, and the address. */
        int which = c->openat2_error == EMFILE ? 0 : 1;
        (void)snprintf(socket, sizeof(socket), "(FileDescriptorName=%s, the socket ADDRESS-%d)",
            names[which], which);
        check_refusal(r, c->error, c->status, c->says, &shop.problem);
        assert_non_null(strstr(shop.problem.text, socket));
        check_empty(&shop);
    }
    assert_int_equal(count_descriptors(), descriptors);
}

/* What was renamed elsewhere meanwhile is no fault of the file's; but nobody tries for ever. */
static void test_busy_names(void **state)
{
    static const char *const names[] = {"alpha"};
    const struct options options = {.file = "below", .length = ALL};

    (void)state;
    make_below();
    for (int again = 0; again <= 66; again++) {
        struct shop shop;
        fake.openat2_again = again;
        fake.openat2s = 0;
        int r = open_shop(&shop, &options, 1, names, -1);
        fake.openat2_again = 0;
        assert_int_equal(r, again < 64 ? 0 : -EAGAIN);
        assert_int_equal(fake.openat2s, again < 64 ? again + 1 : 64);
        sources_close(&shop.sources);
    }
}

/* Each has its own, also two of the same name: what the one runs into is not the other's. */
static void test_file_of_each(void **state)
{
    static const char *const names[] = {"alpha", "beta", "alpha"};
    const struct options options = {.file = "below", .length = ALL};
    struct source *source = NULL;
    struct shop shop;

    (void)state;
    make_below();
    assert_int_equal(open_shop(&shop, &options, 3, names, -1), 0);
    assert_int_equal(shop.sources.n, 3);
    assert_string_equal(sources_for(&shop.sources, 0)->current->name, "below/alpha");
    assert_string_equal(sources_for(&shop.sources, 1)->current->name, "below/beta");
    assert_ptr_not_equal(
        sources_for(&shop.sources, 0)->current, sources_for(&shop.sources, 2)->current);
    assert_int_equal(unlink("below/alpha"), 0);
    assert_int_equal(
        source_refresh(sources_for(&shop.sources, 0), &source, &shop.problem), -ENOENT);
    assert_int_equal(source_refresh(sources_for(&shop.sources, 1), &source, &shop.problem), 0);
    assert_true(source->end == 20);
    make_below();
    assert_int_equal(rename("below/beta", "below/alpha"), 0);
    assert_int_equal(source_refresh(sources_for(&shop.sources, 2), &source, &shop.problem), 0);
    assert_true(source->end == 20);
    sources_close(&shop.sources);
}

static void test_connection_without_name(void **state)
{
    const struct options options = {.file = "below", .length = ALL};
    struct shop shop;

    (void)state;
    make_below();
    assert_int_equal(open_shop(&shop, &options, 2, NULL, -1), -EINVAL);
    assert_int_equal(shop.problem.status, EX_NOINPUT);
    assert_non_null(strstr(shop.problem.text, "'below' is a directory; name a regular file"));
    assert_non_null(strstr(shop.problem.text, "PEER-0"));
    assert_non_null(strstr(shop.problem.text, "FileDescriptorName="));
    check_empty(&shop);
}

/* Which of several connections it was that has no file. */
static void test_connection_without_file(void **state)
{
    const struct options options = {.file = "below", .length = ALL};
    struct shop shop;

    (void)state;
    make_below();
    memset(&shop, 0, sizeof(shop));
    shop.connections[0] = (struct connection){.fd = -1, .name = "alpha", .peer = "PEER-0"};
    shop.connections[1] = (struct connection){.fd = -1, .name = "gamma", .peer = "PEER-1"};
    shop.handover =
        (struct handover){.connections = shop.connections, .n_connections = 2, .file_fd = -1};
    assert_int_equal(sources_open(&shop.sources, &options, &shop.handover, &shop.problem), -ENOENT);
    assert_int_equal(shop.problem.status, EX_NOINPUT);
    assert_non_null(strstr(shop.problem.text, "cannot open 'below/gamma'"));
    assert_non_null(strstr(shop.problem.text, "(FileDescriptorName=gamma, the socket PEER-1)"));
    check_empty(&shop);
}

static void test_directory_and_file(void **state)
{
    static const char *const names[] = {"alpha"};
    const struct options options = {.file = "below", .length = ALL};
    struct shop shop;

    (void)state;
    make_file(SIZE);
    make_below();
    int fd = open("file", O_RDONLY | O_CLOEXEC);
    assert_int_equal(open_shop(&shop, &options, 1, names, fd), -EINVAL);
    assert_int_equal(shop.problem.status, EX_USAGE);
    assert_non_null(strstr(shop.problem.text, "FILE is given ('below')"));
    check_empty(&shop);
    assert_int_equal(close(fd), 0);
}

static void test_one_file_for_all(void **state)
{
    static const char *const names[] = {"alpha", "beta", "gamma"};
    const struct options options = {.file = "file", .length = ALL};
    struct shop shop;

    (void)state;
    make_file(SIZE);
    assert_int_equal(open_shop(&shop, &options, 3, names, -1), 0);
    assert_int_equal(shop.sources.n, 1);
    for (size_t i = 0; i < 3; i++)
        assert_ptr_equal(sources_for(&shop.sources, i), shop.sources.served);
    sources_close(&shop.sources);
}

/* ---- is it in memory? ---- */

#define MIB ((off_t)1 << 20)

struct ready {
    const char *name;
    off_t size;
    off_t cached; /* bytes from 0 that are in memory */
    off_t from;
    off_t to;
    off_t end;
    int64_t seek; /* ns; 0: before anybody has looked twice */
    int ready_error;
    int fadvise_error;
    bool ready;
    off_t advised_from;
    off_t advised_to; /* 0: nobody has asked */
};

static const struct ready readies[] = {
    {"all is in memory", 50 * MIB, 50 * MIB, 0, MIB, 50 * MIB, 1, 0, 0, true, 0, 0},
    {"all up to 8 MiB ahead", 50 * MIB, 8 * MIB, 0, MIB, 50 * MIB, 1, 0, 0, true, 0, 0},
    {"this turn, not what is ahead", 50 * MIB, MIB, 0, MIB, 50 * MIB, 1, 0, 0, true, 0, 8 * MIB},
    {"all but the last byte of this turn", 50 * MIB, MIB - 1, 0, MIB, 50 * MIB, 1, 0, 0, false, 0,
        8 * MIB},
    {"nothing of it", 50 * MIB, 3 * MIB, 3 * MIB, 4 * MIB, 50 * MIB, 1, 0, 0, false, 3 * MIB,
        11 * MIB},
    {"not beyond the end of the promise", 50 * MIB, 0, 0, MIB, 2 * MIB, 1, 0, 0, false, 0, 2 * MIB},
    {"not beyond the end of the file", 2 * MIB + 1, 0, MIB, 2 * MIB, 2 * MIB + 1, 1, 0, 0, false,
        MIB, 2 * MIB + 1},
    {"the last byte", MIB, MIB - 1, MIB - 1, MIB, MIB, 1, 0, 0, false, MIB - 1, MIB},
    {"a single byte", 1, 0, 0, 1, 1, 1, 0, 0, false, 0, 1},
    {"no byte", MIB, 0, MIB, MIB, MIB, 1, 0, 0, true, 0, 0},
    {"an empty file", 0, 0, 0, 0, 0, 1, 0, 0, true, 0, 0},
    {"a part in the middle", 50 * MIB, 0, 20 * MIB, 20 * MIB + 5, 20 * MIB + 5, 1, 0, 0, false,
        20 * MIB, 20 * MIB + 5},
    {"it was truncated: sendfile must tell", MIB, 0, 2 * MIB, 3 * MIB, 4 * MIB, 1, 0, 0, true, 0,
        0},
    {"the disk was quick", 50 * MIB, 0, 0, MIB, 50 * MIB, 0, 0, 0, true, 0, 8 * MIB},
    {"fadvise fails", 50 * MIB, 0, 0, MIB, 50 * MIB, 0, 0, EINVAL, false, 0, 8 * MIB},
    {"the file system cannot tell", 50 * MIB, 0, 0, MIB, 50 * MIB, 1, EOPNOTSUPP, 0, true, 0, 0},
    {"Linux before 4.14", 50 * MIB, 0, 0, MIB, 50 * MIB, 1, EINVAL, 0, true, 0, 0},
    {"Linux before 4.6", 50 * MIB, 0, 0, MIB, 50 * MIB, 1, ENOSYS, 0, true, 0, 0},
    {"reading fails: sendfile must tell", 50 * MIB, 0, 0, MIB, 50 * MIB, 1, EIO, 0, true, 0, 0},
};

static void test_ready(void **state)
{
    const struct ready *c = *state;
    struct source source;

    kernel_reset(&source, c->size);
    kernel.file.on_disk = true;
    kernel.file.cached = c->cached;
    kernel.file.seek = c->seek;
    kernel.file.ready_error = c->ready_error;
    kernel.file.fadvise_error = c->fadvise_error;
    assert_int_equal(source_ready(&source, c->from, c->to, c->end), c->ready);
    if (c->advised_to == 0) {
        assert_int_equal(kernel.file.advices, 0);
        return;
    }
    assert_true(kernel.file.advised_from == c->advised_from);
    assert_true(kernel.file.advised_to == c->advised_to);
}

/* posix_fadvise(2) looks at each page: what is on its way need not be asked for again. */
static void test_each_page_asked_once(void **state)
{
    const off_t size = 200 * MIB + 12345;
    struct source source;
    off_t waits = 0;

    (void)state;
    kernel_reset(&source, size);
    kernel.file.on_disk = true;
    kernel.file.seek = 3 * CLOCK_MS;
    for (off_t at = 0; at < size;) {
        off_t to = at + MIB < size ? at + MIB : size;
        kernel.now += CLOCK_MS; /* the client takes 1 MiB in a millisecond */
        if (source_ready(&source, at, to, size))
            at = to;
        else
            waits++;
    }
    assert_true(waits > 0 && waits < 10);
    assert_true(kernel.file.advised >= size);
    assert_true(kernel.file.advised <= size + waits * MIB);
    assert_true(kernel.file.advised_to == size);
}

/* Memory was short, and what had been read is gone: whoever waits for it must ask once more. */
static void test_gone_again(void **state)
{
    struct source source;

    (void)state;
    kernel_reset(&source, 50 * MIB);
    kernel.file.on_disk = true;
    kernel.file.seek = CLOCK_MS;
    for (int i = 0; i < 5; i++) {
        assert_false(source_ready(&source, 0, MIB, 50 * MIB));
        kernel.now += CLOCK_MS;
        assert_true(source_ready(&source, 0, MIB, 50 * MIB));
        kernel.file.cached = 0;
        kernel.file.n_reads = 0;
    }
}

/* ---- where it may be found from now on ---- */

enum served_as { AS_PATH, AS_DIRECTORY, AS_GIVEN, AS_NOTHING };

struct whereabouts {
    const char *name;
    enum served_as as;
    const char *file;
    const char *link_to; /* what the symbolic link "way" leads to; below the test's directory */
    int open_error;
    int open_fails;
    bool no_memory;
    bool no_duplicate;
    const char *directories[SOURCES_DIRECTORIES + 1];
};

static const struct whereabouts whereabouts[] = {
    {"a name without a slash", AS_PATH, "file", NULL, 0, 0, false, false, {".", "."}},
    {"a path", AS_PATH, "below/alpha", NULL, 0, 0, false, false, {"below", "below"}},
    {"a path of two directories", AS_PATH, "below/sub/deep", NULL, 0, 0, false, false,
        {"below/sub", "below/sub"}},
    {"a path with an odd look", AS_PATH, ".//below/./sub//../alpha", NULL, 0, 0, false, false,
        {"below", "below"}},
    {"a file in /", AS_PATH, "/decant-has-no-such-file", NULL, 0, 0, false, false, {"/"}},
    {"a link that stays", AS_PATH, "way", "file", 0, 0, false, false, {".", "."}},
    {"a link that leads down", AS_PATH, "way", "below/sub/deep", 0, 0, false, false,
        {".", "below/sub"}},
    {"a link of another directory", AS_PATH, "below/up", NULL, 0, 0, false, false, {"below", "."}},
    {"an absolute link", AS_PATH, "way", "@/below/alpha", 0, 0, false, false, {".", "below"}},
    {"an absolute link to another file system", AS_PATH, "way", "/proc/version", 0, 0, false, false,
        {".", "/proc"}},
    {"a link to a link", AS_PATH, "way", "below/absolute", 0, 0, false, false, {".", "below"}},
    {"a dangling link", AS_PATH, "way", "nowhere", 0, 0, false, false, {"."}},
    {"a link to itself", AS_PATH, "below/loop", NULL, 0, 0, false, false, {"below"}},
    {"missing", AS_PATH, "below/nothing", NULL, 0, 0, false, false, {"below"}},
    {"a directory that is missing", AS_PATH, "nowhere/file", NULL, 0, 0, false, false, {NULL}},
    {"a file taken for a directory", AS_PATH, "file/x", NULL, 0, 0, false, false, {NULL}},
    {"the first cannot be opened", AS_PATH, "way", "below/alpha", EMFILE, 1, false, false,
        {"below"}},
    {"the second cannot be opened", AS_PATH, "way", "below/alpha", EMFILE, 2, false, false, {"."}},
    {"neither can be opened", AS_PATH, "way", "below/alpha", EMFILE, 0, false, false, {NULL}},
    {"no memory, and no slash", AS_PATH, "way", "below/alpha", 0, 0, true, false, {"."}},
    {"no memory", AS_PATH, "below/alpha", NULL, 0, 0, true, false, {NULL}},
    {"a served directory", AS_DIRECTORY, "below", NULL, 0, 0, false, false, {"below"}},
    {"a served directory, no descriptor left", AS_DIRECTORY, "below", NULL, 0, 0, false, true,
        {NULL}},
    {"a handed-over file", AS_GIVEN, "file", NULL, 0, 0, false, false, {NULL}},
    {"nothing is served", AS_NOTHING, "file", NULL, 0, 0, false, false, {NULL}},
    {"no FILE at all, beside what is stored", AS_PATH, NULL, NULL, 0, 0, false, false, {NULL}},
};

/* The shop as it is opened: a missing file is none of this test's business. */
static void open_for(struct shop *shop, const struct options *options, enum served_as as)
{
    static const char *const names[] = {"alpha", "beta"};

    memset(shop, 0, sizeof(*shop));
    for (size_t i = 0; i < LENGTH(names); i++)
        shop->listeners[i] = (struct listener){.fd = -1, .name = names[i]};
    shop->handover = (struct handover){
        .listeners = shop->listeners,
        .n_listeners = as == AS_NOTHING ? 0 : LENGTH(names),
        .file_fd = as == AS_GIVEN ? open("file", O_RDONLY | O_CLOEXEC) : -1,
        .stored.n_sockets = 1,
    };
    assert_int_equal(sources_open(&shop->sources, options, &shop->handover, &shop->problem), 0);
}

static void make_way(const char *to)
{
    char target[200];

    (void)unlink("way");
    if (!to)
        return;
    (void)snprintf(
        target, sizeof(target), "%s%s", to[0] == '@' ? directory : "", to + (to[0] == '@'));
    assert_int_equal(symlink(target, "way"), 0);
}

static void test_whereabouts(void **state)
{
    const struct whereabouts *c = *state;
    const struct options options = {.file = c->as == AS_GIVEN ? NULL : c->file, .length = ALL};
    int fds[SOURCES_DIRECTORIES] = {-1, -1};
    struct shop shop;

    make_file(SIZE);
    make_below();
    make_way(c->link_to);
    open_for(&shop, &options, c->as);
    int descriptors = count_descriptors();
    fake.open_error = c->open_error;
    fake.open_fails = c->open_fails;
    fake.no_strndup = c->no_memory;
    fake.no_duplicate = c->no_duplicate;
    size_t n = sources_directories(&shop.sources, fds);
    fake.open_error = fake.open_fails = 0;
    fake.no_strndup = fake.no_duplicate = false;
    assert_int_equal(count_descriptors(), descriptors + (int)n);
    for (size_t i = 0; i < n; i++) {
        struct stat is;
        struct stat should;
        if (!c->directories[i])
            fail_msg("there are %zu", n);
        assert_int_equal(fstat(fds[i], &is), 0);
        assert_int_equal(stat(c->directories[i], &should), 0);
        if (is.st_dev != should.st_dev || is.st_ino != should.st_ino)
            fail_msg("number %zu is not %s", i, c->directories[i]);
        assert_true(S_ISDIR(is.st_mode));
        assert_int_equal(fcntl(fds[i], F_GETFD), FD_CLOEXEC);
        assert_int_equal(fcntl(fds[i], F_GETFL) & O_PATH, O_PATH); /* a name, and no more */
        assert_int_equal(close(fds[i]), 0);
    }
    assert_null(c->directories[n]);
    /* They are the caller's alone: what is served goes on without. */
    if (c->as == AS_DIRECTORY)
        assert_int_equal(fcntl(shop.sources.directory, F_GETFD), FD_CLOEXEC);
    sources_close(&shop.sources);
    make_way(NULL);
}

struct exclusion {
    const char *name;
    int open_error;
    int access_error; /* 0: it is allowed */
    bool below;       /* it is a file of a served directory */
    int error;
    const char *says[2];
    unsigned long asked; /* calls of access(2) */
};

static const struct exclusion exclusions[] = {
    {"open says EACCES, and access allows", EACCES, 0, false, ERESTART,
        {"'file' leads to another directory", "started anew"}, 1},
    {"and access says EACCES, too", EACCES, EACCES, false, EACCES,
        {"cannot open 'file'", "let this user read it"}, 1},
    {"and access says ENOENT", EACCES, ENOENT, false, EACCES, {"cannot open 'file'"}, 1},
    {"and access says EIO", EACCES, EIO, false, EACCES, {"cannot open 'file'"}, 1},
    {"open says EPERM", EPERM, 0, false, EPERM, {"cannot open 'file'", "let this user read it"}, 0},
    {"open says ENOENT", ENOENT, 0, false, ENOENT, {"cannot open 'file'", "create it"}, 0},
    {"open says EMFILE", EMFILE, 0, false, EMFILE, {"cannot open 'file'"}, 0},
    {"openat2 says EACCES", EACCES, 0, true, EACCES, {"cannot open 'below/alpha'"}, 0},
};

/* What is not landlock's doing is no reason for a new process, which would fail as well. */
/* As sandbox_enter() does. */
static void settle(const struct sources *sources)
{
    int directories[SOURCES_DIRECTORIES];

    for (size_t n = sources_directories(sources, directories); n > 0; n--)
        assert_int_equal(close(directories[n - 1]), 0);
}

static void test_exclusion(void **state)
{
    const struct exclusion *c = *state;
    const struct options options = {.file = c->below ? "below" : "file", .length = ALL};
    static const char *const names[] = {"alpha"};
    int descriptors = count_descriptors();
    struct source *source = NULL;
    struct shop shop;

    make_file(SIZE);
    make_below();
    assert_int_equal(open_shop(&shop, &options, 1, names, -1), 0);
    struct source *old = present(&shop);
    source_hold(old);
    if (c->below)
        assert_int_equal(truncate("below/alpha", 11), 0);
    else
        make_file(SIZE + 1); /* in the place of the one that is open */
    fake.open_error = fake.openat2_error = c->open_error;
    fake.access_error = c->access_error;
    fake.accessible = c->access_error == 0;
    fake.asked = 0;
    /* As long as nothing is settled, whatever keeps us from it is no sandbox of ours. */
    int first = source_refresh(sources_for(&shop.sources, 0), &source, &shop.problem);
    assert_int_equal(first, -c->open_error);
    assert_int_equal(fake.asked, 0);
    fake.open_error = fake.openat2_error = 0;
    settle(&shop.sources);
    fake.open_error = fake.openat2_error = c->open_error;
    for (unsigned long i = 1; i <= 3; i++) {
        int r = source_refresh(sources_for(&shop.sources, 0), &source, &shop.problem);
        check_refusal(
            r, c->error, c->open_error == EMFILE ? EX_OSERR : EX_NOINPUT, c->says, &shop.problem);
        assert_int_equal(fake.asked, i * c->asked);
    }
    assert_null(source);
    fake.open_error = fake.openat2_error = fake.access_error = 0;
    fake.accessible = false;
    assert_int_equal(old->transfers, 1); /* who has it goes on with it */
    source_release(old);
    sources_close(&shop.sources);
    assert_int_equal(count_descriptors(), descriptors);
}

static void test_type_names(void **state)
{
    (void)state;
    assert_string_equal(source_type_name(S_IFREG | 0644), "a regular file");
    assert_string_equal(source_type_name(S_IFDIR), "a directory");
    assert_string_equal(source_type_name(S_IFIFO), "a pipe");
    assert_string_equal(source_type_name(S_IFSOCK), "a socket");
    assert_string_equal(source_type_name(S_IFCHR), "a device");
    assert_string_equal(source_type_name(S_IFBLK), "a device");
}

int main(void)
{
    static struct suite suite;

    if (!mkdtemp(directory) || chdir(directory) < 0)
        return 1;
    make_others();
    for (size_t i = 0; i < LENGTH(openings); i++)
        suite_add(&suite, test_opening, &openings[i], "open: %s", openings[i].name);
    suite_add(&suite, test_unreadable, NULL, "open: not for this user");
    suite_add(&suite, test_hints, NULL, "open: what to think of in a unit");
    suite_add(&suite, test_open_error, NULL, "open: whose fault it is");
    suite_add(&suite, test_long_name, NULL, "open: a name of 1000 bytes");
    for (size_t i = 0; i < LENGTH(adoptions); i++)
        suite_add(&suite, test_adoption, &adoptions[i], "handed over: %s", adoptions[i].name);
    suite_add(&suite, test_stdin_beside_file, NULL, "handed over: FILE, and a file on stdin");
    suite_add(&suite, test_stdin_alone, NULL, "handed over: a file on stdin");
    suite_add(&suite, test_adopted_position, NULL, "handed over: its position does not matter");
    for (size_t i = 0; i < LENGTH(accidents); i++)
        suite_add(&suite, test_accident, &accidents[i], "accident: %s", accidents[i].name);
    for (size_t i = 0; i < LENGTH(checks); i++)
        suite_add(&suite, test_check, &checks[i], "check: %s", checks[i].name);
    for (size_t i = 0; i < LENGTH(refreshments); i++)
        suite_add(&suite, test_refresh, &refreshments[i], "refresh: %s", refreshments[i].name);
    for (size_t i = 0; i < LENGTH(relapses); i++)
        suite_add(&suite, test_relapse, &relapses[i], "refresh: allowed, %s", relapses[i].name);
    suite_add(&suite, test_log_that_grows, NULL, "refresh: a log that grows a thousand times");
    suite_add(&suite, test_missing_and_back, NULL, "refresh: missing, and back");
    suite_add(&suite, test_no_memory, NULL, "refresh: no memory");
    for (size_t i = 0; i < LENGTH(resumptions); i++)
        suite_add(&suite, test_resumption, &resumptions[i], "resumed: %s", resumptions[i].name);
    suite_add(&suite, test_resumed_name, NULL, "resumed: what it is called without /proc");
    suite_add(&suite, test_resumed_names, NULL, "resumed: what it is called in a unit");
    suite_add(&suite, test_long_resumed_name, NULL, "resumed: a name of 999 bytes");
    suite_add(&suite, test_resumption_fails, NULL, "resumed: no memory, or fstat fails");
    suite_add(&suite, test_current, NULL, "refresh: the present one outlives its transfers");
    suite_add(&suite, test_missing_beside_stored, NULL, "open: missing, and transfers are stored");
    suite_add(&suite, test_foreign_file, NULL, "open: FILE, and a file of somebody else");
    for (size_t i = 0; i < LENGTH(unions); i++)
        suite_add(&suite, test_union, &unions[i], "united: %s", unions[i].name);
    suite_add(&suite, test_union_of_several, NULL, "united: of several names");
    suite_add(&suite, test_copies, NULL, "refresh: which openings are copies");
    suite_add(&suite, test_no_sockets, NULL, "open: no socket at all");
    suite_add(&suite, test_generations, NULL, "open: numbers that the store has not");
    suite_add(&suite, test_mtime, NULL, "mtime: in 64 bits");
    suite_add(&suite, test_openings, NULL, "refresh: 5000 steps, and no opening is lost");
    for (size_t i = 0; i < LENGTH(names_below); i++)
        suite_add(&suite, test_name_below, &names_below[i], "directory: %s", names_below[i].name);
    suite_add(&suite, test_busy_names, NULL, "directory: names are renamed meanwhile");
    suite_add(&suite, test_file_of_each, NULL, "directory: a file for each socket");
    suite_add(&suite, test_connection_without_name, NULL, "directory: a connection without a name");
    suite_add(&suite, test_connection_without_file, NULL, "directory: a connection without a file");
    suite_add(&suite, test_directory_and_file, NULL, "directory: and a handed-over file");
    suite_add(&suite, test_one_file_for_all, NULL, "one file for all sockets");
    for (size_t i = 0; i < LENGTH(readies); i++)
        suite_add(&suite, test_ready, &readies[i], "ready: %s", readies[i].name);
    suite_add(&suite, test_each_page_asked_once, NULL, "ready: each page is asked for once");
    suite_add(&suite, test_gone_again, NULL, "ready: read, and gone again");
    for (size_t i = 0; i < LENGTH(whereabouts); i++)
        suite_add(
            &suite, test_whereabouts, &whereabouts[i], "directories: %s", whereabouts[i].name);
    for (size_t i = 0; i < LENGTH(exclusions); i++)
        suite_add(&suite, test_exclusion, &exclusions[i], "shut out: %s", exclusions[i].name);
    suite_add(&suite, test_type_names, NULL, "type names");
    int failed = suite_run(&suite, "source");
    static const char *const names[] = {"file", "second", "elsewhere", "new", "link", "dangling",
        "loop", "socket", "fifo", "below/alpha", "below/beta", "below/inner", "below/up",
        "below/absolute", "below/magic", "below/loop", "below/fifo", "below/sub/deep"};
    for (size_t i = 0; i < LENGTH(names); i++)
        (void)unlink(names[i]);
    (void)rmdir("directory");
    (void)rmdir("below/sub");
    (void)rmdir("below");
    (void)chdir("/");
    (void)rmdir(directory);
    return failed;
}
