/* signals.c: the handler only sets a flag; the learner looks at it between updates. */
#include "signals.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>

static _Atomic int stop; /* the signal; lock-free, so that a handler may touch it */

static void on_signal(int number) {
    int none = 0;
    if (!atomic_compare_exchange_strong(&stop, &none, number) && number == SIGINT &&
        none == SIGINT) {
        signal(SIGINT, SIG_DFL); /* blocked until the handler returns, then it ends the process */
        raise(SIGINT);
    }
}

kp_status kp_signals_install(kp_err *err) {
    static const int all[] = { SIGTERM, SIGUSR1, SIGINT };
    struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_RESTART };
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (sigaction(all[i], &action, NULL))
            return kp_fail(err, KP_DEVICE, "cannot install the handler of signal %d: %s", all[i],
                           strerror(errno));
    return KP_OK;
}

int kp_stop_requested(void) { return atomic_load_explicit(&stop, memory_order_relaxed) != 0; }
int kp_stop_signal(void) { return atomic_load(&stop); }
void kp_stop_request(int number) { atomic_store(&stop, number); }
void kp_stop_clear(void) { atomic_store(&stop, 0); }
