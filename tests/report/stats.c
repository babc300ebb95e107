/* stats.c: statistics against numpy's numbers; stats_reference.py made them. */
#include "report/stats.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "report/table.h"

static const double scores[] = { 3.5, -1.0, 12.25, 7.0, 7.5, 0.5, 20.0, 4.0, 5.0 };

static const struct {
    const char *name;
    kp_stat stat;
    int n;
    double want;
} values[] = {
    { "mean of 9", KP_STAT_MEAN, 9, 6.527777777777778 },
    { "median of 9", KP_STAT_MEDIAN, 9, 5.0 },
    { "IQM of 9 drops two at either end", KP_STAT_IQM, 9, 5.4 },
    { "mean of 8", KP_STAT_MEAN, 8, 6.71875 },
    { "median of 8 is between the middle two", KP_STAT_MEDIAN, 8, 5.5 },
    { "IQM of 8", KP_STAT_IQM, 8, 5.5 },
    { "IQM of 3 drops none", KP_STAT_IQM, 3, (3.5 - 1.0 + 12.25) / 3 },
    { "one score", KP_STAT_MEDIAN, 1, 3.5 },
    { "no scores", KP_STAT_MEAN, 0, NAN },
};

Test(stats, values) {
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        double got = kp_stat_of(values[i].stat, scores, values[i].n);
        cr_expect(isnan(values[i].want) ? isnan(got) : fabs(got - values[i].want) < 1e-14,
                  "%s: got %.17g", values[i].name, got);
    }
    cr_expect(scores[0] == 3.5 && scores[1] == -1.0);
}

static const struct {
    const char *name;
    kp_stat stat;
    kp_estimate want;
} intervals[] = {
    { "mean", KP_STAT_MEAN, { 67.09875, 60.1371875, 75.5920625 } },
    { "median", KP_STAT_MEDIAN, { 92.85, 90.13, 105.505 } },
    { "IQM", KP_STAT_IQM, { 72.6775, 68.775, 84.2123125 } },
};

Test(stats, stratified_bootstrap) {
    static const double x[] = { 1.1, 2.37, 4.71, 100.3, 110.71, 90.13, 131.9, 95.57 };
    static const int n[] = { 3, 5 };
    for (size_t i = 0; i < sizeof intervals / sizeof *intervals; i++) {
        kp_estimate e, want = intervals[i].want;
        cr_assert(!kp_bootstrap(&e, intervals[i].stat, x, n, 2, 0.95, 11, NULL));
        cr_expect(fabs(e.value - want.value) < 1e-12 && fabs(e.low - want.low) < 1e-12 &&
                      fabs(e.high - want.high) < 1e-12,
                  "%s: %.17g [%.17g, %.17g]", intervals[i].name, e.value, e.low, e.high);
    }
}

Test(stats, strata_of_one_have_no_width) {
    static const double x[] = { 1, 50 };
    static const int n[] = { 1, 1 };
    kp_estimate e;
    cr_assert(!kp_bootstrap(&e, KP_STAT_MEAN, x, n, 2, 0.95, 0, NULL));
    cr_expect(e.value == 25.5 && e.low == 25.5 && e.high == 25.5);
    int none = 0;
    cr_assert(!kp_bootstrap(&e, KP_STAT_MEAN, x, &none, 1, 0.95, 0, NULL));
    cr_expect(isnan(e.value) && isnan(e.low));
}

static const struct {
    const char *text;
    int want;
} widths[] = {
    { "", 0 },        { "pong", 4 },         { "\u03ba", 1 }, { "1 \u2026 2", 5 },
    { "e\u0301", 1 }, { "\u6f22\u5b57", 4 }, { "\xff", 1 },   { "\xe2\x80", 2 },
};

Test(table, width) {
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++)
        cr_expect(kp_text_width(widths[i].text) == widths[i].want, "%zu: %d", i,
                  kp_text_width(widths[i].text));
}

Test(table, words_to_the_left_numbers_to_the_right) {
    static const char *const cells[] = { "game",       "\u03ba", "95%",
                                         "pong",       "none",   "1.50 \u2026 2.25",
                                         "qb\u00e9rt", "10",     "-3",
                                         "a",          "1",      "" };
    kp_table t = { 0 };
    char *text = NULL;
    for (int i = 0; i < 12; i++) {
        kp_table_add(&t, "%s", cells[i]);
        if (i % 3 == 2) kp_table_end_row(&t);
    }
    cr_assert(!kp_table_write(&t, &text, NULL));
    cr_expect_str_eq(text, "game      \u03ba          95%\n"
                           "pong   none  1.50 \u2026 2.25\n"
                           "qb\u00e9rt    10           -3\n"
                           "a         1             \n");
    free(text);
    kp_table_free(&t);
}
