/* Weight files: named tensors that lie in mapped files. Zero copy: `data` points into the mapping.
 *
 *     struct weight_file *weights = weight_file_read(files, &error);
 *     const struct tensor *t = weight_file_find(weights, "model.norm.weight");
 *     weight_file_close(weights);
 *
 * Which files they are: tensor/model_files.h. Every header is checked before any tensor is handed out: lengths, JSON,
 * known dtypes, shape x dtype = bytes, no overlap, inside the file. Nothing is assumed about the alignment of data.
 * The files are untrusted; errors are ERROR_MODEL and name file and tensor, or ERROR_MEMORY.
 *
 * Format: https://github.com/huggingface/safetensors#format and gguf.h.
 */
#ifndef TALLOW_TENSOR_WEIGHT_FILE_H
#define TALLOW_TENSOR_WEIGHT_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "tensor/dtype.h"

enum { TENSOR_MAX_DIMS = 4 };

struct tensor {
	const char *name; /* NUL-terminated, borrowed until close */
	enum dtype type;
	bool usable;           /* false: a dtype that Tallow cannot compute with (I64, F8, ...); type is then meaningless */
	const char *type_name; /* as the file, or GGUF, spells it */
	int n_dims;            /* 0 = scalar */
	int64_t dims[TENSOR_MAX_DIMS]; /* outermost first: a linear layer is [n_out, n_in] */
	const void *data;              /* borrowed until close; aligned to nothing */
	size_t n_bytes;
	const char *file; /* path of the shard it lies in */
};

struct model_files;
struct weight_file;

/* `files` must stay open until close. */
struct weight_file *weight_file_read(const struct model_files *files, struct error *error) MUST_USE;
/* The same for a path of which nothing else is read. */
struct weight_file *weight_file_open(const char *path, struct error *error) MUST_USE;
void weight_file_close(struct weight_file *weights); /* NULL is harmless */

const struct tensor *weight_file_find(const struct weight_file *weights, const char *name); /* NULL when absent */
size_t weight_file_count(const struct weight_file *weights);
const struct tensor *weight_file_at(const struct weight_file *weights, size_t index); /* in order of name */
size_t weight_file_bytes(const struct weight_file *weights);                          /* mapped, headers included */

/* The files as they are mapped: path, bytes (NULL when there are none), borrowed until close; NULL past the last. */
const char *weight_file_part(const struct weight_file *weights, size_t index, const void **data, size_t *n_bytes);

/* Reads every value. ERROR_MODEL names the first tensor with one that is not finite. */
bool weight_file_check_finite(const struct weight_file *weights, struct error *error) MUST_USE;

/* For a piece of a tensor's data: makes its pages resident, so that later reads do not fault; or gives them back, which
 * costs nothing but reading them again. Advice: neither can fail, and neither changes what is read. */
void mapped_touch(const void *data, size_t n_bytes);
void mapped_release(const void *data, size_t n_bytes);

/* True when a mapped file of this process has lost pages that somebody read: zeros stand in their place, so nothing computed
 * since is worth anything. *error says which file. Looks at one flag; any thread. */
bool mapped_lost(struct error *error);
/* The same, or when one was written to since it was mapped. Asks the file system: not for whoever may not wait. A file that
 * was replaced by another of its name is still what is mapped, and fine. */
bool mapped_changed(struct error *error);
/* One that was replaced so, or removed, each once: its name. */
bool mapped_replaced(char *name, size_t n_bytes);

#endif
