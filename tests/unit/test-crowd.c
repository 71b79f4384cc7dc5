/* SPDX-License-Identifier: MIT */

/*
 * What went wrong in others: a count that was raised for a client who was then refused, and never
 * lowered, so that an address was locked out for ever; a chain that lost its tail when one in its
 * middle was taken out. The crowd is held against a list that looks at all of them each time.
 */

#include "kernel.h"

#include "crowd.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

static bool no_entropy;

ssize_t __real_getrandom(void *buffer, size_t size, unsigned int flags);
ssize_t __wrap_getrandom(void *buffer, size_t size, unsigned int flags);
ssize_t __wrap_getrandom(void *buffer, size_t size, unsigned int flags)
{
    assert_int_equal(flags, GRND_NONBLOCK); /* early in the boot it would wait */
    if (no_entropy) {
        errno = EAGAIN;
        return -1;
    }
    return __real_getrandom(buffer, size, flags);
}

static bool no_memory;

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_malloc(size_t size)
{
    if (no_memory) {
        errno = ENOMEM;
        return NULL;
    }
    return __real_malloc(size);
}

/* ---- the naive one ---- */

#define MOST 300

struct one {
    uint64_t source;
    uint32_t place;
};

struct model {
    struct crowd *crowd;
    struct one ones[MOST];
    uint32_t n;
};

static uint32_t count(const struct model *m, uint64_t source)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < m->n; i++)
        n += m->ones[i].source == source;
    return n;
}

static bool come(struct model *m, uint64_t source, uint32_t most)
{
    uint32_t place = crowd_enter(m->crowd, source, most);
    bool should = count(m, source) < most;

    if ((place != CROWD_NOBODY) != should)
        fail_msg("source %" PRIx64 " has %u of %u connections, and %s", source, count(m, source),
            most, should ? "was refused" : "was let in");
    if (!should)
        return false;
    for (uint32_t i = 0; i < m->n; i++) /* one place for each source, and no other */
        assert_int_equal(m->ones[i].place == place, m->ones[i].source == source);
    m->ones[m->n++] = (struct one){source, place};
    return true;
}

static void go(struct model *m, uint32_t i)
{
    crowd_leave(m->crowd, m->ones[i].place);
    m->ones[i] = m->ones[--m->n];
}

static void begin(struct model *m, uint32_t room)
{
    *m = (struct model){.crowd = crowd_new(room)};
    assert_non_null(m->crowd);
}

/* ---- cases ---- */

static const uint32_t rooms[] = {1, 2, 3, 7, 64, MOST};

/* One source fills it up to its limit, and each that leaves makes room for just one. */
static void test_limit(void **state)
{
    const uint32_t *room = *state;
    struct model m;

    for (uint32_t most = 1; most <= *room; most += 1 + most / 3) {
        begin(&m, *room);
        for (uint32_t i = 0; i < most; i++)
            assert_true(come(&m, 7, most));
        for (int i = 0; i < 3; i++) {
            assert_false(come(&m, 7, most));
            go(&m, (uint32_t)i % m.n);
            assert_true(come(&m, 7, most));
        }
        while (m.n > 0)
            go(&m, m.n - 1);
        assert_true(come(&m, 7, most));
        crowd_free(m.crowd);
    }
}

/* As many sources as there is room for connections: there is a place for each. */
static void test_all_different(void **state)
{
    const uint32_t *room = *state;
    struct model m;

    begin(&m, *room);
    for (int times = 0; times < 3; times++) {
        for (uint32_t i = 0; i < *room; i++)
            assert_true(come(&m, (uint64_t)i << 32, 1));
        for (uint32_t i = 0; i < *room; i++)
            assert_false(come(&m, (uint64_t)i << 32, 1));
        assert_int_equal(crowd_enter(m.crowd, 1, 1), CROWD_NOBODY); /* no place at all */
        for (uint32_t i = 0; m.n > 0; i += 17)
            go(&m, i % m.n);
    }
    crowd_free(m.crowd);
}

/* With a limit that nobody can keep within, and with the largest that the option takes. */
static void test_odd_limits(void **state)
{
    struct model m;

    (void)state;
    begin(&m, 3);
    assert_false(come(&m, 0, 0));
    for (int i = 0; i < 3; i++)
        assert_true(come(&m, 0, UINT32_MAX));
    go(&m, 0);
    assert_true(come(&m, UINT64_MAX, 1));
    crowd_free(m.crowd);
}

/* A limit that was lowered between two (it never is) still lets nobody beyond it in. */
static void test_lower_limit(void **state)
{
    struct model m;

    (void)state;
    begin(&m, 10);
    for (int i = 0; i < 5; i++)
        assert_true(come(&m, 5, 5));
    assert_false(come(&m, 5, 3));
    go(&m, 0);
    go(&m, 0);
    assert_false(come(&m, 5, 3));
    go(&m, 0);
    assert_true(come(&m, 5, 3));
    crowd_free(m.crowd);
}

/* Who comes and goes, in what order, and of which sources: some crowd the same chains. */
static void test_any_order(void **state)
{
    const uint32_t *room = *state;
    kernel_seed(UINT64_C(0x2545f4914f6cdd1d));
    for (int times = 0; times < 20; times++) {
        struct model m;
        uint64_t sources = 1 + kernel_roll(2UL * *room);
        uint32_t most = 1 + (uint32_t)kernel_roll(8);
        no_entropy = times % 4 == 0;
        begin(&m, *room);
        no_entropy = false;
        for (int i = 0; i < 3000; i++) {
            if (m.n > 0 && kernel_roll(m.n < *room ? 3 : 2) == 0)
                go(&m, (uint32_t)kernel_roll(m.n));
            else if (m.n < *room) /* nobody is let in beyond what it was made for */
                (void)come(&m, kernel_roll(sources) << kernel_roll(2) * 32, most);
        }
        while (m.n > 0)
            go(&m, (uint32_t)kernel_roll(m.n));
        for (uint32_t i = 0; i < *room; i++) /* nothing was lost */
            assert_true(come(&m, i, 1));
        crowd_free(m.crowd);
    }
}

static void test_no_memory(void **state)
{
    (void)state;
    kernel.calloc_fails = 1;
    errno = 0;
    assert_null(crowd_new(10));
    assert_int_equal(errno, ENOMEM);
    no_memory = true;
    errno = 0;
    assert_null(crowd_new(10));
    assert_int_equal(errno, ENOMEM);
    no_memory = false;
    crowd_free(NULL);
}

int main(void)
{
    static struct suite suite;

    for (size_t i = 0; i < LENGTH(rooms); i++) {
        suite_add(&suite, test_limit, &rooms[i], "limit of one source, room for %u", rooms[i]);
        suite_add(&suite, test_all_different, &rooms[i], "all different, room for %u", rooms[i]);
        suite_add(&suite, test_any_order, &rooms[i], "any order, room for %u", rooms[i]);
    }
    suite_add(&suite, test_odd_limits, NULL, "limits of 0 and of 2^32 - 1");
    suite_add(&suite, test_lower_limit, NULL, "a lower limit than the one before");
    suite_add(&suite, test_no_memory, NULL, "no memory");
    return suite_run(&suite, "crowd");
}
