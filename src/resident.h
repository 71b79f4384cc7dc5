/* SPDX-License-Identifier: MIT */
#pragma once

#include "handover.h"
#include "options.h"
#include "report.h"
#include "source.h"

/*
 * Accepts from all listeners, and sends to all that it has accepted, in one epoll(7) loop; each
 * client gets the file of its listener, and is reported as it ends. What a turn costs does not grow
 * with the number of clients that have nothing to do: nowhere are all of them looked at, but once,
 * when a signal or a failure ends them.
 *
 * Ends when there was no client for options->idle_exit; after SIGTERM, when the last client has
 * ended or options->stop_timeout has passed; after SIGINT, at once; what still runs then is reset.
 * SIGHUP does nothing: a new file is seen without. Clients that wait in a queue stay there, for the
 * supervisor. Returns 0, or a negative errno with *problem filled in, and then every transfer is
 * reset: EX_USAGE for limits that cannot be held, EX_OSERR.
 */
int resident_run(struct handover *handover, const struct sources *sources,
    const struct options *options, struct report *report, struct problem *problem)
    __attribute__((nonnull, warn_unused_result));
