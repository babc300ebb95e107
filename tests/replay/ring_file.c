/* ring_file.c: a ring saved in steps and loaded equals the ring that was never saved. */
#include "replay/ring_file.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/files.h"
#include "play.h"
#include "replay/ring_impl.h"
#include "scratch.h"

static const struct {
    const char *name;
    int P, E, transitions, interrupt;
    int plays[4]; /* before each save; 0: no more saves */
} cases[] = {
    { "one save", 1, 1, 100, 0, { 50 } },
    { "an episode in the middle", 2, 2, 200, 0, { 31, 9, 1, 40 } },
    { "nothing new the second time", 1, 2, 100, 0, { 20, -1, 5 } },
    { "wrapped once", 1, 1, 60, 0, { 50, 30 } },
    { "wrapped between saves", 2, 1, 60, 1, { 50, 300, 7, 1 } },
    { "saved before anything happened", 1, 1, 60, 0, { -1, 30 } },
};

enum { LANES = 4 };

typedef struct {
    char folder[KP_PATH];
    kp_ring *ring;
    kp_ring_file *file;
    play_lane *lane; /* [LANES] */
} rig;

static kp_ring_options options_of(size_t c) {
    return (
        kp_ring_options){ cases[c].P, cases[c].E, PLAY_FRAME, 4, 3, cases[c].transitions, 0.99 };
}

static void open_rig(rig *g, size_t c) {
    kp_ring_options o = options_of(c);
    scratch_folder(g->folder);
    g->lane = calloc(LANES, sizeof *g->lane);
    for (int i = 0; i < LANES; i++) g->lane[i].interrupt = cases[c].interrupt;
    cr_assert_eq(kp_ring_open(&g->ring, &o, NULL), KP_OK);
    cr_assert_eq(kp_ring_file_open(&g->file, g->ring, g->folder, NULL), KP_OK);
}

static void close_rig(rig *g) {
    kp_ring_file_close(g->file);
    kp_ring_close(g->ring);
    kp_folder_remove(g->folder, NULL);
    free(g->lane);
}

static void play_all(rig *g, size_t c, int n) {
    for (int t = 0; t < n; t++)
        for (int i = 0; i < cases[c].P * cases[c].E; i++) play(g->ring, &g->lane[i], i);
}

static void expect_equal(const char *name, kp_ring *a, kp_ring *b) {
    for (int i = 0; i < a->o.P * a->o.E; i++) {
        cr_assert_eq(a->lane[i].head, b->lane[i].head, "%s: head of lane %d", name, i);
        cr_assert_eq(a->lane[i].n_whole, b->lane[i].n_whole, "%s: lane %d has %lld whole, not %lld",
                     name, i, (long long)b->lane[i].n_whole, (long long)a->lane[i].n_whole);
        for (int64_t j = kp_ring_oldest(a, &a->lane[i]); j < a->lane[i].head; j++) {
            cr_assert(!memcmp(kp_ring_slot_at(a, i, j), kp_ring_slot_at(b, i, j),
                              sizeof(kp_ring_slot)),
                      "%s: slot %lld of lane %d", name, (long long)j, i);
            cr_assert(!memcmp(kp_ring_frame_at(a, i, j), kp_ring_frame_at(b, i, j), PLAY_FRAME),
                      "%s: frame %lld of lane %d", name, (long long)j, i);
        }
    }
}

Test(ring_file, saved_in_steps_and_loaded_is_the_same_and_goes_on_the_same) {
    for (size_t c = 0; c < KP_COUNT(cases); c++) {
        rig g, h;
        kp_err err = { "" };
        size_t n;
        open_rig(&g, c);
        open_rig(&h, c);
        for (int k = 0; k < 4 && cases[c].plays[k]; k++) {
            play_all(&g, c, cases[c].plays[k]);
            cr_assert_eq(kp_ring_file_save(g.file, &err), KP_OK, "%s: %s", cases[c].name, err.text);
        }
        /* Loaded by another saver, from the first one's folder. */
        kp_ring_file *from = NULL;
        cr_assert_eq(kp_ring_file_open(&from, h.ring, g.folder, &err), KP_OK);
        const uint8_t *index = kp_ring_file_index(g.file, &n);
        cr_assert_eq(kp_ring_file_load(from, index, n, &err), KP_OK, "%s: %s", cases[c].name,
                     err.text);
        expect_equal(cases[c].name, g.ring, h.ring);

        memcpy(h.lane, g.lane, LANES * sizeof *h.lane);
        play_all(&g, c, 90);
        play_all(&h, c, 90);
        expect_equal(cases[c].name, g.ring, h.ring);

        /* The loaded one saves what is new after the segments it was loaded from. */
        cr_assert_eq(kp_ring_file_save(from, &err), KP_OK, "%s: %s", cases[c].name, err.text);
        index = kp_ring_file_index(from, &n);
        cr_assert_eq(kp_ring_file_load(g.file, index, n, &err), KP_OK, "%s: %s", cases[c].name,
                     err.text);
        expect_equal(cases[c].name, h.ring, g.ring);
        kp_ring_file_close(from);
        close_rig(&g);
        close_rig(&h);
    }
}

static uint64_t bytes_from(const rig *g, int first) {
    uint64_t bytes = 0;
    int n;
    const kp_ring_segment *s = kp_ring_file_segments(g->file, &n);
    for (int i = first; i < n; i++) bytes += s[i].n_bytes;
    return bytes;
}

Test(ring_file, a_save_writes_only_what_is_new) {
    rig g;
    int n;
    open_rig(&g, 0);
    play_all(&g, 0, 90);
    cr_assert_eq(kp_ring_file_save(g.file, NULL), KP_OK);
    uint64_t whole = bytes_from(&g, 0);
    play_all(&g, 0, 5);
    cr_assert_eq(kp_ring_file_save(g.file, NULL), KP_OK);
    const kp_ring_segment *s = kp_ring_file_segments(g.file, &n);
    cr_assert_eq(n, 2);
    cr_expect_eq(s[1].from, 89, "the newest slot again, since its transition came later");
    cr_expect_eq(s[1].to, 95);
    cr_expect(bytes_from(&g, 1) * 5 < whole, "%llu of %llu bytes",
              (unsigned long long)bytes_from(&g, 1), (unsigned long long)whole);
    cr_assert_eq(kp_ring_file_save(g.file, NULL), KP_OK);
    kp_ring_file_segments(g.file, &n);
    cr_expect_eq(n, 2, "nothing was new");
    play_all(&g, 0, 120);
    cr_assert_eq(kp_ring_file_save(g.file, NULL), KP_OK);
    s = kp_ring_file_segments(g.file, &n);
    cr_expect_eq(n, 1, "%d segments; the overwritten ones are not needed", n);
    cr_expect(s[0].from == 111 && s[0].to == 215, "slots %lld to %lld", (long long)s[0].from,
              (long long)s[0].to);
    close_rig(&g);
}

/* A run that went on without its replay has slots of the same numbers again. */
Test(ring_file, a_segment_that_is_there_is_left_alone) {
    rig g, other;
    size_t n;
    open_rig(&g, 0);
    play_all(&g, 0, 90);
    cr_assert_eq(kp_ring_file_save(g.file, NULL), KP_OK);
    open_rig(&other, 0);
    kp_ring_file_close(other.file);
    cr_assert_eq(kp_ring_file_open(&other.file, other.ring, g.folder, NULL), KP_OK);
    other.lane[0].interrupt = 1;
    play_all(&other, 0, 90);
    cr_assert_eq(kp_ring_file_save(other.file, NULL), KP_OK);
    kp_ring_options o = options_of(0);
    for (int i = 0; i < 2; i++) {
        rig *from = i ? &other : &g;
        kp_ring *ring = NULL;
        kp_ring_file *file = NULL;
        kp_err err = { "" };
        cr_assert_eq(kp_ring_open(&ring, &o, NULL), KP_OK);
        cr_assert_eq(kp_ring_file_open(&file, ring, g.folder, NULL), KP_OK);
        const uint8_t *index = kp_ring_file_index(from->file, &n);
        cr_assert_eq(kp_ring_file_load(file, index, n, &err), KP_OK, "%s", err.text);
        expect_equal(i ? "the second" : "the first", from->ring, ring);
        kp_ring_file_close(file);
        kp_ring_close(ring);
    }
    close_rig(&other);
    close_rig(&g);
}

Test(ring_file, a_ring_in_use_goes_back_to_an_older_save) {
    rig g, h;
    kp_err err = { "" };
    size_t n;
    open_rig(&g, 0);
    open_rig(&h, 0);
    play_all(&g, 0, 20);
    play_all(&h, 0, 20);
    cr_assert_eq(kp_ring_file_save(g.file, NULL), KP_OK);
    play_lane then = g.lane[0];
    play_all(&g, 0, 70);
    const uint8_t *index = kp_ring_file_index(g.file, &n);
    cr_assert_eq(kp_ring_file_load(g.file, index, n, &err), KP_OK, "%s", err.text);
    g.lane[0] = then;
    for (int t = 0; t < 4; t++) {
        expect_equal("gone back", h.ring, g.ring);
        play_all(&g, 0, 40);
        play_all(&h, 0, 40);
    }
    close_rig(&g);
    close_rig(&h);
}

static void flip(const char *path) {
    FILE *f = fopen(path, "r+b");
    cr_assert(f && !fseek(f, 60, SEEK_SET));
    int c = fgetc(f);
    fseek(f, 60, SEEK_SET);
    fputc(c ^ 1, f);
    fclose(f);
}

static void shorten(const char *path) {
    struct stat s;
    cr_assert(!stat(path, &s) && !truncate(path, s.st_size - 1));
}

static void drop(const char *path) { cr_assert(!unlink(path)); }

static void swap_in_another(const char *path) { /* a good segment, but not this one */
    char other[KP_PATH];
    uint8_t *bytes;
    size_t n;
    snprintf(other, sizeof other, "%.*s/m000-e00-0000000000-0000000031.zst",
             (int)(strrchr(path, '/') - path), path);
    cr_assert_eq(kp_file_read(other, &bytes, &n, NULL), KP_OK);
    cr_assert_eq(kp_file_write(path, bytes, n, NULL), KP_OK);
    free(bytes);
}

static const struct {
    const char *name;
    void (*harm)(const char *path);
} harms[] = {
    { "one bit", flip },
    { "one byte less", shorten },
    { "missing", drop },
    { "another segment", swap_in_another },
};

Test(ring_file, an_altered_segment_is_found_and_named) {
    for (size_t k = 0; k < KP_COUNT(harms); k++) {
        rig g;
        kp_err err = { "" };
        size_t n;
        int n_segments;
        open_rig(&g, 1);
        play_all(&g, 1, 31);
        cr_assert_eq(kp_ring_file_save(g.file, NULL), KP_OK);
        play_all(&g, 1, 31);
        cr_assert_eq(kp_ring_file_save(g.file, NULL), KP_OK);
        const kp_ring_segment *s = kp_ring_file_segments(g.file, &n_segments);
        char path[KP_PATH], name[64];
        snprintf(name, sizeof name, "%s", s[n_segments - 1].name);
        kp_path_join(path, g.folder, name, NULL);
        harms[k].harm(path);
        const uint8_t *index = kp_ring_file_index(g.file, &n);
        cr_expect_eq(kp_ring_file_load(g.file, index, n, &err), KP_STORAGE, "%s", harms[k].name);
        cr_expect(strstr(err.text, name), "%s: %s", harms[k].name, err.text);
        close_rig(&g);
    }
}

Test(ring_file, an_index_that_does_not_fit_is_refused) {
    rig g, h;
    kp_err err = { "" };
    size_t n;
    open_rig(&g, 0);
    open_rig(&h, 1);
    play_all(&g, 0, 90);
    cr_assert_eq(kp_ring_file_save(g.file, NULL), KP_OK);
    uint8_t copy[4096];
    const uint8_t *index = kp_ring_file_index(g.file, &n);
    cr_assert(n <= sizeof copy);
    memcpy(copy, index, n);
    cr_expect_eq(kp_ring_file_load(h.file, copy, n, &err), KP_BAD_CONFIG, "another ring's index");
    for (size_t cut = 0; cut < n; cut++)
        cr_assert_eq(kp_ring_file_load(g.file, copy, cut, &err), KP_STORAGE, "cut to %zu bytes",
                     cut);
    int64_t head;
    memcpy(&head, copy + 32, sizeof head);
    cr_assert_eq(head, 90, "the index has moved");
    head++;
    memcpy(copy + 32, &head, sizeof head);
    cr_expect_eq(kp_ring_file_load(g.file, copy, n, &err), KP_STORAGE,
                 "a slot that no segment has");
    close_rig(&g);
    close_rig(&h);
}

Test(ring_file, a_full_disk_leaves_nothing_and_the_next_save_has_all) {
    rig g, h;
    kp_err err = { "" };
    char **names = NULL;
    int n_names = 0;
    size_t n;
    open_rig(&g, 1);
    open_rig(&h, 1);
    play_all(&g, 1, 31);
    cr_assert_eq(kp_ring_file_save(g.file, NULL), KP_OK);
    play_all(&g, 1, 60);
    scratch_limit_file_size(700);
    cr_expect_eq(kp_ring_file_save(g.file, &err), KP_STORAGE);
    scratch_limit_file_size(-1);
    cr_expect(strstr(err.text, ".zst: cannot write"), "%s", err.text);
    cr_assert_eq(kp_folder_list(g.folder, &names, &n_names, NULL), KP_OK);
    cr_expect_eq(n_names, 4, "%d files, not those of the first save", n_names);
    free(names);
    cr_assert_eq(kp_ring_file_save(g.file, &err), KP_OK, "%s", err.text);
    kp_ring_file *from = NULL;
    cr_assert_eq(kp_ring_file_open(&from, h.ring, g.folder, NULL), KP_OK);
    const uint8_t *index = kp_ring_file_index(g.file, &n);
    cr_assert_eq(kp_ring_file_load(from, index, n, &err), KP_OK, "%s", err.text);
    expect_equal("after a full disk", g.ring, h.ring);
    kp_ring_file_close(from);
    close_rig(&g);
    close_rig(&h);
}
