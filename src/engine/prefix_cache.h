/* The prefix cache: KV pages that earlier requests filled, found again by the tokens that led to them.
 *
 * A page's content is a function of all tokens up to its end, and of how their positions were rotated where that depends on
 * the request (model_rope_variant). So each cached page has a serial number and is known by (key, variant, serial of the
 * page before it, its own tokens), compared token by token: no trust in hashes. A page may be found as soon as it is full,
 * also while the request that fills it still runs. The key keeps users apart: equal keys share.
 *
 * Cached pages live in the pool that running sequences use: the cache holds one reference of each, and gives the least
 * recently used one that nobody else holds back when the pool has no free page. So caching never makes anybody wait.
 * A page holds what prefill computes: pages that decode filled come here only where that is the same, else they are made anew
 * (catch_up.c).
 * It belongs to the engine layer because what to keep is policy; a page table entry is all that the model sees.
 *
 * Memory, too, is one key's at a time: a page that passes from one key to another is zeroed on the way.
 *
 * The engine's thread uses it, under the engine's mutex but for what says otherwise.
 */
#ifndef TALLOW_ENGINE_PREFIX_CACHE_H
#define TALLOW_ENGINE_PREFIX_CACHE_H

#include "model/kv.h"

struct prefix_cache;

/* Where a sequence is in the cache: the page that its next one follows. */
struct prefix_chain {
	uint64_t key;
	int64_t rope_variant;
	uint64_t serial; /* 0 before the first page */
};

/* The pool is borrowed. NULL when memory is short. */
struct prefix_cache *prefix_cache_create(struct kv_pool *pool, int page_tokens);
void prefix_cache_destroy(struct prefix_cache *cache); /* NULL is harmless; before the pool */

/* The page of `tokens` [page_tokens] behind the chain, which moves on; a reference is taken. -1 when there is none. */
int32_t prefix_cache_find(struct prefix_cache *cache, struct prefix_chain *chain, const int32_t *tokens);
/* `page` has been filled from tokens [page_tokens] behind the chain, which moves on. If the cache has such a page already
 * it keeps that one. */
void prefix_cache_add(struct prefix_cache *cache, struct prefix_chain *chain, const int32_t *tokens, int32_t page);
/* A page for new content of that key, one reference; -1 when every page is held by a sequence. Where another key wrote to it
 * before, that is in it until prefix_cache_wipe. */
int32_t prefix_cache_take(struct prefix_cache *cache, uint64_t key);
/* Zeroes such pages: after the takes of a step, before anything is written to them. Takes a while, and touches nothing that
 * other threads look at: to be called without the mutex. */
void prefix_cache_wipe(struct prefix_cache *cache);
/* A sequence gives its pages [n], in order, back. Those that the cache has were used now; of them the last will go first. */
void prefix_cache_release(struct prefix_cache *cache, const int32_t *pages, int n);
/* Pages that only the cache holds; right as long as all others that come from here are given back here. */
int prefix_cache_pages(const struct prefix_cache *cache);

#endif
