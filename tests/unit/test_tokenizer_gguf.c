/* text/tokenizer_gguf: the project's tokenizers as GGUF vocabularies give the ids that Hugging Face's library gives for
 * their tokenizer.json, scores give what sentencepiece gives, and what a vocabulary may not say is refused by key. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>

#include "gguf_files.h"
#include "text/gguf_vocabulary.h"
#include "text/tokenizer_gguf.h"
#include "tokenizer_check.h"

static struct tokenizer *load(const char *name)
{
	char path[128];
	struct error error = {0};
	snprintf(path, sizeof path, "tests/gguf/%s.gguf", name);
	struct gguf_file *gguf = gguf_open(path, &error);
	struct tokenizer *tokenizer = gguf ? tokenizer_load_gguf(gguf, &error) : NULL;
	if (!tokenizer)
		fail_msg("%s", error.message);
	gguf_close(gguf); /* the tokenizer needs it no longer */
	return tokenizer;
}

static void check_style(const char *style, const char *kind)
{
	char path[128];
	struct tokenizer *tokenizer = load(style);
	assert_string_equal(tokenizer_kind(tokenizer), kind);
	snprintf(path, sizeof path, "tests/tokenizers/%s/golden.json", style);
	struct json *golden = golden_file(path);
	assert_true(json_count(json_get(golden, "cases")) > 300);
	for (const struct json *row = json_first(json_get(golden, "cases")); row; row = json_next(row)) {
		size_t n_bytes, n_decoded;
		const char *text = json_string(json_get(row, "text"), &n_bytes);
		const struct json *ids = json_get(row, "ids"), *literal = json_get(row, "literal_ids");
		const char *decoded = text;
		n_decoded = n_bytes;
		if (json_get(row, "decoded"))
			decoded = json_string(json_get(row, "decoded"), &n_decoded);
		check_ids(tokenizer, text, n_bytes, PLAIN, ids, style);
		check_ids(tokenizer, text, n_bytes, LITERAL, literal ? literal : ids, style);
		check_ids(tokenizer, text, n_bytes, WITH_SPECIAL, json_get(row, "special_ids"), style);
		check_decoding(tokenizer, ids, false, decoded, n_decoded, style);
		if (json_get(row, "decoded_skip_special"))
			decoded = json_string(json_get(row, "decoded_skip_special"), &n_decoded);
		check_decoding(tokenizer, ids, true, decoded, n_decoded, style);
	}
	json_destroy(golden);
	tokenizer_destroy(tokenizer);
}

static void llama2_style_is_as_hugging_face(void **state)
{
	(void)state;
	check_style("llama2-style", "bpe-byte-fallback");
}

static void llama3_style_is_as_hugging_face(void **state)
{
	(void)state;
	check_style("llama3-style", "bpe-byte-level");
}

static void qwen2_style_is_as_hugging_face(void **state)
{
	(void)state;
	check_style("qwen2-style", "bpe-byte-level");
}

static void gpt2_style_is_as_hugging_face(void **state)
{
	(void)state;
	check_style("gpt2-style", "bpe-byte-level");
}

/* The scores have ties everywhere, so that "leftmost first" shows. */
static void scores_merge_as_sentencepiece(void **state)
{
	(void)state;
	struct tokenizer *tokenizer = load("spm-scores");
	struct json *golden = golden_file("tests/gguf/spm-scores.json");
	assert_true(json_count(json_get(golden, "cases")) > 300);
	for (const struct json *row = json_first(json_get(golden, "cases")); row; row = json_next(row)) {
		size_t n_bytes;
		const char *text = json_string(json_get(row, "text"), &n_bytes);
		check_ids(tokenizer, text, n_bytes, LITERAL, json_get(row, "ids"), "spm-scores");
	}
	json_destroy(golden);
	tokenizer_destroy(tokenizer);
}

/* ---- small vocabularies ---- */

struct small {
	const char *model, *pre; /* pre NULL: none */
	const char *tokens;      /* separated by spaces */
	const char *types;       /* a digit each; NULL: no types */
	const char *merges;      /* separated by commas; NULL: none */
	const float *scores;     /* NULL: none */
	struct bytes extra;      /* more keys */
	unsigned n_extra;
};

static size_t count_words(const char *text, char separator)
{
	size_t n = 1;
	for (; *text; text++)
		n += *text == separator;
	return n;
}

static void put_words(struct bytes *out, const char *key, const char *text, char separator)
{
	put_key_array(out, key, GGUF_STRING, count_words(text, separator));
	for (;;) {
		size_t n = strchrnul(text, separator) - text;
		put_u64(out, n);
		bytes_append(out, text, n);
		if (!text[n])
			break;
		text += n + 1;
	}
}

static struct bytes small_file(const struct small *small)
{
	struct bytes file = {0};
	size_t n_tokens = count_words(small->tokens, ' ');
	put_header(&file, 0,
	           2u + (small->pre != NULL) + (small->types != NULL) + (small->merges != NULL) + (small->scores != NULL) +
	               small->n_extra);
	put_key_string(&file, "tokenizer.ggml.model", small->model);
	if (small->pre)
		put_key_string(&file, "tokenizer.ggml.pre", small->pre);
	put_words(&file, "tokenizer.ggml.tokens", small->tokens, ' ');
	if (small->types) {
		put_key_array(&file, "tokenizer.ggml.token_type", GGUF_I32, strlen(small->types));
		for (const char *type = small->types; *type; type++)
			put_u32(&file, (uint32_t)(*type - '0'));
	}
	if (small->merges)
		put_words(&file, "tokenizer.ggml.merges", small->merges, ',');
	if (small->scores) {
		put_key_array(&file, "tokenizer.ggml.scores", GGUF_F32, n_tokens);
		bytes_append(&file, small->scores, n_tokens * sizeof *small->scores);
	}
	if (small->n_extra)
		bytes_append(&file, small->extra.data, small->extra.n_bytes);
	assert_false(file.failed);
	return file;
}

/* Frees the bytes. */
static struct tokenizer *load_bytes(struct bytes *file, struct error *error)
{
	*error = (struct error){0};
	struct gguf_file *gguf = gguf_open_memory("small.gguf", file->data, file->n_bytes, error);
	if (!gguf)
		fail_msg("%s", error->message);
	struct tokenizer *tokenizer = tokenizer_load_gguf(gguf, error);
	gguf_close(gguf);
	bytes_free(file);
	return tokenizer;
}

static struct tokenizer *load_small(const struct small *small)
{
	struct error error;
	struct bytes file = small_file(small);
	struct tokenizer *tokenizer = load_bytes(&file, &error);
	if (!tokenizer)
		fail_msg("%s", error.message);
	return tokenizer;
}

static void check_bytes_refused(struct bytes *file, const char *says)
{
	struct error error;
	if (load_bytes(file, &error))
		fail_msg("was not refused: %s", says);
	assert_int_equal(error.code, ERROR_MODEL);
	assert_int_equal(strncmp(error.message, "small.gguf: ", 12), 0);
	if (!strstr(error.message, says))
		fail_msg("says: %s\n  not: %s", error.message, says);
}

/* Frees `extra`. */
static void check_refused(struct small *small, const char *says)
{
	struct bytes file = small_file(small);
	check_bytes_refused(&file, says);
	bytes_free(&small->extra);
	small->n_extra = 0;
}

static void check_encoding(const struct tokenizer *tokenizer, const char *text, unsigned flags, const char *expected)
{
	struct token_ids ids = {0};
	struct error error = {0};
	struct bytes spelled = {0};
	assert_true(tokenizer_encode(tokenizer, text, strlen(text), flags, &ids, &error));
	for (size_t i = 0; i < ids.n_ids; i++) {
		size_t n;
		const char *token = tokenizer_token_text(tokenizer, ids.ids[i], &n);
		bytes_append_format(&spelled, "%s%.*s", i ? " " : "", (int)n, token);
	}
	assert_string_equal(spelled.data ? spelled.data : "", expected);
	bytes_free(&spelled);
	token_ids_free(&ids);
}

static const float six_scores[] = {0, 0, 0, -1, -2, -3};

static void flags_decide_what_is_added(void **state)
{
	(void)state;
	struct small small = {.model = "llama",
	                      .tokens = "<unk> <s> </s> \xE2\x96\x81 a \xE2\x96\x81"
	                                "a",
	                      .types = "233111",
	                      .scores = six_scores};
	struct tokenizer *t = load_small(&small);
	check_encoding(t, "a a", WITH_SPECIAL,
	               "<s> \xE2\x96\x81"
	               "a \xE2\x96\x81"
	               "a");
	check_encoding(t, "a<s>a", PLAIN,
	               "\xE2\x96\x81"
	               "a <s> \xE2\x96\x81"
	               "a");
	assert_int_equal(tokenizer_bos_id(t), 1); /* SentencePiece's habit */
	assert_int_equal(tokenizer_eos_id(t), 2);
	assert_true(tokenizer_is_special(t, 0) && tokenizer_is_special(t, 2) && !tokenizer_is_special(t, 3));
	assert_string_equal(tokenizer_kind(t), "bpe-byte-fallback");
	tokenizer_destroy(t);
	put_key_bool(&small.extra, "tokenizer.ggml.add_bos_token", 0);
	put_key_bool(&small.extra, "tokenizer.ggml.add_eos_token", 1);
	put_key_bool(&small.extra, "tokenizer.ggml.add_space_prefix", 0);
	put_key(&small.extra, "tokenizer.ggml.eos_token_id", GGUF_U64);
	put_u64(&small.extra, 1);
	small.n_extra = 4;
	t = load_small(&small);
	check_encoding(t, "a a", WITH_SPECIAL,
	               "a \xE2\x96\x81"
	               "a <s>");
	assert_int_equal(tokenizer_eos_id(t), 1);
	tokenizer_destroy(t);
	bytes_free(&small.extra);
	/* Listed merges go before scores. */
	small.n_extra = 0;
	small.merges = "a a";
	check_refused(&small, "tokenizer.ggml.merges[0]: the token it makes is not in tokenizer.ggml.tokens");
}

/* What converters write that find no scores: the order of the ids is that of the merges, but for runs of spaces. */
static void equal_scores_merge_by_id(void **state)
{
	(void)state;
	static const float equal[] = {-1000, -1000, -1000, -1000, -1000, -1000, -1000, -1000, -1000};
	static const float scores[] = {0, -1, -1, -1, -1, 0, 0, 0, 0};
	struct small small = {.model = "llama",
	                      .tokens = "<unk> \u2581\u2581 bc ab \u2581a a b c \u2581",
	                      .types = "211111111",
	                      .scores = equal};
	put_key_bool(&small.extra, "tokenizer.ggml.add_space_prefix", 0);
	small.n_extra = 1;
	struct tokenizer *t = load_small(&small);
	check_encoding(t, "abc", PLAIN, "a bc");
	check_encoding(t, "  a", PLAIN, "\u2581 \u2581a");
	check_encoding(t, "   ", PLAIN, "\u2581\u2581 \u2581");
	tokenizer_destroy(t);
	small.scores = scores; /* some say something: of equals the leftmost */
	t = load_small(&small);
	check_encoding(t, "abc", PLAIN, "ab c");
	check_encoding(t, "  a", PLAIN, "\u2581\u2581 a");
	tokenizer_destroy(t);
	bytes_free(&small.extra);
}

static void token_types_decide_what_is_found(void **state)
{
	(void)state;
	static const float scores[] = {0, 0, 0, 0, 0, 0, 0, -1, 0};
	/* bc would win, but is not used; [x] the user made; <c> is control. */
	struct small small = {
	    .model = "llama", .tokens = "<unk> a b c [x] <c> bc ab \xE2\x96\x81", .types = "211143511", .scores = scores};
	put_key_bool(&small.extra, "tokenizer.ggml.add_space_prefix", 0);
	small.n_extra = 1;
	struct tokenizer *t = load_small(&small);
	check_encoding(t, "abc", PLAIN, "ab c");
	check_encoding(t, "bc", PLAIN, "b c");
	check_encoding(t, "a[x]b<c>c", PLAIN, "a [x] b <c> c");
	check_encoding(t, "a[x]b", LITERAL, "a [x] b");
	check_encoding(t, "<c>", LITERAL, "<unk> c <unk>");
	check_encoding(t, "z", PLAIN, "<unk>");
	assert_false(tokenizer_is_special(t, 4));
	assert_int_equal(tokenizer_vocab_size(t), 9);
	assert_int_equal(tokenizer_bos_id(t), -1); /* 1 is no control token */
	tokenizer_destroy(t);
	bytes_free(&small.extra);
}

/* Of Phi-3 alone. */
static void space_after_phi3s_tokens_is_theirs(void **state)
{
	(void)state;
	static const float scores[9] = {0};
	static const char *const architectures[] = {"phi3", "llama"};
	for (int i = 0; i < 2; i++) {
		struct small small = {.model = "llama",
		                      .tokens = "<unk> <s> </s> <|user|> <|endoftext|> a \xE2\x96\x81 \n [x]",
		                      .types = "234331114",
		                      .scores = scores};
		put_key_bool(&small.extra, "tokenizer.ggml.add_space_prefix", 0);
		put_key_string(&small.extra, "general.architecture", architectures[i]);
		small.n_extra = 2;
		struct tokenizer *t = load_small(&small);
		check_encoding(t, "<|user|> \na", PLAIN, i ? "<|user|> \xE2\x96\x81 \n a" : "<|user|> a");
		check_encoding(t, "</s> a", PLAIN, i ? "</s> \xE2\x96\x81 a" : "</s> a");
		check_encoding(t, "[x] a", PLAIN, i ? "[x] \xE2\x96\x81 a" : "[x] a");
		check_encoding(t, "<s> a", PLAIN, "<s> \xE2\x96\x81 a");
		check_encoding(t, "<|endoftext|> a", PLAIN, "<|endoftext|> \xE2\x96\x81 a");
		tokenizer_destroy(t);
		bytes_free(&small.extra);
	}
}

/* ---- pre-tokenizers ---- */

struct pieces {
	const struct json *next; /* expected */
	const char *name;
};

static bool compare_piece(void *context, const char *text, size_t n_bytes, struct error *error)
{
	(void)error;
	struct pieces *pieces = context;
	size_t n_expected = 0;
	const char *expected = pieces->next ? json_string(pieces->next, &n_expected) : "(no more)";
	if (!pieces->next || n_bytes != n_expected || memcmp(text, expected, n_bytes) != 0)
		fail_msg("%s: piece \"%.*s\", expected \"%s\"", pieces->name, (int)n_bytes, text, expected);
	pieces->next = json_next(pieces->next);
	return true;
}

static void check_cuts(const char *name, const struct json *texts, const struct json *expected)
{
	struct tokenizer_description description = {0};
	struct pretokenizer_scratch scratch = {0};
	struct error error = {0};
	bool add_bos;
	if (!gguf_pretokenizer(name, strlen(name), &description, &add_bos, &error))
		fail_msg("%s", error.message);
	for (const struct json *text = json_first(texts), *row = json_first(expected); text;
	     text = json_next(text), row = json_next(row)) {
		struct text_run run = {0};
		run.text = json_string(text, &run.n_bytes);
		struct pieces pieces = {.next = json_first(row), .name = name};
		assert_true(pretokenizer_run(&description.pretokenizer, &scratch, &run, compare_piece, &pieces, &error));
		assert_null(pieces.next);
	}
	pretokenizer_scratch_free(&scratch);
	tokenizer_description_free(&description);
}

static void pre_tokenizers_cut_as_hugging_face(void **state)
{
	(void)state;
	struct json *golden = golden_file("tests/gguf/pre.json");
	const struct json *pieces = json_get(golden, "pieces"), *texts = json_get(golden, "texts");
	assert_true(json_count(pieces) == 12 && json_count(texts) > 20);
	for (const struct json *row = json_first(pieces); row; row = json_next(row))
		check_cuts(json_key(row, NULL), texts, row);
	/* Other names of the same. */
	static const char *const same[][2] = {{"llama3", "llama-bpe"},   {"pixtral", "llama-bpe"}, {"dbrx", "smaug-bpe"},
	                                      {"stablelm2", "qwen2"},    {"phi-2", "gpt-2"},       {"olmo", "gpt-2"},
	                                      {"starcoder", "smollm"},   {"refact", "smollm"},     {"llama4", "gpt-4o"},
	                                      {"midm-2.0", "llama-bpe"}, {"mellum", "gpt-2"},      {"a.x-4.0", "gpt-2"}};
	for (size_t i = 0; i < sizeof same / sizeof *same; i++)
		check_cuts(same[i][0], texts, json_get(pieces, same[i][1]));
	json_destroy(golden);
}

/* ---- what is refused ---- */

static void vocabularies_that_lie_are_refused(void **state)
{
	(void)state;
	struct small small = {.model = "bert", .tokens = "a b"};
	check_refused(&small, "tokenizer.ggml.model \"bert\" is not supported, only llama and gpt2 are");
	small.model = "gpt2";
	check_refused(&small, "tokenizer.ggml.pre is missing");
	small.pre = "no-such";
	check_refused(&small, "tokenizer.ggml.pre \"no-such\" is not supported, expected one of: llama-bpe");
	small.pre = "llama";
	check_refused(&small, "tokenizer.ggml.pre \"llama\" is not supported");
	small.pre = "";
	check_refused(&small, "tokenizer.ggml.pre \"\" is not supported");
	small.pre = "gpt-2";
	check_refused(&small, "tokenizer.ggml.merges is missing");
	static const char *const merges[][2] = {
	    {"ab", "tokenizer.ggml.merges[0] is not two tokens"},
	    {"", "merges[0] is not two tokens"},
	    {" ", "merges[0] is not two tokens"},
	    {"a ", "merges[0] is not two tokens"},
	    {" a", "merges[0] is not two tokens"},
	    {"a b c", "merges[0] is not two tokens"},
	    {"a a,x a", "merges[1]: its left half"},
	    {"a b", "merges[0]: its right half is not in"},
	    {"aa a", "merges[0]: the token it makes is not in"},
	};
	small.tokens = "a aa";
	for (size_t i = 0; i < sizeof merges / sizeof *merges; i++) {
		small.merges = merges[i][0];
		check_refused(&small, merges[i][1]);
	}
	small.merges = "a a";
	small.types = "1";
	check_refused(&small, "tokenizer.ggml.token_type has 1 items, tokenizer.ggml.tokens 2");
	small.types = "17";
	check_refused(&small, "tokenizer.ggml.token_type[1] is 7, expected 0 to 6");
	small.types = NULL;
	small.tokens = "a aa b aa";
	check_refused(&small, "tokenizer.ggml.tokens: 1 and 3 are the same");
	small.tokens = "a aa \xFF";
	check_refused(&small, "token 2 is not valid UTF-8");
}

static void scores_and_bytes_are_checked(void **state)
{
	(void)state;
	static const float finite[] = {0, -1, -2, -3}, nan[] = {0, -1, NAN, -3}, infinite[] = {0, -1, -2, -INFINITY};
	struct small small = {.model = "llama", .tokens = "<unk> a b ab", .types = "2111"};
	check_refused(&small, "neither tokenizer.ggml.scores nor tokenizer.ggml.merges");
	small.scores = nan;
	check_refused(&small, "tokenizer.ggml.scores[2] is not a finite number");
	small.scores = infinite;
	check_refused(&small, "tokenizer.ggml.scores[3] is not a finite number");
	small.scores = finite;
	small.types = "1111";
	check_refused(&small, "neither an unknown token nor the byte <0x00>");
	static const char *const wrong[] = {"<0x-1>", "<0xZZ>", "<0x>", "<0x1>", "<0x0a>", "<0x100>", "x", ""};
	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
		char tokens[64];
		snprintf(tokens, sizeof tokens, "<unk> a %s ab", wrong[i]);
		small.tokens = tokens;
		small.types = "2161";
		check_refused(&small, "tokenizer.ggml.tokens[2] is of type byte, expected <0x00> to <0xFF>");
	}
	small.tokens = "<unk> a <0x0A> ab";
	tokenizer_destroy(load_small(&small));
	small.types = "2111";
	put_key_bool(&small.extra, "tokenizer.ggml.remove_extra_whitespaces", 1);
	small.n_extra = 1;
	check_refused(&small, "tokenizer.ggml.remove_extra_whitespaces is set");
	for (uint64_t n = 1; n <= 3; n++) {
		put_key_array(&small.extra, "tokenizer.ggml.precompiled_charsmap", GGUF_U8, n);
		bytes_append(&small.extra, "\xFF\xFF\xFF", n);
		small.n_extra = 1;
		check_refused(&small, "tokenizer.ggml.precompiled_charsmap is there");
	}
}

static void keys_of_other_types_are_refused(void **state)
{
	(void)state;
	static const struct {
		const char *key, *says;
		enum gguf_type type; /* of an array, unless string */
	} cases[] = {
	    {"tokenizer.ggml.tokens", "tokenizer.ggml.tokens is of type array of u8, expected array of string", GGUF_U8},
	    {"tokenizer.ggml.tokens", "tokenizer.ggml.tokens is of type string, expected array of string", GGUF_STRING},
	    {"tokenizer.ggml.scores", "tokenizer.ggml.scores is of type array of u8, expected array of f32", GGUF_U8},
	    {"tokenizer.ggml.scores", "scores is of type array of f64, expected array of f32", GGUF_F64},
	    {"tokenizer.ggml.token_type", "token_type is of type array of u8, expected array of i32", GGUF_U8},
	    {"tokenizer.ggml.merges", "merges is of type array of i32, expected array of string", GGUF_I32},
	    {"tokenizer.ggml.add_bos_token", "add_bos_token is of type string, expected bool", GGUF_STRING},
	    {"tokenizer.ggml.add_eos_token", "add_eos_token is of type string, expected bool", GGUF_STRING},
	    {"tokenizer.ggml.add_space_prefix", "add_space_prefix is of type string, expected bool", GGUF_STRING},
	    {"tokenizer.ggml.bos_token_id", "bos_token_id is of type string, expected an integer", GGUF_STRING},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		bool tokens = !strcmp(cases[i].key, "tokenizer.ggml.tokens");
		bool scores = !strcmp(cases[i].key, "tokenizer.ggml.scores");
		struct bytes file = {0};
		put_header(&file, 0, 3u + !tokens + !scores);
		put_key_string(&file, "tokenizer.ggml.model", "llama");
		if (cases[i].type == GGUF_STRING) {
			put_key_string(&file, cases[i].key, "text");
		} else {
			static const unsigned char zeros[16];
			put_key_array(&file, cases[i].key, cases[i].type, 1);
			bytes_append(&file, zeros, cases[i].type == GGUF_U8 ? 1 : cases[i].type == GGUF_I32 ? 4 : 8);
		}
		if (!tokens)
			put_words(&file, "tokenizer.ggml.tokens", "<unk>", ' ');
		if (!scores) {
			put_key_array(&file, "tokenizer.ggml.scores", GGUF_F32, 1);
			put_u32(&file, 0);
		}
		put_key_u32(&file, "tokenizer.ggml.unknown_token_id", 0); /* or bytes would be asked for first */
		check_bytes_refused(&file, cases[i].says);
	}
	struct bytes file = {0};
	put_header(&file, 0, 0);
	check_bytes_refused(&file, "tokenizer.ggml.model is missing");
	put_header(&file, 0, 1);
	put_key_string(&file, "tokenizer.ggml.model", "llama");
	check_bytes_refused(&file, "tokenizer.ggml.tokens is missing");
	put_header(&file, 0, 2);
	put_key_string(&file, "tokenizer.ggml.model", "llama");
	put_key_array(&file, "tokenizer.ggml.tokens", GGUF_STRING, 0);
	check_bytes_refused(&file, "tokenizer.ggml.tokens is empty");
}

static void special_ids_are_checked(void **state)
{
	(void)state;
	static const char *const keys[] = {"tokenizer.ggml.bos_token_id", "tokenizer.ggml.eos_token_id",
	                                   "tokenizer.ggml.unknown_token_id"};
	static const uint32_t wrong[] = {4, UINT32_MAX, INT32_MAX};
	static const float scores[] = {0, -1, -2, -3};
	for (size_t i = 0; i < 3; i++) {
		struct small small = {.model = "llama", .tokens = "<unk> a b ab", .types = "2111", .scores = scores};
		for (size_t j = 0; j < 3; j++) {
			put_key_u32(&small.extra, keys[i], wrong[j]);
			small.n_extra = 1;
			check_refused(&small, "expected a token id within 0..3");
		}
		put_key(&small.extra, keys[i], GGUF_I32);
		put_u32(&small.extra, UINT32_MAX);
		small.n_extra = 1;
		check_refused(&small, "is -1, expected 0 or more");
	}
	struct small small = {.model = "gpt2", .pre = "gpt-2", .tokens = "a b ab", .merges = "a b"};
	put_key_bool(&small.extra, "tokenizer.ggml.add_bos_token", 1);
	small.n_extra = 1;
	check_refused(&small, "add_bos_token is set, but there is no bos_token");
	small.tokens = "a b  ab"; /* the third is empty */
	put_key_u32(&small.extra, "tokenizer.ggml.bos_token_id", 2);
	small.n_extra = 1;
	check_refused(&small, "tokenizer.ggml.bos_token_id is 2, which is an empty token");
	struct tokenizer *t = load_small(&small);
	assert_int_equal(tokenizer_vocab_size(t), 4);
	check_encoding(t, "ab", PLAIN, "ab");
	tokenizer_destroy(t);
}

/* Each would take minutes if work grew with the square of a token's length, or run on for ever. */
static void large_vocabularies_do_not_hang(void **state)
{
	(void)state;
	enum { LONG = 1 << 20, MANY = 1000000 };
	struct error error;
	struct bytes tokens = {0};
	bytes_append_text(&tokens, "<unk> ");
	for (int i = 0; i < LONG; i++)
		bytes_append(&tokens, "x", 1);
	static const float scores[] = {0, -1};
	struct small small = {.model = "llama", .tokens = tokens.data, .types = "21", .scores = scores};
	check_refused(&small, "the pieces are too long to look for their parts");
	small = (struct small){.model = "gpt2", .pre = "gpt-2", .tokens = tokens.data, .merges = "a b"};
	check_refused(&small, "its left half is not in");
	small = (struct small){
	    .model = "llama", .tokens = tokens.data, .types = "23", .scores = scores}; /* nothing to merge, but to find */
	check_refused(&small, "tokenizer.ggml.tokens");
	bytes_free(&tokens);
	/* The same merge again and again, and one that goes round in a circle. */
	struct bytes merges = {0};
	for (int i = 0; i < MANY; i++)
		bytes_append_text(&merges, "a a,");
	bytes_append_text(&merges, "aa a");
	small = (struct small){.model = "gpt2", .pre = "gpt-2", .tokens = "a aa aaa", .merges = merges.data};
	struct bytes file = small_file(&small);
	struct tokenizer *t = load_bytes(&file, &error);
	assert_non_null(t);
	check_encoding(t, "aaaa", PLAIN, "aa aa");
	tokenizer_destroy(t);
	bytes_free(&merges);
}

/* Runs of one letter up to n: each can be put together in as many ways as it is long. */
static struct tokenizer *load_runs(int n, struct error *error)
{
	enum { MOST = 400 };
	static float scores[MOST + 1];
	struct bytes tokens = {0}, types = {0};
	bytes_append_text(&tokens, "<unk>");
	bytes_append_text(&types, "2");
	for (int length = 1; length <= n; length++) {
		bytes_append_text(&tokens, " ");
		for (int i = 0; i < length; i++)
			bytes_append_text(&tokens, "a");
		bytes_append_text(&types, "1");
		scores[length] = (float)-length;
	}
	struct small small = {.model = "llama", .tokens = tokens.data, .types = types.data, .scores = scores};
	struct bytes file = small_file(&small);
	struct tokenizer *t = load_bytes(&file, error);
	bytes_free(&tokens);
	bytes_free(&types);
	return t;
}

static void merges_of_scores_are_bounded(void **state)
{
	(void)state;
	struct error error;
	struct tokenizer *t = load_runs(300, &error);
	assert_non_null(t);
	tokenizer_destroy(t);
	assert_null(load_runs(400, &error));
	assert_int_equal(error.code, ERROR_MODEL);
	assert_non_null(strstr(error.message, "tokenizer.ggml.tokens: 401 tokens can be put together of others in more "
	                                      "than 68744 ways"));
}

static void ends_of_answers_are_found(void **state)
{
	(void)state;
	struct small small = {
	    .model = "gpt2",
	    .pre = "gpt-2",
	    .tokens = "a <|eot_id|> <|im_end|> end <|eom_id|> b <|end|> <\uFF5Cend\u2581of\u2581sentence\uFF5C>",
	    .types = "13311443"};
	put_key_u32(&small.extra, "tokenizer.ggml.eos_token_id", 3);
	put_key_u32(&small.extra, "tokenizer.ggml.eot_token_id", 1);
	put_key_u32(&small.extra, "tokenizer.ggml.eom_token_id", 5);
	small.n_extra = 3;
	struct bytes file = small_file(&small);
	struct error error = {0};
	struct gguf_file *gguf = gguf_open_memory("small.gguf", file.data, file.n_bytes, &error);
	assert_non_null(gguf);
	int32_t ids[TOKENIZER_MAX_END_IDS];
	int n_ids;
	assert_true(tokenizer_gguf_end_ids(gguf, ids, &n_ids, &error));
	static const int32_t expected[] = {3, 1, 5, 2, 6, 7};
	assert_int_equal(n_ids, 6); /* 4 is <|eom_id|> by its text, but a normal token; 6 is a user's */
	assert_memory_equal(ids, expected, sizeof expected);
	gguf_close(gguf);
	bytes_free(&file);
	bytes_free(&small.extra);
	put_key_u32(&small.extra, "tokenizer.ggml.eot_token_id", 8);
	small.n_extra = 1;
	file = small_file(&small);
	gguf = gguf_open_memory("small.gguf", file.data, file.n_bytes, &error);
	assert_non_null(gguf);
	assert_false(tokenizer_gguf_end_ids(gguf, ids, &n_ids, &error));
	assert_string_equal(error.message, "small.gguf: tokenizer.ggml.eot_token_id is 8, expected a token id within 0..7");
	gguf_close(gguf);
	bytes_free(&file);
	bytes_free(&small.extra);
}

static void a_list_of_ends_is_read(void **state)
{
	(void)state;
	struct error error = {0};
	int32_t ids[TOKENIZER_MAX_END_IDS];
	int n_ids;
	for (int bad = 0; bad < 3; bad++) {
		struct small small = {.model = "gpt2", .pre = "gpt-2", .tokens = "a b c d", .types = "1111"};
		put_key_u32(&small.extra, "tokenizer.ggml.eos_token_id", 3);
		put_key_array(&small.extra, "tokenizer.ggml.eos_token_ids", bad == 2 ? GGUF_F32 : GGUF_U32, 3);
		put_u32(&small.extra, 2);
		put_u32(&small.extra, 3);
		put_u32(&small.extra, bad == 1 ? 4 : 0);
		small.n_extra = 2;
		struct bytes file = small_file(&small);
		struct gguf_file *gguf = gguf_open_memory("small.gguf", file.data, file.n_bytes, &error);
		assert_non_null(gguf);
		assert_int_equal(tokenizer_gguf_end_ids(gguf, ids, &n_ids, &error), !bad);
		if (!bad) {
			assert_int_equal(n_ids, 3);
			assert_memory_equal(ids, ((const int32_t[]){3, 2, 0}), 3 * sizeof *ids);
		} else {
			assert_string_equal(
			    error.message,
			    bad == 1 ? "small.gguf: tokenizer.ggml.eos_token_ids[2] is 4, expected a token id within 0..3"
			             : "small.gguf: tokenizer.ggml.eos_token_ids is of type f32, expected a list of token ids");
		}
		gguf_close(gguf);
		bytes_free(&file);
		bytes_free(&small.extra);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(llama2_style_is_as_hugging_face),   cmocka_unit_test(llama3_style_is_as_hugging_face),
	    cmocka_unit_test(qwen2_style_is_as_hugging_face),    cmocka_unit_test(gpt2_style_is_as_hugging_face),
	    cmocka_unit_test(scores_merge_as_sentencepiece),     cmocka_unit_test(flags_decide_what_is_added),
	    cmocka_unit_test(token_types_decide_what_is_found),  cmocka_unit_test(pre_tokenizers_cut_as_hugging_face),
	    cmocka_unit_test(vocabularies_that_lie_are_refused), cmocka_unit_test(scores_and_bytes_are_checked),
	    cmocka_unit_test(keys_of_other_types_are_refused),   cmocka_unit_test(special_ids_are_checked),
	    cmocka_unit_test(large_vocabularies_do_not_hang),    cmocka_unit_test(merges_of_scores_are_bounded),
	    cmocka_unit_test(ends_of_answers_are_found),         cmocka_unit_test(space_after_phi3s_tokens_is_theirs),
	    cmocka_unit_test(equal_scores_merge_by_id),          cmocka_unit_test(a_list_of_ends_is_read),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
