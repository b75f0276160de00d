/* Encoding: added tokens are cut out, what lies between is normalized, normalized added tokens are cut out, the rest is
 * pre-tokenized and each piece goes through the BPE. The template puts special tokens around it all.
 */
#include <stdatomic.h>
#include <string.h>

#include "base/log.h"
#include "text/token_ids.h"
#include "text/tokenizer_private.h"
#include "text/unicode.h"

struct encoding {
	const struct tokenizer *tokenizer;
	bool skip_special;
	struct token_ids *ids;
	struct normalizer_scratch normalizer;
	struct pretokenizer_scratch pretokenizer;
	struct bpe_scratch bpe;
};

static bool encode_piece(void *context, const char *text, size_t n_bytes, struct error *error)
{
	struct encoding *encoding = context;
	return bpe_encode(&encoding->tokenizer->bpe, &encoding->bpe, text, n_bytes, encoding->ids, error);
}

static bool encode_normalized(struct encoding *encoding, const struct text_run *run, struct error *error)
{
	const struct tokenizer *tokenizer = encoding->tokenizer;
	struct added_walk walk = {
	    .added = &tokenizer->added,
	    .trie = &tokenizer->added.normalized,
	    .skip_special = encoding->skip_special,
	    .text = run->text,
	    .n_bytes = run->n_bytes,
	};
	const struct added_token *token;
	do {
		size_t start, end;
		token = added_walk_next(&walk, &start, &end);
		struct text_run part = {
		    .text = run->text + start,
		    .n_bytes = end - start,
		    .origin_bytes = run->origin_bytes > start ? run->origin_bytes - start : 0,
		};
		if (!pretokenizer_run(&tokenizer->parts.pretokenizer, &encoding->pretokenizer, &part, encode_piece, encoding,
		                      error))
			return false;
		if (token && !token_ids_append(encoding->ids, &token->id, 1, error))
			return false;
	} while (token);
	return true;
}

static bool encode_text(struct encoding *encoding, const char *text, size_t n_bytes, struct error *error)
{
	const struct tokenizer *tokenizer = encoding->tokenizer;
	struct added_walk walk = {
	    .added = &tokenizer->added,
	    .trie = &tokenizer->added.plain,
	    .skip_special = encoding->skip_special,
	    .text = text,
	    .n_bytes = n_bytes,
	};
	const struct added_token *token;
	do {
		size_t start, end, length;
		token = added_walk_next(&walk, &start, &end);
		if (start < end) {
			struct text_run run = {.text = text + start, .n_bytes = end - start};
			if (start == 0) {
				char_decode(text, &length);
				run.origin_bytes = length;
			}
			if (!normalizer_apply(&tokenizer->parts.normalizer, &encoding->normalizer, &run, error) ||
			    !encode_normalized(encoding, &run, error))
				return false;
		}
		if (token && !token_ids_append(encoding->ids, &token->id, 1, error))
			return false;
	} while (token);
	return true;
}

/* Takes one of two equal control tokens away that stand where the text begins, the template's and the text's own. */
static void join_beginnings(const struct encoding *encoding, size_t text_start)
{
	static atomic_flag told = ATOMIC_FLAG_INIT;
	struct token_ids *ids = encoding->ids;
	if (text_start >= ids->n_ids || ids->ids[text_start - 1] != ids->ids[text_start] ||
	    !encoding->tokenizer->special[ids->ids[text_start]])
		return;
	memmove(ids->ids + text_start, ids->ids + text_start + 1, (ids->n_ids - text_start - 1) * sizeof *ids->ids);
	ids->n_ids--;
	if (!atomic_flag_test_and_set(&told))
		log_message(LOG_WARN, "prompt",
		            "a prompt begins with the token that is put before every prompt; it gets one, not two (said once)");
}

static bool encode_template(struct encoding *encoding, const char *text, size_t n_bytes, unsigned flags,
                            struct error *error)
{
	const struct tokenizer_description *parts = &encoding->tokenizer->parts;
	bool add_special = flags & TOKENIZER_ADD_SPECIAL;
	for (int i = 0; i < parts->n_template; i++) {
		int32_t item = parts->template[i];
		size_t start = encoding->ids->n_ids;
		if (item == TEMPLATE_TEXT) {
			if (!encode_text(encoding, text, n_bytes, error))
				return false;
			if (i > 0 && parts->template[i - 1] != TEMPLATE_TEXT && add_special && (flags & TOKENIZER_PROMPT))
				join_beginnings(encoding, start);
		} else if (add_special && !token_ids_append(encoding->ids, &item, 1, error)) {
			return false;
		}
	}
	return true;
}

bool tokenizer_encode(const struct tokenizer *tokenizer, const char *text, size_t n_bytes, unsigned flags,
                      struct token_ids *ids, struct error *error)
{
	size_t valid = unicode_valid_prefix(text, n_bytes);
	if (valid < n_bytes)
		return error_set(error, ERROR_INVALID_REQUEST, "the text is not valid UTF-8 at byte %zu", valid);
	struct encoding encoding = {
	    .tokenizer = tokenizer,
	    .skip_special = !(flags & TOKENIZER_PARSE_SPECIAL) || tokenizer->parts.split_special,
	    .ids = ids,
	    .bpe.no_special = !(flags & TOKENIZER_PARSE_SPECIAL),
	};
	size_t n_before = ids->n_ids;
	bool ok = encode_template(&encoding, text, n_bytes, flags, error);
	if (!ok)
		ids->n_ids = n_before;
	normalizer_scratch_free(&encoding.normalizer);
	pretokenizer_scratch_free(&encoding.pretokenizer);
	bpe_scratch_free(&encoding.bpe);
	return ok;
}
