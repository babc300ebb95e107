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
