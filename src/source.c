/* SPDX-License-Identifier: MIT */
#include "source.h"

#include "handover.h"
#include "options.h"
#include "transfer.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sysexits.h>
#include <unistd.h>

/* struct open_how, openat2(2), without <linux/openat2.h>, which musl has not. */
struct how_to_open {
    uint64_t flags;
    uint64_t mode;
    uint64_t resolve;
};

#define MOST_TRIES     64
#define NO_MAGIC_LINKS UINT64_C(0x02)
#define BENEATH        UINT64_C(0x08)

#ifndef RWF_NOWAIT /* musl before 1.2.5 */
#define RWF_NOWAIT 8
static ssize_t preadv2(int fd, const struct iovec *iov, int n, off_t at, int flags)
{
    return syscall(SYS_preadv2, fd, iov, n, (unsigned long)at, (unsigned long)((uint64_t)at >> 32),
        flags); /* where a long has 64 bits, the second half is not looked at */
}
#endif

/* How far ahead of a transfer the disk is asked to read: more gains nothing, less and it waits. */
#define AHEAD (8 * INT64_C(1048576))

/* And by how much at a time, once it is so far ahead: to ask for 4 MiB takes 1 ms by itself. */
#define ASK_STEP INT64_C(1048576)

/* Not every failure to open is the file's. */
static int status_of_open(int error)
{
    switch (error) {
    case EMFILE:
    case ENFILE:
    case ENOMEM:
        return EX_OSERR;
    case EIO:
        return EX_IOERR;
    default:
        return EX_NOINPUT;
    }
}

static bool is_one_part(const char *name)
{
    return !strchr(name, '/') && strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

/*
 * O_NONBLOCK, so that a FIFO without a writer does not hold us; O_NOCTTY, so that a terminal is not
 * adopted. Both are then refused, since they are not regular. Symbolic links are followed: where
 * FILE points is the admin's choice, but a name below a directory cannot lead out of it.
 */
static int open_name(const struct served *served)
{
    const uint64_t flags = O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
    struct how_to_open how = {.flags = flags, .resolve = BENEATH | NO_MAGIC_LINKS};

    if (served->directory < 0)
        return open(served->name, (int)flags);
    /* ENOSYS: before Linux 5.6, and in services of systemd with RestrictSUIDSGID=, which cannot see
     * its flags. A name of one part, and no link, cannot lead out of the directory either.
     * EAGAIN: anything was renamed anywhere while a ".." of a link was looked at; try again. */
    int fd = -1;
    for (int tries = 0; tries < MOST_TRIES; tries++) {
        fd = (int)syscall(SYS_openat2, served->directory, served->name, &how, sizeof(how));
        if (fd >= 0 || errno != EAGAIN)
            break;
    }
    if (fd < 0 && errno == ENOSYS && is_one_part(served->name))
        fd = openat(served->directory, served->name, (int)flags | O_NOFOLLOW);
    return fd;
}

/* Where this process may open files has been settled, sandbox.h, and a link has led elsewhere
 * since: access(2), unlike open(2), does not ask landlock. */
static bool is_shut_out(const struct served *served, int error)
{
    return error == EACCES && served->settled && access(served->name, R_OK) == 0;
}

/* How to mend it, and what else it may be in a service. */
static const struct mend {
    int error;
    const char *text;
    const char *in_unit;
} mends[] = {
    {ENOENT, "; create it, or correct the path",
        " (the unit sees only what is in its BindReadOnlyPaths=)"},
    {ENOTDIR, "; create it, or correct the path", ""},
    {EACCES, "; let this user read it, and enter its directories",
        " (chmod a+r and a+x, as nothing can belong to a DynamicUser=)"},
    {EPERM, "; let this user read it, and enter its directories", ""},
    {ENXIO, "; name a regular file", ""},
    {ELOOP, "; name a regular file", ""},
    {EXDEV, "; it leads out of the served directory", ""},
    {ENOSYS, "; to serve a directory takes Linux 5.6", ""},
    {0, "", ""},
};

static int refuse_name(
    const struct served *served, const struct source *source, int error, struct problem *problem)
{
    const struct mend *mend = mends;

    if (is_shut_out(served, error))
        return problem_set(problem, ERESTART, EX_NOINPUT,
            "'%s' leads to another directory than when decant was started, which its sandbox keeps "
            "it from; it ends, and can be started anew",
            source->name);
    while (mend->error != 0 && mend->error != error)
        mend++;
    return problem_set(problem, error, status_of_open(error),
        "cannot open '%s' as user %ju: %s%s%s", source->name, (uintmax_t)geteuid(), strerror(error),
        mend->text, served->in_unit ? mend->in_unit : "");
}

static const char *last_part(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

/*
 * What a descriptor of a file is called: for people only. One that a process before has opened in a
 * mount namespace of its own, as a service has, has lost the beginning of its path.
 */
static void name_given(struct source *source, int fd, const char *otherwise)
{
    char link[40];

    (void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, source->name, sizeof(source->name) - 1);
    source->name[n > 0 ? n : 0] = '\0';
    if (n <= 0 || strcmp(last_part(source->name), last_part(otherwise)) == 0) /* or no /proc here */
        (void)snprintf(source->name, sizeof(source->name), "%s", otherwise);
}

/* OpenFile= and StandardInput=file: hand over what the unit says, which may not be readable. */
static int adopt_given(struct source *source, int given, struct problem *problem)
{
    name_given(source, given, "the handed-over file");
    int flags = fcntl(given, F_GETFL);
    if (flags < 0 || (flags & O_PATH) || (flags & O_ACCMODE) == O_WRONLY)
        return problem_set(problem, EBADF, EX_NOINPUT,
            "%s was handed over as descriptor %d, which is not open for reading; "
            "use OpenFile=PATH:data:read-only",
            source->name, given);
    source->fd = fcntl(given, F_DUPFD_CLOEXEC, 0); /* each opening has one of its own to close */
    return source->fd < 0 ? problem_call(problem, "fcntl") : 0;
}

/*
 * The size of a file of /proc is 0 whatever it holds. A byte behind the end gives such a file away,
 * unless the file has only just grown.
 */
static int check_size(const struct source *source, struct problem *problem)
{
    char byte;
    struct stat now;

    ssize_t n = pread(source->fd, &byte, 1, source->size);
    if (n < 0) {
        int error = errno;
        return problem_set(
            problem, error, EX_IOERR, "cannot read '%s': %s", source->name, strerror(error));
    }
    if (n == 0 || fstat(source->fd, &now) < 0 || now.st_size > source->size)
        return 0;
    return problem_set(problem, EINVAL, EX_NOINPUT,
        "'%s' holds more than the %jd bytes that it gives as its size, "
        "as files of /proc do; serve a copy of it",
        source->name, (intmax_t)source->size);
}

static int set_range(struct source *source, const struct options *options, struct problem *problem)
{
    if (options->offset > source->size)
        return problem_set(problem, EINVAL, EX_USAGE,
            "--offset: %" PRId64 " is beyond the end of '%s', whose size is %jd bytes",
            options->offset, source->name, (intmax_t)source->size);
    source->start = (off_t)options->offset;
    source->end = source->size;
    if (options->length == OPTIONS_TO_THE_END)
        return 0;
    if (options->length > source->size - source->start)
        return problem_set(problem, EINVAL, EX_USAGE,
            "--length: %" PRId64 " from offset %" PRId64 " is beyond the end of '%s', "
            "whose size is %jd bytes",
            options->length, options->offset, source->name, (intmax_t)source->size);
    source->end = source->start + (off_t)options->length;
    return 0;
}

const char *source_type_name(mode_t mode)
{
    return S_ISREG(mode)    ? "a regular file"
           : S_ISDIR(mode)  ? "a directory"
           : S_ISFIFO(mode) ? "a pipe"
           : S_ISSOCK(mode) ? "a socket"
                            : "a device";
}

static int examine(struct source *source, const struct options *options, struct problem *problem)
{
    struct stat status;

    if (fstat(source->fd, &status) < 0) {
        int error = errno;
        return problem_set(
            problem, error, EX_NOINPUT, "cannot stat '%s': %s", source->name, strerror(error));
    }
    if (!S_ISREG(status.st_mode))
        return problem_set(problem, EINVAL, EX_NOINPUT, "'%s' is %s; name a regular file",
            source->name, source_type_name(status.st_mode));
    source->device = status.st_dev;
    source->inode = status.st_ino;
    source->size = status.st_size;
    source->mtime = source_mtime(&status);
    source->allow_changes = options->allow_changes;
    int r = check_size(source, problem);
    return r < 0 ? r : set_range(source, options, problem);
}

static int open_source(struct source *source, const struct served *served, struct problem *problem)
{
    int r;

    source->fd = -1;
    if (served->given >= 0) {
        r = adopt_given(source, served->given, problem);
    } else if (served->directory < 0 && served->name[0] == '\0') {
        r = problem_set(problem, EINVAL, EX_USAGE,
            "FILE is missing, and none was handed over (does that of OpenFile= exist?); "
            "decant [OPTION...] FILE");
    } else {
        (void)snprintf(source->name, sizeof(source->name), "%s%s%s",
            served->directory < 0 ? "" : served->options->file, served->directory < 0 ? "" : "/",
            served->name);
        source->fd = open_name(served);
        r = source->fd < 0 ? refuse_name(served, source, errno, problem) : 0;
    }
    return r < 0 ? r : examine(source, served->options, problem);
}

static void close_source(struct source *source)
{
    if (source && source->fd >= 0)
        (void)close(source->fd); /* read-only: there is nothing that close(2) could lose */
    free(source);
}

/* No longer what new clients get; gone at once, unless transfers still run with it. */
static void retire(struct served *served)
{
    struct source *source = served->current;

    served->current = NULL;
    if (!source)
        return;
    source->current = false;
    if (source->transfers == 0)
        close_source(source);
}

/* What a new client would get now. */
static int look_at(const struct served *served, struct stat *status)
{
    if (served->given >= 0)
        return fstat(served->given, status);
    if (served->directory >= 0)
        return fstatat(served->directory, served->name, status, 0);
    return stat(served->name, status);
}

int64_t source_mtime(const struct stat *status)
{
    return (
        int64_t)((uint64_t)status->st_mtim.tv_sec * 1000000000 + (uint64_t)status->st_mtim.tv_nsec);
}

static bool is_same_file(const struct source *source, const struct stat *now)
{
    return now->st_dev == source->device && now->st_ino == source->inode;
}

static bool is_unchanged(const struct source *source, const struct stat *now)
{
    return now->st_size == source->size && source_mtime(now) == source->mtime;
}

int source_refresh(struct served *served, struct source **ret, struct problem *problem)
{
    struct source *source = served->current;
    struct stat status;

    if (source && look_at(served, &status) == 0 && is_same_file(source, &status)) {
        if (is_unchanged(source, &status)) {
            *ret = source;
            return 0;
        }
        /*
         * A log that grows for ever must not be opened for ever. Each slot keeps its own end. All
         * or nothing: half of what a refused look has found would be promised to the next client.
         */
        if (source->allow_changes) {
            struct source fresh = *source;
            int r = examine(&fresh, served->options, problem);
            if (r < 0)
                return r;
            *source = fresh;
            *ret = source;
            return 0;
        }
    }
    retire(served);
    source = calloc(1, sizeof(*source));
    if (!source)
        return problem_call(problem, "calloc");
    source->generation = ++*served->generations;
    source->is_copy = served->given >= 0 && served->was_opened;
    served->was_opened = true;
    int r = open_source(source, served, problem);
    if (r < 0) {
        close_source(source);
        return r;
    }
    source->current = true;
    served->current = *ret = source;
    return 0;
}

void source_hold(struct source *source)
{
    source->transfers++;
}

void source_release(struct source *source)
{
    if (--source->transfers == 0 && !source->current)
        close_source(source);
}

struct source *source_resume(int fd, uint32_t generation, const char *name)
{
    struct source *source = calloc(1, sizeof(*source));
    struct stat status;

    if (!source || fstat(fd, &status) < 0) {
        int error = errno;
        (void)close(fd);
        free(source);
        errno = error;
        return NULL;
    }
    source->fd = fd;
    source->generation = generation;
    source->transfers = 1;
    source->device = status.st_dev;
    source->inode = status.st_ino;
    name_given(source, fd, name);
    return source;
}

void source_expect(struct source *source, off_t size, int64_t mtime)
{
    source->size = size;
    source->mtime = mtime;
    source->allow_changes = mtime == TRANSFER_ANY_MTIME;
}

static bool are_same(const struct source *one, const struct source *other)
{
    return one->device == other->device && one->inode == other->inode &&
           one->allow_changes == other->allow_changes &&
           (one->allow_changes || (one->size == other->size && one->mtime == other->mtime));
}

void source_unite(const struct sources *sources, struct source *resumed)
{
    for (size_t i = 0; i < sources->n && !resumed->current; i++) {
        struct served *served = &sources->served[i];
        struct source *fresh = served->current;
        if (!fresh || fresh->transfers > 0 || !are_same(fresh, resumed))
            continue;
        resumed->size = fresh->size; /* of one that may change, what there is now */
        resumed->mtime = fresh->mtime;
        resumed->start = fresh->start;
        resumed->end = fresh->end;
        memcpy(resumed->name, fresh->name, sizeof(resumed->name));
        resumed->current = true;
        served->current = resumed;
        close_source(fresh);
    }
}

/* A directory as FILE serves the file in it that bears the socket's name. */
static int open_directory(struct sources *sources, const char *file)
{
    struct stat status;

    sources->directory = -1;
    if (!file || stat(file, &status) < 0 || !S_ISDIR(status.st_mode))
        return 0; /* no directory, or it shows when the file is opened */
    sources->directory = open(file, O_PATH | O_DIRECTORY | O_CLOEXEC);
    return sources->directory < 0 ? -errno : 0;
}

static int name_socket(struct sources *sources, size_t i, const char *name, const char *socket,
    const struct options *options, struct problem *problem)
{
    if (!name)
        return problem_set(problem, EINVAL, EX_NOINPUT,
            "'%s' is a directory; name a regular file, or give the socket %s a name with "
            "FileDescriptorName= in its unit",
            options->file, socket);
    sources->served[i].name = name;
    sources->served[i].directory = sources->directory;
    return 0;
}

/* With a directory, a file for each socket; else one for all of them. */
static int plan_served(struct sources *sources, const struct options *options,
    struct handover *handover, struct problem *problem)
{
    /* An accident of the shell (decant FILE <file) is no second file. */
    int given = handover->file_is_stdin && options->file ? -1 : handover->file_fd;
    int r = 0;

    /* Nor is one that the process before was not given: it is somebody else's, from the store. */
    if (given >= 0 && options->file && handover->stored.n_tables > 0) {
        handover->stored.n_foreign++;
        handover->stored.foreign = "a regular file";
        (void)close(handover->file_fd);
        handover->file_fd = given = -1;
    }

    if (given < 0 && sources->directory >= 0) {
        for (size_t i = 0; i < handover->n_connections && r == 0; i++)
            r = name_socket(sources, i, handover->connections[i].name,
                handover->connections[i].peer, options, problem);
        for (size_t i = 0; i < handover->n_listeners && r == 0; i++)
            r = name_socket(sources, i, handover->listeners[i].name, handover->listeners[i].address,
                options, problem);
        return r;
    }
    if (given >= 0 && options->file)
        return problem_set(problem, EINVAL, EX_USAGE,
            "FILE is given ('%s') and a file is handed over as descriptor %d; leave one of the two "
            "out",
            options->file, given);
    sources->n = 1;
    sources->served[0].name = options->file ? options->file : "";
    sources->served[0].given = given;
    if (given >= 0)
        handover->file_fd = -1;
    return 0;
}

/* Which socket it was that has no file. */
static int tell_socket(
    const struct handover *handover, size_t i, int error, struct problem *problem)
{
    const struct problem first = *problem;
    bool listening = handover->n_listeners > 0;

    return problem_set(problem, -error, first.status, "%s (FileDescriptorName=%s, the socket %s)",
        first.text, listening ? handover->listeners[i].name : handover->connections[i].name,
        listening ? handover->listeners[i].address : handover->connections[i].peer);
}

static struct served unnamed(
    struct sources *sources, const struct options *options, const struct handover *handover)
{
    return (struct served){.options = options,
        .in_unit = handover->channel == CHANNEL_JOURNAL,
        .generations = &sources->generations,
        .name = "",
        .directory = -1,
        .given = -1};
}

int sources_open(struct sources *sources, const struct options *options, struct handover *handover,
    struct problem *problem)
{
    struct source *source;

    *sources = (struct sources){
        .n = handover->n_connections + handover->n_listeners,
        .directory = -1,
        .generations = handover->stored.last_generation,
    };
    if (sources->n == 0)
        return 0; /* there are only the transfers of a process before, which have theirs */
    int r = open_directory(sources, options->file);
    if (r < 0)
        return problem_set(problem, -r, status_of_open(-r), "cannot open '%s' as user %ju: %s",
            options->file, (uintmax_t)geteuid(), strerror(-r));
    sources->served = calloc(sources->n, sizeof(*sources->served));
    if (!sources->served) {
        r = problem_call(problem, "calloc");
        sources_close(sources);
        return r;
    }
    for (size_t i = 0; i < sources->n; i++)
        sources->served[i] = unnamed(sources, options, handover);
    r = plan_served(sources, options, handover, problem);
    for (size_t i = 0; i < sources->n && r == 0; i++) {
        r = source_refresh(&sources->served[i], &source, problem);
        if (r < 0 && handover->stored.n_sockets > 0)
            r = 0; /* its clients will get to know it */
        if (r < 0 && sources->directory >= 0)
            r = tell_socket(handover, i, r, problem);
    }
    if (r < 0)
        sources_close(sources);
    return r;
}

struct served *sources_for(const struct sources *sources, size_t socket)
{
    return &sources->served[sources->n > 1 ? socket : 0];
}

/* The directory of that path, or -1. */
static int open_directory_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *directory = slash ? strndup(path, (size_t)(slash - path) + 1) : NULL;

    if (slash && !directory)
        return -1;
    int fd = open(directory ? directory : ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    free(directory);
    return fd;
}

size_t sources_directories(const struct sources *sources, int *directories)
{
    struct served *served = sources->served;
    size_t n = 0;

    if (sources->directory >= 0) {
        directories[0] = fcntl(sources->directory, F_DUPFD_CLOEXEC, 0);
        return directories[0] >= 0;
    }
    if (sources->n == 0 || served->given >= 0 || served->name[0] == '\0')
        return 0;
    served->settled = true;
    char *target = realpath(served->name, NULL);
    directories[n] = open_directory_of(served->name);
    n += directories[n] >= 0;
    if (target) {
        directories[n] = open_directory_of(target);
        n += directories[n] >= 0;
    }
    free(target);
    return n;
}

void sources_close(struct sources *sources)
{
    for (size_t i = 0; i < sources->n && sources->served; i++) {
        retire(&sources->served[i]);
        if (sources->served[i].given >= 0)
            (void)close(sources->served[i].given);
    }
    free(sources->served);
    if (sources->directory >= 0)
        (void)close(sources->directory);
    *sources = (struct sources){.directory = -1};
}

int source_check(const struct source *source, off_t end)
{
    struct stat now;

    if (fstat(source->fd, &now) < 0)
        return -errno;
    if (now.st_size < end)
        return -ENODATA;
    return source->allow_changes || is_unchanged(source, &now) ? 0 : -ESTALE;
}

/* Reads one byte, but not from the disk: preadv2(2), RWF_NOWAIT. */
static bool is_in_memory(const struct source *source, off_t at)
{
    char byte;
    const struct iovec one = {&byte, 1};

    return preadv2(source->fd, &one, 1, at, RWF_NOWAIT) >= 0 || errno != EAGAIN;
}

static void ask(const struct source *source, off_t from, off_t to)
{
    if (from < to) /* where it fails, sendfile(2) waits for the disk, as it would without */
        (void)posix_fadvise(source->fd, from, to - from, POSIX_FADV_WILLNEED);
}

/* In steps, and for each page once: to ask again costs a look at each. */
static void ask_ahead(struct source *source, off_t from, off_t ahead)
{
    bool known = source->asked_from <= from && from < source->asked_to;

    if (known && (source->asked_to - from > AHEAD - ASK_STEP || source->asked_to >= ahead))
        return;
    ask(source, known ? source->asked_to : from, ahead);
    source->asked_from = from;
    source->asked_to = ahead;
}

/*
 * What was read ahead is there up to its last byte, so the last one tells of all. With what lies
 * ahead in memory, as it mostly does, one call is all that it takes.
 */
bool source_ready(struct source *source, off_t from, off_t to, off_t end)
{
    off_t ahead = end - from > AHEAD ? from + AHEAD : end;

    if (from >= to || is_in_memory(source, ahead - 1))
        return true;
    ask_ahead(source, from, ahead);
    if (is_in_memory(source, to - 1))
        return true;
    ask(source, from, to); /* it may have been here, and gone again */
    return false;
}
