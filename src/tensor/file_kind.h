/* What a file of a model is, by its first bytes: stores name files by hash (Ollama's blobs/sha256-..., a Hugging Face
 * cache's blobs), and suffixes come in any case. */
#ifndef TALLOW_TENSOR_FILE_KIND_H
#define TALLOW_TENSOR_FILE_KIND_H

enum file_kind {
	KIND_OTHER,       /* also where there is no such file */
	KIND_SAFETENSORS, /* a header's length, then '{' */
	KIND_GGUF,        /* "GGUF" */
	KIND_JSON,        /* begins with '{' */
	KIND_INDEX,       /* JSON that tells which shard a tensor is in: a weight_map comes early */
};

/* Follows links and never waits. Where the bytes are those of no kind (an empty file, a Git LFS pointer, something broken)
 * the name's suffix decides, so that the reader of that kind can say what is wrong. */
enum file_kind file_kind(const char *path);

#endif
