/* checkpoint.h: all state of a run, as named arrays, in a folder of its own.
 *
 *     st = kp_checkpoint_begin(&w, "runs/x/checkpoint", agent_step, &err);
 *     st = kp_checkpoint_add(w, "theta", KP_F32, 2, (int64_t[]){ P, N }, theta, &err);   ...
 *     st = kp_checkpoint_share(w, "replay", segment->name, n_bytes, xxh64, &err);        ...
 *     st = kp_checkpoint_commit(w, keep, &err);          ends w, whatever comes of it
 *
 *     st = kp_checkpoint_open(&r, "runs/x/checkpoint", warning, &err);
 *     st = kp_checkpoint_get(r, "theta", KP_F32, 2, (int64_t[]){ P, N }, theta, &err);   ...
 *     kp_checkpoint_close(r);
 *
 *     checkpoint/0000120000/state.safetensors      the arrays, as any safetensors reader sees them
 *     checkpoint/0000120000/manifest.json          agent step, size and XXH64 of every file
 *     checkpoint/replay/...                        files that several checkpoints share
 *
 * A checkpoint is there whole or not at all. The run directory's lock keeps other writers away. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "base/dtype.h"
#include "kappa/status.h"

enum { KP_CHECKPOINT_FORMAT = 1, KP_CHECKPOINT_MAX_DIMS = 8, KP_CHECKPOINT_NEWEST = -1 };

typedef struct kp_checkpoint_writer kp_checkpoint_writer;
typedef struct kp_checkpoint kp_checkpoint;

/* Makes the folder where it is missing, and removes what an interrupted save left. */
kp_status kp_checkpoint_begin(kp_checkpoint_writer **writer, const char *folder, int64_t agent_step, kp_err *err);

/* data: host, C order, written at once and not kept; may be NULL where the array is empty. */
kp_status kp_checkpoint_add(kp_checkpoint_writer *writer, const char *name, kp_dtype type, int n_dims,
                            const int64_t *shape, const void *data, kp_err *err);

/* The checkpoint needs the file folder/subfolder/name, which is complete and on disk. */
kp_status kp_checkpoint_share(kp_checkpoint_writer *writer, const char *subfolder, const char *name,
                              uint64_t n_bytes, uint64_t xxh64, kp_err *err);

/* The checkpoint appears; of those up to its agent step the newest `keep` (at least 1) stay; files of
 * the shared subfolders that none of them needs are deleted. On failure older checkpoints are as they
 * were, and nothing is left of this one. */
kp_status kp_checkpoint_commit(kp_checkpoint_writer *writer, int keep, kp_err *err);
void kp_checkpoint_abandon(kp_checkpoint_writer *writer); /* instead of commit; NULL is fine */

/* The newest whose every file is as it was written. Damaged newer ones are named in `warning`, which
 * is "" otherwise. *checkpoint is NULL where there never was one. KP_STORAGE: there are some, and all
 * are damaged. */
kp_status kp_checkpoint_open(kp_checkpoint **checkpoint, const char *folder, char warning[512], kp_err *err);

/* The same for who needs the arrays alone and holds no lock: files that checkpoints share (the replay) are
 * not looked at, and one that the writer deletes meanwhile is passed over for the newer one. step: of the
 * one that is wanted; KP_CHECKPOINT_NEWEST. */
kp_status kp_checkpoint_open_state(kp_checkpoint **checkpoint, const char *folder, int64_t step, char warning[512],
                                   kp_err *err);
int64_t kp_checkpoint_step(const kp_checkpoint *checkpoint);

/* Copies an array out. KP_STORAGE where it is missing or has another type or shape. */
kp_status kp_checkpoint_get(const kp_checkpoint *checkpoint, const char *name, kp_dtype type, int n_dims,
                            const int64_t *shape, void *data, kp_err *err);

/* Where state goes to or comes from: one of the two, so that one list of names serves saving and loading. */
typedef struct {
    kp_checkpoint_writer *to;
    const kp_checkpoint *from;
} kp_checkpoint_io;

/* kp_checkpoint_add or kp_checkpoint_get. */
kp_status kp_checkpoint_pass(const kp_checkpoint_io *io, const char *name, kp_dtype type, int n_dims,
                             const int64_t *shape, void *data, kp_err *err);

/* The array itself, whatever its length: borrowed until close, aligned to nothing. *n: elements. */
kp_status kp_checkpoint_borrow(const kp_checkpoint *checkpoint, const char *name, kp_dtype type,
                               const void **data, size_t *n, kp_err *err);
int kp_checkpoint_has(const kp_checkpoint *checkpoint, const char *name);

/* The agent step that a checkpoint's folder is named by, "0000120000"; -1: no such name. */
int64_t kp_checkpoint_step_of(const char *name);

void kp_checkpoint_close(kp_checkpoint *checkpoint); /* NULL is fine */
