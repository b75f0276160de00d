/* The scalar set: the specification and the oracle of the others, in plain C. Never calls OpenBLAS.
 *
 * Sums run in LANES interleaved partial sums, as in a vector register, and end in one fixed tree: less rounding than
 * one long chain, and something a compiler can keep in registers.
 */
#include <assert.h>
#include <math.h>
#include <string.h>

#include "kernels/kernel_set.h"

enum { LANES = 16 };

static float sum_lanes(const float *lanes)
{
	float sum[LANES];
	memcpy(sum, lanes, sizeof sum);
	for (int half = LANES / 2; half; half /= 2)
		for (int i = 0; i < half; i++)
			sum[i] += sum[i + half];
	return sum[0];
}

static void scalar_rms_norm(float *out, const float *x, const float *weight, int64_t n, float eps)
{
	double squares = 0;
	for (int64_t i = 0; i < n; i++)
		squares += (double)x[i] * x[i];
	float factor = (float)(1 / sqrt(squares / (double)n + eps));
	for (int64_t i = 0; i < n; i++)
		out[i] = x[i] * factor * weight[i];
}

static void scalar_rope(float *x, const float *cos, const float *sin, int64_t head_dim)
{
	int64_t half = head_dim / 2;
	for (int64_t i = 0; i < half; i++) {
		float a = x[i], b = x[i + half];
		x[i] = a * cos[i] - b * sin[i];
		x[i + half] = b * cos[i] + a * sin[i];
	}
}

static void scalar_swiglu(float *out, const float *gate, const float *up, int64_t n)
{
	for (int64_t i = 0; i < n; i++)
		out[i] = gate[i] / (1 + expf(-gate[i])) * up[i];
}

static void scalar_add(float *x, const float *y, int64_t n)
{
	for (int64_t i = 0; i < n; i++)
		x[i] += y[i];
}

static void scalar_scale(float *out, const float *x, float factor, int64_t n)
{
	for (int64_t i = 0; i < n; i++)
		out[i] = x[i] * factor;
}

static uint16_t load_u16(const unsigned char *bytes, int64_t i)
{
	uint16_t value;
	memcpy(&value, bytes + i * 2, sizeof value);
	return value;
}

static float load_element(const unsigned char *bytes, enum dtype type, int64_t i)
{
	if (type == DTYPE_F16)
		return f16_to_f32(load_u16(bytes, i));
	if (type == DTYPE_BF16)
		return bf16_to_f32(load_u16(bytes, i));
	float value;
	memcpy(&value, bytes + i * 4, sizeof value);
	return value;
}

static void scalar_widen(float *out, const void *stored, enum dtype type, int64_t n);
static void scalar_narrow(void *stored, enum dtype type, const float *x, int64_t n);
#define NARROW      scalar_narrow
#define WIDEN       scalar_widen
#define FINE_PLANES false
#include "kernels/quantise_body.inc"
#undef FINE_PLANES

static void scalar_widen(float *out, const void *stored, enum dtype type, int64_t n)
{
	assert(type == DTYPE_F32 || type == DTYPE_F16 || type == DTYPE_BF16 || type == DTYPE_Q8);
	if (type == DTYPE_Q8) {
		set_widen_q8(out, stored, n);
		return;
	}
	for (int64_t i = 0; i < n; i++)
		out[i] = load_element(stored, type, i);
}

static void scalar_narrow(void *stored, enum dtype type, const float *x, int64_t n)
{
	assert(type == DTYPE_F32 || type == DTYPE_F16 || type == DTYPE_BF16 || type == DTYPE_Q8);
	if (type == DTYPE_Q8) {
		set_narrow_q8(stored, x, n);
		return;
	}
	unsigned char *out = stored;
	for (int64_t i = 0; i < n; i++) {
		if (type == DTYPE_F32) {
			memcpy(out + i * 4, x + i, 4);
			continue;
		}
		uint16_t value = type == DTYPE_F16 ? f32_to_f16(x[i]) : f32_to_bf16(x[i]);
		memcpy(out + i * 2, &value, sizeof value);
	}
}

/* ---- products ---- */

static float dot_widened(const float *x, const float *w, int64_t n)
{
	float lanes[LANES] = {0};
	int64_t i = 0;
	for (; i + LANES <= n; i += LANES)
		for (int j = 0; j < LANES; j++)
			lanes[j] += x[i + j] * w[i + j];
	for (int j = 0; i < n; i++, j++)
		lanes[j] += x[i] * w[i];
	return sum_lanes(lanes);
}

/* Widens a weight row piece by piece and keeps each row's partial sums, so that widening is paid once for all rows. */
static void dot_output(const struct dot_block *block, enum dtype type, int64_t element_bytes, int output)
{
	enum { PIECE = 1024, ROWS = 16 }; /* PIECE: a multiple of LANES, or the order of sums would depend on it */
	const unsigned char *w = block->w + (size_t)output * block->w_stride_bytes;
	for (int first = 0; first < block->n_rows; first += ROWS) {
		int n_rows = block->n_rows - first < ROWS ? block->n_rows - first : ROWS;
		float sums[ROWS] = {0};
		for (int64_t k = 0; k < block->n_in; k += PIECE) {
			int64_t n = block->n_in - k < PIECE ? block->n_in - k : PIECE;
			float widened[PIECE];
			scalar_widen(widened, w + k * element_bytes, type, n);
			for (int r = 0; r < n_rows; r++) {
				const float *x = (const void *)((const char *)block->x + (size_t)(first + r) * block->x_stride_bytes);
				sums[r] += dot_widened(x + k, widened, n);
			}
		}
		for (int r = 0; r < n_rows; r++)
			block->out[(size_t)(first + r) * block->out_stride + (size_t)output] = sums[r];
	}
}

static void dot_f32(const struct dot_block *block)
{
	for (int i = 0; i < block->n_outputs; i++)
		dot_output(block, DTYPE_F32, 4, i);
}

static void dot_f16(const struct dot_block *block)
{
	for (int i = 0; i < block->n_outputs; i++)
		dot_output(block, DTYPE_F16, 2, i);
}

static void dot_bf16(const struct dot_block *block)
{
	for (int i = 0; i < block->n_outputs; i++)
		dot_output(block, DTYPE_BF16, 2, i);
}

/* ---- few bits ---- */

/* Of one row by one output. Where parts have factors of their own, or activations are by super-blocks (their integers are
 * `gathered`, too), a super-block's scale and minimum are multiplied at its end:
 * its integers times the scales of the activations are `inner`, its minimums' factors times sums of these `below`, or
 * `gathered` with activations of 8 bits. */
struct quant_sums {
	float total, inner, below;
	int32_t gathered;
};

/* The integer of a part of a group. */
static int32_t quant_sum_part(enum dtype type, enum quant_grain grain, const void *x, const unsigned char *block,
                              int lane, int part)
{
	int32_t sum = 0;
	for (int i = 0, k = part * quant_of(type)->scale_inputs; i < quant_of(type)->scale_inputs; i++, k++)
		sum += quant_value(type, block, lane, k) *
		       (quant_is_fine(grain) ? quant_fine_value(x, false, k) : ((const struct quant_group *)x)->values[k]);
	return sum;
}

/* The same with shared activations: low halves meet what weights lose nothing of, or what is left of them. */
static int32_t quant_sum_shared(enum dtype type, const struct quant_fine_group *x, const unsigned char *block, int lane,
                                int part)
{
	const int n = quant_shared(type), share = quant_share(type, GRAIN_SHARED), loss = quant_share_loss(type);
	const int raised = 1 << quant_share_raise(type);
	int32_t sum = 0, low_sum = 0;
	for (int i = 0, k = part * 2 * n; i < n; i++, k++) {
		const int a = quant_value(type, block, lane, k), b = quant_value(type, block, lane, k + n);
		sum += raised * (a * x->planes[0][k] + b * x->planes[0][k + n]);
		sum += ((a >> loss) + share * (b >> loss)) * x->planes[1][part * n + i];
		low_sum += x->planes[1][part * n + i];
	}
	return sum + raised * quant_lost(type, low_sum);
}

/* With short activations: struct quant_short_group. */
static void quant_add_short(enum dtype type, const struct quant_short_group *x, const unsigned char *block,
                            const struct quant_scale *scale, int lane, struct quant_sums *sums)
{
	enum { SHARED = QUANT_GROUP / 2 };
	const int share = quant_share(type, GRAIN_SHORT), zero = quant_of(type)->zero;
	int32_t sum = 0;
	for (int half = 0; half < 2; half++) {
		int32_t low = 0, high = 0;
		for (int i = 0; i < SHARED; i++) {
			if (i % 4 / 2 != half)
				continue;
			const int a = zero + quant_value(type, block, lane, i),
			          b = zero + quant_value(type, block, lane, i + SHARED);
			low += (a + share * b) * x->low[i];
			high += a * x->high[i] + b * x->high[i + SHARED];
		}
		high += x->starts[half] + quant_round_low(type, low);
		assert(high == (int16_t)high);
		sum += high;
	}
	const float by = scale->scale * (float)scale->factor;
	sums->total = fmaf((float)(sum * x->factor[0]), by, sums->total);
	if (quant_of(type)->minimum) {
		const float minimum = scale->minimum * (float)scale->minimum_factor;
		sums->total = fmaf(x->below, fmaf((float)-quant_centre(type), by, minimum), sums->total);
	}
}

static void quant_add_group(enum dtype type, enum quant_grain grain, const void *x, const unsigned char *block,
                            const struct quant_scale *parts, int lane, struct quant_sums *sums)
{
	const int n_parts = quant_parts(type);
	int32_t integer = 0;
	if (grain == GRAIN_SHORT) {
		quant_add_short(type, x, block, parts, lane, sums);
		return;
	}
	for (int part = 0; part < n_parts; part++) {
		int32_t sum = quant_is_shared(grain) ? quant_sum_shared(type, x, block, lane, part)
		                                     : quant_sum_part(type, grain, x, block, lane, part);
		integer += n_parts == 1 ? sum : sum * parts[part].factor;
	}
	const float x_scale = quant_x_scale(grain, x);
	if (grain == GRAIN_SUPER) {
		sums->gathered += integer * parts[0].factor;
		return;
	}
	if (n_parts == 2) {
		for (int part = 0; part < n_parts && quant_of(type)->minimum; part++) {
			int factor = parts[part].minimum_factor;
			if (quant_is_fine(grain))
				sums->below = fmaf(quant_below(grain, x, part), (float)factor, sums->below);
			else
				sums->gathered += factor * quant_part_sum(x, part);
		}
		sums->inner = fmaf((float)integer, x_scale, sums->inner);
		return;
	}
	sums->total = fmaf((float)integer * x_scale, parts[0].scale * (float)parts[0].factor, sums->total);
	if (quant_of(type)->minimum)
		sums->total = fmaf(quant_below(grain, x, 0), parts[0].minimum * (float)parts[0].minimum_factor, sums->total);
}

/* Of one output: the parts' scale and minimum are those of all of the super-block. x: its last group. */
static void quant_end_super(enum dtype type, enum quant_grain grain, const void *x, const struct quant_scale *parts,
                            struct quant_sums *sums)
{
	if (grain == GRAIN_SUPER)
		sums->total = fmaf((float)sums->gathered * quant_x_scale(grain, x), parts[0].scale, sums->total);
	else
		sums->total = fmaf(sums->inner, parts[0].scale, sums->total);
	if (quant_of(type)->minimum && !quant_is_fine(grain))
		sums->below = (float)sums->gathered * quant_below_step((const struct quant_group *)x - QUANT_SUPER_GROUPS + 1);
	if (quant_of(type)->minimum)
		sums->total = fmaf(sums->below, parts[0].minimum, sums->total);
	*sums = (struct quant_sums){.total = sums->total};
}

/* One row by 16 outputs. */
static void quant_outputs(enum dtype type, enum quant_grain grain, const unsigned char *x, const unsigned char *strip,
                          const uint16_t *scales, int n_groups, struct quant_sums *sums)
{
	for (int group = 0; group < n_groups; group++, x += quant_group_bytes(grain)) {
		const unsigned char *head, *block = quant_block(type, strip, group, &head);
		for (int lane = 0; lane < QUANT_OUTPUTS; lane++) {
			struct quant_scale parts[2] = {{0}};
			for (int part = 0; part < quant_parts(type); part++)
				parts[part] = quant_scale(type, scales, head, group, lane, part);
			quant_add_group(type, grain, x, block, parts, lane, &sums[lane]);
			if ((quant_parts(type) == 2 || grain == GRAIN_SUPER) &&
			    group % QUANT_SUPER_GROUPS == QUANT_SUPER_GROUPS - 1)
				quant_end_super(type, grain, x, parts, &sums[lane]);
		}
	}
}

void scalar_quant(enum dtype type, const struct quant_product *p)
{
	for (int r = 0; r < p->n_rows; r++)
		for (int o = 0; o < p->n_outputs; o += QUANT_OUTPUTS) {
			size_t index = (size_t)(o / QUANT_OUTPUTS);
			struct quant_sums sums[QUANT_OUTPUTS] = {{0}};
			quant_outputs(type, p->grain, (const unsigned char *)p->x + (size_t)r * p->x_stride_bytes,
			              p->w + index * quant_strip_bytes(type, p->n_groups),
			              p->scales ? p->scales + index * (size_t)quant_strip_scales(type, p->n_groups) : NULL,
			              p->n_groups, sums);
			int n = p->n_outputs - o < QUANT_OUTPUTS ? p->n_outputs - o : QUANT_OUTPUTS;
			const float scale = quant_row_scale(p->grain, (const unsigned char *)p->x + (size_t)r * p->x_stride_bytes);
			for (int lane = 0; lane < n; lane++)
				p->out[(size_t)r * p->out_stride + (size_t)(o + lane)] = sums[lane].total * scale;
		}
}

/* ---- attention ---- */

static void scalar_product(const struct small_product *p)
{
	for (int i = 0; i < p->m; i++) {
		float *c = p->c + (size_t)i * p->c_stride;
		for (int j = 0; j < p->n; j++)
			c[j] = p->scale ? c[j] * p->scale[i] : 0;
		for (int k = 0; k < p->k; k++) {
			float a = p->a[(size_t)i * p->a_stride + (size_t)k];
			const float *b = p->b + (size_t)k * p->b_stride;
			for (int j = 0; j < p->n; j++)
				c[j] += a * b[j];
		}
	}
}

static void scalar_transpose(float *out, size_t out_stride, const float *in, size_t in_stride, int n_rows,
                             int n_columns)
{
	for (int i = 0; i < n_rows; i++)
		for (int j = 0; j < n_columns; j++)
			out[(size_t)j * out_stride + (size_t)i] = in[(size_t)i * in_stride + (size_t)j];
}

static float scalar_softmax_block(float *scores, int n, float *maximum, float *sum)
{
	float top = *maximum;
	for (int i = 0; i < n; i++)
		top = scores[i] > top ? scores[i] : top;
	float total = 0;
	for (int i = 0; i < n; i++) {
		scores[i] = expf(scores[i] - top);
		total += scores[i];
	}
	float factor = expf(*maximum - top);
	*maximum = top;
	*sum = *sum * factor + total;
	return factor;
}

const struct kernel_set scalar_set = {
    .rms_norm = scalar_rms_norm,
    .rope = scalar_rope,
    .swiglu = scalar_swiglu,
    .add = scalar_add,
    .widen = scalar_widen,
    .narrow = scalar_narrow,
    .dot = {[DTYPE_F32] = dot_f32, [DTYPE_F16] = dot_f16, [DTYPE_BF16] = dot_bf16},
    .quant = scalar_quant,
    .quantise_row = set_quantise_row,
    .quantise_block = set_quantise_block,
    .product = scalar_product,
    .transpose = scalar_transpose,
    .softmax_block = scalar_softmax_block,
    .scale = scalar_scale,
};
