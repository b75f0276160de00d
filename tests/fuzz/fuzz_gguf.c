/* GGUF: one file, read where it lies so that a read past its end is seen, or a split set when there are more parts. All
 * metadata is asked for in every way, tensors are read and widened, the tokenizer is made and used, and so is the model. */
#include <string.h>

#include "fuzz.h"
#include "model/weights.h"
#include "tensor/block.h"
#include "tensor/gguf.h"
#include "tensor/weight_file.h"
#include "text/tokenizer_gguf.h"

enum { MAX_FILES = 4, MAX_VALUES_WIDENED = 1 << 16 };

static const char sample[] = " ab  <s>1a A\xC3\x89\xF0\x9F\x98\x80 don't\t12345 e\xCC\x81\xCC\xA7 x\n\n  ";

/* ---- metadata ---- */

static void read_items(const struct gguf_value *value)
{
	const unsigned char *cursor = value->data;
	for (size_t i = 0; i < value->n_items; i++) {
		size_t n_text;
		switch (value->type) {
		case GGUF_STRING: {
			const char *text = gguf_next_string(value, &cursor, &n_text);
			fuzz_read(text, n_text);
			break;
		}
		case GGUF_F32:
		case GGUF_F64:
			(void)gguf_item_f64(value, i);
			break;
		default:
			(void)gguf_item_i64(value, i);
		}
	}
}

/* Every getter for one key: each gives it or says what is wrong. */
static void get(const struct gguf_file *gguf, const char *key)
{
	struct error error = {0};
	uint64_t number = 0;
	double real = 0;
	bool flag = false;
	const char *text = NULL;
	size_t n_text = 0;
	const struct gguf_value *array;
	int n_given = gguf_u64(gguf, key, &number, &error);
	n_given += gguf_f64(gguf, key, &real, &error);
	n_given += gguf_bool(gguf, key, &flag, &error);
	n_given += gguf_string(gguf, key, &text, &n_text, &error);
	for (int type = 0; type < GGUF_TYPE_COUNT; type++)
		n_given += gguf_array(gguf, key, (enum gguf_type)type, &array, &error);
	REQUIRE(n_given <= 2); /* an integer is a number, too */
	fuzz_check_error(&error);
	if (text)
		fuzz_read(text, n_text);
}

static void read_values(const struct gguf_file *gguf)
{
	for (size_t i = 0; i < gguf_value_count(gguf); i++) {
		const struct gguf_value *value = gguf_value_at(gguf, i);
		char *key = strndup(value->key, value->n_key);
		REQUIRE(key && gguf_find(gguf, key) == value);
		REQUIRE(value->is_array || value->n_items == 1);
		get(gguf, key);
		read_items(value);
		free(key);
	}
}

/* ---- tensors ---- */

static void widen(const struct gguf_tensor *tensor)
{
	size_t n_values = tensor->n_bytes / tensor->type->n_bytes * tensor->type->n_values;
	if (!tensor->type->supported || n_values > MAX_VALUES_WIDENED)
		return;
	float *values = malloc(n_values * sizeof *values);
	REQUIRE(values);
	block_dequantise(tensor->type->type, tensor->data, values, n_values);
	free(values);
}

static void read_tensors(const struct gguf_file *gguf)
{
	for (size_t i = 0; i < gguf_tensor_count(gguf); i++) {
		const struct gguf_tensor *tensor = gguf_tensor_at(gguf, i);
		REQUIRE(gguf_tensor_find(gguf, tensor->name) == tensor);
		fuzz_read(tensor->data, tensor->n_bytes);
		widen(tensor);
	}
}

/* ---- tokenizer ---- */

/* The file may bring text along. */
static void use_tokenizer(const struct gguf_file *gguf, const struct tokenizer *tokenizer)
{
	struct error error = {0};
	const char *text = sample;
	size_t n_text = sizeof sample - 1;
	if (!gguf_string(gguf, "fuzz.text", &text, &n_text, &error))
		fuzz_check_error(&error);
	fuzz_use_tokenizer(tokenizer, text, n_text);
}

static void load_tokenizer(const struct gguf_file *gguf)
{
	struct error error = {0};
	int32_t ids[TOKENIZER_MAX_END_IDS];
	int n_ids = 0;
	if (!tokenizer_gguf_end_ids(gguf, ids, &n_ids, &error))
		fuzz_check_error(&error);
	struct tokenizer *tokenizer = tokenizer_load_gguf(gguf, &error);
	if (!tokenizer) {
		fuzz_check_error(&error);
		return;
	}
	for (int i = 0; i < n_ids; i++)
		REQUIRE(ids[i] >= 0 && ids[i] < tokenizer_vocab_size(tokenizer));
	use_tokenizer(gguf, tokenizer);
	tokenizer_destroy(tokenizer);
}

/* ---- model ---- */

static void check_weights(const struct model_config *config, struct model_weights *weights)
{
	const struct weight *matrix;
	for (int64_t i = 0; (matrix = weights_matrix(weights, config, i)); i++) {
		size_t n_bytes;
		REQUIRE(dtype_bytes(matrix->type, (size_t)(matrix->n_out * matrix->n_in), &n_bytes));
		fuzz_read(matrix->data, n_bytes);
	}
}

/* As a worker loads it, from files. */
static void load_model(const char *path)
{
	struct error error = {0};
	struct model_config config;
	struct model_weights weights;
	if (!config_load(path, &config, &error)) {
		fuzz_check_error(&error);
		return;
	}
	fuzz_check_config(&config);
	struct weight_file *file = weight_file_open(path, &error);
	if (!file) {
		fuzz_check_error(&error);
		return;
	}
	if (weights_bind(file, &config, &weights, &error))
		check_weights(&config, &weights);
	else
		fuzz_check_error(&error);
	weights_free(&weights);
	weight_file_close(file);
}

/* ---- files ---- */

static void use(struct gguf_file *gguf, const struct error *error)
{
	if (!gguf) {
		fuzz_check_error(error);
		return;
	}
	read_values(gguf);
	read_tensors(gguf);
	load_tokenizer(gguf);
	gguf_close(gguf);
}

static void open_set(struct fuzz_part first, struct fuzz_part rest)
{
	struct fuzz_part parts[MAX_FILES] = {first};
	struct error error = {0};
	char name[64];
	int n = 1;
	while (n < MAX_FILES && fuzz_next_part(&rest, &parts[n]))
		n++;
	for (int i = n; i > 0; i--) {
		snprintf(name, sizeof name, "m-%05d-of-%05d.gguf", i, n);
		fuzz_write(name, parts[i - 1]);
	}
	use(gguf_open(fuzz_path(name), &error), &error);
	load_model(fuzz_path(name));
	for (int i = 1; i <= n; i++) {
		snprintf(name, sizeof name, "m-%05d-of-%05d.gguf", i, n);
		fuzz_remove(name);
	}
}

static void open_one(struct fuzz_part part)
{
	struct error error = {0};
	struct gguf_file *gguf = gguf_open_memory("some.gguf", part.data, part.n_bytes, &error);
	bool is_model = gguf && gguf_find(gguf, "general.architecture");
	use(gguf, &error);
	if (!is_model)
		return;
	fuzz_write("model.gguf", part);
	load_model(fuzz_path("model.gguf"));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
	struct fuzz_part rest = {data, n_bytes}, part;
	fuzz_begin();
	fuzz_next_part(&rest, &part);
	if (rest.data)
		open_set(part, rest);
	else
		open_one(part);
	return 0;
}

/* ---- mutations ---- */

/* Something in the file that says how long it is: where its length stands, and its bytes. */
struct sized {
	size_t at, begin, n_bytes;
};

static bool take_sized(const uint8_t *data, size_t n_bytes, size_t *at, struct sized *out)
{
	uint64_t length;
	if (n_bytes - *at < sizeof length)
		return false;
	memcpy(&length, data + *at, sizeof length);
	*out = (struct sized){.at = *at, .begin = *at + sizeof length, .n_bytes = (size_t)length};
	if (length > n_bytes - out->begin)
		return false;
	*at = out->begin + out->n_bytes;
	return true;
}

static bool take_u32(const uint8_t *data, size_t n_bytes, size_t *at, uint32_t *out)
{
	if (n_bytes - *at < sizeof *out)
		return false;
	memcpy(out, data + *at, sizeof *out);
	*at += sizeof *out;
	return true;
}

/* Number `wanted` of the strings of the metadata, keys and values; returns how many there are, as far as the file can be
 * walked over. */
static size_t find_string(const uint8_t *data, size_t n_bytes, size_t wanted, struct sized *found)
{
	static const uint8_t value_bytes[GGUF_TYPE_COUNT] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
	enum { HEADER_BYTES = 24 };
	size_t at = HEADER_BYTES, n = 0;
	struct sized string;
	uint32_t type;
	while (at < n_bytes && take_sized(data, n_bytes, &at, &string)) {
		if (n++ == wanted)
			*found = string;
		uint64_t n_items = 1;
		if (!take_u32(data, n_bytes, &at, &type))
			break;
		if (type == GGUF_ARRAY) {
			if (!take_u32(data, n_bytes, &at, &type) || n_bytes - at < sizeof n_items)
				break;
			memcpy(&n_items, data + at, sizeof n_items);
			at += sizeof n_items;
		}
		if (type >= GGUF_TYPE_COUNT || type == GGUF_ARRAY || n_items > n_bytes)
			break;
		size_t n_skipped = value_bytes[type] * (size_t)n_items;
		if (n_skipped > n_bytes - at)
			break;
		at += n_skipped;
		for (uint64_t i = 0; type == GGUF_STRING && i < n_items && take_sized(data, n_bytes, &at, &string); i++)
			if (n++ == wanted)
				*found = string;
	}
	return n;
}

/* Changes one string and says its new length, half of the time: otherwise nearly every input would end there. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t n_bytes, size_t max_bytes, unsigned seed)
{
	struct sized string = {0};
	size_t n_strings = seed % 2 ? find_string(data, n_bytes, SIZE_MAX, &string) : 0;
	if (n_strings == 0 || n_bytes >= max_bytes)
		return LLVMFuzzerMutate(data, n_bytes, max_bytes);
	find_string(data, n_bytes, seed / 2 % n_strings, &string);
	size_t end = string.begin + string.n_bytes, n_tail = n_bytes - end;
	uint8_t *tail = malloc(n_tail + 1);
	REQUIRE(tail);
	memcpy(tail, data + end, n_tail);
	uint64_t length = LLVMFuzzerMutate(data + string.begin, string.n_bytes, max_bytes - string.begin - n_tail);
	memcpy(data + string.at, &length, sizeof length);
	memcpy(data + string.begin + length, tail, n_tail);
	free(tail);
	return string.begin + (size_t)length + n_tail;
}
