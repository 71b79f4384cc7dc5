/* SPDX-License-Identifier: MIT */
#pragma once

#include "handover.h"
#include "options.h"
#include "report.h"
#include "source.h"

struct resident;

/*
 * Opens what the loop needs, for *ret, and accepts nobody yet. 0, or a negative errno with *problem
 * filled in: EX_USAGE for limits that cannot be held, EX_OSERR. What it is given is borrowed until
 * resident_close().
 */
int resident_open(struct resident **ret, struct handover *handover, const struct sources *sources,
    const struct options *options, struct report *report, struct problem *problem)
    __attribute__((nonnull, warn_unused_result));

/*
 * Accepts from all listeners, and sends to all that it has accepted, in one epoll(7) loop; each
 * client gets the file of its listener, and is reported as it ends. What a turn costs does not grow
 * with the number of clients that have nothing to do: nowhere are all of them looked at, but once,
 * when a signal or a failure ends them.
 *
 * Ends when there was no client for options->idle_exit; after SIGTERM, when the supervisor's store
 * has all clients, for the next process to go on with, or, where it keeps nothing, when the last
 * one has ended or options->stop_timeout has passed; after SIGINT, at once. What still runs then,
 * and is not for the next process, is reset. SIGHUP does nothing: a new file is seen without.
 * Clients that wait in a queue stay there, for the supervisor. Begins with what handover->stored
 * has of the process before. Returns 0, or a negative errno with *problem filled in (EX_OSERR), and
 * then every transfer that this process began is reset.
 */
int resident_run(struct resident *resident, struct problem *problem)
    __attribute__((nonnull, warn_unused_result));

void resident_close(struct resident *resident) __attribute__((nonnull));
