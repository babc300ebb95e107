/* criterion.h: the part of Criterion that Kappa's tests use, for builds under ThreadSanitizer:
 * Criterion keeps its arena at addresses that TSan has taken, and aborts before the first test.
 * main.c runs the tests, each in a process of its own. */
#pragma once
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    void (*init)(void), (*fini)(void);
    double timeout; /* ctest's serves */
} kp_test_options;

typedef struct kp_test {
    const char *suite, *name;
    void (*run)(void); /* NULL: the options of a suite */
    kp_test_options options;
    struct kp_test *next;
} kp_test;

extern kp_test *kp_tests;
extern int kp_test_failed;

#define KP_REGISTER(id, suite_name, test_name, function, ...)                                      \
    static kp_test id##_test = { suite_name, test_name, function, { __VA_ARGS__ }, NULL };         \
    __attribute__((constructor)) static void id##_register(void) {                                 \
        id##_test.next = kp_tests;                                                                 \
        kp_tests = &id##_test;                                                                     \
    }
#define Test(suite, name, ...)                                                                     \
    static void suite##_##name(void);                                                              \
    KP_REGISTER(suite##_##name, #suite, #name, suite##_##name, __VA_ARGS__)                        \
    static void suite##_##name(void)
#define TestSuite(suite, ...) KP_REGISTER(suite, #suite, "", NULL, __VA_ARGS__)

#define KP_CHECK(condition, text, dies, ...)                                                       \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: %s:", __FILE__, __LINE__, text);                              \
            fprintf(stderr, " " __VA_ARGS__);                                                      \
            fputc('\n', stderr);                                                                   \
            kp_test_failed = 1;                                                                    \
            if (dies) exit(1);                                                                     \
        }                                                                                          \
    } while (0)
#define cr_assert(x, ...)           KP_CHECK(x, #x, 1, __VA_ARGS__)
#define cr_expect(x, ...)           KP_CHECK(x, #x, 0, __VA_ARGS__)
#define cr_assert_eq(a, b, ...)     KP_CHECK((a) == (b), #a " == " #b, 1, __VA_ARGS__)
#define cr_expect_eq(a, b, ...)     KP_CHECK((a) == (b), #a " == " #b, 0, __VA_ARGS__)
#define cr_assert_geq(a, b, ...)    KP_CHECK((a) >= (b), #a " >= " #b, 1, __VA_ARGS__)
#define cr_expect_geq(a, b, ...)    KP_CHECK((a) >= (b), #a " >= " #b, 0, __VA_ARGS__)
#define cr_assert_gt(a, b, ...)     KP_CHECK((a) > (b), #a " > " #b, 1, __VA_ARGS__)
#define cr_expect_gt(a, b, ...)     KP_CHECK((a) > (b), #a " > " #b, 0, __VA_ARGS__)
#define cr_expect_lt(a, b, ...)     KP_CHECK((a) < (b), #a " < " #b, 0, __VA_ARGS__)
#define cr_expect_null(a, ...)      KP_CHECK((a) == NULL, #a " == NULL", 0, __VA_ARGS__)
#define cr_expect_str_eq(a, b, ...) KP_CHECK(!strcmp(a, b), #a " is " #b, 0, __VA_ARGS__)
#define cr_expect_str_neq(a, b, ...) KP_CHECK(strcmp(a, b), #a " is not " #b, 0, __VA_ARGS__)
#define cr_expect_float_eq(a, b, epsilon, ...) KP_CHECK(fabs((a) - (b)) <= (epsilon), #a " ~ " #b, 0, __VA_ARGS__)
#define cr_expect_str_empty(a, ...) KP_CHECK(!*(a), #a " is empty", 0, __VA_ARGS__)
#define cr_assert_str_empty(a, ...) KP_CHECK(!*(a), #a " is empty", 1, __VA_ARGS__)
#define cr_log_info(...)            (fprintf(stderr, __VA_ARGS__), fputc('\n', stderr))
#define cr_skip_test(...)           (cr_log_info("skipped: " __VA_ARGS__), exit(0))
