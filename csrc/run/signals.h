/* signals.h: SIGTERM, SIGUSR1 and SIGINT ask the run to save and stop; a second SIGINT ends it at once. */
#pragma once
#include "kappa/status.h"

/* Once, by the program, before it starts threads. System calls go on after a signal. */
kp_status kp_signals_install(kp_err *err);

/* 1 after a signal, or after kp_stop_request. */
int kp_stop_requested(void);
int kp_stop_signal(void); /* which it was, 0 if none */

void kp_stop_request(int signal); /* as if it had come */
void kp_stop_clear(void);
