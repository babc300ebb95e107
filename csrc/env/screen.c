/* screen.c: palette to grey or colour, max of two screens, area resize.
 *
 * Area weights are rationals: a source column counts in 1/21 of itself (40 in all), a row in 1/84
 * (height in all), so sums are integers and rounding is exact. OpenCV adds floats instead: where
 * the exact mean is half way between two values its rounding errors decide, so there we add as it
 * does. */
#include "screen.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    SIDE = KP_FRAME_SIDE,
    WIDTH = KP_SCREEN_WIDTH,
    COLOURS = 128,
    TAPS = 6,
    PERIOD = 21,
    CELL = 40
};

typedef struct {
    int n, at[TAPS], weight[TAPS]; /* exact; zeros after n */
    int float_n, float_at[TAPS];   /* as OpenCV's table */
    float alpha[TAPS];
} taps;

struct kp_screen {
    kp_preprocess preprocess;
    int height, n_planes;
    taps x[SIDE], y[SIDE];
    uint8_t pair[3][COLOURS * COLOURS]; /* [plane][a / 2][b / 2] */
    uint8_t plane[KP_SCREEN_MAX_HEIGHT * WIDTH];
    uint8_t small[3][KP_FRAME_BYTES];
};

const uint32_t kp_atari_palette[COLOURS] = {
    0x000000, 0x4a4a4a, 0x6f6f6f, 0x8e8e8e, 0xaaaaaa, 0xc0c0c0, 0xd6d6d6, 0xececec, 0x484800,
    0x69690f, 0x86861d, 0xa2a22a, 0xbbbb35, 0xd2d240, 0xe8e84a, 0xfcfc54, 0x7c2c00, 0x904811,
    0xa26221, 0xb47a30, 0xc3903d, 0xd2a44a, 0xdfb755, 0xecc860, 0x901c00, 0xa33915, 0xb55328,
    0xc66c3a, 0xd5824a, 0xe39759, 0xf0aa67, 0xfcbc74, 0x940000, 0xa71a1a, 0xb83232, 0xc84848,
    0xd65c5c, 0xe46f6f, 0xf08080, 0xfc9090, 0x840064, 0x97197a, 0xa8308f, 0xb846a2, 0xc659b3,
    0xd46cc3, 0xe07cd2, 0xec8ce0, 0x500084, 0x68199a, 0x7d30ad, 0x9246c0, 0xa459d0, 0xb56ce0,
    0xc57cee, 0xd48cfc, 0x140090, 0x331aa3, 0x4e32b5, 0x6848c6, 0x7f5cd5, 0x956fe3, 0xa980f0,
    0xbc90fc, 0x000094, 0x181aa7, 0x2d32b8, 0x4248c8, 0x545cd6, 0x656fe4, 0x7580f0, 0x8490fc,
    0x001c88, 0x183b9d, 0x2d57b0, 0x4272c2, 0x548ad2, 0x65a0e1, 0x75b5ef, 0x84c8fc, 0x003064,
    0x185080, 0x2d6d98, 0x4288b0, 0x54a0c5, 0x65b7d9, 0x75cceb, 0x84e0fc, 0x004030, 0x18624e,
    0x2d8169, 0x429e82, 0x54b899, 0x65d1ae, 0x75e7c2, 0x84fcd4, 0x004400, 0x1a661a, 0x328432,
    0x48a048, 0x5cba5c, 0x6fd26f, 0x80e880, 0x90fc90, 0x143c00, 0x355f18, 0x527e2d, 0x6e9c42,
    0x87b754, 0x9ed065, 0xb4e775, 0xc8fc84, 0x303800, 0x505916, 0x6d762b, 0x88923e, 0xa0ab4f,
    0xb7c25f, 0xccd86e, 0xe0ec7c, 0x482c00, 0x694d14, 0x866a26, 0xa28638, 0xbb9f47, 0xd2b656,
    0xe8cc63, 0xfce070
};

static int channel(int colour, int c) {
    return (int)(kp_atari_palette[colour] >> (16 - 8 * c) & 255);
}
static int larger(int a, int b) { return a > b ? a : b; }

/* ALE's grey. */
static int ale_grey(int colour) {
    return (int)lrint(channel(colour, 0) * .2989 + channel(colour, 1) * .5870 +
                      channel(colour, 2) * .1140);
}

/* OpenCV's RGB2GRAY for bytes. */
static int cv_grey(int r, int g, int b) { return (r * 9798 + g * 19235 + b * 3735 + 16384) >> 15; }

static void fill_taps(taps *table, int size) {
    double scale = 1. / ((double)SIDE / size);
    int unit = size == WIDTH ? PERIOD : SIDE,
        cell = size == WIDTH ? CELL : size; /* cell / unit source pixels */
    for (int i = 0; i < SIDE; i++) {
        taps *t = &table[i];
        for (int p = cell * i / unit; p < size && p * unit < cell * (i + 1); p++) {
            int begin = larger(cell * i, p * unit);
            int end = cell * (i + 1) < (p + 1) * unit ? cell * (i + 1) : (p + 1) * unit;
            if (end <= begin) continue;
            t->at[t->n] = p, t->weight[t->n++] = end - begin;
        }
        double from = i * scale, to = from + scale, width = fmin(scale, size - from);
        int first = (int)ceil(from), last = (int)floor(to);
        if (last > size - 1) last = size - 1;
        if (first > last) first = last;
        if (first - from > 1e-3)
            t->float_at[t->float_n] = first - 1,
            t->alpha[t->float_n++] = (float)((first - from) / width);
        for (int p = first; p < last; p++)
            t->float_at[t->float_n] = p, t->alpha[t->float_n++] = (float)(1. / width);
        if (to - last > 1e-3)
            t->float_at[t->float_n] = last,
            t->alpha[t->float_n++] = (float)(fmin(fmin(to - last, 1.), width) / width);
    }
}

kp_status kp_screen_open(kp_screen **out, kp_preprocess preprocess, int height, kp_err *err) {
    *out = NULL;
    if (height < SIDE || height > KP_SCREEN_MAX_HEIGHT)
        return kp_fail(err, KP_BAD_CONFIG, "env: screens of %d rows, expected %d to %d", height,
                       SIDE, KP_SCREEN_MAX_HEIGHT);
    kp_screen *s = calloc(1, sizeof *s);
    if (!s) return kp_fail(err, KP_BAD_CONFIG, "env: out of host memory");
    s->preprocess = preprocess, s->height = height;
    s->n_planes = preprocess == KP_PREPROCESS_CLEANRL ? 3 : 1;
    fill_taps(s->x, WIDTH);
    fill_taps(s->y, height);
    for (int a = 0; a < COLOURS; a++)
        for (int b = 0; b < COLOURS; b++) {
            int rgb[3], at = a * COLOURS + b;
            for (int c = 0; c < 3; c++) rgb[c] = larger(channel(a, c), channel(b, c));
            for (int c = 0; c < 3; c++) s->pair[c][at] = (uint8_t)rgb[c];
            if (preprocess == KP_PREPROCESS_DOPAMINE)
                s->pair[0][at] = (uint8_t)larger(ale_grey(a), ale_grey(b));
            if (preprocess == KP_PREPROCESS_TIANSHOU)
                s->pair[0][at] = (uint8_t)cv_grey(rgb[0], rgb[1], rgb[2]);
        }
    *out = s;
    return KP_OK;
}

/* One pixel as OpenCV adds it: along the row first, rows after. */
static uint8_t float_pixel(const uint8_t *plane, const taps *y, const taps *x) {
    float sum = 0;
    for (int j = 0; j < y->float_n; j++) {
        const uint8_t *row = plane + y->float_at[j] * WIDTH;
        float part = 0;
        for (int k = 0; k < x->float_n; k++) part += (float)row[x->float_at[k]] * x->alpha[k];
        sum += y->alpha[j] * part;
    }
    return (uint8_t)lrintf(sum);
}

/* The rows of the screen that output row `y` covers, by weight: at most 255 * 250. */
static void add_rows(const uint8_t *plane, const taps *y, uint16_t *restrict row) {
    for (int j = 0; j < y->n; j++) {
        const uint8_t *from = plane + y->at[j] * WIDTH;
        uint16_t weight = (uint16_t)y->weight[j];
        if (j == 0)
            for (int p = 0; p < WIDTH; p++) row[p] = (uint16_t)(from[p] * weight);
        else
            for (int p = 0; p < WIDTH; p++)
                row[p] = (uint16_t)(row[p] + (uint16_t)(from[p] * weight));
    }
}

/* Columns repeat: 21 outputs cover 40 inputs, so four share each weight. */
static void add_columns(const uint16_t *row, const taps *x, float *restrict sum) {
    for (int d = 0; d < PERIOD; d++) {
        const taps *t = &x[d];
        int a = t->at[0], b = t->at[1], c = t->at[2], wa = t->weight[0], wb = t->weight[1],
            wc = t->weight[2];
        for (int g = 0; g < SIDE / PERIOD; g++) {
            const uint16_t *from = row + g * CELL;
            sum[g * PERIOD + d] = (float)(from[a] * wa + from[b] * wb + from[c] * wc);
        }
    }
}

/* out = sum / total, rounded; rest 0: half way. Every number is below 2^24, so floats are exact but
 * for the first quotient, which may be one off. Returns whether any is half way. */
static int divide(const float *restrict sum, float total, uint8_t *restrict out,
                  float *restrict rest) {
    float inverse = 1.0f / total;
    int any = 0;
    for (int d = 0; d < SIDE; d++) {
        float q = (float)(int)(sum[d] * inverse), r = sum[d] - q * total;
        q += (float)((r >= total) - (r < 0));
        r = 2 * (sum[d] - q * total) - total;
        out[d] = (uint8_t)((int)q + (r > 0));
        rest[d] = r;
        any |= r == 0;
    }
    return any;
}

static void resize(const kp_screen *s, uint8_t *out) {
    for (int i = 0; i < SIDE; i++, out += SIDE) {
        uint16_t row[WIDTH];
        float sum[SIDE], rest[SIDE];
        add_rows(s->plane, &s->y[i], row);
        add_columns(row, s->x, sum);
        if (!divide(sum, (float)(CELL * s->height), out, rest)) continue;
        for (int d = 0; d < SIDE; d++)
            if (rest[d] == 0) out[d] = float_pixel(s->plane, &s->y[i], &s->x[d]);
    }
}

/* plane = the larger by `pair`. Screens are mostly flat: eight pixels like the eight before are
 * copied. */
static void join(const uint8_t *pair, const uint8_t *a, const uint8_t *b, int n,
                 uint8_t *restrict plane) {
    uint64_t old_a = 0, old_b = 0, out = 0;
    for (int i = 0; i < n; i += 8, a += 8, b += 8) {
        uint64_t new_a, new_b;
        memcpy(&new_a, a, 8);
        memcpy(&new_b, b, 8);
        if (i == 0 || new_a != old_a || new_b != old_b) {
            uint8_t eight[8];
            for (int k = 0; k < 8; k++) eight[k] = pair[(a[k] & 254) << 6 | b[k] >> 1];
            memcpy(&out, eight, 8);
            old_a = new_a, old_b = new_b;
        }
        memcpy(plane + i, &out, 8);
    }
}

void kp_screen_observe(kp_screen *s, const uint8_t *a, const uint8_t *b, const uint8_t *third,
                       uint8_t *out) {
    for (int c = 0; c < s->n_planes; c++) {
        const uint8_t *pair = s->pair[c];
        join(pair, a, b, s->height * WIDTH, s->plane);
        for (int i = 0; third && i < s->height * WIDTH; i++) {
            uint8_t v = pair[(third[i] & 254) << 6 | third[i] >> 1];
            if (v > s->plane[i]) s->plane[i] = v;
        }
        resize(s, s->n_planes == 1 ? out : s->small[c]);
    }
    if (s->n_planes == 3)
        for (int i = 0; i < KP_FRAME_BYTES; i++)
            out[i] = (uint8_t)cv_grey(s->small[0][i], s->small[1][i], s->small[2][i]);
}

void kp_screen_close(kp_screen *screen) { free(screen); }
