/* One call being read by one row of tool_format.h, byte by byte: the machine says when the call has begun (its name is known
 * and its arguments are on their way), when it has ended, and that it is none.
 */
#ifndef TALLOW_TEXT_ANSWER_CALL_H
#define TALLOW_TEXT_ANSWER_CALL_H

#include "base/bytes.h"
#include "text/answer.h"
#include "text/answer/arguments.h"

/* Whether calls of this row are looked for: those of the family and, as models forget their marks, of "generic"; for that
 * all. */
bool answer_row_counts(const struct answer_reading *reading, const struct tool_format *row);

/* The value is this string. */
bool answer_text_is(const struct json *value, const char *text);
/* A schema's type is a string, or one of its types is. */
bool answer_schema_is_string(const struct json *schema);

bool answer_tools_have(const struct answer_tools *tools, const char *name, size_t n_name);
/* The tool's schema says that this parameter is a string: its plain text is never read as another value. */
bool answer_tools_is_string(const struct answer_tools *tools, const char *name, size_t n_name, const char *parameter,
                            size_t n_parameter);

/* What a byte did; several at once. */
enum {
	CALL_BEGUN = 1,
	CALL_ENDED = 2,
	CALL_DEAD = 4,    /* it is no such call; the byte is not taken */
	CALL_CONTENT = 8, /* what was called is content_name: plain text follows, and the byte is its first */
};

/* A list of words to be matched, white space between them. */
struct word_place {
	const char *const *words;
	int word;
	size_t at;    /* bytes of it that came */
	bool in_wild; /* letters and digits that "*" stands for came */
};
enum word_step { WORDS_MORE, WORDS_DONE, WORDS_BAD };
enum word_step word_place_push(struct word_place *place, char byte);

struct call_machine {
	const struct tool_format *format;
	const struct answer_tools *offered;
	int stage; /* call.c */
	struct word_place words;

	char name[ANSWER_MAX_NAME_BYTES];
	size_t n_name;
	bool has_name, begun;

	/* TOOL_OBJECT: the object around name and arguments */
	struct json_bytes json;
	char key[32];
	size_t n_key;
	int member;                    /* what the key means */
	struct arguments value;        /* of the arguments */
	size_t value_start, value_end; /* of arguments that came before the name: places in the raw text; 0, 0: none */
	bool has_arguments;

	/* TOOL_PARAMETERS */
	int place; /* parameters.c */
	size_t n_tag;
	bool at_end_tag;
	char parameter[ANSWER_MAX_NAME_BYTES];
	size_t n_parameter;
	int n_parameters;
	bool is_string;
	size_t text_start, text_shown; /* of its value, and how far it was given: places in the raw text */
};

/* Awaits `open`; or, where that came already, `call_open`; or what follows that. */
enum call_start { CALL_FROM_OPEN, CALL_FROM_CALL_OPEN, CALL_FROM_CALL };
void call_machine_start(struct call_machine *machine, const struct tool_format *format,
                        const struct answer_tools *offered, enum call_start start);

/* The last byte of `raw` is the next one; all that came of the call so far stands before it. Appends what is certain of the
 * arguments, once the call has begun. */
unsigned call_machine_push(struct call_machine *machine, const struct bytes *raw, struct bytes *arguments);

/* Name and form are those of a call: CALL_BEGUN, or CALL_DEAD for a name that may not be called. */
unsigned call_begin(struct call_machine *machine);

/* ---- TOOL_PARAMETERS (parameters.c) ---- */

/* As call_machine_push, from behind name_end on. */
unsigned parameters_push(struct call_machine *machine, const struct bytes *raw, struct bytes *arguments);

#endif
