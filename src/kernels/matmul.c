/* Matrix products: how rows, weights and workers are cut into tasks. The loops over numbers belong to the sets, to
 * amx.c, or to OpenBLAS.
 *
 * There are several ways to multiply; which one a span of rows takes depends on the weights' type and on its phase, never
 * on the number of rows (enum way). A task is a block of columns of one weight for all rows, so that a weight is read
 * from memory once, and no sum is ever split between workers.
 */
#include "kernels/matmul.h"

#include <assert.h>
#include <cblas.h>
#include <string.h>

#include "base/checked.h"
#include "kernels/amx.h"
#include "kernels/convert.h"
#include "kernels/kernel_set.h"

enum {
	TILE_ROWS = 128,    /* sgemm with 128 rows runs at about 85% of its speed with 512 */
	TILE_COLUMNS = 128, /* of a wide weight */
	TILE_COLUMNS_NARROW = 64,
	FEW_PANEL_OUTPUTS = 2 * AMX_SIDE, /* of bf16 rows for up to 16 rows, so that they pass through an L1 cache */
	NARROW_OUTPUTS = 512,             /* narrower weights are cut finer, for the sake of more tasks */
};

enum way {
	WAY_DOT,      /* the set's dot kernels on f32 activations; weights that they do not read are widened first */
	WAY_BF16_DOT, /* the same with activations rounded to bf16 */
	WAY_QUANT,    /* exact integers, activations rounded to 8 bits */
	WAY_SGEMM,    /* OpenBLAS on weights widened to f32, always in the same tiles (kernels/matmul.h says why) */
	WAY_AMX_FEW,  /* bf16 weights where they lie; bits as of WAY_AMX_MANY */
	WAY_AMX_MANY, /* weights that are tiles already, or of any type packed as such; activations rounded to bf16 */
};

/* Measured on Zen 4, 128 and 512 rows: sgemm is 1.2 to 1.6 times as fast as the AVX2 dot kernels, and the AVX-512 ones
 * are 1.1 to 1.4 times as fast as sgemm, which packs every weight anew for every tile. AMX multiplies bf16 an order of
 * magnitude faster than anything else here, so prefill of quantised weights goes that way, too: rounding an 8-bit weight
 * times its scale to bf16 costs less than rounding activations to 8 bits does. */
static enum way way_of(const struct kernels *kernels, enum dtype type, enum row_phase phase)
{
	const struct kernels_inner *inner = kernels->inner;
	if (type == DTYPE_BF16T)
		return WAY_AMX_MANY;
	if (inner->amx && type == DTYPE_BF16)
		return phase == ROWS_PREFILL ? WAY_AMX_MANY : WAY_AMX_FEW;
	if (inner->amx && quant_is(type) && phase == ROWS_PREFILL)
		return WAY_AMX_MANY;
	if (inner->bf16_dot && type == DTYPE_BF16)
		return WAY_BF16_DOT;
	if (inner->quant && quant_is(type))
		return WAY_QUANT;
	bool avx2 = kernels->isa == ISA_AVX2 || kernels->isa == ISA_AVX2VNNI;
	return avx2 && !quant_is(type) && phase == ROWS_PREFILL ? WAY_SGEMM : WAY_DOT;
}

/* What lies in rows of numbers: not quantised weights, nor the blocks of GGUF files. */
static bool dot_reads(const struct kernels *kernels, enum dtype type)
{
	return kernels->inner->set->dot[type] != NULL;
}

int matmul_tile_rows(const struct kernels *kernels, enum dtype type)
{
	return way_of(kernels, type, ROWS_PREFILL) == WAY_SGEMM ? TILE_ROWS : 1;
}

bool matmul_phase_invariant(const struct kernels *kernels, enum dtype type)
{
	enum way prefill = way_of(kernels, type, ROWS_PREFILL), decode = way_of(kernels, type, ROWS_DECODE);
	return prefill == decode || (prefill == WAY_AMX_MANY && decode == WAY_AMX_FEW);
}

bool matmul_prefers_tiles(const struct kernels *kernels)
{
	return kernels->inner->amx;
}

enum arithmetic matmul_arithmetic(const struct kernels *kernels, enum dtype type, enum row_phase phase)
{
	switch (way_of(kernels, type, phase)) {
	case WAY_BF16_DOT:
		return ARITHMETIC_BF16;
	case WAY_QUANT:
		return ARITHMETIC_INT8;
	case WAY_AMX_FEW:
	case WAY_AMX_MANY:
		return ARITHMETIC_TILES;
	default:
		return ARITHMETIC_F32;
	}
}

static size_t sums_bytes(void)
{
	return amx_sums(AMX_SUM_BLOCKS, AMX_PANEL_OUTPUTS) * sizeof(float);
}

size_t matmul_worker_bytes(int64_t max_n_in)
{
	size_t widened = (size_t)TILE_COLUMNS * (size_t)max_n_in * sizeof(float);
	size_t n_in = round_up((size_t)max_n_in, AMX_STEP), few = FEW_PANEL_OUTPUTS * n_in;
	size_t panel = AMX_PANEL_OUTPUTS * (n_in < AMX_DEPTH ? n_in : AMX_DEPTH);
	size_t packed = sums_bytes() + (few > panel ? few : panel) * sizeof(uint16_t);
	return widened > packed ? widened : packed;
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

/* Bytes of one row as this way wants it; 0: as it is. */
static size_t prepared_row_bytes(enum way way, int64_t n_in)
{
	switch (way) {
	case WAY_BF16_DOT:
	case WAY_AMX_FEW:
	case WAY_AMX_MANY:
		return bf16_row_elements(n_in) * sizeof(uint16_t);
	case WAY_QUANT:
		return quant_row_groups(n_in) * sizeof(struct quant_group);
	default:
		return 0;
	}
}

/* From one prepared row to the next, whatever its phase: a whole number of groups and of cache lines. */
static size_t prepared_stride(const struct kernels *kernels, enum dtype type, int64_t n_in)
{
	enum { COMMON_BYTES = 8 * sizeof(struct quant_group) };
	_Static_assert(COMMON_BYTES % 64 == 0, "groups fill cache lines");
	size_t decode = prepared_row_bytes(way_of(kernels, type, ROWS_DECODE), n_in);
	size_t prefill = prepared_row_bytes(way_of(kernels, type, ROWS_PREFILL), n_in);
	return decode == prefill ? decode : round_up(decode > prefill ? decode : prefill, COMMON_BYTES);
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

static void prepare_row(const struct prepare *prepare, enum way way, int row)
{
	const struct matmul_input *input = prepare->input;
	unsigned char *out = (unsigned char *)input->prepared + (size_t)row * prepare->stride_bytes;
	const float *x = input->x + (int64_t)row * input->n_in;
	void *block = out - (size_t)(row % AMX_SIDE) * prepare->stride_bytes;
	size_t used = (size_t)input->n_in * sizeof(uint16_t);
	switch (way) {
	case WAY_QUANT:
		prepare->kernels->inner->set->quantise_row((void *)out, x, input->n_in, input->type);
		break;
	case WAY_AMX_FEW:
		amx->pack_row_few(block, row % AMX_SIDE, x, input->n_in);
		break;
	case WAY_AMX_MANY:
		amx->pack_row_many(block, row % AMX_SIDE, x, input->n_in);
		break;
	default:
		prepare->kernels->narrow(out, DTYPE_BF16, x, input->n_in);
		memset(out + used, 0, prepared_row_bytes(way, input->n_in) - used);
	}
}

static void prepare_rows(void *context, int task, int worker)
{
	(void)worker;
	const struct prepare *prepare = context;
	const struct matmul_input *input = prepare->input;
	int first = task * PREPARE_ROWS, end = first + PREPARE_ROWS;
	for (int i = 0; i < input->n_spans; i++) {
		const struct row_span *span = &input->spans[i];
		enum way way = way_of(prepare->kernels, input->type, span->phase);
		int from = span->first > first ? span->first : first;
		int to = span->first + span->n_rows < end ? span->first + span->n_rows : end;
		for (int row = from; row < to && prepared_row_bytes(way, input->n_in); row++)
			prepare_row(prepare, way, row);
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

struct region {
	const struct kernels *kernels;
	const struct matmul_input *input;
	const struct weight *const *weights;
	const float *const *biases;
	float *const *outputs;
	int n_weights;
	size_t prepared_stride; /* bytes */
	enum way ways[2];       /* by phase */
	bool any_sgemm;         /* some span goes through OpenBLAS */
	int n_packed_rows;      /* of all spans that need packed weights */
	int n_packed_blocks;    /* of 16 rows, of which these are some */
	int64_t panel_columns;  /* of a task that packs them */
	bool widens;            /* some span needs weights widened to f32, a block of columns at a time */
};

/* Columns [first, first + n) of weight number `index`. */
struct columns {
	int index;
	int64_t first, n;
};

static int64_t task_columns(const struct region *region, const struct weight *weight)
{
	if (region->n_packed_rows)
		return region->panel_columns; /* a multiple of AMX_SIDE */
	if (!region->any_sgemm)
		return DOT_CHUNK;
	return weight->n_out < NARROW_OUTPUTS ? TILE_COLUMNS_NARROW : TILE_COLUMNS;
}

static const void *prepared_row(const struct region *region, int row)
{
	return (const unsigned char *)region->input->prepared + (size_t)row * region->prepared_stride;
}

static float *output_at(const struct region *region, struct columns columns, int row)
{
	return region->outputs[columns.index] + (int64_t)row * region->weights[columns.index]->n_out + columns.first;
}

static void quant_span(const struct region *region, const struct row_span *span, struct columns columns)
{
	const struct weight *weight = region->weights[columns.index];
	uint16_t *scales;
	const unsigned char *strip = weight_strip(weight, columns.first, &scales);
	struct quant_product product = {
	    .x = prepared_row(region, span->first),
	    .x_stride = region->prepared_stride / sizeof(struct quant_group),
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

static size_t stored_row_bytes(const struct weight *weight)
{
	return (size_t)weight->n_in * (size_t)dtype_info(weight->type)->block_bytes;
}

/* The columns' rows in the file. */
static const unsigned char *stored_rows(const struct weight *weight, int64_t first)
{
	return (const unsigned char *)weight->data + (size_t)first * stored_row_bytes(weight);
}

/* widened: the columns' rows in f32, or NULL to use them as they lie. */
static void dot_span(const struct region *region, const struct row_span *span, struct columns columns,
                     const float *widened)
{
	const struct kernels_inner *inner = region->kernels->inner;
	const struct weight *weight = region->weights[columns.index];
	bool is_bf16 = region->ways[span->phase] == WAY_BF16_DOT;
	struct dot_block block = {
	    .x = is_bf16 ? prepared_row(region, span->first) : region->input->x + span->first * weight->n_in,
	    .x_stride_bytes = is_bf16 ? region->prepared_stride : (size_t)weight->n_in * sizeof(float),
	    .n_rows = span->n_rows,
	    .w = widened ? (const unsigned char *)widened : stored_rows(weight, columns.first),
	    .w_stride_bytes = widened ? (size_t)weight->n_in * sizeof(float) : stored_row_bytes(weight),
	    .n_outputs = (int)columns.n,
	    .n_in = weight->n_in,
	    .out = output_at(region, columns, span->first),
	    .out_stride = (size_t)weight->n_out,
	};
	if (is_bf16)
		inner->bf16_dot(&block);
	else
		inner->set->dot[widened ? DTYPE_F32 : weight->type](&block);
}

static void amx_few_span(const struct region *region, const struct row_span *span, struct columns columns)
{
	const struct weight *weight = region->weights[columns.index];
	int block = span->first / AMX_SIDE * AMX_SIDE;
	struct amx_few product = {
	    .x = prepared_row(region, block),
	    .block_stride = AMX_SIDE * region->prepared_stride / sizeof(uint16_t),
	    .n_rows = span->first + span->n_rows - block,
	    .first_row = span->first - block,
	    .w = stored_rows(weight, columns.first),
	    .n_outputs = (int)columns.n,
	    .n_following = (int)(weight->n_out - columns.first - columns.n),
	    .n_in = weight->n_in,
	    .out = output_at(region, columns, block),
	    .out_stride = (size_t)weight->n_out,
	};
	amx->multiply_few(&product);
}

/* Blocks of 16 rows that a span touches. */
static int blocks_of(const struct row_span *span)
{
	return (span->first + span->n_rows + AMX_SIDE - 1) / AMX_SIDE - span->first / AMX_SIDE;
}

/* How many outputs and inputs of a weight go into a panel. */
struct panel_size {
	int64_t n_outputs, depth;
};

/* For many rows a panel stays in the second cache while they pass. A few rows take weights as they come from memory. */
static struct panel_size panel_size(const struct region *region, const struct weight *weight, struct columns columns)
{
	if (region->n_packed_rows > AMX_SIDE)
		return (struct panel_size){columns.n, AMX_DEPTH};
	return (struct panel_size){weight->type == DTYPE_BF16T ? columns.n : FEW_PANEL_OUTPUTS, weight->n_in};
}

/* Where the piece after this one begins; `columns` are those of the panel. */
static struct weight_piece next_piece(struct weight_piece piece, struct columns columns, int64_t depth, int64_t n_in)
{
	enum { NEAR = 4 * QUANT_GROUP }; /* the strip goes on */
	if (depth == n_in)
		return (struct weight_piece){piece.first, piece.k + NEAR};
	if (piece.first + AMX_SIDE < columns.first + columns.n)
		return (struct weight_piece){piece.first + AMX_SIDE, piece.k};
	return (struct weight_piece){columns.first, piece.k + depth};
}

/* Weights that are tiles already, or packed into scratch. */
static void set_panel(struct amx_many *product, const struct weight *weight, struct columns columns, int64_t k,
                      int64_t depth, uint16_t *scratch)
{
	bool tiles = weight->type == DTYPE_BF16T;
	int64_t strip = amx_steps(tiles ? weight->n_in : depth) * AMX_STEP * AMX_SIDE;
	product->panel = tiles ? (const uint16_t *)weight->data + columns.first / AMX_SIDE * strip + k * AMX_SIDE : scratch;
	product->strip_stride = (size_t)strip;
	product->n_outputs = (int)columns.n;
	product->first_step = k / AMX_STEP;
	product->n_steps = amx_steps(depth);
	product->last = k + depth == weight->n_in;
	for (int64_t i = 0; i < columns.n && !tiles; i += AMX_SIDE) {
		struct weight_piece piece = {columns.first + i, k};
		weight_pack(weight, piece, columns.first + columns.n, depth, next_piece(piece, columns, depth, weight->n_in),
		            scratch + i / AMX_SIDE * strip);
	}
}

/* Blocks of rows [first, first + AMX_SUM_BLOCKS) of all spans that want tiles, counted through. */
static void multiply_panel(const struct region *region, struct amx_many *product, struct columns columns, int first,
                           float *sums)
{
	int end = first + AMX_SUM_BLOCKS;
	for (int i = 0, at = 0, n; i < region->input->n_spans && at < end; i++) {
		const struct row_span *span = &region->input->spans[i];
		if (region->ways[span->phase] != WAY_AMX_MANY)
			continue;
		n = blocks_of(span);
		int from = first > at ? first - at : 0, to = end - at < n ? end - at : n;
		int block = (span->first / AMX_SIDE + from) * AMX_SIDE;
		int last_row = (span->first / AMX_SIDE + to) * AMX_SIDE, span_end = span->first + span->n_rows;
		if (from < to) {
			product->x = prepared_row(region, block);
			product->block_stride = AMX_SIDE * region->prepared_stride / sizeof(uint16_t);
			product->first_row = span->first > block ? span->first - block : 0;
			product->n_rows = (span_end < last_row ? span_end : last_row) - block;
			product->sums = sums + amx_sums(at + from - first, columns.n);
			product->out = output_at(region, columns, block);
			product->out_stride = (size_t)region->weights[columns.index]->n_out;
			amx->multiply_many(product);
		}
		at += n;
	}
}

/* All spans that want tiles of weights, panel by panel, as many of their rows at a time as there are sums. */
static void amx_many_spans(const struct region *region, struct columns columns, void *scratch)
{
	const struct weight *weight = region->weights[columns.index];
	struct panel_size size = panel_size(region, weight, columns);
	uint16_t *panel = (uint16_t *)((unsigned char *)scratch + sums_bytes());
	for (int64_t i = 0; i < columns.n; i += size.n_outputs) {
		struct columns here = {columns.index, columns.first + i, columns.n - i};
		here.n = here.n < size.n_outputs ? here.n : size.n_outputs;
		for (int block = 0; block < region->n_packed_blocks; block += AMX_SUM_BLOCKS)
			for (int64_t k = 0; k < weight->n_in; k += size.depth) {
				struct amx_many product = {0};
				int64_t depth = weight->n_in - k < size.depth ? weight->n_in - k : size.depth;
				set_panel(&product, weight, here, k, depth, panel);
				multiply_panel(region, &product, here, block, scratch);
			}
	}
}

/* All spans that want tiles of weights in few bits, if they are so few rows; else false. */
static bool amx_widened_spans(const struct region *region, struct columns columns)
{
	const struct weight *weight = region->weights[columns.index];
	struct amx_widened product = {.n_blocks = 0};
	if (!quant_is(weight->type) || region->n_packed_blocks > AMX_WIDENED_BLOCKS)
		return false;
	for (int i = 0; i < region->input->n_spans; i++) {
		const struct row_span *span = &region->input->spans[i];
		if (region->ways[span->phase] != WAY_AMX_MANY)
			continue;
		assert(span->first % AMX_SIDE == 0); /* prefill */
		for (int row = 0; row < span->n_rows; row += AMX_SIDE)
			product.blocks[product.n_blocks++] = (struct amx_block){
			    .x = prepared_row(region, span->first + row),
			    .n_rows = span->n_rows - row < AMX_SIDE ? span->n_rows - row : AMX_SIDE,
			    .out = output_at(region, columns, span->first + row),
			};
	}
	uint16_t *scales;
	product.w = weight_strip(weight, columns.first, &scales);
	product.scales = scales;
	product.type = weight->type;
	product.n_outputs = (int)columns.n;
	product.n_groups = quant_groups(weight->n_in);
	product.out_stride = (size_t)weight->n_out;
	amx->multiply_widened(&product);
	return true;
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
	switch (region->ways[span->phase]) {
	case WAY_DOT:
	case WAY_BF16_DOT:
		dot_span(region, span, columns, dot_reads(region->kernels, region->input->type) ? NULL : widened);
		break;
	case WAY_QUANT:
		quant_span(region, span, columns);
		break;
	case WAY_SGEMM:
		sgemm_span(region, span, columns, widened);
		break;
	case WAY_AMX_FEW:
		amx_few_span(region, span, columns);
		break;
	case WAY_AMX_MANY: /* all at once, before */
		break;
	}
}

static void matmul_task(void *context, int task, int worker)
{
	const struct region *region = context;
	struct columns columns = find_columns(region, task);
	void *scratch = worker_scratch(region->kernels, worker);
	const float *widened = region->widens ? widened_columns(region, columns, scratch) : NULL;
	if (region->n_packed_rows && !amx_widened_spans(region, columns))
		amx_many_spans(region, columns, scratch);
	for (int i = 0; i < region->input->n_spans; i++) {
		multiply_columns(region, &region->input->spans[i], columns, widened);
		add_bias(region, &region->input->spans[i], columns);
	}
}

/* Wide panels read the rows less often, narrow ones give every worker something to do. */
static int64_t panel_columns(const struct kernels *kernels, const struct weight *const *weights, int n_weights)
{
	enum { TASKS_PER_WORKER = 4 };
	int64_t n_outputs = 0, width = AMX_PANEL_OUTPUTS;
	for (int i = 0; i < n_weights; i++)
		n_outputs += weights[i]->n_out;
	while (width > 2 * AMX_SIDE && n_outputs / width < (int64_t)kernels->inner->n_threads * TASKS_PER_WORKER)
		width /= 2;
	return width;
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
	    .ways = {[ROWS_DECODE] = way_of(kernels, input->type, ROWS_DECODE),
	             [ROWS_PREFILL] = way_of(kernels, input->type, ROWS_PREFILL)},
	};
	for (int i = 0; i < input->n_spans; i++) {
		enum way way = region.ways[input->spans[i].phase];
		region.any_sgemm |= way == WAY_SGEMM;
		region.n_packed_rows += way == WAY_AMX_MANY ? input->spans[i].n_rows : 0;
		region.n_packed_blocks += way == WAY_AMX_MANY ? blocks_of(&input->spans[i]) : 0;
		region.widens |= way == WAY_SGEMM || (way == WAY_DOT && !dot_reads(kernels, input->type));
	}
	if (region.n_packed_rows)
		region.panel_columns = panel_columns(kernels, weights, n_weights);
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
