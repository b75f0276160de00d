/* What it takes for a keyword to fail (schema.h). Each keyword speaks of one type, so a value that fails it is of that type;
 * of several demands in one keyword one fails, and each is a way. */
#include <string.h>

#include "text/grammar/schema.h"

static struct atom member_atom(enum atom_kind kind, const struct json *member)
{
	struct atom atom = {.kind = kind, .keyword = member};
	atom.name = json_key(member, &atom.n_name);
	return atom;
}

static bool impossible(struct expansion *e)
{
	e->types = 0;
	return true;
}

static const struct json *part_number(const struct json *container, size_t index)
{
	const struct json *part = json_first(container);
	for (; part && index > 0; index--)
		part = json_next(part);
	return part;
}

/* Fewer than `low` or more than `high`, in ways 0 and 1. */
static bool fail_range(struct expansion *e, uint32_t w, struct atom atom, uint64_t low, uint64_t high, size_t way)
{
	if (way > 1)
		return false;
	if (way == 0 ? low == 0 : high == UINT64_MAX)
		return impossible(e);
	atom.low = way == 0 ? 0 : high + 1;
	atom.high = way == 0 ? low - 1 : UINT64_MAX;
	expansion_atom(e, w, atom);
	return true;
}

static bool fail_count(struct expansion *e, uint32_t w, const struct json *keyword, size_t way, unsigned type,
                       enum atom_kind kind, bool least)
{
	uint64_t count = 0;
	e->types &= type;
	(void)schema_count(e->schema, keyword, &count);
	struct atom atom = {.kind = kind, .keyword = keyword};
	return fail_range(e, w, atom, least ? count : 0, least ? UINT64_MAX : count, way);
}

static bool fail_bound(struct expansion *e, uint32_t w, const struct json *keyword, bool lower, bool open)
{
	const struct json *above = e->schema->nodes[expansion_node(e, w)].value;
	bool older = false;
	if (json_bool(keyword, &older) && open)
		return impossible(e);
	if (!open)
		(void)json_bool(json_get(above, lower ? "exclusiveMinimum" : "exclusiveMaximum"), &older);
	e->types &= TYPE_NUMBER;
	expansion_atom(
	    e, w,
	    (struct atom){
	        .kind = lower ? ATOM_UPPER : ATOM_LOWER, .value = keyword, .keyword = keyword, .low = !(open || older)});
	return true;
}

static bool fail_text(struct expansion *e, uint32_t w, uint32_t language)
{
	e->types &= TYPE_STRING;
	expansion_atom(e, w, (struct atom){.kind = ATOM_TEXT, .language = language_not(e->schema->l, language)});
	return true;
}

/* Way 0: of a type that is not named; way 1: a number that is no integer, where only integers are named. */
static bool fail_type(struct expansion *e, uint32_t w, const struct json *keyword, size_t way)
{
	bool integer;
	unsigned types = schema_types(e->schema, keyword, &integer);
	if (way > (integer ? 1U : 0U))
		return false;
	e->types &= way == 0 ? ~types : TYPE_NUMBER;
	if (way == 1) {
		bool points = schema_draft(e->schema, expansion_node(e, w)) <= DRAFT_4;
		expansion_atom(e, w, (struct atom){.kind = ATOM_FRACTION, .low = points});
	}
	return true;
}

static bool fail_enum(struct expansion *e, uint32_t w, const struct json *keyword)
{
	for (const struct json *value = json_first(keyword); value && schema_look(e->schema, 1); value = json_next(value))
		if (!schema_is_scalar(value))
			expansion_work(e, w, schema_value_node(e->schema, value) * 2 + 1, keyword);
	expansion_atom(e, w, (struct atom){.kind = ATOM_AMONG, .value = keyword, .low = 1, .keyword = keyword});
	return true;
}

/* ---- arrays ---- */

static bool fail_item(struct expansion *e, uint32_t w, const struct json *list, size_t index)
{
	const struct json *item = part_number(list, index);
	if (!item)
		return false;
	e->types &= TYPE_ARRAY;
	expansion_atom(e, w, (struct atom){.kind = ATOM_ITEM_COUNT, .low = index + 1, .high = UINT64_MAX, .keyword = list});
	expansion_atom(e, w, (struct atom){.kind = ATOM_ITEM, .low = index, .below = expansion_literal(e, w, item, false)});
	return true;
}

static bool fail_items(struct expansion *e, uint32_t w, const struct json *keyword, size_t way)
{
	const struct json *above = e->schema->nodes[expansion_node(e, w)].value;
	bool additional = schema_key_is(keyword, "additionalItems");
	if (json_type(keyword) == JSON_ARRAY && !additional)
		return fail_item(e, w, keyword, way);
	if (way > 0 || (additional && !schema_is_type(json_get(above, "items"), JSON_ARRAY)))
		return false;
	e->types &= TYPE_ARRAY;
	expansion_atom(e, w,
	               (struct atom){.kind = ATOM_SOME_ITEM,
	                             .low = schema_prefix_length(e->schema, expansion_node(e, w)),
	                             .below = expansion_literal(e, w, keyword, false),
	                             .keyword = keyword});
	return true;
}

static bool fail_contains(struct expansion *e, uint32_t w, const struct json *keyword, size_t way)
{
	uint64_t low, high;
	e->types &= TYPE_ARRAY;
	if (!schema_contains_range(e->schema, expansion_node(e, w), &low, &high))
		return false;
	struct atom atom = {.kind = ATOM_CONTAINS, .below = expansion_literal(e, w, keyword, true), .keyword = keyword};
	return fail_range(e, w, atom, low, high, way);
}

static bool fail_unique(struct expansion *e, const struct json *keyword)
{
	bool yes = false;
	(void)json_bool(keyword, &yes);
	if (yes)
		schema_refuse(e->schema, keyword, "uniqueItems where it must not hold is not supported");
	return impossible(e);
}

/* ---- objects ---- */

static bool fail_properties(struct expansion *e, uint32_t w, const struct json *keyword, size_t way)
{
	const struct json *member = json_type(keyword) == JSON_OBJECT ? part_number(keyword, way) : NULL;
	if (!member)
		return false;
	e->types &= TYPE_OBJECT;
	struct atom atom = member_atom(ATOM_REQUIRED, member);
	expansion_atom(e, w, atom);
	atom.kind = ATOM_MEMBER;
	atom.below = expansion_literal(e, w, member, false);
	expansion_atom(e, w, atom);
	return true;
}

static bool fail_pattern_properties(struct expansion *e, uint32_t w, const struct json *keyword, size_t way)
{
	const struct json *member = json_type(keyword) == JSON_OBJECT ? part_number(keyword, way) : NULL;
	size_t n;
	if (!member)
		return false;
	const char *pattern = json_key(member, &n);
	e->types &= TYPE_OBJECT;
	expansion_atom(e, w,
	               (struct atom){.kind = ATOM_SOME_MEMBER,
	                             .language = schema_pattern(e->schema, member, pattern, n),
	                             .below = expansion_literal(e, w, member, false),
	                             .keyword = keyword});
	return true;
}

static bool fail_additional(struct expansion *e, uint32_t w, const struct json *keyword)
{
	const struct json *above = e->schema->nodes[expansion_node(e, w)].value;
	uint32_t patterns = schema_patterns(e->schema, schema_members(above, "patternProperties"));
	e->types &= TYPE_OBJECT;
	expansion_atom(e, w,
	               (struct atom){.kind = ATOM_SOME_MEMBER,
	                             .value = schema_members(above, "properties"),
	                             .language = language_not(e->schema->l, patterns),
	                             .below = expansion_literal(e, w, keyword, false),
	                             .keyword = keyword});
	return true;
}

static bool fail_names(struct expansion *e, uint32_t w, const struct json *keyword)
{
	e->types &= TYPE_OBJECT;
	if (!e->types)
		return true;
	uint32_t names = schema_names(e->schema, expansion_literal(e, w, keyword, true));
	expansion_atom(e, w,
	               (struct atom){.kind = ATOM_SOME_MEMBER,
	                             .language = language_not(e->schema->l, names),
	                             .below = LITERAL_TRUE,
	                             .keyword = keyword});
	return true;
}

static bool fail_required(struct expansion *e, uint32_t w, const struct json *keyword, size_t way)
{
	const struct json *name = json_type(keyword) == JSON_ARRAY ? part_number(keyword, way) : NULL;
	struct atom atom = {.kind = ATOM_FORBIDDEN, .keyword = keyword};
	atom.name = json_string(name, &atom.n_name);
	if (!atom.name)
		return false;
	e->types &= TYPE_OBJECT;
	expansion_atom(e, w, atom);
	return true;
}

/* A member is there, and one of what it asks for is not. */
static bool fail_dependencies(struct expansion *e, uint32_t w, const struct json *keyword, size_t way)
{
	const struct json *part = json_type(keyword) == JSON_OBJECT ? json_first(keyword) : NULL;
	for (; part && schema_look(e->schema, 1); part = json_next(part)) {
		size_t ways = json_type(part) == JSON_ARRAY ? json_count(part) : 1;
		if (way < ways || !schema_look(e->schema, ways))
			break;
		way -= ways;
	}
	if (!part)
		return false;
	e->types &= TYPE_OBJECT;
	expansion_atom(e, w, member_atom(ATOM_REQUIRED, part));
	if (json_type(part) == JSON_ARRAY)
		return fail_required(e, w, part, way);
	if (json_type(part) != JSON_STRING)
		expansion_below(e, w, part, false);
	else
		expansion_atom(e, w,
		               (struct atom){.kind = ATOM_FORBIDDEN,
		                             .name = json_string(part, NULL),
		                             .n_name = strlen(json_string(part, NULL))});
	return true;
}

/* ---- applicators ---- */

static bool fail_all_of(struct expansion *e, uint32_t w, const struct json *keyword, size_t way)
{
	const struct json *part = json_type(keyword) == JSON_ARRAY ? part_number(keyword, way) : NULL;
	if (part)
		expansion_below(e, w, part, false);
	return part != NULL;
}

static void fail_each(struct expansion *e, uint32_t w, const struct json *keyword)
{
	for (const struct json *part = json_first(keyword); part; part = json_next(part))
		expansion_below(e, w, part, false);
}

/* No branch, or two of them. */
static bool fail_one_of(struct expansion *e, uint32_t w, const struct json *keyword, size_t way)
{
	size_t n = json_count(keyword);
	if (!schema_look(e->schema, n))
		return false;
	if (way == 0) {
		fail_each(e, w, keyword);
		return true;
	}
	way--;
	for (size_t first = 0; first + 1 < n; first++) {
		if (way < n - first - 1) {
			expansion_below(e, w, part_number(keyword, first), true);
			expansion_below(e, w, part_number(keyword, first + 1 + way), true);
			return true;
		}
		way -= n - first - 1;
	}
	return false;
}

static bool fail_if(struct expansion *e, uint32_t w, const struct json *keyword, size_t way)
{
	const struct json *above = e->schema->nodes[expansion_node(e, w)].value;
	const struct json *then = json_get(above, way == 0 ? "then" : "else");
	if (way > 1)
		return false;
	if (!then)
		return impossible(e);
	expansion_below(e, w, keyword, way == 0);
	expansion_below(e, w, then, false);
	return true;
}

/* ---- the table ---- */

static bool fail_value(struct expansion *e, uint32_t w, const struct json *k, size_t way)
{
	size_t n;
	const char *text = json_string(k, &n);
	uint32_t language;
	if (schema_key_is(k, "enum"))
		return way == 0 && fail_enum(e, w, k);
	if (way > 0)
		return false;
	if (schema_key_is(k, "const")) {
		expansion_work(e, w, schema_value_node(e->schema, k) * 2 + 1, k);
	} else if (schema_key_is(k, "multipleOf")) {
		e->types &= TYPE_NUMBER;
		expansion_atom(e, w,
		               (struct atom){.kind = ATOM_MULTIPLE, .low = 1, .language = schema_multiples(e->schema, k)});
	} else if (schema_key_is(k, "pattern")) {
		return text ? fail_text(e, w, schema_pattern(e->schema, k, text, n)) : impossible(e);
	} else if (schema_key_is(k, "format")) {
		return text && schema_format(e->schema, k, text, &language) ? fail_text(e, w, language) : impossible(e);
	} else if (schema_key_is(k, "minimum") || schema_key_is(k, "exclusiveMinimum")) {
		return fail_bound(e, w, k, true, schema_key_is(k, "exclusiveMinimum"));
	} else if (schema_key_is(k, "maximum") || schema_key_is(k, "exclusiveMaximum")) {
		return fail_bound(e, w, k, false, schema_key_is(k, "exclusiveMaximum"));
	} else if (schema_key_is(k, "uniqueItems")) {
		return fail_unique(e, k);
	} else {
		return false;
	}
	return true;
}

static bool fail_new_keyword(struct expansion *e, uint32_t w, const struct json *k, size_t way)
{
	if (schema_key_is(k, "prefixItems"))
		return json_type(k) == JSON_ARRAY && fail_item(e, w, k, way);
	if (schema_key_is(k, "dependentRequired") || schema_key_is(k, "dependentSchemas"))
		return fail_dependencies(e, w, k, way);
	if (way == 0 && (schema_key_is(k, "unevaluatedItems") || schema_key_is(k, "unevaluatedProperties"))) {
		schema_refuse(e->schema, k, "where it must not hold it is not supported");
	} else if (way == 0 && schema_key_is(k, "$dynamicRef")) {
		expansion_work(e, w, schema_ref(e->schema, expansion_node(e, w), k, true) * 2 + 1, k);
		return true;
	}
	return false;
}

bool schema_fail_keyword(struct expansion *e, uint32_t w, const struct json *k, size_t way)
{
	static const struct {
		const char *name;
		unsigned type;
		enum atom_kind kind;
		bool least;
	} counts[] = {
	    {"minLength", TYPE_STRING, ATOM_LENGTH, true},
	    {"maxLength", TYPE_STRING, ATOM_LENGTH, false},
	    {"minItems", TYPE_ARRAY, ATOM_ITEM_COUNT, true},
	    {"maxItems", TYPE_ARRAY, ATOM_ITEM_COUNT, false},
	    {"minProperties", TYPE_OBJECT, ATOM_MEMBER_COUNT, true},
	    {"maxProperties", TYPE_OBJECT, ATOM_MEMBER_COUNT, false},
	};
	static const struct {
		const char *name;
		bool (*fail)(struct expansion *e, uint32_t w, const struct json *keyword, size_t way);
	} several[] = {
	    {"type", fail_type},
	    {"items", fail_items},
	    {"additionalItems", fail_items},
	    {"contains", fail_contains},
	    {"properties", fail_properties},
	    {"patternProperties", fail_pattern_properties},
	    {"required", fail_required},
	    {"dependencies", fail_dependencies},
	    {"allOf", fail_all_of},
	    {"oneOf", fail_one_of},
	    {"if", fail_if},
	};
	schema_refuse_unsupported(e->schema, expansion_node(e, w), k);
	for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
		if (schema_key_is(k, counts[i].name))
			return fail_count(e, w, k, way, counts[i].type, counts[i].kind, counts[i].least);
	for (size_t i = 0; i < sizeof several / sizeof *several; i++)
		if (schema_key_is(k, several[i].name))
			return several[i].fail(e, w, k, way);
	if (fail_new_keyword(e, w, k, way))
		return true;
	if (way > 0)
		return fail_value(e, w, k, way);
	if (schema_key_is(k, "$ref"))
		expansion_work(e, w, schema_ref(e->schema, expansion_node(e, w), k, false) * 2 + 1, k);
	else if (schema_key_is(k, "anyOf"))
		fail_each(e, w, k);
	else if (schema_key_is(k, "not"))
		expansion_below(e, w, k, true);
	else if (schema_key_is(k, "additionalProperties"))
		return fail_additional(e, w, k);
	else if (schema_key_is(k, "propertyNames"))
		return fail_names(e, w, k);
	else
		return fail_value(e, w, k, way);
	return true;
}

/* Way 0: another type. Arrays: another length, or an item that differs; objects: a member is missing, differs, or is one too
 * many. */
bool schema_differ(struct expansion *e, uint32_t w, const struct json *value, size_t way)
{
	bool array = json_type(value) == JSON_ARRAY;
	size_t n = json_count(value);
	if (!schema_look(e->schema, n))
		return false;
	if (way == 0) {
		e->types &= array ? ~(unsigned)TYPE_ARRAY : ~(unsigned)TYPE_OBJECT;
		return true;
	}
	e->types &= array ? TYPE_ARRAY : TYPE_OBJECT;
	if (array && way <= 2)
		return fail_range(e, w, (struct atom){.kind = ATOM_ITEM_COUNT, .keyword = value}, n, n, way - 1);
	if (!array && way == 1) {
		uint32_t any = LANGUAGE_ALL;
		expansion_atom(e, w, (struct atom){.kind = ATOM_SOME_MEMBER, .value = value, .language = any});
		return true;
	}
	way -= array ? 3 : 2;
	const struct json *part = part_number(value, array ? way : way / 2);
	if (!part)
		return false;
	uint32_t differs = schema_value_node(e->schema, part) * 2 + 1;
	if (array) {
		expansion_atom(e, w,
		               (struct atom){.kind = ATOM_ITEM_COUNT, .low = way + 1, .high = UINT64_MAX, .keyword = value});
		expansion_atom(e, w, (struct atom){.kind = ATOM_ITEM, .low = way, .below = differs});
		return true;
	}
	struct atom atom = member_atom(way % 2 ? ATOM_REQUIRED : ATOM_FORBIDDEN, part);
	expansion_atom(e, w, atom);
	if (way % 2) {
		atom.kind = ATOM_MEMBER;
		atom.below = differs;
		expansion_atom(e, w, atom);
	}
	return true;
}
