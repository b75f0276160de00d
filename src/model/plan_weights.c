/* The plan's part about weights: which type each matrix gets, and how many bytes that takes. */
#include "base/checked.h"
#include "kernels/convert.h"
#include "model/plan.h"

/* 4 bits are too few for the head: its errors are the logits' errors. */
enum dtype plan_weight_target(const struct model_weights *weights, const struct weight *matrix,
                              const struct weights_wanted *wanted)
{
	if (matrix == &weights->embedding)
		return matrix->type;
	enum dtype type = wanted->as_stored ? weight_served_type(matrix->type) : wanted->type;
	if (type == DTYPE_Q4 && !wanted->as_stored && matrix == &weights->head)
		return DTYPE_Q8;
	return type == DTYPE_BF16 && wanted->tiles ? DTYPE_BF16T : type;
}

/* Sums over the matrices counted so far. */
struct tally {
	const struct model_weights *weights;
	const struct model_config *config;
	const struct weights_wanted *wanted;
	struct weight_sizes *sizes;
	uint64_t elements[DTYPE_COUNT]; /* by the type that products meet */
	uint64_t kinds[DTYPE_COUNT];    /* bytes by the type loaded */
	uint64_t stored;                /* bytes of matrices in the file */
	uint64_t released;              /* of these, what conversion gives back */
};

/* Bytes of one matrix in the file, and as products read it. */
struct matrix_bytes {
	size_t stored, read;
};

static bool measure(const struct weight *matrix, enum dtype target, struct matrix_bytes *bytes)
{
	if (!dtype_bytes(matrix->type, (size_t)(matrix->n_out * matrix->n_in), &bytes->stored))
		return false;
	bytes->read = bytes->stored;
	return target == matrix->type || weight_bytes(target, matrix->n_out, matrix->n_in, &bytes->read);
}

static void count_product(struct tally *tally, const struct weight *matrix, enum dtype target,
                          const struct matrix_bytes *bytes)
{
	struct weight_sizes *sizes = tally->sizes;
	bool as_stored = tally->wanted->as_stored;
	enum dtype kind = as_stored ? matrix->type : tally->wanted->type;
	sizes->types |= UINT64_C(1) << target;
	sizes->product_bytes += bytes->read;
	sizes->head_bytes = matrix == &tally->weights->head ? bytes->read : sizes->head_bytes;
	tally->elements[target] += (uint64_t)(matrix->n_out * matrix->n_in);
	tally->kinds[kind] += as_stored ? bytes->stored : bytes->read;
	sizes->type = tally->elements[target] > tally->elements[sizes->type] ? target : sizes->type;
	sizes->kind = tally->kinds[kind] > tally->kinds[sizes->kind] ? kind : sizes->kind;
}

static bool count(struct tally *tally, const struct weight *matrix)
{
	enum dtype target = plan_weight_target(tally->weights, matrix, tally->wanted);
	bool converted = target != matrix->type;
	bool shared = tally->config->tie_word_embeddings && matrix == &tally->weights->head;
	struct matrix_bytes bytes;
	if (!measure(matrix, target, &bytes))
		return false;
	size_t made = tally->sizes->converted_bytes;
	if (converted && !checked_add(made, bytes.read, &made))
		return false;
	tally->sizes->converted_bytes = made;
	tally->stored += shared ? 0 : bytes.stored;
	tally->released += converted && !shared ? bytes.stored : 0;
	if (matrix != &tally->weights->embedding)
		count_product(tally, matrix, target, &bytes);
	return true;
}

bool plan_weight_sizes(const struct model_weights *weights, const struct model_config *config,
                       const struct weights_wanted *wanted, struct weight_sizes *sizes, struct error *error)
{
	struct tally tally = {.weights = weights, .config = config, .wanted = wanted, .sizes = sizes};
	bool ok = true;
	*sizes = (struct weight_sizes){0};
	for (int64_t layer = 0; layer < config->n_layers; layer++)
		for (int i = 0; i < M_COUNT; i++)
			ok = ok && count(&tally, &weights->layers[layer].matrix[i]);
	if (!ok || !count(&tally, &weights->head) || !count(&tally, &weights->embedding))
		return error_set(error, ERROR_MEMORY, "the model's matrices have more bytes than can be counted");
	sizes->mapped_bytes = (weights->file_bytes ? weights->file_bytes : tally.stored) - tally.released;
	return true;
}

struct weights_wanted model_wanted(const struct model_options *options, bool tiles)
{
	return (struct weights_wanted){.as_stored = options->weights_auto, .type = options->weights_type, .tiles = tiles};
}

bool model_weight_choices(const struct model_weights *weights, const struct model_config *config,
                          const struct model_options *options, struct weight_choices *choices, struct error *error)
{
	struct weights_wanted rows = model_wanted(options, false), tiles = model_wanted(options, true);
	return plan_weight_sizes(weights, config, &rows, &choices->rows, error) &&
	       plan_weight_sizes(weights, config, &tiles, &choices->tiles, error);
}
