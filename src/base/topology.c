#include "base/topology.h"

#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_CPUS = 4096, PATH_BYTES = 512, LIST_BYTES = 4096 };

/* Below this share of the largest capacity a core is an efficiency core: those of Intel's hybrid CPUs and of big.LITTLE have
 * a quarter to six tenths, middle cores more than eight. */
static const double efficiency_share = 0.7;

static bool read_text(const char *path, char *text, size_t capacity)
{
	FILE *file = fopen(path, "re");
	if (!file)
		return false;
	size_t n = fread(text, 1, capacity - 1, file);
	fclose(file);
	text[n] = 0;
	return n > 0;
}

/* A fact of a CPU, as text. */
static bool read_fact(const struct platform_roots *roots, int cpu, const char *name, char *text, size_t capacity)
{
	char path[PATH_BYTES];
	snprintf(path, sizeof path, "%s/devices/system/cpu/cpu%d/%s", roots->sys, cpu, name);
	return read_text(path, text, capacity);
}

/* Whether a list as the kernel writes them, "0-3,8", has the CPU. */
static bool list_has(const char *list, int cpu)
{
	for (const char *at = list; *at;) {
		char *end;
		long first = strtol(at, &end, 10), last = first;
		if (end == at)
			return false;
		if (*end == '-')
			last = strtol(end + 1, &end, 10);
		if (cpu >= first && cpu <= last)
			return true;
		at = end + (*end == ',');
		if (*at == '\n')
			return false;
	}
	return false;
}

/* By the list of siblings each core is counted where its first CPU is, of those that may be used. */
static int count_cores(const struct platform_roots *roots, const int *cpus, int n_cpus)
{
	char list[LIST_BYTES];
	int cores = 0;
	for (int i = 0; i < n_cpus; i++) {
		bool first = true;
		if (!read_fact(roots, cpus[i], "topology/thread_siblings_list", list, sizeof list))
			return 0;
		for (int j = 0; j < i && first; j++)
			first = !list_has(list, cpus[j]);
		cores += first;
	}
	return cores;
}

static int count_slow(const struct platform_roots *roots, const int *cpus, int n_cpus)
{
	char text[LIST_BYTES], path[PATH_BYTES];
	double largest = 0, capacity;
	int n = 0;
	snprintf(path, sizeof path, "%s/devices/cpu_atom/cpus", roots->sys);
	if (read_text(path, text, sizeof text)) {
		for (int i = 0; i < n_cpus; i++)
			n += list_has(text, cpus[i]);
		return n;
	}
	for (int pass = 0; pass < 2; pass++)
		for (int i = 0; i < n_cpus; i++) {
			if (!read_fact(roots, cpus[i], "cpu_capacity", text, sizeof text) || sscanf(text, "%lf", &capacity) != 1)
				return 0;
			if (pass == 0 && capacity > largest)
				largest = capacity;
			n += pass == 1 && capacity < largest * efficiency_share;
		}
	return n;
}

void topology_read_for(const struct platform_roots *roots, const int *cpus, int n_cpus, struct topology *out)
{
	*out = (struct topology){.cpus = n_cpus, .quota = platform_cgroup_cpus(roots)};
	out->cores = count_cores(roots, cpus, n_cpus);
	out->efficiency = count_slow(roots, cpus, n_cpus);
	if (out->efficiency >= n_cpus)
		out->efficiency = 0; /* there are no others */
	out->threads = n_cpus - out->efficiency;
	if (out->quota > 0 && out->quota < out->threads)
		out->threads = (int)out->quota;
	if (out->threads < 1)
		out->threads = 1;
}

void topology_read(const struct platform_roots *roots, struct topology *out)
{
	static const size_t n_bytes = CPU_ALLOC_SIZE(MAX_CPUS);
	cpu_set_t *set = CPU_ALLOC(MAX_CPUS);
	int *cpus = calloc(MAX_CPUS, sizeof *cpus), n_cpus = 0;
	if (set && cpus && sched_getaffinity(0, n_bytes, set) == 0)
		for (int cpu = 0; cpu < MAX_CPUS; cpu++)
			if (CPU_ISSET_S((size_t)cpu, n_bytes, set))
				cpus[n_cpus++] = cpu;
	topology_read_for(roots, cpus, n_cpus, out);
	if (n_cpus == 0) { /* more than a mask of ours holds */
		out->cpus = out->threads = platform_affinity_cpus();
		out->threads = out->quota > 0 && out->quota < out->threads ? (int)out->quota : out->threads;
		out->threads = out->threads < 1 ? 1 : out->threads;
	}
	CPU_FREE(set);
	free(cpus);
}

const char *topology_reason(const struct topology *topology, char *text, size_t n_bytes)
{
	int used = topology->cpus - topology->efficiency;
	char cores[64] = "";
	if (topology->cores && topology->cores < topology->cpus)
		snprintf(cores, sizeof cores, " of %d cores", topology->cores);
	if (topology->quota > 0 && topology->quota < used)
		snprintf(text, n_bytes, "%d CPUs%s, of which the quota is %.2f", topology->cpus, cores, topology->quota);
	else if (topology->efficiency)
		snprintf(text, n_bytes, "%d CPUs%s, %d of efficiency cores left out", topology->cpus, cores,
		         topology->efficiency);
	else
		snprintf(text, n_bytes, "%d CPU%s%s", topology->cpus, topology->cpus == 1 ? "" : "s", cores);
	return text;
}

int platform_usable_threads(const struct platform_roots *roots)
{
	struct topology topology;
	topology_read(roots, &topology);
	return topology.threads;
}
