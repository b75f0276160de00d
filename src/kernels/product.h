/* How products are cut up: what matmul.c, which runs them, and the paths that have a file of their own share.
 *
 * A path is one way to multiply. Which one a span of rows takes depends on the weights' type and the span's phase, never on
 * the number of rows. A task is a block of columns of one weight for all spans, so that a weight is read from memory once,
 * and no sum is ever split between workers.
 */
#ifndef TALLOW_KERNELS_PRODUCT_H
#define TALLOW_KERNELS_PRODUCT_H

#include "base/checked.h"
#include "kernels/kernel_set.h"
#include "kernels/matmul.h"

/* Columns [first, first + n) of weight number `index`. */
struct columns {
	int index;
	int64_t first, n;
};

/* A product that is being run. */
struct product_path;
struct region {
	const struct kernels *kernels;
	const struct matmul_input *input;
	const struct weight *const *weights;
	const float *const *biases;
	float *const *outputs;
	int n_weights;
	size_t prepared_stride;              /* bytes */
	const struct product_path *paths[2]; /* by phase */
	const struct product_path *widest;   /* that cuts the columns; NULL: DOT_CHUNK of them are a task */
	bool widens;                         /* some span needs weights widened to f32, a block of columns at a time */
	struct {
		int n_rows;      /* of all spans that need packed weights */
		int n_blocks;    /* of 16 rows, of which these are some */
		int64_t columns; /* of a task that packs them */
	} panels;
};

/* A row of x, and where its prepared form goes. */
struct prepared_row {
	const struct kernels *kernels;
	enum dtype type; /* of the weights */
	const float *x;  /* [n_in] */
	int64_t n_in;
	unsigned char *out;
	size_t stride_bytes;    /* from row to row */
	int row;                /* of the buffer: rows that are interleaved share a block of 16 */
	enum quant_grain grain; /* for weights of few bits */
};

/* What a row's bits come from. Two paths of one kind give the same, so that a row's phase does not show. */
enum product_bits { BITS_DOT, BITS_SPLIT_DOT, BITS_BF16_DOT, BITS_QUANT, BITS_SGEMM, BITS_TILES };

struct product_path {
	const char *name;
	enum arithmetic arithmetic;
	enum product_bits bits;
	int tile_rows; /* 1: the bits depend on the row's values alone; else on its position modulo this, too */
	bool widens;   /* multiplies weights in f32 */
	/* Bytes of a row of n_in as the path wants it, and how it is made; NULL: x as it is. */
	size_t (*row_bytes)(int64_t n_in);
	void (*prepare)(const struct prepared_row *row);
	/* Looks at the spans once, before any task; NULL: no need. */
	void (*begin)(struct region *region);
	/* Columns of this weight that are a task; NULL: any number will do. */
	int64_t (*columns)(const struct region *region, const struct weight *weight);
	/* One of the two multiplies columns of a weight: a span of rows, `widened` being the columns in f32 if the path wants
	 * them; or all spans of the path at once, with the worker's scratch. */
	void (*multiply)(const struct region *region, const struct row_span *span, struct columns columns,
	                 const float *widened);
	void (*multiply_all)(const struct region *region, struct columns columns, void *scratch);
};

/* The path of spans in this phase; never NULL. */
const struct product_path *product_path(const struct kernels *kernels, enum dtype type, enum row_phase phase);

static inline const void *prepared_at(const struct region *region, int row)
{
	return (const unsigned char *)region->input->prepared + (size_t)row * region->prepared_stride;
}

static inline float *output_at(const struct region *region, struct columns columns, int row)
{
	return region->outputs[columns.index] + (int64_t)row * region->weights[columns.index]->n_out + columns.first;
}

/* Prepared rows are one vector or group longer than they need to be, so that they do not all start at the same place of
 * the L1 cache when n_in is a power of two. */
static inline size_t bf16_row_bytes(int64_t n_in)
{
	return (round_up((size_t)n_in, BF16_PAD) + BF16_PAD) * sizeof(uint16_t);
}

static inline size_t split_row_bytes(int64_t n_in)
{
	return (round_up((size_t)n_in, SPLIT_STEP) + SPLIT_STEP) * sizeof(float);
}

/* ---- amx_panels.c ---- */

void amx_prepare_few(const struct prepared_row *row);
void amx_prepare_many(const struct prepared_row *row);
void amx_begin(struct region *region);
int64_t amx_columns(const struct region *region, const struct weight *weight);
void amx_multiply_span(const struct region *region, const struct row_span *span, struct columns columns,
                       const float *widened);
void amx_multiply_spans(const struct region *region, struct columns columns, void *scratch);
/* Scratch of a worker for products with rows of at most max_n_in. */
size_t amx_worker_bytes(int64_t max_n_in);

#endif
