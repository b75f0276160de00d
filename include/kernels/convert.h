/* Weights made at load from those in a file: another float type, or 8 and 4 bits in the layout that the kernels want,
 * rounded or, where the file has the same groups, repacked.
 *
 *     weight_bytes(DTYPE_Q8, n_out, n_in, &n_bytes)
 *     weight_convert(kernels, pool, &in_file, DTYPE_Q8, memory, &converted);
 *
 * Q8 and Q4 have a scale for each output's group of 32 inputs, as Q8_0 and Q4_0 of GGUF have; Q4 chooses it by least
 * squares. kernels/quant.h has the layout.
 */
#ifndef TALLOW_KERNELS_CONVERT_H
#define TALLOW_KERNELS_CONVERT_H

#include "kernels/kernels.h"

/* The type that products want of weights stored in `type`: types of few bits that have a row in QUANT_TABLE
 * (kernels/quant.h) are repacked as that, without any change of a value (Q8_0 as Q8, Q4_K as Q4K, ...); all others are
 * multiplied as they lie. */
enum dtype weight_served_type(enum dtype type);
/* Bytes that a converted weight takes, padding and scales included: a multiple of 64. False on overflow. */
bool weight_bytes(enum dtype type, int64_t n_out, int64_t n_in, size_t *n_bytes) MUST_USE;
/* Converts on the pool into `memory` (weight_bytes, aligned to 64), which `to` borrows. `from` is in rows of any type that
 * files hold; of types that are only repacked (Q4K, Q6K) it is the stored form. Cannot fail. */
void weight_convert(const struct kernels *kernels, struct pool *pool, const struct weight *from, enum dtype type,
                    void *memory, struct weight *to);
/* out[i][k] = output first + i of the weight in f32, [n, n_in]. */
void weight_widen(const struct kernels *kernels, const struct weight *weight, int64_t first, int64_t n, float *out);

#endif
