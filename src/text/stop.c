/* Stop strings. The text held back is always the longest end of all text so far that begins one of them, so each push
 * looks at that and the new text only.
 */
#include "text/stop.h"

#include <string.h>

void stop_init(struct stop_matcher *matcher, const struct stop_string *strings, int n_strings)
{
	*matcher = (struct stop_matcher){.n_strings = n_strings, .matched = -1};
	for (int i = 0; i < n_strings; i++)
		matcher->strings[i] = strings[i];
}

void stop_free(struct stop_matcher *matcher)
{
	bytes_free(&matcher->held);
}

/* The stop string that is complete first; of several that end together, the one that starts first. */
static int find_hit(const struct stop_matcher *matcher, size_t *start)
{
	const char *text = matcher->held.data;
	size_t n_bytes = matcher->held.n_bytes, best_end = 0;
	int hit = -1;
	for (int i = 0; i < matcher->n_strings; i++) {
		const struct stop_string *stop = &matcher->strings[i];
		const char *at = stop->n_bytes ? memmem(text, n_bytes, stop->text, stop->n_bytes) : NULL;
		if (!at)
			continue;
		size_t end = (size_t)(at - text) + stop->n_bytes;
		if (hit >= 0 && (end > best_end || (end == best_end && (size_t)(at - text) >= *start)))
			continue;
		hit = i;
		best_end = end;
		*start = (size_t)(at - text);
	}
	return hit;
}

/* Where the longest end begins that may yet become a stop string; n_bytes for none. */
static size_t held_from(const struct stop_matcher *matcher)
{
	const char *text = matcher->held.data;
	size_t n_bytes = matcher->held.n_bytes, longest = 0;
	for (int i = 0; i < matcher->n_strings; i++) {
		const struct stop_string *stop = &matcher->strings[i];
		size_t n = stop->n_bytes ? stop->n_bytes - 1 : 0;
		n = n < n_bytes ? n : n_bytes;
		while (n > longest && memcmp(text + n_bytes - n, stop->text, n) != 0)
			n--;
		longest = n > longest ? n : longest;
	}
	return n_bytes - longest;
}

bool stop_push(struct stop_matcher *matcher, const char *text, size_t n_bytes, struct bytes *safe)
{
	struct bytes *held = &matcher->held;
	if (matcher->n_strings == 0) {
		bytes_append(safe, text, n_bytes);
		return false;
	}
	bytes_append(held, text, n_bytes);
	if (held->failed)
		safe->failed = true;
	if (held->failed || held->n_bytes == 0)
		return false;
	size_t start = 0;
	matcher->matched = find_hit(matcher, &start);
	if (matcher->matched >= 0) {
		bytes_append(safe, held->data, start);
		bytes_clear(held);
		return true;
	}
	start = held_from(matcher);
	bytes_append(safe, held->data, start);
	memmove(held->data, held->data + start, held->n_bytes - start);
	held->n_bytes -= start;
	return false;
}

bool stop_push_control(struct stop_matcher *matcher, const char *spelling, size_t n_bytes, struct bytes *safe)
{
	for (int i = 0; i < matcher->n_strings; i++) {
		const struct stop_string *stop = &matcher->strings[i];
		if (n_bytes == 0 || stop->n_bytes != n_bytes || memcmp(stop->text, spelling, n_bytes) != 0)
			continue;
		stop_finish(matcher, safe);
		matcher->matched = i;
		return true;
	}
	return false;
}

void stop_finish(struct stop_matcher *matcher, struct bytes *safe)
{
	bytes_append(safe, matcher->held.data, matcher->held.n_bytes);
	bytes_clear(&matcher->held);
}
