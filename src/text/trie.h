/* Trie: which strings of a list does a text begin with?
 *
 * A node stands for all bytes that the strings below it share, so there are at most two nodes to a string, however long it
 * is, and a text that leaves all strings is noticed by as many comparisons as there were places to choose at.
 */
#ifndef TALLOW_TEXT_TRIE_H
#define TALLOW_TEXT_TRIE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct trie_string {
	const char *text; /* not empty; the trie points to it */
	uint32_t n_bytes;
	int32_t value;  /* 0 or more */
	uint32_t order; /* trie_init's */
};

struct trie_node {
	const char *bytes; /* [n_bytes], behind those of the nodes above; not empty */
	uint32_t n_bytes;
	int32_t value;       /* of the string that ends here; -1: none does */
	uint32_t children;   /* index of the first: they lie side by side, ordered by their first bytes */
	uint16_t n_children; /* at most 256 */
	unsigned char first; /* bytes[0] */
};

struct trie {
	struct trie_node *nodes; /* [n_nodes], after a first one that is not used */
	size_t n_nodes;
	uint32_t roots[256]; /* node by first byte, 0: none */
};

/* Sorts the strings; they are not needed afterwards, their texts are. Of equal ones the first counts. False when memory is
 * short. */
bool trie_init(struct trie *trie, struct trie_string *strings, size_t n_strings);
void trie_free(struct trie *trie);
/* The child that begins with the byte, 0: none. */
uint32_t trie_child(const struct trie *trie, uint32_t node, unsigned char byte);

#endif
