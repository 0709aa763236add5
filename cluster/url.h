/*
 * url: where a Redis server is and how to get in. It is named itself, or by those who know where it is now:
 *
 *   redis://[[user]:password@]host[:port][/database]
 *   redis+sentinel://[[user]:password@]host[:port][,host[:port]...]/MASTER_NAME[/database]
 *   redis+cluster://[[user]:password@]host[:port][,host[:port]...]
 *
 * or the same by TLS, sentinels included: rediss://, rediss+sentinel://, rediss+cluster://.
 *
 * The last is a whole Redis Cluster, by some of its nodes (seeds), which name the others; it has no databases.
 *
 * The host is a name, an IPv4 address, or an IPv6 address in brackets. User and password may be percent-encoded, as
 * they must be where they hold one of ":/@ %"; the last "@" is the one that ends them. Without a user the password is
 * that of Redis' default user. They are the master's; a sentinel gets them only if it asks for them (sentinel.h). The
 * master's name is what Redis allows for one: letters, digits, and ".-_".
 */
#ifndef SHOAL_CLUSTER_URL_H
#define SHOAL_CLUSTER_URL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "protocol/span.h"

#define URL_PORT_DEFAULT          6379
#define URL_SENTINEL_PORT_DEFAULT 26379
#define URL_PART_MAX              255
#define URL_SENTINELS_MAX         8u /* people have three or five; seeds as well */
#define URL_ADDRESS_MAX           (URL_PART_MAX + 9)
#define URL_NAME_MAX              (URL_PART_MAX + 1 + URL_SENTINELS_MAX * URL_ADDRESS_MAX)

struct url_place {
    char host[URL_PART_MAX + 1]; /* without brackets */
    uint16_t port;
};

struct url {
    struct url_place places[URL_SENTINELS_MAX]; /* the server itself, its sentinels, or seeds of a cluster */
    uint32_t place_count;
    char master[URL_PART_MAX + 1]; /* what its sentinels call it; "": the place is the server itself */
    char user[URL_PART_MAX + 1];   /* "": none */
    char password[URL_PART_MAX + 1];
    uint32_t database;
    bool tls;
    bool cluster; /* the places are seeds of a Redis Cluster */
};

static inline bool url_place_equal(const struct url_place *a, const struct url_place *b)
{
    return a->port == b->port && strcmp(a->host, b->host) == 0;
}

/* NULL: *url is filled. Else what is wrong, a literal that does not hold the password. */
const char *url_parse(struct span text, struct url *url);

#define URL_AUTH_WORDS 3

/*
 * The command by which the password is given, borrowed from the URL. Returns the number of its words, 0: there is no
 * password. With a user it is of Redis 6; without one, of all.
 */
uint32_t url_auth(const struct url *url, struct span words[URL_AUTH_WORDS]);

/* "10.0.0.7:6379" or "[::1]:6379": for people. */
void url_address(const struct url_place *place, char text[URL_ADDRESS_MAX]);

/*
 * The server's name on the ring (ring.h), the same wherever it is now: its address, or with sentinels
 * "MASTER_NAME@10.0.0.1:26379,10.0.0.2:26379", in the order in which they are written.
 */
void url_name(const struct url *url, char text[URL_NAME_MAX]);

#endif
