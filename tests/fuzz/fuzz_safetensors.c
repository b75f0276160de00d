/* SafeTensors: one file, read where it lies so that a read past its end is seen, and a set of shards when there are
 * more parts: the index first. What opens is bound to the weights of a very small model. */
#include <string.h>

#include "base/arena.h"
#include "fuzz.h"
#include "model/plan.h"
#include "tensor/safetensors.h"

enum { LENGTH_BYTES = 8, MAX_SHARDS = 4 };

/* That of the valid files in the corpus (make_corpus.py). */
static const struct model_config tiny = {
    .hidden_size = 2,
    .intermediate_size = 2,
    .n_layers = 1,
    .n_heads = 1,
    .n_kv_heads = 1,
    .head_dim = 2,
    .vocab_size = 3,
    .max_positions = 8,
};

static void read_one(struct fuzz_part part)
{
	struct error error = {0};
	struct arena arena = {0};
	struct tensor_list list = {0};
	struct mapped_file file = {.data = part.data, .n_bytes = part.n_bytes};
	if (safetensors_read(&file, "some.safetensors", &arena, &list, &error)) {
		size_t n_covered = 0;
		for (size_t i = 0; i < list.n_items; i++) {
			const unsigned char *at = list.items[i].data;
			REQUIRE(at >= part.data && (size_t)(at - part.data) + list.items[i].n_bytes <= part.n_bytes);
			fuzz_read(at, list.items[i].n_bytes);
			n_covered += list.items[i].n_bytes;
		}
		REQUIRE(n_covered <= part.n_bytes);
	} else {
		fuzz_check_error(&error);
	}
	free(list.items);
	arena_free(&arena);
}

static void bind(const struct weight_file *weights)
{
	struct error error = {0};
	struct model_weights bound;
	struct weight_sizes sizes;
	const struct weights_wanted as_stored = {.as_stored = true};
	if (!weights_bind(weights, &tiny, &bound, &error)) {
		fuzz_check_error(&error);
		return;
	}
	fuzz_read(bound.final_norm, (size_t)tiny.hidden_size * sizeof *bound.final_norm);
	fuzz_read(bound.head.data, (size_t)(tiny.vocab_size * tiny.hidden_size) * sizeof(uint16_t));
	REQUIRE(plan_weight_sizes(&bound, &tiny, &as_stored, &sizes, &error));
	weights_free(&bound);
}

static void open_path(const char *path)
{
	struct error error = {0};
	struct weight_file *weights = weight_file_open(path, &error);
	if (!weights) {
		fuzz_check_error(&error);
		return;
	}
	for (size_t i = 0; i < weight_file_count(weights); i++) {
		const struct tensor *tensor = weight_file_at(weights, i);
		REQUIRE(weight_file_find(weights, tensor->name) == tensor);
		fuzz_read(tensor->data, tensor->n_bytes);
	}
	bind(weights);
	weight_file_close(weights);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
	static const char *const names[] = {"model.safetensors.index.json", "a.safetensors", "b.safetensors",
	                                    "c.safetensors", "d.safetensors"};
	struct fuzz_part rest = {data, n_bytes}, part;
	int n = 0;
	fuzz_begin();
	fuzz_next_part(&rest, &part);
	if (!rest.data) {
		read_one(part);
		fuzz_write("model.safetensors", part);
		open_path(fuzz_path("model.safetensors"));
		fuzz_remove("model.safetensors");
		return 0;
	}
	do
		fuzz_write(names[n++], part);
	while (n <= MAX_SHARDS && fuzz_next_part(&rest, &part));
	open_path(fuzz_folder());
	while (n > 0)
		fuzz_remove(names[--n]);
	return 0;
}

/* Changes the header alone and says its new length, most of the time: otherwise nearly every input would end there. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t n_bytes, size_t max_bytes, unsigned seed)
{
	uint64_t n_header = 0;
	if (n_bytes > LENGTH_BYTES)
		memcpy(&n_header, data, LENGTH_BYTES);
	if (seed % 4 == 0 || n_header == 0 || n_header > n_bytes - LENGTH_BYTES || n_bytes >= max_bytes)
		return LLVMFuzzerMutate(data, n_bytes, max_bytes);
	size_t n_data = n_bytes - LENGTH_BYTES - (size_t)n_header;
	uint8_t *tail = malloc(n_data + 1);
	REQUIRE(tail);
	memcpy(tail, data + LENGTH_BYTES + n_header, n_data);
	n_header = LLVMFuzzerMutate(data + LENGTH_BYTES, (size_t)n_header, max_bytes - LENGTH_BYTES - n_data);
	memcpy(data, &n_header, LENGTH_BYTES);
	memcpy(data + LENGTH_BYTES + n_header, tail, n_data);
	free(tail);
	return LENGTH_BYTES + (size_t)n_header + n_data;
}
