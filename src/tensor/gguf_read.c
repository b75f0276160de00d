/* Layout of a GGUF file, all little endian and packed:
 *
 *     "GGUF"  u32 version  u64 n_tensors  u64 n_values
 *     n_values times:   string key  u32 type  value        an array: u32 item type  u64 n_items  items
 *     n_tensors times:  string name  u32 n_dims  u64 dims[n_dims], innermost first  u32 type  u64 offset
 *     padding to general.alignment, then the tensors' data, each at its offset from there
 *
 * A string is u64 length and bytes.
 */
#include "tensor/gguf_read.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/utf8.h"

enum {
	DEFAULT_ALIGNMENT = 32,
	MAX_KEY_BYTES = 65535, /* the format's own bounds */
	MAX_NAME_BYTES = 64,
	MAX_VALUES = 1 << 16, /* ours: for memory, far above what is published */
	MAX_TENSORS = 1 << 20,
	MIN_VALUE_BYTES = 8 + 1 + 4 + 1, /* the smallest entry: bounds a count by the file's size */
	MIN_TENSOR_BYTES = 8 + 1 + 4 + 4 + 8,
};

struct reader {
	const unsigned char *data;
	size_t n_bytes, at;
	const char *path;
	struct error *error;
};

static bool refuse(struct reader *reader, const char *what)
{
	error_set(reader->error, ERROR_MODEL, "%s: %s", reader->path, what);
	return false;
}

static bool out_of_memory(struct reader *reader)
{
	error_set(reader->error, ERROR_MEMORY, "%s: no memory for the header", reader->path);
	return false;
}

/* Hands out the next n_bytes. */
static const unsigned char *take(struct reader *reader, uint64_t n_bytes, const char *what)
{
	size_t left = reader->n_bytes - reader->at;
	if (n_bytes > left) {
		error_set(reader->error, ERROR_MODEL,
		          "%s: ends within %s: %" PRIu64 " bytes expected at offset %zu, %zu are left", reader->path, what,
		          n_bytes, reader->at, left);
		return NULL;
	}
	const unsigned char *found = reader->data + reader->at;
	reader->at += (size_t)n_bytes;
	return found;
}

static bool take_u32(struct reader *reader, uint32_t *out, const char *what)
{
	const unsigned char *found = take(reader, sizeof *out, what);
	if (found)
		memcpy(out, found, sizeof *out);
	return found != NULL;
}

static bool take_u64(struct reader *reader, uint64_t *out, const char *what)
{
	const unsigned char *found = take(reader, sizeof *out, what);
	if (found)
		memcpy(out, found, sizeof *out);
	return found != NULL;
}

/* A key or a name: bounded, UTF-8, no NUL. `index` is for messages. */
static bool take_name(struct reader *reader, const char *what, size_t index, size_t max_bytes, const char **text,
                      size_t *n_bytes)
{
	uint64_t length;
	if (!take_u64(reader, &length, what))
		return false;
	if (length == 0 || length > max_bytes)
		return error_set(reader->error, ERROR_MODEL, "%s: %s %zu has a name of %" PRIu64 " bytes, expected 1 to %zu",
		                 reader->path, what, index, length, max_bytes);
	const unsigned char *found = take(reader, length, what);
	if (!found)
		return false;
	for (size_t at = 0; at < length;) {
		int n = utf8_length(found + at, (size_t)length - at);
		if (n == 0 || found[at] == '\0')
			return error_set(reader->error, ERROR_MODEL, "%s: the name of %s %zu holds a NUL or is not valid UTF-8",
			                 reader->path, what, index);
		at += (size_t)n;
	}
	*text = (const char *)found;
	*n_bytes = (size_t)length;
	return true;
}

/* ---- metadata ---- */

static const struct {
	const char *name;
	size_t n_bytes; /* 0: has no fixed size */
} type_infos[GGUF_TYPE_COUNT] = {
    [GGUF_U8] = {"u8", 1},         [GGUF_I8] = {"i8", 1},       [GGUF_U16] = {"u16", 2}, [GGUF_I16] = {"i16", 2},
    [GGUF_U32] = {"u32", 4},       [GGUF_I32] = {"i32", 4},     [GGUF_F32] = {"f32", 4}, [GGUF_BOOL] = {"bool", 1},
    [GGUF_STRING] = {"string", 0}, [GGUF_ARRAY] = {"array", 0}, [GGUF_U64] = {"u64", 8}, [GGUF_I64] = {"i64", 8},
    [GGUF_F64] = {"f64", 8},
};

const char *gguf_type_name(enum gguf_type type)
{
	return type_infos[type].name;
}

static bool refuse_value(struct reader *reader, const struct gguf_value *value, const char *what)
{
	return error_set(reader->error, ERROR_MODEL, "%s: %.*s: %s", reader->path,
	                 (int)(value->n_key < 200 ? value->n_key : 200), value->key, what);
}

/* The items follow one another; strings have to be walked over to know where they end. */
static bool take_items(struct reader *reader, struct gguf_value *value)
{
	size_t item_bytes = type_infos[value->type].n_bytes;
	value->data = reader->data + reader->at;
	if (value->type == GGUF_STRING) {
		for (size_t i = 0; i < value->n_items; i++) {
			uint64_t length;
			if (!take_u64(reader, &length, "a string") || !take(reader, length, "a string"))
				return refuse_value(reader, value, "a string reaches beyond the end of the file");
		}
		value->n_bytes = (size_t)(reader->data + reader->at - value->data);
		return true;
	}
	value->n_bytes = value->n_items * item_bytes;
	const unsigned char *items = take(reader, value->n_bytes, "a value");
	for (size_t i = 0; items && value->type == GGUF_BOOL && i < value->n_items; i++)
		if (items[i] > 1)
			return error_set(reader->error, ERROR_MODEL, "%s: %.*s: a bool is %d, expected 0 or 1", reader->path,
			                 (int)(value->n_key < 200 ? value->n_key : 200), value->key, items[i]);
	return items || refuse_value(reader, value, "its value reaches beyond the end of the file");
}

static bool take_value(struct reader *reader, size_t index, struct gguf_value *value)
{
	uint32_t type;
	uint64_t n_items = 1;
	if (!take_name(reader, "metadata key", index, MAX_KEY_BYTES, &value->key, &value->n_key) ||
	    !take_u32(reader, &type, "a value's type"))
		return false;
	value->is_array = type == GGUF_ARRAY;
	if (value->is_array && (!take_u32(reader, &type, "an array's type") || !take_u64(reader, &n_items, "an array")))
		return false;
	if (value->is_array && type == GGUF_ARRAY)
		return refuse_value(reader, value, "arrays of arrays are not supported");
	if (type >= GGUF_TYPE_COUNT)
		return error_set(reader->error, ERROR_MODEL, "%s: %.*s: value type %" PRIu32 " is unknown, expected 0 to %d",
		                 reader->path, (int)(value->n_key < 200 ? value->n_key : 200), value->key, type,
		                 GGUF_TYPE_COUNT - 1);
	value->type = (enum gguf_type)type;
	size_t min_bytes = value->type == GGUF_STRING ? 8 : type_infos[type].n_bytes;
	if (n_items > (reader->n_bytes - reader->at) / min_bytes)
		return error_set(reader->error, ERROR_MODEL,
		                 "%s: %.*s: %" PRIu64 " items of type %s are more than the %zu bytes that are left",
		                 reader->path, (int)(value->n_key < 200 ? value->n_key : 200), value->key, n_items,
		                 type_infos[type].name, reader->n_bytes - reader->at);
	value->n_items = (size_t)n_items;
	return take_items(reader, value);
}

static int compare_keys(const char *a, size_t n_a, const char *b, size_t n_b)
{
	int order = memcmp(a, b, n_a < n_b ? n_a : n_b);
	return order ? order : n_a < n_b ? -1 : n_a > n_b;
}

static int by_key(const void *left, const void *right)
{
	const struct gguf_value *a = left, *b = right;
	return compare_keys(a->key, a->n_key, b->key, b->n_key);
}

static bool take_values(struct reader *reader, size_t n_values, struct gguf_values *values)
{
	values->items = calloc(n_values + 1, sizeof *values->items);
	if (!values->items)
		return out_of_memory(reader);
	for (; values->n_items < n_values; values->n_items++)
		if (!take_value(reader, values->n_items, &values->items[values->n_items]))
			return false;
	qsort(values->items, n_values, sizeof *values->items, by_key);
	for (size_t i = 1; i < n_values; i++)
		if (by_key(&values->items[i - 1], &values->items[i]) == 0)
			return refuse_value(reader, &values->items[i], "the key is there twice");
	return true;
}

const struct gguf_value *gguf_values_find(const struct gguf_values *values, const char *key)
{
	struct gguf_value wanted = {.key = key, .n_key = strlen(key)};
	return values->n_items ? bsearch(&wanted, values->items, values->n_items, sizeof wanted, by_key) : NULL;
}

bool gguf_values_u64(const struct gguf_values *values, const char *path, const char *key, uint64_t *out,
                     struct error *error)
{
	const struct gguf_value *value = gguf_values_find(values, key);
	if (!value)
		return true;
	bool integer = !value->is_array && type_infos[value->type].n_bytes && value->type != GGUF_F32 &&
	               value->type != GGUF_F64 && value->type != GGUF_BOOL;
	if (!integer)
		return error_set(error, ERROR_MODEL, "%s: %s is of type %s%s, expected an integer", path, key,
		                 value->is_array ? "array of " : "", gguf_type_name(value->type));
	int64_t number = gguf_item_i64(value, 0);
	if (number < 0 && value->type != GGUF_U64)
		return error_set(error, ERROR_MODEL, "%s: %s is %" PRId64 ", expected 0 or more", path, key, number);
	*out = (uint64_t)number;
	return true;
}

static bool read_alignment(struct reader *reader, const struct gguf_values *values, size_t *alignment)
{
	const struct gguf_value *value = gguf_values_find(values, "general.alignment");
	*alignment = DEFAULT_ALIGNMENT;
	if (!value)
		return true;
	if (value->is_array || value->type != GGUF_U32)
		return error_set(reader->error, ERROR_MODEL, "%s: general.alignment is of type %s%s, expected u32",
		                 reader->path, value->is_array ? "array of " : "", gguf_type_name(value->type));
	uint64_t bytes = (uint64_t)gguf_item_i64(value, 0);
	if (bytes < 8 || (bytes & (bytes - 1)) != 0)
		return error_set(reader->error, ERROR_MODEL,
		                 "%s: general.alignment is %" PRIu64 ", expected a power of two from 8 on", reader->path,
		                 bytes);
	*alignment = (size_t)bytes;
	return true;
}

/* ---- tensor infos ---- */

static bool refuse_tensor(struct reader *reader, const char *name, const char *what)
{
	return error_set(reader->error, ERROR_MODEL, "%s: tensor %s: %s", reader->path, name, what);
}

static bool take_dims(struct reader *reader, struct gguf_tensor *tensor)
{
	uint32_t n_dims;
	if (!take_u32(reader, &n_dims, "a tensor's number of dimensions"))
		return false;
	if (n_dims > GGUF_MAX_DIMS)
		return error_set(reader->error, ERROR_MODEL, "%s: tensor %s: has %" PRIu32 " dimensions, at most %d are taken",
		                 reader->path, tensor->name, n_dims, GGUF_MAX_DIMS);
	tensor->n_dims = (int)n_dims;
	for (int i = tensor->n_dims - 1; i >= 0; i--) {
		uint64_t size;
		if (!take_u64(reader, &size, "a tensor's dimensions"))
			return false;
		if (size == 0 || size > INT64_MAX)
			return error_set(reader->error, ERROR_MODEL,
			                 "%s: tensor %s: a dimension is %" PRId64 ", expected 1 or more", reader->path,
			                 tensor->name, (int64_t)size);
		tensor->dims[i] = (int64_t)size;
	}
	return true;
}

static bool take_type(struct reader *reader, struct gguf_tensor *tensor)
{
	uint32_t id;
	if (!take_u32(reader, &id, "a tensor's type"))
		return false;
	tensor->type = block_type_find(id);
	if (!tensor->type)
		return error_set(reader->error, ERROR_MODEL, "%s: tensor %s: type %" PRIu32 " is unknown, expected %s",
		                 reader->path, tensor->name, id, block_type_supported());
	if (tensor->type->n_bytes == 0)
		return error_set(reader->error, ERROR_MODEL, "%s: tensor %s: type %s was taken out of the format", reader->path,
		                 tensor->name, tensor->type->name);
	uint64_t row = tensor->n_dims ? (uint64_t)tensor->dims[tensor->n_dims - 1] : 1;
	if (row % tensor->type->n_values)
		return error_set(reader->error, ERROR_MODEL,
		                 "%s: tensor %s: its rows of %" PRIu64 " values are no whole number of %s blocks of %" PRIu32,
		                 reader->path, tensor->name, row, tensor->type->name, tensor->type->n_values);
	size_t n_bytes = (size_t)(row / tensor->type->n_values);
	bool ok = checked_mul(n_bytes, tensor->type->n_bytes, &n_bytes);
	for (int i = 0; ok && i < tensor->n_dims - 1; i++)
		ok = checked_mul(n_bytes, (size_t)tensor->dims[i], &n_bytes);
	tensor->n_bytes = n_bytes;
	return ok || refuse_tensor(reader, tensor->name, "its dimensions make more bytes than can be counted");
}

static bool append(struct gguf_tensors *tensors, const struct gguf_tensor *tensor)
{
	if (tensors->n_items == tensors->capacity) {
		size_t capacity = tensors->capacity ? 2 * tensors->capacity : 64, n_bytes;
		struct gguf_tensor *items =
		    checked_mul(capacity, sizeof *items, &n_bytes) ? realloc(tensors->items, n_bytes) : NULL;
		if (!items)
			return false;
		tensors->items = items;
		tensors->capacity = capacity;
	}
	tensors->items[tensors->n_items++] = *tensor;
	return true;
}

/* The offset can be placed only when all infos are read: where the data begins is known then. */
static bool take_tensor(struct reader *reader, size_t index, struct arena *arena, uint64_t *offset,
                        struct gguf_tensor *tensor)
{
	const char *name = NULL;
	size_t n_name = 0;
	if (!take_name(reader, "tensor", index, MAX_NAME_BYTES, &name, &n_name))
		return false;
	tensor->name = arena_strdup(arena, name, n_name);
	if (!tensor->name)
		return out_of_memory(reader);
	tensor->file = reader->path;
	return take_dims(reader, tensor) && take_type(reader, tensor) && take_u64(reader, offset, "a tensor's offset");
}

static bool place_tensor(struct reader *reader, struct gguf_tensor *tensor, uint64_t offset, size_t alignment,
                         size_t data_begin)
{
	size_t data_bytes = reader->n_bytes - data_begin;
	if (offset % alignment)
		return error_set(reader->error, ERROR_MODEL,
		                 "%s: tensor %s: offset %" PRIu64 " is no multiple of the alignment %zu", reader->path,
		                 tensor->name, offset, alignment);
	if (offset > data_bytes || tensor->n_bytes > data_bytes - offset)
		return error_set(reader->error, ERROR_MODEL,
		                 "%s: tensor %s: %zu bytes at offset %" PRIu64 " are not within the %zu bytes of data",
		                 reader->path, tensor->name, tensor->n_bytes, offset, data_bytes);
	tensor->data = reader->data + data_begin + offset;
	return true;
}

static int by_address(const void *left, const void *right)
{
	const struct gguf_tensor *a = left, *b = right;
	const unsigned char *x = a->data, *y = b->data;
	return x < y ? -1 : x > y;
}

static bool check_overlap(struct reader *reader, struct gguf_tensor *tensors, size_t n)
{
	qsort(tensors, n, sizeof *tensors, by_address);
	for (size_t i = 1; i < n; i++) {
		const unsigned char *begin = tensors[i].data, *before = tensors[i - 1].data;
		if ((size_t)(begin - before) < tensors[i - 1].n_bytes)
			return error_set(reader->error, ERROR_MODEL, "%s: tensors %s and %s overlap", reader->path,
			                 tensors[i - 1].name, tensors[i].name);
	}
	return true;
}

static bool take_tensors(struct reader *reader, size_t n_tensors, size_t alignment, struct arena *arena,
                         struct gguf_tensors *tensors)
{
	size_t first = tensors->n_items, data_begin;
	uint64_t *offsets = malloc((n_tensors + 1) * sizeof *offsets);
	bool ok = offsets || out_of_memory(reader);
	for (size_t i = 0; ok && i < n_tensors; i++) {
		struct gguf_tensor tensor = {0};
		ok = take_tensor(reader, i, arena, &offsets[i], &tensor) && (append(tensors, &tensor) || out_of_memory(reader));
	}
	data_begin = round_up(reader->at, alignment); /* alignment < 2^32, and no file is as long as size_t */
	if (ok && n_tensors && data_begin > reader->n_bytes)
		ok = error_set(reader->error, ERROR_MODEL, "%s: the data should begin at offset %zu, the file has %zu bytes",
		               reader->path, data_begin, reader->n_bytes);
	for (size_t i = 0; ok && i < n_tensors; i++)
		ok = place_tensor(reader, &tensors->items[first + i], offsets[i], alignment, data_begin);
	free(offsets);
	return ok && (n_tensors == 0 || check_overlap(reader, tensors->items + first, n_tensors));
}

/* ---- the file ---- */

static bool take_header(struct reader *reader, uint64_t *n_tensors, uint64_t *n_values)
{
	uint32_t version;
	const unsigned char *magic = take(reader, 4, "the header");
	if (!magic)
		return false;
	if (memcmp(magic, "GGUF", 4) != 0)
		return refuse(reader, "does not begin with GGUF");
	if (!take_u32(reader, &version, "the header"))
		return false;
	if (version == 2u << 24 || version == 3u << 24)
		return refuse(reader, "is big endian, only little endian is supported");
	if (version != 2 && version != 3)
		return error_set(reader->error, ERROR_MODEL, "%s: GGUF version %" PRIu32 " is not supported, expected 2 or 3",
		                 reader->path, version);
	if (!take_u64(reader, n_tensors, "the header") || !take_u64(reader, n_values, "the header"))
		return false;
	size_t left = reader->n_bytes - reader->at;
	if (*n_tensors > MAX_TENSORS || *n_tensors > left / MIN_TENSOR_BYTES)
		return error_set(reader->error, ERROR_MODEL,
		                 "%s: %" PRIu64 " tensors are not possible in %zu bytes, or more than the %d that are taken",
		                 reader->path, *n_tensors, left, MAX_TENSORS);
	if (*n_values > MAX_VALUES || *n_values > left / MIN_VALUE_BYTES)
		return error_set(reader->error, ERROR_MODEL,
		                 "%s: %" PRIu64
		                 " metadata keys are not possible in %zu bytes, or more than the %d that are taken",
		                 reader->path, *n_values, left, MAX_VALUES);
	return true;
}

bool gguf_read(const struct mapped_file *file, const char *path, struct arena *arena, struct gguf_values *values,
               struct gguf_tensors *tensors, struct error *error)
{
	struct reader reader = {.data = file->data, .n_bytes = file->n_bytes, .path = path, .error = error};
	uint64_t n_tensors = 0, n_values = 0;
	size_t alignment = 0;
	return take_header(&reader, &n_tensors, &n_values) && take_values(&reader, (size_t)n_values, values) &&
	       read_alignment(&reader, values, &alignment) &&
	       take_tensors(&reader, (size_t)n_tensors, alignment, arena, tensors);
}
