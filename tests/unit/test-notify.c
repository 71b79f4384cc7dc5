/* SPDX-License-Identifier: MIT */

/*
 * What went wrong in others: a message to a manager that was busy, and all transfers stood still
 * until it was not; a manager that was gone, and the program with it (SIGPIPE); a WATCHDOG_USEC
 * that was misread, so that the manager killed what was well. The sockets are real.
 */

#include "kernel.h"

#include "notify.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static char directory[] = "/tmp/decant-test-notify.XXXXXX";

/* A manager that listens there: a path, or with '@' an abstract name. */
static int listen_at(const char *name)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t length = strlen(name);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    assert_true(length <= sizeof(address.sun_path));
    memcpy(address.sun_path, name, length);
    if (name[0] == '@')
        address.sun_path[0] = '\0';
    assert_int_equal(bind(fd, (struct sockaddr *)&address,
                         (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length)),
        0);
    return fd;
}

static void hear(int fd, const char *lines)
{
    char text[600];
    ssize_t n = recv(fd, text, sizeof(text) - 1, MSG_DONTWAIT);

    if (!lines) {
        assert_int_equal(n, -1);
        return;
    }
    assert_true(n >= 0);
    text[n] = '\0';
    assert_string_equal(text, lines);
}

/* ---- where it is ---- */

struct place {
    const char *name;
    const char *prefix;
    size_t length; /* of the whole, filled up with 'x'; 0: as it is */
    bool there;    /* somebody listens */
    bool reached;
};

static const struct place places[] = {
    {"a path", "/socket", 0, true, true},
    {"a path of 107 bytes", "/", 107, true, true},
    {"an abstract name", "@decant-test-notify", 0, true, true},
    {"an abstract name of 107 bytes", "@decant-test-notify", 107, true, true},
    {"nobody listens at a path", "/nobody", 0, false, false},
    {"nobody listens at a name", "@decant-test-nobody", 0, false, false},
    {"a path that is too long", "/", 109, false, false},
    {"a relative path", "socket", 0, false, false},
    {"vsock", "vsock:2:1234", 0, false, false},
    {"empty", "", 0, false, false},
    {"'@' alone", "@", 0, false, false},
    {"a slash", "/", 0, false, false},
};

static void test_place(void **state)
{
    const struct place *c = *state;
    struct notify notify;
    char name[200] = "";
    bool path = c->prefix[0] == '/' && c->there;

    if (path)
        strcpy(name, directory);
    strcat(name, c->prefix);
    while (strlen(name) < c->length)
        strcat(name, "x");
    int manager = c->there ? listen_at(name) : -1;
    notify_open(&notify, name, NULL);
    assert_int_equal(notify.fd >= 0, c->reached);
    assert_true(notify.watchdog == 0);
    if (c->reached) {
        assert_int_equal(fcntl(notify.fd, F_GETFD), FD_CLOEXEC);
        assert_int_equal(notify_send(&notify, "READY=1\nSTATUS=one of two"), 0);
        hear(manager, "READY=1\nSTATUS=one of two");
    } else {
        assert_int_equal(notify.fd, -1);
        assert_int_equal(notify_send(&notify, "READY=1"), 0); /* nobody wants to hear it */
    }
    int fd = notify.fd;
    notify_close(&notify);
    assert_int_equal(notify.fd, -1);
    if (fd >= 0)
        assert_int_equal(fcntl(fd, F_GETFD), -1);
    notify_close(&notify); /* once more does nothing */
    assert_int_equal(notify_send(&notify, "STOPPING=1"), 0);
    if (manager >= 0)
        assert_int_equal(close(manager), 0);
    if (path)
        assert_int_equal(unlink(name), 0);
}

static void test_not_wanted(void **state)
{
    struct notify notify;

    (void)state;
    notify_open(&notify, NULL, NULL);
    assert_int_equal(notify.fd, -1);
    assert_true(notify.watchdog == 0);
    assert_int_equal(notify_send(&notify, "READY=1"), 0);
    notify_close(&notify);
}

/* ---- a manager that does not keep up ---- */

/* So many fit into the queue (net.unix.max_dgram_qlen); then each is lost, and none waits. */
static void test_full(void **state)
{
    struct notify notify;
    int n = 0;
    int r;

    (void)state;
    int manager = listen_at("@decant-test-notify");
    notify_open(&notify, "@decant-test-notify", NULL);
    (void)alarm(20); /* should it wait */
    while ((r = notify_send(&notify, "STATUS=full")) == 0)
        assert_true(++n < 100000);
    assert_int_equal(r, -EAGAIN);
    assert_true(n > 0);
    for (int i = 0; i < 100; i++)
        assert_int_equal(notify_send(&notify, "STATUS=lost"), -EAGAIN);
    (void)alarm(300);
    hear(manager, "STATUS=full");
    assert_int_equal(notify_send(&notify, "STATUS=again"), 0);
    for (int i = 1; i < n; i++)
        hear(manager, "STATUS=full");
    hear(manager, "STATUS=again");
    hear(manager, NULL);
    notify_close(&notify);
    assert_int_equal(close(manager), 0);
}

/* Also where somebody who shares the description has made it block. */
static void test_full_and_blocking(void **state)
{
    struct notify notify;

    (void)state;
    int manager = listen_at("@decant-test-notify");
    notify_open(&notify, "@decant-test-notify", NULL);
    assert_int_equal(fcntl(notify.fd, F_SETFL, 0), 0);
    (void)alarm(20);
    while (notify_send(&notify, "STATUS=full") == 0)
        continue;
    assert_int_equal(notify_send(&notify, "STATUS=lost"), -EAGAIN);
    (void)alarm(300);
    notify_close(&notify);
    assert_int_equal(close(manager), 0);
}

/* The manager is gone: an error, no signal. */
static void test_gone(void **state)
{
    struct notify notify;

    (void)state;
    int manager = listen_at("@decant-test-notify");
    notify_open(&notify, "@decant-test-notify", NULL);
    assert_int_equal(close(manager), 0);
    assert_int_equal(notify_send(&notify, "READY=1"), -ECONNREFUSED);
    notify_close(&notify);
}

/* ---- with descriptors ---- */

/* Those that came with a message; they are what was sent, and another's. */
static int take_descriptors(int manager, const char *lines, int *fds, int most)
{
    char text[600];
    union {
        char room[CMSG_SPACE(10 * sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec iov = {text, sizeof(text) - 1};
    struct msghdr message = {.msg_iov = &iov,
        .msg_iovlen = 1,
        .msg_control = control.room,
        .msg_controllen = sizeof(control.room)};

    ssize_t n = recvmsg(manager, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (n < 0)
        return -errno;
    text[n] = '\0';
    assert_string_equal(text, lines);
    const struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    if (!header)
        return 0;
    assert_int_equal(header->cmsg_type, SCM_RIGHTS);
    int n_fds = (int)((header->cmsg_len - CMSG_LEN(0)) / sizeof(int));
    assert_true(n_fds <= most);
    memcpy(fds, CMSG_DATA(header), (size_t)n_fds * sizeof(int));
    return n_fds;
}

static void check_same(int one, int other)
{
    struct stat first;
    struct stat second;

    assert_true(one != other);
    assert_int_equal(fstat(one, &first) + fstat(other, &second), 0);
    assert_true(first.st_dev == second.st_dev && first.st_ino == second.st_ino);
}

static void test_descriptors(void **state)
{
    struct notify notify;
    int ends[2];
    int got[10];

    (void)state;
    int manager = listen_at("@decant-test-notify");
    notify_open(&notify, "@decant-test-notify", NULL);
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    for (size_t n = 1; n <= NOTIFY_MOST_FDS; n++) {
        assert_int_equal(notify_send_fds(&notify, "FDSTORE=1\nFDNAME=@0", ends, n), 0);
        assert_int_equal(take_descriptors(manager, "FDSTORE=1\nFDNAME=@0", got, 10), (int)n);
        for (size_t i = 0; i < n; i++) {
            check_same(got[i], ends[i]);
            assert_int_equal(fcntl(ends[i], F_GETFD), FD_CLOEXEC); /* ours is still ours */
            assert_int_equal(close(got[i]), 0);
        }
    }
    /* And then one without any, in the same order. */
    assert_int_equal(notify_send_fds(&notify, "BARRIER=1", &ends[1], 1), 0);
    assert_int_equal(notify_send(&notify, "READY=1"), 0);
    assert_int_equal(take_descriptors(manager, "BARRIER=1", got, 10), 1);
    assert_int_equal(close(got[0]), 0);
    assert_int_equal(take_descriptors(manager, "READY=1", got, 10), 0);
    assert_int_equal(notify_send_fds(&notify, "FDSTORE=1", (int[]){-1}, 1), -EBADF);
    assert_int_equal(take_descriptors(manager, "", got, 10), -EAGAIN);
    notify_close(&notify);
    assert_int_equal(notify_send_fds(&notify, "FDSTORE=1", ends, 2), -ENOTCONN);
    assert_int_equal(close(ends[0]) + close(ends[1]) + close(manager), 0);
}

/* A manager that does not keep up: this one is lost, and so is no descriptor of the others. */
static void test_descriptors_full(void **state)
{
    struct notify notify;
    int ends[2];
    int got[10];
    int n = 0;
    int r;

    (void)state;
    int manager = listen_at("@decant-test-notify");
    notify_open(&notify, "@decant-test-notify", NULL);
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    (void)alarm(20); /* should it wait */
    while ((r = notify_send_fds(&notify, "FDSTORE=1", ends, 2)) == 0)
        assert_true(++n < 100000);
    assert_int_equal(r, -EAGAIN);
    assert_int_equal(notify_send_fds(&notify, "FDSTORE=1", ends, 1), -EAGAIN);
    (void)alarm(300);
    for (int i = 0; i < n; i++) {
        assert_int_equal(take_descriptors(manager, "FDSTORE=1", got, 10), 2);
        assert_int_equal(close(got[0]) + close(got[1]), 0);
    }
    assert_int_equal(take_descriptors(manager, "", got, 10), -EAGAIN);
    assert_int_equal(close(manager), 0);
    assert_int_equal(notify_send_fds(&notify, "FDSTORE=1", ends, 1), -ECONNREFUSED);
    assert_int_equal(close(ends[1]), 0);
    char byte;
    assert_int_equal(read(ends[0], &byte, 1), 0); /* nobody else has the other end any more */
    assert_int_equal(close(ends[0]), 0);
    notify_close(&notify);
}

/* ---- WATCHDOG_USEC ---- */

struct number {
    const char *usec;
    int64_t watchdog; /* ns */
};

static const struct number numbers[] = {
    {NULL, 0},
    {"", 0},
    {"0", 0},
    {"1", 1000},
    {"30000000", 30 * CLOCK_SECOND},
    {"007", 7000}, /* not octal */
    {"9223372036854775", INT64_C(9223372036854775000)},
    {"9223372036854776", 0}, /* more than an int64_t has of ns */
    {"9223372036854775807", 0},
    {"9223372036854775808", 0},
    {"18446744073709551615", 0}, /* systemd's infinity */
    {"99999999999999999999999", 0},
    {"-1", 0},
    {"+1", 0},
    {" 1", 0},
    {"1 ", 0},
    {"1s", 0},
    {"1.5", 0},
    {"0x10", 0},
    {"soon", 0},
};

static void test_number(void **state)
{
    const struct number *c = *state;
    struct notify notify;

    errno = ERANGE; /* of somebody before */
    notify_open(&notify, NULL, c->usec);
    assert_true(notify.watchdog == c->watchdog);
}

int main(void)
{
    static struct suite suite;

    if (!mkdtemp(directory))
        return 1;
    for (size_t i = 0; i < LENGTH(places); i++)
        suite_add(&suite, test_place, &places[i], "place: %s", places[i].name);
    suite_add(&suite, test_not_wanted, NULL, "place: none");
    suite_add(&suite, test_full, NULL, "full: the message is lost, and nobody waits");
    suite_add(&suite, test_full_and_blocking, NULL, "full: although the socket blocks");
    suite_add(&suite, test_descriptors, NULL, "descriptors: one, two, and none");
    suite_add(&suite, test_descriptors_full, NULL, "descriptors: full, and gone");
    suite_add(&suite, test_gone, NULL, "gone: an error, and no signal");
    for (size_t i = 0; i < LENGTH(numbers); i++)
        suite_add(&suite, test_number, &numbers[i], "watchdog: %s",
            numbers[i].usec ? numbers[i].usec : "(none)");
    int failed = suite_run(&suite, "notify");
    (void)rmdir(directory);
    return failed;
}
