/* plant.c: the comparisons of elements.c and mlp.c as a program, linked to a kernel with a planted
 * bug: plant ROW [BLOCKS]; BLOCKS: in a member's cluster (mlp.c), 0 if left out. Prints "equal" or what differs; the sanitizers and hostcuda print what
 * they found. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hostcuda/hostcuda.h"
#include "hostcuda/launch_case.h"
#include "hostcuda/stream_case.h"

static const struct {
    unsigned active;
    int special;
} runs[] = { { KP_LAUNCH_ALL, 0 }, { KP_LAUNCH_ALL, 1 }, { 5, 0 } };

int main(int argc, char **argv) {
    const char *name = argc > 1 ? argv[1] : "";
    const kp_op_row *row = kp_element_rows;
    const kp_stream_spec *stream = kp_stream_specs;
    while (row->name && strcmp(row->name, name)) row++;
    while (stream->name && strcmp(stream->name, name)) stream++;
    if (!row->name && !stream->name) return 2;
    hostcuda_has.multiprocessors = argc > 2 ? atoi(argv[2]) * KP_LAUNCH_P : 0;
    for (unsigned order = 0; order < 3; order++)
        for (size_t i = 0; i < KP_COUNT(runs); i++) {
            char says[256];
            hostcuda_order(order);
            if (!(stream->name
                      ? kp_stream_differs(stream, runs[i].active, says, sizeof says)
                      : kp_launch_differs(row, runs[i].active, runs[i].special, says, sizeof says)))
                continue;
            printf("order %u: differs: %s\n", order, says);
            return 1;
        }
    puts("equal");
    return 0;
}
