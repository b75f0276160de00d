/* A day of load on the scheduler, in seconds: what the queue, the gaps and the priorities look like, so that its policy
 * can be changed with evidence.
 *
 *     simulate [--seed 1] [--hours 24] [--parallel 16] [--queue 64] [--max-gap-ms 250] [--rate 0.5] ...
 *
 * `simulate --help` lists all options with their defaults (simulation.h says what they mean). Times are those of the cost
 * model, not measured. Exit 1 when something that must hold did not.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "simulation.h"

struct row {
	const char *name;
	double *number;
	int *integer;
	double least, most;
};
#define NUMBER(name, field, least, most)                                                                               \
	{                                                                                                                  \
		name, &options->field, NULL, least, most                                                                       \
	}
#define INTEGER(name, field, least, most)                                                                              \
	{                                                                                                                  \
		name, NULL, &options->field, least, most                                                                       \
	}

static bool read_options(int argc, char **argv, struct simulation_options *options)
{
	double seed = (double)options->seed;
	const struct row rows[] = {
	    {"--seed", &seed, NULL, 0, 1e15},
	    NUMBER("--hours", hours, 0.01, 1000),
	    INTEGER("--parallel", n_parallel, 1, 1024),
	    INTEGER("--queue", max_waiting, 1, 100000),
	    INTEGER("--context", context, 2048, 1 << 20),
	    INTEGER("--pages", n_pages, 0, 1 << 24),
	    INTEGER("--tile", tile_rows, 1, 512),
	    INTEGER("--max-tokens", max_tokens, 1, 512),
	    NUMBER("--max-gap-ms", max_gap_ms, 1, 1e6),
	    NUMBER("--prefill-step-ms", prefill_step_ms, 0, 1e5),
	    NUMBER("--prefill-row-ms", prefill_row_ms, 1e-3, 1e4),
	    NUMBER("--prefill-row-depth-ms", prefill_row_depth_ms, 0, 1e4),
	    NUMBER("--decode-step-ms", decode_step_ms, 1e-3, 1e5),
	    NUMBER("--decode-row-ms", decode_row_ms, 0, 1e4),
	    NUMBER("--decode-row-depth-ms", decode_row_depth_ms, 0, 1e4),
	    NUMBER("--noise", noise, 0, 0.9),
	    NUMBER("--rate", requests_per_second, 0, 100),
	    NUMBER("--bursts-per-hour", bursts_per_hour, 0, 100),
	    INTEGER("--burst", burst_requests, 1, 10000),
	    NUMBER("--long-share", long_share, 0, 1),
	    NUMBER("--cancel-share", cancel_share, 0, 1),
	    INTEGER("--mean-output", mean_output, 1, 512),
	    INTEGER("--retries", retries, 0, 1000),
	};
	for (int i = 1; i < argc; i += 2) {
		const struct row *row = rows, *end = rows + sizeof rows / sizeof *rows;
		while (row < end && strcmp(row->name, argv[i]) != 0)
			row++;
		char *rest = argv[i];
		double value = row < end && i + 1 < argc ? strtod(argv[i + 1], &rest) : 0;
		if (row == end || i + 1 >= argc || *rest || rest == argv[i + 1] ||
		    !(value >= row->least && value <= row->most)) {
			if (row < end && i + 1 < argc)
				fprintf(stderr, "simulate: %s must be %g to %g (got %s)\n", row->name, row->least, row->most,
				        argv[i + 1]);
			for (row = rows; strcmp(argv[i], "--help") == 0 && row < end; row++)
				printf("  %-24s %g\n", row->name, row->number ? *row->number : *row->integer);
			if (strcmp(argv[i], "--help") != 0)
				fprintf(stderr, "simulate: see %s --help\n", argv[0]);
			return false;
		}
		if (row->number)
			*row->number = value;
		else
			*row->integer = (int)value;
	}
	options->seed = (int64_t)seed;
	return true;
}

static void print_tally(const char *name, const struct tally *tally, const char *unit)
{
	printf("  %-26s p50 %8.0f   p95 %8.0f   p99 %8.0f   max %8.0f %s\n", name, tally_quantile(tally, 0.5),
	       tally_quantile(tally, 0.95), tally_quantile(tally, 0.99), tally->max, unit);
}

static void print_result(const struct simulation_options *options, const struct simulation_result *result)
{
	int64_t came = 0, finished = 0, cancelled = 0, refused = 0;
	for (int i = 0; i < PRIORITY_LEVELS; i++) {
		came += result->by_priority[i].n_came;
		finished += result->by_priority[i].n_finished;
		cancelled += result->by_priority[i].n_cancelled;
		refused += result->by_priority[i].n_refused;
	}
	printf("%.1f hours, seed %lld: %d run, %d wait, a gap of %.0f ms is wanted\n", result->simulated_s / 3600,
	       (long long)options->seed, options->n_parallel, options->max_waiting, options->max_gap_ms);
	printf("  requests: %lld came, %lld finished, %lld cancelled, %lld refused for good\n", (long long)came,
	       (long long)finished, (long long)cancelled, (long long)refused);
	printf("  429 was answered %lld times, %lld came back and got in, %lld of them the first time they came back\n",
	       (long long)result->n_answers_429, (long long)result->n_came_back, (long long)result->n_in_at_first_return);
	printf("  %lld steps, busy %.0f%% of the time; %lld prompt tokens, %lld generated\n", (long long)result->n_steps,
	       100 * result->busy_s / result->simulated_s, (long long)result->n_prompt_tokens,
	       (long long)result->n_output_tokens);
	printf("  %lld pauses for want of pages, %lld tokens computed again\n", (long long)result->n_pauses,
	       (long long)result->n_computed_again);
	print_tally("queue length (of time)", &result->queue_length, "");
	print_tally("gap, nobody prefilling", &result->gap_ms, "ms");
	print_tally("gap beside prefill", &result->prefill_gap_ms, "ms");
	printf("  gaps that were longer than wanted: %.3f%%\n", 100 * result->late_gaps);
	print_tally("first token, long prompts", &result->first_token_long_ms, "ms");
	print_tally("Retry-After", &result->retry_after_s, "s");
	for (int i = PRIORITY_LEVELS - 1; i >= 0; i--) {
		const struct priority_result *level = &result->by_priority[i];
		printf("priority %d: %lld came, %lld finished, %lld cancelled, %lld refused; one was overtaken %lld times\n",
		       simulation_priorities[i], (long long)level->n_came, (long long)level->n_finished,
		       (long long)level->n_cancelled, (long long)level->n_refused, (long long)level->max_overtaken);
		print_tally("waiting", &level->waiting_ms, "ms");
		print_tally("time to first token", &level->first_token_ms, "ms");
	}
}

int main(int argc, char **argv)
{
	static struct simulation_result result;
	struct simulation_options options = simulation_defaults;
	if (!read_options(argc, argv, &options))
		return argc == 2 && strcmp(argv[1], "--help") == 0 ? 0 : 2;
	if (!simulation_run(&options, &result)) {
		fprintf(stderr, "simulate: no memory for the load\n");
		return 1;
	}
	print_result(&options, &result);
	if (result.violation[0])
		printf("WRONG: %s\n", result.violation);
	return result.violation[0] ? 1 : 0;
}
