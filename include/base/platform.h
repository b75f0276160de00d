/* What this machine and this process's cage really give: CPUs, quota, memory, CPU features, clocks.
 *
 * The roots of proc, sys and cgroup file systems are parameters, so that tests run on fixture trees. Everything is read
 * anew at each call; nothing is cached.
 */
#ifndef TALLOW_BASE_PLATFORM_H
#define TALLOW_BASE_PLATFORM_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct platform_roots {
	const char *proc;   /* "/proc" */
	const char *cgroup; /* "/sys/fs/cgroup" */
	const char *sys;    /* "/sys" */
};
extern const struct platform_roots platform_default_roots;

/* CPUs in the affinity mask, at least 1. */
int platform_affinity_cpus(void);
/* The smallest CPU quota along the whole cgroup ancestor chain (v2 cpu.max; v1 cpu.cfs_quota_us / cpu.cfs_period_us),
 * in CPUs (1.5 = one and a half); 0 when there is no limit. */
double platform_cgroup_cpus(const struct platform_roots *roots);
/* Threads worth starting: min(affinity, floor of the quota), at least 1. */
int platform_usable_threads(const struct platform_roots *roots);

/* The smallest memory limit along the cgroup ancestor chain (v2 memory.max and memory.high; v1
 * memory.limit_in_bytes); where none is below physical memory: nine tenths of what is available now (what the kernel can free
 * counts), or physical memory where it does not tell. *source names which (static). */
uint64_t platform_memory_limit_bytes(const struct platform_roots *roots, const char **source);

struct platform_resident {
	uint64_t total_bytes;     /* resident now */
	uint64_t anonymous_bytes; /* heap, stacks, KV, workspaces */
	uint64_t file_bytes;      /* mapped weights, libraries */
	uint64_t peak_bytes;
};
/* What /proc/self/status says; false where it cannot be read. */
bool platform_resident(const struct platform_roots *roots, struct platform_resident *out);

/* CPU features that kernels ask for, of this CPU and enabled by the OS. All false where they do not exist. */
struct platform_cpu {
	char name[64];
	bool avx2, fma, f16c, avx_vnni;
	bool avx512f, avx512bw, avx512vl, avx512dq, avx512_vnni, avx512_bf16;
	bool amx_bf16; /* the process must still ask the system for tiles (kernels/amx.h) */
	bool neon, neon_dotprod;
};
/* Never fails; asks the CPU itself, and the kernel where the CPU cannot be asked (AArch64). */
void platform_cpu(struct platform_cpu *out);

/* Gives descriptors 0 to 2 that are closed a place holder on which reading (0) or writing (1, 2) fails as on a closed one,
 * so that nothing opened later is taken for a standard stream. Before anything is opened. */
void platform_fill_standard_descriptors(void);

/* Blocks all signals in this thread, for those that it starts, but for faults that a thread brings on itself. `before` is for
 * pthread_sigmask(SIG_SETMASK, ...) when they have started. */
void platform_block_signals(sigset_t *before);

/* Of the calling thread, as `top -H` shows it, of 15 bytes at most: once the worker serves, threads may name only
 * themselves. */
void platform_name_thread(const char *name);

int64_t clock_ns(void);      /* monotonic */
int64_t clock_unix_ms(void); /* wall clock */
/* "2026-01-01T12:30:01.123Z" of a clock_unix_ms value (>= 0); out holds 25 bytes. */
void clock_rfc3339(int64_t unix_ms, char *out);

#endif
