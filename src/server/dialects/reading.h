/* What the dialects of the large APIs read alike: any model's name, numbers of tokens clipped to the context, up to 64 stop
 * strings, seeds. Absent fields leave the defaults of reading_begin: the rest of the context, temperature 1, no filter.
 *
 *     struct reading reading = reading_begin(limits, generation, check, error);
 *     reading_model(&reading);
 *     ... fields of reading.check, or of another object whose fields are checked (options) ...
 *     return reading_conclude(&reading);
 */
#ifndef TALLOW_SERVER_DIALECTS_READING_H
#define TALLOW_SERVER_DIALECTS_READING_H

#include "server/dialects/dialect.h"

struct reading {
	struct field_checker *check;
	const struct request_limits *limits;
	struct generation *generation;
	struct asked *asked; /* of the generation */
	struct error *error;
};

struct reading reading_begin(const struct request_limits *limits, struct generation *generation,
                             struct field_checker *check, struct error *error);
/* Last: what the output must be is compiled. */
bool reading_conclude(struct reading *reading);
bool reading_is_good(const struct reading *reading);
/* Copies into the generation's arena; NULL: *error is set. */
const char *reading_keep(struct reading *reading, const char *text, size_t n_bytes);

void reading_model(struct reading *reading); /* `model` */
/* More than the context holds is clipped, and so is what the pool cannot hold. */
void reading_max_tokens(struct reading *reading, const char *name);
/* A string or strings. `check` is whose member `name` is. */
void reading_stops(struct reading *reading, struct field_checker *check, const char *name);
/* `seed`: any integer of 64 bits; a negative one is as the unsigned number of the same bits. */
void reading_seed(struct reading *reading, struct field_checker *check);
void reading_sampling(struct reading *reading); /* all of sampling_fields.h */
/* `top_k`: -1 is what some servers' clients send for none. */
void reading_top_k(struct reading *reading, struct field_checker *check);

void reading_constraints(struct reading *reading); /* all of constraint_fields.h */

/* How the answer to the conversation that was made is read: its `tools` may be called. */
void reading_answer(struct reading *reading, bool single_call);

#endif
