/* A model's weight files as one set: all their tensors by name. Which files they are is found in model_files.c. */
#include "tensor/weight_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/checked.h"
#include "base/json.h"
#include "tensor/gguf.h"
#include "tensor/mapped_file.h"
#include "tensor/model_files.h"
#include "tensor/safetensors.h"

enum { MAX_INDEX_BYTES = 64 << 20, MAX_INDEX_VALUES = 4 << 20 };

struct weight_file {
	struct arena arena;
	struct mapped_file *files; /* [n_files] */
	const char **paths;        /* [n_files], in the arena */
	size_t n_files, capacity;
	struct model_files *own_files; /* NULL where they are the caller's */
	const struct gguf_file *gguf;  /* whose files they are; NULL: those above */
	struct tensor_list tensors;    /* sorted by name */
	size_t n_bytes;
};

static bool ends_with(const char *text, const char *suffix)
{
	size_t n = strlen(text), m = strlen(suffix);
	return n >= m && strcmp(text + n - m, suffix) == 0;
}

static char *join_path(struct arena *arena, const char *directory, const char *name)
{
	size_t n = strlen(directory) + strlen(name) + 2;
	char *path = arena_alloc(arena, n);
	if (path)
		snprintf(path, n, "%s/%s", directory, name);
	return path;
}

static bool no_memory(struct error *error)
{
	return error_set(error, ERROR_MEMORY, "no memory for the list of weight files");
}

/* ---- files ---- */

static bool add_file(struct weight_file *weights, const char *path, struct error *error)
{
	if (weights->n_files == weights->capacity) {
		size_t capacity = weights->capacity ? 2 * weights->capacity : 8;
		struct mapped_file *files = realloc(weights->files, capacity * sizeof *files);
		if (files)
			weights->files = files;
		const char **paths = realloc(weights->paths, capacity * sizeof *paths);
		if (paths)
			weights->paths = paths;
		if (!files || !paths)
			return no_memory(error);
		weights->capacity = capacity;
	}
	struct mapped_file *file = &weights->files[weights->n_files];
	if (!mapped_file_open(path, file, error))
		return false;
	weights->paths[weights->n_files++] = path;
	if (!checked_add(weights->n_bytes, file->n_bytes, &weights->n_bytes))
		return error_set(error, ERROR_MODEL, "%s: more bytes than can be counted", path);
	return safetensors_read(file, path, &weights->arena, &weights->tensors, error);
}

/* ---- shards ---- */

static bool check_shard_name(const char *index, const char *name, size_t n_bytes, struct error *error)
{
	bool plain = n_bytes > 0 && strlen(name) == n_bytes && !strchr(name, '/') && strcmp(name, "..") != 0 &&
	             strcmp(name, ".") != 0;
	return plain || error_set(error, ERROR_MODEL, "%s: shard name %.100s: must be that of a file in the same directory",
	                          index, name);
}

static int by_text(const void *left, const void *right)
{
	const char *const *a = left, *const *b = right;
	return strcmp(*a, *b);
}

/* The shards that the index names, sorted; an index has a line for every tensor, so most names come many times. */
static bool list_shards(const char *index, const struct json *weight_map, const char **names, size_t *n_names,
                        struct error *error)
{
	size_t n = 0, n_unique = 0;
	for (const struct json *entry = json_first(weight_map); entry; entry = json_next(entry), n++) {
		size_t n_bytes = 0;
		names[n] = json_string(entry, &n_bytes);
		if (!names[n])
			return error_set(error, ERROR_MODEL, "%s: weight_map.%.200s is %s, expected a file name", index,
			                 json_key(entry, NULL), json_type_name(json_type(entry)));
		if (!check_shard_name(index, names[n], n_bytes, error))
			return false;
	}
	if (n)
		qsort(names, n, sizeof *names, by_text);
	for (size_t i = 0; i < n; i++)
		if (i == 0 || strcmp(names[i], names[n_unique - 1]) != 0)
			names[n_unique++] = names[i];
	*n_names = n_unique;
	return n_unique <= MAPPED_MAX_WEIGHTS || error_set(error, ERROR_MODEL, "%s: names %zu shards, at most %d are read",
	                                                   index, n_unique, MAPPED_MAX_WEIGHTS);
}

static bool open_listed(struct weight_file *weights, const char *directory, const char *const *names, size_t n_names,
                        struct error *error)
{
	for (size_t i = 0; i < n_names; i++) {
		const char *path = join_path(&weights->arena, directory, names[i]);
		if (!path)
			return no_memory(error);
		if (!add_file(weights, path, error))
			return false;
	}
	return true;
}

static bool open_shards(struct weight_file *weights, const char *directory, const char *index,
                        const struct json *weight_map, struct error *error)
{
	size_t n_names = 0, n_bytes;
	const char **names = NULL;
	if (checked_mul(json_count(weight_map) + 1, sizeof *names, &n_bytes))
		names = malloc(n_bytes);
	if (!names)
		return no_memory(error);
	bool ok = list_shards(index, weight_map, names, &n_names, error) &&
	          open_listed(weights, directory, names, n_names, error);
	free(names);
	return ok;
}

static int by_name(const void *left, const void *right)
{
	const struct tensor *a = left, *b = right;
	return strcmp(a->name, b->name);
}

/* Every tensor that the index names lies in the shard that it names. */
static bool check_weight_map(const struct weight_file *weights, const char *index, const struct json *weight_map,
                             struct error *error)
{
	for (const struct json *entry = json_first(weight_map); entry; entry = json_next(entry)) {
		const struct tensor *tensor = weight_file_find(weights, json_key(entry, NULL));
		const char *shard = json_string(entry, NULL);
		if (!tensor)
			return error_set(error, ERROR_MODEL, "%s: tensor %.200s is not in %.100s", index, json_key(entry, NULL),
			                 shard);
		if (!ends_with(tensor->file, shard) || tensor->file[strlen(tensor->file) - strlen(shard) - 1] != '/')
			return error_set(error, ERROR_MODEL, "%s: tensor %.150s should be in %.100s, it is in %.150s", index,
			                 tensor->name, shard, tensor->file);
	}
	return true;
}

static bool sort_tensors(struct weight_file *weights, struct error *error)
{
	struct tensor_list *list = &weights->tensors;
	if (list->n_items)
		qsort(list->items, list->n_items, sizeof *list->items, by_name);
	for (size_t i = 1; i < list->n_items; i++)
		if (strcmp(list->items[i - 1].name, list->items[i].name) == 0)
			return error_set(error, ERROR_MODEL, "tensor %.150s is in %.150s and in %.150s", list->items[i].name,
			                 list->items[i - 1].file, list->items[i].file);
	return true;
}

static bool open_index(struct weight_file *weights, const char *index, struct error *error)
{
	const char *slash = strrchr(index, '/');
	const char *directory = arena_strdup(&weights->arena, slash ? index : ".", slash ? (size_t)(slash - index) : 1);
	if (!directory)
		return no_memory(error);
	struct json_limits limits = {.max_values = MAX_INDEX_VALUES};
	struct json *document = json_parse_file(index, MAX_INDEX_BYTES, &limits, error);
	if (!document)
		return false;
	const struct json *weight_map = json_get(document, "weight_map");
	bool ok = weight_map && json_type(weight_map) == JSON_OBJECT;
	if (!ok)
		error_set(error, ERROR_MODEL, "%s: weight_map is missing or no object", index);
	ok = ok && open_shards(weights, directory, index, weight_map, error) && sort_tensors(weights, error) &&
	     check_weight_map(weights, index, weight_map, error);
	json_destroy(document);
	return ok;
}

/* ---- one file, shards or GGUF ---- */

_Static_assert((int)GGUF_MAX_DIMS == (int)TENSOR_MAX_DIMS, "a tensor is a tensor");

/* Its tensors come checked and sorted. */
static bool list_gguf(struct weight_file *weights, const struct gguf_file *gguf, struct error *error)
{
	size_t n = gguf_tensor_count(gguf);
	weights->gguf = gguf;
	weights->n_bytes = gguf_bytes(gguf);
	weights->tensors.items = calloc(n + 1, sizeof *weights->tensors.items);
	if (!weights->tensors.items)
		return no_memory(error);
	for (; weights->tensors.n_items < n; weights->tensors.n_items++) {
		const struct gguf_tensor *from = gguf_tensor_at(gguf, weights->tensors.n_items);
		struct tensor *to = &weights->tensors.items[weights->tensors.n_items];
		*to = (struct tensor){
		    .name = from->name,
		    .type = from->type->type,
		    .usable = from->type->supported,
		    .type_name = from->type->name,
		    .n_dims = from->n_dims,
		    .data = from->data,
		    .n_bytes = from->n_bytes,
		    .file = from->file,
		};
		memcpy(to->dims, from->dims, sizeof to->dims);
	}
	return true;
}

static bool open_place(struct weight_file *weights, const struct model_files *files, struct error *error)
{
	const struct weights_place *place = model_files_weights(files);
	switch (place->form) {
	case WEIGHTS_GGUF:
		return list_gguf(weights, model_files_gguf(files), error);
	case WEIGHTS_INDEX:
		return open_index(weights, place->path, error);
	case WEIGHTS_SAFETENSORS: {
		char *path = arena_strdup(&weights->arena, place->path, strlen(place->path));
		return path ? add_file(weights, path, error) && sort_tensors(weights, error) : no_memory(error);
	}
	case WEIGHTS_SEVERAL:
		return error_set(error, ERROR_MODEL,
		                 "%s: has %d .safetensors files, and neither model.safetensors nor "
		                 "model.safetensors.index.json to say which are the model",
		                 place->path, place->n_found);
	case WEIGHTS_NONE:
		break;
	}
	return error_set(error, ERROR_MODEL,
	                 "%s: has no weights; expected a directory with .safetensors files or a .gguf file, or such a file",
	                 place->path);
}

struct weight_file *weight_file_read(const struct model_files *files, struct error *error)
{
	struct weight_file *weights = calloc(1, sizeof *weights);
	if (!weights) {
		no_memory(error);
		return NULL;
	}
	if (!open_place(weights, files, error)) {
		weight_file_close(weights);
		return NULL;
	}
	return weights;
}

struct weight_file *weight_file_open(const char *path, struct error *error)
{
	struct model_files *files = model_files_open(path, error);
	struct weight_file *weights = files ? weight_file_read(files, error) : NULL;
	if (weights)
		weights->own_files = files;
	else
		model_files_close(files);
	return weights;
}

void weight_file_close(struct weight_file *weights)
{
	if (!weights)
		return;
	for (size_t i = 0; i < weights->n_files; i++)
		mapped_file_close(&weights->files[i]);
	free(weights->files);
	free(weights->paths);
	free(weights->tensors.items);
	arena_free(&weights->arena);
	model_files_close(weights->own_files);
	free(weights);
}

/* ---- look-ups ---- */

const struct tensor *weight_file_find(const struct weight_file *weights, const char *name)
{
	struct tensor key = {.name = name};
	const struct tensor_list *list = &weights->tensors;
	return list->n_items ? bsearch(&key, list->items, list->n_items, sizeof *list->items, by_name) : NULL;
}

size_t weight_file_count(const struct weight_file *weights)
{
	return weights->tensors.n_items;
}

const struct tensor *weight_file_at(const struct weight_file *weights, size_t index)
{
	return index < weights->tensors.n_items ? &weights->tensors.items[index] : NULL;
}

size_t weight_file_bytes(const struct weight_file *weights)
{
	return weights->n_bytes;
}

const char *weight_file_part(const struct weight_file *weights, size_t index, const void **data, size_t *n_bytes)
{
	if (weights->gguf)
		return gguf_file_at(weights->gguf, index, data, n_bytes);
	if (index >= weights->n_files)
		return NULL;
	*data = weights->files[index].data;
	*n_bytes = weights->files[index].n_bytes;
	return weights->paths[index];
}
