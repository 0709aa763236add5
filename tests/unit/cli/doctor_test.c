/* Tests of the doctor: a host that lacks nothing, and hosts that lack one thing each, which it must find and mend. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "cli/doctor.h"

#define TEN_MILLION 10000000u

/* Holds ten million. */
static const struct host good = {
    .kernel_major = 6,
    .kernel_minor = 1,
    .io_uring = true,
    .processors = 16,
    .descriptors = 1048576,
    .nr_open = 1048576,
    .file_max = 100000000,
    .files_used = 1000,
    .available_bytes = 64ull << 30,
    .cgroup_bytes = HOST_UNKNOWN,
    .tcp_mem_pressure = 10000000,
    .tcp_tw_buckets = 4000000,
    .tcp_orphans = 4000000,
    .congestion = "cubic",
    .tcp_rmem_most = 262144,
    .tcp_wmem_most = 262144,
    .somaxconn = 65535,
    .syn_backlog = 65535,
    .port_first = 1024,
    .port_last = 65535,
    .tw_reuse = 1,
    .conntrack_max = HOST_UNKNOWN,
};

/* The finding of a check. Fails if there is none. */
static struct finding found(const struct host *host, uint64_t connections, const char *check)
{
    struct finding findings[FINDINGS_MAX];
    int count = doctor_check(host, connections, findings);
    assert_in_range(count, 1, FINDINGS_MAX);
    for (int i = 0; i < count; i++) {
        if (strcmp(findings[i].check, check) == 0) {
            return findings[i];
        }
    }
    fail_msg("no check %s", check);
    return findings[0];
}

static void assert_short(const struct host *host, const char *check, const char *mend)
{
    struct finding finding = found(host, TEN_MILLION, check);
    assert_int_equal(finding.state, FINDING_SHORT);
    if (!strstr(finding.mend, mend)) {
        fail_msg("%s is mended by '%s', not by '%s'", check, finding.mend, mend);
    }
}

static void nothing_is_short_on_a_good_host(void **state)
{
    (void)state;
    struct finding findings[FINDINGS_MAX];
    int count = doctor_check(&good, TEN_MILLION, findings);
    for (int i = 0; i < count; i++) {
        if (findings[i].state == FINDING_SHORT) {
            fail_msg("%s: %s, wanted %s", findings[i].check, findings[i].have, findings[i].wanted);
        }
    }
}

static void each_want_is_found_and_mended(void **state)
{
    (void)state;
    struct host host = good;
    host.kernel_minor = 0;
    assert_short(&host, "kernel", "linux-image");
    host = good;
    host.io_uring = false;
    assert_short(&host, "io_uring", "kernel.io_uring_disabled=0");
    host = good;
    host.descriptors = 20000;
    assert_short(&host, "descriptors", "LimitNOFILE=1048576");
    host = good;
    host.file_max = 2000000;
    assert_short(&host, "fs.file-max", "sysctl -w fs.file-max=10066536");
    host = good;
    host.available_bytes = 24ull << 30;
    assert_short(&host, "memory", "more memory");
    host = good;
    host.cgroup_bytes = 24ull << 30;
    assert_short(&host, "cgroup memory", "MemoryMax=");
    host = good;
    host.tcp_mem_pressure = 100000;
    assert_short(&host, "net.ipv4.tcp_mem", "sysctl -w net.ipv4.tcp_mem='7500000 10000000 15000000'");
    host = good;
    host.tcp_tw_buckets = 262144;
    assert_short(&host, "net.ipv4.tcp_max_tw_buckets", "sysctl -w net.ipv4.tcp_max_tw_buckets=2500000");
    host = good;
    host.tcp_orphans = 131072;
    assert_short(&host, "net.ipv4.tcp_max_orphans", "sysctl -w net.ipv4.tcp_max_orphans=2500000");
    host = good;
    host.somaxconn = 4096;
    assert_short(&host, "net.core.somaxconn", "sysctl -w net.core.somaxconn=39062");
    host = good;
    host.conntrack_max = 262144;
    assert_short(&host, "net.netfilter.nf_conntrack_max", "NOTRACK");
}

/* A ring holds as many as descriptors are allowed; more shards than processors make up for few. */
static void shards_make_up_for_few_descriptors(void **state)
{
    (void)state;
    assert_int_equal(doctor_shards(2, 1048576, 100000), 2);
    assert_int_equal(doctor_shards(2, 20000, 1000000), 58);
    assert_int_equal(doctor_shards(2, 20000, TEN_MILLION), 0);
    assert_int_equal(doctor_shards(2, 0, 1), 0);
    assert_int_equal(doctor_shards(2, 1ull << 30, TEN_MILLION), 11);
}

/* It costs, but all connections fit. */
static void pacing_by_timers_is_a_note(void **state)
{
    (void)state;
    struct host host = good;
    memcpy(host.congestion, "bbr", sizeof "bbr");
    assert_int_equal(found(&host, TEN_MILLION, "net.ipv4.tcp_congestion_control").state, FINDING_NOTE);
    assert_int_equal(found(&host, 1000, "net.ipv4.tcp_congestion_control").state, FINDING_FINE);
}

static void what_cannot_be_read_is_no_want(void **state)
{
    (void)state;
    struct host host = good;
    host.somaxconn = HOST_UNKNOWN;
    struct finding finding = found(&host, TEN_MILLION, "net.core.somaxconn");
    assert_int_equal(finding.state, FINDING_NOTE);
    assert_string_equal(finding.have, "not readable");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_short_on_a_good_host),    cmocka_unit_test(each_want_is_found_and_mended),
        cmocka_unit_test(shards_make_up_for_few_descriptors), cmocka_unit_test(pacing_by_timers_is_a_note),
        cmocka_unit_test(what_cannot_be_read_is_no_want),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
