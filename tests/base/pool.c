/* pool.c: every thread runs, and a barrier separates what is before from what is after. */
#include "base/pool.h"

#include <criterion/criterion.h>

enum { T = 3, ROUNDS = 2000 };

typedef struct {
    kp_pool *pool;
    int seen[T], sum[T];
} shared;

static void work(void *context, int thread) {
    shared *s = context;
    s->seen[thread]++;
    kp_pool_barrier(s->pool);
    s->sum[thread] = s->seen[0] + s->seen[1] + s->seen[2]; /* a race unless the barrier holds */
}

Test(pool, a_barrier_separates_before_from_after) {
    shared s = { 0 };
    kp_err err = { "" };
    cr_assert_eq(kp_pool_open(&s.pool, T, &err), KP_OK, "%s", err.text);
    for (int i = 1; i <= ROUNDS; i++) {
        kp_pool_run(s.pool, work, &s);
        for (int t = 0; t < T; t++)
            cr_assert_eq(s.sum[t], T * i, "round %d, thread %d: %d", i, t, s.sum[t]);
    }
    kp_pool_close(s.pool);
}
