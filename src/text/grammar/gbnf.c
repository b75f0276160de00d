/* GBNF, the grammars of llama.cpp: rules `name ::= ...` of "literals", [classes], names, groups, | and the repetitions
 * * + ? {m} {m,} {m,n}; comments from # on. The text is a `root`. Left recursion is refused.
 *
 * Each repeated element is a rule of its own, so a repetition is a chain of calls. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text/grammar/grammar_private.h"
#include "text/grammar/left_recursion.h"
#include "text/grammar/table.h"
#include "text/unicode.h"

enum { MAX_DEPTH = 200, MAX_REPEATS = 20000, MAX_NAME = 256 };

struct name {
	const char *text;
	size_t n;
	uint32_t rule;
	size_t used_at;
	bool defined;
};

struct reader {
	struct languages *l;
	struct network *net;
	struct grammar_report *report;
	const char *text;
	size_t n, at;
	int depth;
	struct name *names;
	size_t n_names, max_names;
	struct table_index index;
	bool failed;
};

static void refuse(struct reader *r, size_t at, const char *why)
{
	size_t line = 1;
	char place[32];
	for (size_t i = 0; i < at && i < r->n; i++)
		line += r->text[i] == '\n';
	snprintf(place, sizeof place, "line %zu", line);
	if (!r->failed)
		report_refusal(r->report, place, why);
	r->failed = true;
}

static void refuse_for_memory(struct reader *r)
{
	languages_note_no_memory(r->l);
	r->failed = true;
}

/* ---- names ---- */

static uint32_t hash_of_name(const void *owner, uint32_t id)
{
	const struct name *name = &((const struct reader *)owner)->names[id];
	uint32_t hash = TABLE_HASH_START;
	for (size_t i = 0; i < name->n; i++)
		hash = (hash ^ (unsigned char)name->text[i]) * 16777619U;
	return hash ^ hash >> 15;
}

/* The name's index, new or known; NULL without memory. */
static struct name *find_name(struct reader *r, const char *text, size_t n)
{
	if (!TABLE_RESERVE(r->names, r->n_names, r->max_names, 1) || !table_index_room(&r->index, hash_of_name, r)) {
		refuse_for_memory(r);
		return NULL;
	}
	r->names[r->n_names] = (struct name){.text = text, .n = n, .used_at = r->at};
	uint32_t hash = hash_of_name(r, (uint32_t)r->n_names);
	for (size_t at = hash & (r->index.n_slots - 1); r->index.slots[at]; at = (at + 1) & (r->index.n_slots - 1)) {
		struct name *known = &r->names[r->index.slots[at] - 1];
		if (known->n == n && memcmp(known->text, text, n) == 0)
			return known;
	}
	table_index_put(&r->index, hash, (uint32_t)r->n_names);
	r->names[r->n_names].rule = network_rule(r->net);
	return &r->names[r->n_names++];
}

static bool is_name_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

static size_t name_length(const struct reader *r)
{
	size_t n = 0;
	while (r->at + n < r->n && is_name_char(r->text[r->at + n]))
		n++;
	return n;
}

/* ---- characters ---- */

static char peek(const struct reader *r)
{
	return r->at < r->n ? r->text[r->at] : '\0';
}

static void skip_space(struct reader *r, bool lines)
{
	for (; r->at < r->n; r->at++) {
		char c = r->text[r->at];
		if (c == '#') {
			while (r->at + 1 < r->n && r->text[r->at + 1] != '\n' && r->text[r->at + 1] != '\r')
				r->at++;
		} else if (c != ' ' && c != '\t' && !(lines && (c == '\n' || c == '\r'))) {
			break;
		}
	}
}

static uint32_t read_hex(struct reader *r, int n_digits)
{
	uint32_t code = 0;
	for (int i = 0; i < n_digits; i++, r->at++) {
		char c = peek(r), low = (char)(c | 0x20);
		if (c >= '0' && c <= '9')
			code = code * 16 + (uint32_t)(c - '0');
		else if (low >= 'a' && low <= 'f')
			code = code * 16 + (uint32_t)(low - 'a' + 10);
		else
			refuse(r, r->at, "an escape lacks hexadecimal digits");
	}
	if (code > LANGUAGE_MAX_CODE || (code >= 0xD800 && code <= 0xDFFF))
		refuse(r, r->at, "an escape is no character");
	return r->failed ? 0 : code;
}

static uint32_t read_char(struct reader *r)
{
	static const char names[] = "nrt\\\"[]", values[] = "\n\r\t\\\"[]";
	size_t length;
	if (peek(r) != '\\') {
		uint32_t code = char_decode(r->text + r->at, &length);
		r->at += length;
		return code;
	}
	r->at++;
	char letter = peek(r);
	const char *name = letter ? strchr(names, letter) : NULL;
	r->at++;
	if (name)
		return (unsigned char)values[name - names];
	if (letter == 'x' || letter == 'u' || letter == 'U')
		return read_hex(r, letter == 'x' ? 2 : letter == 'u' ? 4 : 8);
	refuse(r, r->at - 1, "an unknown escape");
	return 0;
}

/* ---- elements: each leads from one state to another ---- */

static void read_literal(struct reader *r, uint32_t from, uint32_t to)
{
	uint32_t *codes = NULL, language = LANGUAGE_EMPTY;
	size_t n = 0, max = 0;
	for (r->at++; !r->failed && r->at < r->n && peek(r) != '"' && peek(r) != '\n';) {
		if (!TABLE_RESERVE(codes, n, max, 1)) {
			refuse_for_memory(r);
			break;
		}
		codes[n++] = read_char(r);
	}
	if (peek(r) != '"')
		refuse(r, r->at, "a literal has no end");
	r->at++;
	while (n > 0 && !r->failed) {
		n--;
		language = language_sequence(r->l, language_char(r->l, codes[n], codes[n]), language);
	}
	free(codes);
	network_edge(r->net, from, language == LANGUAGE_EMPTY ? EDGE_SKIP : EDGE_TEXT, language, to);
}

static void read_class(struct reader *r, uint32_t from, uint32_t to)
{
	struct char_range *ranges = NULL;
	size_t n = 0, max = 0;
	r->at++;
	bool negated = peek(r) == '^';
	r->at += negated;
	while (!r->failed && r->at < r->n && peek(r) != ']') {
		if (!TABLE_RESERVE(ranges, n, max, 1)) {
			refuse_for_memory(r);
			break;
		}
		uint32_t first = read_char(r), last = first;
		if (peek(r) == '-' && r->at + 1 < r->n && r->text[r->at + 1] != ']') {
			r->at++;
			last = read_char(r);
		}
		if (first > last)
			refuse(r, r->at, "a range of characters is out of order");
		ranges[n++] = (struct char_range){first, last};
	}
	if (peek(r) != ']')
		refuse(r, r->at, "a class has no end");
	r->at++;
	uint32_t language = language_class(r->l, ranges, n);
	if (negated)
		language = language_both(r->l, LANGUAGE_ANY, language_not(r->l, language));
	free(ranges);
	network_edge(r->net, from, EDGE_TEXT, language, to);
}

static void read_alternatives(struct reader *r, uint32_t from, uint32_t to, bool nested);

static void read_group(struct reader *r, uint32_t from, uint32_t to)
{
	size_t start = r->at++;
	if (++r->depth > MAX_DEPTH) {
		refuse(r, start, "groups are nested too deep");
		return;
	}
	read_alternatives(r, from, to, true);
	r->depth--;
	if (peek(r) != ')')
		refuse(r, start, "a group has no end");
	r->at++;
}

static bool starts_element(const struct reader *r)
{
	char c = peek(r);
	return r->at < r->n && (c == '"' || c == '[' || c == '(' || c == '.' || is_name_char(c));
}

static void read_element(struct reader *r, uint32_t from, uint32_t to)
{
	char c = peek(r);
	if (c == '"') {
		read_literal(r, from, to);
	} else if (c == '[') {
		read_class(r, from, to);
	} else if (c == '(') {
		read_group(r, from, to);
	} else if (c == '.') {
		r->at++;
		network_edge(r->net, from, EDGE_TEXT, LANGUAGE_ANY, to);
	} else {
		size_t n = name_length(r);
		struct name *name = find_name(r, r->text + r->at, n);
		r->at += n;
		if (name)
			network_edge(r->net, from, EDGE_CALL, name->rule, to);
	}
}

static bool read_number(struct reader *r, uint64_t *value)
{
	size_t start = r->at;
	*value = 0;
	for (; peek(r) >= '0' && peek(r) <= '9'; r->at++)
		*value = *value > MAX_REPEATS ? *value : *value * 10 + (uint64_t)(peek(r) - '0');
	return r->at > start;
}

/* A repetition behind an element; false where there is none. */
static bool read_repeat(struct reader *r, uint64_t *min, uint64_t *max)
{
	size_t start = r->at;
	char c = peek(r);
	*min = c == '+';
	*max = c == '?' ? 1 : UINT64_MAX;
	if (c == '*' || c == '+' || c == '?') {
		r->at++;
		return true;
	}
	if (c != '{')
		return false;
	r->at++;
	skip_space(r, true);
	bool has_min = read_number(r, min);
	*max = *min;
	skip_space(r, true);
	if (peek(r) == ',') {
		r->at++;
		skip_space(r, true);
		if (!read_number(r, max))
			*max = UINT64_MAX;
		skip_space(r, true);
	} else if (!has_min) {
		refuse(r, start, "a repetition lacks its number");
	}
	if (peek(r) != '}')
		refuse(r, start, "a repetition has no end");
	r->at++;
	if (*max != UINT64_MAX && *min > *max)
		refuse(r, start, "a repetition's numbers are out of order");
	if (*min > MAX_REPEATS || (*max > MAX_REPEATS && *max != UINT64_MAX))
		refuse(r, start, "a repetition of more than 20000");
	return true;
}

static void write_repeat(struct reader *r, uint32_t rule, uint64_t min, uint64_t max, uint32_t from, uint32_t to)
{
	struct network *net = r->net;
	for (uint64_t i = 0; i < (max == UINT64_MAX ? min : max) && !net->failed; i++) {
		uint32_t next = network_state(net);
		network_edge(net, from, EDGE_CALL, rule, next);
		if (i >= min)
			network_edge(net, from, EDGE_SKIP, 0, to);
		from = next;
	}
	if (max == UINT64_MAX && !net->failed)
		network_edge(net, from, EDGE_CALL, rule, from);
	network_edge(net, from, EDGE_SKIP, 0, to);
}

/* An element with its repetition. It is read into a rule of its own, which is called once where it is not repeated. */
static void read_item(struct reader *r, uint32_t from, uint32_t to)
{
	uint32_t rule = network_rule(r->net), end = network_state(r->net);
	uint64_t min, max;
	if (r->net->failed) {
		refuse(r, r->at, "it is too large");
		return;
	}
	r->net->states[end].final = true;
	read_element(r, r->net->rules[rule], end);
	skip_space(r, r->depth > 0);
	if (r->failed)
		return;
	if (read_repeat(r, &min, &max))
		write_repeat(r, rule, min, max, from, to);
	else
		network_edge(r->net, from, EDGE_CALL, rule, to);
	skip_space(r, r->depth > 0);
}

static void read_alternatives(struct reader *r, uint32_t from, uint32_t to, bool nested)
{
	do {
		uint32_t at = network_state(r->net);
		network_edge(r->net, from, EDGE_SKIP, 0, at);
		skip_space(r, true);
		/* A name before ::= is the next rule: this one's alternative is empty. */
		while (!r->failed && !r->net->failed && starts_element(r)) {
			size_t before = r->at, n = name_length(r);
			r->at += n;
			skip_space(r, false);
			bool is_rule = !nested && n > 0 && r->n - r->at >= 3 && memcmp(r->text + r->at, "::=", 3) == 0;
			r->at = before;
			if (is_rule)
				break;
			uint32_t next = network_state(r->net);
			read_item(r, at, next);
			at = next;
			if (nested)
				skip_space(r, true);
		}
		network_edge(r->net, at, EDGE_SKIP, 0, to);
		if (r->net->failed)
			refuse(r, r->at, "it is too large");
		if (r->failed || peek(r) != '|')
			return;
		r->at++;
	} while (true);
}

static void read_rule(struct reader *r)
{
	size_t n = name_length(r), start = r->at;
	if (n == 0 || n > MAX_NAME) {
		refuse(r, start, "here a rule's name must stand");
		return;
	}
	struct name *name = find_name(r, r->text + r->at, n);
	if (!name)
		return;
	if (name->defined) {
		refuse(r, start, "a rule is defined twice");
		return;
	}
	name->defined = true;
	uint32_t rule = name->rule, end = network_state(r->net);
	r->at += n;
	skip_space(r, false);
	if (r->n - r->at < 3 || memcmp(r->text + r->at, "::=", 3) != 0) {
		refuse(r, r->at, "::= is missing behind a rule's name");
		return;
	}
	r->at += 3;
	if (r->net->failed)
		return;
	r->net->states[end].final = true;
	read_alternatives(r, r->net->rules[rule], end, false);
	if (!r->failed && r->at < r->n && peek(r) != '\n' && peek(r) != '\r' && !is_name_char(peek(r)))
		refuse(r, r->at, "what stands here belongs to no rule");
}

static void check_names(struct reader *r)
{
	char why[MAX_NAME + 64];
	const struct name *root = NULL;
	for (size_t i = 0; i < r->n_names; i++) {
		const struct name *name = &r->names[i];
		if (name->n == 4 && memcmp(name->text, "root", 4) == 0 && name->defined)
			root = name;
		if (!name->defined) {
			snprintf(why, sizeof why, "the rule %.*s is not defined", (int)(name->n < 60 ? name->n : 60), name->text);
			refuse(r, name->used_at, why);
		}
	}
	if (!root)
		refuse(r, 0, "the rule root is missing");
	else
		r->net->root = root->rule;
	if (!r->failed && network_recurses_left(r->net))
		refuse(r, 0, r->net->failed ? "it is too large" : "a rule begins with itself (left recursion)");
}

bool gbnf_read(struct grammar *grammar, const char *source, size_t n_bytes, struct grammar_report *report)
{
	struct reader r = {
	    .l = grammar->languages, .net = &grammar->network, .report = report, .text = source, .n = n_bytes};
	for (skip_space(&r, true); r.at < r.n && !r.failed && !r.net->failed; skip_space(&r, true))
		read_rule(&r);
	if (r.net->failed || languages_failed(r.l))
		refuse(&r, r.at, "it is too large");
	if (!r.failed)
		check_names(&r);
	free(r.names);
	free(r.index.slots);
	return !r.failed;
}
