/* SPDX-License-Identifier: MIT */

/*
 * What went wrong in others: atoi(3), for which "1O0M" is 1 and 2^63 is what it likes; an option
 * misread as the file; an empty variable of a unit that became the current directory. A command
 * line that is not wholly understood must not send anything, and must say which word it was.
 */

#include "kernel.h"
#include "options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <syslog.h>

#define WORDS  6
#define SECOND CLOCK_SECOND

struct good {
    const char *words[WORDS];
    struct options options;
};

#define DEFAULT                                                                                    \
    .length = OPTIONS_TO_THE_END, .stall_timeout = 60 * SECOND, .drain_timeout = 10 * SECOND,      \
    .stop_timeout = 20 * SECOND, .log_level = LOG_INFO
#define WITH(...)                                                                                  \
    {                                                                                              \
        DEFAULT, __VA_ARGS__                                                                       \
    }

/* A later value takes the place of the default: that is what these rows are for. */
#pragma GCC diagnostic ignored "-Woverride-init"

static const struct good goods[] = {
    {{NULL}, {DEFAULT}},
    {{"F"}, WITH(.file = "F")},
    {{"-"}, WITH(.file = "-")},
    {{"--", "-o"}, WITH(.file = "-o")},
    {{"--", "--help"}, WITH(.file = "--help")},
    {{" "}, WITH(.file = " ")},
    {{"--offset=0", "F"}, WITH(.file = "F")},
    {{"--offset=1", "F"}, WITH(.file = "F", .offset = 1)},
    {{"--offset", "1", "F"}, WITH(.file = "F", .offset = 1)},
    {{"F", "--offset=1"}, WITH(.file = "F", .offset = 1)},
    {{"-o1", "F"}, WITH(.file = "F", .offset = 1)},
    {{"-o", "1", "F"}, WITH(.file = "F", .offset = 1)},
    {{"--offset=007", "F"}, WITH(.file = "F", .offset = 7)}, /* not octal */
    {{"--offset=08", "F"}, WITH(.file = "F", .offset = 8)},
    {{"--offset=2K"}, WITH(.offset = 2048)},
    {{"--offset=2M"}, WITH(.offset = 2 << 20)},
    {{"--offset=5G"}, WITH(.offset = INT64_C(5) << 30)},
    {{"--offset=2T"}, WITH(.offset = INT64_C(2) << 40)},
    {{"--offset=9223372036854775807"}, WITH(.offset = INT64_MAX)},
    {{"--offset=9007199254740991K"}, WITH(.offset = INT64_C(9007199254740991) << 10)},
    {{"--offset=8388607T"}, WITH(.offset = INT64_C(8388607) << 40)},
    {{"--offset=1", "--offset=2"}, WITH(.offset = 2)}, /* the last one counts */
    {{"--length=0"}, WITH(.length = 0)},
    {{"--length=1"}, WITH(.length = 1)},
    {{"-l", "3K"}, WITH(.length = 3072)},
    {{"--length=9223372036854775807"}, WITH(.length = INT64_MAX)},
    {{"--rate=1M"}, WITH(.rate = 1 << 20)},
    {{"-r1G"}, WITH(.rate = 1 << 30)},
    {{"--rate=9223372036854775807"}, WITH(.rate = INT64_MAX)},
    {{"--stall-timeout=5"}, WITH(.stall_timeout = 5 * SECOND)},
    {{"--stall-timeout=5s"}, WITH(.stall_timeout = 5 * SECOND)},
    {{"--stall-timeout=500ms"}, WITH(.stall_timeout = SECOND / 2)},
    {{"--stall-timeout=2min"}, WITH(.stall_timeout = 120 * SECOND)},
    {{"--stall-timeout=1h"}, WITH(.stall_timeout = 3600 * SECOND)},
    {{"--stall-timeout=0"}, WITH(.stall_timeout = 0)},
    {{"-s", "7"}, WITH(.stall_timeout = 7 * SECOND)},
    {{"--stall-timeout=9223372036"}, WITH(.stall_timeout = 9223372036 * SECOND)},
    {{"--drain-timeout=0ms"}, WITH(.drain_timeout = 0)},
    {{"-d1min"}, WITH(.drain_timeout = 60 * SECOND)},
    {{"--idle-exit=30"}, WITH(.idle_exit = 30 * SECOND)},
    {{"--idle-exit=1ms"}, WITH(.idle_exit = CLOCK_MS)},
    {{"--idle-exit=0"}, WITH(.idle_exit = 0)},
    {{"-i2min"}, WITH(.idle_exit = 120 * SECOND)},
    {{"--stop-timeout=5"}, WITH(.stop_timeout = 5 * SECOND)},
    {{"--stop-timeout=0"}, WITH(.stop_timeout = 0)},
    {{"-t", "1h"}, WITH(.stop_timeout = 3600 * SECOND)},
    {{"--max-connections=1"}, WITH(.most_connections = 1)},
    {{"--max-connections=0"}, WITH(.most_connections = 0)},
    {{"--max-connections=1000000"}, WITH(.most_connections = 1000000)},
    {{"-m10000"}, WITH(.most_connections = 10000)},
    {{"--max-connections-per-source=8"}, WITH(.most_per_source = 8)},
    {{"--max-connections-per-source=1000000"}, WITH(.most_per_source = 1000000)},
    {{"-p", "2"}, WITH(.most_per_source = 2)},
    {{"-m5", "-p2", "-i1", "-t1"}, WITH(.most_connections = 5, .most_per_source = 2,
                                       .idle_exit = SECOND, .stop_timeout = SECOND)},
    {{"--allow-changes"}, WITH(.allow_changes = true)},
    {{"-a"}, WITH(.allow_changes = true)},
    {{"--sandbox=require"}, WITH(.sandbox = SANDBOX_REQUIRE)},
    {{"--sandbox=try"}, WITH(.sandbox = SANDBOX_TRY)},
    {{"--sandbox=off"}, WITH(.sandbox = SANDBOX_OFF)},
    {{"--sandbox", "off", "F"}, WITH(.file = "F", .sandbox = SANDBOX_OFF)},
    {{"-S", "require"}, WITH(.sandbox = SANDBOX_REQUIRE)},
    {{"-Soff"}, WITH(.sandbox = SANDBOX_OFF)},
    {{"-aSrequire"}, WITH(.allow_changes = true, .sandbox = SANDBOX_REQUIRE)},
    {{"--sandbox=off", "-Stry"}, WITH(.sandbox = SANDBOX_TRY)},
    {{"--log-level=err"}, WITH(.log_level = LOG_ERR)},
    {{"--log-level=warning"}, WITH(.log_level = LOG_WARNING)},
    {{"--log-level=notice"}, WITH(.log_level = LOG_NOTICE)},
    {{"--log-level=info"}, WITH(.log_level = LOG_INFO)},
    {{"--log-level=debug"}, WITH(.log_level = LOG_DEBUG)},
    {{"-L", "err"}, WITH(.log_level = LOG_ERR)},
    {{"--help"}, WITH(.help = true)},
    {{"-h"}, WITH(.help = true)},
    {{"--version"}, WITH(.version = true)},
    {{"-V"}, WITH(.version = true)},
    {{"-aV", "F"}, WITH(.file = "F", .allow_changes = true, .version = true)},
    {{"-ao5", "F"}, WITH(.file = "F", .allow_changes = true, .offset = 5)},
    /* a unique beginning will do */
    {{"--off=3"}, WITH(.offset = 3)},
    {{"--le=3"}, WITH(.length = 3)},
    {{"--r", "1M"}, WITH(.rate = 1 << 20)},
    {{"--sta=3"}, WITH(.stall_timeout = 3 * SECOND)},
    {{"--sto=3"}, WITH(.stop_timeout = 3 * SECOND)},
    {{"--i=3"}, WITH(.idle_exit = 3 * SECOND)},
    {{"--max-connections-p=3"}, WITH(.most_per_source = 3)},
    {{"--allow"}, WITH(.allow_changes = true)},
    {{"--log=err"}, WITH(.log_level = LOG_ERR)},
    {{"--sa=off"}, WITH(.sandbox = SANDBOX_OFF)},
    /* a rate that the timeouts just bear: two steps of 64 KiB in each */
    {{"--rate=13108"}, WITH(.rate = 13108)},
    {{"--rate=131072", "-s1", "-d1"},
        WITH(.rate = 131072, .stall_timeout = SECOND, .drain_timeout = SECOND)},
    {{"--rate=1", "-s0", "-d0"}, WITH(.rate = 1, .stall_timeout = 0, .drain_timeout = 0)},
    {{"-d0", "-s0", "--rate=1"}, WITH(.rate = 1, .stall_timeout = 0, .drain_timeout = 0)},
    {{"--rate=2K", "-s70", "-d64"},
        WITH(.rate = 2048, .stall_timeout = 70 * SECOND, .drain_timeout = 64 * SECOND)},
};

struct bad {
    const char *words[WORDS];
    const char *says[3]; /* the option, the value, what is allowed */
};

#define BYTES "a number of bytes"
#define TIME  "a number of seconds"
#define COUNT "a whole number, at most 1000000"
#define WORD  "require, try or off"

static const struct bad bads[] = {
    {{"--offset=", "F"}, {"--offset:", "''", BYTES}},
    {{"--offset=-1", "F"}, {"--offset:", "'-1'", BYTES}},
    {{"--offset=+1", "F"}, {"--offset:", "'+1'", BYTES}},
    {{"--offset= 1", "F"}, {"--offset:", "' 1'", BYTES}},
    {{"--offset=1 ", "F"}, {"--offset:", "'1 '", BYTES}},
    {{"--offset=1 K", "F"}, {"--offset:", "'1 K'", BYTES}},
    {{"--offset=K", "F"}, {"--offset:", "'K'", BYTES}},
    {{"--offset=1k", "F"}, {"--offset:", "'1k'", BYTES}},
    {{"--offset=1KB", "F"}, {"--offset:", "'1KB'", BYTES}},
    {{"--offset=1KiB", "F"}, {"--offset:", "'1KiB'", BYTES}},
    {{"--offset=1P", "F"}, {"--offset:", "'1P'", BYTES}},
    {{"--offset=1KK", "F"}, {"--offset:", "'1KK'", BYTES}},
    {{"--offset=1.5K", "F"}, {"--offset:", "'1.5K'", BYTES}},
    {{"--offset=0x10", "F"}, {"--offset:", "'0x10'", BYTES}},
    {{"--offset=1e3", "F"}, {"--offset:", "'1e3'", BYTES}},
    {{"--offset=1O0M", "F"}, {"--offset:", "'1O0M'", BYTES}},
    {{"--offset=1s", "F"}, {"--offset:", "'1s'", BYTES}},
    {{"--offset=9223372036854775808", "F"},
        {"--offset:", "'9223372036854775808' is too large", "2^63 bytes"}},
    {{"--offset=18446744073709551615", "F"}, {"--offset:", "is too large", "2^63"}},
    {{"--offset=18446744073709551616", "F"}, {"--offset:", "is too large", "2^63"}},
    {{"--offset=99999999999999999999999K", "F"}, {"--offset:", "is too large", "2^63"}},
    {{"--offset=9007199254740992K", "F"},
        {"--offset:", "'9007199254740992K' is too large", "2^63"}},
    {{"--offset=8388608T", "F"}, {"--offset:", "'8388608T' is too large", "2^63"}},
    {{"-o", "-5", "F"}, {"--offset:", "'-5'", BYTES}},
    {{"--length=-1", "F"}, {"--length:", "'-1'", BYTES}},
    {{"--length=", "F"}, {"--length:", "''", BYTES}},
    {{"--length=8589934592G", "F"}, {"--length:", "is too large", "2^63"}},
    {{"--rate=0", "F"}, {"--rate:", "'0'", "above 0"}},
    {{"--rate=0K", "F"}, {"--rate:", "'0K'", "above 0"}},
    {{"--rate=-1", "F"}, {"--rate:", "'-1'", "a second"}},
    {{"--rate=1M/s", "F"}, {"--rate:", "'1M/s'", "a second"}},
    {{"--stall-timeout=", "F"}, {"--stall-timeout:", "''", TIME}},
    {{"--stall-timeout=-1", "F"}, {"--stall-timeout:", "'-1'", TIME}},
    {{"--stall-timeout=1.5", "F"}, {"--stall-timeout:", "'1.5'", TIME}},
    {{"--stall-timeout=1m", "F"}, {"--stall-timeout:", "'1m'", TIME}},
    {{"--stall-timeout=1 s", "F"}, {"--stall-timeout:", "'1 s'", TIME}},
    {{"--stall-timeout=1d", "F"}, {"--stall-timeout:", "'1d'", TIME}},
    {{"--stall-timeout=never", "F"}, {"--stall-timeout:", "'never'", TIME}},
    {{"--stall-timeout=9223372037", "F"}, {"--stall-timeout:", "is too large", "nanoseconds"}},
    {{"--stall-timeout=2562048h", "F"}, {"--stall-timeout:", "is too large", "nanoseconds"}},
    {{"-d", "10K", "F"}, {"--drain-timeout:", "'10K'", TIME}},
    {{"--idle-exit=", "F"}, {"--idle-exit:", "''", TIME}},
    {{"--idle-exit=-1", "F"}, {"--idle-exit:", "'-1'", TIME}},
    {{"--idle-exit=9223372037", "F"}, {"--idle-exit:", "is too large", "nanoseconds"}},
    {{"--stop-timeout=1.5", "F"}, {"--stop-timeout:", "'1.5'", TIME}},
    {{"-tnever", "F"}, {"--stop-timeout:", "'never'", TIME}},
    {{"--max-connections=", "F"}, {"--max-connections:", "''", COUNT}},
    {{"--max-connections=-1", "F"}, {"--max-connections:", "'-1'", COUNT}},
    {{"--max-connections=1K", "F"}, {"--max-connections:", "'1K'", COUNT}},
    {{"--max-connections=1e3", "F"}, {"--max-connections:", "'1e3'", COUNT}},
    {{"--max-connections=1000001", "F"}, {"--max-connections:", "'1000001'", COUNT}},
    {{"--max-connections=4294967297", "F"}, {"--max-connections:", "'4294967297'", COUNT}},
    {{"--max-connections=18446744073709551617", "F"},
        {"--max-connections:", "'18446744073709551617'", COUNT}},
    {{"--max-connections-per-source=1000001", "F"},
        {"--max-connections-per-source:", "'1000001'", COUNT}},
    {{"-p", "all", "F"}, {"--max-connections-per-source:", "'all'", COUNT}},
    {{"--log-level=", "F"}, {"--log-level:", "''", "err, warning"}},
    {{"--log-level=ERR", "F"}, {"--log-level:", "'ERR'", "err, warning"}},
    {{"--log-level=error", "F"}, {"--log-level:", "'error'", "err, warning"}},
    {{"--log-level=3", "F"}, {"--log-level:", "'3'", "err, warning"}},
    {{"-Ltrace", "F"}, {"--log-level:", "'trace'", "err, warning"}},
    {{"--sandbox=", "F"}, {"--sandbox:", "''", WORD}},
    {{"--sandbox=on", "F"}, {"--sandbox:", "'on'", WORD}},
    {{"--sandbox=yes", "F"}, {"--sandbox:", "'yes'", WORD}},
    {{"--sandbox=Off", "F"}, {"--sandbox:", "'Off'", WORD}},
    {{"--sandbox=required", "F"}, {"--sandbox:", "'required'", WORD}},
    {{"--sandbox=req", "F"}, {"--sandbox:", "'req'", WORD}}, /* no beginnings of words */
    {{"--sandbox=off ", "F"}, {"--sandbox:", "'off '", WORD}},
    {{"--sandbox=2", "F"}, {"--sandbox:", "'2'", WORD}},
    {{"--sandbox=err", "F"}, {"--sandbox:", "'err'", WORD}}, /* a word of another option */
    {{"--log-level=off", "F"}, {"--log-level:", "'off'", "err, warning"}},
    {{"-Snone", "F"}, {"--sandbox:", "'none'", WORD}},
    /* no value, and one too many */
    {{"--sandbox"}, {"--sandbox needs a value", "--sandbox=POLICY"}},
    {{"F", "-S"}, {"--sandbox needs a value", "--sandbox=POLICY"}},
    {{"--offset"}, {"--offset needs a value", "--offset=BYTES"}},
    {{"F", "-o"}, {"--offset needs a value", "--offset=BYTES"}},
    {{"--stall-timeout"}, {"--stall-timeout needs a value", "--stall-timeout=SECONDS"}},
    {{"--drain"}, {"--drain-timeout needs a value"}},
    {{"-m"}, {"--max-connections needs a value", "--max-connections=NUMBER"}},
    {{"-p"}, {"--max-connections-per-source needs a value"}},
    {{"-i"}, {"--idle-exit needs a value", "--idle-exit=SECONDS"}},
    {{"-L"}, {"--log-level needs a value", "--log-level=LEVEL"}},
    {{"--allow-changes=yes", "F"}, {"--allow-changes takes no value"}},
    {{"--allow=", "F"}, {"--allow-changes takes no value"}},
    {{"--help=me"}, {"--help takes no value"}},
    {{"--version=1"}, {"--version takes no value"}},
    /* not in the table */
    {{"--listen=80", "F"}, {"'--listen=80' is no option", "--help"}},
    {{"--offsets=1", "F"}, {"'--offsets=1' is no option", "--help"}},
    {{"--Offset=1", "F"}, {"'--Offset=1' is no option", "--help"}},
    {{"--l=5", "F"}, {"'--l=5'", "the beginning of several"}},
    {{"--s=5", "F"}, {"'--s=5'", "the beginning of several"}},
    {{"--max=5", "F"}, {"'--max=5'", "the beginning of several"}},
    {{"--=5", "F"}, {"'--=5'", "the beginning of several"}},
    {{"-x", "F"}, {"'-x' is no option", "--help"}},
    {{"-ax", "F"}, {"'-x' is no option", "--help"}},
    {{"-a=1", "F"}, {"'-=' is no option", "--help"}},
    {{"-:", "F"}, {"'-:' is no option"}},
    {{"-?", "F"}, {"'-?' is no option"}},
    {{"F", "--bogus"}, {"'--bogus' is no option"}},
    /* the file */
    {{"F", "G"}, {"one FILE", "'F' and 'G'", "not 2"}},
    {{"F", "G", "H"}, {"one FILE", "not 3", "quote"}},
    {{"F", "-a", "G"}, {"one FILE", "'F' and 'G'"}},
    {{""}, {"FILE is empty", "DECANT_FILE"}},
    {{"-a", ""}, {"FILE is empty"}},
    {{"", "F"}, {"one FILE", "'' and 'F'"}},
    /* a rate that a timeout would take for a stall */
    {{"--rate=13107", "F"},
        {"--rate: 13107", "--drain-timeout, 10 s", "--drain-timeout=11 or more"}},
    {{"--rate=1", "F"}, {"--rate: 1 bytes", "--drain-timeout, 10 s", "allow 13108 bytes"}},
    {{"--rate=1", "-d2min", "F"}, {"--rate: 1 bytes", "--stall-timeout, 60 s", "allow 2186 bytes"}},
    {{"--rate=131071", "-s1", "-d0", "F"}, {"--rate: 131071", "--stall-timeout, 1 s"}},
    {{"-d100ms", "--rate=1M", "F"}, {"--rate: 1048576", "--drain-timeout, 0.1 s"}},
    {{"--rate=1K", "-s0", "F"}, {"--rate: 1024", "--drain-timeout"}},
};

/* getopt_long(3) may put the words in another order, hence a copy for each parse. */
static int parse(const char *const *words, struct options *options, struct problem *problem)
{
    char *argv[WORDS + 2] = {(char *)"decant"};
    int argc = 1;

    while (argc <= WORDS && words[argc - 1]) {
        argv[argc] = (char *)words[argc - 1];
        argc++;
    }
    return options_parse(options, argc, argv, problem);
}

static void check_options(const struct options *is, const struct options *should)
{
    if (should->file)
        assert_string_equal(is->file, should->file);
    else
        assert_null(is->file);
    assert_true(is->offset == should->offset);
    assert_true(is->length == should->length);
    assert_true(is->rate == should->rate);
    assert_true(is->stall_timeout == should->stall_timeout);
    assert_true(is->drain_timeout == should->drain_timeout);
    assert_true(is->idle_exit == should->idle_exit);
    assert_true(is->stop_timeout == should->stop_timeout);
    assert_true(is->most_connections == should->most_connections);
    assert_true(is->most_per_source == should->most_per_source);
    assert_int_equal(is->sandbox, should->sandbox);
    assert_int_equal(is->log_level, should->log_level);
    assert_int_equal(is->allow_changes, should->allow_changes);
    assert_int_equal(is->help, should->help);
    assert_int_equal(is->version, should->version);
}

static void test_good(void **state)
{
    const struct good *c = *state;
    struct options options;
    struct problem problem = {0};

    if (parse(c->words, &options, &problem) != 0)
        fail_msg("%s", problem.text);
    check_options(&options, &c->options);
    assert_int_equal(problem.status, 0);
}

static void test_bad(void **state)
{
    const struct bad *c = *state;
    struct options options;
    struct problem problem = {0};

    assert_int_equal(parse(c->words, &options, &problem), -EINVAL);
    assert_int_equal(problem.status, EX_USAGE);
    for (size_t i = 0; i < LENGTH(c->says) && c->says[i]; i++)
        if (!strstr(problem.text, c->says[i]))
            fail_msg("'%s' does not say '%s'", problem.text, c->says[i]);
    assert_null(strchr(problem.text, '\n'));
    /* The level that was asked for holds for the message on what follows it. */
    assert_true(options.log_level >= LOG_ERR && options.log_level <= LOG_DEBUG);
}

/* getopt_long(3) keeps its place in globals: a second parse must not go on behind the first. */
static void test_second_parse(void **state)
{
    static const char *const first[WORDS] = {"-ax", "F", "G"};
    static const char *const second[WORDS] = {"-o5", "H", "-V"};
    static const struct options should = WITH(.file = "H", .offset = 5, .version = true);
    struct options options;
    struct problem problem;

    (void)state;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(parse(first, &options, &problem), -EINVAL);
        assert_int_equal(parse(second, &options, &problem), 0);
        check_options(&options, &should);
    }
}

/* What was understood before the error is kept: the log level decides who reads about it. */
static void test_kept_before_error(void **state)
{
    static const char *const words[WORDS] = {"--log-level=err", "--bogus", "--offset=1"};
    struct options options;
    struct problem problem;

    (void)state;
    assert_int_equal(parse(words, &options, &problem), -EINVAL);
    assert_int_equal(options.log_level, LOG_ERR);
    assert_true(options.offset == 0);
}

/* A value as long as the kernel lets it be is cut in the message, and nowhere else. */
static void test_long_value(void **state)
{
    static char word[100000];
    const char *const words[WORDS] = {word};
    struct options options;
    struct problem problem;

    (void)state;
    memset(word, '9', sizeof(word) - 1);
    memcpy(word, "--offset=", strlen("--offset="));
    assert_int_equal(parse(words, &options, &problem), -EINVAL);
    assert_true(strlen(problem.text) < sizeof(problem.text));
    assert_non_null(strstr(problem.text, "--offset: '999"));
}

static void test_help(void **state)
{
    static const char *const lines[] = {"Usage: decant [OPTION...] FILE", "  -o, --offset=BYTES",
        "  -l, --length=BYTES", "  -r, --rate=BYTES", "  -s, --stall-timeout=SECONDS",
        "  -d, --drain-timeout=SECONDS", "  -a, --allow-changes ", "  -L, --log-level=LEVEL",
        "  -S, --sandbox=POLICY", "require, try (default) or off", "  -i, --idle-exit=SECONDS",
        "  -t, --stop-timeout=SECONDS", "  -m, --max-connections=NUMBER",
        "  -p, --max-connections-per-source=NUMBER", "  -h, --help ", "  -V, --version ",
        "default 60", "default 10", "default 20", "default 4096", "systemd-socket-activate"};
    char text[4096];

    (void)state;
    memset(text, 'x', sizeof(text));
    options_help(text, sizeof(text));
    assert_true(strlen(text) < sizeof(text) - 1); /* not cut */
    for (size_t i = 0; i < LENGTH(lines); i++)
        if (!strstr(text, lines[i]))
            fail_msg("--help does not say '%s'", lines[i]);
    assert_int_equal(text[strlen(text) - 1], '\n');
    /* Every line of an option has its words in the same column, and fits in 120. */
    size_t column = 0;
    for (char *line = strstr(text, "  -"); line; line = strstr(line + 1, "\n  -")) {
        line += line[0] == '\n';
        char *words = strstr(line + 10, " ");
        assert_non_null(words);
        words += strspn(words, " ");
        column = column ? column : (size_t)(words - line);
        if ((size_t)(words - line) != column || strcspn(line, "\n") > 120)
            fail_msg("out of line: '%.*s'", (int)strcspn(line, "\n"), line);
    }
}

/* Every option that --help lists is one, and so is each letter. */
static void test_help_is_true(void **state)
{
    char text[4096];
    int n = 0;

    (void)state;
    options_help(text, sizeof(text));
    for (char *line = strstr(text, "  -"); line; line = strstr(line + 1, "\n  -")) {
        char letter[3] = {'-', line[strspn(line, "\n -")], '\0'};
        const char *name = strstr(line, "--");
        char word[40];
        struct options options;
        struct problem problem;
        (void)snprintf(word, sizeof(word), "%.*s", (int)strcspn(name, "= "), name);
        const char *const by_name[WORDS] = {word};
        const char *const by_letter[WORDS] = {letter};
        bool takes = name[strlen(word)] == '=';
        assert_int_equal(parse(by_name, &options, &problem), takes ? -EINVAL : 0);
        if (takes)
            assert_non_null(strstr(problem.text, "needs a value"));
        assert_int_equal(parse(by_letter, &options, &problem), takes ? -EINVAL : 0);
        if (takes)
            assert_non_null(strstr(problem.text, word));
        n++;
    }
    assert_int_equal(n, 14);
}

static void test_help_in_little_room(void **state)
{
    char text[16];

    (void)state;
    options_help(text, sizeof(text));
    assert_true(memchr(text, '\0', sizeof(text)) != NULL);
    assert_memory_equal(text, "Usage", 5);
    options_help(text, 1);
    assert_int_equal(text[0], '\0');
}

int main(void)
{
    static struct suite suite;

    for (size_t i = 0; i < LENGTH(goods); i++)
        suite_add(&suite, test_good, &goods[i], "understood: %s %s %s",
            goods[i].words[0] ? goods[i].words[0] : "(nothing)",
            goods[i].words[1] ? goods[i].words[1] : "", goods[i].words[2] ? goods[i].words[2] : "");
    for (size_t i = 0; i < LENGTH(bads); i++)
        suite_add(&suite, test_bad, &bads[i], "refused: %.40s %s %s", bads[i].words[0],
            bads[i].words[1] ? bads[i].words[1] : "", bads[i].words[2] ? bads[i].words[2] : "");
    suite_add(&suite, test_second_parse, NULL, "a second parse begins afresh");
    suite_add(&suite, test_kept_before_error, NULL, "what came before an error is kept");
    suite_add(&suite, test_long_value, NULL, "a value of 100 KB");
    suite_add(&suite, test_help, NULL, "help: every option, and its default");
    suite_add(&suite, test_help_is_true, NULL, "help: every line is an option");
    suite_add(&suite, test_help_in_little_room, NULL, "help: in little room");
    return suite_run(&suite, "options");
}
