/* `tallow bench`: what the model's prefill and decode reach, beside what the machine could do. */
#ifndef TALLOW_CLI_BENCH_H
#define TALLOW_CLI_BENCH_H

#include <stdbool.h>

#include "base/error.h"
#include "model/plan.h"

struct bench_options {
	struct model_options model;
	bool json;
	bool quick;            /* fewer repeats and shapes, for trying */
	int repeats;           /* of each measurement; the median counts. 0 = 5 */
	const char *text_path; /* a text to measure the tokenizer on, or NULL */
};

/* Measures and prints to standard output. */
bool bench_run(const struct bench_options *options, struct error *error) MUST_USE;

#endif
