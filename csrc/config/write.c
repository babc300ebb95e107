/* write.c: configurations and the schema as text. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"

/* Strings need quotes unless they are plain words; quoted, \ and " are escaped. */
static void put_value(FILE *f, const kp_key *k, const char *text) {
    if (k->type != KP_KEY_STRING ||
        (*text && isalnum((unsigned char)*text) &&
         strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._/-") ==
             strlen(text))) {
        fputs(text, f);
        return;
    }
    fputc('"', f);
    for (; *text; text++) {
        if (*text == '"' || *text == '\\') fputc('\\', f);
        fputc(*text, f);
    }
    fputc('"', f);
}

/* Opens the maps that lead to key and are not open yet; returns the key's own indentation. */
static int put_groups(FILE *f, const char *key, const char *before) {
    size_t same = 0; /* length of the shared groups, up to and with their dot */
    for (size_t i = 0; before[i] && before[i] == key[i]; i++)
        if (key[i] == '.') same = i + 1;
    int depth = 0;
    for (const char *word = key, *dot; (dot = strchr(word, '.')); word = dot + 1, depth++)
        if ((size_t)(dot - key) >= same)
            fprintf(f, "%*s%.*s:\n", 2 * depth, "", (int)(dot - word), word);
    return depth;
}

static void put_config(FILE *f, const kp_config *c, const kp_origins *o, int explain) {
    const char *before = "";
    fprintf(f, "schema: 1\n");
    if (*c->preset) fprintf(f, "base: %s\n", c->preset);
    for (int i = 0; i < kp_n_keys(); i++) {
        const kp_key *k = kp_key_at(i);
        const char *dot = strrchr(k->key, '.');
        char text[KP_CONFIG_TEXT], want[256];
        if (!kp_key_is_of(k->key, c->algorithm)) continue;
        int depth = put_groups(f, k->key, before);
        if (explain) {
            kp_key_expected(k, want, sizeof want);
            fprintf(f, "%*s# %s\n%*s# %s%s%s; default %s\n", 2 * depth, "", k->help, 2 * depth, "",
                    want, *k->unit ? ", in " : "", k->unit, *k->standard ? k->standard : "empty");
        }
        kp_config_get(c, i, text);
        fprintf(f, "%*s%s: ", 2 * depth, "", dot ? dot + 1 : k->key);
        put_value(f, k, text);
        fprintf(f, "  # %s\n", o ? o->text[i] : "unknown");
        before = k->key;
    }
}

static kp_status finish(FILE *f, char **text, char **bytes, kp_err *err) {
    int failed = !f || ferror(f);
    if (f && fclose(f)) failed = 1;
    if (failed) {
        free(*bytes);
        return kp_fail(err, KP_BAD_CONFIG, "configuration: out of memory");
    }
    *text = *bytes;
    return KP_OK;
}

static kp_status write_config(const kp_config *c, const kp_origins *o, int explain, char **text,
                              kp_err *err) {
    char *bytes = NULL;
    size_t n;
    FILE *f = open_memstream(&bytes, &n);
    if (f) put_config(f, c, o, explain);
    return finish(f, text, &bytes, err);
}

kp_status kp_config_write(const kp_config *config, const kp_origins *origins, char **text,
                          kp_err *err) {
    return write_config(config, origins, 0, text, err);
}

kp_status kp_config_explain(const kp_config *config, const kp_origins *origins, char **text,
                            kp_err *err) {
    return write_config(config, origins, 1, text, err);
}

/* A bar would end the table's cell. */
static void put_cell(FILE *f, const char *text) {
    for (; *text; text++) {
        if (*text == '|') fputs(", ", f);
        else fputc(*text, f);
    }
}

kp_status kp_config_reference(char **text, kp_err *err) {
    char *bytes = NULL, want[256];
    size_t n;
    FILE *f = open_memstream(&bytes, &n);
    if (f) fputs("| key | value | default | unit | meaning |\n|---|---|---|---|---|\n", f);
    for (int i = 0; f && i < kp_n_keys(); i++) {
        const kp_key *k = kp_key_at(i);
        kp_key_expected(k, want, sizeof want);
        fprintf(f, "| `%s` | ", k->key);
        put_cell(f, want);
        fprintf(f, " | %s | ", *k->standard ? k->standard : "(empty)");
        put_cell(f, k->unit);
        fputs(" | ", f);
        put_cell(f, k->help);
        int of = kp_key_algorithm(k->key);
        if (of >= 0) fprintf(f, " Of %s alone.", kp_algorithm_name(of));
        fputs(k->per_member ? " Members may differ. |\n" : " |\n", f);
    }
    return finish(f, text, &bytes, err);
}
