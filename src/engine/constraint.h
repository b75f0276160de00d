/* What holds a sequence to a grammar (text/grammar.h): which tokens may come next, and where its text stands.
 *
 *     constraint_make_mask(sequence, config, tokenizer)   by the masker, while the step's forward pass runs
 *     ... sampler_pick sees the mask ...
 *     constraint_follow(sequence, config, token)           by the engine's thread, when the token is known
 *
 * A mask is a function of the sequence alone, so a request's tokens do not depend on who makes it, and when. Tokens that end
 * an answer may come where the text may end, and nowhere else; a token of the request's stop_token_ids also where its text
 * may come, as stop strings end an output anywhere. Where nothing but the end may come the answer ends, whatever ignore_eos
 * and min_tokens say, so no mask is ever empty. What bad_words leave of a mask may be nothing; that is an error.
 */
#ifndef TALLOW_ENGINE_CONSTRAINT_H
#define TALLOW_ENGINE_CONSTRAINT_H

#include <stdatomic.h>

#include "model/config.h"
#include "text/grammar.h"

struct sequence;

/* Of all requests of an engine that run or wait; any thread. */
struct constraint_memory {
	atomic_size_t n_bytes;
	size_t max_bytes;
};

struct constraint {
	struct grammar *grammar;                     /* NULL: none, and the rest means nothing */
	const struct grammar_vocabulary *vocabulary; /* the engine's */
	uint32_t *mask;                              /* of the next token, grammar_mask_words of it */
	struct constraint_memory *memory;            /* the engine's */
	size_t n_bytes;                              /* counted there */
	bool whole;                                  /* the output is to be complete at its last token */
	bool exact;         /* of one that is whole: the mask leaves nothing that could not be completed in time */
	bool only_end;      /* nothing else may come next: there is no mask */
	bool over;          /* after the last token nothing may follow */
	struct error error; /* unless its code is NONE: what the sequence ends with */
};

/* What a constraint may grow by while its text is followed is counted from the start; what it grows by beyond that when it
 * has. */
enum { CONSTRAINT_GROWTH_BYTES = 1 << 20 };

/* Takes the grammar over when it succeeds. QUEUE_FULL: with those of others it would take more than there is;
 * CONSTRAINT: what may come first cannot be found within bounds; else MEMORY. Makes the first mask, which may take a while. */
bool constraint_create(struct constraint *constraint, struct grammar *grammar,
                       const struct grammar_vocabulary *vocabulary, struct constraint_memory *memory,
                       struct error *error) MUST_USE;
void constraint_free(struct constraint *constraint);

void constraint_make_mask(struct sequence *sequence, const struct model_config *config);
/* Where the output is to be whole most masks say nothing of the time that is left: a token that leaves too little is drawn
 * again under one that does. False: that is needed, and the mask is now such a one (or there is an error). */
bool constraint_has_time(struct sequence *sequence, const struct model_config *config, int32_t token) MUST_USE;
/* Allocates as a text makes a grammar remember more. */
void constraint_follow(struct sequence *sequence, const struct model_config *config, int32_t token);

/* The token that must come next, whatever the model says (grammar_forced_token; masks have no other then): it is as good as
 * drawn, and costs no step of its own. -1: there is a choice, or the model is to be asked all the same (log-probabilities,
 * mirostat). */
int32_t constraint_forced(struct sequence *sequence, const struct model_config *config);
/* Of all tokens from the first on: the text went back (bad_words.h), or tokens of it are others now. */
void constraint_retrace(struct sequence *sequence, const struct model_config *config);

#endif
