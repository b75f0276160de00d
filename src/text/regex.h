/* Regular expressions of tokenizer.json: written for Oniguruma (Ruby syntax), run by PCRE2.
 *
 * Compiling translates what the two read differently (\s, \w, \h, POSIX brackets, script names, (?m), {,n}, {n,m}+) and
 * refuses what has no equal. Characters that are newer than PCRE2's tables are matched as older ones of their classes, so
 * that \p{...} of a script may miss them (not of Han and kana). Matches of one text are read before the next text is given to
 * the same scratch. Matching has limits: an expression that backtracks without end, or text on which it takes far too long,
 * is an error.
 */
#ifndef TALLOW_TEXT_REGEX_H
#define TALLOW_TEXT_REGEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"

struct regex;
struct regex_scratch; /* what matching needs; one per thread and nesting */

/* What the time of matching is limited by, in all scratch that shares it: stages that are slow one after the other take no
 * longer than one of them. Zeroed at first; one thread. */
struct regex_clock {
	int64_t start_ns;      /* CPU time where what is measured now began; 0: nothing yet */
	int64_t spent_ns;      /* measured before */
	uint64_t n_text_bytes; /* that were searched */
	unsigned n_calls;
};

struct regex *regex_compile(const char *pattern, size_t n_bytes, struct error *error) MUST_USE;
void regex_destroy(struct regex *regex);
size_t regex_bytes(const struct regex *regex);

/* The clock is borrowed; NULL: one of its own. */
struct regex_scratch *regex_scratch_create(struct regex_clock *clock, struct error *error) MUST_USE;
void regex_scratch_destroy(struct regex_scratch *scratch);
/* What the thread does until the next match is not the expressions' time. For scratch that is kept while other work goes
 * on, as a stream's is. */
void regex_scratch_pause(struct regex_scratch *scratch);

/* All matches of one text, in order. An empty match right after the one before is passed over, as Oniguruma's
 * bindings do. */
struct regex_matches {
	const struct regex *regex;
	struct regex_scratch *scratch;
	const char *text; /* valid UTF-8, with stand-ins for what PCRE2 may not know; NULL: no memory for them */
	size_t n_bytes;
	size_t at;       /* where to look next */
	size_t last_end; /* of the last match; SIZE_MAX before the first */
};

struct regex_matches regex_matches(const struct regex *regex, struct regex_scratch *scratch, const char *text,
                                   size_t n_bytes);
/* False only on error; *found says whether [*start, *end) was set. */
bool regex_next(struct regex_matches *matches, bool *found, size_t *start, size_t *end, struct error *error) MUST_USE;

/* The translated pattern; for tests. */
bool regex_translate(const char *pattern, size_t n_bytes, struct bytes *out, struct error *error) MUST_USE;

#endif
