/* table.h: text columns, aligned by what a terminal shows.
 *
 *     kp_table t = { 0 };
 *     kp_table_add(&t, "kappa"); kp_table_add(&t, "return"); kp_table_end_row(&t);
 *     ...
 *     st = kp_table_write(&t, &text, &err);
 *     kp_table_free(&t);
 *
 * The first row is the head. Columns of numbers (and of numbers with intervals) are set to the
 * right. */
#pragma once
#include "kappa/status.h"

enum { KP_TABLE_MAX_COLUMNS = 16 };

typedef struct {
    char **cell; /* [n_cells], owned, row after row */
    int n_cells, capacity, n_columns;
    int hidden[KP_TABLE_MAX_COLUMNS]; /* 1: not written */
    int failed; /* memory ran out on the way; write says so */
} kp_table;

void kp_table_add(kp_table *table, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The first row sets the number of columns; short rows are filled with empty cells. */
void kp_table_end_row(kp_table *table);

/* Columns of a terminal that the table takes, what is hidden aside. */
int kp_table_width(const kp_table *table);

/* text: yours to free. */
kp_status kp_table_write(const kp_table *table, char **text, kp_err *err);
void kp_table_free(kp_table *table);

/* Columns a terminal gives UTF-8 text: accents that combine take none, East Asian wide characters
 * two. */
int kp_text_width(const char *text);
