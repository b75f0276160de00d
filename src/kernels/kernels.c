/* Choosing an instruction set and owning the workers' scratch. */
#include "kernels/kernels.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/platform.h"
#include "kernels/kernel_set.h"

/* By enum isa. */
static const char *const isa_names[] = {"auto",       "scalar", "avx2", "avx2vnni", "avx512bw",
                                        "avx512vnni", "avx512", "amx",  "neon"};

const char *isa_name(enum isa isa)
{
	return isa_names[isa];
}

bool isa_parse(const char *name, enum isa *isa)
{
	for (size_t i = 0; i < sizeof isa_names / sizeof *isa_names; i++)
		if (strcmp(name, isa_names[i]) == 0) {
			*isa = (enum isa)i;
			return true;
		}
	return false;
}

const char *isa_missing_feature(enum isa isa, const struct platform_cpu *cpu)
{
	enum { AMX = 1 << ISA_AMX, AVX512VNNI = 1 << ISA_AVX512VNNI, AVX2VNNI = 1 << ISA_AVX2VNNI };
	enum { AVX512 = 1 << ISA_AVX512BW | AVX512VNNI | 1 << ISA_AVX512 | AMX };
	enum { ALL_X86 = 1 << ISA_AVX2 | AVX2VNNI | AVX512 };
	const struct {
		const char *name;
		bool present;
		unsigned isas; /* that need it */
	} needs[] = {
	    {"AVX2", cpu->avx2, ALL_X86},
	    {"FMA", cpu->fma, ALL_X86},
	    {"F16C", cpu->f16c, ALL_X86},
	    {"AVX-VNNI", cpu->avx_vnni, AVX2VNNI},
	    {"AVX512F", cpu->avx512f, AVX512},
	    {"AVX512BW", cpu->avx512bw, AVX512},
	    {"AVX512VL", cpu->avx512vl, AVX512},
	    {"AVX512DQ", cpu->avx512dq, AVX512},
	    {"AVX512_VNNI", cpu->avx512_vnni, AVX512VNNI},
	    {"AVX512_BF16", cpu->avx512_bf16, AMX},
	    {"AMX-BF16", cpu->amx_bf16, AMX},
	    {"NEON", cpu->neon, 1 << ISA_NEON},
	};
	for (size_t i = 0; i < sizeof needs / sizeof *needs; i++)
		if (needs[i].isas >> isa & 1 && !needs[i].present)
			return needs[i].name;
	return NULL;
}

bool tiles_enable(void)
{
#if defined(__x86_64__)
	enum { ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18 }; /* linux/arch/x86, asm/prctl.h */
	return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0;
#else
	return false;
#endif
}

static enum isa best_isa(const struct platform_cpu *cpu)
{
	static const enum isa fastest_first[] = {ISA_AMX, ISA_AVX512, ISA_AVX2VNNI, ISA_AVX2, ISA_NEON};
	for (size_t i = 0; i < sizeof fastest_first / sizeof *fastest_first; i++)
		if (!isa_missing_feature(fastest_first[i], cpu))
			return fastest_first[i];
	return ISA_SCALAR;
}

/* What serves an instruction set: its loops, and those for what the CPU has beyond what the set needs. */
struct isa_row {
	const struct kernel_set *set;
	quant_function *quant;   /* NULL: the set's */
	enum quant_grain shared; /* kernels_inner's */
	dot_function *bf16_dot;  /* NULL: none */
};

/* `isa` lacks nothing: rows of another architecture are not asked for. */
static struct isa_row row_of(enum isa isa, const struct platform_cpu *cpu)
{
	const struct isa_row rows[ISA_COUNT] = {
		[ISA_SCALAR] = {&scalar_set, NULL, GRAIN_SHARED, NULL},
#if defined(__x86_64__)
		[ISA_AVX2] = {&avx2_set, NULL, GRAIN_SHORT, NULL},
		[ISA_AVX2VNNI] = {&avx2_set, avx2_vnni_quant, GRAIN_SHARED, NULL},
		[ISA_AVX512BW] = {&avx512_set, NULL, GRAIN_SHORT, NULL},
		[ISA_AVX512VNNI] = {&avx512_set, avx512_vnni_quant, GRAIN_SHARED, NULL},
		[ISA_AVX512] = {&avx512_set, cpu->avx512_vnni ? avx512_vnni_quant : NULL,
		                cpu->avx512_vnni ? GRAIN_SHARED : GRAIN_SHORT, cpu->avx512_bf16 ? avx512_bf16_dot : NULL},
		[ISA_AMX] = {&avx512_set, cpu->avx512_vnni ? avx512_vnni_quant : NULL,
		             cpu->avx512_vnni ? GRAIN_SHARED : GRAIN_SHORT, avx512_bf16_dot},
#elif defined(__aarch64__)
		[ISA_NEON] = {&neon_set, cpu->neon_dotprod ? neon_dotprod_quant : NULL, GRAIN_SHARED, NULL},
#endif
	};
	assert(rows[isa].set);
	return rows[isa];
}

static size_t worker_bytes(int64_t max_n_in)
{
	size_t matmul = matmul_worker_bytes(max_n_in), attention = attention_worker_bytes(max_n_in);
	return round_up(matmul > attention ? matmul : attention, 4096);
}

size_t kernels_scratch_bytes(int n_threads, int64_t max_n_in)
{
	return worker_bytes(max_n_in) * (size_t)n_threads;
}

struct kernels *kernels_create(enum isa isa, enum compute compute, int n_threads, int64_t max_n_in, struct error *error)
{
	struct platform_cpu cpu;
	platform_cpu(&cpu);
	cpu.amx_bf16 = cpu.amx_bf16 && tiles_enable(); /* the system may refuse */
	return kernels_create_for(&cpu, isa, compute, n_threads, max_n_in, error);
}

struct kernels *kernels_create_for(const struct platform_cpu *cpu, enum isa isa, enum compute compute, int n_threads,
                                   int64_t max_n_in, struct error *error)
{
	assert(n_threads > 0 && max_n_in > 0);
	if (isa == ISA_AUTO)
		isa = best_isa(cpu);
	const char *missing = isa_missing_feature(isa, cpu);
	if (missing) {
		error_set(error, ERROR_USAGE, "--isa %s needs %s, which this CPU (%s) lacks", isa_names[isa], missing,
		          cpu->name);
		return NULL;
	}

	struct kernels *kernels = calloc(1, sizeof *kernels);
	struct kernels_inner *inner = calloc(1, sizeof *inner);
	if (!kernels || !inner) {
		free(inner);
		free(kernels);
		error_set(error, ERROR_MEMORY, "cannot allocate the kernel table");
		return NULL;
	}
	struct isa_row row = row_of(isa, cpu);
	const struct kernel_set *set = row.set;
	bool rounds = compute != COMPUTE_F32;
	*inner = (struct kernels_inner){
	    .set = set,
	    .amx = rounds && isa == ISA_AMX,
	    .bf16_dot = rounds ? row.bf16_dot : NULL,
	    .quant = rounds ? (row.quant ? row.quant : set->quant) : NULL,
	    .wide_is_fine = !row.quant && set->wide_is_fine,
	    .shared = row.shared,
	    .n_threads = n_threads,
	    .scratch_stride = worker_bytes(max_n_in),
	    .scratch_bytes = kernels_scratch_bytes(n_threads, max_n_in),
	};
	*kernels = (struct kernels){
	    .isa = isa,
	    .compute = compute,
	    .name = isa_names[isa],
	    .rms_norm = set->rms_norm,
	    .rope = set->rope,
	    .swiglu = set->swiglu,
	    .add = set->add,
	    .widen = set->widen,
	    .narrow = set->narrow,
	    .inner = inner,
	};
	void *scratch = mmap(NULL, inner->scratch_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (scratch == MAP_FAILED) {
		error_set(error, ERROR_MEMORY, "cannot allocate %zu bytes of kernel scratch", inner->scratch_bytes);
		kernels_destroy(kernels);
		return NULL;
	}
	inner->scratch = scratch;
	return kernels;
}

void kernels_destroy(struct kernels *kernels)
{
	if (!kernels)
		return;
	if (kernels->inner->scratch)
		munmap(kernels->inner->scratch, kernels->inner->scratch_bytes);
	free(kernels->inner);
	free(kernels);
}
