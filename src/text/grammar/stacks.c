#include "text/grammar/stacks.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_FRAMES = 1 << 22 };

static uint32_t hash_of_set(const void *owner, uint32_t id)
{
	const struct stacks *s = owner;
	uint32_t hash = TABLE_HASH_START;
	for (uint32_t i = 0; i < s->sets[id].n; i++) {
		struct frame frame = s->frames[s->sets[id].first + i];
		hash = table_hash(table_hash(hash, frame.to), frame.below);
	}
	return hash ^ hash >> 15;
}

static int by_frame(const void *a, const void *b)
{
	const struct frame *x = a, *y = b;
	if (x->to != y->to)
		return x->to < y->to ? -1 : 1;
	return (x->below > y->below) - (x->below < y->below);
}

static uint32_t lack_memory(struct stacks *s)
{
	s->no_memory |= !(s->account && s->account->full);
	return STACK_NONE;
}

/* The set of the frames from `first` on, which are the last; they stay where it is new. */
static uint32_t intern(struct stacks *s, size_t first)
{
	size_t n = s->n_frames - first, kept = 0;
	struct frame *frames = s->frames + first;
	if (n > 1)
		qsort(frames, n, sizeof *frames, by_frame);
	for (size_t i = 0; i < n; i++)
		if (kept == 0 || by_frame(&frames[kept - 1], &frames[i]) != 0)
			frames[kept++] = frames[i];
	s->n_frames = first + kept;
	if (!TABLE_GROW(s->account, s->sets, s->n_sets, s->max_sets, 1) || !table_index_room(&s->index, hash_of_set, s))
		return lack_memory(s);
	s->sets[s->n_sets] = (struct stack_set){(uint32_t)first, (uint32_t)kept};
	uint32_t hash = hash_of_set(s, (uint32_t)s->n_sets);
	size_t mask = s->index.n_slots - 1;
	for (size_t at = hash & mask; s->index.slots[at]; at = (at + 1) & mask) {
		struct stack_set known = s->sets[s->index.slots[at] - 1];
		if (known.n == kept && memcmp(s->frames + known.first, frames, kept * sizeof *frames) == 0) {
			s->n_frames = first;
			return s->index.slots[at] - 1;
		}
	}
	table_index_put(&s->index, hash, (uint32_t)s->n_sets);
	return (uint32_t)s->n_sets++;
}

static bool has_room(struct stacks *s, size_t n)
{
	if (s->n_frames + n > MAX_FRAMES)
		return false;
	s->n_copied += n;
	if (TABLE_GROW(s->account, s->frames, s->n_frames, s->max_frames, n))
		return true;
	lack_memory(s);
	return false;
}

static bool add_frames(struct stacks *s, const struct frame *frames, size_t n)
{
	if (!has_room(s, n))
		return false;
	memcpy(s->frames + s->n_frames, frames, n * sizeof *frames);
	s->n_frames += n;
	return true;
}

static bool add_set(struct stacks *s, struct stack_set set)
{
	if (!has_room(s, set.n))
		return false;
	memcpy(s->frames + s->n_frames, s->frames + set.first, set.n * sizeof *s->frames);
	s->n_frames += set.n;
	return true;
}

void stacks_begin(struct stacks *s)
{
	s->n_calls = s->n_links = 0;
}

uint32_t stacks_call(struct stacks *s, uint32_t rule, struct stack_link link, bool *first)
{
	uint32_t call = s->last_call[rule];
	*first = call >= s->n_calls || s->calls[call].rule != rule;
	if (!TABLE_GROW(s->account, s->links, s->n_links, s->max_links, 1) ||
	    !TABLE_GROW(s->account, s->calls, s->n_calls, s->max_calls, 1))
		return lack_memory(s);
	if (*first) {
		call = (uint32_t)s->n_calls++;
		s->calls[call] = (struct stack_call){.rule = rule, .first_link = STACK_NONE, .stack = STACK_NONE};
		s->last_call[rule] = call;
	}
	link.next = s->calls[call].first_link;
	s->calls[call].first_link = (uint32_t)s->n_links;
	s->links[s->n_links++] = link;
	return STACK_CALL | call;
}

/* STACK_NONE while it waits for a call. */
static uint32_t settled(const struct stacks *s, uint32_t stack)
{
	return stack_is_call(stack) ? s->calls[stack & ~STACK_CALL].stack : stack;
}

static void open_call(struct stacks *s, uint32_t id, uint32_t above)
{
	struct stack_call *call = &s->calls[id];
	call->open = true;
	call->above = above;
	call->waiting = call->first_link;
}

/* The next call that this one waits for, or STACK_NONE. */
static uint32_t waits_for(const struct stacks *s, struct stack_call *call)
{
	for (; call->waiting != STACK_NONE; call->waiting = s->links[call->waiting].next)
		if (settled(s, s->links[call->waiting].stack) == STACK_NONE)
			return s->links[call->waiting].stack & ~STACK_CALL;
	return STACK_NONE;
}

static uint32_t set_of(struct stacks *s, const struct stack_call *call)
{
	size_t first = s->n_frames;
	for (uint32_t i = call->first_link; i != STACK_NONE; i = s->links[i].next) {
		struct stack_link link = s->links[i];
		uint32_t stack = settled(s, link.stack);
		bool ok = link.tail ? add_set(s, s->sets[stack]) : add_frames(s, &(struct frame){link.to, stack}, 1);
		if (!ok) {
			s->n_frames = first;
			return STACK_NONE;
		}
	}
	return intern(s, first);
}

uint32_t stacks_settle(struct stacks *s, uint32_t stack)
{
	if (settled(s, stack) != STACK_NONE)
		return settled(s, stack);
	uint32_t at = stack & ~STACK_CALL;
	open_call(s, at, STACK_NONE);
	while (at != STACK_NONE) {
		struct stack_call *call = &s->calls[at];
		uint32_t other = waits_for(s, call);
		if (other != STACK_NONE && s->calls[other].open)
			return STACK_NONE;
		if (other != STACK_NONE) {
			open_call(s, other, at);
			at = other;
			continue;
		}
		call->stack = set_of(s, call);
		if (call->stack == STACK_NONE)
			return STACK_NONE;
		at = call->above;
	}
	return settled(s, stack);
}

bool stacks_create(struct stacks *s, size_t n_rules, struct table_account *account)
{
	s->account = s->index.account = account;
	if (account_take(account, (n_rules + 1) * sizeof *s->last_call))
		s->last_call = calloc(n_rules + 1, sizeof *s->last_call);
	return s->last_call && add_frames(s, &(struct frame){FRAME_BOTTOM, STACK_BOTTOM}, 1) &&
	       intern(s, 0) == STACK_BOTTOM;
}

void stacks_free(struct stacks *s)
{
	free(s->sets);
	free(s->frames);
	free(s->index.slots);
	free(s->calls);
	free(s->links);
	free(s->last_call);
}
