/*
 * filters: the filters of one shard or host, and which of them match a topic.
 *
 * A trie by level. A node stands for the levels that lead to it, whoever uses them; filters with common beginnings
 * share nodes:
 *
 *      (root) ── sport ── tennis ── final      values of sport/tennis/final
 *         │        └────── + ────── final      values of sport/+/final
 *         └───── +                             values of +; "below" it: those of +/#
 *
 * `#` needs no node: each node has two sets of values, of the filter that ends *here*, and of the same with `/#` behind
 * it (*below*; the root's is that of `#`). A level's node is found by the hash of its parent and its text, in one index
 * for all; `+` is linked from its parent. So a name costs a look-up a level, and the same again for each way with a `+`
 * that goes along with it. What does not match is not looked at.
 *
 * Values are the caller's numbers (a filter's id, a shard). Nodes point at each other by number, in a slab: 56 bytes
 * each, 4 more in the index and 8 for a value; levels longer than 15 bytes take pieces of 32. Memory goes back when
 * filters go.
 *
 * Thread: the owner's only.
 */
#ifndef SHOAL_TOPIC_FILTERS_H
#define SHOAL_TOPIC_FILTERS_H

#include <stdbool.h>
#include <stdint.h>

#include "protocol/span.h"

struct filters;

/*
 * At most `filters_max` pairs of a filter and a value, and 4 times as many levels that are not shared (and pieces of
 * long ones). `seed` makes the hashes unforeseeable. Gives the set; NULL: no memory.
 */
struct filters *filters_create(uint32_t filters_max, uint64_t seed);
void filters_destroy(struct filters *filters);

/*
 * Adds a value under a filter (valid: topic_filter_check(); one without wildcards is fine). Adding a pair that is there
 * changes nothing. False: full or no memory; then nothing has changed. The values of one filter are a list: meant for a
 * few hundred at most.
 */
bool filters_add(struct filters *filters, struct span filter, uint32_t value);

/* Removes the pair. False: it was not there. */
bool filters_remove(struct filters *filters, struct span filter, uint32_t value);

/*
 * Writes the values of all filters that match `name` (valid: topic_name_check()) to `values`, as many as `room` takes,
 * in no particular order; a value under two matching filters comes twice. Returns how many there are.
 */
uint32_t filters_match(const struct filters *filters, struct span name, uint32_t *values, uint32_t room);

/* Grows with each change, so that who keeps results of filters_match() knows when they are stale. Starts at 1. */
uint64_t filters_version(const struct filters *filters);

/* Pairs of filter and value in the set. */
uint32_t filters_count(const struct filters *filters);

/* Memory that the set takes, roughly, for the metrics. */
uint64_t filters_bytes(const struct filters *filters);

#endif
