/* SPDX-License-Identifier: MIT */
#include "report.h"

#include "clock.h"
#include "source.h"

#include <ctype.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

/* A record is one line, whatever a file or a peer is called: no name may forge a second record. */
static void make_printable(char *text)
{
    for (; *text; text++)
        if (iscntrl((unsigned char)*text))
            *text = '?';
}

/* A pipe that is ready has room for a line (PIPE_BUF), and so has a socket. */
static bool takes_a_line(int fd)
{
    struct pollfd wait = {.fd = fd, .events = POLLOUT};

    return poll(&wait, 1, 0) != 0; /* an error is for the write to find out */
}

/* In one call, where dprintf(3) of glibc makes three, of which the sandbox would have to know. */
static void put(struct report *report, int level, const char *line)
{
    char text[1100];
    int n;

    if (report->channel == CHANNEL_SYSLOG) {
        if (report->in_syslog)
            return;
        report->in_syslog = true;
        syslog(level, "%s", line);
        report->in_syslog = false;
        return;
    }
    if (report->channel == CHANNEL_JOURNAL)
        n = snprintf(text, sizeof(text), "<%d>%s\n", level, line);
    else
        n = snprintf(text, sizeof(text), "decant: %s\n", line);
    /* Where the words cannot be written there is nobody left to tell. */
    if (n > 0 && write(STDERR_FILENO, text, (size_t)n) < 0)
        return;
}

__attribute__((format(printf, 3, 4))) static void print(
    struct report *report, int level, const char *format, ...)
{
    char line[1024];
    va_list arguments;

    if (level > report->level)
        return;
    if (report->hurried && report->channel != CHANNEL_SYSLOG && !takes_a_line(STDERR_FILENO)) {
        report->n_lost++;
        return;
    }
    if (report->n_lost > 0) {
        (void)snprintf(line, sizeof(line), "%" PRIu64 " lines were lost: nobody read them in time",
            report->n_lost);
        report->n_lost = 0;
        put(report, LOG_WARNING, line);
    }
    va_start(arguments, format);
    (void)vsnprintf(line, sizeof(line), format, arguments); /* a cut line still tells */
    va_end(arguments);
    make_printable(line);
    put(report, level, line);
}

static int gravity(int status)
{
    static const int order[] = {EX_OK, EX_TEMPFAIL, EX_DATAERR, EX_NOINPUT, EX_IOERR, EX_OSERR};

    for (int i = 0; i < (int)(sizeof(order) / sizeof(order[0])); i++)
        if (order[i] == status)
            return i;
    return (int)(sizeof(order) / sizeof(order[0]));
}

static void raise_status(struct report *report, int status)
{
    if (gravity(status) > gravity(report->status))
        report->status = status;
}

/* How a transfer's end is called, whom it concerns, and what it means for the exit status. */
static const struct ending {
    const char *name;
    const char *reason;
    int level;
    int status;
} endings[TRANSFER_EVENTS] = {
    [TRANSFER_DRAINED] = {"complete", "", LOG_INFO, EX_OK},
    [TRANSFER_SHORT] = {"file shrank",
        ": it was truncated while it was sent, or never was as long as its size", LOG_WARNING,
        EX_DATAERR},
    [TRANSFER_CHANGED] = {"file changed",
        ": the file was written to while it was sent; "
        "replace it with rename(2), or allow it with --allow-changes",
        LOG_WARNING, EX_DATAERR},
    [TRANSFER_UNREADABLE] = {"file unreadable", "", LOG_ERR, EX_IOERR},
    [TRANSFER_BROKEN] = {"failed", "", LOG_ERR, EX_OSERR},
    [TRANSFER_LEFT] = {"client left", "", LOG_NOTICE, EX_TEMPFAIL},
    [TRANSFER_STALLED] = {"client stalled", ": it acknowledged nothing for a whole timeout",
        LOG_NOTICE, EX_TEMPFAIL},
    [TRANSFER_STOPPED] = {"stopped", ": decant ends", LOG_NOTICE, EX_TEMPFAIL},
    [TRANSFER_KILLED] = {"killed",
        ": with the process that sent it, before systemd had its socket to keep", LOG_NOTICE,
        EX_TEMPFAIL},
};

/* A damaged slot of another process may name an event that ends nothing. */
static const struct ending *ending_of(const struct transfer *t)
{
    return endings[t->event].name ? &endings[t->event] : &endings[TRANSFER_BROKEN];
}

void report_open(struct report *report, enum channel channel, int level)
{
    *report = (struct report){.channel = channel, .level = level, .status = EX_OK};
    if (channel != CHANNEL_SYSLOG)
        return;
    /* Now, as the sandbox allows neither a connection later nor a look at /etc/localtime. */
    openlog("decant", LOG_PID | LOG_NDELAY, LOG_DAEMON);
    tzset();
}

void report_hurry(struct report *report)
{
    report->hurried = true;
}

/* What a person can read of a rate: 0 B/s ... 999 B/s, 1.0 kB/s ... */
static void format_rate(double rate, char *text, size_t size)
{
    static const char *const units[] = {"B/s", "kB/s", "MB/s", "GB/s", "TB/s"};
    size_t unit = 0;

    while (rate >= 999.5 && unit + 1 < sizeof(units) / sizeof(units[0])) {
        rate /= 1000;
        unit++;
    }
    (void)snprintf(text, size, unit > 0 ? "%.1f %s" : "%.0f %s", rate, units[unit]);
}

/* That others went on with it, which its time and its rate include. */
static void format_resumed(unsigned n, char *text, size_t size)
{
    text[0] = '\0';
    if (n == 1)
        (void)snprintf(text, size, ", resumed once");
    else if (n > 1)
        (void)snprintf(text, size, ", resumed %u times%s", n, n == UINT8_MAX ? " or more" : "");
}

void report_transfer(struct report *report, const struct transfer *t, const char *peer, int64_t now)
{
    const struct ending *ending = ending_of(t);
    intmax_t sent = t->slot->offset - t->slot->start;
    intmax_t promised = t->slot->end - t->slot->start;
    intmax_t acknowledged = t->acknowledged < sent ? t->acknowledged : sent;
    double seconds = (double)(now - t->slot->started) / CLOCK_SECOND;
    char known[24] = "?"; /* who has lost the socket cannot ask it */
    char rate[32];
    char resumed[48];

    raise_status(report, ending->status);
    if (!report_wants(report, t))
        return;
    if (acknowledged >= 0)
        (void)snprintf(known, sizeof(known), "%jd", acknowledged);
    format_rate(
        seconds > 0 && acknowledged > 0 ? (double)acknowledged / seconds : 0, rate, sizeof(rate));
    format_resumed(t->slot->resumed, resumed, sizeof(resumed));
    print(report, ending->level,
        "%s: %s to %s: %jd of %jd bytes sent, %s acknowledged, in %.3f s, %s%s%s%s%s%s%s",
        ending->name, t->source->name, peer, sent, promised, known, seconds, rate, resumed,
        ending->reason, t->call ? ": " : "", t->call ? t->call : "", t->error ? ": " : "",
        t->error ? strerror(t->error) : "");
}

bool report_wants(const struct report *report, const struct transfer *t)
{
    return ending_of(t)->level <= report->level;
}

void report_left(struct report *report, uint32_t n)
{
    print(report, LOG_NOTICE, "%" PRIu32 " transfer%s left to the next decant", n,
        n == 1 ? " is" : "s are");
    report->signal = SIGTERM;
}

int report_end(const struct report *report)
{
    sigset_t set;

    if (report->signal == 0)
        return report->status;
    (void)signal(report->signal, SIG_DFL);
    (void)raise(report->signal);
    (void)sigemptyset(&set);
    (void)sigaddset(&set, report->signal);
    (void)sigprocmask(SIG_UNBLOCK, &set, NULL);
    return EX_TEMPFAIL; /* not reached */
}

void report_refused(struct report *report, uint64_t n, const char *reason)
{
    raise_status(report, EX_TEMPFAIL);
    print(report, LOG_NOTICE, "refused: %" PRIu64 " client%s reset: %s", n, n == 1 ? "" : "s",
        reason);
}

void report_note(struct report *report, int level, const char *text)
{
    print(report, level, "%s", text);
}

void report_problem(struct report *report, const struct problem *problem)
{
    raise_status(report, problem->status);
    print(report, LOG_ERR, "%s", problem->text);
}

void report_caught(struct report *report, const char *call)
{
    print(report, LOG_ERR,
        "sandbox: the system call %s, which decant never makes, was caught, and ends it: "
        "a flaw, an attack, or a C library newer than the list; --sandbox=off allows all",
        call);
}

void report_text(const char *text)
{
    struct stat status;

    if (fstat(STDOUT_FILENO, &status) == 0 && !S_ISSOCK(status.st_mode))
        (void)dprintf(STDOUT_FILENO, "%s", text);
}
