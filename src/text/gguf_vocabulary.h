/* What the files that read GGUF vocabularies share. */
#ifndef TALLOW_TEXT_GGUF_VOCABULARY_H
#define TALLOW_TEXT_GGUF_VOCABULARY_H

#include "tensor/gguf.h"
#include "text/description.h"

enum gguf_token_type { /* numbers of the format */
	                   GGUF_TOKEN_UNDEFINED,
	                   GGUF_TOKEN_NORMAL,
	                   GGUF_TOKEN_UNKNOWN,
	                   GGUF_TOKEN_CONTROL,
	                   GGUF_TOKEN_USER_DEFINED,
	                   GGUF_TOKEN_UNUSED,
	                   GGUF_TOKEN_BYTE,
	                   GGUF_TOKEN_TYPE_COUNT
};

struct gguf_vocabulary {
	const struct gguf_file *gguf;
	size_t n_tokens;
	const struct gguf_value *types; /* NULL: all are normal */
};
enum gguf_token_type gguf_token_type(const struct gguf_vocabulary *vocabulary, size_t id);

/* Merges out of scores or out of tokenizer.ggml.merges. In gguf_merges.c. */
bool gguf_merges_of_scores(const struct gguf_vocabulary *vocabulary, struct tokenizer_description *out,
                           struct error *error) MUST_USE;
bool gguf_merges_of_list(const struct gguf_value *merges, struct tokenizer_description *out,
                         struct error *error) MUST_USE;

/* How a name of tokenizer.ggml.pre cuts text: fills normalizer, pretokenizer and bpe.ignore_merges. *add_bos is set
 * when tokenizers of that name begin with BOS unless the file says otherwise. In gguf_pretokenizer.c. */
bool gguf_pretokenizer(const char *name, size_t n_name, struct tokenizer_description *out, bool *add_bos,
                       struct error *error) MUST_USE;

#endif
