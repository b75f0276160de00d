/* Text on a terminal (screen.h). */
#include "cli/screen.h"

#include <langinfo.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <wchar.h>

#include "base/utf8.h"

enum { LEAST_COLUMNS = 30 }; /* for words to be broken to */

static bool may_be_styled(void)
{
	const char *no_colour = getenv("NO_COLOR"), *term = getenv("TERM");
	return (!no_colour || !*no_colour) && term && *term && strcmp(term, "dumb") != 0;
}

struct screen screen_open(void)
{
	struct screen screen = {.terminal = isatty(STDOUT_FILENO)};
	screen.colour = screen.terminal && may_be_styled();
	screen.locale = newlocale(LC_CTYPE_MASK, "", (locale_t)0);
	const char *charset = screen.locale ? nl_langinfo_l(CODESET, screen.locale) : "";
	if (!*charset || strcmp(charset, "ANSI_X3.4-1968") == 0 || strcmp(charset, "US-ASCII") == 0) {
		if (screen.locale)
			freelocale(screen.locale);
		screen.locale = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
	} else if (strcmp(charset, "UTF-8") != 0) {
		screen.charset = charset;
	}
	return screen;
}

void screen_close(struct screen *screen)
{
	if (screen->locale)
		freelocale(screen->locale);
	*screen = (struct screen){0};
}

int screen_columns(void)
{
	struct winsize size = {0};
	const char *told = getenv("COLUMNS");
	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
		return size.ws_col;
	int n = told ? atoi(told) : 0;
	return n > 0 && n < 10000 ? n : 80;
}

static int characters(const char *text, int n_bytes)
{
	int n = 0;
	for (int i = 0; i < n_bytes; i++)
		n += ((unsigned char)text[i] & 0xC0) != 0x80;
	return n;
}

void screen_print_words(FILE *file, const char *text, int at, int indent, int columns)
{
	for (bool first = true; *text; first = false) {
		int n = (int)strcspn(text, " "), n_characters = characters(text, n);
		bool breaks = !first && columns > 0 && at + 1 + n_characters > columns;
		if (breaks)
			fprintf(file, "\n%*s", indent, "");
		else if (!first)
			fputc(' ', file);
		at = (breaks ? indent : at + !first) + n_characters;
		fprintf(file, "%.*s", n, text);
		text += n + (text[n] == ' ');
	}
}

void screen_print(int at, int indent, const char *format, ...)
{
	char line[1024];
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(line, sizeof line, format, arguments);
	va_end(arguments);
	int columns = isatty(STDOUT_FILENO) ? screen_columns() : 0;
	screen_print_words(stdout, line, at, indent, columns >= indent + LEAST_COLUMNS ? columns : 0);
	printf("\n");
}

/* ---- harmless text ---- */

/* A character of n bytes; n 0: a byte that is none. */
static void append_harmless(const unsigned char *text, int n, struct bytes *out)
{
	unsigned code = n > 0 ? utf8_code(text, n) : 0xFFFD;
	if (n == 0)
		bytes_append_text(out, "\xEF\xBF\xBD");
	else if ((code < 0x20 && code != '\n' && code != '\t') || code == 0x7F)
		bytes_append_format(out, "^%c", (int)(code ^ 0x40));
	else if (code != '\n' && code != '\t' && utf8_is_telling(code))
		bytes_append_format(out, "<U+%04X>", code);
	else
		bytes_append(out, text, (size_t)n);
}

void screen_make_harmless(const char *text, size_t n_bytes, struct bytes *out)
{
	const unsigned char *at = (const unsigned char *)text, *end = at + n_bytes;
	while (at < end) {
		int n = utf8_length(at, (size_t)(end - at));
		bool line_end = *at == '\r' && at + 1 < end && at[1] == '\n';
		if (!line_end)
			append_harmless(at, n, out);
		at += n > 0 ? n : 1;
	}
}

/* ---- writing ---- */

/* UTF-8 in the terminal's own characters. */
static void write_in_charset(FILE *file, locale_t locale, const char *text, size_t n_bytes)
{
	locale_t before = uselocale(locale);
	const unsigned char *at = (const unsigned char *)text, *end = at + n_bytes;
	while (at < end) {
		int n = utf8_length(at, (size_t)(end - at));
		mbstate_t fresh = {0};
		char bytes[MB_LEN_MAX];
		size_t n_out = n > 0 ? wcrtomb(bytes, (wchar_t)utf8_code(at, n), &fresh) : (size_t)-1;
		if (n_out == (size_t)-1)
			fputc('?', file);
		else
			fwrite(bytes, 1, n_out, file);
		at += n > 0 ? n : 1;
	}
	uselocale(before);
}

static void write_shown(struct screen *screen, const char *text, size_t n_bytes)
{
	struct bytes shown = {0};
	screen_make_harmless(text, n_bytes, &shown);
	if (shown.n_bytes > 0)
		screen->in_line = shown.data[shown.n_bytes - 1] != '\n';
	if (screen->charset)
		write_in_charset(stdout, screen->locale, shown.data, shown.n_bytes);
	else if (shown.n_bytes > 0)
		fwrite(shown.data, 1, shown.n_bytes, stdout);
	bytes_free(&shown);
}

/* How many bytes at the end of a text are not to be judged before more comes: a character's beginning, or a CR. */
static size_t unfinished(const char *text, size_t n_bytes)
{
	const unsigned char *bytes = (const unsigned char *)text;
	if (n_bytes > 0 && bytes[n_bytes - 1] == '\r')
		return 1;
	for (size_t n = 1; n <= 3 && n <= n_bytes; n++) {
		unsigned char lead = bytes[n_bytes - n];
		if ((lead & 0xC0) == 0x80)
			continue;
		size_t needs = lead >= 0xF0 && lead <= 0xF4 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC2 ? 2 : 1;
		return needs > n ? n : 0;
	}
	return 0;
}

void screen_text(struct screen *screen, const char *text, size_t n_bytes)
{
	if (n_bytes == 0)
		return;
	if (!screen->terminal) {
		fwrite(text, 1, n_bytes, stdout);
		screen->in_line = text[n_bytes - 1] != '\n';
		return;
	}
	struct bytes all = {0};
	bytes_append(&all, screen->held, screen->n_held);
	bytes_append(&all, text, n_bytes);
	if (all.failed) {
		bytes_free(&all);
		return;
	}
	screen->n_held = unfinished(all.data, all.n_bytes);
	size_t n_whole = all.n_bytes - screen->n_held;
	memcpy(screen->held, all.data + n_whole, screen->n_held);
	write_shown(screen, all.data, n_whole);
	bytes_free(&all);
}

void screen_end_text(struct screen *screen)
{
	size_t n_held = screen->n_held;
	screen->n_held = 0;
	write_shown(screen, screen->held, n_held);
}

void screen_end_line(struct screen *screen)
{
	screen_end_text(screen);
	if (screen->in_line)
		putchar('\n');
	screen->in_line = false;
}

void screen_print_text(const char *text, size_t n_bytes)
{
	struct screen screen = screen_open();
	screen_text(&screen, text, n_bytes);
	screen_end_text(&screen);
	screen_close(&screen);
}

void screen_print_json(const char *json, size_t n_bytes)
{
	const unsigned char *at = (const unsigned char *)json, *end = at + n_bytes;
	struct bytes shown = {0};
	if (!isatty(STDOUT_FILENO)) {
		fwrite(json, 1, n_bytes, stdout);
		return;
	}
	while (at < end) {
		int n = utf8_length(at, (size_t)(end - at));
		unsigned code = n > 0 ? utf8_code(at, n) : 0;
		if (code > ' ' && utf8_is_telling(code)) /* those below stand between its values only */
			bytes_append_format(&shown, "\\u%04x", code);
		else
			bytes_append(&shown, at, n > 0 ? (size_t)n : 1);
		at += n > 0 ? n : 1;
	}
	screen_print_text(shown.data ? shown.data : "", shown.n_bytes);
	bytes_free(&shown);
}

/* ---- lines of our own ---- */

static void say_in_charset(FILE *file, locale_t locale, const char *line, int columns)
{
	char *words = NULL;
	size_t n_bytes = 0;
	FILE *memory = open_memstream(&words, &n_bytes);
	if (!memory)
		return;
	screen_print_words(memory, line, 0, 0, columns);
	if (fclose(memory) == 0)
		write_in_charset(file, locale, words, n_bytes);
	free(words);
}

void screen_say(FILE *file, int columns, const char *format, va_list arguments)
{
	char line[1024];
	struct bytes shown = {0};
	struct screen screen = screen_open();
	vsnprintf(line, sizeof line, format, arguments);
	screen_make_harmless(line, strlen(line), &shown);
	bytes_append(&shown, "", 0);
	if (screen.charset && isatty(fileno(file)))
		say_in_charset(file, screen.locale, shown.data ? shown.data : "", columns);
	else
		screen_print_words(file, shown.data ? shown.data : "", 0, 0, columns);
	fputc('\n', file);
	fflush(file);
	bytes_free(&shown);
	screen_close(&screen);
}

void screen_dim(struct screen *screen, bool dim)
{
	screen_end_text(screen);
	if (screen->colour)
		fputs(dim ? "\033[2m" : "\033[0m", stdout);
}
