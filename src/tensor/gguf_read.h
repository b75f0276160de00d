/* One GGUF file: header, metadata, tensor infos. */
#ifndef TALLOW_TENSOR_GGUF_READ_H
#define TALLOW_TENSOR_GGUF_READ_H

#include "base/arena.h"
#include "tensor/gguf.h"
#include "tensor/mapped_file.h"

struct gguf_values {
	struct gguf_value *items; /* [n_items], malloced, sorted by key */
	size_t n_items;
};

struct gguf_tensors {
	struct gguf_tensor *items; /* malloced */
	size_t n_items, capacity;
};

/* Fills `values`, which is empty, and appends to `tensors`; names go to the arena, the path is borrowed. */
bool gguf_read(const struct mapped_file *file, const char *path, struct arena *arena, struct gguf_values *values,
               struct gguf_tensors *tensors, struct error *error) MUST_USE;

const struct gguf_value *gguf_values_find(const struct gguf_values *values, const char *key);
/* The getter's work for any file of a set. */
bool gguf_values_u64(const struct gguf_values *values, const char *path, const char *key, uint64_t *out,
                     struct error *error) MUST_USE;

#endif
