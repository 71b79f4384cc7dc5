/* SPDX-License-Identifier: MIT */
#pragma once

#include "problem.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

struct options;

/*
 * One opening of the served file, and what of it is promised to every client: the bytes from start
 * to end, as the file was when it was opened.
 */
struct source {
    int fd;                /* owned; open for reading, a regular file; -1: none */
    char name[256];        /* for people: the path, or what /proc says of a handed-over file */
    off_t size;            /* bytes, at open */
    struct timespec mtime; /* at open; of CLOCK_REALTIME */
    off_t start;           /* 0 <= start <= end <= size */
    off_t end;             /* the first byte that is not promised */
    bool allow_changes;    /* only truncation below end is a change */
};

/*
 * Opens options->file, or takes handed_fd, an open descriptor of a regular file, when that is not
 * -1; the source owns it from then on. Returns 0, or a negative errno with *problem filled in:
 * EX_NOINPUT for a file that is missing, unreadable, not regular, or longer than it says, proc(5);
 * EX_USAGE for an offset or a length beyond its end, and for a FILE beside a handed-over one.
 */
int source_open(struct source *source, const struct options *options, int handed_fd,
    struct problem *problem) __attribute__((nonnull, warn_unused_result));

/*
 * Is it still the file that was promised? Unchanged is the same size and the same mtime; not ctime,
 * which rename(2), unlink(2), link(2) and chmod(2) move although every byte stays. Returns 0;
 * -ESTALE: changed; -ENODATA: it has lost promised bytes; or what fstat(2) says.
 * What cannot be seen: a change within one step of the file system's clock (up to 4 ms before
 * Linux 6.13), a store through mmap(2) to a page that is dirty already, an mtime that was set back.
 */
int source_check(const struct source *source) __attribute__((nonnull, warn_unused_result));

void source_close(struct source *source) __attribute__((nonnull));

/* What a file of that mode is, in words: "a regular file", "a directory", ... */
const char *source_type_name(mode_t mode);
