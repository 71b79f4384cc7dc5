/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdint.h>
#include <time.h>

/* All instants and spans of time are nanoseconds of CLOCK_MONOTONIC in an int64_t. */
#define CLOCK_MS     INT64_C(1000000)
#define CLOCK_SECOND INT64_C(1000000000)
#define CLOCK_NEVER  INT64_MAX

/* A span as long as an option can say is never over. */
static inline int64_t clock_after(int64_t from, int64_t span)
{
    return span > CLOCK_NEVER - from ? CLOCK_NEVER : from + span;
}

static inline int64_t clock_now(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail with this clock, clock_gettime(2) */
    return now.tv_sec * CLOCK_SECOND + now.tv_nsec;
}
