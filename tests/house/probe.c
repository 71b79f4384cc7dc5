// SPDX-License-Identifier: MIT
// Does on purpose what the hardening flags are there to stop, built with the very flags of the
// program. Each way ends with status 7 where the flag stopped it, heap with SIGABRT.
//
//     probe array|local       writes over the end of a variable on the stack
//     probe heap SIZE         writes one byte over the end of memory whose size only the run knows
//     probe guard             has a frame so large that it reaches over the guard page below the
//     stack probe fortify           prints the level of _FORTIFY_SOURCE

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PAGE = 65536, STACK = 2 * PAGE, FRAME = 4 * PAGE }; // the largest page of all architectures

// What the compiler calls where the canary has changed. The one of the C library ends the program
// in a way that differs from one to the other.
__attribute__((noreturn)) void __stack_chk_fail(void);

void __stack_chk_fail(void)
{
    static const char words[] = "stack smashing\n";

    if (write(STDOUT_FILENO, words, sizeof words - 1) < 0) {
        _exit(1);
    }
    _exit(7);
}

__attribute__((noinline)) static void overwrite(volatile unsigned char *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        bytes[i] ^= 0x55;
    }
}

__attribute__((noinline)) static void write_over_array(size_t size)
{
    char array[16];

    overwrite((volatile unsigned char *)array, size);
}

// No array, but an address that is passed on: -fstack-protector sees no danger in it, -strong does.
__attribute__((noinline)) static void write_over_local(size_t size)
{
    long local = 0;

    overwrite((volatile unsigned char *)&local, size);
}

__attribute__((noinline)) static void copy_to_heap(const char *size_text)
{
    const size_t size = strtoul(size_text, NULL, 10);
    char *memory = malloc(size);
    const char source[64] = "";

    if (!memory || size >= sizeof source) {
        _exit(1);
    }
    memcpy(memory, source, size + 1);
    printf("%d\n", memory[0]);
    free(memory);
}

static unsigned char *guard;

static void on_segv(int signal_number, siginfo_t *info, void *context)
{
    (void)signal_number;
    (void)context;
    _exit((unsigned char *)info->si_addr >= guard && (unsigned char *)info->si_addr < guard + PAGE
              ? 7
              : 1);
}

// Writes only at the far end of its frame.
static void on_usr1(int signal_number)
{
    unsigned char frame[FRAME];

    (void)signal_number;
    overwrite(frame, 1);
}

// The alternate stack is the one that is too small, with a guard page below it, and below that what
// belongs to others.
static void reach_over_guard(void)
{
    unsigned char *all = mmap(
        NULL, FRAME + PAGE + STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    stack_t stack = {.ss_size = STACK};
    struct sigaction usr1 = {.sa_handler = on_usr1, .sa_flags = SA_ONSTACK};
    struct sigaction segv = {.sa_sigaction = on_segv, .sa_flags = SA_ONSTACK | SA_SIGINFO};

    guard = all + FRAME;
    stack.ss_sp = guard + PAGE;
    if (all == MAP_FAILED || mprotect(guard, PAGE, PROT_NONE) < 0 ||
        sigaltstack(&stack, NULL) < 0 || sigaction(SIGUSR1, &usr1, NULL) < 0 ||
        sigaction(SIGSEGV, &segv, NULL) < 0) {
        _exit(1);
    }
    (void)raise(SIGUSR1);
}

int main(int argc, char **argv)
{
    const char *way = argc > 1 ? argv[1] : "";

    if (strcmp(way, "array") == 0) {
        write_over_array(16 + 2 * sizeof(long));
    } else if (strcmp(way, "local") == 0) {
        write_over_local(2 * sizeof(long));
    } else if (strcmp(way, "heap") == 0 && argc > 2) {
        copy_to_heap(argv[2]);
    } else if (strcmp(way, "guard") == 0) {
        reach_over_guard();
    } else if (strcmp(way, "fortify") == 0) {
#ifdef _FORTIFY_SOURCE
        printf("%d\n", _FORTIFY_SOURCE);
#else
        printf("none\n");
#endif
    } else {
        return 64;
    }
    return 0;
}
