/* Vocabulary tables: one blob of text, one keyed hash, one array by id. */
#include "text/vocab.h"

#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/hash.h"

static size_t slot_of(const struct vocab *vocab, const char *text, size_t n_bytes)
{
	size_t mask = vocab->n_slots - 1;
	size_t slot = (size_t)hash_bytes(text, n_bytes) & mask;
	for (; vocab->slots[slot]; slot = (slot + 1) & mask) {
		const struct vocab_string *string = &vocab->strings[vocab->slots[slot] - 1];
		if (string->n_bytes == n_bytes && !memcmp(vocab->texts.data + string->offset, text, n_bytes))
			break;
	}
	return slot;
}

static bool grow_slots(struct vocab *vocab)
{
	if (vocab->n_strings * 2 < vocab->n_slots)
		return true;
	size_t n = vocab->n_slots ? vocab->n_slots * 2 : 256;
	uint32_t *old = vocab->slots, *slots = calloc(n, sizeof *slots);
	if (!slots)
		return false;
	vocab->slots = slots;
	vocab->n_slots = n;
	for (size_t i = 0; i < vocab->n_strings; i++) {
		const struct vocab_string *string = &vocab->strings[i];
		slots[slot_of(vocab, vocab->texts.data + string->offset, string->n_bytes)] = (uint32_t)i + 1;
	}
	free(old);
	return true;
}

static bool grow_strings(struct vocab *vocab)
{
	if (vocab->n_strings < vocab->max_strings)
		return true;
	size_t n = vocab->max_strings ? vocab->max_strings * 2 : 128, n_bytes;
	struct vocab_string *strings = checked_mul(n, sizeof *strings, &n_bytes) ? realloc(vocab->strings, n_bytes) : NULL;
	if (!strings)
		return false;
	vocab->strings = strings;
	vocab->max_strings = n;
	return true;
}

static bool grow_ids(struct vocab *vocab, size_t id)
{
	if (id < vocab->n_ids)
		return true;
	if (id >= vocab->max_ids) {
		size_t n = vocab->max_ids ? vocab->max_ids : 128;
		while (n <= id)
			n *= 2;
		uint32_t *by_id = realloc(vocab->by_id, n * sizeof *by_id);
		if (!by_id)
			return false;
		memset(by_id + vocab->max_ids, 0, (n - vocab->max_ids) * sizeof *by_id);
		vocab->by_id = by_id;
		vocab->max_ids = n;
	}
	vocab->n_ids = id + 1;
	return true;
}

bool vocab_add(struct vocab *vocab, const char *text, size_t n_bytes, int64_t id, struct error *error)
{
	if (id < 0 || id > VOCAB_MAX_ID)
		return error_set(error, ERROR_MODEL, "token id %lld is not within 0..%d", (long long)id, VOCAB_MAX_ID);
	if (n_bytes > UINT32_MAX / 2 || !grow_strings(vocab) || !grow_slots(vocab) || !grow_ids(vocab, (size_t)id))
		return error_set(error, ERROR_MEMORY, "not enough memory for the vocabulary");
	size_t slot = slot_of(vocab, text, n_bytes);
	if (!vocab->slots[slot]) {
		size_t offset = vocab->texts.n_bytes;
		bytes_append(&vocab->texts, text, n_bytes);
		if (vocab->texts.failed)
			return error_set(error, ERROR_MEMORY, "not enough memory for the vocabulary");
		vocab->strings[vocab->n_strings++] = (struct vocab_string){.offset = offset, .n_bytes = (uint32_t)n_bytes};
		vocab->slots[slot] = (uint32_t)vocab->n_strings;
	}
	vocab->strings[vocab->slots[slot] - 1].id = (int32_t)id;
	vocab->by_id[id] = vocab->slots[slot];
	if (n_bytes > vocab->longest_bytes)
		vocab->longest_bytes = (uint32_t)n_bytes;
	return true;
}

int32_t vocab_find(const struct vocab *vocab, const char *text, size_t n_bytes)
{
	if (!vocab->n_slots || n_bytes > vocab->longest_bytes)
		return -1;
	uint32_t index = vocab->slots[slot_of(vocab, text, n_bytes)];
	return index ? vocab->strings[index - 1].id : -1;
}

const char *vocab_text(const struct vocab *vocab, int32_t id, size_t *n_bytes)
{
	if (id < 0 || (size_t)id >= vocab->n_ids || !vocab->by_id[id])
		return NULL;
	const struct vocab_string *string = &vocab->strings[vocab->by_id[id] - 1];
	*n_bytes = string->n_bytes;
	return vocab->texts.data + string->offset;
}

size_t vocab_bytes(const struct vocab *vocab)
{
	return vocab->texts.capacity + vocab->max_strings * sizeof *vocab->strings + vocab->n_slots * sizeof *vocab->slots +
	       vocab->max_ids * sizeof *vocab->by_id;
}

void vocab_free(struct vocab *vocab)
{
	bytes_free(&vocab->texts);
	free(vocab->strings);
	free(vocab->slots);
	free(vocab->by_id);
	*vocab = (struct vocab){0};
}
