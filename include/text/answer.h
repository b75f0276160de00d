/* Reading a model's answer: which of its text is reasoning, which is content, and which calls a tool.
 *
 *     struct answer_reading how = {.reasoning = style.reasoning, .tools = style.tools, ...};
 *     struct answer_reader *reader = answer_reader_create(&how, &error);
 *     answer_reader_push(reader, text, n_bytes);                       // a piece, however it is cut
 *     while (answer_reader_next(reader, &part)) ...                    // what is certain now, in order
 *     answer_reader_finish(reader);                                    // nothing more comes; then the rest by _next
 *     answer_reader_destroy(reader);
 *
 * The parts of an answer do not depend on where it is cut; neighbours of one kind may come as one or as several. Text that
 * may yet begin a tag is held back. Nothing is lost: what looks like a call and is none is content, as it stands. A call is
 *
 *     BEGUN (its name)  ARGUMENTS* (bytes of one JSON object)  ENDED | BROKEN
 *
 * BROKEN takes it back: the model stopped or went astray inside. The part's text is all that it had written of the call, for
 * the content; whole answers hold no such call, a stream cannot unsay the deltas that it sent.
 *
 * Line ends are layout where templates put them and not text: around reasoning, between text and calls. Memory is bounded by
 * ANSWER_MAX_CALL_BYTES, time is linear, whatever the text.
 */
#ifndef TALLOW_TEXT_ANSWER_H
#define TALLOW_TEXT_ANSWER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/bytes.h"
#include "base/error.h"
#include "base/json.h"
#include "text/tool_format.h"

enum {
	ANSWER_MAX_CALL_BYTES = 1 << 20, /* of one call's text; a longer one is content */
	ANSWER_MAX_NAME_BYTES = 256,     /* of a function's or parameter's name */
	ANSWER_MAX_CALLS = 128,          /* of one answer; further ones are left out */
	ANSWER_MAX_MARKERS = 64,
};

/* What the request's tools tell a reader; made by answer_tools_read. */
struct answer_tools;

struct answer_reading {
	const struct reasoning_format *reasoning; /* NULL: reasoning is content */
	const struct tool_format *tools;          /* a row of the family to look for; NULL: calls are content */
	const struct answer_tools *offered;       /* borrowed; NULL: none were offered, and no calls are looked for */
	bool in_reasoning;                        /* the prompt ended with the tag that opens reasoning */
	bool in_call;                             /* the prompt ended with what opens a call */
	bool only_row;    /* `tools` itself is looked for and no other form: the model is held to it */
	bool single_call; /* further calls are left out */
};

/* From a request's `tools`: [{"type":"function","function":{"name","parameters"}}] or [{"name","parameters"}]; what is none
 * is skipped. Copied into the arena. NULL: no memory. */
const struct answer_tools *answer_tools_read(const struct json *tools, struct arena *arena);

/* Which special tokens' spellings the reader must see as text: the words of its formats' rows. */
int answer_markers(const struct answer_reading *reading, const char *markers[ANSWER_MAX_MARKERS]);
/* Sets in_reasoning and in_call by the end of a prompt that a template wrote. */
void answer_reading_begin(struct answer_reading *reading, const char *prompt, size_t n_bytes);

enum answer_part_kind {
	ANSWER_CONTENT,        /* text of the answer */
	ANSWER_REASONING,      /* text before it */
	ANSWER_CALL_BEGUN,     /* the text is the function's name */
	ANSWER_CALL_ARGUMENTS, /* the next bytes of its arguments */
	ANSWER_CALL_ENDED,     /* they are one whole JSON object */
	ANSWER_CALL_BROKEN,    /* there was no call: the text belongs to the content */
};

struct answer_part {
	enum answer_part_kind kind;
	const char *text; /* [n_bytes], borrowed until the next push or finish */
	size_t n_bytes;
	int call; /* of the calls' parts: 0, 1, ... */
};

struct answer_reader;

struct answer_reader *answer_reader_create(const struct answer_reading *reading, struct error *error) MUST_USE;
void answer_reader_destroy(struct answer_reader *reader); /* NULL is harmless */
/* Parts that were not asked for before are gone. */
void answer_reader_push(struct answer_reader *reader, const char *text, size_t n_bytes);
void answer_reader_finish(struct answer_reader *reader);
bool answer_reader_next(struct answer_reader *reader, struct answer_part *part);
/* Bytes at the end of what was pushed that are no part yet. */
size_t answer_reader_waiting(const struct answer_reader *reader);
/* Whole calls so far. */
int answer_reader_calls(const struct answer_reader *reader);
/* Memory was short: parts are missing. */
bool answer_reader_failed(const struct answer_reader *reader);

/* ---- whole answers ---- */

struct answer_call {
	const char *name, *arguments; /* NUL-terminated */
	size_t n_name_bytes, n_arguments_bytes;
};

struct answer {
	struct bytes content, reasoning;
	struct answer_call *calls; /* [n_calls] */
	int n_calls;
	struct bytes texts; /* of the calls */
};

/* Reads all of a text. Fills `out` (zeroed), which the caller frees. ERROR_MEMORY, and `out` stays empty. */
bool answer_read(const struct answer_reading *reading, const char *text, size_t n_bytes, struct answer *out,
                 struct error *error) MUST_USE;
void answer_free(struct answer *answer); /* leaves a zeroed struct */

#endif
