/* Methods of strings that cut them into several, and those that ask what they are made of. */
#include <string.h>

#include "text/template/calls.h"
#include "text/template/characters.h"
#include "text/unicode.h"

/* ---- split ---- */

struct pieces {
	struct render *r;
	struct list *list;
	size_t capacity;
};

static bool add_piece(struct pieces *p, const struct string *s, size_t start, size_t end)
{
	if (p->list->n_items == p->capacity) {
		size_t capacity = p->capacity * 2;
		struct value *grown = render_array(p->r, capacity, sizeof *grown);
		if (!grown)
			return false;
		memcpy(grown, p->list->items, p->list->n_items * sizeof *grown);
		p->list->items = grown;
		p->capacity = capacity;
	}
	return render_step(p->r, 1) && string_slice(p->r, s, start, end, &p->list->items[p->list->n_items++]);
}

static bool is_space_at(const struct string *s, size_t at, size_t *length)
{
	return char_is_python_space(char_decode(s->bytes + at, length));
}

static bool split_space(struct pieces *p, const struct string *s, int64_t max)
{
	size_t at = 0, length = 0;
	for (;;) {
		while (at < s->n_bytes && is_space_at(s, at, &length))
			at += length;
		if (at == s->n_bytes)
			return true;
		size_t start = at;
		if (max-- == 0)
			return add_piece(p, s, start, s->n_bytes);
		while (at < s->n_bytes && !is_space_at(s, at, &length))
			at += length;
		if (!add_piece(p, s, start, at))
			return false;
	}
}

static bool split_text(struct pieces *p, const struct string *s, const struct string *by, int64_t max)
{
	size_t start = 0, found;
	while (max-- != 0 && (found = string_find(s, by, start, s->n_bytes)) != SIZE_MAX) {
		if (!add_piece(p, s, start, found))
			return false;
		start = found + by->n_bytes;
	}
	return add_piece(p, s, start, s->n_bytes);
}

static size_t space_start(const struct string *s, size_t end, bool space)
{
	while (end > 0) {
		size_t length, last = char_before(s->bytes, end);
		if (is_space_at(s, last, &length) != space)
			break;
		end = last;
	}
	return end;
}

static bool rsplit_space(struct pieces *p, const struct string *s, int64_t max)
{
	size_t end = s->n_bytes;
	for (;;) {
		end = space_start(s, end, true);
		if (end == 0)
			return true;
		if (max-- == 0)
			return add_piece(p, s, 0, end);
		size_t start = space_start(s, end, false);
		if (!add_piece(p, s, start, end))
			return false;
		end = start;
	}
}

static bool rsplit_text(struct pieces *p, const struct string *s, const struct string *by, int64_t max)
{
	size_t end = s->n_bytes, found;
	while (max-- != 0 && (found = string_find_last(s, by, 0, end)) != SIZE_MAX) {
		if (!add_piece(p, s, found + by->n_bytes, end))
			return false;
		end = found;
	}
	return add_piece(p, s, 0, end);
}

static void reverse(struct list *list)
{
	for (size_t i = 0; i < list->n_items / 2; i++) {
		struct value swap = list->items[i];
		list->items[i] = list->items[list->n_items - 1 - i];
		list->items[list->n_items - 1 - i] = swap;
	}
}

static bool split(struct render *r, const struct call *call, bool right, struct value *out)
{
	struct pieces p = {.r = r, .list = list_new(r, 8), .capacity = 8};
	const struct string *s = call->input.string;
	struct string *by = NULL;
	int64_t max = -1;
	if (!p.list || (call->slot[0].kind != VALUE_NONE && !slot_string(r, call, 0, &by)) || !slot_int(r, call, 1, &max) ||
	    !(by ? search_steps(r, s, by, right) : render_step(r, s->n_bytes / 32)))
		return false;
	if (by && by->n_bytes == 0)
		return render_fail(r, "ValueError", "empty separator");
	p.list->n_items = 0;
	max = max < 0 ? -1 : max;
	bool ok;
	if (right)
		ok = by ? rsplit_text(&p, s, by, max) : rsplit_space(&p, s, max);
	else
		ok = by ? split_text(&p, s, by, max) : split_space(&p, s, max);
	if (right)
		reverse(p.list);
	*out = value_list(p.list);
	return ok;
}

static bool method_split(struct render *r, const struct call *call, struct value *out)
{
	return split(r, call, false, out);
}

static bool method_rsplit(struct render *r, const struct call *call, struct value *out)
{
	return split(r, call, true, out);
}

/* What stands before, the separator, what stands behind; all before it when it is not there (all behind, from the right). */
static bool partition(struct render *r, const struct call *call, bool right, struct value *out)
{
	struct string *s = call->input.string, *by = NULL;
	struct list *parts = list_new(r, 3);
	if (!parts || !slot_string(r, call, 0, &by) || !search_steps(r, s, by, right))
		return false;
	if (by->n_bytes == 0)
		return render_fail(r, "ValueError", "empty separator");
	size_t at = right ? string_find_last(s, by, 0, s->n_bytes) : string_find(s, by, 0, s->n_bytes);
	size_t cut[4] = {0, at, at + by->n_bytes, s->n_bytes};
	if (at == SIZE_MAX)
		cut[1] = cut[2] = right ? 0 : s->n_bytes;
	for (int i = 0; i < 3; i++)
		if (!string_slice(r, s, cut[i], cut[i + 1], &parts->items[i]))
			return false;
	*out = (struct value){.kind = VALUE_TUPLE, .list = parts};
	return true;
}

static bool method_partition(struct render *r, const struct call *call, struct value *out)
{
	return partition(r, call, false, out);
}

static bool method_rpartition(struct render *r, const struct call *call, struct value *out)
{
	return partition(r, call, true, out);
}

/* ---- what it is made of ---- */

static bool every(struct render *r, const struct call *call, bool (*is)(uint32_t code), struct value *out)
{
	const struct string *s = call->input.string;
	bool all = s->n_bytes > 0;
	size_t length;
	if (!render_step(r, s->n_bytes / 16))
		return false;
	for (size_t at = 0; all && at < s->n_bytes; at += length)
		all = is(char_decode(s->bytes + at, &length));
	*out = value_bool(all);
	return true;
}

static bool is_alnum(uint32_t code)
{
	return char_is_alpha(code) || char_is_numeric(code);
}

static bool is_ascii(uint32_t code)
{
	return code < 0x80;
}

static bool method_isdigit(struct render *r, const struct call *call, struct value *out)
{
	return every(r, call, char_is_digit, out);
}

static bool method_isdecimal(struct render *r, const struct call *call, struct value *out)
{
	return every(r, call, char_is_decimal, out);
}

static bool method_isnumeric(struct render *r, const struct call *call, struct value *out)
{
	return every(r, call, char_is_numeric, out);
}

static bool method_isalpha(struct render *r, const struct call *call, struct value *out)
{
	return every(r, call, char_is_alpha, out);
}

static bool method_isalnum(struct render *r, const struct call *call, struct value *out)
{
	return every(r, call, is_alnum, out);
}

static bool method_isspace(struct render *r, const struct call *call, struct value *out)
{
	return every(r, call, char_is_python_space, out);
}

static bool method_isascii(struct render *r, const struct call *call, struct value *out)
{
	if (call->input.string->n_bytes == 0) {
		*out = value_bool(true);
		return true;
	}
	return every(r, call, is_ascii, out);
}

static bool method_islower(struct render *r, const struct call *call, struct value *out)
{
	const struct row *test = test_find("lower", 5);
	return test->run(r, call, out);
}

static bool method_isupper(struct render *r, const struct call *call, struct value *out)
{
	const struct row *test = test_find("upper", 5);
	return test->run(r, call, out);
}

static bool method_istitle(struct render *r, const struct call *call, struct value *out)
{
	const struct string *s = call->input.string;
	bool inside = false, any = false, ok = true;
	size_t length;
	if (!render_step(r, s->n_bytes / 16))
		return false;
	for (size_t at = 0; ok && at < s->n_bytes; at += length) {
		uint32_t code = char_decode(s->bytes + at, &length);
		bool upper = char_is_upper(code), lower = char_is_lower(code);
		ok = upper ? !inside : lower ? inside : true;
		inside = upper || lower;
		any |= inside;
	}
	*out = value_bool(ok && any);
	return true;
}

const struct row string_more_methods[] = {
    {"split", "sep maxsplit", 0, method_split, NULL},
    {"rsplit", "sep maxsplit", 0, method_rsplit, NULL},
    {"partition", "sep", 1, method_partition, NULL},
    {"rpartition", "sep", 1, method_rpartition, NULL},
    {"isdigit", "", 0, method_isdigit, NULL},
    {"isdecimal", "", 0, method_isdecimal, NULL},
    {"isnumeric", "", 0, method_isnumeric, NULL},
    {"isalpha", "", 0, method_isalpha, NULL},
    {"isalnum", "", 0, method_isalnum, NULL},
    {"isspace", "", 0, method_isspace, NULL},
    {"isascii", "", 0, method_isascii, NULL},
    {"islower", "", 0, method_islower, NULL},
    {"isupper", "", 0, method_isupper, NULL},
    {"istitle", "", 0, method_istitle, NULL},
    {NULL, NULL, 0, NULL, NULL},
};
