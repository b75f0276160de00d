#include "kernels/amx.h"

#if defined(__x86_64__)
#pragma GCC target(                                                                                                    \
    "avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,amx-tile,amx-bf16,prefer-vector-width=512")
#include <assert.h>
#include <immintrin.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kernels/avx512_vector.h"
#include "kernels/quant.h"

enum { ROW_BYTES = 64, STEP_ELEMENTS = AMX_SIDE * AMX_STEP };

bool amx_enable(void)
{
	enum { ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18 }; /* linux/arch/x86, asm/prctl.h */
	return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0;
}

/* Tiles 0-3 are sums, [upper or lower 16 of A][first or second 16 of B]; 4 and 5 are halves of A, 6 and 7 of B. */
struct tile_shapes {
	uint8_t palette, start_row, reserved[14];
	uint16_t row_bytes[16];
	uint8_t n_rows[16];
};

/* For an A of n_rows (1 to 32) rows; B always has 16 pairs of inputs for 16 columns. */
static void shape_tiles(int n_rows)
{
	uint8_t upper = (uint8_t)(n_rows < AMX_SIDE ? n_rows : AMX_SIDE);
	uint8_t lower = (uint8_t)(n_rows > AMX_SIDE ? n_rows - AMX_SIDE : 1);
	_Alignas(64) struct tile_shapes shapes = {
	    .palette = 1,
	    .row_bytes = {ROW_BYTES, ROW_BYTES, ROW_BYTES, ROW_BYTES, ROW_BYTES, ROW_BYTES, ROW_BYTES, ROW_BYTES},
	    .n_rows = {upper, upper, lower, lower, upper, lower, AMX_SIDE, AMX_SIDE},
	};
	_tile_loadconfig(&shapes);
}

static int64_t steps_of(int64_t n_in)
{
	return (n_in + AMX_STEP - 1) / AMX_STEP;
}

/* ---- many rows ---- */

/* Sums of one tile to their place; outputs that pad a strip have none. */
#define STORE_SUM(tile, to, n_columns)                                                                                 \
	do {                                                                                                               \
		if ((n_columns) >= AMX_SIDE) {                                                                                 \
			_tile_stored(tile, to, p->out_stride * sizeof(float));                                                     \
		} else if ((n_columns) > 0) {                                                                                  \
			_Alignas(64) float sums[AMX_SIDE][AMX_SIDE];                                                               \
			_tile_stored(tile, sums, sizeof sums[0]);                                                                  \
			for (int r = 0; r < AMX_SIDE; r++)                                                                         \
				memcpy((to) + (size_t)r * p->out_stride, sums[r], (size_t)(n_columns) * sizeof(float));                \
		}                                                                                                              \
	} while (0)

static void multiply_32_rows(const struct amx_many *p, int row)
{
	const uint16_t *upper = p->x + (size_t)row * p->x_stride, *lower = upper + AMX_SIDE * p->x_stride;
	const uint16_t *first = p->strips, *second = p->strips + amx_strip_elements(p->n_in);
	size_t x_bytes = p->x_stride * sizeof *upper;
	if (p->n_outputs <= AMX_SIDE)
		second = first; /* multiplied for nothing: only the end of a weight is that narrow */
	_tile_zero(0);
	_tile_zero(1);
	_tile_zero(2);
	_tile_zero(3);
	for (int64_t step = 0; step < steps_of(p->n_in); step++) {
		_tile_loadd(4, upper + step * AMX_STEP, x_bytes);
		_tile_loadd(6, first + step * STEP_ELEMENTS, ROW_BYTES);
		_tile_dpbf16ps(0, 4, 6);
		_tile_loadd(7, second + step * STEP_ELEMENTS, ROW_BYTES);
		_tile_dpbf16ps(1, 4, 7);
		_tile_loadd(5, lower + step * AMX_STEP, x_bytes);
		_tile_dpbf16ps(2, 5, 6);
		_tile_dpbf16ps(3, 5, 7);
	}
	float *out = p->out + (size_t)row * p->out_stride;
	STORE_SUM(0, out, p->n_outputs);
	STORE_SUM(1, out + AMX_SIDE, p->n_outputs - AMX_SIDE);
	out += AMX_SIDE * p->out_stride;
	STORE_SUM(2, out, p->n_outputs);
	STORE_SUM(3, out + AMX_SIDE, p->n_outputs - AMX_SIDE);
}

static void multiply_16_rows(const struct amx_many *p, int row)
{
	const uint16_t *x = p->x + (size_t)row * p->x_stride;
	const uint16_t *first = p->strips, *second = p->strips + amx_strip_elements(p->n_in);
	if (p->n_outputs <= AMX_SIDE)
		second = first;
	_tile_zero(0);
	_tile_zero(1);
	for (int64_t step = 0; step < steps_of(p->n_in); step++) {
		_tile_loadd(4, x + step * AMX_STEP, p->x_stride * sizeof *x);
		_tile_loadd(6, first + step * STEP_ELEMENTS, ROW_BYTES);
		_tile_dpbf16ps(0, 4, 6);
		_tile_loadd(7, second + step * STEP_ELEMENTS, ROW_BYTES);
		_tile_dpbf16ps(1, 4, 7);
	}
	float *out = p->out + (size_t)row * p->out_stride;
	STORE_SUM(0, out, p->n_outputs);
	STORE_SUM(1, out + AMX_SIDE, p->n_outputs - AMX_SIDE);
}

void amx_multiply_many(const struct amx_many *product)
{
	assert(product->n_outputs >= 1 && product->n_outputs <= AMX_STRIPS * AMX_SIDE);
	shape_tiles(2 * AMX_SIDE);
	int row = 0;
	for (; row + AMX_SIDE < product->n_rows; row += 2 * AMX_SIDE)
		multiply_32_rows(product, row);
	if (row < product->n_rows)
		multiply_16_rows(product, row);
	_tile_release();
}

/* ---- packing ---- */

void amx_pack_rows(uint16_t *strip, const unsigned char *rows, size_t stride_bytes, int n_outputs, int64_t n_in)
{
	enum { PAIRS = AMX_STEP / 2 };
	for (int64_t k = 0; k < n_in; k += AMX_STEP, strip += STEP_ELEMENTS) {
		__mmask32 inputs = n_in - k < AMX_STEP ? (1u << (n_in - k)) - 1 : 0xffffffff;
		_Alignas(64) float pairs[AMX_SIDE][PAIRS];
		for (int i = 0; i < AMX_SIDE; i++) {
			__m512i values = i < n_outputs ? _mm512_maskz_loadu_epi16(inputs, rows + (size_t)i * stride_bytes + 2 * k)
			                               : _mm512_setzero_si512();
			_mm512_store_si512(pairs[i], values);
		}
		v_transpose_block((void *)strip, PAIRS, pairs[0], PAIRS);
	}
}

/* Two inputs for 16 outputs, as pairs of bf16. */
ALWAYS_INLINE __m512i pair_of(__m512 even, __m512 odd)
{
	const __m512i zip = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6, 21,
	                                     5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
	return _mm512_permutexvar_epi16(zip, (__m512i)_mm512_cvtne2ps_pbh(odd, even));
}

/* Four inputs of each output, stored as value + zero: two pairs. */
ALWAYS_INLINE void widen_four(uint16_t *out, __m512i stored, __m512 scale, __m512 below)
{
	__m512 value[4];
#pragma GCC unroll 4
	for (int i = 0; i < 4; i++) {
		__m512i byte = i == 3 ? _mm512_srli_epi32(stored, 24)
		                      : _mm512_and_si512(_mm512_srli_epi32(stored, 8 * (unsigned)i), _mm512_set1_epi32(255));
		value[i] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(byte), scale, below); /* exact: 9 bits by 11 */
	}
	_mm512_storeu_si512(out, pair_of(value[0], value[1]));
	_mm512_storeu_si512(out + AMX_SIDE * 2, pair_of(value[2], value[3]));
}

void amx_pack_quant(uint16_t *strip, enum dtype type, const unsigned char *data, const uint16_t *scales, int n_groups)
{
	const __m512i low = _mm512_set1_epi8(15);
	const __m512 zero = _mm512_set1_ps(-(float)quant_zero(type));
	for (int group = 0; group < n_groups; group++, strip += STEP_ELEMENTS, scales += QUANT_OUTPUTS) {
		__m512 scale = _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)scales));
		__m512 below = _mm512_mul_ps(scale, zero);
		uint16_t *half = strip + STEP_ELEMENTS / 2;
		if (type == DTYPE_Q8)
			for (int j = 0; j < 8; j++, data += ROW_BYTES)
				widen_four(strip + j * 64, _mm512_loadu_si512(data), scale, below);
		else
			for (int j = 0; j < 4; j++, data += ROW_BYTES) {
				__m512i both = _mm512_loadu_si512(data);
				widen_four(strip + j * 64, _mm512_and_si512(both, low), scale, below);
				widen_four(half + j * 64, _mm512_and_si512(_mm512_srli_epi16(both, 4), low), scale, below);
			}
	}
}

void amx_pack_input(uint16_t *packed, int row, const float *x, int64_t n_in)
{
	for (int64_t k = 0; k < n_in; k += AMX_STEP) {
		uint16_t values[AMX_STEP] = {0};
		uint32_t *to = (uint32_t *)(void *)packed + k / 2 * AMX_SIDE + row, pairs[AMX_STEP / 2];
		int n = n_in - k < AMX_STEP ? (int)(n_in - k) : AMX_STEP;
		for (int i = 0; i < n; i += VW) {
			int some = n - i < VW ? n - i : VW;
			v_narrow_some(DTYPE_BF16, values + i, v_load_some(x + k + i, some), some);
		}
		memcpy(pairs, values, sizeof pairs);
		for (int i = 0; i < AMX_STEP / 2; i++)
			to[i * AMX_SIDE] = pairs[i];
	}
}

/* ---- few rows ---- */

/* Sums [16 outputs][16 rows] of one tile to the rows they belong to. */
static void store_transposed(const struct amx_few *p, const float *sums, int row, int output, int n_outputs)
{
	_Alignas(64) float rows[AMX_SIDE][AMX_SIDE];
	v_transpose_block(rows[0], AMX_SIDE, sums, AMX_SIDE);
	int end = p->n_rows - row < AMX_SIDE ? p->n_rows - row : AMX_SIDE;
	for (int r = p->first_row > row ? p->first_row - row : 0; r < end; r++)
		v_store_some(p->out + (size_t)(row + r) * p->out_stride + output, v_load(rows[r]), n_outputs);
}

/* Asks for the part of the weights that belongs to `step` when the next outputs are read in the order of addresses: that
 * is how memory delivers best, and tiles then find them in the L2 cache. */
ALWAYS_INLINE void fetch_ahead(const unsigned char *next, size_t n_bytes, int64_t step)
{
	size_t from = (size_t)step * 2 * AMX_SIDE * ROW_BYTES;
	for (size_t at = from; at < from + 2 * AMX_SIDE * ROW_BYTES && at < n_bytes; at += ROW_BYTES)
		_mm_prefetch((const char *)next + at, _MM_HINT_T1);
}

/* Up to 32 outputs for 16 rows, whose tail of inputs (fewer than a step) is copied because it must not be read beyond. */
static void multiply_32_outputs(const struct amx_few *p, int row, int output, int n_outputs, bool fetch)
{
	const size_t stride = (size_t)p->n_in * sizeof(uint16_t);
	const unsigned char *upper = p->w + (size_t)output * stride, *lower = upper + AMX_SIDE * stride;
	const uint16_t *x = p->x + (size_t)(row / AMX_SIDE) * p->block_stride;
	int n_upper = n_outputs < AMX_SIDE ? n_outputs : AMX_SIDE, n_lower = n_outputs - n_upper;
	int left = p->n_outputs - output - n_outputs;
	size_t next_bytes = fetch ? (size_t)(left < 2 * AMX_SIDE ? left : 2 * AMX_SIDE) * stride : 0;
	int64_t n_whole = p->n_in / AMX_STEP, step = 0;
	_tile_zero(0);
	_tile_zero(2);
	for (; step < n_whole; step++) {
		_tile_loadd(6, x + step * STEP_ELEMENTS, ROW_BYTES);
		_tile_loadd(4, upper + step * ROW_BYTES, stride);
		_tile_dpbf16ps(0, 4, 6);
		if (n_lower) {
			_tile_loadd(5, lower + step * ROW_BYTES, stride);
			_tile_dpbf16ps(2, 5, 6);
		}
		fetch_ahead(upper + (size_t)n_outputs * stride, next_bytes, step);
	}
	if (p->n_in % AMX_STEP) {
		_Alignas(64) unsigned char tail[2 * AMX_SIDE][ROW_BYTES] = {{0}};
		for (int i = 0; i < n_outputs; i++)
			memcpy(tail[i], upper + (size_t)i * stride + step * ROW_BYTES, (size_t)(p->n_in % AMX_STEP) * 2);
		_tile_loadd(6, x + step * STEP_ELEMENTS, ROW_BYTES);
		_tile_loadd(4, tail, ROW_BYTES);
		_tile_dpbf16ps(0, 4, 6);
		_tile_loadd(5, tail[AMX_SIDE], ROW_BYTES);
		_tile_dpbf16ps(2, 5, 6);
	}
	_Alignas(64) float sums[2][AMX_SIDE][AMX_SIDE];
	_tile_stored(0, sums[0], ROW_BYTES);
	store_transposed(p, sums[0][0], row, output, n_upper);
	if (n_lower) {
		_tile_stored(2, sums[1], ROW_BYTES);
		store_transposed(p, sums[1][0], row, output + AMX_SIDE, n_lower);
	}
}

void amx_multiply_few(const struct amx_few *product)
{
	const struct amx_few *p = product;
	int shaped = 0;
	for (int output = 0; output < p->n_outputs; output += 2 * AMX_SIDE) {
		int n_outputs = p->n_outputs - output < 2 * AMX_SIDE ? p->n_outputs - output : 2 * AMX_SIDE;
		if (n_outputs != shaped)
			shape_tiles(shaped = n_outputs);
		for (int row = p->first_row / AMX_SIDE * AMX_SIDE; row < p->n_rows; row += AMX_SIDE)
			multiply_32_outputs(p, row, output, n_outputs, row + AMX_SIDE >= p->n_rows);
	}
	_tile_release();
}
#else
bool amx_enable(void)
{
	return false;
}
#endif
