/* Values of keywords: counts, types, patterns, multiples, and when two values are equal (schema.h). */
#include <stdlib.h>
#include <string.h>

#include "text/grammar/pattern.h"
#include "text/grammar/schema.h"

bool schema_key_is(const struct json *member, const char *key)
{
	size_t n;
	const char *name = json_key(member, &n);
	return name && strlen(key) == n && memcmp(name, key, n) == 0;
}

bool schema_is_type(const struct json *value, enum json_type type)
{
	return value && json_type(value) == type;
}

const struct json *schema_members(const struct json *schema, const char *keyword)
{
	const struct json *value = json_get(schema, keyword);
	return schema_is_type(value, JSON_OBJECT) ? value : NULL;
}

bool schema_is_scalar(const struct json *value)
{
	return json_type(value) != JSON_ARRAY && json_type(value) != JSON_OBJECT;
}

bool schema_keyword_counts(const struct schema *s, uint32_t node, const struct json *keyword)
{
	static const struct {
		const char *name;
		enum schema_draft since;
	} later[] = {{"const", DRAFT_6},
	             {"contains", DRAFT_6},
	             {"propertyNames", DRAFT_6},
	             {"if", DRAFT_7},
	             {"dependentRequired", DRAFT_2019},
	             {"dependentSchemas", DRAFT_2019},
	             {"unevaluatedItems", DRAFT_2019},
	             {"unevaluatedProperties", DRAFT_2019},
	             {"$recursiveRef", DRAFT_2019},
	             {"$dynamicRef", DRAFT_2020},
	             {"prefixItems", DRAFT_2020}};
	enum schema_draft draft = schema_draft(s, node);
	if (s->nodes[node].only_ref)
		return schema_key_is(keyword, "$ref");
	for (size_t i = 0; i < sizeof later / sizeof *later; i++)
		if (draft < later[i].since && schema_key_is(keyword, later[i].name))
			return false;
	return true;
}

void schema_refuse_unsupported(struct schema *s, uint32_t node, const struct json *keyword)
{
	static const struct {
		const char *name;
		enum schema_draft until; /* later drafts do not know it, and it says nothing in them */
	} unsupported[] = {
	    {"$recursiveRef", DRAFT_2020}, {"divisibleBy", DRAFT_2020}, {"extends", DRAFT_3}, {"disallow", DRAFT_3}};
	for (size_t i = 0; i < sizeof unsupported / sizeof *unsupported; i++)
		if (schema_draft(s, node) <= unsupported[i].until && schema_key_is(keyword, unsupported[i].name))
			schema_refuse(s, keyword, "this keyword is not supported");
	if (schema_key_is(keyword, "required") && json_type(keyword) == JSON_BOOL) /* draft 3 wrote it into the member */
		schema_refuse(s, keyword, "required must be an array of names");
}

/* Scalars; numbers by value. */
bool schema_values_equal(const struct json *a, const struct json *b)
{
	bool x = false, y = false;
	size_t n_a, n_b;
	struct decimal p, q;
	if (json_type(a) != json_type(b))
		return false;
	switch (json_type(a)) {
	case JSON_NULL:
		return true;
	case JSON_BOOL:
		return json_bool(a, &x) && json_bool(b, &y) && x == y;
	case JSON_NUMBER:
		return decimal_parse(&p, json_number_text(a)) && decimal_parse(&q, json_number_text(b)) &&
		       decimal_compare(&p, &q) == 0;
	case JSON_STRING: {
		const char *s = json_string(a, &n_a), *t = json_string(b, &n_b);
		return n_a == n_b && memcmp(s, t, n_a) == 0;
	}
	case JSON_ARRAY:
	case JSON_OBJECT:
		break;
	}
	return false;
}

bool schema_count(struct schema *s, const struct json *value, uint64_t *count)
{
	struct decimal decimal;
	if (json_type(value) != JSON_NUMBER || !decimal_parse(&decimal, json_number_text(value)) || decimal.negative ||
	    !decimal_is_integer(&decimal)) {
		schema_refuse(s, value, "it must be a whole number that is not negative");
		return false;
	}
	if (!json_uint64(value, count) || *count > SCHEMA_NO_MAX_COUNT)
		*count = SCHEMA_NO_MAX_COUNT;
	return true;
}

static unsigned type_named(const char *name, bool *integer, bool *number)
{
	static const struct {
		const char *name;
		unsigned type;
	} types[] = {{"null", TYPE_NULL},     {"boolean", TYPE_BOOLEAN}, {"number", TYPE_NUMBER}, {"integer", TYPE_NUMBER},
	             {"string", TYPE_STRING}, {"array", TYPE_ARRAY},     {"object", TYPE_OBJECT}};
	for (size_t i = 0; name && i < sizeof types / sizeof *types; i++)
		if (strcmp(name, types[i].name) == 0) {
			*integer |= strcmp(name, "integer") == 0;
			*number |= strcmp(name, "number") == 0;
			return types[i].type;
		}
	return 0;
}

unsigned schema_types(struct schema *s, const struct json *value, bool *integer)
{
	unsigned types = 0;
	bool number = false;
	const struct json *one = json_type(value) == JSON_ARRAY ? json_first(value) : value;
	*integer = false;
	for (; one && schema_look(s, 1); one = one == value ? NULL : json_next(one)) {
		unsigned type = type_named(json_string(one, NULL), integer, &number);
		if (!type)
			schema_refuse(s, value, "a type must be null, boolean, number, integer, string, array or object");
		types |= type;
	}
	*integer &= !number;
	return types;
}

uint32_t schema_pattern(struct schema *s, const struct json *place, const char *text, size_t n_bytes)
{
	struct schema_fact fact = {.kind = FACT_PATTERN, .text = text, .n_text = n_bytes};
	const struct schema_fact *known = schema_fact(s, fact);
	if (known)
		return known->value;
	struct pattern_fault fault;
	fact.value = pattern_compile(s->l, text, n_bytes, false, &fault);
	if (fault.why)
		schema_refuse(s, place, "byte %zu of the pattern: %s", fault.at, fault.why);
	schema_learn(s, fact);
	return fact.value;
}

uint32_t schema_patterns(struct schema *s, const struct json *properties)
{
	struct schema_fact fact = {.kind = FACT_PATTERNS, .about = properties};
	size_t n_all = schema_is_type(properties, JSON_OBJECT) ? json_count(properties) : 0, i = 0;
	const struct schema_fact *known = n_all ? schema_fact(s, fact) : NULL;
	if (known || n_all == 0)
		return known ? known->value : LANGUAGE_NONE;
	uint32_t *all = malloc(n_all * sizeof *all);
	if (!all) {
		schema_out_of_memory(s);
		return LANGUAGE_NONE;
	}
	for (const struct json *member = json_first(properties); member; member = json_next(member)) {
		size_t n;
		const char *pattern = json_key(member, &n);
		all[i++] = schema_pattern(s, member, pattern, n);
	}
	fact.value = language_either_of(s->l, all, n_all);
	free(all);
	schema_learn(s, fact);
	return fact.value;
}

uint32_t schema_multiples(struct schema *s, const struct json *value)
{
	struct decimal d;
	uint64_t step = 0;
	bool ok =
	    json_type(value) == JSON_NUMBER && decimal_parse(&d, json_number_text(value)) && d.n_digits > 0 && !d.negative;
	if (!ok) {
		schema_refuse(s, value, "multipleOf must be a number above 0");
		return LANGUAGE_NONE;
	}
	int whole = d.point > d.n_digits ? d.point : d.n_digits, scale = d.point < d.n_digits ? d.n_digits - d.point : 0;
	for (int i = 0; i < whole && step < (uint64_t)1 << 40; i++)
		step = step * 10 + (i < d.n_digits ? (uint64_t)(d.digits[i] - '0') : 0);
	if (step >= (uint64_t)1 << 40 || scale > NUMBER_MAX_DECIMALS) {
		schema_refuse(s, value, "multipleOf may have twelve digits at most");
		return LANGUAGE_NONE;
	}
	return language_multiples(s->l, step, (uint32_t)scale);
}

/* `contains` of a schema, with minContains and maxContains; false where it demands nothing. */
bool schema_contains_range(struct schema *s, uint32_t node, uint64_t *low, uint64_t *high)
{
	const struct json *above = s->nodes[node].value;
	const struct json *least = json_get(above, "minContains"), *most = json_get(above, "maxContains");
	*low = 1;
	*high = UINT64_MAX;
	if (schema_is_draft7(s, node))
		return true;
	if ((least && !schema_count(s, least, low)) || (most && !schema_count(s, most, high)))
		return false;
	return *low > 0 || *high < UINT64_MAX;
}

uint64_t schema_prefix_length(const struct schema *s, uint32_t node)
{
	const struct json *schema = s->nodes[node].value, *items = json_get(schema, "items");
	if (schema_is_type(items, JSON_ARRAY))
		return json_count(items);
	return schema_draft(s, node) < DRAFT_2020 ? 0 : json_count(json_get(schema, "prefixItems"));
}
