/* The lists of an expansion (schema.h): what a way adds to them is taken away when it is left. */
#include <stdlib.h>
#include <string.h>

#include "text/grammar/schema.h"

/* ---- atoms by name ---- */

static uint32_t *chain_of(const struct expansion *e, const struct atom *atom)
{
	return &e->named[atom->hash & (e->n_named - 1)];
}

static void link_atom(struct expansion *e, uint32_t i)
{
	struct atom *atom = &e->atoms[i];
	uint32_t *last = atom->name ? chain_of(e, atom) : &e->unnamed;
	atom->before = *last;
	*last = i;
}

/* As many chains as atoms, about. */
static bool make_chains(struct expansion *e)
{
	size_t before = e->n_named, n = before ? before * 2 : 64;
	if (before > e->n_atoms)
		return true;
	if (!TABLE_GROW(e->schema->account, e->named, before, e->n_named, n - before)) {
		schema_out_of_memory(e->schema);
		return false;
	}
	memset(e->named, 0xFF, n * sizeof *e->named); /* NO_ATOM */
	e->unnamed = NO_ATOM;
	for (uint32_t i = 0; i < e->n_atoms; i++)
		link_atom(e, i);
	return true;
}

static uint32_t same_name(const struct expansion *e, uint32_t i, const char *name, size_t n_name)
{
	uint64_t n_seen = 1;
	for (; i != NO_ATOM; i = e->atoms[i].before, n_seen++)
		if (e->atoms[i].n_name == n_name && memcmp(e->atoms[i].name, name, n_name) == 0)
			break;
	return schema_look(e->schema, n_seen) ? i : NO_ATOM;
}

uint32_t expansion_named(const struct expansion *e, const char *name, size_t n_name)
{
	struct atom atom = {.hash = table_hash_bytes(TABLE_HASH_START, name, n_name)};
	return e->n_named ? same_name(e, *chain_of(e, &atom), name, n_name) : NO_ATOM;
}

uint32_t expansion_named_before(const struct expansion *e, uint32_t i)
{
	return same_name(e, e->atoms[i].before, e->atoms[i].name, e->atoms[i].n_name);
}

uint32_t expansion_unnamed(const struct expansion *e)
{
	return e->n_named && schema_look(e->schema, 1) ? e->unnamed : NO_ATOM;
}

uint32_t expansion_unnamed_before(const struct expansion *e, uint32_t i)
{
	return schema_look(e->schema, 1) ? e->atoms[i].before : NO_ATOM;
}

bool expansion_requires(const struct expansion *e, const char *name, size_t n_name)
{
	uint32_t i = expansion_named(e, name, n_name);
	while (i != NO_ATOM && e->atoms[i].kind != ATOM_REQUIRED)
		i = expansion_named_before(e, i);
	return i != NO_ATOM;
}

/* ---- what ways add ---- */

void expansion_atom(struct expansion *e, uint32_t work, struct atom atom)
{
	if (!schema_look(e->schema, 4 + atom.n_name / 8) || !make_chains(e))
		return;
	if (!TABLE_GROW(e->schema->account, e->atoms, e->n_atoms, e->max_atoms, 1)) {
		schema_out_of_memory(e->schema);
		return;
	}
	atom.frame = e->work[work].frame;
	atom.hash = atom.name ? table_hash_bytes(TABLE_HASH_START, atom.name, atom.n_name) : 0;
	e->atoms[e->n_atoms] = atom;
	link_atom(e, (uint32_t)e->n_atoms++);
}

void expansion_work(struct expansion *e, uint32_t parent, uint32_t literal, const struct json *keyword)
{
	/* Nothing is evaluated by what does not hold, nor by a constant. */
	bool constant = e->schema->nodes[literal / 2].is_value;
	bool holds = !constant && (parent == NO_WORK || (!(e->work[parent].literal & 1) && !(literal & 1)));
	uint32_t frame = holds && parent != NO_WORK ? e->work[parent].frame : 0;
	for (uint32_t at = parent; at != NO_WORK; at = e->work[at].parent)
		if (e->work[at].literal == literal && literal > LITERAL_FALSE + 1) {
			schema_refuse(e->schema, keyword, "it leads to itself for the same value");
			return;
		}
	for (size_t i = 0; i < e->n_work; i++)
		if (e->work[i].literal == literal && e->work[i].frame == frame)
			return;
	if (!schema_look(e->schema, 4 + e->n_work * 2))
		return;
	if (!TABLE_GROW(e->schema->account, e->work, e->n_work, e->max_work, 1)) {
		schema_out_of_memory(e->schema);
		return;
	}
	e->work[e->n_work++] = (struct work){literal, frame, parent};
}

void expansion_choice(struct expansion *e, struct choice choice)
{
	if (!TABLE_GROW(e->schema->account, e->choices, e->n_choices, e->max_choices, 1))
		schema_out_of_memory(e->schema);
	else
		e->choices[e->n_choices++] = choice;
}

void expansion_fork(struct expansion *e, struct fork fork)
{
	if (!TABLE_GROW(e->schema->account, e->forks, e->n_forks, e->max_forks, 1)) {
		schema_out_of_memory(e->schema);
		return;
	}
	e->choices[fork.choice].done = true;
	e->forks[e->n_forks++] = fork;
}

uint32_t expansion_frame(struct expansion *e, uint32_t around)
{
	if (!TABLE_GROW(e->schema->account, e->frames, e->n_frames, e->max_frames, 1)) {
		schema_out_of_memory(e->schema);
		return 0;
	}
	e->frames[e->n_frames] = around;
	return (uint32_t)e->n_frames++;
}

struct expansion_mark expansion_mark(const struct expansion *e)
{
	return (struct expansion_mark){e->n_atoms, e->n_work, e->n_choices, e->n_frames, e->types};
}

void expansion_go_back(struct expansion *e, struct expansion_mark mark)
{
	while (e->n_atoms > mark.n_atoms) {
		const struct atom *atom = &e->atoms[--e->n_atoms];
		*(atom->name ? chain_of(e, atom) : &e->unnamed) = atom->before;
	}
	e->n_work = mark.n_work;
	e->n_choices = mark.n_choices;
	e->n_frames = mark.n_frames;
	e->types = mark.types;
}

void expansion_end(struct expansion *e)
{
	struct table_account *account = e->schema->account;
	TABLE_FREE(account, e->atoms, e->max_atoms);
	TABLE_FREE(account, e->named, e->n_named);
	TABLE_FREE(account, e->work, e->max_work);
	TABLE_FREE(account, e->choices, e->max_choices);
	TABLE_FREE(account, e->frames, e->max_frames);
	TABLE_FREE(account, e->forks, e->max_forks);
}

/* ---- questions ---- */

uint32_t expansion_node(const struct expansion *e, uint32_t work)
{
	return e->work[work].literal / 2;
}

uint32_t expansion_literal(struct expansion *e, uint32_t work, const struct json *schema, bool holds)
{
	return schema_node(e->schema, expansion_node(e, work), schema) * 2 + !holds;
}

void expansion_below(struct expansion *e, uint32_t work, const struct json *schema, bool holds)
{
	expansion_work(e, work, expansion_literal(e, work, schema, holds), schema);
}

bool expansion_in_frame(const struct expansion *e, const struct atom *atom, uint32_t frame)
{
	uint32_t at = atom->frame;
	uint64_t n_seen = 1;
	for (; at && at != frame; n_seen++)
		at = e->frames[at];
	return schema_look(e->schema, n_seen) && at == frame;
}
