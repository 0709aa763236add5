/*
 * token: JSON Web Tokens (RFC 7519), verified by libjwt.
 *
 *   claim     what becomes of it
 *   sub       identity (a string of at most 255 bytes; absent: empty)
 *   exp       expiry, refused from then on (absent: never)
 *   nbf       refused before then
 *   aud, iss  must hold auth.audience, be auth.issuer, if these are configured
 *   shoal     {"pub": [filter, …], "sub": [filter, …]}: what it may publish and subscribe to; absent: nothing
 *
 * Exactly two algorithms are known, and each has a key of its own: HS256 a shared secret (at least 32 bytes, RFC 7518
 * section 3.2), RS256 a public key in PEM (at least 2048 bits). The token's header only chooses between these two, so
 * a public key is never used as a secret, and `none` is nobody's algorithm. The clocks of issuer and broker may differ
 * by TOKEN_CLOCK_SKEW_S.
 *
 * A verifier serves all shards: any thread. Verifying parses and allocates: it is for the start of a connection.
 */
#ifndef SHOAL_AUTH_TOKEN_H
#define SHOAL_AUTH_TOKEN_H

#include <stdint.h>

#include "auth/principal.h"
#include "protocol/span.h"

#define TOKEN_BYTES_MAX        8192
#define TOKEN_CLOCK_SKEW_S     30
#define TOKEN_SECRET_BYTES_MIN 32
#define TOKEN_KEY_BYTES_MAX    16384 /* of a key file */
#define TOKEN_RSA_BITS_MIN     2048

/* X(NAME, "name", what is wrong) */
#define TOKEN_RESULTS(X)                                                                                               \
    X(OK, "ok", "valid")                                                                                               \
    X(MALFORMED, "malformed", "not a JSON Web Token")                                                                  \
    X(ALGORITHM, "algorithm", "no key is configured for the token's algorithm")                                        \
    X(SIGNATURE, "signature", "the signature does not fit")                                                            \
    X(EXPIRED, "expired", "exp has passed")                                                                            \
    X(NOT_YET, "not_yet", "nbf is still to come")                                                                      \
    X(AUDIENCE, "audience", "aud does not hold the configured audience")                                               \
    X(ISSUER, "issuer", "iss is not the configured issuer")                                                            \
    X(CLAIMS, "claims", "a claim has the wrong type, is too long, or is not a valid filter")                           \
    X(SHORTAGE, "shortage", "no memory to verify it")

enum token_result {
#define X(name, text, meaning) TOKEN_##name,
    TOKEN_RESULTS(X)
#undef X
};

/* Name for logs and metrics, and its meaning. Static. */
const char *token_result_name(enum token_result result);
const char *token_result_meaning(enum token_result result);

/* What to verify with. All strings are copied; NULL or "" is none. */
struct token_settings {
    const char *hs256_key_file; /* its bytes are the secret; one newline at the end is not part of it */
    const char *rs256_key_file; /* PEM, "BEGIN PUBLIC KEY" */
    const char *audience;
    const char *issuer;
};

#define TOKEN_ERROR_MAX 512

struct token_verifier;

/*
 * Reads the key files. NULL: `error` says which file and why. A verifier without any key is allowed: it refuses all
 * tokens with TOKEN_ALGORITHM.
 */
struct token_verifier *token_verifier_create(const struct token_settings *settings, char error[TOKEN_ERROR_MAX]);
void token_verifier_destroy(struct token_verifier *verifier);

/* Reads the files again (SIGHUP), with new settings. False: `error` says why, and the former keys stay. */
bool token_verifier_reload(struct token_verifier *verifier, const struct token_settings *settings,
                           char error[TOKEN_ERROR_MAX]);

/*
 * Verifies a token (without "Bearer ") at the time now_s, seconds since 1970. TOKEN_OK: `claims` is what it says (exp
 * as it stands in the token, without skew). Else the claims are empty.
 */
enum token_result token_verify(struct token_verifier *verifier, struct span token, uint64_t now_s,
                               struct principal_claims *claims);

#endif
