/* Texts: names of any bytes made fit for terminals, shells, JSON and CSV, and the nearest of
 * several names for "did you mean ...?". */
#ifndef MICROMET_BASE_TEXT_H
#define MICROMET_BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* --- names of files, and strings in files ------------------------------------------------------
 * They may hold any bytes but 0. Where a byte cannot stand as it is, \n, \t, \xNN or \uNNNN stands
 * for it. */

/* Decode the UTF-8 code point at *text and advance; -1 if the bytes are not valid UTF-8. */
int32_t text_utf8_next(const char **text);

bool text_is_utf8(const char *text);

enum { TEXT_SHOWN_MAX = 6 * 1024 };
/* A copy fit for a terminal: valid UTF-8 in one line, without control characters (which could move
 * the cursor or change colours and titles) and without marks that turn the direction of writing.
 * Cut if it is too long. Returns `out`. */
const char *text_shown(char out[TEXT_SHOWN_MAX], const char *text);
/* The copy as an argument of printf(); it lives as long as the enclosing block. */
#define SHOWN(text) text_shown((char[TEXT_SHOWN_MAX]) { 0 }, text)
/* Print any length of text as text_shown() shows it. */
void text_print_shown(FILE *stream, const char *text);

/* Print the text as one word of the shell's, quoted if need be: for scripts. */
void text_print_word(FILE *stream, const char *text);
/* The same for commands in messages, which are copied from a terminal: where the text does not fit
 * one, it stands as $'...', which bash, ksh and zsh know. Cut if it is too long. Returns `out`. */
const char *text_word(char out[TEXT_SHOWN_MAX], const char *text);
/* As SHOWN(). */
#define WORD(text) text_word((char[TEXT_SHOWN_MAX]) { 0 }, text)

/* A copy that is valid UTF-8, as JSON needs it. Returns `out`. */
const char *text_utf8(char out[TEXT_SHOWN_MAX], const char *text);
/* Print a field of CSV, quoted if necessary (RFC 4180). Line ends and tabs stay, within quotes;
 * other control characters are printed as text_shown() does. */
void text_print_csv(FILE *stream, const char *text);

/* --- the nearest name -------------------------------------------------------------------------*/

/* Edit distance: insertions, deletions, replacements and swaps of neighbours (optimal string
 * alignment). Only the first 64 bytes of each text are compared. */
int text_distance(const char *a, const char *b);

enum { NEAREST_MAX = 128 };

/* Offer candidates one by one; `best` then holds the nearest one, or "" if none is near enough to
 * be a typing error (a distance of at most a third of the word's letters, or 2). */
struct text_nearest {
    const char *word;
    int distance;
    char best[NEAREST_MAX];
};

struct text_nearest text_nearest_init(const char *word);
void text_nearest_offer(struct text_nearest *nearest, const char *candidate);

#endif
