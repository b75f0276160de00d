/* The grammar of a model's calls, from the description of forms that their reader takes its steps from (text/tool_format.h):
 * whatever it takes, the reader takes apart into calls of the tools that are named, with arguments as their schemas say.
 *
 *     struct call_tool tools[] = {{.name = "f", .n_name = 1, .schema = schema, .enforced = true}};
 *     struct call_shape shape = {.format = row, .tools = tools, .n_tools = 1};
 *     grammar_part calls = call_grammar(g, &shape, &report);       // pointers in the report: "/tools/0/parameters/..."
 *
 * Between the words of a form one line end or blank may stand. Arguments are JSON in canonical form (text/grammar.h); in
 * forms whose parameters are plain text (TOOL_PARAMETERS) schemas must be lists of at most 1000 properties: strings that are
 * anything or one of an enum stand as they are, other values as JSON, in whose schemas # is the whole one.
 */
#ifndef TALLOW_TEXT_CALL_GRAMMAR_H
#define TALLOW_TEXT_CALL_GRAMMAR_H

#include "base/json.h"
#include "text/grammar_parts.h"
#include "text/tool_format.h"

struct call_tool {
	const char *name; /* [n_name] */
	size_t n_name;
	const struct json *schema; /* of the arguments; NULL: there is none, and they are any object */
	bool enforced;             /* else arguments are any object, whatever the schema says */
	int index;                 /* in the request's list */
};

struct call_shape {
	const struct tool_format *format;
	const struct call_tool *tools; /* [n_tools] those that may be called */
	int n_tools;
	bool opened; /* the first call's call_open stands in the prompt */
	bool single; /* one call; else one or more, where the form has a way to write several */
};

/* Whether a reader of each form would take it for a name. */
bool call_grammar_takes_name(const char *name, size_t n_bytes);

/* GRAMMAR_PART_NONE where something was refused. */
grammar_part call_grammar(struct grammar *grammar, const struct call_shape *shape, struct grammar_report *report);

#endif
