/* Making weights of one type from another, a block of 16 outputs per task. */
#include "kernels/convert.h"

#include <assert.h>
#include <string.h>

#include "base/checked.h"
#include "kernels/amx.h"
#include "kernels/kernel_set.h"
#include "tensor/block.h"

enum dtype weight_served_type(enum dtype type)
{
	return type == DTYPE_Q8_0 ? DTYPE_Q8 : type == DTYPE_Q4_0 ? DTYPE_Q4 : type;
}

enum weight_layout weight_layout(enum dtype type)
{
	return quant_is(type) ? LAYOUT_INTERLEAVED : LAYOUT_ROWS;
}

static int64_t blocks_of(int64_t n_out)
{
	return (n_out + QUANT_OUTPUTS - 1) / QUANT_OUTPUTS;
}

/* Bytes of a quantised weight before its scales. */
static size_t quant_data_bytes(enum dtype type, int64_t n_out, int64_t n_in)
{
	return (size_t)blocks_of(n_out) * (size_t)quant_groups(n_in) * quant_block_bytes(type);
}

bool weight_bytes(enum dtype type, int64_t n_out, int64_t n_in, size_t *n_bytes)
{
	size_t n;
	if (quant_is(type)) {
		n_out = blocks_of(n_out) * QUANT_OUTPUTS;
		n_in = (int64_t)quant_groups(n_in) * QUANT_GROUP;
	}
	if (!checked_mul((size_t)n_out, (size_t)n_in, &n) || !dtype_bytes(type, n, n_bytes) ||
	    !checked_add(*n_bytes, 63, n_bytes))
		return false;
	*n_bytes = *n_bytes / 64 * 64;
	return true;
}

/* ---- from f32 and back ---- */

static void widen_quant(const struct weight *weight, int64_t output, float *out)
{
	int n_groups = quant_groups(weight->n_in), lane = (int)(output % QUANT_OUTPUTS);
	size_t index = (size_t)(output / QUANT_OUTPUTS) * (size_t)n_groups;
	for (int64_t k = 0; k < weight->n_in; k++) {
		size_t block = index + (size_t)(k / QUANT_GROUP);
		float scale = f16_to_f32(((const uint16_t *)weight->scales)[block * QUANT_OUTPUTS + (size_t)lane]);
		const unsigned char *data = (const unsigned char *)weight->data + block * quant_block_bytes(weight->type);
		out[k] = scale * (float)quant_value(weight->type, data, lane, (int)(k % QUANT_GROUP));
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

void weight_widen(const struct kernels *kernels, const struct weight *weight, int64_t first, int64_t n, float *out)
{
	if (quant_is(weight->type)) {
		for (int64_t i = 0; i < n; i++)
			widen_quant(weight, first + i, out + i * weight->n_in);
		return;
	}
	widen_stored(kernels, weight, first * weight->n_in, n * weight->n_in, out);
}

void weight_pack(const struct weight *weight, int64_t first, int64_t end, int64_t k, int64_t n_in, uint16_t *strip)
{
	if (quant_is(weight->type)) {
		size_t block = (size_t)(first / QUANT_OUTPUTS) * (size_t)quant_groups(weight->n_in) + (size_t)(k / QUANT_GROUP);
		amx_pack_quant(strip, weight->type,
		               (const unsigned char *)weight->data + block * quant_block_bytes(weight->type),
		               (const uint16_t *)weight->scales + block * QUANT_OUTPUTS, quant_groups(n_in));
		return;
	}
	assert(weight->type == DTYPE_BF16);
	size_t row_bytes = (size_t)weight->n_in * sizeof(uint16_t);
	int n_outputs = end - first < AMX_SIDE ? (int)(end - first) : AMX_SIDE;
	amx_pack_rows(strip, (const unsigned char *)weight->data + (size_t)first * row_bytes + (size_t)k * sizeof(uint16_t),
	              row_bytes, n_outputs, n_in, (int)(end - first) - n_outputs);
}

struct conversion {
	const struct kernels *kernels;
	const struct weight *from, *to;
};

/* A multiple of every stored type's block. */
enum { WIDE = 256 };

static unsigned char *block_of(const struct weight *to, int64_t first, int group, uint16_t **scales)
{
	size_t index = (size_t)(first / QUANT_OUTPUTS) * (size_t)quant_groups(to->n_in) + (size_t)group;
	*scales = (uint16_t *)to->scales + index * QUANT_OUTPUTS;
	return (unsigned char *)to->data + index * quant_block_bytes(to->type);
}

/* 16 outputs, widened in pieces that fit the stack and rounded a block at a time. */
static void quantise_outputs(const struct conversion *conversion, int64_t first, int64_t n_outputs)
{
	const struct weight *from = conversion->from, *to = conversion->to;
	const struct kernel_set *set = conversion->kernels->private->set;
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

/* Blocks of Q8_0 and Q4_0 hold a scale and then the values of one output in the order of ours, where each four bytes of
 * them are followed by those of the next output; Q4_0 has the same values in the low halves and counts from -8, too. */
static void repack_outputs(const struct conversion *conversion, int64_t first, int64_t n_outputs)
{
	const struct weight *from = conversion->from, *to = conversion->to;
	const size_t block_bytes = (size_t)dtype_info(from->type)->block_bytes;
	const bool bytes = from->type == DTYPE_Q8_0;
	const uint32_t zeros = bytes ? 0 : 0x88888888u, flip = bytes ? 0x80808080u : 0; /* value + 128 */
	const int n_groups = quant_groups(from->n_in), n_words = (int)(block_bytes - sizeof(uint16_t)) / 4;
	for (int group = 0; group < n_groups; group++) {
		uint16_t *scales;
		unsigned char *block = block_of(to, first, group, &scales);
		for (int64_t lane = 0; lane < QUANT_OUTPUTS; lane++) {
			const unsigned char *stored =
			    (const unsigned char *)from->data + (size_t)((first + lane) * n_groups + group) * block_bytes;
			scales[lane] = 0;
			if (lane < n_outputs)
				memcpy(&scales[lane], stored, sizeof *scales);
			for (int word = 0; word < n_words; word++) {
				uint32_t four = zeros;
				if (lane < n_outputs)
					memcpy(&four, stored + sizeof *scales + 4 * word, 4);
				four ^= flip;
				memcpy(block + word * 4 * QUANT_OUTPUTS + 4 * lane, &four, 4);
			}
		}
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
	if (!quant_is(conversion->to->type))
		convert_rows(conversion, first, n_outputs);
	else if (weight_served_type(conversion->from->type) == conversion->to->type)
		repack_outputs(conversion, first, n_outputs);
	else
		quantise_outputs(conversion, first, n_outputs);
}

void weight_convert(const struct kernels *kernels, struct pool *pool, const struct weight *from, enum dtype type,
                    void *memory, struct weight *to)
{
	assert(from->layout == LAYOUT_ROWS && !quant_is(from->type) && (uintptr_t)memory % 64 == 0);
	*to = (struct weight){
	    .type = type, .layout = weight_layout(type), .n_out = from->n_out, .n_in = from->n_in, .data = memory};
	if (quant_is(type))
		to->scales = (unsigned char *)memory + quant_data_bytes(type, from->n_out, from->n_in);
	struct conversion conversion = {.kernels = kernels, .from = from, .to = to};
	pool_run(pool, (int)blocks_of(from->n_out), convert_task, &conversion);
}
