/* visitor: the connections of the admin port, and how long each may take for a request. See state.h. */
#include <sys/socket.h>

#include "admin/state.h"

static struct visitor *visitor_of(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info ? info->socket_context : NULL;
}

/* As many may come as there are places: the library has the same bound. */
static struct visitor *place_take(struct admin *admin)
{
    struct visitor *place = admin->visitors;
    while (place->here && place < &admin->visitors[VISITORS_MAX - 1]) {
        place++;
    }
    return place->here ? NULL : place;
}

void visitor_notice(void *context, struct MHD_Connection *connection, void **state,
                    enum MHD_ConnectionNotificationCode what)
{
    struct admin *admin = context;
    struct visitor *visitor = *state;
    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        visitor = place_take(admin);
        const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
        if (visitor && info) {
            *visitor = (struct visitor){.here = true, .descriptor = info->connect_fd, .since_ms = admin->now_ms};
            *state = visitor;
        }
    } else if (visitor) {
        visitor->here = false;
    }
}

void visitor_was_served(struct admin *admin, struct MHD_Connection *connection)
{
    struct visitor *visitor = visitor_of(connection);
    if (visitor) {
        visitor->since_ms = admin->now_ms;
    }
}

void visitors_turn(struct admin *admin)
{
    for (uint32_t i = 0; i < VISITORS_MAX; i++) {
        struct visitor *visitor = &admin->visitors[i];
        if (visitor->here && admin->now_ms - visitor->since_ms > VISITOR_REQUEST_MS) {
            shutdown(visitor->descriptor, SHUT_RDWR); /* the library sees that it has ended, and closes it */
            visitor->since_ms = admin->now_ms;
        }
    }
}
