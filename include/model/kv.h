/* KV pages: the pool, reference counts, and where keys and values lie in a page.
 *
 * A page holds the keys and values of page_tokens consecutive positions of one sequence, in every layer. It is taken
 * with one reference, may be shared (prefix cache) and returns to the pool with the last release. Pages that are shared
 * are full and never written. One thread (the model's) owns the pool; kv_pool_total and kv_pool_free may be called from
 * others, too.
 *
 * Page: for each layer, keys [n_kv_heads, page_tokens, head_dim] then values in the same shape, each begun at a multiple
 * of 64 bytes.
 */
#ifndef TALLOW_MODEL_KV_H
#define TALLOW_MODEL_KV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "tensor/dtype.h"

struct kv_shape {
	/* F32, F16, BF16 or Q8 (blocks of 32 with an f16 scale before them: struct kv_view) */
	enum dtype k_type, v_type;
	int n_layers;
	int n_kv_heads;
	int head_dim;    /* a multiple of the types' blocks */
	int page_tokens; /* a multiple of the prefill tile */
};

/* Bytes of one page, rounded up to 4096 so that pages can be given back to the system one by one; false on overflow. */
bool kv_page_bytes(const struct kv_shape *shape, size_t *n_bytes) MUST_USE;
/* Bytes from the start of a page to the keys, and to the values, of layer `layer`; of a shape that kv_page_bytes took. */
size_t kv_k_offset(const struct kv_shape *shape, int layer);
size_t kv_v_offset(const struct kv_shape *shape, int layer);

/* Brings the finite values of a row [n] within what `type` can hold, so that storing makes none of them infinite: f16 ends
 * at 65504, and keys of bf16 models need not. What is not finite stays, to show in the logits. */
void kv_saturate(enum dtype type, float *row, int64_t n);

struct kv_pool;

/* Maps address space for n_pages (>= 1), all free; memory is used as pages are first written. ERROR_MEMORY when they
 * cannot be counted or mapped. Caller destroys. */
struct kv_pool *kv_pool_create(const struct kv_shape *shape, int n_pages, struct error *error) MUST_USE;
/* Whatever is still taken; NULL is harmless. */
void kv_pool_destroy(struct kv_pool *pool);

/* Pages in all, and those that nobody has. */
int kv_pool_total(const struct kv_pool *pool);
int kv_pool_free(const struct kv_pool *pool);
/* A page with one reference, the one released last, with what it held; -1 when none is free. */
int32_t kv_page_take(struct kv_pool *pool);
/* One reference more, and one less, of a page that has some; with the last one it is free. */
void kv_page_share(struct kv_pool *pool, int32_t page);
void kv_page_release(struct kv_pool *pool, int32_t page);
/* Zeroes what it holds; for who has its only reference, or one that is free. */
void kv_page_wipe(struct kv_pool *pool, int32_t page);
/* 0: it is free. */
int kv_page_references(const struct kv_pool *pool, int32_t page);
/* The page's bytes, aligned to 4096, valid until the pool is destroyed; to be used by who holds a reference. */
unsigned char *kv_page_data(const struct kv_pool *pool, int32_t page);

#endif
