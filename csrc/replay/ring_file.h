/* ring_file.h: a ring in files, written once and only as far as it is new.
 *
 *     st = kp_ring_file_open(&file, ring, "runs/x/checkpoint/replay", &err);
 *     st = kp_ring_file_save(file, &err);                      what was pushed since the last save
 *     index = kp_ring_file_index(file, &n);                    goes into the checkpoint
 *     st = kp_ring_file_load(file, index, n, &err);            into a new ring, bit for bit
 *     kp_ring_file_close(file);
 *
 * A segment is a file of consecutive slots of one lane: zstd, with its XXH64 in the index. Segments are
 * never changed. The index names those that the ring still needs; who keeps the checkpoints deletes
 * the others (checkpoint.h: kp_checkpoint_share). One thread at a time, and no push meanwhile. */
#pragma once
#include "ring.h"

typedef struct {
    char name[64];     /* "m003-e00-0000016384-0000032768.zst": member, environment, slot numbers; "-1", ... where one is there */
    int lane;
    int64_t from, to;  /* slots, counted over the lane's life; the last one has no transition yet */
    uint64_t n_bytes, xxh64;
} kp_ring_segment;

typedef struct kp_ring_file kp_ring_file;

/* The ring is borrowed; the folder is made on the first save. */
kp_status kp_ring_file_open(kp_ring_file **file, kp_ring *ring, const char *folder, kp_err *err);

/* KP_STORAGE: what was written of this save is removed, and the next save begins where this one did. */
kp_status kp_ring_file_save(kp_ring_file *file, kp_err *err);

/* Of the latest save or load; borrowed until the next. */
const uint8_t *kp_ring_file_index(const kp_ring_file *file, size_t *n);
const kp_ring_segment *kp_ring_file_segments(const kp_ring_file *file, int *n);

/* KP_STORAGE names the segment that is missing, altered or of another ring; the ring is then
 * undefined. KP_BAD_CONFIG: the index is of a ring with other options. */
kp_status kp_ring_file_load(kp_ring_file *file, const uint8_t *index, size_t n, kp_err *err);

void kp_ring_file_close(kp_ring_file *file); /* NULL is fine */
