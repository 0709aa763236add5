/*
 * io_simulated_test: the simulated room keeps the contract that the real ones keep (io_contract.h), from several seeds,
 * with delays and short receives; then that its faults come, that a seed repeats a run to the byte, and that it catches
 * those who break the rules (each in a process of its own, which must die).
 */
#include "io_contract.h"

#include <signal.h>
#include <sys/wait.h>

#include "base/check.h"
#include "io_simulated.h"

static uint64_t seed;

static struct io *simulated_open(struct world *world, const struct io_options *options)
{
    struct sim_options network = {.seed = seed,
                                  .window_bytes = 20000,
                                  .delay_us_max = seed % 2 ? 700 : 0,
                                  .wait_advances = true,
                                  .short_receives = 100,
                                  .late_receives = 50};
    world->own = sim_create(&network);
    struct io *io = sim_room_create(world->own, options);
    assert_int_equal(io_listen(io, 0), 0);
    return io;
}

static void simulated_close(struct world *world)
{
    io_destroy(world->io);
    world->io = NULL;
}

static int simulated_connect(struct world *world)
{
    uint32_t client = sim_connect(world->own, 0);
    assert_int_not_equal(client, SIM_NONE);
    return (int)client;
}

static ssize_t simulated_write(struct world *world, int peer, const void *bytes, size_t size)
{
    return sim_client_write(world->own, (uint32_t)peer, bytes, size);
}

static ssize_t simulated_read(struct world *world, int peer, void *bytes, size_t size)
{
    return sim_client_read(world->own, (uint32_t)peer, bytes, size);
}

static void simulated_finish(struct world *world, int peer)
{
    sim_client_finish(world->own, (uint32_t)peer);
}

static void simulated_reset(struct world *world, int peer)
{
    sim_client_leave(world->own, (uint32_t)peer, SIM_RESET);
}

static void simulated_leave(struct world *world, int peer)
{
    sim_client_leave(world->own, (uint32_t)peer, SIM_LEAVE);
}

static struct world simulated = {.open = simulated_open,
                                 .close = simulated_close,
                                 .connect = simulated_connect,
                                 .write = simulated_write,
                                 .read = simulated_read,
                                 .finish = simulated_finish,
                                 .reset = simulated_reset,
                                 .leave = simulated_leave};

static int use_simulated(void **state)
{
    *state = &simulated;
    return 0;
}

/* The network outlives its rooms: the clients' last words are after the room's end. */
static int end_network(void **state)
{
    (void)state;
    if (simulated.io != NULL) /* the test failed on its way */
        simulated_close(&simulated);
    if (simulated.own != NULL)
        sim_destroy(simulated.own);
    simulated.own = NULL;
    return 0;
}

/* --- faults ------------------------------------------------------------------------------------------------- */

enum { VISITORS = 64, STEPS = 20000 };

/* An echoing broker in a few lines, clients that come, talk and go in every way: a sum of all that happened. */
struct storm {
    struct sim_network *network;
    struct io *io;
    uint32_t clients[VISITORS];
    bool open[VISITORS * 2], broken[VISITORS * 2];
    uint64_t sum;
    uint32_t ended, shorts, failed;
};

static void storm_note(struct storm *storm, uint64_t what)
{
    storm->sum = (storm->sum ^ what) * 0x100000001B3u;
}

static void storm_flush(struct storm *storm)
{
    struct io_short report;
    io_flush(storm->io);
    while (io_next_short(storm->io, &report)) {
        storm->shorts++;
        storm_note(storm, (uint64_t)report.slot << 32 ^ (uint32_t)report.result);
        storm->broken[report.slot] |= report.result < 0;
    }
}

static void storm_event(struct storm *storm, const struct io_event *event)
{
    storm_note(storm, (uint64_t)event->kind << 56 ^ (uint64_t)event->slot << 32 ^ event->size);
    switch (event->kind) {
    case IO_ACCEPT_FAILED:
        storm->failed++;
        break;
    case IO_ACCEPTED:
        storm->open[event->slot] = true;
        storm->broken[event->slot] = false;
        io_receive(storm->io, event->slot, IO_RECEIVE_IDLE);
        break;
    case IO_RECEIVED:
        if (!storm->broken[event->slot]) {
            io_send(storm->io, event->slot, event->data, event->size, 0);
            storm_flush(storm);
        }
        io_buffer_return(storm->io, event->buffer);
        break;
    case IO_ENDED:
        storm->ended++;
        io_close(storm->io, event->slot);
        break;
    case IO_CLOSED:
        storm->open[event->slot] = false;
        break;
    default:
        break;
    }
}

static void storm_serve(struct storm *storm)
{
    struct io_event event;
    storm_flush(storm);
    io_wait(storm->io, 300);
    while (io_next(storm->io, &event))
        storm_event(storm, &event);
}

static void storm_client_acts(struct storm *storm, uint32_t *client)
{
    char bytes[5000] = "wave";
    struct sim_network *network = storm->network;
    if (*client == SIM_NONE)
        *client = sim_connect(network, 0);
    else if (sim_random(network, 30) == 0) {
        sim_client_leave(network, *client, (enum sim_leaving)sim_random(network, 3));
        *client = SIM_NONE;
    } else if (sim_random(network, 2) == 0)
        storm_note(storm, (uint64_t)sim_client_write(network, *client, bytes, 1 + sim_random(network, sizeof bytes)));
    else
        storm_note(storm, (uint64_t)sim_client_read(network, *client, bytes, sizeof bytes));
}

static void storm_ends(struct storm *storm)
{
    io_listen_stop(storm->io);
    for (uint32_t i = 0; i < VISITORS; i++)
        if (storm->clients[i] != SIM_NONE)
            sim_client_leave(storm->network, storm->clients[i], SIM_LEAVE);
    for (uint32_t turn = 0; turn < 1000; turn++) /* those left now have vanished: only we can close */
        storm_serve(storm);
    for (uint32_t slot = 0; slot < VISITORS * 2; slot++)
        if (storm->open[slot])
            io_close(storm->io, slot);
    for (uint32_t turn = 0; turn < 1000; turn++)
        storm_serve(storm);
    sim_check_empty(storm->network);
    io_destroy(storm->io);
    sim_destroy(storm->network);
}

static struct storm storm_run(uint64_t storm_seed)
{
    struct sim_options options = {.seed = storm_seed,
                                  .window_bytes = 8000,
                                  .delay_us_max = 500,
                                  .wait_advances = true,
                                  .short_sends = 100,
                                  .short_receives = 100,
                                  .late_receives = 50,
                                  .resets = 3,
                                  .failed_accepts = 50};
    struct storm storm = {.network = sim_create(&options)};
    struct io_options room = {
        .slots_max = VISITORS * 2, .receive_buffers = 16, .receive_buffer_size = 2048, .batch = 64};
    storm.io = sim_room_create(storm.network, &room);
    io_listen(storm.io, 0);
    for (uint32_t i = 0; i < VISITORS; i++)
        storm.clients[i] = SIM_NONE;
    for (uint32_t step = 0; step < STEPS; step++) {
        storm_client_acts(&storm, &storm.clients[sim_random(storm.network, VISITORS)]);
        if (sim_random(storm.network, 3) == 0)
            storm_serve(&storm);
    }
    storm_ends(&storm);
    return storm;
}

static void storms_repeat(void **state)
{
    (void)state;
    for (uint64_t i = 1; i <= 5; i++) {
        struct storm first = storm_run(i), second = storm_run(i), other = storm_run(i + 1000);
        assert_int_equal(first.sum, second.sum);
        assert_int_not_equal(first.sum, other.sum);
        assert_true(first.ended > 10 && first.shorts > 10 && first.failed > 0);
    }
}

/* --- canaries: those who break a rule ----------------------------------------------------------------------- */

static uint32_t canary_slot(struct sim_network *network, struct io *io, uint32_t *client)
{
    struct io_event event;
    *client = sim_connect(network, 0);
    io_wait(io, 0);
    CHECK(io_next(io, &event) && event.kind == IO_ACCEPTED);
    io_receive(io, event.slot, IO_RECEIVE_BUSY);
    return event.slot;
}

static void breaks_two_sends(struct sim_network *network, struct io *io)
{
    uint32_t client, slot = canary_slot(network, io, &client);
    io_send(io, slot, "a", 1, 0);
    io_send(io, slot, "b", 1, 0);
}

static void breaks_changed_bytes(struct sim_network *network, struct io *io)
{
    char bytes[] = "unchanged";
    uint32_t client, slot = canary_slot(network, io, &client);
    io_send(io, slot, bytes, sizeof bytes, 0);
    bytes[3] = 'X';
    io_flush(io);
}

static void breaks_send_after_close(struct sim_network *network, struct io *io)
{
    uint32_t client, slot = canary_slot(network, io, &client);
    io_close(io, slot);
    io_send(io, slot, "a", 1, 0);
}

static void breaks_kept_buffer(struct sim_network *network, struct io *io)
{
    struct io_event event;
    uint32_t client;
    canary_slot(network, io, &client);
    sim_client_write(network, client, "a", 1);
    io_wait(io, 0);
    CHECK(io_next(io, &event) && event.kind == IO_RECEIVED);
    io_next(io, &event);
}

static void breaks_untaken_short(struct sim_network *network, struct io *io)
{
    static char bytes[100000];
    uint32_t client, slot = canary_slot(network, io, &client);
    io_send(io, slot, bytes, sizeof bytes, 0);
    io_flush(io);
    io_send(io, slot, bytes, sizeof bytes, 0);
}

static void breaks_leaked_slot(struct sim_network *network, struct io *io)
{
    uint32_t client;
    canary_slot(network, io, &client);
    sim_client_leave(network, client, SIM_LEAVE);
    io_wait(io, 0);
    sim_check_empty(network);
}

static void keeps_the_rules(struct sim_network *network, struct io *io)
{
    uint32_t client, slot = canary_slot(network, io, &client);
    io_send(io, slot, "a", 1, 0);
    io_flush(io);
    io_send(io, slot, "a", 1, 0);
    io_close(io, slot);
    io_flush(io);
}

static int canary_status(void (*canary)(struct sim_network *, struct io *))
{
    pid_t child = fork();
    if (child == 0) {
        fclose(stderr);
        struct sim_options options = {.seed = 1};
        struct sim_network *network = sim_create(&options);
        struct io *io = sim_room_create(network, &USUAL);
        io_listen(io, 0);
        canary(network, io);
        _exit(0);
    }
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

static void catches_canaries(void **state)
{
    (void)state;
    void (*const canaries[])(struct sim_network *, struct io *) = {
        breaks_two_sends,   breaks_changed_bytes, breaks_send_after_close,
        breaks_kept_buffer, breaks_untaken_short, breaks_leaked_slot,
    };
    assert_int_equal(canary_status(keeps_the_rules), 0);
    for (size_t i = 0; i < sizeof canaries / sizeof *canaries; i++)
        assert_true(WIFSIGNALED(canary_status(canaries[i])));
}

static void tells_readable_clients(void **state)
{
    (void)state;
    struct sim_options options = {.seed = 7, .delay_us_max = 100, .tells_readable = true};
    struct sim_network *network = sim_create(&options);
    struct io *io = sim_room_create(network, &USUAL);
    uint32_t client, other, found;
    assert_int_equal(sim_connect(network, 0), SIM_NONE); /* nobody listens */
    io_listen(io, 0);
    uint32_t slot = canary_slot(network, io, &client);
    canary_slot(network, io, &other);
    io_send(io, slot, "news", 4, 0);
    io_flush(io);
    while (!sim_next_readable(network, &found))
        assert_true(sim_advance_to_next(network, 1000));
    assert_int_equal(found, client);
    assert_false(sim_next_readable(network, &found));
    assert_false(sim_advance_to_next(network, 1000));
    io_destroy(io);
    sim_destroy(network);
}

int main(void)
{
    const struct CMUnitTest contract[] = {CONTRACT_TESTS};
    const struct CMUnitTest own[] = {cmocka_unit_test(storms_repeat), cmocka_unit_test(catches_canaries),
                                     cmocka_unit_test(tells_readable_clients)};
    struct CMUnitTest tests[sizeof contract / sizeof *contract];
    memcpy(tests, contract, sizeof contract);
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++)
        tests[i].teardown_func = end_network;
    int failures = 0;
    for (seed = 1; seed <= 6; seed++) {
        print_message("seed %llu\n", (unsigned long long)seed);
        failures +=
            _cmocka_run_group_tests("contract", tests, sizeof tests / sizeof *tests, use_simulated, end_network);
    }
    return failures + cmocka_run_group_tests_name("simulated", own, NULL, NULL);
}
