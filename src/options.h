/* SPDX-License-Identifier: MIT */
#pragma once

#include "problem.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What to do where the process cannot be locked in, sandbox.h. */
enum sandbox_policy { SANDBOX_TRY, SANDBOX_REQUIRE, SANDBOX_OFF };

/* What the command line asks for. Written by options.c, read by everybody else. */
struct options {
    const char *file;      /* the FILE argument, of argv; NULL where there is none */
    int64_t offset;        /* bytes of the file to leave out at its start, 0 or more */
    int64_t length;        /* bytes to send, 0 or more; OPTIONS_TO_THE_END: all that follow */
    int64_t rate;          /* bytes a second, more than 0; 0: as fast as it goes */
    int64_t stall_timeout; /* nanoseconds without progress of the peer; 0: never */
    int64_t drain_timeout; /* the same, once the end has been sent; 0: never */
    int64_t idle_exit;     /* nanoseconds without a connection, resident; 0: never */
    int64_t stop_timeout;  /* nanoseconds that SIGTERM leaves the transfers, resident; 0: none */
    int64_t
        most_connections;    /* at a time, resident; 0: as many as usual, or as there is room for */
    int64_t most_per_source; /* of these from one source, resident; 0: any number */
    int sandbox;             /* enum sandbox_policy */
    int log_level;           /* LOG_ERR ... LOG_DEBUG of syslog(3) */
    bool allow_changes;      /* a file that grows or changes is no failure; one that shrinks is */
    bool help;               /* print options_help() and end */
    bool version;            /* print the version and end */
};

#define OPTIONS_TO_THE_END (-1)

/*
 * Reads the command line (getopt_long(3): a unique beginning of a long name will do). Returns 0,
 * or -EINVAL with *problem filled in (EX_USAGE); *options then holds the defaults, and what was
 * understood up to there.
 */
int options_parse(struct options *options, int argc, char **argv, struct problem *problem)
    __attribute__((nonnull, warn_unused_result));

/* The text of --help into text, always terminated; size is in bytes, and 4096 are enough. */
void options_help(char *text, size_t size) __attribute__((nonnull));
