/* SPDX-License-Identifier: MIT */
#include "sandbox.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sysexits.h>
#include <syslog.h>
#include <unistd.h>

/* struct sock_filter and struct sock_fprog, <linux/filter.h>, which musl has not; nor has it the
 * other headers of the kernel's whose names follow. */
struct instruction {
    uint16_t code;
    uint8_t if_true;
    uint8_t if_false;
    uint32_t k;
};

struct program {
    unsigned short n;
    struct instruction *instructions;
};

struct filter {
    unsigned needs; /* SANDBOX_LOOP ... */
    size_t n;
    const struct instruction *instructions;
};

#if WITH_SECCOMP
#include "sandbox-filters.h" /* made by sandbox-filter.c */
#else
static const struct filter filters[] = {{.n = 0}};
static const char call_names[] = "";
#endif

#define MOST_INSTRUCTIONS 512

/* <linux/seccomp.h>. Mitigations against code that is not trusted are not needed, and cost. */
#define SET_MODE_FILTER 1
#define SPEC_ALLOW      (1U << 2)

/* <linux/landlock.h> */
#ifndef SYS_landlock_create_ruleset /* the same on all architectures */
#define SYS_landlock_create_ruleset 444
#define SYS_landlock_add_rule       445
#define SYS_landlock_restrict_self  446
#endif
#define VERSION_ASKED (1U << 0)
#define BENEATH       1
#define READ_FILE     (UINT64_C(1) << 2)
#define SCOPES        UINT64_C(3) /* abstract UNIX sockets, and signals */

/*
 * The rights to files that each version of landlock knows, by their number. Those to TCP ports are
 * left out: where a process has any rule of these, some kernels refuse it to disconnect, too.
 */
static const uint8_t n_rights[] = {0, 13, 14, 15, 15, 16};

struct ruleset {
    uint64_t files;
    uint64_t ports;
    uint64_t scopes; /* from version 6 on */
};

struct rule {
    uint64_t allowed;
    int directory;
} __attribute__((packed));

/* <linux/capability.h> */
#define CAPABILITIES_VERSION UINT32_C(0x20080522)
#define DAC_READ_SEARCH      2

struct capability_header {
    uint32_t version;
    int pid;
};

struct capability_sets {
    uint32_t effective;
    uint32_t permitted;
    uint32_t inheritable;
};

/* The handler has nothing but this to know the process by. */
static struct report *last_words;

/* What could not be given up, for one line on all of it. */
struct failures {
    char text[256];
    size_t length;
};

static void note_failure(struct failures *failures, const char *what, int error)
{
    size_t left = sizeof(failures->text) - failures->length;
    int n = snprintf(failures->text + failures->length, left, "%s%s (%s)",
        failures->length > 0 ? ", " : "", what, strerror(error));

    if (n > 0 && (size_t)n < left)
        failures->length += (size_t)n;
}

static int no_new_privileges(void)
{
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ? -errno : 0;
}

/* Root without them is still the owner of root's files; the rest is for landlock and seccomp. */
static int drop_capabilities(bool opens_files)
{
    struct capability_header header = {.version = CAPABILITIES_VERSION};
    struct capability_sets sets[2];
    uint32_t kept = opens_files ? UINT32_C(1) << DAC_READ_SEARCH : 0;

    if (syscall(SYS_capget, &header, sets) < 0)
        return -errno;
    if ((sets[0].permitted & ~kept) == 0 && sets[1].permitted == 0)
        return 0;
    kept &= sets[0].permitted;
    sets[0] = (struct capability_sets){.effective = kept, .permitted = kept};
    sets[1] = (struct capability_sets){.effective = 0};
    return syscall(SYS_capset, &header, sets) < 0 ? -errno : 0;
}

/*
 * Files and processes can be neither made nor filled. The limit for files would also hold for a log
 * on standard error that is one. Of descriptors poll(2) and accept4(2) need as many as there are.
 */
static int lower_limits(void)
{
    static const int limits[] = {RLIMIT_NPROC, RLIMIT_MSGQUEUE, RLIMIT_MEMLOCK, RLIMIT_FSIZE};
    const struct rlimit none = {0, 0};
    struct stat log;

    for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
        if (limits[i] == RLIMIT_FSIZE && fstat(STDERR_FILENO, &log) == 0 && S_ISREG(log.st_mode))
            continue;
        if (setrlimit(limits[i], &none) < 0)
            return -errno;
    }
    return 0;
}

static int allow_directories(int ruleset, const int *directories, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const struct rule rule = {.allowed = READ_FILE, .directory = directories[i]};
        if (syscall(SYS_landlock_add_rule, ruleset, BENEATH, &rule, 0) < 0)
            return -errno;
    }
    return 0;
}

/* A rule is for a directory and all that will ever be beneath it: one for the file itself would
 * keep allowing the old one after rename(2). */
static int restrict_files(const int *directories, size_t n)
{
    long version = syscall(SYS_landlock_create_ruleset, NULL, 0, VERSION_ASKED);

    if (version < 0)
        return -errno;
    size_t known = (size_t)version < sizeof(n_rights) ? (size_t)version : sizeof(n_rights) - 1;
    const struct ruleset rights = {
        .files = (UINT64_C(1) << n_rights[known]) - 1,
        .scopes = SCOPES,
    };
    size_t size = version >= 6 ? sizeof(rights) : offsetof(struct ruleset, ports);
    int ruleset = (int)syscall(SYS_landlock_create_ruleset, &rights, size, 0);
    if (ruleset < 0)
        return -errno;
    int r = allow_directories(ruleset, directories, n);
    if (r == 0 && syscall(SYS_landlock_restrict_self, ruleset, 0) < 0)
        r = -errno;
    (void)close(ruleset);
    return r;
}

static const char *name_of(int number)
{
    const char *name = call_names;

    if (number < 0)
        return "of an unknown number";
    for (; number > 0 && name < call_names + sizeof(call_names) - 1; number--)
        name += strlen(name) + 1;
    return name < call_names + sizeof(call_names) - 1 && *name ? name : "of an unknown number";
}

/*
 * In the midst of a system call that decant never makes, so that no function which makes others is
 * interrupted, and printing is safe. SIGSYS is blocked meanwhile; the next one, raised by a call
 * that is in no filter, is therefore the end, signal(7).
 */
static void catch_call(int number, siginfo_t *info, void *context)
{
    (void)number;
    (void)context;
    report_caught(last_words, name_of(info->si_syscall));
    (void)syscall(SYS_getppid);
    _exit(EX_OSERR); /* not reached */
}

static const struct filter *find_filter(unsigned needs)
{
    for (size_t i = 0; i < sizeof(filters) / sizeof(filters[0]); i++)
        if (filters[i].needs == needs && filters[i].n > 0 && filters[i].n <= MOST_INSTRUCTIONS)
            return &filters[i];
    return NULL; /* this build has none */
}

static int filter_calls(const struct filter *filter, int supervisor)
{
    struct instruction own[MOST_INSTRUCTIONS];
    struct sigaction action = {.sa_sigaction = catch_call, .sa_flags = SA_SIGINFO};

    if (!filter)
        return -ENOSYS;
    memcpy(own, filter->instructions, filter->n * sizeof(*own));
    for (size_t i = 0; i < filter->n; i++) {
        if (own[i].k == SANDBOX_OWN_PID)
            own[i].k = (uint32_t)getpid();
        if (own[i].k == SANDBOX_SUPERVISOR)
            own[i].k = (uint32_t)supervisor;
    }
    const struct program program = {.n = (unsigned short)filter->n, .instructions = own};
    if (sigaction(SIGSYS, &action, NULL) < 0 ||
        syscall(SYS_seccomp, SET_MODE_FILTER, SPEC_ALLOW, &program) < 0)
        return -errno;
    return 0;
}

static unsigned needs_of(
    const struct handover *handover, const struct sources *sources, bool resident)
{
    const struct served *first = sources->n > 0 ? &sources->served[0] : NULL;
    unsigned needs = SANDBOX_LOOP;

    if (!resident)
        return 0;
    if (handover->notify.fd >= 0 || handover->stored.n > 0)
        needs |= SANDBOX_STORE;
    if (sources->directory >= 0)
        needs |= SANDBOX_DIRECTORY;
    else if (first && first->given < 0 && first->name[0] != '\0')
        needs |= SANDBOX_PATH;
    else
        needs |= SANDBOX_GIVEN;
    return needs;
}

/* The filter last, since the steps before it are in none. */
static void give_up(const struct handover *handover, const struct sources *sources, bool resident,
    struct failures *failures)
{
    int directories[SOURCES_DIRECTORIES];
    size_t n = resident ? sources_directories(sources, directories) : 0;
    unsigned needs = needs_of(handover, sources, resident);

    int r = no_new_privileges();
    if (r < 0)
        note_failure(failures, "no_new_privs", -r);
    r = drop_capabilities(n > 0);
    if (r < 0)
        note_failure(failures, "capabilities", -r);
    r = lower_limits();
    if (r < 0)
        note_failure(failures, "limits", -r);
    r = restrict_files(directories, n);
    if (r < 0)
        note_failure(failures, "landlock", -r);
    while (n > 0)
        (void)close(directories[--n]); /* only names of them */
    r = filter_calls(find_filter(needs), handover->notify.fd);
    if (r < 0)
        note_failure(failures, "seccomp", -r);
}

int sandbox_enter(const struct options *options, const struct handover *handover,
    const struct sources *sources, bool resident, struct report *report, struct problem *problem)
{
    struct failures failures = {.length = 0};
    char text[512];

    if (geteuid() == 0)
        report_note(report, LOG_NOTICE,
            "running as root, which is never needed; name another user in the entry or the unit");
    if (options->sandbox == SANDBOX_OFF)
        return 0;
    last_words = report;
    give_up(handover, sources, resident, &failures);
    if (failures.length == 0)
        return 0;
    if (options->sandbox == SANDBOX_REQUIRE)
        return problem_set(problem, EOPNOTSUPP, EX_OSERR,
            "--sandbox=require: not possible here: %s; --sandbox=try does without", failures.text);
    (void)snprintf(text, sizeof(text), "sandbox: not possible here: %s", failures.text);
    report_note(report, LOG_NOTICE, text);
    return 0;
}
