/* Finishing in time (include/text/grammar.h): a shortest completion, and the tokens that leave room for one.
 *
 * Of the shortest texts the one is meant whose bytes are the least. What is left of it after some bytes is that of the state
 * they lead to, so when its tokens are counted, each the longest one that fits, taking the first of them leaves one less: what
 * could be completed in time once can be until its end. Where every byte is a token the number of bytes bounds that of tokens,
 * which mostly settles it; and where several items are owed that must differ, of which each that comes changes what may follow,
 * each byte of the rest counts for a token, so that no text need be written for each token that could come. */
#include <stdlib.h>
#include <string.h>

#include "text/grammar/grammar_private.h"
#include "text/grammar/shortest.h"
#include "text/grammar/table.h"
#include "text/grammar/vocabulary.h"

enum { MAX_SHORTEST_BYTES = 1 << 16, N_BYTES = 256 };

/* What is known of a state while one mask is made. */
enum verdict { NOT_ASKED, FITS, TOO_LONG };

struct verdicts {
	uint8_t *of; /* [state] */
	size_t n, max;
	bool failed;
};

/* From a state to which the path led from where the text stands. */
static uint32_t bytes_from(struct grammar *g, uint32_t state, const char *path, size_t n_path)
{
	if (!g->shortest)
		g->shortest = shortest_create(&g->network, g->languages);
	uint32_t bytes = g->shortest ? shortest_of(g->shortest, g->matcher, state, path, n_path) : SHORTEST_UNKNOWN;
	g->no_memory |= !g->shortest || shortest_lacks_memory(g->shortest);
	return bytes;
}

/* Does each byte of the rest count for a token? */
static bool counts_bytes(const struct grammar *g, const struct grammar_vocabulary *v, uint32_t state)
{
	return v->has_bytes && matcher_owes(g->matcher, state);
}

/* Appends the shortest text from a state on, as far as its tokens count; what is there is the path to it. How many bytes are
 * left then; UINT32_MAX where that is not found. */
static uint32_t write_shortest(struct grammar *g, const struct grammar_vocabulary *v, uint32_t state, struct bytes *out)
{
	uint32_t left = bytes_from(g, state, out->data, out->n_bytes);
	if (left > MAX_SHORTEST_BYTES)
		return UINT32_MAX;
	while (left > 0 && !counts_bytes(g, v, state)) {
		int byte = 0;
		uint32_t next = 0;
		size_t n_path = out->n_bytes;
		for (; byte < N_BYTES; byte++) {
			next = matcher_step(g->matcher, state, out->data, n_path, (unsigned char)byte);
			char text = (char)byte;
			out->n_bytes = n_path;
			if (next)
				bytes_append(out, &text, 1);
			if (next && bytes_from(g, next, out->data, out->n_bytes) == left - 1)
				break;
		}
		g->no_memory |= out->failed;
		if (byte == N_BYTES || out->failed)
			return UINT32_MAX; /* bounds were met */
		state = next;
		left--;
	}
	return left;
}

static uint32_t tokens_from(struct grammar *g, const struct grammar_vocabulary *v, uint32_t state, const char *path,
                            size_t n_path)
{
	struct bytes text = {0};
	size_t n_bytes = 0;
	bytes_append(&text, path, n_path);
	uint32_t n = write_shortest(g, v, state, &text);
	for (size_t at = n_path; at < text.n_bytes && n != UINT32_MAX; at += n_bytes) {
		int32_t id = grammar_token_at(v, text.data + at, text.n_bytes - at);
		n = grammar_token_bytes(v, id, &n_bytes) ? n + 1 : UINT32_MAX;
	}
	bytes_free(&text);
	return n;
}

static bool fits(struct grammar *g, const struct grammar_vocabulary *v, uint32_t state, const char *path, size_t n_path,
                 uint32_t n_left)
{
	uint32_t bytes = bytes_from(g, state, path, n_path);
	if (bytes == SHORTEST_UNKNOWN)
		return false;
	return (v->has_bytes && bytes <= n_left) || tokens_from(g, v, state, path, n_path) <= n_left;
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

static bool may_end_at(struct grammar *g, const struct grammar_vocabulary *v, uint32_t state, const char *path,
                       size_t n_path, uint32_t n_left, struct verdicts *known)
{
	if (matcher_owes(g->matcher, state)) /* the text before counts, too */
		return fits(g, v, state, path, n_path, n_left);
	if (state >= known->n && !TABLE_RESERVE(known->of, known->n, known->max, state + 1 - known->n)) {
		known->failed = true;
		return false;
	}
	while (known->n <= state)
		known->of[known->n++] = NOT_ASKED;
	if (known->of[state] == NOT_ASKED)
		known->of[state] = fits(g, v, state, path, n_path, n_left) ? FITS : TOO_LONG;
	return known->of[state] == FITS;
}

static void walk(struct grammar *g, const struct grammar_vocabulary *v, uint32_t n_left, struct verdicts *known,
                 uint32_t *mask)
{
	uint32_t states[VOCABULARY_MAX_TOKEN + 1] = {g->state};
	char path[VOCABULARY_MAX_TOKEN + 1];
	const struct token_node *nodes = v->all.nodes;
	for (size_t i = 0; i < v->all.n_nodes && !known->failed;) {
		const struct token_node *node = &nodes[i];
		uint32_t depth = node->depth, state = matcher_step(g->matcher, states[depth - 1], path, depth - 1, node->byte);
		if (!state) {
			i = node->skip;
			continue;
		}
		states[depth] = state;
		path[depth - 1] = (char)node->byte;
		uint32_t first = node->first, last = node[1].first;
		if (first < last && may_end_at(g, v, state, path, depth, n_left, known))
			for (; first < last; first++)
				mask[v->all.ids[first] / 32] |= 1U << v->all.ids[first] % 32;
		i++;
	}
}

bool grammar_mask_within(struct grammar *g, const struct grammar_vocabulary *v, uint32_t n_left, uint32_t *mask,
                         struct error *error)
{
	struct verdicts known = {0};
	uint32_t any = 0;
	languages_refill(g->languages, GRAMMAR_REFILL_STEPS, GRAMMAR_TOKEN_STEPS);
	g->state = matcher_tidy(g->matcher, g->state);
	memset(mask, 0, v->n_words * sizeof *mask);
	walk(g, v, n_left, &known, mask);
	free(known.of);
	if (known.failed)
		return error_set(error, ERROR_MEMORY, "not enough memory for the mask of a constraint");
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
