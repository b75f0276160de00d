/* A grammar as a network: rules are automata whose edges take a byte, a lexeme (a regular language), or a whole rule.
 *
 * Built by the readers of schemas, GBNF and regular expressions, trimmed once, then only read. After trimming every state
 * that can be reached can be left towards a complete text, so whatever the matcher accepts can be completed.
 */
#ifndef TALLOW_TEXT_GRAMMAR_NETWORK_H
#define TALLOW_TEXT_GRAMMAR_NETWORK_H

#include "text/grammar/language.h"

enum edge_kind {
	EDGE_BYTE,   /* value: the byte */
	EDGE_TEXT,   /* value: a language; its strings as UTF-8 */
	EDGE_STRING, /* value: a language; what is in a JSON string in canonical form, with the quote at its end */
	EDGE_CALL,   /* value: a rule */
	EDGE_SKIP,
};

struct network_edge {
	uint8_t kind;
	uint32_t value, to;
	uint32_t next; /* of the same state, or NETWORK_NONE */
};
#define NETWORK_NONE UINT32_MAX

struct network_state {
	uint32_t first_edge;
	/* NETWORK_NONE; or, of an object that has its states here, the order of members (network_order); or (`has_items`), between
	 * two items of an array whose items must differ, what is known of the next (network_items). */
	uint32_t about;
	bool has_items;
	bool final; /* the rule may end here */
	bool live;  /* set by network_trim */
};

/* Names of an object's members in the order they are to have; borrowed. */
struct network_order {
	const struct language_string *names;
	size_t n_names;
};

/* Where the next item of such an array may come, which is a lexeme: its languages, without those items that came before it
 * (distinct.h). */
struct network_items {
	uint32_t strings, texts; /* of strings, as EDGE_STRING has them, and of all else */
	uint32_t owed;           /* so many items must come */
	bool behind;             /* an item has just ended: it counts from the comma on that follows */
};

struct network {
	struct network_state *states;
	size_t n_states, max_states;
	struct network_edge *edges;
	size_t n_edges, max_edges;
	uint32_t *rules; /* [n_rules] where each starts */
	size_t n_rules, max_rules;
	struct network_order *orders;
	size_t n_orders, max_orders;
	struct network_items *items;
	size_t n_items, max_items;
	uint32_t root;                 /* rule */
	struct table_account *account; /* may be NULL */
	bool failed;                   /* beyond NETWORK_MAX_EDGES, or ... */
	bool no_memory;                /* ... an allocation failed */
};
enum { NETWORK_MAX_EDGES = 2 << 20 };

void network_free(struct network *network);
/* For who fails to allocate what belongs to it: no memory, or its account is full. */
void network_lacks_memory(struct network *network);
uint32_t network_state(struct network *network);
uint32_t network_rule(struct network *network); /* with a state to start from */
void network_edge(struct network *network, uint32_t from, enum edge_kind kind, uint32_t value, uint32_t to);
void network_items(struct network *network, uint32_t state, struct network_items items);
/* What is known of items at a state; NULL: nothing. */
static inline const struct network_items *network_items_at(const struct network *network, uint32_t state)
{
	const struct network_state *at = &network->states[state];
	return at->has_items ? &network->items[at->about] : NULL;
}
/* A chain of bytes. */
void network_bytes(struct network *network, uint32_t from, const char *bytes, size_t n_bytes, uint32_t to);
void network_text(struct network *network, uint32_t from, const char *text, uint32_t to);

/* Takes away the edges that lead to no end. False where the root denotes nothing (or network or languages failed). */
bool network_trim(struct network *network, struct languages *languages);

#endif
