/* plant.c: the comparison of elements.c as a program, linked to a kernel with a planted bug, on the
 * row that is its argument. Prints "equal" or what differs; the sanitizers and hostcuda print what
 * they found. */
#include <stdio.h>
#include <string.h>

#include "hostcuda/hostcuda.h"
#include "hostcuda/launch_case.h"

static const struct {
    unsigned active;
    int special;
} runs[] = { { KP_LAUNCH_ALL, 0 }, { KP_LAUNCH_ALL, 1 }, { 5, 0 } };

int main(int argc, char **argv) {
    const kp_op_row *row = kp_element_rows;
    while (row->name && (argc < 2 || strcmp(row->name, argv[1]))) row++;
    if (!row->name) return 2;
    for (unsigned order = 0; order < 3; order++)
        for (size_t i = 0; i < KP_COUNT(runs); i++) {
            char says[256];
            hostcuda_order(order);
            if (!kp_launch_differs(row, runs[i].active, runs[i].special, says, sizeof says))
                continue;
            printf("order %u: differs: %s\n", order, says);
            return 1;
        }
    puts("equal");
    return 0;
}
