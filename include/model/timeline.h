/* One sequence in a model: its pages, and how far it has come. For whoever runs sequences without an engine.
 *
 *     struct timeline *timeline = timeline_create(model, n_prompt + n_more, &error);
 *     const float *logits = timeline_prefill(timeline, prompt, n_prompt, 1);        // of the last token
 *     logits = timeline_step(timeline, drafted, 4, ROWS_DECODE, 4);                 // [4, vocab]
 *     timeline_rewind(timeline, n_prompt + 2);                                      // two of the four were wrong
 *     timeline_destroy(timeline);
 *
 * Same bits: what a token's logits are depends on the tokens before it alone; not on what stood in their places before a
 * rewind, nor on how many rows a step has. (Prefill and decode may differ: kernels/matmul.h.) The thread that owns the
 * model owns its timelines, too.
 */
#ifndef TALLOW_MODEL_TIMELINE_H
#define TALLOW_MODEL_TIMELINE_H

#include "model/model.h"

struct timeline;

/* Takes pages for a sequence of at most n_tokens (>= 1) from the model's pool, and the rope that such a sequence has.
 * ERROR_USAGE when that is more than the plan's context, ERROR_MEMORY when too few pages are free. Caller destroys, before
 * the model is closed. */
struct timeline *timeline_create(struct model *model, int64_t n_tokens, struct error *error) MUST_USE;
/* Gives the pages back; NULL is harmless. */
void timeline_destroy(struct timeline *timeline);

/* Tokens appended so far: the position of the next one. */
int64_t timeline_length(const struct timeline *timeline);
/* Back to a length of `position` (at most what it is): the tokens after it are forgotten. Where it goes on with prefill,
 * that is a multiple of plan.tile_rows. */
void timeline_rewind(struct timeline *timeline, int64_t position);
/* Counts n_tokens as appended whose keys and values lie in the pages already, or do not matter (measurements at a
 * depth). */
void timeline_skip(struct timeline *timeline, int64_t n_tokens);

/* Appends tokens [n_rows] and returns the span that computes them, with the logits of the last n_logits rows: for one
 * model_forward together with spans of other timelines. That must follow before anything else of this timeline; the span
 * borrows tokens and pages until then. The sum of lengths stays within what the timeline was created for; how many rows
 * a step may have says model_forward. */
struct forward_span timeline_append(struct timeline *timeline, const int32_t *tokens, int n_rows, enum row_phase phase,
                                    int n_logits);
/* Appends in a step of its own. Logits of the last n_logits rows, [n_logits, vocab], valid until the model's next step;
 * NULL when none are wanted. */
const float *timeline_step(struct timeline *timeline, const int32_t *tokens, int n_rows, enum row_phase phase,
                           int n_logits);
/* Prefills a text of any length in as few steps as give the logits of the last n_logits of its tokens in the last one;
 * n_logits is at most plan.max_logit_rows and, where the text needs several steps, plan.max_prefill_rows less one tile. The
 * result is that of timeline_step. */
const float *timeline_prefill(struct timeline *timeline, const int32_t *tokens, int64_t n_tokens, int n_logits);

#endif
