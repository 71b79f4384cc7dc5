/* SPDX-License-Identifier: MIT */

/*
 * What went wrong in others: a sandbox whose first step was not possible, and which then left out
 * all that follow, and said nothing; one that asked for rights that the kernel did not know yet,
 * and got none; one that dropped root's capabilities and could not open the next file; a limit on
 * files that silenced the log; a filter made for one number, the process that made it, in all that
 * came of it. The kernel is scripted, as strict as Linux; the files are real.
 */

#include "kernel.h"
#include "report.h"
#include "sandbox.h"

#include "sandbox-structs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sysexits.h>
#include <syslog.h>
#include <unistd.h>

static char directory[] = "/tmp/decant-test-sandbox.XXXXXX";

/* ---- a kernel that has all of it, and one process ---- */

#define PID        4711
#define SUPERVISOR 17
#define NOBODY     65534

#define DAC_READ_SEARCH (1u << 2)
#define SYS_ADMIN       (1u << 21)
#define ALL_FILES(n)    ((UINT64_C(1) << (n)) - 1)

struct sets {
    uint32_t effective;
    uint32_t permitted;
    uint32_t inheritable;
};

static struct {
    uid_t user;
    long landlock; /* the version */

    /* What the calls say instead; 0: success. */
    int prctl_error;
    int capget_error;
    int capset_error;
    int limit_errors[RLIM_NLIMITS];
    int version_error;
    int create_error;
    int rule_error;
    int rule_fails; /* the so-manieth; 0: each */
    int restrict_error;
    int sigaction_error;
    int seccomp_error;

    /* How things stand. */
    bool no_new_privs;
    struct sets sets[2];
    bool lowered[RLIM_NLIMITS];
    int ruleset; /* -1: none */
    uint64_t files;
    uint64_t scopes;
    int n_rules;
    struct stat rules[4]; /* directories */
    bool restricted;
    struct sigaction action;
    bool handled;
    struct instruction filter[4096];
    size_t n_instructions; /* 0: none */

    char calls[64]; /* one letter each, in order */
    struct {
        int level;
        char text[1024];
    } lines[4];
    size_t n_lines;
    jmp_buf killed;
    bool survives;     /* the last call of the handler returns all the same */
    const char *words; /* of any error; NULL: the usual ones */
} world;

char *__real_strerror(int error);
char *__wrap_strerror(int error);
char *__wrap_strerror(int error)
{
    return world.words ? (char *)world.words : __real_strerror(error);
}

static int give(int error)
{
    errno = error;
    return error ? -1 : 0;
}

/* Once a filter is there, none of these calls is in it. */
static void note(char letter)
{
    size_t n = strlen(world.calls);

    assert_true(n + 1 < sizeof(world.calls));
    assert_int_equal(world.n_instructions, 0);
    world.calls[n] = letter;
}

static bool may_restrict(void)
{
    return world.no_new_privs || (world.sets[0].effective & SYS_ADMIN);
}

void __wrap_openlog(const char *name, int options, int facility);
void __wrap_openlog(const char *name, int options, int facility)
{
    (void)name;
    (void)options;
    (void)facility;
}

void __wrap_syslog(int level, const char *format, ...);
void __wrap_syslog(int level, const char *format, ...)
{
    va_list arguments;

    assert_true(world.n_lines < LENGTH(world.lines));
    va_start(arguments, format);
    (void)vsnprintf(
        world.lines[world.n_lines].text, sizeof(world.lines[0].text), format, arguments);
    va_end(arguments);
    world.lines[world.n_lines++].level = level;
}

uid_t __wrap_geteuid(void);
uid_t __wrap_geteuid(void)
{
    return world.user;
}

pid_t __wrap_getpid(void);
pid_t __wrap_getpid(void)
{
    return PID;
}

int __wrap_prctl(
    int option, unsigned long two, unsigned long three, unsigned long four, unsigned long five);
int __wrap_prctl(
    int option, unsigned long two, unsigned long three, unsigned long four, unsigned long five)
{
    note('n');
    assert_int_equal(option, PR_SET_NO_NEW_PRIVS);
    assert_int_equal(two, 1);
    assert_int_equal(three | four | five, 0); /* else EINVAL */
    if (!world.prctl_error)
        world.no_new_privs = true;
    return give(world.prctl_error);
}

int __wrap_setrlimit64(int resource, const struct rlimit *limit);
int __wrap_setrlimit64(int resource, const struct rlimit *limit)
{
    assert_in_range(resource, 0, RLIM_NLIMITS - 1);
    note(resource == RLIMIT_NPROC      ? 'p'
         : resource == RLIMIT_MSGQUEUE ? 'q'
         : resource == RLIMIT_MEMLOCK  ? 'm'
         : resource == RLIMIT_FSIZE    ? 'f'
                                       : '?');
    assert_int_equal(limit->rlim_cur, 0);
    assert_int_equal(limit->rlim_max, 0); /* or whoever takes the process over raises it again */
    if (!world.limit_errors[resource])
        world.lowered[resource] = true;
    return give(world.limit_errors[resource]);
}

int __wrap_sigaction(int number, const struct sigaction *action, struct sigaction *before);
int __wrap_sigaction(int number, const struct sigaction *action, struct sigaction *before)
{
    note('h');
    assert_int_equal(number, SIGSYS);
    assert_null(before);
    if (!world.sigaction_error) {
        world.action = *action;
        world.handled = true;
    }
    return give(world.sigaction_error);
}

static int get_capabilities(const uint32_t *header, struct sets *sets)
{
    note('g');
    assert_int_equal(header[0], 0x20080522); /* two sets; an older version has one */
    assert_int_equal(header[1], 0);
    if (!world.capget_error)
        memcpy(sets, world.sets, sizeof(world.sets));
    return give(world.capget_error);
}

static int set_capabilities(const uint32_t *header, const struct sets *sets)
{
    note('G');
    assert_int_equal(header[0], 0x20080522);
    assert_int_equal(header[1], 0);
    if (world.capset_error)
        return give(world.capset_error);
    for (int i = 0; i < 2; i++) {
        const struct sets *before = &world.sets[i];
        if ((sets[i].permitted & ~before->permitted) || (sets[i].effective & ~sets[i].permitted) ||
            (sets[i].inheritable & ~(before->inheritable | before->permitted)))
            return give(EPERM);
    }
    memcpy(world.sets, sets, sizeof(world.sets));
    return 0;
}

/* The rights to files that a version knows, <linux/landlock.h>. */
static int rights_of(long version)
{
    return version == 1 ? 13 : version == 2 ? 14 : version <= 4 ? 15 : 16;
}

/* struct landlock_ruleset_attr: files, TCP ports, scopes; each version knows so much of it. */
static int create_ruleset(const uint64_t *rights, size_t size, unsigned flags)
{
    size_t known = world.landlock < 4 ? 8 : world.landlock < 6 ? 16 : 24;

    if (flags == 1) {
        note('v');
        assert_null(rights);
        assert_int_equal(size, 0);
        return world.version_error ? give(world.version_error) : (int)world.landlock;
    }
    note('c');
    assert_int_equal(flags, 0);
    if (world.create_error)
        return give(world.create_error);
    assert_true(size >= 8 && size % 8 == 0 && size <= 24);
    for (size_t i = known / 8; i < size / 8; i++)
        if (rights[i] != 0)
            return give(E2BIG);
    if ((rights[0] & ~ALL_FILES(rights_of(world.landlock))) ||
        (size > 8 && known > 8 && (rights[1] & ~ALL_FILES(2))) ||
        (size > 16 && known > 16 && (rights[2] & ~ALL_FILES(2))))
        return give(EINVAL);
    assert_true(rights[0] != 0);
    world.files = rights[0];
    world.scopes = size > 16 ? rights[2] : 0;
    /* Where there is any rule of these, connect(2) with AF_UNSPEC is refused, too. */
    assert_true(size <= 8 || rights[1] == 0);
    world.ruleset = open("/dev/null", O_RDONLY | O_CLOEXEC);
    assert_true(world.ruleset >= 0);
    return world.ruleset;
}

static int add_rule(int ruleset, int type, const void *rule, unsigned flags)
{
    uint64_t allowed;
    int fd;

    note('r');
    assert_int_equal(ruleset, world.ruleset);
    assert_int_equal(type, 1); /* LANDLOCK_RULE_PATH_BENEATH */
    assert_int_equal(flags, 0);
    memcpy(&allowed, rule, sizeof(allowed));
    memcpy(&fd, (const char *)rule + sizeof(allowed), sizeof(fd)); /* it is packed */
    if (world.rule_error && (world.rule_fails == 0 || --world.rule_fails == 0))
        return give(world.rule_error);
    assert_true(allowed == 1 << 2); /* LANDLOCK_ACCESS_FS_READ_FILE */
    assert_int_equal(fcntl(fd, F_GETFL) & O_PATH, O_PATH);
    assert_true(world.n_rules < (int)LENGTH(world.rules));
    assert_int_equal(fstat(fd, &world.rules[world.n_rules++]), 0);
    return 0;
}

static int restrict_self(int ruleset, unsigned flags)
{
    note('s');
    assert_int_equal(ruleset, world.ruleset);
    assert_int_equal(flags, 0);
    if (world.restrict_error)
        return give(world.restrict_error);
    if (!may_restrict())
        return give(EPERM);
    world.restricted = true;
    return 0;
}

static int install_filter(unsigned mode, unsigned flags, const void *given)
{
    struct {
        unsigned short n;
        const struct instruction *instructions;
    } program; /* struct sock_fprog */

    note('x');
    assert_int_equal(mode, 1);  /* SECCOMP_SET_MODE_FILTER */
    assert_int_equal(flags, 4); /* SECCOMP_FILTER_FLAG_SPEC_ALLOW */
    assert_true(world.handled || world.sigaction_error);
    if (world.seccomp_error)
        return give(world.seccomp_error);
    if (!may_restrict())
        return give(EACCES);
    memcpy(&program, given, sizeof(program));
    assert_true(program.n > 0 && program.n <= LENGTH(world.filter)); /* BPF_MAXINSNS */
    memcpy(world.filter, program.instructions, program.n * sizeof(world.filter[0]));
    world.n_instructions = program.n;
    return 0;
}

long __wrap_syscall(long number, ...);
long __wrap_syscall(long number, ...)
{
    va_list arguments;
    long a[4];

    va_start(arguments, number);
    for (size_t i = 0; i < LENGTH(a); i++)
        a[i] = va_arg(arguments, long);
    va_end(arguments);
    switch (number) {
    case SYS_capget:
        return get_capabilities((void *)a[0], (void *)a[1]);
    case SYS_capset:
        return set_capabilities((void *)a[0], (void *)a[1]);
    case SYS_landlock_create_ruleset:
        return create_ruleset((void *)a[0], (size_t)a[1], (unsigned)a[2]);
    case SYS_landlock_add_rule:
        return add_rule((int)a[0], (int)a[1], (void *)a[2], (unsigned)a[3]);
    case SYS_landlock_restrict_self:
        return restrict_self((int)a[0], (unsigned)a[1]);
    case SYS_seccomp:
        return install_filter((unsigned)a[0], (unsigned)a[1], (void *)a[2]);
    case SYS_getppid: /* in no filter, in the handler of SIGSYS, which is blocked: death */
        if (!world.survives)
            longjmp(world.killed, SIGSYS);
        return 1;
    default:
        fail_msg("system call %ld", number);
        return -1;
    }
}

void __wrap__exit(int status) __attribute__((noreturn));
void __wrap__exit(int status)
{
    longjmp(world.killed, 1000 + status);
}

/* ---- who enters it ---- */

enum file { BY_PATH, BY_LINK, DANGLING, NO_NAME, GIVEN, A_DIRECTORY, NOTHING };

struct entrant {
    struct options options;
    struct handover handover;
    struct served served;
    struct sources sources;
    struct report report;
    struct problem problem;
};

static void prepare(struct entrant *e, enum file file, bool with_supervisor)
{
    static const char *const names[] = {
        [BY_PATH] = "file", [BY_LINK] = "link", [DANGLING] = "dangling", [NO_NAME] = ""};

    memset(&world, 0, sizeof(world));
    world.user = NOBODY;
    world.landlock = 6;
    world.ruleset = -1;
    memset(e, 0, sizeof(*e));
    e->options.sandbox = SANDBOX_TRY;
    e->handover.notify.fd = with_supervisor ? SUPERVISOR : -1;
    e->served = (struct served){
        .name = file <= NO_NAME ? names[file] : "",
        .directory = -1,
        .given = file == GIVEN ? STDIN_FILENO : -1,
    };
    e->sources =
        (struct sources){.served = &e->served, .n = file == NOTHING ? 0 : 1, .directory = -1};
    if (file == A_DIRECTORY) {
        e->sources.directory = open("sub", O_PATH | O_DIRECTORY | O_CLOEXEC);
        assert_true(e->sources.directory >= 0);
        e->served.directory = e->sources.directory;
        e->served.name = "target";
    }
    if (file == NOTHING)
        e->sources.served = NULL;
    report_open(&e->report, CHANNEL_SYSLOG, LOG_DEBUG);
}

static void become_root(void)
{
    world.user = 0;
    world.sets[0] = (struct sets){.effective = UINT32_MAX, .permitted = UINT32_MAX};
    world.sets[1] = (struct sets){.effective = 0x1ff, .permitted = 0x1ff};
}

static int count_descriptors(void)
{
    DIR *all = opendir("/proc/self/fd");
    int n = 0;

    assert_non_null(all);
    while (readdir(all))
        n++;
    assert_int_equal(closedir(all), 0);
    return n;
}

/* Standard error is whatever the test has; for all tests but those on it, it is no file. */
static int enter_with(struct entrant *e, bool resident, int standard_error)
{
    int saved = dup(STDERR_FILENO);

    assert_true(saved > STDERR_FILENO);
    if (standard_error < 0)
        assert_int_equal(close(STDERR_FILENO), 0);
    else
        assert_int_equal(dup2(standard_error, STDERR_FILENO), STDERR_FILENO);
    int before = count_descriptors();
    int r =
        sandbox_enter(&e->options, &e->handover, &e->sources, resident, &e->report, &e->problem);
    int after = count_descriptors();
    assert_int_equal(dup2(saved, STDERR_FILENO), STDERR_FILENO);
    assert_int_equal(close(saved), 0);
    assert_int_equal(after, before); /* neither a directory nor a ruleset is left open */
    if (e->sources.directory >= 0)   /* nor is what the process opens files in closed */
        assert_int_equal(fcntl(e->sources.directory, F_GETFL) & O_PATH, O_PATH);
    return r;
}

static int enter(struct entrant *e, bool resident)
{
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

    assert_true(null >= 0);
    int r = enter_with(e, resident, null);
    assert_int_equal(close(null), 0);
    return r;
}

static void leave(struct entrant *e)
{
    if (e->sources.directory >= 0)
        assert_int_equal(close(e->sources.directory), 0);
}

/* What has been given up: n privileges, c capabilities, l limits, L landlock, s system calls. */
static void check_given_up(const char *what)
{
    char is[8] = "";
    size_t n = 0;

    if (world.no_new_privs)
        is[n++] = 'n';
    if ((world.sets[0].permitted | world.sets[0].effective | world.sets[1].permitted |
            world.sets[1].effective) == 0)
        is[n++] = 'c';
    if (world.lowered[RLIMIT_NPROC] && world.lowered[RLIMIT_MSGQUEUE] &&
        world.lowered[RLIMIT_MEMLOCK] && world.lowered[RLIMIT_FSIZE])
        is[n++] = 'l';
    if (world.restricted)
        is[n++] = 'L';
    if (world.n_instructions > 0 && world.handled)
        is[n++] = 's';
    assert_string_equal(is, what);
}

/* ---- all of it, and in which order ---- */

#define LOOP  SANDBOX_LOOP
#define STORE SANDBOX_STORE

struct variant {
    const char *name;
    bool resident;
    enum file file;
    bool with_supervisor;
    unsigned needs; /* that the filter is for */
    int n_rules;
    const char *rules[2]; /* directories */
};

static const struct variant variants[] = {
    {"one client, a path", false, BY_PATH, false, 0, 0, {NULL}},
    {"one client, a handed-over file", false, GIVEN, false, 0, 0, {NULL}},
    {"one client, a directory", false, A_DIRECTORY, false, 0, 0, {NULL}},
    {"one client, and a supervisor", false, BY_PATH, true, 0, 0, {NULL}},
    {"one client, a directory, and a supervisor", false, A_DIRECTORY, true, 0, 0, {NULL}},
    {"resident, a path", true, BY_PATH, false, LOOP | SANDBOX_PATH, 2, {".", "."}},
    {"resident, a link", true, BY_LINK, false, LOOP | SANDBOX_PATH, 2, {".", "sub"}},
    {"resident, a dangling link", true, DANGLING, false, LOOP | SANDBOX_PATH, 1, {"."}},
    {"resident, a handed-over file", true, GIVEN, false, LOOP | SANDBOX_GIVEN, 0, {NULL}},
    {"resident, a directory", true, A_DIRECTORY, false, LOOP | SANDBOX_DIRECTORY, 1, {"sub"}},
    {"resident, nothing but what is stored", true, NOTHING, false, LOOP | SANDBOX_GIVEN, 0, {NULL}},
    {"resident, FILE was left out", true, NO_NAME, false, LOOP | SANDBOX_GIVEN, 0, {NULL}},
    {"store, FILE was left out", true, NO_NAME, true, LOOP | STORE | SANDBOX_GIVEN, 0, {NULL}},
    {"store, a path", true, BY_PATH, true, LOOP | STORE | SANDBOX_PATH, 2, {".", "."}},
    {"store, a link", true, BY_LINK, true, LOOP | STORE | SANDBOX_PATH, 2, {".", "sub"}},
    {"store, a handed-over file", true, GIVEN, true, LOOP | STORE | SANDBOX_GIVEN, 0, {NULL}},
    {"store, a directory", true, A_DIRECTORY, true, LOOP | STORE | SANDBOX_DIRECTORY, 1, {"sub"}},
    {"store, nothing but what is stored", true, NOTHING, true, LOOP | STORE | SANDBOX_GIVEN, 0,
        {NULL}},
};

static const struct filter *filter_for(unsigned needs)
{
    const struct filter *found = NULL;

    for (size_t i = 0; i < LENGTH(filters); i++)
        if (filters[i].needs == needs) {
            assert_null(found); /* one of each */
            found = &filters[i];
        }
    assert_non_null(found);
    return found;
}

/* It is that filter, with the two numbers in the place of what stands for them. */
static void check_filter(unsigned needs, uint32_t supervisor)
{
    const struct filter *made = filter_for(needs);

    assert_int_equal(world.n_instructions, made->n);
    for (size_t i = 0; i < made->n; i++) {
        struct instruction should = made->instructions[i];
        const struct instruction *is = &world.filter[i];
        if (should.k == SANDBOX_OWN_PID)
            should.k = PID;
        else if (should.k == SANDBOX_SUPERVISOR)
            should.k = supervisor;
        if (memcmp(is, &should, sizeof(should)) != 0)
            fail_msg("instruction %zu is {%#x, %u, %u, %#x}, not {%#x, %u, %u, %#x}", i, is->code,
                is->if_true, is->if_false, is->k, should.code, should.if_true, should.if_false,
                should.k);
        assert_true(is->k >> 4 != SANDBOX_OWN_PID >> 4);
    }
}

static void check_rules(const struct variant *c)
{
    assert_int_equal(world.n_rules, c->n_rules);
    for (int i = 0; i < c->n_rules; i++) {
        struct stat should;
        assert_int_equal(stat(c->rules[i], &should), 0);
        assert_true(world.rules[i].st_dev == should.st_dev);
        assert_true(world.rules[i].st_ino == should.st_ino);
    }
}

static void test_variant(void **state)
{
    const struct variant *c = *state;

    for (int root = 0; root < 2; root++)
        for (int require = 0; require < 2; require++) {
            struct entrant e;
            char calls[20];
            prepare(&e, c->file, c->with_supervisor);
            e.options.sandbox = require ? SANDBOX_REQUIRE : SANDBOX_TRY;
            if (root)
                become_root();
            assert_int_equal(enter(&e, c->resident), 0);
            check_rules(c);
            check_filter(c->needs, SUPERVISOR);
            (void)snprintf(calls, sizeof(calls), "ng%spqmfvc%.*sshx", root ? "G" : "", c->n_rules,
                "rr"); /* the filter last */
            assert_string_equal(world.calls, calls);
            check_given_up(root && c->n_rules > 0 ? "nlLs" : "nclLs");
            assert_int_equal(e.problem.status, 0);
            assert_int_equal(world.n_lines, root); /* nothing is worth a word but that */
            leave(&e);
        }
}

/* Whatever the supervisor's descriptor is, and whoever the process is, it stands in the filter as
 * often as what stood for it. */
static void test_numbers(void **state)
{
    static const int fds[] = {3, 4, 255, 65536, 1048575};

    (void)state;
    for (size_t i = 0; i < LENGTH(fds); i++) {
        struct entrant e;
        prepare(&e, BY_PATH, true);
        e.handover.notify.fd = fds[i];
        assert_int_equal(enter(&e, true), 0);
        check_filter(LOOP | STORE | SANDBOX_PATH, (uint32_t)fds[i]);
        leave(&e);
    }
}

/* They stand where they are compared with an argument, and only in filters that need them. */
static void test_stand_ins(void **state)
{
    (void)state;
    for (size_t i = 0; i < LENGTH(filters); i++) {
        int pids = 0;
        int supervisors = 0;
        for (size_t j = 0; j < filters[i].n; j++) {
            const struct instruction *one = &filters[i].instructions[j];
            if (one->k >> 4 != SANDBOX_OWN_PID >> 4)
                continue;
            pids += one->k == SANDBOX_OWN_PID;
            supervisors += one->k == SANDBOX_SUPERVISOR;
            assert_true(one->k == SANDBOX_OWN_PID || one->k == SANDBOX_SUPERVISOR);
            assert_int_equal(one->code, 0x15); /* is it equal? */
        }
        assert_int_equal(pids, filters[i].needs & STORE ? 2 : 0);        /* tgkill, tkill */
        assert_int_equal(supervisors, filters[i].needs & STORE ? 1 : 0); /* sendmsg */
    }
}

/* Each can be told from each, and none is longer than there is room for. */
static void test_filters(void **state)
{
    (void)state;
    assert_int_equal(LENGTH(filters), 7);
    for (size_t i = 0; i < LENGTH(filters); i++) {
        assert_ptr_equal(filter_for(filters[i].needs), &filters[i]);
        assert_true(filters[i].n > 0 && filters[i].n <= 512);
    }
}

/* ---- what is not possible ---- */

struct failure {
    const char *name;
    int *error; /* of world */
    int errors[5];
    const char *step;
    const char *also;  /* what is not possible then, either */
    const char *given; /* what was given up all the same, by a user */
    bool root;         /* only root makes that call */
    bool rules;        /* only where there are rules */
};

static const struct failure failures[] = {
    {"no_new_privs", &world.prctl_error, {EINVAL, ENOSYS, EPERM}, "no_new_privs",
        ", landlock (Operation not permitted), seccomp (Permission denied)", "cl", false, false},
    {"capget", &world.capget_error, {EPERM, ENOSYS, EINVAL}, "capabilities", "", "nclLs", false,
        false},
    {"capset", &world.capset_error, {EPERM, ENOSYS, EINVAL}, "capabilities", "", "nlLs", true,
        false},
    {"limit of processes", &world.limit_errors[RLIMIT_NPROC], {EPERM, EINVAL, ENOSYS}, "limits", "",
        "ncLs", false, false},
    {"limit of message queues", &world.limit_errors[RLIMIT_MSGQUEUE], {EPERM, EINVAL, ENOSYS},
        "limits", "", "ncLs", false, false},
    {"limit of locked memory", &world.limit_errors[RLIMIT_MEMLOCK], {EPERM, EINVAL, ENOSYS},
        "limits", "", "ncLs", false, false},
    {"limit of files", &world.limit_errors[RLIMIT_FSIZE], {EPERM, EINVAL, ENOSYS}, "limits", "",
        "ncLs", false, false},
    {"landlock, not there", &world.version_error, {ENOSYS, EOPNOTSUPP, EPERM}, "landlock", "",
        "ncls", false, false},
    {"landlock_create_ruleset", &world.create_error, {EMFILE, ENFILE, ENOMEM, E2BIG, EINVAL},
        "landlock", "", "ncls", false, false},
    {"landlock_add_rule", &world.rule_error, {ENOMEM, EBADFD, EINVAL, EPERM}, "landlock", "",
        "ncls", false, true},
    {"landlock_restrict_self", &world.restrict_error, {EPERM, E2BIG, ENOMEM}, "landlock", "",
        "ncls", false, false},
    {"sigaction", &world.sigaction_error, {EINVAL}, "seccomp", "", "nclL", false, false},
    {"seccomp", &world.seccomp_error, {ENOSYS, EINVAL, EACCES, ENOMEM, EPERM}, "seccomp", "",
        "nclL", false, false},
};

#define RUNS_AS_ROOT "running as root"

static void check_told(const struct entrant *e, int r, const char *what)
{
    char text[1024];

    if (e->options.sandbox == SANDBOX_REQUIRE) {
        assert_int_equal(r, -EOPNOTSUPP);
        assert_int_equal(e->problem.status, EX_OSERR);
        (void)snprintf(text, sizeof(text),
            "--sandbox=require: not possible here: %s; --sandbox=try does without", what);
        assert_string_equal(e->problem.text, text);
    } else {
        assert_int_equal(r, 0);
        assert_int_equal(e->problem.status, 0);
        assert_int_equal(e->problem.text[0], 0);
    }
    size_t n = 0;
    if (world.user == 0) {
        assert_int_equal(world.lines[0].level, LOG_NOTICE);
        assert_int_equal(strncmp(world.lines[0].text, RUNS_AS_ROOT, strlen(RUNS_AS_ROOT)), 0);
        n++;
    }
    if (e->options.sandbox == SANDBOX_TRY) {
        (void)snprintf(text, sizeof(text), "sandbox: not possible here: %s", what);
        assert_int_equal(world.lines[n].level, LOG_NOTICE);
        assert_string_equal(world.lines[n].text, text);
        n++;
    }
    assert_int_equal(world.n_lines, n); /* one for all of it; and what is a problem is told later */
    assert_int_equal(e->report.status, 0);
}

static void check_failure(
    const struct failure *c, int error, const struct variant *variant, bool require)
{
    struct entrant e;
    char what[256];

    prepare(&e, variant->file, variant->with_supervisor);
    e.options.sandbox = require ? SANDBOX_REQUIRE : SANDBOX_TRY;
    if (c->root)
        become_root();
    *c->error = error;
    int r = enter(&e, variant->resident);
    (void)snprintf(what, sizeof(what), "%s (%s)%s", c->step, strerror(error), c->also);
    check_told(&e, r, what);
    check_given_up(c->given);
    leave(&e);
}

/* One that cannot be done does not keep the others from being done. */
static void test_failure(void **state)
{
    const struct failure *c = *state;

    for (size_t i = 0; i < LENGTH(variants); i++)
        for (size_t j = 0; j < LENGTH(c->errors) && c->errors[j]; j++)
            if (variants[i].n_rules > 0 || !c->rules) {
                check_failure(c, c->errors[j], &variants[i], false);
                check_failure(c, c->errors[j], &variants[i], true);
            }
}

/* Nothing at all is possible, such as in a container: still one line, which names each step. */
static void test_nothing_possible(void **state)
{
    (void)state;
    for (int require = 0; require < 2; require++) {
        struct entrant e;
        prepare(&e, BY_PATH, true);
        become_root();
        e.options.sandbox = require ? SANDBOX_REQUIRE : SANDBOX_TRY;
        world.prctl_error = EINVAL;
        world.capset_error = EPERM;
        world.limit_errors[RLIMIT_NPROC] = EPERM;
        world.version_error = EOPNOTSUPP;
        world.seccomp_error = ENOSYS;
        int r = enter(&e, true);
        check_told(&e, r,
            "no_new_privs (Invalid argument), capabilities (Operation not permitted), limits "
            "(Operation not permitted), landlock (Operation not supported), seccomp (Function not "
            "implemented)");
        check_given_up("");
        leave(&e);
    }
}

/* Words of any length, as in another C library: a cut text still ends, and is told. */
static void test_long_words(void **state)
{
    static char words[240]; /* one step always fits */

    (void)state;
    for (size_t length = 0; length < sizeof(words); length++)
        for (int require = 0; require < 2; require++) {
            struct entrant e;
            prepare(&e, BY_PATH, true);
            become_root();
            e.options.sandbox = require ? SANDBOX_REQUIRE : SANDBOX_TRY;
            world.prctl_error = world.capset_error = world.version_error = EPERM;
            world.limit_errors[RLIMIT_NPROC] = world.seccomp_error = EPERM;
            memset(words, 'w', length);
            words[length] = '\0';
            world.words = words;
            assert_int_equal(enter(&e, true), require ? -EOPNOTSUPP : 0);
            world.words = NULL;
            const char *text = require ? e.problem.text : world.lines[1].text;
            const char *what = strstr(text, "not possible here: no_new_privs (");
            assert_non_null(what);
            size_t n = strlen(what) - (require ? strlen("; --sandbox=try does without") : 0);
            assert_true(n < strlen("not possible here: ") + 256);
            if (require)
                assert_string_equal(what + n, "; --sandbox=try does without");
            if (length <= 36) { /* whole */
                assert_int_equal(what[n - 1], ')');
                assert_non_null(strstr(what, ", limits ("));
                assert_non_null(strstr(what, ", seccomp ("));
            }
            assert_int_equal(strspn(strchr(what, '(') + 1, "w"), length);
            leave(&e);
        }
}

/* The second directory cannot be allowed: then nothing is settled, rather than half of it. */
static void test_second_rule(void **state)
{
    struct entrant e;

    (void)state;
    prepare(&e, BY_LINK, false);
    world.rule_error = ENOMEM;
    world.rule_fails = 2;
    int r = enter(&e, true);
    check_told(&e, r, "landlock (Cannot allocate memory)");
    assert_int_equal(world.n_rules, 1);
    check_given_up("ncls");
    assert_string_equal(world.calls, "ngpqmfvcrrhx");
    leave(&e);
}

/* Who does not want it gets none of it, and not a word but that it is root. */
static void test_off(void **state)
{
    (void)state;
    for (size_t i = 0; i < LENGTH(variants); i++)
        for (int root = 0; root < 2; root++) {
            struct entrant e;
            prepare(&e, variants[i].file, variants[i].with_supervisor);
            if (root)
                become_root();
            e.options.sandbox = SANDBOX_OFF;
            world.seccomp_error = ENOSYS; /* nobody is to find that out */
            assert_int_equal(enter(&e, variants[i].resident), 0);
            assert_string_equal(world.calls, "");
            assert_int_equal(world.n_lines, root);
            if (root) {
                assert_int_equal(world.lines[0].level, LOG_NOTICE);
                assert_non_null(strstr(world.lines[0].text, RUNS_AS_ROOT));
                assert_non_null(strstr(world.lines[0].text, "name another user"));
            }
            assert_int_equal(e.problem.status, 0);
            leave(&e);
        }
}

/* ---- capabilities ---- */

#define FULL                                                                                       \
    {                                                                                              \
        {UINT32_MAX, UINT32_MAX, 0},                                                               \
        {                                                                                          \
            0x1ff, 0x1ff, 0                                                                        \
        }                                                                                          \
    }
#define NO_MORE                                                                                    \
    {                                                                                              \
        {0, 0, 0},                                                                                 \
        {                                                                                          \
            0, 0, 0                                                                                \
        }                                                                                          \
    }
#define READS                                                                                      \
    {                                                                                              \
        {DAC_READ_SEARCH, DAC_READ_SEARCH, 0},                                                     \
        {                                                                                          \
            0, 0, 0                                                                                \
        }                                                                                          \
    }

struct capability {
    const char *name;
    bool resident;
    enum file file;
    struct sets before[2];
    struct sets after[2];
    bool set; /* capset(2) is called */
};

static const struct capability capabilities[] = {
    {"a user has none, one client", false, BY_PATH, NO_MORE, NO_MORE, false},
    {"a user has none, resident", true, BY_PATH, NO_MORE, NO_MORE, false},
    {"all, one client", false, BY_PATH, FULL, NO_MORE, true},
    {"all, one client, a directory", false, A_DIRECTORY, FULL, NO_MORE, true},
    {"all, resident, a path", true, BY_PATH, FULL, READS, true},
    {"all, resident, a dangling link", true, DANGLING, FULL, READS, true},
    {"all, resident, a directory", true, A_DIRECTORY, FULL, READS, true},
    {"all, resident, a handed-over file", true, GIVEN, FULL, NO_MORE, true},
    {"all, resident, nothing but what is stored", true, NOTHING, FULL, NO_MORE, true},
    {"only to read, one client", false, BY_PATH, READS, NO_MORE, true},
    {"only to read, resident, a path", true, BY_PATH, READS, READS, false},
    {"only to read, resident, a handed-over file", true, GIVEN, READS, NO_MORE, true},
    {"all but to read", true, BY_PATH, {{~DAC_READ_SEARCH, ~DAC_READ_SEARCH, 0}, {0, 0, 0}},
        NO_MORE, true},
    {"of the second half only", true, BY_PATH, {{0, 0, 0}, {4, 4, 0}}, NO_MORE, true},
    {"of the second half, and to read", true, BY_PATH,
        {{DAC_READ_SEARCH, DAC_READ_SEARCH, 0}, {4, 4, 0}}, READS, true},
    {"permitted, not effective", false, BY_PATH, {{0, SYS_ADMIN, 0}, {0, 0, 0}}, NO_MORE, true},
    {"to read permitted, not effective", true, BY_PATH,
        {{SYS_ADMIN, SYS_ADMIN | DAC_READ_SEARCH, 0}, {0, 0, 0}}, READS, true},
    {"inheritable as well", true, BY_PATH, {{SYS_ADMIN, SYS_ADMIN, SYS_ADMIN}, {1, 1, 1}}, NO_MORE,
        true},
};

static void test_capability(void **state)
{
    const struct capability *c = *state;

    for (int root = 0; root < 2; root++) {
        struct entrant e;
        prepare(&e, c->file, true);
        world.user = root ? 0 : NOBODY;
        memcpy(world.sets, c->before, sizeof(world.sets));
        assert_int_equal(enter(&e, c->resident), 0);
        assert_memory_equal(world.sets, c->after, sizeof(world.sets));
        assert_int_equal(strchr(world.calls, 'G') != NULL, c->set);
        assert_int_equal(world.n_lines, root); /* not a word of a failure */
        leave(&e);
    }
}

/* ---- limits ---- */

static void test_log(void **state)
{
    int ends[2];
    int pair[2];
    struct {
        int fd;
        bool is_file;
    } logs[] = {
        {open("log", O_RDWR | O_CREAT | O_CLOEXEC, 0600), true},
        {open("log", O_WRONLY | O_APPEND | O_CLOEXEC), true},
        {open("/dev/null", O_WRONLY | O_CLOEXEC), false}, {open("fifo", O_RDWR | O_CLOEXEC), false},
        {pipe(ends) == 0 ? ends[1] : -1, false},
        {socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0 ? pair[0] : -1, false},
        {-1, false}, /* it is closed */
    };

    (void)state;
    for (size_t i = 0; i < LENGTH(logs); i++)
        for (int resident = 0; resident < 2; resident++) {
            struct entrant e;
            if (i + 1 < LENGTH(logs))
                assert_true(logs[i].fd >= 0);
            prepare(&e, BY_PATH, false);
            assert_int_equal(enter_with(&e, resident, logs[i].fd), 0);
            assert_int_equal(world.lowered[RLIMIT_FSIZE], !logs[i].is_file);
            assert_true(world.lowered[RLIMIT_NPROC]);
            assert_true(world.lowered[RLIMIT_MSGQUEUE]);
            assert_true(world.lowered[RLIMIT_MEMLOCK]);
            assert_int_equal(world.n_lines, 0);
            for (int j = 0; j < RLIM_NLIMITS; j++) /* of all others it needs what it has */
                if (j != RLIMIT_FSIZE && j != RLIMIT_NPROC && j != RLIMIT_MSGQUEUE)
                    assert_int_equal(world.lowered[j], j == RLIMIT_MEMLOCK);
            leave(&e);
        }
    for (size_t i = 0; i + 1 < LENGTH(logs); i++)
        assert_int_equal(close(logs[i].fd), 0);
    assert_int_equal(close(ends[0]) + close(pair[1]), 0);
}

/* ---- landlock ---- */

struct version {
    long version;
    uint64_t files;
    uint64_t scopes;
};

static const struct version versions[] = {
    {1, 0x1fff, 0}, {2, 0x3fff, 0},  /* to link and to rename */
    {3, 0x7fff, 0},                  /* to truncate */
    {4, 0x7fff, 0},                  /* TCP ports: left out */
    {5, 0xffff, 0},                  /* ioctl(2) of devices */
    {6, 0xffff, 3},                  /* scopes */
    {7, 0xffff, 3}, {99, 0xffff, 3}, /* as far as we know it */
};

static void test_version(void **state)
{
    const struct version *c = *state;

    for (size_t i = 0; i < LENGTH(variants); i++) {
        struct entrant e;
        prepare(&e, variants[i].file, variants[i].with_supervisor);
        world.landlock = c->version;
        assert_int_equal(enter(&e, variants[i].resident), 0);
        if (world.n_lines > 0)
            fail_msg("%s", world.lines[0].text);
        assert_true(world.restricted);
        assert_true(world.files == c->files);
        assert_true(world.scopes == c->scopes);
        check_rules(&variants[i]);
        leave(&e);
    }
}

/* ---- last words ---- */

struct catch
{
    const char *name; /* what is said of it */
    int number;
};

#define UNKNOWN "of an unknown number"

static const struct catch catches[] = {
    {"read", SYS_read},
    {"execve", SYS_execve},
    {"execveat", SYS_execveat},
    {"socket", SYS_socket},
    {"clone", SYS_clone},
    {"ptrace", SYS_ptrace},
    {"mprotect", SYS_mprotect},
    {"openat", SYS_openat},
    {"getppid", SYS_getppid},
    {"io_uring_setup", SYS_io_uring_setup},
    {"landlock_restrict_self", SYS_landlock_restrict_self},
    {UNKNOWN, 700}, /* a number that is not given away yet */
    {UNKNOWN, 1000},
    {UNKNOWN, 1022},
    {UNKNOWN, 1023}, /* the last that there could be a name for */
    {UNKNOWN, 1024},
    {UNKNOWN, 1025},
    {UNKNOWN, 100000},
    {UNKNOWN, INT_MAX},
    {UNKNOWN, -1},
    {UNKNOWN, -2},
    {UNKNOWN, INT_MIN},
};

static void test_catch(void **state)
{
    const struct catch *c = *state;
    struct entrant e;
    siginfo_t info = {.si_signo = SIGSYS};
    char says[100];

    prepare(&e, BY_PATH, false);
    assert_int_equal(enter(&e, false), 0);
    assert_true(world.action.sa_flags & SA_SIGINFO);
    /* A second one, in the handler, is to be the end: not another round. */
    assert_false(world.action.sa_flags & SA_NODEFER);
    info.si_syscall = c->number;
    int how = setjmp(world.killed);
    if (how == 0) {
        world.action.sa_sigaction(SIGSYS, &info, NULL);
        fail_msg("the handler has returned");
    }
    assert_int_equal(how, SIGSYS);
    assert_int_equal(world.n_lines, 1);
    assert_int_equal(world.lines[0].level, LOG_ERR);
    (void)snprintf(says, sizeof(says), "sandbox: the system call %s, which", c->name);
    if (strncmp(world.lines[0].text, says, strlen(says)) != 0)
        fail_msg("'%s' does not begin with '%s'", world.lines[0].text, says);
    leave(&e);
}

/* Where the signal is not the end, because somebody has it: it ends all the same. */
static void test_survivor(void **state)
{
    struct entrant e;
    siginfo_t info = {.si_signo = SIGSYS};

    (void)state;
    prepare(&e, BY_PATH, false);
    assert_int_equal(enter(&e, false), 0);
    world.survives = true;
    info.si_syscall = SYS_execve;
    int how = setjmp(world.killed);
    if (how == 0) {
        world.action.sa_sigaction(SIGSYS, &info, NULL);
        fail_msg("the handler has returned");
    }
    assert_int_equal(how, 1000 + EX_OSERR);
    leave(&e);
}

static void make_files(void)
{
    assert_int_equal(mkdir("sub", 0700), 0);
    for (int i = 0; i < 2; i++)
        assert_int_equal(
            close(open(i ? "sub/target" : "file", O_WRONLY | O_CREAT | O_CLOEXEC, 0600)), 0);
    assert_int_equal(symlink("sub/target", "link"), 0);
    assert_int_equal(symlink("sub/nothing", "dangling"), 0);
    assert_int_equal(mkfifo("fifo", 0600), 0);
}

int main(void)
{
    static struct suite suite;

    if (!mkdtemp(directory) || chdir(directory) < 0)
        return 1;
    make_files();
    for (size_t i = 0; i < LENGTH(variants); i++)
        suite_add(&suite, test_variant, &variants[i], "all of it: %s", variants[i].name);
    suite_add(&suite, test_numbers, NULL, "filter: the supervisor's descriptor and the process");
    suite_add(&suite, test_stand_ins, NULL, "filter: where these stand");
    suite_add(&suite, test_filters, NULL, "filter: one of each");
    for (size_t i = 0; i < LENGTH(failures); i++)
        suite_add(&suite, test_failure, &failures[i], "fails: %s", failures[i].name);
    suite_add(&suite, test_nothing_possible, NULL, "fails: each step");
    suite_add(&suite, test_long_words, NULL, "fails: each step, in many words");
    suite_add(&suite, test_second_rule, NULL, "fails: the second rule");
    suite_add(&suite, test_off, NULL, "off: nothing is done, but root is told");
    for (size_t i = 0; i < LENGTH(capabilities); i++)
        suite_add(
            &suite, test_capability, &capabilities[i], "capabilities: %s", capabilities[i].name);
    suite_add(&suite, test_log, NULL, "limits: a log that is a file");
    for (size_t i = 0; i < LENGTH(versions); i++)
        suite_add(&suite, test_version, &versions[i], "landlock: version %ld", versions[i].version);
    for (size_t i = 0; i < LENGTH(catches); i++)
        suite_add(
            &suite, test_catch, &catches[i], "caught: %d, %s", catches[i].number, catches[i].name);
    suite_add(&suite, test_survivor, NULL, "caught: and nobody kills it");
    int failed = suite_run(&suite, "sandbox");
    static const char *const names[] = {"file", "sub/target", "link", "dangling", "fifo", "log"};
    for (size_t i = 0; i < LENGTH(names); i++)
        (void)unlink(names[i]);
    (void)rmdir("sub");
    (void)chdir("/");
    (void)rmdir(directory);
    return failed;
}
