/* How a chat's answer is to be read (answer_fields.h). */
#include "server/dialects/answer_fields.h"

#include <stdio.h>
#include <string.h>

static void check_tools(const struct json *tools, struct field_checker *check)
{
	int index = 0;
	if (tools && json_type(tools) != JSON_ARRAY)
		return; /* which the conversation's reader says */
	for (const struct json *tool = json_first(tools); tool && check->n_errors == 0; tool = json_next(tool), index++) {
		char name[48];
		snprintf(name, sizeof name, "tools[%d]", index);
		const struct json *function = json_get(tool, "function");
		if (json_type(tool) != JSON_OBJECT)
			field_error(check, name, "type(object)", NULL, "%s must be an object (got %s)", name,
			            json_type_name(json_type(tool)));
		else if (function && !json_string(json_get(function, "name"), NULL))
			field_error(check, name, "function.name", NULL, "%s.function must be an object with a name", name);
	}
}

/* ---- what may, and what must be called ---- */

static void add_name(struct generation *generation, const struct tool_name **list, const struct json *name,
                     struct error *error)
{
	size_t n_bytes = 0;
	const char *text = json_string(name, &n_bytes);
	struct tool_name *added = arena_alloc(&generation->arena, sizeof *added);
	if (added) {
		added->name = arena_strdup(&generation->arena, text, n_bytes);
		added->next = *list;
	}
	if (!added || !added->name)
		error_set(error, ERROR_MEMORY, "no memory for the request");
	else
		*list = added;
}

void answer_must_call(struct generation *generation, const struct json *name, struct error *error)
{
	struct asked_answer *answer = &generation->asked.answer;
	answer->must_call = true;
	if (name)
		add_name(generation, &answer->allowed, name, error);
}

void answer_strict_read(struct generation *generation, const struct json *name, const struct json *strict,
                        struct error *error)
{
	bool is_strict = false;
	if (json_bool(strict, &is_strict) && is_strict && json_string(name, NULL))
		add_name(generation, &generation->asked.answer.strict, name, error);
}

static bool text_is(const struct json *value, const char *text)
{
	const char *given = json_string(value, NULL);
	return given && strcmp(given, text) == 0;
}

static const struct json *name_of(const struct json *function)
{
	const struct json *inner = json_get(function, "function");
	const struct json *name = json_get(inner ? inner : function, "name");
	return json_string(name, NULL) ? name : NULL;
}

/* Several that may be called: what is not among them is not, where something must be. */
static void read_allowed(struct field_checker *check, const struct json *choice, struct generation *generation,
                         struct error *error)
{
	const struct json *inner = json_get(choice, "allowed_tools"), *from = inner ? inner : choice;
	const struct json *tools = json_get(from, "tools");
	bool must = text_is(json_get(from, "mode"), "required");
	if (json_count(tools) == 0)
		field_error(check, "tool_choice", "allowed_tools", NULL, "tool_choice.allowed_tools must have tools");
	for (const struct json *tool = json_first(tools); tool; tool = json_next(tool)) {
		if (!name_of(tool))
			field_error(check, "tool_choice", "allowed_tools", NULL,
			            "tool_choice.allowed_tools: each of tools must be a function with a name");
		else if (must)
			answer_must_call(generation, name_of(tool), error);
	}
}

bool answer_choice_read(struct field_checker *check, struct generation *generation, struct error *error)
{
	const struct json *choice = field_get(check, "tool_choice");
	if (!choice || text_is(choice, "auto"))
		return true;
	if (text_is(choice, "none"))
		return false;
	if (text_is(choice, "required"))
		answer_must_call(generation, NULL, error);
	else if (text_is(json_get(choice, "type"), "allowed_tools"))
		read_allowed(check, choice, generation, error);
	else if (json_type(choice) == JSON_OBJECT && name_of(choice))
		answer_must_call(generation, name_of(choice), error);
	else
		field_error(check, "tool_choice", "one of none, auto, required", NULL,
		            "tool_choice must be none, auto, required, or an object that names a function");
	if (generation->asked.answer.must_call && !text_is(choice, "required") &&
	    !text_is(json_get(choice, "type"), "allowed_tools"))
		generation->asked.answer.single_call = true;
	return true;
}

void answer_fields_read(struct field_checker *check, const struct request_limits *limits, struct generation *generation,
                        struct error *error)
{
	struct asked_answer *answer = &generation->asked.answer;
	bool parallel = true;
	field_bool(check, "parallel_tool_calls", &parallel);
	answer->reads = true;
	answer->settings = limits->answers;
	answer->single_call = !parallel;
	const struct json *tools = field_get(check, "tools");
	check_tools(tools, check);
	for (const struct json *tool = json_first(tools); tool; tool = json_next(tool)) {
		const struct json *function = json_get(tool, "function"), *from = function ? function : tool;
		answer_strict_read(generation, json_get(from, "name"), json_get(from, "strict"), error);
	}
	if (!answer_choice_read(check, generation, error) || json_count(tools) == 0)
		return;
	answer->offered = answer_tools_read(tools, &generation->arena);
	if (!answer->offered)
		error_set(error, ERROR_MEMORY, "no memory for the request");
}
