/* A pattern is parsed to a tree, and the tree is compiled from its end: a node's language depends on what may follow it
 * up to the end of the string, so `$` and lookahead are intersections with that (pattern.h). */
#include "text/grammar/pattern.h"

#include <stdlib.h>
#include <string.h>

#include "text/grammar/pattern_classes.h"
#include "text/grammar/table.h"
#include "text/unicode.h"

enum { MAX_DEPTH = 200, MAX_PATTERN_BYTES = 1 << 16 };
#define NO_NODE UINT32_MAX

enum node_kind { NODE_EMPTY, NODE_CLASS, NODE_SEQUENCE, NODE_EITHER, NODE_REPEAT, NODE_START, NODE_END, NODE_AHEAD };

struct node {
	enum node_kind kind;
	bool asserts;   /* an assertion is in it */
	bool has_empty; /* may take no character */
	bool no_width;  /* takes none ever */
	bool negative;  /* of a lookahead */
	uint32_t child; /* first; or a class's language */
	uint32_t next;  /* its sibling */
	uint32_t min, max;
	size_t at;
};

/* Does a match start where the string does? Perhaps: after what may be empty. */
enum start { START_NO, START_YES, START_PERHAPS };

struct parser {
	struct languages *l;
	const char *text;
	size_t n, at;
	int depth;
	struct node *nodes;
	size_t n_nodes, max_nodes;
	struct pattern_fault *fault;
};

static uint32_t refuse(struct parser *p, const char *why, size_t at)
{
	if (!p->fault->why)
		*p->fault = (struct pattern_fault){why, at};
	return NO_NODE;
}

static uint32_t refuse_for_memory(struct parser *p)
{
	languages_note_no_memory(p->l);
	return refuse(p, "no memory", p->at);
}

static uint32_t add_node(struct parser *p, struct node node)
{
	if (!TABLE_RESERVE(p->nodes, p->n_nodes, p->max_nodes, 1))
		return refuse_for_memory(p);
	node.at = p->at;
	node.next = NO_NODE;
	p->nodes[p->n_nodes] = node;
	return (uint32_t)p->n_nodes++;
}

static bool looking_at(const struct parser *p, const char *text)
{
	size_t n = strlen(text);
	return p->n - p->at >= n && memcmp(p->text + p->at, text, n) == 0;
}

static bool take(struct parser *p, const char *text)
{
	if (!looking_at(p, text))
		return false;
	p->at += strlen(text);
	return true;
}

static uint32_t class_node(struct parser *p, uint32_t language)
{
	return add_node(p, (struct node){.kind = NODE_CLASS, .child = language});
}

static uint32_t parse_alternatives(struct parser *p);

/* What follows "(": group or lookahead. */
static uint32_t parse_group(struct parser *p)
{
	size_t start = p->at - 1;
	bool ahead = false, negative = false;
	if (take(p, "?")) {
		if (take(p, "=") || looking_at(p, "!")) {
			ahead = true;
			negative = take(p, "!");
		} else if (looking_at(p, "<=") || looking_at(p, "<!")) {
			return refuse(p, "lookbehind is not supported", start);
		} else if (take(p, "<") || take(p, "P<")) {
			while (p->at < p->n && p->text[p->at] != '>')
				p->at++;
			if (!take(p, ">"))
				return refuse(p, "a group's name has no end", start);
		} else if (!take(p, ":")) {
			return refuse(p, "this kind of group is not supported", start);
		}
	}
	if (++p->depth > MAX_DEPTH)
		return refuse(p, "groups are nested too deep", start);
	uint32_t inside = parse_alternatives(p);
	p->depth--;
	if (inside == NO_NODE)
		return NO_NODE;
	if (!take(p, ")"))
		return refuse(p, "a group has no end", start);
	if (!ahead)
		return inside;
	return add_node(p, (struct node){.kind = NODE_AHEAD,
	                                 .asserts = true,
	                                 .has_empty = true,
	                                 .no_width = true,
	                                 .negative = negative,
	                                 .child = inside});
}

static uint32_t parse_atom(struct parser *p)
{
	size_t start = p->at;
	struct class_reader reader = {.l = p->l, .text = p->text, .n = p->n, .at = p->at};
	switch (p->text[p->at]) {
	case '(':
		p->at++;
		return parse_group(p);
	case '^':
	case '$':
		p->at++;
		return add_node(p, (struct node){.kind = p->text[start] == '^' ? NODE_START : NODE_END,
		                                 .asserts = true,
		                                 .has_empty = true,
		                                 .no_width = true});
	case '*':
	case '+':
	case '?':
		return refuse(p, "nothing to repeat", start);
	case '.':
		p->at++;
		return class_node(p, class_dot(p->l));
	default:
		break;
	}
	uint32_t language = class_read_atom(&reader);
	if (reader.why)
		return refuse(p, reader.why, start);
	p->at = reader.at;
	return class_node(p, language);
}

static bool parse_count(struct parser *p, uint32_t *count)
{
	size_t start = p->at;
	uint64_t value = 0;
	for (; p->at < p->n && p->text[p->at] >= '0' && p->text[p->at] <= '9'; p->at++)
		if (value < LANGUAGE_NO_MAX)
			value = value * 10 + (uint64_t)(p->text[p->at] - '0');
	*count = value < LANGUAGE_NO_MAX ? (uint32_t)value : LANGUAGE_NO_MAX;
	return p->at > start;
}

enum quantifier { QUANTIFIER_NONE, QUANTIFIER_SOME, QUANTIFIER_BAD };

/* "{" that starts no quantifier is a character. */
static enum quantifier parse_quantifier(struct parser *p, uint32_t *min, uint32_t *max)
{
	size_t start = p->at;
	if (take(p, "*")) {
		*min = 0, *max = LANGUAGE_NO_MAX;
	} else if (take(p, "+")) {
		*min = 1, *max = LANGUAGE_NO_MAX;
	} else if (take(p, "?")) {
		*min = 0, *max = 1;
	} else if (take(p, "{")) {
		if (!parse_count(p, min)) {
			bool ambiguous = looking_at(p, ",");
			p->at = start;
			if (!ambiguous)
				return QUANTIFIER_NONE;
			refuse(p, "{,n} means different things to different readers", start);
			return QUANTIFIER_BAD;
		}
		*max = *min;
		if (take(p, ",") && !parse_count(p, max))
			*max = LANGUAGE_NO_MAX;
		if (!take(p, "}")) {
			p->at = start;
			return QUANTIFIER_NONE;
		}
		if (*min > *max) {
			refuse(p, "a repetition's numbers are out of order", start);
			return QUANTIFIER_BAD;
		}
	} else {
		return QUANTIFIER_NONE;
	}
	(void)take(p, "?"); /* lazy: the same strings */
	return QUANTIFIER_SOME;
}

/* An atom with its quantifier. */
static uint32_t parse_term(struct parser *p)
{
	uint32_t min, max, start = (uint32_t)p->at;
	if (p->text[p->at] == '{' && parse_quantifier(p, &min, &max) != QUANTIFIER_NONE)
		return refuse(p, "nothing to repeat", start);
	uint32_t atom = parse_atom(p);
	if (atom == NO_NODE)
		return NO_NODE;
	enum quantifier kind = p->at < p->n ? parse_quantifier(p, &min, &max) : QUANTIFIER_NONE;
	if (kind != QUANTIFIER_SOME)
		return kind == QUANTIFIER_NONE ? atom : NO_NODE;
	struct node child = p->nodes[atom];
	if (child.no_width && child.asserts && child.kind != NODE_SEQUENCE && child.kind != NODE_EITHER)
		return refuse(p, "nothing to repeat", start);
	return add_node(p, (struct node){.kind = NODE_REPEAT,
	                                 .asserts = child.asserts,
	                                 .has_empty = min == 0 || child.has_empty,
	                                 .no_width = child.no_width,
	                                 .child = atom,
	                                 .min = min,
	                                 .max = max});
}

static uint32_t parse_sequence(struct parser *p)
{
	struct node sequence = {.kind = NODE_SEQUENCE, .has_empty = true, .no_width = true, .child = NO_NODE};
	uint32_t last = NO_NODE;
	while (p->at < p->n && p->text[p->at] != '|' && p->text[p->at] != ')') {
		uint32_t term = parse_term(p);
		if (term == NO_NODE)
			return NO_NODE;
		/* A term may stand in one list only, and a group's is its own node. */
		if (last == NO_NODE)
			sequence.child = term;
		else
			p->nodes[last].next = term;
		last = term;
		sequence.asserts |= p->nodes[term].asserts;
		sequence.has_empty &= p->nodes[term].has_empty;
		sequence.no_width &= p->nodes[term].no_width;
	}
	if (last == NO_NODE)
		return add_node(p, (struct node){.kind = NODE_EMPTY, .has_empty = true, .no_width = true});
	return add_node(p, sequence);
}

static uint32_t parse_alternatives(struct parser *p)
{
	uint32_t first = parse_sequence(p);
	if (first == NO_NODE || !looking_at(p, "|"))
		return first;
	struct node either = p->nodes[first];
	either.kind = NODE_EITHER;
	either.child = first;
	for (uint32_t last = first; take(p, "|");) {
		uint32_t branch = parse_sequence(p);
		if (branch == NO_NODE)
			return NO_NODE;
		p->nodes[last].next = branch;
		last = branch;
		either.asserts |= p->nodes[branch].asserts;
		either.has_empty |= p->nodes[branch].has_empty;
		either.no_width &= p->nodes[branch].no_width;
	}
	return add_node(p, either);
}

/* ---- compiling ---- */

static uint32_t compile(struct parser *p, uint32_t id, uint32_t rest, enum start start);

/* Items from the last to the first, each with what follows it. */
static uint32_t compile_sequence(struct parser *p, const struct node *node, uint32_t rest, enum start start)
{
	size_t n = 0;
	for (uint32_t id = node->child; id != NO_NODE; id = p->nodes[id].next)
		n++;
	uint32_t *items = malloc((n + 1) * sizeof *items);
	enum start *starts = malloc((n + 1) * sizeof *starts);
	if (!items || !starts) {
		free(items);
		free(starts);
		refuse_for_memory(p);
		return LANGUAGE_NONE;
	}
	size_t i = 0;
	for (uint32_t id = node->child; id != NO_NODE; id = p->nodes[id].next, i++) {
		items[i] = id;
		starts[i] = start;
		if (start != START_NO && !p->nodes[id].no_width)
			start = p->nodes[id].has_empty ? START_PERHAPS : START_NO;
	}
	while (i-- > 0)
		rest = compile(p, items[i], rest, starts[i]);
	free(items);
	free(starts);
	return rest;
}

static uint32_t compile_repeat(struct parser *p, const struct node *node, uint32_t rest, enum start start)
{
	if (!p->nodes[node->child].asserts) {
		uint32_t once = compile(p, node->child, LANGUAGE_EMPTY, START_NO);
		return language_sequence(p->l, language_repeat(p->l, once, node->min, node->max), rest);
	}
	if (node->max > 1) {
		refuse(p, "an assertion inside of a repetition is not supported", node->at);
		return LANGUAGE_NONE;
	}
	uint32_t once = node->max == 1 ? compile(p, node->child, rest, start) : LANGUAGE_NONE;
	return node->min == 0 ? language_either(p->l, once, rest) : once;
}

static uint32_t compile_either(struct parser *p, const struct node *node, uint32_t rest, enum start start)
{
	uint32_t *branches = NULL;
	size_t n = 0, max = 0;
	for (uint32_t id = node->child; id != NO_NODE; id = p->nodes[id].next) {
		if (!TABLE_RESERVE(branches, n, max, 1)) {
			refuse_for_memory(p);
			break;
		}
		branches[n++] = compile(p, id, rest, start);
	}
	uint32_t either = language_either_of(p->l, branches, n);
	free(branches);
	return either;
}

/* What the node matches, followed by `rest`, which goes up to the end of the string. */
static uint32_t compile(struct parser *p, uint32_t id, uint32_t rest, enum start start)
{
	const struct node node = p->nodes[id];
	uint32_t ahead;
	switch (node.kind) {
	case NODE_EMPTY:
		return rest;
	case NODE_CLASS:
		return language_sequence(p->l, node.child, rest);
	case NODE_SEQUENCE:
		return compile_sequence(p, &node, rest, start);
	case NODE_EITHER:
		return compile_either(p, &node, rest, start);
	case NODE_REPEAT:
		return compile_repeat(p, &node, rest, start);
	case NODE_START:
		if (start == START_PERHAPS)
			refuse(p, "^ after what may be empty is not supported", node.at);
		return start == START_YES ? rest : LANGUAGE_NONE;
	case NODE_END:
		return language_both(p->l, LANGUAGE_EMPTY, rest);
	case NODE_AHEAD:
		ahead = compile(p, node.child, LANGUAGE_ALL, start);
		return language_both(p->l, rest, node.negative ? language_not(p->l, ahead) : ahead);
	}
	return LANGUAGE_NONE;
}

static uint32_t compile_root(struct parser *p, uint32_t root, bool whole)
{
	if (whole)
		return compile(p, root, LANGUAGE_EMPTY, START_YES);
	uint32_t here = compile(p, root, LANGUAGE_ALL, START_YES);
	uint32_t later = compile(p, root, LANGUAGE_ALL, START_NO);
	if (here == later)
		return language_sequence(p->l, LANGUAGE_ALL, here);
	uint32_t before = language_repeat(p->l, LANGUAGE_ANY, 1, LANGUAGE_NO_MAX);
	return language_either(p->l, here, language_sequence(p->l, before, later));
}

uint32_t pattern_compile(struct languages *languages, const char *pattern, size_t n_bytes, bool whole,
                         struct pattern_fault *fault)
{
	struct parser p = {.l = languages, .text = pattern, .n = n_bytes, .fault = fault};
	*fault = (struct pattern_fault){0};
	if (n_bytes > MAX_PATTERN_BYTES) {
		refuse(&p, "a pattern of more than 64 KiB", 0);
		return LANGUAGE_NONE;
	}
	uint32_t root = parse_alternatives(&p);
	if (root != NO_NODE && p.at < p.n)
		refuse(&p, "a ) that closes no group", p.at);
	uint32_t language = fault->why ? LANGUAGE_NONE : compile_root(&p, root, whole);
	free(p.nodes);
	if (!fault->why && languages_failed(languages))
		*fault = (struct pattern_fault){"the pattern is too large", 0};
	return fault->why ? LANGUAGE_NONE : language;
}
