/* gif.h: an animated GIF of a game, written frame by frame beside its path and put there when whole. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "kappa/status.h"

typedef struct kp_gif kp_gif;

/* Screens are [height][width] bytes, colour palette[byte / 2] (128 of 0xRRGGBB), shown twice as wide, for
 * `seconds` each, rounded so that the whole keeps time (a GIF counts in 0.01 s). KP_STORAGE where the file
 * cannot be made, or something that is no file is there. */
kp_status kp_gif_open(kp_gif **gif, const char *path, int width, int height, const uint32_t *palette, double seconds,
                      kp_err *err);
kp_status kp_gif_frame(kp_gif *gif, const uint8_t *screen, kp_err *err);
int kp_gif_frames(const kp_gif *gif);

/* The file appears at its path. Ends gif, whatever comes of it; on failure no file is left. */
kp_status kp_gif_finish(kp_gif *gif, kp_err *err);
void kp_gif_abandon(kp_gif *gif); /* instead of finish; NULL is fine */
