/* Looks for numbers that no model means. */
#include <inttypes.h>
#include <math.h>

#include "tensor/block.h"
#include "tensor/weight_file.h"

enum { PIECE_VALUES = 1024 }; /* a multiple of every block's */

/* Index of the first value that is not finite; n_values when all are. */
static size_t first_not_finite(const struct tensor *tensor, size_t n_values, float *value)
{
	float piece[PIECE_VALUES];
	size_t piece_bytes = 0;
	if (!dtype_bytes(tensor->type, PIECE_VALUES, &piece_bytes))
		return n_values;
	for (size_t at = 0; at < n_values; at += PIECE_VALUES) {
		size_t n = n_values - at < PIECE_VALUES ? n_values - at : PIECE_VALUES;
		block_dequantise(tensor->type, (const unsigned char *)tensor->data + at / PIECE_VALUES * piece_bytes, piece, n);
		for (size_t i = 0; i < n; i++)
			if (!isfinite(piece[i])) {
				*value = piece[i];
				return at + i;
			}
	}
	return n_values;
}

bool weight_file_check_finite(const struct weight_file *weights, struct error *error)
{
	const struct tensor *tensor;
	for (size_t i = 0; (tensor = weight_file_at(weights, i)); i++) {
		size_t n_values = 1;
		for (int dim = 0; dim < tensor->n_dims; dim++)
			n_values *= (size_t)tensor->dims[dim];
		float value = 0;
		size_t at = tensor->usable ? first_not_finite(tensor, n_values, &value) : n_values;
		if (at < n_values)
			return error_set(error, ERROR_MODEL, "%s: value %zu of tensor %s is %g, where every weight must be finite",
			                 tensor->file, at, tensor->name, (double)value);
	}
	return true;
}
