/* micromet completion: prints completion scripts for shells, generated from the subcommands' tables
 * and the configuration's keys. How words are offered is in the script for each shell below. */
#include <string.h>

#include "cli.h"
#include "micromet/base/config.h"

/* "[FILE]": an optional operand, so an override may come in its place. */
static bool operand_is_optional(const struct subcommand *command)
{
    return command->operands[0] == '[';
}

/* --- bash ------------------------------------------------------------------------------------- */

/* Placeholders for what bash completes itself, or for any text. */
static const char *bash_word(enum option_kind kind)
{
    return kind == OPTION_FILE     ? "@file"
           : kind == OPTION_FOLDER ? "@folder"
           : kind == OPTION_FLAG   ? ""
                                   : "@any";
}

static void print_bash_case(FILE *stream, const char *name, const char *option, const char *first,
                            const char *const *words)
{
    fprintf(stream, "    %s%s%s) echo '%s", name, option ? ":" : "", option ? option : "", first);
    for (int i = 0; words && words[i]; i++)
        fprintf(stream, "%s%s", i || *first ? " " : "", words[i]);
    fputs("' ;;\n", stream);
}

static void print_bash_option(FILE *stream, const struct subcommand *command,
                              const struct option *option)
{
    char name[64];
    const char *first = option->choices ? "" : bash_word(option->kind);
    if (option->kind == OPTION_FLAG) return;
    if (option->letter)
        snprintf(name, sizeof name, "-%c|%s:--%s", option->letter, command->name, option->name);
    else
        snprintf(name, sizeof name, "--%s", option->name);
    print_bash_case(stream, command->name, name, first, option->choices);
}

static void print_bash_commands(FILE *stream)
{
    fputs("_micromet_commands='", stream);
    for (int i = 0; subcommands[i]; i++) fprintf(stream, "%s ", subcommands[i]->name);
    fputs("--help --version'\n\n# COMMAND: its options\n_micromet_options()\n{\n    case $1 in\n",
          stream);
    for (int i = 0; subcommands[i]; i++) {
        fprintf(stream, "    %s) echo '", subcommands[i]->name);
        for (const struct option *o = subcommands[i]->options; o && o->name; o++)
            fprintf(stream, "--%s ", o->name);
        fputs("--help' ;;\n", stream);
    }
    fputs("    esac\n}\n\n", stream);
}

static void print_bash_values(FILE *stream)
{
    struct config_key_facts key;
    fputs("# COMMAND:OPTION: what the option takes; nothing for a flag. COMMAND:1 and COMMAND:2: "
          "its first\n# and further operands. A key of the configuration: its values.\n"
          "_micromet_values()\n{\n    case $1 in\n",
          stream);
    for (int i = 0; subcommands[i]; i++) {
        const struct subcommand *command = subcommands[i];
        const char *word = command->operand_kind == OPTION_CHOICE
                               ? ""
                               : bash_word(command->operand_kind);
        static const char *const keys[] = { "@key", NULL };
        for (const struct option *o = command->options; o && o->name; o++)
            print_bash_option(stream, command, o);
        print_bash_case(stream, command->name, "1", word,
                        command->operand_choices       ? command->operand_choices
                        : operand_is_optional(command) ? keys
                                                       : NULL);
        if (command->overrides)
            print_bash_case(stream, command->name, "2", "@key", NULL);
        else if (strstr(command->operands, "..."))
            print_bash_case(stream, command->name, "2", word, NULL);
    }
    for (int i = 0; config_key_describe(i, &key); i++)
        if (key.words || key.is_path)
            print_bash_case(stream, key.name, NULL, key.is_path ? "@file" : "", key.words);
    fputs("    esac\n}\n\n_micromet_keys='", stream);
    for (int i = 0; config_key_describe(i, &key); i++)
        fprintf(stream, "%s%s=", i ? " " : "", key.name);
    fputs("'\n\n", stream);
}

static const char bash_script[] =
    "# Which operand of $1 stands at word $2: 1 = the first, 2 = a further one.\n"
    "_micromet_operand()\n"
    "{\n"
    "    local i\n"
    "    for ((i = 2; i < $2; i++)); do\n"
    "        if [[ ${COMP_WORDS[i]} != -* ]]; then\n"
    "            echo 2\n"
    "            return\n"
    "        fi\n"
    "        [[ ${COMP_WORDS[i + 1]} == = ]] && ((i++))\n"
    "        [[ -n $(_micromet_values \"$1:${COMP_WORDS[i]}\") || ${COMP_WORDS[i]} == = ]] && "
    "((i++))\n"
    "    done\n"
    "    echo 1\n"
    "}\n"
    "\n"
    "_micromet()\n"
    "{\n"
    "    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}\n"
    "    local command=${COMP_WORDS[1]} subject='' prefix='' values value\n"
    "    local -a found=()\n"
    "    COMPREPLY=()\n"
    "    if ((COMP_CWORD == 1)); then\n"
    "        mapfile -t COMPREPLY < <(compgen -W \"$_micromet_commands\" -- \"$word\")\n"
    "        return\n"
    "    fi\n"
    "\n"
    "    # NAME=VALUE: three words, unless COMP_WORDBREAKS has no =.\n"
    "    if [[ $word == = ]]; then\n"
    "        subject=$before word=''\n"
    "    elif [[ $before == = ]]; then\n"
    "        subject=${COMP_WORDS[COMP_CWORD - 2]}\n"
    "    elif [[ $word == *=* ]]; then\n"
    "        subject=${word%%=*} prefix=${word%%=*}= word=${word#*=}\n"
    "    elif [[ $before == -* && -n $(_micromet_values \"$command:$before\") ]]; then\n"
    "        subject=$before\n"
    "    elif [[ $word == -* ]]; then\n"
    "        mapfile -t COMPREPLY < <(compgen -W \"$(_micromet_options \"$command\")\" -- "
    "\"$word\")\n"
    "        return\n"
    "    fi\n"
    "\n"
    "    case $subject in\n"
    "    '') values=$(_micromet_values \"$command:$(_micromet_operand \"$command\" "
    "\"$COMP_CWORD\")\") ;;\n"
    "    -*) values=$(_micromet_values \"$command:$subject\") ;;\n"
    "    *) values=$(_micromet_values \"$subject\") ;;\n"
    "    esac\n"
    "    for value in $values; do\n"
    "        case $value in\n"
    "        @any) ;;\n"
    "        @file | @folder)\n"
    "            [[ $value == @file ]] && mapfile -t found < <(compgen -f -- \"$word\")\n"
    "            [[ $value == @folder ]] && mapfile -t found < <(compgen -d -- \"$word\")\n"
    "            COMPREPLY+=(\"${found[@]}\")\n"
    "            [[ $values == @* && $values != *@key* ]] && compopt -o filenames 2>/dev/null\n"
    "            ;;\n"
    "        @key)\n"
    "            mapfile -t found < <(compgen -W \"$_micromet_keys\" -- \"$word\")\n"
    "            COMPREPLY+=(\"${found[@]}\")\n"
    "            ((${#found[@]})) && compopt -o nospace 2>/dev/null\n"
    "            ;;\n"
    "        \"$word\"*) COMPREPLY+=(\"$value\") ;;\n"
    "        esac\n"
    "    done\n"
    "    [[ -z $prefix ]] || COMPREPLY=(\"${COMPREPLY[@]/#/$prefix}\")\n"
    "}\n"
    "\n"
    "complete -F _micromet micromet\n";

static void print_bash(FILE *stream)
{
    fputs("# bash completion for micromet, made by `micromet completion bash`\n\n", stream);
    print_bash_commands(stream);
    print_bash_values(stream);
    fputs(bash_script, stream);
}

/* --- zsh -------------------------------------------------------------------------------------- */

/* Print text within single quotes, escaping the characters of `special`, which zsh's
 * completion functions interpret. */
static void print_zsh_text(FILE *stream, const char *text, const char *special)
{
    for (; *text; text++) {
        if (*text == '\'')
            fputs("'\\'", stream);
        else if (strchr(special, *text))
            fputc('\\', stream);
        fputc(*text, stream);
    }
}

/* What follows an option's name, such as ":FOLDER:_files -/". */
static void print_zsh_value(FILE *stream, const struct option *option)
{
    if (option->kind == OPTION_FLAG) return;
    fputc(':', stream);
    print_zsh_text(stream, option->value ? option->value : option->name, ":\\");
    fputc(':', stream);
    if (option->choices) {
        fputc('(', stream);
        for (int i = 0; option->choices[i]; i++)
            fprintf(stream, "%s%s", i ? " " : "", option->choices[i]);
        fputc(')', stream);
    } else {
        fputs(option->kind == OPTION_FILE     ? "_files"
              : option->kind == OPTION_FOLDER ? "_files -/"
                                              : " ",
              stream);
    }
}

static void print_zsh_option(FILE *stream, const struct subcommand *command,
                             const struct option *option)
{
    char help[OPTION_HELP_MAX];
    if (option->help)
        option_help(command, option, help);
    else
        snprintf(help, sizeof help, "choose one"); /* each choice has its own help */
    for (int letter = option->letter ? 1 : 0; letter >= 0; letter--) {
        fputs("            '", stream);
        if (option->letter) fprintf(stream, "(-%c --%s)", option->letter, option->name);
        if (letter)
            fprintf(stream, "-%c[", option->letter);
        else
            fprintf(stream, "--%s%s[", option->name, option->kind == OPTION_FLAG ? "" : "=");
        print_zsh_text(stream, help, "[]:\\");
        fputc(']', stream);
        print_zsh_value(stream, option);
        fputs("' \\\n", stream);
    }
}

static void print_zsh_operands(FILE *stream, const struct subcommand *command)
{
    const char *action = command->operand_kind == OPTION_FILE     ? "_files"
                         : command->operand_kind == OPTION_FOLDER ? "_files -/"
                                                                  : "";
    if (command->operand_choices) {
        fputs("            '1:shell:(", stream);
        for (int i = 0; command->operand_choices[i]; i++)
            fprintf(stream, "%s%s", i ? " " : "", command->operand_choices[i]);
        fputs(")' \\\n", stream);
    } else if (command->overrides) {
        fprintf(stream, "            '1:file:%s' \\\n            '*:key:_micromet_key' \\\n",
                operand_is_optional(command) ? "_micromet_file_or_key" : action);
    } else if (*action) {
        fprintf(stream, "            '%s:%s:%s' \\\n", strstr(command->operands, "...") ? "*" : "1",
                command->operand_kind == OPTION_FOLDER ? "folder" : "file", action);
    }
}

static void print_zsh_keys(FILE *stream)
{
    struct config_key_facts key;
    fputs("# KEY=VALUE of the configuration\n_micromet_key()\n{\n    local -a keys\n"
          "    if compset -P '*='; then\n        case ${IPREFIX%=} in\n",
          stream);
    for (int i = 0; config_key_describe(i, &key); i++) {
        if (!key.words && !key.is_path) continue;
        fprintf(stream, "        %s)", key.name);
        if (key.words) {
            fputs(" compadd --", stream);
            for (int w = 0; key.words[w]; w++) fprintf(stream, " %s", key.words[w]);
            fputc(';', stream);
        }
        fputs(key.is_path ? " _files ;;\n" : ";\n", stream);
    }
    fputs("        *) _message value ;;\n        esac\n        return\n    fi\n    keys=(\n",
          stream);
    for (int i = 0; config_key_describe(i, &key); i++) {
        fprintf(stream, "        '%s:", key.name);
        print_zsh_text(stream, key.help, "\\");
        fputs("'\n", stream);
    }
    fputs(
        "    )\n    _describe -t keys 'key of the configuration' keys -S =\n}\n\n"
        "_micromet_file_or_key()\n{\n    [[ $PREFIX == *=* ]] || _files\n    _micromet_key\n}\n\n",
        stream);
}

static void print_zsh(FILE *stream)
{
    fputs("#compdef micromet\n# zsh completion for micromet, made by `micromet completion zsh`\n\n",
          stream);
    print_zsh_keys(stream);
    fputs("_micromet()\n{\n    local -a commands\n    local command=$words[2]\n    commands=(\n",
          stream);
    for (int i = 0; subcommands[i]; i++) {
        fprintf(stream, "        '%s:", subcommands[i]->name);
        print_zsh_text(stream, subcommands[i]->summary, "\\");
        fputs("'\n", stream);
    }
    fputs("    )\n    if ((CURRENT == 2)); then\n"
          "        _describe -t commands command commands\n"
          "        _describe -o -t options option '(--help --version)'\n        return\n    fi\n"
          "    shift words\n    ((CURRENT--))\n    case $command in\n",
          stream);
    for (int i = 0; subcommands[i]; i++) {
        fprintf(stream, "    %s)\n        _arguments \\\n", subcommands[i]->name);
        for (const struct option *o = subcommands[i]->options; o && o->name; o++)
            print_zsh_option(stream, subcommands[i], o);
        print_zsh_operands(stream, subcommands[i]);
        fputs("            '--help[how to use it]'\n        ;;\n", stream);
    }
    fputs("    esac\n}\n\nif [[ $funcstack[1] == _micromet ]]; then\n    _micromet \"$@\"\nelse\n"
          "    compdef _micromet micromet\nfi\n",
          stream);
}

/* --- The command ------------------------------------------------------------------------------ */

static const char *const shells[] = { "bash", "zsh", NULL };

static enum exit_code run(void *arguments, int count, char **operands, struct error *err)
{
    (void)arguments;
    if (count == 1 && strcmp(operands[0], "bash") == 0)
        print_bash(stdout);
    else if (count == 1 && strcmp(operands[0], "zsh") == 0)
        print_zsh(stdout);
    else
        error_set(err, EXIT_CODE_USAGE, "completion: for which shell? bash or zsh");
    return err->code;
}

const struct subcommand command_completion = {
    .name = "completion",
    .summary = "print what bash or zsh needs to complete command lines",
    .operands = "bash|zsh",
    .operand_kind = OPTION_CHOICE,
    .operand_choices = shells,
    .description = "Prints a script that completes commands, options, keys of the configuration "
                   "and their values. `cmake --install` puts it where the shells look.",
    .examples = "source <(micromet completion bash)\n"
                "micromet completion zsh > ~/.zsh/completions/_micromet\n",
    .run = run,
};
