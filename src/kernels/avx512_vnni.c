/* Weights of few bits with vpdpbusd on 512-bit vectors: one instruction multiplies four inputs for 16 outputs. */
#if defined(__x86_64__)
#pragma GCC target("avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,prefer-vector-width=512")
#include "kernels/avx512_quant_vector.h"

#define QUANT_FUNCTION avx512_vnni_quant

#define quant_weights(type, low, high, word) quant_stored(type, low, high, word)
#define quant_start(type, first)             ((void)(type), _mm512_set1_epi32(first))
#define quant_step(type, sum, w, x)          ((void)(type), _mm512_dpbusd_epi32(sum, w, x))
#define quant_step_pairs(sum, w, x)          _mm512_dpwssd_epi32(sum, w, x)

#include "kernels/quant_body.inc"
#endif
