/* SPDX-License-Identifier: MIT */
#pragma once

#include "handover.h"
#include "problem.h"
#include "transfer.h"

#include <stdbool.h>
#include <stdint.h>

/* The one place that prints, and the one that decides the exit status. */
struct report {
    enum channel channel;
    int level;       /* the least grave that is printed: LOG_ERR ... LOG_DEBUG */
    bool hurried;    /* what cannot be written at once is lost: others must not wait for it */
    bool in_syslog;  /* a system call caught in its midst has no words: it holds a lock */
    uint64_t n_lost; /* lines since the last that was written */
    int status;      /* of sysexits.h; the gravest so far: any other, 71, 74, 66, 65, 75 */
    int signal;      /* to die of instead; 0: none */
};

void report_open(struct report *report, enum channel channel, int level) __attribute__((nonnull));

/* From now on a log that does not take a line at once (but for syslog(3)) loses it, and is told. */
void report_hurry(struct report *report) __attribute__((nonnull));

/* One line on a transfer that has ended; now is of clock_now(). */
void report_transfer(struct report *report, const struct transfer *transfer, const char *peer,
    int64_t now) __attribute__((nonnull));

/* Whether a transfer that ended like this one has a line at all: else nobody need name its peer. */
bool report_wants(const struct report *report, const struct transfer *transfer)
    __attribute__((nonnull));

/* Clients that were reset before they got anything, n of them by now, for that reason. */
void report_refused(struct report *report, uint64_t n, const char *reason) __attribute__((nonnull));

/*
 * So many transfers are with the supervisor, for the process after this one. SIGTERM, which asked
 * for that, is then what we die of: the unit's RestartForceExitStatus=SIGTERM knows by it that
 * there must be one, whoever sent it.
 */
void report_left(struct report *report, uint32_t n) __attribute__((nonnull));

/* The exit status of the process; or does not return, and the process dies of report->signal. */
int report_end(const struct report *report) __attribute__((nonnull));

/* One line that changes no status; level is LOG_WARNING or what is less grave. */
void report_note(struct report *report, int level, const char *text) __attribute__((nonnull));

/* One line on what keeps us from going on. */
void report_problem(struct report *report, const struct problem *problem) __attribute__((nonnull));

/* The last words of a process that made a system call which it may not make, called so. */
void report_caught(struct report *report, const char *call) __attribute__((nonnull));

/* Text for a person who asked for it, on standard output, unless that is a socket. */
void report_text(const char *text) __attribute__((nonnull));
