/* SPDX-License-Identifier: MIT */

/*
 * What went wrong in others: a timeout rounded down to 0 ms that made a loop spin until its time
 * had come; an EINTR that ended all transfers; one client's end that hid another's; a signal that
 * came between the look at a flag and the wait. Clock, clients and poll(2) are scripted, the
 * signals are real.
 */

#include "kernel.h"
#include "single.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sysexits.h>
#include <syslog.h>
#include <unistd.h>

#define MIB    ((off_t)1 << 20)
#define MS     CLOCK_MS
#define SECOND CLOCK_SECOND
#define START  (1000 * SECOND) /* of the scripted clock */

struct client {
    enum socket_kind kind;
    off_t room;  /* 0: any */
    off_t reads; /* bytes a millisecond */
    struct kernel_send script[3];
    bool stays; /* does not answer the end */
    enum kernel_view view;
};

struct scene {
    const char *name;
    off_t size;
    struct client clients[4];
    int n;
    struct kernel_event events[6];
    int64_t stall_timeout; /* 0: a minute; -1: never */
    int64_t drain_timeout; /* 0: ten seconds; -1: never */
    int64_t rate;
    int status;
    int64_t lasts; /* so many ns at least ... */
    int64_t less;  /* ... and less than that; 0: any */
};

#define GOOD                                                                                       \
    {                                                                                              \
        SOCKET_TCP, 0, 64 * 1024, {{0}}, false, VIEW_END                                           \
    }
#define GOOD_UNIX                                                                                  \
    {                                                                                              \
        SOCKET_UNIX, 200000, 64 * 1024, {{0}}, false, VIEW_END                                     \
    }
#define STUCK                                                                                      \
    {                                                                                              \
        SOCKET_TCP, 1000, 0, {{0}}, false, VIEW_RESET                                              \
    }
#define STUCK_LEFT                                                                                 \
    {                                                                                              \
        SOCKET_TCP, 1000, 0, {{0}}, false, VIEW_OWN_RESET                                          \
    }
#define SLOW                                                                                       \
    {                                                                                              \
        SOCKET_TCP, 1000, 1, {{0}}, false, VIEW_RESET                                              \
    }
#define FAILS(e)                                                                                   \
    {                                                                                              \
        SOCKET_TCP, 0, 64 * 1024, {{SEND_FAILS, e}}, false, VIEW_RESET                             \
    }
#define LATE(ms) (START + (ms)*MS)

static const struct scene scenes[] = {
    {"one client, a small file", 1000, {GOOD}, 1, {{0}}, .less = 10 * MS},
    {"one client, no file at all", 0, {GOOD}, 1, {{0}}, .less = 10 * MS},
    {"one client, a large file", 20 * MIB, {GOOD}, 1, {{0}}, .lasts = 300 * MS, .less = 500 * MS},
    {"four clients at once", 3 * MIB, {GOOD, GOOD, GOOD_UNIX, GOOD}, 4, {{0}}, .less = 300 * MS},
    {"a client that stays for ever", 1000, {{SOCKET_TCP, 0, 1000, {{0}}, true, VIEW_END}}, 1, {{0}},
        .lasts = 10 * SECOND, .less = 11 * SECOND},
    {"a client that stalls", 3 * MIB, {STUCK}, 1, {{0}}, .status = 75, .lasts = 60 * SECOND,
        .less = 60 * SECOND + 1},
    {"a client that is slow", 100000, {{SOCKET_TCP, 1000, 1, {{0}}, false, VIEW_END}}, 1, {{0}},
        .stall_timeout = SECOND, .drain_timeout = SECOND, .lasts = 99 * SECOND},
    {"no timeouts, and a reset in the end", 3 * MIB, {STUCK_LEFT}, 1,
        {{LATE(3600000), EVENT_RESETS, 0, 0}}, .stall_timeout = -1, .drain_timeout = -1,
        .status = 75, .lasts = 3600 * SECOND, .less = 3601 * SECOND},

    {"one leaves, three go on", 3 * MIB, {GOOD, STUCK_LEFT, GOOD, GOOD}, 4,
        {{LATE(2), EVENT_RESETS, 0, 1}}, .status = 75, .less = SECOND},
    {"one stalls, three go on", 3 * MIB, {GOOD, STUCK, GOOD, GOOD_UNIX}, 4, {{0}}, .status = 75,
        .lasts = 60 * SECOND, .less = 61 * SECOND},
    {"half-closed first, a large file", 3 * MIB, {GOOD}, 1, {{START, EVENT_ENDS, 0, 0}},
        .less = 300 * MS},
    {"half-closed first, no drain timeout", 3 * MIB, {GOOD}, 1, {{START, EVENT_ENDS, 0, 0}},
        .drain_timeout = -1, .less = 300 * MS},
    {"talks first, 1 MB", 3 * MIB, {GOOD}, 1, {{START, EVENT_INPUT, 1000000, 0}}, .less = 300 * MS},

    {"75, then 65: 65", 3 * MIB, {STUCK_LEFT, SLOW}, 2,
        {{LATE(1), EVENT_RESETS, 0, 0}, {LATE(9), EVENT_TRUNCATE, 10, 0}}, .status = 65},
    {"65, then 75: 65", 3 * MIB, {SLOW, STUCK}, 2, {{LATE(9), EVENT_TRUNCATE, 10, 0}}, .status = 65,
        .lasts = 60 * SECOND},
    {"74, then 75: 74", 3 * MIB, {FAILS(EIO), STUCK}, 2, {{0}}, .status = 74, .lasts = 60 * SECOND},
    {"75, then 74: 74", 3 * MIB,
        {STUCK_LEFT,
            {SOCKET_TCP, 0, 1, {{SEND_FAILS, EAGAIN}, {SEND_FAILS, EIO}}, false, VIEW_RESET}},
        2, {{START, EVENT_RESETS, 0, 0}}, .status = 74},
    {"71, then 74, then 0: 71", 3 * MIB, {FAILS(ENOMEM), FAILS(EIO), GOOD}, 3, {{0}}, .status = 71},
    {"0, then 74, then 71: 71", 3 * MIB, {GOOD, FAILS(EIO), FAILS(ENOMEM)}, 3, {{0}}, .status = 71},
    {"truncated: each of them 65", 3 * MIB, {SLOW, SLOW, SLOW}, 3,
        {{LATE(5), EVENT_TRUNCATE, 10, 0}}, .status = 65},
    {"overwritten: 65 as soon as it is looked at", 3 * MIB,
        {{SOCKET_TCP, 0, 64 * 1024, {{0}}, false, VIEW_RESET}}, 1, {{LATE(5), EVENT_TOUCH, 0, 0}},
        .status = 65},

    {"SIGTERM: all at once", 3 * MIB, {SLOW, STUCK, SLOW}, 3, {{LATE(7), EVENT_SIGNAL, SIGTERM, 0}},
        .status = 75, .lasts = 7 * MS, .less = 8 * MS},
    {"SIGINT", 3 * MIB, {SLOW}, 1, {{LATE(7), EVENT_SIGNAL, SIGINT, 0}}, .status = 75,
        .lasts = 7 * MS, .less = 8 * MS},
    {"SIGTERM after one was whole", 100, {GOOD, {SOCKET_TCP, 10, 0, {{0}}, false, VIEW_RESET}}, 2,
        {{LATE(500), EVENT_SIGNAL, SIGTERM, 0}}, .status = 75, .lasts = 500 * MS, .less = 501 * MS},
    {"SIGTERM when everything is acknowledged", 100, {{SOCKET_TCP, 0, 1000, {{0}}, true, VIEW_END}},
        1, {{LATE(500), EVENT_SIGNAL, SIGTERM, 0}}, .lasts = 500 * MS, .less = 501 * MS},
    {"SIGTERM with no timeout at all", 3 * MIB, {STUCK}, 1, {{LATE(7), EVENT_SIGNAL, SIGTERM, 0}},
        .stall_timeout = -1, .status = 75, .lasts = 7 * MS, .less = 8 * MS},

    {"poll: EINTR", 3 * MIB, {GOOD}, 1,
        {{LATE(1), EVENT_WAKE, EINTR, 0}, {LATE(2), EVENT_WAKE, EINTR, 0}}, .less = 300 * MS},
    {"poll: ENOMEM for a moment", 3 * MIB, {GOOD}, 1, {{LATE(1), EVENT_WAKE, ENOMEM, 0}},
        .less = 300 * MS},
    {"poll: EAGAIN for a moment", 3 * MIB, {GOOD}, 1, {{LATE(1), EVENT_WAKE, EAGAIN, 0}},
        .less = 300 * MS},
    {"the clock jumps an hour ahead", 3 * MIB,
        {GOOD, {SOCKET_TCP, 1000, 1, {{0}}, false, VIEW_OWN_RESET}}, 2,
        {{LATE(5), EVENT_JUMP, 3600 * SECOND, 0}, {LATE(3600010), EVENT_RESETS, 0, 1}},
        .status = 75, .less = 3601 * SECOND},
    {"paced", 1000, {GOOD, GOOD}, 2, {{0}}, .rate = 1 << 20, .less = 10 * MS},
};

struct stage {
    struct source source;
    struct served served;
    struct sources sources;
    struct options options;
    struct handover handover;
    struct connection connections[4];
    struct report report;
    struct problem problem;
};

/* The clients are there, and a handover that knows of them. */
static void build(struct stage *stage, const struct scene *scene)
{
    *stage = (struct stage){.options = {.length = OPTIONS_TO_THE_END, .rate = scene->rate}};
    kernel_reset(&stage->source, scene->size);
    stage->served = (struct served){.current = &stage->source};
    stage->sources = (struct sources){.served = &stage->served, .n = 1};
    stage->handover.notify.fd = -1;
    kernel.clock = true;
    kernel.events = scene->events;
    assert_true(kernel.now == START);
    stage->options.stall_timeout = scene->stall_timeout ? scene->stall_timeout : 60 * SECOND;
    stage->options.drain_timeout = scene->drain_timeout ? scene->drain_timeout : 10 * SECOND;
    if (scene->stall_timeout < 0)
        stage->options.stall_timeout = 0;
    if (scene->drain_timeout < 0)
        stage->options.drain_timeout = 0;
    stage->handover.connections = stage->connections;
    stage->handover.n_connections = (size_t)scene->n;
    for (int i = 0; i < scene->n; i++) {
        const struct client *client = &scene->clients[i];
        struct kernel_socket *s = kernel_connect(client->kind, NULL);
        s->room = client->room ? client->room : s->room;
        s->reads = client->reads;
        s->script = client->script;
        s->ends_at_end = !client->stays;
        stage->connections[i] = (struct connection){.fd = kernel_fd(s), .kind = client->kind};
        (void)snprintf(
            stage->connections[i].peer, sizeof(stage->connections[i].peer), "PEER-%d", i);
    }
    report_open(&stage->report, CHANNEL_STDERR, -1);
}

static int run(struct stage *stage)
{
    struct single single;

    int r = single_open(&single, &stage->handover, &stage->sources, &stage->options, &stage->report,
        &stage->problem);
    if (r == 0)
        single_run(&single);
    single_close(&single);
    return r;
}

static void test_scene(void **state)
{
    const struct scene *scene = *state;
    struct stage stage;

    kernel_forget_signals();
    build(&stage, scene);
    assert_int_equal(run(&stage), 0);
    int64_t lasted = kernel.now - START;
    assert_int_equal(stage.report.status, scene->status);
    for (int i = 0; i < scene->n; i++) {
        const struct kernel_socket *s = &kernel.sockets[i];
        if (s->view != scene->clients[i].view)
            fail_msg("client %d has come to know %d, not %d", i, s->view, scene->clients[i].view);
        if (s->view == VIEW_END)
            assert_int_equal(s->acked, scene->size);
        assert_false(s->open);
        assert_int_equal(stage.connections[i].fd, -1);
        assert_int_equal(kernel_calls(s, 'P'), scene->rate > 0);
        assert_true(s->pace == (unsigned long)scene->rate);
    }
    if (lasted < scene->lasts || (scene->less && lasted >= scene->less))
        fail_msg("it lasted %jd us", (intmax_t)(lasted / 1000));
}

/* ---- the timeout of poll ---- */

struct rounding {
    const char *name;
    int64_t stall_timeout;
    int first;           /* what the first poll(2) gets, ms */
    unsigned long polls; /* until the stall; 0: the test ends it */
};

static const struct rounding roundings[] = {
    {"whole milliseconds", 8 * 5 * MS, 5, 8},
    {"rounded up", 8 * (MS + 1), 2, 8},
    {"less than one", 8 * 1000, 1, 8},
    {"just below one", 8 * (MS - 1), 1, 8},
    {"a minute", 60 * SECOND, 7500, 8},
    {"more than an int holds", INT64_MAX, INT_MAX, 0},
    {"never", -1, -1, 0},
};

/* Were it rounded down, each look would need a second poll, and a spin of up to a millisecond. */
static void test_rounding(void **state)
{
    const struct rounding *c = *state;
    const struct scene scene = {.size = 3 * MIB,
        .clients = {STUCK},
        .n = 1,
        .events = {{START + (c->polls ? 3600 * SECOND : 1), EVENT_RESETS, 0, 0}},
        .stall_timeout = c->stall_timeout};
    struct stage stage;

    kernel_forget_signals();
    build(&stage, &scene);
    assert_int_equal(run(&stage), 0);
    assert_int_equal(stage.report.status, EX_TEMPFAIL);
    if (c->polls)
        assert_int_equal(kernel.polls, c->polls);
    assert_int_equal(kernel.first_timeout, c->first);
}

/* The nearest of all times counts, and one that has passed is now. */
static void test_nearest(void **state)
{
    const struct scene scene = {.size = 3 * MIB,
        .clients = {STUCK, {SOCKET_TCP, 0, 0, {{0}}, false, VIEW_RESET}, STUCK},
        .n = 3,
        .stall_timeout = 80 * SECOND};
    struct stage stage;

    (void)state;
    kernel_forget_signals();
    build(&stage, &scene);
    assert_int_equal(run(&stage), 0);
    assert_int_equal(kernel.first_timeout, 0 + 10000); /* sending: the looks alone */
    assert_int_equal(stage.report.status, EX_TEMPFAIL);
    /* The second was in FINISHING, with its rechecks, and ended with the others all the same. */
    assert_true(kernel.now - START >= 80 * SECOND && kernel.now - START < 81 * SECOND);
}

/*
 * While the disk seeks for one client, the time of another has come: poll(2) must not wait for what
 * has passed (a negative timeout would be: for ever).
 */
static void test_slow_disk(void **state)
{
    static const struct scene scene = {.size = 3 * MIB, .clients = {GOOD, GOOD, GOOD}, .n = 3};
    struct stage stage;

    (void)state;
    kernel_forget_signals();
    build(&stage, &scene);
    kernel.sockets[1].room = 100000;
    kernel.send_cost = 10 * MS;
    assert_int_equal(run(&stage), 0);
    assert_int_equal(stage.report.status, 0);
    for (int i = 0; i < scene.n; i++)
        assert_int_equal(kernel.sockets[i].view, VIEW_END);
    assert_true(kernel.zero_timeouts > 0);
}

/* ---- refused before the first byte ---- */

struct refusal {
    const char *name;
    enum socket_kind kind;
    int64_t rate;
    int pace_error;
    int calloc_fails;
    int signalfd_error;
    int result;
    int status;
    const char *says;
};

static const struct refusal refusals[] = {
    {"a rate on a UNIX socket", SOCKET_UNIX, 1 << 20, 0, 0, 0, -EOPNOTSUPP, EX_USAGE,
        "--rate: the socket to PEER-1 cannot be paced"},
    {"a rate on MPTCP", SOCKET_MPTCP, 1 << 20, 0, 0, 0, -EOPNOTSUPP, EX_USAGE,
        "--rate: the socket to PEER-1"},
    {"a rate on vsock", SOCKET_VSOCK, 1 << 20, 0, 0, 0, -EOPNOTSUPP, EX_USAGE,
        "only plain TCP can"},
    {"a rate that the kernel refuses", SOCKET_TCP, 1 << 20, EINVAL, 0, 0, -EINVAL, EX_USAGE,
        "Invalid argument"},
    {"no memory", SOCKET_TCP, 0, 0, 1, 0, -ENOMEM, EX_OSERR, "out of memory for 2 connections"},
    {"no memory, a little later", SOCKET_TCP, 0, 0, 2, 0, -ENOMEM, EX_OSERR, "out of memory"},
    {"no signalfd", SOCKET_TCP, 0, 0, 0, EMFILE, -EMFILE, EX_OSERR,
        "signalfd: Too many open files"},
};

static void test_refusal(void **state)
{
    const struct refusal *c = *state;
    const struct scene scene = {
        .size = 1000, .clients = {GOOD, {c->kind, 0, 1, {{0}}, false, VIEW_OPEN}}, .n = 2};
    struct stage stage;

    kernel_forget_signals();
    build(&stage, &scene);
    stage.options.rate = c->rate;
    kernel.sockets[1].pace_error = c->pace_error;
    kernel.calloc_fails = c->calloc_fails;
    kernel.signalfd_error = c->signalfd_error;
    assert_int_equal(run(&stage), c->result);
    assert_int_equal(stage.problem.status, c->status);
    if (!strstr(stage.problem.text, c->says))
        fail_msg("'%s' does not say '%s'", stage.problem.text, c->says);
    for (int i = 0; i < scene.n; i++) { /* both are the caller's still, and have seen nothing */
        assert_int_equal(stage.connections[i].fd, KERNEL_SOCKET + i);
        assert_true(kernel.sockets[i].open);
        assert_int_equal(kernel.sockets[i].sends, 0);
    }
    assert_int_equal(stage.report.status, 0); /* reported by the caller, once */
}

/* A poll(2) that cannot be right: reset rather than wait for ever. */
static void test_poll_fails(void **state)
{
    static const int errors[] = {EINVAL, EFAULT};

    (void)state;
    for (size_t i = 0; i < LENGTH(errors); i++) {
        const struct scene scene = {.size = 3 * MIB,
            .clients = {STUCK, STUCK},
            .n = 2,
            .events = {{LATE(5), EVENT_WAKE, errors[i], 0}}};
        struct stage stage;
        kernel_forget_signals();
        build(&stage, &scene);
        assert_int_equal(run(&stage), 0);
        assert_int_equal(stage.report.status, EX_OSERR);
        for (int j = 0; j < scene.n; j++) {
            assert_int_equal(kernel.sockets[j].view, VIEW_RESET);
            assert_int_equal(stage.connections[j].fd, -1);
        }
    }
}

/* ---- the reports ---- */

/* One line for each, with its own name, as soon as it has ended. */
static void test_reports(void **state)
{
    static const struct scene scene = {.size = 3 * MIB,
        .clients = {GOOD, STUCK_LEFT, SLOW, FAILS(EIO)},
        .n = 4,
        .events = {{LATE(2), EVENT_RESETS, 0, 1}, {LATE(500), EVENT_SIGNAL, SIGTERM, 0}}};
    static const char *const order[] = {"file unreadable: FILE to PEER-3: 0 of 3145728 bytes",
        "client left: FILE to PEER-1: 1000 of 3145728 bytes",
        "complete: FILE to PEER-0: 3145728 of 3145728 bytes", "stopped: FILE to PEER-2: 1"};
    struct stage stage;
    char text[4096];
    int ends[2];
    int saved = dup(STDERR_FILENO);

    (void)state;
    kernel_forget_signals();
    build(&stage, &scene);
    stage.report.level = LOG_INFO;
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(dup2(ends[1], STDERR_FILENO), STDERR_FILENO);
    int r = run(&stage);
    assert_int_equal(dup2(saved, STDERR_FILENO), STDERR_FILENO);
    assert_int_equal(close(saved) + close(ends[1]), 0);
    ssize_t n = read(ends[0], text, sizeof(text) - 1);
    assert_int_equal(close(ends[0]), 0);
    assert_int_equal(r, 0);
    assert_true(n > 0);
    text[n] = '\0';
    char *line = text;
    for (size_t i = 0; i < LENGTH(order); i++) {
        if (strncmp(line, "decant: ", 8) != 0 || strncmp(line + 8, order[i], strlen(order[i])) != 0)
            fail_msg("'%s' does not begin with 'decant: %s'", line, order[i]);
        line = strchr(line, '\n') + 1;
    }
    assert_string_equal(line, "");
    assert_int_equal(stage.report.status, EX_IOERR);
}

/* Under Type=notify a client would wait for ever for its turn: once is enough. */
static void test_ready(void **state)
{
    static const struct scene scene = {.size = 1000, .clients = {GOOD}, .n = 1};
    struct stage stage;
    char text[64];
    int ends[2];

    (void)state;
    kernel_forget_signals();
    build(&stage, &scene);
    assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM, 0, ends), 0);
    stage.handover.notify.fd = ends[0];
    assert_int_equal(run(&stage), 0);
    assert_int_equal(recv(ends[1], text, sizeof(text), MSG_DONTWAIT), strlen("READY=1"));
    assert_memory_equal(text, "READY=1", strlen("READY=1"));
    assert_int_equal(recv(ends[1], text, sizeof(text), MSG_DONTWAIT), -1);
    assert_int_equal(close(ends[0]) + close(ends[1]), 0);
}

/* Each socket has its file, where they have names and FILE is a directory. */
static void test_file_of_each(void **state)
{
    static const struct scene scene = {.size = 1000, .clients = {GOOD, GOOD}, .n = 2};
    struct stage stage;
    struct source other;
    struct served served[2];

    (void)state;
    kernel_forget_signals();
    build(&stage, &scene);
    other = stage.source;
    other.end = 400;
    served[0] = stage.served;
    served[1] = (struct served){.current = &other};
    stage.sources = (struct sources){.served = served, .n = 2};
    assert_int_equal(run(&stage), 0);
    assert_int_equal(stage.report.status, 0);
    assert_int_equal(kernel.sockets[0].acked, 1000);
    assert_int_equal(kernel.sockets[1].acked, 400);
}

/* The signal was there before we began: no moment at which it is missed. */
static void test_early_signal(void **state)
{
    static const struct scene scene = {.size = 3 * MIB, .clients = {SLOW, STUCK}, .n = 2};
    struct stage stage;

    (void)state;
    kernel_forget_signals();
    build(&stage, &scene);
    assert_int_equal(kill(getpid(), SIGTERM), 0);
    assert_int_equal(run(&stage), 0);
    assert_true(kernel.now == START);
    assert_int_equal(stage.report.status, EX_TEMPFAIL);
    assert_int_equal(kernel.sockets[0].view, VIEW_RESET);
    assert_int_equal(kernel.sockets[1].view, VIEW_RESET);
}

int main(void)
{
    static struct suite suite;

    for (size_t i = 0; i < LENGTH(scenes); i++)
        suite_add(&suite, test_scene, &scenes[i], "scene: %s", scenes[i].name);
    for (size_t i = 0; i < LENGTH(roundings); i++)
        suite_add(&suite, test_rounding, &roundings[i], "timeout: %s", roundings[i].name);
    suite_add(&suite, test_nearest, NULL, "timeout: the nearest of several");
    suite_add(&suite, test_slow_disk, NULL, "timeout: passed while a disk was slow");
    for (size_t i = 0; i < LENGTH(refusals); i++)
        suite_add(&suite, test_refusal, &refusals[i], "refused: %s", refusals[i].name);
    suite_add(&suite, test_poll_fails, NULL, "poll: fails for good");
    suite_add(&suite, test_reports, NULL, "reports: one each, as they end");
    suite_add(&suite, test_ready, NULL, "ready: told once");
    suite_add(&suite, test_file_of_each, NULL, "files: each socket its own");
    suite_add(&suite, test_early_signal, NULL, "signal: before the first wait");
    int failed = suite_run(&suite, "single");
    kernel_forget_signals();
    return failed;
}
