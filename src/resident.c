/* SPDX-License-Identifier: MIT */
#include "resident.h"

#include "clock.h"
#include "crowd.h"
#include "notify.h"
#include "peer.h"
#include "signals.h"
#include "store.h"
#include "table.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sysexits.h>
#include <syslog.h>
#include <unistd.h>

#define USUAL_CONNECTIONS 4096
#define SPARE             32 /* descriptors beside those of clients and listeners */
#define MOST_EVENTS       64 /* of a full turn each, before new clients have theirs */
#define BATCH             64 /* accepted from one listener before others have their turn */

/* How long accepting rests when descriptors or memory have run out, or a message was not taken. */
#define PAUSE (100 * CLOCK_MS)

/* What dies sooner may have died of what it has taken over. */
#define LASTING (10 * CLOCK_MS)

/* What epoll(7) tells of: a client by its number, the rest by these. */
#define NOBODY     UINT32_MAX
#define SIGNALS    (UINT32_MAX - 1)
#define THE_STORE  (UINT32_MAX - 2)
#define A_LISTENER UINT32_C(0x80000000) /* and its number */

/* One connection: what only this process needs of it. What must outlive it is in its slot. */
struct client {
    struct transfer transfer;
    uint32_t next; /* in its queue, or among the free ones */
    uint32_t previous;
    uint32_t place;  /* in the crowd, or CROWD_NOBODY */
    uint8_t watched; /* events that epoll(7) waits for */
    uint8_t queue;   /* enum transfer_queue; TRANSFER_QUEUES: none */
};

_Static_assert(
    sizeof(struct client) + sizeof(struct transfer_slot) + CROWD_COST + STORE_COST <= 224,
    "a connection shall cost no more than 224 bytes of our own");

struct queue {
    uint32_t first;
    uint32_t last;
};

/* One that was accepted a moment ago. */
struct arrival {
    int fd;
    union peer_address address;
};

struct resident {
    struct handover *handover;
    const struct sources *sources;
    const struct options *options;
    struct report *report;
    struct transfer_limits limits;
    struct table table;
    struct store store;
    struct client *clients; /* one for each slot of the table, under the same number */
    bool *emptied;          /* of each listener: its queue was empty since it was armed */
    struct crowd *crowd;    /* NULL: no limit for a source */
    struct queue queues[TRANSFER_QUEUES];
    int epoll;
    int signals;
    uint32_t most;   /* clients at a time */
    uint32_t n;      /* clients now */
    uint32_t free;   /* the last that has ended, and then by next; NOBODY: none */
    uint32_t unused; /* this one and all after it were never in use: their memory is untouched */
    uint32_t sum;    /* all numbers of clients, by exclusive or: the number, where there is one */
    uint32_t n_listening;
    bool stopping;
    bool interrupted; /* by SIGINT: nobody is to go on with anything */
    bool ready_told;
    bool quiet; /* the last epoll_wait(2) had nothing to tell */
    int64_t idle_since;
    int64_t lasting_at;    /* the table that was taken over has not killed us; CLOCK_NEVER: known */
    int64_t stop_at;       /* reset what is left; CLOCK_NEVER before SIGTERM */
    int64_t resume_at;     /* accept again; CLOCK_NEVER: not resting */
    int64_t shortage_told; /* when it was last told that something has run out */
    int64_t refusal_at;    /* the next line on those refused */
    int64_t notify_at;     /* the next message to the supervisor, where there is anything new */
    int64_t watchdog_at;
    uint64_t n_refused; /* since the last line on them */
    uint64_t n_served;
    uint64_t sent;    /* bytes */
    uint64_t told[3]; /* what the last STATUS= said */
    char reason[160]; /* why the last one was refused */
    struct arrival arrivals[BATCH];
};

/* --- Queues: each in the order of its members' times ----------------------------------------- */

static void leave_queue(struct resident *r, uint32_t number)
{
    struct client *client = &r->clients[number];

    if (client->queue == TRANSFER_QUEUES)
        return;
    struct queue *queue = &r->queues[client->queue];
    *(client->previous == NOBODY ? &queue->first : &r->clients[client->previous].next) =
        client->next;
    *(client->next == NOBODY ? &queue->last : &r->clients[client->next].previous) =
        client->previous;
    client->queue = TRANSFER_QUEUES;
}

/* Where it stands already with that time, it keeps its place. */
static void join_queue(struct resident *r, uint32_t number, int64_t time_before)
{
    struct client *client = &r->clients[number];
    const struct transfer *transfer = &client->transfer;

    if (client->queue == transfer->queue && time_before == transfer->wake)
        return;
    leave_queue(r, number);
    if (transfer->wake == CLOCK_NEVER)
        return;
    struct queue *queue = &r->queues[transfer->queue];
    client->queue = transfer->queue;
    client->next = NOBODY;
    client->previous = queue->last;
    *(queue->last == NOBODY ? &queue->first : &r->clients[queue->last].next) = number;
    queue->last = number;
}

/* --- Clients --------------------------------------------------------------------------------- */

static void give_number(struct resident *r, uint32_t number)
{
    r->table.slots[number].state = TRANSFER_NOWHERE;
    r->clients[number].next = r->free;
    r->free = number;
}

/* NOBODY: all that have ended wait for PID 1 to take their names out of its store. */
static uint32_t take_number(struct resident *r)
{
    uint32_t number;

    while ((number = store_next_free(&r->store)) != STORE_NOBODY)
        give_number(r, number);
    number = r->free;
    if (number != NOBODY) {
        r->free = r->clients[number].next;
    } else if (r->unused < r->table.n_slots) {
        number = r->unused++;
        table_use(&r->table, number);
    }
    return number;
}

static void end_client(struct resident *r, uint32_t number, int64_t now)
{
    struct client *client = &r->clients[number];
    struct transfer_slot *slot = client->transfer.slot;
    char peer[PEER_TEXT] = "";

    leave_queue(r, number);
    if (report_wants(r->report, &client->transfer))
        peer_format(&slot->peer, peer, sizeof(peer));
    report_transfer(r->report, &client->transfer, peer, clock_now());
    slot->event = TRANSFER_NOTHING; /* recorded */
    if (r->crowd && client->place != CROWD_NOBODY)
        crowd_leave(r->crowd, client->place);
    r->n_served += slot->state == TRANSFER_DONE;
    source_release(client->transfer.source);
    if (store_forget(&r->store, number))
        give_number(r, number);
    store_tidy(&r->store);
    r->sum ^= number;
    if (--r->n == 0)
        r->idle_since = now;
    if (r->resume_at != CLOCK_NEVER)
        r->resume_at = now; /* its descriptor is free again */
}

/* Level-triggered: what a turn has left undone is told of again. Nothing to wait for: no watch at
 * all, since EPOLLHUP, which cannot be declined, may never cease. */
static int watch(struct resident *r, uint32_t number)
{
    struct client *client = &r->clients[number];
    struct epoll_event event = {
        .events = (uint32_t)client->transfer.wants, .data.u32 = number}; /* EPOLL* are POLL* */
    uint8_t wants = (uint8_t)client->transfer.wants;

    if (wants == client->watched)
        return 0;
    int deed = wants == 0 ? EPOLL_CTL_DEL : client->watched == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
    client->watched = wants;
    return epoll_ctl(r->epoll, deed, client->transfer.fd, &event) < 0 ? -errno : 0;
}

/* Another process shall be able to go on with it, even if this one is gone in a moment. */
static void keep_client(struct resident *r, uint32_t number)
{
    struct transfer *transfer = &r->clients[number].transfer;

    transfer->epoll = r->epoll;
    store_keep(&r->store, number, transfer->fd, transfer->source);
}

static void step_client(struct resident *r, uint32_t number, short revents, int64_t now)
{
    struct transfer *transfer = &r->clients[number].transfer;
    off_t before = transfer->slot->offset;
    int64_t time_before = transfer->wake;

    transfer_step(transfer, revents, now);
    r->sent += (uint64_t)(transfer->slot->offset - before);
    if (!transfer_ended(transfer)) {
        int error = watch(r, number);
        if (error < 0)
            transfer_break(transfer, "epoll_ctl", -error);
    }
    if (transfer_ended(transfer)) {
        end_client(r, number, now);
        return;
    }
    join_queue(r, number, time_before);
    if (transfer->slot->held && transfer->epoll < 0)
        keep_client(r, number);
}

/* On a signal, or, with an errno, because there is no way to go on. SIGTERM leaves those alone that
 * another process will go on with. */
static void stop_all(struct resident *r, const char *call, int error)
{
    int64_t now = clock_now();

    for (uint32_t number = 0; number < r->unused; number++) {
        struct transfer *transfer = &r->clients[number].transfer;
        if (!transfer_slot_runs(&r->table.slots[number]))
            continue;
        if (!error && !r->interrupted && store_has(&r->store, number))
            continue;
        if (error)
            transfer_break(transfer, call, error);
        else
            transfer_stop(transfer);
        end_client(r, number, now);
    }
}

static void step_due(struct resident *r, int64_t now)
{
    for (int i = 0; i < TRANSFER_QUEUES; i++)
        while (r->queues[i].first != NOBODY && r->clients[r->queues[i].first].transfer.wake <= now)
            step_client(r, r->queues[i].first, 0, now);
}

/* --- Accepting ------------------------------------------------------------------------------- */

static void watch_listeners(struct resident *r, uint32_t events)
{
    for (uint32_t i = 0; i < r->handover->n_listeners; i++) {
        struct epoll_event event = {.events = events, .data.u32 = A_LISTENER | i};
        /* Fails for one that is no longer watched; it stays so. */
        (void)epoll_ctl(r->epoll, EPOLL_CTL_MOD, r->handover->listeners[i].fd, &event);
    }
}

static bool unwatch(struct resident *r, uint32_t listener)
{
    if (epoll_ctl(r->epoll, EPOLL_CTL_DEL, r->handover->listeners[listener].fd, NULL) < 0)
        return false;
    r->n_listening--;
    return true;
}

/* Others are to serve those who come next, and, where they can, those who are here. */
static void begin_stop(struct resident *r, int64_t now)
{
    if (r->stopping)
        return;
    r->stopping = true;
    table_last(&r->table);
    r->stop_at = clock_after(now, r->options->stop_timeout);
    for (uint32_t i = 0; i < r->handover->n_listeners; i++)
        (void)unwatch(r, i);
    (void)notify_send(&r->handover->notify, "STOPPING=1\n"); /* a courtesy */
    store_hurry(&r->store);
    for (uint32_t number = 0; number < r->unused && !r->interrupted; number++)
        if (transfer_slot_runs(&r->table.slots[number]))
            keep_client(r, number); /* also one that only waits for the client's end */
}

/* The listener stays ready for as long as we cannot accept: it must not wake us meanwhile. */
static void rest(struct resident *r, int error, int64_t now)
{
    char text[128];

    if (r->resume_at == CLOCK_NEVER)
        watch_listeners(r, 0);
    r->resume_at = now + PAUSE;
    if (r->shortage_told != 0 && now - r->shortage_told < 60 * CLOCK_SECOND)
        return;
    r->shortage_told = now;
    (void)snprintf(text, sizeof(text),
        "accept4: %s; %" PRIu32 " clients are served, and new ones have to wait", strerror(error),
        r->n);
    report_note(r->report, LOG_WARNING, text);
}

static void resume(struct resident *r)
{
    r->resume_at = CLOCK_NEVER;
    if (!r->stopping)
        watch_listeners(r, EPOLLIN);
}

/* Whoever shut the socket down, or took its port away: its clients go on, but no new ones come. */
static void lose_listener(struct resident *r, uint32_t listener, int error)
{
    struct problem problem;

    if (!unwatch(r, listener))
        return;
    (void)problem_set(&problem, error, EX_OSERR,
        "accept4 on %s: %s; it is listened on no longer, restart its supervisor's socket",
        r->handover->listeners[listener].address, strerror(error));
    report_problem(r->report, &problem);
}

/* accept(2) lists them: errors of the new connection, which is gone, and of nothing else. */
static bool is_of_the_client(int error)
{
    static const int errors[] = {EINTR, ECONNABORTED, EPROTO, ENOPROTOOPT, ENETDOWN, EHOSTDOWN,
        ENONET, EHOSTUNREACH, ENETUNREACH, ETIMEDOUT};

    for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++)
        if (errors[i] == error)
            return true;
    return false;
}

/* Why accept4(2) has ended, and what of it. */
static void judge_accept(struct resident *r, uint32_t listener, int error, int64_t now)
{
    switch (error) {
    case EAGAIN:
        r->emptied[listener] = true;
        break;
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
    case EPERM: /* a security module or seccomp, which say so each time, and take nothing */
    case EACCES:
        rest(r, error, now);
        break;
    default:
        lose_listener(r, listener, error);
        break;
    }
}

/* The first ones are armed as any socket is, those that have inherited it for certain only once. */
static int arm(const struct resident *r, uint32_t listener, int fd)
{
    enum socket_kind kind = r->handover->listeners[listener].kind;
    int error = r->emptied[listener] ? transfer_arm_inherited(fd, kind) : transfer_arm(fd, kind);

    if (error == 0 && r->options->rate > 0)
        error = transfer_pace(fd, kind, r->options->rate);
    return error;
}

static void lose_arrival(struct resident *r, int fd, enum socket_kind kind, int error)
{
    struct problem problem;

    transfer_abort(fd, kind);
    (void)problem_set(&problem, -error, EX_OSERR, "setsockopt: %s", strerror(-error));
    report_problem(r->report, &problem);
}

/*
 * Those that have come, up to a batch. Each is armed as soon as it is ours: one that came before
 * the listener was armed, as the first client does, has not inherited it.
 */
static int gather(struct resident *r, uint32_t listener, int64_t now)
{
    const struct listener *from = &r->handover->listeners[listener];
    int n = 0;

    for (int tries = 0; tries < BATCH; tries++) {
        struct arrival *arrival = &r->arrivals[n];
        socklen_t size = sizeof(arrival->address);
        int fd = accept4(from->fd, &arrival->address.any, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0 && is_of_the_client(errno))
            continue;
        if (fd < 0) {
            judge_accept(r, listener, errno, now);
            break;
        }
        arrival->fd = fd;
        int error = arm(r, listener, fd);
        if (error < 0)
            lose_arrival(r, fd, from->kind, error);
        else
            n++;
    }
    return n;
}

static void tell_refused(struct resident *r, int64_t now)
{
    report_refused(r->report, r->n_refused, r->reason);
    r->n_refused = 0;
    r->refusal_at = now + CLOCK_SECOND;
}

/* Reset, since to a client that takes zero bytes for a file a clean end would be one. */
static void refuse(struct resident *r, int fd, enum socket_kind kind, int64_t now)
{
    transfer_abort(fd, kind);
    r->n_refused++;
    if (now >= r->refusal_at)
        tell_refused(r, now);
}

/* Whether there is room for one more, and one more of its source; then *number is that of its slot,
 * and *place that in the crowd. */
static bool has_room(struct resident *r, const struct peer *peer, uint32_t *number, uint32_t *place)
{
    char text[PEER_TEXT];

    *place = CROWD_NOBODY;
    if (r->n >= r->most) {
        (void)snprintf(r->reason, sizeof(r->reason),
            "%" PRIu32 " at a time is the limit (--max-connections)", r->most);
        return false;
    }
    *number = take_number(r);
    if (*number == NOBODY) {
        (void)snprintf(r->reason, sizeof(r->reason),
            "%" PRIu32 " slots wait for systemd to drop what it has kept", r->table.n_slots);
        return false;
    }
    if (!r->crowd)
        return true;
    *place = crowd_enter(r->crowd, peer_source(peer), (uint32_t)r->options->most_per_source);
    if (*place != CROWD_NOBODY)
        return true;
    give_number(r, *number);
    peer_format(peer, text, sizeof(text));
    (void)snprintf(r->reason, sizeof(r->reason),
        "the last was %s, whose address has %" PRId64 " already (--max-connections-per-source)",
        text, r->options->most_per_source);
    return false;
}

static void begin_client(struct resident *r, uint32_t number, int fd, enum socket_kind kind,
    struct source *source, uint32_t place, int64_t now)
{
    struct client *client = &r->clients[number];

    *client = (struct client){.place = place, .queue = TRANSFER_QUEUES};
    r->n++;
    r->sum ^= number;
    source_hold(source);
    transfer_start(&client->transfer, &r->table.slots[number], fd, kind, source, &r->limits, now);
}

/* One that a process before has begun, whatever the limits are by now. It is not stepped yet, since
 * thousands of turns would keep all of them waiting. */
static void resume_client(
    void *context, uint32_t number, int fd, enum socket_kind kind, struct source *source)
{
    struct resident *r = context;
    uint32_t place = CROWD_NOBODY;
    int64_t now = clock_now();

    if (r->crowd)
        place = crowd_enter(r->crowd, peer_source(&r->table.slots[number].peer), UINT32_MAX);
    begin_client(r, number, fd, kind, source, place, now);
    r->clients[number].transfer.epoll = r->epoll;
    step_client(r, number, 0, now);
}

static void admit(struct resident *r, uint32_t listener, const struct arrival *arrival,
    struct source *source, int64_t now)
{
    enum socket_kind kind = r->handover->listeners[listener].kind;
    struct peer peer;
    uint32_t number;
    uint32_t place;

    peer_set(&peer, arrival->fd, kind, &arrival->address);
    if (!has_room(r, &peer, &number, &place)) {
        refuse(r, arrival->fd, kind, now);
        return;
    }
    transfer_slot_init(&r->table.slots[number], source, &peer, now);
    begin_client(r, number, arrival->fd, kind, source, place, now);
    /* Tried before it is waited for: a fresh socket has room, and most files fit. */
    step_client(r, number, POLLOUT, now);
}

/* The file is looked at when all of them have come, so that none gets an older one. */
static void accept_batch(struct resident *r, uint32_t listener, int64_t now)
{
    struct source *source;
    struct problem problem;

    int n = gather(r, listener, now);
    if (n == 0)
        return;
    int error = source_refresh(sources_for(r->sources, listener), &source, &problem);
    for (int i = 0; i < n; i++) {
        if (error == 0) {
            admit(r, listener, &r->arrivals[i], source, now);
            continue;
        }
        transfer_abort(r->arrivals[i].fd, r->handover->listeners[listener].kind);
        report_problem(r->report, &problem);
    }
    if (error == -ERESTART)
        begin_stop(r, now); /* the supervisor starts the next one */
    store_tidy(&r->store);  /* the file before may have been the last of its kind */
    if (r->n == 0)
        r->idle_since = now;
}

/* --- The supervisor -------------------------------------------------------------------------- */

static bool is_news(const struct resident *r)
{
    return r->told[0] != r->n || r->told[1] != r->n_served || r->told[2] != r->sent;
}

static void format_status(const struct resident *r, char *text, size_t size)
{
    int n =
        snprintf(text, size, "STATUS=%" PRIu32 " client%s, %" PRIu64 " served, %.1f MB sent in all",
            r->n, r->n == 1 ? "" : "s", r->n_served, (double)r->sent / 1e6);

    if (r->n != 1 || n < 0 || (size_t)n >= size)
        return;
    const struct transfer_slot *slot = &r->table.slots[r->sum];
    double promised = (double)(slot->end - slot->start);
    (void)snprintf(text + n, size - (size_t)n, "; %.0f %% of %s",
        promised > 0 ? 100 * (double)(slot->offset - slot->start) / promised : 100,
        r->clients[r->sum].transfer.source->name);
}

/* A file's name must not bring lines of its own. */
static void make_one_line(char *text)
{
    for (; *text; text++)
        if (iscntrl((unsigned char)*text))
            *text = '?';
}

/*
 * READY= once, WATCHDOG= in time, STATUS= when there is news, but not more often than once a
 * second. A message that the manager does not take is tried again.
 */
static void notify(struct resident *r, int64_t now)
{
    const struct notify *to = &r->handover->notify;
    bool watchdog = now >= r->watchdog_at;
    bool status = (is_news(r) || !r->ready_told) && now >= r->notify_at;
    char lines[512];

    if (to->fd < 0 || !(watchdog || status))
        return;
    size_t n = (size_t)snprintf(lines, sizeof(lines), "%s%s", r->ready_told ? "" : "READY=1\n",
        watchdog ? "WATCHDOG=1\n" : "");
    if (status) {
        format_status(r, lines + n, sizeof(lines) - n);
        make_one_line(lines + n);
    }
    int error = notify_send(to, lines);
    if (error < 0) {
        int64_t again = now + (error == -EAGAIN ? PAUSE : CLOCK_SECOND);
        r->notify_at = again;
        if (watchdog)
            r->watchdog_at = again;
        return;
    }
    r->ready_told = true;
    if (watchdog)
        r->watchdog_at = now + to->watchdog / 2;
    if (!status)
        return;
    r->notify_at = now + CLOCK_SECOND;
    r->told[0] = r->n;
    r->told[1] = r->n_served;
    r->told[2] = r->sent;
}

/* --- The loop -------------------------------------------------------------------------------- */

static void take_signals(struct resident *r, int64_t now)
{
    for (int number; (number = signals_read(r->signals)) != 0;) {
        if (number == SIGHUP)
            continue;
        r->interrupted = r->interrupted || number == SIGINT;
        begin_stop(r, now);
        if (number == SIGINT)
            r->stop_at = now;
    }
}

static int64_t earlier(int64_t one, int64_t other)
{
    return one < other ? one : other;
}

/* When there is something to do although nothing happens. */
static int64_t next_time(const struct resident *r)
{
    int64_t time = earlier(earlier(r->stop_at, r->resume_at), store_next_time(&r->store));

    time = earlier(time, r->lasting_at);
    for (int i = 0; i < TRANSFER_QUEUES; i++)
        if (r->queues[i].first != NOBODY)
            time = earlier(time, r->clients[r->queues[i].first].transfer.wake);
    if (r->n == 0 && r->options->idle_exit > 0)
        time = earlier(time, clock_after(r->idle_since, r->options->idle_exit));
    if (r->n_refused > 0)
        time = earlier(time, r->refusal_at);
    if (r->handover->notify.fd >= 0)
        time = earlier(time,
            earlier(r->watchdog_at, is_news(r) || !r->ready_told ? r->notify_at : CLOCK_NEVER));
    return time;
}

/*
 * Idle is who has just looked and found nobody, not whose time has passed: a start or a stop that
 * took longer than that would else be followed by the exit, and the client that waits by the next
 * such start. Also idle is who cannot accept: another process may have more luck.
 */
static bool is_over(const struct resident *r, int64_t now)
{
    if (r->n > 0) /* or the next process has all of them */
        return r->stopping && !r->interrupted && r->n == r->store.n_kept;
    return r->stopping || r->n_listening == 0 ||
           (r->quiet && r->options->idle_exit > 0 &&
               now >= clock_after(r->idle_since, r->options->idle_exit));
}

/* epoll_wait(2) takes milliseconds: rounded up, so that the time has come when it returns. */
static int wait_for_events(struct resident *r, struct epoll_event *events)
{
    int64_t time = next_time(r);
    int64_t now = clock_now();
    int64_t ms = time == CLOCK_NEVER ? -1
                 : time <= now       ? 0
                                     : (time - now + CLOCK_MS - 1) / CLOCK_MS;

    int n = epoll_wait(r->epoll, events, MOST_EVENTS, ms < INT_MAX ? (int)ms : INT_MAX);
    return n < 0 ? -errno : n;
}

/*
 * Those that wait; and where somebody has shut the socket down, no more after them. For a UNIX
 * socket accept4(2) says no more than EAGAIN then, and epoll_wait(2) never ceases to tell.
 */
static void take_listener(struct resident *r, const struct epoll_event *event, int64_t now)
{
    uint32_t listener = event->data.u32 & ~A_LISTENER;
    bool shut = event->events & EPOLLHUP;

    if (shut)
        r->emptied[listener] = false;
    if (r->resume_at == CLOCK_NEVER)
        accept_batch(r, listener, now);
    if (shut && (r->emptied[listener] || r->resume_at != CLOCK_NEVER))
        lose_listener(r, listener, EINVAL);
}

/*
 * Clients first: one that ends here closes its descriptor, and only then may a new one get its
 * number, of which the events at hand must not speak.
 */
static void take_events(struct resident *r, const struct epoll_event *events, int n)
{
    int64_t now = clock_now();

    for (int i = 0; i < n; i++)
        if (events[i].data.u32 < A_LISTENER) {
            step_client(r, events[i].data.u32, (short)events[i].events, now);
            now = clock_now(); /* a turn of sending may have taken its time */
        }
    for (int i = 0; i < n; i++) {
        bool listener = events[i].data.u32 >= A_LISTENER && events[i].data.u32 < THE_STORE;
        if (events[i].data.u32 == SIGNALS)
            take_signals(r, now);
        else if (events[i].data.u32 == THE_STORE)
            store_take_events(&r->store);
        else if (listener && !r->stopping)
            take_listener(r, &events[i], now);
    }
}

static int loop(struct resident *r, struct problem *problem)
{
    struct epoll_event events[MOST_EVENTS];
    int64_t now = clock_now();

    while (!is_over(r, now)) {
        notify(r, now);
        int n = wait_for_events(r, events);
        if (n < 0 && n != -EINTR) {
            stop_all(r, "epoll_wait", -n);
            return problem_set(problem, -n, EX_OSERR, "epoll_wait: %s", strerror(-n));
        }
        r->quiet = n == 0;
        take_events(r, events, n);
        now = clock_now();
        step_due(r, now);
        if (now >= r->resume_at)
            resume(r);
        if (now >= store_next_time(&r->store))
            store_retry(&r->store);
        if (now >= r->lasting_at) {
            r->lasting_at = CLOCK_NEVER;
            table_last(&r->table);
        }
        if (now >= r->stop_at)
            stop_all(r, NULL, 0);
        if (r->n_refused > 0 && now >= r->refusal_at)
            tell_refused(r, now);
    }
    return 0;
}

/* --- Beginning and end ----------------------------------------------------------------------- */

/* As many clients as descriptors allow; the soft limit is raised, since nothing here uses
 * select(2). */
static int set_limit(struct resident *r, struct problem *problem)
{
    uint64_t asked = (uint64_t)r->options->most_connections;
    uint64_t most = asked > 0 ? asked : USUAL_CONNECTIONS;
    uint64_t beside = 2 * r->handover->n_listeners + SPARE; /* and a file for each */
    struct rlimit limit;
    char text[160];

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return problem_call(problem, "getrlimit");
    if (limit.rlim_max < most + beside) {
        if (asked > 0 || limit.rlim_max <= beside)
            return problem_set(problem, EMFILE, EX_USAGE,
                "--max-connections: %" PRIu64 " need %" PRIu64 " descriptors, and RLIMIT_NOFILE "
                "allows %ju; raise it (in the unit: LimitNOFILE=), or ask for less",
                most, most + beside, (uintmax_t)limit.rlim_max);
        most = limit.rlim_max - beside;
        (void)snprintf(text, sizeof(text),
            "at most %" PRIu64 " clients at a time instead of %d, since RLIMIT_NOFILE is %ju", most,
            USUAL_CONNECTIONS, (uintmax_t)limit.rlim_max);
        report_note(r->report, LOG_NOTICE, text);
    }
    r->most = (uint32_t)most;
    /* A client can be the last to hold an old opening of the file, which is a descriptor, too. */
    rlim_t wanted = limit.rlim_max < 2 * most + beside ? limit.rlim_max : 2 * most + beside;
    if (limit.rlim_cur >= wanted)
        return 0;
    limit.rlim_cur = wanted;
    return setrlimit(RLIMIT_NOFILE, &limit) < 0 ? problem_call(problem, "setrlimit") : 0;
}

/* Said before there is a client that it would fail for. The listener itself is not paced: it is the
 * supervisor's, and would hand the rate on when the option is gone. */
static int check_pace(const struct resident *r, struct problem *problem)
{
    for (size_t i = 0; i < r->handover->n_listeners && r->options->rate > 0; i++) {
        const struct listener *listener = &r->handover->listeners[i];
        if (listener->kind != SOCKET_TCP)
            return problem_set(problem, EOPNOTSUPP, EX_USAGE,
                "--rate: clients of %s cannot be paced (%s), only those of plain TCP can; "
                "leave --rate out, or listen with TCP",
                listener->address, strerror(EOPNOTSUPP));
    }
    return 0;
}

static int take_memory(struct resident *r, struct problem *problem)
{
    int error = store_open(&r->store, r->handover, &r->table, r->most, r->report);

    if (error < 0)
        return problem_set(problem, -error, EX_OSERR, "the table of %" PRIu32 " connections: %s",
            r->most, strerror(-error));
    r->clients = calloc(r->table.n_slots, sizeof(*r->clients)); /* from the kernel, untouched */
    r->emptied = calloc(r->handover->n_listeners + 1, sizeof(*r->emptied));
    if (r->options->most_per_source > 0)
        r->crowd = crowd_new(r->table.n_slots);
    if (!r->clients || !r->emptied || (r->options->most_per_source > 0 && !r->crowd))
        return problem_set(
            problem, ENOMEM, EX_OSERR, "out of memory for %" PRIu32 " connections", r->most);
    for (int i = 0; i < TRANSFER_QUEUES; i++)
        r->queues[i] = (struct queue){NOBODY, NOBODY};
    return 0;
}

static int open_epoll(struct resident *r, struct problem *problem)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = SIGNALS};

    r->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (r->epoll < 0)
        return problem_call(problem, "epoll_create1");
    if (epoll_ctl(r->epoll, EPOLL_CTL_ADD, r->signals, &event) < 0)
        return problem_call(problem, "epoll_ctl");
    for (size_t i = 0; i < r->handover->n_listeners; i++) {
        event.data.u32 = A_LISTENER | (uint32_t)i;
        if (epoll_ctl(r->epoll, EPOLL_CTL_ADD, r->handover->listeners[i].fd, &event) < 0)
            return problem_call(problem, "epoll_ctl");
        r->n_listening++;
    }
    event.data.u32 = THE_STORE;
    if (epoll_ctl(r->epoll, EPOLL_CTL_ADD, r->store.events, &event) < 0)
        return problem_call(problem, "epoll_ctl");
    return 0;
}

/* Those of a process before, and which slots are left for others. */
static void reclaim(struct resident *r)
{
    r->unused = r->table.header->n_used;
    if (r->table.header->tries > 0)
        r->lasting_at = clock_after(clock_now(), LASTING);
    store_reclaim(&r->store, r->handover, r->sources, r->options, resume_client, r);
    r->unused = r->table.header->n_used; /* what was damaged may lie beyond */
    for (uint32_t number = r->unused; number-- > 0;)
        if (r->table.slots[number].state == TRANSFER_NOWHERE)
            give_number(r, number);
}

static int begin(struct resident *r, struct problem *problem)
{
    static const int also[] = {SIGHUP, 0};

    int error = check_pace(r, problem);
    if (error == 0)
        error = set_limit(r, problem);
    if (error == 0)
        error = take_memory(r, problem);
    if (error != 0)
        return error;
    r->signals = signals_open(also, problem);
    return r->signals < 0 ? r->signals : open_epoll(r, problem);
}

/* The sockets that are left are those that the store has as well: no client is reset. */
static void leave_clients(struct resident *r)
{
    report_left(r->report, r->n);
    for (uint32_t number = 0; number < r->unused; number++)
        if (transfer_slot_runs(&r->table.slots[number])) {
            source_release(r->clients[number].transfer.source);
            (void)close(r->clients[number].transfer.fd);
        }
}

int resident_open(struct resident **ret, struct handover *handover, const struct sources *sources,
    const struct options *options, struct report *report, struct problem *problem)
{
    int64_t now = clock_now();
    struct resident *r = calloc(1, sizeof(*r));

    if (!r)
        return problem_call(problem, "calloc");
    *r = (struct resident){
        .handover = handover,
        .sources = sources,
        .options = options,
        .report = report,
        .limits = {options->stall_timeout, options->drain_timeout},
        .table = {.fd = -1},
        .store = {.events = -1,
            .witness = -1,
            .barrier = -1,
            .retry_at = CLOCK_NEVER,
            .keep_at = CLOCK_NEVER},
        .epoll = -1,
        .signals = -1,
        .free = NOBODY,
        .idle_since = now,
        .lasting_at = CLOCK_NEVER,
        .stop_at = CLOCK_NEVER,
        .resume_at = CLOCK_NEVER,
        .notify_at = now,
        .watchdog_at = handover->notify.watchdog > 0 ? now : CLOCK_NEVER,
    };
    report_hurry(report);
    int error = begin(r, problem);
    if (error < 0)
        resident_close(r);
    else
        *ret = r;
    return error;
}

int resident_run(struct resident *r, struct problem *problem)
{
    reclaim(r);
    int error = loop(r, problem);
    if (error == 0 && r->n > 0)
        leave_clients(r);
    if (r->n_refused > 0)
        tell_refused(r, clock_now());
    return error;
}

void resident_close(struct resident *r)
{
    store_close(&r->store);
    if (r->epoll >= 0)
        (void)close(r->epoll);
    if (r->signals >= 0)
        (void)close(r->signals);
    if (r->table.header)
        table_close(&r->table);
    crowd_free(r->crowd);
    free(r->clients);
    free(r->emptied);
    free(r);
}
