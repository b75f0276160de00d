/* Tries of the added tokens, and the rules by which a match counts. */
#include "text/added_tokens.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "text/template.h"
#include "text/unicode.h"

static const struct error no_memory = {.code = ERROR_MEMORY, .message = "not enough memory for the added tokens"};

/* The longest token that begins at the walk's place, of special ones the longest with at most n_trusted bytes; -1. */
static int32_t trie_longest(const struct added_walk *walk, size_t n_trusted, size_t *length)
{
	const struct trie *trie = walk->trie;
	const char *text = walk->text + walk->at;
	size_t n_bytes = walk->n_bytes - walk->at, at = 0;
	int32_t found = -1;
	for (uint32_t node = trie->roots[(unsigned char)text[0]]; node;
	     node = trie_child(trie, node, (unsigned char)text[at])) {
		const struct trie_node *reached = &trie->nodes[node];
		if (reached->n_bytes > n_bytes - at || memcmp(text + at, reached->bytes, reached->n_bytes) != 0)
			break;
		at += reached->n_bytes;
		if (reached->value >= 0 && (at <= n_trusted || !walk->added->tokens[reached->value].special)) {
			found = reached->value;
			*length = at;
		}
		if (at == n_bytes)
			break;
	}
	return found;
}

/* Other ids than the file says: one line, whatever their number. */
static void report_ids(const struct added_token *first, int32_t said, size_t n_others)
{
	if (!first)
		return;
	int n_shown = (int)(first->n_bytes < 60 ? first->n_bytes : 60);
	log_message(
	    LOG_WARN, "tokenizer",
	    "the token \"%.*s\" gets id %d, where the files say %d (and %zu others): new tokens are numbered after the "
	    "vocabulary, as in Hugging Face's tokenizers",
	    n_shown, first->content, first->id, said, n_others);
}

/* Drops what cannot be one, and all but the last of equal contents; gives ids. */
static bool settle_tokens(struct added_tokens *added, size_t n_tokens, const struct vocab *vocab, struct error *error)
{
	size_t next_id = vocab->n_strings, n_renumbered = 0;
	struct added_token renumbered = {0};
	int32_t said = -1;
	for (size_t i = 0; i < n_tokens; i++) {
		struct added_token token = added->tokens[i];
		if (token.n_bytes == 0)
			continue;
		if (token.n_bytes > ADDED_TOKEN_MAX_BYTES)
			return error_set(error, ERROR_MODEL, "added_tokens[%zu].content has %zu bytes, at most %d are taken", i,
			                 token.n_bytes, ADDED_TOKEN_MAX_BYTES);
		int32_t known = vocab_find(&added->ids, token.content, token.n_bytes);
		if (known >= 0) {
			token.id = added->tokens[known].id;
			token.special = token.special || added->tokens[known].special;
			added->tokens[known] = token;
			continue;
		}
		token.id = vocab_find(vocab, token.content, token.n_bytes);
		if (token.id < 0) {
			if (next_id > VOCAB_MAX_ID)
				return error_set(error, ERROR_MODEL, "added_tokens: more than %d ids", VOCAB_MAX_ID);
			token.id = (int32_t)next_id++;
		}
		int32_t claimed = added->tokens[i].id;
		if (claimed >= 0 && claimed != token.id && n_renumbered++ == 0) {
			renumbered = token;
			said = claimed;
		}
		if (!vocab_add(&added->ids, token.content, token.n_bytes, (int64_t)added->n_tokens, error))
			return false;
		added->tokens[added->n_tokens++] = token;
	}
	report_ids(n_renumbered ? &renumbered : NULL, said, n_renumbered ? n_renumbered - 1 : 0);
	return true;
}

static bool index_ids(struct added_tokens *added, struct error *error)
{
	for (size_t i = 0; i < added->n_tokens; i++)
		if ((size_t)added->tokens[i].id >= added->n_ids)
			added->n_ids = (size_t)added->tokens[i].id + 1;
	added->by_id = malloc((added->n_ids + 1) * sizeof *added->by_id);
	if (!added->by_id) {
		*error = no_memory;
		return false;
	}
	for (size_t i = 0; i < added->n_ids; i++)
		added->by_id[i] = -1;
	for (size_t i = 0; i < added->n_tokens; i++)
		added->by_id[added->tokens[i].id] = (int32_t)i;
	return true;
}

/* The string that stands for a token in its trie. */
static bool trie_form(struct added_tokens *added, size_t index, const struct normalizer *normalizer,
                      struct normalizer_scratch *scratch, struct trie_string *out, struct error *error)
{
	const struct added_token *token = &added->tokens[index];
	struct text_run run = {.text = token->content, .n_bytes = token->n_bytes};
	if (token->normalized) {
		if (!normalizer_apply(normalizer, scratch, &run, error)) {
			error->code = error->code == ERROR_INVALID_REQUEST ? ERROR_MODEL : error->code; /* it is the file's text */
			return error_prefix(error, "added_tokens[%zu].content", index);
		}
		if (run.n_bytes > ADDED_TOKEN_MAX_BYTES)
			return error_set(error, ERROR_MODEL,
			                 "added_tokens[%zu].content has %zu bytes when normalized, at most %d are taken", index,
			                 run.n_bytes, ADDED_TOKEN_MAX_BYTES);
		if (added->forms.used_bytes + run.n_bytes > ADDED_TOKENS_MAX_FORMS_BYTES)
			return error_set(error, ERROR_MODEL, "added_tokens: more than %d bytes when normalized",
			                 ADDED_TOKENS_MAX_FORMS_BYTES);
		run.text = arena_strdup(&added->forms, run.text, run.n_bytes);
		if (!run.text) {
			*error = no_memory;
			return false;
		}
	}
	*out = (struct trie_string){.text = run.text, .n_bytes = (uint32_t)run.n_bytes, .value = (int32_t)index};
	return true;
}

/* The trie of all tokens that are normalized, or of the others. */
static bool fill_trie(struct added_tokens *added, bool normalized, const struct normalizer *normalizer,
                      struct trie_string *strings, struct error *error)
{
	struct normalizer_scratch scratch = {0};
	size_t n_strings = 0;
	bool ok = true;
	/* Special ones first: of equal normalized forms they win. */
	for (int special = 1; special >= 0; special--)
		for (size_t i = 0; ok && i < added->n_tokens; i++) {
			if (added->tokens[i].special != special || added->tokens[i].normalized != normalized)
				continue;
			ok = trie_form(added, i, normalizer, &scratch, &strings[n_strings], error);
			n_strings += ok && strings[n_strings].n_bytes > 0;
		}
	normalizer_scratch_free(&scratch);
	if (ok && !trie_init(normalized ? &added->normalized : &added->plain, strings, n_strings)) {
		*error = no_memory;
		return false;
	}
	return ok;
}

static bool fill_tries(struct added_tokens *added, const struct normalizer *normalizer, struct error *error)
{
	struct trie_string *strings = calloc(added->n_tokens + 1, sizeof *strings);
	if (!strings) {
		*error = no_memory;
		return false;
	}
	bool ok = fill_trie(added, false, normalizer, strings, error) && fill_trie(added, true, normalizer, strings, error);
	free(strings);
	return ok;
}

bool added_tokens_init(struct added_tokens *added, struct added_token *tokens, size_t n_tokens,
                       const struct vocab *vocab, const struct normalizer *normalizer, struct error *error)
{
	*added = (struct added_tokens){.tokens = tokens};
	return settle_tokens(added, n_tokens, vocab, error) && index_ids(added, error) &&
	       fill_tries(added, normalizer, error);
}

void added_tokens_free(struct added_tokens *added)
{
	free(added->tokens);
	trie_free(&added->plain);
	trie_free(&added->normalized);
	arena_free(&added->forms);
	free(added->by_id);
	vocab_free(&added->ids);
	*added = (struct added_tokens){0};
}

const struct added_token *added_token_by_id(const struct added_tokens *added, int32_t id)
{
	if (id < 0 || (size_t)id >= added->n_ids || added->by_id[id] < 0)
		return NULL;
	return &added->tokens[added->by_id[id]];
}

size_t added_tokens_bytes(const struct added_tokens *added)
{
	return added->n_tokens * sizeof *added->tokens + added->n_ids * sizeof *added->by_id +
	       (added->plain.n_nodes + added->normalized.n_nodes) * sizeof *added->plain.nodes + added->forms.used_bytes +
	       vocab_bytes(&added->ids);
}

/* How many bytes from the walk's place on the template wrote. */
static size_t trusted_bytes(struct added_walk *walk)
{
	if (walk->n_runs == 0)
		return SIZE_MAX;
	while (walk->run < walk->n_runs && walk->runs[walk->run].end <= walk->at)
		walk->run++;
	if (walk->run == walk->n_runs || walk->runs[walk->run].from_data)
		return 0;
	return walk->runs[walk->run].end - walk->at;
}

static bool inside_word(const struct added_walk *walk, size_t start, size_t end)
{
	size_t length;
	return (start > 0 && unicode_is_word(char_decode(walk->text + char_before(walk->text, start), &length))) ||
	       (end < walk->n_bytes && unicode_is_word(char_decode(walk->text + end, &length)));
}

static size_t space_before(const struct added_walk *walk, size_t start)
{
	for (size_t before, length; start > walk->done; start = before) {
		before = char_before(walk->text, start);
		if (!unicode_is_space(char_decode(walk->text + before, &length)))
			break;
	}
	return start;
}

/* Space is walked over once only, also when a token that is itself space matches at each place of it. */
static size_t space_after(struct added_walk *walk, size_t end)
{
	size_t length;
	if (end < walk->space_end)
		return walk->space_end;
	while (end < walk->n_bytes && unicode_is_space(char_decode(walk->text + end, &length)))
		end += length;
	walk->space_end = end;
	return end;
}

const struct added_token *added_walk_next(struct added_walk *walk, size_t *before_start, size_t *before_end)
{
	while (walk->at < walk->n_bytes) {
		const struct trie *trie = walk->trie;
		if (!trie->roots[(unsigned char)walk->text[walk->at]]) {
			walk->at++;
			continue;
		}
		size_t length = 0, start = walk->at;
		int32_t index = trie_longest(walk, trusted_bytes(walk), &length);
		if (index < 0) {
			walk->at++;
			continue;
		}
		const struct added_token *token = &walk->added->tokens[index];
		size_t end = walk->at = start + length;
		/* A match that does not count has still used its text up. */
		if ((walk->skip_special && token->special) || (token->single_word && inside_word(walk, start, end)))
			continue;
		if (token->lstrip)
			start = start > walk->done ? space_before(walk, start) : walk->done;
		if (token->rstrip)
			end = space_after(walk, end);
		/* Space that the token before took along, this one included. */
		if (start >= end)
			continue;
		*before_start = walk->done;
		*before_end = start > walk->done ? start : walk->done;
		walk->done = end;
		return token;
	}
	*before_start = walk->done;
	*before_end = walk->n_bytes;
	walk->done = walk->n_bytes;
	return NULL;
}
