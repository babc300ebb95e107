/* cli.h: the commands of `kappa`. A command is one file and one row of the table in main.c. */
#pragma once
#include "config/config.h"

typedef struct {
    const char *name;
    const char *what; /* one line */
    const char *help; /* the whole of `kappa NAME --help`, with an example */
    kp_status (*run)(int argc, char **argv, kp_err *err); /* argv[0]: the first argument after the name */
} kp_command;

extern const kp_command kp_command_train, kp_command_sweep, kp_command_resume, kp_command_eval,
    kp_command_report, kp_command_bench, kp_command_list, kp_command_doctor, kp_command_config;

/* kp_train and kp_train_resume with progress on the terminal: for train, resume and sweep. */
kp_status kp_show_train(const char *dir, const kp_config *member, int P, const kp_origins *origins, kp_err *err);
kp_status kp_show_resume(const char *dir, int n, const char *const *args, kp_err *err);

/* Takes the option `name` ("--json") out of argv; 1 if it was there. */
int kp_take_flag(int *argc, char **argv, const char *name);

/* Takes `name VALUE` or `name=VALUE` out of argv. *value stays as it is where the option is absent;
 * KP_BAD_CONFIG where its value is. */
kp_status kp_take_option(int *argc, char **argv, const char *name, const char **value, kp_err *err);

/* KP_BAD_CONFIG if an argument beginning with '-' is left over, naming it. */
kp_status kp_no_more_options(int argc, char **argv, const char *command, kp_err *err);
