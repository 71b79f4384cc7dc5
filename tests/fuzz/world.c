/* SPDX-License-Identifier: MIT */
#include "world.h"

#include "report.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <sanitizer/common_interface_defs.h>

#define MOST_VARIABLES 32

/* libFuzzer's own, where they wait while an input has 0, 1 and 2. */
static int stdio[3] = {-1, -1, -1};
/* And what else it has open, such as the file in which -merge=1 keeps its books. */
#define MOST_OTHERS 16
static int others[MOST_OTHERS];
static char *variables[MOST_VARIABLES + 1];
static int n_variables;
static char **old_environment;
static struct rlimit old_limit;
static sigset_t old_mask;
static int tcp4 = -1;
static int tcp6 = -1;

char world_said[8192];
int (*world_poll)(void *polls, unsigned long n, int timeout);
int (*world_epoll_wait)(int epoll, void *events, int most, int timeout);
long (*world_sendfile)(int socket, int file, int64_t *offset, size_t count);
void (*world_report)(const struct transfer *transfer, const char *peer);
int64_t world_now;
int world_raised;
bool world_hears;

/* What is freed is kept from use for a while, but not for hundreds of megabytes. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "quarantine_size_mb=16";
}

static void restore_stdio(void)
{
    for (int fd = 0; fd < 3; fd++)
        if (stdio[fd] >= 0)
            (void)dup2(stdio[fd], fd);
}

/* Called by the sanitizers, which like libFuzzer would else write to whatever the input has at 2.
 */
void __asan_on_error(void);
void __asan_on_error(void)
{
    restore_stdio();
}

void __ubsan_on_report(void);
void __ubsan_on_report(void)
{
    restore_stdio();
}

_Noreturn void world_find(const char *file, int line, const char *format, ...)
{
    va_list arguments;

    world_hears = false;
    restore_stdio();
    (void)fprintf(stderr, "%s:%d: does not hold: ", file, line);
    va_start(arguments, format);
    (void)vfprintf(stderr, format, arguments);
    va_end(arguments);
    (void)fprintf(stderr, "\ndecant said:\n%s", world_said);
    (void)fflush(stderr);
    abort();
}

int world_lift(int fd)
{
    CHECK(fd >= 0, "%s", strerror(errno));
    int lifted = fcntl(fd, F_DUPFD_CLOEXEC, WORLD_ABOVE);
    CHECK(lifted >= 0, "%s", strerror(errno));
    (void)close(fd);
    return lifted;
}

void world_init(void)
{
    struct rlimit limit;

    for (int fd = 0; fd < 3; fd++) {
        stdio[fd] = fcntl(fd, F_DUPFD_CLOEXEC, WORLD_ABOVE);
        if (stdio[fd] < 0) /* closed: as good as /dev/null */
            stdio[fd] = world_lift(open("/dev/null", O_RDWR));
    }
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < 4096) {
        limit.rlim_cur = limit.rlim_max < 4096 ? limit.rlim_max : 4096;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
    __sanitizer_set_report_fd((void *)(intptr_t)stdio[2]); /* NOLINT: its type */
    (void)signal(SIGPIPE, SIG_IGN);
    tcp4 = world_listen(AF_INET);
    tcp6 = world_listen(AF_INET6);
}

void world_begin(void)
{
    world_said[0] = '\0';
    world_hears = true;
    world_raised = 0;
    n_variables = 0;
    variables[0] = NULL;
    old_environment = environ;
    environ = variables;
    (void)getrlimit(RLIMIT_NOFILE, &old_limit);
    (void)sigprocmask(SIG_SETMASK, NULL, &old_mask);
    for (int fd = 3; fd < MOST_OTHERS; fd++)
        others[fd] = fcntl(fd, F_DUPFD_CLOEXEC, WORLD_ABOVE);
    (void)syscall(SYS_close_range, 0, WORLD_ABOVE - 1, 0);
}

void world_setenv(char *text)
{
    if (n_variables == MOST_VARIABLES)
        return;
    variables[n_variables++] = text;
    variables[n_variables] = NULL;
}

/* A signal that was sent and is still blocked must not hit libFuzzer, which would take it. */
static void drop_signals(void)
{
    static const struct timespec at_once;
    sigset_t set;

    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGINT);
    (void)sigaddset(&set, SIGHUP);
    while (sigtimedwait(&set, NULL, &at_once) > 0)
        continue;
}

void world_end(void)
{
    world_hears = false;
    world_now = 0;
    world_poll = NULL;
    world_epoll_wait = NULL;
    world_sendfile = NULL;
    world_report = NULL;
    drop_signals();
    (void)sigprocmask(SIG_SETMASK, &old_mask, NULL);
    (void)signal(SIGHUP, SIG_DFL);
    (void)setrlimit(RLIMIT_NOFILE, &old_limit);
    environ = old_environment;
    (void)syscall(SYS_close_range, 0, WORLD_ABOVE - 1, 0);
    restore_stdio();
    for (int fd = 3; fd < MOST_OTHERS; fd++)
        if (others[fd] >= 0) {
            (void)dup3(others[fd], fd, O_CLOEXEC);
            (void)close(others[fd]);
        }
}

int world_count(int from, int to)
{
    int n = 0;

    for (int fd = from; fd < to; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

static void set_reset(int fd)
{
    const struct linger linger = {.l_onoff = 1};
    const int on = 1;

    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_QUICKACK, &on, sizeof(on)); /* of UNIX there is none */
}

int world_listen(int family)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    bool six = family == AF_INET6;

    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 && six)
        return -1; /* a kernel without it */
    fd = world_lift(fd);
    if (bind(fd, six ? (struct sockaddr *)&in6 : (struct sockaddr *)&in,
            six ? sizeof(in6) : sizeof(in)) < 0 &&
        six) {
        (void)close(fd);
        return -1;
    }
    CHECK(listen(fd, 64) == 0, "%s", strerror(errno));
    return fd;
}

int world_connect(int listener, int receive_buffer)
{
    struct sockaddr_storage address;
    socklen_t size = sizeof(address);
    const int segment = 1000;

    CHECK(getsockname(listener, (struct sockaddr *)&address, &size) == 0, "%s", strerror(errno));
    int fd = world_lift(socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (receive_buffer > 0) {
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof(receive_buffer));
        /* Or a window of less than loopback's 64 KiB would open by the sender's timer only. */
        (void)setsockopt(fd, IPPROTO_TCP, TCP_MAXSEG, &segment, sizeof(segment));
    }
    CHECK(connect(fd, (struct sockaddr *)&address, size) == 0, "%s", strerror(errno));
    set_reset(fd);
    (void)fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}

struct world_pair world_tcp(int family, int receive_buffer)
{
    struct world_pair pair;
    int listener = family == AF_INET6 && tcp6 >= 0 ? tcp6 : tcp4;

    pair.client = world_connect(listener, receive_buffer);
    pair.ours = world_lift(accept4(listener, NULL, NULL, SOCK_CLOEXEC));
    return pair;
}

struct world_pair world_unix(int type)
{
    int ends[2];

    CHECK(socketpair(AF_UNIX, type, 0, ends) == 0, "%s", strerror(errno));
    struct world_pair pair = {world_lift(ends[0]), world_lift(ends[1])};
    (void)fcntl(pair.client, F_SETFL, O_NONBLOCK);
    return pair;
}

/* An empty name: the kernel chooses one, unix(7) autobind. */
int world_listen_unix(void)
{
    const struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = world_lift(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));

    CHECK(bind(fd, (const struct sockaddr *)&address, sizeof(sa_family_t)) == 0, "%s",
        strerror(errno));
    CHECK(listen(fd, 64) == 0, "%s", strerror(errno));
    return fd;
}

int world_connect_unix(int listener)
{
    struct sockaddr_un address;
    socklen_t size = sizeof(address);

    CHECK(getsockname(listener, (struct sockaddr *)&address, &size) == 0, "%s", strerror(errno));
    int fd = world_lift(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    CHECK(connect(fd, (struct sockaddr *)&address, size) == 0, "%s", strerror(errno));
    (void)fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}

int world_memory(const void *content, size_t size)
{
    int fd = world_lift(memfd_create("fuzz", MFD_CLOEXEC | MFD_ALLOW_SEALING));

    CHECK(pwrite(fd, content, size, 0) == (ssize_t)size, "%s", strerror(errno));
    return fd;
}

enum world_end_of_stream world_read(int client, void *buffer, size_t size, size_t *n, bool wait)
{
    struct pollfd ready = {.fd = client, .events = POLLIN};

    for (*n = 0; *n < size;) {
        ssize_t more = recv(client, (char *)buffer + *n, size - *n, MSG_DONTWAIT);
        if (more == 0)
            return WORLD_END;
        if (more < 0 && errno == EAGAIN) {
            if (!wait)
                return WORLD_OPEN;
            CHECK(world_real_poll(&ready, 1, 5000) > 0, "a client neither ended nor reset");
            continue;
        }
        if (more < 0) /* ECONNRESET; or of one that was reset before it had the handshake */
            return WORLD_RESET;
        *n += (size_t)more;
    }
    return WORLD_OPEN;
}

/* --- Stand-ins ------------------------------------------------------------------------------- */

int __real_clock_gettime(clockid_t clock, struct timespec *now);
int __wrap_clock_gettime(clockid_t clock, struct timespec *now);
int __real_poll(struct pollfd *polls, nfds_t n, int timeout);
int __wrap_poll(struct pollfd *polls, nfds_t n, int timeout);
int __real_epoll_wait(int epoll, struct epoll_event *events, int most, int timeout);
int __wrap_epoll_wait(int epoll, struct epoll_event *events, int most, int timeout);
ssize_t __real_write(int fd, const void *bytes, size_t size);
ssize_t __wrap_write(int fd, const void *bytes, size_t size);
void __wrap_syslog(int level, const char *format, ...) __attribute__((format(printf, 2, 3)));
int __wrap_raise(int number);
ssize_t __real_sendfile64(int socket, int file, int64_t *offset, size_t count);
ssize_t __wrap_sendfile64(int socket, int file, int64_t *offset, size_t count);
void __real_report_transfer(
    struct report *report, const struct transfer *transfer, const char *peer, int64_t now);
void __wrap_report_transfer(
    struct report *report, const struct transfer *transfer, const char *peer, int64_t now);

int __wrap_clock_gettime(clockid_t clock, struct timespec *now)
{
    if (world_now == 0 || clock != CLOCK_MONOTONIC)
        return __real_clock_gettime(clock, now);
    *now = (struct timespec){world_now / 1000000000, world_now % 1000000000};
    return 0;
}

int world_real_poll(void *polls, unsigned long n, int timeout)
{
    return __real_poll(polls, n, timeout);
}

int __wrap_poll(struct pollfd *polls, nfds_t n, int timeout)
{
    return world_poll ? world_poll(polls, n, timeout) : __real_poll(polls, n, timeout);
}

int world_real_epoll_wait(int epoll, void *events, int most, int timeout)
{
    return __real_epoll_wait(epoll, events, most, timeout);
}

int __wrap_epoll_wait(int epoll, struct epoll_event *events, int most, int timeout)
{
    return world_epoll_wait ? world_epoll_wait(epoll, events, most, timeout)
                            : __real_epoll_wait(epoll, events, most, timeout);
}

/* One line at a time, of which the newest tell most. */
static void take_words(const char *text, size_t size)
{
    size_t before = strlen(world_said);

    if (before + size + 2 > sizeof(world_said))
        before = 0;
    CHECK(size + 2 <= sizeof(world_said), "a line of %zu bytes", size);
    memcpy(world_said + before, text, size);
    world_said[before + size] = '\0';
}

ssize_t __wrap_write(int fd, const void *bytes, size_t size)
{
    if (!world_hears || fd != STDERR_FILENO)
        return __real_write(fd, bytes, size);
    const char *end = memchr(bytes, '\n', size);
    CHECK(end && end + 1 == (const char *)bytes + size, "not one line");
    take_words(bytes, size);
    return (ssize_t)size;
}

void __wrap_syslog(int level, const char *format, ...)
{
    va_list arguments;
    char line[2048];

    (void)level;
    va_start(arguments, format);
    int n = vsnprintf(line, sizeof(line) - 1, format, arguments);
    va_end(arguments);
    CHECK(n >= 0 && (size_t)n < sizeof(line) - 1, "a line of %d bytes", n);
    CHECK(!strchr(line, '\n'), "not one line");
    line[n] = '\n';
    take_words(line, (size_t)n + 1);
}

int __wrap_raise(int number)
{
    world_raised = number;
    return 0;
}

long world_real_sendfile(int socket, int file, int64_t *offset, size_t count)
{
    return __real_sendfile64(socket, file, offset, count);
}

ssize_t __wrap_sendfile64(int socket, int file, int64_t *offset, size_t count)
{
    return world_sendfile ? world_sendfile(socket, file, offset, count)
                          : __real_sendfile64(socket, file, offset, count);
}

void __wrap_report_transfer(
    struct report *report, const struct transfer *transfer, const char *peer, int64_t now)
{
    if (world_report)
        world_report(transfer, peer);
    __real_report_transfer(report, transfer, peer, now);
}
