/*
 * io_uring_ring: the ring under the io_uring room: how it is set up, how requests go in and completions come out.
 *
 * The flags it asks for, best first (RING_FLAGS below):
 *   SINGLE_ISSUER   one thread submits, the kernel may omit locks; Linux 6.0, which also brought the multishot
 *                   receive that the room is built on, so this flag is the test for both
 *   DEFER_TASKRUN   completions are made only while we are in the kernel to get them: no interrupts of
 *                   the turn, and the ring's order of things is ours; Linux 6.1
 *   COOP_TASKRUN    the next best without DEFER_TASKRUN
 *   TASKRUN_FLAG    the kernel shows in shared memory that it has completions to make: who turns several rings
 *                   sees without a system call which of them has something
 *
 * Sends carry CQE_SKIP_SUCCESS and MSG_WAITALL: a completion is posted only for one that did not take all its bytes (a
 * partial one counts as failed because of MSG_WAITALL, its result is the bytes taken). With MSG_DONTWAIT they are never
 * parked, so io_uring_enter() has done them when it returns, and has posted what failed because it is also asked for
 * events.
 *
 * A full completion queue is no loss (FEAT_NODROP): the kernel keeps the rest, and collecting empties the queue and
 * asks again until there is no rest.
 */
#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <poll.h>

#include "io/io_uring_room.h"

enum {
    SUBMISSIONS = 1024,
    COMPLETIONS = 4096,
    BACKLOG_FIRST = 1024,
    WORKERS = 2, /* threads of the kernel's for shutdown(), the one request that cannot be done at once */
    BUFFER_GROUP = 0,
    FILES_MAX = 1 << 20,   /* IORING_MAX_FIXED_FILES */
    BUFFERS_MAX = 1 << 15, /* of one buffer ring */
    SUBMIT_ATTEMPTS = 1 << 20,
};

static const unsigned RING_FLAGS[] = {
    IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
    IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
};

#define FEATURES_NEEDED (IORING_FEAT_NODROP | IORING_FEAT_EXT_ARG | IORING_FEAT_CQE_SKIP)

/* --- start and end ------------------------------------------------------------------------------------------ */

static void *map_lazily(size_t bytes)
{
    void *mapped = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return mapped == MAP_FAILED ? NULL : mapped;
}

static void unmap(void *mapped, size_t bytes)
{
    if (mapped != NULL)
        munmap(mapped, bytes);
}

static const char *refusal(int error)
{
    switch (error) {
    case ENOSYS:
        return "this kernel has no io_uring: use io.backend=epoll";
    case EPERM:
    case EACCES:
        return "io_uring is forbidden here (seccomp profile or kernel.io_uring_disabled): allow it or use "
               "io.backend=epoll";
    case EINVAL:
        return "this kernel's io_uring is older than Linux 6.0: use io.backend=epoll";
    case ENOMEM:
        return "no memory for an io_uring (RLIMIT_MEMLOCK?)";
    case EMFILE:
    case ENFILE:
        return "no descriptor for an io_uring: raise the limit on open files";
    default:
        return "io_uring cannot be set up here";
    }
}

static bool ring_open(struct uring_room *room, const char **problem)
{
    int result = -EINVAL;
    for (size_t i = 0; i < sizeof RING_FLAGS / sizeof *RING_FLAGS && result == -EINVAL; i++) {
        struct io_uring_params params = {
            .flags = RING_FLAGS[i] | IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP,
            .cq_entries = COMPLETIONS,
        };
        result = io_uring_queue_init_params(SUBMISSIONS, &room->ring, &params);
    }
    if (result < 0) {
        *problem = refusal(-result);
        return false;
    }
    room->ring_ready = true;
    if ((room->ring.features & FEATURES_NEEDED) != FEATURES_NEEDED) {
        *problem = refusal(EINVAL);
        return false;
    }
    (void)io_uring_register_ring_fd(&room->ring); /* saves a look-up a system call */
    unsigned workers[2] = {WORKERS, WORKERS};
    (void)io_uring_register_iowq_max_workers(&room->ring, workers);
    return true;
}

static uint32_t minimum(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

static bool slots_open(struct uring_room *room, const struct io_options *options, const char **problem)
{
    struct rlimit limit;
    uint32_t slots = minimum(options->slots_max, FILES_MAX);
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < slots)
        slots = (uint32_t)limit.rlim_cur;
    room->io.slots_max = slots;
    room->slots_bytes = slots * sizeof *room->slots;
    room->slots = map_lazily(room->slots_bytes);
    if (options->peer_addresses) {
        room->peers_bytes = slots * sizeof *room->peers;
        room->peers = map_lazily(room->peers_bytes);
    }
    *problem = "no memory for the connection slots";
    if (room->slots == NULL || (options->peer_addresses && room->peers == NULL))
        return false;
    *problem = "io_uring refuses a table of direct descriptors: raise the limit on open files";
    return io_uring_register_files_sparse(&room->ring, slots) == 0;
}

static bool buffers_open(struct uring_room *room, const struct io_options *options, const char **problem)
{
    *problem = "receive buffers must be a power of two, at most 32768";
    uint32_t count = options->receive_buffers;
    if (count == 0 || count > BUFFERS_MAX || (count & (count - 1)) != 0)
        return false;
    *problem = "no memory for the receive buffers";
    room->buffer_count = count;
    room->buffer_size = options->receive_buffer_size;
    room->buffers_bytes = (size_t)count * options->receive_buffer_size;
    room->buffer_ring_bytes = count * sizeof(struct io_uring_buf);
    room->buffer_bytes = map_lazily(room->buffers_bytes);
    room->buffers = map_lazily(room->buffer_ring_bytes);
    if (room->buffer_bytes == NULL || room->buffers == NULL)
        return false;
    struct io_uring_buf_reg registration = {
        .ring_addr = (uintptr_t)room->buffers, .ring_entries = count, .bgid = BUFFER_GROUP};
    *problem = "io_uring refuses a ring of receive buffers: this kernel is older than Linux 6.0";
    if (io_uring_register_buf_ring(&room->ring, &registration, 0) != 0)
        return false;
    io_uring_buf_ring_init(room->buffers);
    for (uint32_t i = 0; i < count; i++)
        uring_buffer_give(room, i);
    return true;
}

static bool batch_open(struct uring_room *room, const struct io_options *options, const char **problem)
{
    *problem = "no memory for the send batch";
    room->part_room = options->batch * 4 + IO_PARTS_MAX;
    room->messages = calloc(options->batch, sizeof *room->messages);
    room->parts = calloc(room->part_room, sizeof *room->parts);
    room->backlog.room = BACKLOG_FIRST;
    room->backlog.entries = calloc(BACKLOG_FIRST, sizeof *room->backlog.entries);
    return batch_init(&room->batch, options->batch) && room->messages != NULL && room->parts != NULL &&
           room->backlog.entries != NULL;
}

static bool wake_open(struct uring_room *room, const char **problem)
{
    *problem = "cannot make an event descriptor: raise the limit on open files";
    room->wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (room->wake < 0)
        return false;
    uring_arm_wake(room);
    return true;
}

bool uring_setup(struct uring_room *room, const struct io_options *options, const char **problem)
{
    return ring_open(room, problem) && slots_open(room, options, problem) && buffers_open(room, options, problem) &&
           batch_open(room, options, problem) && wake_open(room, problem);
}

/*
 * The kernel would do all this by itself some time after the ring's descriptor is closed. Doing it here first means
 * that when this returns the peers see their connections end and the address can be bound again.
 */
static void ring_close(struct uring_room *room)
{
    struct io_uring_sync_cancel_reg all = {
        .flags = IORING_ASYNC_CANCEL_ANY | IORING_ASYNC_CANCEL_ALL, .fd = -1, .timeout = {.tv_sec = 1}};
    (void)io_uring_register_sync_cancel(&room->ring, &all);
    (void)io_uring_get_events(&room->ring); /* the cancelled ones let go of their sockets only now */
    (void)io_uring_unregister_files(&room->ring);
    io_uring_queue_exit(&room->ring);
}

void uring_teardown(struct uring_room *room)
{
    if (room->ring_ready)
        ring_close(room);
    if (room->wake >= 0)
        close(room->wake);
    if (room->door >= 0)
        close(room->door);
    if (room->listener >= 0)
        close(room->listener);
    unmap(room->slots, room->slots_bytes);
    unmap(room->peers, room->peers_bytes);
    unmap(room->buffer_bytes, room->buffers_bytes);
    unmap(room->buffers, room->buffer_ring_bytes);
    batch_destroy(&room->batch);
    free(room->messages);
    free(room->parts);
    free(room->backlog.entries);
    free(room->starved.slots);
}

int uring_door(struct io *io)
{
    struct uring_room *room = uring_of(io);
    CHECK(room->door < 0);
    room->door = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (room->door >= 0 && io_uring_register_eventfd(&room->ring, room->door) != 0) {
        close(room->door);
        room->door = -1;
    }
    return room->door;
}

/* --- in ----------------------------------------------------------------------------------------------------- */

/* What submitting may answer that passes by itself once completions are taken or memory is free again. */
static bool submit_again(int result)
{
    return result >= 0 || result == -EINTR || result == -EAGAIN || result == -EBUSY || result == -ENOMEM;
}

void uring_submit(struct uring_room *room)
{
    uint32_t attempts = 0;
    do {
        int result = io_uring_submit_and_get_events(&room->ring);
        CHECK_MSG(submit_again(result) && attempts++ < SUBMIT_ATTEMPTS, "io_uring_enter: %s", strerror(-result));
        uring_collect(room);
    } while (io_uring_sq_ready(&room->ring) > 0);
    room->receive_queued = false;
    room->message_count = room->part_count = 0; /* the kernel is done with them */
}

void uring_submit_and_wait(struct uring_room *room, int64_t timeout_us)
{
    int result;
    if (timeout_us < 0) {
        result = io_uring_submit_and_wait(&room->ring, 1);
    } else {
        struct __kernel_timespec timeout = {.tv_sec = timeout_us / 1000000, .tv_nsec = timeout_us % 1000000 * 1000};
        struct io_uring_cqe *first;
        result = io_uring_submit_and_wait_timeout(&room->ring, &first, 1, &timeout, NULL);
    }
    CHECK_MSG(submit_again(result) || result == -ETIME, "io_uring_enter: %s", strerror(-result));
    uring_collect(room);
    if (io_uring_sq_ready(&room->ring) > 0)
        uring_submit(room);
}

struct io_uring_sqe *uring_request(struct uring_room *room)
{
    struct io_uring_sqe *request = io_uring_get_sqe(&room->ring);
    if (request == NULL) {
        uring_submit(room);
        request = io_uring_get_sqe(&room->ring);
        CHECK(request != NULL);
    }
    return request;
}

void uring_cancel(struct uring_room *room, uint64_t token)
{
    struct io_uring_sqe *request = uring_request(room);
    io_uring_prep_cancel64(request, token, 0);
    io_uring_sqe_set_data64(request, token_make(OP_IGNORED, 0, 0));
    request->flags |= IOSQE_CQE_SKIP_SUCCESS;
}

void uring_arm_wake(struct uring_room *room)
{
    struct io_uring_sqe *request = uring_request(room);
    io_uring_prep_poll_multishot(request, room->wake, POLLIN);
    io_uring_sqe_set_data64(request, token_make(OP_WAKE, 0, 0));
}

/* --- out ---------------------------------------------------------------------------------------------------- */

/* No memory for a list of what the kernel itself has kept in memory: nothing sensible is left to do. */
static void backlog_grow(struct backlog *backlog)
{
    struct completion *entries = calloc((size_t)backlog->room * 2, sizeof *entries);
    CHECK_MSG(entries != NULL, "no memory for %u completions", backlog->room * 2);
    for (uint32_t i = backlog->head; i != backlog->tail; i++)
        entries[i & (backlog->room * 2 - 1)] = backlog->entries[i & (backlog->room - 1)];
    free(backlog->entries);
    backlog->entries = entries;
    backlog->room *= 2;
}

static void backlog_put(struct backlog *backlog, const struct io_uring_cqe *cqe)
{
    if (backlog->tail - backlog->head == backlog->room)
        backlog_grow(backlog);
    backlog->entries[backlog->tail++ & (backlog->room - 1)] =
        (struct completion){.token = cqe->user_data, .result = cqe->res, .flags = cqe->flags};
}

bool uring_has_posted(const struct uring_room *room)
{
    return io_uring_cq_ready(&room->ring) > 0 || io_uring_cq_has_overflow(&room->ring);
}

bool uring_is_ringing(const struct uring_room *room)
{
    return (IO_URING_READ_ONCE(*room->ring.sq.kflags) & IORING_SQ_TASKRUN) || uring_has_posted(room);
}

/*
 * Who waits in the kernel has its completions made there. With a door nobody does, so they are asked for here; and the
 * receives that a poll has led to are made at once, so that a pong takes one turn, not three.
 */
static void door_look(struct uring_room *room)
{
    if (room->receive_queued || uring_is_ringing(room))
        uring_submit(room);
}

bool uring_next_completion(struct uring_room *room, struct completion *completion)
{
    struct backlog *backlog = &room->backlog;
    if (backlog->head == backlog->tail)
        uring_collect(room);
    if (backlog->head == backlog->tail && room->door >= 0)
        door_look(room);
    if (backlog->head == backlog->tail && uring_has_starved(room) && room->receives_once == 0) {
        uring_starved_serve(room);
        uring_submit(room);
    }
    if (backlog->head == backlog->tail)
        return false;
    *completion = backlog->entries[backlog->head++ & (backlog->room - 1)];
    return true;
}

static void collect_one(struct uring_room *room, const struct io_uring_cqe *cqe)
{
    switch (token_operation(cqe->user_data)) {
    case OP_IGNORED:
        break;
    case OP_SEND:
        batch_report(&room->batch, &room->io.counters, token_number(cqe->user_data), cqe->res);
        break;
    case OP_WAKE:
        room->woken = true;
        room->io.counters.wakes++;
        if (!(cqe->flags & IORING_CQE_F_MORE))
            uring_arm_wake(room);
        break;
    default:
        backlog_put(&room->backlog, cqe);
    }
}

static void collect_posted(struct uring_room *room)
{
    struct io_uring_cqe *cqe;
    unsigned head;
    unsigned count = 0;
    io_uring_for_each_cqe(&room->ring, head, cqe)
    {
        collect_one(room, cqe);
        count++;
    }
    io_uring_cq_advance(&room->ring, count);
}

void uring_collect(struct uring_room *room)
{
    collect_posted(room);
    while (io_uring_cq_has_overflow(&room->ring)) {
        int result = io_uring_get_events(&room->ring);
        CHECK_MSG(submit_again(result), "io_uring_enter: %s", strerror(-result));
        collect_posted(room);
    }
}

/* --- receive buffers ---------------------------------------------------------------------------------------- */

char *uring_buffer(struct uring_room *room, uint32_t buffer)
{
    CHECK(buffer < room->buffer_count);
    return room->buffer_bytes + (size_t)buffer * room->buffer_size;
}

void uring_buffer_give(struct uring_room *room, uint32_t buffer)
{
    io_uring_buf_ring_add(room->buffers, uring_buffer(room, buffer), room->buffer_size, (unsigned short)buffer,
                          io_uring_buf_ring_mask(room->buffer_count), 0);
    io_uring_buf_ring_advance(room->buffers, 1);
}
