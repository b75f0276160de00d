/* For the tests of the text layer: tokenizers out of strings, id lists out of golden files, comparing the two. */
#ifndef TALLOW_TESTS_TOKENIZER_CHECK_H
#define TALLOW_TESTS_TOKENIZER_CHECK_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "text/detokenizer.h"
#include "text/tokenizer.h"

enum { PLAIN = TOKENIZER_PARSE_SPECIAL, WITH_SPECIAL = TOKENIZER_PARSE_SPECIAL | TOKENIZER_ADD_SPECIAL, LITERAL = 0 };

static inline const char *write_temporary(const char *text, size_t n_bytes)
{
	static char path[64];
	strcpy(path, "/tmp/tallow-tokenizer-XXXXXX");
	int fd = mkstemp(path);
	assert_true(fd >= 0);
	assert_true(write(fd, text, n_bytes) == (ssize_t)n_bytes);
	close(fd);
	return path;
}

/* A tokenizer out of the text of its file; NULL with the error set. */
static inline struct tokenizer *tokenizer_of(const char *text, size_t n_bytes, struct error *error)
{
	const char *path = write_temporary(text, n_bytes);
	struct tokenizer *tokenizer = tokenizer_load(path, error);
	unlink(path);
	return tokenizer;
}

static inline struct json *golden_file(const char *path)
{
	struct error error = {0};
	struct json *document = json_parse_file(path, 64 << 20, NULL, &error);
	if (!document)
		fail_msg("%s", error.message);
	return document;
}

static inline void ids_of_json(const struct json *array, struct token_ids *ids)
{
	ids->capacity = json_count(array) + 1;
	ids->ids = calloc(ids->capacity, sizeof *ids->ids);
	assert_non_null(ids->ids);
	for (const struct json *value = json_first(array); value; value = json_next(value)) {
		int64_t id;
		assert_true(json_int64(value, &id));
		ids->ids[ids->n_ids++] = (int32_t)id;
	}
}

static inline bool same_ids(const struct token_ids *a, const struct token_ids *b)
{
	return a->n_ids == b->n_ids && (a->n_ids == 0 || !memcmp(a->ids, b->ids, a->n_ids * sizeof *a->ids));
}

/* Encodes and compares; reports the case by name. */
static inline void check_ids(const struct tokenizer *tokenizer, const char *text, size_t n_bytes, unsigned flags,
                             const struct json *expected, const char *name)
{
	struct token_ids ids = {0}, golden = {0};
	struct error error = {0};
	if (!tokenizer_encode(tokenizer, text, n_bytes, flags, &ids, &error))
		fail_msg("%s, flags %u, \"%s\": %s", name, flags, text, error.message);
	ids_of_json(expected, &golden);
	if (!same_ids(&ids, &golden)) {
		size_t at = 0;
		while (at < ids.n_ids && at < golden.n_ids && ids.ids[at] == golden.ids[at])
			at++;
		fail_msg("%s, flags %u, \"%s\": %zu ids, %zu expected; they differ from number %zu on", name, flags, text,
		         ids.n_ids, golden.n_ids, at);
	}
	token_ids_free(&ids);
	token_ids_free(&golden);
}

static inline void check_text(const struct bytes *got, const char *expected, size_t n_bytes, const char *name)
{
	assert_false(got->failed);
	if (got->n_bytes != n_bytes || (n_bytes && memcmp(got->data, expected, n_bytes) != 0))
		fail_msg("%s: decoded to \"%.*s\", not \"%.*s\"", name, (int)got->n_bytes, got->data ? got->data : "",
		         (int)n_bytes, expected);
}

/* Decodes at once; and, without special tokens, in a stream too. */
static inline void check_decoding(const struct tokenizer *tokenizer, const struct json *json_ids, bool skip_special,
                                  const char *expected, size_t n_bytes, const char *name)
{
	struct token_ids ids = {0};
	struct bytes text = {0}, streamed = {0};
	struct error error = {0};
	ids_of_json(json_ids, &ids);
	assert_true(tokenizer_decode(tokenizer, ids.ids, ids.n_ids, skip_special, &text, &error));
	check_text(&text, expected, n_bytes, name);
	if (skip_special) {
		struct detokenizer *detokenizer = detokenizer_create(tokenizer, NULL, 0, &error);
		assert_non_null(detokenizer);
		for (size_t i = 0; i < ids.n_ids; i++)
			detokenizer_push(detokenizer, ids.ids[i], &streamed);
		detokenizer_finish(detokenizer, &streamed);
		check_text(&streamed, expected, n_bytes, name);
		detokenizer_destroy(detokenizer);
	}
	bytes_free(&text);
	bytes_free(&streamed);
	token_ids_free(&ids);
}

#endif
