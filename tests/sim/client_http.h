/*
 * client_http: clients of a topic's URL: raw WebSockets, streams of events, POST and GET. See clients.h.
 */
#ifndef SHOAL_TESTS_CLIENT_HTTP_H
#define SHOAL_TESTS_CLIENT_HTTP_H

#include "clients.h"

/* As client_json's. */
void http_open(struct clients *clients, struct client *client);
void http_news(struct clients *clients, struct client *client, const struct wire_news *news);
void http_act(struct clients *clients, struct client *client);

#endif
