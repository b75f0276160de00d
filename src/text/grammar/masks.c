/* Masks: which tokens may come, by walks through the tries of a vocabulary (vocabulary.h).
 *
 * Derivations that stand in a JSON string cannot leave it by a plain token, so what those allow depends on the string's
 * language alone: it is known beforehand where any characters may come, else found once and kept. All else is walked.
 */
#include <stdlib.h>
#include <string.h>

#include "text/grammar/grammar_private.h"
#include "text/grammar/matcher_private.h"
#include "text/grammar/vocabulary.h"

static void set_bits(uint32_t *mask, const struct token_trie *trie, uint32_t first, uint32_t last)
{
	for (uint32_t i = first; i < last; i++)
		mask[trie->ids[i] / 32] |= 1U << trie->ids[i] % 32;
}

static void clear_bits(uint32_t *mask, const struct token_trie *trie, uint32_t first, uint32_t last)
{
	for (uint32_t i = first; i < last; i++)
		mask[trie->ids[i] / 32] &= ~(1U << trie->ids[i] % 32);
}

static void join(uint32_t *mask, const uint32_t *other, size_t n_words)
{
	for (size_t i = 0; i < n_words; i++)
		mask[i] |= other[i];
}

/* Where a byte leads, MATCHER_DEAD for nowhere; *table is the state's, made when first needed. The path is what was walked. */
static inline uint32_t step(struct matcher *m, uint32_t state, const uint32_t **table, const char *path, size_t n_path,
                            uint8_t byte)
{
	uint32_t next = *table ? (*table)[byte] : 0;
	if (next)
		return next;
	next = matcher_step(m, state, path, n_path, byte);
	*table = m->states[state].next;
	return next ? next : MATCHER_DEAD;
}

/* Sets the bits of all tokens of a trie that may come. */
static void walk(struct matcher *m, uint32_t state, const struct token_trie *trie, uint32_t *mask)
{
	uint32_t states[VOCABULARY_MAX_TOKEN + 1];
	const uint32_t *tables[VOCABULARY_MAX_TOKEN + 1];
	char path[VOCABULARY_MAX_TOKEN + 1];
	const struct token_node *nodes = trie->nodes;
	size_t n = trie->n_nodes;
	states[0] = state;
	tables[0] = m->states[state].next;
	for (size_t i = 0; i < n;) {
		const struct token_node *node = &nodes[i];
		uint32_t depth = node->depth;
		uint32_t next = step(m, states[depth - 1], &tables[depth - 1], path, depth - 1, node->byte);
		if (next == MATCHER_DEAD) {
			i = node->skip;
			continue;
		}
		path[depth - 1] = (char)node->byte;
		set_bits(mask, trie, node->first, node[1].first);
		states[depth] = next;
		tables[depth] = m->states[next].next;
		i++;
	}
}

/* ---- inside of strings ---- */

/* Are more than half of the plain tokens lost with their first byte? */
static bool is_narrow(struct matcher *m, uint32_t state, const struct token_trie *trie)
{
	const uint32_t *table = m->states[state].next;
	size_t lost = 0;
	for (size_t i = 0; i < trie->n_nodes; i = trie->nodes[i].skip)
		if (step(m, state, &table, NULL, 0, trie->nodes[i].byte) == MATCHER_DEAD)
			lost += trie->nodes[trie->nodes[i].skip].first - trie->nodes[i].first;
	return lost > trie->n_ids / 2;
}

/* Plain tokens that may come in a string, into an empty mask: they are added where few may, or taken from all. Where any
 * characters may come, a subtree is taken as a whole. */
static void walk_inside(const struct grammar_vocabulary *v, struct matcher *m, uint32_t state, uint32_t *mask)
{
	uint32_t states[VOCABULARY_MAX_TOKEN + 1];
	const uint32_t *tables[VOCABULARY_MAX_TOKEN + 1];
	const struct token_trie *trie = &v->plain;
	bool narrow = is_narrow(m, state, trie);
	if (!narrow)
		memcpy(mask, v->slices[v->n_slices - 1].mask, v->n_words * sizeof *mask);
	states[0] = state;
	tables[0] = m->states[state].next;
	for (size_t i = 0; i < trie->n_nodes;) {
		const struct token_node *node = &trie->nodes[i];
		uint32_t depth = node->depth;
		uint32_t next = step(m, states[depth - 1], &tables[depth - 1], NULL, 0, node->byte); /* no item ends there */
		uint32_t end = trie->nodes[node->skip].first;
		if (next == MATCHER_DEAD) {
			if (!narrow)
				clear_bits(mask, trie, node->first, end);
			i = node->skip;
			continue;
		}
		bool all = matcher_freedom(m, next) >= node->rest;
		if (narrow)
			set_bits(mask, trie, node->first, all ? end : node[1].first);
		states[depth] = next;
		tables[depth] = m->states[next].next;
		i = all ? node->skip : i + 1;
	}
}

static const uint32_t *find(const struct known_mask *known, size_t n, uint32_t key, uint64_t age,
                            const struct grammar_vocabulary *v)
{
	for (size_t i = 0; i < n; i++)
		if (known[i].words && known[i].key == key && known[i].vocabulary == v && known[i].age == age)
			return known[i].words;
	return NULL;
}

/* Room for a mask to be kept; NULL without memory: it is made again next time. */
static uint32_t *keep(struct known_mask *known, uint32_t key, uint64_t age, const struct grammar_vocabulary *v)
{
	if (known->n_words != v->n_words) {
		free(known->words);
		known->words = malloc((v->n_words + 1) * sizeof *known->words);
		known->n_words = known->words ? v->n_words : 0;
	}
	known->vocabulary = v;
	known->key = key;
	known->age = age;
	return known->words;
}

/* The slice of tokens that are at most so long, or NULL. */
static const uint32_t *slice_of(const struct grammar_vocabulary *v, uint32_t max_chars)
{
	const uint32_t *mask = NULL;
	for (size_t i = 0; i < v->n_slices && v->slices[i].max_chars <= max_chars; i++)
		mask = v->slices[i].mask;
	return mask;
}

/* Adds the plain tokens that may come in a string, by its language. */
static void add_inside(struct grammar *g, const struct grammar_vocabulary *v, uint32_t edge, uint32_t language,
                       uint32_t *mask)
{
	uint32_t max = LANGUAGE_NO_MAX, class = language_run(g->languages, language, &max);
	const uint32_t *slice = slice_of(v, max);
	if (v->n_slices == 0 || !slice)
		return; /* no token is so short */
	if (class == LANGUAGE_ANY || language_freedom(g->languages, language) >= v->slices[v->n_slices - 1].max_chars) {
		join(mask, slice, v->n_words);
		return;
	}
	/* Of runs of one class all lengths are found at once. */
	uint32_t key = class ? language_repeat(g->languages, class, 0, LANGUAGE_NO_MAX) : language;
	const uint32_t *inside = find(g->insides, GRAMMAR_INSIDES, key, 0, v);
	if (!inside) {
		uint32_t *made = keep(&g->insides[g->next_inside++ % GRAMMAR_INSIDES], key, 0, v);
		uint32_t state = matcher_inside(g->matcher, edge, made ? key : language);
		if (!made || !state) {
			walk(g->matcher, state, &v->plain, mask);
			return;
		}
		memset(made, 0, v->n_words * sizeof *made);
		walk_inside(v, g->matcher, state, made);
		inside = made;
	}
	for (size_t i = 0; i < v->n_words; i++)
		mask[i] |= inside[i] & slice[i];
}

/* ---- all of a mask ---- */

static void make_mask(struct grammar *g, const struct grammar_vocabulary *v, uint32_t *mask)
{
	struct matcher *m = g->matcher;
	const struct match_state state = m->states[g->state];
	memset(mask, 0, v->n_words * sizeof *mask);
	uint32_t in_strings = 0;
	for (uint32_t i = 0; i < state.n_places; i++) {
		struct place place = m->places[state.first_place + i];
		if (!place_is_in_string(m, &place))
			continue;
		add_inside(g, v, place.at, place.language, mask);
		in_strings++;
	}
	if (in_strings == 0) {
		walk(m, g->state, &v->all, mask);
	} else {
		uint32_t outside = in_strings < state.n_places ? matcher_outside(m, g->state) : 0;
		if (outside)
			walk(m, outside, &v->plain, mask);
		walk(m, g->state, &v->others, mask);
	}
	if (state.accepts)
		for (int i = 0; i < v->n_ends; i++)
			mask[v->ends[i] / 32] |= 1U << v->ends[i] % 32;
}

bool grammar_mask(struct grammar *g, const struct grammar_vocabulary *v, uint32_t *mask, struct error *error)
{
	bool knows = !matcher_reads_back(g->matcher, g->state);
	const uint32_t *known = knows ? find(g->masks, GRAMMAR_MASKS, g->state, matcher_age(g->matcher), v) : NULL;
	if (known) {
		memcpy(mask, known, v->n_words * sizeof *mask);
		return true;
	}
	languages_refill(g->languages, GRAMMAR_REFILL_STEPS, GRAMMAR_TOKEN_STEPS);
	g->state = matcher_tidy(g->matcher, g->state);
	matcher_put_off(g->matcher, true);
	make_mask(g, v, mask);
	matcher_put_off(g->matcher, false);
	if (grammar_failed(g))
		return grammar_set_failure(g, error);
	uint32_t any = 0;
	for (size_t i = 0; i < v->n_words; i++)
		any |= mask[i];
	if (!any && !grammar_complete(g))
		return error_set(error, ERROR_INFERENCE,
		                 "no token of the vocabulary can follow what the constraint has accepted");
	uint32_t *kept =
	    knows ? keep(&g->masks[g->next_mask++ % GRAMMAR_MASKS], g->state, matcher_age(g->matcher), v) : NULL;
	if (kept)
		memcpy(kept, mask, v->n_words * sizeof *mask);
	return true;
}
