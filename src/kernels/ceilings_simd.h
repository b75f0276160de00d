/* The loops of ceilings.c that need vector instructions. */
#ifndef TALLOW_KERNELS_CEILINGS_SIMD_H
#define TALLOW_KERNELS_CEILINGS_SIMD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Reads n_bytes (a multiple of 1024), returns something that depends on every byte. */
typedef uint64_t read_loop(const unsigned char *data, size_t n_bytes);
read_loop read_words; /* without vector instructions */
struct read_loop_row {
	const char *name;
	bool (*supported)(void);
	read_loop *loop;
};
extern const struct read_loop_row read_loops[];
extern const int n_read_loops;

/* Dot-product instructions from registers to registers, enough of them in flight. */
typedef uint64_t peak_loop(int n_rounds);
peak_loop peak_bf16, peak_int8;
enum { PEAK_CHAINS = 16, PEAK_BF16_OPERATIONS = PEAK_CHAINS * 64, PEAK_INT8_OPERATIONS = PEAK_CHAINS * 128 };

#endif
