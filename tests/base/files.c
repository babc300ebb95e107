/* files.c: whole files, full disks and available memory. */
#include "base/files.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"
#include "scratch.h"

static void expect_content(const char *path, const char *want) {
    uint8_t *bytes = NULL;
    size_t n = 0;
    kp_err err = { "" };
    cr_assert_eq(kp_file_read(path, &bytes, &n, &err), KP_OK, "%s", err.text);
    cr_expect(n == strlen(want) && !memcmp(bytes, want, n), "%s: \"%s\", not \"%s\"", path,
              (char *)bytes, want);
    free(bytes);
}

static int count(const char *folder) {
    char **names = NULL;
    int n = 0;
    cr_assert_eq(kp_folder_list(folder, &names, &n, NULL), KP_OK);
    free(names);
    return n;
}

Test(files, what_is_written_is_read) {
    char folder[KP_PATH], path[KP_PATH];
    scratch_folder(folder);
    kp_path_join(path, folder, "a", NULL);
    cr_assert_eq(kp_file_write(path, "first, longer", 13, NULL), KP_OK);
    expect_content(path, "first, longer");
    cr_assert_eq(kp_file_write(path, "second", 6, NULL), KP_OK);
    expect_content(path, "second");
    cr_assert_eq(kp_file_write(path, "", 0, NULL), KP_OK);
    expect_content(path, "");
    cr_expect_eq(count(folder), 1, "a temporary file was left");
    kp_folder_remove(folder, NULL);
}

Test(files, one_without_a_size_is_read_too) {
    uint8_t *bytes = NULL;
    size_t n = 0;
    cr_assert_eq(kp_file_read("/proc/self/status", &bytes, &n, NULL), KP_OK);
    cr_expect(n > 100 && n == strlen((char *)bytes), "%zu bytes", n);
    free(bytes);
}

Test(files, a_failed_write_leaves_the_old_file) {
    char folder[KP_PATH], path[KP_PATH], big[4096];
    kp_err err = { "" };
    scratch_folder(folder);
    kp_path_join(path, folder, "a", NULL);
    memset(big, 'x', sizeof big);
    cr_assert_eq(kp_file_write(path, "old", 3, NULL), KP_OK);
    scratch_limit_file_size(1000);
    cr_expect_eq(kp_file_write(path, big, sizeof big, &err), KP_STORAGE);
    scratch_limit_file_size(-1);
    cr_expect(strstr(err.text, path) && strstr(err.text, "write"), "%s", err.text);
    expect_content(path, "old");
    cr_expect_eq(count(folder), 1, "a temporary file was left");
    kp_folder_remove(folder, NULL);
}

Test(files, a_full_disk_is_said_with_what_to_do) {
    kp_err err = { "" };
    int fd = open("/dev/full", O_WRONLY);
    cr_assert_geq(fd, 0);
    cr_expect_eq(kp_file_put(fd, "runs/x/a", "abc", 3, &err), KP_STORAGE);
    cr_expect_str_eq(
        err.text,
        "runs/x/a: cannot write: No space left on device; free some space there, then resume");
    close(fd);
}

Test(files, missing_folders_and_files_are_named) {
    char folder[KP_PATH], path[KP_PATH];
    uint8_t *bytes;
    size_t n;
    kp_err err = { "" };
    scratch_folder(folder);
    kp_path_join(path, folder, "none/a", NULL);
    cr_expect_eq(kp_file_read(path, &bytes, &n, &err), KP_STORAGE);
    cr_expect(strstr(err.text, path), "%s", err.text);
    cr_expect_eq(kp_file_write(path, "x", 1, &err), KP_STORAGE);
    cr_expect(strstr(err.text, path), "%s", err.text);
    kp_path_join(path, folder, "b/c/d", NULL);
    cr_expect_eq(kp_folder_make(path, &err), KP_OK, "%s", err.text);
    cr_expect_eq(kp_folder_make(path, &err), KP_OK, "making it twice: %s", err.text);
    kp_path_join(path, folder, "file", NULL);
    cr_assert_eq(kp_file_write(path, "x", 1, NULL), KP_OK);
    cr_expect_eq(kp_folder_make(path, &err), KP_STORAGE, "a file stands there");
    cr_expect_eq(kp_folder_remove(folder, &err), KP_OK, "%s", err.text);
    cr_expect(!kp_file_exists(folder));
    cr_expect_eq(kp_folder_remove(folder, &err), KP_OK, "removing it twice: %s", err.text);
}

Test(files, checksum_is_xxh64) { /* known values of XXH64 with seed 0 */
    char folder[KP_PATH], path[KP_PATH];
    uint64_t n, sum;
    scratch_folder(folder);
    kp_path_join(path, folder, "a", NULL);
    cr_assert_eq(kp_file_write(path, "", 0, NULL), KP_OK);
    cr_assert_eq(kp_file_checksum(path, &n, &sum, NULL), KP_OK);
    cr_expect_eq(sum, 0xef46db3751d8e999u, "%016llx", (unsigned long long)sum);
    cr_assert_eq(kp_file_write(path, "xxhash", 6, NULL), KP_OK);
    cr_assert_eq(kp_file_checksum(path, &n, &sum, NULL), KP_OK);
    cr_expect_eq(sum, 0x32dd38952c4bc720u, "%016llx", (unsigned long long)sum);
    cr_expect_eq(n, 6);
    kp_folder_remove(folder, NULL);
}

/* ---- memory ---------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    const char *file[6][2]; /* path below the root, content */
    int64_t want;
} machines[] = {
    { "no groups",
      { { "proc/meminfo", "MemTotal: 900 kB\nMemFree: 1 kB\nMemAvailable:  500 kB\n" } },
      500 * 1024 },
    { "nothing to read", { { NULL } }, INT64_MAX },
    { "a group allows less",
      { { "proc/meminfo", "MemAvailable: 500 kB\n" },
        { "proc/self/cgroup", "0::/a/b\n" },
        { "sys/fs/cgroup/a/b/memory.max", "300000\n" },
        { "sys/fs/cgroup/a/b/memory.current", "100000\n" } },
      200000 },
    { "the group above allows less, file cache aside",
      { { "proc/meminfo", "MemAvailable: 500 kB\n" },
        { "proc/self/cgroup", "0::/a/b\n" },
        { "sys/fs/cgroup/a/b/memory.max", "max\n" },
        { "sys/fs/cgroup/a/memory.max", "90000\n" },
        { "sys/fs/cgroup/a/memory.current", "80000\n" },
        { "sys/fs/cgroup/a/memory.stat", "anon 1\ninactive_file 5000\n" } },
      15000 },
    { "no group limits",
      { { "proc/meminfo", "MemAvailable: 500 kB\n" },
        { "proc/self/cgroup", "0::/a\n" },
        { "sys/fs/cgroup/a/memory.max", "max\n" },
        { "sys/fs/cgroup/a/memory.current", "80000\n" } },
      500 * 1024 },
    { "more used than allowed",
      { { "proc/meminfo", "MemAvailable: 500 kB\n" },
        { "proc/self/cgroup", "0::/\n" },
        { "sys/fs/cgroup/memory.max", "1000\n" },
        { "sys/fs/cgroup/memory.current", "80000\n" } },
      0 },
    { "groups of version 1",
      { { "proc/meminfo", "MemAvailable: 500 kB\n" },
        { "proc/self/cgroup", "3:cpu:/z\n9:memory:/a\n" },
        { "sys/fs/cgroup/memory/a/memory.limit_in_bytes", "70000\n" },
        { "sys/fs/cgroup/memory/a/memory.usage_in_bytes", "10000\n" } },
      60000 },
};

Test(memory, available_is_the_least_of_machine_and_groups) {
    for (size_t i = 0; i < sizeof machines / sizeof *machines; i++) {
        char root[KP_PATH], path[KP_PATH], folder[KP_PATH];
        scratch_folder(root);
        for (int k = 0; k < 6 && machines[i].file[k][0]; k++) {
            kp_path_join(path, root, machines[i].file[k][0], NULL);
            snprintf(folder, sizeof folder, "%.*s", (int)(strrchr(path, '/') - path), path);
            cr_assert_eq(kp_folder_make(folder, NULL), KP_OK);
            cr_assert_eq(kp_file_write(path, machines[i].file[k][1], strlen(machines[i].file[k][1]),
                                       NULL),
                         KP_OK);
        }
        int64_t got = kp_memory_available_at(root);
        cr_expect_eq(got, machines[i].want, "%s: %lld, not %lld", machines[i].name, (long long)got,
                     (long long)machines[i].want);
        kp_folder_remove(root, NULL);
    }
}
