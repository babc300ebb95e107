/* pack.c: see pack.h. */
#include "pack.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* All that members must agree in, as one text, yours to free; NULL: out of memory. */
static char *signature(const kp_config *c) {
    char *bytes = NULL, text[KP_CONFIG_TEXT];
    size_t n;
    FILE *f = open_memstream(&bytes, &n);
    if (!f) return NULL;
    for (int i = 0; i < kp_n_keys(); i++) {
        const kp_key *k = kp_key_at(i);
        if (k->per_member || !strcmp(k->key, "run.name") || !strcmp(k->key, "run.dir")) continue;
        kp_config_get(c, i, text);
        fprintf(f, "%s=%s\n", k->key, text);
    }
    int failed = ferror(f);
    if (fclose(f) || failed) {
        free(bytes);
        return NULL;
    }
    return bytes;
}

typedef struct {
    char *text;
    int run;
} signed_run;

static int by_signature(const void *a, const void *b) {
    const signed_run *x = a, *y = b;
    int order = strcmp(x->text, y->text);
    return order ? order : (x->run > y->run) - (x->run < y->run);
}

static int by_first_run(const void *a, const void *b) {
    const kp_group *x = a, *y = b;
    return (x->run[0] > y->run[0]) - (x->run[0] < y->run[0]);
}

/* Runs [first, first + n) of the sorted list agree: splits them into populations. */
static kp_status split(kp_packing *p, const signed_run *sorted, int n, int max_members,
                       kp_err *err) {
    int n_groups = (n + max_members - 1) / max_members;
    for (int i = 0, at = 0; i < n_groups; i++) {
        kp_group g = { n / n_groups + (i < n % n_groups), NULL };
        g.run = malloc((size_t)g.n * sizeof *g.run);
        if (!g.run) return kp_fail(err, KP_BAD_CONFIG, "study: out of memory");
        for (int j = 0; j < g.n; j++) g.run[j] = sorted[at++].run;
        p->group[p->n++] = g;
    }
    return KP_OK;
}

kp_status kp_pack(kp_packing *packing, const kp_config *run, int n_runs, int max_members,
                  kp_err *err) {
    kp_packing p = { calloc((size_t)n_runs + 1, sizeof *p.group), 0 };
    signed_run *sorted = calloc((size_t)n_runs + 1, sizeof *sorted);
    kp_status st = KP_OK;
    if (max_members < 1) {
        st = kp_fail(err, KP_BAD_CONFIG,
                     "study: populations of at most %d members, expected 1 or more", max_members);
        goto out;
    }
    int complete = p.group && sorted;
    for (int i = 0; i < n_runs && complete; i++) {
        sorted[i] = (signed_run){ signature(&run[i]), i };
        complete = sorted[i].text != NULL;
    }
    if (!complete) {
        st = kp_fail(err, KP_BAD_CONFIG, "study: out of memory");
        goto out;
    }
    qsort(sorted, (size_t)n_runs, sizeof *sorted, by_signature);
    for (int first = 0, n; first < n_runs && !st; first += n) {
        for (n = 1; first + n < n_runs && !strcmp(sorted[first + n].text, sorted[first].text);) n++;
        st = split(&p, sorted + first, n, max_members, err);
    }
    if (!st) qsort(p.group, (size_t)p.n, sizeof *p.group, by_first_run);
out:
    for (int i = 0; i < n_runs && sorted; i++) free(sorted[i].text);
    free(sorted);
    if (st) kp_packing_free(&p);
    *packing = p;
    return st;
}

void kp_packing_free(kp_packing *packing) {
    for (int i = 0; i < packing->n; i++) free(packing->group[i].run);
    free(packing->group);
    memset(packing, 0, sizeof *packing);
}
