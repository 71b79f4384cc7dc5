/* SPDX-License-Identifier: MIT */
/*
 * decant, taken over. The program's own objects are linked with this around sandbox_enter() and
 * transfer_start(), so that with all that decant holds at that moment, the process does what an
 * attacker would. FILE's name, or that of the file it is a link to, tells what:
 *
 *     attack-NAME      that one attack, below, when the first client is there, whose flaw of decant
 *                      it would have used; then, if the process is still there, decant goes on
 *     attack-each      every one of them, each in a child process that enters the sandbox by itself
 *     attack-numbers   every system call by its number, each in such a child, with arguments that
 *                      make no sense
 *
 * What came of it is a record, in the channel of the process:
 *
 *     attack NAME: succeeded
 *     attack NAME: refused, ERRNO
 *     attack NAME: killed by signal N      (each and numbers: the parent says it)
 *
 * All attacks are harmless where nothing stops them, so that a test can try them without the
 * sandbox, and see that they would have worked. ATTACK_TARGET names the UNIX socket that is to get
 * a forged record; the journal's is the default.
 */
#include "sandbox.h"
#include "transfer.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <syslog.h>
#include <unistd.h>

/* Of Linux 5.6 and later, and the same on all architectures. */
#ifndef SYS_pidfd_send_signal
#define SYS_pidfd_send_signal 424
#endif
#ifndef SYS_io_uring_setup
#define SYS_io_uring_setup 425
#endif
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef SYS_clone3
#define SYS_clone3 435
#endif
#ifndef SYS_openat2
#define SYS_openat2 437
#endif
#ifndef SYS_pidfd_getfd
#define SYS_pidfd_getfd 438
#endif
#ifndef SYS_mount_setattr
#define SYS_mount_setattr 442
#endif
#ifndef SYS_memfd_secret
#define SYS_memfd_secret 447
#endif

#define MOST_NUMBERS   600 /* above the highest of any architecture so far */
#define MOST_ATTACKS   200
#define STATUS_SUCCESS 42
#define STATUS_REFUSED 100 /* and the errno */

int __real_sandbox_enter(const struct options *options, const struct handover *handover,
    const struct sources *sources, bool resident, struct report *report, struct problem *problem);
int __wrap_sandbox_enter(const struct options *options, const struct handover *handover,
    const struct sources *sources, bool resident, struct report *report, struct problem *problem);
void __real_transfer_start(struct transfer *transfer, struct transfer_slot *slot, int fd,
    enum socket_kind kind, struct source *source, const struct transfer_limits *limits,
    int64_t now);
void __wrap_transfer_start(struct transfer *transfer, struct transfer_slot *slot, int fd,
    enum socket_kind kind, struct source *source, const struct transfer_limits *limits,
    int64_t now);

/* What decant has, and a few things that were prepared before, so that an attack stands alone. */
struct loot {
    int file;     /* what is served */
    int client;   /* -1: none yet */
    int listener; /* or -1 */
    int datagram; /* a UNIX socket of decant's own: the supervisor's or syslogd's, or a new one */
    int udp;
    int tcp; /* not connected, as a client's is after connect(2) to AF_UNSPEC */
    int listening;
    struct sockaddr_in port_address; /* of that */
    int parent_fd;                   /* a pidfd(2) */
    pid_t parent;
    char path[512];
    char other[768];    /* a file beside the served one */
    char absent[768];   /* one that is not there */
    char self_file[64]; /* the served file by its descriptor */
    char parent_file[64];
    struct sockaddr_un target;
    socklen_t target_length;
    void *page;
};

static struct loot loot;
static const char *in_mind; /* the attack that waits for the first client */
static struct report *its_report;
static const char *names[MOST_ATTACKS];
static size_t n_names;

/* struct open_how, which musl has not */
struct how {
    uint64_t flags;
    uint64_t mode;
    uint64_t resolve;
};

static int is_datagram(int fd)
{
    int domain = 0;
    int type = 0;
    socklen_t size = sizeof(type);

    return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 && domain == AF_UNIX &&
           getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_DGRAM;
}

/* A file beside the served one, for each attack anew; attack-each and attack-numbers alone do that.
 */
static void lay_out_files(void)
{
    (void)unlink(loot.absent);
    (void)rmdir(loot.absent);
    int fd = open(loot.other, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0 || write(fd, "other", 5) != 5 || close(fd) < 0)
        abort();
}

/* Before the sandbox. */
static void look_around(const struct handover *handover, const struct sources *sources)
{
    const char *target = getenv("ATTACK_TARGET");
    char link[64];
    char directory[512];

    loot.file = sources_for(sources, 0)->current ? sources_for(sources, 0)->current->fd : -1;
    loot.client = handover->n_connections > 0 ? handover->connections[0].fd : -1;
    loot.listener = handover->n_listeners > 0 ? handover->listeners[0].fd : -1;
    loot.datagram = handover->notify.fd;
    for (int fd = 0; fd < 64 && loot.datagram < 0; fd++)
        if (is_datagram(fd))
            loot.datagram = fd;
    if (loot.datagram < 0)
        loot.datagram = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    loot.udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    loot.tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    loot.listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    socklen_t address_length = sizeof(loot.port_address);
    /* Where a unit allows none of these, the client's must do, and discard(9) is not there. */
    loot.port_address =
        (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(9), .sin_addr.s_addr = 0};
    if (listen(loot.listening, SOMAXCONN) == 0) /* at a port that the kernel chooses */
        (void)getsockname(loot.listening, (struct sockaddr *)&loot.port_address, &address_length);
    loot.port_address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    (void)snprintf(loot.self_file, sizeof(loot.self_file), "/proc/self/fd/%d", loot.file);
    (void)snprintf(link, sizeof(link), "%s", loot.self_file);
    ssize_t length = readlink(link, loot.path, sizeof(loot.path) - 1);
    loot.path[length < 0 ? 0 : length] = '\0';
    (void)snprintf(directory, sizeof(directory), "%s", loot.path);
    (void)snprintf(loot.other, sizeof(loot.other), "%s/other", dirname(directory));
    (void)snprintf(loot.absent, sizeof(loot.absent), "%s/absent", directory);
    loot.target.sun_family = AF_UNIX;
    (void)snprintf(loot.target.sun_path, sizeof(loot.target.sun_path), "%s",
        target ? target : "/run/systemd/journal/socket");
    loot.target_length = sizeof(loot.target);
    loot.page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    loot.parent = getppid();
    loot.parent_fd = (int)syscall(SYS_pidfd_open, loot.parent, 0);
    (void)snprintf(loot.parent_file, sizeof(loot.parent_file), "/proc/%d/environ", loot.parent);
}

/* Whether it is this attack that is asked for. Where none is, it notes the name: the list of
 * attacks is what attempt() asks for. */
static bool is(const char *wanted, const char *name)
{
    if (!wanted && n_names < MOST_ATTACKS)
        names[n_names++] = name;
    return wanted && strcmp(wanted, name) == 0;
}

static long open_as(const char *path, int flags)
{
    return syscall(SYS_openat, AT_FDCWD, path, flags, 0644);
}

static long open2_as(const char *path, int flags)
{
    struct how how = {.flags = (uint64_t)flags, .mode = flags & O_CREAT ? 0644 : 0};

    return syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof(how));
}

static const char forged[] = "MESSAGE=<27>sshd[1]: forged\nPRIORITY=3\nSYSLOG_IDENTIFIER=sshd\n";

/* One message in an array of them, struct mmsghdr. */
struct many {
    struct msghdr header;
    unsigned length;
};

static long send_to_target(bool several)
{
    struct iovec bytes = {.iov_base = (void *)forged, .iov_len = sizeof(forged) - 1};
    struct many one = {.header = {.msg_name = &loot.target,
                           .msg_namelen = loot.target_length,
                           .msg_iov = &bytes,
                           .msg_iovlen = 1}};

    if (several)
        return syscall(SYS_sendmmsg, loot.datagram, &one, 1, MSG_DONTWAIT | MSG_NOSIGNAL);
    return syscall(SYS_sendmsg, loot.datagram, &one.header, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* What is left of the client, where there is no other: a socket that could be connected. */
static int free_socket(void)
{
    const struct sockaddr nobody = {.sa_family = AF_UNSPEC};

    if (loot.tcp >= 0)
        return loot.tcp;
    (void)connect(loot.client, &nobody, sizeof(nobody.sa_family));
    return loot.client;
}

/* To any TCP port: the address is in memory, where no filter looks, and the network is the one of
 * the socket, whatever that of the process is. */
static long send_and_connect(void)
{
    struct iovec bytes = {.iov_base = (void *)forged, .iov_len = sizeof(forged) - 1};
    struct msghdr header = {.msg_name = &loot.port_address,
        .msg_namelen = sizeof(loot.port_address),
        .msg_iov = &bytes,
        .msg_iovlen = 1};

    return syscall(SYS_sendmsg, free_socket(), &header, MSG_FASTOPEN);
}

/* As syslog(3) and sd_journal_send(3) do it. */
static long send_by_new_socket(bool connects)
{
    long fd = syscall(SYS_socket, AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return fd;
    if (!connects)
        return syscall(SYS_sendto, fd, forged, sizeof(forged) - 1, MSG_DONTWAIT, &loot.target,
            loot.target_length);
    if (syscall(SYS_connect, fd, &loot.target, loot.target_length) < 0)
        return -1;
    return syscall(SYS_sendto, fd, forged, sizeof(forged) - 1, MSG_DONTWAIT, NULL, 0);
}

/* Exits in the child that it was not to get. */
static long child(long pid)
{
    if (pid == 0)
        (void)syscall(SYS_exit_group, 0);
    return pid;
}

static long write_parent(bool writes)
{
    char byte = 0;
    struct iovec here = {.iov_base = &byte, .iov_len = 1};
    struct iovec there = {.iov_base = &loot, .iov_len = 1};

    return syscall(
        writes ? SYS_process_vm_writev : SYS_process_vm_readv, loot.parent, &here, 1, &there, 1, 0);
}

/* It is the new program that says that it is there. */
static long execute(const char *name)
{
    char words[128];
    char *const arguments[] = {(char *)"sh", (char *)"-c", words, NULL};

    (void)snprintf(
        words, sizeof(words), "echo 'attack %s: succeeded' >&2; exit %d", name, STATUS_SUCCESS);
    return syscall(SYS_execve, "/bin/sh", arguments, NULL);
}

/* With a handler of its own, the process is told of the next try, and that is all. */
static long execute_with_handler(void)
{
    struct sigaction action = {.sa_handler = SIG_IGN};

    if (sigaction(SIGSYS, &action, NULL) < 0)
        return -1;
    return execute("execve-ignored");
}

static long raise_limit(int resource)
{
    struct rlimit limit;

    if (getrlimit(resource, &limit) < 0)
        return -1;
    if (limit.rlim_cur == limit.rlim_max && limit.rlim_max > 0)
        limit.rlim_cur--; /* nothing is left to raise: what counts is whether it may be set */
    else
        limit.rlim_cur = limit.rlim_max;
    return setrlimit(resource, &limit);
}

static long signal_info(void)
{
    siginfo_t info = {.si_signo = SIGURG, .si_code = SI_QUEUE};

    return syscall(SYS_rt_sigqueueinfo, loot.parent, SIGURG, &info);
}

#ifdef __x86_64__
static long by_int80(void)
{
    long result;

    __asm__ volatile("int $0x80" : "=a"(result) : "a"(20L /* getpid */) : "memory", "cc");
    return result < 0 ? (errno = (int)-result, -1) : result;
}
#endif

static long attempt_file(const char *name)
{
    struct stat status;

    if (is(name, "open-passwd"))
        return open_as("/etc/passwd", O_RDONLY);
    if (is(name, "openat2-passwd"))
        return open2_as("/etc/passwd", O_RDONLY);
    if (is(name, "open-other")) /* what else is in the directory */
        return open_as(loot.other, O_RDONLY);
    if (is(name, "openat2-other"))
        return open2_as(loot.other, O_RDONLY);
    if (is(name, "open-directory"))
        return open_as("/", O_RDONLY | O_DIRECTORY);
    if (is(name, "open-path")) /* not for reading, but for chroot(2), openat(2) and the like */
        return open_as("/", O_PATH | O_DIRECTORY);
    if (is(name, "open-memory"))
        return open_as("/proc/self/mem", O_RDWR);
    if (is(name, "openat2-memory"))
        return open2_as("/proc/self/mem", O_RDWR);
    if (is(name, "openat2-environment")) /* of another process of the same user */
        return open2_as(loot.parent_file, O_RDONLY);
    if (is(name, "open-device"))
        return open_as("/dev/null", O_RDONLY);
    if (is(name, "stat-passwd"))
        return syscall(SYS_newfstatat, AT_FDCWD, "/etc/passwd", &status, 0);
    if (is(name, "open-handle"))
        return syscall(SYS_open_by_handle_at, -1, loot.page, O_RDONLY);

    if (is(name, "open-write"))
        return open_as(loot.other, O_WRONLY);
    if (is(name, "openat2-write"))
        return open2_as(loot.other, O_WRONLY);
    if (is(name, "open-truncate"))
        return open_as(loot.other, O_RDONLY | O_TRUNC);
    if (is(name, "openat2-truncate"))
        return open2_as(loot.other, O_RDONLY | O_TRUNC);
    if (is(name, "open-create"))
        return open_as(loot.absent, O_RDONLY | O_CREAT);
    if (is(name, "openat2-create"))
        return open2_as(loot.absent, O_RDONLY | O_CREAT);
    if (is(name, "openat2-tmpfile"))
        return open2_as("/tmp", O_RDWR | O_TMPFILE);
    if (is(name, "open-tmpfile"))
        return open_as("/tmp", O_RDWR | O_TMPFILE);
    if (is(name, "reopen-write"))
        return open_as(loot.self_file, O_RDWR);
    if (is(name, "openat2-reopen-write"))
        return open2_as(loot.self_file, O_RDWR);
    if (is(name, "truncate"))
        return syscall(SYS_truncate, loot.other, 5L);
    if (is(name, "unlink"))
        return syscall(SYS_unlinkat, AT_FDCWD, loot.other, 0);
    if (is(name, "rename"))
        return syscall(SYS_renameat, AT_FDCWD, loot.other, AT_FDCWD, loot.absent);
    if (is(name, "link"))
        return syscall(SYS_linkat, AT_FDCWD, loot.other, AT_FDCWD, loot.absent, 0);
    if (is(name, "symlink"))
        return syscall(SYS_symlinkat, "/etc/passwd", AT_FDCWD, loot.absent);
    if (is(name, "mkdir"))
        return syscall(SYS_mkdirat, AT_FDCWD, loot.absent, 0755);
    if (is(name, "mknod"))
        return syscall(SYS_mknodat, AT_FDCWD, loot.absent, S_IFIFO | 0644, 0);
    if (is(name, "chmod"))
        return syscall(SYS_fchmodat, AT_FDCWD, loot.other, 0666);
    if (is(name, "fchmod"))
        return syscall(SYS_fchmod, loot.file, 0666);
    if (is(name, "chown"))
        return syscall(SYS_fchownat, AT_FDCWD, loot.other, -1, -1, 0);
    if (is(name, "utime")) /* by which a change would be hidden */
        return syscall(SYS_utimensat, loot.file, NULL, NULL, 0);
    if (is(name, "setxattr"))
        return syscall(SYS_fsetxattr, loot.file, "user.attack", "x", 1, 0);
    if (is(name, "lock"))
        return syscall(SYS_flock, loot.file, 2 | 4 /* LOCK_EX | LOCK_NB */);
    if (is(name, "lease"))
        return syscall(SYS_fcntl, loot.file, F_SETLEASE, F_RDLCK);
    return -2;
}

static long attempt_network(const char *name)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(9), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct msghdr empty = {.msg_name = NULL};
    socklen_t length = sizeof(address);
    int one = 1;
    int pair[2];

    if (is(name, "socket-inet"))
        return syscall(SYS_socket, AF_INET, SOCK_STREAM, 0);
    if (is(name, "socket-unix"))
        return syscall(SYS_socket, AF_UNIX, SOCK_STREAM, 0);
    if (is(name, "socket-netlink"))
        return syscall(SYS_socket, AF_NETLINK, SOCK_RAW, 0);
    if (is(name, "socketpair"))
        return syscall(SYS_socketpair, AF_UNIX, SOCK_STREAM, 0, pair);
    if (is(name, "journal-send")) /* a forged record, by a socket of its own */
        return send_by_new_socket(false);
    if (is(name, "journal-connect"))
        return send_by_new_socket(true);
    if (is(name, "journal-sendto")) /* by one that is there */
        return syscall(SYS_sendto, loot.datagram, forged, sizeof(forged) - 1, MSG_DONTWAIT,
            &loot.target, loot.target_length);
    if (is(name, "journal-sendmsg"))
        return send_to_target(false);
    if (is(name, "journal-sendmmsg"))
        return send_to_target(true);
    if (is(name, "sendmsg-flags")) /* to the supervisor, but not as decant does it */
        return syscall(SYS_sendmsg, loot.datagram, &empty, MSG_OOB);
    if (is(name, "journal-reconnect"))
        return syscall(SYS_connect, loot.datagram, &loot.target, loot.target_length);
    if (is(name, "connect-udp"))
        return syscall(SYS_connect, loot.udp, &address, sizeof(address));
    if (is(name, "connect-tcp"))
        return syscall(SYS_connect, free_socket(), &loot.port_address, sizeof(loot.port_address));
    if (is(name, "sendmsg-tcp"))
        return send_and_connect();
    if (is(name, "sendto-tcp"))
        return syscall(SYS_sendto, free_socket(), "x", 1, MSG_FASTOPEN, &loot.port_address,
            sizeof(loot.port_address));
    if (is(name, "sendto-udp"))
        return syscall(SYS_sendto, loot.udp, "x", 1, 0, &address, sizeof(address));
    if (is(name, "bind")) {
        address.sin_port = 0;
        return syscall(SYS_bind, loot.udp, &address, sizeof(address));
    }
    if (is(name, "listen")) /* a socket that is not bound gets a port of its own */
        return syscall(SYS_listen, loot.listener >= 0 ? loot.listener : loot.client, 1);
    if (is(name, "accept"))
        return syscall(SYS_accept, loot.listening, NULL, NULL);
    if (is(name, "reuse-port")) /* another process could have the port, too */
        return syscall(SYS_setsockopt, loot.listener >= 0 ? loot.listener : loot.client, SOL_SOCKET,
            SO_REUSEPORT, &one, sizeof(one));
    if (is(name, "read-port"))
        return syscall(SYS_getsockname, loot.udp, &address, &length);
    return -2;
}

static long attempt_process(const char *name)
{
    unsigned long mask[16] = {1};
    struct rlimit limit = {0, 0};
    uint64_t clone3[8] = {[4] = SIGCHLD};

    if (is(name, "execve"))
        return execute(name);
    if (is(name, "execveat"))
        return syscall(SYS_execveat, loot.file, "", NULL, NULL, AT_EMPTY_PATH);
    if (is(name, "execve-ignored"))
        return execute_with_handler();
    if (is(name, "memfd"))
        return syscall(SYS_memfd_create, "attack", 0);
    if (is(name, "memfd-secret"))
        return syscall(SYS_memfd_secret, 0);
    if (is(name, "clone"))
        return child(syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, 0));
    if (is(name, "clone3"))
        return child(syscall(SYS_clone3, clone3, sizeof(clone3)));
#ifdef SYS_fork
    if (is(name, "fork"))
        return child(syscall(SYS_fork));
#endif
    if (is(name, "ptrace-parent"))
        return syscall(SYS_ptrace, 0x4206 /* PTRACE_SEIZE */, loot.parent, NULL, NULL);
    if (is(name, "ptrace-me"))
        return syscall(SYS_ptrace, PTRACE_TRACEME, 0, NULL, NULL);
    if (is(name, "read-parent"))
        return write_parent(false);
    if (is(name, "write-parent"))
        return write_parent(true);
    if (is(name, "kill-parent")) /* the default of SIGURG is to be ignored */
        return syscall(SYS_kill, loot.parent, SIGURG);
    if (is(name, "kill-group"))
        return syscall(SYS_kill, 0, SIGURG);
    if (is(name, "kill-all"))
        return syscall(SYS_kill, -1, 0);
    if (is(name, "tgkill-parent"))
        return syscall(SYS_tgkill, loot.parent, loot.parent, SIGURG);
    if (is(name, "tkill-parent"))
        return syscall(SYS_tkill, loot.parent, SIGURG);
    if (is(name,
            "term-parent")) /* with the only signal that may be sent, and checked before it is */
        return syscall(SYS_tgkill, loot.parent, 0, SIGTERM);
    if (is(name, "tgkill-self"))
        return syscall(SYS_tgkill, getpid(), getpid(), SIGURG);
    if (is(name, "queue-parent"))
        return signal_info();
    if (is(name, "pidfd-open"))
        return syscall(SYS_pidfd_open, loot.parent, 0);
    if (is(name, "pidfd-kill"))
        return syscall(SYS_pidfd_send_signal, loot.parent_fd, SIGURG, NULL, 0);
    if (is(name, "pidfd-getfd"))
        return syscall(SYS_pidfd_getfd, loot.parent_fd, 0, 0);
    if (is(name, "sigio-owner")) /* SIGIO, or any other signal, to the parent */
        return syscall(SYS_fcntl, loot.udp, F_SETOWN, loot.parent);
    if (is(name, "sigio-signal"))
        return syscall(SYS_fcntl, loot.udp, F_SETSIG, SIGURG);
    if (is(name, "nice-parent"))
        return syscall(SYS_setpriority, PRIO_PROCESS, loot.parent, 0);
    if (is(name, "affinity-parent"))
        return syscall(SYS_sched_getaffinity, loot.parent, sizeof(mask), mask);
    if (is(name, "limit-parent"))
        return syscall(SYS_prlimit64, loot.parent, RLIMIT_NOFILE, NULL, &limit);
    if (is(name, "limit-files"))
        return raise_limit(RLIMIT_FSIZE);
    if (is(name, "limit-processes"))
        return raise_limit(RLIMIT_NPROC);
    if (is(name, "compare-parent"))
        return syscall(SYS_kcmp, getpid(), loot.parent, 0, 0, 0);
    if (is(name, "session"))
        return syscall(SYS_setsid);
    if (is(name, "alarm"))
        return syscall(SYS_setitimer, 0, NULL, NULL);
    return -2;
}

static long attempt_memory(const char *name)
{
    const int anonymous = MAP_PRIVATE | MAP_ANONYMOUS;

    if (is(name, "mmap-exec"))
        return syscall(SYS_mmap, NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, anonymous, -1, 0);
    if (is(name, "mmap-file"))
        return syscall(SYS_mmap, NULL, 4096, PROT_READ, MAP_PRIVATE, loot.file, 0);
    if (is(name, "mprotect-exec"))
        return syscall(SYS_mprotect, loot.page, 4096, PROT_READ | PROT_EXEC);
    if (is(name, "pkey-mprotect"))
        return syscall(SYS_pkey_mprotect, loot.page, 4096, PROT_READ | PROT_EXEC, -1);
    if (is(name, "mremap"))
        return syscall(SYS_mremap, loot.page, 4096, 8192, MREMAP_MAYMOVE, NULL);
    if (is(name, "mlock"))
        return syscall(SYS_mlock, loot.page, 4096);
    if (is(name, "shm"))
        return syscall(SYS_shmget, 0 /* IPC_PRIVATE */, 4096, 0);
    if (is(name, "personality")) /* what is readable is executable, then */
        return syscall(SYS_personality, 0x0400000 /* READ_IMPLIES_EXEC */);
    if (is(name, "userfaultfd"))
        return syscall(SYS_userfaultfd, 1 /* UFFD_USER_MODE_ONLY */);
    return -2;
}

/* Where they would change more than this process, they are sure to fail by their arguments. */
static long attempt_kernel(const char *name)
{
    uint32_t header[2] = {0x20080522, 0};
    uint32_t sets[6] = {0};

    if (is(name, "mount"))
        return syscall(SYS_mount, "none", "/nonexistent", "tmpfs", 0, NULL);
    if (is(name, "umount"))
        return syscall(SYS_umount2, "/nonexistent", 0);
    if (is(name, "mount-setattr"))
        return syscall(SYS_mount_setattr, -1, "/nonexistent", 0, NULL, 0);
    if (is(name, "unshare"))
        return syscall(SYS_unshare, 0x10000000 /* CLONE_NEWUSER */);
    if (is(name, "setns"))
        return syscall(SYS_setns, loot.parent_fd, 0x40000000 /* CLONE_NEWNET */);
    if (is(name, "chroot"))
        return syscall(SYS_chroot, "/");
    if (is(name, "pivot-root"))
        return syscall(SYS_pivot_root, "/nonexistent", "/nonexistent");
    if (is(name, "chdir"))
        return syscall(SYS_chdir, "/");
    if (is(name, "setuid"))
        return syscall(SYS_setuid, 0);
    if (is(name, "setresuid"))
        return syscall(SYS_setresuid, 0, 0, 0);
    if (is(name, "setgroups"))
        return syscall(SYS_setgroups, 0, NULL);
    if (is(name, "capset"))
        return syscall(SYS_capset, header, sets);
    if (is(name, "prctl"))
        return syscall(SYS_prctl, PR_SET_DUMPABLE, 1, 0, 0, 0);
    if (is(name, "seccomp")) /* none can be taken away; but one more could make calls fail */
        return syscall(SYS_seccomp, 2 /* SECCOMP_GET_ACTION_AVAIL */, 0, &sets);
    if (is(name, "bpf"))
        return syscall(SYS_bpf, 0, NULL, 0);
    if (is(name, "io-uring"))
        return syscall(SYS_io_uring_setup, 1, loot.page);
    if (is(name, "keyctl")) /* KEYCTL_GET_KEYRING_ID of the process */
        return syscall(SYS_keyctl, 0, -2, 1);
    if (is(name, "add-key"))
        return syscall(SYS_add_key, "user", "attack", "x", 1, -2);
    if (is(name, "perf"))
        return syscall(SYS_perf_event_open, loot.page, 0, -1, -1, 0);
    if (is(name, "module"))
        return syscall(SYS_init_module, NULL, 0, "");
    if (is(name, "kexec"))
        return syscall(SYS_kexec_load, 0, -1, NULL, 0);
    if (is(name, "reboot"))
        return syscall(SYS_reboot, 0, 0, 0, NULL);
    if (is(name, "swap"))
        return syscall(SYS_swapon, "/nonexistent", 0);
    if (is(name, "hostname"))
        return syscall(SYS_sethostname, "", -1);
    if (is(name, "clock"))
        return syscall(SYS_settimeofday, NULL, NULL);
    if (is(name, "dmesg"))
        return syscall(SYS_syslog, 10 /* the size */, NULL, 0);
    if (is(name, "quota"))
        return syscall(SYS_quotactl, 0, NULL, 0, NULL);
    if (is(name, "fanotify"))
        return syscall(SYS_fanotify_init, 0, 0);
    if (is(name, "inotify"))
        return syscall(SYS_inotify_init1, 0);
    if (is(name, "tiocsti")) /* typed into the terminal of whoever started us */
        return syscall(SYS_ioctl, 0, TIOCSTI, "");
    if (is(name, "ioctl"))
        return syscall(SYS_ioctl, loot.udp, FIONBIO, loot.page);
    if (is(name, "ioctl-upper")) /* of the number, the kernel looks at the lower half */
        return syscall(SYS_ioctl, loot.udp, FIONBIO | (1UL << 32), loot.page);
#ifdef __x86_64__
    if (is(name, "ioperm"))
        return syscall(SYS_ioperm, 0, 1, 0);
    if (is(name, "ldt"))
        return syscall(SYS_modify_ldt, 0, loot.page, 0);
    if (is(name, "int80")) /* the calls of 32 bits have other numbers */
        return by_int80();
    if (is(name, "x32"))
        return syscall(0x40000000 + SYS_getpid);
#endif
    return -2;
}

/* The result of the call, or -2 for a name that there is not. */
static long attempt(const char *name)
{
    static long (*const attempts[])(const char *) = {
        attempt_file, attempt_network, attempt_process, attempt_memory, attempt_kernel};
    long result = -2;

    for (size_t i = 0; i < sizeof(attempts) / sizeof(attempts[0]) && result == -2; i++)
        result = attempts[i](name);
    return result;
}

static const char *error_name(int error, char *text, size_t size)
{
    static const struct {
        int error;
        const char *name;
    } known[] = {{EPERM, "EPERM"}, {EACCES, "EACCES"}, {ENOSYS, "ENOSYS"}, {EXDEV, "EXDEV"},
        {ENOENT, "ENOENT"}, {EINVAL, "EINVAL"}, {EBADF, "EBADF"}, {EFAULT, "EFAULT"},
        {ESRCH, "ESRCH"}, {EAGAIN, "EAGAIN"}, {EROFS, "EROFS"}, {EAFNOSUPPORT, "EAFNOSUPPORT"}};

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (known[i].error == error)
            return known[i].name;
    (void)snprintf(text, size, "errno %d", error);
    return text;
}

static void say(struct report *report, const char *name, const char *what, int number)
{
    char text[160];
    char error[32];

    (void)snprintf(text, sizeof(text), "attack %s: %s%s", name, what,
        strcmp(what, "refused, ") == 0 ? error_name(number, error, sizeof(error)) : "");
    if (strncmp(what, "killed", 6) == 0)
        (void)snprintf(text, sizeof(text), "attack %s: %s %d", name, what, number);
    report_note(report, LOG_WARNING, text);
}

static void say_status(struct report *report, const char *name, int status)
{
    if (WIFSIGNALED(status))
        say(report, name, "killed by signal", WTERMSIG(status));
    else if (WEXITSTATUS(status) == STATUS_SUCCESS)
        say(report, name, "succeeded", 0);
    else if (WEXITSTATUS(status) > STATUS_REFUSED)
        say(report, name, "refused, ", WEXITSTATUS(status) - STATUS_REFUSED);
    else
        say(report, name, "could not enter the sandbox", 0);
}

/* What __wrap_sandbox_enter() was called with. */
struct entry {
    const struct options *options;
    const struct handover *handover;
    const struct sources *sources;
    bool resident;
    struct report *report;
    struct problem *problem;
};

static int enter(const struct entry *entry)
{
    return __real_sandbox_enter(entry->options, entry->handover, entry->sources, entry->resident,
        entry->report, entry->problem);
}

/* In a child of its own: the attack of that name, or, without one, the call of that number. */
static void in_child(const struct entry *entry, const char *name, long number)
{
    char number_name[32];
    int status = 0;

    pid_t pid = fork();
    if (pid < 0)
        abort();
    if (pid == 0) {
        (void)alarm(10);
        look_around(entry->handover, entry->sources);
        lay_out_files();
        if (enter(entry) < 0)
            _exit(1);
        long result = name ? attempt(name) : syscall(number, -1L, -1L, -1L, -1L, -1L, -1L);
        int error = errno;
        (void)syscall(SYS_exit_group, result != -1 ? STATUS_SUCCESS : STATUS_REFUSED + error);
    }
    if (waitpid(pid, &status, 0) != pid)
        abort();
    (void)snprintf(number_name, sizeof(number_name), "%ld", number);
    say_status(entry->report, name ? name : number_name, status);
}

/* Of FILE itself, so that a link by another name leads there as well. */
static const char *attack_name(const struct sources *sources)
{
    const struct source *source = sources_for(sources, 0)->current;
    static char path[512];
    char link[64];

    (void)snprintf(link, sizeof(link), "/proc/self/fd/%d", source ? source->fd : -1);
    ssize_t length = readlink(link, path, sizeof(path) - 1);
    path[length < 0 ? 0 : length] = '\0';
    const char *slash = strrchr(path, '/');
    return slash && strncmp(slash, "/attack-", 8) == 0 ? slash + 8 : NULL;
}

int __wrap_sandbox_enter(const struct options *options, const struct handover *handover,
    const struct sources *sources, bool resident, struct report *report, struct problem *problem)
{
    const struct entry entry = {options, handover, sources, resident, report, problem};
    const char *name = attack_name(sources);

    if (!name)
        return enter(&entry);
    if (strcmp(name, "each") == 0) {
        (void)attempt(NULL);
        for (size_t i = 0; i < n_names; i++)
            in_child(&entry, names[i], 0);
        return enter(&entry);
    }
    if (strcmp(name, "numbers") == 0) {
        for (long i = 0; i < MOST_NUMBERS; i++)
            in_child(&entry, NULL, i);
        return enter(&entry);
    }
    look_around(handover, sources);
    if (handover->stored.n_sockets ==
        0) /* the next process, which goes on with the clients, does */
        in_mind = name;
    its_report = report;
    return enter(&entry);
}

void __wrap_transfer_start(struct transfer *transfer, struct transfer_slot *slot, int fd,
    enum socket_kind kind, struct source *source, const struct transfer_limits *limits, int64_t now)
{
    const char *name = in_mind;

    in_mind = NULL;
    if (name) {
        loot.client = fd;
        long result = attempt(name);
        if (result == -2)
            say(its_report, name, "is not known", 0);
        else
            say(its_report, name, result == -1 ? "refused, " : "succeeded", errno);
    }
    __real_transfer_start(transfer, slot, fd, kind, source, limits, now);
}
