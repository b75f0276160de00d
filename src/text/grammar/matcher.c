#include <stdlib.h>
#include <string.h>

#include "text/grammar/characters.h"
#include "text/grammar/language_private.h"
#include "text/grammar/matcher_private.h"

enum {
	MAX_PLACES = 1 << 14,  /* of one state */
	MAX_CLOSURE = 1 << 18, /* steps between two bytes */
	MAX_STATES = 1 << 18,  /* of one mask's walk */
	TIDY_STATES = 1 << 13, /* kept between masks; or twice as many as were made for one */
	N_BYTES = 256,
	TABLE_BYTES = N_BYTES * sizeof(uint32_t),
	TIDY_SHARE = 4, /* of what a constraint may have: what takes more of it is forgotten, too */
};

#define TOO_MANY_STEPS "steps: the grammar can be read in too many ways"
#define TOO_MUCH       "size: the grammar can be read in too many ways for the memory of one constraint"
#define TOO_LARGE      "size: what is to be remembered of the text takes more than the memory of one constraint"
#define TOO_MANY_WAYS  "size: the grammar can be read in too many ways"

/* Notes the first reason; memory that was short before is the reason for all else, and so is a bound that was met. */
static void fail(struct matcher *m, const char *why)
{
	const char *before = languages_failed(m->languages);
	if (before && strcmp(before, LANGUAGE_TOO_LARGE) == 0)
		why = TOO_LARGE;
	if (!m->failed)
		m->failed = languages_lack_memory(m->languages) ? LANGUAGE_NO_MEMORY : why;
}

static void no_room(struct matcher *m)
{
	fail(m, m->account && m->account->full ? TOO_MUCH : LANGUAGE_NO_MEMORY);
}

static void take_steps(struct matcher *m, uint64_t n)
{
	if (!language_take_steps(m->languages, n))
		fail(m, TOO_MANY_STEPS);
}

const char *matcher_failed(const struct matcher *m)
{
	return m->failed ? m->failed : languages_failed(m->languages);
}

/* ---- states ---- */

static uint32_t hash_of_state(const void *owner, uint32_t id)
{
	const struct matcher *m = owner;
	const struct match_state *state = &m->states[id];
	uint32_t hash = table_hash(TABLE_HASH_START, state->accepts);
	for (uint32_t i = 0; i < state->n_places; i++) {
		const struct place *p = &m->places[state->first_place + i];
		hash = table_hash(table_hash(table_hash(table_hash(hash, p->at), p->language), p->partial), p->stack);
		hash = p->used ? table_hash(hash, p->used) : hash;
	}
	return hash ^ hash >> 15;
}

static int by_place(const void *a, const void *b)
{
	const struct place *x = a, *y = b;
	if (x->at != y->at)
		return x->at < y->at ? -1 : 1;
	if (x->language != y->language)
		return x->language < y->language ? -1 : 1;
	if (x->stack != y->stack)
		return x->stack < y->stack ? -1 : 1;
	if (x->used != y->used)
		return x->used < y->used ? -1 : 1;
	return (x->partial > y->partial) - (x->partial < y->partial);
}

static void sort_places(struct matcher *m)
{
	size_t n = m->n_places - m->made_first, kept = 0;
	if (n == 0)
		return; /* there may be no places at all yet */
	struct place *made = m->places + m->made_first;
	if (n > 1)
		qsort(made, n, sizeof *made, by_place);
	for (size_t i = 0; i < n; i++)
		if (kept == 0 || by_place(&made[kept - 1], &made[i]) != 0)
			made[kept++] = made[i];
	m->n_places = m->made_first + kept;
}

static void settle_places(struct matcher *m)
{
	m->stacks.n_copied = 0;
	for (size_t i = m->made_first; i < m->n_places && !m->failed; i++) {
		m->places[i].stack = stacks_settle(&m->stacks, m->places[i].stack);
		if (m->places[i].stack != STACK_NONE)
			continue;
		if (m->stacks.no_memory || (m->account && m->account->full))
			no_room(m);
		else
			fail(m, TOO_MANY_WAYS);
	}
	take_steps(m, m->stacks.n_copied);
}

const struct network_items *matcher_items(const struct matcher *m, const struct place *place)
{
	const struct network *n = m->network;
	uint32_t state = place->language == LANGUAGE_NONE ? place->at : n->edges[place->at].to;
	return network_items_at(n, state);
}

static bool made_reads_back(const struct matcher *m)
{
	bool reads_back = false;
	for (size_t i = m->made_first; i < m->n_places && m->network->n_items > 0 && !reads_back; i++) {
		const struct network_items *items = matcher_items(m, &m->places[i]);
		reads_back = items && items->behind;
	}
	return reads_back;
}

/* The state that was being made; 0 where it is none, or fails. */
static uint32_t finish_state(struct matcher *m)
{
	settle_places(m);
	sort_places(m);
	size_t n = m->n_places - m->made_first;
	if (m->failed || (n == 0 && !m->made_accepts)) {
		m->n_places = m->made_first;
		return 0;
	}
	bool too_many = n > MAX_PLACES || m->n_states >= m->n_before + MAX_STATES;
	if (too_many || !TABLE_GROW(m->account, m->states, m->n_states, m->max_states, 1) ||
	    !table_index_room(&m->index, hash_of_state, m)) {
		if (too_many)
			fail(m, TOO_MANY_WAYS);
		else
			no_room(m);
		m->n_places = m->made_first;
		return 0;
	}
	m->states[m->n_states] = (struct match_state){.first_place = (uint32_t)m->made_first,
	                                              .n_places = (uint32_t)n,
	                                              .accepts = m->made_accepts,
	                                              .reads_back = made_reads_back(m)};
	uint32_t hash = hash_of_state(m, (uint32_t)m->n_states);
	for (size_t at = hash & (m->index.n_slots - 1); m->index.slots[at]; at = (at + 1) & (m->index.n_slots - 1)) {
		const struct match_state *known = &m->states[m->index.slots[at] - 1];
		if (known->n_places != n || known->accepts != m->made_accepts ||
		    (n && memcmp(m->places + known->first_place, m->places + m->made_first, n * sizeof *m->places) != 0))
			continue;
		m->n_places = m->made_first;
		return m->index.slots[at] - 1;
	}
	table_index_put(&m->index, hash, (uint32_t)m->n_states);
	return (uint32_t)m->n_states++;
}

static void begin_state(struct matcher *m)
{
	m->made_first = m->n_places;
	m->made_accepts = false;
	m->n_visits = 0;
	stacks_begin(&m->stacks);
}

static void put_place(struct matcher *m, struct place place)
{
	if (!TABLE_GROW(m->account, m->places, m->n_places, m->max_places, 1)) {
		no_room(m);
		return;
	}
	m->places[m->n_places++] = place;
}

/* ---- what can be reached without a byte ---- */

/* The visit to that state with that stack and those items, or where it would be noted. */
static uint32_t visit_slot(const struct matcher *m, uint32_t state, uint32_t stack, uint32_t used, bool *known)
{
	uint32_t mask = (uint32_t)m->n_visit_slots - 1,
	         hash = state * 0x9E3779B1U ^ stack * 0x85EBCA6BU ^ used * 0xC2B2AE35U;
	for (uint32_t at = (hash ^ hash >> 15) & mask;; at = (at + 1) & mask) {
		uint32_t i = m->visit_slots[at];
		*known = i < m->n_visits && m->visits[i].slot == at;
		if (!*known)
			return at;
		const struct visit *visit = &m->visits[i];
		if (visit->state == state && visit->stack == stack && visit->used == used)
			return at;
	}
}

static void note_visit(struct matcher *m, uint32_t i)
{
	struct visit *visit = &m->visits[i];
	bool known;
	visit->slot = visit_slot(m, visit->state, visit->stack, visit->used, &known);
	m->visit_slots[visit->slot] = i;
}

static bool double_visit_slots(struct matcher *m)
{
	enum { LEAST_SLOTS = 64 };
	size_t before = m->n_visit_slots, n = before ? before * 2 : LEAST_SLOTS, n_visits = m->n_visits;
	if (!account_take(m->account, n * sizeof *m->visit_slots))
		return false;
	uint32_t *slots = calloc(n, sizeof *slots);
	account_give(m->account, (slots ? before : n) * sizeof *slots);
	if (!slots)
		return false;
	free(m->visit_slots);
	m->visit_slots = slots;
	m->n_visit_slots = n;
	for (m->n_visits = 0; m->n_visits < n_visits; m->n_visits++)
		note_visit(m, (uint32_t)m->n_visits);
	return true;
}

/* Once for each state with each stack (and items that came). */
static void visit(struct matcher *m, uint32_t state, uint32_t stack, uint32_t used)
{
	bool known;
	visit_slot(m, state, stack, used, &known);
	if (known)
		return;
	if (m->n_visits >= MAX_CLOSURE) {
		fail(m, TOO_MANY_STEPS);
		return;
	}
	if (!TABLE_GROW(m->account, m->visits, m->n_visits, m->max_visits, 1) ||
	    (m->n_visits * 2 >= m->n_visit_slots && !double_visit_slots(m))) {
		no_room(m);
		return;
	}
	m->visits[m->n_visits] = (struct visit){state, stack, used, 0};
	note_visit(m, (uint32_t)m->n_visits);
	m->n_visits++;
}

static bool only_returns(const struct network_state *state)
{
	return state->final && state->first_edge == NETWORK_NONE;
}

static void visit_call(struct matcher *m, const struct network_edge *edge, uint32_t stack)
{
	const struct network *n = m->network;
	/* Who would only return there returns to whom that returns: lists that end with themselves stay flat. */
	struct stack_link link = {.to = edge->to, .stack = stack, .tail = only_returns(&n->states[edge->to])};
	bool first;
	uint32_t call = stacks_call(&m->stacks, edge->value, link, &first);
	if (call == STACK_NONE)
		no_room(m);
	else if (first)
		visit(m, n->rules[edge->value], call, LANGUAGE_NONE);
	else if (m->stacks.calls[call & ~STACK_CALL].ended)
		visit(m, edge->to, stack, LANGUAGE_NONE);
}

/* A rule ends here (its arrays have ended): who wanted it goes on, and who wants it later (visit_call). */
static void visit_ends(struct matcher *m, uint32_t stack)
{
	struct stacks *s = &m->stacks;
	if (stack_is_call(stack)) {
		struct stack_call *call = &s->calls[stack & ~STACK_CALL];
		for (uint32_t i = call->ended ? STACK_NONE : call->first_link; i != STACK_NONE; i = s->links[i].next)
			visit(m, s->links[i].to, s->links[i].stack, LANGUAGE_NONE);
		call->ended = true;
		return;
	}
	struct stack_set set = s->sets[stack];
	take_steps(m, set.n);
	for (uint32_t i = 0; i < set.n && !m->failed; i++) {
		struct frame frame = s->frames[set.first + i];
		if (frame.to == FRAME_BOTTOM)
			m->made_accepts = true;
		else
			visit(m, frame.to, frame.below, LANGUAGE_NONE);
	}
}

/* A lexeme begins; an item that must differ from those that came does where there is another. */
static void begin_lexeme(struct matcher *m, uint32_t e, uint32_t stack, uint32_t used)
{
	const struct network_edge *edge = &m->network->edges[e];
	uint32_t language = used ? items_begin(m, edge->value, used, edge->kind == EDGE_STRING) : edge->value;
	if (language != LANGUAGE_NONE)
		put_place(m, (struct place){e, language, 0, stack, used});
}

static void look_at_state(struct matcher *m, const struct visit *at)
{
	const struct network *n = m->network;
	const struct network_state *state = &n->states[at->state];
	uint32_t id = at->state, stack = at->stack, used = at->used;
	bool takes_bytes = false;
	for (uint32_t e = state->first_edge; e != NETWORK_NONE && !m->failed; e = n->edges[e].next) {
		const struct network_edge *edge = &n->edges[e];
		switch ((enum edge_kind)edge->kind) {
		case EDGE_BYTE:
			takes_bytes = true;
			break;
		case EDGE_TEXT:
			if (language_has_empty(m->languages, edge->value))
				visit(m, edge->to, stack, used);
			begin_lexeme(m, e, stack, used);
			break;
		case EDGE_STRING:
			begin_lexeme(m, e, stack, used);
			break;
		case EDGE_CALL:
			visit_call(m, edge, stack);
			break;
		case EDGE_SKIP:
			visit(m, edge->to, stack, used);
			break;
		}
	}
	if (takes_bytes)
		put_place(m, (struct place){id, LANGUAGE_NONE, 0, stack, used});
	if (state->final)
		visit_ends(m, stack);
}

/* Adds what can be reached from a state of the network to the state that is being made. */
static void reach(struct matcher *m, uint32_t state, uint32_t stack, uint32_t used)
{
	size_t first = m->n_visits;
	visit(m, state, stack, used);
	for (size_t i = first; i < m->n_visits && !m->failed; i++) {
		const struct visit at = m->visits[i]; /* they may move */
		take_steps(m, 1);
		look_at_state(m, &at);
	}
}

/* ---- steps ---- */

static void step_between(struct matcher *m, const struct place *place, unsigned char byte)
{
	const struct network *n = m->network;
	const struct network_items *items = matcher_items(m, place);
	uint32_t used = place->used;
	if (items && items->behind && byte == ',' && !items_count(m, items, &used))
		return;
	for (uint32_t e = n->states[place->at].first_edge; e != NETWORK_NONE; e = n->edges[e].next)
		if (n->edges[e].kind == EDGE_BYTE && n->edges[e].value == byte)
			reach(m, n->edges[e].to, place->stack, used);
}

static void step_place(struct matcher *m, struct place place, unsigned char byte)
{
	if (place.language == LANGUAGE_NONE) {
		step_between(m, &place, byte);
		return;
	}
	const struct network_edge *edge = &m->network->edges[place.at];
	bool in_string = edge->kind == EDGE_STRING;
	if (in_string && byte == '"' && place.partial == 0) {
		if (language_has_empty(m->languages, place.language) && items_may_end(m, &place))
			reach(m, edge->to, place.stack, place.used);
		return;
	}
	uint32_t language = items_before_byte(m, &place, in_string), partial = place.partial;
	if (!character_step(m->languages, in_string, &language, &partial, byte))
		return;
	if (partial == 0)
		language = items_after_byte(m, language, place.used, in_string);
	if (language == LANGUAGE_NONE)
		return;
	if (!in_string && partial == 0 && language_has_empty(m->languages, language))
		reach(m, edge->to, place.stack, place.used);
	if (in_string || language != LANGUAGE_EMPTY)
		put_place(m, (struct place){place.at, language, partial, place.stack, place.used});
}

static uint32_t make_step(struct matcher *m, uint32_t state, unsigned char byte)
{
	uint32_t first = m->states[state].first_place, n = m->states[state].n_places;
	begin_state(m);
	m->read_back = false;
	take_steps(m, n);
	for (uint32_t i = 0; i < n && !m->failed; i++)
		step_place(m, m->places[first + i], byte);
	uint32_t next = finish_state(m);
	if (languages_failed(m->languages)) {
		fail(m, languages_failed(m->languages));
		return 0;
	}
	if (!m->read_back && m->states[state].next)
		m->states[state].next[byte] = next ? next : MATCHER_DEAD;
	return next;
}

static bool make_table(struct matcher *m, uint32_t state)
{
	if (account_take(m->account, TABLE_BYTES)) {
		m->states[state].next = calloc(1, TABLE_BYTES);
		m->n_tables += m->states[state].next != NULL;
		if (m->states[state].next)
			return true;
		account_give(m->account, TABLE_BYTES);
	}
	no_room(m);
	return false;
}

struct text_before matcher_text(const struct matcher *m, const char *path, size_t n_path)
{
	return (struct text_before){.first = m->text.data, .n_first = m->text.n_bytes, .second = path, .n_second = n_path};
}

uint32_t matcher_step(struct matcher *m, uint32_t state, const char *path, size_t n_path, unsigned char byte)
{
	if (state == 0 || m->failed || (!m->states[state].next && !make_table(m, state)))
		return 0;
	return matcher_look(m, state, path, n_path, byte);
}

uint32_t matcher_look(struct matcher *m, uint32_t state, const char *path, size_t n_path, unsigned char byte)
{
	if (state == 0 || m->failed)
		return 0;
	uint32_t known = m->states[state].next ? m->states[state].next[byte] : 0;
	if (known)
		return known == MATCHER_DEAD ? 0 : known;
	m->last = matcher_text(m, path, n_path);
	m->last_byte = byte;
	return make_step(m, state, byte);
}

void matcher_put_off(struct matcher *m, bool yes)
{
	m->puts_off = yes;
}

void matcher_keep(struct matcher *m, uint32_t state, const char *bytes, size_t n_bytes)
{
	if (!m->states[state].reads_back)
		bytes_clear(&m->text);
	else
		bytes_append(&m->text, bytes, n_bytes);
	if (m->text.failed)
		fail(m, LANGUAGE_NO_MEMORY);
}

size_t matcher_text_bytes(const struct matcher *m)
{
	return m->text.capacity;
}

bool matcher_reads_back(const struct matcher *m, uint32_t state)
{
	return m->states[state].reads_back;
}

bool matcher_owes(const struct matcher *m, uint32_t state)
{
	const struct match_state *s = &m->states[state];
	for (uint32_t i = 0; i < s->n_places && m->network->n_items > 0; i++) {
		const struct network_items *items = matcher_items(m, &m->places[s->first_place + i]);
		if (items && items->owed + items->behind > 1)
			return true;
	}
	return false;
}

bool matcher_accepts(const struct matcher *m, uint32_t state)
{
	return m->states[state].accepts;
}

uint32_t matcher_freedom(struct matcher *m, uint32_t state)
{
	struct match_state s = m->states[state];
	if (s.asked)
		return s.freedom;
	for (uint32_t i = 0; i < s.n_places; i++) {
		const struct place *p = &m->places[s.first_place + i];
		if (p->language == LANGUAGE_NONE || p->partial != 0)
			continue;
		uint32_t freedom = language_freedom(m->languages, p->language);
		s.freedom = freedom > s.freedom ? freedom : s.freedom;
	}
	m->states[state].freedom = s.freedom;
	m->states[state].asked = true;
	return s.freedom;
}

uint32_t matcher_inside(struct matcher *m, uint32_t edge, uint32_t language)
{
	begin_state(m);
	put_place(m, (struct place){edge, language, 0, STACK_BOTTOM, LANGUAGE_NONE});
	return finish_state(m);
}

uint32_t matcher_outside(struct matcher *m, uint32_t state)
{
	const struct match_state s = m->states[state];
	begin_state(m);
	for (uint32_t i = 0; i < s.n_places && !m->failed; i++) {
		struct place place = m->places[s.first_place + i];
		if (!place_is_in_string(m, &place))
			put_place(m, place);
	}
	return finish_state(m);
}

static void add_order(const struct network_state *state, uint32_t *orders, size_t *n, size_t max)
{
	for (size_t i = 0; i < *n; i++)
		if (orders[i] == state->about)
			return;
	if (!state->has_items && state->about != NETWORK_NONE && *n < max)
		orders[(*n)++] = state->about;
}

size_t matcher_orders(const struct matcher *m, uint32_t state, uint32_t *orders, size_t max)
{
	const struct match_state *s = &m->states[state];
	size_t n = 0, n_frames;
	for (uint32_t i = 0; i < s->n_places; i++) {
		const struct place *p = &m->places[s->first_place + i];
		if (p->language == LANGUAGE_NONE)
			add_order(&m->network->states[p->at], orders, &n, max);
		const struct frame *frames = matcher_frames(m, p->stack, &n_frames);
		for (size_t k = 0; k < n_frames; k++)
			if (frames[k].to != FRAME_BOTTOM)
				add_order(&m->network->states[frames[k].to], orders, &n, max);
	}
	return n;
}

/* ---- life ---- */

static void forget_states(struct matcher *m)
{
	for (size_t i = 0; i < m->n_states; i++)
		free(m->states[i].next);
	account_give(m->account, m->n_tables * TABLE_BYTES);
	m->n_tables = 0;
	m->n_states = 1;
	m->states[0] = (struct match_state){0};
	m->index.n_used = 0;
	if (m->index.slots)
		memset(m->index.slots, 0, m->index.n_slots * sizeof *m->index.slots);
}

uint64_t matcher_age(const struct matcher *m)
{
	return m->age;
}

/* For what is kept between masks. */
static bool is_much(const struct matcher *m, size_t n_bytes)
{
	return m->account && n_bytes > m->account->max_bytes / TIDY_SHARE;
}

uint32_t matcher_tidy(struct matcher *m, uint32_t state)
{
	size_t tables = m->n_tables * TABLE_BYTES, rest = m->n_states * sizeof *m->states + m->n_places * sizeof *m->places;
	if (m->n_needed == 0)
		m->n_needed = m->n_states;
	m->n_before = m->n_states;
	/* What one mask needs again and again is kept: to make it anew each time takes more steps than come with a token. */
	bool many = m->n_states > TIDY_STATES && (m->n_states > m->n_needed * 2 || is_much(m, tables + rest));
	if ((!many && !is_much(m, tables)) || m->failed)
		return state;
	struct match_state kept = m->states[state];
	forget_states(m);
	if (kept.n_places > 0)
		memmove(m->places, m->places + kept.first_place, kept.n_places * sizeof *m->places);
	m->n_places = kept.n_places;
	m->made_first = 0;
	m->made_accepts = kept.accepts;
	m->n_needed = m->n_before = 0;
	m->age++;
	return finish_state(m);
}

struct matcher *matcher_create(const struct network *network, struct languages *languages)
{
	struct matcher *m = calloc(1, sizeof *m);
	if (!m)
		return NULL;
	m->network = network;
	m->languages = languages;
	m->account = m->index.account = network->account;
	if (!double_visit_slots(m) || !TABLE_GROW(m->account, m->states, m->n_states, m->max_states, 1) ||
	    !stacks_create(&m->stacks, network->n_rules, m->account)) {
		matcher_destroy(m);
		return NULL;
	}
	m->states[m->n_states++] = (struct match_state){0};
	return m;
}

uint32_t matcher_start(struct matcher *m)
{
	begin_state(m);
	bytes_clear(&m->text);
	reach(m, m->network->rules[m->network->root], STACK_BOTTOM, LANGUAGE_NONE);
	return finish_state(m);
}

void matcher_destroy(struct matcher *m)
{
	if (!m)
		return;
	for (size_t i = 0; i < m->n_states; i++)
		free(m->states[i].next);
	free(m->states);
	free(m->places);
	free(m->index.slots);
	stacks_free(&m->stacks);
	free(m->visits);
	free(m->visit_slots);
	bytes_free(&m->text);
	free(m);
}

const struct place *matcher_places(const struct matcher *m, uint32_t state, size_t *n)
{
	*n = m->states[state].n_places;
	return *n ? m->places + m->states[state].first_place : NULL;
}

const struct frame *matcher_frames(const struct matcher *m, uint32_t stack, size_t *n)
{
	*n = m->stacks.sets[stack].n;
	return *n ? m->stacks.frames + m->stacks.sets[stack].first : NULL;
}
