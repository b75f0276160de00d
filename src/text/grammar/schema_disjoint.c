/* Quick proofs that demands contradict each other (schema.h). They need not find every contradiction: what they miss costs
 * alternatives that denote nothing. What they find keeps `oneOf` of many branches, told apart by a constant member, small. */
#include <string.h>

#include "text/grammar/schema.h"

enum { MAX_DEPTH = 8 };

/* What is plain about a literal: types, and the scalars it is one of, or none of. */
struct outline {
	unsigned types;
	const struct json *among, *but; /* an array or a value; NULL */
};

static bool in_set(const struct json *value, const struct json *set)
{
	if (json_type(set) != JSON_ARRAY)
		return schema_values_equal(value, set);
	for (const struct json *one = json_first(set); one; one = json_next(one))
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
static bool all_in(const struct json *set, const struct json *others, bool wanted)
{
	if (json_count(set) > 64 && json_count(others) > 64)
		return false;
	for (const struct json *value = first_of(set); value; value = next_of(set, value))
		if (in_set(value, others) != wanted)
			return false;
	return true;
}

static bool all_scalars(const struct json *set)
{
	if (json_type(set) != JSON_ARRAY)
		return schema_is_scalar(set);
	for (const struct json *value = json_first(set); value; value = json_next(value))
		if (!schema_is_scalar(value))
			return false;
	return true;
}

static unsigned types_of_set(const struct json *set)
{
	static const unsigned types[] = {
	    [JSON_NULL] = TYPE_NULL,     [JSON_BOOL] = TYPE_BOOLEAN, [JSON_NUMBER] = TYPE_NUMBER,
	    [JSON_STRING] = TYPE_STRING, [JSON_ARRAY] = TYPE_ARRAY,  [JSON_OBJECT] = TYPE_OBJECT};
	unsigned all = 0;
	for (const struct json *value = first_of(set); value; value = next_of(set, value))
		all |= types[json_type(value)];
	return all;
}

static void outline_set(struct outline *o, const struct json *set)
{
	o->types &= types_of_set(set);
	if (all_scalars(set))
		o->among = set;
}

static void outline_schema(struct schema *s, uint32_t node, struct outline *o, int depth)
{
	const struct json *schema = s->nodes[node].value;
	for (const struct json *k = depth > 0 ? json_first(schema) : NULL; k; k = json_next(k)) {
		bool integer;
		if (!schema_keyword_counts(s, node, k))
			continue;
		if (schema_key_is(k, "type"))
			o->types &= schema_types(s, k, &integer);
		else if (schema_key_is(k, "enum") && json_type(k) == JSON_ARRAY)
			outline_set(o, k);
		else if (schema_key_is(k, "const") && schema_is_scalar(k))
			outline_set(o, k);
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
			outline_set(&o, node.value);
	} else if (literal & 1) {
		const struct json *set = json_get(node.value, "const");
		set = set ? set : json_get(node.value, "enum");
		/* Not to hold, with one keyword that can fail. */
		bool alone = json_count(node.value) == 1 || (json_count(node.value) == 2 && json_get(node.value, "type"));
		if (set && alone && schema_keyword_counts(s, literal / 2, set) && all_scalars(set) &&
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
	return (x.types & y.types) == 0 || (x.among && y.among && all_in(x.among, y.among, false)) ||
	       (x.among && y.but && all_in(x.among, y.but, true)) || (y.among && x.but && all_in(y.among, x.but, true));
}

static bool same_name(const struct atom *a, const char *name, size_t n)
{
	return a->n_name == n && memcmp(a->name, name, n) == 0;
}

static bool has_key(const struct json *object, const char *name, size_t n)
{
	size_t n_key;
	for (const struct json *member = json_first(object); member; member = json_next(member)) {
		const char *key = json_key(member, &n_key);
		if (key && n_key == n && memcmp(key, name, n) == 0)
			return true;
	}
	return false;
}

/* Does the atom keep an object from having the member? */
static bool forbids(const struct atom *atom, const char *name, size_t n)
{
	if (atom->kind == ATOM_FORBIDDEN)
		return same_name(atom, name, n);
	return atom->kind == ATOM_ADDITIONAL && atom->below == LITERAL_FALSE && atom->language == LANGUAGE_NONE &&
	       !has_key(atom->value, name, n);
}

static bool is_required(const struct expansion *e, const char *name, size_t n)
{
	for (size_t i = 0; i < e->n_atoms; i++)
		if (e->atoms[i].kind == ATOM_REQUIRED && same_name(&e->atoms[i], name, n))
			return true;
	return false;
}

/* Two atoms of one object: they cannot be met together. */
static bool atoms_clash(struct expansion *e, const struct atom *a, const struct atom *b)
{
	if (a->kind == ATOM_REQUIRED)
		return forbids(b, a->name, a->n_name) || (b->kind == ATOM_MEMBER && same_name(b, a->name, a->n_name) &&
		                                          outline_of(e->schema, b->below).types == 0);
	return a->kind == ATOM_MEMBER && b->kind == ATOM_MEMBER && same_name(b, a->name, a->n_name) &&
	       a->below != b->below && is_required(e, a->name, a->n_name) &&
	       literals_disjoint(e->schema, a->below, b->below);
}

static bool scalars_clash(const struct expansion *e, const struct atom *a, const struct atom *b)
{
	if (a->kind != ATOM_AMONG || b->kind != ATOM_AMONG || a->low || (e->types & (TYPE_ARRAY | TYPE_OBJECT)))
		return false;
	return all_scalars(a->value) && all_scalars(b->value) && all_in(a->value, b->value, b->low != 0);
}

bool expansion_is_contradictory(struct expansion *e, size_t first)
{
	for (size_t i = first; i < e->n_atoms; i++)
		for (size_t k = 0; k < e->n_atoms; k++) {
			if (i == k)
				continue;
			const struct atom *a = &e->atoms[i], *b = &e->atoms[k];
			if (scalars_clash(e, a, b) || scalars_clash(e, b, a))
				return true;
			if ((e->types & TYPE_OBJECT) && (atoms_clash(e, a, b) || atoms_clash(e, b, a))) {
				e->types &= ~(unsigned)TYPE_OBJECT;
				if (!e->types)
					return true;
			}
		}
	return false;
}

/* ---- a schema against the atoms so far ---- */

static bool excludes_node(struct expansion *e, uint32_t node, int depth);

static bool excludes_set(const struct expansion *e, const struct json *set)
{
	if ((types_of_set(set) & e->types) == 0)
		return true;
	for (size_t i = 0; i < e->n_atoms && all_scalars(set); i++) {
		const struct atom *a = &e->atoms[i];
		if (a->kind == ATOM_AMONG && all_in(set, a->value, a->low != 0))
			return true;
	}
	return false;
}

static bool excludes_members(struct expansion *e, uint32_t node, const struct json *properties)
{
	for (const struct json *member = json_first(properties); member; member = json_next(member)) {
		size_t n;
		const char *name = json_key(member, &n);
		if (!name || !is_required(e, name, n))
			continue;
		uint32_t literal = schema_node(e->schema, node, member) * 2;
		for (size_t i = 0; i < e->n_atoms; i++)
			if (e->atoms[i].kind == ATOM_MEMBER && same_name(&e->atoms[i], name, n) &&
			    literals_disjoint(e->schema, e->atoms[i].below, literal))
				return true;
	}
	return false;
}

static bool excludes_required(const struct expansion *e, const struct json *required)
{
	for (const struct json *name = json_first(required); name; name = json_next(name)) {
		size_t n;
		const char *text = json_string(name, &n);
		for (size_t i = 0; i < e->n_atoms && text; i++)
			if (forbids(&e->atoms[i], text, n))
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
	for (size_t i = 0; i < e->n_atoms; i++)
		if (e->atoms[i].kind == ATOM_REQUIRED &&
		    !has_key(json_get(schema, "properties"), e->atoms[i].name, e->atoms[i].n_name))
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
	const struct schema_node n = e->schema->nodes[node];
	if (n.is_value)
		return schema_is_scalar(n.value) && excludes_set(e, n.value);
	for (const struct json *k = json_first(n.value); k; k = json_next(k))
		if (schema_keyword_counts(e->schema, node, k) && excludes_keyword(e, node, k, depth))
			return true;
	return false;
}

bool expansion_excludes(struct expansion *e, uint32_t literal)
{
	return excludes_node(e, literal / 2, MAX_DEPTH);
}
