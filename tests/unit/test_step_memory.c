/* No allocation in a step: between the plan of a step and its last event the engine's thread asks for no memory.
 *
 * The allocator's functions are replaced by ones that count while engine_in_step is set, so what libraries ask for counts,
 * too (qsort, PCRE2). Sanitizers bring an allocator of their own and call a hook instead. */
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/log.h"
#include "engine/engine_private.h"

static atomic_int n_allocations;
static atomic_size_t largest_bytes;

static void count(size_t n_bytes)
{
	if (!engine_in_step)
		return;
	atomic_fetch_add(&n_allocations, 1);
	if (n_bytes > atomic_load(&largest_bytes))
		atomic_store(&largest_bytes, n_bytes);
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
/* Of sanitizer/allocator_interface.h, which gcc does not bring. */
int __sanitizer_install_malloc_and_free_hooks(void (*allocated)(const volatile void *memory, size_t n_bytes),
                                              void (*freed)(const volatile void *memory));

static void allocated(const volatile void *memory, size_t n_bytes)
{
	(void)memory;
	count(n_bytes);
}

static void freed(const volatile void *memory)
{
	(void)memory;
}

__attribute__((constructor)) static void install(void)
{
	__sanitizer_install_malloc_and_free_hooks(allocated, freed);
}
#else
void *__libc_malloc(size_t n_bytes);
void *__libc_calloc(size_t n, size_t n_bytes);
void *__libc_realloc(void *memory, size_t n_bytes);
void *__libc_memalign(size_t alignment, size_t n_bytes);

void *malloc(size_t n_bytes)
{
	count(n_bytes);
	return __libc_malloc(n_bytes);
}

void *calloc(size_t n, size_t n_bytes)
{
	count(n * n_bytes);
	return __libc_calloc(n, n_bytes);
}

void *realloc(void *memory, size_t n_bytes)
{
	count(n_bytes);
	return __libc_realloc(memory, n_bytes);
}

void *memalign(size_t alignment, size_t n_bytes);
void *memalign(size_t alignment, size_t n_bytes)
{
	count(n_bytes);
	return __libc_memalign(alignment, n_bytes);
}

void *aligned_alloc(size_t alignment, size_t n_bytes)
{
	return memalign(alignment, n_bytes);
}

int posix_memalign(void **memory, size_t alignment, size_t n_bytes)
{
	*memory = memalign(alignment, n_bytes);
	return *memory ? 0 : ENOMEM;
}
#endif

/* ---- the counter itself ---- */

static void the_counter_counts(void **state)
{
	(void)state;
	struct bytes outside = {0}, inside = {0};
	int before = atomic_load(&n_allocations);
	assert_true(bytes_reserve(&outside, 100));
	assert_int_equal(atomic_load(&n_allocations), before);
	engine_in_step = true;
	bool reserved = bytes_reserve(&inside, 100);
	engine_in_step = false;
	assert_true(reserved);
	assert_int_equal(atomic_load(&n_allocations), before + 1);
	bytes_free(&outside);
	bytes_free(&inside);
	atomic_store(&n_allocations, 0);
	atomic_store(&largest_bytes, 0);
}

/* ---- the engine ---- */

enum { N_REQUESTS = 12, N_PROMPT = 150, MAX_TOKENS = 60 };

static const struct logit_bias biases[] = {{.token = 20, .bias = 1}, {.token = 400, .bias = -100}};
static const struct bad_word words[] = {{" the", 4}, {"nd", 2}, {"a ki", 4}};
static const struct stop_string stops[] = {{"xyzzy", 5}, {" the king and", 13}};

/* Of every kind: greedy and drawn with each filter, penalised, with log-probabilities, with
 * stop strings that hold text back, with words that must not come, with beginnings that others share, among them one that is
 * cancelled. */
static void fill_request(struct request *request, int32_t *prompt, int number)
{
	for (int i = 0; i < N_PROMPT; i++)
		prompt[i] = 300 + (i < 100 ? i * 7 % 500 : (i * 31 + number * 17) % 500);
	*request = (struct request){
	    .prompt = prompt,
	    .n_prompt = N_PROMPT - number % 5,
	    .max_tokens = MAX_TOKENS,
	    .sampling = {.temperature = number % 3,
	                 .top_p = number % 4 == 1 ? 0.99 : 1,
	                 .top_k = number % 4 == 2 ? 900 : 0,
	                 .min_p = number % 4 == 3 ? 1e-9 : 0,
	                 .typical_p = number % 5 == 1 ? 0.9 : 0,
	                 .top_n_sigma = number % 5 == 2 ? 2 : 0,
	                 .seed = (uint64_t)number,
	                 .repetition_penalty = number % 2 ? 1.1 : 1,
	                 .presence_penalty = number % 3 ? 0.5 : 0,
	                 .frequency_penalty = number % 5 ? 0.1 : 0,
	                 .min_tokens = number,
	                 .n_biases = number % 3,
	                 .biases = biases,
	                 .xtc_probability = number % 5 == 3 ? 0.5 : 0,
	                 .xtc_threshold = 0.1,
	                 .mirostat_tau = number % 5 == 4 ? 3 : 0,
	                 .mirostat_eta = 0.1,
	                 .dry_multiplier = number % 2 ? 0.8 : 0,
	                 .dry_base = 1.75,
	                 .dry_allowed_length = 2,
	                 .n_bad_words = number % 4,
	                 .bad_words = words,
	                 .logprobs = number % 4 != 0,
	                 .n_top_logprobs = number % 4 == 3 ? SAMPLING_MAX_TOP_LOGPROBS : number % 4},
	    .ignore_eos = true,
	};
	if (number % 2) {
		memcpy(request->stops, stops, sizeof stops);
		request->n_stops = 2;
	}
	snprintf(request->job_id, sizeof request->job_id, "job-%d", number);
}

static void read_to_the_end(struct stream *stream)
{
	struct event event = {0};
	while (event.type != EVENT_END && event.type != EVENT_ERROR)
		if (!stream_next(stream, &event))
			poll(&(struct pollfd){.fd = stream_fd(stream), .events = POLLIN}, 1, -1);
	stream_close(stream);
}

static void serve_round(struct engine *engine, int n_requests)
{
	struct stream *streams[N_REQUESTS];
	struct error error = {0};
	for (int i = 0; i < n_requests; i++) {
		struct request request;
		int32_t prompt[N_PROMPT];
		fill_request(&request, prompt, i);
		streams[i] = engine_submit(engine, &request, NULL, &error);
		if (!streams[i])
			fail_msg("%s", error.message);
		if (i == 7)
			stream_cancel(streams[i], ERROR_CANCELLED);
	}
	for (int i = 0; i < n_requests; i++)
		read_to_the_end(streams[i]);
}

static void check_no_allocation(enum dtype weights, int n_threads)
{
	struct error error = {0};
	struct model_options model = {.path = "models/tallow-tiny",
	                              .weights_type = weights,
	                              .kv_auto = true,
	                              .n_threads = n_threads,
	                              .n_parallel = 8,
	                              .context = 512,
	                              .kv_memory_bytes = 3 << 20};
	struct engine_options options = {.model = &model, .max_gap_ms = 1};
	struct engine *engine = engine_create(&options, &error);
	if (!engine || !engine_start(engine, &error) || !engine_wait_ready(engine, 60000, &error))
		fail_msg("%s", error.message);
	atomic_store(&n_allocations, 0);
	for (int round = 0; round < 2; round++)
		serve_round(engine, N_REQUESTS);
	engine_destroy(engine);
	if (atomic_load(&n_allocations))
		fail_msg("%d allocations in steps, the largest of %zu bytes", atomic_load(&n_allocations),
		         atomic_load(&largest_bytes));
}

static void a_step_allocates_nothing(void **state)
{
	(void)state;
	check_no_allocation(DTYPE_BF16, 2);
	check_no_allocation(DTYPE_F32, 1);
	check_no_allocation(DTYPE_Q8, 2);
	check_no_allocation(DTYPE_Q4, 1);
}

static int quiet(void **state)
{
	(void)state;
	log_init(LOG_OFF, LOG_FORMAT_PLAIN);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_counter_counts),
	    cmocka_unit_test(a_step_allocates_nothing),
	};
	return cmocka_run_group_tests(tests, quiet, NULL);
}
