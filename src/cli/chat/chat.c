/* The conversation: lines in, turns, what is shown (chat.h). */
#include "cli/chat/chat.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/chat/chat_private.h"
#include "engine/engine.h"
#include "model/plan.h"

enum { LOOK_MS = 200, SHOW_LOADING_AFTER = 3, NEARLY_FULL_PERCENT = 90 };

/* ---- notes ---- */

void chat_note(const struct chat *chat, const char *format, ...)
{
	bool terminal = chat->screen.terminal;
	va_list arguments;
	va_start(arguments, format);
	screen_say(terminal ? stdout : stderr, terminal ? screen_columns() : 0, format, arguments);
	va_end(arguments);
}

static int64_t context_used(const struct chat *chat)
{
	return chat->last.prompt_tokens + chat->last.completion_tokens;
}

void chat_note_stats(const struct chat *chat)
{
	const struct turn *turn = &chat->last;
	int64_t computed = turn->prompt_tokens - turn->cached_tokens;
	if (chat->n_turns == 0) {
		chat_note(chat, "Nothing was answered yet; the context holds %" PRId64 " tokens.", chat->context);
		return;
	}
	chat_note(chat,
	          "prompt: %" PRId64 " tokens, %" PRId64 " of them cached, %" PRId64 " computed in %.0f ms (%.1f tokens/s)",
	          turn->prompt_tokens, turn->cached_tokens, computed, turn->prefill_ms,
	          turn->prefill_ms > 0 ? (double)computed * 1000 / turn->prefill_ms : 0);
	chat_note(chat, "answer: %" PRId64 " tokens, %.1f tokens/s, the first after %.0f ms; seed %" PRIu64,
	          turn->completion_tokens, turn->tokens_per_second, turn->time_to_first_token_ms, turn->seed);
	chat_note(chat, "context: %" PRId64 " of %" PRId64 " tokens used", context_used(chat), chat->context);
}

/* ---- a turn ---- */

/* Why an answer is not whole, and what to do. */
static void note_end(const struct chat *chat, const struct turn *turn)
{
	int64_t used = context_used(chat);
	if (turn->stopped)
		chat_note(chat, "[stopped]");
	else if (turn->stop_reason == STOP_CONTEXT)
		chat_note(chat,
		          "[the context is full: %" PRId64 " of %" PRId64
		          " tokens. The answer ends here; /undo takes it back, /clear begins anew]",
		          used, chat->context);
	else if (turn->stop_reason == STOP_MAX_TOKENS)
		chat_note(chat, "[cut at %" PRId64 " tokens; /set max_tokens 0 lets answers end by themselves]",
		          turn->completion_tokens);
	else if (used * 100 > chat->context * NEARLY_FULL_PERCENT)
		chat_note(chat, "[%" PRId64 " of %" PRId64 " tokens of the context are used; /clear begins anew]", used,
		          chat->context);
}

/* What was said becomes a message: reasoning and calls as templates know them. */
static void keep_answer(struct chat *chat, const struct turn *turn)
{
	struct bytes others = {0};
	if (turn->reasoning.n_bytes > 0) {
		bytes_append_text(&others, ",\"reasoning_content\":");
		json_write_string(&others, turn->reasoning.data, turn->reasoning.n_bytes);
	}
	if (turn->calls.n_bytes > 0) {
		bytes_append_text(&others, ",\"tool_calls\":");
		bytes_append(&others, turn->calls.data, turn->calls.n_bytes);
	}
	chat->talk.failed |= others.failed;
	talk_add(&chat->talk, "assistant", turn->content.data ? turn->content.data : "", turn->content.n_bytes,
	         others.data);
	bytes_free(&others);
}

static void conclude_turn(struct chat *chat, struct turn *turn)
{
	bool said = turn->content.n_bytes > 0 || turn->calls.n_bytes > 0;
	answer_end(chat);
	if (said || !turn->stopped)
		keep_answer(chat, turn);
	else
		talk_cut(&chat->talk, chat->talk.n - 1);
	chat->last = *turn;
	chat->last.content = chat->last.reasoning = chat->last.calls = (struct bytes){0};
	chat->n_turns++;
	if (chat->options.json)
		answer_print_json(chat, turn);
	(void)answer_flush(chat); /* before notes, which may go another way to the same place */
	if (chat->person || turn->stop_reason == STOP_CONTEXT)
		note_end(chat, turn);
	if (chat->options.stats)
		chat_note_stats(chat);
	if (chat->person && chat->screen.terminal)
		putchar('\n');
	(void)answer_flush(chat);
}

/* What did not fit, or could not be computed, is not part of the conversation. */
static bool refuse_turn(struct chat *chat, const struct error *failed, struct error *error)
{
	talk_cut(&chat->talk, chat->talk.n - 1);
	answer_end(chat);
	if (chat->options.json)
		answer_print_failure(failed);
	(void)answer_flush(chat);
	*error = *failed;
	if (failed->code == ERROR_CONTEXT_LENGTH)
		error_set(
		    error, ERROR_CONTEXT_LENGTH,
		    "%.300s. Nothing was dropped, and your message is not part of the conversation: /undo takes back more, "
		    "/clear begins anew, --context makes room",
		    failed->message);
	if (!chat->person)
		return false;
	chat_note(chat, "tallow: %s", error->message);
	return true;
}

/* text NULL: the conversation ends with what is asked. */
static bool ask(struct chat *chat, const struct bytes *text, struct error *error)
{
	struct turn_listener listener = {
	    .context = chat, .part = answer_show, .pause = answer_flush, .interrupts = &chat->interrupts};
	struct turn turn = {0};
	struct error failed = {0};
	if (text)
		talk_add(&chat->talk, "user", text->data, text->n_bytes, NULL);
	bool ok = turn_take(chat->engine, &chat->talk, &chat->options, &listener, &turn, &failed);
	if (ok)
		conclude_turn(chat, &turn);
	else
		ok = refuse_turn(chat, &failed, error);
	turn_free(&turn);
	return ok;
}

/* ---- input ---- */

static const char fence[] = "\"\"\"";
enum { FENCE_BYTES = sizeof fence - 1 };

/* Where the fence stands that begins a text of several lines: first, or first of what a command is given. NULL: nowhere. */
static char *opening_fence(const struct bytes *line)
{
	char *at = line->data;
	if (*at == '/') {
		at += strcspn(at, " \t");
		at += strspn(at, " \t");
	}
	return strncmp(at, fence, FENCE_BYTES) == 0 ? at : NULL;
}

static void cut_end(struct bytes *text, size_t n)
{
	text->n_bytes -= n;
	text->data[text->n_bytes] = '\0';
}

static bool ends_with(const struct bytes *text, const char *end)
{
	size_t n = strlen(end);
	return text->n_bytes >= n && memcmp(text->data + text->n_bytes - n, end, n) == 0;
}

/* Whether the text goes on in the next line; marks that say so are removed. */
static bool goes_on(struct bytes *text, const struct bytes *line, bool first, bool *fenced)
{
	char *fence_at = first ? opening_fence(text) : NULL;
	if (fence_at) {
		*fenced = true;
		size_t n_before = (size_t)(fence_at - text->data);
		memmove(fence_at, fence_at + FENCE_BYTES, text->n_bytes - n_before - FENCE_BYTES + 1);
		text->n_bytes -= FENCE_BYTES;
		if (text->n_bytes == n_before)
			return true;
	}
	if (*fenced) {
		bool ends = ends_with(text, fence) && (first || ends_with(line, fence));
		if (ends)
			cut_end(text, FENCE_BYTES);
		return !ends;
	}
	bool more = ends_with(text, "\\");
	if (more)
		cut_end(text, 1);
	return more;
}

/* A message or command, of one line or several. */
static enum line_read read_text(struct chat *chat, struct bytes *text, struct error *error)
{
	struct bytes line = {0};
	bool fenced = false;
	enum line_read outcome = lines_read(chat->lines, "> ", text, error);
	for (bool first = true; outcome == LINE_READ && goes_on(text, &line, first, &fenced); first = false) {
		outcome = lines_read(chat->lines, ". ", &line, error);
		if (outcome == LINE_ENDED && text->n_bytes > 0) { /* what there is, is said */
			outcome = LINE_READ;
			break;
		}
		if (!(first && fenced && text->n_bytes == 0))
			bytes_append_text(text, "\n");
		bytes_append(text, line.data ? line.data : "", line.n_bytes);
	}
	bytes_free(&line);
	if (outcome == LINE_READ && text->failed) {
		error_set(error, ERROR_USAGE, "a message has at most %d MiB", LINES_MAX_BYTES >> 20);
		return LINE_FAILED;
	}
	return outcome;
}

static bool is_blank(const struct bytes *text)
{
	return text->data[strspn(text->data, " \t\n")] == '\0' && strlen(text->data) == text->n_bytes;
}

/* Does what the text says. *quit: it said to end. */
static bool obey(struct chat *chat, struct bytes *text, bool *quit, struct error *error)
{
	if (is_blank(text))
		return true;
	lines_remember(chat->lines, text->data);
	if (text->data[0] != '/')
		return ask(chat, text, error);
	struct error failed = {0};
	switch (slash_run(chat, text, &failed)) {
	case SLASH_ASK:
		return ask(chat, NULL, error);
	case SLASH_QUIT:
		*quit = true;
		return true;
	case SLASH_FAILED:
		*error = failed;
		if (!chat->person)
			return false;
		chat_note(chat, "tallow: %s", failed.message);
		return true;
	default:
		return true;
	}
}

static bool converse(struct chat *chat, struct error *error)
{
	struct bytes text = {0};
	bool ok = true, quit = false, warned = false;
	while (ok && !quit && !chat->write_errno && !chat->interrupts.ended_by) {
		struct error failed = {0};
		enum line_read outcome = read_text(chat, &text, &failed);
		if (outcome == LINE_INTERRUPTED) {
			quit = warned && text.n_bytes == 0;
			warned = text.n_bytes == 0;
			if (warned && !quit)
				chat_note(chat, "(Ctrl-C once more, or Ctrl-D, ends the chat)");
			continue;
		}
		warned = false;
		if (outcome == LINE_ENDED) {
			quit = true;
		} else if (outcome == LINE_READ) {
			ok = obey(chat, &text, &quit, error);
		} else if (chat->person && failed.code == ERROR_USAGE) {
			chat_note(chat, "tallow: %s", failed.message);
		} else {
			*error = failed;
			ok = false;
		}
	}
	bytes_free(&text);
	return ok;
}

/* ---- from the start to the end ---- */

static void greet(const struct chat *chat, const struct engine_status *status)
{
	if (!chat->person || chat->options.quiet)
		return;
	chat_note(chat, "%s, %s, context %" PRId64 " tokens.", status->model_name, status->quant_kind,
	          status->context_length);
	chat_note(chat, "/help lists commands, Ctrl-D ends.");
	if (chat->screen.terminal && chat->screen.charset)
		chat_note(chat, "This terminal's characters are %s: what it cannot show is a '?'.", chat->screen.charset);
}

/* How far loading is, for a person who waits. */
static void show_loading(const struct chat *chat, int n_looks)
{
	struct engine_status status;
	engine_status(chat->engine, &status);
	if (!chat->screen.colour || !chat->person || chat->options.quiet || n_looks < SHOW_LOADING_AFTER)
		return;
	double done = status.load_bytes_total ? (double)status.load_bytes_done / (double)status.load_bytes_total : 0;
	printf("\rloading %3.0f%%", 100 * done);
	fflush(stdout);
}

/* False with code ERROR_NONE: a signal ended it. */
static bool wait_until_loaded(struct chat *chat, struct error *error)
{
	bool ready = false;
	for (int n_looks = 0; !(ready = engine_wait_ready(chat->engine, LOOK_MS, error)) && error->code == ERROR_LOADING;
	     n_looks++) {
		enum signal_seen seen = interrupts_next(&chat->interrupts);
		if (seen == SIGNAL_PAUSE)
			interrupts_pause();
		if (seen == SIGNAL_INTERRUPT)
			chat->interrupts.ended_by = SIGINT;
		if (chat->interrupts.ended_by) {
			error->code = ERROR_NONE;
			break;
		}
		show_loading(chat, n_looks);
	}
	if (chat->screen.colour && chat->person && !chat->options.quiet)
		fputs("\r            \r", stdout);
	return ready;
}

static bool say_what_helps(struct error *error)
{
	struct error why = *error;
	return error_set(error, why.code,
	                 "%.380s; --chat-template FILE gives one, tallow generate continues a text without", why.message);
}

static bool talk(struct chat *chat, struct error *error)
{
	struct engine_status status;
	if (!engine_start(chat->engine, error))
		return false;
	if (!wait_until_loaded(chat, error))
		return error->code == ERROR_NONE;
	if (!engine_chat_template(chat->engine, error))
		return say_what_helps(error);
	engine_status(chat->engine, &status);
	chat->context = status.context_length;
	if (chat->options.system)
		talk_set_system(&chat->talk, chat->options.system);
	greet(chat, &status);
	chat->lines = lines_open(&chat->screen, &chat->interrupts, error);
	return chat->lines && converse(chat, error);
}

bool chat_talk(const struct options *options, const struct model_options *model, struct error *error)
{
	struct engine_options engine_options = {
	    .model = model, .name = options->name, .chats = true, .chat_template = options->chat_template};
	struct chat chat = {.options = *options, .person = isatty(STDIN_FILENO), .interrupts = {.fd = -1}};
	if (chat.person && !interrupts_hold(&chat.interrupts, error))
		return false;
	chat.screen = screen_open();
	chat.engine = engine_create(&engine_options, error);
	bool ok = chat.engine && talk(&chat, error);
	if (ok && chat.write_errno && chat.write_errno != EPIPE)
		ok = error_set(error, ERROR_INTERNAL, "cannot write to standard output: %s", strerror(chat.write_errno));
	lines_close(chat.lines);
	engine_destroy(chat.engine);
	talk_free(&chat.talk);
	screen_close(&chat.screen);
	free(chat.file);
	fflush(stdout);
	interrupts_release(&chat.interrupts);
	interrupts_die(&chat.interrupts);
	return ok;
}
