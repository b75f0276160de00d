/* Merging: always the pair of lowest rank, leftmost first. Short words scan for it; long ones keep candidates in a heap
 * and links between the symbols that are left, so that a word of any length takes n log n.
 */
#include <stdlib.h>

#include "base/checked.h"
#include "text/bpe_tables.h"

enum { SCAN_MAX_SYMBOLS = 48 };
#define NONE UINT32_MAX

static uint32_t rank_of(const struct bpe *bpe, int32_t left, int32_t right, int32_t *merged)
{
	const struct bpe_slot *slot = bpe_find_merge(bpe, left, right);
	*merged = -1;
	if (!slot)
		return NONE;
	*merged = slot->merged;
	return slot->rank;
}

static void merge_by_scan(const struct bpe *bpe, int32_t *symbols, size_t *n_symbols)
{
	uint32_t ranks[SCAN_MAX_SYMBOLS]; /* of symbol i with i + 1 */
	int32_t merged[SCAN_MAX_SYMBOLS];
	size_t n = *n_symbols;
	for (size_t i = 0; i + 1 < n; i++)
		ranks[i] = rank_of(bpe, symbols[i], symbols[i + 1], &merged[i]);
	while (n > 1) {
		size_t best = 0;
		for (size_t i = 1; i + 1 < n; i++)
			if (ranks[i] < ranks[best])
				best = i;
		if (ranks[best] == NONE)
			break;
		symbols[best] = merged[best];
		n--;
		for (size_t i = best + 1; i < n; i++)
			symbols[i] = symbols[i + 1];
		for (size_t i = best + 1; i + 1 < n; i++) {
			ranks[i] = ranks[i + 1];
			merged[i] = merged[i + 1];
		}
		if (best > 0)
			ranks[best - 1] = rank_of(bpe, symbols[best - 1], symbols[best], &merged[best - 1]);
		if (best + 1 < n)
			ranks[best] = rank_of(bpe, symbols[best], symbols[best + 1], &merged[best]);
	}
	*n_symbols = n;
}

static bool reserve_links(struct bpe_scratch *scratch)
{
	size_t n = scratch->n_symbols, n_bytes;
	if (n <= scratch->max_links)
		return true;
	if (!checked_mul(n, sizeof *scratch->next, &n_bytes))
		return false;
	uint32_t *next = realloc(scratch->next, n_bytes);
	if (next)
		scratch->next = next;
	uint32_t *prev = realloc(scratch->prev, n_bytes);
	if (prev)
		scratch->prev = prev;
	if (!next || !prev)
		return false;
	scratch->max_links = n;
	return true;
}

/* A merge removes one entry and adds at most two, and there are fewer merges than symbols: 2 n are enough. */
static bool reserve_heap(struct bpe_scratch *scratch)
{
	size_t n, n_bytes;
	if (!checked_mul(scratch->n_symbols, 2, &n))
		return false;
	if (n <= scratch->max_heap)
		return true;
	uint64_t *heap = checked_mul(n, sizeof *heap, &n_bytes) ? realloc(scratch->heap, n_bytes) : NULL;
	if (!heap)
		return false;
	scratch->heap = heap;
	scratch->max_heap = n;
	return true;
}

/* Smallest on top, so by rank and then by position. */
static void heap_sink(uint64_t *heap, size_t n, size_t at)
{
	uint64_t value = heap[at];
	for (size_t child; (child = 2 * at + 1) < n; at = child) {
		if (child + 1 < n && heap[child + 1] < heap[child])
			child++;
		if (heap[child] >= value)
			break;
		heap[at] = heap[child];
	}
	heap[at] = value;
}

static void heap_push(struct bpe_scratch *scratch, uint64_t value)
{
	uint64_t *heap = scratch->heap;
	size_t at = scratch->n_heap++;
	while (at > 0 && heap[(at - 1) / 2] > value) {
		heap[at] = heap[(at - 1) / 2];
		at = (at - 1) / 2;
	}
	heap[at] = value;
}

static uint64_t heap_pop(struct bpe_scratch *scratch)
{
	uint64_t *heap = scratch->heap, top = heap[0];
	heap[0] = heap[--scratch->n_heap];
	heap_sink(heap, scratch->n_heap, 0);
	return top;
}

static void push_pair(const struct bpe *bpe, struct bpe_scratch *scratch, uint32_t left, uint32_t right)
{
	int32_t merged;
	uint32_t rank = rank_of(bpe, scratch->symbols[left], scratch->symbols[right], &merged);
	if (rank != NONE)
		heap_push(scratch, (uint64_t)rank << 32 | left);
}

static void start_heap(const struct bpe *bpe, struct bpe_scratch *scratch)
{
	size_t n = scratch->n_symbols;
	scratch->n_heap = 0;
	for (size_t i = 0; i < n; i++) {
		scratch->prev[i] = i > 0 ? (uint32_t)i - 1 : NONE;
		scratch->next[i] = i + 1 < n ? (uint32_t)i + 1 : NONE;
		int32_t merged = -1;
		uint32_t rank = i + 1 < n ? rank_of(bpe, scratch->symbols[i], scratch->symbols[i + 1], &merged) : NONE;
		if (rank != NONE)
			scratch->heap[scratch->n_heap++] = (uint64_t)rank << 32 | i;
	}
	for (size_t i = scratch->n_heap / 2; i-- > 0;)
		heap_sink(scratch->heap, scratch->n_heap, i);
}

static void merge_by_heap(const struct bpe *bpe, struct bpe_scratch *scratch)
{
	int32_t *symbols = scratch->symbols;
	uint32_t *next = scratch->next, *prev = scratch->prev;
	start_heap(bpe, scratch);
	while (scratch->n_heap > 0) {
		uint64_t top = heap_pop(scratch);
		uint32_t left = (uint32_t)top, right = next[left];
		int32_t merged = -1;
		/* Entries are not taken out when a neighbour merges; a stale one no longer has its rank. */
		if (symbols[left] < 0 || right == NONE || rank_of(bpe, symbols[left], symbols[right], &merged) != top >> 32)
			continue;
		symbols[left] = merged;
		symbols[right] = -1;
		next[left] = next[right];
		if (next[left] != NONE) {
			prev[next[left]] = left;
			push_pair(bpe, scratch, left, next[left]);
		}
		if (prev[left] != NONE)
			push_pair(bpe, scratch, prev[left], left);
	}
	size_t n = 0;
	for (uint32_t at = 0; at != NONE; at = next[at])
		symbols[n++] = symbols[at];
	scratch->n_symbols = n;
}

bool bpe_merge_symbols(const struct bpe *bpe, struct bpe_scratch *scratch)
{
	if (scratch->n_symbols <= SCAN_MAX_SYMBOLS) {
		merge_by_scan(bpe, scratch->symbols, &scratch->n_symbols);
		return true;
	}
	if (!reserve_links(scratch) || !reserve_heap(scratch))
		return false;
	merge_by_heap(bpe, scratch);
	return true;
}
