/* `tallow render`: what a chat template makes of a conversation, byte for byte. No weights are read. */
#include <stdio.h>

#include "base/json.h"
#include "cli/commands.h"
#include "cli/screen.h"
#include "tensor/model_files.h"
#include "text/chat_template.h"

enum { MAX_CONVERSATION_BYTES = 1 << 30 };

static struct chat_template *open_template(const struct options *options, struct error *error)
{
	if (options->chat_template)
		return chat_template_load_file(options->chat_template, options->bos_token, options->eos_token, error);
	if (!options->model) {
		error_set(error, ERROR_USAGE, "--model or --chat-template is missing: where the template is");
		return NULL;
	}
	if (options->bos_token || options->eos_token) {
		error_set(error, ERROR_USAGE, "--bos-token and --eos-token go with --chat-template: a model names its own");
		return NULL;
	}
	struct model_files *files = model_files_open(options->model, error);
	struct chat_template *chat = files ? chat_template_read(files, error) : NULL;
	model_files_close(files);
	return chat;
}

static struct json *open_conversation(const struct options *options, struct error *error)
{
	struct json_limits limits = {.allow_duplicates = true};
	struct json *conversation = json_parse_file(options->path, MAX_CONVERSATION_BYTES, &limits, error);
	if (!conversation && error->code == ERROR_MODEL)
		error->code = ERROR_USAGE; /* the file is the caller's */
	return conversation;
}

static bool read_time(const struct options *options, struct template_time *now, struct error *error)
{
	*now = template_time_now();
	return !options->now || template_time_parse(options->now, now) ||
	       error_set(error, ERROR_USAGE, "--now must be a time such as 2026-01-31T12:30:01Z (got \"%.60s\")",
	                 options->now);
}

bool render_run(const struct options *options, struct error *error)
{
	struct template_limits limits = {0};
	struct template_time now;
	struct rendering rendering = {0};
	struct chat_template *chat = NULL;
	struct json *conversation = NULL;
	bool ok = options->path || error_set(error, ERROR_USAGE, "a file with the conversation is missing");
	ok = ok && read_time(options, &now, error) && (chat = open_template(options, error)) != NULL &&
	     (conversation = open_conversation(options, error)) != NULL &&
	     chat_template_render(chat, conversation, now, &limits, &rendering, error);
	if (ok)
		screen_print_text(rendering.text, rendering.n_bytes);
	rendering_free(&rendering);
	json_destroy(conversation);
	chat_template_destroy(chat);
	return ok;
}
