/* SPDX-License-Identifier: MIT */
/*
 * killer [OPTION...] WAY [CLIENT...] -- PROGRAM [ARGUMENT...]
 *
 * Kills a server that has a file-descriptor store, again and again, and looks at what its clients
 * get: every byte and a clean end, or, if their sockets had not been stored, a reset. `keeper`,
 * beside this program, is the supervisor; a directory is appended to PROGRAM's arguments, and each
 * file in it has a listening socket of its name, which is its size.
 *
 * WAY:
 *
 *   walk      one run for each N: the process dies behind its N-th system call after the first
 *             accept(2), and the next one finishes; until N is beyond the end of the clients' life
 *   stop      the same, counted from a SIGTERM that comes when all CLIENTs have stopped reading
 *   startup   CLIENTs that have stopped reading are handed from process to process; each second one
 *             dies behind the N-th system call of its start-up
 *   storm     --connections of all kinds, and --kills meanwhile
 *
 * CLIENT: one of the names below, all connect at once; see `scripts`. NAME*N: so many of them.
 *
 *   --dir=PATH        for sockets, files and logs
 *   --listen=KIND     tcp4 (default), tcp6, mptcp, unix: where nobody knows a reset, an end that
 * comes too early for a socket that was not stored is taken for one
 *   --warm            of a walk: there is another client already, whose socket is stored
 *   --twice           of a walk, and of stop: the next process dies, too, somewhere in its start-up
 *   --lanes=N         so many servers side by side, each with its part of the runs (default 4)
 *   --stride=N        only every N-th system call, from one that --seed chooses
 *   --every=N         also behind every N-th instruction up to the next system call
 *   --where=WHERE     of two system calls: behind (the first, where it has just returned), before
 *                     (the second, which has not begun), between (after so many instructions as
 *                     --seed says)
 *   --connections=N --kills=N --clients=N
 *                     of the storm: in all, and at a time (default 300, 30, 40)
 *   --gently=N        of the storm: of so many kills one is a SIGTERM (default 0: none)
 *   --seed=N          default: from the clock
 *   --timeout=SECONDS after which a client is hung (default 20)
 *
 * What comes out, and in detail on standard error:
 *
 *   runs=          that were begun
 *   kills=         that took place
 *   calls=         the highest N that was reached
 *   whole= reset=  clients
 *   parked=        of the whole ones of runs with a kill, those whose sockets had been stored
 *   last_reset=    the highest N that cost a client its connection
 *   short=         a broken promise: a clean end too early
 *   wrong=         the same: other bytes
 *   hung=          nothing at all in time
 *   lost=          reset although stored, or although nobody was killed
 *   left=          runs after which the store still held a client's socket
 *   seed=
 *
 * The status is 0 if none of the latter five occurred, 1 if one did, 2 if it could not be tried.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

#define MILLISECOND  INT64_C(1000000)
#define SECOND       INT64_C(1000000000)
#define NEVER        INT64_MAX
#define MOST_FILES   16
#define MOST_CLIENTS 2048
#define MOST_CALLS   100000
#define START_CALLS  200 /* of a start with some transfers to resume, more or less */
#define BEYOND       3   /* runs in a row without a kill: the walk is over */
#define UNTIL_TOLD   (-1)
#define NOWHERE      SIZE_MAX

struct script {
    const char *name;
    size_t size;     /* of the file */
    int rcvbuf;      /* 0: the kernel's choice */
    size_t talk;     /* bytes that it sends */
    bool half_close; /* its end of stream follows at once */
    size_t piece;    /* that it reads at a time */
    int pause;       /* ms between two of them */
    size_t stop_at;  /* reads no further ... */
    int stop;        /* ... for so many ms; or UNTIL_TOLD */
    int hold;        /* ms for which it stays after the end of stream; or UNTIL_TOLD */
};

static const struct script scripts[] = {
    /* One call can finish it. */
    {"fits", 4000, 0, 0, false, 65536, 0, NOWHERE, 0, 0},
    /* The same, with its end in the queue, behind what the client has not read. */
    {"fits-unread", 16000, 2048, 0, false, 65536, 0, 0, 20, 0},
    {"fits-held", 4000, 0, 0, false, 65536, 0, NOWHERE, 0, UNTIL_TOLD},
    {"fast", 3000000, 0, 0, false, 262144, 0, NOWHERE, 0, 0},
    {"slow", 2500000, 65536, 0, false, 65536, 1, NOWHERE, 0, 0},
    {"talks", 1500000, 65536, 300000, false, 65536, 1, NOWHERE, 0, 0},
    {"half-closed", 1500000, 65536, 0, true, 65536, 1, NOWHERE, 0, 0},
    /* Has all but the last bytes, which its kernel has no room for: FINISHING. */
    {"finishing", 1100000, 4096, 0, false, 65536, 0, 1088000, 25, 0},
    /* Has everything, and does not go: DRAINING. */
    {"draining", 1500000, 65536, 0, false, 65536, 1, NOWHERE, 0, 25},
    {"stops", 2500000, 65536, 0, false, 65536, 0, 300000, UNTIL_TOLD, 0},
    {"stops-small", 400000, 16384, 0, false, 65536, 0, 50000, UNTIL_TOLD, 0},
    {"stops-at-the-end", 1100000, 4096, 0, false, 65536, 0, 1088000, UNTIL_TOLD, 0},
    {"stops-after-the-end", 1500000, 65536, 0, false, 65536, 0, NOWHERE, 0, UNTIL_TOLD},
};

static const struct script *find_script(const char *name)
{
    for (size_t i = 0; i < sizeof(scripts) / sizeof(scripts[0]); i++)
        if (strcmp(scripts[i].name, name) == 0)
            return &scripts[i];
    return NULL;
}

enum state { READING, STOPPED, HOLDING, OVER };
enum outcome { NONE, WHOLE, RESET, SHORT, WRONG, HUNG };
static const char *const outcome_names[] = {"none", "whole", "reset", "short", "wrong", "hung"};

struct client {
    struct script script;
    const unsigned char *content;
    int fd;
    int number; /* its port, or what the kernel calls a UNIX socket */
    enum state state;
    enum outcome outcome;
    bool told;
    size_t received;
    size_t talked;
    int64_t next_at; /* it does nothing before */
    int64_t deadline;
};

struct account {
    long runs, kills, calls, whole, reset, parked, last_reset;
    long too_short, wrong, hung, lost, left;
};

enum where { BEHIND, BEFORE, BETWEEN };

struct options {
    const char *way;
    const char *dir;
    const char *keeper;
    const char *kind; /* of the sockets, as keeper's --listen has it */
    bool warm;
    bool twice;
    char **program;
    struct script clients[MOST_CLIENTS];
    int n_clients;
    int lanes;
    long stride;
    long every; /* instructions; 0: only one of them, or none */
    enum where where;
    long connections, kills, at_a_time, gently;
    uint64_t seed;
    int64_t timeout;
};

/* A file, and a listening socket for it. */
struct file {
    size_t size;
    const unsigned char *content;
    char address[108]; /* as keeper writes it */
};

struct lane {
    const struct options *options;
    struct account account;
    int number;
    uint64_t random;
    long instructions; /* of the present run; 0: as options->where says */
    bool stretch_over; /* there were not so many before the next system call */
    char control[108]; /* sun_path */
    char prefix[96];
    pid_t keeper;
};

static struct file files[MOST_FILES];
static int n_files;

static int64_t clock_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * SECOND + now.tv_nsec;
}

/* splitmix64 */
static uint64_t next_random(uint64_t *state)
{
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static int check(int result, const char *what)
{
    if (result < 0)
        err(2, "killer: %s", what);
    return result;
}

/* --- Files ------------------------------------------------------------------------------------ */

static struct file *find_file(size_t size)
{
    for (int i = 0; i < n_files; i++)
        if (files[i].size == size)
            return &files[i];
    return NULL;
}

static void make_file(const struct options *options, size_t size)
{
    char path[256];
    uint64_t state = options->seed + size;

    if (find_file(size))
        return;
    if (n_files == MOST_FILES)
        errx(2, "killer: too many files");
    snprintf(path, sizeof(path), "%s/files/%zu", options->dir, size);
    int fd = check(open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666), path);
    check(ftruncate(fd, (off_t)size), path);
    unsigned char *content = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (content == MAP_FAILED)
        err(2, "killer: %s", path);
    for (size_t i = 0; i < size; i++)
        content[i] = (unsigned char)(next_random(&state) >> 32);
    /* What is written through the mapping later would be a change; the time of this one is set. */
    check(msync(content, size, MS_SYNC), path);
    check(futimens(fd, NULL), path);
    munmap(content, size);
    content = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (content == MAP_FAILED)
        err(2, "killer: %s", path);
    close(fd);
    files[n_files++] = (struct file){.size = size, .content = content};
}

/* --- The supervisor --------------------------------------------------------------------------- */

/* What `keeper --tell` does; the answer is without its end of line. */
static void tell(
    const struct lane *lane, char *answer, size_t size, int n, const char *const *words)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    const struct timeval most = {.tv_sec = 20};
    size_t length = 0;
    int fd = check(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket");

    snprintf(name.sun_path, sizeof(name.sun_path), "%s", lane->control);
    check(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &most, sizeof(most)), "SO_RCVTIMEO");
    check(connect(fd, (struct sockaddr *)&name, sizeof(name)), lane->control);
    for (int i = 0; i < n; i++)
        check((int)send(fd, words[i], strlen(words[i]) + 1, MSG_NOSIGNAL), "send");
    check(shutdown(fd, SHUT_WR), "shutdown");
    for (ssize_t got;
         length + 1 < size && (got = read(fd, answer + length, size - length - 1)) != 0;)
        length += (size_t)check((int)got, "keeper does not answer");
    close(fd);
    while (length > 0 && answer[length - 1] == '\n')
        length--;
    answer[length] = '\0';
    if (strncmp(answer, "keeper:", 7) == 0)
        errx(2, "killer: %s", answer);
}

#define TELL(lane, answer, ...)                                                                    \
    tell(lane, answer, sizeof(answer),                                                             \
        (int)(sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *)),                             \
        (const char *[]){__VA_ARGS__})

static long ask(const struct lane *lane, const char *what)
{
    char answer[4096];

    TELL(lane, answer, what);
    return atol(answer);
}

static void start_keeper(struct lane *lane)
{
    const struct options *options = lane->options;
    char listens[MOST_FILES][192];
    char notify[160], control[160], address[160], log[160], directory[256], errors[160];
    const char *words[64 + MOST_FILES];
    int n = 0;

    int length =
        snprintf(lane->prefix, sizeof(lane->prefix), "%s/lane%d", options->dir, lane->number);
    if (length >= (int)sizeof(lane->prefix))
        errx(2, "killer: %s is too long for a socket", options->dir);
    snprintf(lane->control, sizeof(lane->control), "%s.control", lane->prefix);
    snprintf(notify, sizeof(notify), "--notify=%s.notify", lane->prefix);
    snprintf(control, sizeof(control), "--control=%s", lane->control);
    snprintf(address, sizeof(address), "--address-file=%s.address", lane->prefix);
    snprintf(log, sizeof(log), "--log=%s.log", lane->prefix);
    snprintf(directory, sizeof(directory), "%s/files", options->dir);
    snprintf(errors, sizeof(errors), "%s.err", lane->prefix);
    words[n++] = options->keeper;
    words[n++] = notify;
    words[n++] = control;
    words[n++] = address;
    words[n++] = log;
    words[n++] = "--fuse=590";
    for (int i = 0; i < n_files; i++) {
        if (strcmp(options->kind, "unix") == 0)
            snprintf(listens[i], sizeof(listens[i]), "--listen=unix=%s.%zu,%zu", lane->prefix,
                files[i].size, files[i].size);
        else
            snprintf(
                listens[i], sizeof(listens[i]), "--listen=%s,%zu", options->kind, files[i].size);
        words[n++] = listens[i];
    }
    words[n++] = "--";
    for (char **word = options->program; *word && n < 60 + MOST_FILES; word++)
        words[n++] = *word;
    words[n++] = directory;
    words[n] = NULL;

    lane->keeper = check(fork(), "fork");
    if (lane->keeper > 0)
        return;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    int fd = check(open(errors, O_WRONLY | O_CREAT | O_APPEND, 0666), errors);
    check(dup2(fd, STDERR_FILENO), "dup2");
    execv(words[0], (char **)words);
    err(2, "killer: %s", words[0]);
}

static void read_address(const char *path, char *address, int size)
{
    FILE *stream;

    for (int64_t until = clock_now() + 20 * SECOND; !(stream = fopen(path, "r")); poll(NULL, 0, 1))
        if (clock_now() > until)
            errx(2, "killer: %s never came", path);
    if (!fgets(address, size, stream))
        errx(2, "killer: %s", path);
    fclose(stream);
    address[strcspn(address, "\n")] = '\0';
}

static void learn_addresses(const struct lane *lane)
{
    char path[160];

    for (int i = 0; i < n_files; i++) {
        if (i == 0)
            snprintf(path, sizeof(path), "%s.address", lane->prefix);
        else
            snprintf(path, sizeof(path), "%s.address.%d", lane->prefix, i + 1);
        read_address(path, files[i].address, sizeof(files[i].address));
    }
}

/* Until so many have been started, and the last of them has said that it is ready. */
static void wait_ready(const struct lane *lane, long starts)
{
    for (int64_t until = clock_now() + 20 * SECOND;; poll(NULL, 0, 1)) {
        if (ask(lane, "starts") >= starts && ask(lane, "ready") == 1)
            return;
        if (clock_now() > until)
            errx(1, "killer: start number %ld is never ready, see %s.err", starts, lane->prefix);
    }
}

static void fresh(const struct lane *lane)
{
    char answer[4096];

    TELL(lane, answer, "fresh");
    wait_ready(lane, 0);
}

/* How many sockets of clients are in the store; names of slots are @ and a hexadecimal number. */
static long count_stored(const struct lane *lane)
{
    static char answer[1 << 20];
    long n = 0;

    TELL(lane, answer, "store");
    for (char *at = answer, *line; (line = strsep(&at, "\n"));) {
        size_t digits = line[0] == '@' ? strspn(line + 1, "0123456789abcdef") : 0;
        n += digits > 0 && line[1 + digits] == ' ';
    }
    return n;
}

/* --- Clients ---------------------------------------------------------------------------------- */

union name {
    struct sockaddr any;
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
    struct sockaddr_un un;
};

/* Returns the length. */
static socklen_t parse_address(const char *text, union name *name)
{
    const char *value = strchr(text, '=') + 1;

    *name = (union name){0};
    if (text[0] == 'u') {
        name->un.sun_family = AF_UNIX;
        strncpy(name->un.sun_path, value, sizeof(name->un.sun_path) - 1);
        return sizeof(name->un);
    }
    if (strncmp(text, "tcp6", 4) == 0) {
        name->in6 = (struct sockaddr_in6){.sin6_family = AF_INET6,
            .sin6_addr = IN6ADDR_LOOPBACK_INIT,
            .sin6_port = htons((uint16_t)atoi(value))};
        return sizeof(name->in6);
    }
    name->in = (struct sockaddr_in){.sin_family = AF_INET,
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
        .sin_port = htons((uint16_t)atoi(value))};
    return sizeof(name->in);
}

static int number_of(int fd)
{
    union name name = {0};
    socklen_t length = sizeof(name);

    check(getsockname(fd, &name.any, &length), "getsockname");
    if (name.any.sa_family == AF_UNIX)
        return (int)strtol(name.un.sun_path + 1, NULL, 16);
    return ntohs(name.any.sa_family == AF_INET ? name.in.sin_port : name.in6.sin6_port);
}

static void open_client(struct client *client, const struct script *script, int64_t timeout)
{
    const struct file *file = find_file(script->size);
    const struct sockaddr nameless = {.sa_family = AF_UNIX};
    union name name;
    socklen_t length = parse_address(file->address, &name);
    int protocol = file->address[0] == 'm' ? IPPROTO_MPTCP : 0;

    int fd = check(socket(name.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, protocol), "socket");
    if (script->rcvbuf > 0)
        check(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &script->rcvbuf, sizeof(script->rcvbuf)),
            "SO_RCVBUF");
    if (name.any.sa_family == AF_UNIX) /* the kernel chooses a number */
        check(bind(fd, &nameless, sizeof(nameless.sa_family)), "bind");
    check(connect(fd, &name.any, length), "connect");
    check(fcntl(fd, F_SETFL, O_NONBLOCK), "fcntl");
    *client = (struct client){.script = *script,
        .content = file->content,
        .fd = fd,
        .number = number_of(fd),
        .deadline = clock_now() + timeout};
    if (script->half_close)
        shutdown(fd, SHUT_WR); /* fails for who was reset already, which recv(2) tells */
}

static void end_client(struct client *client, enum outcome outcome)
{
    if (client->outcome == NONE)
        client->outcome = outcome;
    client->state = OVER;
    close(client->fd);
    client->fd = -1;
}

/* Whoever is told of the reset here is not told of it again: recv(2) would say that this is the
 * end. */
static void talk(struct client *client)
{
    static const char words[16384];
    size_t left = client->script.talk - client->talked;

    if (left == 0)
        return;
    ssize_t n = send(client->fd, words, left < sizeof(words) ? left : sizeof(words), MSG_NOSIGNAL);
    if (n > 0)
        client->talked += (size_t)n;
    else if (errno == ECONNRESET)
        end_client(client, RESET);
    else if (errno != EAGAIN)
        client->talked = client->script.talk; /* recv(2) tells what has become of it */
}

static void take_end(struct client *client, int64_t now)
{
    client->outcome = client->received == client->script.size ? WHOLE : SHORT;
    client->state = HOLDING;
    client->next_at = client->script.hold == UNTIL_TOLD && !client->told
                          ? NEVER
                          : now + client->script.hold * MILLISECOND;
}

static void receive(struct client *client, int64_t now)
{
    static unsigned char bytes[1 << 18];
    size_t limit = client->script.piece;

    if (client->script.stop_at > client->received &&
        client->script.stop_at - client->received < limit)
        limit = client->script.stop_at - client->received;
    ssize_t n = recv(client->fd, bytes, limit < sizeof(bytes) ? limit : sizeof(bytes), 0);
    if (n == 0) {
        take_end(client, now);
    } else if (n < 0 && errno != EAGAIN) {
        end_client(client, errno == ECONNRESET ? RESET : WRONG);
    } else if (n > 0) {
        if ((size_t)n > client->script.size - client->received ||
            memcmp(bytes, client->content + client->received, (size_t)n) != 0) {
            end_client(client, WRONG);
            return;
        }
        client->received += (size_t)n;
        if (client->script.pause > 0)
            client->next_at = now + client->script.pause * MILLISECOND;
    }
}

/* Not who waits by itself. */
static bool can_hang(const struct client *client)
{
    return client->state == READING ||
           (client->state == STOPPED && client->script.stop != UNTIL_TOLD);
}

static void step_client(struct client *client, int64_t now)
{
    if (now >= client->deadline && can_hang(client)) {
        end_client(client, HUNG);
        return;
    }
    talk(client);
    if (client->state == OVER || now < client->next_at)
        return;
    if (client->state == HOLDING) {
        end_client(client, NONE);
        return;
    }
    if (client->state == STOPPED) {
        client->state = READING;
        client->script.stop_at = NOWHERE;
    }
    if (client->received == client->script.stop_at) {
        client->state = STOPPED;
        client->next_at =
            client->script.stop == UNTIL_TOLD ? NEVER : now + client->script.stop * MILLISECOND;
        return;
    }
    receive(client, now);
}

/* Whoever waits to be told goes on. */
static void go_on(struct client *client)
{
    client->told = true;
    if (client->state == STOPPED || client->state == HOLDING) {
        client->next_at = 0;
        client->deadline = clock_now() + 20 * SECOND;
    }
}

static bool has_stopped(const struct client *client)
{
    return client->state == OVER ||
           ((client->state == STOPPED || client->state == HOLDING) && client->next_at == NEVER);
}

/* One look at all of them, which waits until there is something to do. */
static void step_all(struct client *clients, int n, int64_t until)
{
    struct pollfd polls[MOST_CLIENTS];
    int64_t now = clock_now();
    int64_t next = until;

    for (int i = 0; i < n; i++) {
        const struct client *client = &clients[i];
        polls[i] = (struct pollfd){.fd = -1};
        if (client->state == OVER)
            continue;
        if (client->next_at <= now && client->state == READING)
            polls[i] = (struct pollfd){.fd = client->fd, .events = POLLIN};
        if (client->talked < client->script.talk)
            polls[i] =
                (struct pollfd){.fd = client->fd, .events = (short)(polls[i].events | POLLOUT)};
        if (client->next_at > now && client->next_at < next)
            next = client->next_at;
        if (client->deadline < next && can_hang(client))
            next = client->deadline;
        if (client->next_at <= now && client->state != READING)
            next = now;
    }
    int64_t ms = next <= now ? 0 : (next - now + MILLISECOND - 1) / MILLISECOND;
    check(poll(polls, (nfds_t)n, ms < 1000 ? (int)ms : 1000), "poll");
    now = clock_now();
    for (int i = 0; i < n; i++)
        if (clients[i].state != OVER && (polls[i].revents || now >= clients[i].deadline ||
                                            clients[i].state != READING || clients[i].next_at > 0))
            step_client(&clients[i], now);
}

/* To the end of each, or to where it waits to be told. */
static void run_clients(struct client *clients, int n)
{
    for (;;) {
        bool all = true;
        for (int i = 0; i < n; i++)
            all &= has_stopped(&clients[i]);
        if (all)
            return;
        step_all(clients, n, NEVER);
    }
}

/* --- Verdicts --------------------------------------------------------------------------------- */

struct stepped {
    int killed;
    long calls, call, instructions;
    char parked[4096]; /* numbers, each followed by a comma */
};

static struct stepped ask_stepped(const struct lane *lane)
{
    struct stepped stepped = {0};
    char answer[8192];
    char parked[4096] = "";

    TELL(lane, answer, "stepped");
    if (sscanf(answer, "killed=%d calls=%ld call=%ld instructions=%ld parked=%4095s",
            &stepped.killed, &stepped.calls, &stepped.call, &stepped.instructions, parked) < 4)
        errx(2, "killer: what is '%s'?", answer);
    snprintf(stepped.parked, sizeof(stepped.parked), ",%.4000s", parked);
    return stepped;
}

static bool is_parked(const struct stepped *stepped, int number)
{
    char wanted[16];

    snprintf(wanted, sizeof(wanted), ",%d,", number);
    return strstr(stepped->parked, wanted) != NULL;
}

static __attribute__((format(printf, 2, 3))) void complain(
    const struct lane *lane, const char *format, ...)
{
    char text[512];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    fprintf(stderr, "killer: lane %d: %s\n", lane->number, text);
}

/* What a reset is, is an end of stream for a UNIX socket. Whoever must get everything has no
 * excuse. */
static enum outcome excuse(const struct lane *lane, enum outcome outcome, bool must)
{
    return outcome == SHORT && !must && strcmp(lane->options->kind, "unix") == 0 ? RESET : outcome;
}

static void count(struct account *account, enum outcome outcome)
{
    account->whole += outcome == WHOLE;
    account->reset += outcome == RESET;
    account->too_short += outcome == SHORT;
    account->wrong += outcome == WRONG;
    account->hung += outcome == HUNG;
}

/* must: it had been stored, or nobody was killed. */
static void judge(struct lane *lane, const struct client *client, const struct stepped *stepped,
    long n, bool parked, bool must)
{
    struct account *account = &lane->account;
    enum outcome outcome = excuse(lane, client->outcome, must);

    count(account, outcome);
    account->parked += parked && outcome == WHOLE;
    if (outcome == RESET && must)
        account->lost++;
    if (outcome == RESET && n > account->last_reset)
        account->last_reset = n;
    if (outcome == WHOLE || (outcome == RESET && !must))
        return;
    complain(lane,
        "%s of %s, %zu of %zu bytes: N %ld, the last system call %ld, %ld instructions%s%s",
        outcome_names[client->outcome], client->script.name, client->received, client->script.size,
        n, stepped->call, stepped->instructions, parked ? ", parked" : "",
        stepped->killed ? "" : ", not killed");
}

/* Nothing of a client may stay behind in the store. */
static void look_for_left(struct lane *lane, long n)
{
    for (int64_t until = clock_now() + 5 * SECOND; count_stored(lane) > 0; poll(NULL, 0, 1))
        if (clock_now() > until) {
            complain(lane, "a socket is left in the store: N %ld", n);
            lane->account.left++;
            return;
        }
}

/* --- The ways --------------------------------------------------------------------------------- */

static void begin_step(struct lane *lane, const char *from, long n)
{
    char answer[4096];
    char number[24], instructions[24] = "0";

    snprintf(number, sizeof(number), "%ld", n);
    if (lane->options->where == BEFORE)
        snprintf(instructions, sizeof(instructions), "end");
    /* As likely among the first ten as among the thousands, since most stretches are short. */
    if (lane->options->where == BETWEEN)
        snprintf(instructions, sizeof(instructions), "%" PRIu64,
            1 + (next_random(&lane->random) >> 20) %
                    (UINT64_C(1) << (1 + next_random(&lane->random) % 13)));
    if (lane->instructions > 0)
        snprintf(instructions, sizeof(instructions), "%ld", lane->instructions);
    TELL(lane, answer, "step", from, number, instructions);
    if (!lane->options->twice)
        return;
    snprintf(number, sizeof(number), "%" PRIu64, 1 + next_random(&lane->random) % START_CALLS);
    TELL(lane, answer, "again", number);
}

static void open_clients(const struct lane *lane, struct client *clients)
{
    const struct options *options = lane->options;

    for (int i = 0; i < options->n_clients; i++)
        open_client(&clients[i], &options->clients[i], options->timeout);
}

static void judge_all(struct lane *lane, struct client *clients, long n, bool strictly)
{
    struct stepped stepped = ask_stepped(lane);

    for (int i = 0; i < lane->options->n_clients; i++) {
        bool parked = is_parked(&stepped, clients[i].number);
        judge(lane, &clients[i], &stepped, n, parked && stepped.killed,
            strictly || parked || !stepped.killed);
    }
    lane->stretch_over = !stepped.killed || stepped.instructions < lane->instructions;
    lane->account.kills += stepped.killed;
    if (stepped.killed && n > lane->account.calls)
        lane->account.calls = n;
}

static void wait_for_stored(struct lane *lane, long n)
{
    for (int64_t until = clock_now() + 10 * SECOND; count_stored(lane) < n; poll(NULL, 0, 1))
        if (clock_now() > until)
            errx(1, "killer: only %ld of %ld sockets are in the store", count_stored(lane), n);
}

/* Returns whether the process has lived to its N-th system call. */
static bool walk_once(struct lane *lane, long n)
{
    static const struct stepped nothing;
    struct client clients[MOST_CLIENTS];
    struct client other;
    long kills = lane->account.kills;

    fresh(lane);
    if (lane->options->warm) {
        open_client(&other, find_script("stops"), lane->options->timeout);
        run_clients(&other, 1);
        wait_for_stored(lane, 1);
    }
    begin_step(lane, "accept", n);
    open_clients(lane, clients);
    run_clients(clients, lane->options->n_clients);
    if (lane->options->warm) {
        go_on(&other);
        run_clients(&other, 1);
    }
    look_for_left(lane, n);
    if (lane->options->warm)
        judge(lane, &other, &nothing, 0, true, true);
    judge_all(lane, clients, n, false);
    return lane->account.kills > kills;
}

/* Those that fit are not stored before somebody asks for it. */
static long count_to_be_stored(const struct options *options)
{
    long n = 0;

    for (int i = 0; i < options->n_clients; i++)
        n += strncmp(options->clients[i].name, "fits", 4) != 0;
    return n;
}

static bool stop_once(struct lane *lane, long n)
{
    struct client clients[MOST_CLIENTS];
    char answer[4096];
    long kills = lane->account.kills;

    fresh(lane);
    open_clients(lane, clients);
    run_clients(clients, lane->options->n_clients);
    wait_for_stored(lane, count_to_be_stored(lane->options));
    long starts = ask(lane, "starts");
    begin_step(lane, "now", n);
    TELL(lane, answer, "kill", "TERM");
    wait_ready(lane, starts + 1);
    for (int i = 0; i < lane->options->n_clients; i++)
        go_on(&clients[i]);
    run_clients(clients, lane->options->n_clients);
    look_for_left(lane, n);
    judge_all(lane, clients, n, true);
    return lane->account.kills > kills;
}

/* The instructions from one system call to the next: every so many of them, and the last one. */
static void walk_stretch(struct lane *lane, long n, bool (*once)(struct lane *lane, long n))
{
    uint64_t every = (uint64_t)lane->options->every;

    lane->stretch_over = false;
    for (uint64_t at = 1 + next_random(&lane->random) % every; !lane->stretch_over; at += every) {
        lane->account.runs++;
        lane->instructions = (long)at;
        (void)once(lane, n);
    }
    lane->instructions = 0;
}

/* The numbers of this lane, until some in a row were never reached. */
static void walk(struct lane *lane, bool (*once)(struct lane *lane, long n))
{
    const struct options *options = lane->options;
    uint64_t random = options->seed; /* the same in each lane */
    long first = 1 + (long)(next_random(&random) % (uint64_t)options->stride);
    int beyond = 0;

    for (long n = first + lane->number * options->stride; n <= MOST_CALLS && beyond < BEYOND;
         n += options->lanes * options->stride) {
        lane->account.runs++;
        beyond = once(lane, n) ? 0 : beyond + 1;
        if (options->every > 0 && beyond == 0)
            walk_stretch(lane, n, once);
    }
}

/* Which have ended although they should still be there? Nobody else has been told to go on. */
static bool look_for_lost(struct lane *lane, struct client *clients, long n)
{
    for (int i = 0; i < lane->options->n_clients; i++) {
        int error = 0;
        socklen_t size = sizeof(error);
        if (clients[i].outcome == NONE &&
            getsockopt(clients[i].fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error == 0)
            continue;
        if (clients[i].outcome == WHOLE && clients[i].state == HOLDING)
            continue;
        complain(lane, "%s, which has stopped, is gone (%s, %s): N %ld of the start-up",
            clients[i].script.name, outcome_names[clients[i].outcome], strerror(error), n);
        return true;
    }
    return false;
}

/* Those that have stopped in mid-stream get some more, which the last process must send. */
static void read_more(struct client *clients, int n)
{
    for (int i = 0; i < n; i++) {
        struct client *client = &clients[i];
        if (client->state != STOPPED || client->script.size - client->received < 400000)
            continue;
        client->script.stop_at = client->received + 150000;
        client->state = READING;
        client->next_at = 0;
        client->deadline = clock_now() + 20 * SECOND;
    }
    run_clients(clients, n);
}

static void startup(struct lane *lane)
{
    const struct options *options = lane->options;
    static struct client clients[MOST_CLIENTS];
    char answer[4096];
    int beyond = 0;
    long n = 1 + lane->number * options->stride;

    fresh(lane);
    open_clients(lane, clients);
    run_clients(clients, options->n_clients);
    wait_for_stored(lane, count_to_be_stored(options));
    for (; n <= MOST_CALLS && beyond < BEYOND; n += options->lanes * options->stride) {
        long starts = ask(lane, "starts");
        /* Each death by itself: 20 in a row would be held against the table, struct table_header.
         */
        TELL(lane, answer, "poke", "@table", "24", "00000000");
        begin_step(lane, "main", n);
        TELL(lane, answer, "kill", "KILL");
        wait_ready(lane, starts + 1);
        read_more(clients, options->n_clients);
        struct stepped stepped = ask_stepped(lane);
        if (stepped.killed)
            wait_ready(lane, starts + 2);
        lane->account.runs++;
        lane->account.kills += stepped.killed;
        if (stepped.killed && n > lane->account.calls)
            lane->account.calls = n;
        beyond = stepped.killed ? 0 : beyond + 1;
        if (look_for_lost(lane, clients, n))
            break;
    }
    for (int i = 0; i < options->n_clients; i++)
        go_on(&clients[i]);
    run_clients(clients, options->n_clients);
    look_for_left(lane, n);
    struct stepped last = ask_stepped(lane);
    for (int i = 0; i < options->n_clients; i++)
        judge(lane, &clients[i], &last, n, true, true);
}

/* --- The storm -------------------------------------------------------------------------------- */

static const size_t storm_sizes[] = {
    4096, 16384, 65536, 262144, 1048576, 2097152, 4194304, 8388608};
#define STORM_SIZES ((int)(sizeof(storm_sizes) / sizeof(storm_sizes[0])))

static struct script any_script(struct lane *lane)
{
    static const int rcvbufs[] = {0, 0, 4096, 16384, 65536};
    uint64_t r = next_random(&lane->random);
    size_t size = storm_sizes[r % STORM_SIZES];
    struct script script = {.name = "of the storm",
        .size = size,
        .rcvbuf = rcvbufs[(r >> 8) % 5],
        .talk = (r >> 16) % 4 == 0 ? (r >> 20) % 100000 : 0,
        .half_close = (r >> 40) % 4 == 0,
        .piece = 1 << 18,
        .stop_at = NOWHERE,
        .hold = (r >> 44) % 4 == 0 ? (int)((r >> 46) % 50) : 0};

    /* From as fast as it goes to some two seconds; and with little room in some hundred pieces. */
    if ((r >> 52) % 4 > 0) {
        script.pause = 1 + (int)((r >> 54) % 10);
        script.piece = size / 200 + 1;
    }
    if (script.rcvbuf == 4096 && size > 262144)
        script.rcvbuf = 65536;
    if (script.half_close)
        script.talk = 0;
    return script;
}

static void storm(struct lane *lane)
{
    const struct options *options = lane->options;
    static struct client clients[MOST_CLIENTS];
    struct stepped none = {.killed = 1};
    int n = options->at_a_time < MOST_CLIENTS ? (int)options->at_a_time : MOST_CLIENTS;
    long begun = 0, over = 0;
    int64_t kill_at = 0;
    char answer[4096];

    fresh(lane);
    for (int i = 0; i < n; i++)
        clients[i].state = OVER;
    while (over < options->connections) {
        for (int i = 0; i < n && begun < options->connections; i++)
            if (clients[i].state == OVER) {
                struct script script = any_script(lane);
                open_client(&clients[i], &script, options->timeout);
                begun++;
            }
        step_all(clients, n, kill_at ? kill_at : NEVER);
        for (int i = 0; i < n; i++)
            if (clients[i].state == OVER && clients[i].outcome != NONE) {
                judge(lane, &clients[i], &none, 0, false, false);
                clients[i].outcome = NONE;
                over++;
            }
        /* Spread over all connections, and none before the first is over. */
        if (kill_at == 0 && lane->account.kills < options->kills &&
            (lane->account.kills + 1) * options->connections <= over * (options->kills + 1))
            kill_at = clock_now() + (int64_t)(next_random(&lane->random) % 30) * MILLISECOND;
        if (kill_at == 0 || clock_now() < kill_at)
            continue;
        kill_at = 0;
        if (ask(lane, "pid") == 0)
            continue;
        bool gently =
            options->gently > 0 && next_random(&lane->random) % (uint64_t)options->gently == 0;
        TELL(lane, answer, "kill", gently ? "TERM" : "KILL");
        lane->account.kills++;
    }
    lane->account.runs = options->connections;
    look_for_left(lane, 0);
}

/* --- All lanes -------------------------------------------------------------------------------- */

static void run_lane(struct lane *lane)
{
    const char *way = lane->options->way;

    start_keeper(lane);
    learn_addresses(lane);
    if (strcmp(way, "walk") == 0)
        walk(lane, walk_once);
    else if (strcmp(way, "stop") == 0)
        walk(lane, stop_once);
    else if (strcmp(way, "startup") == 0)
        startup(lane);
    else if (strcmp(way, "storm") == 0)
        storm(lane);
    else
        errx(2, "killer: what is '%s'?", way);
    kill(lane->keeper, SIGTERM);
    int status;
    check(waitpid(lane->keeper, &status, 0), "waitpid");
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        errx(2, "killer: keeper failed, see %s.err", lane->prefix);
}

static void add(struct account *sum, const struct account *one)
{
    sum->runs += one->runs;
    sum->kills += one->kills;
    sum->calls = one->calls > sum->calls ? one->calls : sum->calls;
    sum->whole += one->whole;
    sum->reset += one->reset;
    sum->parked += one->parked;
    sum->last_reset = one->last_reset > sum->last_reset ? one->last_reset : sum->last_reset;
    sum->too_short += one->too_short;
    sum->wrong += one->wrong;
    sum->hung += one->hung;
    sum->lost += one->lost;
    sum->left += one->left;
}

/* Each lane is a process of its own. Returns whether one has failed. */
static bool run_lanes(const struct options *options, struct account *sum)
{
    int ends[2];
    int failed = 0;

    check(pipe2(ends, O_CLOEXEC), "pipe2");
    for (int i = 0; i < options->lanes; i++) {
        pid_t pid = check(fork(), "fork");
        if (pid > 0)
            continue;
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        struct lane lane = {
            .options = options, .number = i, .random = options->seed + 1000003 * (uint64_t)i};
        run_lane(&lane);
        _exit(write(ends[1], &lane.account, sizeof(lane.account)) == sizeof(lane.account) ? 0 : 2);
    }
    close(ends[1]);
    for (struct account one; read(ends[0], &one, sizeof(one)) == sizeof(one);)
        add(sum, &one);
    for (int status; wait(&status) > 0;)
        failed |= status;
    close(ends[0]);
    return failed;
}

static void add_clients(struct options *options, char *name)
{
    char *star = strchr(name, '*');
    long n = star ? atol(star + 1) : 1;

    if (star)
        *star = '\0';
    const struct script *script = find_script(name);
    if (!script || n < 1 || options->n_clients + n > MOST_CLIENTS)
        errx(2, "killer: what clients are '%s'?", name);
    while (n-- > 0)
        options->clients[options->n_clients++] = *script;
}

static void take_argument(struct options *options, int c, const char *argument)
{
    static const char *const places[] = {"behind", "before", "between"};
    long number = atol(argument);

    switch (c) {
    case 'd':
        options->dir = argument;
        break;
    case 'L':
        options->kind = argument;
        break;
    case 'W':
        options->warm = true;
        break;
    case '2':
        options->twice = true;
        break;
    case 'l':
        options->lanes = (int)number;
        break;
    case 's':
        options->stride = number;
        break;
    case 'e':
        options->every = number;
        break;
    case 'w':
        for (enum where where = BEHIND; where <= BETWEEN; where++)
            if (strcmp(argument, places[where]) == 0) {
                options->where = where;
                return;
            }
        errx(2, "killer: where is '%s'?", argument);
    case 'n':
        options->connections = number;
        break;
    case 'k':
        options->kills = number;
        break;
    case 'c':
        options->at_a_time = number;
        break;
    case 'g':
        options->gently = number;
        break;
    case 'S':
        options->seed = (uint64_t)atoll(argument);
        break;
    case 't':
        options->timeout = number * SECOND;
        break;
    default:
        exit(2);
    }
}

static void parse(struct options *options, int argc, char **argv)
{
    static const struct option names[] = {
        {"dir", 1, NULL, 'd'},
        {"listen", 1, NULL, 'L'},
        {"warm", 0, NULL, 'W'},
        {"twice", 0, NULL, '2'},
        {"lanes", 1, NULL, 'l'},
        {"stride", 1, NULL, 's'},
        {"every", 1, NULL, 'e'},
        {"where", 1, NULL, 'w'},
        {"connections", 1, NULL, 'n'},
        {"kills", 1, NULL, 'k'},
        {"clients", 1, NULL, 'c'},
        {"gently", 1, NULL, 'g'},
        {"seed", 1, NULL, 'S'},
        {"timeout", 1, NULL, 't'},
        {0},
    };

    *options = (struct options){.kind = "tcp4",
        .lanes = 4,
        .stride = 1,
        .connections = 300,
        .kills = 30,
        .at_a_time = 40,
        .seed = (uint64_t)clock_now() % 1000000007,
        .timeout = 20 * SECOND};
    for (int c; (c = getopt_long(argc, argv, "+", names, NULL)) != -1;)
        take_argument(options, c, optarg ? optarg : "");
    if (optind < argc)
        options->way = argv[optind++];
    while (optind < argc && strcmp(argv[optind], "--") != 0)
        add_clients(options, argv[optind++]);
    if (optind + 1 >= argc || !options->dir)
        errx(2, "killer: [OPTION...] --dir=PATH WAY [CLIENT...] -- PROGRAM [ARGUMENT...]");
    options->program = argv + optind + 1;
}

/* keeper is where this program is. */
static const char *find_keeper(void)
{
    static char path[512];

    ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 8);
    check((int)n, "/proc/self/exe");
    path[n] = '\0';
    strcpy(strrchr(path, '/') + 1, "keeper");
    return path;
}

int main(int argc, char **argv)
{
    static struct options options;
    struct account sum = {0};
    char path[256];

    parse(&options, argc, argv);
    options.keeper = find_keeper();
    snprintf(path, sizeof(path), "%s/files", options.dir);
    check(mkdir(path, 0777), path);
    if (strcmp(options.way, "storm") == 0) {
        options.lanes = 1;
        for (int i = 0; i < STORM_SIZES; i++)
            make_file(&options, storm_sizes[i]);
    }
    if (options.warm)
        make_file(&options, find_script("stops")->size);
    for (int i = 0; i < options.n_clients; i++)
        make_file(&options, options.clients[i].size);

    bool failed = run_lanes(&options, &sum);
    printf("runs=%ld kills=%ld calls=%ld whole=%ld reset=%ld parked=%ld last_reset=%ld short=%ld "
           "wrong=%ld hung=%ld lost=%ld left=%ld seed=%" PRIu64 "\n",
        sum.runs, sum.kills, sum.calls, sum.whole, sum.reset, sum.parked, sum.last_reset,
        sum.too_short, sum.wrong, sum.hung, sum.lost, sum.left, options.seed);
    if (failed)
        return 2;
    return sum.too_short + sum.wrong + sum.hung + sum.lost + sum.left > 0;
}
