/* Messages of a chat: roles, content as text or in parts, tools. */
#include <stdio.h>
#include <string.h>

#include "server/dialects/openai_request.h"

static bool text_is(const struct json *value, const char *text)
{
	size_t n_bytes = 0;
	const char *given = json_string(value, &n_bytes);
	return given && strlen(text) == n_bytes && memcmp(given, text, n_bytes) == 0;
}

static bool has_value(const struct json *object, const char *name)
{
	const struct json *value = json_get(object, name);
	return value && json_type(value) != JSON_NULL;
}

/* ---- checking ---- */

static void check_role(const struct json *message, int index, struct field_checker *check)
{
	static const char *const roles[] = {"system", "developer", "user", "assistant", "tool"};
	const struct json *role = json_get(message, "role");
	char name[48];
	snprintf(name, sizeof name, "messages[%d].role", index);
	for (size_t i = 0; i < sizeof roles / sizeof roles[0]; i++)
		if (text_is(role, roles[i]))
			return;
	field_error(check, name, "one of system, developer, user, assistant, tool", NULL,
	            "%s must be system, developer, user, assistant or tool", name);
}

/* What a part says: a text, or the refusal that an answer was; NULL: neither. */
static const char *part_text(const struct json *part, size_t *n_bytes)
{
	const struct json *type = json_get(part, "type");
	bool is_refusal = text_is(type, "refusal");
	if (!is_refusal && !text_is(type, "text"))
		return NULL;
	return json_string(json_get(part, is_refusal ? "refusal" : "text"), n_bytes);
}

/* Parts that say something. */
static void check_parts(const struct json *parts, int index, struct field_checker *check)
{
	int n = 0;
	for (const struct json *part = json_first(parts); part; part = json_next(part), n++) {
		char name[64];
		const struct json *type = json_get(part, "type");
		if (part_text(part, NULL))
			continue;
		snprintf(name, sizeof name, "messages[%d].content[%d]", index, n);
		if (json_string(type, NULL) && !text_is(type, "text") && !text_is(type, "refusal"))
			field_error(check, name, "type(text)", NULL,
			            "%s is of type %.40s; this model reads parts of type text only", name, json_string(type, NULL));
		else
			field_error(check, name, "type(text)", NULL, "%s must be an object with type text and a text", name);
	}
}

static void check_content(const struct json *message, int index, struct field_checker *check, bool *has_parts)
{
	const struct json *content = json_get(message, "content");
	char name[48];
	snprintf(name, sizeof name, "messages[%d].content", index);
	if (content && json_type(content) == JSON_ARRAY) {
		*has_parts = true;
		check_parts(content, index, check);
	} else if (content && json_type(content) != JSON_STRING && json_type(content) != JSON_NULL) {
		field_error(check, name, "type(string or array)", NULL,
		            "%s must be a string, null or an array of parts (got %s)", name,
		            json_type_name(json_type(content)));
	} else if (!has_value(message, "content") && !text_is(json_get(message, "role"), "assistant")) {
		field_error(check, name, "required", NULL, "%s is required", name);
	}
}

static void check_parse_special(const struct json *message, int index, struct field_checker *check)
{
	const struct json *flag = json_get(message, "parse_special");
	char name[48];
	snprintf(name, sizeof name, "messages[%d].parse_special", index);
	if (flag && json_type(flag) != JSON_BOOL && json_type(flag) != JSON_NULL)
		field_error(check, name, "type(boolean)", NULL, "%s must be a boolean (got %s)", name,
		            json_type_name(json_type(flag)));
}

static void check_messages(const struct json *messages, struct field_checker *check, bool *has_parts)
{
	if (!messages || json_type(messages) != JSON_ARRAY || json_count(messages) == 0) {
		field_error(check, "messages", messages ? "type(array)" : "required", NULL,
		            "messages must be an array of at least one message");
		return;
	}
	int index = 0;
	for (const struct json *message = json_first(messages); message; message = json_next(message), index++) {
		char name[32];
		snprintf(name, sizeof name, "messages[%d]", index);
		if (json_type(message) != JSON_OBJECT) {
			field_error(check, name, "type(object)", NULL, "%s must be an object (got %s)", name,
			            json_type_name(json_type(message)));
		} else {
			check_role(message, index, check);
			check_content(message, index, check, has_parts);
			check_parse_special(message, index, check);
		}
		if (check->n_errors > 0)
			return; /* the answer has room for the first */
	}
}

static void check_type(struct field_checker *check, const char *name, enum json_type type)
{
	const struct json *value = field_get(check, name);
	if (value && json_type(value) != type)
		field_error(check, name, "type", NULL, "%s must be %s (got %s)", name, json_type_name(type),
		            json_type_name(json_type(value)));
}

/* The last message cannot both be gone on with and be followed by another. */
static void check_continuation(struct field_checker *check)
{
	bool continues = false, begins = false;
	field_bool(check, "continue_final_message", &continues);
	json_bool(field_get(check, "add_generation_prompt"), &begins);
	if (continues && begins)
		field_error(check, "continue_final_message", "exclusive", NULL,
		            "continue_final_message and add_generation_prompt cannot both be true");
}

/* ---- one text for content in parts ---- */

static void copy_parts(const struct json *parts, struct bytes *out)
{
	struct bytes joined = {0};
	for (const struct json *part = json_first(parts); part; part = json_next(part)) {
		size_t n_bytes = 0;
		const char *text = part_text(part, &n_bytes);
		bytes_append(&joined, text, n_bytes);
	}
	json_write_string(out, joined.data ? joined.data : "", joined.n_bytes);
	bytes_free_part(&joined, out);
}

static void copy_message(const struct json *message, struct bytes *out)
{
	json_open(out);
	for (const struct json *member = json_first(message); member; member = json_next(member)) {
		size_t n_key = 0;
		const char *key = json_key(member, &n_key);
		if (member != json_first(message))
			bytes_append_text(out, ",");
		json_write_string(out, key, n_key);
		bytes_append_text(out, ":");
		if (strcmp(key, "content") == 0 && json_type(member) == JSON_ARRAY)
			copy_parts(member, out);
		else
			json_write_value(out, member);
	}
	json_close(out);
}

/* OpenAI's clients turn reasoning off by an effort, templates by a variable of their own, which a request may give as well. */
static bool wants_no_reasoning(const struct field_checker *check)
{
	const struct json *effort = field_get(check, "reasoning_effort");
	return text_is(effort, "none") && !json_get(check->object, "enable_thinking");
}

/* The members that templates see, with the messages rewritten, and with what turns reasoning off. NULL: *error. */
static struct json *rewrite(const struct json *body, bool no_reasoning, struct error *error)
{
	struct bytes text = {0};
	json_open(&text);
	for (const struct json *member = json_first(body); member; member = json_next(member)) {
		size_t n_key = 0;
		const char *key = json_key(member, &n_key);
		if (member != json_first(body))
			bytes_append_text(&text, ",");
		json_write_string(&text, key, n_key);
		bytes_append_text(&text, ":");
		if (strcmp(key, "messages") != 0) {
			json_write_value(&text, member);
			continue;
		}
		bytes_append_text(&text, "[");
		for (const struct json *message = json_first(member); message; message = json_next(message)) {
			if (message != json_first(member))
				bytes_append_text(&text, ",");
			copy_message(message, &text);
		}
		bytes_append_text(&text, "]");
	}
	if (no_reasoning)
		json_field_bool(&text, "enable_thinking", false);
	json_close(&text);
	struct json *made = NULL;
	if (text.failed)
		error_set(error, ERROR_MEMORY, "no memory for the request");
	else
		made = json_parse(text.data, text.n_bytes, &(struct json_limits){.max_depth = 64}, error);
	bytes_free(&text);
	return made;
}

bool openai_read_conversation(const struct json *body, struct field_checker *check, const struct json **conversation,
                              struct json **made, struct error *error)
{
	bool has_parts = false;
	check_messages(field_get(check, "messages"), check, &has_parts);
	check_type(check, "tools", JSON_ARRAY);
	check_type(check, "chat_template_kwargs", JSON_OBJECT);
	check_type(check, "documents", JSON_ARRAY);
	check_type(check, "add_generation_prompt", JSON_BOOL);
	check_continuation(check);
	if (check->n_errors > 0)
		return false;
	*conversation = body;
	if (!has_parts && !wants_no_reasoning(check))
		return true;
	*conversation = *made = rewrite(body, wants_no_reasoning(check), error);
	return *made != NULL;
}
