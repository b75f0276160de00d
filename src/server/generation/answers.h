/* How the answers of a generation are read (text/answer.h): what a dialect asks for, and what the model's template makes of
 * it. A dialect sets asked->answer in parse; once submitted, generation->reading is how an answer is to be read:
 *
 *     whole:     answer_read(&generation->reading, text->data, text->n_bytes, &answer, &error)
 *     streamed:  reader = answers_push(generation, event); while (answer_reader_next(reader, &part)) ...
 */
#ifndef TALLOW_SERVER_GENERATION_ANSWERS_H
#define TALLOW_SERVER_GENERATION_ANSWERS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "server/server.h"
#include "text/answer.h"
#include "text/template.h"

struct chat_template;
struct event;
struct generation;
struct request;
struct tokenizer;

/* The server's. */
struct answer_settings {
	const struct tool_format *tools; /* NULL: what the template tells */
	bool no_tools;                   /* calls are content */
	enum reasoning_output reasoning;
};

/* A tool's name, in a list. */
struct tool_name {
	const char *name;
	const struct tool_name *next;
};

struct asked_answer {
	bool reads;   /* the answer is taken apart; else it is text and nothing else */
	bool follows; /* there is a reader for events also where the answer is told as a whole */
	struct answer_settings settings;
	const struct answer_tools *offered; /* NULL: none may be called */
	bool single_call;
	bool is_held;                    /* a constraint leaves calls one form only */
	bool must_call;                  /* the answer is a call, or several */
	const struct tool_name *allowed; /* what may be called then; NULL: all that is offered */
	/* Whose arguments are held to their schemas whenever they are called in the model's own form, if that is known. */
	const struct tool_name *strict;
};

/* "auto", "none" or a name of text/tool_format.h. */
bool answer_settings_find(const char *tool_format, struct answer_settings *settings, struct error *error) MUST_USE;

/* Fills in `reading` for what was asked, the template, and the end of a prompt that it wrote. */
void answers_prepare(const struct asked_answer *asked, const struct chat_template *chat,
                     const struct rendering *rendering, struct answer_reading *reading);
/* The tokens that the reader must see. */
void answers_show(const struct answer_reading *reading, const struct tokenizer *tokenizer, struct request *request);

/* Takes in an event of a stream: a token's text, or the end of an answer. Its choice's reader then has what is certain. */
struct answer_reader *answers_push(struct generation *generation, const struct event *event);

enum { CALL_ID_BYTES = 48 };
/* The name of a call: the same for the same call of a generation, and of a form that its template takes back. `prefix` is
 * that of the dialect ("call_"). */
void answers_call_id(const struct generation *generation, const char *prefix, int choice, int call,
                     char out[CALL_ID_BYTES]);

#endif
