/* layout.c: see layout.h. */
#include "layout.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/philox.h"

int64_t kp_tensor_at(const kp_tensor *t, int64_t at) {
    switch (t->order) {
    case KP_ORDER_SAME: return at;
    case KP_ORDER_HWIO: {
        int64_t in = t->dims[1], kh = t->dims[2], kw = t->dims[3];
        int64_t x = at % kw, y = at / kw % kh, i = at / (kw * kh) % in, o = at / (kw * kh * in);
        return ((y * kw + x) * in + i) * t->dims[0] + o;
    }
    case KP_ORDER_HWC_OUT: {
        int64_t x = at % t->flat_w, y = at / t->flat_w % t->flat_h;
        int64_t c = at / ((int64_t)t->flat_w * t->flat_h) % t->flat_c, o = at / t->dims[1];
        return ((y * t->flat_w + x) * t->flat_c + c) * t->dims[0] + o;
    }
    case KP_ORDER_IN_ROWS: return at % t->dims[1] * t->row + at / t->dims[1];
    }
    return at;
}

const kp_tensor *kp_layout_find(const kp_layout *l, const char *name) {
    for (int i = 0; i < l->n_tensors; i++)
        if (!strcmp(l->tensor[i].name, name)) return &l->tensor[i];
    return NULL;
}

void kp_tensor_export(const kp_tensor *t, const float *member, float *canonical) {
    for (int64_t e = 0; e < t->count; e++) canonical[e] = member[t->offset + kp_tensor_at(t, e)];
}

void kp_tensor_import(const kp_tensor *t, float *member, const float *canonical) {
    for (int64_t e = 0; e < t->count; e++) member[t->offset + kp_tensor_at(t, e)] = canonical[e];
}

void kp_layout_init(const kp_layout *l, uint64_t seed, float *member) {
    for (int i = 0; i < l->n_tensors; i++) {
        const kp_tensor *t = &l->tensor[i];
        if (t->init_bound == 0.0f) {
            for (int64_t e = 0; e < t->count; e++)
                member[t->offset + kp_tensor_at(t, e)] = t->init_value;
            continue;
        }
        for (int64_t e = 0; e < t->count; e += 4) {
            kp_philox_block b = kp_philox(seed, KP_STREAM_INIT,
                                          (uint64_t)i << 40 | (uint64_t)e / 4);
            for (int64_t k = e; k < e + 4 && k < t->count; k++)
                member[t->offset + kp_tensor_at(t, k)] = kp_uniform_within(b.x[k - e],
                                                                           t->init_bound);
        }
    }
}

void kp_tensor_scale(kp_tensor *weight, kp_tensor *bias, kp_init init) {
    int64_t field = weight->n_dims == 4 ? weight->dims[2] * weight->dims[3] : 1;
    double fan_in = (double)(weight->dims[1] * field), fan_out = (double)(weight->dims[0] * field);
    weight->scale_fan_in = bias->scale_fan_in = (float)(1.0 / sqrt(fan_in));
    weight->init_bound = (float)(init == KP_INIT_XAVIER ? sqrt(6.0 / (fan_in + fan_out))
                                                        : 1.0 / sqrt(fan_in));
    bias->init_bound = init == KP_INIT_XAVIER ? 0.0f : weight->init_bound;
    weight->scale_init = bias->scale_init = weight->init_bound;
}

kp_status kp_layout_place(kp_layout *l, kp_err *err) {
    for (int i = 0; i < l->n_tensors; i++) {
        kp_tensor *t = &l->tensor[i];
        t->count = 1;
        for (int d = 0; d < t->n_dims; d++) t->count *= t->dims[d];
        int64_t floats = t->order == KP_ORDER_IN_ROWS ? t->dims[1] * t->row : t->count;
        t->offset = l->N;
        t->n_chunks = (int)((floats + KP_CHUNK - 1) / KP_CHUNK);
        l->N += (int64_t)t->n_chunks * KP_CHUNK;
        l->n_chunks += t->n_chunks;
    }
    l->chunk_tensor = calloc((size_t)l->n_chunks, sizeof *l->chunk_tensor);
    if (!l->chunk_tensor) return kp_fail(err, KP_BAD_CONFIG, "net: out of host memory");
    for (int i = 0, c = 0; i < l->n_tensors; i++)
        for (int k = 0; k < l->tensor[i].n_chunks; k++) l->chunk_tensor[c++] = i;
    return KP_OK;
}

void kp_layout_release(kp_layout *l) {
    free(l->tensor);
    free(l->chunk_tensor);
    *l = (kp_layout){ 0 };
}
