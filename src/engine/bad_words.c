#include "engine/bad_words.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

/* Tokens that may stand at one place, in the order in which they were drawn; the last of so many begins no word. */
enum { MAX_CHOICES = 8 };

/* A draw looks at all tokens: after so many that were refused for one place the others are judged at once. */
enum { MAX_REFUSED = 32 };

/* For longer ones, which no published tokenizer has, memory is asked for when they come. */
enum { MAX_TOKEN_BYTES = 1024 };

struct choice {
	int32_t token;
	double mirostat; /* after it */
};

struct held {
	struct choice choices[MAX_CHOICES];
	struct token_logprobs *logprobs; /* [MAX_CHOICES]; NULL: nobody asks */
	int n_choices, at;               /* choices[at] stands */
	size_t n_text;                   /* bytes of the held text before it */
};

struct bad_words {
	const struct sampling *sampling;
	const struct grammar_vocabulary *vocabulary;
	size_t longest; /* of the words, in bytes */
	int64_t returns_left;
	struct bytes text; /* of the held tokens */
	size_t n_open;     /* bytes at its end that begin a word */
	struct held *held; /* [max_held] the oldest first */
	struct token_logprobs *logprobs;
	int64_t n_held, max_held;
};

struct bad_words *bad_words_create(const struct sampling *sampling, const struct grammar_vocabulary *vocabulary,
                                   int64_t max_returns, struct error *error)
{
	struct bad_words *words = calloc(1, sizeof *words);
	size_t longest = 0;
	for (int i = 0; i < sampling->n_bad_words; i++)
		longest = sampling->bad_words[i].n_bytes > longest ? sampling->bad_words[i].n_bytes : longest;
	if (words) {
		words->sampling = sampling;
		words->vocabulary = vocabulary;
		words->longest = longest;
		words->returns_left = max_returns;
		words->max_held =
		    (int64_t)longest + 1; /* each of them has a byte of the word that has begun, or is the newest */
		words->held = calloc((size_t)words->max_held, sizeof *words->held);
	}
	if (words && sampling->logprobs)
		words->logprobs = calloc((size_t)words->max_held * MAX_CHOICES, sizeof *words->logprobs);
	if (words && words->held && (words->logprobs || !sampling->logprobs) &&
	    bytes_reserve(&words->text, longest + 2 * MAX_TOKEN_BYTES))
		return words;
	bad_words_destroy(words);
	error_set(error, ERROR_MEMORY, "no memory for the bad_words of a request");
	return NULL;
}

void bad_words_destroy(struct bad_words *words)
{
	if (!words)
		return;
	bytes_free(&words->text);
	free(words->held);
	free(words->logprobs);
	free(words);
}

/* ---- words in the text ---- */

/* Where the first word begins that the text has behind its first n_before bytes, in part at least. */
static bool find_word(const struct bad_words *words, size_t n_before, size_t *start)
{
	const char *text = words->text.data;
	size_t n_bytes = words->text.n_bytes;
	bool found = false;
	for (int i = 0; i < words->sampling->n_bad_words; i++) {
		const struct bad_word *word = &words->sampling->bad_words[i];
		size_t from = n_before >= word->n_bytes ? n_before - word->n_bytes + 1 : 0;
		const char *at = n_bytes > from ? memmem(text + from, n_bytes - from, word->text, word->n_bytes) : NULL;
		if (!at || (found && (size_t)(at - text) >= *start))
			continue;
		*start = (size_t)(at - text);
		found = true;
	}
	return found;
}

/* The longest end of the text, of n_most bytes at most, that begins a word. */
static size_t open_end(const struct bad_words *words, size_t n_most)
{
	const char *text = words->text.data;
	size_t n_bytes = words->text.n_bytes, longest = 0;
	for (int i = 0; i < words->sampling->n_bad_words; i++) {
		const struct bad_word *word = &words->sampling->bad_words[i];
		size_t n = word->n_bytes - 1;
		n = n < n_most ? n : n_most;
		while (n > longest && memcmp(text + n_bytes - n, word->text, n) != 0)
			n--;
		longest = n > longest ? n : longest;
	}
	return longest;
}

static void cut_text(struct bad_words *words, size_t n_bytes)
{
	words->text.n_bytes = n_bytes;
}

/* What a control token says is no text, and no word goes on behind it. */
static void add_text(struct bad_words *words, int32_t token)
{
	size_t n_bytes;
	const char *text = grammar_token_bytes(words->vocabulary, token, &n_bytes);
	if (text)
		bytes_append(&words->text, text, n_bytes);
}

/* ---- what is drawn ---- */

enum verdict { VERDICT_SAFE, VERDICT_BEGINS, VERDICT_COMPLETES_OWN, VERDICT_COMPLETES };

/* Of a token behind the held ones. *start: of the word that it completes. */
static enum verdict judge(struct bad_words *words, int32_t token, size_t *start)
{
	size_t n_before = words->text.n_bytes;
	enum verdict verdict = VERDICT_SAFE;
	add_text(words, token);
	size_t n_own = words->text.n_bytes - n_before;
	if (n_own > 0 && find_word(words, n_before, start))
		verdict = *start < n_before ? VERDICT_COMPLETES : VERDICT_COMPLETES_OWN;
	else if (open_end(words, n_own) > 0)
		verdict = VERDICT_BEGINS;
	cut_text(words, n_before);
	return verdict;
}

/* Puts another choice for its place into the list. */
static void add_choice(struct bad_words *words, struct held *place, int32_t token, double mirostat,
                       const struct token_logprobs *logprobs)
{
	place->choices[place->n_choices] = (struct choice){.token = token, .mirostat = mirostat};
	if (words->logprobs) {
		place->logprobs = words->logprobs + (place - words->held) * MAX_CHOICES;
		place->logprobs[place->n_choices] = *logprobs;
	}
	place->n_choices++;
}

/* The held token in which a byte of the text lies. */
static int64_t find_held(const struct bad_words *words, size_t start)
{
	int64_t i = words->n_held - 1;
	while (i > 0 && words->held[i].n_text > start)
		i--;
	return i;
}

/* What follows from the held token's choice. */
static void stand(struct bad_words *words, struct held *last)
{
	cut_text(words, last->n_text);
	add_text(words, last->choices[last->at].token);
	bool ends = words->text.n_bytes == last->n_text; /* it has no text */
	words->n_open = ends ? 0 : open_end(words, words->text.n_bytes);
}

/* Goes back to where a word began; false where nothing else may stand there. */
static bool go_back(struct bad_words *words, size_t start)
{
	int64_t to = find_held(words, start);
	struct held *held = &words->held[to];
	if (words->returns_left == 0 || held->at + 1 == held->n_choices)
		return false;
	words->returns_left--;
	words->n_held = to + 1;
	held->at++;
	stand(words, held);
	return true;
}

static bool fail(const struct held *place, int n_refused, struct error *error)
{
	if (place->n_choices > 0)
		return true;
	return n_refused ? error_set(error, ERROR_INFERENCE, "every token that may come would complete one of bad_words")
	                 : error_set(error, ERROR_MODEL_FAULT, "the model gave no finite logits");
}

/* Makes impossible what would complete a word, and what begins one where there is anything else. */
static void refuse_all(struct bad_words *words, float *logits, int64_t vocab_size)
{
	bool any_safe = false;
	size_t start;
	for (int64_t id = 0; id < vocab_size; id++) {
		enum verdict verdict = isfinite(logits[id]) ? judge(words, (int32_t)id, &start) : VERDICT_COMPLETES;
		any_safe |= verdict == VERDICT_SAFE;
		if (verdict == VERDICT_COMPLETES_OWN || verdict == VERDICT_COMPLETES)
			logits[id] = -INFINITY;
	}
	for (int64_t id = 0; any_safe && id < vocab_size; id++)
		if (isfinite(logits[id]) && judge(words, (int32_t)id, &start) != VERDICT_SAFE)
			logits[id] = -INFINITY;
}

/* Fills the place behind the held tokens with what may stand there. *returned: the first token drawn completed a word, and the
 * text went back instead. */
static bool draw_choices(struct bad_words *words, struct sampler *sampler, float *logits,
                         const struct sampling *sampling, struct sampler_place *place, bool *returned,
                         struct error *error)
{
	struct held *held = &words->held[words->n_held];
	struct token_logprobs logprobs;
	const double before = *place->mirostat;
	*held = (struct held){.n_text = words->text.n_bytes};
	int32_t token = sampler_pick(sampler, logits, sampling, place, &logprobs);
	for (int n_refused = 0; token >= 0; n_refused++) {
		size_t start = 0;
		enum verdict verdict = judge(words, token, &start);
		if (verdict == VERDICT_COMPLETES && held->n_choices == 0 && go_back(words, start)) {
			*returned = true;
			return true;
		}
		if (verdict == VERDICT_SAFE || (verdict == VERDICT_BEGINS && held->n_choices < MAX_CHOICES - 1))
			add_choice(words, held, token, *place->mirostat, &logprobs);
		if (verdict == VERDICT_SAFE || n_refused == MAX_REFUSED)
			return true;
		if (n_refused + 1 == MAX_REFUSED)
			refuse_all(words, logits, sampler_vocab_size(sampler));
		*place->mirostat = before;
		place->attempt = (uint32_t)n_refused + 1;
		token = sampler_again(sampler, logits, sampling, place, token, &logprobs);
		if (token < 0)
			return fail(held, n_refused + 1, error);
	}
	return fail(held, 0, error);
}

int64_t bad_words_draw(struct bad_words *words, struct sampler *sampler, float *logits, const struct sampling *sampling,
                       struct sampler_place *place, struct error *error)
{
	bool returned = false;
	if (!draw_choices(words, sampler, logits, sampling, place, &returned, error))
		return -1;
	if (!returned)
		stand(words, &words->held[words->n_held++]);
	const struct held *last = &words->held[words->n_held - 1];
	*place->mirostat = last->choices[last->at].mirostat;
	if (!words->text.failed)
		return words->n_held;
	error_set(error, ERROR_MEMORY, "no memory for the bad_words of a request");
	return -1;
}

/* ---- what is held ---- */

int32_t bad_words_last(const struct bad_words *words)
{
	const struct held *last = &words->held[words->n_held - 1];
	return last->choices[last->at].token;
}

struct held_token bad_words_first(const struct bad_words *words)
{
	const struct held *first = &words->held[0];
	return (struct held_token){.token = first->choices[first->at].token,
	                           .logprobs = first->logprobs ? &first->logprobs[first->at] : NULL};
}

/* Bytes of the oldest token. */
static size_t first_bytes(const struct bad_words *words)
{
	return words->n_held > 1 ? words->held[1].n_text : words->text.n_bytes;
}

bool bad_words_settled(const struct bad_words *words, bool nothing_follows)
{
	if (words->n_held == 0)
		return false;
	return nothing_follows || first_bytes(words) <= words->text.n_bytes - words->n_open;
}

void bad_words_pop(struct bad_words *words)
{
	size_t n_bytes = first_bytes(words);
	memmove(words->text.data, words->text.data + n_bytes, words->text.n_bytes - n_bytes);
	cut_text(words, words->text.n_bytes - n_bytes);
	words->n_held--;
	for (int64_t i = 0; i < words->n_held; i++) {
		struct token_logprobs *logprobs = words->held[i].logprobs;
		words->held[i] = words->held[i + 1];
		words->held[i].n_text -= n_bytes;
		if (!logprobs)
			continue;
		words->held[i].logprobs = logprobs;
		memcpy(logprobs, logprobs + MAX_CHOICES, MAX_CHOICES * sizeof *logprobs);
	}
}
