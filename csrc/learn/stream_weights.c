/* stream_weights.c: the weights that a stream begins with. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "data/safetensors.h"
#include "stream_impl.h"

static kp_status check_shape(const kp_tensor *t, const kp_array *a, const char *path, kp_err *err) {
    char seen[96], expected[96];
    kp_array want = { .type = KP_F32, .n_dims = t->n_dims };
    memcpy(want.shape, t->dims, (size_t)t->n_dims * sizeof *want.shape);
    if (a->type == want.type && a->n_dims == want.n_dims &&
        !memcmp(a->shape, want.shape, (size_t)t->n_dims * sizeof *want.shape))
        return KP_OK;
    return kp_fail(err, KP_BAD_DATA, "%s: %s is %s, expected %s for these data and net.widths",
                   path, t->name, kp_array_describe(a, seen), kp_array_describe(&want, expected));
}

static kp_status check_values(const kp_tensor *t, const kp_array *a, const char *path,
                              kp_err *err) {
    for (int64_t i = 0; i < t->count; i++) {
        float x;
        memcpy(&x, (const char *)a->data + (size_t)i * sizeof x, sizeof x);
        if (!isfinite(x))
            return kp_fail(err, KP_BAD_DATA,
                           "%s: element %" PRId64 " of %s is %g, expected a number", path, i,
                           t->name, (double)x);
    }
    return KP_OK;
}

/* Tensors in PyTorch's order, under the names of nn/mlp.h. */
static kp_status read_weights(const kp_layout *layout, const char *path, float *member,
                              kp_err *err) {
    kp_safetensors *file = NULL;
    kp_status st = kp_safetensors_open(&file, path, err);
    for (int i = 0; !st && i < layout->n_tensors; i++) {
        const kp_tensor *t = &layout->tensor[i];
        kp_array a = { 0 };
        float *canonical = malloc((size_t)t->count * sizeof *canonical);
        if (!canonical) st = kp_fail(err, KP_BAD_CONFIG, "%s: out of host memory", path);
        if (!st) st = kp_safetensors_find(file, t->name, &a, err);
        if (!st) st = check_shape(t, &a, path, err);
        if (!st) st = check_values(t, &a, path, err);
        if (!st) {
            memcpy(canonical, a.data, (size_t)t->count * sizeof *canonical);
            kp_tensor_import(t, member, canonical);
        }
        free(canonical);
    }
    kp_safetensors_close(file);
    return st;
}

kp_status kp_stream_first_weights(kp_stream *s, kp_err *err) {
    const char *path = s->member->net.init_from;
    kp_status st = KP_OK;
    for (int p = 0; !st && p < s->P; p++) {
        float *member = s->first_theta + p * s->layout.N;
        if (!*path) kp_layout_init(&s->layout, s->seed[p], member);
        else if (p) memcpy(member, s->first_theta, (size_t)s->layout.N * sizeof *member);
        else st = read_weights(&s->layout, path, member, err);
    }
    return st;
}
