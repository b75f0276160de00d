/* The fields that say how tokens are drawn: the same names, ranges and meanings in every dialect that has them.
 *
 *     asked->sampling = sampling_neutral;
 *     sampling_fields_read(&check, &rules, arena, &asked->sampling);
 *
 * Names are OpenAI's and vLLM's where they have one, else llama.cpp's (xtc_*, dry_*, dynatemp_*, mirostat*, repeat_last_n).
 */
#ifndef TALLOW_SERVER_DIALECTS_SAMPLING_FIELDS_H
#define TALLOW_SERVER_DIALECTS_SAMPLING_FIELDS_H

#include "base/arena.h"
#include "engine/sampler.h"
#include "server/dialects/fields.h"

struct tokenizer; /* text/tokenizer.h */

struct sampling_rules {
	int64_t vocab_size;
	const struct tokenizer *tokenizer; /* what texts become tokens in */
	int64_t max_min_tokens;            /* of min_tokens */
	bool clips;                        /* a top_k beyond the vocabulary is all of it, and -1 is none */
};

/* Fields that are absent or null leave the sampling as it is. What is bad is noted in `check`. Lists live in the arena. False
 * only when memory is short. */
bool sampling_fields_read(struct field_checker *check, const struct sampling_rules *rules, struct arena *arena,
                          struct sampling *sampling) MUST_USE;

extern const struct field_names sampling_field_names;

#endif
