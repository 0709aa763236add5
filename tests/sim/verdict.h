/*
 * verdict: what the checkers found in a run.
 *
 * The first failure is kept with the name of its checker: a canary asks whether the right one has sung. Later ones
 * mostly follow from the first, and are only counted.
 */
#ifndef SHOAL_TESTS_VERDICT_H
#define SHOAL_TESTS_VERDICT_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct verdict {
    uint32_t failures;
    const char *checker; /* of the first; NULL: none */
    char text[512];
    bool trace; /* tell on standard error what goes on */
};

/* Checkers' names. */
#define CHECK_ORDER      "order"
#define CHECK_LOSS       "loss"
#define CHECK_REFERENCES "references"
#define CHECK_PROTOCOL   "protocol"

__attribute__((format(printf, 3, 4))) static inline void verdict_fail(struct verdict *verdict, const char *checker,
                                                                      const char *format, ...)
{
    if (verdict->failures++ > 0) {
        return;
    }
    verdict->checker = checker;
    va_list values;
    va_start(values, format);
    vsnprintf(verdict->text, sizeof verdict->text, format, values);
    va_end(values);
}

/* A line of the story, for who repeats a seed with --trace. */
#define TRACE(verdict, ...)                                                                                            \
    do {                                                                                                               \
        if ((verdict)->trace) {                                                                                        \
            fprintf(stderr, __VA_ARGS__);                                                                              \
            fputc('\n', stderr);                                                                                       \
        }                                                                                                              \
    } while (0)

#endif
