/* What derivations return to, shared: a stack is a set of frames, each with a stack below it, so that derivations which meet
 * in one rule at one place of the text are one from there on, however many they are.
 *
 * Between two bytes a rule is entered at most once (a call), from wherever it is wanted; who wants it is known only when all
 * that can be reached without a byte is. Until then derivations bear the call in place of a stack, afterwards
 * stacks_settle gives the stack: equal sets have one id, and a frame's stack has a lower id than its own.
 */
#ifndef TALLOW_TEXT_GRAMMAR_STACKS_H
#define TALLOW_TEXT_GRAMMAR_STACKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "text/grammar/table.h"

/* Where a rule returns to when it ends; FRAME_BOTTOM: the text ends with it. */
struct frame {
	uint32_t to, below;
};
#define FRAME_BOTTOM UINT32_MAX

/* The stack of the root alone. */
#define STACK_BOTTOM 0
#define STACK_NONE   UINT32_MAX

/* Who wants a rule that was entered; `tail`: it would only return there, so what it returns to counts. */
struct stack_link {
	uint32_t to, stack, next;
	bool tail;
};

struct stack_call {
	uint32_t rule, first_link;
	uint32_t stack;   /* once it is settled, else STACK_NONE */
	uint32_t above;   /* while settling: the call that waits for this one */
	uint32_t waiting; /* while settling: the links before this one are settled */
	bool ended;       /* the rule can end without a byte */
	bool open;        /* is being settled */
};

struct stack_set {
	uint32_t first, n; /* in `frames` */
};

struct stacks {
	struct stack_set *sets;
	size_t n_sets, max_sets;
	struct frame *frames;
	size_t n_frames, max_frames;
	struct table_index index;
	struct stack_call *calls;
	size_t n_calls, max_calls;
	struct stack_link *links;
	size_t n_links, max_links;
	struct table_account *account;
	uint32_t *last_call; /* [rules] the last call of each, if it is one of it */
	uint64_t n_copied;   /* frames that were put together by stacks_settle, for who counts its steps */
	bool no_memory;      /* an allocation failed */
};

bool stacks_create(struct stacks *stacks, size_t n_rules,
                   struct table_account *account); /* false without memory: free it */
void stacks_free(struct stacks *stacks);

/* A call's name as a stack. */
#define STACK_CALL (1U << 31)
static inline bool stack_is_call(uint32_t stack)
{
	return stack >= STACK_CALL;
}

/* Calls are forgotten: of the next place in the text. */
void stacks_begin(struct stacks *stacks);
/* The call of a rule, with one more who wants it, [*link]; `first`: it was not entered yet. STACK_NONE without memory. */
uint32_t stacks_call(struct stacks *stacks, uint32_t rule, struct stack_link link, bool *first);
/* The stack of a call, or the stack itself. STACK_NONE: a rule calls itself without a byte, there are
 * too many, or no memory (no_memory says so). */
uint32_t stacks_settle(struct stacks *stacks, uint32_t stack);

#endif
