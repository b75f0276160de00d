/* What the fuzz targets share. A target is a file fuzz_NAME.c with LLVMFuzzerTestOneInput: it takes bytes for a file,
 * opens it through the functions that the worker uses, uses what it got, and frees it. What must hold, whatever the
 * bytes, is said with REQUIRE; memory errors, undefined behaviour, leaks, hangs and large allocations are noticed by
 * the sanitizers and libFuzzer.
 *
 * Formats of several files (shards, a config beside a tokenizer) are one input: its parts, with FUZZ_SEPARATOR between
 * them.
 */
#ifndef TALLOW_TESTS_FUZZ_H
#define TALLOW_TESTS_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/error.h"
#include "model/config.h"
#include "text/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);
/* libFuzzer's own mutations of a stretch of bytes; returns its new length. */
size_t LLVMFuzzerMutate(uint8_t *data, size_t n_bytes, size_t max_bytes);
/* A target that defines one of these is changed by it (json_mutator.c for those that take JSON). The second puts a piece
 * of one input into another, in `out`; it returns 0 when there was none. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t n_bytes, size_t max_bytes, unsigned seed);
size_t LLVMFuzzerCustomCrossOver(const uint8_t *first, size_t n_first, const uint8_t *second, size_t n_second,
                                 uint8_t *out, size_t max_bytes, unsigned seed);

#define REQUIRE(condition)                                                                                             \
	do {                                                                                                               \
		if (!(condition)) {                                                                                            \
			fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition);                             \
			abort();                                                                                                   \
		}                                                                                                              \
	} while (0)

#define FUZZ_SEPARATOR "\n=====\n"

/* An input begins: it may take FUZZ_CPU_SECONDS. libFuzzer's own limit is of wall time, which says nothing on a busy
 * machine. */
enum { FUZZ_CPU_SECONDS = 20 };
void fuzz_begin(void);

struct fuzz_part {
	const uint8_t *data; /* not NULL */
	size_t n_bytes;
};
/* Takes the part before the next separator off `rest`; false when nothing is left. An input has at least one part. */
bool fuzz_next_part(struct fuzz_part *rest, struct fuzz_part *part);

/* Files in a folder of this process in $TMPDIR (or /tmp); gone when it ends without a crash. */
const char *fuzz_folder(void);
const char *fuzz_path(const char *name); /* good until the next call */
void fuzz_write(const char *name, struct fuzz_part part);
void fuzz_remove(const char *name); /* it need not be there */

/* Of a refusal: the code that callers act on, and one printable line. */
void fuzz_check_error(const struct error *error);
/* Of a model's numbers, from either format: they agree, and what is computed of them is finite. */
void fuzz_check_config(const struct model_config *config);
/* Text to ids with every flag and back, at once and token by token. */
void fuzz_use_tokenizer(const struct tokenizer *tokenizer, const char *text, size_t n_bytes);
/* Reads every byte. */
void fuzz_read(const void *data, size_t n_bytes);

#endif
