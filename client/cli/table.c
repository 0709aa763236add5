/* table: see table.h. */
#include "cli/table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Places that a text takes: a character of UTF-8 counts once. */
static int places(const char *text)
{
    int count = 0;
    for (; *text; text++) {
        count += ((unsigned char)*text & 0xC0) != 0x80;
    }
    return count;
}

static void put_visible(const char *text)
{
    for (; *text; text++) {
        unsigned char byte = (unsigned char)*text;
        putchar(byte < 0x20 || byte == 0x7F ? '?' : byte);
    }
}

void table_text(const struct column *columns, int count, int at, const char *text)
{
    const struct column *column = &columns[at];
    bool last = at == count - 1;
    int gap = column->width - places(text);
    for (int i = 0; column->right && i < gap; i++) {
        putchar(' ');
    }
    put_visible(text);
    for (int i = 0; !column->right && !last && i < gap; i++) {
        putchar(' ');
    }
    if (last) {
        putchar('\n');
    } else {
        fputs("  ", stdout);
    }
}

void table_number(const struct column *columns, int count, int at, int64_t number)
{
    char text[TABLE_TEXT_MAX];
    table_text(columns, count, at, text_number(text, number));
}

void table_head(const struct column *columns, int count)
{
    for (int i = 0; i < count; i++) {
        table_text(columns, count, i, columns[i].title);
    }
}

const char *text_number(char out[TABLE_TEXT_MAX], int64_t number)
{
    char digits[24];
    int size = snprintf(digits, sizeof digits, "%lld", (long long)number);
    int at = 0;
    for (int i = 0; i < size; i++) {
        out[at++] = digits[i];
        bool group = (size - 1 - i) % 3 == 0 && i < size - 1 && digits[i] != '-';
        if (group) {
            out[at++] = ',';
        }
    }
    out[at] = 0;
    return out;
}

const char *text_bytes(char out[TABLE_TEXT_MAX], int64_t bytes)
{
    static const char *const units[] = {"B", "KB", "MB", "GB", "TB"};
    double value = (double)bytes;
    size_t unit = 0;
    while (value >= 1000 && unit < 4) {
        value /= 1000;
        unit++;
    }
    snprintf(out, TABLE_TEXT_MAX, unit && value < 100 ? "%.1f %s" : "%.0f %s", value, units[unit]);
    return out;
}

const char *text_seconds(char out[TABLE_TEXT_MAX], int64_t seconds)
{
    long long s = seconds;
    if (s < 60) {
        snprintf(out, TABLE_TEXT_MAX, "%lld s", s);
    } else if (s < 3600) {
        snprintf(out, TABLE_TEXT_MAX, "%lld m %lld s", s / 60, s % 60);
    } else if (s < 86400) {
        snprintf(out, TABLE_TEXT_MAX, "%lld h %lld m", s / 3600, s / 60 % 60);
    } else {
        snprintf(out, TABLE_TEXT_MAX, "%lld d %lld h", s / 86400, s / 3600 % 24);
    }
    return out;
}

const char *text_us(char out[TABLE_TEXT_MAX], int64_t us)
{
    if (us < 1000) {
        snprintf(out, TABLE_TEXT_MAX, "%lld us", (long long)us);
    } else if (us < 1000000) {
        snprintf(out, TABLE_TEXT_MAX, "%.1f ms", (double)us / 1e3);
    } else {
        snprintf(out, TABLE_TEXT_MAX, "%.1f s", (double)us / 1e6);
    }
    return out;
}
