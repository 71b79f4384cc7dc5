/* SPDX-License-Identifier: MIT */

/*
 * What went wrong in others: a build without the library that makes the filters, which said that
 * its processes are locked in, and had nothing to lock them with. Here the source file is built as
 * `make SECCOMP=no` does it.
 */

#include "kernel.h"

#undef WITH_SECCOMP
#define WITH_SECCOMP  0
#define sandbox_enter enter_without_filters
#pragma GCC diagnostic ignored "-Wtype-limits" /* there are 0 filters */
#include "../../src/sandbox.c"

#include <fcntl.h>

static int calls;

int __wrap_prctl(int option, ...);
int __wrap_prctl(int option, ...)
{
    assert_int_equal(option, PR_SET_NO_NEW_PRIVS);
    calls++;
    return 0;
}

int __wrap_setrlimit64(int resource, const struct rlimit *limit);
int __wrap_setrlimit64(int resource, const struct rlimit *limit)
{
    (void)resource;
    (void)limit;
    calls++;
    return 0;
}

/* Nobody raises a signal that nobody catches. */
int __wrap_sigaction(int number, const struct sigaction *action, struct sigaction *before);
int __wrap_sigaction(int number, const struct sigaction *action, struct sigaction *before)
{
    (void)action;
    (void)before;
    fail_msg("sigaction of %d", number);
    return -1;
}

long __wrap_syscall(long number, ...);
long __wrap_syscall(long number, ...)
{
    va_list arguments;

    va_start(arguments, number);
    void *first = va_arg(arguments, void *);
    void *second = va_arg(arguments, void *);
    va_end(arguments);
    assert_int_not_equal(number, SYS_seccomp);
    calls++;
    if (number == SYS_capget)
        memset(second, 0, 2 * sizeof(struct capability_sets));
    if (number == SYS_landlock_create_ruleset)
        return first ? open("/dev/null", O_RDONLY | O_CLOEXEC) : 6;
    return 0;
}

static void test_none(void **state)
{
    const bool *resident = *state;
    const struct handover handover = {.notify.fd = -1};
    const struct sources sources = {.directory = -1};

    for (int policy = SANDBOX_TRY; policy <= SANDBOX_OFF; policy++) {
        const struct options options = {.sandbox = policy};
        struct problem problem = {0};
        struct report report;
        report_open(&report, CHANNEL_STDERR, LOG_ERR); /* its notice is test-sandbox's business */
        calls = 0;
        int r = enter_without_filters(&options, &handover, &sources, *resident, &report, &problem);
        if (policy != SANDBOX_REQUIRE) {
            assert_int_equal(r, 0);
            assert_int_equal(calls > 5, policy == SANDBOX_TRY); /* the rest is given up */
            continue;
        }
        assert_int_equal(r, -EOPNOTSUPP);
        assert_int_equal(problem.status, EX_OSERR);
        assert_string_equal(problem.text,
            "--sandbox=require: not possible here: seccomp (Function not implemented); "
            "--sandbox=try does without");
    }
}

static void test_names(void **state)
{
    static const int numbers[] = {INT32_MIN, -1, 0, 1, 59, 1023, INT32_MAX};

    (void)state;
    for (size_t i = 0; i < LENGTH(numbers); i++)
        assert_string_equal(name_of(numbers[i]), "of an unknown number");
}

int main(void)
{
    static const bool ways[] = {false, true};
    static struct suite suite;

    for (size_t i = 0; i < LENGTH(ways); i++)
        suite_add(&suite, test_none, &ways[i], "no filters: %s", ways[i] ? "resident" : "single");
    suite_add(&suite, test_names, NULL, "no names");
    return suite_run(&suite, "sandbox-none");
}
