/* ring_file.c: a segment is one zstd stream: segment_head, then its slots, then its frames.
 *
 * The newest slot of a save has no transition yet, so the next save begins with that slot again,
 * and loading takes a lane's segments in order, later over earlier. `whole` is not read but made
 * anew. */
#include "ring_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xxhash.h>
#include <zstd.h>

#include "base/files.h"
#include "ring_impl.h"

enum {
    SEGMENT_SLOTS = 16384, /* so that files go as the ring wraps, not all at once */
    LEVEL = 1,
    INDEX_FORMAT = 1
};

typedef struct {
    char magic[8];
    int32_t lane, frame_bytes;
    int64_t from, to;
} segment_head;

static const char magic[8] = "KPSLOTS";

typedef struct { /* then head [P * E] of int64_t, then the segments */
    int32_t format, P, E, frame_bytes;
    int64_t lane_slots, n_segments;
} index_head;

struct kp_ring_file {
    kp_ring *ring; /* borrowed */
    char folder[KP_PATH];
    int64_t *saved; /* [P * E] head at the latest save */
    kp_ring_segment *segment;
    int n, room;
    uint8_t *index;
    size_t index_bytes;
    ZSTD_CCtx *compressor;
    ZSTD_DCtx *decompressor;
    XXH64_state_t *hash;
    void *out;
    size_t out_bytes;
};

kp_status kp_ring_file_open(kp_ring_file **out, kp_ring *ring, const char *folder, kp_err *err) {
    *out = NULL;
    kp_ring_file *f = calloc(1, sizeof *f);
    if (!f) return kp_fail(err, KP_BAD_CONFIG, "replay: out of host memory");
    f->ring = ring;
    f->saved = calloc((size_t)ring->o.P * (size_t)ring->o.E, sizeof *f->saved);
    f->compressor = ZSTD_createCCtx();
    f->decompressor = ZSTD_createDCtx();
    f->hash = XXH64_createState();
    f->out_bytes = ZSTD_CStreamOutSize();
    f->out = malloc(f->out_bytes);
    kp_status st = KP_OK;
    if (!f->saved || !f->compressor || !f->decompressor || !f->hash || !f->out)
        st = kp_fail(err, KP_BAD_CONFIG, "replay: out of host memory");
    else if (snprintf(f->folder, sizeof f->folder, "%s", folder) >= (int)sizeof f->folder)
        st = kp_fail(err, KP_STORAGE, "%.200s...: the path is longer than %d bytes", folder,
                     KP_PATH - 1);
    if (st) {
        kp_ring_file_close(f);
        return st;
    }
    *out = f;
    return KP_OK;
}

void kp_ring_file_close(kp_ring_file *f) {
    if (!f) return;
    ZSTD_freeCCtx(f->compressor);
    ZSTD_freeDCtx(f->decompressor);
    XXH64_freeState(f->hash);
    free(f->saved);
    free(f->segment);
    free(f->index);
    free(f->out);
    free(f);
}

const uint8_t *kp_ring_file_index(const kp_ring_file *f, size_t *n) {
    *n = f->index_bytes;
    return f->index;
}

const kp_ring_segment *kp_ring_file_segments(const kp_ring_file *f, int *n) {
    *n = f->n;
    return f->segment;
}

/* ---- writing --------------------------------------------------------------------------------- */

typedef struct {
    kp_ring_file *file;
    int fd;
    const char *path;
    kp_ring_segment *segment;
} sink;

static kp_status squeeze(sink *k, const void *bytes, size_t n, ZSTD_EndDirective end, kp_err *err) {
    ZSTD_inBuffer in = { bytes, n, 0 };
    for (;;) {
        ZSTD_outBuffer out = { k->file->out, k->file->out_bytes, 0 };
        size_t left = ZSTD_compressStream2(k->file->compressor, &out, &in, end);
        if (ZSTD_isError(left))
            return kp_fail(err, KP_STORAGE, "%s: zstd: %s", k->path, ZSTD_getErrorName(left));
        XXH64_update(k->file->hash, out.dst, out.pos);
        k->segment->n_bytes += out.pos;
        kp_status st = kp_file_put(k->fd, k->path, out.dst, out.pos, err);
        if (st) return st;
        if (end == ZSTD_e_end ? left == 0 : in.pos == in.size) return KP_OK;
    }
}

/* A new file, whose name s gets. A file of these slots may stand there, of a ring that an older
 * checkpoint still needs: of a run that has gone on without its replay since. */
static kp_status create_segment(const kp_ring_file *f, kp_ring_segment *s, char path[KP_PATH],
                                int *fd, kp_err *err) {
    *fd = -1;
    for (int copy = 0; *fd < 0; copy++) {
        char number[16] = "";
        if (copy) snprintf(number, sizeof number, "-%d", copy);
        snprintf(s->name, sizeof s->name, "m%03d-e%02d-%010lld-%010lld%s.zst",
                 s->lane / f->ring->o.E, s->lane % f->ring->o.E, (long long)s->from,
                 (long long)s->to, number);
        kp_status st = kp_path_join(path, f->folder, s->name, err);
        if (st) return st;
        *fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (*fd < 0 && errno != EEXIST) return kp_storage_fail(err, path, "write");
    }
    return KP_OK;
}

static kp_status write_segment(kp_ring_file *f, kp_ring_segment *s, kp_err *err) {
    const kp_ring *r = f->ring;
    char path[KP_PATH];
    sink k = { .file = f, .path = path, .segment = s };
    kp_status st = create_segment(f, s, path, &k.fd, err);
    if (st) return st;
    ZSTD_CCtx_reset(f->compressor, ZSTD_reset_session_only);
    ZSTD_CCtx_setParameter(f->compressor, ZSTD_c_compressionLevel, LEVEL);
    XXH64_reset(f->hash, 0);

    segment_head head = {
        .lane = s->lane, .frame_bytes = r->o.frame_bytes, .from = s->from, .to = s->to
    };
    memcpy(head.magic, magic, sizeof magic);
    st = squeeze(&k, &head, sizeof head, ZSTD_e_continue, err);
    for (int64_t j = s->from; !st && j < s->to; j++)
        st = squeeze(&k, kp_ring_slot_at(r, s->lane, j), sizeof(kp_ring_slot), ZSTD_e_continue,
                     err);
    for (int64_t j = s->from; !st && j < s->to; j++)
        st = squeeze(&k, kp_ring_frame_at(r, s->lane, j), (size_t)r->o.frame_bytes, ZSTD_e_continue,
                     err);
    if (!st) st = squeeze(&k, NULL, 0, ZSTD_e_end, err);
    if (!st && fsync(k.fd)) st = kp_storage_fail(err, path, "write");
    if (close(k.fd) && !st) st = kp_storage_fail(err, path, "write");
    s->xxh64 = XXH64_digest(f->hash);
    return st;
}

static void remove_segment(const kp_ring_file *f, const kp_ring_segment *s) {
    char path[KP_PATH];
    if (!kp_path_join(path, f->folder, s->name, NULL)) unlink(path);
}

static kp_status make_index(kp_ring_file *f, kp_err *err) {
    const kp_ring *r = f->ring;
    size_t lanes = (size_t)r->o.P * (size_t)r->o.E;
    size_t n = sizeof(index_head) + lanes * sizeof(int64_t) + (size_t)f->n * sizeof *f->segment;
    uint8_t *index = realloc(f->index, n);
    if (!index) return kp_fail(err, KP_STORAGE, "%s: out of host memory", f->folder);
    f->index = index, f->index_bytes = n;
    index_head head = { INDEX_FORMAT, r->o.P, r->o.E, r->o.frame_bytes, r->lane_slots, f->n };
    memcpy(index, &head, sizeof head);
    for (size_t i = 0; i < lanes; i++)
        memcpy(index + sizeof head + i * sizeof(int64_t), &r->lane[i].head, sizeof(int64_t));
    if (f->n)
        memcpy(index + sizeof head + lanes * sizeof(int64_t), f->segment,
               (size_t)f->n * sizeof *f->segment);
    return KP_OK;
}

/* The first slot that is not on disk as it is now. */
static int64_t first_unsaved(const kp_ring_file *f, int lane) {
    int64_t oldest = kp_ring_oldest(f->ring, &f->ring->lane[lane]);
    int64_t from = f->saved[lane] > 0 ? f->saved[lane] - 1 : 0;
    return from > oldest ? from : oldest;
}

static kp_status plan(kp_ring_file *f, int *n_planned, kp_err *err) {
    int lanes = f->ring->o.P * f->ring->o.E;
    *n_planned = 0;
    for (int lane = 0; lane < lanes; lane++) {
        int64_t head = f->ring->lane[lane].head;
        if (head == f->saved[lane]) continue;
        for (int64_t from = first_unsaved(f, lane); from < head; from += SEGMENT_SLOTS) {
            int at = f->n + (*n_planned)++;
            if (at >= f->room) {
                int room = 2 * at + 64;
                kp_ring_segment *more = realloc(f->segment, (size_t)room * sizeof *more);
                if (!more) return kp_fail(err, KP_STORAGE, "%s: out of host memory", f->folder);
                f->segment = more, f->room = room;
            }
            int64_t to = from + SEGMENT_SLOTS < head ? from + SEGMENT_SLOTS : head;
            memset(&f->segment[at], 0,
                   sizeof *f->segment); /* padding too: the index is checksummed */
            f->segment[at].lane = lane, f->segment[at].from = from, f->segment[at].to = to;
        }
    }
    return KP_OK;
}

kp_status kp_ring_file_save(kp_ring_file *f, kp_err *err) {
    int planned = 0, written = 0, kept = 0;
    kp_status st = kp_folder_make(f->folder, err);
    if (!st) st = plan(f, &planned, err);
    while (!st && written < planned) st = write_segment(f, &f->segment[f->n + written++], err);
    if (!st && written) st = kp_folder_sync(f->folder, err);
    if (st) {
        for (int i = 0; i < written; i++) remove_segment(f, &f->segment[f->n + i]);
        return st;
    }
    for (int i = 0; i < f->n + written; i++) /* files go only when no kept checkpoint needs them */
        if (f->segment[i].to > kp_ring_oldest(f->ring, &f->ring->lane[f->segment[i].lane]))
            f->segment[kept++] = f->segment[i];
    f->n = kept;
    for (int lane = 0; lane < f->ring->o.P * f->ring->o.E; lane++)
        f->saved[lane] = f->ring->lane[lane].head;
    return make_index(f, err);
}

/* ---- reading --------------------------------------------------------------------------------- */

/* Takes the next n bytes out of the stream; 0 if it is too short or no zstd. */
static int take(ZSTD_DCtx *decompressor, ZSTD_inBuffer *in, void *bytes, size_t n) {
    ZSTD_outBuffer out = { bytes, n, 0 };
    while (out.pos < n) {
        size_t before = in->pos + out.pos;
        size_t rc = ZSTD_decompressStream(decompressor, &out, in);
        if (ZSTD_isError(rc) || (out.pos < n && in->pos + out.pos == before)) return 0;
    }
    return 1;
}

/* Slots that were overwritten since are read like others: the live one in their place comes later.
 */
static kp_status read_segment(kp_ring_file *f, const kp_ring_segment *s, kp_err *err) {
    kp_ring *r = f->ring;
    char path[KP_PATH];
    uint8_t *bytes = NULL;
    size_t n = 0;

    kp_status st = kp_path_join(path, f->folder, s->name, err);
    if (!st) st = kp_file_read(path, &bytes, &n, err);
    if (st) goto out;
    uint64_t xxh64 = XXH64(bytes, n, 0);
    if (n != s->n_bytes || xxh64 != s->xxh64) {
        st = kp_fail(err, KP_STORAGE,
                     "%s: altered: %zu bytes with checksum %016llx, not %llu with %016llx", path, n,
                     (unsigned long long)xxh64, (unsigned long long)s->n_bytes,
                     (unsigned long long)s->xxh64);
        goto out;
    }
    ZSTD_inBuffer in = { bytes, n, 0 };
    ZSTD_DCtx_reset(f->decompressor, ZSTD_reset_session_only);
    segment_head head = { 0 };
    int whole = take(f->decompressor, &in, &head, sizeof head) &&
                !memcmp(head.magic, magic, sizeof magic) && head.lane == s->lane &&
                head.from == s->from && head.to == s->to && head.frame_bytes == r->o.frame_bytes;
    for (int64_t j = s->from; whole && j < s->to; j++)
        whole = take(f->decompressor, &in, kp_ring_slot_at(r, s->lane, j), sizeof(kp_ring_slot));
    for (int64_t j = s->from; whole && j < s->to; j++)
        whole = take(f->decompressor, &in, kp_ring_frame_at(r, s->lane, j),
                     (size_t)r->o.frame_bytes);
    if (!whole) st = kp_fail(err, KP_STORAGE, "%s: is no segment of this replay", path);
out:
    free(bytes);
    return st;
}

/* Heads and segments from the index, which must cover all live slots, lane by lane in order. */
static kp_status read_index(kp_ring_file *f, const uint8_t *index, size_t n, kp_err *err) {
    kp_ring *r = f->ring;
    size_t lanes = (size_t)r->o.P * (size_t)r->o.E;
    index_head head;
    if (n < sizeof head) return kp_fail(err, KP_STORAGE, "%s: the index is cut off", f->folder);
    memcpy(&head, index, sizeof head);
    if (head.format != INDEX_FORMAT)
        return kp_fail(err, KP_STORAGE, "%s: index of format %d; this version reads %d", f->folder,
                       head.format, INDEX_FORMAT);
    if (head.P != r->o.P || head.E != r->o.E || head.frame_bytes != r->o.frame_bytes ||
        head.lane_slots != r->lane_slots)
        return kp_fail(
            err, KP_BAD_CONFIG,
            "%s: saved with %d members, %d environments, %lld slots each; now %d, %d, %lld",
            f->folder, head.P, head.E, (long long)head.lane_slots, r->o.P, r->o.E,
            (long long)r->lane_slots);
    if (head.n_segments < 0 || head.n_segments > INT32_MAX / (int64_t)sizeof *f->segment ||
        n != sizeof head + lanes * sizeof(int64_t) + (size_t)head.n_segments * sizeof *f->segment)
        return kp_fail(err, KP_STORAGE, "%s: the index is cut off", f->folder);

    kp_ring_segment *segment = malloc((size_t)head.n_segments * sizeof *segment + 1);
    if (!segment) return kp_fail(err, KP_STORAGE, "%s: out of host memory", f->folder);
    memcpy(segment, index + sizeof head + lanes * sizeof(int64_t),
           (size_t)head.n_segments * sizeof *segment);
    free(f->segment);
    f->segment = segment, f->n = f->room = (int)head.n_segments;

    for (size_t i = 0; i < lanes; i++) {
        kp_ring_lane *l = &r->lane[i];
        l->n_whole = l->seen = 0;
        memcpy(&l->head, index + sizeof head + i * sizeof(int64_t), sizeof(int64_t));
        f->saved[i] = kp_ring_oldest(r, l); /* here: covered so far */
        if (l->head < 0) return kp_fail(err, KP_STORAGE, "%s: the index is damaged", f->folder);
    }
    for (int i = 0; i < f->n; i++) {
        const kp_ring_segment *s = &segment[i];
        if (s->lane < 0 || (size_t)s->lane >= lanes || s->from < 0 || s->from > f->saved[s->lane] ||
            s->to <= s->from || s->to > r->lane[s->lane].head ||
            !memchr(s->name, 0, sizeof s->name) || strchr(s->name, '/'))
            return kp_fail(err, KP_STORAGE, "%s: the index is damaged", f->folder);
        f->saved[s->lane] = s->to;
    }
    for (size_t i = 0; i < lanes; i++)
        if (f->saved[i] != r->lane[i].head)
            return kp_fail(err, KP_STORAGE, "%s: the index lacks slots of lane %zu", f->folder, i);
    return KP_OK;
}

kp_status kp_ring_file_load(kp_ring_file *f, const uint8_t *index, size_t n, kp_err *err) {
    kp_ring *r = f->ring;
    madvise(r->slots, r->slots_bytes, MADV_DONTNEED); /* all zero again */
    kp_status st = read_index(f, index, n, err);
    for (int i = 0; !st && i < f->n; i++) st = read_segment(f, &f->segment[i], err);
    for (int lane = 0; !st && lane < r->o.P * r->o.E; lane++) {
        int64_t head = r->lane[lane].head, oldest = kp_ring_oldest(r, &r->lane[lane]);
        for (int64_t j = oldest; j < head; j++) kp_ring_slot_at(r, lane, j)->whole = 0;
        for (int64_t j = oldest; j < head; j++)
            if (kp_ring_slot_at(r, lane, j)->acted) kp_ring_settle(r, lane, j);
    }
    return st ? st : make_index(f, err);
}
