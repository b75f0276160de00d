#include "engine/constraint.h"

#include <stdlib.h>
#include <string.h>

#include "engine/sequence.h"

/* What it holds now. */
static size_t bytes_of(const struct constraint *c)
{
	return grammar_bytes(c->grammar) + grammar_mask_words(c->vocabulary) * sizeof *c->mask;
}

static bool add_bytes(struct constraint_memory *memory, size_t n_bytes)
{
	return atomic_fetch_add(&memory->n_bytes, n_bytes) + n_bytes <= memory->max_bytes;
}

static bool refuse(const struct constraint *c, struct error *error)
{
	size_t max = c->memory->max_bytes, others = atomic_load(&c->memory->n_bytes) - c->n_bytes;
	return error_set(error, ERROR_QUEUE_FULL,
	                 "the constraints of requests that run or wait take %zu KiB, and with this one's %zu KiB more than "
	                 "the %zu that there are for them",
	                 others >> 10, c->n_bytes >> 10, max >> 10);
}

/* What cannot even begin is refused before it runs. A mask without a token is judged when it is made again, with what else may
 * come; the grammar remembers it, so that is a copy. */
static bool check_start(const struct constraint *c, struct grammar *grammar, struct error *error)
{
	struct error failure = {0};
	if (grammar_mask(grammar, c->vocabulary, c->mask, &failure))
		return true;
	if (failure.code == ERROR_MEMORY) {
		*error = failure;
		return false;
	}
	return !grammar_failed(grammar) ||
	       error_set(error, ERROR_CONSTRAINT,
	                 "what may come first cannot be found within bounds: the constraint ran out of %s; ask for less of "
	                 "it at once",
	                 grammar_failed(grammar));
}

bool constraint_create(struct constraint *constraint, struct grammar *grammar,
                       const struct grammar_vocabulary *vocabulary, struct constraint_memory *memory,
                       struct error *error)
{
	size_t n_words = grammar_mask_words(vocabulary);
	*constraint = (struct constraint){.vocabulary = vocabulary,
	                                  .memory = memory,
	                                  .n_bytes = grammar_bytes(grammar) + n_words * sizeof *constraint->mask +
	                                             CONSTRAINT_GROWTH_BYTES};
	if (!add_bytes(memory, constraint->n_bytes))
		return refuse(constraint, error);
	constraint->mask = calloc(n_words, sizeof *constraint->mask);
	if (!constraint->mask)
		return error_set(error, ERROR_MEMORY, "no memory for the mask of a constraint");
	if (!check_start(constraint, grammar, error))
		return false;
	constraint->grammar = grammar;
	return true;
}

void constraint_free(struct constraint *constraint)
{
	if (constraint->memory)
		atomic_fetch_sub(&constraint->memory->n_bytes, constraint->n_bytes);
	grammar_destroy(constraint->grammar);
	free(constraint->mask);
	*constraint = (struct constraint){0};
}

/* It may have grown beyond what was counted. */
static void count_growth(struct constraint *c)
{
	size_t n_bytes = bytes_of(c), before = c->n_bytes;
	if (n_bytes <= before)
		return;
	c->n_bytes = n_bytes;
	if (!add_bytes(c->memory, n_bytes - before) && c->error.code == ERROR_NONE)
		error_set(&c->error, ERROR_MEMORY,
		          "the constraint has grown to %zu KiB, and all of those that run would take more than %zu",
		          n_bytes >> 10, c->memory->max_bytes >> 10);
}

/* What the grammar could not follow the text for. */
static void note_failure(struct constraint *c)
{
	const char *why = grammar_failed(c->grammar);
	bool memory = why && strcmp(why, GRAMMAR_NO_MEMORY) == 0;
	if (why)
		error_set(&c->error, memory ? ERROR_MEMORY : ERROR_CONSTRAINT, "the constraint ran out of %s", why);
	else
		error_set(&c->error, ERROR_INFERENCE, "the constraint does not take a token that was drawn");
}

/* ---- masks ---- */

static void set_token(struct constraint *c, int32_t id, bool may_come)
{
	if (id < 0 || (size_t)id / 32 >= grammar_mask_words(c->vocabulary))
		return;
	uint32_t bit = 1U << id % 32;
	c->mask[id / 32] = may_come ? c->mask[id / 32] | bit : c->mask[id / 32] & ~bit;
}

/* The spelling of a control token that is text for this request; NULL for other tokens. */
static const char *shown_text(const struct sequence *sequence, int32_t token, size_t *n_bytes)
{
	for (int i = 0; i < sequence->request.n_shown; i++)
		if (sequence->request.shown[i] == token)
			return detokenizer_control(sequence->detokenizer, token, n_bytes);
	return NULL;
}

/* The model's tokens that end answers are no text, though some vocabularies have bytes for them. */
static void set_ends(struct sequence *sequence, const struct model_config *config, bool may_come)
{
	const struct sampling *sampling = &sequence->request.sampling;
	for (int i = 0; i < config->n_eos_ids; i++)
		set_token(&sequence->constraint, config->eos_ids[i], may_come && !sequence->request.ignore_eos);
	for (int i = 0; i < sampling->n_stop_tokens && may_come; i++)
		set_token(&sequence->constraint, sampling->stop_tokens[i], true);
}

static bool is_empty(const struct constraint *c)
{
	uint32_t any = 0;
	for (size_t i = 0; i < grammar_mask_words(c->vocabulary); i++)
		any |= c->mask[i];
	return any == 0;
}

/* Tokens that may come after the next one. */
static uint32_t tokens_after(const struct sequence *sequence)
{
	int64_t left = sequence->n_total - sequence->n_tokens - 1;
	return left < UINT32_MAX ? (uint32_t)left : UINT32_MAX - 1;
}

static void add_shown(struct sequence *sequence)
{
	struct constraint *c = &sequence->constraint;
	for (int i = 0; i < sequence->request.n_shown; i++) {
		size_t n_bytes = 0;
		int32_t token = sequence->request.shown[i];
		const char *text = shown_text(sequence, token, &n_bytes);
		bool may_come =
		    text && (c->exact ? grammar_text_within(c->grammar, c->vocabulary, text, n_bytes, tokens_after(sequence))
		                      : grammar_may_take(c->grammar, text, n_bytes));
		if (may_come)
			set_token(c, token, true);
	}
}

/* The one token that the constraint leaves, or goes on with where it leaves but one text; -1: there is a choice. */
static int32_t forced_token(const struct sequence *sequence, const struct model_config *config)
{
	const struct constraint *c = &sequence->constraint;
	if (!c->grammar || c->over || c->error.code != ERROR_NONE || sequence->bad_words)
		return -1;
	int32_t token = grammar_forced_token(c->grammar, c->vocabulary);
	if (token < 0 || token >= config->vocab_size || sequence_is_end(sequence, config, token))
		return -1;
	for (int i = 0; i < sequence->request.n_shown; i++) {
		size_t n_bytes = 0;
		const char *text = shown_text(sequence, sequence->request.shown[i], &n_bytes);
		if (text && grammar_may_take(c->grammar, text, n_bytes))
			return -1;
	}
	return !c->exact || grammar_token_within(c->grammar, c->vocabulary, token, tokens_after(sequence)) ? token : -1;
}

static void make_mask(struct sequence *sequence, const struct model_config *config)
{
	struct constraint *c = &sequence->constraint;
	int32_t forced = forced_token(sequence, config);
	if (forced >= 0) {
		memset(c->mask, 0, grammar_mask_words(c->vocabulary) * sizeof *c->mask);
		set_token(c, forced, true);
		c->only_end = false;
		return;
	}
	bool complete = grammar_complete(c->grammar);
	struct error error = {0};
	bool ok = c->exact ? grammar_mask_within(c->grammar, c->vocabulary, tokens_after(sequence), c->mask, &error)
	                   : grammar_mask(c->grammar, c->vocabulary, c->mask, &error);
	if (!ok && (grammar_failed(c->grammar) || error.code == ERROR_MEMORY)) {
		c->error = error;
		if (grammar_failed(c->grammar))
			note_failure(c);
		return;
	}
	add_shown(sequence); /* which may be all that can come */
	set_ends(sequence, config, false);
	bool empty = is_empty(c);
	if (empty && !complete)
		error_set(&c->error, ERROR_INFERENCE, "no token of the vocabulary can follow what the constraint has accepted");
	c->only_end = empty && complete;
	if (complete)
		set_ends(sequence, config, true);
}

void constraint_make_mask(struct sequence *sequence, const struct model_config *config)
{
	struct constraint *c = &sequence->constraint;
	/* Once a token had to be drawn again the next ones would have to be, too. Those of bad_words are drawn several at a
	 * time. */
	c->exact = c->whole && (c->exact || sequence->bad_words);
	make_mask(sequence, config);
	count_growth(c);
}

bool constraint_has_time(struct sequence *sequence, const struct model_config *config, int32_t token)
{
	struct constraint *c = &sequence->constraint;
	if (!c->whole || c->exact || token < 0 || sequence_is_end(sequence, config, token))
		return true;
	size_t n_bytes = 0;
	const char *shown = shown_text(sequence, token, &n_bytes);
	bool within = shown ? grammar_text_within(c->grammar, c->vocabulary, shown, n_bytes, tokens_after(sequence))
	                    : grammar_token_within(c->grammar, c->vocabulary, token, tokens_after(sequence));
	if (within)
		return true;
	c->exact = true;
	make_mask(sequence, config);
	return false;
}

/* ---- following ---- */

void constraint_follow(struct sequence *sequence, const struct model_config *config, int32_t token)
{
	struct constraint *c = &sequence->constraint;
	if (token < 0 || sequence_is_end(sequence, config, token))
		return;
	size_t n_bytes = 0;
	const char *shown = shown_text(sequence, token, &n_bytes);
	bool ok = shown ? grammar_take(c->grammar, shown, n_bytes) : grammar_token(c->grammar, c->vocabulary, token);
	c->over = ok && grammar_over(c->grammar);
	if (!ok)
		note_failure(c);
	count_growth(c);
}

void constraint_retrace(struct sequence *sequence, const struct model_config *config)
{
	grammar_restart(sequence->constraint.grammar);
	for (int64_t i = sequence->request.n_prompt; i < sequence->n_tokens; i++)
		constraint_follow(sequence, config, sequence->tokens[i]);
}

int32_t constraint_forced(struct sequence *sequence, const struct model_config *config)
{
	const struct sampling *sampling = &sequence->request.sampling;
	bool asks_model = sampling->logprobs || sampling->mirostat_tau > 0;
	int32_t token = asks_model ? -1 : forced_token(sequence, config);
	return token >= 0 && constraint_has_time(sequence, config, token) ? token : -1;
}
