/* What this machine can do: the ceilings that `tallow bench` holds results against, measured in the same run.
 *
 * Each is the best of several attempts, and the memory read the best of several loops: a ceiling is what was seen once.
 */
#ifndef TALLOW_KERNELS_CEILINGS_H
#define TALLOW_KERNELS_CEILINGS_H

#include "base/error.h"
#include "base/pool.h"
#include "kernels/kernels.h"

struct ceilings {
	double read_gb_s;      /* memory read by all threads, best loop */
	const char *read_loop; /* which one: "AVX2", "AVX-512 with prefetch", ... */
	/* F32: OpenBLAS, 512 x 2048 x 2048 shared out by columns as the prefill does; the others: their instructions from
	 * registers, 0 where there are none. */
	double gop_s[ARITHMETIC_COUNT];
};
extern const char *const arithmetic_names[ARITHMETIC_COUNT];

/* A block of memory to read again and again: a shared machine's bandwidth moves by half within seconds, so what is
 * limited by it is measured in turns with it. Takes 512 MiB. */
struct read_probe;
struct read_probe *read_probe_create(struct error *error) MUST_USE;
void read_probe_destroy(struct read_probe *probe);

/* Of the instructions that the set uses; ISA_AUTO: that the CPU has. Takes about a second for each attempt. ERROR_MEMORY. */
bool ceilings_measure(struct pool *pool, enum isa isa, const struct read_probe *probe, int n_attempts,
                      struct ceilings *ceilings, struct error *error) MUST_USE;
/* One pass of every loop; GB/s of the best. Raises the ceiling when it was faster. */
double read_probe_run(const struct read_probe *probe, struct pool *pool, struct ceilings *ceilings);
/* Microseconds that a parallel region takes in which every thread takes part and has nothing to do: the median of several
 * batches of them, one region after another. */
double ceilings_region_us(struct pool *pool);

#endif
