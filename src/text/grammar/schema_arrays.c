/* Arrays of an alternative as network: a state for each number of items that matters and each way in which counts of
 * `contains` may stand (schema.h). */
#include <stdlib.h>
#include <string.h>

#include "text/grammar/lengths.h"
#include "text/grammar/schema.h"

enum { MAX_COUNTERS = 4, MAX_STATES = 1 << 16, MAX_ITEM_LITERALS = 256 };

/* Items that are `below` are counted up to `top`, where the count stays (no upper bound) or may not grow. Of those that are
 * not counted nothing need be known unless there is an upper bound: then they are not `below`. */
struct counter {
	const struct atom *atom;
	uint32_t below;
	uint64_t from;
	uint32_t low, high, top; /* high UINT32_MAX: none */
};

/* What an item may be, as lexemes, of an array whose items must differ (distinct.h). */
struct lexemes {
	uint32_t literals[MAX_ITEM_LITERALS]; /* of these */
	size_t n_literals;
	uint32_t strings, texts;
};

struct array {
	struct expansion *e;
	struct counter counters[MAX_COUNTERS];
	size_t n_counters;
	uint64_t low, high;
	uint32_t n_positions; /* states before that many items differ; the last one stands for all beyond */
	uint32_t n_counts;    /* product of all counters' values */
	uint32_t *states;     /* [n_positions + 1, n_counts] */
	const struct json *keyword;
	const struct json *unique; /* the keyword that says that items must differ; NULL: none */
	struct lexemes lexemes;    /* then: of the item that was asked for last */
};

static void refuse(struct array *a, const struct json *keyword, const char *why)
{
	schema_refuse(a->e->schema, keyword, "%s", why);
}

static void add_counter(struct array *a, const struct atom *atom)
{
	bool some = atom->kind == ATOM_SOME_ITEM;
	uint64_t low = some ? 1 : atom->low, high = some ? UINT64_MAX : atom->high;
	if (a->n_counters == MAX_COUNTERS) {
		refuse(a, atom->keyword, "too many demands on some items of one array");
		return;
	}
	struct counter c = {.atom = atom, .below = atom->below, .from = some ? atom->low : 0};
	c.low = low < SCHEMA_NO_MAX_COUNT ? (uint32_t)low : SCHEMA_NO_MAX_COUNT;
	c.high = high < SCHEMA_NO_MAX_COUNT ? (uint32_t)high : UINT32_MAX;
	c.top = c.high != UINT32_MAX ? c.high : c.low;
	a->counters[a->n_counters++] = c;
	a->keyword = atom->keyword;
}

static void at_least(uint64_t *value, uint64_t least)
{
	*value = *value > least ? *value : least;
}

/* Bounds and counters, and how many positions must be told apart. False where nothing fits or something is refused. */
static bool read_atoms(struct array *a)
{
	uint64_t positions = 1;
	a->high = UINT64_MAX;
	for (size_t i = 0; i < a->e->n_atoms; i++) {
		const struct atom *atom = &a->e->atoms[i];
		if (atom->kind == ATOM_ITEM)
			at_least(&positions, atom->low + 1);
		if (atom->kind == ATOM_ITEMS || atom->kind == ATOM_SOME_ITEM)
			at_least(&positions, atom->low);
		if (atom->kind == ATOM_ITEM_COUNT) {
			at_least(&a->low, atom->low);
			a->high = atom->high < a->high ? atom->high : a->high;
			a->keyword = atom->keyword;
		}
		if (atom->kind == ATOM_CONTAINS || atom->kind == ATOM_SOME_ITEM)
			add_counter(a, atom);
		if (atom->kind == ATOM_UNIQUE)
			a->unique = atom->keyword;
	}
	if (a->low > a->high || a->low >= SCHEMA_NO_MAX_COUNT)
		return false;
	if (a->high <= 1)
		a->unique = NULL;
	if (a->unique && a->n_counters > 0)
		refuse(a, a->unique, "uniqueItems of more than one item is not supported where some must be of a kind");
	at_least(&positions, a->low);
	if (a->high < SCHEMA_NO_MAX_COUNT)
		at_least(&positions, a->high);
	uint64_t counts = 1;
	for (size_t i = 0; i < a->n_counters && counts < MAX_STATES; i++)
		counts *= (uint64_t)a->counters[i].top + 1;
	if (counts >= MAX_STATES || positions >= MAX_STATES || (positions + 1) * counts > MAX_STATES) {
		refuse(a, a->keyword, "so many items cannot be counted");
		return false;
	}
	a->n_positions = (uint32_t)positions;
	a->n_counts = (uint32_t)counts;
	return !a->e->schema->refused;
}

static uint32_t count_of(const struct array *a, uint32_t counts, size_t counter)
{
	for (size_t i = 0; i < counter; i++)
		counts /= a->counters[i].top + 1;
	return counts % (a->counters[counter].top + 1);
}

static uint32_t one_more(const struct array *a, uint32_t counts, size_t counter)
{
	uint32_t unit = 1, count = count_of(a, counts, counter);
	for (size_t i = 0; i < counter; i++)
		unit *= a->counters[i].top + 1;
	return count < a->counters[counter].top ? counts + unit : counts;
}

static bool is_chosen(const struct array *a, const struct atom *atom, unsigned chosen)
{
	for (size_t i = 0; i < a->n_counters; i++)
		if (a->counters[i].atom == atom)
			return chosen >> i & 1;
	return false;
}

/* Some atom of the frame speaks of the item at a position, which the counters in `chosen` count. */
static bool is_evaluated(const struct array *a, const struct atom *other, uint64_t position, unsigned chosen)
{
	for (size_t i = 0; i < a->e->n_atoms && schema_look(a->e->schema, 1); i++) {
		const struct atom *atom = &a->e->atoms[i];
		if (atom == other || !expansion_in_frame(a->e, atom, (uint32_t)other->low))
			continue;
		if (atom->kind == ATOM_OTHER_ITEMS || (atom->kind == ATOM_ITEM && atom->low == position) ||
		    (atom->kind == ATOM_ITEMS && position >= atom->low))
			return true;
		if (atom->kind == ATOM_CONTAINS && is_chosen(a, atom, chosen))
			return true;
	}
	return false;
}

static size_t literals_at(const struct array *a, uint64_t position, unsigned chosen, uint32_t *literals)
{
	size_t n = 0;
	(void)schema_look(a->e->schema, a->e->n_atoms);
	for (size_t i = 0; i < a->e->n_atoms && n < MAX_ITEM_LITERALS - MAX_COUNTERS; i++) {
		const struct atom *atom = &a->e->atoms[i];
		bool here = (atom->kind == ATOM_ITEM && atom->low == position) ||
		            (atom->kind == ATOM_ITEMS && position >= atom->low) ||
		            (atom->kind == ATOM_OTHER_ITEMS && !is_evaluated(a, atom, position, chosen));
		if (here)
			literals[n++] = atom->below;
	}
	return n;
}

/* An item at a position that the counters in `chosen` (bits) count. False where it cannot be. */
static bool choose(const struct array *a, uint64_t position, uint32_t *counts, unsigned chosen, uint32_t *literals,
                   size_t *n)
{
	for (size_t i = 0; i < a->n_counters; i++) {
		const struct counter *c = &a->counters[i];
		if (chosen >> i & 1) {
			if (position < c->from || (c->high != UINT32_MAX && count_of(a, *counts, i) >= c->high))
				return false;
			literals[(*n)++] = c->below;
			*counts = one_more(a, *counts, i);
		} else if (c->high != UINT32_MAX) {
			literals[(*n)++] = c->below ^ 1;
		}
	}
	return true;
}

static void write_item(struct array *a, uint32_t position, uint32_t counts, uint32_t before)
{
	struct schema *s = a->e->schema;
	for (unsigned chosen = 0; chosen < 1U << a->n_counters && !s->refused; chosen++) {
		uint32_t literals[MAX_ITEM_LITERALS], after = counts;
		size_t n = literals_at(a, position, chosen, literals);
		if (n >= MAX_ITEM_LITERALS - MAX_COUNTERS) {
			refuse(a, NULL, "too many schemas for one item");
			return;
		}
		if (!choose(a, position, &after, chosen, literals, &n))
			continue;
		uint32_t rule = schema_rule_of(s, literals, n);
		uint32_t next = position < a->n_positions ? position + 1 : position;
		if (rule != RULE_DEAD)
			network_edge(s->net, before, EDGE_CALL, rule, a->states[next * a->n_counts + after]);
	}
}

/* ---- items that must differ ---- */

/* What the item at a position may be; of neighbours that are alike it is found once. False where something is refused. */
static bool find_lexemes(struct array *a, uint32_t position)
{
	struct lexemes *known = &a->lexemes;
	uint32_t literals[MAX_ITEM_LITERALS];
	size_t n = literals_at(a, position, 0, literals);
	if (n >= MAX_ITEM_LITERALS - MAX_COUNTERS)
		refuse(a, NULL, "too many schemas for one item");
	if (n == known->n_literals && memcmp(literals, known->literals, n * sizeof *literals) == 0)
		return !a->e->schema->refused;
	memcpy(known->literals, literals, n * sizeof *literals);
	known->n_literals = n;
	if (!schema_scalars(a->e->schema, literals, n, &known->strings, &known->texts))
		refuse(a, a->unique, "uniqueItems of more than one item is supported where none is an array or object");
	return !a->e->schema->refused;
}

/* Are there as many items as there must be at least? So that whatever came leaves enough of them, these must be alike. */
static bool can_differ(struct array *a)
{
	struct languages *l = a->e->schema->l;
	uint32_t *lengths = malloc((a->low + 1) * sizeof *lengths);
	bool ok = lengths && find_lexemes(a, 0);
	uint32_t strings = a->lexemes.strings, texts = a->lexemes.texts;
	if (!lengths)
		schema_out_of_memory(a->e->schema);
	for (uint32_t position = 1; position < a->low && ok; position++) {
		ok = find_lexemes(a, position);
		if (ok && (a->lexemes.strings != strings || a->lexemes.texts != texts))
			refuse(a, a->unique, "uniqueItems is supported where the items that must be there are alike");
		ok &= !a->e->schema->refused;
	}
	if (ok) {
		uint32_t canonical = language_both(l, texts, language_not(l, number_zeros(l, false)));
		size_t n = language_lengths(l, strings, true, lengths, a->low);
		ok = n + language_lengths(l, canonical, false, lengths, a->low) >= a->low;
	}
	free(lengths);
	return ok;
}

/* The item at a position, which comes behind `after` (the item before, if any), and `before` (a blank, or not). */
static void write_lexemes(struct array *a, uint32_t position, uint32_t after, uint32_t blank, uint32_t before)
{
	struct network *net = a->e->schema->net;
	if (!find_lexemes(a, position) || net->failed)
		return;
	uint32_t next = a->states[position < a->n_positions ? position + 1 : position], inside = network_state(net);
	struct network_items items = {a->lexemes.strings, a->lexemes.texts,
	                              position < a->low ? (uint32_t)a->low - position : 0, position > 0};
	network_items(net, after, items);
	if (position > 0) {
		items.behind = false;
		items.owed = items.owed ? items.owed : 1;
		network_items(net, blank, items);
		network_items(net, before, items);
	}
	if (a->lexemes.strings != LANGUAGE_NONE && !net->failed) {
		network_edge(net, before, EDGE_BYTE, '"', inside);
		network_edge(net, inside, EDGE_STRING, a->lexemes.strings, next);
	}
	if (a->lexemes.texts != LANGUAGE_NONE && !net->failed)
		network_edge(net, before, EDGE_TEXT, a->lexemes.texts, next);
}

/* ---- states ---- */

static void write_state(struct array *a, uint32_t position, uint32_t counts, uint32_t end)
{
	struct schema *s = a->e->schema;
	uint32_t state = a->states[position * a->n_counts + counts], before = state, blank = state;
	bool enough = position >= a->low;
	for (size_t i = 0; i < a->n_counters; i++)
		enough &= count_of(a, counts, i) >= a->counters[i].low;
	if (enough)
		network_edge(s->net, state, EDGE_BYTE, ']', end);
	if (position >= a->high)
		return;
	if (position > 0) {
		before = network_state(s->net);
		blank = schema_write_mark(s, state, ',', before);
	}
	if (a->unique)
		write_lexemes(a, position, state, blank, before);
	else
		write_item(a, position, counts, before);
}

void schema_write_array(struct expansion *e, uint32_t start, uint32_t end)
{
	struct network *net = e->schema->net;
	struct array a = {.e = e, .lexemes.n_literals = SIZE_MAX};
	if (!read_atoms(&a) || (a.unique && a.low > 1 && !can_differ(&a)))
		return;
	size_t n_states = (size_t)(a.n_positions + 1) * a.n_counts;
	a.states = malloc(n_states * sizeof *a.states);
	if (!a.states) {
		schema_out_of_memory(e->schema);
		return;
	}
	for (size_t i = 0; i < n_states; i++)
		a.states[i] = network_state(net);
	if (!net->failed)
		network_edge(net, start, EDGE_BYTE, '[', a.states[0]);
	for (uint32_t position = 0; position <= a.n_positions; position++)
		for (uint32_t counts = 0; counts < a.n_counts && !net->failed && !e->schema->refused; counts++)
			write_state(&a, position, counts, end);
	free(a.states);
}
