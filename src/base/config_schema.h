/* The schema table, and conversion between a key's text and its field. Private to config*.c. */
#ifndef MICROMET_BASE_CONFIG_SCHEMA_H
#define MICROMET_BASE_CONFIG_SCHEMA_H

#include "micromet/base/config.h"
#include "micromet/base/yaml_tree.h"

enum config_kind {
    CONFIG_TEXT,
    CONFIG_PATH, /* made absolute when read, except the words in `choices` */
    CONFIG_BOOL,
    CONFIG_INT,
    CONFIG_INT64,
    CONFIG_UINT64,
    CONFIG_DOUBLE,
    CONFIG_CHOICE,
    /* Up to `capacity` ints or numbers; how many is in the field at `count_offset`. An item below
     * the range stands for none: it and those behind it are not printed. */
    CONFIG_INT_LIST,
    CONFIG_DOUBLE_LIST,
    CONFIG_INT64_PAIR,
    CONFIG_LABELS, /* up to `capacity` struct config_label, with one of `choices` each */
};

struct config_key {
    const char *name; /* "data.tissue.method" */
    enum config_kind kind;
    size_t offset, count_offset;
    size_t capacity;            /* texts: bytes; lists: items */
    double min, max;            /* numbers: inclusive */
    const char *const *choices; /* NULL-terminated */
    const char *initial;        /* as YAML text */
    const char *help;
};

enum { CONFIG_KEYS_MAX = 96, CONFIG_TEXT_MAX = CONFIG_VALUE_MAX };

extern const struct config_key config_keys[];
extern const int config_key_count;

/* Index in config_keys, or -1. */
int config_key_find(const char *name);

/* Whether its value is YAML's list or mapping, rather than a scalar. */
bool config_key_is_list(const struct config_key *key);
/* The mapping of which "data.labels.Tumor" names one pair, and the pair's own name; -1 if none. */
int config_key_find_pair(const char *name, const char **pair);

/* Whether a plain scalar stands for no value: empty, ~, null, or Python's None. */
bool config_is_nothing(const char *text);
/* Store no value: an error, except where the default is empty, too. */
bool config_store_nothing(struct config *config, const struct config_key *key, struct error *err);

/* Parse `text` into a scalar key's field. In paths, ~ and variables are expanded and relative ones
 * joined to `folder`; with "" the path was written by config_write(). Errors begin with the key's
 * name. */
bool config_store(struct config *config, const struct config_key *key, const char *text,
                  const char *folder, struct error *err);
/* The same for item `index` of a list key. */
bool config_store_item(struct config *config, const struct config_key *key, int index,
                       const char *text, struct error *err);
/* Add the pair to a mapping, or give the one of that name, in any case, another word. */
bool config_store_label(struct config *config, const struct config_key *key, const char *name,
                        const char *word, struct error *err);
/* Finish a list of which `count` items were stored. */
bool config_store_count(struct config *config, const struct config_key *key, int count,
                        struct error *err);

/* The kind of value that the key expects, for messages: "an integer". */
const char *config_kind_wants(const struct config_key *key);
/* The same of an item of a list key. */
const char *config_item_wants(const struct config_key *key);

/* The field as YAML; config_store() of the text gives the field back. */
void config_format(const struct config *config, const struct config_key *key,
                   char text[CONFIG_TEXT_MAX]);

/* Where in the file a key was set, for messages about rules between keys. */
struct config_place {
    int line, column; /* 0 = on the command line, or not set */
    bool given;       /* in the file or on the command line */
};

/* Let go of data.levels if nobody gave them and data.um_per_px says what towers see. */
void config_choose_towers(struct config *config, bool levels_given);
/* Fill in values that depend on others ("0 = by optimizer"). `path` is the file's, or NULL. */
void config_resolve(struct config *config, const char *path);
/* Check the rules between keys. On failure *key is the index of the key to report. */
bool config_check(const struct config *config, int *key, struct error *err);

/* What the user may have meant by an unknown key, as "optimizer.learning_rate", "a or b", or a
 * sentence on why there is no such key; "" = no idea. */
enum { SUGGESTION_MAX = 256 };
void config_suggest(const char *name, char suggestion[SUGGESTION_MAX]);

/* Parses YAML text and overrides on top of the values in *config. */
struct config_reader {
    struct config *config;
    struct yaml_source source; /* the file, or whence the override */
    const char *folder;
    struct config_place places[CONFIG_KEYS_MAX];
};
bool config_read_yaml(struct config_reader *reader, const char *yaml, size_t size,
                      struct error *err);
/* Apply "section.key=value". Lists and sections are YAML, other values taken literally. */
bool config_read_override(struct config_reader *reader, const char *override, struct error *err);

#endif
