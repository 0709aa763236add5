/*
 * config_value: text to value and back, a pair of small functions for each kind.
 *
 * A number is read in its smallest unit (bytes, milliseconds) and then scaled to the field's, so that "1500ms" is no
 * whole number of seconds and is refused instead of rounded.
 */
#include "config/config_value.h"

#include <arpa/inet.h>
#include <string.h>
#include <strings.h>

struct unit {
    const char *suffix;
    uint64_t factor; /* in the smallest unit: bytes or milliseconds */
};

static const struct unit byte_units[] = {{"", 1},
                                         {"K", 1ull << 10},
                                         {"M", 1ull << 20},
                                         {"G", 1ull << 30},
                                         {"KiB", 1ull << 10},
                                         {"MiB", 1ull << 20},
                                         {"GiB", 1ull << 30},
                                         {NULL, 0}};
static const struct unit second_units[] = {{"", 1000}, {"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {NULL, 0}};
static const struct unit millisecond_units[] = {{"", 1},      {"ms", 1},      {"s", 1000},
                                                {"m", 60000}, {"h", 3600000}, {NULL, 0}};
static const struct unit plain_units[] = {{"", 1}, {NULL, 0}};

/* How the numbers of a kind are written. */
struct number_form {
    const struct unit *units;
    uint64_t scale;   /* smallest units in one of the field's */
    const char *what; /* for messages */
};

static struct number_form number_form_of(enum config_kind kind)
{
    switch (kind) {
    case CONFIG_BYTES:
    case CONFIG_BYTES64:
        return (struct number_form){byte_units, 1, "bytes (K, M and G are allowed)"};
    case CONFIG_SECONDS:
        return (struct number_form){second_units, 1000, "seconds (ms, s, m and h are allowed)"};
    case CONFIG_MILLISECONDS:
        return (struct number_form){millisecond_units, 1, "milliseconds (ms, s, m and h are allowed)"};
    default:
        return (struct number_form){plain_units, 1, ""};
    }
}

static void *field_of(const struct config_key *key, void *base)
{
    return (char *)base + key->offset;
}

static const void *field_in(const struct config_key *key, const void *base)
{
    return (const char *)base + key->offset;
}

static bool is_number(enum config_kind kind)
{
    return kind == CONFIG_NUMBER || kind == CONFIG_BYTES || kind == CONFIG_BYTES64 || kind == CONFIG_SECONDS ||
           kind == CONFIG_MILLISECONDS;
}

/* Digits at the start of text. False: none, or too many for 64 bits. */
static bool digits_read(const char **text, uint64_t *number)
{
    const char *at = *text;
    *number = 0;
    for (; *at >= '0' && *at <= '9'; at++)
        if (__builtin_mul_overflow(*number, 10, number) || __builtin_add_overflow(*number, *at - '0', number))
            return false;
    bool any = at != *text;
    *text = at;
    return any;
}

/* "90s" as 90 for a field in seconds. False: not a number, an unknown unit, or not a whole one of the field's. */
static bool number_parse(const struct number_form *form, const char *text, uint64_t *number)
{
    uint64_t digits;
    if (!digits_read(&text, &digits))
        return false;
    for (const struct unit *unit = form->units; unit->suffix; unit++)
        if (strcasecmp(unit->suffix, text) == 0) {
            if (__builtin_mul_overflow(digits, unit->factor, &digits) || digits % form->scale)
                return false;
            *number = digits / form->scale;
            return true;
        }
    return false;
}

static void number_store(const struct config_key *key, void *base, uint64_t number)
{
    if (key->size == sizeof(uint64_t))
        *(uint64_t *)field_of(key, base) = number;
    else
        *(uint32_t *)field_of(key, base) = (uint32_t)number;
}

static uint64_t number_load(const struct config_key *key, const void *base)
{
    if (key->size == sizeof(uint64_t))
        return *(const uint64_t *)field_in(key, base);
    return *(const uint32_t *)field_in(key, base);
}

static bool number_read(const struct config_key *key, void *base, const char *text, char *error)
{
    struct number_form form = number_form_of(key->kind);
    uint64_t number;
    if ((key->flags & CONFIG_ALLOWS_AUTO) && strcasecmp(text, "auto") == 0) {
        number_store(key, base, CONFIG_AUTO);
        return true;
    }
    bool read = number_parse(&form, text, &number);
    bool fits = read && number >= key->min && number <= key->max;
    bool even = !(key->flags & CONFIG_POWER_OF_TWO) || (fits && (number & (number - 1)) == 0);
    if (fits && even) {
        number_store(key, base, number);
        return true;
    }
    snprintf(error, CONFIG_VALUE_ERROR_MAX, "allowed are %s%llu to %llu%s%s%s",
             key->flags & CONFIG_ALLOWS_AUTO ? "auto and " : "", (unsigned long long)key->min,
             (unsigned long long)key->max, form.what[0] ? " " : "", form.what,
             key->flags & CONFIG_POWER_OF_TWO ? ", powers of two" : "");
    return false;
}

static bool bool_read(const struct config_key *key, void *base, const char *text, char *error)
{
    static const char *const words[] = {"false", "true", "no", "yes", "off", "on", "0", "1"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcasecmp(words[i], text) == 0) {
            *(bool *)field_of(key, base) = i % 2;
            return true;
        }
    snprintf(error, CONFIG_VALUE_ERROR_MAX, "allowed are true and false");
    return false;
}

static bool choice_read(const struct config_key *key, void *base, const char *text, char *error)
{
    for (int i = 0; key->choices[i]; i++)
        if (strcasecmp(key->choices[i], text) == 0) {
            *(int *)field_of(key, base) = i;
            return true;
        }
    int size = snprintf(error, CONFIG_VALUE_ERROR_MAX, "allowed are");
    for (int i = 0; key->choices[i]; i++)
        size += snprintf(error + size, CONFIG_VALUE_ERROR_MAX - (size_t)size, "%s %s", i ? "," : "", key->choices[i]);
    return false;
}

/* What the file's syntax would change or a terminal would act on: control characters and starts of comments. */
static bool text_is_plain(const char *text)
{
    for (const char *at = text; *at; at++)
        if ((unsigned char)*at < 0x20 || *at == 0x7f || (*at == ';' && (at == text || at[-1] == ' ')))
            return false;
    return true;
}

/* Adds text to a field that holds one already, or makes it the whole. */
static bool text_join(const struct config_key *key, char *field, const char *separator, const char *text, char *error)
{
    if (!text_is_plain(text)) {
        snprintf(error, CONFIG_VALUE_ERROR_MAX, "it must not hold control characters, nor ; after a space");
        return false;
    }
    size_t before = strlen(field);
    size_t size = before + strlen(separator) + strlen(text);
    if (size >= key->size) {
        snprintf(error, CONFIG_VALUE_ERROR_MAX, "at most %zu bytes are allowed, these are %zu", key->size - 1, size);
        return false;
    }
    snprintf(field + before, key->size - before, "%s%s", separator, text);
    return true;
}

static bool string_read(const struct config_key *key, void *base, const char *text, char *error)
{
    char *field = field_of(key, base);
    char first = field[0];
    field[0] = 0;
    bool read = text_join(key, field, "", text, error);
    if (!read)
        field[0] = first;
    return read;
}

/* Words one by one, so that single spaces separate them. */
static bool words_append(const struct config_key *key, char *field, const char *text, char *error)
{
    bool fits = true;
    while (fits && *(text += strspn(text, " \t"))) {
        char word[CONFIG_LIST_MAX + 1];
        size_t size = strcspn(text, " \t");
        snprintf(word, sizeof word, "%.*s", (int)(size < sizeof word ? size : sizeof word), text);
        fits = text_join(key, field, field[0] ? " " : "", word, error);
        text += size;
    }
    return fits;
}

bool config_value_append(const struct config_key *key, void *base, const char *text, char error[CONFIG_VALUE_ERROR_MAX])
{
    config_list former;
    memcpy(former, field_of(key, base), key->size);
    bool fits = words_append(key, field_of(key, base), text, error);
    if (!fits)
        memcpy(field_of(key, base), former, key->size);
    return fits;
}

static bool list_read(const struct config_key *key, void *base, const char *text, char *error)
{
    char *field = field_of(key, base);
    char first = field[0];
    field[0] = 0;
    bool read = config_value_append(key, base, text, error);
    if (!read)
        field[0] = first;
    return read;
}

/* --- addresses --- */

static bool port_read(struct span text, in_port_t *port)
{
    unsigned number = 0;
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
        number = number * 10 + (unsigned)(text.data[i] - '0');
        if (number > UINT16_MAX)
            return false;
    }
    *port = htons((in_port_t)number);
    return text.size > 0;
}

static bool ipv4_read(const char *host, in_port_t port, struct config_address *address)
{
    struct sockaddr_in *in = (struct sockaddr_in *)&address->socket;
    if (inet_pton(AF_INET, host, &in->sin_addr) != 1)
        return false;
    in->sin_family = AF_INET;
    in->sin_port = port;
    address->socket_size = sizeof *in;
    address->loopback = ntohl(in->sin_addr.s_addr) >> 24 == 127;
    snprintf(address->text, sizeof address->text, "%s:%u", host, ntohs(port));
    return true;
}

static bool ipv6_read(const char *host, in_port_t port, struct config_address *address)
{
    struct sockaddr_in6 *in = (struct sockaddr_in6 *)&address->socket;
    if (inet_pton(AF_INET6, host, &in->sin6_addr) != 1)
        return false;
    in->sin6_family = AF_INET6;
    in->sin6_port = port;
    address->socket_size = sizeof *in;
    address->loopback = IN6_IS_ADDR_LOOPBACK(&in->sin6_addr) ||
                        (IN6_IS_ADDR_V4MAPPED(&in->sin6_addr) && in->sin6_addr.s6_addr[12] == 127);
    snprintf(address->text, sizeof address->text, "[%s]:%u", host, ntohs(port));
    return true;
}

/* "127.0.0.1:7070", "[::1]:7070". False: it is not an address like these. */
static bool address_parse(struct span text, struct config_address *address)
{
    struct config_address read = {.socket_size = 0};
    char host[INET6_ADDRSTRLEN];
    in_port_t port;
    const char *colon = text.size ? memrchr(text.data, ':', text.size) : NULL;
    if (!colon || !port_read((struct span){colon + 1, (size_t)(text.data + text.size - colon - 1)}, &port))
        return false;
    bool ipv6 = colon - text.data >= 2 && text.data[0] == '[' && colon[-1] == ']';
    size_t size = (size_t)(colon - text.data) - (ipv6 ? 2 : 0);
    if (size >= sizeof host)
        return false;
    memcpy(host, text.data + ipv6, size);
    host[size] = 0;
    if (strlen(host) != size || !(ipv6 ? ipv6_read(host, port, &read) : ipv4_read(host, port, &read)))
        return false;
    *address = read;
    return true;
}

static bool address_read(const struct config_key *key, void *base, const char *text, char *error)
{
    if (address_parse((struct span){text, strlen(text)}, field_of(key, base)))
        return true;
    snprintf(error, CONFIG_VALUE_ERROR_MAX, "allowed are a numeric address and a port, as 127.0.0.1:%s or [::1]:%s",
             strchr(key->standard, ':') + 1, strchr(key->standard, ':') + 1);
    return false;
}

/* --- by kind --- */

bool config_value_read(const struct config_key *key, void *base, const char *text, char error[CONFIG_VALUE_ERROR_MAX])
{
    switch (key->kind) {
    case CONFIG_BOOL:
        return bool_read(key, base, text, error);
    case CONFIG_CHOICE:
        return choice_read(key, base, text, error);
    case CONFIG_STRING:
        return string_read(key, base, text, error);
    case CONFIG_LIST:
        return list_read(key, base, text, error);
    case CONFIG_ADDRESS:
        return address_read(key, base, text, error);
    default:
        return number_read(key, base, text, error);
    }
}

static void number_write(const struct config_key *key, const void *base, char *out, size_t room)
{
    uint64_t number = number_load(key, base);
    if ((key->flags & CONFIG_ALLOWS_AUTO) && number == CONFIG_AUTO)
        snprintf(out, room, "auto");
    else
        snprintf(out, room, "%llu", (unsigned long long)number);
}

void config_value_write(const struct config_key *key, const void *base, char out[CONFIG_LIST_MAX + 1])
{
    const void *field = field_in(key, base);
    size_t room = CONFIG_LIST_MAX + 1;
    if (is_number(key->kind))
        number_write(key, base, out, room);
    else if (key->kind == CONFIG_BOOL)
        snprintf(out, room, "%s", *(const bool *)field ? "true" : "false");
    else if (key->kind == CONFIG_CHOICE)
        snprintf(out, room, "%s", key->choices[*(const int *)field]);
    else if (key->kind == CONFIG_ADDRESS)
        snprintf(out, room, "%s", ((const struct config_address *)field)->text);
    else
        snprintf(out, room, "%s", (const char *)field);
}

bool config_value_equal(const struct config_key *key, const void *base, const void *other)
{
    char mine[CONFIG_LIST_MAX + 1];
    char theirs[CONFIG_LIST_MAX + 1];
    config_value_write(key, base, mine);
    config_value_write(key, other, theirs);
    return strcmp(mine, theirs) == 0;
}

void config_value_copy(const struct config_key *key, void *base, const void *other)
{
    memcpy(field_of(key, base), field_in(key, other), key->size);
}
