/* SPDX-License-Identifier: MIT */
#pragma once

/* The filters as they are built into the program, with the structures of sandbox.c. */

#include <stddef.h>
#include <stdint.h>

struct instruction {
    uint16_t code;
    uint8_t if_true;
    uint8_t if_false;
    uint32_t k;
};

struct filter {
    unsigned needs; /* SANDBOX_LOOP ... */
    size_t n;
    const struct instruction *instructions;
};

#pragma GCC diagnostic ignored "-Wunused-const-variable"
#pragma GCC diagnostic ignored "-Wunused-variable"
#include "sandbox-filters.h"
