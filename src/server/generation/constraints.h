/* What a generation's choices are held to. */
#ifndef TALLOW_SERVER_GENERATION_CONSTRAINTS_H
#define TALLOW_SERVER_GENERATION_CONSTRAINTS_H

#include "server/generation/generation.h"

enum { CONSTRAINTS_MAX_BYTES = 256 << 20 }; /* of all choices of a request */

/* The generation's grammar once for each choice, which then owns it; nothing where it has none. ERROR_CONSTRAINT where they
 * take more memory together than a request may. */
bool constraints_multiply(struct generation *generation, struct grammar *grammars[ENGINE_MAX_CHOICES],
                          struct error *error) MUST_USE;

#endif
