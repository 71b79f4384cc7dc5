/* SPDX-License-Identifier: MIT */
#include "options.h"

#include "clock.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <syslog.h>

/*
 * The peer's kernel acknowledges a slow stream in steps of up to 64 KiB, and a rate must bring two
 * of them within each timeout: with one alone, a step that is late by a moment would be a stall.
 */
#define RATE_STEPS (2 * INT64_C(65536))

/* More than any machine has descriptors for, and a number that a table can still be made for. */
#define MOST_CONNECTIONS 1000000

/* Another one for a build with sanitizers, which need system calls that no filter allows. */
#ifndef USUAL_SANDBOX
#define USUAL_SANDBOX SANDBOX_TRY
#endif

enum kind { SIZE, RATE, TIME, COUNT, LEVEL, POLICY, FLAG };

struct row {
    const char *name;
    int letter;
    enum kind kind;
    size_t field; /* its offset in struct options */
    const char *argument;
    const char *help;
};

/* One line an option: everything that parsing and --help know of it. */
/* clang-format off */
#define FIELD(name) offsetof(struct options, name)
static const struct row rows[] = {
	{ "offset",        'o', SIZE,  FIELD(offset),        "BYTES",   "leave out so many bytes at the start of FILE" },
	{ "length",        'l', SIZE,  FIELD(length),        "BYTES",   "send so many bytes, no more" },
	{ "rate",          'r', RATE,  FIELD(rate),          "BYTES",   "send at most so many bytes a second (TCP only)" },
	{ "stall-timeout", 's', TIME,  FIELD(stall_timeout), "SECONDS", "reset a client that takes nothing for so long (default 60; 0: never)" },
	{ "drain-timeout", 'd', TIME,  FIELD(drain_timeout), "SECONDS", "the same once everything is sent (default 10; 0: never)" },
	{ "idle-exit",     'i', TIME,  FIELD(idle_exit),     "SECONDS", "resident: end when there was no client for so long (default 0: never)" },
	{ "stop-timeout",  't', TIME,  FIELD(stop_timeout),  "SECONDS", "resident: SIGTERM resets what still runs after so long (default 20)" },
	{ "max-connections", 'm', COUNT, FIELD(most_connections), "NUMBER", "resident: reset clients beyond so many at a time (default 4096)" },
	{ "max-connections-per-source", 'p', COUNT, FIELD(most_per_source), "NUMBER", "resident: the same for one address, or IPv6 /64 (default 0: no limit)" },
	{ "allow-changes", 'a', FLAG,  FIELD(allow_changes), NULL,      "send a file although it grows or changes meanwhile, such as a log" },
	{ "sandbox",       'S', POLICY, FIELD(sandbox),      "POLICY",  "require, try (default) or off: lock the process in, or do not start" },
	{ "log-level",     'L', LEVEL, FIELD(log_level),     "LEVEL",   "err, warning, notice, info (default) or debug" },
	{ "help",          'h', FLAG,  FIELD(help),          NULL,      "print this text" },
	{ "version",       'V', FLAG,  FIELD(version),       NULL,      "print the version" },
};
#undef FIELD
/* clang-format on */

#define ROWS (sizeof(rows) / sizeof(rows[0]))

struct unit {
    const char *name;
    int64_t value; /* a factor, a level, or a policy */
};

static const struct unit size_units[] = {
    {"", 1},
    {"K", INT64_C(1) << 10},
    {"M", INT64_C(1) << 20},
    {"G", INT64_C(1) << 30},
    {"T", INT64_C(1) << 40},
    {NULL, 0},
};

static const struct unit time_units[] = {
    {"", CLOCK_SECOND},
    {"s", CLOCK_SECOND},
    {"ms", CLOCK_SECOND / 1000},
    {"min", 60 * CLOCK_SECOND},
    {"h", 3600 * CLOCK_SECOND},
    {NULL, 0},
};

static const struct unit count_units[] = {
    {"", 1},
    {NULL, 0},
};

static const struct unit levels[] = {
    {"err", LOG_ERR},
    {"warning", LOG_WARNING},
    {"notice", LOG_NOTICE},
    {"info", LOG_INFO},
    {"debug", LOG_DEBUG},
    {NULL, 0},
};

static const struct unit policies[] = {
    {"require", SANDBOX_REQUIRE},
    {"try", SANDBOX_TRY},
    {"off", SANDBOX_OFF},
    {NULL, 0},
};

static const struct unit *find_unit(const struct unit *units, const char *name)
{
    while (units->name && strcmp(units->name, name) != 0)
        units++;
    return units->name ? units : NULL;
}

/* Digits, then one of the units; no sign, no space. -EINVAL, or -ERANGE above INT64_MAX. */
static int parse_number(const char *text, const struct unit *units, int64_t *ret)
{
    if (!isdigit((unsigned char)text[0]))
        return -EINVAL;
    errno = 0;
    char *rest;
    uintmax_t number = strtoumax(text, &rest, 10);
    if (errno != 0)
        return -ERANGE;
    const struct unit *unit = find_unit(units, rest);
    if (!unit)
        return -EINVAL;
    int64_t value;
    if (__builtin_mul_overflow(number, unit->value, &value))
        return -ERANGE;
    *ret = value;
    return 0;
}

/* The value of one option into its field; -EINVAL or -ERANGE. */
static int set_field(void *field, enum kind kind, const char *value)
{
    const struct unit *word;
    int r = 0;

    switch (kind) {
    case SIZE:
        return parse_number(value, size_units, field);
    case RATE:
        r = parse_number(value, size_units, field);
        return r == 0 && *(int64_t *)field == 0 ? -EINVAL : r;
    case TIME:
        return parse_number(value, time_units, field);
    case COUNT:
        r = parse_number(value, count_units, field);
        return r == 0 && *(int64_t *)field > MOST_CONNECTIONS ? -EINVAL : r;
    case LEVEL:
    case POLICY:
        word = find_unit(kind == LEVEL ? levels : policies, value);
        if (word)
            *(int *)field = (int)word->value;
        return word ? 0 : -EINVAL;
    case FLAG:
        *(bool *)field = true;
        break;
    }
    return r;
}

static int apply(
    struct options *options, const struct row *row, const char *value, struct problem *problem)
{
    static const char *const allowed[] = {
        [SIZE] = "a number of bytes, or of units with K, M, G or T (powers of 1024)",
        [RATE] = "a number of bytes a second above 0, or of units with K, M, G or T",
        [TIME] = "a number of seconds, or a number with ms, s, min or h",
        [COUNT] = "a whole number, at most 1000000",
        [LEVEL] = "err, warning, notice, info or debug",
        [POLICY] = "require, try or off",
    };
    const char *unit = row->kind == TIME ? "nanoseconds" : "bytes";

    int r = set_field((char *)options + row->field, row->kind, value);
    if (r == -ERANGE && row->kind != COUNT)
        return problem_set(problem, EINVAL, EX_USAGE,
            "--%s: '%s' is too large; it takes %s, below 2^63 %s", row->name, value,
            allowed[row->kind], unit);
    if (r < 0)
        return problem_set(problem, EINVAL, EX_USAGE, "--%s: '%s' is not understood; it takes %s",
            row->name, value, allowed[row->kind]);
    return 0;
}

/* A rate that the shorter timeout cannot bear would make every transfer a stall: say it now. */
static int check_rate(const struct options *options, struct problem *problem)
{
    int64_t stall = options->stall_timeout > 0 ? options->stall_timeout : CLOCK_NEVER;
    int64_t drain = options->drain_timeout > 0 ? options->drain_timeout : CLOCK_NEVER;
    const char *name = drain < stall ? "drain" : "stall";
    double seconds = (double)(drain < stall ? drain : stall) / CLOCK_SECOND;

    if (options->rate == 0 || (double)options->rate * seconds >= (double)RATE_STEPS)
        return 0;
    return problem_set(problem, EINVAL, EX_USAGE,
        "--rate: %" PRId64 " bytes a second are too slow for --%s-timeout, %.3g s here, "
        "since a peer acknowledges in steps of up to 64 KiB; "
        "allow %.0f bytes a second or more, or give --%s-timeout=%.0f or more",
        options->rate, name, seconds, (double)RATE_STEPS / seconds + 1, name,
        (double)RATE_STEPS / (double)options->rate + 1);
}

/* What getopt_long(3) needs of the table: the short letters and the long names. */
static void build_getopt(char *letters, struct option *names)
{
    *letters++ = ':'; /* a missing argument is ':' and not '?', and nothing is printed */
    for (size_t i = 0; i < ROWS; i++) {
        names[i].name = rows[i].name;
        names[i].has_arg = rows[i].argument ? required_argument : no_argument;
        names[i].val = rows[i].letter;
        *letters++ = (char)rows[i].letter;
        if (rows[i].argument)
            *letters++ = ':';
    }
    *letters = '\0';
}

static const struct row *find_row(int letter)
{
    for (size_t i = 0; i < ROWS; i++)
        if (rows[i].letter == letter)
            return &rows[i];
    return NULL;
}

/* getopt_long(3) has found something that is not in the table, or not as the table has it. */
static int refuse_word(int c, char **argv, struct problem *problem)
{
    const struct row *row = find_row(optopt);

    if (c == ':' && row)
        return problem_set(problem, EINVAL, EX_USAGE, "--%s needs a value: --%s=%s", row->name,
            row->name, row->argument);
    if (row)
        return problem_set(problem, EINVAL, EX_USAGE, "--%s takes no value", row->name);
    if (optopt != 0)
        return problem_set(
            problem, EINVAL, EX_USAGE, "'-%c' is no option of decant; see decant --help", optopt);
    return problem_set(problem, EINVAL, EX_USAGE,
        "'%s' is no option of decant, or the beginning of several; see decant --help",
        argv[optind - 1]);
}

static int parse_words(struct options *options, int argc, char **argv, struct problem *problem)
{
    char letters[2 * ROWS + 2];
    struct option names[ROWS + 1] = {0};

    build_getopt(letters, names);
    opterr = 0;
    optind = 0; /* start afresh, also at a second call (glibc and musl) */
    for (;;) {
        int c = getopt_long(argc, argv, letters, names, NULL);
        if (c == -1)
            return 0;
        const struct row *row = c == '?' || c == ':' ? NULL : find_row(c);
        int r = row ? apply(options, row, optarg, problem) : refuse_word(c, argv, problem);
        if (r < 0)
            return r;
    }
}

int options_parse(struct options *options, int argc, char **argv, struct problem *problem)
{
    *options = (struct options){
        .length = OPTIONS_TO_THE_END,
        .stall_timeout = 60 * CLOCK_SECOND,
        .drain_timeout = 10 * CLOCK_SECOND,
        .stop_timeout = 20 * CLOCK_SECOND,
        .sandbox = USUAL_SANDBOX,
        .log_level = LOG_INFO,
    };
    int r = parse_words(options, argc, argv, problem);
    if (r < 0)
        return r;
    if (argc - optind > 1)
        return problem_set(problem, EINVAL, EX_USAGE,
            "one FILE, please, not %d ('%s' and '%s'); quote a name that has spaces", argc - optind,
            argv[optind], argv[optind + 1]);
    if (argc - optind == 1)
        options->file = argv[optind];
    /* systemd hands over '' for ${DECANT_FILE} when a drop-in has emptied the variable. */
    if (options->file && options->file[0] == '\0')
        return problem_set(problem, EINVAL, EX_USAGE,
            "FILE is empty; name a file (in the unit: Environment=DECANT_FILE=/path)");
    return check_rate(options, problem);
}

void options_help(char *text, size_t size)
{
    FILE *stream = fmemopen(text, size, "w");

    text[0] = '\0';
    if (!stream)
        return;
    (void)fprintf(stream,
        "Usage: decant [OPTION...] FILE\n"
        "Send FILE to each client that a supervisor hands over: complete, or reset.\n\n");
    for (size_t i = 0; i < ROWS; i++) {
        char name[48];
        (void)snprintf(name, sizeof(name), "%s%s%s", rows[i].name, rows[i].argument ? "=" : "",
            rows[i].argument ? rows[i].argument : "");
        (void)fprintf(stream, "  -%c, --%-33s %s\n", rows[i].letter, name, rows[i].help);
    }
    (void)fprintf(stream,
        "\nBYTES may end in K, M, G or T (powers of 1024), SECONDS in ms, s, min or h.\n"
        "To try it: systemd-socket-activate --accept -l 7070 decant FILE\n"
        "See decant(8) for systemd, inetd and xinetd, and for the exit statuses.\n");
    (void)fclose(stream);
}
