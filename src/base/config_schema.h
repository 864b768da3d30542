/* The schema table and the way between a key's text and its field; private to config*.c. */
#ifndef MICROMET_BASE_CONFIG_SCHEMA_H
#define MICROMET_BASE_CONFIG_SCHEMA_H

#include "micromet/base/config.h"

enum config_kind {
    CONFIG_TEXT,
    CONFIG_PATH, /* made absolute when it is read, but for the words in `choices` */
    CONFIG_BOOL,
    CONFIG_INT,
    CONFIG_INT64,
    CONFIG_UINT64,
    CONFIG_DOUBLE,
    CONFIG_CHOICE,
    CONFIG_INT_LIST, /* 1 to `capacity` ints, their number in the field at `count_offset` */
    CONFIG_INT64_PAIR,
};

struct config_key {
    const char *name; /* "data.tissue.method" */
    enum config_kind kind;
    size_t offset, count_offset;
    size_t capacity;            /* texts: bytes; lists: items */
    double min, max;            /* numbers: inclusive */
    const char *const *choices; /* NULL-terminated */
    const char *initial;        /* as it would be written in YAML */
    const char *help;
};

enum { CONFIG_KEYS_MAX = 96, CONFIG_TEXT_MAX = 6 * PATH_MAX_BYTES };

extern const struct config_key config_keys[];
extern const int config_key_count;

/* Index in config_keys, or -1. */
int config_key_find(const char *name);

bool config_key_is_list(const struct config_key *key);

/* Read `text` into a scalar key's field. Relative paths are put behind `folder`; "" leaves them
 * alone. Errors begin with the key's name. */
bool config_store(struct config *config, const struct config_key *key, const char *text,
                  const char *folder, struct error *err);
/* The same for item `index` of a list key. */
bool config_store_item(struct config *config, const struct config_key *key, int index,
                       const char *text, struct error *err);
/* Say that the list is complete: `count` items were stored. */
bool config_store_count(struct config *config, const struct config_key *key, int count,
                        struct error *err);

/* What the key wants, for messages: "an integer". */
const char *config_kind_wants(const struct config_key *key);

/* The field as YAML; config_store() of the text gives the field back. */
void config_format(const struct config *config, const struct config_key *key,
                   char text[CONFIG_TEXT_MAX]);

/* Where each key was set, for messages of rules that concern several keys. */
struct config_place {
    int line, column; /* 0 = on the command line, or not at all */
};

/* Values that depend on others ("0 = by optimizer"), then the rules between keys. */
void config_resolve(struct config *config, const char *path);
/* *key is the one to be blamed. */
bool config_check(const struct config *config, int *key, struct error *err);

/* Read YAML text over what is in *config. `name` is for messages; `folder` is where
 * relative paths start. */
struct config_reader {
    struct config *config;
    const char *name; /* NULL = an override on the command line */
    const char *folder;
    struct config_place places[CONFIG_KEYS_MAX];
};
bool config_read_yaml(struct config_reader *reader, const char *yaml, size_t size,
                      struct error *err);
/* "section.key=value"; lists and sections are YAML, other values are taken as they stand. */
bool config_read_override(struct config_reader *reader, const char *override, struct error *err);

#endif
