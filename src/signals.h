/* SPDX-License-Identifier: MIT */
#pragma once

#include "problem.h"

/*
 * Signals come as readable bytes of a descriptor, so that there is no moment at which one is
 * missed, and no handler. Every other deadly signal leaves the reset to the kernel.
 */

/*
 * SIGTERM, SIGINT and those of the list (NULL, or up to a 0) from now on only through the
 * descriptor that comes back, owned by the caller; or a negative errno with *problem filled in.
 */
int signals_open(const int *more, struct problem *problem)
    __attribute__((nonnull(2), warn_unused_result));

/* The next signal that has come, or 0. */
int signals_read(int fd);
