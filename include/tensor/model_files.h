/* A model's files: which they are, found once for a path; what several readers need of them is opened once and shared.
 *
 *     struct model_files *files = model_files_open(path, &error);
 *     config_read(files, &config, &error);                     // model/config.h
 *     tokenizer = tokenizer_read(files, &error);               // text/tokenizer.h
 *     weights = weight_file_read(files, &error);               // tensor/weight_file.h
 *     ...
 *     model_files_close(files);                                // after the weights
 *
 * A path is a directory; a file of weights in one (SafeTensors, or an index with its shards), whose directory has the
 * rest; a GGUF file (of a split set the first); or a tokenizer.json, for those who need no more. What a file is, its
 * first bytes say, not its name. Links are followed, as in a Hugging Face cache: what lies beside a link counts, and
 * beside its target where the link stands alone.
 *
 * In a directory model.safetensors goes first, then model.safetensors.index.json, then the only SafeTensors file, then the
 * only GGUF model. A directory without weights is fine until somebody wants them (`tallow inspect`).
 *
 * Lifetime: all that is handed out is borrowed until model_files_close. Threads: nothing changes after open, so any
 * number of threads may ask; closing is for whoever knows that nobody does.
 */
#ifndef TALLOW_TENSOR_MODEL_FILES_H
#define TALLOW_TENSOR_MODEL_FILES_H

#include <stdbool.h>

#include "base/error.h"

struct gguf_file;
struct model_files;

/* ERROR_MODEL names the path: it is not there, is of no kind, is no sound GGUF file, or a directory has several GGUF
 * models. The files are untrusted. */
struct model_files *model_files_open(const char *path, struct error *error) MUST_USE;
void model_files_close(struct model_files *files); /* NULL is harmless */

const char *model_files_path(const struct model_files *files); /* as it was given */
/* The GGUF model, from which config, tokenizer and weights all come; NULL where it is none. */
const struct gguf_file *model_files_gguf(const struct model_files *files);

/* ---- files beside the weights (none of a GGUF model) ---- */

enum model_file {
	MODEL_CONFIG,
	MODEL_GENERATION_CONFIG,
	MODEL_TOKENIZER,
	MODEL_TOKENIZER_CONFIG,
	MODEL_SPECIAL_TOKENS_MAP,
	MODEL_ADDED_TOKENS,
	MODEL_POOLING, /* of sentence-transformers */
	MODEL_CHAT_TEMPLATE,
	MODEL_CHAT_TEMPLATE_JSON,
	MODEL_FILE_COUNT
};

/* Where they lie; NULL of a GGUF model and of a tokenizer.json by itself, which has none. */
const char *model_files_directory(const struct model_files *files);

/* Its path when it is there, else NULL. */
const char *model_files_find(const struct model_files *files, enum model_file which);
/* Its path, there or not: for opening what must be there, so that the error names it. NULL of a GGUF model. */
const char *model_files_expect(const struct model_files *files, enum model_file which);

/* ---- weights ---- */

enum weights_form {
	WEIGHTS_NONE,        /* path: the directory, or the file that is no weights */
	WEIGHTS_SAFETENSORS, /* path: the file */
	WEIGHTS_INDEX,       /* path: the index, whose shards lie in its directory */
	WEIGHTS_SEVERAL,     /* path: the directory; which of its n_found files is not said */
	WEIGHTS_GGUF,        /* path: the first file */
};

struct weights_place {
	enum weights_form form;
	const char *path;
	int n_found;
};

const struct weights_place *model_files_weights(const struct model_files *files);

/* ---- the name ---- */

/* What the model at a path is called, which need not exist: of a Hugging Face cache (.../models--org--name/snapshots/HASH,
 * or a file below it) org--name; else the name of the directory, or of a GGUF file. Caller frees; NULL when memory is short. */
char *model_files_name(const char *path) MUST_USE;

#endif
