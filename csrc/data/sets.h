/* sets.h: the table of sets, and where their files stand. */
#pragma once
#include "base/files.h"
#include "data.h"

typedef struct { /* of one split; NULL: not in this form. Each plain or with .gz behind */
    int n;       /* samples; 0: any */
    const char *images, *labels, *csv;
    const char *images_md5, *labels_md5, *csv_md5; /* of the content; NULL: not known */
} kp_set_split;

typedef struct {
    kp_data_set about;
    int height, width, n_classes; /* 0: any; n_classes then is the largest label + 1 */
    int is_bytes;                 /* pixels */
    int is_transposed;            /* columns are stored as rows */
    int is_label_last;            /* in a CSV without a header that says it */
    int has_features;             /* features.npy with labels.npy, or one .safetensors */
    int has_any;                  /* a pair of IDX and a CSV of any name */
    const char *package, *folder; /* a Python package that brings it, and where in it */
    kp_set_split split[2];        /* training, test; no form: there is none */
} kp_set;

/* KP_BAD_CONFIG: none of this name. */
kp_status kp_set_of(const char *name, const kp_set **set, kp_err *err);
int kp_set_has_split(const kp_set *set, int is_test);

typedef enum { KP_FORM_IDX, KP_FORM_CSV, KP_FORM_NPY, KP_FORM_SAFETENSORS } kp_set_form;

typedef struct {
    kp_set_form form;
    char folder[KP_PATH];
    char file[2][KP_PATH]; /* images or features, labels; one file: the second is "" */
} kp_set_files;

/* dir "": the usual places. KP_BAD_DATA: what was looked for, what was seen, how to get it. */
kp_status kp_set_find(const kp_set *set, const char *dir, int is_test, kp_set_files *files, kp_err *err);
