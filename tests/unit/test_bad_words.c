/* Words that an output must not have: none is left whatever is drawn, what is not concerned stays as it was, and what is drawn
 * instead has the distribution of all others. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "engine/bad_words.h"
#include "text/tokenizer.h"

enum { N_TOKENS = 60, MAX_VOCAB = 8192 };

static struct tokenizer *tokenizer;
static struct grammar_vocabulary *vocabulary;
static struct sampler *sampler;
static int64_t vocab_size;
static float logits[MAX_VOCAB];
/* Pieces of these words are what is drawn most of the time. */
static const struct bad_word words[] = {{"the", 3}, {"there was a", 11}, {"ere", 3},
                                        {" a", 2},  {"\xC3\xA9", 2},     {"h", 1}};
enum { N_WORDS = sizeof words / sizeof *words };
static bool is_piece[MAX_VOCAB];

static bool is_in_a_word(const char *text, size_t n_bytes)
{
	for (int i = 0; i < N_WORDS; i++)
		if (n_bytes && n_bytes <= words[i].n_bytes && memmem(words[i].text, words[i].n_bytes, text, n_bytes))
			return true;
	return false;
}

static int open_model(void **state)
{
	(void)state;
	struct error error = {0};
	struct bytes text = {0};
	tokenizer = tokenizer_load("models/tallow-tiny", &error);
	if (!tokenizer)
		return -1;
	vocab_size = tokenizer_vocab_size(tokenizer);
	sampler = sampler_create(vocab_size);
	vocabulary = grammar_vocabulary_create(tokenizer, &error);
	if (vocab_size > MAX_VOCAB || !sampler || !vocabulary)
		return -1;
	for (int64_t id = 0; id < vocab_size; id++) {
		bytes_clear(&text);
		tokenizer_token_bytes(tokenizer, (int32_t)id, &text);
		is_piece[id] = is_in_a_word(text.data, text.n_bytes);
	}
	bytes_free(&text);
	return 0;
}

static int close_model(void **state)
{
	(void)state;
	sampler_destroy(sampler);
	grammar_vocabulary_destroy(vocabulary);
	tokenizer_destroy(tokenizer);
	return 0;
}

/* A model of its own: logits are a function of what was said. */
static void think(const int32_t *tokens, int64_t n)
{
	uint64_t hash = 7;
	for (int64_t i = 0; i < n; i++)
		hash = hash_mix(hash ^ (uint64_t)tokens[i]);
	for (int64_t id = 0; id < vocab_size; id++) {
		uint64_t bits = hash_mix(hash ^ (uint64_t)id << 32);
		logits[id] = (float)(bits >> 40) / 4194304 + (is_piece[id] ? 6 : 0);
	}
}

static bool has(const struct bytes *text, const struct bad_word *word)
{
	return text->n_bytes && memmem(text->data, text->n_bytes, word->text, word->n_bytes);
}

/* tokens: [N_TOKENS + the most that are held]. Returns how often the text went back. */
static int say(struct sampling *sampling, int32_t *tokens, struct bytes *text)
{
	struct error error = {0};
	struct bad_words *held = bad_words_create(sampling, vocabulary, N_TOKENS, &error);
	double mirostat = 2 * sampling->mirostat_tau;
	int64_t n_settled = 0, n_held = 0;
	int n_returns = 0;
	assert_non_null(held);
	while (n_settled < N_TOKENS) {
		int64_t n_tokens = n_settled + n_held;
		struct sampler_place place = {
		    .tokens = tokens, .n_tokens = (size_t)n_tokens, .position = (uint64_t)n_tokens, .mirostat = &mirostat};
		think(tokens, n_tokens);
		int64_t n = bad_words_draw(held, sampler, logits, sampling, &place, &error);
		assert_true(n > 0 && n <= n_held + 1);
		n_returns += n <= n_held;
		n_held = n;
		tokens[n_settled + n_held - 1] = bad_words_last(held);
		for (; bad_words_settled(held, n_settled + n_held >= N_TOKENS); bad_words_pop(held), n_held--) {
			struct held_token first = bad_words_first(held);
			struct token_logprobs logprobs;
			assert_int_equal(first.token, tokens[n_settled]);
			assert_int_equal(first.logprobs != NULL, sampling->logprobs);
			think(tokens, n_settled); /* they are of the place where the token stands, and of that token */
			if (first.logprobs) {
				assert_true(sampler_logprobs(logits, vocab_size, first.token, sampling->n_top_logprobs, &logprobs));
				assert_true(first.logprobs->logprob == logprobs.logprob && first.logprobs->rank == logprobs.rank);
			}
			if (!tokenizer_is_special(tokenizer, first.token))
				tokenizer_token_bytes(tokenizer, first.token, text);
			n_settled++;
		}
	}
	bad_words_destroy(held);
	return n_returns;
}

static void none_is_left_whatever_is_drawn(void **state)
{
	(void)state;
	struct bytes text = {0};
	int32_t tokens[N_TOKENS + SAMPLING_MAX_WORD_BYTES];
	int n_returns = 0;
	for (int seed = 0; seed < 120; seed++) {
		struct sampling sampling = sampling_neutral;
		sampling.seed = (uint64_t)seed;
		sampling.temperature = seed % 5 == 4 ? 0 : 1;
		sampling.mirostat_tau = seed % 7 == 6 ? 6 : 0;
		sampling.mirostat_eta = 0.1;
		sampling.logprobs = seed % 3 == 0;
		sampling.bad_words = words + seed % 2;
		sampling.n_bad_words = N_WORDS - seed % 2 - seed % 3;
		bytes_clear(&text);
		n_returns += say(&sampling, tokens, &text);
		for (int i = 0; i < sampling.n_bad_words; i++)
			if (has(&text, &sampling.bad_words[i]))
				fail_msg("seed %d: \"%s\" is in \"%.*s\"", seed, sampling.bad_words[i].text, (int)text.n_bytes,
				         text.data);
	}
	assert_in_range(n_returns, 200, 120 * N_TOKENS);
	bytes_free(&text);
}

static void what_does_not_come_changes_nothing(void **state)
{
	(void)state;
	struct bytes text = {0};
	int32_t free_tokens[N_TOKENS], tokens[N_TOKENS + SAMPLING_MAX_WORD_BYTES];
	int n_same = 0;
	for (int seed = 0; seed < 40; seed++) {
		struct sampling sampling = sampling_neutral;
		sampling.seed = (uint64_t)seed;
		bytes_clear(&text);
		for (int64_t n = 0; n < N_TOKENS; n++) {
			struct sampler_place place = {.tokens = free_tokens, .n_tokens = (size_t)n, .position = (uint64_t)n};
			think(free_tokens, n);
			free_tokens[n] = sampler_pick(sampler, logits, &sampling, &place, NULL);
			if (!tokenizer_is_special(tokenizer, free_tokens[n]))
				tokenizer_token_bytes(tokenizer, free_tokens[n], &text);
		}
		sampling.bad_words = &words[1]; /* begins all the time */
		sampling.n_bad_words = 1;
		if (has(&text, &words[1]))
			continue;
		n_same++;
		bytes_clear(&text);
		assert_int_equal(say(&sampling, tokens, &text), 0);
		assert_memory_equal(tokens, free_tokens, sizeof free_tokens);
	}
	assert_true(n_same > 20);
	bytes_free(&text);
}

/* Of three tokens one is refused: the others come as often as they would if it were not there. */
static void another_token_is_drawn_among_all_others(void **state)
{
	(void)state;
	enum { DRAWS = 20000 };
	const double weights[3] = {0.5, 0.3, 0.2};
	struct sampling sampling = sampling_neutral;
	struct sampler *small = sampler_create(3);
	int counts[3][3] = {{0}}, firsts[3] = {0};
	for (int i = 0; i < DRAWS; i++) {
		float three[3];
		struct sampler_place place = {.position = (uint64_t)i};
		for (int j = 0; j < 3; j++)
			three[j] = (float)log(weights[j]);
		int32_t first = sampler_pick(small, three, &sampling, &place, NULL);
		place.attempt = 1;
		firsts[first]++;
		counts[first][sampler_again(small, three, &sampling, &place, first, NULL)]++;
	}
	for (int i = 0; i < 3; i++) {
		double chi_square = 0;
		assert_int_equal(counts[i][i], 0);
		for (int j = 0; j < 3; j++) {
			double expected = i == j ? 0 : firsts[i] * weights[j] / (1 - weights[i]);
			chi_square += i == j ? 0 : (counts[i][j] - expected) * (counts[i][j] - expected) / expected;
		}
		assert_true(chi_square < 10.83); /* 999 of 1,000 with one degree of freedom */
	}
	sampler_destroy(small);
}

static void where_everything_is_bad_that_is_said(void **state)
{
	(void)state;
	struct error error = {0};
	struct sampling sampling = sampling_neutral;
	struct bad_word all[96];
	char letters[96];
	double mirostat = 0;
	for (int i = 0; i < 95; i++) {
		letters[i] = (char)(' ' + i);
		all[i] = (struct bad_word){.text = &letters[i], .n_bytes = 1};
	}
	sampling.bad_words = all;
	sampling.n_bad_words = 95;
	struct bad_words *held = bad_words_create(&sampling, vocabulary, 10, &error);
	for (int64_t id = 0; id < vocab_size; id++) {
		struct bytes text = {0};
		tokenizer_token_bytes(tokenizer, (int32_t)id, &text);
		bool printable =
		    !tokenizer_is_special(tokenizer, (int32_t)id) && text.n_bytes && text.data[0] >= ' ' && text.data[0] <= '~';
		logits[id] = printable ? 0 : -INFINITY;
		bytes_free(&text);
	}
	struct sampler_place place = {.mirostat = &mirostat};
	assert_int_equal(bad_words_draw(held, sampler, logits, &sampling, &place, &error), -1);
	assert_int_equal(error.code, ERROR_INFERENCE);
	for (int64_t id = 0; id < vocab_size; id++)
		logits[id] = NAN;
	assert_int_equal(bad_words_draw(held, sampler, logits, &sampling, &place, &error), -1);
	assert_int_equal(error.code, ERROR_MODEL_FAULT);
	bad_words_destroy(held);
}

/* However many tokens would have to be refused: they are not drawn one by one. */
static void few_tokens_are_drawn_where_most_are_bad(void **state)
{
	(void)state;
	struct error error = {0};
	struct sampling sampling = sampling_neutral;
	struct bad_word most[94];
	char pairs[94][2];
	double mirostat = 0;
	for (int i = 0; i < 94; i++) /* all printable letters but the last are a word, or begin one */
		memcpy(pairs[i], (char[2]){(char)(' ' + i), 1}, 2);
	for (int begin = 0; begin < 2; begin++) {
		sampling.bad_words = most;
		sampling.n_bad_words = 94;
		for (int i = 0; i < 94; i++)
			most[i] = (struct bad_word){.text = pairs[i], .n_bytes = (size_t)begin + 1};
		struct bad_words *held = bad_words_create(&sampling, vocabulary, 10, &error);
		for (int64_t id = 0; id < vocab_size; id++) {
			struct bytes text = {0};
			tokenizer_token_bytes(tokenizer, (int32_t)id, &text);
			bool tilde = text.n_bytes == 1 && text.data[0] == '~';
			bool printable = !tokenizer_is_special(tokenizer, (int32_t)id) && text.n_bytes && text.data[0] >= ' ' &&
			                 text.data[0] <= '~';
			logits[id] = tilde ? -100 : printable ? 0 : -INFINITY;
			bytes_free(&text);
		}
		struct sampler_place place = {.mirostat = &mirostat};
		assert_int_equal(bad_words_draw(held, sampler, logits, &sampling, &place, &error), 1);
		assert_in_range(place.attempt, 1, 32);
		bad_words_destroy(held);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(none_is_left_whatever_is_drawn),
	    cmocka_unit_test(what_does_not_come_changes_nothing),
	    cmocka_unit_test(another_token_is_drawn_among_all_others),
	    cmocka_unit_test(where_everything_is_bad_that_is_said),
	    cmocka_unit_test(few_tokens_are_drawn_where_most_are_bad),
	};
	return cmocka_run_group_tests(tests, open_model, close_model);
}
