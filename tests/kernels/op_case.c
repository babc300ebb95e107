/* op_case.c: see op_case.h. */
#include "kernels/op_case.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "base/philox.h"

enum { GUARD = KP_CASE_GUARD, POISON = KP_CASE_POISON };

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

kp_case kp_case_make(const kp_op_row *row, int members, int first) {
    kp_case c = { .P = members, .first = first };
    row->make(&c);
    cr_assert_eq(*(int *)c.args, members, "%s: make() sets P", row->name);
    return c;
}

void kp_case_drop(kp_case *c) {
    for (int i = 0; i < c->n_buffers; i++) free(c->buffer[i].raw);
}

/* ---- comparing ------------------------------------------------------------------------------- */

void kp_case_expect_guards(const char *what, const kp_case *c) {
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
void kp_case_expect_bits(const char *what, const kp_case *got, size_t got_member,
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

static int is_untouched(const kp_case_buffer *b, size_t k) {
    size_t size = b->type == 'd' ? 8 : 4;
    const unsigned char *at = (unsigned char *)b->at + k * size;
    for (size_t i = 0; i < size; i++)
        if (at[i] != POISON) return 0;
    return 1;
}

void kp_case_expect_near(const char *what, const kp_case *got, const kp_case *want,
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
        for (size_t k = 0; k < n; k++) {
            if (is_untouched(w, k))
                cr_assert(is_untouched(g, k), "%s: buffer %d, element %zu of %zu: written to", what,
                          i, k, n);
            else
                cr_assert(fabs(VALUE(g, k) - VALUE(w, k)) <= tolerance * largest,
                          "%s: buffer %d, element %zu of %zu: %.9g, not %.9g", what, i, k, n,
                          VALUE(g, k), VALUE(w, k));
        }
#undef VALUE
    }
}
