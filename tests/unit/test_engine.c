/* The engine with a real model (the shipped one): what a request gets does not depend on what else runs, on cached
 * prefixes, slices or threads; and whatever happens to requests, all pages come back. And the prefix cache alone. */
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/log.h"
#include "base/platform.h"
#include "engine/engine.h"
#include "engine/engine_private.h"
#include "engine/prefix_cache.h"
#include "kernel_check.h"
#include "model/plan.h"
#include "model_files.h"
#include "watched.h"

enum { PAGE_TOKENS = 4, MAX_OUTPUT = 32, MAX_PROMPT = 240, N_JOBS = 17, FEW_JOBS = 6 };

/* ---- the prefix cache ---- */

static struct kv_pool *make_pool(int n_pages)
{
	struct error error = {0};
	struct kv_shape shape = {.k_type = DTYPE_F16,
	                         .v_type = DTYPE_F16,
	                         .n_layers = 1,
	                         .n_kv_heads = 1,
	                         .head_dim = 32,
	                         .page_tokens = PAGE_TOKENS};
	struct kv_pool *pool = kv_pool_create(&shape, n_pages, &error);
	assert_non_null(pool);
	return pool;
}

/* Fills n pages from tokens as a sequence would, publishes and releases them. */
static void fill(struct prefix_cache *cache, uint64_t key, const int32_t *tokens, int n)
{
	struct prefix_chain chain = {.key = key};
	int32_t pages[16];
	for (int i = 0; i < n; i++) {
		pages[i] = prefix_cache_take(cache, key);
		assert_true(pages[i] >= 0);
		prefix_cache_add(cache, &chain, tokens + i * PAGE_TOKENS, pages[i]);
	}
	prefix_cache_release(cache, pages, n);
}

/* Takes what the cache has of n pages of tokens. */
static int take_chain(struct prefix_cache *cache, struct prefix_chain chain, const int32_t *tokens, int n,
                      int32_t *pages)
{
	for (int i = 0; i < n; i++)
		if ((pages[i] = prefix_cache_find(cache, &chain, tokens + i * PAGE_TOKENS)) < 0)
			return i;
	return n;
}

static int find_chain(struct prefix_cache *cache, struct prefix_chain chain, const int32_t *tokens, int most)
{
	int32_t pages[16];
	int n = take_chain(cache, chain, tokens, most, pages);
	prefix_cache_release(cache, pages, n);
	return n;
}

static int find(struct prefix_cache *cache, uint64_t key, const int32_t *tokens, int most)
{
	return find_chain(cache, (struct prefix_chain){.key = key}, tokens, most);
}

static void prefixes_are_found_by_key_and_tokens(void **state)
{
	(void)state;
	const int32_t a[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, b[] = {1, 2, 3, 4, 5, 6, 7, 9, 9, 10, 11, 12};
	struct kv_pool *pool = make_pool(8);
	struct prefix_cache *cache = prefix_cache_create(pool, PAGE_TOKENS);
	assert_int_equal(find(cache, 0, a, 3), 0);
	fill(cache, 0, a, 3);
	assert_int_equal(find(cache, 0, a, 3), 3);
	assert_int_equal(find(cache, 0, a, 2), 2);
	assert_int_equal(find(cache, 1, a, 3), 0); /* another key */
	assert_int_equal(find_chain(cache, (struct prefix_chain){.rope_variant = 1}, a, 3), 0);
	assert_int_equal(find(cache, 0, b, 3), 1); /* the third page equals, what is before it does not */
	assert_int_equal(find(cache, 0, a + PAGE_TOKENS, 2), 0);
	fill(cache, 0, b, 3);
	assert_int_equal(find(cache, 0, b, 3), 3);
	assert_int_equal(find(cache, 0, a, 3), 3);
	assert_int_equal(prefix_cache_pages(cache), 5); /* the first page is one */
	assert_int_equal(kv_pool_free(pool), 3);
	prefix_cache_destroy(cache);
	assert_int_equal(kv_pool_free(pool), 8);
	kv_pool_destroy(pool);
}

static void the_least_recently_used_make_room(void **state)
{
	(void)state;
	int32_t tokens[3][2 * PAGE_TOKENS];
	for (int i = 0; i < 3; i++)
		for (int j = 0; j < 2 * PAGE_TOKENS; j++)
			tokens[i][j] = i * 100 + j;
	struct kv_pool *pool = make_pool(4);
	struct prefix_cache *cache = prefix_cache_create(pool, PAGE_TOKENS);
	fill(cache, 0, tokens[0], 2);
	fill(cache, 0, tokens[1], 2);
	assert_int_equal(find(cache, 0, tokens[0], 2), 2); /* used again: 1 is the oldest now */
	int32_t page = prefix_cache_take(cache, 0);
	assert_int_equal(find(cache, 0, tokens[1], 2), 1); /* its end went, its beginning is still of use */
	assert_int_equal(find(cache, 0, tokens[0], 2), 2);
	/* Pages that a sequence holds stay, however old. */
	int32_t held[2] = {-1, -1};
	assert_int_equal(take_chain(cache, (struct prefix_chain){0}, tokens[0], 2, held), 2);
	int32_t second = prefix_cache_take(cache, 0);
	assert_true(second >= 0 && second != held[0] && second != held[1]);
	assert_int_equal(prefix_cache_take(cache, 0), -1);
	prefix_cache_release(cache, held, 2);
	assert_int_equal(prefix_cache_pages(cache), 2);
	assert_true(prefix_cache_take(cache, 0) == held[1]); /* the end of a prefix goes before its beginning */
	kv_page_release(pool, page);
	prefix_cache_destroy(cache);
	kv_pool_destroy(pool);
}

/* What the page holds: one byte, all over; -1 where it is not. */
static int held(struct kv_pool *pool, int32_t page)
{
	const unsigned char *data = kv_page_data(pool, page);
	for (size_t i = 0; i < 4096; i++)
		if (data[i] != data[0])
			return -1;
	return data[0];
}

static void a_page_is_wiped_when_its_key_changes(void **state)
{
	(void)state;
	int32_t tokens[2 * PAGE_TOKENS] = {5, 6, 7};
	struct kv_pool *pool = make_pool(2);
	struct prefix_cache *cache = prefix_cache_create(pool, PAGE_TOKENS);
	int32_t pages[2] = {prefix_cache_take(cache, 1), prefix_cache_take(cache, 1)};
	struct prefix_chain chain = {.key = 1};
	for (int i = 0; i < 2; i++) {
		memset(kv_page_data(pool, pages[i]), 7, 4096);
		prefix_cache_add(cache, &chain, tokens + i * PAGE_TOKENS, pages[i]);
	}
	prefix_cache_release(cache, pages, 2);
	int32_t again = prefix_cache_take(cache, 1); /* its own may stay */
	prefix_cache_wipe(cache);
	assert_int_equal(held(pool, again), 7);
	prefix_cache_release(cache, &again, 1);
	for (int i = 0; i < 2; i++)
		pages[i] = prefix_cache_take(cache, 2); /* one from the pool, one that the cache gives up */
	assert_int_equal(prefix_cache_take(cache, 2), -1);
	prefix_cache_wipe(cache);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(held(pool, pages[i]), 0);
		memset(kv_page_data(pool, pages[i]), 9, 4096);
	}
	prefix_cache_wipe(cache); /* once */
	assert_int_equal(held(pool, pages[0]), 9);
	/* There and back between two wipes: what the first key wrote goes all the same. */
	prefix_cache_release(cache, pages, 2);
	int32_t page = prefix_cache_take(cache, 1);
	prefix_cache_release(cache, &page, 1);
	assert_int_equal(prefix_cache_take(cache, 2), page);
	prefix_cache_wipe(cache);
	assert_int_equal(held(pool, page), 0);
	prefix_cache_release(cache, &page, 1);
	prefix_cache_destroy(cache);
	kv_pool_destroy(pool);
}

/* ---- the engine ---- */

struct setup {
	const char *path; /* NULL: the shipped model */
	enum isa isa;
	bool weights_auto;
	enum dtype weights;
	int n_threads, n_parallel, max_gap_ms;
	int64_t context; /* 0: 512 */
	enum pooling pooling;
	uint64_t kv_memory_bytes;
};

static struct engine *open_engine(const struct setup *setup)
{
	struct error error = {0};
	struct model_options model = {
	    .path = setup->path ? setup->path : "models/tallow-tiny",
	    .isa = setup->isa,
	    .weights_auto = setup->weights_auto,
	    .weights_type = setup->weights,
	    .kv_auto = true,
	    .n_threads = setup->n_threads,
	    .n_parallel = setup->n_parallel,
	    .context = setup->context ? setup->context : 512,
	    .kv_memory_bytes = setup->kv_memory_bytes,
	};
	struct engine_options options = {
	    .model = &model, .max_gap_ms = setup->max_gap_ms, .max_queue = 100, .pooling = setup->pooling};
	struct engine *engine = engine_create(&options, &error);
	assert_non_null(engine);
	assert_true(engine_start(engine, &error));
	if (!engine_wait_ready(engine, 600000, &error))
		fail_msg("%s", error.message);
	return engine;
}

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* A job: drawn from a seed, so that every engine gets the same ones. Prompts share beginnings. */
struct job {
	int32_t prompt[MAX_PROMPT];
	struct request request;
	int n_tokens, n_text;
	int32_t tokens[MAX_OUTPUT]; /* the first of them */
	int32_t all[512];
	uint64_t hash, logprob_hash; /* of all */
	char text[4096];
	struct token_logprobs logprobs[MAX_OUTPUT];
	enum error_code code; /* NONE: it ended as it should */
	int64_t n_cached;     /* prompt tokens it did not compute */
};

static void make_job(struct job *job, int number)
{
	uint64_t state = 88172645463325252u + (uint64_t)number * 1000003u;
	for (int i = 0; i < 4; i++)
		next_random(&state);
	int64_t n_prompt = 1 + (int64_t)(next_random(&state) % (MAX_PROMPT - 1));
	for (int64_t i = 0; i < n_prompt; i++) /* one of three beginnings of 100 tokens */
		job->prompt[i] =
		    (int32_t)(i < 100 ? 300 + (i * 7 + number % 3 * 31) % 500 : 300 + (int64_t)(next_random(&state) % 500));
	job->request = (struct request){
	    .prompt = job->prompt,
	    .n_prompt = n_prompt,
	    .max_tokens = 1 + (int64_t)(next_random(&state) % MAX_OUTPUT),
	    .sampling = {.temperature = number % 2 ? 1.0f : 0.0f,
	                 .top_p = 1,
	                 .repetition_penalty = 1,
	                 .seed = (uint64_t)number,
	                 .frequency_penalty = number % 5 == 1 ? 0.5 : 0,
	                 .mirostat_tau = number % 8 == 3 ? 4 : 0,
	                 .mirostat_eta = 0.1,
	                 .logprobs = number % 3 == 0,
	                 .n_top_logprobs = number % 4},
	    .ignore_eos = true,
	    .priority = number % 3,
	};
	/* Words that the shipped model says all the time. */
	static const struct bad_word words[] = {{" the", 4}, {"nd", 2}, {"s ", 2}};
	if (number % 4 == 1) {
		job->request.sampling.bad_words = words;
		job->request.sampling.n_bad_words = sizeof words / sizeof *words;
	}
	snprintf(job->request.job_id, sizeof job->request.job_id, "job-%d", number);
}

static struct stream *submit(struct engine *engine, const struct job *job)
{
	struct error error = {0};
	struct stream *stream = engine_submit(engine, &job->request, NULL, &error);
	if (!stream)
		fail_msg("%s", error.message);
	return stream;
}

static void wait_for_events(struct stream *stream)
{
	poll(&(struct pollfd){.fd = stream_fd(stream), .events = POLLIN}, 1, -1);
}

/* False: it ended before. */
static bool read_first_token(struct stream *stream)
{
	struct event event;
	for (;;) {
		while (stream_next(stream, &event))
			if (event.type != EVENT_STARTED)
				return event.type == EVENT_TOKEN;
		wait_for_events(stream);
	}
}

static uint64_t bits_of(double number)
{
	uint64_t bits;
	memcpy(&bits, &number, sizeof bits);
	return bits;
}

/* Reads a stream to its end. Returns the tokens that were in the cache when it started. */
static int64_t drain(struct stream *stream, struct job *job)
{
	struct event event;
	int64_t cached = -1;
	job->n_tokens = job->n_text = 0;
	job->hash = job->logprob_hash = 0;
	for (bool ended = false; !ended;) {
		while (!ended && stream_next(stream, &event)) {
			if (event.type == EVENT_STARTED)
				cached = event.cached_tokens;
			if (event.type == EVENT_TOKEN && job->n_tokens < MAX_OUTPUT)
				job->tokens[job->n_tokens] = event.token;
			if (event.type == EVENT_TOKEN) {
				assert_int_equal(event.logprobs != NULL, job->request.sampling.logprobs);
				if (event.logprobs && job->n_tokens < MAX_OUTPUT)
					job->logprobs[job->n_tokens] = *event.logprobs;
			}
			if (event.type == EVENT_TOKEN)
				job->hash = job->hash * 1000003 + (uint64_t)event.token;
			if (event.type == EVENT_TOKEN && job->n_tokens < 512)
				job->all[job->n_tokens] = event.token;
			if (event.type == EVENT_TOKEN && event.logprobs)
				job->logprob_hash = job->logprob_hash * 1000003 + bits_of(event.logprobs->logprob);
			job->n_tokens += event.type == EVENT_TOKEN;
			if (event.type == EVENT_TOKEN && job->n_text + (int)event.n_text_bytes < (int)sizeof job->text) {
				memcpy(job->text + job->n_text, event.text, event.n_text_bytes);
				job->n_text += (int)event.n_text_bytes;
			}
			if (event.type == EVENT_END)
				job->n_cached = event.cached_tokens;
			ended = event.type == EVENT_END || event.type == EVENT_ERROR;
			job->code = event.type == EVENT_ERROR ? event.error.code : ERROR_NONE;
		}
		if (!ended)
			wait_for_events(stream);
	}
	stream_close(stream);
	return cached;
}

static void wait_until_idle(struct engine *engine)
{
	while (!engine_idle(engine))
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
}

static void check_all_pages_are_back(struct engine *engine)
{
	struct engine_status status;
	for (int i = 0; i < 100000; i++) { /* a cancelled request gives its pages back with the next step */
		engine_status(engine, &status);
		if (status.kv_pages_free + status.kv_pages_cached == status.kv_pages_total)
			break;
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	}
	assert_int_equal(status.kv_pages_free + status.kv_pages_cached, status.kv_pages_total);
	assert_int_equal(status.active + status.queued, 0);
}

static struct job alone[N_JOBS], together[N_JOBS];
static int n_jobs = N_JOBS; /* emulators and sanitizers have time for a few */

static void check_same_answer(const struct job *job, const struct job *expected)
{
	assert_int_equal(job->code, ERROR_NONE);
	assert_int_equal(job->n_tokens, job->request.max_tokens);
	assert_int_equal(job->n_tokens, expected->n_tokens);
	assert_memory_equal(job->tokens, expected->tokens, (size_t)expected->n_tokens * sizeof *job->tokens);
	assert_int_equal(job->n_text, expected->n_text);
	assert_memory_equal(job->text, expected->text, (size_t)expected->n_text);
}

/* Bit by bit; and each is a log-probability that sets the token among those it is compared with. */
static void check_same_logprobs(const struct job *job, const struct job *expected)
{
	for (int i = 0; job->request.sampling.logprobs && i < job->n_tokens; i++) {
		const struct token_logprobs *given = &job->logprobs[i], *wanted = &expected->logprobs[i];
		assert_memory_equal(&given->logprob, &wanted->logprob, sizeof given->logprob);
		assert_int_equal(given->rank, wanted->rank);
		assert_int_equal(given->n_top, job->request.sampling.n_top_logprobs);
		assert_int_equal(given->n_top, wanted->n_top);
		assert_true(given->logprob <= 0 && given->rank >= 1);
		for (int j = 0; j < given->n_top; j++) {
			assert_memory_equal(&given->top[j].logprob, &wanted->top[j].logprob, sizeof given->top[j].logprob);
			assert_int_equal(given->top[j].token, wanted->top[j].token);
			assert_int_equal(given->top[j].token == job->tokens[i], given->rank == j + 1);
		}
	}
}

/* Each alone in a cold engine on one thread; then all at once, twice (the second time with a warm cache), in engines that
 * slice prefill finely, on two threads, with hardly enough pages. */
static void check_same_text(struct setup setup)
{
	setup.n_threads = setup.n_parallel = 1;
	setup.max_gap_ms = 1000;
	struct engine *engine = NULL;
	for (int i = 0; i < n_jobs; i++) {
		if (i % 8 == 0) { /* the cache is cold for most */
			engine_destroy(engine);
			engine = open_engine(&setup);
		}
		make_job(&alone[i], i);
		alone[i].request.cache_key = (uint64_t)i + 1; /* and nobody shares */
		assert_int_equal(drain(submit(engine, &alone[i]), &alone[i]), 0);
	}
	engine_destroy(engine);

	setup.n_threads = 2;
	setup.n_parallel = 16;
	setup.max_gap_ms = 1;
	setup.kv_memory_bytes = setup.weights == DTYPE_F32 && !setup.weights_auto ? 12 << 20 : 6 << 20; /* f32 keys, too */
	engine = open_engine(&setup);
	int64_t cached = 0;
	for (int round = 0; round < 2; round++) {
		struct stream *streams[N_JOBS];
		for (int i = 0; i < n_jobs; i++) {
			make_job(&together[i], i);
			streams[i] = submit(engine, &together[i]);
		}
		for (int i = 0; i < n_jobs; i++) {
			cached += drain(streams[i], &together[i]);
			check_same_answer(&together[i], &alone[i]);
			check_same_logprobs(&together[i], &alone[i]);
		}
	}
	assert_true(cached > 0);
	check_all_pages_are_back(engine);
	engine_destroy(engine);
}

/* Every set that this CPU has with weights that it treats in different ways: test_matmul has the others' bits. The scalar set
 * is slow; so is a watched build, where test_model and test_timeline have the sets that are left out. */
static void company_and_cache_do_not_change_the_text(void **state)
{
	(void)state;
	for (size_t i = 0; i < N_ISAS; i++) {
		if (all_isas[i] == ISA_AVX512VNNI)
			continue; /* that of AVX512 for few bits, of AVX512BW for others */
		struct kernels *set = all_isas[i] == ISA_SCALAR ? NULL : open_set(all_isas[i], COMPUTE_AUTO, 64);
		if (!set)
			continue;
		kernels_destroy(set);
		check_same_text((struct setup){.isa = all_isas[i], .weights = DTYPE_Q8});
		if (all_isas[i] != ISA_AVX2VNNI && !IS_WATCHED) /* that of AVX2 but for few bits */
			check_same_text((struct setup){.isa = all_isas[i], .weights = DTYPE_BF16});
	}
	check_same_text((struct setup){.weights = DTYPE_Q4});
	check_same_text((struct setup){.weights = DTYPE_F16});
	check_same_text((struct setup){.isa = ISA_SCALAR, .weights_auto = true});
}

/* The shipped model in a folder of its own, for another config.json. */
static struct folder copy_model(void)
{
	static const char *const files[] = {"model.safetensors", "tokenizer.json", "tokenizer_config.json"};
	struct folder folder = folder_make();
	char target[1024];
	for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
		assert_non_null(getcwd(target, sizeof target - 64));
		snprintf(target + strlen(target), 64, "/models/tallow-tiny/%s", files[i]);
		assert_int_equal(symlink(target, folder_file(&folder, files[i])), 0);
	}
	return folder;
}

static const char config_with_rope[] =
    "{\"architectures\":[\"LlamaForCausalLM\"],\"vocab_size\":1024,\"hidden_size\":256,"
    "\"intermediate_size\":768,\"num_hidden_layers\":4,\"num_attention_heads\":4,"
    "\"num_key_value_heads\":2,\"rms_norm_eps\":1e-5,\"tie_word_embeddings\":true,"
    "\"max_position_embeddings\":%s,\"rope_scaling\":{\"type\":\"%s\",\"factor\":8%s%s}}";

/* The shipped model with another rope: what a request gets depends on how long it may grow, and so do the pages that it may
 * share. */
static void rope_that_depends_on_the_length_does_not_mix(void **state)
{
	(void)state;
	struct bytes factors = {0}, text = {0};
	struct folder folder = copy_model();
	bytes_append_format(&text, config_with_rope, "128", "dynamic", "", "");
	folder_write(&folder, "config.json", text.data);
	check_same_text((struct setup){.path = folder.path, .weights_auto = true});

	for (int i = 0; i < 64; i++) /* short_factor, then long_factor */
		bytes_append_format(&factors, "%s%.2f",
		                    i == 0    ? ",\"short_factor\":["
		                    : i == 32 ? "],\"long_factor\":["
		                              : ",",
		                    i < 32 ? 1 + i * 0.01 : 1 + (i - 32) * 0.2);
	bytes_clear(&text);
	bytes_append_format(&text, config_with_rope, "512", "longrope", factors.data,
	                    "],\"original_max_position_embeddings\":128");
	folder_write(&folder, "config.json", text.data);
	check_same_text((struct setup){.path = folder.path, .weights_auto = true});
	bytes_free(&factors);
	bytes_free(&text);
	folder_remove(&folder);
}

/* The kernels of OpenBLAS for another CPU, in the set that calls it. */
static void avx2_with_another_openblas(void **state)
{
	(void)state;
	struct kernels *set = open_set(ISA_AVX2, COMPUTE_AUTO, 64);
	if (!set)
		return;
	kernels_destroy(set);
	check_same_text((struct setup){.isa = ISA_AVX2, .weights = DTYPE_BF16});
	check_same_text((struct setup){.isa = ISA_AVX2, .weights = DTYPE_F32});
}

static const char *program;

static void another_openblas_keeps_the_promise(void **state)
{
	if (!IS_WATCHED && !run_again_with_haswell(program))
		avx2_with_another_openblas(state);
}

/* A bias that makes every token EOS, against min_tokens. */
static void min_tokens_and_biases_reach_the_sampler(void **state)
{
	(void)state;
	struct engine *engine = open_engine(&(struct setup){.weights_auto = true, .n_threads = 1, .n_parallel = 2});
	for (int min_tokens = 0; min_tokens < 8; min_tokens += 7) {
		static struct job job;
		struct logit_bias bias = {.token = 2, .bias = 100};
		make_job(&job, 1);
		job.request.ignore_eos = false;
		job.request.max_tokens = 20;
		job.request.sampling.min_tokens = min_tokens;
		job.request.sampling.biases = &bias;
		job.request.sampling.n_biases = 1;
		struct stream *stream = submit(engine, &job);
		bias = (struct logit_bias){.token = 5, .bias = 100}; /* the engine has its own copy */
		drain(stream, &job);
		assert_int_equal(job.code, ERROR_NONE);
		assert_int_equal(job.n_tokens, min_tokens);
	}
	/* An end that is drawn first counts as a first token. */
	struct engine_metrics metrics;
	engine_metrics(engine, &metrics);
	assert_int_equal(metrics.time_to_first_token.n, 2);
	assert_int_equal(metrics.prefill.n, 2);
	assert_int_equal(metrics.decode.n, 2);
	assert_int_equal(metrics.tokens_generated, 7);
	engine_destroy(engine);
}

static void sampling_out_of_range_is_refused(void **state)
{
	(void)state;
	struct engine *engine = open_engine(&(struct setup){.weights_auto = true, .n_threads = 1, .n_parallel = 2});
	static const struct logit_bias bad[] = {{.token = -1}, {.token = 1 << 30}, {.token = 1, .bias = 100.5F}};
	static const struct logit_bias many[SAMPLING_MAX_BIASES + 1];
	const struct sampling cases[] = {
	    {.biases = &bad[0], .n_biases = 1},
	    {.biases = &bad[1], .n_biases = 1},
	    {.biases = &bad[2], .n_biases = 1},
	    {.biases = many, .n_biases = SAMPLING_MAX_BIASES + 1},
	    {.logprobs = true, .n_top_logprobs = SAMPLING_MAX_TOP_LOGPROBS + 1},
	    {.n_dry_breakers = 1 << 30},
	    {.n_stop_tokens = SAMPLING_MAX_STOP_TOKENS + 1},
	    {.has_order = true, .n_order = STAGE_COUNT + 1},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		static struct job job;
		struct error error = {0};
		make_job(&job, 1);
		job.request.sampling = cases[i];
		assert_null(engine_submit(engine, &job.request, NULL, &error));
		assert_int_equal(error.code, ERROR_INVALID_REQUEST);
	}
	engine_destroy(engine);
}

/* A second request with the same long prompt computes its end only, also while the first still runs. */
static void a_prefix_is_shared_while_its_first_request_runs(void **state)
{
	(void)state;
	struct engine *engine = open_engine(&(struct setup){.weights_auto = true, .n_threads = 2, .n_parallel = 4});
	struct engine_status status;
	engine_status(engine, &status);
	int page_tokens = status.kv_page_tokens;
	static struct job first, second;
	make_job(&first, 1);
	first.request.n_prompt = 200;
	first.request.max_tokens = 300;
	for (int i = 0; i < 200; i++)
		first.prompt[i] = 300 + i;
	second = first;
	second.request.prompt = second.prompt;
	second.request.max_tokens = 2;
	strcpy(second.request.job_id, "second");
	struct stream *running = submit(engine, &first);
	assert_true(read_first_token(running));
	assert_int_equal(drain(submit(engine, &second), &second), 199 / page_tokens * page_tokens);
	second.request.cache_key = 7; /* another user */
	assert_int_equal(drain(submit(engine, &second), &second), 0);
	assert_true(engine_cancel(engine, 0, first.request.job_id));
	drain(running, &first);
	check_all_pages_are_back(engine);
	engine_destroy(engine);
}

/* Whoever does not read is cancelled when as much waits for it as may; those beside it get what they get alone. */
static void who_does_not_read_is_cancelled_and_nobody_notices(void **state)
{
	(void)state;
	struct bytes text = {0};
	struct folder folder = copy_model();
	bytes_append_format(&text, config_with_rope, "2048", "linear", "", "");
	folder_write(&folder, "config.json", text.data);
	struct engine *engine = open_engine(
	    &(struct setup){.path = folder.path, .weights_auto = true, .n_threads = 2, .n_parallel = 3, .context = 2048});
	static struct job lazy, expected, beside;
	make_job(&lazy, 1);
	lazy.request.max_tokens = 1800;
	make_job(&expected, 2);
	make_job(&beside, 2);
	drain(submit(engine, &expected), &expected);

	struct stream *unread = submit(engine, &lazy);
	struct engine_status status;
	int n_beside = 0;
	do {
		beside.request.cache_key = (uint64_t)++n_beside;
		drain(submit(engine, &beside), &beside);
		check_same_answer(&beside, &expected);
		engine_status(engine, &status);
	} while (status.active > 0);
	assert_true(n_beside > 3);
	drain(unread, &lazy);
	assert_int_equal(lazy.code, ERROR_CANCELLED);
	assert_int_equal(lazy.n_tokens, 1023); /* and `started` before them */
	check_all_pages_are_back(engine);

	/* The longest answer that fits is whole; of one that is a token longer the end does not come as if nothing lacked. */
	for (int n_more = 0; n_more < 2; n_more++) {
		lazy.request.max_tokens = 1023 + n_more;
		unread = submit(engine, &lazy);
		wait_until_idle(engine);
		drain(unread, &lazy);
		assert_int_equal(lazy.code, n_more ? ERROR_CANCELLED : ERROR_NONE);
		assert_int_equal(lazy.n_tokens, 1023);
	}
	engine_destroy(engine);
	bytes_free(&text);
	folder_remove(&folder);
}

/* One request generates, one is prefilled beside it (a row at a time), one waits, each for so many milliseconds. True when
 * each was at that when its time was up, which is for the machine to say. */
static bool deadlines_find_every_phase(struct engine *engine, int64_t ms)
{
	static struct job decodes, prefills, waits;
	make_job(&decodes, 1);
	make_job(&prefills, 2);
	make_job(&waits, 3);
	decodes.request.n_prompt = 1;
	decodes.request.max_tokens = 500;
	prefills.request.n_prompt = MAX_PROMPT;
	int64_t now_ns = clock_ns(), ms_ns = ms * 1000000;
	decodes.request.deadline_ns = now_ns + 8 * ms_ns;
	struct stream *decoding = submit(engine, &decodes);
	if (!read_first_token(decoding)) {
		stream_close(decoding);
		return false;
	}
	prefills.request.deadline_ns = clock_ns() + 2 * ms_ns;
	waits.request.deadline_ns = clock_ns() + ms_ns;
	struct stream *prefilling = submit(engine, &prefills), *waiting = submit(engine, &waits);
	bool waited = drain(waiting, &waits) == -1, prefilled = drain(prefilling, &prefills) == 0;
	drain(decoding, &decodes);
	check_all_pages_are_back(engine);
	bool late = waits.code == ERROR_DEADLINE && prefills.code == ERROR_DEADLINE && decodes.code == ERROR_DEADLINE;
	return late && waited && prefilled && waits.n_tokens + prefills.n_tokens == 0;
}

/* Each ends with its own error and gives its pages back. */
static void a_deadline_ends_every_phase(void **state)
{
	(void)state;
	struct engine *engine = open_engine(
	    &(struct setup){.isa = ISA_SCALAR, .weights_auto = true, .n_threads = 1, .n_parallel = 2, .max_gap_ms = 1});
	bool found = false;
	/* Up to 2.5 s: beside many others a first token takes seconds. */
	for (int i = 0; i < 90 && !found; i++)
		found = deadlines_find_every_phase(engine, 10 << i % 9);
	assert_true(found);
	engine_destroy(engine);
}

/* Requests with one long beginning that are admitted together compute it once: the first goes ahead, the others take its
 * pages as they come. A page has 32 tokens, or 128 where OpenBLAS
 * multiplies. */
static void check_who_is_admitted_together(enum isa isa)
{
	struct engine *engine = open_engine(&(struct setup){.isa = isa,
	                                                    .weights_auto = true,
	                                                    .n_threads = 2,
	                                                    .n_parallel = 4,
	                                                    .context = 1024,
	                                                    .kv_memory_bytes = 2304 << 10});
	static struct job blocker, jobs[4];
	struct stream *streams[4];
	make_job(&blocker, 99);
	struct engine_status status;
	engine_status(engine, &status);
	/* Its choices have every place until they end, all at once, and then those that wait come at once. */
	int page_tokens = status.kv_page_tokens, n_pages = (233 + 8 + page_tokens - 1) / page_tokens;
	assert_true(status.kv_pages_total >= 4 * n_pages);
	blocker.request.max_tokens = 700;
	struct request choices[4] = {blocker.request, blocker.request, blocker.request, blocker.request};
	struct error error = {0};
	struct stream *blocking = engine_submit_all(engine, choices, 4, NULL, &error);
	assert_non_null(blocking);
	for (int i = 0; i < 4; i++) {
		make_job(&jobs[i], i);
		jobs[i].request.n_prompt = 230 + i;
		jobs[i].request.max_tokens = 8;
		jobs[i].request.priority = 0;
		for (int j = 0; j < 230 + i; j++)
			jobs[i].prompt[j] = 300 + (j < 200 ? j : j * (i + 2) % 500);
		streams[i] = submit(engine, &jobs[i]);
	}
	do
		engine_status(engine, &status);
	while (status.queued > 4); /* the blocker's step has not come yet */
	assert_int_equal(status.queued, 4);
	engine_cancel(engine, 0, blocker.request.job_id);
	drain(blocking, &blocker);
	int64_t n_cached = 0;
	for (int i = 0; i < 4; i++) {
		assert_int_equal(drain(streams[i], &jobs[i]), 0); /* nothing was there when it was admitted */
		n_cached += jobs[i].n_cached;
	}
	/* The first step has room for two prompts and a bit; what comes later need not compute those 200 tokens. */
	assert_true(n_cached > 200 / page_tokens * page_tokens);
	check_all_pages_are_back(engine);
	/* And the answers are those of each alone. */
	static struct job again;
	for (int i = 0; i < 4; i++) {
		again = jobs[i];
		again.request.prompt = again.prompt;
		again.request.cache_key = (uint64_t)i + 1;
		drain(submit(engine, &again), &again);
		check_same_answer(&jobs[i], &again);
	}
	engine_destroy(engine);
}

static void who_is_admitted_together_shares_too(void **state)
{
	(void)state;
	check_who_is_admitted_together(ISA_AUTO);
	struct kernels *set = open_set(ISA_AVX2, COMPUTE_AUTO, 64);
	if (set)
		check_who_is_admitted_together(ISA_AVX2);
	kernels_destroy(set);
}

/* In a pool of a quarter of what four may need together the newer ones pause, and compute again what was taken from them: each
 * says what it says alone, whether decoding has the bits of prefill (its pages may be found again then) or not. */
static void check_pauses(const struct setup *wanted)
{
	static struct job jobs[4], single[4];
	struct setup setup = *wanted;
	struct stream *streams[4];
	struct engine_metrics metrics;
	setup.n_threads = 2;
	setup.n_parallel = 4;
	setup.max_gap_ms = 1;
	for (int i = 0; i < 4; i++) {
		make_job(&jobs[i], i);
		jobs[i].request.n_prompt = 100 + i;
		jobs[i].request.max_tokens = 300;
		for (int j = 0; j < 100 + i; j++)
			jobs[i].prompt[j] = 300 + j * (i + 2) % 500;
		single[i] = jobs[i];
		single[i].request.prompt = single[i].prompt;
	}
	struct engine *engine = open_engine(&setup);
	for (int i = 0; i < 4; i++)
		drain(submit(engine, &single[i]), &single[i]);
	engine_destroy(engine);
	engine = open_engine(&setup);
	for (int i = 0; i < 4; i++)
		streams[i] = submit(engine, &jobs[i]);
	for (int i = 0; i < 4; i++)
		drain(streams[i], &jobs[i]);
	engine_metrics(engine, &metrics);
	assert_true(metrics.pauses > 0);
	for (int i = 0; i < 4; i++) {
		assert_int_equal(jobs[i].n_tokens, 300);
		assert_int_equal(single[i].n_tokens, 300);
		assert_true(jobs[i].hash == single[i].hash);
	}
	check_all_pages_are_back(engine);
	engine_destroy(engine);
}

static void those_that_pause_say_what_they_say_alone(void **state)
{
	(void)state;
	static const struct {
		enum isa isa;
		enum dtype weights; /* F32: as stored */
	} cases[] = {{ISA_AUTO, DTYPE_F32}, {ISA_AVX2, DTYPE_F32}, {ISA_AUTO, DTYPE_Q4}};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct kernels *set = open_set(cases[i].isa, COMPUTE_AUTO, 64);
		if (set)
			check_pauses(&(struct setup){.isa = cases[i].isa,
			                             .weights_auto = cases[i].weights == DTYPE_F32,
			                             .weights = cases[i].weights,
			                             .context = 512,
			                             .kv_memory_bytes = 3 << 19});
		kernels_destroy(set);
	}
}

static void embed(struct stream *stream, float *vector, int64_t n)
{
	struct event event = {.type = EVENT_STARTED};
	while (event.type == EVENT_STARTED)
		if (!stream_next(stream, &event))
			wait_for_events(stream);
	assert_int_equal(event.type, EVENT_END);
	assert_int_equal(event.n_embedding, n);
	memcpy(vector, event.embedding, (size_t)n * sizeof *vector);
	stream_close(stream);
}

/* A prompt that is embedded pauses, too, beside two that grow: its hidden states are counted once. */
static void an_embedding_that_paused_is_the_same(void **state)
{
	(void)state;
	enum { N = 256 };
	static struct job older[2], text;
	static float alone_vector[N], vector[N];
	struct engine *engine = open_engine(&(struct setup){.weights_auto = true,
	                                                    .n_threads = 2,
	                                                    .n_parallel = 3,
	                                                    .max_gap_ms = 1,
	                                                    .context = 512,
	                                                    .kv_memory_bytes = 3 << 19,
	                                                    .pooling = POOLING_MEAN});
	struct engine_status status;
	struct engine_metrics metrics;
	struct stream *streams[2];
	engine_status(engine, &status);
	assert_int_equal(status.embedding_size, N);
	int64_t pool = (int64_t)status.kv_pages_total * status.kv_page_tokens;
	make_job(&text, 5);
	text.request.embeds = true;
	text.request.n_prompt = 230;
	for (int i = 0; i < 230; i++)
		text.prompt[i] = 300 + i * 13 % 600;
	embed(submit(engine, &text), alone_vector, N);
	for (int i = 0; i < 2; i++) {
		make_job(&older[i], i);
		older[i].request.n_prompt = 100;
		older[i].request.max_tokens = (pool < 512 ? pool : 512) - 100;
		streams[i] = submit(engine, &older[i]);
	}
	for (int i = 0; i < 2; i++)
		assert_true(read_first_token(streams[i]));
	do { /* until one falls into a moment in which the others take all */
		embed(submit(engine, &text), vector, N);
		assert_memory_equal(vector, alone_vector, sizeof vector);
		engine_metrics(engine, &metrics);
	} while (metrics.pauses == 0 && !engine_idle(engine));
	for (int i = 0; i < 2; i++)
		drain(streams[i], &older[i]);
	assert_true(metrics.pauses > 0);
	check_all_pages_are_back(engine);
	engine_destroy(engine);
}

static void wait_until_caught_up(struct engine *engine)
{
	struct engine_status status;
	for (engine_status(engine, &status); status.catching_up; engine_status(engine, &status))
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
}

/* A conversation: each turn's prompt is all that was said before and a few tokens more. Once the engine has caught up, what a
 * turn shares with the one before is found, down to a page, and its answer, log-probabilities and all, is that of a cold run:
 * with a key of its own nothing is found. */
static void check_conversation(const struct setup *setup)
{
	enum { TURNS = 3, ANSWER = 90, NEW = 23 };
	static struct job turn, cold;
	static int32_t prompt[TURNS * (ANSWER + NEW) + 120];
	struct engine *engine = open_engine(setup);
	struct engine_status status;
	int64_t n_prompt = 120, n_shared = 0;
	engine_status(engine, &status);
	for (int i = 0; i < n_prompt; i++)
		prompt[i] = 300 + i * 7 % 500;
	for (int number = 0; number < TURNS; number++) {
		make_job(&turn, 6); /* draws, with log-probabilities */
		turn.request.prompt = prompt;
		turn.request.n_prompt = n_prompt;
		turn.request.max_tokens = ANSWER;
		cold = turn;
		cold.request.cache_key = 100 + (uint64_t)number;
		drain(submit(engine, &turn), &turn);
		wait_until_caught_up(engine);
		drain(submit(engine, &cold), &cold);
		wait_until_caught_up(engine);
		assert_int_equal(turn.n_tokens, ANSWER);
		assert_true(turn.hash == cold.hash && turn.logprob_hash == cold.logprob_hash);
		assert_int_equal(turn.n_cached, n_shared / status.kv_page_tokens * status.kv_page_tokens);
		assert_int_equal(cold.n_cached, 0);
		memcpy(prompt + n_prompt, turn.all, ANSWER * sizeof *prompt);
		n_shared = n_prompt + ANSWER;
		n_prompt = n_shared + NEW;
		for (int i = 0; i < NEW; i++)
			prompt[n_shared + i] = 310 + (number * 31 + i * 11) % 500;
	}
	check_all_pages_are_back(engine);
	engine_destroy(engine);
}

static void a_conversation_finds_its_answers_again(void **state)
{
	(void)state;
	static const enum isa sets[] = {ISA_AVX2, ISA_AUTO, ISA_SCALAR};
	static const int n_types[] = {4, 2, 1}; /* of these, where most ways to multiply are met */
	static const enum dtype types[] = {DTYPE_BF16, DTYPE_Q4, DTYPE_Q8, DTYPE_F32};
	for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) {
		struct kernels *set = open_set(sets[i], COMPUTE_AUTO, 64);
		for (int j = 0; set && j < n_types[i]; j++)
			check_conversation(&(struct setup){.isa = sets[i],
			                                   .weights = types[j],
			                                   .n_threads = 2,
			                                   .n_parallel = 2,
			                                   .max_gap_ms = 250,
			                                   .context = 1024});
		kernels_destroy(set);
	}
}

/* Whoever reads the end of an answer and asks at once finds its place and its pages free. */
static void what_has_ended_has_given_everything_back(void **state)
{
	(void)state;
	struct engine *engine = open_engine(&(struct setup){
	    .weights_auto = true, .n_threads = 2, .n_parallel = 1, .max_gap_ms = 250, .kv_memory_bytes = 3 << 20});
	static struct job job;
	for (int i = 0; i < 100; i++) {
		make_job(&job, i);
		job.request.max_tokens = 2;
		drain(submit(engine, &job), &job);
		struct engine_status status;
		engine_status(engine, &status);
		assert_int_equal(status.active, 0);
		assert_int_equal(status.kv_pages_free + status.kv_pages_cached, status.kv_pages_total);
	}
	engine_destroy(engine);
}

/* Cancels and deadlines at random moments, far more requests than fit: every page comes back, nobody fails. */
static void a_storm_of_cancels_leaves_no_page_behind(void **state)
{
	(void)state;
	struct engine *engine = open_engine(&(struct setup){
	    .weights_auto = true, .n_threads = 2, .n_parallel = 8, .max_gap_ms = 1, .kv_memory_bytes = 3 << 20});
	uint64_t random = 42;
	static struct job jobs[64];
	struct stream *streams[64];
	for (int round = 0; round < 4; round++) {
		for (int i = 0; i < 64; i++) {
			make_job(&jobs[i], i);
			if (i % 5 == 0)
				jobs[i].request.deadline_ns = clock_ns() + (int64_t)(next_random(&random) % 100000000);
			streams[i] = submit(engine, &jobs[i]);
			if (i % 3 == 0)
				nanosleep(&(struct timespec){.tv_nsec = (long)(next_random(&random) % 3000000)}, NULL);
			if (i % 2 == 0)
				engine_cancel(engine, 0, jobs[next_random(&random) % (uint64_t)(i + 1)].request.job_id);
		}
		int n_whole = 0;
		for (int i = 0; i < 64; i++) {
			if (i % 7 == 6) {
				stream_close(streams[i]); /* the client leaves */
				continue;
			}
			drain(streams[i], &jobs[i]);
			n_whole += jobs[i].code == ERROR_NONE;
		}
		assert_true(n_whole > 0);
		check_all_pages_are_back(engine);
	}
	engine_destroy(engine);
}

/* ---- keys ---- */

static bool is_zero(const unsigned char *data, size_t n_bytes)
{
	for (size_t i = 0; i < n_bytes; i++)
		if (data[i])
			return false;
	return true;
}

/* Pages with a key for their first position, and none for their last. */
static int count_half_filled(struct engine *engine)
{
	const struct kv_shape *shape = &model_memory_plan(engine->model)->kv;
	const struct kv_pool *pool = model_kv(engine->model);
	size_t n_key = 0;
	int n = 0;
	assert_true(dtype_bytes(shape->k_type, (size_t)shape->head_dim, &n_key));
	for (int32_t page = 0; page < kv_pool_total(pool); page++) {
		const unsigned char *keys = kv_page_data(pool, page);
		n += !is_zero(keys, n_key) && is_zero(keys + n_key * (size_t)(shape->page_tokens - 1), n_key);
	}
	return n;
}

static void run_with_key(struct engine *engine, uint64_t key, int64_t n_prompt, int32_t first)
{
	struct job job;
	make_job(&job, 0);
	job.prompt[0] = first;
	job.request.n_prompt = n_prompt;
	job.request.max_tokens = 1; /* whose own key is never computed */
	job.request.cache_key = key;
	struct stream *stream = submit(engine, &job);
	drain(stream, &job);
	assert_int_equal(job.code, ERROR_NONE);
	wait_until_idle(engine);
	wait_until_caught_up(engine);
}

static void a_page_of_another_key_is_wiped_before_it_is_used(void **state)
{
	(void)state;
	struct engine *engine = open_engine(&(struct setup){.n_threads = 1, .n_parallel = 1, .context = 256});
	int64_t page_tokens = model_memory_plan(engine->model)->kv.page_tokens;
	/* Until every page is full of the first key's. */
	for (int i = 0; i < 2 * kv_pool_total(model_kv(engine->model)); i++)
		run_with_key(engine, 1, page_tokens, 300 + i);
	assert_int_equal(count_half_filled(engine), 0);
	run_with_key(engine, 1, page_tokens - 2, 299);
	assert_int_equal(count_half_filled(engine), 0); /* its own stays */
	run_with_key(engine, 2, page_tokens - 2, 299);
	assert_int_equal(count_half_filled(engine), 1);
	engine_destroy(engine);
}

static int quiet(void **state)
{
	(void)state;
	log_init(LOG_OFF, LOG_FORMAT_PLAIN);
	if (IS_WATCHED || getenv("TALLOW_TEST_GOLDENS")) /* see test_model.c */
		n_jobs = FEW_JOBS;
	return 0;
}

int main(int n_arguments, char **arguments)
{
	program = arguments[0];
	const struct CMUnitTest again[] = {cmocka_unit_test(avx2_with_another_openblas)};
	if (n_arguments > 1)
		return cmocka_run_group_tests(again, quiet, NULL);
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(prefixes_are_found_by_key_and_tokens),
	    cmocka_unit_test(the_least_recently_used_make_room),
	    cmocka_unit_test(a_page_is_wiped_when_its_key_changes),
	    cmocka_unit_test(a_page_of_another_key_is_wiped_before_it_is_used),
	    cmocka_unit_test(company_and_cache_do_not_change_the_text),
	    cmocka_unit_test(rope_that_depends_on_the_length_does_not_mix),
	    cmocka_unit_test(another_openblas_keeps_the_promise),
	    cmocka_unit_test(min_tokens_and_biases_reach_the_sampler),
	    cmocka_unit_test(sampling_out_of_range_is_refused),
	    cmocka_unit_test(a_prefix_is_shared_while_its_first_request_runs),
	    cmocka_unit_test(who_does_not_read_is_cancelled_and_nobody_notices),
	    cmocka_unit_test(a_deadline_ends_every_phase),
	    cmocka_unit_test(who_is_admitted_together_shares_too),
	    cmocka_unit_test(those_that_pause_say_what_they_say_alone),
	    cmocka_unit_test(an_embedding_that_paused_is_the_same),
	    cmocka_unit_test(a_conversation_finds_its_answers_again),
	    cmocka_unit_test(what_has_ended_has_given_everything_back),
	    cmocka_unit_test(a_storm_of_cancels_leaves_no_page_behind),
	};
	return cmocka_run_group_tests(tests, quiet, NULL);
}
