/* Arena: everything that belongs to one request or one parse, freed whole.
 *
 *     struct arena arena = {0};
 *     char *name = arena_strdup(&arena, text, n_bytes);
 *     ...
 *     arena_free(&arena);
 *
 * Memory is zeroed, aligned to 16 bytes, and lives until arena_free. Allocation returns NULL when memory is short or
 * when `max_bytes` (0 = no bound) would be passed. One thread at a time.
 */
#ifndef TALLOW_BASE_ARENA_H
#define TALLOW_BASE_ARENA_H

#include <stddef.h>

struct arena_block;

struct arena {
	struct arena_block *blocks;
	size_t used_bytes;
	size_t max_bytes;
};

/* n_bytes zeroed bytes (0 is allowed); NULL as said above. */
void *arena_alloc(struct arena *arena, size_t n_bytes);
/* [n_items] of item_bytes each; NULL also where their product overflows. */
void *arena_array(struct arena *arena, size_t n_items, size_t item_bytes);
/* Copies n_bytes and adds a NUL. */
char *arena_strdup(struct arena *arena, const char *text, size_t n_bytes);
/* Frees all of it; the arena is empty and may be used again. */
void arena_free(struct arena *arena);

#endif
