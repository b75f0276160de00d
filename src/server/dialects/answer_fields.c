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

/* False for none. */
static bool read_choice(const struct json *choice, struct field_checker *check)
{
	static const char *const known[] = {"auto", "required", "none"};
	const char *text = json_string(choice, NULL);
	if (!choice)
		return true;
	for (size_t i = 0; text && i < sizeof known / sizeof *known; i++)
		if (strcmp(text, known[i]) == 0)
			return strcmp(text, "none") != 0;
	if (json_type(choice) != JSON_OBJECT)
		field_error(check, "tool_choice", "one of none, auto, required", NULL,
		            "tool_choice must be none, auto, required, or an object that names a function");
	return true;
}

void answer_fields_read(struct field_checker *check, const struct request_limits *limits, struct generation *generation,
                        struct error *error)
{
	struct asked_answer *answer = &generation->asked.answer;
	bool parallel = true;
	field_bool(check, "parallel_tool_calls", &parallel);
	*answer = (struct asked_answer){.reads = true, .settings = limits->answers, .single_call = !parallel};
	const struct json *tools = field_get(check, "tools");
	check_tools(tools, check);
	if (!read_choice(field_get(check, "tool_choice"), check) || json_count(tools) == 0)
		return;
	answer->offered = answer_tools_read(tools, &generation->arena);
	if (!answer->offered)
		error_set(error, ERROR_MEMORY, "no memory for the request");
}
