/* Makes the masks of constrained sequences (constraint.h) on a thread of its own, while the engine's computes the step that
 * their logits come from.
 *
 *     masker_begin(masker, sequences, n, config);
 *     model_forward(...);
 *     masker_wait(masker);
 *
 * Between the two the sequences' constraints are the masker's. Its thread starts with the first constrained step; where there
 * can be none the caller makes the masks itself.
 */
#ifndef TALLOW_ENGINE_MASKER_H
#define TALLOW_ENGINE_MASKER_H

#include "model/config.h"

struct masker;
struct sequence;

struct masker *masker_create(int max_sequences); /* NULL without memory */
void masker_destroy(struct masker *masker);      /* NULL is harmless */
/* Copies the list. Both by one thread. */
void masker_begin(struct masker *masker, struct sequence *const *sequences, int n, const struct model_config *config);
void masker_wait(struct masker *masker);

#endif
