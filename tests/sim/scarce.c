/* scarce: see scarce.h. */
#include "scarce.h"

#include <stddef.h>

void *__real_calloc(size_t count, size_t size); // NOLINT: the linker's names
void *__wrap_calloc(size_t count, size_t size); // NOLINT

static bool armed;

void scarce_arm(void)
{
    armed = true;
}

bool scarce_disarm(void)
{
    bool was = armed;
    armed = false;
    return was;
}

void *__wrap_calloc(size_t count, size_t size) // NOLINT
{
    return scarce_disarm() ? NULL : __real_calloc(count, size);
}
