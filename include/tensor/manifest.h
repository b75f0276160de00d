/* What a model's files are, byte for byte: a manifest of their SHA-256 digests, and whether they are those that somebody
 * expects.
 *
 *     struct manifest manifest = {0};
 *     bool ok = manifest_list(&manifest, files, weights, &error) &&
 *               manifest_digest(&manifest, pool, progress, context, &error) &&
 *               manifest_check(&manifest, "9f86d0...", &error);
 *     ...
 *     manifest_free(&manifest);
 *
 * A manifest has every file that a model is read from: its weights as they are mapped, so that what was checked is what is
 * computed with, and what lies beside them and is read (config.json, tokenizer.json, chat templates, ...), by the names
 * that they have in the model's folder, in order of bytes. As text it is what sha256sum prints for them:
 *
 *     <64 hex digits>  <name>
 *
 * The model's digest is, of a model that is one file (GGUF), that file's; of several it is the SHA-256 of that text.
 */
#ifndef TALLOW_TENSOR_MANIFEST_H
#define TALLOW_TENSOR_MANIFEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/bytes.h"
#include "base/digest.h"
#include "base/error.h"
#include "base/pool.h"

struct model_files;
struct weight_file;

struct manifest_file {
	const char *name; /* in the model's folder */
	const char *path;
	const void *data; /* where it is mapped, else NULL */
	uint64_t n_bytes;
	struct digest digest; /* once there are digests */
};

/* Zeroed = empty. */
struct manifest {
	struct arena arena;
	const char *where, *folder; /* the model's path; where its files lie */
	struct manifest_file *files;
	size_t n_files, capacity;
	struct digest model;
};

/* Which files there are, with their sizes. Both are borrowed until manifest_free. ERROR_MODEL, ERROR_MEMORY. */
bool manifest_list(struct manifest *manifest, const struct model_files *files, const struct weight_file *weights,
                   struct error *error) MUST_USE;

/* Called between pieces, by the caller's thread; false ends it with ERROR_CANCELLED. */
typedef bool manifest_progress(void *context, uint64_t bytes_done, uint64_t bytes_total);

/* Reads every byte, the files in parallel: each by one thread at a time, for a digest has an order. progress may be NULL. */
bool manifest_digest(struct manifest *manifest, struct pool *pool, manifest_progress *progress, void *context,
                     struct error *error) MUST_USE;

/* out [weight_file_count], in the order of weight_file_at: digests of the tensors' data, in parallel. */
bool manifest_tensors(const struct weight_file *weights, struct pool *pool, struct digest *out,
                      struct error *error) MUST_USE;

/* Is the model what is expected? `expected` is 64 hex digits, the model's digest, or the path of a manifest: lines as above,
 * others that begin with # passed over. Then every file of the model must be in it, and every file in it be there; what
 * there is beside (a README) may be in it. ERROR_MODEL says which file is not as it should be, what was expected and what
 * is there; ERROR_USAGE that there is no such manifest, or what of it is none. */
bool manifest_check(const struct manifest *manifest, const char *expected, struct error *error) MUST_USE;

/* The lines as above. */
void manifest_write(const struct manifest *manifest, struct bytes *out);
void manifest_free(struct manifest *manifest); /* of a zeroed one, too */

#endif
