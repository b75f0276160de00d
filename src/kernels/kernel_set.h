/* What one instruction set brings: the table behind struct kernels. matmul.c and attention.c hold the
 * algorithms and the order of work; a set holds the loops that touch numbers.
 */
#ifndef TALLOW_KERNELS_KERNEL_SET_H
#define TALLOW_KERNELS_KERNEL_SET_H

#include <stddef.h>
#include <stdint.h>

#include "base/platform.h"
#include "kernels/kernels.h"
#include "kernels/quant.h"

/* out[r * out_stride + c] = x row r . weight row c, for n_rows rows and n_outputs weight rows. How a set cuts this into
 * tiles must not show in the bits: every (row, output) is summed along n_in in the same order. */
struct dot_block {
	const void *x;         /* [n_rows, n_in] f32, or bf16 padded with zeros to a multiple of 32 */
	size_t x_stride_bytes; /* from row to row */
	int n_rows;
	const unsigned char *w; /* [n_outputs, n_in], aligned to nothing */
	size_t w_stride_bytes;
	int n_outputs;
	int64_t n_in;
	float *out;
	size_t out_stride; /* in elements */
};
typedef void dot_function(const struct dot_block *block);

/* c[i][j] = scale[i] * c[i][j] + sum over p of a[i][p] * b[p][j], p ascending in one chain; scale NULL: c is only
 * written. m rows, n columns (a multiple of VECTOR_PAD), depth k. Strides in elements. b and c rows start on 64 bytes.
 */
struct small_product {
	int m, n, k;
	const float *a, *b;
	float *c;
	size_t a_stride, b_stride, c_stride;
	const float *scale; /* [m] or NULL */
};

enum {
	VECTOR_PAD = 16,   /* floats in the widest vector */
	BF16_PAD = 32,     /* bf16 in the widest vector */
	SPLIT_STEP = 16,   /* inputs that split_row lays out together */
	DOT_CHUNK = 64,    /* outputs of one task: a multiple of every set's tile width */
	DOT_FEW_ROWS = 16, /* up to here weights stream from memory once and rows stay near */
};

struct kernel_set {
	void (*rms_norm)(float *out, const float *x, const float *weight, int64_t n, float eps);
	void (*rope)(float *x, const float *cos, const float *sin, int64_t head_dim);
	void (*swiglu)(float *out, const float *gate, const float *up, int64_t n);
	void (*add)(float *x, const float *y, int64_t n);
	void (*widen)(float *out, const void *stored, enum dtype type, int64_t n);
	void (*narrow)(void *stored, enum dtype type, const float *x, int64_t n);

	dot_function *dot[DTYPE_COUNT]; /* by weight type, f32 activations; NULL where there is none */
	/* The same with bf16 weights for rows of x that split_row has laid out: of each SPLIT_STEP inputs the even ones first,
	 * zeros behind the last; out has room for n rounded up. NULL: there is nothing to be won. */
	dot_function *split_dot;
	void (*split_row)(float *out, const float *x, int64_t n);

	/* Weights in few bits; the same bits in every set (quant.h). */
	quant_function *quant;
	bool wide_is_fine; /* `quant` has no loops for values of a byte times 8 bits: 16-bit products are no slower */
	/* Rounds a row of n activations to ceil(n / 32) groups for weights of this type: struct quant_group, or
	 * quant_fine_group. */
	void (*quantise_row)(void *groups, enum quant_grain grain, const float *x, int64_t n, enum dtype type);
	/* Rounds one block of weights, given a lane per output, to Q8 or Q4; w and block are aligned to 64 bytes. */
	void (*quantise_block)(enum dtype type, const float w[QUANT_GROUP][QUANT_OUTPUTS], unsigned char *block,
	                       uint16_t *scales);

	void (*product)(const struct small_product *product);
	/* out[j][i] = in[i][j], rows x columns, both multiples of VECTOR_PAD; strides in elements; aligned to 64 bytes. */
	void (*transpose)(float *out, size_t out_stride, const float *in, size_t in_stride, int n_rows, int n_columns);
	/* One block of the online softmax for one query: scores[0..n) become exp(score - new maximum). Updates *maximum and
	 * *sum and returns what earlier sums must be multiplied by. scores has room for n rounded up to VECTOR_PAD. */
	float (*softmax_block)(float *scores, int n, float *maximum, float *sum);
	/* out[i] = x[i] * factor */
	void (*scale)(float *out, const float *x, float factor, int64_t n);
};

extern const struct kernel_set scalar_set;
extern const struct kernel_set avx2_set;
extern const struct kernel_set avx512_set;
extern const struct kernel_set neon_set;

/* Asks the system for the use of tiles, for all threads of the process; false where there are none. */
bool tiles_enable(void);
/* kernels_create for a CPU with these features, which need not be those of this one until a kernel is called. ISA_AUTO
 * takes the fastest set that it can run, and every set the fastest loops. */
struct kernels *kernels_create_for(const struct platform_cpu *cpu, enum isa isa, enum compute compute, int n_threads,
                                   int64_t max_n_in, struct error *error) MUST_USE;

/* Products of bf16 activations with bf16 weights by vdpbf16ps; only where the CPU has it. */
void avx512_bf16_dot(const struct dot_block *block);
/* kernel_set's split_dot and split_row. */
void avx2_split_dot(const struct dot_block *block);
void avx2_split_row(float *out, const float *x, int64_t n);

struct kernels_inner {
	const struct kernel_set *set;
	bool amx;                /* bf16 weights, and prefill of quantised ones, go through tiles (kernels/amx.h) */
	dot_function *bf16_dot;  /* NULL: bf16 weights are widened */
	quant_function *quant;   /* the set's, or a faster one that this CPU has; NULL: quantised weights are widened */
	bool wide_is_fine;       /* kernel_set's, of `quant` */
	enum quant_grain shared; /* which shared activations cost `quant` less than fine ones; GRAIN_COARSE: none */
	int n_threads;
	size_t scratch_stride; /* bytes of scratch of one worker */
	unsigned char *scratch;
	size_t scratch_bytes;
};

/* Scratch of one worker, aligned to 64 bytes. */
static inline void *worker_scratch(const struct kernels *kernels, int worker)
{
	return kernels->inner->scratch + (size_t)worker * kernels->inner->scratch_stride;
}

/* Upper bounds over every product with rows of at most max_n_in, and every attention whose head_dim is at most that. */
size_t matmul_worker_bytes(int64_t max_n_in);
size_t attention_worker_bytes(int64_t max_head_dim);

#endif
