/*
 * principal: who a connection is, and what it may do.
 *
 * A token's claims become a principal: identity, expiry, and the filters that it may publish and subscribe to.
 * Connections hold a principal by its index in their shard's table, with a reference each; those with equal
 * claims share one, so a service that connects ten thousand times with one token costs one.
 *
 *      connection.principal (u32) ──▶ principals.slots[] ──▶ record: identity, expiry, filters, packed in one block
 *
 * Two are always there and are not counted: PRINCIPAL_NOBODY (0, what a zeroed connection has) may nothing,
 * PRINCIPAL_ANYBODY may everything. Records hold no pointers, so that they can be handed to another process.
 *
 * Thread: a table belongs to its shard.
 */
#ifndef SHOAL_AUTH_PRINCIPAL_H
#define SHOAL_AUTH_PRINCIPAL_H

#include <stdbool.h>
#include <stdint.h>

#include "protocol/span.h"

#define PRINCIPAL_IDENTITY_MAX     255  /* bytes */
#define PRINCIPAL_FILTERS_MAX      64   /* of both verbs together */
#define PRINCIPAL_FILTER_BYTES_MAX 8192 /* of all filters together: no token is longer */

#define PRINCIPAL_NOBODY  0u         /* has not shown a token yet: may nothing */
#define PRINCIPAL_ANYBODY 1u         /* no key is configured: may everything */
#define PRINCIPAL_NONE    UINT32_MAX /* principals_add(): no memory */

/* What a token says. Big (some 9 KB) and short-lived: lives on the stack of the one who verifies. */
struct principal_claims {
    uint64_t expires_s; /* since 1970; 0: never */
    uint8_t identity_size;
    uint8_t publish_count;   /* the first filters */
    uint8_t subscribe_count; /* the filters after these */
    uint16_t filter_sizes[PRINCIPAL_FILTERS_MAX];
    uint32_t filter_bytes_size;
    char identity[PRINCIPAL_IDENTITY_MAX];
    char filter_bytes[PRINCIPAL_FILTER_BYTES_MAX]; /* all filters, one after another */
};

/* Empties the claims: nobody, who may nothing. */
void principal_claims_clear(struct principal_claims *claims);
/* False: longer than PRINCIPAL_IDENTITY_MAX. */
bool principal_claims_identify(struct principal_claims *claims, struct span identity);
/*
 * Adds a filter for publishing, or for subscribing. All for publishing must come first. False: not a valid filter, or
 * one too many.
 */
bool principal_claims_allow_publish(struct principal_claims *claims, struct span filter);
bool principal_claims_allow_subscribe(struct principal_claims *claims, struct span filter);

struct principals;

/* An empty table. NULL: no memory. Freed with principals_destroy(), also when references are left. */
struct principals *principals_create(void);
void principals_destroy(struct principals *principals);

/* The index of the principal with these claims, with one reference for the caller. PRINCIPAL_NONE: no memory. */
uint32_t principals_add(struct principals *principals, const struct principal_claims *claims);
/* Adds a reference. */
void principals_take(struct principals *principals, uint32_t index);
/* Gives a reference back. The index is void after the last one. */
void principals_drop(struct principals *principals, uint32_t index);

/* How many there are, the two fixed ones not counted (metrics, tests). */
uint32_t principals_count(const struct principals *principals);

/* Borrowed until the last reference is given back. Empty for the two fixed ones. */
struct span principal_identity(const struct principals *principals, uint32_t index);
/* When it expires, seconds since 1970. 0: never. */
uint64_t principal_expires_s(const struct principals *principals, uint32_t index);

/* Whether it may publish to a topic (a valid name). Expiry is not looked at: that is the connection's timer. */
bool principal_may_publish(const struct principals *principals, uint32_t index, struct span topic);
/* Whether it may subscribe to a topic or filter: one of its filters must match all that this one could. */
bool principal_may_subscribe(const struct principals *principals, uint32_t index, struct span filter);

#endif
