/* op_case.h: one operation of the tables of tests: its arguments with their memory, and its
 * reference. Used by ops.c and, for the CUDA side, by tests/hostcuda.
 *
 * make() fills args and asks for memory: every buffer is guarded on both ends and holds, for member
 * `first + p`, values that depend on that number only; outputs are poisoned. reference() does, on a
 * second case made alike, in plain doubles, what the operation shall do; what neither writes (a
 * border, an inactive member) must then be equal too. */
#pragma once
#include "ops.h"

typedef enum {
    KP_IN,
    KP_OUT,   /* made anew by every run */
    KP_IN_OUT, /* state: an inactive member's stays as it is */
    KP_SCRATCH /* overwritten with what is nobody else's business: not compared */
} kp_use;

typedef struct {
    char *raw; /* guard, contents, guard */
    void *at;
    size_t bytes, member_bytes; /* member_bytes 0: shared by all */
    char type;                  /* 'f' float, 'd' double, 'i' int32, 'l' int64, 'b' bytes */
    kp_use use;
} kp_case_buffer;

typedef struct {
    int P, first;
    _Alignas(16) unsigned char args[1024];
    kp_case_buffer buffer[24];
    int n_buffers;
} kp_case;

typedef struct {
    const char *name; /* what is special about it */
    int op;           /* KP_OP_... */
    void (*make)(kp_case *c);
    void (*reference)(const void *args); /* NULL: a test of its own has one */
    double tolerance; /* relative to the buffer's largest value; 0: every bit */
} kp_op_row;

/* Around every buffer; the first value of a guard, and of what a run makes anew, is NaN as a float. */
enum { KP_CASE_GUARD = 128, KP_CASE_POISON = 0xFF };

/* Memory for P members of n values each, uniform in [lo, hi] ('i': integers, hi excluded). */
void *kp_case_alloc(kp_case *c, char type, kp_use use, int64_t n, double lo, double hi);

/* The same once for all members. */
void *kp_case_shared(kp_case *c, char type, int64_t n, double lo, double hi);

/* A case with its memory: members first .. first + P - 1. */
kp_case kp_case_open(const kp_op_row *row, int P, int first);
void kp_case_close(kp_case *c);

/* Puts NaN, infinities, huge, subnormal and zero values among the floats and doubles that the
 * operation reads, the same in every case made alike. */
void kp_case_make_special(kp_case *c);

/* Whether anything was written outside the buffers; says what. */
int kp_case_overrun(const kp_case *c, char *says, size_t size);

/* Whether n members of two cases differ in any bit, NaN being equal to NaN; says where. uses: bits 1
 * << kp_use of the buffers to compare; those shared by all members always whole. */
int kp_case_differs(const kp_case *got, int got_member, const kp_case *want, int want_member, int n,
                    unsigned uses, char *says, size_t size);

/* Whether floats and doubles that `got` wrote lie further from the reference's than tolerance times the
 * buffer's largest value, or anything else differs, or was written where the reference wrote nothing;
 * says where. */
int kp_case_is_far(const kp_case *got, const kp_case *want, double tolerance, char *says, size_t size);

/* Rows of the element operations (ops_element.c), of layers (ops_layers.c), of small networks (ops_mlp.c)
 * and of what replaces their units (ops_units.c); each ends with a row without a name. */
extern const kp_op_row kp_element_rows[], kp_layer_rows[], kp_mlp_rows[], kp_units_rows[];
