/* Commands of a chat: a table (chat_private.h). */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/chat/chat_private.h"
#include "cli/option_values.h"

enum { BEGINNING_BYTES = 60 };

struct slash {
	const char *name, *argument, *help;
	enum slash_outcome (*run)(struct chat *chat, char *argument, struct bytes *text, struct error *error);
};

/* ---- what is said ---- */

static enum slash_outcome run_system(struct chat *chat, char *argument, struct bytes *text, struct error *error)
{
	(void)text, (void)error;
	talk_set_system(&chat->talk, argument);
	chat_note(chat, *argument ? "The system message is set." : "There is no system message now.");
	return SLASH_DONE;
}

static enum slash_outcome run_clear(struct chat *chat, char *argument, struct bytes *text, struct error *error)
{
	(void)argument, (void)text, (void)error;
	size_t n = talk_clear(&chat->talk);
	chat_note(chat, "A new conversation (%zu message%s dropped%s).", n, n == 1 ? "" : "s",
	          chat->talk.n > 0 ? "; the system message stays" : "");
	return SLASH_DONE;
}

/* How many bytes of a text's beginning are shown: whole characters. */
static int beginning(const struct bytes *text)
{
	size_t n = text->n_bytes < BEGINNING_BYTES ? text->n_bytes : BEGINNING_BYTES;
	while (n > 0 && n < text->n_bytes && (text->data[n] & 0xC0) == 0x80)
		n--;
	return (int)n;
}

static enum slash_outcome run_undo(struct chat *chat, char *argument, struct bytes *text, struct error *error)
{
	(void)argument;
	if (!talk_undo(&chat->talk, text)) {
		error_set(error, ERROR_USAGE, "there is nothing to take back");
		return SLASH_FAILED;
	}
	int n = beginning(text);
	chat_note(chat, "Taken back, with its answer: %.*s%s", n, text->data, (size_t)n < text->n_bytes ? "..." : "");
	return SLASH_DONE;
}

static enum slash_outcome run_retry(struct chat *chat, char *argument, struct bytes *text, struct error *error)
{
	(void)argument, (void)text;
	if (!talk_rewind(&chat->talk)) {
		error_set(error, ERROR_USAGE, "there is nothing to ask again");
		return SLASH_FAILED;
	}
	if (options_given(&chat->options, "seed"))
		chat_note(chat, "The seed is fixed: what is the same gets the same answer (/set seed default).");
	return SLASH_ASK;
}

/* ---- files ---- */

/* The path as a shell would have it: ~/ is the home. NULL with *error. */
static char *path_of(const char *argument, struct error *error)
{
	const char *home = getenv("HOME");
	char *path = NULL;
	if (!*argument)
		error_set(error, ERROR_USAGE, "the name of a file is missing");
	else if (asprintf(&path, "%s%s", strncmp(argument, "~/", 2) == 0 && home ? home : "",
	                  strncmp(argument, "~/", 2) == 0 && home ? argument + 1 : argument) < 0)
		error_set(error, ERROR_MEMORY, "no memory for a path");
	return path;
}

static void remember_file(struct chat *chat, char *path)
{
	free(chat->file);
	chat->file = path;
}

static enum slash_outcome run_save(struct chat *chat, char *argument, struct bytes *text, struct error *error)
{
	(void)text;
	char *path = path_of(*argument || !chat->file ? argument : chat->file, error);
	bool known = path && chat->file && strcmp(path, chat->file) == 0;
	if (!path || !talk_save(&chat->talk, path, known, error)) {
		free(path);
		return SLASH_FAILED;
	}
	chat_note(chat, "%zu message%s in %s", chat->talk.n, chat->talk.n == 1 ? "" : "s", path);
	remember_file(chat, path);
	return SLASH_DONE;
}

static enum slash_outcome run_load(struct chat *chat, char *argument, struct bytes *text, struct error *error)
{
	(void)text;
	char *path = path_of(argument, error);
	if (!path || !talk_load(&chat->talk, path, error)) {
		free(path);
		return SLASH_FAILED;
	}
	chat_note(chat, "%zu message%s from %s", chat->talk.n, chat->talk.n == 1 ? "" : "s", path);
	remember_file(chat, path);
	return SLASH_DONE;
}

/* ---- settings ---- */

static const char *const settings[] = {
    "temperature",
    "top-p",
    "top-k",
    "min-p",
    "typical-p",
    "top-n-sigma",
    "repetition-penalty",
    "presence-penalty",
    "frequency-penalty",
    "seed",
    "max-tokens",
};
enum { N_SETTINGS = sizeof settings / sizeof *settings };

/* What counts: the option's value, or where none is given what the model's publisher says, and of the seed that there is
 * none. */
static void show_setting(const struct chat *chat, const char *name, char *out, size_t capacity)
{
	struct engine_status status;
	engine_status(chat->engine, &status);
	const struct sampling *sampling = status.sampling ? status.sampling : &sampling_neutral;
	const struct {
		const char *name;
		double value;
	} of_model[] = {{"top-k", (double)sampling->top_k},
	                {"min-p", sampling->min_p},
	                {"typical-p", sampling->typical_p},
	                {"repetition-penalty", sampling->repetition_penalty}};
	bool given = options_given(&chat->options, name);
	options_show(&chat->options, FOR_CHAT, name, out, capacity);
	if (!given && strcmp(name, "seed") == 0)
		snprintf(out, capacity, "drawn each time");
	for (size_t i = 0; !given && i < sizeof of_model / sizeof *of_model; i++)
		if (strcmp(name, of_model[i].name) == 0)
			snprintf(out, capacity, "%g", of_model[i].value);
}

static enum slash_outcome list_settings(const struct chat *chat)
{
	for (int i = 0; i < N_SETTINGS; i++) {
		char value[64];
		show_setting(chat, settings[i], value, sizeof value);
		chat_note(chat, "  %-20s %s", settings[i], value);
	}
	return SLASH_DONE;
}

/* The setting of that name, spelled with - or _; NULL with *error. */
static const char *find_setting(char *name, struct error *error)
{
	const char *nearest = settings[0];
	for (char *at = name; *at; at++)
		*at = *at == '_' ? '-' : *at;
	for (int i = 0; i < N_SETTINGS; i++) {
		if (strcmp(settings[i], name) == 0)
			return settings[i];
		if (edit_distance(settings[i], name) < edit_distance(nearest, name))
			nearest = settings[i];
	}
	error_set(error, ERROR_USAGE, "there is no setting %.40s; the nearest is %s (/set alone lists all)", name, nearest);
	return NULL;
}

static enum slash_outcome run_set(struct chat *chat, char *argument, struct bytes *text, struct error *error)
{
	(void)text;
	if (!*argument)
		return list_settings(chat);
	size_t n = strcspn(argument, " \t=");
	char *value = argument + n + strspn(argument + n, " \t=");
	argument[n] = '\0';
	const char *name = find_setting(argument, error);
	if (!name)
		return SLASH_FAILED;
	bool ok = strcmp(value, "default") == 0 ? options_unset(&chat->options, FOR_CHAT, name, error)
	                                        : options_set(&chat->options, FOR_CHAT, name, value, error);
	if (!ok)
		return SLASH_FAILED;
	char shown[64];
	show_setting(chat, name, shown, sizeof shown);
	chat_note(chat, "%s is %s", name, shown);
	return SLASH_DONE;
}

/* ---- the rest ---- */

static enum slash_outcome run_stats(struct chat *chat, char *argument, struct bytes *text, struct error *error)
{
	(void)argument, (void)text, (void)error;
	chat_note_stats(chat);
	return SLASH_DONE;
}

static enum slash_outcome run_quit(struct chat *chat, char *argument, struct bytes *text, struct error *error)
{
	(void)chat, (void)argument, (void)text, (void)error;
	return SLASH_QUIT;
}

static enum slash_outcome run_help(struct chat *chat, char *argument, struct bytes *text, struct error *error);

static const struct slash commands[] = {
    {"help", "", "this list", run_help},
    {"system", "TEXT", "what the model is told before all else; no text: nothing", run_system},
    {"clear", "", "begin a new conversation; the system message stays", run_clear},
    {"undo", "", "take back what was said last, and its answer", run_undo},
    {"retry", "", "ask the same again", run_retry},
    {"save", "FILE", "write the conversation as JSON, which tallow render reads", run_save},
    {"load", "FILE", "go on with a conversation that was saved", run_load},
    {"stats", "", "tokens, speed, and how much of the context is used", run_stats},
    {"set", "NAME VALUE", "change a setting (default: as before); alone: list them", run_set},
    {"quit", "", "end, as Ctrl-D does", run_quit},
};
enum { N_COMMANDS = sizeof commands / sizeof *commands };

static enum slash_outcome run_help(struct chat *chat, char *argument, struct bytes *text, struct error *error)
{
	(void)argument, (void)text, (void)error;
	for (int i = 0; i < N_COMMANDS; i++) {
		char call[40];
		snprintf(call, sizeof call, "/%s %s", commands[i].name, commands[i].argument);
		chat_note(chat, "  %-16s %s", call, commands[i].help);
	}
	chat_note(chat, "Several lines: end a line with \\, or put \"\"\" before and behind them.");
	chat_note(chat, "A message that begins with a slash: put a space before it.");
	chat_note(chat, "Ctrl-C stops an answer, or drops the line; twice at an empty line it ends.");
	return SLASH_DONE;
}

static const struct slash *find_command(const char *name, struct error *error)
{
	const struct slash *nearest = &commands[0];
	for (int i = 0; i < N_COMMANDS; i++) {
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
		if (edit_distance(commands[i].name, name) < edit_distance(nearest->name, name))
			nearest = &commands[i];
	}
	error_set(
	    error, ERROR_USAGE,
	    "there is no command /%.40s; the nearest is /%s (/help lists all; a space before it sends it to the model)",
	    name, nearest->name);
	return NULL;
}

enum slash_outcome slash_run(struct chat *chat, struct bytes *text, struct error *error)
{
	size_t n = strcspn(text->data, " \t\n");
	char *line = strndup(text->data, text->n_bytes);
	if (!line) {
		error_set(error, ERROR_MEMORY, "no memory for a command");
		return SLASH_FAILED;
	}
	char *argument = line + n + strspn(line + n, " \t\n");
	char *end = argument + strlen(argument);
	while (end > argument && strchr(" \t\n", end[-1]))
		*--end = '\0';
	line[n] = '\0';
	const struct slash *command = find_command(line + 1, error);
	enum slash_outcome outcome = command ? command->run(chat, argument, text, error) : SLASH_FAILED;
	free(line);
	return outcome;
}
