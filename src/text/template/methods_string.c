/* Methods of strings that ask, cut or pad: a method is a row at the end. */
#include <string.h>

#include "text/template/calls.h"
#include "text/template/characters.h"
#include "text/template/format_spec.h"
#include "text/unicode.h"

static struct string *self_of(const struct call *call)
{
	return call->input.string;
}

static bool method_upper(struct render *r, const struct call *call, struct value *out)
{
	return string_upper(r, self_of(call), out);
}

static bool method_lower(struct render *r, const struct call *call, struct value *out)
{
	return string_lower(r, self_of(call), out);
}

static bool method_casefold(struct render *r, const struct call *call, struct value *out)
{
	return string_casefold(r, self_of(call), out);
}

static bool method_capitalize(struct render *r, const struct call *call, struct value *out)
{
	return string_capitalize(r, self_of(call), out);
}

static bool method_title(struct render *r, const struct call *call, struct value *out)
{
	return string_title(r, self_of(call), out);
}

static bool method_swapcase(struct render *r, const struct call *call, struct value *out)
{
	return string_swapcase(r, self_of(call), out);
}

static bool method_strip(struct render *r, const struct call *call, struct value *out)
{
	return string_strip(r, self_of(call), &call->slot[0], STRIP_LEFT | STRIP_RIGHT, out);
}

static bool method_lstrip(struct render *r, const struct call *call, struct value *out)
{
	return string_strip(r, self_of(call), &call->slot[0], STRIP_LEFT, out);
}

static bool method_rstrip(struct render *r, const struct call *call, struct value *out)
{
	return string_strip(r, self_of(call), &call->slot[0], STRIP_RIGHT, out);
}

static bool method_replace(struct render *r, const struct call *call, struct value *out)
{
	struct string *old = NULL, *new = NULL;
	struct value escaped;
	int64_t count = -1;
	if (!slot_string(r, call, 0, &old) || !slot_int(r, call, 2, &count))
		return false;
	if (!call->input.safe)
		return slot_string(r, call, 1, &new) && string_replace(r, self_of(call), old, new, count, out);
	return value_escape(r, &call->slot[1], &escaped) &&
	       string_replace(r, self_of(call), old, escaped.string, count, out);
}

static bool method_join(struct render *r, const struct call *call, struct value *out)
{
	struct list *items, *escaped;
	if (!value_items(r, &call->slot[0], &items))
		return false;
	if (!call->input.safe)
		return string_join(r, self_of(call), items, false, out);
	if (!(escaped = list_new(r, items->n_items)))
		return false;
	for (size_t i = 0; i < items->n_items; i++)
		if (!value_escape(r, &items->items[i], &escaped->items[i]))
			return false;
	return string_join(r, self_of(call), escaped, false, out);
}

static bool method_splitlines(struct render *r, const struct call *call, struct value *out)
{
	struct list *lines;
	if (!string_splitlines(r, self_of(call), slot_true(call, 0), &lines))
		return false;
	*out = value_list(lines);
	return true;
}

static bool method_format(struct render *r, const struct call *call, struct value *out)
{
	return format_braces(r, &call->input, call->arguments, out);
}

/* ---- where something is ---- */

/* Bytes [*from, *to) of the characters start:end, as Python cuts them. False and an error for what are no indices. */
static bool slot_range(struct render *r, const struct call *call, int slot, size_t *from, size_t *to, bool *empty)
{
	struct string *s = self_of(call);
	int64_t n = string_chars(s), start = 0, end = n;
	if ((call->slot[slot].kind != VALUE_NONE && !slot_int(r, call, slot, &start)) ||
	    (call->slot[slot + 1].kind != VALUE_NONE && !slot_int(r, call, slot + 1, &end)))
		return false;
	start += start < 0 ? n : 0;
	end += end < 0 ? n : 0;
	start = start < 0 ? 0 : start;
	end = end < 0 ? 0 : end > n ? n : end;
	*empty = start > end || start > n;
	*from = string_offset(s, start);
	*to = *empty ? *from : string_offset(s, end);
	return render_step(r, s->n_bytes / 64);
}

static int64_t chars_before(const struct string *s, size_t offset)
{
	struct string head = {.bytes = s->bytes, .n_bytes = offset, .n_chars = CHARS_UNKNOWN};
	return string_chars(&head);
}

static bool find_part(struct render *r, const struct call *call, bool last, bool must, struct value *out)
{
	struct string *part = NULL, *s = self_of(call);
	size_t from, to, found;
	bool empty;
	if (!slot_string(r, call, 0, &part) || !slot_range(r, call, 1, &from, &to, &empty))
		return false;
	if (!search_steps(r, s, part, last))
		return false;
	found = empty ? SIZE_MAX : last ? string_find_last(s, part, from, to) : string_find(s, part, from, to);
	if (found == SIZE_MAX && must)
		return render_fail(r, "ValueError", "substring not found");
	*out = value_int(found == SIZE_MAX ? -1 : chars_before(s, found));
	return true;
}

static bool method_find_first(struct render *r, const struct call *call, struct value *out)
{
	return find_part(r, call, false, false, out);
}

static bool method_rfind(struct render *r, const struct call *call, struct value *out)
{
	return find_part(r, call, true, false, out);
}

static bool method_index(struct render *r, const struct call *call, struct value *out)
{
	return find_part(r, call, false, true, out);
}

static bool method_rindex(struct render *r, const struct call *call, struct value *out)
{
	return find_part(r, call, true, true, out);
}

static bool method_count(struct render *r, const struct call *call, struct value *out)
{
	struct string *part = NULL, *s = self_of(call);
	size_t from, to, found;
	bool empty;
	int64_t n = 0;
	if (!slot_string(r, call, 0, &part) || !slot_range(r, call, 1, &from, &to, &empty) ||
	    !search_steps(r, s, part, false))
		return false;
	if (!empty && part->n_bytes == 0)
		n = chars_before(s, to) - chars_before(s, from) + 1;
	for (; !empty && part->n_bytes && (found = string_find(s, part, from, to)) != SIZE_MAX; n++) {
		if (!render_step(r, 1))
			return false;
		from = found + part->n_bytes;
	}
	*out = value_int(n);
	return true;
}

static bool affix_is(const struct string *s, const struct string *affix, size_t from, size_t to, bool end)
{
	size_t n = affix->n_bytes;
	return n <= to - from && memcmp(s->bytes + (end ? to - n : from), affix->bytes, n) == 0;
}

static bool test_affix(struct render *r, const struct call *call, bool end, struct value *out)
{
	const struct value *affix = &call->slot[0];
	struct list one = {.items = (struct value *)affix, .n_items = 1}, *list = &one;
	size_t from, to;
	bool empty, found = false;
	if (affix->kind == VALUE_TUPLE)
		list = affix->list;
	else if (affix->kind != VALUE_STRING)
		return render_fail(r, "TypeError", "%s first arg must be str or a tuple of str, not %s", call->row->name,
		                   value_type_name(affix));
	if (!slot_range(r, call, 1, &from, &to, &empty))
		return false;
	for (size_t i = 0; i < list->n_items && !found; i++) {
		if (list->items[i].kind != VALUE_STRING)
			return render_fail(r, "TypeError", "tuple for %s must only contain str, not %s", call->row->name,
			                   value_type_name(&list->items[i]));
		if (!render_step(r, 1 + list->items[i].string->n_bytes / 64))
			return false;
		found = !empty && affix_is(self_of(call), list->items[i].string, from, to, end);
	}
	*out = value_bool(found);
	return true;
}

static bool method_startswith(struct render *r, const struct call *call, struct value *out)
{
	return test_affix(r, call, false, out);
}

static bool method_endswith(struct render *r, const struct call *call, struct value *out)
{
	return test_affix(r, call, true, out);
}

static bool remove_affix(struct render *r, const struct call *call, bool end, struct value *out)
{
	struct string *affix = NULL, *s = self_of(call);
	if (!slot_string(r, call, 0, &affix) || !render_step(r, affix->n_bytes / 64))
		return false;
	size_t n = affix_is(s, affix, 0, s->n_bytes, end) ? affix->n_bytes : 0;
	return string_slice(r, s, end ? 0 : n, end ? s->n_bytes - n : s->n_bytes, out);
}

static bool method_removeprefix(struct render *r, const struct call *call, struct value *out)
{
	return remove_affix(r, call, false, out);
}

static bool method_removesuffix(struct render *r, const struct call *call, struct value *out)
{
	return remove_affix(r, call, true, out);
}

/* ---- padding ---- */

static bool pad(struct render *r, const struct call *call, char align, struct value *out)
{
	struct builder b = {.r = r};
	struct string *s = self_of(call), *fill = NULL;
	int64_t width = 0;
	struct value escaped;
	if (!slot_int(r, call, 0, &width) || !slot_string(r, call, 1, &fill))
		return false;
	if (fill && call->input.safe) {
		if (!value_escape(r, &call->slot[1], &escaped))
			return false;
		fill = escaped.string;
	}
	if (fill && string_chars(fill) != 1)
		return render_fail(r, "TypeError", "The fill character must be exactly one character long");
	int64_t missing = pad_missing(s, width);
	int64_t left = align == '>' ? missing : align == '<' ? 0 : missing / 2 + (missing & width & 1);
	builder_pad(&b, fill, left);
	builder_add_string(&b, s, 0, s->n_bytes);
	builder_pad(&b, fill, missing - left);
	return builder_finish(&b, out);
}

static bool method_center(struct render *r, const struct call *call, struct value *out)
{
	return pad(r, call, '^', out);
}

static bool method_ljust(struct render *r, const struct call *call, struct value *out)
{
	return pad(r, call, '<', out);
}

static bool method_rjust(struct render *r, const struct call *call, struct value *out)
{
	return pad(r, call, '>', out);
}

static bool method_zfill(struct render *r, const struct call *call, struct value *out)
{
	struct builder b = {.r = r};
	struct string *s = self_of(call), zero = {.bytes = "0", .n_bytes = 1, .n_chars = 1};
	int64_t width = 0;
	if (!slot_int(r, call, 0, &width))
		return false;
	size_t sign = s->n_bytes && (s->bytes[0] == '+' || s->bytes[0] == '-') ? 1 : 0;
	builder_add_string(&b, s, 0, sign);
	builder_pad(&b, &zero, pad_missing(s, width));
	builder_add_string(&b, s, sign, s->n_bytes);
	return builder_finish(&b, out);
}

static bool method_expandtabs(struct render *r, const struct call *call, struct value *out)
{
	struct builder b = {.r = r};
	struct string *s = self_of(call);
	int64_t size = 8, column = 0;
	size_t length;
	if (!slot_int(r, call, 0, &size) || !render_step(r, s->n_bytes / 16))
		return false;
	for (size_t at = 0; at < s->n_bytes && !b.failed; at += length) {
		length = char_length((unsigned char)s->bytes[at]);
		if (s->bytes[at] == '\t') {
			int64_t n = size > 0 ? size - column % size : 0;
			builder_pad(&b, NULL, n);
			column += n;
		} else {
			builder_add_string(&b, s, at, at + length);
			column = s->bytes[at] == '\n' || s->bytes[at] == '\r' ? 0 : column + 1;
		}
	}
	return builder_finish(&b, out);
}

const struct row string_methods[] = {
    {"upper", "", 0, method_upper, NULL},
    {"lower", "", 0, method_lower, NULL},
    {"casefold", "", 0, method_casefold, NULL},
    {"capitalize", "", 0, method_capitalize, NULL},
    {"title", "", 0, method_title, NULL},
    {"swapcase", "", 0, method_swapcase, NULL},
    {"strip", "chars", 0, method_strip, NULL},
    {"lstrip", "chars", 0, method_lstrip, NULL},
    {"rstrip", "chars", 0, method_rstrip, NULL},
    {"replace", "old new count", 2, method_replace, NULL},
    {"join", "iterable", 1, method_join, NULL},
    {"splitlines", "keepends", 0, method_splitlines, NULL},
    {"format", NULL, 0, method_format, NULL},
    {"find", "sub start end", 1, method_find_first, NULL},
    {"rfind", "sub start end", 1, method_rfind, NULL},
    {"index", "sub start end", 1, method_index, NULL},
    {"rindex", "sub start end", 1, method_rindex, NULL},
    {"count", "sub start end", 1, method_count, NULL},
    {"startswith", "prefix start end", 1, method_startswith, NULL},
    {"endswith", "suffix start end", 1, method_endswith, NULL},
    {"removeprefix", "prefix", 1, method_removeprefix, NULL},
    {"removesuffix", "suffix", 1, method_removesuffix, NULL},
    {"center", "width fillchar", 1, method_center, NULL},
    {"ljust", "width fillchar", 1, method_ljust, NULL},
    {"rjust", "width fillchar", 1, method_rjust, NULL},
    {"zfill", "width", 1, method_zfill, NULL},
    {"expandtabs", "tabsize", 0, method_expandtabs, NULL},
    {NULL, NULL, 0, NULL, NULL},
};
