/* rom.h: a game's ROM from the pinned wheel, whole or with one bit turned. */
#pragma once
#include <criterion/criterion.h>
#include <stdlib.h>

#include "base/files.h"
#include "env/games.h"

static inline void rom_copy(const char *game, const char *to, int is_altered) {
    char wheel[900], from[1024];
    uint8_t *bytes = NULL;
    size_t n;
    kp_err err = { "" };
    cr_assert_eq(kp_game_rom_dir(KP_TEST_PYTHON, wheel, sizeof wheel, &err), KP_OK, "%s", err.text);
    cr_assert_eq(kp_game_rom_check(game, wheel, from, sizeof from, &err), KP_OK, "%s", err.text);
    cr_assert_eq(kp_file_read(from, &bytes, &n, &err), KP_OK, "%s", err.text);
    if (is_altered) bytes[n / 2] ^= 1;
    cr_assert_eq(kp_file_write(to, bytes, n, &err), KP_OK, "%s", err.text);
    free(bytes);
}
