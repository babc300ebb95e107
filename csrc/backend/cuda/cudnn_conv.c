/* cudnn_conv.c: opening, planning, running. */
#include "cudnn_conv.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cudnn_impl.h"

const char *kp_cudnn_default_folder(char path[KP_PATH]) {
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    int n = cache && cache[0] == '/' ? snprintf(path, KP_PATH, "%s/kappa/plans", cache)
            : home && home[0]        ? snprintf(path, KP_PATH, "%s/.cache/kappa/plans", home)
                                     : KP_PATH;
    if (n < KP_PATH) return path;
    path[0] = 0;
    return NULL;
}

/* ---- opening -------------------------------------------------------------------------------- */

/* From the device's description: what plans depend on, and messages say. */
static kp_status name_device(kp_cudnn *c, const char *json, kp_err *err) {
    const char *name = NULL;
    int version = 0, n_sms = 0;
    json_t *root = json_loads(json, 0, NULL);
    kp_status st = KP_OK;
    if (!root || json_unpack(root, "{s:s, s:i, s:i}", "deviceName", &name, "deviceVer", &version,
                             "multiProcessorCount", &n_sms))
        st = kp_fail(err, KP_DEVICE, "%s: a device description without name, version or size",
                     c->text);
    size_t v = c->api.cudnnGetVersion();
    if (!st)
        snprintf(c->text, sizeof c->text, "%.128s, sm_%d, %d SMs, cuDNN %zu.%zu.%zu", name,
                 version / 10, n_sms, v / 10000, v / 100 % 100, v % 100);
    json_decref(root);
    return st;
}

static kp_status open_device(kp_cudnn *c, const char *json, kp_err *err) {
    kp_cudnn_maker m = { .cudnn = c, .what = json ? "device description" : "device", .err = err };
    char *is = NULL;
    if (!json) {
        kp_status st = kp_cudnn_check(c, c->api.cudnnCreate(&c->handle), m.what, "cudnnCreate",
                                      err);
        if (st) return st;
    }
    cudnnBackendDescriptor_t d = kp_cudnn_make(&m, CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR);
    if (json)
        kp_cudnn_set(&m, d, CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, CUDNN_TYPE_CHAR,
                     (int64_t)strlen(json), json);
    else kp_cudnn_set(&m, d, CUDNN_ATTR_DEVICEPROP_HANDLE, CUDNN_TYPE_HANDLE, 1, &c->handle);
    kp_cudnn_finalize(&m, d);
    is = kp_cudnn_get_text(&m, d, CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION);
    if (is) m.st = name_device(c, is, err);
    if (!m.st) {
        c->device = d;
        kp_cudnn_keep(&m, d);
    }
    kp_cudnn_release(&m);
    free(is);
    return m.st;
}

kp_status kp_cudnn_open(kp_cudnn **out, const kp_cudnn_options *o, kp_err *err) {
    *out = NULL;
    const char *folder[KP_CUDNN_FOLDERS] = { o->run_folder, o->folder };
    for (int i = 0; i < KP_CUDNN_FOLDERS; i++)
        if (folder[i] && strlen(folder[i]) >= KP_PATH)
            return kp_fail(err, KP_STORAGE, "%.200s...: the path is longer than %d bytes",
                           folder[i], KP_PATH - 1);
    kp_cudnn *c = calloc(1, sizeof *c);
    if (!c) return kp_fail(err, KP_DEVICE, "cuDNN: out of host memory");
    c->workspace_limit = o->workspace_limit;
    c->warn = o->warn, c->warn_to = o->warn_to;
    for (int i = 0; i < KP_CUDNN_FOLDERS; i++)
        snprintf(c->folder[i], sizeof c->folder[i], "%s", folder[i] ? folder[i] : "");
    kp_status st = kp_cudnn_load(&c->api, err);
    if (st) {
        free(c);
        return st;
    }
    strcpy(c->text, "cuDNN"); /* until the device is known */
    st = open_device(c, o->device_json, err);
    if (st) kp_cudnn_close(c);
    else *out = c;
    return st;
}

void kp_cudnn_close(kp_cudnn *c) {
    if (!c) return;
    for (kp_conv_plan *p = c->plans, *next; p; p = next) {
        next = p->next;
        kp_conv_plan_clear(p, c);
        free(p);
    }
    if (c->device) c->api.cudnnBackendDestroyDescriptor(c->device);
    if (c->handle) c->api.cudnnDestroy(c->handle);
    free(c);
}

const char *kp_cudnn_describe(const kp_cudnn *c) { return c->text; }

/* ---- planning ------------------------------------------------------------------------------- */

kp_status kp_cudnn_plan(kp_conv_plan **out, kp_cudnn *c, const kp_cudnn_conv *conv, kp_err *err) {
    *out = NULL;
    kp_conv_plan *p = calloc(1, sizeof *p);
    if (!p) return kp_fail(err, KP_DEVICE, "cuDNN plan: out of host memory");
    p->conv = *conv;
    p->plain_ms = NAN;
    if (conv->kind != KP_CUDNN_FORWARD) p->conv.has_bias = 0, p->conv.activation = KP_LINEAR;
    kp_cudnn_conv_text(p->text, sizeof p->text, &p->conv);
    for (kp_conv_plan *old = c->plans; old; old = old->next) {
        if (strcmp(old->text, p->text) != 0) continue;
        free(p);
        *out = old;
        return KP_OK;
    }
    kp_status st = KP_OK;
    kp_conv_plan_read(p, c);
    if (!p->n) {
        st = kp_conv_plan_find(p, c, err);
        if (!st) kp_conv_plan_write(p, c);
    }
    if (st) {
        free(p);
        return st;
    }
    p->next = c->plans;
    *out = c->plans = p;
    return KP_OK;
}

size_t kp_cudnn_workspace(const kp_conv_plan *p) {
    return p->choice[p->current].is.workspace_bytes;
}

const char *kp_conv_plan_describe(const kp_conv_plan *p) { return p->text; }

int kp_conv_plan_n_candidates(const kp_conv_plan *p) { return p->n; }

const kp_cudnn_candidate *kp_conv_plan_candidate(const kp_conv_plan *p, int i) {
    return &p->choice[i].is;
}

float kp_conv_plan_plain_ms(const kp_conv_plan *p) { return p->plain_ms; }
void kp_conv_plan_set_plain_ms(kp_conv_plan *p, float ms) { p->plain_ms = ms; }

/* The fastest first; where times are equal, as it was. */
static void sort(kp_conv_plan *p) {
    for (int i = 1; i < p->n; i++) {
        kp_cudnn_choice c = p->choice[i];
        int at = i;
        for (; at > 0 && c.is.ms < p->choice[at - 1].is.ms; at--) p->choice[at] = p->choice[at - 1];
        p->choice[at] = c;
    }
}

kp_status kp_cudnn_choose(kp_cudnn *c, kp_conv_plan *p, kp_cudnn_time time, void *to, kp_err *err) {
    float ms[KP_CUDNN_CANDIDATES] = { 0 };
    kp_status failed[KP_CUDNN_CANDIDATES] = { KP_OK }, last = KP_OK;
    int n = p->n, n_ok = 0;
    for (p->current = 0; p->current < n; p->current++) {
        kp_status st = failed[p->current] = time(to, p, &ms[p->current], err);
        if (st) last = st;
        else n_ok++;
    }
    p->current = 0;
    if (!n_ok) return last;
    p->n = 0;
    for (int i = 0; i < n; i++) {
        kp_cudnn_choice choice = p->choice[i];
        choice.is.ms = ms[i];
        if (failed[i]) kp_cudnn_choice_close(&choice, c);
        else p->choice[p->n++] = choice;
    }
    sort(p);
    kp_conv_plan_write(p, c);
    return KP_OK;
}

/* ---- running -------------------------------------------------------------------------------- */

kp_status kp_cudnn_run(kp_cudnn *c, const kp_conv_plan *p, const kp_cudnn_pointers *at,
                       void *workspace, struct CUstream_st *stream, kp_err *err) {
    if (!c->handle)
        return kp_fail(err, KP_DEVICE, "%s: is only a description, nothing can run on it", c->text);
    int64_t id[] = { KP_CUDNN_X, KP_CUDNN_Y, KP_CUDNN_W, KP_CUDNN_BIAS };
    const void *pointer[] = { at->x + kp_cudnn_view_x(&p->conv).offset,
                              at->y + kp_cudnn_view_y(&p->conv).offset, at->w, at->bias };
    int n = p->conv.has_bias ? 4 : 3;
    kp_cudnn_maker m = { .cudnn = c, .what = p->text, .err = err };
    cudnnBackendDescriptor_t pack = kp_cudnn_make(&m, CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
    kp_cudnn_set(&m, pack, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, n, id);
    kp_cudnn_set(&m, pack, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, n, pointer);
    kp_cudnn_set(&m, pack, CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1, &workspace);
    kp_cudnn_finalize(&m, pack);
    if (!m.st)
        m.st = kp_cudnn_check(c, c->api.cudnnSetStream(c->handle, stream), p->text,
                              "cudnnSetStream", err);
    if (!m.st)
        m.st = kp_cudnn_check(c,
                              c->api.cudnnBackendExecute(c->handle, p->choice[p->current].plan,
                                                         pack),
                              p->text, "cudnnBackendExecute", err);
    kp_cudnn_release(&m);
    return m.st;
}
