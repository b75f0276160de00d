/* POST /v1/embeddings as OpenAI has it, and /api/embed and /api/embeddings as Ollama has them: the body as a checked
 * struct, and the answer, which grows vector by vector. */
#ifndef TALLOW_SERVER_DIALECTS_OPENAI_EMBEDDINGS_H
#define TALLOW_SERVER_DIALECTS_OPENAI_EMBEDDINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/json.h"
#include "server/dialects/fields.h"

enum embeddings_form {
	EMBEDDINGS_OPENAI,
	EMBEDDINGS_OLLAMA,
	EMBEDDINGS_OLLAMA_ONE, /* /api/embeddings, the older one: a `prompt`, and its vector alone */
};

/* One text, or its tokens. */
struct embeddings_input {
	const char *text; /* [n_bytes], borrowed from the document; NULL: tokens */
	size_t n_bytes;
	int32_t *ids; /* [n_ids] */
	size_t n_ids;
};

enum { EMBEDDINGS_MAX_INPUTS = 2048, EMBEDDINGS_MAX_NUMBERS = 4 << 20 /* of one answer */ };

struct embeddings_asked {
	enum embeddings_form form;
	const char *model;               /* borrowed; NULL: any */
	struct embeddings_input *inputs; /* [n_inputs] */
	size_t n_inputs;
	bool base64;
	int64_t dimensions; /* of each vector, 1 to embedding_size */
};

/* The field that has the texts. */
const char *embeddings_field(enum embeddings_form form);

/* Checks a body; false with bad fields in `check`, or with *error when memory is short. embeddings_free after either. */
bool embeddings_parse(struct field_checker *check, enum embeddings_form form, int64_t vocab_size,
                      int64_t embedding_size, struct embeddings_asked *asked, struct error *error) MUST_USE;
void embeddings_free(struct embeddings_asked *asked);

/* The answer: begin, one vector for each input in order, end. A vector [embedding_size] of unit length is cut to the
 * dimensions asked for and brought to unit length again. */
void embeddings_begin(struct bytes *out, const struct embeddings_asked *asked);
void embeddings_add(struct bytes *out, const struct embeddings_asked *asked, size_t index, const float *vector);
void embeddings_end(struct bytes *out, const struct embeddings_asked *asked, const char *model, int64_t n_tokens,
                    int64_t duration_ns);

#endif
