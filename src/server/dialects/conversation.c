/* Conversations for templates (conversation.h). */
#include "server/dialects/conversation.h"

#include <string.h>

/* A request's values nest to 64; blocks become calls and tools of a few levels more. */
enum { MADE_MAX_DEPTH = 80 };

struct conversation_call {
	const char *id, *name;
	size_t n_id, n_name;
	struct conversation_call *next;
};

static const char *role_name(enum conversation_role role)
{
	static const char *const names[] = {"system", "user", "assistant"};
	return names[role];
}

/* ---- messages ---- */

static void begin_message(struct conversation *writer)
{
	bytes_append_text(&writer->out, writer->out.n_bytes == 0 ? "{\"messages\":[" : ",");
	json_open(&writer->out);
	writer->n_messages++;
}

static void field_bytes(struct bytes *out, const char *key, const struct bytes *text)
{
	json_field_string(out, key, text->data ? text->data : "", text->n_bytes);
}

static void write_message(struct conversation *writer)
{
	begin_message(writer);
	json_field_text(&writer->out, "role", role_name(writer->role));
	if (writer->reasoning.n_bytes > 0)
		field_bytes(&writer->out, "reasoning_content", &writer->reasoning);
	field_bytes(&writer->out, "content", &writer->text);
	if (writer->calls.n_bytes > 0) {
		json_field_key(&writer->out, "tool_calls");
		bytes_append_text(&writer->out, "[");
		bytes_append(&writer->out, writer->calls.data, writer->calls.n_bytes);
		bytes_append_text(&writer->out, "]");
	}
	json_close(&writer->out);
}

static void end_message(struct conversation *writer)
{
	bool is_empty = writer->text.n_bytes + writer->reasoning.n_bytes + writer->calls.n_bytes == 0;
	bool says_nothing = is_empty && writer->role != CONVERSATION_USER;
	writer->between_turns = false;
	if (writer->has_message && !says_nothing)
		write_message(writer);
	writer->has_message = false;
	/* What memory was too short for may have looked like nothing. */
	bytes_clear_part(&writer->text, &writer->out);
	bytes_clear_part(&writer->reasoning, &writer->out);
	bytes_clear_part(&writer->calls, &writer->out);
}

static void enter(struct conversation *writer, enum conversation_role role)
{
	if (writer->has_message && writer->role != role)
		end_message(writer);
	writer->has_message = true;
	writer->role = role;
	writer->ends_with_text = false;
}

void conversation_turn(struct conversation *writer)
{
	writer->between_turns = true;
}

void conversation_text(struct conversation *writer, enum conversation_role role, const char *text, size_t n_bytes)
{
	bool joins = writer->has_message && writer->role == role && writer->between_turns && writer->text.n_bytes > 0;
	enter(writer, role);
	if (joins && n_bytes > 0)
		bytes_append_text(&writer->text, "\n\n");
	writer->between_turns = false;
	bytes_append(&writer->text, text, n_bytes);
	writer->ends_with_text = role == CONVERSATION_ASSISTANT && n_bytes > 0;
}

void conversation_reasoning(struct conversation *writer, const char *text, size_t n_bytes)
{
	enter(writer, CONVERSATION_ASSISTANT);
	bytes_append(&writer->reasoning, text, n_bytes);
}

/* ---- calls ---- */

static void remember(struct conversation *writer, const struct json *id, const struct json *name)
{
	struct conversation_call *call = id ? arena_alloc(&writer->arena, sizeof *call) : NULL;
	writer->out.failed |= id && !call;
	if (!call)
		return; /* without an id no result can name it */
	call->id = json_string(id, &call->n_id);
	call->name = json_string(name, &call->n_name);
	call->next = writer->known;
	writer->known = call;
}

/* What is no call, so that the model sees what it wrote. */
static void write_as_text(struct conversation *writer, const struct json *name, const struct json *arguments)
{
	struct bytes shown = {0};
	size_t n_bytes = 0;
	const char *text = json_string(name, &n_bytes);
	bytes_append(&shown, text, n_bytes);
	bytes_append_text(&shown, " ");
	text = json_string(arguments, &n_bytes);
	if (text)
		bytes_append(&shown, text, n_bytes);
	else if (arguments)
		json_write_value(&shown, arguments);
	conversation_text(writer, CONVERSATION_ASSISTANT, shown.data ? shown.data : "", shown.n_bytes);
	bytes_free_part(&shown, &writer->text);
	writer->ends_with_text = false; /* nothing to go on with */
}

void conversation_call(struct conversation *writer, const struct json *id, const struct json *name,
                       const struct json *arguments)
{
	struct bytes *calls = &writer->calls;
	remember(writer, id, name);
	if (!arguments || json_type(arguments) != JSON_OBJECT) {
		write_as_text(writer, name, arguments);
		return;
	}
	enter(writer, CONVERSATION_ASSISTANT);
	if (calls->n_bytes > 0)
		bytes_append_text(calls, ",");
	json_open(calls);
	if (id) {
		json_field_key(calls, "id");
		json_write_value(calls, id);
	}
	json_field_text(calls, "type", "function");
	json_field_key(calls, "function");
	json_open(calls);
	json_field_key(calls, "name");
	json_write_value(calls, name);
	json_field_key(calls, "arguments");
	json_write_value(calls, arguments);
	json_close(calls);
	json_close(calls);
}

void conversation_call_text(struct conversation *writer, const struct json *id, const struct json *name,
                            const struct json *arguments)
{
	struct error error = {0};
	size_t n_bytes = 0;
	const char *text = json_string(arguments, &n_bytes);
	struct json *object = NULL;
	if (text)
		object = n_bytes == 0 ? json_parse("{}", 2, NULL, &error) : json_parse(text, n_bytes, NULL, &error);
	writer->out.failed |= text && !object && error.code == ERROR_MEMORY;
	if (object && json_type(object) == JSON_OBJECT)
		conversation_call(writer, id, name, object);
	else
		conversation_call(writer, id, name, arguments);
	json_destroy(object);
}

void conversation_result(struct conversation *writer, const struct json *id, const struct json *name, const char *text,
                         size_t n_bytes)
{
	size_t n_id = 0;
	const char *given = json_string(id, &n_id);
	const struct conversation_call *call = given ? writer->known : NULL;
	while (call && (call->n_id != n_id || memcmp(call->id, given, n_id) != 0))
		call = call->next;
	end_message(writer);
	writer->ends_with_text = false;
	begin_message(writer);
	json_field_text(&writer->out, "role", "tool");
	if (given)
		json_field_string(&writer->out, "tool_call_id", given, n_id);
	if (json_string(name, NULL)) {
		json_field_key(&writer->out, "name");
		json_write_value(&writer->out, name);
	} else if (call) {
		json_field_string(&writer->out, "name", call->name, call->n_name);
	}
	json_field_string(&writer->out, "content", text, n_bytes);
	json_close(&writer->out);
}

/* ---- the whole ---- */

void conversation_end_messages(struct conversation *writer)
{
	end_message(writer);
	bytes_append_text(&writer->out, writer->out.n_bytes == 0 ? "{\"messages\":[]" : "]");
}

struct json *conversation_finish(struct conversation *writer, struct error *error)
{
	struct json *made = NULL;
	json_close(&writer->out);
	if (writer->out.failed)
		error_set(error, ERROR_MEMORY, "no memory for the request");
	else
		made = json_parse(writer->out.data, writer->out.n_bytes, &(struct json_limits){.max_depth = MADE_MAX_DEPTH},
		                  error);
	conversation_free(writer);
	return made;
}

void conversation_free(struct conversation *writer)
{
	bytes_free(&writer->out);
	bytes_free(&writer->text);
	bytes_free(&writer->reasoning);
	bytes_free(&writer->calls);
	arena_free(&writer->arena);
	writer->known = NULL;
}

void conversation_write_tool(struct bytes *out, const struct json *name, const struct json *description,
                             const struct json *schema)
{
	if (out->n_bytes > 0 && out->data[out->n_bytes - 1] != '[')
		bytes_append_text(out, ",");
	json_open(out);
	json_field_text(out, "type", "function");
	json_field_key(out, "function");
	json_open(out);
	json_field_key(out, "name");
	json_write_value(out, name);
	if (json_string(description, NULL)) {
		json_field_key(out, "description");
		json_write_value(out, description);
	}
	json_field_key(out, "parameters");
	if (schema && json_type(schema) == JSON_OBJECT)
		json_write_value(out, schema);
	else
		bytes_append_text(out, "{\"type\":\"object\",\"properties\":{}}");
	json_close(out);
	json_close(out);
}
