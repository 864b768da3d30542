/* --help: formats a subcommand's table for a terminal. */
#include <string.h>

#include "cli.h"
#include "micromet/base/config.h"

enum { COLUMNS = 80, HEAD_COLUMNS_MAX = 24 };

const char program_summary[] =
    "Fine-tunes a multi-tower InceptionV3 on gigapixel pathology slides, evaluates it and draws "
    "heat maps of tumour.";

const struct exit_status exit_statuses[] = {
    { EXIT_CODE_OK, "done" },
    { EXIT_CODE_FAILED, "failed" },
    { EXIT_CODE_USAGE, "command line or configuration wrong; nothing was started" },
    { EXIT_CODE_PARTIAL, "good slides are done, but some were bad, and each was reported" },
    { EXIT_CODE_INTERRUPTED, "stopped by a signal with all work kept; run again to go on" },
    { -1, NULL },
};

/* --- Rows ------------------------------------------------------------------------------------- */

void option_head(const struct option *option, int choice, char head[OPTION_HEAD_MAX])
{
    char letter[8] = "", value[OPTION_HEAD_MAX / 2] = "";
    if (option->letter) snprintf(letter, sizeof letter, "-%c, ", option->letter);
    if (choice >= 0) {
        snprintf(value, sizeof value, " %s", option->choices[choice]);
    } else if (option->value) {
        snprintf(value, sizeof value, " %s", option->value);
    } else {
        for (int i = 0; option->choices && option->choices[i]; i++) {
            const size_t length = strlen(value);
            snprintf(value + length, sizeof value - length, "%c%s", i ? '|' : ' ',
                     option->choices[i]);
        }
    }
    snprintf(head, OPTION_HEAD_MAX, "%s--%s%s", letter, option->name, value);
}

/* The default as it would be typed; empty if it is 0 or NULL. */
static void format_default(const struct subcommand *command, const struct option *option,
                           char *text, size_t size)
{
    const void *field = (const char *)command->defaults + option->offset;
    *text = '\0';
    if (option->absent) {
        snprintf(text, size, "%s", option->absent);
        return;
    }
    if (!command->defaults) return;
    const int64_t whole = option->bytes == sizeof(int64_t) ? *(const int64_t *)field
                          : option->bytes == sizeof(int)   ? *(const int *)field
                                                           : 0;
    switch (option->kind) {
    case OPTION_FLAG:
        break;
    case OPTION_INT:
        if (whole) snprintf(text, size, "%lld", (long long)whole);
        break;
    case OPTION_CHOICE:
        if (whole >= 0) snprintf(text, size, "%s", option->choices[whole]);
        break;
    case OPTION_DOUBLE:
        if (*(const double *)field != 0) snprintf(text, size, "%g", *(const double *)field);
        break;
    case OPTION_TEXT:
    case OPTION_FILE:
    case OPTION_FOLDER:
        if (*(const char *const *)field) snprintf(text, size, "%s", *(const char *const *)field);
        break;
    }
}

void option_help(const struct subcommand *command, const struct option *option,
                 char help[OPTION_HELP_MAX])
{
    char initial[128];
    format_default(command, option, initial, sizeof initial);
    snprintf(help, OPTION_HELP_MAX, "%s%s%s%s", option->help, *initial ? " (default: " : "",
             initial, *initial ? ")" : "");
}

/* --- Text ------------------------------------------------------------------------------------- */

/* Number of characters in UTF-8 text. */
static int columns_of(const char *text, size_t bytes)
{
    int columns = 0;
    for (size_t i = 0; i < bytes; i++) columns += ((unsigned char)text[i] & 0xC0) != 0x80;
    return columns;
}

/* The end of a word. A word that ends in a colon stays with the next: "(default: 1)". */
static const char *word_end(const char *word, const char *end)
{
    const char *space = memchr(word, ' ', (size_t)(end - word));
    while (space && space > word && space[-1] == ':')
        space = memchr(space + 1, ' ', (size_t)(end - space - 1));
    return space ? space : end;
}

/* Print `bytes` of text wrapped into lines that begin in column `indent`. The stream is in column
 * `at`, where the first line begins. */
static void print_wrapped(FILE *stream, const char *text, size_t bytes, int at, int indent)
{
    bool first = true;
    for (const char *word = text, *end = text + bytes; word < end;) {
        const size_t length = (size_t)(word_end(word, end) - word);
        const int columns = columns_of(word, length);
        if (!first && at + 1 + columns > COLUMNS) {
            fprintf(stream, "\n%*s", indent, "");
            at = indent;
            first = true;
        }
        fprintf(stream, "%s%.*s", first ? "" : " ", (int)length, word);
        at += columns + !first;
        first = false;
        word += length + 1;
    }
    fputc('\n', stream);
}

/* Print a term, such as an option, and its explanation from column `indent` on. */
static void print_term(FILE *stream, const char *term, const char *text, size_t bytes, int indent)
{
    const int width = columns_of(term, strlen(term));
    fprintf(stream, "  %s", term);
    if (2 + width + 2 > indent)
        fprintf(stream, "\n%*s", indent, "");
    else
        fprintf(stream, "%*s", indent - 2 - width, "");
    print_wrapped(stream, text, bytes, indent, indent);
}

static void print_paragraphs(FILE *stream, const char *text)
{
    for (const char *at = text; at && *at;) {
        const char *end = strstr(at, "\n\n");
        const size_t bytes = end ? (size_t)(end - at) : strlen(at);
        const char *tab = memchr(at, '\t', bytes);
        if (tab) {
            char term[32];
            snprintf(term, sizeof term, "%.*s", (int)(tab - at), at);
            print_term(stream, term, tab + 1, bytes - (size_t)(tab + 1 - at), 16);
        } else {
            fputc('\n', stream);
            print_wrapped(stream, at, bytes, 0, 0);
        }
        at = end ? end + 2 : NULL;
    }
}

/* --- The page --------------------------------------------------------------------------------- */

/* Lines of an option: one, or one for each of its choices with an explanation. */
static int line_count(const struct option *option)
{
    int count = 0;
    while (option->choice_help && option->choice_help[count]) count++;
    return count ? count : 1;
}

static void print_options(const struct subcommand *command, FILE *stream)
{
    char head[OPTION_HEAD_MAX], help[OPTION_HELP_MAX];
    int indent = 0;
    for (const struct option *o = command->options; o && o->name; o++)
        for (int i = 0; i < line_count(o); i++) {
            option_head(o, o->choice_help ? i : -1, head);
            const int width = columns_of(head, strlen(head));
            if (width > indent && width <= HEAD_COLUMNS_MAX) indent = width;
        }
    fputs("\noptions:\n", stream);
    for (const struct option *o = command->options; o && o->name; o++) {
        if (o->group) fprintf(stream, "\n%s:\n", o->group);
        for (int i = 0; i < line_count(o); i++) {
            option_head(o, o->choice_help ? i : -1, head);
            if (o->choice_help)
                snprintf(help, sizeof help, "%s", o->choice_help[i]);
            else
                option_help(command, o, help);
            print_term(stream, head, help, strlen(help), indent + 4);
        }
    }
}

void help_print(const struct subcommand *command, FILE *stream)
{
    fprintf(stream, "usage: micromet %s%s%s%s\n", command->name, *command->operands ? " " : "",
            command->operands, command->options ? " [options]" : "");
    print_paragraphs(stream, command->description);
    if (command->options) print_options(command, stream);
    print_paragraphs(stream, command->notes);
    fputs("\nexamples:\n", stream);
    for (const char *at = command->examples; *at; at += strcspn(at, "\n"), at += *at == '\n')
        fprintf(stream, "  %.*s\n", (int)strcspn(at, "\n"), at);
    if (command == &command_config) {
        fputc('\n', stream);
        config_print_help(stream);
    }
}

void help_print_program(FILE *stream)
{
    fputs("usage: micromet COMMAND [ARGUMENTS]\n\n", stream);
    print_wrapped(stream, program_summary, strlen(program_summary), 0, 0);
    fputs("\ncommands:\n", stream);
    for (int i = 0; subcommands[i]; i++)
        fprintf(stream, "  %-10s  %s\n", subcommands[i]->name, subcommands[i]->summary);
    fputs("\n  micromet COMMAND --help   how to use a command\n"
          "  micromet --version        version of the program\n"
          "\nexit status:\n",
          stream);
    for (int i = 0; exit_statuses[i].meaning; i++)
        fprintf(stream, "  %-4d%s\n", exit_statuses[i].code, exit_statuses[i].meaning);
}
