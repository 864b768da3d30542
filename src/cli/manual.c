/* micromet manual: writes the manual pages, one for the program and one for each subcommand,
 * from the subcommands' tables. */
#include <ctype.h>
#include <string.h>

#include "cli.h"
#include "micromet/base/config.h"
#include "micromet/base/file.h"
#include "micromet/base/size.h"

/* --- man(7)'s language ------------------------------------------------------------------------ */

/* Print text escaped for man; `words` in backticks become bold. */
static void print_text(FILE *page, const char *text, size_t bytes)
{
    bool bold = false;
    for (size_t i = 0; i < bytes; i++) {
        const char c = text[i];
        const bool line_start = i == 0 || text[i - 1] == '\n';
        if (line_start && (c == '.' || c == '\'')) fputs("\\&", page);
        if (c == '`') {
            bold = !bold;
            fputs(bold ? "\\fB" : "\\fR", page);
        } else if (c == '\\') {
            fputs("\\e", page);
        } else if (c == '-') {
            fputs("\\-", page);
        } else if (c == '\'') {
            fputs("\\(aq", page);
        } else {
            fputc(c, page);
        }
    }
}

static void print_line(FILE *page, const char *text)
{
    print_text(page, text, strlen(text));
    fputc('\n', page);
}

/* Print a term in bold and its explanation. */
static void print_term(FILE *page, const char *term, const char *text, size_t bytes)
{
    fputs(".TP\n\\fB", page);
    print_text(page, term, strlen(term));
    fputs("\\fR\n", page);
    print_text(page, text, bytes);
    fputc('\n', page);
}

static void print_paragraphs(FILE *page, const char *text, bool continued)
{
    for (const char *at = text; at && *at;) {
        const char *end = strstr(at, "\n\n");
        const size_t bytes = end ? (size_t)(end - at) : strlen(at);
        const char *tab = memchr(at, '\t', bytes);
        if (tab) {
            char term[32];
            snprintf(term, sizeof term, "%.*s", (int)(tab - at), at);
            print_term(page, term, tab + 1, bytes - (size_t)(tab + 1 - at));
        } else {
            if (continued || at > text) fputs(".PP\n", page);
            print_text(page, at, bytes);
            fputc('\n', page);
        }
        at = end ? end + 2 : NULL;
    }
}

static void print_title(FILE *page, const char *name, const char *summary)
{
    fprintf(page,
            ".\\\" Made by `micromet manual`.\n.TH %s 1 %s \"micromet %s\" \"User Commands\"\n",
            name, MICROMET_DATE, MICROMET_VERSION);
    fprintf(page, ".SH NAME\n%s \\- ", name);
    print_line(page, summary);
}

static void print_exit_status(FILE *page)
{
    fputs(".SH EXIT STATUS\n", page);
    for (const struct exit_status *row = exit_statuses; row->meaning; row++) {
        char code[16];
        snprintf(code, sizeof code, "%d", row->code);
        print_term(page, code, row->meaning, strlen(row->meaning));
    }
}

/* --- The page of a subcommand ----------------------------------------------------------------- */

static void print_options(const struct subcommand *command, FILE *page)
{
    char head[OPTION_HEAD_MAX], help[OPTION_HELP_MAX];
    fputs(".SH OPTIONS\n", page);
    for (const struct option *o = command->options; o->name; o++) {
        if (o->group) {
            fputs(".SS ", page);
            print_line(page, o->group);
        }
        if (!o->choice_help) {
            option_head(o, -1, head);
            option_help(command, o, help);
            print_term(page, head, help, strlen(help));
        }
        for (int i = 0; o->choice_help && o->choice_help[i]; i++) {
            option_head(o, i, head);
            print_term(page, head, o->choice_help[i], strlen(o->choice_help[i]));
        }
    }
}

static void print_keys(FILE *page)
{
    struct config_key_facts key;
    fputs(".SH CONFIGURATION KEYS\n", page);
    for (int i = 0; config_key_describe(i, &key); i++) {
        char text[512];
        snprintf(text, sizeof text, "%s. %c%s%s%s. Default: %s.", key.help, toupper(key.type[0]),
                 key.type + 1, *key.range ? ", " : "", key.range,
                 *key.initial ? key.initial : "empty");
        print_term(page, key.name, text, strlen(text));
    }
}

static void print_subcommand(const struct subcommand *command, FILE *page)
{
    char name[64];
    snprintf(name, sizeof name, "micromet-%s", command->name);
    print_title(page, name, command->summary);
    fprintf(page, ".SH SYNOPSIS\n\\fBmicromet %s\\fR ", command->name);
    print_text(page, command->operands, strlen(command->operands));
    fputs(!command->options ? "\n" : *command->operands ? " [options]\n" : "[options]\n", page);
    fputs(".SH DESCRIPTION\n", page);
    print_paragraphs(page, command->description, false);
    if (command->overrides && command != &command_config)
        print_paragraphs(page,
                         "key=value sets a key of the configuration, whatever the file says; "
                         "`micromet-config`(1) lists them.",
                         true);
    if (command->options) print_options(command, page);
    if (command->notes) {
        fputs(".SH NOTES\n", page);
        print_paragraphs(page, command->notes, false);
    }
    if (command == &command_config) print_keys(page);
    print_exit_status(page);
    fputs(".SH EXAMPLES\n.EX\n", page);
    print_text(page, command->examples, strlen(command->examples));
    fputs(".EE\n.SH SEE ALSO\n.BR micromet (1)\n", page);
}

static void print_environment(FILE *page)
{
    static const struct {
        const char *name, *meaning;
    } variables[] = {
        { "MICROMET_CPU_ISA", "the instruction set of the CPU's kernels: plain, avx2 or avx512, "
                              "where the processor has it (default: the widest)" },
        { "MICROMET_CUDA_LIBRARY", "the library with the CUDA backend, in place of the one that "
                                   "was built with the program" },
        { "XDG_CACHE_HOME", "where plans of cuDNN are kept, in its folder micromet, unless "
                            "compute.plan_cache names another (default: ~/.cache)" },
    };
    fputs(".SH ENVIRONMENT\n", page);
    for (size_t i = 0; i < COUNT_OF(variables); i++)
        print_term(page, variables[i].name, variables[i].meaning, strlen(variables[i].meaning));
}

static void print_program(FILE *page)
{
    print_title(page, "micromet", "finds cancer metastases in slides of lymph nodes");
    fputs(".SH SYNOPSIS\n\\fBmicromet\\fR COMMAND [ARGUMENTS]\n.PP\n\\fBmicromet\\fR COMMAND "
          "\\fB\\-\\-help\\fR\n.PP\n\\fBmicromet \\-\\-version\\fR\n.SH DESCRIPTION\n",
          page);
    print_line(page, program_summary);
    fputs(".SH COMMANDS\n", page);
    for (int i = 0; subcommands[i]; i++) {
        fprintf(page, ".TP\n.BR micromet\\-%s (1)\n", subcommands[i]->name);
        print_line(page, subcommands[i]->summary);
    }
    print_exit_status(page);
    print_environment(page);
}

/* --- The command ------------------------------------------------------------------------------ */

static bool write_page(const char *folder, const struct subcommand *command, struct error *err)
{
    struct atomic_file file = { 0 };
    char name[64], path[PATH_MAX_BYTES];
    snprintf(name, sizeof name, "micromet%s%s.1", command ? "-" : "", command ? command->name : "");
    bool ok = path_join(path, folder, name, err) && atomic_file_open(&file, path, err);
    if (ok) {
        if (command)
            print_subcommand(command, file.stream);
        else
            print_program(file.stream);
        ok = atomic_file_commit(&file, err);
    }
    atomic_file_release(&file);
    return ok;
}

static enum exit_code run(void *arguments, int count, char **operands, struct error *err)
{
    (void)arguments;
    if (count != 1) {
        error_set(err, EXIT_CODE_USAGE, "manual: give one folder to write the pages to");
        return err->code;
    }
    bool ok = folder_create(operands[0], err) && write_page(operands[0], NULL, err);
    for (int i = 0; ok && subcommands[i]; i++) ok = write_page(operands[0], subcommands[i], err);
    return err->code;
}

const struct subcommand command_manual = {
    .name = "manual",
    .summary = "write the manual pages",
    .operands = "FOLDER",
    .operand_kind = OPTION_FOLDER,
    .description = "Writes micromet.1 and a page for each command into FOLDER. They say what "
                   "--help says; `cmake --install` puts them where man looks.",
    .examples = "micromet manual pages && man -l pages/micromet-train.1\n",
    .run = run,
};
