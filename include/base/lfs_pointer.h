/* Git LFS pointers: the few lines that a clone without `git lfs` leaves in place of a large file. */
#ifndef TALLOW_BASE_LFS_POINTER_H
#define TALLOW_BASE_LFS_POINTER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

/* True unless the whole file's bytes [n_bytes] (NULL when there are none) are a pointer; then *error is ERROR_MODEL,
 * names the path and says what to do. Format: github.com/git-lfs/git-lfs/blob/main/docs/spec.md */
bool lfs_pointer_refuse(const char *path, const void *data, size_t n_bytes, struct error *error) MUST_USE;

#endif
