/* address: see address.h. */
#include "conn/address.h"

#include <string.h>
#include <xxhash.h>

struct record {
    struct index_link link;
    uint32_t count;
    uint8_t key[16];
};

static struct record *record_at(const struct addresses *addresses, uint32_t number)
{
    return slab_at(&addresses->records, number);
}

bool addresses_init(struct addresses *addresses, uint32_t most)
{
    slab_init(&addresses->records, sizeof(struct record), most + 1);
    return index_init(&addresses->index, &addresses->records);
}

void addresses_destroy(struct addresses *addresses)
{
    index_destroy(&addresses->index);
    slab_destroy(&addresses->records);
}

static void key_of(const struct sockaddr_in6 *address, uint8_t key[16])
{
    memcpy(key, &address->sin6_addr, 16);
    if (!IN6_IS_ADDR_V4MAPPED(&address->sin6_addr)) {
        memset(key + 8, 0, 8);
    }
}

uint32_t addresses_add(struct addresses *addresses, const struct sockaddr_in6 *address, uint32_t limit)
{
    uint8_t key[16];
    key_of(address, key);
    uint64_t hash = XXH3_64bits(key, sizeof key);
    for (uint32_t n = index_first(&addresses->index, hash); n; n = index_next(&addresses->index, n)) {
        struct record *record = record_at(addresses, n);
        if (memcmp(record->key, key, sizeof key) == 0) {
            if (record->count >= limit) {
                return 0;
            }
            record->count++;
            return n;
        }
    }
    uint32_t number = slab_take(&addresses->records);
    if (number) {
        struct record *record = record_at(addresses, number);
        *record = (struct record){.link.hash = hash, .count = 1};
        memcpy(record->key, key, sizeof key);
        index_insert(&addresses->index, number);
    }
    return number;
}

void addresses_remove(struct addresses *addresses, uint32_t number)
{
    if (--record_at(addresses, number)->count == 0) {
        index_remove(&addresses->index, number);
        slab_give(&addresses->records, number);
    }
}
