/* Grids of the IQ types: the points from which their blocks choose 8 or 4 values at once. Constants of the format.
 *
 * All of a grid's points have the same few levels; read as a number in as many digits (a point's first value the lowest),
 * they stand in the file's order. So a grid is written as one bit for each number that there could be, set for those that
 * are points: point n is the n-th that is set.
 *
 * Source: ggml's tables (ggml-common.h), as the `gguf` package has them; block_grid_bits.c is made from that by
 * tests/goldens/make_gguf.py.
 */
#ifndef TALLOW_TENSOR_BLOCK_GRIDS_H
#define TALLOW_TENSOR_BLOCK_GRIDS_H

#include <stdint.h>

/* Bit i of word w: number 64 w + i. */
extern const uint64_t grid_bits_iq1[], grid_bits_iq2_xxs[], grid_bits_iq2_xs[], grid_bits_iq2_s[]; /* 3^8 bits */
extern const uint64_t grid_bits_iq3_xxs[], grid_bits_iq3_s[];                                      /* 8^4 bits */

struct block_grids {
	int8_t iq1[2048][8];
	int8_t iq2_xxs[256][8], iq2_xs[512][8], iq2_s[1024][8];
	int8_t iq3_xxs[256][4], iq3_s[512][4];
};

/* Unpacked by whoever asks first. */
const struct block_grids *block_grids(void);

#endif
