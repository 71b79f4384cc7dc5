/* SPDX-License-Identifier: MIT */
#pragma once

#include "problem.h"

#include <stddef.h>
#include <stdint.h>

/* The supervisor that wants to hear from us, sd_notify(3). Written by handover.c. */
struct notify {
    int fd;           /* owned; -1: nobody wants to */
    int64_t watchdog; /* ns within which it wants a sign of life; 0: none */
};

/*
 * Connects to the socket that NOTIFY_SOCKET names: a path, or with '@' an abstract name. What
 * cannot be reached is nobody. usec is WATCHDOG_USEC, or NULL.
 *
 * Not sd_notify(3) itself: that makes a new socket for each message, which the sandbox will not
 * allow, and waits while the manager is busy, which would stop all transfers.
 */
void notify_open(struct notify *notify, const char *path, const char *usec)
    __attribute__((nonnull(1)));

/* Lines such as "READY=1". Never waits: where the manager does not keep up, this one is lost, and
 * -EAGAIN comes back. 0, also where nobody wants to hear it; or another negative errno. */
int notify_send(const struct notify *notify, const char *lines) __attribute__((nonnull));

#define NOTIFY_MOST_FDS 2

/*
 * The same with n descriptors, 1 to NOTIFY_MOST_FDS, of which the manager gets duplicates.
 * -ENOTCONN where nobody wants to hear it; -ETOOMANYREFS where too many are under way to it.
 */
int notify_send_fds(const struct notify *notify, const char *lines, const int *fds, size_t n)
    __attribute__((nonnull));

void notify_close(struct notify *notify) __attribute__((nonnull));
