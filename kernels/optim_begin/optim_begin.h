/* optim_begin.h: begins one update of a block that was announced together (optim/optim.h): moves the
 * member's cursor to it and puts its hyperparameters where the operations read them. */
#pragma once
#include "kp_kernel.h"

enum { KP_BEGIN_FEEDS = 4 };

typedef struct {          /* NULL and 0: not in use */
    const uint32_t *from; /* [P][block][words] */
    uint32_t *to;         /* [P][words] */
    int words;
} kp_begin_feed;

typedef struct {
    int P, block;
    int32_t *cursor; /* [P] -1 .. block - 2; one is added */
    kp_begin_feed feed[KP_BEGIN_FEEDS];
} kp_optim_begin_args;

/* Where the words of update `cursor` of the member begin. */
KP_HD const uint32_t *kp_begin_from(const kp_optim_begin_args *a, int feed, int member, int cursor) {
    const kp_begin_feed *f = &a->feed[feed];
    return f->from + ((int64_t)member * a->block + cursor) * f->words;
}

KP_CUDA_C kp_status kp_optim_begin_cuda(const void *args, const kp_cuda *cuda, kp_err *err);
