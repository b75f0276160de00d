/* Tokenizers against Hugging Face's: the four styles on hard texts, and every stage, option and flag on its own
 * (tests/tokenizers, made by tests/goldens/make_tokenizers.py). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>

#include "tokenizer_check.h"

static void check_style(const char *style)
{
	char path[128];
	struct error error = {0};
	snprintf(path, sizeof path, "tests/tokenizers/%s", style);
	struct tokenizer *tokenizer = tokenizer_load(path, &error);
	if (!tokenizer)
		fail_msg("%s", error.message);
	snprintf(path, sizeof path, "tests/tokenizers/%s/golden.json", style);
	struct json *golden = golden_file(path);
	assert_true(json_count(json_get(golden, "cases")) > 300);
	for (const struct json *row = json_first(json_get(golden, "cases")); row; row = json_next(row)) {
		size_t n_bytes, n_decoded, n_skipped;
		const char *text = json_string(json_get(row, "text"), &n_bytes);
		const struct json *ids = json_get(row, "ids"), *literal = json_get(row, "literal_ids");
		const char *decoded = text, *skipped;
		n_decoded = n_bytes;
		if (json_get(row, "decoded"))
			decoded = json_string(json_get(row, "decoded"), &n_decoded);
		skipped = decoded;
		n_skipped = n_decoded;
		if (json_get(row, "decoded_skip_special"))
			skipped = json_string(json_get(row, "decoded_skip_special"), &n_skipped);
		check_ids(tokenizer, text, n_bytes, PLAIN, ids, style);
		check_ids(tokenizer, text, n_bytes, LITERAL, literal ? literal : ids, style);
		check_ids(tokenizer, text, n_bytes, WITH_SPECIAL, json_get(row, "special_ids"), style);
		check_decoding(tokenizer, ids, false, decoded, n_decoded, style);
		check_decoding(tokenizer, ids, true, skipped, n_skipped, style);
	}
	json_destroy(golden);
	tokenizer_destroy(tokenizer);
}

static void llama2_style_is_as_hugging_face(void **state)
{
	(void)state;
	check_style("llama2-style");
}

static void llama3_style_is_as_hugging_face(void **state)
{
	(void)state;
	check_style("llama3-style");
}

static void qwen2_style_is_as_hugging_face(void **state)
{
	(void)state;
	check_style("qwen2-style");
}

static void gpt2_style_is_as_hugging_face(void **state)
{
	(void)state;
	check_style("gpt2-style");
}

static struct tokenizer *case_tokenizer(const struct json *document, const struct json *row, const char *name)
{
	const char *model_name = json_string(json_get(row, "model"), NULL);
	const char *stages = json_string(json_get(row, "stages"), NULL);
	const char *model = json_string(json_get(json_get(document, "models"), model_name), NULL);
	struct bytes text = {0};
	struct error error = {0};
	bytes_append_format(&text, "{\"version\": \"1.0\", %s, \"model\": %s}", stages, model);
	assert_false(text.failed);
	struct tokenizer *tokenizer = tokenizer_of(text.data, text.n_bytes, &error);
	if (!tokenizer)
		fail_msg("%s: %s", name, error.message);
	bytes_free(&text);
	return tokenizer;
}

static void every_stage_and_flag_is_as_hugging_face(void **state)
{
	(void)state;
	struct json *document = golden_file("tests/tokenizers/cases.json");
	assert_true(json_count(json_get(document, "cases")) > 150);
	for (const struct json *row = json_first(json_get(document, "cases")); row; row = json_next(row)) {
		const char *name = json_string(json_get(row, "name"), NULL);
		bool special;
		assert_true(json_bool(json_get(row, "special"), &special));
		struct tokenizer *tokenizer = case_tokenizer(document, row, name);
		const struct json *ids = json_first(json_get(row, "ids"));
		const struct json *decoded = json_first(json_get(row, "decoded"));
		for (const struct json *value = json_first(json_get(document, "texts")); value; value = json_next(value)) {
			size_t n_bytes, n_decoded;
			const char *text = json_string(value, &n_bytes);
			check_ids(tokenizer, text, n_bytes, special ? WITH_SPECIAL : PLAIN, ids, name);
			if (decoded) {
				const char *expected = json_string(decoded, &n_decoded);
				check_decoding(tokenizer, ids, true, expected, n_decoded, name);
				decoded = json_next(decoded);
			}
			ids = json_next(ids);
		}
		tokenizer_destroy(tokenizer);
	}
	json_destroy(document);
}

/* At once, and in a stream where a word follows: of what waits at the end a stream shows nothing. */
static void bytes_that_are_no_characters_are_as_hugging_face(void **state)
{
	(void)state;
	enum { WORD = 256 };
	struct json *document = golden_file("tests/tokenizers/bytes.json");
	const struct json *decoders = json_get(document, "decoders");
	assert_int_equal(json_count(decoders), 2);
	for (const struct json *decoder = json_first(decoders); decoder; decoder = json_next(decoder)) {
		size_t n_bytes, n_cases = 0;
		struct error error = {0};
		const char *name = json_string(json_get(decoder, "name"), NULL);
		const char *text = json_string(json_get(decoder, "tokenizer"), &n_bytes);
		struct tokenizer *tokenizer = tokenizer_of(text, n_bytes, &error);
		assert_non_null(tokenizer);
		for (const struct json *row = json_first(json_get(decoder, "cases")); row; row = json_next(row), n_cases++) {
			const struct json *ids = json_get(row, "ids"), *last = json_first(ids);
			const char *decoded = json_string(json_get(row, "decoded"), &n_bytes);
			int64_t id;
			while (json_next(last))
				last = json_next(last);
			check_decoding(tokenizer, ids, json_int64(last, &id) && id == WORD, decoded, n_bytes, name);
		}
		assert_true(n_cases > 200);
		tokenizer_destroy(tokenizer);
	}
	json_destroy(document);
}

/* What Metaspace's "first" asks of every piece: does it come from the text's first character? */
static void all_of_the_first_character_comes_first(void **state)
{
	(void)state;
#define IN_PIECES(stages)                                                                                              \
	"{\"type\": \"Sequence\", \"pretokenizers\": [" stages ", {\"type\": \"Metaspace\", \"replacement\": "             \
	"\"\xE2\x96\x81\", \"prepend_scheme\": \"first\", \"split\": false}]}"
#define DIGITS "{\"type\": \"Digits\", \"individual_digits\": true}"
#define CUT_AT(string)                                                                                                 \
	"{\"type\": \"Split\", \"pattern\": {\"String\": \"" string "\"}, \"behavior\": \"Isolated\", \"invert\": false}"
#define INSERT "{\"type\": \"Replace\", \"pattern\": {\"Regex\": \"x*\"}, \"content\": \"ab\"}"
	enum { SPACE, ONE, TWO, SLASH, X, I, DOT, A_CIRCUMFLEX, HALF, A, B, AT };
	static const struct {
		const char *normalizer, *pre_tokenizer, *text;
		int32_t ids[16];
		size_t n_ids;
	} cases[] = {
	    {"{\"type\": \"NFKC\"}", IN_PIECES(DIGITS), "\xC2\xBDx", {SPACE, ONE, SPACE, SLASH, SPACE, TWO, X}, 7},
	    {"{\"type\": \"NFKD\"}",
	     IN_PIECES(DIGITS),
	     "\xC2\xBD\xC2\xBD",
	     {SPACE, ONE, SPACE, SLASH, SPACE, TWO, ONE, SLASH, TWO},
	     9},
	    {"{\"type\": \"Lowercase\"}", IN_PIECES(CUT_AT("i")), "\xC4\xB0x", {SPACE, I, SPACE, DOT, X}, 5},
	    {"null",
	     IN_PIECES("{\"type\": \"ByteLevel\", \"add_prefix_space\": false, \"use_regex\": false}, {\"type\": "
	               "\"Whitespace\"}"),
	     "\xC2\xBD\xC2\xBD",
	     {SPACE, A_CIRCUMFLEX, SPACE, HALF, A_CIRCUMFLEX, HALF},
	     6},
	    {INSERT, IN_PIECES(DIGITS), "1@2", {SPACE, A, B, SPACE, ONE, SPACE, A, B, AT, A, B, TWO, A, B}, 14},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct bytes json = {0};
		struct error error = {0};
		struct token_ids ids = {0};
		bytes_append_format(
		    &json,
		    "{\"added_tokens\": [{\"content\": \"@\", \"single_word\": false, \"lstrip\": false, \"rstrip\": "
		    "false, \"normalized\": false, \"special\": false}], \"normalizer\": %s, \"pre_tokenizer\": %s, "
		    "\"model\": {\"type\": \"BPE\", \"merges\": [], \"vocab\": {\"\xE2\x96\x81\": 0, \"1\": 1, \"2\": 2, "
		    "\"\xE2\x81\x84\": 3, \"x\": 4, \"i\": 5, \"\xCC\x87\": 6, \"\xC3\x82\": 7, \"\xC2\xBD\": 8, \"a\": 9, "
		    "\"b\": 10}}}",
		    cases[i].normalizer, cases[i].pre_tokenizer);
		struct tokenizer *tokenizer = tokenizer_of(json.data, json.n_bytes, &error);
		if (!tokenizer || !tokenizer_encode(tokenizer, cases[i].text, strlen(cases[i].text), PLAIN, &ids, &error))
			fail_msg("case %zu: %s", i, error.message);
		assert_int_equal(ids.n_ids, cases[i].n_ids);
		assert_memory_equal(ids.ids, cases[i].ids, ids.n_ids * sizeof *ids.ids);
		token_ids_free(&ids);
		tokenizer_destroy(tokenizer);
		bytes_free(&json);
	}
}

static void tokens_answer_questions(void **state)
{
	(void)state;
	struct error error = {0};
	size_t n_bytes;
	struct tokenizer *t = tokenizer_load("tests/tokenizers/llama3-style", &error);
	assert_non_null(t);
	int32_t eot = tokenizer_find(t, "<|eot_id|>", 10);
	assert_true(eot >= 0 && eot < tokenizer_vocab_size(t));
	assert_int_equal(eot, tokenizer_vocab_size(t) - 1);
	assert_int_equal(eot, tokenizer_eos_id(t));
	assert_int_equal(tokenizer_find(t, "<|begin_of_text|>", 17), tokenizer_bos_id(t));
	assert_true(tokenizer_is_special(t, eot));
	assert_false(tokenizer_is_special(t, 0));
	assert_false(tokenizer_is_special(t, -1));
	assert_false(tokenizer_is_special(t, tokenizer_vocab_size(t)));
	assert_memory_equal(tokenizer_token_text(t, eot, &n_bytes), "<|eot_id|>", 10);
	assert_int_equal(n_bytes, 10);
	assert_null(tokenizer_token_text(t, -1, &n_bytes));
	assert_null(tokenizer_token_text(t, tokenizer_vocab_size(t), &n_bytes));
	assert_int_equal(tokenizer_find(t, "no such token", 13), -1);
	assert_string_equal(tokenizer_kind(t), "bpe-byte-level");
	assert_true(tokenizer_bytes(t) > 50000);
	tokenizer_destroy(t);

	t = tokenizer_load("tests/tokenizers/llama2-style/tokenizer.json", &error);
	assert_non_null(t);
	assert_string_equal(tokenizer_kind(t), "bpe-byte-fallback");
	assert_int_equal(tokenizer_bos_id(t), -1);
	assert_int_equal(tokenizer_eos_id(t), -1);
	tokenizer_destroy(t);
}

static void what_cannot_be_encoded_or_decoded_is_an_error(void **state)
{
	(void)state;
	struct error error = {0};
	struct token_ids ids = {0};
	struct bytes text = {0};
	struct tokenizer *t = tokenizer_load("tests/tokenizers/qwen2-style", &error);
	assert_non_null(t);
	assert_true(tokenizer_encode(t, "ok", 2, PLAIN, &ids, &error));
	size_t n = ids.n_ids;
	static const char *const invalid[] = {"a\x80", "\xC3", "\xE2\x82", "\xED\xA0\x80", "\xF4\x90\x80\x80", "\xC0\xAF"};
	for (size_t i = 0; i < sizeof invalid / sizeof *invalid; i++) {
		error.code = ERROR_NONE;
		assert_false(tokenizer_encode(t, invalid[i], strlen(invalid[i]), PLAIN, &ids, &error));
		assert_int_equal(error.code, ERROR_INVALID_REQUEST);
		assert_int_equal(ids.n_ids, n);
	}
	int32_t outside[] = {-1, tokenizer_vocab_size(t), INT32_MAX, INT32_MIN};
	for (size_t i = 0; i < 4; i++) {
		assert_false(tokenizer_decode(t, &outside[i], 1, true, &text, &error));
		assert_int_equal(error.code, ERROR_INVALID_REQUEST);
	}
	token_ids_free(&ids);
	assert_null(ids.ids);
	bytes_free(&text);
	tokenizer_destroy(t);
}

/* The words of a text come again and again; a long text must give what its lines give one by one. */
static void long_texts_give_what_their_parts_give(void **state)
{
	(void)state;
	struct error error = {0};
	struct tokenizer *t = tokenizer_load("tests/tokenizers/llama3-style", &error);
	assert_non_null(t);
	struct token_ids whole = {0}, parts = {0};
	struct bytes text = {0};
	unsigned seed = 5;
	/* More words than the cache holds, so that it starts anew in between. */
	for (int i = 0; i < 60000; i++) {
		char word[16];
		int n = snprintf(word, sizeof word, " %c%c%d", 'a' + (int)(rand_r(&seed) % 26), 'a' + (int)(rand_r(&seed) % 26),
		                 (int)(rand_r(&seed) % 1000));
		assert_true(tokenizer_encode(t, word, (size_t)n, PLAIN, &parts, &error));
		bytes_append(&text, word, (size_t)n);
	}
	assert_true(tokenizer_encode(t, text.data, text.n_bytes, PLAIN, &whole, &error));
	assert_true(same_ids(&whole, &parts));
	token_ids_free(&whole);
	token_ids_free(&parts);
	bytes_free(&text);
	tokenizer_destroy(t);
}

static void *encode_again_and_again(void *context)
{
	const struct tokenizer *t = context;
	struct token_ids first = {0}, ids = {0};
	struct error error;
	static const char text[] = "It's 2024, and the d\xC3\xB6g <|im_start|> runs\n\n  again.";
	bool ok = tokenizer_encode(t, text, sizeof text - 1, PLAIN, &first, &error);
	for (int i = 0; ok && i < 300; i++) {
		ids.n_ids = 0;
		ok = tokenizer_encode(t, text, sizeof text - 1, PLAIN, &ids, &error) && same_ids(&first, &ids);
	}
	token_ids_free(&first);
	token_ids_free(&ids);
	return ok ? context : NULL;
}

static void threads_encode_at_once(void **state)
{
	(void)state;
	struct error error = {0};
	struct tokenizer *t = tokenizer_load("tests/tokenizers/qwen2-style", &error);
	assert_non_null(t);
	pthread_t threads[4];
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, encode_again_and_again, t), 0);
	for (int i = 0; i < 4; i++) {
		void *result;
		pthread_join(threads[i], &result);
		assert_ptr_equal(result, t);
	}
	tokenizer_destroy(t);
}

/* Each would take hours if merging, normalizing or matching were quadratic. */
static void long_words_do_not_hang(void **state)
{
	(void)state;
	static const char *const styles[] = {"llama2-style", "qwen2-style"};
	static const char *const units[] = {"a", "th",        " ", "\n", "e\xCC\x81\xCC\xA7", "\xF0\x9F\x98\x80",
	                                    "1", "<|im_end|>"};
	struct error error = {0};
	for (size_t i = 0; i < 2; i++) {
		char path[64];
		snprintf(path, sizeof path, "tests/tokenizers/%s", styles[i]);
		struct tokenizer *t = tokenizer_load(path, &error);
		assert_non_null(t);
		for (size_t j = 0; j < sizeof units / sizeof *units; j++) {
			struct bytes text = {0}, back = {0};
			struct token_ids ids = {0};
			while (text.n_bytes < 60000)
				bytes_append_text(&text, units[j]);
			assert_true(tokenizer_encode(t, text.data, text.n_bytes, PLAIN, &ids, &error));
			assert_true(ids.n_ids > 0);
			assert_true(tokenizer_decode(t, ids.ids, ids.n_ids, false, &back, &error));
			/* Qwen's NFC reorders marks, so only the length is kept there. */
			assert_true(j == 4 || (back.n_bytes == text.n_bytes && !memcmp(back.data, text.data, back.n_bytes)));
			bytes_free(&text);
			bytes_free(&back);
			token_ids_free(&ids);
		}
		tokenizer_destroy(t);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(llama2_style_is_as_hugging_face),
	    cmocka_unit_test(llama3_style_is_as_hugging_face),
	    cmocka_unit_test(qwen2_style_is_as_hugging_face),
	    cmocka_unit_test(gpt2_style_is_as_hugging_face),
	    cmocka_unit_test(every_stage_and_flag_is_as_hugging_face),
	    cmocka_unit_test(bytes_that_are_no_characters_are_as_hugging_face),
	    cmocka_unit_test(all_of_the_first_character_comes_first),
	    cmocka_unit_test(tokens_answer_questions),
	    cmocka_unit_test(what_cannot_be_encoded_or_decoded_is_an_error),
	    cmocka_unit_test(long_texts_give_what_their_parts_give),
	    cmocka_unit_test(threads_encode_at_once),
	    cmocka_unit_test(long_words_do_not_hang),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
