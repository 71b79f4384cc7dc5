/* SPDX-License-Identifier: MIT */
#include "systemd.h"

#include <errno.h>
#include <stddef.h>

#include <systemd/sd-daemon.h>

int systemd_listen_fds(char ***names)
{
    int n = sd_listen_fds_with_names(0, names);

    if (n == -EINVAL) { /* names out of step (253 to 258): better none than those of others */
        *names = NULL;
        return sd_listen_fds(1);
    }
    int again = sd_listen_fds(1); /* takes them out of the environment */
    return n < 0 ? n : again;
}
