/* cudnn_file.c: a plan's candidates as a file, FOLDER/HASH.json:
 *
 *     { "key": what it is a plan for, "plain_ms": number or null,
 *       "candidates": [{ "ms": number or null, "plan": cuDNN's JSON }, ...],
 *       "xxh64": of the rest, as jansson writes it compactly and sorted }
 *
 * cuDNN takes whatever JSON it can read for a plan, another engine included: hence the checksum,
 * which also shows where two processes wrote the same file at once. */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "cudnn_impl.h"

enum { KEY = 640 };

static void make_key(char key[KEY], const kp_conv_plan *p, const kp_cudnn *cudnn) {
    snprintf(key, KEY, "%s; %s; workspace of %zu bytes", cudnn->text, p->text,
             cudnn->workspace_limit);
}

static void hash_text(char text[17], const char *of) {
    snprintf(text, 17, "%016llx", (unsigned long long)XXH64(of, strlen(of), 0));
}

kp_status kp_conv_plan_path(char path[KP_PATH], const kp_conv_plan *p, const kp_cudnn *cudnn,
                            const char *folder, kp_err *err) {
    char key[KEY], hash[17], name[32];
    make_key(key, p, cudnn);
    hash_text(hash, key);
    snprintf(name, sizeof name, "%s.json", hash);
    return kp_path_join(path, folder, name, err);
}

static void warn(const kp_cudnn *cudnn, const char *line) {
    if (cudnn->warn) cudnn->warn(cudnn->warn_to, line);
}

/* "" where there is no memory, which no file has. */
static void sum_of(char hash[17], const json_t *root) {
    char *text = json_dumps(root, JSON_COMPACT | JSON_SORT_KEYS);
    hash[0] = 0;
    if (text) hash_text(hash, text);
    free(text);
}

static json_t *write_ms(float ms) { return isnan(ms) ? json_null() : json_real((double)ms); }
static float read_ms(const json_t *ms) {
    return json_is_number(ms) ? (float)json_number_value(ms) : NAN;
}

/* ---- reading -------------------------------------------------------------------------------- */

static kp_status read_candidates(kp_conv_plan *p, const kp_cudnn *cudnn, const json_t *list,
                                 kp_err *err) {
    const json_t *one;
    size_t i;
    kp_status st = KP_OK;
    json_array_foreach(list, i, one) {
        float ms = read_ms(json_object_get(one, "ms"));
        const char *plan = json_string_value(json_object_get(one, "plan"));
        if (!plan || p->n == KP_CUDNN_CANDIDATES)
            return kp_fail(err, KP_BAD_DATA, "candidate %zu is no plan", i);
        st = kp_conv_plan_add(p, cudnn, plan, ms, err);
        if (st) return st;
    }
    return p->n ? KP_OK : kp_fail(err, KP_BAD_DATA, "it has no candidates");
}

static kp_status read_json(kp_conv_plan *p, const kp_cudnn *cudnn, json_t *root, kp_err *err) {
    char key[KEY], is[17], said[17];
    make_key(key, p, cudnn);
    const char *key_said = json_string_value(json_object_get(root, "key"));
    const char *sum_said = json_string_value(json_object_get(root, "xxh64"));
    if (!key_said || !sum_said) return kp_fail(err, KP_BAD_DATA, "it is not a plan file");
    snprintf(said, sizeof said, "%s", sum_said);
    json_object_del(root, "xxh64");
    sum_of(is, root);
    if (strcmp(is, said) != 0) return kp_fail(err, KP_BAD_DATA, "it is damaged");
    if (strcmp(key, key_said) != 0) return kp_fail(err, KP_BAD_DATA, "it is for %.300s", key_said);
    p->plain_ms = read_ms(json_object_get(root, "plain_ms"));
    return read_candidates(p, cudnn, json_object_get(root, "candidates"), err);
}

static void read_file(kp_conv_plan *p, const kp_cudnn *cudnn, const char *folder) {
    char path[KP_PATH];
    uint8_t *bytes = NULL;
    size_t n = 0;
    kp_err err = { "" };
    if (kp_conv_plan_path(path, p, cudnn, folder, &err) || !kp_file_exists(path)) return;
    kp_status st = kp_file_read(path, &bytes, &n, &err);
    json_t *root = st ? NULL : json_loadb((const char *)bytes, n, JSON_REJECT_DUPLICATES, NULL);
    if (!st && !root) st = kp_fail(&err, KP_BAD_DATA, "it is not JSON");
    if (!st) st = read_json(p, cudnn, root, &err);
    if (st) {
        char line[KP_PATH + sizeof err.text];
        snprintf(line, sizeof line, "%s: not used, the plan is made again: %s", path, err.text);
        warn(cudnn, line);
        kp_conv_plan_clear(p, cudnn);
        p->plain_ms = NAN;
    }
    json_decref(root);
    free(bytes);
}

/* ---- writing -------------------------------------------------------------------------------- */

static json_t *write_json(const kp_conv_plan *p, const kp_cudnn *cudnn) {
    char key[KEY], sum[17];
    make_key(key, p, cudnn);
    json_t *list = json_array(), *root = json_pack("{s:s, s:o, s:o}", "key", key, "plain_ms",
                                                   write_ms(p->plain_ms), "candidates", list);
    for (int i = 0; i < p->n; i++)
        json_array_append_new(list, json_pack("{s:o, s:s}", "ms", write_ms(p->choice[i].is.ms),
                                              "plan", p->choice[i].json));
    sum_of(sum, root);
    json_object_set_new(root, "xxh64", json_string(sum));
    return root;
}

static void write_file(const kp_conv_plan *p, const kp_cudnn *cudnn, const char *folder) {
    char path[KP_PATH];
    kp_err err = { "" };
    json_t *root = write_json(p, cudnn);
    char *text = json_dumps(root, JSON_INDENT(1) | JSON_SORT_KEYS);
    kp_status st = text ? KP_OK : kp_fail(&err, KP_STORAGE, "plan: out of host memory");
    if (!st) st = kp_folder_make(folder, &err);
    if (!st) st = kp_conv_plan_path(path, p, cudnn, folder, &err);
    if (!st) st = kp_file_write(path, text, strlen(text), &err);
    if (st) warn(cudnn, err.text);
    json_decref(root);
    free(text);
}

void kp_conv_plan_write(const kp_conv_plan *p, const kp_cudnn *cudnn) {
    for (int i = 0; i < KP_CUDNN_FOLDERS; i++)
        if (cudnn->folder[i][0]) write_file(p, cudnn, cudnn->folder[i]);
}

/* ---- both ----------------------------------------------------------------------------------- */

void kp_conv_plan_read(kp_conv_plan *p, const kp_cudnn *cudnn) {
    for (int i = 0; i < KP_CUDNN_FOLDERS && !p->n; i++) {
        if (cudnn->folder[i][0]) read_file(p, cudnn, cudnn->folder[i]);
        for (int k = 0; k < i && p->n; k++)
            if (cudnn->folder[k][0]) write_file(p, cudnn, cudnn->folder[k]);
    }
}
