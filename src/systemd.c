/* SPDX-License-Identifier: MIT */
#include "systemd.h"

#include <systemd/sd-daemon.h>

int systemd_listen_fds(void)
{
    return sd_listen_fds(1);
}
