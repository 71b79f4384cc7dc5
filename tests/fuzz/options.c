/* SPDX-License-Identifier: MIT */
/*
 * The command line is the admin's, but what stands in it comes from units, drop-ins and shells: a
 * parser that reads past an argument, or lets a number through that nobody can keep to, would be
 * found by the one host where it happens.
 *
 * The input is the arguments, each ended by a zero byte.
 */
#include "options.h"
#include "clock.h"
#include "report.h"
#include "world.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <syslog.h>

#define MOST_ARGUMENTS 64

static void check_help(void)
{
    char text[4096];

    options_help(text, sizeof(text));
    CHECK(strlen(text) > 1000 && strlen(text) < sizeof(text) - 64, "%zu bytes", strlen(text));
    CHECK(strcmp(strrchr(text, 'S'), "See decant(8) for systemd, inetd and xinetd, and for the "
                                     "exit statuses.\n") == 0,
        "the help ends in '%s'", text + strlen(text) - 20);
    for (size_t size = 1; size < 300; size++) {
        char *small = malloc(size); /* where a byte too many is seen */
        options_help(small, size);
        CHECK(memchr(small, '\0', size), "of %zu bytes none ends the text", size);
        free(small);
    }
}

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    world_init();
    check_help();
    return 0;
}

/* Each argument in memory of its own, so that a byte behind its end is nobody's. */
static int split(const uint8_t *data, size_t size, char **argv)
{
    int argc = 0;

    argv[argc++] = strdup("decant");
    for (size_t at = 0; at < size && argc < MOST_ARGUMENTS; argc++) {
        argv[argc] = strndup((const char *)data + at, size - at);
        at += strlen(argv[argc]) + 1;
    }
    argv[argc] = NULL;
    return argc;
}

static void check_level(int level)
{
    CHECK(level == LOG_ERR || level == LOG_WARNING || level == LOG_NOTICE || level == LOG_INFO ||
              level == LOG_DEBUG,
        "%d", level);
}

/* What options.h says of each, also after a failure. */
static void check_fields(const struct options *o)
{
    CHECK(o->offset >= 0, "%jd", (intmax_t)o->offset);
    CHECK(o->length >= 0 || o->length == OPTIONS_TO_THE_END, "%jd", (intmax_t)o->length);
    CHECK(o->rate >= 0, "%jd", (intmax_t)o->rate);
    CHECK(o->stall_timeout >= 0, "%jd", (intmax_t)o->stall_timeout);
    CHECK(o->drain_timeout >= 0, "%jd", (intmax_t)o->drain_timeout);
    CHECK(o->idle_exit >= 0, "%jd", (intmax_t)o->idle_exit);
    CHECK(o->stop_timeout >= 0, "%jd", (intmax_t)o->stop_timeout);
    CHECK(o->most_per_source >= 0, "%jd", (intmax_t)o->most_per_source);
    check_level(o->log_level);
    CHECK(o->sandbox == SANDBOX_TRY || o->sandbox == SANDBOX_REQUIRE || o->sandbox == SANDBOX_OFF,
        "%d", o->sandbox);
}

/* What is more than a failed parse may leave behind. */
static void check_success(const struct options *o, int argc, char **argv)
{
    int at = 1;

    CHECK(o->most_connections >= 0 && o->most_connections <= 1000000, "%jd",
        (intmax_t)o->most_connections);
    CHECK(o->most_per_source <= 1000000, "%jd", (intmax_t)o->most_per_source);
    /* A rate brings its 128 KiB within either timeout, or each transfer would be a stall. */
    const double shortest =
        (double)(o->stall_timeout > 0 &&
                         (o->drain_timeout == 0 || o->stall_timeout < o->drain_timeout)
                     ? o->stall_timeout
                     : o->drain_timeout) /
        CLOCK_SECOND;
    CHECK(o->rate == 0 || shortest == 0 || (double)o->rate * shortest >= 131071, "%jd in %g s",
        (intmax_t)o->rate, shortest);
    if (!o->file)
        return;
    CHECK(o->file[0] != '\0', "FILE is empty");
    while (at < argc && argv[at] != o->file)
        at++;
    CHECK(at < argc, "FILE is none of the arguments");
}

/* The record of it is one line, whatever stands in the arguments. */
static void check_problem(const struct problem *problem)
{
    struct report report;

    CHECK(problem->status == EX_USAGE, "%d", problem->status);
    CHECK(memchr(problem->text, '\0', sizeof(problem->text)), "the text has no end");
    CHECK(problem->text[0] != '\0', "the text is empty");
    world_said[0] = '\0';
    world_hears = true;
    report_open(&report, CHANNEL_STDERR, LOG_INFO);
    report_problem(&report, problem);
    world_hears = false;
    char *end = strchr(world_said, '\n');
    CHECK(end && end[1] == '\0', "not one line");
    CHECK(report_end(&report) == EX_USAGE, "%d", report_end(&report));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *argv[MOST_ARGUMENTS + 1];
    struct options first;
    struct options again;
    struct problem problem = {0};

    int argc = split(data, size, argv);
    memset(&first, 0x55, sizeof(first)); /* all is set by the callee */
    int r = options_parse(&first, argc, argv, &problem);
    CHECK(r == 0 || r == -EINVAL, "%d", r);
    check_fields(&first);
    if (r == 0)
        check_success(&first, argc, argv);
    else
        check_problem(&problem);

    /* getopt_long(3) has sorted the arguments by now, which must change nothing. */
    int r2 = options_parse(&again, argc, argv, &problem);
    CHECK(r2 == r, "%d", r2);
    if (r == 0)
        CHECK(again.file == first.file && again.offset == first.offset &&
                  again.length == first.length && again.rate == first.rate &&
                  again.help == first.help && again.version == first.version,
            "parsed twice, it says something else");
    for (int i = 0; i < argc; i++) /* all of them are still there, in whatever order */
        free(argv[i]);
    return 0;
}
