/* bench.c: `kappa bench`. */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backend/backend.h"
#include "backend/cpu/cpu_features.h"
#include "base/pool.h"
#include "bench.h"
#include "cli.h"
#include "env/env.h"
#include "machine.h"

typedef struct {
    int json;
    char machine[160];
} printer;

static void describe_machine(char *text, size_t size) {
    char processor[100];
    kp_processor_name(processor, sizeof processor);
    snprintf(text, size, "%s, %d CPUs, %s", processor, kp_cpus_allowed(), kp_isa_name(kp_isa()));
}

static json_t *number(double x) { return isfinite(x) ? json_real(x) : json_null(); }

static void print_json(const printer *p, const kp_bench_result *r) {
    json_t *o = json_pack("{s:s, s:o, s:o, s:s, s:o, s:o, s:s, s:o, s:i, s:s, s:s}", "name", r->name,
                          "ours", number(r->ours), "peer", number(r->peer), "unit", r->unit,
                          "ratio", number(r->ours / r->peer), "limit", number(r->limit),
                          "limit_name", r->limit_name ? r->limit_name : "", "reach", number(r->reach),
                          "repeats", r->repeats, "machine", p->machine, "note", r->note);
    char *text = json_dumps(o, JSON_REAL_PRECISION(5));
    puts(text ? text : "{}");
    free(text);
    json_decref(o);
}

static void print_row(const kp_bench_result *r) {
    printf("%-34s %10.4g %-14s", r->name, r->ours, r->unit);
    if (isfinite(r->peer)) printf("  peer %9.4g  ratio %5.2f", r->peer, r->ours / r->peer);
    if (isfinite(r->peer) && isfinite(r->reach))
        printf(" (reach %.2f%s)", r->reach, r->ours >= r->reach * r->peer ? "" : ", missed");
    if (isfinite(r->limit)) printf("  %3.0f%% of %s (%.4g)", 100 * r->ours / r->limit, r->limit_name, r->limit);
    if (r->note[0]) printf("  %s", r->note);
    putchar('\n');
}

static void emit(void *context, const kp_bench_result *r) {
    printer *p = context;
    if (p->json) print_json(p, r);
    else print_row(r);
    fflush(stdout);
}

static kp_status run(int argc, char **argv, kp_err *err) {
    printer p = { 0 };
    const char *threads = "0", *repeats = "0", *peers = KP_SOURCE_DIR "/bench/peers";
    kp_bench_options o = { .emit = emit, .context = &p, .python = kp_env_python() };
    p.json = kp_take_flag(&argc, argv, "--json");
    o.with_peers = kp_take_flag(&argc, argv, "--peers");
    kp_status st = kp_take_option(&argc, argv, "--threads", &threads, err);
    if (!st) st = kp_take_option(&argc, argv, "--repeats", &repeats, err);
    if (!st) st = kp_take_option(&argc, argv, "--python", &o.python, err);
    if (!st) st = kp_take_option(&argc, argv, "--peer-dir", &peers, err);
    if (!st) st = kp_no_more_options(argc, argv, "bench", err);
    if (st) return st;
    o.n_threads = atoi(threads), o.repeats = atoi(repeats), o.peer_dir = peers;
    if (o.with_peers && access(peers, R_OK))
        return kp_fail(err, KP_BAD_DATA, "%s is not there; --peer-dir names the folder bench/peers of the source",
                       peers);
    describe_machine(p.machine, sizeof p.machine);
    if (!p.json) printf("%s\n", p.machine);
    int found = 0;
    for (const kp_bench_row *row = kp_bench_table; !st && row->name; row++) {
        int wanted = argc == 0;
        for (int i = 0; i < argc; i++) wanted |= !strcmp(argv[i], row->name);
        if (wanted) st = row->run(&o, err);
        found += wanted;
    }
    if (!st && !found)
        return kp_fail(err, KP_BAD_CONFIG, "%s is not a benchmark; see kappa bench --help",
                       argc ? argv[0] : "nothing");
    return st;
}

const kp_command kp_command_bench = {
    .name = "bench",
    .what = "measure speed, beside PyTorch where asked",
    .run = run,
    .help =
        "usage: kappa bench [WHAT ...] [--peers] [--json] [--threads N] [--repeats N] [--python P]\n\n"
        "  WHAT       adam_clip, dqn_update, dqn_population, dqn_end_to_end, atari_env; all if none is named\n"
        "  --peers    measure the peers of bench/peers in the same run and print ratios\n"
        "             (scripts/install-deps --peers installs them)\n"
        "  --json     one object a line: name, ours, peer, unit, ratio, limit, repeats, machine\n"
        "  --python   the interpreter for peers (default: the one that runs the Atari workers)\n\n"
        "example: kappa bench adam_clip dqn_update --peers\n",
};
