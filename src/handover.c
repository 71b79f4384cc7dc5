/* SPDX-License-Identifier: MIT */
#include "handover.h"

#include "source.h"
#include "systemd.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#define FIRST_FD    3    /* SD_LISTEN_FDS_START */
#define MOST_STRAYS 4096 /* more is no number of clients, but an accident */

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

#define HOW_TO_START                                                                               \
    "decant is started by systemd, inetd, xinetd or tcpserver with a connected stream socket; "    \
    "to try it: systemd-socket-activate --accept -l 7070 decant FILE"

/* What a descriptor is. The words of anything but the first two end up in an error. */
enum nature { CONNECTED, REGULAR_FILE, UNUSABLE };

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

static enum nature judge_socket(int fd, enum socket_kind *kind, const char **what)
{
    if (socket_option(fd, SO_TYPE) != SOCK_STREAM) {
        *what = "a socket, but no stream socket (in the unit: ListenStream=)";
        return UNUSABLE;
    }
    if (socket_option(fd, SO_ACCEPTCONN) == 1) {
        *what = "a listening socket, and a connected one is needed (in the unit: Accept=yes; "
                "in inetd.conf: nowait; for systemd-socket-activate: --accept)";
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
    *what = "a stream socket without a client";
    return is_connected(fd) ? CONNECTED : UNUSABLE;
}

static enum nature judge(int fd, enum socket_kind *kind, const char **what)
{
    struct stat status;

    if (fstat(fd, &status) < 0) {
        *what = "closed";
        return UNUSABLE;
    }
    if (S_ISSOCK(status.st_mode))
        return judge_socket(fd, kind, what);
    *what = isatty(fd) ? "a terminal" : source_type_name(status.st_mode);
    return S_ISREG(status.st_mode) ? REGULAR_FILE : UNUSABLE;
}

/* struct sockaddr_vm, vsock(7), without <linux/vm_sockets.h>, which musl has not. */
struct vsock_address {
    sa_family_t family;
    unsigned short reserved;
    uint32_t port;
    uint32_t cid;
};

union address {
    struct sockaddr any;
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
    struct vsock_address vsock;
    struct sockaddr_storage room; /* for the path of a UNIX socket, too */
};

static void name_internet_peer(const union address *address, char *name, size_t size)
{
    char host[INET6_ADDRSTRLEN] = "?";
    const struct in6_addr *in6 = &address->in6.sin6_addr;

    if (address->any.sa_family == AF_INET) {
        (void)inet_ntop(AF_INET, &address->in.sin_addr, host, sizeof(host));
        (void)snprintf(name, size, "%s:%u", host, ntohs(address->in.sin_port));
    } else if (IN6_IS_ADDR_V4MAPPED(in6)) {
        (void)inet_ntop(AF_INET, &in6->s6_addr[12], host, sizeof(host));
        (void)snprintf(name, size, "%s:%u", host, ntohs(address->in6.sin6_port));
    } else {
        (void)inet_ntop(AF_INET6, in6, host, sizeof(host));
        (void)snprintf(name, size, "[%s]:%u", host, ntohs(address->in6.sin6_port));
    }
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
    char *name = connection->peer;
    const size_t size = sizeof(connection->peer);
    union address address = {.any = {0}};
    socklen_t length = sizeof(address);
    struct ucred who = {.pid = 0};
    socklen_t who_size = sizeof(who);

    if (getpeername(connection->fd, &address.any, &length) < 0) {
        name_lost_peer(name, size);
    } else if (connection->kind == SOCKET_UNIX) {
        (void)getsockopt(connection->fd, SOL_SOCKET, SO_PEERCRED, &who, &who_size);
        (void)snprintf(name, size, "unix:pid=%d:uid=%ju", who.pid, (uintmax_t)who.uid);
    } else if (connection->kind == SOCKET_VSOCK) {
        (void)snprintf(name, size, "vsock:%u:%u", address.vsock.cid, address.vsock.port);
    } else {
        name_internet_peer(&address, name, size);
    }
}

/* The connection whose socket is behind fd as well, or NULL. */
static const struct connection *find_same(const struct handover *handover, int fd)
{
    struct stat one;
    struct stat other;

    if (fstat(fd, &one) < 0)
        return NULL;
    for (size_t i = 0; i < handover->n_connections; i++)
        if (fstat(handover->connections[i].fd, &other) == 0 && one.st_dev == other.st_dev &&
            one.st_ino == other.st_ino)
            return &handover->connections[i];
    return NULL;
}

static int add_connection(
    struct handover *handover, int fd, enum socket_kind kind, struct problem *problem)
{
    struct connection *connection = &handover->connections[handover->n_connections];
    const struct connection *same = find_same(handover, fd);

    if (same) /* two transfers would mix on it */
        return problem_set(problem, EEXIST, EX_PROTOCOL,
            "descriptor %d is the same socket as descriptor %d; hand over each connection once", fd,
            same->fd);
    connection->fd = fd;
    connection->kind = kind;
    name_peer(connection);
    handover->n_connections++;

    /* O_NONBLOCK belongs to the open file description, so that it holds for duplicates, too. */
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ||
        fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
        return problem_call(problem, "fcntl");
    int r = transfer_arm(fd, kind);
    if (r < 0)
        return problem_set(problem, -r, EX_OSERR, "setsockopt: %s", strerror(-r));
    if (transfer_resets(kind) && transfer_bytes_before(fd) > 0)
        return problem_set(problem, EALREADY, EX_PROTOCOL,
            "something was sent to %s before decant was started, so that it could not get the file "
            "as it is; leave out Restart= and banners, and see what else writes to descriptor %d",
            connection->peer, fd);
    return 0;
}

static int add_file(struct handover *handover, int fd, struct problem *problem)
{
    if (handover->file_fd >= 0)
        return problem_set(problem, EINVAL, EX_PROTOCOL,
            "descriptors %d and %d are both regular files; hand over one (one OpenFile=)",
            handover->file_fd, fd);
    handover->file_fd = fd;
    handover->file_is_stdin = fd == STDIN_FILENO;
    return 0;
}

static int add(struct handover *handover, int fd, struct problem *problem)
{
    enum socket_kind kind;
    const char *what;

    switch (judge(fd, &kind, &what)) {
    case CONNECTED:
        return add_connection(handover, fd, kind, problem);
    case REGULAR_FILE:
        return add_file(handover, fd, problem);
    default:
        return problem_set(
            problem, EPROTOTYPE, EX_PROTOCOL, "descriptor %d is %s; " HOW_TO_START, fd, what);
    }
}

/* The protocol of sd_listen_fds(3) names the process that it is meant for. */
static bool listen_fds_are_ours(void)
{
    const char *meant = getenv("LISTEN_PID");
    char own[24];

    (void)snprintf(own, sizeof(own), "%jd", (intmax_t)getpid());
    return meant && strcmp(meant, own) == 0;
}

static void reset_if_client(int fd, bool any_kind)
{
    enum socket_kind kind;
    const char *what;

    if (judge(fd, &kind, &what) == CONNECTED && (any_kind || transfer_resets(kind)))
        transfer_abort(fd, kind);
}

/*
 * The hand-over has failed, and yet there may be clients in it: reset them, so that none takes our
 * exit for the end of an empty file. count is LISTEN_FDS, or NULL without it; also one that was
 * meant for another process, such as a shell that started us. Where it makes no sense, all up to
 * the first gap count. On 1 and 2 a UNIX socket is the journal's.
 */
static void reset_strays(const char *count)
{
    long n = count ? strtol(count, NULL, 10) : 0;
    bool known = n > 0 && n <= MOST_STRAYS;

    for (int fd = 0; fd < FIRST_FD; fd++)
        reset_if_client(fd, fd == STDIN_FILENO);
    for (int fd = FIRST_FD; count && (known ? fd < FIRST_FD + n : fcntl(fd, F_GETFD) >= 0); fd++)
        reset_if_client(fd, true);
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
    enum socket_kind kind;
    const char *what;
    enum nature nature = judge(STDIN_FILENO, &kind, &what);

    if (handover->n_connections == 0 && nature == CONNECTED)
        return add_connection(handover, STDIN_FILENO, kind, problem);
    if (handover->n_connections == 0)
        return problem_set(problem, ENOTSOCK, EX_PROTOCOL,
            "a regular file was handed over, but no socket; " HOW_TO_START);
    if (handover->file_fd < 0 && nature == REGULAR_FILE)
        return add_file(handover, STDIN_FILENO, problem);
    return 0;
}

static int take_listen_fds(struct handover *handover, const char *count, struct problem *problem)
{
    struct problem ignored;
    int r = 0;

    int n = systemd_listen_fds();
    if (n <= 0)
        return refuse_listen_fds(n < 0 ? -n : EINVAL, count, problem);
    handover->connections = calloc((size_t)n, sizeof(*handover->connections));
    if (!handover->connections)
        return problem_call(problem, "calloc");
    /* All of them, also after one that is wrong: where messages may go depends on all clients. */
    for (int fd = FIRST_FD; fd < FIRST_FD + n; fd++) {
        int one = add(handover, fd, r < 0 ? &ignored : problem);
        r = r < 0 ? r : one;
    }
    return r < 0 ? r : add_stdin(handover, problem);
}

static int take_stdin(struct handover *handover, struct problem *problem)
{
    enum socket_kind kind;
    const char *what;

    handover->connections = calloc(1, sizeof(*handover->connections));
    if (!handover->connections)
        return problem_call(problem, "calloc");
    if (judge(STDIN_FILENO, &kind, &what) == CONNECTED)
        return add_connection(handover, STDIN_FILENO, kind, problem);
    return problem_set(problem, ENOTSOCK, EX_PROTOCOL, "descriptor 0 is %s%s; " HOW_TO_START, what,
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

    if (fstat(STDERR_FILENO, &status) < 0 || find_same(handover, STDERR_FILENO))
        return CHANNEL_SYSLOG;
    (void)snprintf(
        stream, sizeof(stream), "%ju:%ju", (uintmax_t)status.st_dev, (uintmax_t)status.st_ino);
    if (journal && strcmp(journal, stream) == 0)
        return CHANNEL_JOURNAL;
    return S_ISSOCK(status.st_mode) ? CHANNEL_SYSLOG : CHANNEL_STDERR;
}

/*
 * Moves a socket from 0 to 3 or more, and puts /dev/null where the client or nothing was. Where
 * there is no /dev/null (a bare chroot) the descriptors stay, and nothing of ours writes to them.
 */
static int tidy_stdio(struct handover *handover, struct problem *problem)
{
    bool client[FIRST_FD];

    for (int fd = 0; fd < FIRST_FD; fd++)
        client[fd] = find_same(handover, fd);
    for (size_t i = 0; i < handover->n_connections; i++) {
        struct connection *connection = &handover->connections[i];
        if (connection->fd >= FIRST_FD)
            continue;
        int moved = fcntl(connection->fd, F_DUPFD_CLOEXEC, FIRST_FD);
        if (moved < 0)
            return problem_call(problem, "fcntl");
        connection->fd = moved;
    }
    int null = open("/dev/null", O_RDWR | O_CLOEXEC | O_NOCTTY);
    for (int fd = 0; fd < FIRST_FD && null >= 0; fd++)
        if (fd != null && (client[fd] || fcntl(fd, F_GETFD) < 0))
            (void)dup2(null, fd); /* without it the old state stays, which is harmless */
    if (null >= FIRST_FD)
        (void)close(null);
    return 0;
}

int handover_take(struct handover *handover, struct problem *problem)
{
    static const char *const understood[] = {"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES",
        "JOURNAL_STREAM", "REMOTE_ADDR", "REMOTE_PORT", "TCPREMOTEIP", "TCPREMOTEPORT"};
    const char *text = getenv("LISTEN_FDS");
    char copy[48]; /* libsystemd takes it out of the environment */
    const char *count = text || getenv("LISTEN_PID") ? copy : NULL;

    *handover = (struct handover){.file_fd = -1};
    (void)snprintf(copy, sizeof(copy), "%s", text ? text : "");
    int r = listen_fds_are_ours() ? take_listen_fds(handover, count, problem)
                                  : take_stdin(handover, problem);
    handover->channel = find_channel(handover);
    if (r == 0)
        r = tidy_stdio(handover, problem);
    for (size_t i = 0; i < sizeof(understood) / sizeof(understood[0]); i++)
        (void)unsetenv(understood[i]);
    if (r < 0) {
        handover_end(handover);
        reset_strays(count);
    }
    return r;
}

void handover_end(struct handover *handover)
{
    for (size_t i = 0; i < handover->n_connections; i++)
        if (handover->connections[i].fd >= 0)
            transfer_abort(handover->connections[i].fd, handover->connections[i].kind);
    free(handover->connections);
    handover->connections = NULL;
    handover->n_connections = 0;
}
