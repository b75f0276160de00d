/* An alternative as a piece of network, for each type that it leaves (schema.h): scalars here, containers in their files. */
#include <stdlib.h>
#include <string.h>

#include "text/grammar/characters.h"
#include "text/grammar/schema.h"

/* The values of an ATOM_AMONG: an array's, or the one. */
static const struct json *first_of(const struct json *set)
{
	return json_type(set) == JSON_ARRAY ? json_first(set) : set;
}

static const struct json *next_of(const struct json *set, const struct json *value)
{
	return json_type(set) == JSON_ARRAY ? json_next(value) : NULL;
}

static bool among(struct schema *s, const struct json *set, enum json_type type, bool yes)
{
	for (const struct json *value = first_of(set); value && schema_look(s, 1); value = next_of(set, value)) {
		bool is = false;
		if (json_type(value) == type && (type == JSON_NULL || (json_bool(value, &is) && is == yes)))
			return true;
	}
	return false;
}

/* null, true or false as a text; NULL where types or sets leave it out. */
static const char *constant_of(struct expansion *e, enum json_type type, bool yes)
{
	if (!(e->types & (type == JSON_NULL ? TYPE_NULL : TYPE_BOOLEAN)))
		return NULL;
	for (size_t i = 0; i < e->n_atoms && schema_look(e->schema, 1); i++)
		if (e->atoms[i].kind == ATOM_AMONG && among(e->schema, e->atoms[i].value, type, yes) != (e->atoms[i].low == 0))
			return NULL;
	return type == JSON_NULL ? "null" : yes ? "true" : "false";
}

static const struct {
	enum json_type type;
	bool yes;
} constants[] = {{JSON_NULL, false}, {JSON_BOOL, false}, {JSON_BOOL, true}};
enum { N_CONSTANTS = sizeof constants / sizeof *constants };

/* ---- numbers ---- */

enum { LOOKS_OF_NUMBER = 16 };

struct bounds {
	struct decimal lower, upper;
	struct number_range range;
};

static void narrow(struct expansion *e, struct bounds *b, const struct atom *atom)
{
	struct decimal d;
	bool lower = atom->kind == ATOM_LOWER, open = atom->low != 0;
	if (json_type(atom->value) != JSON_NUMBER) {
		schema_refuse(e->schema, atom->keyword, "a bound must be a number");
		return;
	}
	if (!decimal_parse(&d, json_number_text(atom->value)) || !decimal_is_plain(&d)) {
		schema_refuse(e->schema, atom->keyword, "a bound of more than %d digits before or %d behind the point",
		              NUMBER_MAX_WHOLE, NUMBER_MAX_DECIMALS);
		return;
	}
	const struct decimal *known = lower ? b->range.lower : b->range.upper;
	int order = known ? decimal_compare(&d, known) : 0;
	bool tighter = !known || (lower ? order > 0 : order < 0);
	bool *is_open = lower ? &b->range.lower_open : &b->range.upper_open;
	if (tighter) {
		*(lower ? &b->lower : &b->upper) = d;
		*(lower ? &b->range.lower : &b->range.upper) = lower ? &b->lower : &b->upper;
		*is_open = open;
	} else if (order == 0) {
		*is_open |= open;
	}
}

/* A number of a set: its canonical text; or all its texts, to be left out. */
static uint32_t one_of_set(struct expansion *e, const struct atom *atom, const struct json *value)
{
	struct languages *l = e->schema->l;
	struct decimal d;
	struct bytes text = {0};
	if (!decimal_parse(&d, json_number_text(value)) || (atom->low && !decimal_is_plain(&d))) {
		schema_refuse(e->schema, atom->keyword, "a number of too many digits");
		return LANGUAGE_NONE;
	}
	decimal_write(&text, &d);
	if (text.failed)
		languages_note_no_memory(l);
	bool all_texts = atom->low || (e->schema->grammar->keeps_points && decimal_is_plain(&d));
	uint32_t one = all_texts ? number_texts(l, &d) : language_text(l, text.data ? text.data : "", text.n_bytes);
	bytes_free(&text);
	return one;
}

static uint32_t set_of_numbers(struct expansion *e, const struct atom *atom)
{
	size_t n = json_type(atom->value) == JSON_ARRAY ? json_count(atom->value) : 1, n_numbers = 0;
	uint32_t *numbers = malloc((n + 1) * sizeof *numbers);
	if (!numbers) {
		schema_out_of_memory(e->schema);
		return LANGUAGE_NONE;
	}
	for (const struct json *value = first_of(atom->value); value; value = next_of(atom->value, value))
		if (schema_look(e->schema, LOOKS_OF_NUMBER) && json_type(value) == JSON_NUMBER)
			numbers[n_numbers++] = one_of_set(e, atom, value);
	uint32_t all = language_either_of(e->schema->l, numbers, n_numbers);
	free(numbers);
	return atom->low ? language_not(e->schema->l, all) : all;
}

/* Texts with a point or an exponent. */
static uint32_t with_point(struct languages *l)
{
	uint32_t mark = language_class(l, (struct char_range[]){{'.', '.'}, {'E', 'E'}, {'e', 'e'}}, 3);
	return language_sequence(l, LANGUAGE_ALL, language_sequence(l, mark, LANGUAGE_ALL));
}

/* `one_exponent`: a number that needs one has it in one text. */
static uint32_t numbers_of(struct expansion *e, bool one_exponent)
{
	struct languages *l = e->schema->l;
	struct bounds b = {0};
	enum number_kind kind = NUMBER_ANY;
	uint32_t language = LANGUAGE_ALL;
	bool exact = false, fraction = false, integer = false, points = false, named = false;
	for (size_t i = 0; i < e->n_atoms; i++) {
		const struct atom *atom = &e->atoms[i];
		if (atom->kind == ATOM_LOWER || atom->kind == ATOM_UPPER)
			narrow(e, &b, atom);
		integer |= atom->kind == ATOM_INTEGER;
		fraction |= atom->kind == ATOM_FRACTION && !atom->low;
		points |= atom->kind == ATOM_FRACTION && atom->low;
		if (atom->kind == ATOM_MULTIPLE)
			language = language_both(l, language, atom->low ? language_not(l, atom->language) : atom->language);
		uint32_t set = atom->kind == ATOM_AMONG ? set_of_numbers(e, atom) : LANGUAGE_ALL;
		language = language_both(l, language, set);
		exact |= atom->kind == ATOM_MULTIPLE || (atom->low && set != LANGUAGE_ALL);
		exact |= atom->kind == ATOM_INTEGER && atom->low;
		named |= atom->kind == ATOM_AMONG && !atom->low;
	}
	if ((integer && (fraction || points)) || language == LANGUAGE_NONE)
		return LANGUAGE_NONE;
	if (points)
		language = language_both(l, language, with_point(l));
	if (one_exponent)
		language = language_both(l, language, language_not(l, number_zeros(l, true)));
	/* A model that has a fraction in mind would take an exponent's mantissa for the place of it: 2.1 for what ends as 2.13e80,
	 * which is an integer that nobody reads as one. */
	exact |= integer && !named;
	kind = integer ? NUMBER_INTEGER : fraction ? NUMBER_FRACTION : NUMBER_ANY;
	enum number_exponents exponents = exact ? EXPONENTS_NONE : one_exponent ? EXPONENTS_NEEDED : EXPONENTS_FREE;
	return language_both(l, language, number_language(l, kind, &b.range, exponents));
}

/* ---- strings ---- */

enum { LOOKS_OF_STRING = 4 };

static uint32_t set_of_strings(struct expansion *e, const struct atom *atom)
{
	size_t n = json_type(atom->value) == JSON_ARRAY ? json_count(atom->value) : 1, n_strings = 0;
	struct language_string *strings = malloc((n + 1) * sizeof *strings);
	if (!strings) {
		schema_out_of_memory(e->schema);
		return LANGUAGE_NONE;
	}
	for (const struct json *value = first_of(atom->value); value; value = next_of(atom->value, value))
		if (schema_look(e->schema, LOOKS_OF_STRING) && json_type(value) == JSON_STRING) {
			strings[n_strings].text = json_string(value, &strings[n_strings].n_bytes);
			n_strings++;
		}
	uint32_t set = language_one_of(e->schema->l, strings, n_strings);
	free(strings);
	return atom->low ? language_not(e->schema->l, set) : set;
}

static uint32_t strings_of(struct expansion *e)
{
	struct languages *l = e->schema->l;
	uint64_t low = 0, high = UINT64_MAX;
	uint32_t language = LANGUAGE_ALL;
	for (size_t i = 0; i < e->n_atoms; i++) {
		const struct atom *atom = &e->atoms[i];
		if (atom->kind == ATOM_TEXT)
			language = language_both(l, language, atom->language);
		if (atom->kind == ATOM_AMONG)
			language = language_both(l, language, set_of_strings(e, atom));
		if (atom->kind == ATOM_LENGTH) {
			low = atom->low > low ? atom->low : low;
			high = atom->high < high ? atom->high : high;
		}
	}
	if (low > high || low >= SCHEMA_NO_MAX_COUNT)
		return LANGUAGE_NONE;
	uint32_t most = high < SCHEMA_NO_MAX_COUNT ? (uint32_t)high : LANGUAGE_NO_MAX;
	return language_both(l, language, language_repeat(l, LANGUAGE_ANY, (uint32_t)low, most));
}

static void gather_strings(struct expansion *e)
{
	if (e->types & TYPE_STRING)
		e->language = language_either(e->schema->l, e->language, strings_of(e));
}

uint32_t schema_names(struct schema *s, uint32_t literal)
{
	struct schema_fact fact = {.kind = FACT_NAMES, .a = literal};
	const struct schema_fact *known = schema_fact(s, fact);
	if (known)
		return known->value;
	struct expansion e = {.schema = s, .take = gather_strings, .types = TYPE_STRING};
	schema_expand(&e, &literal, 1);
	fact.value = e.language;
	schema_learn(s, fact);
	return fact.value;
}

/* ---- all types ---- */

/* Lexemes of one alternative. */
static void gather_scalars(struct expansion *e)
{
	struct languages *l = e->schema->l;
	e->others |= (e->types & (TYPE_ARRAY | TYPE_OBJECT)) != 0;
	for (size_t i = 0; i < e->n_atoms && e->types & TYPE_NUMBER; i++)
		e->others |= e->atoms[i].kind == ATOM_FRACTION && e->atoms[i].low; /* 1.0 without 1 */
	gather_strings(e);
	if (e->types & TYPE_NUMBER)
		e->texts = language_either(l, e->texts, numbers_of(e, true));
	for (size_t i = 0; i < N_CONSTANTS; i++) {
		const char *text = constant_of(e, constants[i].type, constants[i].yes);
		e->texts = text ? language_either(l, e->texts, language_text(l, text, strlen(text))) : e->texts;
	}
}

bool schema_scalars(struct schema *s, const uint32_t *literals, size_t n_literals, uint32_t *strings, uint32_t *texts)
{
	struct expansion e = {.schema = s, .take = gather_scalars, .types = TYPE_ALL};
	schema_expand(&e, literals, n_literals);
	*strings = e.language;
	*texts = e.texts;
	return !e.others;
}

void schema_write_alternative(struct expansion *e)
{
	struct network *net = e->schema->net;
	uint32_t start = net->rules[e->rule], end = network_state(net);
	if (net->failed)
		return;
	net->states[end].final = true;
	for (size_t i = 0; i < N_CONSTANTS; i++) {
		const char *text = constant_of(e, constants[i].type, constants[i].yes);
		if (text)
			network_text(net, start, text, end);
	}
	uint32_t numbers = e->types & TYPE_NUMBER ? numbers_of(e, false) : LANGUAGE_NONE;
	if (numbers != LANGUAGE_NONE)
		network_edge(net, start, EDGE_TEXT, numbers, end);
	if (e->types & TYPE_STRING) {
		uint32_t inside = network_state(net), language = strings_of(e);
		if (language != LANGUAGE_NONE && !net->failed) {
			network_edge(net, start, EDGE_BYTE, '"', inside);
			network_edge(net, inside, EDGE_STRING, language, end);
		}
	}
	if (e->types & TYPE_ARRAY)
		schema_write_array(e, start, end);
	if (e->types & TYPE_OBJECT)
		schema_write_object(e, start, end);
}
