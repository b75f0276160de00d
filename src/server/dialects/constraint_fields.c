#include "server/dialects/constraint_fields.h"

#include <stdio.h>
#include <string.h>

static const char *const names[] = {
    "response_format",    "structured_outputs", "guided_json", "guided_regex", "guided_choice", "guided_grammar",
    "guided_json_object", "json_schema",        "grammar",     "regex",        "ebnf",          "complete"};
const struct field_names constraint_field_names = {names, sizeof names / sizeof *names};

enum { FIELD_BYTES = 64, SHOWN_BYTES = 256 };

static bool text_is(const struct json *value, const char *text)
{
	const char *given = json_string(value, NULL);
	return given && strcmp(given, text) == 0;
}

/* ---- sources ---- */

/* What a constraint is made of: a text as it is, else the value as JSON. */
static void take(struct field_checker *check, const char *name, enum grammar_kind kind, const struct json *value,
                 struct generation *generation, struct error *error)
{
	struct asked_constraint *asked = &generation->asked.constraint;
	struct bytes json = {0};
	size_t n_bytes = 0;
	const char *text = json_string(value, &n_bytes);
	if (asked->wanted) {
		field_error(check, name, "one constraint", NULL, "%s: %s says already what the output must be", name,
		            asked->field);
		return;
	}
	if (!text && kind != GRAMMAR_JSON_OBJECT) {
		json_write_value(&json, value);
		text = json.data;
		n_bytes = json.n_bytes;
	}
	*asked = (struct asked_constraint){.wanted = true, .kind = kind, .whole = kind == GRAMMAR_JSON_SCHEMA};
	asked->field = arena_strdup(&generation->arena, name, strlen(name));
	asked->source = json.failed ? NULL : arena_strdup(&generation->arena, text ? text : "", n_bytes);
	asked->n_bytes = n_bytes;
	if (!asked->field || !asked->source)
		error_set(error, ERROR_MEMORY, "no memory for the request");
	bytes_free(&json);
}

static void read_whole(struct field_checker *check, const char *name, const struct json *value,
                       struct generation *generation)
{
	bool whole = false;
	if (!value || json_type(value) == JSON_NULL)
		return;
	if (!json_bool(value, &whole))
		field_error(check, name, "type(boolean)", value, "%s must be a boolean (got %s)", name,
		            json_type_name(json_type(value)));
	generation->asked.constraint.whole = whole;
}

/* ---- vLLM's, llama.cpp's and SGLang's names ---- */

struct source_name {
	const char *name;
	enum grammar_kind kind;
	enum json_type type; /* that it must have; JSON_NULL: an object, a boolean, or a string that holds one */
};

static void read_source(struct field_checker *check, const char *place, const struct source_name *source,
                        const struct json *value, struct generation *generation, struct error *error)
{
	bool wanted = true;
	enum json_type type = json_type(value);
	bool fits = source->type == JSON_NULL ? type == JSON_OBJECT || type == JSON_BOOL || type == JSON_STRING
	                                      : type == source->type;
	if (!fits)
		field_error(check, place, "type", NULL, "%s must be %s (got %s)", place,
		            source->type == JSON_NULL ? "a schema" : json_type_name(source->type), json_type_name(type));
	else if (source->kind != GRAMMAR_JSON_OBJECT || (json_bool(value, &wanted) && wanted))
		take(check, place, source->kind, value, generation, error);
}

static void read_structured(struct field_checker *check, struct generation *generation, struct error *error)
{
	static const struct source_name sources[] = {{"json", GRAMMAR_JSON_SCHEMA, JSON_NULL},
	                                             {"regex", GRAMMAR_REGEX, JSON_STRING},
	                                             {"choice", GRAMMAR_CHOICE, JSON_ARRAY},
	                                             {"grammar", GRAMMAR_GBNF, JSON_STRING},
	                                             {"json_object", GRAMMAR_JSON_OBJECT, JSON_BOOL}};
	const struct json *outputs = field_get(check, "structured_outputs");
	if (outputs && json_type(outputs) != JSON_OBJECT)
		field_error(check, "structured_outputs", "type(object)", NULL, "structured_outputs must be an object (got %s)",
		            json_type_name(json_type(outputs)));
	for (const struct json *member = json_first(outputs); member; member = json_next(member)) {
		const char *key = json_key(member, NULL);
		char place[FIELD_BYTES];
		snprintf(place, sizeof place, "structured_outputs.%.32s", key ? key : "");
		bool known = key && strcmp(key, "complete") == 0;
		for (size_t i = 0; key && i < sizeof sources / sizeof *sources; i++) {
			if (strcmp(key, sources[i].name) != 0)
				continue;
			known = true;
			if (json_type(member) != JSON_NULL)
				read_source(check, place, &sources[i], member, generation, error);
		}
		if (key && !known && json_type(member) != JSON_NULL)
			field_error(check, place, "one of json, regex, choice, grammar, json_object", NULL,
			            "%s is not supported: json, regex, choice, grammar and json_object are", place);
	}
	read_whole(check, "structured_outputs.complete", json_get(outputs, "complete"), generation);
}

/* ---- formats ---- */

/* The schema of a format: in its json_schema, or its own. */
static void read_schema(struct field_checker *check, const char *name, const struct json *format,
                        struct generation *generation, struct error *error)
{
	const struct json *inner = json_get(format, "json_schema"), *from = inner ? inner : format;
	const struct json *schema = json_get(from, "schema");
	bool fits = schema && (json_type(schema) == JSON_OBJECT || json_type(schema) == JSON_BOOL);
	char place[FIELD_BYTES];
	snprintf(place, sizeof place, "%.32s%s.schema", name, inner ? ".json_schema" : "");
	if (!fits && text_is(json_get(format, "type"), "json_object") && !schema) {
		take(check, name, GRAMMAR_JSON_OBJECT, NULL, generation, error);
		return;
	}
	if (!fits) {
		field_error(check, place, schema ? "type(object)" : "required", NULL, "%s must be a JSON schema%s%s%s", place,
		            schema ? " (got " : "", schema ? json_type_name(json_type(schema)) : "", schema ? ")" : "");
		return;
	}
	take(check, place, GRAMMAR_JSON_SCHEMA, schema, generation, error);
	snprintf(place, sizeof place, "%.32s%s.complete", name, inner ? ".json_schema" : "");
	read_whole(check, place, json_get(from, "complete"), generation);
}

void constraint_format_read(struct field_checker *check, const char *name, const struct json *format, bool plain,
                            struct generation *generation, struct error *error)
{
	const struct json *type = json_get(format, "type");
	if (!format || json_type(format) == JSON_NULL || text_is(format, "") || text_is(type, "text"))
		return;
	if (plain && text_is(format, "json"))
		take(check, name, GRAMMAR_JSON_OBJECT, NULL, generation, error);
	else if (text_is(type, "json_schema") || text_is(type, "json_object"))
		read_schema(check, name, format, generation, error);
	else if (plain && json_type(format) == JSON_OBJECT)
		take(check, name, GRAMMAR_JSON_SCHEMA, format, generation, error);
	else if (plain)
		field_error(check, name, "type(\"json\" or object)", NULL, "%s must be \"json\" or a JSON schema", name);
	else
		field_error(check, name, "type(text, json_object or json_schema)", NULL,
		            "%s must be an object whose type is text, json_object or json_schema", name);
}

void constraint_fields_read(struct field_checker *check, struct generation *generation, struct error *error)
{
	static const struct source_name sources[] = {{"guided_json", GRAMMAR_JSON_SCHEMA, JSON_NULL},
	                                             {"guided_regex", GRAMMAR_REGEX, JSON_STRING},
	                                             {"guided_choice", GRAMMAR_CHOICE, JSON_ARRAY},
	                                             {"guided_grammar", GRAMMAR_GBNF, JSON_STRING},
	                                             {"guided_json_object", GRAMMAR_JSON_OBJECT, JSON_BOOL},
	                                             {"json_schema", GRAMMAR_JSON_SCHEMA, JSON_NULL},
	                                             {"grammar", GRAMMAR_GBNF, JSON_STRING},
	                                             {"regex", GRAMMAR_REGEX, JSON_STRING},
	                                             {"ebnf", GRAMMAR_GBNF, JSON_STRING}};
	constraint_format_read(check, "response_format", field_get(check, "response_format"), false, generation, error);
	read_structured(check, generation, error);
	for (size_t i = 0; i < sizeof sources / sizeof *sources; i++) {
		const struct json *value = field_get(check, sources[i].name);
		if (value && !text_is(value, ""))
			read_source(check, sources[i].name, &sources[i], value, generation, error);
	}
}

/* ---- compiling ---- */

static void refuse(struct field_checker *check, const struct asked_constraint *asked,
                   const struct grammar_report *report)
{
	for (size_t i = 0; i < report->n_refused; i++) {
		const struct grammar_remark *remark = &report->refused[i];
		field_error(check, asked->field, "enforceable", NULL, "%s cannot be enforced%s%.100s: %.120s", asked->field,
		            *remark->pointer ? " at " : "", remark->pointer, remark->why);
	}
}

static void note(struct generation *generation, const struct grammar_report *report, struct error *error)
{
	struct bytes out = {0};
	bytes_append_text(&out, "[");
	for (size_t i = 0; i < report->n_notes; i++) {
		if (i > 0)
			bytes_append_text(&out, ",");
		json_open(&out);
		json_field_string(&out, "pointer", report->notes[i].pointer, strnlen(report->notes[i].pointer, SHOWN_BYTES));
		json_field_string(&out, "why", report->notes[i].why, strnlen(report->notes[i].why, SHOWN_BYTES));
		json_close(&out);
	}
	bytes_append_text(&out, "]");
	struct asked_constraint *asked = &generation->asked.constraint;
	asked->notes = out.failed ? NULL : arena_strdup(&generation->arena, out.data, out.n_bytes);
	if (!asked->notes)
		error_set(error, ERROR_MEMORY, "no memory for the request");
	bytes_free(&out);
}

void constraint_fields_conclude(struct field_checker *check, struct generation *generation, struct error *error)
{
	struct asked_constraint *asked = &generation->asked.constraint;
	struct grammar_report report = {0};
	const struct asked_answer *answer = &generation->asked.answer;
	read_whole(check, "complete", field_get(check, "complete"), generation);
	if (answer->must_call && !answer->offered)
		field_error(check, "tool_choice", "needs(tools)", NULL, "tool_choice asks for a call, and there are no tools");
	if (answer->must_call && asked->wanted)
		field_error(check, asked->field, "not_with(tool_choice)", NULL,
		            "%s: tool_choice says already that the answer is a call", asked->field);
	if (!asked->wanted || check->n_errors > 0 || error->code != ERROR_NONE)
		return;
	struct error refusal = {0};
	generation->grammar = grammar_compile(asked->kind, asked->source, asked->n_bytes, &report, &refusal);
	if (!generation->grammar && refusal.code == ERROR_CONSTRAINT)
		refuse(check, asked, &report);
	else if (!generation->grammar)
		*error = refusal;
	else if (report.n_notes > 0)
		note(generation, &report, error);
	grammar_report_free(&report);
}

void constraint_fields_write(const struct generation *generation, struct bytes *out)
{
	if (!generation->asked.constraints)
		return;
	json_field_key(out, "constraints");
	bytes_append_text(out, generation->asked.constraints);
}
