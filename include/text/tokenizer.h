/* Tokenizer: text <-> ids, identical to Hugging Face `tokenizers` for the schemes it supports (BPE, with byte fallback
 * or byte level); others are refused by name.
 *
 * The core (vocabulary, merges, pipeline stages) does not know which file it came from: a reader (tokenizer.json, GGUF)
 * fills a description and the core compiles it. Immutable after load; any number of threads may encode at once.
 *
 *     struct tokenizer *t = tokenizer_load("models/tiny", &error);
 *     struct token_ids ids = {0};
 *     tokenizer_encode(t, text, n, TOKENIZER_ADD_SPECIAL | TOKENIZER_PARSE_SPECIAL, &ids, &error);
 *     token_ids_free(&ids);
 */
#ifndef TALLOW_TEXT_TOKENIZER_H
#define TALLOW_TEXT_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"

struct model_files;
struct rendering; /* text/template.h */
struct tokenizer;

struct token_ids {
	int32_t *ids;
	size_t n_ids;
	size_t capacity;
};
void token_ids_free(struct token_ids *ids); /* leaves a zeroed struct */

enum tokenizer_flags {
	TOKENIZER_ADD_SPECIAL = 1,   /* BOS/EOS as the post-processor and add_bos_token/add_eos_token say */
	TOKENIZER_PARSE_SPECIAL = 2, /* special-token strings in the text become their ids; without it they stay text
	                              * (added tokens that are not special are found either way) */
	TOKENIZER_PROMPT = 4,        /* a text that begins with the token that would be put before it gets no second one, as
	                              * chat templates write BOS themselves; AutoTokenizer gives two. Logged once */
	TOKENIZER_CONTINUES = 8,     /* the text goes on from another: no space is put before its first word */
};

/* From tokenizer.json and, when it is there, tokenizer_config.json; or from a GGUF model's vocabulary
 * (text/tokenizer_gguf.h). Untrusted; errors are ERROR_MODEL and name file and field. `files` may be closed afterwards.
 * Caller destroys. */
struct tokenizer *tokenizer_read(const struct model_files *files, struct error *error) MUST_USE;
/* The same for a path (tensor/model_files.h) of which nothing else is read. */
struct tokenizer *tokenizer_load(const char *path, struct error *error) MUST_USE;
void tokenizer_destroy(struct tokenizer *tokenizer); /* NULL is harmless */

/* Appends the ids of `text` (UTF-8, may hold NUL; invalid UTF-8 is ERROR_INVALID_REQUEST). Time is near linear in
 * n_bytes whatever the text; a tokenizer's regular expression that backtracks without end is an error. On failure `ids`
 * is as it was. */
bool tokenizer_encode(const struct tokenizer *tokenizer, const char *text, size_t n_bytes, unsigned flags,
                      struct token_ids *ids, struct error *error) MUST_USE;

/* The same for a rendered chat: TOKENIZER_PARSE_SPECIAL, but the string of a special token is one only where no byte of it
 * came from data (rendering->runs); all else, ordinary merges across such borders included, is as without runs. Nothing is
 * put around the text: templates write BOS themselves. Where a normalizer joins characters across a border, special tokens
 * that are looked for in normalized text stay text as far as the stretch between others goes. */
bool tokenizer_encode_marked(const struct tokenizer *tokenizer, const struct rendering *rendering,
                             struct token_ids *ids, struct error *error) MUST_USE;

/* Appends the text of all ids at once, as Hugging Face's decode(skip_special_tokens=...) without clean-up of spaces. Bytes
 * that are no valid UTF-8 become U+FFFD: with byte level one for each longest beginning of a character, else one for each
 * byte (the reference shows whole characters between such bytes as U+FFFD, too, which a stream could not). Ids outside the
 * vocabulary are ERROR_INVALID_REQUEST. */
bool tokenizer_decode(const struct tokenizer *tokenizer, const int32_t *ids, size_t n_ids, bool skip_special,
                      struct bytes *out, struct error *error) MUST_USE;

int32_t tokenizer_vocab_size(const struct tokenizer *tokenizer); /* highest id + 1, added tokens included */
const char *tokenizer_kind(const struct tokenizer *tokenizer);   /* "bpe-byte-fallback", "bpe-byte-level", "bpe" */
bool tokenizer_is_special(const struct tokenizer *tokenizer, int32_t id);
/* The token's own spelling in the vocabulary ("▁the", "<0x0A>"); NULL when there is none. */
const char *tokenizer_token_text(const struct tokenizer *tokenizer, int32_t id, size_t *n_bytes);
/* Appends the bytes that the token stands for in the middle of a text: those of " the" for "▁the", one byte for "<0x0A>";
 * they need not be whole characters. A control token's are its spelling; an id that is no token has none. out->failed as in
 * detokenizer_push. */
void tokenizer_token_bytes(const struct tokenizer *tokenizer, int32_t id, struct bytes *out);
/* Id of exactly this token string, or -1. */
int32_t tokenizer_find(const struct tokenizer *tokenizer, const char *text, size_t n_bytes);
enum { TOKENIZER_MAX_END_IDS = 16 };
/* bos/eos named by tokenizer_config.json or the GGUF file; -1 when it names none. */
int32_t tokenizer_bos_id(const struct tokenizer *tokenizer);
int32_t tokenizer_eos_id(const struct tokenizer *tokenizer);
/* Every id that the file says ends an answer: eos, and a GGUF file's others. Borrowed. */
const int32_t *tokenizer_end_ids(const struct tokenizer *tokenizer, int *n_ids);
/* Resident bytes it owns, for the memory plan. */
size_t tokenizer_bytes(const struct tokenizer *tokenizer);

/* Appends the names and versions of the libraries that this layer uses. */
struct bytes;
void text_library_versions(struct bytes *out);

#endif
