/* Which names are undefined from the beginning of a body on: those that it sets, and that nothing around it mentions. Jinja
 * makes them local variables of Python's: a body within that reads one before it is set does not see what the conversation
 * calls so.
 *
 * A body is what has names of its own: the template, a loop's, a macro's. It is looked at as a whole before those within,
 * which see each name that it mentions, also where that stands behind them. */
#include <string.h>

#include "text/template/syntax.h"

struct symbol {
	uint32_t name;
	bool late;      /* mentioned first where it is set, in no branch */
	size_t n_loads; /* of the name, before the bodies within were looked at */
};

struct state {
	bool known;      /* the body that is looked at has a symbol of it */
	size_t n_around; /* bodies around that mention it */
	size_t n_loads;  /* so far */
};

struct block {
	const struct node *node;
	struct block *next;
};

struct finder {
	struct template *template;
	struct arena *scratch;
	struct state *names;    /* of each name of the template */
	struct symbol *symbols; /* of the body that is looked at, above those of the bodies around it */
	size_t n_symbols, capacity;
	size_t n_branches;    /* around what is scanned, of the same body */
	struct block *blocks; /* to be looked at: bodies of their own, with nothing around them */
	bool failed;          /* no memory */
};

/* ---- symbols ---- */

static void mention(struct finder *f, uint32_t name, bool late)
{
	if (f->names[name].known)
		return;
	if (f->n_symbols == f->capacity) {
		size_t capacity = f->capacity ? f->capacity * 2 : 64;
		struct symbol *grown = arena_array(f->scratch, capacity, sizeof *grown);
		if (!grown) {
			f->failed = true;
			return;
		}
		if (f->n_symbols)
			memcpy(grown, f->symbols, f->n_symbols * sizeof *grown);
		f->symbols = grown;
		f->capacity = capacity;
	}
	f->symbols[f->n_symbols++] = (struct symbol){.name = name, .late = late};
	f->names[name].known = true;
}

static void load(struct finder *f, uint32_t name)
{
	mention(f, name, false);
	f->names[name].n_loads++;
}

static void store(struct finder *f, uint32_t name)
{
	mention(f, name, f->n_branches == 0);
}

/* Symbols from `start` on are none of the body that is looked at next. */
static void forget(struct finder *f, size_t start)
{
	for (size_t i = start; i < f->n_symbols; i++)
		f->names[f->symbols[i].name].known = false;
}

/* ---- one body, without those within ---- */

/* The chain of left operands has any length; all else is nested as deep as the parser let it. */
static void scan_expression(struct finder *f, const struct node *node)
{
	for (; node; node = node->a) {
		bool unary = node->kind == NODE_NOT || node->kind == NODE_NEGATE || node->kind == NODE_PLUS; /* b is a */
		if (node->kind == NODE_NAME || node->kind == NODE_MEMBER)
			load(f, node->name);
		if (!unary)
			scan_expression(f, node->b);
		scan_expression(f, node->c);
		for (const struct node *item = node->list; item; item = item->next)
			scan_expression(f, item);
	}
}

static void scan_target(struct finder *f, const struct node *target, bool given)
{
	if (target->kind == NODE_NAME && given)
		mention(f, target->name, false);
	else if (target->kind == NODE_NAME)
		store(f, target->name);
	else if (target->kind == NODE_MEMBER)
		load(f, target->name);
	for (const struct node *part = target->list; part; part = part->next)
		scan_target(f, part, given);
}

static void scan_list(struct finder *f, const struct node *list);

/* What only a branch sets has before that the value that it has around the branch. */
static void scan_if(struct finder *f, const struct node *branch)
{
	f->n_branches++;
	for (bool more = true; more; more = branch && branch->is_elif) {
		scan_expression(f, branch->a);
		scan_list(f, branch->body);
		branch = branch->c;
	}
	scan_list(f, branch);
	f->n_branches--;
}

static void scan_list(struct finder *f, const struct node *list)
{
	for (const struct node *node = list; node; node = node->next) {
		switch (node->kind) {
		case NODE_IF:
			scan_if(f, node);
			break;
		case NODE_SET:
			scan_expression(f, node->b);
			scan_target(f, node->a, false);
			break;
		case NODE_SET_BLOCK:
			scan_target(f, node->a, false);
			break;
		case NODE_MACRO:
			store(f, node->name);
			break;
		case NODE_FOR:
		case NODE_FILTER_BLOCK:
			scan_expression(f, node->b);
			break;
		case NODE_CALL_BLOCK:
			scan_expression(f, node->a);
			break;
		case NODE_WITH:
			for (const struct node *target = node->list; target; target = target->next->next)
				scan_expression(f, target->next);
			break;
		case NODE_SCOPED:
			break;
		default:
			scan_expression(f, node);
		}
	}
}

static void scan_parameters(struct finder *f, const struct node *list)
{
	for (const struct node *parameter = list; parameter; parameter = parameter->next)
		mention(f, parameter->name, false);
	for (const struct node *parameter = list; parameter; parameter = parameter->next)
		scan_expression(f, parameter->a);
}

/* What a body is given, which is set when it begins. */
static void scan_given(struct finder *f, const struct node *owner)
{
	if (owner->kind == NODE_FOR) {
		mention(f, NAME_LOOP, false);
		scan_target(f, owner->a, true);
	} else if (owner->kind == NODE_MACRO) {
		scan_parameters(f, owner->list);
		mention(f, NAME_CALLER, false);
		mention(f, NAME_VARARGS, false);
		mention(f, NAME_KWARGS, false);
	} else if (owner->kind == NODE_WITH) {
		for (const struct node *target = owner->list; target; target = target->next->next)
			scan_target(f, target, true);
	}
}

/* ---- all of them ---- */

static void find_within(struct finder *f, const struct node *list);

/* A late name costs a binding each time that the body begins: only those count that a body within reads. */
static bool counts(const struct finder *f, const struct symbol *symbol)
{
	const struct state *state = &f->names[symbol->name];
	return symbol->late && state->n_around == 0 && state->n_loads != symbol->n_loads;
}

static void keep(struct finder *f, size_t start, struct name_list *out)
{
	uint32_t n = 0, *names;
	for (size_t i = start; i < f->n_symbols; i++)
		n += counts(f, &f->symbols[i]);
	if (n == 0)
		return;
	names = arena_array(&f->template->arena, n, sizeof *names);
	if (!names) {
		f->failed = true;
		return;
	}
	n = 0;
	for (size_t i = start; i < f->n_symbols; i++)
		if (counts(f, &f->symbols[i]))
			names[n++] = f->symbols[i].name;
	*out = (struct name_list){names, n};
}

/* `owner` NULL: it is given nothing. */
static void find_body(struct finder *f, const struct node *owner, const struct node *list, struct name_list *out)
{
	size_t start = f->n_symbols;
	if (owner)
		scan_given(f, owner);
	scan_list(f, list);
	forget(f, start);
	for (size_t i = start; i < f->n_symbols; i++) {
		f->names[f->symbols[i].name].n_around++;
		f->symbols[i].n_loads = f->names[f->symbols[i].name].n_loads;
	}
	if (!f->failed)
		find_within(f, list);
	for (size_t i = start; i < f->n_symbols; i++)
		f->names[f->symbols[i].name].n_around--;
	keep(f, start, out);
	f->n_symbols = start;
}

/* An expression that is evaluated within, and sets nothing. */
static void scan_apart(struct finder *f, const struct node *node)
{
	size_t start = f->n_symbols;
	scan_expression(f, node);
	forget(f, start);
	f->n_symbols = start;
}

static void remember_block(struct finder *f, const struct node *node)
{
	struct block *block = arena_alloc(f->scratch, sizeof *block);
	if (!block) {
		f->failed = true;
		return;
	}
	*block = (struct block){node, f->blocks};
	f->blocks = block;
}

static void find_within(struct finder *f, const struct node *list)
{
	for (; list && !f->failed; list = list->next) {
		struct node *node = (struct node *)list; /* the tree is not finished before this is */
		const struct node *branch = node;
		switch (node->kind) {
		case NODE_IF:
			for (; branch && branch->kind == NODE_IF && (branch == node || branch->is_elif); branch = branch->c)
				find_within(f, branch->body);
			find_within(f, branch);
			break;
		case NODE_FOR:
			scan_apart(f, node->c);
			find_body(f, node, node->body, &node->late);
			find_body(f, NULL, node->other, &node->late_other);
			break;
		case NODE_CALL_BLOCK:
			node = (struct node *)node->b;
			find_body(f, node, node->body, &node->late);
			break;
		case NODE_SCOPED:
			if (node->is_block) {
				remember_block(f, node);
				break;
			}
			find_body(f, node, node->body, &node->late);
			break;
		case NODE_SET_BLOCK:
			scan_apart(f, node->b);
			find_body(f, node, node->body, &node->late);
			break;
		case NODE_MACRO:
		case NODE_FILTER_BLOCK:
		case NODE_WITH:
			find_body(f, node, node->body, &node->late);
			break;
		default:
			break;
		}
	}
}

bool find_late_names(struct template *template, struct arena *scratch)
{
	struct finder f = {.template = template, .scratch = scratch};
	struct name_list late = {0};
	f.names = arena_array(scratch, template->n_names, sizeof *f.names);
	if (!f.names)
		return false;
	find_body(&f, NULL, template->body, &late);
	for (uint32_t i = 0; i < late.n_names; i++)
		template->names[late.names[i]].late = true;
	while (f.blocks && !f.failed) {
		struct node *node = (struct node *)f.blocks->node;
		f.blocks = f.blocks->next;
		find_body(&f, NULL, node->body, &node->late);
	}
	return !f.failed;
}
