/* config.c: `kappa config`. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "config/config.h"

static const char reference_head[] =
    "# Configuration\n\n"
    "Every key, in the order in which `kappa config CONFIG` prints them. A file has `schema: 1` and may have\n"
    "`base:`, a preset or another file. `optim: { clip: { kappa: 2 } }` and `optim.clip.kappa: 2` are the same.\n"
    "Each layer is over the one before: defaults, preset, the file's `base:`, the file, `key=value`.\n\n"
    "Runs of a study that differ only where \"members may differ\" train as one population.\n\n"
    "<!-- written by: kappa config --reference > docs/configuration.md -->\n\n";

static kp_status run(int argc, char **argv, kp_err *err) {
    int explain = kp_take_flag(&argc, argv, "--explain"),
        reference = kp_take_flag(&argc, argv, "--reference");
    char *text = NULL;
    kp_config config;
    kp_origins origins;
    kp_status st = kp_no_more_options(argc, argv, "config", err);
    if (st) return st;
    if (reference && (explain || argc))
        return kp_fail(err, KP_BAD_CONFIG,
                       "config: --reference is about every key; it takes nothing beside it");
    if (!reference && (!argc || strchr(argv[0], '=')))
        return kp_fail(err, KP_BAD_CONFIG,
                       "config: name a preset or a file first, such as dqn-dopamine; "
                       "kappa list presets has them");
    if (!reference)
        st = kp_config_load(&config, &origins, argv[0], argc - 1, (const char *const *)argv + 1,
                            err);
    if (!st)
        st = reference ? kp_config_reference(&text, err)
             : explain ? kp_config_explain(&config, &origins, &text, err)
                       : kp_config_write(&config, &origins, &text, err);
    if (!st) printf("%s%s", reference ? reference_head : "", text);
    free(text);
    return st;
}

const kp_command kp_command_config = {
    .name = "config",
    .what = "show the resolved configuration, and where each value comes from",
    .run = run,
    .help = "usage: kappa config CONFIG [key=value ...] [--explain]\n"
            "       kappa config --reference\n\n"
            "  CONFIG       a preset (kappa list presets) or a YAML file\n"
            "  --explain    also what each key means, what it takes, its unit and its default\n"
            "  --reference  every key as a table in Markdown\n\n"
            "What it prints is a configuration again: it can be saved, changed and trained.\n\n"
            "example: kappa config dqn-dopamine env.game=qbert optim.clip.kappa=2 --explain\n",
};
