/* ops.c: every operation of the table, in every mode. A new operation adds one row to
 * ops_element.c or ops_layers.c. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "backend/cpu/cpu_features.h"
#include "base/philox.h"
#include "kernels/op_case.h"

enum { GUARD = 128, POISON = 0xA5, P = 3 };

static const kp_op_row *const tables[] = { kp_element_rows, kp_layer_rows };

/* ---- cases ----------------------------------------------------------------------------------- */

static void *add_buffer(kp_case *c, char type, kp_use use, int members, int64_t n, double lo,
                        double hi) {
    size_t size = type == 'd' ? 8 : type == 'b' ? 1 : 4;
    kp_case_buffer *b = &c->buffer[c->n_buffers++];
    cr_assert(c->n_buffers <= (int)KP_COUNT(c->buffer));
    b->member_bytes = members ? (size_t)n * size : 0;
    b->bytes = (size_t)n * size * (size_t)(members ? members : 1);
    b->type = type, b->use = use;
    b->raw = aligned_alloc(64, (b->bytes + 2 * GUARD + 63) / 64 * 64);
    memset(b->raw, POISON, b->bytes + 2 * GUARD);
    b->at = b->raw + GUARD;
    for (int64_t i = 0; use != KP_OUT && i < (members ? members : 1) * n; i++) {
        uint64_t seed = members ? 1000u + (uint64_t)(c->first + i / n) : 7u;
        uint64_t e = (uint64_t)(i % n) | (uint64_t)c->n_buffers << 48;
        double u = (double)kp_uniform(kp_philox(seed, KP_STREAM_TEST, e).x[0]),
               x = lo + (hi - lo) * u;
        if (type == 'f') ((float *)b->at)[i] = (float)x;
        if (type == 'd') ((double *)b->at)[i] = x;
        if (type == 'i') ((int32_t *)b->at)[i] = (int32_t)floor(x);
        if (type == 'b') ((uint8_t *)b->at)[i] = (uint8_t)x;
    }
    return b->at;
}

void *kp_case_alloc(kp_case *c, char type, kp_use use, int64_t n, double lo, double hi) {
    return add_buffer(c, type, use, c->P, n, lo, hi);
}

void *kp_case_shared(kp_case *c, char type, int64_t n, double lo, double hi) {
    return add_buffer(c, type, KP_IN, 0, n, lo, hi);
}

static kp_case make(const kp_op_row *row, int members, int first) {
    kp_case c = { .P = members, .first = first };
    row->make(&c);
    cr_assert_eq(*(int *)c.args, members, "%s: make() sets P", row->name);
    return c;
}

static void drop(kp_case *c) {
    for (int i = 0; i < c->n_buffers; i++) free(c->buffer[i].raw);
}

/* ---- running --------------------------------------------------------------------------------- */

typedef enum { FORWARD, BACKWARD, SHUFFLED } order;

static void run(const kp_op *op, kp_case *c, order order, unsigned active) {
    int n = op->n_slices(c->args), total = n * c->P;
    size_t scratch_bytes = op->scratch_bytes ? op->scratch_bytes(c->args) : 0;
    char *scratch = aligned_alloc(64, (scratch_bytes + GUARD + 63) / 64 * 64);
    int *turn = malloc((size_t)total * sizeof *turn);
    cr_assert(n >= 1, "%s: %d slices", op->name, n);
    for (int i = 0; i < total; i++) turn[i] = order == BACKWARD ? total - 1 - i : i;
    for (int i = total - 1; order == SHUFFLED && i > 0; i--) {
        int k = (int)kp_below(kp_philox(5, KP_STREAM_TEST, (uint64_t)i).x[0], 0, (uint64_t)i + 1);
        int t = turn[i];
        turn[i] = turn[k], turn[k] = t;
    }
    for (int i = 0; i < total; i++) {
        int member = turn[i] / n;
        if (!(active >> member & 1)) continue;
        memset(scratch, POISON, scratch_bytes + GUARD);
        op->cpu(c->args, member, turn[i] % n, scratch);
        for (int k = 0; k < GUARD; k++)
            cr_assert_eq((unsigned char)scratch[scratch_bytes + (size_t)k], POISON,
                         "%s wrote past its scratch memory", op->name);
    }
    free(turn);
    free(scratch);
}

/* ---- comparing ------------------------------------------------------------------------------- */

static void expect_guards(const char *what, const kp_case *c) {
    for (int i = 0; i < c->n_buffers; i++) {
        const kp_case_buffer *b = &c->buffer[i];
        for (size_t k = 0; k < GUARD; k++) {
            cr_assert_eq((unsigned char)b->raw[k], POISON, "%s: buffer %d: wrote before its start",
                         what, i);
            cr_assert_eq((unsigned char)b->raw[GUARD + b->bytes + k], POISON,
                         "%s: buffer %d: wrote past its end", what, i);
        }
    }
}

/* Every bit of `bytes` at the two offsets. */
static void expect_bits(const char *what, const kp_case *got, size_t got_member,
                        const kp_case *want, size_t want_member, int n_members) {
    for (int i = 0; i < got->n_buffers; i++) {
        const kp_case_buffer *g = &got->buffer[i], *w = &want->buffer[i];
        size_t bytes = g->member_bytes ? g->member_bytes * (size_t)n_members : g->bytes;
        const unsigned char *x = (unsigned char *)g->at + got_member * g->member_bytes;
        const unsigned char *y = (unsigned char *)w->at + want_member * w->member_bytes;
        for (size_t k = 0; k < bytes; k++)
            cr_assert_eq(x[k], y[k], "%s: buffer %d, byte %zu of %zu: %02x, not %02x", what, i, k,
                         bytes, x[k], y[k]);
    }
}

static void expect_near(const char *what, const kp_case *got, const kp_case *want,
                        double tolerance) {
    for (int i = 0; i < got->n_buffers; i++) {
        const kp_case_buffer *g = &got->buffer[i], *w = &want->buffer[i];
        size_t n = g->bytes / (g->type == 'd' ? 8 : 4);
        double largest = 0;
        if (g->use == KP_IN || g->type == 'i' || g->type == 'b' || tolerance == 0) {
            cr_assert(!memcmp(g->at, w->at, g->bytes), "%s: buffer %d differs from the reference",
                      what, i);
            continue;
        }
#define VALUE(b, k) ((b)->type == 'd' ? ((double *)(b)->at)[k] : (double)((float *)(b)->at)[k])
        for (size_t k = 0; k < n; k++) largest = fmax(largest, fabs(VALUE(w, k)));
        for (size_t k = 0; k < n; k++)
            cr_assert(fabs(VALUE(g, k) - VALUE(w, k)) <= tolerance * largest,
                      "%s: buffer %d, element %zu of %zu: %.9g, not %.9g", what, i, k, n,
                      VALUE(g, k), VALUE(w, k));
#undef VALUE
    }
}

/* ---- modes ----------------------------------------------------------------------------------- */

static void equals_reference(const kp_op_row *row) {
    kp_case got = make(row, P, 0), want = make(row, P, 0);
    run(kp_op_get(row->op), &got, FORWARD, ~0u);
    row->reference(want.args);
    expect_guards(row->name, &got);
    expect_near(row->name, &got, &want, row->tolerance);
    drop(&got), drop(&want);
}

static void equal_at_every_width(const kp_op_row *row) {
    kp_case want = make(row, P, 0);
    run(kp_op_get_isa(row->op, KP_ISA_GENERIC), &want, FORWARD, ~0u);
    for (int level = KP_ISA_GENERIC; level <= (int)kp_isa(); level++) {
        kp_case got = make(row, P, 0);
        run(kp_op_get_isa(row->op, level), &got, FORWARD, ~0u);
        expect_guards(row->name, &got);
        expect_bits(row->name, &got, 0, &want, 0, P);
        drop(&got);
    }
    drop(&want);
}

static void equal_in_any_order(const kp_op_row *row) {
    kp_case want = make(row, P, 0);
    run(kp_op_get(row->op), &want, FORWARD, ~0u);
    for (int o = BACKWARD; o <= SHUFFLED; o++) {
        kp_case got = make(row, P, 0);
        run(kp_op_get(row->op), &got, (order)o, ~0u);
        expect_bits(row->name, &got, 0, &want, 0, P);
        drop(&got);
    }
    drop(&want);
}

static void member_equals_itself_alone(const kp_op_row *row) {
    kp_case all = make(row, P, 0);
    run(kp_op_get(row->op), &all, FORWARD, ~0u);
    for (int p = 0; p < P; p++) {
        kp_case alone = make(row, 1, p);
        run(kp_op_get(row->op), &alone, FORWARD, ~0u);
        expect_guards(row->name, &alone);
        expect_bits(row->name, &all, (size_t)p, &alone, 0, 1);
        drop(&alone);
    }
    drop(&all);
}

static void inactive_members_are_untouched(const kp_op_row *row) {
    kp_case got = make(row, P, 0), before = make(row, P, 0), all = make(row, P, 0);
    run(kp_op_get(row->op), &got, FORWARD, 5u);
    run(kp_op_get(row->op), &all, FORWARD, ~0u);
    expect_bits(row->name, &got, 0, &all, 0, 1);
    expect_bits(row->name, &got, 1, &before, 1, 1);
    expect_bits(row->name, &got, 2, &all, 2, 1);
    drop(&got), drop(&before), drop(&all);
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
