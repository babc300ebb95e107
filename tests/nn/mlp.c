/* mlp.c: from widths to tensors: their order, places and names, and what they are at first. */
#include "nn/mlp.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/philox.h"

static kp_mlp_spec spec_of(int layer_norm, kp_mlp_activation activation, kp_init init) {
    return (kp_mlp_spec){ .n_inputs = 37,
                          .n_outputs = 10,
                          .n_hidden_layers = 2,
                          .width = { 33, 16 },
                          .activation = activation,
                          .layer_norm = layer_norm,
                          .init = init };
}

static void plan(kp_layout *layout, kp_mlp_shape *shape, const kp_mlp_spec *spec) {
    kp_err err = { "" };
    cr_assert_eq(kp_mlp_plan(layout, shape, spec, &err), KP_OK, "%s", err.text);
}

Test(mlp, tensors_stand_in_pytorchs_order_at_whole_chunks) {
    static const struct {
        const char *name;
        kp_role role;
        int layer, last, n_dims;
        int64_t dims[2], floats;
    } want[] = {
        { "layer1.weight", KP_WEIGHT, 0, 0, 2, { 33, 37 }, 37 * 48 },
        { "layer1.bias", KP_BIAS, 0, 0, 1, { 33 }, 33 },
        { "layer1.norm.weight", KP_NORM, 0, 0, 1, { 33 }, 33 },
        { "layer1.norm.bias", KP_NORM, 0, 0, 1, { 33 }, 33 },
        { "layer2.weight", KP_WEIGHT, 1, 0, 2, { 16, 33 }, 33 * 16 },
        { "layer2.bias", KP_BIAS, 1, 0, 1, { 16 }, 16 },
        { "layer2.norm.weight", KP_NORM, 1, 0, 1, { 16 }, 16 },
        { "layer2.norm.bias", KP_NORM, 1, 0, 1, { 16 }, 16 },
        { "layer3.weight", KP_WEIGHT, 2, 1, 2, { 10, 16 }, 16 * 16 },
        { "layer3.bias", KP_BIAS, 2, 1, 1, { 10 }, 10 },
    };
    enum { N = sizeof want / sizeof *want };
    kp_layout layout;
    kp_mlp_shape s;
    kp_mlp_spec spec = spec_of(1, KP_MLP_RELU, KP_INIT_FAN_IN);
    plan(&layout, &s, &spec);
    cr_assert_eq(layout.n_tensors, N);
    int64_t offset = 0;
    for (int i = 0; i < N; i++) {
        const kp_tensor *t = &layout.tensor[i];
        cr_expect_str_eq(t->name, want[i].name);
        cr_expect(t->role == want[i].role && t->layer == want[i].layer &&
                      t->last_layer == want[i].last && t->n_dims == want[i].n_dims,
                  "%s", t->name);
        for (int d = 0; d < t->n_dims; d++)
            cr_expect_eq(t->dims[d], want[i].dims[d], "%s", t->name);
        cr_expect_eq(t->offset, offset, "%s", t->name);
        offset += (want[i].floats + KP_CHUNK - 1) / KP_CHUNK * KP_CHUNK;
        for (int64_t at = t->offset; at < offset; at += KP_CHUNK)
            cr_expect_eq(layout.chunk_tensor[at / KP_CHUNK], i, "%s", t->name);
    }
    cr_expect(layout.N == offset && s.N == offset && s.n_tensors == N);
    cr_expect(s.n_layers == 3 && s.n_hidden == 49 && s.activation == KP_MLP_RELU);
    for (int l = 0; l < 3; l++) {
        const kp_tensor *t = &layout.tensor[s.tensor[l]];
        cr_expect(s.weight[l] == t[0].offset && s.bias[l] == t[1].offset);
        cr_expect(s.gain[l] == (l < 2 ? t[2].offset : -1) &&
                  s.shift[l] == (l < 2 ? t[3].offset : -1));
        cr_expect(s.in[l] == t->dims[1] && s.out[l] == t->dims[0]);
    }
    cr_expect(s.row[0] == 48 && s.row[1] == 16 && s.row[2] == 16);
    kp_layout_release(&layout);
}

Test(mlp, crelu_doubles_the_inputs_behind_it) {
    kp_layout layout;
    kp_mlp_shape s;
    kp_mlp_spec spec = spec_of(0, KP_MLP_CRELU, KP_INIT_FAN_IN);
    plan(&layout, &s, &spec);
    cr_expect(s.in[0] == 37 && s.in[1] == 66 && s.in[2] == 32 && s.n_hidden == 49);
    cr_expect_eq(layout.n_tensors, 6);
    cr_expect_eq(layout.tensor[2].dims[1], 66);
    cr_expect_float_eq(layout.tensor[3].scale_fan_in, (float)(1 / sqrt(66)), 0);
    kp_layout_release(&layout);
}

/* Element [o][j] of PyTorch's lies at [j][row] + o; what lies between is never touched. */
Test(mlp, memory_is_input_major_with_padded_rows) {
    kp_layout layout;
    kp_mlp_shape s;
    kp_mlp_spec spec = spec_of(0, KP_MLP_RELU, KP_INIT_FAN_IN);
    plan(&layout, &s, &spec);
    const kp_tensor *t = &layout.tensor[0];
    float *member = calloc((size_t)layout.N, sizeof *member), *canonical = malloc(33 * 37 * 4),
          back[33 * 37];
    for (int i = 0; i < 33 * 37; i++) canonical[i] = (float)(i + 1);
    kp_tensor_import(t, member, canonical);
    for (int j = 0; j < 37; j++)
        for (int o = 0; o < 48; o++)
            cr_expect_eq(member[t->offset + j * 48 + o], o < 33 ? (float)(o * 37 + j + 1) : 0.0f,
                         "[%d][%d]", j, o);
    kp_tensor_export(t, member, back);
    cr_expect_arr_eq(back, canonical, sizeof back);
    free(member);
    free(canonical);
    kp_layout_release(&layout);
}

/* The same numbers as any net's: by tensor and element in PyTorch's order. */
Test(mlp, first_weights_are_the_initialisers) {
    for (int xavier = 0; xavier < 2; xavier++) {
        kp_layout layout;
        kp_mlp_shape s;
        kp_mlp_spec spec = spec_of(1, KP_MLP_RELU, xavier ? KP_INIT_XAVIER : KP_INIT_FAN_IN);
        plan(&layout, &s, &spec);
        float *member = calloc((size_t)layout.N, sizeof *member), *values = malloc(33 * 37 * 4);
        int64_t n_nonzero = 0, want_nonzero = 0;
        kp_layout_init(&layout, 5, member);
        for (int i = 0; i < layout.n_tensors; i++) {
            const kp_tensor *t = &layout.tensor[i];
            int layer = t->layer, is_gain = !strcmp(strrchr(t->name, '.'), ".weight");
            double bound = xavier ? sqrt(6.0 / (s.in[layer] + s.out[layer]))
                                  : 1 / sqrt(s.in[layer]);
            kp_tensor_export(t, member, values);
            for (int64_t e = 0; e < t->count; e++) {
                uint64_t at = (uint64_t)i << 40 | (uint64_t)e / 4;
                float u = kp_uniform(kp_philox(5, KP_STREAM_INIT, at).x[e % 4]);
                float want = t->role == KP_NORM             ? (float)is_gain
                             : t->role == KP_BIAS && xavier ? 0.0f
                                                            : (2 * u - 1) * (float)bound;
                cr_assert_eq(values[e], want, "%s[%lld]", t->name, (long long)e);
                want_nonzero += want != 0.0f;
            }
            cr_expect_float_eq(t->scale_fan_in, (float)(1 / sqrt(s.in[layer])), 0, "%s", t->name);
            cr_expect_float_eq(t->scale_init, (float)bound, 0, "%s", t->name);
        }
        for (int64_t e = 0; e < layout.N; e++) n_nonzero += member[e] != 0.0f;
        cr_expect_eq(n_nonzero, want_nonzero, "padding is zero");
        free(member);
        free(values);
        kp_layout_release(&layout);
    }
}

static const struct {
    const char *name;
    kp_mlp_spec spec;
    const char *want;
} bad[] = {
    { "no inputs",
      { .n_outputs = 2 },
      "net: 0 inputs and 2 outputs, expected 1 to 1048576 of each" },
    { "no units",
      { .n_inputs = 3, .n_outputs = 2, .n_hidden_layers = 1 },
      "net.widths: 0 units, expected 1 to 1048576" },
    { "too many layers",
      { .n_inputs = 3, .n_outputs = 2, .n_hidden_layers = 8 },
      "net.widths: 8 hidden layers, at most 7 are possible" },
    { "too many weights",
      { .n_inputs = 1 << 20, .n_outputs = 2, .n_hidden_layers = 1, .width = { 1 << 20 } },
      "net.widths: 1099528404992 weights, more than 1073741824" },
};

Test(mlp, bad_sizes) {
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        kp_layout layout;
        kp_mlp_shape s;
        kp_err err = { "" };
        cr_expect_eq(kp_mlp_plan(&layout, &s, &bad[i].spec, &err), KP_BAD_CONFIG, "%s",
                     bad[i].name);
        cr_expect_str_eq(err.text, bad[i].want, "%s", bad[i].name);
        cr_expect_null(layout.tensor);
    }
}
