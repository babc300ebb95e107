/* checkpoint_impl.h: what writing and reading checkpoints share. */
#pragma once
#include <jansson.h>

#include "base/files.h"
#include "checkpoint.h"

#define KP_STATE_FILE    "state.safetensors"
#define KP_MANIFEST_FILE "manifest.json"
#define KP_PARTIAL       ".partial" /* folders that begin so are left over */

enum { KP_STEP_DIGITS = 10 };

/* The steps of the checkpoints in the folder, ascending; yours to free. None where it is missing. */
kp_status kp_checkpoint_list(const char *folder, int64_t **steps, int *n, kp_err *err);

/* path = folder/NNNNNNNNNN[/name] */
kp_status kp_checkpoint_path(char path[KP_PATH], const char *folder, int64_t step, const char *name, kp_err *err);

/* The manifest of a checkpoint; KP_STORAGE where it is missing, damaged or of another format. */
kp_status kp_checkpoint_manifest(json_t **manifest, const char *folder, int64_t step, kp_err *err);

char *kp_hex64(char text[17], uint64_t x);
