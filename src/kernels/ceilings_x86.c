/* Which loops an x86-64 CPU can run. They themselves are in a file for each instruction set. */
#include "kernels/ceilings_simd.h"

#if defined(__x86_64__)
#include "kernels/amx.h"
#include "kernels/kernel_set.h"

static bool always(const struct platform_cpu *cpu)
{
	(void)cpu;
	return true;
}

static bool has_avx2(const struct platform_cpu *cpu)
{
	return !isa_missing_feature(ISA_AVX2, cpu);
}

/* The set has no loop of its own for the products of AVX-VNNI, which are faster. */
static bool has_avx2_without_vnni(const struct platform_cpu *cpu)
{
	return has_avx2(cpu) && !cpu->avx_vnni;
}

static bool has_avx512(const struct platform_cpu *cpu)
{
	return !isa_missing_feature(ISA_AVX512, cpu);
}

static bool has_bf16(const struct platform_cpu *cpu)
{
	return has_avx512(cpu) && cpu->avx512_bf16;
}

static bool has_vnni(const struct platform_cpu *cpu)
{
	return has_avx512(cpu) && cpu->avx512_vnni;
}

static bool has_tiles(const struct platform_cpu *cpu)
{
	return !isa_missing_feature(ISA_AMX, cpu) && tiles_enable();
}

const struct read_loop_row read_loops[] = {
    {"64-bit words", always, read_words},
    {"AVX2", has_avx2, read_avx2},
    {"AVX-512", has_avx512, read_avx512},
    {"AVX-512 with prefetch", has_avx512, read_avx512_prefetch},
    {"AVX-512, four streams", has_avx512, read_avx512_streams},
};
const int n_read_loops = sizeof read_loops / sizeof *read_loops;

static uint64_t peak_tiles(int n_rounds)
{
	return amx->peak(n_rounds);
}

/* 32 bf16 or 64 int8 in a vector, each multiplied and added. */
enum { BF16_OPERATIONS = PEAK_CHAINS * 2 * 32, INT8_OPERATIONS = PEAK_CHAINS * 2 * 64 };
enum { AVX2_SETS = 1 << ISA_AVX2 | 1 << ISA_AVX2VNNI, AVX2_BF16_OPERATIONS = PEAK_AVX2_BF16_CHAINS * 2 * 8 };
enum { VNNI_SETS = 1 << ISA_AVX512VNNI | 1 << ISA_AVX512 | 1 << ISA_AMX, BF16_SETS = 1 << ISA_AVX512 | 1 << ISA_AMX };

const struct peak_loop_row peak_loops[] = {
    {ARITHMETIC_BF16, AVX2_SETS, has_avx2, peak_avx2_bf16, AVX2_BF16_OPERATIONS},
    {ARITHMETIC_BF16, BF16_SETS, has_bf16, peak_avx512_bf16, BF16_OPERATIONS},
    {ARITHMETIC_INT8, 1 << ISA_AVX2, has_avx2_without_vnni, peak_avx2_int8, PEAK_AVX2_CHAINS * 2 * 32},
    {ARITHMETIC_INT8, 1 << ISA_AVX512BW | 1 << ISA_AVX512, has_avx512, peak_avx512_int8, INT8_OPERATIONS},
    {ARITHMETIC_INT8, VNNI_SETS, has_vnni, peak_avx512_vnni, INT8_OPERATIONS},
    {ARITHMETIC_TILES, 1 << ISA_AMX, has_tiles, peak_tiles, AMX_PEAK_OPERATIONS},
};
const int n_peak_loops = sizeof peak_loops / sizeof *peak_loops;
#endif
