/* Words that an output must not have: a stream's newest tokens are held until no such word can be in them any more.
 *
 *     int64_t n = bad_words_draw(words, sampler, logits, &sampling, &place, &error);   // n tokens are held now
 *     for (; bad_words_settled(words, at_the_end); bad_words_pop(words))               // these stay
 *         use(bad_words_first(words));
 *
 * A word is looked for in the bytes of tokens, so it may begin and end anywhere within them, upper case and lower case being
 * different. Where it is complete the text goes back to the token in which it begins, and that one is drawn anew, without
 * the one that led there: nothing of the word remains. What may be drawn there was found when its logits were at hand: whenever
 * a word may begin in the token that is drawn, others are drawn after it, up to one in which none begins.
 *
 * A control token ends whatever word has begun. Drawing allocates nothing. Used by one thread.
 */
#ifndef TALLOW_ENGINE_BAD_WORDS_H
#define TALLOW_ENGINE_BAD_WORDS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "engine/sampler.h"
#include "text/grammar.h"

struct bad_words;

struct held_token {
	int32_t token;
	const struct token_logprobs *logprobs; /* NULL where the sampling asks for none */
};

/* Of sampling->bad_words, which is borrowed until destroy, as is the vocabulary. The text goes back max_returns times at most;
 * then what would complete a word is not drawn. NULL with ERROR_INTERNAL when memory is short. */
struct bad_words *bad_words_create(const struct sampling *sampling, const struct grammar_vocabulary *vocabulary,
                                   int64_t max_returns, struct error *error);
void bad_words_destroy(struct bad_words *words); /* NULL is harmless */

/* Draws for the place behind the held tokens, which place->tokens [n_tokens] ends with; *place->mirostat goes with them.
 * Returns how many tokens are held: one more than before, or fewer and the last of them another one. -1: no
 * logit is finite (ERROR_MODEL_FAULT), or all that are would complete a word (ERROR_INFERENCE). */
int64_t bad_words_draw(struct bad_words *words, struct sampler *sampler, float *logits, const struct sampling *sampling,
                       struct sampler_place *place, struct error *error);

/* The newest token that is held. */
int32_t bad_words_last(const struct bad_words *words);
/* The oldest, and whether it stays: no word can begin in it, or nothing more comes. */
struct held_token bad_words_first(const struct bad_words *words);
bool bad_words_settled(const struct bad_words *words, bool nothing_follows);
void bad_words_pop(struct bad_words *words);

#endif
