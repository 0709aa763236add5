/*
 * url_fuzz: the address of a Redis server.
 *
 * Checked beside what the sanitizers see: an address that was taken is taken again as it is shown to people, and
 * names the same server.
 */
#include "fuzz.h"

#include "cluster/url.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct url url, again;
    const char *problem = url_parse((struct span){(const char *)data, size}, &url);
    if (problem) {
        FUZZ_CHECK(problem[0] != 0);
        return 0;
    }
    FUZZ_CHECK(url.host[0] && url.port);
    FUZZ_CHECK(!url.user[0] || url.password[0]);
    char text[sizeof "redis://" + URL_ADDRESS_MAX] = "redis://";
    url_address(&url, text + strlen(text));
    if (!strpbrk(url.host, "%@/[]")) { /* percent-encoded in the input, and shown as it is */
        FUZZ_CHECK(url_parse((struct span){text, strlen(text)}, &again) == NULL);
        FUZZ_CHECK(strcmp(again.host, url.host) == 0 && again.port == url.port);
    }
    return 0;
}
