/* memory.c: /proc/meminfo, and the limits of control groups, version 2 and 1. */
#include "memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The number in a file, alone or after `key`; -1 if there is none ("max"). */
static int64_t read_number(const char *path, const char *key) {
    FILE *file = fopen(path, "re");
    if (!file) return -1;
    int64_t number = -1;
    size_t n = strlen(key);
    for (char line[256]; number < 0 && fgets(line, sizeof line, file);) {
        char *end = line + n;
        if (strncmp(line, key, n)) continue;
        long long value = strtoll(line + n, &end, 10);
        if (end != line + n && value >= 0) number = value;
    }
    fclose(file);
    return number;
}

/* What one group still allows: its limit less what it uses, file cache that can be dropped aside.
 */
static int64_t group_allows(const char *folder, const char *limit, const char *usage,
                            const char *cache) {
    char path[4096 + 64];
    snprintf(path, sizeof path, "%s/%s", folder, limit);
    int64_t most = read_number(path, "");
    snprintf(path, sizeof path, "%s/%s", folder, usage);
    int64_t used = read_number(path, "");
    snprintf(path, sizeof path, "%s/memory.stat", folder);
    int64_t dropped = read_number(path, cache);
    if (most < 0 || used < 0) return INT64_MAX;
    used -= dropped > 0 ? dropped : 0;
    return most > used ? most - used : 0;
}

int64_t kp_memory_available_at(const char *root) {
    char path[4096], line[2048];
    snprintf(path, sizeof path, "%s/proc/meminfo", root);
    int64_t kib = read_number(path, "MemAvailable:");
    int64_t least = kib < 0 ? INT64_MAX : kib * 1024;

    snprintf(path, sizeof path, "%s/proc/self/cgroup", root);
    FILE *file = fopen(path, "re");
    while (file && fgets(line, sizeof line, file)) { /* "0::/a/b" or "9:memory:/a/b" */
        line[strcspn(line, "\n")] = 0;
        int v2 = !strncmp(line, "0::", 3);
        char *group = strchr(line, '/');
        if (!group || !(v2 || strstr(line, ":memory:"))) continue;
        for (;;) { /* the group and those above it */
            snprintf(path, sizeof path, "%s/sys/fs/cgroup%s%s", root, v2 ? "" : "/memory", group);
            int64_t allows = v2 ? group_allows(path, "memory.max", "memory.current",
                                               "inactive_file ")
                                : group_allows(path, "memory.limit_in_bytes",
                                               "memory.usage_in_bytes", "total_inactive_file ");
            if (allows < least) least = allows;
            char *slash = strrchr(group, '/');
            if (!slash || !*group) break;
            *slash = 0;
        }
    }
    if (file) fclose(file);
    return least;
}

int64_t kp_memory_available(void) { return kp_memory_available_at(""); }
