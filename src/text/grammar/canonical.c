/* An instance as the text that a constraint wants: the matcher is asked, at each object, in which orders the schemas that are
 * still possible there name its members. Where the text goes wrong further on, the last object that had another order takes
 * it, and the text is written anew. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "text/grammar/characters.h"
#include "text/grammar/grammar_private.h"
#include "text/grammar/numbers.h"
#include "text/grammar/table.h"

enum { MAX_ORDERS = 32, MAX_TRIES = 1000 };

/* Of an object: which of its orders is taken. */
struct turn {
	size_t taken, n_orders;
};

struct writer {
	struct grammar *g;
	struct bytes *out;
	size_t start;       /* of the text in `out` */
	struct turn *turns; /* of objects as they come; those from `at` on are not known yet */
	size_t n_turns, max_turns, at;
	bool as_given; /* the members' own order, whatever is accepted */
};

/* Follows what was appended since `start`; a state of 0 stays 0. */
static uint32_t follow(struct writer *w, uint32_t state, size_t start)
{
	const char *text = w->out->data + w->start;
	languages_refill(w->g->languages, GRAMMAR_REFILL_STEPS, GRAMMAR_TOKEN_STEPS);
	for (size_t i = start - w->start; w->start + i < w->out->n_bytes && state && !w->out->failed; i++)
		state = matcher_step(w->g->matcher, state, text, i, (unsigned char)text[i]);
	return state;
}

/* Appends and follows. */
static uint32_t put(struct writer *w, uint32_t state, const char *text, size_t n)
{
	size_t start = w->out->n_bytes;
	bytes_append(w->out, text, n);
	return follow(w, state, start);
}

static uint32_t put_string(struct writer *w, uint32_t state, const char *text, size_t n)
{
	size_t start = w->out->n_bytes;
	bytes_append(w->out, "\"", 1);
	characters_escape(w->out, text, n);
	bytes_append(w->out, "\"", 1);
	return follow(w, state, start);
}

static uint32_t put_number(struct writer *w, uint32_t state, const struct json *value)
{
	struct decimal decimal;
	size_t start = w->out->n_bytes;
	const char *text = json_number_text(value);
	if (decimal_parse(&decimal, text)) {
		bool keeps_point = w->g->keeps_points && strpbrk(text, ".eE") && decimal_is_integer(&decimal);
		(keeps_point ? decimal_write_pointed : decimal_write)(w->out, &decimal);
	} else {
		bytes_append_text(w->out, text);
	}
	return follow(w, state, start);
}

static uint32_t put_value(struct writer *w, uint32_t state, const struct json *value);

static bool goes_on(const struct writer *w, uint32_t state)
{
	return state || w->as_given;
}

static uint32_t put_array(struct writer *w, uint32_t state, const struct json *array)
{
	state = put(w, state, "[", 1);
	for (const struct json *item = json_first(array); item && goes_on(w, state); item = json_next(item)) {
		if (item != json_first(array))
			state = put(w, state, ",", 1);
		state = put_value(w, state, item);
	}
	return put(w, state, "]", 1);
}

/* ---- objects ---- */

struct member {
	const struct json *value;
	const char *name;
	size_t n_name, rank, index;
};

static int by_rank(const void *a, const void *b)
{
	const struct member *x = a, *y = b;
	if (x->rank != y->rank)
		return x->rank < y->rank ? -1 : 1;
	return (x->index > y->index) - (x->index < y->index);
}

static void rank_members(const struct writer *w, struct member *members, size_t n, uint32_t order)
{
	static const struct network_order none = {0};
	const struct network_order *o = order == NETWORK_NONE ? &none : &w->g->network.orders[order];
	for (size_t i = 0; i < n; i++) {
		assert(members[i].name);
		members[i].rank = 0;
		while (members[i].rank < o->n_names &&
		       (o->names[members[i].rank].n_bytes != members[i].n_name ||
		        memcmp(o->names[members[i].rank].text, members[i].name, members[i].n_name) != 0))
			members[i].rank++;
	}
	qsort(members, n, sizeof *members, by_rank);
}

static uint32_t put_members(struct writer *w, uint32_t state, const struct member *members, size_t n)
{
	for (size_t i = 0; i < n && goes_on(w, state); i++) {
		if (i > 0)
			state = put(w, state, ",", 1);
		state = put_string(w, state, members[i].name, members[i].n_name);
		state = put(w, state, ":", 1);
		state = put_value(w, state, members[i].value);
	}
	return put(w, state, "}", 1);
}

/* Those that name most first: who names none takes any order, and would be found to fit where others also must. */
static void sort_orders(const struct writer *w, uint32_t *orders, size_t n)
{
	for (size_t i = 1; i < n; i++)
		for (size_t k = i; k > 0; k--) {
			uint32_t order = orders[k];
			if (w->g->network.orders[order].n_names <= w->g->network.orders[orders[k - 1]].n_names)
				break;
			orders[k] = orders[k - 1];
			orders[k - 1] = order;
		}
}

/* The members in each of the orders, [n_orders, n]: where two are the same only one stays. Returns how many there are. */
static size_t arrange(const struct writer *w, struct member *members, size_t n, const uint32_t *orders, size_t n_orders)
{
	size_t kept = 0;
	for (size_t k = 0; k < n_orders; k++) {
		struct member *here = members + kept * n;
		if (kept > 0 && n > 0)
			memcpy(here, members, n * sizeof *here);
		rank_members(w, here, n, orders[k]);
		bool known = false;
		for (size_t other = 0; other < kept && !known; other++) {
			known = true;
			for (size_t i = 0; i < n && known; i++)
				known = members[other * n + i].index == here[i].index;
		}
		kept += !known;
	}
	return kept;
}

/* Which of so many orders the object takes this time. */
static size_t take_turn(struct writer *w, size_t n_orders)
{
	if (w->at == w->n_turns) {
		if (!TABLE_RESERVE(w->turns, w->n_turns, w->max_turns, 1)) {
			w->out->failed = true;
			return 0;
		}
		w->turns[w->n_turns++] = (struct turn){0, n_orders};
	}
	return w->turns[w->at++].taken;
}

/* The last object that has another order takes it; false where none has. */
static bool next_turn(struct writer *w)
{
	for (; w->n_turns > 0; w->n_turns--) {
		struct turn *last = &w->turns[w->n_turns - 1];
		if (++last->taken < last->n_orders)
			return true;
	}
	return false;
}

static uint32_t put_object(struct writer *w, uint32_t state, const struct json *object)
{
	size_t n = json_count(object), i = 0;
	uint32_t orders[MAX_ORDERS + 1];
	state = put(w, state, "{", 1);
	size_t n_orders = state ? matcher_orders(w->g->matcher, state, orders, MAX_ORDERS) : 0;
	sort_orders(w, orders, n_orders);
	orders[n_orders++] = NETWORK_NONE; /* its own */
	struct member *members = calloc(n_orders * n + 1, sizeof *members);
	if (!members) {
		w->out->failed = true;
		return 0;
	}
	for (const struct json *member = json_first(object); member; member = json_next(member), i++) {
		members[i] = (struct member){.value = member, .index = i};
		members[i].name = json_key(member, &members[i].n_name);
	}
	n_orders = arrange(w, members, n, orders, n_orders);
	size_t turn = w->as_given ? 0 : take_turn(w, n_orders);
	state = put_members(w, state, members + turn * n, n);
	free(members);
	return state;
}

static uint32_t put_value(struct writer *w, uint32_t state, const struct json *value)
{
	bool yes = false;
	size_t n;
	const char *text;
	switch (json_type(value)) {
	case JSON_NULL:
		return put(w, state, "null", 4);
	case JSON_BOOL:
		(void)json_bool(value, &yes);
		return yes ? put(w, state, "true", 4) : put(w, state, "false", 5);
	case JSON_NUMBER:
		return put_number(w, state, value);
	case JSON_STRING:
		text = json_string(value, &n);
		return put_string(w, state, text, n);
	case JSON_ARRAY:
		return put_array(w, state, value);
	case JSON_OBJECT:
		return put_object(w, state, value);
	}
	return 0;
}

bool grammar_canonical(struct grammar *g, const struct json *value, struct bytes *out)
{
	size_t start = out->n_bytes;
	struct writer w = {.g = g, .out = out, .start = start};
	uint32_t state = 0;
	grammar_restart(g);
	for (int tries = 0; tries < MAX_TRIES && !state && !out->failed; tries++) {
		if (tries > 0 && !next_turn(&w))
			break;
		out->n_bytes = start;
		w.at = 0;
		state = put_value(&w, g->state, value);
		state = state && matcher_accepts(g->matcher, state) ? state : 0;
	}
	if (!state && !out->failed) {
		out->n_bytes = start;
		w.as_given = true;
		(void)put_value(&w, 0, value);
	}
	free(w.turns);
	return state && !out->failed;
}
