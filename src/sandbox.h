/* SPDX-License-Identifier: MIT */
#pragma once

#include "handover.h"
#include "options.h"
#include "problem.h"
#include "report.h"
#include "source.h"

#include <stdbool.h>

/*
 * What the process gives up once everything is open, for good: whoever takes it over by a flaw gets
 * the file and the sockets that it has, and hardly more.
 *
 *     no_new_privs     no program gives it rights, prctl(2)
 *     capabilities     none, capabilities(7); a resident root keeps CAP_DAC_READ_SEARCH, for the
 *                      next version of a file that is somebody else's
 *     limits           no new processes, no message queues, no locked memory, and nothing written
 *                      to any file, getrlimit(2), unless its log is one
 *     landlock(7)      no file system, but for reading in the directories of sources_directories();
 *                      no abstract UNIX socket, and no signal to other processes (Linux 6.12)
 *     seccomp(2)       no system calls but those of sandbox-filter.c
 *
 * Called once, when all is open that will ever be opened (but the file's next version), and before
 * anything is looked at that another process has left. With options->sandbox SANDBOX_TRY, what is
 * not possible here is one notice, and that is all; with SANDBOX_REQUIRE it is -EOPNOTSUPP, with
 * *problem filled in (EX_OSERR). SANDBOX_OFF does nothing. Who runs as root is told so.
 *
 * A system call that the filter catches raises SIGSYS: its name is reported, and the process dies
 * by the signal, which resets its clients, or leaves them to the next process. report is borrowed
 * for that, until the end.
 */
int sandbox_enter(const struct options *options, const struct handover *handover,
    const struct sources *sources, bool resident, struct report *report, struct problem *problem)
    __attribute__((nonnull, warn_unused_result));

/*
 * Which of the filters a process gets: what it does beyond one transfer after the other. Either it
 * opens new versions of a path, or those of a directory, or none.
 */
enum {
    SANDBOX_LOOP = 1,      /* it is resident */
    SANDBOX_STORE = 2,     /* and has a supervisor that may keep descriptors */
    SANDBOX_PATH = 4,      /* and opens FILE again */
    SANDBOX_DIRECTORY = 8, /* and opens files in it, with openat2(2) */
    SANDBOX_GIVEN = 16,    /* and opens none: it has all that it will ever have */
};

/*
 * In the filters, which are made when decant is built, these stand for what is only known when it
 * runs. No other number in them is that high.
 */
#define SANDBOX_OWN_PID    UINT32_C(0xdeca9e70) /* the process, to which alone it sends a signal */
#define SANDBOX_SUPERVISOR UINT32_C(0xdeca9e71) /* the supervisor's socket */
