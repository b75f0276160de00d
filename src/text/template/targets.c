/* The parser of what is assigned to. */
#include "text/template/parser.h"

static struct node *parse_target_item(struct parser *p, bool with_namespace)
{
	const struct token *at = p->token;
	struct node *node;
	if (parser_skip(p, TOKEN_OPERATOR, "(")) {
		if (!parser_enter(p))
			return NULL;
		node = parse_target(p, with_namespace);
		p->nesting--;
		return node && parser_expect(p, TOKEN_OPERATOR, ")") ? node : NULL;
	}
	if (at->type != TOKEN_NAME) {
		parser_unexpected(p, "a name to assign to");
		return NULL;
	}
	bool member = with_namespace && token_is(at + 1, TOKEN_OPERATOR, ".");
	p->token++;
	if (!member && !parser_check_target(p, at))
		return NULL;
	node = parser_node(p, member ? NODE_MEMBER : NODE_NAME, at);
	if (!node)
		return NULL;
	node->name = parser_name(p, at->text, at->n_text);
	p->n_loop_stores += !member && node->name == NAME_LOOP;
	p->stored |= member ? 0 : special_bit(node->name);
	if (!member)
		return node;
	p->token++;
	if (p->token->type != TOKEN_NAME || !parser_string(p, node, p->token->text, p->token->n_text)) {
		parser_unexpected(p, "a name");
		return NULL;
	}
	p->token++;
	return node;
}

struct node *parse_target(struct parser *p, bool with_namespace)
{
	const struct token *at = p->token;
	struct node_list items;
	bool is_tuple;
	if (!parse_elements(p, parse_target_item, with_namespace, &items, &is_tuple))
		return NULL;
	if (!items.first) {
		parser_unexpected(p, "a name to assign to");
		return NULL;
	}
	if (!is_tuple)
		return items.last;
	struct node *node = parser_node(p, NODE_TUPLE, at);
	if (node)
		node->list = items.first;
	return node;
}
