/* SPDX-License-Identifier: MIT */

/*
 * The system calls that decant still makes once everything is open, and the program that makes of
 * them, at build time and with libseccomp(3), the seccomp(2) filters of sandbox.c. decant itself
 * has only the finished instructions: to load the library and to make them at each start would cost
 * more than the rest of the sandbox.
 *
 *     sandbox-filter c ARCHITECTURE             the filters as C, to be included by sandbox.c
 *     sandbox-filter list ARCHITECTURE FILTER   the names in one of them, one a line
 *     sandbox-filter filters                    what they are called
 *
 * The names are those of glibc and musl together. A call that no test makes must not be here, and
 * one that is missing kills the process that makes it: the tests compare this list with traces.
 */

#include "sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <seccomp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

/* Which processes need a call: any, all with a loop, ... */
enum {
    SINGLE = 1U << 31,
    LOOP = SANDBOX_LOOP,
    STORE = SANDBOX_STORE,
    PATH = SANDBOX_PATH,
    DIRECTORY = SANDBOX_DIRECTORY,
    GIVEN = SANDBOX_GIVEN,
    ANY = SINGLE | LOOP
};

static const struct filter {
    const char *name;
    unsigned needs;
} filters[] = {
    {"single", SINGLE},
    {"resident", LOOP | GIVEN},
    {"resident-path", LOOP | PATH},
    {"resident-directory", LOOP | DIRECTORY},
    {"store", LOOP | STORE | GIVEN},
    {"store-path", LOOP | STORE | PATH},
    {"store-directory", LOOP | STORE | DIRECTORY},
};

#define MOST_CONDITIONS   2
#define NOT_TO_READ       (O_ACCMODE | O_CREAT | O_TRUNC | O_PATH)
#define MOST_INSTRUCTIONS 512
#define MOST_CALLS        1024 /* above the highest number of any architecture */

/* Where an argument is an int, what the upper half of the register holds is chance. */
#define INT(argument, value)    SCMP_CMP64(argument, SCMP_CMP_MASKED_EQ, UINT32_MAX, (uint32_t)(value))
#define NO_BITS(argument, bits) SCMP_CMP64(argument, SCMP_CMP_MASKED_EQ, (bits), 0)
#define NULL_POINTER(argument)  SCMP_CMP64(argument, SCMP_CMP_EQ, 0)

/* A call, who needs it, and, where there are some, the conditions on its arguments, all of which
 * must hold; several lines on one call are alternatives. */
/* clang-format off */
static const struct row {
    const char *call;
    unsigned needed_by;
    struct scmp_arg_cmp conditions[MOST_CONDITIONS];
    const char *without; /* only where the architecture has not this other one */
} rows[] = {
    /* The transfer. An address that has no more than a family can only be AF_UNSPEC: disconnect. */
    {"sendfile",        ANY},
    {"sendfile64",      ANY}, /* 32 bits, beside the other */
    {"ioctl",           ANY,    {INT(1, TIOCOUTQ)}},
    {"getsockopt",      ANY,    {INT(1, SOL_SOCKET)}},
    {"getsockopt",      ANY,    {INT(1, IPPROTO_TCP), INT(2, TCP_INFO)}},
    {"setsockopt",      ANY,    {INT(1, SOL_SOCKET), INT(2, SO_LINGER)}},
    {"setsockopt",      ANY,    {INT(1, IPPROTO_TCP), INT(2, TCP_NODELAY)}},
    {"setsockopt",      LOOP,   {INT(1, IPPROTO_TCP), INT(2, TCP_NOTSENT_LOWAT)}},
    {"setsockopt",      LOOP,   {INT(1, SOL_SOCKET), INT(2, SO_MAX_PACING_RATE)}},
    {"getpeername",     ANY},
    {"recvfrom",        ANY},
    {"shutdown",        ANY},
    {"connect",         ANY,    {INT(2, sizeof(sa_family_t))}},
    {"close",           ANY},

    /* Is the file still the same, and is it in memory? fstat(3) is one or the other. */
    {"fstat",           ANY},
    {"newfstatat",      ANY},
    {"fstatat64",       ANY, .without = "newfstatat"},
    {"statx",           ANY, .without = "fstat"},
    {"preadv2",         ANY},
    {"fadvise64",       ANY},
    {"fadvise64_64",    ANY}, /* 32 bits */

    /* The loops. The resident one polls as well: is there room for a line? */
    {"poll",            ANY},
    {"ppoll",           ANY, .without = "poll"},
    {"restart_syscall", SINGLE}, /* poll(2) after SIGCONT */
    {"epoll_wait",      LOOP},
    {"epoll_pwait",     LOOP}, /* musl */
    {"epoll_ctl",       LOOP},
    {"accept4",         LOOP},
    {"read",            LOOP}, /* signals, of which the other one only knows that there is one */
    {"clock_gettime",   ANY},

    /* The file for those who come next. Where it may be is landlock's to say. */
    {"open",            PATH,   {NO_BITS(1, NOT_TO_READ)}}, /* musl */
    {"openat",          PATH,   {NO_BITS(2, NOT_TO_READ)}},
    {"openat2",         DIRECTORY}, /* whose flags cannot be seen from here */
    {"openat",          DIRECTORY, {NO_BITS(2, NOT_TO_READ)}}, /* without openat2(2) */
    {"stat",            PATH}, /* musl */
    {"access",          PATH},
    {"faccessat",       PATH, .without = "access"},
    {"geteuid",         PATH | DIRECTORY},
    {"pread64",         LOOP},
    {"readlink",        STORE | GIVEN}, /* the name of a file that was handed over */
    {"readlinkat",      STORE | GIVEN, .without = "readlink"},
    {"fcntl",           LOOP,   {INT(1, F_GETFL)}},
    {"fcntl",           LOOP,   {INT(1, F_SETFL)}},
    {"fcntl",           PATH,   {INT(1, F_SETFD)}}, /* musl: open(3) with O_CLOEXEC */
    {"fcntl",           GIVEN,  {INT(1, F_DUPFD_CLOEXEC)}},

    /* Words: to standard error, syslogd and the supervisor, to which we are connected. */
    {"write",           ANY},
    {"sendto",          ANY,    {NULL_POINTER(4)}},

    /* Descriptors to keep. Whom it names cannot be seen from here, so it must be the supervisor's
     * socket, and not in a way that connects, as MSG_FASTOPEN would. */
    {"sendmsg",         STORE,  {INT(0, SANDBOX_SUPERVISOR), INT(2, MSG_DONTWAIT | MSG_NOSIGNAL)}},
    {"pipe2",           STORE},

    /* Memory, but never to run code in. */
    {"brk",             ANY},
    {"mmap",            ANY,    {NO_BITS(2, PROT_EXEC), INT(4, -1)}},
    {"mmap2",           ANY,    {NO_BITS(2, PROT_EXEC), INT(4, -1)}}, /* 32 bits */
    {"munmap",          ANY},
    {"madvise",         LOOP,   {INT(2, MADV_FREE)}}, /* musl: free(3) */

    /* The end: by SIGTERM when the next process is to go on, and of nobody else. */
    {"exit_group",      ANY},
    {"getpid",          ANY}, /* syslog(3), too */
    {"rt_sigaction",    STORE},
    {"rt_sigprocmask",  STORE},
    {"gettid",          STORE},
    {"tgkill",          STORE,  {INT(0, SANDBOX_OWN_PID), INT(2, SIGTERM)}},
    {"tkill",           STORE,  {INT(0, SANDBOX_OWN_PID), INT(1, SIGTERM)}}, /* musl */
};
/* clang-format on */

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

/* It runs at build time, so whatever goes wrong ends it. */
__attribute__((noreturn, format(printf, 1, 2))) static void die(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    (void)fputs("sandbox-filter: ", stderr);
    (void)vfprintf(stderr, format, arguments);
    (void)fputc('\n', stderr);
    va_end(arguments);
    exit(EXIT_FAILURE);
}

/* A call that an architecture has not, it has another one for, which is here, too. */
static bool is_there(uint32_t architecture, const struct row *row)
{
    if (row->without && seccomp_syscall_resolve_name_arch(architecture, row->without) >= 0)
        return false;
    return seccomp_syscall_resolve_name_arch(architecture, row->call) >= 0;
}

static void add(scmp_filter_ctx filter, uint32_t architecture, const struct row *row)
{
    int number = seccomp_syscall_resolve_name_arch(architecture, row->call);
    unsigned n = 0;

    if (number == __NR_SCMP_ERROR)
        die("libseccomp does not know %s(2); a newer one does", row->call);
    if (!is_there(architecture, row))
        return;
    while (n < MOST_CONDITIONS && row->conditions[n].op != 0)
        n++;
    int r = seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, number, n, row->conditions);
    if (r < 0)
        die("%s: %s", row->call, strerror(-r));
}

/* A call that is not here raises SIGSYS, which tells its number; one of another architecture, which
 * has other numbers, is the end at once. */
static scmp_filter_ctx make(uint32_t architecture, unsigned needs)
{
    const struct scmp_arg_cmp with_an_address[] = {SCMP_CMP64(2, SCMP_CMP_NE, sizeof(sa_family_t))};
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_TRAP);

    if (!filter || seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS) < 0 ||
        seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2) < 0)
        die("libseccomp 2.5 or later is needed");
    if (architecture != seccomp_arch_native() &&
        (seccomp_arch_add(filter, architecture) < 0 ||
            seccomp_arch_remove(filter, seccomp_arch_native()) < 0))
        die("libseccomp cannot make filters for that architecture");
    for (size_t i = 0; i < LENGTH(rows); i++)
        if (rows[i].needed_by & needs)
            add(filter, architecture, &rows[i]);
    /* What syslog(3) tries when syslogd has gone, and can do without. */
    if (seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(socket), 0) < 0 ||
        seccomp_rule_add_array(
            filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(connect), 1, with_an_address) < 0)
        die("socket, connect: cannot be refused");
    return filter;
}

/* struct sock_filter, seccomp(2) */
struct instruction {
    uint16_t code;
    uint8_t if_true;
    uint8_t if_false;
    uint32_t k;
};

/* In front: a tracer that injects a fault makes the call number -1, which the kernel does not do.
 */
static const struct instruction first[] = {
    {0x20, 0, 0, 0},                    /* load the number, struct seccomp_data */
    {0x15, 0, 1, UINT32_MAX},           /* if it is -1 */
    {0x06, 0, 0, UINT32_C(0x7fff0000)}, /* SECCOMP_RET_ALLOW */
};

#define LOAD     0x20
#define AND      0x54
#define EQUAL    0x15
#define FAR_JUMP 0x05 /* unconditional, and of another form */
#define JUMP     0x05 /* the class of all of them */
#define CLASS    0x07

/* Load, mask with nothing, compare with nothing: what libseccomp makes of the upper half of an int,
 * and always true. Three of ten instructions, and the kernel compiles all of them at each start. */
static bool is_idle(const struct instruction *program, size_t n, size_t i)
{
    return i + 3 < n && program[i].code == LOAD && program[i + 1].code == AND &&
           program[i + 1].k == 0 && program[i + 2].code == EQUAL && program[i + 2].k == 0 &&
           program[i + 2].if_true == 0 && program[i + 3].code == LOAD;
}

/* Where a jump over that many instructions leads when the idle ones between are gone. */
static uint8_t shorten(const bool *idle, size_t from, uint8_t distance)
{
    uint8_t left = 0;

    for (size_t i = from; i < from + distance; i++)
        left += !idle[i];
    return left;
}

static void print_instruction(const struct instruction *one)
{
    (void)printf(
        "    {0x%02x, %u, %u, 0x%08" PRIx32 "},\n", one->code, one->if_true, one->if_false, one->k);
}

static void print_filter(uint32_t architecture, unsigned number)
{
    scmp_filter_ctx filter = make(architecture, filters[number].needs);
    struct instruction program[MOST_INSTRUCTIONS];
    bool idle[MOST_INSTRUCTIONS] = {false};
    FILE *file = tmpfile();

    if (!file || seccomp_export_bpf(filter, fileno(file)) < 0)
        die("%s: the filter cannot be made", filters[number].name);
    rewind(file);
    (void)printf(
        "static const struct instruction filter_%u[] = { /* %s */\n", number, filters[number].name);
    for (size_t i = 0; i < LENGTH(first); i++)
        print_instruction(&first[i]);
    size_t n = fread(program, sizeof(program[0]), MOST_INSTRUCTIONS, file);
    if (n == MOST_INSTRUCTIONS)
        die("%s: the filter is too long", filters[number].name);
    for (size_t i = 0; i < n; i++)
        if (is_idle(program, n, i))
            idle[i] = idle[i + 1] = idle[i + 2] = true;
    for (size_t i = 0; i < n; i++) {
        if (program[i].code == FAR_JUMP)
            die("%s: a jump is too far", filters[number].name);
        if ((program[i].code & CLASS) == JUMP) {
            program[i].if_true = shorten(idle, i + 1, program[i].if_true);
            program[i].if_false = shorten(idle, i + 1, program[i].if_false);
        }
        if (!idle[i])
            print_instruction(&program[i]);
    }
    (void)printf("};\n\n");
    (void)fclose(file);
    seccomp_release(filter);
}

/* By number, one after the other, each with its terminator: what the signal handler looks up. */
static void print_names(uint32_t architecture)
{
    (void)printf("static const char call_names[] =\n");
    for (int i = 0; i < MOST_CALLS; i++) {
        char *name = seccomp_syscall_resolve_num_arch(architecture, i);
        (void)printf("    \"%s\\0\"%s", name ? name : "", i % 4 == 3 ? "\n" : "");
        free(name);
    }
    (void)printf("    ;\n");
}

static void print_c(uint32_t architecture)
{
    (void)printf("/* Made by src/sandbox-filter.c: what it is made of is there. */\n\n");
    for (unsigned i = 0; i < LENGTH(filters); i++)
        print_filter(architecture, i);
    (void)printf("static const struct filter filters[] = {\n");
    for (unsigned i = 0; i < LENGTH(filters); i++)
        (void)printf("    {%u, sizeof(filter_%u) / sizeof(filter_%u[0]), filter_%u},\n",
            filters[i].needs & ~SINGLE, i, i, i);
    (void)printf("};\n\n");
    print_names(architecture);
}

static void print_list(uint32_t architecture, const char *name)
{
    size_t number = 0;

    while (number < LENGTH(filters) && strcmp(filters[number].name, name) != 0)
        number++;
    if (number == LENGTH(filters))
        die("there is no filter '%s'", name);
    for (size_t i = 0; i < LENGTH(rows); i++) {
        bool again = i > 0 && strcmp(rows[i].call, rows[i - 1].call) == 0 &&
                     (rows[i - 1].needed_by & filters[number].needs);
        if (!again && (rows[i].needed_by & filters[number].needs) &&
            is_there(architecture, &rows[i]))
            (void)printf("%s\n", rows[i].call);
    }
}

int main(int argc, char **argv)
{
    const char *verb = argc > 1 ? argv[1] : "";
    uint32_t architecture = argc > 2 ? seccomp_arch_resolve_name(argv[2]) : 0;

    if (strcmp(verb, "filters") == 0)
        for (size_t i = 0; i < LENGTH(filters); i++)
            (void)printf("%s\n", filters[i].name);
    else if (architecture == 0)
        die("usage: sandbox-filter c|list|filters ARCHITECTURE [FILTER]; libseccomp names both");
    else if (strcmp(verb, "list") == 0 && argc > 3)
        print_list(architecture, argv[3]);
    else
        print_c(architecture);
    return fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
