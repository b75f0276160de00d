/* KV pages: one mapping, a stack of free pages, a reference count each. */
#include "model/kv.h"

#include <assert.h>
#include <float.h>
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/checked.h"

enum { PAGE_ALIGN_BYTES = 4096 };

struct kv_pool {
	unsigned char *base;
	size_t page_bytes;
	size_t n_bytes;
	int n_pages;
	atomic_int n_free;   /* written by the owner, read by anyone */
	int32_t *free_pages; /* [n_pages], a stack: the page released last is taken first, while it is still in cache */
	int *references;     /* [n_pages] */
};

/* Keys (or values) of one layer in one page, stored as `type`. */
static bool half_layer_bytes(const struct kv_shape *shape, enum dtype type, size_t *n_bytes)
{
	size_t n;
	return checked_mul((size_t)shape->n_kv_heads, (size_t)shape->page_tokens, &n) &&
	       checked_mul(n, (size_t)shape->head_dim, &n) && dtype_bytes(type, n, &n) && checked_add(n, 63, &n) &&
	       (*n_bytes = n / 64 * 64, true);
}

static bool layer_bytes(const struct kv_shape *shape, size_t *n_bytes)
{
	size_t keys, values;
	return half_layer_bytes(shape, shape->k_type, &keys) && half_layer_bytes(shape, shape->v_type, &values) &&
	       checked_add(keys, values, n_bytes);
}

bool kv_page_bytes(const struct kv_shape *shape, size_t *n_bytes)
{
	size_t n;
	if (!layer_bytes(shape, &n) || !checked_mul(n, (size_t)shape->n_layers, &n) ||
	    !checked_add(n, PAGE_ALIGN_BYTES - 1, &n))
		return false;
	*n_bytes = n / PAGE_ALIGN_BYTES * PAGE_ALIGN_BYTES;
	return true;
}

size_t kv_k_offset(const struct kv_shape *shape, int layer)
{
	size_t n = 0;
	bool fits = layer_bytes(shape, &n);
	assert(fits);
	(void)fits;
	return n * (size_t)layer;
}

size_t kv_v_offset(const struct kv_shape *shape, int layer)
{
	size_t n = 0;
	bool fits = half_layer_bytes(shape, shape->k_type, &n);
	assert(fits);
	(void)fits;
	return kv_k_offset(shape, layer) + n;
}

/* The largest value that does not round to infinity; of Q8, whose scale is an f16, 127 times that. */
static float largest_value(enum dtype type)
{
	const float f16 = 65504.0f;
	return type == DTYPE_F16 ? f16 : type == DTYPE_Q8 ? 127 * f16 : type == DTYPE_BF16 ? 0x1.FEp127f : FLT_MAX;
}

/* Whether |x| > most anywhere, not-a-number included: magnitudes of floats are ordered as their bits are. Every key and
 * value goes through here, and nearly none is. */
static bool any_beyond(const float *row, int64_t n, float most)
{
	typedef int32_t lanes __attribute__((vector_size(16)));
	enum { N_LANES = 4, MAGNITUDE = 0x7FFFFFFF };
	int32_t limit, bits, found = 0;
	lanes over = {0}, four;
	int64_t i = 0;
	memcpy(&limit, &most, sizeof limit);
	for (; i + N_LANES <= n; i += N_LANES) {
		memcpy(&four, row + i, sizeof four);
		over |= (four & MAGNITUDE) > limit;
	}
	for (; i < n; i++) {
		memcpy(&bits, row + i, sizeof bits);
		found |= (bits & MAGNITUDE) > limit;
	}
	return found | over[0] | over[1] | over[2] | over[3];
}

void kv_saturate(enum dtype type, float *row, int64_t n)
{
	float most = largest_value(type);
	if (!any_beyond(row, n, most))
		return;
	for (int64_t i = 0; i < n; i++)
		if (fabsf(row[i]) > most && fabsf(row[i]) <= FLT_MAX)
			row[i] = copysignf(most, row[i]);
}

struct kv_pool *kv_pool_create(const struct kv_shape *shape, int n_pages, struct error *error)
{
	struct kv_pool *pool = calloc(1, sizeof *pool);
	size_t page_bytes, n_bytes;
	if (!pool || n_pages < 1 || !kv_page_bytes(shape, &page_bytes) ||
	    !checked_mul(page_bytes, (size_t)n_pages, &n_bytes)) {
		free(pool);
		error_set(error, ERROR_MEMORY, "cannot lay out %d KV pages", n_pages);
		return NULL;
	}
	pool->page_bytes = page_bytes;
	pool->n_bytes = n_bytes;
	pool->n_pages = n_pages;
	pool->free_pages = malloc((size_t)n_pages * sizeof *pool->free_pages);
	pool->references = calloc((size_t)n_pages, sizeof *pool->references);
	void *base = mmap(NULL, n_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	pool->base = base == MAP_FAILED ? NULL : base;
	if (!pool->base || !pool->free_pages || !pool->references) {
		kv_pool_destroy(pool);
		error_set(error, ERROR_MEMORY, "cannot map %zu bytes for %d KV pages", n_bytes, n_pages);
		return NULL;
	}
	(void)madvise(base, n_bytes, MADV_DONTDUMP); /* what was asked and said is no part of a core dump */
	for (int i = 0; i < n_pages; i++)
		pool->free_pages[i] = n_pages - 1 - i;
	atomic_init(&pool->n_free, n_pages);
	return pool;
}

void kv_pool_destroy(struct kv_pool *pool)
{
	if (!pool)
		return;
	if (pool->base)
		munmap(pool->base, pool->n_bytes);
	free(pool->free_pages);
	free(pool->references);
	free(pool);
}

int kv_pool_total(const struct kv_pool *pool)
{
	return pool->n_pages;
}

int kv_pool_free(const struct kv_pool *pool)
{
	return atomic_load_explicit(&pool->n_free, memory_order_relaxed);
}

int32_t kv_page_take(struct kv_pool *pool)
{
	int n_free = kv_pool_free(pool);
	if (n_free == 0)
		return -1;
	int32_t page = pool->free_pages[n_free - 1];
	atomic_store_explicit(&pool->n_free, n_free - 1, memory_order_relaxed);
	assert(pool->references[page] == 0);
	pool->references[page] = 1;
	return page;
}

void kv_page_share(struct kv_pool *pool, int32_t page)
{
	assert(page >= 0 && page < pool->n_pages && pool->references[page] > 0);
	pool->references[page]++;
}

void kv_page_release(struct kv_pool *pool, int32_t page)
{
	assert(page >= 0 && page < pool->n_pages && pool->references[page] > 0);
	if (--pool->references[page] > 0)
		return;
	int n_free = kv_pool_free(pool);
	pool->free_pages[n_free] = page;
	atomic_store_explicit(&pool->n_free, n_free + 1, memory_order_relaxed);
}

void kv_page_wipe(struct kv_pool *pool, int32_t page)
{
	assert(kv_page_references(pool, page) <= 1);
	memset(kv_page_data(pool, page), 0, pool->page_bytes);
}

int kv_page_references(const struct kv_pool *pool, int32_t page)
{
	assert(page >= 0 && page < pool->n_pages);
	return pool->references[page];
}

unsigned char *kv_page_data(const struct kv_pool *pool, int32_t page)
{
	assert(page >= 0 && page < pool->n_pages);
	return pool->base + (size_t)page * pool->page_bytes;
}
