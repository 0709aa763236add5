/* nodes: see nodes.h. */
#include "cluster/nodes.h"

#include <jansson.h>
#include <stdio.h>

/* Texts of a number in a node's key. */
#define NODE_KEY_MAX (PREFIX_BYTES_MAX + SLOT_TAG_MAX + 2 + 8 + WIRE_HEX_SIZE)

uint32_t nodes_slot(void)
{
    return slot_of_bytes(SPAN_LITERAL("nodes"));
}

static struct span node_key(const struct server *server, char *at, struct span instance)
{
    size_t begin = server_name_begin(server->common, at, nodes_slot());
    size_t room = NODE_KEY_MAX - begin;
    size_t size = (size_t)snprintf(at + begin, room, "node:%.*s", (int)instance.size, instance.data);
    return (struct span){at, begin + (size < room ? size : room - 1)};
}

static struct span set_key(const struct server *server, char *at)
{
    size_t size = server_name_begin(server->common, at, nodes_slot());
    struct span name = SPAN_LITERAL("nodes");
    memcpy(at + size, name.data, name.size);
    return (struct span){at, size + name.size};
}

/* NULL: no memory. Gives the text, for free(). */
static char *self_text(const struct nodes *nodes, const struct nodes_self *self, int64_t now_us)
{
    json_t *json = json_pack("{s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:I}", "name", nodes->settings->node, "address",
                             nodes->settings->address, "version", nodes->settings->version, "connections",
                             (json_int_t)atomic_load_explicit(nodes->connections, memory_order_relaxed), "topics",
                             (json_int_t)self->topics, "filters", (json_int_t)self->filters, "uptime_s",
                             (json_int_t)((now_us - nodes->started_us) / 1000000), "beat", (json_int_t)nodes->beat);
    char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;
    json_decref(json);
    return text;
}

static void tell(const struct nodes *nodes, struct server *server, const char *text)
{
    char key[NODE_KEY_MAX];
    char set[NODE_KEY_MAX];
    char instance[WIRE_HEX_SIZE];
    char life[24];
    wire_hex_write(nodes->instance, instance);
    struct span name = {instance, sizeof instance};
    int life_size = snprintf(life, sizeof life, "%d", NODES_BEAT_US / 1000000 * NODES_LIFE);
    const struct span write[] = {SPAN_LITERAL("SET"),
                                 node_key(server, key, name),
                                 span_of_text(text),
                                 SPAN_LITERAL("EX"),
                                 {life, (size_t)life_size}};
    const struct span join[] = {SPAN_LITERAL("ZADD"), set_key(server, set), SPAN_LITERAL("0"), name};
    const struct span list[] = {SPAN_LITERAL("ZRANGE"), set_key(server, set), SPAN_LITERAL("0"), SPAN_LITERAL("999")};
    command_send(server, COMMAND_OTHER, NULL, 5, write);
    command_send(server, COMMAND_OTHER, NULL, 4, join);
    command_send(server, COMMAND_NODES, NULL, 4, list);
}

/* Nodes that have shown no sign of life for long enough. */
static void bury(struct nodes *nodes, int64_t now_us)
{
    for (uint32_t i = 0; i < nodes->count;) {
        if (now_us - nodes->nodes[i].seen_us > (int64_t)NODES_BEAT_US * NODES_LIFE) {
            nodes->nodes[i] = nodes->nodes[--nodes->count];
        } else {
            i++;
        }
    }
}

static bool any_is_up(const struct server *servers, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (servers[i].state == SERVER_UP) {
            return true;
        }
    }
    return false;
}

void nodes_turn(struct nodes *nodes, struct server *servers, uint32_t count, const struct nodes_self *self,
                int64_t now_us)
{
    if (now_us < nodes->beat_us || !any_is_up(servers, count)) { /* the first beat is with the first server */
        return;
    }
    nodes->beat_us = now_us + NODES_BEAT_US;
    nodes->beat++;
    nodes->more = 0;
    bury(nodes, now_us);
    char *text = self_text(nodes, self, now_us);
    for (uint32_t i = 0; text && i < count; i++) {
        if (servers[i].state == SERVER_UP) {
            tell(nodes, &servers[i], text);
        }
    }
    free(text);
}

void nodes_leave(struct nodes *nodes, struct server *server)
{
    char key[NODE_KEY_MAX];
    char set[NODE_KEY_MAX];
    char instance[WIRE_HEX_SIZE];
    wire_hex_write(nodes->instance, instance);
    struct span name = {instance, sizeof instance};
    if (server->state == SERVER_UP) {
        command_send(server, COMMAND_OTHER, NULL, 2,
                     (const struct span[]){SPAN_LITERAL("DEL"), node_key(server, key, name)});
        command_send(server, COMMAND_OTHER, NULL, 3,
                     (const struct span[]){SPAN_LITERAL("ZREM"), set_key(server, set), name});
    }
}

/* --- what others say --- */

static bool is_listed(const struct redis_value *list, uint64_t instance)
{
    for (uint32_t i = 0; i < list->count; i++) {
        uint64_t number;
        if (list->items[i].kind == REDIS_STRING && wire_hex_parse(list->items[i].text, &number) && number == instance) {
            return true;
        }
    }
    return false;
}

/* Nodes that were seen on this server and have taken themselves off its list: they have said goodbye. */
static void leavers_forget(struct nodes *nodes, const struct server *server, const struct redis_value *list)
{
    for (uint32_t i = 0; i < nodes->count;) {
        struct link_report_node *told = &nodes->nodes[i].told;
        bool seen = told->servers & 1ull << server->number;
        if (seen && !told->self && !is_listed(list, told->instance)) {
            told->servers &= ~(1ull << server->number);
            if (told->servers == 0) {
                nodes->nodes[i] = nodes->nodes[--nodes->count];
                continue;
            }
        }
        i++;
    }
}

void nodes_listed(struct nodes *nodes, struct server *server, const struct redis_value *value)
{
    if (value->kind == REDIS_ARRAY) {
        leavers_forget(nodes, server, value);
    }
    uint32_t count = value->kind == REDIS_ARRAY ? value->count : 0;
    for (uint32_t i = 0; i < count && server->commands; i++) { /* given up in between, the value would be gone */
        struct span instance = value->items[i].text;
        uint64_t number;
        if (value->items[i].kind == REDIS_STRING && wire_hex_parse(instance, &number)) {
            char key[NODE_KEY_MAX];
            const struct span words[] = {SPAN_LITERAL("GET"), node_key(server, key, instance)};
            command_send_node(server, number, 2, words);
        }
    }
}

static struct node *node_of(struct nodes *nodes, uint64_t instance)
{
    for (uint32_t i = 0; i < nodes->count; i++) {
        if (nodes->nodes[i].told.instance == instance) {
            return &nodes->nodes[i];
        }
    }
    if (nodes->count == LINK_NODES_MAX) {
        nodes->more++;
        return NULL;
    }
    struct node *node = &nodes->nodes[nodes->count++];
    *node = (struct node){.told = {.instance = instance, .self = instance == nodes->instance}};
    return node;
}

static void copy_text(char *to, size_t size, const json_t *json, const char *name)
{
    const char *text = json_string_value(json_object_get(json, name));
    snprintf(to, size, "%s", text ? text : "");
}

static uint64_t number_in(const json_t *json, const char *name)
{
    json_int_t number = json_integer_value(json_object_get(json, name));
    return number > 0 ? (uint64_t)number : 0;
}

static void node_update(struct node *node, const struct server *server, const json_t *json)
{
    struct link_report_node *told = &node->told;
    copy_text(told->name, sizeof told->name, json, "name");
    copy_text(told->address, sizeof told->address, json, "address");
    copy_text(told->version, sizeof told->version, json, "version");
    told->connections = number_in(json, "connections");
    told->topics = number_in(json, "topics");
    told->filters = number_in(json, "filters");
    told->uptime_s = number_in(json, "uptime_s");
    uint64_t beat = number_in(json, "beat");
    if (beat != node->beat) {
        node->beat = beat;
        node->seen_us = server->common->now_us;
        told->servers = 0;
    }
    told->servers |= 1ull << server->number;
}

void nodes_told(struct nodes *nodes, struct server *server, uint64_t instance, const struct redis_value *value)
{
    if (value->kind == REDIS_STRING) {
        json_t *json = json_loadb(value->text.data, value->text.size, 0, NULL);
        struct node *node = json_is_object(json) ? node_of(nodes, instance) : NULL;
        if (node) {
            node_update(node, server, json);
        }
        json_decref(json);
    } else if (instance != nodes->instance) { /* it has gone without a word */
        char set[NODE_KEY_MAX];
        char name[WIRE_HEX_SIZE];
        wire_hex_write(instance, name);
        command_send(server, COMMAND_OTHER, NULL, 3,
                     (const struct span[]){SPAN_LITERAL("ZREM"), set_key(server, set), {name, sizeof name}});
    }
}
