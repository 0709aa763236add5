/*
 * client_json: a client of the JSON dialect, on /v1/ws. See clients.h.
 */
#ifndef SHOAL_TESTS_CLIENT_JSON_H
#define SHOAL_TESTS_CLIENT_JSON_H

#include "clients.h"

/* Asks for the WebSocket. */
void json_open(struct clients *clients, struct client *client);

/* Something has come. */
void json_news(struct clients *clients, struct client *client, const struct wire_news *news);

/* Does something, or nothing. */
void json_act(struct clients *clients, struct client *client);

/* A gap's object, of this dialect or in an event of a stream. */
void json_gap(struct clients *clients, struct follow *follow, struct span object);

/* What a message's object carries: the publish. `object` has data or data_base64. UINT32_MAX: the verdict knows. */
uint32_t json_payload(struct clients *clients, struct span object);

/* `recovered` of an ok. */
void json_recovered(struct span object, bool *has_recovered, bool *recovered);

#endif
