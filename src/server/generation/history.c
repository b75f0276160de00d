/* Conversations rewritten for their template (history.h). */
#include "server/generation/history.h"

#include <string.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "text/answer.h"

struct rewriting {
	const struct history_style *style;
	const struct json *tools; /* that go to the system message */
	struct bytes out;
	/* Where ids have a prefix: calls of all messages so far, and the last message with calls. */
	int n_numbered, first_number;
	const struct json *numbered;
	/* Of one message; empty between two. */
	struct bytes calls; /* items of tool_calls */
	struct bytes odd;   /* calls that are none, as text */
	int n_calls;
};

static bool text_is(const struct json *value, const char *text)
{
	size_t n_bytes = 0;
	const char *given = json_string(value, &n_bytes);
	return given && strlen(text) == n_bytes && memcmp(given, text, n_bytes) == 0;
}

static bool is_something(const struct json *value)
{
	return value && json_type(value) != JSON_NULL;
}

/* ---- ids ---- */

void history_short_id(const char *id, size_t n_bytes, int n, char out[HISTORY_ID_BYTES])
{
	static const char letters[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
	static const uint64_t key[2] = {0x7461, 0x6C6C};
	bool good = n_bytes == (size_t)n;
	for (size_t i = 0; i < n_bytes && good; i++)
		good = id[i] && strchr(letters, id[i]);
	uint64_t number = hash_keyed(key, id, n_bytes);
	for (int i = 0; i < n && i + 1 < HISTORY_ID_BYTES; i++, number /= sizeof letters - 1) {
		out[i] = good ? id[i] : letters[number % (sizeof letters - 1)];
		out[i + 1] = 0;
	}
}

static bool is_call(const struct json *call)
{
	return json_string(json_get(json_get(call, "function"), "name"), NULL) != NULL;
}

static void write_numbered_id(const struct rewriting *rewriting, const char *key, const struct json *call, int number,
                              struct bytes *out)
{
	struct bytes id = {0};
	const char *name = json_string(json_get(json_get(call, "function"), "name"), NULL);
	bytes_append_format(&id, "%s%s:%d", rewriting->style->id_prefix, name, number);
	json_field_key(out, key);
	json_write_string(out, id.data ? id.data : "", id.n_bytes);
	bytes_free_part(&id, out);
}

/* The id that the call of this id was given, of the last message with calls and of as many as an answer has; false: there is
 * none. */
static bool write_id_of_call(const struct rewriting *rewriting, const char *key, const char *id, struct bytes *out)
{
	int number = rewriting->first_number, n_seen = 0;
	for (const struct json *call = json_first(rewriting->numbered); call && n_seen++ < ANSWER_MAX_CALLS;
	     call = json_next(call)) {
		if (!is_call(call))
			continue;
		if (text_is(json_get(call, "id"), id)) {
			write_numbered_id(rewriting, key, call, number, out);
			return true;
		}
		number++;
	}
	return false;
}

/* None stays none where any will do. */
static void write_id(const struct rewriting *rewriting, const char *key, const struct json *id, struct bytes *out)
{
	char text[HISTORY_ID_BYTES] = "";
	size_t n_bytes = 0;
	const char *given = json_string(id, &n_bytes);
	if (rewriting->style->id_prefix && given && write_id_of_call(rewriting, key, given, out))
		return;
	if (rewriting->style->id_characters > 0) {
		history_short_id(given ? given : "", given ? n_bytes : 0, rewriting->style->id_characters, text);
		json_field_text(out, key, text);
	} else if (id) {
		json_field_key(out, key);
		json_write_value(out, id);
	}
}

/* ---- calls ---- */

static void write_as_text(const struct json *value, struct bytes *out)
{
	struct bytes text = {0};
	json_write_value(&text, value);
	json_write_string(out, text.data ? text.data : "", text.n_bytes);
	bytes_free_part(&text, out);
}

/* Text that is an object of JSON, as an object; other text as it is where the template takes that, else in an object. */
static void write_parsed(const struct rewriting *rewriting, const char *text, size_t n_bytes, struct bytes *out)
{
	struct error error;
	bool blank = true;
	for (size_t i = 0; i < n_bytes && blank; i++)
		blank = text[i] == ' ' || text[i] == '\n' || text[i] == '\r' || text[i] == '\t';
	struct json_limits limits = {.allow_duplicates = true};
	struct json *object = blank ? NULL : json_parse(text, n_bytes, &limits, &error);
	if (blank) {
		bytes_append_text(out, "{}");
	} else if (!object && error.code == ERROR_MEMORY) {
		out->failed = true;
	} else if (object && json_type(object) == JSON_OBJECT) {
		json_write_value(out, object);
	} else if (rewriting->style->calls.odd_text) {
		json_write_string(out, text, n_bytes);
	} else {
		json_open(out);
		json_field_string(out, "arguments", text, n_bytes);
		json_close(out);
	}
	json_destroy(object);
}

/* A value that is no object. */
static void write_odd(const struct rewriting *rewriting, const struct json *value, struct bytes *out)
{
	struct bytes text = {0};
	json_write_value(&text, value);
	write_parsed(rewriting, text.data ? text.data : "", text.n_bytes, out);
	bytes_free_part(&text, out);
}

static void write_arguments(const struct rewriting *rewriting, const struct json *arguments, struct bytes *out)
{
	const struct chat_calls *calls = &rewriting->style->calls;
	size_t n_bytes = 0;
	const char *text = json_string(arguments, &n_bytes);
	if (!is_something(arguments))
		bytes_append_text(out, calls->as_object || !calls->as_text ? "{}" : "\"{}\"");
	else if (text && calls->as_object && !calls->as_text)
		write_parsed(rewriting, text, n_bytes, out);
	else if (!text && calls->as_text && !calls->as_object)
		write_as_text(arguments, out);
	else if (!text && json_type(arguments) != JSON_OBJECT)
		write_odd(rewriting, arguments, out);
	else
		json_write_value(out, arguments);
}

static void write_function(const struct rewriting *rewriting, const struct json *function, struct bytes *out)
{
	json_field_key(out, "function");
	json_open(out);
	for (const struct json *member = json_first(function); member; member = json_next(member)) {
		const char *key = json_key(member, NULL);
		if (strcmp(key, "arguments") == 0)
			continue;
		json_field_key(out, key);
		json_write_value(out, member);
	}
	json_field_key(out, "arguments");
	write_arguments(rewriting, json_get(function, "arguments"), out);
	json_close(out);
}

/* One item of tool_calls; what is no call is noted as text. */
static void add_call(struct rewriting *rewriting, const struct json *call)
{
	const struct json *function = json_get(call, "function");
	struct bytes *out = &rewriting->calls;
	if (!is_call(call)) {
		bytes_append_text(&rewriting->odd, rewriting->odd.n_bytes ? "\n" : "");
		json_write_value(&rewriting->odd, call);
		return;
	}
	bytes_append_text(out, rewriting->n_calls++ ? "," : "");
	json_open(out);
	if (rewriting->style->id_prefix)
		write_numbered_id(rewriting, "id", call, rewriting->n_numbered++, out);
	else
		write_id(rewriting, "id", json_get(call, "id"), out);
	json_field_text(out, "type", "function");
	write_function(rewriting, function, out);
	json_close(out);
}

/* ---- messages ---- */

static void write_content(const struct rewriting *rewriting, const struct json *content, struct bytes *out)
{
	size_t n_bytes = 0;
	const char *text = json_string(content, &n_bytes);
	bool empty = !is_something(content) || (text && n_bytes == 0);
	json_field_key(out, "content");
	if (empty && rewriting->odd.n_bytes == 0 && rewriting->n_calls > 0 && rewriting->style->calls.null_content) {
		bytes_append_text(out, "null");
	} else if (text || empty) {
		struct bytes joined = {0};
		bytes_append(&joined, text ? text : "", n_bytes);
		if (n_bytes > 0 && rewriting->odd.n_bytes > 0)
			bytes_append_text(&joined, "\n");
		bytes_append(&joined, rewriting->odd.data, rewriting->odd.n_bytes);
		json_write_string(out, joined.data ? joined.data : "", joined.n_bytes);
		bytes_free_part(&joined, out);
	} else {
		json_write_value(out, content);
	}
}

/* Members that are not written anew. */
static bool is_plain(const struct json *message, const char *key)
{
	if (strcmp(key, "reasoning") == 0)
		return !json_string(json_get(message, key), NULL);
	return strcmp(key, "content") != 0 && strcmp(key, "tool_calls") != 0;
}

static void write_plain(const struct json *message, struct bytes *out)
{
	for (const struct json *member = json_first(message); member; member = json_next(member)) {
		const char *key = json_key(member, NULL);
		if (!is_plain(message, key))
			continue;
		json_field_key(out, key);
		json_write_value(out, member);
	}
	const struct json *reasoning = json_get(message, "reasoning");
	if (json_string(reasoning, NULL) && !json_get(message, "reasoning_content")) {
		json_field_key(out, "reasoning_content");
		json_write_value(out, reasoning);
	}
}

static void write_assistant(struct rewriting *rewriting, const struct json *message)
{
	const struct json *calls = json_get(message, "tool_calls");
	bool is_list = calls && json_type(calls) == JSON_ARRAY, apart = !rewriting->style->calls.several;
	const struct json *call = is_list ? json_first(calls) : NULL;
	struct bytes *out = &rewriting->out;
	if (json_count(calls) > 0) {
		rewriting->numbered = calls;
		rewriting->first_number = rewriting->n_numbered;
	}
	if (is_something(calls) && !is_list)
		json_write_value(&rewriting->odd, calls);
	for (bool first = true; first || call; first = false) {
		rewriting->n_calls = 0;
		for (; call && !(apart && rewriting->n_calls > 0); call = json_next(call))
			add_call(rewriting, call);
		bytes_append_text(out, first ? "" : ",");
		json_open(out);
		if (first)
			write_plain(message, out);
		else
			json_field_text(out, "role", "assistant");
		write_content(rewriting, first ? json_get(message, "content") : NULL, out);
		if (rewriting->n_calls > 0) {
			json_field_key(out, "tool_calls");
			bytes_append_text(out, "[");
			bytes_append(out, rewriting->calls.data, rewriting->calls.n_bytes);
			bytes_append_text(out, "]");
		}
		json_close(out);
		bytes_clear_part(&rewriting->calls, out);
		bytes_clear_part(&rewriting->odd, out);
	}
}

static void write_other(struct rewriting *rewriting, const struct json *message)
{
	struct bytes *out = &rewriting->out;
	json_open(out);
	for (const struct json *member = json_first(message); member; member = json_next(member)) {
		const char *key = json_key(member, NULL);
		if (strcmp(key, "tool_call_id") == 0) {
			write_id(rewriting, key, member, out);
			continue;
		}
		json_field_key(out, key);
		json_write_value(out, member);
	}
	if (rewriting->tools && text_is(json_get(message, "role"), "system")) {
		json_field_key(out, "tools");
		write_as_text(rewriting->tools, out);
		rewriting->tools = NULL;
	}
	json_close(out);
}

static void write_messages(struct rewriting *rewriting, const struct json *messages)
{
	struct bytes *out = &rewriting->out;
	bool has_system = text_is(json_get(json_first(messages), "role"), "system");
	bytes_append_text(out, "[");
	if (rewriting->tools && !has_system) {
		bytes_append_text(out, "{\"role\":\"system\",\"content\":\"\",\"tools\":");
		write_as_text(rewriting->tools, out);
		bytes_append_text(out, json_first(messages) ? "}," : "}");
		rewriting->tools = NULL;
	}
	for (const struct json *message = json_first(messages); message; message = json_next(message)) {
		if (message != json_first(messages))
			bytes_append_text(out, ",");
		if (text_is(json_get(message, "role"), "assistant"))
			write_assistant(rewriting, message);
		else
			write_other(rewriting, message);
	}
	bytes_append_text(out, "]");
}

/* ---- the whole ---- */

static bool message_needs(const struct json *message, const struct history_style *style)
{
	if (text_is(json_get(message, "role"), "assistant"))
		return json_get(message, "tool_calls") || json_string(json_get(message, "reasoning"), NULL) ||
		       !is_something(json_get(message, "content"));
	return (style->id_prefix || style->id_characters > 0) && json_get(message, "tool_call_id");
}

static bool needs(const struct json *conversation, const struct history_style *style)
{
	const struct json *messages = json_get(conversation, "messages"), *tools = json_get(conversation, "tools");
	if (tools && (json_count(tools) == 0 || style->calls.system_tools))
		return true;
	for (const struct json *message = json_first(messages); message; message = json_next(message))
		if (json_type(message) == JSON_OBJECT && message_needs(message, style))
			return true;
	return false;
}

static void write_conversation(struct rewriting *rewriting, const struct json *conversation)
{
	struct bytes *out = &rewriting->out;
	const struct json *tools = json_get(conversation, "tools");
	if (json_count(tools) > 0 && rewriting->style->calls.system_tools)
		rewriting->tools = tools;
	json_open(out);
	for (const struct json *member = json_first(conversation); member; member = json_next(member)) {
		const char *key = json_key(member, NULL);
		if (strcmp(key, "tools") == 0 && json_count(member) == 0)
			continue;
		json_field_key(out, key);
		if (strcmp(key, "messages") == 0 && json_type(member) == JSON_ARRAY)
			write_messages(rewriting, member);
		else
			json_write_value(out, member);
	}
	json_close(out);
}

bool history_prepare(const struct json *conversation, const struct history_style *style, struct json **made,
                     struct error *error)
{
	struct rewriting rewriting = {.style = style};
	struct bytes *out = &rewriting.out;
	*made = NULL;
	if (!needs(conversation, style))
		return true;
	write_conversation(&rewriting, conversation);
	bytes_free_part(&rewriting.calls, out);
	bytes_free_part(&rewriting.odd, out);
	if (out->failed)
		error_set(error, ERROR_MEMORY, "no memory for the conversation");
	else
		*made = json_parse(out->data, out->n_bytes, &(struct json_limits){.max_depth = 512, .allow_duplicates = true},
		                   error);
	bytes_free(out);
	return *made != NULL;
}
