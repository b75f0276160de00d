#include "engine/prefix_cache.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

enum { NONE = -1 };

/* One for each page of the pool. */
struct entry {
	bool cached;
	bool written;               /* somebody took the page: it may hold what `key` wrote */
	bool stale;                 /* it still holds what another key wrote */
	uint64_t key;               /* of whoever took it last */
	struct prefix_chain parent; /* where it was added */
	uint64_t serial;
	int32_t next;         /* of the same bucket */
	int32_t newer, older; /* by use */
};

struct prefix_cache {
	struct kv_pool *pool;
	int page_tokens;
	int n_pages;
	struct entry *entries; /* [n_pages] */
	int32_t *tokens;       /* [n_pages, page_tokens] */
	int32_t *buckets;      /* [n_buckets], a power of two: first page, or NONE */
	size_t n_buckets;
	int32_t newest, oldest;
	uint64_t last_serial;
	int n_unused;   /* cached pages that nobody else holds */
	int32_t *stale; /* [n_pages], n_stale of them: taken, and to be wiped */
	int n_stale;
};

struct prefix_cache *prefix_cache_create(struct kv_pool *pool, int page_tokens)
{
	struct prefix_cache *cache = calloc(1, sizeof *cache);
	if (!cache)
		return NULL;
	cache->pool = pool;
	cache->page_tokens = page_tokens;
	cache->n_pages = kv_pool_total(pool);
	cache->newest = cache->oldest = NONE;
	for (cache->n_buckets = 1; cache->n_buckets < (size_t)cache->n_pages;)
		cache->n_buckets *= 2;
	cache->entries = calloc((size_t)cache->n_pages, sizeof *cache->entries);
	cache->tokens = calloc((size_t)cache->n_pages * (size_t)page_tokens, sizeof *cache->tokens);
	cache->buckets = malloc(cache->n_buckets * sizeof *cache->buckets);
	cache->stale = malloc((size_t)cache->n_pages * sizeof *cache->stale);
	if (!cache->entries || !cache->tokens || !cache->buckets || !cache->stale) {
		prefix_cache_destroy(cache);
		return NULL;
	}
	for (size_t i = 0; i < cache->n_buckets; i++)
		cache->buckets[i] = NONE;
	return cache;
}

void prefix_cache_destroy(struct prefix_cache *cache)
{
	if (!cache)
		return;
	for (int32_t page = 0; cache->entries && page < cache->n_pages; page++)
		if (cache->entries[page].cached)
			kv_page_release(cache->pool, page);
	free(cache->entries);
	free(cache->tokens);
	free(cache->buckets);
	free(cache->stale);
	free(cache);
}

/* ---- the table ---- */

static int32_t *tokens_of(const struct prefix_cache *cache, int32_t page)
{
	return cache->tokens + (size_t)page * (size_t)cache->page_tokens;
}

static int32_t *bucket_of(const struct prefix_cache *cache, struct prefix_chain chain, const int32_t *tokens)
{
	uint64_t hash = hash_bytes(tokens, (size_t)cache->page_tokens * sizeof *tokens);
	hash = hash_mix(hash ^ hash_mix(chain.key ^ hash_mix(chain.serial ^ hash_mix((uint64_t)chain.rope_variant))));
	return &cache->buckets[hash & (cache->n_buckets - 1)];
}

static int32_t find(const struct prefix_cache *cache, struct prefix_chain chain, const int32_t *tokens)
{
	size_t n_bytes = (size_t)cache->page_tokens * sizeof *tokens;
	for (int32_t page = *bucket_of(cache, chain, tokens); page != NONE; page = cache->entries[page].next) {
		const struct entry *entry = &cache->entries[page];
		if (entry->parent.serial == chain.serial && entry->parent.key == chain.key &&
		    entry->parent.rope_variant == chain.rope_variant && memcmp(tokens_of(cache, page), tokens, n_bytes) == 0)
			return page;
	}
	return NONE;
}

/* ---- order of use ---- */

static void unlink_entry(struct prefix_cache *cache, const struct entry *entry)
{
	*(entry->newer == NONE ? &cache->newest : &cache->entries[entry->newer].older) = entry->older;
	*(entry->older == NONE ? &cache->oldest : &cache->entries[entry->older].newer) = entry->newer;
}

static void link_newest(struct prefix_cache *cache, int32_t page)
{
	struct entry *entry = &cache->entries[page];
	entry->newer = NONE;
	entry->older = cache->newest;
	*(cache->newest == NONE ? &cache->oldest : &cache->entries[cache->newest].newer) = page;
	cache->newest = page;
}

/* What lies behind a page is of no use without it: a run of pages is touched from its end, so that ends go first. */
static void touch_backwards(struct prefix_cache *cache, const int32_t *pages, int n)
{
	while (n-- > 0) {
		if (!cache->entries[pages[n]].cached)
			continue;
		unlink_entry(cache, &cache->entries[pages[n]]);
		link_newest(cache, pages[n]);
	}
}

static void forget(struct prefix_cache *cache, int32_t page)
{
	struct entry *entry = &cache->entries[page];
	int32_t *at = bucket_of(cache, entry->parent, tokens_of(cache, page));
	while (*at != page)
		at = &cache->entries[*at].next;
	*at = entry->next;
	unlink_entry(cache, entry);
	entry->cached = false;
	cache->n_unused--;
	kv_page_release(cache->pool, page);
}

/* ---- use ---- */

int32_t prefix_cache_find(struct prefix_cache *cache, struct prefix_chain *chain, const int32_t *tokens)
{
	int32_t page = find(cache, *chain, tokens);
	if (page == NONE)
		return -1;
	cache->n_unused -= kv_page_references(cache->pool, page) == 1;
	kv_page_share(cache->pool, page); /* and so cannot go; it counts as used when it is given back */
	chain->serial = cache->entries[page].serial;
	return page;
}

void prefix_cache_add(struct prefix_cache *cache, struct prefix_chain *chain, const int32_t *tokens, int32_t page)
{
	int32_t known = find(cache, *chain, tokens);
	if (known == NONE) {
		int32_t *bucket = bucket_of(cache, *chain, tokens);
		assert(!cache->entries[page].cached);
		struct entry *entry = &cache->entries[page];
		entry->cached = true;
		entry->parent = *chain;
		entry->serial = ++cache->last_serial;
		entry->next = *bucket;
		memcpy(tokens_of(cache, page), tokens, (size_t)cache->page_tokens * sizeof *tokens);
		*bucket = page;
		link_newest(cache, page);
		kv_page_share(cache->pool, page);
		known = page;
	}
	chain->serial = cache->entries[known].serial;
}

/* Whoever has the page now has it with this key. */
static void hand_over(struct prefix_cache *cache, int32_t page, uint64_t key)
{
	struct entry *entry = &cache->entries[page];
	if (entry->written && entry->key != key && !entry->stale) {
		entry->stale = true;
		cache->stale[cache->n_stale++] = page;
	}
	entry->written = true;
	entry->key = key;
}

int32_t prefix_cache_take(struct prefix_cache *cache, uint64_t key)
{
	int32_t page = kv_page_take(cache->pool);
	for (int32_t old = cache->oldest; page < 0 && old != NONE; old = cache->entries[old].newer)
		if (kv_page_references(cache->pool, old) == 1) {
			forget(cache, old);
			page = kv_page_take(cache->pool);
			break;
		}
	if (page >= 0)
		hand_over(cache, page, key);
	return page;
}

void prefix_cache_wipe(struct prefix_cache *cache)
{
	while (cache->n_stale > 0) {
		int32_t page = cache->stale[--cache->n_stale];
		kv_page_wipe(cache->pool, page);
		memset(tokens_of(cache, page), 0, (size_t)cache->page_tokens * sizeof *cache->tokens);
		cache->entries[page].stale = false;
	}
}

void prefix_cache_release(struct prefix_cache *cache, const int32_t *pages, int n)
{
	touch_backwards(cache, pages, n);
	for (int i = 0; i < n; i++) {
		kv_page_release(cache->pool, pages[i]);
		cache->n_unused += cache->entries[pages[i]].cached && kv_page_references(cache->pool, pages[i]) == 1;
	}
}

int prefix_cache_pages(const struct prefix_cache *cache)
{
	return cache->n_unused;
}
