/* A whole regular file, mapped read-only and shared, so that workers on one host share its pages. */
#ifndef TALLOW_TENSOR_MAPPED_FILE_H
#define TALLOW_TENSOR_MAPPED_FILE_H

#include <stddef.h>

#include "base/error.h"

struct mapped_file {
	const unsigned char *data; /* NULL when the file is empty */
	size_t n_bytes;
};

/* The weights of one model; and all files that are mapped at a time, each of which is guarded (tensor/mapped_guard.h). */
enum { MAPPED_MAX_WEIGHTS = 4096, MAPPED_MAX_FILES = MAPPED_MAX_WEIGHTS + 1024 };

/* Follows symbolic links (every file of a Hugging Face cache is one); refuses what is no regular file without waiting
 * for it. ERROR_MODEL names the path. */
bool mapped_file_open(const char *path, struct mapped_file *file, struct error *error) MUST_USE;
void mapped_file_close(struct mapped_file *file);

#endif
