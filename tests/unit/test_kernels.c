/* The kernel table: every set against the scalar one, row by row, at lengths around and between vector widths. */
#include "kernel_check.h"

#include <math.h>

#include "base/platform.h"
#include "kernels/ceilings_simd.h"
#include "kernels/kernel_set.h"

static const int64_t lengths[] = {1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 64, 100, 257, 2048};
enum { N_LENGTHS = sizeof lengths / sizeof *lengths, MAX_LENGTH = 2048 };

/* Runs `check` for every set but the scalar one, beside the scalar one. */
static void for_sets(void (*check)(const struct kernels *set, const struct kernels *oracle))
{
	struct kernels *oracle = open_set(ISA_SCALAR, COMPUTE_AUTO, MAX_LENGTH);
	for (int i = 1; i < N_ISAS; i++) {
		struct kernels *set = open_set(all_isas[i], COMPUTE_AUTO, MAX_LENGTH);
		if (set)
			check(set, oracle);
		kernels_destroy(set);
	}
	kernels_destroy(oracle);
}

static void check_rms_norm(const struct kernels *set, const struct kernels *oracle)
{
	for (int i = 0; i < N_LENGTHS; i++) {
		int64_t n = lengths[i];
		float *x = random_floats((size_t)n, 1), *weight = random_floats((size_t)n, 2);
		float *a = allocate((size_t)n * 4 + 64), *b = allocate((size_t)n * 4);
		a[n] = 77;
		set->rms_norm(a, x, weight, n, 1e-5f);
		oracle->rms_norm(b, x, weight, n, 1e-5f);
		/* n/8 roundings of positive terms, halved by the root, and five more. */
		for (int64_t j = 0; j < n; j++)
			assert_true(fabsf(a[j] - b[j]) <= (float)(n / 16 + 8) * 0x1p-24f * fabsf(b[j]));
		assert_true(a[n] == 77);
		set->rms_norm(x, x, weight, n, 1e-5f);
		assert_memory_equal(x, a, (size_t)n * 4);
		free(x);
		free(weight);
		free(a);
		free(b);
	}
}

static void check_rope(const struct kernels *set, const struct kernels *oracle)
{
	for (int64_t half = 1; half <= 65; half++) {
		float *x = random_floats((size_t)half * 2 + 1, 3), *y = random_floats((size_t)half * 2 + 1, 3);
		float *cosines = random_floats((size_t)half, 4), *sines = random_floats((size_t)half, 5);
		set->rope(x, cosines, sines, half * 2);
		oracle->rope(y, cosines, sines, half * 2);
		for (int64_t j = 0; j <= half * 2; j++)
			assert_true(fabsf(x[j] - y[j]) <= 0x1p-22f); /* two products below 1, fused or not */
		assert_true(x[half * 2] == y[half * 2]);
		free(x);
		free(y);
		free(cosines);
		free(sines);
	}
}

static void check_swiglu(const struct kernels *set, const struct kernels *oracle)
{
	for (int i = 0; i < N_LENGTHS; i++) {
		int64_t n = lengths[i];
		float *gate = random_floats((size_t)n, 6), *up = random_floats((size_t)n, 7);
		float *a = allocate((size_t)n * 4 + 64), *b = allocate((size_t)n * 4);
		for (int64_t j = 0; j < n; j++)
			gate[j] *= j % 3 == 0 ? 1 : j % 3 == 1 ? 20 : 80;
		a[n] = 77;
		set->swiglu(a, gate, up, n);
		oracle->swiglu(b, gate, up, n);
		for (int64_t j = 0; j < n; j++)
			assert_true(ulps_between(a[j], b[j]) <= 8 || fabsf(a[j] - b[j]) < 1e-35f);
		assert_true(a[n] == 77);
		set->swiglu(gate, gate, up, n);
		assert_memory_equal(gate, a, (size_t)n * 4);
		free(gate);
		free(up);
		free(a);
		free(b);
	}
}

static void check_swiglu_extremes(const struct kernels *set, const struct kernels *oracle)
{
	(void)oracle;
	float gate[] = {0, -0.0f, 1e30f, -1e30f, INFINITY, NAN, 88, -88, 89, -104, 700}, up[11], out[11];
	for (int i = 0; i < 11; i++)
		up[i] = 1;
	set->swiglu(out, gate, up, 11);
	assert_true(out[0] == 0 && out[1] == 0 && out[2] == 1e30f && out[4] == INFINITY && isnan(out[5]));
	assert_true(out[6] == 88 && out[8] == 89 && out[10] == 700);
	assert_true(fabsf(out[7]) < 1e-35f && fabsf(out[9]) < 1e-35f && fabsf(out[3]) < 1e-7f);
}

static void check_add(const struct kernels *set, const struct kernels *oracle)
{
	for (int i = 0; i < N_LENGTHS; i++) {
		size_t n = (size_t)lengths[i];
		float *a = random_floats(n + 1, 8), *b = random_floats(n + 1, 8), *y = random_floats(n, 9);
		set->add(a, y, (int64_t)n);
		oracle->add(b, y, (int64_t)n);
		assert_memory_equal(a, b, (n + 1) * 4);
		free(a);
		free(b);
		free(y);
	}
}

/* Conversions agree in every bit: all 65536 stored values one way, hard cases and random bits the other. */
static void check_conversions(const struct kernels *set, const struct kernels *oracle)
{
	uint16_t *stored = allocate(65536 * 2 + 2);
	float *a = allocate(65536 * 4), *b = allocate(65536 * 4);
	uint16_t *c = allocate(65536 * 2), *d = allocate(65536 * 2);
	for (int type = DTYPE_F16; type <= DTYPE_BF16; type++) {
		for (int i = 0; i < 65536; i++)
			stored[i] = (uint16_t)i;
		set->widen(a, stored, (enum dtype)type, 65536);
		oracle->widen(b, stored, (enum dtype)type, 65536);
		assert_memory_equal(a, b, 65536 * 4);

		uint64_t state = 11;
		for (int i = 0; i < 65536; i++) {
			random_float(&state);
			uint32_t bits = (uint32_t)(state >> 20);
			if (i % 4 == 1) /* near ties and the borders of f16 */
				bits = (bits & 0x8fffe000u) + 0x33000000u + (uint32_t)(i % 8 < 4 ? 0x1000 : 0xfff) + (bits & 1);
			if (i % 4 == 2)
				bits = (bits & 0x80000000u) + 0x477fe000u + (bits & 0x3fff);
			if (i % 64 == 3)
				bits = (bits & 0x807fffffu) | 0x7f800000u;
			memcpy(a + i, &bits, 4);
		}
		set->narrow(c, (enum dtype)type, a, 65536);
		oracle->narrow(d, (enum dtype)type, a, 65536);
		assert_memory_equal(c, d, 65536 * 2);
	}
	free(stored);
	free(a);
	free(b);
	free(c);
	free(d);
}

/* Short, unaligned conversions read and write exactly their elements. */
static void check_conversion_tails(const struct kernels *set, const struct kernels *oracle)
{
	float *x = random_floats(80, 12);
	for (int type = DTYPE_F32; type <= DTYPE_BF16; type++) {
		size_t bytes = type == DTYPE_F32 ? 4 : 2;
		for (size_t n = 1; n < 40; n++) {
			unsigned char *a = malloc(n * bytes + 1), *b = malloc(n * bytes + 1); /* exact: sanitizers watch */
			float *wide_a = malloc(n * 4), *wide_b = malloc(n * 4);
			set->narrow(a + 1, (enum dtype)type, x, (int64_t)n);
			oracle->narrow(b + 1, (enum dtype)type, x, (int64_t)n);
			assert_memory_equal(a + 1, b + 1, n * bytes);
			set->widen(wide_a, a + 1, (enum dtype)type, (int64_t)n);
			oracle->widen(wide_b, a + 1, (enum dtype)type, (int64_t)n);
			assert_memory_equal(wide_a, wide_b, n * 4);
			free(a);
			free(b);
			free(wide_a);
			free(wide_b);
		}
	}
	free(x);
}

static void test_rows(void **state)
{
	(void)state;
	for_sets(check_rms_norm);
	for_sets(check_rope);
	for_sets(check_swiglu);
	for_sets(check_swiglu_extremes);
	for_sets(check_add);
}

static void test_conversions(void **state)
{
	(void)state;
	for_sets(check_conversions);
	for_sets(check_conversion_tails);
}

static void test_scalar_formulas(void **state)
{
	(void)state;
	struct kernels *set = open_set(ISA_SCALAR, COMPUTE_AUTO, 8);
	float x[] = {3, 4}, weight[] = {1, 2}, out[2];
	set->rms_norm(out, x, weight, 2, 0); /* mean of squares 12.5 */
	assert_true(fabsf(out[0] - 0.84852814f) < 1e-6f && fabsf(out[1] - 2.2627417f) < 1e-6f);
	float head[] = {1, 2, 3, 4}, cosines[] = {0, 1}, sines[] = {1, 0};
	set->rope(head, cosines, sines, 4); /* a quarter turn of (1, 3), none of (2, 4) */
	assert_true(head[0] == -3 && head[2] == 1 && head[1] == 2 && head[3] == 4);
	float gate[] = {0, 1}, up[] = {5, 2};
	set->swiglu(gate, gate, up, 2);
	assert_true(gate[0] == 0 && fabsf(gate[1] - 1.4621172f) < 1e-6f);
	kernels_destroy(set);
}

static void test_half_conversions(void **state)
{
	(void)state;
	static const struct {
		uint16_t half;
		float value;
	} known[] = {{0x0000, 0},         {0x3c00, 1},          {0xc000, -2},           {0x7bff, 65504},
	             {0x0400, 0x1p-14f},  {0x0001, 0x1p-24f},   {0x03ff, 0x1.ff8p-15f}, {0x7c00, INFINITY},
	             {0xfc00, -INFINITY}, {0x3555, 0x1.554p-2f}};
	for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
		assert_true(f16_to_f32(known[i].half) == known[i].value);
		assert_int_equal(f32_to_f16(known[i].value), known[i].half);
	}
	for (uint32_t half = 0; half < 65536; half++) {
		float value = f16_to_f32((uint16_t)half);
		if (isnan(value))
			assert_true(isnan(f16_to_f32(f32_to_f16(value))));
		else
			assert_int_equal(f32_to_f16(value), half);
		value = bf16_to_f32((uint16_t)half);
		if (isnan(value))
			assert_true(isnan(bf16_to_f32(f32_to_bf16(value))));
		else
			assert_int_equal(f32_to_bf16(value), half);
	}
	assert_int_equal(f32_to_f16(65519.996f), 0x7bff);
	assert_int_equal(f32_to_f16(65520), 0x7c00);
	assert_int_equal(f32_to_f16(0x1p-25f), 0);          /* a tie, to even */
	assert_int_equal(f32_to_f16(0x1.000002p-25f), 1);   /* just above it */
	assert_int_equal(f32_to_f16(1 + 0x1p-11f), 0x3c00); /* ties to even */
	assert_int_equal(f32_to_f16(1 + 0x3p-11f), 0x3c02);
	assert_int_equal(f32_to_bf16(1 + 0x1p-8f), 0x3f80);
	assert_int_equal(f32_to_bf16(1 + 0x3p-8f), 0x3f82);
	assert_int_equal(f32_to_bf16(3.4e38f), 0x7f80);
}

static void test_dtypes(void **state)
{
	(void)state;
	enum dtype type = DTYPE_Q4;
	assert_true(dtype_parse("BF16xx", 4, &type) && type == DTYPE_BF16);
	assert_true(dtype_parse("F32", 3, &type) && type == DTYPE_F32);
	assert_false(dtype_parse("F3", 2, &type));
	assert_false(dtype_parse("I64", 3, &type));
	size_t n = 0;
	assert_true(dtype_bytes(DTYPE_BF16, 10, &n) && n == 20);
	assert_true(dtype_bytes(DTYPE_Q8, 64, &n) && n == 68);
	assert_false(dtype_bytes(DTYPE_Q8, 33, &n));
	assert_false(dtype_bytes(DTYPE_F32, SIZE_MAX / 2, &n));
}

static void test_choice(void **state)
{
	(void)state;
	enum isa isa;
	assert_true(isa_parse("auto", &isa) && isa == ISA_AUTO);
	assert_true(isa_parse("avx512", &isa) && isa == ISA_AVX512);
	assert_true(isa_parse("avx512bw", &isa) && isa == ISA_AVX512BW);
	assert_true(isa_parse("avx512vnni", &isa) && isa == ISA_AVX512VNNI);
	assert_true(isa_parse("amx", &isa) && isa == ISA_AMX);
	assert_true(isa_parse("avx2vnni", &isa) && isa == ISA_AVX2VNNI);
	assert_true(isa_parse("neon", &isa) && isa == ISA_NEON);
	assert_false(isa_parse("AVX2", &isa));
	assert_false(isa_parse("", &isa));

	struct platform_cpu cpu;
	platform_cpu(&cpu);
	struct error error = {0};
	struct kernels *best = kernels_create(ISA_AUTO, COMPUTE_AUTO, 1, 64, &error);
	assert_non_null(best);
	if (!cpu.avx2)
		assert_int_equal(best->isa, cpu.neon ? ISA_NEON : ISA_SCALAR);
	if (cpu.avx2 && cpu.fma && cpu.f16c)
		assert_int_not_equal(best->isa, ISA_SCALAR);
	kernels_destroy(best);
	if (!cpu.avx512f) {
		assert_null(kernels_create(ISA_AVX512, COMPUTE_AUTO, 1, 64, &error));
		assert_int_equal(error.code, ERROR_USAGE);
		assert_non_null(strstr(error.message, cpu.avx2 ? "AVX512F" : "AVX2"));
	}
	if (!cpu.neon) {
		assert_null(kernels_create(ISA_NEON, COMPUTE_AUTO, 1, 64, &error));
		assert_int_equal(error.code, ERROR_USAGE);
		assert_non_null(strstr(error.message, "--isa neon needs NEON"));
	}
	kernels_destroy(NULL);
	assert_true(kernels_scratch_bytes(3, 4096) >= 3 * kernels_scratch_bytes(1, 64));
}

/* What bench measures this CPU with: every loop that it can run, each of which looks at every byte. */
static void test_ceiling_loops(void **state)
{
	(void)state;
	struct platform_cpu cpu;
	platform_cpu(&cpu);
	unsigned char *data = allocate(2048 + 4096); /* some loops ask for what follows */
	for (int i = 0; i < n_read_loops; i++)
		for (int at = 0; read_loops[i].supported(&cpu) && at < 2048; at++) {
			data[at] = 1;
			assert_true(read_loops[i].loop(data, 2048) != 0);
			data[at] = 0;
			assert_true(read_loops[i].loop(data, 2048) == 0);
		}
	for (int i = 0; i < n_peak_loops; i++)
		if (peak_loops[i].supported(&cpu))
			peak_loops[i].loop(100);
	free(data);
}

#if defined(__x86_64__)
#define HASWELL         .name = "a mock", .avx2 = true, .fma = true, .f16c = true
#define SKYLAKE_X       HASWELL, .avx512f = true, .avx512bw = true, .avx512vl = true, .avx512dq = true
#define CASCADELAKE     SKYLAKE_X, .avx512_vnni = true
#define COOPER_LAKE     CASCADELAKE, .avx512_bf16 = true
#define SAPPHIRE_RAPIDS COOPER_LAKE, .amx_bf16 = true

/* What is chosen for the CPUs that there are; `missing` is what keeps --isa amx from it. */
static void test_choice_by_cpu(void **state)
{
	(void)state;
	const struct {
		struct platform_cpu cpu;
		enum isa isa;
		const struct kernel_set *set;
		quant_function *quant;
		enum quant_grain shared;
		dot_function *bf16_dot;
		bool amx;
		const char *missing;
	} rows[] = {
	    {{.name = "Nehalem"}, ISA_SCALAR, &scalar_set, scalar_quant, GRAIN_SHARED, NULL, false, "AVX2"},
	    {{.avx2 = true, .f16c = true}, ISA_SCALAR, &scalar_set, scalar_quant, GRAIN_SHARED, NULL, false, "FMA"},
	    {{.avx2 = true, .fma = true}, ISA_SCALAR, &scalar_set, scalar_quant, GRAIN_SHARED, NULL, false, "F16C"},
	    {{HASWELL}, ISA_AVX2, &avx2_set, avx2_quant, GRAIN_SHORT, NULL, false, "AVX512F"},
	    {{HASWELL, .avx_vnni = true}, ISA_AVX2VNNI, &avx2_set, avx2_vnni_quant, GRAIN_SHARED, NULL, false, "AVX512F"},
	    /* Knights Landing has F, but not the others. */
	    {{HASWELL, .avx512f = true}, ISA_AVX2, &avx2_set, avx2_quant, GRAIN_SHORT, NULL, false, "AVX512BW"},
	    {{SKYLAKE_X}, ISA_AVX512, &avx512_set, avx512_quant, GRAIN_SHORT, NULL, false, "AVX512_BF16"},
	    {{CASCADELAKE}, ISA_AVX512, &avx512_set, avx512_vnni_quant, GRAIN_SHARED, NULL, false, "AVX512_BF16"},
	    {{COOPER_LAKE}, ISA_AVX512, &avx512_set, avx512_vnni_quant, GRAIN_SHARED, avx512_bf16_dot, false, "AMX-BF16"},
	    {{SAPPHIRE_RAPIDS}, ISA_AMX, &avx512_set, avx512_vnni_quant, GRAIN_SHARED, avx512_bf16_dot, true, NULL},
	    /* A virtual machine may hide any of them. */
	    {{SKYLAKE_X, .amx_bf16 = true}, ISA_AVX512, &avx512_set, avx512_quant, GRAIN_SHORT, NULL, false, "AVX512_BF16"},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct error error = {0};
		struct kernels *set = kernels_create_for(&rows[i].cpu, ISA_AUTO, COMPUTE_AUTO, 1, 64, &error);
		assert_non_null(set);
		assert_int_equal(set->isa, rows[i].isa);
		assert_ptr_equal(set->inner->set, rows[i].set);
		assert_ptr_equal(set->inner->quant, rows[i].quant);
		assert_int_equal(set->inner->shared, rows[i].shared);
		assert_ptr_equal(set->inner->bf16_dot, rows[i].bf16_dot);
		assert_int_equal(set->inner->amx, rows[i].amx);
		kernels_destroy(set);
		set = kernels_create_for(&rows[i].cpu, ISA_AMX, COMPUTE_AUTO, 1, 64, &error);
		assert_int_equal(set != NULL, rows[i].missing == NULL);
		if (rows[i].missing)
			assert_non_null(strstr(error.message, rows[i].missing));
		kernels_destroy(set);
	}
}

/* The sets that leave out what the CPU has are those of the CPUs that lack it. */
static void test_forced_sets(void **state)
{
	(void)state;
	const struct platform_cpu newest = {COOPER_LAKE, .avx_vnni = true, .amx_bf16 = true};
	const struct {
		enum isa isa;
		struct platform_cpu cpu;
	} rows[] = {{ISA_AVX2, {HASWELL}}, {ISA_AVX512BW, {SKYLAKE_X}}, {ISA_AVX512VNNI, {CASCADELAKE}}};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct error error = {0};
		struct kernels *forced = kernels_create_for(&newest, rows[i].isa, COMPUTE_AUTO, 1, 64, &error);
		struct kernels *chosen = kernels_create_for(&rows[i].cpu, ISA_AUTO, COMPUTE_AUTO, 1, 64, &error);
		assert_ptr_equal(forced->inner->set, chosen->inner->set);
		assert_ptr_equal(forced->inner->quant, chosen->inner->quant);
		assert_ptr_equal(forced->inner->bf16_dot, chosen->inner->bf16_dot);
		assert_false(forced->inner->amx || chosen->inner->amx);
		kernels_destroy(forced);
		kernels_destroy(chosen);
	}
	const struct platform_cpu skylake_x = {SKYLAKE_X};
	struct error error = {0};
	assert_null(kernels_create_for(&skylake_x, ISA_AVX512VNNI, COMPUTE_AUTO, 1, 64, &error));
	assert_non_null(strstr(error.message, "--isa avx512vnni needs AVX512_VNNI"));
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_dtypes),
		cmocka_unit_test(test_half_conversions),
		cmocka_unit_test(test_scalar_formulas),
		cmocka_unit_test(test_conversions),
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_choice),
		cmocka_unit_test(test_ceiling_loops),
#if defined(__x86_64__)
		cmocka_unit_test(test_choice_by_cpu),
		cmocka_unit_test(test_forced_sets),
#endif
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
