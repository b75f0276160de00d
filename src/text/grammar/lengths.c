/* Strings are counted by their length, from the beginning on: of so many bytes, how many beginnings lead to each term. Terms
 * are deterministic, so no string is counted twice. Nothing is counted beyond what is asked for. */
#include "text/grammar/lengths.h"

#include <stdlib.h>
#include <string.h>

#include "text/grammar/characters.h"
#include "text/grammar/language_private.h"

enum { N_LEVELS = 8 }; /* more than a character has bytes */

struct beginnings {
	uint32_t term, n;
};

/* All beginnings of one length. */
struct level {
	struct beginnings *list;
	size_t n, max;
};

struct count {
	struct languages *languages;
	bool in_string;
	uint32_t most;                 /* what is counted at most */
	uint32_t search;               /* terms to which so many lead: longer beginnings of them add nothing */
	struct level levels[N_LEVELS]; /* those of `length` bytes are in [length % N_LEVELS] */
	size_t length, n_pending;
};

static uint32_t no_more(const struct count *c, uint64_t n)
{
	return n < c->most ? (uint32_t)n : c->most;
}

static void put(struct count *c, uint32_t term, uint32_t n_bytes, uint64_t n)
{
	struct level *level = &c->levels[(c->length + n_bytes) % N_LEVELS];
	if (!TABLE_RESERVE(level->list, level->n, level->max, 1)) {
		language_no_room(c->languages);
		return;
	}
	level->list[level->n++] = (struct beginnings){term, no_more(c, n)};
	c->n_pending++;
}

/* One more character of first..last after each of n beginnings. */
static void go_on(struct count *c, uint32_t term, uint32_t first, uint32_t last, uint32_t n)
{
	static const uint32_t ends[] = {0x7FF, SURROGATES_FIRST - 1, SURROGATES_LAST, 0xFFFF, LANGUAGE_MAX_CODE};
	uint64_t n_short[N_LEVELS] = {0};
	for (; first <= last && first < 0x80; first++)
		n_short[character_bytes(first, c->in_string)]++;
	for (uint32_t bytes = 1; bytes < N_LEVELS; bytes++)
		if (n_short[bytes] > 0)
			put(c, term, bytes, n_short[bytes] * n);
	for (size_t i = 0; first <= last && i < sizeof ends / sizeof *ends; i++) {
		uint32_t end = last < ends[i] ? last : ends[i];
		if (first > end)
			continue;
		if (first < SURROGATES_FIRST || first > SURROGATES_LAST)
			put(c, term, character_bytes(first, c->in_string), (uint64_t)(end - first + 1) * n);
		first = end + 1;
	}
}

static int by_term(const void *a, const void *b)
{
	const struct beginnings *x = a, *y = b;
	return (x->term > y->term) - (x->term < y->term);
}

/* Those that lead to one term together, unless as many shorter ones do. */
static void join(struct count *c, struct level *level)
{
	size_t kept = 0;
	c->n_pending -= level->n;
	if (level->n > 1)
		qsort(level->list, level->n, sizeof *level->list, by_term);
	for (size_t i = 0; i < level->n; i++)
		if (kept > 0 && level->list[kept - 1].term == level->list[i].term)
			level->list[kept - 1].n = no_more(c, (uint64_t)level->list[kept - 1].n + level->list[i].n);
		else
			level->list[kept++] = level->list[i];
	level->n = 0;
	for (size_t i = 0; i < kept; i++) {
		struct term *term = &c->languages->terms[level->list[i].term];
		if (term->free_search != c->search)
			level->list[level->n++] = level->list[i];
		if (level->list[i].n == c->most)
			term->free_search = c->search;
	}
}

static void step(struct count *c, struct beginnings from)
{
	size_t n_arcs = 0;
	uint32_t first = 0;
	for (size_t i = 0; i == 0 || i < n_arcs; i++) {
		const struct arc *arcs = language_arcs(c->languages, from.term, &n_arcs);
		if (!arcs || !language_take_steps(c->languages, 1))
			return;
		struct arc arc = arcs[i];
		if (language_is_live(c->languages, arc.target))
			go_on(c, arc.target, first, arc.last, from.n);
		first = arc.last + 1;
	}
}

size_t language_lengths(struct languages *l, uint32_t term, bool in_string, uint32_t *lengths, size_t n)
{
	struct count c = {.languages = l, .in_string = in_string, .most = (uint32_t)n, .search = ++l->free_search};
	size_t found = 0;
	if (n > 0 && language_is_live(l, term))
		put(&c, term, 0, 1);
	for (; c.n_pending > 0 && found < n && !languages_failed(l); c.length++) {
		struct level *level = &c.levels[c.length % N_LEVELS];
		join(&c, level);
		for (size_t i = 0; i < level->n && found < n; i++) {
			struct beginnings from = level->list[i];
			for (uint32_t k = 0; k < from.n && found < n && language_has_empty(l, from.term); k++)
				lengths[found++] = (uint32_t)c.length;
			step(&c, from);
		}
		level->n = 0;
	}
	for (size_t i = 0; i < N_LEVELS; i++)
		free(c.levels[i].list);
	return languages_failed(l) ? 0 : found;
}
