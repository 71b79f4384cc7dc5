/* SPDX-License-Identifier: MIT */

/*
 * What went wrong in others: a send that was short, an EAGAIN in the last byte, a 0 before the end,
 * a client that talked first or left in between, and each time the client got a clean end of stream
 * on a part of the file. The table of transfer.h says what must happen instead: each of its rows is
 * a test here, made from that very table.
 */

#include "kernel.h"

#include "report.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#define KIB 1024
#define MIB ((off_t)1 << 20)

struct world {
    struct source source;
    struct transfer_slot slot;
    struct transfer_limits limits;
    struct transfer t;
    struct kernel_socket *s;
};

/* A fresh transfer of the whole file, as single.c begins one. */
static void begin(struct world *w, enum socket_kind kind, off_t size)
{
    kernel_reset(&w->source, size);
    w->limits = (struct transfer_limits){60 * CLOCK_SECOND, 10 * CLOCK_SECOND};
    transfer_slot_init(&w->slot, &w->source, NULL, kernel.now);
    w->s = kernel_connect(kind, &w->slot);
    transfer_start(&w->t, &w->slot, kernel_fd(w->s), kind, &w->source, &w->limits, kernel.now);
}

static void check_plan(const struct world *w)
{
    const struct transfer *t = &w->t;

    if (transfer_ended(t)) {
        assert_int_equal(t->fd, -1);
        assert_int_equal(t->wants, 0);
        assert_true(t->wake == CLOCK_NEVER);
        assert_false(w->s->open);
        return;
    }
    assert_true(w->s->open);
    if (t->peer_ended) /* POLLIN would be ready for ever */
        assert_int_equal(t->wants & POLLIN, 0);
    if (!t->wants && t->wake == CLOCK_NEVER)
        fail_msg("it waits for nothing at all");
    if (kernel_calls(w->s, 'F') == 0 && w->t.kind <= SOCKET_MPTCP)
        assert_true(w->s->armed);
}

static void step(struct world *w, short revents)
{
    kernel_turn(w->s);
    transfer_step(&w->t, revents, kernel.now);
    check_plan(w);
}

/* What poll(2) would report now, given what the transfer asks for. */
static void step_ready(struct world *w)
{
    step(w, w->t.wants ? kernel_revents(w->s, w->t.wants) : 0);
}

/* One round of the loop that single.c has; time goes on only if nothing is ready. */
static void round_trip(struct world *w)
{
    struct pollfd p = {.fd = w->t.wants ? w->t.fd : -1, .events = w->t.wants};

    (void)kernel_wait(&p, 1, w->t.wake);
    if (p.revents || kernel.now >= w->t.wake)
        step(w, p.revents);
}

static void go_on(struct world *w)
{
    for (int i = 0; !transfer_ended(&w->t); i++) {
        if (i > 200000)
            fail_msg("it never ends");
        round_trip(w);
    }
}

static void drive(struct world *w)
{
    step(w, POLLOUT);
    go_on(w);
}

/* A client as it should be. */
static void well_behaved(struct world *w)
{
    w->s->reads = 256 * KIB;
    w->s->ends_at_end = true;
    if (w->s->kind == SOCKET_UNIX || w->s->kind == SOCKET_VSOCK)
        w->s->reads = 64 * KIB;
}

static int status_of(const struct world *w)
{
    struct report report;

    report_open(&report, CHANNEL_STDERR, -1); /* graver than anything: nothing is printed */
    report_transfer(&report, &w->t, "PEER", kernel.now);
    return report.status;
}

/* What the report takes as proof. The end may be counted as one byte: the report clamps it. */
static void check_acknowledged(const struct world *w)
{
    off_t promised = w->slot.end - w->slot.start;

    if (w->t.acknowledged < promised)
        fail_msg("complete, and only %jd of %jd bytes are called acknowledged",
            (intmax_t)w->t.acknowledged, (intmax_t)promised);
    assert_true(w->t.acknowledged <= promised + (w->t.kind <= SOCKET_MPTCP));
}

static void check_whole(const struct world *w)
{
    assert_int_equal(w->slot.state, TRANSFER_DONE);
    assert_int_equal(w->t.event, TRANSFER_DRAINED);
    assert_int_equal(w->s->view, VIEW_END);
    assert_int_equal(w->s->queued, w->slot.end - w->slot.start);
    assert_int_equal(w->s->acked, w->s->queued);
    assert_int_equal(kernel_calls(w->s, 'X'), 0);
    assert_int_equal(status_of(w), EX_OK);
    assert_null(w->t.call);
    if (w->t.kind != SOCKET_VSOCK || !w->s->outq_error)
        check_acknowledged(w);
}

/* Reset at once, by us, and before anything that would look like an end. */
static void check_reset(const struct world *w)
{
    const char *calls = w->s->calls;

    assert_int_equal(w->slot.state, TRANSFER_ABORTED);
    /* Where both ends were sent there is none, and the kernel goes on delivering. */
    bool last_ack = w->s->view == VIEW_END && w->s->fin && w->s->ended;
    assert_true(w->s->view == VIEW_RESET || w->s->view == VIEW_OWN_RESET || last_ack);
    assert_string_equal(calls + strlen(calls) - 2, "XC");
    assert_true(w->s->armed || w->s->linger_error);
}

/* ---- the table ---- */

struct row {
    enum transfer_state state;
    enum transfer_event event;
    enum transfer_state next;
    const char *name;
    const char *sees;
};

#define ROW(state, event, next, sees)                                                              \
    {TRANSFER_##state, TRANSFER_##event, TRANSFER_##next, #state " " #event " -> " #next, sees},
static const struct row rows[] = {TRANSFER_TABLE(ROW)};
#undef ROW

enum how { BY_STEP, BY_ROUNDS, BY_SILENCE, BY_STOP, BY_RESTART };

struct scenario {
    enum transfer_state state;
    enum transfer_event event;
    bool fresh; /* before the first step, else from where reach() leads */
    off_t size;
    enum how how;
    struct {
        enum kernel_event_kind kind;
        off_t value;
    } before[3]; /* what happens just before */
    struct kernel_send script[2];
    int stat_error;
    int linger_error;
    int shutdown_error;
    int64_t seek;     /* ns that the disk takes for what has not been sent; 0: it is in memory */
    const char *call; /* what the transfer must blame, or NULL */
};

#define ROOM  (64 * KIB)    /* in SENDING */
#define LATER (ROOM + 1000) /* does not fit at once */
#define SMALL ((off_t)1000) /* fits at once */
#define ALL   ((off_t)1 << 40)

static const struct scenario scenarios[] = {
    {TRANSFER_SENDING, TRANSFER_PROGRESS, .fresh = true, .size = 3 * MIB},
    {TRANSFER_SENDING, TRANSFER_FULL, .fresh = true, .size = LATER,
        .script = {{SEND_AT_MOST, 1000}, {SEND_FAILS, EAGAIN}}},
    {TRANSFER_SENDING, TRANSFER_FULL, .size = 3 * ROOM, .before = {{EVENT_ACK, ROOM}}},
    {TRANSFER_SENDING, TRANSFER_COLD, .fresh = true, .size = SMALL, .seek = 5 * CLOCK_MS},
    {TRANSFER_SENDING, TRANSFER_COLD, .fresh = true, .size = 20 * MIB, .seek = 5 * CLOCK_MS},
    {TRANSFER_SENDING, TRANSFER_COLD, .size = LATER, .before = {{EVENT_ACK, 100}},
        .seek = 5 * CLOCK_MS},
    {TRANSFER_SENDING, TRANSFER_COLD, .size = LATER, .before = {{EVENT_ACK, ROOM}, {EVENT_ENDS, 0}},
        .seek = 5 * CLOCK_MS},
    {TRANSFER_SENDING, TRANSFER_QUEUED_AT_ONCE, .fresh = true, .size = SMALL},
    {TRANSFER_SENDING, TRANSFER_QUEUED_AT_ONCE, .fresh = true, .size = 1 * MIB},
    {TRANSFER_SENDING, TRANSFER_QUEUED_AT_ONCE, .fresh = true, .size = 0},
    {TRANSFER_SENDING, TRANSFER_QUEUED, .size = LATER, .before = {{EVENT_ROOM, ROOM}}},
    {TRANSFER_SENDING, TRANSFER_SHORT, .size = LATER,
        .before = {{EVENT_ACK, ROOM}, {EVENT_TRUNCATE, 10}}},
    {TRANSFER_SENDING, TRANSFER_SHORT, .fresh = true, .size = SMALL,
        .before = {{EVENT_TRUNCATE, 0}}},
    {TRANSFER_SENDING, TRANSFER_SHORT, .fresh = true, .size = SMALL,
        .before = {{EVENT_TRUNCATE, SMALL - 1}}},
    {TRANSFER_SENDING, TRANSFER_CHANGED, .fresh = true, .size = SMALL,
        .before = {{EVENT_TOUCH, 0}}},
    {TRANSFER_SENDING, TRANSFER_CHANGED, .fresh = true, .size = SMALL,
        .before = {{EVENT_TRUNCATE, SMALL + 1}}},
    {TRANSFER_SENDING, TRANSFER_UNREADABLE, .size = LATER, .before = {{EVENT_ACK, ROOM}},
        .script = {{SEND_FAILS, EIO}}, .call = "sendfile"},
    {TRANSFER_SENDING, TRANSFER_BROKEN, .size = LATER, .before = {{EVENT_ACK, ROOM}},
        .script = {{SEND_FAILS, ENOMEM}}, .call = "sendfile"},
    {TRANSFER_SENDING, TRANSFER_BROKEN, .fresh = true, .size = SMALL, .stat_error = EIO,
        .call = "fstat"},
    {TRANSFER_SENDING, TRANSFER_LEFT, .size = LATER, .before = {{EVENT_RESETS, 0}}, .call = "recv"},
    {TRANSFER_SENDING, TRANSFER_LEFT, .fresh = true, .size = LATER, .before = {{EVENT_RESETS, 0}},
        .call = "sendfile"},
    {TRANSFER_SENDING, TRANSFER_LEFT, .size = LATER,
        .before = {{EVENT_ENDS, 0}, {EVENT_RESETS, 0}}},
    {TRANSFER_SENDING, TRANSFER_STALLED, .size = LATER, .how = BY_SILENCE},
    {TRANSFER_SENDING, TRANSFER_STOPPED, .size = LATER, .how = BY_STOP},
    {TRANSFER_SENDING, TRANSFER_STOPPED, .fresh = true, .size = LATER, .how = BY_STOP},
    {TRANSFER_SENDING, TRANSFER_RESTARTED, .size = LATER, .how = BY_RESTART},

    {TRANSFER_FINISHING, TRANSFER_PROGRESS, .before = {{EVENT_ACK, 1}}},
    {TRANSFER_FINISHING, TRANSFER_ACKNOWLEDGED, .before = {{EVENT_ACK, ALL}}},
    {TRANSFER_FINISHING, TRANSFER_SHORT, .before = {{EVENT_ACK, ALL}, {EVENT_TRUNCATE, 10}}},
    {TRANSFER_FINISHING, TRANSFER_CHANGED, .before = {{EVENT_ACK, ALL}, {EVENT_TOUCH, 0}}},
    {TRANSFER_FINISHING, TRANSFER_CHANGED, .before = {{EVENT_TRUNCATE, 9 * MIB}, {EVENT_ACK, ALL}}},
    {TRANSFER_FINISHING, TRANSFER_BROKEN, .before = {{EVENT_ACK, ALL}}, .stat_error = EIO,
        .call = "fstat"},
    {TRANSFER_FINISHING, TRANSFER_LEFT, .before = {{EVENT_RESETS, 0}}, .call = "recv"},
    {TRANSFER_FINISHING, TRANSFER_LEFT, .before = {{EVENT_ACK, ALL}, {EVENT_RESETS, 0}},
        .call = "recv"},
    {TRANSFER_FINISHING, TRANSFER_LEFT, .before = {{EVENT_ENDS, 0}, {EVENT_RESETS, 0}},
        .how = BY_ROUNDS, .call = "SO_ERROR"},
    {TRANSFER_FINISHING, TRANSFER_STALLED, .how = BY_SILENCE},
    {TRANSFER_FINISHING, TRANSFER_STOPPED, .how = BY_STOP},
    {TRANSFER_FINISHING, TRANSFER_STOPPED, .how = BY_STOP, .before = {{EVENT_ACK, ALL}}},
    {TRANSFER_FINISHING, TRANSFER_RESTARTED, .how = BY_RESTART},

    {TRANSFER_DRAINING, TRANSFER_PROGRESS, .before = {{EVENT_ACK, 1}}},
    {TRANSFER_DRAINING, TRANSFER_PROGRESS, .before = {{EVENT_ACK, SMALL}}},
    {TRANSFER_DRAINING, TRANSFER_ACKNOWLEDGED, .before = {{EVENT_ACK, ALL}}},
    {TRANSFER_DRAINING, TRANSFER_DRAINED, .before = {{EVENT_ACK, ALL}, {EVENT_ENDS, 0}}},
    {TRANSFER_DRAINING, TRANSFER_DRAINED, .before = {{EVENT_ACK, ALL}, {EVENT_RESETS, 0}}},
    {TRANSFER_DRAINING, TRANSFER_DRAINED, .before = {{EVENT_ACK, ALL}}, .how = BY_STOP},
    {TRANSFER_DRAINING, TRANSFER_DRAINED, .before = {{EVENT_ACK, ALL}}, .how = BY_SILENCE},
    {TRANSFER_DRAINING, TRANSFER_SHORT, .before = {{EVENT_ACK, ALL}, {EVENT_TRUNCATE, 10}}},
    {TRANSFER_DRAINING, TRANSFER_SHORT,
        .before = {{EVENT_ACK, ALL}, {EVENT_ENDS, 0}, {EVENT_TRUNCATE, 0}}},
    {TRANSFER_DRAINING, TRANSFER_CHANGED, .before = {{EVENT_ACK, ALL}, {EVENT_TOUCH, 0}}},
    {TRANSFER_DRAINING, TRANSFER_CHANGED,
        .before = {{EVENT_ACK, ALL}, {EVENT_ENDS, 0}, {EVENT_TOUCH, 0}}},
    {TRANSFER_DRAINING, TRANSFER_CHANGED, .before = {{EVENT_ACK, ALL}, {EVENT_TOUCH, 0}},
        .how = BY_STOP},
    {TRANSFER_DRAINING, TRANSFER_BROKEN, .before = {{EVENT_ACK, ALL}}, .stat_error = EIO,
        .call = "fstat"},
    {TRANSFER_DRAINING, TRANSFER_BROKEN, .fresh = true, .linger_error = ENOMEM,
        .call = "setsockopt"},
    {TRANSFER_DRAINING, TRANSFER_BROKEN, .fresh = true, .shutdown_error = EBADF,
        .call = "shutdown"},
    {TRANSFER_DRAINING, TRANSFER_LEFT, .before = {{EVENT_RESETS, 0}}, .call = "recv"},
    {TRANSFER_DRAINING, TRANSFER_LEFT, .before = {{EVENT_ACK, SMALL - 1}, {EVENT_RESETS, 0}},
        .call = "recv"},
    {TRANSFER_DRAINING, TRANSFER_DRAINED, .before = {{EVENT_ACK, SMALL}, {EVENT_RESETS, 0}}},
    {TRANSFER_DRAINING, TRANSFER_LEFT, .fresh = true, .shutdown_error = ENOTCONN,
        .call = "shutdown"},
    {TRANSFER_DRAINING, TRANSFER_STALLED, .how = BY_SILENCE},
    {TRANSFER_DRAINING, TRANSFER_STALLED, .before = {{EVENT_ACK, SMALL - 1}}, .how = BY_SILENCE},
    {TRANSFER_DRAINING, TRANSFER_DRAINED, .before = {{EVENT_ACK, SMALL}}, .how = BY_SILENCE},
    {TRANSFER_DRAINING, TRANSFER_STOPPED, .how = BY_STOP},
    {TRANSFER_DRAINING, TRANSFER_STOPPED, .before = {{EVENT_ACK, SMALL - 1}}, .how = BY_STOP},
    {TRANSFER_DRAINING, TRANSFER_DRAINED, .before = {{EVENT_ACK, SMALL}}, .how = BY_STOP},
    {TRANSFER_DRAINING, TRANSFER_RESTARTED, .how = BY_RESTART},
};

struct row_test {
    const struct row *row;
    const struct scenario *scenario;
};

/* Leads a transfer into the state by what the world does, not by writing the state. */
static void reach(struct world *w, const struct scenario *c)
{
    static const off_t sizes[] = {[TRANSFER_FINISHING] = 3 * MIB, [TRANSFER_DRAINING] = SMALL};

    begin(w, SOCKET_TCP, c->size ? c->size : sizes[c->state]);
    if (c->state == TRANSFER_SENDING && !c->fresh)
        w->s->room = ROOM;
    if (c->fresh)
        return;
    while (w->slot.state != c->state || (c->state == TRANSFER_SENDING && w->slot.offset == 0))
        step(w, POLLOUT);
    assert_int_equal(w->slot.state, c->state);
    if (c->state == TRANSFER_SENDING)
        assert_int_equal(w->t.event, TRANSFER_FULL);
}

static void provoke(struct world *w, const struct scenario *c)
{
    struct transfer successor;
    int64_t since = kernel.now;

    w->s->script = c->script;
    w->s->linger_error = c->linger_error;
    w->s->shutdown_error = c->shutdown_error;
    for (size_t i = 0; i < LENGTH(c->before); i++)
        kernel_do(c->before[i].kind, w->s, c->before[i].value);
    kernel.file.error = c->stat_error;
    kernel.file.on_disk = c->seek > 0;
    kernel.file.cached = w->slot.offset;
    kernel.file.seek = c->seek;
    switch (c->how) {
    case BY_STEP:
        if (c->fresh)
            step(w, POLLOUT);
        else
            step_ready(w);
        break;
    case BY_ROUNDS: /* the first only learns of the client's end, which hides the error */
        for (int i = 0; i < 3 && !transfer_ended(&w->t); i++)
            round_trip(w);
        break;
    case BY_STOP:
        transfer_stop(&w->t);
        check_plan(w);
        break;
    case BY_RESTART:
        /* The process is gone, the socket and the slot are not. */
        w->s->restarted_at_end = w->slot.state == TRANSFER_DRAINING;
        transfer_start(
            &successor, &w->slot, kernel_fd(w->s), SOCKET_TCP, &w->source, &w->limits, kernel.now);
        w->t = successor;
        break;
    case BY_SILENCE:
        go_on(w);
        since += c->state == TRANSFER_DRAINING ? w->limits.drain_timeout : w->limits.stall_timeout;
        if (c->before[0].kind == EVENT_NONE) /* progress at the first look makes it longer */
            assert_int_equal(kernel.now, since);
        break;
    }
}

static void sees_reset(struct world *w)
{
    check_reset(w);
    assert_int_equal(w->s->view, VIEW_RESET);
}

static void sees_own_reset(struct world *w)
{
    check_reset(w);
    assert_int_equal(status_of(w), EX_TEMPFAIL);
}

static void sees_more(struct world *w)
{
    assert_false(transfer_ended(&w->t));
    assert_int_equal(w->s->view, w->slot.state == TRANSFER_DRAINING ? VIEW_END : VIEW_OPEN);
    assert_true(w->slot.state == TRANSFER_SENDING || w->t.acknowledged > 0);
    well_behaved(w);
    go_on(w);
    check_whole(w);
}

static void sees_full(struct world *w)
{
    assert_true(w->t.wants & POLLOUT);
    assert_true(w->slot.held);
    sees_more(w);
}

static void sees_no_more_yet(struct world *w)
{
    unsigned long sends = w->s->sends;
    off_t offset = w->slot.offset;

    assert_true(w->slot.held); /* it takes time: the end will be held back */
    assert_int_equal(w->t.wants, w->t.peer_ended ? 0 : POLLIN);
    assert_true(w->t.wake == kernel.now + CLOCK_MS);
    assert_true(kernel.file.advised_from == offset); /* the disk knows, and the next MiB too */
    assert_true(kernel.file.advised_to ==
                (w->slot.end < offset + 8 * MIB ? w->slot.end : offset + 8 * MIB));
    kernel.now += CLOCK_MS;
    step(w, 0);
    assert_int_equal(w->t.event, TRANSFER_COLD);
    assert_int_equal(w->s->sends, sends);
    assert_int_equal(w->s->view, VIEW_OPEN);
    well_behaved(w);
    go_on(w);
    check_whole(w);
}

static void sees_all_and_end(struct world *w)
{
    assert_string_equal(w->s->calls, "lF");
    assert_int_equal(w->s->queued, w->slot.end);
    well_behaved(w);
    go_on(w);
    check_whole(w);
}

static void sees_all_no_end(struct world *w)
{
    assert_string_equal(w->s->calls, "N");
    assert_int_equal(w->s->queued, w->slot.end);
    assert_true(w->s->armed);
    well_behaved(w);
    go_on(w);
    check_whole(w);
}

static void sees_end(struct world *w)
{
    assert_int_equal(w->s->view == VIEW_OWN_RESET ? VIEW_END : w->s->view, VIEW_END);
    assert_int_equal(kernel_calls(w->s, 'X'), 0);
    assert_false(w->s->armed);
    if (transfer_ended(&w->t)) {
        assert_int_equal(status_of(w), EX_OK);
        assert_int_equal(w->slot.state, TRANSFER_DONE);
        /* The report says what the peer's kernel has: all of it. */
        check_acknowledged(w);
        return;
    }
    well_behaved(w);
    if (w->s->fin_acked)
        kernel_do(EVENT_ENDS, w->s, 0);
    go_on(w);
    check_whole(w);
}

static void sees_end_on_changed(struct world *w)
{
    assert_string_equal(w->s->calls, "lFC");
    assert_int_equal(w->s->view, VIEW_END);
    assert_int_equal(status_of(w), EX_DATAERR);
}

static void sees_no_end(struct world *w)
{
    assert_int_equal(kernel_calls(w->s, 'F'), 0);
    assert_true(w->s->armed);
    assert_true(w->slot.held);
    well_behaved(w);
    go_on(w);
    check_whole(w);
}

static const struct {
    const char *sees;
    void (*check)(struct world *);
} views[] = {
    {"more bytes", sees_more},
    {"more bytes, after a pause", sees_no_end},
    {"as many bytes as it takes", sees_full},
    {"no more bytes until the disk has brought them", sees_no_more_yet},
    {"all bytes, and the end", sees_all_and_end},
    {"all bytes, and no end yet", sees_all_no_end},
    {"no end yet", sees_no_end},
    {"the end", sees_end},
    {"the end, perhaps on changed bytes: the window of the manual", sees_end_on_changed},
    {"a reset", sees_reset},
    {"its own reset", sees_own_reset},
};

static void test_row(void **state)
{
    const struct row_test *test = *state;
    const struct row *row = test->row;
    const struct scenario *c = test->scenario;
    struct world w;

    if (!c)
        fail_msg("%s: no scenario leads there", row->name);
    reach(&w, c);
    provoke(&w, c);
    assert_int_equal(w.t.event, row->event);
    assert_int_equal(w.slot.state, row->next);
    if (c->call)
        assert_string_equal(w.t.call, c->call);
    for (size_t i = 0; i < LENGTH(views); i++)
        if (strcmp(views[i].sees, row->sees) == 0) {
            views[i].check(&w);
            return;
        }
    fail_msg("%s: no test knows what '%s' looks like", row->name, row->sees);
}

static void test_scenario_without_row(void **state)
{
    (void)state;
    for (size_t i = 0; i < LENGTH(scenarios); i++) {
        bool found = false;
        for (size_t j = 0; j < LENGTH(rows); j++)
            found |= rows[j].state == scenarios[i].state && rows[j].event == scenarios[i].event;
        if (!found)
            fail_msg("scenario %zu (state %d, event %d) has no row in TRANSFER_TABLE", i,
                scenarios[i].state, scenarios[i].event);
    }
}

static void test_no_row_twice(void **state)
{
    (void)state;
    for (size_t i = 0; i < LENGTH(rows); i++)
        for (size_t j = 0; j < i; j++)
            assert_false(rows[i].state == rows[j].state && rows[i].event == rows[j].event);
}

static void add_rows(struct suite *suite)
{
    static struct row_test tests[LENGTH(rows) + LENGTH(scenarios)];
    size_t n = 0;

    for (size_t i = 0; i < LENGTH(rows); i++) {
        size_t before = n;
        if (rows[i].event == TRANSFER_KILLED) /* no code of ours runs: tests/black-box has it */
            continue;
        for (size_t j = 0; j < LENGTH(scenarios); j++)
            if (scenarios[j].state == rows[i].state && scenarios[j].event == rows[i].event)
                tests[n++] = (struct row_test){&rows[i], &scenarios[j]};
        if (n == before)
            tests[n++] = (struct row_test){&rows[i], NULL};
        for (size_t j = before; j < n; j++)
            suite_add(suite, test_row, &tests[j], "table: %s (%zu)", rows[i].name, j - before + 1);
    }
    suite_add(suite, test_scenario_without_row, NULL, "table: no scenario without a row");
    suite_add(suite, test_no_row_twice, NULL, "table: no row twice");
}

/* ---- every place ---- */

struct place {
    off_t size;
    off_t at; /* bytes that have gone before */
    struct kernel_send what;
    enum socket_kind kind;
    enum transfer_event end;
};

static void test_place(void **state)
{
    const struct place *p = *state;
    struct kernel_send script[5] = {{SEND_AS_IS, 0}};
    struct world w;
    int n = 0;

    begin(&w, p->kind, p->size);
    /* Up to the place in turns, then what happens, three times if it is nobody's fault. */
    for (off_t at = p->at; at > 0; at -= TRANSFER_TURN)
        script[n++] = (struct kernel_send){SEND_AT_MOST, at < TRANSFER_TURN ? at : TRANSFER_TURN};
    script[n++] = p->what;
    assert_true(n < (int)LENGTH(script));
    w.s->script = script;
    well_behaved(&w);
    drive(&w);
    if (p->end == TRANSFER_DRAINED) {
        check_whole(&w);
        return;
    }
    assert_int_equal(w.t.event, p->end);
    assert_int_equal(w.s->queued, p->at);
    assert_int_equal(kernel_calls(w.s, 'F'), 0);
    if (p->kind <= SOCKET_MPTCP)
        check_reset(&w);
    else
        assert_int_equal(w.slot.state, TRANSFER_ABORTED);
}

static void add_places(struct suite *suite)
{
    static const off_t sizes[] = {1, 2, 1000, MIB - 1, MIB, MIB + 1, 2 * MIB + 12345};
    static const struct {
        const char *name;
        struct kernel_send what;
        enum transfer_event end;
    } whats[] = {
        {"a short send", {SEND_AT_MOST, 1}, TRANSFER_DRAINED},
        {"EINTR", {SEND_FAILS, EINTR}, TRANSFER_DRAINED},
        {"EAGAIN", {SEND_FAILS, EAGAIN}, TRANSFER_DRAINED},
        {"0 too early", {SEND_TRUNCATED, 0}, TRANSFER_SHORT},
        {"EIO", {SEND_FAILS, EIO}, TRANSFER_UNREADABLE},
    };
    static struct place places[LENGTH(sizes) * LENGTH(whats) * 4 * 2];
    size_t n = 0;

    for (size_t i = 0; i < LENGTH(sizes); i++) {
        const off_t at[] = {0, 1, sizes[i] / 2, sizes[i] - 1};
        for (size_t j = 0; j < LENGTH(at); j++)
            for (size_t k = 0; k < LENGTH(whats); k++) {
                if (at[j] >= sizes[i] || (j > 0 && at[j] <= at[j - 1]))
                    continue;
                enum socket_kind kind = (i + j + k) % 3 == 2 ? SOCKET_UNIX : SOCKET_TCP;
                places[n] = (struct place){sizes[i], at[j], whats[k].what, kind, whats[k].end};
                suite_add(suite, test_place, &places[n++], "place: %s after %jd of %jd bytes",
                    whats[k].name, (intmax_t)at[j], (intmax_t)sizes[i]);
            }
    }
}

/* ---- every errno ---- */

struct blame {
    int error;
    const char *name;
    enum transfer_event event;
    int status;
};

#define LEFT(error)                                                                                \
    {                                                                                              \
        error, #error, TRANSFER_LEFT, EX_TEMPFAIL                                                  \
    }
#define UNREADABLE(error)                                                                          \
    {                                                                                              \
        error, #error, TRANSFER_UNREADABLE, EX_IOERR                                               \
    }
#define BROKEN(error)                                                                              \
    {                                                                                              \
        error, #error, TRANSFER_BROKEN, EX_OSERR                                                   \
    }

/* What sendfile(2) lists, what file systems give to it, and what tcp(7), ip(7) and socket(7) do. */
static const struct blame send_errors[] = {
    UNREADABLE(EIO),
    UNREADABLE(EINVAL),
    UNREADABLE(EACCES),
    UNREADABLE(ENXIO),
    UNREADABLE(ENODATA),
    UNREADABLE(ESTALE),
    UNREADABLE(EUCLEAN),
    UNREADABLE(EBADMSG),
    UNREADABLE(EREMOTEIO),
    UNREADABLE(ENOKEY),
    LEFT(ECONNRESET),
    LEFT(EPIPE),
    LEFT(ENOTCONN),
    LEFT(ETIMEDOUT),
    LEFT(ECONNABORTED),
    LEFT(ECONNREFUSED),
    LEFT(EHOSTUNREACH),
    LEFT(EHOSTDOWN),
    LEFT(ENETUNREACH),
    LEFT(ENETDOWN),
    LEFT(ENETRESET),
    LEFT(ENONET),
    LEFT(ENOPROTOOPT),
    LEFT(EPROTO),
    BROKEN(EBADF),
    BROKEN(EFAULT),
    BROKEN(ENOMEM),
    BROKEN(EOVERFLOW),
    BROKEN(ESPIPE),
    BROKEN(ENOBUFS),
    BROKEN(EPERM),
    BROKEN(ENOSYS),
    BROKEN(EMSGSIZE),
};

static const struct blame socket_errors[] = {
    LEFT(ECONNRESET),
    LEFT(EPIPE),
    LEFT(ETIMEDOUT),
    LEFT(EHOSTUNREACH),
    LEFT(ENETUNREACH),
    LEFT(ENOPROTOOPT),
    LEFT(EHOSTDOWN),
    LEFT(ENONET),
    LEFT(ECONNREFUSED),
    LEFT(EPROTO),
    /* of a file they would mean something else */
    BROKEN(EIO),
    BROKEN(EINVAL),
    BROKEN(EACCES),
    BROKEN(ENOMEM),
    BROKEN(EMSGSIZE),
};

static void test_send_error(void **state)
{
    const struct blame *b = *state;
    const struct kernel_send script[] = {{SEND_AT_MOST, 7}, {SEND_FAILS, b->error}, {0}};
    struct world w;

    begin(&w, SOCKET_TCP, SMALL);
    w.s->script = script;
    w.s->unreachable = b->event == TRANSFER_LEFT; /* that it is the client's, its socket shows */
    step(&w, POLLOUT);
    assert_int_equal(w.t.event, b->event);
    assert_int_equal(w.t.error, b->error);
    assert_string_equal(w.t.call, "sendfile");
    assert_int_equal(status_of(&w), b->status);
    assert_int_equal(w.slot.offset, 7);
    check_reset(&w);
}

/* Such an error waits in the socket, and whatever call comes first has it. */
static void test_socket_error(void **state)
{
    const struct blame *b = *state;
    static const struct {
        off_t size;
        bool ended;
        const char *call;
    } cases[] = {
        {3 * MIB, false, "recv"},
        {3 * MIB, true, "SO_ERROR"},
        {SMALL, false, "recv"},
        {SMALL, true, "SO_ERROR"},
    };

    for (size_t i = 0; i < LENGTH(cases); i++) {
        struct world w;
        begin(&w, SOCKET_TCP, cases[i].size);
        w.s->room = 2 * MIB;
        step(&w, POLLOUT);
        if (cases[i].ended) {
            kernel_do(EVENT_ENDS, w.s, 0);
            step_ready(&w);
        }
        kernel_do(EVENT_ERROR, w.s, b->error);
        step(&w, POLLIN | POLLERR | POLLHUP);
        assert_int_equal(w.t.event, b->event);
        assert_int_equal(w.t.error, b->error);
        assert_string_equal(w.t.call, cases[i].call);
        assert_int_equal(status_of(&w), b->status);
        check_reset(&w);
    }
}

static void add_errors(struct suite *suite)
{
    for (size_t i = 0; i < LENGTH(send_errors); i++)
        suite_add(suite, test_send_error, &send_errors[i], "errno: sendfile says %s",
            send_errors[i].name);
    for (size_t i = 0; i < LENGTH(socket_errors); i++)
        suite_add(suite, test_socket_error, &socket_errors[i], "errno: the socket says %s",
            socket_errors[i].name);
}

/* recv(2) may fail and yet mean nothing. */
static void test_recv_means_nothing(void **state)
{
    static const int errors[] = {EAGAIN, EINTR};

    (void)state;
    for (size_t i = 0; i < LENGTH(errors); i++) {
        struct world w;
        begin(&w, SOCKET_TCP, 3 * MIB);
        w.s->recv_error = errors[i];
        step(&w, POLLIN | POLLOUT);
        assert_int_equal(w.slot.state, TRANSFER_SENDING);
        well_behaved(&w);
        drive(&w);
        check_whole(&w);
    }
}

/* ---- turns and the end ---- */

/* A fast client would starve the others. The kernel checks each call, here the sum counts. */
static void test_turns_are_bounded(void **state)
{
    struct world w;

    (void)state;
    begin(&w, SOCKET_TCP, 5 * MIB + 1);
    for (int i = 1; i <= 5; i++) {
        step(&w, POLLOUT);
        assert_int_equal(w.s->turn, TRANSFER_TURN);
        assert_int_equal(w.slot.offset, i * MIB);
        assert_int_equal(w.t.event, TRANSFER_PROGRESS);
        assert_true(w.t.wants & POLLOUT);
    }
    step(&w, POLLOUT);
    assert_int_equal(w.s->turn, 1);
    assert_int_equal(w.slot.state, TRANSFER_FINISHING);
}

/* A write to the file before the client has it changes what the client gets: hold the end back. */
static void test_end_is_held_until_all_is_acknowledged(void **state)
{
    struct world w;

    (void)state;
    begin(&w, SOCKET_TCP, 2 * MIB);
    step(&w, POLLOUT);
    step(&w, POLLOUT);
    assert_int_equal(w.slot.state, TRANSFER_FINISHING);
    assert_true(w.s->no_delay); /* Nagle would hold the last segment until an acknowledgement */
    unsigned long stats = kernel.file.stats;
    for (off_t left = 2 * MIB; left > 1; left /= 2) {
        kernel_do(EVENT_ACK, w.s, left - left / 2);
        kernel.now += CLOCK_MS;
        step(&w, 0);
        assert_int_equal(w.slot.state, TRANSFER_FINISHING);
        assert_string_equal(w.s->calls, "N");
    }
    assert_int_equal(kernel.file.stats, stats); /* a look now would prove nothing */
    kernel_do(EVENT_ACK, w.s, 1);
    kernel.now += CLOCK_MS;
    step(&w, 0);
    assert_int_equal(w.slot.state, TRANSFER_DRAINING);
    assert_string_equal(w.s->calls, "NlF");
    assert_int_equal(kernel.file.stats, stats + 1);
    /* No byte of the file is left that a change could reach: a later one is no failure. */
    kernel_do(EVENT_TOUCH, w.s, 0);
    well_behaved(&w);
    go_on(&w);
    check_whole(&w);
}

/* A small file would pay a delayed acknowledgement for it: it is checked before and after. */
static void test_end_of_small_file_is_not_held(void **state)
{
    struct world w;

    (void)state;
    begin(&w, SOCKET_TCP, SMALL);
    step(&w, POLLOUT);
    assert_int_equal(w.slot.state, TRANSFER_DRAINING);
    assert_string_equal(w.s->calls, "lF");
    assert_int_equal(kernel.file.stats, 1);
    well_behaved(&w);
    go_on(&w);
    check_whole(&w);
    assert_int_equal(kernel.file.stats, 2);
    assert_int_equal(w.s->acked, SMALL);
}

/* One EAGAIN, and other processes had time to write: from then on the end is held. */
static void test_one_eagain_holds_the_end(void **state)
{
    static const struct kernel_send script[] = {{SEND_FAILS, EAGAIN}, {0}};
    struct world w;

    (void)state;
    begin(&w, SOCKET_TCP, SMALL);
    w.s->script = script;
    step(&w, POLLOUT);
    assert_int_equal(w.t.event, TRANSFER_FULL);
    step(&w, POLLOUT);
    assert_int_equal(w.slot.state, TRANSFER_FINISHING);
}

struct change {
    const char *name;
    off_t size;   /* of the file */
    off_t length; /* of the promise, from 0 */
    bool allow;
    struct kernel_send what; /* in the middle of sending */
    enum transfer_event end;
};

static const struct change changes[] = {
    {"overwritten", 300 * KIB, 300 * KIB, false, {SEND_TOUCHED, 0}, TRANSFER_CHANGED},
    {"overwritten, many turns", 3 * MIB, 3 * MIB, false, {SEND_TOUCHED, 0}, TRANSFER_CHANGED},
    {"grown", 300 * KIB, 300 * KIB, false, {SEND_TRUNCATED, MIB}, TRANSFER_CHANGED},
    {"grown, many turns", 3 * MIB, 3 * MIB, false, {SEND_TRUNCATED, 4 * MIB}, TRANSFER_CHANGED},
    {"shrunk", 3 * MIB, 3 * MIB, false, {SEND_TRUNCATED, 2 * MIB}, TRANSFER_SHORT},
    {"shrunk by a byte", 3 * MIB, 3 * MIB, false, {SEND_TRUNCATED, 3 * MIB - 1}, TRANSFER_SHORT},
    {"shrunk to what was sent", 3 * MIB, 3 * MIB, false, {SEND_TRUNCATED, 100}, TRANSFER_SHORT},
    {"shrunk behind the promise", 3 * MIB, 2 * MIB, false, {SEND_TRUNCATED, 2 * MIB},
        TRANSFER_CHANGED},
    {"overwritten, allowed", 300 * KIB, 300 * KIB, true, {SEND_TOUCHED, 0}, TRANSFER_DRAINED},
    {"grown, allowed", 3 * MIB, 3 * MIB, true, {SEND_TRUNCATED, 4 * MIB}, TRANSFER_DRAINED},
    {"shrunk, allowed", 3 * MIB, 3 * MIB, true, {SEND_TRUNCATED, 2 * MIB}, TRANSFER_SHORT},
    {"shrunk behind the promise, allowed", 3 * MIB, 2 * MIB, true, {SEND_TRUNCATED, 2 * MIB},
        TRANSFER_DRAINED},
};

static void test_change(void **state)
{
    const struct change *c = *state;
    const struct kernel_send script[] = {{SEND_AT_MOST, 100}, c->what, {0}};
    struct world w;

    begin(&w, SOCKET_TCP, c->size);
    w.source.allow_changes = c->allow;
    w.source.end = c->length;
    transfer_slot_init(&w.slot, &w.source, NULL, kernel.now);
    w.s->script = script;
    w.s->allow_changes = c->allow;
    well_behaved(&w);
    drive(&w);
    assert_int_equal(w.t.event, c->end);
    if (c->end == TRANSFER_DRAINED) {
        check_whole(&w);
        return;
    }
    check_reset(&w);
    assert_int_equal(kernel_calls(w.s, 'F'), 0);
    assert_int_equal(status_of(&w), EX_DATAERR);
}

/* The promise may be a part in the middle: not a byte before it, not a byte behind it. */
static void test_part_of_a_file(void **state)
{
    static const off_t parts[][2] = {
        {0, 0}, {0, 1}, {1, 2}, {MIB - 1, 3 * MIB}, {3 * MIB - 1, 3 * MIB}, {3 * MIB, 3 * MIB}};

    (void)state;
    for (size_t i = 0; i < LENGTH(parts); i++) {
        struct world w;
        begin(&w, SOCKET_TCP, 3 * MIB);
        w.source.start = parts[i][0];
        w.source.end = parts[i][1];
        transfer_slot_init(&w.slot, &w.source, NULL, kernel.now);
        well_behaved(&w);
        drive(&w);
        check_whole(&w);
        assert_int_equal(w.slot.offset, parts[i][1]);
    }
}

/* More than 4 GiB: an int would have counted it as something else. */
static void test_huge_file(void **state)
{
    struct world w;

    (void)state;
    begin(&w, SOCKET_TCP, ((off_t)5 << 30) + 1);
    well_behaved(&w);
    w.s->reads = 64 * MIB;
    drive(&w);
    check_whole(&w);
}

/* ---- the client ---- */

/* A client that first writes more than the socket holds would wait for us, and we for it. */
static void test_input_is_read_while_sending(void **state)
{
    struct world w;

    (void)state;
    begin(&w, SOCKET_TCP, 3 * MIB);
    w.s->room = 64 * KIB;
    kernel_do(EVENT_INPUT, w.s, MIB);
    step(&w, POLLOUT);
    assert_int_equal(w.slot.state, TRANSFER_SENDING);
    for (int i = 0; w.s->input > 0; i++) {
        assert_true(i < 1000);
        assert_true(w.t.wants & POLLIN);
        step_ready(&w);
    }
    assert_int_equal(w.slot.state, TRANSFER_SENDING);
    well_behaved(&w);
    go_on(&w);
    check_whole(&w);
    assert_int_equal(w.s->discarded, MIB);
}

/* Unread input makes close(2) a reset, and the client loses the tail. */
static void test_input_is_read_while_draining(void **state)
{
    struct world w;

    (void)state;
    begin(&w, SOCKET_TCP, SMALL);
    step(&w, POLLOUT);
    kernel_do(EVENT_ACK, w.s, ALL);
    step_ready(&w);
    assert_int_equal(w.slot.state, TRANSFER_DRAINING);
    kernel_do(EVENT_INPUT, w.s, 100 * KIB);
    kernel_do(EVENT_ENDS, w.s, 0);
    go_on(&w);
    check_whole(&w);
    assert_int_equal(w.s->discarded, 100 * KIB);
}

struct half_close {
    const char *name;
    enum socket_kind kind;
    off_t size;
    int64_t drain_timeout;
};

/*
 * A client that ends its own stream first (socat -u, nc -N): it still wants the file. POLLIN would
 * be ready for ever, so it must not be watched, and then it is the time alone that wakes us: soon.
 */
static const struct half_close half_closes[] = {
    {"a small file", SOCKET_TCP, SMALL, 10 * CLOCK_SECOND},
    {"a large file", SOCKET_TCP, 3 * MIB, 10 * CLOCK_SECOND},
    {"a small file, no drain timeout", SOCKET_TCP, SMALL, 0},
    {"a large file, no drain timeout", SOCKET_TCP, 3 * MIB, 0},
    {"a large file, MPTCP", SOCKET_MPTCP, 3 * MIB, 10 * CLOCK_SECOND},
    {"a large file, UNIX", SOCKET_UNIX, 3 * MIB, 10 * CLOCK_SECOND},
};

static void test_half_close(void **state)
{
    const struct half_close *c = *state;
    struct world w;

    begin(&w, c->kind, c->size);
    w.limits.drain_timeout = c->drain_timeout;
    kernel_do(EVENT_ENDS, w.s, 0);
    w.s->reads = 256 * KIB;
    int64_t since = kernel.now;
    step(&w, POLLIN | POLLOUT);
    go_on(&w);
    check_whole(&w);
    /* The client took it in at most 14 ms; the rest is ours, and the last recheck 64 ms. */
    if (kernel.now - since > 200 * CLOCK_MS)
        fail_msg("the end was there after 14 ms, and noticed after %jd ms",
            (intmax_t)((kernel.now - since) / CLOCK_MS));
}

/* After a whole transfer a reset is only a rude way to hang up. */
static void test_reset_after_everything_is_success(void **state)
{
    static const off_t sizes[] = {0, 1, SMALL, 3 * MIB};

    (void)state;
    for (size_t i = 0; i < LENGTH(sizes); i++) {
        struct world w;
        begin(&w, SOCKET_TCP, sizes[i]);
        w.s->reads = MIB;
        w.s->resets_at_end = true;
        drive(&w);
        assert_int_equal(w.t.event, TRANSFER_DRAINED);
        assert_int_equal(status_of(&w), EX_OK);
        assert_null(w.t.call);
        assert_int_equal(w.t.error, 0);
        check_acknowledged(&w);
    }
}

/*
 * A client that has read the end may reset before its kernel, which may delay that, acknowledges
 * it: that is no failure. With a single byte missing it is one.
 */
static void test_reset_before_the_end(void **state)
{
    (void)state;
    for (off_t missing = 0; missing < 2; missing++) {
        struct world w;
        begin(&w, SOCKET_TCP, SMALL);
        step(&w, POLLOUT);
        kernel_do(EVENT_ACK, w.s, SMALL - missing);
        kernel_do(EVENT_RESETS, w.s, 0);
        step_ready(&w);
        assert_int_equal(w.t.event, missing ? TRANSFER_LEFT : TRANSFER_DRAINED);
        assert_int_equal(status_of(&w), missing ? EX_TEMPFAIL : EX_OK);
        assert_int_equal(w.t.acknowledged, SMALL - missing);
    }
}

/* Every byte is there, and the end could not even be sent: the client never had it. */
static void test_reset_before_the_end_was_sent(void **state)
{
    struct world w;

    (void)state;
    begin(&w, SOCKET_TCP, 3 * MIB);
    while (w.slot.state == TRANSFER_SENDING)
        step(&w, POLLOUT);
    kernel_do(EVENT_ACK, w.s, ALL);
    kernel_do(EVENT_RESETS, w.s, 0);
    step(&w, 0); /* the time had come before poll(2) could tell of the reset */
    assert_string_equal(w.t.call, "shutdown");
    assert_int_equal(w.t.event, TRANSFER_LEFT);
    assert_int_equal(w.slot.state, TRANSFER_ABORTED);
    assert_int_equal(w.t.acknowledged, 3 * MIB);
}

/* What it took before it left is told, wherever it left: the last look is not an old one. */
static void test_acknowledged_when_it_leaves(void **state)
{
    static const enum transfer_state where[] = {
        TRANSFER_SENDING, TRANSFER_FINISHING, TRANSFER_DRAINING};

    (void)state;
    for (size_t i = 0; i < LENGTH(where); i++) {
        struct world w;
        begin(&w, SOCKET_TCP, where[i] == TRANSFER_DRAINING ? SMALL : 3 * MIB);
        w.s->room = where[i] == TRANSFER_SENDING ? 64 * KIB : 4 * MIB;
        do
            step(&w, POLLOUT);
        while (w.slot.state != where[i]);
        kernel_do(EVENT_ACK, w.s, 777);
        kernel_do(EVENT_RESETS, w.s, 0);
        step_ready(&w);
        assert_int_equal(w.t.event, TRANSFER_LEFT);
        assert_int_equal(w.t.acknowledged, 777);
    }
}

/* ---- UNIX and vsock ---- */

/* A UNIX socket's queue is empty as soon as the peer has closed, read or not: that is no success.
 */
struct unix_close {
    const char *name;
    off_t size;
    off_t input; /* that the client had written, and we have not read */
    bool read;   /* the client has read all */
    enum transfer_event end;
};

static const struct unix_close unix_closes[] = {
    {"a small file, unread", SMALL, 0, false, TRANSFER_LEFT},
    {"a large file, unread", 3 * MIB, 0, false, TRANSFER_LEFT},
    {"a small file, read", SMALL, 0, true, TRANSFER_DRAINED},
    {"a small file, unread, after 1 byte of its own", SMALL, 1, false, TRANSFER_LEFT},
    {"a small file, unread, after 100 KiB of its own", SMALL, 100 * KIB, false, TRANSFER_LEFT},
    {"a large file, unread, after 100 KiB of its own", 3 * MIB, 100 * KIB, false, TRANSFER_LEFT},
    {"a small file, read, after 100 KiB of its own", SMALL, 100 * KIB, true, TRANSFER_DRAINED},
};

static void test_unix_close(void **state)
{
    const struct unix_close *c = *state;
    struct world w;

    begin(&w, SOCKET_UNIX, c->size);
    while (w.slot.state == TRANSFER_SENDING)
        step(&w, POLLOUT);
    if (c->read)
        kernel_do(EVENT_ACK, w.s, ALL);
    kernel_do(EVENT_INPUT, w.s, c->input);
    kernel_do(EVENT_CLOSES, w.s, 0);
    go_on(&w);
    assert_int_equal(w.t.event, c->end);
    assert_int_equal(status_of(&w), c->end == TRANSFER_DRAINED ? EX_OK : EX_TEMPFAIL);
    assert_int_equal(kernel_calls(w.s, 'L') + kernel_calls(w.s, 'X'), 0);
}

static void test_unix_whole(void **state)
{
    static const off_t sizes[] = {0, 1, SMALL, MIB, 3 * MIB};
    static const enum socket_kind kinds[] = {SOCKET_UNIX, SOCKET_VSOCK};

    (void)state;
    for (size_t i = 0; i < LENGTH(sizes) * 2; i++) {
        struct world w;
        begin(&w, kinds[i % 2], sizes[i / 2]);
        w.s->room = 200 * KIB;
        well_behaved(&w);
        drive(&w);
        check_whole(&w);
        assert_string_equal(w.s->calls, "FC"); /* no linger, no low water, no delay */
    }
}

/* There SIOCOUTQ is unknown: the end cannot be held, and only the client's own end tells. */
static void test_vsock_before_611(void **state)
{
    static const off_t sizes[] = {0, SMALL, 3 * MIB};

    (void)state;
    for (size_t i = 0; i < LENGTH(sizes); i++) {
        struct world w;
        begin(&w, SOCKET_VSOCK, sizes[i]);
        w.s->room = 200 * KIB;
        w.s->outq_error = ENOTTY;
        well_behaved(&w);
        drive(&w);
        check_whole(&w);
    }
}

static void test_vsock_before_611_without_an_answer(void **state)
{
    struct world w;

    (void)state;
    begin(&w, SOCKET_VSOCK, SMALL);
    w.s->outq_error = ENOTTY;
    step(&w, POLLOUT);
    assert_int_equal(w.slot.state, TRANSFER_DRAINING);
    go_on(&w);
    assert_int_equal(w.t.event, TRANSFER_STALLED);
    assert_int_equal(status_of(&w), EX_TEMPFAIL);
}

/* UNIX and vsock know no reset: both ends shut, so that holders of duplicates see it as well. */
static void test_abort_without_reset(void **state)
{
    static const enum socket_kind kinds[] = {SOCKET_UNIX, SOCKET_VSOCK};

    (void)state;
    for (size_t i = 0; i < LENGTH(kinds); i++) {
        struct world w;
        begin(&w, kinds[i], 3 * MIB);
        step(&w, POLLOUT);
        transfer_stop(&w.t);
        check_plan(&w);
        assert_string_equal(w.s->calls, "BC");
        assert_int_equal(w.slot.state, TRANSFER_ABORTED);
    }
}

/* Whatever fails on the way: close(2) on an armed socket still resets. */
static void test_abort_although_connect_fails(void **state)
{
    struct world w;

    (void)state;
    begin(&w, SOCKET_TCP, 3 * MIB);
    step(&w, POLLOUT);
    w.s->connect_error = ENOMEM;
    transfer_stop(&w.t);
    assert_string_equal(w.s->calls, "LC");
    assert_int_equal(w.s->view, VIEW_RESET);
}

static void test_abort_although_linger_fails(void **state)
{
    struct world w;

    (void)state;
    begin(&w, SOCKET_TCP, 3 * MIB);
    w.s->linger_error = ENOMEM;
    transfer_stop(&w.t);
    assert_string_equal(w.s->calls, "XC");
    assert_int_equal(w.s->view, VIEW_RESET);
}

/* ---- arm and pace ---- */

static void test_arm(void **state)
{
    static const struct {
        enum socket_kind kind;
        int lowat_error;
        int linger_error;
        int result;
        const char *calls; /* in any order, but the linger is the promise */
    } cases[] = {
        {SOCKET_TCP, 0, 0, 0, "LW"},
        {SOCKET_MPTCP, 0, 0, 0, "LW"},
        {SOCKET_TCP, ENOPROTOOPT, 0, 0, "LW"}, /* costs memory, not the promise */
        {SOCKET_TCP, 0, ENOBUFS, -ENOBUFS, "W"},
        {SOCKET_UNIX, 0, 0, 0, ""},
        {SOCKET_VSOCK, 0, 0, 0, ""},
    };

    (void)state;
    for (size_t i = 0; i < 2 * LENGTH(cases); i++) {
        enum socket_kind kind = cases[i / 2].kind;
        bool inherited = i % 2; /* from an armed listener: the linger may have come too late */
        struct source source;
        kernel_reset(&source, 0);
        struct kernel_socket *s = kernel_connect(kind, NULL);
        s->armed = false;
        s->lowat_error = cases[i / 2].lowat_error;
        s->linger_error = cases[i / 2].linger_error;
        int r = inherited ? transfer_arm_inherited(kernel_fd(s), kind)
                          : transfer_arm(kernel_fd(s), kind);
        assert_int_equal(r, cases[i / 2].result);
        assert_int_equal(s->armed, kind <= SOCKET_MPTCP && !r);
        for (const char *call = cases[i / 2].calls; *call; call++)
            assert_int_equal(kernel_calls(s, *call), !(inherited && *call == 'W'));
    }
}

static void test_pace(void **state)
{
    static const struct {
        enum socket_kind kind;
        int64_t rate;
        int error;
        int result;
        unsigned long pace;
    } cases[] = {
        {SOCKET_TCP, 1, 0, 0, 1},
        {SOCKET_TCP, INT64_C(5) << 30, 0, 0, 5UL << 30},
        {SOCKET_TCP, INT64_MAX, 0, 0, ~0UL >> 1}, /* ~0UL would be: no limit */
        {SOCKET_TCP, 1000, EINVAL, -EINVAL, 1000},
        {SOCKET_MPTCP, 1000, 0, -EOPNOTSUPP, 0},
        {SOCKET_UNIX, 1000, 0, -EOPNOTSUPP, 0},
        {SOCKET_VSOCK, 1000, 0, -EOPNOTSUPP, 0},
    };

    (void)state;
    for (size_t i = 0; i < LENGTH(cases); i++) {
        struct source source;
        kernel_reset(&source, 0);
        struct kernel_socket *s = kernel_connect(cases[i].kind, NULL);
        s->pace_error = cases[i].error;
        assert_int_equal(
            transfer_pace(kernel_fd(s), cases[i].kind, cases[i].rate), cases[i].result);
        assert_true(s->pace == cases[i].pace);
    }
}

/* ---- time ---- */

static void begin_stuck(struct world *w, enum transfer_state where)
{
    begin(w, SOCKET_TCP, where == TRANSFER_DRAINING ? SMALL : 3 * MIB);
    w->s->room = where == TRANSFER_SENDING ? 64 * KIB : 4 * MIB;
    do
        step(w, POLLOUT);
    while (w->slot.state != where);
}

static const enum transfer_state phases[] = {
    TRANSFER_SENDING, TRANSFER_FINISHING, TRANSFER_DRAINING};

/* A laptop that slept for an hour has not waited for its clients for an hour. */
static void test_jump_counts_for_one_look(void **state)
{
    (void)state;
    for (size_t i = 0; i < LENGTH(phases); i++) {
        struct world w;
        begin_stuck(&w, phases[i]);
        for (int looks = 1; looks < TRANSFER_LOOKS; looks++) {
            kernel.now += 3600 * CLOCK_SECOND;
            step(&w, 0);
            assert_int_equal(w.slot.state, phases[i]);
            assert_int_equal(w.t.quiet, looks);
            assert_true(w.t.next_look > kernel.now);
        }
        kernel.now += 3600 * CLOCK_SECOND;
        step(&w, 0);
        assert_int_equal(w.t.event, TRANSFER_STALLED);
    }
}

/* However often it is woken: only time makes a stall. */
static void test_wakings_make_no_stall(void **state)
{
    (void)state;
    for (size_t i = 0; i < LENGTH(phases); i++) {
        struct world w;
        begin_stuck(&w, phases[i]);
        for (int j = 0; j < 100; j++) {
            kernel_do(EVENT_INPUT, w.s, 1);
            step_ready(&w);
            assert_int_equal(w.slot.state, phases[i]);
            assert_int_equal(w.t.quiet, 0);
        }
    }
}

/* What the client says is no progress, and what we queue is none either: only what it takes is. */
static void test_talking_is_no_progress(void **state)
{
    (void)state;
    for (size_t i = 0; i < LENGTH(phases); i++) {
        struct world w;
        begin_stuck(&w, phases[i]);
        int64_t since = kernel.now;
        for (int looks = 0; looks < TRANSFER_LOOKS && !transfer_ended(&w.t); looks++) {
            kernel.now = w.t.next_look;
            kernel_do(EVENT_INPUT, w.s, 1000);
            step(&w, POLLIN);
        }
        assert_int_equal(w.t.event, TRANSFER_STALLED);
        assert_int_equal(kernel.now - since,
            phases[i] == TRANSFER_DRAINING ? w.limits.drain_timeout : w.limits.stall_timeout);
        assert_int_equal(status_of(&w), EX_TEMPFAIL);
    }
}

static void test_queueing_is_no_progress(void **state)
{
    struct world w;

    (void)state;
    begin(&w, SOCKET_TCP, 64 * MIB);
    w.s->room = 4 * KIB;
    step(&w, POLLOUT);
    for (int looks = 0; looks < TRANSFER_LOOKS; looks++) {
        assert_int_equal(w.slot.state, TRANSFER_SENDING);
        kernel.now = w.t.next_look;
        w.s->room += 4 * KIB; /* autotuning: more fits, and nobody has taken any of it */
        step(&w, POLLOUT);
    }
    assert_int_equal(w.t.event, TRANSFER_STALLED);
}

/* A slow client is no stalled one: with one byte in each timeout it may take for ever. */
static void test_each_acknowledgement_starts_anew(void **state)
{
    (void)state;
    for (size_t i = 0; i < LENGTH(phases); i++) {
        struct world w;
        begin_stuck(&w, phases[i]);
        for (int j = 0; j < 50; j++) {
            for (int looks = 1; looks < TRANSFER_LOOKS; looks++) {
                kernel.now = w.t.next_look;
                step(&w, 0);
                assert_int_equal(w.t.quiet, looks);
            }
            kernel_do(EVENT_ACK, w.s, 1);
            kernel.now = w.t.next_look;
            step(&w, 0);
            assert_int_equal(w.t.quiet, 0);
            assert_int_equal(w.slot.state, phases[i]);
        }
    }
}

/* A tail that takes longer than the drain timeout to leave still arrives whole. */
static void test_slow_tail(void **state)
{
    struct world w;

    (void)state;
    begin(&w, SOCKET_TCP, SMALL);
    w.s->reads = 0;
    step(&w, POLLOUT);
    int64_t since = kernel.now;
    for (int i = 0; i < SMALL; i += 100) {
        kernel.now += 5 * CLOCK_SECOND;
        kernel_do(EVENT_ACK, w.s, 100);
        step(&w, 0);
        assert_int_equal(w.slot.state, TRANSFER_DRAINING);
    }
    assert_true(kernel.now - since > 3 * w.limits.drain_timeout);
    well_behaved(&w);
    go_on(&w);
    check_whole(&w);
}

static void test_no_timeouts(void **state)
{
    (void)state;
    for (size_t i = 0; i < LENGTH(phases); i++) {
        struct world w;
        begin(&w, SOCKET_TCP, phases[i] == TRANSFER_DRAINING ? SMALL : 3 * MIB);
        w.limits = (struct transfer_limits){0, 0};
        transfer_start(&w.t, &w.slot, kernel_fd(w.s), SOCKET_TCP, &w.source, &w.limits, kernel.now);
        w.s->room = phases[i] == TRANSFER_SENDING ? 64 * KIB : 4 * MIB;
        do
            step(&w, POLLOUT);
        while (w.slot.state != phases[i]);
        assert_true(w.t.next_look == CLOCK_NEVER);
        for (int j = 0; j < 100; j++) {
            kernel.now += 3600 * CLOCK_SECOND;
            step(&w, 0);
            assert_int_equal(w.slot.state, phases[i]);
        }
        well_behaved(&w);
        go_on(&w);
        check_whole(&w);
    }
}

/* The last acknowledgement raises no event: it is asked for, ever more rarely. */
static void test_recheck_doubles(void **state)
{
    static const int ms[] = {2, 4, 8, 16, 32, 64, 128, 256, 512, 512, 512};
    struct world w;

    (void)state;
    begin_stuck(&w, TRANSFER_FINISHING);
    assert_true(w.t.wake == kernel.now + CLOCK_MS);
    assert_int_equal(w.t.queue, TRANSFER_QUEUE_RECHECK);
    for (size_t i = 0; i < LENGTH(ms); i++) {
        kernel.now = w.t.wake;
        step(&w, 0);
        assert_true(w.t.wake - kernel.now == ms[i] * CLOCK_MS);
        assert_true(1 << (w.t.queue - TRANSFER_QUEUE_RECHECK) == ms[i]);
    }
}

struct alignment {
    const char *name;
    enum transfer_state state;
    int64_t stall_timeout;
    int64_t drain_timeout;
};

static const struct alignment alignments[] = {
    {"whole milliseconds", TRANSFER_FINISHING, 60 * CLOCK_SECOND, 10 * CLOCK_SECOND},
    {"the end", TRANSFER_DRAINING, 60 * CLOCK_SECOND, 10 * CLOCK_SECOND},
    {"a millisecond", TRANSFER_FINISHING, 8 * CLOCK_MS, 8 * CLOCK_MS},
    {"less than that", TRANSFER_FINISHING, 1 * CLOCK_MS, 1 * CLOCK_MS},
    {"no whole milliseconds", TRANSFER_FINISHING, 8 * 123456789, 10 * CLOCK_SECOND},
    {"one more than a step", TRANSFER_DRAINING, 60 * CLOCK_SECOND, 8 * (512 * CLOCK_MS + 1)},
    {"one less", TRANSFER_DRAINING, 60 * CLOCK_SECOND, 8 * (512 * CLOCK_MS - 1)},
};

/* Only steps of powers of two have a queue, and yet the look must not come late: by 1 ms at most.
 */
static void test_recheck_meets_the_look(void **state)
{
    const struct alignment *c = *state;
    struct world w;

    begin(&w, SOCKET_TCP, c->state == TRANSFER_DRAINING ? SMALL : 3 * MIB);
    w.limits = (struct transfer_limits){c->stall_timeout, c->drain_timeout};
    transfer_start(&w.t, &w.slot, kernel_fd(w.s), SOCKET_TCP, &w.source, &w.limits, kernel.now);
    do
        step(&w, POLLOUT);
    while (w.slot.state != c->state);
    int64_t look = w.t.next_look;
    for (int looks = 1; looks < TRANSFER_LOOKS; looks++) {
        while (w.t.quiet < looks) {
            int64_t span = w.t.wake - kernel.now;
            assert_true(span == CLOCK_MS << (w.t.queue - TRANSFER_QUEUE_RECHECK));
            assert_true(w.t.wake < look + CLOCK_MS);
            kernel.now = w.t.wake;
            step(&w, 0);
            assert_false(transfer_ended(&w.t));
        }
        assert_true(kernel.now >= look && kernel.now < look + CLOCK_MS);
        look = w.t.next_look;
    }
    go_on(&w);
    assert_int_equal(w.t.event, TRANSFER_STALLED);
}

/* A client that talks must not keep us from trying again: what came before the time changes
 * nothing.
 */
static void test_event_does_not_put_off(void **state)
{
    (void)state;
    for (size_t i = 0; i < LENGTH(phases); i++) {
        struct world w;
        begin_stuck(&w, phases[i]);
        if (phases[i] == TRANSFER_SENDING) { /* from full to cold */
            kernel.file.on_disk = true;
            kernel.file.cached = w.slot.offset;
            kernel.file.seek = 3600 * CLOCK_SECOND;
            kernel_do(EVENT_ACK, w.s, ROOM);
            step_ready(&w);
            assert_int_equal(w.t.event, TRANSFER_COLD);
        }
        for (int recheck = 0; recheck < 5; recheck++) {
            int64_t wake = w.t.wake;
            uint8_t queue = w.t.queue;
            unsigned long sends = w.s->sends;
            assert_true(queue >= TRANSFER_QUEUE_RECHECK);
            while (kernel.now + CLOCK_MS / 4 < wake) {
                kernel.now += CLOCK_MS / 4;
                kernel_do(EVENT_INPUT, w.s, 10);
                step_ready(&w);
                assert_true(w.t.wake == wake);
                assert_int_equal(w.t.queue, queue);
                assert_int_equal(w.s->sends, sends);
            }
            kernel.now = wake;
            step(&w, 0);
            assert_true(w.t.wake > wake);
        }
    }
}

/* The next state has waits of its own: not the rest of a long one of the state before. */
static void test_new_state_waits_anew(void **state)
{
    struct world w;

    (void)state;
    begin_stuck(&w, TRANSFER_FINISHING);
    while (w.t.wake - kernel.now < 512 * CLOCK_MS) {
        kernel.now = w.t.wake;
        step(&w, 0);
    }
    kernel.now += CLOCK_MS;
    kernel_do(EVENT_ACK, w.s, ALL);
    kernel_do(EVENT_INPUT, w.s, 1);
    step_ready(&w);
    assert_int_equal(w.slot.state, TRANSFER_DRAINING);
    assert_true(w.t.wake == kernel.now + CLOCK_MS);
    assert_int_equal(w.t.queue, TRANSFER_QUEUE_RECHECK);
}

/* ---- a disk that has to seek ---- */

struct disk {
    const char *name;
    int64_t seek; /* ns */
    int64_t told; /* ns until sendfile(2) is called */
    enum transfer_event end;
};

#define FOREVER CLOCK_NEVER

static const struct disk disks[] = {
    {"at once", 0, 0, TRANSFER_DRAINED},
    {"in 1 ns", 1, CLOCK_MS, TRANSFER_DRAINED},
    {"in 1 ms", 1 * CLOCK_MS, 1 * CLOCK_MS, TRANSFER_DRAINED},
    {"in 2 ms", 2 * CLOCK_MS, 3 * CLOCK_MS, TRANSFER_DRAINED},
    {"in 3 ms", 3 * CLOCK_MS, 3 * CLOCK_MS, TRANSFER_DRAINED},
    {"in 10 ms", 10 * CLOCK_MS, 15 * CLOCK_MS, TRANSFER_DRAINED},
    {"in 100 ms", 100 * CLOCK_MS, 127 * CLOCK_MS, TRANSFER_DRAINED},
    {"in 511 ms", 511 * CLOCK_MS, 511 * CLOCK_MS, TRANSFER_DRAINED},
    {"in a second: sendfile waits", CLOCK_SECOND, CLOCK_SECOND, TRANSFER_DRAINED},
    {"in ten seconds: sendfile waits", 10 * CLOCK_SECOND, 10 * CLOCK_SECOND, TRANSFER_DRAINED},
    {"never: sendfile tells", FOREVER, 511 * CLOCK_MS, TRANSFER_UNREADABLE},
};

/* Up to half a second of looks costs the other clients nothing; then whoever knows must tell. */
static void test_disk(void **state)
{
    static const off_t sizes[] = {1, SMALL, 3 * MIB};
    const struct disk *c = *state;

    for (size_t i = 0; i < LENGTH(sizes); i++) {
        struct world w;
        begin(&w, SOCKET_TCP, sizes[i]);
        kernel.file.on_disk = true;
        kernel.file.seek = c->seek;
        well_behaved(&w);
        int64_t since = kernel.now;
        step(&w, POLLOUT);
        while (w.s->sends == 0)
            round_trip(&w);
        assert_true(kernel.now - since == c->told);
        go_on(&w);
        assert_int_equal(w.t.event, c->end);
        if (c->end == TRANSFER_DRAINED) {
            check_whole(&w);
            assert_int_equal(kernel_calls(w.s, 'N'), c->seek > 0 || sizes[i] > MIB); /* held */
            continue;
        }
        check_reset(&w);
        assert_int_equal(status_of(&w), EX_IOERR);
        assert_int_equal(w.t.error, EIO);
    }
}

/*
 * The steps to the next look are cut short where the timeout is, and yet they come to an end: a
 * page that never came kept its client for ever, neither sent to nor reset.
 */
static void test_disk_and_short_timeouts(void **state)
{
    static const int64_t timeouts[] = {8 * CLOCK_MS, 80 * CLOCK_MS, CLOCK_SECOND, 2 * CLOCK_SECOND};

    (void)state;
    for (size_t i = 0; i < LENGTH(timeouts); i++) {
        struct world w;
        begin(&w, SOCKET_TCP, SMALL);
        w.limits.stall_timeout = timeouts[i];
        kernel.file.on_disk = true;
        kernel.file.seek = FOREVER;
        int64_t since = kernel.now;
        step(&w, POLLOUT);
        while (w.s->sends == 0)
            round_trip(&w);
        assert_true(kernel.now - since <= 511 * CLOCK_MS);
        go_on(&w);
        check_reset(&w);
        assert_int_equal(status_of(&w), EX_IOERR);
    }
}

/* What is in memory costs one look a turn, and no advice. */
static void test_warm_file_costs_one_look(void **state)
{
    struct world w;

    (void)state;
    begin(&w, SOCKET_TCP, 20 * MIB);
    for (int i = 1; i <= 20; i++) {
        step(&w, POLLOUT);
        assert_int_equal(kernel.file.looks, i);
    }
    assert_int_equal(kernel.file.advices, 0);
}

/* A disk as fast as the client: what lies ahead is always on its way, and it never waits again. */
static void test_reads_ahead(void **state)
{
    struct world w;
    int cold = 0;

    (void)state;
    begin(&w, SOCKET_TCP, 100 * MIB);
    kernel.file.on_disk = true;
    kernel.file.seek = 2 * CLOCK_MS;
    well_behaved(&w);
    w.s->room = 4 * MIB;
    w.s->reads = MIB;
    step(&w, POLLOUT);
    while (!transfer_ended(&w.t)) {
        cold += w.t.event == TRANSFER_COLD;
        round_trip(&w);
    }
    check_whole(&w);
    if (cold < 1 || cold > 4) /* at the beginning */
        fail_msg("cold %d times", cold);
}

/* A stall is the client's. It cannot take what the disk has not brought. */
static void test_slow_disk_is_no_stall(void **state)
{
    static const struct {
        bool reads; /* the client */
        enum transfer_event end;
    } cases[] = {{true, TRANSFER_DRAINED}, {false, TRANSFER_STALLED}};
    static const enum socket_kind kinds[] = {SOCKET_TCP, SOCKET_MPTCP, SOCKET_UNIX};

    (void)state;
    for (size_t i = 0; i < 2 * LENGTH(kinds); i++) {
        struct world w;
        begin(&w, kinds[i / 2], 3 * MIB);
        w.limits = (struct transfer_limits){8 * CLOCK_MS, 80 * CLOCK_MS};
        transfer_start(
            &w.t, &w.slot, kernel_fd(w.s), kinds[i / 2], &w.source, &w.limits, kernel.now);
        kernel.file.on_disk = true;
        kernel.file.cached = MIB; /* the first turn, and then nothing for many timeouts */
        kernel.file.seek = 400 * CLOCK_MS;
        if (cases[i % 2].reads)
            well_behaved(&w);
        drive(&w);
        assert_int_equal(w.t.event, cases[i % 2].end);
        if (cases[i % 2].end == TRANSFER_DRAINED)
            check_whole(&w);
        else
            assert_int_equal(w.s->queued, MIB);
    }
}

/* A file that grows, for a client that came before it did: its own end counts, not the newest. */
static void test_end_of_the_slot(void **state)
{
    static const struct {
        off_t shrunk_to;
        enum transfer_event end;
    } cases[] = {{4 * MIB, TRANSFER_DRAINED}, {3 * MIB, TRANSFER_DRAINED},
        {3 * MIB - 1, TRANSFER_SHORT}, {2 * MIB, TRANSFER_SHORT}};

    (void)state;
    for (size_t i = 0; i < LENGTH(cases); i++) {
        struct world w;
        begin(&w, SOCKET_TCP, 3 * MIB);
        w.source.allow_changes = true;
        w.s->allow_changes = true;
        w.s->room = 64 * KIB;
        step(&w, POLLOUT);
        kernel_do(EVENT_TRUNCATE, w.s, 5 * MIB);
        w.source.size = w.source.end = 5 * MIB; /* as source_refresh() has it for the next one */
        kernel_do(EVENT_TRUNCATE, w.s, cases[i].shrunk_to);
        well_behaved(&w);
        w.s->room = INT64_MAX;
        go_on(&w);
        assert_int_equal(w.t.event, cases[i].end);
        if (cases[i].end == TRANSFER_DRAINED)
            check_whole(&w);
        else
            check_reset(&w);
        assert_int_equal(w.slot.end, 3 * MIB);
    }
}

static void test_slot_knows_its_opening(void **state)
{
    struct transfer_slot slot = {.state = TRANSFER_DONE, .held = 1, .resumed = 7, .event = 9};
    struct source source = {
        .start = 10, .end = 30, .size = 40, .mtime = 50, .generation = 0xfffffffe};
    const struct peer peer = {.kind = SOCKET_VSOCK, .at.vsock = {3, 4711}};
    const struct peer nobody = {0};

    (void)state;
    transfer_slot_init(&slot, &source, &peer, 77);
    assert_true(slot.size == 40 && slot.mtime == 50);
    assert_int_equal(slot.held + slot.resumed + slot.event + (int)slot.seal, 0);
    assert_memory_equal(&slot.peer, &peer, sizeof(peer));
    source.allow_changes = true;
    transfer_slot_init(&slot, &source, NULL, 77);
    assert_true(slot.mtime == TRANSFER_ANY_MTIME);
    assert_memory_equal(&slot.peer, &nobody, sizeof(nobody));
    assert_int_equal(slot.generation, 0xfffffffe);
    assert_true(slot.offset == 10 && slot.start == 10 && slot.end == 30 && slot.started == 77);
    assert_int_equal(slot.state, TRANSFER_SENDING);
}

/* The drain timeout is counted from the end, not from the last byte. */
static void test_drain_timeout_begins_with_the_end(void **state)
{
    struct world w;

    (void)state;
    begin_stuck(&w, TRANSFER_FINISHING);
    for (int looks = 1; looks < TRANSFER_LOOKS; looks++) {
        kernel.now = w.t.next_look;
        step(&w, 0);
    }
    kernel_do(EVENT_ACK, w.s, ALL);
    step(&w, 0);
    assert_int_equal(w.slot.state, TRANSFER_DRAINING);
    assert_int_equal(w.t.quiet, 0);
    assert_int_equal(w.t.next_look - kernel.now, w.limits.drain_timeout / TRANSFER_LOOKS);
}

/* Everything is acknowledged, and the client will not hang up: that is success, in the end. */
static void test_client_that_never_ends(void **state)
{
    static const enum socket_kind kinds[] = {SOCKET_TCP, SOCKET_UNIX, SOCKET_MPTCP};
    static const off_t sizes[] = {SMALL, 3 * MIB};

    (void)state;
    for (size_t i = 0; i < LENGTH(kinds) * 2; i++) {
        struct world w;
        begin(&w, kinds[i / 2], sizes[i % 2]);
        w.s->reads = MIB;
        drive(&w);
        check_whole(&w);
        assert_true(kernel.now >= 1010 * CLOCK_SECOND);
    }
}

/* ---- restart and stop ---- */

/* Another process goes on where the last one died, wherever that was. */
static void test_restart_anywhere(void **state)
{
    static const off_t sizes[] = {SMALL, MIB, 3 * MIB + 7};

    (void)state;
    for (size_t i = 0; i < LENGTH(sizes); i++)
        for (int deaths = 0; deaths < 40; deaths++) {
            struct world w;
            struct transfer successor;
            begin(&w, SOCKET_TCP, sizes[i]);
            w.s->room = 200 * KIB;
            well_behaved(&w);
            step(&w, POLLOUT);
            for (int j = 0; j < deaths && !transfer_ended(&w.t); j++)
                round_trip(&w);
            if (transfer_ended(&w.t))
                break;
            w.s->restarted_at_end = w.slot.state == TRANSFER_DRAINING;
            transfer_start(
                &successor, &w.slot, kernel_fd(w.s), SOCKET_TCP, &w.source, &w.limits, kernel.now);
            w.t = successor;
            drive(&w);
            check_whole(&w);
        }
}

/* Died after the last byte, before the state was written: nothing is sent twice. */
static void test_restart_with_everything_queued(void **state)
{
    struct world w;

    (void)state;
    begin(&w, SOCKET_TCP, SMALL);
    w.slot.offset = SMALL;
    w.s->queued = SMALL;
    transfer_start(&w.t, &w.slot, kernel_fd(w.s), SOCKET_TCP, &w.source, &w.limits, kernel.now);
    assert_int_equal(w.t.event, TRANSFER_RESTARTED);
    well_behaved(&w);
    drive(&w);
    check_whole(&w);
    assert_int_equal(w.s->sends, 0);
    assert_int_equal(kernel_calls(w.s, 'N'), 1); /* the end was held: time has passed */
}

/* Died between writing DRAINING and sending the end: the successor does both again. */
static void test_restart_before_the_end_was_sent(void **state)
{
    struct world w;

    (void)state;
    begin(&w, SOCKET_TCP, SMALL);
    w.slot.offset = SMALL;
    w.slot.state = TRANSFER_DRAINING;
    w.s->queued = SMALL;
    w.s->restarted_at_end = true;
    transfer_start(&w.t, &w.slot, kernel_fd(w.s), SOCKET_TCP, &w.source, &w.limits, kernel.now);
    assert_string_equal(w.s->calls, "lF");
    well_behaved(&w);
    step(&w, 0);
    go_on(&w);
    check_whole(&w);
}

/* The client went while nobody was there. */
static void test_restart_after_the_client_left(void **state)
{
    (void)state;
    for (size_t i = 0; i < LENGTH(phases); i++) {
        struct world w;
        struct transfer successor;
        begin_stuck(&w, phases[i]);
        kernel_do(EVENT_RESETS, w.s, 0);
        w.s->restarted_at_end = phases[i] == TRANSFER_DRAINING;
        transfer_start(
            &successor, &w.slot, kernel_fd(w.s), SOCKET_TCP, &w.source, &w.limits, kernel.now);
        w.t = successor;
        if (!transfer_ended(&w.t))
            step(&w, POLLOUT | POLLIN | POLLERR | POLLHUP);
        assert_int_equal(w.t.event, TRANSFER_LEFT);
        assert_int_equal(w.slot.state, TRANSFER_ABORTED);
    }
}

/* Whether the end is held back is what the file's last change depends on: it survives, too. */
static void test_restart_keeps_held(void **state)
{
    static const struct {
        enum transfer_state state;
        bool held;
        enum transfer_event end; /* of a file that was written to meanwhile */
    } cases[] = {
        {TRANSFER_DRAINING, false, TRANSFER_CHANGED}, /* it was in the queue: the window */
        {TRANSFER_DRAINING, true, TRANSFER_DRAINED},  /* it was acknowledged before the end */
        {TRANSFER_FINISHING, true, TRANSFER_CHANGED},
        {TRANSFER_SENDING, true, TRANSFER_CHANGED},
        {TRANSFER_SENDING, false, TRANSFER_CHANGED},
    };

    (void)state;
    for (size_t i = 0; i < LENGTH(cases); i++) {
        struct world w;
        begin(&w, SOCKET_TCP, 3 * MIB);
        w.slot.offset = w.s->queued = cases[i].state == TRANSFER_SENDING ? MIB : 3 * MIB;
        w.slot.state = cases[i].state;
        w.slot.held = cases[i].held;
        w.s->restarted_at_end = cases[i].state == TRANSFER_DRAINING;
        well_behaved(&w);
        transfer_start(&w.t, &w.slot, kernel_fd(w.s), SOCKET_TCP, &w.source, &w.limits, kernel.now);
        assert_int_equal(w.slot.held, cases[i].held || cases[i].state != TRANSFER_DRAINING);
        kernel_do(EVENT_TOUCH, w.s, 0);
        step(&w, 0);
        step_ready(&w);
        go_on(&w);
        assert_int_equal(w.t.event, cases[i].end);
        assert_int_equal(w.s->view, cases[i].state == TRANSFER_DRAINING ? VIEW_END : VIEW_RESET);
    }
}

/* Full before the first byte: its successor has to begin, but what it has waited counts. */
static void test_restart_before_the_first_byte(void **state)
{
    static const struct kernel_send script[] = {{SEND_FAILS, EAGAIN}, {0}};
    struct world w;

    (void)state;
    begin(&w, SOCKET_TCP, SMALL);
    w.s->script = script;
    step(&w, POLLOUT);
    assert_int_equal(w.slot.held, 1);
    transfer_start(&w.t, &w.slot, kernel_fd(w.s), SOCKET_TCP, &w.source, &w.limits, kernel.now);
    step(&w, POLLOUT);
    assert_int_equal(w.slot.state, TRANSFER_FINISHING);
    well_behaved(&w);
    go_on(&w);
    check_whole(&w);
}

/* Whoever has sent something else between two processes: there is no clean end on it. */
static void test_restart_on_other_bytes(void **state)
{
    static const struct {
        enum socket_kind kind;
        bool resumed;
        off_t more; /* bytes that are acknowledged than the file has */
        enum transfer_event end;
    } cases[] = {
        {SOCKET_TCP, true, 0, TRANSFER_DRAINED},
        {SOCKET_TCP, true, 1, TRANSFER_BROKEN},
        {SOCKET_TCP, true, 4000, TRANSFER_BROKEN},
        {SOCKET_TCP, true, -1, TRANSFER_BROKEN},
        {SOCKET_TCP, false, 1, TRANSFER_DRAINED},  /* nobody else has ever had it */
        {SOCKET_MPTCP, true, 1, TRANSFER_DRAINED}, /* which cannot tell */
        {SOCKET_UNIX, true, 1, TRANSFER_DRAINED},
    };

    (void)state;
    for (size_t i = 0; i < LENGTH(cases); i++) {
        struct world w;
        begin(&w, cases[i].kind, 3 * MIB);
        w.slot.offset = w.s->queued = w.s->acked = 3 * MIB;
        w.slot.state = TRANSFER_FINISHING;
        w.slot.resumed = cases[i].resumed;
        w.s->more_acked = cases[i].more;
        well_behaved(&w);
        transfer_start(
            &w.t, &w.slot, kernel_fd(w.s), cases[i].kind, &w.source, &w.limits, kernel.now);
        step(&w, 0);
        go_on(&w);
        if (w.t.event != cases[i].end)
            fail_msg("case %zu: %d", i, w.t.event);
        if (cases[i].end == TRANSFER_DRAINED) {
            check_whole(&w);
            continue;
        }
        check_reset(&w);
        assert_int_equal(kernel_calls(w.s, 'F'), 0);
        assert_string_equal(w.t.call, "other bytes were sent than ours");
        assert_int_equal(status_of(&w), EX_OSERR);
    }
}

/* epoll(7) watches what is behind a descriptor: it must be told before the descriptor is closed,
 * since a duplicate would keep it there for ever. */
static void test_watch_is_removed(void **state)
{
    static const struct {
        off_t size;
        bool watched;
        bool whole;
    } cases[] = {
        {SMALL, true, true}, {SMALL, false, true}, {3 * MIB, true, false}, {3 * MIB, false, false}};

    (void)state;
    for (size_t i = 0; i < LENGTH(cases); i++) {
        struct epoll_event event = {.events = EPOLLIN};
        struct world w;
        begin(&w, SOCKET_TCP, cases[i].size);
        int epoll = epoll_create1(EPOLL_CLOEXEC);
        assert_int_equal(w.t.epoll, -1);
        w.t.epoll = epoll;
        w.s->duplicates = 1; /* somebody has one */
        if (cases[i].watched)
            assert_int_equal(epoll_ctl(epoll, EPOLL_CTL_ADD, w.t.fd, &event), 0);
        if (cases[i].whole)
            well_behaved(&w);
        step(&w, POLLOUT);
        if (cases[i].whole)
            go_on(&w);
        else
            transfer_stop(&w.t);
        assert_int_equal(w.slot.state, cases[i].whole ? TRANSFER_DONE : TRANSFER_ABORTED);
        assert_int_equal(kernel.n_watches, 0);
        assert_int_equal(close(epoll), 0);
    }
}

/* ---- is it sound? ---- */

/* A slot of a transfer that has come so far, sealed. */
static void begin_sealed(struct world *w, enum socket_kind kind, enum transfer_state state)
{
    begin(w, kind, 3 * MIB);
    w->source.start = w->slot.start = KIB;
    w->source.device = 0x0123456789abcdef;
    w->source.inode = 0xfedcba9876543210;
    w->slot.peer = (struct peer){.kind = SOCKET_TCP, .is_ipv4 = 1, .port = 4711};
    w->s->queued = (state == TRANSFER_SENDING ? MIB : 3 * MIB) - KIB;
    w->slot.offset = w->slot.start + w->s->queued;
    w->slot.state = (uint8_t)state;
    transfer_slot_seal(&w->slot, &w->source, kernel_fd(w->s));
    w->s->slot = NULL;
}

static bool is_sound(const struct world *w)
{
    return transfer_slot_is_sound(
        &w->slot, &w->source, kernel_fd(w->s), (enum socket_kind)w->s->kind);
}

static const struct constant {
    const char *name;
    size_t offset;
    size_t size;
    bool sealed;
    bool of_the_source;
} constants[] = {
#define FIELD(type, field) offsetof(struct type, field), sizeof(((struct type *)0)->field)
    {"start", FIELD(transfer_slot, start), true, false},
    {"end", FIELD(transfer_slot, end), true, false},
    {"size", FIELD(transfer_slot, size), true, false},
    {"mtime", FIELD(transfer_slot, mtime), true, false},
    {"started", FIELD(transfer_slot, started), true, false},
    {"generation", FIELD(transfer_slot, generation), true, false},
    {"peer", FIELD(transfer_slot, peer), true, false},
    {"seal", FIELD(transfer_slot, seal), false, false},
    {"device", FIELD(source, device), true, true},
    {"inode", FIELD(source, inode), true, true},
    {"event", FIELD(transfer_slot, event), false, false},
    {"held", FIELD(transfer_slot, held), false, false},
    {"resumed", FIELD(transfer_slot, resumed), false, false},
#undef FIELD
};

/* One bit of what never changes, and it is found, by the seal itself; of what does, and it is not.
 */
static void test_seal(void **state)
{
    const struct constant *c = *state;
    bool found = c->sealed || strcmp(c->name, "seal") == 0;
    struct world w;

    begin_sealed(&w, SOCKET_MPTCP, TRANSFER_SENDING);
    for (size_t bit = 0; bit < 8 * c->size; bit++) {
        uint8_t *byte =
            (c->of_the_source ? (uint8_t *)&w.source : (uint8_t *)&w.slot) + c->offset + bit / 8;
        uint32_t seal = w.slot.seal;
        assert_true(is_sound(&w));
        *byte ^= (uint8_t)(1 << bit % 8);
        if (is_sound(&w) == found)
            fail_msg("bit %zu of its %s", bit, c->name);
        transfer_slot_seal(&w.slot, &w.source, kernel_fd(w.s));
        if ((w.slot.seal != seal) != c->sealed)
            fail_msg("bit %zu of its %s, and its seal", bit, c->name);
        *byte ^= (uint8_t)(1 << bit % 8);
        w.slot.seal = seal;
    }
}

/* The number of the socket, which no other one ever has. */
static void test_seal_of_another_socket(void **state)
{
    struct world w;

    (void)state;
    begin_sealed(&w, SOCKET_UNIX, TRANSFER_SENDING);
    assert_true(is_sound(&w));
    w.s = kernel_connect(SOCKET_UNIX, NULL);
    w.s->queued = MIB - KIB;
    assert_false(is_sound(&w));
}

struct range {
    const char *name;
    off_t start;
    off_t offset;
    off_t end;
    off_t size;
    uint8_t state;
    bool sound;
};

static const struct range ranges[] = {
    {"nothing sent", 10, 10, 20, 20, TRANSFER_SENDING, true},
    {"some sent", 10, 11, 20, 20, TRANSFER_SENDING, true},
    {"all sent, and not yet said so", 10, 20, 20, 20, TRANSFER_SENDING, true},
    {"a part of the file", 10, 15, 20, 2000, TRANSFER_SENDING, true},
    {"nothing at all", 0, 0, 0, 0, TRANSFER_DRAINING, true},
    {"all sent, finishing", 10, 20, 20, 20, TRANSFER_FINISHING, true},
    {"all sent, draining", 10, 20, 20, 20, TRANSFER_DRAINING, true},
    {"negative", -10, 10, 20, 20, TRANSFER_SENDING, false},
    {"before the start", 10, 9, 20, 20, TRANSFER_SENDING, false},
    {"behind the end", 10, 21, 20, 30, TRANSFER_SENDING, false},
    {"the end before the start", 20, 20, 10, 30, TRANSFER_SENDING, false},
    {"more than there is", 10, 11, 20, 19, TRANSFER_SENDING, false},
    {"a byte too few, finishing", 10, 19, 20, 20, TRANSFER_FINISHING, false},
    {"a byte too few, draining", 10, 19, 20, 20, TRANSFER_DRAINING, false},
    {"nowhere", 10, 20, 20, 20, TRANSFER_NOWHERE, false},
    {"done", 10, 20, 20, 20, TRANSFER_DONE, false},
    {"aborted", 10, 20, 20, 20, TRANSFER_ABORTED, false},
    {"no state", 10, 20, 20, 20, 77, false},
};

static void test_range(void **state)
{
    const struct range *c = *state;
    struct world w;

    begin(&w, SOCKET_UNIX, 3 * MIB);
    w.slot.start = c->start;
    w.slot.offset = c->offset;
    w.slot.end = c->end;
    w.slot.size = c->size;
    w.slot.state = c->state;
    transfer_slot_seal(&w.slot, &w.source, kernel_fd(w.s));
    assert_int_equal(is_sound(&w), c->sound);
}

/* TCP knows how many bytes it was given: SIGKILL may have kept sendfile(2) from saying so. */
static void test_position(void **state)
{
    static const struct {
        enum transfer_state state;
        off_t more;  /* queued than the slot says */
        off_t acked; /* less than that */
        bool fin;
        bool fin_acked;
        bool sound;
    } cases[] = {
        {TRANSFER_SENDING, 0, 0, false, false, true},
        {TRANSFER_SENDING, 0, 100, false, false, true},
        {TRANSFER_SENDING, 1, 0, false, false, false},
        {TRANSFER_SENDING, -1, 0, false, false, false},
        {TRANSFER_SENDING, 1, 100, false, false, false},
        {TRANSFER_SENDING, 64 * KIB, 100, false, false, false},
        {TRANSFER_FINISHING, 0, 0, false, false, true},
        {TRANSFER_FINISHING, 0, 1, false, false, true},
        {TRANSFER_FINISHING, 1, 0, false, false, false},
        {TRANSFER_FINISHING, -1, 0, false, false, false},
        {TRANSFER_FINISHING, 0, 0, true, false, false}, /* nobody would have sent it yet */
        {TRANSFER_DRAINING, 0, 0, false, false, true},
        {TRANSFER_DRAINING, 0, 100, true, false, true},
        {TRANSFER_DRAINING, 0, 0, true, false, true},
        {TRANSFER_DRAINING, 0, 0, true, true, true},
        {TRANSFER_DRAINING, 1, 0, true, true, false},
        {TRANSFER_DRAINING, -1, 0, false, false, false},
        {TRANSFER_DRAINING, -2, 0, true, true, false},
    };

    (void)state;
    for (size_t i = 0; i < LENGTH(cases); i++)
        for (int kind = SOCKET_TCP; kind <= SOCKET_VSOCK; kind++) {
            struct world w;
            begin_sealed(&w, (enum socket_kind)kind, cases[i].state);
            w.s->queued += cases[i].more;
            w.s->acked = w.s->queued - cases[i].acked;
            w.s->fin = cases[i].fin;
            w.s->fin_acked = cases[i].fin_acked;
            if (is_sound(&w) != (cases[i].sound || kind != SOCKET_TCP))
                fail_msg("case %zu, kind %d", i, kind);
        }
}

/* What is acknowledged between the two looks is neither missed nor counted twice. */
static void test_position_of_a_busy_client(void **state)
{
    static const struct {
        int looks;
        int error;
        bool sound;
    } cases[] = {{1, 0, true}, {2, 0, true}, {99, 0, true}, {100, 0, false}, {100000, 0, false},
        {0, EINVAL, false}};

    (void)state;
    for (size_t i = 0; i < LENGTH(cases); i++) {
        struct world w;
        begin_sealed(&w, SOCKET_TCP, TRANSFER_SENDING);
        w.s->busy_looks = cases[i].looks;
        w.s->outq_error = cases[i].error;
        if (is_sound(&w) != cases[i].sound)
            fail_msg("%d looks", cases[i].looks);
    }
}

/* ---- a successor, on a real connection ---- */

/* What a case does not say is false. */
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"

enum meanwhile { STAYS, ENDS, CLOSES, RESETS };

static const struct succession {
    const char *name;
    enum transfer_state state;
    bool armed;
    bool end_sent;
    bool reads; /* the client has read everything, before that */
    enum meanwhile client;
    enum transfer_event end;
    bool client_has_end;
    bool error_taken; /* somebody has looked at SO_ERROR before */
} successions[] = {
    {"finishing", TRANSFER_FINISHING, true, false, false, STAYS, TRANSFER_DRAINED, true},
    {"finishing, the client has half-closed", TRANSFER_FINISHING, true, false, false, ENDS,
        TRANSFER_DRAINED, true},
    {"finishing, the client has reset", TRANSFER_FINISHING, true, false, false, RESETS,
        TRANSFER_LEFT, false},
    {"finishing, the client has reset, and nobody can tell any more", TRANSFER_FINISHING, true,
        false, false, RESETS, TRANSFER_LEFT, false, true},
    {"draining, the end not sent, a reset that nobody can tell any more", TRANSFER_DRAINING, false,
        false, true, RESETS, TRANSFER_LEFT, false, true},
    {"draining, a reset after the end, that nobody can tell any more", TRANSFER_DRAINING, false,
        true, true, RESETS, TRANSFER_DRAINED, false, true},
    {"draining, a reset before it had all, that nobody can tell any more", TRANSFER_DRAINING, false,
        true, false, RESETS, TRANSFER_LEFT, false, true},
    {"draining, not even disarmed", TRANSFER_DRAINING, true, false, false, STAYS, TRANSFER_DRAINED,
        true},
    {"draining, the end not sent", TRANSFER_DRAINING, false, false, false, STAYS, TRANSFER_DRAINED,
        true},
    {"draining, the end not sent, the client has half-closed", TRANSFER_DRAINING, false, false,
        true, ENDS, TRANSFER_DRAINED, true},
    {"draining, the end not sent, the client has reset", TRANSFER_DRAINING, false, false, true,
        RESETS, TRANSFER_LEFT, false},
    {"draining", TRANSFER_DRAINING, false, true, false, STAYS, TRANSFER_DRAINED, true},
    {"draining, the client has half-closed", TRANSFER_DRAINING, false, true, false, ENDS,
        TRANSFER_DRAINED, true},
    {"draining, the client has closed after the end", TRANSFER_DRAINING, false, true, true, CLOSES,
        TRANSFER_DRAINED, false},
    {"draining, the client has reset after the end", TRANSFER_DRAINING, false, true, true, RESETS,
        TRANSFER_DRAINED, false},
    {"draining, the client has reset before it had all", TRANSFER_DRAINING, false, true, false,
        RESETS, TRANSFER_LEFT, false},
};

struct connection_pair {
    int client;
    int server;
    int kept; /* the manager's */
};

static void connect_for_real(struct connection_pair *pair)
{
    const struct timeval patience = {.tv_sec = 10};
    const int small = 4096; /* so that not all that is sent is received at once */
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(bind(listener, (struct sockaddr *)&address, size), 0);
    assert_int_equal(setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &size), 0);
    pair->client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(setsockopt(pair->client, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)), 0);
    assert_int_equal(
        setsockopt(pair->client, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), 0);
    assert_int_equal(connect(pair->client, (struct sockaddr *)&address, size), 0);
    pair->server = accept(listener, NULL, NULL);
    pair->kept = fcntl(pair->server, F_DUPFD_CLOEXEC, 0);
    assert_true(pair->kept >= 0);
    assert_int_equal(close(listener), 0);
}

static off_t read_all(int client, ssize_t *last)
{
    static char buffer[64 * KIB];
    off_t bytes = 0;

    while ((*last = recv(client, buffer, sizeof(buffer), 0)) > 0)
        bytes += *last;
    return bytes;
}

/* Waits until the socket has come to hear of it; bounded. */
static void wait_for(int fd, short events)
{
    struct pollfd p = {.fd = fd, .events = events};

    assert_int_equal(poll(&p, 1, 10000), 1);
}

static void test_succession(void **state)
{
    const struct succession *c = *state;
    const struct linger now = {1, 0};
    const int large = 1 << 20;
    const off_t all = 40 * KIB; /* more than the client's kernel takes, less than fits in both */
    struct connection_pair pair;
    struct world w;
    off_t offset = 0;
    ssize_t last = 1;
    off_t got = 0;

    kernel_reset(&w.source, 0);
    kernel.clock = false;
    FILE *file = tmpfile();
    assert_int_equal(ftruncate(fileno(file), all), 0);
    struct source *source = source_resume(fcntl(fileno(file), F_DUPFD_CLOEXEC, 0), 1, "NAME");
    source_expect(source, all, TRANSFER_ANY_MTIME);
    source->end = all;
    w.limits = (struct transfer_limits){10 * CLOCK_SECOND, 10 * CLOCK_SECOND};

    /* The process before: all is queued, and then it was killed. */
    connect_for_real(&pair);
    assert_int_equal(setsockopt(pair.server, SOL_SOCKET, SO_SNDBUF, &large, sizeof(large)), 0);
    transfer_slot_init(&w.slot, source, NULL, clock_now());
    while (offset < all)
        assert_true(sendfile(pair.server, fileno(file), &offset, (size_t)(all - offset)) > 0);
    assert_int_equal(transfer_arm(pair.server, SOCKET_TCP), 0);
    w.slot.offset = all;
    w.slot.state = (uint8_t)c->state;
    w.slot.held = 1;
    transfer_slot_seal(&w.slot, source, pair.server);
    if (!c->armed)
        assert_int_equal(setsockopt(pair.server, SOL_SOCKET, SO_LINGER, &(struct linger){0, 0},
                             sizeof(struct linger)),
            0);
    if (c->end_sent)
        assert_int_equal(shutdown(pair.server, SHUT_WR), 0);
    assert_int_equal(close(pair.server), 0);

    /* Nobody is there, but the client. */
    if (c->reads && c->end_sent)
        got = read_all(pair.client, &last);
    else if (c->reads)
        for (char byte[4096]; got < all;)
            got += recv(pair.client, byte, sizeof(byte), 0);
    if (c->client == ENDS)
        assert_int_equal(shutdown(pair.client, SHUT_WR), 0);
    if (c->client == RESETS)
        assert_int_equal(setsockopt(pair.client, SOL_SOCKET, SO_LINGER, &now, sizeof(now)), 0);
    if (c->client == CLOSES || c->client == RESETS)
        assert_int_equal(close(pair.client), 0);
    if (c->client != STAYS)
        wait_for(pair.kept, POLLIN);

    if (c->error_taken) {
        int error;
        socklen_t size = sizeof(error);
        assert_int_equal(getsockopt(pair.kept, SOL_SOCKET, SO_ERROR, &error, &size), 0);
        assert_true(error != 0 || c->end == TRANSFER_DRAINED);
    }

    /* The next process. */
    assert_int_equal(transfer_slot_is_sound(&w.slot, source, pair.kept, SOCKET_TCP), true);
    int fd = fcntl(pair.kept, F_DUPFD_CLOEXEC, 0);
    int flags = fcntl(fd, F_GETFL);
    assert_int_equal(fcntl(fd, F_SETFL, flags | O_NONBLOCK), 0);
    transfer_start(&w.t, &w.slot, fd, SOCKET_TCP, source, &w.limits, clock_now());
    if (!transfer_ended(&w.t))
        transfer_step(&w.t, 0, clock_now());
    for (int i = 0; !transfer_ended(&w.t) && i < 100000; i++) {
        struct pollfd p = {.fd = w.t.wants ? w.t.fd : -1, .events = w.t.wants};
        char bytes[2048];
        (void)poll(&p, 1, 1);
        if (p.revents || clock_now() >= w.t.wake)
            transfer_step(&w.t, p.revents, clock_now());
        if (c->client != STAYS && c->client != ENDS)
            continue;
        while (last > 0 && (last = recv(pair.client, bytes, sizeof(bytes), MSG_DONTWAIT)) > 0)
            got += last;
        if (last < 0 && errno == EAGAIN)
            last = 1;
        if (last == 0 && c->client == STAYS)
            (void)shutdown(pair.client, SHUT_WR);
    }
    assert_int_equal(w.t.event, c->end);
    if (c->state == TRANSFER_FINISHING && c->client == RESETS) {
        assert_int_equal(w.t.error, c->error_taken ? 0 : ECONNRESET);
        assert_int_equal(w.t.call != NULL, !c->error_taken);
    }
    assert_int_equal(w.slot.state, c->end == TRANSFER_LEFT ? TRANSFER_ABORTED : TRANSFER_DONE);
    if (c->client_has_end) {
        assert_int_equal(last, 0);
        assert_true(got == all);
    }
    if (c->client == STAYS || c->client == ENDS)
        assert_int_equal(close(pair.client), 0);
    assert_int_equal(close(pair.kept), 0);
    source_release(source);
    assert_int_equal(fclose(file), 0);
}

/* ---- SIGKILL between any two instructions ---- */

/*
 * The slot is in memory that two processes share, as it is in the table; one is stepped through
 * what it does, an instruction at a time, and after each of them the other looks.
 */
struct pace {
    const char *name;
    enum transfer_state state;
    void (*prepare)(struct world *w);
    void (*work)(struct world *w);
    enum transfer_state next;
    enum transfer_event event;
};

static void prepare_nothing(struct world *w)
{
    (void)w;
}

static void prepare_all_acknowledged(struct world *w)
{
    kernel_do(EVENT_ACK, w->s, ALL);
}

static void prepare_both_ended(struct world *w)
{
    kernel_do(EVENT_ACK, w->s, ALL);
    kernel_do(EVENT_ENDS, w->s, 0);
    transfer_step(&w->t, POLLIN, kernel.now);
}

static void prepare_truncated(struct world *w)
{
    kernel_do(EVENT_TRUNCATE, w->s, 10);
}

static void prepare_the_last_turn(struct world *w)
{
    step(w, POLLOUT);
    step(w, POLLOUT);
}

static void work_step(struct world *w)
{
    transfer_step(&w->t, POLLOUT | POLLIN, kernel.now);
}

static void work_stop(struct world *w)
{
    transfer_stop(&w->t);
}

static void work_restart(struct world *w)
{
    w->s->restarted_at_end = true;
    transfer_start(
        &w->t, w->t.slot, kernel_fd(w->s), SOCKET_TCP, &w->source, &w->limits, kernel.now);
}

static void work_init(struct world *w)
{
    struct transfer_slot *slot = w->t.slot;
    const struct peer peer = {.kind = SOCKET_TCP, .is_ipv4 = 1, .port = 4711};

    transfer_slot_init(slot, &w->source, &peer, 4711);
}

static void prepare_old_slot(struct world *w)
{
    memset(w->t.slot, 0xee, sizeof(*w->t.slot));
    w->t.slot->state = TRANSFER_NOWHERE;
    w->source.start = 1;
    w->source.mtime = 2;
    w->source.generation = 3;
}

static const struct pace paces[] = {
    {"a slot that was used before", TRANSFER_NOWHERE, prepare_old_slot, work_init, TRANSFER_SENDING,
        TRANSFER_NOTHING},
    {"all at once", TRANSFER_SENDING, prepare_nothing, work_step, TRANSFER_DRAINING,
        TRANSFER_QUEUED_AT_ONCE},
    {"the last turn", TRANSFER_SENDING, prepare_the_last_turn, work_step, TRANSFER_FINISHING,
        TRANSFER_QUEUED},
    {"a file that is too short", TRANSFER_SENDING, prepare_truncated, work_step, TRANSFER_ABORTED,
        TRANSFER_SHORT},
    {"a signal", TRANSFER_SENDING, prepare_nothing, work_stop, TRANSFER_ABORTED, TRANSFER_STOPPED},
    {"all acknowledged", TRANSFER_FINISHING, prepare_all_acknowledged, work_step, TRANSFER_DRAINING,
        TRANSFER_ACKNOWLEDGED},
    {"a signal while it finishes", TRANSFER_FINISHING, prepare_nothing, work_stop, TRANSFER_ABORTED,
        TRANSFER_STOPPED},
    {"all drained", TRANSFER_DRAINING, prepare_both_ended, work_step, TRANSFER_DONE,
        TRANSFER_DRAINED},
    {"a signal while it drains", TRANSFER_DRAINING, prepare_nothing, work_stop, TRANSFER_ABORTED,
        TRANSFER_STOPPED},
    {"a restart while it finishes", TRANSFER_FINISHING, prepare_nothing, work_restart,
        TRANSFER_FINISHING, TRANSFER_RESTARTED},
    {"a restart while it drains", TRANSFER_DRAINING, prepare_nothing, work_restart,
        TRANSFER_DRAINING, TRANSFER_RESTARTED},
};

/* After each instruction; returns why it is not as table.h has it. */
static const char *look_at_slot(const struct pace *c, const struct transfer_slot *slot,
    const struct transfer_slot *whole, bool *moved)
{
    if (slot->state != c->state && slot->state != c->next)
        return "another state";
    if (slot->state == c->state && c->state != c->next)
        return *moved ? "back again" : NULL;
    if (slot->state == TRANSFER_SENDING && c->state == TRANSFER_NOWHERE) {
        *moved = true;
        return memcmp(slot, whole, sizeof(*slot)) == 0 ? NULL : "half a promise";
    }
    if (c->state == c->next)
        return NULL;
    *moved = true;
    if (slot->event != c->event)
        return "the state before its event";
    if (slot->state < TRANSFER_ABORTED && slot->offset != slot->end)
        return "the state before its offset";
    return NULL;
}

static void begin_shared(struct world *w, struct transfer_slot *slot, const struct pace *c)
{
    static const off_t sizes[] = {
        [TRANSFER_SENDING] = SMALL, [TRANSFER_FINISHING] = 3 * MIB, [TRANSFER_DRAINING] = SMALL};

    begin(w, SOCKET_TCP, c->prepare == prepare_the_last_turn ? 3 * MIB : sizes[c->state]);
    *slot = w->slot;
    w->s->slot = slot;
    transfer_start(&w->t, slot, kernel_fd(w->s), SOCKET_TCP, &w->source, &w->limits, kernel.now);
    while (c->state > TRANSFER_SENDING && slot->state != c->state) {
        kernel_turn(w->s);
        transfer_step(&w->t, POLLOUT, kernel.now);
    }
    if (c->prepare == prepare_the_last_turn)
        for (int i = 0; i < 2; i++) {
            kernel_turn(w->s);
            transfer_step(&w->t, POLLOUT, kernel.now);
        }
    else
        c->prepare(w);
    kernel_turn(w->s);
}

static void test_pace_of_slot(void **state)
{
    const struct pace *c = *state;
    struct transfer_slot *slot =
        mmap(NULL, sizeof(*slot), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    struct transfer_slot whole;
    const char *wrong = NULL;
    unsigned long steps = 0;
    bool moved = false;
    struct world w;
    int status;

    assert_true(slot != MAP_FAILED);
    begin_shared(&w, slot, c);
    struct transfer_slot before = *slot;
    if (c->work == work_init) { /* what it is to be in the end */
        work_init(&w);
        whole = *slot;
        *slot = before;
    }
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
            _exit(77);
        (void)raise(SIGSTOP);
        c->work(&w);
        (void)raise(SIGSTOP);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    bool allowed = WIFSTOPPED(status);
    bool done = false;
    while (allowed && !wrong && !done && steps < 1000000) {
        assert_int_equal(ptrace(PTRACE_SINGLESTEP, child, NULL, NULL), 0);
        assert_int_equal(waitpid(child, &status, 0), child);
        done = !WIFSTOPPED(status) || (WSTOPSIG(status) == SIGSTOP && steps > 100);
        wrong = look_at_slot(c, slot, &whole, &moved);
        steps++;
    }
    if (allowed)
        assert_int_equal(kill(child, SIGKILL), 0);
    if (!WIFEXITED(status))
        assert_int_equal(waitpid(child, &status, 0), child);
    if (!allowed && !getenv("CI")) {
        print_message("# ptrace(2) is not allowed here\n");
        skip();
    }
    assert_true(allowed);
    if (wrong)
        fail_msg("%s, after %lu instructions", wrong, steps);
    assert_true(done);
    assert_int_equal(moved, c->state != c->next);
    assert_int_equal(slot->state, c->next);
    assert_int_equal(munmap(slot, sizeof(*slot)), 0);
}

/* Every byte of it has been acknowledged, then the supervisor stops us: that is success. */
static void test_stop_after_everything(void **state)
{
    static const off_t sizes[] = {0, SMALL, 3 * MIB};
    static const enum socket_kind kinds[] = {SOCKET_TCP, SOCKET_UNIX};

    (void)state;
    for (size_t i = 0; i < LENGTH(sizes) * 2; i++) {
        struct world w;
        begin(&w, kinds[i % 2], sizes[i / 2]);
        w.s->reads = MIB;
        step(&w, POLLOUT);
        while (!w.t.checked)
            round_trip(&w);
        transfer_stop(&w.t);
        check_plan(&w);
        assert_int_equal(w.slot.state, TRANSFER_DONE);
        check_whole(&w);
    }
}

/* The end is out, and a UNIX client may or may not have read it: no proof, no success. */
static void test_stop_unix_before_proof(void **state)
{
    struct world w;

    (void)state;
    begin(&w, SOCKET_UNIX, SMALL);
    step(&w, POLLOUT);
    assert_int_equal(w.slot.state, TRANSFER_DRAINING);
    transfer_stop(&w.t);
    assert_int_equal(w.t.event, TRANSFER_STOPPED);
    assert_int_equal(w.slot.state, TRANSFER_ABORTED);
}

static void test_acknowledged_never_more_than_promised(void **state)
{
    static const enum socket_kind kinds[] = {SOCKET_TCP, SOCKET_MPTCP, SOCKET_UNIX};

    (void)state;
    for (size_t i = 0; i < LENGTH(kinds); i++) {
        struct world w;
        begin(&w, kinds[i], SMALL);
        step(&w, POLLOUT);
        kernel_do(EVENT_ACK, w.s, ALL); /* the end is counted, too */
        kernel.now += CLOCK_MS;
        step(&w, 0);
        check_acknowledged(&w);
    }
}

/* ---- the storm ---- */

static void befall(struct world *w)
{
    static const enum kernel_event_kind common[] = {
        EVENT_ACK, EVENT_ACK, EVENT_ACK, EVENT_INPUT, EVENT_JUMP};
    static const enum kernel_event_kind rare[] = {
        EVENT_ENDS, EVENT_TOUCH, EVENT_TRUNCATE, EVENT_RESETS, EVENT_CLOSES};
    bool tcp = w->s->kind <= SOCKET_MPTCP;
    enum kernel_event_kind kind = common[kernel_roll(LENGTH(common))];
    uint64_t most = 100000;

    if (kernel_roll(40) == 0) {
        kind = rare[kernel_roll(LENGTH(rare))];
        most = (uint64_t)kernel.file.size + 2;
    }
    if ((kind == EVENT_RESETS && !tcp) || (kind == EVENT_CLOSES && w->s->kind != SOCKET_UNIX))
        return;
    kernel_do(kind, w->s, (off_t)kernel_roll(most));
}

static void one_of_the_storm(struct world *w)
{
    begin(w, (enum socket_kind)kernel_roll(4), (off_t)kernel_roll(kernel_roll(4) ? 5000 : 3 * MIB));
    w->s->chance = kernel_by_chance;
    w->s->room = 1 + (off_t)kernel_roll(200000);
    kernel.file.on_disk = kernel_roll(3) == 0;
    kernel.file.seek = (int64_t)kernel_roll(100 * CLOCK_MS);
    step(w, POLLOUT);
    for (int i = 0; !transfer_ended(&w->t); i++) {
        befall(w);
        if (kernel_roll(500) == 0) {
            transfer_stop(&w->t);
        } else if (kernel_roll(100) == 0) {
            struct transfer successor;
            w->s->restarted_at_end |= w->slot.state == TRANSFER_DRAINING;
            transfer_start(&successor, &w->slot, kernel_fd(w->s), w->s->kind, &w->source,
                &w->limits, kernel.now);
            w->t = successor;
        } else {
            short revents = kernel_revents(w->s, w->t.wants);
            if (!revents || kernel_roll(4) == 0)
                kernel.now =
                    w->t.wake != CLOCK_NEVER && w->t.wake > kernel.now ? w->t.wake : kernel.now;
            step(w, w->t.wants ? revents : 0);
        }
        assert_true(i < 100000);
    }
}

/*
 * A client that has ended, and has not acknowledged our end: connect(2) would forget the tail and
 * tell nobody. The kernel goes on with it, if only we let it.
 */
static void test_stop_with_both_ends_sent(void **state)
{
    struct world w;

    (void)state;
    begin(&w, SOCKET_TCP, SMALL);
    step(&w, POLLOUT);
    kernel_do(EVENT_ENDS, w.s, 0);
    step_ready(&w);
    transfer_stop(&w.t);
    assert_int_equal(w.slot.state, TRANSFER_ABORTED);
    assert_int_equal(w.t.event, TRANSFER_STOPPED);
    assert_int_equal(w.s->view, VIEW_END);
    assert_false(w.s->armed);
    assert_int_equal(kernel_calls(w.s, 'X'), 0);
}

/* The same behind a closed window: there the kernel does send a reset, and a wait could be endless.
 */
static void test_stop_with_the_end_unsent(void **state)
{
    struct world w;

    (void)state;
    begin(&w, SOCKET_TCP, SMALL);
    step(&w, POLLOUT);
    kernel_do(EVENT_ENDS, w.s, 0);
    step_ready(&w);
    w.s->unsent = 1;
    transfer_stop(&w.t);
    check_reset(&w);
    assert_int_equal(w.s->view, VIEW_RESET);
}

/* A spoofed SYN with data brings a connection that nobody has answered: SIOCOUTQ says 0 there. */
static void test_fast_open(void **state)
{
    struct world w;

    (void)state;
    begin(&w, SOCKET_TCP, SMALL);
    w.s->fast_open = true;
    step(&w, POLLOUT);
    assert_int_equal(w.slot.state, TRANSFER_DRAINING);
    go_on(&w);
    assert_int_equal(w.t.event, TRANSFER_STALLED);
    assert_int_equal(w.t.acknowledged, 0);
    assert_int_equal(status_of(&w), EX_TEMPFAIL);
}

/* TCP out of memory, or a file system in user space: poll(2) says POLLOUT, and sendfile EAGAIN. */
static void test_eagain_without_reason(void **state)
{
    static const struct kernel_send script[] = {
        {SEND_FAILS, EAGAIN}, {SEND_FAILS, EAGAIN}, {SEND_FAILS, EAGAIN}, {SEND_AS_IS, 0}};
    struct world w;

    (void)state;
    begin(&w, SOCKET_TCP, SMALL);
    well_behaved(&w);
    w.s->script = script;
    step(&w, POLLOUT);
    assert_int_equal(w.t.wants, POLLIN);
    assert_true(w.t.wake > kernel.now && w.t.wake <= kernel.now + 64 * CLOCK_MS);
    step(&w, POLLIN); /* not before its time */
    assert_int_equal(w.s->sends, 1);
    go_on(&w);
    check_whole(&w);
    assert_int_equal(w.s->sends, 4);
}

/* FUSE says ENOTCONN when its server dies, NFS ETIMEDOUT: not the client's doing, while it is
 * there. */
static void test_file_that_speaks_like_a_socket(void **state)
{
    static const int errors[] = {ENOTCONN, ETIMEDOUT, EHOSTDOWN, ECONNABORTED};

    (void)state;
    for (size_t i = 0; i < 2 * LENGTH(errors); i++) {
        const struct kernel_send script[] = {{SEND_FAILS, errors[i / 2]}, {SEND_AS_IS, 0}};
        struct world w;
        begin(&w, SOCKET_TCP, SMALL);
        w.s->script = script;
        w.s->unreachable = i % 2;
        step(&w, POLLOUT);
        assert_int_equal(w.t.event, i % 2 ? TRANSFER_LEFT : TRANSFER_UNREADABLE);
        assert_int_equal(status_of(&w), i % 2 ? EX_TEMPFAIL : EX_IOERR);
        check_reset(&w);
    }
}

static void test_break(void **state)
{
    static const off_t sizes[] = {SMALL, 3 * MIB};

    (void)state;
    for (size_t i = 0; i < LENGTH(sizes); i++) {
        struct world w;
        begin(&w, SOCKET_TCP, sizes[i]);
        step(&w, POLLOUT);
        transfer_break(&w.t, "poll", EINVAL);
        check_reset(&w);
        assert_string_equal(w.t.call, "poll");
        assert_int_equal(status_of(&w), EX_OSERR);
    }
}

/*
 * The invariants stand in the fake kernel: shutdown(2) only after every promised byte was queued
 * exactly once, in order, and after a look at an unchanged file; close(2) only after a reset or
 * after the client has the end. Here: what was reported is what the client saw.
 */
static void test_storm(void **state)
{
    unsigned long ends[TRANSFER_EVENTS] = {0};

    (void)state;
    kernel_seed(UINT64_C(0x9e3779b97f4a7c15));
    for (int i = 0; i < 20000; i++) {
        struct world w;
        uint64_t before = kernel_dice();
        one_of_the_storm(&w);
        ends[w.t.event]++;
        bool whole = w.s->queued == w.slot.end - w.slot.start && w.s->fin;
        if (w.slot.state == TRANSFER_DONE && !whole)
            fail_msg("transfer %d, SEED=0x%" PRIx64 ": done, and not whole", i, before);
        if (w.t.event == TRANSFER_DRAINED && w.slot.state != TRANSFER_DONE)
            fail_msg("transfer %d, SEED=0x%" PRIx64 ": drained, and not done", i, before);
        if (w.t.event == TRANSFER_DRAINED && w.s->kind != SOCKET_VSOCK && w.s->acked != w.s->queued)
            fail_msg("transfer %d, SEED=0x%" PRIx64 ": complete, with %jd of %jd bytes taken", i,
                before, (intmax_t)w.s->acked, (intmax_t)w.s->queued);
        if (w.slot.state == TRANSFER_ABORTED && w.s->kind <= SOCKET_MPTCP &&
            w.s->view != VIEW_RESET && w.s->view != VIEW_OWN_RESET && !(w.s->fin && w.s->ended))
            fail_msg("transfer %d, SEED=0x%" PRIx64 ": aborted, and no reset", i, before);
    }
    /* A storm that only ever sees one end proves little. */
    assert_true(ends[TRANSFER_DRAINED] > 1000);
    assert_true(ends[TRANSFER_LEFT] > 100);
    assert_true(ends[TRANSFER_SHORT] > 10);
    assert_true(ends[TRANSFER_CHANGED] > 10);
    assert_true(ends[TRANSFER_STOPPED] > 10);
    assert_true(ends[TRANSFER_UNREADABLE] > 10);
}

/* ---- many, in their queues ---- */

#define MANY 40

struct one {
    struct transfer t;
    struct transfer_slot slot;
    struct kernel_socket *s;
};

struct many {
    struct source source;
    struct transfer_limits limits;
    struct one ones[MANY];
    int64_t last[TRANSFER_QUEUES]; /* the wake time at the end of each queue */
    unsigned long joined[TRANSFER_QUEUES];
};

static void step_one(struct many *m, struct one *o, short revents)
{
    uint8_t queue = o->t.queue;
    int64_t wake = o->t.wake;
    int64_t now = kernel.now; /* which sendfile(2) moves where it waits for the disk */

    kernel_turn(o->s);
    transfer_step(&o->t, revents, now);
    if (transfer_ended(&o->t) || o->t.wake == CLOCK_NEVER)
        return;
    assert_true(o->t.queue < TRANSFER_QUEUES);
    if (o->t.wake <= now)
        fail_msg("it is to wake at once, for ever");
    if (o->t.queue == queue && o->t.wake == wake)
        return; /* it keeps its place */
    if (o->t.wake < m->last[o->t.queue])
        fail_msg("queue %d: %jd ns earlier than the one before it", o->t.queue,
            (intmax_t)(m->last[o->t.queue] - o->t.wake));
    m->last[o->t.queue] = o->t.wake;
    m->joined[o->t.queue]++;
}

static void start_one(struct many *m, struct one *o)
{
    enum socket_kind kind = (enum socket_kind)kernel_roll(4);

    transfer_slot_init(&o->slot, &m->source, NULL, kernel.now);
    if (kernel_roll(3) == 0)
        o->slot.end = (off_t)kernel_roll(5000); /* a part of it, which fits at once */
    o->s = kernel_connect(kind, &o->slot);
    o->s->room = 1 + (off_t)kernel_roll(kernel_roll(2) ? 200000 : 3 * MIB);
    o->s->ends_at_end = kernel_roll(2);
    o->s->chance = kernel_roll(2) ? kernel_by_chance : NULL;
    transfer_start(&o->t, &o->slot, kernel_fd(o->s), kind, &m->source, &m->limits, kernel.now);
    step_one(m, o, POLLOUT);
}

static void befall_one(struct one *o)
{
    static const enum kernel_event_kind kinds[] = {EVENT_ACK, EVENT_ACK, EVENT_INPUT, EVENT_ENDS};
    bool tcp = o->s->kind <= SOCKET_MPTCP;
    enum kernel_event_kind kind = kinds[kernel_roll(LENGTH(kinds))];

    if (kind == EVENT_ENDS && kernel_roll(20))
        return;
    if (kernel_roll(200) == 0)
        kind = tcp ? EVENT_RESETS : EVENT_INPUT;
    kernel_do(kind, o->s, (off_t)kernel_roll(kernel_roll(4) ? 50000 : 2 * MIB));
}

/* Time goes on: mostly a little, at times for long, and not seldom not at all. */
static void let_time_pass(void)
{
    static const int64_t spans[] = {
        1, CLOCK_MS / 3, 20 * CLOCK_MS, CLOCK_SECOND, 20 * CLOCK_SECOND};

    if (kernel_roll(3))
        kernel.now +=
            (int64_t)kernel_roll((uint64_t)spans[kernel_roll(kernel_roll(20) ? 3 : LENGTH(spans))]);
}

static void one_crowd(struct many *m)
{
    static const int64_t timeouts[] = {
        0, 8 * CLOCK_MS, 100 * CLOCK_MS + 7, 10 * CLOCK_SECOND, 60 * CLOCK_SECOND, INT64_MAX};

    memset(m->last, 0, sizeof(m->last));
    kernel_reset(&m->source, 5 * MIB);
    m->limits.stall_timeout = timeouts[kernel_roll(LENGTH(timeouts))];
    m->limits.drain_timeout = timeouts[kernel_roll(LENGTH(timeouts))];
    kernel.file.on_disk = kernel_roll(2);
    for (size_t i = 0; i < MANY; i++)
        start_one(m, &m->ones[i]);
    for (int i = 0; i < 3000; i++) {
        struct one *o = &m->ones[kernel_roll(MANY)];
        if (transfer_ended(&o->t)) {
            if (kernel.n_sockets < KERNEL_SOCKETS)
                start_one(m, o);
            continue;
        }
        if (kernel_roll(50) == 0) { /* other files have pushed this one out of memory */
            kernel.file.cached = 0;
            kernel.file.n_reads = 0;
            kernel.file.seek = (int64_t)kernel_roll(700 * CLOCK_MS);
        }
        befall_one(o);
        let_time_pass();
        short revents = o->t.wants ? kernel_revents(o->s, o->t.wants) : 0;
        if (revents || kernel.now >= o->t.wake || kernel_roll(10) == 0)
            step_one(m, o, revents);
    }
}

/*
 * Whoever drives many keeps a list for each queue, and looks only at its head: one that were to
 * wake earlier than the one before it would be looked at too late.
 */
static void test_queues_keep_their_order(void **state)
{
    static struct many m;
    (void)state;
    kernel_seed(UINT64_C(0x853c49e6748fea9b));
    memset(&m, 0, sizeof(m));
    for (int i = 0; i < 300; i++)
        one_crowd(&m);
    for (int i = 0; i < TRANSFER_QUEUES; i++)
        if (m.joined[i] < 300)
            fail_msg("queue %d was joined only %lu times", i, m.joined[i]);
}

static const struct {
    CMUnitTestFunction run;
    const char *name;
} tests[] = {
    {test_recv_means_nothing, "recv: EAGAIN and EINTR mean nothing"},
    {test_turns_are_bounded, "turn: at most 1 MiB"},
    {test_end_is_held_until_all_is_acknowledged, "end: held until all is acknowledged"},
    {test_end_of_small_file_is_not_held, "end: of a small file at once, checked twice"},
    {test_one_eagain_holds_the_end, "end: held after one EAGAIN"},
    {test_part_of_a_file, "promise: a part of a file"},
    {test_huge_file, "promise: more than 4 GiB"},
    {test_input_is_read_while_sending, "input: read while sending"},
    {test_input_is_read_while_draining, "input: read while draining"},
    {test_reset_after_everything_is_success, "client: resets after everything"},
    {test_reset_before_the_end, "client: resets before it has the end"},
    {test_reset_before_the_end_was_sent, "client: resets before the end was sent"},
    {test_acknowledged_when_it_leaves, "client: what it took before it left"},
    {test_unix_whole, "unix: whole"},
    {test_vsock_before_611, "vsock: no SIOCOUTQ, the client ends"},
    {test_vsock_before_611_without_an_answer, "vsock: no SIOCOUTQ, the client says nothing"},
    {test_abort_without_reset, "abort: where there is no reset"},
    {test_abort_although_connect_fails, "abort: connect fails"},
    {test_abort_although_linger_fails, "abort: setsockopt fails"},
    {test_arm, "arm"},
    {test_pace, "pace"},
    {test_jump_counts_for_one_look, "time: a jump counts for one look"},
    {test_wakings_make_no_stall, "time: wakings make no stall"},
    {test_talking_is_no_progress, "time: talking is no progress"},
    {test_queueing_is_no_progress, "time: queueing is no progress"},
    {test_each_acknowledgement_starts_anew, "time: each acknowledgement starts anew"},
    {test_slow_tail, "time: a tail slower than the drain timeout"},
    {test_no_timeouts, "time: no timeouts"},
    {test_recheck_doubles, "time: the recheck doubles"},
    {test_event_does_not_put_off, "time: an event before the time does not put it off"},
    {test_new_state_waits_anew, "time: the next state has waits of its own"},
    {test_warm_file_costs_one_look, "disk: a file in memory costs one look a turn"},
    {test_disk_and_short_timeouts, "disk: never, and the stall timeout is short"},
    {test_reads_ahead, "disk: what lies ahead is on its way"},
    {test_slow_disk_is_no_stall, "disk: a slow one is not the client's stall"},
    {test_end_of_the_slot, "promise: the slot's own end, of a file that grows"},
    {test_slot_knows_its_opening, "promise: the slot knows its opening"},
    {test_drain_timeout_begins_with_the_end, "time: the drain timeout begins with the end"},
    {test_client_that_never_ends, "time: a client that never ends"},
    {test_restart_anywhere, "restart: anywhere"},
    {test_restart_with_everything_queued, "restart: with everything queued"},
    {test_restart_before_the_end_was_sent, "restart: before the end was sent"},
    {test_restart_after_the_client_left, "restart: after the client has left"},
    {test_restart_keeps_held, "restart: whether the end is held is kept"},
    {test_restart_before_the_first_byte, "restart: before the first byte"},
    {test_restart_on_other_bytes, "restart: on other bytes than the file's"},
    {test_watch_is_removed, "end: no watch is left"},
    {test_seal_of_another_socket, "sound: another socket"},
    {test_position, "sound: as many bytes as TCP says"},
    {test_position_of_a_busy_client, "sound: while more is acknowledged"},
    {test_stop_after_everything, "stop: after everything"},
    {test_stop_unix_before_proof, "stop: a UNIX socket before the proof"},
    {test_stop_with_both_ends_sent, "stop: with both ends sent"},
    {test_stop_with_the_end_unsent, "stop: with both ends queued, and ours unsent"},
    {test_fast_open, "fast open: nothing is acknowledged before the handshake"},
    {test_eagain_without_reason, "turn: EAGAIN although there is room"},
    {test_file_that_speaks_like_a_socket, "blame: a file that speaks like a socket"},
    {test_break, "break: whatever the state"},
    {test_acknowledged_never_more_than_promised, "acknowledged: never more than promised"},
    {test_storm, "storm: 20000 transfers"},
    {test_queues_keep_their_order, "queues: each in the order of its times"},
};

int main(void)
{
    static struct suite suite;

    add_rows(&suite);
    add_places(&suite);
    add_errors(&suite);
    for (size_t i = 0; i < LENGTH(changes); i++)
        suite_add(&suite, test_change, &changes[i], "change: %s", changes[i].name);
    for (size_t i = 0; i < LENGTH(half_closes); i++)
        suite_add(&suite, test_half_close, &half_closes[i], "half-closed: %s", half_closes[i].name);
    for (size_t i = 0; i < LENGTH(unix_closes); i++)
        suite_add(
            &suite, test_unix_close, &unix_closes[i], "unix: closes, %s", unix_closes[i].name);
    for (size_t i = 0; i < LENGTH(alignments); i++)
        suite_add(&suite, test_recheck_meets_the_look, &alignments[i],
            "time: rechecks meet the look, %s", alignments[i].name);
    for (size_t i = 0; i < LENGTH(disks); i++)
        suite_add(&suite, test_disk, &disks[i], "disk: brings it %s", disks[i].name);
    for (size_t i = 0; i < LENGTH(constants); i++)
        suite_add(&suite, test_seal, &constants[i], "sound: each bit of its %s", constants[i].name);
    for (size_t i = 0; i < LENGTH(ranges); i++)
        suite_add(&suite, test_range, &ranges[i], "sound: %s", ranges[i].name);
    for (size_t i = 0; i < LENGTH(successions); i++)
        suite_add(&suite, test_succession, &successions[i], "successor: %s", successions[i].name);
    for (size_t i = 0; i < LENGTH(paces); i++)
        suite_add(&suite, test_pace_of_slot, &paces[i], "each instruction: %s", paces[i].name);
    for (size_t i = 0; i < LENGTH(tests); i++)
        suite_add(&suite, tests[i].run, NULL, "%s", tests[i].name);
    return suite_run(&suite, "transfer");
}
