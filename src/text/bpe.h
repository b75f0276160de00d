/* Byte-pair encoding of one piece of text: characters (or bytes) to symbols, then merges by rank until none applies.
 *
 * A piece comes either as UTF-8 characters that are looked up in the vocabulary, or as raw bytes that stand for the
 * byte-level alphabet (text/unicode.h) without being spelled out in it.
 */
#ifndef TALLOW_TEXT_BPE_H
#define TALLOW_TEXT_BPE_H

#include "text/piece_cache.h"
#include "text/tokenizer.h"
#include "text/vocab.h"

struct bpe_merge {
	int32_t left, right; /* ids of the pair */
	int32_t merged;      /* id of what it becomes */
	uint32_t rank;       /* lower goes first; at equal rank the leftmost */
};

struct bpe_options {
	bool has_unknown;       /* unknown characters become unknown_id; without it they vanish */
	int32_t unknown_id;     /* -1: named but not in the vocabulary, an error once it is needed */
	bool fuse_unknown;      /* a run of unknown characters becomes one token */
	bool byte_fallback;     /* unknown characters become <0xNN> tokens, if all their bytes have one */
	bool ignore_merges;     /* a piece that is itself in the vocabulary is not merged together */
	bool byte_level;        /* pieces are byte-level text */
	const uint8_t *special; /* [highest id + 1], 1 for special tokens; borrowed */
};

struct bpe_slot {
	uint64_t pair; /* left << 32 | right */
	uint32_t rank;
	int32_t merged;
};

enum { BPE_PAGES = 0x110000 >> 8 };

struct bpe {
	struct bpe_options options;
	const struct vocab *vocab; /* borrowed */
	struct bpe_slot *slots;    /* [n_slots] open addressing by pair */
	size_t n_slots, n_merges;
	uint64_t seed;
	int32_t *pages[BPE_PAGES]; /* code point -> id of that one character, -1; NULL for all -1 */
	int32_t byte_ids[256];     /* of <0xNN> tokens with byte_fallback, of the alphabet with byte_level; -1 */
	bool raw_bytes;            /* byte_level, and every byte has its character in the vocabulary */
	uint64_t *joins;           /* bit set of (character, next character) across which some merge reaches; or NULL */
	size_t n_bytes;            /* what the tables take */
};

/* The vocabulary is borrowed. Of equal pairs the last wins. */
bool bpe_init(struct bpe *bpe, const struct vocab *vocab, const struct bpe_merge *merges, size_t n_merges,
              const struct bpe_options *options, struct error *error) MUST_USE;
void bpe_free(struct bpe *bpe);

/* What encoding needs besides the tables; one per encode call, zeroed to begin with. */
struct bpe_scratch {
	bool no_special; /* never take a special token for text that only looks like it */
	struct piece_cache cache;
	int32_t *symbols;      /* [max_symbols] ids; -1 once merged into the one before */
	uint32_t *next, *prev; /* [max_symbols] neighbours, for long pieces */
	size_t n_symbols, max_symbols, max_links;
	uint64_t *heap; /* [max_heap] rank << 32 | position */
	size_t n_heap, max_heap;
	struct bytes spelled;
};
void bpe_scratch_free(struct bpe_scratch *scratch);

/* Appends the ids of one piece: valid UTF-8 unless bpe->raw_bytes, then any bytes. Time is n log n. */
bool bpe_encode(const struct bpe *bpe, struct bpe_scratch *scratch, const char *text, size_t n_bytes,
                struct token_ids *ids, struct error *error) MUST_USE;

#endif
