/* Constraints as callers see them: compiling, following a text, masks. */
#include "text/grammar.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "text/grammar/grammar_private.h"
#include "text/grammar/pattern.h"
#include "text/grammar/shortest.h"
#include "text/grammar/table.h"
#include "text/unicode.h"

/* ---- reports ---- */

static bool add_remark(struct grammar_remark **list, size_t *n, size_t *max, const char *pointer, const char *why)
{
	if (*n >= GRAMMAR_MAX_REMARKS)
		return true;
	if (!table_reserve((void **)list, *n, max, 1, sizeof **list))
		return false;
	struct grammar_remark remark = {strdup(pointer), strdup(why)};
	if (remark.pointer && remark.why) {
		(*list)[(*n)++] = remark;
		return true;
	}
	free(remark.pointer);
	free(remark.why);
	return false;
}

void report_refusal(struct grammar_report *report, const char *pointer, const char *why)
{
	if (report && !add_remark(&report->refused, &report->n_refused, &report->max_refused, pointer, why))
		report->no_memory = true;
}

void report_note(struct grammar_report *report, const char *pointer, const char *why)
{
	if (report && !add_remark(&report->notes, &report->n_notes, &report->max_notes, pointer, why))
		report->no_memory = true;
}

static void free_remarks(struct grammar_remark *list, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		free(list[i].pointer);
		free(list[i].why);
	}
	free(list);
}

void grammar_report_free(struct grammar_report *report)
{
	free_remarks(report->refused, report->n_refused);
	free_remarks(report->notes, report->n_notes);
	*report = (struct grammar_report){0};
}

/* ---- compiling ---- */

/* What a parsed document takes, about: each value but the first comes behind one of these marks. */
static size_t document_bytes(const char *source, size_t n_bytes)
{
	enum { VALUE_BYTES = 64 };
	size_t n = 1;
	for (size_t i = 0; i < n_bytes; i++)
		n += source[i] == ',' || source[i] == '[' || source[i] == '{';
	return n_bytes + n * VALUE_BYTES;
}

struct json *grammar_parse(struct grammar *g, const char *source, size_t n_bytes, int max_depth,
                           struct grammar_report *report)
{
	struct error error = {0};
	size_t n_taken = document_bytes(source, n_bytes);
	if (!account_take(&g->account, n_taken)) {
		report_refusal(report, "", "it is too large");
		return NULL;
	}
	struct json *document = json_parse(source, n_bytes, &(struct json_limits){.max_depth = max_depth}, &error);
	if (document)
		return document;
	account_give(&g->account, n_taken);
	if (error.code == ERROR_MEMORY)
		g->no_memory = true;
	else
		report_refusal(report, "", error.message);
	return NULL;
}

void grammar_parsed(struct grammar *g, struct json *document, const char *source, size_t n_bytes)
{
	json_destroy(document);
	account_give(&g->account, document_bytes(source, n_bytes));
}

/* The root takes the strings of one language. */
static void root_of_language(struct grammar *g, uint32_t language)
{
	g->network.root = network_rule(&g->network);
	uint32_t end = network_state(&g->network);
	if (g->network.failed)
		return;
	g->network.states[end].final = true;
	network_edge(&g->network, g->network.rules[g->network.root], EDGE_TEXT, language, end);
}

static bool regex_read(struct grammar *g, const char *source, size_t n_bytes, struct grammar_report *report)
{
	struct pattern_fault fault;
	uint32_t language = pattern_compile(g->languages, source, n_bytes, true, &fault);
	if (fault.why) {
		char place[32];
		snprintf(place, sizeof place, "byte %zu", fault.at);
		report_refusal(report, place, fault.why);
		return false;
	}
	root_of_language(g, language);
	return true;
}

static bool choice_read(struct grammar *g, const char *source, size_t n_bytes, struct grammar_report *report)
{
	struct json *choices = grammar_parse(g, source, n_bytes, 0, report);
	if (!choices)
		return false;
	size_t n = json_count(choices), n_strings = 0, max_strings = 0;
	struct language_string *strings = NULL;
	const char *why = NULL;
	if (json_type(choices) != JSON_ARRAY || n == 0)
		why = "choices must be an array of strings with at least one";
	else if (!TABLE_GROW(&g->account, strings, 0, max_strings, n))
		languages_note_no_memory(g->languages);
	for (const struct json *choice = json_first(choices); choice && strings && !why; choice = json_next(choice)) {
		strings[n_strings].text = json_string(choice, &strings[n_strings].n_bytes);
		if (!strings[n_strings++].text)
			why = "a choice must be a string";
	}
	bool ok = strings && !why;
	if (ok)
		root_of_language(g, language_one_of(g->languages, strings, n));
	else if (why || !languages_lack_memory(g->languages))
		report_refusal(report, "", why ? why : "it is too large");
	TABLE_FREE(&g->account, strings, max_strings);
	grammar_parsed(g, choices, source, n_bytes);
	return ok;
}

bool grammar_read_source(struct grammar *g, enum grammar_kind kind, const char *source, size_t n_bytes,
                         struct grammar_report *report)
{
	static const char object[] = "{\"type\":\"object\"}";
	size_t valid = kind == GRAMMAR_JSON_OBJECT ? n_bytes : unicode_valid_prefix(source, n_bytes);
	if (n_bytes > GRAMMAR_MAX_SOURCE_BYTES || valid < n_bytes) {
		report_refusal(report, "", valid < n_bytes ? "it is not valid UTF-8" : "it is larger than 8 MiB");
		return false;
	}
	switch (kind) {
	case GRAMMAR_JSON_SCHEMA:
		return schema_read(g, source, n_bytes, report);
	case GRAMMAR_JSON_OBJECT:
		return schema_read(g, object, sizeof object - 1, report);
	case GRAMMAR_REGEX:
		return regex_read(g, source, n_bytes, report);
	case GRAMMAR_CHOICE:
		return choice_read(g, source, n_bytes, report);
	case GRAMMAR_GBNF:
		return gbnf_read(g, source, n_bytes, report);
	}
	return false;
}

bool grammar_make_ready(struct grammar *g, struct grammar_report *report)
{
	if (!network_trim(&g->network, g->languages)) {
		const char *why = languages_failed(g->languages);
		if (grammar_lacks_memory(g, report))
			return false;
		if (why && strcmp(why, "steps") == 0)
			report_refusal(report, "", "it takes too many steps to find out what it allows");
		else if (!why && !g->network.failed)
			report_refusal(report, "", "no text satisfies it");
		else
			report_refusal(report, "", "it is too large");
		return false;
	}
	g->matcher = matcher_create(&g->network, g->languages);
	if (!g->matcher && g->account.full)
		report_refusal(report, "", "it is too large");
	g->no_memory |= !g->matcher && !g->account.full;
	if (!g->matcher)
		return false;
	g->state = matcher_start(g->matcher);
	if (matcher_failed(g->matcher) && !grammar_lacks_memory(g, report))
		report_refusal(report, "", matcher_failed(g->matcher));
	return !matcher_failed(g->matcher);
}

bool grammar_lacks_memory(const struct grammar *g, const struct grammar_report *report)
{
	const char *why = g->matcher ? matcher_failed(g->matcher) : NULL;
	return g->no_memory || g->network.no_memory || (report && report->no_memory) ||
	       languages_lack_memory(g->languages) || (why && strcmp(why, GRAMMAR_NO_MEMORY) == 0);
}

void grammar_set_error(const struct grammar *g, const struct grammar_report *report, struct error *error)
{
	bool memory = !g || !g->languages || grammar_lacks_memory(g, report);
	if (report->n_refused > 0 && !memory)
		error_set(error, ERROR_CONSTRAINT, "%.120s%s%.300s", report->refused[0].pointer,
		          *report->refused[0].pointer ? ": " : "", report->refused[0].why);
	else
		error_set(error, ERROR_MEMORY, "not enough memory for a constraint");
}

struct grammar *grammar_create(size_t max_bytes)
{
	struct grammar *g = calloc(1, sizeof *g);
	if (!g)
		return NULL;
	g->account.max_bytes = max_bytes;
	g->network.account = &g->account;
	g->languages = languages_create(&g->account);
	if (!g->languages) {
		free(g);
		return NULL;
	}
	languages_allow(g->languages, GRAMMAR_COMPILE_STEPS);
	return g;
}

void *grammar_alloc(struct grammar *g, size_t n_bytes)
{
	return account_alloc(&g->account, &g->arena, n_bytes);
}

struct grammar *grammar_compile(enum grammar_kind kind, const char *source, size_t n_bytes,
                                struct grammar_report *report, struct error *error)
{
	struct grammar_report own = {0}, *to = report ? report : &own;
	struct grammar *g = grammar_create(compiling_begin());
	bool ok = g && grammar_read_source(g, kind, source, n_bytes, to) && to->n_refused == 0 &&
	          grammar_make_ready(g, to) && !grammar_lacks_memory(g, to);
	if (!ok)
		grammar_set_error(g, to, error);
	grammar_report_free(&own);
	if (!ok) {
		grammar_destroy(g);
		g = NULL;
	}
	compiling_end();
	return g;
}

void grammar_destroy(struct grammar *g)
{
	if (!g)
		return;
	for (size_t i = 0; i < GRAMMAR_MASKS; i++)
		free(g->masks[i].words);
	for (size_t i = 0; i < GRAMMAR_INSIDES; i++)
		free(g->insides[i].words);
	matcher_destroy(g->matcher);
	shortest_destroy(g->shortest);
	network_free(&g->network);
	languages_destroy(g->languages);
	arena_free(&g->arena);
	free(g);
}

/* ---- following ---- */

void grammar_restart(struct grammar *g)
{
	languages_allow(g->languages, GRAMMAR_TOKEN_STEPS);
	g->state = matcher_start(g->matcher);
	g->last_token = -1;
}

uint32_t grammar_follow(struct grammar *g, const char *bytes, size_t n_bytes)
{
	uint32_t state = g->state;
	languages_refill(g->languages, GRAMMAR_REFILL_STEPS, GRAMMAR_TOKEN_STEPS);
	for (size_t i = 0; i < n_bytes && state; i++)
		state = matcher_step(g->matcher, state, bytes, i, (unsigned char)bytes[i]);
	return state;
}

bool grammar_take(struct grammar *g, const char *bytes, size_t n_bytes)
{
	uint32_t state = grammar_follow(g, bytes, n_bytes);
	if (!state)
		return false;
	g->state = state;
	g->last_token = -1;
	matcher_keep(g->matcher, state, bytes, n_bytes);
	return true;
}

bool grammar_may_take(struct grammar *g, const char *bytes, size_t n_bytes)
{
	return grammar_follow(g, bytes, n_bytes) != 0;
}

bool grammar_complete(const struct grammar *g)
{
	return matcher_accepts(g->matcher, g->state);
}

bool grammar_over(const struct grammar *g)
{
	size_t n_places;
	(void)matcher_places(g->matcher, g->state, &n_places);
	return n_places == 0 && grammar_complete(g);
}

const char *grammar_failed(const struct grammar *g)
{
	return grammar_lacks_memory(g, NULL) ? GRAMMAR_NO_MEMORY : matcher_failed(g->matcher);
}

bool grammar_set_failure(const struct grammar *g, struct error *error)
{
	enum error_code code = grammar_lacks_memory(g, NULL) ? ERROR_MEMORY : ERROR_CONSTRAINT;
	return error_set(error, code, "the constraint ran out of %s", grammar_failed(g));
}

size_t grammar_bytes(const struct grammar *g)
{
	size_t masks = 0;
	for (size_t i = 0; i < GRAMMAR_MASKS; i++)
		masks += g->masks[i].n_words * sizeof(uint32_t);
	for (size_t i = 0; i < GRAMMAR_INSIDES; i++)
		masks += g->insides[i].n_words * sizeof(uint32_t);
	return sizeof *g + masks + g->account.n_bytes + (g->matcher ? matcher_text_bytes(g->matcher) : 0);
}

bool grammar_token(struct grammar *g, const struct grammar_vocabulary *v, int32_t id)
{
	size_t n_bytes;
	const char *bytes = grammar_token_bytes(v, id, &n_bytes);
	if (!bytes || !grammar_take(g, bytes, n_bytes))
		return false;
	g->last_token = id;
	return true;
}
