/* SPDX-License-Identifier: MIT */
#include "single.h"

#include "clock.h"
#include "notify.h"
#include "signals.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

/* How long to wait, in ms, when the kernel has no memory for poll(2). */
#define PAUSE 10

/* One connection at work. */
struct job {
    struct transfer transfer;
    struct transfer_slot slot;
    const char *peer;
};

static int pace_all(const struct handover *handover, int64_t rate, struct problem *problem)
{
    for (size_t i = 0; i < handover->n_connections && rate > 0; i++) {
        const struct connection *connection = &handover->connections[i];
        int r = transfer_pace(connection->fd, connection->kind, rate);
        if (r < 0)
            return problem_set(problem, -r, EX_USAGE,
                "--rate: the socket to %s cannot be paced (%s), only plain TCP can; "
                "leave --rate out, or listen with TCP",
                connection->peer, strerror(-r));
    }
    return 0;
}

/* poll(2) takes milliseconds: rounded up, so that the time has come when it returns. */
static int poll_timeout(const struct single *single, int64_t now)
{
    int64_t wake = CLOCK_NEVER;

    for (size_t i = 0; i < single->n_jobs; i++)
        if (!transfer_ended(&single->jobs[i].transfer) && single->jobs[i].transfer.wake < wake)
            wake = single->jobs[i].transfer.wake;
    if (wake == CLOCK_NEVER)
        return -1;
    if (wake <= now)
        return 0;
    int64_t ms = (wake - now + CLOCK_MS - 1) / CLOCK_MS;
    return ms < INT_MAX ? (int)ms : INT_MAX;
}

/* poll(2) passes over a negative descriptor: one that has ended, or that only waits its time. */
static void settle_job(struct single *single, size_t i)
{
    struct transfer *transfer = &single->jobs[i].transfer;

    single->polls[i].fd = transfer->wants ? transfer->fd : -1;
    single->polls[i].events = transfer->wants;
    if (!transfer_ended(transfer))
        return;
    single->n_running--;
    report_transfer(single->report, transfer, single->jobs[i].peer, clock_now());
}

static void step_due(struct single *single)
{
    int64_t now = clock_now();

    for (size_t i = 0; i < single->n_jobs; i++) {
        struct transfer *transfer = &single->jobs[i].transfer;
        short revents = single->polls[i].revents;
        single->polls[i].revents = 0;
        if (transfer_ended(transfer) || (!revents && now < transfer->wake))
            continue;
        transfer_step(transfer, revents, now);
        settle_job(single, i);
        now = clock_now(); /* one turn of sending may have taken its time */
    }
}

/* On a signal, or, with the errno of poll(2), because there is no way to go on. */
static void stop_all(struct single *single, int error)
{
    for (size_t i = 0; i < single->n_jobs; i++) {
        struct transfer *transfer = &single->jobs[i].transfer;
        if (transfer_ended(transfer))
            continue;
        if (error)
            transfer_break(transfer, "poll", error);
        else
            transfer_stop(transfer);
        settle_job(single, i);
    }
}

/* Sending is tried before it is waited for: a fresh socket has room, and most files fit. */
static void start_all(struct single *single)
{
    int64_t now = clock_now();

    for (size_t i = 0; i < single->n_jobs; i++) {
        struct connection *connection = &single->handover->connections[i];
        struct job *job = &single->jobs[i];
        struct source *source = sources_for(single->sources, i)->current;
        job->peer = connection->peer;
        transfer_slot_init(&job->slot, source, NULL, now); /* nobody goes on with it */
        transfer_start(&job->transfer, &job->slot, connection->fd, connection->kind, source,
            &single->limits, now);
        connection->fd = -1;
        single->polls[i].revents = POLLOUT;
    }
}

static void loop(struct single *single)
{
    struct pollfd *signals = &single->polls[single->n_jobs];

    step_due(single);
    while (single->n_running > 0) {
        int n = poll(single->polls, single->n_jobs + 1, poll_timeout(single, clock_now()));
        if (n < 0 && (errno == ENOMEM || errno == EAGAIN))
            n = poll(signals, 1, PAUSE); /* a single descriptor needs no memory */
        if (n < 0 && errno != EINTR)
            stop_all(single, errno); /* EINVAL: RLIMIT_NOFILE was lowered below us */
        else if (n > 0 && signals->revents)
            stop_all(single, 0);
        else
            step_due(single);
    }
}

int single_open(struct single *single, struct handover *handover, const struct sources *sources,
    const struct options *options, struct report *report, struct problem *problem)
{
    size_t n = handover->n_connections;

    *single = (struct single){
        .handover = handover,
        .sources = sources,
        .report = report,
        .limits = {options->stall_timeout, options->drain_timeout},
        .n_jobs = n,
        .n_running = n,
        .signals = -1,
    };
    int r = pace_all(handover, options->rate, problem);
    if (r < 0)
        return r;
    single->signals = signals_open(NULL, problem);
    if (single->signals < 0)
        return single->signals;
    single->jobs = calloc(n, sizeof(*single->jobs));
    single->polls = calloc(n + 1, sizeof(*single->polls));
    if (!single->jobs || !single->polls)
        return problem_set(problem, ENOMEM, EX_OSERR, "out of memory for %zu connections", n);
    single->polls[n] = (struct pollfd){.fd = single->signals, .events = POLLIN};
    return 0;
}

void single_run(struct single *single)
{
    /* For a service of Type=notify, which would wait for it in vain, and then be killed. */
    (void)notify_send(&single->handover->notify, "READY=1");
    start_all(single);
    loop(single);
}

void single_close(struct single *single)
{
    free(single->jobs);
    free(single->polls);
    if (single->signals >= 0)
        (void)close(single->signals);
}
