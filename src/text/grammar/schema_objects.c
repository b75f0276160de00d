/* Objects of an alternative as network (schema.h): the members that have a name in the schema, in its order, then any others.
 *
 * A state is before a named member (or behind all), with how many members there are, as far as that matters, and which of
 * the demands for some member are met.
 */
#include <stdlib.h>
#include <string.h>

#include "text/grammar/characters.h"
#include "text/grammar/schema.h"

enum { MAX_DEMANDS = 4, MAX_CLASSES = 64, MAX_STATES = 1 << 16, MAX_LITERALS = 256 };

/* Members beyond the named ones, by the language of their names: all of a class have the same schemas. */
struct class
{
	uint32_t names;
	unsigned demands; /* met by such a member, if its value does */
	uint32_t literals[MAX_LITERALS];
	size_t n_literals;
};

struct object {
	struct expansion *e;
	struct language_string *names; /* [n_names], in order */
	size_t n_names, max_names;
	struct table_index name_index;
	const struct atom *demands[MAX_DEMANDS]; /* ATOM_SOME_MEMBER */
	size_t n_demands;
	uint64_t low, high;
	uint32_t top; /* counts above are as this one */
	struct class *classes;
	size_t n_classes, max_classes;
	uint32_t *states; /* [n_names + 1, top + 1, 1 << n_demands] */
	const struct json *keyword;
};

static uint32_t hash_of_name(const void *owner, uint32_t id)
{
	const struct language_string *name = &((const struct object *)owner)->names[id];
	return table_hash_bytes(TABLE_HASH_START, name->text, name->n_bytes);
}

static void add_name(struct object *o, const char *text, size_t n)
{
	struct schema *s = o->e->schema;
	struct table_index *index = &o->name_index;
	if (!schema_look(s, 4 + n / 8))
		return;
	if (!TABLE_GROW(s->account, o->names, o->n_names, o->max_names, 1) || !table_index_room(index, hash_of_name, o)) {
		schema_out_of_memory(s);
		return;
	}
	o->names[o->n_names] = (struct language_string){text, n}; /* where hash_of_name finds it */
	size_t at = hash_of_name(o, (uint32_t)o->n_names) & (index->n_slots - 1);
	for (; index->slots[at]; at = (at + 1) & (index->n_slots - 1)) {
		const struct language_string *known = &o->names[index->slots[at] - 1];
		if (!schema_look(s, 1) || (known->n_bytes == n && memcmp(known->text, text, n) == 0))
			return;
	}
	index->slots[at] = (uint32_t)++o->n_names;
	index->n_used++;
}

/* Of a demand that speaks of additional members: the named ones are none of them. */
static bool demand_speaks_of(struct object *o, const struct atom *demand, const char *name, size_t n)
{
	return language_matches(o->e->schema->l, demand->language, name, n) &&
	       !schema_member(o->e->schema, demand->value, name, n);
}

static bool read_atoms(struct object *o)
{
	struct expansion *e = o->e;
	o->high = UINT64_MAX;
	for (size_t i = 0; i < e->n_atoms; i++) /* the order is that of `properties` */
		if (e->atoms[i].kind == ATOM_MEMBER)
			add_name(o, e->atoms[i].name, e->atoms[i].n_name);
	for (size_t i = 0; i < e->n_atoms; i++) {
		const struct atom *atom = &e->atoms[i];
		if (atom->kind == ATOM_REQUIRED || atom->kind == ATOM_FORBIDDEN)
			add_name(o, atom->name, atom->n_name);
		if (atom->kind == ATOM_MEMBER_COUNT) {
			o->low = atom->low > o->low ? atom->low : o->low;
			o->high = atom->high < o->high ? atom->high : o->high;
			o->keyword = atom->keyword;
		}
		if (atom->kind == ATOM_SOME_MEMBER && o->n_demands == MAX_DEMANDS)
			schema_refuse(e->schema, atom->keyword, "too many demands on some members of one object");
		else if (atom->kind == ATOM_SOME_MEMBER)
			o->demands[o->n_demands++] = atom;
	}
	/* A demand's exceptions must be told apart by name. */
	for (size_t i = 0; i < o->n_demands; i++)
		for (const struct json *member = json_first(o->demands[i]->value); member; member = json_next(member)) {
			size_t n;
			const char *name = json_key(member, &n);
			add_name(o, name, n);
		}
	for (size_t i = 0; i < e->n_atoms; i++)
		for (const struct json *member = e->atoms[i].kind == ATOM_ADDITIONAL ? json_first(e->atoms[i].value) : NULL;
		     member; member = json_next(member)) {
			size_t n;
			const char *name = json_key(member, &n);
			add_name(o, name, n);
		}
	return o->low <= o->high && o->low < SCHEMA_NO_MAX_COUNT && !e->schema->refused;
}

/* ---- what a member's value must be ---- */

/* Does the atom, which has no name itself, speak of a member of this name? For ATOM_OTHER_MEMBERS: of its evaluating. */
static bool speaks_of(struct object *o, const struct atom *atom, const char *name, size_t n)
{
	struct schema *s = o->e->schema;
	if (atom->kind == ATOM_MATCHING)
		return language_matches(s->l, atom->language, name, n);
	if (atom->kind == ATOM_ADDITIONAL)
		return !schema_member(s, atom->value, name, n) && !language_matches(s->l, atom->language, name, n);
	return atom->kind == ATOM_OTHER_MEMBERS;
}

static bool is_evaluated(struct object *o, const struct atom *other, const char *name, size_t n)
{
	const struct expansion *e = o->e;
	uint32_t frame = (uint32_t)other->low;
	for (uint32_t i = expansion_named(e, name, n); i != NO_ATOM; i = expansion_named_before(e, i))
		if (e->atoms[i].kind == ATOM_MEMBER && expansion_in_frame(e, &e->atoms[i], frame))
			return true;
	for (uint32_t i = expansion_unnamed(e); i != NO_ATOM; i = expansion_unnamed_before(e, i))
		if (&e->atoms[i] != other && expansion_in_frame(e, &e->atoms[i], frame) && speaks_of(o, &e->atoms[i], name, n))
			return true;
	return false;
}

/* One more schema for a member, of whose MAX_LITERALS some are kept for demands. */
static void add_literal(struct object *o, uint32_t *literals, size_t *n, uint32_t literal)
{
	if (*n < MAX_LITERALS - MAX_DEMANDS)
		literals[(*n)++] = literal;
	else
		schema_refuse(o->e->schema, NULL, "too many schemas for one member");
}

/* Literals for the member of a name; false where it may not be there. */
static bool literals_of_name(struct object *o, const char *name, size_t n_name, uint32_t *literals, size_t *n)
{
	const struct expansion *e = o->e;
	*n = 0;
	for (uint32_t i = expansion_named(e, name, n_name); i != NO_ATOM; i = expansion_named_before(e, i)) {
		if (e->atoms[i].kind == ATOM_FORBIDDEN)
			return false;
		if (e->atoms[i].kind == ATOM_MEMBER)
			add_literal(o, literals, n, e->atoms[i].below);
	}
	for (uint32_t i = expansion_unnamed(e); i != NO_ATOM; i = expansion_unnamed_before(e, i)) {
		const struct atom *atom = &e->atoms[i];
		if (atom->kind == ATOM_NAMES && !language_matches(e->schema->l, atom->language, name, n_name))
			return false;
		if (speaks_of(o, atom, name, n_name) &&
		    (atom->kind != ATOM_OTHER_MEMBERS || !is_evaluated(o, atom, name, n_name)))
			add_literal(o, literals, n, atom->below);
	}
	return true;
}

/* ---- classes of other names ---- */

/* Names behind the named ones that an atom speaks of. */
static uint32_t other_names(struct object *o, const struct atom *atom)
{
	struct languages *l = o->e->schema->l;
	if (atom->kind == ATOM_MATCHING || atom->kind == ATOM_SOME_MEMBER)
		return atom->language;
	if (atom->kind == ATOM_ADDITIONAL)
		return language_not(l, atom->language);
	if (atom->kind != ATOM_OTHER_MEMBERS)
		return LANGUAGE_NONE;
	uint32_t evaluated = LANGUAGE_NONE;
	for (size_t i = 0; i < o->e->n_atoms && schema_look(o->e->schema, 1); i++) {
		const struct atom *one = &o->e->atoms[i];
		if (one == atom || !expansion_in_frame(o->e, one, (uint32_t)atom->low))
			continue;
		if (one->kind == ATOM_OTHER_MEMBERS)
			return LANGUAGE_NONE; /* a nested one evaluates all */
		if (one->kind == ATOM_MATCHING || one->kind == ATOM_ADDITIONAL)
			evaluated = language_either(l, evaluated, other_names(o, one));
	}
	return language_not(l, evaluated);
}

/* Parts every class into names in `names`, which get the literal or the demand, and the others. */
static void part_classes(struct object *o, uint32_t names, uint32_t literal, unsigned demand)
{
	struct schema *s = o->e->schema;
	size_t n = o->n_classes;
	bool forbids = !demand && (literal == LITERAL_FALSE || literal == LITERAL_TRUE + 1);
	for (size_t i = 0; i < n && !s->refused; i++) {
		uint32_t all = o->classes[i].names, in = language_both(s->l, all, names);
		if (!language_is_live(s->l, in))
			continue;
		uint32_t out = language_both(s->l, all, language_not(s->l, names));
		bool splits = language_is_live(s->l, out);
		if (splits && o->n_classes >= MAX_CLASSES) {
			schema_refuse(s, o->keyword, "the names of members fall into too many classes");
			return;
		}
		if (splits && !TABLE_GROW(s->account, o->classes, o->n_classes, o->max_classes, 1)) {
			schema_out_of_memory(s);
			return;
		}
		if (splits) {
			o->classes[o->n_classes] = o->classes[i];
			o->classes[o->n_classes++].names = out;
		}
		struct class *class = &o->classes[i];
		class->names = forbids ? LANGUAGE_NONE : in;
		class->demands |= demand;
		if (!demand)
			add_literal(o, class->literals, &class->n_literals, literal);
	}
}

static bool make_classes(struct object *o)
{
	struct schema *s = o->e->schema;
	struct language_string *sorted = malloc((o->n_names + 1) * sizeof *sorted);
	if (!sorted || !TABLE_GROW(s->account, o->classes, o->n_classes, o->max_classes, 1)) {
		free(sorted);
		schema_out_of_memory(s);
		return false;
	}
	if (o->n_names)
		memcpy(sorted, o->names, o->n_names * sizeof *sorted);
	uint32_t names = language_not(s->l, language_one_of(s->l, sorted, o->n_names));
	free(sorted);
	o->classes[o->n_classes++] = (struct class){.names = names};
	for (size_t i = 0; i < o->e->n_atoms && !s->refused; i++) {
		const struct atom *atom = &o->e->atoms[i];
		if (atom->kind == ATOM_NAMES)
			part_classes(o, language_not(s->l, atom->language), LITERAL_FALSE, 0);
		else if (atom->kind == ATOM_MATCHING || atom->kind == ATOM_ADDITIONAL || atom->kind == ATOM_OTHER_MEMBERS)
			part_classes(o, other_names(o, atom), atom->below, 0);
	}
	for (size_t i = 0; i < o->n_demands && !s->refused; i++)
		part_classes(o, other_names(o, o->demands[i]), LITERAL_TRUE, 1U << i);
	size_t kept = 0;
	for (size_t i = 0; i < o->n_classes; i++)
		if (o->classes[i].names != LANGUAGE_NONE)
			o->classes[kept++] = o->classes[i];
	o->n_classes = kept;
	return !s->refused;
}

/* ---- states ---- */

static uint32_t *state_of(const struct object *o, size_t position, uint32_t count, unsigned met)
{
	return &o->states[((position * (o->top + 1)) + count) << o->n_demands | met];
}

/* A rule for a member: its name, a colon, its value. RULE_DEAD where the value cannot be. */
static uint32_t member_rule(struct object *o, const struct language_string *name, uint32_t names, uint32_t *literals,
                            size_t n_literals)
{
	struct schema *s = o->e->schema;
	uint32_t value = schema_rule_of(s, literals, n_literals), rule = network_rule(s->net);
	if (value == RULE_DEAD || s->net->failed)
		return RULE_DEAD;
	uint32_t inside = network_state(s->net), after = network_state(s->net), before = network_state(s->net);
	uint32_t end = network_state(s->net);
	if (s->net->failed)
		return RULE_DEAD;
	network_edge(s->net, s->net->rules[rule], EDGE_BYTE, '"', inside);
	if (name) {
		struct bytes escaped = {0};
		characters_escape(&escaped, name->text, name->n_bytes);
		bytes_append(&escaped, "\"", 1);
		network_bytes(s->net, inside, escaped.data ? escaped.data : "", escaped.n_bytes, after);
		if (escaped.failed)
			network_lacks_memory(s->net);
		bytes_free(&escaped);
	} else {
		network_edge(s->net, inside, EDGE_STRING, names, after);
	}
	schema_write_mark(s, after, ':', before);
	network_edge(s->net, before, EDGE_CALL, value, end);
	s->net->states[end].final = true;
	return rule;
}

/* Calls of a member's rule from each state before it; `demands` it meets. */
static void write_calls(struct object *o, size_t position, bool named, uint32_t rule, unsigned demands)
{
	struct network *net = o->e->schema->net;
	for (uint32_t count = 0; count <= o->top; count++)
		for (unsigned met = 0; met < 1U << o->n_demands; met++) {
			uint32_t after = count < o->top ? count + 1 : count, from = *state_of(o, position, count, met);
			if (o->high < SCHEMA_NO_MAX_COUNT && count >= o->high)
				continue;
			if (net->failed)
				return;
			if (count > 0) {
				uint32_t before = network_state(net);
				schema_write_mark(o->e->schema, from, ',', before);
				if (net->failed)
					return;
				net->states[before].about = net->states[from].about;
				from = before;
			}
			network_edge(net, from, EDGE_CALL, rule, *state_of(o, position + named, after, met | demands));
		}
}

/* A member in each of the ways to meet demands. */
static void write_member(struct object *o, size_t position, const struct language_string *name, uint32_t names,
                         const uint32_t *literals, size_t n_literals, unsigned demands)
{
	for (unsigned met = 0; met < 1U << o->n_demands; met++) {
		uint32_t all[MAX_LITERALS];
		size_t n = n_literals;
		if (met & ~demands)
			continue;
		memcpy(all, literals, n * sizeof *all);
		for (size_t i = 0; i < o->n_demands; i++)
			if (met >> i & 1)
				all[n++] = o->demands[i]->below;
		uint32_t rule = member_rule(o, name, names, all, n);
		if (rule != RULE_DEAD)
			write_calls(o, position, name != NULL, rule, met);
	}
}

static void write_named(struct object *o, size_t position)
{
	const struct language_string *name = &o->names[position];
	struct network *net = o->e->schema->net;
	uint32_t literals[MAX_LITERALS];
	size_t n;
	unsigned demands = 0;
	for (size_t i = 0; i < o->n_demands; i++)
		if (demand_speaks_of(o, o->demands[i], name->text, name->n_bytes))
			demands |= 1U << i;
	if (literals_of_name(o, name->text, name->n_bytes, literals, &n))
		write_member(o, position, name, LANGUAGE_NONE, literals, n, demands);
	if (expansion_requires(o->e, name->text, name->n_bytes))
		return;
	for (uint32_t count = 0; count <= o->top && !net->failed; count++)
		for (unsigned met = 0; met < 1U << o->n_demands; met++)
			network_edge(net, *state_of(o, position, count, met), EDGE_SKIP, 0, *state_of(o, position + 1, count, met));
}

/* How many members others than the named may be needed; two of them could have the same name. */
static void check_names(struct object *o)
{
	struct schema *s = o->e->schema;
	uint64_t named = 0;
	for (size_t i = 0; i < o->n_names; i++)
		named += expansion_requires(o->e, o->names[i].text, o->names[i].n_bytes);
	if (o->low > named + 1 && o->n_classes > 0)
		schema_refuse(s, o->keyword, "so many members whose names are not given: that they differ cannot be enforced");
	for (size_t i = 0; i < o->n_classes; i++)
		if (o->classes[i].demands)
			schema_refuse(s, o->demands[0]->keyword,
			              "that some member with a name not given fails it cannot be enforced");
}

static bool make_states(struct object *o)
{
	struct network *net = o->e->schema->net;
	uint64_t top = o->low > 1 ? o->low : 1;
	if (o->high < SCHEMA_NO_MAX_COUNT && (o->n_classes > 0 || o->high < o->n_names))
		top = o->high > top ? o->high : top;
	size_t n = top < MAX_STATES ? (o->n_names + 1) * (top + 1) << o->n_demands : MAX_STATES;
	if (n >= MAX_STATES) {
		schema_refuse(o->e->schema, o->keyword, "so many members cannot be counted");
		return false;
	}
	o->top = (uint32_t)top;
	o->states = malloc(n * sizeof *o->states);
	if (!o->states || !TABLE_GROW(net->account, net->orders, net->n_orders, net->max_orders, 1)) {
		schema_out_of_memory(o->e->schema);
		return false;
	}
	for (size_t i = 0; i < n; i++) {
		o->states[i] = network_state(net);
		if (net->failed)
			return false;
		net->states[o->states[i]].about = (uint32_t)net->n_orders;
	}
	return true;
}

/* The names outlive the schema's document. */
static void keep_order(struct object *o)
{
	struct schema *s = o->e->schema;
	size_t n_bytes = 0;
	for (size_t i = 0; i < o->n_names; i++)
		n_bytes += o->names[i].n_bytes + 1;
	struct language_string *names = grammar_alloc(s->grammar, (o->n_names + 1) * sizeof *names + n_bytes);
	if (!names) {
		schema_out_of_memory(s);
		return;
	}
	char *text = (char *)(names + o->n_names + 1);
	for (size_t i = 0; i < o->n_names; i++) {
		memcpy(text, o->names[i].text, o->names[i].n_bytes);
		names[i] = (struct language_string){text, o->names[i].n_bytes};
		text += o->names[i].n_bytes + 1;
	}
	s->net->orders[s->net->n_orders++] = (struct network_order){names, o->n_names};
}

static void write_object(struct object *o, uint32_t start, uint32_t end)
{
	struct network *net = o->e->schema->net;
	unsigned all = (1U << o->n_demands) - 1;
	network_edge(net, start, EDGE_BYTE, '{', *state_of(o, 0, 0, 0));
	for (size_t i = 0; i < o->n_names && !net->failed && !o->e->schema->refused; i++)
		write_named(o, i);
	for (size_t i = 0; i < o->n_classes && !net->failed && !o->e->schema->refused; i++) {
		const struct class *class = &o->classes[i];
		write_member(o, o->n_names, NULL, class->names, class->literals, class->n_literals, class->demands);
	}
	for (uint32_t count = (uint32_t)o->low; count <= o->top && !net->failed; count++)
		network_edge(net, *state_of(o, o->n_names, count, all), EDGE_BYTE, '}', end);
}

void schema_write_object(struct expansion *e, uint32_t start, uint32_t end)
{
	struct table_account *account = e->schema->account;
	struct object o = {.e = e, .name_index.account = account};
	if (read_atoms(&o) && make_classes(&o)) {
		check_names(&o);
		if (!e->schema->refused && make_states(&o)) {
			keep_order(&o);
			write_object(&o, start, end);
		}
	}
	TABLE_FREE(account, o.names, o.max_names);
	table_index_free(&o.name_index);
	TABLE_FREE(account, o.classes, o.max_classes);
	free(o.states);
}
