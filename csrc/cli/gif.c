/* gif.c: see gif.h. A frame holds only the rectangle that differs from the frame before. */
#include "gif.h"

#include <errno.h>
#include <fcntl.h>
#include <gif_lib.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/files.h"

enum { COLOURS = 128, WIDEN = 2 }; /* a pixel of the console is about twice as wide as high */

struct kp_gif {
    GifFileType *file;
    char path[KP_PATH], partial[KP_PATH];
    int width, height, n;
    double seconds;  /* of a frame */
    uint8_t *before; /* [height][width] */
    uint8_t *line;   /* [WIDEN * width] */
};

static kp_status fail(const kp_gif *g, kp_err *err) {
    const char *why = errno ? strerror(errno) : "the GIF library refused it";
    return kp_fail(err, KP_STORAGE, "%s: cannot write: %s", g->partial, why);
}

static kp_status begin_file(kp_gif *g, const uint32_t *palette, kp_err *err) {
    GifColorType colour[COLOURS];
    int error = 0;
    for (int i = 0; i < COLOURS; i++)
        colour[i] = (GifColorType){ (GifByteType)(palette[i] >> 16), (GifByteType)(palette[i] >> 8),
                                    (GifByteType)palette[i] };
    errno = 0;
    int fd = open(g->partial, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC,
                  0666); /* giflib's own is for its owner only */
    if (fd < 0) return fail(g, err);
    g->file = EGifOpenFileHandle(fd, &error);
    if (!g->file) {
        close(fd);
        return fail(g, err);
    }
    ColorMapObject *map = GifMakeMapObject(COLOURS, colour);
    if (!map) return kp_fail(err, KP_BAD_CONFIG, "%s: out of host memory", g->path);
    EGifSetGifVersion(g->file, true);
    int ok = EGifPutScreenDesc(g->file, WIDEN * g->width, g->height, 7, 0, map) == GIF_OK;
    GifFreeMapObject(map);
    static const unsigned char forever[] = { 1, 0, 0 };
    ok = ok && EGifPutExtensionLeader(g->file, APPLICATION_EXT_FUNC_CODE) == GIF_OK;
    ok = ok && EGifPutExtensionBlock(g->file, 11, "NETSCAPE2.0") == GIF_OK;
    ok = ok && EGifPutExtensionBlock(g->file, sizeof forever, forever) == GIF_OK;
    ok = ok && EGifPutExtensionTrailer(g->file) == GIF_OK;
    return ok ? KP_OK : fail(g, err);
}

kp_status kp_gif_open(kp_gif **out, const char *path, int width, int height,
                      const uint32_t *palette, double seconds, kp_err *err) {
    struct stat there;
    *out = NULL;
    if (!stat(path, &there) && !S_ISREG(there.st_mode)) /* /dev/null would be replaced */
        return kp_fail(err, KP_STORAGE, "%s: is there already, and is no file", path);
    kp_gif *g = calloc(1, sizeof *g);
    if (!g) return kp_fail(err, KP_BAD_CONFIG, "%s: out of host memory", path);
    g->width = width, g->height = height, g->seconds = seconds;
    g->before = calloc((size_t)width, (size_t)height);
    g->line = malloc((size_t)WIDEN * (size_t)width);
    snprintf(g->path, sizeof g->path, "%s", path);
    int length = snprintf(g->partial, sizeof g->partial, "%s.partial", path);
    kp_status st = KP_OK;
    if (!g->before || !g->line) st = kp_fail(err, KP_BAD_CONFIG, "%s: out of host memory", path);
    else if (length >= (int)sizeof g->partial)
        st = kp_fail(err, KP_STORAGE, "%s: the path is too long", path);
    if (!st) st = begin_file(g, palette, err);
    if (st) {
        kp_gif_abandon(g);
        return st;
    }
    *out = g;
    return KP_OK;
}

/* The first and last row that differ from the frame before; 0 where none does. */
static int changed_rows(const kp_gif *g, const uint8_t *s, int *first, int *last) {
    size_t w = (size_t)g->width;
    *first = 0, *last = g->height - 1;
    while (*first <= *last && !memcmp(s + (size_t)*first * w, g->before + (size_t)*first * w, w))
        ++*first;
    while (*last >= *first && !memcmp(s + (size_t)*last * w, g->before + (size_t)*last * w, w))
        --*last;
    return *first <= *last;
}

static int column_differs(const kp_gif *g, const uint8_t *s, int x, int top, int bottom) {
    for (int y = top; y <= bottom; y++)
        if (s[y * g->width + x] != g->before[y * g->width + x]) return 1;
    return 0;
}

static int put_frame(kp_gif *g, const uint8_t *s, int left, int top, int right, int bottom) {
    long begin = lround(100 * g->seconds * g->n), end = lround(100 * g->seconds * (g->n + 1));
    GraphicsControlBlock control = { .DisposalMode = DISPOSE_DO_NOT,
                                     .DelayTime = (int)(end - begin),
                                     .TransparentColor = NO_TRANSPARENT_COLOR };
    GifByteType bytes[4];
    size_t n = EGifGCBToExtension(&control, bytes);
    int columns = right - left + 1;
    if (EGifPutExtension(g->file, GRAPHICS_EXT_FUNC_CODE, (int)n, bytes) != GIF_OK) return 0;
    if (EGifPutImageDesc(g->file, WIDEN * left, top, WIDEN * columns, bottom - top + 1, false,
                         NULL) != GIF_OK)
        return 0;
    for (int y = top; y <= bottom; y++) {
        const uint8_t *from = s + y * g->width + left;
        for (int x = 0; x < columns; x++) g->line[2 * x] = g->line[2 * x + 1] = from[x] >> 1;
        if (EGifPutLine(g->file, g->line, WIDEN * columns) != GIF_OK) return 0;
    }
    return 1;
}

kp_status kp_gif_frame(kp_gif *g, const uint8_t *s, kp_err *err) {
    int top = 0, bottom = g->height - 1, left = 0, right = g->width - 1;
    if (g->n > 0 && !changed_rows(g, s, &top, &bottom)) {
        top = bottom = left = right = 0; /* time passes all the same */
    } else if (g->n > 0) {
        while (!column_differs(g, s, left, top, bottom)) left++;
        while (!column_differs(g, s, right, top, bottom)) right--;
    }
    errno = 0;
    if (!put_frame(g, s, left, top, right, bottom)) return fail(g, err);
    memcpy(g->before, s, (size_t)g->width * (size_t)g->height);
    g->n++;
    return KP_OK;
}

int kp_gif_frames(const kp_gif *g) { return g->n; }

kp_status kp_gif_finish(kp_gif *g, kp_err *err) {
    int error = 0;
    kp_status st = KP_OK;
    errno = 0;
    if (EGifCloseFile(g->file, &error) != GIF_OK) st = fail(g, err);
    g->file = NULL;
    if (!st && rename(g->partial, g->path))
        st = kp_fail(err, KP_STORAGE, "%s: cannot write: %s", g->path, strerror(errno));
    if (!st) g->partial[0] = 0;
    kp_gif_abandon(g);
    return st;
}

void kp_gif_abandon(kp_gif *g) {
    int error;
    if (!g) return;
    if (g->file) EGifCloseFile(g->file, &error);
    if (g->partial[0]) unlink(g->partial);
    free(g->before);
    free(g->line);
    free(g);
}
