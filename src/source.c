/* SPDX-License-Identifier: MIT */
#include "source.h"

#include "options.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

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

/*
 * O_NONBLOCK, so that a FIFO without a writer does not hold us; O_NOCTTY, so that a terminal is not
 * adopted. Both are then refused, since they are not regular. Symbolic links are followed: where
 * FILE points is the admin's choice.
 */
static int open_path(struct source *source, const char *path, struct problem *problem)
{
    source->fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (source->fd >= 0)
        return 0;

    int error = errno;
    const char *mend = error == ENOENT || error == ENOTDIR ? "; create it, or correct the path"
                       : error == EACCES || error == EPERM
                           ? "; let this user read it, and enter its directories"
                       : error == ENXIO || error == ELOOP ? "; name a regular file"
                                                          : "";
    return problem_set(problem, error, status_of_open(error), "cannot open '%s' as user %ju: %s%s",
        path, (uintmax_t)geteuid(), strerror(error), mend);
}

/* OpenFile= and StandardInput=file: hand over what the unit says, which may not be readable. */
static int adopt_descriptor(struct source *source, int fd, struct problem *problem)
{
    char link[40];

    source->fd = fd;
    (void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, source->name, sizeof(source->name) - 1);
    if (n > 0)
        source->name[n] = '\0';
    else /* no /proc here: a name for people only */
        (void)snprintf(source->name, sizeof(source->name), "the handed-over file");

    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || (flags & O_PATH) || (flags & O_ACCMODE) == O_WRONLY)
        return problem_set(problem, EBADF, EX_NOINPUT,
            "%s was handed over as descriptor %d, which is not open for reading; "
            "use OpenFile=PATH:data:read-only",
            source->name, fd);
    return 0;
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
    source->size = status.st_size;
    source->mtime = status.st_mtim;
    source->allow_changes = options->allow_changes;
    int r = check_size(source, problem);
    return r < 0 ? r : set_range(source, options, problem);
}

int source_open(
    struct source *source, const struct options *options, int handed_fd, struct problem *problem)
{
    int r;

    *source = (struct source){.fd = -1};
    if (handed_fd >= 0) {
        r = adopt_descriptor(source, handed_fd, problem);
        if (r == 0 && options->file)
            r = problem_set(problem, EINVAL, EX_USAGE,
                "FILE is given ('%s') and %s is handed over; leave one of the two out",
                options->file, source->name);
    } else if (options->file) {
        (void)snprintf(source->name, sizeof(source->name), "%s", options->file);
        r = open_path(source, options->file, problem);
    } else {
        r = problem_set(problem, EINVAL, EX_USAGE,
            "FILE is missing, and none was handed over (does that of OpenFile= exist?); "
            "decant [OPTION...] FILE");
    }
    if (r == 0)
        r = examine(source, options, problem);
    if (r < 0)
        source_close(source);
    return r;
}

int source_check(const struct source *source)
{
    struct stat now;

    if (fstat(source->fd, &now) < 0)
        return -errno;
    if (now.st_size < source->end)
        return -ENODATA;
    if (source->allow_changes)
        return 0;
    if (now.st_size != source->size || now.st_mtim.tv_sec != source->mtime.tv_sec ||
        now.st_mtim.tv_nsec != source->mtime.tv_nsec)
        return -ESTALE;
    return 0;
}

void source_close(struct source *source)
{
    if (source->fd >= 0)
        (void)close(source->fd); /* read-only: there is nothing that close(2) could lose */
    source->fd = -1;
}
