/* Building tries of sorted strings: those below a node lie side by side, so that a node is made of a range. */
#include "text/trie.h"

#include <stdlib.h>
#include <string.h>

/* The strings below a node, which share `depth` bytes with its parent. */
struct range {
	size_t start, end, depth;
};

static int by_text(const void *left, const void *right)
{
	const struct trie_string *a = left, *b = right;
	int order = memcmp(a->text, b->text, a->n_bytes < b->n_bytes ? a->n_bytes : b->n_bytes);
	if (order)
		return order;
	if (a->n_bytes != b->n_bytes)
		return a->n_bytes < b->n_bytes ? -1 : 1;
	return a->order < b->order ? -1 : a->order > b->order;
}

/* How many bytes all strings of a range share: what the first and the last do. */
static size_t shared_bytes(const struct trie_string *strings, const struct range *range)
{
	const struct trie_string *first = &strings[range->start], *last = &strings[range->end - 1];
	size_t n = first->n_bytes < last->n_bytes ? first->n_bytes : last->n_bytes, at = range->depth;
	while (at < n && first->text[at] == last->text[at])
		at++;
	return at;
}

/* A node for each byte that stands at the range's depth. */
static void add_nodes(struct trie *trie, struct range *ranges, const struct trie_string *strings,
                      const struct range *range)
{
	for (size_t i = range->start; i < range->end; i++) {
		unsigned char byte = (unsigned char)strings[i].text[range->depth];
		if (i == range->start || trie->nodes[trie->n_nodes - 1].first != byte) {
			trie->nodes[trie->n_nodes] = (struct trie_node){.value = -1, .first = byte};
			ranges[trie->n_nodes++] = (struct range){.start = i, .depth = range->depth};
		}
		ranges[trie->n_nodes - 1].end = i + 1;
	}
}

static void fill_node(struct trie *trie, struct range *ranges, const struct trie_string *strings, size_t index)
{
	struct trie_node *node = &trie->nodes[index];
	struct range range = ranges[index];
	size_t shared = shared_bytes(strings, &range);
	node->bytes = strings[range.start].text + range.depth;
	node->n_bytes = (uint32_t)(shared - range.depth);
	if (strings[range.start].n_bytes == shared)
		node->value = strings[range.start].value;
	while (range.start < range.end && strings[range.start].n_bytes == shared)
		range.start++;
	range.depth = shared;
	node->children = (uint32_t)trie->n_nodes;
	add_nodes(trie, ranges, strings, &range);
	node->n_children = (uint16_t)(trie->n_nodes - node->children);
}

bool trie_init(struct trie *trie, struct trie_string *strings, size_t n_strings)
{
	*trie = (struct trie){0};
	if (n_strings >= UINT32_MAX / 2)
		return false;
	/* One node to a string, and fewer that only part others. */
	struct range *ranges = calloc(2 * n_strings + 1, sizeof *ranges);
	trie->nodes = calloc(2 * n_strings + 1, sizeof *trie->nodes);
	if (!ranges || !trie->nodes) {
		free(ranges);
		return false;
	}
	for (size_t i = 0; i < n_strings; i++)
		strings[i].order = (uint32_t)i;
	qsort(strings, n_strings, sizeof *strings, by_text);
	trie->n_nodes = 1;
	add_nodes(trie, ranges, strings, &(struct range){.end = n_strings});
	for (size_t i = 1; i < trie->n_nodes; i++) {
		if (ranges[i].depth == 0)
			trie->roots[trie->nodes[i].first] = (uint32_t)i;
		fill_node(trie, ranges, strings, i);
	}
	free(ranges);
	struct trie_node *fitting = realloc(trie->nodes, trie->n_nodes * sizeof *trie->nodes);
	trie->nodes = fitting ? fitting : trie->nodes;
	return true;
}

void trie_free(struct trie *trie)
{
	free(trie->nodes);
	*trie = (struct trie){0};
}

uint32_t trie_child(const struct trie *trie, uint32_t node, unsigned char byte)
{
	uint32_t low = trie->nodes[node].children, high = low + trie->nodes[node].n_children;
	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		if (trie->nodes[middle].first == byte)
			return middle;
		if (trie->nodes[middle].first < byte)
			low = middle + 1;
		else
			high = middle;
	}
	return 0;
}
