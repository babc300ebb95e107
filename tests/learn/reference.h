/* reference.h: what the weight clipping authors' code computed on streams (tests/data/README.md). */
#pragma once
#include <criterion/criterion.h>
#include <jansson.h>
#include <stdlib.h>

#include "base/files.h"
#include "data/source.h"

#define DATA KP_TEST_DATA "/streaming/"

static inline json_t *read_json(const char *name) { /* DATA/NAME, yours to drop */
    enum { MOST = 1 << 20 };
    char path[KP_PATH], *text = malloc(MOST);
    size_t n = 0;
    kp_source *source = NULL;
    kp_err err = { "" };
    json_error_t bad;
    snprintf(path, sizeof path, DATA "%s", name);
    cr_assert_eq(kp_source_open(&source, path, 0, &err), KP_OK, "%s", err.text);
    cr_assert_eq(kp_source_read(source, text, MOST, &n, &err), KP_OK, "%s", err.text);
    kp_source_close(source);
    cr_assert(n > 0 && n < MOST);
    json_t *all = json_loadb(text, n, 0, &bad);
    cr_assert(all, "%s: %s", path, bad.text);
    free(text);
    return all;
}

static inline double number(const json_t *list, size_t i) {
    const json_t *x = json_array_get(list, i);
    cr_assert(json_is_number(x));
    return json_number_value(x);
}
