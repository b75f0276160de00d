/* Model files made by tests: a folder in /tmp, files in it, SafeTensors files tensor by tensor. */
#ifndef TALLOW_TESTS_MODEL_FILES_H
#define TALLOW_TESTS_MODEL_FILES_H

#include <dirent.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"

struct folder {
	char path[64];
};

static inline struct folder folder_make(void)
{
	struct folder folder = {"/tmp/tallow-test-XXXXXX"};
	assert_non_null(mkdtemp(folder.path));
	return folder;
}

/* The path of a file in the folder, good for the next 31 calls. */
static inline const char *folder_file(const struct folder *folder, const char *name)
{
	static char paths[32][512];
	static unsigned next;
	char *path = paths[next++ % 32];
	snprintf(path, sizeof paths[0], "%s/%s", folder->path, name);
	return path;
}

/* Empties the folder; it may hold files and empty folders. */
static inline void folder_clear(const struct folder *folder)
{
	DIR *entries = opendir(folder->path);
	assert_non_null(entries);
	for (const struct dirent *entry; (entry = readdir(entries)) != NULL;)
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			assert_int_equal(remove(folder_file(folder, entry->d_name)), 0);
	closedir(entries);
}

static inline void folder_remove(const struct folder *folder)
{
	folder_clear(folder);
	assert_int_equal(rmdir(folder->path), 0);
}

static inline void file_write(const char *path, const void *data, size_t n_bytes)
{
	remove(path); /* file systems flush a file that is cut and written anew: slow when done often */
	FILE *file = fopen(path, "wb");
	assert_non_null(file);
	assert_true(n_bytes == 0 || fwrite(data, 1, n_bytes, file) == n_bytes);
	assert_int_equal(fclose(file), 0);
}

static inline void folder_write(const struct folder *folder, const char *name, const char *text)
{
	file_write(folder_file(folder, name), text, strlen(text));
}

/* The bytes of a SafeTensors file; the caller frees. */
static inline struct bytes safetensors_bytes(const char *header, size_t n_header, const void *data, size_t n_data)
{
	struct bytes file = {0};
	for (int i = 0; i < 8; i++)
		bytes_append(&file, &(char){(char)((uint64_t)n_header >> (8 * i))}, 1);
	bytes_append(&file, header, n_header);
	bytes_append(&file, data, n_data);
	assert_false(file.failed);
	return file;
}

/* A SafeTensors file in the making. */
struct file_maker {
	struct bytes header, data;
};

/* data NULL: n_bytes of zeros. */
static inline void maker_add(struct file_maker *maker, const char *name, const char *dtype, const char *shape,
                             const void *data, size_t n_bytes)
{
	bytes_append_format(&maker->header, "%s\"%s\":{\"dtype\":\"%s\",\"shape\":%s,\"data_offsets\":[%zu,%zu]}",
	                    maker->header.n_bytes ? "," : "{", name, dtype, shape, maker->data.n_bytes,
	                    maker->data.n_bytes + n_bytes);
	assert_true(bytes_reserve(&maker->data, n_bytes + 1));
	if (data)
		bytes_append(&maker->data, data, n_bytes);
	for (size_t i = 0; !data && i < n_bytes; i++)
		bytes_append(&maker->data, "", 1);
}

static inline void maker_write(struct file_maker *maker, const char *path)
{
	bytes_append_text(&maker->header, maker->header.n_bytes ? "}" : "{}");
	struct bytes file =
	    safetensors_bytes(maker->header.data, maker->header.n_bytes, maker->data.data, maker->data.n_bytes);
	file_write(path, file.data, file.n_bytes);
	bytes_free(&file);
	bytes_free(&maker->header);
	bytes_free(&maker->data);
}

#endif
