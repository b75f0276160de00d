/* The field `logit_bias` as OpenAI has it: an object from token ids, as text, to numbers, {"50256": -100}. */
#ifndef TALLOW_SERVER_DIALECTS_LOGIT_BIAS_H
#define TALLOW_SERVER_DIALECTS_LOGIT_BIAS_H

#include "base/arena.h"
#include "engine/sampler.h"
#include "server/dialects/fields.h"

/* Fills in the sampling's biases, which live in the arena. What is wrong with the field is noted in `check`, at its first
 * bad entry. False only when memory is short. */
bool logit_bias_read(struct field_checker *check, int64_t vocab_size, struct arena *arena,
                     struct sampling *sampling) MUST_USE;

#endif
