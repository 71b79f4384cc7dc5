/* SPDX-License-Identifier: MIT */
/*
 * peer [OPTION...] ADDRESS ACTION...
 *
 * The client of a test. It connects, does one action after the other, and writes to standard
 * output what it receives, to --result how that ended:
 *
 *   eof BYTES         a clean end of stream
 *   reset BYTES       ECONNRESET
 *   error NAME BYTES  anything else
 *   left BYTES        the script was over before the stream
 *   timeout BYTES     --timeout came first
 *
 * ADDRESS: tcp4=PORT, tcp6=PORT, mptcp=PORT, unix=PATH, or @FILE: what that file holds, once it is
 * there. A server that does not listen yet is tried again.
 *
 *   --timeout=SECONDS  for everything together (default 60)
 *   --from=ADDRESS     IPv4, from which to connect
 *   --rcvbuf=BYTES     SO_RCVBUF, set before the connect as the window depends on it
 *   --result=PATH
 *
 *   send=BYTES         (K and M) sends so many, blocking
 *   send-ever          sends until that fails
 *   half-close         sends its end of stream
 *   read=BYTES         reads exactly so many, or to the end
 *   slow=BYTES/MS      reads at most BYTES every MS milliseconds, to the end
 *   drain              reads to the end
 *   wait-end           waits, without reading, until the end of stream or a reset has come
 *   wait-file=PATH     waits for that file
 *   touch=PATH         makes it
 *   reset, close       the two ways to go; only touch may follow
 *
 * The end of stream, or an error, ends the reading; the actions after it that need no socket are
 * still done.
 */
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

static int result_fd = STDERR_FILENO;
static const char *source; /* or NULL: the kernel's choice */
static volatile long long received;
static char outcome[64]; /* without the bytes; empty as long as the stream goes on */

static void write_result(const char *how)
{
    dprintf(result_fd, "%s %lld\n", how, received);
}

static void on_alarm(int number)
{
    (void)number;
    write_result("timeout"); /* nothing else of this program uses stdio or memory by now */
    _exit(1);
}

static void end_with(int error)
{
    if (error == 0)
        snprintf(outcome, sizeof(outcome), "eof");
    else if (error == ECONNRESET)
        snprintf(outcome, sizeof(outcome), "reset");
    else
        snprintf(outcome, sizeof(outcome), "error %s", strerrorname_np(error));
}

static long long parse_size(const char *text)
{
    char *rest;
    long long size = strtoll(text, &rest, 10);

    return *rest == 'M' ? size << 20 : *rest == 'K' ? size << 10 : size;
}

static void wait_for_file(const char *path)
{
    while (access(path, F_OK) != 0)
        poll(NULL, 0, 5);
}

static void touch(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT, 0666);

    if (fd < 0)
        err(2, "peer: %s", path);
    close(fd);
}

static void put(const char *data, ssize_t size)
{
    while (size > 0) {
        ssize_t n = write(STDOUT_FILENO, data, (size_t)size);
        if (n < 0)
            err(2, "peer: write");
        data += n;
        size -= n;
    }
}

/* At most limit bytes, and at most piece of them every pause milliseconds. */
static void take(int fd, long long limit, size_t piece, int pause)
{
    static char data[1 << 18];

    while (limit > 0 && !outcome[0]) {
        size_t most = piece < sizeof(data) ? piece : sizeof(data);
        ssize_t n = recv(fd, data, (long long)most < limit ? most : (size_t)limit, 0);
        if (n <= 0) {
            end_with(n < 0 ? errno : 0);
            return;
        }
        put(data, n);
        received += n;
        limit -= n;
        if (pause > 0)
            poll(NULL, 0, pause);
    }
}

static void give(int fd, long long size)
{
    static const char data[1 << 16];

    while (size > 0 && !outcome[0]) {
        size_t piece = size < (long long)sizeof(data) ? (size_t)size : sizeof(data);
        ssize_t n = send(fd, data, piece, MSG_NOSIGNAL);
        if (n < 0)
            end_with(errno);
        else
            size -= n;
    }
}

static void leave(int fd, bool with_reset)
{
    const struct linger linger = {.l_onoff = 1};

    if (with_reset && setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)) < 0)
        err(2, "peer: SO_LINGER");
    close(fd);
}

static void wait_for_end(int fd)
{
    struct pollfd wait = {.fd = fd, .events = POLLRDHUP};

    if (poll(&wait, 1, -1) < 0)
        err(2, "peer: poll");
}

static void act(int fd, char *action)
{
    char *value = strchr(action, '=');

    if (value)
        *value++ = '\0';
    if (value && strcmp(action, "send") == 0)
        give(fd, parse_size(value));
    else if (strcmp(action, "send-ever") == 0)
        give(fd, INT64_MAX);
    else if (strcmp(action, "half-close") == 0)
        shutdown(fd, SHUT_WR);
    else if (value && strcmp(action, "read") == 0)
        take(fd, parse_size(value), SIZE_MAX, 0);
    else if (value && strcmp(action, "slow") == 0)
        take(fd, INT64_MAX, (size_t)parse_size(value), atoi(strchr(value, '/') + 1));
    else if (strcmp(action, "drain") == 0)
        take(fd, INT64_MAX, SIZE_MAX, 0);
    else if (strcmp(action, "wait-end") == 0)
        wait_for_end(fd);
    else if (value && strcmp(action, "wait-file") == 0)
        wait_for_file(value);
    else if (value && strcmp(action, "touch") == 0)
        touch(value);
    else if (strcmp(action, "reset") == 0 || strcmp(action, "close") == 0)
        leave(fd, action[0] == 'r');
    else
        errx(2, "peer: what is '%s'?", action);
}

static void bind_to(int fd, const char *from)
{
    struct sockaddr_in in = {.sin_family = AF_INET};

    if (inet_pton(AF_INET, from, &in.sin_addr) != 1 ||
        bind(fd, (struct sockaddr *)&in, sizeof(in)) < 0)
        err(2, "peer: --from=%s", from);
}

static int connect_to(const struct sockaddr *name, socklen_t length, int protocol, int rcvbuf)
{
    for (;;) {
        int fd = socket(name->sa_family, SOCK_STREAM, protocol);
        if (fd < 0)
            err(2, "peer: socket");
        if (rcvbuf > 0 && setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &rcvbuf, sizeof(rcvbuf)) < 0)
            err(2, "peer: SO_RCVBUF");
        if (source)
            bind_to(fd, source);
        if (connect(fd, name, length) == 0)
            return fd;
        if (errno != ECONNREFUSED && errno != ENOENT)
            err(2, "peer: connect");
        close(fd);
        poll(NULL, 0, 5);
    }
}

static int connect_text(const char *text, int rcvbuf)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    const char *value = strchr(text, '=');

    if (!value)
        errx(2, "peer: what is '%s'?", text);
    value++;
    in.sin_port = in6.sin6_port = htons((uint16_t)atoi(value));
    snprintf(un.sun_path, sizeof(un.sun_path), "%s", value);
    if (strncmp(text, "unix=", 5) == 0)
        return connect_to((struct sockaddr *)&un, sizeof(un), 0, rcvbuf);
    if (strncmp(text, "tcp6=", 5) == 0)
        return connect_to((struct sockaddr *)&in6, sizeof(in6), 0, rcvbuf);
    int protocol = strncmp(text, "mptcp=", 6) == 0 ? IPPROTO_MPTCP : 0;
    return connect_to((struct sockaddr *)&in, sizeof(in), protocol, rcvbuf);
}

static void read_address(const char *path, char *text, int size)
{
    wait_for_file(path);
    FILE *stream = fopen(path, "r");
    if (!stream || !fgets(text, size, stream))
        err(2, "peer: %s", path);
    fclose(stream);
    text[strcspn(text, "\n")] = '\0';
}

int main(int argc, char **argv)
{
    static const struct option names[] = {
        {"timeout", 1, NULL, 't'},
        {"from", 1, NULL, 'f'},
        {"rcvbuf", 1, NULL, 'b'},
        {"result", 1, NULL, 'r'},
        {0},
    };
    const char *result = NULL;
    unsigned timeout = 60;
    int rcvbuf = 0;
    char address[256];

    for (int c; (c = getopt_long(argc, argv, "+", names, NULL)) != -1;) {
        if (c == 't')
            timeout = (unsigned)atoi(optarg);
        else if (c == 'f')
            source = optarg;
        else if (c == 'b')
            rcvbuf = (int)parse_size(optarg);
        else if (c == 'r')
            result = optarg;
        else
            return 2;
    }
    if (optind == argc)
        errx(2, "peer: no ADDRESS");
    if (result && (result_fd = open(result, O_WRONLY | O_CREAT | O_TRUNC, 0666)) < 0)
        err(2, "peer: %s", result);
    signal(SIGALRM, on_alarm);
    alarm(timeout);

    snprintf(address, sizeof(address), "%s", argv[optind]);
    if (argv[optind][0] == '@')
        read_address(argv[optind] + 1, address, sizeof(address));
    int fd = connect_text(address, rcvbuf);
    for (int i = optind + 1; i < argc; i++)
        act(fd, argv[i]);
    write_result(outcome[0] ? outcome : "left");
    return 0;
}
