/* rundir.c: the lock is flock on `lock`, which the kernel drops with the process, however it ends.
 */
#include "rundir.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "kappa/version.h"

#ifndef KP_COMMIT
#define KP_COMMIT ""
#endif

struct kp_rundir {
    int lock;
    char path[KP_PATH];
    json_t *record; /* what run.json says, or will */
};

static const char *const state_names[] = { "none", "running", "done", "stopped", "failed" };

const char *kp_run_state_name(kp_run_state state) { return state_names[state]; }
const char *kp_rundir_path(const kp_rundir *dir) { return dir->path; }

kp_status kp_rundir_file(const kp_rundir *dir, const char *name, char path[KP_PATH], kp_err *err) {
    return kp_path_join(path, dir->path, name, err);
}

kp_status kp_rundir_write(kp_rundir *dir, const char *name, const void *bytes, size_t n,
                          kp_err *err) {
    char path[KP_PATH];
    kp_status st = kp_rundir_file(dir, name, path, err);
    return st ? st : kp_file_write(path, bytes, n, err);
}

/* *record stays NULL where there is no run.json. */
static kp_status read_record(const char *folder, json_t **record, kp_err *err) {
    char path[KP_PATH];
    uint8_t *text = NULL;
    size_t n;
    *record = NULL;
    kp_status st = kp_path_join(path, folder, "run.json", err);
    if (st || !kp_file_exists(path)) return st;
    st = kp_file_read(path, &text, &n, err);
    if (st) return st;
    json_error_t error;
    *record = json_loadb((const char *)text, n, JSON_REJECT_DUPLICATES, &error);
    free(text);
    if (!json_is_object(*record)) {
        json_decref(*record);
        *record = NULL;
        return kp_fail(err, KP_STORAGE, "%s:%d: %s; the file is damaged", path, error.line,
                       error.text);
    }
    return KP_OK;
}

static int holder_of(int fd) {
    char text[32] = "";
    if (pread(fd, text, sizeof text - 1, 0) <= 0) return 0;
    return atoi(text);
}

static kp_status take_lock(kp_rundir *dir, kp_err *err) {
    char path[KP_PATH], text[32];
    kp_status st = kp_path_join(path, dir->path, "lock", err);
    if (st) return st;
    dir->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (dir->lock < 0) return kp_storage_fail(err, path, "write");
    if (flock(dir->lock, LOCK_EX | LOCK_NB)) {
        if (errno != EWOULDBLOCK) return kp_storage_fail(err, path, "lock");
        return kp_fail(err, KP_STORAGE,
                       "%s: in use by process %d; wait for it, or stop it with `kill %d`",
                       dir->path, holder_of(dir->lock), holder_of(dir->lock));
    }
    int n = snprintf(text, sizeof text, "%d\n", (int)getpid());
    if (ftruncate(dir->lock, 0)) return kp_storage_fail(err, path, "write");
    return kp_file_put(dir->lock, path, text, (size_t)n, err);
}

kp_status kp_rundir_open(kp_rundir **out, const char *path, kp_rundir_mode mode, kp_err *err) {
    *out = NULL;
    kp_rundir *dir = calloc(1, sizeof *dir);
    if (!dir) return kp_fail(err, KP_STORAGE, "%s: out of host memory", path);
    dir->lock = -1;
    kp_status st = KP_OK;
    if (mode == KP_RUNDIR_RESUME && !kp_file_exists(path))
        st = kp_fail(err, KP_BAD_CONFIG, "%s: there is no run to resume", path);
    if (!st) st = kp_folder_make(path, err);
    if (!st) snprintf(dir->path, sizeof dir->path, "%s", path);
    if (!st) st = take_lock(dir, err);
    if (!st) st = read_record(path, &dir->record, err);
    if (!st && mode == KP_RUNDIR_NEW && dir->record)
        st = kp_fail(err, KP_BAD_CONFIG,
                     "%s: holds a run already; `kappa resume %s`, or choose another run.dir", path,
                     path);
    if (!st && mode == KP_RUNDIR_RESUME && !dir->record)
        st = kp_fail(err, KP_BAD_CONFIG, "%s: holds no run to resume (no run.json)", path);
    if (st) {
        kp_rundir_close(dir);
        return st;
    }
    *out = dir;
    return KP_OK;
}

void kp_rundir_close(kp_rundir *dir) {
    if (!dir) return;
    if (dir->lock >= 0) close(dir->lock);
    json_decref(dir->record);
    free(dir);
}

static json_t *time_now(void) {
    time_t now = time(NULL);
    struct tm utc;
    char text[32];
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &utc));
    return json_string(text);
}

static json_t *text_or_null(const char *text) {
    return text && *text ? json_string(text) : json_null();
}

/* A string from 2^63 on, where jansson's integers end. */
static json_t *seed_value(uint64_t seed) {
    char text[24];
    if (seed <= INT64_MAX) return json_integer((json_int_t)seed);
    snprintf(text, sizeof text, "%llu", (unsigned long long)seed);
    return json_string(text);
}

static kp_status write_record(kp_rundir *dir, kp_err *err) {
    char *text = json_dumps(dir->record, JSON_INDENT(2));
    if (!text)
        return kp_fail(err, KP_STORAGE, "%s/run.json: out of host memory, or text that is no UTF-8",
                       dir->path);
    size_t n = strlen(text);
    text[n++] = '\n'; /* in place of the 0 */
    kp_status st = kp_rundir_write(dir, "run.json", text, n, err);
    free(text);
    return st;
}

const char *kp_rundir_commit(void) { return KP_COMMIT; }

kp_status kp_rundir_start(kp_rundir *dir, const kp_run_info *info, kp_err *err) {
    struct utsname host;
    json_t *old = dir->record, *r = json_object(), *seeds = json_array(),
           *libraries = json_object();
    json_object_set_new(r, "version", json_string(KP_VERSION));
    json_object_set_new(r, "commit", text_or_null(kp_rundir_commit()));
    json_object_set_new(r, "host", text_or_null(uname(&host) ? NULL : host.nodename));
    json_object_set_new(r, "process", json_integer(getpid()));
    json_object_set_new(r, "device", text_or_null(info->device));
    for (int i = 0; i < info->n_libraries; i++)
        json_object_set_new(libraries, info->library[i][0], text_or_null(info->library[i][1]));
    json_object_set_new(r, "libraries", libraries);
    for (int i = 0; i < info->n_seeds; i++) json_array_append_new(seeds, seed_value(info->seed[i]));
    json_object_set_new(r, "seeds", seeds);
    json_t *started = json_object_get(old, "started");
    json_object_set_new(r, "started", started ? json_incref(started) : time_now());
    json_object_set_new(r, "resumed",
                        json_integer(old ? json_integer_value(json_object_get(old, "resumed")) + 1
                                         : 0));
    json_object_set_new(r, "state", json_string(state_names[KP_RUN_RUNNING]));
    json_decref(old);
    dir->record = r;
    return write_record(dir, err);
}

kp_status kp_rundir_finish(kp_rundir *dir, kp_run_state state, kp_status exit_code,
                           const char *reason, kp_err *err) {
    if (!dir->record) dir->record = json_object();
    json_object_set_new(dir->record, "state", json_string(state_names[state]));
    json_object_set_new(dir->record, "exit_code", json_integer(exit_code));
    json_object_set_new(dir->record, "reason", text_or_null(reason));
    json_object_set_new(dir->record, "ended", time_now());
    return write_record(dir, err);
}

kp_status kp_rundir_peek(const char *path, kp_run_state *state, int *exit_code, int *holder,
                         kp_err *err) {
    char lock[KP_PATH];
    json_t *record = NULL;
    *state = KP_RUN_NONE, *exit_code = 0;
    if (holder) *holder = 0;
    kp_status st = read_record(path, &record, err);
    if (st || !record) return st;
    const char *name = json_string_value(json_object_get(record, "state"));
    for (int i = 0; name && i < (int)(sizeof state_names / sizeof *state_names); i++)
        if (!strcmp(name, state_names[i])) *state = (kp_run_state)i;
    *exit_code = (int)json_integer_value(json_object_get(record, "exit_code"));
    json_decref(record);
    st = kp_path_join(lock, path, "lock", err);
    int fd = st || !holder ? -1 : open(lock, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        if (flock(fd, LOCK_SH | LOCK_NB) && errno == EWOULDBLOCK) *holder = holder_of(fd);
        close(fd);
    }
    return st;
}

int kp_rundir_has_config(const char *path) {
    char config[KP_PATH];
    return !kp_path_join(config, path, "config.yaml", NULL) && kp_file_exists(config);
}
