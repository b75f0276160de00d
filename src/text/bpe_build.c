/* Building the tables of struct bpe from a vocabulary and its merges. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/utf8.h"
#include "text/bpe_tables.h"
#include "text/unicode.h"

void byte_level_spell(const char *text, size_t n_bytes, struct bytes *out)
{
	if (!bytes_reserve(out, 2 * n_bytes))
		return;
	for (size_t i = 0; i < n_bytes; i++)
		out->n_bytes += (size_t)utf8_encode(byte_level_char((unsigned char)text[i]), out->data + out->n_bytes);
}

/* Merges that lead round in a circle do no harm: each one that is applied leaves a symbol less. */
static bool build_merges(struct bpe *bpe, const struct bpe_merge *merges, size_t n_merges)
{
	size_t n = 16, n_bytes;
	while (n < n_merges * 2)
		n *= 2;
	if (!checked_mul(n, sizeof *bpe->slots, &n_bytes) || !(bpe->slots = malloc(n_bytes)))
		return false;
	bpe->n_bytes += n_bytes;
	bpe->n_slots = n;
	bpe->n_merges = n_merges;
	bpe->seed = hash_bytes("merges", 6);
	for (size_t i = 0; i < n; i++)
		bpe->slots[i].pair = UINT64_MAX;
	for (size_t i = 0; i < n_merges; i++) {
		uint64_t pair = bpe_pair(merges[i].left, merges[i].right);
		bpe->slots[bpe_slot_of(bpe, pair)] =
		    (struct bpe_slot){.pair = pair, .rank = merges[i].rank, .merged = merges[i].merged};
	}
	return true;
}

static bool set_char(struct bpe *bpe, uint32_t code, int32_t id)
{
	int32_t **page = &bpe->pages[code >> 8];
	if (!*page) {
		*page = malloc(256 * sizeof **page);
		if (!*page)
			return false;
		bpe->n_bytes += 256 * sizeof **page;
		memset(*page, 0xFF, 256 * sizeof **page);
	}
	(*page)[code & 0xFF] = id;
	return true;
}

static bool build_chars(struct bpe *bpe)
{
	for (size_t i = 0; i < bpe->vocab->n_strings; i++) {
		const struct vocab_string *string = &bpe->vocab->strings[i];
		const char *text = bpe->vocab->texts.data + string->offset;
		size_t length;
		if (string->n_bytes == 0 || string->n_bytes > 4 ||
		    utf8_length((const unsigned char *)text, string->n_bytes) != (int)string->n_bytes)
			continue;
		if (!set_char(bpe, char_decode(text, &length), string->id))
			return false;
	}
	return true;
}

static void build_bytes(struct bpe *bpe)
{
	bpe->raw_bytes = bpe->options.byte_level;
	for (int byte = 0; byte < 256; byte++) {
		if (bpe->options.byte_level && bpe_char_id(bpe, byte_level_char((unsigned char)byte)) < 0)
			bpe->raw_bytes = false;
	}
	for (int byte = 0; byte < 256; byte++) {
		char name[8];
		int n = snprintf(name, sizeof name, "<0x%02X>", (unsigned)byte);
		bpe->byte_ids[byte] = bpe->raw_bytes ? bpe_char_id(bpe, byte_level_char((unsigned char)byte))
		                                     : vocab_find(bpe->vocab, name, (size_t)n);
	}
}

/* A symbol that stands for something else than its spelling: the unknown token, or a <0xNN> byte. */
static bool is_fallback_symbol(const struct bpe *bpe, int32_t id, const char *text, size_t n_bytes)
{
	return id == bpe->options.unknown_id || (n_bytes == 6 && !memcmp(text, "<0x", 3));
}

/* The last character of a valid token text, or the first. */
static uint32_t edge_char(const char *text, size_t n_bytes, bool last)
{
	size_t length;
	return char_decode(text + (last ? char_before(text, n_bytes) : 0), &length);
}

/* Where text may be cut (see bpe.c). Symbols that are not characters (bytes of the fallback, the unknown token) could
 * reach across a border that their spelling does not show: with merges of those, nothing is cut. */
static bool build_joins(struct bpe *bpe, const struct bpe_merge *merges, size_t n_merges)
{
	size_t n_bytes = (size_t)1 << (BPE_JOIN_BITS - 3);
	uint64_t *joins = calloc(1, n_bytes);
	if (!joins)
		return false;
	for (size_t i = 0; i < n_merges; i++) {
		size_t n_left, n_right;
		const char *left = vocab_text(bpe->vocab, merges[i].left, &n_left);
		const char *right = vocab_text(bpe->vocab, merges[i].right, &n_right);
		if (!left || !right || !n_left || !n_right || unicode_valid_prefix(left, n_left) < n_left ||
		    unicode_valid_prefix(right, n_right) < n_right || is_fallback_symbol(bpe, merges[i].left, left, n_left) ||
		    is_fallback_symbol(bpe, merges[i].right, right, n_right)) {
			free(joins);
			return true;
		}
		size_t bit = bpe_join_bit(edge_char(left, n_left, true), edge_char(right, n_right, false));
		joins[bit / 64] |= (uint64_t)1 << (bit % 64);
	}
	bpe->joins = joins;
	bpe->n_bytes += n_bytes;
	return true;
}

bool bpe_init(struct bpe *bpe, const struct vocab *vocab, const struct bpe_merge *merges, size_t n_merges,
              const struct bpe_options *options, struct error *error)
{
	*bpe = (struct bpe){.options = *options, .vocab = vocab};
	if (!build_merges(bpe, merges, n_merges) || !build_chars(bpe))
		return error_set(error, ERROR_MEMORY, "not enough memory for the tokenizer's tables");
	build_bytes(bpe);
	if (!bpe->raw_bytes && !build_joins(bpe, merges, n_merges))
		return error_set(error, ERROR_MEMORY, "not enough memory for the tokenizer's tables");
	return true;
}

void bpe_free(struct bpe *bpe)
{
	free(bpe->slots);
	free(bpe->joins);
	for (int i = 0; i < BPE_PAGES; i++)
		free(bpe->pages[i]);
	*bpe = (struct bpe){0};
}
