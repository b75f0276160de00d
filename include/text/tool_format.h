/* How models write reasoning and calls of tools: one row per form. The reader of answers (text/answer.h) takes its steps from
 * these rows, and so may a grammar that holds a model to them:
 *
 *     open ( call_open CALL call_close ) ( separator call_open CALL call_close )* close
 *
 * Each field is a list of words between which white space may stand (none needed); an empty list is nothing; "*" inside one
 * stands for letters and digits. CALL is one of
 *
 *     TOOL_OBJECT       {"<name_key>": "NAME", "<arguments_key>": {...}}, other members allowed
 *     TOOL_NAMED        NAME name_end {...}
 *     TOOL_PARAMETERS   NAME name_end ( key_open KEY key_close VALUE value_close )*, values as plain text: strings as they
 *                       are, others as JSON (or as Python spells them)
 *
 * Rows that share a name are forms of one family and are read side by side, with those of "generic", which ask for a name that
 * the request has; the name is what `--tool-format` takes. A form is
 * a row more (where it needs no new kind of CALL); README and tests/unit/test_answer.c have a line for each.
 */
#ifndef TALLOW_TEXT_TOOL_FORMAT_H
#define TALLOW_TEXT_TOOL_FORMAT_H

#include <stdbool.h>
#include <stddef.h>

enum { TOOL_FORMAT_WORDS = 3, TOOL_FORMAT_SIGNS = 2 };

enum tool_call_kind { TOOL_OBJECT, TOOL_NAMED, TOOL_PARAMETERS };

struct tool_format {
	const char *name;
	const char
	    *signs[TOOL_FORMAT_SIGNS]; /* a template that contains all of them writes this form; none: never detected */
	const char *open[TOOL_FORMAT_WORDS];
	const char *call_open[TOOL_FORMAT_WORDS];
	enum tool_call_kind kind;
	const char *name_key, *arguments_key;    /* TOOL_OBJECT */
	const char *name_end[TOOL_FORMAT_WORDS]; /* of the others */
	const char *id_prefix;                   /* NAME stands in the call's id: id_prefix NAME ":" number; NULL: alone */
	const char *key_open;                    /* TOOL_PARAMETERS; its second byte is not that of call_close */
	const char *key_close[TOOL_FORMAT_WORDS], *value_close;
	const char *call_close[TOOL_FORMAT_WORDS];
	const char *separator[TOOL_FORMAT_WORDS];
	const char *close[TOOL_FORMAT_WORDS];
	const char *content_name; /* "calling" it means plain text; NULL: there is no such name */
	bool values_on_lines;     /* a line end before and one behind each value are layout */
	bool known_names;  /* a call only where its name is one of the request's tools: nothing else marks it as one */
	int id_characters; /* letters and digits in the id of a call, where templates insist; 0: any id */
};

struct reasoning_format {
	const char *open, *close;
};

/* What a model's template tells of its answers. */
struct answer_style {
	const struct tool_format *tools; /* the detected row; the first of "generic" where the template names none */
	const struct reasoning_format *reasoning; /* never NULL: <think> where the template names no other */
};

/* From a template's source. */
struct answer_style answer_style_detect(const char *source, size_t n_bytes);

/* All rows, in the order in which they are tried. */
const struct tool_format *tool_formats(size_t *n_formats);
/* The first row of that name; NULL: there is none. */
const struct tool_format *tool_format_find(const char *name);

#endif
