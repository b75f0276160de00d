/* Functions that a template finds by name: a function is a row at the end. */
#include <string.h>

#include "text/template/calls.h"

enum { MAX_RANGE = 100000 }; /* of Jinja's sandbox */

static bool global_range(struct render *r, const struct call *call, struct value *out)
{
	int64_t first = 0, second = 0, step = 1;
	const struct arguments *arguments = call->arguments;
	int64_t *into[] = {&first, &second, &step};
	if (arguments->n_keywords || arguments->n_positional < 1 || arguments->n_positional > 3)
		return render_fail(r, "TypeError", "range expected 1 to 3 arguments, got %zu", arguments->n_positional);
	for (size_t i = 0; i < arguments->n_positional; i++) {
		const struct value *value = &arguments->positional[i];
		if (value->kind == VALUE_UNDEFINED)
			return value_undefined_fail(r, value);
		if (!value_integral(value, into[i]))
			return render_fail(r, "TypeError", "'%s' object cannot be interpreted as an integer",
			                   value_type_name(value));
	}
	int64_t start = arguments->n_positional > 1 ? first : 0, stop = arguments->n_positional > 1 ? second : first;
	if (step == 0)
		return render_fail(r, "ValueError", "range() arg 3 must not be zero");
	uint64_t span = step > 0 ? (uint64_t)stop - (uint64_t)start : (uint64_t)start - (uint64_t)stop;
	uint64_t stride = step > 0 ? (uint64_t)step : 0 - (uint64_t)step;
	bool empty = step > 0 ? stop <= start : stop >= start;
	uint64_t n = empty ? 0 : (span - 1) / stride + 1;
	if (n > MAX_RANGE)
		return render_fail(r, "OverflowError", "Range too big. The sandbox blocks ranges larger than MAX_RANGE (%d).",
		                   MAX_RANGE);
	struct range *range = render_alloc(r, sizeof *range);
	if (!range)
		return false;
	*range = (struct range){start, stop, step, (size_t)n};
	*out = (struct value){.kind = VALUE_RANGE, .range = range};
	return true;
}

/* dict(mapping or pairs, key=value, ...); of namespace(), too. */
static bool make_dict(struct render *r, const struct call *call, struct dict **out)
{
	const struct arguments *arguments = call->arguments;
	struct value source;
	struct dict *dict = dict_new(r, arguments->n_keywords);
	if (!dict)
		return false;
	if (arguments->n_positional > 1)
		return render_fail(r, "TypeError", "%s expected at most 1 argument, got %zu", call->row->name,
		                   arguments->n_positional);
	if (arguments->n_positional == 1) {
		struct list *pairs;
		source = arguments->positional[0];
		if (source.kind == VALUE_UNDEFINED)
			return value_undefined_fail(r, &source);
		if (source.kind == VALUE_DICT) {
			source.kind = VALUE_VIEW;
			source.detail = VIEW_ITEMS;
		}
		if (!value_items(r, &source, &pairs))
			return false;
		for (size_t i = 0; i < pairs->n_items; i++) {
			struct list *pair;
			if (!value_items(r, &pairs->items[i], &pair))
				return false;
			if (pair->n_items != 2)
				return render_fail(r, "ValueError",
				                   "dictionary update sequence element #%zu has length %zu; 2 is required", i,
				                   pair->n_items);
			if (!dict_set(r, dict, &pair->items[0], &pair->items[1]))
				return false;
		}
	}
	for (size_t i = 0; i < arguments->n_keywords; i++)
		if (!dict_set(r, dict, &arguments->keywords[i].name, &arguments->keywords[i].value))
			return false;
	*out = dict;
	return true;
}

static bool global_dict(struct render *r, const struct call *call, struct value *out)
{
	struct dict *dict;
	if (!make_dict(r, call, &dict))
		return false;
	*out = (struct value){.kind = VALUE_DICT, .dict = dict};
	return true;
}

static bool global_namespace(struct render *r, const struct call *call, struct value *out)
{
	struct namespace *namespace = render_alloc(r, sizeof *namespace);
	if (!namespace || !make_dict(r, call, &namespace->members))
		return false;
	*out = (struct value){.kind = VALUE_NAMESPACE, .namespace = namespace};
	return true;
}

static bool make_cycler(struct render *r, const struct list *items, enum value_kind kind, struct value *out)
{
	struct cycler *cycler = render_alloc(r, sizeof *cycler);
	if (!cycler)
		return false;
	cycler->items = (struct list *)items;
	*out = (struct value){.kind = (unsigned char)kind, .cycler = cycler};
	return true;
}

static bool global_cycler(struct render *r, const struct call *call, struct value *out)
{
	const struct arguments *arguments = call->arguments;
	struct list *items = list_new(r, arguments->n_positional);
	if (!items)
		return false;
	if (arguments->n_keywords || items->n_items == 0)
		return render_fail(r, arguments->n_keywords ? "TypeError" : "RuntimeError",
		                   "at least one item has to be provided");
	memcpy(items->items, arguments->positional, items->n_items * sizeof *items->items);
	return make_cycler(r, items, VALUE_CYCLER, out);
}

static bool global_joiner(struct render *r, const struct call *call, struct value *out)
{
	struct list *items = list_new(r, 1);
	if (!items)
		return false;
	items->items[0] = call->slot[0];
	if (!slot_given(call, 0) && !value_literal(r, ", ", &items->items[0]))
		return false;
	return make_cycler(r, items, VALUE_JOINER, out);
}

static bool global_raise_exception(struct render *r, const struct call *call, struct value *out)
{
	struct value text;
	(void)out;
	if (!value_str(r, &call->slot[0], &text))
		return false;
	return render_fail(r, NULL, "%.*s", (int)(text.string->n_bytes > 390 ? 390 : text.string->n_bytes),
	                   text.string->bytes);
}

static bool global_strftime_now(struct render *r, const struct call *call, struct value *out)
{
	struct string *format = NULL;
	return slot_string(r, call, 0, &format) && format_time(r, format, out);
}

const struct row global_rows[] = {
    {"range", NULL, 0, global_range, NULL},
    {"dict", NULL, 0, global_dict, NULL},
    {"namespace", NULL, 0, global_namespace, NULL},
    {"cycler", NULL, 0, global_cycler, NULL},
    {"joiner", "sep", 0, global_joiner, NULL},
    {"raise_exception", "message", 1, global_raise_exception, NULL},
    {"strftime_now", "format", 1, global_strftime_now, NULL},
    {NULL, NULL, 0, NULL, NULL},
};
