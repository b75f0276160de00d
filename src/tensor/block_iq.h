/* Blocks of the types whose values are points of grids (block_grids.h), as block_dequantise gives them: out[n_values],
 * a multiple of 256; blocks may be unaligned. */
#ifndef TALLOW_TENSOR_BLOCK_IQ_H
#define TALLOW_TENSOR_BLOCK_IQ_H

#include <stddef.h>

void dequantise_iq1_s(const void *blocks, float *out, size_t n_values);
void dequantise_iq1_m(const void *blocks, float *out, size_t n_values);
void dequantise_iq2_xxs(const void *blocks, float *out, size_t n_values);
void dequantise_iq2_xs(const void *blocks, float *out, size_t n_values);
void dequantise_iq2_s(const void *blocks, float *out, size_t n_values);
void dequantise_iq3_xxs(const void *blocks, float *out, size_t n_values);
void dequantise_iq3_s(const void *blocks, float *out, size_t n_values);

#endif
