/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * What the fuzz targets have in common. Each runs the objects of src/ thousands of times in one
 * process, with real descriptors at whatever numbers the input says, 0, 1 and 2 among them. So
 * everything that is the target's or libFuzzer's own lives at WORLD_ABOVE and higher while an input
 * runs, and everything below is the input's.
 */
#define WORLD_ABOVE 600

/* A find: tells it on the fuzzer's own stderr, and dies, whereupon libFuzzer writes the input. */
_Noreturn void world_find(const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#define CHECK(condition, ...)                                                                      \
    do {                                                                                           \
        if (!(condition))                                                                          \
            world_find(__FILE__, __LINE__, #condition ": " __VA_ARGS__);                           \
    } while (0)

/* Once; call it from LLVMFuzzerInitialize(). */
void world_init(void);

/* Nothing is open below WORLD_ABOVE, and the environment is empty. */
void world_begin(void);

/* At most so many variables of the form NAME=VALUE; text is borrowed until world_end(). */
void world_setenv(char *text);

/* All as it was before world_begin(): descriptors, environment, signals, limits. */
void world_end(void);

/* Moves a descriptor to WORLD_ABOVE or higher. */
int world_lift(int fd);

/* How many are open from `from` up to, but not including, `to`. */
int world_count(int from, int to);

/* A connection to a client; both ends lifted. Every end of the client that is closed resets. */
struct world_pair {
    int ours;
    int client;
};

struct world_pair world_tcp(int family, int receive_buffer); /* 0: as usual */
struct world_pair world_unix(int type);

int world_listen(int family);                        /* TCP; lifted */
int world_connect(int listener, int receive_buffer); /* to that TCP socket; lifted */
int world_listen_unix(void);                         /* under an abstract name; lifted */
int world_connect_unix(int listener);                /* lifted */
int world_memory(const void *content, size_t size);  /* a file; lifted */

enum world_end_of_stream {
    WORLD_OPEN, /* nothing more yet */
    WORLD_END,  /* a clean end */
    WORLD_RESET,
};

/* Reads up to size bytes; *n are those that came. Waits for the end if it has to, for 5 s at most.
 */
enum world_end_of_stream world_read(int client, void *buffer, size_t size, size_t *n, bool wait);

/* What src/ printed since world_begin(), whichever way; each line ends in '\n'. */
extern char world_said[8192];
extern bool world_hears; /* from world_begin() to world_end() */

/* Stand-ins that a target may set; NULL: the real thing. */
extern int (*world_poll)(void *polls, unsigned long n, int timeout);
extern int (*world_epoll_wait)(int epoll, void *events, int most, int timeout);
extern int64_t world_now; /* ns of CLOCK_MONOTONIC; 0: the real one */
extern int world_raised;  /* the signal that src/ wanted to die of, or 0 */

extern long (*world_sendfile)(int socket, int file, int64_t *offset, size_t count);

struct transfer;
extern void (*world_report)(const struct transfer *transfer, const char *peer); /* beside it */

int world_real_poll(void *polls, unsigned long n, int timeout);
int world_real_epoll_wait(int epoll, void *events, int most, int timeout);
long world_real_sendfile(int socket, int file, int64_t *offset, size_t count);
