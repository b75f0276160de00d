#include "text/grammar/vocabulary.h"

#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "text/grammar/language.h"
#include "text/grammar/table.h"
#include "text/tokenizer_private.h"

/* A token while the tries are made. */
struct entry {
	const char *text;
	uint32_t n_bytes;
	int32_t id;
	uint32_t n_chars; /* of a plain one; 0 */
};

static bool read_texts(struct grammar_vocabulary *v, const struct tokenizer *tokenizer, struct error *error)
{
	bool ok = true;
	for (size_t id = 0; id < v->n_ids && ok; id++) {
		size_t n_bytes;
		const char *text = tokenizer_token_text(tokenizer, (int32_t)id, &n_bytes);
		v->starts[id] = (uint32_t)v->texts.n_bytes;
		if (text && !tokenizer_is_special(tokenizer, (int32_t)id))
			ok = decoder_token_bytes(&tokenizer->parts.decoder, text, n_bytes, &v->texts, error);
	}
	v->starts[v->n_ids] = (uint32_t)v->texts.n_bytes;
	if (ok && (v->texts.failed || v->texts.n_bytes > UINT32_MAX))
		ok = error_set(error, ERROR_MEMORY, "not enough memory for the bytes of %zu tokens", v->n_ids);
	return ok;
}

const char *grammar_token_bytes(const struct grammar_vocabulary *v, int32_t id, size_t *n_bytes)
{
	if (id < 0 || (size_t)id >= v->n_ids || v->starts[id] == v->starts[id + 1])
		return NULL;
	*n_bytes = v->starts[id + 1] - v->starts[id];
	return v->texts.data + v->starts[id];
}

/* Characters of a text that a JSON string holds as it is; 0 when it is none. */
static uint32_t plain_chars(const char *text, size_t n_bytes)
{
	uint32_t n = 0;
	for (size_t i = 0; i < n_bytes; n++) {
		unsigned char byte = (unsigned char)text[i];
		int length = utf8_length((const unsigned char *)text + i, n_bytes - i);
		if (length == 0 || byte < 0x20 || byte == '"' || byte == '\\')
			return 0;
		i += (size_t)length;
	}
	return n;
}

static int by_text(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;
	int order = memcmp(x->text, y->text, x->n_bytes < y->n_bytes ? x->n_bytes : y->n_bytes);
	if (order == 0 && x->n_bytes != y->n_bytes)
		return x->n_bytes < y->n_bytes ? -1 : 1;
	return order ? order : (x->id > y->id) - (x->id < y->id);
}

/* Tokens with bytes, sorted. */
static struct entry *sorted_entries(const struct grammar_vocabulary *v, size_t *n_entries)
{
	struct entry *entries = malloc((v->n_ids + 1) * sizeof *entries);
	size_t n = 0;
	for (size_t id = 0; entries && id < v->n_ids; id++) {
		size_t n_bytes;
		const char *text = grammar_token_bytes(v, (int32_t)id, &n_bytes);
		if (text && n_bytes <= VOCABULARY_MAX_TOKEN)
			entries[n++] = (struct entry){text, (uint32_t)n_bytes, (int32_t)id, plain_chars(text, n_bytes)};
	}
	if (!entries)
		return NULL;
	qsort(entries, n, sizeof *entries, by_text);
	*n_entries = n;
	return entries;
}

/* ---- tries ---- */

enum { ALL_TOKENS, PLAIN_TOKENS, OTHER_TOKENS };

/* A trie that is being made. */
struct making {
	struct token_trie *trie;
	uint32_t open[VOCABULARY_MAX_TOKEN]; /* [depth - 1] the node on the way to the last token */
	uint32_t n_open;
};

static void close_to(struct making *making, uint32_t depth)
{
	while (making->n_open > depth)
		making->trie->nodes[making->open[--making->n_open]].skip = (uint32_t)making->trie->n_nodes;
}

static bool is_continuation(char byte)
{
	return ((uint8_t)byte & 0xC0) == 0x80;
}

/* Behind the bytes that it shares with the token before. */
static bool add_token(struct making *making, const struct entry *entry, uint32_t shared)
{
	struct token_trie *trie = making->trie;
	close_to(making, shared);
	if (!TABLE_RESERVE(trie->nodes, trie->n_nodes, trie->max_nodes, entry->n_bytes + 1))
		return false;
	for (; making->n_open < entry->n_bytes; making->n_open++) {
		making->open[making->n_open] = (uint32_t)trie->n_nodes;
		trie->nodes[trie->n_nodes++] = (struct token_node){.first = (uint32_t)trie->n_ids,
		                                                   .depth = (uint16_t)(making->n_open + 1),
		                                                   .byte = (uint8_t)entry->text[making->n_open]};
	}
	trie->ids[trie->n_ids++] = entry->id;
	uint16_t rest = 0; /* characters are counted where they begin */
	for (uint32_t i = entry->n_bytes; i-- > 0;) {
		struct token_node *node = &trie->nodes[making->open[i]];
		bool amid = i + 1 < entry->n_bytes && is_continuation(entry->text[i + 1]);
		node->rest = amid ? UINT16_MAX : node->rest > rest ? node->rest : rest;
		rest = (uint16_t)(rest + !is_continuation(entry->text[i]));
	}
	return true;
}

static bool make_trie(struct token_trie *trie, const struct entry *entries, size_t n_entries, int which)
{
	struct making making = {.trie = trie};
	const struct entry *last = NULL;
	trie->ids = malloc((n_entries + 1) * sizeof *trie->ids);
	if (!trie->ids || !TABLE_RESERVE(trie->nodes, trie->n_nodes, trie->max_nodes, 1))
		return false;
	for (size_t i = 0; i < n_entries; i++) {
		const struct entry *entry = &entries[i];
		if (which != ALL_TOKENS && (entry->n_chars > 0) != (which == PLAIN_TOKENS))
			continue;
		uint32_t shared = 0;
		while (last && shared < making.n_open && shared < entry->n_bytes && entry->text[shared] == last->text[shared])
			shared++;
		if (!add_token(&making, entry, shared))
			return false;
		last = entry;
	}
	close_to(&making, 0);
	trie->nodes[trie->n_nodes] = (struct token_node){.first = (uint32_t)trie->n_ids};
	return true;
}

/* ---- slices ---- */

/* One for each length that plain tokens have; those longer than the last are plain no more. */
static bool make_slices(struct grammar_vocabulary *v, struct entry *entries, size_t n_entries)
{
	bool seen[VOCABULARY_MAX_TOKEN + 1] = {false};
	for (size_t i = 0; i < n_entries; i++)
		seen[entries[i].n_chars] = true;
	for (uint32_t n = 1; n <= VOCABULARY_MAX_TOKEN && v->n_slices < VOCABULARY_SLICES; n++) {
		if (!seen[n])
			continue;
		struct slice *slice = &v->slices[v->n_slices];
		slice->max_chars = n;
		slice->mask = calloc(v->n_words, sizeof *slice->mask);
		if (!slice->mask)
			return false;
		if (v->n_slices++ > 0)
			memcpy(slice->mask, slice[-1].mask, v->n_words * sizeof *slice->mask);
		for (size_t i = 0; i < n_entries; i++)
			if (entries[i].n_chars == n)
				slice->mask[entries[i].id / 32] |= 1U << entries[i].id % 32;
	}
	uint32_t most = v->n_slices ? v->slices[v->n_slices - 1].max_chars : 0;
	for (size_t i = 0; i < n_entries; i++)
		entries[i].n_chars = entries[i].n_chars > most ? 0 : entries[i].n_chars;
	return true;
}

static void find_roots(struct grammar_vocabulary *v)
{
	for (int byte = 0; byte < 256; byte++)
		v->roots[byte] = (uint32_t)v->all.n_nodes;
	for (uint32_t i = 0; i < v->all.n_nodes; i = v->all.nodes[i].skip)
		v->roots[v->all.nodes[i].byte] = i;
}

static bool make_tries(struct grammar_vocabulary *v)
{
	size_t n_entries = 0;
	struct entry *entries = sorted_entries(v, &n_entries);
	bool ok = entries && make_slices(v, entries, n_entries) && make_trie(&v->all, entries, n_entries, ALL_TOKENS) &&
	          make_trie(&v->plain, entries, n_entries, PLAIN_TOKENS) &&
	          make_trie(&v->others, entries, n_entries, OTHER_TOKENS);
	free(entries);
	if (ok)
		find_roots(v);
	return ok;
}

static bool has_all_bytes(const struct grammar_vocabulary *v)
{
	for (int byte = 0; byte < 256; byte++) {
		char text = (char)byte;
		if (grammar_token_at(v, &text, 1) < 0)
			return false;
	}
	return true;
}

struct grammar_vocabulary *grammar_vocabulary_create(const struct tokenizer *tokenizer, struct error *error)
{
	struct grammar_vocabulary *v = calloc(1, sizeof *v);
	if (v) {
		v->tokenizer = tokenizer;
		v->n_ids = (size_t)tokenizer_vocab_size(tokenizer);
		v->n_words = (v->n_ids + 31) / 32;
		v->starts = calloc(v->n_ids + 1, sizeof *v->starts);
	}
	bool memory = v && v->starts;
	bool ok = memory && read_texts(v, tokenizer, error);
	if (ok) {
		const int32_t *ends = tokenizer_end_ids(tokenizer, &v->n_ends);
		memcpy(v->ends, ends, (size_t)v->n_ends * sizeof *ends);
		memory = make_tries(v);
	}
	if (!memory)
		ok = error_set(error, ERROR_MEMORY, "not enough memory for the bytes of a vocabulary");
	else if (ok)
		v->has_bytes = has_all_bytes(v);
	if (ok)
		return v;
	grammar_vocabulary_destroy(v);
	return NULL;
}

static void free_trie(struct token_trie *trie)
{
	free(trie->nodes);
	free(trie->ids);
}

void grammar_vocabulary_destroy(struct grammar_vocabulary *v)
{
	if (!v)
		return;
	for (size_t i = 0; i < v->n_slices; i++)
		free(v->slices[i].mask);
	free_trie(&v->all);
	free_trie(&v->plain);
	free_trie(&v->others);
	free(v->starts);
	bytes_free(&v->texts);
	free(v);
}

static size_t trie_bytes(const struct token_trie *trie)
{
	return trie->max_nodes * sizeof *trie->nodes + trie->n_ids * sizeof *trie->ids;
}

size_t grammar_vocabulary_bytes(const struct grammar_vocabulary *v)
{
	return sizeof *v + v->n_ids * sizeof *v->starts + v->texts.capacity + trie_bytes(&v->all) + trie_bytes(&v->plain) +
	       trie_bytes(&v->others) + v->n_slices * v->n_words * sizeof(uint32_t);
}

size_t grammar_mask_words(const struct grammar_vocabulary *v)
{
	return v->n_words;
}

int32_t grammar_token_at(const struct grammar_vocabulary *v, const char *text, size_t n_bytes)
{
	const struct token_node *nodes = v->all.nodes;
	int32_t best = -1;
	size_t depth = 0;
	for (size_t i = 0; i < v->all.n_nodes && depth < n_bytes;) {
		if (nodes[i].depth <= depth)
			break; /* out of the subtree */
		if (nodes[i].byte != (uint8_t)text[depth]) {
			i = nodes[i].skip;
			continue;
		}
		best = nodes[i + 1].first > nodes[i].first ? v->all.ids[nodes[i].first] : best;
		depth++;
		i++;
	}
	return best;
}
