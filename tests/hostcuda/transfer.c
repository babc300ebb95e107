/* transfer.c: mirrors and readbacks on both devices: programs read what the host wrote before they
 * were run, wherever it lies, and results come as many runs late as they may, and no later. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "backend/mirror.h"
#include "backend/readback.h"
#include "copy/copy.h"
#include "hostcuda/counts.h"
#include "runtime.h"

enum { N = 64 << 10, M = N / 4 }; /* floats of the mirrored memory, 256 KiB; that are copied */

static kp_err err;
static void ok(kp_status st) { cr_assert_eq(st, KP_OK, "%s", err.text); }

static kp_backend *open_backend(const char *device) {
    kp_backend *b = NULL;
    ok(kp_backend_open(&b, device, 1, &err));
    return b;
}

static void close_backend(kp_backend *b) {
    kp_backend_close(b);
    cr_expect_eq(hostcuda_n_alive(), 0, "%d things of CUDA are left", hostcuda_n_alive());
}

/* Copies the mirror's beginning, twice with a write of the host between: each copy has the values
 * of its time. */
static void check_mirror(const char *device, const char *where) {
    kp_backend *b = open_backend(device);
    kp_mirror *mirror = NULL;
    kp_program *program = NULL;
    float *host = mmap(NULL, N * sizeof *host, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                       -1, 0),
          *got = malloc(M * sizeof *got);
    void *to[2];
    ok(kp_mirror_open(&mirror, b, host, N * sizeof *host, "a test's frames", &err));
    cr_expect_str_eq(kp_mirror_where(mirror), where, "%s", device);
    for (int i = 0; i < 2; i++) ok(kp_backend_alloc(b, &to[i], M * sizeof *host, "a test's", &err));
    for (int i = 0; i < 2; i++) {
        ok(kp_mirror_await(mirror, &err));
        for (int k = 0; k < N; k++) host[k] = (float)(k + 1000000 * i);
        ok(kp_mirror_refresh(mirror, 0, N * sizeof *host / 2, &err));
        ok(kp_mirror_refresh(mirror, N * sizeof *host / 2, N * sizeof *host / 2, &err));
        ok(kp_program_open(&program, b, 1, "copy", &err));
        ok(KP_ADD(program, &err, copy, .P = 1, .n = M, .from = kp_mirror_memory(mirror),
                  .to = to[i]));
        ok(kp_program_seal(program, &err));
        ok(kp_program_run(program, NULL, &err));
        if (i == 0) { /* closing waits */
            ok(kp_mirror_await(mirror, &err));
            memset(host, 0xEE, N * sizeof *host);
        }
        kp_program_close(program);
    }
    for (int i = 0; i < 2; i++) {
        ok(kp_backend_download(b, got, to[i], M * sizeof *host, &err));
        for (int k = 0; k < M; k++)
            cr_assert_eq(got[k], (float)(k + 1000000 * i), "%s, run %d: element %d is %g", device,
                         i, k, (double)got[k]);
    }
    kp_mirror_close(mirror);
    close_backend(b);
    munmap(host, N * sizeof *host);
    free(got);
}

Test(hostcuda_transfer, mirror_on_the_cpu) { check_mirror("cpu", "host memory"); }

Test(hostcuda_transfer, mirror_in_device_memory) { check_mirror("cuda", "device memory"); }

Test(hostcuda_transfer, mirror_where_the_device_is_small) {
    hostcuda_has.memory = (32 << 20) + N * sizeof(float); /* cuBLAS's, and as much as is mirrored */
    check_mirror("cuda", "page-locked host memory, read over the bus");
}

/* An operation that adds 1 to each count, read back after every run. */
static void check_readback(const char *device, int late) {
    enum { RUNS = 7, COUNTS = 3 };
    kp_backend *b = open_backend(device);
    kp_readback *readback = NULL;
    kp_program *program = NULL;
    uint32_t *x = NULL;
    const uint32_t *got = NULL;
    int64_t tag = -1, next = 1;
    ok(kp_backend_alloc(b, (void **)&x, COUNTS * sizeof *x, "counts", &err));
    ok(kp_program_open(&program, b, 1, "counts", &err));
    ok(kp_program_add(program, &counts, &(counts_args){ .P = 1, .n = COUNTS, .x = x }, &err));
    ok(kp_program_seal(program, &err));
    ok(kp_readback_open(&readback, b, x, COUNTS * sizeof *x, &err));
    for (int run = 1; run <= RUNS + 1; run++) {
        int drain = run > RUNS;
        if (!drain) {
            ok(kp_program_run(program, NULL, &err));
            ok(kp_readback_post(readback, run, &err));
        }
        for (;;) {
            ok(kp_readback_take(readback, drain, (const void **)&got, &tag, &err));
            if (!got) break;
            cr_assert_eq(tag, next, "%s: result %lld instead of %lld", device, (long long)tag,
                         (long long)next);
            for (int i = 0; i < COUNTS; i++)
                cr_assert_eq(got[i], (uint32_t)tag, "%s: %u after run %lld", device, got[i],
                             (long long)tag);
            next++;
        }
        int64_t due = drain ? RUNS : run - late;
        cr_assert_eq(next - 1, due > 0 ? due : 0, "%s: %lld results after run %d", device,
                     (long long)next - 1, run);
    }
    kp_readback_close(readback);
    kp_program_close(program);
    close_backend(b);
}

Test(hostcuda_transfer, results_of_the_cpu_are_there) { check_readback("cpu", 0); }
Test(hostcuda_transfer, results_of_a_gpu_come_late) { check_readback("cuda", KP_READBACK_LATE); }

/* Posting makes nobody wait, taking only for what was posted some runs before. */
Test(hostcuda_transfer, nobody_waits_for_the_latest_result) {
    kp_backend *b = open_backend("cuda");
    kp_readback *readback = NULL;
    void *x = NULL;
    const void *got = NULL;
    int64_t tag;
    ok(kp_backend_alloc(b, &x, 64, "counts", &err));
    ok(kp_readback_open(&readback, b, x, 64, &err));
    int waits = hostcuda_did.waits;
    for (int i = 0; i < KP_READBACK_LATE; i++) {
        ok(kp_readback_post(readback, i, &err));
        ok(kp_readback_take(readback, 0, &got, &tag, &err));
        cr_expect_null(got);
    }
    cr_expect_eq(hostcuda_did.waits, waits);
    kp_readback_close(readback);
    close_backend(b);
}
