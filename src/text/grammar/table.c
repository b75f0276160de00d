#include "text/grammar/table.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"

/* The capacity for n + n_items: the same where they fit; 0 where it cannot be. */
static size_t capacity_for(size_t n, size_t capacity, size_t n_items, size_t item_bytes)
{
	if (n_items <= capacity - n)
		return capacity;
	size_t more = capacity ? capacity * 2 : 64;
	if (more < n + n_items)
		more = n + n_items;
	return more > SIZE_MAX / 2 / item_bytes ? 0 : more;
}

bool table_reserve(void **array, size_t n, size_t *capacity, size_t n_items, size_t item_bytes)
{
	size_t more = capacity_for(n, *capacity, n_items, item_bytes);
	if (more == *capacity)
		return true;
	void *grown = more ? realloc(*array, more * item_bytes) : NULL;
	if (!grown)
		return false;
	*array = grown;
	*capacity = more;
	return true;
}

bool account_take(struct table_account *account, size_t n_bytes)
{
	if (account && n_bytes > account->max_bytes - account->n_bytes) {
		account->full = true;
		return false;
	}
	if (account)
		account->n_bytes += n_bytes;
	return true;
}

void account_give(struct table_account *account, size_t n_bytes)
{
	if (account)
		account->n_bytes -= n_bytes;
}

void *account_alloc(struct table_account *account, struct arena *arena, size_t n_bytes)
{
	size_t whole = (n_bytes + 15) / 16 * 16; /* as the arena counts it */
	if (whole < n_bytes || !account_take(account, whole))
		return NULL;
	void *piece = arena_alloc(arena, whole);
	if (!piece)
		account_give(account, whole);
	return piece;
}

void account_free(struct table_account *account, struct arena *arena)
{
	account_give(account, arena->used_bytes);
	arena_free(arena);
}

bool table_grow(struct table_account *account, void **array, size_t n, size_t *capacity, size_t n_items,
                size_t item_bytes)
{
	size_t before = *capacity, more = capacity_for(n, before, n_items, item_bytes);
	if (more == before)
		return true;
	if (more == 0 || !account_take(account, (more - before) * item_bytes))
		return false;
	if (table_reserve(array, n, capacity, n_items, item_bytes))
		return true;
	account_give(account, (more - before) * item_bytes);
	return false;
}

void table_index_put(struct table_index *index, uint32_t hash, uint32_t entry)
{
	size_t at = hash & (index->n_slots - 1);
	while (index->slots[at])
		at = (at + 1) & (index->n_slots - 1);
	index->slots[at] = entry + 1;
	index->n_used++;
}

bool table_index_room(struct table_index *index, uint32_t (*hash_of)(const void *owner, uint32_t entry),
                      const void *owner)
{
	if (index->n_used * 2 < index->n_slots)
		return true;
	struct table_index grown = {.n_slots = index->n_slots ? index->n_slots * 2 : 256};
	grown.account = index->account;
	if (!account_take(index->account, grown.n_slots * sizeof *grown.slots))
		return false;
	grown.slots = calloc(grown.n_slots, sizeof *grown.slots);
	account_give(index->account, (grown.slots ? index->n_slots : grown.n_slots) * sizeof *grown.slots);
	if (!grown.slots)
		return false;
	for (size_t i = 0; i < index->n_slots; i++)
		if (index->slots[i])
			table_index_put(&grown, hash_of(owner, index->slots[i] - 1), index->slots[i] - 1);
	free(index->slots);
	*index = grown;
	return true;
}

void table_index_free(struct table_index *index)
{
	TABLE_FREE(index->account, index->slots, index->n_slots);
}
