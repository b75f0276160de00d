/* Products in tiles of AMX (kernels/amx.h): which rows meet which piece of a weight when, and what is packed for it.
 *
 * Many rows: a panel of outputs is packed, some inputs at a time, so that it stays in the second cache while all rows pass;
 * their sums are kept from one panel to the next. Up to four blocks of rows with weights of few bits: nothing is packed,
 * weights are widened on the way. Single rows with weights of bf16: where they lie.
 */
#include <assert.h>

#include "kernels/amx.h"
#include "kernels/layout.h"
#include "kernels/product.h"

enum { FEW_PANEL_OUTPUTS = 2 * AMX_SIDE }; /* of bf16 rows for up to 16 rows, so that they pass through an L1 cache */

static size_t sums_bytes(void)
{
	return amx_sums(AMX_SUM_BLOCKS, AMX_PANEL_OUTPUTS) * sizeof(float);
}

size_t amx_worker_bytes(int64_t max_n_in)
{
	size_t n_in = round_up((size_t)max_n_in, AMX_STEP), few = FEW_PANEL_OUTPUTS * n_in;
	size_t panel = AMX_PANEL_OUTPUTS * (n_in < AMX_DEPTH ? n_in : AMX_DEPTH);
	return sums_bytes() + (few > panel ? few : panel) * sizeof(uint16_t);
}

/* ---- rows ---- */

/* The block of rows that a row is in. */
static void *block_of(const struct prepared_row *row)
{
	return row->out - (size_t)(row->row % AMX_SIDE) * row->stride_bytes;
}

void amx_prepare_few(const struct prepared_row *row)
{
	amx->pack_row_few(block_of(row), row->row % AMX_SIDE, row->x, row->n_in);
}

void amx_prepare_many(const struct prepared_row *row)
{
	amx->pack_row_many(block_of(row), row->row % AMX_SIDE, row->x, row->n_in);
}

/* Blocks of 16 rows that a span touches. */
static int blocks_of(const struct row_span *span)
{
	return (span->first + span->n_rows + AMX_SIDE - 1) / AMX_SIDE - span->first / AMX_SIDE;
}

static bool is_packed(const struct region *region, const struct row_span *span)
{
	return region->paths[span->phase]->multiply_all == amx_multiply_spans;
}

/* Wide panels read the rows less often, narrow ones give every worker something to do. */
static int64_t panel_columns(const struct region *region)
{
	enum { TASKS_PER_WORKER = 4 };
	int64_t n_outputs = 0, width = AMX_PANEL_OUTPUTS;
	for (int i = 0; i < region->n_weights; i++)
		n_outputs += region->weights[i]->n_out;
	while (width > 2 * AMX_SIDE && n_outputs / width < (int64_t)region->kernels->inner->n_threads * TASKS_PER_WORKER)
		width /= 2;
	return width;
}

void amx_begin(struct region *region)
{
	for (int i = 0; i < region->input->n_spans; i++) {
		const struct row_span *span = &region->input->spans[i];
		if (!is_packed(region, span))
			continue;
		region->panels.n_rows += span->n_rows;
		region->panels.n_blocks += blocks_of(span);
	}
	region->panels.columns = panel_columns(region);
}

int64_t amx_columns(const struct region *region, const struct weight *weight)
{
	(void)weight;
	return region->panels.columns; /* a multiple of AMX_SIDE */
}

/* ---- weights where they lie ---- */

void amx_multiply_span(const struct region *region, const struct row_span *span, struct columns columns,
                       const float *widened)
{
	(void)widened;
	const struct weight *weight = region->weights[columns.index];
	int block = span->first / AMX_SIDE * AMX_SIDE;
	struct amx_few product = {
	    .x = prepared_at(region, block),
	    .block_stride = AMX_SIDE * region->prepared_stride / sizeof(uint16_t),
	    .n_rows = span->first + span->n_rows - block,
	    .first_row = span->first - block,
	    .w = weight_row(weight, columns.first),
	    .n_outputs = (int)columns.n,
	    .n_following = (int)(weight->n_out - columns.first - columns.n),
	    .n_in = weight->n_in,
	    .out = output_at(region, columns, block),
	    .out_stride = (size_t)weight->n_out,
	};
	amx->multiply_few(&product);
}

/* ---- packed weights ---- */

/* A piece of a weight: up to 16 outputs from `first` (a multiple of 16) on, inputs from `k` (a multiple of 32) on. */
struct weight_piece {
	int64_t first, k;
};

/* The block that a piece begins with. */
static const unsigned char *piece_block(const struct weight *weight, struct weight_piece piece)
{
	uint16_t *scales;
	const unsigned char *head, *strip = weight_strip(weight, piece.first, &scales);
	return quant_block(weight->type, strip, (int)(piece.k / QUANT_GROUP), &head);
}

/* Packs a piece of `depth` inputs of the outputs before `end` for multiply_many: bf16 rows, or few bits. Memory is asked for
 * what `next` will need meanwhile. */
static void weight_pack(const struct weight *weight, struct weight_piece piece, int64_t end, int64_t depth,
                        struct weight_piece next, uint16_t *strip)
{
	if (quant_is(weight->type)) {
		uint16_t *scales;
		const unsigned char *data = weight_strip(weight, piece.first, &scales);
		ptrdiff_t ahead = piece_block(weight, next) - piece_block(weight, piece);
		amx->pack_quant(strip, weight->type, data, scales, (int)(piece.k / QUANT_GROUP), quant_groups(depth), ahead);
		return;
	}
	assert(weight->type == DTYPE_BF16);
	size_t row_bytes = weight_row_bytes(weight);
	int n_outputs = end - piece.first < AMX_SIDE ? (int)(end - piece.first) : AMX_SIDE;
	const unsigned char *rows = weight_row(weight, piece.first);
	amx->pack_rows(strip, rows + (size_t)piece.k * sizeof(uint16_t), row_bytes, n_outputs, depth,
	               (int)(end - piece.first) - n_outputs);
}

/* How many outputs and inputs of a weight go into a panel. */
struct panel_size {
	int64_t n_outputs, depth;
};

/* For many rows a panel stays in the second cache while they pass. A few rows take weights as they come from memory. */
static struct panel_size panel_size(const struct region *region, const struct weight *weight, struct columns columns)
{
	if (region->panels.n_rows > AMX_SIDE)
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
		if (!is_packed(region, span))
			continue;
		n = blocks_of(span);
		int from = first > at ? first - at : 0, to = end - at < n ? end - at : n;
		int block = (span->first / AMX_SIDE + from) * AMX_SIDE;
		int last_row = (span->first / AMX_SIDE + to) * AMX_SIDE, span_end = span->first + span->n_rows;
		if (from < to) {
			product->x = prepared_at(region, block);
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
static void multiply_packed(const struct region *region, struct columns columns, void *scratch)
{
	const struct weight *weight = region->weights[columns.index];
	struct panel_size size = panel_size(region, weight, columns);
	uint16_t *panel = (uint16_t *)((unsigned char *)scratch + sums_bytes());
	for (int64_t i = 0; i < columns.n; i += size.n_outputs) {
		struct columns here = {columns.index, columns.first + i, columns.n - i};
		here.n = here.n < size.n_outputs ? here.n : size.n_outputs;
		for (int block = 0; block < region->panels.n_blocks; block += AMX_SUM_BLOCKS)
			for (int64_t k = 0; k < weight->n_in; k += size.depth) {
				struct amx_many product = {0};
				int64_t depth = weight->n_in - k < size.depth ? weight->n_in - k : size.depth;
				set_panel(&product, weight, here, k, depth, panel);
				multiply_panel(region, &product, here, block, scratch);
			}
	}
}

/* ---- widened weights ---- */

/* All spans that want tiles of weights in few bits, if they are so few rows; else false. */
static bool multiply_widened(const struct region *region, struct columns columns)
{
	const struct weight *weight = region->weights[columns.index];
	struct amx_widened product = {.n_blocks = 0};
	if (!quant_is(weight->type) || region->panels.n_blocks > AMX_WIDENED_BLOCKS)
		return false;
	for (int i = 0; i < region->input->n_spans; i++) {
		const struct row_span *span = &region->input->spans[i];
		if (!is_packed(region, span))
			continue;
		assert(span->first % AMX_SIDE == 0); /* prefill */
		for (int row = 0; row < span->n_rows; row += AMX_SIDE)
			product.blocks[product.n_blocks++] = (struct amx_block){
			    .x = prepared_at(region, span->first + row),
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

void amx_multiply_spans(const struct region *region, struct columns columns, void *scratch)
{
	if (!multiply_widened(region, columns))
		multiply_packed(region, columns, scratch);
}
