/* SPDX-License-Identifier: MIT */
#include "notify.h"

#include "clock.h"

#include <ctype.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int connect_to(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t length = strlen(path);

    if ((path[0] != '/' && path[0] != '@') || length >= sizeof(address.sun_path))
        return -1;
    memcpy(address.sun_path, path, length);
    if (path[0] == '@')
        address.sun_path[0] = '\0'; /* abstract, unix(7) */
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, size) < 0) {
        (void)close(fd); /* nothing was sent */
        return -1;
    }
    return fd;
}

void notify_open(struct notify *notify, const char *path, const char *usec)
{
    *notify = (struct notify){.fd = path ? connect_to(path) : -1};
    if (!usec || !isdigit((unsigned char)usec[0]))
        return;
    char *rest;
    errno = 0;
    long long number = strtoll(usec, &rest, 10);
    if (errno == 0 && *rest == '\0' && number <= INT64_MAX / 1000)
        notify->watchdog = number * 1000;
}

int notify_send(const struct notify *notify, const char *lines)
{
    if (notify->fd < 0)
        return 0;
    ssize_t n = send(notify->fd, lines, strlen(lines), MSG_DONTWAIT | MSG_NOSIGNAL);
    return n < 0 ? -errno : 0;
}

int notify_send_fds(const struct notify *notify, const char *lines, const int *fds, size_t n)
{
    union {
        char room[CMSG_SPACE(NOTIFY_MOST_FDS * sizeof(int))];
        struct cmsghdr align;
    } control = {{0}};
    struct iovec iov = {.iov_len = strlen(lines)};
    struct msghdr message = {.msg_iov = &iov,
        .msg_iovlen = 1,
        .msg_control = control.room,
        .msg_controllen = CMSG_SPACE(n * sizeof(int))};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);

    if (notify->fd < 0)
        return -ENOTCONN;
    memcpy(&iov.iov_base, &lines, sizeof(lines)); /* not const, though sendmsg(2) only reads it */
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(n * sizeof(int));
    memcpy(CMSG_DATA(header), fds, n * sizeof(int));
    return sendmsg(notify->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

void notify_close(struct notify *notify)
{
    if (notify->fd >= 0)
        (void)close(notify->fd); /* each message is away, or was refused */
    notify->fd = -1;
}
