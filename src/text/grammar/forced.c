/* Tokens that must come (include/text/grammar.h). */
#include "text/grammar/grammar_private.h"
#include "text/grammar/vocabulary.h"

/* The only byte that may come; -1 where there are others, or a lexeme may say more than is looked at. */
static int only_byte(const struct grammar *g, uint32_t state)
{
	size_t n_places;
	const struct place *places = matcher_places(g->matcher, state, &n_places);
	int byte = -1;
	for (size_t i = 0; i < n_places; i++) {
		if (places[i].language != LANGUAGE_NONE)
			return -1;
		for (uint32_t e = g->network.states[places[i].at].first_edge; e != NETWORK_NONE; e = g->network.edges[e].next) {
			const struct network_edge *edge = &g->network.edges[e];
			if (edge->kind != EDGE_BYTE)
				continue;
			if (byte >= 0 && byte != (int)edge->value)
				return -1;
			byte = (int)edge->value;
		}
	}
	return byte;
}

/* Where the tokens that begin with a byte are; the end where there are none. */
static size_t find_root(const struct token_trie *trie, int byte)
{
	size_t i = 0;
	while (i < trie->n_nodes && trie->nodes[i].byte != byte)
		i = trie->nodes[i].skip;
	return i;
}

int32_t grammar_forced_token(struct grammar *g, const struct grammar_vocabulary *v)
{
	uint32_t states[VOCABULARY_MAX_TOKEN + 1] = {g->state};
	char path[VOCABULARY_MAX_TOKEN + 1];
	const struct token_node *nodes = v->all.nodes;
	int byte = grammar_complete(g) ? -1 : only_byte(g, g->state);
	size_t root = byte < 0 ? v->all.n_nodes : find_root(&v->all, byte);
	int32_t only = -1;
	languages_refill(g->languages, GRAMMAR_REFILL_STEPS, GRAMMAR_TOKEN_STEPS);
	for (size_t i = root; i < v->all.n_nodes && (i == root || nodes[i].depth > 1);) {
		const struct token_node *node = &nodes[i];
		uint32_t n_path = node->depth - 1U;
		states[node->depth] = matcher_step(g->matcher, states[n_path], path, n_path, node->byte);
		path[n_path] = (char)node->byte;
		if (!states[node->depth]) {
			i = node->skip;
			continue;
		}
		uint32_t n_tokens = node[1].first - node->first;
		if (n_tokens > 1 || (n_tokens > 0 && only >= 0))
			return -1;
		only = n_tokens > 0 ? v->all.ids[node->first] : only;
		i++;
	}
	return grammar_failed(g) ? -1 : only;
}
