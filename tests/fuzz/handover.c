/* SPDX-License-Identifier: MIT */
/*
 * What a supervisor hands over is an environment and whatever lies at the descriptors. If decant
 * takes one for another, a log line ends in a client's stream, a client that should be reset sees
 * the end of an empty file, or descriptors run out one client at a time.
 *
 * The input is text, a line each:
 *
 *   NAME=VALUE    of the environment; $P is the process, $N its notify socket, $J the device and
 *                 inode of descriptor 2
 *   FD:KIND       what lies at that descriptor, 0 to 31; KIND is a letter of kinds[] below, or a
 *                 number: the same as at that descriptor
 *   !             afterwards, what waits in the queues is refused
 *   /PATH         FILE of the command line, which is looked at when all has been taken
 *   %N            the soft limit of descriptors is N when decant takes over
 */
#include "handover.h"
#include "options.h"
#include "source.h"
#include "store.h"
#include "systemd.h"
#include "table.h"
#include "world.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <sysexits.h>
#include <unistd.h>

#define MOST_PLACES 32

/* What a client may see, when all is over, and none got a byte of ours. */
enum nature { NOTHING, CONNECTION, RESET_BEFORE, QUEUE, SPOILED };

struct place {
    int fd;     /* lifted; -1: nothing is placed here */
    int client; /* the other end, lifted; -1 */
    int kept;   /* a duplicate, as systemd's store has it; lifted; -1 */
    int same;   /* as that place; -1 */
    enum nature nature;
    bool is_tcp;
    bool stored; /* taken for the store's */
    bool over;   /* the client has seen its reset, which is told once */
};

static struct place places[MOST_PLACES];
static int notify = -1; /* what NOTIFY_SOCKET=$N names */
static char notify_name[40];
static char pid[16];
static char journal[64];
static int file = -1;
static bool tight; /* there may be no descriptor for /dev/null, nor for accept4(2) */

static const char *const understood[] = {"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES",
    "JOURNAL_STREAM", "REMOTE_ADDR", "REMOTE_PORT", "TCPREMOTEIP", "TCPREMOTEPORT", "NOTIFY_SOCKET",
    "WATCHDOG_PID", "WATCHDOG_USEC", "FDSTORE"};

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    socklen_t size = sizeof(address);

    world_init();
    notify = world_lift(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    CHECK(bind(notify, (struct sockaddr *)&address, sizeof(sa_family_t)) == 0, "bind");
    CHECK(getsockname(notify, (struct sockaddr *)&address, &size) == 0, "getsockname");
    (void)snprintf(notify_name, sizeof(notify_name), "@%.*s", (int)(size - sizeof(sa_family_t) - 1),
        address.sun_path + 1);
    (void)snprintf(pid, sizeof(pid), "%d", getpid());
    file = world_memory("some content", 12);
    return 0;
}

/* --- What lies at the descriptors ------------------------------------------------------------ */

static struct place connected(struct world_pair pair, bool is_tcp)
{
    return (struct place){pair.ours, pair.client, -1, -1, CONNECTION, is_tcp, false, false};
}

static struct place tcp(int family)
{
    return connected(world_tcp(family, 0), true);
}

/* Reset by its client. */
static struct place tcp_reset(void)
{
    struct place place = tcp(AF_INET);

    (void)close(place.client);
    place.client = -1;
    place.nature = RESET_BEFORE;
    return place;
}

static struct place tcp_half_closed(void)
{
    struct place place = tcp(AF_INET);

    (void)shutdown(place.client, SHUT_WR);
    return place;
}

static struct place tcp_talking(void)
{
    struct place place = tcp(AF_INET);

    (void)send(place.client, "hello?\r\n", 8, MSG_DONTWAIT | MSG_NOSIGNAL);
    return place;
}

/* Somebody has greeted it before. */
static struct place tcp_spoiled(void)
{
    struct place place = tcp(AF_INET);

    (void)send(place.fd, "220 hello\r\n", 11, MSG_DONTWAIT | MSG_NOSIGNAL);
    place.nature = SPOILED;
    return place;
}

static struct place listening(int fd, int client, bool is_tcp)
{
    return (struct place){fd, client, -1, -1, QUEUE, is_tcp, false, false};
}

static struct place tcp_listening(int family, bool with_client)
{
    int fd = world_listen(family);

    if (fd < 0)
        fd = world_listen(AF_INET);
    return listening(fd, with_client ? world_connect(fd, 0) : -1, true);
}

static struct place unix_listening(bool with_client)
{
    int fd = world_listen_unix();

    return listening(fd, with_client ? world_connect_unix(fd) : -1, false);
}

static struct place tcp_shut_listener(void)
{
    struct place place = tcp_listening(AF_INET, false);

    (void)shutdown(place.fd, SHUT_RDWR);
    return place;
}

static struct place other(int fd)
{
    if (fd < 0) /* this kernel has none */
        fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    return (struct place){world_lift(fd), -1, -1, -1, NOTHING, false, false, false};
}

static struct place sealed(int seals)
{
    int fd = world_memory("some content", 12);

    (void)fcntl(fd, F_ADD_SEALS, seals);
    return (struct place){fd, -1, -1, -1, NOTHING, false, false, false};
}

static struct place pipe_end(int which)
{
    int ends[2] = {-1, -1};

    CHECK(pipe2(ends, O_CLOEXEC) == 0, "pipe2");
    int fd = world_lift(ends[which]);
    (void)close(ends[!which]);
    return (struct place){fd, -1, -1, -1, NOTHING, false, false, false};
}

static struct place pair_of(int type)
{
    struct world_pair pair = world_unix(type);

    return (struct place){pair.ours, pair.client, -1, -1, NOTHING, false, false, false};
}

static struct place reopened(int flags)
{
    char path[40];

    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
    return other(open(path, flags | O_CLOEXEC));
}

static struct place make(char kind)
{
    sigset_t none;

    (void)sigemptyset(&none);
    switch (kind) {
    case 'c':
        return tcp(AF_INET);
    case 'C':
        return tcp(AF_INET6);
    case 'h':
        return tcp_half_closed();
    case 'w':
        return tcp_talking();
    case 'r':
        return tcp_reset();
    case 'b':
        return tcp_spoiled();
    case 'l':
        return tcp_listening(AF_INET, true);
    case 'L':
        return tcp_listening(AF_INET6, false);
    case 'G':
        return tcp_shut_listener();
    case 'u':
        return connected(world_unix(SOCK_STREAM), false);
    case 'U':
        return unix_listening(true);
    case 'g':
        return unix_listening(false);
    case 'q':
        return pair_of(SOCK_SEQPACKET);
    case 'd':
        return pair_of(SOCK_DGRAM);
    case 'D':
        return other(socket(AF_INET, SOCK_DGRAM, 0));
    case 'n':
        return other(socket(AF_INET, SOCK_STREAM, 0));
    case 'N':
        return other(socket(AF_INET6, SOCK_STREAM, 0));
    case 'M':
        return other(socket(AF_INET, SOCK_STREAM, 262)); /* MPTCP */
    case 'V':
        return other(socket(AF_VSOCK, SOCK_STREAM, 0));
    case 'k':
        return other(socket(AF_NETLINK, SOCK_DGRAM, 0));
    case 'x':
        return other(socket(AF_UNIX, SOCK_STREAM, 0));
    case 'f':
        return reopened(O_RDONLY);
    case 'F':
        return reopened(O_WRONLY);
    case 'o':
        return reopened(O_PATH);
    case 'm':
        return sealed(0);
    case 's':
        return sealed(F_SEAL_SHRINK);
    case 'S':
        return sealed(F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL);
    case 'p':
        return pipe_end(0);
    case 'P':
        return pipe_end(1);
    case 'v':
        return other(eventfd(0, 0));
    case 'e':
        return other(epoll_create1(0));
    case 't':
        return other(timerfd_create(CLOCK_MONOTONIC, 0));
    case 'i':
        return other(signalfd(-1, &none, 0));
    case 'T':
        return other(posix_openpt(O_RDWR | O_NOCTTY));
    case 'y':
        return other(open("/", O_RDONLY | O_DIRECTORY));
    case 'Y':
        return other(open("/", O_PATH));
    default:
        return other(open("/dev/null", O_RDWR));
    }
}

static int place_number(const char *text)
{
    return (int)(strtoul(text, NULL, 10) % MOST_PLACES);
}

static void put(int at, const char *what)
{
    if (at < 0 || at >= MOST_PLACES || places[at].fd >= 0)
        return;
    if (isdigit((unsigned char)what[0])) {
        int as = place_number(what);
        if (places[as].fd < 0)
            return;
        places[at] = (struct place){.fd = world_lift(dup(places[as].fd)),
            .client = -1,
            .kept = -1,
            .same = as,
            .is_tcp = places[as].is_tcp};
        return;
    }
    places[at] = make(what[0]);
}

/* --- The input ------------------------------------------------------------------------------- */

struct plan {
    char *memory;
    char values[4096];
    size_t n_values;
    bool refuse;
    rlim_t limit;
    const char *file; /* FILE of the command line, or NULL */
};

static bool is_understood(const char *text, size_t length)
{
    for (size_t i = 0; i < sizeof(understood) / sizeof(understood[0]); i++)
        if (strlen(understood[i]) == length && strncmp(understood[i], text, length) == 0)
            return true;
    return false;
}

static const char *meaning(char letter)
{
    switch (letter) {
    case 'P':
        return pid;
    case 'N':
        return notify_name;
    case 'J':
        return journal;
    default:
        return "$";
    }
}

/* With what the fuzzer cannot know put in its place; a variable is only set once. */
static void set_variable(struct plan *plan, const char *text)
{
    char *start = plan->values + plan->n_values;
    size_t left = sizeof(plan->values) - plan->n_values;
    size_t n = 0;
    size_t name = strcspn(text, "=");

    if (!is_understood(text, name))
        return;
    for (char **other = environ; *other; other++)
        if (strncmp(*other, text, name + 1) == 0)
            return;
    for (; *text && n + 70 < left; text++) {
        if (*text != '$') {
            start[n++] = *text;
            continue;
        }
        n += (size_t)snprintf(start + n, left - n, "%s", meaning(text[1]));
        text += text[1] != '\0';
    }
    if (n + 70 >= left)
        return;
    start[n] = '\0';
    plan->n_values += n + 1;
    world_setenv(start);
}

static bool is_variable(const char *line)
{
    return isupper((unsigned char)line[0]) && strchr(line, '=');
}

static void name_journal(void)
{
    struct stat status;

    journal[0] = '\0';
    if (places[2].fd >= 0 && fstat(places[2].fd, &status) == 0)
        (void)snprintf(journal, sizeof(journal), "%ju:%ju", (uintmax_t)status.st_dev,
            (uintmax_t)status.st_ino);
}

static void read_plan(struct plan *plan, const uint8_t *data, size_t size)
{
    char *rest = plan->memory = strndup((const char *)data, size);

    plan->n_values = 0;
    plan->refuse = false;
    plan->limit = 0;
    plan->file = NULL;
    char *again = strdup(rest);
    char *variables = again;
    for (char *line; (line = strsep(&rest, "\n"));) {
        if (isdigit((unsigned char)line[0]) && strchr(line, ':') && strchr(line, ':')[1] != '\0')
            put(place_number(line), strchr(line, ':') + 1);
        if (line[0] == '!')
            plan->refuse = true;
        if (line[0] == '/')
            plan->file = line;
        if (line[0] == '%')
            plan->limit = (rlim_t)strtoul(line + 1, NULL, 10);
    }
    name_journal();
    for (char *line; (line = strsep(&variables, "\n"));)
        if (is_variable(line))
            set_variable(plan, line);
    free(again);
}

/*
 * What comes from the store is a duplicate, and closing it no end for the client. By a name like
 * ours it comes from there, and where there is a store at all, so does any connected socket beside
 * a listener.
 */
static void keep_stored(void)
{
    const char *names = getenv("LISTEN_FDNAMES");
    bool has_store = getenv("NOTIFY_SOCKET") != NULL;

    for (int fd = 3; fd < MOST_PLACES; fd++) {
        size_t length = names ? strcspn(names, ":") : 0;
        bool is_ours = length > 0 && names[0] == '@';
        if (places[fd].fd >= 0 && (is_ours || (has_store && places[fd].client >= 0)))
            places[fd].kept = world_lift(dup(places[fd].fd));
        names = names && names[length] != '\0' ? names + length + 1 : NULL;
    }
}

static void place_all(void)
{
    for (int at = 0; at < MOST_PLACES; at++)
        if (places[at].fd >= 0) {
            CHECK(dup2(places[at].fd, at) == at, "dup2");
            (void)close(places[at].fd);
        }
}

static void limit_descriptors(rlim_t soft)
{
    struct rlimit limit;

    if (soft == 0 || soft > WORLD_ABOVE || getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return;
    limit.rlim_cur = soft;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
}

static void unlimit_descriptors(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
}

/* --- What must hold -------------------------------------------------------------------------- */

static bool is_same(int one, int other)
{
    struct stat first;
    struct stat second;

    return fstat(one, &first) == 0 && fstat(other, &second) == 0 && first.st_dev == second.st_dev &&
           first.st_ino == second.st_ino;
}

static void check_armed(int fd, enum socket_kind kind)
{
    struct linger linger = {0};
    socklen_t size = sizeof(linger);

    CHECK(fd >= 3 && fd < WORLD_ABOVE, "%d", fd);
    CHECK(fcntl(fd, F_GETFL) & O_NONBLOCK, "%d waits", fd);
    CHECK(fcntl(fd, F_GETFD) == FD_CLOEXEC, "%d survives exec", fd);
    for (int low = 0; low < 3 && !tight; low++)
        CHECK(!is_same(fd, low), "a client's socket is at %d", low);
    if (!transfer_resets(kind))
        return;
    CHECK(getsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, &size) == 0, "%s", strerror(errno));
    CHECK(linger.l_onoff && linger.l_linger == 0, "%d is not armed", fd);
}

static bool is_stored(const struct handover *handover, int fd)
{
    for (size_t i = 0; i < handover->stored.n_sockets; i++)
        if (handover->stored.sockets[i].fd == fd)
            return true;
    return false;
}

static void check_stored(const struct handover *handover)
{
    const struct stored *stored = &handover->stored;
    struct stat status;

    for (size_t i = 0; i < stored->n_sockets; i++)
        CHECK(fstat(stored->sockets[i].fd, &status) == 0 && S_ISSOCK(status.st_mode), "%d",
            stored->sockets[i].fd);
    for (size_t i = 0; i < stored->n_files; i++)
        CHECK(fstat(stored->files[i].fd, &status) == 0 && S_ISREG(status.st_mode), "%d",
            stored->files[i].fd);
    CHECK(stored->table < 0 || stored->n_tables > 0, "%d", stored->table);
    CHECK(stored->n >= stored->n_sockets + stored->n_files + stored->n_foreign ||
              stored->n_foreign > 0,
        "%u", stored->n);
}

/* Nothing yet, or a reset, or where there is no reset the end; and no byte but those that were sent
 * before. */
static void look(int at, bool wait)
{
    char bytes[64];
    size_t n;

    if (places[at].over)
        return;
    enum world_end_of_stream end = world_read(places[at].client, bytes, sizeof(bytes), &n, wait);
    CHECK(n == 0 || (places[at].nature == SPOILED && n == 11), "%zu bytes to the client at %d", n,
        at);
    CHECK(end != WORLD_END || !places[at].is_tcp, "the client at %d got a clean end", at);
    CHECK(end != WORLD_OPEN || !wait, "the client at %d got no end", at);
    places[at].over = end != WORLD_OPEN;
}

static void check_success(const struct handover *handover)
{
    CHECK(handover->n_connections + handover->n_listeners + handover->stored.n_sockets > 0,
        "success without a socket");
    CHECK(handover->n_connections == 0 || handover->n_listeners == 0, "both kinds of sockets");
    for (size_t i = 0; i < handover->n_connections; i++) {
        const struct connection *one = &handover->connections[i];
        check_armed(one->fd, one->kind);
        CHECK(one->peer[0] != '\0', "a peer without a name");
        for (size_t j = 0; j < i; j++)
            CHECK(!is_same(one->fd, handover->connections[j].fd), "one socket twice");
    }
    for (size_t i = 0; i < handover->n_listeners; i++) {
        check_armed(handover->listeners[i].fd, handover->listeners[i].kind);
        CHECK(handover->listeners[i].address[0] != '\0', "a listener without an address");
    }
    for (int fd = 0; fd < 3 && !tight; fd++)
        CHECK(fcntl(fd, F_GETFD) >= 0, "%d is left open to whatever comes", fd);
    check_stored(handover);
    /* No client has got anything, and none has lost anything. */
    for (int at = 0; at < MOST_PLACES; at++) {
        if (places[at].client >= 0 && places[at].nature != NOTHING)
            look(at, false);
    }
}

/* LISTEN_FDS as libsystemd reads it, which knows more ways to write a number than anybody uses. */
static long count_of(const char *text)
{
    int base = 0;

    text += strspn(text, " \t\n\v\f\r");
    if (text[0] == '0' && tolower((unsigned char)text[1]) == 'b')
        base = 2;
    else if (text[0] == '0' && tolower((unsigned char)text[1]) == 'o')
        base = 8;
    long n = strtol(base > 0 ? text + 2 : text, NULL, base);
    return n > 0 && n <= 32768 ? n : 0; /* more are never open here */
}

/*
 * Whose end the hand-over's failure is: what it was given, by the environment or as stdin. n is how
 * many libsystemd says that are; the rest of them, where a count in plain decimals does not tell,
 * are those up to the first gap.
 */
static bool is_handed_over(int at, const char *count, long n, bool known)
{
    long plain = strtol(count, NULL, 10);

    if (at < 3)
        return at == 0 || places[at].is_tcp;
    if (!known || (n > 0 && at >= 3 + n))
        return false;
    if (plain > 0 && plain <= 32768)
        return at < 3 + plain;
    for (int fd = 3; fd < at; fd++)
        if (places[fd].fd < 0)
            return false;
    return true;
}

/* Systemd's store has no socket twice; and what is ended by one name is ended by all. */
static bool is_twice(int at)
{
    for (int i = 0; i < MOST_PLACES; i++) {
        int one = i;
        while (places[one].same >= 0)
            one = places[one].same;
        if (i != at && one == at)
            return true;
    }
    return false;
}

static void close_places(void)
{
    for (int at = 0; at < MOST_PLACES; at++) {
        if (places[at].client >= 0)
            (void)close(places[at].client);
        if (places[at].kept >= 0)
            (void)close(places[at].kept);
    }
}

static bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

/*
 * After handover_end() only what was never taken is open, and the file, whose owner is the source.
 * What was not handed over is as it was.
 */
static void check_leaks(const bool *before, int n_handed, int file_fd, int r)
{
    for (int fd = 3; fd < WORLD_ABOVE; fd++) {
        bool was = fd < MOST_PLACES && before[fd];
        if (!was)
            CHECK(!is_open(fd) || fd == file_fd, "descriptor %d was left open", fd);
        else if (fd >= 3 + n_handed)
            CHECK(is_open(fd), "descriptor %d was nobody's to close", fd);
        else if (r == 0)
            CHECK(!is_open(fd) || fd == file_fd, "descriptor %d was left open", fd);
    }
}

/* With what was handed over as the file, or one of the command line, or both. */
static void open_sources(struct handover *handover, const char *path)
{
    const struct options options = {.file = path, .length = OPTIONS_TO_THE_END};
    struct sources sources;
    struct problem problem = {0};

    int r = sources_open(&sources, &options, handover, &problem);
    CHECK(r <= 0, "%d", r);
    if (r == 0)
        sources_close(&sources);
    else
        CHECK(problem.status != 0 && problem.text[0] != '\0', "no words");
}

static void check_notify(const struct handover *handover)
{
    CHECK(handover->notify.watchdog >= 0, "%jd", (intmax_t)handover->notify.watchdog);
    CHECK(handover->notify.fd < 0 || is_open(handover->notify.fd), "%d", handover->notify.fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct plan plan;
    struct handover handover;
    struct problem problem = {0};
    bool before[MOST_PLACES];
    char count[48] = ""; /* more zeros in front than that are nobody's */

    world_begin();
    for (int at = 0; at < MOST_PLACES; at++)
        places[at] = (struct place){-1, -1, -1, -1, NOTHING, false, false, false};
    read_plan(&plan, data, size);
    keep_stored();
    place_all();
    for (int at = 0; at < MOST_PLACES; at++)
        before[at] = is_open(at);
    const char *text = getenv("LISTEN_FDS");
    (void)snprintf(count, sizeof(count), "%s", text ? text : "");
    long n_listen = text ? count_of(text) : 0;
    bool known = text || getenv("LISTEN_PID");
    const char *meant = getenv("LISTEN_PID");
    bool is_ours = meant && strcmp(meant, pid) == 0;
    tight = plan.limit > 0;
    limit_descriptors(plan.limit);

    memset(&handover, 0x55, sizeof(handover));
    int r = handover_take(&handover, &problem);

    unlimit_descriptors();
    CHECK(r <= 0, "%d", r);
    for (size_t i = 0; i < sizeof(understood) / sizeof(understood[0]); i++)
        CHECK(!getenv(understood[i]), "%s is still there", understood[i]);
    CHECK(handover.channel == CHANNEL_STDERR || handover.channel == CHANNEL_JOURNAL ||
              handover.channel == CHANNEL_SYSLOG,
        "%d", (int)handover.channel);
    if (r < 0) {
        CHECK(problem.status == EX_PROTOCOL || problem.status == EX_OSERR, "%d", problem.status);
        CHECK(problem.text[0] != '\0' && memchr(problem.text, '\0', sizeof(problem.text)),
            "no words");
        CHECK(handover.n_connections + handover.n_listeners == 0, "sockets are left");
    } else {
        check_notify(&handover);
        check_success(&handover);
    }
    int n_handed = r == 0 && is_ours ? (int)n_listen : 0;
    if (r == 0)
        open_sources(&handover, plan.file);
    int file_fd = handover.file_fd;
    if (plan.refuse)
        handover_refuse(&handover);
    for (int at = 3; at < MOST_PLACES; at++)
        places[at].stored = r == 0 && is_stored(&handover, at);
    bool failed = r < 0;
    bool single = r == 0 && handover.n_connections > 0;
    handover_end(&handover);
    if (!failed)
        check_leaks(before, n_handed, file_fd, r);
    handover_end(&handover); /* twice does no harm */

    for (int at = 0; at < MOST_PLACES; at++) {
        if (places[at].client < 0 || places[at].nature == NOTHING)
            continue;
        bool taken = at >= 3 && at < 3 + n_handed;
        bool ends = failed   ? is_handed_over(at, count, n_listen, known)
                    : single ? taken && places[at].nature == CONNECTION
                             : taken && plan.refuse && places[at].nature == QUEUE;
        if (places[at].nature == QUEUE && tight)
            ends = false;
        look(at, ends && places[at].kept < 0);
        CHECK(!places[at].stored || places[at].nature != CONNECTION || !places[at].over ||
                  is_twice(at),
            "the client at %d, which the store has, was ended", at);
    }
    close_places();
    free(plan.memory);
    world_end();
    return 0;
}
