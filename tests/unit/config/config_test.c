/*
 * config_test: sources and their priority, all errors at once with their places, rules between keys, namespaces,
 * printing that reads back, reloading; and that the documents name every key.
 */
#include "config/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "config/config_keys.h"

static struct config_report report;

/* One configuration of a test: a file's text, variables and settings, each list ending in NULL. */
static struct config *load(const char *text, char *const *variables, const char *const *sets)
{
    struct config_sources sources = {
        .file = text ? "shoal.ini" : NULL, .file_text = text, .environment = variables, .sets = sets};
    while (sets && sets[sources.set_count])
        sources.set_count++;
    return config_load(&sources, &report);
}

#define SETS(...)      ((const char *const[]){__VA_ARGS__, NULL})
#define VARIABLES(...) ((char *const[]){__VA_ARGS__, NULL})

/* Loads what has to be right. */
static struct config *good(const char *text, char *const *variables, const char *const *sets)
{
    struct config *config = load(text, variables, sets);
    if (!config)
        fail_msg("%s", report.text);
    return config;
}

/* Loads what has to be wrong, and looks for each of the expected texts in the report. */
static void bad(const char *text, const char *const *sets, unsigned errors, const char *const *expected)
{
    struct config *config = load(text, NULL, sets);
    assert_null(config);
    for (; *expected; expected++)
        if (!strstr(report.text, *expected))
            fail_msg("'%s' is missing in:\n%s", *expected, report.text);
    if (report.errors != errors)
        fail_msg("%u errors, expected %u:\n%s", report.errors, errors, report.text);
}

#define EXPECTED(...) ((const char *const[]){__VA_ARGS__, NULL})

static const struct namespace_config *space_of(const struct config *config, const char *topic)
{
    return config_namespace_of(config, (struct span){topic, strlen(topic)});
}

static void defaults_are_those_of_the_design(void **state)
{
    (void)state;
    struct config *config = good(NULL, NULL, NULL);
    assert_string_equal(config->listen.address.text, "127.0.0.1:7070");
    assert_string_equal(config->admin.address.text, "127.0.0.1:7071");
    assert_true(config->listen.address.loopback);
    assert_int_equal(config->broker.shards, CONFIG_AUTO);
    assert_in_range(config_shards(config), 1, CONFIG_SHARDS_MAX);
    assert_true(strlen(config->broker.node) > 0);
    assert_int_equal(config->limits.message_bytes, 1 << 20);
    assert_int_equal(config->limits.handshake_ms, 10000);
    assert_int_equal(config->limits.topics, 10000000);
    assert_int_equal(config->heartbeat.interval_s, 30);
    assert_int_equal(config_connections_per_address(config), 0);
    assert_false(config->debug.echo);
    assert_int_equal(config->namespace_count, 1);
    assert_string_equal(config->namespaces[0].name, "default");
    assert_int_equal(config->namespaces[0].backlog_bytes, 1 << 20);
    assert_int_equal(config->namespaces[0].payload_bytes_max, 1 << 20);
    assert_int_equal(config->namespaces[0].history_messages, 0);
    assert_int_equal(report.warnings, 0);
    config_free(config);
}

static void later_sources_win(void **state)
{
    (void)state;
    const char *text = "[limits]\ntopics = 1\nhandshakes = 1\nheader_bytes = 1K\n";
    struct config *config = good(text, VARIABLES("SHOAL_LIMITS_TOPICS=2", "SHOAL_LIMITS_HANDSHAKES=2", "HOME=/"),
                                 SETS("limits.topics=3", "limits.topics= 4 "));
    assert_int_equal(config->limits.topics, 4);
    assert_int_equal(config->limits.handshakes, 2);
    assert_int_equal(config->limits.header_bytes, 1024);
    assert_int_equal(config->limits.subscriptions_per_connection, 1000);
    config_free(config);
}

static void units_are_read(void **state)
{
    (void)state;
    struct config *config = good(
        "[limits]\nhandshake_ms = 2s ; a comment\nmessage_bytes: 2M\n[heartbeat]\ninterval_s = 1m\ntimeout_s=7000ms\n",
        NULL, SETS("heartbeat.timeout_s=1h", "topics.idle_s=90"));
    assert_int_equal(config->limits.handshake_ms, 2000);
    assert_int_equal(config->limits.message_bytes, 2 << 20);
    assert_int_equal(config->heartbeat.interval_s, 60);
    assert_int_equal(config->heartbeat.timeout_s, 3600);
    assert_int_equal(config->topics.idle_s, 90);
    config_free(config);
}

static void values_out_of_range_are_refused(void **state)
{
    (void)state;
    static const char *const wrong[] = {"broker.shards=0",
                                        "broker.shards=257",
                                        "broker.shards=many",
                                        "broker.shards=",
                                        "broker.shards=-1",
                                        "broker.shards=1 2",
                                        "broker.shards=0x10",
                                        "broker.mesh_slots=3",
                                        "broker.mesh_slots=1000",
                                        "debug.echo=maybe",
                                        "io.backend=kqueue",
                                        "limits.topics=1K",
                                        "limits.message_bytes=1Q",
                                        "limits.message_bytes=1T",
                                        "topics.idle_s=1500ms",
                                        "topics.idle_s=1.5",
                                        "log.level=loud",
                                        "limits.topics=auto",
                                        "limits.message_bytes=65M",
                                        "heartbeat.interval_s=0",
                                        "listen.address=localhost",
                                        "listen.address=127.0.0.1",
                                        "listen.address=:7070",
                                        "listen.address=[::1]",
                                        "listen.address=::1:7070",
                                        "listen.address=[::1:7070",
                                        "listen.address=1.2.3:1",
                                        "listen.address=[127.0.0.1]:1",
                                        "listen.address=127.0.0.1:65536",
                                        "listen.address=127.0.0.1:-1",
                                        "listen.address=127.0.0.1:",
                                        "limits.message_bytes=99999999999999999999",
                                        "limits.message_bytes=18446744073709551615G",
                                        "namespace.default.slow=drop",
                                        "namespace.default.history_bytes=1",
                                        "broker.node=a ;b",
                                        "broker.node=;b",
                                        "broker.node=a\x01",
                                        "broker.node=a\xff"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct config *config = load(NULL, NULL, SETS(wrong[i]));
        if (config || report.errors != 1)
            fail_msg("%s: %u errors:\n%s", wrong[i], report.errors, report.text);
    }
    bad(NULL, SETS("broker.shards=900"), 1,
        EXPECTED("--set broker.shards: broker.shards: '900' is not valid: allowed "
                 "are auto and 1 to 254"));
}

static void redis_urls_that_are_none_are_refused(void **state)
{
    (void)state;
    static const char *const wrong[] = {"cluster.redis=localhost:6379",
                                        "cluster.redis=redis://",
                                        "cluster.redis=redis://h:0",
                                        "cluster.redis=redis://h:65536",
                                        "cluster.redis=redis://h/x",
                                        "cluster.redis=redis://u:p@",
                                        "cluster.redis=redis://h/",
                                        "cluster.redis=redis://[::1",
                                        "cluster.redis=rediss:h",
                                        "cluster.redis=http://h",
                                        "cluster.redis=redis+sentinel://",
                                        "cluster.redis=redis+sentinel://h",
                                        "cluster.redis=redis+sentinel://h/",
                                        "cluster.redis=redis+sentinel:///m",
                                        "cluster.redis=redis+sentinel://h//1",
                                        "cluster.redis=redis+sentinel://h,/m",
                                        "cluster.redis=redis+sentinel://,h/m",
                                        "cluster.redis=redis+sentinel://h:0,h/m",
                                        "cluster.redis=redis+sentinel://h,h:x/m",
                                        "cluster.redis=redis+sentinel://h/m/x",
                                        "cluster.redis=redis+sentinel://h/m/",
                                        "cluster.redis=redis+sentinel://[::1,h/m",
                                        "cluster.redis=rediss+sentinel://h",
                                        "cluster.redis=rediss+http://h/m",
                                        "cluster.redis=redis+cluster://",
                                        "cluster.redis=redis+cluster://h,",
                                        "cluster.redis=redis+cluster://h/1",
                                        "cluster.redis=redis+cluster://h:x,h",
                                        "cluster.redis=redis+cluster://h redis://h",
                                        "cluster.redis=redis://h rediss+cluster://h",
                                        "cluster.tls_cert=a.pem",
                                        "cluster.tls_key=a.pem"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct config *config = load(NULL, NULL, SETS(wrong[i]));
        if (config || report.errors != 1)
            fail_msg("%s: %u errors:\n%s", wrong[i], report.errors, report.text);
    }
}

static void values_at_the_edges_are_taken(void **state)
{
    (void)state;
    static const char *const right[] = {"broker.shards=1",
                                        "broker.shards=254",
                                        "broker.shards=AUTO",
                                        "broker.mesh_slots=4",
                                        "debug.echo=yes",
                                        "io.backend=IO_URING",
                                        "limits.message_bytes=64m",
                                        "topics.idle_s=2000ms",
                                        "listen.address=[::1]:0",
                                        "listen.address=127.9.9.9:65535",
                                        "admin.address=[::ffff:127.0.0.1]:1",
                                        "cluster.redis=redis://u:p@h:6379/0 redis://h redis://[::1]:1/2",
                                        "cluster.redis=redis://u:p@/w@h",
                                        "cluster.redis=rediss://u:p@h:6380",
                                        "cluster.redis=redis+sentinel://h/m redis://h",
                                        "cluster.redis=redis+sentinel://u:p,/@w@h:1,[::1]:2,[::2],h/m-1.x_2/3",
                                        "cluster.redis=rediss+sentinel://h/m",
                                        "cluster.redis=redis+cluster://u:p/,@h,h:1,[::1]:2",
                                        "cluster.redis=rediss+cluster://h/",
                                        "cluster.redis="};
    for (size_t i = 0; i < sizeof right / sizeof *right; i++)
        config_free(good(NULL, NULL, SETS(right[i])));
}

static void all_errors_are_told_at_once(void **state)
{
    (void)state;
    const char *text = "orphan = 1\n"            /* 1 */
                       "[listn]\n"               /* 2 */
                       "address = 1.2.3.4:5\n"   /* 3: told with its section */
                       "[limits]\n"              /* 4 */
                       "message_byte = 5\n"      /* 5 */
                       "topics = none\n"         /* 6 */
                       "just words\n"            /* 7 */
                       "handshakes = 7\n"        /* 8 */
                       "handshakes = 8\n"        /* 9 */
                       "[heartbeat\n"            /* 10 */
                       "interval_s = x\n"        /* 11: told with its section */
                       "[namespace no spaces]\n" /* 12 */
                       "prefix = a\n"            /* 13: told with its section */
                       "[namespace jobs]\n"      /* 14 */
                       "prefix = jobs/\n"        /* 15 */
                       "historymessages = 3\n"   /* 16 */
                       "slow = down\n";          /* 17 */
    bad(text, SETS("debug.ehco=1", "novalue"), 12,
        EXPECTED("shoal.ini:1: orphan stands before the first [section]",
                 "shoal.ini:2: there is no section [listn]: do you mean [listen]?",
                 "shoal.ini:5: there is no key limits.message_byte: do you mean limits.message_bytes?",
                 "shoal.ini:6: limits.topics: 'none' is not valid: allowed are 1 to 1000000000",
                 "shoal.ini:7: this is neither [section] nor key = value",
                 "shoal.ini:9: handshakes was set in line 8 already", "shoal.ini:10: a section ends with ]",
                 "shoal.ini:12: 'no spaces' is no name for a namespace",
                 "shoal.ini:16: there is no key historymessages: do you mean history_messages?",
                 "shoal.ini:17: slow: 'down' is not valid: allowed are disconnect, skip, conflate",
                 "--set debug.ehco: there is no key debug.ehco: do you mean debug.echo?",
                 "--set novalue: write it as section.key=value"));
}

static void a_key_in_the_wrong_section_is_found(void **state)
{
    (void)state;
    bad(NULL, SETS("broker.message_bytes=5"), 1, EXPECTED("do you mean limits.message_bytes?"));
    bad(NULL, SETS("broker.nothing_like_this=5"), 1, EXPECTED("there is no key broker.nothing_like_this (--print"));
    bad(NULL, SETS("shards=5"), 1, EXPECTED("write it as section.key=value"));
    bad(NULL, SETS("namespace.jobs=5"), 1, EXPECTED("write it as section.key=value"));
}

static void unknown_variables_are_only_warned_of(void **state)
{
    (void)state;
    struct config *config = good(NULL,
                                 VARIABLES("SHOAL_LIMITS_TOPIX=5", "SHOAL_URL=ws://x", "SHOAL_ADMIN=http://x",
                                           "SHOAL_SERVICE_HOST=10.0.0.1", "SHOAL_NAMESPACE_A_NOTHING=1"),
                                 NULL);
    assert_int_equal(report.warnings, 2);
    assert_non_null(
        strstr(report.text, "SHOAL_LIMITS_TOPIX: no key is called so: do you mean the one of limits.topics?"));
    config_free(config);
    assert_null(load(NULL, VARIABLES("SHOAL_LIMITS_TOPICS=x"), NULL));
    assert_non_null(strstr(report.text, "error: SHOAL_LIMITS_TOPICS: limits.topics: 'x'"));
}

static void lists_go_on_in_indented_lines(void **state)
{
    (void)state;
    struct config *config =
        good("[cluster]\nredis = redis://a   redis://b\n    redis://c/1\n\n  # no\n\tredis://d\n", NULL, NULL);
    assert_string_equal(config->cluster.redis, "redis://a redis://b redis://c/1 redis://d");
    config_free(config);
    bad("[limits]\ntopics = 5\n  handshakes = 6\n", NULL, 1, EXPECTED("shoal.ini:3: an indented line goes on with"));
    config = good("  [limits]\n  topics = 5\n", NULL, NULL); /* indented, but nothing stands above */
    assert_int_equal(config->limits.topics, 5);
    config_free(config);
}

static void odd_files_are_refused_or_read(void **state)
{
    (void)state;
    char text[1200] = "[log]\nfile = ";
    memset(text + strlen(text), 'x', 1000);
    bad(text, NULL, 1, EXPECTED("shoal.ini:2: a line is at most"));
    snprintf(text, sizeof text, "[%0100d]\nx=1\n", 1);
    bad(text, NULL, 1, EXPECTED("shoal.ini:1: a section's name is at most"));
    bad("[]\n", NULL, 1, EXPECTED("there is no section []"));
    bad("[log] [x]\n=1\n", NULL, 1, EXPECTED("shoal.ini:2: there is no key log."));
    config_free(good("", NULL, NULL));
    config_free(good("\xef\xbb\xbf[log]\r\nlevel = debug\r\n\r\n", NULL, NULL));
    config_free(good("# only\n; comments", NULL, NULL));
}

static void a_missing_file_is_an_error(void **state)
{
    (void)state;
    struct config_sources sources = {.file = "/nonexistent/shoal.ini"};
    assert_null(config_load(&sources, &report));
    assert_non_null(strstr(report.text, "error: /nonexistent/shoal.ini: can't be read: No such file"));
    sources.file = "/tmp";
    assert_null(config_load(&sources, &report));
    assert_non_null(strstr(report.text, "can't be read: Is a directory"));
}

static void a_real_file_is_read(void **state)
{
    (void)state;
    char path[] = "/tmp/shoal-config-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "[limits]\ntopics = 77", 20), 20);
    struct config_sources sources = {.file = path};
    struct config *config = config_load(&sources, &report);
    assert_non_null(config);
    assert_int_equal(config->limits.topics, 77);
    config_free(config);
    assert_int_equal(write(fd, "\nhand\0shakes = 4\n", 17), 17);
    assert_null(config_load(&sources, &report));
    assert_non_null(strstr(report.text, ":3: this is not text"));
    assert_int_equal(ftruncate(fd, 2 << 20), 0);
    assert_null(config_load(&sources, &report));
    assert_non_null(strstr(report.text, "File too large"));
    close(fd);
    unlink(path);
}

static void an_open_address_needs_a_key_or_a_word(void **state)
{
    (void)state;
    bad(NULL, SETS("listen.address=0.0.0.0:7070"), 1,
        EXPECTED("listen.address (0.0.0.0:7070) is not loopback", "auth.anonymous=true"));
    bad(NULL, SETS("admin.address=[::]:7071"), 1, EXPECTED("admin.address ([::]:7071) is not loopback"));
    config_free(good(NULL, NULL, SETS("listen.address=0.0.0.0:7070", "auth.anonymous=true")));
    config_free(good(NULL, NULL, SETS("listen.address=0.0.0.0:7070", "auth.hs256_key_file=/etc/secret")));
    struct config *config = good(NULL, NULL, SETS("listen.address=[::]:7070", "auth.rs256_key_file=/etc/public.pem"));
    assert_int_equal(config_connections_per_address(config), 1000);
    config_free(config);
}

static void rules_between_keys_hold(void **state)
{
    (void)state;
    bad(NULL, SETS("heartbeat.timeout_s=30"), 1, EXPECTED("heartbeat.timeout_s (30) must be more than"));
    bad(NULL, SETS("limits.partial_bytes=1M"), 1, EXPECTED("limits.partial_bytes (1048576) must be at least twice"));
    bad("[heartbeat]\n\ntimeout_s=3", NULL, 1, EXPECTED("error: shoal.ini:3: heartbeat.timeout_s (3)"));
    bad(NULL, SETS("admin.address=127.0.0.1:7070"), 1, EXPECTED("admin.address and listen.address are the same"));
    config_free(good(NULL, NULL, SETS("admin.address=127.0.0.1:0", "listen.address=127.0.0.1:0")));
    bad(NULL, SETS("namespace.a.prefix=x/", "namespace.b.prefix=x/"), 1, EXPECTED("namespaces a and b have the same"));
    bad(NULL, SETS("namespace.a.slow=skip"), 1, EXPECTED("have the same prefix ''"));
    bad(NULL, SETS("namespace.default.prefix=a"), 1, EXPECTED("namespace default holds what no other"));
    bad(NULL, SETS("namespace.a.prefix=x/+"), 1, EXPECTED("is the start of no topic"));
    bad(NULL, SETS("namespace.a.prefix=x//y"), 1, EXPECTED("is the start of no topic"));
    bad(NULL, SETS("namespace.a.prefix=\xff"), 1, EXPECTED("is the start of no topic"));
    bad(NULL, SETS("cluster.timeout_ms=500", "cluster.probe_ms=500"), 1,
        EXPECTED("must be more than cluster.probe_ms"));
    bad(NULL, SETS("namespace.default.payload_bytes_max=2M"), 1, EXPECTED("is above limits.message_bytes"));
    config_free(good(NULL, NULL, SETS("namespace.a.prefix=x", "namespace.a.logged=true", "cluster.redis=redis://h")));
}

static void doubtful_settings_are_warned_of(void **state)
{
    (void)state;
    config_free(good(NULL, NULL, SETS("namespace.default.history_age_s=60")));
    assert_int_equal(report.warnings, 1);
    assert_non_null(strstr(report.text, "warning: namespace default: history_age_s has no effect"));
    config_free(good(NULL, NULL, SETS("limits.message_bytes=4M")));
    assert_int_equal(report.warnings, 1);
    config_free(good(NULL, NULL, SETS("auth.hs256_key_file=k", "auth.anonymous=true")));
    assert_int_equal(report.warnings, 1);
    config_free(good(NULL, NULL, SETS("namespace.a.prefix=x", "namespace.a.logged=true")));
    assert_int_equal(report.warnings, 1);
    assert_non_null(strstr(report.text, "warning: namespace a: logged has no effect while cluster.redis is empty"));
}

static void the_longest_prefix_wins(void **state)
{
    (void)state;
    struct config *config =
        good("[namespace sport]\nprefix = sport/\nhistory_messages = 5\n"
             "[namespace tennis]\nprefix = sport/tennis/\nslow = conflate\n",
             VARIABLES("SHOAL_NAMESPACE_TENNIS_HISTORY_MESSAGES=7", "SHOAL_NAMESPACE_MY_OWN_PREFIX=own/",
                       "SHOAL_NAMESPACE_DEFAULT_BACKLOG_BYTES=2M"),
             SETS("namespace.more-of-it.prefix=s"));
    assert_int_equal(config->namespace_count, 5);
    assert_string_equal(space_of(config, "sport/tennis/final")->name, "tennis");
    assert_int_equal(space_of(config, "sport/tennis/final")->history_messages, 7);
    assert_int_equal(space_of(config, "sport/tennis/final")->slow, CONFIG_SLOW_CONFLATE);
    assert_string_equal(space_of(config, "sport/tennis")->name, "sport");
    assert_string_equal(space_of(config, "sport")->name, "more-of-it");
    assert_string_equal(space_of(config, "own/x")->name, "my_own");
    assert_string_equal(space_of(config, "x")->name, "default");
    assert_string_equal(space_of(config, "")->name, "default");
    assert_int_equal(space_of(config, "x")->backlog_bytes, 2 << 20);
    config_free(config);
}

static void namespaces_are_bounded(void **state)
{
    (void)state;
    static char text[8192];
    size_t size = 0;
    for (unsigned i = 0; i < CONFIG_NAMESPACES_MAX; i++) /* one more than there is room for beside default */
        size += (size_t)snprintf(text + size, sizeof text - size, "[namespace n%u]\nprefix = n%u/\n", i, i);
    bad(text, NULL, 2, EXPECTED("namespace n63 is one too many: 64 are allowed"));
}

static void a_long_report_is_cut_but_counted(void **state)
{
    (void)state;
    static char text[65536] = "[limits]\n";
    size_t size = strlen(text);
    for (unsigned i = 0; i < 2000; i++)
        size += (size_t)snprintf(text + size, sizeof text - size, "no_such_key_%u = 1\n", i);
    assert_null(load(text, NULL, NULL));
    assert_int_equal(report.errors, 2000);
    assert_true(report.size < CONFIG_REPORT_MAX);
    assert_int_equal(report.text[report.size - 1], '\n');
}

/* The printed form, to be freed. */
static char *printed(const struct config *config)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    config_print(config, out);
    fclose(out);
    return text;
}

static char *without_comments(char *text)
{
    char *to = text;
    for (char *line = text, *end; *line; line = end) {
        end = strchr(line, '\n') + 1;
        if (line[0] != '#') {
            memmove(to, line, (size_t)(end - line));
            to += end - line;
        }
    }
    *to = 0;
    return text;
}

static void what_is_printed_reads_back(void **state)
{
    (void)state;
    struct config *config = good("[namespace sport]\nprefix = sport/\nslow = skip\n[listen]\naddress = [::1]:0\n", NULL,
                                 SETS("cluster.redis=redis://a redis://b", "broker.node=here", "limits.handshake_ms=1m",
                                      "limits.connections_per_address=5", "log.level=debug"));
    char *first = without_comments(printed(config));
    struct config *again = good(first, NULL, NULL);
    char *second = without_comments(printed(again));
    assert_string_equal(first, second);
    free(first);
    free(second);
    config_free(config);
    config_free(again);
}

static void printing_tells_where_from_and_hides_passwords(void **state)
{
    (void)state;
    struct config *config =
        good("[limits]\n\ntopics = 5\n", VARIABLES("SHOAL_LOG_LEVEL=debug", "SHOAL_NAMESPACE_DEFAULT_SLOW=skip"),
             SETS("cluster.redis=redis://me:secret@h/1 redis+sentinel://me:secret@s1,s2:1/m", "debug.echo=true"));
    char *text = printed(config);
    assert_non_null(strstr(text, "(shoal.ini:3)\ntopics = 5\n"));
    assert_non_null(strstr(text, "(SHOAL_LOG_LEVEL)\nlevel = debug\n"));
    assert_non_null(strstr(text, "(SHOAL_NAMESPACE_DEFAULT_SLOW)\nslow = skip\n"));
    assert_non_null(strstr(text, "(--set)\necho = true\n"));
    assert_non_null(strstr(text, "(default)\nshards = auto\n"));
    assert_non_null(strstr(text, "redis = redis://me:***@h/1\n    redis+sentinel://me:***@s1,s2:1/m\n"));
    assert_null(strstr(text, "secret@"));
    free(text);
    config_free(config);
}

static void secrets_are_not_in_reports(void **state)
{
    (void)state;
    assert_null(load(NULL, NULL, SETS("cluster.redis=redis://me:hush@", "cluster.redsi=hush")));
    assert_null(strstr(report.text, "hush"));
    assert_null(load(NULL, NULL, SETS("cluster.redis=redis://h redis+sentinel://me:hush@h")));
    assert_non_null(strstr(report.text, "server 2 is not of the form redis[s]+sentinel://"));
    assert_null(strstr(report.text, "hush"));
}

static void reload_takes_what_may_change(void **state)
{
    (void)state;
    struct config *running = good("[namespace a]\nprefix = a/\n[namespace b]\nprefix = b/\n", NULL, NULL);
    struct config_sources sources = {.file = "shoal.ini",
                                     .file_text = "[listen]\naddress = 127.0.0.1:9999\n[log]\nlevel = debug\n"
                                                  "[namespace a]\nprefix = c/\nhistory_messages = 9\n"
                                                  "[namespace d]\nprefix = d/\n"};
    struct config *config = config_reload(running, &sources, &report);
    assert_non_null(config);
    assert_int_equal(report.warnings, 4);
    assert_non_null(strstr(report.text, "listen.address can't change while running"));
    assert_non_null(strstr(report.text, "namespace a: prefix can't change while running"));
    assert_non_null(strstr(report.text, "namespace b can't go"));
    assert_non_null(strstr(report.text, "namespace d can't come"));
    assert_string_equal(config->listen.address.text, "127.0.0.1:7070");
    assert_int_equal(config->log.level, 0);
    assert_int_equal(config->namespace_count, running->namespace_count);
    for (uint32_t i = 0; i < config->namespace_count; i++)
        assert_string_equal(config->namespaces[i].name, running->namespaces[i].name);
    assert_int_equal(space_of(config, "a/x")->history_messages, 9);
    assert_string_equal(space_of(config, "d/x")->name, "default");
    config_free(config);

    sources.file_text = "[log]\nlevel = loud\n";
    assert_null(config_reload(running, &sources, &report));
    config_free(running);
}

static void reload_cannot_open_what_was_guarded(void **state)
{
    (void)state;
    struct config *running = good(NULL, NULL, SETS("listen.address=0.0.0.0:7070", "auth.hs256_key_file=k"));
    struct config_sources sources = {.file = NULL}; /* alone it is right: loopback, no key */
    assert_null(config_reload(running, &sources, &report));
    assert_non_null(strstr(report.text, "is not loopback"));
    config_free(running);
}

/* Whether the document has the word in backquotes. */
static bool documented(const char *document, const char *section, const char *name)
{
    char word[128];
    snprintf(word, sizeof word, "`%s%s%s`", section, section[0] ? "." : "", name);
    return strstr(document, word) != NULL;
}

static void every_key_is_documented(void **state)
{
    (void)state;
    static char document[1 << 18];
    FILE *file = fopen("../docs/OPERATIONS.md", "r");
    assert_non_null(file);
    document[fread(document, 1, sizeof document - 1, file)] = 0;
    fclose(file);
    const struct config_table *tables[] = {&config_keys, &config_namespace_keys};
    for (size_t t = 0; t < 2; t++)
        for (size_t i = 0; i < tables[t]->count; i++)
            if (!documented(document, tables[t]->keys[i].section, tables[t]->keys[i].name))
                fail_msg("docs/OPERATIONS.md does not name `%s.%s`", tables[t]->keys[i].section,
                         tables[t]->keys[i].name);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_are_those_of_the_design),
        cmocka_unit_test(later_sources_win),
        cmocka_unit_test(units_are_read),
        cmocka_unit_test(values_out_of_range_are_refused),
        cmocka_unit_test(redis_urls_that_are_none_are_refused),
        cmocka_unit_test(values_at_the_edges_are_taken),
        cmocka_unit_test(all_errors_are_told_at_once),
        cmocka_unit_test(a_key_in_the_wrong_section_is_found),
        cmocka_unit_test(unknown_variables_are_only_warned_of),
        cmocka_unit_test(lists_go_on_in_indented_lines),
        cmocka_unit_test(odd_files_are_refused_or_read),
        cmocka_unit_test(a_missing_file_is_an_error),
        cmocka_unit_test(a_real_file_is_read),
        cmocka_unit_test(an_open_address_needs_a_key_or_a_word),
        cmocka_unit_test(rules_between_keys_hold),
        cmocka_unit_test(doubtful_settings_are_warned_of),
        cmocka_unit_test(the_longest_prefix_wins),
        cmocka_unit_test(namespaces_are_bounded),
        cmocka_unit_test(a_long_report_is_cut_but_counted),
        cmocka_unit_test(what_is_printed_reads_back),
        cmocka_unit_test(printing_tells_where_from_and_hides_passwords),
        cmocka_unit_test(secrets_are_not_in_reports),
        cmocka_unit_test(reload_takes_what_may_change),
        cmocka_unit_test(reload_cannot_open_what_was_guarded),
        cmocka_unit_test(every_key_is_documented),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
