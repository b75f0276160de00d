/* How long the shortest items are that an array still owes where its items must differ (distinct.h). */
#ifndef TALLOW_TEXT_GRAMMAR_SHORTEST_ITEMS_H
#define TALLOW_TEXT_GRAMMAR_SHORTEST_ITEMS_H

#include "text/grammar/network.h"

#define ITEMS_UNREACHED (1U << 30)

/* The lengths of the shortest items of two languages, in order: those that were asked for last. */
struct items_lengths {
	uint32_t strings, texts;
	uint32_t *list;
	size_t n, n_asked;
	uint32_t zeros; /* number_zeros, once they were asked for */
	bool failed;    /* an allocation failed */
};

/* Of the items that are owed and may come after those used: of so many shortest ones together. `without` is the length of
 * one more that is used, 0: none. ITEMS_UNREACHED where there are not so many. */
uint32_t items_lengths_sum(struct items_lengths *lengths, struct languages *languages,
                           const struct network_items *items, uint32_t used, uint32_t without);
/* Texts that are not canonical. */
uint32_t items_lengths_zeros(struct items_lengths *lengths, struct languages *languages);
void items_lengths_free(struct items_lengths *lengths);

#endif
