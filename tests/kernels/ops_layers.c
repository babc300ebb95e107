/* ops_layers.c: rows of the layers' operations; conv.c and dense.c test their shapes. */
#include "kernels/op_case.h"

const kp_op_row kp_layer_rows[] = {
    { 0 },
};
