/* csv.c: numbers between commas, line by line. A first line with a cell that is no number is a
 * header. */
#include <ctype.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "array.h"
#include "base/memory.h"
#include "source.h"

enum { BLOCK = 1 << 16 };

typedef struct {
    const char *path;
    kp_source *source;
    char block[BLOCK];
    size_t at, n_block; /* in block */
    char *line;         /* with a 0 behind it; cells are parsed in place */
    size_t n_line, room;
    int64_t number; /* of the line, from 1 */
    int64_t n, n_rows_room;
    int n_cells; /* of every line; 0 before the first */
    int label_at;
    int is_bytes, all_bytes;
    float *features;
    int64_t *label;
} reader;

/* realloc; *array: the pointer to an array of elements of this size. */
static kp_status widen(void *array, int64_t n, size_t size, const reader *r, kp_err *err) {
    void *old, *more = NULL;
    uint64_t bytes;
    memcpy(&old, array, sizeof old);
    if (!__builtin_mul_overflow((uint64_t)n, size, &bytes) &&
        bytes < (uint64_t)kp_memory_available())
        more = realloc(old, bytes);
    if (!more)
        return kp_fail(err, KP_BAD_CONFIG, "%s: out of host memory at line %lld", r->path,
                       (long long)r->number);
    memcpy(array, &more, sizeof more);
    return KP_OK;
}

static kp_status append(reader *r, const char *from, size_t n, kp_err *err) {
    if (r->n_line + n + 1 > r->room) {
        size_t room = 2 * (r->n_line + n + 1);
        kp_status st = widen(&r->line, (int64_t)room, 1, r, err);
        if (st) return st;
        r->room = room;
    }
    memcpy(r->line + r->n_line, from, n);
    r->n_line += n;
    return KP_OK;
}

/* A line, without its end; *is_end: there was none, and n_line is 0. */
static kp_status read_line(reader *r, int *is_end, kp_err *err) {
    const char *newline = NULL;
    r->n_line = 0, *is_end = 0;
    while (!newline) {
        if (r->at == r->n_block) {
            r->at = 0;
            kp_status st = kp_source_read(r->source, r->block, BLOCK, &r->n_block, err);
            if (st) return st;
            if (!r->n_block) {
                *is_end = !r->n_line;
                break;
            }
        }
        const char *from = r->block + r->at;
        newline = memchr(from, '\n', r->n_block - r->at);
        size_t n = newline ? (size_t)(newline - from) : r->n_block - r->at;
        kp_status st = append(r, from, n, err);
        if (st) return st;
        r->at += n + (newline != NULL);
    }
    return KP_OK;
}

/* The next line that is not blank, with a 0 behind it. *more is 0 after the last. */
static kp_status next_line(reader *r, int *more, kp_err *err) {
    int is_end = 0;
    do {
        kp_status st = read_line(r, &is_end, err);
        if (st) return st;
        r->number++;
        while (r->n_line && isspace((unsigned char)r->line[r->n_line - 1])) r->n_line--;
    } while (!is_end && !r->n_line);
    *more = !is_end;
    if (*more) r->line[r->n_line] = 0;
    return KP_OK;
}

/* For messages. */
static const char *printable(const char *cell, size_t n, char text[24]) {
    size_t most = n < 20 ? n : 20, i;
    for (i = 0; i < most; i++) text[i] = isprint((unsigned char)cell[i]) ? cell[i] : '?';
    strcpy(text + i, n > most ? "..." : "");
    return text;
}

/* The number in cell[n], which a comma or a 0 follows; 0 where it is none. */
static int parse(const char *cell, size_t n, double *x) {
    while (n && isspace((unsigned char)*cell)) cell++, n--;
    while (n && isspace((unsigned char)cell[n - 1])) n--;
    if (!n) return 0;
    if (n <= 7) { /* most cells are bytes */
        int whole = 0;
        size_t i;
        for (i = 0; i < n && isdigit((unsigned char)cell[i]); i++)
            whole = 10 * whole + cell[i] - '0';
        *x = whole;
        if (i == n) return 1;
    }
    char *end;
    *x = strtod(cell, &end);
    return end == cell + n;
}

/* The line's next cell; NULL after the last. */
static const char *next_cell(const char **at, const char *end, size_t *n) {
    const char *cell = *at;
    if (!cell) return NULL;
    const char *comma = memchr(cell, ',', (size_t)(end - cell));
    *n = (size_t)((comma ? comma : end) - cell);
    *at = comma ? comma + 1 : NULL;
    return cell;
}

static int64_t count_cells(const reader *r) {
    const char *at = r->line;
    size_t n;
    int64_t count = 0;
    while (next_cell(&at, r->line + r->n_line, &n)) count++;
    return count;
}

static int is_byte(double x) { return x >= 0 && x <= 255 && x == floor(x); }

static kp_status take_label(reader *r, double x, const char *cell, size_t n, kp_err *err) {
    char text[24];
    if (x < INT_MIN || x > INT_MAX || x != floor(x))
        return kp_fail(err, KP_BAD_DATA,
                       "%s:%lld: label (column %d) is %s, expected a whole number", r->path,
                       (long long)r->number, r->label_at + 1, printable(cell, n, text));
    r->label[r->n] = (int64_t)x;
    return KP_OK;
}

static kp_status take_feature(reader *r, double x, int column, int64_t at, const char *cell,
                              size_t n, kp_err *err) {
    char text[24];
    float value = (float)x;
    if (!isfinite(value))
        return kp_fail(err, KP_BAD_DATA, "%s:%lld: column %d is %s, expected a finite float32",
                       r->path, (long long)r->number, column + 1, printable(cell, n, text));
    int byte = is_byte(x);
    if (r->is_bytes && !byte)
        return kp_fail(err, KP_BAD_DATA,
                       "%s:%lld: column %d is %s, expected a pixel, 0 to 255, whole", r->path,
                       (long long)r->number, column + 1, printable(cell, n, text));
    r->all_bytes &= byte;
    r->features[at] = value;
    return KP_OK;
}

static kp_status make_room(reader *r, kp_err *err) {
    if (r->n < r->n_rows_room) return KP_OK;
    int64_t rows = r->n_rows_room ? 2 * r->n_rows_room : 64;
    kp_status st = widen(&r->features, rows * (r->n_cells - 1), sizeof *r->features, r, err);
    if (!st) st = widen(&r->label, rows, sizeof *r->label, r, err);
    if (!st) r->n_rows_room = rows;
    return st;
}

static kp_status take_row(reader *r, kp_err *err) {
    const char *at = r->line, *cell;
    char text[24];
    size_t n;
    int column = 0;
    double x;
    int64_t seen = count_cells(r), feature = r->n * (r->n_cells - 1);
    if (seen != r->n_cells)
        return kp_fail(err, KP_BAD_DATA, "%s:%lld: %lld columns, expected %d as above it", r->path,
                       (long long)r->number, (long long)seen, r->n_cells);
    kp_status st = make_room(r, err);
    for (; !st && (cell = next_cell(&at, r->line + r->n_line, &n)); column++) {
        if (!parse(cell, n, &x))
            st = kp_fail(err, KP_BAD_DATA, "%s:%lld: column %d is \"%s\", expected a number",
                         r->path, (long long)r->number, column + 1, printable(cell, n, text));
        else if (column == r->label_at) st = take_label(r, x, cell, n, err);
        else st = take_feature(r, x, column, feature++, cell, n, err);
    }
    if (!st) r->n++;
    return st;
}

static int is_label(const char *cell, size_t n) {
    if (n >= 2 && cell[0] == '"' && cell[n - 1] == '"') cell++, n -= 2;
    return n == 5 && !strncasecmp(cell, "label", n);
}

/* The first line says how many columns there are. It is a header where none of its cells is a
 * number, or one is "label": then that column is. */
static kp_status take_first(reader *r, int label_first, int *is_header, kp_err *err) {
    static const char mark[] = "\xef\xbb\xbf"; /* of UTF-8, as Excel writes it */
    if (r->n_line >= 3 && !memcmp(r->line, mark, 3))
        memmove(r->line, r->line + 3, (r->n_line -= 3) + 1);
    int64_t n_cells = count_cells(r), n_numbers = 0, n_labels = 0;
    if (n_cells < 2 || n_cells > INT_MAX)
        return kp_fail(err, KP_BAD_DATA,
                       "%s:%lld: %lld column%s, expected a label and features, with commas between",
                       r->path, (long long)r->number, (long long)n_cells, n_cells == 1 ? "" : "s");
    r->n_cells = (int)n_cells;
    r->label_at = label_first ? 0 : r->n_cells - 1;
    const char *at = r->line, *cell;
    size_t n;
    double x;
    for (int column = 0; (cell = next_cell(&at, r->line + r->n_line, &n)); column++) {
        n_numbers += parse(cell, n, &x);
        if (!is_label(cell, n)) continue;
        r->label_at = column;
        n_labels++;
    }
    *is_header = !n_numbers || n_labels;
    if (n_labels > 1)
        return kp_fail(err, KP_BAD_DATA, "%s:%lld: %lld columns are named label, expected one",
                       r->path, (long long)r->number, (long long)n_labels);
    return KP_OK;
}

static kp_status read_rows(reader *r, int label_first, kp_err *err) {
    int more = 0, is_header = 0;
    kp_status st = next_line(r, &more, err);
    if (!st && more) st = take_first(r, label_first, &is_header, err);
    if (!st && is_header) st = next_line(r, &more, err);
    while (!st && more) {
        st = take_row(r, err);
        if (!st) st = next_line(r, &more, err);
    }
    if (!st && !r->n)
        st = kp_fail(err, KP_BAD_DATA, "%s: no sample%s; expected one a line", r->path,
                     is_header ? " after the header" : "");
    return st;
}

/* In place: byte i is written after float i was read. */
static void narrow(float *features, int64_t n) {
    uint8_t *bytes = (uint8_t *)features;
    for (int64_t i = 0; i < n; i++) {
        float x = features[i];
        bytes[i] = (uint8_t)x;
    }
}

/* Hands an array of the reader's over, without the room that was taken ahead. */
static void hand_over(kp_array *a, void *memory, int64_t n) {
    a->memory = realloc(memory, (size_t)n * kp_dtypes[a->type].size);
    if (!a->memory) a->memory = memory;
    a->data = a->memory;
    a->n = n;
}

kp_status kp_csv_read(kp_array *features, kp_array *label, const char *path, int is_bytes,
                      int label_first, const char *md5, kp_err *err) {
    *features = *label = (kp_array){ 0 };
    reader *r = calloc(1, sizeof *r);
    if (!r) return kp_fail(err, KP_BAD_CONFIG, "%s: out of host memory", path);
    *r = (reader){ .path = path, .is_bytes = is_bytes, .all_bytes = 1 };
    kp_status st = kp_source_open(&r->source, path, md5 != NULL, err);
    if (!st) st = read_rows(r, label_first, err);
    if (!st && md5) st = kp_source_check_md5(r->source, md5, err);
    if (!st) {
        int64_t n = r->n, d = r->n_cells - 1;
        if (r->all_bytes) narrow(r->features, n * d);
        *features = (kp_array){ r->all_bytes ? KP_U8 : KP_F32, 2, { n, d }, 0, NULL, NULL };
        *label = (kp_array){ KP_I64, 1, { n }, 0, NULL, NULL };
        hand_over(features, r->features, n * d);
        hand_over(label, r->label, n);
        r->features = NULL, r->label = NULL;
    }
    kp_source_close(r->source);
    free(r->line);
    free(r->features);
    free(r->label);
    free(r);
    return st;
}
