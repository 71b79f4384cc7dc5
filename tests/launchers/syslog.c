/* SPDX-License-Identifier: MIT */
/*
 * syslog SOCKET FILE
 *
 * The syslog daemon of a test: binds the datagram socket, for every user, and appends what it
 * receives to FILE, each datagram a line. Runs until it is killed.
 */
#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    char line[8192];

    if (argc != 3)
        errx(2, "usage: syslog SOCKET FILE");
    int file = open(argv[2], O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (file < 0)
        err(2, "syslog: %s", argv[2]);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    int length = snprintf(name.sun_path, sizeof(name.sun_path), "%s", argv[1]);
    if (length >= (int)sizeof(name.sun_path))
        errx(2, "syslog: %s is too long for a socket", argv[1]);
    umask(0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&name, sizeof(name)) < 0)
        err(2, "syslog: %s", argv[1]);

    for (;;) {
        ssize_t n = recv(fd, line, sizeof(line) - 1, 0);
        if (n < 0)
            err(2, "syslog: recv");
        line[n++] = '\n';
        if (write(file, line, (size_t)n) != n) /* in one piece: a reader never sees half a line */
            err(2, "syslog: %s", argv[2]);
    }
}
