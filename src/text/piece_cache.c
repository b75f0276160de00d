/* Open addressing, at most half full. Keyed hash: the pieces are a user's text. */
#include "text/piece_cache.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

enum { FIRST_SLOTS = 256, MAX_SLOTS = 1 << 16 };

static struct piece_cache_slot *slot_of(const struct piece_cache *cache, const char *text, size_t n_bytes,
                                        uint64_t hash)
{
	size_t mask = cache->n_slots - 1;
	for (size_t i = (size_t)hash & mask;; i = (i + 1) & mask) {
		struct piece_cache_slot *slot = &cache->slots[i];
		if (!slot->used ||
		    (slot->hash == hash && slot->n_bytes == n_bytes && !memcmp(cache->texts.data + slot->text, text, n_bytes)))
			return slot;
	}
}

const int32_t *piece_cache_find(const struct piece_cache *cache, const char *text, size_t n_bytes, uint64_t *hash,
                                size_t *n_ids)
{
	*hash = hash_bytes(text, n_bytes);
	if (!cache->n_slots)
		return NULL;
	const struct piece_cache_slot *slot = slot_of(cache, text, n_bytes, *hash);
	if (!slot->used)
		return NULL;
	*n_ids = slot->n_ids;
	return (const int32_t *)(const void *)cache->ids.data + slot->ids;
}

static void forget_all(struct piece_cache *cache)
{
	memset(cache->slots, 0, cache->n_slots * sizeof *cache->slots);
	cache->n_used = 0;
	bytes_clear(&cache->texts);
	bytes_clear(&cache->ids);
}

static bool make_room(struct piece_cache *cache)
{
	if (cache->texts.failed || cache->ids.failed)
		return false;
	if ((cache->n_used + 1) * 2 <= cache->n_slots)
		return true;
	if (cache->n_slots == MAX_SLOTS) {
		forget_all(cache);
		return true;
	}
	size_t n = cache->n_slots ? cache->n_slots * 2 : FIRST_SLOTS;
	struct piece_cache_slot *slots = calloc(n, sizeof *slots);
	if (!slots)
		return false;
	struct piece_cache old = *cache;
	cache->slots = slots;
	cache->n_slots = n;
	for (size_t i = 0; i < old.n_slots; i++) {
		const struct piece_cache_slot *slot = &old.slots[i];
		if (slot->used)
			*slot_of(cache, cache->texts.data + slot->text, slot->n_bytes, slot->hash) = *slot;
	}
	free(old.slots);
	return true;
}

void piece_cache_add(struct piece_cache *cache, const char *text, size_t n_bytes, uint64_t hash, const int32_t *ids,
                     size_t n_ids)
{
	if (n_ids > PIECE_CACHE_MAX_IDS || !make_room(cache))
		return;
	struct piece_cache_slot *slot = slot_of(cache, text, n_bytes, hash);
	if (slot->used)
		return;
	*slot = (struct piece_cache_slot){
	    .hash = hash,
	    .text = (uint32_t)cache->texts.n_bytes,
	    .ids = (uint32_t)(cache->ids.n_bytes / sizeof *ids),
	    .n_bytes = (uint16_t)n_bytes,
	    .n_ids = (uint16_t)n_ids,
	    .used = true,
	};
	bytes_append(&cache->texts, text, n_bytes);
	bytes_append(&cache->ids, ids, n_ids * sizeof *ids);
	if (cache->texts.failed || cache->ids.failed)
		slot->used = false;
	else
		cache->n_used++;
}

void piece_cache_free(struct piece_cache *cache)
{
	free(cache->slots);
	bytes_free(&cache->texts);
	bytes_free(&cache->ids);
	*cache = (struct piece_cache){0};
}
