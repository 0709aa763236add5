/*
 * check: assertions that stay in release builds.
 *
 * For errors that are ours alone: a state that no input and no shortage can bring about. What a peer can cause is a
 * code out of a table, what the machine can cause is a policy and a counter; neither ever meets CHECK. A broken
 * invariant in a broker means that the next message may go to the wrong reader, so the process says where and stops.
 *
 *      CHECK(slot < table->size);
 *      CHECK_MSG(state == CONN_OPEN, "state is %s", conn_state_name(state));
 *      default: UNREACHABLE();
 *
 * Writes one line to standard error, without the logger: that may be what is broken. Any thread. No dependencies.
 */
#ifndef SHOAL_BASE_CHECK_H
#define SHOAL_BASE_CHECK_H

#include <stdio.h>
#include <stdlib.h>

/* Aborts with file, line and condition unless the condition holds. It is evaluated once, in every build. */
#define CHECK(condition)                                                                                               \
    (__builtin_expect(!!(condition), 1) ? (void)0 : check_failed(__FILE__, __LINE__, #condition, " "))

/* The same, with a printf-like message that tells the values. */
#define CHECK_MSG(condition, ...)                                                                                      \
    (__builtin_expect(!!(condition), 1) ? (void)0 : check_failed(__FILE__, __LINE__, #condition, __VA_ARGS__))

/* Says that control cannot come here, and aborts if it does. */
#define UNREACHABLE() check_failed(__FILE__, __LINE__, "unreachable", " ")

/* Out of line and cold, so that a CHECK costs its caller a compare and a jump. */
__attribute__((noreturn, noinline, cold, format(printf, 4, 5), unused)) static void
check_failed(const char *file, int line, const char *condition, const char *format, ...)
{
    __builtin_va_list values;
    fprintf(stderr, "shoal: %s:%d: check failed: %s ", file, line, condition);
    __builtin_va_start(values, format);
    vfprintf(stderr, format, values);
    __builtin_va_end(values);
    fputc('\n', stderr);
    abort();
}

#endif
