/* experiments.c: every file of experiments/ loads, plans and begins with its question. Nothing is
 * trained. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <stdlib.h>
#include <string.h>

#include "config/settings.h"
#include "scratch.h"
#include "sweep/sweep.h"

enum { MOST_PLANNED = 1000 };

static const struct {
    const char *file;
    int runs, methods; /* runs 0: no study; methods 0: a grid alone */
} experiments[] = {
    { "atari_replay_ratio.yaml", 900, 0 },
    { "atari_replay_ratio_small.yaml", 8, 0 },
    { "input_permuted_fashion.yaml", 180, 9 },
    { "input_permuted_mnist.yaml", 4260, 11 },
    { "label_permuted_emnist.yaml", 8080, 11 },
    { "label_permuted_mini_imagenet.yaml", 8080, 11 },
    { "pong.yaml", 0, 0 },
    { "quickstart.yaml", 8, 0 },
    { "streaming_demo.yaml", 28, 7 },
};

static int n_methods(const kp_study *s) {
    int n = *s->run->run.method != 0;
    for (int i = 1; i < s->n; i++) n += strcmp(s->run[i].run.method, s->run[i - 1].run.method) != 0;
    return n;
}

Test(experiments, all_load_and_plan) {
    char home[KP_PATH], path[KP_PATH];
    scratch_folder(home);
    for (size_t i = 0; i < sizeof experiments / sizeof *experiments; i++) {
        kp_study study;
        kp_sweep sweep;
        kp_config c;
        kp_err err = { "" };
        snprintf(path, sizeof path, KP_SOURCE_DIR "/experiments/%s", experiments[i].file);
        if (!experiments[i].runs) {
            cr_expect(!kp_config_load(&c, NULL, path, 0, NULL, &err), "%s", err.text);
            continue;
        }
        cr_assert(!kp_study_load(&study, path, &err), "%s", err.text);
        cr_expect(study.n == experiments[i].runs && n_methods(&study) == experiments[i].methods,
                  "%s: %d runs of %d methods", experiments[i].file, study.n, n_methods(&study));
        if (study.n > MOST_PLANNED) { /* as the others, but slow */
            kp_study_free(&study);
            continue;
        }
        cr_assert(!kp_sweep_plan(&sweep, &study, home, 0, &err), "%s", err.text);
        int P = 0;
        for (int p = 0; p < sweep.n; p++) P += sweep.population[p].P;
        cr_expect(P == study.n, "%s: %d of %d runs are planned", experiments[i].file, P, study.n);
        kp_sweep_free(&sweep);
        kp_study_free(&study);
    }
    kp_folder_remove(home, NULL);
}

Test(experiments, all_are_known_here_and_begin_with_a_question) {
    struct dirent *entry;
    DIR *dir = opendir(KP_SOURCE_DIR "/experiments");
    size_t n = 0;
    cr_assert(dir);
    while ((entry = readdir(dir))) {
        char path[KP_PATH], *text = NULL;
        size_t length = strlen(entry->d_name), known = 0;
        if (length < 6 || strcmp(entry->d_name + length - 5, ".yaml")) continue;
        for (size_t i = 0; i < sizeof experiments / sizeof *experiments; i++)
            known += !strcmp(experiments[i].file, entry->d_name);
        cr_expect(known == 1, "%s is not in the table", entry->d_name);
        snprintf(path, sizeof path, KP_SOURCE_DIR "/experiments/%s", entry->d_name);
        cr_assert(!kp_text_read(&text, path, NULL));
        char *question = strchr(text, '?'), *end = strchr(text, '\n');
        cr_expect(text[0] == '#' && question && question < end, "%s asks nothing", entry->d_name);
        free(text);
        n++;
    }
    closedir(dir);
    cr_expect(n == sizeof experiments / sizeof *experiments, "%zu files", n);
}
