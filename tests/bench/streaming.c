/* streaming.c: `kappa bench streaming` and `streaming_rules` on made-up images, small: every row
 * comes, in its order, with numbers that belong together. Nothing is asked of the times. */
#include "bench.h"
#include "streams.h"

enum { MAX_ROWS = 32 };

typedef struct {
    int n;
    kp_bench_result row[MAX_ROWS];
} said;

static void take(void *context, const kp_bench_result *r) {
    said *s = context;
    cr_assert(s->n < MAX_ROWS);
    s->row[s->n++] = *r;
}

static void measure(said *s, kp_status (*bench)(const kp_bench_options *,
                                                const kp_bench_stream_scale *, kp_err *)) {
    char folder[KP_PATH], data[KP_PATH];
    kp_err err = { "" };
    scratch_folder(folder);
    cr_assert_eq(kp_path_join(data, folder, "images", &err), KP_OK);
    streams_make_data(data, 0);
    const kp_bench_options o = {
        .device = "cpu", .n_threads = 2, .repeats = 1, .emit = take, .context = s
    };
    const kp_bench_stream_scale scale = { .seconds = 0,
                                          .P = 3,
                                          .large = 4,
                                          .task = "stream.task_samples=8",
                                          .set = "custom",
                                          .folder = data };
    cr_assert_eq(bench(&o, &scale, &err), KP_OK, "%s", err.text);
}

Test(bench_streaming, the_table) {
    static const struct {
        const char *name;
        double reach;
    } want[] = {
        { "stream sgd", 3.2 },    { "stream sgd 80% 0", 6 },    { "stream adam", 3 },
        { "stream 20 sgd", 3.3 }, { "stream 20 sgd 80% 0", 6 }, { "stream 20 adam", 2.9 },
        { "stream 32 sgd", NAN }, { "stream sgd plast.", NAN }, { "stream adam plast.", NAN },
    };
    said s = { 0 };
    measure(&s, kp_bench_streaming_scaled);
    cr_assert_eq(s.n, (int)KP_COUNT(want));
    for (int i = 0; i < s.n; i++) {
        const kp_bench_result *r = &s.row[i];
        cr_expect(!strcmp(r->name, want[i].name), "row %d is %s", i, r->name);
        cr_expect(r->ours > 0 && isfinite(r->ours) && r->limit > 0 && isfinite(r->limit), "%s",
                  r->name);
        cr_expect(isnan(r->peer) && *r->limit_name && *r->note, "%s", r->name);
        cr_expect(isnan(want[i].reach) ? isnan(r->reach) : r->reach == want[i].reach, "%s",
                  r->name);
    }
    /* the third of streams.h's bytes and the few that happen to be 0 */
    int zeros = 0;
    cr_assert_eq(sscanf(s.row[1].note, "%d%%", &zeros), 1, "%s", s.row[1].note);
    int64_t n = 0;
    for (int i = 0; i < STREAMS_N; i++)
        for (int j = 0; j < STREAMS_INPUTS; j++) n += streams_pixel(i, j) == 0;
    cr_expect(abs(zeros - (int)(100 * n / (STREAMS_N * STREAMS_INPUTS))) <= 1, "%s", s.row[1].note);
}

/* Memory of a member: the arrays that a rule has besides, of 30-300-150-4. */
Test(bench_streaming, every_rule) {
    said s = { 0 };
    int n_upgd = 0;
    measure(&s, kp_bench_streaming_rules_scaled);
    cr_assert(s.n > 15);
    for (int i = 0; i < s.n; i++) {
        const kp_bench_result *r = &s.row[i];
        cr_expect(r->ours > 0 && isfinite(r->ours) && r->limit > 0 && isfinite(r->limit), "%s",
                  r->name);
        cr_expect(!strcmp(r->limit_name, strstr(r->name, "ada") || strstr(r->name, "rmsprop") ||
                                                 strstr(r->name, "madam")
                                             ? "adam + clip"
                                             : "sgd + clip"),
                  "%s against %s", r->name, r->limit_name);
        cr_expect(strstr(r->note, " MB a member"), "%s", r->note);
        n_upgd += strstr(r->name, "upgd") != NULL;
    }
    cr_expect_eq(n_upgd, 2);
}
