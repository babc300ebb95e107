/* settings.h: a YAML file as a flat list of `key: value` with lines.
 *
 *     kp_settings s = { 0 };
 *     st = kp_settings_read(&s, text, "pong.yaml", NULL, &err);
 *     for (int i = 0; i < s.n; i++) ... s.item[i].key, .value, .line
 *     kp_settings_free(&s);
 *
 * `optim: { clip: { kappa: 2 } }` and `optim.clip.kappa: 2` are the same key. Every file has
 * `schema: 1`. */
#pragma once
#include "config.h"

typedef struct {
    char key[96];
    char value[KP_CONFIG_TEXT]; /* as kp_config_set takes it */
    int section;                /* index into `sections`; -1: top level */
    int map;                    /* index into the named maps; -1: in none */
    int element;                /* 0: not in a list; 1, 2, ...: its place; -1: the list is empty */
    int line;                   /* from 1 */
} kp_setting;

typedef struct {
    char name[64];
    int section, line;
} kp_settings_map;

typedef struct {
    kp_setting *item;
    int n, capacity;
    kp_settings_map *map; /* [n_maps] in the order of the file, those without keys too */
    int n_maps;
    char base[512]; /* the file's `base:`; "" if it has none */
    int base_line;
} kp_settings;

/* name: for messages. sections: NULL-ended names of maps at the top level ("set", "grid") outside
 * which no key may stand; "methods.*" holds maps of keys by name. NULL: keys stand at the top level,
 * and lists are errors. Call free in any case. */
kp_status kp_settings_read(kp_settings *settings, const char *text, const char *name,
                           const char *const *sections, kp_err *err);
void kp_settings_free(kp_settings *settings);

/* A whole text file, 0-ended, yours to free; KP_STORAGE. */
kp_status kp_text_read(char **text, const char *path, kp_err *err);
