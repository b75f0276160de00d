/* Making weights of one type from another, a block of 16 outputs per task. */
#include "kernels/convert.h"

#include <assert.h>
#include <string.h>

#include "base/checked.h"
#include "kernels/amx.h"
#include "kernels/kernel_set.h"
#include "kernels/layout.h"
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
		struct quant_scale scale = quant_scale(weight->type, scales, head, group, lane, k);
		out[i] = scale.scale * (float)quant_value(weight->type, block, lane, k) - scale.minimum;
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
	*scales += group * QUANT_OUTPUTS;
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

/* Blocks of Q8_0 and Q4_0 hold a scale and then the values of one output in the order of ours, where each four bytes of
 * them are followed by those of the next output; Q4_0 has the same values in the low halves and counts from -8, too. */
static void repack_outputs(const struct conversion *conversion, int64_t first, int64_t n_outputs)
{
	const struct weight *from = conversion->from, *to = conversion->to;
	const size_t block_bytes = (size_t)dtype_info(from->type)->block_bytes;
	const bool bytes = quant_bits(to->type) == 8;
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

/* Eight words of four values each, from bytes that hold other values besides. */
static void take_words(uint32_t words[8], const unsigned char *bytes, int shift, uint32_t mask)
{
	memcpy(words, bytes, 8 * sizeof *words);
	for (int i = 0; i < 8; i++)
		words[i] = words[i] >> shift & mask;
}

static void put_word(unsigned char *block, int row, int lane, uint32_t word)
{
	memcpy(block + row * 4 * QUANT_OUTPUTS + 4 * lane, &word, sizeof word);
}

/* One output of a super-block of Q4_K (tensor/block.c has its layout). */
static void repack_q4_k(unsigned char *head, int lane, const unsigned char *stored)
{
	memcpy(head + 2 * lane, stored, 2);
	memcpy(head + 2 * (QUANT_OUTPUTS + lane), stored + 2, 2);
	unsigned char *block = head + QUANT_HEAD_BYTES, *factors = head + QUANT_HEAD_FACTORS + lane;
	for (int group = 0; group < QUANT_SUPER_GROUPS; group++, factors += 2 * QUANT_OUTPUTS) {
		uint32_t words[8];
		take_words(words, stored + 16 + group / 2 * 32, group % 2 * 4, 0x0f0f0f0f);
		for (int row = 0; row < 4; row++)
			put_word(block, row, lane, words[row] | words[row + 4] << 4);
		block_q4_k_factors(stored, group, &factors[0], &factors[QUANT_OUTPUTS]);
		block += quant_block_bytes(DTYPE_Q4K);
	}
}

/* One output of a super-block of Q6_K. */
static void repack_q6_k(unsigned char *head, int lane, const unsigned char *stored)
{
	memcpy(head + 2 * lane, stored + 208, 2);
	memset(head + 2 * (QUANT_OUTPUTS + lane), 0, 2);
	unsigned char *block = head + QUANT_HEAD_BYTES, *factors = head + QUANT_HEAD_FACTORS + lane;
	for (int i = 0; i < 2 * QUANT_SUPER_GROUPS; i++)
		factors[i * QUANT_OUTPUTS] = stored[192 + i];
	for (int group = 0; group < QUANT_SUPER_GROUPS; group++, block += quant_block_bytes(DTYPE_Q6K)) {
		uint32_t low[8], high[8];
		take_words(low, stored + group / 4 * 64 + group % 2 * 32, group % 4 / 2 * 4, 0x0f0f0f0f);
		take_words(high, stored + 128 + group / 4 * 32, group % 4 * 2, 0x03030303);
		for (int row = 0; row < 4; row++)
			put_word(block, row, lane, low[row] | low[row + 4] << 4);
		for (int half = 0; half < 2; half++) {
			const uint32_t *bits = high + 4 * half;
			put_word(block, 4 + half, lane, bits[0] | bits[1] << 2 | bits[2] << 4 | bits[3] << 6);
		}
	}
}

/* One output of a super-block as its file has it, to its lane. */
typedef void repack_function(unsigned char *head, int lane, const unsigned char *stored);
static repack_function *const repacks[DTYPE_COUNT] = {[DTYPE_Q4K] = repack_q4_k, [DTYPE_Q6K] = repack_q6_k};

/* What pads the outputs is zero: its scales are. */
static void repack_supers(const struct conversion *conversion, int64_t first, int64_t n_outputs)
{
	const struct weight *from = conversion->from, *to = conversion->to;
	const size_t stored_bytes = (size_t)dtype_info(from->type)->block_bytes;
	const int n_supers = (int)(from->n_in / QUANT_SUPER);
	uint16_t *scales;
	unsigned char *head = weight_strip(to, first, &scales);
	for (int super = 0; super < n_supers; super++, head += quant_strip_bytes(to->type, QUANT_SUPER_GROUPS)) {
		if (n_outputs < QUANT_OUTPUTS)
			memset(head, 0, quant_strip_bytes(to->type, QUANT_SUPER_GROUPS));
		for (int lane = 0; lane < n_outputs; lane++) {
			const unsigned char *stored =
			    (const unsigned char *)from->data + (size_t)((first + lane) * n_supers + super) * stored_bytes;
			repacks[to->type](head, lane, stored);
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
	else if (quant_is_super(conversion->to->type))
		repack_supers(conversion, first, n_outputs);
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
	assert(!quant_is_super(type) || weight_served_type(from->type) == type);
	if (quant_is(type) && !quant_is_super(type))
		to->scales = (unsigned char *)memory + quant_data_bytes(type, from->n_out, from->n_in);
	struct conversion conversion = {.kernels = kernels, .from = from, .to = to};
	pool_run(pool, (int)blocks_of(from->n_out), convert_task, &conversion);
}
