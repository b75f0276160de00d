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
	struct iterator *iterator = call->input.kind == VALUE_ITERATOR ? call->input.iterator : NULL;
	if (!value_items(r, &call->input, &items))
		return false;
	if (items->n_items == 0)
		return value_undefined_hint(r, "No first item, sequence was empty.", out);
	if (iterator) /* only one was taken */
		iterator->at -= items->n_items - 1;
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
			if (!attribute_path(r, &items->items[i], &call->slot[1], &parts->items[i]))
				return false;
	}
	return parts && string_join(r, between.string, parts, true, out);
}

static bool filter_reverse(struct render *r, const struct call *call, struct value *out)
{
	struct list *items;
	if (call->input.kind == VALUE_STRING)
		return string_reverse(r, call->input.string, out);
	if ((call->input.kind < VALUE_STRING && call->input.kind != VALUE_UNDEFINED) || call->input.kind > VALUE_VIEW)
		return render_fail(r, "FilterArgumentError", "argument must be iterable");
	if (!copy_items(r, &call->input, &items))
		return false;
	for (size_t i = 0; i < items->n_items / 2; i++) {
		struct value swap = items->items[i];
		items->items[i] = items->items[items->n_items - 1 - i];
		items->items[items->n_items - 1 - i] = swap;
	}
	if (call->input.kind == VALUE_ITERATOR || call->input.kind == VALUE_UNDEFINED) {
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

static bool map_attribute(struct render *r, const struct call *call, struct list *items, struct list *out)
{
	const struct value *attribute = keyword(call->arguments, "attribute");
	const struct value *fallback = keyword(call->arguments, "default");
	if (call->arguments->n_keywords > (size_t)(fallback ? 2 : 1))
		return render_fail(r, "FilterArgumentError", "Unexpected keyword argument");
	for (size_t i = 0; i < items->n_items; i++) {
		if (!attribute_path(r, &items->items[i], attribute, &out->items[i]))
			return false;
		if (out->items[i].kind == VALUE_UNDEFINED && fallback)
			out->items[i] = *fallback;
	}
	return true;
}

static bool map_items(struct render *r, const struct call *call, struct list **out)
{
	struct list *items;
	if (!value_true(&call->input)) {
		*out = list_new(r, 0);
		return *out != NULL;
	}
	if (!value_items(r, &call->input, &items) || !(*out = list_new(r, items->n_items)))
		return false;
	if (call->arguments->n_positional == 0 && keyword(call->arguments, "attribute"))
		return map_attribute(r, call, items, *out);
	if (call->arguments->n_positional == 0)
		return render_fail(r, "FilterArgumentError", "map requires a filter argument");
	const struct row *row = row_by_name(r, &call->arguments->positional[0], true);
	struct arguments rest = rest_of(call->arguments, 1);
	for (size_t i = 0; i < items->n_items; i++)
		if (!row || !render_step(r, 1) || !call_row(r, row, &items->items[i], &rest, &(*out)->items[i]))
			return false;
	return row != NULL;
}

/* The items that pass a test (or are true) themselves, or whose attribute does. */
static bool select_items(struct render *r, const struct call *call, bool by_attribute, bool wanted, struct list **out)
{
	const struct arguments *arguments = call->arguments;
	const struct row *row = NULL;
	struct arguments rest = {0};
	struct list *items;
	if (!value_true(&call->input)) {
		*out = list_new(r, 0);
		return *out != NULL;
	}
	if (by_attribute && arguments->n_positional == 0)
		return render_fail(r, "FilterArgumentError", "Missing parameter for attribute name");
	if (arguments->n_positional > by_attribute) {
		row = row_by_name(r, &arguments->positional[by_attribute], false);
		rest = rest_of(arguments, 1 + (size_t)by_attribute);
		if (!row)
			return false;
	}
	if (!value_items(r, &call->input, &items) || !(*out = list_new(r, items->n_items)))
		return false;
	(*out)->n_items = 0;
	for (size_t i = 0; i < items->n_items; i++) {
		struct value subject = items->items[i], truth;
		if (by_attribute && !attribute_path(r, &items->items[i], &arguments->positional[0], &subject))
			return false;
		if (row && (!render_step(r, 1) || !call_row(r, row, &subject, &rest, &truth)))
			return false;
		if (value_true(row ? &truth : &subject) == wanted)
			(*out)->items[(*out)->n_items++] = items->items[i];
	}
	return true;
}

static bool items_select(struct render *r, const struct call *call, struct list **out)
{
	return select_items(r, call, false, true, out);
}

static bool items_reject(struct render *r, const struct call *call, struct list **out)
{
	return select_items(r, call, false, false, out);
}

static bool items_selectattr(struct render *r, const struct call *call, struct list **out)
{
	return select_items(r, call, true, true, out);
}

static bool items_rejectattr(struct render *r, const struct call *call, struct list **out)
{
	return select_items(r, call, true, false, out);
}

/* ---- order ---- */

/* Keys for sorting and comparing: an attribute of each item, lower-cased unless `exact`. */
static bool item_keys(struct render *r, const struct list *items, const struct value *attribute, bool exact,
                      const struct value *fallback, struct value **out)
{
	struct value *keys = render_array(r, items->n_items + 1, sizeof *keys);
	for (size_t i = 0; keys && i < items->n_items; i++) {
		struct value key;
		if (!attribute_path(r, &items->items[i], attribute, &key))
			return false;
		if (key.kind == VALUE_UNDEFINED && fallback && fallback->kind != VALUE_MISSING && fallback->kind != VALUE_NONE)
			key = *fallback;
		if (exact)
			keys[i] = key;
		else if (!ignore_case(r, &key, &keys[i]))
			return false;
	}
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
			    !attribute_path(r, &items->items[i], &path, &value))
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
	if (!copy_items(r, &call->input, &items) || !compound_keys(r, items, &call->slot[2], slot_true(call, 1), &keys) ||
	    !sort_items(r, items, keys, slot_true(call, 0)))
		return false;
	*out = value_list(items);
	out->from_data = call->input.from_data;
	return true;
}

static bool items_unique(struct render *r, const struct call *call, struct list **out)
{
	struct list *items;
	struct value *keys, yes = value_bool(true);
	if (!value_items(r, &call->input, &items) ||
	    !item_keys(r, items, &call->slot[1], slot_true(call, 0), NULL, &keys) || !(*out = list_new(r, items->n_items)))
		return false;
	struct dict *seen = dict_new(r, items->n_items);
	(*out)->n_items = 0;
	for (size_t i = 0; seen && i < items->n_items; i++) {
		const struct value *found;
		if (!dict_find(r, seen, &keys[i], &found))
			return false;
		if (found)
			continue;
		if (!dict_set(r, seen, &keys[i], &yes))
			return false;
		(*out)->items[(*out)->n_items++] = items->items[i];
	}
	return seen != NULL;
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
	    !sort_items(r, items, keys, slot_true(call, 2)))
		return false;
	*out = value_list(items);
	out->from_data = call->input.from_data;
	return true;
}

/* ---- pieces ---- */

static bool items_items(struct render *r, const struct call *call, struct list **out)
{
	struct value view = call->input;
	if (view.kind == VALUE_UNDEFINED)
		return value_items(r, &view, out);
	if (view.kind != VALUE_DICT)
		return render_fail(r, "TypeError", "Can only get item pairs from a mapping.");
	view.kind = VALUE_VIEW;
	view.detail = VIEW_ITEMS;
	return value_items(r, &view, out);
}

/* Items [start, end), then `n_fill` times the second argument. */
static bool add_piece(struct render *r, struct list *pieces, const struct list *items, size_t start, size_t end,
                      size_t n_fill, const struct value *fill)
{
	struct list *piece = list_new(r, end - start + n_fill);
	if (!piece)
		return false;
	if (end > start)
		memcpy(piece->items, items->items + start, (end - start) * sizeof *piece->items);
	for (size_t i = end - start; i < piece->n_items; i++)
		piece->items[i] = *fill;
	pieces->items[pieces->n_items++] = value_list(piece);
	return true;
}

static bool fills(const struct value *fill)
{
	return fill->kind != VALUE_MISSING && fill->kind != VALUE_NONE;
}

static bool items_batch(struct render *r, const struct call *call, struct list **out)
{
	struct list *items;
	int64_t count = 0;
	if (!slot_int(r, call, 0, &count) || !value_items(r, &call->input, &items) ||
	    !(*out = list_new(r, items->n_items + 1)))
		return false;
	(*out)->n_items = 0;
	/* Of no items each: an empty one whenever the next item finds it full, and the last one takes it. */
	if (count <= 0)
		return render_fail(r, "ValueError", "batch takes a number of items above 0");
	for (size_t start = 0; start < items->n_items; start += (size_t)count) {
		size_t rest = items->n_items - start, n = rest < (size_t)count ? rest : (size_t)count;
		if (!add_piece(r, *out, items, start, start + n, fills(&call->slot[1]) ? (size_t)count - n : 0, &call->slot[1]))
			return false;
		if ((uint64_t)count > items->n_items)
			break;
	}
	return true;
}

static bool items_slice(struct render *r, const struct call *call, struct list **out)
{
	struct list *items;
	int64_t slices = 0;
	size_t offset = 0;
	if (!slot_int(r, call, 0, &slices) || !value_items(r, &call->input, &items))
		return false;
	if (slices == 0)
		return render_fail(r, "ZeroDivisionError", "integer division or modulo by zero");
	if (!(*out = list_new(r, slices > 0 ? (size_t)slices : 0)))
		return false;
	(*out)->n_items = 0;
	for (size_t i = 0; slices > 0 && i < (size_t)slices; i++) {
		size_t each = items->n_items / (size_t)slices, extra = items->n_items % (size_t)slices;
		size_t n = each + (i < extra);
		if (!add_piece(r, *out, items, offset, offset + n, fills(&call->slot[1]) && i >= extra, &call->slot[1]))
			return false;
		offset += n;
	}
	return true;
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
		if (!render_step(r, 1) || !attribute_path(r, &items->items[i], &call->slot[0], &item) ||
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
    {"map", NULL, 0, NULL, map_items},
    {"select", NULL, 0, NULL, items_select},
    {"reject", NULL, 0, NULL, items_reject},
    {"selectattr", NULL, 0, NULL, items_selectattr},
    {"rejectattr", NULL, 0, NULL, items_rejectattr},
    {"sort", "reverse case_sensitive attribute", 0, filter_sort, NULL},
    {"unique", "case_sensitive attribute", 0, NULL, items_unique},
    {"min", "case_sensitive attribute", 0, filter_min, NULL},
    {"max", "case_sensitive attribute", 0, filter_max, NULL},
    {"groupby", "attribute default case_sensitive", 1, filter_groupby, NULL},
    {"dictsort", "case_sensitive by reverse", 0, filter_dictsort, NULL},
    {"items", "", 0, NULL, items_items},
    {"batch", "linecount fill_with", 1, NULL, items_batch},
    {"slice", "slices fill_with", 1, NULL, items_slice},
    {"sum", "attribute start", 0, filter_sum, NULL},
    {"attr", "name", 1, filter_attr, NULL},
    {"default", "default_value boolean", 0, filter_default, NULL},
    {"d", "default_value boolean", 0, filter_default, NULL},
    {NULL, NULL, 0, NULL, NULL},
};
