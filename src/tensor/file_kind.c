#include "tensor/file_kind.h"

#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

enum { HEAD_BYTES = 4096, LENGTH_BYTES = 8 };

/* Bytes from the start of a regular file; 0 of anything else. */
static size_t read_head(const char *path, unsigned char head[HEAD_BYTES])
{
	struct stat info;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return 0;
	ssize_t n = fstat(fd, &info) == 0 && S_ISREG(info.st_mode) ? read(fd, head, HEAD_BYTES) : 0;
	close(fd);
	return n > 0 ? (size_t)n : 0;
}

/* A header has less than 4 GiB, so that the upper half of its length is zero, as in no text. */
static bool is_safetensors(const unsigned char *head, size_t n)
{
	static const unsigned char zeros[LENGTH_BYTES / 2];
	return n > LENGTH_BYTES && head[LENGTH_BYTES] == '{' && memcmp(head + sizeof zeros, zeros, sizeof zeros) == 0;
}

static bool is_json(const unsigned char *head, size_t n)
{
	size_t i = 0;
	while (i < n && head[i] && strchr(" \t\r\n", head[i]))
		i++;
	return i < n && head[i] == '{';
}

static enum file_kind kind_by_name(const char *path)
{
	static const struct {
		const char *suffix;
		enum file_kind kind;
	} suffixes[] = {{".safetensors", KIND_SAFETENSORS},
	                {".gguf", KIND_GGUF},
	                {".safetensors.index.json", KIND_INDEX},
	                {".json", KIND_JSON}};
	size_t n = strlen(path);
	for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++) {
		size_t n_suffix = strlen(suffixes[i].suffix);
		if (n > n_suffix && strcasecmp(path + n - n_suffix, suffixes[i].suffix) == 0)
			return suffixes[i].kind;
	}
	return KIND_OTHER;
}

enum file_kind file_kind(const char *path)
{
	static const char map[] = "\"weight_map\"";
	unsigned char head[HEAD_BYTES];
	size_t n = read_head(path, head);
	if (n >= 4 && memcmp(head, "GGUF", 4) == 0)
		return KIND_GGUF;
	if (is_safetensors(head, n))
		return KIND_SAFETENSORS;
	if (is_json(head, n))
		return memmem(head, n, map, sizeof map - 1) ? KIND_INDEX : KIND_JSON;
	return kind_by_name(path);
}
