/* SPDX-License-Identifier: MIT */
#include "crowd.h"

#include <stdlib.h>
#include <sys/random.h>

struct source_count {
    uint64_t source;
    uint32_t connections; /* 0: free, and next is the next free one */
    uint32_t next;
};

struct crowd {
    uint64_t seed;
    uint32_t n;
    uint32_t free;                /* the first that has not a connection */
    uint32_t *chains;             /* n of them; where each begins */
    struct source_count counts[]; /* n of them: a source has at least one connection */
};

_Static_assert(sizeof(struct source_count) + sizeof(uint32_t) == CROWD_COST, "not the cost told");

struct crowd *crowd_new(uint32_t connections)
{
    struct crowd *crowd = calloc(1, sizeof(*crowd) + connections * sizeof(crowd->counts[0]));

    if (!crowd)
        return NULL;
    crowd->chains = malloc(connections * sizeof(crowd->chains[0]));
    if (!crowd->chains) {
        free(crowd);
        return NULL;
    }
    crowd->n = connections;
    for (uint32_t i = 0; i < connections; i++) {
        crowd->chains[i] = CROWD_NOBODY;
        crowd->counts[i].next = i + 1 < connections ? i + 1 : CROWD_NOBODY;
    }
    /* Who chooses addresses shall not choose chains. Early in the boot a constant must do. */
    if (getrandom(&crowd->seed, sizeof(crowd->seed), GRND_NONBLOCK) < 0)
        crowd->seed = UINT64_C(0x9e3779b97f4a7c15);
    return crowd;
}

/* Multiplied and folded, so that each bit of the source moves all those that choose the chain. */
static uint32_t *chain_of(struct crowd *crowd, uint64_t source)
{
    uint64_t mixed = (source ^ crowd->seed) * UINT64_C(0xff51afd7ed558ccd);

    mixed = (mixed ^ (mixed >> 32)) * (crowd->seed | 1);
    return &crowd->chains[(mixed >> 32) % crowd->n];
}

uint32_t crowd_enter(struct crowd *crowd, uint64_t source, uint32_t most)
{
    uint32_t *chain = chain_of(crowd, source);
    uint32_t place = *chain;

    while (place != CROWD_NOBODY && crowd->counts[place].source != source)
        place = crowd->counts[place].next;
    if (place == CROWD_NOBODY) {
        place = crowd->free;
        if (place == CROWD_NOBODY || most == 0)
            return CROWD_NOBODY;
        crowd->free = crowd->counts[place].next;
        crowd->counts[place] = (struct source_count){.source = source, .next = *chain};
        *chain = place;
    }
    if (crowd->counts[place].connections >= most)
        return CROWD_NOBODY;
    crowd->counts[place].connections++;
    return place;
}

void crowd_leave(struct crowd *crowd, uint32_t place)
{
    struct source_count *count = &crowd->counts[place];
    uint32_t *link = chain_of(crowd, count->source);

    if (--count->connections > 0)
        return;
    while (*link != place)
        link = &crowd->counts[*link].next;
    *link = count->next;
    count->next = crowd->free;
    crowd->free = place;
}

void crowd_free(struct crowd *crowd)
{
    if (crowd)
        free(crowd->chains);
    free(crowd);
}
