/* bench.c: `kappa bench`. */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "adam_model.h"
#include "backend/backend.h"
#include "backend/cpu/cpu_features.h"
#include "base/pool.h"
#include "bench.h"
#include "cli.h"
#include "env/env.h"
#include "kappa/version.h"
#include "machine.h"
#include "run/rundir.h"
#include "terminal.h"

typedef struct {
    int json, n_rows;
    char machine[160], device[256], date[32], peers[256]; /* peers "": not measured */
} printer;

static void describe_machine(char *text, size_t size) {
    char processor[100];
    kp_processor_name(processor, sizeof processor);
    snprintf(text, size, "%s, %d CPUs, %s", processor, kp_cpus_allowed(), kp_isa_name(kp_isa()));
}

static json_t *number(double x) { return isfinite(x) ? json_real(x) : json_null(); }

/* On a line of its own; takes the reference. */
static void print_object(json_t *o) {
    char *text = json_dumps(o, JSON_REAL_PRECISION(5));
    puts(text ? text : "{}");
    free(text);
    json_decref(o);
}

static void print_json(const printer *p, const kp_bench_result *r) {
    const char *commit = kp_rundir_commit();
    json_t *o = json_pack("{s:s, s:o, s:o, s:s, s:o, s:o, s:o, s:s, s:o, s:i, s:s}", "name",
                          r->name, "ours", number(r->ours), "peer", number(r->peer), "unit",
                          r->unit, "ratio", number(r->ours / r->peer), "reach", number(r->reach),
                          "limit", number(r->limit), "limit_name",
                          r->limit_name ? r->limit_name : "", "share", number(r->ours / r->limit),
                          "repeats", r->repeats, "note", r->note);
    json_t *where = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "machine", p->machine, "device",
                              p->device, "peers", p->peers, "version", KP_VERSION, "commit", commit,
                              "date", p->date);
    json_object_update(o, where);
    json_decref(where);
    print_object(o);
}

static void print_head(const printer *p) {
    if (*p->peers) printf("peers: ");
    if (*p->peers) kp_print_wrapped(7, p->peers);
    printf("\n%-19s %9s %9s %-13s %6s %6s %7s %6s\n", "", "ours", "peer", "", "ratio", "reach", "",
           "share");
}

/* share: of the limit, which the line below names. */
static void print_row(const kp_bench_result *r) {
    int beside = isfinite(r->peer), asked = isfinite(r->reach);
    char peer[24] = "-", ratio[24] = "-", reach[24] = "-", share[24] = "-", note[320];
    if (beside) snprintf(peer, sizeof peer, "%.4g", r->peer);
    if (beside) snprintf(ratio, sizeof ratio, "%.2f", r->ours / r->peer);
    if (asked) snprintf(reach, sizeof reach, "%.2f", r->reach);
    if (isfinite(r->limit)) snprintf(share, sizeof share, "%.0f%%", 100 * r->ours / r->limit);
    const char *verdict = !beside || !asked               ? ""
                          : r->ours >= r->reach * r->peer ? "reached"
                                                          : "missed";
    printf("%-19s %9.4g %9s %-13s %6s %6s %-7s %6s\n    ", r->name, r->ours, peer, r->unit, ratio,
           reach, verdict, share);
    char of_peer[32] = "";
    if (beside) snprintf(of_peer, sizeof of_peer, " (peer: %.0f%%)", 100 * r->peer / r->limit);
    if (isfinite(r->limit))
        snprintf(note, sizeof note, "limit: %s, %.4g %s%s; %s", r->limit_name, r->limit, r->unit,
                 of_peer, r->note);
    kp_print_wrapped(4, isfinite(r->limit) ? note : r->note);
}

static void emit(void *context, const kp_bench_result *r) {
    printer *p = context;
    if (!p->json && !p->n_rows++) print_head(p);
    if (p->json) print_json(p, r);
    else print_row(r);
    fflush(stdout);
}

/* ---- the roofline ---- */

static void print_model_json(const kp_adam_gpu *g, const kp_adam_model *m) {
    print_object(json_pack("{s:s, s:i, s:i, s:i, s:f, s:f, s:f, s:f, s:s, s:f, s:f, s:s}", "gpu",
                           g->gpu, "sm", g->sm, "bytes", KP_ADAM_BYTES, "registers", g->registers,
                           "instructions", m->per_element, "occupancy", m->occupancy, "memory_ps",
                           1e12 * m->memory_s, "issue_ps", 1e12 * m->issue_s, "limit",
                           m->memory_s > m->issue_s ? "memory" : "issue", "gb_s", g->memory_gb_s,
                           "parameters_per_s", 0.93 / m->memory_s, "version", KP_VERSION));
}

/* insns: instructions an element. G/s: 1e9 parameters a second. */
static void print_model(int json) {
    if (!json)
        printf("Adam and the clip, expected from the compiled kernel: %d bytes a parameter\n\n"
               "%-14s %5s %5s %6s %8s %9s %9s %10s  %s\n",
               KP_ADAM_BYTES, "", "regs", "insns", "occup.", "GB/s", "50M, us", "at 93%", "at 93%",
               "limit");
    for (const kp_adam_gpu *g = kp_adam_gpus; g->gpu; g++) {
        kp_adam_model m = kp_adam_model_of(g);
        double us = 50e12 * m.memory_s;
        if (json) print_model_json(g, &m);
        else
            printf("%-14s %5d %5.1f %5.0f%% %8.0f %9.1f %9.1f %6.0f G/s  %s, issue takes %.0f%% "
                   "of it\n",
                   g->gpu, g->registers, m.per_element, 100 * m.occupancy, g->memory_gb_s, us,
                   us / 0.93, 0.93e-9 / m.memory_s, m.memory_s > m.issue_s ? "memory" : "issue",
                   100 * m.issue_s / m.memory_s);
    }
}

/* ---- arguments ---- */

/* Every name is a benchmark's, and, with a GPU, of one that it can run. */
static kp_status check_names(int n, char **names, int cuda, kp_err *err) {
    for (int i = 0; i < n; i++) {
        const kp_bench_row *row = kp_bench_table;
        while (row->name && strcmp(names[i], row->name) != 0) row++;
        if (!row->name)
            return kp_fail(err, KP_BAD_CONFIG, "%s is not a benchmark; see kappa list benchmarks",
                           names[i]);
        if (cuda && !row->on_cuda)
            return kp_fail(err, KP_BAD_CONFIG, "%s is measured on the CPU only, adam_clip on both",
                           names[i]);
    }
    return KP_OK;
}

/* Takes device=... out of the names. */
static void take_device(int *argc, char **argv, const char **device) {
    int n = 0;
    for (int i = 0; i < *argc; i++)
        if (!strncmp(argv[i], "device=", 7)) *device = argv[i] + 7;
        else argv[n++] = argv[i];
    *argc = n;
}

/* What it is; a device that cannot be opened is known before anything is measured. */
static kp_status describe_device(printer *p, kp_bench_options *o, kp_err *err) {
    kp_backend *b = NULL;
    kp_status st = kp_backend_open(&b, o->device, o->n_threads, err);
    if (st) return st;
    if (kp_backend_kind(b) == KP_CPU) o->device = "cpu";
    else if (!strcmp(o->device, "auto")) o->device = "cuda";
    snprintf(p->device, sizeof p->device, "%s", kp_backend_describe(b));
    kp_backend_close(b);
    return KP_OK;
}

static kp_status take_count(int *argc, char **argv, const char *name, int *count, kp_err *err) {
    const char *text = NULL;
    char *end = NULL;
    kp_status st = kp_take_option(argc, argv, name, &text, err);
    if (st || !text) return st;
    long value = strtol(text, &end, 10);
    if (!*text || *end || value < 1 || value > 1024)
        return kp_fail(err, KP_BAD_CONFIG,
                       "bench: %s: seen '%s', expected a whole number, 1 to 1024", name, text);
    *count = (int)value;
    return KP_OK;
}

static kp_status run(int argc, char **argv, kp_err *err) {
    printer p = { 0 };
    const char *peers = KP_SOURCE_DIR "/bench/peers";
    kp_bench_options o = {
        .emit = emit, .context = &p, .python = kp_env_python(), .device = "cpu"
    };
    p.json = kp_take_flag(&argc, argv, "--json");
    o.with_peers = kp_take_flag(&argc, argv, "--peers");
    int model = kp_take_flag(&argc, argv, "--model");
    take_device(&argc, argv, &o.device);
    kp_status st = take_count(&argc, argv, "--threads", &o.n_threads, err);
    if (!st) st = take_count(&argc, argv, "--repeats", &o.repeats, err);
    if (!st) st = kp_take_option(&argc, argv, "--python", &o.python, err);
    if (!st) st = kp_take_option(&argc, argv, "--peer-dir", &peers, err);
    if (!st) st = kp_no_more_options(argc, argv, "bench", err);
    if (!st) st = check_names(argc, argv, !strncmp(o.device, "cuda", 4), err);
    if (!st && model && (argc != 1 || strcmp(argv[0], "adam_clip") != 0))
        st = kp_fail(err, KP_BAD_CONFIG, "--model is of adam_clip: kappa bench adam_clip --model");
    if (!st && model) {
        print_model(p.json);
        return KP_OK;
    }
    if (!st) st = describe_device(&p, &o, err); /* now auto is known too */
    if (!st) st = check_names(argc, argv, strcmp(o.device, "cpu") != 0, err);
    o.peer_dir = peers;
    if (!st && o.with_peers && access(peers, R_OK))
        st = kp_fail(err, KP_BAD_DATA,
                     "%s is not there; --peer-dir names the folder bench/peers of the source",
                     peers);
    if (!st && o.with_peers) st = kp_bench_peers_present(&o, p.peers, sizeof p.peers, err);
    if (st) return st;
    time_t now = time(NULL);
    strftime(p.date, sizeof p.date, "%Y-%m-%dT%H:%M:%SZ", gmtime(&now));
    describe_machine(p.machine, sizeof p.machine);
    int cuda = strcmp(o.device, "cpu") != 0;
    if (!p.json) printf("%s\n", p.machine);
    if (!p.json && cuda) printf("%s\n", p.device);
    fflush(stdout);
    for (const kp_bench_row *row = kp_bench_table; !st && row->name; row++) {
        int wanted = argc == 0 && (row->on_cuda || !cuda);
        for (int i = 0; i < argc; i++) wanted |= !strcmp(argv[i], row->name);
        if (wanted) st = row->run(&o, err);
    }
    return st;
}

const kp_command kp_command_bench = {
    .name = "bench",
    .what = "measure speed, beside PyTorch and jax where asked",
    .run = run,
    .help = "usage: kappa bench [WHAT ...] [device=D] [--model] [--peers] [--json]\n"
            "                   [--threads N] [--repeats N] [--python P] [--peer-dir DIR]\n\n"
            "  WHAT         adam_clip, dqn_update, dqn_population, dqn_end_to_end, atari_env,\n"
            "               streaming, streaming_rules; all if none is named\n"
            "  device=D     cpu, cuda, cuda:N or auto; a GPU is measured by adam_clip alone\n"
            "  --model      adam_clip as expected on A100, H100 and B200 from the compiled\n"
            "               kernel; needs no GPU\n"
            "  --peers      measure the peers of bench/peers in the same run and print\n"
            "               ratios; scripts/install-deps --peers installs them\n"
            "  --json       one object a line: name, ours, peer, unit, ratio, reach, limit,\n"
            "               share, repeats, note, machine, device, peers, version, commit,\n"
            "               date\n"
            "  --threads N  of ours; peers take every CPU allowed, so for fewer of both\n"
            "               run under taskset\n"
            "  --repeats N  timings that a median is taken of\n"
            "  --python P   of peers and emulators; else the one of the Atari workers\n"
            "  --peer-dir   the folder bench/peers of another source\n\n"
            "Run it on a quiet machine. bench/README.md says what each measures.\n\n"
            "example: kappa bench adam_clip dqn_update --peers\n"
            "         kappa bench adam_clip device=cuda --peers\n",
};
