/* KV pages: the pool, reference counts, and where keys and values lie in a page.
 *
 * A page holds the keys and values of page_tokens consecutive positions of one sequence, in every layer. It is taken
 * with one reference, may be shared (prefix cache, copy on write) and returns to the pool with the last release. Pages
 * that are full and shared are never written. One thread (the engine's) owns the pool; counts may be read from others.
 *
 * Page: for each layer, keys [n_kv_heads, page_tokens, head_dim] then values in the same shape.
 */
#ifndef TALLOW_MODEL_KV_H
#define TALLOW_MODEL_KV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "tensor/dtype.h"

struct kv_shape {
	enum dtype type; /* F32, F16, BF16 */
	int n_layers;
	int n_kv_heads;
	int head_dim;
	int page_tokens; /* a multiple of the prefill tile */
};

/* Bytes of one page, rounded up to 4096 so that pages can be given back to the system one by one; false on overflow. */
bool kv_page_bytes(const struct kv_shape *shape, size_t *n_bytes);
/* Offset in a page of layer `layer`'s keys and values. */
size_t kv_k_offset(const struct kv_shape *shape, int layer);
size_t kv_v_offset(const struct kv_shape *shape, int layer);

struct kv_pool;

/* Maps address space for n_pages; memory is used as pages are first written. */
struct kv_pool *kv_pool_create(const struct kv_shape *shape, int n_pages, struct error *error) MUST_USE;
void kv_pool_destroy(struct kv_pool *pool);

int kv_pool_total(const struct kv_pool *pool);
int kv_pool_free(const struct kv_pool *pool);
int32_t kv_page_take(struct kv_pool *pool); /* one reference; -1 when none is free */
void kv_page_share(struct kv_pool *pool, int32_t page);
void kv_page_release(struct kv_pool *pool, int32_t page);
int kv_page_references(const struct kv_pool *pool, int32_t page);
unsigned char *kv_page_data(const struct kv_pool *pool, int32_t page);

#endif
