/*
 * script: the assembler takes the files in, as admin/page.c does with its page. See script.h.
 */
#include "cluster/script.h"

#include <openssl/sha.h>

#define FILE_IN(file) ".incbin \"" SHOAL_SCRIPTS_FOLDER "/" file "\"\n"

#define TAKE_IN(name, files)                                                                                           \
    __asm__(".section .rodata\n"                                                                                       \
            ".global shoal_script_" name "\n.hidden shoal_script_" name "\nshoal_script_" name ":\n" files             \
            ".global shoal_script_" name "_end\n.hidden shoal_script_" name "_end\nshoal_script_" name "_end:\n"       \
            ".byte 0\n"                                                                                                \
            ".previous\n")

TAKE_IN("claim", FILE_IN("generation.lua") FILE_IN("claim.lua"));
TAKE_IN("append", FILE_IN("generation.lua") FILE_IN("append.lua"));
TAKE_IN("read", FILE_IN("generation.lua") FILE_IN("read.lua"));
TAKE_IN("live", FILE_IN("live.lua"));

extern const char shoal_script_claim[], shoal_script_claim_end[];
extern const char shoal_script_append[], shoal_script_append_end[];
extern const char shoal_script_read[], shoal_script_read_end[];
extern const char shoal_script_live[], shoal_script_live_end[];

static const struct {
    const char *begin;
    const char *end;
} texts[SCRIPTS] = {
    [SCRIPT_CLAIM] = {shoal_script_claim, shoal_script_claim_end},
    [SCRIPT_APPEND] = {shoal_script_append, shoal_script_append_end},
    [SCRIPT_READ] = {shoal_script_read, shoal_script_read_end},
    [SCRIPT_LIVE] = {shoal_script_live, shoal_script_live_end},
};

struct span script_text(enum script script)
{
    return (struct span){texts[script].begin, (size_t)(texts[script].end - texts[script].begin)};
}

void script_hash(enum script script, char hash[SCRIPT_HASH_SIZE])
{
    struct span text = script_text(script);
    unsigned char digest[SHA_DIGEST_LENGTH];
    SHA1((const unsigned char *)text.data, text.size, digest);
    for (int i = 0; i < SHA_DIGEST_LENGTH; i++) {
        hash[2 * i] = "0123456789abcdef"[digest[i] >> 4];
        hash[2 * i + 1] = "0123456789abcdef"[digest[i] & 15];
    }
}
