/* Products with weights of few bits: every function that this CPU can run, against the scalar one, bit by bit, called
 * as matmul.c calls them. */
#include "kernel_check.h"

#include <math.h>

#include "base/platform.h"
#include "kernels/amx.h"
#include "kernels/kernel_set.h"

#if defined(__x86_64__)
/* The loops of avx2_vnni.c with the encoding of AVX512VL and AVX512_VNNI, which more CPUs have. */
#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c,avx512f,avx512vl,avx512vnni")
quant_function avx2_vnni_other_encoding;
#define QUANT_FUNCTION avx2_vnni_other_encoding
#define QUANT_DPBUSD   _mm256_dpbusd_epi32
#define QUANT_DPWSSD   _mm256_dpwssd_epi32
#include "kernels/avx2_vnni_body.inc"
#pragma GCC pop_options
#endif

enum { MAX_ROWS = 21, MAX_OUTPUTS = 64, MAX_GROUPS = 16, MAX_SCALES = 2 * MAX_OUTPUTS * MAX_GROUPS, GUARD = 8 };

static uint32_t random_bits(uint64_t *state)
{
	random_float(state);
	return (uint32_t)(*state >> 24);
}

/* The scales of super-blocks are numbers; their factors are any bytes, but for Q3_K's and IQ4_XS's, which have 6 bits. */
static void fill_heads(unsigned char *w, enum dtype type, uint64_t *state)
{
	size_t super_bytes = quant_strip_bytes(type, QUANT_SUPER_GROUPS);
	for (int i = 0; quant_is_super(type) && i < MAX_OUTPUTS / QUANT_OUTPUTS * MAX_GROUPS / QUANT_SUPER_GROUPS; i++) {
		unsigned char *head = w + (size_t)i * super_bytes;
		for (size_t at = 0; at < QUANT_HEAD_FACTORS; at += sizeof(uint16_t)) {
			uint16_t scale = f32_to_f16(random_float(state));
			memcpy(head + at, &scale, sizeof scale);
		}
		const bool few_bits = type == DTYPE_Q3K || type == DTYPE_IQ4X;
		for (size_t at = QUANT_HEAD_FACTORS; few_bits && at < QUANT_HEAD_BYTES; at++)
			head[at] = (unsigned char)(head[at] % 64 - 32);
	}
}

/* A function and what it takes. */
struct entry {
	quant_function *function;
	bool planes;             /* of fine activations */
	bool wide_is_fine;       /* kernel_set's */
	enum quant_grain shared; /* kernels_inner's; GRAIN_COUNT: any */
};

/* Activations as the functions take them: with 8 bits, fine in pairs, fine in planes, by super-blocks, shared in both
 * ways. */
struct activations {
	struct quant_group *coarse;
	struct quant_fine_group *fine[2], *by_super, *shared;
	struct quant_short_group *brief;
};

/* High or low halves from -most - 1 or -most to most; the largest or smallest where `extreme` is not 0. */
static int random_half(int most, bool one_less, int extreme, uint64_t *state)
{
	const int least = -most - one_less, random = (int)(random_bits(state) % (unsigned)(most - least + 1)) + least;
	return extreme > 0 ? most : extreme < 0 ? least : random;
}

/* What two inputs that share a low half are, in its steps. */
struct pair {
	int high, second_high, low, value, second_value;
};

static struct pair random_pair(enum dtype type, enum quant_grain grain, int extreme, uint64_t *state)
{
	const int share = quant_share(type, grain), bits = quant_share_bits(type, grain), most = 126 - share / 2;
	struct pair pair = {.low = random_half((1 << (bits - 1)) - 1, true, extreme, state)};
	pair.high = random_half(most, false, extreme, state);
	pair.second_high = random_half(most, false, extreme, state);
	pair.value = pair.high * (1 << bits) + pair.low;
	pair.second_value = pair.second_high * (1 << bits) + share * pair.low;
	return pair;
}

static void fill_shared(struct quant_fine_group *x, enum dtype type, float scale, int extreme, uint64_t *state)
{
	const int n = quant_shared(type);
	int sums[2] = {0}, low_sums[2] = {0};
	for (int i = 0; i < QUANT_GROUP / 2; i++) {
		const int k = i / n * 2 * n + i % n;
		const struct pair pair = random_pair(type, GRAIN_SHARED, extreme, state);
		x->planes[0][k] = (int8_t)pair.high;
		x->planes[0][k + n] = (int8_t)pair.second_high;
		x->planes[1][i] = (int8_t)pair.low;
		sums[k / (QUANT_GROUP / 2)] += pair.value;
		sums[(k + n) / (QUANT_GROUP / 2)] += pair.second_value;
		low_sums[i / (QUANT_GROUP / 4)] += pair.low;
	}
	x->scale = scale;
	quant_set_shared_offsets(x, type, sums, low_sums);
}

/* scale: of the whole super-block. */
static void fill_by_super(struct quant_fine_group *x, enum dtype type, float scale, int extreme, uint64_t *state)
{
	int sums[2] = {0};
	for (int k = 0; k < QUANT_GROUP; k++) {
		const int value = random_half(QUANT_SUPER_LARGEST, false, extreme, state);
		quant_set_fine(x, false, k, value);
		sums[k / (QUANT_GROUP / 2)] += value;
	}
	x->scale = scale;
	quant_set_fine_offsets(x, type, sums[0], sums[1]);
}

/* scale: of the whole row. */
static void fill_short(struct quant_short_group *x, enum dtype type, float scale, int extreme, uint64_t *state)
{
	const int n = QUANT_GROUP / 2;
	int sums[2] = {0};
	for (int i = 0; i < n; i++) {
		const struct pair pair = random_pair(type, GRAIN_SHORT, extreme, state);
		x->high[i] = (int8_t)pair.high;
		x->high[n + i] = (int8_t)pair.second_high;
		x->low[i] = (int8_t)pair.low;
		sums[i % 4 / 2] += pair.value + pair.second_value;
	}
	const int random = (int)(random_bits(state) % (QUANT_SHORT_FACTOR + 1));
	x->scale = scale;
	x->factor[0] = x->factor[1] = (int16_t)(extreme ? QUANT_SHORT_FACTOR : random);
	quant_set_short_sums(x, type, sums);
}

/* Random values and, in every third group, the largest that there are: 16-bit sums would overflow. */
static void fill_activations(struct activations *x, enum dtype type, uint64_t *state)
{
	float row_scale = 0, super_scale = 0;
	for (int i = 0; i < MAX_ROWS * MAX_GROUPS; i++) {
		int sums[2] = {0}, fine_sums[2] = {0};
		const int extreme = i % 3 == 0 ? (i % 2 ? 1 : -1) : 0;
		for (int k = 0; k < QUANT_GROUP; k++) {
			int most = QUANT_FINE_LARGEST, random = (int)(random_bits(state) % (2 * QUANT_FINE_LARGEST + 1)) - most;
			int fine = extreme ? extreme * most : random, value = fine / 128;
			x->coarse[i].values[k] = (int8_t)value;
			quant_set_fine(&x->fine[0][i], false, k, fine);
			quant_set_fine(&x->fine[1][i], true, k, fine);
			assert_int_equal(quant_fine_value(&x->fine[0][i], false, k), fine);
			assert_int_equal(quant_fine_value(&x->fine[1][i], true, k), fine);
			sums[k / (QUANT_GROUP / 2)] += value;
			fine_sums[k / (QUANT_GROUP / 2)] += fine;
		}
		float scale = fabsf(random_float(state));
		x->coarse[i].scale = scale;
		x->coarse[i].offset = quant_offset(type, scale, sums[0], sums[1]);
		if (quant_gathers(type) && i % QUANT_SUPER_GROUPS == QUANT_SUPER_GROUPS - 1)
			quant_gather(&x->coarse[i + 1 - QUANT_SUPER_GROUPS]);
		for (int planes = 0; planes < 2; planes++) {
			x->fine[planes][i].scale = scale;
			quant_set_fine_offsets(&x->fine[planes][i], type, fine_sums[0], fine_sums[1]);
		}
		row_scale = i % MAX_GROUPS == 0 ? scale : row_scale;
		super_scale = i % QUANT_SUPER_GROUPS == 0 ? scale : super_scale;
		/* Whole super-blocks of the largest, too. */
		fill_by_super(&x->by_super[i], type, super_scale, i / QUANT_SUPER_GROUPS % 3 ? extreme : 1, state);
		if (quant_share(type, GRAIN_SHARED))
			fill_shared(&x->shared[i], type, scale, extreme, state);
		if (quant_share(type, GRAIN_SHORT))
			fill_short(&x->brief[i], type, row_scale, extreme, state);
	}
}

/* In every third block the odd bytes are as large as can be and the even ones as small, or all are as large, or as small, as can
 * be; the largest is place 7 in the table of MXFP4. */
static void fill_weights(unsigned char *w, uint16_t *scales, enum dtype type, uint64_t *state)
{
	for (size_t i = 0; i < (size_t)MAX_OUTPUTS * MAX_GROUPS * QUANT_GROUP; i++) {
		unsigned char byte = (unsigned char)random_bits(state);
		const size_t block = i / quant_block_bytes(type);
		const int large = type == DTYPE_FP4 ? 0x77 : 255;
		if (block % 3 == 0) /* 0: -128 of 8 bits, of which the conversion makes none, but files may */
			byte = (unsigned char)(block % 9 == 6 ? 0 : i % 2 || block % 2 ? large : 0);
		w[i] = byte;
	}
	fill_heads(w, type, state);
	for (int i = 0; i < MAX_SCALES; i++)
		scales[i] = f32_to_f16(random_float(state));
}

static void set_activations(struct quant_product *product, const struct activations *x, enum quant_grain grain,
                            const struct entry *entry)
{
	product->grain = grain;
	product->x = grain == GRAIN_SHARED  ? (const void *)x->shared
	             : grain == GRAIN_SHORT ? (const void *)x->brief
	             : grain == GRAIN_SUPER ? (const void *)x->by_super
	             : grain == GRAIN_FINE  ? (const void *)x->fine[entry->planes]
	                                    : x->coarse;
	product->x_stride_bytes = MAX_GROUPS * quant_group_bytes(grain);
}

/* One shape: every number of rows gives what the scalar function gives for all of them. */
static void check_shape(enum dtype type, struct quant_product product, const struct activations *x,
                        enum quant_grain grain, const struct entry *entry, size_t n_bytes, float *expected)
{
	static const struct entry scalar = {.function = scalar_quant};
	float *out = product.out;
	memset(expected, 0xff, n_bytes);
	product.n_rows = MAX_ROWS;
	product.out = expected;
	set_activations(&product, x, grain, &scalar);
	scalar_quant(type, &product);
	product.out = out;
	for (; entry->function; entry++) {
		const bool has = quant_is_shared(grain) ? entry->shared == grain || entry->shared == GRAIN_COUNT
		                 : grain == GRAIN_FINE  ? true
		                 : grain == GRAIN_SUPER ? entry->wide_is_fine
		                                        : !(entry->wide_is_fine && quant_is_wide(type));
		set_activations(&product, x, grain, entry);
		for (int rows = 1; rows <= MAX_ROWS && has; rows++) {
			size_t written = (size_t)rows * product.out_stride * sizeof(float);
			memset(out, 0xff, n_bytes);
			product.n_rows = rows;
			entry->function(type, &product);
			assert_memory_equal(out, expected, written);
			for (size_t i = written / sizeof(float); i < n_bytes / sizeof(float); i++)
				assert_true(isnan(out[i])); /* nothing beyond its outputs */
		}
	}
}

static struct activations make_activations(void)
{
	size_t n = (size_t)MAX_ROWS * MAX_GROUPS;
	struct activations made = {.coarse = allocate(n * sizeof(struct quant_group))};
	made.fine[0] = allocate(n * sizeof(struct quant_fine_group));
	made.fine[1] = allocate(n * sizeof(struct quant_fine_group));
	made.by_super = allocate(n * sizeof(struct quant_fine_group));
	made.shared = allocate(n * sizeof(struct quant_fine_group));
	made.brief = allocate(n * sizeof(struct quant_short_group));
	return made;
}

static void free_activations(struct activations *x)
{
	free(x->coarse);
	free(x->fine[0]);
	free(x->fine[1]);
	free(x->by_super);
	free(x->shared);
	free(x->brief);
}

static void check_functions(const struct entry *entries)
{
	static const int output_counts[] = {1, 4, 7, 8, 9, 15, 16, 17, 31, 40, 47, 64}, group_counts[] = {1, 3, 10};
	static const int super_counts[] = {8, 16, 16};
	struct activations x = make_activations();
	unsigned char *w = allocate((size_t)MAX_OUTPUTS * MAX_GROUPS * QUANT_GROUP);
	uint16_t *scales = allocate((size_t)MAX_SCALES * sizeof *scales);
	size_t n_bytes = (size_t)MAX_ROWS * (MAX_OUTPUTS + GUARD) * sizeof(float);
	float *out = allocate(n_bytes), *expected = allocate(n_bytes);
	uint64_t state = 7;
	for (int type = DTYPE_Q8; type <= DTYPE_Q6K; type++) {
		const int *groups = quant_is_super((enum dtype)type) ? super_counts : group_counts;
		fill_activations(&x, (enum dtype)type, &state);
		fill_weights(w, scales, (enum dtype)type, &state);
		const int n_grains = GRAIN_COUNT;
		for (int i = 0; i < n_grains * 3 * 12; i++) {
			const enum quant_grain grain = (enum quant_grain)(i / 3 % n_grains);
			if (quant_is_shared(grain) ? !quant_share((enum dtype)type, grain)
			                           : grain == GRAIN_SUPER && !quant_sums_supers((enum dtype)type))
				continue;
			struct quant_product product = {.w = w,
			                                .scales = groups == super_counts ? NULL : scales,
			                                .n_outputs = output_counts[i / (3 * n_grains)],
			                                .n_groups = groups[i % 3],
			                                .out = out,
			                                .out_stride = MAX_OUTPUTS + GUARD};
			check_shape((enum dtype)type, product, &x, grain, entries, n_bytes, expected);
		}
	}
	free_activations(&x);
	free(w);
	free(scales);
	free(out);
	free(expected);
}

static void every_function_gives_the_scalar_bits(void **state)
{
	(void)state;
	struct platform_cpu cpu;
	struct entry functions[8] = {{scalar_quant, false, false, GRAIN_COUNT}}; /* itself: the test is one on any CPU */
	int n = 1;
	platform_cpu(&cpu);
#if defined(__x86_64__)
	bool has_avx2 = cpu.avx2 && cpu.fma && cpu.f16c, has_avx512 = has_avx2 && cpu.avx512f && cpu.avx512bw;
	if (has_avx2)
		functions[n++] = (struct entry){avx2_quant, false, true, GRAIN_SHORT};
	if (has_avx2 && cpu.avx_vnni)
		functions[n++] = (struct entry){avx2_vnni_quant, false, false, GRAIN_SHARED};
	if (has_avx512 && cpu.avx512vl && cpu.avx512_vnni)
		functions[n++] = (struct entry){avx2_vnni_other_encoding, false, false, GRAIN_SHARED};
	if (has_avx512 && cpu.avx512vl && cpu.avx512dq)
		functions[n++] = (struct entry){avx512_quant, false, true, GRAIN_SHORT};
	if (has_avx512 && cpu.avx512vl && cpu.avx512dq && cpu.avx512_vnni)
		functions[n++] = (struct entry){avx512_vnni_quant, false, false, GRAIN_SHARED};
#elif defined(__aarch64__)
	functions[n++] = (struct entry){neon_quant, true, false, GRAIN_SHARED};
	if (cpu.neon_dotprod)
		functions[n++] = (struct entry){neon_dotprod_quant, true, false, GRAIN_SHARED};
#endif
	check_functions(functions);
}

/* What is packed for tiles, which the packing itself does not need, is the weight rounded to bf16; a minimum may be taken away
 * with one rounding less than in f32. */
static void packing_for_tiles_rounds_each_weight_once(void **state)
{
	(void)state;
	struct platform_cpu cpu;
	platform_cpu(&cpu);
	if (!amx || !cpu.avx512_bf16 || !cpu.avx512bw || !cpu.avx512vl || !cpu.avx512dq)
		skip();
	unsigned char *w = allocate((size_t)MAX_OUTPUTS * MAX_GROUPS * QUANT_GROUP);
	uint16_t *scales = allocate((size_t)MAX_SCALES * sizeof *scales);
	uint64_t random = 7;
	uint16_t *packed = allocate((size_t)MAX_GROUPS * QUANT_GROUP * QUANT_OUTPUTS * sizeof *packed);
	for (int made = DTYPE_Q8; made <= DTYPE_Q6K; made++) {
		enum dtype type = (enum dtype)made;
		fill_weights(w, scales, type, &random);
		amx->pack_quant(packed, type, w, quant_is_super(type) ? NULL : scales, 0, MAX_GROUPS, 0);
		for (int i = 0; i < MAX_GROUPS * QUANT_GROUP * QUANT_OUTPUTS; i++) {
			int k = i / (2 * QUANT_OUTPUTS) * 2 + i % 2, lane = i / 2 % QUANT_OUTPUTS, group = k / QUANT_GROUP;
			const unsigned char *head, *block = quant_block(type, w, group, &head);
			int part = k % QUANT_GROUP / quant_of(type)->scale_inputs;
			struct quant_scale scale = quant_scale(type, scales, head, group, lane, part);
			float product = scale.scale * (float)scale.factor * (float)quant_value(type, block, lane, k % QUANT_GROUP);
			float minimum = quant_of(type)->minimum ? scale.minimum * (float)scale.minimum_factor : 0;
			float value = product - minimum, found = bf16_to_f32(packed[i]);
			if (quant_of(type)->minimum)
				assert_true(fabsf(found - value) <= fabsf(value) * 0x1.01p-8f + fabsf(product) * 0x1p-23f);
			else
				assert_true(found == bf16_to_f32(f32_to_bf16(value)));
		}
	}
	free(w);
	free(scales);
	free(packed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_function_gives_the_scalar_bits),
	    cmocka_unit_test(packing_for_tiles_rounds_each_weight_once),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
