/* partial: see partial.h. */
#include "conn/partial.h"

static void count(struct conns *conns, struct session *session, uint32_t bytes)
{
    conns->partial_bytes += bytes;
    conns->partial_bytes -= session->partial_bytes;
    session->partial_bytes = bytes;
    STATS_SET(conns->stats, partial_bytes, conns->partial_bytes);
}

bool partial_add(struct conns *conns, struct session *session, struct span bytes, bool last)
{
    bool fits = last || conns->partial_bytes + bytes.size <= conns->config->limits.partial_bytes;
    if (!fits || !buffer_add(&session->message, bytes.data, bytes.size)) {
        STATS_ADD(conns->stats, partial_refusals, 1);
        return false;
    }
    count(conns, session, last ? 0 : session->message.size);
    return true;
}

struct buffer partial_take(struct conns *conns, struct session *session)
{
    struct buffer whole = session->message;
    session->message = (struct buffer){0};
    count(conns, session, 0);
    return whole;
}

void partial_free(struct conns *conns, struct session *session)
{
    struct buffer message = partial_take(conns, session);
    buffer_free(&message);
}
