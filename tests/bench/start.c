/* SPDX-License-Identifier: MIT */

/*
 * start ROUNDS COMMAND...: what starting each command costs, side by side.
 *
 * In each round each command is started once, with a connected TCP socket as its descriptors 0 and
 * 1, as tcpserver does, and /dev/null as 2; the time is that from vfork(2) until it has been waited
 * for, its client having read all. Printed are, for each command, the median and the first decile
 * in microseconds, and their ratios to those of the first command.
 *
 * A command is a program and its arguments, with spaces between them and none within.
 */

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MOST_COMMANDS 8
#define MOST_WORDS    16
#define MOST_ROUNDS   100000

struct command {
    const char *text;
    char *words[MOST_WORDS + 1];
    double *times; /* microseconds, one for each round */
};

__attribute__((noreturn)) static void die(const char *what)
{
    (void)fprintf(stderr, "start: %s: %s\n", what, strerror(errno));
    exit(EXIT_FAILURE);
}

static double now(void)
{
    struct timespec time;

    (void)clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e6 + (double)time.tv_nsec / 1e3;
}

static int listen_anywhere(struct sockaddr_in *address)
{
    socklen_t size = sizeof(*address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    *address =
        (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (fd < 0 || bind(fd, (struct sockaddr *)address, size) < 0 || listen(fd, 16) < 0 ||
        getsockname(fd, (struct sockaddr *)address, &size) < 0)
        die("listen");
    return fd;
}

static pid_t start(const struct command *command, int socket, int null)
{
    pid_t pid = vfork();

    if (pid == 0) {
        if (dup2(socket, 0) == 0 && dup2(socket, 1) == 1 && dup2(null, 2) == 2)
            (void)execv(command->words[0], command->words);
        _exit(127);
    }
    if (pid < 0)
        die("vfork");
    return pid;
}

static void run(
    struct command *command, int listener, const struct sockaddr_in *address, int null, int round)
{
    static char bytes[65536];
    int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int status;

    if (client < 0 || connect(client, (const struct sockaddr *)address, sizeof(*address)) < 0)
        die("connect");
    int accepted = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    if (accepted < 0 || shutdown(client, SHUT_WR) < 0)
        die("accept");
    double begin = now();
    pid_t pid = start(command, accepted, null);
    (void)close(accepted);
    ssize_t n;
    while ((n = read(client, bytes, sizeof(bytes))) > 0)
        continue;
    if (n < 0 || waitpid(pid, &status, 0) != pid)
        die(command->text);
    command->times[round] = now() - begin;
    if (status != 0) {
        (void)fprintf(stderr, "start: '%s' has ended with %#x\n", command->text, (unsigned)status);
        exit(EXIT_FAILURE);
    }
    (void)close(client);
}

static int compare(const void *one, const void *other)
{
    double difference = *(const double *)one - *(const double *)other;

    return difference < 0 ? -1 : difference > 0;
}

static void split(struct command *command, const char *text)
{
    char *copy = strdup(text);
    size_t n = 0;

    if (!copy)
        die("strdup");
    command->text = text;
    for (char *word = strtok(copy, " "); word && n < MOST_WORDS; word = strtok(NULL, " "))
        command->words[n++] = word;
}

int main(int argc, char **argv)
{
    struct command commands[MOST_COMMANDS] = {0};
    struct sockaddr_in address;
    int n = argc - 2;
    long rounds = argc > 1 ? strtol(argv[1], NULL, 10) : 0;

    if (n < 1 || n > MOST_COMMANDS || rounds < 1 || rounds > MOST_ROUNDS) {
        (void)fputs("usage: start ROUNDS COMMAND...\n", stderr);
        return EXIT_FAILURE;
    }
    int listener = listen_anywhere(&address);
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int i = 0; i < n; i++) {
        split(&commands[i], argv[i + 2]);
        commands[i].times = calloc((size_t)rounds, sizeof(double));
        if (!commands[i].times)
            die("calloc");
    }
    for (int round = 0; round < rounds; round++)
        for (int i = 0; i < n; i++) /* in turns: whatever else the machine does meets all */
            run(&commands[(i + round) % n], listener, &address, null, round);
    for (int i = 0; i < n; i++) {
        qsort(commands[i].times, (size_t)rounds, sizeof(double), compare);
        const double *mine = commands[i].times;
        const double *first = commands[0].times;
        (void)printf("%.0f %.0f %.3f %.3f %s\n", mine[rounds / 2], mine[rounds / 10],
            mine[rounds / 2] / first[rounds / 2], mine[rounds / 10] / first[rounds / 10],
            commands[i].text);
    }
    return EXIT_SUCCESS;
}
