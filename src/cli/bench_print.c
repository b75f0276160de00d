/* What `tallow bench` found, as a table and as JSON. */
#include <math.h>

#include "base/bytes.h"
#include "base/json.h"
#include "cli/bench_private.h"

static const char *phase_name(const struct bench_row *row)
{
	return row->phase == BENCH_PREFILL ? "prefill" : "decode";
}

/* ---- table ---- */

static void print_ceilings(const struct bench_report *report)
{
	const struct ceilings *c = &report->ceilings;
	printf("%s, %d threads\n", report->cpu.name, report->n_threads);
	printf("machine: memory read %.1f GB/s at best (%s), %.1f median beside the rows (%.1f..%.1f)\n", c->read_gb_s,
	       c->read_loop, report->read_median_gb_s, report->reads_gb_s[0], report->reads_gb_s[report->n_reads - 1]);
	const char *before = "machine: ";
	for (int i = 0; i < ARITHMETIC_COUNT; i++)
		if (c->gop_s[i] > 0) {
			printf("%s%s %.0f GOP/s", before, arithmetic_names[i], c->gop_s[i]);
			before = ", ";
		}
	printf("\npool: %.1f us per parallel region\n", report->region_us);
	if (report->tokenizer_mb_s > 0)
		printf("tokenizer: %.1f MB/s\n", report->tokenizer_mb_s);
}

static void print_row(const struct bench_row *row)
{
	char spread[40];
	double steps_per_second = bench_steps_per_second(row);
	snprintf(spread, sizeof spread, "%.1f..%.1f", row->rates[0], row->rates[row->n_samples - 1]);
	printf("%-8s %7lld %8d %10.2f %17s %8.2f %9.1f %8.1f %9.1f %6.2f %s\n", phase_name(row), (long long)row->tokens,
	       row->n_streams, bench_median(row->rates, row->n_samples), spread, row->gb, row->gflop,
	       row->gb * steps_per_second, row->gflop * steps_per_second, bench_median(row->shares, row->n_samples),
	       row->memory_bound ? "memory" : arithmetic_names[row->arithmetic]);
}

static void print_scaling(const struct bench_result *result)
{
	if (result->scaling < 0)
		return;
	const struct bench_row *one = &result->rows[result->scaling], *all = one - 1;
	double one_rate = bench_median(one->rates, one->n_samples), all_rate = bench_median(all->rates, all->n_samples);
	printf("threads: prefill of %lld tokens, 1 thread %.2f tokens/s, %d threads %.2f: %.2f times\n",
	       (long long)one->tokens, one_rate, all->n_threads, all_rate, all_rate / one_rate);
}

static void print_result(const struct bench_result *result)
{
	printf("\nweights %s, kernels %s: loaded in %.2f s, %.0f MiB resident, %.0f MiB of it anonymous\n", result->weights,
	       result->kernels, result->load_seconds, result->resident_bytes / (1 << 20),
	       result->anonymous_bytes / (1 << 20));
	printf("%-8s %7s %8s %10s %17s %8s %9s %8s %9s  %s\n", "", "tokens", "streams", "tokens/s", "min..max", "GB/step",
	       "GOP/step", "GB/s", "GOP/s", "of ceiling");
	for (int i = 0; i < result->n_rows; i++)
		if (bench_measured(&result->rows[i]) && i != result->scaling)
			print_row(&result->rows[i]);
	print_scaling(result);
	for (int i = 0; i < result->n_rows; i++) {
		const struct bench_row *row = &result->rows[i];
		if (!bench_measured(row))
			printf("left out: %s, %lld tokens, streams %d: %s\n", phase_name(row), (long long)row->tokens,
			       row->n_streams, row->left_out);
	}
}

void bench_print_table(const struct bench_report *report)
{
	print_ceilings(report);
	for (int i = 0; i < report->n_results; i++)
		print_result(&report->results[i]);
	printf("\nA step is a whole prompt, or one token of every stream; its bytes are weights, keys and values, its "
	       "operations those of\nproducts and attention. The ceiling is the memory read beside the row or the "
	       "instructions of its products, whichever allows less.\n");
}

/* ---- JSON ---- */

/* What this machine has no instructions for is null. */
static void put_ceiling(struct bytes *out, const char *key, double value)
{
	json_field_double(out, key, value > 0 ? value : NAN);
}

static void put_row(struct bytes *out, const struct bench_row *row)
{
	json_open(out);
	json_field_text(out, "phase", phase_name(row));
	json_field_int(out, "tokens", row->tokens);
	json_field_int(out, "streams", row->n_streams);
	if (bench_measured(row)) {
		double steps_per_second = bench_steps_per_second(row);
		json_field_int(out, "threads", row->n_threads);
		json_field_int(out, "samples", row->n_samples);
		json_field_double(out, "tokens_per_second", bench_median(row->rates, row->n_samples));
		json_field_double(out, "min", row->rates[0]);
		json_field_double(out, "max", row->rates[row->n_samples - 1]);
		json_field_double(out, "gb_per_step", row->gb);
		json_field_double(out, "gop_per_step", row->gflop);
		json_field_double(out, "gb_per_second", row->gb * steps_per_second);
		json_field_double(out, "gop_per_second", row->gflop * steps_per_second);
		json_field_text(out, "bound", row->memory_bound ? "memory" : "arithmetic");
		json_field_text(out, "arithmetic", arithmetic_names[row->arithmetic]);
		json_field_double(out, "of_ceiling", bench_median(row->shares, row->n_samples));
	} else {
		json_field_text(out, "reason", row->left_out);
	}
	json_close(out);
}

static void put_rows(struct bytes *out, const char *key, const struct bench_result *result, bool measured)
{
	json_field_key(out, key);
	bytes_append_text(out, "[");
	bool first = true;
	for (int i = 0; i < result->n_rows; i++) {
		if (bench_measured(&result->rows[i]) != measured || i == result->scaling)
			continue;
		bytes_append_text(out, first ? "" : ",");
		put_row(out, &result->rows[i]);
		first = false;
	}
	bytes_append_text(out, "]");
}

static void put_scaling(struct bytes *out, const struct bench_result *result)
{
	json_field_key(out, "thread_scaling");
	if (result->scaling < 0) {
		bytes_append_text(out, "null");
		return;
	}
	const struct bench_row *one = &result->rows[result->scaling], *all = one - 1;
	double one_rate = bench_median(one->rates, one->n_samples), all_rate = bench_median(all->rates, all->n_samples);
	json_open(out);
	json_field_int(out, "prefill_tokens", one->tokens);
	json_field_int(out, "threads", all->n_threads);
	json_field_double(out, "one_thread_tokens_per_second", one_rate);
	json_field_double(out, "all_threads_tokens_per_second", all_rate);
	json_field_double(out, "ratio", all_rate / one_rate);
	json_close(out);
}

static void put_result(struct bytes *out, const struct bench_result *result)
{
	json_open(out);
	json_field_text(out, "weights", result->weights);
	json_field_text(out, "isa", result->kernels);
	json_field_double(out, "load_seconds", result->load_seconds);
	json_field_int(out, "resident_bytes", (int64_t)result->resident_bytes);
	json_field_int(out, "anonymous_bytes", (int64_t)result->anonymous_bytes);
	put_rows(out, "results", result, true);
	put_rows(out, "left_out", result, false);
	put_scaling(out, result);
	json_close(out);
}

void bench_print_json(const struct bench_report *report)
{
	const struct ceilings *c = &report->ceilings;
	struct bytes out = {0};
	json_open(&out);
	json_field_text(&out, "cpu", report->cpu.name);
	json_field_int(&out, "threads", report->n_threads);
	json_field_key(&out, "ceilings");
	json_open(&out);
	json_field_double(&out, "read_gb_s", c->read_gb_s);
	json_field_text(&out, "read_loop", c->read_loop);
	json_field_double(&out, "read_median_gb_s", report->read_median_gb_s);
	static const char *const keys[ARITHMETIC_COUNT] = {
	    [ARITHMETIC_F32] = "sgemm_gflop_s",
	    [ARITHMETIC_BF16] = "bf16_gflop_s",
	    [ARITHMETIC_INT8] = "int8_gop_s",
	    [ARITHMETIC_TILES] = "tiles_gflop_s",
	};
	for (int i = 0; i < ARITHMETIC_COUNT; i++)
		put_ceiling(&out, keys[i], c->gop_s[i]);
	json_close(&out);
	json_field_double(&out, "pool_region_us", report->region_us);
	put_ceiling(&out, "tokenizer_mb_s", report->tokenizer_mb_s);
	json_field_key(&out, "models");
	bytes_append_text(&out, "[");
	for (int i = 0; i < report->n_results; i++) {
		bytes_append_text(&out, i ? "," : "");
		put_result(&out, &report->results[i]);
	}
	bytes_append_text(&out, "]");
	json_close(&out);
	puts(out.failed ? "{}" : out.data);
	bytes_free(&out);
}
