/* What a generation's choices are held to: the constraint that was asked for, calls that must be made or are strict, and the
 * reasoning that a prompt has opened before them.
 *
 *     generation->asked.answer.is_held = constraints_hold(&generation->asked);     // before the prompt is encoded
 *     constraints_prepare(generation, &error);                                     // behind that: how answers are read is known
 *     constraints_multiply(generation, grammars, &error);
 *
 * An answer is, with what stands in brackets where the prompt has opened reasoning:
 *
 *     a constraint                 [reasoning] output
 *     the same with tools          [reasoning] ( output | calls )
 *     calls that must be made      [reasoning] calls
 *     tools of which some are strict, and the model chooses      [reasoning] text, then perhaps calls
 */
#ifndef TALLOW_SERVER_GENERATION_CONSTRAINTS_H
#define TALLOW_SERVER_GENERATION_CONSTRAINTS_H

#include "server/generation/generation.h"

enum { CONSTRAINTS_MAX_BYTES = 256 << 20 }; /* of all choices of a request */

/* Whether calls, where there are some, are written in one form that is certain, whatever form that is. A template that tells
 * none leaves the model all of them ("generic"): strict tools are held there only then. */
bool constraints_hold(const struct asked *asked);

/* Makes the generation's grammar, where it is more than the constraint alone, and says in asked.constraints what is worth
 * knowing. ERROR_CONSTRAINT: with the pointer of what cannot be enforced; ERROR_INVALID_REQUEST: no call can be made. */
bool constraints_prepare(struct generation *generation, struct error *error) MUST_USE;

/* The generation's grammar once for each choice, which then owns it; nothing where it has none. ERROR_CONSTRAINT where they
 * take more memory together than a request may. */
bool constraints_multiply(struct generation *generation, struct grammar *grammars[ENGINE_MAX_CHOICES],
                          struct error *error) MUST_USE;

#endif
