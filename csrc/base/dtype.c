/* dtype.c: names and sizes of element types. */
#include "dtype.h"

const struct kp_dtype_row kp_dtypes[KP_N_DTYPES] = {
    [KP_F32] = { "F32", 4 }, [KP_F64] = { "F64", 8 }, [KP_I32] = { "I32", 4 },
    [KP_I64] = { "I64", 8 }, [KP_U8] = { "U8", 1 },   [KP_U32] = { "U32", 4 },
    [KP_U64] = { "U64", 8 },
};
