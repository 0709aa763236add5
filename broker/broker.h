/*
 * broker: the process: its shards, each a thread, and the control thread that started them.
 *
 *   control thread: sockets bound ─▶ shards started ─▶ `ready` ─▶ signals ─▶ drain ─▶ all drained ─▶ stop ─▶ `stopped`
 *
 * Thread: the control thread (the one that calls).
 */
#ifndef SHOAL_BROKER_BROKER_H
#define SHOAL_BROKER_BROKER_H

#include "config/config.h"

struct broker;
struct build_identity;

/*
 * Binds, starts the shards, and logs `ready`. NULL: it has logged why not. The sources are borrowed for reloading, the
 * configuration is taken in any case.
 */
struct broker *broker_start(struct config *config, const struct config_sources *sources,
                            const struct build_identity *build);

/* Works signals until SIGTERM or SIGINT. SIGHUP reloads, SIGUSR1 logs the statistics. */
void broker_wait(struct broker *broker);

/* Drains, stops, logs `stopped` with what is left. Takes the broker. True: nothing is left. */
bool broker_stop(struct broker *broker);

/* Blocks the signals that broker_wait() takes. First thing in main, so that every thread inherits it. */
void broker_block_signals(void);

#endif
