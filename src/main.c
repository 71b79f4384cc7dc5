/* SPDX-License-Identifier: MIT */
#include "handover.h"
#include "options.h"
#include "report.h"
#include "resident.h"
#include "sandbox.h"
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

/* What decant is given is in these; the two that follow are its ways to run. */
struct work {
    struct options options;
    struct handover handover;
    struct sources sources;
    struct report report;
};

static int run_single(struct work *work, struct problem *problem)
{
    struct single single;

    int r = single_open(
        &single, &work->handover, &work->sources, &work->options, &work->report, problem);
    if (r == 0)
        r = sandbox_enter(
            &work->options, &work->handover, &work->sources, false, &work->report, problem);
    if (r == 0)
        single_run(&single);
    single_close(&single);
    return r;
}

static int run_resident(struct work *work, struct problem *problem)
{
    struct resident *resident;

    int r = resident_open(
        &resident, &work->handover, &work->sources, &work->options, &work->report, problem);
    if (r < 0)
        return r;
    r = sandbox_enter(
        &work->options, &work->handover, &work->sources, true, &work->report, problem);
    if (r == 0)
        r = resident_run(resident, problem);
    resident_close(resident);
    return r;
}

/* A wrong command line waits for the hand-over: it needs a channel, and its clients a reset. */
int main(int argc, char **argv)
{
    struct work work;
    struct problem misread;
    struct problem problem;

    (void)signal(SIGPIPE, SIG_IGN); /* sendfile(2) has no MSG_NOSIGNAL; cannot fail */
    int parsed = options_parse(&work.options, argc, argv, &misread);
    int taken = handover_take(&work.handover, &problem);
    bool resident = work.handover.n_listeners > 0 || work.handover.stored.n_sockets > 0;
    if (resident) /* for systemd it would be a clean end, after which nothing is kept */
        (void)signal(SIGHUP, SIG_IGN);
    report_open(&work.report, work.handover.channel, work.options.log_level);
    if (parsed == 0 && (work.options.help || work.options.version))
        return help(&work.options, &work.handover, &work.report);

    /* The command line of the admin comes first, who may have started us without any socket. */
    int r = parsed;
    if (r < 0)
        problem = misread;
    if (r == 0)
        r = taken;
    if (r == 0)
        r = sources_open(&work.sources, &work.options, &work.handover, &problem);
    if (r == 0) {
        r = resident ? run_resident(&work, &problem) : run_single(&work, &problem);
        sources_close(&work.sources);
    }
    if (r < 0)
        handover_refuse(&work.handover);
    /* Before the report: a log that blocks must not keep a client from its reset. */
    handover_end(&work.handover);
    if (r < 0)
        report_problem(&work.report, &problem);
    return report_end(&work.report);
}
