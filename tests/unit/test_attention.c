/* Attention over pages: against the formula in double precision, and the same bits however rows, heads, jobs and
 * threads are grouped, with and without a window. */
#include "kernel_check.h"

#include <math.h>

/* One sequence of n_positions with its own pages, keys and values both as stored and in f32. */
struct sequence {
	int n_positions, n_heads, n_kv_heads, head_dim, page_tokens;
	enum dtype k_type, v_type;
	int window; /* 0 = all */
	unsigned char **pages;
	int n_pages;
	size_t v_offset;
	float *q, *k, *v; /* [n_positions, heads, head_dim], k and v after rounding to their types */
};

static size_t row_bytes_of(int head_dim, enum dtype type)
{
	const struct dtype_info *info = dtype_info(type);
	return (size_t)(head_dim / info->block_elements) * (size_t)info->block_bytes;
}

static void store(struct sequence *s, const struct kernels *oracle, float *rows, enum dtype type, size_t offset)
{
	size_t row_bytes = row_bytes_of(s->head_dim, type);
	for (int p = 0; p < s->n_positions; p++)
		for (int h = 0; h < s->n_kv_heads; h++) {
			float *row = rows + ((size_t)p * (size_t)s->n_kv_heads + (size_t)h) * (size_t)s->head_dim;
			size_t slot = (size_t)h * (size_t)s->page_tokens + (size_t)(p % s->page_tokens);
			unsigned char *to = s->pages[p / s->page_tokens] + offset + slot * row_bytes;
			oracle->narrow(to, type, row, s->head_dim);
			oracle->widen(row, to, type, s->head_dim);
		}
}

static struct sequence make_sequence(int n_positions, int n_heads, int n_kv_heads, int head_dim, int page_tokens,
                                     enum dtype k_type, enum dtype v_type, uint64_t seed)
{
	struct kernels *oracle = open_set(ISA_SCALAR, COMPUTE_AUTO, 64);
	struct sequence s = {.n_positions = n_positions,
	                     .n_heads = n_heads,
	                     .n_kv_heads = n_kv_heads,
	                     .head_dim = head_dim,
	                     .page_tokens = page_tokens,
	                     .k_type = k_type,
	                     .v_type = v_type};
	size_t page_rows = (size_t)(n_kv_heads * page_tokens);
	s.v_offset = page_rows * row_bytes_of(head_dim, k_type);
	size_t page_bytes = s.v_offset + page_rows * row_bytes_of(head_dim, v_type);
	s.n_pages = (n_positions + page_tokens - 1) / page_tokens;
	s.pages = allocate((size_t)s.n_pages * sizeof *s.pages);
	for (int i = 0; i < s.n_pages; i++) {
		s.pages[i] = allocate(page_bytes);
		memset(s.pages[i], 0xff, page_bytes); /* NaN in every type: what was never written must never count */
	}
	size_t width = (size_t)n_positions * (size_t)head_dim;
	s.q = random_floats(width * (size_t)n_heads, seed);
	s.k = random_floats(width * (size_t)n_kv_heads, seed + 1);
	s.v = random_floats(width * (size_t)n_kv_heads, seed + 2);
	for (size_t i = 0; i < width * (size_t)n_heads; i++)
		s.q[i] *= 8; /* scores that differ enough for the maximum to move from block to block */
	store(&s, oracle, s.k, k_type, 0);
	store(&s, oracle, s.v, v_type, s.v_offset);
	kernels_destroy(oracle);
	return s;
}

static void free_sequence(struct sequence *s)
{
	for (int i = 0; i < s->n_pages; i++)
		free(s->pages[i]);
	free(s->pages);
	free(s->q);
	free(s->k);
	free(s->v);
}

static struct attention_job job_of(const struct sequence *s, int first, int n_rows, float *out)
{
	size_t offset = (size_t)first * (size_t)(s->n_heads * s->head_dim);
	return (struct attention_job){
	    .q = s->q + offset,
	    .out = out + offset,
	    .n_rows = n_rows,
	    .position = first,
	    .window = s->window,
	    .n_heads = s->n_heads,
	    .scale = 1 / sqrtf((float)s->head_dim),
	    .kv = {.pages = (const unsigned char *const *)s->pages,
	           .k_offset = 0,
	           .v_offset = s->v_offset,
	           .k_type = s->k_type,
	           .v_type = s->v_type,
	           .page_tokens = s->page_tokens,
	           .n_kv_heads = s->n_kv_heads,
	           .head_dim = s->head_dim},
	};
}

/* softmax(q k^T * scale) v of one row and head, in double. */
static void reference(const struct sequence *s, int row, int head, double *out)
{
	int kv_head = head / (s->n_heads / s->n_kv_heads);
	const float *q = s->q + ((size_t)row * (size_t)s->n_heads + (size_t)head) * (size_t)s->head_dim;
	double *weights = allocate((size_t)(row + 1) * sizeof *weights), top = -INFINITY, sum = 0;
	int oldest = s->window && row >= s->window ? row - s->window + 1 : 0;
	for (int p = oldest; p <= row; p++) {
		const float *k = s->k + ((size_t)p * (size_t)s->n_kv_heads + (size_t)kv_head) * (size_t)s->head_dim;
		for (int i = 0; i < s->head_dim; i++)
			weights[p] += (double)q[i] * k[i];
		weights[p] *= (double)(1 / sqrtf((float)s->head_dim));
		top = weights[p] > top ? weights[p] : top;
	}
	memset(out, 0, (size_t)s->head_dim * sizeof *out);
	for (int p = oldest; p <= row; p++) {
		double weight = exp(weights[p] - top);
		const float *v = s->v + ((size_t)p * (size_t)s->n_kv_heads + (size_t)kv_head) * (size_t)s->head_dim;
		sum += weight;
		for (int i = 0; i < s->head_dim; i++)
			out[i] += weight * v[i];
	}
	for (int i = 0; i < s->head_dim; i++)
		out[i] /= sum;
	free(weights);
}

static void check_against_reference(const struct sequence *s, const float *out)
{
	double *expected = allocate((size_t)s->head_dim * sizeof *expected);
	for (int row = 0; row < s->n_positions; row++)
		for (int head = 0; head < s->n_heads; head++) {
			reference(s, row, head, expected);
			const float *got = out + ((size_t)row * (size_t)s->n_heads + (size_t)head) * (size_t)s->head_dim;
			/* Scores reach about 8 and carry head_dim roundings each; weights follow them relatively; |v| <= 1. */
			for (int i = 0; i < s->head_dim; i++)
				assert_true(fabs(got[i] - expected[i]) <= 2e-5);
		}
	free(expected);
}

static struct pool *open_pool(int n_threads)
{
	struct error error = {0};
	struct pool *pool = pool_create(n_threads, NULL, 0, &error);
	assert_non_null(pool);
	return pool;
}

/* All rows at once is the base; then row by row, odd slices, beside another job, and with other numbers of threads. */
static void check_sequence(const struct kernels *set, struct pool *const *pools, const struct sequence *s,
                           const struct sequence *other)
{
	size_t n = (size_t)s->n_positions * (size_t)(s->n_heads * s->head_dim);
	size_t n_other = (size_t)other->n_positions * (size_t)(other->n_heads * other->head_dim);
	float *base = allocate(n * 4), *out = allocate(n * 4), *beside = allocate(n_other * 4);
	struct attention_job job = job_of(s, 0, s->n_positions, base);
	attention_run(set, pools[0], &job, 1);
	check_against_reference(s, base);

	static const int slices[] = {1, 5, 64, 100};
	for (int i = 0; i < 4; i++) {
		memset(out, 0xff, n * 4);
		for (int first = 0; first < s->n_positions; first += slices[i]) {
			int left = s->n_positions - first;
			struct attention_job jobs[] = {
			    job_of(other, other->n_positions - 1 - i, 1, beside),
			    job_of(s, first, left < slices[i] ? left : slices[i], out),
			    job_of(other, 0, 1 + i, beside),
			};
			attention_run(set, pools[(i + first) % MAX_THREADS], jobs, 3);
		}
		assert_memory_equal(out, base, n * 4);
	}
	free(base);
	free(out);
	free(beside);
}

static void test_sets(void **state)
{
	(void)state;
	static const struct {
		int n_positions, n_heads, n_kv_heads, head_dim, page_tokens;
		enum dtype k_type, v_type;
	} shapes[] = {
	    {150, 8, 1, 64, 64, DTYPE_F16, DTYPE_F16},  {150, 4, 4, 64, 32, DTYPE_BF16, DTYPE_BF16},
	    {130, 6, 2, 20, 128, DTYPE_F32, DTYPE_F32}, {70, 2, 1, 80, 32, DTYPE_F16, DTYPE_F16},
	    {70, 14, 2, 8, 16, DTYPE_BF16, DTYPE_BF16}, {40, 2, 2, 300, 32, DTYPE_F16, DTYPE_F16},
	    {150, 8, 2, 64, 32, DTYPE_Q8, DTYPE_Q8},    {70, 2, 2, 32, 128, DTYPE_Q8, DTYPE_Q8},
	    {20, 100, 1, 16, 32, DTYPE_F32, DTYPE_F32}, {66, 2, 1, 128, 48, DTYPE_F32, DTYPE_F32},
	    {1, 3, 3, 2, 32, DTYPE_F32, DTYPE_F32},     {90, 4, 2, 64, 32, DTYPE_F16, DTYPE_Q8},
	};
	struct pool *pools[MAX_THREADS];
	for (int i = 0; i < MAX_THREADS; i++)
		pools[i] = open_pool(i + 1);
	struct sequence other = make_sequence(90, 4, 2, 32, 32, DTYPE_F16, DTYPE_F16, 1000);
	for (int i = 0; i < N_ISAS; i++) {
		struct kernels *set = open_set(all_isas[i], COMPUTE_AUTO, 512);
		for (size_t j = 0; set && j < sizeof shapes / sizeof *shapes; j++) {
			struct sequence s =
			    make_sequence(shapes[j].n_positions, shapes[j].n_heads, shapes[j].n_kv_heads, shapes[j].head_dim,
			                  shapes[j].page_tokens, shapes[j].k_type, shapes[j].v_type, j * 10);
			/* Windows of one key, within a block, of whole blocks, over block borders, and longer than all. */
			static const int windows[] = {0, 1, 7, 64, 65, 100, 1000};
			for (size_t k = 0; k < sizeof windows / sizeof *windows; k++) {
				s.window = windows[k];
				check_sequence(set, pools, &s, &other);
			}
			free_sequence(&s);
		}
		kernels_destroy(set);
	}
	free_sequence(&other);
	for (int i = 0; i < MAX_THREADS; i++)
		pool_destroy(pools[i]);
}

/* A later position that is not finite (a broken model, or a row another request wrote) changes nothing before it. */
static void test_future_is_not_read(void **state)
{
	(void)state;
	struct pool *pool = open_pool(2);
	struct sequence clean = make_sequence(100, 4, 2, 64, 32, DTYPE_F32, DTYPE_F32, 5);
	struct sequence broken = make_sequence(100, 4, 2, 64, 32, DTYPE_F32, DTYPE_F32, 5);
	size_t row_bytes = 64 * 4;
	for (int p = 77; p < 100; p++)
		for (int h = 0; h < 2; h++) {
			unsigned char *at = broken.pages[p / 32] + (size_t)(h * 32 + p % 32) * row_bytes;
			memset(at, 0xff, row_bytes);
			memset(at + broken.v_offset, 0xff, row_bytes);
		}
	size_t n = 100 * 4 * 64;
	float *a = allocate(n * 4), *b = allocate(n * 4);
	for (int i = 0; i < N_ISAS; i++) {
		struct kernels *set = open_set(all_isas[i], COMPUTE_AUTO, 256);
		if (!set)
			continue;
		struct attention_job jobs[] = {job_of(&clean, 0, 100, a), job_of(&broken, 0, 100, b)};
		attention_run(set, pool, jobs, 2);
		assert_memory_equal(a, b, (size_t)77 * 4 * 64 * 4);
		assert_true(isnan(b[(size_t)77 * 4 * 64]));
		kernels_destroy(set);
	}
	free(a);
	free(b);
	free_sequence(&clean);
	free_sequence(&broken);
	pool_destroy(pool);
}

/* Nor does one that is not finite before the window; the row at its edge still sees it. */
static void test_what_lies_before_the_window_is_not_read(void **state)
{
	(void)state;
	enum { N = 150, WINDOW = 37, BROKEN = 20, WIDTH = 4 * 64 };
	struct pool *pool = open_pool(2);
	struct sequence clean = make_sequence(N, 4, 2, 64, 32, DTYPE_F32, DTYPE_F32, 5);
	struct sequence broken = make_sequence(N, 4, 2, 64, 32, DTYPE_F32, DTYPE_F32, 5);
	clean.window = broken.window = WINDOW;
	size_t row_bytes = 64 * 4;
	for (int h = 0; h < 2; h++) {
		unsigned char *at = broken.pages[BROKEN / 32] + (size_t)(h * 32 + BROKEN % 32) * row_bytes;
		memset(at, 0xff, row_bytes);
		memset(at + broken.v_offset, 0xff, row_bytes);
	}
	float *a = allocate((size_t)N * WIDTH * 4), *b = allocate((size_t)N * WIDTH * 4);
	for (int i = 0; i < N_ISAS; i++) {
		struct kernels *set = open_set(all_isas[i], COMPUTE_AUTO, 256);
		if (!set)
			continue;
		struct attention_job jobs[] = {job_of(&clean, 0, N, a), job_of(&broken, 0, N, b)};
		attention_run(set, pool, jobs, 2);
		assert_memory_equal(a, b, (size_t)BROKEN * WIDTH * 4);
		assert_true(isnan(b[(size_t)BROKEN * WIDTH]) && isnan(b[(size_t)(BROKEN + WINDOW - 1) * WIDTH]));
		size_t after = (size_t)(BROKEN + WINDOW) * WIDTH;
		assert_memory_equal(a + after, b + after, ((size_t)N * WIDTH - after) * 4);
		kernels_destroy(set);
	}
	free(a);
	free(b);
	free_sequence(&clean);
	free_sequence(&broken);
	pool_destroy(pool);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_sets),
	    cmocka_unit_test(test_what_lies_before_the_window_is_not_read),
	    cmocka_unit_test(test_future_is_not_read),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
