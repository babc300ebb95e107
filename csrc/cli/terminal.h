/* terminal.h: what standard output can show. */
#pragma once

int kp_terminal_columns(void); /* 0: not a terminal */
int kp_terminal_has_colour(void);

/* The text from column `indent` on, where the cursor stands, broken at blanks to fit a terminal; one
 * line elsewhere. Ends the line. */
void kp_print_wrapped(int indent, const char *text);
