/* plant_backend.c: uploads, programs and downloads as a program, linked to a CUDA backend with a
 * planted bug. Prints "equal" or what differs; the emulated runtime prints what it has caught. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/backend.h"
#include "hostcuda/counts.h"

enum { LARGE = 9000001 /* more than the staging ring */ };

static kp_err err;

static void ok(kp_status st) {
    if (!st) return;
    printf("failed: %s\n", err.text);
    exit(1);
}

static void must(int equal, const char *what) {
    if (equal) return;
    printf("differs: %s\n", what);
    exit(1);
}

static void fill(unsigned char *bytes) {
    for (unsigned i = 0; i < LARGE; i++) bytes[i] = (unsigned char)((i * 2654435761u) >> 15);
}

static void round_trip(kp_backend *b, size_t n, const char *what) {
    unsigned char *from = malloc(LARGE), *want = malloc(LARGE), *got = calloc(LARGE, 1);
    void *memory = NULL;
    ok(kp_backend_alloc(b, &memory, n, what, &err));
    fill(from), fill(want);
    ok(kp_backend_upload(b, memory, from, n, &err));
    memset(from, 0, n);
    ok(kp_backend_download(b, got, memory, n, &err));
    must(!memcmp(got, want, n), what);
    free(from), free(want), free(got);
}

static void count(kp_backend *b) {
    uint32_t got[2] = { 0, 0 };
    void *x = NULL;
    kp_program *p = NULL;
    ok(kp_backend_alloc(b, &x, sizeof got, "counts", &err));
    ok(kp_program_open(&p, b, 2, "count", &err));
    ok(kp_program_add(p, &counts, &(counts_args){ 2, 1, x, 1000 }, &err));
    ok(kp_program_seal(p, &err));
    for (int i = 0; i < 5; i++) ok(kp_program_run(p, (uint8_t[]){ 1, i % 2 == 0 }, &err));
    ok(kp_backend_download(b, got, x, sizeof got, &err));
    must(got[0] == 5 && got[1] == 3, "counts");
    kp_program_close(p);
}

int main(void) {
    kp_backend *b = NULL;
    ok(kp_backend_open(&b, "cuda", 1, &err));
    round_trip(b, LARGE, "a large upload");
    round_trip(b, 100, "a small upload");
    count(b);
    kp_backend_close(b);
    puts("equal");
    return 0;
}
