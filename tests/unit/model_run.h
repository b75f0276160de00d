/* Models opened and run by tests, in every kernel set that this CPU has. */
#ifndef TALLOW_TESTS_MODEL_RUN_H
#define TALLOW_TESTS_MODEL_RUN_H

#include <string.h>

#include "model/timeline.h"
#include "watched.h"

static const enum isa sets[] = {ISA_SCALAR, ISA_AVX2, ISA_AVX2VNNI, ISA_AVX512, ISA_AMX, ISA_NEON};
static const char *const set_names[] = {"scalar", "avx2", "avx2vnni", "avx512", "amx", "neon"};
enum { N_SETS = sizeof sets / sizeof *sets };

static inline bool is_supported(enum isa isa)
{
	struct error error;
	struct kernels *kernels = kernels_create(isa, COMPUTE_F32, 1, 64, &error);
	kernels_destroy(kernels);
	return kernels != NULL;
}

/* Whether the turn-th model of a test runs in a set: in all that this CPU has. Where a sanitizer watches, a model has one set,
 * and each set its share of the models. */
static inline bool runs_in(int turn, int set)
{
	int n = 0, place = 0;
	for (int i = 0; i < N_SETS && IS_WATCHED; i++) {
		place = i == set ? n : place;
		n += is_supported(sets[i]);
	}
	return is_supported(sets[set]) && (n == 0 || turn % n == place);
}

struct run {
	struct model *model;
	int64_t n_tokens; /* that its sequences are made for; the whole context until set */
};

enum { AS_IN_FILE = DTYPE_COUNT };
struct variant {
	enum compute compute;
	int weights; /* enum dtype, or AS_IN_FILE */
};

static inline void run_open_as(struct run *run, const char *path, enum isa isa, struct variant variant, enum dtype kv,
                               int n_threads)
{
	struct error error;
	struct model_options options = {
	    .weights_auto = variant.weights == AS_IN_FILE,
	    .weights_type = variant.weights == AS_IN_FILE ? DTYPE_F32 : (enum dtype)variant.weights,
	    .path = path,
	    .isa = isa,
	    .compute = variant.compute,
	    .n_threads = n_threads,
	    .context = 512,
	    .n_parallel = 3,
	    .kv_type = kv,
	    .max_logit_rows = 384,
	};
	run->model = model_open(&options, NULL, NULL, &error);
	if (!run->model)
		fail_msg("%s", error.message);
	run->n_tokens = options.context;
}

static inline void run_open(struct run *run, const char *path, enum isa isa, enum compute compute, enum dtype kv,
                            int n_threads)
{
	run_open_as(run, path, isa, (struct variant){compute, AS_IN_FILE}, kv, n_threads);
}

static inline struct timeline *timeline_open(struct model *model, int64_t n_tokens)
{
	struct error error;
	struct timeline *timeline = timeline_create(model, n_tokens, &error);
	if (!timeline)
		fail_msg("%s", error.message);
	return timeline;
}

/* Logits [n, vocab] of all positions: prefill in slices up to `decode_from`, one by one after. */
static inline void all_logits(struct run *run, const int32_t *tokens, int n, int slice, int decode_from, float *out)
{
	int64_t vocab = model_config(run->model)->vocab_size;
	struct timeline *timeline = timeline_open(run->model, run->n_tokens);
	for (int at = 0; at < n;) {
		bool decoding = at >= decode_from;
		int rows = decoding ? 1 : slice < n - at ? slice : n - at;
		if (!decoding && at + rows > decode_from)
			rows = decode_from - at;
		const float *logits = timeline_step(timeline, tokens + at, rows, decoding ? ROWS_DECODE : ROWS_PREFILL, rows);
		memcpy(out + at * vocab, logits, (size_t)(rows * vocab) * sizeof *out);
		at += rows;
	}
	timeline_destroy(timeline);
}

#endif
