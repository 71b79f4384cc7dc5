/* SPDX-License-Identifier: MIT */
/*
 * A client that reads a little, talks, half-closes, or resets in the moment that nobody thought of,
 * while the file is truncated under it: each is harmless in most moments, and in one of them it
 * costs a client its tail, or gives it a clean end on half a file. So the whole program runs here,
 * main() and all, on real sockets and a real file, in one thread with the clients: each time it
 * would wait, the next action of the input is taken, so that an input always plays the same way,
 * and time passes only when there is nothing else to do.
 *
 * The input begins with a letter: r resident, w the same under inetd, u resident with a UNIX socket
 * beside, s clients handed over by systemd, i one by inetd. Then tokens, each a letter, a client's
 * digit where it has one, and perhaps : and a number:
 *
 *   Z:N size of the file   A allow changes   O:N offset   L:N length   M:N most connections
 *   P:N the same for one source   E:N idle exit   Q:N stop timeout   S:N stall   D:N drain (ms)
 *   C:N clients of s   B:N their receive buffers
 *
 *   c0:N connects, with that receive buffer    v0 the same to the UNIX socket
 *   s0:N sends   r0:N reads   d0 reads all there is   h0 half-closes   x0 resets   k0 closes
 *   o0 sends an urgent byte   b0:N sets the receive buffer
 *   t:N truncates the file   p:N writes at that place   a:N appends   m puts a new file in its
 *   place   n deletes it
 *   g:N lets time pass   q SIGTERM   j SIGINT   y SIGHUP   f:N the next sendfile(2) is short, or
 *   interrupted   . lets decant do all that it has to do
 *
 *   K SIGKILL, where there is a process of its own
 *
 * At the end all clients read, and what they got is judged.
 *
 * With DECANT_REAL in the environment the same is played with that program, in a process of its
 * own, in real time, and with DECANT_REAL_OPTION, such as --sandbox=require: not to look for new
 * inputs, but to play those that were found.
 */
#include "options.h"
#include "transfer.h"
#include "world.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define MOST_CLIENTS  8
#define MOST_VERSIONS 12
#define MOST_BYTES    (2 << 20)
#define MOST_TURNS    200000
#define MS            INT64_C(1000000)

int decant_main(int argc, char **argv);

/* The file as it was at some time. */
struct version {
    uint8_t *bytes;
    size_t size;
};

struct client {
    int fd; /* lifted; -1 */
    bool is_tcp;
    bool left;      /* it has closed or reset by itself */
    bool connected; /* ever */
    bool over;
    bool is_window; /* it may have got changed bytes, as the manual says */
    enum world_end_of_stream end;
    uint32_t versions; /* those that all it got can be of */
    size_t got;
    unsigned port;
};

static struct client clients[MOST_CLIENTS];
static struct version versions[MOST_VERSIONS];
static int n_versions;
static char directory[200];
static char path[256];
static char path_new[256];
static int fd_of_file = -1; /* of the present one; lifted */
static uint8_t *pattern;
static int listeners[2];
static int n_listeners;
static const char *script; /* what is left of it */
static uint64_t offset_asked;
static int64_t length_asked; /* -1: all */
static bool allow_changes;
static bool has_limits;
static bool innocent; /* nothing was done that could cost a client the whole file */
static int turns;
static int waits;          /* real ones, in ms */
static int64_t idle_since; /* no client has read anything since, ns */
static int terms;
static int64_t mtime;
static int64_t short_send; /* -1: no */
static bool all_complete;  /* of the records */
static bool has_sandbox_option;
static const char *real; /* the program, or NULL */
static char real_option[64];
static char said[256];  /* the file of its log */
static pid_t child;     /* 0: none */
static bool was_killed; /* by a signal, perhaps before it had armed what it was handed */

static void remove_directory(void)
{
    (void)unlink(path);
    (void)unlink(path_new);
    (void)unlink(said);
    (void)rmdir(directory);
}

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    const char *temporary = getenv("TMPDIR");
    const char *option = getenv("DECANT_REAL_OPTION");
    char help[4096];

    world_init();
    (void)snprintf(
        directory, sizeof(directory), "%s/decant-fuzz.XXXXXX", temporary ? temporary : "/tmp");
    CHECK(mkdtemp(directory), "%s: %s", directory, strerror(errno));
    (void)snprintf(path, sizeof(path), "%s/file", directory);
    (void)snprintf(path_new, sizeof(path_new), "%s/new", directory);
    (void)snprintf(said, sizeof(said), "%s/said", directory);
    (void)atexit(remove_directory);
    real = getenv("DECANT_REAL") ? strdup(getenv("DECANT_REAL")) : NULL;
    (void)snprintf(real_option, sizeof(real_option), "%s", option ? option : "");
    pattern = malloc(MOST_BYTES);
    for (size_t i = 0; i < MOST_BYTES; i++)
        pattern[i] = (uint8_t)(i * 7 + (i >> 8) * 13 + (i >> 16) * 31);
    options_help(help, sizeof(help));
    has_sandbox_option = strstr(help, "--sandbox") != NULL;
    return 0;
}

/* --- The file -------------------------------------------------------------------------------- */

/* Each change gets a time of its own, however coarse the file system's clock is. */
static void touch(void)
{
    const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = ++mtime}};

    CHECK(futimens(fd_of_file, times) == 0, "%s", strerror(errno));
}

static void add_version(const uint8_t *bytes, size_t size)
{
    struct version *version = &versions[n_versions];

    version->bytes = malloc(size + 1);
    memcpy(version->bytes, bytes, size);
    version->size = size;
    for (int i = 0; i < MOST_CLIENTS; i++)
        if (clients[i].got == 0) /* else it has begun with another */
            clients[i].versions |= UINT32_C(1) << n_versions;
    n_versions++;
}

static void make_file(size_t size)
{
    fd_of_file = world_lift(open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
    CHECK(pwrite(fd_of_file, pattern, size, 0) == (ssize_t)size, "%s", strerror(errno));
    touch();
    add_version(pattern, size);
}

static struct version *present(void)
{
    return &versions[n_versions - 1];
}

static size_t promised(const struct version *version)
{
    size_t left = version->size > offset_asked ? version->size - offset_asked : 0;

    return length_asked >= 0 && (size_t)length_asked < left ? (size_t)length_asked : left;
}

/*
 * On loopback nothing is copied until the client reads, so that a change of the file reaches even
 * what its kernel has acknowledged. Who has all of it there, and has only not read it yet, is lost
 * to decant, which has seen the acknowledgement of an unchanged file.
 */
static void note_unread(void)
{
    for (int i = 0; i < MOST_CLIENTS; i++) {
        int unread = 0;
        if (clients[i].fd < 0 || !clients[i].is_tcp)
            continue;
        clients[i].is_window |= child > 0; /* whose record is not seen */
        (void)ioctl(clients[i].fd, FIONREAD, &unread);
        for (int j = 0; j < n_versions && unread > 0; j++)
            if (clients[i].got + (size_t)unread == promised(&versions[j]))
                clients[i].is_window = true;
    }
}

static uint8_t stamp(size_t at)
{
    return (uint8_t)(pattern[at] + n_versions * 101);
}

/* Bytes of a version that was never there before. */
static void change_file(size_t from, size_t to)
{
    size_t size = present()->size > to ? present()->size : to;

    if (n_versions == MOST_VERSIONS || to > MOST_BYTES || from >= to)
        return;
    uint8_t *bytes = calloc(1, size + 1);
    memcpy(bytes, present()->bytes, present()->size);
    for (size_t i = from; i < to; i++)
        bytes[i] = stamp(i);
    note_unread();
    CHECK(pwrite(fd_of_file, bytes + from, to - from, (off_t)from) == (ssize_t)(to - from), "%s",
        strerror(errno));
    touch();
    add_version(bytes, size);
    free(bytes);
    innocent = false;
}

static void truncate_file(size_t size)
{
    if (n_versions == MOST_VERSIONS || size >= present()->size)
        return;
    note_unread();
    CHECK(ftruncate(fd_of_file, (off_t)size) == 0, "%s", strerror(errno));
    touch();
    add_version(present()->bytes, size);
    innocent = false;
}

/* As it should be done: what runs goes on with the old one. */
static void replace_file(void)
{
    size_t size = present()->size;

    if (n_versions == MOST_VERSIONS)
        return;
    uint8_t *bytes = malloc(size + 1);
    for (size_t i = 0; i < size; i++)
        bytes[i] = stamp(i);
    (void)close(fd_of_file);
    fd_of_file = world_lift(open(path_new, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
    CHECK(pwrite(fd_of_file, bytes, size, 0) == (ssize_t)size, "%s", strerror(errno));
    touch();
    CHECK(rename(path_new, path) == 0, "%s", strerror(errno));
    add_version(bytes, size);
    free(bytes);
}

/* --- Clients --------------------------------------------------------------------------------- */

/* Whatever happened, each byte is one that the file had at that place. */
static void check_bytes(struct client *client, const uint8_t *bytes, size_t n)
{
    for (int i = 0; i < n_versions; i++) {
        const struct version *version = &versions[i];
        size_t at = offset_asked + client->got;
        if (at + n > version->size || memcmp(version->bytes + at, bytes, n) != 0)
            client->versions &= ~(UINT32_C(1) << i);
    }
    for (size_t i = 0; i < n && client->versions == 0; i++) {
        size_t at = offset_asked + client->got + i;
        bool known = false;
        for (int j = 0; j < n_versions && !known; j++)
            known = at < versions[j].size && versions[j].bytes[at] == bytes[i];
        CHECK(known || (at < MOST_BYTES && bytes[i] == 0), "client %d got a wrong byte at %zu",
            (int)(client - clients), at);
    }
    client->got += n;
}

/* Whether anything came. */
static bool client_reads(struct client *client, size_t most)
{
    static uint8_t buffer[1 << 16];
    const int on = 1;
    bool any = false;
    size_t n;

    while (client->fd >= 0 && !client->over && most > 0) {
        size_t size = most < sizeof(buffer) ? most : sizeof(buffer);
        client->end = world_read(client->fd, buffer, size, &n, false);
        check_bytes(client, buffer, n);
        most -= n;
        any = any || n > 0 || client->end != WORLD_OPEN;
        client->over = client->end != WORLD_OPEN;
        if (n < size)
            break;
    }
    if (any && client->is_tcp && !client->over) /* an acknowledgement takes no time */
        (void)setsockopt(client->fd, IPPROTO_TCP, TCP_QUICKACK, &on, sizeof(on));
    return any;
}

static void name_client(struct client *client)
{
    struct sockaddr_in address = {0};
    socklen_t size = sizeof(address);

    if (getsockname(client->fd, (struct sockaddr *)&address, &size) == 0 &&
        address.sin_family == AF_INET)
        client->port = ntohs(address.sin_port);
}

static void client_is(struct client *client, int fd, bool is_tcp)
{
    client->fd = fd;
    client->is_tcp = is_tcp;
    client->connected = true;
    name_client(client);
}

static void client_leaves(struct client *client, bool reset)
{
    const struct linger linger = {.l_onoff = reset};

    if (client->fd < 0)
        return;
    (void)setsockopt(client->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
    (void)close(client->fd);
    client->fd = -1;
    client->left = !client->over;
}

static void client_sends(struct client *client, size_t n, int flags)
{
    static const char words[1 << 14] = "GET / HTTP/1.0\r\n";

    if (client->fd < 0 || client->over || n == 0)
        return;
    ssize_t sent = send(client->fd, words, n < sizeof(words) ? n : sizeof(words),
        MSG_DONTWAIT | MSG_NOSIGNAL | flags);
    if (sent < 0 && errno == ECONNRESET) { /* which is told once */
        client->over = true;
        client->end = WORLD_RESET;
    }
}

/* Decant's own record of it. */
static void note_record(const struct transfer *transfer, const char *peer)
{
    const char *port = strrchr(peer, ':');
    bool is_done = transfer->slot->state == TRANSFER_DONE;

    all_complete = all_complete && transfer->event == TRANSFER_DRAINED;
    CHECK(transfer->slot->state == TRANSFER_DONE || transfer->slot->state == TRANSFER_ABORTED,
        "a record in state %d", transfer->slot->state);
    for (int i = 0; i < MOST_CLIENTS && port; i++)
        if (clients[i].is_tcp && clients[i].connected &&
            clients[i].port == (unsigned)strtoul(port + 1, NULL, 10))
            clients[i].is_window |= is_done && (transfer->event == TRANSFER_CHANGED ||
                                                   transfer->event == TRANSFER_SHORT);
}

/* --- The script ------------------------------------------------------------------------------ */

struct token {
    char letter;
    int client; /* -1 */
    size_t number;
    bool has_number;
};

static bool next_token(const char **text, struct token *token)
{
    while (**text == ' ' || **text == '\n')
        ++*text;
    if (**text == '\0')
        return false;
    *token = (struct token){.letter = *(*text)++, .client = -1};
    if (**text >= '0' && **text < '0' + MOST_CLIENTS)
        token->client = *(*text)++ - '0';
    if (**text == ':') {
        char *end;
        token->has_number = true;
        token->number = strtoul(*text + 1, &end, 10);
        *text = end;
    }
    return true;
}

static void send_signal(int number)
{
    if (child > 0) {
        (void)kill(child, number);
        return;
    }
    (void)syscall(SYS_tgkill, getpid(), (pid_t)syscall(SYS_gettid), number);
}

static void act_as_client(struct client *client, const struct token *token)
{
    int size = token->number > 1 << 22 ? 1 << 22 : (int)token->number;

    switch (token->letter) {
    case 'c':
    case 'v':
        if (client->connected || n_listeners == 0 || (token->letter == 'v' && n_listeners < 2))
            return;
        if (token->letter == 'c')
            client_is(client, world_connect(listeners[0], size), true);
        else
            client_is(client, world_connect_unix(listeners[1]), false);
        break;
    case 's':
        client_sends(client, token->number, 0);
        break;
    case 'o':
        client_sends(client, 1, MSG_OOB);
        break;
    case 'r':
        (void)client_reads(client, token->number);
        break;
    case 'd':
        (void)client_reads(client, SIZE_MAX);
        break;
    case 'h':
        if (client->fd >= 0)
            (void)shutdown(client->fd, SHUT_WR);
        break;
    case 'x':
    case 'k':
        client_leaves(client, token->letter == 'x');
        break;
    case 'b':
        if (client->fd >= 0 && size > 0)
            (void)setsockopt(client->fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
        break;
    default:
        break;
    }
}

static void act(const struct token *token)
{
    if (token->client >= 0) {
        act_as_client(&clients[token->client], token);
        return;
    }
    switch (token->letter) {
    case 't':
        truncate_file(token->number);
        break;
    case 'p':
        change_file(token->number, token->number < present()->size ? token->number + 1 : 0);
        break;
    case 'a':
        if (token->number < MOST_BYTES)
            change_file(present()->size, present()->size + token->number);
        break;
    case 'm':
        replace_file();
        break;
    case 'n':
        (void)unlink(path);
        innocent = false;
        break;
    case 'g':
        world_now += (int64_t)(token->number % 10000000) * MS;
        innocent = false;
        break;
    case 'q':
    case 'j':
        innocent = false;
        terms++;
        send_signal(token->letter == 'q' ? SIGTERM : SIGINT);
        break;
    case 'y':
        innocent = innocent && child == 0; /* which may not be so far yet that it ignores it */
        if (n_listeners > 0)               /* the others die of it, as they should */
            send_signal(SIGHUP);
        break;
    case 'K':
        if (child > 0) {
            innocent = false;
            send_signal(SIGKILL);
        }
        break;
    case 'f':
        short_send = (int64_t)token->number;
        break;
    default:
        break;
    }
}

/* --- What decant waits for ------------------------------------------------------------------- */

/* All clients read; whether that led anywhere. */
static bool read_all(void)
{
    bool any = false;

    for (int i = 0; i < MOST_CLIENTS; i++) {
        any = client_reads(&clients[i], SIZE_MAX) || any;
        if (clients[i].over && clients[i].fd >= 0)
            client_leaves(&clients[i], false);
    }
    return any;
}

static bool somebody_waits(void)
{
    for (int i = 0; i < MOST_CLIENTS; i++)
        if (clients[i].fd >= 0)
            return true;
    return false;
}

/*
 * Decant would wait: how long, and look() tells whether it need not. Takes actions until it need
 * not wait any more; when there are none left, and no client has anything to read, some real time
 * for the kernel's timers; and then decant's time passes.
 */
static int play(int (*look)(void *context, int timeout), void *context, int timeout)
{
    struct token token;
    bool run = false;

    CHECK(++turns < MOST_TURNS, "decant spins");
    for (;;) {
        int n = run || *script == '\0' ? look(context, 0) : 0;
        if (n != 0)
            return n;
        if (next_token(&script, &token)) {
            run = true;
            act(&token);
            continue;
        }
        if (read_all()) {
            idle_since = world_now;
            continue;
        }
        if (timeout == 0)
            return 0;
        /* What decant looks for by the time needs no more than that; the kernel's timers do. */
        if (somebody_waits() && waits < 300 && world_now - idle_since > 2000 * MS) {
            n = look(context, 10);
            waits += n == 0 ? 10 : 0;
            if (n != 0)
                return n;
            continue;
        }
        if (timeout > 0) {
            innocent = innocent && waits < 300;
            world_now += timeout * MS;
            return look(context, 0);
        }
        CHECK(terms < 4, "decant waits for ever");
        terms++;
        send_signal(SIGTERM);
    }
}

struct epoll_call {
    int epoll;
    void *events;
    int most;
};

static int look_epoll(void *context, int timeout)
{
    const struct epoll_call *call = context;

    return world_real_epoll_wait(call->epoll, call->events, call->most, timeout);
}

static int play_epoll_wait(int epoll, void *events, int most, int timeout)
{
    struct epoll_call call = {epoll, events, most};

    return play(look_epoll, &call, timeout);
}

struct poll_call {
    void *polls;
    unsigned long n;
};

static int look_poll(void *context, int timeout)
{
    const struct poll_call *call = context;

    return world_real_poll(call->polls, call->n, timeout);
}

/* Who asks for no time at all only looks. */
static int play_poll(void *polls, unsigned long n, int timeout)
{
    struct poll_call call = {polls, n};

    return timeout == 0 && n == 1 ? world_real_poll(polls, n, 0) : play(look_poll, &call, timeout);
}

/* It may return short at any time, and be interrupted before it has sent anything. */
static long play_sendfile(int socket, int file, int64_t *offset, size_t count)
{
    int64_t most = short_send;

    short_send = -1;
    if (most == 0) {
        errno = EINTR;
        return -1;
    }
    return world_real_sendfile(
        socket, file, offset, most > 0 && (size_t)most < count ? (size_t)most : count);
}

/* --- One run --------------------------------------------------------------------------------- */

struct setup {
    char mode;
    size_t size;
    int n_clients;
    int receive_buffer;
    int argc;
    char *argv[20];
    char room[16][48];
    char environment[3][48];
};

static void add_argument(struct setup *setup, const char *name, size_t number, const char *unit)
{
    if (setup->argc >= 14)
        return;
    char *room = setup->room[setup->argc];

    (void)snprintf(room, sizeof(setup->room[0]), "--%s=%zu%s", name, number, unit);
    setup->argv[setup->argc++] = room;
}

static void set_up(struct setup *setup, const struct token *token)
{
    size_t number = token->number;

    if (setup->argc >= 12 && strchr("MPEQSD", token->letter))
        return; /* the offset and the length must still find room */
    switch (token->letter) {
    case 'Z':
        setup->size = number % (MOST_BYTES + 1);
        break;
    case 'A':
        allow_changes = true;
        break;
    case 'O':
        offset_asked = number;
        break;
    case 'L':
        length_asked = (int64_t)(number % INT32_MAX);
        break;
    case 'M':
        has_limits = true;
        add_argument(setup, "max-connections", number % 1000, "");
        break;
    case 'P':
        has_limits = true;
        add_argument(setup, "max-connections-per-source", number % 1000, "");
        break;
    case 'E':
        add_argument(setup, "idle-exit", number % 1000000, "ms");
        break;
    case 'Q':
        add_argument(setup, "stop-timeout", number % 1000000, "ms");
        break;
    case 'S':
        innocent = false;
        add_argument(setup, "stall-timeout", number % 1000000, "ms");
        break;
    case 'D':
        innocent = false;
        add_argument(setup, "drain-timeout", number % 1000000, "ms");
        break;
    case 'C':
        setup->n_clients = number > 4 ? 4 : number > 0 ? (int)number : 1;
        break;
    case 'B':
        setup->receive_buffer = (int)(number % (1 << 22));
        break;
    default:
        break;
    }
}

static void place(int fd, int at)
{
    CHECK(dup2(fd, at) == at, "%s", strerror(errno));
}

static void hand_over(struct setup *setup)
{
    bool is_inetd = setup->mode == 'i' || setup->mode == 'w';
    bool is_single = setup->mode == 'i' || setup->mode == 's';
    int null = world_lift(open("/dev/null", O_RDWR | O_CLOEXEC));
    int n = 0;

    if (!is_inetd)
        for (int fd = 0; fd < 3; fd++)
            place(null, fd);
    (void)close(null);
    n_listeners = is_single ? 0 : setup->mode == 'u' ? 2 : 1;
    if (n_listeners > 0)
        listeners[0] = world_listen(AF_INET);
    if (n_listeners > 1)
        listeners[1] = world_listen_unix();
    for (int i = 0; i < n_listeners; i++)
        place(listeners[i], is_inetd ? 0 : 3 + n++);
    for (int i = 0; is_single && i < (is_inetd ? 1 : setup->n_clients); i++) {
        struct world_pair pair = world_tcp(AF_INET, setup->receive_buffer);
        client_is(&clients[i], pair.client, true);
        place(pair.ours, is_inetd ? 0 : 3 + n++);
        (void)close(pair.ours);
    }
    if (is_inetd) {
        place(0, 1);
        place(0, 2);
        return;
    }
    (void)snprintf(setup->environment[0], 48, "LISTEN_PID=%d", getpid());
    (void)snprintf(setup->environment[1], 48, "LISTEN_FDS=%d", n);
    world_setenv(setup->environment[0]);
    world_setenv(setup->environment[1]);
}

static void start_afresh(void)
{
    for (int i = 0; i < MOST_CLIENTS; i++)
        clients[i] = (struct client){.fd = -1};
    n_versions = 0;
    n_listeners = 0;
    offset_asked = 0;
    length_asked = -1;
    allow_changes = has_limits = was_killed = false;
    innocent = true;
    all_complete = true;
    turns = waits = terms = 0;
    short_send = -1;
}

/* Decant is gone, and nothing of it is left: now each client gets to know how its stream ended. */
static void end_all(void)
{
    for (int i = 0; i < n_listeners; i++)
        (void)close(listeners[i]); /* resets who is still in the queue */
    for (int i = 0; i < MOST_CLIENTS; i++) {
        struct client *client = &clients[i];
        uint8_t bytes[4096];
        size_t n;
        while (client->fd >= 0 && !client->over) {
            client->end = world_read(client->fd, bytes, sizeof(bytes), &n, true);
            check_bytes(client, bytes, n);
            client->over = client->end != WORLD_OPEN;
        }
    }
}

static bool is_whole(const struct client *client)
{
    bool may_be_mixed = allow_changes || client->is_window;

    for (int i = 0; i < n_versions; i++)
        if (client->got == promised(&versions[i]) &&
            (may_be_mixed || (client->versions & (UINT32_C(1) << i))))
            return true;
    return false;
}

static void judge(const struct client *client)
{
    int number = (int)(client - clients);

    if (!client->connected || client->left || (was_killed && n_listeners == 0 && client->got == 0))
        return;
    if (client->is_tcp && client->end == WORLD_END)
        CHECK(is_whole(client), "client %d got a clean end on %zu bytes, versions %x", number,
            client->got, client->versions);
    if (innocent && !has_limits)
        CHECK(client->end == WORLD_END && is_whole(client),
            "client %d did nothing wrong, and got %zu bytes and %s", number, client->got,
            client->end == WORLD_END ? "an end" : "a reset");
}

static void clean_up(void)
{
    for (int i = 0; i < MOST_CLIENTS; i++)
        if (clients[i].fd >= 0)
            (void)close(clients[i].fd);
    for (int i = 0; i < n_versions; i++)
        free(versions[i].bytes);
    (void)close(fd_of_file);
    (void)unlink(path);
}

/* --- The real program ------------------------------------------------------------------------ */

static void start_real(struct setup *setup)
{
    sigset_t all;
    sigset_t before;
    int log = world_lift(open(said, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600));

    if (setup->mode != 'i' && setup->mode != 'w')
        place(log, 2);
    (void)close(log);
    (void)sigfillset(&all);
    (void)sigprocmask(SIG_SETMASK, &all, &before);
    child = fork();
    CHECK(child >= 0, "%s", strerror(errno));
    if (child == 0) {
        char own_pid[48];
        for (int number = 1; number < NSIG; number++) /* libFuzzer's handlers are not for it */
            (void)signal(number, SIG_DFL);
        (void)sigprocmask(SIG_SETMASK, &before, NULL);
        (void)snprintf(own_pid, sizeof(own_pid), "LISTEN_PID=%d", getpid());
        if (environ[0])
            environ[0] = own_pid;
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void)execve(real, setup->argv, environ);
        _exit(99);
    }
    (void)sigprocmask(SIG_SETMASK, &before, NULL);
    (void)syscall(SYS_close_range, 0, WORLD_ABOVE - 1, 0);
}

/* The last of its log goes into the words of a find. */
static void read_log(void)
{
    int fd = open(said, O_RDONLY | O_CLOEXEC);
    off_t size = fd < 0 ? 0 : lseek(fd, 0, SEEK_END);
    off_t from = size > 4000 ? size - 4000 : 0;

    if (fd < 0)
        return;
    ssize_t n = pread(fd, world_said, 4000, from);
    world_said[n > 0 ? n : 0] = '\0';
    (void)close(fd);
}

static bool has_ended(int *status)
{
    return waitpid(child, status, WNOHANG) == child;
}

/* Who is to have read something should, or SIGKILL would only ever meet what has not begun. */
static void wait_for_bytes(const struct client *client)
{
    struct pollfd ready = {.fd = client->over ? -1 : client->fd, .events = POLLIN};

    if (ready.fd >= 0)
        (void)world_real_poll(&ready, 1, 100);
}

/* Real time passes between the actions, as much as decant can use; nothing relies on how much. */
static int play_real(void)
{
    struct token token;
    int status;
    int idle = 0; /* ms in which no client had anything to read */

    while (next_token(&script, &token)) {
        if (token.letter == 'r' && token.client >= 0)
            wait_for_bytes(&clients[token.client]);
        act(&token);
        (void)world_real_poll(NULL, 0, token.letter == '.' ? 3 : 0);
    }
    while (!has_ended(&status)) {
        if (read_all()) {
            idle = 0;
            continue;
        }
        if (!somebody_waits() || idle > 15000) {
            send_signal(idle > 25000 ? SIGKILL : SIGTERM);
            innocent = innocent && !somebody_waits();
        }
        (void)world_real_poll(NULL, 0, 1);
        idle++;
        if (idle > 30000)
            (void)kill(child, SIGKILL);
    }
    child = 0;
    read_log();
    CHECK(idle < 25000, "it does not end");
    if (WIFSIGNALED(status)) {
        int number = WTERMSIG(status); /* those that were sent before it could take them */
        CHECK(number == SIGKILL || number == SIGTERM || number == SIGINT || number == SIGHUP,
            "it died of signal %d, '%s'", number, strsignal(number));
        was_killed = true;
        return 75;
    }
    all_complete = true; /* as nobody has told */
    return WEXITSTATUS(status);
}

static int run_real(struct setup *setup)
{
    start_real(setup);
    return play_real();
}

static int run_here(struct setup *setup)
{
    idle_since = world_now = INT64_C(1000000) * MS;
    world_epoll_wait = play_epoll_wait;
    world_poll = play_poll;
    world_sendfile = play_sendfile;
    world_report = note_record;
    int status = decant_main(setup->argc, setup->argv);
    CHECK(world_raised == 0, "%d", world_raised);
    CHECK(world_count(3, WORLD_ABOVE) == 0, "descriptors were left open");
    CHECK(world_count(0, 3) == 3, "of 0, 1 and 2 some are closed");
    (void)syscall(SYS_close_range, 0, WORLD_ABOVE - 1, 0);
    return status;
}

static void run(struct setup *setup)
{
    make_file(setup->size);
    if (offset_asked > 0)
        add_argument(setup, "offset", offset_asked, "");
    if (length_asked >= 0)
        add_argument(setup, "length", (size_t)length_asked, "");
    if (offset_asked > setup->size ||
        (length_asked >= 0 && (size_t)length_asked > setup->size - offset_asked))
        innocent = false; /* a usage error */
    setup->argv[setup->argc++] = (char *)"--log-level=debug";
    if (allow_changes)
        setup->argv[setup->argc++] = (char *)"--allow-changes";
    if (real && real_option[0] != '\0')
        setup->argv[setup->argc++] = real_option;
    else if (has_sandbox_option)
        setup->argv[setup->argc++] = (char *)"--sandbox=off";
    setup->argv[setup->argc++] = path;
    setup->argv[setup->argc] = NULL;
    hand_over(setup);
    int status = real ? run_real(setup) : run_here(setup);

    CHECK(status != 0 || all_complete, "exit 0, and not all were complete");
    CHECK(status == 0 || status == 64 || status == 65 || status == 66 || status == 75, "exit %d",
        status);
    CHECK(status != 64 || !innocent || has_limits, "a usage error");
    end_all();
    for (int i = 0; i < MOST_CLIENTS; i++)
        judge(&clients[i]);
    clean_up();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct setup setup;
    struct token token;

    if (size < 1 || !strchr("rwusi", data[0]) || data[0] == '\0')
        return -1; /* not worth keeping */
    char *text = strndup((const char *)data + 1, size - 1);
    world_begin();
    start_afresh();
    setup = (struct setup){.mode = (char)data[0], .size = 1000, .n_clients = 1, .argc = 1};
    setup.argv[0] = (char *)"decant";
    for (script = text; next_token(&script, &token);)
        set_up(&setup, &token);
    script = text;
    run(&setup);
    world_end();
    free(text);
    return 0;
}
