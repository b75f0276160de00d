#include "base/lfs_pointer.h"

#include <string.h>

bool lfs_pointer_refuse(const char *path, const void *data, size_t n_bytes, struct error *error)
{
	static const char first_words[] = "version https://git-lfs.github.com/spec/";
	enum { MAX_POINTER_BYTES = 1024, N_WORDS = sizeof first_words - 1 };
	if (n_bytes < N_WORDS || n_bytes >= MAX_POINTER_BYTES || memcmp(data, first_words, N_WORDS) != 0)
		return true;
	return error_set(error, ERROR_MODEL,
	                 "%s: is a Git LFS pointer, not the file itself; fetch the file with `git lfs pull` in its "
	                 "repository, or download it again",
	                 path);
}
