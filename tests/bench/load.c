/* SPDX-License-Identifier: MIT */
/*
 * load [OPTION...] ADDRESS[,WEIGHT,FILE]...
 *
 * Many clients in one process: each connects, receives to the end, and begins anew, until so many
 * connections are over. Then one line of key=value goes to standard output, and the status is 0 if
 * every connection was whole, 1 if not, 2 if it could not be tried.
 *
 * ADDRESS: tcp4=PORT, tcp6=PORT, unix=PATH, 127.X.Y.Z:PORT, [::1]:PORT, or @FILE: what that file
 * holds, once it is there. A server that does not listen yet is tried again, for --wait.
 * Where there are several, each connection draws one of them, as often as its WEIGHT says, and must
 * get the bytes of its FILE.
 *
 *   --clients=N           at a time (default 32)
 *   --connections=N       in total (default 10000); 0: only hold the stalled ones, until SIGTERM
 *   --file=PATH           what each must get, byte by byte
 *   --size=BYTES          (K, M, G) how many each must get; without either a clean end will do
 *   --request=TEXT        sent first; knows \r \n \t \\ \0 and \xHH
 *   --skip-header         what comes before the first empty line (HTTP) is not part of the file
 *   --spin                receive without ever sleeping, and drop the bytes in the kernel
 *   --copy                with --spin, and without --file: have the bytes copied all the same
 *   --rcvbuf=BYTES        SO_RCVBUF, set before the connect as the window depends on it
 *   --source=IPV4[/N]     connect from this address, or from N that follow one another (default: no
 *                         choice up to 20000 connections, and beyond that 127.0.0.1/16, as one
 *                         address runs out of ports)
 *   --gap=MIN/MAX         milliseconds between the end of a client's connection and its next
 *   --last=MIN/MAX        seconds: a connection reads at an even pace, such that it takes so long,
 *                         and has a receive buffer to match. 0.1 to 1 s is drawn as often as 1 to
 *                         10 s. Needs a size. Without it all read as fast as they can
 *   --fast=PERCENT        of those that read as fast as they can in spite of --last (default 0)
 *   --pauses              find out pause_ms= as well
 *   --seed=N              for all that is drawn (default: from the clock)
 *   --timeout=SECONDS     for everything together (default 120)
 *   --wait=SECONDS        for a server that does not listen yet (default 10)
 *   --stalled=N           first open so many more that never read, and keep them to the end
 *   --stalled-rcvbuf=BYTES
 *   --stalled-wait=WHAT   a stalled one is there when it has got data (the default), or is
 *                         connected
 *   --stalled-finish      at last they read, too, and count as connections
 *   --stall-file=PATH     made when all of those are there, before the first that reads
 *
 * SIGTERM: no connection begins any more, and those under way are brought to their end.
 *
 * What comes out:
 *
 *   connections=          how many were begun, or should have been when the time was over
 *   whole=                a clean end, and all bytes right
 *   reset=                ECONNRESET or EPIPE
 *   short=                a clean end too early: a broken promise
 *   wrong=                other bytes than those of --file, or more than there should be
 *   refused=              the connect failed
 *   timeout=              not over, or not begun, when --timeout was
 *   seconds= rate=        from the first connect to the last end; connections a second
 *   bytes= gbps=          without headers; 10^9 bytes (not bits) a second
 *   p50_ms= p99_ms= max_ms=  from the connect to the end of those that were whole
 *   cpu=                  seconds of this process; near to seconds=, it is itself the limit
 *   stalled= stalled_lost=   of the stalled ones, those that did not last to the end
 *   seed=
 *   reset_of=             where there are several addresses: reset= of each of them
 *   pause_ms=             with --pauses: the longest time for which one of those that were whole
 *                         wanted bytes and got none
 */
#include <arpa/inet.h>
#include <ctype.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define MILLISECOND     INT64_C(1000000)
#define SECOND          INT64_C(1000000000)
#define EVENTS          512
#define SAMPLES_MAX     (1 << 24)          /* of latencies: 64 MiB */
#define FEW_CONNECTIONS 20000              /* one address has 28,000 ports as a rule */
#define STALLED_BURST   256                /* fewer than any backlog that we meet */
#define TICK            (20 * MILLISECOND) /* as often a client that takes its time looks */
#define RCVBUF_LEAST    (1 << 14)          /* with less, the kernel's timers would make the pace */
#define TARGETS_MAX     16

enum outcome { WHOLE, RESET, SHORT, WRONG, REFUSED, TIMEOUT, OUTCOMES };

struct address {
    union {
        struct sockaddr any;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
        struct sockaddr_un un;
    };
    socklen_t length;
};

struct target {
    struct address address;
    uint64_t weight;
    const unsigned char *content; /* of its file, or NULL */
    uint64_t size;                /* UINT64_MAX: not known */
    uint64_t resets;
};

struct options {
    uint64_t clients;
    uint64_t connections;
    const char *file;
    uint64_t size; /* UINT64_MAX: not known */
    char *request;
    size_t request_size;
    bool skip_header;
    bool spin;
    bool copy;
    int rcvbuf;
    struct in_addr source; /* the first of them */
    uint32_t sources;
    int64_t gap_min, gap_max;  /* ns */
    double last_min, last_max; /* s; 0: as fast as they can */
    uint64_t fast;             /* percent */
    bool pauses;
    uint64_t seed;
    int64_t timeout, wait; /* ns */
    uint64_t stalled;
    int stalled_rcvbuf;
    bool stalled_data;
    bool stalled_finish;
    const char *stall_file;
};

struct client {
    struct target *target;
    int fd;            /* -1 between two connections */
    bool retried;      /* the connection has been tried, and begun stands */
    bool in_body;      /* the header is over, or there is none */
    unsigned newlines; /* in a row, at the end of what there is of the header */
    size_t requested;  /* bytes of the request that were sent */
    int error;         /* of sending it, or 0 */
    uint64_t received;
    double pace;     /* bytes a second; 0: as fast as it can */
    bool rests;      /* it has had what it was to get by now */
    int64_t waiting; /* since then; for --pauses */
    int64_t pause;   /* the longest so far */
    int64_t begun;
    int64_t due; /* when the next begins */
};

struct load {
    struct options options;
    struct target targets[TARGETS_MAX];
    size_t target_count;
    uint64_t weights; /* of all of them */
    int epoll;        /* -1 when spinning */
    struct client *clients;
    struct client **idle; /* those between two connections */
    size_t idle_count;
    uint64_t begun;
    uint64_t over;
    uint64_t outcomes[OUTCOMES];
    uint64_t bytes;
    float *samples; /* ms */
    size_t sample_count, sample_room;
    int64_t longest;
    int64_t longest_pause;
    int64_t next_tick;
    int64_t deadline;
    int64_t start, end;
    uint32_t next_source;
    uint64_t random;
    uint64_t stalled_lost;
};

static volatile sig_atomic_t stopping;
static unsigned char buffer[1 << 18];

static void on_term(int number)
{
    (void)number;
    stopping = 1;
}

static int64_t now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * SECOND + t.tv_nsec;
}

/* splitmix64: small, and as good as a gap between two connections needs. */
static uint64_t next_random(uint64_t *state)
{
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* Each as likely: 0 to 1, without 1. */
static double next_fraction(uint64_t *state)
{
    return (double)(next_random(state) >> 11) * 0x1p-53;
}

/* --- The command line ---------------------------------------------------------------------------
 */

static uint64_t parse_number(const char *text, const char *units)
{
    static const char all[] = "KMG";
    char *rest;

    errno = 0;
    uint64_t number = strtoull(text, &rest, 10);
    const char *unit = *rest && units[0] ? strchr(all, *rest) : NULL;
    if (unit)
        rest++;
    if (!isdigit((unsigned char)text[0]) || errno || *rest)
        errx(2, "load: '%s' is no number", text);
    return unit ? number << (10 * (unit - all + 1)) : number;
}

static int64_t parse_seconds(const char *text)
{
    char *rest;
    double seconds = strtod(text, &rest);

    if (*rest || rest == text || !(seconds >= 0 && seconds < 1e6))
        errx(2, "load: '%s' is no time in seconds", text);
    return (int64_t)(seconds * (double)SECOND);
}

static void parse_gap(struct options *options, const char *text)
{
    unsigned least, most;
    char rest;

    if (sscanf(text, "%u/%u%c", &least, &most, &rest) != 2 || most < least)
        errx(2, "load: '%s' is no MIN/MAX in milliseconds", text);
    options->gap_min = least * MILLISECOND;
    options->gap_max = most * MILLISECOND;
}

static void parse_last(struct options *options, const char *text)
{
    char rest;

    if (sscanf(text, "%lf/%lf%c", &options->last_min, &options->last_max, &rest) != 2 ||
        !(options->last_min > 0 && options->last_max >= options->last_min &&
            options->last_max < 1e6))
        errx(2, "load: '%s' is no MIN/MAX in seconds", text);
}

static bool is_loopback(struct in_addr address)
{
    return ntohl(address.s_addr) >> 24 == 127;
}

static void parse_source(struct options *options, const char *text)
{
    char name[64];
    const char *slash = strchr(text, '/');

    snprintf(name, sizeof(name), "%.*s", slash ? (int)(slash - text) : (int)strlen(text), text);
    options->sources = slash ? (uint32_t)parse_number(slash + 1, "") : 1;
    if (inet_pton(AF_INET, name, &options->source) != 1 || !is_loopback(options->source) ||
        options->sources == 0 || options->sources > 254)
        errx(2, "load: '%s' is no address of 127.0.0.0/8, or no number of them up to 254", text);
}

/* Returns one character of text, which points behind it then. */
static char unescape(const char **text)
{
    static const char letters[] = "rnt\\0\"", meanings[] = "\r\n\t\\\0\"";
    char c = *(*text)++;
    unsigned value;

    if (c != '\\')
        return c;
    c = *(*text)++;
    const char *letter = c ? strchr(letters, c) : NULL;
    if (letter)
        return meanings[letter - letters];
    if (c != 'x' || !isxdigit((unsigned char)(*text)[0]) || !isxdigit((unsigned char)(*text)[1]))
        errx(2, "load: an escape that is none in --request");
    sscanf(*text, "%2x", &value);
    *text += 2;
    return (char)value;
}

static void parse_request(struct options *options, const char *text)
{
    options->request = malloc(strlen(text) + 1);
    if (!options->request)
        err(2, "load");
    while (*text)
        options->request[options->request_size++] = unescape(&text);
}

static bool parse_until(const char *text)
{
    if (strcmp(text, "data") != 0 && strcmp(text, "connect") != 0)
        errx(2, "load: --stalled-wait is data or connect");
    return text[0] == 'd';
}

static void parse_options(struct options *options, int argc, char **argv)
{
    static const struct option names[] = {
        {"clients", 1, NULL, 'c'},
        {"connections", 1, NULL, 'n'},
        {"file", 1, NULL, 'f'},
        {"size", 1, NULL, 'z'},
        {"request", 1, NULL, 'r'},
        {"skip-header", 0, NULL, 'H'},
        {"spin", 0, NULL, 's'},
        {"copy", 0, NULL, 'C'},
        {"rcvbuf", 1, NULL, 'b'},
        {"source", 1, NULL, 'S'},
        {"gap", 1, NULL, 'g'},
        {"last", 1, NULL, 'l'},
        {"fast", 1, NULL, 'q'},
        {"pauses", 0, NULL, 'p'},
        {"seed", 1, NULL, 'e'},
        {"timeout", 1, NULL, 't'},
        {"wait", 1, NULL, 'w'},
        {"stalled", 1, NULL, 'N'},
        {"stalled-rcvbuf", 1, NULL, 'B'},
        {"stalled-wait", 1, NULL, 'W'},
        {"stalled-finish", 0, NULL, 'L'},
        {"stall-file", 1, NULL, 'F'},
        {0},
    };

    *options = (struct options){
        .clients = 32,
        .connections = 10000,
        .size = UINT64_MAX,
        .source.s_addr = htonl(INADDR_LOOPBACK),
        .seed = (uint64_t)now(),
        .timeout = 120 * SECOND,
        .wait = 10 * SECOND,
        .stalled_data = true,
    };
    for (int c; (c = getopt_long(argc, argv, "+", names, NULL)) != -1;) {
        switch (c) {
        case 'c':
            options->clients = parse_number(optarg, "");
            break;
        case 'n':
            options->connections = parse_number(optarg, "");
            break;
        case 'f':
            options->file = optarg;
            break;
        case 'z':
            options->size = parse_number(optarg, "KMG");
            break;
        case 'r':
            parse_request(options, optarg);
            break;
        case 'H':
            options->skip_header = true;
            break;
        case 's':
            options->spin = true;
            break;
        case 'C':
            options->copy = true;
            break;
        case 'b':
            options->rcvbuf = (int)parse_number(optarg, "KM");
            break;
        case 'S':
            parse_source(options, optarg);
            break;
        case 'g':
            parse_gap(options, optarg);
            break;
        case 'l':
            parse_last(options, optarg);
            break;
        case 'q':
            options->fast = parse_number(optarg, "");
            break;
        case 'p':
            options->pauses = true;
            break;
        case 'e':
            options->seed = parse_number(optarg, "");
            break;
        case 't':
            options->timeout = parse_seconds(optarg);
            break;
        case 'w':
            options->wait = parse_seconds(optarg);
            break;
        case 'N':
            options->stalled = parse_number(optarg, "");
            break;
        case 'B':
            options->stalled_rcvbuf = (int)parse_number(optarg, "KM");
            break;
        case 'W':
            options->stalled_data = parse_until(optarg);
            break;
        case 'L':
            options->stalled_finish = true;
            break;
        case 'F':
            options->stall_file = optarg;
            break;
        default:
            exit(2);
        }
    }
    if (optind == argc || argc - optind > TARGETS_MAX)
        errx(2, "load: it takes an ADDRESS, and at most %d of them", TARGETS_MAX);
    if (options->spin && (options->last_max > 0 || options->stalled_finish))
        errx(2, "load: --spin does not go with --last or --stalled-finish");
    if (options->sources == 0 && options->connections + options->stalled > FEW_CONNECTIONS)
        options->sources = 16;
    if (options->clients == 0 || options->clients > 100000 || options->stalled > 100000)
        errx(2, "load: --clients is 1 to 100000, --stalled at most that");
}

static void map_file(struct target *target, const char *path)
{
    struct stat status;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0 || fstat(fd, &status) < 0)
        err(2, "load: %s", path);
    target->size = (uint64_t)status.st_size;
    target->content = (const unsigned char *)""; /* for a size of 0, which mmap(2) does not take */
    if (status.st_size > 0) {
        void *map = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (map == MAP_FAILED)
            err(2, "load: %s", path);
        target->content = map;
    }
    close(fd);
}

static void read_address(const char *path, char *text, int size, int64_t deadline)
{
    while (access(path, F_OK) != 0) {
        if (now() >= deadline)
            errx(2, "load: %s never came", path);
        poll(NULL, 0, 5);
    }
    FILE *stream = fopen(path, "r");
    if (!stream || !fgets(text, size, stream))
        err(2, "load: %s", path);
    fclose(stream);
    text[strcspn(text, "\n")] = '\0';
}

static in_port_t parse_port(const char *text)
{
    uint64_t port = parse_number(text, "");

    if (port == 0 || port > UINT16_MAX)
        errx(2, "load: '%s' is no port", text);
    return htons((uint16_t)port);
}

static void parse_address(struct address *address, const char *text)
{
    char host[64];
    const char *colon = strrchr(text, ':');

    *address = (struct address){0};
    if (strncmp(text, "unix=", 5) == 0) {
        address->un.sun_family = AF_UNIX;
        if (strlen(text + 5) >= sizeof(address->un.sun_path))
            errx(2, "load: '%s' is too long a path", text + 5);
        strcpy(address->un.sun_path, text + 5);
        address->length = sizeof(address->un);
        return;
    }
    if (strncmp(text, "tcp6=", 5) == 0 || strncmp(text, "[::1]:", 6) == 0) {
        address->in6.sin6_family = AF_INET6;
        address->in6.sin6_addr = in6addr_loopback;
        address->in6.sin6_port = parse_port(text + (text[0] == 't' ? 5 : 6));
        address->length = sizeof(address->in6);
        return;
    }
    address->in.sin_family = AF_INET;
    address->length = sizeof(address->in);
    if (strncmp(text, "tcp4=", 5) == 0) {
        address->in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        address->in.sin_port = parse_port(text + 5);
        return;
    }
    snprintf(host, sizeof(host), "%.*s", colon ? (int)(colon - text) : 0, text);
    if (inet_pton(AF_INET, host, &address->in.sin_addr) != 1 || !is_loopback(address->in.sin_addr))
        errx(2, "load: '%s' is no ADDRESS of this machine alone", text);
    address->in.sin_port = parse_port(colon + 1);
}

/* ADDRESS or ADDRESS,WEIGHT,FILE */
static void add_target(struct load *load, const char *argument)
{
    const struct options *options = &load->options;
    struct target *target = &load->targets[load->target_count++];
    char words[512], text[256];
    char *rest = words;

    if (snprintf(words, sizeof(words), "%s", argument) >= (int)sizeof(words))
        errx(2, "load: '%s' is too long", argument);
    const char *address = strsep(&rest, ",");
    const char *weight = strsep(&rest, ",");
    *target = (struct target){.weight = 1, .size = options->size};
    if (weight) {
        target->weight = parse_number(weight, "");
        if (!rest || target->weight == 0 || options->file || options->size != UINT64_MAX)
            errx(2, "load: '%s' is no ADDRESS,WEIGHT,FILE without --file and --size", argument);
        map_file(target, rest);
    } else if (options->file) {
        map_file(target, options->file);
    }
    load->weights += target->weight;

    if (snprintf(text, sizeof(text), "%s", address) >= (int)sizeof(text))
        errx(2, "load: '%s' is too long", address);
    if (text[0] == '@')
        read_address(address + 1, text, sizeof(text), load->deadline);
    parse_address(&target->address, text);
}

/* --- One connection -----------------------------------------------------------------------------
 */

static void draw_target(struct load *load, struct client *client)
{
    client->target = load->targets;
    if (load->target_count == 1)
        return;
    uint64_t at = next_random(&load->random) % load->weights;
    while (at >= client->target->weight)
        at -= client->target++->weight;
}

static void draw_pace(struct load *load, struct client *client)
{
    const struct options *options = &load->options;

    client->pace = 0;
    if (options->last_max <= 0 || client->target->size == UINT64_MAX ||
        next_random(&load->random) % 100 < options->fast)
        return;
    double seconds = options->last_min *
                     pow(options->last_max / options->last_min, next_fraction(&load->random));
    client->pace = (double)client->target->size / seconds;
}

/* A tenth of a second, as on a line of that speed: or the kernel would take it all at once. */
static int rcvbuf_of(const struct load *load, const struct client *client)
{
    double bytes = client->pace / 10;

    if (client->pace <= 0 || load->options.rcvbuf > 0 || bytes > INT_MAX / 2)
        return load->options.rcvbuf;
    return bytes > RCVBUF_LEAST ? (int)bytes : RCVBUF_LEAST;
}

/* How many bytes it may have at once, not to be ahead of its pace. */
static size_t allowance(const struct client *client, int64_t at)
{
    double bytes =
        client->pace * (double)(at - client->begun) / (double)SECOND - (double)client->received;

    if (client->pace <= 0 || bytes > (double)sizeof(buffer))
        return sizeof(buffer);
    return bytes > 0 ? (size_t)bytes : 0;
}

/*
 * Each from the next source, so that 100,000 connections find a free port whichever side keeps
 * TIME_WAIT. The port is left to connect(2), which may share it between servers. Not for fewer, as
 * the two calls cost a twentieth of a short connection.
 */
static void bind_source(struct load *load, const struct address *to, int fd)
{
    struct sockaddr_in in = {.sin_family = AF_INET};
    int on = 1;

    if (to->any.sa_family != AF_INET || load->options.sources == 0)
        return;
    in.sin_addr.s_addr = htonl(ntohl(load->options.source.s_addr) + load->next_source);
    load->next_source = (load->next_source + 1) % load->options.sources;
    if (setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on)) < 0 ||
        bind(fd, &in, sizeof(in)) < 0)
        err(2, "load: bind");
}

/* Returns a socket that is connected or under way to it, or a negative errno. */
static int open_connection(struct load *load, const struct address *to, int rcvbuf)
{
    int fd = socket(to->any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        err(2, "load: socket");
    if (rcvbuf > 0 && setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &rcvbuf, sizeof(rcvbuf)) < 0)
        err(2, "load: SO_RCVBUF");
    bind_source(load, to, fd);
    if (connect(fd, &to->any, to->length) == 0 || errno == EINPROGRESS)
        return fd;
    int error = -errno;
    close(fd);
    return error;
}

/* Returns the descriptor, or a negative errno, once it is known whether it is connected. */
static int settle(int fd, int64_t deadline)
{
    struct pollfd wait = {.fd = fd, .events = POLLOUT};
    int error = 0;
    socklen_t length = sizeof(error);

    while (poll(&wait, 1, 100) <= 0)
        if (stopping || now() >= deadline)
            return fd; /* not known; --timeout will tell */
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) == 0 && error == 0)
        return fd;
    close(fd);
    return error ? -error : -EIO;
}

/* The very first connection is tried until the server is there; the clock starts with it. */
static int open_first(struct load *load, const struct address *to, int rcvbuf)
{
    int64_t end = now() + load->options.wait;

    if (end > load->deadline)
        end = load->deadline;
    for (;;) {
        load->start = now();
        int fd = open_connection(load, to, rcvbuf);
        if (fd >= 0)
            fd = settle(fd, load->deadline);
        if ((fd != -ECONNREFUSED && fd != -ENOENT) || now() >= end || stopping)
            return fd;
        poll(NULL, 0, 2);
    }
}

/*
 * Returns whether the whole request is on its way. An error is kept: the kernel tells it only once,
 * and a recv(2) after that would say that the stream has ended.
 */
static bool send_request(struct load *load, struct client *client)
{
    const struct options *options = &load->options;

    if (client->error || client->requested == options->request_size)
        return !client->error;
    ssize_t n = send(client->fd, options->request + client->requested,
        options->request_size - client->requested, MSG_NOSIGNAL);
    if (n > 0)
        client->requested += (size_t)n;
    else if (errno != EAGAIN && errno != EINTR)
        client->error = errno;
    return client->requested == options->request_size;
}

static void watch(struct load *load, int operation, struct client *client, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = client};

    if (load->epoll >= 0 && epoll_ctl(load->epoll, operation, client->fd, &event) < 0)
        err(2, "load: epoll_ctl");
}

/* Skips what belongs to the header, and returns how many of the bytes that was. */
static size_t skip_header(struct client *client, const unsigned char *data, size_t size)
{
    size_t i;

    for (i = 0; i < size && !client->in_body; i++) {
        if (data[i] == '\n')
            client->newlines++;
        else if (data[i] != '\r')
            client->newlines = 0;
        client->in_body = client->newlines == 2;
    }
    return i;
}

/* Returns whether these bytes are those that had to come. */
static bool is_right(const struct client *client, const unsigned char *data, size_t size)
{
    const struct target *target = client->target;

    if (target->size == UINT64_MAX)
        return true;
    if (size > target->size - client->received)
        return false;
    return !target->content || memcmp(data, target->content + client->received, size) == 0;
}

static void keep_sample(struct load *load, int64_t duration)
{
    if (duration > load->longest)
        load->longest = duration;
    if (load->sample_count == load->sample_room) {
        if (load->sample_room == SAMPLES_MAX)
            return;
        load->sample_room = load->sample_room ? 2 * load->sample_room : 1 << 16;
        load->samples = realloc(load->samples, load->sample_room * sizeof(*load->samples));
        if (!load->samples)
            err(2, "load");
    }
    load->samples[load->sample_count++] = (float)duration / (float)MILLISECOND;
}

static void finish(struct load *load, struct client *client, enum outcome outcome)
{
    const struct options *options = &load->options;

    if (client->fd >= 0)
        close(client->fd); /* takes it out of the epoll set */
    client->fd = -1;
    client->retried = false;
    load->end = now();
    load->over++;
    load->outcomes[outcome]++;
    client->target->resets += outcome == RESET;
    if (outcome == WHOLE)
        keep_sample(load, load->end - client->begun);
    if (outcome == WHOLE && client->pause > load->longest_pause)
        load->longest_pause = client->pause;
    client->due = load->end + options->gap_min;
    if (options->gap_max > options->gap_min)
        client->due +=
            (int64_t)(next_random(&load->random) % (uint64_t)(options->gap_max - options->gap_min));
    load->idle[load->idle_count++] = client;
}

static enum outcome outcome_of(int error)
{
    if (error == ECONNRESET || error == EPIPE)
        return RESET;
    if (error == ETIMEDOUT)
        return TIMEOUT;
    if (error == ECONNREFUSED || error == ENOENT || error == EHOSTUNREACH)
        return REFUSED;
    errno = error;
    err(2, "load: an error that no server causes");
}

/* Something, or nothing, came to one that wanted it. */
static void note_pause(struct load *load, struct client *client)
{
    int64_t at;

    if (!load->options.pauses)
        return;
    at = now();
    if (client->waiting > 0 && at - client->waiting > client->pause)
        client->pause = at - client->waiting;
    client->waiting = at;
}

/* It wants no more before its time has come; epoll(7) tells of a reset all the same. */
static void rest(struct load *load, struct client *client)
{
    client->rests = true;
    client->waiting = 0;
    watch(load, EPOLL_CTL_MOD, client, 0);
}

static void receive(struct load *load, struct client *client)
{
    const struct options *options = &load->options;
    const struct target *target = client->target;
    bool dropped = options->spin && !options->copy && !target->content;
    int64_t at = client->pace > 0 ? now() : 0;

    if (client->error) {
        finish(load, client, outcome_of(client->error));
        return;
    }
    do {
        size_t most = sizeof(buffer);
        if (client->pace > 0 && !client->rests && client->received < target->size)
            most = allowance(client, at);
        if (most == 0) {
            rest(load, client);
            return;
        }
        /* A header has to be looked at, and less than one comes in each call then. */
        int flags = MSG_DONTWAIT | (dropped && client->in_body ? MSG_TRUNC : 0);
        ssize_t n = recv(client->fd, buffer, most, flags);
        note_pause(load, client);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (n < 0) {
            finish(load, client, outcome_of(errno));
            return;
        }
        if (n == 0) {
            bool all =
                client->in_body && (target->size == UINT64_MAX || client->received == target->size);
            finish(load, client, all ? WHOLE : SHORT);
            return;
        }
        size_t header = skip_header(client, buffer, (size_t)n);
        size_t size = (size_t)n - header;
        if (!is_right(client, buffer + header, size)) {
            finish(load, client, WRONG);
            return;
        }
        client->received += size;
        load->bytes += size;
        /* The end often comes right behind the last byte, and spares a turn of the loop. */
    } while (client->received == target->size || client->pace > 0);
}

/* What connect(2) said to a connection that did not even begin. */
static void fail_to_begin(struct load *load, struct client *client, int error)
{
    /*
     * EAGAIN: the backlog of a UNIX socket is full, which is the server's doing: its time counts.
     * EADDRNOTAVAIL: all ports of this source are in use, which is ours: it does not.
     */
    if (error != EAGAIN && error != EADDRNOTAVAIL) {
        finish(load, client, outcome_of(error));
        return;
    }
    client->retried = error == EAGAIN;
    client->due = now() + MILLISECOND;
    load->begun--;
    load->idle[load->idle_count++] = client;
}

static void prepare(const struct load *load, struct client *client)
{
    client->received = 0;
    client->requested = 0;
    client->error = 0;
    client->newlines = 0;
    client->in_body = !load->options.skip_header;
    client->rests = false;
    client->waiting = 0;
    client->pause = 0;
}

static void begin(struct load *load, struct client *client)
{
    if (!client->retried) {
        client->begun = now();
        draw_target(load, client);
        draw_pace(load, client);
    }
    prepare(load, client);
    const struct address *to = &client->target->address;
    int rcvbuf = rcvbuf_of(load, client);
    int fd = load->begun++ == 0 && load->start == 0 ? open_first(load, to, rcvbuf)
                                                    : open_connection(load, to, rcvbuf);
    if (client->begun < load->start)
        client->begun = load->start;
    if (fd < 0) {
        fail_to_begin(load, client, -fd);
        return;
    }
    client->fd = fd;
    client->waiting = client->begun;
    bool requested = send_request(load, client);
    watch(load, EPOLL_CTL_ADD, client, EPOLLIN | (requested ? 0U : (uint32_t)EPOLLOUT));
}

static void handle(struct load *load, struct client *client, uint32_t events)
{
    if (events & EPOLLOUT && send_request(load, client))
        watch(load, EPOLL_CTL_MOD, client, EPOLLIN);
    if (client->error || events & (EPOLLIN | EPOLLERR | EPOLLHUP))
        receive(load, client);
}

/* --- All of them --------------------------------------------------------------------------------
 */

/* Those whose time to read has come do so. Returns when to look again. */
static int64_t end_rests(struct load *load)
{
    int64_t at = now();

    if (load->options.last_max <= 0)
        return load->deadline;
    if (at < load->next_tick)
        return load->next_tick;
    load->next_tick = at + TICK;
    for (uint64_t i = 0; i < load->options.clients; i++) {
        struct client *client = &load->clients[i];
        if (client->fd < 0 || !client->rests || allowance(client, at) == 0)
            continue;
        client->rests = false;
        client->waiting = at;
        watch(load, EPOLL_CTL_MOD, client, EPOLLIN);
    }
    return load->next_tick;
}

static uint64_t wanted(const struct load *load)
{
    return stopping ? load->begun : load->options.connections;
}

/* Begins what is due, and returns when the next one is. */
static int64_t begin_idle(struct load *load)
{
    int64_t next = load->deadline, at = now();

    /* Those that fail at once come back at the end, and are due later or have their turn. */
    for (size_t i = load->idle_count; i-- > 0;) {
        struct client *client = load->idle[i];
        if (load->begun >= wanted(load))
            return load->deadline;
        if (client->due > at) {
            next = client->due < next ? client->due : next;
            continue;
        }
        load->idle[i] = load->idle[--load->idle_count];
        size_t count = load->idle_count;
        begin(load, client);
        if (load->idle_count > count)
            next = client->due < next ? client->due : next;
    }
    return next;
}

static void run_spinning(struct load *load)
{
    while (load->over < wanted(load) && now() < load->deadline) {
        begin_idle(load);
        for (uint64_t i = 0; i < load->options.clients; i++) {
            struct client *client = &load->clients[i];
            if (client->fd < 0)
                continue;
            send_request(load, client);
            receive(load, client);
        }
    }
}

/* SIGTERM is let in only where it ends the waiting, or it could come just before that. */
static int wait_for_events(struct load *load, struct epoll_event *events, int64_t until)
{
    sigset_t none;
    int64_t left = until - now();

    sigemptyset(&none);
    if (left < 0)
        left = 0;
    int n = epoll_pwait(
        load->epoll, events, EVENTS, (int)((left + MILLISECOND - 1) / MILLISECOND), &none);
    if (n < 0 && errno != EINTR)
        err(2, "load: epoll_pwait");
    return n < 0 ? 0 : n;
}

static void run_sleeping(struct load *load)
{
    static struct epoll_event events[EVENTS];

    for (;;) {
        int64_t next = begin_idle(load), tick = end_rests(load);
        if (load->over >= wanted(load) || now() >= load->deadline)
            return;
        int n = wait_for_events(load, events, tick < next ? tick : next);
        for (int i = 0; i < n; i++)
            handle(load, events[i].data.ptr, events[i].events);
    }
}

static void run(struct load *load)
{
    for (uint64_t i = 0; i < load->options.clients; i++) {
        load->clients[i].fd = -1;
        load->idle[load->idle_count++] = &load->clients[i];
    }
    if (load->options.spin)
        run_spinning(load);
    else
        run_sleeping(load);
}

static void count_missing(struct load *load)
{
    if (load->over < wanted(load)) {
        load->outcomes[TIMEOUT] += wanted(load) - load->over;
        load->end = now();
    }
}

/* --- Those that never read ----------------------------------------------------------------------
 */

static bool is_there(const struct load *load, const struct client *client, uint32_t events)
{
    char byte;

    if (events & (EPOLLERR | EPOLLHUP))
        return false;
    return !load->options.stalled_data || recv(client->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 1;
}

/* Returns whether it could be begun; if not, it can be tried again a moment later. */
static bool begin_stalled(struct load *load, struct client *client)
{
    int rcvbuf = load->options.stalled_rcvbuf;

    draw_target(load, client);
    prepare(load, client);
    client->begun = now();
    const struct address *to = &client->target->address;
    int fd = load->start == 0 ? open_first(load, to, rcvbuf) : open_connection(load, to, rcvbuf);
    if (fd == -EAGAIN || fd == -EADDRNOTAVAIL)
        return false;
    if (fd < 0)
        errx(2, "load: a stalled client: %s", strerror(-fd));
    client->fd = fd;
    bool requested = send_request(load, client);
    bool out = !requested || !load->options.stalled_data;
    watch(load, EPOLL_CTL_ADD, client,
        (load->options.stalled_data ? (uint32_t)EPOLLIN : 0U) | (out ? (uint32_t)EPOLLOUT : 0U));
    return true;
}

static bool settle_stalled(struct load *load, struct client *client, uint32_t events)
{
    bool requested = send_request(load, client);

    if (load->options.stalled_data && !(events & ~(uint32_t)EPOLLOUT)) {
        if (requested)
            watch(load, EPOLL_CTL_MOD, client, EPOLLIN);
        return false;
    }
    if (!is_there(load, client, events))
        errx(2, "load: a stalled client was not served");
    if (requested)
        watch(load, EPOLL_CTL_DEL, client, 0);
    return requested;
}

static struct client *open_stalled(struct load *load)
{
    static struct epoll_event events[EVENTS];
    const struct options *options = &load->options;
    struct client *all = calloc(options->stalled + 1, sizeof(*all));
    uint64_t begun = 0, there = 0;

    if (!all)
        err(2, "load");
    while (there < options->stalled) {
        bool again = false;
        while (!again && begun < options->stalled && begun - there < STALLED_BURST) {
            again = !begin_stalled(load, &all[begun]);
            begun += !again;
        }
        int n = wait_for_events(load, events, again ? now() + MILLISECOND : load->deadline);
        for (int i = 0; i < n; i++)
            there += settle_stalled(load, events[i].data.ptr, events[i].events);
        if (stopping || (there < options->stalled && now() >= load->deadline))
            errx(2, "load: only %" PRIu64 " of the stalled clients were served in time", there);
    }
    if (options->stall_file) {
        int fd = open(options->stall_file, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
        if (fd < 0)
            err(2, "load: %s", options->stall_file);
        close(fd);
    }
    return all;
}

static void hold_stalled(struct load *load)
{
    struct epoll_event event;

    while (!stopping && now() < load->deadline)
        wait_for_events(load, &event, load->deadline);
}

/* The clients of before have ended, and nothing is begun any more. */
static void finish_stalled(struct load *load, struct client *all)
{
    load->options.connections += load->options.stalled;
    load->begun += load->options.stalled;
    for (uint64_t i = 0; i < load->options.stalled; i++)
        watch(load, EPOLL_CTL_ADD, &all[i], EPOLLIN);
    run_sleeping(load);
}

static void close_stalled(struct load *load, struct client *all)
{
    for (uint64_t i = 0; i < load->options.stalled; i++) {
        struct pollfd wait = {.fd = all[i].fd, .events = POLLRDHUP};
        if (all[i].fd < 0)
            continue;
        load->stalled_lost += poll(&wait, 1, 0) > 0;
        close(all[i].fd);
    }
    free(all);
}

/* --- The account --------------------------------------------------------------------------------
 */

static int compare_samples(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;

    return (x > y) - (x < y);
}

/* By the nearest rank. */
static double percentile(const struct load *load, size_t percent)
{
    if (load->sample_count == 0)
        return 0;
    return (double)load->samples[(load->sample_count * percent + 99) / 100 - 1];
}

static double own_cpu(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static void print(struct load *load)
{
    static const char *const names[OUTCOMES] = {
        "whole", "reset", "short", "wrong", "refused", "timeout"};
    double seconds =
        load->end > load->start ? (double)(load->end - load->start) / (double)SECOND : 0;

    if (load->sample_count > 0)
        qsort(load->samples, load->sample_count, sizeof(*load->samples), compare_samples);
    printf("connections=%" PRIu64, wanted(load));
    for (int i = 0; i < OUTCOMES; i++)
        printf(" %s=%" PRIu64, names[i], load->outcomes[i]);
    printf(" seconds=%.6f rate=%.1f", seconds, seconds > 0 ? (double)load->over / seconds : 0);
    printf(" bytes=%" PRIu64 " gbps=%.3f", load->bytes,
        seconds > 0 ? (double)load->bytes / seconds / 1e9 : 0);
    printf(" p50_ms=%.3f p99_ms=%.3f max_ms=%.3f", percentile(load, 50), percentile(load, 99),
        (double)load->longest / (double)MILLISECOND);
    printf(" cpu=%.3f stalled=%" PRIu64 " stalled_lost=%" PRIu64 " seed=%" PRIu64, own_cpu(),
        load->options.stalled, load->stalled_lost, load->options.seed);
    for (size_t i = 0; load->target_count > 1 && i < load->target_count; i++)
        printf("%s%" PRIu64, i == 0 ? " reset_of=" : "/", load->targets[i].resets);
    if (load->options.pauses)
        printf(" pause_ms=%.3f", (double)load->longest_pause / (double)MILLISECOND);
    putchar('\n');
}

static void take_signals(bool spinning)
{
    struct sigaction action = {.sa_handler = on_term};
    sigset_t term;

    sigaction(SIGTERM, &action, NULL);
    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    /* Spinning looks at the flag each turn; sleeping must not miss it (see wait_for_events). */
    sigprocmask(spinning ? SIG_UNBLOCK : SIG_BLOCK, &term, NULL);
}

static void raise_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        err(2, "load: getrlimit");
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
        err(2, "load: setrlimit");
}

int main(int argc, char **argv)
{
    static struct load load;

    parse_options(&load.options, argc, argv);
    load.deadline = now() + load.options.timeout;
    for (int i = optind; i < argc; i++)
        add_target(&load, argv[i]);
    raise_limit();
    load.random = load.options.seed;
    load.clients = calloc(load.options.clients, sizeof(*load.clients));
    load.idle = calloc(load.options.clients + load.options.stalled, sizeof(struct client *));
    load.epoll = epoll_create1(EPOLL_CLOEXEC);
    if (!load.clients || !load.idle || load.epoll < 0)
        err(2, "load");

    take_signals(false);
    struct client *stalled = open_stalled(&load);
    if (load.options.connections > 0) {
        if (load.options.stalled > 0)
            load.start = now();
        if (load.options.spin) {
            close(load.epoll);
            load.epoll = -1;
            take_signals(true);
        }
        run(&load);
    } else {
        hold_stalled(&load);
    }
    if (load.options.stalled_finish)
        finish_stalled(&load, stalled);
    count_missing(&load);
    close_stalled(&load, stalled);
    print(&load);
    return load.outcomes[WHOLE] == wanted(&load) && load.stalled_lost == 0 ? 0 : 1;
}
