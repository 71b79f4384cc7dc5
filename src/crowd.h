/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdint.h>

/*
 * How many connections each source has at the moment. A hash table with chains, so that to come
 * and to go cost the same however many there are; 20 bytes for each connection, whatever its
 * source.
 */
struct crowd;

#define CROWD_NOBODY UINT32_MAX

/* For at most so many connections in all; NULL with errno ENOMEM. Free it with crowd_free(). */
struct crowd *crowd_new(uint32_t connections) __attribute__((warn_unused_result));

/*
 * One more connection of that source (see peer_source()), unless it has `most` already. Returns the
 * place to give back with crowd_leave(), or CROWD_NOBODY, and then nothing has changed.
 */
uint32_t crowd_enter(struct crowd *crowd, uint64_t source, uint32_t most)
    __attribute__((nonnull, warn_unused_result));

void crowd_leave(struct crowd *crowd, uint32_t place) __attribute__((nonnull));

void crowd_free(struct crowd *crowd); /* NULL does nothing */

/* Bytes of memory for each connection, for the budget in resident.c. */
#define CROWD_COST (3 * sizeof(uint32_t) + sizeof(uint64_t))
