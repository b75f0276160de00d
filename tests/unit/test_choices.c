/* Several answers to one prompt, in one stream: each is what it is alone, the prompt is computed once, all of them come or
 * none, and one end ends all. And log-probabilities of the prompt, which the first of them tells for all. */
#include <math.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/log.h"
#include "base/platform.h"
#include "engine/engine.h"
#include "model/plan.h"

enum { N_PROMPT = 230, N_OUT = 24, MOST = 8 };

static int32_t prompt[N_PROMPT], other_prompt[N_PROMPT];

static struct engine *open_engine_as(enum isa isa, int n_parallel, int max_queue)
{
	struct error error = {0};
	struct model_options model = {.path = "models/tallow-tiny",
	                              .isa = isa,
	                              .weights_auto = true,
	                              .kv_auto = true,
	                              .n_threads = 2,
	                              .n_parallel = n_parallel,
	                              .context = 512};
	struct engine_options options = {.model = &model, .max_queue = max_queue};
	struct engine *engine = engine_create(&options, &error);
	assert_non_null(engine);
	assert_true(engine_start(engine, &error));
	if (!engine_wait_ready(engine, 600000, &error))
		fail_msg("%s", error.message);
	return engine;
}

static struct engine *open_engine(int n_parallel, int max_queue)
{
	return open_engine_as(ISA_AUTO, n_parallel, max_queue);
}

static struct request make_request(const int32_t *tokens, uint32_t choice, uint64_t cache_key)
{
	static int n_jobs;
	struct request request = {
	    .prompt = tokens,
	    .n_prompt = N_PROMPT,
	    .max_tokens = N_OUT,
	    .sampling = {.temperature = 1, .top_p = 1, .repetition_penalty = 1, .seed = 5},
	    .choice = choice,
	    .ignore_eos = true,
	    .cache_key = cache_key,
	};
	snprintf(request.job_id, sizeof request.job_id, "job-%d", n_jobs++);
	return request;
}

/* What was read of a stream. */
struct answers {
	int n_started, n_ended, n_errors;
	int n_tokens[MOST];
	int32_t tokens[MOST][N_OUT];
	int64_t n_cached[MOST];
	enum error_code code;
};

static void take(struct answers *answers, const struct event *event, int n)
{
	int choice = event->choice;
	assert_true(choice >= 0 && choice < n && answers->n_errors == 0);
	answers->n_started += event->type == EVENT_STARTED;
	answers->n_ended += event->type == EVENT_END;
	answers->n_errors += event->type == EVENT_ERROR;
	if (event->type == EVENT_TOKEN) {
		assert_int_equal(event->index, answers->n_tokens[choice]);
		answers->tokens[choice][answers->n_tokens[choice]++] = event->token;
	}
	if (event->type == EVENT_END)
		answers->n_cached[choice] = event->cached_tokens;
	if (event->type == EVENT_ERROR)
		answers->code = event->error.code;
}

/* To the end of all n choices. */
static void drain(struct stream *stream, struct answers *answers, int n)
{
	struct event event;
	*answers = (struct answers){0};
	while (answers->n_ended < n && answers->n_errors == 0) {
		poll(&(struct pollfd){.fd = stream_fd(stream), .events = POLLIN}, 1, -1);
		while (stream_next(stream, &event))
			take(answers, &event, n);
	}
	stream_close(stream);
}

static struct stream *submit_all(struct engine *engine, const struct request *requests, int n)
{
	struct error error = {0};
	struct stream *stream = engine_submit_all(engine, requests, n, NULL, &error);
	if (!stream)
		fail_msg("%s", error.message);
	return stream;
}

static void wait_until_nothing_is_left(struct engine *engine)
{
	struct engine_status status;
	do {
		engine_status(engine, &status);
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	} while (status.active + status.queued > 0);
	assert_int_equal(status.kv_pages_free + status.kv_pages_cached, status.kv_pages_total);
}

/* Alone, each in a cold part of the cache; then several with another request beside them, all together or, with one place,
 * one after the other. */
static void a_choice_is_what_it_is_alone(void **state)
{
	(void)state;
	static struct answers alone[MOST], answers, others;
	struct request requests[MOST];
	struct engine *engine = open_engine(1, 0);
	for (uint32_t i = 0; i < MOST; i++) {
		requests[0] = make_request(prompt, i, 100 + i);
		drain(submit_all(engine, requests, 1), &alone[i], 1);
		assert_int_equal(alone[i].n_tokens[0], N_OUT);
		if (i > 0) /* each has draws of its own */
			assert_memory_not_equal(alone[i].tokens[0], alone[0].tokens[0], sizeof alone[0].tokens[0]);
	}
	for (int n_places = 1; n_places <= 16; n_places += 15) {
		engine_destroy(engine);
		engine = open_engine(n_places, 0);
		struct request company = make_request(other_prompt, 0, 0);
		struct stream *beside = submit_all(engine, &company, 1);
		for (uint32_t i = 0; i < MOST; i++)
			requests[i] = make_request(prompt, i, 0);
		drain(submit_all(engine, requests, MOST), &answers, MOST);
		assert_true(answers.n_started == MOST && answers.n_ended == MOST);
		for (int i = 0; i < MOST; i++)
			assert_memory_equal(answers.tokens[i], alone[i].tokens[0], sizeof answers.tokens[i]);
		drain(beside, &others, 1);
		wait_until_nothing_is_left(engine);
	}
	engine_destroy(engine);
}

/* The first computes the prompt, each other one what lies behind the last full page. */
static void one_prefill_serves_all(void **state)
{
	(void)state;
	static struct answers answers;
	struct request requests[MOST];
	struct engine_status status;
	struct engine_metrics metrics;
	struct engine *engine = open_engine(16, 0);
	for (uint32_t i = 0; i < MOST; i++)
		requests[i] = make_request(prompt, i, 0);
	drain(submit_all(engine, requests, MOST), &answers, MOST);
	engine_status(engine, &status);
	engine_metrics(engine, &metrics);
	int64_t n_shared = (N_PROMPT - 1) / status.kv_page_tokens * status.kv_page_tokens;
	assert_true(n_shared > 0);
	assert_int_equal(answers.n_cached[0], 0);
	for (int i = 1; i < MOST; i++)
		assert_int_equal(answers.n_cached[i], n_shared);
	assert_int_equal(metrics.prompt_tokens, MOST * N_PROMPT);
	assert_int_equal(metrics.cached_tokens, (MOST - 1) * n_shared);
	engine_destroy(engine);
}

static enum error_code refusal_of(struct engine *engine, const struct request *requests, int n)
{
	struct error error = {0};
	int retry_after_s = 0;
	assert_null(engine_submit_all(engine, requests, n, &retry_after_s, &error));
	assert_int_equal(retry_after_s > 0, error.code == ERROR_QUEUE_FULL);
	return error.code;
}

static void all_come_or_none(void **state)
{
	(void)state;
	static struct answers answers;
	static struct request requests[ENGINE_MAX_CHOICES + 1];
	struct engine_status status;
	struct engine *engine = open_engine(2, 3);
	for (uint32_t i = 0; i <= ENGINE_MAX_CHOICES; i++)
		requests[i] = make_request(prompt, i, 0);
	assert_int_equal(refusal_of(engine, requests, ENGINE_MAX_CHOICES + 1), ERROR_INVALID_REQUEST);
	assert_int_equal(refusal_of(engine, requests, 0), ERROR_INVALID_REQUEST);
	assert_int_equal(refusal_of(engine, requests, 6), ERROR_INVALID_REQUEST); /* two run, three wait */
	requests[4].sampling.n_top_logprobs = -1;
	assert_int_equal(refusal_of(engine, requests, 5), ERROR_INVALID_REQUEST);
	requests[4].sampling.n_top_logprobs = 0;
	engine_status(engine, &status);
	assert_int_equal(status.active + status.queued, 0);
	struct request blockers[2];
	for (int i = 0; i < 2; i++) {
		blockers[i] = make_request(other_prompt, 0, 0);
		blockers[i].max_tokens = 512 - N_PROMPT;
	}
	struct stream *first = submit_all(engine, &blockers[0], 1), *second = submit_all(engine, &blockers[1], 1);
	do
		engine_status(engine, &status);
	while (status.active < 2);
	assert_int_equal(refusal_of(engine, requests, 4), ERROR_QUEUE_FULL);
	struct engine_metrics metrics;
	engine_metrics(engine, &metrics);
	assert_int_equal(metrics.requests[OUTCOME_REJECTED], 6 + 4); /* each choice, as where they run */
	engine_status(engine, &status);
	assert_int_equal(status.queued, 0);
	struct stream *three = submit_all(engine, requests, 3);
	stream_close(first);
	stream_close(second);
	drain(three, &answers, 3);
	assert_int_equal(answers.n_ended, 3);
	wait_until_nothing_is_left(engine);
	engine_destroy(engine);
}

/* However it ends: the reader leaves, a deadline passes, somebody cancels the job. */
static void one_end_ends_all(void **state)
{
	(void)state;
	static struct answers answers;
	struct request requests[MOST];
	struct engine *engine = open_engine(4, 16);
	for (int way = 0; way < 3; way++) {
		for (uint32_t i = 0; i < MOST; i++) {
			requests[i] = make_request(prompt, i, 0);
			requests[i].max_tokens = way == 0 ? 512 - N_PROMPT : N_OUT;
			requests[i].deadline_ns = way == 1 ? clock_ns() + 1000 : 0;
			snprintf(requests[i].job_id, sizeof requests[i].job_id, "job");
		}
		struct stream *stream = submit_all(engine, requests, MOST);
		if (way == 0) {
			struct event event;
			poll(&(struct pollfd){.fd = stream_fd(stream), .events = POLLIN}, 1, -1);
			assert_true(stream_next(stream, &event));
			stream_close(stream);
		} else {
			if (way == 2)
				assert_true(engine_cancel(engine, 0, "job"));
			drain(stream, &answers, MOST);
			assert_true(answers.n_errors == 1 && answers.n_ended == 0);
			assert_int_equal(answers.code, way == 1 ? ERROR_DEADLINE : ERROR_CANCELLED);
		}
		wait_until_nothing_is_left(engine);
	}
	engine_destroy(engine);
}

/* The log-probability of the token behind the first n of the prompt: a bias makes it come, of which they know nothing. */
static struct token_logprobs after_prefix(struct engine *engine, int n)
{
	const struct logit_bias bias = {.token = prompt[n], .bias = 100};
	struct request request = make_request(prompt, 0, 1000 + (uint64_t)n);
	struct token_logprobs logprobs = {0};
	struct event event = {0};
	request.n_prompt = n;
	request.max_tokens = 1;
	request.sampling.temperature = 0;
	request.sampling.logprobs = true;
	request.sampling.n_top_logprobs = 3;
	request.sampling.biases = &bias;
	request.sampling.n_biases = 1;
	struct stream *stream = submit_all(engine, &request, 1);
	while (event.type != EVENT_END) {
		poll(&(struct pollfd){.fd = stream_fd(stream), .events = POLLIN}, 1, -1);
		while (stream_next(stream, &event)) {
			assert_int_not_equal(event.type, EVENT_ERROR);
			if (event.type == EVENT_TOKEN && event.token == prompt[n])
				logprobs = *event.logprobs;
		}
	}
	stream_close(stream);
	return logprobs;
}

/* Those of each beginning alone; beside others, in slices, and with the prompt in the cache. Bit by bit where a row's bits
 * are its own; where OpenBLAS does prefill they change with the number of rows in a tile (kernels/matmul.h), and a beginning
 * is then near. */
static void check_prompt_logprobs(enum isa isa, bool same_bits)
{
	static struct token_logprobs wanted[N_PROMPT];
	struct engine *engine = open_engine_as(isa, 4, 0);
	for (int i = 1; i < N_PROMPT; i += i < 40 ? 1 : 19)
		wanted[i] = after_prefix(engine, i);
	struct request company = make_request(other_prompt, 0, 0), requests[3];
	company.max_tokens = 512 - N_PROMPT;
	struct stream *beside = submit_all(engine, &company, 1);
	for (int round = 0; round < 2; round++) {
		static struct answers answers;
		for (uint32_t i = 0; i < 3; i++) {
			requests[i] = make_request(prompt, i, 0);
			requests[i].sampling.n_top_logprobs = 3;
			requests[i].prompt_logprobs = i == 0;
		}
		struct stream *stream = submit_all(engine, requests, 3);
		struct event event = {0};
		answers = (struct answers){0};
		while (answers.n_ended < 3) {
			poll(&(struct pollfd){.fd = stream_fd(stream), .events = POLLIN}, 1, -1);
			while (stream_next(stream, &event))
				take(&answers, &event, 3);
		}
		const struct token_logprobs *told = stream_prompt_logprobs(stream, 0);
		assert_null(stream_prompt_logprobs(stream, 1));
		assert_int_equal(told[0].rank, 0);
		for (int i = 1; i < N_PROMPT; i++) {
			assert_true(told[i].rank >= 1 && told[i].logprob <= 0 && told[i].n_top == 3);
			if (wanted[i].rank == 0)
				continue;
			assert_true(fabs(told[i].logprob - wanted[i].logprob) < 1e-3);
			if (!same_bits)
				continue;
			assert_memory_equal(&told[i].logprob, &wanted[i].logprob, sizeof told[i].logprob);
			assert_int_equal(told[i].rank, wanted[i].rank);
			assert_memory_equal(told[i].top, wanted[i].top, 3 * sizeof told[i].top[0]);
		}
		stream_close(stream);
	}
	stream_close(beside);
	engine_destroy(engine);
}

static void a_prompt_is_told_as_its_beginnings_are(void **state)
{
	(void)state;
	struct error error = {0};
	struct kernels *kernels = kernels_create(ISA_AUTO, COMPUTE_AUTO, 1, 1024, &error);
	assert_non_null(kernels);
	bool same_bits = matmul_tile_rows(kernels, DTYPE_BF16) == 1;
	kernels_destroy(kernels);
	check_prompt_logprobs(ISA_AUTO, same_bits);
	check_prompt_logprobs(ISA_SCALAR, true);
}

static void a_prompt_may_be_all(void **state)
{
	(void)state;
	static int32_t whole_context[513];
	static struct answers answers;
	struct engine *engine = open_engine(2, 0);
	for (int i = 0; i < 513; i++)
		whole_context[i] = 300 + i % 500;
	for (int told = 0; told < 2; told++) {
		struct request request = make_request(whole_context, 0, 0);
		request.n_prompt = 512;
		request.prompt_only = true;
		request.prompt_logprobs = told;
		drain(submit_all(engine, &request, 1), &answers, 1);
		assert_true(answers.n_ended == 1 && answers.n_tokens[0] == 0);
		request.n_prompt = 513;
		assert_int_equal(refusal_of(engine, &request, 1), ERROR_CONTEXT_LENGTH);
	}
	wait_until_nothing_is_left(engine);
	engine_destroy(engine);
}

int main(void)
{
	log_init(LOG_OFF, LOG_FORMAT_PLAIN);
	for (int i = 0; i < N_PROMPT; i++) {
		prompt[i] = 300 + i * 7 % 500;
		other_prompt[i] = 300 + i * 11 % 500;
	}
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_choice_is_what_it_is_alone),
	    cmocka_unit_test(one_prefill_serves_all),
	    cmocka_unit_test(all_come_or_none),
	    cmocka_unit_test(one_end_ends_all),
	    cmocka_unit_test(a_prompt_is_told_as_its_beginnings_are),
	    cmocka_unit_test(a_prompt_may_be_all),
	};
	return cmocka_run_group_tests_name("choices", tests, NULL, NULL);
}
