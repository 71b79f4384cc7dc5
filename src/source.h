/* SPDX-License-Identifier: MIT */
#pragma once

#include "problem.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

struct handover;
struct options;

/*
 * One opening of a served file, and what of it is promised to every client: the bytes from start to
 * end, as the file was when it was opened.
 */
struct source {
    int fd;              /* owned; open for reading, a regular file; -1: none */
    uint32_t generation; /* a number that no other opening has, also of the processes before */
    uint32_t transfers;  /* that run with it; whoever starts and ends them counts */
    bool current;        /* what new clients of its name get */
    bool is_copy;        /* of a descriptor that another opening has, too: the same description */
    bool allow_changes;  /* only truncation below the promise is a change */
    dev_t device;        /* what was opened; of no other file as long as it is open */
    ino_t inode;
    off_t size;       /* bytes, at open */
    int64_t mtime;    /* at open, as source_mtime() has it */
    off_t start;      /* 0 <= start <= end <= size */
    off_t end;        /* the first byte that is not promised */
    off_t asked_from; /* the range that the disk was last asked for */
    off_t asked_to;
    char name[256]; /* for people: the path, or what /proc says of a handed-over file */
};

/*
 * A file as new clients are to get it: where it is found, and its present opening. A name that has
 * been given a new file by rename(2), or whose file was written to, is opened anew for the next
 * client; the transfers that run keep the opening that they began with.
 */
struct served {
    const struct options *options; /* borrowed */
    uint32_t *generations;         /* borrowed; the number of the last opening of any file */
    const char *name;              /* borrowed; a path, or one below directory; "": none */
    int directory;                 /* borrowed; or -1 */
    int given;                     /* owned; a handed-over file, or -1 */
    bool was_opened;
    bool settled;           /* no other directories than those of sources_directories() any more */
    bool in_unit;           /* of systemd, which may have a file system, and a user, of its own */
    struct source *current; /* owned while nobody else counts on it; NULL: none */
};

/* The files of all sockets: one for all, or of a directory one for each. */
struct sources {
    struct served *served; /* n of them, owned */
    size_t n;
    int directory;        /* owned; -1: FILE is none */
    uint32_t generations; /* the number of the last opening */
};

/*
 * Opens options->file, or takes the file that was handed over, or where options->file is a
 * directory, the file in it that bears the name of each socket, beneath which openat2(2) keeps it.
 * Returns 0, or a negative errno with *problem filled in: EX_NOINPUT for a file that is missing,
 * unreadable, not regular, or longer than it says, proc(5), and for a socket without a name;
 * EX_USAGE for an offset or a length beyond its end, and for a FILE beside a handed-over one. Where
 * transfers of a process before wait to be gone on with, that a file cannot be had is no failure:
 * it is for those who will ask for it.
 */
int sources_open(struct sources *sources, const struct options *options, struct handover *handover,
    struct problem *problem) __attribute__((nonnull, warn_unused_result));

/* The file for the socket of that number: connections and listeners are counted from 0 each. */
struct served *sources_for(const struct sources *sources, size_t socket) __attribute__((nonnull));

/*
 * Where files may have to be opened anew: descriptors, O_PATH, of at most so many directories, into
 * directories, each the caller's to close. None where no path is opened again. The directory that
 * FILE names is one, and the one that it led to through symbolic links the other: after such a link
 * has been pointed elsewhere, only a new process can open it.
 */
#define SOURCES_DIRECTORIES 2
size_t sources_directories(const struct sources *sources, int *directories)
    __attribute__((nonnull, warn_unused_result));

void sources_close(struct sources *sources) __attribute__((nonnull));

/*
 * The opening that a client gets who has come before this call: the present one, or a new one where
 * stat(2) says that the file is another. Returns 0 with *ret set, borrowed, and good for as long as
 * its transfers are counted; or what sources_open() says; or -ERESTART (EX_NOINPUT): only a new
 * process can open it, see sources_directories().
 */
int source_refresh(struct served *served, struct source **ret, struct problem *problem)
    __attribute__((nonnull, warn_unused_result));

/* One transfer more, or less, counts on it. With the last, an opening that is no longer the present
 * one is closed. */
void source_hold(struct source *source) __attribute__((nonnull));
void source_release(struct source *source) __attribute__((nonnull));

/*
 * An opening that another process has made, for the transfers that it began: fd is from then on
 * owned. name is what it is called where /proc does not tell. Never current; held once, for whoever
 * calls. source_expect() must follow. NULL with errno ENOMEM, or as of fstat(2), and then fd is
 * closed.
 */
struct source *source_resume(int fd, uint32_t generation, const char *name)
    __attribute__((nonnull, warn_unused_result));

/* The size and the mtime (or TRANSFER_ANY_MTIME) that it had when it was opened. */
void source_expect(struct source *source, off_t size, int64_t mtime) __attribute__((nonnull));

/*
 * If new clients would get the same unchanged file, they get it from that opening: else each
 * process would add one to those that are kept, and where PID 1 may not use kcmp(2), as in
 * containers of docker, it takes two openings of one file for one, and keeps only the first.
 */
void source_unite(const struct sources *sources, struct source *resumed) __attribute__((nonnull));

/* Nanoseconds since 1970, or, before 1678 and after 2261, what is left of them in 64 bits. */
int64_t source_mtime(const struct stat *status) __attribute__((nonnull));

/*
 * Is it still the file that was promised up to that end? Unchanged is the same size and the same
 * mtime; not ctime, which rename(2), unlink(2), link(2) and chmod(2) move although every byte
 * stays. Returns 0; -ESTALE: changed; -ENODATA: it has lost promised bytes; or what fstat(2) says.
 * What cannot be seen: a change within one step of the file system's clock (up to 4 ms before
 * Linux 6.13), a store through mmap(2) to a page that is dirty already, an mtime that was set back.
 */
int source_check(const struct source *source, off_t end)
    __attribute__((nonnull, warn_unused_result));

/*
 * Would sendfile(2) of the bytes from `from` to `to` go without waiting for the disk? Asks the
 * kernel for what follows, up to 8 MiB and not beyond end, if that is not in memory. True also
 * where the file system cannot tell.
 */
bool source_ready(struct source *source, off_t from, off_t to, off_t end)
    __attribute__((nonnull, warn_unused_result));

/* What a file of that mode is, in words: "a regular file", "a directory", ... */
const char *source_type_name(mode_t mode);
