/* Memory that runs out: each allocation of a request, in every dialect, streamed and whole and kept for later, fails in its
 * turn. What comes of it is the answer that it would have been without, or an error that says so; never a shorter answer, never
 * the client's fault, and all memory comes back. Then the same for loading, which ends with ERROR_MEMORY.
 *
 * The allocator's functions are replaced by ones that count, and let one allocation fail. Sanitizers bring an allocator of
 * their own: there is nothing to test under them. TALLOW_FAULT_STRIDE=1 (make faults) takes every allocation, else some of
 * them; TALLOW_FAULT_REQUEST=number tries one request of the list alone. */
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
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "engine/engine.h"
#include "model/plan.h"
#include "server/dialects/dialect.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
int main(void)
{
	return 0;
}
#else

/* ---- the allocator ---- */

static atomic_long n_live;               /* blocks that were given out and not taken back */
static atomic_long n_left_to_fault = -1; /* allocations until one fails; negative: none will */

/* True for the one that fails. */
static bool is_faulty(void)
{
	return atomic_load(&n_left_to_fault) >= 0 && atomic_fetch_sub(&n_left_to_fault, 1) == 0;
}

void *__libc_malloc(size_t n_bytes);
void *__libc_calloc(size_t n, size_t n_bytes);
void *__libc_realloc(void *memory, size_t n_bytes);
void *__libc_memalign(size_t alignment, size_t n_bytes);
void __libc_free(void *memory);

static void *given(void *memory)
{
	if (memory)
		atomic_fetch_add(&n_live, 1);
	else
		errno = ENOMEM;
	return memory;
}

void *malloc(size_t n_bytes)
{
	return given(is_faulty() ? NULL : __libc_malloc(n_bytes));
}

void *calloc(size_t n, size_t n_bytes)
{
	return given(is_faulty() ? NULL : __libc_calloc(n, n_bytes));
}

void *realloc(void *memory, size_t n_bytes)
{
	if (!memory)
		return malloc(n_bytes);
	if (is_faulty()) {
		errno = ENOMEM;
		return NULL;
	}
	return __libc_realloc(memory, n_bytes);
}

void *memalign(size_t alignment, size_t n_bytes);
void *memalign(size_t alignment, size_t n_bytes)
{
	return given(is_faulty() ? NULL : __libc_memalign(alignment, n_bytes));
}

void *aligned_alloc(size_t alignment, size_t n_bytes)
{
	return memalign(alignment, n_bytes);
}

int posix_memalign(void **memory, size_t alignment, size_t n_bytes)
{
	void *block = memalign(alignment, n_bytes);
	if (!block)
		return ENOMEM;
	*memory = block;
	return 0;
}

void free(void *memory)
{
	if (memory)
		atomic_fetch_sub(&n_live, 1);
	__libc_free(memory);
}

/* ---- requests ---- */

enum way { WAY_STREAM, WAY_WHOLE, WAY_KEPT, N_WAYS };

#define SCHEMA                                                                                                         \
	"{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\",\"pattern\":\"^[a-c]{2}(x|y)$\"},\"b\":{\"$"      \
	"ref\":"                                                                                                           \
	"\"#/$defs/n\"},\"c\":{\"enum\":[\"one\",1.5,null]}},\"required\":[\"a\",\"b\"],\"additionalProperties\":false,"   \
	"\"$defs\":{\"n\":{\"type\":\"integer\",\"minimum\":1,\"maximum\":40}}}"
#define WIDE_SCHEMA                                                                                                    \
	"{\"oneOf\":[{\"type\":\"array\",\"items\":{\"type\":\"string\",\"format\":\"date\"},\"maxItems\":2,\"contains\":" \
	"{\"not\":"                                                                                                        \
	"{\"const\":\"2020-02-02\"}}},{\"type\":\"number\",\"multipleOf\":0.5,\"exclusiveMaximum\":9}],\"format\":"        \
	"\"odd\"}"
#define TOOL_SCHEMA "{\"type\":\"object\",\"properties\":{\"x\":{\"enum\":[\"u\",\"v\"]}},\"required\":[\"x\"]}"

/* A namespace's name that fills a block of the request's memory: what is kept next needs another. */
#define SPACE_64    "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn"
#define SPACE_1024                                                                                                     \
	SPACE_64 SPACE_64 SPACE_64 SPACE_64 SPACE_64 SPACE_64 SPACE_64 SPACE_64 SPACE_64 SPACE_64 SPACE_64 SPACE_64        \
	    SPACE_64 SPACE_64 SPACE_64 SPACE_64
#define SPACE_4096  SPACE_1024 SPACE_1024 SPACE_1024 SPACE_1024
#define LARGE_SPACE SPACE_4096 SPACE_4096 SPACE_4096 SPACE_4096

static const struct {
	const struct dialect *dialect;
	const char *body;
} requests[] = {
    /* Calls in a history, some of them none, of messages that others follow. */
    {&openai_chat_dialect,
     "{\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"},{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":["
     "{\"id\":\"1\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"x\\\":1}\"}},7]},{\"role\":"
     "\"tool\",\"tool_call_id\":\"1\",\"content\":\"ok\"},{\"role\":\"assistant\",\"content\":\"So.\",\"tool_calls\":"
     "\"g()\"}"
     ",{\"role\":\"assistant\",\"content\":\"Well.\",\"tool_calls\":[]}],\"max_tokens\":6,\"seed\":1}"},
    {&responses_dialect,
     "{\"input\":\"Hi\",\"max_output_tokens\":6,\"temperature\":0,\"reasoning\":{\"effort\":\"low\"}}"},
    {&responses_dialect, "{\"input\":\"Hi\",\"max_output_tokens\":40,\"temperature\":0,\"tools\":[{\"type\":"
                         "\"namespace\",\"name\":\"" LARGE_SPACE
                         "\",\"tools\":[{\"type\":\"function\",\"name\":\"unused\",\"parameters\":{}}]},"
                         "{\"type\":\"namespace\",\"name\":\"s\",\"tools\":[{\"type\":\"function\",\"name\":\"g\","
                         "\"parameters\":{\"type\":\"object\",\"additionalProperties\":false}}]}],\"tool_choice\":{"
                         "\"type\":\"function\",\"name\":\"g\"}}"},
    {&worker_dialect, "{\"prompt\":\"Once upon a time\",\"max_tokens\":9,\"seed\":3,\"temperature\":1,"
                      "\"stop\":[\"xyzzy\",\" the king and\",\"!!\"],\"odd\":1}"},
    {&orchestrator_job_dialect,
     "{\"operation\":\"infer\",\"model\":\"m\",\"prompt\":\"Once\",\"max_tokens\":4,\"temperature\":0}"},
    {&openai_completion_dialect, "{\"prompt\":[\"Once\",\"Upon\"],\"n\":2,\"max_tokens\":5,\"seed\":1,\"logprobs\":2,"
                                 "\"echo\":true,\"logit_bias\":{\"20\":1},\"stop\":\"xyzzy\"}"},
    {&openai_chat_dialect,
     "{\"messages\":[{\"role\":\"system\",\"content\":\"Be.\"},{\"role\":\"user\",\"content\":[{\"type\":\"text\","
     "\"text\":\"Hi\"}]}],\"max_tokens\":6,\"seed\":1,\"logprobs\":true,\"top_logprobs\":2,\"tools\":[{\"type\":"
     "\"function\",\"function\":{\"name\":\"f\",\"parameters\":{}}}]}"},
    {&responses_dialect, "{\"input\":[{\"role\":\"user\",\"content\":\"Hi\"},{\"type\":\"function_call\",\"call_id\":"
                         "\"c\",\"name\":\"f\",\"arguments\":\"{}\"},{\"type\":\"function_call_output\",\"call_id\":"
                         "\"c\",\"output\":\"ok\"}],\"max_output_tokens\":6,\"temperature\":0}"},
    {&messages_dialect, "{\"max_tokens\":6,\"system\":\"Be.\",\"temperature\":0,\"messages\":[{\"role\":\"user\","
                        "\"content\":[{\"type\":\"text\",\"text\":\"Hi\"}]}],\"stop_sequences\":[\"xyzzy\"]}"},
    {&ollama_chat_dialect, "{\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}],\"options\":{\"num_predict\":6,"
                           "\"seed\":1,\"stop\":[\"xyzzy\"]}}"},
    {&ollama_generate_dialect, "{\"prompt\":\"Once\",\"raw\":true,\"options\":{\"num_predict\":6,\"seed\":1}}"},
    {&worker_dialect,
     "{\"prompt\":\"Once\",\"max_tokens\":24,\"seed\":3,\"temperature\":2,\"structured_outputs\":{\"json\":" SCHEMA
     "}}"},
    {&orchestrator_job_dialect,
     "{\"operation\":\"infer\",\"model\":\"m\",\"prompt\":\"Once\",\"max_tokens\":8,\"temperature\":0,\"guided_"
     "grammar\":"
     "\"root ::= item{1,3}\\nitem ::= [a-c]+ \\\".\\\" | \\\"no\\\"\"}"},
    {&openai_completion_dialect, "{\"prompt\":[\"Once\"],\"n\":2,\"max_tokens\":5,\"seed\":1,\"bad_words\":[\"no\"],"
                                 "\"structured_outputs\":{\"choice\":[\"yes\",\"no\",\"perhaps\"],\"complete\":true}}"},
    {&openai_chat_dialect,
     "{\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}],\"max_tokens\":30,\"seed\":1,\"response_format\":{"
     "\"type\":"
     "\"json_schema\",\"json_schema\":{\"name\":\"x\",\"schema\":" WIDE_SCHEMA "}}}"},
    {&openai_chat_dialect,
     "{\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}],\"max_tokens\":40,\"seed\":1,\"tool_choice\":\"required\","
     "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":" TOOL_SCHEMA "}}]}"},
    {&responses_dialect,
     "{\"input\":\"Hi\",\"max_output_tokens\":20,\"temperature\":0,\"tools\":[{\"type\":\"function\",\"name\":\"f\","
     "\"strict\":"
     "true,\"parameters\":" TOOL_SCHEMA
     "}],\"text\":{\"format\":{\"type\":\"json_schema\",\"name\":\"x\",\"schema\":" SCHEMA "}}}"},
    {&messages_dialect,
     "{\"max_tokens\":40,\"temperature\":0,\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}],\"tool_choice\":{"
     "\"type\":"
     "\"tool\",\"name\":\"f\"},\"tools\":[{\"name\":\"f\",\"input_schema\":" TOOL_SCHEMA "}]}"},
    {&ollama_chat_dialect, "{\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}],\"format\":\"json\",\"options\":"
                           "{\"num_predict\":12,\"seed\":1,\"temperature\":1}}"},
    {&ollama_generate_dialect, "{\"prompt\":\"Once\",\"raw\":true,\"format\":{\"type\":\"array\",\"items\":{\"type\":["
                               "\"string\",\"integer\"],\"maxLength\":3},"
                               "\"uniqueItems\":true,\"minItems\":4},\"options\":{\"num_predict\":24,\"seed\":1}}"},
    {&worker_dialect, "{\"prompt\":\"Once\",\"max_tokens\":12,\"seed\":3,\"temperature\":2,\"guided_regex\":"
                      "\"(?!ab)[a-f]{2,4}(-|\\\\d\\\\.)\\\\p{Lu}?$\",\"complete\":true}"},
    {&openai_completion_dialect, "{\"prompt\":\"Once\",\"n\":100,\"max_tokens\":1,\"seed\":1}"},
    {&worker_dialect,
     "{\"prompt\":\"Once\",\"max_tokens\":3,\"seed\":1,\"dry_multiplier\":1,\"dry_sequence_breakers\":["
     "\"<unk>\"]}"},
};
/* The last twelve have constraints of every kind, in every dialect, many choices, or a look at every token: they
 * allocate more, and all of it is tried in the beginning alone, where what belongs to the request as a whole is
 * made. */
enum {
	N_REQUESTS = sizeof requests / sizeof requests[0],
	N_SMALL = 3,
	FIRST_LARGE = N_REQUESTS - 12,
	N_BEGINNING = 32
};

static struct engine *engine;

/* How a request ended. `answer` is the heap's own, so that a fault cannot touch it. */
struct result {
	struct error error; /* code NONE: an answer */
	bool broken;        /* memory ran out while the answer was written: the connection ends without its end */
	char answer[1 << 18];
	size_t n_answer;
};

static void add(struct result *result, const char *text, size_t n_bytes)
{
	assert_true(n_bytes <= sizeof result->answer - result->n_answer);
	memcpy(result->answer + result->n_answer, text, n_bytes);
	result->n_answer += n_bytes;
}

static void wait_for_event(struct generation *generation)
{
	assert_int_equal(poll(&(struct pollfd){.fd = generation_fd(generation), .events = POLLIN}, 1, 60000), 1);
}

static void take_stream(const struct dialect *dialect, struct generation *generation, struct result *result)
{
	struct event event;
	struct bytes out = {0};
	while (!generation->finished && !out.failed) {
		if (!generation_next(generation, &event)) {
			wait_for_event(generation);
			continue;
		}
		bytes_clear(&out);
		dialect->frame(generation, &event, &out);
		add(result, out.data ? out.data : "", out.failed ? 0 : out.n_bytes);
	}
	result->broken = out.failed;
	bytes_free(&out);
}

static void take_whole(const struct dialect *dialect, struct generation *generation, struct result *result)
{
	struct event event;
	struct bytes texts[ENGINE_MAX_CHOICES] = {0}, body = {0};
	while (!generation->finished) {
		if (!generation_next(generation, &event)) {
			wait_for_event(generation);
			continue;
		}
		if (event.type == EVENT_TOKEN)
			bytes_append(&texts[event.choice], event.text, event.n_text_bytes);
		if (dialect->note)
			dialect->note(generation, &event);
		if (!generation_notes_fit(generation, &generation->error))
			break;
	}
	if (generation->error.code == ERROR_NONE)
		dialect->whole(generation, texts, &body);
	for (int i = 0; i < generation->n_choices; i++) {
		bytes_free_part(&texts[i], &body);
	}
	add(result, body.data ? body.data : "", body.failed ? 0 : body.n_bytes);
	result->broken = body.failed;
	bytes_free(&body);
}

static void take_in_all(struct generation *generation)
{
	while (!generation_has_ended(generation)) {
		wait_for_event(generation);
		generation_take_in(generation);
	}
}

static void submit_and_take(const struct dialect *dialect, struct generation *generation, enum way way,
                            struct result *result)
{
	struct sender sender = {.request_id = "r"};
	generation->asked.job_id = "job"; /* ids of answers are made of it */
	generation->asked.stream = way != WAY_WHOLE;
	if (!generation_submit(generation, &sender, engine, NULL, &result->error))
		return;
	if (way == WAY_KEPT)
		take_in_all(generation);
	if (way == WAY_WHOLE)
		take_whole(dialect, generation, result);
	else
		take_stream(dialect, generation, result);
	result->error = generation->error;
}

static void ask(const struct dialect *dialect, const char *body, enum way way, struct result *result)
{
	*result = (struct result){0};
	struct engine_status status;
	engine_status(engine, &status);
	struct request_limits limits = {.max_tokens = 64,
	                                .context = status.context_length,
	                                .vocab_size = status.vocab_size,
	                                .tokenizer = engine_tokenizer(engine),
	                                .sampling = status.sampling};
	struct json *document = request_parse(body, strlen(body), 0, &result->error);
	struct generation *generation = document ? generation_create(&result->error) : NULL;
	if (generation) {
		struct field_checker check;
		field_checker_init(&check, document);
		if (dialect->parse(document, &limits, generation, &check, &result->error))
			submit_and_take(dialect, generation, way, result);
		else if (result->error.code == ERROR_NONE)
			fail_msg("a good body is refused: %s", check.first_message);
		field_checker_free(&check);
	}
	generation_destroy(generation);
	json_destroy(document);
}

/* In a list, or a count of tokens that were told apart, as the text before it says. */
static bool is_kept_number(const char *text, size_t n_bytes)
{
	static const char key[] = "\"reasoning_tokens\":";
	size_t n = sizeof key - 1;
	return n_bytes > 0 &&
	       (strchr("[,", text[n_bytes - 1]) || (n_bytes >= n && memcmp(text + n_bytes - n, key, n) == 0));
}

/* Times differ from run to run: other numbers become one sign. */
static void forget_numbers(struct result *result)
{
	size_t n = 0;
	bool in_number = false, kept = false;
	for (size_t i = 0; i < result->n_answer; i++) {
		bool number = strchr("0123456789.", result->answer[i]) != NULL;
		if (number && !in_number)
			kept = is_kept_number(result->answer, n);
		if (!number || kept || !in_number)
			result->answer[n++] = number && !kept ? '#' : result->answer[i];
		in_number = number;
	}
	result->n_answer = n;
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Which of several choices comes first depends on what steps cost: frames are compared in an order of their own. */
static void sort_lines(struct result *result)
{
	enum { MAX_LINES = 4096 };
	static char *lines[MAX_LINES];
	size_t n_lines = 0, n = 0;
	char *copy = strndup(result->answer, result->n_answer), *rest = copy;
	assert_non_null(copy);
	for (char *line; (line = strsep(&rest, "\n")) && n_lines < MAX_LINES;)
		lines[n_lines++] = line;
	qsort(lines, n_lines, sizeof *lines, by_text);
	for (size_t i = 0; i < n_lines; i++) {
		size_t length = strlen(lines[i]);
		memcpy(result->answer + n, lines[i], length);
		n += length;
		if (n < result->n_answer)
			result->answer[n++] = '\n';
	}
	free(copy);
}

static void normalise(struct result *result)
{
	forget_numbers(result);
	sort_lines(result);
}

/* The engine frees what has ended after it has told so. */
static bool memory_comes_back(long expected)
{
	for (int i = 0; i < 20000 && atomic_load(&n_live) != expected; i++)
		nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
	return atomic_load(&n_live) == expected;
}

/* How many blocks there are when nothing is on its way: the least of a while. */
static long blocks_at_rest(void)
{
	long least = atomic_load(&n_live);
	for (int i = 0; i < 300; i++) {
		nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
		long n = atomic_load(&n_live);
		least = n < least ? n : least;
	}
	return least;
}

static void fail_for_difference(int which, enum way way, long n, const struct result *result,
                                const struct result *expected)
{
	size_t same = 0;
	while (same < result->n_answer && same < expected->n_answer && result->answer[same] == expected->answer[same])
		same++;
	fail_msg("request %d, way %d, allocation %ld: ...%.200s\nin place of ...%.200s", which, way, n,
	         result->answer + (same > 60 ? same - 60 : 0), expected->answer + (same > 60 ? same - 60 : 0));
}

static long fault_stride(long usual)
{
	const char *text = getenv("TALLOW_FAULT_STRIDE");
	long stride = text ? strtol(text, NULL, 10) : usual;
	assert_true(stride > 0);
	return stride;
}

/* Returns how many allocations there are, about. */
static long check_request(int which, enum way way)
{
	static struct result expected, result;
	const struct dialect *dialect = requests[which].dialect;
	/* Twice: what is kept for good (a prefix, a table that grows once) is made by the first. */
	for (int i = 0; i < 2; i++)
		ask(dialect, requests[which].body, way, &expected);
	assert_true(expected.error.code == ERROR_NONE && !expected.broken && expected.n_answer > 0);
	normalise(&expected);
	long live = blocks_at_rest(), stride = fault_stride(which < N_SMALL ? 1 : which < FIRST_LARGE ? 3 : 29), n = 0;
	for (bool reached = true; reached; n += n < N_BEGINNING ? 1 : stride) {
		atomic_store(&n_left_to_fault, n);
		ask(dialect, requests[which].body, way, &result);
		reached = atomic_exchange(&n_left_to_fault, -1) < 0;
		normalise(&result);
		if (result.error.code != ERROR_NONE && result.error.code != ERROR_MEMORY)
			fail_msg("request %d, way %d, allocation %ld: %s: %s", which, way, n,
			         error_info(result.error.code)->wire_name, result.error.message);
		if (result.error.code == ERROR_NONE && !result.broken &&
		    (result.n_answer != expected.n_answer || memcmp(result.answer, expected.answer, expected.n_answer) != 0))
			fail_for_difference(which, way, n, &result, &expected);
		if (!memory_comes_back(live))
			fail_msg("request %d, way %d, allocation %ld: %ld blocks are lost", which, way, n,
			         atomic_load(&n_live) - live);
	}
	return n;
}

static void requests_end_well_or_with_an_error(void **state)
{
	(void)state;
	const char *only = getenv("TALLOW_FAULT_REQUEST");
	for (int which = only ? atoi(only) : 0; which < (only ? atoi(only) + 1 : N_REQUESTS); which++)
		for (enum way way = 0; way < N_WAYS; way++) {
			if (way == WAY_KEPT && requests[which].dialect != &orchestrator_job_dialect)
				continue; /* these alone wait for a reader */
			long n = check_request(which, way);
			print_message("request %d, way %d: %ld allocations\n", which, way, n);
			assert_true(n > 20);
		}
}

/* ---- loading ---- */

static char template_path[] = "/tmp/tallow-faults-XXXXXX";

static struct engine *start_engine(struct error *error)
{
	struct model_options model = {.path = "models/tallow-tiny",
	                              .kv_auto = true,
	                              .n_threads = 1,
	                              .n_parallel = 8,
	                              .context = 512,
	                              .kv_memory_bytes = 3 << 20};
	struct engine_options options = {
	    .model = &model, .chats = true, .chat_template = template_path, .max_tokens = 64, .max_queue = 128};
	struct engine *made = engine_create(&options, error);
	if (made && engine_start(made, error) && engine_wait_ready(made, 60000, error))
		return made;
	engine_destroy(made);
	return NULL;
}

static void loading_says_that_memory_is_short(void **state)
{
	(void)state;
	if (getenv("TALLOW_FAULT_REQUEST"))
		skip();
	struct error ignored;
	engine_destroy(start_engine(&ignored)); /* a second engine's thread leaves its stack behind, once */
	long live = blocks_at_rest(), stride = fault_stride(151), n = 0;
	for (bool reached = true; reached; n += stride) {
		struct error error = {0};
		atomic_store(&n_left_to_fault, n);
		struct engine *made = start_engine(&error);
		reached = atomic_exchange(&n_left_to_fault, -1) < 0;
		struct error chat = {0};
		if (made && !engine_chat_template(made, &chat))
			fail_msg("allocation %ld: no template: %s", n, chat.message);
		engine_destroy(made);
		if (!made && error.code != ERROR_MEMORY)
			fail_msg("allocation %ld: %s: %s", n, error_info(error.code)->wire_name, error.message);
		if (!memory_comes_back(live))
			fail_msg("allocation %ld: %ld blocks are lost", n, atomic_load(&n_live) - live);
	}
	print_message("%ld allocations\n", n);
	assert_true(n > 1000);
}

static int set_up(void **state)
{
	static const char source[] =
	    "{{ bos_token }}{% for m in messages %}<{{ m.role }}{{ m.name or '' }}>{{ m.content }}{% for c in m.tool_calls "
	    "or [] %}"
	    "<tool_call>{{ c | tojson }}</tool_call>{% endfor %}{% endfor %}{{ tools | tojson if tools else '' }}"
	    "{% if add_generation_prompt %}<assistant>{% if reasoning_effort %}<think>{% endif %}{% endif %}";
	(void)state;
	struct error error = {0};
	log_init(LOG_OFF, LOG_FORMAT_PLAIN);
	atomic_store(&n_left_to_fault, -1);
	int fd = mkstemp(template_path);
	if (fd < 0 || write(fd, source, sizeof source - 1) != sizeof source - 1 || close(fd) != 0)
		return -1;
	engine = start_engine(&error);
	if (!engine)
		print_error("%s\n", error.message);
	return engine ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	engine_destroy(engine);
	return unlink(template_path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(loading_says_that_memory_is_short),
	    cmocka_unit_test(requests_end_well_or_with_an_error),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
#endif
