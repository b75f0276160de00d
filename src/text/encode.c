/* Encoding: added tokens are cut out, what lies between is normalized, normalized added tokens are cut out, the rest is
 * pre-tokenized and each piece goes through the BPE. The template puts special tokens around it all.
 */
#include <stdatomic.h>
#include <string.h>

#include "base/log.h"
#include "text/template.h"
#include "text/token_ids.h"
#include "text/tokenizer_private.h"
#include "text/unicode.h"

struct encoding {
	const struct tokenizer *tokenizer;
	bool skip_special;
	bool continues; /* TOKENIZER_CONTINUES */
	struct token_ids *ids;
	struct normalizer_scratch normalizer;
	struct pretokenizer_scratch pretokenizer;
	struct bpe_scratch bpe;
	struct regex_clock clock; /* of all stages */

	/* Of a text that is marked; else empty. */
	const struct template_run *runs; /* [n_runs], of the whole text */
	size_t n_runs;
	size_t next_run;                          /* the first that does not end before the stretch at hand */
	bool maps_runs;                           /* some special token is looked for in normalized text */
	struct normalizer_scratch run_normalizer; /* for the next: */
	struct bytes normalized_runs;             /* struct template_run[], of the stretch at hand, normalized */
};

static bool encode_piece(void *context, const char *text, size_t n_bytes, struct error *error)
{
	struct encoding *encoding = context;
	return bpe_encode(&encoding->tokenizer->bpe, &encoding->bpe, text, n_bytes, encoding->ids, error);
}

/* For texts with others before them. Its steps are borrowed. */
static struct normalizer without_prepend(const struct normalizer *normalizer)
{
	struct normalizer inner = {0};
	for (int i = 0; i < normalizer->n_steps; i++)
		if (normalizer->steps[i].kind != NORMALIZER_PREPEND)
			inner.steps[inner.n_steps++] = normalizer->steps[i];
	return inner;
}

/* ---- who wrote what, after normalization ---- */

/* Appends a run of n_bytes behind the ones that are there. */
static void push_run(struct bytes *runs, size_t *at, size_t n_bytes, bool from_data)
{
	struct template_run run = {.start = *at, .end = *at + n_bytes, .from_data = from_data};
	bytes_append(runs, &run, sizeof run);
	*at = run.end;
}

/* Fills encoding->normalized_runs for the stretch [start, end) of the whole text, which `whole` is the normalized form of.
 * Each run is normalized alone; if the pieces do not make up the whole (a normalizer that looks across the border), all of it
 * counts as data. */
static bool map_runs(struct encoding *encoding, const char *text, size_t start, size_t end,
                     const struct text_run *whole, struct error *error)
{
	const struct normalizer *normalizer = &encoding->tokenizer->parts.normalizer;
	struct normalizer inner = without_prepend(normalizer);
	struct bytes *runs = &encoding->normalized_runs;
	size_t at = 0;
	bool same = true;
	bytes_clear(runs);
	while (encoding->next_run < encoding->n_runs && encoding->runs[encoding->next_run].end <= start)
		encoding->next_run++;
	for (size_t i = encoding->next_run; same && i < encoding->n_runs && encoding->runs[i].start < end; i++) {
		size_t from = encoding->runs[i].start > start ? encoding->runs[i].start : start;
		size_t to = encoding->runs[i].end < end ? encoding->runs[i].end : end;
		struct text_run piece = {.text = text + from, .n_bytes = to - from};
		if (!normalizer_apply(from == start ? normalizer : &inner, &encoding->run_normalizer, &piece, error))
			return false;
		same = piece.n_bytes <= whole->n_bytes - at &&
		       (piece.n_bytes == 0 || memcmp(piece.text, whole->text + at, piece.n_bytes) == 0);
		if (same)
			push_run(runs, &at, piece.n_bytes, encoding->runs[i].from_data);
	}
	if (!same || at < whole->n_bytes) {
		bytes_clear(runs);
		at = 0;
		push_run(runs, &at, whole->n_bytes, true);
	}
	return !runs->failed || error_set(error, ERROR_MEMORY, "not enough memory to encode the text");
}

/* ---- the pipeline ---- */

static bool encode_normalized(struct encoding *encoding, const struct text_run *run, struct error *error)
{
	const struct tokenizer *tokenizer = encoding->tokenizer;
	struct added_walk walk = {
	    .added = &tokenizer->added,
	    .trie = &tokenizer->added.normalized,
	    .skip_special = encoding->skip_special,
	    .runs = (const struct template_run *)encoding->normalized_runs.data,
	    .n_runs = encoding->normalized_runs.n_bytes / sizeof(struct template_run),
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
	    .runs = encoding->runs,
	    .n_runs = encoding->n_runs,
	    .text = text,
	    .n_bytes = n_bytes,
	};
	const struct normalizer *normalizer = &tokenizer->parts.normalizer;
	struct normalizer inner;
	const struct added_token *token;
	if (encoding->continues) {
		inner = without_prepend(normalizer);
		normalizer = &inner;
	}
	do {
		size_t start, end, length;
		token = added_walk_next(&walk, &start, &end);
		if (start < end) {
			struct text_run run = {.text = text + start, .n_bytes = end - start};
			if (start == 0 && !encoding->continues) {
				char_decode(text, &length);
				run.origin_bytes = length;
			}
			if (!normalizer_apply(normalizer, &encoding->normalizer, &run, error) ||
			    (encoding->maps_runs && !map_runs(encoding, text, start, end, &run, error)) ||
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

static bool encode(struct encoding *encoding, const char *text, size_t n_bytes, unsigned flags, struct error *error)
{
	size_t valid = unicode_valid_prefix(text, n_bytes);
	if (valid < n_bytes)
		return error_set(error, ERROR_INVALID_REQUEST, "the text is not valid UTF-8 at byte %zu", valid);
	size_t n_before = encoding->ids->n_ids;
	encoding->normalizer.clock = encoding->run_normalizer.clock = encoding->pretokenizer.clock = &encoding->clock;
	bool ok = encode_template(encoding, text, n_bytes, flags, error);
	if (!ok)
		encoding->ids->n_ids = n_before;
	normalizer_scratch_free(&encoding->normalizer);
	pretokenizer_scratch_free(&encoding->pretokenizer);
	bpe_scratch_free(&encoding->bpe);
	normalizer_scratch_free(&encoding->run_normalizer);
	bytes_free(&encoding->normalized_runs);
	return ok;
}

bool tokenizer_encode(const struct tokenizer *tokenizer, const char *text, size_t n_bytes, unsigned flags,
                      struct token_ids *ids, struct error *error)
{
	struct encoding encoding = {
	    .tokenizer = tokenizer,
	    .skip_special = !(flags & TOKENIZER_PARSE_SPECIAL) || tokenizer->parts.split_special,
	    .continues = flags & TOKENIZER_CONTINUES,
	    .ids = ids,
	    .bpe.no_special = !(flags & TOKENIZER_PARSE_SPECIAL),
	};
	return encode(&encoding, text, n_bytes, flags, error);
}

static bool has_normalized_special(const struct added_tokens *added)
{
	for (size_t i = 0; i < added->n_tokens; i++)
		if (added->tokens[i].special && added->tokens[i].normalized)
			return true;
	return false;
}

bool tokenizer_encode_marked(const struct tokenizer *tokenizer, const struct rendering *rendering,
                             struct token_ids *ids, struct error *error)
{
	struct encoding encoding = {
	    .tokenizer = tokenizer,
	    .skip_special = tokenizer->parts.split_special,
	    .ids = ids,
	    /* A special token that is text is never taken for its vocabulary entry; the template's are found before. */
	    .bpe.no_special = true,
	    .runs = rendering->runs,
	    .n_runs = rendering->n_runs,
	    .maps_runs = has_normalized_special(&tokenizer->added),
	};
	return encode(&encoding, rendering->text, rendering->n_bytes, TOKENIZER_PARSE_SPECIAL, error);
}
