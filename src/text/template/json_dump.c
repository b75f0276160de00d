/* tojson: json.dumps with what transformers lets a template choose (ensure_ascii, indent, separators, sort_keys), and
 * without Jinja's escapes for HTML. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "text/template/calls.h"
#include "text/unicode.h"

struct dump {
	struct builder out;
	bool ensure_ascii, sort_keys, from_data;
	const struct string *indent;      /* NULL: all on one line */
	struct string between, after_key; /* ", " and ": " */
	int depth;
};

static void dump_value(struct dump *d, const struct value *value);

static void fail(struct dump *d)
{
	d->out.failed = true;
}

static void add(struct dump *d, const char *text, bool from_data)
{
	builder_add(&d->out, text, strlen(text), from_data);
}

static void add_escape(struct dump *d, uint32_t code, bool from_data)
{
	static const char from[] = "\"\\\n\r\t\f\b", to[] = "\"\\nrtfb";
	char text[16];
	const char *simple = code && code < 0x80 ? strchr(from, (int)code) : NULL;
	if (simple)
		snprintf(text, sizeof text, "\\%c", to[simple - from]);
	else if (code > 0xFFFF)
		snprintf(text, sizeof text, "\\u%04" PRIx32 "\\u%04" PRIx32, 0xD7C0 + (code >> 10), 0xDC00 + (code & 0x3FF));
	else
		snprintf(text, sizeof text, "\\u%04" PRIx32, code);
	add(d, text, from_data);
}

static void dump_string(struct dump *d, const struct string *s)
{
	size_t done = 0, length;
	bool whole = s->from_data && !s->marks;
	if (!render_step(d->out.r, s->n_bytes / 32)) {
		fail(d);
		return;
	}
	add(d, "\"", whole);
	for (size_t at = 0; at < s->n_bytes; at += length) {
		uint32_t code = (unsigned char)s->bytes[at];
		length = 1;
		if (code >= 0x80)
			code = char_decode(s->bytes + at, &length);
		if (code >= 0x20 && code != '"' && code != '\\' && (!d->ensure_ascii || code < 0x7F))
			continue;
		builder_add_string(&d->out, s, done, at);
		add_escape(d, code, string_byte_from_data(s, at));
		done = at + length;
	}
	builder_add_string(&d->out, s, done, s->n_bytes);
	add(d, "\"", whole);
}

static void number_text(const struct value *value, char text[64])
{
	if (value->kind == VALUE_INT)
		snprintf(text, 64, "%" PRId64, value->integer);
	else if (isnan(value->number) || isinf(value->number))
		snprintf(text, 64, "%s", isnan(value->number) ? "NaN" : value->number < 0 ? "-Infinity" : "Infinity");
	else
		float_repr(value->number, text);
}

/* The text of a scalar without quotes; false for what is none. */
static bool scalar_text(struct dump *d, const struct value *value, char text[64])
{
	if (value->kind == VALUE_FLOAT && !float_steps(d->out.r, value->number))
		fail(d);
	if (value->kind == VALUE_NONE)
		snprintf(text, 64, "null");
	else if (value->kind == VALUE_BOOL)
		snprintf(text, 64, "%s", value->truth ? "true" : "false");
	else if (value->kind == VALUE_INT || value->kind == VALUE_FLOAT)
		number_text(value, text);
	else
		return false;
	return true;
}

/* An indent or a separator: the conversation's in its values, else with the origins that it has. */
static void add_layout(struct dump *d, const struct string *text, bool from_data)
{
	if (from_data)
		builder_add(&d->out, text->bytes, text->n_bytes, true);
	else
		builder_add_string(&d->out, text, 0, text->n_bytes);
}

static void new_line(struct dump *d, bool from_data)
{
	if (!d->indent)
		return;
	add(d, "\n", from_data);
	if (!render_step(d->out.r, (uint64_t)d->depth / 8))
		fail(d);
	for (int i = 0; i < d->depth && !d->out.failed; i++)
		add_layout(d, d->indent, from_data);
}

static void dump_list(struct dump *d, const struct value *value)
{
	const struct list *list = value->list;
	bool from_data = value->from_data;
	if (list->n_items == 0) {
		add(d, "[]", from_data);
		return;
	}
	add(d, "[", from_data);
	d->depth++;
	for (size_t i = 0; i < list->n_items && !d->out.failed; i++) {
		if (i > 0)
			add_layout(d, &d->between, from_data);
		new_line(d, from_data);
		dump_value(d, &list->items[i]);
	}
	d->depth--;
	new_line(d, from_data);
	add(d, "]", from_data);
}

static void dump_key(struct dump *d, const struct value *key)
{
	char text[64];
	if (key->kind == VALUE_STRING) {
		dump_string(d, key->string);
	} else if (scalar_text(d, key, text)) {
		add(d, "\"", key->from_data);
		add(d, text, key->from_data);
		add(d, "\"", key->from_data);
	} else {
		render_fail(d->out.r, "TypeError", "keys must be str, int, float, bool or None, not %s", value_type_name(key));
		fail(d);
	}
}

/* Entries in order of their keys: what sort_keys asks for. */
static bool sorted_entries(struct render *r, const struct dict *dict, struct list **out)
{
	struct list *keys = list_new(r, dict->n_entries), *entries = list_new(r, dict->n_entries);
	if (!keys || !entries)
		return false;
	for (size_t i = 0; i < dict->n_entries; i++) {
		keys->items[i] = dict->entries[i].key;
		entries->items[i] = value_int((int64_t)i);
	}
	*out = entries;
	return sort_items(r, entries, keys->items, false);
}

static void dump_dict(struct dump *d, const struct value *value)
{
	const struct dict *dict = value->dict;
	struct list *order = NULL;
	bool from_data = value->from_data;
	if (dict->n_entries == 0) {
		add(d, "{}", from_data);
		return;
	}
	if (d->sort_keys && !sorted_entries(d->out.r, dict, &order)) {
		fail(d);
		return;
	}
	add(d, "{", from_data);
	d->depth++;
	for (size_t i = 0; i < dict->n_entries && !d->out.failed; i++) {
		const struct dict_entry *entry = &dict->entries[order ? (size_t)order->items[i].integer : i];
		if (i > 0)
			add_layout(d, &d->between, from_data);
		new_line(d, from_data);
		dump_key(d, &entry->key);
		add_layout(d, &d->after_key, from_data);
		dump_value(d, &entry->value);
	}
	d->depth--;
	new_line(d, from_data);
	add(d, "}", from_data);
}

static void dump_value(struct dump *d, const struct value *value)
{
	struct render *r = d->out.r;
	char text[64];
	if (d->out.failed || !render_step(r, 1) || !render_enter(r)) {
		fail(d);
		return;
	}
	if (scalar_text(d, value, text)) {
		add(d, text, value->from_data);
	} else if (value->kind == VALUE_STRING) {
		dump_string(d, value->string);
	} else if (value->kind == VALUE_BIG) {
		builder_add_string(&d->out, value->string, 0, value->string->n_bytes);
	} else if (value->kind == VALUE_LIST || value->kind == VALUE_TUPLE) {
		dump_list(d, value);
	} else if (value->kind == VALUE_DICT) {
		dump_dict(d, value);
	} else {
		render_fail(r, "TypeError", "Object of type %s is not JSON serializable", value_type_name(value));
		fail(d);
	}
	render_leave(r);
}

static bool set_indent(struct render *r, struct dump *d, const struct value *indent)
{
	int64_t width;
	struct value text, blank;
	if (indent->kind == VALUE_MISSING || indent->kind == VALUE_NONE)
		return true;
	if (indent->kind == VALUE_STRING) {
		d->indent = indent->string;
	} else if (value_integral(indent, &width)) {
		struct value count = value_int(width);
		if (!value_literal(r, " ", &blank) || !eval_binary(r, OP_MUL, &blank, &count, &text))
			return false;
		d->indent = text.string;
	} else {
		return render_fail(r, "TypeError", "can't multiply sequence by non-int of type '%s'", value_type_name(indent));
	}
	d->between = (struct string){.bytes = ",", .n_bytes = 1};
	return true;
}

static bool set_separators(struct render *r, struct dump *d, const struct value *separators)
{
	struct list *items;
	if (separators->kind == VALUE_MISSING || separators->kind == VALUE_NONE)
		return true;
	if (!value_items(r, separators, &items))
		return false;
	if (items->n_items != 2 || items->items[0].kind != VALUE_STRING || items->items[1].kind != VALUE_STRING)
		return render_fail(r, "ValueError", "separators are two strings");
	d->between = *items->items[0].string;
	d->after_key = *items->items[1].string;
	return true;
}

bool json_dump(struct render *r, const struct call *call, struct value *out)
{
	struct dump d = {.out.r = r,
	                 .ensure_ascii = slot_true(call, 0),
	                 .sort_keys = slot_true(call, 3),
	                 .between = {.bytes = ", ", .n_bytes = 2},
	                 .after_key = {.bytes = ": ", .n_bytes = 2}};
	if (!set_indent(r, &d, &call->slot[1]) || !set_separators(r, &d, &call->slot[2]))
		return false;
	dump_value(&d, &call->input);
	return builder_finish(&d.out, out);
}
