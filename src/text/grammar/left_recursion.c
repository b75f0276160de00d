/* States are linked where one is reached from another without a byte: by a skip, by a call that may take none, and by a call
 * into a rule. A link of the last kind inside of a strongly connected component is left recursion (Tarjan 1972). */
#include "text/grammar/left_recursion.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_STEPS = 100000000 };

struct visit {
	uint32_t state, edge; /* the edge to look at next, */
	bool into;            /* and whether its way into the rule was looked at */
};

struct search {
	const struct network *n;
	bool *nothing;             /* [n_states] from here the end can be reached without a byte */
	uint32_t *number, *lowest; /* [n_states] 0: not seen */
	bool *open;
	uint32_t *component; /* [n_states] */
	uint32_t *stack;
	struct visit *visits;
	size_t n_stack, n_visits;
	uint32_t next_number, n_components;
};

static bool takes_nothing(const struct search *s, const struct network_edge *edge)
{
	return edge->kind == EDGE_SKIP || (edge->kind == EDGE_TEXT && edge->value == LANGUAGE_EMPTY) ||
	       (edge->kind == EDGE_CALL && s->nothing[s->n->rules[edge->value]]);
}

/* Until nothing changes; a chain of rules is settled in as many rounds as it goes against the order of states. False where
 * that takes too long. */
static bool find_nothing(struct search *s)
{
	const struct network *n = s->n;
	uint64_t steps = 0;
	for (bool changed = true; changed;) {
		changed = false;
		steps += n->n_states;
		if (steps > MAX_STEPS)
			return false;
		for (size_t i = n->n_states; i-- > 0;) {
			bool nothing = n->states[i].final;
			for (uint32_t e = n->states[i].first_edge; e != NETWORK_NONE && !nothing; e = n->edges[e].next)
				nothing = takes_nothing(s, &n->edges[e]) && s->nothing[n->edges[e].to];
			changed |= nothing && !s->nothing[i];
			s->nothing[i] |= nothing;
		}
	}
	return true;
}

static void enter(struct search *s, uint32_t state)
{
	s->number[state] = s->lowest[state] = ++s->next_number;
	s->open[state] = true;
	s->stack[s->n_stack++] = state;
	s->visits[s->n_visits++] = (struct visit){state, s->n->states[state].first_edge, false};
}

static void leave(struct search *s, uint32_t state)
{
	s->n_visits--;
	if (s->n_visits > 0) {
		uint32_t above = s->visits[s->n_visits - 1].state;
		if (s->lowest[state] < s->lowest[above])
			s->lowest[above] = s->lowest[state];
	}
	if (s->lowest[state] != s->number[state])
		return;
	s->n_components++;
	uint32_t member;
	do {
		member = s->stack[--s->n_stack];
		s->open[member] = false;
		s->component[member] = s->n_components;
	} while (member != state);
}

static void go_to(struct search *s, uint32_t from, uint32_t to)
{
	if (!s->number[to])
		enter(s, to);
	else if (s->open[to] && s->number[to] < s->lowest[from])
		s->lowest[from] = s->number[to];
}

static void find_components(struct search *s, uint32_t root)
{
	enter(s, root);
	while (s->n_visits > 0) {
		struct visit *v = &s->visits[s->n_visits - 1];
		uint32_t state = v->state;
		if (v->edge == NETWORK_NONE) {
			leave(s, state);
			continue;
		}
		const struct network_edge *edge = &s->n->edges[v->edge];
		if (edge->kind == EDGE_CALL && !v->into) {
			v->into = true;
			go_to(s, state, s->n->rules[edge->value]);
			continue;
		}
		v->into = false;
		v->edge = edge->next;
		if (takes_nothing(s, edge))
			go_to(s, state, edge->to);
	}
}

static bool has_inner_call(const struct search *s)
{
	for (size_t i = 0; i < s->n->n_states; i++)
		for (uint32_t e = s->n->states[i].first_edge; e != NETWORK_NONE; e = s->n->edges[e].next)
			if (s->n->edges[e].kind == EDGE_CALL && s->component[s->n->rules[s->n->edges[e].value]] == s->component[i])
				return true;
	return false;
}

bool network_recurses_left(struct network *network)
{
	size_t n = network->n_states + 1;
	struct search s = {.n = network};
	s.nothing = calloc(n, sizeof *s.nothing);
	s.open = calloc(n, sizeof *s.open);
	s.number = calloc(n, sizeof *s.number);
	s.lowest = calloc(n, sizeof *s.lowest);
	s.component = calloc(n, sizeof *s.component);
	s.stack = calloc(n, sizeof *s.stack);
	s.visits = calloc(n, sizeof *s.visits);
	bool recurses = true;
	if (s.nothing && s.open && s.number && s.lowest && s.component && s.stack && s.visits) {
		bool found = find_nothing(&s);
		for (uint32_t state = 0; state < network->n_states && found; state++)
			if (!s.number[state])
				find_components(&s, state);
		network->failed = !found;
		recurses = !found || has_inner_call(&s);
	} else {
		network_lacks_memory(network);
	}
	free(s.nothing);
	free(s.open);
	free(s.number);
	free(s.lowest);
	free(s.component);
	free(s.stack);
	free(s.visits);
	return recurses;
}
