/* Matrix products: the paths, which one serves whom, and how rows, weights and workers are cut into tasks. The loops over
 * numbers belong to the sets, to amx.c, or to OpenBLAS.
 */
#include "kernels/matmul.h"

#include <assert.h>
#include <cblas.h>
#include <string.h>

#include "base/bytes.h"
#include "kernels/convert.h"
#include "kernels/layout.h"
#include "kernels/product.h"

enum {
	TILE_ROWS = 128,    /* sgemm with 128 rows runs at about 85% of its speed with 512 */
	TILE_COLUMNS = 128, /* of a wide weight */
	TILE_COLUMNS_NARROW = 64,
	NARROW_OUTPUTS = 512, /* narrower weights are cut finer, for the sake of more tasks */
};

/* Whether inputs of more care share low halves, too, instead of being fine, where that can be. Measured on Zen 5,
 * prefill of 512 beside the fastest peer: with fine ones 1.09 instead of 1.11 (Q5_1, Q4_K), 1.09 instead of 1.16
 * (Q5_K), 1.14 instead of 1.18 (IQ4_XS); of the other types that are shared at least 1.107. */
static bool shares_all(enum dtype type)
{
	return type == DTYPE_Q51 || type == DTYPE_Q4K || type == DTYPE_Q5K || type == DTYPE_IQ4X;
}

/* How activations for weights of few bits are rounded. Where low halves can be shared those of usual care are (prefill
 * at 0.67 to 0.74 of the speed of 8 bits is still faster than the fastest peer's), but for IQ4_XS, of which that cannot
 * be said. Values of a byte that AVX2 cannot multiply by 8 bits meet fine ones, but for IQ4_XS's, whose factors leave
 * room for those by super-blocks. Q6_K with AVX2, whose halves would leave little of what sharing saves, is fast enough
 * with fine ones.
 * Weights of 2 bits are so far from what they were made of that anything above 8 bits would be time for nothing. */
static enum quant_grain grain_of(const struct kernels *kernels, const struct matmul_input *input)
{
	const struct kernels_inner *inner = kernels->inner;
	const enum dtype type = input->type;
	const bool always = input->care == CARE_ALWAYS || kernels->compute == COMPUTE_FINE;
	if (always)
		return GRAIN_FINE;
	if (inner->wide_is_fine && quant_is_wide(type))
		return quant_sums_supers(type) ? GRAIN_SUPER : GRAIN_FINE;
	if (kernels->compute != COMPUTE_AUTO || type == DTYPE_Q2K)
		return GRAIN_COARSE;
	if (type == DTYPE_Q6K && inner->shared == GRAIN_SHORT)
		return GRAIN_FINE;
	const bool shares = quant_share(type, inner->shared) != 0;
	if (input->care == CARE_MORE)
		return shares && shares_all(type) ? inner->shared : GRAIN_FINE;
	return shares && type != DTYPE_IQ4X ? inner->shared : GRAIN_COARSE;
}

/* ---- rows ---- */

static void prepare_bf16(const struct prepared_row *row)
{
	size_t used = (size_t)row->n_in * sizeof(uint16_t);
	row->kernels->narrow(row->out, DTYPE_BF16, row->x, row->n_in);
	memset(row->out + used, 0, bf16_row_bytes(row->n_in) - used);
}

static void prepare_split(const struct prepared_row *row)
{
	row->kernels->inner->set->split_row((void *)row->out, row->x, row->n_in);
}

/* Room for fine groups in any case. */
static size_t quant_row_bytes(int64_t n_in)
{
	return ((size_t)quant_groups(n_in) + 1) * sizeof(struct quant_fine_group);
}

static void prepare_quant(const struct prepared_row *row)
{
	row->kernels->inner->set->quantise_row(row->out, row->grain, row->x, row->n_in, row->type);
}

/* ---- columns ---- */

static int64_t sgemm_columns(const struct region *region, const struct weight *weight)
{
	(void)region;
	return weight->n_out < NARROW_OUTPUTS ? TILE_COLUMNS_NARROW : TILE_COLUMNS;
}

static void quant_span(const struct region *region, const struct row_span *span, struct columns columns,
                       const float *widened)
{
	(void)widened;
	const struct weight *weight = region->weights[columns.index];
	uint16_t *scales;
	const unsigned char *strip = weight_strip(weight, columns.first, &scales);
	struct quant_product product = {
	    .x = prepared_at(region, span->first),
	    .x_stride_bytes = region->prepared_stride,
	    .grain = grain_of(region->kernels, region->input),
	    .n_rows = span->n_rows,
	    .w = strip,
	    .scales = scales,
	    .n_outputs = (int)columns.n,
	    .n_groups = quant_groups(weight->n_in),
	    .out = output_at(region, columns, span->first),
	    .out_stride = (size_t)weight->n_out,
	};
	region->kernels->inner->quant(weight->type, &product);
}

static void dot_span(const struct region *region, const struct row_span *span, struct columns columns,
                     const float *widened)
{
	const struct weight *weight = region->weights[columns.index];
	struct dot_block block = {
	    .x = region->input->x + span->first * weight->n_in,
	    .x_stride_bytes = (size_t)weight->n_in * sizeof(float),
	    .n_rows = span->n_rows,
	    .w = widened ? (const unsigned char *)widened : weight_row(weight, columns.first),
	    .w_stride_bytes = widened ? (size_t)weight->n_in * sizeof(float) : weight_row_bytes(weight),
	    .n_outputs = (int)columns.n,
	    .n_in = weight->n_in,
	    .out = output_at(region, columns, span->first),
	    .out_stride = (size_t)weight->n_out,
	};
	region->kernels->inner->set->dot[widened ? DTYPE_F32 : weight->type](&block);
}

/* Rows as they were prepared, weights where they lie. */
static void prepared_dot_span(const struct region *region, const struct row_span *span, struct columns columns,
                              dot_function *dot)
{
	const struct weight *weight = region->weights[columns.index];
	struct dot_block block = {
	    .x = prepared_at(region, span->first),
	    .x_stride_bytes = region->prepared_stride,
	    .n_rows = span->n_rows,
	    .w = weight_row(weight, columns.first),
	    .w_stride_bytes = weight_row_bytes(weight),
	    .n_outputs = (int)columns.n,
	    .n_in = weight->n_in,
	    .out = output_at(region, columns, span->first),
	    .out_stride = (size_t)weight->n_out,
	};
	dot(&block);
}

static void bf16_dot_span(const struct region *region, const struct row_span *span, struct columns columns,
                          const float *widened)
{
	(void)widened;
	prepared_dot_span(region, span, columns, region->kernels->inner->bf16_dot);
}

static void split_dot_span(const struct region *region, const struct row_span *span, struct columns columns,
                           const float *widened)
{
	(void)widened;
	prepared_dot_span(region, span, columns, region->kernels->inner->set->split_dot);
}

static void sgemm_span(const struct region *region, const struct row_span *span, struct columns columns, const float *w)
{
	int64_t n_in = region->input->n_in, n_out = region->weights[columns.index]->n_out;
	for (int row = 0; row < span->n_rows; row += TILE_ROWS) {
		int left = (int)round_up((size_t)(span->n_rows - row), MATMUL_ROW_PAD);
		int n_rows = left < TILE_ROWS ? left : TILE_ROWS;
		cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, n_rows, (int)columns.n, (int)n_in, 1.0f,
		            region->input->x + (span->first + row) * n_in, (int)n_in, w, (int)n_in, 0.0f,
		            output_at(region, columns, span->first + row), (int)n_out);
	}
}

/* ---- paths ---- */

enum path {
	PATH_DOT,
	PATH_WIDENED_DOT,
	PATH_SPLIT_DOT,
	PATH_BF16_DOT,
	PATH_QUANT,
	PATH_SGEMM,
	PATH_AMX_FEW,
	PATH_AMX_MANY,
};

static const struct product_path paths[] = {
    /* The set's dot kernels on f32 activations, with weights as they lie, or widened first where they do not read them. */
    [PATH_DOT] = {"dot", ARITHMETIC_F32, BITS_DOT, .tile_rows = 1, .multiply = dot_span},
    [PATH_WIDENED_DOT] = {"widened dot", ARITHMETIC_F32, BITS_DOT, .tile_rows = 1, .widens = true,
                          .multiply = dot_span},
    /* The same with bf16 weights, for activations that are laid out as these become floats fastest. */
    [PATH_SPLIT_DOT] = {"split dot", ARITHMETIC_BF16, BITS_SPLIT_DOT, .tile_rows = 1, .row_bytes = split_row_bytes,
                        .prepare = prepare_split, .multiply = split_dot_span},
    /* The same with activations rounded to bf16. */
    [PATH_BF16_DOT] = {"bf16 dot", ARITHMETIC_BF16, BITS_BF16_DOT, .tile_rows = 1, .row_bytes = bf16_row_bytes,
                       .prepare = prepare_bf16, .multiply = bf16_dot_span},
    /* Exact integers; activations rounded to 8 to 15 bits. */
    [PATH_QUANT] = {"integers", ARITHMETIC_INT8, BITS_QUANT, .tile_rows = 1, .row_bytes = quant_row_bytes,
                    .prepare = prepare_quant, .multiply = quant_span},
    /* OpenBLAS on weights widened to f32, always in the same tiles (kernels/matmul.h says why). */
    [PATH_SGEMM] = {"sgemm", ARITHMETIC_F32, BITS_SGEMM, .tile_rows = TILE_ROWS, .widens = true,
                    .columns = sgemm_columns, .multiply = sgemm_span},
    /* bf16 weights where they lie. */
    [PATH_AMX_FEW] = {"tiles, few rows", ARITHMETIC_TILES, BITS_TILES, .tile_rows = 1, .row_bytes = bf16_row_bytes,
                      .prepare = amx_prepare_few, .multiply = amx_multiply_span},
    /* Weights that are tiles already, or of any type packed as such; activations rounded to bf16. */
    [PATH_AMX_MANY] = {"tiles, many rows", ARITHMETIC_TILES, BITS_TILES, .tile_rows = 1, .row_bytes = bf16_row_bytes,
                       .prepare = amx_prepare_many, .begin = amx_begin, .columns = amx_columns,
                       .multiply_all = amx_multiply_spans},
};

/* Measured on Zen 4, 128 and 512 rows: sgemm is 1.2 to 1.6 times as fast as the AVX2 dot kernels (but not as the split one,
 * which on Zen 2 is 1.05 to 1.1 times as fast as sgemm), and the AVX-512 ones
 * are 1.1 to 1.4 times as fast as sgemm, which packs every weight anew for every tile. AMX multiplies bf16 an order of
 * magnitude faster than anything else here, so prefill of quantised weights goes that way, too: rounding an 8-bit weight
 * times its scale to bf16 costs less than rounding activations to 8 bits does. */
const struct product_path *product_path(const struct kernels *kernels, enum dtype type, enum row_phase phase)
{
	const struct kernels_inner *inner = kernels->inner;
	if (type == DTYPE_BF16T)
		return &paths[PATH_AMX_MANY];
	if (inner->amx && type == DTYPE_BF16)
		return &paths[phase == ROWS_PREFILL ? PATH_AMX_MANY : PATH_AMX_FEW];
	if (inner->amx && quant_is(type) && phase == ROWS_PREFILL)
		return &paths[PATH_AMX_MANY];
	if (inner->bf16_dot && type == DTYPE_BF16)
		return &paths[PATH_BF16_DOT];
	if (inner->set->split_dot && type == DTYPE_BF16)
		return &paths[PATH_SPLIT_DOT];
	if (inner->quant && quant_is(type))
		return &paths[PATH_QUANT];
	bool avx2 = kernels->isa == ISA_AVX2 || kernels->isa == ISA_AVX2VNNI;
	if (avx2 && !quant_is(type) && phase == ROWS_PREFILL)
		return &paths[PATH_SGEMM];
	return &paths[inner->set->dot[type] ? PATH_DOT : PATH_WIDENED_DOT];
}

int matmul_tile_rows(const struct kernels *kernels, enum dtype type)
{
	return product_path(kernels, type, ROWS_PREFILL)->tile_rows;
}

bool matmul_phase_invariant(const struct kernels *kernels, enum dtype type)
{
	return product_path(kernels, type, ROWS_PREFILL)->bits == product_path(kernels, type, ROWS_DECODE)->bits;
}

bool matmul_prefers_tiles(const struct kernels *kernels)
{
	return kernels->inner->amx;
}

enum arithmetic matmul_arithmetic(const struct kernels *kernels, enum dtype type, enum row_phase phase)
{
	return product_path(kernels, type, phase)->arithmetic;
}

size_t matmul_worker_bytes(int64_t max_n_in)
{
	size_t widened = (size_t)TILE_COLUMNS * (size_t)max_n_in * sizeof(float), packed = amx_worker_bytes(max_n_in);
	return widened > packed ? widened : packed;
}

/* ---- input ---- */

static size_t prepared_row_bytes(const struct product_path *path, int64_t n_in)
{
	return path->row_bytes ? path->row_bytes(n_in) : 0;
}

/* From one prepared row to the next, whatever its phase: a whole number of cache lines. */
static size_t prepared_stride(const struct kernels *kernels, enum dtype type, int64_t n_in)
{
	enum { CACHE_LINE = 64 };
	size_t decode = prepared_row_bytes(product_path(kernels, type, ROWS_DECODE), n_in);
	size_t prefill = prepared_row_bytes(product_path(kernels, type, ROWS_PREFILL), n_in);
	return round_up(decode > prefill ? decode : prefill, CACHE_LINE);
}

size_t matmul_input_bytes(const struct kernels *kernels, enum dtype type, int n_rows, int64_t n_in)
{
	/* Whole blocks, because rows may be prepared interleaved. */
	return round_up((size_t)n_rows, MATMUL_ROW_PAD) * prepared_stride(kernels, type, n_in);
}

enum { PREPARE_ROWS = 16 };

struct prepare {
	const struct kernels *kernels;
	const struct matmul_input *input;
	size_t stride_bytes;
};

static void prepare_rows(void *context, int task, int worker)
{
	(void)worker;
	const struct prepare *prepare = context;
	const struct matmul_input *input = prepare->input;
	int first = task * PREPARE_ROWS, end = first + PREPARE_ROWS;
	for (int i = 0; i < input->n_spans; i++) {
		const struct row_span *span = &input->spans[i];
		const struct product_path *path = product_path(prepare->kernels, input->type, span->phase);
		int from = span->first > first ? span->first : first;
		int to = span->first + span->n_rows < end ? span->first + span->n_rows : end;
		for (int row = from; row < to && path->prepare; row++)
			path->prepare(&(struct prepared_row){
			    .kernels = prepare->kernels,
			    .type = input->type,
			    .x = input->x + (int64_t)row * input->n_in,
			    .n_in = input->n_in,
			    .out = (unsigned char *)input->prepared + (size_t)row * prepare->stride_bytes,
			    .stride_bytes = prepare->stride_bytes,
			    .row = row,
			    .grain = grain_of(prepare->kernels, input),
			});
	}
}

void matmul_input_prepare(const struct kernels *kernels, struct pool *pool, struct matmul_input *input)
{
	struct prepare prepare = {
	    .kernels = kernels, .input = input, .stride_bytes = prepared_stride(kernels, input->type, input->n_in)};
	int n_tasks = (input->n_rows + PREPARE_ROWS - 1) / PREPARE_ROWS;
	if (prepare.stride_bytes == 0)
		return;
	if (n_tasks == 1)
		prepare_rows(&prepare, 0, 0); /* not worth waking the pool */
	else
		pool_run(pool, n_tasks, prepare_rows, &prepare);
}

/* ---- products ---- */

static int64_t task_columns(const struct region *region, const struct weight *weight)
{
	return region->widest ? region->widest->columns(region, weight) : DOT_CHUNK;
}

/* The columns' weights as f32: where they lie, or widened into scratch. */
static const float *widened_columns(const struct region *region, struct columns columns, float *scratch)
{
	const struct weight *weight = region->weights[columns.index];
	const unsigned char *data = weight->data;
	if (weight->type == DTYPE_F32) {
		data += (size_t)(columns.first * weight->n_in) * sizeof(float);
		if ((uintptr_t)data % sizeof(float) == 0)
			return (const void *)data;
	}
	weight_widen(region->kernels, weight, columns.first, columns.n, scratch);
	return scratch;
}

static void add_bias(const struct region *region, const struct row_span *span, struct columns columns)
{
	const float *bias = region->biases ? region->biases[columns.index] : NULL;
	if (!bias)
		return;
	int64_t n_out = region->weights[columns.index]->n_out;
	for (int row = span->first; row < span->first + span->n_rows; row++)
		region->kernels->add(region->outputs[columns.index] + row * n_out + columns.first, bias + columns.first,
		                     columns.n);
}

static struct columns find_columns(const struct region *region, int task)
{
	for (int i = 0; i < region->n_weights; i++) {
		const struct weight *weight = region->weights[i];
		int64_t width = task_columns(region, weight);
		int n_tasks = (int)((weight->n_out + width - 1) / width);
		if (task < n_tasks) {
			int64_t first = task * width;
			return (struct columns){i, first, weight->n_out - first < width ? weight->n_out - first : width};
		}
		task -= n_tasks;
	}
	assert(!"task belongs to no weight");
	return (struct columns){0};
}

static void matmul_task(void *context, int task, int worker)
{
	const struct region *region = context;
	struct columns columns = find_columns(region, task);
	void *scratch = worker_scratch(region->kernels, worker);
	const float *widened = region->widens ? widened_columns(region, columns, scratch) : NULL;
	if (region->widest && region->widest->multiply_all)
		region->widest->multiply_all(region, columns, scratch);
	for (int i = 0; i < region->input->n_spans; i++) {
		const struct row_span *span = &region->input->spans[i];
		const struct product_path *path = region->paths[span->phase];
		if (path->multiply)
			path->multiply(region, span, columns, path->widens ? widened : NULL);
		add_bias(region, span, columns);
	}
}

/* Looks at the spans: at most one of the paths that they take cuts the columns. */
static void begin_paths(struct region *region)
{
	for (int i = 0; i < region->input->n_spans; i++) {
		const struct product_path *path = region->paths[region->input->spans[i].phase];
		assert(!path->columns || !region->widest || region->widest == path);
		region->widest = path->columns ? path : region->widest;
		region->widens |= path->widens;
	}
	if (region->widest && region->widest->begin)
		region->widest->begin(region);
}

void matmul_run(const struct kernels *kernels, struct pool *pool, const struct matmul_input *input,
                const struct weight *const *weights, const float *const *biases, float *const *outputs, int n_weights)
{
	assert(n_weights >= 1 && n_weights <= MATMUL_MAX_GROUP);
	struct region region = {
	    .kernels = kernels,
	    .input = input,
	    .weights = weights,
	    .biases = biases,
	    .outputs = outputs,
	    .n_weights = n_weights,
	    .prepared_stride = prepared_stride(kernels, input->type, input->n_in),
	    .paths = {[ROWS_DECODE] = product_path(kernels, input->type, ROWS_DECODE),
	              [ROWS_PREFILL] = product_path(kernels, input->type, ROWS_PREFILL)},
	};
	begin_paths(&region);
	int64_t n_tasks = 0;
	for (int i = 0; i < n_weights; i++) {
		assert(weights[i]->n_in == input->n_in && weights[i]->type == input->type);
		assert(weights[i]->layout == weight_layout(input->type));
		int64_t width = task_columns(&region, weights[i]);
		n_tasks += (weights[i]->n_out + width - 1) / width;
	}
	assert(n_tasks <= INT32_MAX);
	if (n_tasks && input->n_spans)
		pool_run(pool, (int)n_tasks, matmul_task, &region);
}

void kernels_library_version(struct bytes *out)
{
	/* "OpenBLAS 0.3.21 NO_LAPACK ...": how it was built is not asked for. */
	const char *config = openblas_get_config();
	size_t n = strcspn(config, " ");
	n += config[n] ? 1 + strcspn(config + n + 1, " ") : 0;
	bytes_append(out, config, n);
}
