/* workload: see workload.h. */
#include "workload.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "process.h"

/* --- reading it --- */

static const struct {
    const char *name;
    enum follow follow;
} follows[] = {{"one", FOLLOW_ONE}, {"all", FOLLOW_ALL}, {"filter", FOLLOW_FILTER}};

static enum follow follow_read(const char *value)
{
    for (size_t i = 0; i < sizeof follows / sizeof *follows; i++) {
        if (strcmp(follows[i].name, value) == 0) {
            return follows[i].follow;
        }
    }
    die("a subscriber follows one, all or filter, not %s", value);
}

static double rate_read(const char *value)
{
    char *end;
    double rate = strtod(value, &end);
    if (*end || end == value || !(rate > 0 && rate < 1e8)) {
        die("rate takes messages a second, not %s", value);
    }
    return rate;
}

static void field_read(struct group *group, const char *name, const char *value)
{
    if (strcmp(name, "name") == 0) {
        snprintf(group->name, sizeof group->name, "%s", value);
    } else if (strcmp(name, "subscribers") == 0) {
        group->subscribers = (uint32_t)number_read(name, value, 100000000);
    } else if (strcmp(name, "slow") == 0) {
        group->slow = (uint32_t)number_read(name, value, 100000000);
    } else if (strcmp(name, "topics") == 0) {
        group->topics = (uint32_t)number_read(name, value, 10000000);
    } else if (strcmp(name, "follow") == 0) {
        group->follow = follow_read(value);
    } else if (strcmp(name, "size") == 0) {
        group->size = (uint32_t)number_read(name, value, PAYLOAD_LIMIT);
    } else if (strcmp(name, "messages") == 0) {
        group->messages = number_read(name, value, 1000000000000);
    } else if (strcmp(name, "inflight") == 0) {
        group->inflight = (uint32_t)number_read(name, value, INFLIGHT_MAX);
    } else if (strcmp(name, "rate") == 0) {
        group->rate = rate_read(value);
    } else {
        die("a group has no %s", name);
    }
}

static void group_check(const struct group *group)
{
    if (group->size < STAMP_BYTES) {
        die("a payload of %u bytes has no room for its stamp of %u", group->size, STAMP_BYTES);
    }
    if (group->subscribers <= group->slow || group->topics == 0 || group->messages == 0) {
        die("group %s: topics, messages, and subscribers that are not slow are needed", group->name);
    }
    if ((group->inflight > 0) == (group->rate > 0)) {
        die("group %s: either inflight (closed loop) or rate (open loop)", group->name);
    }
    if (group->follow == FOLLOW_ONE && group->subscribers - group->slow < group->topics) {
        die("group %s: a topic that nobody follows", group->name);
    }
}

void workload_add(struct workload *workload, char *text)
{
    if (workload->group_count == GROUPS_MAX) {
        die("at most %u groups", GROUPS_MAX);
    }
    struct group *group = &workload->groups[workload->group_count++];
    *group = (struct group){.name = "main", .topics = 1, .size = 128};
    char *rest = text;
    for (char *field = strsep(&rest, ","); field; field = strsep(&rest, ",")) {
        char *value = strchr(field, '=');
        if (!value) {
            die("a field of a group is NAME=VALUE, not %s", field);
        }
        *value++ = '\0';
        field_read(group, field, value);
    }
    group_check(group);
}

/* --- asking it --- */

uint64_t workload_subscribers(const struct workload *workload)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < workload->group_count; i++) {
        sum += workload->groups[i].subscribers;
    }
    return sum;
}

uint32_t workload_group_of(const struct workload *workload, uint64_t index, uint32_t *at)
{
    uint32_t group = 0;
    while (index >= workload->groups[group].subscribers) {
        index -= workload->groups[group++].subscribers;
    }
    *at = (uint32_t)index;
    return group;
}

uint64_t workload_deliveries(const struct group *group)
{
    uint64_t readers = group->subscribers - group->slow, whole = group->messages / group->topics;
    if (group->follow != FOLLOW_ONE) {
        return readers * group->messages;
    }
    uint64_t rest = group->messages % group->topics, deliveries = readers * whole;
    for (uint64_t topic = 0; topic < rest; topic++) {
        deliveries += readers / group->topics + (topic < readers % group->topics);
    }
    return deliveries;
}

void workload_topic(uint32_t group, uint32_t topic, char out[TOPIC_NAME])
{
    snprintf(out, TOPIC_NAME, "bench/%u/%u", group, topic);
}

uint64_t workload_due_ns(const struct group *group, uint64_t number)
{
    return (uint64_t)((double)number * 1e9 / group->rate);
}

/* --- stamps --- */

void stamp_write(char out[STAMP_BYTES], uint32_t group, uint64_t number)
{
    for (uint32_t i = STAMP_BYTES; i-- > 1; number /= 10) {
        out[i] = (char)('0' + number % 10);
    }
    out[0] = (char)('0' + group);
}

uint64_t stamp_read(const char in[STAMP_BYTES], uint32_t *group)
{
    uint64_t number = 0;
    for (uint32_t i = 0; i < STAMP_BYTES; i++) {
        if (in[i] < '0' || in[i] > '9') {
            die("a message that nobody published: \"%.*s\"", (int)STAMP_BYTES, in);
        }
        number = i == 0 ? 0 : number * 10 + (uint64_t)(in[i] - '0');
    }
    *group = (uint32_t)(in[0] - '0');
    return number;
}
