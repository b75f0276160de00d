/* Tokenizers out of a GGUF file's metadata (tokenizer.ggml.*).
 *
 * Two models are read: "llama" (SentencePiece BPE: pieces with scores, bytes for what is unknown) and "gpt2" (byte-level
 * BPE with merges, cut into words as tokenizer.ggml.pre names it). Others, and names of pre-tokenizers that are not
 * known, are refused by name.
 */
#ifndef TALLOW_TEXT_TOKENIZER_GGUF_H
#define TALLOW_TEXT_TOKENIZER_GGUF_H

#include "tensor/gguf.h"
#include "text/tokenizer.h"

/* The file may be closed afterwards. Errors are ERROR_MODEL and name file and key. */
struct tokenizer *tokenizer_load_gguf(const struct gguf_file *gguf, struct error *error) MUST_USE;

/* Which of the two it is, from that key alone. ERROR_MODEL for others. */
bool tokenizer_gguf_kind(const struct gguf_file *gguf, bool *sentencepiece, struct error *error) MUST_USE;

/* The ids that end an answer, without repeats: those that eos_token_id, eot_token_id, eom_token_id and the list
 * eos_token_ids name, and the control tokens that are known as ends by their text ("<|eot_id|>", "<|im_end|>", ...),
 * because older files name only the end of the document. ERROR_MODEL for an id outside the vocabulary. */
bool tokenizer_gguf_end_ids(const struct gguf_file *gguf, int32_t ids[TOKENIZER_MAX_END_IDS], int *n_ids,
                            struct error *error) MUST_USE;

#endif
