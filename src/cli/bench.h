/* `tallow bench`: what the model's prefill and decode reach, beside what the machine could do. */
#ifndef TALLOW_CLI_BENCH_H
#define TALLOW_CLI_BENCH_H

#include <stdbool.h>

#include "base/error.h"
#include "model/plan.h"

/* Lists are as given, "32,128"; NULL = the default. */
struct bench_options {
	struct model_options model; /* its weight type comes from `weights` */
	const char *weights;        /* "bf16,q8": one after another */
	const char *prefill;        /* lengths */
	const char *depths;         /* at which one stream decodes */
	const char *streams;        /* that decode together */
	bool json;
	bool quick;            /* fewer repeats and shapes, for trying */
	int repeats;           /* of each measurement; the median counts. 0 = 5, fewer of what takes long */
	const char *text_path; /* a text to measure the tokenizer on, or NULL */
	const char *plot_path; /* an SVG file to write, or NULL */
};

/* Measures and prints to standard output. */
bool bench_run(const struct bench_options *options, struct error *error) MUST_USE;

#endif
