/* From a row of forms to a grammar (include/text/call_grammar.h). */
#include "text/call_grammar.h"

#include <stdio.h>
#include <string.h>

#include "text/answer/call.h"

enum {
	MAX_PARTS = 24,
	MAX_PARAMETERS = 1000,
	MAX_READ_BYTES = 32 << 20, /* each parameter that is JSON is read with the whole schema around it */
};

/* What all rows of one grammar share. */
struct writing {
	struct grammar *g;
	const struct tool_format *format;
	struct grammar_report *report;
	size_t n_read; /* bytes of schemas around parameters */
};

/* What is being written: one after the other. */
struct row {
	struct writing *w;
	grammar_part parts[MAX_PARTS];
	size_t n_parts;
};

static void add(struct row *row, grammar_part part)
{
	if (row->n_parts < MAX_PARTS)
		row->parts[row->n_parts++] = part;
	else
		grammar_report_refuse(row->w->report, "", "the model's form of calls has too many words");
}

static void add_text(struct row *row, const char *text)
{
	add(row, grammar_part_text(row->w->g, text, strlen(text)));
}

static grammar_part finish(struct row *row)
{
	return grammar_part_sequence(row->w->g, row->parts, row->n_parts);
}

/* Nothing, or one of these. */
static grammar_part perhaps(struct grammar *g, const char *const *texts, size_t n_texts)
{
	grammar_part parts[4] = {grammar_part_text(g, "", 0)};
	for (size_t i = 0; i < n_texts; i++)
		parts[i + 1] = grammar_part_text(g, texts[i], strlen(texts[i]));
	return grammar_part_either(g, parts, n_texts + 1);
}

static void add_gap(struct row *row)
{
	add(row, perhaps(row->w->g, (const char *const[]){"\n", " "}, 2));
}

static void add_blank(struct row *row)
{
	add(row, perhaps(row->w->g, (const char *const[]){" "}, 1));
}

static void refuse_at(struct writing *w, const struct call_tool *tool, const char *pointer, const char *why)
{
	struct bytes place = {0};
	bytes_append_format(&place, "/tools/%d%s", tool->index, pointer);
	w->report->no_memory |= place.failed;
	grammar_report_refuse(w->report, place.failed ? "" : place.data, why);
	bytes_free(&place);
}

/* A source of JSON; its refusals' pointers begin with /parameters in place of `prefix`, and what is refused as a whole is at
 * `pointer`. */
static grammar_part read_source(struct writing *w, const struct call_tool *tool, enum grammar_kind kind,
                                const struct bytes *source, const char *prefix, const char *pointer)
{
	struct grammar_report own = {0};
	grammar_part part = GRAMMAR_PART_NONE;
	w->report->no_memory |= source->failed;
	if (source->failed)
		return part;
	part = grammar_part_source(w->g, kind, source->data, source->n_bytes, &own);
	for (size_t i = 0; i < own.n_refused; i++) {
		const char *at = own.refused[i].pointer;
		struct bytes place = {0};
		size_t n = strlen(prefix);
		if (*at)
			bytes_append_format(&place, "/parameters%s", strncmp(at, prefix, n) == 0 ? at + n : at);
		w->report->no_memory |= place.failed;
		refuse_at(w, tool, place.failed || !*at ? pointer : place.data, own.refused[i].why);
		bytes_free(&place);
	}
	w->report->no_memory |= own.no_memory;
	grammar_report_free(&own);
	return part;
}

/* ---- arguments ---- */

static bool key_is(const struct json *member, const char *text)
{
	size_t n;
	const char *key = json_key(member, &n);
	return key && n == strlen(text) && memcmp(key, text, n) == 0;
}

/* The schema says "object", or leaves it open; else nothing it describes is an object of arguments. */
static bool may_be_object(const struct json *schema)
{
	const struct json *type = json_get(schema, "type");
	for (const struct json *item = json_first(type); item; item = json_next(item))
		if (answer_text_is(item, "object"))
			return true;
	return !type || answer_text_is(type, "object");
}

static void refuse_type(struct writing *w, const struct call_tool *tool)
{
	refuse_at(w, tool, "/parameters/type", "arguments are an object, which this type is not");
}

/* Arguments are an object, whatever else the schema would take. Behind draft 7's $ref nothing counts, so there it stays. */
static grammar_part object_arguments(struct writing *w, const struct call_tool *tool)
{
	static const char any[] = "{\"type\":\"object\"}";
	struct bytes text = {0};
	bool as_it_is = json_get(tool->schema, "$ref") != NULL;
	if (!tool->enforced || !tool->schema || json_type(tool->schema) != JSON_OBJECT) {
		bytes_append_text(&text, any);
	} else if (as_it_is) {
		json_write_value(&text, tool->schema);
	} else if (!may_be_object(tool->schema)) {
		refuse_type(w, tool);
		return GRAMMAR_PART_NONE;
	} else {
		json_open(&text);
		json_field_text(&text, "type", "object");
		for (const struct json *member = json_first(tool->schema); member; member = json_next(member)) {
			size_t n_key;
			const char *key = json_key(member, &n_key);
			if (strlen(key) != n_key || key_is(member, "type"))
				continue; /* no keyword has a NUL */
			json_field_key(&text, key);
			json_write_value(&text, member);
		}
		json_close(&text);
	}
	grammar_part part = read_source(w, tool, GRAMMAR_JSON_SCHEMA, &text, "", "/parameters");
	bytes_free(&text);
	return part;
}

/* `"name": "NAME", "arguments": {...}` in an object; what the reader takes for a name needs no escape. */
static grammar_part object_call(struct writing *w, const struct call_tool *tool)
{
	struct row row = {.w = w};
	struct bytes name = {0};
	json_write_string(&name, tool->name, tool->n_name);
	add_text(&row, "{\"");
	add_text(&row, w->format->name_key);
	add_text(&row, "\":");
	add_blank(&row);
	add(&row, grammar_part_text(w->g, name.data ? name.data : "", name.n_bytes));
	add_text(&row, ",");
	add_blank(&row);
	add_text(&row, "\"");
	add_text(&row, w->format->arguments_key);
	add_text(&row, "\":");
	add_blank(&row);
	add(&row, object_arguments(w, tool));
	add_text(&row, "}");
	w->report->no_memory |= name.failed;
	bytes_free(&name);
	return finish(&row);
}

/* ---- words ---- */

/* Letters and digits that stand for "*": an id. */
static grammar_part wild(struct writing *w)
{
	char pattern[32];
	int n = w->format->id_characters ? w->format->id_characters : 9;
	snprintf(pattern, sizeof pattern, "[A-Za-z0-9]{%d}", n);
	return grammar_part_source(w->g, GRAMMAR_REGEX, pattern, strlen(pattern), w->report);
}

/* A list of words with gaps before each but the first, which has one where `leads` is set. Around "*" there is none. */
static void add_words(struct row *row, const char *const *words, bool leads)
{
	bool gap = leads;
	for (int i = 0; i < TOOL_FORMAT_WORDS && words[i]; i++) {
		bool is_wild = strcmp(words[i], "*") == 0;
		if (gap && !is_wild)
			add_gap(row);
		if (is_wild)
			add(row, wild(row->w));
		else
			add_text(row, words[i]);
		gap = !is_wild;
	}
}

/* ---- parameters as plain text ---- */

/* Keywords of a schema that a list of parameters can keep: by writing all of `required`, and no others than `properties`. */
static bool is_kept(const struct json *member)
{
	static const char *const kept[] = {"type",        "properties",  "required", "additionalProperties",
	                                   "title",       "description", "$schema",  "$defs",
	                                   "definitions", "$id",         "strict",   "examples",
	                                   "default",     "$comment"};
	for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
		if (key_is(member, kept[i]))
			return true;
	return false;
}

static bool is_required(const struct json *schema, const char *name)
{
	for (const struct json *item = json_first(json_get(schema, "required")); item; item = json_next(item))
		if (answer_text_is(item, name))
			return true;
	return false;
}

/* Behind a value. */
static void add_value_end(struct row *row)
{
	if (row->w->format->values_on_lines)
		add_text(row, "\n");
	add_text(row, row->w->format->value_close);
}

/* A value of an enum can stand as it is: it is told from the layout before it, and from what ends it. */
static bool stands_plain(const struct tool_format *format, const struct json *item)
{
	size_t n;
	const char *text = json_string(item, &n);
	return text && strlen(text) == n && *text != '\n' && !strstr(text, format->value_close);
}

/* A string that may be anything, or one of an enum, and its end; NONE and a refusal where the schema demands more. */
static grammar_part plain_string(struct writing *w, const struct call_tool *tool, const struct json *schema,
                                 const char *pointer)
{
	static const char *const notes[] = {"type", "enum", "title", "description", "examples", "default", "$comment"};
	const struct json *list = json_get(schema, "enum");
	bool good = true;
	for (const struct json *member = json_first(schema); member && good; member = json_next(member)) {
		good = false;
		for (size_t i = 0; i < sizeof notes / sizeof *notes; i++)
			good |= key_is(member, notes[i]);
	}
	for (const struct json *item = json_first(list); item && good; item = json_next(item))
		good = stands_plain(w->format, item);
	if (!good) {
		refuse_at(w, tool, pointer,
		          "strings stand as plain text in the model's form of calls: they can be anything or one of an enum");
		return GRAMMAR_PART_NONE;
	}
	if (!list)
		return grammar_part_until(w->g, w->format->value_close);
	struct bytes choices = {0};
	struct row row = {.w = w};
	json_write_value(&choices, list);
	add(&row, read_source(w, tool, GRAMMAR_CHOICE, &choices, "", pointer));
	add_value_end(&row);
	bytes_free(&choices);
	return finish(&row);
}

/* The address by which the whole schema is known inside of another: its own, or one that is given to it. */
static const char *address_of(const struct json *schema)
{
	size_t n;
	const char *id = json_string(json_get(schema, "$id"), &n);
	return id && strlen(id) == n && strcspn(id, "#") > 0 ? id : "tool.parameters";
}

/* The schema as a part of another, with its address. */
static void write_whole(struct bytes *out, const struct json *schema)
{
	json_open(out);
	json_field_text(out, "$id", address_of(schema));
	for (const struct json *member = json_first(schema); member; member = json_next(member))
		if (!key_is(member, "$id")) {
			json_field_key(out, json_key(member, NULL));
			json_write_value(out, member);
		}
	json_close(out);
}

/* A reference to the place that the pointer names. */
static void write_reference(struct bytes *out, const struct json *schema, const char *pointer)
{
	const char *address = address_of(schema);
	struct bytes reference = {0};
	bytes_append(&reference, address, strcspn(address, "#"));
	bytes_append_text(&reference, "#");
	for (; *pointer; pointer++)
		bytes_append(&reference, *pointer == '%' ? "%25" : pointer, *pointer == '%' ? 3 : 1);
	json_field_string(out, "$ref", reference.data ? reference.data : "", reference.n_bytes);
	bytes_free_part(&reference, out);
}

/* Another value is JSON. It is read where it stands, so that references mean what they do there: the whole schema, under an
 * address of its own, lies in one that leads to the value's place. */
static grammar_part json_value(struct writing *w, const struct call_tool *tool, const char *pointer)
{
	struct bytes text = {0};
	struct row row = {.w = w};
	json_open(&text);
	if (json_get(tool->schema, "$schema")) {
		json_field_key(&text, "$schema");
		json_write_value(&text, json_get(tool->schema, "$schema"));
	}
	json_field_key(&text, "$defs");
	bytes_append_text(&text, "{\"tool\":");
	write_whole(&text, tool->schema);
	bytes_append_text(&text, "}");
	json_field_key(&text, "allOf");
	bytes_append_text(&text, "[{");
	write_reference(&text, tool->schema, pointer + strlen("/parameters"));
	bytes_append_text(&text, "}]");
	json_close(&text);
	w->n_read += text.n_bytes;
	if (w->n_read <= MAX_READ_BYTES)
		add(&row, read_source(w, tool, GRAMMAR_JSON_SCHEMA, &text, "/$defs/tool", pointer));
	else
		refuse_at(w, tool, pointer, "the schemas of tools are too large for so many parameters");
	add_value_end(&row);
	bytes_free(&text);
	return finish(&row);
}

/* From key_open to the value's first byte; the key is `name`, or any (NULL). */
static void add_key(struct row *row, const char *name)
{
	static const char any[] = "[A-Za-z0-9_.-]{1,64}";
	const struct tool_format *format = row->w->format;
	add_gap(row);
	add_text(row, format->key_open);
	if (name)
		add_text(row, name);
	else
		add(row, grammar_part_source(row->w->g, GRAMMAR_REGEX, any, sizeof any - 1, row->w->report));
	add_words(row, format->key_close, false);
	if (format->values_on_lines)
		add_text(row, "\n");
}

static bool can_be_key(const char *name, size_t n)
{
	return n > 0 && n < ANSWER_MAX_NAME_BYTES && strlen(name) == n && !strpbrk(name, "<>\"\n");
}

/* Appends the pointer to a property. */
static void write_pointer(struct bytes *out, const char *name)
{
	bytes_append_text(out, "/parameters/properties/");
	for (; *name; name++) {
		if (*name == '~' || *name == '/')
			bytes_append_text(out, *name == '~' ? "~0" : "~1");
		else
			bytes_append(out, name, 1);
	}
}

static grammar_part parameter(struct writing *w, const struct call_tool *tool, const struct json *schema)
{
	size_t n_name;
	const char *name = json_key(schema, &n_name);
	struct bytes pointer = {0};
	struct row row = {.w = w};
	write_pointer(&pointer, name);
	w->report->no_memory |= pointer.failed;
	if (pointer.failed)
		return GRAMMAR_PART_NONE;
	if (!can_be_key(name, n_name)) {
		refuse_at(w, tool, pointer.data, "this name cannot stand in the model's form of calls");
	} else {
		add_key(&row, name);
		add(&row, answer_schema_is_string(schema) ? plain_string(w, tool, schema, pointer.data)
		                                          : json_value(w, tool, pointer.data));
	}
	bytes_free(&pointer);
	grammar_part written = finish(&row);
	if (is_required(tool->schema, name))
		return written;
	return grammar_part_either(w->g, (grammar_part[]){grammar_part_text(w->g, "", 0), written}, 2);
}

/* What a list of parameters cannot keep. */
static void check_arguments(struct writing *w, const struct call_tool *tool)
{
	const struct json *properties = json_get(tool->schema, "properties");
	if (!may_be_object(tool->schema))
		refuse_type(w, tool);
	for (const struct json *member = json_first(tool->schema); member; member = json_next(member)) {
		char pointer[256];
		snprintf(pointer, sizeof pointer, "/parameters/%.200s", json_key(member, NULL));
		if (!is_kept(member))
			refuse_at(w, tool, pointer, "it cannot be enforced in the model's form of calls");
	}
	if (properties && json_type(properties) != JSON_OBJECT)
		refuse_at(w, tool, "/parameters/properties", "properties must be an object");
	if (json_count(properties) > MAX_PARAMETERS || json_count(json_get(tool->schema, "required")) > MAX_PARAMETERS)
		refuse_at(w, tool, "/parameters", "more than 1000 parameters, in the model's form of calls");
	for (const struct json *item = json_first(json_get(tool->schema, "required")); item && w->report->n_refused == 0;
	     item = json_next(item)) {
		const char *name = json_string(item, NULL);
		if (name && (!answer_text_is(item, name) || !json_get(properties, name)))
			refuse_at(w, tool, "/parameters/required", "it names a property that `properties` does not have");
	}
}

static grammar_part text_arguments(struct writing *w, const struct call_tool *tool)
{
	grammar_part all = grammar_part_text(w->g, "", 0);
	check_arguments(w, tool);
	if (w->report->n_refused)
		return GRAMMAR_PART_NONE;
	for (const struct json *member = json_first(json_get(tool->schema, "properties"));
	     member && w->report->n_refused == 0; member = json_next(member))
		all = grammar_part_sequence(w->g, (grammar_part[]){all, parameter(w, tool, member)}, 2);
	return w->report->n_refused ? GRAMMAR_PART_NONE : all;
}

/* Any parameters. */
static grammar_part any_parameters(struct writing *w)
{
	struct row row = {.w = w};
	add_key(&row, NULL);
	add(&row, grammar_part_until(w->g, w->format->value_close));
	return grammar_part_repeat(w->g, grammar_part_text(w->g, "", 0), finish(&row));
}

/* ---- calls ---- */

bool call_grammar_takes_name(const char *name, size_t n_bytes)
{
	for (size_t i = 0; i < n_bytes; i++) {
		char byte = name[i], lower = (char)(byte | 32);
		if (!(lower >= 'a' && lower <= 'z') && !(byte >= '0' && byte <= '9') && !(byte && strchr("_-.:/", byte)))
			return false;
	}
	return n_bytes > 0 && n_bytes < ANSWER_MAX_NAME_BYTES;
}

/* NAME, what ends it, and the arguments. */
static grammar_part named_call(struct writing *w, const struct call_tool *tool)
{
	const struct tool_format *format = w->format;
	static const char number[] = ":[0-9]{1,4}";
	struct row row = {.w = w};
	if (format->id_prefix)
		add_text(&row, format->id_prefix);
	add(&row, grammar_part_text(w->g, tool->name, tool->n_name));
	if (format->id_prefix)
		add(&row, grammar_part_source(w->g, GRAMMAR_REGEX, number, sizeof number - 1, w->report));
	if (format->name_end[0])
		add_words(&row, format->name_end, true);
	if (format->kind == TOOL_PARAMETERS) {
		bool any = !tool->enforced || !tool->schema || json_type(tool->schema) != JSON_OBJECT;
		add(&row, any ? any_parameters(w) : text_arguments(w, tool));
		return finish(&row);
	}
	add_gap(&row);
	add(&row, object_arguments(w, tool));
	return finish(&row);
}

/* CALL call_close, of any of the tools. */
static grammar_part one_call(struct writing *w, const struct call_shape *shape)
{
	grammar_part any = GRAMMAR_PART_NONE;
	for (int i = 0; i < shape->n_tools; i++) {
		const struct call_tool *tool = &shape->tools[i];
		if (!call_grammar_takes_name(tool->name, tool->n_name)) {
			refuse_at(w, tool, "/name", "it must be letters, digits and _-.:/ to be called for sure");
			return GRAMMAR_PART_NONE;
		}
		grammar_part call = w->format->kind == TOOL_OBJECT ? object_call(w, tool) : named_call(w, tool);
		if (w->report->n_refused)
			return GRAMMAR_PART_NONE;
		any = any == GRAMMAR_PART_NONE ? call : grammar_part_either(w->g, (grammar_part[]){any, call}, 2);
	}
	struct row row = {.w = w};
	add(&row, any);
	if (w->format->call_close[0])
		add_words(&row, w->format->call_close, true);
	return finish(&row);
}

/* A call, or several where the form has a way to write them. */
static grammar_part some_calls(struct writing *w, const struct call_shape *shape, grammar_part call)
{
	const struct tool_format *format = w->format;
	struct row more = {.w = w};
	if (shape->single || !(format->separator[0] || format->call_open[0]))
		return call;
	add_gap(&more);
	add_words(&more, format->separator, false);
	if (format->separator[0])
		add_gap(&more);
	add_words(&more, format->call_open, false);
	if (format->call_open[0])
		add_gap(&more);
	add(&more, call);
	return grammar_part_repeat(w->g, call, finish(&more));
}

grammar_part call_grammar(struct grammar *g, const struct call_shape *shape, struct grammar_report *report)
{
	const struct tool_format *format = shape->format;
	struct writing w = {.g = g, .format = format, .report = report};
	struct row row = {.w = &w};
	grammar_part call = one_call(&w, shape);
	if (call == GRAMMAR_PART_NONE)
		return call;
	grammar_part calls = some_calls(&w, shape, call);
	add_words(&row, format->open, false);
	if (format->open[0])
		add_gap(&row);
	if (!shape->opened) {
		add_words(&row, format->call_open, false);
		if (format->call_open[0])
			add_gap(&row);
	}
	add(&row, calls);
	if (format->close[0])
		add_words(&row, format->close, true);
	else if (calls != call)
		add_gap(&row); /* whoever has begun it may yet end there */
	return finish(&row);
}
