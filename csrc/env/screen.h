/* screen.h: two screens of palette bytes to one 84x84 observation, equal to OpenCV's INTER_AREA. */
#pragma once
#include "env.h"

enum { KP_SCREEN_WIDTH = 160, KP_SCREEN_MAX_HEIGHT = 250 };

typedef struct kp_screen kp_screen;

/* height: of the game's screens, 84 .. KP_SCREEN_MAX_HEIGHT. KP_BAD_CONFIG: out of memory. */
kp_status kp_screen_open(kp_screen **screen, kp_preprocess preprocess, int height, kp_err *err);

/*   a, b  [height][160] palette bytes (even)   third  the same, or NULL   out  [84][84]. Allocates nothing. */
void kp_screen_observe(kp_screen *screen, const uint8_t *a, const uint8_t *b, const uint8_t *third,
                       uint8_t *out);
void kp_screen_close(kp_screen *screen); /* NULL is fine */
