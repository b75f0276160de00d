/* The loops of ceilings.c that need vector instructions: a table for each architecture, and a file of loops for each of its
 * instruction sets, so that none is compiled with more than what its users have been asked for. */
#ifndef TALLOW_KERNELS_CEILINGS_SIMD_H
#define TALLOW_KERNELS_CEILINGS_SIMD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/platform.h"
#include "kernels/kernels.h"

/* Reads n_bytes (a multiple of 1024), returns something that depends on every byte. */
typedef uint64_t read_loop(const unsigned char *data, size_t n_bytes);
read_loop read_words; /* without vector instructions */
read_loop read_avx2, read_avx512, read_avx512_prefetch, read_avx512_streams;
struct read_loop_row {
	const char *name;
	bool (*supported)(const struct platform_cpu *cpu);
	read_loop *loop;
};
extern const struct read_loop_row read_loops[];
extern const int n_read_loops;

/* Dot-product instructions from registers to registers, enough of them in flight. */
typedef uint64_t peak_loop(int n_rounds);
peak_loop peak_avx2_int8, peak_avx2_bf16, peak_avx512_int8, peak_avx512_bf16, peak_avx512_vnni, peak_neon_dotprod;
/* The last row of an arithmetic that the CPU and the set have is its ceiling. */
struct peak_loop_row {
	enum arithmetic arithmetic;
	unsigned sets; /* those that use the instructions, as bits 1 << isa */
	bool (*supported)(const struct platform_cpu *cpu);
	peak_loop *loop;
	double operations; /* of a round */
};
extern const struct peak_loop_row peak_loops[];
extern const int n_peak_loops;
/* The compiler must not see that a vector stays as it is, or it would compute with it once for all chains. The linter, which
 * has no instruction set, knows no such registers. */
#ifdef __clang__
#define PEAK_HIDE(vector) ((void)(vector))
#else
#define PEAK_HIDE(vector) __asm__("" : "+v"(vector))
#endif

enum { PEAK_CHAINS = 16, PEAK_AVX2_CHAINS = 8, PEAK_AVX2_BF16_CHAINS = 12 };

#endif
