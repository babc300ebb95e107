/* progress.h: progress on the terminal: a live table where standard error is one, lines elsewhere.
 *
 *     kp_show show;
 *     kp_show_init(&show, names, P);       names: [P] borrowed
 *     ... kp_show_tell(&show, now) as often as you like; the last state stays on the screen ... */
#pragma once
#include "learn/progress.h"

typedef struct {
    const char *const *name; /* [P] of the members */
    int P, is_terminal;
    int n_lines;             /* drawn now, to be drawn over */
    double shown_s;
    int64_t first_step, first_updates, shown_step, shown_updates; /* for rates */
    double rate_steps, rate_updates;
    const char *phase;
} kp_show;

void kp_show_init(kp_show *show, const char *const *name, int P);
void kp_show_tell(void *show, const kp_progress *now); /* fits kp_listener */
