/* SPDX-License-Identifier: MIT */
#pragma once

/* What src/systemd.c takes of libsystemd, so that the unit tests need none: kernel.c has the rest.
 */

int sd_listen_fds(int unset_environment);
int sd_listen_fds_with_names(int unset_environment, char ***names);
