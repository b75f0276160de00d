/* Equality, order and membership, as Python defines them for the types that a template meets. */
#include <math.h>
#include <string.h>

#include "text/template/calls.h"

static bool lists_equal(struct render *r, const struct list *a, const struct list *b, bool *out)
{
	*out = a->n_items == b->n_items;
	for (size_t i = 0; *out && i < a->n_items; i++)
		if (!value_equal(r, &a->items[i], &b->items[i], out))
			return false;
	return true;
}

static bool dicts_equal(struct render *r, const struct dict *a, const struct dict *b, bool *out)
{
	*out = a->n_entries == b->n_entries;
	for (size_t i = 0; *out && i < a->n_entries; i++) {
		const struct value *other;
		if (!dict_find(r, b, &a->entries[i].key, &other))
			return false;
		*out = other != NULL;
		if (other && !value_equal(r, &a->entries[i].value, other, out))
			return false;
	}
	return true;
}

enum order { ORDER_LESS = -1, ORDER_EQUAL, ORDER_GREATER, ORDER_NONE };

static enum order order_floats(double a, double b)
{
	return a < b ? ORDER_LESS : a > b ? ORDER_GREATER : a == b ? ORDER_EQUAL : ORDER_NONE;
}

/* Exactly: a double has not the digits of every integer. */
static enum order order_int_float(int64_t a, double b)
{
	const double beyond = 9223372036854775808.0; /* 2^63 */
	if (isnan(b))
		return ORDER_NONE;
	if (b >= beyond)
		return ORDER_LESS;
	if (b < -beyond)
		return ORDER_GREATER;
	int64_t whole = (int64_t)b;
	if (a != whole)
		return a < whole ? ORDER_LESS : ORDER_GREATER;
	return order_floats(0, b - (double)whole);
}

static enum order order_numbers(const struct value *a, const struct value *b)
{
	int64_t x, y;
	bool x_is_int = value_integral(a, &x), y_is_int = value_integral(b, &y);
	if (x_is_int && y_is_int)
		return x < y ? ORDER_LESS : x > y ? ORDER_GREATER : ORDER_EQUAL;
	if (x_is_int)
		return order_int_float(x, b->number);
	if (!y_is_int)
		return order_floats(a->number, b->number);
	enum order swapped = order_int_float(y, a->number);
	return swapped == ORDER_NONE ? ORDER_NONE : (enum order) - swapped;
}

static bool ranges_equal(const struct range *a, const struct range *b)
{
	return a->n_items == b->n_items &&
	       (a->n_items == 0 || (a->start == b->start && (a->n_items == 1 || a->step == b->step)));
}

/* Keys and items are sets; values are not even equal to themselves. */
static bool views_equal(struct render *r, const struct value *a, const struct value *b, bool *out)
{
	struct list *items;
	*out = a->detail != VIEW_VALUES && b->detail != VIEW_VALUES && a->dict->n_entries == b->dict->n_entries;
	if (!*out || !value_items(r, a, &items))
		return !*out;
	for (size_t i = 0; *out && i < items->n_items; i++)
		if (!value_contains(r, b, &items->items[i], out))
			return false;
	return true;
}

static bool same_object(const struct value *a, const struct value *b)
{
	/* All others are pointers in the same place. */
	return a->list == b->list;
}

static bool strings_equal(struct render *r, const struct string *a, const struct string *b, bool *out)
{
	bool same_length = a->n_bytes == b->n_bytes;
	if (same_length && !render_step(r, a->n_bytes / 64))
		return false;
	*out = same_length && memcmp(a->bytes, b->bytes, a->n_bytes) == 0;
	return true;
}

static bool equal_of_kind(struct render *r, const struct value *a, const struct value *b, bool *out)
{
	switch (a->kind) {
	case VALUE_UNDEFINED:
	case VALUE_NONE:
	case VALUE_MISSING:
		*out = true;
		return true;
	case VALUE_STRING:
	case VALUE_BIG:
		return strings_equal(r, a->string, b->string, out);
	case VALUE_LIST:
	case VALUE_TUPLE:
		return lists_equal(r, a->list, b->list, out);
	case VALUE_DICT:
		return dicts_equal(r, a->dict, b->dict, out);
	case VALUE_RANGE:
		*out = ranges_equal(a->range, b->range);
		return true;
	case VALUE_VIEW:
		return views_equal(r, a, b, out);
	default:
		*out = same_object(a, b);
		return true;
	}
}

bool value_equal(struct render *r, const struct value *a, const struct value *b, bool *out)
{
	*out = false;
	if (!render_step(r, 1))
		return false;
	if (value_is_number(a) && value_is_number(b)) {
		*out = order_numbers(a, b) == ORDER_EQUAL;
		return true;
	}
	if (a->kind != b->kind)
		return true;
	if (!render_enter(r))
		return false;
	bool ok = equal_of_kind(r, a, b, out);
	render_leave(r);
	return ok;
}

static bool strings_less(struct render *r, const struct string *a, const struct string *b, bool *out)
{
	size_t n = a->n_bytes < b->n_bytes ? a->n_bytes : b->n_bytes;
	if (!render_step(r, n / 64))
		return false;
	int order = memcmp(a->bytes, b->bytes, n); /* UTF-8 sorts as its characters do */
	*out = order ? order < 0 : a->n_bytes < b->n_bytes;
	return true;
}

static bool lists_less(struct render *r, const struct list *a, const struct list *b, const char *op, bool *out)
{
	for (size_t i = 0; i < a->n_items && i < b->n_items; i++) {
		bool equal;
		if (!value_equal(r, &a->items[i], &b->items[i], &equal))
			return false;
		if (!equal)
			return value_less(r, &a->items[i], &b->items[i], op, out);
	}
	*out = a->n_items < b->n_items;
	return true;
}

bool value_less(struct render *r, const struct value *a, const struct value *b, const char *op, bool *out)
{
	*out = false;
	if (!render_step(r, 1))
		return false;
	if (a->kind == VALUE_UNDEFINED || b->kind == VALUE_UNDEFINED)
		return value_undefined_fail(r, a->kind == VALUE_UNDEFINED ? a : b);
	if (value_is_number(a) && value_is_number(b)) {
		*out = order_numbers(a, b) == ORDER_LESS;
		return true;
	}
	if (a->kind == VALUE_STRING && b->kind == VALUE_STRING)
		return strings_less(r, a->string, b->string, out);
	if ((a->kind == VALUE_LIST || a->kind == VALUE_TUPLE) && a->kind == b->kind) {
		if (!render_enter(r))
			return false;
		bool ok = lists_less(r, a->list, b->list, op, out);
		render_leave(r);
		return ok;
	}
	bool swapped = *op == '>';
	return render_fail(r, "TypeError", "'%s' not supported between instances of '%s' and '%s'", op,
	                   value_type_name(swapped ? b : a), value_type_name(swapped ? a : b));
}

static bool list_contains(struct render *r, const struct list *list, const struct value *item, bool *out)
{
	*out = false;
	for (size_t i = 0; !*out && i < list->n_items; i++)
		if (!value_equal(r, &list->items[i], item, out))
			return false;
	return true;
}

static bool has_key(struct render *r, const struct dict *dict, const struct value *key, bool *out)
{
	const struct value *found;
	if (!dict_find(r, dict, key, &found))
		return false;
	*out = found != NULL;
	return true;
}

/* A tuple of key and value. */
static bool has_item(struct render *r, const struct dict *dict, const struct value *item, bool *out)
{
	const struct value *found;
	*out = false;
	if (item->kind != VALUE_TUPLE || item->list->n_items != 2)
		return true;
	if (!dict_find(r, dict, &item->list->items[0], &found))
		return false;
	return !found || value_equal(r, found, &item->list->items[1], out);
}

/* No more items are taken than it needs. */
static bool iterator_contains(struct render *r, struct iterator *iterator, const struct value *item, bool *out)
{
	struct value next;
	for (*out = false; !*out;) {
		if (!iterator_next(r, iterator, &next))
			return false;
		if (next.kind == VALUE_MISSING)
			return true;
		if (!value_equal(r, &next, item, out))
			return false;
	}
	return true;
}

bool value_contains(struct render *r, const struct value *container, const struct value *item, bool *out)
{
	struct list *items;
	switch (container->kind) {
	case VALUE_STRING:
		if (item->kind != VALUE_STRING)
			return render_fail(r, "TypeError", "'in <string>' requires string as left operand, not %s",
			                   value_type_name(item));
		if (!search_steps(r, container->string, item->string, false))
			return false;
		*out = string_find(container->string, item->string, 0, container->string->n_bytes) != SIZE_MAX;
		return true;
	case VALUE_DICT:
		return has_key(r, container->dict, item, out);
	case VALUE_VIEW:
		if (container->detail == VIEW_VALUES)
			break;
		return container->detail == VIEW_KEYS ? has_key(r, container->dict, item, out)
		                                      : has_item(r, container->dict, item, out);
	case VALUE_UNDEFINED:
	case VALUE_LIST:
	case VALUE_TUPLE:
	case VALUE_RANGE:
		break;
	case VALUE_ITERATOR:
		return iterator_contains(r, container->iterator, item, out);
	default:
		return render_fail(r, "TypeError", "argument of type '%s' is not iterable", value_type_name(container));
	}
	return value_items(r, container, &items) && list_contains(r, items, item, out);
}
