/* Rounding activations and weights to few bits, in vectors of the compiler's, which become whatever the set that includes
 * this has. The operations and their order are the same in every set, and so are the bits. Included after NARROW and
 * WIDEN are defined as the set's conversions.
 */

#define ROUND_MAGIC 12582912.0f /* 1.5 * 2^23 */

/* x rounded to the nearest integer (ties to even) for |x| < 2^22, as integer: the sum's low mantissa bits hold it. */
static inline int32_t round_near(float x)
{
	union {
		float number;
		uint32_t bits;
	} u = {.number = x + ROUND_MAGIC};
	return (int32_t)(u.bits - 0x4b400000u);
}

static inline uint32_t magnitude_bits(float x)
{
	union {
		float number;
		uint32_t bits;
	} u = {.number = x};
	return u.bits & 0x7fffffffu;
}

/* The largest magnitude scaled to 127; a group of zeros has scale 0. One with an infinity or NaN becomes zeros times
 * infinity, which is NaN in every product, the same one in all sets: of two different ones it would be up to the compiler
 * which survives. */
static void quantise_group(struct quant_group *out, const float *x, enum dtype type)
{
	union {
		uint32_t bits;
		float number;
	} largest = {.bits = 0};
	for (int i = 0; i < QUANT_GROUP; i++) {
		uint32_t bits = magnitude_bits(x[i]);
		largest.bits = bits > largest.bits ? bits : largest.bits;
	}
	if (largest.bits >= 0x7f800000u) {
		*out = (struct quant_group){.scale = INFINITY};
		return;
	}
	/* Below this the inverse would be infinite; such activations are as good as zero. */
	float inverse = largest.number < 1e-30f ? 0 : 127.0f / largest.number;
	int32_t low_sum = 0, high_sum = 0;
	for (int i = 0; i < QUANT_GROUP; i++)
		out->values[i] = (int8_t)round_near(x[i] * inverse);
	for (int i = 0; i < QUANT_GROUP / 2; i++) {
		low_sum += out->values[i];
		high_sum += out->values[i + QUANT_GROUP / 2];
	}
	out->scale = inverse == 0 ? 0 : largest.number / 127.0f;
	out->offset = quant_offset(type, low_sum, high_sum);
}

static void set_quantise_row(struct quant_group *out, const float *x, int64_t n, enum dtype type)
{
	for (; n >= QUANT_GROUP; n -= QUANT_GROUP, x += QUANT_GROUP)
		quantise_group(out++, x, type);
	if (n > 0) {
		float padded[QUANT_GROUP] = {0};
		memcpy(padded, x, (size_t)n * sizeof *x);
		quantise_group(out, padded, type);
	}
}

/* ---- weights: [QUANT_GROUP][QUANT_OUTPUTS], a lane per output ---- */

typedef float float_lanes __attribute__((vector_size(QUANT_OUTPUTS * sizeof(float))));
typedef int32_t int_lanes __attribute__((vector_size(QUANT_OUTPUTS * sizeof(int32_t))));
typedef uint32_t uint_lanes __attribute__((vector_size(QUANT_OUTPUTS * sizeof(uint32_t))));

/* Macros, because a vector that the set lacks cannot be passed to a function. mask: all bits of a lane, or none. */
#define LANES_SELECT(mask, a, b) ((float_lanes)(((mask) & (int_lanes)(a)) | (~(mask) & (int_lanes)(b))))
#define LANES_ALL(value)         ((float_lanes){0} + (value))
#define LANES_MAGNITUDE(x)       ((int_lanes)(x)&0x7fffffff)
#define LANES_ROUND(x)           (((x) + ROUND_MAGIC) - ROUND_MAGIC)
#define LANES_CLAMP(x, low, high)                                                                                      \
	LANES_SELECT((x) > (high), LANES_ALL(high), LANES_SELECT((x) < (low), LANES_ALL(low), x))
#define LANES_IS_NUMBER(x)       (LANES_MAGNITUDE(x) < 0x7f800000)
#define LANES_INVERSE_OR_ZERO(x) LANES_SELECT((x) != 0, 1.0f / (x), LANES_ALL(0.0f))

/* The scale as f16 holds it. */
#define LANES_STORE_SCALE(scales, scale)                                                                               \
	do {                                                                                                               \
		NARROW(scales, DTYPE_F16, (const float *)&(scale), QUANT_OUTPUTS);                                             \
		WIDEN((float *)&(scale), scales, DTYPE_F16, QUANT_OUTPUTS);                                                    \
	} while (0)

/* 8 bits: the largest magnitude becomes 127. */
static void quantise_block_q8(const float_lanes *w, uint_lanes *block, uint16_t *scales)
{
	int_lanes largest = {0};
	for (int k = 0; k < QUANT_GROUP; k++) {
		int_lanes magnitude = LANES_MAGNITUDE(w[k]);
		largest = (int_lanes)LANES_SELECT(magnitude > largest, magnitude, largest);
	}
	float_lanes scale = (float_lanes)largest / 127.0f;
	LANES_STORE_SCALE(scales, scale);
	float_lanes inverse = LANES_INVERSE_OR_ZERO(scale);
	for (int row = 0; row < QUANT_GROUP / 4; row++) {
		uint_lanes bytes = {0};
		for (int i = 0; i < 4; i++) {
			float_lanes rounded = LANES_ROUND(w[row * 4 + i] * inverse);
			float_lanes value = LANES_CLAMP(rounded, -127.0f, 127.0f);
			bytes |= (uint_lanes)(__builtin_convertvector(value, int_lanes) + 128) << (8 * i);
		}
		block[row] = bytes;
	}
}

/* 4 bits, -8 to 7: the value of largest magnitude goes near -8, at the best of several distances from it. For fixed
 * integers q the scale with the least weighted squared error is sum(m w q) / sum(m q q), and the error falls by
 * sum(m w q)^2 / sum(m q q): the candidate with the largest such gain wins. m = |w| + mean |w|: large weights matter
 * more than their share of the error (measured: a fifth less divergence from f32 than with scale = largest / -8). */
static void quantise_block_q4(const float_lanes *w, uint_lanes *block, uint16_t *scales)
{
	enum { CANDIDATES = 15 };
	float_lanes mean = {0}, extreme = {0}, best_gain = {0}, scale = {0};
	for (int k = 0; k < QUANT_GROUP; k++)
		mean += (float_lanes)LANES_MAGNITUDE(w[k]) / QUANT_GROUP;
	for (int k = 0; k < QUANT_GROUP; k++)
		extreme = LANES_SELECT(LANES_MAGNITUDE(w[k]) > LANES_MAGNITUDE(extreme), w[k], extreme);
	float_lanes inverse_extreme = LANES_INVERSE_OR_ZERO(extreme);
	for (int i = 0; i < CANDIDATES; i++) {
		float_lanes inverse = inverse_extreme * -(6.6f + 0.2f * (float)i), wq = {0}, qq = {0};
		for (int k = 0; k < QUANT_GROUP; k++) {
			float_lanes rounded = LANES_ROUND(w[k] * inverse), q = LANES_CLAMP(rounded, -8.0f, 7.0f);
			float_lanes m = mean + (float_lanes)LANES_MAGNITUDE(w[k]);
			wq += m * w[k] * q;
			qq += m * q * q;
		}
		float_lanes candidate = LANES_SELECT(qq > 0, wq / qq, LANES_ALL(0.0f)), gain = wq * candidate;
		int_lanes better = gain > best_gain;
		scale = LANES_SELECT(better, candidate, scale);
		best_gain = LANES_SELECT(better, gain, best_gain);
	}
	scale = LANES_SELECT(LANES_IS_NUMBER(extreme), scale, extreme); /* a broken weight shows in the result */
	LANES_STORE_SCALE(scales, scale);
	float_lanes inverse = LANES_INVERSE_OR_ZERO(scale);
	for (int row = 0; row < QUANT_GROUP / 8; row++) {
		uint_lanes bytes = {0};
		for (int i = 0; i < 8; i++) {
			int k = i < 4 ? row * 4 + i : QUANT_GROUP / 2 + row * 4 + i - 4;
			float_lanes rounded = LANES_ROUND(w[k] * inverse), value = LANES_CLAMP(rounded, -8.0f, 7.0f);
			bytes |= (uint_lanes)(__builtin_convertvector(value, int_lanes) + 8) << (i < 4 ? 8 * i : 8 * (i - 4) + 4);
		}
		block[row] = bytes;
	}
}

static void set_quantise_block(enum dtype type, const float w[QUANT_GROUP][QUANT_OUTPUTS], unsigned char *block,
                               uint16_t *scales)
{
	if (type == DTYPE_Q8)
		quantise_block_q8((const void *)w, (void *)block, scales);
	else
		quantise_block_q4((const void *)w, (void *)block, scales);
}

/* ---- rows of keys and values: blocks of 32 with a scale before them ---- */

typedef int8_t byte_lanes __attribute__((vector_size(QUANT_OUTPUTS)));

static void set_widen_q8(float *out, const void *stored, int64_t n)
{
	const struct kv_block *block = stored;
	for (int64_t i = 0; i < n; i += QUANT_GROUP, block++) {
		float scale = f16_to_f32(block->scale);
		for (int half = 0; half < QUANT_GROUP; half += QUANT_OUTPUTS) {
			byte_lanes bytes;
			memcpy(&bytes, block->values + half, sizeof bytes);
			float_lanes values = __builtin_convertvector(bytes, float_lanes) * scale;
			memcpy(out + i + half, &values, sizeof values);
		}
	}
}

static void set_narrow_q8(void *stored, const float *x, int64_t n)
{
	struct kv_block *block = stored;
	for (int64_t i = 0; i < n; i += QUANT_GROUP, block++) {
		struct quant_group group;
		quantise_group(&group, x + i, DTYPE_Q8);
		block->scale = f32_to_f16(group.scale);
		memcpy(block->values, group.values, sizeof block->values);
	}
}
