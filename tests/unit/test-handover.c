/* SPDX-License-Identifier: MIT */

/*
 * What went wrong in others: an error message on descriptor 2, which under inetd is the client; a
 * LISTEN_FDS of another process that made a server send to whatever was open; names that systemd
 * had put out of step with the descriptors; one bad descriptor, and the clients on the good ones
 * saw an empty file; a listening socket whose queue nobody emptied, so that the server was started
 * for it again, for ever. Each case has a process of its own, with real descriptors from 0 to 11.
 */

#include "handover.h"
#include "kernel.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#define HANDED  12  /* descriptors 0 to 11 */
#define VERDICT 60  /* where the child says what is wrong */
#define SERVER  200 /* where a thing waits before it becomes 0 to 5 */
#define CLIENT  300 /* its other end, or one that waits in its queue */
#define SECOND  400 /* another that waits there */
#define KEPT    500 /* the supervisor has the listening socket as well */
#define SKIPPED 77

#define NOTIFIED 61 /* where the supervisor hears from us */

/* In the child, where cmocka must not go on. */
#define CHECK(condition, ...)                                                                      \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            (void)dprintf(VERDICT, "line %d: " #condition ": ", __LINE__);                         \
            (void)dprintf(VERDICT, __VA_ARGS__);                                                   \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

/* ---- calls that fail, or are answered for hardware that is not here ---- */

static struct {
    int fcntl_command; /* fails with EMFILE */
    bool no_dev_null;
    bool vsock;
} fake;

int __real_fcntl64(int fd, int command, ...);
int __wrap_fcntl64(int fd, int command, ...);
int __wrap_fcntl64(int fd, int command, ...)
{
    va_list arguments;

    va_start(arguments, command);
    long argument = va_arg(arguments, long);
    va_end(arguments);
    if (command == fake.fcntl_command && fake.fcntl_command != 0) {
        errno = EMFILE;
        return -1;
    }
    return __real_fcntl64(fd, command, argument);
}

int __real_open64(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...)
{
    if (fake.no_dev_null && strcmp(path, "/dev/null") == 0) {
        errno = ENOENT;
        return -1;
    }
    return __real_open64(path, flags, 0600);
}

/* struct sockaddr_vm, vsock(7). */
static const struct {
    sa_family_t family;
    unsigned short reserved;
    uint32_t port;
    uint32_t cid;
    unsigned char rest[4];
} vsock_peer = {AF_VSOCK, 0, 4000, 3, {0}};

int __real_getpeername(int fd, struct sockaddr *address, socklen_t *size);
int __wrap_getpeername(int fd, struct sockaddr *address, socklen_t *size);
int __wrap_getpeername(int fd, struct sockaddr *address, socklen_t *size)
{
    if (!fake.vsock)
        return __real_getpeername(fd, address, size);
    memcpy(address, &vsock_peer, *size < sizeof(vsock_peer) ? *size : sizeof(vsock_peer));
    *size = sizeof(vsock_peer);
    return 0;
}

int __real_getsockname(int fd, struct sockaddr *address, socklen_t *size);
int __wrap_getsockname(int fd, struct sockaddr *address, socklen_t *size);
int __wrap_getsockname(int fd, struct sockaddr *address, socklen_t *size)
{
    return (fake.vsock ? __wrap_getpeername : __real_getsockname)(fd, address, size);
}

/* ---- what a supervisor may hand over ---- */

enum thing {
    CLOSED,
    DEV_NULL,
    TCP4,
    TCP6,
    MAPPED, /* an IPv4 client of an IPv6 socket */
    MPTCP,
    LOST, /* the client has reset it already */
    LOCAL,
    LOCAL_SEQPACKET,
    LOCAL_DATAGRAM,
    UDP,
    LISTEN4,
    LISTEN6,
    LISTEN_MPTCP,
    LISTEN_LOCAL, /* of an abstract name */
    LISTEN_PATH,
    FRESH, /* a stream socket without a client */
    PIPE,
    FILE_ONE,
    FILE_TWO,
    DIRECTORY,
    TERMINAL,
    EVENTFD,
    TABLE,
    WRITE_END, /* of a pipe */
    SPOKEN,    /* something was sent on it already */
    SAME_AS_0,
    SAME_AS_3,
};

static bool is_tcp_client(enum thing thing)
{
    return thing == TCP4 || thing == TCP6 || thing == MAPPED || thing == MPTCP;
}

static bool is_listening(enum thing thing)
{
    return thing >= LISTEN4 && thing <= LISTEN_PATH;
}

static bool is_tcp_listener(enum thing thing)
{
    return thing >= LISTEN4 && thing <= LISTEN_MPTCP;
}

/* A listening socket, and the first of two clients that wait in its queue; the address is told. */
static void make_queue(
    int ends[2], struct sockaddr *address, socklen_t size, int domain, int protocol)
{
    static char path[] = "/tmp/decant-test-handover.XXXXXX";

    ends[0] = socket(domain, SOCK_STREAM, protocol);
    if (ends[0] < 0)
        exit(SKIPPED);
    if (!address) { /* a path */
        static struct sockaddr_un un = {.sun_family = AF_UNIX};
        CHECK(mkdtemp(path), "%m");
        (void)snprintf(un.sun_path, sizeof(un.sun_path), "%s/socket", path);
        address = (struct sockaddr *)&un;
        size = sizeof(un);
    }
    if (bind(ends[0], address, size) < 0)
        exit(SKIPPED);
    CHECK(listen(ends[0], 10) == 0, "%m");
    CHECK(getsockname(ends[0], address, &size) == 0 || size > 0, "%m");
    for (int i = 1; i >= 0; i--) {
        ends[1] = socket(domain, SOCK_STREAM, protocol);
        struct sockaddr_storage room = {0};
        socklen_t length = sizeof(room);
        CHECK(getsockname(ends[0], (struct sockaddr *)&room, &length) == 0, "%m");
        CHECK(connect(ends[1], (struct sockaddr *)&room, length) == 0, "%m");
        if (i == 1)
            CHECK(dup2(ends[1], SECOND - 1) >= 0, "%m"); /* lay_out() puts it where it belongs */
    }
    if (domain == AF_UNIX && path[strlen(path) - 1] != 'X') {
        char name[64];
        (void)snprintf(name, sizeof(name), "%s/socket", path);
        (void)unlink(name);
        (void)rmdir(path);
    }
}

/* A connection over loopback; ends[0] is what accept(2) returned. */
static void make_internet(int ends[2], int listening_domain, int client_domain, int protocol)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
    socklen_t size;
    int listener = socket(listening_domain, SOCK_STREAM, protocol);

    if (listener < 0)
        exit(SKIPPED);
    ends[1] = socket(client_domain, SOCK_STREAM, protocol);
    if (listening_domain == AF_INET6) {
        in6.sin6_addr = client_domain == AF_INET ? in6addr_any : in6addr_loopback;
        size = sizeof(in6);
        if (bind(listener, (struct sockaddr *)&in6, size) < 0)
            exit(SKIPPED);
        CHECK(getsockname(listener, (struct sockaddr *)&in6, &size) == 0, "%m");
        in.sin_port = in6.sin6_port;
    } else {
        size = sizeof(in);
        CHECK(bind(listener, (struct sockaddr *)&in, size) == 0, "%m");
        CHECK(getsockname(listener, (struct sockaddr *)&in, &size) == 0, "%m");
    }
    CHECK(listen(listener, 1) == 0, "%m");
    CHECK(client_domain == AF_INET ? connect(ends[1], (struct sockaddr *)&in, sizeof(in)) == 0
                                   : connect(ends[1], (struct sockaddr *)&in6, sizeof(in6)) == 0,
        "%m");
    ends[0] = accept(listener, NULL, NULL);
    CHECK(ends[0] >= 0, "%m");
    (void)close(listener);
}

static void make_lost(int ends[2])
{
    const struct linger linger = {1, 0};
    struct pollfd poll_one;

    make_internet(ends, AF_INET, AF_INET, 0);
    CHECK(setsockopt(ends[1], SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)) == 0, "%m");
    (void)close(ends[1]);
    ends[1] = -1;
    poll_one = (struct pollfd){.fd = ends[0], .events = POLLIN};
    CHECK(poll(&poll_one, 1, 10000) == 1, "no reset came");
}

static int make_file(void)
{
    char path[] = "/tmp/decant-test-handover.XXXXXX";
    int fd = mkstemp(path);

    CHECK(fd >= 0, "%m");
    (void)unlink(path);
    return fd;
}

static void make(enum thing thing, int ends[2])
{
    struct sockaddr_in in = {
        .sin_family = AF_INET, .sin_port = htons(9), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_addr = in6addr_loopback};
    struct sockaddr local = {.sa_family = AF_UNIX};

    ends[0] = ends[1] = -1;
    switch (thing) {
    case CLOSED:
    case SAME_AS_0:
    case SAME_AS_3:
        return;
    case DEV_NULL:
        ends[0] = open("/dev/null", O_RDWR);
        break;
    case TCP4:
        make_internet(ends, AF_INET, AF_INET, 0);
        break;
    case TCP6:
        make_internet(ends, AF_INET6, AF_INET6, 0);
        break;
    case MAPPED:
        make_internet(ends, AF_INET6, AF_INET, 0);
        break;
    case MPTCP:
        make_internet(ends, AF_INET, AF_INET, 262);
        break;
    case LOST:
        make_lost(ends);
        break;
    case LOCAL:
        CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0, "%m");
        break;
    case LOCAL_SEQPACKET:
        CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends) == 0, "%m");
        break;
    case LOCAL_DATAGRAM:
        CHECK(socketpair(AF_UNIX, SOCK_DGRAM, 0, ends) == 0, "%m");
        break;
    case UDP:
        ends[0] = socket(AF_INET, SOCK_DGRAM, 0);
        CHECK(connect(ends[0], (struct sockaddr *)&in, sizeof(in)) == 0, "%m");
        break;
    case LISTEN4:
        in.sin_port = 0;
        make_queue(ends, (struct sockaddr *)&in, sizeof(in), AF_INET, 0);
        break;
    case LISTEN6:
        make_queue(ends, (struct sockaddr *)&in6, sizeof(in6), AF_INET6, 0);
        break;
    case LISTEN_MPTCP:
        in.sin_port = 0;
        make_queue(ends, (struct sockaddr *)&in, sizeof(in), AF_INET, 262);
        break;
    case LISTEN_LOCAL: /* a name of the kernel's choice */
        make_queue(ends, &local, sizeof(local.sa_family), AF_UNIX, 0);
        break;
    case LISTEN_PATH:
        make_queue(ends, NULL, 0, AF_UNIX, 0);
        break;
    case FRESH:
        ends[0] = socket(AF_INET, SOCK_STREAM, 0);
        break;
    case PIPE:
        CHECK(pipe(ends) == 0, "%m");
        break;
    case FILE_ONE:
    case FILE_TWO:
        ends[0] = make_file();
        break;
    case DIRECTORY:
        ends[0] = open("/", O_RDONLY | O_DIRECTORY);
        break;
    case TERMINAL:
        ends[0] = posix_openpt(O_RDWR | O_NOCTTY);
        if (ends[0] < 0)
            exit(SKIPPED);
        break;
    case EVENTFD:
        ends[0] = eventfd(0, 0);
        break;
    case TABLE:
        ends[0] = memfd_create("decant", MFD_ALLOW_SEALING);
        CHECK(fcntl(ends[0], F_ADD_SEALS, F_SEAL_SHRINK) == 0, "%m");
        break;
    case SPOKEN:
        make_internet(ends, AF_INET, AF_INET, 0);
        CHECK(send(ends[0], "banner", 6, 0) == 6, "%m");
        break;
    case WRITE_END:
        CHECK(pipe(ends) == 0, "%m");
        int read_end = ends[0];
        ends[0] = ends[1];
        ends[1] = read_end;
        break;
    }
    CHECK(ends[0] >= 0, "%m");
}

/* ---- the cases ---- */

enum whom { NOBODY, OURS, ANOTHER };

struct hand {
    const char *name;
    enum thing things[HANDED];
    enum whom whom;             /* LISTEN_PID */
    const char *listen_fds;     /* NULL: not set */
    const char *environment[3]; /* NAME=VALUE; %J: device and inode of descriptor 2, %N: a socket
                                   that is listened on, %P: this process */
    int n;                      /* connections */
    int listeners;              /* neither the one nor the other: refused */
    int error;
    int status;
    const char *says[2];
    int file_fd; /* 0: none; or STDIN_FILE */
    enum channel channel;
    const char *peer; /* NULL: of its address */
    int fcntl_command;
    int setsockopt_error;
    int calloc_fails;
    int domain;
    int protocol;      /* with AF_INET; 0: TCP */
    const char *names; /* LISTEN_FDNAMES; NULL: n3:n4..., as many as there are; "-": none */
    bool notify;       /* somebody wants to hear from us */
    int64_t watchdog;  /* ns */
    int listen_fds_error;
    bool no_dev_null;
    const char *stored;  /* what systemd's store has kept, as format_stored() says it */
    unsigned int kept;   /* a bit for each descriptor: the store has it as well */
    unsigned int reset;  /* the same; and nobody would ever end it: it is reset */
    struct rlimit limit; /* of descriptors; 0: as it is */
    rlim_t raised_to;
    uint32_t room; /* for the next one's, where there is a limit */
};

#define STDIN_FILE      (-1)
#define ALONE           DEV_NULL, DEV_NULL, DEV_NULL /* on 0, 1 and 2, under systemd */
#define INETD           SAME_AS_0, SAME_AS_0
#define REFUSED(e, ...) .error = (e), .status = EX_PROTOCOL, .says = {__VA_ARGS__}
#define FAILED(e, ...)  .error = (e), .status = EX_OSERR, .says = {__VA_ARGS__}
#define START_IT        "systemd-socket-activate --accept"
#define BIT(fd)         (1u << (fd))

static const struct hand hands[] = {
    {"inetd: TCP on 0, 1 and 2", {TCP4, INETD}, .n = 1, .channel = CHANNEL_SYSLOG},
    {"inetd: UNIX on 0, 1 and 2", {LOCAL, INETD}, .n = 1, .channel = CHANNEL_SYSLOG},
    {"tcpserver: TCP on 0 and 1, stderr a pipe", {TCP4, SAME_AS_0, PIPE}, .n = 1,
        .channel = CHANNEL_STDERR},
    {"0 alone, 1 and 2 closed", {TCP4}, .n = 1, .channel = CHANNEL_SYSLOG},
    {"0 and 2, 1 closed", {TCP4, CLOSED, SAME_AS_0}, .n = 1, .channel = CHANNEL_SYSLOG},
    {"socat: stderr a terminal", {TCP4, DEV_NULL, TERMINAL}, .n = 1},
    {"stderr a file", {TCP4, DEV_NULL, FILE_ONE}, .n = 1},
    {"stderr another socket", {TCP4, DEV_NULL, LOCAL}, .n = 1, .channel = CHANNEL_SYSLOG},
    {"IPv6", {TCP6, INETD}, .n = 1, .channel = CHANNEL_SYSLOG},
    {"IPv4 on an IPv6 socket", {MAPPED, INETD}, .n = 1, .channel = CHANNEL_SYSLOG},
    {"MPTCP", {MPTCP, INETD}, .n = 1, .channel = CHANNEL_SYSLOG},
    {"vsock", {LOCAL, DEV_NULL, DEV_NULL}, .n = 1, .domain = AF_VSOCK, .peer = "vsock:3:4000"},
    {"no /dev/null", {TCP4, DEV_NULL, PIPE}, .n = 1, .no_dev_null = true},
    {"no /dev/null, and 1 and 2 closed", {TCP4, CLOSED, CLOSED}, .n = 1, .no_dev_null = true,
        .channel = CHANNEL_SYSLOG},

    {"systemd: one on 3", {ALONE, TCP4}, OURS, "1", .n = 1},
    {"systemd: two", {ALONE, TCP4, TCP6}, OURS, "2", .n = 2},
    {"systemd: three, of three sorts", {ALONE, TCP4, LOCAL, MAPPED}, OURS, "3", .n = 3},
    {"systemd: 0, 1 and 2 closed", {CLOSED, CLOSED, CLOSED, TCP4}, OURS, "1", .n = 1,
        .channel = CHANNEL_SYSLOG},
    {"systemd: stderr is the client as well", {DEV_NULL, DEV_NULL, SAME_AS_3, TCP4}, OURS, "1",
        .n = 1, .channel = CHANNEL_SYSLOG},
    {"systemd: 0 to 2 are the client as well", {SAME_AS_3, SAME_AS_3, SAME_AS_3, TCP4}, OURS, "1",
        .n = 1, .channel = CHANNEL_SYSLOG},
    {"systemd: stderr is the journal", {DEV_NULL, LOCAL, LOCAL, TCP4}, OURS, "1",
        {"JOURNAL_STREAM=%J"}, .n = 1, .channel = CHANNEL_JOURNAL},
    {"systemd: another is the journal", {DEV_NULL, DEV_NULL, PIPE, TCP4}, OURS, "1",
        {"JOURNAL_STREAM=1:2"}, .n = 1},
    {"systemd: the journal, inherited by inetd's child", {TCP4, INETD}, NOBODY, NULL,
        {"JOURNAL_STREAM=%J"}, .n = 1, .channel = CHANNEL_SYSLOG},
    {"systemd: socket and file", {ALONE, TCP4, FILE_ONE}, OURS, "2", .n = 1, .file_fd = 4},
    {"systemd: file and socket", {ALONE, FILE_ONE, TCP4}, OURS, "2", .n = 1, .file_fd = 3},
    {"systemd: socket, file, socket", {ALONE, TCP4, FILE_ONE, LOCAL}, OURS, "3", .n = 2,
        .file_fd = 4},
    {"systemd: file on stdin", {FILE_ONE, DEV_NULL, DEV_NULL, TCP4}, OURS, "1", .n = 1,
        .file_fd = STDIN_FILE},
    {"systemd: file on stdin and beside the socket", {FILE_ONE, DEV_NULL, DEV_NULL, TCP4, FILE_TWO},
        OURS, "2", .n = 1, .file_fd = 4},
    {"systemd: socket on stdin, file on 3", {TCP4, DEV_NULL, DEV_NULL, FILE_ONE}, OURS, "1", .n = 1,
        .file_fd = 3},
    {"systemd: more open than handed over", {ALONE, TCP4, PIPE, UDP}, OURS, "1", .n = 1},
    {"systemd: for another process, socket on stdin", {TCP4, INETD, PIPE}, ANOTHER, "1", .n = 1,
        .channel = CHANNEL_SYSLOG},
    {"systemd: for nobody, socket on stdin", {TCP4, INETD, PIPE}, NOBODY, "1", .n = 1,
        .channel = CHANNEL_SYSLOG},

    {"wait: TCP on 0, 1 and 2", {LISTEN4, INETD}, .listeners = 1, .channel = CHANNEL_SYSLOG},
    {"wait: IPv6", {LISTEN6, INETD}, .listeners = 1, .channel = CHANNEL_SYSLOG},
    {"wait: UNIX", {LISTEN_LOCAL, INETD}, .listeners = 1, .channel = CHANNEL_SYSLOG},
    {"wait: UNIX, of a path", {LISTEN_PATH, INETD}, .listeners = 1, .channel = CHANNEL_SYSLOG},
    {"wait: MPTCP", {LISTEN_MPTCP, INETD}, .listeners = 1, .channel = CHANNEL_SYSLOG},
    {"wait: 0 alone, 1 and 2 closed", {LISTEN4}, .listeners = 1, .channel = CHANNEL_SYSLOG},
    {"wait: stderr a file", {LISTEN4, SAME_AS_0, FILE_ONE}, .listeners = 1},
    {"wait: vsock", {LISTEN_LOCAL, DEV_NULL, DEV_NULL}, .listeners = 1, .domain = AF_VSOCK,
        .peer = "vsock:3:4000"},
    {"Accept=no: one on 3", {ALONE, LISTEN4}, OURS, "1", .listeners = 1},
    {"Accept=no: three, of three sorts", {ALONE, LISTEN4, LISTEN6, LISTEN_LOCAL}, OURS, "3",
        .listeners = 3},
    {"Accept=no: MPTCP and a path", {ALONE, LISTEN_MPTCP, LISTEN_PATH}, OURS, "2", .listeners = 2},
    {"Accept=no: 0, 1 and 2 closed", {CLOSED, CLOSED, CLOSED, LISTEN4}, OURS, "1", .listeners = 1,
        .channel = CHANNEL_SYSLOG},
    {"Accept=no: stderr is the listening socket as well", {DEV_NULL, DEV_NULL, SAME_AS_3, LISTEN4},
        OURS, "1", .listeners = 1, .channel = CHANNEL_SYSLOG},
    {"Accept=no: 0 to 2 are the listening socket as well",
        {SAME_AS_3, SAME_AS_3, SAME_AS_3, LISTEN_LOCAL}, OURS, "1", .listeners = 1,
        .channel = CHANNEL_SYSLOG},
    {"Accept=no: stderr is the journal", {DEV_NULL, LOCAL, LOCAL, LISTEN4}, OURS, "1",
        {"JOURNAL_STREAM=%J"}, .listeners = 1, .channel = CHANNEL_JOURNAL},
    {"Accept=no: sockets and a file", {ALONE, LISTEN4, FILE_ONE, LISTEN6}, OURS, "3",
        .listeners = 2, .file_fd = 4},
    {"Accept=no: file on stdin", {FILE_ONE, DEV_NULL, DEV_NULL, LISTEN4}, OURS, "1", .listeners = 1,
        .file_fd = STDIN_FILE},
    {"Accept=no: socket on stdin, file on 3", {LISTEN4, DEV_NULL, DEV_NULL, FILE_ONE}, OURS, "1",
        .listeners = 1, .file_fd = 3},
    {"Accept=no: a client of somebody else on stdin", {LOCAL, DEV_NULL, DEV_NULL, LISTEN4}, OURS,
        "1", .listeners = 1},

    {"names: none", {ALONE, LISTEN4, LISTEN6}, OURS, "2", .listeners = 2, .names = "-"},
    {"names: empty ones", {ALONE, LISTEN4, LISTEN6}, OURS, "2", .listeners = 2, .names = ":"},
    {"names: the same twice", {ALONE, LISTEN4, LISTEN6}, OURS, "2", .listeners = 2, .names = "a:a"},
    {"names: a long one", {ALONE, TCP4}, OURS, "1", .n = 1,
        .names = "0123456789012345678901234567890123456789012345678901234567890123456789012345678"},
    {"names: one too many, as of systemd 253 to 258", {TCP4, DEV_NULL, DEV_NULL, FILE_ONE}, OURS,
        "1", .n = 1, .file_fd = 3, .names = "connection:data"},
    {"names: the same, without the file", {TCP4, DEV_NULL, DEV_NULL}, NOBODY, NULL, .n = 1,
        .names = "connection:data"},

    {"notify: an abstract name", {ALONE, LISTEN4}, OURS, "1", {"NOTIFY_SOCKET=%N"}, .listeners = 1,
        .notify = true},
    {"notify: connected", {ALONE, TCP4}, OURS, "1", {"NOTIFY_SOCKET=%N"}, .n = 1, .notify = true},
    {"notify: and all else is closed", {CLOSED, CLOSED, CLOSED, LISTEN4}, OURS, "1",
        {"NOTIFY_SOCKET=%N"}, .listeners = 1, .notify = true, .channel = CHANNEL_SYSLOG},
    {"notify: nobody is there", {ALONE, LISTEN4}, OURS, "1", {"NOTIFY_SOCKET=@decant-nobody"},
        .listeners = 1},
    {"notify: and the hand-over fails", {ALONE, PIPE}, OURS, "1", {"NOTIFY_SOCKET=%N"},
        REFUSED(EPROTOTYPE, "a pipe")},
    {"watchdog: for anybody", {ALONE, LISTEN4}, OURS, "1",
        {"NOTIFY_SOCKET=%N", "WATCHDOG_USEC=3000000"}, .listeners = 1, .notify = true,
        .watchdog = 3 * CLOCK_SECOND},
    {"watchdog: for us", {ALONE, LISTEN4}, OURS, "1",
        {"NOTIFY_SOCKET=%N", "WATCHDOG_USEC=1", "WATCHDOG_PID=%P"}, .listeners = 1, .notify = true,
        .watchdog = 1000},
    {"watchdog: for another process", {ALONE, LISTEN4}, OURS, "1",
        {"NOTIFY_SOCKET=%N", "WATCHDOG_USEC=3000000", "WATCHDOG_PID=1"}, .listeners = 1,
        .notify = true},
    {"watchdog: for nobody", {ALONE, LISTEN4}, OURS, "1",
        {"NOTIFY_SOCKET=%N", "WATCHDOG_USEC=3000000", "WATCHDOG_PID="}, .listeners = 1,
        .notify = true},
    {"watchdog: a word", {ALONE, LISTEN4}, OURS, "1",
        {"NOTIFY_SOCKET=%N", "WATCHDOG_USEC=soon", "WATCHDOG_PID=%P"}, .listeners = 1,
        .notify = true},

    {"gone: told by systemd", {LOST, DEV_NULL, DEV_NULL}, NOBODY, NULL,
        {"REMOTE_ADDR=192.0.2.1", "REMOTE_PORT=4000"}, .n = 1, .peer = "192.0.2.1:4000"},
    {"gone: no port is told", {LOST, DEV_NULL, DEV_NULL}, NOBODY, NULL, {"REMOTE_ADDR=192.0.2.1"},
        .n = 1, .peer = "192.0.2.1:?"},
    {"gone: told by tcpserver", {LOST, DEV_NULL, DEV_NULL}, NOBODY, NULL,
        {"TCPREMOTEIP=192.0.2.2", "TCPREMOTEPORT=4001"}, .n = 1, .peer = "192.0.2.2:4001"},
    {"gone: told by nobody", {LOST, DEV_NULL, DEV_NULL}, .n = 1, .peer = "a client that has left"},
    {"gone: on 3", {ALONE, LOST}, OURS, "1", .n = 1, .peer = "a client that has left"},
    {"there: what was told does not count", {TCP4, DEV_NULL, DEV_NULL}, NOBODY, NULL,
        {"REMOTE_ADDR=192.0.2.1", "TCPREMOTEIP=192.0.2.2"}, .n = 1},

    {"nothing: 0 is closed", {CLOSED, DEV_NULL, DEV_NULL},
        REFUSED(ENOTSOCK, "descriptor 0 is closed", START_IT)},
    {"nothing: all is closed", {CLOSED}, REFUSED(ENOTSOCK, "descriptor 0 is closed"),
        .channel = CHANNEL_SYSLOG},
    {"nothing: /dev/null", {ALONE}, REFUSED(ENOTSOCK, "descriptor 0 is a device", START_IT)},
    {"nothing: a terminal", {TERMINAL, SAME_AS_0, SAME_AS_0},
        REFUSED(ENOTSOCK, "descriptor 0 is a terminal", START_IT)},
    {"nothing: a pipe", {PIPE, DEV_NULL, DEV_NULL},
        REFUSED(ENOTSOCK, "descriptor 0 is a pipe", START_IT)},
    {"nothing: a file", {FILE_ONE, DEV_NULL, DEV_NULL},
        REFUSED(ENOTSOCK, "descriptor 0 is a regular file", START_IT)},
    {"nothing: a directory", {DIRECTORY, DEV_NULL, DEV_NULL},
        REFUSED(ENOTSOCK, "descriptor 0 is a directory", START_IT)},
    {"nothing: an eventfd", {EVENTFD, DEV_NULL, DEV_NULL},
        REFUSED(ENOTSOCK, "descriptor 0 is", START_IT)},
    {"wrong: UDP, from inetd", {UDP, INETD}, REFUSED(ENOTSOCK, "no stream socket", "ListenStream="),
        .channel = CHANNEL_SYSLOG},
    {"wrong: UNIX datagrams", {LOCAL_DATAGRAM, DEV_NULL, DEV_NULL},
        REFUSED(ENOTSOCK, "no stream socket")},
    {"wrong: UNIX packets", {LOCAL_SEQPACKET, DEV_NULL, DEV_NULL},
        REFUSED(ENOTSOCK, "no stream socket")},
    {"wrong: neither connected nor listening", {FRESH, DEV_NULL, DEV_NULL},
        REFUSED(ENOTSOCK, "neither connected nor listening", START_IT)},
    {"wrong: the same, from systemd", {ALONE, FRESH}, OURS, "1",
        REFUSED(EPROTOTYPE, "descriptor 3 is a stream socket that is neither", START_IT)},
    {"wrong: of another family", {TCP4, DEV_NULL, DEV_NULL}, .domain = AF_PHONET,
        REFUSED(ENOTSOCK, "neither TCP, MPTCP, UNIX nor vsock")},
    {"wrong: SCTP", {TCP4, DEV_NULL, DEV_NULL}, .domain = AF_INET, .protocol = IPPROTO_SCTP,
        REFUSED(ENOTSOCK, "neither TCP, MPTCP, UNIX nor vsock")},
    {"wrong: for another process", {DEV_NULL, DEV_NULL, DEV_NULL, TCP4}, ANOTHER, "1",
        REFUSED(ENOTSOCK, "meant for another process", "LISTEN_PID")},

    {"wrong: somebody has spoken before us", {ALONE, SPOKEN}, OURS, "1", .error = EALREADY,
        .status = EX_PROTOCOL, .says = {"something was sent to 127.0.0.1:", "banners"}},
    {"wrong: the same, from inetd", {SPOKEN, DEV_NULL, DEV_NULL}, .error = EALREADY,
        .status = EX_PROTOCOL, .says = {"see what else writes to descriptor 0"}},
    {"LISTEN_FDS: empty", {ALONE, TCP4}, OURS, "", REFUSED(EINVAL, "LISTEN_FDS is ''", START_IT)},
    {"LISTEN_FDS: missing", {ALONE, TCP4}, OURS, NULL, REFUSED(EINVAL, "LISTEN_FDS is", START_IT)},
    {"LISTEN_FDS: 0", {ALONE, TCP4}, OURS, "0", REFUSED(EINVAL, "LISTEN_FDS is '0'", START_IT)},
    {"LISTEN_FDS: -1", {ALONE, TCP4}, OURS, "-1", REFUSED(EINVAL, "LISTEN_FDS is '-1'", START_IT)},
    {"LISTEN_FDS: a word", {ALONE, TCP4}, OURS, "one",
        REFUSED(EINVAL, "LISTEN_FDS is 'one'", START_IT)},
    {"LISTEN_FDS: a number and more", {ALONE, TCP4}, OURS, "1x",
        REFUSED(EINVAL, "LISTEN_FDS is '1x'", START_IT)},
    {"LISTEN_FDS: huge", {ALONE, TCP4}, OURS, "1000000",
        REFUSED(EBADF, "LISTEN_FDS is '1000000'", START_IT)},
    {"LISTEN_FDS: beyond an int", {ALONE, TCP4}, OURS, "99999999999",
        REFUSED(ERANGE, "LISTEN_FDS is '99999999999'")},
    {"LISTEN_FDS: 2147483647", {ALONE, TCP4}, OURS, "2147483647",
        REFUSED(EINVAL, "LISTEN_FDS is '2147483647'")},
    {"LISTEN_FDS: beyond anything", {ALONE, TCP4, TCP6}, OURS,
        "99999999999999999999999999999999999999999999999",
        REFUSED(ERANGE, "LISTEN_FDS is '9999999999999999999999999999999999999999'")},
    {"LISTEN_FDS: one more than there are", {ALONE, TCP4, LOCAL}, OURS, "3",
        REFUSED(EBADF, "LISTEN_FDS is '3'", START_IT)},
    {"LISTEN_FDS: 1, and nothing there", {ALONE}, OURS, "1",
        REFUSED(EBADF, "LISTEN_FDS is '1'", START_IT)},

    {"LISTEN_FDS: a build without libsystemd", {ALONE, TCP4, LOCAL}, OURS, "2",
        .listen_fds_error = ENOSYS, REFUSED(ENOSYS, "without libsystemd", "StandardInput=socket")},
    {"LISTEN_FDS: the same, socket on stdin", {TCP4, DEV_NULL, DEV_NULL, FILE_ONE}, OURS, "1",
        .listen_fds_error = ENOSYS, REFUSED(ENOSYS, "without libsystemd")},
    {"LISTEN_FDS: wrong, socket on stdin", {TCP4, DEV_NULL, DEV_NULL, FILE_ONE}, OURS, "9",
        REFUSED(EBADF, "LISTEN_FDS is '9'")},

    {"mixed: socket, pipe", {ALONE, TCP4, PIPE}, OURS, "2",
        REFUSED(EPROTOTYPE, "descriptor 4 is a pipe", START_IT)},
    {"mixed: pipe, socket", {ALONE, PIPE, TCP4}, OURS, "2",
        REFUSED(EPROTOTYPE, "descriptor 3 is a pipe", START_IT)},
    {"mixed: pipe, socket, terminal: the first is told", {ALONE, PIPE, TCP4, TERMINAL}, OURS, "3",
        REFUSED(EPROTOTYPE, "descriptor 3 is a pipe")},
    {"mixed: listening, connected", {ALONE, LISTEN4, TCP6, LOCAL}, OURS, "3",
        REFUSED(EPROTOTYPE, "descriptor 4 is a connected socket and descriptor 3 a listening one",
            START_IT)},
    {"mixed: connected, listening", {ALONE, TCP4, LISTEN_LOCAL}, OURS, "2",
        REFUSED(EPROTOTYPE, "descriptor 3 is a connected socket and descriptor 4 a listening one")},
    {"mixed: listening, pipe", {ALONE, LISTEN4, PIPE}, OURS, "2",
        REFUSED(EPROTOTYPE, "descriptor 4 is a pipe", START_IT)},
    {"mixed: UDP, listening, listening", {ALONE, UDP, LISTEN6, LISTEN_PATH}, OURS, "3",
        REFUSED(EPROTOTYPE, "descriptor 3 is a socket, but no stream socket")},
    {"mixed: one listening socket twice", {ALONE, LISTEN4, SAME_AS_3}, OURS, "2",
        REFUSED(EEXIST, "descriptor 4 is the same socket as descriptor 3", "each socket once")},
    {"mixed: the same, UNIX, and another", {ALONE, LISTEN_LOCAL, SAME_AS_3, LISTEN6}, OURS, "3",
        REFUSED(EEXIST, "descriptor 4 is the same socket as descriptor 3")},
    {"mixed: listening, two files", {ALONE, LISTEN4, FILE_ONE, FILE_TWO}, OURS, "3",
        REFUSED(EINVAL, "descriptors 4 and 5 are both regular files")},
    {"mixed: listening, for another process", {DEV_NULL, DEV_NULL, DEV_NULL, LISTEN4}, ANOTHER, "1",
        REFUSED(ENOTSOCK, "meant for another process", "LISTEN_PID")},
    {"mixed: listening, LISTEN_FDS is wrong", {ALONE, LISTEN4, LISTEN_LOCAL}, OURS, "many",
        REFUSED(EINVAL, "LISTEN_FDS is 'many'")},
    {"mixed: listening, a build without libsystemd", {ALONE, LISTEN4, LISTEN6}, OURS, "2",
        .listen_fds_error = ENOSYS, REFUSED(ENOSYS, "without libsystemd")},
    {"mixed: connected, UDP", {ALONE, TCP4, UDP}, OURS, "2",
        REFUSED(EPROTOTYPE, "descriptor 4", "no stream socket")},
    {"mixed: one socket twice", {ALONE, TCP4, SAME_AS_3}, OURS, "2",
        REFUSED(EEXIST, "descriptor 4 is the same socket as descriptor 3")},
    {"mixed: one socket twice, and another", {ALONE, TCP4, SAME_AS_3, TCP6}, OURS, "3",
        REFUSED(EEXIST, "descriptor 4 is the same socket as descriptor 3")},
    {"mixed: two files", {ALONE, FILE_ONE, FILE_TWO, TCP4}, OURS, "3",
        REFUSED(EINVAL, "descriptors 3 and 4 are both regular files", "one OpenFile=")},
    {"mixed: a file, no socket", {ALONE, FILE_ONE}, OURS, "1",
        REFUSED(ENOTSOCK, "no socket", START_IT)},

    {"fails: fcntl(F_GETFL)", {ALONE, TCP4}, OURS, "1", .fcntl_command = F_GETFL,
        FAILED(EMFILE, "fcntl")},
    {"fails: fcntl(F_SETFL)", {ALONE, TCP4}, OURS, "1", .fcntl_command = F_SETFL,
        FAILED(EMFILE, "fcntl")},
    {"fails: fcntl(F_SETFD)", {TCP4, DEV_NULL, DEV_NULL}, .fcntl_command = F_SETFD,
        FAILED(EMFILE, "fcntl")},
    {"fails: fcntl(F_DUPFD)", {TCP4, DEV_NULL, DEV_NULL}, .fcntl_command = F_DUPFD_CLOEXEC,
        FAILED(EMFILE, "fcntl")},
    {"fails: no memory, stdin", {TCP4, DEV_NULL, DEV_NULL}, .calloc_fails = 1,
        FAILED(ENOMEM, "calloc")},
    {"fails: no memory, systemd", {ALONE, TCP4}, OURS, "1", .calloc_fails = 1,
        FAILED(ENOMEM, "calloc")},
    {"fails: no memory a little later", {ALONE, TCP4, LOCAL}, OURS, "2", .calloc_fails = 2,
        FAILED(ENOMEM, "calloc")},
    {"fails: listening, no memory", {ALONE, LISTEN4}, OURS, "1", .calloc_fails = 1,
        FAILED(ENOMEM, "calloc")},
    {"fails: listening, fcntl(F_SETFD)", {LISTEN4, INETD}, .fcntl_command = F_SETFD,
        .channel = CHANNEL_SYSLOG, FAILED(EMFILE, "fcntl")},
    {"fails: listening, fcntl(F_DUPFD)", {LISTEN4, INETD}, .fcntl_command = F_DUPFD_CLOEXEC,
        .channel = CHANNEL_SYSLOG, FAILED(EMFILE, "fcntl")},
    {"fails: arming", {LOCAL, DEV_NULL, DEV_NULL}, .domain = AF_INET, .setsockopt_error = ENOBUFS,
        FAILED(ENOBUFS, "setsockopt: ")},

    {"store: nothing in it", {ALONE, LISTEN4}, OURS, "1", {"NOTIFY_SOCKET=%N", "FDSTORE=4224"},
        .listeners = 1, .notify = true, .stored = "0 of 4224"},
    {"store: all that there can be",
        {ALONE, LISTEN4, TABLE, PIPE, WRITE_END, FILE_ONE, TCP4, LOCAL}, OURS, "7",
        {"NOTIFY_SOCKET=%N", "FDSTORE=7"}, .listeners = 1, .notify = true,
        .names = "decant:@table:@witness:@witness:@file-1f:@0:@a", .kept = BIT(8) | BIT(9),
        .stored =
            "6 of 7, table 4, witness 5, file 7:1f, socket 8:0:TCP, socket 9:a:UNIX, last 1f"},
    {"store: the other way round",
        {ALONE, LISTEN_LOCAL, LOCAL, TCP6, FILE_ONE, WRITE_END, PIPE, TABLE, FILE_TWO}, OURS, "8",
        {"NOTIFY_SOCKET=%N"}, .listeners = 1, .notify = true,
        .names = "decant:@a:@0:@file-1f:@witness:@witness:@table:@file-2", .kept = BIT(4) | BIT(5),
        .stored = "7 of 0, table 9, witness 8, file 6:1f, file 10:2, socket 4:a:UNIX, "
                  "socket 5:0:TCP, last 1f"},
    {"store: two listening sockets, and a file of OpenFile=",
        {ALONE, LISTEN4, LISTEN_PATH, FILE_ONE, TABLE, MPTCP}, OURS, "5", {"NOTIFY_SOCKET=%N"},
        .listeners = 2, .notify = true, .file_fd = 5, .names = "a:b:data:@table:@7f",
        .kept = BIT(7), .stored = "2 of 0, table 6, socket 7:7f:MPTCP"},
    {"store: it goes without a message, too", {ALONE, LISTEN4, TABLE, TCP4}, OURS, "3",
        .listeners = 1, .names = "decant:@table:@0", .kept = BIT(5),
        .stored = "2 of 0, table 4, socket 5:0:TCP"},
    {"store: no listening socket", {ALONE, TABLE, FILE_ONE, TCP4}, OURS, "3", {"NOTIFY_SOCKET=%N"},
        .notify = true, .names = "@table:@file-1:@0", .kept = BIT(5),
        .stored = "3 of 0, table 3, file 4:1, socket 5:0:TCP, last 1"},
    {"store: no listening socket, and none else", {ALONE, TABLE, FILE_ONE, PIPE}, OURS, "3",
        {"NOTIFY_SOCKET=%N"}, .names = "@table:@file-1:@witness",
        REFUSED(ENOTSOCK, "but no socket", START_IT)},
    {"store: a listening socket on stdin", {LISTEN4, INETD, TABLE, TCP4}, OURS, "2",
        {"NOTIFY_SOCKET=%N"}, .listeners = 1, .notify = true, .names = "@table:@0", .kept = BIT(4),
        .channel = CHANNEL_SYSLOG, .stored = "2 of 0, table 3, socket 4:0:TCP"},
    {"store: clients that have left", {ALONE, LISTEN4, LOST, FRESH}, OURS, "3",
        {"NOTIFY_SOCKET=%N"}, .listeners = 1, .notify = true, .names = "decant:@0:@1",
        .kept = BIT(4) | BIT(5), .stored = "2 of 0, socket 4:0:TCP, socket 5:1:TCP"},
    {"store: two tables", {ALONE, LISTEN4, TABLE, TABLE, TABLE}, OURS, "4", {"NOTIFY_SOCKET=%N"},
        .listeners = 1, .notify = true, .names = "decant:@table:@table:@table",
        .stored = "3 of 0, table 4 of 3"},
    {"store: two witnesses", {ALONE, LISTEN4, WRITE_END, PIPE, WRITE_END, PIPE}, OURS, "5",
        {"NOTIFY_SOCKET=%N"}, .listeners = 1, .notify = true,
        .names = "decant:@witness:@witness:@witness:@witness", .stored = "4 of 0, witness 5"},
    {"store: half a witness", {ALONE, LISTEN4, WRITE_END}, OURS, "2", {"NOTIFY_SOCKET=%N"},
        .listeners = 1, .notify = true, .names = "decant:@witness", .stored = "1 of 0"},
    {"store: names of ours, on something else",
        {ALONE, LISTEN4, FILE_ONE, TCP4, PIPE, DIRECTORY, LISTEN6}, OURS, "6", {"NOTIFY_SOCKET=%N"},
        .listeners = 1, .notify = true, .names = "decant:@0:@file-1:@table:@table:@7",
        .kept = BIT(5) | BIT(8), .reset = BIT(5), .stored = "5 of 0, foreign *5:@7"},
    {"store: the same name twice", {ALONE, LISTEN4, TCP4, TCP6, FILE_ONE, FILE_TWO}, OURS, "5",
        {"NOTIFY_SOCKET=%N"}, .listeners = 1, .notify = true,
        .names = "decant:@0:@0:@file-3:@file-3", .kept = BIT(4) | BIT(5),
        .stored = "4 of 0, file 6:3, file 7:3, socket 4:0:TCP, socket 5:0:TCP, last 3"},

    {"store: beside it a file of OpenFile=, which comes last, and one of somebody else",
        {ALONE, LISTEN4, TABLE, FILE_ONE, FILE_TWO}, OURS, "4", {"NOTIFY_SOCKET=%N"},
        .listeners = 1, .notify = true, .file_fd = 6, .names = "decant:@table:other:data",
        .stored = "1 of 0, table 4, foreign *1:a regular file"},
    {"store: the same, and a file on stdin",
        {FILE_ONE, DEV_NULL, DEV_NULL, LISTEN4, TABLE, FILE_TWO}, OURS, "3", {"NOTIFY_SOCKET=%N"},
        .listeners = 1, .notify = true, .file_fd = 5, .names = "decant:@table:other",
        .stored = "1 of 0, table 4"},
    {"foreign: a file with a name almost as ours", {ALONE, LISTEN4, FILE_ONE}, OURS, "2",
        {"NOTIFY_SOCKET=%N"}, .listeners = 1, .notify = true, .names = "decant:@data",
        .stored = "1 of 0, foreign *1:@data"},
    {"foreign: a file with such a name, but nobody to keep it", {ALONE, LISTEN4, FILE_ONE}, OURS,
        "2", .listeners = 1, .file_fd = 4, .names = "decant:@data", .stored = "0 of 0"},
    {"foreign: not a listening socket, whatever it is called",
        {ALONE, LISTEN4, LISTEN6, LISTEN_LOCAL}, OURS, "3", {"NOTIFY_SOCKET=%N"}, .listeners = 3,
        .notify = true, .names = "decant:stored:@other", .stored = "0 of 0"},
    {"foreign: a client of somebody else", {ALONE, LISTEN4, TCP4}, OURS, "2", {"NOTIFY_SOCKET=%N"},
        .listeners = 1, .notify = true, .names = "decant:other", .kept = BIT(4),
        .stored = "1 of 0, foreign *1:other"},
    {"foreign: of all sorts",
        {ALONE, LISTEN4, PIPE, UDP, FRESH, EVENTFD, DIRECTORY, LOCAL_DATAGRAM, LOST}, OURS, "8",
        {"NOTIFY_SOCKET=%N"}, .listeners = 1, .notify = true, .names = "decant:a:b:c:d:e:f:g",
        .stored = "7 of 0, foreign *7:g"},
    {"foreign: a file without a name", {ALONE, LISTEN4, FILE_ONE}, OURS, "2", {"NOTIFY_SOCKET=%N"},
        .listeners = 1, .notify = true, .names = "decant:stored",
        .stored = "1 of 0, foreign *1:stored"},
    {"foreign: names almost as ours", {ALONE, LISTEN4, TCP4, TCP6, PIPE, LOCAL}, OURS, "5",
        {"NOTIFY_SOCKET=%N"}, .listeners = 1, .notify = true, .names = "decant:@00:@G:@Table:@",
        .kept = BIT(4) | BIT(5) | BIT(7), .reset = BIT(4) | BIT(5) | BIT(7),
        .stored = "4 of 0, foreign *4:@"},
    {"foreign: beside ours", {ALONE, LISTEN4, TCP4, TCP6}, OURS, "3", {"NOTIFY_SOCKET=%N"},
        .listeners = 1, .notify = true, .names = "decant:@4:other", .kept = BIT(4) | BIT(5),
        .stored = "2 of 0, socket 4:4:TCP, foreign *1:other"},
    {"foreign: but nobody to keep it", {ALONE, LISTEN4, TCP4}, OURS, "2", .names = "decant:other",
        REFUSED(EPROTOTYPE, "descriptor 4 is a connected socket and descriptor 3 a listening one")},
    {"foreign: a pipe, and nobody to keep it", {ALONE, LISTEN4, PIPE}, OURS, "2",
        .names = "decant:other", REFUSED(EPROTOTYPE, "descriptor 4 is a pipe")},
    {"foreign: but the names are out of step", {ALONE, LISTEN4, PIPE}, OURS, "2",
        {"NOTIFY_SOCKET=%N"}, .names = "decant:other:third",
        REFUSED(EPROTOTYPE, "descriptor 4 is a pipe")},
    {"foreign: without a listening socket it is a client", {ALONE, TCP4}, OURS, "1",
        {"NOTIFY_SOCKET=%N"}, .n = 1, .notify = true, .names = "other", .stored = "0 of 0"},

    {"store: the hand-over fails, and it stays", {ALONE, LISTEN4, TCP4, LOCAL, PIPE}, OURS, "4",
        .names = "decant:@0:@1:other", .kept = BIT(4) | BIT(5),
        REFUSED(EPROTOTYPE, "descriptor 6 is a pipe")},
    {"store: the same, the other way round", {ALONE, PIPE, TCP4, LISTEN4, LOCAL}, OURS, "4",
        {"NOTIFY_SOCKET=%N"}, .names = "other:@0:decant:@1", .kept = BIT(4) | BIT(6),
        REFUSED(EPROTOTYPE, "descriptor 3 is a pipe")},
    {"store: the listening socket fails, and it stays", {ALONE, LISTEN4, TCP4}, OURS, "2",
        {"NOTIFY_SOCKET=%N"}, .names = "decant:@0", .kept = BIT(4), .setsockopt_error = ENOBUFS,
        FAILED(ENOBUFS, "setsockopt: ")},
    {"store: LISTEN_FDS is wrong, and nobody knows which are kept", {ALONE, LISTEN4, TCP4}, OURS,
        "3", {"NOTIFY_SOCKET=%N"}, .names = "decant:@0:@1", .kept = BIT(4), .reset = BIT(4),
        REFUSED(EBADF, "LISTEN_FDS is '3'")},
    {"store: no memory, and it stays (1)", {ALONE, LISTEN4, TCP4}, OURS, "2", {"NOTIFY_SOCKET=%N"},
        .names = "decant:@0", .kept = BIT(4), .calloc_fails = 1, FAILED(ENOMEM, "calloc")},
    {"store: no memory, and it stays (3)", {ALONE, LISTEN4, TCP4}, OURS, "2", {"NOTIFY_SOCKET=%N"},
        .names = "decant:@0", .kept = BIT(4), .calloc_fails = 3, FAILED(ENOMEM, "calloc")},
    {"store: no memory, and it stays (4)", {ALONE, LISTEN4, TCP4}, OURS, "2", {"NOTIFY_SOCKET=%N"},
        .names = "decant:@0", .kept = BIT(4), .calloc_fails = 4, FAILED(ENOMEM, "calloc")},

    {"FDSTORE: 0", {ALONE, LISTEN4}, OURS, "1", {"FDSTORE=0"}, .listeners = 1, .stored = "0 of 0"},
    {"FDSTORE: 1", {ALONE, LISTEN4}, OURS, "1", {"FDSTORE=1"}, .listeners = 1, .stored = "0 of 1"},
    {"FDSTORE: 4294967295", {ALONE, LISTEN4}, OURS, "1", {"FDSTORE=4294967295"}, .listeners = 1,
        .stored = "0 of 4294967295"},
    {"FDSTORE: 4294967296", {ALONE, LISTEN4}, OURS, "1", {"FDSTORE=4294967296"}, .listeners = 1,
        .stored = "0 of 0"},
    {"FDSTORE: beyond anything", {ALONE, LISTEN4}, OURS, "1",
        {"FDSTORE=99999999999999999999999999"}, .listeners = 1, .stored = "0 of 0"},
    {"FDSTORE: empty", {ALONE, LISTEN4}, OURS, "1", {"FDSTORE="}, .listeners = 1,
        .stored = "0 of 0"},
    {"FDSTORE: negative", {ALONE, LISTEN4}, OURS, "1", {"FDSTORE=-5"}, .listeners = 1,
        .stored = "0 of 0"},
    {"FDSTORE: with a sign", {ALONE, LISTEN4}, OURS, "1", {"FDSTORE=+5"}, .listeners = 1,
        .stored = "0 of 0"},
    {"FDSTORE: with a space", {ALONE, LISTEN4}, OURS, "1", {"FDSTORE= 5"}, .listeners = 1,
        .stored = "0 of 0"},
    {"FDSTORE: a number and more", {ALONE, LISTEN4}, OURS, "1", {"FDSTORE=5x"}, .listeners = 1,
        .stored = "0 of 0"},

    {"RLIMIT_NOFILE: raised to what is needed", {ALONE, LISTEN4, TABLE}, OURS, "2", .listeners = 1,
        .names = "decant:@table", .stored = "1 of 0, table 4", .limit = {20, 400}, .raised_to = 69},
    {"RLIMIT_NOFILE: just enough", {ALONE, LISTEN4, TABLE}, OURS, "2", .listeners = 1,
        .names = "decant:@table", .stored = "1 of 0, table 4", .limit = {69, 400}, .raised_to = 69,
        .room = 0},
    {"RLIMIT_NOFILE: room for one more", {ALONE, LISTEN4, TABLE}, OURS, "2", .listeners = 1,
        .names = "decant:@table", .stored = "1 of 0, table 4", .limit = {71, 400}, .raised_to = 71,
        .room = 1},
    {"RLIMIT_NOFILE: each of them counts twice", {ALONE, LISTEN4, TABLE}, OURS, "2", .listeners = 1,
        .names = "decant:@table", .stored = "1 of 0, table 4", .limit = {200, 400},
        .raised_to = 200, .room = 66},
    {"RLIMIT_NOFILE: one too few", {ALONE, LISTEN4, TABLE}, OURS, "2", .listeners = 1,
        .names = "decant:@table", .stored = "1 of 0, table 4", .limit = {68, 400}, .raised_to = 69,
        .room = 0},
    {"RLIMIT_NOFILE: more than enough", {ALONE, LISTEN4}, OURS, "1", .listeners = 1,
        .limit = {300, 400}, .raised_to = 300, .room = 116},
    {"RLIMIT_NOFILE: as far as it goes", {ALONE, LISTEN4, TABLE}, OURS, "2", .listeners = 1,
        .names = "decant:@table", .stored = "1 of 0, table 4", .limit = {20, 40}, .raised_to = 40},
};

/* ---- one of them, in the child ---- */

/* Where the supervisor would listen; a name of the kernel's choice. */
static void make_notify_socket(char *name, size_t size)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    socklen_t length = sizeof(un.sun_family);
    int fd = socket(AF_UNIX, SOCK_DGRAM, 0);

    CHECK(bind(fd, (struct sockaddr *)&un, length) == 0, "%m");
    CHECK(dup2(fd, NOTIFIED) >= 0 && close(fd) == 0, "%m");
    length = sizeof(un);
    CHECK(__real_getsockname(NOTIFIED, (struct sockaddr *)&un, &length) == 0, "%m");
    (void)snprintf(name, size, "@%.*s", (int)(length - offsetof(struct sockaddr_un, sun_path) - 1),
        un.sun_path + 1);
}

static void set_variable(const char *text)
{
    char name[80];
    char value[80];
    struct stat status;
    size_t length = strcspn(text, "=");

    (void)snprintf(name, sizeof(name), "%.*s", (int)length, text);
    (void)snprintf(value, sizeof(value), "%s", text + length + 1);
    if (strcmp(value, "%J") == 0) {
        CHECK(fstat(STDERR_FILENO, &status) == 0, "%m");
        (void)snprintf(
            value, sizeof(value), "%ju:%ju", (uintmax_t)status.st_dev, (uintmax_t)status.st_ino);
    }
    if (strcmp(value, "%N") == 0)
        make_notify_socket(value, sizeof(value));
    if (strcmp(value, "%P") == 0)
        (void)snprintf(value, sizeof(value), "%jd", (intmax_t)getpid());
    CHECK(setenv(name, value, 1) == 0, "%m");
}

/* The name that a descriptor is given, or NULL. */
static const char *name_of(const struct hand *c, int i, char *name, size_t size)
{
    int n = c->listen_fds && c->whom == OURS ? atoi(c->listen_fds) : 0;
    int known = 1;

    if (i < 3 || i - 3 >= n)
        return NULL;
    (void)snprintf(name, size, "n%d", i);
    if (!c->names)
        return name;
    if (strcmp(c->names, "-") == 0)
        return "unknown";
    for (const char *colon = c->names; *colon; colon++)
        known += *colon == ':';
    if (known != n) /* out of step: better none than that of another */
        return NULL;
    const char *from = c->names;
    for (int j = 3; j < i; j++)
        from = strchr(from, ':') + 1;
    (void)snprintf(name, size, "%.*s", (int)strcspn(from, ":"), from);
    return name;
}

static void set_names(const struct hand *c)
{
    char names[80] = "n3";
    int n = c->listen_fds ? atoi(c->listen_fds) : 0;

    for (int i = 4; i - 3 < n && i < 20; i++)
        (void)snprintf(names + strlen(names), sizeof(names) - strlen(names), ":n%d", i);
    if (c->names)
        (void)snprintf(names, sizeof(names), "%s", c->names);
    if (strcmp(names, "-") != 0)
        CHECK(setenv("LISTEN_FDNAMES", names, 1) == 0, "%m");
}

static void set_environment(const struct hand *c)
{
    char pid[24];

    (void)clearenv();
    set_variable("HOME=/nowhere"); /* one that is none of our business */
    set_names(c);
    (void)snprintf(pid, sizeof(pid), "%jd", (intmax_t)getpid() + (c->whom == ANOTHER));
    if (c->whom != NOBODY)
        CHECK(setenv("LISTEN_PID", pid, 1) == 0, "%m");
    if (c->listen_fds)
        CHECK(setenv("LISTEN_FDS", c->listen_fds, 1) == 0, "%m");
    for (size_t i = 0; i < LENGTH(c->environment) && c->environment[i]; i++)
        set_variable(c->environment[i]);
}

static void lay_out(const struct hand *c)
{
    for (int i = 0; i < HANDED; i++) {
        int ends[2];
        make(c->things[i], ends);
        if (ends[0] >= 0)
            CHECK(dup2(ends[0], SERVER + i) >= 0 && close(ends[0]) == 0, "%m");
        if (ends[1] >= 0)
            CHECK(dup2(ends[1], CLIENT + i) >= 0 && close(ends[1]) == 0, "%m");
        if (c->kept & BIT(i))
            CHECK(dup2(SERVER + i, KEPT + i) >= 0, "%m");
        if (is_listening(c->things[i])) {
            CHECK(dup2(SECOND - 1, SECOND + i) >= 0 && close(SECOND - 1) == 0, "%m");
            CHECK(dup2(SERVER + i, KEPT + i) >= 0, "%m");
        }
    }
    for (int fd = 0; fd < SERVER; fd++)
        if (fd != VERDICT)
            (void)close(fd);
    for (int i = 0; i < HANDED; i++)
        if (dup2(SERVER + i, i) == i)
            (void)close(SERVER + i);
    for (int i = 0; i < HANDED; i++)
        if (c->things[i] == SAME_AS_0 || c->things[i] == SAME_AS_3)
            CHECK(dup2(c->things[i] == SAME_AS_0 ? 0 : 3, i) == i, "%m");
}

/* What the client of descriptor i reads at once. */

static enum kernel_view look_at(int fd)
{
    char byte;
    ssize_t n = recv(fd, &byte, 1, MSG_DONTWAIT);

    return n == 0                ? VIEW_END
           : n > 0               ? VIEW_OPEN
           : errno == EAGAIN     ? VIEW_OPEN
           : errno == ECONNRESET ? VIEW_RESET
                                 : VIEW_END;
}

/* Is descriptor i one that the supervisor meant for us? */
static bool is_handed(const struct hand *c, int i)
{
    if (c->whom != OURS)
        return i == 0;
    if (i == 0) /* StandardInput=socket */
        return true;
    return i >= 3 && (c->error != 0 || i < 3 + atoi(c->listen_fds));
}

/* Those that wait: gone with a reset, or still there for whoever starts us again. */
static void check_queue(const struct hand *c, int i, bool gone)
{
    enum kernel_view should = !gone                           ? VIEW_OPEN
                              : is_tcp_listener(c->things[i]) ? VIEW_RESET
                                                              : VIEW_END;
    enum kernel_view one = look_at(CLIENT + i);
    enum kernel_view other = look_at(SECOND + i);

    CHECK(one == should && other == should, "those who wait at %d see %d and %d, not %d", i, one,
        other, should);
}

static void check_clients(const struct hand *c, bool gone)
{
    for (int i = 0; i < HANDED; i++) {
        bool tcp = is_tcp_client(c->things[i]);
        if (c->kept & BIT(i)) { /* whatever happens: another process may go on with it */
            bool reset = c->reset & BIT(i); /* told once: the next look sees an end */
            enum kernel_view sees = tcp || c->things[i] == LOCAL ? look_at(CLIENT + i) : VIEW_OPEN;
            CHECK(sees == VIEW_OPEN || reset, "client %d, who was kept, sees %d", i, sees);
            CHECK(sees == VIEW_RESET || !reset || !tcp || gone, "client %d sees %d", i, sees);
            continue;
        }
        if (is_listening(c->things[i]) && is_handed(c, i))
            check_queue(c, i, gone && c->error != 0);
        if ((!tcp && c->things[i] != LOCAL) || c->domain == AF_PHONET || c->protocol ||
            !is_handed(c, i))
            continue;
        if (i == 0 && c->listeners > 0) /* not ours, but of whoever started the supervisor */
            continue;
        enum kernel_view view = look_at(CLIENT + i);
        enum kernel_view should = !gone ? VIEW_OPEN : tcp ? VIEW_RESET : VIEW_END;
        CHECK(view == should, "client %d sees %d, not %d", i, view, should);
    }
}

static void expect_name(const struct hand *c, int i, char *name, size_t size)
{
    union {
        struct sockaddr any;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
    } address;
    socklen_t length = sizeof(address);

    if (c->peer)
        (void)snprintf(name, size, "%s", c->peer);
    else if (c->things[i] == LOCAL)
        (void)snprintf(
            name, size, "unix:pid=%jd:uid=%ju", (intmax_t)getpid(), (uintmax_t)geteuid());
    else {
        CHECK(getsockname(CLIENT + i, &address.any, &length) == 0, "%m");
        bool six = c->things[i] == TCP6;
        (void)snprintf(name, size, "%s:%u", six ? "[::1]" : "127.0.0.1",
            ntohs(six ? address.in6.sin6_port : address.in.sin_port));
    }
}

static void check_name(const struct hand *c, int from, const char *is)
{
    char name[120];
    const char *should = name_of(c, from, name, sizeof(name));

    CHECK(!is == !should && (!is || strcmp(is, should) == 0), "it is called '%s', not '%s'",
        is ? is : "(null)", should ? should : "(null)");
}

static void check_armed(int fd, enum socket_kind kind)
{
    struct linger linger = {0};
    socklen_t size = sizeof(linger);
    int lowat = 0;

    if (kind > SOCKET_MPTCP)
        return;
    CHECK(getsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, &size) == 0, "%m");
    CHECK(linger.l_onoff == 1 && linger.l_linger == 0, "it is not armed");
    size = sizeof(lowat);
    if (kind == SOCKET_TCP && getsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &lowat, &size) == 0)
        CHECK(lowat == 16384, "%d", lowat);
}

static void check_connection(const struct hand *c, const struct connection *connection, int from)
{
    char name[120];
    enum thing thing = c->things[from];
    enum socket_kind kind = c->domain == AF_VSOCK ? SOCKET_VSOCK
                            : thing == LOCAL      ? SOCKET_UNIX
                            : thing == MPTCP      ? SOCKET_MPTCP
                                                  : SOCKET_TCP;

    CHECK(connection->kind == kind, "kind %d, not %d", connection->kind, kind);
    CHECK(connection->fd >= 3 && connection->fd < SERVER, "%d", connection->fd);
    CHECK(from == 0 || connection->fd == from, "%d became %d", from, connection->fd);
    CHECK(fcntl(connection->fd, F_GETFL) & O_NONBLOCK, "it would block");
    CHECK(fcntl(connection->fd, F_GETFD) & FD_CLOEXEC, "a child would hold it");
    expect_name(c, from, name, sizeof(name));
    CHECK(strcmp(connection->peer, name) == 0, "'%s', not '%s'", connection->peer, name);
    check_name(c, from, connection->name);
    check_armed(connection->fd, kind);
}

/* As getsockname(2) has it of the one that the supervisor kept. */
static void expect_address(const struct hand *c, int i, char *name, size_t size)
{
    union {
        struct sockaddr any;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
        struct sockaddr_un un;
    } address = {.any = {0}};
    socklen_t length = sizeof(address);

    CHECK(__real_getsockname(KEPT + i, &address.any, &length) == 0, "%m");
    int path = (int)(length - offsetof(struct sockaddr_un, sun_path));
    if (c->peer)
        (void)snprintf(name, size, "%s", c->peer);
    else if (c->things[i] == LISTEN_LOCAL)
        (void)snprintf(name, size, "unix:@%.*s", path - 1, address.un.sun_path + 1);
    else if (c->things[i] == LISTEN_PATH)
        (void)snprintf(name, size, "unix:%.*s", path, address.un.sun_path);
    else if (c->things[i] == LISTEN6)
        (void)snprintf(name, size, "[::1]:%u", ntohs(address.in6.sin6_port));
    else
        (void)snprintf(name, size, "127.0.0.1:%u", ntohs(address.in.sin_port));
}

static void check_listener(const struct hand *c, const struct listener *listener, int from)
{
    enum thing thing = c->things[from];
    enum socket_kind kind = c->domain == AF_VSOCK     ? SOCKET_VSOCK
                            : !is_tcp_listener(thing) ? SOCKET_UNIX
                            : thing == LISTEN_MPTCP   ? SOCKET_MPTCP
                                                      : SOCKET_TCP;
    char address[200];

    CHECK(listener->kind == kind, "kind %d, not %d", listener->kind, kind);
    CHECK(listener->fd >= 3 && listener->fd < SERVER, "%d", listener->fd);
    CHECK(from == 0 || listener->fd == from, "%d became %d", from, listener->fd);
    CHECK(fcntl(listener->fd, F_GETFL) & O_NONBLOCK, "accept would block");
    CHECK(fcntl(listener->fd, F_GETFD) & FD_CLOEXEC, "a child would hold it");
    expect_address(c, from, address, sizeof(address));
    CHECK(strcmp(listener->address, address) == 0, "'%s', not '%s'", listener->address, address);
    check_name(c, from, listener->name);
    check_armed(listener->fd, kind);
}

/* No library must ever be able to write to a client by 0, 1 or 2. */
static void check_stdio(const struct hand *c)
{
    struct stat status;
    struct stat null;
    const char *instead = c->no_dev_null ? "/" : "/dev/null"; /* a client must not land there */

    CHECK(stat(instead, &null) == 0, "%m");
    for (int i = 0; i < 3; i++) {
        bool client = is_tcp_client(c->things[i]) || c->things[i] == SAME_AS_0 ||
                      c->things[i] == SAME_AS_3 || c->things[i] == LOST ||
                      is_listening(c->things[i]) ||
                      (i == 0 && c->things[i] == LOCAL && c->listeners == 0);
        CHECK(fstat(i, &status) == 0, "descriptor %d is closed", i);
        bool replaced = status.st_dev == null.st_dev && status.st_ino == null.st_ino;
        if (client || c->things[i] == CLOSED)
            CHECK(replaced, "%d is not %s", i, instead);
        else if (c->things[i] != DEV_NULL)
            CHECK(!replaced, "%d was taken away", i);
    }
}

static void check_environment(void)
{
    static const char *const names[] = {"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES",
        "JOURNAL_STREAM", "REMOTE_ADDR", "REMOTE_PORT", "TCPREMOTEIP", "TCPREMOTEPORT",
        "NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "FDSTORE"};

    for (size_t i = 0; i < LENGTH(names); i++)
        CHECK(!getenv(names[i]), "%s is still there", names[i]);
    CHECK(getenv("HOME"), "HOME is gone");
}

static void check_notify(const struct hand *c, const struct handover *handover)
{
    char text[20];

    CHECK(handover->notify.watchdog == c->watchdog, "%jd", (intmax_t)handover->notify.watchdog);
    CHECK((handover->notify.fd >= 0) == c->notify, "descriptor %d", handover->notify.fd);
    if (!c->notify)
        return;
    CHECK(handover->notify.fd >= 3, "descriptor %d", handover->notify.fd);
    CHECK(notify_send(&handover->notify, "READY=1") == 0, "it is not sent");
    CHECK(recv(NOTIFIED, text, sizeof(text), MSG_DONTWAIT) == 7, "%m");
    CHECK(memcmp(text, "READY=1", 7) == 0, "%.7s", text);
}

/* What of the store has come over, and each in its place; and each descriptor ours alone. */
static void format_stored(const struct stored *stored, char *text, size_t size)
{
    static const char *const kinds[] = {"TCP", "MPTCP", "UNIX", "vsock"};
    size_t n = (size_t)snprintf(text, size, "%u of %u", stored->n, stored->most);

    if (stored->table >= 0)
        n += (size_t)snprintf(text + n, size - n, ", table %d", stored->table);
    if (stored->n_tables > 1)
        n += (size_t)snprintf(text + n, size - n, " of %u", stored->n_tables);
    if (stored->witness >= 0)
        n += (size_t)snprintf(text + n, size - n, ", witness %d", stored->witness);
    for (size_t i = 0; i < stored->n_files; i++)
        n += (size_t)snprintf(
            text + n, size - n, ", file %d:%x", stored->files[i].fd, stored->files[i].generation);
    for (size_t i = 0; i < stored->n_sockets; i++)
        n += (size_t)snprintf(text + n, size - n, ", socket %d:%x:%s", stored->sockets[i].fd,
            stored->sockets[i].slot, kinds[stored->sockets[i].kind]);
    if (stored->last_generation > 0)
        n += (size_t)snprintf(text + n, size - n, ", last %x", stored->last_generation);
    if (stored->n_foreign > 0)
        (void)snprintf(text + n, size - n, ", foreign *%u:%s", stored->n_foreign, stored->foreign);
}

/* How long they are, for the next LISTEN_FDNAMES; and will it all be handed over again? */
static void check_names(const struct hand *c, const struct stored *stored)
{
    int n = c->listen_fds ? atoi(c->listen_fds) : 0;
    bool other_file = stored->foreign && strcmp(stored->foreign, "a regular file") == 0;
    bool comes_back = false;
    uint32_t names = 0;
    char name[120];

    for (int i = 3; i < 3 + n; i++) {
        bool listener = is_listening(c->things[i]) && !(c->kept & BIT(i));
        comes_back |= listener;
        comes_back |= stored->n > 0;
        if (!listener && i != c->file_fd && c->n == 0 && name_of(c, i, name, sizeof(name)))
            names += (uint32_t)strlen(name) + 1;
    }
    CHECK(stored->comes_back == comes_back, "comes back: %d", stored->comes_back);
    CHECK(other_file || stored->names == names, "%u bytes of names, not %u", stored->names, names);
}

/* What became of a client that left is for its transfer to learn: the first look takes it. */
static void check_lost(const struct hand *c, const struct stored *stored)
{
    for (size_t i = 0; i < stored->n_sockets; i++) {
        int error = 0;
        socklen_t size = sizeof(error);
        if (c->things[stored->sockets[i].fd] != LOST)
            continue;
        CHECK(getsockopt(stored->sockets[i].fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0, "%m");
        CHECK(error == ECONNRESET, "its error is %d", error);
    }
}

static void check_stored(const struct hand *c, const struct handover *handover)
{
    char text[400];
    int n = c->listen_fds ? atoi(c->listen_fds) : 0;

    if (!c->stored)
        return;
    format_stored(&handover->stored, text, sizeof(text));
    check_names(c, &handover->stored);
    check_lost(c, &handover->stored);
    CHECK(strcmp(text, c->stored) == 0, "'%s', not '%s'", text, c->stored);
    for (int fd = 3; fd < 3 + n; fd++) {
        char is[20];
        int length = snprintf(is, sizeof(is), " %d", fd);
        const char *at = strchr(text, ',') ? strstr(strchr(text, ','), is) : NULL;
        bool listed = at && !isdigit((unsigned char)at[length]);
        bool ours = listed || fd == c->file_fd || c->n > 0 ||
                    (is_listening(c->things[fd]) && !(c->kept & BIT(fd)));
        int flags = fcntl(fd, F_GETFD);
        CHECK(flags < 0 || flags & FD_CLOEXEC, "a child would hold %d", fd);
        CHECK(ours || flags < 0 || fd == handover->notify.fd, "%d is open, '%s'", fd, text);
        CHECK(!ours || flags >= 0, "%d is closed, '%s'", fd, text);
    }
}

/* None is left open, and yet none is reset: that is for check_clients() to see. */
static void check_stored_end(const struct hand *c)
{
    int n = c->listen_fds && c->stored ? atoi(c->listen_fds) : 0;

    for (int fd = 3; fd < 3 + n; fd++)
        CHECK(fd == c->file_fd || fcntl(fd, F_GETFD) < 0, "%d is still open", fd);
}

static void check_limit(const struct hand *c, uint32_t room)
{
    struct rlimit limit;

    CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0, "%m");
    if (c->raised_to > 0) {
        CHECK(limit.rlim_cur == c->raised_to, "%ju", (uintmax_t)limit.rlim_cur);
        CHECK(room == c->room, "room for %u", room);
    }
}

static void check_taken(const struct hand *c, struct handover *handover)
{
    size_t n = 0;
    size_t listeners = 0;

    CHECK(handover->n_connections == (size_t)c->n, "%zu connections", handover->n_connections);
    CHECK(handover->n_listeners == (size_t)c->listeners, "%zu listeners", handover->n_listeners);
    for (int i = 0; i < HANDED; i++) {
        enum thing thing = c->things[i];
        bool connected = is_tcp_client(thing) || thing == LOST || thing == LOCAL;
        if (connected && is_handed(c, i) && c->n > 0)
            check_connection(c, &handover->connections[n++], i);
        if (is_listening(thing) && is_handed(c, i) && !(c->kept & BIT(i)))
            check_listener(c, &handover->listeners[listeners++], i);
    }
    CHECK(n == handover->n_connections, "%zu of them checked", n);
    CHECK(listeners == handover->n_listeners, "%zu of them checked", listeners);
    check_notify(c, handover);
    check_stored(c, handover);
    check_limit(c, handover->stored.room);
    int file = c->file_fd == STDIN_FILE ? 0 : c->file_fd == 0 ? -1 : c->file_fd;
    CHECK(handover->file_fd == file, "file %d, not %d", handover->file_fd, file);
    CHECK(handover->file_is_stdin == (c->file_fd == STDIN_FILE), "stdin?");
    check_stdio(c);
    check_clients(c, false);
    /* What a transfer has taken over is not ours to reset; the rest is. */
    if (c->n == 2) {
        (void)close(handover->connections[0].fd);
        handover->connections[0].fd = -1;
    }
}

static void child(const struct hand *c)
{
    struct handover handover;
    struct problem problem = {0};

    lay_out(c);
    set_environment(c);
    memset(&kernel, 0, sizeof(kernel));
    fake.fcntl_command = c->fcntl_command;
    fake.no_dev_null = c->no_dev_null;
    fake.vsock = c->domain == AF_VSOCK;
    kernel.calloc_fails = c->calloc_fails;
    kernel.domain = c->domain;
    kernel.protocol = c->protocol ? c->protocol : c->domain == AF_INET ? IPPROTO_TCP : 0;
    kernel.listen_fds_error = c->listen_fds_error;
    kernel.setsockopt_error = c->setsockopt_error;
    if (c->limit.rlim_max > 0)
        CHECK(setrlimit(RLIMIT_NOFILE, &c->limit) == 0, "%m");
    int r = handover_take(&handover, &problem);
    fake.fcntl_command = 0;
    kernel.setsockopt_error = 0;
    CHECK(r == -c->error, "%d: %s", r, problem.text);
    CHECK(handover.channel == c->channel, "channel %d", handover.channel);
    check_environment();
    if (r == 0) {
        check_taken(c, &handover);
    } else {
        CHECK(problem.status == c->status, "%d", problem.status);
        for (size_t i = 0; i < LENGTH(c->says) && c->says[i]; i++)
            CHECK(strstr(problem.text, c->says[i]), "'%s' does not say '%s'", problem.text,
                c->says[i]);
        CHECK(handover.n_connections == 0 && !handover.connections, "something is left");
        check_clients(c, true);
    }
    handover_end(&handover);
    CHECK(handover.n_connections == 0 && !handover.connections, "something is left");
    CHECK(handover.n_listeners == 0 && !handover.listeners, "something is left");
    CHECK(handover.notify.fd == -1, "something is left");
    CHECK(handover.stored.table == -1 && !handover.stored.sockets && !handover.stored.files,
        "something is left");
    check_stored_end(c);
    handover_end(&handover); /* once more does nothing */
    if (r == 0 && c->domain == 0)
        check_clients(c, true);
    exit(0);
}

static void test_hand(void **state)
{
    const struct hand *c = *state;
    char text[4000] = "";
    int verdict[2];
    int status;

    (void)fflush(NULL); /* what is still in the buffers would be printed twice */
    assert_int_equal(pipe(verdict), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)dup2(verdict[1], VERDICT);
        child(c);
    }
    assert_int_equal(close(verdict[1]), 0);
    size_t length = 0;
    for (ssize_t n = 1; n > 0; length += n > 0 ? (size_t)n : 0)
        n = read(verdict[0], text + length, sizeof(text) - 1 - length);
    assert_int_equal(close(verdict[0]), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFEXITED(status) && WEXITSTATUS(status) == SKIPPED)
        skip(); /* no IPv6, no MPTCP, or no terminals here */
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        fail_msg("status 0x%x: %s", (unsigned int)status, text);
}

int main(void)
{
    static struct suite suite;

    for (size_t i = 0; i < LENGTH(hands); i++)
        suite_add(&suite, test_hand, &hands[i], "%s", hands[i].name);
    return suite_run(&suite, "handover");
}
