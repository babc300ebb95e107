/* files.c: plans in files, and choosing by time, which files keep. */
#include <jansson.h>
#include <math.h>
#include <string.h>
#include <xxhash.h>

#include "cudnn_case.h"

/* ---- files ---------------------------------------------------------------------------------- */

static void write_text(const char *path, const char *text, size_t n) {
    kp_err err = { "" };
    cr_assert_eq(kp_file_write(path, text, n, &err), KP_OK, "%s", err.text);
}

static void path_of(char path[KP_PATH], const kp_conv_plan *p, const kp_cudnn *cudnn) {
    kp_err err = { "" };
    cr_assert_eq(kp_conv_plan_path(path, p, cudnn, cudnn->folder[1], &err), KP_OK, "%s", err.text);
}

typedef enum { CUT, EMPTY, NOT_JSON, NO_OBJECT, ENGINE, KEY, TIME, NO_SUM, A100, GRADIENT } damage;

static const struct {
    damage how;
    const char *says; /* in the warning */
} damages[] = {
    { CUT, "not JSON" },        { EMPTY, "not JSON" },   { NOT_JSON, "not JSON" },
    { NO_OBJECT, "plan file" }, { ENGINE, "damaged" },   { KEY, "damaged" },
    { TIME, "damaged" },        { NO_SUM, "plan file" }, { A100, "A100" },
    { GRADIENT, "gradient" },
};

static void replace(char *text, const char *from, const char *to) {
    char *at = strstr(text, from);
    cr_assert(at && strlen(from) == strlen(to), "%s", from);
    memcpy(at, to, strlen(to));
}

/* Puts what the damage says at path, where a good file is. */
static void spoil(damage how, const char *path, const char *of_a100, const char *of_gradient) {
    char *text = scratch_text(path);
    size_t n = strlen(text);
    switch (how) {
    case CUT: write_text(path, text, n / 2); break;
    case EMPTY: write_text(path, "", 0); break;
    case NOT_JSON: write_text(path, "plan", 4); break;
    case NO_OBJECT: write_text(path, "[1]", 3); break;
    case ENGINE: {
        char *digit = strstr(text, "engineId") + strlen("engineId\\\":");
        *digit = *digit == '1' ? '2' : '1';
        break;
    }
    case KEY: replace(text, "stride 2", "stride 1"); break;
    case TIME: replace(text, "null", "0.10"); break;
    case NO_SUM: replace(text, "\"xxh64\"", "\"xxh65\""); break;
    case A100:
    case GRADIENT: free(text), text = scratch_text(how == A100 ? of_a100 : of_gradient); break;
    }
    if (how >= ENGINE) write_text(path, text, strlen(text));
    free(text);
}

static void expect_equal_plans(const kp_conv_plan *a, const kp_conv_plan *b) {
    cr_assert_eq(a->n, b->n);
    for (int i = 0; i < a->n; i++) cr_expect_str_eq(a->choice[i].json, b->choice[i].json);
}

Test(cudnn_files, damaged_and_foreign_files_are_made_again) {
    char folder[KP_PATH], path[KP_PATH], of_a100[KP_PATH], of_gradient[KP_PATH];
    kp_err err = { "" };
    cudnn_warnings w = { 0 };
    kp_cudnn_conv forward = cudnn_conv2(KP_CUDNN_FORWARD),
                  data = cudnn_conv2(KP_CUDNN_BACKWARD_DATA);
    scratch_folder(folder);
    kp_cudnn *a100 = cudnn_open("a100", folder, KP_CUDNN_WORKSPACE, &w);
    kp_cudnn *h100 = cudnn_open("h100", folder, KP_CUDNN_WORKSPACE, &w);
    const kp_conv_plan *good = cudnn_plan(h100, &forward);
    path_of(path, good, h100);
    path_of(of_a100, cudnn_plan(a100, &forward), a100);
    path_of(of_gradient, cudnn_plan(h100, &data), h100);
    cr_expect_eq(w.n, 0, "%s", w.last);
    for (size_t i = 0; i < KP_COUNT(damages); i++) {
        int how = (int)damages[i].how;
        cudnn_warnings first = { 0 }, second = { 0 };
        spoil(damages[i].how, path, of_a100, of_gradient);
        kp_cudnn *cudnn = cudnn_open("h100", folder, KP_CUDNN_WORKSPACE, &first);
        expect_equal_plans(cudnn_plan(cudnn, &forward), good);
        kp_cudnn_close(cudnn);
        cr_expect_eq(first.n, 1, "damage %d: %d warnings", how, first.n);
        cr_expect(strstr(first.last, path) && strstr(first.last, damages[i].says), "damage %d: %s",
                  how, first.last);
        cudnn = cudnn_open("h100", folder, KP_CUDNN_WORKSPACE, &second);
        cudnn_plan(cudnn, &forward);
        kp_cudnn_close(cudnn);
        cr_expect_eq(second.n, 0, "damage %d is not mended: %s", how, second.last);
    }
    kp_cudnn_close(a100);
    kp_cudnn_close(h100);
    cr_assert_eq(kp_folder_remove(folder, &err), KP_OK, "%s", err.text);
}

/* None of it, though its first candidate is good. */
Test(cudnn_files, a_file_with_a_bad_candidate_is_made_again) {
    char folder[KP_PATH], path[KP_PATH], sum[17];
    kp_err err = { "" };
    cudnn_warnings w = { 0 };
    kp_cudnn_conv conv = cudnn_conv2(KP_CUDNN_FORWARD);
    scratch_folder(folder);
    kp_cudnn *first = cudnn_open("h100", folder, KP_CUDNN_WORKSPACE, &w);
    const kp_conv_plan *good = cudnn_plan(first, &conv);
    path_of(path, good, first);
    json_t *root = json_load_file(path, 0, NULL);
    json_object_set_new(json_array_get(json_object_get(root, "candidates"), 1), "plan",
                        json_string("{}"));
    json_object_del(root, "xxh64");
    char *text = json_dumps(root, JSON_COMPACT | JSON_SORT_KEYS);
    snprintf(sum, sizeof sum, "%016llx", (unsigned long long)XXH64(text, strlen(text), 0));
    json_object_set_new(root, "xxh64", json_string(sum));
    cr_assert_eq(json_dump_file(root, path, 0), 0);
    kp_cudnn *second = cudnn_open("h100", folder, KP_CUDNN_WORKSPACE, &w);
    expect_equal_plans(cudnn_plan(second, &conv), good);
    cr_expect(w.n == 1 && strstr(w.last, "cudnnBackendFinalize"), "%d warnings: %s", w.n, w.last);
    kp_cudnn_close(first);
    kp_cudnn_close(second);
    free(text);
    json_decref(root);
    cr_assert_eq(kp_folder_remove(folder, &err), KP_OK, "%s", err.text);
}

/* Even with a sum that is right: cuDNN takes a plan with another engine for the same graph. */
Test(cudnn_files, a_plan_of_other_arithmetic_is_not_taken) {
    kp_cudnn *cudnn = cudnn_open("h100", NULL, KP_CUDNN_WORKSPACE, NULL);
    kp_cudnn_conv conv = cudnn_conv2(KP_CUDNN_FORWARD);
    const kp_conv_plan *p = cudnn_plan(cudnn, &conv);
    kp_conv_plan other = { .conv = conv, .text = "other" };
    int n_refused = 0;
    json_t *root = json_loads(p->choice[0].json, 0, NULL);
    for (int id = 0; id < 100; id++) {
        kp_err err = { "" };
        json_object_set_new(json_object_get(root, "engine"), "engineId", json_integer(id));
        char *json = json_dumps(root, JSON_COMPACT);
        if (kp_conv_plan_add(&other, cudnn, json, NAN, &err))
            n_refused += strstr(err.text, "computes otherwise") != NULL;
        kp_conv_plan_clear(&other, cudnn);
        free(json);
    }
    cr_expect(n_refused > 0, "cuDNN itself refuses all");
    json_decref(root);
    kp_cudnn_close(cudnn);
}

Test(cudnn_files, a_folder_that_cannot_be_written_is_said_and_does_no_harm) {
    char folder[KP_PATH], file[KP_PATH], below[KP_PATH];
    kp_err err = { "" };
    cudnn_warnings w = { 0 };
    kp_cudnn_conv conv = cudnn_conv2(KP_CUDNN_FORWARD);
    scratch_folder(folder);
    cr_assert_eq(kp_path_join(file, folder, "file", &err), KP_OK);
    cr_assert_eq(kp_path_join(below, file, "plans", &err), KP_OK);
    write_text(file, "", 0);
    kp_cudnn *cudnn = cudnn_open("h100", below, KP_CUDNN_WORKSPACE, &w);
    cudnn_plan(cudnn, &conv);
    cr_expect(w.n == 1 && strstr(w.last, file), "%d warnings, the last: %s", w.n, w.last);
    kp_cudnn_close(cudnn);
    cr_assert_eq(kp_folder_remove(folder, &err), KP_OK, "%s", err.text);
}

Test(cudnn_files, files_are_in_the_cache_folder) {
    char path[KP_PATH];
    setenv("XDG_CACHE_HOME", "/cache", 1);
    setenv("HOME", "/home/me", 1);
    cr_expect_str_eq(kp_cudnn_default_folder(path), "/cache/kappa/plans");
    setenv("XDG_CACHE_HOME", "relative", 1); /* which the specification has us ignore */
    cr_expect_str_eq(kp_cudnn_default_folder(path), "/home/me/.cache/kappa/plans");
    unsetenv("XDG_CACHE_HOME");
    unsetenv("HOME");
    cr_expect_null(kp_cudnn_default_folder(path));
    cr_expect_str_empty(path);
}

/* ---- choosing ------------------------------------------------------------------------------- */

/* A clock that was told the times: no device is here to take them from. NAN: that one fails. */
typedef struct {
    const float *ms;
    int at;
    size_t workspace[KP_CUDNN_CANDIDATES];
} told;

static kp_status tell(void *to, const kp_conv_plan *plan, float *ms, kp_err *err) {
    told *t = to;
    t->workspace[t->at] = kp_cudnn_workspace(plan);
    *ms = t->ms[t->at++];
    return isnan(*ms) ? kp_fail(err, KP_DEVICE, "no launch %d", t->at) : KP_OK;
}

Test(cudnn_files, the_fastest_candidate_is_chosen_and_kept) {
    static const float ms[KP_CUDNN_CANDIDATES] = { 3, NAN, 2, 9, 2, 8, NAN, 7 };
    static const int fastest[] = { 2, 4, 0, 7, 5, 3 };
    char folder[KP_PATH], *json[KP_CUDNN_CANDIDATES];
    size_t bytes[KP_CUDNN_CANDIDATES];
    int order[KP_COUNT(fastest)], n = 0;
    kp_err err = { "" };
    cudnn_warnings w = { 0 };
    kp_cudnn_conv conv = cudnn_conv2(KP_CUDNN_FORWARD);
    told t = { .ms = ms };
    scratch_folder(folder);
    kp_cudnn *cudnn = cudnn_open("h100", folder, KP_CUDNN_WORKSPACE, &w);
    kp_conv_plan *p = cudnn_plan(cudnn, &conv);
    const int all = p->n;
    cr_assert_geq(all, 3, "%d candidates are too few for this test", all);
    for (int i = 0; i < all; i++) {
        json[i] = strdup(p->choice[i].json);
        bytes[i] = kp_conv_plan_candidate(p, i)->workspace_bytes;
        cr_expect(isnan(kp_conv_plan_candidate(p, i)->ms), "measured already");
    }
    for (size_t i = 0; i < KP_COUNT(fastest); i++)
        if (fastest[i] < all) order[n++] = fastest[i];

    cr_assert_eq(kp_cudnn_choose(cudnn, p, tell, &t, &err), KP_OK, "%s", err.text);
    cr_expect(!memcmp(bytes, t.workspace, (size_t)all * sizeof *bytes), "another one was timed");
    for (int round = 0; round < 2; round++) { /* as chosen, then as read from the file */
        cr_assert_eq(kp_conv_plan_n_candidates(p), n, "%d", p->n);
        for (int i = 0; i < n; i++) {
            cr_expect_str_eq(p->choice[i].json, json[order[i]], "place %d", i);
            cr_expect(kp_conv_plan_candidate(p, i)->ms == ms[order[i]], "place %d", i);
        }
        cr_expect_eq(kp_cudnn_workspace(p), bytes[2]);
        kp_cudnn_close(cudnn);
        cudnn = cudnn_open("h100", folder, KP_CUDNN_WORKSPACE, &w);
        p = cudnn_plan(cudnn, &conv);
    }
    cr_expect_eq(w.n, 0, "%s", w.last);
    kp_cudnn_close(cudnn);
    for (int i = 0; i < all; i++) free(json[i]);
    cr_assert_eq(kp_folder_remove(folder, &err), KP_OK, "%s", err.text);
}

Test(cudnn_files, where_no_candidate_runs_the_error_is_the_callers) {
    static const float none[KP_CUDNN_CANDIDATES] = { NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN };
    kp_cudnn *cudnn = cudnn_open("a100", NULL, KP_CUDNN_WORKSPACE, NULL);
    kp_cudnn_conv conv = cudnn_conv2(KP_CUDNN_FORWARD);
    kp_conv_plan *p = cudnn_plan(cudnn, &conv);
    kp_err err = { "" };
    told t = { .ms = none };
    int n = p->n;
    cr_expect_eq(kp_cudnn_choose(cudnn, p, tell, &t, &err), KP_DEVICE);
    cr_expect(strstr(err.text, "no launch"), "%s", err.text);
    cr_expect(p->n == n && p->current == 0);
    kp_cudnn_close(cudnn);
}
