/* url: see url.h. */
#include "cluster/url.h"

#include <assert.h>
#include <stdio.h>
#include <strings.h>

static struct span cut(struct span *text, size_t size)
{
    struct span head = {text->data, size};
    *text = (struct span){text->data + size, text->size - size};
    return head;
}

static bool begins(struct span text, const char *scheme)
{
    size_t size = strlen(scheme);
    return text.size >= size && strncasecmp(text.data, scheme, size) == 0;
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* Undoes the percent-encoding. */
static bool part_copy(char part[URL_PART_MAX + 1], struct span text)
{
    size_t size = 0;
    for (size_t i = 0; i < text.size; i++) {
        int c = (unsigned char)text.data[i];
        if (c == '%') {
            if (text.size - i < 3 || hex_digit(text.data[i + 1]) < 0 || hex_digit(text.data[i + 2]) < 0) {
                return false;
            }
            c = hex_digit(text.data[i + 1]) * 16 + hex_digit(text.data[i + 2]);
            i += 2;
        }
        if (size == URL_PART_MAX || c == 0) {
            return false;
        }
        part[size++] = (char)c;
    }
    part[size] = 0;
    return true;
}

static bool number_parse(struct span text, uint32_t max, uint32_t *number)
{
    uint64_t value = 0;
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] < '0' || text.data[i] > '9' || value > max) {
            return false;
        }
        value = value * 10 + (uint64_t)(text.data[i] - '0');
    }
    *number = (uint32_t)value;
    return text.size > 0 && value <= max;
}

static const char *credentials_parse(struct span text, struct url *url)
{
    const char *colon = memchr(text.data, ':', text.size);
    if (!colon) {
        return "before the @ stands user:password or :password";
    }
    struct span user = cut(&text, (size_t)(colon - text.data));
    cut(&text, 1);
    if (!part_copy(url->user, user) || !part_copy(url->password, text)) {
        return "user or password is too long or wrongly percent-encoded";
    }
    return url->password[0] ? NULL : "the password is empty";
}

/* host[:port] */
static const char *place_parse(struct span text, uint32_t port_default, struct url_place *place)
{
    struct span host;
    if (text.size && text.data[0] == '[') {
        const char *bracket = memchr(text.data, ']', text.size);
        if (!bracket) {
            return "the bracket of the IPv6 address is not closed";
        }
        cut(&text, 1);
        host = cut(&text, (size_t)(bracket - text.data));
        cut(&text, 1);
    } else {
        const char *colon = memchr(text.data, ':', text.size);
        host = cut(&text, colon ? (size_t)(colon - text.data) : text.size);
    }
    uint32_t port = port_default;
    if (text.size) {
        if (text.data[0] != ':') {
            return "after the host stands :port or nothing";
        }
        cut(&text, 1);
        if (!number_parse(text, UINT16_MAX, &port) || port == 0) {
            return "the port is not a number from 1 to 65535";
        }
    }
    place->port = (uint16_t)port;
    return host.size && part_copy(place->host, host) ? NULL : "the host is missing or too long";
}

/* Up to the separator, or to the end; *text moves behind it. */
static struct span cut_until(struct span *text, char separator)
{
    const char *end = text->size ? memchr(text->data, separator, text->size) : NULL;
    struct span head = cut(text, end ? (size_t)(end - text->data) : text->size);
    if (end) {
        cut(text, 1);
    }
    return head;
}

static_assert(URL_SENTINELS_MAX == 8, "the message below says so");

/* host[:port][,host[:port]...] */
static const char *places_parse(struct span text, uint32_t port_default, struct url *url)
{
    const char *problem = NULL;
    bool more = true;
    while (more && !problem) {
        if (url->place_count == URL_SENTINELS_MAX) {
            return "more than 8 sentinels or seeds are named";
        }
        more = text.size && memchr(text.data, ',', text.size);
        problem = place_parse(cut_until(&text, ','), port_default, &url->places[url->place_count++]);
    }
    return problem;
}

/* What Redis allows in a master's name. */
static const char *master_parse(struct span text, struct url *url)
{
    static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-_";
    if (text.size == 0) {
        return "after the sentinels stands /MASTER_NAME, the name by which they know the master";
    }
    if (text.size > URL_PART_MAX) {
        return "the master's name is too long";
    }
    for (size_t i = 0; i < text.size; i++) {
        if (!memchr(allowed, text.data[i], sizeof allowed - 1)) {
            return "the master's name holds something else than letters, digits, and .-_";
        }
    }
    memcpy(url->master, text.data, text.size);
    return NULL;
}

enum kind { KIND_SERVER, KIND_SENTINELS, KIND_CLUSTER, KINDS };

static const char *scheme_parse(struct span *text, enum kind *kind, bool *tls)
{
    static const char *const ends[KINDS] = {"://", "+sentinel://", "+cluster://"};
    *tls = begins(*text, "rediss");
    if (begins(*text, "redis")) {
        struct span end = *text;
        cut(&end, strlen(*tls ? "rediss" : "redis"));
        for (*kind = 0; *kind < KINDS; ++*kind) {
            if (begins(end, ends[*kind])) {
                cut(&end, strlen(ends[*kind]));
                *text = end;
                return NULL;
            }
        }
    }
    return "it begins with none of redis://, redis+sentinel://, redis+cluster://, nor with these and rediss";
}

/* What stands behind the credentials. */
static const char *rest_parse(struct span text, enum kind kind, struct url *url)
{
    struct span places = cut_until(&text, '/');
    const char *problem = NULL;
    switch (kind) {
    case KIND_SENTINELS:
        problem = places_parse(places, URL_SENTINEL_PORT_DEFAULT, url);
        problem = problem ? problem : master_parse(cut_until(&text, '/'), url);
        break;
    case KIND_CLUSTER:
        url->cluster = true;
        problem = places_parse(places, URL_PORT_DEFAULT, url);
        return !problem && text.size ? "a Redis Cluster has no databases: nothing stands after its seeds" : problem;
    default:
        url->place_count = 1;
        problem = place_parse(places, URL_PORT_DEFAULT, &url->places[0]);
    }
    if (!problem && text.size && !number_parse(text, INT32_MAX, &url->database)) {
        problem = "the database is not a number";
    }
    return problem;
}

const char *url_parse(struct span text, struct url *url)
{
    enum kind kind;
    *url = (struct url){0};
    const char *problem = scheme_parse(&text, &kind, &url->tls);
    const char *at = problem ? NULL : memrchr(text.data, '@', text.size);
    if (at) {
        problem = credentials_parse(cut(&text, (size_t)(at - text.data)), url);
        cut(&text, 1);
    }
    return problem ? problem : rest_parse(text, kind, url);
}

uint32_t url_auth(const struct url *url, struct span words[URL_AUTH_WORDS])
{
    uint32_t count = 0;
    words[count++] = SPAN_LITERAL("AUTH");
    if (url->user[0]) {
        words[count++] = span_of_text(url->user);
    }
    words[count++] = span_of_text(url->password);
    return url->password[0] ? count : 0;
}

void url_address(const struct url_place *place, char text[URL_ADDRESS_MAX])
{
    snprintf(text, URL_ADDRESS_MAX, strchr(place->host, ':') ? "[%s]:%u" : "%s:%u", place->host, place->port);
}

void url_name(const struct url *url, char text[URL_NAME_MAX])
{
    int size = url->master[0] ? snprintf(text, URL_NAME_MAX, "%s@", url->master) : 0;
    for (uint32_t i = 0; i < url->place_count; i++) {
        char address[URL_ADDRESS_MAX];
        url_address(&url->places[i], address);
        size += snprintf(text + size, URL_NAME_MAX - (size_t)size, "%s%s", i ? "," : "", address);
    }
}
