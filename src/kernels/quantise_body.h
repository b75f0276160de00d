/* Rounding activations and weights to few bits, in plain C whose inner loops become vectors of whatever width the set
 * that includes it has. The operations and their order are the same in every set, and so are the bits. Included after
 * NARROW and WIDEN are defined as the set's conversions.
 */

/* x rounded to the nearest integer (ties to even) for |x| < 2^22, as integer: the sum's low mantissa bits hold it. */
static inline int32_t round_near(float x)
{
	union {
		float number;
		uint32_t bits;
	} u = {.number = x + 12582912.0f}; /* 1.5 * 2^23 */
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

/* The largest magnitude scaled to 127; a group of zeros has scale 0, one with an infinity or NaN a scale that shows. */
static void quantise_group(struct quant_group *out, const float *x, int zero)
{
	union {
		uint32_t bits;
		float number;
	} largest = {.bits = 0};
	for (int i = 0; i < QUANT_GROUP; i++) {
		uint32_t bits = magnitude_bits(x[i]);
		largest.bits = bits > largest.bits ? bits : largest.bits;
	}
	/* Below this the inverse would be infinite; such activations are as good as zero. */
	float inverse = largest.number < 1e-30f ? 0 : 127.0f / largest.number;
	int32_t sum = 0;
	for (int i = 0; i < QUANT_GROUP; i++) {
		int32_t value = (int8_t)round_near(x[i] * inverse);
		out->values[i] = (int8_t)value;
		sum += value;
	}
	out->scale = inverse == 0 ? 0 : largest.number / 127.0f;
	out->offset = -zero * sum;
}

static void set_quantise_row(struct quant_group *out, const float *x, int64_t n, int zero)
{
	for (; n >= QUANT_GROUP; n -= QUANT_GROUP, x += QUANT_GROUP)
		quantise_group(out++, x, zero);
	if (n > 0) {
		float padded[QUANT_GROUP] = {0};
		memcpy(padded, x, (size_t)n * sizeof *x);
		quantise_group(out, padded, zero);
	}
}

/* ---- weights: [QUANT_GROUP][QUANT_OUTPUTS], a lane per output ---- */

/* 8 bits: the largest magnitude becomes 127. */
static void quantise_block_q8(const float w[QUANT_GROUP][QUANT_OUTPUTS], unsigned char *block, uint16_t *scales)
{
	float largest[QUANT_OUTPUTS] = {0}, inverse[QUANT_OUTPUTS];
	for (int k = 0; k < QUANT_GROUP; k++)
		for (int o = 0; o < QUANT_OUTPUTS; o++) {
			float magnitude = fabsf(w[k][o]);
			largest[o] = magnitude_bits(largest[o]) < magnitude_bits(magnitude) ? magnitude : largest[o];
		}
	for (int o = 0; o < QUANT_OUTPUTS; o++)
		largest[o] /= 127.0f;
	NARROW(scales, DTYPE_F16, largest, QUANT_OUTPUTS);
	WIDEN(largest, scales, DTYPE_F16, QUANT_OUTPUTS);
	for (int o = 0; o < QUANT_OUTPUTS; o++)
		inverse[o] = largest[o] > 0 ? 1.0f / largest[o] : 0;
	for (int k = 0; k < QUANT_GROUP; k++)
		for (int o = 0; o < QUANT_OUTPUTS; o++) {
			int32_t value = round_near(w[k][o] * inverse[o]);
			value = value > 127 ? 127 : value < -127 ? -127 : value;
			block[k / 4 * 64 + o * 4 + k % 4] = (unsigned char)(value + 128);
		}
}

/* 4 bits, -8 to 7: the value of largest magnitude goes near -8, at the best of several distances from it. For fixed
 * integers q the scale with the least squared error is sum(w q) / sum(q q), and the error falls by
 * sum(w q)^2 / sum(q q): the candidate with the largest such gain wins. */
static void quantise_block_q4(const float w[QUANT_GROUP][QUANT_OUTPUTS], unsigned char *block, uint16_t *scales)
{
	enum { CANDIDATES = 15 };
	float extreme[QUANT_OUTPUTS] = {0}, best_gain[QUANT_OUTPUTS] = {0}, best_scale[QUANT_OUTPUTS] = {0};
	for (int k = 0; k < QUANT_GROUP; k++)
		for (int o = 0; o < QUANT_OUTPUTS; o++)
			extreme[o] = magnitude_bits(extreme[o]) < magnitude_bits(w[k][o]) ? w[k][o] : extreme[o];
	for (int i = 0; i < CANDIDATES; i++) {
		float inverse[QUANT_OUTPUTS], wq[QUANT_OUTPUTS] = {0}, qq[QUANT_OUTPUTS] = {0};
		for (int o = 0; o < QUANT_OUTPUTS; o++)
			inverse[o] = extreme[o] != 0 ? -(6.6f + 0.2f * (float)i) / extreme[o] : 0;
		for (int k = 0; k < QUANT_GROUP; k++)
			for (int o = 0; o < QUANT_OUTPUTS; o++) {
				int32_t value = round_near(w[k][o] * inverse[o]);
				float q = (float)(value > 7 ? 7 : value < -8 ? -8 : value);
				wq[o] += w[k][o] * q;
				qq[o] += q * q;
			}
		for (int o = 0; o < QUANT_OUTPUTS; o++) {
			float scale = qq[o] > 0 ? wq[o] / qq[o] : 0, gain = wq[o] * scale;
			best_scale[o] = gain > best_gain[o] ? scale : best_scale[o];
			best_gain[o] = gain > best_gain[o] ? gain : best_gain[o];
		}
	}
	for (int o = 0; o < QUANT_OUTPUTS; o++)
		best_scale[o] = isfinite(extreme[o]) ? best_scale[o] : extreme[o]; /* a broken weight shows in the result */
	NARROW(scales, DTYPE_F16, best_scale, QUANT_OUTPUTS);
	WIDEN(best_scale, scales, DTYPE_F16, QUANT_OUTPUTS);
	for (int o = 0; o < QUANT_OUTPUTS; o++)
		best_scale[o] = best_scale[o] != 0 ? 1.0f / best_scale[o] : 0;
	for (int k = 0; k < QUANT_GROUP; k++)
		for (int o = 0; o < QUANT_OUTPUTS; o++) {
			int32_t value = round_near(w[k][o] * best_scale[o]);
			unsigned nibble = (unsigned)((value > 7 ? 7 : value < -8 ? -8 : value) + 8);
			unsigned char *at = &block[k % 16 / 4 * 64 + o * 4 + k % 4];
			*at = (unsigned char)(k < 16 ? nibble : *at | nibble << 4);
		}
}

static void set_quantise_block(enum dtype type, const float w[QUANT_GROUP][QUANT_OUTPUTS], unsigned char *block,
                               uint16_t *scales)
{
	if (type == DTYPE_Q8)
		quantise_block_q8(w, block, scales);
	else
		quantise_block_q4(w, block, scales);
}
