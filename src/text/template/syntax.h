/* Tokens and the tree of a compiled template. Everything lies in the template's arena and is never written again. */
#ifndef TALLOW_TEXT_TEMPLATE_SYNTAX_H
#define TALLOW_TEXT_TEMPLATE_SYNTAX_H

#include "base/arena.h"
#include "base/error.h"
#include "text/template/values.h"

/* ---- tokens (lexer.c) ---- */

enum token_type {
	TOKEN_END,
	TOKEN_ERROR, /* text: what is wrong, NUL-terminated */
	TOKEN_DATA,
	TOKEN_BLOCK_BEGIN,
	TOKEN_BLOCK_END,
	TOKEN_VARIABLE_BEGIN,
	TOKEN_VARIABLE_END,
	TOKEN_NAME,
	TOKEN_STRING, /* text: what stands between the quotes */
	TOKEN_INTEGER,
	TOKEN_FLOAT,
	TOKEN_OPERATOR, /* text: itself */
};

struct token {
	enum token_type type;
	uint32_t offset, line; /* in the source */
	const char *text;
	size_t n_text;
};

/* Newlines become \n and one at the end goes, as Jinja reads a source. */
char *source_normalise(struct arena *arena, const char *source, size_t n_bytes, size_t *n_out);
/* All tokens, the last TOKEN_END or TOKEN_ERROR. NULL: no memory. */
struct token *lexer_run(struct arena *arena, const char *source, size_t n_bytes, size_t *n_tokens);

/* ---- the tree (parser.c, expressions.c) ---- */

enum op {
	OP_ADD,
	OP_SUB,
	OP_MUL,
	OP_DIV,
	OP_FLOORDIV,
	OP_MOD,
	OP_POW,
	OP_EQ,
	OP_NE,
	OP_LT,
	OP_LE,
	OP_GT,
	OP_GE,
	OP_IN,
	OP_NOT_IN,
};

enum node_kind {
	/* expressions */
	NODE_CONSTANT,  /* value */
	NODE_NAME,      /* name */
	NODE_LIST,      /* list */
	NODE_TUPLE,     /* list */
	NODE_DICT,      /* list: key, value, key, value, ... */
	NODE_ATTRIBUTE, /* a . value */
	NODE_ITEM,      /* a [ b ] */
	NODE_SLICE,     /* a : b : c, each may be NULL; only as b of NODE_ITEM */
	NODE_CALL,      /* a ( arguments in list ) */
	NODE_ARGUMENT,  /* a; value: the keyword, or none; spread: 0, 1 for *a, 2 for **a */
	NODE_FILTER,    /* a | row ( list ); a NULL in a filter block; value: its name */
	NODE_TEST,      /* a is row ( list ); value: its name */
	NODE_NOT,       /* a */
	NODE_NEGATE,    /* a */
	NODE_PLUS,      /* a */
	NODE_AND,       /* a, b */
	NODE_OR,        /* a, b */
	NODE_COMPARE,   /* a, then list of NODE_OPERAND */
	NODE_OPERAND,   /* op a */
	NODE_BINARY,    /* a op b */
	NODE_CONCAT,    /* list */
	NODE_CHOICE,    /* a if b else c; c may be NULL */
	NODE_MEMBER,    /* name . value: a namespace's member as a target */
	/* statements */
	NODE_TEXT,         /* value */
	NODE_PRINT,        /* list */
	NODE_IF,           /* a: test; body; c: the else part, a list */
	NODE_FOR,          /* a: target, b: iterable, c: test or NULL; body; other: else; recursive */
	NODE_SET,          /* a: target, b */
	NODE_SET_BLOCK,    /* a: target, b: filter or NULL; body */
	NODE_WITH,         /* list: target, value, ...; body */
	NODE_MACRO,        /* name; list: parameters; body */
	NODE_PARAMETER,    /* name; a: default or NULL */
	NODE_CALL_BLOCK,   /* a: NODE_CALL; b: NODE_MACRO, the caller */
	NODE_FILTER_BLOCK, /* b: filter; body */
	NODE_SCOPED,       /* body with names of its own: {% generation %}, {% block %} */
	NODE_BREAK,
	NODE_CONTINUE,
};

struct name_list {
	const uint32_t *names; /* [n_names] */
	uint32_t n_names;
};

struct node {
	enum node_kind kind;
	enum op op;
	uint32_t offset; /* in the source */
	uint32_t line;   /* of NODE_CHOICE */
	uint32_t name;   /* index into template->names */
	struct value value;
	const struct node *a, *b, *c;
	const struct node *list, *body, *other; /* first of a list */
	const struct node *next;                /* in the list that it stands in */
	const struct row *row;                  /* filters and tests; NULL: unknown, an error when it is reached */
	unsigned char spread;
	bool recursive;
	bool is_elif;
	bool is_block;                                  /* of NODE_SCOPED: what it sees is not the template's body's */
	bool at_root;                                   /* of a block: sees the template's own variables alone */
	bool has_closures;                              /* of a loop: its body makes macros, which keep its names */
	bool takes_varargs, takes_kwargs, takes_caller; /* of a macro: its body asks for them */
	bool caller_is_parameter;                       /* of a macro: one of its own, with a default */
	struct string constant;                         /* what value.string points to */
	struct name_list late, late_other;              /* of what has names of its own, and of a loop's else part */
};

struct name {
	const char *text;
	size_t n_text;
	const struct row *global; /* the function that it means when nothing else is set */
	/* What the parser has met: a block of that name, and the last list of parameters, by number, that has it. */
	bool is_block;
	uint32_t signature;
	bool late; /* of the template's body (late_names.c) */
};

struct template
{
	struct arena arena;
	struct name *names; /* [n_names] */
	uint32_t n_names;
	uint32_t *name_index; /* [name_index_size], open addressing, of name + 1 */
	size_t name_index_size;
	const struct node *body;
	const char *source; /* normalised; offsets count in it */
};

/* Names that the renderer knows; they are the first ones of every template. */
enum well_known_name { NAME_LOOP, NAME_CALLER, NAME_VARARGS, NAME_KWARGS, N_WELL_KNOWN_NAMES };

enum { NAME_UNKNOWN = UINT32_MAX };
/* A name's index, or NAME_UNKNOWN. */
uint32_t template_find_name(const struct template *template, const char *text, size_t n_text);

/* Fills template->names and body from the tokens. ERROR_MODEL with line and column. */
bool parser_run(struct template *template, const char *source, const struct token *tokens, struct error *error);

/* Of a parsed template: names that are undefined from the beginning of a body on, in `late` of nodes and names. False: no
 * memory. */
bool find_late_names(struct template *template, struct arena *scratch);

#endif
