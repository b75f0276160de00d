/* Filters on text: a filter is a row at the end. */
#include <string.h>

#include "text/template/calls.h"
#include "text/template/characters.h"
#include "text/template/format_spec.h"
#include "text/unicode.h"

static bool filter_string(struct render *r, const struct call *call, struct value *out)
{
	if (call->input.kind == VALUE_STRING) {
		*out = call->input;
		return true;
	}
	return value_str(r, &call->input, out);
}

/* Safe as the input was. */
static bool safe_as_input(const struct call *call, struct value *out)
{
	out->safe = value_is_safe(&call->input);
	return true;
}

static bool filter_upper(struct render *r, const struct call *call, struct value *out)
{
	struct string *s;
	return input_string(r, call, &s) && string_upper(r, s, out) && safe_as_input(call, out);
}

static bool filter_lower(struct render *r, const struct call *call, struct value *out)
{
	struct string *s;
	return input_string(r, call, &s) && string_lower(r, s, out) && safe_as_input(call, out);
}

static bool filter_capitalize(struct render *r, const struct call *call, struct value *out)
{
	struct string *s;
	return input_string(r, call, &s) && string_capitalize(r, s, out) && safe_as_input(call, out);
}

static bool filter_title(struct render *r, const struct call *call, struct value *out)
{
	struct string *s;
	return input_string(r, call, &s) && string_title_words(r, s, out);
}

static bool filter_trim(struct render *r, const struct call *call, struct value *out)
{
	struct string *s;
	return input_string(r, call, &s) && string_strip(r, s, &call->slot[0], STRIP_LEFT | STRIP_RIGHT, out) &&
	       safe_as_input(call, out);
}

static bool filter_replace(struct render *r, const struct call *call, struct value *out)
{
	struct string *s;
	struct value old, new;
	int64_t count = -1;
	if (call->slot[2].kind != VALUE_NONE && !slot_int(r, call, 2, &count))
		return false;
	return input_string(r, call, &s) && value_str(r, &call->slot[0], &old) && value_str(r, &call->slot[1], &new) &&
	       string_replace(r, s, old.string, new.string, count, out);
}

static bool filter_center(struct render *r, const struct call *call, struct value *out)
{
	struct string *s;
	int64_t width = 80;
	return slot_int(r, call, 0, &width) && input_string(r, call, &s) && string_center(r, s, width, out) &&
	       safe_as_input(call, out);
}

static bool filter_safe(struct render *r, const struct call *call, struct value *out)
{
	if (!value_str(r, &call->input, out))
		return false;
	out->safe = true;
	return true;
}

static bool filter_escape(struct render *r, const struct call *call, struct value *out)
{
	return value_escape(r, &call->input, out);
}

static bool filter_forceescape(struct render *r, const struct call *call, struct value *out)
{
	struct string *s;
	return input_string(r, call, &s) && string_escape(r, s, out);
}

static bool indent_prefix(struct render *r, const struct call *call, struct value *out)
{
	struct value blank, width = value_int(4);
	if (call->slot[0].kind == VALUE_STRING) {
		*out = call->slot[0];
		return true;
	}
	if (slot_given(call, 0))
		width = call->slot[0];
	return value_literal(r, " ", &blank) && eval_binary(r, OP_MUL, &blank, &width, out);
}

/* Lines but the first (unless `first`) and empty ones (unless `blank`) get the indent before them. */
static bool filter_indent(struct render *r, const struct call *call, struct value *out)
{
	struct builder b = {.r = r};
	struct value prefix, newline, text;
	struct list *lines;
	bool first = slot_true(call, 1), blank = slot_true(call, 2);
	/* The newline behind it makes one line of an empty text. */
	if (!indent_prefix(r, call, &prefix) || !value_literal(r, "\n", &newline) ||
	    !eval_binary(r, OP_ADD, &call->input, &newline, &text) || !string_splitlines(r, text.string, false, &lines))
		return false;
	for (size_t i = 0; i < lines->n_items && !b.failed; i++) {
		const struct string *line = lines->items[i].string;
		if (i > 0)
			builder_add(&b, "\n", 1, false);
		if (i == 0 ? first : blank || line->n_bytes > 0)
			builder_add_string(&b, prefix.string, 0, prefix.string->n_bytes);
		builder_add_string(&b, line, 0, line->n_bytes);
	}
	if (!builder_finish(&b, out))
		return false;
	return safe_as_input(call, out);
}

static bool filter_truncate(struct render *r, const struct call *call, struct value *out)
{
	int64_t length = 255, leeway = 5;
	struct string ellipsis = {.bytes = "...", .n_bytes = 3, .n_chars = 3}, *end = &ellipsis;
	size_t n;
	if (!slot_int(r, call, 0, &length) || !slot_string(r, call, 2, &end) ||
	    (call->slot[3].kind != VALUE_NONE && !slot_int(r, call, 3, &leeway)))
		return false;
	int64_t n_end = string_chars(end);
	if (length < n_end || leeway < 0)
		return render_fail(r, "AssertionError", "expected length >= %lld, got %lld", (long long)n_end,
		                   (long long)length);
	if (!value_length(r, &call->input, &n))
		return false;
	*out = call->input; /* whatever has a length stays as it is when it is short enough */
	if ((int64_t)n - leeway <= length)
		return true;
	if (call->input.kind != VALUE_STRING)
		return render_fail(r, slot_true(call, 1) ? "TypeError" : "AttributeError", "'%s' cannot be truncated",
		                   value_type_name(&call->input));
	const struct string *s = call->input.string;
	size_t cut = string_offset(s, length - n_end);
	if (!slot_true(call, 1)) {
		const char *blank = memrchr(s->bytes, ' ', cut);
		cut = blank ? (size_t)(blank - s->bytes) : cut;
	}
	struct builder b = {.r = r};
	struct value ending = {.kind = VALUE_STRING, .string = end};
	if (call->input.safe && !value_escape(r, slot_given(call, 2) ? &call->slot[2] : &ending, &ending))
		return false;
	builder_add_string(&b, s, 0, cut);
	builder_add_string(&b, ending.string, 0, ending.string->n_bytes);
	return builder_finish(&b, out) && safe_as_input(call, out);
}

static bool filter_wordcount(struct render *r, const struct call *call, struct value *out)
{
	struct string *s;
	int64_t n = 0;
	bool inside = false;
	size_t length;
	if (!input_string(r, call, &s) || !render_step(r, s->n_bytes / 16))
		return false;
	for (size_t at = 0; at < s->n_bytes; at += length) {
		uint32_t code = char_decode(s->bytes + at, &length);
		bool word = code == '_' || char_is_alpha(code) || char_is_numeric(code);
		n += word && !inside;
		inside = word;
	}
	*out = value_int(n);
	return true;
}

static bool filter_format(struct render *r, const struct call *call, struct value *out)
{
	const struct arguments *arguments = call->arguments;
	struct value text, values;
	if (arguments->n_positional && arguments->n_keywords)
		return render_fail(r, "FilterArgumentError", "can't handle positional and keyword arguments at the same time");
	if (!value_str(r, &call->input, &text))
		return false;
	safe_as_input(call, &text);
	if (arguments->n_keywords) {
		struct dict *dict = dict_new(r, arguments->n_keywords);
		for (size_t i = 0; dict && i < arguments->n_keywords; i++)
			if (!dict_set(r, dict, &arguments->keywords[i].name, &arguments->keywords[i].value))
				return false;
		values = (struct value){.kind = VALUE_DICT, .dict = dict};
		return dict && format_percent(r, &text, &values, out);
	}
	struct list *list = list_new(r, arguments->n_positional);
	if (!list)
		return false;
	for (size_t i = 0; i < arguments->n_positional; i++)
		list->items[i] = arguments->positional[i];
	values = (struct value){.kind = VALUE_TUPLE, .list = list};
	return format_percent(r, &text, &values, out);
}

static void add_quoted(struct builder *b, const struct string *s, bool query)
{
	if (!render_step(b->r, s->n_bytes / 8))
		b->failed = true;
	for (size_t i = 0; i < s->n_bytes; i++) {
		unsigned char c = (unsigned char)s->bytes[i];
		bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
		             (c && strchr("_.-~", c)) || (c == '/' && !query);
		char text[3] = {'%', "0123456789ABCDEF"[c >> 4], "0123456789ABCDEF"[c & 15]};
		if (plain)
			builder_add_string(b, s, i, i + 1);
		else if (query && c == ' ')
			builder_add(b, "+", 1, string_byte_from_data(s, i));
		else
			builder_add(b, text, 3, string_byte_from_data(s, i));
	}
}

static bool add_pair(struct render *r, struct builder *b, const struct value *pair)
{
	struct list *parts;
	struct value key, value;
	if (!value_items(r, pair, &parts))
		return false;
	if (parts->n_items != 2)
		return render_fail(r, "ValueError", "urlencode takes pairs of a key and a value");
	if (!value_str(r, &parts->items[0], &key) || !value_str(r, &parts->items[1], &value))
		return false;
	if (b->n_bytes)
		builder_add(b, "&", 1, false);
	add_quoted(b, key.string, true);
	builder_add(b, "=", 1, false);
	add_quoted(b, value.string, true);
	return true;
}

static bool filter_urlencode(struct render *r, const struct call *call, struct value *out)
{
	struct builder b = {.r = r};
	struct value input = call->input, text;
	struct list *pairs;
	if (input.kind == VALUE_STRING || input.kind < VALUE_STRING || input.kind > VALUE_VIEW) {
		if (!value_str(r, &input, &text))
			return false;
		add_quoted(&b, text.string, false);
		return builder_finish(&b, out);
	}
	if (input.kind == VALUE_DICT) {
		input.kind = VALUE_VIEW;
		input.detail = VIEW_ITEMS;
	}
	if (!value_items(r, &input, &pairs))
		return false;
	for (size_t i = 0; i < pairs->n_items; i++)
		if (!add_pair(r, &b, &pairs->items[i]))
			return false;
	return builder_finish(&b, out);
}

/* key="value" */
static bool add_attribute(struct render *r, struct builder *b, const struct value *key, const struct value *value)
{
	struct value name, text, repr;
	if (key->kind != VALUE_STRING)
		return render_fail(r, "TypeError", "expected string or bytes-like object, got '%s'", value_type_name(key));
	if (!render_step(r, key->string->n_bytes / 16))
		return false;
	for (size_t i = 0; i < key->string->n_bytes; i++) {
		if (!memchr(" \t\n\r\f\v/>=", key->string->bytes[i], 9))
			continue;
		return value_repr(r, key, &repr) &&
		       render_fail(r, "ValueError", "Invalid character in attribute name: %.*s",
		                   repr.string->n_bytes > 200 ? 200 : (int)repr.string->n_bytes, repr.string->bytes);
	}
	if (!value_escape(r, key, &name) || !value_escape(r, value, &text))
		return false;
	builder_add_string(b, name.string, 0, name.string->n_bytes);
	builder_add_literal(b, "=\"");
	builder_add_string(b, text.string, 0, text.string->n_bytes);
	builder_add_literal(b, "\"");
	return true;
}

/* Attributes of a tag, with a blank before them; none for what is none or undefined. */
static bool filter_xmlattr(struct render *r, const struct call *call, struct value *out)
{
	struct builder b = {.r = r};
	bool blank = !slot_given(call, 0) || slot_true(call, 0);
	if (call->input.kind == VALUE_UNDEFINED)
		return value_undefined_fail(r, &call->input);
	if (call->input.kind != VALUE_DICT)
		return render_fail(r, "AttributeError", "'%s' object has no attribute 'items'", value_type_name(&call->input));
	for (size_t i = 0; i < call->input.dict->n_entries; i++) {
		const struct dict_entry *entry = &call->input.dict->entries[i];
		if (!render_step(r, 1))
			return false;
		if (entry->value.kind == VALUE_NONE || entry->value.kind == VALUE_UNDEFINED)
			continue;
		if (blank || b.n_bytes)
			builder_add_literal(&b, " ");
		if (!add_attribute(r, &b, &entry->key, &entry->value))
			return false;
	}
	return builder_finish(&b, out);
}

const struct row text_filters[] = {
    {"string", "", 0, filter_string, NULL},
    {"upper", "", 0, filter_upper, NULL},
    {"lower", "", 0, filter_lower, NULL},
    {"capitalize", "", 0, filter_capitalize, NULL},
    {"title", "", 0, filter_title, NULL},
    {"trim", "chars", 0, filter_trim, NULL},
    {"replace", "old new count", 2, filter_replace, NULL},
    {"center", "width", 0, filter_center, NULL},
    {"safe", "", 0, filter_safe, NULL},
    {"escape", "", 0, filter_escape, NULL},
    {"e", "", 0, filter_escape, NULL},
    {"forceescape", "", 0, filter_forceescape, NULL},
    {"indent", "width first blank", 0, filter_indent, NULL},
    {"truncate", "length killwords end leeway", 0, filter_truncate, NULL},
    {"wordcount", "", 0, filter_wordcount, NULL},
    {"format", NULL, 0, filter_format, NULL},
    {"urlencode", "", 0, filter_urlencode, NULL},
    {"xmlattr", "autospace", 0, filter_xmlattr, NULL},
    {"tojson", "ensure_ascii indent separators sort_keys", 0, json_dump, NULL},
    {NULL, NULL, 0, NULL, NULL},
};
