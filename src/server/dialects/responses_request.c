/* Validation of Responses' bodies (responses_request.h). Nothing is stored, so what refers to something stored is refused.
 * Items and fields that we do not know are passed over, as are tools that run at OpenAI's or have a syntax of their own;
 * namespaces of tools are expanded. */
#include "server/dialects/responses_request.h"

#include <stdio.h>
#include <string.h>

#include "server/dialects/answer_fields.h"
#include "server/dialects/constraint_fields.h"
#include "server/dialects/conversation.h"
#include "server/dialects/reading.h"

enum { PLACE_BYTES = 64 };

struct responses_reader {
	struct reading *reading;
	struct field_checker *check; /* the reading's */
	struct conversation writer;
	char place[PLACE_BYTES]; /* of what is being read: "input[3].content[0]" */
};

static bool text_is(const struct json *value, const char *text)
{
	const char *given = json_string(value, NULL);
	return given && strcmp(given, text) == 0;
}

static bool is_type(const struct json *object, const char *type)
{
	return text_is(json_get(object, "type"), type);
}

static void bad(struct responses_reader *reader, const char *constraint, const char *what)
{
	field_error(reader->check, reader->place, constraint, NULL, "%s %s", reader->place, what);
}

/* ---- input ---- */

/* The text of a part; NULL where it has none. */
static const char *part_text(const struct json *part, size_t *n_bytes)
{
	const char *text = json_string(json_get(part, "text"), n_bytes);
	return text ? text : json_string(json_get(part, "refusal"), n_bytes);
}

/* A string or parts of text, appended. False: it is bad. */
static bool gather_text(struct responses_reader *reader, const struct json *content, struct bytes *out)
{
	size_t n_bytes = 0;
	const char *text = json_string(content, &n_bytes);
	if (text) {
		bytes_append(out, text, n_bytes);
		return true;
	}
	if (!content || json_type(content) != JSON_ARRAY) {
		bad(reader, content ? "type(string or array)" : "required", "must be a string or an array of parts");
		return false;
	}
	int n = 0;
	for (const struct json *part = json_first(content); part; part = json_next(part), n++) {
		bool pictures = is_type(part, "input_image") || is_type(part, "input_file") || is_type(part, "input_audio");
		text = part_text(part, &n_bytes);
		if (!text || pictures) {
			char whole[PLACE_BYTES];
			memcpy(whole, reader->place, sizeof whole);
			snprintf(reader->place, sizeof reader->place, "%.40s[%d]", whole, n);
			bad(reader, "type(text)",
			    pictures ? "is no text; this model reads text only" : "must be a part with a text");
			return false;
		}
		bytes_append(out, text, n_bytes);
	}
	return true;
}

static void read_message(struct responses_reader *reader, const struct json *item)
{
	const struct json *role = json_get(item, "role");
	struct bytes text = {0};
	char whole[PLACE_BYTES];
	memcpy(whole, reader->place, sizeof whole);
	if (!text_is(role, "user") && !text_is(role, "assistant") && !text_is(role, "system") &&
	    !text_is(role, "developer")) {
		snprintf(reader->place, sizeof reader->place, "%.40s.role", whole);
		bad(reader, "one of user, assistant, system, developer", "must be user, assistant, system or developer");
		return;
	}
	snprintf(reader->place, sizeof reader->place, "%.40s.content", whole);
	conversation_turn(&reader->writer);
	if (gather_text(reader, json_get(item, "content"), &text))
		conversation_text(&reader->writer,
		                  text_is(role, "user")        ? CONVERSATION_USER
		                  : text_is(role, "assistant") ? CONVERSATION_ASSISTANT
		                                               : CONVERSATION_SYSTEM,
		                  text.data ? text.data : "", text.n_bytes);
	bytes_free_part(&text, &reader->writer.out);
}

/* What is read of reasoning is its text, else its summary. */
static void read_reasoning(struct responses_reader *reader, const struct json *item)
{
	const struct json *parts = json_get(item, "content");
	if (json_count(parts) == 0)
		parts = json_get(item, "summary");
	for (const struct json *part = json_first(parts); part; part = json_next(part)) {
		size_t n_bytes = 0;
		const char *text = part_text(part, &n_bytes);
		if (text)
			conversation_reasoning(&reader->writer, text, n_bytes);
	}
}

static void read_call(struct responses_reader *reader, const struct json *item, const char *arguments)
{
	const struct json *id = json_get(item, "call_id"), *name = json_get(item, "name");
	if (!json_string(id, NULL) || !json_string(name, NULL))
		bad(reader, "required", "must have call_id and name, as strings");
	else if (strcmp(arguments, "input") == 0) /* of no schema: text */
		conversation_call(&reader->writer, id, name, json_get(item, arguments));
	else
		conversation_call_text(&reader->writer, id, name, json_get(item, arguments));
}

static void read_result(struct responses_reader *reader, const struct json *item)
{
	const struct json *id = json_get(item, "call_id");
	struct bytes text = {0};
	if (!json_string(id, NULL))
		bad(reader, "required", "must have a call_id, as a string");
	else if (gather_text(reader, json_get(item, "output"), &text))
		conversation_result(&reader->writer, id, NULL, text.data ? text.data : "", text.n_bytes);
	bytes_free_part(&text, &reader->writer.out);
}

static void read_item(struct responses_reader *reader, const struct json *item)
{
	if (json_type(item) != JSON_OBJECT || (!json_get(item, "role") && !json_string(json_get(item, "type"), NULL)))
		bad(reader, "type(object)", "must be an object with a type or a role");
	else if (!json_get(item, "type") || is_type(item, "message"))
		read_message(reader, item);
	else if (is_type(item, "function_call"))
		read_call(reader, item, "arguments");
	else if (is_type(item, "custom_tool_call"))
		read_call(reader, item, "input");
	else if (is_type(item, "function_call_output") || is_type(item, "custom_tool_call_output"))
		read_result(reader, item);
	else if (is_type(item, "reasoning"))
		read_reasoning(reader, item);
	else if (is_type(item, "item_reference"))
		bad(reader, "unsupported",
		    "refers to a stored item; this server stores nothing, send the item itself (clients do with store false)");
}

static void read_input(struct responses_reader *reader)
{
	size_t n_bytes = 0;
	const struct json *input = field_get(reader->check, "input"),
	                  *instructions = field_get(reader->check, "instructions");
	const char *text = json_string(instructions, &n_bytes);
	snprintf(reader->place, sizeof reader->place, "instructions");
	if (text)
		conversation_text(&reader->writer, CONVERSATION_SYSTEM, text, n_bytes);
	else if (instructions)
		bad(reader, "type(string)", "must be a string");
	snprintf(reader->place, sizeof reader->place, "input");
	text = json_string(input, &n_bytes);
	if (text) {
		conversation_text(&reader->writer, CONVERSATION_USER, text, n_bytes);
		return;
	}
	if (!input || json_type(input) != JSON_ARRAY || json_count(input) == 0) {
		bad(reader, input ? "type(string or array)" : "required", "must be a string or an array of at least one item");
		return;
	}
	int index = 0;
	for (const struct json *item = json_first(input); item && reader->check->n_errors == 0; item = json_next(item)) {
		snprintf(reader->place, sizeof reader->place, "input[%d]", index++);
		read_item(reader, item);
	}
}

/* ---- tools ---- */

/* Calls name the namespace of their function. */
static void remember_place(struct responses_reader *reader, const struct json *name, const struct json *space)
{
	size_t n_name = 0, n_space = 0;
	const char *text = json_string(name, &n_name), *space_text = json_string(space, &n_space);
	if (!text || !space_text)
		return;
	struct tool_place *place = arena_alloc(&reader->reading->generation->arena, sizeof *place);
	if (!place) {
		error_set(reader->reading->error, ERROR_MEMORY, "no memory for the request");
		return;
	}
	place->name = reading_keep(reader->reading, text, n_name);
	place->space = reading_keep(reader->reading, space_text, n_space);
	place->next = reader->reading->asked->tool_places;
	if (place->name && place->space)
		reader->reading->asked->tool_places = place;
}

/* Those of a namespace (NULL: there is none) stand by their own names. */
static void write_tools(struct responses_reader *reader, const struct json *tools, const struct json *space,
                        struct bytes *out)
{
	int index = 0;
	char whole[PLACE_BYTES];
	memcpy(whole, reader->place, sizeof whole);
	for (const struct json *tool = json_first(tools); tool && reader->check->n_errors == 0; tool = json_next(tool)) {
		const struct json *name = json_get(tool, "name");
		snprintf(reader->place, sizeof reader->place, "%.40s[%d]", whole, index++);
		if (json_type(tool) != JSON_OBJECT || !json_string(json_get(tool, "type"), NULL)) {
			bad(reader, "type(object)", "must be an object with a type");
		} else if (is_type(tool, "namespace")) {
			write_tools(reader, json_get(tool, "tools"), name, out);
		} else if (is_type(tool, "function") && !json_string(name, NULL)) {
			bad(reader, "required", "must have a name, as a string");
		} else if (is_type(tool, "function")) {
			remember_place(reader, name, space);
			answer_strict_read(reader->reading->generation, name, json_get(tool, "strict"), reader->reading->error);
			conversation_write_tool(out, name, json_get(tool, "description"), json_get(tool, "parameters"));
		}
	}
}

static void read_tools(struct responses_reader *reader)
{
	const struct json *tools = field_get(reader->check, "tools");
	struct bytes *out = &reader->writer.out, list = {0};
	snprintf(reader->place, sizeof reader->place, "tools");
	if (tools && json_type(tools) != JSON_ARRAY)
		bad(reader, "type(array)", "must be an array");
	bytes_append_text(&list, "[");
	write_tools(reader, tools, NULL, &list);
	bool wanted = answer_choice_read(reader->check, reader->reading->generation, reader->reading->error);
	if (list.n_bytes > 1 && wanted) {
		json_field_key(out, "tools");
		bytes_append(out, list.data, list.n_bytes);
		bytes_append_text(out, "]");
	}
	bytes_free_part(&list, out);
}

/* ---- how to answer ---- */

static void check_object(struct field_checker *check, const char *name)
{
	const struct json *value = field_get(check, name);
	if (value && json_type(value) != JSON_OBJECT)
		field_error(check, name, "type(object)", NULL, "%s must be an object (got %s)", name,
		            json_type_name(json_type(value)));
}

static void refuse(struct field_checker *check, const char *name, const char *why)
{
	if (field_get(check, name))
		field_error(check, name, "unsupported", NULL, "%s is not supported: %s", name, why);
}

static void refuse_what_is_not_there(struct field_checker *check)
{
	static const char stores[] = "this server stores nothing, send the whole conversation as input";
	bool background = false;
	refuse(check, "previous_response_id", stores);
	refuse(check, "conversation", stores);
	refuse(check, "prompt", stores);
	field_bool(check, "background", &background);
	if (background)
		refuse(check, "background", "this server stores nothing, ask for a stream");
}

/* Templates know three efforts at most, and whether to think at all. */
static void write_effort(struct field_checker *check, struct bytes *out)
{
	const char *effort = json_string(json_get(field_get(check, "reasoning"), "effort"), NULL);
	if (!effort)
		return;
	if (strcmp(effort, "none") == 0) {
		json_field_bool(out, "enable_thinking", false);
		return;
	}
	bool is_low = strcmp(effort, "low") == 0 || strcmp(effort, "minimal") == 0;
	json_field_text(out, "reasoning_effort", is_low ? "low" : strcmp(effort, "medium") == 0 ? "medium" : "high");
}

/* Of the tokens of messages: `include` asks for them, and so does who says how many are to stand beside each. What else may be
 * included belongs to tools and files that are not there, or is told anyway. */
static void read_logprobs(struct reading *reading)
{
	struct field_checker *check = reading->check;
	struct asked *asked = reading->asked;
	const struct json *include = field_get(check, "include");
	int64_t n_top = 0;
	bool is_list = include && json_type(include) == JSON_ARRAY, good = is_list || !include;
	for (const struct json *item = is_list ? json_first(include) : NULL; item; item = json_next(item)) {
		good &= json_type(item) == JSON_STRING;
		asked->logprobs |= text_is(item, "message.output_text.logprobs");
	}
	if (!good)
		field_error(check, "include", "type(array of strings)", NULL, "include must be an array of strings");
	field_integer(check, "top_logprobs", 0, SAMPLING_MAX_TOP_LOGPROBS, &n_top);
	asked->logprobs |= n_top > 0;
	asked->sampling.logprobs |= asked->logprobs;
	asked->sampling.n_top_logprobs = (int)n_top;
}

static bool read_conversation(struct reading *reading)
{
	struct responses_reader reader = {.reading = reading, .check = reading->check};
	read_input(&reader);
	conversation_end_messages(&reader.writer);
	snprintf(reader.place, sizeof reader.place, "input");
	if (reading->check->n_errors == 0 && reader.writer.n_messages == 0)
		bad(&reader, "messages", "has no message");
	read_tools(&reader);
	write_effort(reading->check, &reader.writer.out);
	if (!reading_is_good(reading)) {
		conversation_free(&reader.writer);
		return false;
	}
	struct asked *asked = reading->asked;
	asked->conversation = asked->made_conversation = conversation_finish(&reader.writer, reading->error);
	return asked->made_conversation != NULL;
}

/* ---- what responses repeat ---- */

static void echo_member(const struct json *object, const char *name, const char *fallback, struct bytes *out)
{
	const struct json *value = json_get(object, name);
	json_field_key(out, name);
	if (value && json_type(value) != JSON_NULL)
		json_write_value(out, value);
	else
		bytes_append_text(out, fallback);
}

/* With the members that the type demands. */
static void echo_tool(const struct json *tool, struct bytes *out)
{
	if (out->n_bytes > 0 && out->data[out->n_bytes - 1] != '[')
		bytes_append_text(out, ",");
	if (!is_type(tool, "function")) {
		json_write_value(out, tool);
		return;
	}
	json_open(out);
	json_field_text(out, "type", "function");
	echo_member(tool, "name", "null", out);
	echo_member(tool, "description", "null", out);
	echo_member(tool, "parameters", "null", out);
	echo_member(tool, "strict", "false", out);
	json_close(out);
}

static const char *write_echo(struct reading *reading, const struct json *body)
{
	struct bytes echo = {0}, *out = &echo;
	bytes_append_text(out, "["); /* so that the first member is set off by nothing */
	echo_member(body, "instructions", "null", out);
	echo_member(body, "max_output_tokens", "null", out);
	echo_member(body, "max_tool_calls", "null", out);
	echo_member(body, "metadata", "{}", out);
	echo_member(body, "parallel_tool_calls", "true", out);
	echo_member(body, "prompt_cache_key", "null", out);
	echo_member(body, "safety_identifier", "null", out);
	echo_member(body, "user", "null", out);
	echo_member(body, "temperature", "1", out);
	echo_member(body, "top_p", "1", out);
	echo_member(body, "tool_choice", "\"auto\"", out);
	json_field_key(out, "reasoning");
	json_open(out);
	echo_member(json_get(body, "reasoning"), "effort", "null", out);
	echo_member(json_get(body, "reasoning"), "summary", "null", out);
	json_close(out);
	json_field_key(out, "text");
	json_open(out);
	echo_member(json_get(body, "text"), "format", "{\"type\":\"text\"}", out);
	echo_member(json_get(body, "text"), "verbosity", "\"medium\"", out);
	json_close(out);
	json_field_key(out, "tools");
	bytes_append_text(out, "[");
	for (const struct json *tool = json_first(json_get(body, "tools")); tool; tool = json_next(tool))
		echo_tool(tool, out);
	bytes_append_text(out, "]");
	const char *kept = echo.failed ? NULL : reading_keep(reading, echo.data + 1, echo.n_bytes - 1);
	bytes_free(&echo);
	return kept;
}

bool responses_parse(const struct json *body, const struct request_limits *limits, struct generation *generation,
                     struct field_checker *check, struct error *error)
{
	struct reading reading = reading_begin(limits, generation, check, error);
	struct asked *asked = reading.asked;
	bool parallel = true;
	asked->prompt_field = "input";
	reading_model(&reading);
	reading_max_tokens(&reading, "max_output_tokens");
	reading_sampling(&reading);
	reading_seed(&reading, check);
	read_logprobs(&reading);
	field_bool(check, "stream", &asked->stream);
	field_bool(check, "parallel_tool_calls", &parallel);
	check_object(check, "text");
	check_object(check, "reasoning");
	check_object(check, "metadata");
	refuse_what_is_not_there(check);
	reading_constraints(&reading);
	constraint_format_read(check, "text.format", json_get(field_get(check, "text"), "format"), false, generation,
	                       error);
	if (check->n_errors > 0 || !read_conversation(&reading))
		return false;
	reading_answer(&reading, !parallel);
	asked->answer.follows = asked->logprobs; /* those of reasoning and calls are told apart */
	asked->echo = write_echo(&reading, body);
	if (!asked->echo)
		error_set(error, ERROR_MEMORY, "no memory for the request");
	return reading_conclude(&reading);
}
