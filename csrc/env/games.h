/* games.h: the games that can be played, and the ROMs that ale-py 0.12.1 ships for them. */
#pragma once
#include <stddef.h>

#include "kappa/status.h"

typedef struct { const char *name, *md5; } kp_game;

int kp_games_n(void);
const kp_game *kp_games_at(int i);

/* *game: its row. KP_BAD_CONFIG for an unknown game, with the nearest name. */
kp_status kp_game_find(const char *name, const kp_game **game, kp_err *err);

/* Looks for dir/name.bin and checks its MD5; its path goes to path[size]. KP_BAD_DATA: missing or altered. */
kp_status kp_game_rom_check(const char *name, const char *dir, char *path, size_t size, kp_err *err);

/* The folder of the ROMs inside the ale_py wheel of this interpreter. KP_DEVICE: no ale_py. */
kp_status kp_game_rom_dir(const char *python, char *dir, size_t size, kp_err *err);
