/* members.c: what a run directory says of its members is what was written, to the bit. */
#include "run/members.h"

#include <criterion/criterion.h>
#include <string.h>

#include "scratch.h"

static char folder[KP_PATH], run[KP_PATH];
static kp_rundir *dir;

static void setup(void) {
    kp_err err = { "" };
    scratch_folder(folder);
    kp_path_join(run, folder, "x", NULL);
    cr_assert_eq(kp_rundir_open(&dir, run, KP_RUNDIR_NEW, &err), KP_OK, "%s", err.text);
}

static void teardown(void) {
    kp_rundir_close(dir);
    kp_folder_remove(folder, NULL);
}

TestSuite(members, .init = setup, .fini = teardown);

static kp_origins origins;

static kp_config load(int n, const char *const *args) {
    kp_config c;
    kp_err err = { "" };
    cr_assert(!kp_config_load(&c, &origins, "dqn-dopamine", n, args, &err), "%s", err.text);
    return c;
}

static int has_files(void) {
    char path[KP_PATH];
    kp_path_join(path, run, "members/0000.yaml", NULL);
    return kp_file_exists(path);
}

/* Writes P members, reads them and expects the same, key by key. */
static void round_trip(const kp_config *member, int P, int want_files) {
    kp_config *got = NULL;
    int n = 0;
    kp_err err = { "" };
    cr_assert_eq(kp_members_write(dir, member, &origins, P, &err), KP_OK, "%s", err.text);
    cr_expect_eq(has_files(), want_files);
    cr_assert_eq(kp_members_read(run, &got, &n, &err), KP_OK, "%s", err.text);
    cr_assert_eq(n, P);
    for (int i = 0; i < P; i++) {
        kp_config want = kp_config_member(&member[i], 0);
        cr_expect_str_eq(got[i].preset, want.preset);
        for (int k = 0; k < kp_n_keys(); k++)
            cr_expect(kp_config_same(&got[i], &want, k), "member %d: %s", i, kp_key_at(k)->key);
    }
    free(got);
}

Test(members, that_differ_by_consecutive_seeds_need_no_files) {
    kp_config head = load(2, (const char *[]){ "seed=7", "population.size=5" }), member[5];
    for (int i = 0; i < 5; i++) member[i] = kp_config_member(&head, i);
    round_trip(member, 5, 0);
    round_trip(member, 1, 0);
    for (int i = 0; i < 5; i++) member[i].population.size = 5; /* whatever their own says */
    round_trip(member, 5, 0);
}

Test(members, that_differ_in_more_have_one_each) {
    kp_config member[4];
    member[0] = load(2, (const char *[]){ "seed=3", "run.name=a" });
    member[1] = load(3, (const char *[]){ "seed=4", "run.name=b", "optim.clip.kappa=2" });
    member[2] = load(3, (const char *[]){ "seed=3", "run.name=c",
                                          "optim.clip.kappa={hidden: 5, output: 1.5}" });
    member[3] = load(3, (const char *[]){ "seed=18446744073709551610", "run.name=\"d, e\"",
                                          "optim.lr=1e-3" });
    round_trip(member, 4, 1);

    kp_config plain[2] = { member[0],
                           member[0] }; /* a start afresh leaves none of the files above */
    plain[1].seed = 4;
    round_trip(plain, 2, 0);
    plain[1].seed = 5;
    round_trip(plain, 2, 1);
}

Test(members, by_the_hundred) {
    enum { P = 300 };
    kp_config *member = calloc(P, sizeof *member), head = load(1, (const char *[]){ "seed=1" });
    for (int i = 0; i < P; i++)
        member[i] = kp_config_member(&head, i), member[i].optim.lr = 1e-6 * (i + 1);
    round_trip(member, P, 1);
    free(member);
}

static void put(const char *name, const char *text) {
    char path[KP_PATH];
    kp_path_join(path, run, name, NULL);
    cr_assert_eq(kp_file_write(path, text, strlen(text), NULL), KP_OK);
}

static void expect_failure(kp_status want, const char *says) {
    kp_config *got = NULL;
    int n = -1;
    kp_err err = { "" };
    cr_expect_eq(kp_members_read(run, &got, &n, &err), want, "%s: %s", says, err.text);
    cr_expect(strstr(err.text, says), "\"%s\" not in: %s", says, err.text);
    cr_expect(!got && n == 0);
}

Test(members, files_that_are_missing_or_say_too_much_are_named) {
    kp_config member[2] = { load(1, (const char *[]){ "seed=3" }),
                            load(1, (const char *[]){ "seed=9" }) };
    char path[KP_PATH];
    kp_err err = { "" };
    expect_failure(KP_STORAGE, "/x/config.yaml: cannot be read");
    cr_assert_eq(kp_members_write(dir, member, &origins, 2, &err), KP_OK, "%s", err.text);
    put("members/0001.yaml", "schema: 1\nbase: dqn-dopamine\nenv.game: qbert\n");
    expect_failure(KP_BAD_CONFIG, "/members/0001.yaml: env.game is qbert, but pong in config.yaml");
    put("members/0001.yaml", "schema: 1\nbase: dqn-dopamine\noptim.lrr: 1\n");
    expect_failure(KP_BAD_CONFIG, "/members/0001.yaml:3: optim.lrr");
    kp_path_join(path, run, "members/0000.yaml", NULL);
    cr_assert(!remove(path));
    expect_failure(KP_STORAGE, "/members/0000.yaml: cannot be read");
}
