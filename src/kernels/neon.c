/* The NEON set, which every AArch64 CPU has: 32 registers of 4 floats. */
#if defined(__aarch64__)
#include <assert.h>
#include <math.h>
#include <string.h>

#include "kernels/kernel_set.h"
#include "kernels/neon_vector.h"

#define PRODUCT_ROWS    6
#define PRODUCT_VECTORS 4
#define TILE_ROWS       6
#define TILE_FEW_ROWS   3
#define TILE_ONE_ROW    4
#define SET_OBJECT      neon_set
#define SET_QUANT       neon_quant
#define FINE_PLANES     true
#include "kernels/vector_body.inc"
#endif
