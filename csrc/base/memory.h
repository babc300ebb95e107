/* memory.h: how much memory this process may still take. */
#pragma once
#include <stdint.h>

/* Bytes: the least of what the machine has to give (MemAvailable) and what each control group above
 * the process still allows. INT64_MAX where nothing can be read. */
int64_t kp_memory_available(void);

/* The same with /proc and /sys below `root`. */
int64_t kp_memory_available_at(const char *root);
