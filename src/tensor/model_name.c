/* What a model is called, from its path alone (model_files.h). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tensor/file_kind.h"
#include "tensor/model_files.h"

/* Cuts slashes at the end. */
static void trim(char *path)
{
	size_t n = strlen(path);
	while (n > 1 && path[n - 1] == '/')
		path[--n] = '\0';
}

static char *last_part(char *path)
{
	char *slash = strrchr(path, '/');
	return slash && slash[1] ? slash + 1 : path;
}

static bool is_regular_file(const char *path)
{
	struct stat info;
	return stat(path, &info) == 0 && S_ISREG(info.st_mode);
}

/* The path as it is to be read: SafeTensors and tokenizer.json stand for their directory, and where the last part says
 * nothing (., ..) the real path is taken, links resolved. */
static char *telling_path(const char *path)
{
	char *copy = strdup(path);
	if (!copy)
		return NULL;
	trim(copy);
	if (is_regular_file(copy) && file_kind(copy) != KIND_GGUF) {
		char *slash = strrchr(copy, '/');
		if (slash)
			slash[slash == copy] = '\0';
		else
			strcpy(copy, *copy ? "." : ""); /* shorter than any name */
	}
	trim(copy);
	const char *last = last_part(copy);
	char *real = strcmp(last, ".") == 0 || strcmp(last, "..") == 0 ? realpath(copy, NULL) : NULL;
	if (!real)
		return copy;
	free(copy);
	return real;
}

/* From the working directory where it is relative, since that may lie in a cache. */
static char *absolute_path(const char *path)
{
	char *directory = *path == '/' ? NULL : getcwd(NULL, 0), *absolute = NULL;
	if (!directory || asprintf(&absolute, "%s/%s", directory, path) < 0)
		absolute = strdup(path);
	free(directory);
	return absolute;
}

/* "org--name" of ".../models--org--name/snapshots/HASH", or blobs instead of snapshots; malloced, NULL when it is none. */
static char *cache_name(const char *path)
{
	static const char mark[] = "/models--";
	char *name = NULL;
	for (const char *at = path; (at = strstr(at, mark)); at++) {
		const char *begin = at + sizeof mark - 1, *end = strchr(begin, '/');
		if (end && end > begin && (strncmp(end, "/snapshots/", 11) == 0 || strncmp(end, "/blobs/", 7) == 0)) {
			free(name);
			name = strndup(begin, (size_t)(end - begin));
		}
	}
	return name;
}

char *model_files_name(const char *path)
{
	char *telling = telling_path(path);
	char *absolute = telling ? absolute_path(telling) : NULL;
	char *name = absolute ? cache_name(absolute) : NULL;
	if (!name && absolute)
		name = strdup(last_part(telling));
	free(absolute);
	free(telling);
	return name;
}
