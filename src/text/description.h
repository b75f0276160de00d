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

enum { TEMPLATE_TEXT = -1, TEMPLATE_MAX_ITEMS = 64 };

struct tokenizer_description {
	struct arena arena;
	struct vocab vocab; /* the model's own; added tokens are apart */
	struct bpe_merge *merges;
	size_t n_merges;
	struct bpe_options bpe; /* unknown_id, byte_level and special are filled in by tokenizer_build */
	const char *unknown;    /* when bpe.has_unknown */
	size_t n_unknown;
	struct added_token *added; /* malloc'ed */
	size_t n_added;
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
};

/* Takes everything over, also when it fails; the description is zeroed. */
struct tokenizer *tokenizer_build(struct tokenizer_description *description, struct error *error) MUST_USE;
void tokenizer_description_free(struct tokenizer_description *description);

/* Readers. `config_path` is a tokenizer_config.json or NULL. */
bool tokenizer_read_json(const char *path, const char *config_path, struct tokenizer_description *description,
                         struct error *error) MUST_USE;
/* tokenizer_config.json alone: names of bos and eos, and who adds them. In tokenizer_config.c. */
bool tokenizer_read_config(const char *path, struct tokenizer_description *description, struct error *error) MUST_USE;

#endif
