/* An answer as it comes: on a screen, into a pipe, as JSON (chat_private.h). */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/chat/chat_private.h"
#include "text/answer.h"

enum showing { SHOWING_NOTHING, SHOWING_REASONING, SHOWING_CONTENT, SHOWING_CALL };

static void show_literal(struct chat *chat, const char *text)
{
	screen_text(&chat->screen, text, strlen(text));
}

/* From one kind of text to another: reasoning is dim, or between marks where there are no styles. */
static void show_change(struct chat *chat, enum showing next)
{
	if (chat->showing == (int)next)
		return;
	if (chat->showing == SHOWING_REASONING) {
		screen_end_line(&chat->screen);
		screen_dim(&chat->screen, false);
		show_literal(chat, chat->screen.colour ? "\n" : "[end of reasoning]\n");
	}
	if (chat->showing == SHOWING_CONTENT && next == SHOWING_CALL)
		screen_end_line(&chat->screen);
	if (next == SHOWING_REASONING) {
		screen_dim(&chat->screen, true);
		show_literal(chat, chat->screen.colour ? "" : "[reasoning]\n");
	}
	chat->showing = (int)next;
}

void answer_show(void *context, int kind, const char *text, size_t n_bytes)
{
	struct chat *chat = context;
	bool wanted = !chat->options.json && (kind != ANSWER_REASONING || chat->screen.terminal);
	if (!wanted)
		return;
	switch (kind) {
	case ANSWER_REASONING:
		show_change(chat, SHOWING_REASONING);
		screen_text(&chat->screen, text, n_bytes);
		return;
	case ANSWER_CALL_BEGUN:
		show_change(chat, SHOWING_CALL);
		show_literal(chat, "[calls ");
		screen_text(&chat->screen, text, n_bytes);
		show_literal(chat, " ");
		return;
	case ANSWER_CALL_ARGUMENTS:
		screen_text(&chat->screen, text, n_bytes);
		return;
	case ANSWER_CALL_ENDED:
		show_literal(chat, "]\n");
		return;
	case ANSWER_CALL_BROKEN:
		show_literal(chat, "... is no call]\n");
		break;
	default:
		break;
	}
	show_change(chat, SHOWING_CONTENT);
	screen_text(&chat->screen, text, n_bytes);
}

bool answer_flush(void *context)
{
	struct chat *chat = context;
	if (fflush(stdout) != 0 && !chat->write_errno)
		chat->write_errno = errno;
	if (ferror(stdout) && !chat->write_errno) /* a longer piece failed before */
		chat->write_errno = EIO;
	return !chat->write_errno;
}

void answer_end(struct chat *chat)
{
	show_change(chat, SHOWING_NOTHING);
	screen_end_line(&chat->screen);
}

/* ---- as JSON ---- */

static void print_line(struct bytes *out)
{
	bytes_append_text(out, "\n");
	screen_print_json(out->data ? out->data : "", out->n_bytes);
	bytes_free(out);
}

void answer_print_failure(const struct error *failed)
{
	struct bytes out = {0};
	json_open(&out);
	json_field_text(&out, "error", error_info(failed->code)->wire_name);
	json_field_text(&out, "message", failed->message);
	json_close(&out);
	print_line(&out);
}

void answer_print_json(const struct chat *chat, const struct turn *turn)
{
	struct bytes out = {0};
	json_open(&out);
	json_field_string(&out, "content", turn->content.data ? turn->content.data : "", turn->content.n_bytes);
	if (turn->reasoning.n_bytes > 0)
		json_field_string(&out, "reasoning", turn->reasoning.data, turn->reasoning.n_bytes);
	if (turn->calls.n_bytes > 0) {
		json_field_key(&out, "tool_calls");
		bytes_append(&out, turn->calls.data, turn->calls.n_bytes);
	}
	json_field_text(&out, "stop_reason", turn->stopped ? "stopped" : stop_reason_name(turn->stop_reason));
	json_field_int(&out, "prompt_tokens", turn->prompt_tokens);
	json_field_int(&out, "cached_tokens", turn->cached_tokens);
	json_field_int(&out, "completion_tokens", turn->completion_tokens);
	json_field_int(&out, "context_tokens", chat->context);
	json_field_uint(&out, "seed", turn->seed);
	json_field_double(&out, "time_to_first_token_ms", turn->time_to_first_token_ms);
	json_field_double(&out, "tokens_per_second", turn->tokens_per_second);
	json_close(&out);
	print_line(&out);
}
