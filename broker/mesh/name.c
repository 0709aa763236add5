/* name: see name.h. */
#include "mesh/name.h"

#include <stdlib.h>
#include <xxhash.h>

#include "base/check.h"
#include "base/limits.h"

static _Atomic uint64_t count_in_use;

uint64_t name_count_in_use(void)
{
    return atomic_load_explicit(&count_in_use, memory_order_relaxed);
}

struct name *name_create(struct span text)
{
    CHECK(text.size <= TOPIC_BYTES_MAX);
    struct name *name = malloc(sizeof *name + text.size);
    if (name) {
        atomic_init(&name->references, 1);
        atomic_fetch_add_explicit(&count_in_use, 1, memory_order_relaxed);
        name->size = (uint8_t)text.size;
        memcpy(name->bytes, text.data, text.size);
    }
    return name;
}

void name_drop(struct name *name)
{
    if (atomic_fetch_sub_explicit(&name->references, 1, memory_order_acq_rel) == 1) {
        atomic_fetch_sub_explicit(&count_in_use, 1, memory_order_relaxed);
        free(name);
    }
}

uint64_t name_hash(struct span text)
{
    return XXH3_64bits(text.data, text.size);
}
