/* doctor.c: `kappa doctor`. One function for each thing that is looked at, in the order of
 * `checks`.
 *
 * ok, missing and wrong are for the reader; the exit code is the first finding that training on the
 * CPU cannot do without. */
#include <fcntl.h>
#include <inttypes.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/sysinfo.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backend/backend.h"
#include "backend/cpu/cpu_features.h"
#include "backend/cuda/cudnn_conv.h"
#include "backend/cuda/requirements.h"
#include "base/clock.h"
#include "base/files.h"
#include "base/memory.h"
#include "base/pool.h"
#include "cli.h"
#include "data/data.h"
#include "env/env.h"
#include "env/games.h"
#include "kappa/version.h"
#include "machine.h"
#include "terminal.h"

extern const unsigned char kp_worker_requirements[]; /* scripts/requirements-worker.txt */
extern char **environ;

enum { STATE = 9, WHAT = 12 }; /* widths */
static const double GIB = 1024.0 * 1024 * 1024;

typedef struct {
    const char *python, *rom_dir; /* rom_dir NULL: the ROMs of ale-py */
    const char *game;             /* one whose ROM is intact; NULL: none */
    int has_worker;               /* an interpreter with ale-py and numpy */
    kp_status st;                 /* of the first thing that training needs */
    kp_err why;
} doctor;

typedef enum { OK, MISSING, WRONG } state;

__attribute__((format(printf, 3, 4))) static void say(state s, const char *what, const char *format,
                                                      ...) {
    static const char *const words[] = { "ok", "missing", "wrong" }, *const colours[] = { "32",
                                                                                          "33",
                                                                                          "31" };
    char *text = NULL;
    va_list args;
    va_start(args, format);
    if (vasprintf(&text, format, args) < 0) text = NULL;
    va_end(args);
    if (kp_terminal_has_colour()) printf("\033[%sm%-*s\033[0m", colours[s], STATE, words[s]);
    else printf("%-*s", STATE, words[s]);
    printf("%-*s", WHAT, what);
    kp_print_wrapped(STATE + WHAT, text ? text : "out of memory");
    fflush(stdout);
    free(text);
}

/* What training needs is not there: the exit code, and the last line. */
__attribute__((format(printf, 3, 4))) static void need(doctor *d, kp_status st, const char *format,
                                                       ...) {
    if (d->st) return;
    va_list args;
    va_start(args, format);
    vsnprintf(d->why.text, sizeof d->why.text, format, args);
    va_end(args);
    d->st = st;
}

/* The first bytes that a program prints, without the last newline; 0 if it ran and ended well. */
static int output_of(const char *const *argv, char *text, size_t size) {
    int ends[2], rc = -1;
    size_t n = 0;
    pid_t pid = -1;
    posix_spawn_file_actions_t actions;
    *text = 0;
    if (pipe2(ends, O_CLOEXEC)) return -1;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    int failed = posix_spawnp(&pid, argv[0], &actions, NULL, (char *const *)(uintptr_t)argv,
                              environ);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    for (ssize_t got; !failed && n + 1 < size && (got = read(ends[0], text + n, size - 1 - n)) > 0;)
        n += (size_t)got;
    text[n] = 0;
    if (n && text[n - 1] == '\n') text[n - 1] = 0;
    close(ends[0]);
    if (!failed) waitpid(pid, &rc, 0);
    return rc;
}

static void check_processor(doctor *d) {
    char name[100];
    (void)d;
    kp_processor_name(name, sizeof name);
    say(OK, "processor", "%s", name);
    const char *lowered = getenv("KAPPA_ISA");
    if (kp_isa() == KP_ISA_GENERIC && !lowered)
        say(MISSING, "vectors", "no AVX2 here; training works, but slowly");
    else
        say(OK, "vectors", "%s%s%s", kp_isa_name(kp_isa()),
            lowered ? ", as KAPPA_ISA allows: " : "", lowered ? lowered : "");
    int allowed = kp_cpus_allowed(), all = (int)sysconf(_SC_NPROCESSORS_ONLN);
    if (allowed < all) say(OK, "cores", "%d of %d are allowed to this process", allowed, all);
    else say(OK, "cores", "%d", allowed);
}

/* A transition is one frame in the replay buffer, and by far the most of what a run takes. */
static void check_memory(doctor *d) {
    struct sysinfo machine;
    int64_t free_bytes = kp_memory_available();
    (void)d;
    if (free_bytes == INT64_MAX || sysinfo(&machine)) {
        say(WRONG, "memory",
            "neither /proc/meminfo nor control groups can be read: a run that is too large ends in "
            "the middle; keep buffer.transitions small");
        return;
    }
    double total = (double)machine.totalram * machine.mem_unit;
    say(OK, "memory",
        "%.1f of %.1f GiB may be taken; replay is %.1f GiB for 1,000,000 transitions of each member",
        (double)free_bytes / GIB, total / GIB, 1e6 * KP_FRAME_BYTES / GIB);
}

static void check_cpu(doctor *d) {
    kp_backend *backend = NULL;
    kp_err err = { "" };
    kp_status st = kp_backend_open(&backend, "cpu", 0, &err);
    if (st) {
        say(WRONG, "device", "%s", err.text);
        need(d, st, "%s", err.text);
        return;
    }
    say(OK, "device", "%s", kp_backend_describe(backend));
    kp_backend_close(backend);
}

/* "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.161.08 ..." -> the number. */
static int driver_version(char *text, size_t size) {
    char line[256] = "";
    FILE *f = fopen("/proc/driver/nvidia/version", "r");
    if (!f) return 0;
    snprintf(text, size, "of unknown version");
    if (fgets(line, sizeof line, f))
        for (char *at = line, *word; (word = strsep(&at, " \t\n"));)
            if (*word && strspn(word, "0123456789.") == strlen(word) && strchr(word, '.')) {
                snprintf(text, size, "%s", word);
                break;
            }
    fclose(f);
    return 1;
}

#ifdef KAPPA_HAVE_CUDA
static void check_cudnn(void) {
#ifdef KAPPA_HAVE_CUDNN
    char found[64], folder[KP_PATH];
    kp_err err = { "" };
    if (kp_cudnn_find(found, sizeof found, &err))
        say(MISSING, "cuDNN", "%s; without it convolutions are products of cuBLAS", err.text);
    else
        say(OK, "cuDNN", "%s; plans are kept in %s", found,
            kp_cudnn_default_folder(folder) ? folder : "no folder, for HOME is not set");
#else
    say(MISSING, "cuDNN",
        "this build has none (it has where headers of cuDNN 9.8 or later are); convolutions are "
        "products of cuBLAS");
#endif
}

static void check_cuda(doctor *d) {
    char version[64] = "", found[300];
    kp_backend *backend = NULL;
    kp_err err = { "" };
    (void)d;
    state if_not = driver_version(version, sizeof version) ? WRONG : MISSING;
    for (int i = 0; i < KP_CUDA_N_REQUIREMENTS; i++) {
        const kp_cuda_requirement *r = &kp_cuda_requirements[i];
        if (r->check(0, found, sizeof found, &err)) say(if_not, r->what, "%s", err.text);
        else if (!i && *version) say(OK, r->what, "%s, %s", version, found);
        else say(OK, r->what, "%s", found);
    }
    check_cudnn();
    if (kp_cuda_require(0, NULL)) return;
    if (kp_backend_open(&backend, "cuda", 0, &err)) say(WRONG, "cuda", "%s", err.text);
    else say(OK, "cuda", "%s", kp_backend_describe(backend));
    kp_backend_close(backend);
}
#else
static void check_cuda(doctor *d) {
    char version[64] = "";
    kp_backend *backend = NULL;
    kp_err err = { "" };
    (void)d;
    int has_driver = driver_version(version, sizeof version);
    kp_backend_open(&backend, "cuda", 0, &err);
    say(MISSING, "cuda", "%s; %s%s", err.text,
        has_driver ? "there is an NVIDIA driver, " : "no NVIDIA driver either", version);
}
#endif

/* The version that the requirements pin, "" if they do not name the package. */
static void pinned(const char *package, char *version, size_t size) {
    size_t n = strlen(package);
    *version = 0;
    for (const char *line = (const char *)kp_worker_requirements; *line;
         line += strcspn(line, "\n"), line += *line == '\n')
        if (!strncmp(line, package, n) && !strncmp(line + n, "==", 2))
            snprintf(version, size, "%.*s", (int)strcspn(line + n + 2, "\n"), line + n + 2);
}

static void check_python(doctor *d) {
    static const char probe[] = "import sys, importlib.metadata as m\n"
                                "print(sys.version.split()[0], sys.executable)\n"
                                "for name in sys.argv[1:]:\n"
                                "    try: print(m.version(name))\n"
                                "    except m.PackageNotFoundError: print('-')\n";
    static const char *const packages[] = { "ale-py", "numpy" };
    char text[1200], pin[2][32], install[240];
    for (int i = 0; i < 2; i++) pinned(packages[i], pin[i], sizeof pin[i]);
    snprintf(install, sizeof install,
             "scripts/install-deps puts it into build/venv; elsewhere: pip install ale-py==%s "
             "numpy==%s, and name the interpreter in KAPPA_PYTHON",
             pin[0], pin[1]);
    if (output_of((const char *[]){ d->python, "-c", probe, packages[0], packages[1], NULL }, text,
                  sizeof text)) {
        say(MISSING, "python",
            "%s does not run; Atari's emulators need Python 3.10 or later: apt install python3-venv, "
            "then scripts/install-deps",
            d->python);
        need(d, KP_DEVICE, "%s does not run", d->python);
        return;
    }
    char *at = text, *line = strsep(&at, "\n");
    say(OK, "python", "%s", line);
    d->has_worker = 1;
    for (int i = 0; i < 2; i++) {
        const char *have = at ? strsep(&at, "\n") : "-";
        state s = !strcmp(have, "-") ? MISSING : !i && strcmp(have, pin[i]) ? WRONG : OK;
        if (s == MISSING) say(s, packages[i], "%s", install);
        else if (s == WRONG) say(s, packages[i], "%s, expected %s: %s", have, pin[i], install);
        else
            say(s, packages[i], "%s%s%s", have, strcmp(have, pin[i]) ? ", tested with " : "",
                strcmp(have, pin[i]) ? pin[i] : "");
        if (s == OK) continue;
        d->has_worker = 0;
        need(d, KP_DEVICE, "%s has no %s %s", d->python, packages[i], pin[i]);
    }
}

static void check_roms(doctor *d) {
    char dir[900], path[1024];
    kp_err err = { "" };
    int n = kp_games_n(), n_intact = 0, n_missing = 0, n_altered = 0;
    if (!d->rom_dir && kp_game_rom_dir(d->python, dir, sizeof dir, NULL)) {
        say(MISSING, "ROMs",
            "ale-py brings them; or put NAME.bin into a folder and name it in env.rom_dir");
        need(d, KP_BAD_DATA, "no ROMs");
        return;
    }
    if (d->rom_dir) snprintf(dir, sizeof dir, "%s", d->rom_dir);
    for (int i = 0; i < n; i++) {
        kp_err one = { "" };
        const char *name = kp_games_at(i)->name;
        if (!kp_game_rom_check(name, dir, path, sizeof path, &one)) {
            if (!d->game || !strcmp(name, "pong")) d->game = name;
            n_intact++;
        } else if (kp_file_exists(path)) {
            if (!n_altered++) err = one;
        } else {
            n_missing++;
        }
    }
    if (n_intact) say(OK, "ROMs", "%d of %d games, in %s", n_intact, n, dir);
    if (n_missing)
        say(MISSING, "ROMs",
            "%d of %d games have none in %s; kappa list games names them, and pip install ale-py "
            "brings all",
            n_missing, n, dir);
    if (n_altered)
        say(WRONG, "ROMs", "%s%s", err.text,
            n_altered > 1 ? "; kappa list games has the others" : "");
    if (!n_intact || n_altered)
        need(d, KP_BAD_DATA, n_altered ? "%d altered ROM%s in %s" : "%d intact ROM%s in %s",
             n_altered, n_altered == 1 ? "" : "s", dir);
}

/* One second of a game by a worker, as training plays it. */
static void check_emulator(doctor *d) {
    kp_env_options o = { .game = d->game,
                         .python = d->python,
                         .rom_dir = d->rom_dir,
                         .n_envs = 1,
                         .n_workers = 1,
                         .stream = KP_STREAM_ENV,
                         .rules = { .preprocess = KP_PREPROCESS_DOPAMINE,
                                    .frame_skip = 4,
                                    .sticky = 0.25,
                                    .max_agent_steps = 27000 } };
    kp_env *env = NULL;
    kp_err err = { "" };
    if (!d->has_worker || !d->game) {
        say(MISSING, "emulator", "not tried: it needs what is missing above");
        return;
    }
    kp_status st = kp_env_open(&env, &o, &err);
    if (!st) st = kp_env_reset(env, 0, 0, NULL, &err);
    int64_t steps = 0;
    double start = kp_now_s(), took = 0;
    for (; !st && took < 1; took = kp_now_s() - start) {
        kp_env_result result;
        int action = (int)(steps % kp_env_n_actions(env));
        st = kp_env_step(env, &action, &result, &err);
        steps += !st;
    }
    kp_env_close(env);
    if (st) {
        say(WRONG, "emulator", "%s", err.text);
        need(d, st, "%s", err.text);
    } else {
        say(OK, "emulator", "%s: %.0f agent steps a second, one worker", d->game,
            (double)steps / took);
    }
}

/* Read whole, so that a damaged file is found here and not by a run. No set is needed for games. */
static void check_data(doctor *d) {
    (void)d;
    for (int i = 0; i < kp_n_data_sets(); i++) {
        const char *name = kp_data_set_at(i)->name;
        char found[KP_PATH];
        kp_data *data = NULL;
        kp_err err = { "" };
        kp_status st = kp_data_where(name, "", found, sizeof found, &err);
        if (st == KP_BAD_CONFIG) continue; /* custom: only data.dir can say */
        if (st) say(MISSING, "data", "%s: %s", name, err.text);
        else if (kp_data_open(&data, &(kp_data_options){ .set = name, .dir = "" }, &err))
            say(WRONG, "data", "%s: %s", name, err.text);
        else
            say(OK, "data", "%s: %d samples of %d, %d classes, in %s", name, data->n,
                data->n_inputs, data->n_classes, found);
        kp_data_close(data);
    }
}

static void check_gnuplot(doctor *d) {
    char text[64];
    (void)d;
    if (output_of((const char *[]){ "gnuplot", "--version", NULL }, text, sizeof text))
        say(MISSING, "gnuplot",
            "tables and CSV are written, curves are not drawn: apt install gnuplot-nox");
    else say(OK, "gnuplot", "%s", strncmp(text, "gnuplot ", 8) ? text : text + 8);
}

/* Runs go to runs/ below the current folder. */
static void check_folder(doctor *d) {
    struct statvfs disk;
    kp_err err = { "" };
    char name[] = "kappa-doctor-XXXXXX", byte = 0;
    int fd = mkstemp(name);
    kp_status st = fd < 0 ? kp_storage_fail(&err, "this folder", "write")
                          : kp_file_put(fd, name, &byte, 1, &err);
    if (fd >= 0) close(fd), unlink(name);
    if (st) {
        say(WRONG, "folder", "%s; go where you may write, or set run.dir", err.text);
        need(d, st, "%s", err.text);
        return;
    }
    if (statvfs(".", &disk)) memset(&disk, 0, sizeof disk);
    say(OK, "folder",
        "writable, %.1f GiB free; a checkpoint holds the replay buffer, compressed (checkpoint.replay)",
        (double)disk.f_bavail * (double)disk.f_frsize / GIB);
}

static void (*const checks[])(doctor *d) = {
    check_processor, check_memory,   check_cpu,  check_cuda,    check_python,
    check_roms,      check_emulator, check_data, check_gnuplot, check_folder,
};

static kp_status run(int argc, char **argv, kp_err *err) {
    doctor d = { .python = kp_env_python() };
    kp_status st = kp_take_option(&argc, argv, "--python", &d.python, err);
    if (!st) st = kp_take_option(&argc, argv, "--rom-dir", &d.rom_dir, err);
    if (!st) st = kp_no_more_options(argc, argv, "doctor", err);
    if (!st && argc)
        st = kp_fail(err, KP_BAD_CONFIG,
                     "doctor: %s is one argument too many; see kappa doctor --help", argv[0]);
    if (st) return st;
    printf("kappa %s\n\n", KP_VERSION);
    for (size_t i = 0; i < sizeof checks / sizeof *checks; i++) checks[i](&d);
    putchar('\n');
    kp_print_wrapped(
        0,
        "Not needed: TensorFlow, TensorBoard (log.tensorboard=true writes event files without).");
    if (d.st) return kp_fail(err, d.st, "doctor: training cannot start here: %s", d.why.text);
    printf("Training on the CPU works here: kappa train dqn-dopamine env.game=%s\n", d.game);
    return KP_OK;
}

const kp_command kp_command_doctor = {
    .name = "doctor",
    .what = "what this machine has, what works, what is missing and how to get it",
    .run = run,
    .help = "usage: kappa doctor [--python P] [--rom-dir DIR]\n\n"
            "Each line is ok, missing or wrong, with what to do; a game is played for a\n"
            "second. Exits with 0 where training on the CPU works, else with the code of what\n"
            "stands in its way: 3 ROMs, 4 Python or a worker, 6 this folder.\n\n"
            "  --python P     the interpreter to look at (else KAPPA_PYTHON, build/venv,\n"
            "                 python3)\n"
            "  --rom-dir DIR  look for ROMs there, as env.rom_dir does\n\n"
            "example: kappa doctor\n",
};
