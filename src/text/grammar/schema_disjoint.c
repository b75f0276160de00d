/* Quick proofs that demands contradict each other (schema.h). They need not find every contradiction: what they miss costs
 * alternatives that denote nothing. What they find keeps `oneOf` of many branches, told apart by a constant member, small. */
#include <string.h>

#include "text/grammar/schema.h"

enum { MAX_DEPTH = 8, MAX_VISITS = 1 << 14, LOOKS_OF_VALUE = 16, LOOKS_OF_KEYWORD = 16 };

/* What is plain about a literal: types, and the scalars it is one of, or none of. */
struct outline {
	unsigned types;
	const struct json *among, *but; /* an array or a value; NULL */
};

static bool in_set(struct schema *s, const struct json *value, const struct json *set)
{
	if (json_type(set) != JSON_ARRAY)
		return schema_values_equal(value, set);
	for (const struct json *one = json_first(set); one && schema_look(s, LOOKS_OF_VALUE); one = json_next(one))
		if (schema_values_equal(value, one))
			return true;
	return false;
}

static const struct json *first_of(const struct json *set)
{
	return json_type(set) == JSON_ARRAY ? json_first(set) : set;
}

static const struct json *next_of(const struct json *set, const struct json *value)
{
	return json_type(set) == JSON_ARRAY ? json_next(value) : NULL;
}

/* Every value of `set` is in `others`, or (`wanted` false) none is. Long sets are not looked at. */
static bool all_in(struct schema *s, const struct json *set, const struct json *others, bool wanted)
{
	if (json_count(set) > 64 && json_count(others) > 64)
		return false;
	for (const struct json *value = first_of(set); value; value = next_of(set, value))
		if (in_set(s, value, others) != wanted)
			return false;
	return schema_look(s, LOOKS_OF_VALUE);
}

static bool all_scalars(struct schema *s, const struct json *set)
{
	if (json_type(set) != JSON_ARRAY)
		return schema_is_scalar(set);
	for (const struct json *value = json_first(set); value; value = json_next(value))
		if (!schema_look(s, 1) || !schema_is_scalar(value))
			return false;
	return true;
}

static unsigned types_of_set(struct schema *s, const struct json *set)
{
	static const unsigned types[] = {
	    [JSON_NULL] = TYPE_NULL,     [JSON_BOOL] = TYPE_BOOLEAN, [JSON_NUMBER] = TYPE_NUMBER,
	    [JSON_STRING] = TYPE_STRING, [JSON_ARRAY] = TYPE_ARRAY,  [JSON_OBJECT] = TYPE_OBJECT};
	unsigned all = 0;
	for (const struct json *value = first_of(set); value && schema_look(s, 1); value = next_of(set, value))
		all |= types[json_type(value)];
	return all;
}

static void outline_set(struct schema *s, struct outline *o, const struct json *set)
{
	o->types &= types_of_set(s, set);
	if (all_scalars(s, set))
		o->among = set;
}

static void outline_schema(struct schema *s, uint32_t node, struct outline *o, int depth)
{
	const struct json *schema = s->nodes[node].value;
	for (const struct json *k = depth > 0 ? json_first(schema) : NULL; k; k = json_next(k)) {
		bool integer;
		if (!schema_look(s, LOOKS_OF_KEYWORD) || !schema_keyword_counts(s, node, k))
			continue;
		if (schema_key_is(k, "type"))
			o->types &= schema_types(s, k, &integer);
		else if (schema_key_is(k, "enum") && json_type(k) == JSON_ARRAY)
			outline_set(s, o, k);
		else if (schema_key_is(k, "const") && schema_is_scalar(k))
			outline_set(s, o, k);
		else if (schema_key_is(k, "$ref")) {
			uint32_t target = schema_ref(s, node, k, false);
			if (target > NODE_FALSE)
				outline_schema(s, target, o, depth - 1);
		}
	}
}

static struct outline outline_of(struct schema *s, uint32_t literal)
{
	struct outline o = {.types = literal == LITERAL_FALSE || literal == LITERAL_TRUE + 1 ? 0 : TYPE_ALL};
	if (literal / 2 <= NODE_FALSE)
		return o;
	const struct schema_node node = s->nodes[literal / 2];
	if (node.is_value) {
		if (!schema_is_scalar(node.value))
			return o;
		if (literal & 1)
			o.but = node.value;
		else
			outline_set(s, &o, node.value);
	} else if (literal & 1) {
		const struct json *set = json_get(node.value, "const");
		set = set ? set : json_get(node.value, "enum");
		/* Not to hold, with one keyword that can fail. */
		bool alone = json_count(node.value) == 1 || (json_count(node.value) == 2 && json_get(node.value, "type"));
		if (set && alone && schema_keyword_counts(s, literal / 2, set) && all_scalars(s, set) &&
		    !json_get(node.value, "$ref"))
			o.but = json_count(node.value) == 1 ? set : NULL;
	} else {
		outline_schema(s, literal / 2, &o, MAX_DEPTH);
	}
	return o;
}

static bool literals_disjoint(struct schema *s, uint32_t a, uint32_t b)
{
	if ((a ^ b) == 1)
		return true;
	struct outline x = outline_of(s, a), y = outline_of(s, b);
	return (x.types & y.types) == 0 || (x.among && y.among && all_in(s, x.among, y.among, false)) ||
	       (x.among && y.but && all_in(s, x.among, y.but, true)) ||
	       (y.among && x.but && all_in(s, y.among, x.but, true));
}

/* Does an atom without a name keep an object from having the member? */
static bool forbids(struct schema *s, const struct atom *atom, const char *name, size_t n)
{
	return atom->kind == ATOM_ADDITIONAL && atom->below == LITERAL_FALSE && atom->language == LANGUAGE_NONE &&
	       !schema_member(s, atom->value, name, n);
}

static bool is_forbidden(const struct expansion *e, const char *name, size_t n)
{
	for (uint32_t i = expansion_named(e, name, n); i != NO_ATOM; i = expansion_named_before(e, i))
		if (e->atoms[i].kind == ATOM_FORBIDDEN)
			return true;
	for (uint32_t i = expansion_unnamed(e); i != NO_ATOM; i = expansion_unnamed_before(e, i))
		if (forbids(e->schema, &e->atoms[i], name, n))
			return true;
	return false;
}

/* A member that must be there cannot be what a literal says beside the others of its name. */
static bool member_clashes(const struct expansion *e, const struct atom *member)
{
	if (outline_of(e->schema, member->below).types == 0)
		return true;
	uint32_t i = expansion_named(e, member->name, member->n_name);
	for (; i != NO_ATOM; i = expansion_named_before(e, i))
		if (e->atoms[i].kind == ATOM_MEMBER && e->atoms[i].below != member->below &&
		    literals_disjoint(e->schema, e->atoms[i].below, member->below))
			return true;
	return false;
}

/* No object fulfils the atom and the others. */
static bool atom_clashes(const struct expansion *e, const struct atom *atom)
{
	if (atom->kind == ATOM_FORBIDDEN)
		return expansion_requires(e, atom->name, atom->n_name);
	if (atom->kind == ATOM_MEMBER)
		return expansion_requires(e, atom->name, atom->n_name) && member_clashes(e, atom);
	if (atom->kind == ATOM_REQUIRED) {
		uint32_t i = expansion_named(e, atom->name, atom->n_name);
		for (; i != NO_ATOM; i = expansion_named_before(e, i))
			if (e->atoms[i].kind == ATOM_MEMBER && outline_of(e->schema, e->atoms[i].below).types == 0)
				return true;
		return is_forbidden(e, atom->name, atom->n_name);
	}
	for (size_t i = 0; i < e->n_atoms && atom->kind == ATOM_ADDITIONAL && schema_look(e->schema, 1); i++)
		if (e->atoms[i].kind == ATOM_REQUIRED && forbids(e->schema, atom, e->atoms[i].name, e->atoms[i].n_name))
			return true;
	return false;
}

static bool scalars_clash(const struct expansion *e, const struct atom *a, const struct atom *b)
{
	return !a->low && all_scalars(e->schema, a->value) && all_scalars(e->schema, b->value) &&
	       all_in(e->schema, a->value, b->value, b->low != 0);
}

/* What is among the scalars of one atom, another leaves out. */
static bool set_clashes(const struct expansion *e, uint32_t set)
{
	const struct atom *a = &e->atoms[set];
	for (uint32_t i = expansion_unnamed(e); i != NO_ATOM; i = expansion_unnamed_before(e, i)) {
		const struct atom *b = &e->atoms[i];
		if (i != set && b->kind == ATOM_AMONG && (scalars_clash(e, a, b) || scalars_clash(e, b, a)))
			return true;
	}
	return false;
}

bool expansion_is_contradictory(struct expansion *e, size_t first)
{
	for (size_t i = first; i < e->n_atoms && e->types & TYPE_OBJECT && schema_look(e->schema, 1); i++)
		if (atom_clashes(e, &e->atoms[i]))
			e->types &= ~(unsigned)TYPE_OBJECT;
	for (size_t i = first; i < e->n_atoms && !(e->types & (TYPE_ARRAY | TYPE_OBJECT)); i++)
		if (schema_look(e->schema, 1) && e->atoms[i].kind == ATOM_AMONG && set_clashes(e, (uint32_t)i))
			return true;
	return !e->types;
}

/* ---- a schema against the atoms so far ---- */

static bool excludes_node(struct expansion *e, uint32_t node, int depth);

static bool excludes_set(const struct expansion *e, const struct json *set)
{
	if ((types_of_set(e->schema, set) & e->types) == 0)
		return true;
	if (!all_scalars(e->schema, set))
		return false;
	for (uint32_t i = expansion_unnamed(e); i != NO_ATOM; i = expansion_unnamed_before(e, i)) {
		const struct atom *a = &e->atoms[i];
		if (a->kind == ATOM_AMONG && all_in(e->schema, set, a->value, a->low != 0))
			return true;
	}
	return false;
}

static bool excludes_members(struct expansion *e, uint32_t node, const struct json *properties)
{
	for (const struct json *member = json_first(properties); member; member = json_next(member)) {
		size_t n;
		const char *name = json_key(member, &n);
		if (!name || !expansion_requires(e, name, n))
			continue;
		uint32_t literal = schema_node(e->schema, node, member) * 2;
		for (uint32_t i = expansion_named(e, name, n); i != NO_ATOM; i = expansion_named_before(e, i))
			if (e->atoms[i].kind == ATOM_MEMBER && literals_disjoint(e->schema, e->atoms[i].below, literal))
				return true;
	}
	return false;
}

static bool excludes_required(const struct expansion *e, const struct json *required)
{
	for (const struct json *name = json_first(required); name; name = json_next(name)) {
		size_t n;
		const char *text = json_string(name, &n);
		if (text && is_forbidden(e, text, n))
			return true;
	}
	return false;
}

/* additionalProperties: false, without the name of a member that must be there. */
static bool excludes_additional(const struct expansion *e, const struct json *schema)
{
	bool more = true;
	if (!json_bool(json_get(schema, "additionalProperties"), &more) || more || json_get(schema, "patternProperties"))
		return false;
	const struct json *properties = schema_members(schema, "properties");
	for (size_t i = 0; i < e->n_atoms && schema_look(e->schema, 1); i++)
		if (e->atoms[i].kind == ATOM_REQUIRED &&
		    !schema_member(e->schema, properties, e->atoms[i].name, e->atoms[i].n_name))
			return true;
	return false;
}

static bool excludes_branches(struct expansion *e, uint32_t node, const struct json *branches, bool all, int depth)
{
	for (const struct json *part = json_first(branches); part; part = json_next(part))
		if (excludes_node(e, schema_node(e->schema, node, part), depth - 1) != all)
			return !all;
	return all;
}

static bool excludes_keyword(struct expansion *e, uint32_t node, const struct json *k, int depth)
{
	bool integer, objects = (e->types & ~(unsigned)TYPE_OBJECT) == 0;
	if (schema_key_is(k, "$ref"))
		return excludes_node(e, schema_ref(e->schema, node, k, false), depth - 1);
	if (schema_key_is(k, "allOf"))
		return excludes_branches(e, node, k, false, depth);
	if (schema_key_is(k, "anyOf") || schema_key_is(k, "oneOf"))
		return json_count(k) > 0 && excludes_branches(e, node, k, true, depth);
	if (schema_key_is(k, "type"))
		return (schema_types(e->schema, k, &integer) & e->types) == 0;
	if ((schema_key_is(k, "enum") && json_type(k) == JSON_ARRAY) || (schema_key_is(k, "const") && schema_is_scalar(k)))
		return excludes_set(e, k);
	if (!objects)
		return false;
	if (schema_key_is(k, "properties"))
		return excludes_members(e, node, k);
	if (schema_key_is(k, "required"))
		return json_type(k) == JSON_ARRAY && excludes_required(e, k);
	return schema_key_is(k, "additionalProperties") && excludes_additional(e, e->schema->nodes[node].value);
}

static bool excludes_node(struct expansion *e, uint32_t node, int depth)
{
	if (node <= NODE_FALSE || depth == 0)
		return node == NODE_FALSE;
	if (e->n_visits++ >= MAX_VISITS)
		return false;
	const struct schema_node n = e->schema->nodes[node];
	if (n.is_value)
		return schema_is_scalar(n.value) && excludes_set(e, n.value);
	for (const struct json *k = json_first(n.value); k; k = json_next(k))
		if (schema_look(e->schema, LOOKS_OF_KEYWORD) && schema_keyword_counts(e->schema, node, k) &&
		    excludes_keyword(e, node, k, depth))
			return true;
	return false;
}

bool expansion_excludes(struct expansion *e, uint32_t literal)
{
	e->n_visits = 0;
	return excludes_node(e, literal / 2, MAX_DEPTH);
}
