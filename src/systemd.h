/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * The only door to libsystemd. With `make SYSTEMD=no`, systemd.c is left out and the stand-in below
 * says that this build cannot do it.
 */

#if WITH_SYSTEMD

/* What its store keeps comes back as descriptors from 3 on: only who takes those may use it. */
#define SYSTEMD_HAS_STORE true

/*
 * The number of descriptors that systemd handed to this process, from 3 on, or a negative errno as
 * of sd_listen_fds_with_names(3). Sets close-on-exec on them and takes LISTEN_* out of the
 * environment. Where there are some, *names is an array of as many names and a NULL, all of which
 * the caller frees.
 */
int systemd_listen_fds(char ***names);

#else

#include <errno.h>

#define SYSTEMD_HAS_STORE false

static inline int systemd_listen_fds(char ***names)
{
    (void)names;
    return -ENOSYS;
}

#endif
