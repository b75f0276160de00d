/* The engine with constraints (engine/constraint.h) on the shipped model: whatever is drawn, however wildly, is what the
 * constraint says; an answer ends where it can do nothing else; and its tokens are the same alone and in company. */
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
#include "engine/engine.h"
#include "model/plan.h"
#include "text/grammar.h"
#include "text/grammar/grammar_private.h"
#include "text/tokenizer.h"

enum { N_PROMPT = 40, MAX_TOKENS = 200, MAX_TEXT = 8192, N_KINDS = 9, N_ROUNDS = 60 };

static const struct source {
	enum grammar_kind kind;
	const char *text;
} sources[N_KINDS] = {
    {GRAMMAR_JSON_SCHEMA,
     "{\"type\":\"object\",\"properties\":{\"name\":{\"type\":\"string\",\"maxLength\":12},\"age\":"
     "{\"type\":\"integer\",\"minimum\":0,\"maximum\":150}},\"required\":[\"name\",\"age\"],"
     "\"additionalProperties\":false}"},
    {GRAMMAR_REGEX, "[0-9]{3}-[a-zé]{2,9}(!|\\?)"},
    {GRAMMAR_CHOICE, "[\"order\",\"orderId\",\"orders of magnitude\",\"no\"]"},
    {GRAMMAR_GBNF, "root ::= item (\", \" item){0,3}\nitem ::= \"(\" item? \")\" | [a-c]"},
    {GRAMMAR_JSON_SCHEMA,
     "{\"type\":\"array\",\"maxItems\":4,\"items\":{\"oneOf\":[{\"const\":null},{\"type\":\"number\","
     "\"multipleOf\":0.25,\"minimum\":-9,\"maximum\":9},{\"enum\":[\"\\\"\",\"\\u00e9\\n\"]}]}}"},
    {GRAMMAR_JSON_SCHEMA, "{\"type\":\"string\",\"format\":\"date\"}"},
    {GRAMMAR_GBNF, "root ::= \"\""},
    {GRAMMAR_JSON_SCHEMA, "{\"not\":{\"type\":[\"object\",\"array\",\"string\",\"number\"]}}"},
    {GRAMMAR_JSON_SCHEMA,
     "{\"type\":\"array\",\"uniqueItems\":true,\"minItems\":3,\"maxItems\":9,\"items\":{\"anyOf\":[{"
     "\"enum\":[\"order\",\"orderId\",1,12,true]},{\"type\":\"string\",\"maxLength\":2}]}}"},
};

static struct grammar *compile(const struct source *source)
{
	struct error error = {0};
	struct grammar *grammar = grammar_compile(source->kind, source->text, strlen(source->text), NULL, &error);
	if (!grammar)
		fail_msg("%s: %s", source->text, error.message);
	return grammar;
}

static struct engine *open_engine_with(int n_parallel, uint64_t constraint_bytes)
{
	struct error error = {0};
	struct model_options model = {.path = "models/tallow-tiny",
	                              .weights_auto = true,
	                              .kv_auto = true,
	                              .n_threads = 2,
	                              .n_parallel = n_parallel,
	                              .context = 512,
	                              .constraint_bytes = constraint_bytes};
	struct engine_options options = {.model = &model, .max_queue = 64};
	struct engine *engine = engine_create(&options, &error);
	assert_non_null(engine);
	if (!engine_start(engine, &error) || !engine_wait_ready(engine, 600000, &error))
		fail_msg("%s", error.message);
	return engine;
}

static struct engine *open_engine(int n_parallel)
{
	return open_engine_with(n_parallel, 0);
}

/* ---- requests ---- */

struct job {
	int32_t prompt[N_PROMPT];
	struct request request;
	const struct source *source; /* NULL: none */
	char text[MAX_TEXT];
	size_t n_text;
	int32_t tokens[MAX_TOKENS];
	int n_tokens;
	struct error error;
	enum stop_reason stop_reason;
};

static void make_job(struct job *job, int number)
{
	static const struct logit_bias biases[] = {{.token = 20, .bias = 100}, {.token = 33, .bias = -100}};
	*job = (struct job){.source = &sources[number % N_KINDS]};
	for (int i = 0; i < N_PROMPT; i++)
		job->prompt[i] = 300 + (i * 7 + number / N_KINDS * 13) % 500;
	job->request = (struct request){
	    .prompt = job->prompt,
	    .n_prompt = N_PROMPT,
	    .max_tokens = MAX_TOKENS,
	    .sampling = {.temperature = number % 5 == 4 ? 0 : 2,
	                 .top_p = number % 3 == 1 ? 0.9 : 1,
	                 .top_k = number % 4 == 1 ? 5 : 0,
	                 .repetition_penalty = number % 2 ? 1.3 : 1,
	                 .mirostat_tau = number % 7 == 3 ? 4 : 0,
	                 .mirostat_eta = 0.1,
	                 .min_tokens = number % 6 == 5 ? 3 : 0,
	                 .n_biases = number % 3,
	                 .biases = biases,
	                 .seed = (uint64_t)number,
	                 .logprobs = number % 2,
	                 .n_top_logprobs = 2},
	    .ignore_eos = number % 4 == 2,
	};
	snprintf(job->request.job_id, sizeof job->request.job_id, "job-%d", number);
}

static struct stream *submit(struct engine *engine, struct job *job)
{
	struct error error = {0};
	job->request.grammar = job->source ? compile(job->source) : NULL;
	struct stream *stream = engine_submit(engine, &job->request, NULL, &error);
	if (!stream)
		fail_msg("%s", error.message);
	return stream;
}

static void take(struct job *job, const struct event *event)
{
	if (event->type == EVENT_TOKEN) {
		assert_true(job->n_tokens < MAX_TOKENS && job->n_text + event->n_text_bytes < MAX_TEXT);
		job->tokens[job->n_tokens++] = event->token;
		memcpy(job->text + job->n_text, event->text, event->n_text_bytes);
		job->n_text += event->n_text_bytes;
		if (event->logprobs)
			assert_true(event->logprobs->logprob <= 0 && event->logprobs->logprob > LOGPROB_LEAST);
	}
	job->stop_reason = event->stop_reason;
	job->error = event->error;
}

static void drain(struct stream *stream, struct job *job)
{
	struct event event = {0};
	while (event.type != EVENT_END && event.type != EVENT_ERROR) {
		if (stream_next(stream, &event))
			take(job, &event);
		else
			poll(&(struct pollfd){.fd = stream_fd(stream), .events = POLLIN}, 1, -1);
	}
	stream_close(stream);
}

/* Whole where it ended by itself; else a beginning of what the constraint says. */
static void check_text(const struct job *job)
{
	struct grammar *grammar = compile(job->source);
	if (job->error.code != ERROR_NONE)
		fail_msg("%s: %s", job->source->text, job->error.message);
	if (!grammar_take(grammar, job->text, job->n_text))
		fail_msg("%s may not be %.*s", job->source->text, (int)job->n_text, job->text);
	assert_int_equal(job->stop_reason, grammar_complete(grammar) ? STOP_EOS : STOP_MAX_TOKENS);
	grammar_destroy(grammar);
}

static struct job jobs[N_KINDS * N_ROUNDS], alone[N_KINDS];

static void whatever_is_drawn_is_what_the_constraint_says(void **state)
{
	(void)state;
	struct stream *streams[N_KINDS];
	struct engine *engine = open_engine(N_KINDS);
	for (int round = 0; round < N_ROUNDS; round++) {
		struct job *of_round = &jobs[round * N_KINDS];
		for (int i = 0; i < N_KINDS; i++) {
			make_job(&of_round[i], round * N_KINDS + i);
			streams[i] = submit(engine, &of_round[i]);
		}
		for (int i = 0; i < N_KINDS; i++) {
			drain(streams[i], &of_round[i]);
			check_text(&of_round[i]);
		}
	}
	engine_destroy(engine);
}

static void tokens_do_not_depend_on_company(void **state)
{
	(void)state;
	struct engine *engine = open_engine(1);
	for (int i = 0; i < N_KINDS; i++) { /* those of the round before, in another engine */
		make_job(&alone[i], (N_ROUNDS - 1) * N_KINDS + i);
		drain(submit(engine, &alone[i]), &alone[i]);
		const struct job *other = &jobs[(N_ROUNDS - 1) * N_KINDS + i];
		assert_int_equal(alone[i].n_tokens, other->n_tokens);
		assert_memory_equal(alone[i].tokens, other->tokens, (size_t)other->n_tokens * sizeof *other->tokens);
	}
	engine_destroy(engine);
}

/* ---- ends ---- */

static void run(struct engine *engine, struct job *job, const struct source *source)
{
	static int n_jobs = 100000;
	job->source = source;
	snprintf(job->request.job_id, sizeof job->request.job_id, "job-%d", n_jobs++);
	drain(submit(engine, job), job);
}

static void an_answer_ends_where_nothing_else_may_come(void **state)
{
	(void)state;
	static const struct source empty = {GRAMMAR_REGEX, "(ab)?"}, one = {GRAMMAR_CHOICE, "[\"ab\"]"};
	struct engine *engine = open_engine(2);
	struct job job;
	make_job(&job, 0);
	job.request.ignore_eos = true;
	job.request.sampling.min_tokens = 100;
	run(engine, &job, &one); /* neither makes it go on */
	assert_int_equal(job.error.code, ERROR_NONE);
	assert_int_equal(job.stop_reason, STOP_EOS);
	assert_int_equal(job.n_text, 2);
	make_job(&job, 1); /* what may end at once, and shall have a token at least */
	job.request.sampling.min_tokens = 1;
	run(engine, &job, &empty);
	assert_int_equal(job.n_text, 2);
	make_job(&job, 2);
	job.request.max_tokens = 1; /* whole at the last token: the end is no cut */
	run(engine, &job, &(struct source){GRAMMAR_CHOICE, "[\"a\"]"});
	assert_int_equal(job.stop_reason, STOP_EOS);
	assert_int_equal(job.n_tokens, 1);
	for (int i = 0; i < 8; i++) { /* what is drawn would go on, and there is no time for that */
		make_job(&job, i);
		job.request.ignore_eos = true;
		job.request.whole = true;
		job.request.max_tokens = 4;
		run(engine, &job, &(struct source){GRAMMAR_REGEX, "x([a-z0-9]{300})?"});
		if (job.error.code != ERROR_NONE)
			fail_msg("%s", job.error.message);
		assert_int_equal(job.stop_reason, STOP_EOS);
		assert_true(job.n_text == 1 && job.text[0] == 'x');
	}
	engine_destroy(engine);
}

static void stops_end_a_constrained_answer_too(void **state)
{
	(void)state;
	static const struct source digits = {GRAMMAR_REGEX, "[0-9]{30}"};
	struct engine *engine = open_engine(2);
	struct job first, stopped;
	make_job(&first, 0);
	run(engine, &first, &digits);
	assert_int_equal(first.n_text, 30);
	make_job(&stopped, 0);
	stopped.request.stops[0] = (struct stop_string){.text = first.text + 7, .n_bytes = 3};
	stopped.request.n_stops = 1;
	run(engine, &stopped, &digits);
	assert_int_equal(stopped.stop_reason, STOP_SEQUENCE);
	assert_true(stopped.n_text <= 7);
	make_job(&stopped, 0);
	stopped.request.sampling.stop_tokens = &first.tokens[0];
	stopped.request.sampling.n_stop_tokens = 1;
	run(engine, &stopped, &digits); /* a token with text of its own may end it where that may come */
	assert_int_equal(stopped.stop_reason, STOP_EOS);
	assert_int_equal(stopped.n_tokens, 0);
	engine_destroy(engine);
}

/* Control tokens that are tags of calls are text where a grammar has their spelling, as few tokens as they are. */
static void a_shown_control_token_is_its_spelling(void **state)
{
	(void)state;
	enum { TAG = 3 };
	static const struct logit_bias bias = {.token = TAG, .bias = 100};
	struct error error = {0};
	struct tokenizer *tokenizer = tokenizer_load("models/tallow-tiny", &error);
	assert_non_null(tokenizer);
	size_t n_tag;
	const char *tag = tokenizer_token_text(tokenizer, TAG, &n_tag);
	assert_true(tag && tokenizer_is_special(tokenizer, TAG));
	char grammar[200], expected[100];
	snprintf(grammar, sizeof grammar, "root ::= \"%.*s\" [a-c]{2} | \"%.*s\" [d-f]{60}", (int)n_tag, tag, (int)n_tag,
	         tag);
	struct engine *engine = open_engine(2);
	for (int whole = 0; whole < 2; whole++) {
		struct job job;
		make_job(&job, 0);
		job.request.shown[job.request.n_shown++] = TAG;
		job.request.sampling.biases = &bias;
		job.request.sampling.n_biases = 1;
		job.request.whole = whole;
		job.request.max_tokens = whole ? 14 : MAX_TOKENS; /* no room for the longer one */
		run(engine, &job, &(struct source){GRAMMAR_GBNF, grammar});
		assert_int_equal(job.error.code, ERROR_NONE);
		assert_int_equal(job.tokens[0], TAG);
		snprintf(expected, sizeof expected, "%.*s", (int)n_tag, tag);
		assert_memory_equal(job.text, expected, n_tag);
		assert_int_equal(job.stop_reason, STOP_EOS);
		if (whole)
			assert_int_equal(job.n_text, n_tag + 2);
	}
	engine_destroy(engine);
	tokenizer_destroy(tokenizer);
}

/* ---- forced tokens ---- */

/* Characters that no token of the vocabulary is made of: most bytes have one way to go on. */
static const struct source forced_ways[] = {
    {GRAMMAR_GBNF,
     "root ::= (a | b){6}\na ::= \"\\x01\\x02\\x03☃☄\\x04\\x05\\x06\\x07\"\nb ::= \"\\x0e\\x0f\\x10𝄞\\x11\\x12\""},
    {GRAMMAR_JSON_SCHEMA, "{\"type\":\"object\",\"properties\":{"
                          "\"☃☄★☃☄★𝄞𝄢𝄪\":{\"enum\":[1,25]},"
                          "\"₮₾₮₾₮₾\":{\"type\":\"boolean\"}},"
                          "\"required\":[\"☃☄★☃☄★𝄞𝄢𝄪\",\"₮₾₮₾₮₾\"],"
                          "\"additionalProperties\":false}"},
};

static uint64_t count_forced(struct engine *engine)
{
	struct engine_metrics metrics;
	engine_metrics(engine, &metrics);
	return metrics.forced_tokens;
}

/* Whoever asks for log-probabilities has a step for each token. */
static void forced_tokens_are_those_that_would_be_drawn(void **state)
{
	(void)state;
	enum { N_JOBS = 24, N_TOGETHER = 3 };
	static struct job forced[N_JOBS];
	struct stream *streams[N_TOGETHER];
	struct engine *engine = open_engine(N_TOGETHER);
	uint64_t n_tokens = 0, n_forced;
	for (int i = 0; i < N_JOBS; i += N_TOGETHER) {
		for (int j = i; j < i + N_TOGETHER; j++) {
			make_job(&forced[j], j);
			forced[j].source = &forced_ways[j % 2];
			forced[j].request.sampling.logprobs = false;
			forced[j].request.sampling.mirostat_tau = 0;
			forced[j].request.max_tokens = j % 5 ? MAX_TOKENS : 20; /* also cut in the middle of a run */
			streams[j - i] = submit(engine, &forced[j]);
		}
		for (int j = i; j < i + N_TOGETHER; j++) {
			drain(streams[j - i], &forced[j]);
			assert_int_equal(forced[j].error.code, ERROR_NONE);
			n_tokens += (uint64_t)forced[j].n_tokens;
		}
	}
	n_forced = count_forced(engine);
	if (n_forced * 10 < n_tokens * 3)
		fail_msg("%llu of %llu tokens are forced", (unsigned long long)n_forced, (unsigned long long)n_tokens);
	for (int i = 0; i < N_JOBS; i++) {
		struct job drawn;
		make_job(&drawn, i);
		drawn.request.sampling.logprobs = true;
		drawn.request.sampling.mirostat_tau = 0;
		drawn.request.max_tokens = forced[i].request.max_tokens;
		run(engine, &drawn, forced[i].source);
		assert_int_equal(drawn.n_tokens, forced[i].n_tokens);
		assert_memory_equal(drawn.tokens, forced[i].tokens, (size_t)drawn.n_tokens * sizeof *drawn.tokens);
		assert_int_equal(drawn.stop_reason, forced[i].stop_reason);
	}
	assert_true(count_forced(engine) == n_forced);
	engine_destroy(engine);
}

/* Where a word is complete the text goes back, and the constraint with it. */
static void words_that_must_not_come_make_no_other_text(void **state)
{
	(void)state;
	static const struct source digits = {GRAMMAR_REGEX, "[0-9]{30}[ab]"};
	static const struct bad_word words[] = {{"11", 2}, {"023", 3},  {"7", 1}, {"b", 1},
	                                        {"90", 2}, {"9981", 4}, {"55", 2}};
	struct engine *engine = open_engine(2);
	int n_other = 0;
	for (int i = 0; i < 40; i++) {
		struct job plain, job;
		make_job(&plain, i);
		make_job(&job, i);
		run(engine, &plain, &digits);
		job.request.sampling.bad_words = words;
		job.request.sampling.n_bad_words = sizeof words / sizeof *words;
		job.request.whole = i % 2;
		job.request.max_tokens = i % 2 ? 33 : MAX_TOKENS;
		run(engine, &job, &digits);
		check_text(&job);
		assert_int_equal(job.n_text, 31);
		for (size_t j = 0; j < sizeof words / sizeof *words; j++)
			assert_null(memmem(job.text, job.n_text, words[j].text, words[j].n_bytes));
		n_other += job.n_text != plain.n_text || memcmp(job.text, plain.text, job.n_text) != 0;
	}
	assert_true(n_other > 20);
	engine_destroy(engine);
}

/* ---- whole outputs ---- */

static const struct source long_ways[] = {
    {GRAMMAR_JSON_SCHEMA,
     "{\"type\":\"object\",\"properties\":{\"a\":{\"anyOf\":[{\"type\":\"string\"},{\"type\":\"array\","
     "\"items\":{\"enum\":[\"a long one\",\"another, which is longer\"]},\"minItems\":9}]},\"b\":{\"$ref\":"
     "\"#\"}},\"required\":[\"a\"],\"additionalProperties\":false}"},
    {GRAMMAR_JSON_SCHEMA, "{\"type\":\"array\",\"items\":{\"type\":\"array\",\"items\":{\"type\":\"number\"}}}"},
    {GRAMMAR_JSON_SCHEMA, "{\"type\":\"string\",\"minLength\":7,\"pattern\":\"^[é\\\\n\\\"a]*$\"}"},
    {GRAMMAR_JSON_SCHEMA,
     "{\"type\":\"string\",\"not\":{\"enum\":[\"\",\"a\"]},\"pattern\":\"^[\\u0000-\\u001f€]*$\"}"},
    {GRAMMAR_JSON_SCHEMA, "{\"type\":\"array\",\"items\":{\"enum\":[\"\",\"a\",\"b\",\"a long one\",\"another, which "
                          "is longer\",1,true,10,0.25]},"
                          "\"uniqueItems\":true,\"minItems\":7}"},
    {GRAMMAR_JSON_SCHEMA, "{\"type\":\"array\",\"items\":{\"type\":\"number\",\"minimum\":0.5,\"maximum\":3},"
                          "\"uniqueItems\":true,\"minItems\":5}"},
    {GRAMMAR_JSON_SCHEMA,
     "{\"type\":\"array\",\"items\":{\"type\":[\"number\",\"null\"]},\"uniqueItems\":true,\"minItems\":12}"},
    {GRAMMAR_JSON_SCHEMA, "{\"type\":\"array\",\"items\":{\"type\":\"string\",\"pattern\":\"^[é\\n\\\"a]*$\"},"
                          "\"uniqueItems\":true,\"minItems\":6}"},
    {GRAMMAR_JSON_SCHEMA, "{\"type\":\"array\",\"items\":{\"enum\":[\"a\",\"bb\",7]},\"uniqueItems\":true,"
                          "\"prefixItems\":[{\"type\":[\"string\",\"number\"]}]}"},
    {GRAMMAR_REGEX, "(a|bc)*(dddd|[é-ü]{2}x*)"},
    {GRAMMAR_GBNF, "root ::= \"(\" root \")\" | \"[\" root root \"]\" | [0-9]{3}"},
    {GRAMMAR_JSON_OBJECT, ""},
};
enum { N_WAYS = sizeof long_ways / sizeof *long_ways };

static struct grammar_vocabulary *read_vocabulary(void)
{
	struct error error = {0};
	struct tokenizer *tokenizer = tokenizer_load("models/tallow-tiny", &error);
	struct grammar_vocabulary *vocabulary = tokenizer ? grammar_vocabulary_create(tokenizer, &error) : NULL;
	if (!vocabulary)
		fail_msg("%s", error.message);
	tokenizer_destroy(tokenizer);
	return vocabulary;
}

/* After `text` and the byte; UINT32_MAX where it may not come. */
static uint32_t left_after(struct grammar *grammar, const struct grammar_vocabulary *vocabulary, const char *text,
                           size_t n, int byte)
{
	char next = (char)byte;
	grammar_restart(grammar);
	assert_true(grammar_take(grammar, text, n));
	return grammar_take(grammar, &next, 1) ? grammar_bytes_left(grammar, vocabulary) : UINT32_MAX;
}

/* The distance to the end is exact: it is 0 where the text may end, else one more than the least after any byte. */
static void the_shortest_end_is_the_shortest(void **state)
{
	(void)state;
	struct grammar_vocabulary *vocabulary = read_vocabulary();
	for (int i = 0; i < N_WAYS; i++) {
		struct grammar *grammar = compile(&long_ways[i]);
		uint64_t random = (uint64_t)i * 77 + 5;
		char text[64];
		for (size_t n = 0; n < sizeof text; n++) {
			grammar_restart(grammar);
			assert_true(grammar_take(grammar, text, n));
			uint32_t left = grammar_bytes_left(grammar, vocabulary), least = UINT32_MAX;
			assert_int_equal(left == 0, grammar_complete(grammar));
			int allowed[256], n_allowed = 0;
			for (int byte = 0; byte < 256; byte++) {
				uint32_t after = left_after(grammar, vocabulary, text, n, byte);
				least = after < least ? after : least;
				if (after != UINT32_MAX)
					allowed[n_allowed++] = byte;
			}
			if (left > 0 && least + 1 != left)
				fail_msg("%s: %u bytes from the end after \"%.*s\", %u after another", long_ways[i].text, left, (int)n,
				         text, least);
			if (n_allowed == 0)
				break;
			random = random * 6364136223846793005ULL + 1442695040888963407ULL;
			text[n] = (char)allowed[(random >> 33) % (uint64_t)n_allowed];
		}
		grammar_destroy(grammar);
	}
	grammar_vocabulary_destroy(vocabulary);
}

/* Letters are hundreds of ranges, and each of them is a way on. */
static void the_shortest_end_is_found_among_many(void **state)
{
	(void)state;
	static const struct source list[] = {{GRAMMAR_REGEX, "\\p{L}{200}"}, {GRAMMAR_REGEX, "(\\p{L}\\p{N}?){200}"}};
	struct grammar_vocabulary *vocabulary = read_vocabulary();
	for (int i = 0; i < 2; i++) {
		struct grammar *grammar = compile(&list[i]);
		assert_int_equal(grammar_bytes_left(grammar, vocabulary), 200);
		assert_true(grammar_tokens_left(grammar, vocabulary) <= 200);
		grammar_destroy(grammar);
	}
	grammar_vocabulary_destroy(vocabulary);
}

/* An object with so many members that must be there. */
static struct grammar *compile_members(int n, const char *schema)
{
	static char text[1 << 17];
	struct source source = {GRAMMAR_JSON_SCHEMA, text};
	size_t at = 0;
	for (int i = 0; i < n; i++)
		at += (size_t)snprintf(text + at, sizeof text - at, "%s\"member_%d\":%s",
		                       i ? "," : "{\"type\":\"object\",\"properties\":{", i, schema);
	at += (size_t)snprintf(text + at, sizeof text - at, "},\"additionalProperties\":false,\"required\":[");
	for (int i = 0; i < n; i++)
		at += (size_t)snprintf(text + at, sizeof text - at, "%s\"member_%d\"", i ? "," : "", i);
	at += (size_t)snprintf(text + at, sizeof text - at, "]}");
	assert_true(at < sizeof text);
	return compile(&source);
}

static void make_mask_within(struct grammar *grammar, const struct grammar_vocabulary *vocabulary, uint32_t n_left,
                             uint32_t *mask)
{
	struct error error = {0};
	if (!grammar_mask_within(grammar, vocabulary, n_left, mask, &error))
		fail_msg("%s", error.message);
}

/* A token of the mask that has bytes; -1: only the end is left. */
static int32_t draw_token(const struct grammar_vocabulary *vocabulary, const uint32_t *mask, uint64_t *random)
{
	size_t n_ids = grammar_mask_words(vocabulary) * 32, n_bytes;
	*random = *random * 6364136223846793005ULL + 1442695040888963407ULL;
	for (size_t i = 0, first = (size_t)(*random >> 33); i < n_ids; i++) {
		size_t id = (first + i) % n_ids;
		if (mask[id / 32] >> id % 32 & 1 && grammar_token_bytes(vocabulary, (int32_t)id, &n_bytes))
			return (int32_t)id;
	}
	return -1;
}

/* However many tokens may come, the rests of the texts that they lead to are mostly one, which is written once. */
static void what_is_left_is_found_once(void **state)
{
	(void)state;
	enum { N_MEMBERS = 20, MORE = 30 };
	struct grammar_vocabulary *vocabulary = read_vocabulary();
	struct grammar *grammar = compile_members(N_MEMBERS, "{\"type\":\"string\",\"pattern\":\"^[a-z]{20}$\"}");
	uint32_t *mask = calloc(grammar_mask_words(vocabulary), sizeof *mask);
	assert_non_null(mask);
	uint32_t n_bytes = grammar_bytes_left(grammar, vocabulary), left = grammar_tokens_left(grammar, vocabulary) + MORE;
	uint64_t random = 3;
	assert_true(n_bytes > N_MEMBERS * 20);
	while (!grammar_over(grammar)) {
		make_mask_within(grammar, vocabulary, --left, mask);
		assert_true(grammar_token(grammar, vocabulary, draw_token(vocabulary, mask, &random)));
	}
	assert_true(grammar->n_found > 0);
	if (grammar->n_found > n_bytes * 4)
		fail_msg("%llu bytes were looked for, the shortest text has %u", (unsigned long long)grammar->n_found, n_bytes);
	free(mask);
	grammar_destroy(grammar);
	grammar_vocabulary_destroy(vocabulary);
}

/* What a grammar has found before changes nothing: its masks are those of one that has found nothing yet. */
static void masks_within_are_those_of_a_new_grammar(void **state)
{
	(void)state;
	struct grammar_vocabulary *vocabulary = read_vocabulary();
	size_t n_words = grammar_mask_words(vocabulary), n_bytes;
	uint32_t *mask = calloc(n_words, sizeof *mask), *other = calloc(n_words, sizeof *other);
	assert_true(mask && other);
	for (int i = 0; i < N_WAYS; i++) {
		struct grammar *grammar = compile(&long_ways[i]);
		uint32_t left = grammar_tokens_left(grammar, vocabulary) + (uint32_t)i % 4;
		uint64_t random = (uint64_t)i * 31 + 1;
		struct bytes text = {0};
		while (!grammar_over(grammar) && left > 0) {
			struct grammar *new_one = compile(&long_ways[i]);
			assert_true(grammar_take(new_one, text.data, text.n_bytes));
			make_mask_within(grammar, vocabulary, --left, mask);
			make_mask_within(new_one, vocabulary, left, other);
			assert_memory_equal(mask, other, n_words * sizeof *mask);
			assert_int_equal(grammar_tokens_left(grammar, vocabulary), grammar_tokens_left(new_one, vocabulary));
			grammar_destroy(new_one);
			int32_t id = draw_token(vocabulary, mask, &random);
			if (id < 0)
				break;
			assert_true(grammar_token(grammar, vocabulary, id));
			const char *bytes = grammar_token_bytes(vocabulary, id, &n_bytes);
			bytes_append(&text, bytes, n_bytes);
		}
		assert_true(grammar_complete(grammar));
		bytes_free(&text);
		grammar_destroy(grammar);
	}
	free(mask);
	free(other);
	grammar_vocabulary_destroy(vocabulary);
}

/* What was found of a large output stays known from mask to mask: to find it again each time takes more steps than there
 * are. */
static void a_large_output_ends_in_little_room(void **state)
{
	(void)state;
	enum { N_MEMBERS = 700, N_MASKS = 30 };
	struct grammar_vocabulary *vocabulary = read_vocabulary();
	struct grammar *grammar = compile_members(N_MEMBERS, "{\"type\":\"string\",\"minLength\":40}");
	uint32_t *mask = calloc(grammar_mask_words(vocabulary), sizeof *mask);
	assert_non_null(mask);
	uint32_t left = grammar_tokens_left(grammar, vocabulary);
	uint64_t random = 5;
	for (int i = 0; i < N_MASKS; i++) {
		make_mask_within(grammar, vocabulary, --left, mask);
		assert_true(grammar_token(grammar, vocabulary, draw_token(vocabulary, mask, &random)));
	}
	free(mask);
	grammar_destroy(grammar);
	grammar_vocabulary_destroy(vocabulary);
}

static void an_output_is_whole_however_little_room_there_is(void **state)
{
	(void)state;
	static const int more[] = {0, 1, 2, 5, 17, 40, 90};
	struct grammar_vocabulary *vocabulary = read_vocabulary();
	struct engine *engine = open_engine(2);
	for (int i = 0; i < N_WAYS * 7; i++) {
		const struct source *source = &long_ways[i % N_WAYS];
		struct grammar *grammar = compile(source);
		struct job job;
		make_job(&job, i);
		uint32_t least = grammar_tokens_left(grammar, vocabulary);
		assert_true(least > 0 && least <= grammar_bytes_left(grammar, vocabulary));
		job.request.max_tokens = (int64_t)least + more[i % 7];
		job.request.whole = true;
		run(engine, &job, source);
		assert_int_equal(job.error.code, ERROR_NONE);
		if (!grammar_take(grammar, job.text, job.n_text) || !grammar_complete(grammar))
			fail_msg("%s, in %d tokens: %.*s", source->text, (int)job.request.max_tokens, (int)job.n_text, job.text);
		grammar_destroy(grammar);
	}
	grammar_vocabulary_destroy(vocabulary);
	engine_destroy(engine);
}

static void too_little_room_is_told_with_the_number(void **state)
{
	(void)state;
	struct grammar_vocabulary *vocabulary = read_vocabulary();
	struct engine *engine = open_engine(2);
	struct error error = {0};
	struct job job;
	char number[16];
	make_job(&job, 0);
	job.request.grammar = compile(&sources[0]);
	job.request.whole = true;
	uint32_t least = grammar_tokens_left(job.request.grammar, vocabulary);
	job.request.max_tokens = (int64_t)least - 1;
	assert_null(engine_submit(engine, &job.request, NULL, &error));
	assert_int_equal(error.code, ERROR_CONSTRAINT);
	snprintf(number, sizeof number, " %u tokens", least);
	assert_non_null(strstr(error.message, number));
	grammar_destroy(job.request.grammar); /* still the caller's */
	grammar_vocabulary_destroy(vocabulary);
	engine_destroy(engine);
}

/* NULL where others have all that there is. */
static struct stream *submit_if_it_fits(struct engine *engine, struct job *job, int number)
{
	struct error error = {0};
	int retry_after_s = 0;
	make_job(job, number);
	job->request.grammar = compile(&sources[0]);
	struct stream *stream = engine_submit(engine, &job->request, &retry_after_s, &error);
	if (!stream) {
		assert_int_equal(error.code, ERROR_QUEUE_FULL);
		assert_true(retry_after_s > 0);
		grammar_destroy(job->request.grammar);
	}
	return stream;
}

static void constraints_have_their_share_of_memory(void **state)
{
	enum { SHARE = 8 << 20, MOST = 16, N_WORDS = 20000 };
	(void)state;
	struct engine *engine = open_engine_with(1, SHARE);
	struct stream *streams[MOST];
	struct error error = {0};
	int n = 0;
	while (n < MOST && (streams[n] = submit_if_it_fits(engine, &jobs[n], n * N_KINDS)))
		n++;
	assert_true(n > 1 && n < MOST);
	struct engine_metrics metrics;
	engine_metrics(engine, &metrics);
	assert_int_equal(metrics.requests[OUTCOME_REJECTED], 1);
	for (int i = 0; i < n; i++) {
		drain(streams[i], &jobs[i]);
		check_text(&jobs[i]);
	}
	/* What a sequence holds is given back behind its last event: as many fit again. */
	for (int i = 0; i < n; i++) {
		int left = 60000;
		while (!(streams[i] = submit_if_it_fits(engine, &jobs[i], i * N_KINDS)) && --left > 0)
			nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
		assert_non_null(streams[i]);
	}
	for (int i = 0; i < n; i++)
		drain(streams[i], &jobs[i]);
	/* Choices that never fit beside each other are refused for good. */
	struct request choices[MOST];
	for (int i = 0; i < MOST; i++) {
		make_job(&jobs[i], 0);
		choices[i] = jobs[0].request;
		choices[i].grammar = compile(&sources[0]);
	}
	assert_null(engine_submit_all(engine, choices, MOST, NULL, &error));
	assert_int_equal(error.code, ERROR_CONSTRAINT);
	for (int i = 0; i < MOST; i++)
		grammar_destroy(choices[i].grammar);
	/* One that alone takes more than its part is refused where it is compiled, for itself. */
	static char words[N_WORDS * 20];
	size_t at = 0;
	for (int i = 0; i < N_WORDS; i++)
		at += (size_t)snprintf(words + at, sizeof words - at, "%s\"%dword%d\"", i ? "," : "[", i * 7919 % N_WORDS, i);
	snprintf(words + at, sizeof words - at, "]");
	assert_null(grammar_compile(GRAMMAR_CHOICE, words, strlen(words), NULL, &error));
	assert_int_equal(error.code, ERROR_CONSTRAINT);
	assert_non_null(strstr(error.message, "too large"));
	engine_destroy(engine);
	grammars_allow(GRAMMAR_MAX_BYTES);
	struct grammar *grammar = grammar_compile(GRAMMAR_CHOICE, words, strlen(words), NULL, &error);
	assert_non_null(grammar);
	grammar_destroy(grammar);
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
	    cmocka_unit_test(whatever_is_drawn_is_what_the_constraint_says),
	    cmocka_unit_test(tokens_do_not_depend_on_company),
	    cmocka_unit_test(an_answer_ends_where_nothing_else_may_come),
	    cmocka_unit_test(stops_end_a_constrained_answer_too),
	    cmocka_unit_test(a_shown_control_token_is_its_spelling),
	    cmocka_unit_test(forced_tokens_are_those_that_would_be_drawn),
	    cmocka_unit_test(words_that_must_not_come_make_no_other_text),
	    cmocka_unit_test(the_shortest_end_is_the_shortest),
	    cmocka_unit_test(the_shortest_end_is_found_among_many),
	    cmocka_unit_test(what_is_left_is_found_once),
	    cmocka_unit_test(masks_within_are_those_of_a_new_grammar),
	    cmocka_unit_test(a_large_output_ends_in_little_room),
	    cmocka_unit_test(an_output_is_whole_however_little_room_there_is),
	    cmocka_unit_test(too_little_room_is_told_with_the_number),
	    cmocka_unit_test(constraints_have_their_share_of_memory),
	};
	return cmocka_run_group_tests(tests, quiet, NULL);
}
