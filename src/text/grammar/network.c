#include "text/grammar/network.h"

#include <stdlib.h>
#include <string.h>

#include "text/grammar/table.h"

void network_free(struct network *network)
{
	free(network->states);
	free(network->edges);
	free(network->rules);
	free(network->orders);
	free(network->items);
	*network = (struct network){0};
}

void network_lacks_memory(struct network *network)
{
	network->failed = true;
	network->no_memory |= !(network->account && network->account->full);
}

uint32_t network_state(struct network *network)
{
	if (!TABLE_GROW(network->account, network->states, network->n_states, network->max_states, 1)) {
		network_lacks_memory(network);
		return 0;
	}
	network->states[network->n_states] = (struct network_state){.first_edge = NETWORK_NONE, .about = NETWORK_NONE};
	return (uint32_t)network->n_states++;
}

uint32_t network_rule(struct network *network)
{
	if (!TABLE_GROW(network->account, network->rules, network->n_rules, network->max_rules, 1)) {
		network_lacks_memory(network);
		return 0;
	}
	network->rules[network->n_rules] = network_state(network);
	return (uint32_t)network->n_rules++;
}

void network_edge(struct network *network, uint32_t from, enum edge_kind kind, uint32_t value, uint32_t to)
{
	if (network->failed || network->n_edges >= NETWORK_MAX_EDGES) {
		network->failed = true;
		return;
	}
	if (!TABLE_GROW(network->account, network->edges, network->n_edges, network->max_edges, 1)) {
		network_lacks_memory(network);
		return;
	}
	struct network_state *state = &network->states[from];
	network->edges[network->n_edges] = (struct network_edge){(uint8_t)kind, value, to, state->first_edge};
	state->first_edge = (uint32_t)network->n_edges++;
}

void network_items(struct network *network, uint32_t state, struct network_items items)
{
	if (network->failed)
		return;
	if (!TABLE_GROW(network->account, network->items, network->n_items, network->max_items, 1)) {
		network_lacks_memory(network);
		return;
	}
	network->states[state].about = (uint32_t)network->n_items;
	network->states[state].has_items = true;
	network->items[network->n_items++] = items;
}

void network_bytes(struct network *network, uint32_t from, const char *bytes, size_t n_bytes, uint32_t to)
{
	if (n_bytes == 0)
		network_edge(network, from, EDGE_SKIP, 0, to);
	for (size_t i = 0; i < n_bytes && !network->failed; i++) {
		uint32_t next = i + 1 < n_bytes ? network_state(network) : to;
		network_edge(network, from, EDGE_BYTE, (unsigned char)bytes[i], next);
		from = next;
	}
}

void network_text(struct network *network, uint32_t from, const char *text, uint32_t to)
{
	network_bytes(network, from, text, strlen(text), to);
}

/* ---- trimming ---- */

/* Who must be looked at again when a state comes alive: edges into it, and calls of the rule that it starts. */
struct trimming {
	struct network *network;
	struct languages *languages;
	uint32_t *from;      /* [n_edges] the state that an edge leaves */
	uint32_t *into;      /* [n_states] first edge into a state, */
	uint32_t *next_into; /* [n_edges] and the next one */
	uint32_t *calls;     /* [n_states] first edge that calls the rule which starts there, */
	uint32_t *next_call; /* [n_edges] and the next one */
	uint32_t *queue;     /* [n_states] */
	size_t n_queue;
};

static uint32_t *filled(size_t n)
{
	uint32_t *array = malloc((n + 1) * sizeof *array);
	if (array)
		memset(array, 0xFF, (n + 1) * sizeof *array);
	return array;
}

static void come_alive(struct trimming *t, uint32_t state)
{
	if (t->network->states[state].live)
		return;
	t->network->states[state].live = true;
	t->queue[t->n_queue++] = state;
}

static bool edge_is_open(const struct trimming *t, const struct network_edge *edge)
{
	const struct network *n = t->network;
	if (edge->kind == EDGE_TEXT || edge->kind == EDGE_STRING)
		return language_is_live(t->languages, edge->value);
	return edge->kind != EDGE_CALL || n->states[n->rules[edge->value]].live;
}

static void look_at(struct trimming *t, uint32_t id)
{
	const struct network_edge *edge = &t->network->edges[id];
	if (t->network->states[edge->to].live && edge_is_open(t, edge))
		come_alive(t, t->from[id]);
}

static void find_live(struct trimming *t)
{
	struct network *n = t->network;
	for (uint32_t s = 0; s < n->n_states; s++)
		for (uint32_t e = n->states[s].first_edge; e != NETWORK_NONE; e = n->edges[e].next) {
			const struct network_edge *edge = &n->edges[e];
			t->from[e] = s;
			t->next_into[e] = t->into[edge->to];
			t->into[edge->to] = e;
			if (edge->kind == EDGE_CALL) {
				t->next_call[e] = t->calls[n->rules[edge->value]];
				t->calls[n->rules[edge->value]] = e;
			}
		}
	for (uint32_t s = 0; s < n->n_states; s++)
		if (n->states[s].final)
			come_alive(t, s);
	for (size_t at = 0; at < t->n_queue; at++) {
		uint32_t s = t->queue[at];
		for (uint32_t e = t->into[s]; e != NETWORK_NONE; e = t->next_into[e])
			look_at(t, e);
		for (uint32_t e = t->calls[s]; e != NETWORK_NONE; e = t->next_call[e])
			look_at(t, e);
	}
}

static void drop_edges(struct trimming *t)
{
	struct network *n = t->network;
	for (uint32_t s = 0; s < n->n_states; s++)
		for (uint32_t *at = &n->states[s].first_edge; *at != NETWORK_NONE;) {
			struct network_edge *edge = &n->edges[*at];
			if (n->states[edge->to].live && edge_is_open(t, edge))
				at = &edge->next;
			else
				*at = edge->next;
		}
}

bool network_trim(struct network *network, struct languages *languages)
{
	struct trimming t = {.network = network, .languages = languages};
	if (network->failed)
		return false;
	t.from = filled(network->n_edges);
	t.next_into = filled(network->n_edges);
	t.next_call = filled(network->n_edges);
	t.into = filled(network->n_states);
	t.calls = filled(network->n_states);
	t.queue = filled(network->n_states);
	bool ok = t.from && t.next_into && t.next_call && t.into && t.calls && t.queue;
	if (ok) {
		find_live(&t);
		drop_edges(&t);
	} else {
		network_lacks_memory(network);
	}
	free(t.from);
	free(t.next_into);
	free(t.next_call);
	free(t.into);
	free(t.calls);
	free(t.queue);
	return ok && !languages_failed(languages) && network->states[network->rules[network->root]].live;
}
