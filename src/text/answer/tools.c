/* What a request's tools tell a reader of answers: names, the types of their parameters, and which forms count. */
#include <string.h>

#include "text/answer/call.h"

struct parameter {
	const char *name;
	size_t n_name;
	bool is_string;
};

struct tool {
	const char *name;
	size_t n_name;
	struct parameter *parameters; /* [n_parameters] */
	size_t n_parameters;
};

struct answer_tools {
	struct tool *tools; /* [n_tools] */
	size_t n_tools;
};

bool answer_text_is(const struct json *value, const char *text)
{
	size_t n_bytes = 0;
	const char *given = json_string(value, &n_bytes);
	return given && n_bytes == strlen(text) && memcmp(given, text, n_bytes) == 0;
}

bool answer_schema_is_string(const struct json *schema)
{
	const struct json *type = json_get(schema, "type");
	for (const struct json *item = json_first(type); item; item = json_next(item))
		if (answer_text_is(item, "string"))
			return true;
	return answer_text_is(type, "string");
}

static bool read_parameters(struct tool *tool, const struct json *schema, struct arena *arena)
{
	const struct json *properties = json_get(schema, "properties");
	tool->parameters = arena_array(arena, json_count(properties), sizeof *tool->parameters);
	if (!tool->parameters)
		return false;
	for (const struct json *property = json_first(properties); property; property = json_next(property)) {
		struct parameter *parameter = &tool->parameters[tool->n_parameters];
		const char *name = json_key(property, &parameter->n_name);
		if (!name)
			continue; /* no object */
		parameter->is_string = answer_schema_is_string(property);
		parameter->name = arena_strdup(arena, name, parameter->n_name);
		if (!parameter->name)
			return false;
		tool->n_parameters++;
	}
	return true;
}

static bool read_tool(struct answer_tools *tools, const struct json *item, struct arena *arena)
{
	const struct json *function = json_get(item, "function");
	const struct json *from = function ? function : item;
	struct tool *tool = &tools->tools[tools->n_tools];
	const char *name = json_string(json_get(from, "name"), &tool->n_name);
	if (!name)
		return true;
	const struct json *schema = json_get(from, "parameters");
	tool->name = arena_strdup(arena, name, tool->n_name);
	if (!tool->name || !read_parameters(tool, schema ? schema : json_get(from, "input_schema"), arena))
		return false;
	tools->n_tools++;
	return true;
}

const struct answer_tools *answer_tools_read(const struct json *list, struct arena *arena)
{
	struct answer_tools *tools = arena_alloc(arena, sizeof *tools);
	if (!tools)
		return NULL;
	tools->tools = arena_array(arena, json_count(list), sizeof *tools->tools);
	if (!tools->tools)
		return NULL;
	for (const struct json *item = json_first(list); item; item = json_next(item))
		if (!read_tool(tools, item, arena))
			return NULL;
	return tools;
}

bool answer_row_counts(const struct answer_reading *reading, const struct tool_format *row)
{
	const struct tool_format *wanted = reading->tools;
	if (reading->only_row)
		return reading->offered && row == wanted;
	return wanted && reading->offered &&
	       (strcmp(row->name, wanted->name) == 0 || strcmp(wanted->name, "generic") == 0 ||
	        strcmp(row->name, "generic") == 0);
}

static const struct tool *find(const struct answer_tools *tools, const char *name, size_t n_name)
{
	for (size_t i = 0; tools && i < tools->n_tools; i++)
		if (tools->tools[i].n_name == n_name && memcmp(tools->tools[i].name, name, n_name) == 0)
			return &tools->tools[i];
	return NULL;
}

bool answer_tools_have(const struct answer_tools *tools, const char *name, size_t n_name)
{
	return find(tools, name, n_name) != NULL;
}

bool answer_tools_is_string(const struct answer_tools *tools, const char *name, size_t n_name, const char *parameter,
                            size_t n_parameter)
{
	const struct tool *tool = find(tools, name, n_name);
	for (size_t i = 0; tool && i < tool->n_parameters; i++)
		if (tool->parameters[i].n_name == n_parameter && memcmp(tool->parameters[i].name, parameter, n_parameter) == 0)
			return tool->parameters[i].is_string;
	return false;
}
