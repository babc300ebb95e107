/* terminal.c: see terminal.h. */
#include "terminal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { LEAST_TEXT = 20 }; /* narrower than this, the terminal's own breaks read better */

int kp_terminal_columns(void) {
    struct winsize size;
    if (!isatty(STDOUT_FILENO)) return 0;
    return !ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) && size.ws_col ? size.ws_col : 80;
}

int kp_terminal_has_colour(void) {
    const char *term = getenv("TERM"), *refused = getenv("NO_COLOR");
    return isatty(STDOUT_FILENO) && term && strcmp(term, "dumb") && !(refused && *refused);
}

void kp_print_wrapped(int indent, const char *text) {
    int room = kp_terminal_columns() - indent;
    if (room < LEAST_TEXT) {
        puts(text);
        return;
    }
    for (int used = 0; *text; text += strspn(text, " ")) {
        int n = (int)strcspn(text, " ");
        if (used && used + 1 + n > room) {
            printf("\n%*s", indent, "");
            used = 0;
        }
        printf("%s%.*s", used ? " " : "", n, text);
        used += n + !!used;
        text += n;
    }
    putchar('\n');
}
