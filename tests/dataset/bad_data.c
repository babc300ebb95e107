/* bad_data.c: every way in which a file can be wrong has a line that says so. */
#include <math.h>

#include "data/permutations.h"
#include "kp_kernel.h"
#include "make.h"

/* A pair of IDX: four images of 2 x 3, four labels. */
static blob idx_images(void) { return blob_idx(8, 1, (int[]){ 4, 2, 3, 0 }, 23); }
static blob idx_labels(void) { return blob_idx(8, 1, (int[]){ 4, 0 }, 3); }

enum { IMAGES, LABELS };
typedef enum { SET, CUT, APPEND } change;

static const struct {
    const char *name;
    int file;
    change how;
    int at, to; /* SET: byte at; CUT: bytes that stay; APPEND: this byte */
    const char *says;
} idx_cases[] = {
    { "empty", IMAGES, CUT, 0, 0, "a-idx3-ubyte: is empty; fetch it again" },
    { "magic", IMAGES, SET, 0, 7,
      "a-idx3-ubyte: begins with 07000803, expected the magic number of IDX" },
    { "type", IMAGES, SET, 2, 0x0b, "elements of type 0b, expected 08 (unsigned bytes), 0c" },
    { "no dimensions", IMAGES, SET, 3, 0, "0 dimensions, expected 1 to 8" },
    { "nine dimensions", IMAGES, SET, 3, 9, "9 dimensions, expected 1 to 8" },
    { "cut off in its magic number", IMAGES, CUT, 3, 0,
      "ends after 3 bytes, expected 4 with its magic number; it is cut off: fetch it again" },
    { "cut off in its dimensions", IMAGES, CUT, 9, 0,
      "ends after 9 bytes, expected 16 with its dimensions" },
    { "cut off in its elements", IMAGES, CUT, 39, 0,
      "ends after 39 bytes, expected 40 with its elements" },
    { "promises more than the file", IMAGES, SET, 4, 0x7f,
      "its header says 2130706436 x 2 x 3 U8, more than a file of its size can hold" },
    { "a byte too many", IMAGES, APPEND, 0, 0,
      "more bytes follow the 40 that its header promises" },
    { "no samples", IMAGES, SET, 7, 0, "more bytes follow the 16" },
    { "counts differ", LABELS, SET, 7, 3, "more bytes follow the 11" },
    { "images are labels", IMAGES, SET, 3, 1, "more bytes follow the 12" },
    { "cut off label file", LABELS, CUT, 11, 0, "a-idx1-ubyte: ends after 11 bytes, expected 12" },
};

static void change_blob(blob *b, change how, int at, int to) {
    if (how == SET) b->bytes[at] = (uint8_t)to;
    else if (how == CUT) b->n = (size_t)at;
    else blob_add(b, &(uint8_t){ (uint8_t)to }, 1);
}

Test(bad_data, idx) {
    char folder[KP_PATH];
    scratch_folder(folder);
    for (size_t i = 0; i < KP_COUNT(idx_cases); i++) {
        blob files[2] = { idx_images(), idx_labels() };
        change_blob(&files[idx_cases[i].file], idx_cases[i].how, idx_cases[i].at, idx_cases[i].to);
        blob_put(&files[IMAGES], folder, "a-idx3-ubyte");
        blob_put(&files[LABELS], folder, "a-idx1-ubyte");
        expect_bad("custom", folder, idx_cases[i].name, idx_cases[i].says);
    }
    kp_folder_remove(folder, NULL);
}

Test(bad_data, idx_pairs_that_do_not_fit) {
    static const struct {
        const char *name;
        int type, size, image_dims[5], label_type, label_size, label_dims[3], last_label;
        const char *says;
    } cases[] = {
        { "fewer labels", 8, 1, { 4, 2, 3 }, 8, 1, { 3 }, 2, "a-idx3-ubyte: 4 samples, but " },
        { "more labels", 8, 1, { 4, 2, 3 }, 8, 1, { 5 }, 2, "a-idx1-ubyte: 5 labels" },
        { "labels of two dimensions",
          8,
          1,
          { 4, 2 },
          8,
          1,
          { 4, 1 },
          2,
          "labels are 4 x 1 U8, expected U8, I32 or I64 of one dimension" },
        { "labels that are floats", 8, 1, { 4, 2 }, 13, 4, { 4 }, 2, "labels are 4 F32" },
        { "features of one dimension",
          8,
          1,
          { 4 },
          8,
          1,
          { 4 },
          2,
          "features are 4 U8, expected U8 or F32, samples first, of two or more dimensions" },
        { "features that are whole", 12, 4, { 4, 2 }, 8, 1, { 4 }, 2, "features are 4 x 2 I32" },
        { "a negative label",
          8,
          1,
          { 4, 2 },
          12,
          4,
          { 4 },
          -1,
          "a-idx1-ubyte: label of sample 3 (from 0) is -1, expected 0 to 2147483646" },
    };
    char folder[KP_PATH];
    scratch_folder(folder);
    for (size_t i = 0; i < KP_COUNT(cases); i++) {
        blob images = blob_idx(cases[i].type, cases[i].size, cases[i].image_dims, 1);
        blob labels = blob_idx(cases[i].label_type, cases[i].label_size, cases[i].label_dims,
                               cases[i].last_label);
        blob_put(&images, folder, "a-idx3-ubyte");
        blob_put(&labels, folder, "a-idx1-ubyte");
        expect_bad("custom", folder, cases[i].name, cases[i].says);
    }
    kp_folder_remove(folder, NULL);
}

Test(bad_data, sizes_that_overflow) {
    static const uint8_t huge[] = { 0,   0,   8,   3,   255, 255, 255, 255,
                                    255, 255, 255, 255, 255, 255, 255, 255 };
    static const uint8_t none[] = {
        0, 0, 8, 3, 0, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255
    };
    char folder[KP_PATH];
    blob b = { .n = 0 }, labels = idx_labels();
    scratch_folder(folder);
    blob_add(&b, huge, sizeof huge);
    blob_put(&b, folder, "a-idx3-ubyte");
    blob_put(&labels, folder, "a-idx1-ubyte");
    expect_bad(
        "custom", folder, "2^96 bytes",
        "its header says 4294967295 x 4294967295 x 4294967295 U8, more bytes than there can be");
    b.n = 0;
    blob_add(&b, none, sizeof none);
    blob_put(&b, folder, "a-idx3-ubyte");
    expect_bad("custom", folder, "no samples of 2^64 bytes", "is empty, 0 x 4294967295");
    kp_folder_remove(folder, NULL);
}

static const struct {
    const char *name;
    change how;
    int at, to; /* at < 0: from the end */
    const char *says;
} gzip_cases[] = {
    { "cut off", CUT, -1, 0, "a-idx3-ubyte.gz: the gzip data ends early, after " },
    { "cut off in its header", CUT, 5, 0, "the gzip data ends early, after 5 bytes of the file" },
    { "checksum", SET, -8, 0x55, "the gzip data is damaged (zlib: incorrect data check)" },
    { "length", SET, -1, 0x55, "the gzip data is damaged (zlib: incorrect length check)" },
    { "method", SET, 2, 7, "the gzip data is damaged (zlib: unknown compression method)" },
    { "zeros behind it", APPEND, 0, 0,
      "a-idx3-ubyte.gz: bytes follow the gzip data; fetch it again" },
    { "half a member behind it", APPEND, 0, 0x1f, "the gzip data ends early" },
};

Test(bad_data, gzip) {
    char folder[KP_PATH];
    blob labels = idx_labels();
    scratch_folder(folder);
    blob_put(&labels, folder, "a-idx1-ubyte");
    for (size_t i = 0; i < KP_COUNT(gzip_cases); i++) {
        blob plain = idx_images(), b = blob_gzip(&plain);
        int at = gzip_cases[i].at < 0 ? (int)b.n + gzip_cases[i].at : gzip_cases[i].at;
        change_blob(&b, gzip_cases[i].how, at, gzip_cases[i].to);
        blob_put(&b, folder, "a-idx3-ubyte.gz");
        expect_bad("custom", folder, gzip_cases[i].name, gzip_cases[i].says);
    }
    blob longer = idx_images(); /* what is packed goes on, as in a file that is not */
    blob_add(&longer, "x", 1);
    longer = blob_gzip(&longer);
    blob_put(&longer, folder, "a-idx3-ubyte.gz");
    expect_bad("custom", folder, "a byte too many inside",
               "more bytes follow the 40 that its header promises");
    kp_folder_remove(folder, NULL);
}

Test(bad_data, csv) {
    static const struct {
        const char *name, *text, *says;
    } cases[] = {
        { "no number", "1,2,0\n3,x4,1\n", "a.csv:2: column 2 is \"x4\", expected a number" },
        { "nothing in a cell", "1,2,0\n3,,1\n", "a.csv:2: column 2 is \"\", expected a number" },
        { "half a number", "1,2,0\n3,4 5,1\n", "a.csv:2: column 2 is \"4 5\", expected a number" },
        { "what cannot be printed", "1,2,0\n3,\x01\xff,1\n", "column 2 is \"??\"" },
        { "a long cell", "1,2,0\n3,aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa,1\n",
          "\"aaaaaaaaaaaaaaaaaaaa...\"" },
        { "a mistake in the first line is no header", "1,x,0\n3,4,1\n",
          "a.csv:1: column 2 is \"x\", expected a number" },
        { "semicolons", "1;2;0\n",
          "a.csv:1: 1 column, expected a label and features, with commas" },
        { "short line", "1,2,0\n\n3,1\n", "a.csv:3: 2 columns, expected 3 as above it" },
        { "long line", "a,b,label\n1,2,3,4\n", "a.csv:2: 4 columns, expected 3 as above it" },
        { "NaN", "1,2,0\n1,2,0\n3,nan,1\n", "a.csv:3: column 2 is nan, expected a finite float32" },
        { "infinite", "1,2,0\n-inf,2,1\n", "a.csv:2: column 1 is -inf" },
        { "beyond float32", "1,2,0\n1,1e39,1\n",
          "a.csv:2: column 2 is 1e39, expected a finite float32" },
        { "half a label", "1,2,0\n1,2,0.5\n",
          "a.csv:2: label (column 3) is 0.5, expected a whole number" },
        { "NaN for a label", "1,2,nan\n", "a.csv:1: label (column 3) is nan" },
        { "a label beyond 32 bits", "1,2,4294967296\n", "label (column 3) is 4294967296" },
        { "a negative label", "1,2,0\n1,2,-3\n",
          "label of sample 1 (from 0) is -3, expected 0 to " },
        { "two labels", "label,a,Label\n1,2,3\n",
          "a.csv:1: 2 columns are named label, expected one" },
        { "header alone", "label,a\n", "a.csv: no sample after the header; expected one a line" },
        { "blank lines", "\n\n \n", "a.csv: no sample; expected one a line" },
        { "nothing", "", "a.csv: is empty" },
    };
    char folder[KP_PATH];
    scratch_folder(folder);
    for (size_t i = 0; i < KP_COUNT(cases); i++) {
        blob b = blob_text(cases[i].text);
        blob_put(&b, folder, "a.csv");
        expect_bad("custom", folder, cases[i].name, cases[i].says);
    }
    blob zero = { .bytes = "1,2,0\n1,2\0,3\n", .n = 13 };
    blob_put(&zero, folder, "a.csv");
    expect_bad("custom", folder, "a zero byte", "a.csv:2: column 2 is \"2?\"");
    kp_folder_remove(folder, NULL);
}

#define NPY(descr, fortran, shape)                                                                 \
    "{'descr': " descr ", 'fortran_order': " fortran ", 'shape': (" shape "), }"

Test(bad_data, npy) {
    static const struct {
        const char *name;
        int version;
        const char *head;
        int n; /* bytes of elements */
        const char *says;
    } cases[] = {
        { "float64", 1, NPY("'<f8'", "False", "2, 3"), 48,
          "features.npy: elements are '<f8', expected '<f4', '|u1', '<i4' or '<i8'; save it with .astype" },
        { "big endian", 1, NPY("'>f4'", "False", "2, 3"), 24,
          "elements are '>f4', expected '<f4'" },
        { "objects", 1, NPY("'|O'", "False", "2, 3"), 24, "elements are '|O'" },
        { "records", 1, NPY("[('a', '<f4')]", "False", "2"), 24,
          "its header is {'descr': [('a', '<f4')]" },
        { "Fortran order", 1, NPY("'<f4'", "True", "2, 3"), 24,
          "is in Fortran order, expected C order" },
        { "version 4", 4, NPY("'<f4'", "False", "2, 3"), 24,
          "NPY version 4.0, expected 1.0, 2.0 or 3.0" },
        { "version 0", 0, NPY("'<f4'", "False", "2, 3"), 24, "NPY version 0.0" },
        { "no dictionary", 1, "hello", 24,
          "its header is hello, expected a plain array's {'descr'" },
        { "no shape", 1, "{'descr': '<f4', 'fortran_order': False}", 24,
          "its shape is (), expected 1 to 8" },
        { "no type", 1, "{'fortran_order': False, 'shape': (2, 3)}", 24,
          "its header is {'fortran_order'" },
        { "another key", 1, "{'x': 1}", 24, "its header is {'x': 1}" },
        { "half a dictionary", 1, "{'descr': '<f4', ", 24, "its header is {'descr': '<f4', " },
        { "a scalar", 1, NPY("'<f4'", "False", ""), 4,
          "its shape is (), expected 1 to 8 dimensions" },
        { "a negative dimension", 1, NPY("'<f4'", "False", "-2, 3"), 24, "its shape is (-2, 3)" },
        { "a dimension that is no number", 1, NPY("'<f4'", "False", "2, x"), 24,
          "its shape is (2, x)" },
        { "nine dimensions", 1, NPY("'<f4'", "False", "1,1,1,1,1,1,1,1,1"), 4,
          "its shape is (1,1,1,1" },
        { "an overflow", 1, NPY("'<f4'", "False", "4294967296, 4294967296"), 24,
          "its header says 4294967296 x 4294967296 F32, more bytes than there can be" },
        { "more than 64 bits", 1, NPY("'<f4'", "False", "99999999999999999999, 3"), 24,
          "more bytes than there can be" },
        { "promises too much", 1, NPY("'<f4'", "False", "2000000000, 3"), 24,
          "its header says 2000000000 x 3 F32, more than a file of its size can hold" },
        { "cut off", 1, NPY("'<f4'", "False", "2, 3"), 23, "expected " },
        { "a byte too many", 1, NPY("'<f4'", "False", "2, 3"), 25, "more bytes follow the " },
        { "one dimension", 1, NPY("'<f4'", "False", "2,"), 8,
          "features are 2 F32, expected U8 or F32" },
        { "whole features", 1, NPY("'<i4'", "False", "2, 3"), 24, "features are 2 x 3 I32" },
        { "no samples", 1, NPY("'<f4'", "False", "0, 3"), 0, "features.npy: is empty, 0 x 3 F32" },
        { "another count", 1, NPY("'<f4'", "False", "3, 2"), 24, "features.npy: 3 samples, but " },
    };
    char folder[KP_PATH];
    static const uint8_t zeros[64];
    blob labels = blob_npy(1, NPY("'<i8'", "False", "2,"), (int64_t[]){ 0, 1 }, 16);
    scratch_folder(folder);
    blob_put(&labels, folder, "labels.npy");
    for (size_t i = 0; i < KP_COUNT(cases); i++) {
        blob b = blob_npy(cases[i].version, cases[i].head, zeros, (size_t)cases[i].n);
        blob_put(&b, folder, "features.npy");
        expect_bad("custom", folder, cases[i].name, cases[i].says);
    }
    blob b = blob_text("PK\003\004 a zip");
    blob_put(&b, folder, "features.npy");
    expect_bad("custom", folder, "npz", "begins with 504b0304, expected NPY's \\x93NUMPY");
    b = blob_npy(2, NPY("'<f4'", "False", "2, 3"), zeros, 24);
    b.bytes[11] = 0x7f; /* of the header's length */
    blob_put(&b, folder, "features.npy");
    expect_bad("custom", folder, "a long header", "more than the file holds");
    kp_folder_remove(folder, NULL);
}

Test(bad_data, features_that_are_not_finite) {
    static const float values[] = { NAN, INFINITY, -INFINITY };
    static const char *const says[] = {
        "features.npy: row 1, column 2 (from 0) is nan",
        "features.npy: row 1, column 2 (from 0) is inf, expected finite features",
        "row 1, column 2 (from 0) is -inf"
    };
    char folder[KP_PATH];
    blob labels = blob_npy(1, NPY("'<i4'", "False", "2,"), (int32_t[]){ 0, 1 }, 8);
    scratch_folder(folder);
    blob_put(&labels, folder, "labels.npy");
    for (int i = 0; i < 3; i++) {
        float x[6] = { 1, 2, 3, 4, 5, values[i] };
        blob b = blob_npy(1, NPY("'<f4'", "False", "2, 3"), x, sizeof x);
        blob_put(&b, folder, "features.npy");
        expect_bad("custom", folder, says[i], i ? says[i] : "row 1, column 2 (from 0) is ");
    }
    kp_folder_remove(folder, NULL);
}

#define FEATURES(from, to)                                                                         \
    "\"features\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[" from "," to "]}"
#define LABELS_(from, to)                                                                          \
    "\"labels\":{\"dtype\":\"I64\",\"shape\":[2],\"data_offsets\":[" from "," to "]}"

Test(bad_data, safetensors) {
    static const struct {
        const char *name, *head;
        int n; /* bytes behind it */
        const char *says;
    } cases[] = {
        { "overlap", "{" FEATURES("0", "24") "," LABELS_("16", "32") "}", 32,
          "a.safetensors: labels begins at byte 16, expected 24: arrays overlap" },
        { "the same place twice",
          "{" LABELS_("0",
                      "16") ",\"a\":{\"dtype\":\"I64\",\"shape\":[2],\"data_offsets\":[0,16]}}",
          16, "begins at byte 0, expected 16: arrays overlap" },
        { "gap", "{" FEATURES("0", "24") "," LABELS_("32", "48") "}", 48,
          "labels begins at byte 32, expected 24: there is a gap" },
        { "out of range", "{" FEATURES("0", "24") "," LABELS_("24", "40") "}", 39,
          "labels lies at 24 to 40 of 39 bytes; the file is cut off or damaged" },
        { "backwards", "{" FEATURES("24", "0") "," LABELS_("24", "40") "}", 40,
          "features lies at 24 to 0 of 40" },
        { "negative", "{" FEATURES("-24", "0") "," LABELS_("0", "16") "}", 16,
          "its head is damaged at features" },
        { "beyond 64 bits", "{" FEATURES("0", "99999999999999999999") "}", 24,
          "its head is no JSON" },
        { "size", "{" FEATURES("0", "20") "," LABELS_("20", "36") "}", 36,
          "features has 20 bytes, but its type and shape make 24" },
        { "bytes behind", "{" FEATURES("0", "24") "," LABELS_("24", "40") "}", 43,
          "3 bytes follow the last array" },
        { "an overflow",
          "{\"features\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,0]}}",
          0, "its head is damaged at features" },
        { "unknown type", "{\"features\":{\"dtype\":\"F31\",\"shape\":[],\"data_offsets\":[0,0]}}",
          0, "features is of the unknown type F31" },
        { "no shape", "{\"features\":{\"dtype\":\"F32\",\"data_offsets\":[0,0]}}", 0,
          "no dtype, shape and data_offsets" },
        { "no type", "{\"features\":{\"shape\":[0],\"data_offsets\":[0,0]}}", 0,
          "no dtype, shape and data_offsets" },
        { "a dimension that is text",
          "{\"features\":{\"dtype\":\"F32\",\"shape\":[\"2\"],\"data_offsets\":[0,8]}}", 8,
          "its head is damaged at features" },
        { "three offsets",
          "{\"features\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8,8]}}", 8,
          "its head is damaged at features" },
        { "a name twice", "{" FEATURES("0", "24") "," FEATURES("0", "24") "}", 24,
          "its head is no JSON: duplicate" },
        { "no JSON", "{hello", 0, "a.safetensors: its head is no JSON" },
        { "a list", "[1]", 0, "its head is no JSON object" },
        { "no labels", "{" FEATURES("0", "24") "}", 24, "a.safetensors: has no array labels" },
        { "no features", "{" LABELS_("0", "16") "}", 16, "a.safetensors: has no array features" },
        { "half floats",
          "{\"features\":{\"dtype\":\"F16\",\"shape\":[2,3],\"data_offsets\":[0,12]}," LABELS_(
              "12", "28") "}",
          28, "features is F16 of 2 dimensions" },
        { "float64",
          "{\"features\":{\"dtype\":\"F64\",\"shape\":[2,3],\"data_offsets\":[0,48]}," LABELS_(
              "48", "64") "}",
          64, "features are 2 x 3 F64, expected U8 or F32" },
        { "metadata for features", "{\"__metadata__\":{}," LABELS_("0", "16") "}", 16,
          "has no array features" },
    };
    static const uint8_t zeros[64];
    char folder[KP_PATH];
    scratch_folder(folder);
    for (size_t i = 0; i < KP_COUNT(cases); i++) {
        blob b = blob_safetensors(cases[i].head, zeros, (size_t)cases[i].n);
        blob_put(&b, folder, "a.safetensors");
        expect_bad("custom", folder, cases[i].name, cases[i].says);
    }
    blob b = blob_safetensors("{}", zeros, 4);
    b.bytes[6] = 1;
    blob_put(&b, folder, "a.safetensors");
    expect_bad("custom", folder, "a long head", "a head of 281474976710658 bytes in a file of 14");
    b = blob_text("1234567");
    blob_put(&b, folder, "a.safetensors");
    expect_bad("custom", folder, "too short", "7 bytes, shorter than a safetensors file can be");
    kp_folder_remove(folder, NULL);
}

Test(bad_data, permutations) {
    static const struct {
        const char *name, *descr, *shape;
        int32_t rows[6];
        int n; /* bytes */
        const char *says;
    } cases[] = {
        { "a number twice",
          "'<i4'",
          "2, 3",
          { 0, 1, 2, 2, 0, 2 },
          24,
          "row 1, column 2 is 2, expected each of 0 to 2 once in a row" },
        { "beyond", "'<i4'", "2, 3", { 0, 3, 2, 2, 0, 1 }, 24, "row 0, column 1 is 3" },
        { "negative", "'<i4'", "2, 3", { 0, 1, -1, 2, 0, 1 }, 24, "row 0, column 2 is -1" },
        { "another width",
          "'<i4'",
          "3, 2",
          { 0, 1, 0, 1, 0, 1 },
          24,
          "is 3 x 2 I32, expected I32 or I64, one row a task and 3 columns" },
        { "three dimensions", "'<i4'", "1, 2, 3", { 0, 1, 2, 0, 1, 2 }, 24, "is 1 x 2 x 3 I32" },
        { "floats", "'<f4'", "2, 3", { 0 }, 24, "is 2 x 3 F32" },
        { "no rows", "'<i4'", "0, 3", { 0 }, 0, "is 0 x 3 I32" },
    };
    char folder[KP_PATH], path[KP_PATH], head[128];
    scratch_folder(folder);
    kp_path_join(path, folder, "p.npy", NULL);
    for (size_t i = 0; i < KP_COUNT(cases); i++) {
        int32_t *rows = NULL;
        int k;
        kp_err err = { "" };
        snprintf(head, sizeof head, NPY("%s", "False", "%s"), cases[i].descr, cases[i].shape);
        blob b = blob_npy(1, head, cases[i].rows, (size_t)cases[i].n);
        blob_put(&b, folder, "p.npy");
        cr_expect_eq(kp_permutations_read(&rows, &k, 3, path, &err), KP_BAD_DATA, "%s",
                     cases[i].name);
        cr_expect(!rows && strstr(err.text, cases[i].says), "%s: %s", cases[i].name, err.text);
    }
    kp_folder_remove(folder, NULL);
}
