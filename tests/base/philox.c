/* philox.c: known answers of Random123's kat_vectors for philox4x32 10. */
#include "base/philox.h"

#include <criterion/criterion.h>

static const struct {
    const char *name;
    uint64_t seed;
    uint32_t stream;
    uint64_t counter;
    uint32_t want[4];
} cases[] = {
    { "all zero", 0, 0, 0, { 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8 } },
};

Test(philox, known_answers) {
    for (size_t i = 0; i < KP_COUNT(cases); i++) {
        kp_philox_block got = kp_philox(cases[i].seed, cases[i].stream, cases[i].counter);
        for (int k = 0; k < 4; k++)
            cr_expect(got.x[k] == cases[i].want[k], "%s: word %d is %08x, not %08x", cases[i].name,
                      k, got.x[k], cases[i].want[k]);
    }
}

Test(philox, below_covers_its_range_and_no_more) {
    cr_expect_eq(kp_below(0, 0, 10), 0);
    cr_expect_eq(kp_below(~0u, ~0u, 10), 9);
    cr_expect_eq(kp_below(~0u, ~0u, 1), 0);
}

Test(philox, uniform_is_never_one) {
    cr_expect(kp_uniform(~0u) < 1.0f);
    cr_expect_eq(kp_uniform(0), 0.0f);
}
