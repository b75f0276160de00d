/* What is said of a schema and where, and what compiling it takes (schema.h). */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "text/grammar/language_private.h"
#include "text/grammar/schema.h"

enum { LOOKS_IN_A_STEP = 16 };

static void append_escaped(struct bytes *out, const char *key, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (key[i] == '~')
			bytes_append(out, "~0", 2);
		else if (key[i] == '/')
			bytes_append(out, "~1", 2);
		else
			bytes_append(out, key + i, 1);
	}
}

/* Appends the pointer from `at` to `value`; false where it is not below. */
static bool find_pointer(const struct json *at, const struct json *value, struct bytes *out)
{
	if (at == value)
		return true;
	size_t length = out->n_bytes, index = 0;
	for (const struct json *part = json_first(at); part; part = json_next(part), index++) {
		size_t n_key;
		const char *key = json_key(part, &n_key);
		bytes_append(out, "/", 1);
		if (key)
			append_escaped(out, key, n_key);
		else
			bytes_append_format(out, "%zu", index);
		if (find_pointer(part, value, out))
			return true;
		out->n_bytes = length;
	}
	return false;
}

/* Was it said of the place, or can no more be said? A place is looked for in all of the document, so it is told by address. */
static bool is_said(const struct schema_said *said, const struct json *value, const char *why)
{
	for (size_t i = 0; i < said->n; i++)
		if (said->remarks[i].place == value && strcmp(said->remarks[i].why, why) == 0)
			return true;
	return said->n == GRAMMAR_MAX_REMARKS;
}

static void remark(struct schema *s, const struct json *value, bool refuses, const char *format, va_list arguments)
{
	struct schema_said *said = refuses ? &s->refusals : &s->notes;
	struct bytes pointer = {0};
	char why[400];
	vsnprintf(why, sizeof why, format, arguments);
	if (is_said(said, value, why))
		return;
	if (value && !find_pointer(s->document, value, &pointer))
		pointer.n_bytes = 0;
	bytes_append(&pointer, "", 1);
	const char *kept = arena_strdup(&s->remarks, why, strlen(why));
	if (pointer.failed || !kept)
		languages_note_no_memory(s->l);
	else
		said->remarks[said->n++] = (struct schema_remark){value, kept};
	(refuses ? report_refusal : report_note)(s->report, pointer.failed ? "" : pointer.data, why);
	bytes_free(&pointer);
}

void schema_refuse(struct schema *s, const struct json *value, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	remark(s, value, true, format, arguments);
	va_end(arguments);
	s->refused = true;
}

void schema_note(struct schema *s, const struct json *value, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	remark(s, value, false, format, arguments);
	va_end(arguments);
}

void schema_out_of_memory(struct schema *s)
{
	languages_note_no_memory(s->l);
	s->refused = true;
}

void schema_too_large(struct schema *s)
{
	if (!s->refused)
		schema_refuse(s, NULL, "it is too large");
}

void schema_say_what_ran_out(struct schema *s)
{
	const char *why = languages_failed(s->l);
	if (s->net->no_memory || languages_lack_memory(s->l))
		schema_out_of_memory(s);
	else if (s->net->failed || why)
		schema_refuse(s, NULL, why && strcmp(why, "steps") == 0 ? "it takes too many steps" : "it is too large");
}

bool schema_look(struct schema *s, uint64_t n)
{
	s->n_looks += n;
	uint64_t steps = s->n_looks / LOOKS_IN_A_STEP;
	s->n_looks %= LOOKS_IN_A_STEP;
	if (steps > 0 && !s->refused && !language_take_steps(s->l, steps))
		schema_say_what_ran_out(s);
	return !s->refused;
}
