/* The parser of expressions: one function per level of precedence, as in Jinja's grammar. */
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "text/template/calls.h"
#include "text/template/parser.h"

static struct node *parse_primary(struct parser *p);
static struct node *parse_unary(struct parser *p, bool with_filter);
static struct node *parse_or(struct parser *p);

static struct node *binary(struct parser *p, enum node_kind kind, const struct token *at, struct node *a,
                           struct node *b)
{
	struct node *node = a && b ? parser_node(p, kind, at) : NULL;
	if (node) {
		node->a = a;
		node->b = b;
	}
	return node;
}

static struct node *fail(struct parser *p, const struct token *at, const char *message)
{
	parser_fail(p, at, "%s", message);
	return NULL;
}

/* ---- literals ---- */

static bool is_hex(char c)
{
	return (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'f');
}

/* \x41, é, \U0001F600: how many bytes of the text; 0 when it is no character. */
static size_t hex_escape(const char *text, size_t n_text, size_t n_digits, char out[4], int *n_out)
{
	char hex[9] = "";
	if (n_text < 2 + n_digits)
		return 0;
	for (size_t i = 0; i < n_digits; i++)
		if (!is_hex(hex[i] = text[2 + i]))
			return 0;
	unsigned long code = strtoul(hex, NULL, 16);
	if (code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF))
		return 0;
	*n_out = utf8_encode((unsigned)code, out);
	return 2 + n_digits;
}

static size_t octal_escape(const char *text, size_t n_text, char out[4], int *n_out)
{
	unsigned code = 0;
	size_t n = 1;
	for (; n < 4 && n < n_text && text[n] >= '0' && text[n] <= '7'; n++)
		code = code * 8 + (unsigned)(text[n] - '0');
	*n_out = utf8_encode(code, out);
	return n;
}

/* One escape as Python's unicode-escape reads it; its length, 0 when it is none. */
static size_t read_escape(const char *text, size_t n_text, char out[4], int *n_out)
{
	static const char from[] = "\\'\"abfnrtv", to[] = "\\'\"\a\b\f\n\r\t\v";
	if (n_text < 2)
		return 0;
	const char *simple = text[1] ? strchr(from, text[1]) : NULL;
	*n_out = 1;
	if (simple) {
		out[0] = to[simple - from];
		return 2;
	}
	switch (text[1]) {
	case '\n':
		*n_out = 0;
		return 2;
	case 'x':
		return hex_escape(text, n_text, 2, out, n_out);
	case 'u':
		return hex_escape(text, n_text, 4, out, n_out);
	case 'U':
		return hex_escape(text, n_text, 8, out, n_out);
	case 'N':
		return 0; /* names of characters are not known here */
	}
	if (text[1] >= '0' && text[1] <= '7')
		return octal_escape(text, n_text, out, n_out);
	out[0] = '\\'; /* not an escape: the backslash stays */
	return 1;
}

/* Strings that stand side by side are one. */
static struct node *parse_string(struct parser *p)
{
	const struct token *at = p->token;
	size_t n = 0, n_max = 0;
	for (const struct token *t = at; t->type == TOKEN_STRING; t++)
		n_max += t->n_text;
	struct node *node = parser_node(p, NODE_CONSTANT, at);
	char *text = arena_alloc(&p->template->arena, n_max + 4);
	if (!node || !text)
		return fail(p, at, "no memory for the tree");
	for (; p->token->type == TOKEN_STRING; p->token++) {
		for (size_t i = 0; i < p->token->n_text;) {
			int n_out = 1;
			size_t length = 1;
			text[n] = p->token->text[i];
			if (text[n] == '\\')
				length = read_escape(p->token->text + i, p->token->n_text - i, text + n, &n_out);
			if (length == 0)
				return fail(p, p->token, "an escape in a string that stands for no character");
			n += (size_t)n_out;
			i += length;
		}
	}
	return parser_string(p, node, text, n) ? node : NULL;
}

static struct node *parse_number(struct parser *p)
{
	const struct token *at = p->token++;
	struct node *node = parser_node(p, NODE_CONSTANT, at);
	bool too_large = false;
	if (!node)
		return NULL;
	if (at->type == TOKEN_FLOAT) {
		double number = 0;
		node->value = value_float(0);
		if (!text_to_float(at->text, at->n_text, &number))
			return fail(p, at, "not a number");
		node->value.number = number;
		return node;
	}
	node->value = value_int(0);
	if (!text_to_int(at->text, at->n_text, 0, &node->value.integer, &too_large))
		return fail(p, at, too_large ? "an integer beyond 64 bits" : "not an integer");
	return node;
}

/* One item of a list, or key and value of a dict. */
static bool parse_item(struct parser *p, enum node_kind kind, struct node_list *items)
{
	struct node *item = parse_expression(p, true);
	if (!item)
		return false;
	node_append(items, item);
	if (kind == NODE_LIST)
		return true;
	struct node *value = parser_expect(p, TOKEN_OPERATOR, ":") ? parse_expression(p, true) : NULL;
	if (!value)
		return false;
	node_append(items, value);
	return true;
}

/* A list or a dict: items with commas between them, one more allowed before the bracket that closes it. */
static struct node *parse_items(struct parser *p, enum node_kind kind, const char *close)
{
	struct node_list items = {0};
	struct node *node = parser_node(p, kind, p->token++);
	while (node && !parser_at_operator(p, close)) {
		if (items.first && !parser_expect(p, TOKEN_OPERATOR, ","))
			return NULL;
		if (parser_at_operator(p, close))
			break;
		if (!parse_item(p, kind, &items))
			return NULL;
	}
	if (!node || !parser_expect(p, TOKEN_OPERATOR, close))
		return NULL;
	node->list = items.first;
	return node;
}

static struct node *parse_name(struct parser *p)
{
	static const struct {
		const char *text;
		unsigned char kind;
		bool truth;
	} words[] = {{"true", VALUE_BOOL, true},   {"True", VALUE_BOOL, true},  {"false", VALUE_BOOL, false},
	             {"False", VALUE_BOOL, false}, {"none", VALUE_NONE, false}, {"None", VALUE_NONE, false}};
	const struct token *at = p->token++;
	for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
		if (!token_is(at, TOKEN_NAME, words[i].text))
			continue;
		struct node *node = parser_node(p, NODE_CONSTANT, at);
		if (node)
			node->value = words[i].kind == VALUE_NONE ? value_none() : value_bool(words[i].truth);
		return node;
	}
	struct node *node = parser_node(p, NODE_NAME, at);
	if (!node)
		return NULL;
	node->name = parser_name(p, at->text, at->n_text);
	p->n_names_read++;
	p->asked |= special_bit(node->name) & ~p->stored;
	return node;
}

static struct node *parse_primary(struct parser *p)
{
	switch (p->token->type) {
	case TOKEN_NAME:
		return parse_name(p);
	case TOKEN_STRING:
		return parse_string(p);
	case TOKEN_INTEGER:
	case TOKEN_FLOAT:
		return parse_number(p);
	default:
		break;
	}
	if (parser_at_operator(p, "["))
		return parse_items(p, NODE_LIST, "]");
	if (parser_at_operator(p, "{"))
		return parse_items(p, NODE_DICT, "}");
	if (parser_at_operator(p, "(")) {
		p->token++;
		struct node *node = parse_tuple(p, TUPLE_PARENTHESES);
		return node && parser_expect(p, TOKEN_OPERATOR, ")") ? node : NULL;
	}
	parser_unexpected(p, "an expression");
	return NULL;
}

/* ---- what follows a primary: . [] () | is ---- */

static struct node *parse_argument(struct parser *p)
{
	struct node *node = parser_node(p, NODE_ARGUMENT, p->token);
	if (!node)
		return NULL;
	if (parser_skip(p, TOKEN_OPERATOR, "*")) {
		node->spread = 1;
	} else if (parser_skip(p, TOKEN_OPERATOR, "**")) {
		node->spread = 2;
	} else if (p->token->type == TOKEN_NAME && token_is(p->token + 1, TOKEN_OPERATOR, "=")) {
		if (!parser_string(p, node, p->token->text, p->token->n_text))
			return NULL;
		p->token += 2;
	}
	node->a = parse_expression(p, true);
	return node->a ? node : NULL;
}

/* Positional ones first, then *, keywords and **, each of the stars once. */
static bool arguments_ordered(const struct node *argument, bool *keyword, bool spread[3])
{
	bool is_keyword = argument->value.kind == VALUE_STRING;
	bool ok = !spread[2];
	if (argument->spread)
		ok = ok && !spread[argument->spread];
	else if (!is_keyword)
		ok = ok && !*keyword && !spread[1];
	*keyword |= is_keyword;
	spread[argument->spread] = true;
	return ok;
}

/* ( ... ), into *first. */
static bool parse_arguments(struct parser *p, const struct node **first)
{
	const struct token *at = p->token;
	struct node_list list = {0};
	bool keyword = false, spread[3] = {false};
	if (!parser_expect(p, TOKEN_OPERATOR, "("))
		return false;
	while (!parser_at_operator(p, ")")) {
		if (list.first && !parser_expect(p, TOKEN_OPERATOR, ","))
			return false;
		if (list.first && parser_at_operator(p, ")"))
			break;
		struct node *argument = parse_argument(p);
		if (!argument)
			return false;
		if (!arguments_ordered(argument, &keyword, spread))
			return parser_fail(p, at, "invalid syntax for function call expression");
		node_append(&list, argument);
	}
	*first = list.first;
	return parser_expect(p, TOKEN_OPERATOR, ")");
}

static struct node *parse_call(struct parser *p, struct node *callee)
{
	struct node *node = parser_node(p, NODE_CALL, p->token);
	if (!node || !parse_arguments(p, &node->list))
		return NULL;
	node->a = callee;
	return node;
}

static bool at_slice_end(const struct parser *p)
{
	return parser_at_operator(p, "]") || parser_at_operator(p, ",");
}

/* An index, or start:stop:step. */
static struct node *parse_subscribed(struct parser *p)
{
	const struct token *at = p->token;
	struct node *start = parser_at_operator(p, ":") ? NULL : parse_expression(p, true);
	if (!parser_at_operator(p, ":"))
		return start;
	struct node *node = parser_node(p, NODE_SLICE, at);
	if (!node)
		return NULL;
	p->token++;
	node->a = start;
	if (!at_slice_end(p) && !parser_at_operator(p, ":") && !(node->b = parse_expression(p, true)))
		return NULL;
	if (parser_skip(p, TOKEN_OPERATOR, ":") && !at_slice_end(p) && !(node->c = parse_expression(p, true)))
		return NULL;
	return node;
}

static struct node *parse_subscript(struct parser *p, struct node *object)
{
	const struct token *at = p->token++;
	struct node_list items = {0};
	bool slices = false;
	while (!parser_at_operator(p, "]")) {
		if (items.first && !parser_expect(p, TOKEN_OPERATOR, ","))
			return NULL;
		struct node *item = parse_subscribed(p);
		if (!item)
			return NULL;
		slices |= item->kind == NODE_SLICE;
		node_append(&items, item);
	}
	p->token++;
	struct node *index = items.last;
	if (!index || items.first != index) {
		if (slices)
			return fail(p, at, "a slice among several indices");
		index = parser_node(p, NODE_TUPLE, at);
		if (!index)
			return NULL;
		index->list = items.first;
	}
	return binary(p, NODE_ITEM, at, object, index);
}

static struct node *parse_dot(struct parser *p, struct node *object)
{
	const struct token *at = p->token++;
	if (p->token->type == TOKEN_INTEGER)
		return binary(p, NODE_ITEM, at, object, parse_number(p));
	if (p->token->type != TOKEN_NAME)
		return fail(p, p->token, "expected name or number");
	struct node *node = parser_node(p, NODE_ATTRIBUTE, at);
	if (!node || !parser_string(p, node, p->token->text, p->token->n_text))
		return NULL;
	p->token++;
	node->a = object;
	return node;
}

static struct node *parse_postfix(struct parser *p, struct node *node)
{
	while (node) {
		if (parser_at_operator(p, "."))
			node = parse_dot(p, node);
		else if (parser_at_operator(p, "["))
			node = parse_subscript(p, node);
		else if (parser_at_operator(p, "("))
			node = parse_call(p, node);
		else
			break;
	}
	return node;
}

/* A name with dots, as filters and tests may have. */
static bool parse_dotted(struct parser *p, const char **name, size_t *n_name)
{
	if (p->token->type != TOKEN_NAME)
		return parser_unexpected(p, "a name");
	*name = p->token->text;
	*n_name = p->token->n_text;
	p->token++;
	while (parser_at_operator(p, ".") && p->token[1].type == TOKEN_NAME) {
		*n_name = (size_t)(p->token[1].text + p->token[1].n_text - *name);
		p->token += 2;
	}
	return true;
}

static bool remember_unknown(struct parser *p, const struct node *node, bool is_filter)
{
	if (p->soft)
		return true;
	if (p->n_unknown == p->unknown_capacity) {
		size_t capacity = p->unknown_capacity ? p->unknown_capacity * 2 : 16;
		struct unknown_row *grown = arena_array(&p->template->arena, capacity, sizeof *grown);
		if (!grown)
			return parser_fail(p, p->token, "no memory for the tree");
		if (p->n_unknown)
			memcpy(grown, p->unknown, p->n_unknown * sizeof *grown);
		p->unknown = grown;
		p->unknown_capacity = capacity;
	}
	p->unknown[p->n_unknown++] = (struct unknown_row){node, is_filter};
	return true;
}

struct node *parse_filters(struct parser *p, struct node *input, bool inline_start)
{
	while (inline_start || parser_at_operator(p, "|")) {
		const char *name = NULL;
		size_t n_name = 0;
		p->token += !inline_start;
		inline_start = false;
		struct node *node = parser_node(p, NODE_FILTER, p->token);
		if (!node || !parse_dotted(p, &name, &n_name) || !parser_string(p, node, name, n_name))
			return NULL;
		node->row = filter_find(name, n_name);
		node->a = input;
		if (!node->row && !remember_unknown(p, node, true))
			return NULL;
		if (parser_at_operator(p, "(") && !parse_arguments(p, &node->list))
			return NULL;
		input = node;
	}
	return input;
}

static bool at_test_argument(const struct parser *p)
{
	switch (p->token->type) {
	case TOKEN_NAME:
		return !parser_at_name(p, "else") && !parser_at_name(p, "or") && !parser_at_name(p, "and");
	case TOKEN_STRING:
	case TOKEN_INTEGER:
	case TOKEN_FLOAT:
		return true;
	default:
		return parser_at_operator(p, "(") || parser_at_operator(p, "[") || parser_at_operator(p, "{");
	}
}

static bool parse_test_arguments(struct parser *p, struct node *node)
{
	if (parser_at_operator(p, "("))
		return parse_arguments(p, &node->list);
	if (!at_test_argument(p))
		return true;
	if (parser_at_name(p, "is"))
		return parser_fail(p, p->token, "You cannot chain multiple tests with is");
	struct node *argument = parser_node(p, NODE_ARGUMENT, p->token);
	if (!argument || !(argument->a = parse_postfix(p, parse_primary(p))))
		return false;
	node->list = argument;
	return true;
}

static struct node *parse_test(struct parser *p, struct node *input)
{
	const struct token *at = p->token++;
	const char *name = NULL;
	size_t n_name = 0;
	bool negated = parser_skip(p, TOKEN_NAME, "not");
	struct node *node = parser_node(p, NODE_TEST, at);
	if (!node || !parse_dotted(p, &name, &n_name) || !parser_string(p, node, name, n_name))
		return NULL;
	node->row = test_find(name, n_name);
	node->a = input;
	if ((!node->row && !remember_unknown(p, node, false)) || !parse_test_arguments(p, node))
		return NULL;
	return negated ? binary(p, NODE_NOT, at, node, node) : node;
}

static struct node *parse_filter_expression(struct parser *p, struct node *node)
{
	while (node) {
		if (parser_at_operator(p, "|"))
			node = parse_filters(p, node, false);
		else if (parser_at_name(p, "is"))
			node = parse_test(p, node);
		else if (parser_at_operator(p, "("))
			node = parse_call(p, node);
		else
			break;
	}
	return node;
}

/* ---- operators, from the tightest to the loosest ---- */

static struct node *parse_unary(struct parser *p, bool with_filter)
{
	const struct token *at = p->token;
	struct node *node;
	if (parser_at_operator(p, "-") || parser_at_operator(p, "+")) {
		enum node_kind kind = *at->text == '-' ? NODE_NEGATE : NODE_PLUS;
		if (!parser_enter(p))
			return NULL;
		p->token++;
		struct node *operand = parse_unary(p, false);
		node = binary(p, kind, at, operand, operand);
		p->nesting--;
	} else {
		node = parse_primary(p);
	}
	node = parse_postfix(p, node);
	return with_filter ? parse_filter_expression(p, node) : node;
}

struct operator
{
	const char *text;
	enum op op;
};

static const struct operator* find_operator(const struct parser *p, const struct operator* list)
{
	for (; list->text; list++)
		if (parser_at_operator(p, list->text))
			return list;
	return NULL;
}

/* Operators of one level, from the left. */
static struct node *parse_level(struct parser *p, const struct operator* list,
                                struct node *(*parse_operand)(struct parser *p))
{
	const struct token *at = p->token;
	struct node *left = parse_operand(p);
	const struct operator* found;
	while (left && (found = find_operator(p, list)) != NULL) {
		p->token++;
		left = binary(p, NODE_BINARY, at, left, parse_operand(p));
		if (left)
			left->op = found->op;
		at = p->token;
	}
	return left;
}

static struct node *parse_operand(struct parser *p)
{
	return parse_unary(p, true);
}

/* A negative constant is written into what Python compiles, where ** goes before the sign: -2 ** n is -(2 ** n), unless
 * all is constant, which Jinja computes itself. */
static struct node *parse_power_of(struct parser *p, const struct token *at, struct node *base)
{
	size_t n_names = p->n_names_read;
	struct node *exponent = parse_operand(p);
	bool negative = base->kind == NODE_NEGATE && base->a->kind == NODE_CONSTANT && value_is_number(&base->a->value) &&
	                p->n_names_read != n_names;
	struct node *node = binary(p, NODE_BINARY, at, negative ? (struct node *)base->a : base, exponent);
	if (node)
		node->op = OP_POW;
	return negative ? binary(p, NODE_NEGATE, at, node, node) : node;
}

static struct node *parse_power(struct parser *p)
{
	const struct token *at = p->token;
	struct node *left = parse_operand(p);
	while (left && parser_skip(p, TOKEN_OPERATOR, "**")) {
		left = parse_power_of(p, at, left);
		at = p->token;
	}
	return left;
}

static struct node *parse_product(struct parser *p)
{
	static const struct operator list[] = {{"*", OP_MUL}, {"/", OP_DIV}, {"//", OP_FLOORDIV}, {"%", OP_MOD}, {NULL, 0}};
	return parse_level(p, list, parse_power);
}

static struct node *parse_concat(struct parser *p)
{
	const struct token *at = p->token;
	struct node *first = parse_product(p);
	if (!first || !parser_at_operator(p, "~"))
		return first;
	struct node_list parts = {0};
	struct node *node = parser_node(p, NODE_CONCAT, at);
	node_append(&parts, first);
	while (node && parser_skip(p, TOKEN_OPERATOR, "~")) {
		struct node *part = parse_product(p);
		if (!part)
			return NULL;
		node_append(&parts, part);
	}
	if (node)
		node->list = parts.first;
	return node;
}

static struct node *parse_sum(struct parser *p)
{
	static const struct operator list[] = {{"+", OP_ADD}, {"-", OP_SUB}, {NULL, 0}};
	return parse_level(p, list, parse_concat);
}

static bool parse_comparison(struct parser *p, enum op *op)
{
	static const struct operator list[] = {{"==", OP_EQ}, {"!=", OP_NE}, {"<", OP_LT}, {"<=", OP_LE},
	                                       {">", OP_GT},  {">=", OP_GE}, {NULL, 0}};
	const struct operator* found = find_operator(p, list);
	if (found) {
		*op = found->op;
		p->token++;
	} else if (parser_skip(p, TOKEN_NAME, "in")) {
		*op = OP_IN;
	} else if (parser_at_name(p, "not") && token_is(p->token + 1, TOKEN_NAME, "in")) {
		*op = OP_NOT_IN;
		p->token += 2;
	} else {
		return false;
	}
	return true;
}

static struct node *parse_compare(struct parser *p)
{
	const struct token *at = p->token;
	struct node *first = parse_sum(p);
	struct node_list operands = {0};
	enum op op;
	while (first && parse_comparison(p, &op)) {
		struct node *operand = parser_node(p, NODE_OPERAND, p->token);
		if (!operand || !(operand->a = parse_sum(p)))
			return NULL;
		operand->op = op;
		node_append(&operands, operand);
	}
	if (!first || !operands.first)
		return first;
	struct node *node = parser_node(p, NODE_COMPARE, at);
	if (node) {
		node->a = first;
		node->list = operands.first;
	}
	return node;
}

static struct node *parse_not(struct parser *p)
{
	const struct token *at = p->token;
	if (!parser_skip(p, TOKEN_NAME, "not"))
		return parse_compare(p);
	if (!parser_enter(p))
		return NULL;
	struct node *operand = parse_not(p);
	p->nesting--;
	return binary(p, NODE_NOT, at, operand, operand);
}

static struct node *parse_and(struct parser *p)
{
	const struct token *at = p->token;
	struct node *left = parse_not(p);
	while (left && parser_skip(p, TOKEN_NAME, "and"))
		left = binary(p, NODE_AND, at, left, parse_not(p));
	return left;
}

static struct node *parse_or(struct parser *p)
{
	const struct token *at = p->token;
	struct node *left = parse_and(p);
	while (left && parser_skip(p, TOKEN_NAME, "or"))
		left = binary(p, NODE_OR, at, left, parse_and(p));
	return left;
}

static struct node *parse_choice(struct parser *p)
{
	const struct token *at = p->token;
	size_t n_unknown = p->n_unknown;
	struct node *node = parse_or(p);
	bool soft = p->soft;
	while (node && parser_skip(p, TOKEN_NAME, "if")) {
		/* What stands before the `if` is in a branch, too. */
		p->n_unknown = n_unknown;
		p->soft = true;
		struct node *test = parse_or(p);
		struct node *choice = test ? parser_node(p, NODE_CHOICE, at) : NULL;
		if (!choice)
			return NULL;
		choice->a = node;
		choice->b = test;
		choice->line = at->line;
		if (parser_skip(p, TOKEN_NAME, "else")) {
			if (!parser_enter(p) || !(choice->c = parse_choice(p)))
				return NULL;
			p->nesting--;
		}
		node = choice;
	}
	p->soft = soft;
	return node;
}

struct node *parse_expression(struct parser *p, bool with_choice)
{
	if (!parser_enter(p))
		return NULL;
	struct node *node = with_choice ? parse_choice(p) : parse_or(p);
	p->nesting--;
	return node;
}

static bool at_tuple_end(const struct parser *p)
{
	return p->token->type == TOKEN_VARIABLE_END || p->token->type == TOKEN_BLOCK_END || parser_at_operator(p, ")");
}

bool parse_elements(struct parser *p, element_parser *parse, bool argument, struct node_list *items, bool *is_tuple)
{
	*items = (struct node_list){0};
	*is_tuple = false;
	while (!at_tuple_end(p)) {
		struct node *item = parse(p, argument);
		if (!item)
			return false;
		node_append(items, item);
		if (!parser_skip(p, TOKEN_OPERATOR, ","))
			break;
		*is_tuple = true;
	}
	return true;
}

struct node *parse_tuple(struct parser *p, unsigned flags)
{
	const struct token *at = p->token;
	struct node_list items;
	bool is_tuple;
	if (!parse_elements(p, parse_expression, !(flags & TUPLE_NO_CHOICE), &items, &is_tuple))
		return NULL;
	if (!is_tuple && items.first)
		return items.last;
	if (!is_tuple && !(flags & TUPLE_PARENTHESES)) {
		parser_unexpected(p, "an expression");
		return NULL;
	}
	struct node *node = parser_node(p, NODE_TUPLE, at);
	if (node)
		node->list = items.first;
	return node;
}
