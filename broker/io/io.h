/*
 * io: the only door to the kernel.
 *
 * Behind it are three rooms with one contract: io_uring (the one that is measured), epoll (where io_uring is
 * forbidden), and the simulated one of the tests. A shard owns one `struct io` and is the only one to touch it, but
 * for io_wake().
 *
 *       shard                        io                                  kernel
 *   io_send(), io_close(), …  ──▶  a batch of requests  ── io_flush ──▶  done in order, at once
 *   io_next()  ◀── events     ◀──  completions          ◀─ io_wait ───   whenever they come
 *
 * A socket is a *slot*: a small number given by the room at accept, dense from 0, free again only after IO_CLOSED.
 * The connection table is indexed by it. Events carry the slot alone: a room never reports on a slot that it has
 * reported as closed, nor on its former life (it keeps what generations it needs to itself).
 *
 * Receiving. Bytes come as IO_RECEIVED events into buffers that the room owns; the shard may change them in place
 * (unmasking) and must give each back with io_buffer_return() before it calls io_next() again. How a socket waits
 * is the shard's choice: *idle* holds least kernel memory (one armed poll, then one receive), *busy* costs least
 * CPU for those who talk (a multishot receive). *Paused*: nothing is armed and no bytes come (back-pressure), not
 * even the end of stream.
 *
 * Sending. A send never waits in the kernel: it is a non-blocking write of all its bytes, done when io_flush()
 * returns, so the bytes need to live just until then (nothing is pinned by a stalled reader). At most one send a
 * slot, and at most `batch` in all, may be queued between two flushes. Success is silent: only a send that did not
 * take all its bytes is reported, by io_next_short() right after the flush; all of these must be taken before
 * anything is sent again. They do not come out of io_next(): what else has happened waits there for its step of the
 * turn. IO_WRITABLE then tells when to go on, if asked for.
 *
 * Closing is begin (io_close), join (all that the kernel still holds completes) and finish (IO_CLOSED, exactly once
 * a slot). Bytes that were sent before io_close() are delivered (FIN follows them), unless the peer has sent
 * something that was not received: then TCP resets the connection, and what is still under way may be lost. Who
 * must be sure of the last words calls io_shutdown_write(), receives until IO_ENDED, and closes then.
 *
 * Thread: the shard's own; io_wake() any thread.
 */
#ifndef SHOAL_IO_IO_H
#define SHOAL_IO_IO_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct io;

enum io_event_kind {
    IO_ACCEPTED,      /* slot is new: starts paused, not receiving */
    IO_ACCEPT_FAILED, /* result: -errno (-ENFILE: the slots are all taken; accepting goes on when one is freed) */
    IO_RECEIVED,      /* data, size: bytes; buffer: to give back */
    IO_ENDED,         /* the peer has sent all it will (result 0) or the connection broke (result -errno) */
    IO_WRITABLE,      /* after io_want_writable(): once */
    IO_CLOSED,        /* the slot is free from now on */
};

struct io_event {
    enum io_event_kind kind;
    uint32_t slot;
    int32_t result;
    uint32_t buffer; /* IO_RECEIVED: for io_buffer_return() */
    uint32_t size;   /* IO_RECEIVED */
    char *data;      /* IO_RECEIVED: may be changed in place until the buffer is given back */
};

/* A send that did not take all its bytes. */
struct io_short {
    uint32_t slot;
    uint32_t tag;   /* as given to io_send() */
    int32_t result; /* bytes taken (0 or more, fewer than asked), or -errno if the connection broke */
};

enum io_receiving {
    IO_RECEIVE_PAUSED,
    IO_RECEIVE_IDLE,
    IO_RECEIVE_BUSY,
};

struct io_options {
    uint32_t slots_max;       /* sockets at most (a room may offer fewer: io_slots_max()) */
    uint32_t receive_buffers; /* how many, a power of two */
    uint32_t receive_buffer_size;
    uint32_t batch;      /* sends queued between two flushes at most, a power of two */
    bool peer_addresses; /* keep the peers' addresses for io_peer(); costs 20 bytes a slot and a slower accept */
};

/*
 * What a room implements. `io` is its first member's owner: see struct io below.
 */
struct io_room {
    const char *name; /* "io_uring", "epoll", "simulated" */
    void (*destroy)(struct io *io);
    int (*listen)(struct io *io, int socket);
    void (*listen_stop)(struct io *io);
    void (*accept_pause)(struct io *io, bool paused);
    void (*receive)(struct io *io, uint32_t slot, enum io_receiving how);
    void (*buffer_return)(struct io *io, uint32_t buffer);
    void (*send)(struct io *io, uint32_t slot, const void *bytes, size_t size, uint32_t tag);
    void (*sendv)(struct io *io, uint32_t slot, const struct iovec *parts, int count, uint32_t tag);
    void (*want_writable)(struct io *io, uint32_t slot);
    void (*shutdown_write)(struct io *io, uint32_t slot);
    void (*close)(struct io *io, uint32_t slot);
    void (*flush)(struct io *io);
    bool (*next_short)(struct io *io, struct io_short *report);
    bool (*next)(struct io *io, struct io_event *event);
    void (*wait)(struct io *io, int64_t timeout_us);
    void (*wake)(struct io *io);
    bool (*peer)(struct io *io, uint32_t slot, struct sockaddr_in6 *address);
    int (*door)(struct io *io);              /* NULL: the room can't be shared */
    bool (*is_waiting)(const struct io *io); /* as door */
    bool (*door_rang)(const struct io *io);  /* NULL: that it rang is all that can be known */
};

/* The part that every room begins with. */
struct io {
    const struct io_room *room;
    uint32_t slots_max; /* sockets that this room can hold at once */
    uint32_t batch;     /* sends that may be queued between two flushes */
    struct io_counters {
        uint64_t accepts;
        uint64_t accept_failures;
        uint64_t receives;
        uint64_t receive_bytes;
        uint64_t receive_buffers_out; /* times that the buffers were all taken */
        uint64_t sends;
        uint64_t sends_short;
        uint64_t send_bytes; /* as asked; short ones are subtracted again */
        uint64_t flushes;
        uint64_t waits;
        uint64_t wakes;
        uint64_t rearms; /* multishot requests that ended early and were armed again */
    } counters;          /* written by the shard's thread */
};

/*
 * Makes a room. NULL: not possible on this host; *problem (static text) says why and what to do. Gives the io to the
 * caller.
 * The one for io_uring must be created by the thread that will use it (IORING_SETUP_SINGLE_ISSUER).
 */
struct io *io_uring_room_create(const struct io_options *options, const char **problem);
struct io *io_epoll_create(const struct io_options *options, const char **problem);

/* Whether io_uring with all that the room needs is allowed here. Cheap; any thread. *problem as above. */
bool io_uring_room_usable(const char **problem);

/* Closes all that is open, without events. Takes the io. */
static inline void io_destroy(struct io *io)
{
    io->room->destroy(io);
}

/*
 * Starts to accept from a listening, non-blocking socket (io/listen.h). Takes the socket (closed by listen_stop and
 * destroy) unless it fails. 0, or -EBUSY: it listens already, or another -errno.
 */
static inline int io_listen(struct io *io, int socket)
{
    return io->room->listen(io, socket);
}

/* Closes the listening socket. Sockets that the kernel had accepted already still come as IO_ACCEPTED. */
static inline void io_listen_stop(struct io *io)
{
    io->room->listen_stop(io);
}

/* Stops accepting for a while (admission control); new connections wait in the kernel's backlog. */
static inline void io_accept_pause(struct io *io, bool paused)
{
    io->room->accept_pause(io, paused);
}

/* How the slot waits for bytes from now on. Setting what it is already does nothing. Events already reported stand. */
static inline void io_receive(struct io *io, uint32_t slot, enum io_receiving how)
{
    io->room->receive(io, slot, how);
}

static inline void io_buffer_return(struct io *io, uint32_t buffer)
{
    io->room->buffer_return(io, buffer);
}

/* Borrows the bytes until io_flush() has returned. */
static inline void io_send(struct io *io, uint32_t slot, const void *bytes, size_t size, uint32_t tag)
{
    io->room->send(io, slot, bytes, size, tag);
}

#define IO_PARTS_MAX 64 /* iovecs in one send */

/* As io_send(), gathering. The iovec array itself is copied at the call. */
static inline void io_sendv(struct io *io, uint32_t slot, const struct iovec *parts, int count, uint32_t tag)
{
    io->room->sendv(io, slot, parts, count, tag);
}

/* One IO_WRITABLE when the socket has room again. */
static inline void io_want_writable(struct io *io, uint32_t slot)
{
    io->room->want_writable(io, slot);
}

/* Ends our direction after the bytes that were sent (FIN). Receiving goes on. */
static inline void io_shutdown_write(struct io *io, uint32_t slot)
{
    io->room->shutdown_write(io, slot);
}

/* Begins to close; no event but IO_CLOSED follows for this slot. */
static inline void io_close(struct io *io, uint32_t slot)
{
    io->room->close(io, slot);
}

/* Does all that is queued. When it returns, every send is done and its bytes may go; take the short ones next. */
static inline void io_flush(struct io *io)
{
    io->room->flush(io);
}

/* The next send of the last flush that did not take all its bytes, in the order of the sends. False: no more. */
static inline bool io_next_short(struct io *io, struct io_short *report)
{
    return io->room->next_short(io, report);
}

/* The next event that is already here, without a system call where possible. False: none. */
static inline bool io_next(struct io *io, struct io_event *event)
{
    return io->room->next(io, event);
}

/* Flushes, then waits for an event, a wake or the timeout (us; 0: only looks; negative: no limit). */
static inline void io_wait(struct io *io, int64_t timeout_us)
{
    io->room->wait(io, timeout_us);
}

/* Ends the current or next io_wait() of that io. Any thread; async-signal-safe. */
static inline void io_wake(struct io *io)
{
    io->room->wake(io);
}

/*
 * A descriptor that becomes readable, edge by edge (EPOLLET), when something may have come: for a thread that turns
 * several shards and waits for all of them at once. Borrowed, the room's. -1: it can't be had. Once, before anything
 * else. From then on io_wait() need not be called to wait (its timeout is 0), and io_next() looks for what the kernel
 * has on its own.
 */
static inline int io_door(struct io *io)
{
    return io->room->door ? io->room->door(io) : -1;
}

/*
 * With a door, after io_wait(0): whether there is something for io_next() still. What has come since has rung the door.
 * A look at memory, no system call.
 */
static inline bool io_is_waiting(const struct io *io)
{
    return io->room->is_waiting(io);
}

/* Its door has rung: whether there is anything behind it, as far as can be seen without a system call. */
static inline bool io_door_rang(const struct io *io)
{
    return !io->room->door_rang || io->room->door_rang(io);
}

/* The peer's address (IPv4 as mapped IPv6). False: not known (peer_addresses was off). */
static inline bool io_peer(struct io *io, uint32_t slot, struct sockaddr_in6 *address)
{
    return io->room->peer(io, slot, address);
}

#endif
