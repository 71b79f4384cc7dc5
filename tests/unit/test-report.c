/* SPDX-License-Identifier: MIT */

/*
 * What went wrong in others: cat and socat write their own error message into the client's stream;
 * a file called "x\n<0>kernel: ..." wrote the next line of the log by itself; the exit status of
 * the last client hid that of the one before. What is printed here is read back from descriptor 2.
 */

#include "kernel.h"
#include "report.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <syslog.h>
#include <unistd.h>

static struct {
    int opened;
    int zones; /* calls of tzset(3) */
    int lines;
    int level;
    char line[2048];
    struct report *in_its_midst; /* its process makes a call that is caught, NULL: no */
} logged;

void __wrap_openlog(const char *name, int options, int facility);
void __wrap_openlog(const char *name, int options, int facility)
{
    assert_string_equal(name, "decant");
    assert_int_equal(options & LOG_PERROR, 0); /* descriptor 2 is the client */
    assert_int_equal(facility, LOG_DAEMON);
    /* Where the process is locked in there is no connecting any more, nor a look at the zone. */
    assert_int_equal(options & (LOG_NDELAY | LOG_PID), LOG_NDELAY | LOG_PID);
    logged.opened++;
}

void __wrap_tzset(void);
void __wrap_tzset(void)
{
    logged.zones++;
}

/* ---- a log that takes less than it is given ---- */

static struct {
    int calls;
    int error;   /* it takes nothing */
    int at_most; /* bytes; 0: any number */
} wrote;

ssize_t __real_write(int fd, const void *buffer, size_t size);
ssize_t __wrap_write(int fd, const void *buffer, size_t size);
ssize_t __wrap_write(int fd, const void *buffer, size_t size)
{
    assert_int_equal(fd, STDERR_FILENO);
    wrote.calls++;
    if (wrote.error) {
        errno = wrote.error;
        return -1;
    }
    return __real_write(
        fd, buffer, wrote.at_most && size > (size_t)wrote.at_most ? (size_t)wrote.at_most : size);
}

void __wrap_syslog(int level, const char *format, ...);
void __wrap_syslog(int level, const char *format, ...)
{
    va_list arguments;

    assert_string_equal(format, "%s"); /* a name with %n is no format */
    va_start(arguments, format);
    (void)vsnprintf(logged.line, sizeof(logged.line), format, arguments);
    va_end(arguments);
    logged.level = level;
    logged.lines++;
    if (logged.in_its_midst)
        report_caught(logged.in_its_midst, "sendmsg");
}

/* Turns descriptor fd into a pipe (or whatever ends is) until release(), which returns the text. */
struct capture {
    int fd;
    int saved;
    int ends[2];
    char text[4096];
};

static void capture(struct capture *c, int fd, bool with_socket)
{
    c->fd = fd;
    c->saved = dup(fd);
    assert_int_equal(with_socket ? socketpair(AF_UNIX, SOCK_STREAM, 0, c->ends) : pipe(c->ends), 0);
    assert_int_equal(fcntl(c->ends[0], F_SETFL, O_NONBLOCK), 0);
    assert_int_equal(dup2(c->ends[1], fd), fd);
}

static const char *release(struct capture *c)
{
    ssize_t n = read(c->ends[0], c->text, sizeof(c->text) - 1);

    c->text[n > 0 ? n : 0] = '\0';
    assert_int_equal(dup2(c->saved, c->fd), c->fd);
    assert_int_equal(close(c->saved) + close(c->ends[0]) + close(c->ends[1]), 0);
    return c->text;
}

struct fake_end {
    struct source source;
    struct transfer_slot slot;
    struct transfer t;
};

static void end_with(struct fake_end *e, enum transfer_event event)
{
    kernel_reset(&e->source, 1000);
    transfer_slot_init(&e->slot, &e->source, NULL, kernel.now);
    e->slot.offset = 1000;
    e->slot.state = event == TRANSFER_DRAINED ? TRANSFER_DONE : TRANSFER_ABORTED;
    e->t = (struct transfer){.slot = &e->slot, .source = &e->source, .fd = -1, .event = event};
    e->t.acknowledged = 1000;
    kernel.now += CLOCK_SECOND;
}

static const char *tell(
    struct report *report, struct capture *c, const struct fake_end *e, const char *peer)
{
    capture(c, STDERR_FILENO, false);
    report_transfer(report, &e->t, peer, kernel.now);
    return release(c);
}

/* ---- one ending each ---- */

struct ending {
    enum transfer_event event;
    const char *call;
    int error;
    const char *begins;
    const char *ends;
    int level;
    int status;
};

static const struct ending endings[] = {
    {TRANSFER_DRAINED, NULL, 0, "complete: ", "B/s", LOG_INFO, 0},
    {TRANSFER_SHORT, NULL, 0, "file shrank: ",
        ": it was truncated while it was sent, or never was as long as its size", LOG_WARNING, 65},
    {TRANSFER_CHANGED, NULL, 0, "file changed: ", "allow it with --allow-changes", LOG_WARNING, 65},
    {TRANSFER_UNREADABLE, "sendfile", EIO, "file unreadable: ", ": sendfile: Input/output error",
        LOG_ERR, 74},
    {TRANSFER_BROKEN, "setsockopt", ENOMEM, "failed: ", ": setsockopt: Cannot allocate memory",
        LOG_ERR, 71},
    {TRANSFER_LEFT, "recv", ECONNRESET, "client left: ", ": recv: Connection reset by peer",
        LOG_NOTICE, 75},
    {TRANSFER_STALLED, NULL, 0, "client stalled: ", ": it acknowledged nothing for a whole timeout",
        LOG_NOTICE, 75},
    {TRANSFER_STOPPED, NULL, 0, "stopped: ", ": decant ends", LOG_NOTICE, 75},
    {TRANSFER_KILLED, NULL, 0, "killed: ",
        ": with the process that sent it, before systemd had its socket to keep", LOG_NOTICE, 75},
    {TRANSFER_BROKEN, "its slot is damaged", 0, "failed: ", ": its slot is damaged", LOG_ERR, 71},
    /* what ends nothing: a damaged slot may say so all the same */
    {TRANSFER_NOTHING, NULL, 0, "failed: ", "B/s", LOG_ERR, 71},
    {TRANSFER_PROGRESS, NULL, 0, "failed: ", "B/s", LOG_ERR, 71},
    {TRANSFER_RESTARTED, NULL, 0, "failed: ", "B/s", LOG_ERR, 71},
};

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text);

    return n >= strlen(end) && strcmp(text + n - strlen(end), end) == 0;
}

static void test_ending(void **state)
{
    const struct ending *c = *state;
    static const int levels[] = {LOG_ERR, LOG_WARNING, LOG_NOTICE, LOG_INFO, LOG_DEBUG};

    for (size_t i = 0; i < LENGTH(levels); i++) {
        struct report report;
        struct capture captured;
        struct fake_end e;
        char prefix[64];
        char end[128];
        end_with(&e, c->event);
        e.t.call = c->call;
        e.t.error = c->error;
        report_open(&report, CHANNEL_JOURNAL, levels[i]);
        const char *text = tell(&report, &captured, &e, "PEER");
        assert_int_equal(report.status, c->status); /* whether it is printed or not */
        if (c->level > levels[i]) {
            assert_string_equal(text, "");
            continue;
        }
        (void)snprintf(prefix, sizeof(prefix), "<%d>%sFILE to PEER: 1000 of 1000 bytes sent, ",
            c->level, c->begins);
        (void)snprintf(end, sizeof(end), "%s\n", c->ends);
        if (strncmp(text, prefix, strlen(prefix)) != 0 || !ends_with(text, end))
            fail_msg("'%s' is not '%s...%s'", text, prefix, end);
        assert_null(strstr(text, "(null)"));
        assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
    }
}

/* ---- the gravest ---- */

/* Each against each, in both orders: 71, 74, 66, 65, 75, and then 0. */
static void test_gravest(void **state)
{
    static const int order[] = {71, 74, 66, 65, 75, 0};

    (void)state;
    for (size_t i = 0; i < LENGTH(order); i++)
        for (size_t j = 0; j < LENGTH(order); j++) {
            struct report report;
            struct problem problem = {0};
            report_open(&report, CHANNEL_STDERR, -1);
            assert_int_equal(report.status, 0);
            problem.status = order[i];
            report_problem(&report, &problem);
            assert_int_equal(report.status, order[i]);
            problem.status = order[j];
            report_problem(&report, &problem);
            assert_int_equal(report.status, order[i < j ? i : j]);
        }
}

/* What comes before any transfer stands above them. */
static void test_other_statuses(void **state)
{
    static const int others[] = {EX_USAGE, EX_PROTOCOL};

    (void)state;
    for (size_t i = 0; i < LENGTH(others); i++) {
        struct report report;
        struct problem problem = {.status = EX_OSERR};
        report_open(&report, CHANNEL_STDERR, -1);
        report_problem(&report, &problem);
        problem.status = others[i];
        report_problem(&report, &problem);
        assert_int_equal(report.status, others[i]);
        problem.status = EX_TEMPFAIL;
        report_problem(&report, &problem);
        assert_int_equal(report.status, others[i]);
    }
}

/* ---- the line ---- */

struct line {
    const char *name;
    off_t sent;
    off_t promised;
    off_t acknowledged;
    int64_t ns;
    const char *says;
    uint8_t resumed;
};

/* What a line does not say is 0. */
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"

static const struct line lines[] = {
    {"nothing, in no time", 0, 0, 0, 0, "0 of 0 bytes sent, 0 acknowledged, in 0.000 s, 0 B/s"},
    {"the end counted as a byte", 1000, 1000, 1001, CLOCK_SECOND,
        "1000 of 1000 bytes sent, 1000 acknowledged, in 1.000 s, 1.0 kB/s"},
    {"less acknowledged than sent", 900, 1000, 450, CLOCK_SECOND,
        "900 of 1000 bytes sent, 450 acknowledged, in 1.000 s, 450 B/s"},
    {"nothing acknowledged", 900, 1000, 0, CLOCK_SECOND,
        "900 of 1000 bytes sent, 0 acknowledged, in 1.000 s, 0 B/s"},
    {"a clock that stood still", 5, 5, 5, 0,
        "5 of 5 bytes sent, 5 acknowledged, in 0.000 s, 0 B/s"},
    {"a clock that went back", 5, 5, 5, -CLOCK_SECOND, "5 acknowledged, in -1.000 s, 0 B/s"},
    {"999 B/s", 999, 999, 999, CLOCK_SECOND, " 999 B/s"},
    {"999.4 B/s", 9994, 9994, 9994, 10 * CLOCK_SECOND, " 999 B/s"},
    {"999.5 B/s", 9995, 9995, 9995, 10 * CLOCK_SECOND, " 1.0 kB/s"},
    {"kilobytes", 123456, 123456, 123456, CLOCK_SECOND, " 123.5 kB/s"},
    {"megabytes", 5000000, 5000000, 5000000, 2 * CLOCK_SECOND, " 2.5 MB/s"},
    {"gigabytes", (off_t)5 << 30, (off_t)5 << 30, (off_t)5 << 30, CLOCK_SECOND,
        "5368709120 of 5368709120 bytes sent, 5368709120 acknowledged, in 1.000 s, 5.4 GB/s"},
    {"the largest file in a nanosecond", INT64_MAX, INT64_MAX, INT64_MAX, 1, " TB/s"},
    {"nobody knows what was acknowledged", 900, 1000, -1, CLOCK_SECOND,
        "900 of 1000 bytes sent, ? acknowledged, in 1.000 s, 0 B/s\n"},
    {"nobody knows, and nothing was sent", 0, 1000, -1, CLOCK_SECOND,
        "0 of 1000 bytes sent, ? acknowledged, in 1.000 s, 0 B/s\n"},
    {"never resumed", 5, 5, 5, CLOCK_SECOND, " 5 B/s\n"},
    {"resumed once", 5, 5, 5, CLOCK_SECOND, " 5 B/s, resumed once\n", 1},
    {"resumed twice", 5, 5, 5, CLOCK_SECOND, " 5 B/s, resumed 2 times\n", 2},
    {"resumed 254 times", 5, 5, 5, CLOCK_SECOND, " 5 B/s, resumed 254 times\n", 254},
    {"resumed more often than it can count", 5, 5, 5, CLOCK_SECOND,
        " 5 B/s, resumed 255 times or more\n", 255},
};

static void test_line(void **state)
{
    const struct line *c = *state;
    struct report report;
    struct capture captured;
    struct fake_end e;

    end_with(&e, TRANSFER_DRAINED);
    e.slot.offset = c->sent;
    e.slot.end = c->promised;
    e.slot.resumed = c->resumed;
    e.t.acknowledged = c->acknowledged;
    kernel.now = e.slot.started + c->ns;
    report_open(&report, CHANNEL_STDERR, LOG_INFO);
    const char *text = tell(&report, &captured, &e, "PEER");
    if (!strstr(text, c->says))
        fail_msg("'%s' does not say '%s'", text, c->says);
    assert_int_equal(strncmp(text, "decant: complete: FILE to PEER: ", 32), 0);
}

/* Only the bytes of the promise count, wherever it begins. */
static void test_line_of_a_part(void **state)
{
    struct report report;
    struct capture captured;
    struct fake_end e;

    (void)state;
    end_with(&e, TRANSFER_DRAINED);
    e.slot.start = 5000;
    e.slot.offset = 5100;
    e.slot.end = 5100;
    e.t.acknowledged = 101;
    report_open(&report, CHANNEL_STDERR, LOG_INFO);
    assert_non_null(strstr(tell(&report, &captured, &e, "PEER"), "100 of 100 bytes sent, 100 ack"));
}

static const char evil[] = "a\n<0>b\r\tc\033[2Jd\177e%s%n\xc3\xa4\x01";
static const char tame[] = "a?<0>b??c?[2Jd?e%s%n\xc3\xa4?";

/* One record, one line, whatever a file or a peer is called. */
static void test_printable(void **state)
{
    static const enum channel channels[] = {CHANNEL_STDERR, CHANNEL_JOURNAL, CHANNEL_SYSLOG};
    char expected[256];

    (void)state;
    (void)snprintf(expected, sizeof(expected), "complete: %s to %s: ", tame, tame);
    for (size_t i = 0; i < LENGTH(channels); i++) {
        struct report report;
        struct capture captured;
        struct fake_end e;
        end_with(&e, TRANSFER_DRAINED);
        (void)snprintf(e.source.name, sizeof(e.source.name), "%s", evil);
        report_open(&report, channels[i], LOG_INFO);
        const char *text = tell(&report, &captured, &e, evil);
        if (channels[i] == CHANNEL_SYSLOG)
            text = logged.line;
        else
            assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
        assert_non_null(strstr(text, expected));
    }
}

/* A line that does not fit is cut, and is still one line. */
static void test_long_line(void **state)
{
    struct report report;
    struct capture captured;
    struct fake_end e;
    static char peer[2000];

    (void)state;
    memset(peer, 'p', sizeof(peer) - 1);
    end_with(&e, TRANSFER_DRAINED);
    report_open(&report, CHANNEL_STDERR, LOG_INFO);
    const char *text = tell(&report, &captured, &e, peer);
    assert_true(strlen(text) > 900 && strlen(text) < 1100);
    assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
}

/* ---- where it goes ---- */

static void test_channels(void **state)
{
    static const struct {
        enum channel channel;
        const char *printed;
        int logged;
    } cases[] = {
        {CHANNEL_STDERR, "decant: WORDS\n", 0}, {CHANNEL_JOURNAL, "<3>WORDS\n", 0},
        {CHANNEL_SYSLOG, "", 1}, /* the client is there: not a byte */
    };

    (void)state;
    for (size_t i = 0; i < LENGTH(cases); i++) {
        struct problem problem;
        struct report report;
        struct capture captured;
        memset(&logged, 0, sizeof(logged));
        assert_int_equal(problem_set(&problem, EBADF, EX_OSERR, "%s", "WORDS"), -EBADF);
        capture(&captured, STDERR_FILENO, false);
        report_open(&report, cases[i].channel, LOG_ERR);
        report_problem(&report, &problem);
        const char *text = release(&captured);
        assert_string_equal(text, cases[i].printed);
        assert_int_equal(logged.lines, cases[i].logged);
        assert_int_equal(logged.opened, cases[i].logged);
        assert_int_equal(logged.zones, cases[i].logged);
        if (cases[i].logged) {
            assert_int_equal(logged.level, LOG_ERR);
            assert_string_equal(logged.line, "WORDS");
        }
        assert_int_equal(report.status, EX_OSERR);
    }
}

/* Where the words cannot be written there is nobody left to tell: the status still counts. */
static void test_full_stderr(void **state)
{
    struct problem problem = {.status = EX_NOINPUT, .text = "WORDS"};
    struct report report;
    int saved = dup(STDERR_FILENO);
    int full = open("/dev/full", O_WRONLY | O_CLOEXEC);

    (void)state;
    report_open(&report, CHANNEL_STDERR, LOG_DEBUG);
    assert_int_equal(dup2(full, STDERR_FILENO), STDERR_FILENO);
    report_problem(&report, &problem);
    assert_int_equal(dup2(saved, STDERR_FILENO), STDERR_FILENO);
    assert_int_equal(close(saved) + close(full), 0);
    assert_int_equal(report.status, EX_NOINPUT);
}

/* A line is one call: the sandbox has no other for it, and two processes do not mix theirs. */
static void test_one_call(void **state)
{
    static const enum channel channels[] = {CHANNEL_STDERR, CHANNEL_JOURNAL, CHANNEL_SYSLOG};
    static char text[2000];

    (void)state;
    memset(text, 'w', sizeof(text) - 1);
    for (size_t i = 0; i < LENGTH(channels); i++)
        for (size_t n = 0; n < sizeof(text); n += 111) {
            struct report report;
            struct capture captured;
            report_open(&report, channels[i], LOG_NOTICE);
            capture(&captured, STDERR_FILENO, false);
            wrote.calls = 0;
            report_note(&report, LOG_NOTICE, text + n);
            const char *line = release(&captured);
            assert_int_equal(wrote.calls, channels[i] != CHANNEL_SYSLOG);
            if (wrote.calls)
                assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
        }
}

/* A log that takes a part of a line, or none, is not tried again: it would be for ever. */
static void test_short_write(void **state)
{
    static const int errors[] = {0, EAGAIN, EINTR, EPIPE, EIO, ENOSPC, EFBIG, EBADF};
    struct problem problem = {.status = EX_NOINPUT, .text = "WORDS"};

    (void)state;
    for (size_t i = 0; i < LENGTH(errors); i++) {
        struct report report;
        struct capture captured;
        report_open(&report, CHANNEL_STDERR, LOG_DEBUG);
        capture(&captured, STDERR_FILENO, false);
        wrote.calls = 0;
        wrote.error = errors[i];
        wrote.at_most = 9;
        report_problem(&report, &problem);
        wrote.error = wrote.at_most = 0;
        report_note(&report, LOG_NOTICE, "MORE");
        assert_string_equal(
            release(&captured), errors[i] ? "decant: MORE\n" : "decant: Wdecant: MORE\n");
        assert_int_equal(wrote.calls, 2);
        assert_int_equal(report.status, EX_NOINPUT);
    }
}

/* The last words, of a process that no longer knows what it does: at every level, on every channel,
 * with the name of the call, and the way out. */
static void test_caught(void **state)
{
    static const enum channel channels[] = {CHANNEL_STDERR, CHANNEL_JOURNAL, CHANNEL_SYSLOG};
    static const char *const prefixes[] = {"decant: ", "<3>", ""};
    static const char says[] = "sandbox: the system call execve, which decant never makes, was "
                               "caught, and ends it: ";
    static const int levels[] = {LOG_ERR, LOG_WARNING, LOG_DEBUG};

    (void)state;
    for (size_t i = 0; i < LENGTH(channels); i++)
        for (size_t j = 0; j < LENGTH(levels); j++) {
            struct report report;
            struct capture captured;
            char begins[200];
            memset(&logged, 0, sizeof(logged));
            report_open(&report, channels[i], levels[j]);
            capture(&captured, STDERR_FILENO, false);
            wrote.calls = 0;
            report_caught(&report, "execve");
            const char *text = release(&captured);
            if (channels[i] == CHANNEL_SYSLOG) {
                assert_string_equal(text, "");
                assert_int_equal(logged.level, LOG_ERR);
                text = logged.line;
            } else {
                assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
            }
            (void)snprintf(begins, sizeof(begins), "%s%s", prefixes[i], says);
            if (strncmp(text, begins, strlen(begins)) != 0)
                fail_msg("'%s' does not begin with '%s'", text, begins);
            assert_non_null(strstr(text, "--sandbox=off"));
            assert_int_equal(wrote.calls + logged.lines, 1);
            assert_int_equal(report.status, 0); /* which is what it dies of to say */
        }
}

/* Also where nobody may wait for a log: what does not take it at once loses it. */
static void test_caught_in_a_hurry(void **state)
{
    static char filling[4096];
    struct report report;
    struct capture captured;

    (void)state;
    report_open(&report, CHANNEL_STDERR, LOG_ERR);
    report_hurry(&report);
    capture(&captured, STDERR_FILENO, false);
    int flags = fcntl(STDERR_FILENO, F_GETFL);
    assert_int_equal(fcntl(STDERR_FILENO, F_SETFL, flags | O_NONBLOCK), 0);
    while (__real_write(STDERR_FILENO, filling, sizeof(filling)) > 0)
        continue;
    wrote.calls = 0;
    report_caught(&report, "execve"); /* and does not hang */
    assert_int_equal(wrote.calls, 0);
    assert_int_equal(report.n_lost, 1);
    (void)release(&captured);
}

/* What a log has not taken is told as soon as it takes something: how many, not which. */
static void test_lost(void **state)
{
    static const enum channel channels[] = {CHANNEL_STDERR, CHANNEL_JOURNAL};
    static char buffer[4096];

    (void)state;
    for (size_t i = 0; i < LENGTH(channels); i++) {
        struct report report;
        struct capture captured;
        report_open(&report, channels[i], LOG_NOTICE);
        report_hurry(&report);
        capture(&captured, STDERR_FILENO, false);
        int flags = fcntl(STDERR_FILENO, F_GETFL);
        assert_int_equal(fcntl(STDERR_FILENO, F_SETFL, flags | O_NONBLOCK), 0);
        report_note(&report, LOG_NOTICE, "FIRST");
        while (__real_write(STDERR_FILENO, buffer, sizeof(buffer)) > 0)
            continue;
        wrote.calls = 0;
        for (int j = 0; j < 3; j++)
            report_note(&report, LOG_NOTICE, "LOST");
        report_note(&report, LOG_INFO, "NOT WANTED");
        assert_int_equal(wrote.calls, 0);
        while (read(captured.ends[0], buffer, sizeof(buffer)) > 0)
            continue;
        report_note(&report, LOG_NOTICE, "SECOND");
        report_note(&report, LOG_NOTICE, "THIRD");
        assert_int_equal(wrote.calls, 3);
        assert_string_equal(release(&captured),
            channels[i] == CHANNEL_STDERR
                ? "decant: 3 lines were lost: nobody read them in time\n"
                  "decant: SECOND\ndecant: THIRD\n"
                : "<4>3 lines were lost: nobody read them in time\n<5>SECOND\n<5>THIRD\n");
    }
}

/* syslog(3) has a queue of its own: what descriptor 2 is, a client perhaps, is nobody's business.
 */
static void test_hurried_syslog(void **state)
{
    static char filling[4096];
    struct report report;
    struct capture captured;

    (void)state;
    memset(&logged, 0, sizeof(logged));
    report_open(&report, CHANNEL_SYSLOG, LOG_NOTICE);
    report_hurry(&report);
    capture(&captured, STDERR_FILENO, false);
    int flags = fcntl(STDERR_FILENO, F_GETFL);
    assert_int_equal(fcntl(STDERR_FILENO, F_SETFL, flags | O_NONBLOCK), 0);
    while (__real_write(STDERR_FILENO, filling, sizeof(filling)) > 0)
        continue;
    report_note(&report, LOG_NOTICE, "WORDS");
    (void)release(&captured);
    assert_int_equal(logged.lines, 1);
    assert_int_equal(report.n_lost, 0);
}

/* syslog(3) holds a lock: whoever would call it again from there would wait for itself, for ever.
 */
static void test_caught_in_syslog(void **state)
{
    struct report report;
    struct capture captured;

    (void)state;
    memset(&logged, 0, sizeof(logged));
    report_open(&report, CHANNEL_SYSLOG, LOG_DEBUG);
    logged.in_its_midst = &report;
    capture(&captured, STDERR_FILENO, false);
    report_note(&report, LOG_NOTICE, "WORDS");
    logged.in_its_midst = NULL;
    assert_int_equal(logged.lines, 1);
    assert_string_equal(logged.line, "WORDS");
    report_caught(&report, "execve"); /* elsewhere it has words again */
    assert_string_equal(release(&captured), "");
    assert_int_equal(logged.lines, 2);
    assert_non_null(strstr(logged.line, "execve"));
}

/* --help under inetd must not be what the client takes for the file. */
static void test_text_not_on_a_socket(void **state)
{
    struct capture captured;

    (void)state;
    (void)fflush(stdout);
    capture(&captured, STDOUT_FILENO, true);
    report_text("HELP 100 % %s\n");
    assert_string_equal(release(&captured), "");
    capture(&captured, STDOUT_FILENO, false);
    report_text("HELP 100 % %s\n");
    assert_string_equal(release(&captured), "HELP 100 % %s\n");
}

static void test_text_without_stdout(void **state)
{
    int saved = dup(STDOUT_FILENO);

    (void)state;
    (void)fflush(stdout);
    assert_int_equal(close(STDOUT_FILENO), 0);
    report_text("HELP\n");
    assert_int_equal(dup2(saved, STDOUT_FILENO), STDOUT_FILENO);
    assert_int_equal(close(saved), 0);
}

/* ---- what is no transfer ---- */

struct word {
    const char *name;
    void (*say)(struct report *report);
    const char *printed;
    int level;
    int status;
};

static void say_one_refused(struct report *report)
{
    report_refused(report, 1, "REASON");
}

static void say_many_refused(struct report *report)
{
    report_refused(report, UINT64_C(5000000000), "REASON");
}

static void say_evil_refused(struct report *report)
{
    report_refused(report, 2, evil);
}

static void say_warning(struct report *report)
{
    report_note(report, LOG_WARNING, "WORDS 100 %s");
}

static void say_notice(struct report *report)
{
    report_note(report, LOG_NOTICE, evil);
}

static void say_one_left(struct report *report)
{
    report_left(report, 1);
}

static void say_many_left(struct report *report)
{
    report_left(report, 4000000000u);
}

static const struct word words[] = {
    {"one refused", say_one_refused, "<5>refused: 1 client reset: REASON\n", LOG_NOTICE, 75},
    {"many refused", say_many_refused, "<5>refused: 5000000000 clients reset: REASON\n", LOG_NOTICE,
        75},
    {"refused, for an evil reason", say_evil_refused,
        "<5>refused: 2 clients reset: a?<0>b??c?[2Jd?e%s%n\xc3\xa4?\n", LOG_NOTICE, 75},
    {"one is left", say_one_left, "<5>1 transfer is left to the next decant\n", LOG_NOTICE, 0},
    {"many are left", say_many_left, "<5>4000000000 transfers are left to the next decant\n",
        LOG_NOTICE, 0},
    {"a warning", say_warning, "<4>WORDS 100 %s\n", LOG_WARNING, 0},
    {"a notice", say_notice, "<5>a?<0>b??c?[2Jd?e%s%n\xc3\xa4?\n", LOG_NOTICE, 0},
};

static void test_word(void **state)
{
    static const int levels[] = {LOG_ERR, LOG_WARNING, LOG_NOTICE, LOG_INFO, LOG_DEBUG};
    const struct word *c = *state;

    for (size_t i = 0; i < LENGTH(levels); i++) {
        struct report report;
        struct capture captured;
        report_open(&report, CHANNEL_JOURNAL, levels[i]);
        capture(&captured, STDERR_FILENO, false);
        c->say(&report);
        const char *text = release(&captured);
        assert_string_equal(text, c->level <= levels[i] ? c->printed : "");
        assert_int_equal(report.status, c->status); /* whether it is printed or not */
        report.status = EX_NOINPUT;
        report.level = -1;
        c->say(&report);
        assert_int_equal(report.status, EX_NOINPUT); /* graver */
    }
}

/* Where nobody wants the line, nobody need find out what the peer is called: but then only. */
static void test_wants(void **state)
{
    static const int levels[] = {LOG_ERR, LOG_WARNING, LOG_NOTICE, LOG_INFO, LOG_DEBUG};

    (void)state;
    for (size_t i = 0; i < LENGTH(endings); i++)
        for (size_t j = 0; j < LENGTH(levels); j++) {
            struct report report;
            struct capture captured;
            struct fake_end e;
            end_with(&e, endings[i].event);
            report_open(&report, CHANNEL_STDERR, levels[j]);
            bool wants = report_wants(&report, &e.t);
            assert_int_equal(wants, endings[i].level <= levels[j]);
            const char *text = tell(&report, &captured, &e, "PEER");
            assert_int_equal(text[0] != '\0', wants);
        }
}

/* ---- the end ---- */

/* How a process ends that says so; what came of SIGTERM before must not matter. */
static int end_process(int status, bool left, void (*before)(void))
{
    struct report report;
    int how;

    (void)fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        report_open(&report, CHANNEL_STDERR, -1);
        report.status = status;
        if (before)
            before();
        if (left)
            report_left(&report, 3);
        _exit(report_end(&report));
    }
    assert_int_equal(waitpid(pid, &how, 0), pid);
    return how;
}

static void block_it(void)
{
    sigset_t set;

    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)sigprocmask(SIG_BLOCK, &set, NULL);
}

static void ignore_it(void)
{
    (void)signal(SIGTERM, SIG_IGN);
}

static void block_and_ignore_it(void)
{
    block_it();
    ignore_it();
}

static void take_it(int number)
{
    (void)number;
    _exit(99);
}

static void handle_it(void)
{
    (void)signal(SIGTERM, take_it);
}

static void test_end(void **state)
{
    static const int statuses[] = {0, 64, 65, 66, 71, 74, 75, 76};
    static void (*const befores[])(void) = {
        NULL, block_it, ignore_it, block_and_ignore_it, handle_it};

    (void)state;
    for (size_t i = 0; i < LENGTH(statuses); i++) {
        int how = end_process(statuses[i], false, NULL);
        assert_true(WIFEXITED(how));
        assert_int_equal(WEXITSTATUS(how), statuses[i]);
    }
    for (size_t i = 0; i < LENGTH(befores); i++) {
        int how = end_process(i % 2 ? 75 : 0, true, befores[i]);
        if (!WIFSIGNALED(how) || WTERMSIG(how) != SIGTERM)
            fail_msg("case %zu: status 0x%x", i, (unsigned)how);
    }
}

/* ---- problems ---- */

static void test_problem_is_cut(void **state)
{
    static char text[5000];
    struct problem problem;

    (void)state;
    memset(text, 'x', sizeof(text) - 1);
    assert_int_equal(problem_set(&problem, ENOENT, EX_NOINPUT, "%s", text), -ENOENT);
    assert_int_equal(strlen(problem.text), sizeof(problem.text) - 1);
    assert_int_equal(problem.status, EX_NOINPUT);
}

static void test_problem_of_a_call(void **state)
{
    struct problem problem;

    (void)state;
    errno = EMFILE;
    assert_int_equal(problem_call(&problem, "signalfd"), -EMFILE);
    assert_int_equal(problem.status, EX_OSERR);
    assert_string_equal(problem.text, "signalfd: Too many open files");
}

int main(void)
{
    static const char *const names[] = {"complete", "shrank", "changed", "unreadable", "failed",
        "left", "stalled", "stopped", "killed", "a damaged slot", "nothing", "progress",
        "a restart"};
    static struct suite suite;

    for (size_t i = 0; i < LENGTH(endings); i++)
        suite_add(&suite, test_ending, &endings[i], "ending: %s, at each log level", names[i]);
    suite_add(&suite, test_gravest, NULL, "status: the gravest, in any order");
    suite_add(&suite, test_other_statuses, NULL, "status: 64 and 76 stand above");
    for (size_t i = 0; i < LENGTH(lines); i++)
        suite_add(&suite, test_line, &lines[i], "line: %s", lines[i].name);
    suite_add(&suite, test_line_of_a_part, NULL, "line: of a part of a file");
    suite_add(&suite, test_printable, NULL, "line: no name forges a second one");
    suite_add(&suite, test_long_line, NULL, "line: too long");
    suite_add(&suite, test_channels, NULL, "channel: stderr, journal, syslog");
    suite_add(&suite, test_full_stderr, NULL, "channel: stderr takes nothing");
    suite_add(&suite, test_one_call, NULL, "channel: a line is one call");
    suite_add(&suite, test_short_write, NULL, "channel: it takes a part of a line, or none");
    suite_add(&suite, test_lost, NULL, "channel: lines that were lost are counted");
    suite_add(&suite, test_hurried_syslog, NULL, "channel: syslog does not make wait");
    suite_add(&suite, test_caught, NULL, "caught: on each channel, at each level");
    suite_add(&suite, test_caught_in_syslog, NULL, "caught: in the midst of syslog");
    suite_add(&suite, test_caught_in_a_hurry, NULL, "caught: the log is full");
    suite_add(&suite, test_text_not_on_a_socket, NULL, "text: never on a socket");
    suite_add(&suite, test_text_without_stdout, NULL, "text: stdout is closed");
    for (size_t i = 0; i < LENGTH(words); i++)
        suite_add(&suite, test_word, &words[i], "word: %s", words[i].name);
    suite_add(&suite, test_wants, NULL, "wants: as it prints");
    suite_add(&suite, test_end, NULL, "end: a status, or by SIGTERM where transfers are left");
    suite_add(&suite, test_problem_is_cut, NULL, "problem: cut to fit");
    suite_add(&suite, test_problem_of_a_call, NULL, "problem: of a call");
    return suite_run(&suite, "report");
}
