/*
 * config_report: gathers what is wrong, a line each, in bounded room.
 */
#ifndef SHOAL_CONFIG_CONFIG_REPORT_H
#define SHOAL_CONFIG_CONFIG_REPORT_H

#include "config/config.h"

/* Where a value stands, for those who have to find it. */
struct config_place {
    struct config_origin origin;
    const char *name; /* the file, the variable, or what follows --set; NULL for a default */
};

void config_report_start(struct config_report *report);

/* Adds a line "place: message". Later lines that do not fit are counted only. */
__attribute__((format(printf, 3, 4))) void
config_report_error(struct config_report *report, const struct config_place *place, const char *format, ...);
__attribute__((format(printf, 3, 4))) void
config_report_warning(struct config_report *report, const struct config_place *place, const char *format, ...);

#endif
