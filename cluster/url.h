/*
 * url: where a Redis server is and how to get in: redis://[[user]:password@]host[:port][/database]
 *
 * The host is a name, an IPv4 address, or an IPv6 address in brackets. User and password may be percent-encoded, as
 * they must be where they hold one of ":/@ %"; the last "@" is the one that ends them. Without a user the password is
 * that of Redis' default user. rediss:// (TLS) is known and refused: Debian 12's hiredis cannot do it, and a link that
 * quietly went on in the clear would be worse; a tunnel (stunnel, WireGuard) does it below.
 */
#ifndef SHOAL_CLUSTER_URL_H
#define SHOAL_CLUSTER_URL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol/span.h"

#define URL_PORT_DEFAULT 6379
#define URL_PART_MAX     255
#define URL_ADDRESS_MAX  (URL_PART_MAX + 9)

struct url {
    char host[URL_PART_MAX + 1]; /* without brackets */
    char user[URL_PART_MAX + 1]; /* "": none */
    char password[URL_PART_MAX + 1];
    uint16_t port;
    uint32_t database;
};

/* NULL: *url is filled. Else what is wrong, a literal that does not hold the password. */
const char *url_parse(struct span text, struct url *url);

/* "10.0.0.7:6379" or "[::1]:6379": for people, and the server's name on the ring. */
void url_address(const struct url *url, char text[URL_ADDRESS_MAX]);

#endif
