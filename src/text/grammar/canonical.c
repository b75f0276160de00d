/* An instance as the text that a constraint wants: the matcher is asked, at each object, in which order the schemas that are
 * still possible there name its members. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "text/grammar/characters.h"
#include "text/grammar/grammar_private.h"
#include "text/grammar/numbers.h"
#include "text/grammar/table.h"

enum { MAX_ORDERS = 32, MAX_TRIES = 256 };

struct writer {
	struct grammar *g;
	struct bytes *out;
	int tries; /* orders that may still be tried */
};

/* Appends and follows; a state of 0 stays 0. */
static uint32_t put(struct writer *w, uint32_t state, const char *text, size_t n)
{
	bytes_append(w->out, text, n);
	for (size_t i = 0; i < n && state; i++)
		state = matcher_step(w->g->matcher, state, (unsigned char)text[i]);
	return state;
}

/* Follows what was appended since `start`. */
static uint32_t follow(struct writer *w, uint32_t state, size_t start)
{
	for (size_t i = start; i < w->out->n_bytes && state && !w->out->failed; i++)
		state = matcher_step(w->g->matcher, state, (unsigned char)w->out->data[i]);
	return state;
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
		decimal_write(w->out, &decimal);
		if (w->g->keeps_points && strpbrk(text, ".eE") && decimal_is_integer(&decimal) && decimal_is_plain(&decimal))
			bytes_append_text(w->out, ".0");
	} else {
		bytes_append_text(w->out, text);
	}
	return follow(w, state, start);
}

static uint32_t put_value(struct writer *w, uint32_t state, const struct json *value);

static uint32_t put_array(struct writer *w, uint32_t state, const struct json *array)
{
	state = put(w, state, "[", 1);
	for (const struct json *item = json_first(array); item; item = json_next(item)) {
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
	for (size_t i = 0; i < n; i++) {
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

static uint32_t put_object(struct writer *w, uint32_t state, const struct json *object)
{
	size_t n = json_count(object), start, i = 0;
	uint32_t orders[MAX_ORDERS], after = 0;
	struct member *members = calloc(n + 1, sizeof *members);
	if (!members) {
		w->out->failed = true;
		return 0;
	}
	for (const struct json *member = json_first(object); member; member = json_next(member), i++) {
		members[i] = (struct member){.value = member, .index = i};
		members[i].name = json_key(member, &members[i].n_name);
	}
	state = put(w, state, "{", 1);
	start = w->out->n_bytes;
	size_t n_orders = state ? matcher_orders(w->g->matcher, state, orders, MAX_ORDERS) : 0;
	sort_orders(w, orders, n_orders);
	for (size_t k = 0; k <= n_orders && !after && w->tries > 0 && !w->out->failed; k++) {
		w->tries -= k > 0;
		w->out->n_bytes = start;
		/* Where none fits, the object's own order, last, stays in `out`. */
		rank_members(w, members, n, k < n_orders ? orders[k] : NETWORK_NONE);
		after = put_members(w, state, members, n);
		if (!state)
			break;
	}
	free(members);
	return after;
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
	struct writer w = {g, out, MAX_TRIES};
	grammar_restart(g);
	uint32_t state = put_value(&w, g->state, value);
	return state && matcher_accepts(g->matcher, state) && !out->failed;
}
