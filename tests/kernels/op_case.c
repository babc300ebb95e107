/* op_case.c: memory of a case, and what was written to it. */
#include "kernels/op_case.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/philox.h"

enum { GUARD = KP_CASE_GUARD, POISON = KP_CASE_POISON };

static size_t value_bytes(char type) {
    return type == 'd' || type == 'l' ? 8 : type == 'b' ? 1 : 4;
}

static void *add_buffer(kp_case *c, char type, kp_use use, int members, int64_t n, double lo,
                        double hi) {
    assert(c->n_buffers < (int)KP_COUNT(c->buffer));
    kp_case_buffer *b = &c->buffer[c->n_buffers++];
    b->member_bytes = members ? (size_t)n * value_bytes(type) : 0;
    b->bytes = (size_t)n * value_bytes(type) * (size_t)(members ? members : 1);
    b->type = type, b->use = use;
    b->raw = aligned_alloc(64, (b->bytes + 2 * GUARD + 63) / 64 * 64);
    memset(b->raw, POISON, b->bytes + 2 * GUARD);
    b->at = b->raw + GUARD;
    for (int64_t i = 0; (use == KP_IN || use == KP_IN_OUT) && i < (members ? members : 1) * n;
         i++) {
        uint64_t seed = members ? 1000u + (uint64_t)(c->first + i / n) : 7u;
        uint64_t e = (uint64_t)(i % n) | (uint64_t)c->n_buffers << 48;
        double u = (double)kp_uniform(kp_philox(seed, KP_STREAM_TEST, e).x[0]),
               x = lo + (hi - lo) * u;
        if (type == 'f') ((float *)b->at)[i] = (float)x;
        if (type == 'd') ((double *)b->at)[i] = x;
        if (type == 'i') ((int32_t *)b->at)[i] = (int32_t)floor(x);
        if (type == 'l') ((int64_t *)b->at)[i] = (int64_t)floor(x);
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

kp_case kp_case_open(const kp_op_row *row, int P, int first) {
    kp_case c = { .P = P, .first = first };
    row->make(&c);
    assert(*(int *)c.args == P);
    return c;
}

void kp_case_close(kp_case *c) {
    for (int i = 0; i < c->n_buffers; i++) free(c->buffer[i].raw);
}

void kp_case_make_special(kp_case *c) {
    static const double specials[] = { NAN,   INFINITY, -INFINITY, 3e38,  -3e38,  1e-40, -1e-45,
                                       -0.0f, 1,        1e30,      1e-30, -1e-20, 0.5 };
    for (int i = 0; i < c->n_buffers; i++) {
        kp_case_buffer *b = &c->buffer[i];
        size_t n = b->bytes / value_bytes(b->type), k = (size_t)i;
        for (size_t e = (size_t)i % 5; b->use != KP_OUT && b->use != KP_SCRATCH && e < n; e += 7) {
            if (b->type == 'f') ((float *)b->at)[e] = (float)specials[k++ % KP_COUNT(specials)];
            if (b->type == 'd') ((double *)b->at)[e] = specials[k++ % KP_COUNT(specials)];
        }
    }
}

/* ---- comparing ------------------------------------------------------------------------------- */

int kp_case_overrun(const kp_case *c, char *says, size_t size) {
    for (int i = 0; i < c->n_buffers; i++) {
        const kp_case_buffer *b = &c->buffer[i];
        for (size_t k = 0; k < GUARD; k++) {
            int before = (unsigned char)b->raw[k] != POISON;
            if (!before && (unsigned char)b->raw[GUARD + b->bytes + k] == POISON) continue;
            snprintf(says, size, "buffer %d: written %s", i,
                     before ? "before its start" : "past its end");
            return 1;
        }
    }
    return 0;
}

static int is_nan(char type, const void *value) {
    return type == 'f' ? isnan(*(const float *)value)
                       : type == 'd' && isnan(*(const double *)value);
}

static void print_bits(char *text, size_t size, const unsigned char *value, size_t bytes) {
    for (size_t k = bytes; k-- > 0; text += 2, size -= 2) snprintf(text, size, "%02x", value[k]);
}

int kp_case_differs(const kp_case *got, int got_member, const kp_case *want, int want_member, int n,
                    unsigned uses, char *says, size_t size) {
    for (int i = 0; i < got->n_buffers; i++) {
        const kp_case_buffer *g = &got->buffer[i], *w = &want->buffer[i];
        if (g->use == KP_SCRATCH || !(uses >> g->use & 1)) continue;
        size_t each = value_bytes(g->type);
        size_t bytes = g->member_bytes ? g->member_bytes * (size_t)n : g->bytes;
        const unsigned char *x = (unsigned char *)g->at + (size_t)got_member * g->member_bytes;
        const unsigned char *y = (unsigned char *)w->at + (size_t)want_member * w->member_bytes;
        for (size_t k = 0; k < bytes; k += each) {
            if (!memcmp(x + k, y + k, each)) continue;
            if (is_nan(g->type, x + k) && is_nan(g->type, y + k)) continue;
            char a[20], b[20];
            print_bits(a, sizeof a, x + k, each), print_bits(b, sizeof b, y + k, each);
            snprintf(says, size, "buffer %d, value %zu of %zu: %s, not %s", i, k / each,
                     bytes / each, a, b);
            return 1;
        }
    }
    return 0;
}

static int is_untouched(const kp_case_buffer *b, size_t k) {
    size_t each = value_bytes(b->type);
    const unsigned char *at = (unsigned char *)b->at + k * each;
    for (size_t i = 0; i < each; i++)
        if (at[i] != POISON) return 0;
    return 1;
}

static double value_at(const kp_case_buffer *b, size_t k) {
    return b->type == 'd' ? ((double *)b->at)[k] : (double)((float *)b->at)[k];
}

int kp_case_is_far(const kp_case *got, const kp_case *want, double tolerance, char *says,
                   size_t size) {
    for (int i = 0; i < got->n_buffers; i++) {
        const kp_case_buffer *g = &got->buffer[i], *w = &want->buffer[i];
        size_t n = g->bytes / value_bytes(g->type);
        double largest = 0;
        if (g->use == KP_SCRATCH) continue;
        if (g->use == KP_IN || (g->type != 'f' && g->type != 'd') || tolerance == 0) {
            if (!memcmp(g->at, w->at, g->bytes)) continue;
            snprintf(says, size, "buffer %d differs from the reference", i);
            return 1;
        }
        for (size_t k = 0; k < n; k++) largest = fmax(largest, fabs(value_at(w, k)));
        for (size_t k = 0; k < n; k++) {
            double x = value_at(g, k), y = value_at(w, k);
            int near = is_untouched(w, k)
                           ? is_untouched(g, k)
                           : fabs(x - y) <= tolerance * largest || (x != x && y != y);
            if (near) continue;
            snprintf(says, size, "buffer %d, element %zu of %zu: %.9g, not %.9g", i, k, n, x, y);
            return 1;
        }
    }
    return 0;
}
