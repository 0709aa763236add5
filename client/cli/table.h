/*
 * table: columns for people.
 *
 * A table is written as it comes, so that a listing of a million needs no memory: a column's width is fixed, and what
 * is wider pushes the rest of its row to the right. The last column has no width. What a terminal would take for a
 * command (control characters) is shown as `?`.
 */
#ifndef SHOAL_CLI_TABLE_H
#define SHOAL_CLI_TABLE_H

#include <stdbool.h>
#include <stdint.h>

struct column {
    const char *title;
    int width;
    bool right; /* numbers */
};

void table_head(const struct column *columns, int count);

/* One cell of a row: cells are written from left to right. */
void table_text(const struct column *columns, int count, int at, const char *text);
void table_number(const struct column *columns, int count, int at, int64_t number);

/* "12,345"; "1.5 MB"; "2 d 3 h"; "1.2 ms". Each gives `out` back. */
#define TABLE_TEXT_MAX 48
const char *text_number(char out[TABLE_TEXT_MAX], int64_t number);
const char *text_bytes(char out[TABLE_TEXT_MAX], int64_t bytes);
const char *text_seconds(char out[TABLE_TEXT_MAX], int64_t seconds);
const char *text_us(char out[TABLE_TEXT_MAX], int64_t us);

#endif
