/* One SafeTensors file: header length (u64, little endian), JSON header, data.
 *
 * Format: https://github.com/huggingface/safetensors#format. The header is at most 100 MB and may be padded with
 * spaces; offsets count from the end of the header; data must be covered without overlap.
 */
#ifndef TALLOW_TENSOR_SAFETENSORS_H
#define TALLOW_TENSOR_SAFETENSORS_H

#include "base/arena.h"
#include "tensor/mapped_file.h"
#include "tensor/weight_file.h"

struct tensor_list {
	struct tensor *items; /* [n_items], malloced */
	size_t n_items, capacity;
};

/* Appends every tensor of the file; names and the path are copied to the arena. ERROR_MODEL names file and tensor. */
bool safetensors_read(const struct mapped_file *file, const char *path, struct arena *arena, struct tensor_list *list,
                      struct error *error) MUST_USE;

#endif
