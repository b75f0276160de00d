/* Tokens that must come (include/text/grammar.h).
 *
 * A text without a choice can still be spelt in many tokens, and a model that has to write it cuts it in odd ways ("s",
 * "enti", "ment"), after which it is in no text that it knows. So what must come is cut as the tokenizer itself would. A
 * token may reach beyond the end of what must come, though: then those before it are the ones of the text up to where it
 * begins. The first is known if it is the same for each place where such a token can begin. (A merge never crosses a border
 * that stays, so what lies before or behind a border is cut as if it stood alone; but words are cut before, so the last
 * token is looked at, too.)
 */
#include <string.h>

#include "text/grammar/grammar_private.h"
#include "text/grammar/vocabulary.h"
#include "text/tokenizer.h"
#include "text/unicode.h"

enum { FORCED_BYTES = 48 }; /* as far as is looked */

/* What must come next. */
struct forced {
	char bytes[FORCED_BYTES + VOCABULARY_MAX_TOKEN]; /* [n], and room for what follows */
	uint32_t n;
	uint32_t states[FORCED_BYTES + 1]; /* [n + 1] before each byte, and behind them */
};

/* The only byte that may come; -1 where there are others, or none must, or a lexeme may say more than is looked at. */
static int only_byte(const struct grammar *g, uint32_t state)
{
	size_t n_places;
	const struct place *places = matcher_places(g->matcher, state, &n_places);
	int byte = -1;
	if (matcher_accepts(g->matcher, state))
		return -1;
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

static void read_forced(struct grammar *g, struct forced *out)
{
	out->n = 0;
	out->states[0] = g->state;
	while (out->n < FORCED_BYTES) {
		uint32_t state = out->states[out->n];
		int byte = only_byte(g, state);
		uint32_t next = byte < 0 ? 0 : matcher_step(g->matcher, state, out->bytes, out->n, (unsigned char)byte);
		if (!next)
			return;
		out->bytes[out->n++] = (char)byte;
		out->states[out->n] = next;
	}
}

/* ---- the tokenizer's cut ---- */

/* The node behind a text's bytes; SIZE_MAX where no token begins with them. */
static size_t find_node(const struct grammar_vocabulary *v, const char *text, size_t n_bytes)
{
	const struct token_node *nodes = v->all.nodes;
	size_t node = v->roots[(unsigned char)text[0]], end = v->all.n_nodes;
	for (size_t depth = 1; depth < n_bytes && node < end; depth++) {
		end = nodes[node++].skip;
		while (node < end && nodes[node].byte != (unsigned char)text[depth])
			node = nodes[node].skip;
	}
	return node < end ? node : SIZE_MAX;
}

/* May a token come that begins at `start` and ends beyond what must come? */
static bool reaches_beyond(struct grammar *g, const struct grammar_vocabulary *v, struct forced *forced, uint32_t start)
{
	const struct token_node *nodes = v->all.nodes;
	uint32_t states[VOCABULARY_MAX_TOKEN + 1], n_inside = forced->n - start;
	size_t node = find_node(v, forced->bytes + start, n_inside);
	size_t end = node == SIZE_MAX ? 0 : nodes[node].skip;
	states[n_inside] = forced->states[forced->n];
	for (size_t i = node + 1; i < end;) {
		uint32_t depth = nodes[i].depth, n_path = start + depth - 1;
		states[depth] = matcher_step(g->matcher, states[depth - 1], forced->bytes, n_path, nodes[i].byte);
		forced->bytes[n_path] = (char)nodes[i].byte;
		if (states[depth] && nodes[i + 1].first > nodes[i].first)
			return true;
		i = states[depth] ? i + 1 : nodes[i].skip;
	}
	return false;
}

/* The first token of the tokenizer's behind n_before bytes of a text; -1 where it cuts elsewhere, or spells otherwise. */
static int32_t token_behind(const struct grammar_vocabulary *v, const char *text, size_t n_bytes, size_t n_before)
{
	struct token_ids ids = {0};
	struct error ignored = {0};
	size_t n_token = 0, at = 0, i = 0;
	bool cut = tokenizer_encode(v->tokenizer, text, n_bytes, TOKENIZER_CONTINUES, &ids, &ignored);
	while (cut && i < ids.n_ids && at < n_before && grammar_token_bytes(v, ids.ids[i], &n_token)) {
		at += n_token;
		i++;
	}
	int32_t found = cut && at == n_before && i < ids.n_ids ? ids.ids[i] : -1;
	token_ids_free(&ids);
	const char *token = grammar_token_bytes(v, found, &n_token);
	return token && n_token <= n_bytes - at && memcmp(token, text + at, n_token) == 0 ? found : -1;
}

/* The first of n_bytes that must come, behind the token before them; where that leaves no border there, as if they stood
 * alone. */
static int32_t first_token(const struct grammar *g, const struct grammar_vocabulary *v, const struct forced *forced,
                           size_t n_bytes)
{
	char text[VOCABULARY_MAX_TOKEN + FORCED_BYTES];
	size_t n_before = 0;
	const char *before = grammar_token_bytes(v, g->last_token, &n_before);
	int32_t token = -1;
	if (before && n_before <= VOCABULARY_MAX_TOKEN) {
		memcpy(text, before, n_before);
		memcpy(text + n_before, forced->bytes, n_bytes);
		token = token_behind(v, text, n_before + n_bytes, n_before);
	}
	return token >= 0 ? token : token_behind(v, forced->bytes, n_bytes, 0);
}

/* The one that the tokenizer cuts, whatever comes after what must; -1: it depends. */
static int32_t natural_token(struct grammar *g, const struct grammar_vocabulary *v, struct forced *forced)
{
	forced->n = (uint32_t)unicode_valid_prefix(forced->bytes, forced->n);
	int32_t token = forced->n > 0 ? first_token(g, v, forced, forced->n) : -1;
	for (uint32_t start = 0; start < forced->n && token >= 0; start++)
		if (reaches_beyond(g, v, forced, start) && (start == 0 || first_token(g, v, forced, start) != token))
			return -1;
	return token;
}

/* ---- all that may come ---- */

/* The one token that may come and begins with a byte; -1: there are more, or none. */
static int32_t only_token(struct grammar *g, const struct grammar_vocabulary *v, int byte)
{
	uint32_t states[VOCABULARY_MAX_TOKEN + 1] = {g->state};
	char path[VOCABULARY_MAX_TOKEN + 1];
	const struct token_node *nodes = v->all.nodes;
	size_t root = v->roots[byte], end = root < v->all.n_nodes ? nodes[root].skip : root;
	int32_t only = -1;
	for (size_t i = root; i < end;) {
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
	return only;
}

int32_t grammar_forced_token(struct grammar *g, const struct grammar_vocabulary *v)
{
	int byte = only_byte(g, g->state);
	if (byte < 0)
		return -1;
	struct forced forced = {.n = 0};
	languages_refill(g->languages, GRAMMAR_REFILL_STEPS, GRAMMAR_TOKEN_STEPS);
	read_forced(g, &forced);
	int32_t token = natural_token(g, v, &forced);
	token = token < 0 ? only_token(g, v, byte) : token;
	return grammar_failed(g) ? -1 : token;
}
