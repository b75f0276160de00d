/* Expressions. Each evaluation is a step, and nesting is bounded by render_enter, so that no tree and no recursion of a
 * template's own reaches the end of the stack. */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "text/template/calls.h"
#include "text/template/evaluation.h"

/* ---- names ---- */

struct scope *scope_new(struct render *r, struct scope *parent)
{
	struct scope *scope = render_alloc(r, sizeof *scope);
	if (scope)
		scope->parent = parent;
	return scope;
}

/* NULL: it is not set there. */
static struct binding *find_binding(const struct scope *scope, uint32_t name)
{
	for (size_t i = 0; i < scope->n_bindings; i++)
		if (scope->bindings[i].name == name)
			return &scope->bindings[i];
	return NULL;
}

bool render_lookup(struct render *r, uint32_t name, struct value *out)
{
	size_t n_passed = 0;
	bool in_block = false;
	for (const struct scope *scope = r->scope; scope; scope = scope->parent) {
		const struct binding *found = find_binding(scope, name);
		if (found) {
			*out = found->value;
			return render_step(r, (n_passed + (size_t)(found - scope->bindings)) / 8);
		}
		n_passed += 1 + scope->n_bindings;
		in_block |= scope->is_block;
	}
	if (!render_step(r, n_passed / 8))
		return false;
	const struct name *known = &r->template->names[name];
	bool too_early = known->late && !in_block && !r->assigned[name];
	*out = r->root[name];
	if (out->kind != VALUE_MISSING && !too_early)
		return true;
	if (!known->global || too_early)
		return value_undefined_name(r, known->text, known->n_text, out);
	struct callable *callable = render_alloc(r, sizeof *callable);
	if (!callable)
		return false;
	*callable = (struct callable){.row = known->global};
	*out = (struct value){.kind = VALUE_CALLABLE, .callable = callable};
	return true;
}

bool render_assign(struct render *r, uint32_t name, const struct value *value)
{
	struct scope *scope = r->scope;
	if (!scope) {
		r->root[name] = *value;
		r->assigned[name] = true;
		return true;
	}
	struct binding *found = find_binding(scope, name);
	if (!render_step(r, scope->n_bindings / 8))
		return false;
	if (found) {
		found->value = *value;
		return true;
	}
	if (scope->n_bindings == scope->capacity) {
		size_t capacity = scope->capacity ? scope->capacity * 2 : 4;
		struct binding *grown = render_array(r, capacity, sizeof *grown);
		if (!grown)
			return false;
		if (scope->n_bindings)
			memcpy(grown, scope->bindings, scope->n_bindings * sizeof *grown);
		scope->bindings = grown;
		scope->capacity = capacity;
	}
	scope->bindings[scope->n_bindings++] = (struct binding){name, *value};
	return true;
}

/* ---- literals ---- */

static bool eval_list(struct render *r, const struct node *node, struct value *out)
{
	size_t n = 0;
	for (const struct node *item = node->list; item; item = item->next)
		n++;
	struct list *list = list_new(r, n);
	if (!list)
		return false;
	n = 0;
	for (const struct node *item = node->list; item; item = item->next)
		if (!eval(r, item, &list->items[n++]))
			return false;
	*out = (struct value){.kind = node->kind == NODE_LIST ? VALUE_LIST : VALUE_TUPLE, .list = list};
	return true;
}

static bool eval_dict(struct render *r, const struct node *node, struct value *out)
{
	size_t n = 0;
	for (const struct node *item = node->list; item; item = item->next)
		n++;
	struct dict *dict = dict_new(r, n / 2);
	if (!dict)
		return false;
	for (const struct node *item = node->list; item; item = item->next->next) {
		struct value key, value;
		assert(item->next); /* keys and values in turns */
		if (!eval(r, item, &key) || !eval(r, item->next, &value) || !dict_set(r, dict, &key, &value))
			return false;
	}
	*out = (struct value){.kind = VALUE_DICT, .dict = dict};
	return true;
}

/* ---- calls ---- */

static bool spread_positional(struct render *r, const struct value *value, struct value *into, size_t *n)
{
	struct list *items;
	if (!value_items(r, value, &items))
		return false;
	if (into && items->n_items)
		memcpy(into + *n, items->items, items->n_items * sizeof *into);
	*n += items->n_items;
	return true;
}

static bool spread_keywords(struct render *r, const struct value *value, struct keyword *into, size_t *n)
{
	if (value->kind != VALUE_DICT)
		return render_fail(r, "TypeError", "argument after ** must be a mapping, not %s", value_type_name(value));
	for (size_t i = 0; i < value->dict->n_entries; i++) {
		const struct dict_entry *entry = &value->dict->entries[i];
		if (entry->key.kind != VALUE_STRING)
			return render_fail(r, "TypeError", "keywords must be strings");
		into[*n + i] = (struct keyword){entry->key, entry->value};
	}
	*n += value->dict->n_entries;
	return true;
}

static bool same_name(const struct value *a, const struct value *b)
{
	return value_is_text(a, b->string->bytes, b->string->n_bytes);
}

static bool check_keywords(struct render *r, const struct arguments *arguments)
{
	for (size_t i = 0; i < arguments->n_keywords; i++) {
		const struct value *name = &arguments->keywords[i].name;
		if (!render_step(r, arguments->n_keywords / 8 * (1 + name->string->n_bytes / 64)))
			return false;
		for (size_t j = 0; j < i; j++)
			if (same_name(&arguments->keywords[j].name, name))
				return render_fail(r, "TypeError", "got multiple values for keyword argument '%.*s'",
				                   (int)(name->string->n_bytes > 80 ? 80 : name->string->n_bytes), name->string->bytes);
	}
	return true;
}

/* A list of arguments, with room for `extra` keywords. The values are evaluated first, so that * and ** have a length. */
static bool eval_arguments(struct render *r, const struct node *list, size_t extra, struct arguments *out)
{
	size_t n = 0, n_positional = 0, n_keywords = extra, at = 0;
	for (const struct node *node = list; node; node = node->next)
		n++;
	*out = (struct arguments){0};
	if (n + extra == 0)
		return true;
	struct value *values = render_array(r, n + 1, sizeof *values);
	if (!values)
		return false;
	for (const struct node *node = list; node; node = node->next, at++) {
		size_t length = 1;
		if (!eval(r, node->a, &values[at]))
			return false;
		if (node->spread == 1) {
			struct list *items;
			if (!value_items(r, &values[at], &items))
				return false;
			values[at] = value_list(items); /* an iterator gives its items once */
			length = items->n_items;
		} else if (node->spread == 2) {
			length = values[at].kind == VALUE_DICT ? values[at].dict->n_entries : 0;
		}
		*(node->spread == 2 || node->value.kind == VALUE_STRING ? &n_keywords : &n_positional) += length;
	}
	struct value *positional = render_array(r, n_positional + 1, sizeof *positional);
	struct keyword *keywords = render_array(r, n_keywords + 1, sizeof *keywords);
	if (!positional || !keywords)
		return false;
	n_positional = n_keywords = at = 0;
	for (const struct node *node = list; node; node = node->next, at++) {
		if (node->spread == 1) {
			if (!spread_positional(r, &values[at], positional, &n_positional))
				return false;
		} else if (node->spread == 2) {
			if (!spread_keywords(r, &values[at], keywords, &n_keywords))
				return false;
		} else if (node->value.kind == VALUE_STRING) {
			keywords[n_keywords++] = (struct keyword){node->value, values[at]};
		} else {
			positional[n_positional++] = values[at];
		}
	}
	*out = (struct arguments){positional, n_positional, keywords, n_keywords};
	return check_keywords(r, out);
}

static bool eval_call(struct render *r, const struct node *node, struct value *out)
{
	struct value callee;
	struct arguments arguments;
	if (!eval(r, node->a, &callee) || !eval_arguments(r, node->list, 0, &arguments))
		return false;
	r->at = node;
	return call_value(r, &callee, &arguments, out);
}

bool eval_call_block(struct render *r, const struct node *node, const struct value *caller, struct value *out)
{
	struct value callee;
	struct arguments arguments;
	if (!eval(r, node->a, &callee) || !eval_arguments(r, node->list, 1, &arguments))
		return false;
	struct keyword *keywords = (struct keyword *)arguments.keywords;
	if (!value_literal(r, "caller", &keywords[arguments.n_keywords].name))
		return false;
	keywords[arguments.n_keywords++].value = *caller;
	r->at = node;
	return call_value(r, &callee, &arguments, out);
}

static bool fail_unknown(struct render *r, const struct node *node, const char *what)
{
	const struct string *name = node->value.string;
	r->at = node;
	return render_fail(r, "TemplateRuntimeError", "No %s named '%.*s' found.", what,
	                   (int)(name->n_bytes > 80 ? 80 : name->n_bytes), name->bytes);
}

/* Jinja looks filters up when they are applied, after their input was evaluated. */
bool eval_filter(struct render *r, const struct node *node, const struct value *block, struct value *out)
{
	struct value input = {.kind = VALUE_MISSING};
	struct arguments arguments;
	if (node->a && node->a->kind == NODE_FILTER) {
		if (!render_enter(r))
			return false;
		bool ok = eval_filter(r, node->a, block, &input);
		render_leave(r);
		if (!ok)
			return false;
	} else if (node->a) {
		if (!eval(r, node->a, &input))
			return false;
	} else {
		assert(block);
		input = *block;
	}
	if (!eval_arguments(r, node->list, 0, &arguments))
		return false;
	r->at = node;
	return node->row ? call_row(r, node->row, &input, &arguments, out) : fail_unknown(r, node, "filter");
}

static bool eval_test(struct render *r, const struct node *node, struct value *out)
{
	struct value input;
	struct arguments arguments;
	if (!eval(r, node->a, &input) || !eval_arguments(r, node->list, 0, &arguments))
		return false;
	r->at = node;
	return node->row ? call_row(r, node->row, &input, &arguments, out) : fail_unknown(r, node, "test");
}

/* ---- operators ---- */

static bool eval_item(struct render *r, const struct node *node, struct value *out)
{
	struct value object, key, bounds[3] = {{0}};
	if (!eval(r, node->a, &object))
		return false;
	if (node->b->kind != NODE_SLICE) {
		if (!eval(r, node->b, &key))
			return false;
		r->at = node;
		return value_item(r, &object, &key, out);
	}
	const struct node *parts[] = {node->b->a, node->b->b, node->b->c};
	for (int i = 0; i < 3; i++)
		if (parts[i] && !eval(r, parts[i], &bounds[i]))
			return false;
	r->at = node;
	return value_slice(r, &object, bounds, out);
}

static bool eval_sign(struct render *r, const struct node *node, struct value *out)
{
	struct value operand, zero = value_int(0);
	if (!eval(r, node->a, &operand))
		return false;
	r->at = node;
	if (operand.kind == VALUE_UNDEFINED)
		return value_undefined_fail(r, &operand);
	if (!value_is_number(&operand))
		return render_fail(r, "TypeError", "bad operand type for unary %s: '%s'", node->kind == NODE_PLUS ? "+" : "-",
		                   value_type_name(&operand));
	if (operand.kind == VALUE_FLOAT) {
		*out = operand;
		out->number = node->kind == NODE_PLUS ? operand.number : -operand.number;
		return true;
	}
	return eval_binary(r, node->kind == NODE_PLUS ? OP_ADD : OP_SUB, &zero, &operand, out);
}

static bool eval_comparison(struct render *r, const struct node *node, struct value *out)
{
	struct value left, right;
	bool truth = true;
	if (!eval(r, node->a, &left))
		return false;
	for (const struct node *operand = node->list; operand && truth; operand = operand->next) {
		if (!eval(r, operand->a, &right))
			return false;
		r->at = node;
		if (!eval_compare(r, operand->op, &left, &right, &truth))
			return false;
		left = right;
	}
	*out = value_bool(truth);
	return true;
}

static bool eval_concat(struct render *r, const struct node *node, struct value *out)
{
	struct value part, text;
	if (!eval(r, node->list, &part) || !value_str(r, &part, out))
		return false;
	for (const struct node *next = node->list->next; next; next = next->next) {
		struct value joined;
		if (!eval(r, next, &part) || !value_str(r, &part, &text) ||
		    !string_concat(r, out->string, text.string, &joined))
			return false;
		*out = joined;
	}
	return true;
}

static bool eval_choice(struct render *r, const struct node *node, struct value *out)
{
	struct value test;
	if (!eval(r, node->b, &test))
		return false;
	if (value_true(&test))
		return eval(r, node->a, out);
	if (node->c)
		return eval(r, node->c, out);
	char hint[128];
	snprintf(hint, sizeof hint,
	         "the inline if-expression on line %u evaluated to false and no else section was defined.", node->line);
	return value_undefined_hint(r, hint, out);
}

static bool eval_and_or(struct render *r, const struct node *node, struct value *out)
{
	if (!eval(r, node->a, out))
		return false;
	return value_true(out) == (node->kind == NODE_OR) || eval(r, node->b, out);
}

static bool eval_operator(struct render *r, const struct node *node, struct value *out)
{
	struct value a, b;
	switch (node->kind) {
	case NODE_NOT:
		if (!eval(r, node->a, &a))
			return false;
		*out = value_bool(!value_true(&a));
		return true;
	case NODE_NEGATE:
	case NODE_PLUS:
		return eval_sign(r, node, out);
	case NODE_AND:
	case NODE_OR:
		return eval_and_or(r, node, out);
	case NODE_COMPARE:
		return eval_comparison(r, node, out);
	case NODE_CONCAT:
		return eval_concat(r, node, out);
	case NODE_CHOICE:
		return eval_choice(r, node, out);
	default: /* NODE_BINARY */
		if (!eval(r, node->a, &a) || !eval(r, node->b, &b))
			return false;
		r->at = node;
		return eval_binary(r, node->op, &a, &b, out);
	}
}

static bool eval_attribute(struct render *r, const struct node *node, struct value *out)
{
	struct value object;
	if (!eval(r, node->a, &object))
		return false;
	r->at = node;
	return value_attribute(r, &object, &node->value, out);
}

static bool eval_kind(struct render *r, const struct node *node, struct value *out)
{
	switch (node->kind) {
	case NODE_ATTRIBUTE:
		return eval_attribute(r, node, out);
	case NODE_ITEM:
		return eval_item(r, node, out);
	case NODE_CALL:
		return eval_call(r, node, out);
	case NODE_FILTER:
		return eval_filter(r, node, NULL, out);
	case NODE_TEST:
		return eval_test(r, node, out);
	case NODE_LIST:
	case NODE_TUPLE:
		return eval_list(r, node, out);
	case NODE_DICT:
		return eval_dict(r, node, out);
	default:
		return eval_operator(r, node, out);
	}
}

bool eval(struct render *r, const struct node *node, struct value *out)
{
	assert(node);
	if (!render_step(r, 1))
		return false;
	r->at = node;
	if (node->kind == NODE_CONSTANT) {
		*out = node->value;
		return true;
	}
	if (node->kind == NODE_NAME)
		return render_lookup(r, node->name, out);
	if (!render_enter(r))
		return false;
	bool ok = eval_kind(r, node, out);
	render_leave(r);
	return ok;
}
