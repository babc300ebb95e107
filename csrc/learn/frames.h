/* frames.h: a ring's frames where programs can read them. */
#pragma once
#include "backend/mirror.h"
#include "replay/ring.h"

typedef struct kp_frames kp_frames;

/* ring: borrowed. what: for messages. */
kp_status kp_frames_open(kp_frames **frames, kp_backend *backend, kp_ring *ring, const char *what,
                         kp_err *err);

const uint8_t *kp_frames_memory(const kp_frames *frames); /* for gather_stack; backend memory */
const char *kp_frames_where(const kp_frames *frames);

/* Before frames are added to the ring. */
kp_status kp_frames_await(kp_frames *frames, kp_err *err);

/* After frames were added to the ring, before a program reads them. */
kp_status kp_frames_refresh(kp_frames *frames, kp_err *err);

void kp_frames_close(kp_frames *frames); /* NULL is fine; before the ring and the backend */
