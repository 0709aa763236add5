/*
 * client_talk: a client on /v1/ws, which does all that there is to do, in JSON or in the binary dialect. See clients.h.
 */
#ifndef SHOAL_TESTS_CLIENT_TALK_H
#define SHOAL_TESTS_CLIENT_TALK_H

#include "clients.h"

/* Asks for the WebSocket. */
void talk_open(struct clients *clients, struct client *client);

/* Something has come. */
void talk_news(struct clients *clients, struct client *client, const struct wire_news *news);

/* Does something, or nothing. */
void talk_act(struct clients *clients, struct client *client);

/* Publishes something to a topic. False: too much is unanswered. */
bool talk_publish(struct clients *clients, struct client *client, uint32_t topic);

#endif
