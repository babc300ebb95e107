/* signals.c: in processes of their own, since a handler belongs to the process. */
#include "run/signals.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static const struct {
    const char *name;
    int sent[3];
    int want; /* exit code; below 0: killed by that signal */
} cases[] = {
    { "SIGTERM asks to stop", { SIGTERM }, SIGTERM },
    { "SIGUSR1 asks to stop", { SIGUSR1 }, SIGUSR1 },
    { "SIGINT asks to stop", { SIGINT }, SIGINT },
    { "a second SIGINT ends the process", { SIGINT, SIGINT }, -SIGINT },
    { "SIGTERM twice still saves", { SIGTERM, SIGTERM }, SIGTERM },
    { "one SIGINT after SIGTERM still saves", { SIGTERM, SIGINT }, SIGTERM },
};

Test(signals, ask_or_end) {
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        pid_t child = fork();
        if (child == 0) {
            if (kp_signals_install(NULL) || kp_stop_requested()) _exit(100);
            for (int k = 0; k < 3 && cases[i].sent[k]; k++) raise(cases[i].sent[k]);
            _exit(kp_stop_requested() ? kp_stop_signal() : 101);
        }
        int status;
        waitpid(child, &status, 0);
        int got = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
        cr_expect_eq(got, cases[i].want, "%s: %d, not %d", cases[i].name, got, cases[i].want);
    }
}

Test(signals, a_read_goes_on_after_a_signal) {
    int up[2], down[2], status;
    char byte = 0;
    cr_assert(!pipe(up) && !pipe(down));
    pid_t child = fork();
    if (child == 0) {
        if (kp_signals_install(NULL) || write(up[1], "r", 1) != 1) _exit(100);
        _exit(read(down[0], &byte, 1) == 1 && byte == 'd' && kp_stop_requested() ? 0 : 101);
    }
    cr_assert(read(up[0], &byte, 1) == 1);
    usleep(50000); /* most likely it reads by now */
    cr_assert(!kill(child, SIGUSR1));
    usleep(50000);
    cr_assert(write(down[1], "d", 1) == 1);
    waitpid(child, &status, 0);
    cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

Test(signals, a_request_can_be_made_and_cleared) {
    kp_stop_request(SIGTERM);
    cr_expect(kp_stop_requested());
    kp_stop_clear();
    cr_expect(!kp_stop_requested());
}
