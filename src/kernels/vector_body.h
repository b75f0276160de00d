/* Vector code that AVX2, AVX-512 and NEON share, written once over a handful of operations on `vf`, a vector of VW
 * floats.
 *
 * Included once by avx2.c, avx512.c and neon.c after they define vf, VW, the v_ operations, the tile sizes, SET_OBJECT
 * and SET_QUANT.
 * Everything is static. There is no -ffast-math anywhere: the order of every sum is what stands here.
 *
 * Operations: v_zero v_set1 v_load v_store (unaligned) v_add v_sub v_mul v_div v_max v_min; v_fma(a, b, c) = a*b+c;
 * v_sum, v_sum4 and v_top (horizontal, in a fixed tree); v_store4 (what v_sum4 gives); v_round; v_scale2(x, n) =
 * x * 2^n; v_zero_below(value, x, limit) = x < limit ? 0 : value; v_load_some and v_store_some (first n < VW lanes;
 * loads zero the others); v_set_from(value, n, rest): lanes from n on become rest; v_widen(type, pointer) and
 * v_widen_some(type, pointer, n); v_narrow(type, pointer, v) and v_narrow_some(type, pointer, v, n);
 * v_transpose_block(out, out_stride, in, in_stride): VW x VW.
 */

/* e^x: x = n ln2 + r with |r| <= ln2 / 2, then the degree 5 polynomial of Cephes expf; within 2 ulp. Below -87.33,
 * where the result leaves the normal range, it is 0; above 88.37 it stays at the last finite value; NaN stays NaN. */
ALWAYS_INLINE vf v_exp(vf x)
{
	vf clamped = v_min(v_set1(88.3762626647949f), v_max(v_set1(-87.33654475f), x));
	vf n = v_round(v_mul(clamped, v_set1(1.44269504088896341f)));
	vf r = v_fma(n, v_set1(-0.693359375f), clamped);
	r = v_fma(n, v_set1(2.12194440e-4f), r);
	vf p = v_set1(1.9875691500e-4f);
	p = v_fma(p, r, v_set1(1.3981999507e-3f));
	p = v_fma(p, r, v_set1(8.3334519073e-3f));
	p = v_fma(p, r, v_set1(4.1665795894e-2f));
	p = v_fma(p, r, v_set1(1.6666665459e-1f));
	p = v_fma(p, r, v_set1(5.0000001201e-1f));
	vf y = v_add(v_fma(p, v_mul(r, r), r), v_set1(1.0f));
	return v_zero_below(v_scale2(y, n), x, v_set1(-87.33654475f));
}

/* ---- one row ---- */

static void vector_rms_norm(float *out, const float *x, const float *weight, int64_t n, float eps)
{
	vf squares = v_zero();
	int64_t i = 0;
	for (; i + VW <= n; i += VW) {
		vf v = v_load(x + i);
		squares = v_fma(v, v, squares);
	}
	if (i < n) {
		vf v = v_load_some(x + i, (int)(n - i));
		squares = v_fma(v, v, squares);
	}
	float factor = 1.0f / sqrtf(v_sum(squares) / (float)n + eps);
	vf factors = v_set1(factor);
	for (i = 0; i + VW <= n; i += VW)
		v_store(out + i, v_mul(v_mul(v_load(x + i), factors), v_load(weight + i)));
	if (i < n) {
		int rest = (int)(n - i);
		v_store_some(out + i, v_mul(v_mul(v_load_some(x + i, rest), factors), v_load_some(weight + i, rest)), rest);
	}
}

static void vector_rope(float *x, const float *cos, const float *sin, int64_t head_dim)
{
	int64_t half = head_dim / 2, i = 0;
	for (; i + VW <= half; i += VW) {
		vf a = v_load(x + i), b = v_load(x + half + i), c = v_load(cos + i), s = v_load(sin + i);
		v_store(x + i, v_sub(v_mul(a, c), v_mul(b, s)));
		v_store(x + half + i, v_add(v_mul(b, c), v_mul(a, s)));
	}
	if (i < half) {
		int rest = (int)(half - i);
		vf a = v_load_some(x + i, rest), b = v_load_some(x + half + i, rest);
		vf c = v_load_some(cos + i, rest), s = v_load_some(sin + i, rest);
		v_store_some(x + i, v_sub(v_mul(a, c), v_mul(b, s)), rest);
		v_store_some(x + half + i, v_add(v_mul(b, c), v_mul(a, s)), rest);
	}
}

ALWAYS_INLINE vf v_swiglu(vf gate, vf up)
{
	vf one = v_set1(1.0f);
	return v_mul(v_div(gate, v_add(one, v_exp(v_sub(v_zero(), gate)))), up);
}

static void vector_swiglu(float *out, const float *gate, const float *up, int64_t n)
{
	int64_t i = 0;
	for (; i + VW <= n; i += VW)
		v_store(out + i, v_swiglu(v_load(gate + i), v_load(up + i)));
	if (i < n) {
		int rest = (int)(n - i);
		v_store_some(out + i, v_swiglu(v_load_some(gate + i, rest), v_load_some(up + i, rest)), rest);
	}
}

static void vector_add(float *x, const float *y, int64_t n)
{
	int64_t i = 0;
	for (; i + VW <= n; i += VW)
		v_store(x + i, v_add(v_load(x + i), v_load(y + i)));
	for (; i < n; i++)
		x[i] += y[i];
}

static void vector_scale(float *out, const float *x, float factor, int64_t n)
{
	vf factors = v_set1(factor);
	int64_t i = 0;
	for (; i + VW <= n; i += VW)
		v_store(out + i, v_mul(v_load(x + i), factors));
	for (; i < n; i++)
		out[i] = x[i] * factor;
}

ALWAYS_INLINE int64_t element_bytes(const enum dtype type)
{
	return type == DTYPE_F32 ? 4 : 2;
}

ALWAYS_INLINE void widen_row(float *out, const unsigned char *stored, const enum dtype type, int64_t n)
{
	int64_t i = 0;
	for (; i + VW <= n; i += VW)
		v_store(out + i, v_widen(type, stored + i * element_bytes(type)));
	if (i < n)
		v_store_some(out + i, v_widen_some(type, stored + i * element_bytes(type), (int)(n - i)), (int)(n - i));
}

static void vector_widen(float *out, const void *stored, enum dtype type, int64_t n);
static void vector_narrow(void *stored, enum dtype type, const float *x, int64_t n);
#define NARROW vector_narrow
#define WIDEN  vector_widen
#include "kernels/quantise_body.h"

static void vector_widen(float *out, const void *stored, enum dtype type, int64_t n)
{
	assert(type == DTYPE_F32 || type == DTYPE_F16 || type == DTYPE_BF16 || type == DTYPE_Q8);
	if (type == DTYPE_F32)
		memcpy(out, stored, (size_t)n * sizeof *out);
	else if (type == DTYPE_Q8)
		set_widen_q8(out, stored, n);
	else if (type == DTYPE_F16)
		widen_row(out, stored, DTYPE_F16, n);
	else
		widen_row(out, stored, DTYPE_BF16, n);
}

ALWAYS_INLINE void narrow_row(unsigned char *stored, const enum dtype type, const float *x, int64_t n)
{
	int64_t i = 0;
	for (; i + VW <= n; i += VW)
		v_narrow(type, stored + i * 2, v_load(x + i));
	if (i < n)
		v_narrow_some(type, stored + i * 2, v_load_some(x + i, (int)(n - i)), (int)(n - i));
}

static void vector_narrow(void *stored, enum dtype type, const float *x, int64_t n)
{
	assert(type == DTYPE_F32 || type == DTYPE_F16 || type == DTYPE_BF16 || type == DTYPE_Q8);
	if (type == DTYPE_F32)
		memcpy(stored, x, (size_t)n * sizeof *x);
	else if (type == DTYPE_Q8)
		set_narrow_q8(stored, x, n);
	else if (type == DTYPE_F16)
		narrow_row(stored, DTYPE_F16, x, n);
	else
		narrow_row(stored, DTYPE_BF16, x, n);
}

/* ---- products with weights as they lie in the file ---- */

ALWAYS_INLINE vf dot_load_weights(const enum dtype type, const unsigned char *w, int64_t k)
{
	return v_widen(type, w + k * element_bytes(type));
}

ALWAYS_INLINE vf dot_load_weights_some(const enum dtype type, const unsigned char *w, int64_t k, int n)
{
	return v_widen_some(type, w + k * element_bytes(type), n);
}

#define DOT_STEP              VW
#define DOT_VECTOR            vf
#define DOT_X_ELEMENT         float
#define DOT_LOAD_X(p)         v_load(p)
#define DOT_LOAD_X_SOME       v_load_some
#define DOT_MULTIPLY(s, a, b) v_fma(a, b, s)
#include "kernels/dot_body.h"

static void dot_f32(const struct dot_block *block)
{
	dot_block_run(DTYPE_F32, block);
}

static void dot_f16(const struct dot_block *block)
{
	dot_block_run(DTYPE_F16, block);
}

static void dot_bf16(const struct dot_block *block)
{
	dot_block_run(DTYPE_BF16, block);
}

/* ---- attention ---- */

/* A tile of `rows` x (`vectors` * VW) of a small product, depth k in one chain per element. */
ALWAYS_INLINE void product_tile(const struct small_product *p, int row, int column, const int rows, const int vectors)
{
	vf sum[PRODUCT_ROWS][PRODUCT_VECTORS];
	const float *a = p->a + (size_t)row * p->a_stride;
	const float *b = p->b + column;
	float *c = p->c + (size_t)row * p->c_stride + column;
#pragma GCC unroll 8
	for (int i = 0; i < rows; i++) {
#pragma GCC unroll 8
		for (int j = 0; j < vectors; j++)
			sum[i][j] =
			    p->scale ? v_mul(v_set1(p->scale[row + i]), v_load(c + (size_t)i * p->c_stride + j * VW)) : v_zero();
	}
	for (int k = 0; k < p->k; k++, b += p->b_stride) {
		vf factors[PRODUCT_VECTORS];
#pragma GCC unroll 8
		for (int j = 0; j < vectors; j++)
			factors[j] = v_load(b + j * VW);
#pragma GCC unroll 8
		for (int i = 0; i < rows; i++) {
			vf value = v_set1(a[(size_t)i * p->a_stride + (size_t)k]);
#pragma GCC unroll 8
			for (int j = 0; j < vectors; j++)
				sum[i][j] = v_fma(value, factors[j], sum[i][j]);
		}
	}
#pragma GCC unroll 8
	for (int i = 0; i < rows; i++) {
#pragma GCC unroll 8
		for (int j = 0; j < vectors; j++)
			v_store(c + (size_t)i * p->c_stride + j * VW, sum[i][j]);
	}
}

ALWAYS_INLINE void product_rows(const struct small_product *p, int row, const int rows)
{
	int column = 0;
	for (; column + PRODUCT_VECTORS * VW <= p->n; column += PRODUCT_VECTORS * VW)
		product_tile(p, row, column, rows, PRODUCT_VECTORS);
	for (; column < p->n; column += VW)
		product_tile(p, row, column, rows, 1);
}

static void vector_product(const struct small_product *p)
{
	int row = 0;
	for (; p->m - row >= PRODUCT_ROWS; row += PRODUCT_ROWS)
		product_rows(p, row, PRODUCT_ROWS);
	for (; p->m - row >= 4; row += 4)
		product_rows(p, row, 4);
	for (; p->m - row >= 2; row += 2)
		product_rows(p, row, 2);
	for (; row < p->m; row++)
		product_rows(p, row, 1);
}

static void vector_transpose(float *out, size_t out_stride, const float *in, size_t in_stride, int n_rows,
                             int n_columns)
{
	for (int i = 0; i < n_rows; i += VW)
		for (int j = 0; j < n_columns; j += VW)
			v_transpose_block(out + (size_t)j * out_stride + i, out_stride, in + (size_t)i * in_stride + j, in_stride);
}

static float vector_softmax_block(float *scores, int n, float *maximum, float *sum)
{
	int whole = n / VW * VW, rest = n - whole;
	vf tops = v_set1(*maximum);
	for (int i = 0; i < whole; i += VW)
		tops = v_max(tops, v_load(scores + i));
	if (rest)
		tops = v_max(tops, v_set_from(v_load(scores + whole), rest, -INFINITY));
	float top = v_top(tops);
	vf shift = v_set1(top), totals = v_zero();
	for (int i = 0; i < whole; i += VW) {
		vf p = v_exp(v_sub(v_load(scores + i), shift));
		v_store(scores + i, p);
		totals = v_add(totals, p);
	}
	if (rest) {
		vf p = v_set_from(v_exp(v_sub(v_load(scores + whole), shift)), rest, 0);
		v_store(scores + whole, p);
		totals = v_add(totals, p);
	}
	float factor = expf(*maximum - top);
	*maximum = top;
	*sum = *sum * factor + v_sum(totals);
	return factor;
}

const struct kernel_set SET_OBJECT = {
    .rms_norm = vector_rms_norm,
    .rope = vector_rope,
    .swiglu = vector_swiglu,
    .add = vector_add,
    .widen = vector_widen,
    .narrow = vector_narrow,
    .dot = {[DTYPE_F32] = dot_f32, [DTYPE_F16] = dot_f16, [DTYPE_BF16] = dot_bf16},
    .quant = SET_QUANT,
    .quantise_row = set_quantise_row,
    .quantise_block = set_quantise_block,
    .product = vector_product,
    .transpose = vector_transpose,
    .softmax_block = vector_softmax_block,
    .scale = vector_scale,
};
