/* array.c: sizes in 64 bits, checked before memory is taken. */
#include "array.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

kp_status kp_array_measure(kp_array *a, uint64_t *bytes, const char *path, kp_err *err) {
    uint64_t n = 1;
    int is_empty = 0, overflows = 0;
    for (int i = 0; i < a->n_dims; i++) is_empty |= a->shape[i] == 0;
    for (int i = 0; i < a->n_dims && !is_empty; i++)
        overflows |= __builtin_mul_overflow(n, (uint64_t)a->shape[i], &n);
    if (is_empty) n = 0;
    overflows |= __builtin_mul_overflow(n, kp_dtypes[a->type].size, bytes);
    if (overflows || *bytes > INT64_MAX) {
        char text[96];
        return kp_fail(err, KP_BAD_DATA, "%s: its header says %s, more bytes than there can be",
                       path, kp_array_describe(a, text));
    }
    a->n = (int64_t)n;
    return KP_OK;
}

kp_status kp_array_take(void **memory, uint64_t bytes, const char *path, kp_err *err) {
    int64_t there = kp_memory_available();
    *memory = NULL;
    if (bytes > (uint64_t)there || !(*memory = malloc(bytes ? bytes : 1)))
        return kp_fail(err, KP_BAD_CONFIG, "%s: needs %.2f GiB of memory, %.2f may be taken", path,
                       (double)bytes / 0x1p30, (double)there / 0x1p30);
    return KP_OK;
}

kp_status kp_array_fill(kp_array *a, uint64_t bytes, kp_source *source, const char *path,
                        kp_err *err) {
    char text[96];
    if (bytes > kp_source_most(source))
        return kp_fail(
            err, KP_BAD_DATA,
            "%s: its header says %s, more than a file of its size can hold; it is cut off: "
            "fetch it again",
            path, kp_array_describe(a, text));
    kp_status st = kp_array_take(&a->memory, bytes, path, err);
    a->data = a->memory;
    if (!st) st = kp_source_take(source, a->data, bytes, "its elements", err);
    if (!st) st = kp_source_end(source, err);
    return st;
}

void kp_array_free(kp_array *a) {
    free(a->memory);
    *a = (kp_array){ 0 };
}

const char *kp_array_describe(const kp_array *a, char text[96]) {
    size_t n = 0, size = 96;
    *text = 0;
    for (int i = 0; i < a->n_dims && n < size; i++)
        n += (size_t)snprintf(text + n, size - n, "%s%lld", i ? " x " : "", (long long)a->shape[i]);
    if (n < size) snprintf(text + n, size - n, "%s%s", n ? " " : "one ", kp_dtypes[a->type].name);
    return text;
}
