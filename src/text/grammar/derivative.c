/* What terms denote (language.h): their derivatives, made when first asked for, and the search for a string. */
#include <stdlib.h>
#include <string.h>

#include "text/grammar/language_private.h"
#include "text/unicode.h"

enum { MAX_STEPS = 100000, MAX_FREE_TERMS = 1000, N_JOINED = 4 };

/* ---- derivatives ---- */

struct arc_list {
	struct arc *arcs;
	size_t n, max;
};

static bool put_arc(struct languages *l, struct arc_list *list, uint32_t last, uint32_t target)
{
	if (list->n && list->arcs[list->n - 1].target == target) {
		list->arcs[list->n - 1].last = last;
		return true;
	}
	if (!TABLE_RESERVE(list->arcs, list->n, list->max, 1)) {
		language_no_room(l);
		return false;
	}
	list->arcs[list->n++] = (struct arc){last, target};
	return true;
}

typedef uint32_t join_targets(struct languages *languages, uint32_t owner, const uint32_t *targets, size_t n);

/* Targets that were joined already: neighbouring ranges of characters mostly lead to the same few. */
struct joined {
	uint32_t *targets; /* [N_JOINED, n_parts] */
	uint32_t made[N_JOINED];
	size_t n;
};

static uint32_t join_once(struct languages *l, uint32_t owner, const uint32_t *targets, size_t n_parts,
                          join_targets *join, struct joined *known)
{
	size_t n = known->n < N_JOINED ? known->n : N_JOINED;
	for (size_t i = 0; i < n; i++)
		if (memcmp(known->targets + i * n_parts, targets, n_parts * sizeof *targets) == 0)
			return known->made[i];
	size_t at = known->n++ % N_JOINED;
	memcpy(known->targets + at * n_parts, targets, n_parts * sizeof *targets);
	return known->made[at] = join(l, owner, targets, n_parts);
}

/* Arcs of several terms at once, which have theirs: where one of them changes, `join` makes the target of theirs. */
static bool walk_together(struct languages *l, uint32_t owner, const uint32_t *parts, size_t n_parts,
                          join_targets *join, struct arc_list *out)
{
	uint32_t *at = calloc(n_parts * (2 + N_JOINED), sizeof *at), *targets = at ? at + n_parts : NULL;
	struct joined known = {.targets = at ? targets + n_parts : NULL};
	bool ok = at != NULL;
	if (!ok)
		language_no_room(l);
	for (uint32_t last = 0; ok && last < LANGUAGE_MAX_CODE;) {
		last = LANGUAGE_MAX_CODE;
		for (size_t i = 0; i < n_parts; i++) {
			const struct arc *arc = &l->arcs[l->terms[parts[i]].first_arc + at[i]];
			targets[i] = arc->target;
			last = arc->last < last ? arc->last : last;
		}
		ok = language_take_steps(l, n_parts) &&
		     put_arc(l, out, last, join_once(l, owner, targets, n_parts, join, &known)) && !l->failed;
		for (size_t i = 0; i < n_parts && ok; i++)
			at[i] += l->arcs[l->terms[parts[i]].first_arc + at[i]].last == last;
	}
	free(at);
	return ok;
}

static uint32_t join_parts(struct languages *l, uint32_t owner, const uint32_t *targets, size_t n)
{
	enum kind kind = l->terms[owner].kind;
	if (kind == KIND_EITHER)
		return language_either_of(l, targets, n);
	uint32_t both = LANGUAGE_ALL;
	for (size_t i = 0; i < n; i++)
		both = language_both(l, both, targets[i]);
	return both;
}

static uint32_t join_other(struct languages *l, uint32_t owner, const uint32_t *targets, size_t n)
{
	struct term t = l->terms[owner];
	if (t.kind == KIND_NOT)
		return language_not(l, targets[0]);
	if (t.kind == KIND_REPEAT) {
		uint32_t max = t.max == LANGUAGE_NO_MAX ? t.max : t.max - 1;
		return language_sequence(l, targets[0], language_repeat(l, t.a, t.min ? t.min - 1 : 0, max));
	}
	uint32_t after = language_sequence(l, targets[0], t.b);
	return n == 2 ? language_either(l, after, targets[1]) : after;
}

static bool class_arcs(struct languages *l, const struct term *t, struct arc_list *out)
{
	bool ok = true;
	for (uint32_t i = 0; i < t->b && ok; i += 2) {
		uint32_t first = l->words[t->a + i], last = l->words[t->a + i + 1];
		ok = (first == 0 || put_arc(l, out, first - 1, LANGUAGE_NONE)) && put_arc(l, out, last, LANGUAGE_EMPTY);
	}
	if (ok && (t->b == 0 || l->words[t->a + t->b - 1] < LANGUAGE_MAX_CODE))
		ok = put_arc(l, out, LANGUAGE_MAX_CODE, LANGUAGE_NONE);
	return ok;
}

static bool multiples_arcs(struct languages *l, struct term t, struct arc_list *out)
{
	bool ok = put_arc(l, out, '-' - 1, LANGUAGE_NONE) && put_arc(l, out, '-', language_multiples_after(l, &t, '-')) &&
	          put_arc(l, out, '.', language_multiples_after(l, &t, '.')) && put_arc(l, out, '0' - 1, LANGUAGE_NONE);
	for (uint32_t code = '0'; code <= '9' && ok; code++)
		ok = put_arc(l, out, code, language_multiples_after(l, &t, code));
	return ok && put_arc(l, out, LANGUAGE_MAX_CODE, LANGUAGE_NONE);
}

/* The terms whose arcs a term's are made of, [*n]; borrowed until a term is made. */
static const uint32_t *parts_of(const struct languages *l, uint32_t id, uint32_t own[2], size_t *n)
{
	const struct term *t = &l->terms[id];
	*n = 0;
	switch ((enum kind)t->kind) {
	case KIND_CLASS:
	case KIND_EMPTY:
	case KIND_MULTIPLES:
		return own;
	case KIND_SEQUENCE:
	case KIND_REPEAT:
	case KIND_NOT:
		own[0] = t->a;
		own[1] = t->b;
		*n = t->kind == KIND_SEQUENCE && l->terms[t->a].has_empty ? 2 : 1;
		return own;
	case KIND_EITHER:
	case KIND_BOTH:
		break;
	}
	*n = t->b;
	return l->words + t->a;
}

static bool list_arcs(struct languages *l, uint32_t id, struct arc_list *out)
{
	struct term t = l->terms[id];
	if (t.kind == KIND_CLASS)
		return class_arcs(l, &t, out);
	if (t.kind == KIND_EMPTY)
		return put_arc(l, out, LANGUAGE_MAX_CODE, LANGUAGE_NONE);
	if (t.kind == KIND_MULTIPLES)
		return multiples_arcs(l, t, out);
	size_t n;
	uint32_t own[2];
	const uint32_t *parts = parts_of(l, id, own, &n);
	if (parts == own)
		return walk_together(l, id, own, n, join_other, out);
	uint32_t *copy = malloc(n * sizeof *copy); /* `words` may move */
	if (!copy) {
		language_no_room(l);
		return false;
	}
	memcpy(copy, parts, n * sizeof *copy);
	bool ok = walk_together(l, id, copy, n, join_parts, out);
	free(copy);
	return ok;
}

/* Of a term whose parts have theirs. */
static bool make_arcs(struct languages *l, uint32_t id)
{
	struct arc_list list = {0};
	bool ok = language_take_steps(l, 1) && list_arcs(l, id, &list) && !l->failed;
	if (ok && !TABLE_GROW(l->account, l->arcs, l->n_arcs, l->max_arcs, list.n)) {
		language_no_room(l);
		ok = false;
	}
	if (ok) {
		l->terms[id].first_arc = (uint32_t)l->n_arcs;
		l->terms[id].n_arcs = (uint32_t)list.n;
		memcpy(l->arcs + l->n_arcs, list.arcs, list.n * sizeof *list.arcs);
		l->n_arcs += list.n;
	}
	free(list.arcs);
	return ok;
}

static bool has_arcs(const struct languages *l, uint32_t id)
{
	return l->terms[id].first_arc != UINT32_MAX;
}

/* Puts those of a term's parts on top of `waiting` that have no arcs yet. */
static bool await_parts(struct languages *l, uint32_t id)
{
	size_t n;
	uint32_t own[2];
	const uint32_t *parts = parts_of(l, id, own, &n);
	if (!TABLE_GROW(l->account, l->waiting, l->n_waiting, l->max_waiting, n)) {
		language_no_room(l);
		return false;
	}
	for (size_t i = n; i-- > 0;)
		if (!has_arcs(l, parts[i]))
			l->waiting[l->n_waiting++] = parts[i];
	return true;
}

/* Parts first, however deep they lie. */
static bool arcs_ready(struct languages *l, uint32_t id)
{
	if (has_arcs(l, id))
		return true;
	if (!TABLE_GROW(l->account, l->waiting, 0, l->max_waiting, 1)) {
		language_no_room(l);
		return false;
	}
	l->waiting[0] = id;
	for (l->n_waiting = 1; l->n_waiting > 0;) {
		size_t n = l->n_waiting;
		uint32_t top = l->waiting[n - 1];
		if (!has_arcs(l, top) && !await_parts(l, top))
			return false;
		if (l->n_waiting > n)
			continue;
		if (!has_arcs(l, top) && !make_arcs(l, top))
			return false;
		l->n_waiting--;
	}
	return true;
}

const struct arc *language_arcs(struct languages *l, uint32_t id, size_t *n)
{
	if (!arcs_ready(l, id))
		return NULL;
	*n = l->terms[id].n_arcs;
	return l->arcs + l->terms[id].first_arc;
}

/* The first arc that reaches `code`. */
static const struct arc *arc_at(const struct languages *l, uint32_t id, uint32_t code)
{
	const struct term *t = &l->terms[id];
	uint32_t low = 0, high = t->n_arcs - 1;
	while (low < high) {
		uint32_t middle = (low + high) / 2;
		if (l->arcs[t->first_arc + middle].last < code)
			low = middle + 1;
		else
			high = middle;
	}
	return &l->arcs[t->first_arc + low];
}

/* ---- questions ---- */

bool language_has_empty(const struct languages *l, uint32_t term)
{
	return l->terms[term].has_empty;
}

/* Puts a term into the search's queue unless it was there. */
static bool enqueue(struct languages *l, size_t *n_queue, uint32_t id, uint32_t parent)
{
	if (id < l->n_seen && l->seen[id] == l->search)
		return true;
	while (l->n_seen <= id) {
		if (!TABLE_GROW(l->account, l->seen, l->n_seen, l->max_seen, 1)) {
			language_no_room(l);
			return false;
		}
		l->seen[l->n_seen++] = 0;
	}
	if (!TABLE_GROW(l->account, l->queue, *n_queue, l->max_queue, 1) ||
	    !TABLE_GROW(l->account, l->parents, *n_queue, l->max_parents, 1)) {
		language_no_room(l);
		return false;
	}
	l->seen[id] = l->search;
	l->queue[*n_queue] = id;
	l->parents[(*n_queue)++] = parent;
	return true;
}

static bool surely_live(const struct languages *l, uint32_t id)
{
	const struct term *t = &l->terms[id];
	return t->has_empty || t->life == LIFE_LIVE || t->life == LIFE_SEVERAL || (t->plain && id != LANGUAGE_NONE);
}

static bool surely_dead(const struct languages *l, uint32_t id)
{
	return id == LANGUAGE_NONE || l->terms[id].life == LIFE_DEAD;
}

/* Breadth first, so the shortest string is found; who led to it is alive as well. */
static bool search(struct languages *l, uint32_t start)
{
	size_t n_queue = 0;
	l->search++;
	if (!enqueue(l, &n_queue, start, UINT32_MAX))
		return false;
	for (size_t at = 0; at < n_queue; at++) {
		if (at >= MAX_STEPS || !arcs_ready(l, l->queue[at])) {
			language_fail(l, "steps");
			return false;
		}
		const struct term t = l->terms[l->queue[at]];
		uint32_t first = 0;
		for (uint32_t i = 0; i < t.n_arcs; i++) {
			struct arc arc = l->arcs[t.first_arc + i];
			bool surrogates = first >= SURROGATES_FIRST && arc.last <= SURROGATES_LAST;
			first = arc.last + 1;
			if (surrogates || surely_dead(l, arc.target))
				continue;
			if (surely_live(l, arc.target)) {
				l->terms[arc.target].life = LIFE_LIVE;
				for (uint32_t k = (uint32_t)at; k != UINT32_MAX; k = l->parents[k])
					l->terms[l->queue[k]].life = LIFE_LIVE;
				return true;
			}
			if (!enqueue(l, &n_queue, arc.target, (uint32_t)at))
				return false;
		}
	}
	for (size_t i = 0; i < n_queue; i++)
		l->terms[l->queue[i]].life = LIFE_DEAD;
	return false;
}

bool language_is_live(struct languages *l, uint32_t term)
{
	if (surely_live(l, term))
		return true;
	return !surely_dead(l, term) && search(l, term);
}

/* How many characters may come, two of them as good as more; where they lead. */
static uint32_t ways_on(struct languages *l, uint32_t term, uint32_t *target)
{
	uint32_t n_ways = 0, first = 0;
	for (uint32_t i = 0; arcs_ready(l, term) && i < l->terms[term].n_arcs && n_ways < 2; i++) {
		struct arc arc = l->arcs[l->terms[term].first_arc + i];
		bool surrogates = first >= SURROGATES_FIRST && arc.last <= SURROGATES_LAST;
		if (!surrogates && language_is_live(l, arc.target)) {
			n_ways += arc.last > first ? 2 : 1;
			*target = arc.target;
		}
		first = arc.last + 1;
	}
	return n_ways;
}

bool language_has_several(struct languages *l, uint32_t term)
{
	uint32_t at = term, n_ways = language_is_live(l, term) ? 1 : 0;
	while (n_ways == 1 && l->terms[at].life != LIFE_SEVERAL) {
		bool ends = l->terms[at].has_empty;
		n_ways = ways_on(l, at, &at) + ends;
		if (n_ways == 1 && ends)
			return false;
	}
	if (n_ways > 0 && !l->failed)
		l->terms[term].life = LIFE_SEVERAL;
	return n_ways > 0 && !l->failed;
}

uint32_t language_after(struct languages *l, uint32_t term, uint32_t code)
{
	if ((code >= SURROGATES_FIRST && code <= SURROGATES_LAST) || !arcs_ready(l, term))
		return LANGUAGE_NONE;
	return arc_at(l, term, code)->target;
}

bool language_lives_in(struct languages *l, uint32_t term, uint32_t first, uint32_t last)
{
	if (!arcs_ready(l, term))
		return false;
	const struct term t = l->terms[term];
	size_t at = (size_t)(arc_at(l, term, first) - l->arcs);
	for (uint32_t from = first; at < t.first_arc + t.n_arcs && from <= last; at++) {
		struct arc arc = l->arcs[at];
		uint32_t to = arc.last < last ? arc.last : last;
		if (!(from >= SURROGATES_FIRST && to <= SURROGATES_LAST) && language_is_live(l, arc.target))
			return true;
		from = arc.last + 1;
	}
	return false;
}

bool language_matches(struct languages *l, uint32_t term, const char *text, size_t n_bytes)
{
	for (size_t at = 0, length; at < n_bytes && term != LANGUAGE_NONE; at += length)
		term = language_after(l, term, char_decode(text + at, &length));
	return l->terms[term].has_empty;
}

/* Level by level: is every arc of every term on it alive? */
static uint32_t search_freedom(struct languages *l, uint32_t start)
{
	uint32_t queue[MAX_FREE_TERMS], n_queue = 1, level_end = 1, depth = 0, search = ++l->free_search;
	queue[0] = start;
	for (uint32_t at = 0; at < n_queue; at++) {
		if (at == level_end) {
			depth++;
			level_end = n_queue;
		}
		if (!arcs_ready(l, queue[at]))
			return depth;
		const struct term t = l->terms[queue[at]];
		uint32_t first = 0;
		for (uint32_t i = 0; i < t.n_arcs; i++) {
			struct arc arc = l->arcs[t.first_arc + i];
			bool surrogates = first >= SURROGATES_FIRST && arc.last <= SURROGATES_LAST;
			first = arc.last + 1;
			const struct term *target = &l->terms[arc.target];
			bool known = target->free_search == search || (target->knows_freedom && target->freedom == LANGUAGE_NO_MAX);
			if (surrogates || known)
				continue;
			if (!language_is_live(l, arc.target) || n_queue == MAX_FREE_TERMS)
				return depth;
			l->terms[arc.target].free_search = search;
			queue[n_queue++] = arc.target;
		}
	}
	for (uint32_t i = 0; i < n_queue; i++) {
		l->terms[queue[i]].freedom = LANGUAGE_NO_MAX;
		l->terms[queue[i]].knows_freedom = true;
	}
	return LANGUAGE_NO_MAX;
}

uint32_t language_freedom(struct languages *l, uint32_t term)
{
	struct term *t = &l->terms[term];
	if (t->kind == KIND_REPEAT && t->a == LANGUAGE_ANY)
		return t->max;
	if (!t->knows_freedom) {
		uint32_t freedom = search_freedom(l, term);
		l->terms[term].freedom = freedom;
		l->terms[term].knows_freedom = true;
	}
	return l->terms[term].freedom;
}

uint32_t language_run(const struct languages *l, uint32_t term, uint32_t *max)
{
	const struct term *t = &l->terms[term];
	if (t->kind != KIND_REPEAT || l->terms[t->a].kind != KIND_CLASS)
		return LANGUAGE_NONE;
	*max = t->max;
	return t->a;
}
