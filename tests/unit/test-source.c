/* SPDX-License-Identifier: MIT */

/*
 * What went wrong in others: open(2) of a FIFO that waits for ever, a file of /proc that says it
 * has 0 bytes and is then sent as an empty one, a log that grew behind the size that was promised,
 * and a replaced file whose old opening was called changed although not a byte of it was.
 */

#include "kernel.h"
#include "options.h"
#include "source.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
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
    bool no_flags;
} fake;

int __real_open64(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...)
{
    if (fake.open_error) {
        errno = fake.open_error;
        return -1;
    }
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
    struct problem problem = {0};
    struct source source;
    int lowest = dup(STDIN_FILENO);

    assert_int_equal(close(lowest), 0);
    make_file(c->size);
    int r = source_open(&source, &options, -1, &problem);
    if (c->error != 0) {
        check_refusal(r, c->error, c->status, c->says, &problem);
        assert_int_equal(source.fd, -1);
    } else {
        if (r != 0)
            fail_msg("%s", problem.text);
        assert_true(source.start == c->start);
        assert_true(source.end == c->end);
        assert_true(source.size == c->size);
        assert_string_equal(source.name, c->path);
        assert_int_equal(source_check(&source), 0);
        assert_int_equal(fcntl(source.fd, F_GETFL) & O_ACCMODE, O_RDONLY);
        assert_int_equal(fcntl(source.fd, F_GETFD), FD_CLOEXEC);
        source_close(&source);
        assert_int_equal(source.fd, -1);
        source_close(&source); /* once more does nothing */
    }
    int now_lowest = dup(STDIN_FILENO);
    assert_int_equal(close(now_lowest), 0);
    assert_int_equal(now_lowest, lowest); /* nothing is left open */
}

/* Root may read everything, so that somebody else has to try: in a process of their own. */
static void as_nobody(const char *path, const char *says)
{
    int status;
    pid_t child = fork();

    assert_true(child >= 0);
    if (child == 0) {
        const struct options options = {.file = path, .length = ALL};
        struct problem problem = {0};
        struct source source;
        if (geteuid() == 0 && (setgid(65534) < 0 || setuid(65534) < 0))
            exit(77);
        int r = source_open(&source, &options, -1, &problem);
        exit(r != -EACCES                                  ? 1
             : problem.status != EX_NOINPUT                ? 2
             : !strstr(problem.text, says)                 ? 3
             : !strstr(problem.text, "let this user read") ? 4
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
    struct problem problem = {0};
    struct source source;

    make_file(SIZE);
    int fd = open(c->path, c->flags | O_CLOEXEC);
    assert_true(fd >= 0);
    int r = source_open(&source, &options, fd, &problem);
    if (c->error != 0) {
        check_refusal(r, c->error, c->status, c->says, &problem);
        assert_int_equal(fcntl(fd, F_GETFD), -1); /* it was the source's to close */
        return;
    }
    assert_int_equal(r, 0);
    assert_int_equal(source.fd, fd);
    assert_true(source.end == SIZE);
    /* For people: what /proc knows. */
    assert_int_equal(strncmp(source.name, directory, strlen(directory)), 0);
    source_close(&source);
    assert_int_equal(fcntl(fd, F_GETFD), -1);
}

/* Its position may be anywhere, and is another's: it does not matter. */
static void test_adopted_position(void **state)
{
    const struct options options = {.offset = 10, .length = 20};
    struct problem problem;
    struct source source;

    (void)state;
    make_file(SIZE);
    int fd = open("file", O_RDONLY | O_CLOEXEC);
    assert_int_equal(lseek(fd, 500, SEEK_SET), 500);
    assert_int_equal(source_open(&source, &options, fd, &problem), 0);
    assert_true(source.start == 10);
    assert_true(source.end == 30);
    assert_int_equal(lseek(fd, 0, SEEK_CUR), 500);
    source_close(&source);
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
};

static void test_accident(void **state)
{
    const struct accident *c = *state;
    const struct options options = {.file = c->adopted ? NULL : "file", .length = ALL};
    struct problem problem = {0};
    struct source source;

    make_file(SIZE);
    int fd = c->adopted ? open("file", O_RDONLY | O_CLOEXEC) : -1;
    fake.pread_error = c->pread_error;
    fake.grow = c->grow;
    fake.no_proc = c->no_proc;
    fake.no_flags = c->no_flags;
    kernel.fstat_fails = c->fstat_fails;
    int r = source_open(&source, &options, fd, &problem);
    memset(&fake, 0, sizeof(fake));
    kernel.fstat_fails = 0;
    if (c->error != 0) {
        check_refusal(r, c->error, c->status, c->says, &problem);
        assert_int_equal(source.fd, -1);
        return;
    }
    assert_int_equal(r, 0);
    assert_true(source.end == SIZE); /* the promise is the size at open */
    /* A regular file that grows is no file of /proc: the check on the way will tell. */
    assert_int_equal(source_check(&source), c->grow ? -ESTALE : 0);
    source_close(&source);
}

/* A name of the longest sort is cut, for people, and opened in full. */
static void test_long_name(void **state)
{
    char path[1200] = "";
    const struct options options = {.file = path, .length = ALL};
    struct problem problem;
    struct source source;

    (void)state;
    make_file(SIZE);
    for (int i = 0; i < 500; i++)
        strcat(path, "./");
    strcat(path, "file");
    assert_int_equal(source_open(&source, &options, -1, &problem), 0);
    assert_int_equal(strlen(source.name), sizeof(source.name) - 1);
    source_close(&source);
    strcat(path, "-that-is-missing");
    assert_int_equal(source_open(&source, &options, -1, &problem), -ENOENT);
    assert_true(strlen(problem.text) < sizeof(problem.text));
}

/* A process without descriptors is no missing file, and a disk that fails is none either. */
static void test_open_error(void **state)
{
    static const struct {
        int error;
        int status;
    } cases[] = {{EMFILE, EX_OSERR}, {ENFILE, EX_OSERR}, {ENOMEM, EX_OSERR}, {EIO, EX_IOERR},
        {ENXIO, EX_NOINPUT}};
    const struct options options = {.file = "/proc/self/exe", .length = OPTIONS_TO_THE_END};

    (void)state;
    for (size_t i = 0; i < LENGTH(cases); i++) {
        struct source source;
        struct problem problem;
        fake.open_error = cases[i].error;
        assert_int_equal(source_open(&source, &options, -1, &problem), -cases[i].error);
        fake.open_error = 0;
        assert_int_equal(problem.status, cases[i].status);
        assert_non_null(strstr(problem.text, strerror(cases[i].error)));
        assert_int_equal(source.fd, -1);
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
        struct problem problem;
        struct source source;
        (void)unlink("second");
        (void)unlink("file");
        make_file(SIZE);
        int other = open("new", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
        assert_int_equal(close(other), 0);
        assert_int_equal(source_open(&source, &options, -1, &problem), 0);
        do_deed(c->deed, source.fd);
        assert_int_equal(source_check(&source), allow ? c->changes_allowed : c->unchanged_only);
        source_close(&source);
    }
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
    suite_add(&suite, test_open_error, NULL, "open: whose fault it is");
    suite_add(&suite, test_long_name, NULL, "open: a name of 1000 bytes");
    for (size_t i = 0; i < LENGTH(adoptions); i++)
        suite_add(&suite, test_adoption, &adoptions[i], "handed over: %s", adoptions[i].name);
    suite_add(&suite, test_adopted_position, NULL, "handed over: its position does not matter");
    for (size_t i = 0; i < LENGTH(accidents); i++)
        suite_add(&suite, test_accident, &accidents[i], "accident: %s", accidents[i].name);
    for (size_t i = 0; i < LENGTH(checks); i++)
        suite_add(&suite, test_check, &checks[i], "check: %s", checks[i].name);
    suite_add(&suite, test_type_names, NULL, "type names");
    int failed = suite_run(&suite, "source");
    static const char *const names[] = {
        "file", "second", "elsewhere", "new", "link", "dangling", "loop", "socket", "fifo"};
    for (size_t i = 0; i < LENGTH(names); i++)
        (void)unlink(names[i]);
    (void)rmdir("directory");
    (void)chdir("/");
    (void)rmdir(directory);
    return failed;
}
