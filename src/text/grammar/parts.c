/* Grammars put together of parts (include/text/grammar_parts.h): a part is a rule of the network. */
#include "text/grammar_parts.h"

#include <stdlib.h>
#include <string.h>

#include "text/grammar/grammar_private.h"

enum { N_BYTES = 256 };

struct grammar *grammar_begin(struct error *error)
{
	struct grammar *g = grammar_create(compiling_begin());
	if (g)
		return g;
	compiling_end();
	error_set(error, ERROR_MEMORY, "not enough memory for a constraint");
	return NULL;
}

struct grammar *grammar_finish(struct grammar *g, grammar_part root, struct grammar_report *report, struct error *error)
{
	struct grammar_report own = {0}, *to = report ? report : &own;
	if (root == GRAMMAR_PART_NONE && to->n_refused == 0 && !grammar_lacks_memory(g, to))
		report_refusal(to, "", "no text satisfies it");
	g->network.root = root;
	bool ok =
	    to->n_refused == 0 && root != GRAMMAR_PART_NONE && grammar_make_ready(g, to) && !grammar_lacks_memory(g, to);
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

void grammar_report_refuse(struct grammar_report *report, const char *pointer, const char *why)
{
	report_refusal(report, pointer, why);
}

/* A rule with its start and end. */
static grammar_part begin_part(struct grammar *g, uint32_t *start, uint32_t *end)
{
	grammar_part part = network_rule(&g->network);
	*end = network_state(&g->network);
	if (g->network.failed)
		return GRAMMAR_PART_NONE;
	*start = g->network.rules[part];
	g->network.states[*end].final = true;
	return part;
}

grammar_part grammar_part_text(struct grammar *g, const char *text, size_t n_bytes)
{
	uint32_t start, end;
	grammar_part part = begin_part(g, &start, &end);
	if (part != GRAMMAR_PART_NONE)
		network_bytes(&g->network, start, text, n_bytes, end);
	return part;
}

grammar_part grammar_part_source(struct grammar *g, enum grammar_kind kind, const char *source, size_t n_bytes,
                                 struct grammar_report *report)
{
	size_t before = report->n_refused;
	bool ok = grammar_read_source(g, kind, source, n_bytes, report) && report->n_refused == before;
	return ok ? g->network.root : GRAMMAR_PART_NONE;
}

grammar_part grammar_part_sequence(struct grammar *g, const grammar_part *parts, size_t n_parts)
{
	uint32_t at, end;
	grammar_part part = begin_part(g, &at, &end);
	for (size_t i = 0; i < n_parts && part != GRAMMAR_PART_NONE; i++) {
		if (parts[i] == GRAMMAR_PART_NONE)
			return GRAMMAR_PART_NONE;
		uint32_t next = i + 1 < n_parts ? network_state(&g->network) : end;
		network_edge(&g->network, at, EDGE_CALL, parts[i], next);
		at = next;
	}
	if (n_parts == 0 && part != GRAMMAR_PART_NONE)
		network_edge(&g->network, at, EDGE_SKIP, 0, end);
	return part;
}

grammar_part grammar_part_either(struct grammar *g, const grammar_part *parts, size_t n_parts)
{
	uint32_t start, end;
	bool any = false;
	grammar_part part = begin_part(g, &start, &end);
	for (size_t i = 0; i < n_parts && part != GRAMMAR_PART_NONE; i++) {
		any |= parts[i] != GRAMMAR_PART_NONE;
		if (parts[i] != GRAMMAR_PART_NONE)
			network_edge(&g->network, start, EDGE_CALL, parts[i], end);
	}
	return any ? part : GRAMMAR_PART_NONE;
}

grammar_part grammar_part_repeat(struct grammar *g, grammar_part first, grammar_part more)
{
	uint32_t start, end;
	grammar_part part = begin_part(g, &start, &end);
	if (first == GRAMMAR_PART_NONE || part == GRAMMAR_PART_NONE)
		return GRAMMAR_PART_NONE;
	network_edge(&g->network, start, EDGE_CALL, first, end);
	if (more != GRAMMAR_PART_NONE)
		network_edge(&g->network, end, EDGE_CALL, more, end);
	return part;
}

/* ---- words in a text (Aho, Corasick 1975) ---- */

enum { MAX_NODES = GRAMMAR_MAX_WORDS * GRAMMAR_MAX_WORD_BYTES + 1, NO_NODE = 0 };

/* The beginnings of words, the empty one first. */
struct word_node {
	uint16_t next[N_BYTES]; /* where a byte leads */
	uint16_t shorter;       /* the longest other beginning that this one ends with */
	bool is_word;           /* it ends with one */
};

struct word_tree {
	struct word_node *nodes;
	size_t n_nodes;
	uint16_t *queue;
};

static void add_word(struct word_tree *tree, const char *word)
{
	size_t at = 0;
	for (const char *byte = word; *byte; byte++) {
		uint16_t *next = &tree->nodes[at].next[(unsigned char)*byte];
		if (*next == NO_NODE)
			*next = (uint16_t)tree->n_nodes++;
		at = *next;
	}
	tree->nodes[at].is_word = true;
}

/* Breadth first: a byte that goes on with no word goes on with the end of what was read that begins one. */
static void complete_tree(struct word_tree *tree)
{
	size_t n_queue = 0;
	for (int byte = 0; byte < N_BYTES; byte++)
		if (tree->nodes[0].next[byte] != NO_NODE)
			tree->queue[n_queue++] = tree->nodes[0].next[byte];
	for (size_t i = 0; i < n_queue; i++) {
		struct word_node *node = &tree->nodes[tree->queue[i]];
		const struct word_node *shorter = &tree->nodes[node->shorter];
		node->is_word |= shorter->is_word;
		for (int byte = 0; byte < N_BYTES; byte++) {
			uint16_t next = node->next[byte];
			if (next != NO_NODE) {
				tree->nodes[next].shorter = shorter->next[byte];
				tree->queue[n_queue++] = next;
			} else {
				node->next[byte] = shorter->next[byte];
			}
		}
	}
}

static bool make_tree(struct word_tree *tree, const char *const *words, size_t n_words)
{
	size_t n_most = 1;
	for (size_t i = 0; i < n_words; i++)
		n_most += strlen(words[i]);
	tree->nodes = n_most <= MAX_NODES ? calloc(n_most, sizeof *tree->nodes) : NULL;
	tree->queue = calloc(n_most, sizeof *tree->queue);
	tree->n_nodes = 1;
	if (!tree->nodes || !tree->queue)
		return false;
	for (size_t i = 0; i < n_words; i++)
		add_word(tree, words[i]);
	complete_tree(tree);
	return true;
}

/* A state for each beginning. With `until` the text ends with a word; else it has none. */
static grammar_part words_part(struct grammar *g, const char *const *words, size_t n_words, bool until)
{
	struct word_tree tree = {0};
	uint32_t start, end;
	grammar_part part = begin_part(g, &start, &end);
	bool ok = part != GRAMMAR_PART_NONE && make_tree(&tree, words, n_words);
	uint32_t *states = ok ? calloc(tree.n_nodes, sizeof *states) : NULL;
	if (!states)
		network_lacks_memory(&g->network);
	for (size_t i = 0; i < tree.n_nodes && states; i++) {
		states[i] = i == 0 ? start : until && tree.nodes[i].is_word ? end : network_state(&g->network);
		if (!until)
			g->network.states[states[i]].final = !tree.nodes[i].is_word;
	}
	for (size_t i = 0; states && i < tree.n_nodes && !g->network.failed; i++)
		for (int byte = 0; byte < N_BYTES && !tree.nodes[i].is_word; byte++) {
			uint16_t next = tree.nodes[i].next[byte];
			if (until || !tree.nodes[next].is_word)
				network_edge(&g->network, states[i], EDGE_BYTE, (uint32_t)byte, states[next]);
		}
	free(states);
	free(tree.nodes);
	free(tree.queue);
	return g->network.failed ? GRAMMAR_PART_NONE : part;
}

grammar_part grammar_part_without(struct grammar *g, const char *const *words, size_t n_words)
{
	return words_part(g, words, n_words, false);
}

grammar_part grammar_part_until(struct grammar *g, const char *word)
{
	return words_part(g, &word, 1, true);
}
