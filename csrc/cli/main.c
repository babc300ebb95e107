/* main.c: `kappa COMMAND ...`: finds the command, runs it, prints what went wrong, exits.
 *
 * The exit code is the kp_status: 0 done, 2 usage or configuration, 3 data or ROM, 4 device,
 * 5 non-finite numbers, 6 storage, 85 saved and to be resumed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "kappa/version.h"

static const kp_command *const commands[] = {
    &kp_command_train, &kp_command_sweep,  &kp_command_resume,
    &kp_command_eval,  &kp_command_report, &kp_command_config,
    &kp_command_list,  &kp_command_doctor, &kp_command_bench,
};
enum { N_COMMANDS = sizeof commands / sizeof commands[0] };

int kp_take_flag(int *argc, char **argv, const char *name) {
    for (int i = 0; i < *argc; i++) {
        if (strcmp(argv[i], name)) continue;
        memmove(argv + i, argv + i + 1, (size_t)(*argc - i - 1) * sizeof *argv);
        --*argc;
        return 1;
    }
    return 0;
}

static int is_option(const char *arg, const char *name) {
    size_t n = strlen(name);
    return !strncmp(arg, name, n) && (!arg[n] || arg[n] == '=');
}

kp_status kp_take_option(int *argc, char **argv, const char *name, const char **value,
                         kp_err *err) {
    for (int i = 0; i < *argc; i++) {
        if (!is_option(argv[i], name)) continue;
        const char *after = argv[i] + strlen(name); /* "=VALUE", or nothing */
        int used = *after ? 1 : 2;
        if (i + used > *argc) return kp_fail(err, KP_BAD_CONFIG, "%s needs a value", name);
        *value = *after ? after + 1 : argv[i + 1];
        memmove(argv + i, argv + i + used, (size_t)(*argc - i - used) * sizeof *argv);
        *argc -= used;
        for (; i < *argc; i++)
            if (is_option(argv[i], name))
                return kp_fail(err, KP_BAD_CONFIG, "%s is given twice", name);
        return KP_OK;
    }
    return KP_OK;
}

kp_status kp_no_more_options(int argc, char **argv, const char *command, kp_err *err) {
    for (int i = 0; i < argc; i++)
        if (argv[i][0] == '-' && argv[i][1])
            return kp_fail(err, KP_BAD_CONFIG,
                           "%s is not an option of `kappa %s`; see kappa %s --help", argv[i],
                           command, command);
    return KP_OK;
}

static void usage(FILE *to) {
    fprintf(to, "kappa %s: weight clipping for continual and reinforcement learning\n\n",
            KP_VERSION);
    fprintf(to, "usage: kappa COMMAND ...\n\n");
    for (int i = 0; i < N_COMMANDS; i++)
        fprintf(to, "  %-8s %s\n", commands[i]->name, commands[i]->what);
    fprintf(to, "\nkappa COMMAND --help says more, with an example.\n"
                "exit codes: 0 done, 2 usage or configuration, 3 data or ROM, 4 device or worker,\n"
                "            5 non-finite weights, 6 storage, 85 saved and to be resumed\n");
}

int main(int argc, char **argv) {
    kp_err err = { "" };
    if (argc < 2) {
        usage(stderr);
        return KP_BAD_CONFIG;
    }
    if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help")) {
        usage(stdout);
        return KP_OK;
    }
    if (!strcmp(argv[1], "--version")) {
        printf("kappa %s\n", KP_VERSION);
        return KP_OK;
    }
    for (int i = 0; i < N_COMMANDS; i++) {
        const kp_command *c = commands[i];
        if (strcmp(argv[1], c->name)) continue;
        argc -= 2, argv += 2;
        if (kp_take_flag(&argc, argv, "--help") || kp_take_flag(&argc, argv, "-h")) {
            fputs(c->help, stdout);
            return KP_OK;
        }
        kp_status st = c->run(argc, argv, &err);
        int lost = fflush(stdout) != 0; /* of what did not fit earlier only ferror knows */
        if ((lost || ferror(stdout)) && !st)
            st = kp_fail(&err, KP_STORAGE, "standard output cannot be written");
        if (st && err.text[0]) fprintf(stderr, "kappa: %s\n", err.text);
        return (int)st;
    }
    fprintf(stderr, "kappa: %s is not a command; see kappa --help\n", argv[1]);
    return KP_BAD_CONFIG;
}
