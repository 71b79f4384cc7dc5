/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * A problem is what a room of the house says when it cannot go on: the exit status that it asks
 * for, and one sentence for a person. The room that meets it fills it in and returns a negative
 * errno; only report.c prints it.
 */
struct problem {
    int status; /* of sysexits.h */
    char text[768];
};

/*
 * Fills in *problem and returns -error, so that a failure is one statement:
 *         return problem_set(problem, ENOENT, EX_NOINPUT, "...", ...);
 * error is a positive errno. Text that does not fit is cut.
 */
int problem_set(struct problem *problem, int error, int status, const char *format, ...)
    __attribute__((format(printf, 4, 5), nonnull(1, 4)));

/* The same for a system call that has just failed and should not: EX_OSERR, and its errno. */
int problem_call(struct problem *problem, const char *call) __attribute__((nonnull));
