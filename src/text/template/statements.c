/* Statements: output, branches, loops, assignments, macros. */
#include <stdio.h>
#include <string.h>

#include "text/template/calls.h"
#include "text/template/evaluation.h"

/* ---- targets ---- */

static bool assign_member(struct render *r, const struct node *target, const struct value *value)
{
	struct value object;
	if (!render_lookup(r, target->name, &object))
		return false;
	r->at = target;
	if (object.kind != VALUE_NAMESPACE)
		return render_fail(r, "TemplateRuntimeError", "cannot assign attribute on non-namespace object");
	return dict_set(r, object.namespace->members, &target->value, value);
}

bool assign_target(struct render *r, const struct node *target, const struct value *value)
{
	struct list *items;
	size_t n = 0, i = 0;
	bool lazy = value->kind == VALUE_ITERATOR; /* one more is taken, to see whether it is there */
	if (target->kind == NODE_NAME)
		return render_assign(r, target->name, value);
	if (target->kind == NODE_MEMBER)
		return assign_member(r, target, value);
	if (value->kind != VALUE_UNDEFINED && value->kind < VALUE_STRING)
		return render_fail(r, "TypeError", "cannot unpack non-iterable %s object", value_type_name(value));
	for (const struct node *part = target->list; part; part = part->next)
		n++;
	if (lazy ? !iterator_take(r, value->iterator, n + 1, &items) : !value_items(r, value, &items))
		return false;
	if (items->n_items > n)
		return render_fail(r, "ValueError", "too many values to unpack (expected %zu)", n);
	if (items->n_items < n)
		return render_fail(r, "ValueError", "not enough values to unpack (expected %zu, got %zu)", n, items->n_items);
	for (const struct node *part = target->list; part; part = part->next)
		if (!render_enter(r) || !assign_target(r, part, &items->items[i++]) || (render_leave(r), false))
			return false;
	return true;
}

/* ---- output ---- */

static bool print(struct render *r, const struct value *value)
{
	struct value text;
	if (value->kind == VALUE_STRING)
		return render_output(r, value->string);
	return value_str(r, value, &text) && render_output(r, text.string);
}

/* What a block makes of itself is joined to the text around it as it is. */
static bool print_block(struct render *r, const struct value *value)
{
	if (value->kind != VALUE_STRING)
		return render_fail(r, "TypeError", "expected str instance, %s found", value_type_name(value));
	return render_output(r, value->string);
}

bool execute_capture(struct render *r, const struct node *list, enum flow *flow, struct value *out)
{
	struct builder capture = {.r = r}, *before = r->capture;
	r->capture = &capture;
	bool ok = execute_list(r, list, flow);
	r->capture = before;
	return ok && builder_finish(&capture, out);
}

/* In a new scope: names that it sets, but that are read before that. */
static bool hide_late(struct render *r, const struct name_list *late)
{
	for (uint32_t i = 0; i < late->n_names; i++) {
		const struct name *name = &r->template->names[late->names[i]];
		struct value undefined;
		if (!value_undefined_name(r, name->text, name->n_text, &undefined) ||
		    !render_assign(r, late->names[i], &undefined))
			return false;
	}
	return true;
}

/* A body with names of its own. */
static bool execute_scoped(struct render *r, const struct node *node, enum flow *flow)
{
	struct scope *before = r->scope, *scope = scope_new(r, node->at_root ? NULL : before);
	if (!scope)
		return false;
	scope->is_block = node->is_block;
	r->scope = scope;
	bool ok = hide_late(r, &node->late) && execute_list(r, node->body, flow);
	r->scope = before;
	return ok;
}

static bool execute_else(struct render *r, const struct node *loop, enum flow *flow)
{
	struct scope *before = r->scope, *scope = scope_new(r, before);
	if (!scope)
		return false;
	r->scope = scope;
	bool ok = hide_late(r, &loop->late_other) && execute_list(r, loop->other, flow);
	r->scope = before;
	return ok;
}

static bool capture_scoped(struct render *r, const struct node *node, enum flow *flow, struct value *out)
{
	struct scope *before = r->scope, *scope = scope_new(r, before);
	if (!scope)
		return false;
	r->scope = scope;
	bool ok = hide_late(r, &node->late) && execute_capture(r, node->body, flow, out);
	r->scope = before;
	return ok;
}

/* ---- loops ---- */

static bool passes_test(struct render *r, const struct loop *loop, const struct value *item, bool *out)
{
	struct scope *before = r->scope, *scope = scope_new(r, loop->scope);
	struct value test;
	if (!scope)
		return false;
	r->scope = scope;
	bool ok = assign_target(r, loop->node->a, item) && eval(r, loop->node->c, &test);
	r->scope = before;
	*out = ok && value_true(&test);
	return ok;
}

bool loop_take(struct render *r, struct loop *loop, size_t n)
{
	while (loop->source && loop->items->n_items < n) {
		struct value item;
		bool passes = true;
		if (loop->running)
			return render_fail(r, "ValueError", "generator already executing");
		if (!iterator_next(r, loop->source, &item))
			return false;
		loop->running = true;
		if (item.kind == VALUE_MISSING)
			loop->source = NULL;
		else if ((loop->node->c && !passes_test(r, loop, &item, &passes)) ||
		         (passes && !list_add(r, loop->items, &item)))
			return false;
		loop->running = false;
	}
	return true;
}

/* What a loop goes over: a list as it is, anything else and what is tested item by item, as they are asked for. */
static bool begin_loop(struct render *r, struct loop *loop, const struct value *iterable)
{
	if (iterable->kind != VALUE_ITERATOR && !loop->node->c)
		return value_items(r, iterable, &loop->items);
	loop->items = list_new(r, 0);
	return loop->items && iterator_over(r, iterable, &loop->source);
}

/* *whole: an iteration was not left by break or continue. */
static bool run_iterations(struct render *r, struct loop *loop, bool *whole)
{
	struct value own = {.kind = VALUE_LOOP, .loop = loop};
	struct scope *scope = NULL;
	enum flow flow = FLOW_ON;
	for (size_t next = 0; flow != FLOW_BREAK; next++) {
		if (!loop_take(r, loop, next + 1))
			return false;
		if (next == loop->items->n_items)
			break;
		loop->at = next; /* where it stays after the last one */
		if (!scope || loop->node->has_closures)
			scope = scope_new(r, loop->scope);
		if (!scope || !render_step(r, 1))
			return false;
		scope->n_bindings = 0;
		r->scope = scope;
		if (!hide_late(r, &loop->node->late) || !render_assign(r, NAME_LOOP, &own) ||
		    !assign_target(r, loop->node->a, &loop->items->items[loop->at]) ||
		    !execute_list(r, loop->node->body, &flow))
			return false;
		*whole |= flow == FLOW_ON;
	}
	return true;
}

/* All iterations, and the else part unless one of them ran to its end: that is where Jinja notes that there was one. A
 * break or continue in the else part is of the loop around. */
static bool run_loop(struct render *r, const struct node *node, const struct value *iterable, struct scope *around,
                     int depth0, enum flow *flow)
{
	struct scope *before = r->scope;
	struct loop *loop = render_alloc(r, sizeof *loop);
	if (!loop)
		return false;
	*loop = (struct loop){.node = node, .depth0 = depth0, .scope = around};
	bool whole = false, ok = begin_loop(r, loop, iterable) && run_iterations(r, loop, &whole);
	r->scope = around;
	if (ok && !whole && node->other)
		ok = execute_else(r, node, flow);
	r->scope = before;
	return ok;
}

static bool execute_for(struct render *r, const struct node *node, enum flow *flow)
{
	struct value iterable;
	if (!eval(r, node->b, &iterable))
		return false;
	r->at = node;
	return run_loop(r, node, &iterable, r->scope, 0, flow);
}

bool loop_recurse(struct render *r, const struct loop *loop, const struct value *value, struct value *out)
{
	struct builder capture = {.r = r}, *before = r->capture;
	enum flow flow = FLOW_ON; /* the parser lets nothing out of the else part of such a loop */
	if (!loop->node->recursive)
		return render_fail(r, "TypeError", "The loop must have the 'recursive' marker to be called recursively.");
	if (!render_enter(r))
		return false;
	r->capture = &capture;
	bool ok = run_loop(r, loop->node, value, loop->scope, loop->depth0 + 1, &flow);
	r->capture = before;
	render_leave(r);
	return ok && builder_finish(&capture, out);
}

/* ---- macros ---- */

static const struct value *find_keyword(const struct arguments *arguments, const struct name *name)
{
	for (size_t i = 0; i < arguments->n_keywords; i++)
		if (value_is_text(&arguments->keywords[i].name, name->text, name->n_text))
			return &arguments->keywords[i].value;
	return NULL;
}

static bool missing_parameter(struct render *r, const struct name *name, struct value *out)
{
	char hint[120];
	snprintf(hint, sizeof hint, "parameter '%.*s' was not provided", (int)(name->n_text > 60 ? 60 : name->n_text),
	         name->text);
	return value_undefined_hint(r, hint, out);
}

static const struct value *find_argument(const struct render *r, const struct arguments *arguments,
                                         const struct node *parameter, size_t at)
{
	return at < arguments->n_positional ? &arguments->positional[at]
	                                    : find_keyword(arguments, &r->template->names[parameter->name]);
}

/* Named parameters, as far as they are given: the others are undefined until their defaults are asked for, so that none
 * of these sees a name of outside. */
static bool bind_parameters(struct render *r, const struct macro *macro, const struct arguments *arguments,
                            size_t *n_parameters)
{
	size_t at = 0;
	for (const struct node *p = macro->node->list; p; p = p->next, at++) {
		const struct name *name = &r->template->names[p->name];
		const struct value *given = find_argument(r, arguments, p, at);
		struct value value;
		if (given)
			value = *given;
		else if (p->a ? !value_undefined_name(r, name->text, name->n_text, &value)
		              : !missing_parameter(r, name, &value))
			return false;
		if (!render_assign(r, p->name, &value))
			return false;
	}
	*n_parameters = at;
	return true;
}

static bool bind_defaults(struct render *r, const struct macro *macro, const struct arguments *arguments)
{
	size_t at = 0;
	for (const struct node *p = macro->node->list; p; p = p->next, at++) {
		struct value value;
		if (p->a && !find_argument(r, arguments, p, at) &&
		    (!eval(r, p->a, &value) || !render_assign(r, p->name, &value)))
			return false;
	}
	return true;
}

static bool is_parameter(const struct render *r, const struct node *macro, const struct value *keyword, size_t skip)
{
	for (const struct node *p = macro->list; p; p = p->next) {
		const struct name *name = &r->template->names[p->name];
		if (skip > 0)
			skip--;
		else if (value_is_text(keyword, name->text, name->n_text))
			return true;
	}
	return false;
}

/* caller, kwargs and varargs, when the body asks for them; an error for arguments that nobody takes. */
static bool bind_special(struct render *r, const struct macro *macro, const struct arguments *arguments,
                         size_t n_parameters)
{
	const struct node *node = macro->node;
	const struct name *own = &r->template->names[node->name];
	int n_own = (int)(own->n_text > 80 ? 80 : own->n_text);
	bool takes_caller = node->takes_caller && !node->caller_is_parameter;
	struct dict *kwargs = dict_new(r, arguments->n_keywords);
	struct value caller = {.kind = VALUE_MISSING}, value;
	if (!kwargs)
		return false;
	for (size_t i = 0; i < arguments->n_keywords; i++) {
		const struct keyword *keyword = &arguments->keywords[i];
		if (is_parameter(r, node, &keyword->name, arguments->n_positional))
			continue;
		bool is_caller = value_is_text(&keyword->name, "caller", 6);
		if (is_caller && takes_caller) {
			caller = keyword->value;
		} else if (node->takes_kwargs) {
			if (!dict_set(r, kwargs, &keyword->name, &keyword->value))
				return false;
		} else if (is_caller) {
			return render_fail(r, "TypeError",
			                   "macro '%.*s' was invoked with two values for the special caller argument. This is "
			                   "most likely a bug.",
			                   n_own, own->text);
		} else {
			return render_fail(r, "TypeError", "macro '%.*s' takes no keyword argument '%.*s'", n_own, own->text,
			                   (int)(keyword->name.string->n_bytes > 80 ? 80 : keyword->name.string->n_bytes),
			                   keyword->name.string->bytes);
		}
	}
	if (arguments->n_positional > n_parameters && !node->takes_varargs)
		return render_fail(r, "TypeError", "macro '%.*s' takes not more than %zu argument(s)", n_own, own->text,
		                   n_parameters);
	if (takes_caller) {
		if (caller.kind == VALUE_MISSING && !value_undefined_hint(r, "No caller defined", &caller))
			return false;
		if (!render_assign(r, NAME_CALLER, &caller))
			return false;
	}
	value = (struct value){.kind = VALUE_DICT, .dict = kwargs};
	if (node->takes_kwargs && !render_assign(r, NAME_KWARGS, &value))
		return false;
	if (!node->takes_varargs)
		return true;
	size_t n_rest = arguments->n_positional > n_parameters ? arguments->n_positional - n_parameters : 0;
	struct list *rest = list_new(r, n_rest);
	if (!rest)
		return false;
	if (n_rest)
		memcpy(rest->items, arguments->positional + n_parameters, n_rest * sizeof *rest->items);
	value = (struct value){.kind = VALUE_TUPLE, .list = rest};
	return render_assign(r, NAME_VARARGS, &value);
}

/* Each parameter is looked for among the keywords, and each keyword among the parameters. */
static size_t count_nodes(const struct node *list)
{
	size_t n = 0;
	for (; list; list = list->next)
		n++;
	return n;
}

bool macro_call(struct render *r, const struct macro *macro, const struct arguments *arguments, struct value *out)
{
	struct scope *before = r->scope;
	size_t n_parameters = 0;
	enum flow flow; /* none leaves a macro */
	if (!render_step(r, count_nodes(macro->node->list) * (1 + arguments->n_keywords) / 8) || !render_enter(r))
		return false;
	r->scope = scope_new(r, macro->scope);
	bool ok = r->scope && hide_late(r, &macro->node->late) && bind_parameters(r, macro, arguments, &n_parameters) &&
	          bind_special(r, macro, arguments, n_parameters) && bind_defaults(r, macro, arguments) &&
	          execute_capture(r, macro->node->body, &flow, out);
	r->scope = before;
	render_leave(r);
	return ok;
}

static bool define_macro(struct render *r, const struct node *node, struct value *out)
{
	struct macro *macro = render_alloc(r, sizeof *macro);
	if (!macro)
		return false;
	*macro = (struct macro){node, r->scope};
	*out = (struct value){.kind = VALUE_MACRO, .macro = macro};
	return true;
}

/* ---- the others ---- */

static bool execute_call_block(struct render *r, const struct node *node)
{
	struct value caller, text;
	return define_macro(r, node->b, &caller) && eval_call_block(r, node->a, &caller, &text) && print_block(r, &text);
}

static bool execute_set_block(struct render *r, const struct node *node, enum flow *flow)
{
	struct value text, value;
	if (!capture_scoped(r, node, flow, &text))
		return false;
	if (*flow != FLOW_ON)
		return true;
	if (!node->b)
		return assign_target(r, node->a, &text);
	return eval_filter(r, node->b, &text, &value) && assign_target(r, node->a, &value);
}

static bool execute_filter_block(struct render *r, const struct node *node, enum flow *flow)
{
	struct value text, value;
	if (!capture_scoped(r, node, flow, &text))
		return false;
	if (*flow != FLOW_ON)
		return true;
	return eval_filter(r, node->b, &text, &value) && print_block(r, &value);
}

/* Values are evaluated around the block, all before the first name is set. */
static bool execute_with(struct render *r, const struct node *node, enum flow *flow)
{
	struct scope *before = r->scope, *scope = scope_new(r, before);
	r->scope = scope;
	bool ok = scope && hide_late(r, &node->late);
	r->scope = before;
	for (const struct node *target = node->list; ok && target; target = target->next->next) {
		struct value value;
		ok = eval(r, target->next, &value);
		r->scope = scope;
		ok = ok && assign_target(r, target, &value);
		r->scope = before;
	}
	r->scope = scope;
	ok = ok && execute_list(r, node->body, flow);
	r->scope = before;
	return ok;
}

static bool execute_if(struct render *r, const struct node *node, enum flow *flow)
{
	for (; node && node->kind == NODE_IF; node = node->c) {
		struct value test;
		if (!eval(r, node->a, &test))
			return false;
		if (value_true(&test))
			return execute_list(r, node->body, flow);
		if (!node->c || !node->c->is_elif)
			return execute_list(r, node->c, flow);
	}
	return true;
}

/* Several values only with {% print %}. */
static bool execute_print(struct render *r, const struct node *node)
{
	for (const struct node *part = node->list; part; part = part->next) {
		struct value value;
		if (!eval(r, part, &value) || !print(r, &value))
			return false;
	}
	return true;
}

static bool execute_set(struct render *r, const struct node *node)
{
	struct value value;
	return eval(r, node->b, &value) && assign_target(r, node->a, &value);
}

static bool execute_one(struct render *r, const struct node *node, enum flow *flow)
{
	struct value value;
	switch (node->kind) {
	case NODE_TEXT:
		return render_output(r, &node->constant);
	case NODE_PRINT:
		return execute_print(r, node);
	case NODE_IF:
		return execute_if(r, node, flow);
	case NODE_FOR:
		return execute_for(r, node, flow);
	case NODE_SET:
		return execute_set(r, node);
	case NODE_SET_BLOCK:
		return execute_set_block(r, node, flow);
	case NODE_WITH:
		return execute_with(r, node, flow);
	case NODE_MACRO:
		return define_macro(r, node, &value) && render_assign(r, node->name, &value);
	case NODE_CALL_BLOCK:
		return execute_call_block(r, node);
	case NODE_FILTER_BLOCK:
		return execute_filter_block(r, node, flow);
	case NODE_SCOPED:
		return execute_scoped(r, node, flow);
	default: /* NODE_BREAK, NODE_CONTINUE */
		*flow = node->kind == NODE_BREAK ? FLOW_BREAK : FLOW_CONTINUE;
		return true;
	}
}

bool execute_list(struct render *r, const struct node *list, enum flow *flow)
{
	*flow = FLOW_ON;
	if (!render_enter(r))
		return false;
	bool ok = true;
	for (; ok && list && *flow == FLOW_ON; list = list->next) {
		r->at = list;
		ok = render_step(r, 1) && execute_one(r, list, flow);
	}
	render_leave(r);
	return ok;
}

bool execute(struct render *r, const struct node *list)
{
	enum flow flow;
	return execute_list(r, list, &flow);
}
