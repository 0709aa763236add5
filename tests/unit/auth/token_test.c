/*
 * token_test: tokens made here with keys made here by OpenSSL, and all that a forger would try.
 *
 * Tokens are put together by hand (header, claims, signature), so that wrong ones can be made as easily as right ones
 * and nothing of the code under test takes part.
 */
#include "auth/token.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#define NOW    1700000000ull
#define HS256  "{\"alg\":\"HS256\",\"typ\":\"JWT\"}"
#define RS256  "{\"alg\":\"RS256\",\"typ\":\"JWT\"}"
#define ADA    "{\"sub\":\"ada\"}"
#define SECRET "0123456789abcdef0123456789abcdef"

static char folder[] = "/tmp/shoal-token-XXXXXX";
static char secret_path[64];
static char public_path[64];
static char public_pem[2048];
static EVP_PKEY *private_key;
static char token_text[2 * TOKEN_BYTES_MAX];
static struct principal_claims claims;

/* --- making keys and tokens --- */

static void path_of(char path[64], const char *name)
{
    snprintf(path, 64, "%s/%s", folder, name);
}

static void file_write(const char *path, const char *bytes, size_t size)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    fclose(file);
}

static size_t public_key_write(EVP_PKEY *key, const char *path, char *pem, size_t room)
{
    BIO *bio = BIO_new(BIO_s_mem());
    PEM_write_bio_PUBKEY(bio, key);
    int size = BIO_read(bio, pem, (int)room - 1);
    pem[size] = 0;
    BIO_free(bio);
    file_write(path, pem, (size_t)size);
    return (size_t)size;
}

static int keys_make(void **state)
{
    (void)state;
    if (!mkdtemp(folder))
        return -1;
    path_of(secret_path, "secret");
    path_of(public_path, "public.pem");
    file_write(secret_path, SECRET "\n", strlen(SECRET) + 1);
    private_key = EVP_RSA_gen(2048);
    public_key_write(private_key, public_path, public_pem, sizeof public_pem);
    return private_key ? 0 : -1;
}

static int keys_remove(void **state)
{
    (void)state;
    EVP_PKEY_free(private_key);
    unlink(secret_path);
    unlink(public_path);
    return rmdir(folder);
}

/* base64url without padding (RFC 7515, section 2), at the end of a string. */
static void encode(char *out, const void *bytes, size_t size)
{
    out += strlen(out);
    EVP_EncodeBlock((unsigned char *)out, bytes, (int)size);
    for (; *out && *out != '='; out++)
        *out = *out == '+' ? '-' : *out == '/' ? '_' : *out;
    *out = 0;
}

static void parts_write(const char *header, const char *payload)
{
    token_text[0] = 0;
    encode(token_text, header, strlen(header));
    token_text[strlen(token_text) + 1] = 0;
    token_text[strlen(token_text)] = '.';
    encode(token_text, payload, strlen(payload));
}

static void signature_write(const void *bytes, size_t size)
{
    size_t at = strlen(token_text);
    token_text[at] = '.';
    token_text[at + 1] = 0;
    encode(token_text, bytes, size);
}

static const char *hs256(const char *header, const char *payload, const void *secret, size_t size)
{
    unsigned char signature[EVP_MAX_MD_SIZE];
    unsigned signature_size;
    parts_write(header, payload);
    HMAC(EVP_sha256(), secret, (int)size, (const unsigned char *)token_text, strlen(token_text), signature,
         &signature_size);
    signature_write(signature, signature_size);
    return token_text;
}

static const char *rs256(const char *header, const char *payload, EVP_PKEY *key)
{
    unsigned char signature[1024];
    size_t signature_size = sizeof signature;
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    parts_write(header, payload);
    EVP_DigestSignInit(context, NULL, EVP_sha256(), NULL, key);
    assert_int_equal(
        EVP_DigestSign(context, signature, &signature_size, (const unsigned char *)token_text, strlen(token_text)), 1);
    EVP_MD_CTX_free(context);
    signature_write(signature, signature_size);
    return token_text;
}

static const char *signed_ada(const char *payload)
{
    return hs256(HS256, payload, SECRET, strlen(SECRET));
}

static struct token_verifier *verifier_of(const char *secret_file, const char *public_file)
{
    struct token_settings settings = {.hs256_key_file = secret_file, .rs256_key_file = public_file};
    char error[TOKEN_ERROR_MAX];
    struct token_verifier *verifier = token_verifier_create(&settings, error);
    if (!verifier)
        fail_msg("%s", error);
    return verifier;
}

static enum token_result verify(struct token_verifier *verifier, const char *token)
{
    return token_verify(verifier, (struct span){token, strlen(token)}, NOW, &claims);
}

/* Verifies a token with both keys configured. */
static enum token_result verify_both(const char *token)
{
    struct token_verifier *verifier = verifier_of(secret_path, public_path);
    enum token_result result = verify(verifier, token);
    token_verifier_destroy(verifier);
    return result;
}

/* --- tests --- */

static void right_tokens_are_taken(void **state)
{
    (void)state;
    assert_int_equal(verify_both(signed_ada(ADA)), TOKEN_OK);
    assert_int_equal(claims.identity_size, 3);
    assert_memory_equal(claims.identity, "ada", 3);
    assert_int_equal(claims.expires_s, 0);
    assert_int_equal(claims.publish_count + claims.subscribe_count, 0);
    assert_int_equal(verify_both(rs256(RS256, ADA, private_key)), TOKEN_OK);
    assert_memory_equal(claims.identity, "ada", 3);
}

static void rights_are_read(void **state)
{
    (void)state;
    assert_int_equal(verify_both(signed_ada("{\"sub\":\"b\",\"shoal\":{\"pub\":[\"a/+\"],\"sub\":[\"b/#\",\"c\"]}}")),
                     TOKEN_OK);
    assert_int_equal(claims.publish_count, 1);
    assert_int_equal(claims.subscribe_count, 2);
    assert_memory_equal(claims.filter_bytes, "a/+b/#c", 7);
    assert_int_equal(verify_both(signed_ada("{\"shoal\":{\"sub\":[]}}")), TOKEN_OK);
    assert_int_equal(claims.publish_count + claims.subscribe_count, 0);
}

static void times_are_kept_within_the_skew(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        long long offset;
        enum token_result result;
    } cases[] = {
        {"exp", 1, TOKEN_OK},
        {"exp", -TOKEN_CLOCK_SKEW_S + 1, TOKEN_OK},
        {"exp", -TOKEN_CLOCK_SKEW_S, TOKEN_EXPIRED},
        {"exp", -(long long)NOW, TOKEN_EXPIRED},
        {"nbf", 0, TOKEN_OK},
        {"nbf", TOKEN_CLOCK_SKEW_S, TOKEN_OK},
        {"nbf", TOKEN_CLOCK_SKEW_S + 1, TOKEN_NOT_YET},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char payload[64];
        snprintf(payload, sizeof payload, "{\"%s\":%lld}", cases[i].name, (long long)NOW + cases[i].offset);
        assert_int_equal(verify_both(signed_ada(payload)), cases[i].result);
    }
    assert_int_equal(verify_both(signed_ada("{\"exp\":1700000100.75}")), TOKEN_OK);
    assert_int_equal(claims.expires_s, 1700000100);
}

static void claims_of_wrong_types_are_refused(void **state)
{
    (void)state;
    static const char *const wrong[] = {"{\"exp\":\"1900000000\"}",
                                        "{\"exp\":-1}",
                                        "{\"exp\":null}",
                                        "{\"exp\":1e300}",
                                        "{\"nbf\":true}",
                                        "{\"sub\":5}",
                                        "{\"sub\":null}",
                                        "{\"shoal\":[]}",
                                        "{\"shoal\":\"#\"}",
                                        "{\"shoal\":{\"pub\":\"#\"}}",
                                        "{\"shoal\":{\"pub\":[5]}}",
                                        "{\"shoal\":{\"sub\":[\"a//b\"]}}",
                                        "{\"shoal\":{\"sub\":[\"\"]}}",
                                        "{\"shoal\":{\"sub\":{\"a\":1}}}"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        if (verify_both(signed_ada(wrong[i])) != TOKEN_CLAIMS)
            fail_msg("taken: %s", wrong[i]);
    char payload[1024] = "{\"sub\":\"";
    memset(payload + strlen(payload), 'x', 256);
    snprintf(payload + strlen(payload), 8, "\"}");
    assert_int_equal(verify_both(signed_ada(payload)), TOKEN_CLAIMS);
    assert_int_equal(claims.identity_size, 0);
}

static void too_many_filters_are_refused(void **state)
{
    (void)state;
    char payload[1024] = "{\"shoal\":{\"sub\":[\"a\"";
    for (unsigned i = 1; i < PRINCIPAL_FILTERS_MAX; i++)
        snprintf(payload + strlen(payload), 8, ",\"a\"");
    size_t size = strlen(payload);
    snprintf(payload + size, 8, "]}}");
    assert_int_equal(verify_both(signed_ada(payload)), TOKEN_OK);
    snprintf(payload + size, 16, ",\"a\"]}}");
    assert_int_equal(verify_both(signed_ada(payload)), TOKEN_CLAIMS);
    assert_int_equal(claims.subscribe_count, 0);
}

static void wrong_signatures_are_refused(void **state)
{
    (void)state;
    assert_int_equal(verify_both(hs256(HS256, ADA, "another secret of at least 32 bytes", 35)), TOKEN_SIGNATURE);
    EVP_PKEY *other = EVP_RSA_gen(2048);
    assert_int_equal(verify_both(rs256(RS256, ADA, other)), TOKEN_SIGNATURE);
    EVP_PKEY_free(other);

    signed_ada(ADA); /* another one's claims under a right signature */
    char *signature = strdup(strrchr(token_text, '.'));
    parts_write(HS256, "{\"sub\":\"eve\"}");
    snprintf(token_text + strlen(token_text), 128, "%s", signature);
    free(signature);
    assert_int_equal(verify_both(token_text), TOKEN_SIGNATURE);

    signed_ada(ADA);
    strrchr(token_text, '.')[1] = 0;
    assert_int_equal(verify_both(token_text), TOKEN_SIGNATURE);
}

static void algorithms_are_not_confused(void **state)
{
    (void)state;
    /* The public key as a secret: known to all, and what a naive verifier would take. */
    const char *forged = hs256(HS256, ADA, public_pem, strlen(public_pem));
    struct token_verifier *verifier = verifier_of(NULL, public_path);
    assert_int_equal(verify(verifier, forged), TOKEN_ALGORITHM);
    assert_int_equal(verify(verifier, signed_ada(ADA)), TOKEN_ALGORITHM);
    token_verifier_destroy(verifier);
    assert_int_equal(verify_both(hs256(HS256, ADA, public_pem, strlen(public_pem))), TOKEN_SIGNATURE);

    verifier = verifier_of(secret_path, NULL);
    assert_int_equal(verify(verifier, rs256(RS256, ADA, private_key)), TOKEN_ALGORITHM);
    token_verifier_destroy(verifier);

    static const char *const headers[] = {"{\"alg\":\"HS384\"}", "{\"alg\":\"HS512\"}", "{\"alg\":\"RS512\"}",
                                          "{\"alg\":\"ES256\"}"};
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++)
        assert_int_equal(verify_both(hs256(headers[i], ADA, SECRET, strlen(SECRET))), TOKEN_ALGORITHM);
}

static void none_is_nobodys_algorithm(void **state)
{
    (void)state;
    static const char *const headers[] = {
        "{\"alg\":\"none\"}", "{\"alg\":\"None\"}", "{\"alg\":\"NONE\"}", "{\"alg\":\"\"}", "{}",
        "{\"alg\":5}",        "{\"typ\":\"JWT\"}"};
    struct token_verifier *without_keys = verifier_of(NULL, NULL);
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
        parts_write(headers[i], ADA);
        snprintf(token_text + strlen(token_text), 2, ".");
        assert_int_not_equal(verify_both(token_text), TOKEN_OK);
        assert_int_not_equal(verify(without_keys, token_text), TOKEN_OK);
        assert_int_not_equal(verify_both(hs256(headers[i], ADA, SECRET, strlen(SECRET))), TOKEN_OK);
    }
    assert_int_equal(verify(without_keys, signed_ada(ADA)), TOKEN_ALGORITHM);
    token_verifier_destroy(without_keys);
}

static void what_is_no_token_is_refused(void **state)
{
    (void)state;
    static const char *const wrong[] = {"",    ".",     "..",       "...",      "a",
                                        "a.b", "a.b.c", "Bearer x", "{}.{}.{}", "\xff.\xff.\xff"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(verify_both(wrong[i]), TOKEN_MALFORMED);
    assert_int_not_equal(verify_both("e30.e30."), TOKEN_OK);
    assert_int_equal(verify_both(hs256("{\"alg\":\"HS256\",\"crit\":[\"x\"],\"x\":1}", ADA, SECRET, strlen(SECRET))),
                     TOKEN_MALFORMED);
    assert_int_not_equal(verify_both(signed_ada("[]")), TOKEN_OK);
    assert_int_not_equal(verify_both(signed_ada("not json")), TOKEN_OK);

    signed_ada(ADA);
    struct token_verifier *verifier = verifier_of(secret_path, NULL);
    size_t size = strlen(token_text);
    assert_int_equal(token_verify(verifier, (struct span){token_text, size + 1}, NOW, &claims), TOKEN_MALFORMED);
    for (size_t cut = 0; cut < size; cut++)
        assert_int_not_equal(token_verify(verifier, (struct span){token_text, cut}, NOW, &claims), TOKEN_OK);
    memset(token_text, 'a', TOKEN_BYTES_MAX + 1);
    assert_int_equal(token_verify(verifier, (struct span){token_text, TOKEN_BYTES_MAX + 1}, NOW, &claims),
                     TOKEN_MALFORMED);
    token_verifier_destroy(verifier);
}

static void audience_and_issuer_are_checked(void **state)
{
    (void)state;
    struct token_settings settings = {.hs256_key_file = secret_path, .audience = "shoal", .issuer = "me"};
    char error[TOKEN_ERROR_MAX];
    struct token_verifier *verifier = token_verifier_create(&settings, error);
    assert_int_equal(verify(verifier, signed_ada("{\"aud\":\"shoal\",\"iss\":\"me\"}")), TOKEN_OK);
    assert_int_equal(verify(verifier, signed_ada("{\"aud\":[\"x\",\"shoal\"],\"iss\":\"me\"}")), TOKEN_OK);
    assert_int_equal(verify(verifier, signed_ada("{\"aud\":[\"x\"],\"iss\":\"me\"}")), TOKEN_AUDIENCE);
    assert_int_equal(verify(verifier, signed_ada("{\"iss\":\"me\"}")), TOKEN_AUDIENCE);
    assert_int_equal(verify(verifier, signed_ada("{\"aud\":\"shoal\"}")), TOKEN_ISSUER);
    assert_int_equal(verify(verifier, signed_ada("{\"aud\":\"shoal\",\"iss\":\"you\"}")), TOKEN_ISSUER);
    token_verifier_destroy(verifier);
}

/* Whether a key file of these bytes is refused with this reason. */
static void refused(bool secret, const char *bytes, size_t size, const char *reason)
{
    char path[64];
    char error[TOKEN_ERROR_MAX];
    path_of(path, "wrong");
    file_write(path, bytes, size);
    struct token_settings settings = {.hs256_key_file = secret ? path : "", .rs256_key_file = secret ? NULL : path};
    assert_null(token_verifier_create(&settings, error));
    if (!strstr(error, reason) || !strstr(error, path))
        fail_msg("'%s', expected '%s'", error, reason);
    unlink(path);
}

static void wrong_key_files_are_refused(void **state)
{
    (void)state;
    static char big[TOKEN_KEY_BYTES_MAX + 2];
    char pem[4096];
    refused(true, "short\n", 6, "at least 32 bytes");
    refused(true, "", 0, "at least 32 bytes");
    refused(true, big, sizeof big, "at most 16384 bytes");
    refused(false, "no key", 6, "not a public key in PEM");
    refused(false, "-----BEGIN PRIVATE KEY-----\n", 28, "this is a private key");

    char path[64];
    path_of(path, "other.pem");
    EVP_PKEY *small = EVP_RSA_gen(1024);
    refused(false, pem, public_key_write(small, path, pem, sizeof pem), "at least 2048 bits");
    EVP_PKEY_free(small);
    EVP_PKEY *curve = EVP_EC_gen("P-256");
    refused(false, pem, public_key_write(curve, path, pem, sizeof pem), "not an RSA key");
    EVP_PKEY_free(curve);
    unlink(path);

    char error[TOKEN_ERROR_MAX];
    struct token_settings missing = {.hs256_key_file = "/nonexistent/secret"};
    assert_null(token_verifier_create(&missing, error));
    assert_string_equal(error, "/nonexistent/secret: No such file or directory");
}

static void keys_are_changed_while_running(void **state)
{
    (void)state;
    char error[TOKEN_ERROR_MAX];
    char path[64];
    path_of(path, "second");
    file_write(path, "the second secret of 32 bytes or more", 37);
    struct token_verifier *verifier = verifier_of(secret_path, NULL);
    struct token_settings second = {.hs256_key_file = path};
    assert_true(token_verifier_reload(verifier, &second, error));
    assert_int_equal(verify(verifier, signed_ada(ADA)), TOKEN_SIGNATURE);
    hs256(HS256, ADA, "the second secret of 32 bytes or more", 37);
    assert_int_equal(verify(verifier, token_text), TOKEN_OK);
    unlink(path);
    assert_false(token_verifier_reload(verifier, &second, error));
    assert_int_equal(verify(verifier, token_text), TOKEN_OK);
    token_verifier_destroy(verifier);
}

static void results_have_names(void **state)
{
    (void)state;
    assert_string_equal(token_result_name(TOKEN_NOT_YET), "not_yet");
    assert_string_equal(token_result_meaning(TOKEN_EXPIRED), "exp has passed");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(right_tokens_are_taken),
        cmocka_unit_test(rights_are_read),
        cmocka_unit_test(times_are_kept_within_the_skew),
        cmocka_unit_test(claims_of_wrong_types_are_refused),
        cmocka_unit_test(too_many_filters_are_refused),
        cmocka_unit_test(wrong_signatures_are_refused),
        cmocka_unit_test(algorithms_are_not_confused),
        cmocka_unit_test(none_is_nobodys_algorithm),
        cmocka_unit_test(what_is_no_token_is_refused),
        cmocka_unit_test(audience_and_issuer_are_checked),
        cmocka_unit_test(wrong_key_files_are_refused),
        cmocka_unit_test(keys_are_changed_while_running),
        cmocka_unit_test(results_have_names),
    };
    return cmocka_run_group_tests(tests, keys_make, keys_remove);
}
