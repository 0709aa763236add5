/*
 * doctor: whether this host can hold so many connections, and what to change if not.
 *
 *      host_read() ──▶ struct host ──▶ doctor_check() ──▶ findings, one a check ──▶ a table, or JSON
 *
 * What a check wants follows from figures that were measured (docs/TUNING.md has each, with its reason). It looks at
 * the host that it runs on, as the user who runs it: a service's own limits stand in its unit file.
 */
#ifndef SHOAL_CLI_DOCTOR_H
#define SHOAL_CLI_DOCTOR_H

#include <stdbool.h>
#include <stdint.h>

/* A figure that could not be read: no such file, or not for this user. */
#define HOST_UNKNOWN UINT64_MAX

/* What the checks look at. */
struct host {
    uint32_t kernel_major, kernel_minor;
    bool io_uring;                  /* a ring can be made */
    uint64_t processors;            /* that this process may use */
    uint64_t descriptors;           /* RLIMIT_NOFILE, as it may be raised */
    uint64_t nr_open;               /* fs.nr_open */
    uint64_t file_max;              /* fs.file-max */
    uint64_t files_used;            /* of these */
    uint64_t available_bytes;       /* of memory */
    uint64_t cgroup_bytes;          /* the least limit of its control groups; HOST_UNKNOWN: none */
    uint64_t tcp_mem_pressure;      /* net.ipv4.tcp_mem, the second, pages */
    uint64_t tcp_tw_buckets;        /* net.ipv4.tcp_max_tw_buckets */
    uint64_t tcp_orphans;           /* net.ipv4.tcp_max_orphans */
    char congestion[32];            /* net.ipv4.tcp_congestion_control; "": not readable */
    uint64_t tcp_rmem_most;         /* net.ipv4.tcp_rmem, the third */
    uint64_t tcp_wmem_most;         /* net.ipv4.tcp_wmem, the third */
    uint64_t somaxconn;             /* net.core.somaxconn */
    uint64_t syn_backlog;           /* net.ipv4.tcp_max_syn_backlog */
    uint64_t port_first, port_last; /* net.ipv4.ip_local_port_range */
    uint64_t tw_reuse;              /* net.ipv4.tcp_tw_reuse */
    uint64_t conntrack_max;         /* net.netfilter.nf_conntrack_max; HOST_UNKNOWN: not loaded */
};

enum finding_state {
    FINDING_FINE,
    FINDING_NOTE,  /* matters only in the case that its text names, or could not be read */
    FINDING_SHORT, /* the connections would not fit */
};

#define FINDING_TEXT_MAX 200

struct finding {
    const char *check;
    enum finding_state state;
    char have[FINDING_TEXT_MAX];
    char wanted[FINDING_TEXT_MAX];
    char mend[FINDING_TEXT_MAX]; /* the command, or line of a unit file; "": nothing to do */
};

#define FINDINGS_MAX 28

/* Reads this host. */
void host_read(struct host *host);

/* What there is to say about so many connections. Returns how many findings. */
int doctor_check(const struct host *host, uint64_t connections, struct finding findings[FINDINGS_MAX]);

/* Rings that so many connections need, at so many descriptors each; 0: more than there may be shards. */
uint64_t doctor_shards(uint64_t processors, uint64_t descriptors, uint64_t connections);

#endif
