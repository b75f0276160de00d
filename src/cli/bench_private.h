/* Between the files of `tallow bench`: bench.c reads the options and goes through the weight types, bench_run.c measures
 * one of them, bench_print.c and bench_plot.c show what was found.
 */
#ifndef TALLOW_CLI_BENCH_PRIVATE_H
#define TALLOW_CLI_BENCH_PRIVATE_H

#include <stdio.h>

#include "base/platform.h"
#include "base/pool.h"
#include "cli/bench.h"
#include "kernels/ceilings.h"

enum { BENCH_MAX_LIST = 16, BENCH_MAX_ROWS = 3 * BENCH_MAX_LIST + 1, BENCH_MAX_REPEATS = 101, BENCH_MAX_READS = 8192 };

struct bench_list {
	int64_t values[BENCH_MAX_LIST];
	int n_values;
};

/* What to measure. */
struct bench_shapes {
	struct bench_list prefill, depths, streams;
	int n_repeats;
	bool all_repeats; /* asked for: also of what takes long */
	bool quick;
};

enum bench_phase { BENCH_PREFILL, BENCH_DECODE };

/* One row of the table. A step is a whole prompt, or one token of every stream. */
struct bench_row {
	enum bench_phase phase;
	int64_t tokens; /* of the prompt, or the depth */
	int n_streams;
	int n_threads;
	char left_out[100]; /* why it was not measured, else "" */
	int n_steps;        /* in one sample */
	int n_samples;
	double seconds;                   /* of all samples together */
	double rates[BENCH_MAX_REPEATS];  /* tokens per second, ascending in the end */
	double shares[BENCH_MAX_REPEATS]; /* of the ceiling measured beside the sample; the same */
	double gb, gflop;                 /* moved by a step: bytes of weights, keys and values; operations */
	enum arithmetic arithmetic;       /* that its products are made of */
	bool memory_bound;                /* which ceiling is the nearer one; else arithmetic */
};

/* What was found with one weight type. */
struct bench_result {
	const char *weights; /* "BF16": of most matrices */
	const char *kernels; /* "avx512" */
	double load_seconds;
	double resident_bytes, anonymous_bytes; /* what the model added */
	struct bench_row rows[BENCH_MAX_ROWS];
	int n_rows;
	int scaling; /* the row that ran with one thread, -1 when there is none; scaling - 1 is the one to compare with */
};

struct bench_report {
	struct platform_cpu cpu;
	int n_threads;
	struct ceilings ceilings;
	double reads_gb_s[BENCH_MAX_READS]; /* every pass of the read loops in turns with the rows */
	int n_reads;
	double read_median_gb_s; /* of these, in the end */
	double region_us;        /* what the pool itself takes per parallel region, median */
	double tokenizer_mb_s;
	struct bench_result results[BENCH_MAX_LIST]; /* one per weight type */
	int n_results;
};

/* Opens the model, measures, closes it. `read` and `pool` are for ceilings measured in turns with it. */
bool bench_measure(const struct model_options *options, const struct bench_shapes *shapes, struct read_probe *read,
                   struct pool *pool, struct bench_report *report, struct error *error) MUST_USE;

void bench_sort(double *values, int n_values);
double bench_median(const double *ascending, int n_values);
static inline double bench_steps_per_second(const struct bench_row *row)
{
	double tokens_per_step = row->phase == BENCH_PREFILL ? (double)row->tokens : row->n_streams;
	return bench_median(row->rates, row->n_samples) / tokens_per_step;
}
static inline bool bench_measured(const struct bench_row *row)
{
	return row->left_out[0] == '\0';
}

void bench_print_table(const struct bench_report *report);
void bench_print_json(const struct bench_report *report);
/* The roofline as SVG. False when there is no memory for it or it cannot be written. */
bool bench_plot(const struct bench_report *report, FILE *file) MUST_USE;

#endif
