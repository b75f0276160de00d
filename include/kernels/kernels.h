/* The kernel table: one set of primitives per instruction set, chosen once at start.
 *
 * The scalar set is the specification and the oracle; it never calls OpenBLAS. The vector sets (AVX2,
 * AVX-512, NEON) fill the same table. All of them reduce in an order that is fixed per set, so results differ between sets by
 * rounding only, and never within one.
 *
 *     struct kernels *kernels = kernels_create(ISA_AUTO, COMPUTE_AUTO, n_threads, max_n_in, &error);
 *     kernels->rms_norm(...)
 *     kernels_destroy(kernels);
 */
#ifndef TALLOW_KERNELS_KERNELS_H
#define TALLOW_KERNELS_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/pool.h"
#include "kernels/matmul.h"
#include "tensor/dtype.h"

enum isa {
	ISA_AUTO,       /* the fastest that the CPU has */
	ISA_SCALAR,     /* plain C */
	ISA_AVX2,       /* with FMA and F16C */
	ISA_AVX2VNNI,   /* AVX2 with the products of weights in few bits that AVX-VNNI allows */
	ISA_AVX512BW,   /* F, BW, VL and DQ alone, as Skylake-X has them */
	ISA_AVX512VNNI, /* these with VNNI's products of weights in few bits, as Cascade Lake has them */
	ISA_AVX512,     /* these with what the CPU has of VNNI, and of BF16's products of bf16 weights */
	ISA_AMX,        /* AVX512 with bf16 products in tiles, which prefill of weights in few bits uses, too */
	ISA_NEON,       /* AArch64, with its dot products of weights in few bits where the CPU has them */
	ISA_COUNT
};

/* How products treat activations. F32 never rounds them. FAST rounds to what the weights' fast instructions take: bf16
 * for bf16 weights, 8 bits for weights of few bits. FINE is the same, but 8 bits keep 7 more for what that takes away,
 * as FAST does where an input asks for it (enum matmul_care): twice the arithmetic, the answers of F32. AUTO keeps more
 * of the inputs that ask for some care, and where sets can do so for little, of all: grain_of in kernels/matmul.c. */
enum compute { COMPUTE_AUTO, COMPUTE_F32, COMPUTE_FAST, COMPUTE_FINE };

/* The keys and values of one sequence in one layer, as attention sees them. Page i holds positions i*page_tokens ...
 * (i+1)*page_tokens-1; inside a page, keys lie at k_offset bytes as [n_kv_heads, page_tokens, head_dim] of `k_type`,
 * values at v_offset in the same shape, of `v_type`. Pages and offsets are aligned to the types at least. */
struct kv_view {
	const unsigned char *const *pages; /* [ceil(positions / page_tokens)] */
	size_t k_offset, v_offset;
	/* F32, F16, BF16, or Q8: blocks of 32 with an f16 scale before them; head_dim is a multiple */
	enum dtype k_type, v_type;
	int page_tokens;
	int n_kv_heads;
	int head_dim;
};

struct attention_job {
	const float *q;   /* [n_rows, n_heads, head_dim], rope applied */
	float *out;       /* the same shape */
	int n_rows;       /* consecutive positions of one sequence */
	int64_t position; /* of the first row; row r sees keys of positions 0..position+r ... */
	int64_t window;   /* ... and of these the last `window`; 0 = all */
	int n_heads;
	float scale; /* 1/sqrt(head_dim) */
	struct kv_view kv;
};

struct kernels {
	enum isa isa;
	enum compute compute; /* not AUTO */
	const char *name;     /* as isa_parse takes it */

	/* out[i] = x[i] * weight[i] / sqrt(mean(x^2) + eps), one row of n. out may be x. (Zhang & Sennrich, 2019) */
	void (*rms_norm)(float *out, const float *x, const float *weight, int64_t n, float eps);
	/* Rotates one head in place, Hugging Face half-split layout: x[i], x[i + n/2] by (cos[i], sin[i]), i < n/2 with
	 * n = head_dim, or the part of it that is rotated. (Su et al., 2021) */
	void (*rope)(float *x, const float *cos, const float *sin, int64_t head_dim);
	/* out[i] = silu(gate[i]) * up[i]; out may be gate. (Shazeer, 2020) */
	void (*swiglu)(float *out, const float *gate, const float *up, int64_t n);
	/* x[i] += y[i] */
	void (*add)(float *x, const float *y, int64_t n);
	/* Conversions of n elements to and from F32, F16, BF16 and the Q8 of keys and values (n a multiple of 32); `stored`
	 * is aligned to nothing, for Q8 to 2 bytes. */
	void (*widen)(float *out, const void *stored, enum dtype type, int64_t n);
	void (*narrow)(void *stored, enum dtype type, const float *x, int64_t n);

	struct kernels_inner *inner; /* the set's inner functions and the workers' scratch */
};

/* ERROR_USAGE when the CPU lacks what `isa` asks for; the message names the missing feature; ERROR_MEMORY.
 * max_n_in: longest row any product will have; n_threads: size of the pool it will run on. Caller destroys. */
struct kernels *kernels_create(enum isa isa, enum compute compute, int n_threads, int64_t max_n_in,
                               struct error *error) MUST_USE;
void kernels_destroy(struct kernels *kernels);
const char *isa_name(enum isa isa);
/* The first feature that `isa` needs and the CPU lacks, or NULL. */
struct platform_cpu;
const char *isa_missing_feature(enum isa isa, const struct platform_cpu *cpu);
bool isa_parse(const char *name, enum isa *isa); /* auto|scalar|avx2|avx2vnni|avx512bw|avx512vnni|avx512|amx|neon */
/* Bytes of scratch that kernels_create allocates for the workers (touched only as it is needed), for the memory plan.
 */
size_t kernels_scratch_bytes(int n_threads, int64_t max_n_in);

/* Attention of several jobs on the pool, with the online softmax (Milakov & Gimelshein, 2018) over blocks of keys in
 * ascending position: a row's
 * result depends on its own query and the keys and values of positions up to its own, never on how rows were grouped.
 * head_dim may not be more than the max_n_in of kernels_create (it never is: the output projection reads all heads). */
void attention_run(const struct kernels *kernels, struct pool *pool, const struct attention_job *jobs, int n_jobs);

#endif
