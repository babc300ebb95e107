/* ops.c: every operation of the table, in every mode. A new operation adds one row to
 * ops_element.c, ops_layers.c, ops_mlp.c or ops_units.c. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "backend/cpu/cpu_features.h"
#include "base/philox.h"
#include "kernels/op_case.h"

enum { GUARD = KP_CASE_GUARD, POISON = KP_CASE_POISON, P = 3 };

static const kp_op_row *const tables[] = { kp_element_rows, kp_layer_rows, kp_mlp_rows,
                                           kp_units_rows };

/* ---- running --------------------------------------------------------------------------------- */

/* WHOLE: members one after the other, each in one piece; BACKWARD: slice by slice from the last;
 * SHUFFLED: pieces of one to three slices in any order. */
typedef enum { WHOLE, BACKWARD, SHUFFLED } order;

typedef struct {
    int member;
    kp_slices slices;
} piece;

static uint64_t draw(int i, uint64_t below) {
    return kp_below(kp_philox(5, KP_STREAM_TEST, (uint64_t)i).x[0], 0, below);
}

static int cut(piece *to, int P, int n, order order) {
    int pieces = 0;
    for (int p = 0; p < P; p++)
        for (int at = 0; at < n;) {
            int length = order == WHOLE ? n : order == BACKWARD ? 1 : 1 + (int)draw(pieces, 3);
            int end = at + length < n ? at + length : n;
            to[pieces++] = (piece){ p, { at, end } };
            at = end;
        }
    for (int i = pieces - 1; order != WHOLE && i > 0; i--) {
        int k = order == BACKWARD ? pieces - 1 - i : (int)draw(i, (uint64_t)i + 1);
        if (order == BACKWARD && k >= i) break;
        piece t = to[i];
        to[i] = to[k], to[k] = t;
    }
    return pieces;
}

static void run(const kp_op *op, kp_case *c, order order, unsigned active) {
    int n = op->n_slices(c->args);
    size_t scratch_bytes = op->scratch_bytes ? op->scratch_bytes(c->args) : 0;
    char *scratch = aligned_alloc(64, (scratch_bytes + GUARD + 63) / 64 * 64);
    cr_assert(n >= 1, "%s: %d slices", op->name, n);
    piece *pieces = malloc((size_t)(n * c->P) * sizeof *pieces);
    int n_pieces = cut(pieces, c->P, n, order);
    for (int i = 0; i < n_pieces; i++) {
        if (!(active >> pieces[i].member & 1)) continue;
        memset(scratch, POISON, scratch_bytes + GUARD);
        op->cpu(c->args, pieces[i].member, pieces[i].slices, scratch);
        for (int k = 0; k < GUARD; k++)
            cr_assert_eq((unsigned char)scratch[scratch_bytes + (size_t)k], POISON,
                         "%s wrote past its scratch memory", op->name);
    }
    free(pieces);
    free(scratch);
}

/* ---- comparing ------------------------------------------------------------------------------- */

static void expect_guards(const char *what, const kp_case *c) {
    char says[128];
    cr_assert(!kp_case_overrun(c, says, sizeof says), "%s: %s", what, says);
}

static void expect_bits(const char *what, const kp_case *got, int got_member, const kp_case *want,
                        int want_member, int n_members) {
    char says[128];
    cr_assert(!kp_case_differs(got, got_member, want, want_member, n_members, ~0u, says,
                               sizeof says),
              "%s: %s", what, says);
}

static void expect_near(const char *what, const kp_case *got, const kp_case *want,
                        double tolerance) {
    char says[128];
    cr_assert(!kp_case_is_far(got, want, tolerance, says, sizeof says), "%s: %s", what, says);
}

/* ---- modes ----------------------------------------------------------------------------------- */

static void equals_reference(const kp_op_row *row) {
    if (!row->reference) return;
    kp_case got = kp_case_open(row, P, 0), want = kp_case_open(row, P, 0);
    run(kp_op_get(row->op), &got, WHOLE, ~0u);
    row->reference(want.args);
    expect_guards(row->name, &got);
    expect_near(row->name, &got, &want, row->tolerance);
    kp_case_close(&got), kp_case_close(&want);
}

static void equal_at_every_width(const kp_op_row *row) {
    kp_case want = kp_case_open(row, P, 0);
    run(kp_op_get_isa(row->op, KP_ISA_GENERIC), &want, WHOLE, ~0u);
    for (int level = KP_ISA_GENERIC; level <= (int)kp_isa(); level++) {
        kp_case got = kp_case_open(row, P, 0);
        run(kp_op_get_isa(row->op, level), &got, WHOLE, ~0u);
        expect_guards(row->name, &got);
        expect_bits(row->name, &got, 0, &want, 0, P);
        kp_case_close(&got);
    }
    kp_case_close(&want);
}

static void equal_in_any_order(const kp_op_row *row) {
    kp_case want = kp_case_open(row, P, 0);
    run(kp_op_get(row->op), &want, WHOLE, ~0u);
    for (int o = BACKWARD; o <= SHUFFLED; o++) {
        kp_case got = kp_case_open(row, P, 0);
        run(kp_op_get(row->op), &got, (order)o, ~0u);
        expect_bits(row->name, &got, 0, &want, 0, P);
        kp_case_close(&got);
    }
    kp_case_close(&want);
}

static void member_equals_itself_alone(const kp_op_row *row) {
    kp_case all = kp_case_open(row, P, 0);
    run(kp_op_get(row->op), &all, WHOLE, ~0u);
    for (int p = 0; p < P; p++) {
        kp_case alone = kp_case_open(row, 1, p);
        run(kp_op_get(row->op), &alone, WHOLE, ~0u);
        expect_guards(row->name, &alone);
        expect_bits(row->name, &all, p, &alone, 0, 1);
        kp_case_close(&alone);
    }
    kp_case_close(&all);
}

static void inactive_members_are_untouched(const kp_op_row *row) {
    kp_case got = kp_case_open(row, P, 0), before = kp_case_open(row, P, 0),
            all = kp_case_open(row, P, 0);
    run(kp_op_get(row->op), &got, WHOLE, 5u);
    run(kp_op_get(row->op), &all, WHOLE, ~0u);
    expect_bits(row->name, &got, 0, &all, 0, 1);
    expect_bits(row->name, &got, 1, &before, 1, 1);
    expect_bits(row->name, &got, 2, &all, 2, 1);
    kp_case_close(&got), kp_case_close(&before), kp_case_close(&all);
}

static void every_row(void (*mode)(const kp_op_row *row)) {
    for (size_t t = 0; t < KP_COUNT(tables); t++)
        for (const kp_op_row *row = tables[t]; row->name; row++) mode(row);
}

Test(ops, equals_reference) { every_row(equals_reference); }
Test(ops, equal_at_every_width) { every_row(equal_at_every_width); }
Test(ops, equal_in_any_order) { every_row(equal_in_any_order); }
Test(ops, member_equals_itself_alone) { every_row(member_equals_itself_alone); }
Test(ops, inactive_members_are_untouched) { every_row(inactive_members_are_untouched); }

Test(ops, every_operation_has_a_row) {
    for (int id = 0; id < KP_N_OPS; id++) {
        int found = 0;
        for (size_t t = 0; t < KP_COUNT(tables); t++)
            for (const kp_op_row *row = tables[t]; row->name; row++) found |= row->op == id;
        cr_expect(found, "%s has no row in the table of tests", kp_op_get(id)->name);
    }
}
