/* SPDX-License-Identifier: MIT */
/*
 * keeper [OPTION...] -- PROGRAM [ARGUMENT...]
 * keeper --tell=PATH COMMAND [ARGUMENT...]
 *
 * Stands in for systemd with a socket unit and a service that has a file-descriptor store: listens,
 * starts PROGRAM when a client waits, keeps the descriptors that PROGRAM sends to NOTIFY_SOCKET,
 * and starts it again with all of them when it has died. It does what service.c and manager.c of
 * systemd do, in their order: the messages of a process are handled before its death is, the same
 * open file is stored once, what is beyond the maximum is closed, the latest comes first behind the
 * listeners. It also does what systemd never would: it tampers with what it keeps, and it kills
 * PROGRAM behind a system call or an instruction that can be chosen.
 *
 *   --listen=KIND[,NAME]  tcp4, tcp6, mptcp, unix=PATH; again for more (default: one of tcp4); NAME
 *                         is FileDescriptorName= (default: decant.socket)
 *   --open-file=PATH,NAME OpenFile=: opened for each start anew, and handed over as the last one
 *   --address-file=PATH   gets the address, as peer takes it; that of the second in PATH.2, ...
 *   --notify=PATH         NOTIFY_SOCKET; without it, or with none, there is no store
 *   --store=N             FileDescriptorStoreMax= (default 4224)
 *   --tell-store          FDSTORE=N in the environment, as since systemd 254
 *   --no-kcmp             two openings of one file are the same to it, as to a systemd that may not
 *                         use kcmp(2)
 *   --soft-limit=N        LimitNOFILE=N:..., before the descriptors get their numbers
 *   --standard-input      StandardInput=socket: the first socket is descriptor 0, and systemd hands
 *                         over nothing else
 *   --control=PATH        where --tell finds it
 *   --log=PATH            a line for each message: the number of the start, the lines of the
 *                         message, what descriptors came with it, and what became of them; and for
 *                         each start, each end, and what was dropped
 *   --restart=on-failure  Restart= (the default), or no
 *   --force=STATUS,...    RestartForceExitStatus= (default: TERM); signals by name
 *   --prevent=STATUS,...  RestartPreventExitStatus= (default: 64,66,76)
 *   --success=STATUS,...  SuccessExitStatus= (default: 75)
 *   --pause=MS            RestartSec= (default: 0)
 *   --now                 the first start does not wait for a client
 *   --fuse=SECONDS        SIGALRM ends it and PROGRAM by then (default 60)
 *
 * SIGTERM: PROGRAM gets it as well; when that has ended, keeper ends with status 0. A process that
 * is not started again takes the store with it; the next client starts the next one.
 *
 * COMMAND:
 *
 *   pid, starts           of PROGRAM; pid is 0 while there is none
 *   ready, status         what the present one has said of itself: 0 or 1; STATUS=
 *   store                 NAME and kind of each descriptor, in the order of the hand-over
 *   start                 now, without a client
 *   stop                  as `systemctl stop`
 *   kill SIGNAL           to PROGRAM, by name
 *   abandon               systemd has waited for its end in vain, and starts the next one beside it
 *   fresh                 kills PROGRAM, drops the store, and starts anew
 *   hold, run             between the two nothing is started
 *   deaf, hear            between the two nothing is read from NOTIFY_SOCKET, and no death noticed
 *   max N                 FileDescriptorStoreMax=, for what comes from now on
 *   reload                `systemctl daemon-reload`: all are stored anew, the last one first
 *   arguments WORD...     all that follows PROGRAM, from the next start on
 *   unlisten N            the listening socket of that number, from 1, is closed
 *   forget NAME           drops all of that name
 *   twice NAME            stores a duplicate under the same name, as systemd itself never would
 *   rename NAME NEW
 *   swap NAME OTHER
 *   unnamed               the next start is without LISTEN_FDNAMES
 *   add NAME KIND         a descriptor that is not PROGRAM's: pipe, pair (a connected UNIX socket),
 *                         connected (TCP), unconnected, listening, datagram, null, file=PATH,
 *                         memory=PATH (a memfd with what is in the file), sealed=PATH (one that
 *                         cannot shrink)
 *   replace NAME KIND     puts such a one in the place of the first of that name
 *   copy NAME PATH        writes what is in the first of that name to PATH
 *   flip NAME OFFSET      the byte at that offset becomes another
 *   poke NAME OFFSET HEX  writes bytes
 *   step FROM CALLS [INSTRUCTIONS]
 *                         kills PROGRAM behind its system call of that number, counted
 *                           accept: from the next successful accept(2)
 *                           now:    from now on
 *                           main:   in the next process, from its first signal(SIGPIPE, ...)
 *                         or so many instructions later; with "end" in front of the call that
 *                         follows
 *   again CALLS           after `step`: the next process dies, too, behind that system call of its
 *                         start, as with main
 *   stepped               killed=0|1|2 calls=N call=NUMBER instructions=N, and in parked= the ports
 *                         (UNIX: the kernel's numbers) of all clients whose sockets were stored
 *                         since `step`; what is not dead by now will live
 */
#include <ctype.h>
#include <elf.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <linux/kcmp.h>
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
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

#define FIRST_FD       3
#define MOST_LISTENERS 16
#define MOST_WORDS     64
#define MOST_PASSED    253   /* SCM_MAX_FD of the kernel */
#define MOST_PARKED    20000 /* whose numbers are remembered */
#define LINES_MAX      4096  /* NOTIFY_BUFFER_MAX of systemd */

struct listener {
    int fd; /* -1: closed */
    const char *kind;
    const char *name;
};

struct stored {
    int fd;
    bool watched; /* without FDPOLL=0 */
    dev_t device;
    ino_t inode;
    char name[256];
};

enum phase { WAITING, RUNNING, RESTARTING };
enum from { NOT_AT_ALL, ACCEPT, NOW, MAIN };

struct stepping {
    enum from from;
    bool attached;
    bool counting;
    bool at_entry; /* CALLS is reached: in front of the next one */
    bool killed;
    int kills;
    long again; /* the next process dies behind that system call of its start; 0: it lives */
    long calls, wanted_calls;
    long instructions, wanted_instructions; /* wanted: -1 for the next system call */
    long call;                              /* the number of the last one */
    long first_argument;
    size_t n_parked;
    int parked[MOST_PARKED]; /* peer_number() */
};

static struct listener listeners[MOST_LISTENERS];
static int n_listeners;
static struct stored *store; /* the last is handed over first */
static size_t n_stored, room;
static size_t most_stored = 4224;
static struct stepping stepping;
static enum phase phase;
static pid_t running; /* 0: none */
static int starts;
static bool held, deaf, stopping, leaving, unnamed, ready;
static int64_t start_at; /* ns; RESTARTING: not before */
static char status_text[256];
static char **program; /* and its arguments */
static int log_fd = -1, notify_fd = -1, control_fd = -1, signal_fd = -1;

static const char *notify_path;
static const char *open_path, *open_name; /* OpenFile= */
static const char *restart = "on-failure", *force = "TERM", *prevent = "64,66,76", *success = "75";
static bool tell_store, no_kcmp, standard_input;
static rlim_t soft_limit; /* 0: as it is */
static int64_t pause_ns;
static unsigned fuse = 60;

static int check(int result, const char *what)
{
    if (result < 0)
        err(99, "keeper: %s", what);
    return result;
}

static int64_t clock_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

static __attribute__((format(printf, 1, 2))) void note(const char *format, ...)
{
    char line[LINES_MAX + 1024];
    va_list arguments;

    if (log_fd < 0)
        return;
    va_start(arguments, format);
    int n = vsnprintf(line, sizeof(line) - 1, format, arguments);
    va_end(arguments);
    if (n >= (int)sizeof(line) - 1)
        n = sizeof(line) - 2;
    line[n++] = '\n';
    if (write(log_fd, line, (size_t)n) != n) /* in one piece */
        err(99, "keeper: log");
}

static void write_file(const char *path, const char *text)
{
    char temporary[600];

    snprintf(temporary, sizeof(temporary), "%s.new", path);
    FILE *stream = fopen(temporary, "w");
    if (!stream || fprintf(stream, "%s\n", text) < 0 || fclose(stream) != 0)
        err(99, "keeper: %s", temporary);
    check(rename(temporary, path), path); /* who sees the file sees all of it */
}

/* --- Sockets ---------------------------------------------------------------------------------- */

/* Of tcp4, tcp6 or mptcp. */
static int listen_internet(const char *kind, char *address, size_t size)
{
    bool six = strcmp(kind, "tcp6") == 0;
    int protocol = strcmp(kind, "mptcp") == 0 ? IPPROTO_MPTCP : 0;
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    struct sockaddr *name = six ? (struct sockaddr *)&in6 : (struct sockaddr *)&in;
    socklen_t length = six ? sizeof(in6) : sizeof(in);

    int fd = check(socket(name->sa_family, SOCK_STREAM | SOCK_CLOEXEC, protocol), "socket");
    check(bind(fd, name, length), "bind");
    check(getsockname(fd, name, &length), "getsockname");
    snprintf(address, size, "%s=%d", kind, ntohs(six ? in6.sin6_port : in.sin_port));
    return fd;
}

static int bind_unix(const char *path, int type)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};

    if (snprintf(name.sun_path, sizeof(name.sun_path), "%s", path) >= (int)sizeof(name.sun_path))
        errx(99, "keeper: %s is too long for a socket", path);
    int fd = check(socket(AF_UNIX, type | SOCK_CLOEXEC, 0), "socket");
    check(bind(fd, (struct sockaddr *)&name, sizeof(name)), path);
    return fd;
}

static void open_listening(struct listener *listener, const char *address_file, int number)
{
    char address[256];
    char path[512];

    if (strncmp(listener->kind, "unix=", 5) == 0) {
        listener->fd = bind_unix(listener->kind + 5, SOCK_STREAM);
        snprintf(address, sizeof(address), "%s", listener->kind);
    } else {
        listener->fd = listen_internet(listener->kind, address, sizeof(address));
    }
    check(listen(listener->fd, SOMAXCONN), "listen");
    if (!address_file)
        return;
    if (number > 1)
        snprintf(path, sizeof(path), "%s.%d", address_file, number);
    else
        snprintf(path, sizeof(path), "%s", address_file);
    write_file(path, address);
}

static int socket_option(int fd, int option)
{
    int value = -1;
    socklen_t size = sizeof(value);

    return getsockopt(fd, SOL_SOCKET, option, &value, &size) < 0 ? -1 : value;
}

/* The port, or what the kernel has called a UNIX socket that was bound to no name, a number as
 * well. */
static int peer_number(int fd)
{
    union {
        struct sockaddr any;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
        struct sockaddr_un un;
    } name = {0};
    socklen_t length = sizeof(name);

    if (getpeername(fd, &name.any, &length) < 0)
        return 0;
    if (name.any.sa_family == AF_UNIX)
        return (int)strtol(name.un.sun_path + 1, NULL, 16);
    return ntohs(name.any.sa_family == AF_INET ? name.in.sin_port : name.in6.sin6_port);
}

static bool is_stream(int fd)
{
    return socket_option(fd, SO_TYPE) == SOCK_STREAM && socket_option(fd, SO_ACCEPTCONN) == 0;
}

static void describe(int fd, char *text, size_t size)
{
    struct stat status;
    char link[64];
    char target[256];

    check(fstat(fd, &status), "fstat");
    if (S_ISSOCK(status.st_mode)) {
        int domain = socket_option(fd, SO_DOMAIN);
        snprintf(text, size, "%s%s",
            domain == AF_INET    ? "tcp4"
            : domain == AF_INET6 ? "tcp6"
                                 : "unix",
            socket_option(fd, SO_TYPE) != SOCK_STREAM ? "-datagram"
            : socket_option(fd, SO_ACCEPTCONN) == 1   ? "-listening"
                                                      : "");
        return;
    }
    if (S_ISFIFO(status.st_mode)) {
        bool writes = (fcntl(fd, F_GETFL) & O_ACCMODE) == O_WRONLY;
        snprintf(text, size, "%s", writes ? "pipe-write" : "pipe-read");
        return;
    }
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, target, sizeof(target) - 1);
    target[n > 0 ? n : 0] = '\0';
    bool memory = strncmp(target, "/memfd:", 7) == 0;
    snprintf(text, size, "%s=%s", memory ? "memfd" : "file", memory ? target + 7 : target);
}

/* --- The store, as in service.c --------------------------------------------------------------- */

static bool is_same_file(int one, int other)
{
    if (no_kcmp) /* the inode is the same already */
        return fcntl(one, F_GETFL) == fcntl(other, F_GETFL);
    return syscall(SYS_kcmp, getpid(), getpid(), KCMP_FILE, one, other) == 0;
}

static void put_into_store(int fd, const char *name, bool watched)
{
    struct stat status;

    check(fstat(fd, &status), "fstat");
    if (n_stored == room) {
        room = 2 * room + 16;
        store = reallocarray(store, room, sizeof(*store));
        if (!store)
            err(99, "keeper");
    }
    struct stored *entry = &store[n_stored++];
    *entry = (struct stored){
        .fd = fd, .watched = watched, .device = status.st_dev, .inode = status.st_ino};
    snprintf(entry->name, sizeof(entry->name), "%s", name);
}

/* Takes fd; returns what became of it. */
static const char *keep(int fd, const char *name, bool watched)
{
    struct stat status;

    if (n_stored >= most_stored) {
        close(fd);
        return "closed";
    }
    check(fstat(fd, &status), "fstat");
    for (size_t i = 0; i < n_stored; i++)
        if (store[i].inode == status.st_ino && store[i].device == status.st_dev &&
            is_same_file(store[i].fd, fd)) {
            close(fd);
            return "same";
        }
    if (is_stream(fd) && stepping.n_parked < MOST_PARKED)
        stepping.parked[stepping.n_parked++] = peer_number(fd);
    put_into_store(fd, name, watched);
    return "stored";
}

static void remove_at(size_t i)
{
    close(store[i].fd);
    memmove(&store[i], &store[i + 1], (n_stored - i - 1) * sizeof(*store));
    n_stored--;
}

static int forget(const char *name)
{
    int n = 0;

    for (size_t i = n_stored; i-- > 0;)
        if (strcmp(store[i].name, name) == 0) {
            remove_at(i);
            n++;
        }
    return n;
}

static void drop_store(void)
{
    if (n_stored > 0)
        note("%d: dropped %zu", starts, n_stored);
    while (n_stored > 0)
        close(store[--n_stored].fd);
}

static struct stored *find(const char *name)
{
    for (size_t i = 0; i < n_stored; i++)
        if (strcmp(store[i].name, name) == 0)
            return &store[i];
    return NULL;
}

/* Serialised from the first to the last, and each put in front of those before: so they turn round.
 */
static void reload(void)
{
    struct stored *before = store;
    size_t n = n_stored;

    store = NULL;
    n_stored = room = 0;
    for (size_t i = n; i-- > 0;)
        if (n_stored < most_stored)
            put_into_store(before[i].fd, before[i].name, before[i].watched);
        else
            close(before[i].fd);
    free(before);
}

/* A descriptor that has hung up, unless PROGRAM has declined that. */
static void drop_hung_up(void)
{
    for (size_t i = n_stored; i-- > 0;) {
        struct pollfd look = {.fd = store[i].fd};
        if (store[i].watched && poll(&look, 1, 0) > 0 && look.revents) {
            note("%d: hung up %s", starts, store[i].name);
            remove_at(i);
        }
    }
}

/* --- Messages, as in manager.c ---------------------------------------------------------------- */

static bool has_line(char **lines, int n, const char *wanted)
{
    for (int i = 0; i < n; i++)
        if (strcmp(lines[i], wanted) == 0)
            return true;
    return false;
}

static const char *value_of(char **lines, int n, const char *key)
{
    for (int i = 0; i < n; i++)
        if (strncmp(lines[i], key, strlen(key)) == 0)
            return lines[i] + strlen(key);
    return NULL;
}

/* fdname_is_valid() */
static bool is_name(const char *name)
{
    if (strlen(name) > 255)
        return false;
    for (; *name; name++)
        if (*name < ' ' || *name >= 127 || *name == ':')
            return false;
    return true;
}

static void close_all(const int *fds, int n)
{
    for (int i = 0; i < n; i++)
        close(fds[i]);
}

/* Several at once: what is behind the first that finds the store full is closed, too. */
static void keep_all(const int *fds, int n, char **lines, int n_lines, char *fate, size_t size)
{
    const char *name = value_of(lines, n_lines, "FDNAME=");
    bool watched = !has_line(lines, n_lines, "FDPOLL=0");

    snprintf(fate, size, "nothing");
    if (!name || !is_name(name))
        name = "stored";
    for (int i = 0; i < n; i++)
        snprintf(fate, size, "%s", keep(fds[i], name, watched));
}

static void take_lines(
    char **lines, int n_lines, const int *fds, int n_fds, char *fate, size_t size)
{
    const char *name = value_of(lines, n_lines, "FDNAME=");
    const char *status = value_of(lines, n_lines, "STATUS=");

    if (has_line(lines, n_lines, "BARRIER=1")) { /* nothing else in the message counts */
        snprintf(fate, size, n_lines == 1 && n_fds == 1 ? "barrier" : "wrong barrier");
        close_all(fds, n_fds);
        return;
    }
    if (has_line(lines, n_lines, "READY=1"))
        ready = true;
    if (status)
        snprintf(status_text, sizeof(status_text), "%s", status);
    if (has_line(lines, n_lines, "FDSTOREREMOVE=1") && name && is_name(name))
        snprintf(fate, size, "removed %d", forget(name));
    if (has_line(lines, n_lines, "FDSTORE=1"))
        keep_all(fds, n_fds, lines, n_lines, fate, size);
    else
        close_all(fds, n_fds);
}

static int passed_descriptors(struct msghdr *message, int *fds)
{
    int n = 0;

    for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c))
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
            size_t size = c->cmsg_len - CMSG_LEN(0);
            memcpy(fds + n, CMSG_DATA(c), size);
            n += (int)(size / sizeof(int));
        }
    return n;
}

/* "FDSTORE=1 FDNAME=@3 FDPOLL=0 [tcp4] stored" */
static void take_message(char *text, const int *fds, int n_fds)
{
    char *lines[MOST_WORDS];
    char shown[LINES_MAX] = "";
    char kinds[512] = "";
    char fate[64] = "";
    int n_lines = 0;
    size_t length = 0;

    for (char *line; (line = strsep(&text, "\n"));)
        if (*line && n_lines < MOST_WORDS)
            lines[n_lines++] = line;
    for (int i = 0; i < n_lines && length < sizeof(shown); i++)
        length += (size_t)snprintf(
            shown + length, sizeof(shown) - length, "%s%s", i ? " " : "", lines[i]);
    length = 0;
    for (int i = 0; i < n_fds && length < sizeof(kinds); i++) {
        char kind[300];
        describe(fds[i], kind, sizeof(kind));
        length += (size_t)snprintf(kinds + length, sizeof(kinds) - length, " [%s]", kind);
    }
    take_lines(lines, n_lines, fds, n_fds, fate, sizeof(fate));
    note("%d: %s%s%s%s", starts, shown, kinds, fate[0] ? " " : "", fate);
}

/* Returns whether there was one. */
static bool read_message(void)
{
    static char text[LINES_MAX + 1];
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(MOST_PASSED * sizeof(int))];
    } control;
    int fds[MOST_PASSED];
    struct iovec io = {text, LINES_MAX};
    struct msghdr message = {.msg_iov = &io,
        .msg_iovlen = 1,
        .msg_control = &control,
        .msg_controllen = sizeof(control)};

    ssize_t n = recvmsg(notify_fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (n < 0 && errno == EAGAIN)
        return false;
    check((int)n, "recvmsg");
    if (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC))
        errx(99, "keeper: a message is too long, or this process has no descriptors left");
    text[n] = '\0';
    take_message(text, fds, passed_descriptors(&message, fds));
    return true;
}

static void read_messages(void)
{
    if (deaf)
        return;
    if (notify_fd >= 0)
        while (read_message())
            continue;
    drop_hung_up();
}

/* --- Starting PROGRAM ------------------------------------------------------------------------- */

/* A shell ignores SIGINT in its background jobs; a supervisor passes on none of its own ways. */
static void reset_signals(void)
{
    sigset_t none;

    for (int number = 1; number < NSIG; number++)
        signal(number, SIG_DFL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

/* fds[i] becomes descriptor 3 + i, although others of them may be there now: shift_fds() */
static void place(int *fds, int n)
{
    for (int again = 0; again >= 0;) {
        int from = again;
        again = -1;
        for (int i = from; i < n; i++) {
            if (fds[i] == FIRST_FD + i)
                continue;
            int fd = check(fcntl(fds[i], F_DUPFD, FIRST_FD + i), "fcntl");
            close(fds[i]);
            fds[i] = fd;
            if (fd != FIRST_FD + i && again < 0)
                again = i;
        }
    }
    for (int i = 0; i < n; i++)
        check(fcntl(fds[i], F_SETFD, 0), "fcntl");
}

static int compare_numbers(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

/* All that is not one of them. */
static void close_others(const int *fds, int n)
{
    int *sorted = calloc((size_t)n + 1, sizeof(*sorted));
    unsigned from = FIRST_FD;

    if (!sorted)
        err(99, "keeper");
    memcpy(sorted, fds, (size_t)n * sizeof(*fds));
    qsort(sorted, (size_t)n, sizeof(*sorted), compare_numbers);
    for (int i = 0; i < n; i++) {
        if ((unsigned)sorted[i] > from)
            close_range(from, (unsigned)sorted[i] - 1, 0);
        from = (unsigned)sorted[i] + 1;
    }
    close_range(from, ~0U, 0);
    free(sorted);
}

static void add_name(char *names, size_t *length, const char *name)
{
    *length += (size_t)sprintf(names + *length, "%s%s", *length ? ":" : "", name);
}

/* The listeners first, then the stored ones, the latest of them first, and then OpenFile=. */
static int collect(int *fds, char *names)
{
    size_t length = 0;
    int n = 0;

    for (int i = 0; i < n_listeners; i++)
        if (listeners[i].fd >= 0) {
            fds[n++] = listeners[i].fd;
            add_name(names, &length, listeners[i].name);
        }
    for (size_t i = n_stored; i-- > 0;) {
        fds[n++] = store[i].fd;
        add_name(names, &length, store[i].name);
    }
    if (open_path) {
        fds[n] = open(open_path, O_RDONLY | O_CLOEXEC);
        if (fds[n] >= 0) { /* "graceful" */
            n++;
            add_name(names, &length, open_name);
        }
    }
    return n;
}

static void lower_limit(void)
{
    struct rlimit limit;

    check(getrlimit(RLIMIT_NOFILE, &limit), "getrlimit");
    limit.rlim_cur = soft_limit;
    if (soft_limit > 0)
        check(setrlimit(RLIMIT_NOFILE, &limit), "setrlimit");
}

static _Noreturn void become_program(void)
{
    int *fds = calloc(1 + MOST_LISTENERS + n_stored, sizeof(*fds));
    char *names = calloc(1 + MOST_LISTENERS + n_stored, sizeof(store->name) + 1);
    char number[24];

    if (!fds || !names)
        err(99, "keeper");
    int n = collect(fds, names);
    if (standard_input) {
        check(dup2(listeners[0].fd, STDIN_FILENO), "dup2");
        n = 0;
    }
    close_others(fds, n);
    lower_limit();
    place(fds, n);
    snprintf(number, sizeof(number), "%d", n);
    if (n > 0) {
        setenv("LISTEN_FDS", number, 1);
        snprintf(number, sizeof(number), "%d", getpid());
        setenv("LISTEN_PID", number, 1);
        if (!unnamed)
            setenv("LISTEN_FDNAMES", names, 1);
    }
    snprintf(number, sizeof(number), "%zu", most_stored);
    if (tell_store && most_stored > 0)
        setenv("FDSTORE", number, 1);
    if (notify_path)
        setenv("NOTIFY_SOCKET", notify_path, 1);
    reset_signals();
    execvp(program[0], program);
    err(99, "keeper: %s", program[0]);
}

static void attach(pid_t pid)
{
    check((int)ptrace(PTRACE_SEIZE, pid, NULL,
              (void *)(uintptr_t)(PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL)),
        "PTRACE_SEIZE");
    stepping.attached = true;
}

/* From here on as with `step main`; the rest stays as it is. */
static void step_again(void)
{
    stepping.from = MAIN;
    stepping.wanted_calls = stepping.again;
    stepping.again = stepping.calls = 0;
    stepping.counting = stepping.at_entry = stepping.killed = false;
}

/* A process that is to be stepped through waits at the gate until it is attached. */
static void start(void)
{
    int gate[2];
    char byte;

    check(pipe2(gate, O_CLOEXEC), "pipe2");
    starts++;
    ready = false;
    status_text[0] = '\0';
    note("%d: start with %zu", starts, n_stored);
    pid_t pid = check(fork(), "fork");
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG,
            SIGKILL); /* a test that fails kills keeper with what cannot be caught */
        close(gate[1]);
        while (read(gate[0], &byte, 1) < 0)
            continue;
        become_program();
    }
    phase = RUNNING;
    running = pid;
    unnamed = false;
    stepping.attached = false;
    if (stepping.killed && stepping.again > 0)
        step_again();
    if (stepping.from == MAIN && !stepping.killed)
        attach(pid);
    close(gate[0]);
    close(gate[1]);
}

/* --- Its end ---------------------------------------------------------------------------------- */

static bool is_in(const char *list, const char *word)
{
    size_t length = strlen(word);

    for (const char *at = list; (at = strstr(at, word)); at++)
        if ((at == list || at[-1] == ',') && (at[length] == '\0' || at[length] == ','))
            return true;
    return false;
}

static void take_end(int status)
{
    char how[24];

    if (WIFEXITED(status))
        snprintf(how, sizeof(how), "%d", WEXITSTATUS(status));
    else
        snprintf(how, sizeof(how), "%s", sigabbrev_np(WTERMSIG(status)));
    read_messages();
    note("%d: end %s", starts, how);
    running = 0;
    ready = false;
    stepping.attached = false;
    bool clean = is_in("0,HUP,INT,TERM,PIPE", how) || is_in(success, how);
    bool again = is_in(force, how) || (!clean && strcmp(restart, "on-failure") == 0);
    if (again && !is_in(prevent, how) && !stopping && !leaving) {
        phase = RESTARTING;
        start_at = clock_now() + pause_ns;
        return;
    }
    drop_store();
    phase = WAITING;
    stopping = false;
}

/* --- Stepping through it ---------------------------------------------------------------------- */

static void go_on(int signal)
{
    /* Fails for one that was killed meanwhile, whose end is reported next. */
    (void)ptrace(PTRACE_SYSCALL, running, NULL, (void *)(uintptr_t)signal);
}

/* It is stopped by us, and never comes back from there. */
static void kill_here(void)
{
    stepping.killed = true;
    stepping.kills++;
    kill(running, SIGKILL);
}

/* Is its next instruction a system call, in which it might wait? -1: this cannot be told here. */
static int is_at_call(void)
{
#if defined(__x86_64__) || defined(__aarch64__)
    struct user_regs_struct registers;
    struct iovec io = {&registers, sizeof(registers)};

    if (ptrace(PTRACE_GETREGSET, running, (void *)(uintptr_t)NT_PRSTATUS, &io) < 0)
        return 0;
#if defined(__x86_64__)
    uintptr_t at = registers.rip;
    unsigned long mask = 0xffff, call = 0x050f;
#else
    uintptr_t at = registers.pc;
    unsigned long mask = 0xffffffff, call = 0xd4000001;
#endif
    long word = ptrace(PTRACE_PEEKTEXT, running, (void *)at, NULL);
    return ((unsigned long)word & mask) == call;
#else
    return -1;
#endif
}

/* Returns false when it has ended meanwhile. */
static bool step_instructions(void)
{
    int signal = 0;

    for (stepping.instructions = 0; stepping.instructions < stepping.wanted_instructions;
         stepping.instructions++) {
        int status;
        if (is_at_call() != 0)
            break;
        if (ptrace(PTRACE_SINGLESTEP, running, NULL, (void *)(uintptr_t)signal) < 0)
            break;
        check(waitpid(running, &status, 0), "waitpid");
        if (!WIFSTOPPED(status)) {
            take_end(status);
            return false;
        }
        signal = WSTOPSIG(status) == SIGTRAP ? 0 : WSTOPSIG(status);
    }
    return true;
}

static bool begins_here(const struct __ptrace_syscall_info *info)
{
    switch (stepping.from) {
    case ACCEPT:
        return (stepping.call == SYS_accept4 || stepping.call == SYS_accept) &&
               !info->exit.is_error;
    case MAIN:
        return stepping.call == SYS_rt_sigaction && stepping.first_argument == SIGPIPE;
    default:
        return true;
    }
}

static void take_exit(const struct __ptrace_syscall_info *info)
{
    if (!stepping.counting && !begins_here(info))
        return;
    stepping.counting = true;
    if (++stepping.calls != stepping.wanted_calls)
        return;
    if (stepping.wanted_instructions < 0)
        stepping.at_entry = true;
    else if (step_instructions())
        kill_here();
}

static void take_call(void)
{
    struct __ptrace_syscall_info info;

    if (ptrace(PTRACE_GET_SYSCALL_INFO, running, (void *)sizeof(info), &info) < 0)
        return;
    if (info.op == PTRACE_SYSCALL_INFO_ENTRY) {
        stepping.call = (long)info.entry.nr;
        stepping.first_argument = (long)info.entry.args[0];
        if (stepping.at_entry)
            kill_here();
    } else if (info.op == PTRACE_SYSCALL_INFO_EXIT && stepping.from != NOT_AT_ALL) {
        take_exit(&info);
    }
}

static void take_stop(int status)
{
    int signal = WSTOPSIG(status);

    if (signal == (SIGTRAP | 0x80)) {
        take_call();
        signal = 0;
    } else if (status >> 16) { /* exec, or our own interruption */
        signal = 0;
    }
    if (running > 0 && !stepping.killed)
        go_on(signal);
}

static void reap(void)
{
    int status;

    while (!deaf && running > 0 && waitpid(running, &status, WNOHANG) > 0)
        if (WIFSTOPPED(status))
            take_stop(status);
        else
            take_end(status);
}

static void begin_stepping(enum from from, long calls, long instructions)
{
    bool attached = stepping.attached;
    int status;

    stepping = (struct stepping){.from = from,
        .attached = attached,
        .wanted_calls = calls,
        .wanted_instructions = instructions};
    if (from == MAIN || running == 0)
        return;
    if (!attached)
        attach(running);
    check((int)ptrace(PTRACE_INTERRUPT, running, NULL, NULL), "PTRACE_INTERRUPT");
    check(waitpid(running, &status, 0), "waitpid"); /* once this is over, no call of it is missed */
    if (WIFSTOPPED(status))
        take_stop(status);
    else
        take_end(status);
}

/* --- Commands --------------------------------------------------------------------------------- */

static int open_memory(const char *path)
{
    static char bytes[1 << 16];
    int from = open(path, O_RDONLY | O_CLOEXEC);
    int fd = check(memfd_create("memory", MFD_CLOEXEC | MFD_ALLOW_SEALING), "memfd_create");

    check(from, path);
    for (ssize_t n; (n = check((int)read(from, bytes, sizeof(bytes)), path)) > 0;)
        check((int)write(fd, bytes, (size_t)n), "write");
    close(from);
    return fd;
}

/* Its other end stays open until keeper ends. */
static int open_end(const char *kind)
{
    int ends[2];

    if (strcmp(kind, "pipe") == 0)
        check(pipe2(ends, O_CLOEXEC), "pipe2");
    else
        check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), "socketpair");
    return ends[0];
}

/* TCP: both ends are ours. */
static int open_connected(void)
{
    char address[64];
    struct sockaddr_in name;
    socklen_t length = sizeof(name);
    int listener = listen_internet("tcp4", address, sizeof(address));
    int client = check(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket");

    check(listen(listener, 1), "listen");
    check(getsockname(listener, (struct sockaddr *)&name, &length), "getsockname");
    check(connect(client, (struct sockaddr *)&name, length), "connect");
    int fd = check(accept4(listener, NULL, NULL, SOCK_CLOEXEC), "accept4");
    close(listener);
    return fd;
}

static int open_other_listener(void)
{
    char address[64];
    int fd = listen_internet("tcp4", address, sizeof(address));

    check(listen(fd, 1), "listen");
    return fd;
}

/* -1: there is no such kind */
static int open_kind(const char *kind)
{
    if (strcmp(kind, "pipe") == 0 || strcmp(kind, "pair") == 0)
        return open_end(kind);
    if (strcmp(kind, "connected") == 0)
        return open_connected();
    if (strcmp(kind, "unconnected") == 0)
        return check(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), kind);
    if (strcmp(kind, "listening") == 0)
        return open_other_listener();
    if (strcmp(kind, "datagram") == 0)
        return check(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), kind);
    if (strcmp(kind, "null") == 0)
        return check(open("/dev/null", O_RDWR | O_CLOEXEC), kind);
    if (strncmp(kind, "file=", 5) == 0)
        return check(open(kind + 5, O_RDWR | O_CLOEXEC), kind);
    if (strncmp(kind, "memory=", 7) == 0)
        return open_memory(kind + 7);
    if (strncmp(kind, "sealed=", 7) == 0) {
        int fd = open_memory(kind + 7);
        check(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK), kind);
        return fd;
    }
    return -1;
}

struct command {
    int n;        /* words */
    char **words; /* the command itself is the first */
    FILE *answer;
    struct stored *stored; /* of the name that is the second word */
};

/* Each returns NULL, or what is wrong. */
typedef const char *deed(struct command *command);

static const char *do_pid(struct command *command)
{
    fprintf(command->answer, "%d\n", running);
    return NULL;
}

static const char *do_starts(struct command *command)
{
    fprintf(command->answer, "%d\n", starts);
    return NULL;
}

static const char *do_ready(struct command *command)
{
    fprintf(command->answer, "%d\n", ready);
    return NULL;
}

static const char *do_status(struct command *command)
{
    fprintf(command->answer, "%s\n", status_text);
    return NULL;
}

static const char *do_store(struct command *command)
{
    char kind[300];

    for (size_t i = n_stored; i-- > 0;) {
        describe(store[i].fd, kind, sizeof(kind));
        fprintf(command->answer, "%s %s\n", store[i].name, kind);
    }
    return NULL;
}

static const char *do_start(struct command *command)
{
    (void)command;
    if (running > 0)
        return "it runs";
    start();
    return NULL;
}

static const char *do_stop(struct command *command)
{
    (void)command;
    if (running == 0)
        drop_store();
    phase = running > 0 ? phase : WAITING;
    stopping = running > 0;
    if (running > 0)
        kill(running, SIGTERM);
    return NULL;
}

static const char *do_kill(struct command *command)
{
    int number = 1;

    while (number < NSIG &&
           (!sigabbrev_np(number) || strcmp(sigabbrev_np(number), command->words[1]) != 0))
        number++;
    if (number == NSIG)
        return "there is no such signal";
    if (running == 0) /* which is as well, if it has died by itself, or of `step`, a moment ago */
        return phase == RESTARTING ? NULL : "nothing runs";
    kill(running, number);
    return NULL;
}

static const char *do_fresh(struct command *command)
{
    int status;

    (void)command;
    stepping = (struct stepping){.attached = stepping.attached};
    if (running > 0) {
        kill(running, SIGKILL);
        do /* one that is stepped through may tell of a stop before */
            check(waitpid(running, &status, 0), "waitpid");
        while (WIFSTOPPED(status));
        take_end(status);
    }
    drop_store();
    start();
    return NULL;
}

/* PR_SET_PDEATHSIG ends it together with us. */
static const char *do_abandon(struct command *command)
{
    (void)command;
    if (running == 0)
        return "nothing runs";
    read_messages();
    running = 0;
    ready = false;
    stepping = (struct stepping){0};
    phase = RESTARTING;
    start_at = clock_now();
    return NULL;
}

static const char *do_hold(struct command *command)
{
    held = command->words[0][0] == 'h';
    return NULL;
}

static const char *do_deaf(struct command *command)
{
    deaf = command->words[0][0] == 'd';
    read_messages();
    reap();
    return NULL;
}

static const char *do_max(struct command *command)
{
    most_stored = (size_t)atol(command->words[1]);
    return NULL;
}

static const char *do_reload(struct command *command)
{
    (void)command;
    reload();
    return NULL;
}

static const char *do_arguments(struct command *command)
{
    char **fresh = calloc((size_t)command->n + 1, sizeof(*fresh));

    if (!fresh)
        err(99, "keeper");
    fresh[0] = program[0];
    for (int i = 1; i < command->n; i++)
        fresh[i] = strdup(command->words[i]);
    program = fresh;
    return NULL;
}

static const char *do_unlisten(struct command *command)
{
    int number = atoi(command->words[1]);

    if (number < 1 || number > n_listeners || listeners[number - 1].fd < 0)
        return "there is no such listener";
    close(listeners[number - 1].fd);
    listeners[number - 1].fd = -1;
    return NULL;
}

static const char *do_forget(struct command *command)
{
    forget(command->words[1]);
    return NULL;
}

static const char *do_twice(struct command *command)
{
    int fd = check(fcntl(command->stored->fd, F_DUPFD_CLOEXEC, 0), "fcntl");

    put_into_store(fd, command->words[1], false);
    return NULL;
}

static const char *do_rename(struct command *command)
{
    for (size_t i = 0; i < n_stored; i++)
        if (strcmp(store[i].name, command->words[1]) == 0)
            snprintf(store[i].name, sizeof(store[i].name), "%s", command->words[2]);
    return NULL;
}

static const char *do_swap(struct command *command)
{
    struct stored *other = find(command->words[2]);

    if (!other)
        return "the other one is not in the store";
    snprintf(command->stored->name, sizeof(other->name), "%s", command->words[2]);
    snprintf(other->name, sizeof(other->name), "%s", command->words[1]);
    return NULL;
}

static const char *do_unnamed(struct command *command)
{
    (void)command;
    unnamed = true;
    return NULL;
}

static const char *do_add(struct command *command)
{
    int fd = open_kind(command->words[2]);

    if (fd < 0)
        return "what kind is that?";
    put_into_store(fd, command->words[1], false);
    return NULL;
}

static const char *do_replace(struct command *command)
{
    int fd = open_kind(command->words[2]);

    if (fd < 0)
        return "what kind is that?";
    close(command->stored->fd);
    command->stored->fd = fd;
    return NULL;
}

static const char *do_copy(struct command *command)
{
    static char bytes[1 << 16];
    off_t at = 0;
    int to = open(command->words[2], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);

    check(to, command->words[2]);
    for (ssize_t n; (n = pread(command->stored->fd, bytes, sizeof(bytes), at)) > 0; at += n)
        check((int)write(to, bytes, (size_t)n), "write");
    close(to);
    return NULL;
}

static const char *do_flip(struct command *command)
{
    unsigned char byte;
    off_t at = atoll(command->words[2]);

    if (pread(command->stored->fd, &byte, 1, at) != 1)
        return "there is no such byte";
    byte = (unsigned char)~byte;
    if (pwrite(command->stored->fd, &byte, 1, at) != 1)
        return "it cannot be written";
    return NULL;
}

static const char *do_poke(struct command *command)
{
    unsigned char bytes[256];
    const char *hex = command->words[3];
    size_t n = 0;

    for (; n < sizeof(bytes) && isxdigit((unsigned char)hex[0]); hex += 2)
        if (sscanf(hex, "%2hhx", &bytes[n++]) != 1)
            return "what is that in HEX?";
    if (pwrite(command->stored->fd, bytes, n, atoll(command->words[2])) != (ssize_t)n)
        return "it cannot be written";
    return NULL;
}

static const char *do_step(struct command *command)
{
    static const char *const names[] = {"", "accept", "now", "main"};
    const char *more = command->n > 3 ? command->words[3] : "0";

    for (enum from from = ACCEPT; from <= MAIN; from++)
        if (strcmp(command->words[1], names[from]) == 0) {
            if (from != MAIN && running == 0)
                return "nothing runs";
            long instructions = strcmp(more, "end") == 0 ? -1 : atol(more);
            if (instructions > 0 && is_at_call() < 0)
                return "this machine's instructions are not known here";
            begin_stepping(from, atol(command->words[2]), instructions);
            return NULL;
        }
    return "from where?";
}

static const char *do_again(struct command *command)
{
    stepping.again = atol(command->words[1]);
    return NULL;
}

static const char *do_stepped(struct command *command)
{
    fprintf(command->answer,
        "killed=%d calls=%ld call=%ld instructions=%ld parked=", stepping.kills, stepping.calls,
        stepping.call, stepping.instructions);
    for (size_t i = 0; i < stepping.n_parked; i++)
        fprintf(command->answer, "%d,", stepping.parked[i]);
    fprintf(command->answer, "\n");
    stepping.from = NOT_AT_ALL;
    stepping.at_entry = false;
    stepping.again = 0;
    return NULL;
}

static const struct {
    const char *name;
    int words;  /* at least, with the command itself */
    bool named; /* the second one must be in the store */
    deed *deed;
} deeds[] = {
    {"pid", 1, false, do_pid},
    {"starts", 1, false, do_starts},
    {"ready", 1, false, do_ready},
    {"status", 1, false, do_status},
    {"store", 1, false, do_store},
    {"start", 1, false, do_start},
    {"stop", 1, false, do_stop},
    {"kill", 2, false, do_kill},
    {"abandon", 1, false, do_abandon},
    {"fresh", 1, false, do_fresh},
    {"hold", 1, false, do_hold},
    {"run", 1, false, do_hold},
    {"deaf", 1, false, do_deaf},
    {"hear", 1, false, do_deaf},
    {"max", 2, false, do_max},
    {"reload", 1, false, do_reload},
    {"arguments", 1, false, do_arguments},
    {"unlisten", 2, false, do_unlisten},
    {"forget", 2, true, do_forget},
    {"twice", 2, true, do_twice},
    {"rename", 3, true, do_rename},
    {"swap", 3, true, do_swap},
    {"unnamed", 1, false, do_unnamed},
    {"add", 3, false, do_add},
    {"replace", 3, true, do_replace},
    {"copy", 3, true, do_copy},
    {"flip", 3, true, do_flip},
    {"poke", 4, true, do_poke},
    {"step", 3, false, do_step},
    {"again", 2, false, do_again},
    {"stepped", 1, false, do_stepped},
};

static const char *execute(struct command *command)
{
    for (size_t i = 0; i < sizeof(deeds) / sizeof(deeds[0]); i++) {
        if (strcmp(deeds[i].name, command->words[0]) != 0)
            continue;
        if (command->n < deeds[i].words)
            return "a word is missing";
        command->stored = deeds[i].named ? find(command->words[1]) : NULL;
        if (deeds[i].named && !command->stored)
            return "it is not in the store";
        return deeds[i].deed(command);
    }
    return "there is no such command";
}

/* One command for each connection: its words, each ended by a 0, and then the end of stream. */
static void take_command(void)
{
    char text[LINES_MAX];
    char *words[MOST_WORDS];
    struct command command = {.words = words};
    size_t size = 0;

    int fd = accept4(control_fd, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0)
        return;
    for (ssize_t n; size < sizeof(text) && (n = read(fd, text + size, sizeof(text) - size)) > 0;)
        size += (size_t)n;
    for (size_t at = 0; at < size && command.n < MOST_WORDS; at += strlen(text + at) + 1)
        words[command.n++] = text + at;
    command.answer = fdopen(fd, "w");
    if (!command.answer)
        err(99, "keeper: fdopen");
    read_messages(); /* so that the answer has them in it */
    reap();
    const char *wrong = command.n > 0 ? execute(&command) : "no command";
    if (wrong)
        fprintf(command.answer, "keeper: %s: %s\n", command.n > 0 ? words[0] : "", wrong);
    fclose(command.answer); /* fails for who no longer listens */
}

static int tell(const char *path, int n, char **words)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    char answer[4096];
    bool wrong = false;
    int fd = check(socket(AF_UNIX, SOCK_STREAM, 0), "socket");

    alarm(fuse);
    snprintf(name.sun_path, sizeof(name.sun_path), "%s", path);
    while (connect(fd, (struct sockaddr *)&name, sizeof(name)) < 0) {
        if (errno != ENOENT && errno != ECONNREFUSED && errno != EAGAIN)
            err(99, "keeper: %s", path);
        poll(NULL, 0, 5);
    }
    for (int i = 0; i < n; i++)
        check((int)send(fd, words[i], strlen(words[i]) + 1, MSG_NOSIGNAL), "send");
    check(shutdown(fd, SHUT_WR), "shutdown");
    for (ssize_t size; (size = read(fd, answer, sizeof(answer))) > 0;) {
        wrong |= size > 7 && strncmp(answer, "keeper:", 7) == 0;
        check((int)write(wrong ? STDERR_FILENO : STDOUT_FILENO, answer, (size_t)size), "write");
    }
    return wrong;
}

/* --- The loop --------------------------------------------------------------------------------- */

static void take_signals(void)
{
    struct signalfd_siginfo info;

    while (read(signal_fd, &info, sizeof(info)) == sizeof(info)) {
        if (info.ssi_signo == SIGCHLD)
            continue;
        leaving = true;
        if (running > 0)
            kill(running, info.ssi_signo == SIGTERM ? SIGTERM : SIGKILL);
        if (info.ssi_signo == SIGALRM)
            errx(99, "keeper: the fuse has blown");
    }
    reap();
}

static int fill(struct pollfd *polls)
{
    int n = 0;

    polls[n++] = (struct pollfd){.fd = signal_fd, .events = POLLIN};
    polls[n++] = (struct pollfd){.fd = control_fd, .events = POLLIN};
    polls[n++] = (struct pollfd){.fd = deaf ? -1 : notify_fd, .events = POLLIN};
    for (int i = 0; i < n_listeners && phase == WAITING && !held; i++)
        polls[n++] = (struct pollfd){.fd = listeners[i].fd, .events = POLLIN};
    for (size_t i = 0; i < n_stored; i++)
        if (store[i].watched)
            polls[n++] = (struct pollfd){.fd = store[i].fd};
    return n;
}

static bool somebody_waits(const struct pollfd *polls)
{
    for (int i = 0; i < n_listeners && phase == WAITING && !held; i++)
        if (polls[i].revents)
            return true;
    return false;
}

/* Until the next start is due, in milliseconds; -1: none is. */
static int time_left(void)
{
    int64_t left = start_at - clock_now();

    if (phase != RESTARTING || held)
        return -1;
    return left > 0 ? (int)((left + 999999) / 1000000) : 0;
}

static void loop(void)
{
    while (!leaving || running > 0) {
        struct pollfd *polls = calloc(3 + MOST_LISTENERS + n_stored, sizeof(*polls));
        if (!polls)
            err(99, "keeper");
        int n = fill(polls);
        if (poll(polls, (nfds_t)n, time_left()) < 0)
            err(99, "keeper: poll");
        bool waits = somebody_waits(polls + 3);
        read_messages();
        if (polls[0].revents)
            take_signals();
        if (polls[1].revents)
            take_command();
        if (running == 0 && !leaving && !held && (waits || time_left() == 0))
            start();
        free(polls);
    }
}

static void open_all(const char *address_file, const char *control, const char *log)
{
    sigset_t signals;
    struct rlimit limit;

    check(getrlimit(RLIMIT_NOFILE, &limit), "getrlimit");
    limit.rlim_cur = limit.rlim_max;
    check(setrlimit(RLIMIT_NOFILE, &limit), "setrlimit");
    if (log)
        log_fd = check(open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666), log);
    if (notify_path) {
        notify_fd = bind_unix(notify_path, SOCK_DGRAM);
        check(chmod(notify_path, 0777), notify_path); /* PROGRAM may be another user's */
    }
    if (control) {
        control_fd = bind_unix(control, SOCK_STREAM);
        check(listen(control_fd, SOMAXCONN), "listen");
    }
    for (int i = 0; i < n_listeners; i++)
        open_listening(&listeners[i], address_file, i + 1);
    sigemptyset(&signals);
    sigaddset(&signals, SIGCHLD);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGALRM);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    signal(SIGPIPE, SIG_IGN);
    signal_fd = check(signalfd(-1, &signals, SFD_NONBLOCK | SFD_CLOEXEC), "signalfd");
}

static void plan_listener(char *kind)
{
    static const char *const kinds[] = {"tcp4", "tcp6", "mptcp"};
    char *comma = strchr(kind, ',');
    bool known = strncmp(kind, "unix=", 5) == 0;

    if (n_listeners == MOST_LISTENERS)
        errx(99, "keeper: too many sockets");
    if (comma)
        *comma++ = '\0';
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        known |= strcmp(kind, kinds[i]) == 0;
    if (!known)
        errx(99, "keeper: what is --listen=%s?", kind);
    listeners[n_listeners++] =
        (struct listener){.fd = -1, .kind = kind, .name = comma ? comma : "decant.socket"};
}

int main(int argc, char **argv)
{
    static const struct option names[] = {
        {"listen", 1, NULL, 'l'},
        {"open-file", 1, NULL, 'o'},
        {"address-file", 1, NULL, 'a'},
        {"notify", 1, NULL, 'n'},
        {"store", 1, NULL, 's'},
        {"tell-store", 0, NULL, 'e'},
        {"no-kcmp", 0, NULL, 'K'},
        {"soft-limit", 1, NULL, 'm'},
        {"standard-input", 0, NULL, 'i'},
        {"control", 1, NULL, 'c'},
        {"log", 1, NULL, 'L'},
        {"restart", 1, NULL, 'r'},
        {"force", 1, NULL, 'f'},
        {"prevent", 1, NULL, 'p'},
        {"success", 1, NULL, 'S'},
        {"pause", 1, NULL, 'P'},
        {"now", 0, NULL, 'N'},
        {"fuse", 1, NULL, 'F'},
        {"tell", 1, NULL, 't'},
        {0},
    };
    static char one[] = "tcp4";
    const char *address_file = NULL, *control = NULL, *log = NULL;
    bool now = false;

    for (int c; (c = getopt_long(argc, argv, "+", names, NULL)) != -1;) {
        switch (c) {
        case 'l':
            plan_listener(optarg);
            break;
        case 'o':
            open_path = strsep(&optarg, ",");
            open_name = optarg ? optarg : "open-file";
            break;
        case 'a':
            address_file = optarg;
            break;
        case 'n':
            notify_path = *optarg ? optarg : NULL;
            break;
        case 's':
            most_stored = (size_t)atol(optarg);
            break;
        case 'e':
            tell_store = true;
            break;
        case 'K':
            no_kcmp = true;
            break;
        case 'm':
            soft_limit = (rlim_t)atol(optarg);
            break;
        case 'i':
            standard_input = true;
            break;
        case 'c':
            control = optarg;
            break;
        case 'L':
            log = optarg;
            break;
        case 'r':
            restart = optarg;
            break;
        case 'f':
            force = optarg;
            break;
        case 'p':
            prevent = optarg;
            break;
        case 'S':
            success = optarg;
            break;
        case 'P':
            pause_ns = atol(optarg) * INT64_C(1000000);
            break;
        case 'N':
            now = true;
            break;
        case 'F':
            fuse = (unsigned)atoi(optarg);
            break;
        case 't':
            return tell(optarg, argc - optind, argv + optind);
        default:
            return 99;
        }
    }
    if (optind == argc)
        errx(99, "keeper: no PROGRAM");
    if (n_listeners == 0)
        plan_listener(one);
    program = argv + optind;
    close_range(FIRST_FD, ~0U, 0);
    alarm(fuse);
    open_all(address_file, control, log);
    if (now)
        start();
    loop();
    return 0;
}
