/* Cache of one encode call: text piece -> its ids. Text repeats itself, merging is the dear part.
 *
 * Bounded: it starts small, grows with what it holds, and begins anew when it reaches its limit. Running out of memory
 * only means that it remembers nothing.
 */
#ifndef TALLOW_TEXT_PIECE_CACHE_H
#define TALLOW_TEXT_PIECE_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"

enum { PIECE_CACHE_MAX_BYTES = 48, PIECE_CACHE_MAX_IDS = 48 }; /* longer pieces are rare and not worth the room */

struct piece_cache_slot {
	uint64_t hash;
	uint32_t text, ids; /* offsets in texts, and in ids counted in ids */
	uint16_t n_bytes, n_ids;
	bool used;
};

struct piece_cache {
	struct piece_cache_slot *slots;
	size_t n_slots, n_used;
	struct bytes texts;
	struct bytes ids; /* int32_t */
};

/* The ids, or NULL; *hash is for piece_cache_add. n_bytes <= PIECE_CACHE_MAX_BYTES. Valid until the next add. */
const int32_t *piece_cache_find(const struct piece_cache *cache, const char *text, size_t n_bytes, uint64_t *hash,
                                size_t *n_ids);
void piece_cache_add(struct piece_cache *cache, const char *text, size_t n_bytes, uint64_t hash, const int32_t *ids,
                     size_t n_ids);
void piece_cache_free(struct piece_cache *cache);

#endif
