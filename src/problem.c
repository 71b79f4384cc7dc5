/* SPDX-License-Identifier: MIT */
#include "problem.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

int problem_set(struct problem *problem, int error, int status, const char *format, ...)
{
    va_list arguments;

    problem->status = status;
    va_start(arguments, format);
    (void)vsnprintf(
        problem->text, sizeof(problem->text), format, arguments); /* a cut text still tells */
    va_end(arguments);
    return -error;
}

int problem_call(struct problem *problem, const char *call)
{
    int error = errno;

    return problem_set(problem, error, EX_OSERR, "%s: %s", call, strerror(error));
}
