/* Added tokens: strings that are cut out of the text before anything else happens to it (special tokens, mostly).
 *
 * There are two sets: those matched in the text as it came, and those (normalized) matched in what the normalizer made
 * of it, by their own normalized form. In each the leftmost match counts, and of those the longest.
 */
#ifndef TALLOW_TEXT_ADDED_TOKENS_H
#define TALLOW_TEXT_ADDED_TOKENS_H

#include "base/arena.h"
#include "text/normalizer.h"
#include "text/trie.h"
#include "text/vocab.h"

struct added_token {
	const char *content; /* borrowed */
	size_t n_bytes;
	int32_t id;       /* before added_tokens_init: the one that the file says, -1 when it says none */
	bool single_word; /* not inside a word */
	bool lstrip;      /* takes the space before it along */
	bool rstrip;      /* and the space after it */
	bool normalized;
	bool special;
};

/* Of a content and of its normalized form, which bounds the work at each place of the text; and of all normalized forms,
 * which may be longer than what they were made of. */
enum { ADDED_TOKEN_MAX_BYTES = 1024, ADDED_TOKENS_MAX_FORMS_BYTES = 64 << 20 };

struct added_tokens {
	struct added_token *tokens; /* [n_tokens] */
	size_t n_tokens;
	struct trie plain, normalized; /* values are indices into tokens */
	struct arena forms;            /* the strings of `normalized` */
	struct vocab ids;              /* content -> index into tokens */
	int32_t *by_id;                /* [n_ids] index into tokens, -1 */
	size_t n_ids;
};

/* Takes tokens over and gives them ids as Hugging Face's tokenizers 0.22.2 does: the vocabulary's where it has the string,
 * else the next one, counted from the number of the vocabulary's strings (not from its highest id; versions before went on
 * from the highest id of an added token, which is another one where a vocabulary leaves ids out). That the file says
 * another is logged, no more. Of two with the same content the last one's flags count, but
 * once special is always special. */
bool added_tokens_init(struct added_tokens *added, struct added_token *tokens, size_t n_tokens,
                       const struct vocab *vocab, const struct normalizer *normalizer, struct error *error) MUST_USE;
void added_tokens_free(struct added_tokens *added);
const struct added_token *added_token_by_id(const struct added_tokens *added, int32_t id); /* NULL: not an added one */
size_t added_tokens_bytes(const struct added_tokens *added);

struct template_run; /* text/template.h */

/* Walks over a text: plain stretches and added tokens in turn. */
struct added_walk {
	const struct added_tokens *added;
	const struct trie *trie;
	bool skip_special; /* special tokens' strings stay text */
	/* [n_runs], covering the text, in order: who wrote which byte; a run may be empty. A special token's string counts only
	 * where no byte of it came from data. None: nothing did. */
	const struct template_run *runs;
	size_t n_runs;
	size_t run; /* the one that `at` lies in, or one before it */
	const char *text;
	size_t n_bytes;
	size_t at;        /* where to look for the next match */
	size_t done;      /* end of what was handed out */
	size_t space_end; /* a stretch of space is known to reach to here */
};

/* Next token; the text before it is [*before_start, *before_end), perhaps empty. NULL: the rest is in there. */
const struct added_token *added_walk_next(struct added_walk *walk, size_t *before_start, size_t *before_end);

#endif
