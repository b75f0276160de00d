/* A conversation in memory and in files (talk.h). */
#include "cli/chat/talk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void free_from(struct talk *talk, size_t first)
{
	for (size_t i = first; i < talk->n; i++)
		bytes_free(&talk->messages[i].json);
	if (first < talk->n)
		talk->n = first;
}

void talk_free(struct talk *talk)
{
	free_from(talk, 0);
	free(talk->messages);
	bytes_free(&talk->others);
	*talk = (struct talk){0};
}

/* ---- messages ---- */

/* An empty one at the end; NULL: no memory. */
static struct message *new_message(struct talk *talk, const char *role)
{
	if (talk->n == talk->capacity) {
		size_t capacity = talk->capacity ? 2 * talk->capacity : 16;
		struct message *grown = realloc(talk->messages, capacity * sizeof *grown);
		if (!grown) {
			talk->failed = true;
			return NULL;
		}
		talk->messages = grown;
		talk->capacity = capacity;
	}
	struct message *message = &talk->messages[talk->n++];
	*message = (struct message){0};
	snprintf(message->role, sizeof message->role, "%s", role);
	return message;
}

static void write_message(struct bytes *out, const char *role, const char *text, size_t n_bytes, const char *others)
{
	json_open(out);
	json_field_text(out, "role", role);
	json_field_string(out, "content", text, n_bytes);
	bytes_append_text(out, others ? others : "");
	json_close(out);
}

void talk_add(struct talk *talk, const char *role, const char *text, size_t n_bytes, const char *others)
{
	struct message *message = new_message(talk, role);
	if (!message)
		return;
	write_message(&message->json, role, text, n_bytes, others);
	talk->failed |= message->json.failed;
}

static size_t n_systems(const struct talk *talk)
{
	return talk->n > 0 && strcmp(talk->messages[0].role, "system") == 0;
}

void talk_set_system(struct talk *talk, const char *text)
{
	size_t n = n_systems(talk);
	if (n == 1) {
		bytes_free(&talk->messages[0].json);
		memmove(talk->messages, talk->messages + 1, --talk->n * sizeof *talk->messages);
	}
	if (!*text || !new_message(talk, "system"))
		return;
	struct message made = talk->messages[talk->n - 1];
	memmove(talk->messages + 1, talk->messages, (talk->n - 1) * sizeof *talk->messages);
	write_message(&made.json, "system", text, strlen(text), NULL);
	talk->failed |= made.json.failed;
	talk->messages[0] = made;
}

size_t talk_clear(struct talk *talk)
{
	size_t n = talk->n, kept = n_systems(talk);
	free_from(talk, kept);
	return n - kept;
}

void talk_cut(struct talk *talk, size_t n)
{
	free_from(talk, n);
}

static void take_content(const struct message *message, struct bytes *text)
{
	struct json_limits limits = {.allow_duplicates = true};
	struct error ignored;
	size_t n = 0;
	struct json *document = json_parse(message->json.data, message->json.n_bytes, &limits, &ignored);
	const char *content = json_string(json_get(document, "content"), &n);
	bytes_clear(text);
	bytes_append(text, content ? content : "", content ? n : 0);
	json_destroy(document);
}

/* Behind the last message of a user; 0: there is none. */
static size_t behind_user(const struct talk *talk)
{
	size_t last = talk->n;
	while (last > 0 && strcmp(talk->messages[last - 1].role, "user") != 0)
		last--;
	return last;
}

bool talk_rewind(struct talk *talk)
{
	size_t last = behind_user(talk);
	if (last > 0)
		free_from(talk, last);
	return last > 0;
}

bool talk_undo(struct talk *talk, struct bytes *text)
{
	size_t last = behind_user(talk);
	if (last == 0)
		return false;
	if (text)
		take_content(&talk->messages[last - 1], text);
	free_from(talk, last - 1);
	return true;
}

/* ---- as JSON ---- */

void talk_write(const struct talk *talk, struct bytes *out)
{
	bytes_append_text(out, "{\"messages\":[");
	for (size_t i = 0; i < talk->n; i++) {
		bytes_append_text(out, i ? ",\n" : "\n");
		bytes_append(out, talk->messages[i].json.data, talk->messages[i].json.n_bytes);
	}
	bytes_append_text(out, "\n]");
	bytes_append(out, talk->others.data ? talk->others.data : "", talk->others.n_bytes);
	bytes_append_text(out, "}\n");
}

static bool no_memory(struct error *error)
{
	return error_set(error, ERROR_MEMORY, "no memory for the conversation");
}

struct json *talk_document(const struct talk *talk, struct error *error)
{
	struct json_limits limits = {.allow_duplicates = true, .max_depth = 512};
	struct bytes text = {0};
	talk_write(talk, &text);
	struct json *document = NULL;
	if (text.failed || talk->failed)
		no_memory(error);
	else
		document = json_parse(text.data, text.n_bytes, &limits, error);
	bytes_free(&text);
	return document;
}

/* ---- files ---- */

static bool write_all(int fd, const struct bytes *text)
{
	for (size_t at = 0; at < text->n_bytes;) {
		ssize_t n = write(fd, text->data + at, text->n_bytes - at);
		if (n < 0 && errno != EINTR)
			return false;
		at += n > 0 ? (size_t)n : 0;
	}
	return true;
}

/* The mode of the file that is replaced, so that others who may read it still may. */
static bool keep_mode(int fd, const char *path)
{
	struct stat info;
	return stat(path, &info) != 0 || fchmod(fd, info.st_mode & 0777) == 0;
}

/* Beside the file and then in its place, so that a full disk takes nothing away. */
static bool replace_file(const char *path, const struct bytes *text, struct error *error)
{
	char *beside = NULL, *there = realpath(path, NULL); /* behind links, which stay */
	const char *place = there ? there : path;
	if (asprintf(&beside, "%s.XXXXXX", place) < 0) {
		free(there);
		return no_memory(error);
	}
	int fd = mkostemp(beside, O_CLOEXEC);
	bool ok = fd >= 0 && write_all(fd, text) && keep_mode(fd, place);
	ok = (fd < 0 || close(fd) == 0) && ok && rename(beside, place) == 0;
	if (!ok)
		error_set(error, ERROR_USAGE, "%.200s cannot be written: %s", path, strerror(errno));
	if (!ok && fd >= 0)
		unlink(beside);
	free(beside);
	free(there);
	return ok;
}

bool talk_save(const struct talk *talk, const char *path, bool replace, struct error *error)
{
	struct bytes text = {0};
	if (!replace && access(path, F_OK) == 0)
		return error_set(error, ERROR_USAGE, "%.200s is there already; give another name, or remove it", path);
	talk_write(talk, &text);
	bool ok = text.failed || talk->failed ? no_memory(error) : replace_file(path, &text, error);
	bytes_free(&text);
	return ok;
}

static bool take_message(struct talk *talk, const struct json *value)
{
	const char *role = json_string(json_get(value, "role"), NULL);
	struct message *message = role ? new_message(talk, role) : NULL;
	if (message)
		json_write_value(&message->json, value);
	talk->failed |= message && message->json.failed;
	return role != NULL;
}

static bool take_document(struct talk *talk, const struct json *document, const char *path, struct error *error)
{
	const struct json *messages = json_get(document, "messages");
	if (!messages || json_type(messages) != JSON_ARRAY)
		return error_set(error, ERROR_USAGE, "%.200s is no conversation: expected an object with `messages`, a list",
		                 path);
	for (const struct json *value = json_first(messages); value; value = json_next(value))
		if (!take_message(talk, value))
			return error_set(error, ERROR_USAGE, "%.200s: message %zu has no `role`", path, talk->n + 1);
	for (const struct json *member = json_first(document); member; member = json_next(member)) {
		size_t n_key;
		const char *key = json_key(member, &n_key);
		if (member == messages || strcmp(key, "messages") == 0)
			continue;
		bytes_append_text(&talk->others, ",");
		json_write_string(&talk->others, key, n_key);
		bytes_append_text(&talk->others, ":");
		json_write_value(&talk->others, member);
	}
	return (!talk->failed && !talk->others.failed) || no_memory(error);
}

bool talk_load(struct talk *talk, const char *path, struct error *error)
{
	struct json_limits limits = {.allow_duplicates = true};
	struct talk loaded = {0};
	struct json *document = json_parse_file(path, TALK_MAX_BYTES, &limits, error);
	if (!document && error->code == ERROR_MODEL)
		error->code = ERROR_USAGE; /* the file is the user's */
	bool ok = document && take_document(&loaded, document, path, error);
	json_destroy(document);
	if (ok) {
		talk_free(talk);
		*talk = loaded;
	} else {
		talk_free(&loaded);
	}
	return ok;
}
