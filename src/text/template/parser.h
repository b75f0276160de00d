/* What the parser of statements (parser.c) and that of expressions (expressions.c) share. */
#ifndef TALLOW_TEXT_TEMPLATE_PARSER_H
#define TALLOW_TEXT_TEMPLATE_PARSER_H

#include "text/template.h"
#include "text/template/syntax.h"

/* A filter or test that does not exist: an error unless a branch turns out to stand around it. */
struct unknown_row {
	const struct node *node;
	bool is_filter;
};

struct parser {
	struct template *template;
	const char *source;
	const struct token *token; /* the current one */
	struct error *error;
	int nesting;
	bool soft; /* directly in a branch: unknown filters and tests wait until they are reached */
	struct unknown_row *unknown;
	size_t n_unknown, unknown_capacity;
	size_t n_closures;     /* macros and call blocks so far */
	size_t n_loop_stores;  /* targets named loop, which no loop may hold */
	size_t n_names_read;   /* in expressions so far */
	size_t n_loops;        /* loops that are open: break and continue need one */
	uint32_t n_signatures; /* lists of parameters so far */
	/* Of caller, varargs and kwargs, a bit each (1 << NAME_CALLER): those that the innermost macro's body asks for, and
	 * those that it has set, of which it asks for none from then on. */
	unsigned asked, stored;
};

bool parser_fail(struct parser *p, const struct token *at, const char *format, ...) PRINTF_LIKE(3, 4);
bool parser_unexpected(struct parser *p, const char *wanted); /* the current token is not what is wanted */
struct node *parser_node(struct parser *p, enum node_kind kind, const struct token *at);
bool parser_enter(struct parser *p); /* one level deeper; error beyond the limit */
uint32_t parser_name(struct parser *p, const char *text, size_t n_text);
/* A name that is going to be set; an error for what is a constant. */
bool parser_check_target(struct parser *p, const struct token *name);
static inline unsigned special_bit(uint32_t name)
{
	return name >= NAME_CALLER && name <= NAME_KWARGS ? 1u << name : 0;
}
bool parser_string(struct parser *p, struct node *node, const char *text, size_t n_text);

bool token_is(const struct token *token, enum token_type type, const char *text);
static inline bool parser_at_operator(const struct parser *p, const char *text)
{
	return token_is(p->token, TOKEN_OPERATOR, text);
}
static inline bool parser_at_name(const struct parser *p, const char *text)
{
	return token_is(p->token, TOKEN_NAME, text);
}
bool parser_skip(struct parser *p, enum token_type type, const char *text); /* true when it was there */
bool parser_expect(struct parser *p, enum token_type type, const char *text);

/* Appends to a list of nodes. */
struct node_list {
	const struct node *first;
	struct node *last;
};
void node_append(struct node_list *list, struct node *node);

/* ---- expressions; NULL: an error ---- */

enum tuple_flags { TUPLE_NO_CHOICE = 1, TUPLE_PARENTHESES = 2 };
struct node *parse_expression(struct parser *p, bool with_choice);
/* One expression, or a tuple of several. */
struct node *parse_tuple(struct parser *p, unsigned flags);
/* Elements with commas between them, up to the end of a tuple; *is_tuple: there was a comma. False: refused. */
typedef struct node *element_parser(struct parser *p, bool argument);
bool parse_elements(struct parser *p, element_parser *parse, bool argument, struct node_list *items, bool *is_tuple);
struct node *parse_filters(struct parser *p, struct node *input, bool inline_start);
/* In targets.c. A name, a tuple of names, or (with_namespace) a namespace's member. */
struct node *parse_target(struct parser *p, bool with_namespace);

#endif
