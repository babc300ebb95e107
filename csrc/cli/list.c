/* list.c: `kappa list`. A kind of thing to list is one function and one row of the table below. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "bench.h"
#include "cli.h"
#include "config/config.h"
#include "data/data.h"
#include "env/env.h"
#include "env/games.h"
#include "terminal.h"

typedef struct {
    const char *python, *rom_dir; /* rom_dir NULL: the ROMs of ale-py */
} options;

enum { NAME = 18 }; /* width of names before their meaning */

static void print_named(const char *name, const char *what) {
    int n = printf("  %-*s", NAME, name);
    kp_print_wrapped(n, what);
}

/* The comment at the top of a preset, as one line. */
static void first_comment(const char *yaml, char *text, size_t size) {
    size_t n = 0;
    *text = 0;
    for (; *yaml == '#'; yaml += strcspn(yaml, "\n"), yaml += *yaml == '\n') {
        const char *line = yaml + 1 + (yaml[1] == ' ');
        n += (size_t)snprintf(text + n, size - n, "%s%.*s", n ? " " : "", (int)strcspn(line, "\n"),
                              line);
        if (n >= size) return;
    }
}

static kp_status list_presets(const options *o, kp_err *err) {
    (void)o, (void)err;
    for (int i = 0; i < kp_n_presets(); i++) {
        char text[512];
        first_comment(kp_preset_at(i)->text, text, sizeof text);
        print_named(kp_preset_at(i)->name, text);
    }
    return KP_OK;
}

static kp_status list_data(const options *o, kp_err *err) {
    (void)o, (void)err;
    for (int i = 0; i < kp_n_data_sets(); i++) {
        const kp_data_set *set = kp_data_set_at(i);
        char found[KP_PATH], text[2 * KP_PATH];
        kp_err why = { "" };
        kp_status st = kp_data_where(set->name, "", found, sizeof found, &why);
        if (!st) snprintf(text, sizeof text, "%s; in %s", set->what, found);
        else if (st == KP_BAD_CONFIG) snprintf(text, sizeof text, "%s; %s", set->what, set->how);
        else snprintf(text, sizeof text, "%s; missing: %s", set->what, why.text);
        print_named(set->name, text);
    }
    return KP_OK;
}

static kp_status list_rules(const options *o, kp_err *err) {
    static const char *const what[][2] = {
        { "adam", "Adam; optim.beta1, beta2, eps" },
        { "madam", "multiplicative Adam; optim.beta2, madam_scale" },
        { "upgd", "utility-based perturbed gradient descent; optim.upgd.*, weight_decay" },
        { "adaupgd", "the same with Adam's direction; optim.beta1, beta2, eps too" },
        { "adamw", "Adam with decoupled weight decay, optim.weight_decay" },
        { "sgd", "gradient descent; optim.momentum" },
        { "rmsprop", "RMSProp; optim.beta2, eps, momentum, centered" },
    };
    (void)o, (void)err;
    char names[128], *at = names;
    snprintf(names, sizeof names, "%s", kp_key_at(kp_key_find("optim.rule"))->names);
    for (char *name; (name = strsep(&at, "|"));) {
        const char *text = "";
        for (size_t i = 0; i < sizeof what / sizeof *what; i++)
            if (!strcmp(what[i][0], name)) text = what[i][1];
        print_named(name, text);
    }
    printf("  each with the weight clip in the same pass: optim.rule=sgd optim.clip.kappa=2\n");
    return KP_OK;
}

static kp_status list_keys(const options *o, kp_err *err) {
    (void)o, (void)err;
    for (int i = 0; i < kp_n_keys(); i++) {
        int n = printf("  %-28s ", kp_key_at(i)->key);
        kp_print_wrapped(n, kp_key_at(i)->help);
    }
    return KP_OK;
}

static kp_status list_benchmarks(const options *o, kp_err *err) {
    (void)o, (void)err;
    for (const kp_bench_row *row = kp_bench_table; row->name; row++)
        print_named(row->name, row->what);
    return KP_OK;
}

typedef enum { PRESENT, MISSING, ALTERED, UNKNOWN, N_STATES } rom_state;

/* Down the columns, as a reader goes through the alphabet. */
static void print_games(const rom_state *state) {
    static const char *const words[] = { "present", "missing", "altered", "unknown" };
    static const char marks[] = { ' ', '-', '!', ' ' };
    int n = kp_games_n(), widest = 0, columns = kp_terminal_columns();
    for (int i = 0; i < n; i++) {
        int w = (int)strlen(kp_games_at(i)->name);
        if (w > widest) widest = w;
    }
    int across = columns / (widest + 4);
    if (across < 1) across = 1;
    int down = (n + across - 1) / across;
    for (int row = 0; columns && row < down; row++) {
        for (int i = row; i < n; i += down)
            printf("%s%c %-*s", i == row ? "" : "  ", marks[state[i]], i + down < n ? widest : 0,
                   kp_games_at(i)->name);
        putchar('\n');
    }
    for (int i = 0; !columns && i < n; i++)
        printf("  %-*s %s\n", widest, kp_games_at(i)->name, words[state[i]]);
}

static kp_status list_games(const options *o, kp_err *err) {
    char dir[900], path[1024];
    int n = kp_games_n(), count[N_STATES] = { 0 };
    rom_state *state = calloc((size_t)n, sizeof *state);
    char(*wrong)[512] = calloc((size_t)n, sizeof *wrong);
    kp_status st = KP_OK;
    if (!state || !wrong) {
        st = kp_fail(err, KP_BAD_CONFIG, "list: out of memory");
        goto out;
    }
    if (o->rom_dir) snprintf(dir, sizeof dir, "%s", o->rom_dir);
    else st = kp_game_rom_dir(o->python, dir, sizeof dir, err);
    for (int i = 0; i < n; i++) {
        kp_err one = { "" };
        kp_status rom = st ? st
                           : kp_game_rom_check(kp_games_at(i)->name, dir, path, sizeof path, &one);
        state[i] = st ? UNKNOWN : !rom ? PRESENT : kp_file_exists(path) ? ALTERED : MISSING;
        if (state[i] == ALTERED) memcpy(wrong[i], one.text, sizeof one.text);
        count[state[i]]++;
    }
    print_games(state);
    if (st) {
        printf("%d games; ROMs not looked for\n", n);
        goto out;
    }
    printf("%d games; %d ROMs present and intact", n, count[PRESENT]);
    if (count[MISSING]) printf(", %d missing (-)", count[MISSING]);
    if (count[ALTERED]) printf(", %d altered (!)", count[ALTERED]);
    printf(", in %s\n", dir);
    for (int i = 0; i < n; i++)
        if (*wrong[i]) puts(wrong[i]);
out:
    free(state);
    free(wrong);
    return st;
}

static const struct {
    const char *name, *title;
    kp_status (*list)(const options *o, kp_err *err);
    int if_asked; /* too long unless it is asked for */
} kinds[] = {
    { "presets", "presets: kappa train PRESET", list_presets, 0 },
    { "games", "games: env.game=NAME", list_games, 0 },
    { "data", "data sets: data.set=NAME data.dir=FOLDER", list_data, 0 },
    { "rules", "update rules: optim.rule=NAME", list_rules, 0 },
    { "benchmarks", "benchmarks: kappa bench NAME", list_benchmarks, 0 },
    { "keys", "keys: KEY=VALUE after the preset", list_keys, 1 },
};
enum { N_KINDS = sizeof kinds / sizeof *kinds };

static kp_status check_kind(const char *name, kp_err *err) {
    for (int i = 0; i < N_KINDS; i++)
        if (!strcmp(kinds[i].name, name)) return KP_OK;
    return kp_fail(
        err, KP_BAD_CONFIG,
        "list: %s is nothing to list; there are presets, games, data, rules, benchmarks and keys",
        name);
}

static kp_status run(int argc, char **argv, kp_err *err) {
    options o = { kp_env_python(), NULL };
    kp_status st = kp_take_option(&argc, argv, "--python", &o.python, err);
    if (!st) st = kp_take_option(&argc, argv, "--rom-dir", &o.rom_dir, err);
    if (!st) st = kp_no_more_options(argc, argv, "list", err);
    for (int i = 0; i < argc && !st; i++) st = check_kind(argv[i], err);
    int shown = 0;
    for (int i = 0; i < N_KINDS && !st; i++) {
        int wanted = !argc && !kinds[i].if_asked;
        for (int a = 0; a < argc; a++) wanted |= !strcmp(argv[a], kinds[i].name);
        if (!wanted) continue;
        if (argc != 1) printf("%s%s\n", shown++ ? "\n" : "", kinds[i].title);
        st = kinds[i].list(&o, err);
    }
    return st;
}

const kp_command kp_command_list = {
    .name = "list",
    .what = "presets, games and their ROMs, data sets, update rules, benchmarks, keys",
    .run = run,
    .help = "usage: kappa list [presets|games|data|rules|benchmarks|keys ...]\n"
            "                  [--rom-dir DIR] [--python P]\n\n"
            "All but the keys if nothing is named.\n\n"
            "  --rom-dir DIR  look for ROMs (NAME.bin) there, as env.rom_dir does\n"
            "  --python P     look for the ROMs of this interpreter's ale-py\n\n"
            "example: kappa list games\n",
};
