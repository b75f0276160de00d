/* The inside of a matcher, for matcher.c, the walks through vocabularies (masks.c), and what is known of states
 * (finishing.c). */
#ifndef TALLOW_TEXT_GRAMMAR_MATCHER_PRIVATE_H
#define TALLOW_TEXT_GRAMMAR_MATCHER_PRIVATE_H

#include "text/grammar/matcher.h"
#include "text/grammar/table.h"

struct grammar_vocabulary;

/* A state of the network to look at, and where the index of visits has it. */
struct visit {
	uint32_t state, stack, used, slot;
};

/* What is left of the shortest text from a state (finishing.c), as far as it was asked for; of states where it is one with
 * the text before, nothing. Forgotten with the state. */
struct match_rest {
	uint32_t n_bytes;                            /* where `measured` */
	uint32_t next;                               /* where its first byte leads; 0: not asked for */
	const struct grammar_vocabulary *counted_in; /* that n_tokens are of; NULL: not counted */
	uint32_t n_tokens;                           /* UINT32_MAX: it cannot be written in them */
	uint8_t byte;                                /* the first, where `next` is known */
	bool measured;
};

struct match_state {
	uint32_t first_place, n_places;
	uint32_t *next;   /* [256] 0: not yet asked, MATCHER_DEAD, or a state; NULL until one is asked for */
	uint32_t freedom; /* language_freedom of its freest lexeme, where `asked` */
	bool accepts, asked, reads_back;
	struct match_rest rest;
};

struct matcher {
	const struct network *network;
	struct languages *languages;
	struct table_account *account;
	struct match_state *states; /* the first is none */
	size_t n_states, max_states;
	size_t n_tables; /* `next` of states */
	size_t n_before; /* states when matcher_tidy was last called, ... */
	size_t n_needed; /* ... and for the first time since it forgot any: what one mask takes; 0: not called since */
	struct place *places;
	size_t n_places, max_places;
	struct table_index index;
	struct stacks stacks;
	/* The state that is being made: its places lie at the end of `places`. */
	size_t made_first;
	bool made_accepts;
	struct visit *visits;
	size_t n_visits, max_visits;
	/* [n_slots] of which visit it is, where that visit says so too: what earlier ones left needs no clearing. */
	uint32_t *visit_slots;
	size_t n_visit_slots;    /* a power of two, more than twice the visits */
	struct bytes text;       /* what matcher_keep kept */
	struct text_before last; /* of the step that is being made: the text before it, ... */
	unsigned char last_byte; /* ... the byte, */
	bool read_back;          /* ... and whether the text was looked at */
	bool puts_off;           /* matcher_put_off */
	uint64_t age;
	const char *failed;
};

/* A place inside of a JSON string, between two characters. */
static inline bool place_is_in_string(const struct matcher *m, const struct place *place)
{
	return place->language != LANGUAGE_NONE && place->partial == 0 && m->network->edges[place->at].kind == EDGE_STRING;
}

/* matcher_items.c: of arrays whose items must differ. */

/* A comma comes behind an item. False: no other is left, so it may not. */
bool items_count(struct matcher *m, const struct network_items *items, uint32_t *used);
/* What may come of a lexeme that begins; LANGUAGE_NONE: nothing. */
uint32_t items_begin(struct matcher *m, uint32_t language, uint32_t used, bool in_string);
/* The same for one that goes on with a byte: before that, and after it, where a character has ended. */
uint32_t items_before_byte(struct matcher *m, const struct place *place, bool in_string);
uint32_t items_after_byte(struct matcher *m, uint32_t language, uint32_t used, bool in_string);
/* A quote comes: may the string end? */
bool items_may_end(struct matcher *m, const struct place *place);

#endif
