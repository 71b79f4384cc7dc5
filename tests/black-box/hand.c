/* SPDX-License-Identifier: MIT */
/*
 * hand [OPTION...] -- PROGRAM [ARGUMENT...]
 *
 * Stands in for every supervisor: listens, accepts as many clients as it is told to place, puts
 * descriptors where that supervisor would put them, and becomes PROGRAM under the same process id,
 * so that a test can signal it and wait for its status.
 *
 *   --listen=KIND          tcp4 (default), tcp6, mptcp, unix=PATH
 *   --address-file=PATH    gets the address, as peer takes it, once clients can connect
 *   --at=FD:WHAT           what descriptor FD is to be: client, client2, client3, ..., null,
 *                          closed, file=PATH, moved-file=PATH (its position), write-only=PATH,
 *                          pipe, terminal, datagram, listener, unconnected, seqpacket, pair
 *   --listen-fds=TEXT      LISTEN_FDS; LISTEN_PID is then this process
 *   --listen-pid=TEXT      LISTEN_PID, when it is to be another one
 *   --listen-fdnames=TEXT  LISTEN_FDNAMES
 *   --journal              JOURNAL_STREAM names descriptor 2
 *   --exec-after=PATH      waits for this file before it becomes PROGRAM
 *   --after-reset          waits until every client has reset its connection
 *   --duplicate=PATH       another process, whose id goes to PATH, keeps the clients open
 *   --fuse=SECONDS         SIGALRM kills whatever this has become by then (default 60)
 */
#include <err.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define MOST_CLIENTS 16
#define MOST_PLACES  64
#define ABOVE        200 /* nothing is placed here: what is still to be placed waits here */

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

struct place {
    int at;
    const char *what;
    int fd; /* -1: closed */
};

static struct place places[MOST_PLACES];
static int n_places;
static int clients[MOST_CLIENTS];
static int n_clients;

static int check(int result, const char *what)
{
    if (result < 0)
        err(99, "hand: %s", what);
    return result;
}

/* Out of the way of all places; gone after exec(3), unless it is placed. */
static int lift(int fd)
{
    int lifted = check(fcntl(fd, F_DUPFD_CLOEXEC, ABOVE), "fcntl");

    close(fd);
    return lifted;
}

static void write_file(const char *path, const char *text)
{
    char temporary[512];

    snprintf(temporary, sizeof(temporary), "%s.new", path);
    FILE *stream = fopen(temporary, "w");
    if (!stream || fprintf(stream, "%s\n", text) < 0 || fclose(stream) != 0)
        err(99, "hand: %s", temporary);
    check(rename(temporary, path), path); /* who sees the file sees all of it */
}

static int listen_internet(const char *kind, char *address, size_t size)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    int six = strcmp(kind, "tcp6") == 0;
    struct sockaddr *name = six ? (struct sockaddr *)&in6 : (struct sockaddr *)&in;
    socklen_t length = six ? sizeof(in6) : sizeof(in);
    int protocol = strcmp(kind, "mptcp") == 0 ? IPPROTO_MPTCP : 0;

    int fd = check(socket(name->sa_family, SOCK_STREAM, protocol), "socket");
    check(bind(fd, name, length), "bind");
    check(getsockname(fd, name, &length), "getsockname");
    snprintf(address, size, "%s=%d", kind, ntohs(six ? in6.sin6_port : in.sin_port));
    return fd;
}

static int listen_unix(const char *path, char *address, size_t size)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};

    snprintf(name.sun_path, sizeof(name.sun_path), "%s", path);
    int fd = check(socket(AF_UNIX, SOCK_STREAM, 0), "socket");
    check(bind(fd, (struct sockaddr *)&name, sizeof(name)), "bind");
    snprintf(address, size, "unix=%s", path);
    return fd;
}

static void accept_clients(const char *kind, const char *address_file)
{
    char address[256];
    int listener = strncmp(kind, "unix=", 5) == 0 ? listen_unix(kind + 5, address, sizeof(address))
                                                  : listen_internet(kind, address, sizeof(address));

    check(listen(listener, MOST_CLIENTS), "listen");
    if (address_file)
        write_file(address_file, address);
    for (int i = 0; i < n_clients; i++)
        clients[i] = lift(check(accept(listener, NULL, NULL), "accept"));
    close(listener);
}

/* Both keep their other end open for ever, so that they are what they seem to be. */
static int open_pipe(void)
{
    int ends[2];

    check(pipe(ends), "pipe");
    check(fcntl(ends[1], F_DUPFD, ABOVE), "fcntl");
    close(ends[1]);
    return ends[0];
}

static int open_terminal(void)
{
    int master = check(posix_openpt(O_RDWR | O_NOCTTY), "posix_openpt");

    if (grantpt(master) < 0 || unlockpt(master) < 0)
        err(99, "hand: terminal");
    int fd = check(open(ptsname(master), O_RDWR | O_NOCTTY), "terminal");
    check(fcntl(master, F_DUPFD, ABOVE), "fcntl");
    close(master);
    return fd;
}

static int open_pair(int type)
{
    int ends[2];

    check(socketpair(AF_UNIX, type, 0, ends), "socketpair");
    check(fcntl(ends[1], F_DUPFD, ABOVE), "fcntl");
    close(ends[1]);
    return ends[0];
}

static int open_listener(void)
{
    char address[64];
    int fd = listen_internet("tcp4", address, sizeof(address));

    check(listen(fd, 1), "listen");
    return fd;
}

static int open_moved(const char *path)
{
    int fd = check(open(path, O_RDONLY), path);

    check(lseek(fd, 10, SEEK_SET) == 10 ? 0 : -1, "lseek");
    return fd;
}

/* client is the first, client2 the second; 0: it is no client at all. */
static int client_number(const char *what)
{
    if (strncmp(what, "client", 6) != 0)
        return 0;
    return what[6] ? atoi(what + 6) : 1;
}

static int open_what(const char *what)
{
    const char *value = strchr(what, '=');

    if (client_number(what))
        return check(fcntl(clients[client_number(what) - 1], F_DUPFD_CLOEXEC, ABOVE), what);
    if (strcmp(what, "closed") == 0)
        return -1;
    if (strcmp(what, "null") == 0)
        return lift(check(open("/dev/null", O_RDWR), what));
    if (value && strncmp(what, "file=", 5) == 0)
        return lift(check(open(value + 1, O_RDONLY), what));
    if (value && strncmp(what, "moved-file=", 11) == 0)
        return lift(open_moved(value + 1));
    if (value && strncmp(what, "write-only=", 11) == 0)
        return lift(check(open(value + 1, O_WRONLY), what));
    if (strcmp(what, "pipe") == 0)
        return lift(open_pipe());
    if (strcmp(what, "terminal") == 0)
        return lift(open_terminal());
    if (strcmp(what, "datagram") == 0)
        return lift(check(socket(AF_INET, SOCK_DGRAM, 0), what));
    if (strcmp(what, "unconnected") == 0)
        return lift(check(socket(AF_INET, SOCK_STREAM, 0), what));
    if (strcmp(what, "listener") == 0)
        return lift(open_listener());
    if (strcmp(what, "seqpacket") == 0)
        return lift(open_pair(SOCK_SEQPACKET));
    if (strcmp(what, "pair") == 0)
        return lift(open_pair(SOCK_STREAM));
    errx(99, "hand: what is '%s'?", what);
}

static void wait_for_file(const char *path)
{
    while (access(path, F_OK) != 0)
        poll(NULL, 0, 5);
}

/* Whoever asks for no event is told of errors and of the end of both directions only. */
static void wait_for_resets(void)
{
    for (int i = 0; i < n_clients; i++) {
        struct pollfd wait = {.fd = clients[i]};
        check(poll(&wait, 1, -1), "poll");
    }
}

/* It holds nothing but the clients, and no longer than the test can last. */
static void keep_duplicates(const char *pid_file, unsigned fuse)
{
    char text[24];
    pid_t pid = check(fork(), "fork");

    if (pid > 0) {
        snprintf(text, sizeof(text), "%d", pid);
        write_file(pid_file, text);
        return;
    }
    for (int fd = 0; fd < 3; fd++)
        close(fd);
    alarm(fuse);
    for (;;)
        pause();
}

static void name_journal(void)
{
    char text[64];
    struct stat status;

    check(fstat(STDERR_FILENO, &status), "fstat");
    snprintf(text, sizeof(text), "%ju:%ju", (uintmax_t)status.st_dev, (uintmax_t)status.st_ino);
    setenv("JOURNAL_STREAM", text, 1);
}

/* A shell ignores SIGINT in its background jobs; a supervisor passes on none of its own ways. */
static void reset_signals(void)
{
    sigset_t none;

    for (int number = 1; number < NSIG; number++)
        signal(number, SIG_DFL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

static void plan_place(char *argument)
{
    char *what = strchr(argument, ':');

    if (!what || n_places == MOST_PLACES)
        errx(99, "hand: --at=FD:WHAT, not '%s'", argument);
    *what++ = '\0';
    places[n_places++] = (struct place){.at = atoi(argument), .what = what, .fd = -1};
    if (client_number(what) > MOST_CLIENTS)
        errx(99, "hand: too many clients");
    if (client_number(what) > n_clients)
        n_clients = client_number(what);
}

static void place_all(void)
{
    for (int i = 0; i < n_places; i++)
        places[i].fd = open_what(places[i].what);
    for (int i = 0; i < n_places; i++)
        if (places[i].fd < 0)
            close(places[i].at);
        else
            check(dup2(places[i].fd, places[i].at), "dup2");
}

int main(int argc, char **argv)
{
    enum { LISTEN, ADDRESS, AT, FDS, PID, NAMES, JOURNAL, AFTER, RESET, DUPLICATE, FUSE, OPTIONS };
    static const struct option names[] = {
        {"listen", 1, NULL, LISTEN},
        {"address-file", 1, NULL, ADDRESS},
        {"at", 1, NULL, AT},
        {"listen-fds", 1, NULL, FDS},
        {"listen-pid", 1, NULL, PID},
        {"listen-fdnames", 1, NULL, NAMES},
        {"journal", 0, NULL, JOURNAL},
        {"exec-after", 1, NULL, AFTER},
        {"after-reset", 0, NULL, RESET},
        {"duplicate", 1, NULL, DUPLICATE},
        {"fuse", 1, NULL, FUSE},
        {0},
    };
    const char *given[OPTIONS] = {[LISTEN] = "tcp4", [FUSE] = "60"};
    char own_pid[24];

    for (int c; (c = getopt_long(argc, argv, "+", names, NULL)) != -1;) {
        if (c == '?' || c >= OPTIONS)
            return 99;
        if (c == AT)
            plan_place(optarg);
        else
            given[c] = optarg ? optarg : "";
    }
    if (optind == argc)
        errx(99, "hand: no PROGRAM");
    close_range(3, ~0U, 0);
    reset_signals();
    alarm((unsigned)atoi(given[FUSE]));

    if (n_clients > 0)
        accept_clients(given[LISTEN], given[ADDRESS]);
    if (given[DUPLICATE])
        keep_duplicates(given[DUPLICATE], (unsigned)atoi(given[FUSE]));
    if (given[AFTER])
        wait_for_file(given[AFTER]);
    if (given[RESET])
        wait_for_resets();

    snprintf(own_pid, sizeof(own_pid), "%d", getpid());
    if (given[FDS]) {
        setenv("LISTEN_FDS", given[FDS], 1);
        setenv("LISTEN_PID", given[PID] ? given[PID] : own_pid, 1);
    }
    if (given[NAMES])
        setenv("LISTEN_FDNAMES", given[NAMES], 1);
    if (given[JOURNAL])
        name_journal();
    place_all();
    execvp(argv[optind], argv + optind);
    err(99, "hand: %s", argv[optind]);
}
