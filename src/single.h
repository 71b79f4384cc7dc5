/* SPDX-License-Identifier: MIT */
#pragma once

#include "handover.h"
#include "options.h"
#include "report.h"
#include "source.h"

/*
 * Sends to all handed-over connections at once, to each its file, from one poll(2), and reports
 * each as it ends. Returns when the last has ended, or when SIGTERM or SIGINT has ended them all.
 * 0, or a negative errno with *problem filled in; then every transfer is reset. The connections
 * that it took over are -1 in the handover; what it left there is still the caller's.
 */
int single_run(struct handover *handover, const struct sources *sources,
    const struct options *options, struct report *report, struct problem *problem)
    __attribute__((nonnull, warn_unused_result));
