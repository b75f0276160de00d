/* `tallow doctor`: what this machine gives a worker, what was measured of it, and what would make it give more. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/json.h"
#include "base/platform.h"
#include "base/topology.h"
#include "cli/commands.h"
#include "cli/screen.h"
#include "kernels/ceilings.h"
#include "kernels/kernels.h"

enum { MAX_ADVICE = 8, ADVICE_BYTES = 300, FACT_BYTES = 128, FACT_COLUMN = 16, N_ATTEMPTS = 2 };

struct machine {
	struct platform_cpu cpu;
	struct topology topology;
	char threads_reason[FACT_BYTES];
	enum isa isa; /* the one that --isa auto takes */
	uint64_t memory_limit_bytes, memory_available_bytes;
	const char *memory_limit_source;
	char huge_pages[FACT_BYTES], governor[FACT_BYTES]; /* "" where the kernel does not tell */
	double load; /* processes that want a CPU, over the last minute; < 0: not told */
	struct ceilings ceilings;
	double region_us;
	char advice[MAX_ADVICE][ADVICE_BYTES];
	int n_advice;
};

/* ---- what the kernel tells ---- */

static bool read_line(const char *root, const char *path, char *line, size_t capacity)
{
	char name[FACT_BYTES];
	snprintf(name, sizeof name, "%s/%s", root, path);
	FILE *file = fopen(name, "re");
	bool ok = file && fgets(line, (int)capacity, file);
	if (file)
		fclose(file);
	if (!ok)
		line[0] = '\0';
	line[strcspn(line, "\n")] = '\0';
	return ok;
}

/* The word in brackets: "always [madvise] never". */
static void keep_chosen(char *line)
{
	char *open = strchr(line, '['), *close = open ? strchr(open, ']') : NULL;
	if (!close)
		return;
	*close = '\0';
	memmove(line, open + 1, strlen(open + 1) + 1);
}

static uint64_t available_bytes(void)
{
	char line[FACT_BYTES];
	unsigned long long kib = 0;
	char path[FACT_BYTES];
	snprintf(path, sizeof path, "%s/meminfo", platform_default_roots.proc);
	FILE *file = fopen(path, "re");
	while (file && fgets(line, sizeof line, file))
		if (sscanf(line, "MemAvailable: %llu kB", &kib) == 1)
			break;
	if (file)
		fclose(file);
	return (uint64_t)kib << 10;
}

static void read_facts(struct machine *machine)
{
	const struct platform_roots *roots = &platform_default_roots;
	char line[FACT_BYTES];
	platform_cpu(&machine->cpu);
	topology_read(roots, &machine->topology);
	topology_reason(&machine->topology, machine->threads_reason, sizeof machine->threads_reason);
	machine->memory_limit_bytes = platform_memory_limit_bytes(roots, &machine->memory_limit_source);
	machine->memory_available_bytes = available_bytes();
	read_line(roots->sys, "kernel/mm/transparent_hugepage/enabled", machine->huge_pages, sizeof machine->huge_pages);
	keep_chosen(machine->huge_pages);
	read_line(roots->sys, "devices/system/cpu/cpu0/cpufreq/scaling_governor", machine->governor,
	          sizeof machine->governor);
	machine->load = read_line(roots->proc, "loadavg", line, sizeof line) ? strtod(line, NULL) : -1;
}

/* ---- what is measured ---- */

static bool measure(struct machine *machine, struct error *error)
{
	struct kernels *kernels = kernels_create(ISA_AUTO, COMPUTE_AUTO, machine->topology.threads, 4096, error);
	struct pool *pool = kernels ? pool_create(machine->topology.threads, NULL, 0, error) : NULL;
	struct read_probe *probe = pool ? read_probe_create(error) : NULL;
	bool ok = probe && ceilings_measure(pool, ISA_AUTO, probe, N_ATTEMPTS, &machine->ceilings, error);
	if (ok) {
		machine->isa = kernels->isa;
		machine->region_us = ceilings_region_us(pool);
	}
	read_probe_destroy(probe);
	pool_destroy(pool);
	kernels_destroy(kernels);
	return ok;
}

/* ---- what to change ---- */

static void advise(struct machine *machine, const char *format, ...) PRINTF_LIKE(2, 3);
static void advise(struct machine *machine, const char *format, ...)
{
	va_list arguments;
	if (machine->n_advice == MAX_ADVICE)
		return;
	va_start(arguments, format);
	vsnprintf(machine->advice[machine->n_advice++], ADVICE_BYTES, format, arguments);
	va_end(arguments);
}

static void find_advice(struct machine *machine)
{
	const struct topology *topology = &machine->topology;
	if (machine->isa == ISA_SCALAR)
		advise(machine, "This CPU has neither AVX2 nor NEON: kernels are plain C, some ten times slower. A virtual "
		                "machine may hide "
		                "what its host has: give it the host's CPU type.");
	if (topology->quota > 0 && topology->quota < topology->cpus)
		advise(machine,
		       "The control group's quota is %.3g CPUs of %d: raise it (cpu.max), or leave whole CPUs to the worker "
		       "(--cpu-mask).",
		       topology->quota, topology->cpus);
	if (strcmp(machine->huge_pages, "never") == 0)
		advise(
		    machine,
		    "Huge pages are off: write madvise to /sys/kernel/mm/transparent_hugepage/enabled; weights are asked for "
		    "that way, and are read faster.");
	if (strcmp(machine->governor, "powersave") == 0 || strcmp(machine->governor, "conservative") == 0)
		advise(machine,
		       "The CPU's governor is %s: performance keeps the clock up between tokens (cpupower frequency-set -g "
		       "performance).",
		       machine->governor);
	if (machine->load > 0.5 * topology->cpus)
		advise(machine,
		       "Other work wants %.1f of %d CPUs: each token waits for it. What was measured here is less than the "
		       "machine "
		       "has.",
		       machine->load, topology->cpus);
	if (machine->memory_limit_bytes < (uint64_t)1 << 30)
		advise(machine,
		       "%.0f MiB of memory (%s) hold small models only: a model of a billion parameters takes 0.7 to 2.2 GB "
		       "(tallow inspect tells).",
		       (double)machine->memory_limit_bytes / (1 << 20), machine->memory_limit_source);
}

/* ---- output ---- */

static const char *or_unknown(const char *fact)
{
	return *fact ? fact : "not told";
}

/* A row of the table. */
#define print_fact(name, ...) (printf("%-*s", FACT_COLUMN, name), screen_print(FACT_COLUMN, FACT_COLUMN, __VA_ARGS__))

static void print_table(const struct machine *machine)
{
	const struct ceilings *ceilings = &machine->ceilings;
	printf("CPU             %s\n  instructions ", machine->cpu.name);
	for (enum isa isa = ISA_SCALAR; isa < ISA_COUNT; isa++)
		if (!isa_missing_feature(isa, &machine->cpu))
			printf(" %s%s", isa_name(isa), isa == machine->isa ? " (used)" : "");
	printf("\n");
	print_fact("  threads", "%d: %s", machine->topology.threads, machine->threads_reason);
	print_fact("  governor", "%s", or_unknown(machine->governor));
	if (machine->load >= 0)
		print_fact("  load", "%.2f of %d CPUs", machine->load, machine->topology.cpus);
	print_fact("memory", "%.1f GiB may be used (%s), %.1f GiB are available",
	           (double)machine->memory_limit_bytes / (1 << 30), machine->memory_limit_source,
	           (double)machine->memory_available_bytes / (1 << 30));
	print_fact("  huge pages", "%s", or_unknown(machine->huge_pages));
	print_fact("measured", "%.1f GB/s read: at most %.1f tokens/s of one stream for each GB of weights",
	           ceilings->read_gb_s, ceilings->read_gb_s);
	for (int i = 0; i < ARITHMETIC_COUNT; i++)
		if (ceilings->gop_s[i] > 0)
			print_fact("", "%.0f GOP/s of %s", ceilings->gop_s[i], arithmetic_names[i]);
	print_fact("", "%.1f us for a parallel region", machine->region_us);
	printf("\n%s\n", machine->n_advice ? "What would give more:" : "Nothing to change was found.");
	for (int i = 0; i < machine->n_advice; i++)
		screen_print(0, 2, "- %s", machine->advice[i]);
}

static void write_arrays(const struct machine *machine, struct bytes *out)
{
	json_field_key(out, "instruction_sets");
	bytes_append_text(out, "[");
	const char *comma = "";
	for (enum isa isa = ISA_SCALAR; isa < ISA_COUNT; isa++)
		if (!isa_missing_feature(isa, &machine->cpu)) {
			bytes_append_format(out, "%s\"%s\"", comma, isa_name(isa));
			comma = ",";
		}
	bytes_append_text(out, "]");
	json_field_key(out, "advice");
	bytes_append_text(out, "[");
	for (int i = 0; i < machine->n_advice; i++) {
		bytes_append_text(out, i ? "," : "");
		json_write_string(out, machine->advice[i], strlen(machine->advice[i]));
	}
	bytes_append_text(out, "]");
}

static bool print_json(const struct machine *machine, struct error *error)
{
	static const char *const keys[ARITHMETIC_COUNT] = {
	    [ARITHMETIC_F32] = "f32", [ARITHMETIC_BF16] = "bf16", [ARITHMETIC_INT8] = "int8", [ARITHMETIC_TILES] = "tiles"};
	struct bytes out = {0};
	json_open(&out);
	json_field_text(&out, "cpu", machine->cpu.name);
	json_field_text(&out, "isa", isa_name(machine->isa));
	json_field_int(&out, "cpus", machine->topology.cpus);
	json_field_double(&out, "quota_cpus", machine->topology.quota);
	json_field_int(&out, "threads", machine->topology.threads);
	json_field_text(&out, "threads_reason", machine->threads_reason);
	json_field_text(&out, "governor", *machine->governor ? machine->governor : NULL);
	json_field_double(&out, "load", machine->load);
	json_field_uint(&out, "memory_limit_bytes", machine->memory_limit_bytes);
	json_field_text(&out, "memory_limit_source", machine->memory_limit_source);
	json_field_uint(&out, "memory_available_bytes", machine->memory_available_bytes);
	json_field_text(&out, "huge_pages", *machine->huge_pages ? machine->huge_pages : NULL);
	json_field_double(&out, "read_gb_s", machine->ceilings.read_gb_s);
	json_field_key(&out, "gop_s");
	json_open(&out);
	for (int i = 0; i < ARITHMETIC_COUNT; i++)
		if (machine->ceilings.gop_s[i] > 0)
			json_field_double(&out, keys[i], machine->ceilings.gop_s[i]);
	json_close(&out);
	json_field_double(&out, "region_us", machine->region_us);
	write_arrays(machine, &out);
	json_close(&out);
	bool ok = !out.failed || error_set(error, ERROR_MEMORY, "no memory for the report");
	if (ok)
		printf("%s\n", out.data);
	bytes_free(&out);
	return ok;
}

bool doctor_run(const struct options *options, struct error *error)
{
	struct machine machine = {0};
	read_facts(&machine);
	if (!measure(&machine, error))
		return false;
	find_advice(&machine);
	if (options->json)
		return print_json(&machine, error);
	print_table(&machine);
	return true;
}
