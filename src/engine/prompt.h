/* Log-probabilities of the tokens of a prompt, as it is prefilled. */
#ifndef TALLOW_ENGINE_PROMPT_H
#define TALLOW_ENGINE_PROMPT_H

#include "engine/engine_private.h"

/* Span number `span` of the step that was computed has such tokens to tell of. */
bool prompt_is_told(const struct engine *engine, int span);
/* Fills in what the span's rows say of the tokens behind them. When the prompt ends with the span the last row's logits are
 * then those of span->logit_row, which is -1 otherwise. Takes the place of the logits of all other spans. False when a row has
 * no finite logits. A cancel ends it, and cancels the span. */
bool prompt_tell(struct engine *engine, int span) MUST_USE;

#endif
