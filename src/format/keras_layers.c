/* Where Keras 3 saved which layer, by repeating its numbering. The variables of a model's layers
 * are under "layers/", each layer under its class name in snake case; in the order of config.json,
 * the second layer of a class gets the suffix _1, and so on. A model among the layers has a
 * "layers/" of its own. */
#include "keras_layers.h"

#include <ctype.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PLACE_BYTES = 1024, DEPTH_MAX = 16, LAYERS_MAX = 1 << 16 };

struct keras_layers {
    json_t *names; /* path -> name */
};

/* Lower case of re.sub("(.)([A-Z][a-z]+)", r"\1_\2") and re.sub("([a-z])([A-Z])", r"\1_\2"):
 * "Conv2D" -> "conv2d", "BatchNormalization" -> "batch_normalization". */
static void to_snake_case(const char *class, char *snake, size_t size)
{
    size_t at = 0;
    for (size_t i = 0; class[i] && at + 2 < size; i++) {
        const unsigned char before = i ? (unsigned char)class[i - 1] : 0;
        const unsigned char c = (unsigned char)class[i], after = (unsigned char)class[i + 1];
        if (!isalnum(c) && c != '_') continue;
        if (i && isupper(c) && (islower(after) || islower(before))) snake[at++] = '_';
        snake[at++] = (char)tolower(c);
    }
    snake[at] = '\0';
}

static bool add_layers(json_t *names, json_t *model, const char *below, int depth);

/* `counts` holds the number of earlier layers by class. */
static bool add_layer(json_t *names, json_t *counts, json_t *layer, const char *below, int depth)
{
    json_t *config = json_object_get(layer, "config");
    const char *class = json_string_value(json_object_get(layer, "class_name"));
    const char *name = json_string_value(json_object_get(config, "name"));
    char snake[PLACE_BYTES / 4], place[PLACE_BYTES];
    if (!class || !name || json_object_size(names) >= LAYERS_MAX) return false;
    to_snake_case(class, snake, sizeof snake);
    const json_int_t before = json_integer_value(json_object_get(counts, snake));
    json_object_set_new(counts, snake, json_integer(before + 1));
    char number[32] = "";
    if (before) snprintf(number, sizeof number, "_%lld", (long long)before);
    const int length = snprintf(place, sizeof place, "%slayers/%s%s", below, snake, number);
    if (length >= (int)sizeof place - 1) return false;
    json_object_set_new(names, place, json_string(name));
    memcpy(place + length, "/", 2);
    return !json_object_get(config, "layers") || add_layers(names, config, place, depth + 1);
}

static bool add_layers(json_t *names, json_t *model, const char *below, int depth)
{
    json_t *layers = json_object_get(model, "layers"), *counts = json_object(), *layer;
    bool done = json_is_array(layers) && depth < DEPTH_MAX;
    for (size_t i = 0; i < json_array_size(layers) && done; i++) {
        layer = json_array_get(layers, i);
        done = add_layer(names, counts, layer, below, depth);
    }
    json_decref(counts);
    return done;
}

struct keras_layers *keras_layers_parse(const char *json, size_t size)
{
    struct keras_layers *layers = calloc(1, sizeof *layers);
    json_t *model = json_loadb(json, size, 0, NULL);
    if (layers) layers->names = json_object();
    const bool done = layers && model &&
                      add_layers(layers->names, json_object_get(model, "config"), "", 0);
    json_decref(model);
    if (done) return layers;
    keras_layers_free(layers);
    return NULL;
}

const char *keras_layers_name(const struct keras_layers *layers, const char *place)
{
    return json_string_value(json_object_get(layers->names, place));
}

void keras_layers_free(struct keras_layers *layers)
{
    if (!layers) return;
    json_decref(layers->names);
    free(layers);
}
