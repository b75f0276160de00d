#include "kernels/ceilings.h"

#include <cblas.h>
#include <sched.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/platform.h"
#include "kernels/ceilings_simd.h"

enum {
	READ_BYTES = 512 << 20, /* well beyond any cache */
	READ_PIECE_BYTES = 1 << 20,
	GEMM_ROWS = 512,
	GEMM_WIDTH = 2048,
	PEAK_ROUNDS = 2000000,
};

/* One parallel measurement: what each task does and what it works on. */
const char *const arithmetic_names[ARITHMETIC_COUNT] = {
    [ARITHMETIC_F32] = "f32 GEMM",
    [ARITHMETIC_BF16] = "bf16 dot products",
    [ARITHMETIC_INT8] = "int8 dot products",
    [ARITHMETIC_TILES] = "bf16 tiles",
};

struct probe {
	const unsigned char *data;
	read_loop *read;
	const float *x, *w;
	float *y;
	int columns_per_task;
	peak_loop *peak;
	uint64_t sink; /* keeps results alive */
};

/* Here rather than beside the vector loops: it is what a machine without them has. */
uint64_t read_words(const unsigned char *data, size_t n_bytes)
{
	uint64_t sums[4] = {0};
	for (size_t i = 0; i < n_bytes; i += 32)
		for (int j = 0; j < 4; j++) {
			uint64_t word;
			memcpy(&word, data + i + 8 * j, 8);
			sums[j] += word;
		}
	return sums[0] ^ sums[1] ^ sums[2] ^ sums[3];
}

static double seconds_of(struct pool *pool, int n_tasks, pool_task *task, struct probe *probe, int attempts)
{
	double best = 0;
	for (int i = 0; i < attempts; i++) {
		int64_t start_ns = clock_ns();
		pool_run(pool, n_tasks, task, probe);
		double seconds = (double)(clock_ns() - start_ns) / 1e9;
		best = i == 0 || seconds < best ? seconds : best;
	}
	return best;
}

static void read_task(void *context, int task, int worker)
{
	(void)worker;
	struct probe *probe = context;
	uint64_t sum = probe->read(probe->data + (size_t)task * READ_PIECE_BYTES, READ_PIECE_BYTES);
	__atomic_fetch_add(&probe->sink, sum, __ATOMIC_RELAXED);
}

struct read_probe {
	unsigned char *data; /* [READ_BYTES] */
};

struct read_probe *read_probe_create(struct error *error)
{
	struct read_probe *probe = malloc(sizeof *probe);
	void *data = mmap(NULL, READ_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (!probe || data == MAP_FAILED) {
		free(probe);
		error_set(error, ERROR_MEMORY, "no memory for %d MiB to read", READ_BYTES >> 20);
		return NULL;
	}
	madvise(data, READ_BYTES, MADV_HUGEPAGE);
	memset(data, 1, READ_BYTES);
	probe->data = data;
	return probe;
}

void read_probe_destroy(struct read_probe *probe)
{
	if (!probe)
		return;
	munmap(probe->data, READ_BYTES);
	free(probe);
}

static double read_seconds(const struct read_probe *probe, struct pool *pool, read_loop *loop)
{
	struct probe work = {.data = probe->data, .read = loop};
	return seconds_of(pool, READ_BYTES / READ_PIECE_BYTES, read_task, &work, 1);
}

double read_probe_run(const struct read_probe *probe, struct pool *pool, struct ceilings *ceilings)
{
	struct platform_cpu cpu;
	platform_cpu(&cpu);
	double best = 0;
	for (int i = 0; i < n_read_loops; i++) {
		if (!read_loops[i].supported(&cpu))
			continue;
		double gb_s = READ_BYTES / read_seconds(probe, pool, read_loops[i].loop) / 1e9;
		best = gb_s > best ? gb_s : best;
		if (gb_s > ceilings->read_gb_s) {
			ceilings->read_gb_s = gb_s;
			ceilings->read_loop = read_loops[i].name;
		}
	}
	return best;
}

static void gemm_task(void *context, int task, int worker)
{
	(void)worker;
	struct probe *probe = context;
	int first = task * probe->columns_per_task;
	cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, GEMM_ROWS, probe->columns_per_task, GEMM_WIDTH, 1, probe->x,
	            GEMM_WIDTH, probe->w + (size_t)first * GEMM_WIDTH, GEMM_WIDTH, 0, probe->y + first, GEMM_WIDTH);
}

static bool measure_gemm(struct pool *pool, int n_attempts, struct ceilings *ceilings, struct error *error)
{
	size_t n_x = (size_t)GEMM_ROWS * GEMM_WIDTH, n_w = (size_t)GEMM_WIDTH * GEMM_WIDTH;
	float *memory = aligned_alloc(64, (2 * n_x + n_w) * sizeof *memory);
	if (!memory)
		return error_set(error, ERROR_MEMORY, "no memory for a matrix product");
	for (size_t i = 0; i < n_x + n_w; i++)
		memory[i] = (float)(i % 17) - 8;
	/* Several widths of a column block: which is best depends on the caches. */
	for (int columns = 128; columns <= 512; columns *= 2) {
		struct probe probe = {.x = memory, .w = memory + n_x, .y = memory + n_x + n_w, .columns_per_task = columns};
		double seconds = seconds_of(pool, GEMM_WIDTH / columns, gemm_task, &probe, n_attempts);
		double gflop_s = 2.0 * GEMM_ROWS * GEMM_WIDTH * GEMM_WIDTH / seconds / 1e9;
		if (gflop_s > ceilings->gop_s[ARITHMETIC_F32])
			ceilings->gop_s[ARITHMETIC_F32] = gflop_s;
	}
	free(memory);
	return true;
}

static void peak_task(void *context, int task, int worker)
{
	(void)task;
	(void)worker;
	struct probe *probe = context;
	__atomic_fetch_add(&probe->sink, probe->peak(PEAK_ROUNDS), __ATOMIC_RELAXED);
}

static double measure_peak(struct pool *pool, int n_attempts, peak_loop *peak, double operations_per_round)
{
	struct probe probe = {.peak = peak};
	int n_tasks = pool_size(pool) * 4;
	return operations_per_round * PEAK_ROUNDS * n_tasks / seconds_of(pool, n_tasks, peak_task, &probe, n_attempts) /
	       1e9;
}

struct meeting {
	int n_expected, n_arrived;
};

/* Does nothing but wait for the others, so that every thread takes part: without it the caller alone would have claimed
 * all tasks before another thread looks. */
static void meeting_task(void *context, int task, int worker)
{
	enum { SPINS = 10000 };
	struct meeting *meeting = context;
	(void)task;
	(void)worker;
	__atomic_fetch_add(&meeting->n_arrived, 1, __ATOMIC_ACQ_REL);
	for (int i = 0; __atomic_load_n(&meeting->n_arrived, __ATOMIC_ACQUIRE) < meeting->n_expected; i++)
		if (i > SPINS)
			sched_yield(); /* more threads than CPUs */
}

double ceilings_region_us(struct pool *pool)
{
	enum { REGIONS = 2000, BATCHES = 9 };
	double seconds[BATCHES] = {0};
	for (int i = 0; i < BATCHES; i++) {
		int64_t start_ns = clock_ns();
		for (int j = 0; j < REGIONS; j++) {
			struct meeting meeting = {.n_expected = pool_size(pool)};
			pool_run(pool, meeting.n_expected, meeting_task, &meeting);
		}
		double taken = (double)(clock_ns() - start_ns) / 1e9;
		int at = i;
		for (; at > 0 && seconds[at - 1] > taken; at--)
			seconds[at] = seconds[at - 1];
		seconds[at] = taken;
	}
	return seconds[BATCHES / 2] / REGIONS * 1e6;
}

bool ceilings_measure(struct pool *pool, enum isa isa, const struct read_probe *probe, int n_attempts,
                      struct ceilings *ceilings, struct error *error)
{
	struct platform_cpu cpu;
	platform_cpu(&cpu);
	memset(ceilings, 0, sizeof *ceilings);
	for (int i = 0; i < n_attempts; i++)
		read_probe_run(probe, pool, ceilings);
	if (!measure_gemm(pool, n_attempts, ceilings, error))
		return false;
	for (const struct peak_loop_row *row = peak_loops; row < peak_loops + n_peak_loops; row++)
		if ((isa == ISA_AUTO || row->sets >> isa & 1) && row->supported(&cpu))
			ceilings->gop_s[row->arithmetic] = measure_peak(pool, n_attempts, row->loop, row->operations);
	return true;
}
