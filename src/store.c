/* SPDX-License-Identifier: MIT */
#include "store.h"

#include "notify.h"
#include "systemd.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sysexits.h>
#include <syslog.h>
#include <unistd.h>

/* Until a message is tried again that failed for want of something that tells no one when it is
 * back. */
#define PAUSE (100 * CLOCK_MS)

/*
 * How many sockets are kept in a second, as a time for each, and how many at once after a pause.
 * PID 1 compares each descriptor with all that it keeps for the unit (service_add_fd_store() in
 * systemd), so that the next one takes it a time that grows with their number: up to 1 ms for each
 * 1000.
 */
#define KEEP_EVERY CLOCK_MS
#define KEEP_BURST 256
#define KEEP_EASY  500 /* descriptors, and each as many again cost as much once more */

#define MOST_NAME 16 /* "@file-ffffffff" */

/*
 * The names of all that is kept come in one string of the environment, LISTEN_FDNAMES, and with one
 * longer than 128 KiB no process can be started at all, execve(2). What is left is for the names of
 * the unit's own sockets.
 */
#define MOST_NAMES (120 * 1024)

enum place_state {
    FREE,
    COMING, /* waits to be sent to PID 1 */
    KEPT,   /* sent: PID 1 takes messages in their order, and before it sees that we are gone */
    GOING,  /* its transfer is over, and PID 1 has not been told */
    GONE,   /* the slot is free, and its owner has not been told */
};

struct store_place {
    int fd;        /* of a socket that is COMING; borrowed */
    uint32_t next; /* in the queue of its state */
    uint32_t previous;
    uint8_t state; /* enum place_state */
};

_Static_assert(sizeof(struct store_place) == STORE_COST, "what the budget counts");

struct store_file {
    struct store_file *next;
    struct source *source; /* held once */
    bool kept;
};

/* --- Names ----------------------------------------------------------------------------------- */

/* As it is written below: lower case, no zeros in front. */
static bool read_number(const char *text, uint32_t *number)
{
    char *rest;
    char again[16];

    errno = 0;
    unsigned long value = strtoul(text, &rest, 16);
    if (errno != 0 || *rest != '\0' || value >= STORE_NOBODY)
        return false;
    *number = (uint32_t)value;
    (void)snprintf(again, sizeof(again), "%" PRIx32, *number);
    return strcmp(text, again) == 0;
}

enum store_kind store_read_name(const char *name, uint32_t *number)
{
    if (name[0] != '@')
        return STORE_FOREIGN;
    if (strcmp(name, "@table") == 0)
        return STORE_TABLE;
    if (strcmp(name, "@witness") == 0)
        return STORE_WITNESS;
    if (strncmp(name, "@file-", 6) == 0)
        return read_number(name + 6, number) ? STORE_FILE : STORE_FOREIGN;
    return read_number(name + 1, number) ? STORE_SOCKET : STORE_FOREIGN;
}

/* --- Messages -------------------------------------------------------------------------------- */

static void lose(struct store *store);

/* Not taken: once the socket to PID 1 has room again, if it is only that; or after a while; or
 * there is nobody any more. */
static void hold_back(struct store *store, int error)
{
    struct epoll_event event = {.events = EPOLLOUT};

    switch (error) {
    case -EAGAIN:
        store->blocked = epoll_ctl(store->events, EPOLL_CTL_ADD, store->notify->fd, &event) == 0;
        if (store->blocked)
            return;
        break;
    case -ENOBUFS:
    case -ENOMEM:
    case -EMFILE:
    case -ENFILE:
    case -ENOSPC: /* epoll_ctl(2) */
    case -ETOOMANYREFS:
        break;
    default:
        lose(store);
        return;
    }
    store->retry_at = clock_now() + PAUSE;
}

static bool is_held_back(const struct store *store)
{
    return store->blocked || store->retry_at != CLOCK_NEVER;
}

/* The bytes that a name takes among all of them, with its colon. */
static uint32_t cost_of(const char *name)
{
    return (uint32_t)strlen(name) + 1;
}

static void count(struct store *store, const char *name, uint32_t n)
{
    store->n += n;
    store->names += n * cost_of(name);
}

static uint32_t less(uint32_t value, uint32_t by)
{
    return by < value ? value - by : 0;
}

static int keep(struct store *store, const char *name, const int *fds, size_t n)
{
    char lines[64];

    (void)snprintf(lines, sizeof(lines), "FDSTORE=1\nFDPOLL=0\nFDNAME=%s", name);
    int r = notify_send_fds(store->notify, lines, fds, n);
    if (r == 0)
        count(store, name, (uint32_t)n);
    return r;
}

static int drop(struct store *store, const char *name, uint32_t n)
{
    char lines[64];

    (void)snprintf(lines, sizeof(lines), "FDSTOREREMOVE=1\nFDNAME=%s", name);
    int r = notify_send(store->notify, lines);
    if (r == 0) {
        store->n = less(store->n, n);
        store->names = less(store->names, n * cost_of(name));
    }
    return r;
}

static const char *name_file(char *name, uint32_t generation)
{
    (void)snprintf(name, MOST_NAME, "@file-%" PRIx32, generation);
    return name;
}

static const char *name_socket(char *name, uint32_t slot)
{
    (void)snprintf(name, MOST_NAME, "@%" PRIx32, slot);
    return name;
}

static int drop_file(struct store *store, uint32_t generation)
{
    char name[MOST_NAME];

    return drop(store, name_file(name, generation), 1);
}

static int drop_socket(struct store *store, uint32_t slot)
{
    char name[MOST_NAME];

    return drop(store, name_socket(name, slot), 1);
}

/* --- Queues ---------------------------------------------------------------------------------- */

static void append(struct store *store, struct store_queue *queue, uint32_t slot)
{
    struct store_place *place = &store->places[slot];

    place->next = STORE_NOBODY;
    place->previous = queue->last;
    *(queue->last == STORE_NOBODY ? &queue->first : &store->places[queue->last].next) = slot;
    queue->last = slot;
}

static void take_out(struct store *store, struct store_queue *queue, uint32_t slot)
{
    struct store_place *place = &store->places[slot];

    *(place->previous == STORE_NOBODY ? &queue->first : &store->places[place->previous].next) =
        place->next;
    *(place->next == STORE_NOBODY ? &queue->last : &store->places[place->next].previous) =
        place->previous;
}

static void free_slot(struct store *store, uint32_t slot)
{
    store->places[slot].state = GONE;
    append(store, &store->gone, slot);
}

static void let_go(struct store *store, uint32_t slot)
{
    store->places[slot].state = GOING;
    append(store, &store->going, slot);
}

uint32_t store_next_free(struct store *store)
{
    uint32_t slot = store->gone.first;

    if (slot != STORE_NOBODY) {
        take_out(store, &store->gone, slot);
        store->places[slot].state = FREE;
    }
    return slot;
}

bool store_has(const struct store *store, uint32_t slot)
{
    return store->places && store->places[slot].state == KEPT;
}

/* --- Is there a store? ----------------------------------------------------------------------- */

/* Hangs up when all others have closed the other end. */
static bool hangs_up(int fd)
{
    struct pollfd look = {.fd = fd};

    return fd >= 0 && poll(&look, 1, 0) > 0 && (look.revents & POLLHUP);
}

static void close_end(int *fd)
{
    if (*fd >= 0)
        (void)close(*fd); /* of a pipe that nothing is written to */
    *fd = -1;
}

/*
 * A pipe whose write end, and with_both the other end, too, goes to PID 1 with those lines. Its
 * read end is ours, and hangs up when PID 1 has closed the other.
 */
static int send_pipe(struct store *store, const char *lines, bool with_both, int *end)
{
    struct epoll_event event = {.events = 0}; /* EPOLLHUP need not be asked for */
    int ends[2];

    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0)
        return -errno;
    int r = with_both ? notify_send_fds(store->notify, lines, ends, 2)
                      : notify_send_fds(store->notify, lines, &ends[1], 1);
    (void)close(ends[1]);
    if (r == 0 && epoll_ctl(store->events, EPOLL_CTL_ADD, ends[0], &event) < 0)
        r = -errno;
    if (r < 0)
        (void)close(ends[0]);
    else
        *end = ends[0];
    return r;
}

/*
 * Before version 254 systemd does not say whether, and how much, it keeps (FDSTORE=), and what it
 * does not want it closes without a word. So a pipe goes first, and a barrier after it, which PID 1
 * closes when it has come so far, sd_notify_barrier(3): what has become of the pipe then tells. It
 * stays, as a witness: when FileDescriptorStoreMax= is taken away later, all is dropped, and with
 * it the pipe.
 */
static void ask(struct store *store)
{
    int r = 0;

    if (store->state == STORE_UNTRIED) {
        r = send_pipe(store, "FDSTORE=1\nFDPOLL=0\nFDNAME=@witness", true, &store->witness);
        if (r == 0)
            store->state = STORE_ASKED;
    }
    if (r == 0 && store->barrier < 0)
        r = send_pipe(store, "BARRIER=1", false, &store->barrier);
    if (r < 0)
        hold_back(store, r);
}

static void forget_file(struct store_file **link)
{
    struct store_file *file = *link;

    *link = file->next;
    source_release(file->source);
    free(file);
}

/* Nobody keeps anything, or not any more. */
static void lose(struct store *store)
{
    close_end(&store->witness);
    close_end(&store->barrier);
    store->state = STORE_NONE;
    store->table_kept = false;
    store->n = store->names = store->n_kept = 0;
    store->coming = store->going = (struct store_queue){STORE_NOBODY, STORE_NOBODY};
    store->keep_at = CLOCK_NEVER;
    for (uint32_t slot = 0; slot < store->table->header->n_used; slot++) {
        if (store->places[slot].state == GOING)
            free_slot(store, slot);
        else if (store->places[slot].state != GONE)
            store->places[slot].state = FREE;
    }
    while (store->files)
        forget_file(&store->files);
    report_note(store->report, LOG_NOTICE,
        "systemd keeps no descriptors for this service (FileDescriptorStoreMax=): "
        "transfers end with this process");
}

/* --- Keeping --------------------------------------------------------------------------------- */

static struct store_file *find_file(const struct store *store, uint32_t generation)
{
    struct store_file *file = store->files;

    while (file && file->source->generation != generation)
        file = file->next;
    return file;
}

static struct store_file *add_file(struct store *store, struct source *source)
{
    struct store_file *file = calloc(1, sizeof(*file));

    if (!file)
        return NULL;
    *file = (struct store_file){.next = store->files, .source = source};
    store->files = file;
    return file;
}

static void tell_full(struct store *store)
{
    char text[160];

    if (store->told_full)
        return;
    store->told_full = true;
    (void)snprintf(text, sizeof(text),
        "the file-descriptor store is full (%" PRIu32 " of %" PRIu32 "): more transfers than these "
        "end with this process",
        store->n, store->most);
    report_note(store->report, LOG_NOTICE, text);
}

/* First what the socket is worth nothing without. */
static int keep_socket(struct store *store, uint32_t slot)
{
    struct store_file *file = find_file(store, store->table->slots[slot].generation);
    char name[MOST_NAME];
    int r = 0;

    if (!store->table_kept) {
        r = keep(store, "@table", &store->table->fd, 1);
        store->table_kept = r == 0;
    }
    if (r == 0 && !file->kept) {
        r = keep(store, name_file(name, file->source->generation), &file->source->fd, 1);
        file->kept = r == 0;
    }
    if (r == 0)
        r = keep(store, name_socket(name, slot), &store->places[slot].fd, 1);
    return r;
}

static bool has_room(const struct store *store, uint32_t slot)
{
    const struct store_file *file = find_file(store, store->table->slots[slot].generation);

    uint32_t wanted = 1U + !store->table_kept + !file->kept;

    return store->n + wanted <= store->most && store->names + wanted * MOST_NAME <= MOST_NAMES;
}

static void send_going(struct store *store)
{
    while (store->going.first != STORE_NOBODY && !is_held_back(store)) {
        uint32_t slot = store->going.first;
        int r = drop_socket(store, slot);
        if (r < 0) {
            hold_back(store, r);
            return;
        }
        take_out(store, &store->going, slot);
        free_slot(store, slot);
    }
}

/* Whether it is time for one more; if not, keep_at is when it will be. */
static bool is_time_to_keep(struct store *store)
{
    int64_t now = clock_now();

    store->keep_at = CLOCK_NEVER;
    if (store->paid_to < now)
        store->paid_to = now;
    if (store->hurried || store->paid_to - now < KEEP_BURST * KEEP_EVERY)
        return true;
    store->keep_at = store->paid_to - (KEEP_BURST - 1) * KEEP_EVERY;
    return false;
}

/* Those that have lasted longest first: most of the others will be over before their time. */
static void send_coming(struct store *store)
{
    while (store->coming.first != STORE_NOBODY && !is_held_back(store) && is_time_to_keep(store)) {
        uint32_t slot = store->coming.first;
        if (!has_room(store, slot)) {
            tell_full(store);
            return;
        }
        int r = keep_socket(store, slot);
        if (r < 0) {
            hold_back(store, r);
            return;
        }
        take_out(store, &store->coming, slot);
        store->places[slot].state = KEPT;
        store->n_kept++;
        store->paid_to += KEEP_EVERY + KEEP_EVERY * store->n / KEEP_EASY;
    }
}

/* Drops the files that nobody needs any more. */
static void tidy(struct store *store)
{
    struct store_file **link = &store->files;

    while (*link && !store->reclaiming) {
        struct store_file *file = *link;
        if (file->source->current || file->source->transfers > 1) {
            link = &file->next;
            continue;
        }
        if (file->kept && is_held_back(store))
            return;
        int r = file->kept ? drop_file(store, file->source->generation) : 0;
        if (r < 0) {
            hold_back(store, r);
            return;
        }
        forget_file(link);
    }
}

/* What goes makes room for what comes. */
static void send_all(struct store *store)
{
    if (is_held_back(store))
        return;
    if (store->state == STORE_UNTRIED || store->state == STORE_ASKED) {
        if (store->state == STORE_UNTRIED ? store->coming.first != STORE_NOBODY
                                          : store->barrier < 0)
            ask(store);
    }
    send_going(store);
    tidy(store);
    if (store->state == STORE_THERE)
        send_coming(store);
}

void store_tidy(struct store *store)
{
    send_all(store);
}

void store_keep(struct store *store, uint32_t slot, int fd, struct source *source)
{
    if (store->state == STORE_NONE || store->places[slot].state != FREE)
        return;
    if (source->is_copy)
        return; /* PID 1 would take it for the file that it has already, and not keep it */
    if (!find_file(store, source->generation)) {
        if (!add_file(store, source))
            return; /* out of memory: it runs all the same */
        source_hold(source);
    }
    transfer_slot_seal(&store->table->slots[slot], source, fd);
    store->places[slot] = (struct store_place){.fd = fd, .state = COMING};
    append(store, &store->coming, slot);
    send_all(store);
}

bool store_forget(struct store *store, uint32_t slot)
{
    if (!store->places)
        return true;
    switch (store->places[slot].state) {
    case COMING:
        take_out(store, &store->coming, slot);
        store->places[slot].state = FREE;
        return true;
    case KEPT:
        store->n_kept--;
        let_go(store, slot);
        send_all(store);
        return false;
    default:
        return true;
    }
}

void store_take_events(struct store *store)
{
    struct pollfd room = {.fd = store->notify->fd, .events = POLLOUT};

    if (hangs_up(store->barrier)) {
        close_end(&store->barrier);
        count(store, "@witness", 2);
        store->state = STORE_THERE;
    }
    if (hangs_up(store->witness))
        lose(store);
    if (store->blocked && poll(&room, 1, 0) > 0) {
        (void)epoll_ctl(store->events, EPOLL_CTL_DEL, store->notify->fd, NULL);
        store->blocked = false;
    }
    send_all(store);
}

void store_retry(struct store *store)
{
    store->retry_at = CLOCK_NEVER;
    store->keep_at = CLOCK_NEVER;
    send_all(store);
}

void store_hurry(struct store *store)
{
    store->hurried = true;
    send_all(store);
}

/* --- Reclaiming ------------------------------------------------------------------------------ */

struct reclaim {
    struct store *store;
    struct handover *handover;
    const struct sources *sources;
    store_resume *resume;
    void *context;
    struct source nameless; /* what a transfer is called whose file is not there */
    size_t n_resumed;
    size_t n_orphans;
};

/* What of a slot that may be damaged can be reckoned with: all figures, or none. */
static struct transfer_slot presentable(const struct transfer_slot *slot, int64_t now)
{
    struct transfer_slot copy = *slot;

    if (copy.start < 0 || copy.offset < copy.start || copy.end < copy.offset)
        copy.start = copy.offset = copy.end = 0;
    if (copy.started < 0 || copy.started > now)
        copy.started = now;
    return copy;
}

/* A record for a slot that nobody goes on with. */
static void tell(
    struct reclaim *reclaim, uint32_t number, enum transfer_event event, const char *why)
{
    struct store *store = reclaim->store;
    int64_t now = clock_now();
    struct transfer_slot slot = presentable(&store->table->slots[number], now);
    struct store_file *file = find_file(store, slot.generation);
    struct transfer transfer = {
        .slot = &slot,
        .source = file ? file->source : &reclaim->nameless,
        .call = why,
        .acknowledged = slot.state == TRANSFER_DONE ? slot.end - slot.start : -1,
        .event = (uint8_t)event,
    };
    char peer[PEER_TEXT];

    peer_format(&slot.peer, peer, sizeof(peer));
    report_transfer(store->report, &transfer, peer, now);
    store->table->slots[number].event = TRANSFER_NOTHING;
}

/* The process before has come so far, and perhaps even to the record of it. */
static void tell_end(struct reclaim *reclaim, uint32_t number)
{
    uint8_t event = reclaim->store->table->slots[number].event;

    if (event != TRANSFER_NOTHING && event < TRANSFER_EVENTS)
        tell(reclaim, number, event, NULL);
}

/* The socket of a slot that comes to its end here: out of the store, and then the slot is free. */
static void end_slot(struct reclaim *reclaim, uint32_t number)
{
    struct transfer_slot *slot = &reclaim->store->table->slots[number];

    slot->event = TRANSFER_NOTHING;
    if (slot->state != TRANSFER_DONE)
        slot->state = TRANSFER_ABORTED;
    let_go(reclaim->store, number);
}

/* Reset, as whatever it was promised cannot be known. */
static void reset_orphan(struct reclaim *reclaim, const struct stored_socket *socket)
{
    struct store *store = reclaim->store;

    transfer_abort(socket->fd, socket->kind);
    reclaim->n_orphans++;
    if (socket->slot >= store->table->n_slots) {
        (void)drop_socket(store, socket->slot); /* or the next process will try it */
        return;
    }
    if (store->places[socket->slot].state != FREE)
        return;
    table_use(store->table, socket->slot);
    end_slot(reclaim, socket->slot);
}

static void fail_socket(
    struct reclaim *reclaim, const struct stored_socket *socket, const char *why)
{
    transfer_abort(socket->fd, socket->kind);
    tell(reclaim, socket->slot, TRANSFER_BROKEN, why);
    end_slot(reclaim, socket->slot);
}

static void resume_socket(struct reclaim *reclaim, const struct stored_socket *socket)
{
    struct store *store = reclaim->store;
    struct transfer_slot *slot = &store->table->slots[socket->slot];
    struct store_file *file = find_file(store, slot->generation);

    if (!file) {
        fail_socket(reclaim, socket, "its file is not in the file-descriptor store");
        return;
    }
    if (!transfer_slot_is_sound(slot, file->source, socket->fd, socket->kind)) {
        fail_socket(reclaim, socket,
            "its slot in the table is damaged, or does not belong to this file and this socket");
        return;
    }
    source_expect(file->source, slot->size, slot->mtime); /* as all sound ones of it do */
    source_unite(reclaim->sources, file->source);
    if (slot->resumed < UINT8_MAX)
        slot->resumed++;
    store->places[socket->slot].state = KEPT;
    store->n_kept++;
    reclaim->n_resumed++;
    reclaim->resume(reclaim->context, socket->slot, socket->fd, socket->kind, file->source);
}

static void reclaim_socket(struct reclaim *reclaim, const struct stored_socket *socket)
{
    struct store *store = reclaim->store;
    const struct transfer_slot *slots = store->table->slots;

    if (socket->slot >= store->table->header->n_used ||
        slots[socket->slot].state == TRANSFER_NOWHERE ||
        slots[socket->slot].state > TRANSFER_ABORTED || store->places[socket->slot].state != FREE) {
        reset_orphan(reclaim, socket);
        return;
    }
    switch (slots[socket->slot].state) {
    case TRANSFER_DONE:
        (void)close(socket->fd); /* the peer has everything */
        tell_end(reclaim, socket->slot);
        end_slot(reclaim, socket->slot);
        break;
    case TRANSFER_ABORTED:
        transfer_abort(socket->fd, socket->kind);
        tell_end(reclaim, socket->slot);
        end_slot(reclaim, socket->slot);
        break;
    default:
        resume_socket(reclaim, socket);
        break;
    }
}

/* A file is worth keeping if any transfer wants it. */
static void reclaim_file(struct reclaim *reclaim, const struct stored_file *stored)
{
    struct store *store = reclaim->store;
    struct source *source = NULL;

    for (uint32_t i = 0; i < store->table->header->n_used && !source; i++) {
        const struct transfer_slot *slot = &store->table->slots[i];
        if (!transfer_slot_runs(slot) || slot->generation != stored->generation)
            continue;
        if (find_file(store, stored->generation))
            break; /* twice: the other one will have to do */
        source = source_resume(stored->fd, stored->generation, reclaim->nameless.name);
        if (!source)
            return;
    }
    if (!source) {
        (void)close(stored->fd);
        if (!find_file(store, stored->generation))
            (void)drop_file(store, stored->generation); /* or the next process will try it */
        return;
    }
    struct store_file *file = add_file(store, source);
    if (file)
        file->kept = true;
    else
        source_release(source);
}

/* Whose process died before it was kept, or after it was dropped. */
static void reclaim_slots_without_socket(struct reclaim *reclaim)
{
    struct store *store = reclaim->store;

    for (uint32_t i = 0; i < store->table->header->n_used; i++) {
        struct transfer_slot *slot = &store->table->slots[i];
        if (slot->state == TRANSFER_NOWHERE || store->places[i].state != FREE)
            continue;
        if (transfer_slot_runs(slot))
            tell(reclaim, i, TRANSFER_KILLED, NULL);
        else
            tell_end(reclaim, i);
        slot->state = TRANSFER_NOWHERE;
    }
}

static void tell_result(const struct reclaim *reclaim)
{
    const struct stored *stored = &reclaim->handover->stored;
    struct report *report = reclaim->store->report;
    char text[256];

    if (stored->n_foreign > 0) {
        (void)snprintf(text, sizeof(text),
            "%" PRIu32 " of the descriptors that systemd keeps for this service %s not decant's "
            "(FDNAME=%.60s), and left there",
            stored->n_foreign, stored->n_foreign == 1 ? "is" : "are", stored->foreign);
        report_note(report, LOG_WARNING, text);
    }
    if (reclaim->n_orphans > 0) {
        (void)snprintf(text, sizeof(text),
            "%zu socket%s in the file-descriptor store without a transfer in the table: reset",
            reclaim->n_orphans, reclaim->n_orphans == 1 ? "" : "s");
        report_note(report, LOG_WARNING, text);
    }
    if (reclaim->n_resumed > 0) {
        (void)snprintf(text, sizeof(text), "resumed: %zu transfer%s of the decant before",
            reclaim->n_resumed, reclaim->n_resumed == 1 ? "" : "s");
        report_note(report, LOG_INFO, text);
    }
}

void store_reclaim(struct store *store, struct handover *handover, const struct sources *sources,
    const struct options *options, store_resume *resume, void *context)
{
    struct stored *stored = &handover->stored;
    struct reclaim reclaim = {.store = store,
        .handover = handover,
        .sources = sources,
        .resume = resume,
        .context = context};

    (void)snprintf(reclaim.nameless.name, sizeof(reclaim.nameless.name), "%s",
        options->file ? options->file : "the handed-over file");
    store->reclaiming = true;
    for (size_t i = 0; i < stored->n_files; i++)
        reclaim_file(&reclaim, &stored->files[i]);
    stored->n_files = 0;
    for (size_t i = 0; i < stored->n_sockets; i++)
        reclaim_socket(&reclaim, &stored->sockets[i]);
    stored->n_sockets = 0;
    reclaim_slots_without_socket(&reclaim);
    tell_result(&reclaim);
    store->reclaiming = false;
    send_all(store);
}

/* --- Beginning and end ----------------------------------------------------------------------- */

/*
 * PID 1 has about the same limit as we have, and what it holds for us is not all that it holds. It
 * must never be driven into it: half of ours is the most that we ask it for. Nor must there be more
 * than the next process can be handed, or none could ever be started again.
 */
static int set_most(struct store *store, const struct handover *handover)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return -errno;
    store->most = limit.rlim_max / 2 < UINT32_MAX ? (uint32_t)(limit.rlim_max / 2) : UINT32_MAX;
    if (handover->stored.room < store->most)
        store->most = handover->stored.room;
    if (handover->stored.most > 0 && handover->stored.most < store->most)
        store->most = handover->stored.most;
    return 0;
}

/* Another version's table, a damaged one, two of them: its transfers cannot be known. */
static void refuse_table(struct store *store, uint32_t n, const char *why)
{
    struct problem problem;

    (void)problem_set(&problem, EPROTO, EX_OSERR,
        "the table in the file-descriptor store is not used, since %s; its transfers are reset",
        why);
    report_problem(store->report, &problem);
    if (drop(store, "@table", n) < 0)
        store->state = STORE_NONE; /* a second one beside it would be of no use */
}

static int open_table(struct store *store, struct handover *handover, uint32_t n_slots)
{
    struct stored *stored = &handover->stored;
    const char *why = "there are two of them";

    if (stored->n_tables == 1) {
        int r = table_adopt(store->table, stored->table, n_slots, &why);
        if (r == 0) {
            stored->table = -1;
            store->table_kept = true;
            return 0;
        }
    }
    if (stored->n_tables > 0)
        refuse_table(store, stored->n_tables, why);
    return table_open(store->table, n_slots, store->state != STORE_NONE);
}

/* The pipe that the process before has left. */
static void adopt_witness(struct store *store, struct handover *handover)
{
    struct epoll_event event = {.events = 0};

    if (handover->stored.witness < 0 || store->state == STORE_NONE)
        return;
    if (epoll_ctl(store->events, EPOLL_CTL_ADD, handover->stored.witness, &event) < 0)
        return;
    store->witness = handover->stored.witness;
    handover->stored.witness = -1;
    store->state = STORE_THERE;
}

int store_open(struct store *store, struct handover *handover, struct table *table,
    uint32_t n_slots, struct report *report)
{
    *store = (struct store){
        .notify = &handover->notify,
        .table = table,
        .report = report,
        .state = SYSTEMD_HAS_STORE && handover->notify.fd >= 0 && handover->stored.comes_back
                     ? STORE_UNTRIED
                     : STORE_NONE,
        .events = -1,
        .witness = -1,
        .barrier = -1,
        .n = handover->stored.n,
        .names = handover->stored.names,
        .coming = {STORE_NOBODY, STORE_NOBODY},
        .going = {STORE_NOBODY, STORE_NOBODY},
        .gone = {STORE_NOBODY, STORE_NOBODY},
        .retry_at = CLOCK_NEVER,
        .keep_at = CLOCK_NEVER,
    };
    int r = set_most(store, handover);
    if (r == 0)
        r = open_table(store, handover, n_slots);
    if (r < 0)
        return r;
    if (table->fd < 0)
        store->state = STORE_NONE; /* no memfd: nothing to be kept */
    store->events = epoll_create1(EPOLL_CLOEXEC);
    if (store->events < 0)
        return -errno;
    store->places = calloc(table->n_slots, sizeof(*store->places)); /* untouched as the slots are */
    if (!store->places)
        return -ENOMEM;
    adopt_witness(store, handover);
    return 0;
}

void store_close(struct store *store)
{
    while (store->files)
        forget_file(&store->files);
    close_end(&store->witness);
    close_end(&store->barrier);
    close_end(&store->events);
    free(store->places);
    store->places = NULL;
}
