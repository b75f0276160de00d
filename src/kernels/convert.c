/* Making weights of one type from another, a block of 16 outputs per task. */
#include "kernels/convert.h"

#include <assert.h>
#include <string.h>

#include "base/checked.h"
#include "kernels/amx.h"
#include "kernels/kernel_set.h"
#include "kernels/layout.h"
#include "kernels/repack.h"
#include "tensor/block.h"

enum dtype weight_served_type(enum dtype type)
{
	for (int made = 0; made < DTYPE_COUNT; made++)
		if (quant_is((enum dtype)made) && quant_of((enum dtype)made)->stored == type)
			return (enum dtype)made;
	return type;
}

static int64_t blocks_of(int64_t n_out)
{
	return (n_out + QUANT_OUTPUTS - 1) / QUANT_OUTPUTS;
}

/* Bytes of a quantised weight before its scales. */
static size_t quant_data_bytes(enum dtype type, int64_t n_out, int64_t n_in)
{
	return (size_t)blocks_of(n_out) * quant_strip_bytes(type, quant_groups(n_in));
}

bool weight_bytes(enum dtype type, int64_t n_out, int64_t n_in, size_t *n_bytes)
{
	size_t n;
	if (quant_is(type)) {
		n_out = blocks_of(n_out) * QUANT_OUTPUTS;
		n_in = (int64_t)round_up((size_t)n_in, (size_t)dtype_info(type)->block_elements);
	} else if (type == DTYPE_BF16T) {
		n_out = blocks_of(n_out) * AMX_SIDE;
		n_in = amx_steps(n_in) * AMX_STEP;
	}
	if (!checked_mul((size_t)n_out, (size_t)n_in, &n) || !dtype_bytes(type, n, n_bytes) ||
	    !checked_add(*n_bytes, 63, n_bytes))
		return false;
	*n_bytes = *n_bytes / 64 * 64;
	return true;
}

/* ---- from f32 and back ---- */

/* Rounded as block_dequantise does. */
static void widen_quant(const struct weight *weight, int64_t output, float *out)
{
	int lane = (int)(output % QUANT_OUTPUTS);
	uint16_t *scales;
	const unsigned char *strip = weight_strip(weight, output, &scales);
	for (int64_t i = 0; i < weight->n_in; i++) {
		int group = (int)(i / QUANT_GROUP), k = (int)(i % QUANT_GROUP);
		const unsigned char *head, *block = quant_block(weight->type, strip, group, &head);
		int part = k / quant_of(weight->type)->scale_inputs;
		struct quant_scale scale = quant_scale(weight->type, scales, head, group, lane, part);
		float minimum = quant_of(weight->type)->minimum ? scale.minimum * (float)scale.minimum_factor : 0;
		out[i] = scale.scale * (float)scale.factor * (float)quant_value(weight->type, block, lane, k) - minimum;
	}
}

/* Values [first, first + n) of a weight in rows; both are multiples of the type's block. */
static void widen_stored(const struct kernels *kernels, const struct weight *weight, int64_t first, int64_t n,
                         float *out)
{
	const struct dtype_info *info = dtype_info(weight->type);
	const char *data = (const char *)weight->data + (size_t)(first / info->block_elements) * (size_t)info->block_bytes;
	if (info->block_elements == 1)
		kernels->widen(out, data, weight->type, n);
	else
		block_dequantise(weight->type, data, out, (size_t)n);
}

/* The tile of outputs that `output` is in, of inputs from 0 on. */
static uint16_t *tiles_of(const struct weight *weight, int64_t output)
{
	return (uint16_t *)weight->data + output / AMX_SIDE * amx_steps(weight->n_in) * AMX_STEP * AMX_SIDE;
}

static void widen_tiles(const struct weight *weight, int64_t output, float *out)
{
	const uint16_t *pairs = tiles_of(weight, output) + output % AMX_SIDE * 2;
	for (int64_t k = 0; k < weight->n_in; k++)
		out[k] = bf16_to_f32(pairs[k / 2 * 2 * AMX_SIDE + k % 2]);
}

void weight_widen(const struct kernels *kernels, const struct weight *weight, int64_t first, int64_t n, float *out)
{
	if (weight->type == DTYPE_BF16T) {
		for (int64_t i = 0; i < n; i++)
			widen_tiles(weight, first + i, out + i * weight->n_in);
		return;
	}
	if (quant_is(weight->type)) {
		for (int64_t i = 0; i < n; i++)
			widen_quant(weight, first + i, out + i * weight->n_in);
		return;
	}
	widen_stored(kernels, weight, first * weight->n_in, n * weight->n_in, out);
}

struct conversion {
	const struct kernels *kernels;
	const struct weight *from, *to;
};

/* A multiple of every stored type's block. */
enum { WIDE = 256 };

/* A block of Q8 or Q4. */
static unsigned char *block_of(const struct weight *to, int64_t first, int group, uint16_t **scales)
{
	unsigned char *strip = weight_strip(to, first, scales);
	assert(*scales);
	*scales += group * quant_group_scales(to->type);
	return strip + (size_t)group * quant_block_bytes(to->type);
}

/* 16 outputs, widened in pieces that fit the stack and rounded a block at a time. */
static void quantise_outputs(const struct conversion *conversion, int64_t first, int64_t n_outputs)
{
	const struct weight *from = conversion->from, *to = conversion->to;
	const struct kernel_set *set = conversion->kernels->inner->set;
	_Alignas(64) float rows[QUANT_OUTPUTS][WIDE] = {{0}}, lanes[QUANT_GROUP][QUANT_OUTPUTS];
	for (int64_t k = 0; k < from->n_in; k += WIDE) {
		int64_t n = from->n_in - k < WIDE ? from->n_in - k : WIDE;
		for (int64_t i = 0; i < n_outputs; i++) {
			widen_stored(conversion->kernels, from, (first + i) * from->n_in + k, n, rows[i]);
			memset(rows[i] + n, 0, (size_t)(WIDE - n) * sizeof(float));
		}
		for (int64_t j = 0; j < n; j += QUANT_GROUP) {
			uint16_t *scales;
			unsigned char *block = block_of(to, first, (int)((k + j) / QUANT_GROUP), &scales);
			set->transpose(lanes[0], QUANT_OUTPUTS, rows[0] + j, WIDE, QUANT_OUTPUTS, QUANT_GROUP);
			set->quantise_block(to->type, (const void *)lanes, block, scales);
		}
	}
}

/* bf16 as it lies, other types rounded to it. */
static void tile_outputs(const struct conversion *conversion, int64_t first, int64_t n_outputs)
{
	const struct weight *from = conversion->from;
	uint16_t *tiles = tiles_of(conversion->to, first);
	if (from->type == DTYPE_BF16) {
		size_t row_bytes = (size_t)from->n_in * sizeof(uint16_t);
		amx->pack_rows(tiles, (const unsigned char *)from->data + (size_t)first * row_bytes, row_bytes, (int)n_outputs,
		               from->n_in, (int)(from->n_out - first - n_outputs));
		return;
	}
	_Alignas(64) float wide[WIDE];
	uint16_t rows[AMX_SIDE][WIDE];
	for (int64_t k = 0; k < from->n_in; k += WIDE) {
		int64_t n = from->n_in - k < WIDE ? from->n_in - k : WIDE;
		for (int64_t i = 0; i < n_outputs; i++) {
			widen_stored(conversion->kernels, from, (first + i) * from->n_in + k, n, wide);
			conversion->kernels->narrow(rows[i], DTYPE_BF16, wide, n);
		}
		amx->pack_rows(tiles + k * AMX_SIDE, (const void *)rows, sizeof rows[0], (int)n_outputs, n, 0);
	}
}

static void convert_rows(const struct conversion *conversion, int64_t first, int64_t n_outputs)
{
	enum { PIECE = 4 * WIDE };
	const struct weight *from = conversion->from, *to = conversion->to;
	size_t to_bytes = (size_t)dtype_info(to->type)->block_bytes;
	_Alignas(64) float piece[PIECE];
	int64_t end = (first + n_outputs) * from->n_in;
	for (int64_t i = first * from->n_in; i < end; i += PIECE) {
		int64_t n = end - i < PIECE ? end - i : PIECE;
		widen_stored(conversion->kernels, from, i, n, piece);
		conversion->kernels->narrow((char *)to->data + (size_t)i * to_bytes, to->type, piece, n);
	}
}

static void convert_task(void *context, int task, int worker)
{
	(void)worker;
	const struct conversion *conversion = context;
	int64_t first = (int64_t)task * QUANT_OUTPUTS, left = conversion->from->n_out - first;
	int64_t n_outputs = left < QUANT_OUTPUTS ? left : QUANT_OUTPUTS;
	if (conversion->to->type == DTYPE_BF16T)
		tile_outputs(conversion, first, n_outputs);
	else if (!quant_is(conversion->to->type))
		convert_rows(conversion, first, n_outputs);
	else if (quant_of(conversion->to->type)->stored == conversion->from->type)
		repack_outputs(conversion->from, conversion->to, first, (int)n_outputs);
	else
		quantise_outputs(conversion, first, n_outputs);
}

void weight_convert(const struct kernels *kernels, struct pool *pool, const struct weight *from, enum dtype type,
                    void *memory, struct weight *to)
{
	assert(from->layout == LAYOUT_ROWS && !quant_is(from->type) && (uintptr_t)memory % 64 == 0);
	*to = (struct weight){
	    .type = type, .layout = weight_layout(type), .n_out = from->n_out, .n_in = from->n_in, .data = memory};
	assert(!quant_is(type) || type == DTYPE_Q8 || type == DTYPE_Q4 || quant_of(type)->stored == from->type);
	if (quant_is(type) && !quant_is_super(type))
		to->scales = (unsigned char *)memory + quant_data_bytes(type, from->n_out, from->n_in);
	struct conversion conversion = {.kernels = kernels, .from = from, .to = to};
	pool_run(pool, (int)blocks_of(from->n_out), convert_task, &conversion);
}
