/* GGUF files: opening one or a split set, and answering questions about keys and tensors. Reading the bytes of one file
 * is in gguf_read.c.
 *
 * A split set is `<name>-00001-of-0000N.gguf` and so on. The first file has the model's metadata; every file has
 * split.no (from 0) and split.count, and split.tensors.count of the whole set.
 */
#include "tensor/gguf.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "tensor/gguf_read.h"

struct gguf_file {
	struct arena arena;
	struct mapped_file *files; /* [n_files] */
	size_t n_files;
	const char **paths; /* [n_files], in the arena, of a set; NULL where there is one file */
	bool borrowed;      /* the bytes are the caller's */
	const char *path;
	struct gguf_values values; /* of the first file */
	struct gguf_tensors tensors;
	size_t n_bytes;
};

static bool out_of_memory(const char *path, struct error *error)
{
	return error_set(error, ERROR_MEMORY, "%s: no memory for the model's files", path);
}

static int by_name(const void *left, const void *right)
{
	const struct gguf_tensor *a = left, *b = right;
	return strcmp(a->name, b->name);
}

static bool sort_tensors(struct gguf_file *gguf, struct error *error)
{
	struct gguf_tensors *list = &gguf->tensors;
	if (list->n_items)
		qsort(list->items, list->n_items, sizeof *list->items, by_name);
	for (size_t i = 1; i < list->n_items; i++)
		if (strcmp(list->items[i - 1].name, list->items[i].name) == 0)
			return error_set(error, ERROR_MODEL, "tensor %s is there twice, in %.180s and in %.180s",
			                 list->items[i].name, list->items[i - 1].file, list->items[i].file);
	return true;
}

/* ---- split sets ---- */

struct split {
	uint64_t number, count, n_tensors;
};

static bool read_split(const struct gguf_values *values, const char *path, struct split *split, struct error *error)
{
	*split = (struct split){.n_tensors = UINT64_MAX};
	return gguf_values_u64(values, path, "split.no", &split->number, error) &&
	       gguf_values_u64(values, path, "split.count", &split->count, error) &&
	       gguf_values_u64(values, path, "split.tensors.count", &split->n_tensors, error);
}

/* The path of file `number` (from 0), in the arena; what follows the numbers in the first one's name is kept. */
static const char *split_path(struct gguf_file *gguf, uint64_t number, uint64_t count, struct error *error)
{
	char first[64], wanted[64];
	const char *slash = strrchr(gguf->path, '/'), *dot = strrchr(gguf->path, '.');
	size_t n_path = strlen(gguf->path), n_stem = dot && (!slash || dot > slash) ? (size_t)(dot - gguf->path) : n_path;
	snprintf(first, sizeof first, "-00001-of-%05" PRIu64, count);
	snprintf(wanted, sizeof wanted, "-%05" PRIu64 "-of-%05" PRIu64, number + 1, count);
	size_t n_first = strlen(first);
	if (n_stem < n_first || strncmp(gguf->path + n_stem - n_first, first, n_first) != 0) {
		error_set(error, ERROR_MODEL, "%s: split.count is %" PRIu64 ", but the name does not end in %s.gguf",
		          gguf->path, count, first);
		return NULL;
	}
	char *path = arena_strdup(&gguf->arena, gguf->path, n_path);
	if (path)
		memcpy(path + n_stem - n_first, wanted, n_first);
	else
		out_of_memory(gguf->path, error);
	return path;
}

static bool same_architecture(const struct gguf_file *gguf, const struct gguf_values *values, const char *path,
                              struct error *error)
{
	const char *key = "general.architecture";
	const struct gguf_value *here = gguf_values_find(values, key), *first = gguf_values_find(&gguf->values, key);
	size_t n_here, n_first;
	if (!here || !first || here->is_array || first->is_array || here->type != GGUF_STRING || first->type != GGUF_STRING)
		return true;
	const unsigned char *a = here->data, *b = first->data;
	const char *text = gguf_next_string(here, &a, &n_here), *expected = gguf_next_string(first, &b, &n_first);
	return (n_here == n_first && memcmp(text, expected, n_here) == 0) ||
	       error_set(error, ERROR_MODEL, "%s: belongs to another model: %s is not the first file's", path, key);
}

static bool add_file(struct gguf_file *gguf, const char *path, const struct split *first, uint64_t number,
                     struct error *error)
{
	struct gguf_values values = {0};
	struct mapped_file *file = &gguf->files[gguf->n_files];
	struct split split = {0};
	if (!mapped_file_open(path, file, error))
		return false;
	gguf->n_files++;
	bool ok = gguf_read(file, path, &gguf->arena, &values, &gguf->tensors, error) &&
	          read_split(&values, path, &split, error) && same_architecture(gguf, &values, path, error);
	free(values.items);
	if (ok && (split.number != number || split.count != first->count))
		ok = error_set(error, ERROR_MODEL,
		               "%s: split.no %" PRIu64 " of split.count %" PRIu64 ", expected %" PRIu64 " of %" PRIu64, path,
		               split.number, split.count, number, first->count);
	if (ok && !checked_add(gguf->n_bytes, file->n_bytes, &gguf->n_bytes))
		ok = error_set(error, ERROR_MODEL, "%s: more bytes than can be counted", path);
	return ok;
}

static bool open_others(struct gguf_file *gguf, struct error *error)
{
	struct split first;
	if (!read_split(&gguf->values, gguf->path, &first, error))
		return false;
	if (first.count <= 1)
		return first.number == 0 || error_set(error, ERROR_MODEL, "%s: split.no is %" PRIu64 ", but there is no set",
		                                      gguf->path, first.number);
	if (first.count > MAPPED_MAX_WEIGHTS)
		return error_set(error, ERROR_MODEL, "%s: split.count is %" PRIu64 ", at most %d files are read", gguf->path,
		                 first.count, MAPPED_MAX_WEIGHTS);
	if (first.number != 0)
		return error_set(error, ERROR_MODEL,
		                 "%s: is file %" PRIu64 " of a set of %" PRIu64 ", expected the first (-00001-of-%05" PRIu64
		                 ".gguf)",
		                 gguf->path, first.number + 1, first.count, first.count);
	if (gguf->borrowed)
		return error_set(error, ERROR_MODEL, "%s: a split set cannot be read from memory", gguf->path);
	struct mapped_file *files = realloc(gguf->files, (size_t)first.count * sizeof *files);
	if (!files)
		return out_of_memory(gguf->path, error);
	gguf->files = files;
	gguf->paths = arena_array(&gguf->arena, (size_t)first.count, sizeof *gguf->paths);
	if (!gguf->paths)
		return out_of_memory(gguf->path, error);
	gguf->paths[0] = gguf->path;
	for (uint64_t number = 1; number < first.count; number++) {
		const char *path = gguf->paths[number] = split_path(gguf, number, first.count, error);
		if (!path || !add_file(gguf, path, &first, number, error))
			return false;
	}
	return first.n_tensors == UINT64_MAX || first.n_tensors == gguf->tensors.n_items ||
	       error_set(error, ERROR_MODEL, "%s: split.tensors.count is %" PRIu64 ", the set has %zu tensors", gguf->path,
	                 first.n_tensors, gguf->tensors.n_items);
}

/* ---- opening ---- */

static bool read_set(struct gguf_file *gguf, struct error *error)
{
	gguf->n_bytes = gguf->files[0].n_bytes;
	return gguf_read(&gguf->files[0], gguf->path, &gguf->arena, &gguf->values, &gguf->tensors, error) &&
	       open_others(gguf, error) && sort_tensors(gguf, error);
}

/* With room for the first file. */
static struct gguf_file *create(const char *path, struct error *error)
{
	struct gguf_file *gguf = calloc(1, sizeof *gguf);
	if (gguf) {
		gguf->files = calloc(1, sizeof *gguf->files);
		gguf->path = arena_strdup(&gguf->arena, path, strlen(path));
	}
	if (gguf && gguf->files && gguf->path)
		return gguf;
	gguf_close(gguf);
	out_of_memory(path, error);
	return NULL;
}

struct gguf_file *gguf_open(const char *path, struct error *error)
{
	struct gguf_file *gguf = create(path, error);
	if (!gguf)
		return NULL;
	bool ok = mapped_file_open(gguf->path, &gguf->files[0], error);
	gguf->n_files = ok;
	if (ok && read_set(gguf, error))
		return gguf;
	gguf_close(gguf);
	return NULL;
}

struct gguf_file *gguf_open_memory(const char *name, const void *data, size_t n_bytes, struct error *error)
{
	struct gguf_file *gguf = create(name, error);
	if (!gguf)
		return NULL;
	gguf->files[0] = (struct mapped_file){.data = data, .n_bytes = n_bytes};
	gguf->n_files = 1;
	gguf->borrowed = true;
	if (read_set(gguf, error))
		return gguf;
	gguf_close(gguf);
	return NULL;
}

void gguf_close(struct gguf_file *gguf)
{
	if (!gguf)
		return;
	for (size_t i = 0; i < gguf->n_files && !gguf->borrowed; i++)
		mapped_file_close(&gguf->files[i]);
	free(gguf->files);
	free(gguf->values.items);
	free(gguf->tensors.items);
	arena_free(&gguf->arena);
	free(gguf);
}

/* ---- the files ---- */

const char *gguf_path(const struct gguf_file *gguf)
{
	return gguf->path;
}

size_t gguf_file_count(const struct gguf_file *gguf)
{
	return gguf->n_files;
}

size_t gguf_bytes(const struct gguf_file *gguf)
{
	return gguf->n_bytes;
}

const char *gguf_file_at(const struct gguf_file *gguf, size_t index, const void **data, size_t *n_bytes)
{
	if (index >= gguf->n_files)
		return NULL;
	*data = gguf->files[index].data;
	*n_bytes = gguf->files[index].n_bytes;
	return gguf->paths ? gguf->paths[index] : gguf->path;
}

/* ---- metadata ---- */

size_t gguf_value_count(const struct gguf_file *gguf)
{
	return gguf->values.n_items;
}

const struct gguf_value *gguf_value_at(const struct gguf_file *gguf, size_t index)
{
	return index < gguf->values.n_items ? &gguf->values.items[index] : NULL;
}

const struct gguf_value *gguf_find(const struct gguf_file *gguf, const char *key)
{
	return gguf_values_find(&gguf->values, key);
}

static bool wrong_type(const struct gguf_file *gguf, const struct gguf_value *value, const char *expected,
                       struct error *error)
{
	return error_set(error, ERROR_MODEL, "%s: %.*s is of type %s%s, expected %s", gguf->path, (int)value->n_key,
	                 value->key, value->is_array ? "array of " : "", gguf_type_name(value->type), expected);
}

bool gguf_u64(const struct gguf_file *gguf, const char *key, uint64_t *out, struct error *error)
{
	return gguf_values_u64(&gguf->values, gguf->path, key, out, error);
}

bool gguf_f64(const struct gguf_file *gguf, const char *key, double *out, struct error *error)
{
	const struct gguf_value *value = gguf_find(gguf, key);
	if (!value)
		return true;
	if (value->is_array || value->type == GGUF_STRING || value->type == GGUF_BOOL)
		return wrong_type(gguf, value, "a number", error);
	if (value->type == GGUF_F32 || value->type == GGUF_F64)
		*out = gguf_item_f64(value, 0);
	else if (value->type == GGUF_U64)
		*out = (double)(uint64_t)gguf_item_i64(value, 0);
	else
		*out = (double)gguf_item_i64(value, 0);
	return true;
}

bool gguf_bool(const struct gguf_file *gguf, const char *key, bool *out, struct error *error)
{
	const struct gguf_value *value = gguf_find(gguf, key);
	if (!value)
		return true;
	if (value->is_array || value->type != GGUF_BOOL)
		return wrong_type(gguf, value, "bool", error);
	*out = value->data[0] != 0;
	return true;
}

bool gguf_string(const struct gguf_file *gguf, const char *key, const char **text, size_t *n_bytes, struct error *error)
{
	const struct gguf_value *value = gguf_find(gguf, key);
	if (!value)
		return true;
	if (value->is_array || value->type != GGUF_STRING)
		return wrong_type(gguf, value, "string", error);
	const unsigned char *cursor = value->data;
	*text = gguf_next_string(value, &cursor, n_bytes);
	return true;
}

bool gguf_array(const struct gguf_file *gguf, const char *key, enum gguf_type type, const struct gguf_value **out,
                struct error *error)
{
	const struct gguf_value *value = *out = gguf_find(gguf, key);
	if (!value || (value->is_array && value->type == type))
		return true;
	char expected[32];
	snprintf(expected, sizeof expected, "array of %s", gguf_type_name(type));
	return wrong_type(gguf, value, expected, error);
}

/* ---- items ---- */

#define ITEM_AT(value, index, type) (*(type *)memcpy(&(type){0}, (value)->data + (index) * sizeof(type), sizeof(type)))

int64_t gguf_item_i64(const struct gguf_value *value, size_t index)
{
	switch (value->type) {
	case GGUF_U8:
	case GGUF_BOOL:
		return value->data[index];
	case GGUF_I8:
		return (int8_t)value->data[index];
	case GGUF_U16:
		return ITEM_AT(value, index, uint16_t);
	case GGUF_I16:
		return ITEM_AT(value, index, int16_t);
	case GGUF_U32:
		return ITEM_AT(value, index, uint32_t);
	case GGUF_I32:
		return ITEM_AT(value, index, int32_t);
	case GGUF_U64:
	case GGUF_I64:
		return ITEM_AT(value, index, int64_t);
	default:
		return 0;
	}
}

double gguf_item_f64(const struct gguf_value *value, size_t index)
{
	return value->type == GGUF_F32 ? (double)ITEM_AT(value, index, float) : ITEM_AT(value, index, double);
}

const char *gguf_next_string(const struct gguf_value *value, const unsigned char **cursor, size_t *n_bytes)
{
	uint64_t length;
	size_t left = (size_t)(value->data + value->n_bytes - *cursor);
	*n_bytes = 0;
	if (left < sizeof length)
		return "";
	memcpy(&length, *cursor, sizeof length);
	left -= sizeof length;
	const char *text = (const char *)*cursor + sizeof length;
	*n_bytes = length < left ? (size_t)length : left;
	*cursor += sizeof length + *n_bytes;
	return text;
}

/* ---- tensors ---- */

const struct gguf_tensor *gguf_tensor_find(const struct gguf_file *gguf, const char *name)
{
	struct gguf_tensor key = {.name = name};
	const struct gguf_tensors *list = &gguf->tensors;
	return list->n_items ? bsearch(&key, list->items, list->n_items, sizeof key, by_name) : NULL;
}

size_t gguf_tensor_count(const struct gguf_file *gguf)
{
	return gguf->tensors.n_items;
}

const struct gguf_tensor *gguf_tensor_at(const struct gguf_file *gguf, size_t index)
{
	return index < gguf->tensors.n_items ? &gguf->tensors.items[index] : NULL;
}
