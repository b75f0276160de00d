/* Calling: arguments to parameters, whatever can be called, generators. */
#include "text/template/calls.h"

#include <string.h>

static const struct row *find_in(const struct row *rows, const char *name, size_t n_bytes)
{
	for (; rows->name; rows++)
		if (strlen(rows->name) == n_bytes && memcmp(rows->name, name, n_bytes) == 0)
			return rows;
	return NULL;
}

const struct row *filter_find(const char *name, size_t n_bytes)
{
	const struct row *found = find_in(text_filters, name, n_bytes);
	found = found ? found : find_in(sequence_filters, name, n_bytes);
	return found ? found : find_in(number_filters, name, n_bytes);
}

const struct row *test_find(const char *name, size_t n_bytes)
{
	return find_in(test_rows, name, n_bytes);
}

const struct row *global_find(const char *name, size_t n_bytes)
{
	return find_in(global_rows, name, n_bytes);
}

/* ---- binding ---- */

static int parameter_index(const struct row *row, const struct string *name)
{
	const char *at = row->parameters;
	for (int i = 0; *at; i++) {
		size_t n = strcspn(at, " ");
		if (n == name->n_bytes && memcmp(at, name->bytes, n) == 0)
			return i;
		at += n;
		at += strspn(at, " ");
	}
	return -1;
}

static int parameter_count(const struct row *row)
{
	int n = *row->parameters != 0;
	for (const char *at = row->parameters; *at; at++)
		n += *at == ' ';
	return n;
}

static bool bind(struct render *r, struct call *call)
{
	const struct row *row = call->row;
	const struct arguments *arguments = call->arguments;
	int n = parameter_count(row);
	if (arguments->n_positional > (size_t)n)
		return render_fail(r, "TypeError", "%s() takes at most %d arguments (%zu given)", row->name, n,
		                   arguments->n_positional);
	for (size_t i = 0; i < arguments->n_positional; i++)
		call->slot[i] = arguments->positional[i];
	for (size_t i = 0; i < arguments->n_keywords; i++) {
		const struct string *name = arguments->keywords[i].name.string;
		int slot = parameter_index(row, name), shown = (int)(name->n_bytes > 80 ? 80 : name->n_bytes);
		if (slot < 0)
			return render_fail(r, "TypeError", "%s() got an unexpected keyword argument '%.*s'", row->name, shown,
			                   name->bytes);
		if (call->slot[slot].kind != VALUE_MISSING)
			return render_fail(r, "TypeError", "%s() got multiple values for argument '%.*s'", row->name, shown,
			                   name->bytes);
		call->slot[slot] = arguments->keywords[i].value;
	}
	for (int i = 0; i < row->n_required; i++)
		if (call->slot[i].kind == VALUE_MISSING)
			return render_fail(r, "TypeError", "%s() misses %d of its required arguments", row->name,
			                   row->n_required - i);
	return true;
}

static bool make_generator(struct render *r, const struct call *call, struct value *out)
{
	struct call *pending = render_alloc(r, sizeof *pending);
	if (!pending || !value_iterator(r, NULL, ITERATOR_GENERATOR, out))
		return false;
	*pending = *call;
	struct arguments *kept = render_alloc(r, sizeof *kept);
	if (!kept)
		return false;
	*kept = *call->arguments;
	pending->arguments = kept;
	out->iterator->call = pending;
	return true;
}

bool call_row(struct render *r, const struct row *row, const struct value *input, const struct arguments *arguments,
              struct value *out)
{
	struct call call = {.row = row, .input = *input, .arguments = arguments};
	if (row->parameters && !bind(r, &call))
		return false;
	return row->next ? make_generator(r, &call, out) : row->run(r, &call, out);
}

bool iterator_over(struct render *r, const struct value *value, struct iterator **out)
{
	struct value made = *value;
	struct list *items;
	if (value->kind != VALUE_ITERATOR &&
	    (!value_items(r, value, &items) || !value_iterator(r, items, ITERATOR_GENERATOR, &made)))
		return false;
	*out = made.iterator;
	return true;
}

bool iterator_next(struct render *r, struct iterator *iterator, struct value *out)
{
	*out = (struct value){.kind = VALUE_MISSING};
	if (iterator->items && iterator->at < iterator->items->n_items) {
		*out = iterator->items->items[iterator->at++];
		return true;
	}
	if (!iterator->call)
		return true;
	if (iterator->running)
		return render_fail(r, "ValueError", "generator already executing");
	if (!render_step(r, 1) || !render_enter(r))
		return false;
	iterator->running = true;
	bool ok = iterator->call->row->next(r, iterator, out);
	iterator->running = false;
	render_leave(r);
	if (out->kind == VALUE_MISSING)
		iterator->call = NULL;
	return ok;
}

bool iterator_take(struct render *r, struct iterator *iterator, size_t n_max, struct list **out)
{
	struct list *taken = render_alloc(r, sizeof *taken);
	struct value item = {.kind = VALUE_NONE};
	if (!taken)
		return false;
	*out = taken;
	if (!iterator->call && iterator->items) { /* never changed, so that they may be shared */
		size_t rest = iterator->items->n_items - iterator->at;
		*taken = (struct list){.items = iterator->items->items + iterator->at, .n_items = rest < n_max ? rest : n_max};
		iterator->at += taken->n_items;
		return true;
	}
	while (taken->n_items < n_max && item.kind != VALUE_MISSING) {
		if (!iterator_next(r, iterator, &item))
			return false;
		if (item.kind != VALUE_MISSING && !list_add(r, taken, &item))
			return false;
	}
	return true;
}

/* ---- what can be called ---- */

static bool call_cycler(struct cycler *cycler, struct value *out)
{
	*out = cycler->items->items[cycler->at % cycler->items->n_items];
	cycler->at = (cycler->at + 1) % cycler->items->n_items;
	return true;
}

/* Nothing the first time, the separator from then on. */
static bool call_joiner(struct render *r, struct cycler *joiner, struct value *out)
{
	if (joiner->at++ == 0)
		return value_literal(r, "", out);
	*out = joiner->items->items[0];
	return true;
}

/* What the methods of a safe string make of it is safe as well. */
static bool mark_safe(struct value *result)
{
	bool several = result->kind == VALUE_LIST || result->kind == VALUE_TUPLE;
	struct value *parts = several ? result->list->items : result;
	size_t n = several ? result->list->n_items : 1;
	for (size_t i = 0; i < n; i++)
		parts[i].safe = parts[i].kind == VALUE_STRING;
	return true;
}

bool call_value(struct render *r, const struct value *callee, const struct arguments *arguments, struct value *out)
{
	switch (callee->kind) {
	case VALUE_UNDEFINED:
		return value_undefined_fail(r, callee);
	case VALUE_MACRO:
		return macro_call(r, callee->macro, arguments, out);
	case VALUE_CALLABLE:
		return call_row(r, callee->callable->row, &callee->callable->self, arguments, out) &&
		       (!value_is_safe(&callee->callable->self) || mark_safe(out));
	case VALUE_LOOP:
		if (arguments->n_positional != 1 || arguments->n_keywords)
			return render_fail(r, "TypeError", "loop() takes one argument");
		return loop_recurse(r, callee->loop, &arguments->positional[0], out);
	case VALUE_CYCLER:
	case VALUE_JOINER:
		if (arguments->n_positional || arguments->n_keywords)
			return render_fail(r, "TypeError", "%s takes no arguments", value_type_name(callee));
		return callee->kind == VALUE_CYCLER ? call_cycler(callee->cycler, out) : call_joiner(r, callee->cycler, out);
	default:
		return render_fail(r, "TypeError", "'%s' object is not callable", value_type_name(callee));
	}
}

/* ---- arguments ---- */

bool slot_int(struct render *r, const struct call *call, int slot, int64_t *out)
{
	const struct value *value = &call->slot[slot];
	if (value->kind == VALUE_MISSING)
		return true;
	if (value_integral(value, out))
		return true;
	if (value->kind == VALUE_UNDEFINED)
		return value_undefined_fail(r, value);
	return render_fail(r, "TypeError", "%s(): '%s' object cannot be interpreted as an integer", call->row->name,
	                   value_type_name(value));
}

bool slot_string(struct render *r, const struct call *call, int slot, struct string **out)
{
	const struct value *value = &call->slot[slot];
	if (value->kind == VALUE_MISSING)
		return true;
	if (value->kind != VALUE_STRING)
		return render_fail(r, "TypeError", "%s() argument must be str, not %s", call->row->name,
		                   value_type_name(value));
	*out = value->string;
	return true;
}

bool input_string(struct render *r, const struct call *call, struct string **out)
{
	struct value text;
	if (!value_str(r, &call->input, &text))
		return false;
	*out = text.string;
	return true;
}

/* ---- attributes by path ---- */

static bool all_digits(const char *text, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (text[i] < '0' || text[i] > '9')
			return false;
	return n > 0 && n < 18;
}

static bool item_or(struct render *r, const struct value *object, const struct value *key, const struct value *fallback,
                    struct value *out)
{
	if (!value_item(r, object, key, out))
		return false;
	if (out->kind == VALUE_UNDEFINED && fallback && fallback->kind != VALUE_MISSING && fallback->kind != VALUE_NONE)
		*out = *fallback;
	return true;
}

bool attribute_path(struct render *r, const struct value *item, const struct value *path, const struct value *fallback,
                    struct value *out)
{
	*out = *item;
	if (path->kind == VALUE_MISSING || path->kind == VALUE_NONE)
		return true;
	if (path->kind != VALUE_STRING)
		return item_or(r, item, path, fallback, out);
	const struct string *s = path->string;
	for (size_t at = 0; at <= s->n_bytes;) {
		const char *dot = memchr(s->bytes + at, '.', s->n_bytes - at);
		size_t end = dot ? (size_t)(dot - s->bytes) : s->n_bytes;
		struct value key, object = *out;
		bool too_large = false;
		if (!render_step(r, 1 + (end - at) / 64) || !string_slice(r, s, at, end, &key))
			return false;
		if (all_digits(s->bytes + at, end - at)) {
			key = value_int(0);
			text_to_int(s->bytes + at, end - at, 10, &key.integer, &too_large);
		}
		if (!item_or(r, &object, &key, fallback, out))
			return false;
		at = end + 1;
	}
	return true;
}

bool ignore_case(struct render *r, const struct value *value, struct value *out)
{
	*out = *value;
	return value->kind != VALUE_STRING || string_lower(r, value->string, out);
}
