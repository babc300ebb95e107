/* ring.c: what is sampled against a search through the games as they were played. */
#include "play.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>

#include "base/memory.h"

enum { MOST_B = 64, MOST_STACK = 4 };

typedef struct {
    int64_t s[MOST_B * MOST_STACK], s_next[MOST_B * MOST_STACK];
    int32_t action[MOST_B];
    float reward[MOST_B], discount[MOST_B];
} minibatch;

static kp_ring_batch of(minibatch *m) {
    memset(m, 0xa5, sizeof *m);
    return (kp_ring_batch){ m->s, m->s_next, m->action, m->reward, m->discount };
}

/* Whether transition j of the games may be sampled, looked for from scratch; *next and *end: where
 * and how its n steps end. */
static int may_sample(const play_lane *l, int j, int64_t oldest, int stack, int n_step, int *next,
                      kp_end *end) {
    int back = l->step[j].step < stack - 1 ? l->step[j].step : stack - 1;
    if (j - back < oldest) return 0;
    *end = KP_END_NONE;
    for (int k = 0; k < n_step; k++) {
        if (j + k >= l->n || !l->step[j + k].acted || l->step[j + k].episode != l->step[j].episode)
            return 0;
        *next = j + k + 1;
        *end = l->step[j + k].end;
        if (*end) return 1;
    }
    return 1;
}

static const struct {
    const char *name;
    int P, E, stack, n_step, transitions, n_plays, interrupt;
} cases[] = {
    { "one step, one environment", 1, 1, 4, 1, 100, 60, 0 },
    { "one step, wrapped", 1, 1, 4, 1, 100, 1000, 0 },
    { "three steps, wrapped", 1, 1, 4, 3, 100, 1000, 0 },
    { "three steps, several environments", 2, 3, 4, 3, 300, 700, 0 },
    { "ten steps, episodes shorter than that", 1, 2, 2, 10, 200, 901, 0 },
    { "no stack", 3, 1, 1, 2, 50, 333, 0 },
    { "episodes dropped without an end", 2, 2, 4, 3, 200, 800, 1 },
    { "a ring barely larger than its steps", 1, 1, 4, 3, 3, 500, 0 },
};

enum { LANES = 6 };

typedef struct {
    const char *name;
    kp_ring_options o;
    kp_ring *ring;
    int64_t slots;
    play_lane *lane; /* [P * E] */
} game;

static int64_t oldest(const game *g, const play_lane *l) {
    return l->n > g->slots ? l->n - g->slots : 0;
}

static void check_stack(const game *g, int lane, const int64_t *index, int j) {
    const play_step *step = &g->lane[lane].step[j];
    for (int k = 0; k < g->o.stack; k++) {
        int back = g->o.stack - 1 - k;
        if (back > step->step) {
            cr_assert_eq(index[k], -1, "%s: %d before the episode's start is slot %lld, not -1",
                         g->name, back - step->step, (long long)index[k]);
            continue;
        }
        cr_assert(index[k] >= 0 && index[k] < g->slots * g->o.E, "%s: slot %lld", g->name,
                  (long long)index[k]);
        const uint8_t *frame = kp_ring_frames(g->ring) +
                               lane / g->o.E * kp_ring_frames_stride(g->ring) +
                               index[k] * g->o.frame_bytes;
        cr_assert(!memcmp(frame, step[-back].frame, PLAY_FRAME), "%s: another frame %d back of %d",
                  g->name, back, j);
    }
}

/* Which step of its lane a sample is, from the slot of its newest frame. */
static int step_of(const game *g, int64_t slot, int p, int *lane) {
    *lane = p * g->o.E + (int)(slot / g->slots);
    int n = g->lane[*lane].n, j = (int)(slot % g->slots + (n - 1) / g->slots * g->slots);
    return j < n ? j : j - (int)g->slots;
}

static void check_sample(const game *g, int p, const kp_ring_batch *batch, int b) {
    const int64_t *s = batch->s + b * g->o.stack, *s_next = batch->s_next + b * g->o.stack;
    int lane, next = 0;
    int j = step_of(g, s[g->o.stack - 1], p, &lane);
    const play_lane *l = &g->lane[lane];
    kp_end end = KP_END_NONE;
    cr_assert(j >= oldest(g, l) &&
                  may_sample(l, j, oldest(g, l), g->o.stack, g->o.n_step, &next, &end),
              "%s: %d of %d must not be sampled", g->name, j, l->n);
    check_stack(g, lane, s, j);
    check_stack(g, lane, s_next, next);
    double reward = 0, discount = end == KP_END_TERMINAL ? 0 : pow(g->o.gamma, next - j);
    for (int k = 0; k < next - j; k++) reward += pow(g->o.gamma, k) * (double)l->step[j + k].reward;
    cr_assert_eq(batch->action[b], l->step[j].action, "%s: action of %d", g->name, j);
    cr_assert(fabs((double)batch->reward[b] - reward) < 1e-6, "%s: reward of %d is %g, not %g",
              g->name, j, (double)batch->reward[b], reward);
    cr_assert(fabs((double)batch->discount[b] - discount) < 1e-6,
              "%s: discount of %d is %g, not %g", g->name, j, (double)batch->discount[b], discount);
}

/* Size and a minibatch of member p. Returns how many samples were checked. */
static int check_member(const game *g, int p, int t) {
    int64_t want = 0, got = kp_ring_size(g->ring, p);
    for (int i = p * g->o.E; i < (p + 1) * g->o.E; i++)
        for (int64_t j = oldest(g, &g->lane[i]); j < g->lane[i].n; j++) {
            int next;
            kp_end end;
            want += may_sample(&g->lane[i], (int)j, oldest(g, &g->lane[i]), g->o.stack, g->o.n_step,
                               &next, &end);
        }
    cr_assert_eq(got, want, "%s: after %d plays size is %lld, not %lld", g->name, t, (long long)got,
                 (long long)want);
    minibatch m;
    kp_err err = { "" };
    kp_ring_batch batch = of(&m);
    kp_status st = kp_ring_sample(g->ring, p, 5, (uint64_t)t, MOST_B, &batch, &err);
    if (want == 0) {
        cr_assert_eq(st, KP_BAD_CONFIG, "%s: an empty ring was sampled", g->name);
        return 0;
    }
    cr_assert_eq(st, KP_OK, "%s: %s", g->name, err.text);
    for (int b = 0; b < MOST_B; b++) check_sample(g, p, &batch, b);
    return MOST_B;
}

Test(ring, samples_are_what_was_played) {
    play_lane *lane = calloc(LANES, sizeof *lane);
    for (size_t c = 0; c < KP_COUNT(cases); c++) {
        game g = { .name = cases[c].name,
                   .lane = lane,
                   .o = { cases[c].P, cases[c].E, PLAY_FRAME, cases[c].stack, cases[c].n_step,
                          cases[c].transitions, 0.9 } };
        kp_err err = { "" };
        int n_seen = 0;
        g.slots = (g.o.transitions + g.o.E - 1) / g.o.E + g.o.stack;
        cr_assert_eq(kp_ring_open(&g.ring, &g.o, &err), KP_OK, "%s: %s", g.name, err.text);
        for (int i = 0; i < LANES; i++) lane[i] = (play_lane){ .interrupt = cases[c].interrupt };
        for (int t = 0; t < cases[c].n_plays; t++) {
            for (int i = 0; i < g.o.P * g.o.E; i++) {
                int64_t now[MOST_STACK];
                play(g.ring, &lane[i], i);
                kp_ring_stack(g.ring, i, now);
                check_stack(&g, i, now, lane[i].n - 1);
            }
            for (int p = 0; p < g.o.P; p++) n_seen += check_member(&g, p, t);
        }
        cr_assert(n_seen > 0, "%s: nothing was sampled", g.name);
        kp_ring_close(g.ring);
    }
    free(lane);
}

Test(ring, a_truncated_end_bootstraps_with_fewer_steps) {
    kp_ring_options o = { 1, 1, PLAY_FRAME, 1, 3, 16, 0.5 };
    kp_ring *ring = NULL;
    uint8_t frame[PLAY_FRAME] = { 0 };
    cr_assert_eq(kp_ring_open(&ring, &o, NULL), KP_OK);
    kp_ring_begin(ring, 0, frame);
    kp_ring_push(ring, 0, 1, 4, KP_END_NONE, frame);
    cr_expect_eq(kp_ring_size(ring, 0), 0, "one of three steps is known");
    kp_ring_push(ring, 0, 1, 6, KP_END_TRUNCATED, frame);
    cr_expect_eq(kp_ring_size(ring, 0), 2, "an end makes all before it whole");
    minibatch m;
    kp_ring_batch batch = of(&m);
    cr_assert_eq(kp_ring_sample(ring, 0, 1, 1, 32, &batch, NULL), KP_OK);
    for (int b = 0; b < 32; b++) {
        int first = batch.s[b] == 0;
        cr_expect_eq(batch.reward[b], first ? 7.0f : 6.0f); /* 4 + .5 * 6 */
        cr_expect_eq(batch.discount[b], first ? 0.25f : 0.5f);
        cr_expect_eq(batch.s_next[b], 2, "bootstrapped from the last frame");
    }
    kp_ring_close(ring);
}

/* A copy that is kept up with what is fresh holds all frames, and nothing is passed on twice. */
Test(ring, a_copy_follows_what_is_fresh) {
    kp_ring_options o = { 2, 2, PLAY_FRAME, 4, 1, 60, 0.99 };
    kp_ring *ring = NULL;
    cr_assert_eq(kp_ring_open(&ring, &o, NULL), KP_OK);
    const int slots = (int)(o.transitions / o.E) + o.stack, lanes = o.P * o.E;
    size_t n = (size_t)(o.P * kp_ring_frames_stride(ring)), at, bytes;
    uint8_t *copy = calloc(n, 1);
    play_lane *lane = calloc((size_t)lanes, sizeof *lane);
    int n_plays = 0;
    for (int round = 0; round < 40; round++) {
        size_t expected = 0, got = 0;
        for (int i = 0; i < lanes; i++) {
            int plays = round * (i + 3) % 13 + (round == 30 ? 3 * slots : 0);
            for (int t = 0; t < plays; t++) play(ring, &lane[i], i);
            expected += PLAY_FRAME * (size_t)(plays < slots ? plays : slots);
            n_plays += plays;
        }
        while (kp_ring_fresh(ring, &at, &bytes)) {
            cr_assert(bytes > 0 && at + bytes <= n, "%zu bytes at %zu", bytes, at);
            memcpy(copy + at, kp_ring_frames(ring) + at, bytes);
            got += bytes;
        }
        cr_assert_eq(got, expected, "round %d: %zu bytes are fresh, not %zu", round, got, expected);
        cr_assert(!memcmp(copy, kp_ring_frames(ring), n), "round %d: the copy differs", round);
    }
    cr_assert(n_plays > 4 * lanes * slots, "the ring has not wrapped often");
    free(copy);
    free(lane);
    kp_ring_close(ring);
}

/* Chi-square over all transitions of a wrapped ring with uneven lanes; 99.9% point by
 * Wilson-Hilferty. */
Test(ring, sampling_is_uniform) {
    kp_ring_options o = { 1, 3, PLAY_FRAME, 4, 3, 90, 0.99 };
    kp_ring *ring = NULL;
    cr_assert_eq(kp_ring_open(&ring, &o, NULL), KP_OK);
    int64_t slots = o.transitions / o.E + o.stack;
    play_lane *lanes = calloc(3, sizeof *lanes);
    for (int i = 0; i < 3; i++)
        for (int t = 0; t < 20 + 40 * i; t++) play(ring, &lanes[i], i);
    int n = (int)kp_ring_size(ring, 0), draws = 0, n_hit = 0, n_twice = 0;
    int *hits = calloc((size_t)(3 * slots), sizeof *hits);
    for (int u = 0; u < 400 * n / MOST_B; u++) {
        minibatch m;
        kp_ring_batch batch = of(&m);
        cr_assert_eq(kp_ring_sample(ring, 0, 77, (uint64_t)u, MOST_B, &batch, NULL), KP_OK);
        for (int b = 0; b < MOST_B; b++) {
            hits[batch.s[b * 4 + 3]]++, draws++;
            n_twice += b > 0 && batch.s[b * 4 + 3] == batch.s[b * 4 - 1];
        }
    }
    double chi2 = 0, mean = (double)draws / n, df = n - 1;
    for (int i = 0; i < 3 * slots; i++)
        n_hit += hits[i] > 0, chi2 += hits[i] ? pow(hits[i] - mean, 2) / mean : 0;
    double limit = df * pow(1 - 2 / (9 * df) + 3.09 * sqrt(2 / (9 * df)), 3);
    double least = df * pow(1 - 2 / (9 * df) - 3.09 * sqrt(2 / (9 * df)), 3);
    cr_expect_eq(n_hit, n, "%d of %d transitions were drawn", n_hit, n);
    cr_expect(chi2 < limit && chi2 > least, "chi-square %.1f, expected %.1f to %.1f", chi2, least,
              limit);
    cr_expect(n_twice < 2 * mean, "%d draws repeat the one before, expected about %.0f", n_twice,
              mean);
    free(hits);
    free(lanes);
    kp_ring_close(ring);
}

Test(ring, a_member_samples_the_same_in_any_population) {
    kp_ring_options one = { 1, 2, PLAY_FRAME, 4, 3, 80, 0.99 }, many = one;
    many.P = 3;
    kp_ring *alone = NULL, *among = NULL;
    cr_assert_eq(kp_ring_open(&alone, &one, NULL), KP_OK);
    cr_assert_eq(kp_ring_open(&among, &many, NULL), KP_OK);
    play_lane *a = calloc(2, sizeof *a);
    for (int t = 0; t < 300; t++)
        for (int e = 0; e < 2; e++) {
            play(alone, &a[e], e);
            const play_step *s = a[e].n > 1 ? &a[e].step[a[e].n - 2] : NULL;
            const play_step *now = &a[e].step[a[e].n - 1]; /* the same game in member 2 */
            if (now->step == 0) kp_ring_begin(among, 4 + e, now->frame);
            else kp_ring_push(among, 4 + e, s->action, s->reward, s->end, now->frame);
        }
    minibatch x, y;
    kp_ring_batch bx = of(&x), by = of(&y);
    for (uint64_t u = 0; u < 50; u++) {
        cr_assert_eq(kp_ring_sample(alone, 0, 9, u, MOST_B, &bx, NULL), KP_OK);
        cr_assert_eq(kp_ring_sample(among, 2, 9, u, MOST_B, &by, NULL), KP_OK);
        cr_assert(!memcmp(&x, &y, sizeof x), "update %d differs", (int)u);
    }
    free(a);
    kp_ring_close(alone);
    kp_ring_close(among);
}

Test(ring, more_than_the_memory_there_is_is_refused) {
    kp_ring_options o = { 8, 1, 84 * 84, 4, 1, 10000000000, 0.99 };
    kp_ring *ring = (kp_ring *)&o;
    kp_err err = { "" };
    cr_expect_eq(kp_ring_open(&ring, &o, &err), KP_BAD_CONFIG);
    cr_expect_null(ring);
    cr_expect(strstr(err.text, "buffer.transitions") && strstr(err.text, "GiB"), "%s", err.text);
    char need[64];
    snprintf(need, sizeof need, "%.1f GiB of memory", (double)kp_ring_bytes(&o) / 0x1p30);
    cr_expect(strstr(err.text, need), "%s; kp_ring_bytes says %s", err.text, need);
    double available = (double)kp_memory_available() / 0x1p30;
    cr_expect(available > 0.01 && available < 1e5, "%g GiB available", available);
}
