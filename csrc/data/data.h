/* data.h: labelled samples, whole in host memory.
 *
 *     st = kp_data_open(&data, &(kp_data_options){ .set = "fashion-mnist", .dir = "" }, &err);
 *     ... data->bytes, data->label ...
 *     kp_data_close(data);
 *
 * A set is a row of the table in sets.c: its files, where they are looked for, what they must hold. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "kappa/status.h"

typedef struct {
    const char *set; /* "fashion-mnist", ...; "custom": whatever data.dir holds */
    const char *dir; /* "": where the set is looked for (kp_data_where) */
    int is_test;     /* 1: the test split, where the set has one */
} kp_data_options;

typedef struct {
    int n, n_inputs, n_classes;
    int height, width;    /* of images, row by row; 1 x n_inputs for features */
    const uint8_t *bytes; /* [n][n_inputs]; NULL: floats */
    const float *floats;  /* [n][n_inputs], all finite; NULL: bytes */
    const int32_t *label; /* [n] 0 .. n_classes - 1 */
    char source[1024];    /* the files, for logs */
} kp_data;

/* KP_BAD_DATA (exit 3) names the file and what is wrong: missing, truncated, another format, counts that
 * do not match, a label out of range, a feature that is not finite, another checksum than the set's. */
kp_status kp_data_open(kp_data **data, const kp_data_options *options, kp_err *err);
void kp_data_close(kp_data *data); /* NULL is fine */

/* For `kappa list data` and `kappa doctor`. */
typedef struct {
    const char *name, *what; /* "fashion-mnist", "Fashion-MNIST, 60,000 images of clothes, 10 classes" */
    const char *how;         /* how to get it, one line */
} kp_data_set;
int kp_n_data_sets(void);
const kp_data_set *kp_data_set_at(int i);

/* Where the set's files stand on this machine: KP_OK and dir, or KP_BAD_DATA and what was looked for. Reads
 * no more than the files' names and sizes. */
kp_status kp_data_where(const char *set, const char *dir, char *found, size_t size, kp_err *err);
