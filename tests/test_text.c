/* Names of any bytes: as a terminal, CSV and JSON get them. */
#include "micromet/base/text.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "micromet/base/size.h"
#include "micromet/format/json.h"

static const struct {
    const char *name, *shown, *csv;
} names[] = {
    { "plain.tif", "plain.tif", "plain.tif" },
    { "", "", "" },
    { "Größe µ 漢字 🔬.tif", "Größe µ 漢字 🔬.tif", "Größe µ 漢字 🔬.tif" },
    { "a, b.tif", "a, b.tif", "\"a, b.tif\"" },
    { "say \"a\".tif", "say \"a\".tif", "\"say \"\"a\"\".tif\"" },
    { "two\nlines", "two\\nlines", "\"two\nlines\"" },
    { "tab\there", "tab\\there", "\"tab\there\"" },
    { "dos\r\n", "dos\\x0d\\n", "\"dos\r\n\"" },
    { "\033[31mred", "\\x1b[31mred", "\\x1b[31mred" },
    { "\033]0;title\007,", "\\x1b]0;title\\x07,", "\"\\x1b]0;title\\x07,\"" },
    { "del\177", "del\\x7f", "del\\x7f" },
    { "csi \xc2\x9b"
      "31m",
      "csi \\u009b31m", "csi \\u009b31m" }, /* U+009B is ESC [ */
    { "\xe2\x80\xae"
      "fit",
      "\\u202efit", "\\u202efit" },                           /* right to left */
    { "\xe2\x80\xa8", "\\u2028", "\\u2028" },                 /* line separator */
    { "gr\xf6sse", "gr\\xf6sse", "gr\\xf6sse" },              /* Latin-1 */
    { "\xc0\x80", "\\xc0\\x80", "\\xc0\\x80" },               /* overlong */
    { "\xed\xa0\x80", "\\xed\\xa0\\x80", "\\xed\\xa0\\x80" }, /* half a surrogate pair */
    { "cut \xe6\xbc", "cut \\xe6\\xbc", "cut \\xe6\\xbc" },   /* two bytes of three */
};

static char *csv_of(const char *name)
{
    char *text = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&text, &size);
    cr_assert(stream);
    text_print_csv(stream, name);
    fclose(stream);
    return text;
}

Test(text, a_name_on_a_terminal_is_one_line_of_plain_text)
{
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        const char *shown = SHOWN(names[i].name);
        cr_expect_str_eq(shown, names[i].shown);
        cr_expect_str_eq(SHOWN(shown), shown, "what was shown once stays as it is");
    }
}

/* What bash makes of it as a word of a command. */
static void read_by_bash(const char *word, char *out, size_t size)
{
    char command[TEXT_SHOWN_MAX + 64];
    snprintf(command, sizeof command, "printf %%s. %s", word);
    int ends[2];
    cr_assert_eq(pipe(ends), 0);
    const pid_t child = fork();
    if (child == 0) {
        dup2(ends[1], STDOUT_FILENO);
        execlp("bash", "bash", "-c", command, NULL);
        _exit(127);
    }
    close(ends[1]);
    size_t length = 0;
    for (ssize_t got; (got = read(ends[0], out + length, size - 1 - length)) > 0;)
        length += (size_t)got;
    close(ends[0]);
    cr_assert_eq(waitpid(child, NULL, 0), child);
    cr_assert(length > 0 && out[length - 1] == '.');
    out[length - 1] = '\0';
}

Test(text, a_word_of_the_shell_is_the_name_again_and_fits_a_terminal)
{
    static const char *const more[] = {
        "it's \"here\" $HOME `id` \\ 50%", "'", "~", "a;b", "*", "-n\\", "'\\\001"
    };
    for (size_t i = 0; i < COUNT_OF(names) + COUNT_OF(more); i++) {
        const char *name = i < COUNT_OF(names) ? names[i].name : more[i - COUNT_OF(names)];
        const char *word = WORD(name);
        char read[TEXT_SHOWN_MAX], raw[TEXT_SHOWN_MAX];
        FILE *stream = fmemopen(raw, sizeof raw, "w");
        text_print_word(stream, name);
        fclose(stream);
        read_by_bash(word, read, sizeof read);
        cr_expect_str_eq(read, name, "%s", word);
        cr_expect_str_eq(SHOWN(word), word);
        read_by_bash(raw, read, sizeof read);
        cr_expect_str_eq(read, name);
    }
    cr_expect_str_eq(WORD("runs/seed-1.5/step@2"), "runs/seed-1.5/step@2");
    cr_expect_str_eq(WORD("my runs"), "'my runs'");
    cr_expect_str_eq(WORD("\033[31mred's"), "$'\\033[31mred\\'s'");
}

Test(text, a_field_of_csv_is_quoted_as_rfc_4180_says)
{
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        char *csv = csv_of(names[i].name);
        cr_expect_str_eq(csv, names[i].csv);
        free(csv);
    }
}

Test(text, every_name_is_a_string_of_json)
{
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        json_t *name = json_name(names[i].name);
        char *text = json_dumps(name, JSON_ENCODE_ANY);
        json_t *back = text ? json_loads(text, JSON_DECODE_ANY, NULL) : NULL;
        cr_assert(json_is_string(back), "%s", names[i].shown);
        const char *p = names[i].name;
        while (*p && text_utf8_next(&p) >= 0) continue;
        if (!*p) cr_expect_str_eq(json_string_value(back), names[i].name);
        json_decref(name);
        json_decref(back);
        free(text);
    }
}

Test(text, what_is_no_number_is_null_in_json)
{
    json_t *values[] = { json_number(NAN), json_number(INFINITY), json_number(0) };
    cr_expect(json_is_null(values[0]));
    cr_expect(json_is_null(values[1]));
    cr_expect(json_is_real(values[2]));
    for (size_t i = 0; i < COUNT_OF(values); i++) json_decref(values[i]);
}

Test(text, long_names_are_cut_where_a_character_ends)
{
    static char name[2 * TEXT_SHOWN_MAX];
    for (size_t i = 0; i + 2 < sizeof name; i += 2) memcpy(name + i, "\xc3\xb6", 2);
    const char *shown = SHOWN(name);
    cr_expect_lt(strlen(shown), TEXT_SHOWN_MAX);
    cr_expect_gt(strlen(shown), TEXT_SHOWN_MAX - 16);
    cr_expect_eq(strlen(shown) % 2, 0);
}
