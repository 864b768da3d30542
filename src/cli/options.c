/* Options of a subcommand, read by its table. The one idea: the table gives kind and range, so no
 * subcommand converts or checks a number itself. */
#include "cli.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "micromet/base/text.h"

static bool check_range(const struct option_spec *spec, double value, const char *text,
                        struct error *err)
{
    if (spec->min == 0 && spec->max == 0) return true;
    if (value < spec->min)
        return error_set(err, EXIT_CODE_USAGE, "--%s: %.80s is below %.10g", spec->name, text,
                         spec->min);
    if (value > spec->max)
        return error_set(err, EXIT_CODE_USAGE, "--%s: %.80s is above %.10g", spec->name, text,
                         spec->max);
    return true;
}

static bool check_choice(const struct option_spec *spec, int64_t value, struct error *err)
{
    const char *at = spec->choices;
    if (!at) return true;
    for (; *at; at += strspn(at, "0123456789")) {
        at += strcspn(at, "0123456789");
        if (*at && strtoll(at, NULL, 10) == value) return true;
    }
    return error_set(err, EXIT_CODE_USAGE, "--%s: choose %s", spec->name, spec->choices);
}

static bool store_integer(const struct option_spec *spec, const char *text, struct error *err)
{
    const char *digits = text + (*text == '-' || *text == '+');
    if (!*digits || digits[strspn(digits, "0123456789")])
        return error_set(err, EXIT_CODE_USAGE, "--%s: expected an integer, got '%.80s'", spec->name,
                         text);
    const int64_t value = *(int64_t *)spec->value = strtoll(text, NULL, 10);
    return check_range(spec, (double)value, text, err) && check_choice(spec, value, err);
}

static bool store_number(const struct option_spec *spec, const char *text, struct error *err)
{
    char *end;
    const double value = strtod(text, &end);
    if (end == text || *end || text[strspn(text, "+-.0123456789eE")])
        return error_set(err, EXIT_CODE_USAGE, "--%s: expected a number, got '%.80s'", spec->name,
                         text);
    *(double *)spec->value = value;
    return check_range(spec, value, text, err);
}

static bool store(const struct option_spec *spec, const char *text, struct error *err)
{
    switch (spec->kind) {
    case OPTION_INT:
        return store_integer(spec, text, err);
    case OPTION_DOUBLE:
        return store_number(spec, text, err);
    case OPTION_STRING:
        *(const char **)spec->value = text;
        return true;
    case OPTION_FLAG:
        break;
    }
    return error_set(err, EXIT_CODE_USAGE, "--%s takes no value", spec->name);
}

/* "--name", "--name=value" or "-x". */
static const struct option_spec *find(const struct option_spec *specs, int count,
                                      const char *argument)
{
    const bool letter = argument[1] != '-';
    const char *name = argument + 1 + !letter;
    const size_t length = letter ? strlen(name) : strcspn(name, "=");
    for (int i = 0; i < count; i++)
        if (letter ? length == 1 && specs[i].letter == *name
                   : strlen(specs[i].name) == length && memcmp(specs[i].name, name, length) == 0)
            return &specs[i];
    return NULL;
}

static bool fail_unknown(const char *command, const struct option_spec *specs, int count,
                         const char *argument, struct error *err)
{
    char name[NEAREST_MAX];
    const char *bare = argument + strspn(argument, "-");
    snprintf(name, sizeof(name), "%.*s", (int)strcspn(bare, "="), bare);
    struct text_nearest nearest = text_nearest_init(name);
    for (int i = 0; i < count; i++) text_nearest_offer(&nearest, specs[i].name);
    if (nearest.best[0])
        return error_set(err, EXIT_CODE_USAGE, "%s: unknown option %.80s; did you mean --%s?",
                         command, argument, nearest.best);
    return error_set(err, EXIT_CODE_USAGE,
                     "%s: unknown option %.80s; `micromet %s --help` lists all options", command,
                     argument, command);
}

/* The option at argv[*at], whose value may be the next argument. */
static bool read_option(char **argv, int argc, int *at, const struct option_spec *specs, int count,
                        struct error *err)
{
    const char *argument = argv[*at], *equals = strchr(argument, '=');
    const struct option_spec *spec = find(specs, count, argument);
    if (!spec) return fail_unknown(argv[0], specs, count, argument, err);

    if (equals) return store(spec, equals + 1, err);
    if (spec->kind == OPTION_FLAG) {
        *(bool *)spec->value = true;
        return true;
    }
    if (*at + 1 == argc) return error_set(err, EXIT_CODE_USAGE, "--%s needs a value", spec->name);
    return store(spec, argv[++*at], err);
}

bool options_parse(int argc, char **argv, const struct option_spec *specs, int spec_count,
                   int *positional_count, struct error *err)
{
    *positional_count = 0;
    bool only_positionals = false; /* after "--" */
    for (int i = 1; i < argc; i++) {
        const bool option = !only_positionals && argv[i][0] == '-' && argv[i][1];
        if (!option)
            argv[1 + (*positional_count)++] = argv[i];
        else if (strcmp(argv[i], "--") == 0)
            only_positionals = true;
        else if (!read_option(argv, argc, &i, specs, spec_count, err))
            return false;
    }
    return true;
}
