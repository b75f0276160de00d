/* GGUF files: metadata by key, tensors by name, all borrowed from the mapping.
 *
 *     struct gguf_file *gguf = gguf_open("model-00001-of-00003.gguf", &error);
 *     uint64_t n_layers = 0;
 *     if (!gguf_u64(gguf, "llama.block_count", &n_layers, &error)) ... there, but no count
 *     const struct gguf_tensor *t = gguf_tensor_find(gguf, "token_embd.weight");
 *     gguf_close(gguf);
 *
 * Versions 2 and 3, little endian; one file, or the first of a split set (split.count), whose other files must lie
 * beside it. Everything is checked before anything is handed out: counts, lengths, key and value types, duplicates,
 * types of tensors, dims x type = bytes, alignment, overlap, inside the file. Arrays of arrays are refused. The files
 * are untrusted; errors are ERROR_MODEL and name file and key or tensor.
 *
 * Format: github.com/ggml-org/ggml/blob/master/docs/gguf.md
 */
#ifndef TALLOW_TENSOR_GGUF_H
#define TALLOW_TENSOR_GGUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "tensor/block.h"

struct gguf_file;

struct gguf_file *gguf_open(const char *path, struct error *error) MUST_USE;
/* One file that lies in memory, which is borrowed until close; `name` is for messages. */
struct gguf_file *gguf_open_memory(const char *name, const void *data, size_t n_bytes, struct error *error) MUST_USE;
void gguf_close(struct gguf_file *gguf);              /* NULL is harmless */
const char *gguf_path(const struct gguf_file *gguf);  /* of the first file */
size_t gguf_file_count(const struct gguf_file *gguf); /* of the split set */
size_t gguf_bytes(const struct gguf_file *gguf);      /* mapped, headers included */
/* File `index` of the set as it is mapped, borrowed until close; its path. NULL past the last. */
const char *gguf_file_at(const struct gguf_file *gguf, size_t index, const void **data, size_t *n_bytes);

/* ---- metadata (of the first file) ---- */

enum gguf_type { /* numbers of the format */
	             GGUF_U8,
	             GGUF_I8,
	             GGUF_U16,
	             GGUF_I16,
	             GGUF_U32,
	             GGUF_I32,
	             GGUF_F32,
	             GGUF_BOOL,
	             GGUF_STRING,
	             GGUF_ARRAY,
	             GGUF_U64,
	             GGUF_I64,
	             GGUF_F64,
	             GGUF_TYPE_COUNT
};
const char *gguf_type_name(enum gguf_type type); /* "u32", "a string" as messages say it */

struct gguf_value {
	const char *key; /* [n_key], not NUL-terminated; valid UTF-8 without NUL */
	size_t n_key;
	bool is_array;
	enum gguf_type type; /* of the value, or of the array's items; never GGUF_ARRAY */
	size_t n_items;      /* 1 unless it is an array */
	const unsigned char *data;
	size_t n_bytes; /* of all items */
};

size_t gguf_value_count(const struct gguf_file *gguf);
const struct gguf_value *gguf_value_at(const struct gguf_file *gguf, size_t index); /* in order of key */
const struct gguf_value *gguf_find(const struct gguf_file *gguf, const char *key);  /* NULL when absent */

/* Getters. An absent key leaves *out as it was, so that it may hold a default; false is a value of another type or, for
 * u64, a negative one. Integers of every width are taken; for f64, integers too. */
bool gguf_u64(const struct gguf_file *gguf, const char *key, uint64_t *out, struct error *error) MUST_USE;
bool gguf_f64(const struct gguf_file *gguf, const char *key, double *out, struct error *error) MUST_USE;
bool gguf_bool(const struct gguf_file *gguf, const char *key, bool *out, struct error *error) MUST_USE;
/* Not NUL-terminated, any bytes. */
bool gguf_string(const struct gguf_file *gguf, const char *key, const char **text, size_t *n_bytes,
                 struct error *error) MUST_USE;
/* *out is NULL when the key is absent. */
bool gguf_array(const struct gguf_file *gguf, const char *key, enum gguf_type type, const struct gguf_value **out,
                struct error *error) MUST_USE;

/* Items of an array (or the one of a scalar). index < n_items and a type that fits are the caller's duty. */
int64_t gguf_item_i64(const struct gguf_value *value, size_t index); /* integers and bools; u64 above INT64_MAX wraps */
double gguf_item_f64(const struct gguf_value *value, size_t index);  /* F32, F64 */
/* Walks over the strings of an array (or the one of a scalar): start with *cursor = value->data, call n_items times. Lengths
 * are read where they lie, so a file that is overwritten meanwhile gives other strings, but none beyond the value's end. */
const char *gguf_next_string(const struct gguf_value *value, const unsigned char **cursor, size_t *n_bytes);

/* ---- tensors (of all files) ---- */

enum { GGUF_MAX_DIMS = 4 };

struct gguf_tensor {
	const char *name; /* NUL-terminated, borrowed until close, as all the rest */
	const struct block_type *type;
	int n_dims;                  /* 0 = scalar */
	int64_t dims[GGUF_MAX_DIMS]; /* outermost first, unlike in the file: a linear layer is [n_out, n_in] */
	const void *data;            /* aligned to nothing */
	size_t n_bytes;
	const char *file;
};

const struct gguf_tensor *gguf_tensor_find(const struct gguf_file *gguf, const char *name); /* NULL when absent */
size_t gguf_tensor_count(const struct gguf_file *gguf);
const struct gguf_tensor *gguf_tensor_at(const struct gguf_file *gguf, size_t index); /* in order of name */

#endif
