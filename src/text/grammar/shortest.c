#include "text/grammar/shortest.h"

#include <stdlib.h>

#include "text/grammar/characters.h"
#include "text/grammar/distinct.h"
#include "text/grammar/language_private.h"
#include "text/grammar/shortest_items.h"

enum { MAX_NODES = 100000, MAX_LOOKS = 64 << 20, UNREACHED = ITEMS_UNREACHED, IN_TEXT = 0, IN_STRING = 1 };

/* A term on the way, with the bytes that led there. */
struct node {
	uint32_t term, distance, parent, weight; /* weight: of the step from the parent */
};

/* How near a term was met by a search. */
struct meeting {
	uint32_t search, distance;
};

struct shortest {
	struct table_account *account;
	const struct network *network;
	struct languages *languages;
	uint32_t *ways;    /* [states] to the end of the rule; NULL until asked for */
	uint32_t *lengths; /* [2 * term + in_string] of its shortest string, plus one; 0: not known */
	size_t n_lengths, max_lengths;
	struct items_lengths items;
	uint32_t *stacks; /* [n_stacks] what must come after each */
	size_t n_stacks, max_stacks;
	struct node *nodes; /* of a search: those that were reached ... */
	size_t n_nodes, max_nodes;
	uint32_t *heap; /* ... and those that were not looked at, the nearest first */
	size_t n_heap, max_heap;
	struct meeting *met; /* [term] in the search that met it last */
	size_t n_met, max_met;
	uint32_t search;
	bool failed, no_memory;
};

/* Beyond UNREACHED nothing is told apart. */
static uint32_t add(uint32_t a, uint32_t b)
{
	return a >= UNREACHED || b >= UNREACHED ? UNREACHED : a + b < UNREACHED ? a + b : UNREACHED;
}

static uint32_t fail(struct shortest *s)
{
	s->failed = true;
	return UNREACHED;
}

static uint32_t lack_memory(struct shortest *s)
{
	s->no_memory |= !(s->account && s->account->full);
	return fail(s);
}

/* ---- characters ---- */

/* The fewest bytes that a character of first..last is written in; none of them is a surrogate alone. */
static uint32_t weight_of(uint32_t first, uint32_t last, bool in_string)
{
	if (first >= SURROGATES_FIRST && first <= SURROGATES_LAST)
		first = SURROGATES_LAST + 1;
	uint32_t best = character_bytes(first, in_string);
	for (uint32_t code = first + 1; code <= last && code <= 0x80; code++) {
		uint32_t weight = character_bytes(code, in_string);
		best = weight < best ? weight : best;
	}
	return best;
}

/* ---- languages ---- */

static uint32_t known_length(const struct shortest *s, uint32_t term, bool in_string)
{
	size_t at = (size_t)term * 2 + in_string;
	if (language_has_empty(s->languages, term))
		return 1;
	return at < s->n_lengths ? s->lengths[at] : 0;
}

static void know_length(struct shortest *s, uint32_t term, bool in_string, uint32_t length)
{
	size_t at = (size_t)term * 2 + in_string;
	if (at >= s->n_lengths &&
	    !TABLE_GROW(s->account, s->lengths, s->n_lengths, s->max_lengths, at + 1 - s->n_lengths)) {
		lack_memory(s);
		return;
	}
	while (s->n_lengths <= at)
		s->lengths[s->n_lengths++] = 0;
	s->lengths[at] = length + 1;
}

static bool is_nearer(const struct shortest *s, size_t a, size_t b)
{
	return s->nodes[s->heap[a]].distance < s->nodes[s->heap[b]].distance;
}

static void swap(struct shortest *s, size_t a, size_t b)
{
	uint32_t moved = s->heap[a];
	s->heap[a] = s->heap[b];
	s->heap[b] = moved;
}

static void push(struct shortest *s, struct node node)
{
	if (s->n_nodes >= MAX_NODES) {
		fail(s);
		return;
	}
	if (!TABLE_GROW(s->account, s->nodes, s->n_nodes, s->max_nodes, 1) ||
	    !TABLE_GROW(s->account, s->heap, s->n_heap, s->max_heap, 1)) {
		lack_memory(s);
		return;
	}
	s->nodes[s->n_nodes] = node;
	s->heap[s->n_heap] = (uint32_t)s->n_nodes++;
	for (size_t at = s->n_heap++; at > 0 && is_nearer(s, at, (at - 1) / 2); at = (at - 1) / 2)
		swap(s, at, (at - 1) / 2);
}

static uint32_t pop(struct shortest *s)
{
	uint32_t nearest = s->heap[0];
	s->heap[0] = s->heap[--s->n_heap];
	for (size_t at = 0;;) {
		size_t least = at;
		for (size_t child = at * 2 + 1; child <= at * 2 + 2 && child < s->n_heap; child++)
			least = is_nearer(s, child, least) ? child : least;
		if (least == at)
			return nearest;
		swap(s, at, least);
		at = least;
	}
}

/* Was the term not met in this search, or farther away? Many arcs lead to few terms, and only the nearest way to each
 * counts. */
static bool meets(struct shortest *s, uint32_t term, uint32_t distance)
{
	if (term >= s->n_met && !TABLE_GROW(s->account, s->met, s->n_met, s->max_met, term + 1 - s->n_met)) {
		lack_memory(s);
		return false;
	}
	while (s->n_met <= term)
		s->met[s->n_met++] = (struct meeting){0};
	struct meeting *met = &s->met[term];
	bool nearer = met->search != s->search || distance < met->distance;
	if (nearer)
		*met = (struct meeting){s->search, distance};
	return nearer;
}

static void push_arcs(struct shortest *s, uint32_t at, bool in_string)
{
	size_t n_arcs = 0;
	struct node node = s->nodes[at];
	const struct arc *arcs = language_arcs(s->languages, node.term, &n_arcs);
	uint32_t first = 0;
	s->failed |= !arcs;
	for (size_t i = 0; i < n_arcs && !s->failed; i++) {
		struct arc arc = arcs[i];
		bool surrogates = first >= SURROGATES_FIRST && arc.last <= SURROGATES_LAST;
		uint32_t weight = weight_of(first, arc.last, in_string);
		first = arc.last + 1;
		if (surrogates || arc.target == LANGUAGE_NONE)
			continue;
		uint32_t known = known_length(s, arc.target, in_string); /* its end is as good as seen */
		uint32_t distance = add(node.distance + weight, known ? known - 1 : 0);
		if (meets(s, arc.target, distance))
			push(s, (struct node){arc.target, distance, at, weight});
	}
}

/* The nearest term that has the empty string, or whose length is known, ends the search; all on the way to it are known
 * then. */
static uint32_t length_of(struct shortest *s, uint32_t term, bool in_string)
{
	uint32_t known = known_length(s, term, in_string);
	if (known)
		return known - 1;
	s->n_nodes = s->n_heap = 0;
	s->search++;
	if (meets(s, term, 0))
		push(s, (struct node){.term = term, .parent = UINT32_MAX});
	while (s->n_heap > 0 && !s->failed) {
		uint32_t at = pop(s);
		struct node node = s->nodes[at];
		known = known_length(s, node.term, in_string);
		if (known && at != 0) {
			uint32_t left = known - 1;
			for (uint32_t k = at; k != UINT32_MAX; left += s->nodes[k].weight, k = s->nodes[k].parent)
				know_length(s, s->nodes[k].term, in_string, left);
			return known_length(s, term, in_string) - 1;
		}
		if (node.distance == s->met[node.term].distance) /* else it was met again, nearer */
			push_arcs(s, at, in_string);
	}
	if (!s->failed)
		know_length(s, term, in_string, UNREACHED);
	return UNREACHED;
}

/* ---- rules ---- */

static uint32_t way_by(struct shortest *s, const struct network_edge *edge)
{
	uint32_t weight = 0;
	if (s->ways[edge->to] >= UNREACHED)
		return UNREACHED;
	switch ((enum edge_kind)edge->kind) {
	case EDGE_BYTE:
		weight = 1;
		break;
	case EDGE_TEXT:
		weight = length_of(s, edge->value, IN_TEXT);
		break;
	case EDGE_STRING:
		weight = add(length_of(s, edge->value, IN_STRING), 1);
		break;
	case EDGE_CALL:
		weight = s->ways[s->network->rules[edge->value]];
		break;
	case EDGE_SKIP:
		break;
	}
	return add(weight, s->ways[edge->to]);
}

/* To the end of an array, by way of the items that it owes; `without` is how long the one before them is, unless it counts. */
static uint32_t way_of_items(struct shortest *s, const struct network_items *items, uint32_t used, uint32_t without)
{
	uint32_t sum = items_lengths_sum(&s->items, s->languages, items, used, without);
	s->no_memory |= s->items.failed;
	s->failed |= s->items.failed || languages_failed(s->languages);
	return add(sum, items->owed + items->behind); /* commas, and the bracket */
}

/* The way from a state between two items when no item came, if some must. */
static bool is_owed(struct shortest *s, uint32_t state)
{
	const struct network_items *items = network_items_at(s->network, state);
	if (!items || items->owed == 0)
		return false;
	s->ways[state] = way_of_items(s, items, LANGUAGE_NONE, 0);
	return true;
}

/* Later states mostly lie behind earlier ones. */
static void find_ways(struct shortest *s)
{
	const struct network *n = s->network;
	size_t n_looks = 0;
	if (account_take(s->account, (n->n_states + 1) * sizeof *s->ways))
		s->ways = malloc((n->n_states + 1) * sizeof *s->ways);
	if (!s->ways) {
		lack_memory(s);
		return;
	}
	bool *known = calloc(n->n_states + 1, sizeof *known);
	if (!known) {
		lack_memory(s);
		return;
	}
	for (size_t i = 0; i < n->n_states && !s->failed; i++) {
		s->ways[i] = n->states[i].final ? 0 : UNREACHED;
		known[i] = n->states[i].live && is_owed(s, (uint32_t)i);
	}
	for (bool changed = true; changed && !s->failed;) {
		changed = false;
		for (size_t i = n->n_states; i-- > 0 && !s->failed;)
			for (uint32_t e = known[i] ? NETWORK_NONE : n->states[i].first_edge; e != NETWORK_NONE;
			     e = n->edges[e].next) {
				uint32_t way = way_by(s, &n->edges[e]);
				changed |= way < s->ways[i];
				s->ways[i] = way < s->ways[i] ? way : s->ways[i];
				s->failed |= ++n_looks > MAX_LOOKS;
			}
	}
	free(known);
}

/* ---- derivations ---- */

/* Of stacks with lower ids first: those below are among them. */
static uint32_t after_stack(struct shortest *s, const struct matcher *m, uint32_t id)
{
	if (id >= s->n_stacks && !TABLE_GROW(s->account, s->stacks, s->n_stacks, s->max_stacks, id + 1 - s->n_stacks))
		return lack_memory(s);
	for (; s->n_stacks <= id; s->n_stacks++) {
		size_t n;
		const struct frame *frames = matcher_frames(m, (uint32_t)s->n_stacks, &n);
		uint32_t best = UNREACHED;
		for (size_t i = 0; i < n; i++) {
			bool bottom = frames[i].to == FRAME_BOTTOM;
			uint32_t sum = bottom ? 0 : add(s->ways[frames[i].to], s->stacks[frames[i].below]);
			best = sum < best ? sum : best;
		}
		s->stacks[s->n_stacks] = best;
	}
	return s->stacks[id];
}

/* What is left of a lexeme in which a character was begun. */
static uint32_t begun_length(struct shortest *s, const struct place *place, bool in_string)
{
	struct character_end ends[CHARACTER_MAX_ENDS];
	size_t n_ends = character_ends(place->partial, ends), n_arcs = 0;
	uint32_t best = UNREACHED;
	for (size_t i = 0; i < n_ends; i++) {
		uint32_t first = ends[i].range.first;
		while (first <= ends[i].range.last && !s->failed) {
			const struct arc *arcs = language_arcs(s->languages, place->language, &n_arcs);
			size_t at = 0;
			while (arcs && at + 1 < n_arcs && arcs[at].last < first)
				at++;
			if (!arcs)
				return fail(s);
			struct arc arc = arcs[at];
			bool surrogates = first >= SURROGATES_FIRST && arc.last <= SURROGATES_LAST;
			uint32_t length =
			    arc.target == LANGUAGE_NONE || surrogates ? UNREACHED : length_of(s, arc.target, in_string);
			best = add(length, ends[i].n_bytes) < best ? add(length, ends[i].n_bytes) : best;
			first = arc.last + 1;
		}
	}
	return best;
}

/* A lexeme that is no string, before items that are owed: to a canonical text, or to another spelling of what is there. */
static uint32_t of_item_text(struct shortest *s, const struct network_items *items, const struct place *place,
                             struct bytes *item)
{
	struct languages *l = s->languages;
	uint32_t zeros = items_lengths_zeros(&s->items, l);
	for (size_t i = 0; i < item->n_bytes; i++)
		zeros = language_after(l, zeros, (unsigned char)item->data[i]);
	uint32_t canonical = language_both(l, place->language, language_not(l, zeros));
	uint32_t rest = length_of(s, canonical, IN_TEXT), best = UNREACHED;
	if (rest < UNREACHED)
		best = add(rest, way_of_items(s, items, place->used, (uint32_t)item->n_bytes + rest));
	bool point = item->n_bytes > 0 && item->data[item->n_bytes - 1] == '.';
	uint32_t ended = point ? language_after(l, place->language, '0') : place->language;
	if (item->n_bytes > 0 && language_has_empty(l, ended)) {
		item->data[item->n_bytes - point] = '\0';
		uint32_t way = add(point, way_of_items(s, items, place->used, distinct_length(item->data)));
		best = way < best ? way : best;
	}
	return best;
}

/* The same for any item, of which `rest` is left; LANGUAGE_NONE: it has ended, or none has begun. */
static uint32_t of_item(struct shortest *s, const struct network_items *items, const struct place *place, uint32_t rest,
                        bool in_string, const struct text_before *text)
{
	struct bytes item = {0};
	uint32_t way = UNREACHED;
	size_t end = text_before_bytes(text);
	distinct_copy(text, distinct_start(text, end, in_string), end, &item);
	if (item.failed)
		lack_memory(s);
	else if (in_string)
		way = add(rest, way_of_items(s, items, place->used, (uint32_t)item.n_bytes + rest));
	else if (place->language != LANGUAGE_NONE)
		way = of_item_text(s, items, place, &item);
	else
		way = way_of_items(s, items, place->used, items->behind ? distinct_length(item.data) : 0);
	bytes_free(&item);
	return way;
}

/* To the end of the place's rule. */
static uint32_t of_place(struct shortest *s, const struct matcher *m, const struct place *place,
                         const struct text_before *text)
{
	const struct network *n = s->network;
	const struct network_items *items = matcher_items(m, place);
	bool owed = items && items->owed > 0;
	if (place->language == LANGUAGE_NONE && !owed) {
		uint32_t best = UNREACHED;
		for (uint32_t e = n->states[place->at].first_edge; e != NETWORK_NONE; e = n->edges[e].next) {
			uint32_t way = n->edges[e].kind == EDGE_BYTE ? way_by(s, &n->edges[e]) : UNREACHED;
			best = way < best ? way : best;
		}
		return best;
	}
	if (place->language == LANGUAGE_NONE)
		return of_item(s, items, place, 0, false, text);
	const struct network_edge *edge = &n->edges[place->at];
	bool in_string = edge->kind == EDGE_STRING;
	uint32_t length = place->partial ? begun_length(s, place, in_string) : length_of(s, place->language, in_string);
	length = add(length, in_string);
	return owed ? of_item(s, items, place, length, in_string, text) : add(length, s->ways[edge->to]);
}

uint32_t shortest_of(struct shortest *s, const struct matcher *m, uint32_t state, const char *path, size_t n_path)
{
	uint32_t best = UNREACHED;
	size_t n_places;
	if (!s->ways && !s->failed)
		find_ways(s);
	if (matcher_accepts(m, state))
		return 0;
	const struct place *places = matcher_places(m, state, &n_places);
	const struct text_before text = matcher_text(m, path, n_path);
	for (size_t i = 0; i < n_places && !s->failed; i++) {
		uint32_t length = add(of_place(s, m, &places[i], &text), after_stack(s, m, places[i].stack));
		best = length < best ? length : best;
	}
	return s->failed || best >= UNREACHED ? SHORTEST_UNKNOWN : best;
}

/* ---- life ---- */

struct shortest *shortest_create(const struct network *network, struct languages *languages)
{
	struct shortest *s = calloc(1, sizeof *s);
	if (s) {
		s->network = network;
		s->account = network->account;
		s->languages = languages;
	}
	return s;
}

void shortest_destroy(struct shortest *s)
{
	if (!s)
		return;
	free(s->ways);
	free(s->lengths);
	free(s->stacks);
	free(s->nodes);
	free(s->heap);
	free(s->met);
	items_lengths_free(&s->items);
	free(s);
}

bool shortest_lacks_memory(const struct shortest *s)
{
	return s->no_memory;
}
