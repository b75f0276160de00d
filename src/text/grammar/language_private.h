/* The inside of languages, for language.c (terms) and derivative.c (what they denote). */
#ifndef TALLOW_TEXT_GRAMMAR_LANGUAGE_PRIVATE_H
#define TALLOW_TEXT_GRAMMAR_LANGUAGE_PRIVATE_H

#include "text/grammar/language.h"
#include "text/grammar/table.h"

enum { SURROGATES_FIRST = 0xD800, SURROGATES_LAST = 0xDFFF };

enum kind { KIND_CLASS, KIND_EMPTY, KIND_SEQUENCE, KIND_REPEAT, KIND_EITHER, KIND_BOTH, KIND_NOT, KIND_MULTIPLES };
enum life { LIFE_UNKNOWN, LIFE_LIVE, LIFE_SEVERAL /* strings */, LIFE_DEAD };

/* A term. Lists (ranges of a class, parts of either and both) lie in `words`. */
struct term {
	uint8_t kind, life;
	bool has_empty;
	bool knows_freedom;
	uint32_t freedom;     /* language_freedom */
	uint32_t free_search; /* the search for it, or for lengths, that saw the term last */
	bool plain;           /* without both, not, multiples: it has a string unless it is NONE */
	uint32_t a, b;        /* parts; or first and number of `words`; multiples: the residue's halves */
	uint32_t min, max;    /* repeat; multiples: how far the number was read, and which numbers (`steps`) */
	uint32_t first_arc;   /* UINT32_MAX until asked for */
	uint32_t n_arcs;
};

/* The derivative by all characters up to `last` that come after the arc before. */
struct arc {
	uint32_t last, target;
};

struct multiples {
	uint64_t step;
	uint32_t scale;
};

/* Characters of one general category (utf8proc's), up to where the next run begins. */
struct category_run {
	uint32_t first;
	uint8_t category;
};

struct languages {
	struct table_account *account;
	struct term *terms;
	size_t n_terms, max_terms;
	uint32_t *words;
	size_t n_words, max_words;
	uint32_t *parts; /* of a term that is being made */
	size_t n_parts, max_parts;
	struct arc *arcs;
	size_t n_arcs, max_arcs;
	uint32_t *waiting; /* terms that are to get arcs, each after those above it */
	size_t n_waiting, max_waiting;
	struct multiples *multiples;
	size_t n_multiples, max_multiples;
	struct category_run *categories; /* of all characters; none until a pattern asks (pattern_classes.c) */
	size_t n_categories, max_categories;
	uint32_t *queue; /* of a search, and beside it who led there */
	uint32_t *parents;
	size_t max_queue, max_parents;
	uint32_t *seen; /* [n] the search that saw a term last */
	size_t max_seen, n_seen;
	uint32_t search, free_search;
	struct table_index index;
	uint64_t steps_left;
	const char *failed;
};

/* The id of a term like `made`, whose list, when it has one, is the last in `words` (and is dropped if it is known). */
uint32_t language_intern(struct languages *languages, struct term made);
/* Of `parts` that must all hold: numbers that are multiples become one. False without memory. */
bool language_join_multiples(struct languages *languages);
/* Notes the first reason; LANGUAGE_NONE. */
uint32_t language_fail(struct languages *languages, const char *why);
/* What could not grow: no memory, or none of the account's. LANGUAGE_NONE. */
uint32_t language_no_room(struct languages *languages);
/* False when they ran out, which is then noted. */
bool language_take_steps(struct languages *languages, uint64_t n);
/* A term's arcs, [*n]; borrowed until the next derivative is made. NULL where they cannot be made. */
const struct arc *language_arcs(struct languages *languages, uint32_t term, size_t *n);
/* The derivative of a term of multiples by a digit, sign or point. */
uint32_t language_multiples_after(struct languages *languages, const struct term *term, uint32_t code);

#endif
