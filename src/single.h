/* SPDX-License-Identifier: MIT */
#pragma once

#include "handover.h"
#include "options.h"
#include "report.h"
#include "source.h"

struct pollfd;

/* The loop that sends to all handed-over connections. All that it points to is borrowed, but for
 * jobs, polls and signals. */
struct single {
    struct handover *handover;
    const struct sources *sources;
    struct report *report;
    struct transfer_limits limits;
    struct job *jobs;     /* n_jobs of them */
    struct pollfd *polls; /* one for each job, then the signals' */
    size_t n_jobs;
    size_t n_running;
    int signals; /* -1: not opened */
};

/*
 * Opens what the loop needs, and sends nothing yet. 0, or a negative errno with *problem filled in,
 * EX_OSERR, or EX_USAGE for a rate that a socket does not take. single_close() must follow.
 */
int single_open(struct single *single, struct handover *handover, const struct sources *sources,
    const struct options *options, struct report *report, struct problem *problem)
    __attribute__((nonnull, warn_unused_result));

/*
 * Sends to all of them at once, to each its file, from one poll(2), and reports each as it ends.
 * Returns when the last has ended, or when SIGTERM or SIGINT has ended them all. The connections
 * that it took over are -1 in the handover.
 */
void single_run(struct single *single) __attribute__((nonnull));

void single_close(struct single *single) __attribute__((nonnull));
