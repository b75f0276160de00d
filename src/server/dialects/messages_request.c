/* Validation of Anthropic's bodies (messages_request.h). Blocks and fields that we do not know are passed over, as are tools
 * that run on Anthropic's servers; pictures and other files are refused by name, for the model would answer without them. */
#include "server/dialects/messages_request.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "server/dialects/answer_fields.h"
#include "server/dialects/constraint_fields.h"
#include "server/dialects/conversation.h"
#include "server/dialects/reading.h"

enum { PLACE_BYTES = 64 };

struct messages_reader {
	struct field_checker *check;
	struct generation *generation; /* NULL: nothing is generated */
	struct error *error;
	struct conversation writer;
	char place[PLACE_BYTES]; /* of what is being read: "messages.3.content.0" */
};

static bool is_type(const struct json *object, const char *type)
{
	const char *given = json_string(json_get(object, "type"), NULL);
	return given && strcmp(given, type) == 0;
}

static void bad(struct messages_reader *reader, const char *constraint, const char *what)
{
	field_error(reader->check, reader->place, constraint, NULL, "%s: %s", reader->place, what);
}

/* ---- texts ---- */

/* "x-anthropic-billing-header: ...": changes each turn, and means nothing to the model. */
static bool is_header_line(const char *line, size_t n_bytes)
{
	static const char prefix[] = "x-anthropic-";
	size_t n = sizeof prefix - 1;
	if (n_bytes <= n || strncasecmp(line, prefix, n) != 0)
		return false;
	while (n < n_bytes && (line[n] == '-' || (line[n] >= 'a' && line[n] <= 'z') || (line[n] >= '0' && line[n] <= '9')))
		n++;
	return n < n_bytes && line[n] == ':';
}

static void write_system(struct messages_reader *reader, const char *text, size_t n_bytes)
{
	const char *end = text + n_bytes;
	while (text < end) {
		const char *line_end = memchr(text, '\n', (size_t)(end - text));
		size_t n_line = line_end ? (size_t)(line_end - text) + 1 : (size_t)(end - text);
		if (!is_header_line(text, n_line))
			conversation_text(&reader->writer, CONVERSATION_SYSTEM, text, n_line);
		text += n_line;
	}
}

/* Appends the texts that a block or a list of blocks holds, down to what a tool or a search found. False: it is bad. */
static bool gather_text(struct messages_reader *reader, const struct json *value, struct bytes *out)
{
	size_t n_bytes = 0;
	const char *text = json_string(value, &n_bytes);
	if (text) {
		bytes_append(out, text, n_bytes);
		return true;
	}
	if (value && json_type(value) == JSON_ARRAY) {
		for (const struct json *item = json_first(value); item; item = json_next(item))
			if (!gather_text(reader, item, out))
				return false;
		return true;
	}
	const struct json *source = json_get(value, "source");
	if (is_type(value, "image") ||
	    (is_type(value, "document") && !is_type(source, "text") && !is_type(source, "content"))) {
		bad(reader, "type(text)", "this model reads text only, no pictures and no files");
		return false;
	}
	if (is_type(value, "text") && !json_string(json_get(value, "text"), NULL)) {
		bad(reader, "type(text)", "a block of type text must have a text");
		return false;
	}
	if (is_type(value, "text"))
		return gather_text(reader, json_get(value, "text"), out);
	if (is_type(value, "document"))
		return gather_text(reader, json_get(source, is_type(source, "text") ? "data" : "content"), out);
	return !is_type(value, "search_result") || gather_text(reader, json_get(value, "content"), out);
}

/* ---- blocks ---- */

static void read_text(struct messages_reader *reader, enum conversation_role role, const struct json *block)
{
	struct bytes text = {0};
	if (gather_text(reader, block, &text) && (text.n_bytes > 0 || role == CONVERSATION_USER)) {
		if (role == CONVERSATION_SYSTEM)
			write_system(reader, text.data, text.n_bytes);
		else
			conversation_text(&reader->writer, role, text.data ? text.data : "", text.n_bytes);
	}
	bytes_free_part(&text, &reader->writer.out);
}

static void read_tool_use(struct messages_reader *reader, const struct json *block)
{
	const struct json *id = json_get(block, "id"), *name = json_get(block, "name");
	if (!json_string(id, NULL) || !json_string(name, NULL))
		bad(reader, "required", "a block of type tool_use must have id and name, as strings");
	else
		conversation_call(&reader->writer, id, name, json_get(block, "input"));
}

static void read_tool_result(struct messages_reader *reader, const struct json *block)
{
	const struct json *id = json_get(block, "tool_use_id");
	struct bytes text = {0};
	if (!json_string(id, NULL))
		bad(reader, "required", "a block of type tool_result must have a tool_use_id, as a string");
	else if (gather_text(reader, json_get(block, "content"), &text))
		conversation_result(&reader->writer, id, NULL, text.data ? text.data : "", text.n_bytes);
	bytes_free_part(&text, &reader->writer.out);
}

static void read_block(struct messages_reader *reader, enum conversation_role role, const struct json *block)
{
	size_t n_bytes = 0;
	const char *thinking = json_string(json_get(block, "thinking"), &n_bytes);
	if (json_type(block) != JSON_OBJECT || !json_string(json_get(block, "type"), NULL))
		bad(reader, "type(object)", "a block must be an object with a type");
	else if (role == CONVERSATION_ASSISTANT && is_type(block, "tool_use"))
		read_tool_use(reader, block);
	else if (role == CONVERSATION_USER && is_type(block, "tool_result"))
		read_tool_result(reader, block);
	else if (role == CONVERSATION_ASSISTANT && is_type(block, "thinking") && thinking)
		conversation_reasoning(&reader->writer, thinking, n_bytes);
	else
		read_text(reader, role, block);
}

/* A string or blocks. */
static void read_content(struct messages_reader *reader, enum conversation_role role, const struct json *content)
{
	char whole[PLACE_BYTES];
	memcpy(whole, reader->place, sizeof whole);
	conversation_turn(&reader->writer);
	if (json_string(content, NULL)) {
		read_text(reader, role, content);
		return;
	}
	if (!content || json_type(content) != JSON_ARRAY) {
		bad(reader, content ? "type(string or array)" : "required", "must be a string or an array of blocks");
		return;
	}
	int n = 0;
	for (const struct json *block = json_first(content); block && reader->check->n_errors == 0;
	     block = json_next(block)) {
		snprintf(reader->place, sizeof reader->place, "%.48s.%d", whole, n++);
		read_block(reader, role, block);
	}
}

/* ---- messages ---- */

static bool read_role(const struct json *message, enum conversation_role *role)
{
	static const char *const names[] = {"system", "user", "assistant"};
	const char *given = json_string(json_get(message, "role"), NULL);
	for (int i = 0; given && i < 3; i++) {
		if (strcmp(given, names[i]) == 0) {
			*role = (enum conversation_role)i;
			return true;
		}
	}
	return false;
}

static void read_message(struct messages_reader *reader, int index, const struct json *message)
{
	enum conversation_role role;
	snprintf(reader->place, sizeof reader->place, "messages.%d", index);
	if (json_type(message) != JSON_OBJECT) {
		bad(reader, "type(object)", "must be an object");
		return;
	}
	if (!read_role(message, &role)) {
		snprintf(reader->place, sizeof reader->place, "messages.%d.role", index);
		bad(reader, "one of user, assistant, system", "must be user, assistant or system");
		return;
	}
	snprintf(reader->place, sizeof reader->place, "messages.%d.content", index);
	read_content(reader, role, json_get(message, "content"));
}

static void read_messages(struct messages_reader *reader)
{
	const struct json *system = field_get(reader->check, "system"), *messages = field_get(reader->check, "messages");
	snprintf(reader->place, sizeof reader->place, "system");
	if (system)
		read_content(reader, CONVERSATION_SYSTEM, system);
	if (!messages || json_type(messages) != JSON_ARRAY || json_count(messages) == 0) {
		snprintf(reader->place, sizeof reader->place, "messages");
		bad(reader, messages ? "type(array)" : "required", "must be an array of at least one message");
		return;
	}
	int index = 0;
	for (const struct json *message = json_first(messages); message && reader->check->n_errors == 0;
	     message = json_next(message))
		read_message(reader, index++, message);
}

/* ---- tools and how to think ---- */

/* False: the answer may not call any. */
static bool read_tool_choice(struct messages_reader *reader)
{
	const struct json *choice = field_get(reader->check, "tool_choice"), *name = json_get(choice, "name");
	snprintf(reader->place, sizeof reader->place, "tool_choice");
	bool names = is_type(choice, "tool") && json_string(name, NULL);
	if (choice && !is_type(choice, "auto") && !is_type(choice, "none") && !is_type(choice, "any") && !names)
		bad(reader, "one of auto, any, tool, none",
		    "must be an object whose type is auto, any, none, or tool with a name");
	if (reader->generation && (names || is_type(choice, "any")))
		answer_must_call(reader->generation, names ? name : NULL, reader->error);
	if (reader->generation && names)
		reader->generation->asked.answer.single_call = true;
	return !is_type(choice, "none");
}

static void read_tools(struct messages_reader *reader)
{
	struct bytes *out = &reader->writer.out;
	const struct json *tools = field_get(reader->check, "tools");
	bool wanted = read_tool_choice(reader), any = false;
	snprintf(reader->place, sizeof reader->place, "tools");
	if (tools && json_type(tools) != JSON_ARRAY)
		bad(reader, "type(array)", "must be an array");
	int index = 0;
	for (const struct json *tool = json_first(tools); tool && reader->check->n_errors == 0;
	     tool = json_next(tool), index++) {
		const struct json *name = json_get(tool, "name");
		const char *type = json_string(json_get(tool, "type"), NULL);
		snprintf(reader->place, sizeof reader->place, "tools.%d", index);
		if (type && strcmp(type, "custom") != 0)
			continue;
		if (!json_string(name, NULL)) {
			bad(reader, "required", "must be an object with a name");
		} else if (wanted) {
			if (reader->generation)
				answer_strict_read(reader->generation, name, json_get(tool, "strict"), reader->error);
			if (!any) {
				json_field_key(out, "tools");
				bytes_append_text(out, "[");
			}
			any = true;
			conversation_write_tool(out, name, json_get(tool, "description"), json_get(tool, "input_schema"));
		}
	}
	if (any)
		bytes_append_text(out, "]");
}

/* Templates know whether to think, some how much. */
static void read_thinking(struct messages_reader *reader)
{
	struct bytes *out = &reader->writer.out;
	const struct json *thinking = field_get(reader->check, "thinking"),
	                  *config = field_get(reader->check, "output_config");
	const char *effort = json_string(json_get(config, "effort"), NULL);
	if (is_type(thinking, "enabled") || is_type(thinking, "adaptive") || is_type(thinking, "disabled"))
		json_field_bool(out, "enable_thinking", !is_type(thinking, "disabled"));
	if (effort && (strcmp(effort, "low") == 0 || strcmp(effort, "medium") == 0))
		json_field_text(out, "reasoning_effort", effort);
	else if (effort)
		json_field_text(out, "reasoning_effort", "high");
}

bool messages_read_conversation(struct field_checker *check, struct generation *generation, struct json **made,
                                struct error *error)
{
	struct messages_reader reader = {.check = check, .generation = generation, .error = error};
	read_messages(&reader);
	conversation_end_messages(&reader.writer);
	snprintf(reader.place, sizeof reader.place, "messages");
	if (check->n_errors == 0 && reader.writer.n_messages == 0)
		bad(&reader, "messages", "none of them says anything");
	read_tools(&reader);
	read_thinking(&reader);
	if (reader.writer.ends_with_text)
		json_field_bool(&reader.writer.out, "continue_final_message", true);
	if (check->n_errors > 0) {
		conversation_free(&reader.writer);
		return false;
	}
	*made = conversation_finish(&reader.writer, error);
	return *made != NULL;
}

bool messages_parse(const struct json *body, const struct request_limits *limits, struct generation *generation,
                    struct field_checker *check, struct error *error)
{
	(void)body;
	struct reading reading = reading_begin(limits, generation, check, error);
	struct asked *asked = reading.asked;
	reading_model(&reading);
	reading_max_tokens(&reading, "max_tokens");
	reading_sampling(&reading);
	reading_seed(&reading, check);
	reading_stops(&reading, check, "stop_sequences");
	field_bool(check, "stream", &asked->stream);
	reading_constraints(&reading);
	constraint_format_read(check, "output_format", field_get(check, "output_format"), false, generation, error);
	constraint_format_read(check, "output_config.format", json_get(field_get(check, "output_config"), "format"), false,
	                       generation, error);
	if (check->n_errors > 0 || !messages_read_conversation(check, generation, &asked->made_conversation, error))
		return false;
	asked->conversation = asked->made_conversation;
	bool single = false;
	json_bool(json_get(field_get(check, "tool_choice"), "disable_parallel_tool_use"), &single);
	reading_answer(&reading, single);
	return reading_conclude(&reading);
}
