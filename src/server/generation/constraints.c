#include "server/generation/constraints.h"

#include <string.h>

#include "text/call_grammar.h"

enum { MAX_TOOLS = 512, SHOWN_NAME_BYTES = 64, MAX_SHOWN_NAMES = 64 };

bool constraints_hold(const struct asked *asked)
{
	return asked->constraint.wanted || asked->answer.must_call;
}

/* ---- tools ---- */

static bool is_among(const struct tool_name *list, const char *name)
{
	for (; list; list = list->next)
		if (strcmp(list->name, name) == 0)
			return true;
	return false;
}

/* In the model's own form of calls. One whose marks it forgets is read all the same where it has the choice, but not held. */
static bool holds_strict(const struct generation *generation)
{
	const struct answer_reading *reading = &generation->reading;
	return reading->offered && reading->tools && (reading->only_row || strcmp(reading->tools->name, "generic") != 0);
}

static bool fill_tool(struct call_tool *out, const struct json *tool, int index, const struct generation *generation)
{
	const struct asked_answer *asked = &generation->asked.answer;
	const struct json *function = json_get(tool, "function"), *from = function ? function : tool;
	const struct json *schema = json_get(from, "parameters");
	*out = (struct call_tool){.index = index, .schema = schema ? schema : json_get(from, "input_schema")};
	out->name = json_string(json_get(from, "name"), &out->n_name);
	if (!out->name)
		return false;
	out->enforced = asked->must_call || (holds_strict(generation) && is_among(asked->strict, out->name));
	return !asked->must_call || !asked->allowed || is_among(asked->allowed, out->name);
}

/* Those that may be called; names that no form can be sure of are left out where nobody insists on them. */
static int list_tools(const struct generation *generation, struct call_tool tools[MAX_TOOLS])
{
	const struct asked *asked = &generation->asked;
	int n = 0, index = 0;
	for (const struct json *tool = json_first(json_get(asked->conversation, "tools")); tool && n < MAX_TOOLS;
	     tool = json_next(tool), index++)
		if (fill_tool(&tools[n], tool, index, generation) &&
		    (tools[n].enforced || call_grammar_takes_name(tools[n].name, tools[n].n_name)))
			n++;
	return n;
}

static grammar_part calls_part(struct grammar *g, const struct generation *generation, struct grammar_report *report)
{
	const struct answer_reading *reading = &generation->reading;
	struct call_tool tools[MAX_TOOLS];
	struct call_shape shape = {
	    .format = reading->tools,
	    .tools = tools,
	    .n_tools = list_tools(generation, tools),
	    .opened = reading->in_call,
	    .single = reading->single_call,
	};
	return shape.n_tools > 0 ? call_grammar(g, &shape, report) : GRAMMAR_PART_NONE;
}

/* ---- answers ---- */

/* Text that the reader takes for text, then perhaps calls. Where nothing but a brace marks a call, text begins with none. A
 * tag that opens reasoning is none of this text. */
static grammar_part chosen_text(struct grammar *g, const struct generation *generation, struct grammar_report *report)
{
	static const char no_brace[] = "[ \\n\\r\\t]*([^ \\n\\r\\t{<](.|\\n|\\r)*)?";
	const struct tool_format *row = generation->reading.tools;
	const struct reasoning_format *reasoning = generation->reading.reasoning;
	const char *trigger = row->open[0] ? row->open[0] : row->call_open[0];
	grammar_part calls = calls_part(g, generation, report), empty = grammar_part_text(g, "", 0);
	if (!trigger) {
		grammar_part text = grammar_part_source(g, GRAMMAR_REGEX, no_brace, sizeof no_brace - 1, report);
		return grammar_part_either(g, (grammar_part[]){text, calls}, 2);
	}
	const char *words[] = {trigger, reasoning ? reasoning->open : NULL};
	grammar_part text = grammar_part_without(g, words, reasoning ? 2 : 1);
	grammar_part perhaps = grammar_part_either(g, (grammar_part[]){empty, calls}, 2);
	return generation->reading.in_call ? calls : grammar_part_sequence(g, (grammar_part[]){text, perhaps}, 2);
}

/* The rest of reasoning, then the answer. */
static grammar_part after_reasoning(struct grammar *g, const struct answer_reading *reading, grammar_part answer)
{
	grammar_part line_ends[] = {grammar_part_text(g, "", 0), grammar_part_text(g, "\n", 1),
	                            grammar_part_text(g, "\n\n", 2)};
	grammar_part parts[] = {grammar_part_until(g, reading->reasoning->close), grammar_part_either(g, line_ends, 3),
	                        answer};
	return answer == GRAMMAR_PART_NONE ? answer : grammar_part_sequence(g, parts, 3);
}

/* The same behind reasoning that the model may begin by itself. */
static grammar_part chosen_part(struct grammar *g, const struct generation *generation, struct grammar_report *report)
{
	const struct answer_reading *reading = &generation->reading;
	grammar_part text = chosen_text(g, generation, report);
	if (!reading->reasoning || reading->in_reasoning || text == GRAMMAR_PART_NONE)
		return text;
	const char *open = reading->reasoning->open;
	grammar_part parts[] = {grammar_part_text(g, open, strlen(open)), after_reasoning(g, reading, text)};
	return grammar_part_either(g, (grammar_part[]){text, grammar_part_sequence(g, parts, 2)}, 2);
}

static struct grammar *put_together(const struct generation *generation, struct error *error)
{
	const struct asked *asked = &generation->asked;
	const struct answer_reading *reading = &generation->reading;
	struct grammar_report report = {0};
	struct grammar *g = grammar_begin(error);
	grammar_part answer = GRAMMAR_PART_NONE;
	if (!g)
		return NULL;
	if (asked->answer.must_call) {
		answer = calls_part(g, generation, &report);
	} else if (asked->constraint.wanted) {
		const struct asked_constraint *wanted = &asked->constraint;
		answer = grammar_part_source(g, wanted->kind, wanted->source, wanted->n_bytes, &report);
		if (reading->offered && reading->tools)
			answer = grammar_part_either(g, (grammar_part[]){answer, calls_part(g, generation, &report)}, 2);
	} else {
		answer = chosen_part(g, generation, &report);
	}
	if (reading->in_reasoning)
		answer = after_reasoning(g, reading, answer);
	g = grammar_finish(g, answer, &report, error);
	grammar_report_free(&report);
	return g;
}

/* The constraint stands alone. */
static bool is_plain(const struct generation *generation)
{
	const struct answer_reading *reading = &generation->reading;
	return !reading->in_reasoning && !(reading->offered && reading->tools);
}

static struct grammar *compile(const struct generation *generation, struct error *error)
{
	const struct asked_constraint *wanted = &generation->asked.constraint;
	if (is_plain(generation))
		return grammar_compile(wanted->kind, wanted->source, wanted->n_bytes, NULL, error);
	return put_together(generation, error);
}

/* ---- what is told ---- */

/* Tools whose arguments nothing holds to their schemas; false where there are none. */
static bool write_unconstrained(const struct generation *generation, struct bytes *out)
{
	const struct asked_answer *asked = &generation->asked.answer;
	int n = 0;
	if (!generation->reading.offered || !generation->reading.tools || asked->must_call)
		return false;
	for (const struct json *tool = json_first(json_get(generation->asked.conversation, "tools")); tool;
	     tool = json_next(tool)) {
		struct call_tool one;
		if (!fill_tool(&one, tool, 0, generation) || one.enforced || n == MAX_SHOWN_NAMES)
			continue;
		bytes_append_text(out, n++ > 0 ? "," : "[");
		json_write_string(out, one.name, one.n_name < SHOWN_NAME_BYTES ? one.n_name : SHOWN_NAME_BYTES);
	}
	bytes_append_text(out, n > 0 ? "]" : "");
	return n > 0;
}

static bool tell(struct generation *generation, struct error *error)
{
	struct bytes out = {0}, tools = {0};
	const char *notes = generation->asked.constraint.notes;
	bool any = write_unconstrained(generation, &tools);
	json_open(&out);
	if (notes) {
		json_field_key(&out, "notes");
		bytes_append_text(&out, notes);
	}
	if (any) {
		json_field_key(&out, "unconstrained_tools");
		bytes_append(&out, tools.data, tools.n_bytes);
	}
	json_close(&out);
	bytes_free_part(&tools, &out);
	if (any || notes)
		generation->asked.constraints = out.failed ? NULL : arena_strdup(&generation->arena, out.data, out.n_bytes);
	bool ok = !(any || notes) || generation->asked.constraints;
	bytes_free(&out);
	return ok || error_set(error, ERROR_MEMORY, "no memory for the request");
}

/* ---- all of it ---- */

static bool check_calls(const struct generation *generation, struct error *error)
{
	const struct asked_answer *asked = &generation->asked.answer;
	struct call_tool tools[MAX_TOOLS];
	if (!asked->must_call)
		return true;
	if (!generation->reading.offered || !generation->reading.tools) {
		error_set(error, ERROR_INVALID_REQUEST,
		          "tool_choice asks for a call, and this server reads none: --tool-format is none");
		return error_blame(error, "tool_choice");
	}
	for (const struct tool_name *name = asked->allowed; name; name = name->next) {
		bool found = false;
		int n = list_tools(generation, tools);
		for (int i = 0; i < n; i++)
			found |= strcmp(tools[i].name, name->name) == 0;
		if (!found) {
			error_set(error, ERROR_INVALID_REQUEST, "tool_choice names %.64s, which is none of the tools", name->name);
			return error_blame(error, "tool_choice");
		}
	}
	return true;
}

bool constraints_prepare(struct generation *generation, struct error *error)
{
	struct asked *asked = &generation->asked;
	bool chooses = asked->answer.strict && holds_strict(generation);
	if (!tell(generation, error) || !check_calls(generation, error))
		return false;
	if (!asked->answer.must_call && !chooses && (!asked->constraint.wanted || is_plain(generation)))
		return true;
	grammar_destroy(generation->grammar);
	generation->grammar = put_together(generation, error);
	if (!generation->grammar && error->code == ERROR_CONSTRAINT) {
		error_prefix(error, "tools cannot be enforced");
		error_blame(error, "tools");
	}
	return generation->grammar != NULL;
}

bool constraints_multiply(struct generation *generation, struct grammar *grammars[ENGINE_MAX_CHOICES],
                          struct error *error)
{
	int n = generation->n_choices;
	if (!generation->grammar)
		return true;
	size_t n_bytes = grammar_bytes(generation->grammar);
	if (n_bytes > (size_t)CONSTRAINTS_MAX_BYTES / (size_t)n)
		return error_set(
		    error, ERROR_CONSTRAINT,
		    "%d choices of a constraint of %zu KiB take more than the %d MiB that a request may have for them", n,
		    n_bytes >> 10, CONSTRAINTS_MAX_BYTES >> 20);
	grammars[0] = generation->grammar;
	generation->grammar = NULL;
	for (int i = 1; i < n; i++) {
		grammars[i] = compile(generation, error);
		if (grammars[i])
			continue;
		while (i > 0)
			grammar_destroy(grammars[--i]);
		return false;
	}
	return true;
}
