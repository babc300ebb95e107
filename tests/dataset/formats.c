/* formats.c: every format read, each value where it belongs. */
#include "data/permutations.h"
#include "data/safetensors.h"
#include "kp_kernel.h"
#include "make.h"

static void expect_data(const kp_data *d, const char *name, int n, int height, int width,
                        int n_classes) {
    cr_expect(d->n == n && d->n_inputs == height * width && d->height == height &&
                  d->width == width && d->n_classes == n_classes,
              "%s: %d of %d x %d = %d, %d classes", name, d->n, d->height, d->width, d->n_inputs,
              d->n_classes);
    cr_expect(!d->bytes == !!d->floats, "%s: bytes or floats", name);
}

static void expect_label(const kp_data *d, const char *name, const int32_t *want) {
    for (int i = 0; i < d->n; i++)
        cr_expect_eq(d->label[i], want[i], "%s: label %d is %d, not %d", name, i, d->label[i],
                     want[i]);
}

static void expect_features(const kp_data *d, const char *name, const float *want) {
    for (int i = 0; i < d->n * d->n_inputs; i++) {
        float got = d->bytes ? (float)d->bytes[i] : d->floats[i];
        cr_expect(got == want[i], "%s: feature %d is %g, not %g", name, i, (double)got,
                  (double)want[i]);
    }
}

static const float counted[24] = { 0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11,
                                   12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23 };
static const int32_t labels[4] = { 0, 1, 2, 3 };

Test(formats, idx) {
    static const struct {
        const char *name;
        int type, size, is_packed, label_type, label_size;
    } cases[] = {
        { "bytes", 8, 1, 0, 8, 1 },
        { "packed", 8, 1, 1, 8, 1 },
        { "packed in two members", 8, 1, 2, 8, 1 },
        { "int32 labels", 8, 1, 0, 12, 4 },
        { "float32", 13, 4, 0, 8, 1 },
    };
    for (size_t i = 0; i < KP_COUNT(cases); i++) {
        char folder[KP_PATH];
        scratch_folder(folder);
        blob x = blob_idx(cases[i].type, cases[i].size, (int[]){ 4, 2, 3, 0 }, 23);
        blob y = blob_idx(cases[i].label_type, cases[i].label_size, (int[]){ 4, 0 }, 3);
        if (cases[i].is_packed == 2) {
            blob head = x, tail = { .n = 0 };
            head.n = 21;
            blob_add(&tail, x.bytes + 21, x.n - 21);
            x = blob_gzip(&head), tail = blob_gzip(&tail);
            blob_add(&x, tail.bytes, tail.n);
        } else if (cases[i].is_packed) {
            x = blob_gzip(&x);
        }
        blob_put(&x, folder, cases[i].is_packed ? "a-images-idx3-ubyte.gz" : "a-images.idx3-ubyte");
        blob_put(&y, folder, "a-labels-idx1-ubyte");
        kp_data *d = expect_open("custom", folder);
        expect_data(d, cases[i].name, 4, 2, 3, 4);
        cr_expect(!d->bytes == (cases[i].type == 13), "%s", cases[i].name);
        expect_features(d, cases[i].name, counted);
        expect_label(d, cases[i].name, labels);
        cr_expect(strstr(d->source, "a-images") && strstr(d->source, ", ") &&
                      strstr(d->source, "a-labels-idx1-ubyte"),
                  "%s", d->source);
        kp_data_close(d);
        kp_folder_remove(folder, NULL);
    }
}

Test(formats, csv) {
    static const struct {
        const char *name, *text;
        int is_bytes, n_classes;
        float x[4];
        int32_t label[2];
    } cases[] = {
        { "label last", "1,2,0\n3,255,1\n", 1, 2, { 1, 2, 3, 255 }, { 0, 1 } },
        { "no newline at the end", "1,2,0\n3,4,1", 1, 2, { 1, 2, 3, 4 }, { 0, 1 } },
        { "of Windows", "1,2,0\r\n3,4,1\r\n", 1, 2, { 1, 2, 3, 4 }, { 0, 1 } },
        { "of Excel",
          "\xef\xbb\xbf"
          "1,2,0\n3,4,1\n",
          1,
          2,
          { 1, 2, 3, 4 },
          { 0, 1 } },
        { "blank lines, spaces", "\n 1 , 2,0 \n\n3,\t4,1\n\n", 1, 2, { 1, 2, 3, 4 }, { 0, 1 } },
        { "header without a label", "a,b,c\n1,2,0\n3,4,1\n", 1, 2, { 1, 2, 3, 4 }, { 0, 1 } },
        { "header with a label", "a,label,b\n1,7,2\n3,8,4\n", 1, 9, { 1, 2, 3, 4 }, { 7, 8 } },
        { "header of numbers and a label",
          "\"Label\",0,1\n1,2,3\n2,5,6\n",
          1,
          3,
          { 2, 3, 5, 6 },
          { 1, 2 } },
        { "256 is no byte", "1,2,0\n3,256,1\n", 0, 2, { 1, 2, 3, 256 }, { 0, 1 } },
        { "a half is no byte", "1,2,0\n0.5,4,1\n", 0, 2, { 1, 2, 0.5f, 4 }, { 0, 1 } },
        { "less than 0 is no byte", "1,-2,0\n3,4,1\n", 0, 2, { 1, -2, 3, 4 }, { 0, 1 } },
        { "as numpy.savetxt writes",
          "1.0e+00,2.5e-1,0.000e+00\n3,12345678,1.000e+00\n",
          0,
          2,
          { 1, 0.25f, 3, 12345678 },
          { 0, 1 } },
    };
    for (int is_packed = 0; is_packed < 2; is_packed++)
        for (size_t i = 0; i < KP_COUNT(cases); i++) {
            char folder[KP_PATH];
            scratch_folder(folder);
            blob b = blob_text(cases[i].text);
            if (is_packed) b = blob_gzip(&b);
            blob_put(&b, folder, is_packed ? "a.csv.gz" : "a.csv");
            kp_data *d = expect_open("custom", folder);
            expect_data(d, cases[i].name, 2, 1, 2, cases[i].n_classes);
            cr_expect(!d->bytes == !cases[i].is_bytes, "%s: %s", cases[i].name,
                      d->bytes ? "bytes" : "floats");
            expect_features(d, cases[i].name, cases[i].x);
            expect_label(d, cases[i].name, cases[i].label);
            kp_data_close(d);
            kp_folder_remove(folder, NULL);
        }
}

Test(formats, csv_longer_than_any_buffer) {
    enum { N = 300, D = 700 };
    char folder[KP_PATH], path[KP_PATH];
    scratch_folder(folder);
    kp_path_join(path, folder, "a.csv", NULL);
    FILE *f = fopen(path, "w");
    for (int i = 0; i < N; i++)
        for (int k = 0; k <= D; k++)
            fprintf(f, k < D ? "%d," : "%d\n", k < D ? (i * 31 + k * 7) % 1000 : i % 10);
    cr_assert(!fclose(f));
    kp_data *d = expect_open("custom", folder);
    expect_data(d, "long", N, 1, D, 10);
    for (int i = 0; i < N; i++) {
        cr_assert_eq(d->label[i], i % 10, "line %d", i + 1);
        for (int k = 0; k < D; k++)
            cr_assert_eq(d->floats[i * D + k], (float)((i * 31 + k * 7) % 1000),
                         "line %d, column %d", i + 1, k + 1);
    }
    kp_data_close(d);
    kp_folder_remove(folder, NULL);
}

#define NPY(descr, shape)                                                                          \
    "{'descr': '" descr "', 'fortran_order': False, 'shape': (" shape "), }   \n"

Test(formats, npy) {
    static const uint8_t bytes[6] = { 0, 1, 2, 3, 4, 5 }, small[2] = { 3, 1 };
    static const int32_t middle[2] = { 3, 1 };
    static const int64_t large[2] = { 3, 1 };
    static const struct {
        const char *name;
        int version;
        const char *x, *y;
        int is_bytes, label_size, height;
    } cases[] = {
        { "float32, int64", 1, NPY("<f4", "2, 3"), NPY("<i8", "2,"), 0, 8, 1 },
        { "version 2, int32", 2, NPY("<f4", "2, 3"), NPY("<i4", "2,"), 0, 4, 1 },
        { "version 3, bytes", 3, NPY("|u1", "2, 3"), NPY("|u1", "2,"), 1, 1, 1 },
        { "images", 1, NPY("|u1", "2, 3, 1"), NPY("|u1", "2,"), 1, 1, 3 },
        { "four dimensions", 1, NPY("<f4", "2, 3, 1, 1"), NPY("<i8", "2,"), 0, 8, 1 },
        { "keys in another order", 1, "{'shape':(2,3),'fortran_order':False,'descr':'<f4'}",
          NPY("<i8", "2"), 0, 8, 1 },
    };
    for (size_t i = 0; i < KP_COUNT(cases); i++) {
        char folder[KP_PATH];
        scratch_folder(folder);
        blob x = blob_npy(cases[i].version, cases[i].x,
                          cases[i].is_bytes ? (const void *)bytes : counted,
                          cases[i].is_bytes ? 6 : 24);
        blob y = blob_npy(cases[i].version, cases[i].y,
                          cases[i].label_size == 1   ? (const void *)small
                          : cases[i].label_size == 4 ? (const void *)middle
                                                     : large,
                          2 * (size_t)cases[i].label_size);
        blob_put(&x, folder, "features.npy");
        blob_put(&y, folder, "labels.npy");
        blob_put(&x, folder, "another.npy");
        kp_data *d = expect_open("custom", folder);
        expect_data(d, cases[i].name, 2, cases[i].height, 3 / cases[i].height, 4);
        expect_features(d, cases[i].name, counted);
        expect_label(d, cases[i].name, middle);
        kp_data_close(d);
        kp_folder_remove(folder, NULL);
    }
}

Test(formats, safetensors) {
    static const char head[] =
        "{\"__metadata__\":{\"made\":\"by hand\"},"
        "\"labels\":{\"dtype\":\"I64\",\"shape\":[2],\"data_offsets\":[25,41]},"
        "\"other\":{\"dtype\":\"BF16\",\"shape\":[0,7],\"data_offsets\":[41,41]},"
        "\"odd\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[0,1]},"
        "\"features\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[1,25]}}";
    char folder[KP_PATH], path[KP_PATH];
    uint8_t data[41] = { 9 };
    kp_safetensors *file = NULL;
    kp_array a;
    memcpy(data + 1, counted, 24);
    memcpy(data + 25, (int64_t[]){ 4, 2 }, 16);
    blob b = blob_safetensors(head, data, sizeof data);
    scratch_folder(folder);
    blob_put(&b, folder, "a.safetensors");
    kp_data *d = expect_open("custom", folder);
    expect_data(d, "safetensors", 2, 1, 3, 5);
    expect_features(d, "safetensors", counted);
    expect_label(d, "safetensors", (int32_t[]){ 4, 2 });
    cr_expect(strstr(d->source, "/a.safetensors") && !strchr(d->source, ','), "%s", d->source);
    kp_data_close(d);

    kp_path_join(path, folder, "a.safetensors", NULL);
    cr_assert_eq(kp_safetensors_open(&file, path, NULL), KP_OK);
    cr_expect(kp_safetensors_has(file, "odd") && !kp_safetensors_has(file, "__metadata__"));
    cr_assert_eq(kp_safetensors_find(file, "odd", &a, NULL), KP_OK);
    cr_expect(a.type == KP_U8 && !a.n_dims && a.n == 1 && *(const uint8_t *)a.data == 9);
    cr_assert_eq(kp_safetensors_find(file, "features", &a, NULL), KP_OK);
    cr_expect(a.type == KP_F32 && a.n_dims == 2 && a.shape[0] == 2 && a.shape[1] == 3 && a.n == 6);
    cr_expect(!memcmp(a.data, counted, 24));
    cr_expect_eq(kp_safetensors_find(file, "other", &a, NULL), KP_BAD_DATA);
    kp_safetensors_close(file);
    kp_folder_remove(folder, NULL);
}

Test(formats, permutations) {
    static const int32_t two[2][3] = { { 2, 0, 1 }, { 1, 2, 0 } };
    static const int64_t one[3] = { 1, 0, 2 };
    char folder[KP_PATH], path[KP_PATH];
    int32_t *rows = NULL;
    int k = 0;
    scratch_folder(folder);
    kp_path_join(path, folder, "p.npy", NULL);
    blob b = blob_npy(1, NPY("<i4", "2, 3"), two, sizeof two);
    blob_put(&b, folder, "p.npy");
    cr_assert_eq(kp_permutations_read(&rows, &k, 3, path, NULL), KP_OK);
    cr_expect(k == 2 && !memcmp(rows, two, sizeof two));
    free(rows);
    b = blob_npy(1, NPY("<i8", "3,"), one, sizeof one);
    blob_put(&b, folder, "p.npy");
    cr_assert_eq(kp_permutations_read(&rows, &k, 3, path, NULL), KP_OK);
    cr_expect(k == 1 && rows[0] == 1 && rows[1] == 0 && rows[2] == 2);
    free(rows);
    kp_folder_remove(folder, NULL);
}
