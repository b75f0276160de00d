/* Log-probabilities as OpenAI's two kinds of answers have them; they are the model's own (engine/sampler.h), and always
 * finite. A token is told by the text of its own bytes, those that are no whole characters as U+FFFD in a chat, and as
 * `bytes:\xE2\x80` in completions, where a token's text is a key.
 */
#ifndef TALLOW_SERVER_DIALECTS_OPENAI_LOGPROBS_H
#define TALLOW_SERVER_DIALECTS_OPENAI_LOGPROBS_H

#include "base/bytes.h"
#include "engine/engine.h"
#include "text/tokenizer.h"

/* ---- chat: items of `content`, one after the other ---- */

/* Appends `{"token","logprob","bytes","rank","top_logprobs":[...]}` of a token event that has some. */
void chat_logprobs_add(const struct tokenizer *tokenizer, const struct event *event, struct bytes *items);
/* `{"content":[...],"refusal":null}`. */
void chat_logprobs_write(const struct bytes *items, struct bytes *out);

/* ---- completions: lists side by side ---- */

enum { TEXT_LOGPROBS_LISTS = 5 };
/* lists: [TEXT_LOGPROBS_LISTS]; logprobs NULL: they are null; offset: characters of the text before the token. */
void text_logprobs_add(const struct tokenizer *tokenizer, int32_t token, const struct token_logprobs *logprobs,
                       int64_t offset, struct bytes *lists);
/* Characters that begin in an output's token, which the next one's offset tells in these lists. */
int64_t text_logprobs_characters(const struct tokenizer *tokenizer, int32_t token, struct bytes *lists);
/* `{"tokens":[...],"token_logprobs":[...],"top_logprobs":[...],"token_ranks":[...],"text_offset":[...]}`. */
void text_logprobs_write(const struct bytes *lists, struct bytes *out);

#endif
