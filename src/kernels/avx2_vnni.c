/* Weights of few bits for CPUs that have AVX-VNNI without AVX-512. */
#if defined(__x86_64__)
#pragma GCC target("avx2,fma,f16c,avxvnni")
#include <immintrin.h>

#define QUANT_FUNCTION avx2_vnni_quant
#define QUANT_DPBUSD   _mm256_dpbusd_avx_epi32
#define QUANT_DPWSSD   _mm256_dpwssd_avx_epi32
#include "kernels/avx2_vnni_body.inc"
#endif
