/* table.c: see table.h. */
#include "table.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The next character; a byte that is not UTF-8 counts as one. */
static uint32_t next_character(const unsigned char **at) {
    const unsigned char *s = *at;
    int more = s[0] >= 0xF0 ? 3 : s[0] >= 0xE0 ? 2 : s[0] >= 0xC0 ? 1 : 0;
    uint32_t c = more ? s[0] & (0x3F >> more) : s[0];
    for (int i = 1; i <= more; i++) {
        if ((s[i] & 0xC0) != 0x80) {
            more = 0;
            break;
        }
        c = c << 6 | (s[i] & 0x3F);
    }
    *at = s + 1 + more;
    return more ? c : s[0];
}

int kp_text_width(const char *text) {
    int width = 0;
    for (const unsigned char *at = (const unsigned char *)text; *at;) {
        uint32_t c = next_character(&at);
        if ((c >= 0x300 && c <= 0x36F) || (c >= 0x200B && c <= 0x200F)) continue;
        width += (c >= 0x1100 && c <= 0x115F) || (c >= 0x2E80 && c <= 0xA4CF) ||
                         (c >= 0xAC00 && c <= 0xD7A3) || (c >= 0xF900 && c <= 0xFAFF) ||
                         (c >= 0xFE30 && c <= 0xFE6F) || (c >= 0xFF00 && c <= 0xFF60) ||
                         (c >= 0x1F300 && c <= 0x1F64F) || (c >= 0x20000 && c <= 0x3FFFD)
                     ? 2
                     : 1;
    }
    return width;
}

static void push(kp_table *t, char *cell) {
    if (!cell) {
        t->failed = 1;
        return;
    }
    if (t->n_cells == t->capacity) {
        int capacity = t->capacity ? 2 * t->capacity : 64;
        char **grown = realloc(t->cell, (size_t)capacity * sizeof *grown);
        if (!grown) {
            t->failed = 1;
            free(cell);
            return;
        }
        t->cell = grown, t->capacity = capacity;
    }
    t->cell[t->n_cells++] = cell;
}

void kp_table_add(kp_table *table, const char *format, ...) {
    char *cell = NULL;
    va_list args;
    va_start(args, format);
    if (vasprintf(&cell, format, args) < 0) cell = NULL;
    va_end(args);
    push(table, cell);
}

void kp_table_end_row(kp_table *table) {
    if (!table->n_columns) table->n_columns = table->n_cells;
    while (!table->failed && table->n_cells % table->n_columns) push(table, strdup(""));
}

static int is_number(const char *s) {
    return !*s || isdigit((unsigned char)*s) || !strcmp(s, "none") || !strcmp(s, "-") ||
           ((*s == '-' || *s == '.') && isdigit((unsigned char)s[1]));
}

static void measure(const kp_table *t, int *width) {
    memset(width, 0, KP_TABLE_MAX_COLUMNS * sizeof *width);
    for (int i = 0; i < t->n_cells; i++) {
        int w = kp_text_width(t->cell[i]), c = i % t->n_columns;
        if (c < KP_TABLE_MAX_COLUMNS && w > width[c]) width[c] = w;
    }
}

int kp_table_width(const kp_table *table) {
    int width[KP_TABLE_MAX_COLUMNS], total = 0;
    measure(table, width);
    for (int c = 0; c < table->n_columns && c < KP_TABLE_MAX_COLUMNS; c++)
        if (!table->hidden[c]) total += width[c] + 2;
    return total ? total - 2 : 0;
}

kp_status kp_table_write(const kp_table *table, char **text, kp_err *err) {
    int columns = table->n_columns, width[KP_TABLE_MAX_COLUMNS], last = -1;
    int words[KP_TABLE_MAX_COLUMNS] = {
        0
    }; /* 1: has some; a column of numbers stands to the right */
    char *bytes = NULL;
    size_t size;
    if (columns > KP_TABLE_MAX_COLUMNS)
        return kp_fail(err, KP_BAD_CONFIG, "table: %d columns, at most %d", columns,
                       KP_TABLE_MAX_COLUMNS);
    measure(table, width);
    for (int c = 0; c < columns; c++)
        if (!table->hidden[c]) last = c;
    for (int i = columns; i < table->n_cells; i++)
        if (!is_number(table->cell[i])) words[i % columns] = 1;
    FILE *f = table->failed ? NULL : open_memstream(&bytes, &size);
    for (int i = 0; f && i < table->n_cells; i++) {
        int c = i % columns;
        int blanks = width[c] - kp_text_width(table->cell[i]);
        if (table->hidden[c]) continue;
        fprintf(f, "%*s%s%*s%s", words[c] ? 0 : blanks, "", table->cell[i],
                !words[c] || c == last ? 0 : blanks, "", c == last ? "\n" : "  ");
    }
    int failed = !f || ferror(f);
    if (f && fclose(f)) failed = 1;
    if (failed) {
        free(bytes);
        return kp_fail(err, KP_BAD_CONFIG, "table: out of memory");
    }
    *text = bytes;
    return KP_OK;
}

void kp_table_free(kp_table *table) {
    for (int i = 0; i < table->n_cells; i++) free(table->cell[i]);
    free(table->cell);
    memset(table, 0, sizeof *table);
}
