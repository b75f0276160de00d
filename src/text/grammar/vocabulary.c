#include "text/grammar/vocabulary.h"

#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "text/grammar/language.h"
#include "text/grammar/table.h"
#include "text/tokenizer_private.h"

static const uint32_t slice_chars[VOCABULARY_SLICES] = {8, 32, LANGUAGE_NO_MAX};

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

/* Tokens with bytes, sorted; of those with the same ones the first, with the others chained behind it. */
static struct entry *sorted_entries(struct grammar_vocabulary *v, size_t *n_entries)
{
	struct entry *entries = malloc((v->n_ids + 1) * sizeof *entries);
	size_t n = 0, kept = 0;
	for (size_t id = 0; entries && id < v->n_ids; id++) {
		size_t n_bytes;
		const char *text = grammar_token_bytes(v, (int32_t)id, &n_bytes);
		v->same[id] = -1;
		if (text && n_bytes <= VOCABULARY_MAX_TOKEN)
			entries[n++] = (struct entry){text, (uint32_t)n_bytes, (int32_t)id, plain_chars(text, n_bytes)};
	}
	if (!entries)
		return NULL;
	qsort(entries, n, sizeof *entries, by_text);
	for (size_t i = 0; i < n; i++) {
		if (kept && entries[kept - 1].n_bytes == entries[i].n_bytes &&
		    memcmp(entries[kept - 1].text, entries[i].text, entries[i].n_bytes) == 0) {
			v->same[entries[i].id] = v->same[entries[kept - 1].id];
			v->same[entries[kept - 1].id] = entries[i].id;
		} else {
			entries[kept++] = entries[i];
		}
	}
	*n_entries = kept;
	return entries;
}

/* Plain tokens of up to `without` characters are left out (0: none). */
static bool make_trie(struct token_trie *trie, const struct entry *entries, size_t n_entries, uint32_t without)
{
	uint32_t open[VOCABULARY_MAX_TOKEN]; /* [depth - 1] the node on the way to the last token */
	uint32_t n_open = 0;
	const char *last = NULL;
	for (size_t i = 0; i < n_entries; i++) {
		const struct entry *entry = &entries[i];
		if (entry->n_chars > 0 && entry->n_chars <= without)
			continue;
		uint32_t shared = 0;
		while (shared < n_open && shared < entry->n_bytes && entry->text[shared] == last[shared])
			shared++;
		while (n_open > shared)
			trie->nodes[open[--n_open]].skip = (uint32_t)trie->n_nodes;
		if (!TABLE_RESERVE(trie->nodes, trie->n_nodes, trie->max_nodes, entry->n_bytes))
			return false;
		for (; n_open < entry->n_bytes; n_open++) {
			open[n_open] = (uint32_t)trie->n_nodes;
			trie->nodes[trie->n_nodes++] =
			    (struct token_node){0, -1, (uint16_t)(n_open + 1), (uint8_t)entry->text[n_open]};
		}
		if (n_open > 0)
			trie->nodes[open[n_open - 1]].token = entry->id;
		last = entry->text;
	}
	while (n_open > 0)
		trie->nodes[open[--n_open]].skip = (uint32_t)trie->n_nodes;
	return true;
}

static bool make_slice(struct grammar_vocabulary *v, struct slice *slice, uint32_t max_chars,
                       const struct entry *entries, size_t n_entries)
{
	slice->max_chars = max_chars;
	slice->mask = calloc(v->n_words, sizeof *slice->mask);
	for (size_t i = 0; slice->mask && i < n_entries; i++)
		if (entries[i].n_chars > 0 && entries[i].n_chars <= max_chars)
			for (int32_t id = entries[i].id; id >= 0; id = v->same[id])
				slice->mask[id / 32] |= 1U << id % 32;
	return slice->mask && make_trie(&slice->others, entries, n_entries, max_chars);
}

static bool make_tries(struct grammar_vocabulary *v)
{
	size_t n_entries = 0;
	struct entry *entries = sorted_entries(v, &n_entries);
	bool ok = entries && make_trie(&v->all, entries, n_entries, 0);
	for (int i = 0; i < VOCABULARY_SLICES && ok; i++)
		ok = make_slice(v, &v->slices[i], slice_chars[i], entries, n_entries);
	free(entries);
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
		v->n_ids = (size_t)tokenizer_vocab_size(tokenizer);
		v->n_words = (v->n_ids + 31) / 32;
		v->starts = calloc(v->n_ids + 1, sizeof *v->starts);
		v->same = calloc(v->n_ids + 1, sizeof *v->same);
	}
	bool memory = v && v->starts && v->same;
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

void grammar_vocabulary_destroy(struct grammar_vocabulary *v)
{
	if (!v)
		return;
	for (int i = 0; i < VOCABULARY_SLICES; i++) {
		free(v->slices[i].mask);
		free(v->slices[i].others.nodes);
	}
	free(v->all.nodes);
	free(v->starts);
	free(v->same);
	bytes_free(&v->texts);
	free(v);
}

size_t grammar_vocabulary_bytes(const struct grammar_vocabulary *v)
{
	size_t bytes = sizeof *v + v->n_ids * (sizeof *v->starts + sizeof *v->same) + v->texts.capacity +
	               v->all.max_nodes * sizeof *v->all.nodes;
	for (int i = 0; i < VOCABULARY_SLICES; i++)
		bytes += v->n_words * sizeof(uint32_t) + v->slices[i].others.max_nodes * sizeof(struct token_node);
	return bytes;
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
		best = nodes[i].token >= 0 ? nodes[i].token : best;
		depth++;
		i++;
	}
	return best;
}
