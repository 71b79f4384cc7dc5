/* SPDX-License-Identifier: MIT */
#include "handover.h"

#include "peer.h"
#include "source.h"
#include "store.h"
#include "systemd.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#define FIRST_FD    3     /* SD_LISTEN_FDS_START */
#define SPARE       64    /* descriptors of our own above those that were handed over */
#define MOST_STRAYS 32768 /* more is no number of clients, but an accident */

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

#define HOW_TO_START                                                                               \
    "decant is started by systemd, inetd, xinetd or tcpserver with a connected or a listening "    \
    "stream socket; to try it: systemd-socket-activate --accept -l 7070 decant FILE"

/* What a descriptor is. The words of anything but the first three end up in an error. UNCONNECTED
 * is also a stream socket whose connection is over, and whose error somebody has read. */
enum nature { CONNECTED, LISTENING, REGULAR_FILE, UNCONNECTED, UNUSABLE };

static int socket_option(int fd, int option)
{
    int value;
    socklen_t size = sizeof(value);

    return getsockopt(fd, SOL_SOCKET, option, &value, &size) < 0 ? -1 : value;
}

/* A connection that was reset already has no peer, but an error; a fresh socket has neither. */
static bool is_connected(int fd)
{
    struct sockaddr peer; /* cut, which does not matter here */
    socklen_t size = sizeof(peer);

    return getpeername(fd, &peer, &size) == 0 || socket_option(fd, SO_ERROR) > 0;
}

/* may_ask: after its error, which the look takes away. */
static enum nature judge_socket(int fd, bool may_ask, enum socket_kind *kind, const char **what)
{
    if (socket_option(fd, SO_TYPE) != SOCK_STREAM) {
        *what = "a socket, but no stream socket (in the unit: ListenStream=)";
        return UNUSABLE;
    }
    *what = "a socket that is neither TCP, MPTCP, UNIX nor vsock";
    switch (socket_option(fd, SO_DOMAIN)) {
    case AF_INET:
    case AF_INET6:
        *kind = socket_option(fd, SO_PROTOCOL) == IPPROTO_MPTCP ? SOCKET_MPTCP : SOCKET_TCP;
        if (*kind == SOCKET_TCP && socket_option(fd, SO_PROTOCOL) != IPPROTO_TCP)
            return UNUSABLE; /* SCTP, SMC */
        break;
    case AF_UNIX:
        *kind = SOCKET_UNIX;
        break;
    case AF_VSOCK:
        *kind = SOCKET_VSOCK;
        break;
    default:
        return UNUSABLE;
    }
    if (socket_option(fd, SO_ACCEPTCONN) == 1)
        return LISTENING;
    if (!may_ask)
        return CONNECTED;
    *what = "a stream socket that is neither connected nor listening";
    return is_connected(fd) ? CONNECTED : UNCONNECTED;
}

static enum nature judge(int fd, bool may_ask, enum socket_kind *kind, const char **what)
{
    struct stat status;

    if (fstat(fd, &status) < 0) {
        *what = "closed";
        return UNUSABLE;
    }
    if (S_ISSOCK(status.st_mode))
        return judge_socket(fd, may_ask, kind, what);
    *what = isatty(fd) ? "a terminal" : source_type_name(status.st_mode);
    return S_ISREG(status.st_mode) ? REGULAR_FILE : UNUSABLE;
}

/* A peer that is gone has no address any more; systemd and tcpserver have told us before. */
static void name_lost_peer(char *name, size_t size)
{
    const char *host = getenv("REMOTE_ADDR");
    const char *port = getenv("REMOTE_PORT");

    if (!host) {
        host = getenv("TCPREMOTEIP");
        port = getenv("TCPREMOTEPORT");
    }
    if (host)
        (void)snprintf(name, size, "%.60s:%.10s", host, port ? port : "?");
    else
        (void)snprintf(name, size, "a client that has left");
}

static void name_peer(struct connection *connection)
{
    union peer_address address = {.any = {0}};
    socklen_t length = sizeof(address);
    struct peer peer;

    if (getpeername(connection->fd, &address.any, &length) < 0) {
        name_lost_peer(connection->peer, sizeof(connection->peer));
        return;
    }
    peer_set(&peer, connection->fd, connection->kind, &address);
    peer_format(&peer, connection->peer, sizeof(connection->peer));
}

/* The address that it listens on, which for a UNIX socket is a path, or '@' for an abstract one. */
static void name_listener(struct listener *listener)
{
    union peer_address address = {.any = {0}};
    socklen_t length = sizeof(address);
    struct peer peer;

    (void)getsockname(listener->fd, &address.any, &length); /* or it is called 0.0.0.0:0 */
    if (listener->kind == SOCKET_UNIX) {
        const char *path = address.any.sa_data;
        (void)snprintf(listener->address, sizeof(listener->address), "unix:%s%.107s",
            path[0] == '\0' ? "@" : "", path[0] == '\0' ? path + 1 : path);
        return;
    }
    peer_set(&peer, listener->fd, listener->kind, &address);
    peer_format(&peer, listener->address, sizeof(listener->address));
}

static bool is_same(const struct stat *one, int fd)
{
    struct stat other;

    return fstat(fd, &other) == 0 && one->st_dev == other.st_dev && one->st_ino == other.st_ino;
}

/* The descriptor of ours whose socket is behind fd as well, or -1. */
static int find_same(const struct handover *handover, int fd)
{
    struct stat one;

    if (fstat(fd, &one) < 0)
        return -1;
    for (size_t i = 0; i < handover->n_connections; i++)
        if (is_same(&one, handover->connections[i].fd))
            return handover->connections[i].fd;
    for (size_t i = 0; i < handover->n_listeners; i++)
        if (is_same(&one, handover->listeners[i].fd))
            return handover->listeners[i].fd;
    return -1;
}

/* What is alike for a connection and for a listener, which hands it on to those that it accepts. */
static int prepare(int fd, enum socket_kind kind, struct problem *problem)
{
    /* O_NONBLOCK belongs to the open file description, so that it holds for duplicates, too. */
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ||
        fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
        return problem_call(problem, "fcntl");
    int r = transfer_arm(fd, kind);
    return r < 0 ? problem_set(problem, -r, EX_OSERR, "setsockopt: %s", strerror(-r)) : 0;
}

static int add_connection(struct handover *handover, int fd, enum socket_kind kind,
    const char *name, struct problem *problem)
{
    struct connection *connection = &handover->connections[handover->n_connections++];

    *connection = (struct connection){.fd = fd, .kind = kind, .name = name};
    name_peer(connection);
    int r = prepare(fd, kind, problem);
    if (r == 0 && transfer_resets(kind) && transfer_bytes_before(fd) > 0)
        return problem_set(problem, EALREADY, EX_PROTOCOL,
            "something was sent to %s before decant was started, so that it could not get the file "
            "as it is; leave out Restart= and banners, and see what else writes to descriptor %d",
            connection->peer, fd);
    return r;
}

static int add_listener(struct handover *handover, int fd, enum socket_kind kind, const char *name,
    struct problem *problem)
{
    struct listener *listener = &handover->listeners[handover->n_listeners++];

    *listener = (struct listener){.fd = fd, .kind = kind, .name = name};
    name_listener(listener);
    return prepare(fd, kind, problem);
}

static int add_file(struct handover *handover, int fd, struct problem *problem)
{
    if (handover->file_fd >= 0 && handover->stored.n > 0 && fd != STDIN_FILENO) {
        handover->stored.n_foreign++; /* the one before came from the store */
        handover->stored.foreign = "a regular file";
        (void)close(handover->file_fd);
        handover->file_fd = -1;
    }
    if (handover->file_fd >= 0)
        return problem_set(problem, EINVAL, EX_PROTOCOL,
            "descriptors %d and %d are both regular files; hand over one (one OpenFile=)",
            handover->file_fd, fd);
    handover->file_fd = fd;
    handover->file_is_stdin = fd == STDIN_FILENO;
    return 0;
}

/* A descriptor is judged once: the look at its SO_ERROR takes the error away. */
struct verdict {
    enum nature nature;
    enum socket_kind kind; /* of a socket */
    const char *what;      /* of what is unusable */
};

static struct verdict look_at(int fd, bool may_ask)
{
    struct verdict verdict;

    verdict.nature = judge(fd, may_ask, &verdict.kind, &verdict.what);
    return verdict;
}

static int add(struct handover *handover, int fd, const struct verdict *verdict, const char *name,
    struct problem *problem)
{
    int same = find_same(handover, fd);

    if (same >= 0) /* two transfers would mix on it */
        return problem_set(problem, EEXIST, EX_PROTOCOL,
            "descriptor %d is the same socket as descriptor %d; hand over each socket once", fd,
            same);
    switch (verdict->nature) {
    case CONNECTED:
        return add_connection(handover, fd, verdict->kind, name, problem);
    case LISTENING:
        return add_listener(handover, fd, verdict->kind, name, problem);
    case REGULAR_FILE:
        return add_file(handover, fd, problem);
    default:
        return problem_set(problem, EPROTOTYPE, EX_PROTOCOL, "descriptor %d is %s; " HOW_TO_START,
            fd, verdict->what);
    }
}

/* The protocols of sd_listen_fds(3) and sd_watchdog_enabled(3) name the process they mean. */
static bool is_own_pid(const char *variable)
{
    const char *meant = getenv(variable);
    char own[24];

    (void)snprintf(own, sizeof(own), "%jd", (intmax_t)getpid());
    return meant && strcmp(meant, own) == 0;
}

/* So many in a row, and no more: whoever floods the queue must not keep us from our end. */
#define MOST_REFUSED 100000

/* Those that wait in the queue of a listener. */
static void reset_queue(int fd, enum socket_kind kind)
{
    int flags = fcntl(fd, F_GETFL);

    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
        return;
    for (int i = 0; i < MOST_REFUSED; i++) {
        int client = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (client >= 0)
            transfer_abort(client, kind);
        else if (errno != EINTR && errno != ECONNABORTED)
            return;
    }
}

static void reset_if_client(int fd, bool any_kind)
{
    enum socket_kind kind;
    const char *what;
    enum nature nature = judge(fd, true, &kind, &what);

    if (nature == CONNECTED && (any_kind || transfer_resets(kind)))
        transfer_abort(fd, kind);
    if (nature == LISTENING)
        reset_queue(fd, kind);
}

/*
 * The hand-over has failed, and yet there may be clients in it: reset them, so that none takes our
 * exit for the end of an empty file. count is LISTEN_FDS, or NULL without it; also one that was
 * meant for another process, such as a shell that started us. Where it makes no sense, all up to
 * the first gap count. On 1 and 2 a UNIX socket is the journal's.
 */
static void reset_strays(const char *count, char **names)
{
    long n = count ? strtol(count, NULL, 10) : 0;
    bool known = n > 0 && n <= MOST_STRAYS;
    uint32_t number;

    for (int fd = 0; fd < FIRST_FD; fd++)
        reset_if_client(fd, fd == STDIN_FILENO);
    for (int fd = FIRST_FD; count && (known ? fd < FIRST_FD + n : fcntl(fd, F_GETFD) >= 0); fd++) {
        const char *name = names && *names ? *names++ : "";
        if (store_read_name(name, &number) != STORE_SOCKET) /* for the next process to go on with */
            reset_if_client(fd, true);
    }
}

static int refuse_listen_fds(int error, const char *count, struct problem *problem)
{
    if (error == ENOSYS)
        return problem_set(problem, error, EX_PROTOCOL,
            "systemd has handed over descriptors from 3 on, and this decant was built without "
            "libsystemd (SYSTEMD=no); use StandardInput=socket, or another build");
    return problem_set(problem, error, EX_PROTOCOL,
        "LISTEN_FDS is '%.40s', which is not the number of descriptors from 3 on (%s); " HOW_TO_START,
        count, strerror(error));
}

/*
 * What descriptor 0 adds to those from 3 on: the file of StandardInput=file:PATH, or the client of
 * StandardInput=socket where OpenFile= hands over only the file (systemd 253 to 258). Any other
 * socket there belongs to whoever started the supervisor by hand.
 */
static int add_stdin(struct handover *handover, struct problem *problem)
{
    struct verdict verdict = look_at(STDIN_FILENO, true);
    bool alone = handover->n_connections == 0 && handover->n_listeners == 0;

    if (alone && (verdict.nature == CONNECTED || verdict.nature == LISTENING))
        return add(handover, STDIN_FILENO, &verdict, NULL, problem);
    if (alone && handover->stored.n_sockets > 0)
        return 0; /* the socket unit is gone, but not its clients */
    if (alone)
        return problem_set(problem, ENOTSOCK, EX_PROTOCOL,
            "a regular file was handed over, but no socket; " HOW_TO_START);
    if (handover->file_fd < 0 && verdict.nature == REGULAR_FILE)
        return add_file(handover, STDIN_FILENO, problem);
    return 0;
}

static int make_room(struct handover *handover, int n, struct problem *problem)
{
    handover->connections = calloc((size_t)n, sizeof(*handover->connections));
    handover->listeners = calloc((size_t)n, sizeof(*handover->listeners));
    handover->stored.sockets = calloc((size_t)n, sizeof(*handover->stored.sockets));
    handover->stored.files = calloc((size_t)n, sizeof(*handover->stored.files));
    return handover->connections && handover->listeners && handover->stored.sockets &&
                   handover->stored.files
               ? 0
               : problem_call(problem, "calloc");
}

/*
 * A store of thousands may have taken all descriptors below the soft limit. That limit, as it is
 * set for us, is what the next process can be handed: systemd moves them into place below it, and
 * has each twice while it does.
 */
static void raise_limit(struct handover *handover, int n)
{
    struct rlimit limit;
    rlim_t wanted = (rlim_t)n + FIRST_FD + SPARE;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return;
    handover->stored.room = limit.rlim_cur < UINT32_MAX ? (uint32_t)limit.rlim_cur : UINT32_MAX;
    if (limit.rlim_cur >= wanted)
        return;
    limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
    (void)setrlimit(RLIMIT_NOFILE, &limit); /* or the first open(2) says that there is no room */
}

/*
 * Left in the store, where it is somebody else's, but of no use here. A client under a name like
 * ours is of a decant whose names we do not know, and nobody would ever end it: it is reset.
 */
static void pass_over(
    struct handover *handover, int fd, const struct verdict *verdict, const char *name)
{
    handover->stored.n_foreign++;
    handover->stored.foreign = name;
    if (name[0] == '@' && verdict->nature == CONNECTED)
        transfer_abort(fd, verdict->kind);
    else
        (void)close(fd);
}

static void add_stored(struct handover *handover, int fd, const struct verdict *verdict,
    enum store_kind kind, uint32_t number, const char *name)
{
    struct stored *stored = &handover->stored;
    bool is_socket = verdict->nature == CONNECTED || verdict->nature == UNCONNECTED;
    bool is_file = verdict->nature == REGULAR_FILE;

    if (kind == STORE_SOCKET && is_socket) {
        stored->sockets[stored->n_sockets++] = (struct stored_socket){fd, number, verdict->kind};
    } else if (kind == STORE_FILE && is_file) {
        stored->files[stored->n_files++] = (struct stored_file){fd, number};
        if (number > stored->last_generation)
            stored->last_generation = number;
    } else if (kind == STORE_TABLE && is_file) {
        if (stored->n_tables++ == 0)
            stored->table = fd;
        else
            (void)close(fd);
    } else if (kind == STORE_WITNESS && stored->witness < 0 &&
               (fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDONLY) {
        stored->witness = fd;
    } else if (kind == STORE_WITNESS) {
        (void)close(fd); /* its other end, which only the store shall have */
    } else {
        pass_over(handover, fd, verdict, name);
    }
}

/*
 * What is beside a listening socket and cannot be meant for us to serve, or to be served, is
 * somebody else's: systemd puts the sockets of the units first, then what its store has, and the
 * file of OpenFile= last.
 */
static bool is_foreign(
    const struct handover *handover, int fd, const struct verdict *verdict, const char *name)
{
    if (!name || verdict->nature == LISTENING || handover->n_listeners == 0 ||
        !getenv("NOTIFY_SOCKET"))
        return false;
    return name[0] == '@' || strcmp(name, "stored") == 0 || /* systemd's name for what has none */
           verdict->nature == CONNECTED || verdict->nature == UNCONNECTED ||
           (verdict->nature == UNUSABLE && fcntl(fd, F_GETFD) >= 0);
}

/* One that comes from systemd's store: ours by its name, or somebody else's. */
static bool take_stored(
    struct handover *handover, int fd, const char *name, struct verdict *verdict)
{
    uint32_t number = 0;
    enum store_kind kind = name ? store_read_name(name, &number) : STORE_FOREIGN;

    *verdict = look_at(fd, kind != STORE_SOCKET); /* its error is for its transfer to learn */
    bool foreign = is_foreign(handover, fd, verdict, name);
    if (!name || (kind == STORE_FOREIGN && !foreign))
        return false;
    handover->stored.n++;
    handover->stored.names += (uint32_t)strlen(name) + 1;
    if (kind == STORE_FOREIGN || verdict->nature == LISTENING)
        pass_over(handover, fd, verdict, name);
    else
        add_stored(handover, fd, verdict, kind, number, name);
    return true;
}

static int take_listen_fds(struct handover *handover, const char *count, struct problem *problem)
{
    struct problem ignored;

    int n = systemd_listen_fds(&handover->names);
    if (n <= 0)
        return refuse_listen_fds(n < 0 ? -n : EINVAL, count, problem);
    int r = make_room(handover, n, problem);
    if (r < 0)
        return r;
    raise_limit(handover, n);
    /* All of them, also after one that is wrong: where messages may go depends on all clients. */
    for (int i = 0; i < n; i++) {
        const char *name = handover->names ? handover->names[i] : NULL;
        struct verdict verdict;
        if (take_stored(handover, FIRST_FD + i, name, &verdict))
            continue;
        int one = add(handover, FIRST_FD + i, &verdict, name, r < 0 ? &ignored : problem);
        r = r < 0 ? r : one;
    }
    uint32_t beside = (uint32_t)handover->n_listeners + FIRST_FD + SPARE;
    handover->stored.room =
        handover->stored.room > beside ? (handover->stored.room - beside) / 2 : 0;
    handover->stored.comes_back = handover->n_listeners > 0 || handover->stored.n > 0;
    if (r == 0)
        r = add_stdin(handover, problem);
    if (r == 0 && handover->n_connections > 0 && handover->n_listeners > 0)
        r = problem_set(problem, EPROTOTYPE, EX_PROTOCOL,
            "descriptor %d is a connected socket and descriptor %d a listening one; "
            "hand over the one or the other; " HOW_TO_START,
            handover->connections[0].fd, handover->listeners[0].fd);
    return r;
}

static int take_stdin(struct handover *handover, struct problem *problem)
{
    struct verdict verdict = look_at(STDIN_FILENO, true);

    int r = make_room(handover, 1, problem);
    if (r < 0)
        return r;
    if (verdict.nature == CONNECTED || verdict.nature == LISTENING)
        return add(handover, STDIN_FILENO, &verdict, NULL, problem);
    return problem_set(problem, ENOTSOCK, EX_PROTOCOL, "descriptor 0 is %s%s; " HOW_TO_START,
        verdict.what,
        getenv("LISTEN_FDS") ? ", and LISTEN_FDS is meant for another process (LISTEN_PID)" : "");
}

/*
 * systemd says which stream its journal reads: JOURNAL_STREAM=DEVICE:INODE, systemd.exec(5). Behind
 * any other socket may be a client, whether it is one of ours or not.
 */
static enum channel find_channel(const struct handover *handover)
{
    struct stat status;
    char stream[64];
    const char *journal = getenv("JOURNAL_STREAM");

    if (fstat(STDERR_FILENO, &status) < 0 || find_same(handover, STDERR_FILENO) >= 0)
        return CHANNEL_SYSLOG;
    (void)snprintf(
        stream, sizeof(stream), "%ju:%ju", (uintmax_t)status.st_dev, (uintmax_t)status.st_ino);
    if (journal && strcmp(journal, stream) == 0)
        return CHANNEL_JOURNAL;
    return S_ISSOCK(status.st_mode) ? CHANNEL_SYSLOG : CHANNEL_STDERR;
}

static int lift(int *fd, struct problem *problem)
{
    if (*fd >= FIRST_FD)
        return 0;
    int lifted = fcntl(*fd, F_DUPFD_CLOEXEC, FIRST_FD);
    if (lifted < 0)
        return problem_call(problem, "fcntl");
    *fd = lifted;
    return 0;
}

/*
 * Moves a socket from 0 to 3 or more, and puts /dev/null where the client or nothing was: a client
 * that is accepted later must not land there, nor a library's last words in its stream. Where there
 * is no /dev/null (a bare chroot), the root that nobody can read or write through will do.
 */
static int tidy_stdio(struct handover *handover, struct problem *problem)
{
    bool client[FIRST_FD];
    int r = 0;

    for (int fd = 0; fd < FIRST_FD; fd++)
        client[fd] = find_same(handover, fd) >= 0;
    for (size_t i = 0; i < handover->n_connections && r == 0; i++)
        r = lift(&handover->connections[i].fd, problem);
    for (size_t i = 0; i < handover->n_listeners && r == 0; i++)
        r = lift(&handover->listeners[i].fd, problem);
    if (r < 0)
        return r;
    int null = open("/dev/null", O_RDWR | O_CLOEXEC | O_NOCTTY);
    if (null < 0)
        null = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    for (int fd = 0; fd < FIRST_FD && null >= 0; fd++)
        if (fd != null && (client[fd] || fcntl(fd, F_GETFD) < 0))
            (void)dup2(null, fd); /* without it the old state stays, which is harmless */
    if (null >= FIRST_FD)
        (void)close(null);
    return 0;
}

/* WATCHDOG_PID names the process that is meant, as LISTEN_PID does. */
static void take_notify(struct handover *handover)
{
    const char *usec = getenv("WATCHDOG_USEC");

    if (getenv("WATCHDOG_PID") && !is_own_pid("WATCHDOG_PID"))
        usec = NULL;
    notify_open(&handover->notify, getenv("NOTIFY_SOCKET"), usec);
}

/* Since systemd 254; before, or where it makes no sense, the store itself has to be asked. */
static uint32_t read_store_size(void)
{
    const char *text = getenv("FDSTORE");
    char *rest;

    if (!text || !isdigit((unsigned char)text[0]))
        return 0;
    errno = 0;
    unsigned long number = strtoul(text, &rest, 10);
    return errno == 0 && *rest == '\0' && number <= UINT32_MAX ? (uint32_t)number : 0;
}

static void free_names(char **names)
{
    for (char **name = names; name && *name; name++)
        free(*name);
    free(names);
}

int handover_take(struct handover *handover, struct problem *problem)
{
    static const char *const understood[] = {"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES",
        "JOURNAL_STREAM", "REMOTE_ADDR", "REMOTE_PORT", "TCPREMOTEIP", "TCPREMOTEPORT",
        "NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "FDSTORE"};
    const char *text = getenv("LISTEN_FDS");
    char copy[48]; /* libsystemd takes it out of the environment */
    const char *count = text || getenv("LISTEN_PID") ? copy : NULL;

    *handover = (struct handover){.stored = {.table = -1, .witness = -1}, .file_fd = -1};
    (void)snprintf(copy, sizeof(copy), "%s", text ? text : "");
    int r = is_own_pid("LISTEN_PID") ? take_listen_fds(handover, count, problem)
                                     : take_stdin(handover, problem);
    handover->channel = find_channel(handover);
    if (r == 0)
        r = tidy_stdio(handover, problem);
    take_notify(handover);
    handover->stored.most = read_store_size();
    for (size_t i = 0; i < sizeof(understood) / sizeof(understood[0]); i++)
        (void)unsetenv(understood[i]);
    if (r < 0) {
        char **names = handover->names;
        handover->names = NULL;
        handover_refuse(handover);
        handover_end(handover);
        reset_strays(count, names);
        free_names(names);
    }
    return r;
}

void handover_refuse(struct handover *handover)
{
    for (size_t i = 0; i < handover->n_listeners; i++)
        reset_queue(handover->listeners[i].fd, handover->listeners[i].kind);
}

static void end_stored(struct stored *stored)
{
    for (size_t i = 0; i < stored->n_sockets; i++)
        (void)close(stored->sockets[i].fd);
    for (size_t i = 0; i < stored->n_files; i++)
        (void)close(stored->files[i].fd);
    if (stored->table >= 0)
        (void)close(stored->table);
    if (stored->witness >= 0)
        (void)close(stored->witness);
    free(stored->sockets);
    free(stored->files);
    *stored = (struct stored){.table = -1, .witness = -1};
}

void handover_end(struct handover *handover)
{
    for (size_t i = 0; i < handover->n_connections; i++)
        if (handover->connections[i].fd >= 0)
            transfer_abort(handover->connections[i].fd, handover->connections[i].kind);
    for (size_t i = 0; i < handover->n_listeners; i++)
        (void)close(handover->listeners[i].fd); /* the supervisor has it, too */
    end_stored(&handover->stored);
    free(handover->connections);
    free(handover->listeners);
    free_names(handover->names);
    notify_close(&handover->notify);
    handover->connections = NULL;
    handover->n_connections = 0;
    handover->listeners = NULL;
    handover->n_listeners = 0;
    handover->names = NULL;
}
