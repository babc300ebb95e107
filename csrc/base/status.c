/* status.c: failure messages. */
#include "kappa/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

kp_status(kp_fail)(kp_err *err, kp_status status, const char *format, ...) {
    if (err) {
        va_list args;
        va_start(args, format);
        vsnprintf(err->text, sizeof err->text, format, args);
        va_end(args);
    }
    return status;
}

void kp_err_prefix(kp_err *err, const char *format, ...) {
    if (!err) return;
    kp_err old = *err;
    va_list args;
    va_start(args, format);
    int n = vsnprintf(err->text, sizeof err->text, format, args);
    va_end(args);
    if (n >= 0 && (size_t)n < sizeof err->text - 1)
        snprintf(err->text + n, sizeof err->text - (size_t)n, "%s", old.text);
}
