/* log.h: what a run says, a line at a time: plain on standard error, with the time in log.txt. */
#pragma once
#include "kappa/status.h"

typedef struct kp_log kp_log;

/* path: appended to; NULL: no file. to_stderr: 0 where the terminal shows something else. */
kp_status kp_log_open(kp_log **log, const char *path, int to_stderr, kp_err *err);

/* Any thread. A newline is added; newlines inside become spaces. A line that cannot be written to the
 * file (disk full) is still shown and does not stop the run. log may be NULL: nothing happens. */
void kp_log_line(kp_log *log, const char *format, ...) __attribute__((format(printf, 2, 3)));

void kp_log_close(kp_log *log); /* NULL is fine */
