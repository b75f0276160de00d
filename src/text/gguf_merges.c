/* Merges of a GGUF vocabulary: listed, or made of the scores.
 *
 * SentencePiece merges the pair whose concatenation is the piece of the highest score, the leftmost of equals. As a list
 * of merges that is: every way to split a normal piece into two normal pieces, with the place of the whole's score in
 * the order of scores as its rank.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "text/gguf_vocabulary.h"
#include "text/unicode.h"

static bool out_of_memory(struct error *error)
{
	return error_set(error, ERROR_MEMORY, "not enough memory for the merges");
}

/* ---- listed ---- */

static bool read_merge(const struct vocab *vocab, const char *text, size_t n_bytes, size_t index, struct bytes *joined,
                       struct bpe_merge *merge, struct error *error)
{
	const char *space = n_bytes > 1 ? memchr(text + 1, ' ', n_bytes - 1) : NULL;
	size_t n_left = space ? (size_t)(space - text) : 0, n_right = space ? n_bytes - n_left - 1 : 0;
	if (n_right == 0 || memchr(space + 1, ' ', n_right))
		return error_set(error, ERROR_MODEL, "tokenizer.ggml.merges[%zu] is not two tokens with a space between them",
		                 index);
	bytes_clear(joined);
	bytes_append(joined, text, n_left);
	bytes_append(joined, space + 1, n_right);
	if (joined->failed)
		return out_of_memory(error);
	*merge = (struct bpe_merge){.left = vocab_find(vocab, text, n_left),
	                            .right = vocab_find(vocab, space + 1, n_right),
	                            .merged = vocab_find(vocab, joined->data, joined->n_bytes),
	                            .rank = (uint32_t)index};
	const char *absent = merge->left < 0     ? "its left half"
	                     : merge->right < 0  ? "its right half"
	                     : merge->merged < 0 ? "the token it makes"
	                                         : NULL;
	return !absent || error_set(error, ERROR_MODEL, "tokenizer.ggml.merges[%zu]: %s is not in tokenizer.ggml.tokens",
	                            index, absent);
}

bool gguf_merges_of_list(const struct gguf_value *merges, struct tokenizer_description *out, struct error *error)
{
	size_t n_bytes;
	const unsigned char *cursor = merges->data;
	struct bytes joined = {0};
	bool ok = merges->n_items < UINT32_MAX && checked_mul(merges->n_items + 1, sizeof *out->merges, &n_bytes) &&
	          (out->merges = malloc(n_bytes)) != NULL;
	if (!ok)
		return out_of_memory(error);
	for (size_t i = 0; ok && i < merges->n_items; i++) {
		size_t n_text;
		const char *text = gguf_next_string(merges, &cursor, &n_text);
		ok = read_merge(&out->vocab, text, n_text, i, &joined, &out->merges[out->n_merges++], error);
	}
	bytes_free(&joined);
	return ok;
}

/* ---- of scores ---- */

/* Looking up every split hashes a piece as often as it has characters: bounds the work that a file can ask for, to some
 * seconds. Published vocabularies need less than a hundredth. */
static const uint64_t max_hashed_bytes = UINT64_C(1) << 32;

/* Merges that scores may make, for each token and on top: a token of n characters can be split in n - 1 ways, and of a
 * vocabulary that holds all parts of its tokens each split is a merge. Published vocabularies make some 2 of a token. */
enum { MAX_MERGES_PER_TOKEN = 8, MAX_MERGES_EXTRA = 1 << 16 };

struct scored {
	double score;
	int32_t id;
};

static int by_score(const void *left, const void *right)
{
	const struct scored *a = left, *b = right;
	return a->score > b->score ? -1 : a->score < b->score;
}

static bool is_blank(const char *text, size_t n_bytes)
{
	static const char bar[] = "\xE2\x96\x81";
	size_t at = 0;
	while (at + 3 <= n_bytes && memcmp(text + at, bar, 3) == 0)
		at += 3;
	return at == n_bytes;
}

/* Converters that find no scores write one number for all pieces. SentencePiece lists pieces in the order of their scores,
 * so their ids do as well; but for runs of spaces, which Llama 2's vocabulary (Mistral's and Phi-3's, too) has at its
 * beginning with scores below all others. */
static void replace_equal_scores(const struct vocab *vocab, struct scored *list, size_t n)
{
	for (size_t i = 1; i < n; i++)
		if (list[i].score != list[0].score)
			return;
	for (size_t i = 0; i < n; i++) {
		size_t n_bytes;
		const char *text = vocab_text(vocab, list[i].id, &n_bytes);
		list[i].score = -(double)list[i].id - (is_blank(text, n_bytes) ? (double)INT32_MAX : 0);
	}
}

static bool list_scores(const struct gguf_vocabulary *vocabulary, const struct vocab *vocab, struct scored **out,
                        size_t *n_out, struct error *error)
{
	const struct gguf_value *scores;
	if (!gguf_array(vocabulary->gguf, "tokenizer.ggml.scores", GGUF_F32, &scores, error))
		return false;
	if (!scores)
		return error_set(error, ERROR_MODEL, "neither tokenizer.ggml.scores nor tokenizer.ggml.merges is there");
	if (scores->n_items != vocabulary->n_tokens)
		return error_set(error, ERROR_MODEL, "tokenizer.ggml.scores has %zu items, tokenizer.ggml.tokens %zu",
		                 scores->n_items, vocabulary->n_tokens);
	struct scored *list = malloc(vocabulary->n_tokens * sizeof *list);
	if (!list)
		return out_of_memory(error);
	*out = list;
	*n_out = 0;
	for (size_t i = 0; i < vocabulary->n_tokens; i++) {
		struct scored scored = {.score = gguf_item_f64(scores, i), .id = (int32_t)i};
		if (!isfinite(scored.score))
			return error_set(error, ERROR_MODEL, "tokenizer.ggml.scores[%zu] is not a finite number", i);
		if (gguf_token_type(vocabulary, i) == GGUF_TOKEN_NORMAL)
			list[(*n_out)++] = scored;
	}
	replace_equal_scores(vocab, list, *n_out);
	qsort(list, *n_out, sizeof *list, by_score);
	return true;
}

static bool add_merge(struct tokenizer_description *out, size_t *capacity, const struct bpe_merge *merge,
                      struct error *error)
{
	size_t most = out->vocab.n_strings * MAX_MERGES_PER_TOKEN + MAX_MERGES_EXTRA; /* ids end below 2^22 */
	if (out->n_merges == most)
		return error_set(error, ERROR_MODEL,
		                 "tokenizer.ggml.tokens: %zu tokens can be put together of others in more than %zu ways",
		                 out->vocab.n_strings, most);
	if (out->n_merges == *capacity) {
		size_t n = *capacity ? 2 * *capacity : 1024, n_bytes;
		struct bpe_merge *merges = checked_mul(n, sizeof *merges, &n_bytes) ? realloc(out->merges, n_bytes) : NULL;
		if (!merges)
			return out_of_memory(error);
		out->merges = merges;
		*capacity = n;
	}
	out->merges[out->n_merges++] = *merge;
	return true;
}

/* The id of a normal piece, or -1. */
static int32_t find_normal(const struct gguf_vocabulary *vocabulary, const struct vocab *vocab, const char *text,
                           size_t n_bytes)
{
	int32_t id = vocab_find(vocab, text, n_bytes);
	return id >= 0 && gguf_token_type(vocabulary, (size_t)id) == GGUF_TOKEN_NORMAL ? id : -1;
}

static bool add_splits(const struct gguf_vocabulary *vocabulary, struct tokenizer_description *out, int32_t id,
                       uint32_t rank, size_t *capacity, struct error *error)
{
	size_t n_bytes;
	const char *text = vocab_text(&out->vocab, id, &n_bytes);
	if (unicode_valid_prefix(text, n_bytes) < n_bytes)
		return error_set(error, ERROR_MODEL, "tokenizer.ggml.tokens[%d] is not valid UTF-8", id);
	for (size_t at = 0; at < n_bytes;) {
		at += char_length((unsigned char)text[at]);
		if (at == n_bytes)
			break;
		struct bpe_merge merge = {.merged = id, .rank = rank};
		merge.left = find_normal(vocabulary, &out->vocab, text, at);
		if (merge.left < 0)
			continue;
		merge.right = find_normal(vocabulary, &out->vocab, text + at, n_bytes - at);
		if (merge.right >= 0 && !add_merge(out, capacity, &merge, error))
			return false;
	}
	return true;
}

static bool check_work(const struct vocab *vocab, struct error *error)
{
	uint64_t n_hashed = 0;
	for (size_t i = 0; i < vocab->n_strings; i++) {
		uint64_t n = vocab->strings[i].n_bytes;
		n_hashed += n * n; /* n < 2^31, and the sum is checked each time */
		if (n_hashed > max_hashed_bytes)
			return error_set(error, ERROR_MODEL,
			                 "tokenizer.ggml.tokens: the pieces are too long to look for their parts (the last one "
			                 "that could be is %d, of %zu bytes)",
			                 vocab->strings[i].id, (size_t)n);
	}
	return true;
}

bool gguf_merges_of_scores(const struct gguf_vocabulary *vocabulary, struct tokenizer_description *out,
                           struct error *error)
{
	struct scored *list = NULL;
	size_t n_list = 0, capacity = 0;
	bool ok = check_work(&out->vocab, error) && list_scores(vocabulary, &out->vocab, &list, &n_list, error);
	uint32_t rank = 0;
	for (size_t i = 0; ok && i < n_list; i++) {
		rank += i > 0 && list[i].score != list[i - 1].score;
		ok = add_splits(vocabulary, out, list[i].id, rank, &capacity, error);
	}
	free(list);
	return ok;
}
