/* wire: see wire.h for the table of bytes. */
#include "cluster/wire.h"

#include <assert.h>
#include <endian.h>

#include "protocol/command.h"
#include "protocol/topic.h"

enum {
    AT_VERSION = 0,
    AT_CLASS = 1,
    AT_KIND = 2,
    AT_TOPIC_SIZE = 3,
    AT_INSTANCE = 4,
    AT_SEQUENCE = 12,
    AT_TIME = 20,
    AT_EPOCH = WIRE_STAMP_AT,
    AT_OFFSET = WIRE_STAMP_AT + WIRE_HEX_SIZE,
};
static_assert(AT_OFFSET + WIRE_HEX_SIZE == WIRE_HEADER_SIZE, "the table ends where the topic begins");

static void put64(char *at, uint64_t value)
{
    value = htobe64(value);
    memcpy(at, &value, sizeof value);
}

static uint64_t get64(const char *at)
{
    uint64_t value;
    memcpy(&value, at, sizeof value);
    return be64toh(value);
}

void wire_hex_write(uint64_t value, char hex[WIRE_HEX_SIZE])
{
    for (int i = WIRE_HEX_SIZE - 1; i >= 0; i--) {
        hex[i] = "0123456789abcdef"[value & 15];
        value >>= 4;
    }
}

bool wire_hex_parse(struct span hex, uint64_t *value)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < hex.size; i++) {
        char c = hex.data[i];
        bool digit = c >= '0' && c <= '9';
        if (!digit && !(c >= 'a' && c <= 'f')) {
            return false;
        }
        sum = sum << 4 | (uint64_t)(digit ? c - '0' : c - 'a' + 10);
    }
    *value = sum;
    return hex.size == WIRE_HEX_SIZE;
}

void wire_write(const struct wire *wire, char header[WIRE_HEADER_SIZE])
{
    header[AT_VERSION] = WIRE_VERSION;
    header[AT_CLASS] = wire->logged;
    header[AT_KIND] = (char)wire->kind;
    header[AT_TOPIC_SIZE] = (char)wire->topic.size;
    put64(header + AT_INSTANCE, wire->instance);
    put64(header + AT_SEQUENCE, wire->sequence);
    put64(header + AT_TIME, (uint64_t)wire->time_ms);
    wire_hex_write(wire->epoch, header + AT_EPOCH);
    wire_hex_write(wire->offset, header + AT_OFFSET);
}

bool wire_parse(struct span bytes, struct wire *wire)
{
    if (bytes.size < WIRE_HEADER_SIZE || bytes.data[AT_VERSION] != WIRE_VERSION) {
        return false;
    }
    const char *header = bytes.data;
    size_t topic_size = (uint8_t)header[AT_TOPIC_SIZE];
    size_t rest = bytes.size - WIRE_HEADER_SIZE;
    *wire = (struct wire){
        .logged = header[AT_CLASS] == 1,
        .kind = (uint8_t)header[AT_KIND],
        .instance = get64(header + AT_INSTANCE),
        .sequence = get64(header + AT_SEQUENCE),
        .time_ms = (int64_t)get64(header + AT_TIME),
        .topic = {header + WIRE_HEADER_SIZE, topic_size},
    };
    if (topic_size > rest || topic_name_check(wire->topic) != TOPIC_OK || topic_is_reserved(wire->topic) ||
        (uint8_t)header[AT_CLASS] > 1 || wire->kind > PAYLOAD_JSON) {
        return false;
    }
    wire->payload = (struct span){wire->topic.data + topic_size, rest - topic_size};
    return wire_hex_parse((struct span){header + AT_EPOCH, WIRE_HEX_SIZE}, &wire->epoch) &&
           wire_hex_parse((struct span){header + AT_OFFSET, WIRE_HEX_SIZE}, &wire->offset) &&
           (!wire->logged || (wire->epoch && wire_is_offset(wire->offset)));
}
