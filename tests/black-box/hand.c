/* SPDX-License-Identifier: MIT */
/*
 * hand [OPTION...] -- PROGRAM [ARGUMENT...]
 *
 * Stands in for every supervisor: listens, accepts as many clients as it is told to place, or waits
 * for the first in the queue, puts descriptors where that supervisor would put them, and becomes
 * PROGRAM under the same process id, so that a test can signal it and wait for its status.
 *
 *   --listen=KIND          tcp4 (default), tcp6, mptcp, unix=PATH
 *   --address-file=PATH    gets the address, as peer takes it, once clients can connect; that of
 *                          the second listening socket goes to PATH.2 (a UNIX one is PATH.2, too)
 *   --at=FD:WHAT           what descriptor FD is to be: client, client2, client3, ..., null,
 *                          closed, file=PATH, moved-file=PATH (its position), write-only=PATH,
 *                          pipe, terminal, datagram, listener, unconnected, seqpacket, pair;
 *                          listening, listening2, ...: a socket whose clients are PROGRAM's to
 *                          accept, where listener is one that nobody ever connects to
 *   --queued=N             waits until N clients are in the queues of the listening sockets
 *                          (default 1; a UNIX socket only tells whether there are any)
 *   --supervise=PATH       stays, as inetd does with `wait`: starts PROGRAM whenever a client is in
 *                          a queue, waits for its end, and so on until SIGTERM, which kills
 *                          PROGRAM as well. PATH holds the number of starts
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
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define MOST_CLIENTS   16
#define MOST_LISTENERS 16
#define MOST_PLACES    64
#define ABOVE          200 /* nothing is placed here: what is still to be placed waits here */

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
static int listeners[MOST_LISTENERS];
static int n_listeners;
static volatile pid_t supervised; /* 0: none runs */

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

/* Number 1 is what the names say, number 2 is NAME.2. */
static int open_listening(const char *kind, const char *address_file, int number)
{
    char address[256];
    char path[100]; /* a UNIX socket's can hardly be longer */
    char suffix[16] = "";

    if (number > 1)
        snprintf(suffix, sizeof(suffix), ".%d", number);
    snprintf(path, sizeof(path), "%s%s", kind + strcspn(kind, "=") + 1, suffix);
    int fd = strncmp(kind, "unix=", 5) == 0 ? listen_unix(path, address, sizeof(address))
                                            : listen_internet(kind, address, sizeof(address));
    check(listen(fd, SOMAXCONN), "listen");
    if (address_file) {
        char file[512];
        snprintf(file, sizeof(file), "%s%s", address_file, suffix);
        write_file(file, address);
    }
    return fd;
}

static void accept_clients(const char *kind, const char *address_file)
{
    int listener = open_listening(kind, address_file, 1);

    for (int i = 0; i < n_clients; i++)
        clients[i] = lift(check(accept(listener, NULL, NULL), "accept"));
    close(listener);
}

/* Those that accept(2) would give. Other sockets have their segments where TCP has this number. */
static int queue_length(int listener, int wanted)
{
    struct tcp_info info;
    socklen_t size = sizeof(info);
    struct pollfd wait = {.fd = listener, .events = POLLIN};

    if (getsockopt(listener, IPPROTO_TCP, TCP_INFO, &info, &size) == 0)
        return (int)info.tcpi_unacked;
    return check(poll(&wait, 1, 0), "poll") > 0 ? wanted : 0;
}

static void wait_for_queues(int wanted)
{
    for (;;) {
        int queued = 0;
        for (int i = 0; i < n_listeners; i++)
            queued += queue_length(listeners[i], wanted);
        if (queued >= wanted)
            return;
        poll(NULL, 0, 5);
    }
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

/* NAME is the first, NAME2 the second; 0: it is none at all. */
static int number_of(const char *what, const char *name)
{
    if (strncmp(what, name, strlen(name)) != 0)
        return 0;
    return what[strlen(name)] ? atoi(what + strlen(name)) : 1;
}

static int copy(int fd, const char *what)
{
    return check(fcntl(fd, F_DUPFD_CLOEXEC, ABOVE), what);
}

static int open_what(const char *what)
{
    const char *value = strchr(what, '=');

    if (number_of(what, "client"))
        return copy(clients[number_of(what, "client") - 1], what);
    if (number_of(what, "listening"))
        return copy(listeners[number_of(what, "listening") - 1], what);
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

/* There are as many as the highest number says. */
static void plan_number(int number, int most, int *n)
{
    if (number > most)
        errx(99, "hand: %d is too many", number);
    if (number > *n)
        *n = number;
}

static void plan_place(char *argument)
{
    char *what = strchr(argument, ':');

    if (!what || n_places == MOST_PLACES)
        errx(99, "hand: --at=FD:WHAT, not '%s'", argument);
    *what++ = '\0';
    places[n_places++] = (struct place){.at = atoi(argument), .what = what, .fd = -1};
    plan_number(number_of(what, "client"), MOST_CLIENTS, &n_clients);
    plan_number(number_of(what, "listening"), MOST_LISTENERS, &n_listeners);
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

enum {
    LISTEN,
    ADDRESS,
    AT,
    QUEUED,
    SUPERVISE,
    FDS,
    PID,
    NAMES,
    JOURNAL,
    AFTER,
    RESET,
    DUPLICATE,
    FUSE,
    OPTIONS
};

static _Noreturn void become(char **program, const char *const *given)
{
    char own_pid[24];

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
    execvp(program[0], program);
    err(99, "hand: %s", program[0]);
}

/* Of SIGTERM, and of the fuse. Only supervised tells whether there is somebody to take along. */
static void end_supervision(int number)
{
    if (supervised > 0) {
        kill(supervised, SIGKILL);
        waitpid(supervised, NULL, 0);
    }
    _exit(number == SIGTERM ? 0 : 99);
}

static pid_t start_supervised(char **program, const char *const *given)
{
    pid_t pid = check(fork(), "fork");

    if (pid > 0)
        return pid;
    reset_signals();
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that fails kills hand with what cannot be caught */
    alarm((unsigned)atoi(given[FUSE]));
    become(program, given);
}

static _Noreturn void supervise(char **program, const char *const *given)
{
    sigset_t ends;
    char text[24];

    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGALRM);
    signal(SIGTERM, end_supervision);
    signal(SIGALRM, end_supervision);
    for (int starts = 1;; starts++) {
        wait_for_queues(atoi(given[QUEUED]));
        sigprocmask(SIG_BLOCK, &ends, NULL); /* or it could miss the one that is being started */
        supervised = start_supervised(program, given);
        sigprocmask(SIG_UNBLOCK, &ends, NULL);
        snprintf(text, sizeof(text), "%d", starts);
        write_file(given[SUPERVISE], text);
        siginfo_t how;
        check(waitid(P_PID, (id_t)supervised, &how, WEXITED | WNOWAIT), "waitid");
        sigprocmask(SIG_BLOCK, &ends, NULL); /* or it could kill whoever gets the number next */
        check(waitpid(supervised, NULL, 0), "waitpid");
        supervised = 0;
        sigprocmask(SIG_UNBLOCK, &ends, NULL);
    }
}

int main(int argc, char **argv)
{
    static const struct option names[] = {
        {"listen", 1, NULL, LISTEN},
        {"address-file", 1, NULL, ADDRESS},
        {"at", 1, NULL, AT},
        {"queued", 1, NULL, QUEUED},
        {"supervise", 1, NULL, SUPERVISE},
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
    const char *given[OPTIONS] = {[LISTEN] = "tcp4", [QUEUED] = "1", [FUSE] = "60"};

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
    if (n_clients > 0 && n_listeners > 0)
        errx(99, "hand: client and listening would share an address file");
    close_range(3, ~0U, 0);
    reset_signals();
    alarm((unsigned)atoi(given[FUSE]));

    for (int i = 0; i < n_listeners; i++)
        listeners[i] = lift(open_listening(given[LISTEN], given[ADDRESS], i + 1));
    if (n_clients > 0)
        accept_clients(given[LISTEN], given[ADDRESS]);
    if (given[DUPLICATE])
        keep_duplicates(given[DUPLICATE], (unsigned)atoi(given[FUSE]));
    if (given[AFTER])
        wait_for_file(given[AFTER]);
    if (given[RESET])
        wait_for_resets();
    if (given[SUPERVISE])
        supervise(argv + optind, given);
    if (n_listeners > 0)
        wait_for_queues(atoi(given[QUEUED]));
    become(argv + optind, given);
}
