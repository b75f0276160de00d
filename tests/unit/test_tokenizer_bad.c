/* tokenizer.json is untrusted: whatever it holds, loading ends in a tokenizer that works or in an error that says what
 * is wrong and where. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sys/stat.h>

#include "tokenizer_check.h"

#define ADDED(content, flags)                                                                                          \
	"{\"id\": 5, \"content\": \"" content "\", \"single_word\": false, \"lstrip\": true, \"rstrip\": false, " flags "}"

#define BYTE_LEVEL             "{\"type\": \"ByteLevel\", \"add_prefix_space\": false}"
#define TEXT_ITEM              "{\"Sequence\": {\"id\": \"A\"}}"
#define METASPACE(replacement) "{\"type\": \"Metaspace\", \"replacement\": \"" replacement "\"}"

/* Something of everything. */
static const char small[] =
    "{\"version\": \"1.0\", \"added_tokens\": [" ADDED("<s>", "\"normalized\": false, \"special\": true") ", " ADDED(
        "ab",
        "\"normalized\": true, \"special\": false") "],"
                                                    "\"normalizer\": {\"type\": \"Sequence\", \"normalizers\": "
                                                    "[{\"type\": \"NFKC\"}, {\"type\": \"Replace\", "
                                                    "\"pattern\": {\"Regex\": \"\\\\s+\"}, \"content\": \" \"}, "
                                                    "{\"type\": \"Strip\", \"strip_left\": true, "
                                                    "\"strip_right\": false}, {\"type\": \"Lowercase\"}]},"
                                                    "\"pre_tokenizer\": {\"type\": \"Sequence\", \"pretokenizers\": "
                                                    "[{\"type\": \"Split\", \"pattern\": {\"Regex\": "
                                                    "\"\\\\p{L}+|\\\\d\"}, \"behavior\": \"Isolated\", \"invert\": "
                                                    "false}, {\"type\": \"Digits\", \"individual_digits\": "
                                                    "true}, {\"type\": \"Metaspace\", \"replacement\": \"_\", "
                                                    "\"prepend_scheme\": \"first\", \"split\": true}]},"
                                                    "\"post_processor\": {\"type\": \"TemplateProcessing\", "
                                                    "\"single\": [{\"SpecialToken\": {\"id\": \"<s>\", "
                                                    "\"type_id\": 0}}, {\"Sequence\": {\"id\": \"A\", \"type_id\": "
                                                    "0}}], \"special_tokens\": {\"<s>\": {\"id\": \"<s>\", "
                                                    "\"ids\": [6], \"tokens\": [\"<s>\"]}}},"
                                                    "\"decoder\": {\"type\": \"Sequence\", \"decoders\": [{\"type\": "
                                                    "\"Replace\", \"pattern\": {\"String\": \"_\"}, "
                                                    "\"content\": \" \"}, {\"type\": \"ByteFallback\"}, {\"type\": "
                                                    "\"Fuse\"}, {\"type\": \"Strip\", \"content\": \" \", "
                                                    "\"start\": 1, \"stop\": 0}]},"
                                                    "\"model\": {\"type\": \"BPE\", \"dropout\": null, \"unk_token\": "
                                                    "\"?\", \"fuse_unk\": true, \"byte_fallback\": true, "
                                                    "\"ignore_merges\": true, \"vocab\": {\"?\": 0, \"_\": 1, \"a\": "
                                                    "2, \"b\": 3, \"_a\": 4, \"_ab\": 5}, \"merges\": "
                                                    "[\"_ a\", [\"_a\", \"b\"]]}}";

/* Loads, and if that works, works with it. */
static bool try_tokenizer(const char *text, size_t n_bytes)
{
	struct error error = {0};
	struct tokenizer *tokenizer = tokenizer_of(text, n_bytes, &error);
	if (!tokenizer) {
		assert_true(error.code == ERROR_MODEL || error.code == ERROR_MEMORY);
		assert_true(error.message[0]);
		return false;
	}
	static const char sample[] = " ab  <s>1a A\xC3\x89\xF0\x9F\x98\x80 x\n";
	struct token_ids ids = {0};
	struct bytes back = {0};
	for (unsigned flags = 0; flags < 4; flags++)
		if (tokenizer_encode(tokenizer, sample, sizeof sample - 1, flags, &ids, &error))
			for (size_t i = 0; i < ids.n_ids; i++)
				assert_true(ids.ids[i] >= 0 && ids.ids[i] < tokenizer_vocab_size(tokenizer));
	assert_true(tokenizer_decode(tokenizer, ids.ids, ids.n_ids, false, &back, &error) ||
	            error.code == ERROR_INVALID_REQUEST);
	bytes_free(&back);
	token_ids_free(&ids);
	tokenizer_destroy(tokenizer);
	return true;
}

static void every_prefix_is_refused(void **state)
{
	(void)state;
	assert_true(try_tokenizer(small, sizeof small - 1));
	for (size_t n = 0; n < sizeof small - 1; n++)
		assert_false(try_tokenizer(small, n));
}

static void prefixes_of_a_real_one_are_refused(void **state)
{
	(void)state;
	FILE *file = fopen("tests/tokenizers/qwen2-style/tokenizer.json", "rb");
	assert_non_null(file);
	char *text = malloc(1 << 20);
	size_t n_bytes = fread(text, 1, 1 << 20, file);
	fclose(file);
	assert_true(n_bytes > 30000);
	for (size_t n = 0; n < n_bytes - 2; n += 401)
		assert_false(try_tokenizer(text, n));
	free(text);
}

/* Bytes overwritten, and numbers, words and values exchanged for others. */
static void changed_files_load_or_are_refused(void **state)
{
	(void)state;
	static const char *const swaps[] = {"null",        "true",  "[]",           "{}",         "\"\"",
	                                    "-1",          "1e400", "4194304",      "0.5",        "\"A\"",
	                                    "\"\\u0000\"", "[[]]",  "\"Sequence\"", "99999999999"};
	unsigned seed = 11;
	int loaded = 0;
	for (int i = 0; i < 4000; i++) {
		struct bytes text = {0};
		if (i % 2) {
			bytes_append(&text, small, sizeof small - 1);
			for (int n = rand_r(&seed) % 3; n >= 0; n--)
				text.data[(size_t)rand_r(&seed) % text.n_bytes] = (char)(32 + rand_r(&seed) % 95);
		} else {
			/* Some value: from a colon, bracket or comma to the next comma or bracket. */
			size_t start = (size_t)rand_r(&seed) % (sizeof small - 20);
			start += strcspn(small + start, ":[,") + 1;
			size_t end = start + strcspn(small + start, ",]}");
			bytes_append(&text, small, start);
			bytes_append_text(&text, swaps[(size_t)rand_r(&seed) % (sizeof swaps / sizeof *swaps)]);
			bytes_append(&text, small + end, sizeof small - 1 - end);
		}
		loaded += try_tokenizer(text.data, text.n_bytes);
		bytes_free(&text);
	}
	assert_true(loaded > 100);
}

/* small with `from` exchanged for `to` must be refused with `reason`. */
static void refused(const char *from, const char *to, const char *reason)
{
	struct bytes text = {0};
	struct error error = {0};
	const char *at = strstr(small, from);
	assert_non_null(at);
	bytes_append(&text, small, (size_t)(at - small));
	bytes_append_text(&text, to);
	bytes_append_text(&text, at + strlen(from));
	struct tokenizer *tokenizer = tokenizer_of(text.data, text.n_bytes, &error);
	if (tokenizer)
		fail_msg("%s was taken", to);
	assert_int_equal(error.code, ERROR_MODEL);
	if (!strstr(error.message, reason) || !strstr(error.message, "/tmp/"))
		fail_msg("%s: the error does not say \"%s\" and where: %s", to, reason, error.message);
	bytes_free(&text);
}

static void errors_say_what_and_where(void **state)
{
	(void)state;
	refused("\"BPE\"", "\"Unigram\"", "model.type Unigram is not supported");
	refused("\"BPE\"", "\"WordPiece\"", "model.type WordPiece is not supported");
	refused("\"BPE\"", "\"WordLevel\"", "model.type WordLevel is not supported");
	refused("\"dropout\": null", "\"dropout\": 0.1", "dropout");
	refused("\"dropout\": null", "\"end_of_word_suffix\": \"</w>\"", "model.end_of_word_suffix is not supported");
	refused("\"dropout\": null", "\"continuing_subword_prefix\": \"##\"", "continuing_subword_prefix is not supported");
	refused("\"_ a\"", "\"_ x\"", "model.merges[0]: its right half is not in model.vocab");
	refused("\"_ a\"", "\"x a\"", "model.merges[0]: its left half is not in model.vocab");
	refused("[\"_a\", \"b\"]", "[\"b\", \"a\"]", "model.merges[1]: the token it makes is not in model.vocab");
	refused("[\"_a\", \"b\"]", "[\"_a\"]", "model.merges[1] is not a pair");
	refused("\"_ a\"", "\"_ a b\"", "model.merges[0] is not a pair");
	refused("\"_ a\"", "7", "model.merges[0] is not a pair");
	refused("\"_ab\": 5", "\"_ab\": -5", "token id -5 is not within");
	refused("\"_ab\": 5", "\"_ab\": 4294967296", "token id 4294967296 is not within");
	refused("\"_ab\": 5", "\"_ab\": \"5\"", "not an integer");
	refused("\"vocab\": {", "\"vocab\": [], \"x\": {", "model.vocab is an array, not an object");
	refused("\"merges\"", "\"murges\"", "model.merges is missing");
	refused("\"NFKC\"", "\"Precompiled\"", "normalizer Precompiled is not supported");
	refused("\"Digits\"", "\"BertPreTokenizer\"", "pre_tokenizer BertPreTokenizer is not supported");
	refused("\"individual_digits\"", "\"x\"", "pre_tokenizer.individual_digits is missing");
	refused("\"Isolated\"", "\"isolated\"", "pre_tokenizer.behavior isolated is unknown");
	refused("\"replacement\": \"_\"", "\"replacement\": \"__\"", "not one character");
	refused("\"first\"", "\"sometimes\"", "prepend_scheme sometimes is unknown");
	refused("\\\\p{L}+|\\\\d", "(", "regular expression");
	refused("\"TemplateProcessing\"", "\"RobertaProcessing\"", "post_processor RobertaProcessing is not supported");
	refused("\"ids\": [6]", "\"ids\": [-6]", "is not within");
	/* There is a Metaspace already. */
	refused("{\"type\": \"Digits\", \"individual_digits\": true}", BYTE_LEVEL ", " BYTE_LEVEL,
	        "more than 2 ByteLevel and Metaspace steps");
	refused("{\"type\": \"Digits\", \"individual_digits\": true}", METASPACE("a") ", " METASPACE("b"),
	        "more than 2 ByteLevel and Metaspace steps");
	refused("{\"Sequence\": {\"id\": \"A\"", TEXT_ITEM ", " TEXT_ITEM ", {\"Sequence\": {\"id\": \"A\"",
	        "Sequence A more than 2 times");
	refused("\"ids\": [6]", "\"ids\": [600]", "post_processor");
	refused("\"Sequence\": {\"id\": \"A\"", "\"Sequence\": {\"id\": \"B\"", "neither a SpecialToken nor Sequence A");
	refused("\"ByteFallback\"", "\"WordPiece\"", "decoder WordPiece is not supported");
	refused("\"ByteFallback\"", "\"CTC\"", "decoder CTC is not supported");
	refused("{\"type\": \"ByteFallback\"}, {\"type\": \"Fuse\"}", "{\"type\": \"Fuse\"}, {\"type\": \"ByteFallback\"}",
	        "after Fuse");
	refused("\"stop\": 0", "\"stop\": 1", "Strip");
	refused("\"1.0\"", "\"2.0\"", "version");
	refused("\"lstrip\": true", "\"lstrip\": 1", "added_tokens[0]: it.lstrip");
}

static void files_that_are_none_are_refused(void **state)
{
	(void)state;
	struct error error = {0};
	char folder[] = "/tmp/tallow-tokenizer-XXXXXX", path[128];
	assert_non_null(mkdtemp(folder));
	assert_null(tokenizer_load("/nonexistent/model", &error));
	assert_int_equal(error.code, ERROR_MODEL);
	assert_null(tokenizer_load(folder, &error));
	assert_non_null(strstr(error.message, "tokenizer.json"));
	snprintf(path, sizeof path, "%s/tokenizer.json", folder);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_null(tokenizer_load(folder, &error));
	assert_non_null(strstr(error.message, "regular file"));
	unlink(path);
	rmdir(folder);
}

/* ---- tokenizer_config.json ---- */

static struct tokenizer *with_config(const char *config, struct error *error)
{
	char folder[] = "/tmp/tallow-tokenizer-XXXXXX", json_path[128], config_path[128];
	assert_non_null(mkdtemp(folder));
	snprintf(json_path, sizeof json_path, "%s/tokenizer.json", folder);
	snprintf(config_path, sizeof config_path, "%s/tokenizer_config.json", folder);
	FILE *file = fopen(json_path, "wb");
	assert_non_null(file);
	fwrite(small, 1, sizeof small - 1, file);
	fclose(file);
	file = fopen(config_path, "wb");
	assert_non_null(file);
	fwrite(config, 1, strlen(config), file);
	fclose(file);
	struct tokenizer *tokenizer = tokenizer_load(folder, error);
	unlink(json_path);
	unlink(config_path);
	rmdir(folder);
	return tokenizer;
}

enum { ID_A = 2, ID_S = 6, ID_NEW = 8 };

/* What comes before and after "b", which is 3. */
static void check_config(const char *config, int before, int after)
{
	struct error error = {0};
	struct token_ids ids = {0};
	struct tokenizer *tokenizer = with_config(config, &error);
	if (!tokenizer)
		fail_msg("%s: %s", config, error.message);
	assert_true(tokenizer_encode(tokenizer, "b", 1, WITH_SPECIAL, &ids, &error));
	size_t n = 0;
	if (before >= 0)
		assert_int_equal(ids.ids[n++], before);
	n += ids.n_ids - n - (after >= 0);
	if (after >= 0)
		assert_int_equal(ids.ids[n++], after);
	assert_int_equal(n, ids.n_ids);
	/* Metaspace puts a '_' before the b. */
	assert_int_equal(ids.n_ids, 2 + (before >= 0) + (after >= 0));
	token_ids_free(&ids);
	tokenizer_destroy(tokenizer);
}

static void bos_and_eos_are_added_as_the_class_does(void **state)
{
	(void)state;
	check_config("{}", ID_S, -1); /* the post-processor's */
	check_config("{\"add_bos_token\": false, \"tokenizer_class\": \"PreTrainedTokenizerFast\"}", ID_S, -1);
	check_config("{\"tokenizer_class\": \"LlamaTokenizer\"}", ID_S, -1);
	check_config("{\"tokenizer_class\": \"LlamaTokenizerFast\", \"add_bos_token\": false}", -1, -1);
	check_config("{\"tokenizer_class\": \"LlamaTokenizer\", \"add_bos_token\": null}", -1, -1);
	check_config("{\"tokenizer_class\": \"LlamaTokenizer\", \"add_eos_token\": true, \"eos_token\": \"a\"}", ID_S,
	             ID_A);
	check_config("{\"tokenizer_class\": \"GPTNeoXTokenizer\", \"add_bos_token\": true, \"bos_token\": {\"content\": "
	             "\"a\"}}",
	             ID_A, -1);
	check_config("{\"tokenizer_class\": \"GPTNeoXTokenizerFast\"}", -1, -1);
	/* A name that nothing has yet becomes a token. */
	check_config("{\"tokenizer_class\": \"LlamaTokenizer\", \"bos_token\": \"<none>\"}", ID_NEW, -1);
	check_config("{\"tokenizer_class\": \"LlamaTokenizerX\", \"add_bos_token\": false}", ID_S, -1);
}

static void bad_configs_are_refused(void **state)
{
	(void)state;
	static const char *const configs[] = {
	    "",
	    "[]",
	    "{\"bos_token\": 3}",
	    "{\"bos_token\": {\"content\": null}}",
	    "{\"add_bos_token\": \"yes\"}",
	    "{\"tokenizer_class\": \"LlamaTokenizer\", \"bos_token\": null}",
	    "{\"tokenizer_class\": \"LlamaTokenizer\", \"add_eos_token\": true}",
	};
	for (size_t i = 0; i < sizeof configs / sizeof *configs; i++) {
		struct error error = {0};
		if (with_config(configs[i], &error))
			fail_msg("%s was taken", configs[i]);
		assert_int_equal(error.code, ERROR_MODEL);
	}
}

/* ---- legal, but large or odd ---- */

static void many_added_tokens_load_and_match(void **state)
{
	(void)state;
	struct bytes text = {0};
	struct error error = {0};
	enum { N = 20000 };
	bytes_append_text(&text,
	                  "{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0}, \"merges\": []}, \"added_tokens\": [");
	for (int i = 0; i < N; i++)
		bytes_append_format(
		    &text,
		    "%s{\"content\": \"<tok_%d>\", \"single_word\": false, \"lstrip\": false, \"rstrip\": false, "
		    "\"normalized\": %s, \"special\": true}",
		    i ? "," : "", i, i % 2 ? "true" : "false");
	bytes_append_text(&text, "]}");
	struct tokenizer *tokenizer = tokenizer_of(text.data, text.n_bytes, &error);
	if (!tokenizer)
		fail_msg("%s", error.message);
	assert_int_equal(tokenizer_vocab_size(tokenizer), N + 1);
	struct token_ids ids = {0};
	static const char sample[] = "a<tok_19999>a<tok_0><tok_19998";
	assert_true(tokenizer_encode(tokenizer, sample, sizeof sample - 1, PLAIN, &ids, &error));
	assert_int_equal(ids.n_ids, 4);
	assert_int_equal(ids.ids[1], N);
	assert_int_equal(ids.ids[3], 1);
	token_ids_free(&ids);
	bytes_free(&text);
	tokenizer_destroy(tokenizer);
}

/* The file of a tokenizer of "a", "b" and `contents`, which get the ids from 2 on. */
static void append_added(struct bytes *out, const struct bytes *contents, size_t n)
{
	bytes_append_text(out, "{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0, \"b\": 1}, \"merges\": []}, "
	                       "\"added_tokens\": [");
	for (size_t i = 0; i < n; i++)
		bytes_append_format(out,
		                    "%s{\"content\": \"%s\", \"single_word\": false, \"lstrip\": false, \"rstrip\": false, "
		                    "\"normalized\": false, \"special\": false}",
		                    i ? "," : "", contents[i].data);
	bytes_append_text(out, "]}");
}

/* Leftmost, and of those the longest: strings that begin with one another, and part at every place. */
static void added_tokens_that_share_beginnings_match(void **state)
{
	(void)state;
	enum { N = 60, N_TEXT = 3000 };
	struct bytes contents[N] = {0}, json = {0}, text = {0};
	struct error error = {0};
	struct token_ids ids = {0};
	unsigned seed = 5;
	for (size_t i = 0; i < N; i++) {
		const struct bytes *before = i ? &contents[(size_t)rand_r(&seed) % i] : NULL;
		bytes_append(&contents[i], before ? before->data : "b", before ? before->n_bytes : 1);
		for (int n = 1 + rand_r(&seed) % 6; n > 0; n--)
			bytes_append_text(&contents[i], rand_r(&seed) % 2 ? "a" : "b");
		for (size_t j = 0; j < i; j++) /* no two are the same */
			if (strcmp(contents[j].data, contents[i].data) == 0) {
				bytes_append_text(&contents[i], "a");
				j = SIZE_MAX;
			}
	}
	append_added(&json, contents, N);
	struct tokenizer *tokenizer = tokenizer_of(json.data, json.n_bytes, &error);
	assert_non_null(tokenizer);
	for (size_t i = 0; i < N_TEXT; i++)
		bytes_append_text(&text, rand_r(&seed) % 2 ? "a" : "b");
	assert_true(tokenizer_encode(tokenizer, text.data, text.n_bytes, PLAIN, &ids, &error));
	size_t n_ids = 0, n_long = 0;
	for (size_t at = 0, length; at < N_TEXT; at += length, n_ids++) {
		int32_t expected = text.data[at] == 'b';
		length = 1;
		for (size_t i = 0; i < N; i++)
			if (contents[i].n_bytes > length && strncmp(text.data + at, contents[i].data, contents[i].n_bytes) == 0) {
				expected = 2 + (int32_t)i;
				length = contents[i].n_bytes;
			}
		assert_true(n_ids < ids.n_ids);
		assert_int_equal(ids.ids[n_ids], expected);
		n_long += length > 8;
	}
	assert_int_equal(n_ids, ids.n_ids);
	assert_true(n_long > 10);
	for (size_t i = 0; i < N; i++)
		bytes_free(&contents[i]);
	bytes_free(&json);
	bytes_free(&text);
	token_ids_free(&ids);
	tokenizer_destroy(tokenizer);
}

/* What they are looked up in has a place for each string, not for each byte. */
static void long_added_tokens_take_little_memory(void **state)
{
	(void)state;
	enum { N = 500, EACH_BYTES = 1000 };
	struct bytes contents[N] = {0}, json = {0};
	struct error error = {0};
	struct token_ids ids = {0};
	for (int i = 0; i < N; i++)
		bytes_append_format(&contents[i], "%d%0*d", i, EACH_BYTES - 10, 0);
	append_added(&json, contents, N);
	struct tokenizer *tokenizer = tokenizer_of(json.data, json.n_bytes, &error);
	assert_non_null(tokenizer);
	assert_in_range(tokenizer_bytes(tokenizer), N * EACH_BYTES, 4 * N * EACH_BYTES);
	assert_true(tokenizer_encode(tokenizer, contents[77].data, contents[77].n_bytes, PLAIN, &ids, &error));
	assert_int_equal(ids.n_ids, 1);
	assert_int_equal(ids.ids[0], 2 + 77);
	for (int i = 0; i < N; i++)
		bytes_free(&contents[i]);
	bytes_free(&json);
	token_ids_free(&ids);
	tokenizer_destroy(tokenizer);
}

/* Counted from the number of strings, as tokenizers 0.22.2 does: 8 is what its file says, and 0.22.1. */
static void new_tokens_are_numbered_after_the_strings(void **state)
{
	(void)state;
	static const char json[] =
	    "{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0, \"b\": 1, \"c\": 7}, \"merges\": []}, "
	    "\"added_tokens\": [{\"id\": 7, \"content\": \"c\", \"single_word\": false, \"lstrip\": "
	    "false, \"rstrip\": false, \"normalized\": false, \"special\": true}, {\"id\": 8, \"content\": "
	    "\"<x>\", \"single_word\": false, \"lstrip\": false, \"rstrip\": false, \"normalized\": "
	    "false, \"special\": true}]}";
	struct error error = {0};
	struct tokenizer *tokenizer = tokenizer_of(json, sizeof json - 1, &error);
	assert_non_null(tokenizer);
	assert_int_equal(tokenizer_find(tokenizer, "c", 1), 7);
	assert_int_equal(tokenizer_find(tokenizer, "<x>", 3), 3);
	assert_int_equal(tokenizer_vocab_size(tokenizer), 8);
	tokenizer_destroy(tokenizer);
}

/* ---- steps that multiply ---- */

#define GROWS        "{\"type\": \"Replace\", \"pattern\": {\"String\": \"a\"}, \"content\": \"aaaaaaaaaa\"}"
#define GROWS_BEYOND GROWS ", " GROWS ", " GROWS ", " GROWS ", " GROWS ", " GROWS ", " GROWS ", " GROWS
#define TINY_MODEL   "\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0}, \"merges\": []}"

/* Of one letter they would make a hundred million. */
static void normalizers_do_not_grow_text_without_bound(void **state)
{
	(void)state;
	static const char json[] =
	    "{\"normalizer\": {\"type\": \"Sequence\", \"normalizers\": [" GROWS_BEYOND "]}, " TINY_MODEL "}";
	struct error error = {0};
	struct token_ids ids = {0};
	struct tokenizer *tokenizer = tokenizer_of(json, sizeof json - 1, &error);
	assert_non_null(tokenizer);
	assert_true(tokenizer_encode(tokenizer, "b", 1, PLAIN, &ids, &error));
	assert_false(tokenizer_encode(tokenizer, "a", 1, PLAIN, &ids, &error));
	assert_int_equal(error.code, ERROR_INVALID_REQUEST);
	assert_non_null(strstr(error.message, "normalizer makes more than"));
	assert_int_equal(ids.n_ids, 0);
	token_ids_free(&ids);
	tokenizer_destroy(tokenizer);
}

/* The bound is on all parts of a text together: each of many short ones may not have the room of its own. */
static void parts_of_a_text_share_the_bound(void **state)
{
	(void)state;
	struct error error = {0};
	struct token_ids ids = {0};
	struct bytes json = {0}, text = {0};
	bytes_append_text(&json, "{\"normalizer\": {\"type\": \"Prepend\", \"prepend\": \"");
	for (int i = 0; i < 2000; i++)
		bytes_append_text(&json, "a");
	bytes_append_text(
	    &json, "\"}, \"added_tokens\": [" ADDED("|", "\"normalized\": false, \"special\": true") "], " TINY_MODEL "}");
	struct tokenizer *tokenizer = tokenizer_of(json.data, json.n_bytes, &error);
	assert_non_null(tokenizer);
	assert_true(tokenizer_encode(tokenizer, "b|b", 3, PLAIN, &ids, &error));
	assert_int_equal(ids.n_ids, 2 * 2000 + 1);
	for (int i = 0; i < 100; i++)
		bytes_append_text(&text, "b|");
	assert_false(tokenizer_encode(tokenizer, text.data, text.n_bytes, PLAIN, &ids, &error));
	assert_int_equal(error.code, ERROR_INVALID_REQUEST);
	token_ids_free(&ids);
	bytes_free(&json);
	bytes_free(&text);
	tokenizer_destroy(tokenizer);
}

/* The character that grows most, eleven times, under the one form and the longest prefix that is common. */
static void text_may_grow_as_unicode_makes_it(void **state)
{
	(void)state;
	static const char json[] =
	    "{\"normalizer\": {\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"NFKD\"}, {\"type\": \"Prepend\", "
	    "\"prepend\": "
	    "\"a\"}, {\"type\": \"Replace\", \"pattern\": {\"String\": \" \"}, \"content\": \"aaa\"}]}, " TINY_MODEL "}";
	enum { N = 20000, SPACES_IN_EACH = 3 };
	struct error error = {0};
	struct token_ids ids = {0};
	struct bytes text = {0};
	struct tokenizer *tokenizer = tokenizer_of(json, sizeof json - 1, &error);
	assert_non_null(tokenizer);
	for (int i = 0; i < N; i++)
		bytes_append_text(&text, "\xEF\xB7\xBA"); /* U+FDFA */
	if (!tokenizer_encode(tokenizer, text.data, text.n_bytes, PLAIN, &ids, &error))
		fail_msg("%s", error.message);
	assert_int_equal(ids.n_ids, N * SPACES_IN_EACH * 3 + 1);
	token_ids_free(&ids);
	bytes_free(&text);
	tokenizer_destroy(tokenizer);
}

/* A normalized added token goes through the normalizer when the file is loaded: then it is the file that is wrong. */
static void added_tokens_do_not_grow_without_bound(void **state)
{
	(void)state;
	static const char json[] =
	    "{\"normalizer\": {\"type\": \"Sequence\", \"normalizers\": [" GROWS_BEYOND
	    "]}, \"added_tokens\": [" ADDED("a", "\"normalized\": true, \"special\": false") "], " TINY_MODEL "}";
	struct error error = {0};
	assert_null(tokenizer_of(json, sizeof json - 1, &error));
	assert_int_equal(error.code, ERROR_MODEL);
	assert_non_null(strstr(error.message, "added_tokens[0].content: the tokenizer's normalizer makes more than"));
}

/* Nor beyond what its content may have: that many bytes are compared at each place of a text. */
static void normalized_added_tokens_are_as_short_as_others(void **state)
{
	(void)state;
	static const char json[] =
	    "{\"normalizer\": {\"type\": \"Sequence\", \"normalizers\": [" GROWS ", " GROWS
	    "]}, \"added_tokens\": [" ADDED("aaaaaaaaaab", "\"normalized\": true, \"special\": false") ", " ADDED(
	        "aaaaaaaaaaa", "\"normalized\": true, \"special\": false") "], " TINY_MODEL "}";
	struct error error = {0};
	assert_null(tokenizer_of(json, sizeof json - 1, &error));
	assert_int_equal(error.code, ERROR_MODEL);
	assert_non_null(strstr(error.message, "added_tokens[1].content has 1100 bytes when normalized, at most 1024"));
}

static void normalized_added_tokens_are_bounded_together(void **state)
{
	(void)state;
	enum { N = 67200 };
	struct bytes json = {0};
	struct error error = {0};
	bytes_append_text(&json, "{\"normalizer\": {\"type\": \"Prepend\", \"prepend\": \"");
	for (int i = 0; i < 1000; i++)
		bytes_append_text(&json, "a");
	bytes_append_text(&json, "\"}, " TINY_MODEL ", \"added_tokens\": [");
	for (int i = 0; i < N; i++)
		bytes_append_format(&json,
		                    "%s{\"content\": \"%020d\", \"single_word\": false, \"lstrip\": false, \"rstrip\": "
		                    "false, \"normalized\": true, \"special\": false}",
		                    i ? "," : "", i);
	bytes_append_text(&json, "]}");
	assert_null(tokenizer_of(json.data, json.n_bytes, &error));
	assert_int_equal(error.code, ERROR_MODEL);
	assert_non_null(strstr(error.message, "added_tokens: more than 67108864 bytes when normalized"));
	bytes_free(&json);
}

static void decoders_do_not_grow_text_without_bound(void **state)
{
	(void)state;
	static const char json[] =
	    "{\"decoder\": {\"type\": \"Sequence\", \"decoders\": [" GROWS_BEYOND "]}, " TINY_MODEL "}";
	struct error error = {0};
	struct bytes text = {0}, streamed = {0};
	struct tokenizer *tokenizer = tokenizer_of(json, sizeof json - 1, &error);
	assert_non_null(tokenizer);
	assert_false(tokenizer_decode(tokenizer, (const int32_t[]){0}, 1, false, &text, &error));
	assert_int_equal(error.code, ERROR_INVALID_REQUEST);
	assert_non_null(strstr(error.message, "decoder makes more than"));
	struct detokenizer *detokenizer = detokenizer_create(tokenizer, NULL, 0, &error);
	assert_non_null(detokenizer);
	detokenizer_push(detokenizer, 0, &streamed);
	assert_true(streamed.failed);
	detokenizer_destroy(detokenizer);
	bytes_free(&text);
	bytes_free(&streamed);
	tokenizer_destroy(tokenizer);
}

/* Text is not cut where a special token only looks like text, even if the whole word stands in the vocabulary. */
static void literal_text_never_becomes_a_special_token(void **state)
{
	(void)state;
	static const char json[] =
	    "{\"added_tokens\": [{\"content\": \"ab\", \"single_word\": false, \"lstrip\": false, "
	    "\"rstrip\": false, \"normalized\": false, \"special\": true}], \"model\": {\"type\": "
	    "\"BPE\", \"ignore_merges\": true, \"merges\": [], \"vocab\": {\"a\": 0, \"b\": 1, \"ab\": 2}}}";
	struct error error = {0};
	struct token_ids ids = {0};
	struct tokenizer *tokenizer = tokenizer_of(json, sizeof json - 1, &error);
	assert_non_null(tokenizer);
	assert_true(tokenizer_encode(tokenizer, "ab", 2, PLAIN, &ids, &error));
	assert_int_equal(ids.n_ids, 1);
	assert_int_equal(ids.ids[0], 2);
	ids.n_ids = 0;
	assert_true(tokenizer_encode(tokenizer, "ab", 2, LITERAL, &ids, &error));
	assert_int_equal(ids.n_ids, 2);
	token_ids_free(&ids);
	tokenizer_destroy(tokenizer);
}

/* Each piece is looked up in all of special_tokens: pieces that stand for nothing are no way to make that quadratic. */
static void template_pieces_are_bounded(void **state)
{
	(void)state;
	struct error error = {0};
	struct bytes json = {0};
	bytes_append_text(&json,
	                  "{" TINY_MODEL ", \"post_processor\": {\"type\": \"TemplateProcessing\", \"special_tokens\": "
	                  "{\"x\": {\"ids\": []}}, \"single\": [{\"Sequence\": {\"id\": \"A\"}}");
	for (int i = 0; i < 64; i++)
		bytes_append_text(&json, ", {\"SpecialToken\": {\"id\": \"x\"}}");
	bytes_append_text(&json, "]}}");
	assert_null(tokenizer_of(json.data, json.n_bytes, &error));
	assert_int_equal(error.code, ERROR_MODEL);
	assert_non_null(strstr(error.message, "post_processor.single: more than 64 pieces"));
	bytes_free(&json);
}

static void an_unknown_token_outside_the_vocabulary_is_an_error_when_needed(void **state)
{
	(void)state;
	static const char json[] = "{\"model\": {\"type\": \"BPE\", \"unk_token\": \"<unk>\", \"merges\": [], \"vocab\": "
	                           "{\"a\": 0}}}";
	struct error error = {0};
	struct token_ids ids = {0};
	struct tokenizer *tokenizer = tokenizer_of(json, sizeof json - 1, &error);
	assert_non_null(tokenizer);
	assert_true(tokenizer_encode(tokenizer, "aa", 2, PLAIN, &ids, &error));
	assert_int_equal(ids.n_ids, 2);
	assert_false(tokenizer_encode(tokenizer, "ab", 2, PLAIN, &ids, &error));
	assert_int_equal(error.code, ERROR_INVALID_REQUEST);
	assert_int_equal(ids.n_ids, 2);
	token_ids_free(&ids);
	tokenizer_destroy(tokenizer);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_prefix_is_refused),
	    cmocka_unit_test(prefixes_of_a_real_one_are_refused),
	    cmocka_unit_test(changed_files_load_or_are_refused),
	    cmocka_unit_test(errors_say_what_and_where),
	    cmocka_unit_test(files_that_are_none_are_refused),
	    cmocka_unit_test(bos_and_eos_are_added_as_the_class_does),
	    cmocka_unit_test(bad_configs_are_refused),
	    cmocka_unit_test(many_added_tokens_load_and_match),
	    cmocka_unit_test(added_tokens_that_share_beginnings_match),
	    cmocka_unit_test(long_added_tokens_take_little_memory),
	    cmocka_unit_test(new_tokens_are_numbered_after_the_strings),
	    cmocka_unit_test(normalizers_do_not_grow_text_without_bound),
	    cmocka_unit_test(parts_of_a_text_share_the_bound),
	    cmocka_unit_test(text_may_grow_as_unicode_makes_it),
	    cmocka_unit_test(added_tokens_do_not_grow_without_bound),
	    cmocka_unit_test(normalized_added_tokens_are_as_short_as_others),
	    cmocka_unit_test(normalized_added_tokens_are_bounded_together),
	    cmocka_unit_test(decoders_do_not_grow_text_without_bound),
	    cmocka_unit_test(template_pieces_are_bounded),
	    cmocka_unit_test(literal_text_never_becomes_a_special_token),
	    cmocka_unit_test(an_unknown_token_outside_the_vocabulary_is_an_error_when_needed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
