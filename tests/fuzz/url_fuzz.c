/*
 * url_fuzz: the address of a Redis server.
 *
 * Checked beside what the sanitizers see: an address that was taken is taken again as it is shown to people, and
 * names the same server.
 */
#include "fuzz.h"

#include <stdio.h>

#include "cluster/url.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct url url, again;
    const char *problem = url_parse((struct span){(const char *)data, size}, &url);
    if (problem) {
        FUZZ_CHECK(problem[0] != 0);
        return 0;
    }
    bool plain = true; /* else it is percent-encoded in the input, and shown as it is */
    FUZZ_CHECK(url.place_count > 0 && url.place_count <= URL_SENTINELS_MAX);
    for (uint32_t i = 0; i < url.place_count; i++) {
        FUZZ_CHECK(url.places[i].host[0] && url.places[i].port);
        plain &= !strpbrk(url.places[i].host, "%@/[],");
    }
    FUZZ_CHECK(!url.user[0] || url.password[0]);
    FUZZ_CHECK(url.master[0] || url.cluster || url.place_count == 1);
    if (plain) {
        char name[URL_NAME_MAX];
        char text[2 * URL_NAME_MAX];
        url_name(&url, name);
        const char *places = url.master[0] ? strchr(name, '@') + 1 : name;
        const char *sort = url.cluster ? "+cluster" : url.master[0] ? "+sentinel" : "";
        snprintf(text, sizeof text, "redis%s://%s/%s", sort, places, url.master);
        FUZZ_CHECK(url_parse((struct span){text, strlen(text)}, &again) == NULL);
        FUZZ_CHECK(memcmp(again.places, url.places, sizeof url.places) == 0);
        FUZZ_CHECK(again.place_count == url.place_count && again.cluster == url.cluster);
        FUZZ_CHECK(strcmp(again.master, url.master) == 0);
    }
    return 0;
}
