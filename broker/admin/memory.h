/*
 * memory: what the process takes, as the kernel and the allocator see it.
 *
 * Any thread. Reads /proc, and asks jemalloc where the program is linked with it.
 */
#ifndef SHOAL_ADMIN_MEMORY_H
#define SHOAL_ADMIN_MEMORY_H

#include <stdbool.h>
#include <stdint.h>

struct memory_figures {
    uint64_t resident_bytes; /* of the process */
    bool jemalloc;           /* the following are valid */
    uint64_t allocated;      /* by the program */
    uint64_t active;         /* pages with something of it */
    uint64_t metadata;       /* the allocator's own */
    uint64_t resident;       /* of the allocator's mappings */
    uint64_t mapped;
    uint64_t retained; /* given back, address kept */
};

void memory_read(struct memory_figures *figures);

/* CPU time that the process has taken so far, in us. */
uint64_t memory_cpu_us(void);

#endif
