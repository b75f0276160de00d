/* A sequence: one request from submission to its terminal event. Owned by the engine; after submission only the engine's
 * thread touches it.
 *
 * Turns sampled tokens into events: detokenises, matches stop strings, holds back what may not be sent yet.
 */
#ifndef TALLOW_ENGINE_SEQUENCE_H
#define TALLOW_ENGINE_SEQUENCE_H

#include "engine/bad_words.h"
#include "engine/constraint.h"
#include "engine/engine.h"
#include "engine/pooling.h"
#include "engine/prefix_cache.h"
#include "engine/stream.h"
#include "model/config.h"
#include "text/detokenizer.h"

/* A token whose event waits for the next one, because text is held back. */
struct pending_token {
	bool waits;
	int32_t token;
	int64_t index;
	bool has_logprobs;
	struct token_logprobs logprobs;
	struct bytes text;
};

struct sequence {
	struct request request; /* strings and prompt are owned copies */
	struct stream *stream;  /* one reference */
	int choice;             /* of the stream */
	int id;                 /* the scheduler's */
	int32_t *tokens;        /* [n_total] prompt, then output */
	int64_t n_tokens;
	int64_t n_settled; /* of them; those behind may yet become others (bad_words.h) */
	int64_t n_total;   /* where it must end */
	bool clipped;      /* the context ends it before max_tokens would */
	int32_t *pages;    /* [max_pages] page table */
	int n_pages, max_pages;
	bool was_paused;
	int64_t cached_tokens;     /* of the prompt, that others computed */
	struct prefix_chain chain; /* behind the last page that is in the prefix cache ... */
	int n_published;           /* ... of so many */

	struct embedding embedding;             /* where the request embeds ... */
	float *vector;                          /* ... and where it goes, the stream's */
	struct token_logprobs *prompt_logprobs; /* [n_prompt], the stream's; NULL: nobody asked, or told */

	struct bad_words *bad_words; /* NULL: there are none */
	double mirostat;             /* sampler.h: struct sampler_place */
	struct constraint constraint;
	struct detokenizer *detokenizer;
	struct stop_matcher stops;
	struct bytes text, safe; /* scratch */
	struct pending_token pending;
	bool ended; /* with this event: */
	struct event terminal;
	struct token_logprobs end_logprobs; /* of the token that ended it */
	enum outcome outcome;               /* once its pages and place are given back */
	int64_t ended_ns;
	struct sequence *next_ended;

	int64_t submitted_ns, admitted_ns, first_token_ns, last_token_ns;
};

/* Copies the request. n_total and max_pages as the scheduler will count them. NULL on error; the stream is not taken. */
struct sequence *sequence_create(const struct request *request, int64_t n_total, bool clipped, int max_pages,
                                 const struct tokenizer *tokenizer, struct error *error);
void sequence_destroy(struct sequence *sequence); /* pages must have been given back; NULL is harmless */

static inline int64_t sequence_output_tokens(const struct sequence *sequence)
{
	return sequence->n_settled - sequence->request.n_prompt;
}

/* Exchanges the pages behind those that are published for equal ones that the cache has, up to the last full one before the
 * last of the first n_tokens tokens. Those the sequence had in their place go back. */
void sequence_adopt_pages(struct sequence *sequence, struct prefix_cache *cache, int page_tokens, int64_t n_tokens);

/* The token ends the output. */
bool sequence_is_end(const struct sequence *sequence, const struct model_config *config, int32_t token);
/* Takes the next token that stays (-1: the sampler found none; SEQUENCE_OVER: the output is over without one), with its
 * log-probabilities where the request asks for them (else
 * NULL), and pushes what follows from it. True when the sequence has ended:
 * *outcome says how, and its terminal event waits for sequence_push_terminal. */
enum { SEQUENCE_OVER = -2 };
bool sequence_take(struct sequence *sequence, int32_t token, const struct token_logprobs *logprobs,
                   const struct model_config *config, int64_t now_ns, enum outcome *outcome);
/* The prompt of a request that embeds is done. True, as it has ended: *outcome says how. */
bool sequence_embed(struct sequence *sequence, int64_t now_ns, enum outcome *outcome);
/* Ends it with an error, for whoever removes it. */
void sequence_fail(struct sequence *sequence, const struct error *why);
/* The same where the prompt is all there is, and none of it could not be computed (`ok`). */
bool sequence_end_prompt(struct sequence *sequence, bool ok, int64_t now_ns, enum outcome *outcome);
/* After pages and place were given back, so that whoever has read the end finds them free. Nothing for a sequence that was
 * cancelled: whoever cancelled it pushed its terminal event. */
void sequence_push_terminal(struct sequence *sequence);

#endif
