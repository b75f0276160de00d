/* Stop strings: matched on text, across token borders; text that may yet begin one is held back.
 *
 *     struct stop_matcher stops;  stop_init(&stops, strings, n);     // borrows the strings
 *     bool hit = stop_push(&stops, text, n, &safe);                  // appends what may be sent
 *     bool hit = stop_push_control(&stops, "<|eot|>", 7, &safe);     // a control token came, which has no text
 *     stop_finish(&stops, &safe);                                    // nothing more comes: what was held back is safe
 *     stop_free(&stops);
 *
 * On a hit `safe` got everything before the stop string and `matched` tells which one: the one that is complete first;
 * of several that end together, the one that starts first, then the one given first. So the result depends on the text
 * alone, not on how it was cut into pushes. When memory is short `safe->failed` is set; text is then missing, and whoever
 * sends it must say so instead. A control token is hit by a stop string that is its spelling, no more and no
 * less; text before and after it is joined. The text is UTF-8; an empty stop string never matches.
 */
#ifndef TALLOW_TEXT_STOP_H
#define TALLOW_TEXT_STOP_H

#include <stdbool.h>
#include <stddef.h>

#include "base/bytes.h"

enum { STOP_MAX_STRINGS = 64 };

struct stop_string {
	const char *text;
	size_t n_bytes;
};

struct stop_matcher {
	struct stop_string strings[STOP_MAX_STRINGS];
	int n_strings;
	int matched;       /* index of the string that was hit, or -1 */
	struct bytes held; /* text that may begin a stop string */
};

/* n_strings <= STOP_MAX_STRINGS; their texts are borrowed until stop_free. */
void stop_init(struct stop_matcher *matcher, const struct stop_string *strings, int n_strings);
/* Both: true on a hit; `safe` is appended to. */
bool stop_push(struct stop_matcher *matcher, const char *text, size_t n_bytes, struct bytes *safe);
bool stop_push_control(struct stop_matcher *matcher, const char *spelling, size_t n_bytes, struct bytes *safe);
/* Appends what was held back. */
void stop_finish(struct stop_matcher *matcher, struct bytes *safe);
/* Leaves a matcher that only stop_init may touch. */
void stop_free(struct stop_matcher *matcher);

#endif
