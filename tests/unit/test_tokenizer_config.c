/* The files beside tokenizer.json against AutoTokenizer (tests/tokenizers/configs.json, made by
 * tests/goldens/make_tokenizer_configs.py), what is refused and what is logged. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/log.h"
#include "tokenizer_check.h"

static char folder[64];

static void write_file(const char *name, const char *text, size_t n_bytes)
{
	char path[128];
	snprintf(path, sizeof path, "%s/%s", folder, name);
	FILE *file = fopen(path, "wb");
	assert_non_null(file);
	assert_int_equal(fwrite(text, 1, n_bytes, file), n_bytes);
	fclose(file);
}

static void begin_folder(void)
{
	strcpy(folder, "/tmp/tallow-configs-XXXXXX");
	assert_non_null(mkdtemp(folder));
}

static void end_folder(void)
{
	static const char *const names[] = {"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
	                                    "added_tokens.json", "config.json"};
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		char path[128];
		snprintf(path, sizeof path, "%s/%s", folder, names[i]);
		unlink(path);
	}
	rmdir(folder);
}

/* What is logged meanwhile lands in `logged`. */
static struct tokenizer *load_folder(struct bytes *logged, struct error *error)
{
	char path[] = "/tmp/tallow-config-log-XXXXXX", text[4096];
	int file = mkstemp(path), saved = dup(STDERR_FILENO);
	assert_true(file >= 0 && saved >= 0);
	unlink(path);
	dup2(file, STDERR_FILENO);
	struct tokenizer *tokenizer = tokenizer_load(folder, error);
	dup2(saved, STDERR_FILENO);
	close(saved);
	ssize_t n = pread(file, text, sizeof text, 0);
	assert_true(n >= 0);
	bytes_clear(logged);
	bytes_append(logged, text, (size_t)n);
	close(file);
	return tokenizer;
}

static void write_case(const struct json *row, const char *model)
{
	struct bytes text = {0};
	begin_folder();
	bytes_append_format(&text, "{\"version\": \"1.0\", %s, \"model\": %s}", json_string(json_get(row, "stages"), NULL),
	                    model);
	assert_false(text.failed);
	write_file("tokenizer.json", text.data, text.n_bytes);
	bytes_free(&text);
	for (const struct json *file = json_first(json_get(row, "files")); file; file = json_next(file)) {
		size_t n_bytes;
		const char *content = json_string(file, &n_bytes);
		write_file(json_key(file, NULL), content, n_bytes);
	}
}

static void every_file_counts_as_for_autotokenizer(void **state)
{
	(void)state;
	struct json *document = golden_file("tests/tokenizers/configs.json");
	const char *model = json_string(json_get(document, "model"), NULL);
	assert_true(json_count(json_get(document, "cases")) > 120);
	for (const struct json *row = json_first(json_get(document, "cases")); row; row = json_next(row)) {
		const char *name = json_string(json_get(row, "name"), NULL);
		struct error error = {0};
		struct bytes logged = {0};
		write_case(row, model);
		struct tokenizer *tokenizer = load_folder(&logged, &error);
		if (!tokenizer)
			fail_msg("%s: %s", name, error.message);
		const struct json *ids = json_first(json_get(row, "ids")), *decoded = json_first(json_get(row, "decoded"));
		for (const struct json *value = json_first(json_get(document, "texts")); value; value = json_next(value)) {
			size_t n_bytes, n_decoded;
			const char *text = json_string(value, &n_bytes);
			check_ids(tokenizer, text, n_bytes, WITH_SPECIAL, ids, name);
			if (decoded) {
				const char *expected = json_string(decoded, &n_decoded);
				check_decoding(tokenizer, ids, true, expected, n_decoded, name);
				decoded = json_next(decoded);
			}
			ids = json_next(ids);
		}
		tokenizer_destroy(tokenizer);
		bytes_free(&logged);
		end_folder();
	}
	json_destroy(document);
}

static void check_list(const struct tokenizer *tokenizer, const char *text, const int32_t *expected, size_t n)
{
	struct token_ids ids = {0};
	struct error error = {0};
	assert_true(tokenizer_encode(tokenizer, text, strlen(text), WITH_SPECIAL, &ids, &error));
	assert_int_equal(ids.n_ids, n);
	assert_memory_equal(ids.ids, expected, n * sizeof *expected);
	token_ids_free(&ids);
}

static void tokens_of_the_config_are_found(void **state)
{
	(void)state;
	static const int32_t tool[] = {1, 400, 333, 355, 1024, 355, 419}, strip[] = {1, 400, 333, 4, 419};
	struct error error = {0};
	struct tokenizer *tokenizer = tokenizer_load("tests/tokenizers/config-tool", &error);
	assert_non_null(tokenizer);
	check_list(tokenizer, "hi <|tool|> there", tool, 7);
	assert_true(tokenizer_is_special(tokenizer, 1024));
	tokenizer_destroy(tokenizer);
	tokenizer = tokenizer_load("tests/tokenizers/config-strip", &error);
	assert_non_null(tokenizer);
	check_list(tokenizer, "hi <|im_end|> \n there", strip, 5);
	tokenizer_destroy(tokenizer);
}

/* ---- settings ---- */

#define LEVEL(space) "{\"type\": \"ByteLevel\", \"add_prefix_space\": " space ", \"use_regex\": false}"
#define WORDS(stage)                                                                                                   \
	"{\"version\": \"1.0\", \"pre_tokenizer\": " stage ", \"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0, "       \
	"\"\\u0120\": 1, \"b\": 2, \"B\": 3, \"aB\": 4, \"<s>\": 5}, \"merges\": [[\"a\", \"B\"]]}}"

static struct tokenizer *folder_of(const char *tokenizer_json, const char *config, struct bytes *logged,
                                   struct error *error)
{
	begin_folder();
	write_file("tokenizer.json", tokenizer_json, strlen(tokenizer_json));
	write_file("tokenizer_config.json", config, strlen(config));
	struct tokenizer *tokenizer = load_folder(logged, error);
	end_folder();
	return tokenizer;
}

static void check_config(const char *tokenizer_json, const char *config, const int32_t *expected, size_t n,
                         const char *message)
{
	struct error error = {0};
	struct bytes logged = {0};
	struct tokenizer *tokenizer = folder_of(tokenizer_json, config, &logged, &error);
	if (!tokenizer)
		fail_msg("%s: %s", config, error.message);
	check_list(tokenizer, "ab", expected, n);
	bytes_append(&logged, "", 1);
	if (message ? !strstr(logged.data, message) : logged.n_bytes > 1)
		fail_msg("%s: logged \"%s\", not \"%s\"", config, logged.data, message ? message : "");
	tokenizer_destroy(tokenizer);
	bytes_free(&logged);
}

static void prefix_space_is_the_configs_choice(void **state)
{
	(void)state;
	static const int32_t with[] = {1, 0, 2}, without[] = {0, 2};
	check_config(WORDS(LEVEL("false")), "{\"add_prefix_space\": true}", with, 3, NULL);
	check_config(WORDS(LEVEL("true")), "{\"add_prefix_space\": false}", without, 2, NULL);
	check_config(WORDS(LEVEL("true")), "{}", with, 3, NULL);
	check_config(WORDS(LEVEL("true")), "{\"add_prefix_space\": null}", with, 3, NULL);
	check_config(WORDS("{\"type\": \"Sequence\", \"pretokenizers\": [" LEVEL("false") "]}"),
	             "{\"add_prefix_space\": true}", without, 2, "add_prefix_space is true, but not by the stages");
	check_config("{\"normalizer\": {\"type\": \"Prepend\", \"prepend\": \"b\"}, \"model\": {\"type\": \"BPE\", "
	             "\"vocab\": {\"a\": 0, \"b\": 2}, \"merges\": []}}",
	             "{\"tokenizer_class\": \"LlamaTokenizer\", \"add_prefix_space\": false, \"add_bos_token\": false}",
	             without, 2, NULL);
}

static void what_is_not_honoured_is_logged(void **state)
{
	(void)state;
	static const int32_t without[] = {0, 2};
	const char *plain = WORDS(LEVEL("false"));
	check_config(plain, "{\"auto_map\": {\"AutoTokenizer\": [\"x.Y\", null]}}", without, 2, "auto_map");
	check_config(plain, "{\"fast_tokenizer_files\": [\"tokenizer.4.json\"]}", without, 2, "fast_tokenizer_files");
	check_config(plain, "{\"fix_mistral_regex\": true}", without, 2, "fix_mistral_regex is not applied");
	check_config(plain, "{\"added_tokens_decoder\": {\"70\": {\"content\": \"<x>\"}}}", without, 2,
	             "<x>\\\" gets id 6, where the files say 70");
}

static void configs_that_lie_are_refused(void **state)
{
	(void)state;
	static const char *const cases[][2] = {
	    {"[]", "tokenizer_config.json: the file is an array"},
	    {"{\"pad_token\": 5}", "pad_token is a number"},
	    {"{\"pad_token\": {\"lstrip\": true}}", "pad_token.content is missing"},
	    {"{\"pad_token\": {\"content\": \"<x>\", \"lstrip\": 1}}", "pad_token.lstrip is a number, not a boolean"},
	    {"{\"added_tokens_decoder\": []}", "added_tokens_decoder is an array"},
	    {"{\"added_tokens_decoder\": {\"-1\": {\"content\": \"x\"}}}", "\"-1\" is no id"},
	    {"{\"added_tokens_decoder\": {\"99999999999\": {\"content\": \"x\"}}}", "\"99999999999\" is no id"},
	    {"{\"added_tokens_decoder\": {\"7\": {}}}", "added_tokens_decoder[7]: it.content is missing"},
	    {"{\"extra_special_tokens\": [\"a\", null]}", "a token of extra_special_tokens is null"},
	    {"{\"split_special_tokens\": \"yes\"}", "split_special_tokens is a string"},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct error error = {0};
		struct bytes logged = {0};
		assert_null(folder_of(WORDS(LEVEL("false")), cases[i][0], &logged, &error));
		assert_int_equal(error.code, ERROR_MODEL);
		if (!strstr(error.message, cases[i][1]) || !strstr(error.message, "tokenizer_config.json"))
			fail_msg("%s: \"%s\" does not say \"%s\"", cases[i][0], error.message, cases[i][1]);
		bytes_free(&logged);
	}
}

/* ---- fix_mistral_regex: only with more than 100,000 tokens ---- */

static void large_vocabulary(struct bytes *text)
{
	bytes_append_text(
	    text, "{\"version\": \"1.0\", \"pre_tokenizer\": {\"type\": \"Sequence\", \"pretokenizers\": [{\"type\": "
	          "\"Split\", \"pattern\": {\"Regex\": \"\\\\w+\"}, \"behavior\": \"Isolated\", \"invert\": "
	          "false}, " LEVEL("false") "]}, \"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0, "
	                                    "\"\\u0120\": 1, \"b\": 2, \"B\": 3, \"aB\": 4");
	for (int i = 5; i <= 100000; i++)
		bytes_append_format(text, ", \"t%d\": %d", i, i);
	bytes_append_text(text, "}, \"merges\": [[\"a\", \"B\"]]}}");
	assert_false(text->failed);
}

/* "aB" is one word to the file and two to tekken. */
static void mistral_words_are_repaired_where_asked(void **state)
{
	(void)state;
	static const struct {
		const char *model_config, *config;
		bool repaired;
		const char *message;
	} cases[] = {
	    {"{\"model_type\": \"mistral\", \"transformers_version\": \"4.50.0\"}", "{\"fix_mistral_regex\": true}", true,
	     NULL},
	    {"{\"model_type\": \"ministral\"}", "{\"fix_mistral_regex\": true}", true, NULL},
	    {"{\"transformers_version\": \"5.0.0.dev0\"}", "{\"fix_mistral_regex\": true}", true, NULL},
	    {"{\"model_type\": \"mistral\", \"transformers_version\": \"4.50.0\"}", "{\"fix_mistral_regex\": false}", false,
	     NULL},
	    {"{\"model_type\": \"mistral\", \"transformers_version\": \"4.50.0\"}", "{}", false, "repairs it"},
	    {"{\"model_type\": \"mistral\", \"transformers_version\": \"5.0.1\"}", "{\"fix_mistral_regex\": true}", false,
	     "not applied"},
	    {"{\"model_type\": \"llama\", \"transformers_version\": \"4.50.0\"}", "{\"fix_mistral_regex\": true}", false,
	     "not applied"},
	};
	static const int32_t whole[] = {4}, cut[] = {0, 3};
	struct bytes text = {0}, logged = {0};
	large_vocabulary(&text);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct error error = {0};
		begin_folder();
		write_file("tokenizer.json", text.data, text.n_bytes);
		write_file("config.json", cases[i].model_config, strlen(cases[i].model_config));
		write_file("tokenizer_config.json", cases[i].config, strlen(cases[i].config));
		struct tokenizer *tokenizer = load_folder(&logged, &error);
		end_folder();
		assert_non_null(tokenizer);
		check_list(tokenizer, "aB", cases[i].repaired ? cut : whole, cases[i].repaired ? 2 : 1);
		bytes_append(&logged, "", 1);
		assert_true(cases[i].message ? strstr(logged.data, cases[i].message) != NULL : logged.n_bytes == 1);
		tokenizer_destroy(tokenizer);
	}
	bytes_free(&text);
	bytes_free(&logged);
}

/* ---- a prompt's beginning ---- */

static void check_prompt(const struct tokenizer *tokenizer, unsigned flags, const char *text, const int32_t *expected,
                         size_t n)
{
	struct token_ids ids = {0};
	struct error error = {0};
	assert_true(tokenizer_encode(tokenizer, text, strlen(text), flags, &ids, &error));
	assert_int_equal(ids.n_ids, n);
	assert_memory_equal(ids.ids, expected, n * sizeof *expected);
	token_ids_free(&ids);
}

static void a_prompt_has_one_beginning(void **state)
{
	(void)state;
	enum { PROMPT = WITH_SPECIAL | TOKENIZER_PROMPT };
	struct error error = {0};
	struct tokenizer *t = tokenizer_load("tests/tokenizers/llama3-style", &error);
	assert_non_null(t);
	int32_t bos = tokenizer_bos_id(t), x = tokenizer_find(t, "x", 1);
	assert_true(bos > 0 && x > 0);
	check_prompt(t, WITH_SPECIAL, "<|begin_of_text|>x", (const int32_t[]){bos, bos, x}, 3);
	check_prompt(t, PROMPT, "<|begin_of_text|>x", (const int32_t[]){bos, x}, 2);
	check_prompt(t, PROMPT, "<|begin_of_text|><|begin_of_text|>x", (const int32_t[]){bos, bos, x}, 3);
	check_prompt(t, PROMPT, "<|begin_of_text|>", &bos, 1);
	check_prompt(t, PROMPT, "x", (const int32_t[]){bos, x}, 2);
	check_prompt(t, PROMPT, "", &bos, 1);
	check_prompt(t, PLAIN | TOKENIZER_PROMPT, "<|begin_of_text|>x", (const int32_t[]){bos, x}, 2);
	tokenizer_destroy(t);
}

int main(void)
{
	log_init(LOG_WARN, LOG_FORMAT_JSON);
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_file_counts_as_for_autotokenizer),
	    cmocka_unit_test(tokens_of_the_config_are_found),
	    cmocka_unit_test(prefix_space_is_the_configs_choice),
	    cmocka_unit_test(what_is_not_honoured_is_logged),
	    cmocka_unit_test(configs_that_lie_are_refused),
	    cmocka_unit_test(mistral_words_are_repaired_where_asked),
	    cmocka_unit_test(a_prompt_has_one_beginning),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
