/* Reading lines (lines.h). */
#include "cli/chat/lines.h"

#include <errno.h>
#include <histedit.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <wchar.h>

#include "base/utf8.h"
#include "cli/chat/typed.h"

enum { HISTORY_LINES = 1000 };

struct lines {
	const struct screen *screen;
	struct interrupts *interrupts;
	bool person; /* standard input is a terminal */
	long number;

	EditLine *editor; /* NULL: lines come as the terminal or the pipe gives them */
	HistoryW *history;
	struct typed typed;
	bool pasted, resized; /* since the editor was given a key */
	const char *prompt;
	struct bytes *line;     /* that is being read */
	enum line_read outcome; /* why the editor got no character */

	char block[4096]; /* read, and not yet given, where there is no editor */
	size_t at, n_block;
	bool at_end;
};

/* ---- waiting ---- */

/* Until something can be read; LINE_READ then. `on_change` is called when the window changed or the process goes on; true ends
 * the waiting, too. */
static enum line_read wait_for_input(struct lines *lines, bool (*on_change)(struct lines *, enum signal_seen))
{
	for (;;) {
		struct pollfd fds[] = {{.fd = STDIN_FILENO, .events = POLLIN}, {.fd = lines->interrupts->fd, .events = POLLIN}};
		if (poll(fds, 2, -1) < 0 && errno != EINTR)
			return LINE_ENDED;
		enum signal_seen seen = fds[1].revents ? interrupts_next(lines->interrupts) : SIGNAL_NONE;
		if (seen == SIGNAL_INTERRUPT)
			return LINE_INTERRUPTED;
		if (seen == SIGNAL_END)
			return LINE_ENDED;
		if (seen == SIGNAL_NONE ? fds[0].revents != 0 : on_change(lines, seen))
			return LINE_READ;
	}
}

/* ---- with the editor ---- */

static struct lines *lines_of(EditLine *editor)
{
	void *lines = NULL;
	el_wget(editor, EL_CLIENTDATA, &lines);
	return lines;
}

static bool editor_changed(struct lines *lines, enum signal_seen seen)
{
	if (seen == SIGNAL_PAUSE) {
		el_wset(lines->editor, EL_PREP_TERM, 0);
		interrupts_pause();
		el_wset(lines->editor, EL_PREP_TERM, 1);
		el_wset(lines->editor, EL_REFRESH);
	}
	el_resize(lines->editor);
	lines->resized |= seen == SIGNAL_RESIZE;
	return lines->resized;
}

static void append_wide(struct bytes *line, const wchar_t *text, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		char bytes[4];
		bytes_append(line, bytes, (size_t)utf8_encode((unsigned)text[i], bytes));
	}
}

/* What was typed of a line that gets no end; the editor forgets it. */
static int leave(struct lines *lines)
{
	const LineInfoW *line = el_wline(lines->editor);
	append_wide(lines->line, line->buffer, (size_t)(line->lastchar - line->buffer));
	typed_forget(&lines->typed);
	return -1;
}

/* UTF-8 as wide characters, [*n] and a NUL. Caller frees; NULL: no memory. */
static wchar_t *widen(const char *text, size_t n_bytes, size_t *n)
{
	wchar_t *wide = calloc(n_bytes + 1, sizeof *wide);
	*n = 0;
	for (size_t at = 0; wide && at < n_bytes;) {
		int length = utf8_length((const unsigned char *)text + at, n_bytes - at);
		wide[(*n)++] = length > 0 ? (wchar_t)utf8_code((const unsigned char *)text + at, length) : 0xFFFD;
		at += length > 0 ? (size_t)length : 1;
	}
	return wide;
}

/* What a paste or another size of the window does to the line. The editor does it when it is given this key. */
static const wchar_t change_key = L'_' & 0x1F;

/* A pasted text becomes part of the line, its line ends, too. */
static unsigned char change_line(EditLine *editor, wint_t key)
{
	(void)key;
	size_t n;
	struct lines *lines = lines_of(editor);
	const struct bytes *paste = &lines->typed.paste;
	if (lines->resized) {
		lines->resized = false;
		return CC_REDISPLAY;
	}
	if (!lines->pasted)
		return CC_NORM;
	lines->pasted = false;
	wchar_t *wide = widen(paste->data, paste->n_bytes, &n);
	bool ok = wide && (n == 0 || el_winsertstr(editor, wide) == 0);
	free(wide);
	return ok ? CC_REFRESH : CC_REFRESH_BEEP;
}

/* Waits for a key, which may be part of a character. False: none comes, and lines->outcome says why. */
static bool next_key(struct lines *lines, unsigned char *byte)
{
	for (;;) {
		enum key_taken taken = typed_take(&lines->typed, byte);
		if (taken == KEY_BYTE)
			return true;
		if (taken == KEY_PASTE || lines->resized) {
			lines->pasted |= taken == KEY_PASTE;
			*byte = (unsigned char)change_key;
			return true;
		}
		lines->outcome = wait_for_input(lines, editor_changed);
		if (lines->resized)
			continue;
		if (lines->outcome == LINE_READ && typed_read(&lines->typed) == 0)
			lines->outcome = LINE_ENDED;
		if (lines->outcome != LINE_READ)
			return false;
	}
}

/* The editor's next character; 0 or less: there is none, and lines->outcome says why. */
static int next_character(EditLine *editor, wchar_t *out)
{
	struct lines *lines = lines_of(editor);
	mbstate_t state = {0};
	unsigned char byte;
	lines->outcome = LINE_READ;
	for (int n_bytes = 0; next_key(lines, &byte);) {
		size_t used = mbrtowc(out, (const char *)&byte, 1, &state);
		if (used != (size_t)-1 && used != (size_t)-2)
			return 1;
		if (used == (size_t)-1 || ++n_bytes == 8) { /* no character: what comes next may be one */
			state = (mbstate_t){0};
			n_bytes = 0;
		}
	}
	return leave(lines);
}

static wchar_t *prompt_of(EditLine *editor)
{
	static wchar_t wide[64];
	swprintf(wide, sizeof wide / sizeof *wide, L"%s", lines_of(editor)->prompt);
	return wide;
}

/* A terminal that can place its cursor; the editor writes to it what is typed. */
static void open_editor(struct lines *lines)
{
	const char *term = getenv("TERM");
	if (!lines->person || !lines->screen->terminal || !term || !*term || strcmp(term, "dumb") == 0)
		return;
	HistEventW event;
	lines->editor = el_init("tallow", stdin, stdout, stderr);
	lines->history = lines->editor ? history_winit() : NULL;
	if (!lines->history)
		return;
	history_w(lines->history, &event, H_SETSIZE, HISTORY_LINES);
	history_w(lines->history, &event, H_SETUNIQUE, 1);
	el_wset(lines->editor, EL_CLIENTDATA, lines);
	el_wset(lines->editor, EL_PROMPT, prompt_of);
	el_wset(lines->editor, EL_EDITOR, L"emacs");
	el_wset(lines->editor, EL_HIST, history_w, lines->history);
	el_wset(lines->editor, EL_GETCFN, next_character);
	el_wset(lines->editor, EL_ADDFN, L"change-line", L"insert what was pasted", change_line);
	el_wset(lines->editor, EL_BIND, L"^_", L"change-line", NULL);
	el_wset(lines->editor, EL_BIND, L"^R", L"em-inc-search-prev", NULL);
	el_source(lines->editor, NULL); /* the user's ~/.editrc */
}

/* A line that got no end: the terminal is left as after others. */
static enum line_read end_line(struct lines *lines)
{
	el_wset(lines->editor, EL_PREP_TERM, 0);
	fputs(lines->outcome == LINE_INTERRUPTED ? "^C\n" : "\n", stdout);
	fflush(stdout);
	el_reset(lines->editor);
	return lines->outcome;
}

static enum line_read read_edited(struct lines *lines, struct bytes *line)
{
	int n = 0;
	typed_ask_for_marks(true);
	/* Before the prompt is seen: what is typed then is the editor's, not the terminal's. */
	el_wset(lines->editor, EL_PREP_TERM, 1);
	const wchar_t *text = el_wgets(lines->editor, &n);
	typed_ask_for_marks(false);
	if (!text || n <= 0) {
		if (lines->outcome == LINE_READ)
			lines->outcome = LINE_ENDED; /* a character came, and it was Ctrl-D */
		return end_line(lines);
	}
	append_wide(line, text, (size_t)n);
	if (line->n_bytes > 0 && line->data[line->n_bytes - 1] == '\n')
		line->data[--line->n_bytes] = '\0';
	return LINE_READ;
}

/* ---- without ---- */

static bool terminal_changed(struct lines *lines, enum signal_seen seen)
{
	(void)lines;
	if (seen == SIGNAL_PAUSE)
		interrupts_pause();
	return false;
}

static enum line_read fill_block(struct lines *lines, struct error *error)
{
	for (;;) {
		enum line_read waited = wait_for_input(lines, terminal_changed);
		if (waited != LINE_READ)
			return waited;
		ssize_t n = read(STDIN_FILENO, lines->block, sizeof lines->block);
		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (n < 0) {
			error_set(error, ERROR_USAGE, "cannot read standard input: %s", strerror(errno));
			return LINE_FAILED;
		}
		lines->at = 0;
		lines->n_block = (size_t)n;
		lines->at_end = n == 0;
		return LINE_READ;
	}
}

static enum line_read read_plain(struct lines *lines, struct bytes *line, struct error *error)
{
	for (bool begun = false;; begun = true) {
		enum line_read filled = lines->at < lines->n_block || lines->at_end ? LINE_READ : fill_block(lines, error);
		if (filled != LINE_READ)
			return filled;
		if (lines->at_end) {
			lines->at_end = !lines->person || !begun; /* a terminal goes on after Ctrl-D behind some text */
			return begun ? LINE_READ : LINE_ENDED;
		}
		const char *from = lines->block + lines->at;
		size_t n_left = lines->n_block - lines->at;
		const char *end = memchr(from, '\n', n_left);
		size_t n = end ? (size_t)(end - from) : n_left;
		bytes_append(line, from, n);
		lines->at += n + (end != NULL);
		if (end && line->n_bytes > 0 && line->data[line->n_bytes - 1] == '\r')
			line->data[--line->n_bytes] = '\0';
		if (end)
			return LINE_READ;
	}
}

/* What a terminal of another character set gave, in UTF-8. */
static void convert(const struct lines *lines, struct bytes *line)
{
	locale_t before = uselocale(lines->screen->locale);
	struct bytes converted = {.max_bytes = line->max_bytes};
	mbstate_t state = {0};
	for (size_t at = 0; at < line->n_bytes;) {
		wchar_t wide = 0xFFFD;
		size_t used = mbrtowc(&wide, line->data + at, line->n_bytes - at, &state);
		bool good = used != 0 && used != (size_t)-1 && used != (size_t)-2;
		append_wide(&converted, good ? &wide : L"\uFFFD", 1);
		at += good ? used : 1;
	}
	uselocale(before);
	bytes_free(line);
	*line = converted;
}

static bool is_utf8(const struct bytes *line)
{
	const unsigned char *at = (const unsigned char *)line->data, *end = at + line->n_bytes;
	for (int n; at < end; at += n)
		if ((n = utf8_length(at, (size_t)(end - at))) == 0)
			return false;
	return true;
}

static enum line_read check_line(const struct lines *lines, struct bytes *line, struct error *error)
{
	if (line->full)
		error_set(error, ERROR_USAGE, "line %ld of standard input has more than %d MiB", lines->number,
		          LINES_MAX_BYTES >> 20);
	else if (line->failed)
		error_set(error, ERROR_MEMORY, "no memory for line %ld of standard input", lines->number);
	else if (!is_utf8(line))
		error_set(error, ERROR_USAGE, "line %ld of standard input is not UTF-8 (iconv converts it)", lines->number);
	else
		return LINE_READ;
	return LINE_FAILED;
}

/* ---- the object ---- */

struct lines *lines_open(const struct screen *screen, struct interrupts *interrupts, struct error *error)
{
	struct lines *lines = calloc(1, sizeof *lines);
	if (!lines) {
		error_set(error, ERROR_MEMORY, "no memory to read lines");
		return NULL;
	}
	lines->screen = screen;
	lines->interrupts = interrupts;
	lines->person = isatty(STDIN_FILENO);
	lines->typed.fd = STDIN_FILENO;
	locale_t before = uselocale(screen->locale ? screen->locale : LC_GLOBAL_LOCALE);
	open_editor(lines);
	uselocale(before);
	return lines;
}

void lines_close(struct lines *lines)
{
	if (!lines)
		return;
	if (lines->history)
		history_wend(lines->history);
	if (lines->editor)
		el_end(lines->editor);
	typed_free(&lines->typed);
	free(lines);
}

static void show_prompt(const struct lines *lines, const char *prompt)
{
	FILE *file = lines->screen->terminal ? stdout : stderr;
	if (!lines->person || !isatty(fileno(file)))
		return;
	fputs(prompt, file);
	fflush(file);
}

enum line_read lines_read(struct lines *lines, const char *prompt, struct bytes *line, struct error *error)
{
	enum line_read outcome;
	bytes_clear(line);
	line->max_bytes = LINES_MAX_BYTES;
	bytes_append(line, "", 0);
	lines->prompt = prompt;
	lines->line = line;
	lines->number++;
	locale_t before = uselocale(lines->screen->locale ? lines->screen->locale : LC_GLOBAL_LOCALE);
	if (lines->history) {
		outcome = read_edited(lines, line);
	} else {
		show_prompt(lines, prompt);
		outcome = read_plain(lines, line, error);
		if (outcome == LINE_READ && lines->person && lines->screen->charset)
			convert(lines, line);
		if (outcome != LINE_READ && lines->person)
			fputs("\n", lines->screen->terminal ? stdout : stderr);
	}
	uselocale(before);
	return outcome == LINE_READ ? check_line(lines, line, error) : outcome;
}

void lines_remember(struct lines *lines, const char *text)
{
	HistEventW event;
	if (!lines->history || !*text)
		return;
	locale_t before = uselocale(lines->screen->locale ? lines->screen->locale : LC_GLOBAL_LOCALE);
	size_t n;
	wchar_t *wide = widen(text, strlen(text), &n);
	if (wide)
		history_w(lines->history, &event, H_ENTER, wide);
	free(wide);
	uselocale(before);
}

void lines_library_version(struct bytes *out)
{
	bytes_append_format(out, "libedit %d.%d", LIBEDIT_MAJOR, LIBEDIT_MINOR);
}
