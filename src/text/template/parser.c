/* The parser of statements, and what both parsers need: nodes, names, errors with their place. */
#include "text/template/parser.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "text/template/calls.h"

/* ---- errors ---- */

static void place_of(const struct parser *p, uint32_t offset, uint32_t *line, uint32_t *column)
{
	*line = *column = 1;
	for (uint32_t i = 0; i < offset; i++) {
		*column = p->source[i] == '\n' ? 1 : *column + 1;
		*line += p->source[i] == '\n';
	}
}

static bool fail_at(struct parser *p, uint32_t line, uint32_t column, const char *message)
{
	return error_set(p->error, ERROR_MODEL, "chat template, line %u column %u: %s", line, column, message);
}

bool parser_fail(struct parser *p, const struct token *at, const char *format, ...)
{
	char message[300];
	uint32_t line, column;
	va_list arguments;
	if (p->error->code)
		return false; /* the first one counts */
	va_start(arguments, format);
	vsnprintf(message, sizeof message, format, arguments);
	va_end(arguments);
	place_of(p, at->offset, &line, &column);
	return fail_at(p, line, column, message);
}

bool parser_unexpected(struct parser *p, const char *wanted)
{
	static const char *const names[] = {"end of template",        "",   "template data",         "{%",
	                                    "end of statement block", "{{", "end of print statement"};
	const struct token *at = p->token;
	if (at->type == TOKEN_ERROR)
		return parser_fail(p, at, "%s", at->text);
	if (at->type <= TOKEN_VARIABLE_END)
		return parser_fail(p, at, "expected %s, got %s", wanted, names[at->type]);
	return parser_fail(p, at, "expected %s, got '%.*s'", wanted, (int)(at->n_text > 40 ? 40 : at->n_text), at->text);
}

bool parser_enter(struct parser *p)
{
	if (p->nesting >= TEMPLATE_MAX_NESTING)
		return parser_fail(p, p->token, "nested deeper than %d", TEMPLATE_MAX_NESTING);
	p->nesting++;
	return true;
}

/* ---- nodes and names ---- */

struct node *parser_node(struct parser *p, enum node_kind kind, const struct token *at)
{
	struct node *node = arena_alloc(&p->template->arena, sizeof *node);
	if (!node) {
		parser_fail(p, at, "no memory for the tree");
		return NULL;
	}
	node->kind = kind;
	node->offset = at->offset;
	return node;
}

void node_append(struct node_list *list, struct node *node)
{
	if (list->last)
		list->last->next = node;
	else
		list->first = node;
	list->last = node;
}

static int64_t count_chars(const char *text, size_t n)
{
	int64_t count = 0;
	for (size_t i = 0; i < n; i++)
		count += ((unsigned char)text[i] & 0xC0) != 0x80;
	return count;
}

bool parser_string(struct parser *p, struct node *node, const char *text, size_t n_text)
{
	char *copy = arena_strdup(&p->template->arena, text, n_text);
	if (!copy)
		return parser_fail(p, p->token, "no memory for the tree");
	node->constant = (struct string){.bytes = copy, .n_bytes = n_text, .n_chars = count_chars(copy, n_text)};
	node->value = (struct value){.kind = VALUE_STRING, .string = &node->constant};
	return true;
}

static bool grow_names(struct parser *p)
{
	struct template *t = p->template;
	size_t size = t->name_index_size ? t->name_index_size * 2 : 64;
	struct name *names = arena_array(&t->arena, size / 2, sizeof *names);
	uint32_t *index = arena_array(&t->arena, size, sizeof *index);
	if (!names || !index)
		return parser_fail(p, p->token, "no memory for names");
	if (t->n_names)
		memcpy(names, t->names, t->n_names * sizeof *names);
	t->names = names;
	for (uint32_t i = 0; i < t->n_names; i++) {
		size_t at = hash_bytes(names[i].text, names[i].n_text) & (size - 1);
		while (index[at])
			at = (at + 1) & (size - 1);
		index[at] = i + 1;
	}
	t->name_index = index;
	t->name_index_size = size;
	return true;
}

/* Where the name's place in the index is, or would be. */
static size_t name_slot(const struct template *t, const char *text, size_t n_text)
{
	size_t at = hash_bytes(text, n_text) & (t->name_index_size - 1);
	for (; t->name_index[at]; at = (at + 1) & (t->name_index_size - 1)) {
		const struct name *name = &t->names[t->name_index[at] - 1];
		if (name->n_text == n_text && memcmp(name->text, text, n_text) == 0)
			break;
	}
	return at;
}

uint32_t template_find_name(const struct template *template, const char *text, size_t n_text)
{
	return template->name_index[name_slot(template, text, n_text)] - 1; /* 0 - 1 is NAME_UNKNOWN */
}

uint32_t parser_name(struct parser *p, const char *text, size_t n_text)
{
	struct template *t = p->template;
	if (t->n_names >= t->name_index_size / 2 && !grow_names(p))
		return 0;
	size_t at = name_slot(t, text, n_text);
	if (!t->name_index[at]) {
		t->names[t->n_names] = (struct name){.text = text, .n_text = n_text, .global = global_find(text, n_text)};
		t->name_index[at] = ++t->n_names;
	}
	return t->name_index[at] - 1;
}

/* ---- tokens ---- */

bool token_is(const struct token *token, enum token_type type, const char *text)
{
	return token->type == type &&
	       (!text || (strlen(text) == token->n_text && memcmp(token->text, text, token->n_text) == 0));
}

bool parser_skip(struct parser *p, enum token_type type, const char *text)
{
	bool there = token_is(p->token, type, text);
	p->token += there;
	return there;
}

bool parser_expect(struct parser *p, enum token_type type, const char *text)
{
	char wanted[40];
	if (parser_skip(p, type, text))
		return true;
	snprintf(wanted, sizeof wanted, "'%s'",
	         text                      ? text
	         : type == TOKEN_NAME      ? "name"
	         : type == TOKEN_BLOCK_END ? "%}"
	                                   : "}}");
	return parser_unexpected(p, wanted);
}

/* ---- statements ---- */

static bool parse_until(struct parser *p, const char *const ends[], const struct node **out);

/* A body up to one of the tags in `ends`, at whose name the parser then stands. Directly in a branch (`soft`) what does
 * not exist is an error only where it is reached. */
static bool parse_body(struct parser *p, bool soft, const char *const ends[], const struct node **out)
{
	bool before = p->soft;
	if (!parser_enter(p))
		return false;
	p->soft = soft;
	parser_skip(p, TOKEN_OPERATOR, ":");
	bool ok = parser_expect(p, TOKEN_BLOCK_END, NULL) && parse_until(p, ends, out);
	p->soft = before;
	p->nesting--;
	return ok;
}

/* The same where only one tag can end it, which is passed. */
static bool parse_whole_body(struct parser *p, bool soft, const char *end, const struct node **out)
{
	const char *const ends[] = {end, NULL};
	return parse_body(p, soft, ends, out) && (p->token++, true);
}

static struct node *parse_if(struct parser *p)
{
	static const char *const ends[] = {"elif", "else", "endif", NULL};
	struct node *first = NULL, *last = NULL;
	bool soft = p->soft;
	for (bool more = true; more;) {
		struct node *node = parser_node(p, NODE_IF, p->token);
		if (!node)
			return NULL;
		p->token++;
		p->soft = true;
		node->a = parse_tuple(p, TUPLE_NO_CHOICE);
		if (!node->a || !parse_body(p, true, ends, &node->body))
			return NULL;
		node->is_elif = last != NULL;
		if (last)
			last->c = node;
		else
			first = node;
		last = node;
		more = parser_at_name(p, "elif");
	}
	if (parser_skip(p, TOKEN_NAME, "else")) {
		if (!parse_whole_body(p, true, "endif", &last->c))
			return NULL;
	} else {
		p->token++;
	}
	p->soft = soft;
	return first;
}

static struct node *parse_for(struct parser *p)
{
	static const char *const ends[] = {"endfor", "else", NULL};
	struct node *node = parser_node(p, NODE_FOR, p->token++);
	const struct token *at = p->token - 1;
	size_t n_closures = p->n_closures, n_loop_stores = p->n_loop_stores;
	bool soft = p->soft;
	if (!node || !(node->a = parse_target(p, false)) || !parser_expect(p, TOKEN_NAME, "in"))
		return NULL;
	node->b = parse_tuple(p, TUPLE_NO_CHOICE);
	if (!node->b)
		return NULL;
	p->soft = false;
	if (parser_skip(p, TOKEN_NAME, "if") && !(node->c = parse_expression(p, true)))
		return NULL;
	node->recursive = parser_skip(p, TOKEN_NAME, "recursive");
	p->n_loops++;
	if (!parse_body(p, false, ends, &node->body))
		return NULL;
	p->n_loops--;
	p->soft = soft;
	node->has_closures = p->n_closures != n_closures;
	if (!parser_skip(p, TOKEN_NAME, "endfor")) {
		size_t n_loops = p->n_loops;
		p->token++;
		p->n_loops = node->recursive ? 0 : n_loops; /* what is called has no loop around it */
		if (!parse_whole_body(p, false, "endfor", &node->other))
			return NULL;
		p->n_loops = n_loops;
	}
	if (p->n_loop_stores == n_loop_stores)
		return node;
	parser_fail(p, at, "Can't assign to special loop variable in for-loop target");
	return NULL;
}

/* Filters of a block are of its body, which is not directly in the branch around. */
static struct node *parse_block_filters(struct parser *p, bool inline_start)
{
	bool soft = p->soft;
	p->soft = false;
	struct node *filters = parse_filters(p, NULL, inline_start);
	p->soft = soft;
	return filters;
}

static struct node *parse_set(struct parser *p)
{
	struct node *node = parser_node(p, NODE_SET, p->token++);
	if (!node || !(node->a = parse_target(p, true)))
		return NULL;
	if (parser_skip(p, TOKEN_OPERATOR, "="))
		return (node->b = parse_tuple(p, 0)) ? node : NULL;
	node->kind = NODE_SET_BLOCK;
	if (parser_at_operator(p, "|") && !(node->b = parse_block_filters(p, false)))
		return NULL;
	return parse_whole_body(p, false, "endset", &node->body) ? node : NULL;
}

static struct node *parse_with(struct parser *p)
{
	struct node *node = parser_node(p, NODE_WITH, p->token++);
	struct node_list pairs = {0};
	while (node && p->token->type != TOKEN_BLOCK_END) {
		if (pairs.first && !parser_expect(p, TOKEN_OPERATOR, ","))
			return NULL;
		size_t n_loop_stores = p->n_loop_stores;
		struct node *target = parse_target(p, false);
		p->n_loop_stores = n_loop_stores; /* a name of its own, not the loop's */
		struct node *value = target && parser_expect(p, TOKEN_OPERATOR, "=") ? parse_expression(p, true) : NULL;
		if (!value)
			return NULL;
		node_append(&pairs, target);
		node_append(&pairs, value);
	}
	if (!node)
		return NULL;
	node->list = pairs.first;
	return parse_whole_body(p, false, "endwith", &node->body) ? node : NULL;
}

bool parser_check_target(struct parser *p, const struct token *name)
{
	static const char *const constants[] = {"true", "True", "false", "False", "none", "None"};
	for (size_t i = 0; i < sizeof constants / sizeof *constants; i++)
		if (token_is(name, TOKEN_NAME, constants[i]))
			return parser_fail(p, name, "can't assign to 'const'");
	return true;
}

/* name or name=default */
static struct node *parse_parameter(struct parser *p)
{
	const struct token *at = p->token;
	struct node *parameter = parser_node(p, NODE_PARAMETER, at);
	if (!parameter || !parser_expect(p, TOKEN_NAME, NULL) || !parser_check_target(p, at))
		return NULL;
	parameter->name = parser_name(p, at->text, at->n_text);
	struct name *name = &p->template->names[parameter->name];
	if (name->signature == p->n_signatures) {
		parser_fail(p, at, "duplicate parameter '%.*s'", (int)(at->n_text > 40 ? 40 : at->n_text), at->text);
		return NULL;
	}
	name->signature = p->n_signatures;
	p->stored |= special_bit(parameter->name);
	if (parser_skip(p, TOKEN_OPERATOR, "=") && !(parameter->a = parse_expression(p, true)))
		return NULL;
	return parameter;
}

/* (a, b=1): defaults are of the macro's body. */
static bool parse_signature(struct parser *p, struct node *macro)
{
	struct node_list parameters = {0};
	bool defaults = false, soft = p->soft;
	p->soft = false;
	p->n_signatures++;
	if (!parser_expect(p, TOKEN_OPERATOR, "("))
		return false;
	while (!parser_at_operator(p, ")")) {
		if (parameters.first && !parser_expect(p, TOKEN_OPERATOR, ","))
			return false;
		const struct token *at = p->token;
		struct node *parameter = parse_parameter(p);
		if (!parameter)
			return false;
		if (!parameter->a && defaults)
			return parser_fail(p, at, "non-default argument follows default argument");
		defaults |= parameter->a != NULL;
		node_append(&parameters, parameter);
	}
	macro->list = parameters.first;
	p->soft = soft;
	return parser_expect(p, TOKEN_OPERATOR, ")");
}

/* Which of its special names a macro asks for. Those that are parameters of its own it has from there; of caller alone it
 * is said to take it then, too. */
static bool note_special(struct parser *p, struct node *macro)
{
	unsigned own = 0;
	for (const struct node *parameter = macro->list; parameter; parameter = parameter->next) {
		own |= special_bit(parameter->name);
		if (parameter->name == NAME_CALLER && (p->asked & special_bit(NAME_CALLER)) && !parameter->a)
			return parser_fail(p, p->token, "the parameter \"caller\" must be omitted or be given a default");
	}
	macro->takes_varargs = p->asked & ~own & special_bit(NAME_VARARGS);
	macro->takes_kwargs = p->asked & ~own & special_bit(NAME_KWARGS);
	macro->takes_caller = p->asked & special_bit(NAME_CALLER);
	macro->caller_is_parameter = own & special_bit(NAME_CALLER);
	return true;
}

static bool parse_macro_body(struct parser *p, struct node *macro, const char *end)
{
	unsigned asked = p->asked, stored = p->stored;
	size_t n_loops = p->n_loops;
	p->asked = p->stored = 0;
	p->n_loops = 0; /* break does not reach out of a macro */
	if (!parse_whole_body(p, false, end, &macro->body) || !note_special(p, macro))
		return false;
	p->n_loops = n_loops;
	/* What is asked for inside is asked for around it as well. */
	p->asked = asked | (p->asked & ~stored);
	p->stored |= stored;
	p->n_closures++;
	return true;
}

static struct node *parse_macro(struct parser *p)
{
	struct node *node = parser_node(p, NODE_MACRO, p->token++);
	if (!node)
		return NULL;
	const struct token *name = p->token;
	if (!parser_expect(p, TOKEN_NAME, NULL) || !parser_check_target(p, name))
		return NULL;
	node->name = parser_name(p, name->text, name->n_text);
	return parse_signature(p, node) && parse_macro_body(p, node, "endmacro") ? node : NULL;
}

static struct node *parse_call_block(struct parser *p)
{
	const struct token *at = p->token++;
	struct node *node = parser_node(p, NODE_CALL_BLOCK, at), *caller = parser_node(p, NODE_MACRO, at);
	if (!node || !caller)
		return NULL;
	caller->name = NAME_CALLER;
	if (parser_at_operator(p, "(") && !parse_signature(p, caller))
		return NULL;
	struct node *call = parse_expression(p, true);
	if (call && call->kind != NODE_CALL)
		parser_fail(p, at, "expected call");
	if (!call || call->kind != NODE_CALL || !parse_macro_body(p, caller, "endcall"))
		return NULL;
	node->a = call;
	node->b = caller;
	return node;
}

static struct node *parse_filter_block(struct parser *p)
{
	struct node *node = parser_node(p, NODE_FILTER_BLOCK, p->token++);
	if (!node || !(node->b = parse_block_filters(p, true)))
		return NULL;
	return parse_whole_body(p, false, "endfilter", &node->body) ? node : NULL;
}

static struct node *parse_generation(struct parser *p)
{
	struct node *node = parser_node(p, NODE_SCOPED, p->token++);
	size_t n_loops = p->n_loops;
	p->n_loops = 0;
	if (!node || !parse_whole_body(p, false, "endgeneration", &node->body))
		return NULL;
	p->n_loops = n_loops;
	return node;
}

/* Without inheritance a block is its body, which sees the template's own variables (with `scoped`, all). */
static struct node *parse_block(struct parser *p)
{
	struct node *node = parser_node(p, NODE_SCOPED, p->token++);
	const struct token *name = p->token;
	size_t n_loops = p->n_loops;
	unsigned asked = p->asked, stored = p->stored;
	if (!node || !parser_expect(p, TOKEN_NAME, NULL))
		return NULL;
	struct name *own = &p->template->names[parser_name(p, name->text, name->n_text)];
	if (own->is_block) {
		parser_fail(p, name, "block '%.*s' defined twice", (int)(name->n_text > 40 ? 40 : name->n_text), name->text);
		return NULL;
	}
	own->is_block = true;
	node->is_block = true;
	node->at_root = !parser_skip(p, TOKEN_NAME, "scoped");
	p->n_loops = 0;
	if (!parse_whole_body(p, false, "endblock", &node->body))
		return NULL;
	p->n_loops = n_loops;
	p->asked = asked; /* a macro's names are not a block's inside it */
	p->stored = stored;
	if (p->token->type == TOKEN_NAME && p->token->n_text == name->n_text &&
	    memcmp(p->token->text, name->text, name->n_text) == 0)
		p->token++;
	return node;
}

static struct node *parse_print(struct parser *p)
{
	struct node *node = parser_node(p, NODE_PRINT, p->token++);
	struct node_list values = {0};
	while (node && p->token->type != TOKEN_BLOCK_END) {
		if (values.first && !parser_expect(p, TOKEN_OPERATOR, ","))
			return NULL;
		struct node *value = parse_expression(p, true);
		if (!value)
			return NULL;
		node_append(&values, value);
	}
	if (node)
		node->list = values.first;
	return node;
}

static struct node *parse_flow(struct parser *p)
{
	const struct token *at = p->token++;
	bool is_break = token_is(at, TOKEN_NAME, "break");
	if (p->n_loops == 0) {
		parser_fail(p, at, "'%s' outside loop", is_break ? "break" : "continue");
		return NULL;
	}
	return parser_node(p, is_break ? NODE_BREAK : NODE_CONTINUE, at);
}

static struct node *parse_statement(struct parser *p)
{
	static const struct {
		const char *name;
		struct node *(*parse)(struct parser *p);
	} statements[] = {{"if", parse_if},
	                  {"for", parse_for},
	                  {"set", parse_set},
	                  {"with", parse_with},
	                  {"macro", parse_macro},
	                  {"call", parse_call_block},
	                  {"filter", parse_filter_block},
	                  {"generation", parse_generation},
	                  {"block", parse_block},
	                  {"print", parse_print},
	                  {"break", parse_flow},
	                  {"continue", parse_flow}};
	static const char *const elsewhere[] = {"extends", "include", "import", "from", "autoescape"};
	if (p->token->type != TOKEN_NAME) {
		parser_unexpected(p, "a tag's name");
		return NULL;
	}
	for (size_t i = 0; i < sizeof statements / sizeof *statements; i++)
		if (parser_at_name(p, statements[i].name))
			return statements[i].parse(p);
	bool known = false;
	for (size_t i = 0; i < sizeof elsewhere / sizeof *elsewhere; i++)
		known |= parser_at_name(p, elsewhere[i]);
	parser_fail(p, p->token, "%s tag '%.*s'", known ? "a chat template stands alone and has no use for the" : "unknown",
	            (int)(p->token->n_text > 40 ? 40 : p->token->n_text), p->token->text);
	return NULL;
}

static struct node *parse_text(struct parser *p)
{
	const struct token *at = p->token++;
	struct node *node = parser_node(p, NODE_TEXT, at);
	return node && parser_string(p, node, at->text, at->n_text) ? node : NULL;
}

static struct node *parse_output(struct parser *p)
{
	struct node *node = parser_node(p, NODE_PRINT, p->token++);
	if (!node || !(node->list = parse_tuple(p, 0)) || !parser_expect(p, TOKEN_VARIABLE_END, NULL))
		return NULL;
	return node;
}

static bool at_one_of(const struct parser *p, const char *const names[])
{
	for (; names && *names; names++)
		if (parser_at_name(p, *names))
			return true;
	return false;
}

static bool parse_until(struct parser *p, const char *const ends[], const struct node **out)
{
	struct node_list list = {0};
	for (;;) {
		struct node *node;
		if (p->token->type == TOKEN_DATA) {
			node = parse_text(p);
		} else if (p->token->type == TOKEN_VARIABLE_BEGIN) {
			node = parse_output(p);
		} else if (parser_skip(p, TOKEN_BLOCK_BEGIN, NULL)) {
			if (at_one_of(p, ends))
				break;
			node = parse_statement(p);
			if (!node || !parser_expect(p, TOKEN_BLOCK_END, NULL))
				return false;
		} else if (p->token->type == TOKEN_END && !ends) {
			break;
		} else {
			return parser_unexpected(p, ends ? ends[0] : "the end");
		}
		if (!node)
			return false;
		node_append(&list, node);
	}
	*out = list.first;
	return true;
}

/* ---- the whole ---- */

static bool report_unknown(struct parser *p)
{
	if (p->n_unknown == 0)
		return true;
	const struct unknown_row *first = &p->unknown[0];
	const struct string *name = first->node->value.string;
	uint32_t line, column;
	char message[120];
	place_of(p, first->node->offset, &line, &column);
	snprintf(message, sizeof message, "No %s named '%.*s'.", first->is_filter ? "filter" : "test",
	         (int)(name->n_bytes > 60 ? 60 : name->n_bytes), name->bytes);
	return fail_at(p, line, column, message);
}

bool parser_run(struct template *template, const char *source, const struct token *tokens, struct error *error)
{
	static const char *const known[N_WELL_KNOWN_NAMES] = {"loop", "caller", "varargs", "kwargs"};
	struct parser p = {.template = template, .source = source, .token = tokens, .error = error};
	for (int i = 0; i < N_WELL_KNOWN_NAMES; i++)
		parser_name(&p, known[i], strlen(known[i]));
	error->code = ERROR_NONE;
	return parse_until(&p, NULL, &template->body) && !error->code && report_unknown(&p);
}
