#include "text/grammar/distinct.h"

#include <string.h>

#include "text/grammar/characters.h"
#include "text/grammar/numbers.h"

/* The last quote before `end` that no backslash escapes. */
static size_t opening_quote(const struct text_before *text, size_t end)
{
	while (end-- > 0) {
		size_t before = end;
		if (text_before_at(text, end) != '"')
			continue;
		while (before > 0 && text_before_at(text, before - 1) == '\\')
			before--;
		if ((end - before) % 2 == 0)
			return end;
		end = before;
	}
	return 0;
}

size_t distinct_start(const struct text_before *text, size_t end, bool begun_string)
{
	if (begun_string)
		return opening_quote(text, end);
	if (end > 0 && text_before_at(text, end - 1) == '"')
		return opening_quote(text, end - 1);
	while (end > 0 && !strchr(",[ ", text_before_at(text, end - 1)))
		end--;
	return end;
}

size_t distinct_end_before(const struct text_before *text, size_t start)
{
	while (start > 0 && strchr(", ", text_before_at(text, start - 1)))
		start--;
	return start;
}

void distinct_copy(const struct text_before *text, size_t start, size_t end, struct bytes *out)
{
	size_t middle = end < text->n_first ? end : text->n_first;
	bytes_append(out, "", 0);
	if (start < middle)
		bytes_append(out, text->first + start, middle - start);
	start = start > middle ? start : middle;
	if (start < end)
		bytes_append(out, text->second + (start - text->n_first), end - start);
}

static bool is_plain_number(const char *item, struct decimal *number)
{
	return *item && !strchr("\"tfn", *item) && decimal_parse(number, item) && decimal_is_plain(number);
}

uint32_t distinct_with(struct languages *l, uint32_t used, const char *item)
{
	struct decimal number;
	struct bytes text = {0};
	uint32_t tail = LANGUAGE_EMPTY;
	if (is_plain_number(item, &number)) {
		decimal_write(&text, &number);
		tail = number_tail(l, &number);
	} else if (*item == '"') {
		characters_unescape(&text, item, strlen(item) - 1); /* without the last quote */
	} else {
		bytes_append_text(&text, item);
	}
	if (text.failed)
		languages_note_no_memory(l);
	else
		used = language_with_text(l, used, text.data, text.n_bytes, tail);
	bytes_free(&text);
	return used;
}

uint32_t distinct_left(struct languages *l, uint32_t language, uint32_t used, bool is_string)
{
	if (used == LANGUAGE_NONE)
		return language;
	return language_both(l, language, language_not(l, is_string ? language_after(l, used, '"') : used));
}

uint32_t distinct_length(const char *item)
{
	struct decimal number;
	struct bytes text = {0};
	if (!is_plain_number(item, &number))
		return (uint32_t)strlen(item);
	decimal_write(&text, &number);
	size_t n = text.n_bytes;
	bytes_free(&text);
	return (uint32_t)n;
}
