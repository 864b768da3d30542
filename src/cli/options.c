/* Parses the command line of a subcommand by its table of options, which gives kind and range, so
 * that no subcommand converts or checks values itself. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "micromet/base/config.h"
#include "micromet/base/file.h"
#include "micromet/base/size.h"
#include "micromet/base/text.h"

const char *const orientation_counts[] = { "1", "4", "8", NULL };

static bool check_range(const struct option *option, double value, const char *text,
                        struct error *err)
{
    if (option->min == 0 && option->max == 0) return true;
    if (value < option->min)
        return error_set(err, EXIT_CODE_USAGE, "--%s: %.80s is below %.10g", option->name, text,
                         option->min);
    if (value > option->max)
        return error_set(err, EXIT_CODE_USAGE, "--%s: %.80s is above %.10g", option->name, text,
                         option->max);
    return true;
}

/* "1, 4 or 8". */
static void list_choices(const struct option *option, const char *last, char *list, size_t size)
{
    *list = '\0';
    for (int i = 0; option->choices[i]; i++) {
        const size_t length = strlen(list);
        snprintf(list + length, size - length, "%s%s",
                 i == 0                   ? ""
                 : option->choices[i + 1] ? ", "
                                          : last,
                 option->choices[i]);
    }
}

static bool check_choice(const struct option *option, int64_t value, struct error *err)
{
    char list[256];
    if (!option->choices) return true;
    for (int i = 0; option->choices[i]; i++)
        if (strtoll(option->choices[i], NULL, 10) == value) return true;
    list_choices(option, " or ", list, sizeof list);
    return error_set(err, EXIT_CODE_USAGE, "--%s: choose %s", option->name, list);
}

static void store_whole(const struct option *option, int64_t value, void *field)
{
    if (option->bytes == sizeof(int64_t))
        *(int64_t *)field = value;
    else
        *(int *)field = (int)value;
}

static bool store_integer(const struct option *option, const char *text, void *field,
                          struct error *err)
{
    const char *digits = text + (*text == '-' || *text == '+');
    if (!*digits || digits[strspn(digits, "0123456789")])
        return error_set(err, EXIT_CODE_USAGE, "--%s: expected an integer, got '%.80s'",
                         option->name, text);
    const int64_t value = strtoll(text, NULL, 10);
    if (!check_range(option, (double)value, text, err) || !check_choice(option, value, err))
        return false;
    store_whole(option, value, field);
    return true;
}

static bool store_number(const struct option *option, const char *text, double *field,
                         struct error *err)
{
    char *end;
    const double value = strtod(text, &end);
    if (end == text || *end || text[strspn(text, "+-.0123456789eE")])
        return error_set(err, EXIT_CODE_USAGE, "--%s: expected a number, got '%.80s'", option->name,
                         text);
    *field = value;
    return check_range(option, value, text, err);
}

static bool store_choice(const struct option *option, const char *text, void *field,
                         struct error *err)
{
    char list[256];
    struct text_nearest nearest = text_nearest_init(text);
    for (int i = 0; option->choices[i]; i++) {
        if (strcmp(option->choices[i], text) == 0) {
            store_whole(option, i, field);
            return true;
        }
        text_nearest_offer(&nearest, option->choices[i]);
    }
    list_choices(option, ", ", list, sizeof list);
    return error_set(err, EXIT_CODE_USAGE, "--%s: '%.80s' is none of %s%s%s", option->name, text,
                     list, nearest.best[0] ? "; did you mean " : "", nearest.best);
}

/* In "--out=~/x" no shell has expanded the "~". An expanded path lives as long as argv does. */
static bool store_path(const struct option *option, const char *text, const char **field,
                       struct error *err)
{
    static char homes[8][PATH_MAX_BYTES];
    static size_t used;
    struct error cause = { 0 };
    *field = text;
    if (*text != '~') return true;
    if (used == COUNT_OF(homes))
        return error_set(err, EXIT_CODE_USAGE, "--%s: too many paths begin with '~'", option->name);
    char *home = homes[used++];
    if (!path_expand_home(home, text, &cause))
        return error_set(err, EXIT_CODE_USAGE, "--%s: %s", option->name, cause.message);
    *field = home;
    return true;
}

static bool store(const struct option *option, const char *text, void *arguments, struct error *err)
{
    void *field = (char *)arguments + option->offset;
    switch (option->kind) {
    case OPTION_INT:
        return store_integer(option, text, field, err);
    case OPTION_DOUBLE:
        return store_number(option, text, field, err);
    case OPTION_TEXT:
        *(const char **)field = text;
        return true;
    case OPTION_FILE:
    case OPTION_FOLDER:
        return store_path(option, text, field, err);
    case OPTION_CHOICE:
        return store_choice(option, text, field, err);
    case OPTION_FLAG:
        break;
    }
    return error_set(err, EXIT_CODE_USAGE, "--%s takes no value", option->name);
}

/* "--name", "--name=value" or "-x". */
static const struct option *find(const struct option *rows, const char *argument)
{
    const bool letter = argument[1] != '-';
    const char *name = argument + 1 + !letter;
    const size_t length = letter ? strlen(name) : strcspn(name, "=");
    for (const struct option *o = rows; o && o->name; o++)
        if (letter ? length == 1 && o->letter == *name
                   : strlen(o->name) == length && memcmp(o->name, name, length) == 0)
            return o;
    return NULL;
}

static bool fail_unknown(const struct subcommand *command, const char *argument, struct error *err)
{
    char name[NEAREST_MAX];
    const char *bare = argument + strspn(argument, "-");
    snprintf(name, sizeof(name), "%.*s", (int)strcspn(bare, "="), bare);
    struct text_nearest nearest = text_nearest_init(name);
    for (const struct option *o = command->options; o && o->name; o++)
        text_nearest_offer(&nearest, o->name);
    if (nearest.best[0])
        return error_set(err, EXIT_CODE_USAGE, "%s: unknown option %.80s; did you mean --%s?",
                         command->name, argument, nearest.best);
    return error_set(err, EXIT_CODE_USAGE,
                     "%s: unknown option %.80s; `micromet %s --help` lists all options",
                     command->name, argument, command->name);
}

/* Parse the option at argv[*at], whose value may be the next argument. */
static bool read_option(const struct subcommand *command, void *arguments, char **argv, int argc,
                        int *at, struct error *err)
{
    const char *argument = argv[*at], *equals = strchr(argument, '=');
    const struct option *option = find(command->options, argument);
    if (!option) return fail_unknown(command, argument, err);

    if (equals) return store(option, equals + 1, arguments, err);
    if (option->kind == OPTION_FLAG) {
        *(bool *)((char *)arguments + option->offset) = true;
        return true;
    }
    if (*at + 1 == argc) return error_set(err, EXIT_CODE_USAGE, "--%s needs a value", option->name);
    return store(option, argv[++*at], arguments, err);
}

bool options_parse(const struct subcommand *command, void *arguments, int argc, char **argv,
                   int *operand_count, struct error *err)
{
    *operand_count = 0;
    bool only_operands = false; /* after "--" */
    for (int i = 1; i < argc; i++) {
        const bool option = !only_operands && argv[i][0] == '-' && argv[i][1];
        if (!option)
            argv[1 + (*operand_count)++] = argv[i];
        else if (strcmp(argv[i], "--") == 0)
            only_operands = true;
        else if (!read_option(command, arguments, argv, argc, &i, err))
            return false;
    }
    return true;
}

/* Whether this is a key of the configuration and '=': not a file, then. */
static bool is_override(const char *operand)
{
    struct config_key_facts key;
    const char *equals = strchr(operand, '=');
    for (int i = 0; equals && config_key_describe(i, &key); i++)
        if (strlen(key.name) == (size_t)(equals - operand) &&
            strncmp(key.name, operand, strlen(key.name)) == 0)
            return true;
    return equals && strncmp(operand, "compute.", 8) == 0; /* a key that is spelt wrong */
}

bool operands_configure(struct config *config, int *operand_count, char **operands,
                        struct error *err)
{
    int kept = 0;
    for (int i = 0; i < *operand_count; i++) {
        if (!is_override(operands[i])) {
            operands[kept++] = operands[i];
        } else if (strncmp(operands[i], "compute.", 8) != 0) {
            return error_set(err, EXIT_CODE_USAGE,
                             "%.200s: only keys of the section compute can be set here; the "
                             "others are the model's own",
                             operands[i]);
        } else if (!config_override(config, 1, &operands[i], err)) {
            return false;
        }
    }
    *operand_count = kept;
    return true;
}
