/* url: see url.h. */
#include "cluster/url.h"

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

static const char *host_parse(struct span text, struct url *url)
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
    uint32_t port = URL_PORT_DEFAULT;
    if (text.size) {
        if (text.data[0] != ':') {
            return "after the host stands :port or nothing";
        }
        cut(&text, 1);
        if (!number_parse(text, UINT16_MAX, &port) || port == 0) {
            return "the port is not a number from 1 to 65535";
        }
    }
    url->port = (uint16_t)port;
    return host.size && part_copy(url->host, host) ? NULL : "the host is missing or too long";
}

const char *url_parse(struct span text, struct url *url)
{
    *url = (struct url){0};
    if (begins(text, "rediss://")) {
        return "rediss:// (TLS) is not supported by this build: use a tunnel";
    }
    if (!begins(text, "redis://")) {
        return "it does not begin with redis://";
    }
    cut(&text, strlen("redis://"));
    const char *at = memrchr(text.data, '@', text.size);
    if (at) {
        const char *problem = credentials_parse(cut(&text, (size_t)(at - text.data)), url);
        if (problem) {
            return problem;
        }
        cut(&text, 1);
    }
    const char *slash = memchr(text.data, '/', text.size);
    struct span host = cut(&text, slash ? (size_t)(slash - text.data) : text.size);
    if (text.size > 1) {
        cut(&text, 1);
        if (!number_parse(text, INT32_MAX, &url->database)) {
            return "the database is not a number";
        }
    }
    return host_parse(host, url);
}

void url_address(const struct url *url, char text[URL_ADDRESS_MAX])
{
    snprintf(text, URL_ADDRESS_MAX, strchr(url->host, ':') ? "[%s]:%u" : "%s:%u", url->host, url->port);
}
