/* What filters and methods do with strings. Origins of bytes are kept through all of it. */
#include <string.h>

#include "text/template/calls.h"
#include "text/template/format_spec.h"
#include "text/unicode.h"

size_t string_find(const struct string *s, const struct string *part, size_t from, size_t end)
{
	if (from > end || part->n_bytes > end - from)
		return SIZE_MAX;
	if (part->n_bytes == 0)
		return from;
	const char *found = memmem(s->bytes + from, end - from, part->bytes, part->n_bytes);
	return found ? (size_t)(found - s->bytes) : SIZE_MAX;
}

size_t string_find_last(const struct string *s, const struct string *part, size_t from, size_t end)
{
	if (from > end || part->n_bytes > end - from)
		return SIZE_MAX;
	for (size_t at = end - part->n_bytes + 1; at-- > from;)
		if (memcmp(s->bytes + at, part->bytes, part->n_bytes) == 0)
			return at;
	return SIZE_MAX;
}

bool search_steps(struct render *r, const struct string *s, const struct string *part, bool last)
{
	/* From the front memmem compares up to 256 bytes at each place before it takes linear time. */
	size_t n = part->n_bytes, n_places = n < s->n_bytes ? s->n_bytes - n : 0;
	if (last)
		return render_step(r, n_places / 16 * (1 + n / 64));
	return render_step(r, s->n_bytes / 64 * (1 + (n < 256 ? n : 256) / 16));
}

/* ---- strip ---- */

/* Whether the character at `at` goes: also not when there are no steps left. */
static bool in_set(struct render *r, const char *at, size_t length, const struct string *set)
{
	if (!set) {
		size_t n;
		return char_is_python_space(char_decode(at, &n));
	}
	if (!render_step(r, 1 + set->n_bytes / 16))
		return false;
	for (size_t i = 0; i < set->n_bytes; i += char_length((unsigned char)set->bytes[i]))
		if (set->n_bytes - i >= length && memcmp(set->bytes + i, at, length) == 0)
			return true;
	return false;
}

bool string_strip(struct render *r, struct string *s, const struct value *chars, int sides, struct value *out)
{
	const struct string *set = chars->kind == VALUE_STRING ? chars->string : NULL;
	size_t start = 0, end = s->n_bytes;
	if (!set && chars->kind != VALUE_MISSING && chars->kind != VALUE_NONE)
		return render_fail(r, "TypeError", "strip arg must be None or str");
	while ((sides & STRIP_LEFT) && start < end) {
		size_t length = char_length((unsigned char)s->bytes[start]);
		if (!in_set(r, s->bytes + start, length, set))
			break;
		start += length;
	}
	while ((sides & STRIP_RIGHT) && end > start) {
		size_t last = char_before(s->bytes, end);
		if (!in_set(r, s->bytes + last, end - last, set))
			break;
		end = last;
	}
	return !r->error->code && render_step(r, (s->n_bytes - (end - start)) / 16) && string_slice(r, s, start, end, out);
}

/* ---- replace ---- */

static bool replace_empty(struct render *r, const struct string *s, const struct string *new, int64_t count,
                          struct value *out)
{
	struct builder b = {.r = r};
	size_t at = 0;
	if (!render_step(r, s->n_bytes / 8))
		return false;
	for (; at < s->n_bytes && count != 0 && !b.failed; count -= count > 0) {
		size_t length = char_length((unsigned char)s->bytes[at]);
		builder_add_string(&b, new, 0, new->n_bytes);
		builder_add_string(&b, s, at, at + length);
		at += length;
	}
	builder_add_string(&b, s, at, s->n_bytes);
	if (count != 0)
		builder_add_string(&b, new, 0, new->n_bytes);
	return builder_finish(&b, out);
}

bool string_replace(struct render *r, const struct string *s, const struct string *old, const struct string *new,
                    int64_t count, struct value *out)
{
	struct builder b = {.r = r};
	size_t done = 0, found;
	if (!search_steps(r, s, old, false))
		return false;
	if (old->n_bytes == 0)
		return replace_empty(r, s, new, count, out);
	while (count != 0 && !b.failed && (found = string_find(s, old, done, s->n_bytes)) != SIZE_MAX) {
		if (!render_step(r, 1))
			return false;
		builder_add_string(&b, s, done, found);
		builder_add_string(&b, new, 0, new->n_bytes);
		done = found + old->n_bytes;
		count -= count > 0;
	}
	if (done == 0 && !b.failed)
		return string_slice(r, s, 0, s->n_bytes, out);
	builder_add_string(&b, s, done, s->n_bytes);
	return builder_finish(&b, out);
}

/* ---- lines, joining ---- */

/* Where the line that starts at `at` ends, and where the next one starts: all of Python's line breaks. */
static size_t line_end(const struct string *s, size_t at, size_t *next)
{
	size_t length;
	for (; at < s->n_bytes; at += length) {
		uint32_t code = char_decode(s->bytes + at, &length);
		bool breaks = (code >= 0x0A && code <= 0x0D) || (code >= 0x1C && code <= 0x1E) || code == 0x85 ||
		              code == 0x2028 || code == 0x2029;
		if (!breaks)
			continue;
		*next = at + length;
		if (code == '\r' && *next < s->n_bytes && s->bytes[*next] == '\n')
			++*next;
		return at;
	}
	*next = at;
	return at;
}

bool string_splitlines(struct render *r, const struct string *s, bool keep_ends, struct list **out)
{
	size_t n = 0, next;
	if (!render_step(r, s->n_bytes / 16))
		return false;
	for (size_t at = 0; at < s->n_bytes; at = next, n++)
		line_end(s, at, &next);
	struct list *lines = list_new(r, n);
	if (!lines)
		return false;
	n = 0;
	for (size_t at = 0; at < s->n_bytes; at = next) {
		size_t end = line_end(s, at, &next);
		if (!string_slice(r, s, at, keep_ends ? next : end, &lines->items[n++]))
			return false;
	}
	*out = lines;
	return true;
}

bool string_join(struct render *r, const struct string *between, const struct list *items, bool any, struct value *out)
{
	struct builder b = {.r = r};
	for (size_t i = 0; i < items->n_items && !b.failed; i++) {
		if (!any && items->items[i].kind != VALUE_STRING)
			return render_fail(r, "TypeError", "sequence item %zu: expected str instance, %s found", i,
			                   value_type_name(&items->items[i]));
		if (!render_step(r, 1))
			return false;
		if (i > 0)
			builder_add_string(&b, between, 0, between->n_bytes);
		value_write_str(&b, &items->items[i]);
	}
	return builder_finish(&b, out);
}

/* ---- others ---- */

void builder_pad(struct builder *b, const struct string *fill, int64_t count)
{
	for (; count > 0 && !b->failed; count--) {
		if (!render_step(b->r, 1))
			b->failed = true;
		if (fill)
			builder_add_string(b, fill, 0, fill->n_bytes);
		else
			builder_add(b, " ", 1, false);
	}
}

bool string_center(struct render *r, struct string *s, int64_t width, struct value *out)
{
	struct builder b = {.r = r};
	int64_t margin = pad_missing(s, width), left = margin / 2 + (margin & width & 1);
	builder_pad(&b, NULL, left);
	builder_add_string(&b, s, 0, s->n_bytes);
	builder_pad(&b, NULL, margin - left);
	return builder_finish(&b, out);
}

bool string_escape(struct render *r, const struct string *s, struct value *out)
{
	static const struct {
		char byte;
		const char *text;
	} escapes[] = {{'&', "&amp;"}, {'>', "&gt;"}, {'<', "&lt;"}, {'\'', "&#39;"}, {'"', "&#34;"}};
	struct builder b = {.r = r};
	size_t done = 0;
	if (!render_step(r, s->n_bytes / 16))
		return false;
	for (size_t at = 0; at < s->n_bytes; at++) {
		for (size_t i = 0; i < sizeof escapes / sizeof *escapes; i++) {
			if (s->bytes[at] != escapes[i].byte)
				continue;
			builder_add_string(&b, s, done, at);
			builder_add(&b, escapes[i].text, strlen(escapes[i].text), string_byte_from_data(s, at));
			done = at + 1;
		}
	}
	builder_add_string(&b, s, done, s->n_bytes);
	if (!builder_finish(&b, out))
		return false;
	out->safe = true;
	return true;
}

bool value_escape(struct render *r, const struct value *value, struct value *out)
{
	struct value text;
	*out = *value;
	return value_is_safe(value) || (value_str(r, value, &text) && string_escape(r, text.string, out));
}

bool string_reverse(struct render *r, const struct string *s, struct value *out)
{
	struct builder b = {.r = r};
	if (!render_step(r, s->n_bytes / 8))
		return false;
	for (size_t end = s->n_bytes; end > 0;) {
		size_t start = char_before(s->bytes, end);
		builder_add_string(&b, s, start, end);
		end = start;
	}
	return builder_finish(&b, out);
}
