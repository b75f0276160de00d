/* What drawing a token costs: CPU time of this thread per token, at a vocabulary as large as Llama 3's, for requests of several
 * kinds. Logits are drawn as a language model's are: a few likely tokens above a broad rest. `make bench-sampling`.
 *
 *     sampling [VOCABULARY]
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/sampler.h"

enum { VOCABULARY = 128256, N_ROUNDS = 60, N_TOKENS = 2000 };

static double cpu_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static double uniform(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return (double)(*state >> 11) / 9007199254740992.0;
}

/* Normal with a deviation of 2, and one in a thousand some 10 above. */
static void draw_logits(float *logits, size_t n, uint64_t *state)
{
	for (size_t i = 0; i < n; i++) {
		double radius = sqrt(-2 * log(1 - uniform(state))), angle = 6.283185307179586 * uniform(state);
		logits[i] = (float)(2 * radius * cos(angle) + (uniform(state) < 0.001 ? 5 + 10 * uniform(state) : 0));
	}
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

static void measure(const char *name, const struct sampling *sampling, const float *rows, size_t n_rows, int64_t n)
{
	struct sampler *sampler = sampler_create(n);
	float *logits = malloc((size_t)n * sizeof *logits);
	int32_t *tokens = malloc(N_TOKENS * sizeof *tokens);
	uint32_t *mask = calloc(((size_t)n + 31) / 32, sizeof *mask);
	double times[N_ROUNDS], mirostat = 2 * sampling->mirostat_tau;
	if (!sampler || !logits || !tokens || !mask)
		exit(2);
	for (int i = 0; i < N_TOKENS; i++)
		tokens[i] = (int32_t)(i * 7919LL % n);
	for (int64_t i = 0; i < n; i += 3)
		mask[i / 32] |= 1U << i % 32;
	bool masked = strcmp(name, "under a mask") == 0;
	for (int i = 0; i < N_ROUNDS; i++) {
		struct token_logprobs logprobs;
		struct sampler_place place = {.tokens = tokens,
		                              .n_tokens = N_TOKENS,
		                              .n_prompt = N_TOKENS / 2,
		                              .position = (uint64_t)i,
		                              .mask = masked ? mask : NULL,
		                              .n_mask = masked ? ((size_t)n + 31) / 32 : 0,
		                              .mirostat = &mirostat};
		memcpy(logits, rows + (size_t)i % n_rows * (size_t)n, (size_t)n * sizeof *logits);
		double start = cpu_ms();
		if (sampler_pick(sampler, logits, sampling, &place, &logprobs) < 0)
			exit(2);
		times[i] = cpu_ms() - start;
	}
	qsort(times, N_ROUNDS, sizeof *times, by_size);
	printf("  %-34s %7.3f ms, at most %7.3f\n", name, times[N_ROUNDS / 2], times[N_ROUNDS - 1]);
	sampler_destroy(sampler);
	free(logits);
	free(tokens);
	free(mask);
}

int main(int n_arguments, char **arguments)
{
	enum { N_ROWS = 8 };
	int64_t n = n_arguments > 1 ? strtoll(arguments[1], NULL, 10) : VOCABULARY;
	uint64_t state = 88172645463325252u;
	if (n < 1 || n > 1 << 24) {
		fprintf(stderr, "sampling [VOCABULARY]\n");
		return 2;
	}
	float *rows = malloc(N_ROWS * (size_t)n * sizeof *rows);
	if (!rows)
		return 2;
	draw_logits(rows, N_ROWS * (size_t)n, &state);
	struct sampling greedy = sampling_neutral, plain = sampling_neutral, usual = sampling_neutral, all, mirostat;
	greedy.temperature = 0;
	usual.temperature = 0.8;
	usual.top_k = 40;
	usual.top_p = 0.95;
	usual.min_p = 0.05;
	all = usual;
	all.repetition_penalty = 1.1;
	all.presence_penalty = all.frequency_penalty = 0.5;
	all.typical_p = 0.95;
	all.top_n_sigma = 3;
	all.dynamic_range = 0.2;
	all.xtc_probability = 0.5;
	all.xtc_threshold = 0.1;
	all.dry_multiplier = 0.8;
	mirostat = sampling_neutral;
	mirostat.mirostat_tau = 5;
	mirostat.mirostat_eta = 0.1;
	struct sampling top_p = sampling_neutral, told = usual;
	top_p.top_p = 0.9;
	told.logprobs = true;
	told.n_top_logprobs = 20;
	printf("CPU time per token, vocabulary of %lld:\n", (long long)n);
	measure("greedy", &greedy, rows, N_ROWS, n);
	measure("temperature 1", &plain, rows, N_ROWS, n);
	measure("top_p alone", &top_p, rows, N_ROWS, n);
	measure("top_k, top_p, min_p", &usual, rows, N_ROWS, n);
	measure("under a mask", &usual, rows, N_ROWS, n);
	measure("with 20 log-probabilities", &told, rows, N_ROWS, n);
	measure("penalties, DRY and every filter", &all, rows, N_ROWS, n);
	measure("mirostat", &mirostat, rows, N_ROWS, n);
	free(rows);
	return 0;
}
