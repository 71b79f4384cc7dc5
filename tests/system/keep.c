/* SPDX-License-Identifier: MIT */
/*
 * keep PID NAME WHAT
 *
 * Has systemd keep a descriptor under that name for the service of that process, as if the process
 * had asked for it, sd_pid_notify_with_fds(3): who may say so for another one is root. So a store
 * can hold what no decant ever puts there. WHAT is
 *
 *   pipe        its write end
 *   file=PATH   that file, to be read
 *   memfd       one of 4096 zeros, sealed against shrinking
 *   tcp         one end of a connection over 127.0.0.1. The other stays here, and how it ended, eof
 * or reset, goes to standard output at last
 *
 * Ends, or says "kept", once systemd has closed its own copy of the other end of a pipe that was
 * sent after it, sd_notify_barrier(3).
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int other_end = -1; /* of what is kept, where that has one */

static int open_pipe(void)
{
    int ends[2];

    if (pipe(ends) < 0)
        err(1, "keep: pipe");
    other_end = ends[0];
    return ends[1];
}

static int open_memfd(void)
{
    int fd = memfd_create("keep", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    if (fd < 0 || ftruncate(fd, 4096) < 0 || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK) < 0)
        err(1, "keep: memfd");
    return fd;
}

static int open_tcp(void)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof(in);
    int listener = socket(AF_INET, SOCK_STREAM, 0);

    other_end = socket(AF_INET, SOCK_STREAM, 0);
    if (listener < 0 || other_end < 0 || bind(listener, (struct sockaddr *)&in, length) < 0 ||
        listen(listener, 1) < 0 || getsockname(listener, (struct sockaddr *)&in, &length) < 0 ||
        connect(other_end, (struct sockaddr *)&in, length) < 0)
        err(1, "keep: tcp");
    int fd = accept(listener, NULL, NULL);
    if (fd < 0)
        err(1, "keep: accept");
    close(listener);
    return fd;
}

static int open_what(const char *what)
{
    if (strcmp(what, "pipe") == 0)
        return open_pipe();
    if (strcmp(what, "memfd") == 0)
        return open_memfd();
    if (strcmp(what, "tcp") == 0)
        return open_tcp();
    int fd = strncmp(what, "file=", 5) == 0 ? open(what + 5, O_RDONLY) : -1;
    if (fd < 0)
        errx(1, "keep: what is '%s'?", what);
    return fd;
}

static void notify(pid_t pid, const char *lines, int fd)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX, .sun_path = "/run/systemd/notify"};
    struct iovec text = {.iov_base = (void *)(uintptr_t)lines, .iov_len = strlen(lines)};
    struct ucred who = {.pid = pid, .uid = getuid(), .gid = getgid()};
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(fd)) + CMSG_SPACE(sizeof(who))];
    } control = {0};
    struct msghdr message = {
        .msg_name = &to,
        .msg_namelen = sizeof(to),
        .msg_iov = &text,
        .msg_iovlen = 1,
        .msg_control = &control,
        .msg_controllen = sizeof(control.bytes),
    };
    struct cmsghdr *part = CMSG_FIRSTHDR(&message);
    int out = socket(AF_UNIX, SOCK_DGRAM, 0);

    part->cmsg_level = SOL_SOCKET;
    part->cmsg_type = SCM_RIGHTS;
    part->cmsg_len = CMSG_LEN(sizeof(fd));
    memcpy(CMSG_DATA(part), &fd, sizeof(fd));
    part = CMSG_NXTHDR(&message, part);
    part->cmsg_level = SOL_SOCKET;
    part->cmsg_type = SCM_CREDENTIALS;
    part->cmsg_len = CMSG_LEN(sizeof(who));
    memcpy(CMSG_DATA(part), &who, sizeof(who));
    if (out < 0 || sendmsg(out, &message, 0) < 0)
        err(1, "keep: %s", lines);
    close(out);
}

static void wait_for_hangup(int fd, int timeout)
{
    struct pollfd wait = {.fd = fd};

    if (poll(&wait, 1, timeout) != 1)
        errx(1, "keep: systemd does not answer");
}

static void tell_end(int fd)
{
    char byte;
    ssize_t n;

    do
        n = read(fd, &byte, 1);
    while (n > 0);
    puts(n == 0 ? "eof" : errno == ECONNRESET ? "reset" : strerror(errno));
}

int main(int argc, char **argv)
{
    char lines[256];
    int barrier[2];

    if (argc != 4)
        errx(1, "keep: it takes PID NAME WHAT");
    pid_t pid = atoi(argv[1]);
    int fd = open_what(argv[3]);
    snprintf(lines, sizeof(lines), "FDSTORE=1\nFDPOLL=0\nFDNAME=%s", argv[2]);
    alarm(60);
    notify(pid, lines, fd);
    close(fd);
    if (pipe(barrier) < 0)
        err(1, "keep: pipe");
    notify(pid, "BARRIER=1", barrier[1]);
    close(barrier[1]);
    wait_for_hangup(barrier[0], 20000);
    puts("kept");
    fflush(stdout);
    if (strcmp(argv[3], "tcp") == 0)
        tell_end(other_end);
    return 0;
}
