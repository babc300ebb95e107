/* plot.h: learning curves as a PNG, drawn by gnuplot.
 *
 * Panels in rows on shared steps; a second axis at the top counts them in another unit. One key for
 * all. */
#pragma once
#include <stdint.h>

#include "kappa/status.h"

enum { KP_PLOT_COLOURS = 7 };

typedef struct {
    double step, value, low, high; /* low, high: interval over runs */
    int n_runs;
} kp_point;

typedef struct {
    const char *label; /* borrowed */
    int style;         /* colour, and KP_PLOT_COLOURS further the next dash; a method has the same in
                          every panel */
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
    const char *step, *second; /* what the axes count: "agent steps", "frames" */
    double second_per_step;    /* 0: no second axis */
    const kp_panel *panel;     /* [n] borrowed; panels without points are left out */
    int n;
    int n_abreast; /* panels in a row: 1 or 2 */
} kp_plot;

/* Writes dir/NAME.gp (gnuplot, with its data) and dir/NAME.png. KP_DEVICE where gnuplot is missing
 * or fails; NAME.gp stays, to be drawn elsewhere. KP_BAD_DATA where no panel has a point. */
kp_status kp_plot_write(const kp_plot *plot, const char *dir, const char *name, kp_err *err);
