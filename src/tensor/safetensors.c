/* The header of one SafeTensors file -> tensors whose dtype, shape and extent have been checked against each other, the
 * file's size and their neighbours. */
#include "tensor/safetensors.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/json.h"

/* The bound on values is for memory: a header within its bytes could otherwise ask for 50 times as much. */
enum { LENGTH_BYTES = 8, MAX_HEADER_BYTES = 100 << 20, MAX_HEADER_DEPTH = 8, MAX_HEADER_VALUES = 10 << 20 };

/* Bytes per element of the dtypes that the format has and Tallow does not compute with: their extent is checked all the
 * same. */
static size_t other_dtype_bytes(const char *name, size_t n_name)
{
	static const struct {
		const char *name;
		size_t n_bytes;
	} others[] = {{"BOOL", 1}, {"U8", 1},  {"I8", 1},  {"F8_E4M3", 1}, {"F8_E5M2", 1}, {"F8_E8M0", 1}, {"U16", 2},
	              {"I16", 2},  {"U32", 4}, {"I32", 4}, {"U64", 8},     {"I64", 8},     {"F64", 8},     {"C64", 8}};
	for (size_t i = 0; i < sizeof others / sizeof *others; i++)
		if (strlen(others[i].name) == n_name && memcmp(name, others[i].name, n_name) == 0)
			return others[i].n_bytes;
	return 0;
}

static bool refuse(const struct tensor *tensor, struct error *error, const char *what)
{
	return error_set(error, ERROR_MODEL, "%s: tensor %.200s: %s", tensor->file, tensor->name, what);
}

static bool read_dtype(const struct json *entry, struct tensor *tensor, struct arena *arena, size_t *element_bytes,
                       struct error *error)
{
	const struct json *value = json_get(entry, "dtype");
	size_t n = 0;
	const char *name = value ? json_string(value, &n) : NULL;
	if (!name)
		return refuse(tensor, error, "dtype is missing or no string");
	tensor->type_name = arena_strdup(arena, name, n);
	if (!tensor->type_name)
		return error_set(error, ERROR_MEMORY, "%s: no memory for the header", tensor->file);
	tensor->usable = dtype_parse(name, n, &tensor->type) && dtype_info(tensor->type)->block_elements == 1;
	*element_bytes = tensor->usable ? (size_t)dtype_info(tensor->type)->block_bytes : other_dtype_bytes(name, n);
	if (*element_bytes == 0)
		return error_set(error, ERROR_MODEL, "%s: tensor %.200s: unknown dtype %.40s", tensor->file, tensor->name,
		                 tensor->type_name);
	return true;
}

/* Digits alone: 16.0 and 1e3 are integers to JSON, and no count of bytes. */
static bool read_count(const struct json *value, uint64_t *out)
{
	const char *text = json_number_text(value);
	return text && text[strspn(text, "0123456789")] == 0 && json_uint64(value, out);
}

static bool read_shape(const struct json *entry, struct tensor *tensor, size_t element_bytes, struct error *error)
{
	const struct json *shape = json_get(entry, "shape");
	if (!shape || json_type(shape) != JSON_ARRAY)
		return refuse(tensor, error, "shape is missing or no array");
	size_t n_bytes = element_bytes;
	for (const struct json *dim = json_first(shape); dim; dim = json_next(dim)) {
		uint64_t size;
		if (!read_count(dim, &size) || size > INT64_MAX)
			return refuse(tensor, error, "shape holds something that is no count");
		if (tensor->n_dims == TENSOR_MAX_DIMS)
			return refuse(tensor, error, "shape has more than 4 dimensions");
		tensor->dims[tensor->n_dims++] = (int64_t)size;
		if (!checked_mul(n_bytes, (size_t)size, &n_bytes))
			return refuse(tensor, error, "shape times dtype has more bytes than can be counted");
	}
	tensor->n_bytes = n_bytes;
	return true;
}

static bool read_offsets(const struct json *entry, struct tensor *tensor, const unsigned char *data, size_t data_bytes,
                         struct error *error)
{
	const struct json *offsets = json_get(entry, "data_offsets");
	uint64_t range[2];
	int n = 0;
	if (!offsets || json_type(offsets) != JSON_ARRAY)
		return refuse(tensor, error, "data_offsets is missing or no array");
	for (const struct json *value = json_first(offsets); value; value = json_next(value), n++)
		if (n >= 2 || !read_count(value, &range[n]))
			return refuse(tensor, error, "data_offsets must be two offsets");
	if (n != 2)
		return refuse(tensor, error, "data_offsets must be two offsets");
	if (range[1] < range[0] || range[1] > data_bytes)
		return error_set(error, ERROR_MODEL,
		                 "%s: tensor %.200s: data_offsets [%" PRIu64 ", %" PRIu64
		                 "] are not within the %zu bytes of data",
		                 tensor->file, tensor->name, range[0], range[1], data_bytes);
	if (range[1] - range[0] != tensor->n_bytes)
		return error_set(error, ERROR_MODEL,
		                 "%s: tensor %.200s: data_offsets span %" PRIu64 " bytes, shape and dtype make %zu",
		                 tensor->file, tensor->name, range[1] - range[0], tensor->n_bytes);
	tensor->data = data + range[0];
	return true;
}

static bool append(struct tensor_list *list, const struct tensor *tensor, struct error *error)
{
	if (list->n_items == list->capacity) {
		size_t capacity = list->capacity ? 2 * list->capacity : 64, n_bytes;
		struct tensor *items = checked_mul(capacity, sizeof *items, &n_bytes) ? realloc(list->items, n_bytes) : NULL;
		if (!items)
			return error_set(error, ERROR_MEMORY, "%s: no memory for the list of tensors", tensor->file);
		list->items = items;
		list->capacity = capacity;
	}
	list->items[list->n_items++] = *tensor;
	return true;
}

static bool check_metadata(const struct json *metadata, const char *path, struct error *error)
{
	if (json_type(metadata) != JSON_OBJECT)
		return error_set(error, ERROR_MODEL, "%s: __metadata__ is no object", path);
	for (const struct json *value = json_first(metadata); value; value = json_next(value))
		if (json_type(value) != JSON_STRING)
			return error_set(error, ERROR_MODEL, "%s: __metadata__ holds %s, only strings are allowed", path,
			                 json_type_name(json_type(value)));
	return true;
}

static int by_address(const void *left, const void *right)
{
	const struct tensor *a = left, *b = right;
	const unsigned char *x = a->data, *y = b->data;
	if (x != y)
		return x < y ? -1 : 1;
	return a->n_bytes < b->n_bytes ? -1 : a->n_bytes > b->n_bytes;
}

/* Tensors may not share bytes, and as in the reference no byte may belong to none. */
static bool check_cover(struct tensor *tensors, size_t n, const unsigned char *data, size_t data_bytes,
                        const char *path, struct error *error)
{
	size_t at = 0;
	if (n)
		qsort(tensors, n, sizeof *tensors, by_address);
	for (size_t i = 0; i < n; i++) {
		size_t begin = (size_t)((const unsigned char *)tensors[i].data - data);
		if (begin < at)
			return error_set(error, ERROR_MODEL, "%s: tensors %.200s and %.200s overlap", path, tensors[i - 1].name,
			                 tensors[i].name);
		if (begin > at)
			return error_set(error, ERROR_MODEL, "%s: %zu bytes before tensor %.200s belong to no tensor", path,
			                 begin - at, tensors[i].name);
		at = begin + tensors[i].n_bytes;
	}
	if (at != data_bytes)
		return error_set(error, ERROR_MODEL, "%s: the header describes %zu bytes of data, the file has %zu", path, at,
		                 data_bytes);
	return true;
}

static bool read_entries(const struct json *header, const unsigned char *data, size_t data_bytes, const char *path,
                         struct arena *arena, struct tensor_list *list, struct error *error)
{
	size_t first = list->n_items;
	for (const struct json *entry = json_first(header); entry; entry = json_next(entry)) {
		size_t n_name, element_bytes = 0;
		const char *name = json_key(entry, &n_name);
		if (strcmp(name, "__metadata__") == 0 && n_name == 12) {
			if (!check_metadata(entry, path, error))
				return false;
			continue;
		}
		struct tensor tensor = {.name = arena_strdup(arena, name, n_name), .file = path};
		if (!tensor.name)
			return error_set(error, ERROR_MEMORY, "%s: no memory for the header", path);
		if (strlen(tensor.name) != n_name)
			return error_set(error, ERROR_MODEL, "%s: a tensor's name holds a NUL", path);
		if (json_type(entry) != JSON_OBJECT)
			return refuse(&tensor, error, "its entry is no object");
		if (!read_dtype(entry, &tensor, arena, &element_bytes, error) ||
		    !read_shape(entry, &tensor, element_bytes, error) ||
		    !read_offsets(entry, &tensor, data, data_bytes, error) || !append(list, &tensor, error))
			return false;
	}
	struct tensor *added = list->items ? list->items + first : NULL;
	return check_cover(added, list->n_items - first, data, data_bytes, path, error);
}

bool safetensors_read(const struct mapped_file *file, const char *path, struct arena *arena, struct tensor_list *list,
                      struct error *error)
{
	if (file->n_bytes < LENGTH_BYTES)
		return error_set(error, ERROR_MODEL, "%s: %zu bytes are too short for a SafeTensors file", path, file->n_bytes);
	uint64_t header_bytes = 0;
	for (int i = 0; i < LENGTH_BYTES; i++)
		header_bytes |= (uint64_t)file->data[i] << (8 * i);
	size_t room = file->n_bytes - LENGTH_BYTES;
	if (header_bytes > room)
		return error_set(error, ERROR_MODEL, "%s: header of %" PRIu64 " bytes in a file with %zu left for it", path,
		                 header_bytes, room);
	if (header_bytes > MAX_HEADER_BYTES)
		return error_set(error, ERROR_MODEL, "%s: header of %" PRIu64 " bytes, at most %d are read", path, header_bytes,
		                 MAX_HEADER_BYTES);
	const char *text = (const char *)file->data + LENGTH_BYTES;
	if (header_bytes == 0 || text[0] != '{')
		return error_set(error, ERROR_MODEL, "%s: the header does not begin with '{'", path);
	struct json_limits limits = {.max_depth = MAX_HEADER_DEPTH, .max_values = MAX_HEADER_VALUES};
	struct json *header = json_parse(text, (size_t)header_bytes, &limits, error);
	if (!header) {
		if (error->code != ERROR_MEMORY)
			error->code = ERROR_MODEL;
		return error_prefix(error, "%s: header", path);
	}
	bool ok = read_entries(header, file->data + LENGTH_BYTES + header_bytes, room - (size_t)header_bytes, path, arena,
	                       list, error);
	json_destroy(header);
	return ok;
}
