/* layout.c: see layout.h. */
#include "layout.h"

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
        if (t->init_bound == 0.0f) continue;
        for (int64_t e = 0; e < t->count; e += 4) {
            kp_philox_block b = kp_philox(seed, KP_STREAM_INIT,
                                          (uint64_t)i << 40 | (uint64_t)e / 4);
            for (int64_t k = e; k < e + 4 && k < t->count; k++)
                member[t->offset + kp_tensor_at(t, k)] = (2.0f * kp_uniform(b.x[k - e]) - 1.0f) *
                                                         t->init_bound;
        }
    }
}
