/* What the parts of a chat share (chat.c, slash.c). */
#ifndef TALLOW_CLI_CHAT_PRIVATE_H
#define TALLOW_CLI_CHAT_PRIVATE_H

#include "cli/chat/interrupts.h"
#include "cli/chat/lines.h"
#include "cli/chat/talk.h"
#include "cli/chat/turn.h"
#include "cli/options.h"
#include "cli/screen.h"

struct chat {
	struct options options; /* as the command line gave them, and /set changed them */
	struct engine *engine;
	struct talk talk;
	struct screen screen;
	struct interrupts interrupts;
	struct lines *lines;
	bool person;      /* standard input is a terminal: there is somebody who can answer */
	int64_t context;  /* tokens */
	int n_turns;      /* that were answered */
	struct turn last; /* the last of them; its texts are freed */
	char *file;       /* that was saved or loaded last; NULL: none */
	int showing;      /* enum showing: what the answer's last piece was */
	int write_errno;  /* why standard output takes nothing any more; EPIPE: nobody reads it; 0: it does */
};

/* A line for the person: on the terminal, else on standard error, where answers are what is wanted of standard output. */
void chat_note(const struct chat *chat, const char *format, ...) PRINTF_LIKE(2, 3);
/* Counts and speed of the last turn, as notes. */
void chat_note_stats(const struct chat *chat);

/* ---- an answer: `context` is the struct chat ---- */

/* As struct turn_listener has them; nothing is shown where JSON is wanted. */
void answer_show(void *context, int kind, const char *text, size_t n_bytes);
bool answer_flush(void *context);
/* Nothing more comes: the screen is as before, at the beginning of a line. */
void answer_end(struct chat *chat);
/* One object on a line. */
void answer_print_json(const struct chat *chat, const struct turn *turn);
void answer_print_failure(const struct error *failed);

/* ---- commands: lines that begin with a slash ---- */

enum slash_outcome {
	SLASH_DONE,
	SLASH_ASK, /* what the conversation ends with is to be answered */
	SLASH_QUIT,
	SLASH_FAILED, /* *error */
};

/* `text`: the line as it was typed, replaced by what is to be sent where that is the outcome. */
enum slash_outcome slash_run(struct chat *chat, struct bytes *text, struct error *error) MUST_USE;

#endif
