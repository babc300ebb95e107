/* relu_cases.h: what a layer of one weight, with ReLU before and after it, makes of single values. */
#pragma once
#include <math.h>

static const struct {
    const char *name;
    float x, bias, y, dx; /* weight 2, slope 3 */
} relu_cases[] = {
    { "positive", 1, -1, 1, 6 },
    { "below zero is zero", 1, -3, 0, 6 },
    { "dead input has no gradient", -1, 4, 2, 0 },
    { "zero is dead", 0, 5, 5, 0 },
    { "negative zero is dead", -0.0f, 5, 5, 0 },
    { "NaN stays NaN", NAN, 0, NAN, 6 },
    { "infinity stays", INFINITY, 0, INFINITY, 6 },
};
