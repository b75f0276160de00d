/* `is` tests: a test is a row. */
#include <string.h>

#include "text/template/calls.h"
#include "text/template/characters.h"
#include "text/unicode.h"

static bool answer(bool truth, struct value *out)
{
	*out = value_bool(truth);
	return true;
}

static bool test_defined(struct render *r, const struct call *call, struct value *out)
{
	(void)r;
	return answer(call->input.kind != VALUE_UNDEFINED, out);
}

static bool test_undefined(struct render *r, const struct call *call, struct value *out)
{
	(void)r;
	return answer(call->input.kind == VALUE_UNDEFINED, out);
}

static bool test_none(struct render *r, const struct call *call, struct value *out)
{
	(void)r;
	return answer(call->input.kind == VALUE_NONE, out);
}

static bool test_boolean(struct render *r, const struct call *call, struct value *out)
{
	(void)r;
	return answer(call->input.kind == VALUE_BOOL, out);
}

static bool test_true(struct render *r, const struct call *call, struct value *out)
{
	(void)r;
	return answer(call->input.kind == VALUE_BOOL && call->input.truth, out);
}

static bool test_false(struct render *r, const struct call *call, struct value *out)
{
	(void)r;
	return answer(call->input.kind == VALUE_BOOL && !call->input.truth, out);
}

static bool test_integer(struct render *r, const struct call *call, struct value *out)
{
	(void)r;
	return answer(call->input.kind == VALUE_INT || call->input.kind == VALUE_BIG, out);
}

static bool test_float(struct render *r, const struct call *call, struct value *out)
{
	(void)r;
	return answer(call->input.kind == VALUE_FLOAT, out);
}

static bool test_number(struct render *r, const struct call *call, struct value *out)
{
	(void)r;
	return answer(call->input.kind >= VALUE_BOOL && call->input.kind <= VALUE_FLOAT, out);
}

static bool test_string(struct render *r, const struct call *call, struct value *out)
{
	(void)r;
	return answer(call->input.kind == VALUE_STRING, out);
}

static bool test_mapping(struct render *r, const struct call *call, struct value *out)
{
	(void)r;
	return answer(call->input.kind == VALUE_DICT, out);
}

static bool test_sequence(struct render *r, const struct call *call, struct value *out)
{
	(void)r;
	unsigned char kind = call->input.kind;
	return answer((kind >= VALUE_STRING && kind <= VALUE_RANGE) || kind == VALUE_UNDEFINED, out);
}

static bool test_iterable(struct render *r, const struct call *call, struct value *out)
{
	(void)r;
	unsigned char kind = call->input.kind;
	return answer((kind >= VALUE_STRING && kind <= VALUE_VIEW) || kind == VALUE_UNDEFINED || kind == VALUE_LOOP, out);
}

static bool test_callable(struct render *r, const struct call *call, struct value *out)
{
	(void)r;
	unsigned char kind = call->input.kind;
	return answer((kind >= VALUE_MACRO && kind <= VALUE_JOINER) || kind == VALUE_UNDEFINED, out);
}

static bool test_escaped(struct render *r, const struct call *call, struct value *out)
{
	(void)r;
	return answer(call->input.kind == VALUE_STRING && call->input.safe, out);
}

static bool test_sameas(struct render *r, const struct call *call, struct value *out)
{
	const struct value *a = &call->input, *b = &call->slot[0];
	bool equal = false;
	if (a->kind != b->kind)
		return answer(false, out);
	/* Small values are the same object in Python when they are equal; others when they share what they hold. */
	if (a->kind >= VALUE_LIST && a->kind <= VALUE_DICT)
		equal = a->list == b->list;
	else if (!value_equal(r, a, b, &equal))
		return false;
	return answer(equal, out);
}

static bool remainder_is(struct render *r, const struct call *call, const struct value *divisor, int64_t wanted,
                         struct value *out)
{
	struct value rest, want = value_int(wanted);
	bool equal;
	if (!eval_binary(r, OP_MOD, &call->input, divisor, &rest) || !value_equal(r, &rest, &want, &equal))
		return false;
	return answer(equal, out);
}

static bool test_odd(struct render *r, const struct call *call, struct value *out)
{
	struct value two = value_int(2);
	return remainder_is(r, call, &two, 1, out);
}

static bool test_even(struct render *r, const struct call *call, struct value *out)
{
	struct value two = value_int(2);
	return remainder_is(r, call, &two, 0, out);
}

static bool test_divisibleby(struct render *r, const struct call *call, struct value *out)
{
	return remainder_is(r, call, &call->slot[0], 0, out);
}

static bool text_in_case(struct render *r, const struct call *call, bool upper, struct value *out)
{
	struct string *s;
	bool cased = false;
	size_t length;
	if (!input_string(r, call, &s) || !render_step(r, s->n_bytes / 16))
		return false;
	for (size_t at = 0; at < s->n_bytes; at += length) {
		uint32_t code = char_decode(s->bytes + at, &length);
		if ((upper ? char_is_lower(code) : char_is_upper(code)) || char_category(code) == UTF8PROC_CATEGORY_LT)
			return answer(false, out);
		cased |= upper ? char_is_upper(code) : char_is_lower(code);
	}
	return answer(cased, out);
}

static bool test_lower(struct render *r, const struct call *call, struct value *out)
{
	return text_in_case(r, call, false, out);
}

static bool test_upper(struct render *r, const struct call *call, struct value *out)
{
	return text_in_case(r, call, true, out);
}

/* The name of a row: looked for among the keys of a dict, as which not everything can stand. */
static bool names_row(struct render *r, const struct value *name,
                      const struct row *(*find)(const char *name, size_t n_bytes), struct value *out)
{
	return value_check_key(r, name) &&
	       answer(name->kind == VALUE_STRING && find(name->string->bytes, name->string->n_bytes), out);
}

static bool test_filter(struct render *r, const struct call *call, struct value *out)
{
	return names_row(r, &call->input, filter_find, out);
}

static bool test_test(struct render *r, const struct call *call, struct value *out)
{
	return names_row(r, &call->input, test_find, out);
}

static bool compare(struct render *r, const struct call *call, enum op op, struct value *out)
{
	bool truth;
	return eval_compare(r, op, &call->input, &call->slot[0], &truth) && answer(truth, out);
}

static bool test_eq(struct render *r, const struct call *call, struct value *out)
{
	return compare(r, call, OP_EQ, out);
}

static bool test_ne(struct render *r, const struct call *call, struct value *out)
{
	return compare(r, call, OP_NE, out);
}

static bool test_lt(struct render *r, const struct call *call, struct value *out)
{
	return compare(r, call, OP_LT, out);
}

static bool test_le(struct render *r, const struct call *call, struct value *out)
{
	return compare(r, call, OP_LE, out);
}

static bool test_gt(struct render *r, const struct call *call, struct value *out)
{
	return compare(r, call, OP_GT, out);
}

static bool test_ge(struct render *r, const struct call *call, struct value *out)
{
	return compare(r, call, OP_GE, out);
}

static bool test_in(struct render *r, const struct call *call, struct value *out)
{
	return compare(r, call, OP_IN, out);
}

const struct row test_rows[] = {
    {"defined", "", 0, test_defined, NULL},
    {"undefined", "", 0, test_undefined, NULL},
    {"none", "", 0, test_none, NULL},
    {"boolean", "", 0, test_boolean, NULL},
    {"true", "", 0, test_true, NULL},
    {"false", "", 0, test_false, NULL},
    {"integer", "", 0, test_integer, NULL},
    {"float", "", 0, test_float, NULL},
    {"number", "", 0, test_number, NULL},
    {"string", "", 0, test_string, NULL},
    {"mapping", "", 0, test_mapping, NULL},
    {"sequence", "", 0, test_sequence, NULL},
    {"iterable", "", 0, test_iterable, NULL},
    {"callable", "", 0, test_callable, NULL},
    {"escaped", "", 0, test_escaped, NULL},
    {"sameas", "other", 1, test_sameas, NULL},
    {"odd", "", 0, test_odd, NULL},
    {"even", "", 0, test_even, NULL},
    {"divisibleby", "num", 1, test_divisibleby, NULL},
    {"lower", "", 0, test_lower, NULL},
    {"upper", "", 0, test_upper, NULL},
    {"filter", "", 0, test_filter, NULL},
    {"test", "", 0, test_test, NULL},
    {"in", "seq", 1, test_in, NULL},
    {"eq", "other", 1, test_eq, NULL},
    {"equalto", "other", 1, test_eq, NULL},
    {"==", "other", 1, test_eq, NULL},
    {"ne", "other", 1, test_ne, NULL},
    {"!=", "other", 1, test_ne, NULL},
    {"lt", "other", 1, test_lt, NULL},
    {"lessthan", "other", 1, test_lt, NULL},
    {"<", "other", 1, test_lt, NULL},
    {"le", "other", 1, test_le, NULL},
    {"<=", "other", 1, test_le, NULL},
    {"gt", "other", 1, test_gt, NULL},
    {"greaterthan", "other", 1, test_gt, NULL},
    {">", "other", 1, test_gt, NULL},
    {"ge", "other", 1, test_ge, NULL},
    {">=", "other", 1, test_ge, NULL},
    {NULL, NULL, 0, NULL, NULL},
};
