/* op_case.h: one operation of the table in ops.c: its arguments with their memory, and its
 * reference.
 *
 * make() fills args and asks for memory: every buffer is guarded on both ends and holds, for member
 * `first + p`, values that depend on that number only; outputs are poisoned. reference() does, on a
 * second case made alike, in plain doubles, what the operation shall do; what neither writes (a
 * border, an inactive member) must then be equal too. */
#pragma once
#include "ops.h"

/* Bytes of a guard; the byte of which guards and, at first, outputs are made: floats are NaN. */
enum { KP_CASE_GUARD = 128, KP_CASE_POISON = 0xFF };

typedef enum { KP_IN, KP_OUT, KP_IN_OUT } kp_use;

typedef struct {
    char *raw; /* guard, contents, guard */
    void *at;
    size_t bytes, member_bytes; /* member_bytes 0: shared by all */
    char type;                  /* 'f' float, 'd' double, 'i' int32, 'b' bytes */
    kp_use use;
} kp_case_buffer;

typedef struct {
    int P, first;
    _Alignas(16) unsigned char args[320];
    kp_case_buffer buffer[16];
    int n_buffers;
} kp_case;

typedef struct {
    const char *name; /* what is special about it */
    int op;           /* KP_OP_... */
    void (*make)(kp_case *c);
    void (*reference)(const void *args);
    double tolerance; /* relative to the buffer's largest value; 0: every bit */
} kp_op_row;

/* Memory for P members of n values each, uniform in [lo, hi] ('i': integers, hi excluded). */
void *kp_case_alloc(kp_case *c, char type, kp_use use, int64_t n, double lo, double hi);

/* The same once for all members. */
void *kp_case_shared(kp_case *c, char type, int64_t n, double lo, double hi);

/* The row's case for members first, first + 1, ...; yours to drop. */
kp_case kp_case_make(const kp_op_row *row, int members, int first);
void kp_case_drop(kp_case *c);

/* Fail the test, naming `what`, buffer and place, unless: no guard was written to; the bits of n_members
 * members, from the given ones on, agree; got is within tolerance of the reference's case and
 * untouched where that is. */
void kp_case_expect_guards(const char *what, const kp_case *c);
void kp_case_expect_bits(const char *what, const kp_case *got, size_t got_member,
                         const kp_case *want, size_t want_member, int n_members);
void kp_case_expect_near(const char *what, const kp_case *got, const kp_case *want,
                         double tolerance);

/* Rows of the element operations (ops_element.c) and of layers (ops_layers.c); each ends with a row
 * without a name. */
extern const kp_op_row kp_element_rows[], kp_layer_rows[];
