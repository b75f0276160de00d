/* Matrix products: rows of activations times a group of weights that share them.
 *
 *     struct matmul_input in;                      // step memory, sized by matmul_input_bytes
 *     matmul_input_prepare(kernels, pool, &in);    // once: q, k and v (or gate and up) share it
 *     matmul_run(kernels, pool, &in, weights, outputs, n);
 *
 * Rows come in spans. A decode span's rows are of any sequences: each goes through the row kernels. A prefill span
 * is a run of positions of one sequence that starts at a multiple of `matmul_tile_rows` of its positions.
 *
 * Same bits. A row's result depends on its own values, the weight, the phase of its span and, within a prefill span, on
 * its position modulo the tile; never on what other rows are in the batch, on threads, or on how a prompt was sliced at
 * tile borders. Kernels of our own reduce along K in one fixed order, whatever the phase. OpenBLAS, which does prefill
 * where it is faster (in the AVX2 set, of what is neither bf16 nor repacked), promises less (a row's bits change with its
 * index in the panel and with the number
 * of rows), so its products use one fixed tile: matmul_tile_rows rows, the last one of a prompt rounded up to a multiple of
 * MATMUL_ROW_PAD, and a fixed split of the columns. Rows that pad a tile are computed and thrown away: a prefill span
 * owns its rows rounded up to MATMUL_ROW_PAD in every buffer, whatever they hold.
 */
#ifndef TALLOW_KERNELS_MATMUL_H
#define TALLOW_KERNELS_MATMUL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/pool.h"
#include "tensor/dtype.h"

enum { MATMUL_ROW_PAD = 16, MATMUL_MAX_GROUP = 4 };

enum weight_layout {
	LAYOUT_ROWS,        /* row-major, as SafeTensors files lie; unaligned */
	LAYOUT_INTERLEAVED, /* made at load by weight_convert: rows interleaved so that one vector lane is one output */
};

/* A view: borrows its data. */
struct weight {
	enum dtype type;
	enum weight_layout layout;
	int64_t n_out;      /* rows of the matrix = outputs */
	int64_t n_in;       /* columns = inputs */
	const void *data;   /* LAYOUT_ROWS: [n_out, n_in] of type, aligned to nothing */
	const void *scales; /* NULL where the type has none or they lie inside data */
};

enum row_phase { ROWS_DECODE, ROWS_PREFILL };

struct row_span {
	int first; /* row in every activation buffer; prefill: a multiple of MATMUL_ROW_PAD */
	int n_rows;
	enum row_phase phase;
};

struct kernels;

/* How much the rounding of an input to few bits matters. */
enum matmul_care {
	CARE_USUAL,
	CARE_MORE,   /* COMPUTE_AUTO keeps more of it where all would take too long */
	CARE_ALWAYS, /* fine whatever the compute */
};

struct matmul_input {
	const struct row_span *spans; /* [n_spans], ascending, not overlapping */
	int n_spans;
	int n_rows; /* rows of the buffers that any span reaches, padding included */
	int64_t n_in;
	const float *x;  /* [n_rows, n_in], dense; aligned to 64 bytes */
	enum dtype type; /* weight type it is prepared for */
	enum matmul_care care;
	void *prepared; /* matmul_input_bytes(...) aligned to 64; what it holds is the kernels' business */
};

/* Rows per prefill tile for this weight type: slices and cache hits start at multiples of it. A power of two; 1 where
 * kernels of our own do prefill, too: any row may then start a slice. */
int matmul_tile_rows(const struct kernels *kernels, enum dtype type);
/* Takes what OpenBLAS wants at its first product in each of n_threads threads: it knows no failure and would try again for
 * ever. For models of a type whose tile has more than one row. ERROR_MEMORY. */
bool matmul_reserve(int n_threads, struct error *error) MUST_USE;
/* True when a row's bits do not depend on its phase either, so that prefill and decode rows are interchangeable. */
bool matmul_phase_invariant(const struct kernels *kernels, enum dtype type);
/* True when bf16 weights are multiplied faster from tiles (DTYPE_BF16T) than where they lie. */
bool matmul_prefers_tiles(const struct kernels *kernels);
/* Which instructions do the work of a product. */
enum arithmetic { ARITHMETIC_F32, ARITHMETIC_BF16, ARITHMETIC_INT8, ARITHMETIC_TILES, ARITHMETIC_COUNT };
enum arithmetic matmul_arithmetic(const struct kernels *kernels, enum dtype type, enum row_phase phase);
/* Bytes of `prepared` for at most n_rows rows of n_in; 0 where products read x itself. */
size_t matmul_input_bytes(const struct kernels *kernels, enum dtype type, int n_rows, int64_t n_in);
/* Fills `prepared` from x: rounded, widened or laid out as the products of `type` read it. Cannot fail. */
void matmul_input_prepare(const struct kernels *kernels, struct pool *pool, struct matmul_input *input);

/* outputs[i][row * weights[i]->n_out + column] for every row of every span (and padding rows of prefill spans).
 * All weights of the group have the input's n_in; types may differ only if `type` of the input serves them all.
 * biases[i] ([n_out]) is added when biases and biases[i] are not NULL. */
void matmul_run(const struct kernels *kernels, struct pool *pool, const struct matmul_input *input,
                const struct weight *const *weights, const float *const *biases, float *const *outputs, int n_weights);

/* Appends the name and version of the BLAS that is linked. */
struct bytes;
void kernels_library_version(struct bytes *out);

#endif
