/* weights.c: see weights.h. */
#include "weights.h"

#include <stdio.h>
#include <stdlib.h>

/* All members' values of one tensor, in PyTorch's order; shape: [1 + n_dims]. */
static float *room_for(const kp_tensor *t, int P, int64_t *shape, kp_err *err) {
    shape[0] = P;
    for (int d = 0; d < t->n_dims; d++) shape[1 + d] = t->dims[d];
    float *all = malloc((size_t)P * (size_t)t->count * sizeof *all);
    if (!all) kp_fail(err, KP_BAD_CONFIG, "checkpoint: out of host memory for %s", t->name);
    return all;
}

static void name_of(char name[96], const char *group, const kp_tensor *t) {
    snprintf(name, 96, "%s/%s", group, t->name);
}

static kp_status save(kp_checkpoint_writer *writer, const char *group, const kp_layout *layout,
                      kp_backend *backend, int P, const float *buffer, kp_err *err) {
    size_t bytes = (size_t)P * (size_t)layout->N * sizeof(float);
    float *host = malloc(bytes);
    if (!host) return kp_fail(err, KP_BAD_CONFIG, "checkpoint: out of host memory for %s", group);
    kp_status st = kp_backend_download(backend, host, buffer, bytes, err);
    for (int i = 0; !st && i < layout->n_tensors; i++) {
        const kp_tensor *t = &layout->tensor[i];
        char name[96];
        int64_t shape[KP_CHECKPOINT_MAX_DIMS];
        float *all = room_for(t, P, shape, err);
        if (!all) st = KP_BAD_CONFIG;
        for (int p = 0; !st && p < P; p++)
            kp_tensor_export(t, host + p * layout->N, all + p * t->count);
        name_of(name, group, t);
        if (!st) st = kp_checkpoint_add(writer, name, KP_F32, 1 + t->n_dims, shape, all, err);
        free(all);
    }
    free(host);
    return st;
}

kp_status kp_weights_load(const kp_checkpoint *checkpoint, const char *group,
                          const kp_layout *layout, kp_backend *backend, int P, float *buffer,
                          kp_err *err) {
    size_t floats = (size_t)P * (size_t)layout->N;
    float *host = calloc(floats, sizeof *host);
    if (!host) return kp_fail(err, KP_BAD_CONFIG, "checkpoint: out of host memory for %s", group);
    kp_status st = KP_OK;
    for (int i = 0; !st && i < layout->n_tensors; i++) {
        const kp_tensor *t = &layout->tensor[i];
        char name[96];
        int64_t shape[KP_CHECKPOINT_MAX_DIMS];
        float *all = room_for(t, P, shape, err);
        if (!all) st = KP_BAD_CONFIG;
        name_of(name, group, t);
        if (!st) st = kp_checkpoint_get(checkpoint, name, KP_F32, 1 + t->n_dims, shape, all, err);
        for (int p = 0; !st && p < P; p++)
            kp_tensor_import(t, host + p * layout->N, all + p * t->count);
        free(all);
    }
    if (!st) st = kp_backend_upload(backend, buffer, host, floats * sizeof *host, err);
    free(host);
    return st;
}

kp_status kp_weights_pass(const kp_checkpoint_io *io, const char *group, const kp_layout *layout,
                          kp_backend *backend, int P, float *buffer, kp_err *err) {
    return io->to ? save(io->to, group, layout, backend, P, buffer, err)
                  : kp_weights_load(io->from, group, layout, backend, P, buffer, err);
}
