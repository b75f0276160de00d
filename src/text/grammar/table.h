/* Growing arrays of the constraint engine: room for one more, doubled; and the account of a constraint's bytes. */
#ifndef TALLOW_TEXT_GRAMMAR_TABLE_H
#define TALLOW_TEXT_GRAMMAR_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

struct arena;

/* Room for n_items more of item_bytes each in *array, which holds n and has room for *capacity; false without memory. */
bool table_reserve(void **array, size_t n, size_t *capacity, size_t n_items, size_t item_bytes);
#define TABLE_RESERVE(array, n, capacity, n_items)                                                                     \
	table_reserve((void **)&(array), (n), &(capacity), (n_items), sizeof *(array))

/* What the arrays of one constraint take together, and may: one thread at a time. */
struct table_account {
	size_t n_bytes, max_bytes;
	bool full; /* something did not fit: it was no lack of memory */
};
/* Bytes that are to be allocated; false, and nothing taken, where they pass the bound. And bytes that were given back. */
bool account_take(struct table_account *account, size_t n_bytes);
void account_give(struct table_account *account, size_t n_bytes);
/* A piece of an arena all of whose pieces are made here; NULL without memory, or without room in the account. */
void *account_alloc(struct table_account *account, struct arena *arena, size_t n_bytes);
void account_free(struct table_account *account, struct arena *arena);
/* As table_reserve; false also where the account has no room. `account` may be NULL. */
bool table_grow(struct table_account *account, void **array, size_t n, size_t *capacity, size_t n_items,
                size_t item_bytes);
#define TABLE_GROW(account, array, n, capacity, n_items)                                                               \
	table_grow((account), (void **)&(array), (n), &(capacity), (n_items), sizeof *(array))

/* Frees such an array. */
#define TABLE_FREE(account, array, capacity) (account_give((account), (capacity) * sizeof *(array)), free(array))

/* FNV-1a, over 32-bit words and over bytes. */
static inline uint32_t table_hash(uint32_t hash, uint32_t value)
{
	for (int i = 0; i < 4; i++)
		hash = (hash ^ (value >> 8 * i & 0xFF)) * 16777619U;
	return hash;
}
static inline uint32_t table_hash_bytes(uint32_t hash, const char *bytes, size_t n)
{
	for (size_t i = 0; i < n; i++)
		hash = (hash ^ (unsigned char)bytes[i]) * 16777619U;
	return hash;
}
enum { TABLE_HASH_START = 0x11C9DC5 };

/* Open addressing: slots of a power of two, 0 for empty, else an index + 1. */
struct table_index {
	uint32_t *slots;
	size_t n_slots, n_used;
	struct table_account *account; /* may be NULL */
};
/* Doubles the slots where they are half full; `hash_of` gives an entry's hash. False without memory. */
bool table_index_room(struct table_index *index, uint32_t (*hash_of)(const void *owner, uint32_t entry),
                      const void *owner);
void table_index_put(struct table_index *index, uint32_t hash, uint32_t entry);
void table_index_free(struct table_index *index);

#endif
