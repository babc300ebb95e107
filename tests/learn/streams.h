/* streams.h: small streams of made-up data, and what they left. */
#pragma once
#include <math.h>

#include "base/philox.h"
#include "runs.h"

enum { STREAMS_N = 200, STREAMS_H = 6, STREAMS_W = 5, STREAMS_INPUTS = STREAMS_H * STREAMS_W, STREAMS_CLASSES = 4 };

/* A pixel of a sample: of its class, with noise; a third of them are 0. */
static inline uint8_t streams_pixel(int sample, int j) {
    uint32_t of_class = kp_philox(7, KP_STREAM_TEST, (uint64_t)(sample % STREAMS_CLASSES) << 32 | (uint64_t)j).x[0];
    uint32_t noise = kp_philox(8, KP_STREAM_TEST, (uint64_t)sample << 32 | (uint64_t)j).x[0];
    return of_class % 3 == 0 ? 0 : (uint8_t)(of_class % 180 + noise % 76);
}

static inline void streams_put(const char *dir, const char *name, const void *bytes, size_t n) {
    char path[KP_PATH];
    kp_err err = { "" };
    cr_assert_eq(kp_path_join(path, dir, name, &err), KP_OK);
    cr_assert_eq(kp_file_write(path, bytes, n, &err), KP_OK, "%s", err.text);
}

/* An NPY file, version 1: a head of 128 bytes, then the elements. shape: "(3, 4)" */
static inline void streams_put_npy(const char *dir, const char *name, const char *type, const char *shape,
                                   const void *data, size_t n) {
    uint8_t *file = calloc(1, 128 + n);
    char *head = (char *)file + 10;
    memcpy(file, "\x93NUMPY\x01\x00\x76\x00", 10);
    memset(head, ' ', 118);
    int end = snprintf(head, 118, "{'descr': '%s', 'fortran_order': False, 'shape': %s, }", type, shape);
    head[end] = ' ', head[117] = '\n';
    memcpy(file + 128, data, n);
    streams_put(dir, name, file, 128 + n);
    free(file);
}

/* Makes dir with IDX files of the pixels, or NPY files of floats. */
static inline void streams_make_data(const char *dir, int floats) {
    enum { N = STREAMS_N, D = STREAMS_INPUTS };
    static const uint8_t images_head[16] = { 0, 0, 8, 3, 0, 0, 0, N, 0, 0, 0, STREAMS_H, 0, 0, 0, STREAMS_W },
                         labels_head[8] = { 0, 0, 8, 1, 0, 0, 0, N };
    uint8_t images[16 + N * D], labels[8 + N];
    float features[N * D];
    int32_t classes[N];
    char shape[64];
    cr_assert_eq(kp_folder_make(dir, NULL), KP_OK);
    memcpy(images, images_head, sizeof images_head);
    memcpy(labels, labels_head, sizeof labels_head);
    for (int i = 0; i < N; i++) {
        classes[i] = labels[8 + i] = (uint8_t)(i % STREAMS_CLASSES);
        for (int j = 0; j < D; j++) {
            images[16 + i * D + j] = streams_pixel(i, j);
            features[i * D + j] = (float)streams_pixel(i, j) / 100 - 0.5f * (float)(j % 2);
        }
    }
    if (!floats) {
        streams_put(dir, "train-images-idx3-ubyte", images, sizeof images);
        streams_put(dir, "train-labels-idx1-ubyte", labels, sizeof labels);
        return;
    }
    snprintf(shape, sizeof shape, "(%d, %d)", N, D);
    streams_put_npy(dir, "features.npy", "<f4", shape, features, sizeof features);
    snprintf(shape, sizeof shape, "(%d,)", N);
    streams_put_npy(dir, "labels.npy", "<i4", shape, classes, sizeof classes);
}

/* Tasks of 130 samples, rows each 100 too, blocks of 30 to 100; the last task is cut off. */
static inline kp_config streams_config(const char *data_dir, int n, const char *const *more) {
    char dir[KP_PATH + 16];
    snprintf(dir, sizeof dir, "data.dir=%s", data_dir);
    const char *small[] = { "data.set=custom", dir, "threads=1", "train.samples=700", "stream.task_samples=130",
                            "net.widths=19-12", "log.interval_steps=100", "checkpoint.interval_seconds=0",
                            "optim.lr=0.003" };
    enum { N = sizeof small / sizeof *small };
    const char *args[N + 24];
    kp_config c;
    kp_err err = { "" };
    memcpy(args, small, sizeof small);
    for (int i = 0; i < n; i++) args[N + i] = more[i];
    cr_assert_eq(kp_config_load(&c, NULL, "stream-input-permuted-mnist", N + n, args, &err), KP_OK, "%s", err.text);
    return c;
}

static inline void streams_set(kp_config *c, const char *key, const char *value) {
    kp_err err = { "" };
    cr_assert_eq(kp_config_set(c, NULL, key, value, "test", &err), KP_OK, "%s", err.text);
}

/* Members that differ in seed, kappa and step size. `id` is who, not where. */
static inline kp_config streams_member(const kp_config *common, int id) {
    static const char *const kappa[] = { "none", "1", "0.5", "{hidden: 1, output: 0.25}" };
    kp_config c = *common;
    char seed[32], lr[32];
    snprintf(seed, sizeof seed, "%d", 1000 + 17 * id);
    snprintf(lr, sizeof lr, "%g", common->optim.lr * (1 + id % 3));
    streams_set(&c, "seed", seed);
    streams_set(&c, "optim.lr", lr);
    streams_set(&c, "optim.clip.kappa", kappa[id % 4]);
    return c;
}

static const char *const streams_tensors[] = { "layer1.weight", "layer1.bias",   "layer2.weight",
                                               "layer2.bias",   "layer3.weight", "layer3.bias" };
enum { STREAMS_TENSORS = sizeof streams_tensors / sizeof *streams_tensors };

/* One member's part of an array of a checkpoint [P][n]; NULL where there is none. Borrowed from c. */
static inline const float *streams_tensor(const kp_checkpoint *c, const char *group, int t, int P, int p, size_t *n) {
    char name[64];
    const void *data;
    snprintf(name, sizeof name, "%s/%s", group, streams_tensors[t]);
    if (kp_checkpoint_borrow(c, name, KP_F32, &data, n, NULL)) return NULL;
    *n /= (size_t)P;
    return (const float *)data + *n * (size_t)p;
}

/* Member p of the run in a (of P) has the weights and moments of member q of the run in b (of Q). */
static inline void streams_expect_same_state(const char *a, int P, int p, const char *b, int Q, int q) {
    static const char *const groups[] = { "theta", "m", "v", "u", "mean" };
    kp_checkpoint *ca = runs_checkpoint(a), *cb = runs_checkpoint(b);
    for (size_t g = 0; g < sizeof groups / sizeof *groups; g++)
        for (int t = 0; t < STREAMS_TENSORS; t++) {
            size_t n, m;
            const float *x = streams_tensor(ca, groups[g], t, P, p, &n), *y = streams_tensor(cb, groups[g], t, Q, q, &m);
            cr_assert((g || t || x) && !x == !y, "%s/%s of %s and %s", groups[g], streams_tensors[t], a, b);
            cr_expect(!x || (n == m && !memcmp(x, y, n * sizeof *x)), "%s/%s: member %d of %s and member %d of %s",
                      groups[g], streams_tensors[t], p, a, q, b);
        }
    kp_checkpoint_close(ca);
    kp_checkpoint_close(cb);
}

/* The numbers in a column of the member's rows, value: [most]; how many. */
static inline int streams_column(const char *dir, int member, const char *column, double *value, int most) {
    char *all = runs_text(dir, "metrics.csv"), *rest = NULL, *line = strtok_r(all, "\n", &rest), *cells = NULL, *cell;
    int at = 0, wanted = -1, n = 0;
    for (cell = strtok_r(line, ",", &cells); cell; cell = strtok_r(NULL, ",", &cells), at++)
        if (!strcmp(cell, column)) wanted = at;
    cr_assert_geq(wanted, 0, "%s: no column %s", dir, column);
    while ((line = strtok_r(NULL, "\n", &rest))) {
        if (atoi(line) != member) continue;
        char *from = line;
        for (int i = 0; i < wanted; i++) from = strchr(from, ',') + 1;
        cr_assert_lt(n, most);
        value[n++] = *from == ',' || !*from ? NAN : strtod(from, NULL);
    }
    free(all);
    return n;
}

static inline double streams_last(const char *dir, int member, const char *column) {
    double value[1000];
    int n = streams_column(dir, member, column, value, 1000);
    cr_assert_gt(n, 0, "%s has rows of member %d", dir, member);
    return value[n - 1];
}
