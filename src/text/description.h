/* What a tokenizer is, whatever file it came from. A reader (tokenizer_json.c) fills a description, tokenizer_build
 * compiles it. All strings are valid UTF-8; those that are pointed to live in the description's arena.
 *
 * A reader of scores instead of merges (SentencePiece BPE) turns each way to split a token into two others into a merge
 * whose rank is the token's place in the order of scores: merges need not have distinct ranks.
 */
#ifndef TALLOW_TEXT_DESCRIPTION_H
#define TALLOW_TEXT_DESCRIPTION_H

#include "base/arena.h"
#include "text/added_tokens.h"
#include "text/bpe.h"
#include "text/decoder.h"
#include "text/normalizer.h"
#include "text/pretokenizer.h"
#include "text/tokenizer.h"
#include "text/vocab.h"

/* The text is encoded anew wherever it stands; published templates have it once. */
enum { TEMPLATE_TEXT = -1, TEMPLATE_MAX_ITEMS = 64, TEMPLATE_MAX_TEXTS = 2 };

struct tokenizer_description {
	struct arena arena;
	struct vocab vocab; /* the model's own; added tokens are apart */
	struct bpe_merge *merges;
	size_t n_merges;
	struct bpe_options bpe; /* unknown_id, byte_level and special are filled in by tokenizer_build */
	const char *unknown;    /* when bpe.has_unknown */
	size_t n_unknown;
	struct added_token *added; /* malloc'ed; description_add_token */
	size_t n_added, max_added;
	struct normalizer normalizer;
	struct pretokenizer pretokenizer;
	struct decoder decoder;
	int32_t template[TEMPLATE_MAX_ITEMS]; /* with special tokens: ids, and TEMPLATE_TEXT for the text itself */
	int n_template;
	const char *bos, *eos; /* names, or NULL */
	size_t n_bos, n_eos;
	int32_t end_ids[TOKENIZER_MAX_END_IDS]; /* tokenizer_build adds that of eos */
	int n_end_ids;
	bool rebuild_template; /* the template is [bos] text [eos], as the next two say */
	bool add_bos, add_eos;
	bool split_special; /* strings of special tokens are text, also where the caller would have them parsed */
};

/* Copies the token behind the others; its content has to live as long as the description. */
bool description_add_token(struct tokenizer_description *description, const struct added_token *token,
                           struct error *error) MUST_USE;

/* Takes everything over, also when it fails; the description is zeroed. */
struct tokenizer *tokenizer_build(struct tokenizer_description *description, struct error *error) MUST_USE;
void tokenizer_description_free(struct tokenizer_description *description);

/* Reads a tokenizer.json, and what stands beside it when `files` is not NULL (text/tokenizer_config.h). */
bool tokenizer_read_json(const char *path, const struct model_files *files, struct tokenizer_description *description,
                         struct error *error) MUST_USE;

#endif
