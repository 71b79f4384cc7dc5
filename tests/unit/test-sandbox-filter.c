/* SPDX-License-Identifier: MIT */

/*
 * What went wrong in others: a filter that looked at 32 bits of a pointer, and let pass one that is
 * not null; one that had no word on the calls of another architecture, whose connect(2) has another
 * number; one that allowed setsockopt(2) 1 whatever the level; one that allowed sendmsg(2), by
 * which a socket sends to whom it likes. Here the filters are run as the kernel runs them, on calls
 * that are never made.
 */

#include "kernel.h"
#include "sandbox.h"

#include "sandbox-structs.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#if defined(__x86_64__)
#define NATIVE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define NATIVE AUDIT_ARCH_AARCH64
#else
#error "tell this test what the kernel calls the architecture, <linux/audit.h>"
#endif

/* ---- the machine that the kernel runs them on ---- */

static uint32_t word_of(const struct seccomp_data *data, uint32_t at)
{
    uint32_t word;

    assert_int_equal(at % sizeof(word), 0); /* else the kernel refuses the filter */
    assert_true(at < sizeof(*data));
    memcpy(&word, (const char *)data + at, sizeof(word));
    return word;
}

static bool compare(const struct instruction *one, uint32_t a)
{
    switch (one->code) {
    case BPF_JMP | BPF_JEQ | BPF_K:
        return a == one->k;
    case BPF_JMP | BPF_JGT | BPF_K:
        return a > one->k;
    case BPF_JMP | BPF_JGE | BPF_K:
        return a >= one->k;
    case BPF_JMP | BPF_JSET | BPF_K:
        return (a & one->k) != 0;
    default:
        fail_msg("instruction %#x is none that libseccomp makes", one->code);
        return false;
    }
}

/* Only what libseccomp makes use of; each jump goes forward, so that it ends. */
static uint32_t run(const struct filter *filter, const struct seccomp_data *data)
{
    uint32_t a = 0;

    for (size_t at = 0; at < filter->n; at++) {
        const struct instruction *one = &filter->instructions[at];
        switch (one->code) {
        case BPF_LD | BPF_W | BPF_ABS:
            a = word_of(data, one->k);
            break;
        case BPF_ALU | BPF_AND | BPF_K:
            a &= one->k;
            break;
        case BPF_JMP | BPF_JA:
            at += one->k;
            break;
        case BPF_RET | BPF_K:
            return one->k;
        default:
            at += compare(one, a) ? one->if_true : one->if_false;
        }
    }
    fail_msg("it runs over the end");
    return 0;
}

/* In one letter: Allowed, refused with Eperm, Trapped, Killed. */
static char judge(const struct filter *filter, uint32_t architecture, int number, const uint64_t *a)
{
    struct seccomp_data data = {
        .nr = number, .arch = architecture, .instruction_pointer = UINT64_C(0x7fff12345678)};

    memcpy(data.args, a, sizeof(data.args));
    switch (run(filter, &data)) {
    case SECCOMP_RET_ALLOW:
        return 'A';
    case SECCOMP_RET_ERRNO | EPERM:
        return 'E';
    case SECCOMP_RET_TRAP:
        return 'T';
    case SECCOMP_RET_KILL_PROCESS:
        return 'K';
    default:
        return '?';
    }
}

/* The letters of a verdict, in this order. */
#define FILTERS 7
static const struct {
    const char *name;
    unsigned needs;
} columns[FILTERS] = {
    {"single", 0},
    {"resident", SANDBOX_LOOP | SANDBOX_GIVEN},
    {"resident-path", SANDBOX_LOOP | SANDBOX_PATH},
    {"resident-directory", SANDBOX_LOOP | SANDBOX_DIRECTORY},
    {"store", SANDBOX_LOOP | SANDBOX_STORE | SANDBOX_GIVEN},
    {"store-path", SANDBOX_LOOP | SANDBOX_STORE | SANDBOX_PATH},
    {"store-directory", SANDBOX_LOOP | SANDBOX_STORE | SANDBOX_DIRECTORY},
};

static const struct filter *column(size_t i)
{
    for (size_t j = 0; j < LENGTH(filters); j++)
        if (filters[j].needs == columns[i].needs)
            return &filters[j];
    fail_msg("there is no filter for %s", columns[i].name);
    return NULL;
}

/* ---- calls, and what becomes of them ---- */

#define ALL     "AAAAAAA"
#define NONE    "TTTTTTT"
#define REFUSED "EEEEEEE"
#define LOOPS   "TAAAAAA"
#define STORES  "TTTTAAA"
#define PATHS   "TTATTAT"
#define BELOW   "TTTATTA"
#define GIVEN   "TATTATT"
#define NAMES   "TATTAAA"
#define OPENS   "TTAATAA"

#define HIGH    (UINT64_C(0xfffffffe) << 32) /* chance, in the upper half of an int */
#define POINTER UINT64_C(0x7f0012345678)
#define PID     SANDBOX_OWN_PID    /* as long as nothing stands in for them */
#define SOCKET  SANDBOX_SUPERVISOR /* the supervisor's */
#define OTHER   9
#define MINUS_1 UINT64_MAX
#define QUIETLY (MSG_DONTWAIT | MSG_NOSIGNAL)

/* What this architecture has not. */
enum {
    ABSENT = -2,
#ifndef SYS_open
    SYS_open = ABSENT,
    SYS_creat = ABSENT,
    SYS_stat = ABSENT,
    SYS_access = ABSENT,
    SYS_readlink = ABSENT,
    SYS_poll = ABSENT,
    SYS_epoll_wait = ABSENT,
    SYS_fork = ABSENT,
    SYS_vfork = ABSENT,
#define SYS_open     SYS_open
#define WITHOUT_OLD  ALL
#define WITHOUT_PATH PATHS
#define WITHOUT_LOOP LOOPS
#else
#define WITHOUT_OLD  NONE
#define WITHOUT_PATH NONE
#define WITHOUT_LOOP NONE
#endif
};

struct call {
    const char *name;
    int number;
    uint64_t a[6];
    const char *verdict;
};

static const struct call calls[] = {
    /* the transfer */
    {"sendfile", SYS_sendfile, {5, 6, POINTER, 1 << 20}, ALL},
    {"ioctl SIOCOUTQ", SYS_ioctl, {5, TIOCOUTQ, POINTER}, ALL},
    {"ioctl SIOCOUTQ, and chance", SYS_ioctl, {5, HIGH | TIOCOUTQ, POINTER}, ALL},
    {"ioctl TIOCSTI", SYS_ioctl, {0, TIOCSTI, POINTER}, NONE},
    {"ioctl TIOCSTI, and chance", SYS_ioctl, {0, HIGH | TIOCSTI, POINTER}, NONE},
    {"ioctl TIOCLINUX", SYS_ioctl, {0, TIOCLINUX, POINTER}, NONE},
    {"ioctl FIONREAD", SYS_ioctl, {5, FIONREAD, POINTER}, NONE},
    {"ioctl FIONBIO", SYS_ioctl, {5, FIONBIO, POINTER}, NONE},
    {"ioctl 0", SYS_ioctl, {5, 0, POINTER}, NONE},
    {"ioctl of a descriptor like SIOCOUTQ", SYS_ioctl, {TIOCOUTQ, TIOCSTI, TIOCOUTQ}, NONE},
    {"getsockopt SO_ERROR", SYS_getsockopt, {5, SOL_SOCKET, SO_ERROR, POINTER, POINTER}, ALL},
    {"getsockopt SO_PEERCRED", SYS_getsockopt, {5, SOL_SOCKET, SO_PEERCRED, POINTER, POINTER}, ALL},
    {"getsockopt TCP_INFO", SYS_getsockopt, {5, IPPROTO_TCP, TCP_INFO, POINTER, POINTER}, ALL},
    {"getsockopt TCP_INFO, and chance", SYS_getsockopt,
        {5, HIGH | IPPROTO_TCP, HIGH | TCP_INFO, POINTER, POINTER}, ALL},
    {"getsockopt TCP_NODELAY", SYS_getsockopt, {5, IPPROTO_TCP, TCP_NODELAY, POINTER}, NONE},
    {"getsockopt TCP_REPAIR", SYS_getsockopt, {5, IPPROTO_TCP, TCP_REPAIR, POINTER}, NONE},
    {"getsockopt of IP", SYS_getsockopt, {5, IPPROTO_IP, TCP_INFO, POINTER}, NONE},
    {"getsockopt of IPv6", SYS_getsockopt, {5, IPPROTO_IPV6, TCP_INFO, POINTER}, NONE},
    {"setsockopt SO_LINGER", SYS_setsockopt, {5, SOL_SOCKET, SO_LINGER, POINTER, 8}, ALL},
    {"setsockopt SO_LINGER, and chance", SYS_setsockopt,
        {5, HIGH | SOL_SOCKET, HIGH | SO_LINGER, POINTER, 8}, ALL},
    {"setsockopt SO_LINGER's number, TCP", SYS_setsockopt, {5, IPPROTO_TCP, SO_LINGER, POINTER, 8},
        NONE},
    {"setsockopt TCP_NODELAY", SYS_setsockopt, {5, IPPROTO_TCP, TCP_NODELAY, POINTER, 4}, ALL},
    {"setsockopt TCP_NODELAY's number, SOL_SOCKET", SYS_setsockopt,
        {5, SOL_SOCKET, TCP_NODELAY, POINTER, 4}, NONE},
    {"setsockopt TCP_NODELAY's number, IP", SYS_setsockopt,
        {5, IPPROTO_IP, TCP_NODELAY, POINTER, 4}, NONE},
    {"setsockopt TCP_NOTSENT_LOWAT", SYS_setsockopt,
        {5, IPPROTO_TCP, TCP_NOTSENT_LOWAT, POINTER, 4}, LOOPS},
    {"setsockopt SO_BINDTODEVICE", SYS_setsockopt, {5, SOL_SOCKET, SO_BINDTODEVICE, POINTER, 4},
        NONE},
    {"setsockopt SO_MAX_PACING_RATE", SYS_setsockopt,
        {5, SOL_SOCKET, SO_MAX_PACING_RATE, POINTER, 8}, LOOPS},
    {"setsockopt SO_MAX_PACING_RATE, and chance", SYS_setsockopt,
        {5, HIGH | SOL_SOCKET, HIGH | SO_MAX_PACING_RATE, POINTER, 8}, LOOPS},
    {"setsockopt SO_MAX_PACING_RATE's number, TCP", SYS_setsockopt,
        {5, IPPROTO_TCP, SO_MAX_PACING_RATE, POINTER, 8}, NONE},
    {"setsockopt SO_RCVBUF", SYS_setsockopt, {5, SOL_SOCKET, SO_RCVBUF, POINTER, 4}, NONE},
    {"setsockopt SO_REUSEPORT", SYS_setsockopt, {5, SOL_SOCKET, SO_REUSEPORT, POINTER, 4}, NONE},
    {"setsockopt SO_ATTACH_FILTER", SYS_setsockopt, {5, SOL_SOCKET, SO_ATTACH_FILTER, POINTER, 16},
        NONE},
    {"setsockopt SO_ZEROCOPY", SYS_setsockopt, {5, SOL_SOCKET, SO_ZEROCOPY, POINTER, 4}, NONE},
    {"setsockopt TCP_ULP", SYS_setsockopt, {5, IPPROTO_TCP, TCP_ULP, POINTER, 3}, NONE},
    {"setsockopt TCP_CONGESTION", SYS_setsockopt, {5, IPPROTO_TCP, TCP_CONGESTION, POINTER, 5},
        NONE},
    {"setsockopt TCP_REPAIR", SYS_setsockopt, {5, IPPROTO_TCP, TCP_REPAIR, POINTER, 4}, NONE},
    {"setsockopt IPT_SO_SET_REPLACE", SYS_setsockopt, {5, IPPROTO_IP, 64, POINTER, 84}, NONE},
    {"getpeername", SYS_getpeername, {5, POINTER, POINTER}, ALL},
    {"getsockname", SYS_getsockname, {5, POINTER, POINTER}, NONE},
    {"recvfrom", SYS_recvfrom, {5, POINTER, 4096, MSG_DONTWAIT}, ALL},
    {"recvmsg", SYS_recvmsg, {5, POINTER, MSG_DONTWAIT}, NONE}, /* brings descriptors */
    {"recvmmsg", SYS_recvmmsg, {5, POINTER, 1}, NONE},
    {"shutdown", SYS_shutdown, {5, SHUT_WR}, ALL},
    {"close", SYS_close, {5}, ALL},
    {"close_range", SYS_close_range, {0, 100}, NONE},

    /* whom to */
    {"connect of a family alone", SYS_connect, {5, POINTER, 2}, ALL},
    {"connect of a family alone, and chance", SYS_connect, {5, POINTER, HIGH | 2}, ALL},
    {"connect IPv4, chance like a family alone", SYS_connect, {5, POINTER, UINT64_C(2) << 32 | 16},
        REFUSED},
    {"connect IPv4", SYS_connect, {5, POINTER, 16}, REFUSED},
    {"connect IPv4, and chance", SYS_connect, {5, POINTER, HIGH | 16}, REFUSED},
    {"connect IPv6", SYS_connect, {5, POINTER, 28}, REFUSED},
    {"connect UNIX", SYS_connect, {5, POINTER, 110}, REFUSED},
    {"connect UNIX, one letter", SYS_connect, {5, POINTER, 3}, REFUSED},
    {"connect of a byte", SYS_connect, {5, POINTER, 1}, REFUSED},
    {"connect of nothing", SYS_connect, {5, POINTER, 0}, REFUSED},
    {"connect of -1", SYS_connect, {5, POINTER, MINUS_1}, REFUSED},
    {"connect, and the descriptor is 2", SYS_connect, {2, 2, 16}, REFUSED},
    {"sendto, connected", SYS_sendto, {5, POINTER, 100, MSG_NOSIGNAL, 0, 0}, ALL},
    {"sendto, connected, a length", SYS_sendto, {5, POINTER, 100, MSG_NOSIGNAL, 0, 16}, ALL},
    {"sendto somebody", SYS_sendto, {5, POINTER, 100, MSG_NOSIGNAL, POINTER, 16}, NONE},
    {"sendto somebody below 4 GiB", SYS_sendto, {5, POINTER, 100, 0, 0x1000, 16}, NONE},
#if UINTPTR_MAX > UINT32_MAX
    {"sendto somebody at 4 GiB", SYS_sendto, {5, POINTER, 100, 0, UINT64_C(1) << 32, 16}, NONE},
    {"sendto somebody at 2^46", SYS_sendto, {5, POINTER, 100, 0, UINT64_C(1) << 46, 16}, NONE},
#endif
    {"sendto by MSG_FASTOPEN", SYS_sendto, {5, POINTER, 100, MSG_FASTOPEN, POINTER, 16}, NONE},
    {"sendmsg to the supervisor", SYS_sendmsg, {SOCKET, POINTER, QUIETLY}, STORES},
    {"sendmsg to the supervisor, and chance", SYS_sendmsg, {HIGH | SOCKET, POINTER, HIGH | QUIETLY},
        STORES},
    {"sendmsg elsewhere", SYS_sendmsg, {OTHER, POINTER, QUIETLY}, NONE},
    {"sendmsg elsewhere, chance like the supervisor", SYS_sendmsg,
        {(uint64_t)SOCKET << 32 | OTHER, POINTER, QUIETLY}, NONE},
    {"sendmsg, and the process's number", SYS_sendmsg, {PID, POINTER, QUIETLY}, NONE},
    {"sendmsg by MSG_FASTOPEN", SYS_sendmsg, {SOCKET, POINTER, QUIETLY | MSG_FASTOPEN}, NONE},
    {"sendmsg by MSG_FASTOPEN elsewhere", SYS_sendmsg, {OTHER, POINTER, MSG_FASTOPEN}, NONE},
    {"sendmsg that waits", SYS_sendmsg, {SOCKET, POINTER, MSG_NOSIGNAL}, NONE},
    {"sendmsg with a signal", SYS_sendmsg, {SOCKET, POINTER, MSG_DONTWAIT}, NONE},
    {"sendmsg without flags", SYS_sendmsg, {SOCKET, POINTER, 0}, NONE},
    {"sendmsg, flags in the upper half", SYS_sendmsg, {SOCKET, POINTER, (uint64_t)QUIETLY << 32},
        NONE},
    {"sendmmsg", SYS_sendmmsg, {SOCKET, POINTER, 1, QUIETLY}, NONE},
    {"write", SYS_write, {2, POINTER, 100}, ALL},
    {"writev", SYS_writev, {2, POINTER, 1}, NONE},
    {"pwrite64", SYS_pwrite64, {2, POINTER, 100, 0}, NONE},
    {"pipe2", SYS_pipe2, {POINTER, O_CLOEXEC}, STORES},
    {"socket IPv4", SYS_socket, {AF_INET, SOCK_STREAM, 0}, REFUSED},
    {"socket UNIX", SYS_socket, {AF_UNIX, SOCK_DGRAM, 0}, REFUSED},
    {"socket of packets", SYS_socket, {AF_PACKET, SOCK_RAW, 0}, REFUSED},
    {"socketpair", SYS_socketpair, {AF_UNIX, SOCK_STREAM, 0, POINTER}, NONE},
    {"bind", SYS_bind, {5, POINTER, 16}, NONE},
    {"listen", SYS_listen, {5, 10}, NONE},
    {"accept", SYS_accept, {5, 0, 0}, NONE},
    {"accept4", SYS_accept4, {5, 0, 0, SOCK_NONBLOCK | SOCK_CLOEXEC}, LOOPS},

    /* the file */
    {"fstat", SYS_fstat, {5, POINTER}, ALL},
    {"newfstatat", SYS_newfstatat, {5, POINTER, POINTER, AT_EMPTY_PATH}, ALL},
    {"preadv2", SYS_preadv2, {5, POINTER, 1, 0, 0, 8}, ALL},
    {"fadvise64", SYS_fadvise64, {5, 0, 1 << 20, 3}, ALL},
    {"open to read", SYS_open, {POINTER, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC}, PATHS},
    {"open to read, and chance", SYS_open, {POINTER, HIGH | O_RDONLY | O_CLOEXEC}, PATHS},
    {"open to write", SYS_open, {POINTER, O_WRONLY}, NONE},
    {"open to write, and chance", SYS_open, {POINTER, HIGH | O_WRONLY | O_CLOEXEC}, NONE},
    {"open to read and write", SYS_open, {POINTER, O_RDWR}, NONE},
    {"open for ioctl(2) alone", SYS_open, {POINTER, O_ACCMODE}, NONE},
    {"open to create", SYS_open, {POINTER, O_RDONLY | O_CREAT, 0600}, NONE},
    {"open to truncate", SYS_open, {POINTER, O_RDONLY | O_TRUNC}, NONE},
    {"open O_TMPFILE", SYS_open, {POINTER, O_RDWR | O_TMPFILE, 0600}, NONE},
    {"openat to read", SYS_openat, {(uint64_t)AT_FDCWD, POINTER, O_RDONLY | O_CLOEXEC}, OPENS},
    {"openat to read, and chance", SYS_openat, {(uint64_t)AT_FDCWD, POINTER, HIGH | O_RDONLY},
        OPENS},
    {"openat to write", SYS_openat, {(uint64_t)AT_FDCWD, POINTER, O_WRONLY}, NONE},
    {"openat to write, and chance", SYS_openat, {(uint64_t)AT_FDCWD, POINTER, HIGH | O_WRONLY},
        NONE},
    {"openat to read and write", SYS_openat, {5, POINTER, O_RDWR}, NONE},
    {"openat to create", SYS_openat, {5, POINTER, O_CREAT, 0600}, NONE},
    {"openat to truncate", SYS_openat, {5, POINTER, O_TRUNC}, NONE},
    {"openat O_TMPFILE", SYS_openat, {5, POINTER, O_RDWR | O_TMPFILE, 0600}, NONE},
    {"open for a name alone", SYS_open, {POINTER, O_PATH}, NONE},
    {"openat for a name alone", SYS_openat, {5, POINTER, O_PATH | O_DIRECTORY}, NONE},
    {"openat below", SYS_openat, {5, POINTER, O_RDONLY | O_NOFOLLOW | O_CLOEXEC}, OPENS},
    {"openat2", SYS_openat2, {5, POINTER, POINTER, 24}, BELOW},
    {"creat", SYS_creat, {POINTER, 0600}, NONE},
    {"open_by_handle_at", SYS_open_by_handle_at, {5, POINTER, O_RDONLY}, NONE},
    {"open_tree", SYS_open_tree, {5, POINTER, 0}, NONE},
    {"stat", SYS_stat, {POINTER, POINTER}, PATHS},
    {"access", SYS_access, {POINTER, R_OK}, PATHS},
    {"faccessat", SYS_faccessat, {5, POINTER, R_OK}, WITHOUT_PATH},
    {"geteuid", SYS_geteuid, {0}, OPENS},
    {"pread64", SYS_pread64, {5, POINTER, 1, 1000}, LOOPS},
    {"readlink", SYS_readlink, {POINTER, POINTER, 255}, NAMES},
    {"readlinkat", SYS_readlinkat, {5, POINTER, POINTER, 255}, WITHOUT_LOOP},
    {"fcntl F_GETFL", SYS_fcntl, {5, F_GETFL}, LOOPS},
    {"fcntl F_SETFL", SYS_fcntl, {5, F_SETFL, O_NONBLOCK}, LOOPS},
    {"fcntl F_SETFL, and chance", SYS_fcntl, {5, HIGH | F_SETFL, O_NONBLOCK}, LOOPS},
    {"fcntl F_DUPFD_CLOEXEC", SYS_fcntl, {5, F_DUPFD_CLOEXEC, 0}, GIVEN},
    {"fcntl F_DUPFD", SYS_fcntl, {5, F_DUPFD, 0}, NONE},
    {"fcntl F_SETFD", SYS_fcntl, {5, F_SETFD, 0}, PATHS},
    {"fcntl F_SETOWN", SYS_fcntl, {5, F_SETOWN, 1}, NONE},
    {"fcntl F_SETOWN, and chance", SYS_fcntl, {5, HIGH | F_SETOWN, 1}, NONE},
    {"fcntl F_SETOWN_EX", SYS_fcntl, {5, F_SETOWN_EX, POINTER}, NONE},
    {"fcntl F_SETSIG", SYS_fcntl, {5, F_SETSIG, SIGKILL}, NONE},
    {"fcntl F_SETLEASE", SYS_fcntl, {5, F_SETLEASE, F_WRLCK}, NONE},
    {"fcntl F_NOTIFY", SYS_fcntl, {5, F_NOTIFY, 1}, NONE},
    {"fcntl F_SETLKW", SYS_fcntl, {5, F_SETLKW, POINTER}, NONE},
    {"fcntl F_SETPIPE_SZ", SYS_fcntl, {5, F_SETPIPE_SZ, 1 << 20}, NONE},
    {"fcntl F_ADD_SEALS", SYS_fcntl, {5, F_ADD_SEALS, F_SEAL_WRITE}, NONE},
    {"getdents64", SYS_getdents64, {5, POINTER, 4096}, NONE},
    {"unlinkat", SYS_unlinkat, {5, POINTER, 0}, NONE},
    {"renameat2", SYS_renameat2, {5, POINTER, 5, POINTER, 0}, NONE},
    {"linkat", SYS_linkat, {5, POINTER, 5, POINTER, 0}, NONE},
    {"symlinkat", SYS_symlinkat, {POINTER, 5, POINTER}, NONE},
    {"mkdirat", SYS_mkdirat, {5, POINTER, 0700}, NONE},
    {"mknodat", SYS_mknodat, {5, POINTER, 0600}, NONE},
    {"ftruncate", SYS_ftruncate, {5, 0}, NONE},
    {"truncate", SYS_truncate, {POINTER, 0}, NONE},
    {"fallocate", SYS_fallocate, {5, 0, 0, 1}, NONE},
    {"fchmod", SYS_fchmod, {5, 04755}, NONE},
    {"fchmodat", SYS_fchmodat, {5, POINTER, 04755}, NONE},
    {"fchown", SYS_fchown, {5, 0, 0}, NONE},
    {"fsetxattr", SYS_fsetxattr, {5, POINTER, POINTER, 1}, NONE},
    {"utimensat", SYS_utimensat, {5, POINTER, POINTER}, NONE},
    {"copy_file_range", SYS_copy_file_range, {5, 0, 6, 0, 100}, NONE},
    {"splice", SYS_splice, {5, 0, 6, 0, 100}, NONE},
    {"statx", SYS_statx, {5, POINTER, 0, 0xfff, POINTER}, NONE},
    {"chdir", SYS_chdir, {POINTER}, NONE},
    {"chroot", SYS_chroot, {POINTER}, NONE},
    {"mount", SYS_mount, {POINTER, POINTER, POINTER, 0, 0}, NONE},
    {"umount2", SYS_umount2, {POINTER, 0}, NONE},

    /* the loops */
    {"poll", SYS_poll, {POINTER, 2, 1000}, ALL},
    {"ppoll", SYS_ppoll, {POINTER, 2, POINTER}, WITHOUT_OLD},
    {"restart_syscall", SYS_restart_syscall, {0}, "ATTTTTT"},
    {"epoll_wait", SYS_epoll_wait, {5, POINTER, 64, 1000}, LOOPS},
    {"epoll_pwait", SYS_epoll_pwait, {5, POINTER, 64, 1000}, LOOPS},
    {"epoll_ctl", SYS_epoll_ctl, {5, 1, 6, POINTER}, LOOPS},
    {"epoll_create1", SYS_epoll_create1, {0}, NONE},
    {"read", SYS_read, {5, POINTER, 128}, LOOPS},
    {"clock_gettime", SYS_clock_gettime, {1, POINTER}, ALL},
    {"clock_settime", SYS_clock_settime, {0, POINTER}, NONE},
    {"nanosleep", SYS_nanosleep, {POINTER, 0}, NONE},

    /* memory */
    {"brk", SYS_brk, {POINTER}, ALL},
    {"mmap", SYS_mmap, {0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, MINUS_1, 0},
        ALL},
    {"mmap, an int of -1", SYS_mmap,
        {0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, UINT32_MAX, 0}, ALL},
    {"mmap, and chance", SYS_mmap,
        {0, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, HIGH | UINT32_MAX, 0}, ALL},
    {"mmap to run", SYS_mmap,
        {0, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, MINUS_1, 0}, NONE},
    {"mmap to write and run", SYS_mmap, {0, 4096, 7, MAP_PRIVATE | MAP_ANONYMOUS, MINUS_1, 0},
        NONE},
    {"mmap to run, and chance", SYS_mmap,
        {0, 4096, HIGH | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, MINUS_1, 0}, NONE},
    {"mmap of a descriptor", SYS_mmap, {0, 4096, PROT_READ, MAP_SHARED, 5, 0}, NONE},
    {"mmap of a descriptor, anonymous", SYS_mmap,
        {0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, 0, 0}, NONE},
    {"mmap of a descriptor, and chance", SYS_mmap,
        {0, 4096, PROT_READ, MAP_SHARED, UINT64_C(0xffffffff00000005), 0}, NONE},
    {"munmap", SYS_munmap, {POINTER, 4096}, ALL},
    {"mprotect", SYS_mprotect, {POINTER, 4096, PROT_READ | PROT_EXEC}, NONE},
    {"pkey_mprotect", SYS_pkey_mprotect, {POINTER, 4096, PROT_EXEC, 0}, NONE},
    {"madvise MADV_FREE", SYS_madvise, {POINTER, 4096, MADV_FREE}, LOOPS},
    {"madvise MADV_FREE, and chance", SYS_madvise, {POINTER, 4096, HIGH | MADV_FREE}, LOOPS},
    {"madvise MADV_DONTNEED", SYS_madvise, {POINTER, 4096, MADV_DONTNEED}, NONE},
    {"madvise MADV_REMOVE", SYS_madvise, {POINTER, 4096, MADV_REMOVE}, NONE},
    {"madvise MADV_HWPOISON", SYS_madvise, {POINTER, 4096, MADV_HWPOISON}, NONE},
    {"mremap", SYS_mremap, {POINTER, 4096, 8192, 1}, NONE},
    {"memfd_create", SYS_memfd_create, {POINTER, 0}, NONE},
    {"process_vm_readv", SYS_process_vm_readv, {1, POINTER, 1, POINTER, 1}, NONE},
    {"process_vm_writev", SYS_process_vm_writev, {1, POINTER, 1, POINTER, 1}, NONE},
    {"userfaultfd", SYS_userfaultfd, {0}, NONE},

    /* other processes, and other rights */
    {"execve", SYS_execve, {POINTER, POINTER, POINTER}, NONE},
    {"execveat", SYS_execveat, {5, POINTER, POINTER, POINTER, AT_EMPTY_PATH}, NONE},
    {"clone", SYS_clone, {SIGCHLD}, NONE},
    {"clone, a thread", SYS_clone, {0x3d0f00, POINTER}, NONE},
    {"clone3", SYS_clone3, {POINTER, 88}, NONE},
    {"fork", SYS_fork, {0}, NONE},
    {"vfork", SYS_vfork, {0}, NONE},
    {"ptrace", SYS_ptrace, {16, 1}, NONE},
    {"kill", SYS_kill, {1, SIGTERM}, NONE},
    {"kill, itself", SYS_kill, {PID, SIGTERM}, NONE},
    {"tgkill, itself", SYS_tgkill, {PID, PID, SIGTERM}, STORES},
    {"tgkill, itself, and chance", SYS_tgkill, {HIGH | PID, HIGH | PID, HIGH | SIGTERM}, STORES},
    {"tgkill, another", SYS_tgkill, {1, PID, SIGTERM}, NONE},
    {"tgkill, another, chance like itself", SYS_tgkill, {(uint64_t)PID << 32 | 1, PID, SIGTERM},
        NONE},
    {"tgkill, any", SYS_tgkill, {MINUS_1, PID, SIGTERM}, NONE},
    {"tgkill, itself, SIGKILL", SYS_tgkill, {PID, PID, SIGKILL}, NONE},
    {"tgkill, itself, SIGCONT", SYS_tgkill, {PID, PID, SIGCONT}, NONE},
    {"tgkill, itself, no signal", SYS_tgkill, {PID, PID, 0}, NONE},
    {"tgkill, SIGTERM's number", SYS_tgkill, {SIGTERM, SIGTERM, PID}, NONE},
    {"tkill, itself", SYS_tkill, {PID, SIGTERM}, STORES},
    {"tkill, itself, and chance", SYS_tkill, {HIGH | PID, HIGH | SIGTERM}, STORES},
    {"tkill, another", SYS_tkill, {1, SIGTERM}, NONE},
    {"tkill, itself, SIGKILL", SYS_tkill, {PID, SIGKILL}, NONE},
    {"rt_sigqueueinfo", SYS_rt_sigqueueinfo, {1, SIGTERM, POINTER}, NONE},
    {"rt_tgsigqueueinfo", SYS_rt_tgsigqueueinfo, {PID, PID, SIGTERM, POINTER}, NONE},
    {"pidfd_open", SYS_pidfd_open, {1, 0}, NONE},
    {"pidfd_send_signal", SYS_pidfd_send_signal, {5, SIGTERM, 0, 0}, NONE},
    {"pidfd_getfd", SYS_pidfd_getfd, {5, 0, 0}, NONE},
    {"rt_sigaction", SYS_rt_sigaction, {SIGTERM, POINTER, 0, 8}, STORES},
    {"rt_sigprocmask", SYS_rt_sigprocmask, {1, POINTER, 0, 8}, STORES},
    {"rt_sigreturn", SYS_rt_sigreturn, {0}, NONE},
    {"getpid", SYS_getpid, {0}, ALL},
    {"gettid", SYS_gettid, {0}, STORES},
    {"getppid", SYS_getppid, {0}, NONE}, /* by which the handler ends it */
    {"exit_group", SYS_exit_group, {0}, ALL},
    {"exit", SYS_exit, {0}, NONE},
    {"setuid", SYS_setuid, {0}, NONE},
    {"setresuid", SYS_setresuid, {0, 0, 0}, NONE},
    {"setgid", SYS_setgid, {0}, NONE},
    {"setgroups", SYS_setgroups, {0, 0}, NONE},
    {"capset", SYS_capset, {POINTER, POINTER}, NONE},
    {"prctl", SYS_prctl, {4, 1}, NONE},
    {"prlimit64", SYS_prlimit64, {0, 1, POINTER, 0}, NONE},
    {"seccomp", SYS_seccomp, {1, 0, POINTER}, NONE},
    {"landlock_restrict_self", SYS_landlock_restrict_self, {5, 0}, NONE},
    {"unshare", SYS_unshare, {0x10000000}, NONE},
    {"setns", SYS_setns, {5, 0}, NONE},
    {"bpf", SYS_bpf, {0, POINTER, 100}, NONE},
    {"perf_event_open", SYS_perf_event_open, {POINTER, 0, 0, 0, 0}, NONE},
    {"keyctl", SYS_keyctl, {0}, NONE},
    {"add_key", SYS_add_key, {POINTER, POINTER, POINTER, 1, 0}, NONE},
    {"io_uring_setup", SYS_io_uring_setup, {8, POINTER}, NONE},
    {"io_uring_enter", SYS_io_uring_enter, {5, 1, 1}, NONE},
    {"io_submit", SYS_io_submit, {POINTER, 1, POINTER}, NONE},
    {"init_module", SYS_init_module, {POINTER, 100, POINTER}, NONE},
    {"kexec_load", SYS_kexec_load, {0, 0, 0, 0}, NONE},
    {"reboot", SYS_reboot, {0xfee1dead, 672274793, 0x1234567}, NONE},
    {"dup", SYS_dup, {5}, NONE},
    {"dup3", SYS_dup3, {5, 0, 0}, NONE},
    {"futex", SYS_futex, {POINTER, 0, 0}, NONE},
    {"sched_setaffinity", SYS_sched_setaffinity, {0, 8, POINTER}, NONE},
    {"sethostname", SYS_sethostname, {POINTER, 1}, NONE},
    {"add a name in a directory", SYS_name_to_handle_at, {5, POINTER, POINTER, POINTER, 0}, NONE},
};

static void test_call(void **state)
{
    const struct call *c = *state;
    char verdict[FILTERS + 1] = "";

    if (c->number == ABSENT)
        return;
    for (size_t i = 0; i < FILTERS; i++)
        verdict[i] = judge(column(i), NATIVE, c->number, c->a);
    assert_string_equal(verdict, c->verdict);
}

/* ---- all that is not in the table ---- */

static uint64_t any_argument(void)
{
    static const uint64_t likely[] = {0, 1, 2, 3, 6, 13, 16, 25, 47, 1030, TIOCOUTQ, SIGTERM,
        SANDBOX_OWN_PID, SANDBOX_SUPERVISOR, QUIETLY, UINT32_MAX, UINT64_MAX, POINTER};

    return likely[kernel_roll(LENGTH(likely))] | (kernel_roll(4) == 0 ? HIGH : 0);
}

static bool is_known(int number, size_t filter)
{
    for (size_t i = 0; i < LENGTH(calls); i++)
        if (calls[i].number == number && calls[i].verdict[filter] != 'T')
            return true;
    return false;
}

/* Whatever the arguments: a call that nobody has thought of here is in no filter. */
static void test_others(void **state)
{
    static const uint64_t nothing[6] = {0};

    (void)state;
    kernel_seed(1);
    for (size_t i = 0; i < FILTERS; i++)
        for (int number = 0; number < 1200; number++) {
            uint64_t a[6];
            if (is_known(number, i))
                continue;
            char verdict = judge(column(i), NATIVE, number, nothing);
            for (int j = 0; j < 50 && verdict == 'T'; j++) {
                for (size_t k = 0; k < LENGTH(a); k++)
                    a[k] = any_argument();
                verdict = judge(column(i), NATIVE, number, a);
            }
            if (verdict != 'T')
                fail_msg("%s: call %d gets %c", columns[i].name, number, verdict);
        }
}

/* What one filter allows more than another is in the list, and there is no other difference, but
 * for what only those do that never open anything. */
static void test_those_known(void **state)
{
    (void)state;
    kernel_seed(2);
    for (size_t i = 1; i < FILTERS; i++)
        for (int number = 0; number < 1200; number++)
            for (int j = 0; j < 50; j++) {
                uint64_t a[6];
                for (size_t k = 0; k < LENGTH(a); k++)
                    a[k] = any_argument();
                char less =
                    judge(column(columns[i].needs & SANDBOX_STORE ? i - 3 : 1), NATIVE, number, a);
                char more = judge(column(i), NATIVE, number, a);
                bool given = number == SYS_readlink || number == SYS_fcntl;
                if (less != more && !given && !(less == 'T' && more == 'A'))
                    fail_msg("%s: call %d gets %c, not %c", columns[i].name, number, more, less);
            }
}

/* The upper half of an int is chance, and nothing may hang on it; but sendto(2) looks at a pointer.
 */
static void test_chance(void **state)
{
    (void)state;
    kernel_seed(3);
    for (size_t i = 0; i < FILTERS; i++)
        for (size_t j = 0; j < LENGTH(calls); j++)
            for (int k = 0; k < 40; k++) {
                uint64_t plain[6];
                uint64_t with_chance[6];
                for (size_t l = 0; l < LENGTH(plain); l++) {
                    plain[l] = kernel_roll(3) ? calls[j].a[l] : any_argument();
                    with_chance[l] = (uint32_t)plain[l] | (kernel_roll(UINT32_MAX) << 32);
                }
                if (calls[j].number == SYS_sendto)
                    with_chance[4] = plain[4];
                char should = judge(column(i), NATIVE, calls[j].number, plain);
                char is = judge(column(i), NATIVE, calls[j].number, with_chance);
                if (is != should)
                    fail_msg("%s: %s gets %c, not %c", columns[i].name, calls[j].name, is, should);
            }
}

/* ---- other architectures, whose numbers mean other calls ---- */

static const struct foreign {
    const char *name;
    uint32_t architecture;
} foreigners[] = {
    {"x86-64", AUDIT_ARCH_X86_64},
    {"i386", AUDIT_ARCH_I386},
    {"arm64", AUDIT_ARCH_AARCH64},
    {"arm", AUDIT_ARCH_ARM},
    {"s390x", AUDIT_ARCH_S390X},
    {"none", 0},
    {"all bits", UINT32_MAX},
};

static void test_foreigner(void **state)
{
    const struct foreign *c = *state;
    static const uint64_t nothing[6] = {0};

    if (c->architecture == NATIVE)
        return;
    for (size_t i = 0; i < FILTERS; i++) {
        for (int number = 0; number < 600; number++)
            assert_int_equal(judge(column(i), c->architecture, number, nothing), 'K');
        for (size_t j = 0; j < LENGTH(calls); j++)
            assert_int_equal(judge(column(i), c->architecture, calls[j].number, calls[j].a), 'K');
        assert_int_equal(judge(column(i), c->architecture, -2, nothing), 'K');
    }
}

/* x32 is x86-64 to the kernel, but for a bit in the number; its pointers have 32. */
static void test_x32(void **state)
{
    (void)state;
#ifdef __x86_64__
    for (size_t i = 0; i < FILTERS; i++)
        for (size_t j = 0; j < LENGTH(calls); j++) {
            assert_int_equal(
                judge(column(i), NATIVE, calls[j].number | 0x40000000, calls[j].a), 'K');
            assert_int_equal(judge(column(i), NATIVE,
                                 (int)((unsigned)calls[j].number | 0x80000000u), calls[j].a),
                'K');
        }
#endif
}

/* What a tracer makes of a call that is not to be made: the kernel does nothing. */
static void test_skipped(void **state)
{
    (void)state;
    for (size_t i = 0; i < FILTERS; i++)
        for (size_t j = 0; j < LENGTH(calls); j++)
            assert_int_equal(judge(column(i), NATIVE, -1, calls[j].a), 'A');
}

/* ---- is that how the kernel runs them? ---- */

#define CALLS 470

struct trial {
    char verdicts[CALLS];
    int error; /* of seccomp(2) */
};

/* uretprobe(2) and uprobe(2): made by the kernel's own probes, and since Linux 6.14 in no filter.
 */
static bool is_unfiltered(int number)
{
#ifdef __x86_64__
    return number == 335 || number == 336;
#else
    (void)number;
    return false;
#endif
}

static sigjmp_buf trapped;

static void leap(int number)
{
    (void)number;
    siglongjmp(trapped, 1); /* to return would take another system call */
}

/* Calls all of them with arguments that are good for nothing. */
static void try_each(const struct filter *filter, struct trial *trial)
{
    const struct sigaction action = {.sa_handler = leap, .sa_flags = SA_NODEFER};
    struct sock_fprog program = {(unsigned short)filter->n, (void *)filter->instructions};

    for (int number = 1; number < SIGSYS; number++)
        (void)signal(number, SIG_DFL); /* what cmocka catches is not for this process to report */
    (void)alarm(60);
    (void)sigaction(SIGSYS, &action, NULL);
    (void)prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) < 0) {
        trial->error = errno;
        _exit(1);
    }
    for (volatile int number = 0; number < CALLS; number++) {
        trial->verdicts[number] = 'T';
        if (is_unfiltered(number))
            continue;
        if (number == SYS_exit_group)
            trial->verdicts[number] = 'A';
        else if (sigsetjmp(trapped, 0) == 0)
            trial->verdicts[number] =
                syscall(number, -1L, -1L, -1L, -1L, -1L, -1L) == -1 && errno == EPERM ? 'E' : 'A';
    }
    _exit(0);
}

/* The verdicts above are worth no more than the machine that has given them. */
static void test_kernel(void **state)
{
    static const uint64_t nonsense[6] = {MINUS_1, MINUS_1, MINUS_1, MINUS_1, MINUS_1, MINUS_1};
    struct trial *trial =
        mmap(NULL, sizeof(*trial), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    (void)state;
    assert_true(trial != MAP_FAILED);
    for (size_t i = 0; i < FILTERS; i++) {
        int status;
        memset(trial, 0, sizeof(*trial));
        (void)fflush(NULL);
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0)
            try_each(column(i), trial);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        if (trial->error)
            fail_msg("%s: seccomp: %s", columns[i].name, strerror(trial->error));
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
            fail_msg("%s: status %#x", columns[i].name, (unsigned)status);
        for (int number = 0; number < CALLS; number++) {
            char should = judge(column(i), NATIVE, number, nonsense);
            if (trial->verdicts[number] != should)
                fail_msg("%s: call %d gets %c, not %c", columns[i].name, number,
                    trial->verdicts[number], should);
        }
    }
    assert_int_equal(munmap(trial, sizeof(*trial)), 0);
}

/* ---- what the kernel asks of a filter ---- */

static void test_shape(void **state)
{
    (void)state;
    for (size_t i = 0; i < LENGTH(filters); i++) {
        const struct filter *f = &filters[i];
        assert_true(f->n > 0 && f->n <= BPF_MAXINSNS);
        assert_int_equal(f->instructions[f->n - 1].code, BPF_RET | BPF_K);
        for (size_t j = 0; j < f->n; j++) {
            const struct instruction *one = &f->instructions[j];
            if (BPF_CLASS(one->code) != BPF_JMP)
                continue;
            assert_true(BPF_OP(one->code) != BPF_JA); /* sandbox-filter.c does not know it */
            assert_true(j + 1 + one->if_true < f->n && j + 1 + one->if_false < f->n);
        }
    }
}

int main(void)
{
    static struct suite suite;

    for (size_t i = 0; i < LENGTH(calls); i++)
        suite_add(&suite, test_call, &calls[i], "call: %s", calls[i].name);
    suite_add(&suite, test_others, NULL, "call: each that is not in the table");
    suite_add(&suite, test_those_known, NULL, "call: what the filters have in common");
    suite_add(&suite, test_chance, NULL, "call: what hangs on chance");
    for (size_t i = 0; i < LENGTH(foreigners); i++)
        suite_add(&suite, test_foreigner, &foreigners[i], "architecture: %s", foreigners[i].name);
    suite_add(&suite, test_x32, NULL, "architecture: x32");
    suite_add(&suite, test_skipped, NULL, "number -1");
    suite_add(&suite, test_kernel, NULL, "the kernel's own verdict");
    suite_add(&suite, test_shape, NULL, "shape");
    return suite_run(&suite, "sandbox-filter");
}
