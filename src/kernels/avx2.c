/* The AVX2 set (with FMA and F16C): 16 registers of 8 floats. */
#if defined(__x86_64__)
#pragma GCC target("avx2,fma,f16c")
#include <assert.h>
#include <immintrin.h>
#include <math.h>
#include <string.h>

#include "kernels/avx2_vector.h"
#include "kernels/kernel_set.h"

#define PRODUCT_ROWS    6
#define PRODUCT_VECTORS 2
#define TILE_ROWS       3
#define TILE_FEW_ROWS   1
#define TILE_ONE_ROW    8 /* measured, bf16 from memory: 26 GB/s; 16 with one */
#define SET_OBJECT      avx2_set
#define SET_QUANT       avx2_quant
#define SET_SPLIT_DOT   avx2_split_dot
#define SET_SPLIT_ROW   avx2_split_row
#define FINE_PLANES     false
#include "kernels/vector_body.inc"
#endif
