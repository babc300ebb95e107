/* config.c: the layers of a configuration, and the rules between keys. */
#include "config.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/data.h"
#include "kappa/choices.h"
#include "settings.h"

enum { MAX_DEPTH = 8, MAX_WIDTHS = 7, MOST_TASKS = 1 << 30 };

static const kp_preset *find_preset(const char *name) {
    for (int i = 0; i < kp_n_presets(); i++)
        if (!strcmp(kp_preset_at(i)->name, name)) return kp_preset_at(i);
    return NULL;
}

void kp_config_defaults(kp_config *config, kp_origins *origins) {
    memset(config, 0, sizeof *config);
    if (origins) memset(origins, 0, sizeof *origins);
    for (int i = 0; i < kp_n_keys(); i++)
        if (kp_config_set(config, origins, kp_key_at(i)->key, kp_key_at(i)->standard, "default",
                          NULL))
            abort();
}

static kp_status apply_named(kp_config *c, kp_origins *o, const char *name, const char *from,
                             int depth, kp_err *err);

/* where: NULL where the place is not known. */
static kp_status check_use(const kp_config *c, const char *key, const char *where, kp_err *err) {
    if (kp_key_is_of(key, c->algorithm)) return KP_OK;
    return kp_fail(err, KP_BAD_CONFIG, "%s%s%s is a setting of %s, and the algorithm here is %s",
                   where ? where : "", where ? ": " : "", key,
                   kp_algorithm_name(kp_key_algorithm(key)), kp_algorithm_name(c->algorithm));
}

/* label: for messages, origins and relative bases. Origins in presets name no line. */
static kp_status apply_text(kp_config *c, kp_origins *o, const char *text, const char *label,
                            int is_preset, int depth, kp_err *err) {
    kp_settings s = { 0 };
    kp_status st = kp_settings_read(&s, text, label, NULL, err);
    if (st) goto out;
    if (*s.base) {
        st = apply_named(c, o, s.base, is_preset ? NULL : label, depth + 1, err);
        if (st && depth < MAX_DEPTH) {
            kp_err_prefix(err, "%s:%d: base: ", label, s.base_line);
            goto out;
        }
    }
    for (int i = 0; i < s.n && !st; i++) {
        char where[256];
        if (is_preset) snprintf(where, sizeof where, "%s", label);
        else snprintf(where, sizeof where, "%s:%d", label, s.item[i].line);
        st = kp_config_set(c, o, s.item[i].key, s.item[i].value, where, err);
    }
    for (int i = 0; i < s.n && !st; i++) { /* now that the file's algorithm is known */
        char where[256];
        snprintf(where, sizeof where, "%s:%d", label, s.item[i].line);
        st = check_use(c, s.item[i].key, where, err);
    }
out:
    kp_settings_free(&s);
    return st;
}

static kp_status apply_file(kp_config *c, kp_origins *o, const char *path, int depth, kp_err *err) {
    char *text = NULL;
    kp_status st = kp_text_read(&text, path, err);
    if (!st) st = apply_text(c, o, text, path, 0, depth, err);
    free(text);
    return st;
}

static kp_status fail_unknown(const char *name, kp_err *err) {
    char list[384] = "";
    for (int i = 0; i < kp_n_presets(); i++) {
        size_t n = strlen(list);
        snprintf(list + n, sizeof list - n, "%s%s", i ? ", " : "", kp_preset_at(i)->name);
    }
    return kp_fail(err, KP_BAD_CONFIG, "%s is neither a preset (%s) nor a file (NAME.yaml)", name,
                   list);
}

/* A preset, or a file beside `from`. A name with a slash or a dot is a file. */
static kp_status apply_named(kp_config *c, kp_origins *o, const char *name, const char *from,
                             int depth, kp_err *err) {
    const kp_preset *preset = find_preset(name);
    if (depth > MAX_DEPTH)
        return kp_fail(
            err, KP_BAD_CONFIG,
            "%s: more than %d files based on each other; does one base itself on its own?", name,
            MAX_DEPTH);
    if (preset) {
        char label[80];
        snprintf(label, sizeof label, "preset %s", name);
        kp_status st = apply_text(c, o, preset->text, label, 1, depth, err);
        memset(c->preset, 0, sizeof c->preset);
        snprintf(c->preset, sizeof c->preset, "%s", name);
        return st;
    }
    if (!strpbrk(name, "/.")) return fail_unknown(name, err);
    char path[1024];
    const char *slash = from && *name != '/' ? strrchr(from, '/') : NULL;
    snprintf(path, sizeof path, "%.*s%s", slash ? (int)(slash - from + 1) : 0, slash ? from : "",
             name);
    return apply_file(c, o, path, depth, err);
}

kp_status kp_config_layer(kp_config *config, kp_origins *origins, const char *preset_or_file,
                          const char *from, kp_err *err) {
    kp_config_defaults(config, origins);
    return preset_or_file ? apply_named(config, origins, preset_or_file, from, 0, err) : KP_OK;
}

/* key=value; *value: the rest of arg. */
static kp_status split_arg(char key[96], const char **value, const char *arg, kp_err *err) {
    size_t length = strcspn(arg, "=");
    if (!arg[length] || !length || length >= 96)
        return kp_fail(err, KP_BAD_CONFIG,
                       "command line: %s: expected key=value, such as optim.clip.kappa=2", arg);
    memcpy(key, arg, length);
    key[length] = 0;
    *value = arg + length + 1;
    return KP_OK;
}

kp_status kp_config_load(kp_config *config, kp_origins *origins, const char *preset_or_file, int n,
                         const char *const *args, kp_err *err) {
    kp_config c;
    kp_origins o;
    char key[96];
    const char *value = "";
    kp_status st = kp_config_layer(&c, &o, preset_or_file, NULL, err);
    for (int i = 0; i < n && !st; i++) {
        st = split_arg(key, &value, args[i], err);
        if (!st) st = kp_config_set(&c, &o, key, value, "command line", err);
    }
    for (int i = 0; i < n && !st; i++) {
        st = split_arg(key, &value, args[i], err);
        if (!st) st = check_use(&c, key, "command line", err);
    }
    if (!st) st = kp_config_check(&c, err);
    if (st) return st;
    *config = c;
    if (origins) *origins = o;
    return KP_OK;
}

kp_status kp_config_from_text(kp_config *config, kp_origins *origins, const char *text,
                              const char *name, kp_err *err) {
    kp_config c;
    kp_origins o;
    kp_config_defaults(&c, &o);
    kp_status st = apply_text(&c, &o, text, name, 0, 0, err);
    if (!st) st = kp_config_check(&c, err);
    if (st) return st;
    *config = c;
    if (origins) *origins = o;
    return KP_OK;
}

static int is_device(const char *d) {
    if (!strcmp(d, "auto") || !strcmp(d, "cpu") || !strcmp(d, "cuda")) return 1;
    size_t digits = !strncmp(d, "cuda:", 5) ? strspn(d + 5, "0123456789") : 0;
    return digits > 0 && digits < 4 && !d[5 + digits];
}

static kp_status check_dqn(const kp_config *c, kp_err *err) {
    int64_t held = c->buffer.transitions, first = c->buffer.min_transitions;
    if (!*c->env.game)
        return kp_fail(err, KP_BAD_CONFIG, "env.game: name a game; kappa list games has them all");
    if (first > held)
        return kp_fail(err, KP_BAD_CONFIG,
                       "buffer.min_transitions is %" PRId64
                       ", more than buffer.transitions, %" PRId64
                       ": the first update would never come",
                       first, held);
    if (first < c->dqn.batch)
        return kp_fail(err, KP_BAD_CONFIG,
                       "buffer.min_transitions is %" PRId64 ", less than dqn.batch, %d", first,
                       c->dqn.batch);
    if (held / c->env.count < c->dqn.n_step + c->env.stack)
        return kp_fail(err, KP_BAD_CONFIG,
                       "buffer.transitions is %" PRId64 ": each of %d environments needs %d, "
                       "dqn.n_step + env.stack",
                       held, c->env.count, c->dqn.n_step + c->env.stack);
    if (first > c->train.agent_steps)
        return kp_fail(err, KP_BAD_CONFIG,
                       "train.agent_steps is %" PRId64
                       ": training would end before its first update "
                       "(buffer.min_transitions is %" PRId64 ")",
                       c->train.agent_steps, first);
    return KP_OK;
}

int kp_config_widths(const char *widths, int *width, int most) {
    const char *at = widths;
    for (int n = 0; n < most; at++) {
        int end = 0;
        if (*at < '1' || *at > '9' || sscanf(at, "%5d%n", &width[n++], &end) != 1) return 0;
        at += end;
        if (!*at) return n;
        if (*at != '-') return 0;
    }
    return 0;
}

static kp_status check_stream(const kp_config *c, kp_err *err) {
    int width[MAX_WIDTHS];
    if (!kp_config_widths(c->net.widths, width, MAX_WIDTHS))
        return kp_fail(err, KP_BAD_CONFIG,
                       "net.widths: seen '%s', expected units of 1 to %d hidden layers, such as "
                       "300-150, each at most 99999",
                       c->net.widths, MAX_WIDTHS);
    int known = 0;
    for (int i = 0; i < kp_n_data_sets(); i++)
        known |= !strcmp(kp_data_set_at(i)->name, c->data.set);
    if (!known)
        return kp_fail(err, KP_BAD_CONFIG,
                       "data.set: %s is not known; kappa list data has them all", c->data.set);
    if (!strcmp(c->data.set, "custom") && !*c->data.dir)
        return kp_fail(err, KP_BAD_CONFIG,
                       "data.set is custom: say in data.dir where its files are");
    if (*c->data.permutations && c->stream.problem == KP_PROBLEM_STATIONARY)
        return kp_fail(err, KP_BAD_CONFIG,
                       "data.permutations: a stationary stream (stream.problem) permutes nothing");
    if (c->optim.rule == KP_RULE_MADAM && (c->optim.cbp.rate > 0 || c->optim.redo.every > 0))
        return kp_fail(err, KP_BAD_CONFIG,
                       "optim.rule: madam multiplies weights, so it could not use a unit of %s, "
                       "whose outgoing weights begin at 0",
                       c->optim.cbp.rate > 0 ? "optim.cbp.rate" : "optim.redo.every");
    if (c->train.samples / c->stream.task_samples > MOST_TASKS)
        return kp_fail(err, KP_BAD_CONFIG,
                       "stream.task_samples is %" PRId64 ": more than %d tasks in %" PRId64
                       " samples",
                       c->stream.task_samples, MOST_TASKS, c->train.samples);
    return KP_OK;
}

/* A setting that the rule does not have would be ignored in silence. */
static kp_status check_rule(const kp_config *c, kp_err *err) {
    const int rule = c->optim.rule;
    char name[KP_CONFIG_TEXT];
    kp_config_get(c, kp_key_find("optim.rule"), name);
    if (c->optim.weight_decay != 0 && (rule == KP_RULE_ADAM || rule == KP_RULE_MADAM))
        return kp_fail(err, KP_BAD_CONFIG,
                       "optim.weight_decay is %g, and optim.rule %s has none: set optim.l2%s",
                       c->optim.weight_decay, name,
                       rule == KP_RULE_ADAM ? ", or optim.rule=adamw" : "");
    if (c->optim.momentum != 0 && rule != KP_RULE_SGD)
        return kp_fail(err, KP_BAD_CONFIG,
                       "optim.momentum is %g, and optim.rule %s has none: it is of sgd",
                       c->optim.momentum, name);
    if (c->optim.centered && rule != KP_RULE_RMSPROP)
        return kp_fail(err, KP_BAD_CONFIG,
                       "optim.centered is true, and optim.rule is %s: it is of rmsprop", name);
    return KP_OK;
}

kp_status kp_config_check(const kp_config *c, kp_err *err) {
    static kp_status (*const check[KP_N_ALGORITHMS])(const kp_config *c, kp_err *err) = {
        [KP_ALGORITHM_DQN] = check_dqn, [KP_ALGORITHM_STREAM] = check_stream
    };
    if (!is_device(c->device))
        return kp_fail(err, KP_BAD_CONFIG, "device: seen '%s', expected auto, cpu, cuda or cuda:N",
                       c->device);
    kp_status st = check[c->algorithm](c, err);
    kp_config standard;
    kp_config_defaults(&standard, NULL);
    for (int i = 0; !st && i < kp_n_keys(); i++)
        if (!kp_config_same(c, &standard, i)) st = check_use(c, kp_key_at(i)->key, NULL, err);
    if (!st) st = check_rule(c, err);
    if (st) return st;
    if (c->optim.clip.once && c->optim.clip.at < 1)
        return kp_fail(
            err, KP_BAD_CONFIG,
            "optim.clip.when is once: say after which update in optim.clip.at (1 or later)");
    if (c->seed > UINT64_MAX - (uint64_t)c->population.size)
        return kp_fail(err, KP_BAD_CONFIG,
                       "seed is %" PRIu64 ": no room for the seeds of %d members after it", c->seed,
                       c->population.size);
    return KP_OK;
}

kp_config kp_config_member(const kp_config *config, int i) {
    kp_config c = *config;
    c.seed = config->seed + (uint64_t)i;
    c.population.size = 1;
    return c;
}

void kp_config_name(const kp_config *c, char *name, size_t size) {
    char kappa[32], seeds[64];
    if (*c->run.name) {
        snprintf(name, size, "%s", c->run.name);
        return;
    }
    if (c->optim.clip.n_named) snprintf(kappa, sizeof kappa, "by-name");
    else if (isinf(c->optim.clip.kappa)) snprintf(kappa, sizeof kappa, "none");
    else snprintf(kappa, sizeof kappa, "%g", c->optim.clip.kappa);
    int n = snprintf(seeds, sizeof seeds, "%" PRIu64, c->seed);
    if (c->population.size > 1)
        snprintf(seeds + n, sizeof seeds - (size_t)n, "-%" PRIu64,
                 c->seed + (uint64_t)c->population.size - 1);
    if (c->algorithm == KP_ALGORITHM_STREAM) {
        char problem[KP_CONFIG_TEXT], rule[KP_CONFIG_TEXT];
        kp_config_get(c, kp_key_find("stream.problem"), problem);
        kp_config_get(c, kp_key_find("optim.rule"), rule);
        snprintf(name, size, "%s-%s-%s-kappa%s-s%s", problem, c->data.set, rule, kappa, seeds);
        return;
    }
    snprintf(name, size, "%s-%s-kappa%s-s%s", *c->preset ? c->preset : "dqn", c->env.game, kappa,
             seeds);
}
