/* Filters on lists, dicts and whatever has items: a filter is a row at the end. */
#include <string.h>

#include "text/template/calls.h"

static bool filter_length(struct render *r, const struct call *call, struct value *out)
{
	size_t n;
	if (!value_length(r, &call->input, &n))
		return false;
	*out = value_int((int64_t)n);
	return true;
}

static bool filter_first(struct render *r, const struct call *call, struct value *out)
{
	struct list *items;
	bool lazy = call->input.kind == VALUE_ITERATOR;
	if (lazy ? !iterator_take(r, call->input.iterator, 1, &items) : !value_items(r, &call->input, &items))
		return false;
	if (items->n_items == 0)
		return value_undefined_hint(r, "No first item, sequence was empty.", out);
	*out = items->items[0];
	return true;
}

static bool filter_last(struct render *r, const struct call *call, struct value *out)
{
	struct list *items;
	if (call->input.kind == VALUE_ITERATOR)
		return render_fail(r, "TypeError", "'generator' object is not reversible");
	if (!value_items(r, &call->input, &items))
		return false;
	if (items->n_items == 0)
		return value_undefined_hint(r, "No last item, sequence was empty.", out);
	*out = items->items[items->n_items - 1];
	return true;
}

static bool copy_items(struct render *r, const struct value *value, struct list **out)
{
	struct list *items;
	if (!value_items(r, value, &items))
		return false;
	*out = list_new(r, items->n_items);
	if (*out && items->n_items)
		memcpy((*out)->items, items->items, items->n_items * sizeof *items->items);
	return *out != NULL;
}

static bool filter_list(struct render *r, const struct call *call, struct value *out)
{
	struct list *items;
	if (!value_items(r, &call->input, &items)) /* never changed, so that it may be shared */
		return false;
	*out = value_list(items);
	out->from_data = call->input.from_data;
	return true;
}

static bool filter_join(struct render *r, const struct call *call, struct value *out)
{
	struct list *items, *parts;
	struct value between = call->slot[0];
	if (slot_given(call, 0) ? !value_str(r, &call->slot[0], &between) : !value_literal(r, "", &between))
		return false;
	if (!value_items(r, &call->input, &items))
		return false;
	parts = items;
	if (slot_given(call, 1) && call->slot[1].kind != VALUE_NONE) {
		parts = list_new(r, items->n_items);
		for (size_t i = 0; parts && i < items->n_items; i++)
			if (!attribute_path(r, &items->items[i], &call->slot[1], NULL, &parts->items[i]))
				return false;
	}
	return parts && string_join(r, between.string, parts, true, out);
}

static bool filter_reverse(struct render *r, const struct call *call, struct value *out)
{
	struct list *items;
	if (call->input.kind == VALUE_STRING)
		return string_reverse(r, call->input.string, out) && (out->safe = call->input.safe, true);
	if ((call->input.kind < VALUE_STRING && call->input.kind != VALUE_UNDEFINED) || call->input.kind > VALUE_VIEW)
		return render_fail(r, "FilterArgumentError", "argument must be iterable");
	if (!copy_items(r, &call->input, &items))
		return false;
	for (size_t i = 0; i < items->n_items / 2; i++) {
		struct value swap = items->items[i];
		items->items[i] = items->items[items->n_items - 1 - i];
		items->items[items->n_items - 1 - i] = swap;
	}
	if (call->input.kind == VALUE_ITERATOR) {
		*out = value_list(items);
		return true;
	}
	return value_iterator(r, items, ITERATOR_REVERSED, out);
}

/* ---- map, select and their kin ---- */

static struct arguments rest_of(const struct arguments *arguments, size_t n)
{
	struct arguments rest = *arguments;
	rest.positional += n;
	rest.n_positional -= n;
	return rest;
}

static const struct value *keyword(const struct arguments *arguments, const char *name)
{
	for (size_t i = 0; i < arguments->n_keywords; i++)
		if (value_is_text(&arguments->keywords[i].name, name, strlen(name)))
			return &arguments->keywords[i].value;
	return NULL;
}

static const struct row *row_by_name(struct render *r, const struct value *name, bool is_filter)
{
	const struct row *row = NULL;
	if (name->kind == VALUE_STRING)
		row = is_filter ? filter_find(name->string->bytes, name->string->n_bytes)
		                : test_find(name->string->bytes, name->string->n_bytes);
	if (!row)
		render_fail(r, "TemplateRuntimeError", "No %s named '%.*s'.", is_filter ? "filter" : "test",
		            name->kind == VALUE_STRING ? (int)(name->string->n_bytes > 80 ? 80 : name->string->n_bytes) : 1,
		            name->kind == VALUE_STRING ? name->string->bytes : "?");
	return row;
}

static bool map_attribute(struct render *r, const struct call *call, const struct value *item, struct value *out)
{
	return attribute_path(r, item, keyword(call->arguments, "attribute"), keyword(call->arguments, "default"), out);
}

/* The items of what is true; nothing else need have any. */
static bool begin_source(struct render *r, struct iterator *iterator)
{
	static const struct value nothing = {.kind = VALUE_UNDEFINED};
	const struct value *input = &iterator->call->input;
	return iterator_over(r, value_true(input) ? input : &nothing, &iterator->source);
}

static bool begin_map(struct render *r, struct iterator *iterator)
{
	const struct call *call = iterator->call;
	const struct arguments *arguments = call->arguments;
	bool by_attribute = arguments->n_positional == 0 && keyword(arguments, "attribute");
	if (!value_true(&call->input))
		return begin_source(r, iterator);
	if (by_attribute && arguments->n_keywords > (size_t)(keyword(arguments, "default") ? 2 : 1))
		return render_fail(r, "FilterArgumentError", "Unexpected keyword argument");
	if (!by_attribute && arguments->n_positional == 0)
		return render_fail(r, "FilterArgumentError", "map requires a filter argument");
	if (!by_attribute && !(iterator->row = row_by_name(r, &arguments->positional[0], true)))
		return false;
	return begin_source(r, iterator);
}

static bool next_map(struct render *r, struct iterator *iterator, struct value *out)
{
	const struct call *call = iterator->call;
	struct value item;
	if ((!iterator->source && !begin_map(r, iterator)) || !iterator_next(r, iterator->source, &item))
		return false;
	if (item.kind == VALUE_MISSING)
		return true;
	if (!iterator->row)
		return map_attribute(r, call, &item, out);
	struct arguments rest = rest_of(call->arguments, 1);
	return call_row(r, iterator->row, &item, &rest, out);
}

static bool begin_select(struct render *r, struct iterator *iterator, bool by_attribute)
{
	const struct call *call = iterator->call;
	const struct arguments *arguments = call->arguments;
	if (!value_true(&call->input))
		return begin_source(r, iterator);
	if (by_attribute && arguments->n_positional == 0)
		return render_fail(r, "FilterArgumentError", "Missing parameter for attribute name");
	if (arguments->n_positional > by_attribute &&
	    !(iterator->row = row_by_name(r, &arguments->positional[by_attribute], false)))
		return false;
	return begin_source(r, iterator);
}

/* The next item that passes a test (or is true) itself, or whose attribute does. */
static bool next_selected(struct render *r, struct iterator *iterator, bool by_attribute, bool wanted,
                          struct value *out)
{
	const struct arguments *arguments = iterator->call->arguments;
	struct value item, subject, truth;
	if (!iterator->source && !begin_select(r, iterator, by_attribute))
		return false;
	const struct row *row = iterator->row;
	struct arguments rest = row ? rest_of(arguments, 1 + (size_t)by_attribute) : (struct arguments){0};
	do {
		if (!render_step(r, 1) || !iterator_next(r, iterator->source, &item))
			return false;
		if (item.kind == VALUE_MISSING)
			return true;
		subject = item;
		if (by_attribute && !attribute_path(r, &item, &arguments->positional[0], NULL, &subject))
			return false;
		if (row && !call_row(r, row, &subject, &rest, &truth))
			return false;
	} while (value_true(row ? &truth : &subject) != wanted);
	*out = item;
	return true;
}

static bool next_select(struct render *r, struct iterator *iterator, struct value *out)
{
	return next_selected(r, iterator, false, true, out);
}

static bool next_reject(struct render *r, struct iterator *iterator, struct value *out)
{
	return next_selected(r, iterator, false, false, out);
}

static bool next_selectattr(struct render *r, struct iterator *iterator, struct value *out)
{
	return next_selected(r, iterator, true, true, out);
}

static bool next_rejectattr(struct render *r, struct iterator *iterator, struct value *out)
{
	return next_selected(r, iterator, true, false, out);
}

/* ---- order ---- */

/* A key for sorting and comparing: an attribute of the item, lower-cased unless `exact`. */
static bool item_key(struct render *r, const struct value *item, const struct value *attribute, bool exact,
                     const struct value *fallback, struct value *out)
{
	struct value key;
	if (!attribute_path(r, item, attribute, fallback, &key))
		return false;
	*out = key;
	return exact || ignore_case(r, &key, out);
}

static bool item_keys(struct render *r, const struct list *items, const struct value *attribute, bool exact,
                      const struct value *fallback, struct value **out)
{
	struct value *keys = render_array(r, items->n_items + 1, sizeof *keys);
	for (size_t i = 0; keys && i < items->n_items; i++)
		if (!item_key(r, &items->items[i], attribute, exact, fallback, &keys[i]))
			return false;
	*out = keys;
	return keys != NULL;
}

static bool next_attribute(struct render *r, const struct string *paths, size_t *at, struct value *out)
{
	const char *comma = memchr(paths->bytes + *at, ',', paths->n_bytes - *at);
	size_t end = comma ? (size_t)(comma - paths->bytes) : paths->n_bytes;
	bool ok = string_slice(r, paths, *at, end, out);
	*at = end + 1;
	return ok;
}

/* "a,b": a list of keys each, also where it is only one. */
static bool compound_keys(struct render *r, const struct list *items, const struct value *paths, bool exact,
                          struct value **out)
{
	bool is_text = paths->kind == VALUE_STRING;
	size_t n = 1;
	for (size_t i = 0; is_text && i < paths->string->n_bytes; i++)
		n += paths->string->bytes[i] == ',';
	*out = render_array(r, items->n_items + 1, sizeof **out);
	for (size_t i = 0; *out && i < items->n_items; i++) {
		struct list *key = list_new(r, n);
		size_t at = 0;
		for (size_t k = 0; key && k < n; k++) {
			struct value path = *paths, value;
			if ((is_text && !next_attribute(r, paths->string, &at, &path)) ||
			    !attribute_path(r, &items->items[i], &path, NULL, &value))
				return false;
			if (exact)
				key->items[k] = value;
			else if (!ignore_case(r, &value, &key->items[k]))
				return false;
		}
		if (!key)
			return false;
		(*out)[i] = value_list(key);
	}
	return *out != NULL;
}

static bool filter_sort(struct render *r, const struct call *call, struct value *out)
{
	struct value *keys;
	struct list *items;
	int64_t reverse = 0;
	if (!copy_items(r, &call->input, &items) || !compound_keys(r, items, &call->slot[2], slot_true(call, 1), &keys) ||
	    !slot_int(r, call, 0, &reverse) || !sort_items(r, items, keys, reverse))
		return false;
	*out = value_list(items);
	out->from_data = call->input.from_data;
	return true;
}

static bool next_unique(struct render *r, struct iterator *iterator, struct value *out)
{
	const struct call *call = iterator->call;
	const struct value yes = value_bool(true), *found;
	struct value item, key;
	if (!iterator->state && !(iterator->state = dict_new(r, 0)))
		return false;
	if (!iterator->source && !iterator_over(r, &call->input, &iterator->source))
		return false;
	do {
		if (!render_step(r, 1) || !iterator_next(r, iterator->source, &item))
			return false;
		if (item.kind == VALUE_MISSING)
			return true;
		if (!item_key(r, &item, &call->slot[1], slot_true(call, 0), NULL, &key) ||
		    !dict_find(r, iterator->state, &key, &found))
			return false;
	} while (found);
	*out = item;
	return dict_set(r, iterator->state, &key, &yes);
}

static bool extreme(struct render *r, const struct call *call, bool largest, struct value *out)
{
	struct list *items;
	struct value *keys;
	size_t best = 0;
	if (!value_items(r, &call->input, &items))
		return false;
	if (items->n_items == 0)
		return value_undefined_hint(r, "No aggregated item, sequence was empty.", out);
	if (!item_keys(r, items, &call->slot[1], slot_true(call, 0), NULL, &keys))
		return false;
	for (size_t i = 1; i < items->n_items; i++) {
		bool better;
		if (largest ? !value_less(r, &keys[best], &keys[i], ">", &better)
		            : !value_less(r, &keys[i], &keys[best], "<", &better))
			return false;
		best = better ? i : best;
	}
	*out = items->items[best];
	return true;
}

static bool filter_min(struct render *r, const struct call *call, struct value *out)
{
	return extreme(r, call, false, out);
}

static bool filter_max(struct render *r, const struct call *call, struct value *out)
{
	return extreme(r, call, true, out);
}

static bool add_group(struct render *r, struct list *groups, const struct value *grouper, const struct list *items,
                      size_t start, size_t end)
{
	struct list *pair = list_new(r, 2), *members = list_new(r, end - start);
	if (!pair || !members)
		return false;
	memcpy(members->items, items->items + start, (end - start) * sizeof *members->items);
	pair->items[0] = *grouper;
	pair->items[1] = value_list(members);
	groups->items[groups->n_items++] = (struct value){.kind = VALUE_TUPLE, .detail = 1, .list = pair};
	return true;
}

static bool filter_groupby(struct render *r, const struct call *call, struct value *out)
{
	const struct value *attribute = &call->slot[0], *fallback = &call->slot[1];
	bool exact = slot_true(call, 2);
	struct list *items, *groups;
	struct value *keys, *names;
	if (!copy_items(r, &call->input, &items) || !item_keys(r, items, attribute, exact, fallback, &keys) ||
	    !sort_items(r, items, keys, false) || !item_keys(r, items, attribute, exact, fallback, &keys) ||
	    !item_keys(r, items, attribute, true, fallback, &names) || !(groups = list_new(r, items->n_items)))
		return false;
	groups->n_items = 0;
	for (size_t start = 0, end; start < items->n_items; start = end) {
		bool equal = true;
		for (end = start + 1; end < items->n_items; end++) {
			if (!value_equal(r, &keys[start], &keys[end], &equal))
				return false;
			if (!equal)
				break;
		}
		if (!add_group(r, groups, &names[start], items, start, end))
			return false;
	}
	*out = value_list(groups);
	return true;
}

static bool filter_dictsort(struct render *r, const struct call *call, struct value *out)
{
	struct value view = call->input, position = value_int(0), *keys;
	struct list *items;
	int64_t reverse = 0;
	if (view.kind == VALUE_UNDEFINED)
		return value_undefined_fail(r, &view);
	if (view.kind != VALUE_DICT)
		return render_fail(r, "AttributeError", "'%s' object has no attribute 'items'", value_type_name(&view));
	if (slot_given(call, 1) && value_is_text(&call->slot[1], "value", 5))
		position = value_int(1);
	else if (slot_given(call, 1) && !value_is_text(&call->slot[1], "key", 3))
		return render_fail(r, "FilterArgumentError", "You can only sort by either \"key\" or \"value\"");
	view.kind = VALUE_VIEW;
	view.detail = VIEW_ITEMS;
	if (!value_items(r, &view, &items) || !item_keys(r, items, &position, slot_true(call, 0), NULL, &keys) ||
	    !slot_int(r, call, 2, &reverse) || !sort_items(r, items, keys, reverse))
		return false;
	*out = value_list(items);
	out->from_data = call->input.from_data;
	return true;
}

/* ---- pieces ---- */

/* Of a row whose items are all there at once. */
static bool next_of(struct render *r, struct iterator *iterator, struct list *items, struct value *out)
{
	iterator->call = NULL;
	iterator->items = items;
	return iterator_next(r, iterator, out);
}

static bool next_items(struct render *r, struct iterator *iterator, struct value *out)
{
	struct value view = iterator->call->input;
	struct list *items;
	if (view.kind != VALUE_UNDEFINED && view.kind != VALUE_DICT)
		return render_fail(r, "TypeError", "Can only get item pairs from a mapping.");
	view.kind = view.kind == VALUE_DICT ? VALUE_VIEW : VALUE_UNDEFINED;
	view.detail = VIEW_ITEMS;
	return value_items(r, &view, &items) && next_of(r, iterator, items, out);
}

static bool fills(const struct value *fill)
{
	return fill->kind != VALUE_MISSING && fill->kind != VALUE_NONE;
}

/* The last items, filled up to the length of the others. */
static bool last_batch(struct render *r, const struct call *call, struct list *batch, struct value *out)
{
	const struct value n = value_int((int64_t)batch->n_items), *fill = &call->slot[1];
	int64_t count;
	bool less = false;
	if (batch->n_items == 0)
		return true;
	if (fills(fill) && !value_less(r, &n, &call->slot[0], "<", &less))
		return false;
	if (less && !value_integral(&call->slot[0], &count))
		return render_fail(r, "TypeError", "can't multiply sequence by non-int of type '%s'",
		                   value_type_name(&call->slot[0]));
	struct list *whole = less ? list_new(r, (size_t)count) : batch;
	if (!whole)
		return false;
	if (less)
		memcpy(whole->items, batch->items, batch->n_items * sizeof *whole->items);
	for (size_t i = batch->n_items; i < whole->n_items; i++)
		whole->items[i] = *fill;
	*out = value_list(whole);
	return true;
}

/* A batch is full when its length equals the one asked for, whatever that is, and is given when one more item comes. */
static bool next_batch(struct render *r, struct iterator *iterator, struct value *out)
{
	const struct call *call = iterator->call;
	struct list *batch = iterator->state ? iterator->state : list_new(r, 0);
	struct value item;
	if (!batch || (!iterator->source && !iterator_over(r, &call->input, &iterator->source)))
		return false;
	for (;;) {
		const struct value n = value_int((int64_t)batch->n_items);
		bool full;
		if (!render_step(r, 1) || !iterator_next(r, iterator->source, &item))
			return false;
		if (item.kind == VALUE_MISSING)
			break;
		if (!value_equal(r, &n, &call->slot[0], &full))
			return false;
		if (full) {
			*out = value_list(batch);
			return (iterator->state = list_new(r, 0)) && list_add(r, iterator->state, &item);
		}
		if (!list_add(r, batch, &item))
			return false;
	}
	iterator->call = NULL;
	return last_batch(r, call, batch, out);
}

/* Items [start, end), then `fill` once if `filled`. */
static bool add_slice(struct render *r, struct list *slices, const struct list *items, size_t start, size_t end,
                      bool filled, const struct value *fill)
{
	struct list *slice = list_new(r, end - start + filled);
	if (!slice)
		return false;
	if (end > start)
		memcpy(slice->items, items->items + start, (end - start) * sizeof *slice->items);
	if (filled)
		slice->items[end - start] = *fill;
	slices->items[slices->n_items++] = value_list(slice);
	return true;
}

static bool next_slice(struct render *r, struct iterator *iterator, struct value *out)
{
	const struct call *call = iterator->call;
	struct list *items, *slices;
	int64_t count = 0;
	size_t offset = 0;
	if (!slot_int(r, call, 0, &count) || !value_items(r, &call->input, &items))
		return false;
	if (count == 0)
		return render_fail(r, "ZeroDivisionError", "integer division or modulo by zero");
	if (!(slices = list_new(r, count > 0 ? (size_t)count : 0)))
		return false;
	slices->n_items = 0;
	for (size_t i = 0; count > 0 && i < (size_t)count; i++) {
		size_t each = items->n_items / (size_t)count, extra = items->n_items % (size_t)count;
		size_t n = each + (i < extra);
		if (!add_slice(r, slices, items, offset, offset + n, fills(&call->slot[1]) && i >= extra, &call->slot[1]))
			return false;
		offset += n;
	}
	return next_of(r, iterator, slices, out);
}

static bool filter_sum(struct render *r, const struct call *call, struct value *out)
{
	struct list *items;
	struct value sum = slot_given(call, 1) ? call->slot[1] : value_int(0);
	if (sum.kind == VALUE_STRING)
		return render_fail(r, "TypeError", "sum() can't sum strings [use ''.join(seq) instead]");
	if (!value_items(r, &call->input, &items))
		return false;
	for (size_t i = 0; i < items->n_items; i++) {
		struct value item, next;
		if (!render_step(r, 1) || !attribute_path(r, &items->items[i], &call->slot[0], NULL, &item) ||
		    !eval_binary(r, OP_ADD, &sum, &item, &next))
			return false;
		sum = next;
	}
	*out = sum;
	return true;
}

static bool filter_attr(struct render *r, const struct call *call, struct value *out)
{
	struct value found;
	if (call->slot[0].kind != VALUE_STRING)
		return render_fail(r, "TypeError", "attribute name must be string");
	if (call->input.kind == VALUE_UNDEFINED)
		return value_undefined_fail(r, &call->input);
	/* Never an item: a dict's members are none of its attributes. */
	struct value bare = call->input;
	if (bare.kind != VALUE_DICT)
		return value_attribute(r, &bare, &call->slot[0], out);
	bare.dict = dict_new(r, 0);
	if (!bare.dict || !value_attribute(r, &bare, &call->slot[0], &found))
		return false;
	*out = found;
	if (found.kind == VALUE_CALLABLE)
		found.callable->self = call->input;
	return true;
}

static bool filter_default(struct render *r, const struct call *call, struct value *out)
{
	bool absent = call->input.kind == VALUE_UNDEFINED || (slot_true(call, 1) && !value_true(&call->input));
	*out = absent ? call->slot[0] : call->input;
	return !absent || slot_given(call, 0) || value_literal(r, "", out);
}

const struct row sequence_filters[] = {
    {"length", "", 0, filter_length, NULL},
    {"count", "", 0, filter_length, NULL},
    {"first", "", 0, filter_first, NULL},
    {"last", "", 0, filter_last, NULL},
    {"list", "", 0, filter_list, NULL},
    {"join", "d attribute", 0, filter_join, NULL},
    {"reverse", "", 0, filter_reverse, NULL},
    {"map", NULL, 0, NULL, next_map},
    {"select", NULL, 0, NULL, next_select},
    {"reject", NULL, 0, NULL, next_reject},
    {"selectattr", NULL, 0, NULL, next_selectattr},
    {"rejectattr", NULL, 0, NULL, next_rejectattr},
    {"sort", "reverse case_sensitive attribute", 0, filter_sort, NULL},
    {"unique", "case_sensitive attribute", 0, NULL, next_unique},
    {"min", "case_sensitive attribute", 0, filter_min, NULL},
    {"max", "case_sensitive attribute", 0, filter_max, NULL},
    {"groupby", "attribute default case_sensitive", 1, filter_groupby, NULL},
    {"dictsort", "case_sensitive by reverse", 0, filter_dictsort, NULL},
    {"items", "", 0, NULL, next_items},
    {"batch", "linecount fill_with", 1, NULL, next_batch},
    {"slice", "slices fill_with", 1, NULL, next_slice},
    {"sum", "attribute start", 0, filter_sum, NULL},
    {"attr", "name", 1, filter_attr, NULL},
    {"default", "default_value boolean", 0, filter_default, NULL},
    {"d", "default_value boolean", 0, filter_default, NULL},
    {NULL, NULL, 0, NULL, NULL},
};
