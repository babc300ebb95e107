/* dtype.h: element types of arrays in files. */
#pragma once
#include <stddef.h>

typedef enum { KP_F32, KP_F64, KP_I32, KP_I64, KP_U8, KP_U32, KP_U64 } kp_dtype;

enum { KP_N_DTYPES = KP_U64 + 1 };

extern const struct kp_dtype_row {
    const char *name; /* as safetensors has it */
    size_t size;      /* bytes of an element */
} kp_dtypes[KP_N_DTYPES];
