/* cudnn_plan.c: candidates. Each is made from its JSON, also when it was just found, so that a plan
 * is the same whether it came from the heuristics or from a file. */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cudnn_impl.h"

enum { MAX_CONFIGS = 128, MAX_NOTES = 32 };

#define NOTE(name) (1u << CUDNN_NUMERICAL_NOTE_##name)

/* What an engine's arithmetic may be. A note that is not named here, or not known yet, rules it
 * out: rounded inputs, sums in less than fp32 or in no fixed order, Winograd, FFT. Tensor cores
 * round float32 to TF32. */
static const unsigned allowed[] = { [KP_PRECISION_FP32] = NOTE(STRICT_NAN_PROP),
                                    [KP_PRECISION_TF32] = NOTE(STRICT_NAN_PROP) |
                                                          NOTE(TENSOR_CORE) };

/* ---- what cuDNN says about a plan ----------------------------------------------------------- */

/* A bit for each note of the configuration's engine. */
static unsigned get_notes(kp_cudnn_maker *m, cudnnBackendDescriptor_t config) {
    cudnnBackendNumericalNote_t note[MAX_NOTES];
    cudnnBackendDescriptor_t engine = kp_cudnn_make(m, CUDNN_BACKEND_ENGINE_DESCRIPTOR);
    kp_cudnn_get(m, config, CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &engine);
    int64_t n = kp_cudnn_get(m, engine, CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, CUDNN_TYPE_NUMERICAL_NOTE,
                             MAX_NOTES, note);
    unsigned notes = 0;
    for (int64_t i = 0; i < n && i < MAX_NOTES; i++) notes |= 1u << (note[i] < 31 ? note[i] : 31);
    return notes;
}

/* Engine and knobs, which the JSON of a plan names. */
static int read_engine(kp_cudnn_candidate *c, const char *json) {
    json_t *root = json_loads(json, 0, NULL), *value;
    json_t *engine = json_object_get(root, "engine"), *id = json_object_get(engine, "engineId");
    const char *key, *prefix = "CUDNN_KNOB_TYPE_";
    size_t used = 0, skip = strlen(prefix);
    c->engine = (int)json_integer_value(id);
    c->knobs[0] = 0;
    json_object_foreach(json_object_get(engine, "knobChoices"), key, value) {
        const char *knob = strncmp(key, prefix, skip) ? key : key + skip; /* foreach needs key */
        used += (size_t)snprintf(c->knobs + used, sizeof c->knobs - used, "%s%s=%lld",
                                 used ? " " : "", knob, (long long)json_integer_value(value));
        if (used >= sizeof c->knobs) break;
    }
    int ok = json_is_integer(id);
    json_decref(root);
    return ok;
}

kp_status kp_conv_plan_add(kp_conv_plan *p, const kp_cudnn *cudnn, const char *json, float ms,
                           kp_err *err) {
    kp_cudnn_maker m = { .cudnn = cudnn, .what = p->text, .err = err };
    kp_cudnn_choice c = { .is.ms = ms };
    int64_t bytes = 0;
    cudnnBackendDescriptor_t config = kp_cudnn_make(&m, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
    cudnnBackendDescriptor_t d = kp_cudnn_make(&m, CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
    kp_cudnn_link(&m, d, CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP, cudnn->device);
    kp_cudnn_set(&m, d, CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION, CUDNN_TYPE_CHAR,
                 (int64_t)strlen(json), json);
    kp_cudnn_finalize(&m, d);
    kp_cudnn_get(&m, d, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64, 1, &bytes);
    kp_cudnn_get(&m, d, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1,
                 &config);
    unsigned notes = get_notes(&m, config);
    c.is.workspace_bytes = (size_t)bytes;
    c.is.strict_nan = (notes & NOTE(STRICT_NAN_PROP)) != 0;
    if (!m.st && !read_engine(&c.is, json))
        m.st = kp_fail(err, KP_DEVICE, "%s, %s: a plan names no engine", cudnn->text, p->text);
    if (!m.st && notes & ~allowed[p->conv.precision])
        m.st = kp_fail(err, KP_DEVICE, "%s, %s: engine %d computes otherwise (notes %#x)",
                       cudnn->text, p->text, c.is.engine, notes);
    if (!m.st && c.is.workspace_bytes > cudnn->workspace_limit)
        m.st = kp_fail(err, KP_DEVICE, "%s, %s: engine %d wants %zu bytes of workspace, of %zu",
                       cudnn->text, p->text, c.is.engine, c.is.workspace_bytes,
                       cudnn->workspace_limit);
    if (!m.st && !(c.json = strdup(json)))
        m.st = kp_fail(err, KP_DEVICE, "%s: out of host memory", p->text);
    if (!m.st) {
        c.plan = d;
        kp_cudnn_keep(&m, d);
        p->choice[p->n++] = c;
    }
    kp_cudnn_release(&m);
    return m.st;
}

void kp_cudnn_choice_close(kp_cudnn_choice *choice, const kp_cudnn *cudnn) {
    cudnn->api.cudnnBackendDestroyDescriptor(choice->plan);
    free(choice->json);
}

void kp_conv_plan_clear(kp_conv_plan *p, const kp_cudnn *cudnn) {
    while (p->n) kp_cudnn_choice_close(&p->choice[--p->n], cudnn);
}

/* ---- finding -------------------------------------------------------------------------------- */

static int is_new(const kp_conv_plan *p, const char *json) {
    for (int i = 0; i < p->n; i++)
        if (!strcmp(p->choice[i].json, json)) return 0;
    return 1;
}

/* The configuration as a candidate, if it fits and is new. The notes are looked at here already,
 * since most have the wrong ones and plans take time. */
static void try_config(kp_conv_plan *p, const kp_cudnn *cudnn, cudnnBackendDescriptor_t config,
                       kp_err *err) {
    kp_cudnn_maker m = { .cudnn = cudnn, .what = p->text, .err = err };
    char *json = NULL;
    unsigned notes = get_notes(&m, config);
    if (m.st || notes & ~allowed[p->conv.precision]) goto out;
    cudnnBackendDescriptor_t d = kp_cudnn_make(&m, CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
    kp_cudnn_link(&m, d, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, config);
    kp_cudnn_link(&m, d, CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP, cudnn->device);
    kp_cudnn_finalize(&m, d);
    json = kp_cudnn_get_text(&m, d, CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION);
    if (json && is_new(p, json)) kp_conv_plan_add(p, cudnn, json, NAN, err);
out:
    free(json);
    kp_cudnn_release(&m);
}

/* Configurations that one mode of the heuristics proposes, best first. Returns how many. */
static int64_t try_mode(kp_conv_plan *p, const kp_cudnn *cudnn, cudnnBackendDescriptor_t graph,
                        cudnnBackendHeurMode_t mode, kp_err *err) {
    kp_cudnn_maker m = { .cudnn = cudnn, .what = p->text, .err = err };
    cudnnBackendDescriptor_t config[MAX_CONFIGS];
    cudnnBackendDescriptor_t h = kp_cudnn_make(&m, CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
    kp_cudnn_link(&m, h, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph);
    kp_cudnn_set(&m, h, CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1, &mode);
    kp_cudnn_link(&m, h, CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, cudnn->device);
    kp_cudnn_finalize(&m, h);
    int64_t n = kp_cudnn_get(&m, h, CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_TYPE_BACKEND_DESCRIPTOR, 0,
                             NULL);
    if (n > MAX_CONFIGS) n = MAX_CONFIGS;
    for (int64_t i = 0; i < n; i++)
        config[i] = kp_cudnn_make(&m, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
    if (n)
        n = kp_cudnn_get(&m, h, CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_TYPE_BACKEND_DESCRIPTOR, n,
                         config);
    for (int64_t i = 0; !m.st && i < n && p->n < KP_CUDNN_CANDIDATES; i++)
        try_config(p, cudnn, config[i], err);
    kp_cudnn_release(&m);
    return m.st ? 0 : n;
}

kp_status kp_conv_plan_find(kp_conv_plan *p, const kp_cudnn *cudnn, kp_err *err) {
    static const cudnnBackendHeurMode_t modes[] = { CUDNN_HEUR_MODE_A, CUDNN_HEUR_MODE_B,
                                                    CUDNN_HEUR_MODE_FALLBACK };
    kp_cudnn_maker m = { .cudnn = cudnn, .what = p->text, .err = err };
    kp_err why = { "" };
    int64_t n_tried = 0;
    cudnnBackendDescriptor_t graph = kp_cudnn_graph(&m, &p->conv);
    for (size_t i = 0; !m.st && i < KP_COUNT(modes) && p->n < KP_CUDNN_CANDIDATES; i++)
        n_tried += try_mode(p, cudnn, graph, modes[i], &why);
    if (!m.st && !p->n)
        m.st = kp_fail(err, KP_DEVICE, "%s, %s: none of %lld engine configurations fits%s%s",
                       cudnn->text, p->text, (long long)n_tried, why.text[0] ? "; the last: " : "",
                       why.text);
    kp_cudnn_release(&m);
    return m.st;
}
