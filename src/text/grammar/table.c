#include "text/grammar/table.h"

#include <stdlib.h>
#include <string.h>

bool table_reserve(void **array, size_t n, size_t *capacity, size_t n_items, size_t item_bytes)
{
	if (n_items <= *capacity - n)
		return true;
	size_t more = *capacity ? *capacity * 2 : 64;
	if (more < n + n_items)
		more = n + n_items;
	if (more > SIZE_MAX / 2 / item_bytes)
		return false;
	void *grown = realloc(*array, more * item_bytes);
	if (!grown)
		return false;
	*array = grown;
	*capacity = more;
	return true;
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
	grown.slots = calloc(grown.n_slots, sizeof *grown.slots);
	if (!grown.slots)
		return false;
	for (size_t i = 0; i < index->n_slots; i++)
		if (index->slots[i])
			table_index_put(&grown, hash_of(owner, index->slots[i] - 1), index->slots[i] - 1);
	free(index->slots);
	*index = grown;
	return true;
}
