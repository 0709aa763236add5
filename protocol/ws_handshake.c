/*
 * ws_handshake: checks an upgrade request against RFC 6455 4.2.1, and negotiates.
 *
 * Two kinds of wrong are kept apart, as the RFCs do. A header that is not well-formed refuses the handshake. An offer
 * of permessage-deflate that is well-formed but that nobody can accept (an unknown parameter, one that is there twice,
 * a window of 7) is only passed over: the client gets its next offer, or no compression (RFC 7692 7.1).
 */
#include "protocol/ws_handshake.h"

#include <assert.h>
#include <string.h>

#include <openssl/evp.h>
#include <openssl/sha.h>

#include "protocol/writer.h"

#define KEY_SIZE 24 /* base64 of 16 bytes */

/* RFC 6455 1.3: proves that the answer comes from somebody who knows what a WebSocket is. */
static const char accept_guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

static int refuse(struct ws_handshake *out, int status, const char *problem)
{
    out->problem = problem;
    return out->status = status;
}

/* ---- the upgrade itself ---- */

bool ws_handshake_wanted(const struct http_request *request)
{
    return http_header_has_token(request, "upgrade", "websocket");
}

static bool is_base64(char byte)
{
    return (byte >= 'A' && byte <= 'Z') || (byte >= 'a' && byte <= 'z') || (byte >= '0' && byte <= '9') ||
           byte == '+' || byte == '/';
}

/* 16 bytes are 22 characters and two of padding. Bits that are left over in the last character may be set: some clients
 * do. */
static bool key_valid(struct span key)
{
    if (key.size != KEY_SIZE || key.data[22] != '=' || key.data[23] != '=')
        return false;
    for (size_t at = 0; at < 22; at++)
        if (!is_base64(key.data[at]))
            return false;
    return true;
}

void ws_accept_write(struct span key, char out[WS_ACCEPT_SIZE])
{
    char text[KEY_SIZE + sizeof accept_guid - 1];
    unsigned char hash[SHA_DIGEST_LENGTH];
    unsigned char encoded[WS_ACCEPT_SIZE + 1]; /* libcrypto adds a NUL */
    assert(key.size == KEY_SIZE);
    memcpy(text, key.data, KEY_SIZE);
    memcpy(text + KEY_SIZE, accept_guid, sizeof accept_guid - 1);
    SHA1((const unsigned char *)text, sizeof text, hash);
    EVP_EncodeBlock(encoded, hash, sizeof hash);
    memcpy(out, encoded, WS_ACCEPT_SIZE);
}

/* RFC 6455 4.2.1, items 1 to 4: that this is a GET, and an upgrade to a WebSocket. */
static int upgrade_check(const struct http_request *request, struct ws_handshake *out)
{
    if (request->method != HTTP_GET)
        return refuse(out, 405, "A WebSocket is opened with GET.");
    if (request->minor_version < 1)
        return refuse(out, 400, "A WebSocket needs HTTP/1.1.");
    if (!ws_handshake_wanted(request))
        return refuse(out, 426, "This is a WebSocket: it needs \"Upgrade: websocket\".");
    if (!http_header_has_token(request, "connection", "upgrade"))
        return refuse(out, 400, "A WebSocket needs \"Connection: Upgrade\".");
    if (request->chunked || request->content_length > 0)
        return refuse(out, 400, "A request for a WebSocket has no body.");
    return 101;
}

/* Items 5 and 6. The version is looked at first: a key of another version may look different. */
static int key_check(const struct http_request *request, struct ws_handshake *out)
{
    struct span key = http_header(request, "sec-websocket-key");
    if (http_header_count(request, "sec-websocket-version") != 1)
        return refuse(out, 400, "A WebSocket needs one Sec-WebSocket-Version header.");
    if (!span_equal(http_header(request, "sec-websocket-version"), SPAN_LITERAL("13")))
        return refuse(out, 426, "Only version 13 of WebSocket is spoken here.");
    if (http_header_count(request, "sec-websocket-key") != 1)
        return refuse(out, 400, "A WebSocket needs one Sec-WebSocket-Key header.");
    if (!key_valid(key))
        return refuse(out, 400, "Sec-WebSocket-Key is not the base64 of 16 bytes.");
    ws_accept_write(key, out->accept);
    return 101;
}

/* ---- subprotocols ---- */

static int subprotocol_index(struct span name, const char *const *subprotocols)
{
    for (int at = 0; subprotocols != NULL && subprotocols[at] != NULL; at++)
        if (span_equal(name, (struct span){subprotocols[at], strlen(subprotocols[at])}))
            return at;
    return -1;
}

/* Takes the first that we speak, in the client's order. All must be tokens (item 8); that each is there once is not
 * checked. */
static int subprotocol_choose(const struct http_request *request, const char *const *subprotocols,
                              struct ws_handshake *out)
{
    for (size_t at = 0; at < request->header_count; at++) {
        struct span list = request->headers[at].value;
        struct span name;
        if (!http_equal_nocase(request->headers[at].name, "sec-websocket-protocol"))
            continue;
        while (http_list_next(&list, &name)) {
            if (!http_is_token(name))
                return refuse(out, 400, "Sec-WebSocket-Protocol is not a list of tokens.");
            out->subprotocols_offered = true;
            if (out->subprotocol < 0)
                out->subprotocol = subprotocol_index(name, subprotocols);
        }
    }
    if (out->subprotocol >= 0)
        out->subprotocol_name = subprotocols[out->subprotocol];
    return 101;
}

/* ---- extensions: the grammar (RFC 6455 9.1) ---- */

/* extension *( ";" name [ "=" value ] ), the value a token or a quoted one. White space may stand between any two. */
struct parameter {
    struct span name;
    struct span value; /* without quotes; data == NULL: none */
};

static void skip_space(struct span *rest)
{
    while (rest->size > 0 && (rest->data[0] == ' ' || rest->data[0] == '\t'))
        *rest = (struct span){rest->data + 1, rest->size - 1};
}

static bool take_char(struct span *rest, char wanted)
{
    skip_space(rest);
    if (rest->size == 0 || rest->data[0] != wanted)
        return false;
    *rest = (struct span){rest->data + 1, rest->size - 1};
    skip_space(rest);
    return true;
}

/* Takes everything up to one of the characters that may end a token here. */
static bool take_token(struct span *rest, struct span *token)
{
    size_t size = 0;
    while (size < rest->size && strchr(" \t;=\"", rest->data[size]) == NULL)
        size++;
    *token = (struct span){rest->data, size};
    *rest = (struct span){rest->data + size, rest->size - size};
    return http_is_token(*token);
}

/* What is quoted must be a token itself (9.1), so that there is nothing to unescape. */
static bool take_value(struct span *rest, struct span *value)
{
    bool quoted = rest->size > 0 && rest->data[0] == '"';
    if (!quoted)
        return take_token(rest, value);
    *rest = (struct span){rest->data + 1, rest->size - 1};
    if (!take_token(rest, value) || rest->size == 0 || rest->data[0] != '"')
        return false;
    *rest = (struct span){rest->data + 1, rest->size - 1};
    return true;
}

/* Takes "; name" or "; name=value" off the front. False: it is not well-formed. */
static bool take_parameter(struct span *rest, struct parameter *parameter)
{
    parameter->value = SPAN_NONE;
    if (!take_char(rest, ';') || !take_token(rest, &parameter->name))
        return false;
    if (take_char(rest, '=') && !take_value(rest, &parameter->value))
        return false;
    skip_space(rest);
    return true;
}

/* ---- extensions: permessage-deflate (RFC 7692 7.1) ---- */

struct deflate_offer {
    bool valid; /* nobody need pass over it */
    bool server_no_context_takeover;
    bool client_no_context_takeover;
    bool server_bits_given;
    bool client_bits_given;
    uint8_t server_bits; /* 8 to 15 */
    uint8_t client_bits; /* 8 to 15; 0: given without a value, "choose any" */
};

/* 8 to 15 without leading zeros (7.1.2); 0: it is not. */
static uint8_t window_bits(struct span value)
{
    if (value.size == 1 && (value.data[0] == '8' || value.data[0] == '9'))
        return (uint8_t)(value.data[0] - '0');
    if (value.size == 2 && value.data[0] == '1' && value.data[1] >= '0' && value.data[1] <= '5')
        return (uint8_t)(10 + value.data[1] - '0');
    return 0;
}

/* A parameter may be there once. */
static bool once(bool *given)
{
    bool first = !*given;
    *given = true;
    return first;
}

/* False: nobody could accept an offer with this parameter. */
static bool offer_add(struct deflate_offer *offer, const struct parameter *parameter)
{
    bool has_value = parameter->value.data != NULL;
    if (http_equal_nocase(parameter->name, "server_no_context_takeover"))
        return !has_value && once(&offer->server_no_context_takeover);
    if (http_equal_nocase(parameter->name, "client_no_context_takeover"))
        return !has_value && once(&offer->client_no_context_takeover);
    if (http_equal_nocase(parameter->name, "server_max_window_bits")) {
        offer->server_bits = has_value ? window_bits(parameter->value) : 0;
        return offer->server_bits != 0 && once(&offer->server_bits_given);
    }
    if (http_equal_nocase(parameter->name, "client_max_window_bits")) {
        offer->client_bits = has_value ? window_bits(parameter->value) : 0;
        return (!has_value || offer->client_bits != 0) && once(&offer->client_bits_given);
    }
    return false;
}

/* Whether we can keep what the offer asks of us. zlib can't deflate with a window of 8 bits. */
static bool offer_acceptable(const struct deflate_offer *offer, enum ws_deflate_policy policy)
{
    if (!offer->valid || policy == WS_DEFLATE_OFF)
        return false;
    if (!offer->server_bits_given || offer->server_bits == 15)
        return true;
    return policy == WS_DEFLATE_ANY && offer->server_bits >= 9;
}

/*
 * The client's window is bounded in the answer only if the client named a bound itself: we inflate with the full window
 * in any case, so that there is nothing to gain by asking for less (7.1.2.2).
 */
static struct ws_deflate_terms offer_accept(const struct deflate_offer *offer)
{
    bool client_bits = offer->client_bits_given && offer->client_bits != 0;
    return (struct ws_deflate_terms){
        .on = true,
        .server_window_bits = offer->server_bits_given ? offer->server_bits : 15,
        .client_window_bits = client_bits ? offer->client_bits : 15,
        .answer_server_bits = offer->server_bits_given,
        .answer_client_bits = client_bits,
    };
}

/* One element of Sec-WebSocket-Extensions. False: it is not well-formed. */
static bool extension_read(struct span text, enum ws_deflate_policy policy, struct ws_deflate_terms *terms)
{
    struct span name;
    struct parameter parameter;
    struct deflate_offer offer = {.valid = true};
    if (!take_token(&text, &name))
        return false;
    skip_space(&text);
    while (text.size > 0) {
        if (!take_parameter(&text, &parameter))
            return false;
        offer.valid = offer_add(&offer, &parameter) && offer.valid;
    }
    if (!terms->on && http_equal_nocase(name, "permessage-deflate") && offer_acceptable(&offer, policy))
        *terms = offer_accept(&offer);
    return true;
}

/* The first offer that we can accept is taken: the client lists them in the order of its preference (RFC 7692 5). */
static int extensions_choose(const struct http_request *request, enum ws_deflate_policy policy,
                             struct ws_handshake *out)
{
    for (size_t at = 0; at < request->header_count; at++) {
        struct span list = request->headers[at].value;
        struct span extension;
        if (!http_equal_nocase(request->headers[at].name, "sec-websocket-extensions"))
            continue;
        while (http_list_next(&list, &extension))
            if (!extension_read(extension, policy, &out->deflate))
                return refuse(out, 400, "Sec-WebSocket-Extensions is not well-formed.");
    }
    return 101;
}

/* ---- the whole ---- */

int ws_handshake_check(const struct http_request *request, const char *const *subprotocols,
                       enum ws_deflate_policy deflate_policy, struct ws_handshake *out)
{
    *out = (struct ws_handshake){.status = 101, .subprotocol = -1};
    if (upgrade_check(request, out) == 101 && key_check(request, out) == 101 &&
        subprotocol_choose(request, subprotocols, out) == 101)
        extensions_choose(request, deflate_policy, out);
    return out->status;
}

static void put_text(struct writer *writer, const char *text)
{
    writer_put(writer, (struct span){text, strlen(text)});
}

static void put_deflate(struct writer *writer, const struct ws_deflate_terms *terms)
{
    put_text(writer, "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; "
                     "client_no_context_takeover");
    if (terms->answer_server_bits) {
        put_text(writer, "; server_max_window_bits=");
        writer_u64(writer, terms->server_window_bits);
    }
    if (terms->answer_client_bits) {
        put_text(writer, "; client_max_window_bits=");
        writer_u64(writer, terms->client_window_bits);
    }
    put_text(writer, "\r\n");
}

size_t ws_handshake_write(const struct ws_handshake *handshake, struct span extra, char *out, size_t room)
{
    struct writer writer = {out, room, 0};
    assert(handshake->status == 101);
    put_text(&writer, "HTTP/1.1 101 Switching Protocols\r\n"
                      "Upgrade: websocket\r\n"
                      "Connection: Upgrade\r\n"
                      "Sec-WebSocket-Accept: ");
    writer_put(&writer, (struct span){handshake->accept, WS_ACCEPT_SIZE});
    put_text(&writer, "\r\n");
    if (handshake->subprotocol_name != NULL) {
        put_text(&writer, "Sec-WebSocket-Protocol: ");
        put_text(&writer, handshake->subprotocol_name);
        put_text(&writer, "\r\n");
    }
    if (handshake->deflate.on)
        put_deflate(&writer, &handshake->deflate);
    writer_put(&writer, extra);
    put_text(&writer, "\r\n");
    return writer.size;
}

struct span ws_handshake_refusal_lines(const struct ws_handshake *handshake)
{
    if (handshake->status == 405)
        return SPAN_LITERAL("Allow: GET\r\n");
    if (handshake->status == 426)
        return SPAN_LITERAL("Upgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Version: 13\r\n");
    return SPAN_NONE;
}
