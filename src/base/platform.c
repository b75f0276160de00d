/* The cage: affinity, cgroup limits along the ancestor chain, memory, CPU features, clocks. */
#include "base/platform.h"

#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__)
#include <sys/auxv.h>
#endif

const struct platform_roots platform_default_roots = {.proc = "/proc", .cgroup = "/sys/fs/cgroup", .sys = "/sys"};

enum { PATH_BYTES = 4096, RFC3339_BYTES = 25 };

/* Reads a small file into a NUL-terminated buffer; false when it cannot be read. */
static bool read_small(const char *path, char *text, size_t capacity)
{
	FILE *file = fopen(path, "re");
	if (!file)
		return false;
	size_t n = fread(text, 1, capacity - 1, file);
	bool ok = !ferror(file);
	fclose(file);
	text[n] = 0;
	return ok;
}

int platform_affinity_cpus(void)
{
	/* The kernel refuses masks smaller than its own, so grow until it fits. */
	for (int n_cpus = 1024; n_cpus <= 1 << 20; n_cpus *= 2) {
		cpu_set_t *set = CPU_ALLOC((size_t)n_cpus);
		if (!set)
			break;
		size_t n_bytes = CPU_ALLOC_SIZE((size_t)n_cpus);
		int count = sched_getaffinity(0, n_bytes, set) == 0 ? CPU_COUNT_S(n_bytes, set) : 0;
		CPU_FREE(set);
		if (count > 0)
			return count;
	}
	return 1;
}

/* ---- cgroups ---- */

/* Where this process is in the hierarchy of a v1 controller, or of v2 (controller ""). */
struct membership {
	char controllers[256]; /* all that share the v1 hierarchy: "cpu,cpuacct" */
	char path[PATH_BYTES]; /* inside the hierarchy */
};

/* Reads a line "4:cpu,cpuacct:/docker/12ab" of /proc/self/cgroup. False when there is none for the controller. */
static bool find_membership(const struct platform_roots *roots, const char *controller, struct membership *out)
{
	char file[PATH_BYTES], text[16384];
	snprintf(file, sizeof file, "%s/self/cgroup", roots->proc);
	if (!read_small(file, text, sizeof text))
		return false;
	char *lines;
	for (char *line = strtok_r(text, "\n", &lines); line; line = strtok_r(NULL, "\n", &lines)) {
		char *names = strchr(line, ':');
		char *inside = names ? strchr(names + 1, ':') : NULL;
		if (!inside)
			continue;
		*inside++ = 0;
		names++;
		snprintf(out->controllers, sizeof out->controllers, "%s", names);
		snprintf(out->path, sizeof out->path, "%s", inside);
		bool found = strcmp(names, controller) == 0;
		char *rest;
		for (char *name = strtok_r(names, ",", &rest); name; name = strtok_r(NULL, ",", &rest))
			found |= strcmp(name, controller) == 0;
		if (found)
			return true;
	}
	return false;
}

/* A process outside the root of its cgroup namespace has a path such as /../other; nonsense counts as outside too. */
static bool leads_outside(const char *path)
{
	if (*path != '/')
		return true;
	for (const char *at = path; (at = strstr(at, "/..")) != NULL; at += 3)
		if (at[3] == '/' || at[3] == 0)
			return true;
	return false;
}

/* Calls visit with the folder of the cgroup and of each of its ancestors up to the mount's root. In a container the
 * path may lie outside what is mounted: then only the root is there to read. */
static void for_each_ancestor(const char *mount, const char *path, void (*visit)(const char *folder, void *context),
                              void *context)
{
	char inside[PATH_BYTES], folder[2 * PATH_BYTES];
	snprintf(inside, sizeof inside, "%s", leads_outside(path) ? "" : path);
	for (;;) {
		size_t n = strlen(inside);
		while (n && inside[n - 1] == '/')
			inside[--n] = 0;
		snprintf(folder, sizeof folder, "%s%s", mount, inside);
		visit(folder, context);
		if (n == 0)
			return;
		*strrchr(inside, '/') = 0;
	}
}

static bool read_number(const char *folder, const char *name, double *number)
{
	char file[3 * PATH_BYTES], text[128];
	snprintf(file, sizeof file, "%s/%s", folder, name);
	if (!read_small(file, text, sizeof text))
		return false;
	char *end;
	*number = strtod(text, &end);
	return end != text; /* "max" is no number: no limit */
}

static void keep_smaller(double *least, double value)
{
	if (value > 0 && (*least == 0 || value < *least))
		*least = value;
}

static void visit_cpu_v2(const char *folder, void *least)
{
	char file[3 * PATH_BYTES], text[128];
	double quota, period;
	snprintf(file, sizeof file, "%s/cpu.max", folder);
	if (read_small(file, text, sizeof text) && sscanf(text, "%lf %lf", &quota, &period) == 2 && period > 0)
		keep_smaller(least, quota / period);
}

static void visit_cpu_v1(const char *folder, void *least)
{
	double quota, period;
	if (read_number(folder, "cpu.cfs_quota_us", &quota) && read_number(folder, "cpu.cfs_period_us", &period) &&
	    quota > 0 && period > 0)
		keep_smaller(least, quota / period);
}

static void keep_smaller_bytes(double *least, const char *folder, const char *name)
{
	double bytes;
	/* v1 writes "no limit" as the largest number of whole pages below 2^63. */
	if (read_number(folder, name, &bytes) && bytes < 0x1p62)
		keep_smaller(least, bytes);
}

static void visit_memory_v2(const char *folder, void *least)
{
	keep_smaller_bytes(least, folder, "memory.max");
	keep_smaller_bytes(least, folder, "memory.high");
}

static void visit_memory_v1(const char *folder, void *least)
{
	keep_smaller_bytes(least, folder, "memory.limit_in_bytes");
}

/* The least limit of both cgroup versions, which may be mounted together; 0 = none. */
static double least_limit(const struct platform_roots *roots, const char *controller,
                          void (*visit_v1)(const char *, void *), void (*visit_v2)(const char *, void *))
{
	struct membership in;
	char mount[PATH_BYTES];
	double least = 0;
	if (find_membership(roots, controller, &in)) {
		/* Mounted under the list of controllers; the single names are links that not every system makes. */
		snprintf(mount, sizeof mount, "%s/%s", roots->cgroup, controller);
		for_each_ancestor(mount, in.path, visit_v1, &least);
		snprintf(mount, sizeof mount, "%s/%s", roots->cgroup, in.controllers);
		for_each_ancestor(mount, in.path, visit_v1, &least);
	}
	if (find_membership(roots, "", &in)) {
		for_each_ancestor(roots->cgroup, in.path, visit_v2, &least);
		snprintf(mount, sizeof mount, "%s/unified", roots->cgroup);
		for_each_ancestor(mount, in.path, visit_v2, &least);
	}
	return least;
}

double platform_cgroup_cpus(const struct platform_roots *roots)
{
	return least_limit(roots, "cpu", visit_cpu_v1, visit_cpu_v2);
}

/* ---- memory ---- */

/* "Name:  123 kB" of a proc file, in bytes; 0 when it is not there. */
static uint64_t proc_kilobytes(const char *text, const char *name)
{
	const char *line = strstr(text, name);
	uint64_t kilobytes;
	return line && sscanf(line + strlen(name), ": %" SCNu64, &kilobytes) == 1 ? kilobytes * 1024 : 0;
}

uint64_t platform_memory_limit_bytes(const struct platform_roots *roots, const char **source)
{
	char file[PATH_BYTES], text[8192] = "";
	snprintf(file, sizeof file, "%s/meminfo", roots->proc);
	uint64_t physical = read_small(file, text, sizeof text) ? proc_kilobytes(text, "MemTotal") : 0;
	uint64_t available = proc_kilobytes(text, "MemAvailable");
	double limit = least_limit(roots, "memory", visit_memory_v1, visit_memory_v2);
	bool caged = limit > 0 && (physical == 0 || limit < (double)physical);
	*source = caged ? "cgroup" : available ? "available memory less 10%" : "physical memory";
	return caged ? (uint64_t)limit : available ? available - available / 10 : physical;
}

bool platform_resident(const struct platform_roots *roots, struct platform_resident *out)
{
	char file[PATH_BYTES], text[16384];
	snprintf(file, sizeof file, "%s/self/status", roots->proc);
	if (!read_small(file, text, sizeof text))
		return false;
	out->total_bytes = proc_kilobytes(text, "VmRSS");
	out->anonymous_bytes = proc_kilobytes(text, "RssAnon");
	out->file_bytes = proc_kilobytes(text, "RssFile");
	out->peak_bytes = proc_kilobytes(text, "VmHWM");
	return true;
}

/* ---- CPU features ---- */

#if defined(__x86_64__)
static void read_cpu_name(char name[64])
{
	unsigned words[12];
	if (__get_cpuid_max(0x80000000, NULL) < 0x80000004)
		return;
	for (unsigned i = 0; i < 3; i++)
		__cpuid(0x80000002 + i, words[4 * i], words[4 * i + 1], words[4 * i + 2], words[4 * i + 3]);
	memcpy(name, words, sizeof words);
}

/* XCR0: the register states that the system saves. */
static uint32_t enabled_states(void)
{
	uint32_t low, high;
	__asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
	return low;
}

void platform_cpu(struct platform_cpu *out)
{
	unsigned a, b, c, d;
	memset(out, 0, sizeof *out);
	read_cpu_name(out->name);
	/* The compiler's own test also asks whether the system saves the registers. */
	__builtin_cpu_init();
	out->avx2 = __builtin_cpu_supports("avx2");
	out->fma = __builtin_cpu_supports("fma");
	out->f16c = out->avx2 && __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
	out->avx512f = __builtin_cpu_supports("avx512f");
	out->avx512bw = __builtin_cpu_supports("avx512bw");
	out->avx512vl = __builtin_cpu_supports("avx512vl");
	out->avx512dq = __builtin_cpu_supports("avx512dq");
	out->avx512_vnni = __builtin_cpu_supports("avx512vnni");
	if (__get_cpuid_count(7, 1, &a, &b, &c, &d)) {
		out->avx_vnni = out->avx2 && (a & 1u << 4);
		out->avx512_bf16 = out->avx512f && (a & 1u << 5);
	}
	enum { AMX_BF16 = 1 << 22, AMX_TILE = 1 << 24, OSXSAVE = 1 << 27, XCR0_TILES = 3 << 17 };
	bool saves = __get_cpuid(1, &a, &b, &c, &d) && (c & OSXSAVE) && (enabled_states() & XCR0_TILES) == XCR0_TILES;
	out->amx_bf16 = saves && __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d & AMX_BF16) && (d & AMX_TILE);
}
#elif defined(__aarch64__)
void platform_cpu(struct platform_cpu *out)
{
	unsigned long features = getauxval(AT_HWCAP);
	*out = (struct platform_cpu){
	    .name = "AArch64",
	    .neon = features & HWCAP_ASIMD,
	    .neon_dotprod = features & HWCAP_ASIMDDP,
	};
}
#else
void platform_cpu(struct platform_cpu *out)
{
	memset(out, 0, sizeof *out);
}
#endif

/* ---- clocks ---- */

void platform_block_signals(sigset_t *before)
{
	static const int faults[] = {SIGBUS, SIGSEGV, SIGFPE, SIGILL};
	sigset_t blocked;
	sigfillset(&blocked);
	for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++)
		sigdelset(&blocked, faults[i]);
	pthread_sigmask(SIG_SETMASK, &blocked, before);
}

void platform_fill_standard_descriptors(void)
{
	/* open takes the lowest number that is free: the one that was found closed. */
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) < 0)
			return;
}

void platform_name_thread(const char *name)
{
	pthread_setname_np(pthread_self(), name);
}

int64_t clock_ns(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

int64_t clock_unix_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void clock_rfc3339(int64_t unix_ms, char *out)
{
	time_t seconds = (time_t)(unix_ms / 1000);
	struct tm parts;
	gmtime_r(&seconds, &parts);
	size_t n = strftime(out, RFC3339_BYTES - strlen(".123Z"), "%Y-%m-%dT%H:%M:%S", &parts);
	snprintf(out + n, RFC3339_BYTES - n, ".%03uZ", (unsigned)(unix_ms % 1000) % 1000);
}
