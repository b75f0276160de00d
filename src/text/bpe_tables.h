/* Look-ups in a struct bpe, shared by the files that encode with it. */
#ifndef TALLOW_TEXT_BPE_TABLES_H
#define TALLOW_TEXT_BPE_TABLES_H

#include "base/bytes.h"
#include "base/hash.h"
#include "text/bpe.h"

enum { BPE_JOIN_BITS = 20 };

/* Id of the vocabulary's entry that is exactly this character; -1. */
static inline int32_t bpe_char_id(const struct bpe *bpe, uint32_t code)
{
	const int32_t *page = bpe->pages[code >> 8];
	return page ? page[code & 0xFF] : -1;
}

static inline size_t bpe_join_bit(uint32_t code, uint32_t next)
{
	return (size_t)((((uint64_t)code << 32 | next) * 0x9e3779b97f4a7c15u) >> (64 - BPE_JOIN_BITS));
}

/* May a merge reach from this character to the next? True for some pairs where none does: that only costs a cut. */
static inline bool bpe_joins(const struct bpe *bpe, uint32_t code, uint32_t next)
{
	size_t bit = bpe_join_bit(code, next);
	return bpe->joins[bit / 64] >> (bit % 64) & 1;
}

static inline uint64_t bpe_pair(int32_t left, int32_t right)
{
	return (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
}

/* The pair's slot, or the empty one where it would be. */
static inline size_t bpe_slot_of(const struct bpe *bpe, uint64_t pair)
{
	size_t mask = bpe->n_slots - 1;
	size_t slot = (size_t)hash_mix(pair ^ bpe->seed) & mask;
	while (bpe->slots[slot].pair != pair && bpe->slots[slot].pair != UINT64_MAX)
		slot = (slot + 1) & mask;
	return slot;
}

/* NULL when the pair does not merge. */
static inline const struct bpe_slot *bpe_find_merge(const struct bpe *bpe, int32_t left, int32_t right)
{
	const struct bpe_slot *slot = &bpe->slots[bpe_slot_of(bpe, bpe_pair(left, right))];
	return slot->pair == UINT64_MAX ? NULL : slot;
}

/* Merges scratch->symbols in place. False only without memory. */
bool bpe_merge_symbols(const struct bpe *bpe, struct bpe_scratch *scratch);

/* Appends the byte-level alphabet's spelling of bytes. */
void byte_level_spell(const char *text, size_t n_bytes, struct bytes *out);

#endif
