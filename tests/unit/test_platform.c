/* base/platform on small trees that stand for machines and containers, and once on the machine at hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/platform.h"
#include "base/topology.h"

#define GIB (1024.0 * 1024 * 1024)

/* A folder that holds proc/ and cgroup/ of a made-up machine with 16 GiB. */
struct tree {
	char root[64], proc[80], cgroup[80];
	struct platform_roots roots;
};

static void put_file(const struct tree *tree, const char *path, const char *text)
{
	char file[512];
	snprintf(file, sizeof file, "%s/%s", tree->root, path);
	for (char *slash = file + strlen(tree->root) + 1; (slash = strchr(slash, '/')) != NULL; slash++) {
		*slash = 0;
		mkdir(file, 0700);
		*slash = '/';
	}
	FILE *out = fopen(file, "w");
	assert_non_null(out);
	fputs(text, out);
	fclose(out);
}

static int make_tree(void **state)
{
	struct tree *tree = calloc(1, sizeof *tree);
	if (!tree)
		return -1;
	snprintf(tree->root, sizeof tree->root, "/tmp/tallow-platform-XXXXXX");
	if (!mkdtemp(tree->root)) {
		free(tree);
		return -1;
	}
	snprintf(tree->proc, sizeof tree->proc, "%s/proc", tree->root);
	snprintf(tree->cgroup, sizeof tree->cgroup, "%s/cgroup", tree->root);
	tree->roots = (struct platform_roots){.proc = tree->proc, .cgroup = tree->cgroup, .sys = tree->root};
	put_file(tree, "proc/meminfo", "MemTotal:       16777216 kB\nMemFree:         1234 kB\n");
	*state = tree;
	return 0;
}

static int remove_entry(const char *path, const struct stat *info, int kind, struct FTW *position)
{
	(void)info, (void)kind, (void)position;
	return remove(path);
}

static int drop_tree(void **state)
{
	struct tree *tree = *state;
	int failure = nftw(tree->root, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
	free(tree);
	return failure;
}

static double cpus(const struct tree *tree)
{
	return platform_cgroup_cpus(&tree->roots);
}

static double memory(const struct tree *tree)
{
	const char *source;
	return (double)platform_memory_limit_bytes(&tree->roots, &source);
}

static const char *memory_source(const struct tree *tree)
{
	const char *source;
	platform_memory_limit_bytes(&tree->roots, &source);
	return source;
}

static void nothing_mounted_means_no_limit(void **state)
{
	const struct tree *tree = *state;
	assert_true(cpus(tree) == 0);
	assert_true(memory(tree) == 16 * GIB);
	assert_string_equal(memory_source(tree), "physical memory");
	assert_int_equal(platform_usable_threads(&tree->roots), platform_affinity_cpus());
	put_file(tree, "proc/self/cgroup", "0::/\n");
	assert_true(cpus(tree) == 0 && memory(tree) == 16 * GIB);
}

static void without_a_cage_most_of_what_is_available_counts(void **state)
{
	const struct tree *tree = *state;
	put_file(tree, "proc/meminfo",
	         "MemTotal:       16777216 kB\nMemFree:         1234 kB\nMemAvailable:   10485760 kB\n");
	assert_true(memory(tree) == 9 * GIB);
	assert_string_equal(memory_source(tree), "available memory less 10%");
	put_file(tree, "proc/self/cgroup", "0::/x\n");
	put_file(tree, "cgroup/x/memory.max", "12884901888\n");
	assert_true(memory(tree) == 12 * GIB);
	assert_string_equal(memory_source(tree), "cgroup");
}

static void v2_takes_the_least_of_all_ancestors(void **state)
{
	const struct tree *tree = *state;
	put_file(tree, "proc/self/cgroup", "0::/a.slice/b/c\n");
	put_file(tree, "cgroup/a.slice/b/c/cpu.max", "max 100000\n");
	put_file(tree, "cgroup/a.slice/b/c/memory.max", "max\n");
	put_file(tree, "cgroup/a.slice/b/c/memory.high", "max\n");
	assert_true(cpus(tree) == 0 && memory(tree) == 16 * GIB);
	put_file(tree, "cgroup/a.slice/b/cpu.max", "150000 100000\n");
	put_file(tree, "cgroup/a.slice/cpu.max", "400000 100000\n");
	put_file(tree, "cgroup/a.slice/b/memory.max", "8589934592\n");
	put_file(tree, "cgroup/a.slice/memory.max", "4294967296\n");
	assert_true(cpus(tree) == 1.5);
	assert_true(memory(tree) == 4 * GIB);
	assert_string_equal(memory_source(tree), "cgroup");
	put_file(tree, "cgroup/a.slice/b/c/memory.high", "1073741824\n");
	assert_true(memory(tree) == 1 * GIB);
	/* A sibling's limit is not ours. */
	put_file(tree, "cgroup/a.slice/other/memory.max", "1000\n");
	assert_true(memory(tree) == 1 * GIB);
	assert_int_equal(platform_usable_threads(&tree->roots), 1);
}

static void a_limit_above_physical_memory_is_none(void **state)
{
	const struct tree *tree = *state;
	put_file(tree, "proc/self/cgroup", "0::/x\n");
	put_file(tree, "cgroup/x/memory.max", "99999999999999\n");
	assert_true(memory(tree) == 16 * GIB);
	assert_string_equal(memory_source(tree), "physical memory");
}

static void a_namespaced_container_reads_its_root(void **state)
{
	const struct tree *tree = *state;
	put_file(tree, "cgroup/cpu.max", "50000 100000\n");
	put_file(tree, "cgroup/memory.max", "2147483648\n");
	static const char *const paths[] = {"0::/\n", "0::/../../host/pod\n", "0::/..\n", "0::/kubepods/not/mounted\n"};
	for (int i = 0; i < 4; i++) {
		put_file(tree, "proc/self/cgroup", paths[i]);
		assert_true(cpus(tree) == 0.5);
		assert_true(memory(tree) == 2 * GIB);
	}
	assert_int_equal(platform_usable_threads(&tree->roots), 1);
	/* Dots in a name lead nowhere else. */
	put_file(tree, "proc/self/cgroup", "0::/a..b/..c\n");
	put_file(tree, "cgroup/a..b/..c/cpu.max", "25000 100000\n");
	assert_true(cpus(tree) == 0.25);
}

static void v1_hierarchies_have_their_own_paths(void **state)
{
	const struct tree *tree = *state;
	put_file(tree, "proc/self/cgroup",
	         "12:cpuset:/\n4:cpu,cpuacct:/docker/12ab\n3:memory:/docker/12ab\n1:name=systemd:/docker/12ab\n");
	put_file(tree, "cgroup/cpu,cpuacct/docker/12ab/cpu.cfs_quota_us", "250000\n");
	put_file(tree, "cgroup/cpu,cpuacct/docker/12ab/cpu.cfs_period_us", "100000\n");
	put_file(tree, "cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n");
	put_file(tree, "cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n");
	put_file(tree, "cgroup/memory/docker/12ab/memory.limit_in_bytes", "9223372036854771712\n");
	assert_true(cpus(tree) == 2.5);
	assert_true(memory(tree) == 16 * GIB);
	put_file(tree, "cgroup/memory/docker/memory.limit_in_bytes", "3221225472\n");
	assert_true(memory(tree) == 3 * GIB);
	/* The usual link by the controller's own name. */
	put_file(tree, "cgroup/cpu/docker/12ab/cpu.cfs_quota_us", "50000\n");
	put_file(tree, "cgroup/cpu/docker/12ab/cpu.cfs_period_us", "50000\n");
	assert_true(cpus(tree) == 1);
	/* The largest number that v1 can hold is "unlimited", also when physical memory is unknown. */
	put_file(tree, "cgroup/memory/docker/memory.limit_in_bytes", "9223372036854771712\n");
	put_file(tree, "proc/meminfo", "");
	assert_true(memory(tree) == 0);
}

static void hybrid_takes_the_least_of_both(void **state)
{
	const struct tree *tree = *state;
	put_file(tree, "proc/self/cgroup", "3:memory:/m\n2:cpu:/c\n0::/u\n");
	put_file(tree, "cgroup/memory/m/memory.limit_in_bytes", "6442450944\n");
	put_file(tree, "cgroup/cpu/c/cpu.cfs_quota_us", "300000\n");
	put_file(tree, "cgroup/cpu/c/cpu.cfs_period_us", "100000\n");
	assert_true(cpus(tree) == 3 && memory(tree) == 6 * GIB);
	put_file(tree, "cgroup/unified/u/memory.max", "5368709120\n");
	put_file(tree, "cgroup/unified/cpu.max", "200000 100000\n");
	assert_true(cpus(tree) == 2 && memory(tree) == 5 * GIB);
}

static void nonsense_is_no_limit(void **state)
{
	const struct tree *tree = *state;
	static const char *const contents[] = {"", "\n", "max", "max max", "-1 100000", "100000", "100000 0", "x y", "0 1"};
	static const char *const lines[] = {"", "\n\n", "0", "0:", "0::", "::::", "0::x\n:", "nonsense\n0::/x\n"};
	for (size_t i = 0; i < sizeof contents / sizeof *contents; i++) {
		put_file(tree, "proc/self/cgroup", "0::/x\n");
		put_file(tree, "cgroup/x/cpu.max", contents[i]);
		assert_true(cpus(tree) == 0);
	}
	put_file(tree, "cgroup/x/memory.max", "-5\n");
	for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
		put_file(tree, "proc/self/cgroup", lines[i]);
		assert_true(cpus(tree) == 0 && memory(tree) == 16 * GIB);
	}
	/* A path longer than any buffer. */
	char *longest = malloc(16000);
	memset(longest, 'p', 16000);
	memcpy(longest, "0::/", 4);
	longest[15999] = 0;
	put_file(tree, "proc/self/cgroup", longest);
	assert_true(cpus(tree) == 0);
	for (int i = 4; i < 15999; i += 2)
		longest[i] = '/';
	put_file(tree, "proc/self/cgroup", longest);
	assert_true(cpus(tree) == 0);
	free(longest);
}

static void resident_memory_comes_from_status(void **state)
{
	const struct tree *tree = *state;
	struct platform_resident resident;
	assert_false(platform_resident(&tree->roots, &resident));
	put_file(tree, "proc/self/status",
	         "Name:\tx\nVmHWM:\t    4000 kB\nVmRSS:\t    3000 kB\nRssAnon:\t    1000 kB\nRssFile:\t    1500 kB\n");
	assert_true(platform_resident(&tree->roots, &resident));
	assert_int_equal(resident.total_bytes, 3000 * 1024);
	assert_int_equal(resident.peak_bytes, 4000 * 1024);
	assert_int_equal(resident.anonymous_bytes, 1000 * 1024);
	assert_int_equal(resident.file_bytes, 1500 * 1024);
}

static void this_machine_makes_sense(void **state)
{
	(void)state;
	const struct platform_roots *roots = &platform_default_roots;
	struct platform_resident resident;
	struct platform_cpu cpu;
	const char *source = NULL;
	int threads = platform_usable_threads(roots);
	assert_true(threads >= 1 && threads <= platform_affinity_cpus());
	assert_true(platform_cgroup_cpus(roots) >= 0);
	assert_true(platform_memory_limit_bytes(roots, &source) > 1 << 20);
	assert_non_null(source);
	assert_true(platform_resident(roots, &resident));
	assert_true(resident.total_bytes > 0 && resident.peak_bytes > 0);
	platform_cpu(&cpu);
	assert_true(memchr(cpu.name, 0, sizeof cpu.name) != NULL);
	assert_true(cpu.avx512f || !(cpu.avx512bw || cpu.avx512_vnni || cpu.avx512_bf16));
	assert_true(cpu.avx512f || !cpu.amx_bf16);
	assert_true(cpu.avx2 || !(cpu.avx512f || cpu.avx_vnni));
}

static void clocks_tick_and_print(void **state)
{
	(void)state;
	char text[25];
	int64_t before_ns = clock_ns();
	assert_true(clock_ns() >= before_ns);
	assert_true(clock_unix_ms() > 1600000000000);
	clock_rfc3339(0, text);
	assert_string_equal(text, "1970-01-01T00:00:00.000Z");
	clock_rfc3339(1767270601123, text);
	assert_string_equal(text, "2026-01-01T12:30:01.123Z");
	clock_rfc3339(951782399999, text);
	assert_string_equal(text, "2000-02-28T23:59:59.999Z");
}

/* ---- topology ---- */

static void put_cpu(const struct tree *tree, int cpu, const char *name, const char *text)
{
	char path[128];
	snprintf(path, sizeof path, "devices/system/cpu/cpu%d/%s", cpu, name);
	put_file(tree, path, text);
}

static void check_topology(const struct tree *tree, int n_cpus, struct topology wanted, const char *reason)
{
	int cpus[16];
	char text[128];
	struct topology found;
	for (int i = 0; i < n_cpus; i++)
		cpus[i] = i;
	topology_read_for(&tree->roots, cpus, n_cpus, &found);
	assert_int_equal(found.cpus, n_cpus);
	assert_int_equal(found.cores, wanted.cores);
	assert_int_equal(found.efficiency, wanted.efficiency);
	assert_int_equal(found.threads, wanted.threads);
	assert_string_equal(topology_reason(&found, text, sizeof text), reason);
}

static void a_machine_that_does_not_tell_has_a_thread_for_each_cpu(void **state)
{
	check_topology(*state, 4, (struct topology){.threads = 4}, "4 CPUs");
	check_topology(*state, 1, (struct topology){.threads = 1}, "1 CPU");
}

static void hyperthreads_are_told_and_used(void **state)
{
	static const char *const siblings[] = {"0,4\n", "1,5\n", "2,6\n", "3,7\n"};
	for (int cpu = 0; cpu < 8; cpu++)
		put_cpu(*state, cpu, "topology/thread_siblings_list", siblings[cpu % 4]);
	check_topology(*state, 8, (struct topology){.cores = 4, .threads = 8}, "8 CPUs of 4 cores");
	/* Of these four each is alone in its core. */
	check_topology(*state, 4, (struct topology){.cores = 4, .threads = 4}, "4 CPUs");
}

static void efficiency_cores_have_no_threads(void **state)
{
	/* Four cores with two hyperthreads each and four without, as a hybrid CPU of Intel has them. */
	for (int cpu = 0; cpu < 12; cpu++) {
		char list[32];
		int first = cpu < 8 ? cpu / 2 * 2 : cpu, last = cpu < 8 ? first + 1 : cpu;
		snprintf(list, sizeof list, "%d-%d\n", first, last);
		put_cpu(*state, cpu, "topology/thread_siblings_list", list);
	}
	put_file(*state, "devices/cpu_atom/cpus", "8-11\n");
	check_topology(*state, 12, (struct topology){.cores = 8, .efficiency = 4, .threads = 8},
	               "12 CPUs of 8 cores, 4 of efficiency cores left out");
}

static void little_cores_have_no_threads_where_there_are_big_ones(void **state)
{
	for (int cpu = 0; cpu < 8; cpu++)
		put_cpu(*state, cpu, "cpu_capacity", cpu < 4 ? "250\n" : cpu < 7 ? "870\n" : "1024\n");
	check_topology(*state, 8, (struct topology){.efficiency = 4, .threads = 4},
	               "8 CPUs, 4 of efficiency cores left out");
	check_topology(*state, 4, (struct topology){.threads = 4}, "4 CPUs"); /* there are no others */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(nothing_mounted_means_no_limit, make_tree, drop_tree),
	    cmocka_unit_test_setup_teardown(v2_takes_the_least_of_all_ancestors, make_tree, drop_tree),
	    cmocka_unit_test_setup_teardown(a_limit_above_physical_memory_is_none, make_tree, drop_tree),
	    cmocka_unit_test_setup_teardown(without_a_cage_most_of_what_is_available_counts, make_tree, drop_tree),
	    cmocka_unit_test_setup_teardown(a_namespaced_container_reads_its_root, make_tree, drop_tree),
	    cmocka_unit_test_setup_teardown(v1_hierarchies_have_their_own_paths, make_tree, drop_tree),
	    cmocka_unit_test_setup_teardown(hybrid_takes_the_least_of_both, make_tree, drop_tree),
	    cmocka_unit_test_setup_teardown(nonsense_is_no_limit, make_tree, drop_tree),
	    cmocka_unit_test_setup_teardown(resident_memory_comes_from_status, make_tree, drop_tree),
	    cmocka_unit_test_setup_teardown(a_machine_that_does_not_tell_has_a_thread_for_each_cpu, make_tree, drop_tree),
	    cmocka_unit_test_setup_teardown(hyperthreads_are_told_and_used, make_tree, drop_tree),
	    cmocka_unit_test_setup_teardown(efficiency_cores_have_no_threads, make_tree, drop_tree),
	    cmocka_unit_test_setup_teardown(little_cores_have_no_threads_where_there_are_big_ones, make_tree, drop_tree),
	    cmocka_unit_test(this_machine_makes_sense),
	    cmocka_unit_test(clocks_tick_and_print),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
