/* Expanding (schema.h): literals become atoms; what leaves a choice is put off until all else is known, and then every way
 * is gone in turn. */
#include <stdlib.h>
#include <string.h>

#include "text/grammar/schema.h"

enum { MAX_RUNS = 100000, MAX_SUBSETS_OF = 6 };
enum { LOOKS_OF_KEYWORD = 16, LOOKS_OF_WAY = 64 };

static bool is_negated(uint32_t l)
{
	return l & 1;
}

/* ---- keywords that hold ---- */

static void hold_type(struct expansion *e, uint32_t w, const struct json *keyword)
{
	bool integer;
	e->types &= schema_types(e->schema, keyword, &integer);
	if (integer) {
		bool no_points = schema_draft(e->schema, expansion_node(e, w)) <= DRAFT_4;
		expansion_atom(e, w, (struct atom){.kind = ATOM_INTEGER, .low = no_points});
	}
}

static unsigned type_of(const struct json *value)
{
	static const unsigned types[] = {
	    [JSON_NULL] = TYPE_NULL,     [JSON_BOOL] = TYPE_BOOLEAN, [JSON_NUMBER] = TYPE_NUMBER,
	    [JSON_STRING] = TYPE_STRING, [JSON_ARRAY] = TYPE_ARRAY,  [JSON_OBJECT] = TYPE_OBJECT};
	return types[json_type(value)];
}

static void hold_enum(struct expansion *e, uint32_t w, const struct json *keyword)
{
	if (json_type(keyword) != JSON_ARRAY) {
		schema_refuse(e->schema, keyword, "enum must be an array");
		return;
	}
	unsigned types = 0;
	for (const struct json *value = json_first(keyword); value && schema_look(e->schema, 1); value = json_next(value))
		types |= type_of(value);
	e->types &= types;
	if (types & (TYPE_ARRAY | TYPE_OBJECT))
		expansion_choice(e, (struct choice){w, keyword, NULL, false});
	else
		expansion_atom(e, w, (struct atom){.kind = ATOM_AMONG, .value = keyword, .keyword = keyword});
}

/* The way `way` of an enum with arrays and objects: first all scalars, then each of the others. */
static bool hold_enum_way(struct expansion *e, uint32_t w, const struct json *keyword, size_t way)
{
	if (way == 0) {
		unsigned types = 0;
		for (const struct json *value = json_first(keyword); value && schema_look(e->schema, 1);
		     value = json_next(value))
			types |= schema_is_scalar(value) ? type_of(value) : 0;
		e->types &= types;
		expansion_atom(e, w, (struct atom){.kind = ATOM_AMONG, .value = keyword, .keyword = keyword});
		return true;
	}
	for (const struct json *value = json_first(keyword); value && schema_look(e->schema, 1); value = json_next(value))
		if (!schema_is_scalar(value) && --way == 0) {
			expansion_work(e, w, schema_value_node(e->schema, value) * 2, keyword);
			return true;
		}
	return false;
}

/* The boolean forms of draft 4 are read with `minimum` and `maximum`. */
static void hold_bound(struct expansion *e, uint32_t w, const struct json *keyword, bool lower, bool open)
{
	const struct json *above = e->schema->nodes[expansion_node(e, w)].value;
	bool older = false;
	if (json_bool(keyword, &older) && open)
		return;
	if (!open)
		(void)json_bool(json_get(above, lower ? "exclusiveMinimum" : "exclusiveMaximum"), &older);
	expansion_atom(
	    e, w,
	    (struct atom){
	        .kind = lower ? ATOM_LOWER : ATOM_UPPER, .value = keyword, .keyword = keyword, .low = open || older});
}

static void hold_count(struct expansion *e, uint32_t w, const struct json *keyword, enum atom_kind kind, bool least)
{
	uint64_t count;
	if (!schema_count(e->schema, keyword, &count))
		return;
	expansion_atom(
	    e, w,
	    (struct atom){.kind = kind, .low = least ? count : 0, .high = least ? UINT64_MAX : count, .keyword = keyword});
}

static void hold_item_list(struct expansion *e, uint32_t w, const struct json *list)
{
	uint64_t index = 0;
	for (const struct json *item = json_first(list); item; item = json_next(item), index++)
		expansion_atom(
		    e, w,
		    (struct atom){
		        .kind = ATOM_ITEM, .low = index, .below = expansion_literal(e, w, item, true), .keyword = list});
}

static void hold_items(struct expansion *e, uint32_t w, const struct json *keyword)
{
	uint64_t from = schema_prefix_length(e->schema, expansion_node(e, w));
	const struct json *above = e->schema->nodes[expansion_node(e, w)].value;
	bool additional = schema_key_is(keyword, "additionalItems");
	if (json_type(keyword) == JSON_ARRAY && !additional) {
		hold_item_list(e, w, keyword);
		return;
	}
	if (additional && !schema_is_type(json_get(above, "items"), JSON_ARRAY))
		return;
	expansion_atom(
	    e, w,
	    (struct atom){
	        .kind = ATOM_ITEMS, .low = from, .below = expansion_literal(e, w, keyword, true), .keyword = keyword});
}

static void hold_contains(struct expansion *e, uint32_t w, const struct json *keyword)
{
	uint64_t low, high;
	/* One that demands nothing still evaluates. */
	if (schema_contains_range(e->schema, expansion_node(e, w), &low, &high) || e->work[w].frame)
		expansion_atom(e, w,
		               (struct atom){.kind = ATOM_CONTAINS,
		                             .below = expansion_literal(e, w, keyword, true),
		                             .low = low,
		                             .high = high,
		                             .keyword = keyword});
}

static bool is_object(struct expansion *e, const struct json *keyword)
{
	if (json_type(keyword) == JSON_OBJECT)
		return true;
	schema_refuse(e->schema, keyword, "it must be an object");
	return false;
}

static void hold_properties(struct expansion *e, uint32_t w, const struct json *keyword)
{
	if (!is_object(e, keyword))
		return;
	for (const struct json *member = json_first(keyword); member; member = json_next(member)) {
		struct atom atom = {.kind = ATOM_MEMBER, .below = expansion_literal(e, w, member, true), .keyword = keyword};
		atom.name = json_key(member, &atom.n_name);
		expansion_atom(e, w, atom);
	}
}

static void hold_pattern_properties(struct expansion *e, uint32_t w, const struct json *keyword)
{
	if (!is_object(e, keyword))
		return;
	for (const struct json *member = json_first(keyword); member; member = json_next(member)) {
		size_t n;
		const char *pattern = json_key(member, &n);
		expansion_atom(e, w,
		               (struct atom){.kind = ATOM_MATCHING,
		                             .language = schema_pattern(e->schema, member, pattern, n),
		                             .below = expansion_literal(e, w, member, true),
		                             .keyword = keyword});
	}
}

static void hold_required(struct expansion *e, uint32_t w, const struct json *keyword)
{
	bool ok = json_type(keyword) == JSON_ARRAY;
	for (const struct json *name = json_first(keyword); name && ok; name = json_next(name)) {
		struct atom atom = {.kind = ATOM_REQUIRED, .keyword = keyword};
		atom.name = json_string(name, &atom.n_name);
		ok = atom.name != NULL;
		if (ok)
			expansion_atom(e, w, atom);
	}
	if (!ok && !e->schema->refused)
		schema_refuse(e->schema, keyword, "it must be an array of names");
}

static void hold_dependencies(struct expansion *e, uint32_t w, const struct json *keyword)
{
	if (!is_object(e, keyword))
		return;
	for (const struct json *part = json_first(keyword); part; part = json_next(part))
		expansion_choice(e, (struct choice){w, keyword, part, false});
}

/* The member is not there, or the rest follows. */
static bool hold_dependency_way(struct expansion *e, uint32_t w, const struct json *part, size_t way)
{
	struct atom atom = {.kind = way == 0 ? ATOM_FORBIDDEN : ATOM_REQUIRED, .keyword = part};
	atom.name = json_key(part, &atom.n_name);
	if (way > 1)
		return false;
	expansion_atom(e, w, atom);
	if (way == 0)
		return true;
	e->types &= TYPE_OBJECT;
	if (json_type(part) == JSON_ARRAY) {
		hold_required(e, w, part);
	} else if (json_type(part) == JSON_STRING) { /* of draft 3 */
		atom.name = json_string(part, &atom.n_name);
		expansion_atom(e, w, atom);
	} else {
		expansion_below(e, w, part, true);
	}
	return true;
}

static void hold_all_of(struct expansion *e, uint32_t w, const struct json *keyword)
{
	if (json_type(keyword) != JSON_ARRAY)
		schema_refuse(e->schema, keyword, "it must be an array of schemas");
	else
		for (const struct json *part = json_first(keyword); part; part = json_next(part))
			expansion_below(e, w, part, true);
}

/* One branch; where annotations count, every set of branches, as each that holds adds its own. */
static bool hold_any_way(struct expansion *e, uint32_t w, const struct json *keyword, size_t way)
{
	size_t n = json_count(keyword), i = 0;
	(void)schema_look(e->schema, n);
	bool subsets = e->work[w].frame != 0 && n > 1;
	if (subsets && n > MAX_SUBSETS_OF) {
		schema_refuse(e->schema, keyword, "beside unevaluated* it may have %d branches at most", MAX_SUBSETS_OF);
		return false;
	}
	if (way >= (subsets ? ((size_t)1 << n) - 1 : n))
		return false;
	for (const struct json *part = json_first(keyword); part; part = json_next(part), i++)
		if (subsets ? (way + 1) >> i & 1 : way == i)
			expansion_below(e, w, part, true);
	return true;
}

/* One branch, and none of the others. */
static bool hold_one_way(struct expansion *e, uint32_t w, const struct json *keyword, size_t way)
{
	size_t i = 0;
	if (way >= json_count(keyword))
		return false;
	for (const struct json *part = json_first(keyword); part; part = json_next(part), i++)
		expansion_below(e, w, part, i == way);
	return true;
}

static bool hold_if_way(struct expansion *e, uint32_t w, const struct json *keyword, size_t way)
{
	const struct json *above = e->schema->nodes[expansion_node(e, w)].value;
	const struct json *then = json_get(above, way == 0 ? "then" : "else");
	if (way > 1)
		return false;
	expansion_below(e, w, keyword, way == 0);
	if (then)
		expansion_below(e, w, then, true);
	return true;
}

static void add_branches(struct expansion *e, uint32_t w, const struct json *keyword)
{
	if (json_type(keyword) != JSON_ARRAY || json_count(keyword) == 0)
		schema_refuse(e->schema, keyword, "it must be an array of schemas, and not empty");
	else
		expansion_choice(e, (struct choice){w, keyword, NULL, false});
}

static bool hold_way(struct expansion *e, const struct choice *choice, size_t way)
{
	const struct json *keyword = choice->keyword;
	if (choice->part)
		return hold_dependency_way(e, choice->work, choice->part, way);
	if (schema_key_is(keyword, "anyOf"))
		return hold_any_way(e, choice->work, keyword, way);
	if (schema_key_is(keyword, "oneOf"))
		return hold_one_way(e, choice->work, keyword, way);
	if (schema_key_is(keyword, "if"))
		return hold_if_way(e, choice->work, keyword, way);
	return hold_enum_way(e, choice->work, keyword, way);
}

/* ---- the table ---- */

typedef void hold_keyword(struct expansion *e, uint32_t w, const struct json *keyword);

static void hold_ref(struct expansion *e, uint32_t w, const struct json *keyword)
{
	uint32_t target = schema_ref(e->schema, expansion_node(e, w), keyword, schema_key_is(keyword, "$dynamicRef"));
	expansion_work(e, w, target * 2, keyword);
}

static void hold_const(struct expansion *e, uint32_t w, const struct json *keyword)
{
	expansion_work(e, w, schema_value_node(e->schema, keyword) * 2, keyword);
}

static void hold_minimum(struct expansion *e, uint32_t w, const struct json *keyword)
{
	hold_bound(e, w, keyword, true, schema_key_is(keyword, "exclusiveMinimum"));
}

static void hold_maximum(struct expansion *e, uint32_t w, const struct json *keyword)
{
	hold_bound(e, w, keyword, false, schema_key_is(keyword, "exclusiveMaximum"));
}

static void hold_multiple(struct expansion *e, uint32_t w, const struct json *keyword)
{
	expansion_atom(e, w, (struct atom){.kind = ATOM_MULTIPLE, .language = schema_multiples(e->schema, keyword)});
}

static void hold_pattern(struct expansion *e, uint32_t w, const struct json *keyword)
{
	size_t n;
	const char *text = json_string(keyword, &n);
	if (!text)
		schema_refuse(e->schema, keyword, "a pattern must be a string");
	else
		expansion_atom(e, w, (struct atom){.kind = ATOM_TEXT, .language = schema_pattern(e->schema, keyword, text, n)});
}

static void hold_format(struct expansion *e, uint32_t w, const struct json *keyword)
{
	const char *name = json_string(keyword, NULL);
	uint32_t language;
	if (name && schema_format(e->schema, keyword, name, &language))
		expansion_atom(e, w,
		               (struct atom){.kind = ATOM_TEXT, .language = schema_format_written(e->schema, name, language)});
	else
		schema_note(e->schema, keyword, "an unknown format, \"%.60s\": not enforced", name ? name : "");
}

static void hold_length(struct expansion *e, uint32_t w, const struct json *keyword)
{
	hold_count(e, w, keyword, ATOM_LENGTH, schema_key_is(keyword, "minLength"));
}

static void hold_item_count(struct expansion *e, uint32_t w, const struct json *keyword)
{
	hold_count(e, w, keyword, ATOM_ITEM_COUNT, schema_key_is(keyword, "minItems"));
}

static void hold_member_count(struct expansion *e, uint32_t w, const struct json *keyword)
{
	hold_count(e, w, keyword, ATOM_MEMBER_COUNT, schema_key_is(keyword, "minProperties"));
}

static void hold_unique(struct expansion *e, uint32_t w, const struct json *keyword)
{
	bool yes = false;
	if (!json_bool(keyword, &yes))
		schema_refuse(e->schema, keyword, "uniqueItems must be true or false");
	else if (yes)
		expansion_atom(e, w, (struct atom){.kind = ATOM_UNIQUE, .keyword = keyword});
}

static void hold_additional(struct expansion *e, uint32_t w, const struct json *keyword)
{
	const struct json *above = e->schema->nodes[expansion_node(e, w)].value;
	expansion_atom(e, w,
	               (struct atom){.kind = ATOM_ADDITIONAL,
	                             .value = schema_members(above, "properties"),
	                             .language = schema_patterns(e->schema, schema_members(above, "patternProperties")),
	                             .below = expansion_literal(e, w, keyword, true),
	                             .keyword = keyword});
}

static void hold_names(struct expansion *e, uint32_t w, const struct json *keyword)
{
	uint32_t names = expansion_literal(e, w, keyword, true);
	/* What names must be is asked of strings alone, so this is no way from one schema for names to the next. */
	if (e->types & TYPE_OBJECT)
		expansion_atom(e, w, (struct atom){.kind = ATOM_NAMES, .language = schema_names(e->schema, names)});
}

static void hold_not(struct expansion *e, uint32_t w, const struct json *keyword)
{
	expansion_below(e, w, keyword, false);
}

static void hold_if(struct expansion *e, uint32_t w, const struct json *keyword)
{
	const struct json *above = e->schema->nodes[expansion_node(e, w)].value;
	if (json_get(above, "then") || json_get(above, "else") || e->work[w].frame)
		expansion_choice(e, (struct choice){w, keyword, NULL, false});
}

static void hold_unevaluated(struct expansion *e, uint32_t w, const struct json *keyword)
{
	bool items = schema_key_is(keyword, "unevaluatedItems");
	expansion_atom(e, w,
	               (struct atom){.kind = items ? ATOM_OTHER_ITEMS : ATOM_OTHER_MEMBERS,
	                             .below = expansion_literal(e, w, keyword, true),
	                             .low = e->work[w].frame,
	                             .keyword = keyword});
}

static const struct {
	const char *name;
	hold_keyword *hold;
} keywords[] = {
    {"$ref", hold_ref},
    {"$dynamicRef", hold_ref},
    {"type", hold_type},
    {"enum", hold_enum},
    {"const", hold_const},
    {"minimum", hold_minimum},
    {"exclusiveMinimum", hold_minimum},
    {"maximum", hold_maximum},
    {"exclusiveMaximum", hold_maximum},
    {"multipleOf", hold_multiple},
    {"minLength", hold_length},
    {"maxLength", hold_length},
    {"pattern", hold_pattern},
    {"format", hold_format},
    {"prefixItems", hold_item_list},
    {"items", hold_items},
    {"additionalItems", hold_items},
    {"minItems", hold_item_count},
    {"maxItems", hold_item_count},
    {"uniqueItems", hold_unique},
    {"contains", hold_contains},
    {"properties", hold_properties},
    {"patternProperties", hold_pattern_properties},
    {"additionalProperties", hold_additional},
    {"propertyNames", hold_names},
    {"required", hold_required},
    {"minProperties", hold_member_count},
    {"maxProperties", hold_member_count},
    {"dependentRequired", hold_dependencies},
    {"dependentSchemas", hold_dependencies},
    {"dependencies", hold_dependencies},
    {"allOf", hold_all_of},
    {"anyOf", add_branches},
    {"oneOf", add_branches},
    {"not", hold_not},
    {"if", hold_if},
    {"unevaluatedItems", hold_unevaluated},
    {"unevaluatedProperties", hold_unevaluated},
};

/* Beside $ref draft 7 ignores what later drafts heed; where nothing says which it is, neither is right. */
static void refuse_ambiguous(struct schema *s, const struct json *schema)
{
	if (!s->no_dialect || !json_get(schema, "$ref"))
		return;
	for (const struct json *member = json_first(schema); member; member = json_next(member)) {
		bool counts = schema_key_is(member, "$id");
		for (size_t i = 0; i < sizeof keywords / sizeof *keywords; i++)
			counts |= schema_key_is(member, keywords[i].name) && !schema_key_is(member, "$ref");
		if (counts)
			schema_refuse(s, member,
			              "beside $ref it counts in draft 2020-12 and not in draft 7: $schema must say which");
	}
}

static void hold_schema(struct expansion *e, uint32_t w)
{
	uint32_t node = expansion_node(e, w);
	const struct json *schema = e->schema->nodes[node].value;
	bool draft7 = schema_is_draft7(e->schema, node);
	if (!draft7 && (json_get(schema, "unevaluatedItems") || json_get(schema, "unevaluatedProperties")))
		e->work[w].frame = expansion_frame(e, e->work[w].frame);
	for (const struct json *member = json_first(schema); member; member = json_next(member)) {
		if (!schema_look(e->schema, LOOKS_OF_KEYWORD) || !schema_keyword_counts(e->schema, node, member))
			continue;
		schema_refuse_unsupported(e->schema, node, member);
		for (size_t i = 0; i < sizeof keywords / sizeof *keywords; i++)
			if (schema_key_is(member, keywords[i].name)) {
				keywords[i].hold(e, w, member);
				break;
			}
	}
}

/* ---- literals ---- */

static void hold_value(struct expansion *e, uint32_t w, const struct json *value)
{
	e->types &= type_of(value);
	if (schema_is_scalar(value)) {
		expansion_atom(e, w, (struct atom){.kind = ATOM_AMONG, .value = value, .keyword = value});
	} else if (json_type(value) == JSON_ARRAY) {
		uint64_t n = 0;
		for (const struct json *item = json_first(value); item; item = json_next(item))
			expansion_atom(
			    e, w, (struct atom){.kind = ATOM_ITEM, .low = n++, .below = schema_value_node(e->schema, item) * 2});
		expansion_atom(e, w, (struct atom){.kind = ATOM_ITEM_COUNT, .low = n, .high = n, .keyword = value});
	} else {
		for (const struct json *member = json_first(value); member; member = json_next(member)) {
			struct atom atom = {.kind = ATOM_MEMBER, .below = schema_value_node(e->schema, member) * 2};
			atom.name = json_key(member, &atom.n_name);
			expansion_atom(e, w, atom);
			atom.kind = ATOM_REQUIRED;
			expansion_atom(e, w, atom);
		}
		expansion_atom(e, w, (struct atom){.kind = ATOM_ADDITIONAL, .value = value, .below = LITERAL_FALSE});
	}
}

static void apply(struct expansion *e, uint32_t w)
{
	uint32_t literal = e->work[w].literal;
	const struct schema_node *node = &e->schema->nodes[literal / 2];
	if (literal / 2 > NODE_FALSE && !node->is_value)
		refuse_ambiguous(e->schema, node->value);
	if (literal / 2 <= NODE_FALSE) {
		if (is_negated(literal) == (literal / 2 == NODE_TRUE))
			e->types = 0;
	} else if (node->is_value && !is_negated(literal)) {
		hold_value(e, w, node->value);
	} else if (node->is_value && schema_is_scalar(node->value)) {
		expansion_atom(e, w, (struct atom){.kind = ATOM_AMONG, .value = node->value, .low = 1});
	} else if (is_negated(literal)) {
		expansion_choice(e, (struct choice){w, NULL, NULL, false});
	} else {
		hold_schema(e, w);
	}
}

/* ---- choices ---- */

/* The next way in which a keyword of a negated literal fails; false where all were gone. */
static bool next_failing_way(struct expansion *e, struct fork *fork, uint32_t w)
{
	const struct schema_node node = e->schema->nodes[expansion_node(e, w)];
	while (fork->failing && schema_look(e->schema, LOOKS_OF_KEYWORD)) {
		bool counts = node.is_value || schema_keyword_counts(e->schema, expansion_node(e, w), fork->failing);
		size_t way = fork->way++;
		if (counts &&
		    (node.is_value ? schema_differ(e, w, fork->failing, way) : schema_fail_keyword(e, w, fork->failing, way)))
			return true;
		expansion_go_back(e, fork->mark);
		fork->failing = node.is_value ? NULL : json_next(fork->failing);
		fork->way = 0;
	}
	return false;
}

/* Goes back to where the choice was met, and on by its next way; false where all were gone. */
static bool next_way(struct expansion *e, struct fork *fork)
{
	struct choice choice = e->choices[fork->choice];
	expansion_go_back(e, fork->mark);
	if (!schema_look(e->schema, LOOKS_OF_WAY + fork->way)) /* parts are counted up to the way's */
		return false;
	if (choice.keyword)
		return hold_way(e, &choice, fork->way++);
	if (fork->excluded)
		return fork->way++ == 0;
	return next_failing_way(e, fork, choice.work);
}

/* Choices that hold first: they say most. */
static size_t next_choice(const struct expansion *e)
{
	size_t found = SIZE_MAX;
	for (size_t i = 0; i < e->n_choices && schema_look(e->schema, 1); i++) {
		if (e->choices[i].done)
			continue;
		if (e->choices[i].keyword)
			return i;
		found = found == SIZE_MAX ? i : found;
	}
	return found;
}

static void refuse_ways(struct expansion *e, const struct json *keyword)
{
	schema_refuse(e->schema, keyword, "it can hold in too many ways");
}

/* The ways of a choice are to be gone from here. */
static void push_fork(struct expansion *e, size_t index)
{
	const struct choice *choice = &e->choices[index];
	const struct schema_node node = e->schema->nodes[expansion_node(e, choice->work)];
	if (++e->n_runs > MAX_RUNS) {
		refuse_ways(e, choice->keyword ? choice->keyword : node.value);
		return;
	}
	struct fork fork = {.choice = index, .mark = expansion_mark(e)};
	if (!choice->keyword) {
		fork.excluded = expansion_excludes(e, e->work[choice->work].literal & ~1U);
		fork.failing = node.is_value ? node.value : json_first(node.value);
	}
	expansion_fork(e, fork);
}

/* Applies the literals from first_work on. Then a choice that is left becomes a fork; where none is, the atoms are an
 * alternative. */
static void go_on(struct expansion *e, size_t first_work, size_t first_atom)
{
	for (size_t w = first_work; w < e->n_work && e->types && !e->schema->refused; w++)
		apply(e, (uint32_t)w);
	if (e->schema->refused || !e->types || expansion_is_contradictory(e, first_atom))
		return;
	size_t index = next_choice(e);
	if (e->schema->refused)
		return;
	if (index != SIZE_MAX)
		push_fork(e, index);
	else if (++e->n_alternatives > SCHEMA_MAX_ALTERNATIVES || ++e->schema->n_alternatives > SCHEMA_MAX_ALL_ALTERNATIVES)
		refuse_ways(e, e->n_choices ? e->schema->nodes[expansion_node(e, e->choices[0].work)].value : NULL);
	else
		e->take(e);
}

static void go_all_ways(struct expansion *e)
{
	go_on(e, 0, 0);
	while (e->n_forks > 0 && !e->schema->refused) {
		struct fork *fork = &e->forks[e->n_forks - 1];
		if (next_way(e, fork)) {
			go_on(e, fork->mark.n_work, fork->mark.n_atoms);
			continue;
		}
		expansion_go_back(e, fork->mark);
		e->choices[fork->choice].done = false;
		e->n_forks--;
	}
}

void schema_expand(struct expansion *e, const uint32_t *literals, size_t n_literals)
{
	(void)expansion_frame(e, 0); /* none */
	for (size_t i = 0; i < n_literals && !e->schema->refused; i++)
		expansion_work(e, NO_WORK, literals[i], NULL);
	go_all_ways(e);
	expansion_end(e);
}
