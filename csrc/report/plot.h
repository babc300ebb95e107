/* plot.h: learning curves as a PNG, drawn by gnuplot.
 *
 * One panel above the other on shared agent steps; the second axis at the top counts frames. */
#pragma once
#include <stdint.h>

#include "kappa/status.h"

typedef struct {
    double step, value, low, high; /* low, high: interval over runs */
    int n_runs;
} kp_point;

typedef struct {
    const char *label; /* borrowed */
    int style;         /* colour and dash; the same method has the same in every panel */
    kp_point *point;   /* [n] by rising step, borrowed */
    int n;             /* 0: left out */
} kp_curve;

typedef struct {
    const char *title; /* with its unit, borrowed */
    kp_curve *curve;   /* [n] borrowed */
    int n;
} kp_panel;

typedef struct {
    const char *title;
    int frames_per_step;
    const kp_panel *panel; /* [n] borrowed; panels without points are left out */
    int n;
} kp_plot;

/* Writes dir/NAME.gp (gnuplot, with its data) and dir/NAME.png. KP_DEVICE where gnuplot is missing
 * or fails; NAME.gp stays, to be drawn elsewhere. KP_BAD_DATA where no panel has a point. */
kp_status kp_plot_write(const kp_plot *plot, const char *dir, const char *name, kp_err *err);
