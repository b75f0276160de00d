/* Byte-pair encoding: looking pieces up, cutting them where no merge can reach across, and filling in the symbols.
 * The merging itself is in bpe_merge.c, the tables are built in bpe_build.c.
 *
 * A text without pre-tokenizer (Llama 2) is one word of any length. It is cut between characters x and y when no merge
 * has a left half that ends in x and a right half that begins with y: then no merge ever reaches across that border,
 * the two sides do not see each other, and encoding them one by one gives the same ids. The pieces are short and
 * repeat, so the cache serves them.
 */
#include "text/bpe.h"

#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "text/bpe_tables.h"
#include "text/token_ids.h"
#include "text/unicode.h"

static bool out_of_memory(struct error *error)
{
	return error_set(error, ERROR_MEMORY, "not enough memory to encode the text");
}

void bpe_scratch_free(struct bpe_scratch *scratch)
{
	piece_cache_free(&scratch->cache);
	free(scratch->symbols);
	free(scratch->next);
	free(scratch->prev);
	free(scratch->heap);
	bytes_free(&scratch->spelled);
	*scratch = (struct bpe_scratch){0};
}

static bool reserve_symbols(struct bpe_scratch *scratch, size_t n_symbols, struct error *error)
{
	if (n_symbols <= scratch->max_symbols)
		return true;
	size_t n_bytes;
	/* Positions share a 64-bit heap entry with ranks. */
	if (n_symbols >= UINT32_MAX / 2 || !checked_mul(n_symbols, sizeof *scratch->symbols, &n_bytes))
		return error_set(error, ERROR_TOO_LARGE, "a word of %zu bytes is too long to encode", n_symbols);
	int32_t *symbols = realloc(scratch->symbols, n_bytes);
	if (!symbols)
		return out_of_memory(error);
	scratch->symbols = symbols;
	scratch->max_symbols = n_symbols;
	return true;
}

/* Symbols of a piece of characters. An unknown character's token waits until a known one follows: that is how the
 * reference fuses them, and why bytes of the fallback may overtake it. */
static bool fill_from_chars(const struct bpe *bpe, struct bpe_scratch *scratch, const char *text, size_t n_bytes,
                            struct error *error)
{
	const struct bpe_options *options = &bpe->options;
	int32_t *symbols = scratch->symbols;
	size_t n = 0;
	bool unknown_waits = false;
	for (size_t at = 0, length; at < n_bytes; at += length) {
		int32_t id = bpe_char_id(bpe, char_decode(text + at, &length));
		if (id >= 0) {
			if (unknown_waits)
				symbols[n++] = options->unknown_id;
			unknown_waits = false;
			symbols[n++] = id;
			continue;
		}
		bool all_bytes = options->byte_fallback;
		for (size_t i = 0; all_bytes && i < length; i++)
			all_bytes = bpe->byte_ids[(unsigned char)text[at + i]] >= 0;
		if (all_bytes) {
			for (size_t i = 0; i < length; i++)
				symbols[n++] = bpe->byte_ids[(unsigned char)text[at + i]];
			continue;
		}
		if (!options->has_unknown)
			continue;
		if (options->unknown_id < 0)
			return error_set(
			    error, ERROR_INVALID_REQUEST,
			    "the text has a character outside the vocabulary, and the tokenizer's unknown token is not "
			    "in its vocabulary either");
		if (unknown_waits && !options->fuse_unknown)
			symbols[n++] = options->unknown_id;
		unknown_waits = true;
	}
	if (unknown_waits)
		symbols[n++] = options->unknown_id;
	scratch->n_symbols = n;
	return true;
}

static void fill_from_bytes(const struct bpe *bpe, struct bpe_scratch *scratch, const char *text, size_t n_bytes)
{
	for (size_t i = 0; i < n_bytes; i++)
		scratch->symbols[i] = bpe->byte_ids[(unsigned char)text[i]];
	scratch->n_symbols = n_bytes;
}

/* Ids of a piece that is not cut further, through the cache. */
static bool encode_uncut(const struct bpe *bpe, struct bpe_scratch *scratch, const char *text, size_t n_bytes,
                         struct token_ids *ids, struct error *error)
{
	uint64_t hash = 0;
	size_t n_known;
	bool cached = n_bytes <= PIECE_CACHE_MAX_BYTES;
	if (cached) {
		const int32_t *known = piece_cache_find(&scratch->cache, text, n_bytes, &hash, &n_known);
		if (known)
			return token_ids_append(ids, known, n_known, error);
	}
	/* A character gives at most as many symbols as it has bytes, and one waiting unknown token can come on top. */
	if (!reserve_symbols(scratch, n_bytes + 1, error))
		return false;
	if (bpe->raw_bytes)
		fill_from_bytes(bpe, scratch, text, n_bytes);
	else if (!fill_from_chars(bpe, scratch, text, n_bytes, error))
		return false;
	if (!bpe_merge_symbols(bpe, scratch))
		return out_of_memory(error);
	if (cached)
		piece_cache_add(&scratch->cache, text, n_bytes, hash, scratch->symbols, scratch->n_symbols);
	return token_ids_append(ids, scratch->symbols, scratch->n_symbols, error);
}

static bool encode_cut(const struct bpe *bpe, struct bpe_scratch *scratch, const char *text, size_t n_bytes,
                       struct token_ids *ids, struct error *error)
{
	size_t start = 0, length;
	uint32_t code = char_decode(text, &length);
	for (size_t at = length; at < n_bytes; at += length) {
		uint32_t next = char_decode(text + at, &length);
		/* A known character lets no unknown token wait, so the cut cannot part a fused run either. A character that
		 * vanishes is no border: what follows it comes next to what goes before. */
		if (!bpe_joins(bpe, code, next) && bpe_char_id(bpe, code) >= 0 &&
		    (bpe->options.has_unknown || bpe_char_id(bpe, next) >= 0)) {
			if (!encode_uncut(bpe, scratch, text + start, at - start, ids, error))
				return false;
			start = at;
		}
		code = next;
	}
	return encode_uncut(bpe, scratch, text + start, n_bytes - start, ids, error);
}

/* The id of a piece that stands in the vocabulary as a whole, or -1. */
static int32_t whole_id(const struct bpe *bpe, struct bpe_scratch *scratch, const char *text, size_t n_bytes)
{
	if (n_bytes > bpe->vocab->longest_bytes)
		return -1;
	if (bpe->raw_bytes) {
		bytes_clear(&scratch->spelled);
		byte_level_spell(text, n_bytes, &scratch->spelled);
		if (scratch->spelled.failed)
			return -1;
		text = scratch->spelled.data;
		n_bytes = scratch->spelled.n_bytes;
	}
	int32_t id = vocab_find(bpe->vocab, text, n_bytes);
	return id >= 0 && scratch->no_special && bpe->options.special[id] ? -1 : id;
}

bool bpe_encode(const struct bpe *bpe, struct bpe_scratch *scratch, const char *text, size_t n_bytes,
                struct token_ids *ids, struct error *error)
{
	if (n_bytes == 0)
		return true;
	if (bpe->options.ignore_merges) {
		int32_t id = whole_id(bpe, scratch, text, n_bytes);
		if (id >= 0)
			return token_ids_append(ids, &id, 1, error);
	}
	if (bpe->joins && !bpe->raw_bytes)
		return encode_cut(bpe, scratch, text, n_bytes, ids, error);
	return encode_uncut(bpe, scratch, text, n_bytes, ids, error);
}
