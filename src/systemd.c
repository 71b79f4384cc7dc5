/* SPDX-License-Identifier: MIT */
#include "systemd.h"

#include <systemd/sd-daemon.h>

int systemd_listen_fds(char ***names)
{
    return sd_listen_fds_with_names(1, names);
}
