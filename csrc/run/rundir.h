/* rundir.h: the directory of a run, held by one process at a time.
 *
 *     st = kp_rundir_open(&dir, "runs/pong", KP_RUNDIR_NEW, &err);
 *     st = kp_rundir_write(dir, "config.yaml", text, strlen(text), &err);
 *     st = kp_rundir_start(dir, &info, &err);                        run.json: running
 *     st = kp_rundir_finish(dir, KP_RUN_DONE, KP_OK, "", &err);      run.json: done
 *     kp_rundir_close(dir);
 *
 *     config.yaml  run.json  metrics.csv  log.txt  checkpoint/  lock
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "base/files.h"
#include "kappa/status.h"

typedef struct kp_rundir kp_rundir;

typedef enum {
    KP_RUN_NONE,    /* no run there */
    KP_RUN_RUNNING, /* or, where nobody holds it, killed: to be resumed */
    KP_RUN_DONE,
    KP_RUN_STOPPED, /* saved on a signal, to be resumed */
    KP_RUN_FAILED
} kp_run_state;

typedef enum {
    KP_RUNDIR_NEW,    /* KP_BAD_CONFIG where a run is there already */
    KP_RUNDIR_RESUME, /* KP_BAD_CONFIG where none is */
    KP_RUNDIR_EITHER
} kp_rundir_mode;

/* Makes the directory and those above it. KP_STORAGE: held by another process, which the message
 * names, or not writable. */
kp_status kp_rundir_open(kp_rundir **dir, const char *path, kp_rundir_mode mode, kp_err *err);
const char *kp_rundir_path(const kp_rundir *dir);

/* path = directory/name */
kp_status kp_rundir_file(const kp_rundir *dir, const char *name, char path[KP_PATH], kp_err *err);
kp_status kp_rundir_write(kp_rundir *dir, const char *name, const void *bytes, size_t n, kp_err *err);

typedef struct {                 /* all borrowed for the call; text may be NULL */
    const char *device;          /* "cpu: 2 threads, avx2" */
    int n_seeds;
    const uint64_t *seed;        /* [n_seeds] of the members */
    int n_libraries;
    const char *(*library)[2];   /* [n_libraries] name and version */
} kp_run_info;

/* run.json: version, commit, host, process, device, libraries, seeds, times, state "running". The time
 * of the first start stays through resumes, which are counted. */
kp_status kp_rundir_start(kp_rundir *dir, const kp_run_info *info, kp_err *err);

/* Adds state, exit code (of the status) and reason, one line. */
kp_status kp_rundir_finish(kp_rundir *dir, kp_run_state state, kp_status exit_code, const char *reason, kp_err *err);

/* Gives the directory back; what run.json says stays. NULL is fine. */
void kp_rundir_close(kp_rundir *dir);

/* Looks without holding. *holder: the process that holds it, 0 if none; may be NULL. KP_STORAGE where
 * run.json cannot be read. */
kp_status kp_rundir_peek(const char *path, kp_run_state *state, int *exit_code, int *holder, kp_err *err);
int kp_rundir_has_config(const char *path); /* 1 where a config.yaml stands: a run, or the start of one */
const char *kp_run_state_name(kp_run_state state);

/* The commit that the build was configured at, "-dirty" where files had changed; "": unknown. */
const char *kp_rundir_commit(void);
