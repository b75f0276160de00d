/* The CPUs this process may compute on, and how many threads that makes.
 *
 * A thread for each CPU in the affinity mask, hyperthreads included: on the machine with such that was measured
 * (tests/bench/README.md) they gain half as much again. None for the efficiency cores of a machine that has others, as a
 * region of the pool would wait for them. No more than the CPU quota has room for.
 * Sources: Linux's Documentation/ABI/testing/sysfs-devices-system-cpu (cpu_capacity, topology); the PMU of Intel's
 * efficiency cores, /sys/devices/cpu_atom/cpus. */
#ifndef TALLOW_BASE_TOPOLOGY_H
#define TALLOW_BASE_TOPOLOGY_H

#include <stddef.h>

#include "base/platform.h"

struct topology {
	int cpus;       /* in the affinity mask */
	int cores;      /* that these belong to; 0: the kernel does not tell */
	int efficiency; /* CPUs of efficiency cores among them, where there are others */
	double quota;   /* of the cgroups, in CPUs; 0: none */
	int threads;    /* worth starting, at least 1 */
};

void topology_read(const struct platform_roots *roots, struct topology *out);
/* The same for cpus[n_cpus] as the affinity mask. */
void topology_read_for(const struct platform_roots *roots, const int *cpus, int n_cpus, struct topology *out);
/* Why so many: "16 CPUs of 8 cores", "8 of 12 CPUs: 4 are efficiency cores", ... In text [n_bytes]; returns it. */
const char *topology_reason(const struct topology *topology, char *text, size_t n_bytes);

#endif
