/* commands.c: usage, exit codes and messages of the program, and the commands that only look. */
#include "program.h"

#include <stdlib.h>

#include "base/files.h"
#include "config/config.h"
#include "data/data.h"
#include "env/games.h"
#include "scratch.h"

static const char *const commands[] = { "report", "config", "list", "doctor", "bench", "eval" };

Test(commands, help_shows_an_example) {
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        for (int at = 0; at < 2; at++) {
            const char *first = at ? "--json" : "--help",
                       *second = at ? "-h" : NULL; /* wherever it stands */
            const program_said *p = program(
                (const char *const[]){ commands[i], first, second, NULL });
            char want[64];
            cr_expect(p->code == 0 && !*p->err, "%s: %d %s", commands[i], p->code, p->err);
            snprintf(want, sizeof want, "usage: kappa %s", commands[i]);
            cr_expect(!strncmp(p->out, want, strlen(want)), "%s", p->out);
            snprintf(want, sizeof want, "\nexample: kappa %s", commands[i]);
            cr_expect(strstr(p->out, want), "%s", p->out);
            for (const char *line = p->out; *line;
                 line += strcspn(line, "\n"), line += *line == '\n')
                cr_expect(strcspn(line, "\n") <= 80, "%s: too long for a terminal: %.100s",
                          commands[i], line);
        }
}

Test(commands, the_program_names_its_commands) {
    const program_said *p = PROGRAM("--help");
    cr_expect(p->code == 0 && !*p->err);
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        cr_expect(strstr(p->out, commands[i]), "no %s in: %s", commands[i], p->out);
    p = PROGRAM("--version");
    cr_expect(p->code == 0 && !strncmp(p->out, "kappa ", 6), "%s", p->out);
}

Test(commands, what_is_wrong_is_said_on_one_line_with_its_exit_code) {
    static const struct {
        const char *argument[5];
        int code;
        const char *says;
    } cases[] = {
        { { "docto" }, 2, "docto is not a command; see kappa --help" },
        { { "doctor", "--jsn" },
          2,
          "--jsn is not an option of `kappa doctor`; see kappa doctor --help" },
        { { "doctor", "now" }, 2, "now is one argument too many" },
        { { "list", "games", "--roms" }, 2, "--roms is not an option of `kappa list`" },
        { { "list", "games", "--rom-dir" }, 2, "--rom-dir needs a value" },
        { { "list", "gams" },
          2,
          "gams is nothing to list; there are presets, games, data, rules, benchmarks and keys" },
        { { "list", "games", "--python", "/bin/false" },
          4,
          "/bin/false: no ale_py; pip install ale-py" },
        { { "config" }, 2, "name a preset or a file first" },
        { { "config", "seed=1" }, 2, "name a preset or a file first" },
        { { "config", "dqn-dopamine", "--all" }, 2, "--all is not an option of `kappa config`" },
        { { "config", "dqn-dopamine", "optim.clip.kapa=2" },
          2,
          "optim.clip.kapa is not a key; did you mean optim.clip.kappa?" },
        { { "config", "dqn-dopamine", "optim.clip.kappa=0" },
          2,
          "optim.clip.kappa: seen '0', expected none" },
        { { "config", "dqn-dopamine", "seed" }, 2, "seed: expected key=value" },
        { { "config", "dqn-dopamin" }, 2, "neither a preset (dqn-dopamine, " },
        { { "config", "/nowhere/x.yaml" }, 6, "/nowhere/x.yaml: cannot be read" },
        { { "config", KP_SOURCE_DIR "/experiments/quickstart.yaml" }, 2, "kappa sweep " },
        { { "config", "--reference", "dqn-dopamine" }, 2, "--reference is about every key" },
        { { "report" }, 2, "name runs or folders of runs" },
        { { "report", "--format=html" }, 2, "--format=html is not an option of `kappa report`" },
        { { "report", "x", "-o" }, 2, "-o needs a value" },
        { { "report", "/nowhere" }, 6, "/nowhere: " },
        { { "eval" }, 2, "name a run's directory" },
        { { "eval", "/nowhere" }, 2, "/nowhere: there is no such folder" },
        { { "eval", "x", "--episodes", "ten" },
          2,
          "--episodes ten: expected a number from 1 to 10000" },
        { { "eval", "x", "--checkpoint" }, 2, "--checkpoint needs a value" },
        { { "bench", "adam_clips" },
          2,
          "adam_clips is not a benchmark; see kappa list benchmarks" },
        { { "bench", "--threads=two" },
          2,
          "--threads: seen 'two', expected a whole number, 1 to 1024" },
        { { "bench", "dqn_update", "device=cuda" },
          2,
          "dqn_update is measured on the CPU only, adam_clip on both" },
        { { "bench", "device=gpu" }, 2, "device: 'gpu' is not auto, cpu, cuda or cuda:N" },
        { { "bench", "adam_clip", "device=cuda:1023" }, 4, "device cuda:1023: " },
        { { "bench", "--model" }, 2, "--model is of adam_clip" },
        { { "bench", "--peers", "--peer-dir", "/nowhere" },
          3,
          "/nowhere is not there; --peer-dir names" },
        { { "bench", "--peers", "--python", "/bin/false" }, 4, "check.py failed under /bin/false" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const program_said *p = program(cases[i].argument);
        cr_expect_eq(p->code, cases[i].code, "%s: exit code %d", cases[i].says, p->code);
        cr_expect(!strncmp(p->err, "kappa: ", 7) && strstr(p->err, cases[i].says),
                  "\"%s\" not in: %s", cases[i].says, p->err);
        cr_expect(strchr(p->err, '\n') == p->err + strlen(p->err) - 1, "more than a line: %s",
                  p->err);
    }
}

Test(commands, the_model_of_adam_clip_knows_three_gpus) {
    static const char *const gpus[] = { "A100 80 GB SXM", "H100 SXM", "B200" };
    const program_said *p = PROGRAM("bench", "adam_clip", "--model");
    cr_assert(p->code == 0 && !*p->err, "%d %s", p->code, p->err);
    cr_expect(strstr(p->out, "28 bytes a parameter"), "%s", p->out);
    for (size_t i = 0; i < sizeof gpus / sizeof *gpus; i++) {
        const char *row = strstr(p->out, gpus[i]);
        cr_assert(row, "no %s in: %s", gpus[i], p->out);
        cr_expect(strstr(row, "memory, issue takes "), "%s", row);
    }
    /* 50M parameters of 28 bytes at 3,350 GB/s */
    cr_expect(strstr(p->out, "    3350     417.9     449.4 "), "%s", p->out);

    p = PROGRAM("bench", "adam_clip", "--model", "--json");
    cr_assert_eq(p->code, 0, "%s", p->err);
    for (size_t i = 0; i < sizeof gpus / sizeof *gpus; i++)
        cr_expect(strstr(p->out, gpus[i]), "%s", p->out);
    p = PROGRAM("bench", "--help");
    cr_expect(strstr(p->out, "device=D") && strstr(p->out, "--model"), "%s", p->out);
}

Test(commands, a_printed_configuration_is_the_same_configuration) {
    char folder[KP_PATH], path[KP_PATH];
    scratch_folder(folder);
    kp_path_join(path, folder, "again.yaml", NULL);
    static const char *const explain[] = { NULL, "--explain" };
    for (int i = 0; i < 2; i++) {
        const char *const arguments[] = {
            "config", "dqn-paper", "optim.clip.kappa={hidden: 5, output: 1.5}",
            "seed=7", explain[i],  NULL
        };
        const program_said *p = program(arguments);
        kp_config want, got;
        kp_err err = { "" };
        cr_assert_eq(p->code, 0, "%s", p->err);
        cr_expect(strstr(p->out, "kappa: {hidden: 5, output: 1.5}  # command line\n"), "%s",
                  p->out);
        cr_expect(strstr(p->out, "rule: adam  # preset dqn-tianshou\n"));
        cr_expect(!!strstr(p->out, "# Step size.\n") == i,
                  "--explain says what a key means, and only that");
        cr_assert_eq(kp_file_write(path, p->out, strlen(p->out), &err), KP_OK, "%s", err.text);
        cr_assert_eq(kp_config_load(&want, NULL, "dqn-paper", 2, arguments + 2, &err), KP_OK);
        cr_assert_eq(kp_config_load(&got, NULL, path, 0, NULL, &err), KP_OK, "%s", err.text);
        for (int k = 0; k < kp_n_keys(); k++)
            cr_expect(kp_config_same(&got, &want, k), "%s", kp_key_at(k)->key);
    }
    kp_folder_remove(folder, NULL);
}

Test(commands, the_reference_page_is_of_today) {
    const program_said *p = PROGRAM("config", "--reference");
    uint8_t *page = NULL;
    size_t n;
    kp_err err = { "" };
    cr_assert_eq(p->code, 0, "%s", p->err);
    for (int k = 0; k < kp_n_keys(); k++)
        cr_expect(strstr(p->out, kp_key_at(k)->key), "%s", kp_key_at(k)->key);
    cr_assert_eq(kp_file_read(KP_SOURCE_DIR "/docs/configuration.md", &page, &n, &err), KP_OK, "%s",
                 err.text);
    cr_expect(!strcmp((char *)page, p->out),
              "stale: kappa config --reference > docs/configuration.md");
    free(page);
}

Test(commands, list_names_everything_there_is) {
    const program_said *p = PROGRAM("list", "presets", "rules", "keys", "benchmarks");
    cr_assert_eq(p->code, 0, "%s", p->err);
    for (int i = 0; i < kp_n_presets(); i++)
        cr_expect(strstr(p->out, kp_preset_at(i)->name), "%s", p->out);
    for (int k = 0; k < kp_n_keys(); k++)
        cr_expect(strstr(p->out, kp_key_at(k)->key), "%s", kp_key_at(k)->key);
    cr_expect(strstr(p->out, "adam_clip"));
    char names[128], line[64], *at = names;
    snprintf(names, sizeof names, "%s", kp_key_at(kp_key_find("optim.rule"))->names);
    for (char *name; (name = strsep(&at, "|"));) { /* each with a meaning */
        snprintf(line, sizeof line, "\n  %-18s", name);
        const char *found = strstr(p->out, line);
        cr_expect(found && found[strlen(line)] > ' ', "no meaning of %s in: %s", name, p->out);
    }
}

Test(commands, list_tells_where_data_sets_are) {
    char folder[KP_PATH], set[KP_PATH], want[2 * KP_PATH];
    scratch_folder(folder);
    kp_path_join(set, folder, "emnist-balanced", NULL);
    kp_folder_make(set, NULL);
    setenv("KAPPA_DATA", folder, 1);
    const program_said *p = PROGRAM("list", "data");
    cr_expect_eq(p->code, 0, "%s", p->err);
    for (int i = 0; i < kp_n_data_sets(); i++)
        cr_expect(strstr(p->out, kp_data_set_at(i)->name), "%s", p->out);
    snprintf(want, sizeof want, "47 classes; missing: not in %s, ", set);
    cr_expect(strstr(p->out, want), "\"%s\" not in: %s", want, p->out);
    cr_expect(strstr(p->out, "; in /usr/share/datasets/fashion-mnist\n"), "%s", p->out);
    static const char *const files[] = { "emnist-balanced-train-images-idx3-ubyte.gz",
                                         "emnist-balanced-train-labels-idx1-ubyte" };
    for (int i = 0; i < 2; i++) {
        char path[KP_PATH];
        kp_path_join(path, set, files[i], NULL);
        cr_assert_eq(kp_file_write(path, "x", 1, NULL), KP_OK);
    }
    p = PROGRAM("list", "data");
    snprintf(want, sizeof want, "47 classes; in %s\n", set);
    cr_expect(strstr(p->out, want), "\"%s\" not in: %s", want, p->out);
    kp_folder_remove(folder, NULL);
}

Test(commands, list_tells_present_from_missing_and_altered_roms) {
    char folder[KP_PATH], rom[KP_PATH], want[2 * KP_PATH + 160];
    scratch_folder(folder);
    kp_path_join(rom, folder, "pong.bin", NULL);
    cr_assert_eq(kp_file_write(rom, "not a ROM", 9, NULL), KP_OK);
    const program_said *p = PROGRAM("list", "games", "--rom-dir", folder);
    cr_expect_eq(p->code, 0, "%s", p->err);
    cr_expect(strstr(p->out, "  pong              altered\n") &&
                  strstr(p->out, "  qbert             missing\n"),
              "%s", p->out);
    snprintf(
        want, sizeof want,
        "%d games; 0 ROMs present and intact, %d missing (-), 1 altered (!), in %s\n%s: altered ROM, MD5 ",
        kp_games_n(), kp_games_n() - 1, folder, rom);
    cr_expect(strstr(p->out, want), "\"%s\" not in: %s", want, p->out);
    kp_folder_remove(folder, NULL);
}

/* Some of it fits a buffer, and what is lost then is not said by the last flush. */
Test(commands, output_that_is_lost_is_told) {
    char folder[KP_PATH], said[KP_PATH + 8], command[2 * KP_PATH];
    scratch_folder(folder);
    snprintf(said, sizeof said, "%s/said", folder);
    snprintf(command, sizeof command, KP_PROGRAM " config --reference > /dev/full 2> %s", said);
    int rc = system(command);
    char *text = scratch_text(said);
    cr_expect(WIFEXITED(rc) && WEXITSTATUS(rc) == 6, "%d: %s", rc, text);
    cr_expect(strstr(text, "standard output cannot be written"), "%s", text);
    free(text);
    kp_folder_remove(folder, NULL);
}
