/* tensorboard.c: written here, read by read_tfevents.py, which shares nothing with the writer. */
#include "run/tensorboard.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "env/env.h"
#include "scratch.h"

static char folder[KP_PATH], path[KP_PATH];

static void setup(void) {
    scratch_folder(folder);
    kp_path_join(path, folder, "events.out.tfevents.0.kappa", NULL);
}

static void teardown(void) { kp_folder_remove(folder, NULL); }

TestSuite(tensorboard, .init = setup, .fini = teardown);

static void decode(char text[4096]) {
    char command[4096];
    snprintf(command, sizeof command, "'%s' '%s/tests/run/read_tfevents.py' '%s'", kp_env_python(),
             KP_SOURCE_DIR, path);
    FILE *pipe = popen(command, "r");
    cr_assert(pipe, "%s", command);
    size_t n = fread(text, 1, 4095, pipe);
    text[n] = 0;
    cr_assert_eq(pclose(pipe), 0, "%s failed after: %s", command, text);
}

Test(tensorboard, another_decoder_reads_what_was_written) {
    kp_tensorboard *board = NULL;
    kp_err err = { "" };
    char text[4096];
    cr_assert_eq(kp_tensorboard_open(&board, path, KP_TENSORBOARD_NEW, &err), KP_OK, "%s",
                 err.text);
    cr_assert_eq(kp_tensorboard_scalar(board, "return/member 0", 0, -21, &err), KP_OK);
    cr_assert_eq(kp_tensorboard_scalar(board, "return/member 1", 300, 0.1, &err), KP_OK);
    cr_assert_eq(kp_tensorboard_scalar(board, "left out", 300, NAN, &err), KP_OK);
    cr_assert_eq(kp_tensorboard_scalar(board, "weight_l2", INT64_C(10000000000), 1e30, &err),
                 KP_OK);
    cr_assert_eq(kp_tensorboard_flush(board, &err), KP_OK);
    kp_tensorboard_close(board);
    decode(text);
    cr_expect_str_eq(
        text,
        "0 return/member 0 -21\n300 return/member 1 0.100000001\n10000000000 weight_l2 1.00000002e+30\n");
}

Test(tensorboard, resumed_goes_on_after_the_checkpoint) {
    kp_tensorboard *board = NULL;
    int64_t at = 0;
    kp_err err = { "" };
    char text[4096];
    cr_assert_eq(kp_tensorboard_open(&board, path, KP_TENSORBOARD_NEW, &err), KP_OK);
    cr_assert_eq(kp_tensorboard_scalar(board, "a", 1, 1, &err), KP_OK);
    cr_assert_eq(kp_tensorboard_sync(board, &at, &err), KP_OK);
    cr_assert_eq(kp_tensorboard_scalar(board, "a", 2, 2, &err), KP_OK);
    cr_assert_eq(kp_tensorboard_flush(board, &err), KP_OK);
    kp_tensorboard_close(board);
    cr_assert_eq(kp_tensorboard_open(&board, path, at, &err), KP_OK, "%s", err.text);
    cr_assert_eq(kp_tensorboard_scalar(board, "a", 200, 3, &err), KP_OK);
    cr_assert_eq(kp_tensorboard_flush(board, &err), KP_OK);
    kp_tensorboard_close(board);
    decode(text);
    cr_expect_str_eq(text, "1 a 1\n200 a 3\n");
}
