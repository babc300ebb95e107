/* mlp.c: the CUDA kernels of small networks leave the bits of the CPU's operations, by one block a
 * member and by clusters of any size, in any order of threads and blocks. Bugs planted in them:
 * plants.cmake. */
#include <criterion/criterion.h>
#include <string.h>

#include "hostcuda/hostcuda.h"
#include "hostcuda/launch_case.h"
#include "hostcuda/stream_case.h"

/* Under TSan time grows with the square of a cluster's threads. */
#ifdef __SANITIZE_THREAD__
enum { MOST_BLOCKS = 4 };
#else
enum { MOST_BLOCKS = 16 };
#endif

/* A machine on which the members' clusters have this many blocks; 0: without memory for any. */
static void choose_machine(int cluster) { hostcuda_has.multiprocessors = cluster * KP_LAUNCH_P; }

/* ---- rows of tests/kernels ---------------------------------------------------------------------
 */

static void every_row(unsigned order, unsigned active, int special) {
    char says[256];
    hostcuda_order(order);
    choose_machine(2);
    for (const kp_op_row *row = kp_mlp_rows; row->name; row++)
        if (!special || row->op != KP_OP_mlp_stream) /* which relies on zeros in the padding */
            cr_expect(!kp_launch_differs(row, active, special, says, sizeof says), "order %u: %s",
                      order, says);
}

Test(hostcuda_mlp, rows_equal_the_cpu) {
    for (unsigned order = 0; order < 3; order++) every_row(order, KP_LAUNCH_ALL, 0);
}

Test(hostcuda_mlp, rows_equal_the_cpu_on_special_values) {
    for (unsigned order = 0; order < 3; order++) every_row(order, KP_LAUNCH_ALL, 1);
}

Test(hostcuda_mlp, rows_leave_inactive_members_untouched) {
    for (unsigned active = 0; active < KP_LAUNCH_ALL; active += 5) every_row(3, active, 0);
}

/* ---- blocks of samples -------------------------------------------------------------------------
 */

static void every_stream(unsigned order, unsigned active, int cluster) {
    char says[256];
    hostcuda_order(order);
    choose_machine(cluster);
    for (const kp_stream_spec *spec = kp_stream_specs; spec->name; spec++) {
        cr_expect(!kp_stream_differs(spec, active, says, sizeof says), "order %u, %d blocks: %s",
                  order, cluster, says);
        cr_expect_eq(hostcuda_cluster(), cluster ? cluster : 1);
    }
}

Test(hostcuda_mlp, streams_equal_the_cpu_by_one_block) {
    for (unsigned order = 0; order < 3; order++) every_stream(order, KP_LAUNCH_ALL, 0);
}

Test(hostcuda_mlp, streams_equal_the_cpu_by_clusters) {
    for (unsigned order = 0; order < 3; order++)
        for (int cluster = order ? 2 : 1; cluster <= MOST_BLOCKS; cluster *= 4)
            every_stream(order, KP_LAUNCH_ALL, cluster);
}

Test(hostcuda_mlp, streams_leave_inactive_members_untouched) {
    for (unsigned active = 0; active < KP_LAUNCH_ALL; active += 5)
        for (int cluster = 0; cluster <= 2; cluster += 2) every_stream(3, active, cluster);
}
