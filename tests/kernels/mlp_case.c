/* mlp_case.c: layouts as csrc/nn/mlp.c makes them, written down a second time. */
#include "kernels/mlp_case.h"

#include <string.h>

#include "base/philox.h"

static int64_t place(int64_t *end, int64_t floats) {
    int64_t at = *end;
    *end += (floats + KP_CHUNK - 1) / KP_CHUNK * KP_CHUNK;
    return at;
}

kp_mlp_shape kp_mlp_case_shape(const kp_mlp_spec *spec) {
    kp_mlp_shape s = { .n_layers = spec->n_layers, .activation = spec->activation };
    for (int l = 0; l < s.n_layers; l++) {
        int hidden = l + 1 < s.n_layers, doubled = l > 0 && s.activation == KP_MLP_CRELU;
        s.in[l] = spec->width[l] * (doubled ? 2 : 1);
        s.out[l] = spec->width[l + 1];
        s.row[l] = (int)kp_mlp_padded(s.out[l]);
        s.tensor[l] = s.n_tensors;
        s.weight[l] = place(&s.N, (int64_t)s.in[l] * s.row[l]);
        s.bias[l] = place(&s.N, s.out[l]);
        s.gain[l] = spec->layer_norm && hidden ? place(&s.N, s.out[l]) : -1;
        s.shift[l] = spec->layer_norm && hidden ? place(&s.N, s.out[l]) : -1;
        s.n_tensors += spec->layer_norm && hidden ? 4 : 2;
        s.n_hidden += hidden ? s.out[l] : 0;
    }
    return s;
}

static int is_in(int64_t at, int64_t begin, int64_t n) {
    return begin >= 0 && at >= begin && at < begin + n;
}

int kp_mlp_case_is_padding(const kp_mlp_shape *s, int64_t at) {
    for (int l = 0; l < s->n_layers; l++) {
        if (is_in(at, s->weight[l], (int64_t)s->in[l] * s->row[l]))
            return (at - s->weight[l]) % s->row[l] >= s->out[l];
        if (is_in(at, s->bias[l], s->out[l]) || is_in(at, s->gain[l], s->out[l]) ||
            is_in(at, s->shift[l], s->out[l]))
            return 0;
    }
    return 1;
}

float *kp_mlp_case_param(kp_case *c, const kp_mlp_shape *s, kp_use use, double lo, double hi) {
    float *x = kp_case_alloc(c, 'f', use, s->N, lo, hi);
    for (int64_t i = 0; i < c->P * s->N; i++)
        if (kp_mlp_case_is_padding(s, i % s->N)) x[i] = 0;
    return x;
}

static uint64_t draw(int member, int use, int i, uint64_t below) {
    uint64_t seed = 3000u + (uint64_t)member;
    uint64_t at = (uint64_t)use << 32 | (uint64_t)i;
    return kp_below(kp_philox(seed, KP_STREAM_TEST, at).x[0], 0, below);
}

static const int32_t *orders(kp_case *c, int n, int use) {
    int32_t *order = kp_case_alloc(c, 'i', KP_IN, n, 0, 1);
    for (int p = 0; p < c->P; p++) {
        int32_t *o = order + (int64_t)p * n;
        for (int i = 0; i < n; i++) o[i] = i;
        for (int i = n - 1; i > 0; i--) {
            int k = (int)draw(c->first + p, use, i, (uint64_t)i + 1), t = o[i];
            o[i] = o[k], o[k] = t;
        }
    }
    return order;
}

kp_mlp_samples kp_mlp_case_samples(kp_case *c, const kp_mlp_spec *spec, int T) {
    const int n = spec->width[0], classes = spec->width[spec->n_layers];
    const int64_t total = (int64_t)KP_MLP_CASE_SAMPLES * n;
    kp_mlp_samples s = { .T = T };
    if (spec->bytes) {
        uint8_t *bytes = kp_case_shared(c, 'b', total, 1, 256);
        float *value = kp_case_shared(c, 'f', 256, 0, 1);
        for (int i = 0; i < 256; i++)
            value[i] = (float)(spec->smallest + (1 - spec->smallest) * i / 255);
        for (int i = 0; i < total; i++)
            if (draw(0, 1, i, 1000) < 1000 * spec->zeros) bytes[i] = 0;
        s.bytes = bytes, s.value = value;
    } else {
        float *floats = kp_case_shared(c, 'f', total, spec->smallest, 1);
        for (int i = 0; i < total; i++)
            if (draw(0, 1, i, 1000) < 1000 * spec->zeros) floats[i] = 0;
        s.floats = floats;
    }
    s.label = kp_case_shared(c, 'i', KP_MLP_CASE_SAMPLES, 0, classes);
    if (spec->permuted) s.input_order = orders(c, n, 2), s.label_order = orders(c, classes, 3);
    s.index = kp_case_alloc(c, 'i', KP_IN, T, 0, KP_MLP_CASE_SAMPLES);
    return s;
}
