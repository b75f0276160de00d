/* The inside of a matcher, for matcher.c and for the walks through vocabularies (masks.c). */
#ifndef TALLOW_TEXT_GRAMMAR_MATCHER_PRIVATE_H
#define TALLOW_TEXT_GRAMMAR_MATCHER_PRIVATE_H

#include "text/grammar/matcher.h"
#include "text/grammar/table.h"

/* A state of the network to look at, and the visit before to the same one. */
struct visit {
	uint32_t state, stack, same;
};

struct match_state {
	uint32_t first_place, n_places;
	uint32_t *next;   /* [256] 0: not yet asked, MATCHER_DEAD, or a state; NULL until one is asked for */
	uint32_t freedom; /* language_freedom of its freest lexeme, where `asked` */
	bool accepts, asked;
};

struct matcher {
	const struct network *network;
	struct languages *languages;
	struct table_account *account;
	struct match_state *states; /* the first is none */
	size_t n_states, max_states;
	size_t n_tables; /* `next` of states */
	struct place *places;
	size_t n_places, max_places;
	struct table_index index;
	struct stacks stacks;
	/* The state that is being made: its places lie at the end of `places`. */
	size_t made_first;
	bool made_accepts;
	struct visit *visits;
	size_t n_visits, max_visits;
	uint32_t *last_visit; /* [states of the network] the last visit to each, if it is one to it */
	uint64_t age;
	const char *failed;
};

/* A place inside of a JSON string, between two characters. */
static inline bool place_is_in_string(const struct matcher *m, const struct place *place)
{
	return place->language != LANGUAGE_NONE && place->partial == 0 && m->network->edges[place->at].kind == EDGE_STRING;
}

#endif
