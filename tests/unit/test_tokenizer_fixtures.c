/* Published tokenizers (TALLOW_FIXTURES): all golden ids, and the two that must be refused. Skipped without the
 * folder. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tokenizer_check.h"

static const char *fixtures(void)
{
	const char *folder = getenv("TALLOW_FIXTURES");
	if (!folder || !folder[0])
		skip();
	return folder;
}

static struct tokenizer *fixture_tokenizer(const char *name)
{
	char path[512];
	struct error error = {0};
	snprintf(path, sizeof path, "%s/tokenizers/%s/tokenizer.json", fixtures(), name);
	struct tokenizer *tokenizer = tokenizer_load(path, &error);
	if (!tokenizer)
		fail_msg("%s", error.message);
	return tokenizer;
}

static void check_goldens(const char *name, const char *golden_name)
{
	struct tokenizer *tokenizer = fixture_tokenizer(name);
	char path[512];
	snprintf(path, sizeof path, "%s/goldens/%s.json", fixtures(), golden_name);
	struct json *golden = golden_file(path);
	bool add_special;
	assert_true(json_bool(json_get(golden, "add_special_tokens"), &add_special));
	assert_true(json_count(json_get(golden, "cases")) >= 30);
	for (const struct json *row = json_first(json_get(golden, "cases")); row; row = json_next(row)) {
		size_t n_bytes;
		const char *text = json_string(json_get(row, "text"), &n_bytes);
		check_ids(tokenizer, text, n_bytes, add_special ? WITH_SPECIAL : PLAIN, json_get(row, "ids"), golden_name);
		if (!json_get(row, "decoded_with_special"))
			continue;
		const char *decoded = json_string(json_get(row, "decoded_with_special"), &n_bytes);
		check_decoding(tokenizer, json_get(row, "ids"), false, decoded, n_bytes, golden_name);
		decoded = json_string(json_get(row, "decoded_skip_special"), &n_bytes);
		check_decoding(tokenizer, json_get(row, "ids"), true, decoded, n_bytes, golden_name);
	}
	json_destroy(golden);
	tokenizer_destroy(tokenizer);
}

static void llama_2_goldens(void **state)
{
	(void)state;
	check_goldens("llama-2", "llamacpp-llama-spm");
	check_goldens("llama-2", "swift-multilingual-TinyLlama");
}

static void llama_3_goldens(void **state)
{
	(void)state;
	check_goldens("llama-3.2", "llamacpp-llama-bpe");
}

static void qwen_goldens(void **state)
{
	(void)state;
	check_goldens("qwen2.5", "llamacpp-qwen2");
	check_goldens("qwen2.5", "swift-multilingual-Qwen2.5-0.5B");
}

static void phi_3_goldens(void **state)
{
	(void)state;
	check_goldens("phi-3-mini", "llamacpp-phi-3");
}

static void gpt_2_goldens_with_merges_of_both_layouts(void **state)
{
	(void)state;
	check_goldens("gpt-2", "llamacpp-gpt-2");
	check_goldens("gpt-2-pair-merges", "llamacpp-gpt-2");
}

static void refused_with(const char *name, const char *reason)
{
	char path[512];
	struct error error = {0};
	snprintf(path, sizeof path, "%s/%s", fixtures(), name);
	assert_null(tokenizer_load(path, &error));
	assert_int_equal(error.code, ERROR_MODEL);
	if (!strstr(error.message, reason))
		fail_msg("the error does not say \"%s\": %s", reason, error.message);
}

static void unigram_and_stub_are_refused(void **state)
{
	(void)state;
	refused_with("tokenizers/t5-small-unigram", "Unigram");
	refused_with("configs/Phi-3-mini-128k-instruct", "21 tokens");
}

/* A published tokenizer.json and our own files beside it (tests/tokenizers/beside). */
static void check_beside(const char *tokenizer, const char *beside, const char *text, const int32_t *expected, size_t n)
{
	static const char *const names[] = {"tokenizer_config.json", "config.json"};
	char folder[] = "/tmp/tallow-beside-XXXXXX", from[512], to[512], here[512];
	assert_non_null(mkdtemp(folder));
	snprintf(from, sizeof from, "%s/tokenizers/%s/tokenizer.json", fixtures(), tokenizer);
	snprintf(to, sizeof to, "%s/tokenizer.json", folder);
	char *target = realpath(from, NULL);
	assert_non_null(target);
	assert_int_equal(symlink(target, to), 0);
	free(target);
	assert_non_null(getcwd(here, sizeof here));
	for (size_t i = 0; i < 2; i++) {
		snprintf(from, sizeof from, "%.300s/tests/tokenizers/beside/%s/%s", here, beside, names[i]);
		snprintf(to, sizeof to, "%s/%s", folder, names[i]);
		assert_int_equal(symlink(from, to), 0);
	}
	struct error error = {0};
	struct tokenizer *loaded = tokenizer_load(folder, &error);
	if (!loaded)
		fail_msg("%s", error.message);
	struct token_ids ids = {0};
	assert_true(tokenizer_encode(loaded, text, strlen(text), PLAIN, &ids, &error));
	assert_int_equal(ids.n_ids, n);
	assert_memory_equal(ids.ids, expected, n * sizeof *expected);
	token_ids_free(&ids);
	tokenizer_destroy(loaded);
	unlink(to);
	snprintf(to, sizeof to, "%s/tokenizer_config.json", folder);
	unlink(to);
	snprintf(to, sizeof to, "%s/tokenizer.json", folder);
	unlink(to);
	rmdir(folder);
}

static void files_beside_published_ones_decide(void **state)
{
	(void)state;
	static const int32_t hello[] = {18435}, words[] = {68, 23407, 13106, 47861, 281, 39, 220, 16, 17, 18, 19, 20};
	check_beside("gpt-2", "prefix-space", "Hello", hello, 1);
	check_beside("llama-3.2", "tekken-flag", "eBay NaOH pH 12345", words, 12);
}

static void new_characters_are_cut_and_ordered_as_by_the_reference(void **state)
{
	(void)state;
	static const int32_t digits[] = {65, 220, 56252, 233, 222}, marks[] = {155, 111, 155, 121};
	struct tokenizer *tokenizer = fixture_tokenizer("qwen2.5");
	struct token_ids ids = {0};
	struct error error = {0};
	assert_true(tokenizer_encode(tokenizer, "b \U0001D2C0", 6, PLAIN, &ids, &error));
	assert_true(tokenizer_encode(tokenizer, "\u07F3\u07FD", 4, PLAIN, &ids, &error));
	assert_int_equal(ids.n_ids, 9);
	assert_memory_equal(ids.ids, digits, sizeof digits);
	assert_memory_equal(ids.ids + 5, marks, sizeof marks);
	token_ids_free(&ids);
	tokenizer_destroy(tokenizer);
}

static void stories_decode_to_their_text(void **state)
{
	(void)state;
	char path[512];
	struct error error = {0};
	snprintf(path, sizeof path, "%s/models/stories260K", fixtures());
	struct tokenizer *tokenizer = tokenizer_load(path, &error);
	if (!tokenizer)
		fail_msg("%s", error.message);
	assert_int_equal(tokenizer_vocab_size(tokenizer), 512);
	assert_int_equal(tokenizer_bos_id(tokenizer), 1);
	struct token_ids ids = {0};
	assert_true(tokenizer_encode(tokenizer, "Once upon a time", 16, WITH_SPECIAL, &ids, &error));
	assert_int_equal(ids.ids[0], 1);
	struct bytes text = {0};
	assert_true(tokenizer_decode(tokenizer, ids.ids, ids.n_ids, true, &text, &error));
	assert_string_equal(text.data, "Once upon a time");
	bytes_free(&text);
	token_ids_free(&ids);
	tokenizer_destroy(tokenizer);
}

static void a_book_comes_back_whole(void **state)
{
	(void)state;
	static const char *const names[] = {"llama-2", "qwen2.5"};
	char path[512];
	snprintf(path, sizeof path, "%s/text/war-and-peace.txt", fixtures());
	FILE *file = fopen(path, "rb");
	assert_non_null(file);
	enum { N_BYTES = 200000 };
	char *book = malloc(N_BYTES);
	size_t n_bytes = fread(book, 1, N_BYTES, file);
	fclose(file);
	while (n_bytes > 0 && (book[n_bytes - 1] & 0x80)) /* cut at a character's border */
		n_bytes--;
	for (size_t i = 0; i < 2; i++) {
		struct tokenizer *tokenizer = fixture_tokenizer(names[i]);
		struct token_ids ids = {0};
		struct bytes text = {0};
		struct error error = {0};
		assert_true(tokenizer_encode(tokenizer, book, n_bytes, PLAIN, &ids, &error));
		assert_true(tokenizer_decode(tokenizer, ids.ids, ids.n_ids, true, &text, &error));
		assert_int_equal(text.n_bytes, n_bytes);
		assert_memory_equal(text.data, book, n_bytes);
		bytes_free(&text);
		token_ids_free(&ids);
		tokenizer_destroy(tokenizer);
	}
	free(book);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(llama_2_goldens),
	    cmocka_unit_test(llama_3_goldens),
	    cmocka_unit_test(qwen_goldens),
	    cmocka_unit_test(phi_3_goldens),
	    cmocka_unit_test(gpt_2_goldens_with_merges_of_both_layouts),
	    cmocka_unit_test(unigram_and_stub_are_refused),
	    cmocka_unit_test(files_beside_published_ones_decide),
	    cmocka_unit_test(new_characters_are_cut_and_ordered_as_by_the_reference),
	    cmocka_unit_test(stories_decode_to_their_text),
	    cmocka_unit_test(a_book_comes_back_whole),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
