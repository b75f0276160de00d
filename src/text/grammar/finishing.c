/* Finishing in time (include/text/grammar.h): a shortest completion, and the tokens that leave room for one.
 *
 * Of the shortest texts the one is meant whose bytes are the least. What is left of it after some bytes is that of the state
 * they lead to, so when its tokens are counted, each the longest one that fits, taking the first of them leaves one less: what
 * could be completed in time once can be until its end. And what was found of a state is kept with it (match_rest): the
 * rests of most states that tokens lead to soon meet in one, of which each byte is looked for once. Where every byte is a
 * token the number of bytes bounds that of tokens, which mostly settles it; and where several items are owed that must differ,
 * of which each that comes changes what may follow, each byte of the rest counts for a token, so that no text need be written
 * for each token that could come. Of those states nothing is kept: the text before counts, too. */
#include <string.h>

#include "text/grammar/grammar_private.h"
#include "text/grammar/matcher_private.h"
#include "text/grammar/shortest.h"
#include "text/grammar/vocabulary.h"

enum { MAX_SHORTEST_BYTES = 1 << 16, N_BYTES = 256 };

/* What is known of a state, until the next step; NULL where the text before counts, too. */
static struct match_rest *rest_of(const struct grammar *g, uint32_t state)
{
	return matcher_owes(g->matcher, state) ? NULL : &g->matcher->states[state].rest;
}

/* From a state to which the path led from where the text stands. */
static uint32_t bytes_from(struct grammar *g, uint32_t state, const char *path, size_t n_path)
{
	struct match_rest *rest = rest_of(g, state);
	if (rest && rest->measured)
		return rest->n_bytes;
	if (!g->shortest)
		g->shortest = shortest_create(&g->network, g->languages);
	uint32_t bytes = g->shortest ? shortest_of(g->shortest, g->matcher, state, path, n_path) : SHORTEST_UNKNOWN;
	g->no_memory |= !g->shortest || shortest_lacks_memory(g->shortest);
	if (rest) {
		rest->n_bytes = bytes;
		rest->measured = true;
	}
	return bytes;
}

/* Does each byte of the rest count for a token? */
static bool counts_bytes(const struct grammar *g, const struct grammar_vocabulary *v, uint32_t state)
{
	return v->has_bytes && matcher_owes(g->matcher, state);
}

/* Nothing is left that longest tokens must be found for. */
static bool is_end(const struct grammar *g, const struct grammar_vocabulary *v, uint32_t state)
{
	return matcher_accepts(g->matcher, state) || counts_bytes(g, v, state);
}

/* ---- shortest texts ---- */

static bool append(struct grammar *g, struct bytes *text, int byte)
{
	char c = (char)byte;
	bytes_append(text, &c, 1);
	g->no_memory |= text->failed;
	return !text->failed;
}

/* Looks for the first byte of the shortest text from a state on, by which one less is left, and appends it; what is there
 * is the path to the state. Where it leads; 0: bounds were met. */
static uint32_t find_byte(struct grammar *g, uint32_t state, struct bytes *text)
{
	uint32_t left = bytes_from(g, state, text->data, text->n_bytes);
	size_t n_path = text->n_bytes;
	g->n_found++;
	for (int byte = 0; byte < N_BYTES; byte++) {
		uint32_t next = matcher_look(g->matcher, state, text->data, n_path, (unsigned char)byte);
		if (!next)
			continue;
		if (!append(g, text, byte))
			return 0;
		if (bytes_from(g, next, text->data, text->n_bytes) == left - 1) {
			struct match_rest *rest = rest_of(g, state);
			if (rest) {
				rest->next = next;
				rest->byte = (uint8_t)byte;
			}
			return next;
		}
		text->n_bytes = n_path;
	}
	return 0;
}

static uint32_t write_byte(struct grammar *g, uint32_t state, struct bytes *text)
{
	const struct match_rest *rest = rest_of(g, state);
	if (!rest || !rest->next)
		return find_byte(g, state, text);
	return append(g, text, rest->byte) ? rest->next : 0;
}

/* Appends the longest token that the shortest text from a state begins with. Where it leads; 0: there is none, or bounds were
 * met. */
static uint32_t write_token(struct grammar *g, const struct grammar_vocabulary *v, uint32_t state, struct bytes *text)
{
	const struct token_node *nodes = v->all.nodes;
	size_t end = text->n_bytes, i = 0;
	uint32_t behind = 0;
	for (uint32_t depth = 0; nodes[i].depth > depth && !is_end(g, v, state);) {
		state = write_byte(g, state, text);
		if (!state)
			return 0;
		depth++;
		while (nodes[i].depth == depth && nodes[i].byte != (uint8_t)text->data[text->n_bytes - 1])
			i = nodes[i].skip;
		if (nodes[i].depth != depth)
			break; /* no token goes on so */
		if (nodes[i + 1].first > nodes[i].first) {
			behind = state;
			end = text->n_bytes;
		}
		i++;
	}
	text->n_bytes = end;
	return behind;
}

/* ---- tokens of them ---- */

/* Is it known how many tokens are left? UINT32_MAX: they cannot be written in tokens. */
static bool is_counted(struct grammar *g, const struct grammar_vocabulary *v, uint32_t state, const char *path,
                       size_t n_path, uint32_t *n_tokens)
{
	const struct match_rest *rest = rest_of(g, state);
	bool counted = rest && rest->counted_in == v, end = is_end(g, v, state);
	*n_tokens = counted ? rest->n_tokens : end ? bytes_from(g, state, path, n_path) : UINT32_MAX;
	return counted || end;
}

/* Counts as far as it is not known, and keeps that of each state between two tokens. */
static uint32_t count_tokens(struct grammar *g, const struct grammar_vocabulary *v, uint32_t first, struct bytes *text)
{
	size_t n_path = text->n_bytes;
	uint32_t n = 0, known = UINT32_MAX, state = first;
	for (; state && !is_counted(g, v, state, text->data, text->n_bytes, &known); n++)
		state = write_token(g, v, state, text);
	uint32_t all = known == UINT32_MAX ? UINT32_MAX : known + n, left = all;
	text->n_bytes = n_path;
	for (state = first; n > 0 && state; n--) {
		struct match_rest *rest = rest_of(g, state);
		if (rest) {
			rest->n_tokens = left;
			rest->counted_in = v;
		}
		left -= left != UINT32_MAX;
		state = write_token(g, v, state, text);
	}
	return all;
}

static uint32_t tokens_from(struct grammar *g, const struct grammar_vocabulary *v, uint32_t state, const char *path,
                            size_t n_path)
{
	uint32_t n = UINT32_MAX;
	if (bytes_from(g, state, path, n_path) > MAX_SHORTEST_BYTES || is_counted(g, v, state, path, n_path, &n))
		return n;
	struct bytes text = {0};
	bytes_append(&text, path, n_path);
	g->no_memory |= text.failed;
	n = text.failed ? UINT32_MAX : count_tokens(g, v, state, &text);
	bytes_free(&text);
	return n;
}

static bool fits(struct grammar *g, const struct grammar_vocabulary *v, uint32_t state, const char *path, size_t n_path,
                 uint32_t n_left)
{
	uint32_t bytes = bytes_from(g, state, path, n_path);
	if (bytes == SHORTEST_UNKNOWN)
		return false;
	if ((v->has_bytes && bytes <= n_left) || counts_bytes(g, v, state))
		return bytes <= n_left;
	return tokens_from(g, v, state, path, n_path) <= n_left;
}

uint32_t grammar_tokens_left(struct grammar *g, const struct grammar_vocabulary *v)
{
	languages_refill(g->languages, GRAMMAR_REFILL_STEPS, GRAMMAR_TOKEN_STEPS);
	return tokens_from(g, v, g->state, NULL, 0);
}

uint32_t grammar_bytes_left(struct grammar *g, const struct grammar_vocabulary *v)
{
	languages_refill(g->languages, GRAMMAR_REFILL_STEPS, GRAMMAR_TOKEN_STEPS);
	return v->has_bytes ? bytes_from(g, g->state, NULL, 0) : UINT32_MAX;
}

bool grammar_token_within(struct grammar *g, const struct grammar_vocabulary *v, int32_t id, uint32_t n_left)
{
	size_t n_bytes;
	const char *text = grammar_token_bytes(v, id, &n_bytes);
	return text && grammar_text_within(g, v, text, n_bytes, n_left);
}

bool grammar_text_within(struct grammar *g, const struct grammar_vocabulary *v, const char *text, size_t n_bytes,
                         uint32_t n_left)
{
	uint32_t state = grammar_follow(g, text, n_bytes);
	return state && fits(g, v, state, text, n_bytes, n_left);
}

/* ---- masks ---- */

static void walk(struct grammar *g, const struct grammar_vocabulary *v, uint32_t n_left, uint32_t *mask)
{
	uint32_t states[VOCABULARY_MAX_TOKEN + 1] = {g->state};
	char path[VOCABULARY_MAX_TOKEN + 1];
	const struct token_node *nodes = v->all.nodes;
	for (size_t i = 0; i < v->all.n_nodes;) {
		const struct token_node *node = &nodes[i];
		uint32_t depth = node->depth, state = matcher_step(g->matcher, states[depth - 1], path, depth - 1, node->byte);
		if (!state) {
			i = node->skip;
			continue;
		}
		states[depth] = state;
		path[depth - 1] = (char)node->byte;
		uint32_t first = node->first, last = node[1].first;
		if (first < last && fits(g, v, state, path, depth, n_left))
			for (; first < last; first++)
				mask[v->all.ids[first] / 32] |= 1U << v->all.ids[first] % 32;
		i++;
	}
}

bool grammar_mask_within(struct grammar *g, const struct grammar_vocabulary *v, uint32_t n_left, uint32_t *mask,
                         struct error *error)
{
	uint32_t any = 0;
	languages_refill(g->languages, GRAMMAR_REFILL_STEPS, GRAMMAR_TOKEN_STEPS);
	g->state = matcher_tidy(g->matcher, g->state);
	memset(mask, 0, v->n_words * sizeof *mask);
	walk(g, v, n_left, mask);
	if (grammar_failed(g))
		return grammar_set_failure(g, error);
	if (grammar_complete(g))
		for (int i = 0; i < v->n_ends; i++)
			mask[v->ends[i] / 32] |= 1U << v->ends[i] % 32;
	for (size_t i = 0; i < v->n_words; i++)
		any |= mask[i];
	return any || grammar_complete(g) ||
	       error_set(error, ERROR_INFERENCE, "the constraint can no longer be completed in %u tokens", n_left + 1);
}
