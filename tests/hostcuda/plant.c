/* plant.c: the comparison of clip.c as a program, linked to a kernel with a planted bug. Prints
 * "equal" or what differs; the sanitizers and hostcuda print what they found. */
#include <stdio.h>

#include "hostcuda/clip_case.h"
#include "hostcuda/hostcuda.h"

int main(void) {
    for (unsigned order = 0; order < 5; order++) {
        char says[256];
        hostcuda_order(order);
        if (clip_case_differs(&clip_cases[0], says, sizeof says)) {
            printf("order %u: differs: %s\n", order, says);
            return 1;
        }
    }
    puts("equal");
    return 0;
}
