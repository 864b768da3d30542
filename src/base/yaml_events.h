/* libyaml's events, copied and checked. Private to the readers of YAML in this folder. */
#ifndef MICROMET_BASE_YAML_EVENTS_H
#define MICROMET_BASE_YAML_EVENTS_H

#include <yaml.h>

#include "micromet/base/file.h"
#include "micromet/base/yaml_tree.h"

/* A copy of one event, so that error paths have nothing to free. */
struct yaml_node {
    yaml_event_type_t type;
    int line, column;
    bool nothing; /* a plain scalar that stands for no value, as in `data:` */
    char text[PATH_MAX_BYTES];
};

struct yaml_events {
    const struct yaml_source *source;
    yaml_parser_t parser;
};

bool yaml_events_init(struct yaml_events *events, const struct yaml_source *source,
                      const char *yaml, size_t size, struct error *err);
void yaml_events_release(struct yaml_events *events);
bool yaml_events_next(struct yaml_events *events, struct yaml_node *node, struct error *err);
/* The next event is of this type, else an error with the message `otherwise`. */
bool yaml_events_expect(struct yaml_events *events, yaml_event_type_t type, const char *otherwise,
                        struct error *err);

#endif
