/* What the kernel tests share: every instruction set this CPU has, random numbers, and a second run of the program with
 * OpenBLAS's Haswell kernels, whose bits depend on more than those for AVX-512 do. */
#ifndef TALLOW_TESTS_KERNEL_CHECK_H
#define TALLOW_TESTS_KERNEL_CHECK_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/platform.h"
#include "kernels/kernels.h"

enum { MAX_THREADS = 3 };

static const enum isa all_isas[] = {ISA_SCALAR,     ISA_AVX2,   ISA_AVX2VNNI, ISA_AVX512BW,
                                    ISA_AVX512VNNI, ISA_AVX512, ISA_AMX,      ISA_NEON};
enum { N_ISAS = sizeof all_isas / sizeof *all_isas };

/* NULL when this CPU lacks the set. */
static inline struct kernels *open_set(enum isa isa, enum compute compute, int64_t max_n_in)
{
	struct error error = {0};
	struct kernels *kernels = kernels_create(isa, compute, MAX_THREADS, max_n_in, &error);
	assert_true(kernels || (isa != ISA_SCALAR && error.code == ERROR_USAGE));
	return kernels;
}

/* xorshift64*, Vigna 2016; uniform in [-1, 1). */
static inline float random_float(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return (float)((int64_t)(*state * 2685821657736338717u) >> 40) * 0x1p-23f;
}

static inline void *allocate(size_t n_bytes)
{
	void *memory = aligned_alloc(64, (n_bytes + 127) / 64 * 64);
	assert_non_null(memory);
	memset(memory, 0, (n_bytes + 127) / 64 * 64);
	return memory;
}

static inline float *random_floats(size_t n, uint64_t seed)
{
	uint64_t state = seed * 2 + 1;
	float *x = allocate(n * sizeof *x);
	for (int i = 0; i < 8; i++)
		random_float(&state);
	for (size_t i = 0; i < n; i++)
		x[i] = random_float(&state);
	return x;
}

/* Distance in representable floats; 0 and -0 are the same. */
static inline int64_t ulps_between(float a, float b)
{
	int32_t bits[2];
	memcpy(&bits[0], &a, 4);
	memcpy(&bits[1], &b, 4);
	int64_t at[2];
	for (int i = 0; i < 2; i++)
		at[i] = bits[i] < 0 ? -(int64_t)(bits[i] & 0x7fffffff) : bits[i];
	return at[0] > at[1] ? at[0] - at[1] : at[1] - at[0];
}

/* OpenBLAS reads OPENBLAS_CORETYPE when it is loaded, so another choice takes another process: the program with an
 * argument, which then runs what concerns OpenBLAS. False when this process has Haswell's kernels already. */
static inline bool run_again_with_haswell(const char *program)
{
	struct platform_cpu cpu;
	const char *now = getenv("OPENBLAS_CORETYPE");
	platform_cpu(&cpu);
	if (now && strcmp(now, "Haswell") == 0)
		return false;
	if (!cpu.avx2)
		skip(); /* which they need */
	char command[4096];
	int n = snprintf(command, sizeof command, "OPENBLAS_CORETYPE=Haswell '%s' haswell >&2", program);
	assert_true(n > 0 && (size_t)n < sizeof command);
	assert_int_equal(system(command), 0);
	return true;
}

#endif
