/* Arena: a list of zeroed blocks; pieces are cut from the newest, large ones get a block of their own. */
#include "base/arena.h"

#include <stdlib.h>
#include <string.h>

#include "base/checked.h"

enum { ARENA_BLOCK_BYTES = 16384, ARENA_ALIGN_BYTES = 16 };

struct arena_block {
	struct arena_block *next;
	size_t n_bytes, used;
	_Alignas(ARENA_ALIGN_BYTES) unsigned char data[];
};

static struct arena_block *add_block(struct arena *arena, size_t n_bytes)
{
	size_t room = n_bytes > ARENA_BLOCK_BYTES ? n_bytes : ARENA_BLOCK_BYTES;
	size_t whole;
	if (!checked_add(room, sizeof(struct arena_block), &whole))
		return NULL;
	struct arena_block *block = calloc(1, whole);
	if (!block)
		return NULL;
	block->n_bytes = room;
	block->next = arena->blocks;
	arena->blocks = block;
	return block;
}

void *arena_alloc(struct arena *arena, size_t n_bytes)
{
	size_t rounded, used;
	if (!checked_add(n_bytes, ARENA_ALIGN_BYTES - 1, &rounded))
		return NULL;
	rounded = rounded / ARENA_ALIGN_BYTES * ARENA_ALIGN_BYTES;
	if (!checked_add(arena->used_bytes, rounded, &used) || (arena->max_bytes && used > arena->max_bytes))
		return NULL;
	struct arena_block *block = arena->blocks;
	if (!block || block->n_bytes - block->used < rounded)
		block = add_block(arena, rounded);
	if (!block)
		return NULL;
	void *piece = block->data + block->used;
	block->used += rounded;
	arena->used_bytes = used;
	return piece;
}

void *arena_array(struct arena *arena, size_t n_items, size_t item_bytes)
{
	size_t n_bytes;
	return checked_mul(n_items, item_bytes, &n_bytes) ? arena_alloc(arena, n_bytes) : NULL;
}

char *arena_strdup(struct arena *arena, const char *text, size_t n_bytes)
{
	size_t with_nul;
	char *copy = checked_add(n_bytes, 1, &with_nul) ? arena_alloc(arena, with_nul) : NULL;
	if (copy && n_bytes)
		memcpy(copy, text, n_bytes);
	return copy;
}

void arena_free(struct arena *arena)
{
	for (struct arena_block *block = arena->blocks, *next; block; block = next) {
		next = block->next;
		free(block);
	}
	arena->blocks = NULL;
	arena->used_bytes = 0;
}
