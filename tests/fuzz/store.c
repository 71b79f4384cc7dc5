/* SPDX-License-Identifier: MIT */
/*
 * What a process takes over from the one before is a table in shared memory, which a crash may have
 * left half written, another version may have laid out, and a bug may have scribbled on; and beside
 * it sockets and files under names that anybody can give. A slot that is believed and is not true
 * sends the wrong bytes to somebody, or a clean end after half of them.
 *
 * The input is tokens, each a letter, perhaps a digit of a slot or a file, and :NUMBER or =TEXT:
 *
 *   f0:N  file 0 of N bytes   A0 it may change   p0 touched since   T0:N truncated since   g0=NAME
 *   c0:N  slot 0 has a TCP client that N bytes were sent to   U0:N a UNIX one   l0 has none
 *   n0:N its file   a0:N from there on   b0:N up to there   k0=NAME its name
 *   S0:N its state   E0:N its event   H0 held   R0:N resumed so often   D0 handed over twice
 *   h0 the client half-closes   r0 resets   s0:N sends   q0 does not read
 *   o0:N another offset   x0:N a byte of the slot is changed   X0:N the same before it is sealed
 *   t:N slots   u:N used   e:N tries   v:N version   m another magic   y:N a byte of the header is
 *   changed   z:N bytes of the table are left   Y unsealed   M=NAME its name   O two of them
 *   L a listener, too   N a manager that listens   w a witness
 */
#include "store.h"
#include "handover.h"
#include "options.h"
#include "report.h"
#include "source.h"
#include "systemd.h"
#include "table.h"
#include "world.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <syslog.h>
#include <unistd.h>

#define MOST_SLOTS 8
#define MOST_FILES 4
#define MOST_BYTES 300000
#define MOST_SENT  20000 /* that a fresh socket takes for certain */
#define MOST_NAMES 32
#define MOST_TURNS 20000
#define MS         INT64_C(1000000)

struct file {
    int fd; /* lifted; -1 */
    size_t size;
    bool touched;
    bool may_change;  /* --allow-changes */
    size_t truncated; /* SIZE_MAX: not */
    const char *name;
    size_t name_length;
};

struct slot {
    bool used;
    bool has_socket;
    bool is_tcp;
    bool twice;
    bool client_resets;
    bool client_ends;
    bool reads_not;
    bool damaged; /* in a way that nobody can tell, so that nothing is promised */
    size_t talks;
    size_t sent;
    size_t file;
    size_t start;
    size_t end; /* SIZE_MAX: that of the file */
    unsigned state;
    unsigned event;
    bool held;
    unsigned resumed;
    const char *name;
    size_t name_length;
    struct world_pair pair; /* ours is placed; the client is lifted */
    int kept;               /* lifted */
    size_t got;
    bool over;
    enum world_end_of_stream how;
    struct transfer_slot content;
};

static struct file files[MOST_FILES];
static struct slot slots[MOST_SLOTS];
static struct table_header header;
static size_t table_size; /* SIZE_MAX: as it should be */
static bool is_sealed;
static int n_tables;
static const char *table_name;
static size_t table_name_length;
static bool with_listener;
static bool with_manager;
static bool with_witness;
static bool pristine; /* nothing that should cost a client anything */
static uint8_t *pattern;
static int manager = -1;
static char manager_name[64];

struct running {
    struct transfer transfer;
    bool runs;
};

static struct running running[MOST_SLOTS * 4];
static uint32_t n_places; /* slots that the table has */
static struct store store;
static const struct transfer_limits limits = {60 * CLOCK_SECOND, 10 * CLOCK_SECOND};
static int64_t now;

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    socklen_t size = sizeof(address);

    world_init();
    pattern = malloc(MOST_BYTES);
    for (size_t i = 0; i < MOST_BYTES; i++)
        pattern[i] = (uint8_t)(i * 7 + (i >> 8) * 13 + (i >> 16) * 31);
    manager = world_lift(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    CHECK(bind(manager, (struct sockaddr *)&address, sizeof(sa_family_t)) == 0, "bind");
    CHECK(getsockname(manager, (struct sockaddr *)&address, &size) == 0, "getsockname");
    (void)snprintf(manager_name, sizeof(manager_name), "NOTIFY_SOCKET=@%.*s",
        (int)(size - sizeof(sa_family_t) - 1), address.sun_path + 1);
    return 0;
}

/* --- The input ------------------------------------------------------------------------------- */

struct token {
    char letter;
    size_t which;
    size_t number;
    const char *text;
    size_t length;
};

static bool next_token(const char **text, struct token *token)
{
    while (**text == ' ' || **text == '\n')
        ++*text;
    if (**text == '\0')
        return false;
    *token = (struct token){.letter = *(*text)++, .text = ""};
    if (**text >= '0' && **text <= '7')
        token->which = (size_t)(*(*text)++ - '0');
    if (**text == ':') {
        char *end;
        token->number = strtoul(*text + 1, &end, 10);
        *text = end;
    } else if (**text == '=') {
        token->text = ++*text;
        token->length = strcspn(token->text, " \n");
        *text += token->length;
    }
    return true;
}

static void read_file_token(const struct token *token)
{
    struct file *file = &files[token->which % MOST_FILES];

    switch (token->letter) {
    case 'f':
        file->size = token->number % MOST_BYTES;
        if (file->fd < 0)
            file->fd = 0;
        break;
    case 'p':
        file->touched = true;
        break;
    case 'A':
        file->may_change = true;
        break;
    case 'T':
        file->truncated = token->number;
        break;
    default:
        file->name = token->text;
        file->name_length = token->length;
        pristine = false;
        break;
    }
    pristine = pristine && strchr("fA", token->letter);
}

static void read_slot_token(const struct token *token)
{
    struct slot *slot = &slots[token->which];

    slot->used = true;
    switch (token->letter) {
    case 'c':
    case 'U':
        slot->has_socket = true;
        slot->is_tcp = token->letter == 'c';
        slot->sent = token->number;
        break;
    case 'l':
        slot->has_socket = false;
        break;
    case 'n':
        slot->file = token->number % MOST_FILES;
        break;
    case 'a':
        slot->start = token->number;
        break;
    case 'b':
        slot->end = token->number;
        break;
    case 'S':
        slot->state = token->number & 255;
        break;
    case 'E':
        slot->event = token->number & 255;
        break;
    case 'H':
        slot->held = true;
        break;
    case 'R':
        slot->resumed = token->number & 255;
        break;
    case 'D':
        slot->twice = true;
        pristine = false;
        break;
    case 'h':
        slot->client_ends = true;
        break;
    case 'r':
        slot->client_resets = true;
        pristine = false;
        break;
    case 's':
        slot->talks = token->number % 5000;
        break;
    case 'q':
        slot->reads_not = true;
        pristine = false;
        break;
    default:
        slot->name = token->text;
        slot->name_length = token->length;
        pristine = false;
        break;
    }
}

static void read_table_token(const struct token *token)
{
    bool harmless = strchr("tuLNw", token->letter) != NULL;

    pristine = pristine && harmless;
    switch (token->letter) {
    case 't':
        header.n_slots = (uint32_t)token->number;
        break;
    case 'u':
        header.n_used = (uint32_t)token->number;
        break;
    case 'e':
        header.tries = (uint32_t)token->number;
        break;
    case 'v':
        header.version = (uint32_t)token->number;
        break;
    case 'm':
        header.magic = token->number;
        break;
    case 'y':
        ((uint8_t *)&header)[token->number % sizeof(header)] ^=
            (uint8_t)(token->number / sizeof(header));
        break;
    case 'z':
        table_size = token->number % 100000;
        break;
    case 'Y':
        is_sealed = false;
        break;
    case 'M':
        table_name = token->text;
        table_name_length = token->length;
        break;
    case 'O':
        n_tables = 2;
        break;
    case 'L':
        with_listener = true;
        break;
    case 'N':
        with_manager = true;
        break;
    case 'w':
        with_witness = true;
        break;
    default:
        break;
    }
}

static void read_tokens(const char *text)
{
    struct token token;

    while (next_token(&text, &token)) {
        if (strchr("fpTAg", token.letter))
            read_file_token(&token);
        else if (strchr("cUlnabSEHRDhrsqk", token.letter))
            read_slot_token(&token);
        else
            read_table_token(&token);
    }
}

/* --- The process before ---------------------------------------------------------------------- */

static void start_afresh(void)
{
    struct table model;

    for (int i = 0; i < MOST_FILES; i++)
        files[i] = (struct file){.fd = -1, .truncated = SIZE_MAX};
    for (int i = 0; i < MOST_SLOTS; i++)
        slots[i] = (struct slot){.end = SIZE_MAX, .state = TRANSFER_SENDING, .kept = -1};
    CHECK(table_open(&model, MOST_SLOTS, false) == 0, "no memory");
    header = *model.header;
    header.n_used = MOST_SLOTS;
    table_close(&model);
    table_size = SIZE_MAX;
    is_sealed = true;
    n_tables = 1;
    table_name = "@table";
    table_name_length = 6;
    with_listener = with_manager = with_witness = false;
    pristine = true;
    memset(running, 0, sizeof(running));
}

static void make_files(void)
{
    for (int i = 0; i < MOST_FILES; i++) {
        const struct timespec times[2] = {{.tv_sec = 1000}, {.tv_sec = 2000}};
        if (files[i].fd < 0)
            continue;
        files[i].fd = world_memory(pattern, files[i].size);
        CHECK(futimens(files[i].fd, times) == 0, "futimens");
    }
}

static struct source source_of(const struct slot *slot)
{
    const struct file *file = &files[slot->file];
    struct source source = {.fd = file->fd, .generation = (uint32_t)slot->file + 1};
    struct stat status = {0};

    (void)fstat(file->fd, &status);
    source.device = status.st_dev;
    source.inode = status.st_ino;
    source.size = status.st_size;
    source.mtime = source_mtime(&status);
    source.allow_changes = file->may_change;
    source.start = (off_t)slot->start;
    source.end = (off_t)slot->end;
    return source;
}

/* What the process before has done, in a way that is true. */
static void make_slot(struct slot *slot)
{
    const struct file *file = &files[slot->file];
    size_t size = file->fd < 0 ? 0 : file->size;

    slot->end = slot->end < size ? slot->end : size;
    slot->start = slot->start < slot->end ? slot->start : slot->end;
    bool all = slot->state == TRANSFER_FINISHING || slot->state == TRANSFER_DRAINING ||
               slot->state == TRANSFER_DONE;
    if (all && slot->end - slot->start > MOST_SENT)
        slot->start = slot->end - MOST_SENT;
    size_t most = slot->end - slot->start < MOST_SENT ? slot->end - slot->start : MOST_SENT;
    slot->sent = all || slot->sent > most ? most : slot->sent;
    struct source source = source_of(slot);
    transfer_slot_init(&slot->content, &source, NULL, now);
    slot->content.offset = (off_t)(slot->start + slot->sent);
    slot->content.state = (uint8_t)slot->state;
    slot->content.event = (uint8_t)slot->event;
    slot->content.held = slot->held;
    slot->content.resumed = (uint8_t)slot->resumed;
    if (slot->state == TRANSFER_NOWHERE || slot->state >= TRANSFER_DONE || file->fd < 0)
        pristine = false;
    if (!slot->has_socket)
        return;
    slot->pair = slot->is_tcp ? world_tcp(AF_INET, 0) : world_unix(SOCK_STREAM);
    int fd = slot->pair.ours;
    (void)fcntl(fd, F_SETFL, O_NONBLOCK);
    CHECK(transfer_arm(fd, slot->is_tcp ? SOCKET_TCP : SOCKET_UNIX) == 0, "arm");
    if (slot->sent > 0)
        CHECK(send(fd, pattern + slot->start, slot->sent, MSG_NOSIGNAL) == (ssize_t)slot->sent,
            "%zu: %s", slot->sent, strerror(errno));
    if (slot->state == TRANSFER_DRAINING || slot->state == TRANSFER_DONE) {
        const struct linger off = {0};
        (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &off, sizeof(off));
        (void)shutdown(fd, SHUT_WR);
    }
    slot->kept = world_lift(dup(fd));
    transfer_slot_seal(&slot->content, &source, fd);
}

/* Whether what never changes in the slot was changed, and is sealed all the same: then it is a
 * forgery, which nobody claims to see through. */
static bool is_forged(const struct slot *slot, const struct transfer_slot *before)
{
    struct source source = source_of(slot);
    struct transfer_slot again = slot->content;

    if (!slot->has_socket)
        return false;
    transfer_slot_seal(&again, &source, slot->pair.ours);
    return again.seal == slot->content.seal &&
           (again.start != before->start || again.end != before->end ||
               again.size != before->size || again.mtime != before->mtime);
}

static void damage_slots(const char *text)
{
    struct token token;
    struct transfer_slot before[MOST_SLOTS];

    for (int i = 0; i < MOST_SLOTS; i++)
        before[i] = slots[i].content;
    while (next_token(&text, &token)) {
        struct slot *slot = &slots[token.which];
        uint8_t *bytes = (uint8_t *)&slot->content;
        uint8_t by = (uint8_t)(token.number / sizeof(slot->content));
        struct source source = source_of(slot);
        if (!strchr("oxX", token.letter))
            continue;
        pristine = false;
        if (token.letter == 'o')
            slot->content.offset = (off_t)token.number;
        else
            bytes[token.number % sizeof(slot->content)] ^= by;
        if (token.letter == 'X' && slot->has_socket) {
            transfer_slot_seal(&slot->content, &source, slot->pair.ours);
            slot->damaged = true;
        }
    }
    for (int i = 0; i < MOST_SLOTS; i++) {
        if (is_forged(&slots[i], &before[i]))
            slots[i].damaged = true;
        if (!slots[i].is_tcp && slots[i].content.offset != before[i].offset)
            slots[i].damaged = true; /* a UNIX socket does not tell how far it is */
    }
}

static int make_table(void)
{
    int fd = world_lift(memfd_create("decant", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    size_t size = sizeof(header) + MOST_SLOTS * sizeof(struct transfer_slot);

    if (header.n_slots > MOST_SLOTS && header.n_slots <= 1000)
        size = sizeof(header) + header.n_slots * sizeof(struct transfer_slot);
    CHECK(pwrite(fd, &header, sizeof(header), 0) == sizeof(header), "pwrite");
    for (int i = 0; i < MOST_SLOTS; i++)
        if (slots[i].used)
            CHECK(pwrite(fd, &slots[i].content, sizeof(slots[i].content),
                      (off_t)(sizeof(header) + (size_t)i * sizeof(slots[i].content))) > 0,
                "pwrite");
    (void)ftruncate(fd, (off_t)(table_size == SIZE_MAX ? size : table_size));
    if (is_sealed)
        (void)fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK);
    return fd;
}

/* --- The hand-over --------------------------------------------------------------------------- */

static char names[4096];
static int n_names;

/* What store_read_name() should say, by its comment. */
static enum store_kind read_name(const char *name, uint32_t *number)
{
    const char *digits = strncmp(name, "@file-", 6) == 0 ? name + 6 : name + 1;
    size_t length = strlen(digits);

    if (strcmp(name, "@table") == 0)
        return STORE_TABLE;
    if (strcmp(name, "@witness") == 0)
        return STORE_WITNESS;
    if (name[0] != '@' || length == 0 || length > 8 || (digits[0] == '0' && length > 1) ||
        strspn(digits, "0123456789abcdef") != length || strcmp(digits, "ffffffff") == 0)
        return STORE_FOREIGN;
    *number = 0;
    for (; *digits; digits++)
        *number = *number * 16 + (uint32_t)(*digits <= '9' ? *digits - '0' : *digits - 'a' + 10);
    return name[1] == 'f' && name[2] == 'i' ? STORE_FILE : STORE_SOCKET;
}

static void hand_over(int fd, const char *name, size_t length)
{
    size_t used = strlen(names);
    char copy[256];
    uint32_t number = 7;
    uint32_t expected = 7;

    if (n_names == MOST_NAMES)
        return;
    CHECK(dup2(fd, 3 + n_names) >= 0, "%s", strerror(errno));
    n_names++;
    (void)snprintf(copy, sizeof(copy), "%.*s", length < 100 ? (int)length : 100, name);
    (void)snprintf(names + used, sizeof(names) - used, "%s%s", n_names > 1 ? ":" : "", copy);
    enum store_kind kind = store_read_name(copy, &number);
    CHECK(kind == read_name(copy, &expected), "'%s' is %d", copy, (int)kind);
    if (kind == STORE_SOCKET || kind == STORE_FILE)
        CHECK(number == expected, "'%s' is number %u", copy, number);
}

static void hand_over_all(int listener)
{
    char name[32];
    int ends[2];

    (void)snprintf(names, sizeof(names), "LISTEN_FDNAMES=");
    n_names = 0;
    if (with_listener)
        hand_over(listener, "s", 1);
    names[strlen("LISTEN_FDNAMES=")] = with_listener ? 's' : '\0';
    int table = make_table();
    for (int i = 0; i < n_tables; i++)
        hand_over(table, table_name, table_name_length);
    (void)close(table);
    if (with_witness) {
        CHECK(pipe2(ends, O_CLOEXEC) == 0, "pipe2");
        int from = world_lift(ends[0]);
        int to = world_lift(ends[1]);
        hand_over(from, "@witness", 8);
        hand_over(to, "@witness", 8);
        (void)close(from);
        (void)close(to);
    }
    for (int i = 0; i < MOST_FILES; i++) {
        (void)snprintf(name, sizeof(name), "@file-%x", i + 1);
        if (files[i].fd >= 0)
            hand_over(files[i].fd, files[i].name ? files[i].name : name,
                files[i].name ? files[i].name_length : strlen(name));
    }
    for (int i = 0; i < MOST_SLOTS; i++) {
        struct slot *slot = &slots[i];
        if (!slot->has_socket)
            continue;
        (void)snprintf(name, sizeof(name), "@%x", i);
        for (int times = 0; times < 1 + slot->twice; times++)
            hand_over(slot->pair.ours, slot->name ? slot->name : name,
                slot->name ? slot->name_length : strlen(name));
        (void)close(slot->pair.ours);
    }
    world_setenv(names);
}

/* What happens to them between two processes. */
static void go_on(void)
{
    static const char words[5000] = "GET / HTTP/1.0\r\n";

    for (int i = 0; i < MOST_FILES; i++) {
        const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = 3000}};
        if (files[i].fd < 0)
            continue;
        if (files[i].truncated < files[i].size) {
            CHECK(ftruncate(files[i].fd, (off_t)files[i].truncated) == 0, "ftruncate");
            files[i].touched = true;
        }
        if (files[i].touched)
            CHECK(futimens(files[i].fd, times) == 0, "futimens");
    }
    for (int i = 0; i < MOST_SLOTS; i++) {
        struct slot *slot = &slots[i];
        if (!slot->has_socket)
            continue;
        if (slot->talks > 0)
            (void)send(slot->pair.client, words, slot->talks, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (slot->client_ends)
            (void)shutdown(slot->pair.client, SHUT_WR);
        if (slot->client_resets) {
            (void)close(slot->pair.client);
            slot->pair.client = -1;
        }
    }
}

/* --- The clients ----------------------------------------------------------------------------- */

/* Only bytes of the file, at their place; whether anything came. */
static bool client_reads(struct slot *slot, bool wait)
{
    static uint8_t buffer[1 << 16];
    bool any = false;
    size_t n = sizeof(buffer);

    while (slot->has_socket && slot->pair.client >= 0 && !slot->over && n == sizeof(buffer)) {
        slot->how = world_read(slot->pair.client, buffer, sizeof(buffer), &n, wait);
        slot->over = slot->how != WORLD_OPEN;
        if (slot->over)
            (void)shutdown(slot->pair.client, SHUT_WR); /* it has all that there is */
        any = any || n > 0 || slot->over;
        size_t at = slot->start + slot->got;
        slot->got += n;
        if (slot->damaged)
            continue;
        CHECK(slot->got <= slot->end - slot->start, "client %d got %zu bytes too many",
            (int)(slot - slots), slot->got - (slot->end - slot->start));
        CHECK(memcmp(buffer, pattern + at, n) == 0, "client %d got wrong bytes from %zu on",
            (int)(slot - slots), at);
    }
    return any;
}

static bool clients_read(void)
{
    bool any = false;

    for (int i = 0; i < MOST_SLOTS; i++)
        if (!slots[i].reads_not)
            any = client_reads(&slots[i], false) || any;
    return any;
}

static void judge(const struct slot *slot)
{
    const struct file *file = &files[slot->file];
    bool whole = slot->got == slot->end - slot->start;
    int number = (int)(slot - slots);

    if (!slot->has_socket || slot->pair.client < 0 || slot->damaged || !slot->is_tcp)
        return;
    CHECK(slot->over, "client %d got no end", number);
    CHECK(slot->how != WORLD_END || whole, "client %d got a clean end on %zu of %zu bytes", number,
        slot->got, slot->end - slot->start);
    /* Of a file that is another by now, nobody may get the end who had not got it before. */
    bool ended_before = slot->state == TRANSFER_DRAINING || slot->state == TRANSFER_DONE;
    if (file->truncated >= slot->end && file->may_change)
        return;
    CHECK(slot->how != WORLD_END || !file->touched || ended_before || slot->end == slot->start,
        "client %d got a clean end of a file that was changed", number);
    CHECK(!pristine || slot->how == WORLD_END, "client %d was reset for nothing", number);
}

/* --- The process after ----------------------------------------------------------------------- */

static void end_transfer(uint32_t number)
{
    struct transfer *transfer = &running[number].transfer;

    if (!running[number].runs || !transfer_ended(transfer))
        return;
    running[number].runs = false;
    source_release(transfer->source);
    (void)store_forget(&store, number);
    store_tidy(&store);
    while (store_next_free(&store) != STORE_NOBODY)
        continue;
}

static void resume(
    void *context, uint32_t number, int fd, enum socket_kind kind, struct source *source)
{
    struct table *table = context;

    CHECK(number < n_places, "slot %u of %u", number, n_places);
    CHECK(number < sizeof(running) / sizeof(running[0]), "slot %u was never used", number);
    CHECK(!running[number].runs, "slot %u is resumed twice", number);
    source_hold(source);
    running[number].runs = true;
    transfer_start(
        &running[number].transfer, &table->slots[number], fd, kind, source, &limits, now);
    if (!transfer_ended(&running[number].transfer))
        transfer_step(&running[number].transfer, 0, now);
    end_transfer(number);
}

static bool step(uint32_t number)
{
    struct transfer *transfer = &running[number].transfer;
    struct pollfd ready = {.fd = transfer->fd, .events = transfer->wants};

    if (!running[number].runs)
        return false;
    if (transfer->wants)
        (void)world_real_poll(&ready, 1, 0);
    if (!ready.revents && now < transfer->wake)
        return false;
    transfer_step(transfer, ready.revents, now);
    end_transfer(number);
    return true;
}

static bool somebody_waits(void)
{
    for (int i = 0; i < MOST_SLOTS; i++)
        if (slots[i].has_socket && slots[i].pair.client >= 0 && !slots[i].over &&
            !slots[i].reads_not)
            return true;
    return false;
}

/* Until all have ended. Time passes when there is nothing else to do; but the kernel is busy with
 * others at times, and must not make a stall of that. */
static void run(void)
{
    int64_t idle_since = now;
    int waits = 0; /* ms */

    for (int turn = 0;; turn++) {
        bool any = clients_read();
        if (any)
            idle_since = now;
        int64_t wake = CLOCK_NEVER;
        CHECK(turn < MOST_TURNS, "the transfers spin");
        for (uint32_t i = 0; i < sizeof(running) / sizeof(running[0]); i++) {
            any = step(i) || any;
            if (running[i].runs && running[i].transfer.wake < wake)
                wake = running[i].transfer.wake;
        }
        if (any)
            continue;
        if (wake == CLOCK_NEVER)
            break;
        if (somebody_waits() && wake - idle_since > 2 * CLOCK_SECOND && waits < 300) {
            waits += 5;
            (void)world_real_poll(NULL, 0, 5);
            continue;
        }
        pristine = pristine && waits < 300;
        now = wake;
    }
    for (uint32_t i = 0; i < sizeof(running) / sizeof(running[0]); i++)
        if (running[i].runs) {
            transfer_stop(&running[i].transfer);
            end_transfer(i);
        }
}

static void take_over(struct handover *handover, const struct options *options)
{
    struct sources sources;
    struct table table = {.fd = -1};
    struct report report;
    struct problem problem;

    report_open(&report, CHANNEL_STDERR, LOG_DEBUG);
    int r = sources_open(&sources, options, handover, &problem);
    if (r < 0)
        return;
    r = store_open(&store, handover, &table, MOST_SLOTS, &report);
    if (r == 0) {
        n_places = table.n_slots;
        store_reclaim(&store, handover, &sources, options, resume, &table);
        run();
    }
    store_close(&store);
    if (table.header)
        table_close(&table);
    sources_close(&sources);
}

/* The manager has kept all that it was not told to drop; and then the service is stopped. */
static void end_manager(void)
{
    char message[512];

    while (recv(manager, message, sizeof(message), MSG_DONTWAIT) > 0)
        continue;
    for (int i = 0; i < MOST_SLOTS; i++)
        if (slots[i].kept >= 0)
            (void)close(slots[i].kept);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char own_pid[40];
    static char count[40];
    char path[40];
    struct handover handover;
    struct problem problem;
    struct options options = {.length = OPTIONS_TO_THE_END};

    char *text = strndup((const char *)data, size);
    world_begin();
    start_afresh();
    now = clock_now();
    read_tokens(text);
    make_files();
    for (int i = 0; i < MOST_SLOTS; i++)
        if (slots[i].used)
            make_slot(&slots[i]);
    damage_slots(text);
    pristine = pristine && header.n_slots >= MOST_SLOTS && header.n_slots <= 1000 &&
               header.n_used >= MOST_SLOTS && header.n_used <= header.n_slots;
    int null = world_lift(open("/dev/null", O_RDWR | O_CLOEXEC));
    for (int fd = 0; fd < 3; fd++)
        (void)dup2(null, fd);
    (void)close(null);
    int listener = with_listener ? world_listen(AF_INET) : -1;
    hand_over_all(listener);
    go_on();
    (void)snprintf(own_pid, sizeof(own_pid), "LISTEN_PID=%d", getpid());
    (void)snprintf(count, sizeof(count), "LISTEN_FDS=%d", n_names);
    world_setenv(own_pid);
    world_setenv(count);
    if (with_manager)
        world_setenv(manager_name);
    if (files[0].fd >= 0) {
        (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", files[0].fd);
        options.file = path;
    }

    int r = handover_take(&handover, &problem);
    if (r == 0)
        take_over(&handover, &options);
    pristine = pristine && r == 0;
    int file_fd = handover.file_fd;
    handover_end(&handover);
    if (r == 0)
        CHECK(world_count(3, WORLD_ABOVE) == (file_fd >= 0), "descriptors were left open");
    (void)syscall(SYS_close_range, 0, WORLD_ABOVE - 1, 0);
    end_manager();
    for (int i = 0; i < MOST_SLOTS; i++) {
        if (slots[i].has_socket && slots[i].pair.client >= 0)
            (void)client_reads(&slots[i], true);
        judge(&slots[i]);
        if (slots[i].has_socket && slots[i].pair.client >= 0)
            (void)close(slots[i].pair.client);
    }
    for (int i = 0; i < MOST_FILES; i++)
        if (files[i].fd >= 0)
            (void)close(files[i].fd);
    if (listener >= 0)
        (void)close(listener);
    free(text);
    world_end();
    return 0;
}
