/* A tokenizer's tokens as bytes, and tries of them laid flat: nodes in depth-first order, each knowing where its subtree
 * ends, so that a mask is one walk that skips what cannot come. The ids lie in the same order, those of a subtree side by
 * side, so that all of it is taken or left at once.
 *
 * Most tokens are plain: whole characters that a JSON string may hold as they are. They have a trie of their own, and so
 * have all others. Where a string takes any characters, the plain ones of so many characters are known beforehand (slices).
 */
#ifndef TALLOW_TEXT_GRAMMAR_VOCABULARY_H
#define TALLOW_TEXT_GRAMMAR_VOCABULARY_H

#include "text/grammar.h"

struct token_node {
	uint32_t skip;  /* the node after its subtree */
	uint32_t first; /* place in `ids` of the first token that ends here or below */
	uint16_t depth; /* 1 for the first byte */
	uint16_t rest;  /* characters to the end of the longest token below; UINT16_MAX amid a character */
	uint8_t byte;
};

/* A token ends at a node where the next node's `first` is larger; behind all nodes stands one more. */
struct token_trie {
	struct token_node *nodes;
	int32_t *ids;
	size_t n_nodes, max_nodes, n_ids;
};

/* Plain tokens of up to so many characters. */
struct slice {
	uint32_t max_chars;
	uint32_t *mask;
};

enum {
	VOCABULARY_SLICES = 128,    /* longer tokens count as not plain */
	VOCABULARY_MAX_TOKEN = 1024 /* bytes; longer tokens are never allowed */
};

struct grammar_vocabulary {
	const struct tokenizer *tokenizer; /* borrowed */
	size_t n_ids, n_words;
	struct bytes texts;
	uint32_t *starts; /* [n_ids + 1] of a token's bytes in texts */
	struct token_trie all, plain, others;
	uint32_t roots[256];                    /* of `all`, by first byte; its n_nodes where no token begins with that */
	struct slice slices[VOCABULARY_SLICES]; /* [n_slices] the shortest first */
	size_t n_slices;
	int32_t ends[16];
	int n_ends;
	bool has_bytes; /* each byte is a token */
};

#endif
