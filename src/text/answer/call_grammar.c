/* From a row of forms to a grammar (include/text/call_grammar.h). */
#include "text/call_grammar.h"

#include <stdio.h>
#include <string.h>

#include "text/answer/call.h"

enum { MAX_PARTS = 24, POINTER_BYTES = 256 };

/* What is being written: one after the other. */
struct row {
	struct grammar *g;
	grammar_part parts[MAX_PARTS];
	size_t n_parts;
};

static void add(struct row *row, grammar_part part)
{
	if (row->n_parts < MAX_PARTS)
		row->parts[row->n_parts++] = part;
}

static void add_text(struct row *row, const char *text)
{
	add(row, grammar_part_text(row->g, text, strlen(text)));
}

static grammar_part finish(struct row *row)
{
	return grammar_part_sequence(row->g, row->parts, row->n_parts);
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
	add(row, perhaps(row->g, (const char *const[]){"\n", " "}, 2));
}

static void add_blank(struct row *row)
{
	add(row, perhaps(row->g, (const char *const[]){" "}, 1));
}

static void refuse_at(struct grammar_report *report, const struct call_tool *tool, const char *pointer, const char *why)
{
	struct bytes place = {0};
	bytes_append_format(&place, "/tools/%d%s", tool->index, pointer);
	report->no_memory |= place.failed;
	grammar_report_refuse(report, place.failed ? "" : place.data, why);
	bytes_free(&place);
}

/* A JSON schema as text; its refusals' pointers begin with `pointer` in place of `prefix`. */
static grammar_part read_schema(struct grammar *g, const struct call_tool *tool, const struct bytes *schema,
                                const char *prefix, const char *pointer, struct grammar_report *report)
{
	struct grammar_report own = {0};
	grammar_part part = GRAMMAR_PART_NONE;
	report->no_memory |= schema->failed;
	if (schema->failed)
		return part;
	part = grammar_part_source(g, GRAMMAR_JSON_SCHEMA, schema->data, schema->n_bytes, &own);
	for (size_t i = 0; i < own.n_refused; i++) {
		const char *at = own.refused[i].pointer;
		struct bytes place = {0};
		size_t n = strlen(prefix);
		bytes_append_format(&place, "%s%s", pointer, strncmp(at, prefix, n) == 0 ? at + n : at);
		report->no_memory |= place.failed;
		refuse_at(report, tool, place.failed ? pointer : place.data, own.refused[i].why);
		bytes_free(&place);
	}
	report->no_memory |= own.no_memory;
	grammar_report_free(&own);
	return part;
}

/* ---- arguments ---- */

static bool is(const struct json *value, const char *text)
{
	const char *given = json_string(value, NULL);
	return given && strcmp(given, text) == 0;
}

/* The schema says "object", or leaves it open; else nothing it describes is an object of arguments. */
static bool may_be_object(const struct json *schema)
{
	const struct json *type = json_get(schema, "type");
	for (const struct json *item = json_first(type); item; item = json_next(item))
		if (is(item, "object"))
			return true;
	return !type || is(type, "object");
}

/* Arguments are an object, whatever else the schema would take. Behind draft 7's $ref nothing counts, so there it stays. */
static grammar_part object_arguments(struct grammar *g, const struct call_tool *tool, struct grammar_report *report)
{
	static const char any[] = "{\"type\":\"object\"}";
	struct bytes text = {0};
	bool as_it_is = json_get(tool->schema, "$ref") != NULL;
	if (!tool->enforced || !tool->schema || json_type(tool->schema) != JSON_OBJECT) {
		bytes_append_text(&text, any);
	} else if (as_it_is) {
		json_write_value(&text, tool->schema);
	} else if (!may_be_object(tool->schema)) {
		refuse_at(report, tool, "/parameters/type", "arguments are an object, which this type is not");
		return GRAMMAR_PART_NONE;
	} else {
		json_open(&text);
		json_field_text(&text, "type", "object");
		for (const struct json *member = json_first(tool->schema); member; member = json_next(member)) {
			const char *key = json_key(member, NULL);
			if (strcmp(key, "type") == 0)
				continue;
			json_field_key(&text, key);
			json_write_value(&text, member);
		}
		json_close(&text);
	}
	grammar_part part = read_schema(g, tool, &text, "", "/parameters", report);
	bytes_free(&text);
	return part;
}

/* `"name": "NAME", "arguments": {...}` in an object; what the reader takes for a name needs no escape. */
static grammar_part object_call(struct grammar *g, const struct call_shape *shape, const struct call_tool *tool,
                                struct grammar_report *report)
{
	struct row row = {.g = g};
	struct bytes name = {0};
	json_write_string(&name, tool->name, tool->n_name);
	add_text(&row, "{\"");
	add_text(&row, shape->format->name_key);
	add_text(&row, "\":");
	add_blank(&row);
	add(&row, grammar_part_text(g, name.data ? name.data : "", name.n_bytes));
	add_text(&row, ",");
	add_blank(&row);
	add_text(&row, "\"");
	add_text(&row, shape->format->arguments_key);
	add_text(&row, "\":");
	add_blank(&row);
	add(&row, object_arguments(g, tool, report));
	add_text(&row, "}");
	report->no_memory |= name.failed;
	bytes_free(&name);
	return finish(&row);
}

/* ---- words ---- */

/* Letters and digits that stand for "*": an id. */
static grammar_part wild(struct grammar *g, const struct tool_format *format, struct grammar_report *report)
{
	char pattern[32];
	int n = format->id_characters ? format->id_characters : 9;
	snprintf(pattern, sizeof pattern, "[A-Za-z0-9]{%d}", n);
	return grammar_part_source(g, GRAMMAR_REGEX, pattern, strlen(pattern), report);
}

/* A list of words with gaps before each but the first, which has one where `leads` is set. Around "*" there is none. */
static void add_words(struct row *row, const struct tool_format *format, const char *const *words, bool leads,
                      struct grammar_report *report)
{
	bool gap = leads;
	for (int i = 0; i < TOOL_FORMAT_WORDS && words[i]; i++) {
		bool is_wild = strcmp(words[i], "*") == 0;
		if (gap && !is_wild)
			add_gap(row);
		if (is_wild)
			add(row, wild(row->g, format, report));
		else
			add_text(row, words[i]);
		gap = !is_wild;
	}
}

/* ---- parameters as plain text ---- */

/* Keywords of a schema that a list of parameters can keep: by writing all of `required`, and no others than `properties`. */
static bool is_kept(const char *key)
{
	static const char *const kept[] = {"type",        "properties",  "required", "additionalProperties",
	                                   "title",       "description", "$schema",  "$defs",
	                                   "definitions", "$id",         "strict",   "examples",
	                                   "default",     "$comment"};
	for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
		if (strcmp(key, kept[i]) == 0)
			return true;
	return false;
}

static bool is_required(const struct json *schema, const char *name)
{
	for (const struct json *item = json_first(json_get(schema, "required")); item; item = json_next(item))
		if (is(item, name))
			return true;
	return false;
}

/* Behind a value. */
static void add_value_end(struct row *row, const struct tool_format *format)
{
	if (format->values_on_lines)
		add_text(row, "\n");
	add_text(row, format->value_close);
}

/* A string that may be anything, or one of an enum, and its end; false where the schema demands more. */
static bool plain_string(struct grammar *g, const struct tool_format *format, const struct json *schema,
                         grammar_part *value)
{
	static const char *const notes[] = {"type", "enum", "title", "description", "examples", "default", "$comment"};
	grammar_part choices[64];
	size_t n_choices = 0;
	for (const struct json *member = json_first(schema); member; member = json_next(member)) {
		bool known = false;
		for (size_t i = 0; i < sizeof notes / sizeof *notes; i++)
			known |= strcmp(json_key(member, NULL), notes[i]) == 0;
		if (!known)
			return false;
	}
	const struct json *list = json_get(schema, "enum");
	for (const struct json *item = json_first(list); item; item = json_next(item)) {
		const char *text = json_string(item, NULL);
		if (!text || *text == '\n' || strstr(text, format->value_close) ||
		    n_choices == sizeof choices / sizeof *choices)
			return false;
		struct row row = {.g = g};
		add_text(&row, text);
		add_value_end(&row, format);
		choices[n_choices++] = finish(&row);
	}
	*value = list ? grammar_part_either(g, choices, n_choices) : grammar_part_until(g, format->value_close);
	return true;
}

/* Another value is JSON, with the definitions of the whole in reach. */
static grammar_part json_value(struct grammar *g, const struct tool_format *format, const struct call_tool *tool,
                               const struct json *schema, const char *pointer, struct grammar_report *report)
{
	static const char *const around[] = {"$schema", "$defs", "definitions"};
	struct bytes text = {0};
	struct row row = {.g = g};
	json_open(&text);
	for (size_t i = 0; i < sizeof around / sizeof *around; i++)
		if (json_get(tool->schema, around[i])) {
			json_field_key(&text, around[i]);
			json_write_value(&text, json_get(tool->schema, around[i]));
		}
	json_field_key(&text, "allOf");
	bytes_append_text(&text, "[");
	json_write_value(&text, schema);
	bytes_append_text(&text, "]");
	json_close(&text);
	add(&row, read_schema(g, tool, &text, "/allOf/0", pointer, report));
	add_value_end(&row, format);
	bytes_free(&text);
	return finish(&row);
}

/* From key_open to the value's first byte; the key is `name`, or any (NULL). */
static void add_key(struct row *row, const struct tool_format *format, const char *name, struct grammar_report *report)
{
	static const char any[] = "[A-Za-z0-9_.-]{1,64}";
	add_gap(row);
	add_text(row, format->key_open);
	if (name)
		add_text(row, name);
	else
		add(row, grammar_part_source(row->g, GRAMMAR_REGEX, any, sizeof any - 1, report));
	add_words(row, format, format->key_close, false, report);
	if (format->values_on_lines)
		add_text(row, "\n");
}

static grammar_part parameter(struct grammar *g, const struct tool_format *format, const struct call_tool *tool,
                              const struct json *schema, struct grammar_report *report)
{
	const char *name = json_key(schema, NULL);
	struct row row = {.g = g};
	grammar_part value = GRAMMAR_PART_NONE;
	char pointer[POINTER_BYTES];
	snprintf(pointer, sizeof pointer, "/parameters/properties/%.200s", name);
	if (strpbrk(name, "<>\"\n") || !*name || strlen(name) > ANSWER_MAX_NAME_BYTES - 1)
		refuse_at(report, tool, pointer, "this name cannot stand in the model's form of calls");
	if (answer_schema_is_string(schema)) {
		if (!plain_string(g, format, schema, &value))
			refuse_at(
			    report, tool, pointer,
			    "strings stand as plain text in the model's form of calls: they can be anything or one of an enum");
	} else {
		value = json_value(g, format, tool, schema, pointer, report);
	}
	add_key(&row, format, name, report);
	add(&row, value);
	grammar_part written = finish(&row);
	if (is_required(tool->schema, name))
		return written;
	return grammar_part_either(g, (grammar_part[]){grammar_part_text(g, "", 0), written}, 2);
}

static grammar_part text_arguments(struct grammar *g, const struct tool_format *format, const struct call_tool *tool,
                                   struct grammar_report *report)
{
	const struct json *properties = json_get(tool->schema, "properties");
	grammar_part all = grammar_part_text(g, "", 0);
	for (const struct json *member = json_first(tool->schema); member && tool->enforced; member = json_next(member)) {
		char pointer[POINTER_BYTES];
		snprintf(pointer, sizeof pointer, "/parameters/%.200s", json_key(member, NULL));
		if (!is_kept(json_key(member, NULL)))
			refuse_at(report, tool, pointer, "it cannot be enforced in the model's form of calls");
	}
	for (const struct json *item = json_first(json_get(tool->schema, "required")); item; item = json_next(item))
		if (json_string(item, NULL) && !json_get(properties, json_string(item, NULL)))
			refuse_at(report, tool, "/parameters/required", "it names a property that `properties` does not have");
	for (const struct json *member = json_first(properties); member && report->n_refused == 0;
	     member = json_next(member))
		all = grammar_part_sequence(g, (grammar_part[]){all, parameter(g, format, tool, member, report)}, 2);
	return report->n_refused ? GRAMMAR_PART_NONE : all;
}

/* Any parameters. */
static grammar_part any_parameters(struct grammar *g, const struct tool_format *format, struct grammar_report *report)
{
	struct row row = {.g = g};
	add_key(&row, format, NULL, report);
	add(&row, grammar_part_until(g, format->value_close));
	return grammar_part_repeat(g, grammar_part_text(g, "", 0), finish(&row));
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
static grammar_part named_call(struct grammar *g, const struct call_shape *shape, const struct call_tool *tool,
                               struct grammar_report *report)
{
	const struct tool_format *format = shape->format;
	static const char number[] = ":[0-9]{1,4}";
	struct row row = {.g = g};
	if (format->id_prefix)
		add_text(&row, format->id_prefix);
	add(&row, grammar_part_text(g, tool->name, tool->n_name));
	if (format->id_prefix)
		add(&row, grammar_part_source(g, GRAMMAR_REGEX, number, sizeof number - 1, report));
	if (format->name_end[0])
		add_words(&row, format, format->name_end, true, report);
	if (format->kind == TOOL_PARAMETERS) {
		add(&row, tool->enforced && tool->schema ? text_arguments(g, format, tool, report)
		                                         : any_parameters(g, format, report));
		return finish(&row);
	}
	add_gap(&row);
	add(&row, object_arguments(g, tool, report));
	return finish(&row);
}

/* CALL call_close, of any of the tools. */
static grammar_part one_call(struct grammar *g, const struct call_shape *shape, struct grammar_report *report)
{
	const struct tool_format *format = shape->format;
	grammar_part any = GRAMMAR_PART_NONE;
	for (int i = 0; i < shape->n_tools; i++) {
		const struct call_tool *tool = &shape->tools[i];
		if (!call_grammar_takes_name(tool->name, tool->n_name)) {
			refuse_at(report, tool, "/name", "it must be letters, digits and _-.:/ to be called for sure");
			return GRAMMAR_PART_NONE;
		}
		grammar_part call =
		    format->kind == TOOL_OBJECT ? object_call(g, shape, tool, report) : named_call(g, shape, tool, report);
		if (report->n_refused)
			return GRAMMAR_PART_NONE;
		any = any == GRAMMAR_PART_NONE ? call : grammar_part_either(g, (grammar_part[]){any, call}, 2);
	}
	struct row row = {.g = g};
	add(&row, any);
	if (format->call_close[0])
		add_words(&row, format, format->call_close, true, report);
	return finish(&row);
}

grammar_part call_grammar(struct grammar *g, const struct call_shape *shape, struct grammar_report *report)
{
	const struct tool_format *format = shape->format;
	grammar_part call = one_call(g, shape, report), calls = call;
	if (call == GRAMMAR_PART_NONE)
		return call;
	if (!shape->single && (format->separator[0] || format->call_open[0])) {
		struct row more = {.g = g};
		add_gap(&more);
		add_words(&more, format, format->separator, false, report);
		if (format->separator[0])
			add_gap(&more);
		add_words(&more, format, format->call_open, false, report);
		if (format->call_open[0])
			add_gap(&more);
		add(&more, call);
		calls = grammar_part_repeat(g, call, finish(&more));
	}
	struct row row = {.g = g};
	add_words(&row, format, format->open, false, report);
	if (format->open[0])
		add_gap(&row);
	if (!shape->opened) {
		add_words(&row, format, format->call_open, false, report);
		if (format->call_open[0])
			add_gap(&row);
	}
	add(&row, calls);
	if (format->close[0])
		add_words(&row, format, format->close, true, report);
	else if (calls != call)
		add_gap(&row); /* whoever has begun it may yet end there */
	return finish(&row);
}
