/*
 * token: which key, then libjwt, then the claims one by one.
 *
 *      token ─▶ header alone (not verified): alg ─▶ the one key of that algorithm ─▶ jwt_decode() ─▶ claims
 *
 * libjwt 1 verifies with whatever algorithm the header names. So the header is read first, without a key, and decides
 * nothing but which of our keys is used; no key, no verification, and so no token. Claims are read from
 * the verified token's JSON by jansson, because libjwt's own getters take a wrong type for an absent claim.
 */
#include "auth/token.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <jwt.h>
#include <math.h>
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* 2^53: beyond it JSON's numbers lose seconds, and no date is meant. */
#define TIME_MAX_S 9007199254740992.0

struct key {
    int size;                                     /* 0: none */
    unsigned char bytes[TOKEN_KEY_BYTES_MAX + 1]; /* a NUL behind them: PEM is text */
};

struct keys {
    struct key hs256;
    struct key rs256;
    char *audience; /* NULL: not checked */
    char *issuer;
};

struct token_verifier {
    pthread_rwlock_t lock; /* taken for reading by each verification: they do not stop each other */
    struct keys *keys;
};

const char *token_result_name(enum token_result result)
{
    static const char *const names[] = {
#define X(name, text, meaning) text,
        TOKEN_RESULTS(X)
#undef X
    };
    return names[result];
}

const char *token_result_meaning(enum token_result result)
{
    static const char *const meanings[] = {
#define X(name, text, meaning) meaning,
        TOKEN_RESULTS(X)
#undef X
    };
    return meanings[result];
}

/* --- keys --- */

static bool fail(char *error, const char *path, const char *why)
{
    snprintf(error, TOKEN_ERROR_MAX, "%.300s: %s", path, why);
    return false;
}

/* Reads a whole key file. False: `error` is set. */
static bool key_read(struct key *key, const char *path, char *error)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return fail(error, path, strerror(errno));
    size_t size = 0;
    ssize_t got;
    while ((got = read(fd, key->bytes + size, sizeof key->bytes - size)) > 0)
        size += (size_t)got;
    int reason = errno;
    close(fd);
    if (got < 0)
        return fail(error, path, strerror(reason));
    if (size > TOKEN_KEY_BYTES_MAX)
        return fail(error, path, "a key file has at most 16384 bytes");
    key->bytes[size] = 0;
    key->size = (int)size;
    return true;
}

/* The secret's own bytes: an editor's newline at the end is not part of it. */
static bool secret_load(struct key *key, const char *path, char *error)
{
    if (!key_read(key, path, error))
        return false;
    if (key->size > 0 && key->bytes[key->size - 1] == '\n')
        key->size--;
    if (key->size > 0 && key->bytes[key->size - 1] == '\r')
        key->size--;
    if (key->size < TOKEN_SECRET_BYTES_MIN)
        return fail(error, path, "a secret for HS256 has at least 32 bytes (RFC 7518, 3.2)");
    return true;
}

/* Why these bytes are no public key that may be used. NULL: they are one. */
static const char *public_key_problem(const struct key *key)
{
    if (strstr((const char *)key->bytes, "PRIVATE KEY"))
        return "this is a private key: the broker needs the public one alone (openssl pkey -pubout)";
    BIO *bio = BIO_new_mem_buf(key->bytes, key->size);
    EVP_PKEY *parsed = bio ? PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL) : NULL;
    const char *problem = NULL;
    if (!parsed)
        problem = "not a public key in PEM (BEGIN PUBLIC KEY)";
    else if (EVP_PKEY_get_base_id(parsed) != EVP_PKEY_RSA)
        problem = "not an RSA key";
    else if (EVP_PKEY_get_bits(parsed) < TOKEN_RSA_BITS_MIN)
        problem = "an RSA key has at least 2048 bits (RFC 7518, 3.3)";
    EVP_PKEY_free(parsed);
    BIO_free(bio);
    return problem;
}

static bool public_key_load(struct key *key, const char *path, char *error)
{
    if (!key_read(key, path, error))
        return false;
    const char *problem = public_key_problem(key);
    return problem ? fail(error, path, problem) : true;
}

static bool is_set(const char *text)
{
    return text && text[0];
}

/* Copies text, or leaves NULL for none. False: no memory. */
static bool text_copy(char **copy, const char *text)
{
    *copy = is_set(text) ? strdup(text) : NULL;
    return *copy || !is_set(text);
}

static void keys_destroy(struct keys *keys)
{
    if (!keys)
        return;
    free(keys->audience);
    free(keys->issuer);
    explicit_bzero(keys, sizeof *keys);
    free(keys);
}

static struct keys *keys_create(const struct token_settings *settings, char *error)
{
    struct keys *keys = calloc(1, sizeof *keys);
    bool loaded = keys && text_copy(&keys->audience, settings->audience) && text_copy(&keys->issuer, settings->issuer);
    if (!loaded)
        snprintf(error, TOKEN_ERROR_MAX, "no memory for keys");
    if (loaded && is_set(settings->hs256_key_file))
        loaded = secret_load(&keys->hs256, settings->hs256_key_file, error);
    if (loaded && is_set(settings->rs256_key_file))
        loaded = public_key_load(&keys->rs256, settings->rs256_key_file, error);
    if (loaded)
        return keys;
    keys_destroy(keys);
    return NULL;
}

struct token_verifier *token_verifier_create(const struct token_settings *settings, char error[TOKEN_ERROR_MAX])
{
    struct keys *keys = keys_create(settings, error);
    if (!keys)
        return NULL;
    struct token_verifier *verifier = calloc(1, sizeof *verifier);
    if (!verifier) {
        snprintf(error, TOKEN_ERROR_MAX, "no memory for keys");
        keys_destroy(keys);
        return NULL;
    }
    pthread_rwlock_init(&verifier->lock, NULL);
    verifier->keys = keys;
    return verifier;
}

void token_verifier_destroy(struct token_verifier *verifier)
{
    if (!verifier)
        return;
    keys_destroy(verifier->keys);
    pthread_rwlock_destroy(&verifier->lock);
    free(verifier);
}

bool token_verifier_reload(struct token_verifier *verifier, const struct token_settings *settings,
                           char error[TOKEN_ERROR_MAX])
{
    struct keys *keys = keys_create(settings, error);
    if (!keys)
        return false;
    pthread_rwlock_wrlock(&verifier->lock);
    struct keys *former = verifier->keys;
    verifier->keys = keys;
    pthread_rwlock_unlock(&verifier->lock);
    keys_destroy(former);
    return true;
}

/* --- claims --- */

/* exp or nbf, "NumericDate" (RFC 7519 section 2): seconds, perhaps with a fraction. Absent: `absent`. */
static bool time_claim(const json_t *claims, const char *name, uint64_t absent, uint64_t *time_s)
{
    const json_t *claim = json_object_get(claims, name);
    *time_s = absent;
    if (!claim)
        return true;
    double number = json_is_number(claim) ? json_number_value(claim) : -1;
    if (!(number >= 0 && number <= TIME_MAX_S))
        return false;
    *time_s = json_is_integer(claim) ? (uint64_t)json_integer_value(claim) : (uint64_t)number;
    return true;
}

static enum token_result times_check(const json_t *claims, uint64_t now_s, struct principal_claims *out)
{
    uint64_t expires_s;
    uint64_t begins_s;
    if (!time_claim(claims, "exp", UINT64_MAX, &expires_s) || !time_claim(claims, "nbf", 0, &begins_s))
        return TOKEN_CLAIMS;
    if (expires_s != UINT64_MAX && now_s >= expires_s + TOKEN_CLOCK_SKEW_S)
        return TOKEN_EXPIRED;
    if (now_s + TOKEN_CLOCK_SKEW_S < begins_s)
        return TOKEN_NOT_YET;
    out->expires_s = expires_s == UINT64_MAX ? 0 : expires_s ? expires_s : 1; /* 0 means never */
    return TOKEN_OK;
}

static bool string_is(const json_t *value, const char *text)
{
    return json_is_string(value) && json_string_length(value) == strlen(text) &&
           strcmp(json_string_value(value), text) == 0;
}

/* aud is one string or an array of them (RFC 7519 section 4.1.3). */
static bool audience_holds(const json_t *audience, const char *text)
{
    for (size_t i = 0; i < json_array_size(audience); i++)
        if (string_is(json_array_get(audience, i), text))
            return true;
    return string_is(audience, text);
}

static enum token_result parties_check(const json_t *claims, const struct keys *keys)
{
    if (keys->audience && !audience_holds(json_object_get(claims, "aud"), keys->audience))
        return TOKEN_AUDIENCE;
    if (keys->issuer && !string_is(json_object_get(claims, "iss"), keys->issuer))
        return TOKEN_ISSUER;
    return TOKEN_OK;
}

static struct span span_of(const json_t *string)
{
    return (struct span){json_string_value(string), json_string_length(string)};
}

static bool identity_claim(const json_t *claims, struct principal_claims *out)
{
    const json_t *subject = json_object_get(claims, "sub");
    return !subject || (json_is_string(subject) && principal_claims_identify(out, span_of(subject)));
}

/* An array of filters, or nothing at all. */
static bool filters_claim(const json_t *filters, struct principal_claims *out,
                          bool (*allow)(struct principal_claims *, struct span))
{
    if (!filters)
        return true;
    bool valid = json_is_array(filters);
    for (size_t i = 0; valid && i < json_array_size(filters); i++) {
        const json_t *filter = json_array_get(filters, i);
        valid = json_is_string(filter) && allow(out, span_of(filter));
    }
    return valid;
}

static bool rights_claim(const json_t *claims, struct principal_claims *out)
{
    const json_t *rights = json_object_get(claims, "shoal");
    if (!rights)
        return true;
    return json_is_object(rights) &&
           filters_claim(json_object_get(rights, "pub"), out, principal_claims_allow_publish) &&
           filters_claim(json_object_get(rights, "sub"), out, principal_claims_allow_subscribe);
}

static enum token_result claims_read(const json_t *claims, const struct keys *keys, uint64_t now_s,
                                     struct principal_claims *out)
{
    enum token_result result = times_check(claims, now_s, out);
    if (result == TOKEN_OK)
        result = parties_check(claims, keys);
    if (result == TOKEN_OK && !(identity_claim(claims, out) && rights_claim(claims, out)))
        result = TOKEN_CLAIMS;
    return result;
}

/* --- the token --- */

/* The algorithms that there are, and no others. Names are case-sensitive (RFC 7515, section 4.1.1). */
static const struct key *key_named(const struct keys *keys, const char *name, jwt_alg_t *algorithm)
{
    if (name && strcmp(name, "HS256") == 0) {
        *algorithm = JWT_ALG_HS256;
        return &keys->hs256;
    }
    if (name && strcmp(name, "RS256") == 0) {
        *algorithm = JWT_ALG_RS256;
        return &keys->rs256;
    }
    return NULL;
}

/* The key that a token's header asks for. TOKEN_OK: *key is set. */
static enum token_result key_choose(const struct keys *keys, const char *token, const struct key **key,
                                    jwt_alg_t *algorithm)
{
    jwt_t *header = NULL;
    int result = jwt_decode(&header, token, NULL, 0);
    if (result)
        return result == ENOMEM ? TOKEN_SHORTAGE : TOKEN_MALFORMED;
    char *critical = jwt_get_headers_json(header, "crit"); /* extensions that must be understood: we know none */
    *key = key_named(keys, jwt_get_header(header, "alg"), algorithm); /* jwt_get_alg() is `none` without a key */
    jwt_free(header);
    free(critical);
    if (critical)
        return TOKEN_MALFORMED;
    return *key && (*key)->size ? TOKEN_OK : TOKEN_ALGORITHM;
}

/* The claims of a token whose signature is right. Gives *claims. */
static enum token_result signature_check(const struct keys *keys, const char *token, json_t **claims)
{
    const struct key *key = NULL;
    jwt_alg_t algorithm = JWT_ALG_NONE;
    enum token_result chosen = key_choose(keys, token, &key, &algorithm);
    if (chosen != TOKEN_OK)
        return chosen;
    jwt_t *jwt = NULL;
    int result = jwt_decode(&jwt, token, key->bytes, key->size);
    if (result)
        return result == ENOMEM ? TOKEN_SHORTAGE : TOKEN_SIGNATURE;
    bool same = jwt_get_alg(jwt) == algorithm; /* what was verified is what was chosen */
    char *text = same ? jwt_get_grants_json(jwt, NULL) : NULL;
    jwt_free(jwt);
    if (!same)
        return TOKEN_ALGORITHM;
    *claims = text ? json_loads(text, 0, NULL) : NULL;
    free(text);
    return *claims ? TOKEN_OK : TOKEN_MALFORMED;
}

static enum token_result verify(const struct keys *keys, const char *token, uint64_t now_s,
                                struct principal_claims *out)
{
    json_t *claims = NULL;
    enum token_result result = signature_check(keys, token, &claims);
    if (result == TOKEN_OK && !json_is_object(claims))
        result = TOKEN_MALFORMED;
    if (result == TOKEN_OK)
        result = claims_read(claims, keys, now_s, out);
    json_decref(claims);
    return result;
}

enum token_result token_verify(struct token_verifier *verifier, struct span token, uint64_t now_s,
                               struct principal_claims *claims)
{
    char text[TOKEN_BYTES_MAX + 1];
    principal_claims_clear(claims);
    if (token.size == 0 || token.size > TOKEN_BYTES_MAX || memchr(token.data, 0, token.size))
        return TOKEN_MALFORMED;
    memcpy(text, token.data, token.size);
    text[token.size] = 0;

    pthread_rwlock_rdlock(&verifier->lock);
    enum token_result result = verify(verifier->keys, text, now_s, claims);
    pthread_rwlock_unlock(&verifier->lock);
    if (result != TOKEN_OK)
        principal_claims_clear(claims);
    return result;
}
