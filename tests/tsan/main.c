/* main.c: runs the tests of a program built under ThreadSanitizer; see criterion/criterion.h. */
#include <criterion/criterion.h>
#include <sys/wait.h>
#include <unistd.h>

kp_test *kp_tests;
int kp_test_failed;

static const kp_test_options *suite_options(const char *suite) {
    static const kp_test_options none;
    for (const kp_test *t = kp_tests; t; t = t->next)
        if (!t->run && !strcmp(t->suite, suite)) return &t->options;
    return &none;
}

static void run(const kp_test *test) {
    const kp_test_options *suite = suite_options(test->suite);
    if (suite->init) suite->init();
    if (test->options.init) test->options.init();
    test->run();
    if (test->options.fini) test->options.fini();
    if (suite->fini) suite->fini();
    exit(kp_test_failed);
}

int main(void) {
    int n = 0, n_failed = 0;
    for (const kp_test *t = kp_tests; t; t = t->next) {
        if (!t->run) continue;
        fflush(NULL);
        pid_t child = fork();
        if (!child) run(t);
        int status = 1;
        if (child < 0 || waitpid(child, &status, 0) != child || status) {
            fprintf(stderr, "%s::%s: failed (wait status %#x)\n", t->suite, t->name,
                    (unsigned)status);
            n_failed++;
        }
        n++;
    }
    printf("%d tests, %d failed\n", n, n_failed);
    return n_failed || !n;
}
