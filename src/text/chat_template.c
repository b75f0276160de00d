/* Finding chat templates (include/text/chat_template.h). */
#include "text/chat_template.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "tensor/gguf.h"
#include "tensor/model_files.h"
#include "text/chat_calls.h"
#include "text/continuation.h"

enum { MAX_TEMPLATES = 32, MAX_TOKENS = 32, MAX_CONFIG_BYTES = 32 << 20, MAX_PATH = 4096 };

struct named_template {
	const char *name;
	struct template *template;
	struct answer_style answers;
	struct chat_calls calls;
};

struct chat_template {
	struct arena arena;
	struct named_template templates[MAX_TEMPLATES];
	int n_templates;
	struct template_constant tokens[MAX_TOKENS];
	size_t n_tokens;
};

static const char *const token_names[] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                          "pad_token", "cls_token", "mask_token"};
enum { N_TOKEN_NAMES = sizeof token_names / sizeof *token_names };

/* ---- what was found ---- */

static bool add_template(struct chat_template *chat, const char *where, const char *name, size_t n_name,
                         const char *source, size_t n_source, struct error *error)
{
	char *kept = arena_strdup(&chat->arena, name, n_name);
	if (!kept)
		return error_set(error, ERROR_MEMORY, "no memory for chat templates");
	for (int i = 0; i < chat->n_templates; i++)
		if (strcmp(chat->templates[i].name, kept) == 0)
			return true; /* the first of a name counts */
	if (chat->n_templates == MAX_TEMPLATES)
		return error_set(error, ERROR_MODEL, "%s: more than %d chat templates", where, MAX_TEMPLATES);
	struct template *template = template_compile(source, n_source, error);
	if (!template)
		return error_prefix(error, "%s (template %.60s)", where, kept);
	chat->templates[chat->n_templates++] =
	    (struct named_template){kept, template, answer_style_detect(source, n_source), {0}};
	return true;
}

static bool add_token(struct chat_template *chat, const char *name, size_t n_name, const char *text, size_t n_text,
                      struct error *error)
{
	for (size_t i = 0; i < chat->n_tokens; i++)
		if (strlen(chat->tokens[i].name) == n_name && memcmp(chat->tokens[i].name, name, n_name) == 0)
			return true;
	if (chat->n_tokens == MAX_TOKENS)
		return true;
	char *kept_name = arena_strdup(&chat->arena, name, n_name), *kept = arena_strdup(&chat->arena, text, n_text);
	if (!kept_name || !kept)
		return error_set(error, ERROR_MEMORY, "no memory for special tokens");
	chat->tokens[chat->n_tokens++] = (struct template_constant){kept_name, kept, n_text};
	return true;
}

/* ---- files ---- */

static bool read_descriptor(int fd, size_t n_bytes, char *out)
{
	for (size_t at = 0; at < n_bytes;) {
		ssize_t n = read(fd, out + at, n_bytes - at);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		at += (size_t)n;
	}
	return true;
}

/* The whole of a template's file. *out is NULL when there is none and `must` is false. Caller frees. */
static bool read_source(const char *path, bool must, char **out, size_t *n_bytes, struct error *error)
{
	/* O_NONBLOCK: a FIFO must not make us wait for a writer. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat info;
	*out = NULL;
	if (fd < 0 && errno == ENOENT && !must)
		return true;
	if (fd < 0)
		return error_set(error, ERROR_MODEL, "%s: %s", path, strerror(errno));
	bool ok = fstat(fd, &info) == 0 && S_ISREG(info.st_mode);
	if (!ok)
		error_set(error, ERROR_MODEL, "%s: not a regular file", path);
	else if (info.st_size > TEMPLATE_MAX_BYTES)
		ok = error_set(error, ERROR_MODEL, "%s: %lld bytes, at most %d are read", path, (long long)info.st_size,
		               TEMPLATE_MAX_BYTES);
	*n_bytes = ok ? (size_t)info.st_size : 0;
	if (ok && !(*out = malloc(*n_bytes + 1)))
		ok = error_set(error, ERROR_MEMORY, "%s: no memory", path);
	if (ok && !read_descriptor(fd, *n_bytes, *out))
		ok = error_set(error, ERROR_MODEL, "%s: cannot be read whole", path);
	close(fd);
	if (!ok) {
		free(*out);
		*out = NULL;
	}
	return ok;
}

static bool add_file(struct chat_template *chat, const char *path, const char *name, size_t n_name, bool must,
                     struct error *error)
{
	char *source;
	size_t n_bytes;
	if (!read_source(path, must, &source, &n_bytes, error))
		return false;
	bool ok = !source || add_template(chat, path, name, n_name, source, n_bytes, error);
	free(source);
	return ok;
}

static bool join_path(char out[MAX_PATH], const char *folder, const char *name, struct error *error)
{
	int n = snprintf(out, MAX_PATH, "%s/%s", folder, name);
	return (n > 0 && n < MAX_PATH) || error_set(error, ERROR_MODEL, "%.200s: the path is too long", folder);
}

/* additional_chat_templates/NAME.jinja */
static bool add_additional(struct chat_template *chat, const char *folder, struct error *error)
{
	char path[MAX_PATH], file[MAX_PATH];
	if (!join_path(path, folder, "additional_chat_templates", error))
		return false;
	DIR *directory = opendir(path);
	bool ok = true;
	for (struct dirent *entry; ok && directory && (entry = readdir(directory)) != NULL;) {
		size_t n = strlen(entry->d_name);
		if (n > 6 && strcmp(entry->d_name + n - 6, ".jinja") == 0)
			ok = join_path(file, path, entry->d_name, error) && add_file(chat, file, entry->d_name, n - 6, true, error);
	}
	if (directory)
		closedir(directory);
	return ok;
}

/* ---- JSON ---- */

static bool is_file(const char *path)
{
	struct stat info;
	return stat(path, &info) == 0;
}

static bool add_list(struct chat_template *chat, const char *where, const struct json *list, struct error *error)
{
	for (const struct json *item = json_first(list); item; item = json_next(item)) {
		size_t n_name, n_source;
		const char *name = json_string(json_get(item, "name"), &n_name);
		const char *source = json_string(json_get(item, "template"), &n_source);
		if (!name || !source)
			return error_set(error, ERROR_MODEL, "%s: chat_template: an item without name and template", where);
		if (!add_template(chat, where, name, n_name, source, n_source, error))
			return false;
	}
	return true;
}

static bool add_from_document(struct chat_template *chat, const char *where, const struct json *document,
                              struct error *error)
{
	const struct json *value = json_get(document, "chat_template");
	size_t n_source;
	if (!value || json_type(value) == JSON_NULL)
		return true;
	if (json_type(value) == JSON_ARRAY)
		return add_list(chat, where, value, error);
	const char *source = json_string(value, &n_source);
	if (!source)
		return error_set(error, ERROR_MODEL, "%s: chat_template: expected a string or a list, got %s", where,
		                 json_type_name(json_type(value)));
	return add_template(chat, where, "default", 7, source, n_source, error);
}

/* A token is its text, or an object with it in `content`. */
static bool add_json_token(struct chat_template *chat, const char *name, size_t n_name, const struct json *value,
                           struct error *error)
{
	size_t n_text;
	const char *text = json_string(value, &n_text);
	text = text || !value ? text : json_string(json_get(value, "content"), &n_text);
	return !text || add_token(chat, name, n_name, text, n_text, error);
}

static bool add_tokens(struct chat_template *chat, const struct json *document, struct error *error)
{
	for (int i = 0; i < N_TOKEN_NAMES; i++)
		if (!add_json_token(chat, token_names[i], strlen(token_names[i]), json_get(document, token_names[i]), error))
			return false;
	const struct json *extra = json_get(document, "extra_special_tokens");
	for (const struct json *member = json_first(extra); member; member = json_next(member)) {
		size_t n_key = 0;
		const char *key = json_key(member, &n_key);
		if (key && !add_json_token(chat, key, n_key, member, error))
			return false;
	}
	return true;
}

/* One JSON file of the folder: its template unless there is one already, and its tokens. */
static bool read_json(struct chat_template *chat, const char *folder, const char *name, struct error *error)
{
	char path[MAX_PATH];
	struct json_limits limits = {.max_values = 1000000, .allow_duplicates = true};
	if (!join_path(path, folder, name, error))
		return false;
	if (!is_file(path))
		return true;
	struct json *document = json_parse_file(path, MAX_CONFIG_BYTES, &limits, error);
	bool ok = document && (chat->n_templates > 0 || add_from_document(chat, path, document, error)) &&
	          add_tokens(chat, document, error);
	json_destroy(document);
	return ok;
}

static bool read_folder(struct chat_template *chat, const char *folder, struct error *error)
{
	char path[MAX_PATH];
	return join_path(path, folder, "chat_template.jinja", error) && add_file(chat, path, "default", 7, false, error) &&
	       add_additional(chat, folder, error) && read_json(chat, folder, "chat_template.json", error) &&
	       read_json(chat, folder, "tokenizer_config.json", error) &&
	       read_json(chat, folder, "special_tokens_map.json", error);
}

/* ---- GGUF ---- */

static bool add_gguf_templates(struct chat_template *chat, const struct gguf_file *gguf, struct error *error)
{
	static const char prefix[] = "tokenizer.chat_template";
	enum { N_PREFIX = sizeof prefix - 1 };
	for (size_t i = 0; i < gguf_value_count(gguf); i++) {
		const struct gguf_value *value = gguf_value_at(gguf, i);
		const char *source, *name = "default";
		size_t n_source, n_name = 7;
		if (value->n_key < N_PREFIX || memcmp(value->key, prefix, N_PREFIX) != 0 || value->is_array ||
		    value->type != GGUF_STRING)
			continue;
		if (value->n_key > N_PREFIX) {
			if (value->key[N_PREFIX] != '.')
				continue;
			name = value->key + N_PREFIX + 1;
			n_name = value->n_key - N_PREFIX - 1;
		}
		const unsigned char *cursor = value->data;
		source = gguf_next_string(value, &cursor, &n_source);
		if (!add_template(chat, gguf_path(gguf), name, n_name, source, n_source, error))
			return false;
	}
	return true;
}

static bool add_gguf_tokens(struct chat_template *chat, const struct gguf_file *gguf, struct error *error)
{
	static const char *const keys[] = {"bos", "eos", "unknown", "seperator", "padding", "cls", "mask"};
	const struct gguf_value *texts;
	uint64_t ids[N_TOKEN_NAMES];
	if (!gguf_array(gguf, "tokenizer.ggml.tokens", GGUF_STRING, &texts, error))
		return false;
	for (int i = 0; i < N_TOKEN_NAMES; i++) {
		char key[64];
		snprintf(key, sizeof key, "tokenizer.ggml.%s_token_id", keys[i]);
		ids[i] = UINT64_MAX;
		if (!gguf_u64(gguf, key, &ids[i], error))
			return false;
	}
	const unsigned char *cursor = texts ? texts->data : NULL;
	for (size_t id = 0; texts && id < texts->n_items; id++) {
		size_t n_text;
		const char *text = gguf_next_string(texts, &cursor, &n_text);
		for (int i = 0; i < N_TOKEN_NAMES; i++)
			if (ids[i] == id && !add_token(chat, token_names[i], strlen(token_names[i]), text, n_text, error))
				return false;
	}
	return true;
}

/* ---- what is known of them ---- */

static const struct named_template *find_template(const struct chat_template *chat, const char *name)
{
	for (int i = 0; i < chat->n_templates; i++)
		if (strcmp(chat->templates[i].name, name) == 0)
			return &chat->templates[i];
	return NULL;
}

static const struct named_template *choose(const struct chat_template *chat, bool with_tools)
{
	const struct named_template *found = with_tools ? find_template(chat, "tool_use") : NULL;
	return found ? found : find_template(chat, "default");
}

struct answer_style chat_template_answers(const struct chat_template *chat, bool with_tools)
{
	const struct named_template *found = choose(chat, with_tools);
	return found ? found->answers : answer_style_detect("", 0);
}

struct chat_calls chat_template_calls(const struct chat_template *chat, bool with_tools)
{
	const struct named_template *found = choose(chat, with_tools);
	return found ? found->calls : (struct chat_calls){0};
}

/* With the special tokens, which some templates need: so all files were read. */
static bool try_calls(struct chat_template *chat, struct error *error)
{
	for (int i = 0; i < chat->n_templates; i++)
		if (!chat_calls_try(chat->templates[i].template, chat->tokens, chat->n_tokens, &chat->templates[i].calls,
		                    error))
			return false;
	return true;
}

/* ---- loading ---- */

/* The directory of a model's files. */
static bool folder_of(const struct model_files *files, char folder[MAX_PATH], struct error *error)
{
	const char *path = model_files_expect(files, MODEL_TOKENIZER_CONFIG);
	if (!path || snprintf(folder, MAX_PATH, "%s", path) >= MAX_PATH)
		return error_set(error, ERROR_MODEL, "%.200s: the path is too long", model_files_path(files));
	char *slash = strrchr(folder, '/');
	if (slash)
		*(slash == folder ? slash + 1 : slash) = 0;
	else
		strcpy(folder, ".");
	return true;
}

static struct chat_template *create(struct error *error)
{
	struct chat_template *chat = calloc(1, sizeof *chat);
	if (!chat)
		error_set(error, ERROR_MEMORY, "no memory for chat templates");
	return chat;
}

struct chat_template *chat_template_read(const struct model_files *files, struct error *error)
{
	char folder[MAX_PATH];
	const struct gguf_file *gguf = model_files_gguf(files);
	struct chat_template *chat = create(error);
	if (!chat)
		return NULL;
	bool ok = true;
	if (gguf)
		ok = add_gguf_templates(chat, gguf, error) && add_gguf_tokens(chat, gguf, error);
	else
		ok = folder_of(files, folder, error) && read_folder(chat, folder, error);
	if (ok && chat->n_templates == 0)
		ok =
		    error_set(error, ERROR_MODEL,
		              "%s: no chat template: looked for chat_template.jinja, additional_chat_templates, "
		              "chat_template.json, chat_template in tokenizer_config.json and tokenizer.chat_template in GGUF; "
		              "--chat-template FILE gives one",
		              model_files_path(files));
	if (ok && try_calls(chat, error))
		return chat;
	chat_template_destroy(chat);
	return NULL;
}

struct chat_template *chat_template_load_file(const char *path, const char *bos_token, const char *eos_token,
                                              struct error *error)
{
	struct chat_template *chat = create(error);
	if (!chat)
		return NULL;
	bool ok = add_file(chat, path, "default", 7, true, error);
	ok = ok && (!bos_token || add_token(chat, "bos_token", 9, bos_token, strlen(bos_token), error));
	ok = ok && (!eos_token || add_token(chat, "eos_token", 9, eos_token, strlen(eos_token), error));
	if (ok && try_calls(chat, error))
		return chat;
	chat_template_destroy(chat);
	return NULL;
}

void chat_template_destroy(struct chat_template *chat)
{
	if (!chat)
		return;
	for (int i = 0; i < chat->n_templates; i++)
		template_destroy(chat->templates[i].template);
	arena_free(&chat->arena);
	free(chat);
}

/* ---- rendering ---- */

bool chat_template_render(const struct chat_template *chat, const struct json *conversation, struct template_time now,
                          const struct template_limits *limits, struct rendering *out, struct error *error)
{
	const struct json *tools = json_get(conversation, "tools");
	const struct named_template *found = choose(chat, tools && json_type(tools) != JSON_NULL);
	struct template_input input = {.conversation = conversation,
	                               .constants = chat->tokens,
	                               .n_constants = chat->n_tokens,
	                               .now = now,
	                               .limits = *limits};
	if (!found)
		return error_set(error, ERROR_MODEL,
		                 "none of the model's %d chat templates is named default (the first is %.60s)",
		                 chat->n_templates, chat->templates[0].name);
	return template_render(found->template, &input, out, error) &&
	       (!continuation_is_asked(conversation) || continuation_cut(conversation, out, error));
}
