/* Matrix products: how rows, weights and workers are cut into tasks. The loops over numbers belong to the sets, or to
 * OpenBLAS.
 *
 * Three ways to multiply. Dot: kernels of our own, weights as they lie in the file, any number of rows, every row the
 * same bits. Quant: the same for 8-bit and 4-bit weights with activations rounded to 8 bits. Tiles: OpenBLAS sgemm on weights widened to f32, for prefill of types whose dot kernel is slower than
 * that; always in the same tiles of rows and blocks of columns (kernels/matmul.h says why). A task is a block of
 * columns of one weight for all rows, so that a weight is read from memory once, and no sum is ever split between
 * workers.
 */
#include "kernels/matmul.h"

#include <assert.h>
#include <cblas.h>
#include <string.h>

#include "base/checked.h"
#include "kernels/convert.h"
#include "kernels/kernel_set.h"

enum {
	TILE_ROWS = 128,    /* sgemm with 128 rows runs at about 85% of its speed with 512 */
	TILE_COLUMNS = 128, /* of a wide weight */
	TILE_COLUMNS_NARROW = 64,
	NARROW_OUTPUTS = 512, /* narrower weights are cut finer, for the sake of more tasks */
};

static bool uses_bf16_dot(const struct kernels *kernels, enum dtype type)
{
	return type == DTYPE_BF16 && kernels->private->bf16_dot;
}

static bool uses_quant(const struct kernels *kernels, enum dtype type)
{
	return quant_is(type) && kernels->private->quant;
}

/* Measured on Zen 4, 128 and 512 rows: sgemm is 1.2 to 1.6 times as fast as the AVX2 dot kernels, and the AVX-512 ones
 * are 1.1 to 1.4 times as fast as sgemm, which packs every weight anew for every tile. */
static bool prefills_in_tiles(const struct kernels *kernels, enum dtype type)
{
	return (kernels->isa == ISA_AVX2 || kernels->isa == ISA_AVX2VNNI) && !quant_is(type);
}

int matmul_tile_rows(const struct kernels *kernels, enum dtype type)
{
	return prefills_in_tiles(kernels, type) ? TILE_ROWS : 1;
}

bool matmul_phase_invariant(const struct kernels *kernels, enum dtype type)
{
	return !prefills_in_tiles(kernels, type);
}

size_t matmul_worker_bytes(int64_t max_n_in)
{
	return (size_t)TILE_COLUMNS * (size_t)max_n_in * sizeof(float);
}

/* ---- input ---- */

/* Prepared rows are one vector or group longer than they need to be, so that they do not all start at the same place of
 * the L1 cache when n_in is a power of two. */
static size_t bf16_row_elements(int64_t n_in)
{
	return round_up((size_t)n_in, BF16_PAD) + BF16_PAD;
}

static size_t quant_row_groups(int64_t n_in)
{
	return (size_t)quant_groups(n_in) + 1;
}

/* Bytes from one row of `type`'s activations to the next. */
static size_t input_stride_bytes(const struct kernels *kernels, enum dtype type, int64_t n_in)
{
	if (uses_bf16_dot(kernels, type))
		return bf16_row_elements(n_in) * sizeof(uint16_t);
	if (uses_quant(kernels, type))
		return quant_row_groups(n_in) * sizeof(struct quant_group);
	return (size_t)n_in * sizeof(float);
}

static bool is_prepared(const struct kernels *kernels, enum dtype type)
{
	return uses_bf16_dot(kernels, type) || uses_quant(kernels, type);
}

size_t matmul_input_bytes(const struct kernels *kernels, enum dtype type, int n_rows, int64_t n_in)
{
	return is_prepared(kernels, type) ? (size_t)n_rows * input_stride_bytes(kernels, type, n_in) : 0;
}

enum { PREPARE_ROWS = 16 };

struct prepare {
	const struct kernels *kernels;
	struct matmul_input *input;
};

static void prepare_row(const struct kernels *kernels, const struct matmul_input *input, int row)
{
	size_t stride = input_stride_bytes(kernels, input->type, input->n_in);
	unsigned char *out = (unsigned char *)input->prepared + (size_t)row * stride;
	const float *x = input->x + (int64_t)row * input->n_in;
	if (uses_quant(kernels, input->type)) {
		kernels->private->set->quantise_row((void *)out, x, input->n_in, quant_zero(input->type));
		return;
	}
	kernels->narrow(out, DTYPE_BF16, x, input->n_in);
	memset(out + (size_t)input->n_in * sizeof(uint16_t), 0, stride - (size_t)input->n_in * sizeof(uint16_t));
}

static void prepare_rows(void *context, int task, int worker)
{
	(void)worker;
	const struct prepare *prepare = context;
	const struct matmul_input *input = prepare->input;
	int first = task * PREPARE_ROWS, end = first + PREPARE_ROWS;
	for (int i = 0; i < input->n_spans; i++) {
		const struct row_span *span = &input->spans[i];
		int from = span->first > first ? span->first : first;
		int to = span->first + span->n_rows < end ? span->first + span->n_rows : end;
		for (int row = from; row < to; row++)
			prepare_row(prepare->kernels, input, row);
	}
}

void matmul_input_prepare(const struct kernels *kernels, struct pool *pool, struct matmul_input *input)
{
	if (!is_prepared(kernels, input->type))
		return;
	struct prepare prepare = {.kernels = kernels, .input = input};
	int n_tasks = (input->n_rows + PREPARE_ROWS - 1) / PREPARE_ROWS;
	if (n_tasks == 1)
		prepare_rows(&prepare, 0, 0); /* not worth waking the pool */
	else
		pool_run(pool, n_tasks, prepare_rows, &prepare);
}

/* ---- products ---- */

struct region {
	const struct kernels *kernels;
	const struct matmul_input *input;
	const struct weight *const *weights;
	const float *const *biases;
	float *const *outputs;
	int n_weights;
	dot_function *dot; /* NULL: quant */
	const void *x;     /* rows as the kernel wants them */
	size_t x_stride_bytes;
	bool widens;    /* every product is of f32 weights, widened a block of columns at a time */
	bool tiles;     /* prefill spans go through OpenBLAS */
	bool any_tiles; /* and there are some */
};

/* Columns [first, first + n) of weight number `index`. */
struct columns {
	int index;
	int64_t first, n;
};

static int64_t task_columns(const struct region *region, const struct weight *weight)
{
	if (!region->any_tiles)
		return DOT_CHUNK;
	return weight->n_out < NARROW_OUTPUTS ? TILE_COLUMNS_NARROW : TILE_COLUMNS;
}

static void quant_span(const struct region *region, const struct row_span *span, struct columns columns)
{
	const struct weight *weight = region->weights[columns.index];
	int n_groups = quant_groups(weight->n_in);
	size_t first_block = (size_t)columns.first / QUANT_OUTPUTS * (size_t)n_groups;
	struct quant_product product = {
	    .x = (const void *)((const char *)region->x + (size_t)span->first * region->x_stride_bytes),
	    .x_stride = region->x_stride_bytes / sizeof(struct quant_group),
	    .n_rows = span->n_rows,
	    .w = (const unsigned char *)weight->data + first_block * quant_block_bytes(weight->type),
	    .scales = (const uint16_t *)weight->scales + first_block * QUANT_OUTPUTS,
	    .n_outputs = (int)columns.n,
	    .n_groups = n_groups,
	    .out = region->outputs[columns.index] + (int64_t)span->first * weight->n_out + columns.first,
	    .out_stride = (size_t)weight->n_out,
	};
	region->kernels->private->quant(weight->type, &product);
}

/* w: the columns' rows in the file, or widened. */
static void dot_span(const struct region *region, const struct row_span *span, struct columns columns,
                     const unsigned char *w, size_t row_bytes)
{
	const struct weight *weight = region->weights[columns.index];
	struct dot_block block = {
	    .x = (const char *)region->x + (size_t)span->first * region->x_stride_bytes,
	    .x_stride_bytes = region->x_stride_bytes,
	    .n_rows = span->n_rows,
	    .w = w,
	    .w_stride_bytes = row_bytes,
	    .n_outputs = (int)columns.n,
	    .n_in = weight->n_in,
	    .out = region->outputs[columns.index] + (int64_t)span->first * weight->n_out + columns.first,
	    .out_stride = (size_t)weight->n_out,
	};
	region->dot(&block);
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

static void multiply_tiles(const struct region *region, const struct row_span *span, struct columns columns,
                           const float *w)
{
	int64_t n_in = region->input->n_in, n_out = region->weights[columns.index]->n_out;
	for (int row = 0; row < span->n_rows; row += TILE_ROWS) {
		int left = (int)round_up((size_t)(span->n_rows - row), MATMUL_ROW_PAD);
		int n_rows = left < TILE_ROWS ? left : TILE_ROWS;
		cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, n_rows, (int)columns.n, (int)n_in, 1.0f,
		            region->input->x + (span->first + row) * n_in, (int)n_in, w, (int)n_in, 0.0f,
		            region->outputs[columns.index] + (span->first + row) * n_out + columns.first, (int)n_out);
	}
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

static void multiply_columns(const struct region *region, const struct row_span *span, struct columns columns,
                             const float *widened)
{
	const struct weight *weight = region->weights[columns.index];
	if (region->tiles && span->phase == ROWS_PREFILL) {
		multiply_tiles(region, span, columns, widened);
	} else if (!region->dot) {
		quant_span(region, span, columns);
	} else if (region->widens) {
		dot_span(region, span, columns, (const void *)widened, (size_t)weight->n_in * sizeof(float));
	} else {
		size_t row_bytes = (size_t)weight->n_in * (size_t)dtype_info(weight->type)->block_bytes;
		dot_span(region, span, columns, (const unsigned char *)weight->data + (size_t)columns.first * row_bytes,
		         row_bytes);
	}
}

static void matmul_task(void *context, int task, int worker)
{
	const struct region *region = context;
	struct columns columns = find_columns(region, task);
	const float *widened = NULL;
	if (region->any_tiles || region->widens)
		widened = widened_columns(region, columns, worker_scratch(region->kernels, worker));
	for (int i = 0; i < region->input->n_spans; i++) {
		multiply_columns(region, &region->input->spans[i], columns, widened);
		add_bias(region, &region->input->spans[i], columns);
	}
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
	    .dot = kernels->private->set->dot[input->type],
	    .x = is_prepared(kernels, input->type) ? input->prepared : input->x,
	    .x_stride_bytes = input_stride_bytes(kernels, input->type, input->n_in),
	    .tiles = prefills_in_tiles(kernels, input->type),
	};
	if (uses_bf16_dot(kernels, input->type)) {
		region.dot = kernels->private->bf16_dot;
	} else if (quant_is(input->type) && !uses_quant(kernels, input->type)) {
		region.dot = kernels->private->set->dot[DTYPE_F32];
		region.widens = true;
	}
	for (int i = 0; i < input->n_spans; i++)
		region.any_tiles |= region.tiles && input->spans[i].phase == ROWS_PREFILL;
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
