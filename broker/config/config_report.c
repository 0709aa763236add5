/*
 * config_report: lines of errors and warnings.
 *
 * Values are shown as they were written, so a line may hold any byte of the operator's; control characters are
 * shown as ? because the report goes to a terminal.
 */
#include "config/config_report.h"

#include <stdarg.h>
#include <string.h>

#define LINE_MAX_BYTES 1024

void config_report_start(struct config_report *report)
{
    report->errors = 0;
    report->warnings = 0;
    report->size = 0;
    report->text[0] = 0;
}

static void place_write(const struct config_place *place, char *out, size_t room)
{
    const char *name = place && place->name ? place->name : "";
    enum config_source source = place ? place->origin.source : CONFIG_FROM_DEFAULT;
    switch (source) {
    case CONFIG_FROM_DEFAULT:
        out[0] = 0;
        break;
    case CONFIG_FROM_FILE:
        if (place->origin.line)
            snprintf(out, room, "%.400s:%u: ", name, place->origin.line);
        else
            snprintf(out, room, "%.400s: ", name);
        break;
    case CONFIG_FROM_ENVIRONMENT:
        snprintf(out, room, "%.200s: ", name);
        break;
    case CONFIG_FROM_SET:
        snprintf(out, room, "--set %.200s: ", name);
        break;
    }
}

static void controls_hide(char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            *text = '?';
}

/* A line that is told already is not told again. */
static void line_add(struct config_report *report, const char *severity, const struct config_place *place,
                     const char *format, va_list values)
{
    char where[LINE_MAX_BYTES / 2];
    char what[LINE_MAX_BYTES];
    place_write(place, where, sizeof where);
    vsnprintf(what, sizeof what, format, values);
    controls_hide(where);
    controls_hide(what);
    char line[sizeof where + sizeof what + 32];
    size_t size = (size_t)snprintf(line, sizeof line, "%s: %s%s\n", severity, where, what);
    bool told = strstr(report->text, line) != NULL; /* reloading checks the rules twice */
    if (told || report->size + size >= sizeof report->text)
        return;
    memcpy(report->text + report->size, line, size + 1);
    report->size += size;
}

void config_report_error(struct config_report *report, const struct config_place *place, const char *format, ...)
{
    va_list values;
    va_start(values, format);
    report->errors++;
    line_add(report, "error", place, format, values);
    va_end(values);
}

void config_report_warning(struct config_report *report, const struct config_place *place, const char *format, ...)
{
    va_list values;
    va_start(values, format);
    report->warnings++;
    line_add(report, "warning", place, format, values);
    va_end(values);
}
