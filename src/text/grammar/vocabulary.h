/* A tokenizer's tokens as bytes, and tries of them laid flat: nodes in depth-first order, each knowing where its subtree
 * ends, so that a mask is one walk that skips what cannot come.
 *
 * Most tokens are plain: whole characters that a JSON string may hold as they are. Where a string takes any characters, the
 * plain ones up to some length are known beforehand (a slice), and only a trie of all others is walked.
 */
#ifndef TALLOW_TEXT_GRAMMAR_VOCABULARY_H
#define TALLOW_TEXT_GRAMMAR_VOCABULARY_H

#include "text/grammar.h"

struct token_node {
	uint32_t skip;  /* the node after its subtree */
	int32_t token;  /* first of those that end here; -1 */
	uint16_t depth; /* 1 for the first byte */
	uint8_t byte;
};

struct token_trie {
	struct token_node *nodes;
	size_t n_nodes, max_nodes;
};

struct slice {
	uint32_t max_chars; /* of its tokens; LANGUAGE_NO_MAX: all plain ones */
	uint32_t *mask;
	struct token_trie others;
};

enum { VOCABULARY_SLICES = 3, VOCABULARY_MAX_TOKEN = 1024 /* bytes; longer tokens are never allowed */ };

struct grammar_vocabulary {
	size_t n_ids, n_words;
	struct bytes texts;
	uint32_t *starts; /* [n_ids + 1] of a token's bytes in texts */
	int32_t *same;    /* [n_ids] the next token of the same bytes; -1 */
	struct token_trie all;
	struct slice slices[VOCABULARY_SLICES]; /* the shortest first */
	int32_t ends[16];
	int n_ends;
	bool has_bytes; /* each byte is a token */
};

#endif
