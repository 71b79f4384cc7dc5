/* SPDX-License-Identifier: MIT */
#include "handover.h"
#include "options.h"
#include "report.h"
#include "resident.h"
#include "single.h"
#include "source.h"

#include <signal.h>
#include <sysexits.h>

/* Who asks for help has no client; one that is there all the same must not see a clean end. */
static int help(const struct options *options, struct handover *handover, struct report *report)
{
    char text[4096] = "decant " DECANT_VERSION "\n";
    struct problem problem;

    if (handover->n_connections + handover->n_listeners > 0) {
        (void)problem_set(
            &problem, 0, EX_USAGE, "--help and --version send no file; leave them out");
        handover_refuse(handover);
        handover_end(handover);
        report_problem(report, &problem);
        return report->status;
    }
    if (options->help)
        options_help(text, sizeof(text));
    report_text(text);
    return EX_OK;
}

/* A wrong command line waits for the hand-over: it needs a channel, and its clients a reset. */
int main(int argc, char **argv)
{
    struct options options;
    struct handover handover;
    struct sources sources;
    struct report report;
    struct problem misread;
    struct problem problem;

    (void)signal(SIGPIPE, SIG_IGN); /* sendfile(2) has no MSG_NOSIGNAL; cannot fail */
    int parsed = options_parse(&options, argc, argv, &misread);
    int taken = handover_take(&handover, &problem);
    bool resident = handover.n_listeners > 0 || handover.stored.n_sockets > 0;
    if (resident) /* for systemd it would be a clean end, after which nothing is kept */
        (void)signal(SIGHUP, SIG_IGN);
    report_open(&report, handover.channel, options.log_level);
    if (parsed == 0 && (options.help || options.version))
        return help(&options, &handover, &report);

    /* The command line of the admin comes first, who may have started us without any socket. */
    int r = parsed;
    if (r < 0)
        problem = misread;
    if (r == 0)
        r = taken;
    if (r == 0)
        r = sources_open(&sources, &options, &handover, &problem);
    if (r == 0) {
        r = resident ? resident_run(&handover, &sources, &options, &report, &problem)
                     : single_run(&handover, &sources, &options, &report, &problem);
        sources_close(&sources);
    }
    if (r < 0)
        handover_refuse(&handover);
    handover_end(&handover); /* first: a log that blocks must not keep a client from its reset */
    if (r < 0)
        report_problem(&report, &problem);
    return report_end(&report);
}
