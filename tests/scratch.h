/* scratch.h: folders of a test's own, and disks that are full. */
#pragma once
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/resource.h>

#include "base/files.h"

/* A new, empty folder; the test removes it. */
static inline void scratch_folder(char path[KP_PATH]) {
    const char *temp = getenv("TMPDIR");
    snprintf(path, KP_PATH, "%s/kappa-test-XXXXXX", temp ? temp : "/tmp");
    cr_assert(mkdtemp(path), "%s", path);
}

/* No file of this process may grow beyond `bytes`; -1: any size again. */
__attribute__((unused)) static void scratch_limit_file_size(long bytes) {
    struct rlimit limit;
    signal(SIGXFSZ, SIG_IGN); /* EFBIG instead */
    getrlimit(RLIMIT_FSIZE, &limit);
    limit.rlim_cur = bytes < 0 ? limit.rlim_max : (rlim_t)bytes;
    setrlimit(RLIMIT_FSIZE, &limit);
}

/* A disk of its own on the folder, of `kib` KiB; 0 where this user may not mount. */
__attribute__((unused)) static int scratch_disk(const char *folder, int kib) {
    char size[32];
    snprintf(size, sizeof size, "size=%dk", kib);
    return mount("tmpfs", folder, "tmpfs", 0, size) == 0;
}

/* The file's text; yours to free. */
__attribute__((unused)) static char *scratch_text(const char *path) {
    uint8_t *text = NULL; /* with a 0 behind it */
    size_t n;
    kp_err err = { "" };
    cr_assert_eq(kp_file_read(path, &text, &n, &err), KP_OK, "%s", err.text);
    return (char *)text;
}

__attribute__((unused)) static void scratch_expect_same_text(const char *a, const char *b) {
    char *x = scratch_text(a), *y = scratch_text(b);
    cr_expect_str_eq(x, y, "%s and %s", a, b);
    free(x);
    free(y);
}
