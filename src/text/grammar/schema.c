/* From a schema to a network: the root's rule, then the rules that it asks for, until none is left (schema.h). */
#include "text/grammar/schema.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_NESTING = 500, MAX_RULES = 20000 };

static uint32_t hash_of_rule(const void *owner, uint32_t id)
{
	const struct schema *s = owner;
	uint32_t hash = TABLE_HASH_START;
	for (uint32_t i = 0; i < s->rules[id].n_literals; i++)
		hash = table_hash(hash, s->literals[s->rules[id].first_literal + i]);
	return hash ^ hash >> 15;
}

static int by_value(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	return (x > y) - (x < y);
}

/* Sorted, without doubles and what is always true; false where nothing can satisfy them. */
static bool shorten(uint32_t *literals, size_t *n)
{
	size_t kept = 0;
	qsort(literals, *n, sizeof *literals, by_value);
	for (size_t i = 0; i < *n; i++) {
		uint32_t literal = literals[i];
		bool contradicts = kept && (literal & 1) && literals[kept - 1] == literal - 1;
		if (literal == LITERAL_FALSE || literal == LITERAL_TRUE + 1 || contradicts)
			return false;
		if (literal > LITERAL_FALSE + 1 && (kept == 0 || literals[kept - 1] != literal))
			literals[kept++] = literal;
	}
	*n = kept;
	return true;
}

uint32_t schema_rule_of(struct schema *s, uint32_t *literals, size_t n_literals)
{
	size_t n = n_literals;
	if (!schema_look(s, 4 + n))
		return RULE_DEAD;
	if (!shorten(literals, &n))
		return RULE_DEAD;
	if (s->n_rules >= MAX_RULES) {
		schema_too_large(s);
		return RULE_DEAD;
	}
	if (!TABLE_GROW(s->account, s->rules, s->n_rules, s->max_rules, 1) ||
	    !TABLE_GROW(s->account, s->literals, s->n_literals, s->max_literals, n) ||
	    !table_index_room(&s->rule_index, hash_of_rule, s)) {
		schema_out_of_memory(s);
		return RULE_DEAD;
	}
	if (n)
		memcpy(s->literals + s->n_literals, literals, n * sizeof *literals);
	s->rules[s->n_rules] = (struct schema_rule){(uint32_t)s->n_literals, (uint32_t)n, 0};
	uint32_t hash = hash_of_rule(s, (uint32_t)s->n_rules);
	for (size_t at = hash & (s->rule_index.n_slots - 1); s->rule_index.slots[at];
	     at = (at + 1) & (s->rule_index.n_slots - 1)) {
		const struct schema_rule *known = &s->rules[s->rule_index.slots[at] - 1];
		if (known->n_literals == n &&
		    (n == 0 || memcmp(s->literals + known->first_literal, literals, n * sizeof *literals) == 0))
			return known->rule;
	}
	s->rules[s->n_rules].rule = network_rule(s->net);
	s->n_literals += n;
	table_index_put(&s->rule_index, hash, (uint32_t)s->n_rules);
	return s->rules[s->n_rules++].rule;
}

uint32_t schema_write_mark(struct schema *s, uint32_t from, char mark, uint32_t to)
{
	uint32_t after = network_state(s->net);
	network_edge(s->net, from, EDGE_BYTE, (unsigned char)mark, after);
	network_edge(s->net, after, EDGE_BYTE, ' ', to);
	network_edge(s->net, after, EDGE_SKIP, 0, to);
	return after;
}

static void write_rule(struct schema *s, size_t index)
{
	struct schema_rule rule = s->rules[index];
	uint32_t *literals = malloc((rule.n_literals + 1) * sizeof *literals); /* the table may move */
	if (!literals) {
		schema_out_of_memory(s);
		return;
	}
	if (rule.n_literals)
		memcpy(literals, s->literals + rule.first_literal, rule.n_literals * sizeof *literals);
	struct expansion e = {.schema = s, .take = schema_write_alternative, .rule = rule.rule, .types = TYPE_ALL};
	schema_expand(&e, literals, rule.n_literals);
	free(literals);
}

static void write_rules(struct schema *s)
{
	uint32_t root = schema_node(s, NODE_TRUE, s->document) * 2;
	s->net->root = schema_rule_of(s, &root, 1);
	if (s->net->root == RULE_DEAD && !s->refused)
		schema_refuse(s, NULL, "no value satisfies it");
	for (size_t i = 0; i < s->n_rules && !s->refused; i++) {
		if (!s->net->failed)
			write_rule(s, i);
		schema_say_what_ran_out(s);
	}
}

static bool add_first_nodes(struct schema *s)
{
	if (!TABLE_GROW(s->account, s->nodes, s->n_nodes, s->max_nodes, 2))
		return false;
	s->nodes[s->n_nodes++] = (struct schema_node){0}; /* NODE_TRUE, NODE_FALSE: in the table by themselves */
	s->nodes[s->n_nodes++] = (struct schema_node){0};
	return true;
}

static void free_tables(struct schema *s)
{
	struct table_account *account = s->account;
	TABLE_FREE(account, s->resources, s->max_resources);
	TABLE_FREE(account, s->anchors, s->max_anchors);
	TABLE_FREE(account, s->scopes, s->max_scopes);
	TABLE_FREE(account, s->nodes, s->max_nodes);
	table_index_free(&s->node_index);
	TABLE_FREE(account, s->facts, s->max_facts);
	table_index_free(&s->fact_index);
	TABLE_FREE(account, s->rules, s->max_rules);
	table_index_free(&s->rule_index);
	TABLE_FREE(account, s->literals, s->max_literals);
	account_free(account, &s->names);
	arena_free(&s->remarks);
}

bool schema_read(struct grammar *grammar, const char *source, size_t n_bytes, struct grammar_report *report)
{
	struct table_account *account = &grammar->account;
	struct schema s = {.grammar = grammar,
	                   .account = account,
	                   .l = grammar->languages,
	                   .net = &grammar->network,
	                   .report = report,
	                   .node_index.account = account,
	                   .fact_index.account = account,
	                   .rule_index.account = account};
	s.document = grammar_parse(grammar, source, n_bytes, MAX_NESTING, report);
	if (!s.document)
		return false;
	if (!add_first_nodes(&s))
		schema_out_of_memory(&s);
	else if (schema_find_resources(&s))
		write_rules(&s);
	schema_say_what_ran_out(&s);
	free_tables(&s);
	grammar_parsed(grammar, s.document, source, n_bytes);
	return !s.refused;
}
