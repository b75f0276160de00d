/* Standard output as a person sees it. What a model says is hostile there: on a terminal a control character is shown and
 * never sent, so that no text moves the cursor, retitles the window or answers in the user's name. Into a pipe or a file
 * text goes as it is.
 *
 *     struct screen screen = screen_open();
 *     screen_text(&screen, text, n_bytes);      // a piece, however it is cut: no half characters are written
 *     screen_end_line(&screen);
 *
 * Whole texts need no object: screen_print_text, and screen_print_json for what is JSON.
 *
 * On a terminal whose locale has another character set than UTF-8 text is written in that; what it lacks is a '?'. The C locale
 * names none and is taken for UTF-8.
 */
#ifndef TALLOW_CLI_SCREEN_H
#define TALLOW_CLI_SCREEN_H

#include <locale.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "base/bytes.h"
#include "base/error.h"

struct screen {
	bool terminal;       /* standard output is one ... */
	bool colour;         /* ... that may be sent styles: NO_COLOR is empty, and it is not dumb */
	locale_t locale;     /* of the terminal's characters; (locale_t)0: the C library's own */
	const char *charset; /* its name where it is another than UTF-8; else NULL */
	char held[4];        /* the beginning of a character, or a CR */
	size_t n_held;
	bool in_line; /* something stands in the line */
};

struct screen screen_open(void);
void screen_close(struct screen *screen);

/* Columns of the terminal; 80 where nobody knows. */
int screen_columns(void);

/* Words of a line of our own that begins at column `at`, broken between words before `columns`; what follows stands at
 * `indent`. 0 columns: not broken. Without a line end. */
void screen_print_words(FILE *file, const char *text, int at, int indent, int columns);
/* A line on standard output, the same; broken where that is a terminal with room for it. */
void screen_print(int at, int indent, const char *format, ...) PRINTF_LIKE(3, 4);

/* A line of our own, which may hold names that others gave: made harmless, broken as above, in the terminal's characters. */
void screen_say(FILE *file, int columns, const char *format, va_list arguments);

/* Text of a model or a file. */
void screen_text(struct screen *screen, const char *text, size_t n_bytes);
/* Writes what is held: nothing more comes of this text. */
void screen_end_text(struct screen *screen);
/* A whole text of that kind, on standard output. */
void screen_print_text(const char *text, size_t n_bytes);
/* JSON that holds such texts, on standard output; what would be changed in a text is written as an escape for a terminal. */
void screen_print_json(const char *json, size_t n_bytes);
/* The same as screen_end_text, and a line end, unless the line is empty. */
void screen_end_line(struct screen *screen);
/* What follows is dim, or plain again; nothing without colour. */
void screen_dim(struct screen *screen, bool dim);

/* A text as a terminal may be sent it: control characters in caret notation, those that turn the direction of writing around as
 * <U+202E>. Whole characters only; lines and tabs stay. */
void screen_make_harmless(const char *text, size_t n_bytes, struct bytes *out);

#endif
