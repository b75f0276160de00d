/* object.name, object[key] and object[a:b:c], as Jinja's sandbox resolves them: the type's own attributes come first with
 * the dot, items first with brackets; what would change an object, and what begins with two underscores, is handed out as
 * an undefined value that says why. */
#include <string.h>

#include "text/template/calls.h"
#include "text/unicode.h"

static bool is_one_of(const struct string *name, const char *const list[])
{
	for (; *list; list++)
		if (strlen(*list) == name->n_bytes && memcmp(*list, name->bytes, name->n_bytes) == 0)
			return true;
	return false;
}

static bool is_unsafe(const struct value *object, const struct string *name)
{
	static const char *const of_dict[] = {"clear", "pop", "popitem", "setdefault", "update", NULL};
	static const char *const of_list[] = {"append", "clear",  "pop",    "reverse", "insert",
	                                      "sort",   "extend", "remove", NULL};
	size_t n = name->n_bytes;
	if (n > 4 && memcmp(name->bytes, "__", 2) == 0 && memcmp(name->bytes + n - 2, "__", 2) == 0)
		return true;
	return (object->kind == VALUE_DICT && is_one_of(name, of_dict)) ||
	       (object->kind == VALUE_LIST && is_one_of(name, of_list));
}

/* A member that the sandbox does not hand out: other objects have none that begin so. */
static bool is_private(const struct value *object, const struct string *name)
{
	return object->kind == VALUE_NAMESPACE && name->n_bytes > 0 && *name->bytes == '_';
}

static bool text_is(const struct string *s, const char *text)
{
	return strlen(text) == s->n_bytes && memcmp(s->bytes, text, s->n_bytes) == 0;
}

static bool loop_attribute(struct render *r, struct loop *loop, const struct string *name, struct value *out)
{
	bool next = text_is(name, "last") || text_is(name, "nextitem");
	bool all = text_is(name, "length") || text_is(name, "revindex") || text_is(name, "revindex0");
	if ((next || all) && !loop_take(r, loop, all ? SIZE_MAX : loop->at + 2))
		return false;
	int64_t n = (int64_t)loop->items->n_items, at = (int64_t)loop->at;
	if (text_is(name, "index"))
		*out = value_int(at + 1);
	else if (text_is(name, "index0"))
		*out = value_int(at);
	else if (text_is(name, "first"))
		*out = value_bool(at == 0);
	else if (text_is(name, "last"))
		*out = value_bool(at + 1 == n);
	else if (text_is(name, "length"))
		*out = value_int(n);
	else if (text_is(name, "revindex"))
		*out = value_int(n - at);
	else if (text_is(name, "revindex0"))
		*out = value_int(n - at - 1);
	else if (text_is(name, "depth"))
		*out = value_int(loop->depth0 + 1);
	else if (text_is(name, "depth0"))
		*out = value_int(loop->depth0);
	else if (text_is(name, "previtem"))
		return at > 0 ? (*out = loop->items->items[at - 1], true)
		              : value_undefined_hint(r, "there is no previous item", out);
	else if (text_is(name, "nextitem"))
		return at + 1 < n ? (*out = loop->items->items[at + 1], true)
		                  : value_undefined_hint(r, "there is no next item", out);
	return true;
}

static bool macro_attribute(struct render *r, const struct macro *macro, const struct string *name, struct value *out)
{
	const struct name *own = &r->template->names[macro->node->name];
	if (text_is(name, "name"))
		return value_text(r, own->text, own->n_text, false, out);
	if (text_is(name, "catch_kwargs"))
		*out = value_bool(macro->node->takes_kwargs);
	else if (text_is(name, "catch_varargs"))
		*out = value_bool(macro->node->takes_varargs);
	else if (text_is(name, "caller"))
		*out = value_bool(macro->node->takes_caller);
	else if (text_is(name, "arguments")) {
		size_t n = 0;
		for (const struct node *p = macro->node->list; p; p = p->next)
			n++;
		struct list *list = list_new(r, n);
		n = 0;
		for (const struct node *p = macro->node->list; list && p; p = p->next)
			if (!value_text(r, r->template->names[p->name].text, r->template->names[p->name].n_text, false,
			                &list->items[n++]))
				return false;
		*out = (struct value){.kind = VALUE_TUPLE, .list = list};
		return list != NULL;
	}
	return true;
}

/* What Python's getattr finds: *out stays VALUE_MISSING when the type has no such attribute. */
static bool own_attribute(struct render *r, const struct value *object, const struct string *name, struct value *out)
{
	*out = (struct value){.kind = VALUE_MISSING};
	const struct row *method = method_find(object, name->bytes, name->n_bytes);
	const struct value *found;
	if (method) {
		struct callable *callable = render_alloc(r, sizeof *callable);
		if (!callable)
			return false;
		*callable = (struct callable){method, *object};
		*out = (struct value){.kind = VALUE_CALLABLE, .callable = callable};
		return true;
	}
	switch (object->kind) {
	case VALUE_LOOP:
		return loop_attribute(r, object->loop, name, out);
	case VALUE_MACRO:
		return macro_attribute(r, object->macro, name, out);
	case VALUE_NAMESPACE:
		if (!dict_find_text(r, object->namespace->members, name->bytes, name->n_bytes, &found))
			return false;
		if (found)
			*out = *found;
		return true;
	case VALUE_TUPLE:
		if (object->detail && text_is(name, "grouper"))
			*out = object->list->items[0];
		else if (object->detail && text_is(name, "list"))
			*out = object->list->items[1];
		return true;
	case VALUE_CYCLER:
		if (text_is(name, "current"))
			*out = object->cycler->items->items[object->cycler->at % object->cycler->items->n_items];
		return true;
	case VALUE_RANGE:
		if (text_is(name, "start"))
			*out = value_int(object->range->start);
		else if (text_is(name, "stop"))
			*out = value_int(object->range->stop);
		else if (text_is(name, "step"))
			*out = value_int(object->range->step);
		return true;
	default:
		return true;
	}
}

bool value_attribute(struct render *r, const struct value *object, const struct value *name, struct value *out)
{
	const struct string *text = name->string;
	if (object->kind == VALUE_UNDEFINED)
		return value_undefined_fail(r, object);
	if (is_unsafe(object, text))
		return value_undefined_unsafe(r, object, name, out);
	if (!own_attribute(r, object, text, out))
		return false;
	if (out->kind != VALUE_MISSING)
		return !is_private(object, text) || value_undefined_unsafe(r, object, name, out);
	if (object->kind == VALUE_DICT) {
		const struct value *found;
		if (!dict_find_text(r, object->dict, text->bytes, text->n_bytes, &found))
			return false;
		if (found) {
			*out = *found;
			return true;
		}
	}
	return value_undefined_member(r, object, name, out);
}

/* ---- items ---- */

static bool index_sequence(struct render *r, const struct value *object, int64_t index, struct value *out, bool *found)
{
	size_t length;
	if (!value_length(r, object, &length))
		return false;
	int64_t n = (int64_t)length;
	index += index < 0 ? n : 0;
	*found = index >= 0 && index < n;
	if (!*found)
		return true;
	if (object->kind == VALUE_STRING) {
		const struct string *s = object->string;
		size_t at = string_offset(s, index);
		if (!render_step(r, at / 64) || !string_slice(r, s, at, at + char_length((unsigned char)s->bytes[at]), out))
			return false;
		out->safe = object->safe;
		return true;
	}
	if (object->kind == VALUE_RANGE)
		*out = value_int(range_at(object->range, (size_t)index));
	else
		*out = object->list->items[index];
	return true;
}

static bool find_item(struct render *r, const struct value *object, const struct value *key, struct value *out,
                      bool *found)
{
	int64_t index;
	const struct value *member;
	*found = false;
	switch (object->kind) {
	case VALUE_UNDEFINED:
		return value_undefined_fail(r, object);
	case VALUE_DICT:
		if (key->kind == VALUE_TUPLE && !render_step(r, key->list->n_items / 8))
			return false;
		if (!value_hashable(key))
			return true; /* a TypeError, which becomes undefined */
		if (!dict_find(r, object->dict, key, &member))
			return false;
		*found = member != NULL;
		if (member)
			*out = *member;
		return true;
	case VALUE_STRING:
	case VALUE_LIST:
	case VALUE_TUPLE:
	case VALUE_RANGE:
		return value_integral(key, &index) ? index_sequence(r, object, index, out, found) : true;
	default:
		return true;
	}
}

bool value_item(struct render *r, const struct value *object, const struct value *key, struct value *out)
{
	bool found;
	if (!find_item(r, object, key, out, &found))
		return false;
	if (found)
		return true;
	if (key->kind == VALUE_STRING) {
		if (is_unsafe(object, key->string))
			return value_undefined_unsafe(r, object, key, out);
		if (!own_attribute(r, object, key->string, out))
			return false;
		if (out->kind != VALUE_MISSING)
			return !is_private(object, key->string) || value_undefined_unsafe(r, object, key, out);
	}
	return value_undefined_member(r, object, key, out);
}

/* ---- slices ---- */

/* Python's slice.indices. */
static bool slice_bounds(struct render *r, const struct value bounds[3], int64_t n, int64_t *start, int64_t *stop,
                         int64_t *count, int64_t *step)
{
	int64_t value[3] = {0, 0, 1};
	for (int i = 0; i < 3; i++)
		if (bounds[i].kind != VALUE_MISSING && bounds[i].kind != VALUE_NONE && !value_integral(&bounds[i], &value[i]))
			return render_fail(r, "TypeError", "slice indices must be integers or None or have an __index__ method");
	if (value[2] == 0)
		return render_fail(r, "ValueError", "slice step cannot be zero");
	bool given[2], down = value[2] < 0;
	for (int i = 0; i < 2; i++) {
		given[i] = bounds[i].kind != VALUE_MISSING && bounds[i].kind != VALUE_NONE;
		if (given[i] && value[i] < 0)
			value[i] = value[i] + n < 0 ? (down ? -1 : 0) : value[i] + n;
		else if (given[i] && value[i] >= n)
			value[i] = down ? n - 1 : n;
	}
	int64_t from = given[0] ? value[0] : down ? n - 1 : 0, to = given[1] ? value[1] : down ? -1 : n;
	int64_t span = down ? from - to : to - from;
	uint64_t stride = down ? 0 - (uint64_t)value[2] : (uint64_t)value[2];
	*start = from;
	*stop = to;
	*step = value[2];
	*count = span <= 0 ? 0 : (int64_t)(((uint64_t)span - 1) / stride + 1);
	return true;
}

static bool slice_string(struct render *r, const struct value *object, int64_t start, int64_t count, int64_t step,
                         struct value *out)
{
	struct string *s = object->string;
	if (!render_step(r, s->n_bytes / 64))
		return false;
	if (step == 1 || count <= 1) {
		size_t from = count > 0 ? string_offset(s, start) : 0, to = from; /* of nothing, start may be -1 */
		for (; count > 0; count--)
			to += s->n_chars == (int64_t)s->n_bytes ? 1 : char_length((unsigned char)s->bytes[to]);
		return string_slice(r, s, from, to, out);
	}
	struct list *items;
	struct builder b = {.r = r};
	if (!value_items(r, object, &items))
		return false;
	for (; count > 0; count--, start += step) {
		const struct string *one = items->items[start].string;
		builder_add_string(&b, one, 0, one->n_bytes);
	}
	return builder_finish(&b, out);
}

static bool slice_list(struct render *r, const struct value *object, int64_t start, int64_t count, int64_t step,
                       struct value *out)
{
	struct list *list = step == 1 ? render_alloc(r, sizeof *list) : list_new(r, (size_t)count);
	if (!list)
		return false;
	if (step == 1) /* shared: neither is ever changed */
		*list = (struct list){.items = object->list->items + start, .n_items = (size_t)count};
	for (int64_t i = 0; step != 1 && i < count; i++)
		list->items[i] = object->list->items[start + i * step];
	*out = (struct value){.kind = object->kind, .list = list, .from_data = object->from_data};
	return true;
}

/* first + at * step */
static bool range_place(const struct range *range, int64_t at, int64_t *out)
{
	return !__builtin_mul_overflow(at, range->step, out) && !__builtin_add_overflow(range->start, *out, out);
}

static bool slice_range(struct render *r, const struct range *of, int64_t start, int64_t stop, int64_t count,
                        int64_t step, struct value *out)
{
	struct range *range = render_alloc(r, sizeof *range);
	if (!range)
		return false;
	range->n_items = (size_t)count;
	if (!range_place(of, start, &range->start) || !range_place(of, stop, &range->stop) ||
	    __builtin_mul_overflow(of->step, step, &range->step))
		return render_overflow(r);
	*out = (struct value){.kind = VALUE_RANGE, .range = range};
	return true;
}

bool value_slice(struct render *r, const struct value *object, const struct value bounds[3], struct value *out)
{
	size_t length;
	int64_t start = 0, stop = 0, count = 0, step = 1;
	bool is_list = object->kind == VALUE_LIST || object->kind == VALUE_TUPLE;
	if (object->kind == VALUE_UNDEFINED)
		return value_undefined_fail(r, object);
	if (object->kind == VALUE_DICT)
		return render_fail(r, "TypeError", "unhashable type: 'slice'");
	if (!is_list && object->kind != VALUE_STRING && object->kind != VALUE_RANGE)
		return render_fail(r, "TypeError", "'%s' object is not subscriptable", value_type_name(object));
	if (!value_length(r, object, &length) || !slice_bounds(r, bounds, (int64_t)length, &start, &stop, &count, &step))
		return false;
	if (object->kind == VALUE_STRING)
		return slice_string(r, object, start, count, step, out) && (out->safe = object->safe, true);
	if (is_list)
		return slice_list(r, object, start, count, step, out);
	return slice_range(r, object->range, start, stop, count, step, out);
}
