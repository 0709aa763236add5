/*
 * admin: the admin port: health, metrics, JSON for the command line and the page, and the levers.
 *
 *   HTTP (libmicrohttpd) ─▶ http: guards, routes ─┬─▶ report, metrics: read the shards' statistics, answer at once
 *                                                 └─▶ listing ─▶ job ── ASK_INSPECT ──▶ shards ── TELL_INSPECTED ──▶ …
 *
 * It has a thread of its own, which is a peer on the mesh, with the index after the last shard's. Not the control
 * thread's: that one waits while a configuration is reloaded and while connections are drained, and just then somebody
 * looks here. A request that has to ask shards is suspended meanwhile; the thread itself never waits for anything but
 * its one poll(). What it reads without asking are statistics, which are atomic.
 *
 * The port is the operator's: on loopback everybody may use it, elsewhere only who shows the token (admin.token_file).
 * Against web pages of others that the operator's browser has open: without a token only requests to an address or to
 * localhost are answered (a name could be rebound to it), and a lever wants a header that only the same origin may set.
 *
 * Thread: admin_ready() any, the others the control thread.
 */
#ifndef SHOAL_ADMIN_ADMIN_H
#define SHOAL_ADMIN_ADMIN_H

#include "base/stats.h"
#include "config/config.h"
#include "mesh/mesh.h"

/* What was built. Borrowed strings, static. */
struct build_identity {
    const char *version;
    const char *commit;
    const char *type;
    const char *compiler;
};

struct admin_setup {
    const struct config *config; /* borrowed for the call */
    const struct build_identity *build;
    struct mesh *mesh;
    uint32_t shard_count; /* and so this peer's index */
};

struct link;

/* What is known once the shards run. Borrowed until admin_destroy(). */
struct admin_broker {
    const struct stats *const *stats; /* by shard */
    const char *data_address;         /* "127.0.0.1:7070" */
    const char *io_name;
    uint64_t connections_max;
    bool tokens;             /* clients need one */
    const struct link *link; /* to other hosts; NULL: the broker stands alone */
};

/* What the control thread knows of it; whether federation is well is the link's to say. */
enum admin_readiness { ADMIN_STARTING, ADMIN_READY, ADMIN_DRAINING };

struct admin;

/*
 * Binds admin.address and reads the token's file. NULL: *problem says why (text that stays valid until the next call).
 * Before the shards run: sets the mesh's bell.
 */
struct admin *admin_create(const struct admin_setup *setup, const char **problem);

/* Serves from now on. False: there is no thread, or no memory. */
bool admin_start(struct admin *admin, const struct admin_broker *broker);

/* What /readyz says. Any thread. */
void admin_set_readiness(struct admin *admin, enum admin_readiness readiness);

/* "127.0.0.1:7071", with the port that was given for 0. Borrowed. */
const char *admin_address(const struct admin *admin);

/* Ends the thread. While the shards run. */
void admin_stop(struct admin *admin);

/* Takes it. After the shards have stopped: they borrow inspections. NULL is allowed. */
void admin_destroy(struct admin *admin);

#endif
