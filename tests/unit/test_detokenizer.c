/* Streaming: half characters wait, spaces stay, and all pushes together are decode(prompt + output) less
 * decode(prompt). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sys/syscall.h>
#include <time.h>

#include "tokenizer_check.h"

/* The CPU time of this thread is what the tests say. */
static int64_t cpu_ns = 1, cpu_ns_per_look;

int clock_gettime(clockid_t clock, struct timespec *now)
{
	if (clock != CLOCK_THREAD_CPUTIME_ID)
		return (int)syscall(SYS_clock_gettime, clock, now);
	cpu_ns += cpu_ns_per_look;
	*now = (struct timespec){.tv_sec = cpu_ns / 1000000000, .tv_nsec = cpu_ns % 1000000000};
	return 0;
}

/* <0x00>..<0xFF> are ids 0..255; the decoder of Llama 2. */
static struct tokenizer *byte_tokenizer(const char *decoder)
{
	struct bytes text = {0};
	struct error error = {0};
	bytes_append_format(&text,
	                    "{\"added_tokens\": [{\"content\": \"<s>\", \"single_word\": false, \"lstrip\": false, "
	                    "\"rstrip\": false, \"normalized\": false, \"special\": true}], \"decoder\": %s, "
	                    "\"model\": {\"type\": \"BPE\", \"byte_fallback\": true, \"merges\": [], \"vocab\": {",
	                    decoder);
	for (int byte = 0; byte < 256; byte++)
		bytes_append_format(&text, "\"<0x%02X>\": %d, ", (unsigned)byte, byte);
	bytes_append_format(&text,
	                    "\"\xE2\x96\x81Hi\": 256, \"\xE2\x96\x81there\": 257, \"\xE2\x96\x81\": 258, \"x\": 259, "
	                    "\"\xE2\x96\x81\xE2\x96\x81z\": 260}}}");
	struct tokenizer *tokenizer = tokenizer_of(text.data, text.n_bytes, &error);
	if (!tokenizer)
		fail_msg("%s", error.message);
	bytes_free(&text);
	return tokenizer;
}

enum { HI = 256, THERE, SPACE, X, SPACES_Z, BOS };

#define REPLACE "{\"type\": \"Replace\", \"pattern\": {\"String\": \"\xE2\x96\x81\"}, \"content\": \" \"}"
#define STRIP   "{\"type\": \"Strip\", \"content\": \" \", \"start\": 1, \"stop\": 0}"
static const char llama_decoder[] = "{\"type\": \"Sequence\", \"decoders\": [" REPLACE
                                    ", {\"type\": \"ByteFallback\"}, {\"type\": \"Fuse\"}, " STRIP "]}";

/* Pushes the ids one by one; each must add exactly its text in `expected` (they stand between '|'). */
static void check_stream(const struct tokenizer *tokenizer, const int32_t *prompt, size_t n_prompt, const int32_t *ids,
                         size_t n_ids, const char *expected)
{
	struct error error = {0};
	struct detokenizer *detokenizer = detokenizer_create(tokenizer, prompt, n_prompt, &error);
	struct bytes text = {0}, row = {0};
	assert_non_null(detokenizer);
	for (size_t i = 0; i < n_ids; i++) {
		bytes_clear(&text);
		detokenizer_push(detokenizer, ids[i], &text);
		bytes_append(&row, text.data, text.n_bytes);
		bytes_append(&row, "|", 1);
	}
	assert_false(detokenizer_holds(detokenizer));
	bytes_clear(&text);
	detokenizer_finish(detokenizer, &text);
	assert_int_equal(text.n_bytes, 0);
	assert_string_equal(row.data, expected);
	bytes_free(&text);
	bytes_free(&row);
	detokenizer_destroy(detokenizer);
}

#define CHECK(tokenizer, expected, ...)                                                                                \
	check_stream(tokenizer, NULL, 0, (const int32_t[]){__VA_ARGS__},                                                   \
	             sizeof((const int32_t[]){__VA_ARGS__}) / sizeof(int32_t), expected)

static void characters_wait_until_they_are_whole(void **state)
{
	(void)state;
	struct tokenizer *t = byte_tokenizer(llama_decoder);
	CHECK(t, "||\xE2\x82\xAC|", 0xE2, 0x82, 0xAC);
	CHECK(t, "x|||\xE2\x82\xAC|x|", X, 0xE2, 0x82, 0xAC, X);
	CHECK(t, "|||\xF0\x9F\x98\x80|", 0xF0, 0x9F, 0x98, 0x80);
	CHECK(t, "|\xC3\xA9||\xC3\xA9|", 0xC3, 0xA9, 0xC3, 0xA9);
	CHECK(t, "A|B|", 0x41, 0x42);
	tokenizer_destroy(t);
}

static void what_cannot_become_valid_is_shown_at_once(void **state)
{
	(void)state;
	struct tokenizer *t = byte_tokenizer(llama_decoder);
	CHECK(t, "\xEF\xBF\xBD|x|", 0x80, X);
	CHECK(t, "\xEF\xBF\xBD|", 0xFF);
	CHECK(t, "|\xEF\xBF\xBDx|", 0xE2, X);
	CHECK(t, "||\xEF\xBF\xBD\xEF\xBF\xBDx|", 0xE2, 0x82, X);
	CHECK(t, "||\xEF\xBF\xBD\xEF\xBF\xBD|\xC3\xA9|", 0xE2, 0x82, 0xC3, 0xA9);
	/* Not even with what follows: overlong, surrogate, beyond U+10FFFF. */
	CHECK(t, "|\xEF\xBF\xBD\xEF\xBF\xBD|", 0xE0, 0x80);
	CHECK(t, "|\xEF\xBF\xBD\xEF\xBF\xBD|", 0xED, 0xA0);
	CHECK(t, "|\xEF\xBF\xBD\xEF\xBF\xBD|", 0xF4, 0x90);
	CHECK(t, "\xEF\xBF\xBD|\xEF\xBF\xBD|", 0xC0, 0xAF);
	CHECK(t, "|||\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBDx|", 0xF0, 0x9F, 0x98, X);
	/* An incomplete tail is dropped. */
	CHECK(t, "x|||", X, 0xE2, 0x82);
	tokenizer_destroy(t);
}

/* Its whole beginning is one, not each of its bytes. */
static void a_character_of_byte_level_that_broke_off_is_shown_once(void **state)
{
	(void)state;
	static const char json[] =
	    "{\"decoder\": {\"type\": \"ByteLevel\", \"add_prefix_space\": false}, \"model\": {\"type\": "
	    "\"BPE\", \"merges\": [], \"vocab\": {\"\u00e2\": 0, \"\u0124\": 1, \"\u00ac\": 2, "
	    "\"a\": 3, \"\u00f0\": 4, \"\u0141\": 5, \"\u013a\": 6}}}";
	enum { E2, H82, AC, A, F0, H9F, H98 }; /* bytes, as those characters stand for them */
	struct error error = {0};
	struct tokenizer *t = tokenizer_of(json, sizeof json - 1, &error);
	assert_non_null(t);
	CHECK(t, "||\xE2\x82\xAC|", E2, H82, AC);
	CHECK(t,
	      "||\xEF\xBF\xBD"
	      "a|",
	      E2, H82, A);
	CHECK(t,
	      "|||\xEF\xBF\xBD"
	      "a|",
	      F0, H9F, H98, A);
	CHECK(t, "||\xEF\xBF\xBD||\xEF\xBF\xBD|\xEF\xBF\xBD|", F0, H9F, E2, H82, F0, E2);
	tokenizer_destroy(t);
}

static void decoding_at_once_shows_each_bad_byte(void **state)
{
	(void)state;
	struct tokenizer *t = byte_tokenizer(llama_decoder);
	struct bytes text = {0};
	struct error error = {0};
	const int32_t ids[] = {X, 0xE2, 0x82, X, 0xC3, 0xA9, 0xF0, 0x9F};
	assert_true(tokenizer_decode(t, ids, 8, true, &text, &error));
	assert_string_equal(text.data, "x\xEF\xBF\xBD\xEF\xBF\xBDx\xC3\xA9\xEF\xBF\xBD\xEF\xBF\xBD");
	bytes_free(&text);
	tokenizer_destroy(t);
}

static void the_space_before_a_word_is_kept(void **state)
{
	(void)state;
	struct tokenizer *t = byte_tokenizer(llama_decoder);
	const int32_t prompt[] = {BOS, HI}, bos[] = {BOS}, half[] = {HI, 0xE2}, output[] = {THERE, X, SPACE, THERE};
	check_stream(t, prompt, 2, output, 4, " there|x| | there|");
	/* At the very start of the text the decoder strips one space, and one only. */
	check_stream(t, bos, 1, output, 4, "there|x| | there|");
	CHECK(t, "| there|", SPACE, THERE);
	CHECK(t, " z|", SPACES_Z);
	CHECK(t, "| |x|", 0x20, 0x20, X);
	/* A character that the prompt began. */
	check_stream(t, half, 2, (const int32_t[]){0x82, 0xAC, X}, 3, "|\xE2\x82\xAC|x|");
	tokenizer_destroy(t);
}

static void special_and_unknown_ids_give_no_text(void **state)
{
	(void)state;
	struct tokenizer *t = byte_tokenizer(llama_decoder);
	CHECK(t, "|Hi||||x|", BOS, HI, BOS, -1, 1000000, X);
	CHECK(t, "|||\xE2\x82\xAC|", 0xE2, BOS, 0x82, 0xAC);
	tokenizer_destroy(t);
}

static void a_token_has_its_own_bytes(void **state)
{
	(void)state;
	static const struct {
		int32_t id;
		const char *bytes;
	} cases[] = {{HI, " Hi"}, {SPACES_Z, "  z"}, {0x82, "\x82"}, {BOS, "<s>"}, {BOS + 1, ""}, {-1, ""}};
	struct tokenizer *t = byte_tokenizer(llama_decoder);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct bytes bytes = {0};
		tokenizer_token_bytes(t, cases[i].id, &bytes);
		assert_false(bytes.failed);
		assert_string_equal(bytes.data ? bytes.data : "", cases[i].bytes);
		bytes_free(&bytes);
	}
	tokenizer_destroy(t);
}

static void decoders_of_other_kinds(void **state)
{
	(void)state;
	struct tokenizer *t = byte_tokenizer("null");
	CHECK(t, "x| x|", X, X);
	tokenizer_destroy(t);
	t = byte_tokenizer("{\"type\": \"Metaspace\", \"replacement\": \"\xE2\x96\x81\", \"prepend_scheme\": \"first\"}");
	CHECK(t, "Hi| there| |", HI, THERE, SPACE);
	CHECK(t, "| there|", SPACE, THERE);
	tokenizer_destroy(t);
	t = byte_tokenizer("{\"type\": \"Sequence\", \"decoders\": [" REPLACE ", " STRIP "]}");
	CHECK(t, "Hi|there|", HI, THERE);
	tokenizer_destroy(t);
}

/* Any cut between prompt and output, in each style: what the stream gives is what decoding at once adds. */
static void streams_equal_decoding_at_once(void **state)
{
	(void)state;
	static const char *const styles[] = {"llama2-style", "llama3-style", "qwen2-style", "gpt2-style"};
	static const char text[] =
	    " Hello, w\xC3\xB6rld! \xF0\x9F\x98\x80\xE4\xBD\xA0\xE5\xA5\xBD <s>the  end\n\n\xE2\x82\xAC.";
	for (size_t i = 0; i < 4; i++) {
		char path[64];
		struct error error = {0};
		struct token_ids ids = {0};
		snprintf(path, sizeof path, "tests/tokenizers/%s", styles[i]);
		struct tokenizer *t = tokenizer_load(path, &error);
		assert_non_null(t);
		assert_true(tokenizer_encode(t, text, sizeof text - 1, WITH_SPECIAL, &ids, &error));
		struct bytes whole = {0};
		assert_true(tokenizer_decode(t, ids.ids, ids.n_ids, true, &whole, &error));
		for (size_t cut = 0; cut <= ids.n_ids; cut++) {
			struct bytes joined = {0};
			struct detokenizer *prompt = detokenizer_create(t, NULL, 0, &error);
			struct detokenizer *output = detokenizer_create(t, ids.ids, cut, &error);
			assert_true(prompt && output);
			for (size_t k = 0; k < cut; k++)
				detokenizer_push(prompt, ids.ids[k], &joined);
			for (size_t k = cut; k < ids.n_ids; k++)
				detokenizer_push(output, ids.ids[k], &joined);
			detokenizer_finish(output, &joined);
			check_text(&joined, whole.data, whole.n_bytes, styles[i]);
			detokenizer_destroy(prompt);
			detokenizer_destroy(output);
			bytes_free(&joined);
		}
		bytes_free(&whole);
		token_ids_free(&ids);
		tokenizer_destroy(t);
	}
}

/* ---- regular expressions ---- */

static const char x_to_y[] =
    "{\"type\": \"Sequence\", \"decoders\": [{\"type\": \"Replace\", \"pattern\": {\"Regex\": \"x\"}, "
    "\"content\": \"y\"}, {\"type\": \"Fuse\"}]}";

/* Between two tokens the engine's thread runs the model: that time is not the expression's. */
static void expressions_pay_for_their_own_time_only(void **state)
{
	(void)state;
	enum { N = 2000 };
	static const int64_t second_ns = 1000000000;
	struct tokenizer *tokenizer = byte_tokenizer(x_to_y);
	struct error error = {0};
	struct bytes text = {0};
	struct detokenizer *detokenizer = detokenizer_create(tokenizer, NULL, 0, &error);
	assert_non_null(detokenizer);
	for (int i = 0; i < N; i++) {
		detokenizer_push(detokenizer, X, &text);
		cpu_ns += second_ns;
	}
	assert_false(text.failed);
	assert_int_equal(text.n_bytes, N);
	assert_int_equal(text.data[N - 1], 'y');
	detokenizer_destroy(detokenizer);
	bytes_free(&text);
	tokenizer_destroy(tokenizer);
}

/* All its tokens together: an expression that takes a second each time it is looked at does not go on for ever. */
static void slow_expressions_end_a_stream(void **state)
{
	(void)state;
	enum { N = 100000 };
	struct tokenizer *tokenizer = byte_tokenizer(x_to_y);
	struct error error = {0};
	struct bytes text = {0};
	struct detokenizer *detokenizer = detokenizer_create(tokenizer, NULL, 0, &error);
	assert_non_null(detokenizer);
	cpu_ns_per_look = 1000000000;
	int n = 0;
	for (; n < N && !text.failed; n++)
		detokenizer_push(detokenizer, X, &text);
	cpu_ns_per_look = 0;
	assert_true(text.failed && n > 1 && n < N);
	detokenizer_destroy(detokenizer);
	bytes_free(&text);
	tokenizer_destroy(tokenizer);
}

/* Stages that are slow one after the other: together they may take what one may. */
static void stages_share_the_time_of_their_expressions(void **state)
{
	(void)state;
	enum { N_STAGES = 8, N = 4096 };
	struct bytes json = {0}, text = {0};
	struct token_ids ids = {0};
	struct error error = {0};
	bytes_append_text(&json,
	                  "{\"model\": {\"type\": \"BPE\", \"vocab\": {\"x\": 0}, \"merges\": []}, \"pre_tokenizer\": "
	                  "{\"type\": \"Sequence\", \"pretokenizers\": [");
	for (int i = 0; i < N_STAGES; i++)
		bytes_append_format(&json,
		                    "%s{\"type\": \"Split\", \"pattern\": {\"Regex\": \"q\"}, \"behavior\": \"Isolated\", "
		                    "\"invert\": false}",
		                    i ? ", " : "");
	bytes_append_text(&json, "]}}");
	for (int i = 0; i < N; i++)
		bytes_append_text(&text, "x");
	struct tokenizer *tokenizer = tokenizer_of(json.data, json.n_bytes, &error);
	assert_non_null(tokenizer);
	assert_true(tokenizer_encode(tokenizer, text.data, text.n_bytes, PLAIN, &ids, &error));
	/* Some seven looks at the clock in each stage, with time for eight. */
	cpu_ns_per_look = 500000000;
	assert_false(tokenizer_encode(tokenizer, text.data, text.n_bytes, PLAIN, &ids, &error));
	cpu_ns_per_look = 0;
	assert_non_null(strstr(error.message, "takes too long"));
	assert_int_equal(ids.n_ids, N);
	token_ids_free(&ids);
	bytes_free(&json);
	bytes_free(&text);
	tokenizer_destroy(tokenizer);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(characters_wait_until_they_are_whole),
	    cmocka_unit_test(what_cannot_become_valid_is_shown_at_once),
	    cmocka_unit_test(a_character_of_byte_level_that_broke_off_is_shown_once),
	    cmocka_unit_test(decoding_at_once_shows_each_bad_byte),
	    cmocka_unit_test(the_space_before_a_word_is_kept),
	    cmocka_unit_test(special_and_unknown_ids_give_no_text),
	    cmocka_unit_test(a_token_has_its_own_bytes),
	    cmocka_unit_test(decoders_of_other_kinds),
	    cmocka_unit_test(streams_equal_decoding_at_once),
	    cmocka_unit_test(expressions_pay_for_their_own_time_only),
	    cmocka_unit_test(slow_expressions_end_a_stream),
	    cmocka_unit_test(stages_share_the_time_of_their_expressions),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
