/*
 * redis_differential_test: the simulated Redis is held to a real one: the same random commands, scripts and
 * subscriptions go to both, and all that comes back must be the same.
 *
 *      redis_differential_test                    some hundred seeds (SHOAL_SIM_SEEDS=N: so many)
 *      redis_differential_test --seed N [--trace] one again
 *
 * The real server runs the real Lua scripts. Both are reached through cluster/redis.h, so the rooms are compared, too.
 * Each seed has keys and channels of its own, so one real server serves all.
 *
 * Not compared: texts of errors behind their first word; INFO; what takes time (expiry).
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "chance.h"
#include "cluster/script.h"
#include "redis_commands.h"
#include "redis_process.h"
#include "redis_simulated.h"

#define SEEDS_DEFAULT 100
#define COMMANDS      200

/* One of the two. */
struct side {
    struct redis_room *room;
    struct redis *commands, *subscriber;
};

struct trial {
    uint64_t seed;
    struct chance chance;
    bool trace;
    bool canary; /* it is to differ: nothing is printed */
    bool failed;
    struct side real, simulated;
    struct redis_sim *sim;
    uint64_t generation, generation_next; /* valid as far as is known; proposed last */
    bool stale;                           /* the generation is not valid any more */
    uint32_t messages_max;                /* that a stream keeps */
    char epochs[3][17];                   /* of the topics, as read last */
};

static uint32_t below(struct trial *trial, uint32_t bound)
{
    return chance_below(&trial->chance, bound);
}

/* --- words --- */

enum { WORDS_MAX = 24, WORD_MAX = 400 };

struct words {
    uint32_t count;
    struct span words[WORDS_MAX];
    char texts[WORDS_MAX][WORD_MAX];
};

__attribute__((format(printf, 2, 3))) static void word(struct words *words, const char *format, ...)
{
    CHECK(words->count < WORDS_MAX);
    char *text = words->texts[words->count];
    va_list values;
    va_start(values, format);
    int size = vsnprintf(text, WORD_MAX, format, values);
    va_end(values);
    CHECK(size >= 0 && size < WORD_MAX);
    words->words[words->count++] = (struct span){text, (size_t)size};
}

static void print_words(FILE *out, const struct words *words)
{
    for (uint32_t i = 0; i < words->count; i++) {
        fprintf(out, " %.*s", (int)words->words[i].size, words->words[i].data);
    }
    fputc('\n', out);
}

/* --- comparing --- */

static size_t first_word(struct span text)
{
    size_t size = 0;
    while (size < text.size && text.data[size] != ' ') {
        size++;
    }
    return size;
}

static bool same(const struct redis_value *a, const struct redis_value *b)
{
    if (a->kind != b->kind || a->count != b->count || a->integer != b->integer) {
        return false;
    }
    if (a->kind == REDIS_FAILURE) {
        size_t size = first_word(a->text);
        return size == first_word(b->text) && memcmp(a->text.data, b->text.data, size) == 0;
    }
    for (uint32_t i = 0; i < a->count; i++) {
        if (!same(&a->items[i], &b->items[i])) {
            return false;
        }
    }
    return span_equal(a->text, b->text);
}

static void print_value(FILE *out, const struct redis_value *value)
{
    if (value->kind == REDIS_INTEGER) {
        fprintf(out, " %lld", (long long)value->integer);
    } else if (value->kind == REDIS_ARRAY) {
        fprintf(out, " [");
        for (uint32_t i = 0; i < value->count; i++) {
            print_value(out, &value->items[i]);
        }
        fprintf(out, " ]");
    } else {
        fprintf(out, " %s%.*s", value->kind == REDIS_NIL ? "nil" : "", (int)value->text.size, value->text.data);
    }
}

/* The next value; waits for it. */
static const struct redis_value *next_value(const struct side *side, struct redis *redis)
{
    struct redis_event event;
    for (;;) {
        while (redis_next(redis, &event)) {
            CHECK_MSG(event.kind != REDIS_CLOSED, "%s", event.reason);
            if (event.kind == REDIS_VALUE) {
                return event.value;
            }
        }
        redis_wait(side->room, 1000000);
    }
}

static void learn(struct trial *trial, const struct words *words, const struct redis_value *value);

static void compare(struct trial *trial, struct redis *real_redis, struct redis *simulated_redis, const char *what,
                    const struct words *words)
{
    const struct redis_value *real = next_value(&trial->real, real_redis);
    const struct redis_value *simulated = next_value(&trial->simulated, simulated_redis);
    if (trial->trace) {
        printf("%s", what);
        print_value(stdout, real);
        printf("   <-");
        print_words(stdout, words);
    }
    learn(trial, words, real);
    bool equal = same(real, simulated);
    trial->failed |= !equal;
    if (!equal && !trial->canary) {
        fprintf(stderr, "redis: seed %llu: %s: the real one says", (unsigned long long)trial->seed, what);
        print_value(stderr, real);
        fprintf(stderr, "\n  and the simulated one");
        print_value(stderr, simulated);
        fprintf(stderr, "\n  to");
        print_words(stderr, words);
    }
}

/* The same command to both. */
static void ask(struct trial *trial, const struct words *words)
{
    redis_send(trial->real.commands, words->count, words->words);
    redis_send(trial->simulated.commands, words->count, words->words);
    compare(trial, trial->real.commands, trial->simulated.commands, "answer", words);
}

/* --- pushes --- */

enum { PUSHES_MAX = 64, PUSH_MAX = 1024 };

/* What a subscriber has got, as text. */
struct pushes {
    uint32_t count;
    char texts[PUSHES_MAX][PUSH_MAX];
};

static void push_write(char *out, const struct redis_value *value)
{
    size_t size = 0;
    for (uint32_t i = 0; i < value->count; i++) {
        const struct span text = value->items[i].text;
        size += (size_t)snprintf(out + size, PUSH_MAX - size, " %.*s", (int)text.size, text.data ? text.data : "");
        CHECK(size < PUSH_MAX);
    }
}

static int by_text(const void *a, const void *b)
{
    return strcmp(a, b);
}

/* Up to the mark. Which pattern is served first Redis leaves open, so those of one message are sorted. */
static void pushes_take(struct pushes *pushes, const struct side *side)
{
    pushes->count = 0;
    for (;;) {
        const struct redis_value *value = next_value(side, side->subscriber);
        if (value->count == 3 && span_equal(value->items[2].text, SPAN_LITERAL("mark"))) {
            break;
        }
        CHECK(pushes->count < PUSHES_MAX);
        push_write(pushes->texts[pushes->count++], value);
    }
    uint32_t patterns = 0;
    while (patterns < pushes->count && strncmp(pushes->texts[patterns], " pmessage", 9) != 0) {
        patterns++;
    }
    qsort(pushes->texts[patterns], pushes->count - patterns, PUSH_MAX, by_text);
}

/* What the last command has made the subscriber get. */
static void compare_pushes(struct trial *trial, const struct words *words)
{
    static struct pushes real, simulated;
    struct words mark = {0};
    word(&mark, "PUBLISH");
    word(&mark, "mark%llu", (unsigned long long)trial->seed);
    word(&mark, "mark");
    ask(trial, &mark);
    pushes_take(&real, &trial->real);
    pushes_take(&simulated, &trial->simulated);
    bool equal = real.count == simulated.count;
    for (uint32_t i = 0; equal && i < real.count; i++) {
        equal = strcmp(real.texts[i], simulated.texts[i]) == 0;
    }
    trial->failed |= !equal;
    if (!equal && !trial->canary) {
        fprintf(stderr, "redis: seed %llu: the real one pushes %u and the simulated one %u:%s /%s after",
                (unsigned long long)trial->seed, real.count, simulated.count, real.count ? real.texts[0] : "",
                simulated.count ? simulated.texts[0] : "");
        print_words(stderr, words);
    }
}

/* --- what is asked --- */

static void key(struct trial *trial, struct words *words, char type)
{
    word(words, "%llu{%c%u}", (unsigned long long)trial->seed, type, below(trial, 3));
}

static void ask_plain(struct trial *trial, struct words *words)
{
    static const char *const verbs[] = {"SET",     "GET",  "DEL",  "MGET",   "EXPIRE", "HSET",
                                        "HGETALL", "ZADD", "ZREM", "ZRANGE", "PING"};
    const char *verb = verbs[below(trial, sizeof verbs / sizeof *verbs)];
    char type = verb[0] == 'Z' ? 'z' : verb[0] == 'H' ? 'h' : 's';
    word(words, "%s", verb);
    if (strcmp(verb, "PING") == 0) {
        return;
    }
    key(trial, words, type);
    if (strcmp(verb, "MGET") == 0) {
        key(trial, words, type);
    } else if (strcmp(verb, "SET") == 0) {
        word(words, "value%u", below(trial, 100));
        if (below(trial, 2)) {
            word(words, below(trial, 2) ? "EX" : "PX");
            word(words, "100000");
        }
        if (below(trial, 3) == 0) {
            word(words, "NX");
        }
    } else if (strcmp(verb, "EXPIRE") == 0) {
        word(words, "1000");
    } else if (strcmp(verb, "HSET") == 0) {
        word(words, "field%u", below(trial, 3));
        word(words, "value%u", below(trial, 100));
    } else if (strcmp(verb, "ZADD") == 0) {
        word(words, "%u", below(trial, 10));
        word(words, "member%u", below(trial, 6));
    } else if (strcmp(verb, "ZREM") == 0) {
        word(words, "member%u", below(trial, 6));
    } else if (strcmp(verb, "ZRANGE") == 0) {
        word(words, "%u", below(trial, 4));
        word(words, "%u", below(trial, 8));
    }
}

/* A channel, or a pattern that may match one. */
static void channel(struct trial *trial, struct words *words, bool pattern)
{
    static const char *const patterns[] = {"{a*}", "{*}", "{a/?}", "{a/[a-c]}", "{a/[^b]}", "{a\\*}", "{*/b*}", "*"};
    static const char *const channels[] = {"{a}", "{a/b}", "{a/c}", "{b}", "{a*}", "{a/b/c}", "{}", "{a/}"};
    bool all = pattern && below(trial, 8) == 0;
    word(words, "%llu%s", (unsigned long long)trial->seed,
         all ? "*" : (pattern ? patterns : channels)[below(trial, 8)]);
}

static void ask_publish(struct trial *trial, struct words *words)
{
    word(words, "PUBLISH");
    channel(trial, words, false);
    word(words, "message%u", below(trial, 1000));
}

/* One name a command: the subscriber's answers are in the order of its own commands, and of nobody else's. */
static void subscribe(struct trial *trial)
{
    static const char *const verbs[] = {"SUBSCRIBE", "PSUBSCRIBE", "UNSUBSCRIBE", "PUNSUBSCRIBE"};
    const char *verb = verbs[below(trial, 4)];
    struct words words = {0};
    word(&words, "%s", verb);
    channel(trial, &words, strstr(verb, "PUN") || strstr(verb, "PSUB"));
    redis_send(trial->real.subscriber, words.count, words.words);
    redis_send(trial->simulated.subscriber, words.count, words.words);
    compare(trial, trial->real.subscriber, trial->simulated.subscriber, "subscriber's answer", &words);
}

static void subscribe_to_marks(struct trial *trial)
{
    struct words words = {0};
    word(&words, "SUBSCRIBE");
    word(&words, "mark%llu", (unsigned long long)trial->seed);
    redis_send(trial->real.subscriber, words.count, words.words);
    redis_send(trial->simulated.subscriber, words.count, words.words);
    compare(trial, trial->real.subscriber, trial->simulated.subscriber, "subscriber's answer", &words);
}

/* --- scripts --- */

/* A key of a logged topic: its number, and what of it. */
static void topic_key(struct trial *trial, struct words *words, uint32_t topic, const char *suffix)
{
    word(words, "%llu{t%u}%s", (unsigned long long)trial->seed, topic, suffix);
}

static void call_script(struct words *words, enum script script, uint32_t keys)
{
    char hash[SCRIPT_HASH_SIZE];
    script_hash(script, hash);
    word(words, "EVALSHA");
    word(words, "%.*s", SCRIPT_HASH_SIZE, hash);
    word(words, "%u", keys);
}

static void generation_key(struct trial *trial, struct words *words)
{
    word(words, "%llugeneration", (unsigned long long)trial->seed);
}

static void generation(struct trial *trial, struct words *words)
{
    word(words, "%llu", (unsigned long long)(below(trial, 30) ? trial->generation : below(trial, 4)));
}

static void proposed_epoch(struct trial *trial, struct words *words)
{
    word(words, "%016x", below(trial, UINT32_MAX));
}

/* Mostly the run that was claimed last: else each call would begin a generation. */
static void ask_claim(struct trial *trial, struct words *words)
{
    call_script(words, SCRIPT_CLAIM, 1);
    generation_key(trial, words);
    word(words, "run%u", below(trial, 6) ? 0 : below(trial, 3));
    word(words, "%s", below(trial, 4) ? "" : "origin");
    uint64_t proposed = ++trial->generation_next;
    word(words, "%llu", (unsigned long long)proposed);
    word(words, "%u", below(trial, 4) == 0);
}

static void ask_append(struct trial *trial, struct words *words)
{
    uint32_t topic = below(trial, 3);
    bool keyed = below(trial, 2);
    call_script(words, SCRIPT_APPEND, keyed ? 4 : 3);
    generation_key(trial, words);
    topic_key(trial, words, topic, "m");
    topic_key(trial, words, topic, "s");
    if (keyed) {
        word(words, "%llu{t%u}i:key%u", (unsigned long long)trial->seed, topic, below(trial, 20));
    }
    generation(trial, words);
    proposed_epoch(trial, words);
    word(words, "%llu{t%u}", (unsigned long long)trial->seed, topic);
    word(words, "header-of-28-bytes-and-no-more");
    word(words, "t%u", topic);
    word(words, "payload%u%.*s", below(trial, 1000), (int)below(trial, 50),
         "..................................................");
    word(words, "%u", below(trial, 3));
    word(words, "17%u", below(trial, 1000));
    word(words, "%u", trial->messages_max);
    word(words, "100000");
    word(words, "100000");
}

static void ask_read(struct trial *trial, struct words *words)
{
    uint32_t topic = below(trial, 3);
    call_script(words, SCRIPT_READ, 3);
    generation_key(trial, words);
    topic_key(trial, words, topic, "m");
    topic_key(trial, words, topic, "s");
    generation(trial, words);
    proposed_epoch(trial, words);
    if (below(trial, 3) == 0) {
        word(words, "0");
    } else {
        word(words, "%.16s", trial->epochs[topic]);
    }
    word(words, "%u", below(trial, 40));
    word(words, "%u", below(trial, 30));
    word(words, "%u", 1 + below(trial, 40));
    word(words, "%u", below(trial, 2) ? 100 : 100000);
    word(words, "100000");
}

/* What eviction, a flush or an operator may do. */
static void ask_to_lose(struct trial *trial, struct words *words)
{
    static const char *const suffixes[] = {"m", "s", "i:key1", "i:key2", "i:key3"};
    word(words, "DEL");
    if (below(trial, 8) == 0) {
        generation_key(trial, words);
    } else {
        topic_key(trial, words, below(trial, 3), suffixes[below(trial, 5)]);
    }
}

/* The meta of an older time: offsets behind the stream's. */
static void ask_to_rewind(struct trial *trial, struct words *words)
{
    word(words, "HSET");
    topic_key(trial, words, below(trial, 3), "m");
    word(words, "o");
    word(words, "%u", below(trial, 20));
}

/* Memory is full, or no longer. Of the simulated one that is told directly. */
static void set_full(struct trial *trial, bool full)
{
    struct words words = {0};
    word(&words, "CONFIG");
    word(&words, "SET");
    word(&words, "maxmemory");
    word(&words, "%u", full);
    redis_send(trial->real.commands, words.count, words.words);
    next_value(&trial->real, trial->real.commands);
    redis_sim_flood(trial->sim, 0, full ? INT64_MAX / 4 : 0);
}

/* Keeps what later commands are to know. */
static void learn(struct trial *trial, const struct words *words, const struct redis_value *value)
{
    if (words->count == 8 && value->kind == REDIS_STRING && value->text.size < 20) { /* claimed */
        trial->generation = strtoull(value->text.data, NULL, 10);
        trial->stale = false;
    } else if (value->kind == REDIS_FAILURE && value->text.size > 10 &&
               memcmp(value->text.data, "GENERATION", 10) == 0) {
        trial->stale = true;
    } else if (value->kind == REDIS_ARRAY && value->count == 5) { /* read */
        uint32_t topic = (uint32_t)(strchr(words->texts[4], '{')[2] - '0');
        memcpy(trial->epochs[topic], value->items[0].text.data, 16);
    }
}

static void ask_script(struct trial *trial, struct words *words)
{
    uint32_t what = below(trial, 40);
    if (what == 0) {
        ask_to_lose(trial, words);
    } else if (what == 1) {
        ask_to_rewind(trial, words);
    } else if (what < 4 || (trial->stale && what < 20)) {
        ask_claim(trial, words);
    } else if (what < 24) {
        ask_append(trial, words);
    } else {
        ask_read(trial, words);
    }
}

static void load_scripts(struct trial *trial)
{
    for (uint32_t i = 0; i < SCRIPTS; i++) {
        struct words words = {0};
        word(&words, "SCRIPT");
        word(&words, "LOAD");
        word(&words, "(a script)");
        words.words[2] = script_text((enum script)i);
        ask(trial, &words);
    }
}

static void do_something(struct trial *trial)
{
    struct words words = {0};
    uint32_t what = below(trial, 60);
    if (what == 0) {
        set_full(trial, below(trial, 6) == 0);
        return;
    }
    if (what < 4) {
        subscribe(trial);
        return;
    }
    if (what < 8) {
        ask_publish(trial, &words);
    } else if (what < 16) {
        ask_plain(trial, &words);
    } else {
        ask_script(trial, &words);
    }
    ask(trial, &words);
    compare_pushes(trial, &words);
}

/* --- all of it --- */

static void side_open(struct side *side, struct redis_room *room, const char *host, uint16_t port)
{
    *side = (struct side){.room = room};
    side->commands = redis_connect(room, host, port);
    side->subscriber = redis_connect(room, host, port);
    CHECK(side->commands && side->subscriber);
}

static void side_close(struct side *side)
{
    redis_close(side->commands);
    redis_close(side->subscriber);
    redis_destroy(side->room);
}

/* Returns whether the two agree. `slack`: the simulated one cuts its streams less well than it should. */
static bool run(uint64_t seed, const struct redis_process *server, uint32_t slack, bool trace)
{
    struct trial trial = {
        .seed = seed, .chance = {seed}, .trace = trace, .canary = slack > 0, .epochs = {"1", "2", "3"}};
    const struct redis_sim_options options = {.seed = seed, .clock = &clock_of_host, .servers = 1, .slack = slack};
    struct redis_sim *sim = trial.sim = redis_sim_create(&options);
    trial.messages_max = 1 + below(&trial, 50);
    side_open(&trial.real, redis_hiredis_create(), "127.0.0.1", server->port);
    side_open(&trial.simulated, redis_sim_room(sim), "redis0", 6379);
    subscribe_to_marks(&trial);
    set_full(&trial, false);
    load_scripts(&trial);
    for (uint32_t i = 0; i < COMMANDS && !trial.failed; i++) {
        do_something(&trial);
    }
    side_close(&trial.real);
    side_close(&trial.simulated);
    redis_sim_destroy(sim);
    return !trial.failed;
}

/* A model that is wrong must be found out. */
static bool canary_is_heard(const struct redis_process *server)
{
    for (uint64_t seed = 1000001; seed < 1000011; seed++) {
        if (!run(seed, server, 2, false)) {
            return true;
        }
    }
    fprintf(stderr, "redis: a model that is wrong is not found out\n");
    return false;
}

int main(int count, char **arguments)
{
    const char *seeds = getenv("SHOAL_SIM_SEEDS");
    uint32_t number = seeds ? (uint32_t)strtoul(seeds, NULL, 10) : SEEDS_DEFAULT;
    uint64_t first = 1;
    bool trace = false;
    for (int i = 1; i < count; i++) {
        trace |= strcmp(arguments[i], "--trace") == 0;
        if (strcmp(arguments[i], "--seed") == 0 && i + 1 < count) {
            first = strtoull(arguments[i + 1], NULL, 10);
            number = 1;
        }
    }
    struct redis_process server;
    redis_process_init(&server);
    server.options[0] = "--stream-node-max-entries"; /* XTRIM ~ cuts exactly, then: what a model can repeat */
    server.options[1] = "1";
    redis_process_start(&server);
    uint32_t failures = 0;
    for (uint32_t i = 0; i < number; i++) {
        failures += !run(first + i, &server, 0, trace);
    }
    failures += number > 1 && !canary_is_heard(&server);
    redis_process_free(&server);
    printf("redis: %u seeds of %u commands to a real and a simulated server: %u differ\n", number, COMMANDS, failures);
    return failures > 0;
}
