/* array.h: an array as a file has it, of known type and shape, C order, in this machine's byte order. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "base/dtype.h"
#include "kappa/status.h"
#include "source.h"

enum { KP_ARRAY_DIMS = 8 };

typedef struct {
    kp_dtype type;
    int n_dims;
    int64_t shape[KP_ARRAY_DIMS]; /* each 0 or more */
    int64_t n;                    /* elements */
    void *data;                   /* aligned for the type */
    void *memory;                 /* what kp_array_free frees; NULL: data is borrowed */
} kp_array;

/* n and *bytes from type and shape. KP_BAD_DATA where that many cannot be. */
kp_status kp_array_measure(kp_array *array, uint64_t *bytes, const char *path, kp_err *err);

/* Takes memory for `bytes`: KP_BAD_CONFIG where the machine has not so much. */
kp_status kp_array_take(void **memory, uint64_t bytes, const char *path, kp_err *err);

/* The elements, which are the rest of the source, into memory of the array's own. */
kp_status kp_array_fill(kp_array *array, uint64_t bytes, kp_source *source, const char *path, kp_err *err);

void kp_array_free(kp_array *array);

/* "60000 x 28 x 28 U8" */
const char *kp_array_describe(const kp_array *array, char text[96]);

/* IDX, plain or gzip: unsigned bytes, int32 or float32. md5 NULL, or what the content must have. */
kp_status kp_idx_read(kp_array *array, const char *path, const char *md5, kp_err *err);

/* NPY, version 1 to 3: float32, uint8, int32 or int64, little endian, C order. */
kp_status kp_npy_read(kp_array *array, const char *path, kp_err *err);

/* Rows of numbers, labels among them.
 *   features  [n][d]  F32; U8 where every number is whole, 0 to 255
 *   label     [n]     I64
 * is_bytes: every feature must be such a byte. label_first: the label is the first column, else the last; a
 * header that names a column "label" says it before either. md5 as above. */
kp_status kp_csv_read(kp_array *features, kp_array *label, const char *path, int is_bytes, int label_first,
                      const char *md5, kp_err *err);
