/* Streaming detokeniser: ids in one by one, whole characters out.
 *
 *     struct detokenizer *d = detokenizer_create(tokenizer, prompt_ids, n_prompt, &error);
 *     detokenizer_push(d, id, &text);      // appends what is now certain, perhaps nothing
 *     detokenizer_finish(d, &text);        // nothing more comes: an incomplete character is dropped
 *     detokenizer_destroy(d);
 *
 * All pushes and the finish, joined, equal decode(prompt + output) minus decode(prompt) for valid UTF-8, so the space
 * before the first word is kept. A token that only begins a character gives nothing until the character is whole; bytes
 * that can no longer become one give U+FFFD as soon as that is known, as many as decode gives. Special tokens give no
 * text. Work per token does not grow with what was generated before. One thread.
 */
#ifndef TALLOW_TEXT_DETOKENIZER_H
#define TALLOW_TEXT_DETOKENIZER_H

#include "base/bytes.h"
#include "base/error.h"
#include "text/tokenizer.h"

struct detokenizer;

/* The tokenizer is borrowed until destroy; the prompt ids are only read here. ERROR_MEMORY; the decoder of a file may
 * give up, too (ERROR_INVALID_REQUEST). */
struct detokenizer *detokenizer_create(const struct tokenizer *tokenizer, const int32_t *prompt, size_t n_prompt,
                                       struct error *error) MUST_USE;
void detokenizer_destroy(struct detokenizer *detokenizer);
/* What a push appends at most, in bytes, when its token has up to 1024 bytes and the decoder only makes tokens shorter, as
 * those of published tokenizers do: with that much room in `out` a push allocates nothing. */
size_t detokenizer_push_bytes(const struct tokenizer *tokenizer);
/* out->failed is set when memory is short or the decoder gives up (a regular expression without end, say). */
void detokenizer_push(struct detokenizer *detokenizer, int32_t id, struct bytes *out);
/* True while finish could still append something, so that a caller may wait with what it sends. Never, with the
 * decoders that are supported: whatever is certain comes out at once, and what is not is dropped. */
bool detokenizer_holds(const struct detokenizer *detokenizer);
/* The spelling of a control token, which gives no text; NULL for other tokens. */
const char *detokenizer_control(const struct detokenizer *detokenizer, int32_t id, size_t *n_bytes);
void detokenizer_finish(struct detokenizer *detokenizer, struct bytes *out);

#endif
