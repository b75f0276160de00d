/* The AVX-512 set (F, BW, VL, DQ): 32 registers of 16 floats. */
#if defined(__x86_64__)
#pragma GCC target("avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512dq,prefer-vector-width=512")
#include <assert.h>
#include <immintrin.h>
#include <math.h>
#include <string.h>

#include "kernels/avx512_vector.h"
#include "kernels/kernel_set.h"

#define PRODUCT_ROWS    6
#define PRODUCT_VECTORS 4
#define TILE_ROWS       6
#define TILE_FEW_ROWS   3
#define SET_OBJECT      avx512_set
#define SET_QUANT       avx512_quant
#define FINE_PLANES     false
#include "kernels/vector_body.inc"
#endif
