/*
 * config_rules: what must hold between keys, and what a single value's kind does not tell.
 */
#ifndef SHOAL_CONFIG_CONFIG_RULES_H
#define SHOAL_CONFIG_CONFIG_RULES_H

#include "config/config.h"

/* Checks a complete configuration, reporting all errors and warnings. */
void config_rules_check(const struct config *config, struct config_report *report);

#endif
