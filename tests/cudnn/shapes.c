/* shapes.c: law 4. Every convolution of every preset, and of ResNet-18, has plans in strict fp32 on
 * A100, H100 and H200, and its file gives them back. In TF32 too: there some use tensor cores. */
#include <string.h>

#include "cudnn_case.h"
#include "learn/dqn_update.h"

enum { MAX_CASES = 80 };

typedef struct {
    char name[64];
    kp_cudnn_conv conv;
} conv_case;

static conv_case cases[MAX_CASES];
static int n_cases;
static kp_precision precision; /* of all cases */
static int n_on_tensor_cores;

static void add(const char *net, const char *layer, kp_cudnn_kind kind, int B, kp_conv_shape shape,
                int bias_relu) {
    cr_assert(n_cases < MAX_CASES);
    conv_case *c = &cases[n_cases++];
    snprintf(c->name, sizeof c->name, "%s %s", net, layer);
    c->conv = (kp_cudnn_conv){ .kind = kind,
                               .precision = precision,
                               .B = B,
                               .shape = shape,
                               .has_bias = bias_relu,
                               .activation = bias_relu ? KP_RELU : KP_LINEAR };
}

/* Forward and weights; data where a layer stands before it. */
static void add_training(const char *net, const char *layer, int B, kp_conv_shape shape,
                         int bias_relu, int first) {
    add(net, layer, KP_CUDNN_FORWARD, B, shape, bias_relu);
    add(net, layer, KP_CUDNN_BACKWARD_WEIGHTS, B, shape, 0);
    if (!first) add(net, layer, KP_CUDNN_BACKWARD_DATA, B, shape, 0);
}

/* All Atari presets have these three (presets: dqn-*, rainbow-*, der-100k); padding is "same" in
 * those after Dopamine and none in the others. Batch 32; acting and evaluation take 1 or 10
 * samples, forward only. The shapes are this file's own, their products are compared with the
 * net's. */
static void add_dqn(kp_padding padding) {
    static const struct {
        int out, kernel, stride;
    } layer[] = { { 32, 8, 4 }, { 64, 4, 2 }, { 64, 3, 1 } };
    enum { N = KP_COUNT(layer) };
    const char *net = padding == KP_SAME ? "dopamine" : "tianshou, paper, cleanrl";
    kp_net_spec spec;
    kp_net *real = NULL;
    kp_err err = { "" };
    kp_dqn_net_spec(&spec, &(kp_dqn_net_options){ 4, 512, 4, 84, padding, KP_INIT_FAN_IN });
    cr_assert_eq(kp_net_open(&real, &spec, &err), KP_OK, "%s", err.text);

    int h[N + 1] = { 84 }, before[N + 1] = { 0 }, after[N + 1] = { 0 };
    for (int i = 0; i < N; i++) {
        int k = layer[i].kernel, s = layer[i].stride;
        h[i + 1] = padding == KP_SAME ? (h[i] + s - 1) / s : (h[i] - k) / s + 1;
        int pad = padding == KP_SAME ? (h[i + 1] - 1) * s + k - h[i] : 0;
        before[i] = pad / 2, after[i] = pad - pad / 2;
    }
    for (int i = 0, c = 4; i < N; c = layer[i++].out) {
        kp_conv_shape s = cudnn_shape(h[i], c, layer[i].out, layer[i].kernel, layer[i].stride,
                                      before[i], after[i], before[i + 1], after[i + 1]);
        double flops = 2.0 * s.out.h * s.out.w * s.out.c * s.kernel * s.kernel * c;
        cr_assert(flops == kp_net_layer_flops(real, i), "%s, layer %d", net, i);
        const char *name = spec.layer[i].name;
        add_training(net, name, 32, s, 1, i == 0);
        add(net, name, KP_CUDNN_FORWARD, 1, s, 1);
        add(net, name, KP_CUDNN_FORWARD, 10, s, 1);
    }
    kp_net_close(real);
}

/* torchvision's, on 32 x 32 (presets: cifar-*). Batch norm follows each, so there is no bias, and
 * what it writes has the border. A block's first convolution and its 1 x 1 read the same bordered
 * image. */
static void add_resnet18(void) {
    static const char *net = "resnet18";
    enum { B = 125 };
    add_training(net, "stem", B, cudnn_shape(32, 3, 64, 7, 2, 3, 3, 0, 0), 0, 1);
    add_training(net, "layer1", B, cudnn_shape(8, 64, 64, 3, 1, 1, 1, 0, 0), 0, 0);
    for (int i = 2, h = 8, c = 64; i <= 4; i++, h /= 2, c *= 2) {
        char name[16];
        snprintf(name, sizeof name, "layer%d.0", i);
        add_training(net, name, B, cudnn_shape(h, c, 2 * c, 3, 2, 1, 1, 0, 0), 0, 0);
        kp_conv_shape down = cudnn_shape(h, c, 2 * c, 1, 2, 0, 0, 0, 0);
        down.in.top = down.in.left = down.in.bottom = down.in.right = 1;
        snprintf(name, sizeof name, "layer%d.down", i);
        add_training(net, name, B, down, 0, 0);
        snprintf(name, sizeof name, "layer%d", i);
        add_training(net, name, B, cudnn_shape(h / 2, 2 * c, 2 * c, 3, 1, 1, 1, 0, 0), 0, 0);
    }
}

static void all_cases(void) {
    add_dqn(KP_VALID);
    add_dqn(KP_SAME);
    add_resnet18();
}

/* ---- what a plan must be -------------------------------------------------------------------- */

static int is_allowed(cudnnBackendNumericalNote_t note) {
    n_on_tensor_cores += note == CUDNN_NUMERICAL_NOTE_TENSOR_CORE;
    return note == CUDNN_NUMERICAL_NOTE_STRICT_NAN_PROP ||
           (note == CUDNN_NUMERICAL_NOTE_TENSOR_CORE && precision == KP_PRECISION_TF32);
}

/* Asks cuDNN about the plan itself. */
static void expect_strict(const kp_cudnn *cudnn, const conv_case *c,
                          const kp_cudnn_choice *choice) {
    kp_cudnn_maker m = { .cudnn = cudnn, .what = c->name };
    cudnnBackendNumericalNote_t note[32];
    int64_t bytes = -1;
    cudnnBackendDescriptor_t config = kp_cudnn_make(&m, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
    cudnnBackendDescriptor_t engine = kp_cudnn_make(&m, CUDNN_BACKEND_ENGINE_DESCRIPTOR);
    kp_cudnn_get(&m, choice->plan, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG,
                 CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &config);
    kp_cudnn_get(&m, config, CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1,
                 &engine);
    int64_t n = kp_cudnn_get(&m, engine, CUDNN_ATTR_ENGINE_NUMERICAL_NOTE,
                             CUDNN_TYPE_NUMERICAL_NOTE, 32, note);
    kp_cudnn_get(&m, choice->plan, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64, 1,
                 &bytes);
    cr_assert_eq(m.st, KP_OK);
    for (int64_t i = 0; i < n; i++)
        cr_expect(is_allowed(note[i]), "%s: engine %d has note %d", c->name, choice->is.engine,
                  (int)note[i]);
    cr_expect(bytes >= 0 && (size_t)bytes <= cudnn->workspace_limit, "%s: workspace of %lld bytes",
              c->name, (long long)bytes);
    cr_expect((size_t)bytes == choice->is.workspace_bytes, "%s: %zu bytes said, %lld wanted",
              c->name, choice->is.workspace_bytes, (long long)bytes);
    kp_cudnn_release(&m);
}

/* And the plan gives the JSON that it was made from. */
static void expect_same_json(const kp_cudnn *cudnn, const conv_case *c,
                             const kp_cudnn_choice *choice) {
    kp_cudnn_maker m = { .cudnn = cudnn, .what = c->name };
    char *json = kp_cudnn_get_text(&m, choice->plan, CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION);
    cr_assert(json != NULL, "%s", c->name);
    cr_expect_str_eq(json, choice->json, "%s", c->name);
    free(json);
}

static void expect_plans(kp_cudnn *cudnn, const char *device) {
    for (int i = 0; i < n_cases; i++) {
        const conv_case *c = &cases[i];
        const kp_conv_plan *p = cudnn_plan(cudnn, &c->conv);
        cr_assert(p->n >= 1, "%s", p->text);
        for (int k = 0; k < p->n; k++) {
            expect_strict(cudnn, c, &p->choice[k]);
            for (int l = 0; l < k; l++)
                cr_expect_str_neq(p->choice[k].json, p->choice[l].json, "%s: twice", c->name);
        }
        const kp_cudnn_candidate *best = kp_conv_plan_candidate(p, 0);
        fprintf(stderr, "%s  %-36s %-15s %4d  %d candidates, engine %2d (%s), %zu KiB\n", device,
                c->name, (const char *[]){ "forward", "data", "weights" }[c->conv.kind], c->conv.B,
                p->n, best->engine, best->knobs, best->workspace_bytes / 1024);
    }
}

/* ---- files ---------------------------------------------------------------------------------- */

static int n_searches;
static __typeof__(cudnnBackendCreateDescriptor) *real_create;

static cudnnStatus_t count_searches(cudnnBackendDescriptorType_t type,
                                    cudnnBackendDescriptor_t *d) {
    n_searches += type == CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR;
    return real_create(type, d);
}

/* A second context finds nothing: it reads, and has the same candidates. */
static void expect_files(const kp_cudnn *first, const char *device, const char *folder) {
    cudnn_warnings w = { 0 };
    kp_cudnn *again = cudnn_open(device, folder, KP_CUDNN_WORKSPACE, &w);
    real_create = again->api.cudnnBackendCreateDescriptor;
    again->api.cudnnBackendCreateDescriptor = count_searches;
    const kp_conv_plan *was = first->plans;
    for (int i = n_cases; i-- > 0; was = was->next) {
        const kp_conv_plan *is = cudnn_plan(again, &cases[i].conv);
        cr_assert(!strcmp(is->text, was->text), "%s", cases[i].name);
        cr_assert_eq(is->n, was->n, "%s: %d candidates, were %d", is->text, is->n, was->n);
        for (int k = 0; k < is->n; k++) {
            const kp_cudnn_choice *a = &is->choice[k], *b = &was->choice[k];
            cr_expect_str_eq(a->json, b->json, "%s", is->text);
            cr_expect_eq(a->is.workspace_bytes, b->is.workspace_bytes, "%s", is->text);
            expect_same_json(again, &cases[i], a);
        }
    }
    cr_expect_eq(n_searches, 0, "%d searches", n_searches);
    cr_expect_eq(w.n, 0, "%s", w.last);
    again->api.cudnnBackendCreateDescriptor = real_create;
    kp_cudnn_close(again);
}

static void every_convolution(const char *device) {
    char folder[KP_PATH];
    kp_err err = { "" };
    cudnn_warnings w = { 0 };
    scratch_folder(folder);
    all_cases();
    kp_cudnn *cudnn = cudnn_open(device, folder, KP_CUDNN_WORKSPACE, &w);
    fprintf(stderr, "%s\n", kp_cudnn_describe(cudnn));
    expect_plans(cudnn, device);
    cr_expect_eq(w.n, 0, "%s", w.last);
    expect_files(cudnn, device, folder);
    kp_cudnn_close(cudnn);
    cr_assert_eq(kp_folder_remove(folder, &err), KP_OK, "%s", err.text);
}

Test(cudnn_shapes, a100) { every_convolution("a100"); }
Test(cudnn_shapes, h100) { every_convolution("h100"); }
Test(cudnn_shapes, h200) { every_convolution("h200"); }
Test(cudnn_shapes, h100_in_tf32) {
    precision = KP_PRECISION_TF32;
    every_convolution("h100");
    cr_expect_gt(n_on_tensor_cores, 0);
}
