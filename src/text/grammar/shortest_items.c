#include "text/grammar/shortest_items.h"

#include <stdlib.h>

#include "text/grammar/distinct.h"
#include "text/grammar/lengths.h"
#include "text/grammar/numbers.h"

enum { QUOTES = 2 };

static int by_value(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	return (x > y) - (x < y);
}

/* The n shortest of both. */
static void ask(struct items_lengths *known, struct languages *l, uint32_t strings, uint32_t texts, size_t n)
{
	uint32_t *list = realloc(known->list, (n * 2 + 1) * sizeof *list);
	known->n_asked = 0;
	known->failed |= !list;
	if (!list)
		return;
	known->list = list;
	known->n = language_lengths(l, strings, true, list, n);
	for (size_t i = 0; i < known->n; i++)
		list[i] += QUOTES;
	known->n += language_lengths(l, texts, false, list + known->n, n);
	qsort(list, known->n, sizeof *list, by_value);
	known->strings = strings;
	known->texts = texts;
	known->n_asked = n;
}

uint32_t items_lengths_zeros(struct items_lengths *known, struct languages *l)
{
	if (known->zeros == LANGUAGE_NONE)
		known->zeros = number_zeros(l, false);
	return known->zeros;
}

uint32_t items_lengths_sum(struct items_lengths *known, struct languages *l, const struct network_items *items,
                           uint32_t used, uint32_t without)
{
	uint32_t strings = distinct_left(l, items->strings, used, true),
	         texts = distinct_left(l, items->texts, used, false);
	uint32_t sum = 0, n = 0;
	size_t n_asked = (size_t)items->owed + 1;
	texts = language_both(l, texts, language_not(l, items_lengths_zeros(known, l))); /* each number once */
	if (known->strings != strings || known->texts != texts || known->n_asked < n_asked)
		ask(known, l, strings, texts, n_asked);
	for (size_t i = 0; i < known->n && n < items->owed; i++) {
		bool skipped = known->list[i] == without;
		without = skipped ? 0 : without;
		sum += skipped ? 0 : known->list[i];
		n += !skipped;
	}
	return n == items->owed && sum < ITEMS_UNREACHED && !known->failed ? sum : ITEMS_UNREACHED;
}

void items_lengths_free(struct items_lengths *known)
{
	free(known->list);
}
