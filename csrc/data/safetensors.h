/* safetensors.h: arrays by name from a .safetensors file.
 *
 *     st = kp_safetensors_open(&file, path, &err);
 *     st = kp_safetensors_find(file, "layer1.weight", &array, &err);
 *     ... array.shape, array.data ...
 *     kp_safetensors_close(file);
 *
 * Opening checks the whole head: every array lies within the file, they follow one another without gap or
 * overlap to its end, as the format asks. Failures are KP_BAD_DATA and name the file. The file is mapped: nobody
 * may cut it off meanwhile. */
#pragma once
#include "array.h"

typedef struct kp_safetensors kp_safetensors;

kp_status kp_safetensors_open(kp_safetensors **file, const char *path, kp_err *err);
void kp_safetensors_close(kp_safetensors *file); /* NULL is fine */

int kp_safetensors_has(const kp_safetensors *file, const char *name);

/* The array, borrowed until close and aligned to nothing (memcpy). KP_BAD_DATA: there is none of that name,
 * or of a type that is not in kp_dtype. */
kp_status kp_safetensors_find(const kp_safetensors *file, const char *name, kp_array *array, kp_err *err);
