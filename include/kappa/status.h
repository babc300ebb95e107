/* status.h: how everything in Kappa reports failure.
 *
 * A function that can fail returns kp_status and takes `kp_err *err` last; err may be NULL.
 * Whoever finds the failure writes the message (kp_fail); callers pass it up. The values are the
 * program's exit codes. */
#pragma once

#ifdef __cplusplus
extern "C" {
#endif

#define KP_API __attribute__((visibility("default")))

typedef enum {
    KP_OK = 0,
    KP_BAD_CONFIG = 2,  /* usage, a configuration value, or more memory asked for than there is */
    KP_BAD_DATA = 3,    /* a data file or ROM is missing or damaged */
    KP_DEVICE = 4,      /* a device, a library it needs, or a worker process */
    KP_NON_FINITE = 5,  /* weights of at least one member are no longer finite */
    KP_STORAGE = 6,     /* a file or directory could not be written, read back, or is in use */
    KP_INTERRUPTED = 85 /* saved, to be resumed */
} kp_status;

typedef struct {
    char text[512]; /* one line, no newline: where, what was seen, what to do */
} kp_err;

/* Writes the message (err may be NULL) and returns status, so that `return kp_fail(...)` reads well. */
KP_API kp_status kp_fail(kp_err *err, kp_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
#ifdef __clang_analyzer__ /* which cannot see through the call that a failure is not KP_OK */
#define kp_fail(err, status, ...) (kp_fail(err, status, __VA_ARGS__), (status))
#endif

/* Puts `prefix` (a file, a member, a worker) in front of the message already in err. */
KP_API void kp_err_prefix(kp_err *err, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#ifdef __cplusplus
}
#endif
