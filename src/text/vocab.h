/* Vocabulary: token strings (any bytes, NULs included) <-> ids.
 *
 * Ids may leave gaps. A string has one id; of strings that claim the same id, the last one is the id's text. Filled
 * while loading, read-only afterwards.
 */
#ifndef TALLOW_TEXT_VOCAB_H
#define TALLOW_TEXT_VOCAB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"

enum { VOCAB_MAX_ID = (1 << 22) - 1 }; /* bounds the tables that a file can ask for; published ones end below 300,000 */

struct vocab_string {
	size_t offset; /* in texts */
	uint32_t n_bytes;
	int32_t id;
};

struct vocab {
	struct bytes texts;
	struct vocab_string *strings; /* [n_strings], in the order they were added */
	size_t n_strings, max_strings;
	uint32_t *slots; /* [n_slots] open addressing: index into strings + 1 */
	size_t n_slots;
	uint32_t *by_id; /* [n_ids] index into strings + 1, 0 for a gap */
	size_t n_ids, max_ids;
	uint32_t longest_bytes;
};

/* Adds a string, or gives a known one a new id. */
bool vocab_add(struct vocab *vocab, const char *text, size_t n_bytes, int64_t id, struct error *error) MUST_USE;
int32_t vocab_find(const struct vocab *vocab, const char *text, size_t n_bytes); /* -1 when absent */
/* NULL for a gap; valid until the next add. */
const char *vocab_text(const struct vocab *vocab, int32_t id, size_t *n_bytes);
size_t vocab_bytes(const struct vocab *vocab);
void vocab_free(struct vocab *vocab);

#endif
