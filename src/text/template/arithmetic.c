/* Operators on values: numbers as Python has them (floor division, modulo with the divisor's sign, no wrap-around), sums
 * and products of strings and lists. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "text/template/calls.h"

static const char *const op_names[] = {"+", "-", "*", "/", "//", "%", "** or pow()"};

static bool fail_operands(struct render *r, enum op op, const struct value *a, const struct value *b)
{
	return render_fail(r, "TypeError", "unsupported operand type(s) for %s: '%s' and '%s'", op_names[op],
	                   value_type_name(a), value_type_name(b));
}

static bool fail_zero(struct render *r, enum op op, bool floats)
{
	const char *what = op == OP_DIV ? "division by zero" : "integer division or modulo by zero";
	if (floats)
		what = op == OP_DIV ? "float division by zero" : op == OP_MOD ? "float modulo" : "float floor division by zero";
	else if (op == OP_MOD)
		what = "integer modulo by zero";
	return render_fail(r, "ZeroDivisionError", "%s", what);
}

static int64_t floor_div(int64_t a, int64_t b)
{
	int64_t quotient = a / b;
	return quotient - (a % b != 0 && (a < 0) != (b < 0));
}

static int64_t floor_mod(int64_t a, int64_t b)
{
	int64_t rest = b == -1 ? 0 : a % b; /* INT64_MIN % -1 is undefined */
	return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
}

static int bits_of(uint64_t n) /* not 0 */
{
	return 64 - __builtin_clzll(n);
}

/* a / b rounded once, as Python does it also where a double has not the digits of one of them: to 56 bits or more, of
 * which the last one says whether anything was left over. */
static double int_divide(int64_t a, int64_t b)
{
	uint64_t x = a < 0 ? 0 - (uint64_t)a : (uint64_t)a, y = b < 0 ? 0 - (uint64_t)b : (uint64_t)b;
	if (a == 0)
		return b < 0 ? -0.0 : 0.0;
	int shift = 56 + bits_of(y) - bits_of(x);
	shift = shift < 0 ? 0 : shift;
	unsigned __int128 scaled = (unsigned __int128)x << shift;
	uint64_t quotient = (uint64_t)(scaled / y) | (scaled % y != 0);
	double result = ldexp((double)quotient, -shift);
	return (a < 0) != (b < 0) ? -result : result;
}

static double float_mod(double a, double b)
{
	double rest = fmod(a, b);
	if (rest == 0)
		return copysign(0, b);
	return (rest < 0) != (b < 0) ? rest + b : rest;
}

static double float_floor_div(double a, double b)
{
	double rest = fmod(a, b), quotient = (a - rest) / b;
	if (rest != 0 && (b < 0) != (rest < 0))
		quotient -= 1;
	if (quotient == 0)
		return copysign(0, a / b);
	double whole = floor(quotient);
	return quotient - whole > 0.5 ? whole + 1 : whole;
}

static bool int_power(struct render *r, int64_t base, int64_t exponent, struct value *out)
{
	int64_t result = 1;
	if (exponent < 0) {
		if (base == 0)
			return render_fail(r, "ZeroDivisionError", "0.0 cannot be raised to a negative power");
		*out = value_float(pow((double)base, (double)exponent));
		return true;
	}
	for (; exponent > 0; exponent >>= 1) {
		if ((exponent & 1) && __builtin_mul_overflow(result, base, &result))
			return render_overflow(r);
		if (exponent > 1 && __builtin_mul_overflow(base, base, &base))
			return render_overflow(r);
	}
	*out = value_int(result);
	return true;
}

static bool int_op(struct render *r, enum op op, int64_t a, int64_t b, struct value *out)
{
	int64_t result = 0;
	bool overflow = false;
	if ((op == OP_DIV || op == OP_FLOORDIV || op == OP_MOD) && b == 0)
		return fail_zero(r, op, false);
	switch (op) {
	case OP_ADD:
		overflow = __builtin_add_overflow(a, b, &result);
		break;
	case OP_SUB:
		overflow = __builtin_sub_overflow(a, b, &result);
		break;
	case OP_MUL:
		overflow = __builtin_mul_overflow(a, b, &result);
		break;
	case OP_DIV:
		*out = value_float(int_divide(a, b));
		return true;
	case OP_FLOORDIV:
		overflow = a == INT64_MIN && b == -1;
		result = overflow ? 0 : floor_div(a, b);
		break;
	case OP_MOD:
		result = floor_mod(a, b);
		break;
	default:
		return int_power(r, a, b, out);
	}
	*out = value_int(result);
	return overflow ? render_overflow(r) : true;
}

bool float_steps(struct render *r, double number)
{
	int exponent = 0;
	if (isfinite(number))
		frexp(number, &exponent);
	return render_step(r, 4 + (uint64_t)abs(exponent) / 8);
}

static bool float_op(struct render *r, enum op op, double a, double b, struct value *out)
{
	double result;
	if ((op == OP_DIV || op == OP_FLOORDIV || op == OP_MOD) && b == 0)
		return fail_zero(r, op, true);
	if ((op == OP_FLOORDIV || op == OP_MOD) && !(float_steps(r, a) && float_steps(r, b)))
		return false;
	switch (op) {
	case OP_ADD:
		result = a + b;
		break;
	case OP_SUB:
		result = a - b;
		break;
	case OP_MUL:
		result = a * b;
		break;
	case OP_DIV:
		result = a / b;
		break;
	case OP_FLOORDIV:
		result = float_floor_div(a, b);
		break;
	case OP_MOD:
		result = float_mod(a, b);
		break;
	default:
		if (a == 0 && b < 0)
			return render_fail(r, "ZeroDivisionError", "0.0 cannot be raised to a negative power");
		if (a < 0 && b != floor(b))
			return render_fail(r, "TypeError", "complex numbers are not supported");
		result = pow(a, b);
		if (isinf(result) && isfinite(a) && isfinite(b))
			return render_fail(r, "OverflowError", "(34, 'Numerical result out of range')");
	}
	*out = value_float(result);
	return true;
}

static bool add_strings(struct render *r, const struct value *a, const struct value *b, struct value *out)
{
	struct value left = *a, right = *b;
	bool safe = a->safe || b->safe;
	if (safe && !a->safe && !string_escape(r, a->string, &left))
		return false;
	if (safe && !b->safe && !string_escape(r, b->string, &right))
		return false;
	if (!string_concat(r, left.string, right.string, out))
		return false;
	out->safe = safe;
	return true;
}

/* In place behind the first, when it ends where its room is free (as string_concat does). */
static bool add_lists(struct render *r, const struct value *a, const struct value *b, struct value *out)
{
	const struct list *left = a->list, *right = b->list;
	struct list_room *room = left->room;
	size_t n = left->n_items + right->n_items;
	struct list *sum = render_alloc(r, sizeof *sum);
	if (!sum || !render_step(r, right->n_items / 8))
		return false;
	if (!room || room->items != left->items || room->used != left->n_items || room->capacity < n) {
		size_t capacity = left->n_items > 8 ? 2 * n : n;
		room = render_alloc(r, sizeof *room);
		if (!room || !render_step(r, left->n_items / 8))
			return false;
		*room =
		    (struct list_room){render_array(r, capacity ? capacity : 1, sizeof *sum->items), left->n_items, capacity};
		if (!room->items)
			return false;
		if (left->n_items)
			memcpy(room->items, left->items, left->n_items * sizeof *sum->items);
	}
	if (right->n_items)
		memcpy(room->items + room->used, right->items, right->n_items * sizeof *sum->items);
	room->used += right->n_items;
	*sum = (struct list){room->items, n, room};
	*out = (struct value){.kind = a->kind, .list = sum, .from_data = a->from_data || b->from_data};
	return true;
}

static bool repeat_string(struct render *r, const struct value *text, int64_t count, struct value *out)
{
	const struct string *s = text->string;
	struct builder b = {.r = r};
	size_t whole = 0;
	if (count > 0 && (__builtin_mul_overflow(s->n_bytes, (size_t)count, &whole) || whole > r->limits.max_memory_bytes))
		return render_limit(r, "bytes of memory", r->limits.max_memory_bytes);
	for (; count > 0 && s->n_bytes && !b.failed; count--) {
		if (!render_step(r, 1))
			return false;
		builder_add_string(&b, s, 0, s->n_bytes);
	}
	if (!builder_finish(&b, out))
		return false;
	out->safe = text->safe;
	return true;
}

static bool repeat_list(struct render *r, const struct value *list, int64_t count, struct value *out)
{
	size_t n = list->list->n_items, whole = 0;
	if (count > 0 && __builtin_mul_overflow(n, (size_t)count, &whole))
		return render_limit(r, "bytes of memory", r->limits.max_memory_bytes);
	struct list *repeated = list_new(r, whole);
	if (!repeated)
		return false;
	for (size_t i = 0; i < whole; i++)
		repeated->items[i] = list->list->items[i % n];
	*out = (struct value){.kind = list->kind, .list = repeated, .from_data = list->from_data};
	return true;
}

static bool add_others(struct render *r, const struct value *a, const struct value *b, struct value *out)
{
	if (a->kind == VALUE_STRING && b->kind == VALUE_STRING)
		return add_strings(r, a, b, out);
	if ((a->kind == VALUE_LIST || a->kind == VALUE_TUPLE) && a->kind == b->kind)
		return add_lists(r, a, b, out);
	if (a->kind == VALUE_STRING || a->kind == VALUE_LIST || a->kind == VALUE_TUPLE) {
		const char *name = a->kind == VALUE_STRING ? "str" : value_type_name(a);
		return render_fail(r, "TypeError", "can only concatenate %s (not \"%s\") to %s", name, value_type_name(b),
		                   name);
	}
	return fail_operands(r, OP_ADD, a, b);
}

static bool multiply_others(struct render *r, const struct value *a, const struct value *b, struct value *out)
{
	int64_t count;
	const struct value *sequence = value_integral(b, &count) ? a : value_integral(a, &count) ? b : NULL;
	if (sequence && sequence->kind == VALUE_STRING)
		return repeat_string(r, sequence, count, out);
	if (sequence && (sequence->kind == VALUE_LIST || sequence->kind == VALUE_TUPLE))
		return repeat_list(r, sequence, count, out);
	if (a->kind >= VALUE_STRING && a->kind <= VALUE_TUPLE)
		return render_fail(r, "TypeError", "can't multiply sequence by non-int of type '%s'", value_type_name(b));
	return fail_operands(r, OP_MUL, a, b);
}

bool eval_binary(struct render *r, enum op op, const struct value *a, const struct value *b, struct value *out)
{
	int64_t x, y;
	bool from_data = a->from_data || b->from_data, ok;
	if (a->kind == VALUE_STRING && op == OP_MOD)
		return format_percent(r, a, b, out);
	if (a->kind == VALUE_UNDEFINED || b->kind == VALUE_UNDEFINED) {
		/* A sequence on the left is asked first, and says what it cannot take. */
		if (op == OP_ADD && a->kind >= VALUE_STRING && a->kind <= VALUE_TUPLE && b->kind == VALUE_UNDEFINED)
			return value_undefined_fail(r, b);
		return value_undefined_fail(r, a->kind == VALUE_UNDEFINED ? a : b);
	}
	if (value_integral(a, &x) && value_integral(b, &y)) {
		ok = int_op(r, op, x, y, out);
	} else if (value_is_number(a) && value_is_number(b)) {
		ok = float_op(r, op, value_as_double(a), value_as_double(b), out);
	} else if (a->kind == VALUE_BIG || b->kind == VALUE_BIG) {
		return render_overflow(r);
	} else {
		return op == OP_ADD   ? add_others(r, a, b, out)
		       : op == OP_MUL ? multiply_others(r, a, b, out)
		                      : fail_operands(r, op, a, b);
	}
	out->from_data = from_data;
	return ok;
}

bool eval_compare(struct render *r, enum op op, const struct value *a, const struct value *b, bool *out)
{
	bool ok, equal = false;
	switch (op) {
	case OP_EQ:
		return value_equal(r, a, b, out);
	case OP_NE:
		ok = value_equal(r, a, b, &equal);
		*out = !equal;
		return ok;
	case OP_IN:
		return value_contains(r, b, a, out);
	case OP_NOT_IN:
		ok = value_contains(r, b, a, &equal);
		*out = !equal;
		return ok;
	case OP_LT:
		return value_less(r, a, b, "<", out);
	case OP_GT:
		return value_less(r, b, a, ">", out);
	default:
		/* Not only "not greater": NaN is neither. */
		ok = op == OP_LE ? value_less(r, a, b, "<=", out) : value_less(r, b, a, ">=", out);
		return ok && (*out || value_equal(r, a, b, out));
	}
}
