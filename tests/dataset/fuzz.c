/* fuzz.c: damaged files of each format are read or refused; nothing worse. For ASan above all. */
#include <unistd.h>

#include "make.h"

static uint64_t random_state;

static uint32_t draw(uint32_t below) { /* splitmix64 */
    uint64_t z = random_state += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return (uint32_t)((z ^ z >> 31) >> 32) % below;
}

/* A few bytes turned, taken out, doubled, or the end cut off. */
static blob damage(const blob *whole) {
    static const uint8_t favourites[] = {
        0, 1, 0x7f, 0x80, 0xff, ',', '\n', '9', '-', '{', '[', '"'
    };
    blob b = *whole;
    for (uint32_t times = 1 + draw(4); times-- && b.n;) {
        uint32_t at = draw((uint32_t)b.n), n = 1 + draw(8);
        if (n > b.n - at) n = (uint32_t)b.n - at;
        switch (draw(5)) {
        case 0: b.bytes[at] ^= (uint8_t)(1u << draw(8)); break;
        case 1: b.bytes[at] = favourites[draw(sizeof favourites)]; break;
        case 2: b.n = at; break;
        case 3: memmove(b.bytes + at, b.bytes + at + n, b.n - at - n), b.n -= n; break;
        default:
            if (b.n + n > sizeof b.bytes) break;
            memmove(b.bytes + at + n, b.bytes + at, b.n - at), b.n += n;
        }
    }
    return b;
}

static void expect_read_or_refused(const char *folder, int *n_read) {
    kp_data *d = NULL;
    kp_err err = { "" };
    kp_status st = data_open(&d, "custom", folder, &err);
    cr_assert(st == KP_OK || st == KP_BAD_DATA || st == KP_BAD_CONFIG, "%d: %s", st, err.text);
    cr_assert(!st == (d != NULL) && !st == !*err.text && !strchr(err.text, '\n'), "%s", err.text);
    double all = 0;
    for (int64_t i = 0; d && i < (int64_t)d->n * d->n_inputs; i++)
        all += d->bytes ? d->bytes[i] : d->floats[i]; /* they are there */
    for (int i = 0; d && i < d->n; i++)
        cr_assert(d->label[i] >= 0 && d->label[i] < d->n_classes && all == all);
    *n_read += !st;
    kp_data_close(d);
}

#define NPY(descr, shape) "{'descr': '" descr "', 'fortran_order': False, 'shape': (" shape "), }\n"

typedef struct {
    const char *name;
    blob file;
} part;

/* Both files of a pair are damaged, one at a time. */
static void fuzz(const char *what, const part *parts, int n_parts) {
    enum { TIMES = 1000 };
    char folder[KP_PATH];
    int n_read = 0;
    if (!access("/dev/shm", W_OK)) setenv("TMPDIR", "/dev/shm", 1); /* thousands of files */
    scratch_folder(folder);
    for (int i = 0; i < n_parts; i++) blob_put(&parts[i].file, folder, parts[i].name);
    expect_read_or_refused(folder, &n_read);
    cr_assert_eq(n_read, 1, "%s: the whole one is refused", what);
    for (int i = 0; i < TIMES; i++) {
        const part *p = &parts[draw((uint32_t)n_parts)];
        blob b = damage(&p->file);
        blob_put(&b, folder, p->name);
        expect_read_or_refused(folder, &n_read);
        blob_put(&p->file, folder, p->name);
    }
    cr_expect(n_read < TIMES, "%s: nothing was refused", what);
    kp_folder_remove(folder, NULL);
}

Test(fuzz, idx) {
    fuzz("idx",
         (part[]){ { "a-idx3-ubyte", blob_idx(8, 1, (int[]){ 4, 2, 3, 0 }, 23) },
                   { "a-idx1-ubyte", blob_idx(12, 4, (int[]){ 4, 0 }, 3) } },
         2);
}

Test(fuzz, gzip) {
    blob x = blob_idx(13, 4, (int[]){ 4, 2, 3, 0 }, 23), y = blob_idx(8, 1, (int[]){ 4, 0 }, 3);
    fuzz("gzip",
         (part[]){ { "a-idx3-ubyte.gz", blob_gzip(&x) }, { "a-idx1-ubyte.gz", blob_gzip(&y) } }, 2);
}

Test(fuzz, csv) {
    fuzz("csv",
         (part[]){ { "a.csv", blob_text("a,label,b\n1.5,7,2\r\n\n3,8,4e1\n-5,0,255\n1,2,3\n") } },
         1);
}

Test(fuzz, npy) {
    static const float x[6] = { 1, 2, 3, 4, 5, 6 };
    static const int64_t y[2] = { 0, 1 };
    fuzz("npy",
         (part[]){ { "features.npy", blob_npy(1, NPY("<f4", "2, 3"), x, sizeof x) },
                   { "labels.npy", blob_npy(2, NPY("<i8", "2,"), y, sizeof y) } },
         2);
}

Test(fuzz, safetensors) {
    static const char head[] =
        "{\"__metadata__\":{\"a\":\"b\"},"
        "\"labels\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[24,26]},"
        "\"features\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]}}";
    uint8_t data[26] = { 0 };
    fuzz("safetensors", (part[]){ { "a.safetensors", blob_safetensors(head, data, sizeof data) } },
         1);
}
