/* Lines of standard input: edited with libedit (history, cursor keys) where a person sits at a terminal that can do it; with
 * the terminal's own line discipline where it is dumb or standard output is none; read as they come from a pipe.
 *
 *     struct lines *lines = lines_open(&screen, &interrupts, &error);
 *     while (lines_read(lines, "> ", &line, &error) != LINE_ENDED) ...
 *     lines_close(lines);
 */
#ifndef TALLOW_CLI_CHAT_LINES_H
#define TALLOW_CLI_CHAT_LINES_H

#include "base/bytes.h"
#include "base/error.h"
#include "cli/chat/interrupts.h"
#include "cli/screen.h"

enum { LINES_MAX_BYTES = 16 << 20 }; /* of one line */

enum line_read {
	LINE_READ,
	LINE_INTERRUPTED, /* Ctrl-C; what was typed of the line is in `line` as far as it is known */
	LINE_ENDED,       /* Ctrl-D, the end of the input, or a signal that ends the process */
	LINE_FAILED,      /* *error: not readable, too long, no UTF-8 */
};

struct lines;

/* `screen` and `interrupts` are borrowed until lines_close. ERROR_MEMORY. */
struct lines *lines_open(const struct screen *screen, struct interrupts *interrupts, struct error *error) MUST_USE;
/* Puts the terminal back as it was. NULL is harmless. */
void lines_close(struct lines *lines);

/* `line` is replaced by the next line in UTF-8, without its end. The prompt is ASCII, and is shown to a person only. */
enum line_read lines_read(struct lines *lines, const char *prompt, struct bytes *line, struct error *error) MUST_USE;
/* What Ctrl-P and the cursor keys bring back: UTF-8, of one line or several. */
void lines_remember(struct lines *lines, const char *text);
/* Appends the name and version of the library behind this. */
void lines_library_version(struct bytes *out);

#endif
