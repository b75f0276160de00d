/* Blocks of GGUF files as they become weights of few bits (quant.h), without any change of a value. */
#ifndef TALLOW_KERNELS_REPACK_H
#define TALLOW_KERNELS_REPACK_H

#include "kernels/matmul.h"

/* n_outputs (at most 16) of `from` from `first` on, a multiple of 16; `from` has the type that files call `to`'s, and the
 * scales of outputs behind its last become zero. */
void repack_outputs(const struct weight *from, const struct weight *to, int64_t first, int n_outputs);

#endif
