/* SPDX-License-Identifier: MIT */

/*
 * What went wrong in others: a signal that came between the look at a flag and the wait, so that a
 * service had to be killed; SIGHUP, which rotates logs elsewhere, and ended all transfers. The
 * signals are real, and are sent to this very process.
 */

#include "kernel.h"

#include "signals.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

struct row {
    const char *name;
    int more[3];
    bool no_list;
    int sent[4];
    int told[4]; /* lowest number first, signal(7) */
};

static const struct row rows[] = {
    {"none", {0}, false, {0}, {0}},
    {"SIGTERM", {0}, false, {SIGTERM}, {SIGTERM}},
    {"SIGINT", {0}, false, {SIGINT}, {SIGINT}},
    {"both", {0}, false, {SIGTERM, SIGINT}, {SIGINT, SIGTERM}},
    {"no list", {0}, true, {SIGTERM, SIGINT}, {SIGINT, SIGTERM}},
    {"the same twice is one", {0}, false, {SIGTERM, SIGTERM}, {SIGTERM}},
    {"SIGHUP, which was asked for", {SIGHUP}, false, {SIGHUP}, {SIGHUP}},
    {"SIGHUP and SIGUSR1", {SIGUSR1, SIGHUP}, false, {SIGUSR1, SIGTERM, SIGHUP},
        {SIGHUP, SIGUSR1, SIGTERM}},
};

/* Each test begins with none pending and none blocked. */
static void forget_signals(void)
{
    static const int all[] = {SIGHUP, SIGINT, SIGTERM, SIGUSR1};
    static const struct timespec none = {0, 0};
    sigset_t set;

    (void)sigemptyset(&set);
    for (size_t i = 0; i < LENGTH(all); i++)
        (void)sigaddset(&set, all[i]);
    assert_int_equal(sigprocmask(SIG_BLOCK, &set, NULL), 0);
    while (sigtimedwait(&set, NULL, &none) >= 0)
        continue;
    assert_int_equal(sigprocmask(SIG_UNBLOCK, &set, NULL), 0);
}

static short look_at(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};

    assert_true(poll(&p, 1, 0) >= 0);
    return p.revents;
}

static void test_row(void **state)
{
    const struct row *c = *state;
    struct problem problem;

    forget_signals();
    int fd = signals_open(c->no_list ? NULL : c->more, &problem);
    assert_true(fd >= 0);
    assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
    assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
    for (size_t i = 0; i < LENGTH(c->sent) && c->sent[i]; i++)
        assert_int_equal(kill(getpid(), c->sent[i]), 0);
    assert_int_equal(look_at(fd), c->sent[0] ? POLLIN : 0);
    for (size_t i = 0; i < LENGTH(c->told) && c->told[i]; i++)
        assert_int_equal(signals_read(fd), c->told[i]);
    assert_int_equal(signals_read(fd), 0);
    assert_int_equal(look_at(fd), 0);
    assert_int_equal(close(fd), 0);
    forget_signals();
}

/* One that came first is not lost, where the supervisor had blocked it. */
static void test_early(void **state)
{
    struct problem problem;
    sigset_t set;

    (void)state;
    forget_signals();
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    assert_int_equal(sigprocmask(SIG_BLOCK, &set, NULL), 0);
    assert_int_equal(kill(getpid(), SIGTERM), 0);
    int fd = signals_open(NULL, &problem);
    assert_int_equal(signals_read(fd), SIGTERM);
    assert_int_equal(close(fd), 0);
    forget_signals();
}

/* What nobody asked for stays as it was: a crash must remain one. */
static void test_others_stay(void **state)
{
    static const int others[] = {SIGHUP, SIGUSR1, SIGQUIT, SIGSEGV, SIGCHLD};
    struct problem problem;
    sigset_t set;

    (void)state;
    forget_signals();
    int fd = signals_open(NULL, &problem);
    assert_int_equal(sigprocmask(SIG_BLOCK, NULL, &set), 0);
    for (size_t i = 0; i < LENGTH(others); i++)
        assert_int_equal(sigismember(&set, others[i]), 0);
    assert_int_equal(sigismember(&set, SIGTERM), 1);
    assert_int_equal(sigismember(&set, SIGINT), 1);
    assert_int_equal(close(fd), 0);
    forget_signals();
}

static void test_no_descriptor(void **state)
{
    struct problem problem = {0};

    (void)state;
    forget_signals();
    kernel.signalfd_error = EMFILE;
    assert_int_equal(signals_open(NULL, &problem), -EMFILE);
    kernel.signalfd_error = 0;
    assert_int_equal(problem.status, EX_OSERR);
    assert_string_equal(problem.text, "signalfd: Too many open files");
    forget_signals();
}

int main(void)
{
    static struct suite suite;

    for (size_t i = 0; i < LENGTH(rows); i++)
        suite_add(&suite, test_row, &rows[i], "%s", rows[i].name);
    suite_add(&suite, test_early, NULL, "one that came before");
    suite_add(&suite, test_others_stay, NULL, "all others stay");
    suite_add(&suite, test_no_descriptor, NULL, "no descriptor left");
    return suite_run(&suite, "signals");
}
