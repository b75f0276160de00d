/* Methods of dicts, lists, numbers, loops and cyclers, and which type has which. */
#include <math.h>
#include <string.h>

#include "text/template/calls.h"

/* ---- dicts ---- */

static bool dict_get(struct render *r, const struct call *call, struct value *out)
{
	const struct value *found;
	if (!dict_find(r, call->input.dict, &call->slot[0], &found))
		return false;
	*out = found ? *found : slot_given(call, 1) ? call->slot[1] : value_none();
	return true;
}

static bool view(const struct call *call, enum view_kind kind, struct value *out)
{
	*out = call->input;
	out->kind = VALUE_VIEW;
	out->detail = (unsigned char)kind;
	return true;
}

static bool dict_keys(struct render *r, const struct call *call, struct value *out)
{
	(void)r;
	return view(call, VIEW_KEYS, out);
}

static bool dict_values(struct render *r, const struct call *call, struct value *out)
{
	(void)r;
	return view(call, VIEW_VALUES, out);
}

static bool dict_items(struct render *r, const struct call *call, struct value *out)
{
	(void)r;
	return view(call, VIEW_ITEMS, out);
}

/* Never changed, so that a copy is itself. */
static bool copy_self(struct render *r, const struct call *call, struct value *out)
{
	(void)r;
	*out = call->input;
	return true;
}

static const struct row dict_methods[] = {
    {"get", "key default", 1, dict_get, NULL}, {"keys", "", 0, dict_keys, NULL}, {"values", "", 0, dict_values, NULL},
    {"items", "", 0, dict_items, NULL},        {"copy", "", 0, copy_self, NULL}, {NULL, NULL, 0, NULL, NULL},
};

/* ---- lists, tuples, ranges ---- */

static bool list_index(struct render *r, const struct call *call, struct value *out)
{
	struct list *items;
	int64_t start = 0, stop = INT64_MAX;
	if (!value_items(r, &call->input, &items) || !slot_int(r, call, 1, &start) || !slot_int(r, call, 2, &stop))
		return false;
	int64_t n = (int64_t)items->n_items;
	start = start < 0 ? (start + n < 0 ? 0 : start + n) : start;
	stop = stop < 0 ? stop + n : stop > n ? n : stop;
	for (int64_t i = start; i < stop; i++) {
		bool equal;
		if (!value_equal(r, &items->items[i], &call->slot[0], &equal))
			return false;
		if (equal) {
			*out = value_int(i);
			return true;
		}
	}
	struct value repr;
	if (!value_repr(r, &call->slot[0], &repr))
		return false;
	return render_fail(r, "ValueError", "%.*s is not in %s",
	                   (int)(repr.string->n_bytes > 200 ? 200 : repr.string->n_bytes), repr.string->bytes,
	                   value_type_name(&call->input));
}

static bool list_count(struct render *r, const struct call *call, struct value *out)
{
	struct list *items;
	int64_t n = 0;
	if (!value_items(r, &call->input, &items))
		return false;
	for (size_t i = 0; i < items->n_items; i++) {
		bool equal;
		if (!value_equal(r, &items->items[i], &call->slot[0], &equal))
			return false;
		n += equal;
	}
	*out = value_int(n);
	return true;
}

static const struct row list_methods[] = {
    {"index", "value start stop", 1, list_index, NULL},
    {"count", "value", 1, list_count, NULL},
    {"copy", "", 0, copy_self, NULL}, /* last: tuples and ranges have none */
    {NULL, NULL, 0, NULL, NULL},
};

/* ---- loops, cyclers ---- */

static bool loop_cycle(struct render *r, const struct call *call, struct value *out)
{
	const struct arguments *arguments = call->arguments;
	if (arguments->n_positional == 0)
		return render_fail(r, "TypeError", "no items for cycling given");
	*out = arguments->positional[call->input.loop->at % arguments->n_positional];
	return true;
}

static bool loop_changed(struct render *r, const struct call *call, struct value *out)
{
	struct loop *loop = call->input.loop;
	struct list *list = list_new(r, call->arguments->n_positional);
	bool equal = false;
	if (!list)
		return false;
	for (size_t i = 0; i < list->n_items; i++)
		list->items[i] = call->arguments->positional[i];
	struct value now = {.kind = VALUE_TUPLE, .list = list};
	if (!value_equal(r, &loop->changed, &now, &equal))
		return false;
	loop->changed = now;
	*out = value_bool(!equal);
	return true;
}

static const struct row loop_methods[] = {
    {"cycle", NULL, 0, loop_cycle, NULL},
    {"changed", NULL, 0, loop_changed, NULL},
    {NULL, NULL, 0, NULL, NULL},
};

static bool cycler_next(struct render *r, const struct call *call, struct value *out)
{
	return call_value(r, &call->input, call->arguments, out);
}

static bool cycler_reset(struct render *r, const struct call *call, struct value *out)
{
	(void)r;
	call->input.cycler->at = 0;
	*out = value_none();
	return true;
}

static const struct row cycler_methods[] = {
    {"next", "", 0, cycler_next, NULL},
    {"reset", "", 0, cycler_reset, NULL},
    {NULL, NULL, 0, NULL, NULL},
};

/* ---- numbers ---- */

static bool float_is_integer(struct render *r, const struct call *call, struct value *out)
{
	(void)r;
	*out = value_bool(isfinite(call->input.number) && floor(call->input.number) == call->input.number);
	return true;
}

static const struct row float_methods[] = {
    {"is_integer", "", 0, float_is_integer, NULL},
    {NULL, NULL, 0, NULL, NULL},
};

/* ---- which type has which ---- */

static const struct row *find_in(const struct row *rows, const char *name, size_t n_bytes)
{
	for (; rows->name; rows++)
		if (strlen(rows->name) == n_bytes && memcmp(rows->name, name, n_bytes) == 0)
			return rows;
	return NULL;
}

const struct row *method_find(const struct value *object, const char *name, size_t n_bytes)
{
	const struct row *found = NULL;
	switch (object->kind) {
	case VALUE_STRING:
		found = find_in(string_methods, name, n_bytes);
		return found ? found : find_in(string_more_methods, name, n_bytes);
	case VALUE_DICT:
		return find_in(dict_methods, name, n_bytes);
	case VALUE_LIST:
	case VALUE_TUPLE:
	case VALUE_RANGE:
		found = find_in(list_methods, name, n_bytes);
		return found && found->run == copy_self && object->kind != VALUE_LIST ? NULL : found;
	case VALUE_LOOP:
		return find_in(loop_methods, name, n_bytes);
	case VALUE_CYCLER:
		return find_in(cycler_methods, name, n_bytes);
	case VALUE_FLOAT:
		return find_in(float_methods, name, n_bytes);
	default:
		return NULL;
	}
}
