/* JSON schemas to networks, in steps, each in its own file:
 *
 *   schema_document   what a schema's parts are called: resources ($id), anchors, where a $ref leads
 *   schema_facts      what was found out once, to be looked up
 *   schema_report     what is said of a schema and where; what may be looked at
 *   schema_expansion  the lists of an expansion, which grow with each way that is gone, and shrink when it is left
 *   schema_expand     a set of schemas that all hold (or must not hold) for one value, as alternatives: in each, a list of
 *                     plain demands (atoms) with nothing left to choose
 *   schema_negate     what it takes for a schema not to hold: one of its keywords fails
 *   schema_values     an alternative's atoms as a piece of network: scalars
 *   schema_arrays, schema_objects   the same for containers, whose parts are sets of schemas again
 *
 * So every keyword, negated ones too, ends as an automaton; a set of schemas that is met again is the same rule, which makes
 * recursion finite. Whatever has no exact automaton is refused where it stands. Alternatives that cannot be fulfilled need
 * not be found: network_trim takes them away.
 *
 * A literal is a number: twice a node, a schema that must hold, or one more, that must not hold. Its node is a schema
 * in its document together with the resources through which it was reached, on which $dynamicRef depends.
 */
#ifndef TALLOW_TEXT_GRAMMAR_SCHEMA_H
#define TALLOW_TEXT_GRAMMAR_SCHEMA_H

#include "base/arena.h"
#include "base/json.h"
#include "text/grammar/grammar_private.h"
#include "text/grammar/numbers.h"
#include "text/grammar/table.h"

enum { NODE_TRUE, NODE_FALSE }; /* the first nodes */
enum { LITERAL_TRUE = NODE_TRUE * 2, LITERAL_FALSE = NODE_FALSE * 2 };
#define RULE_DEAD UINT32_MAX /* of a set of literals that nothing fulfils */

struct schema_node {
	const struct json *value; /* NULL: true and false */
	uint32_t resource,
	    scope;     /* scope: the resources with dynamic anchors through which it was reached (schema_scopes) */
	bool is_value; /* no schema, but a constant that the value must equal */
	bool only_ref; /* $ref is all of it that counts: of draft 7 or older */
};

/* In the order in which they came. */
enum schema_draft { DRAFT_3, DRAFT_4, DRAFT_6, DRAFT_7, DRAFT_2019, DRAFT_2020 };

struct schema_resource {
	const struct json *root;
	const char *uri; /* without fragment; "" for a document without $id */
	enum schema_draft draft;
	bool has_dynamic;
};

struct schema_anchor {
	const struct json *target;
	uint32_t resource;
};

/* A list of resources, outermost first: `last` after those of `before`. Scope 0 is empty. */
struct schema_scope {
	uint32_t before, last;
};

/* What was found out once: `kind`, `about`, `text`, `a` and `b` are what it is known by, `value` or `found` is what is
 * known. */
enum schema_fact_kind {
	FACT_RESOURCE, /* about its root: the resource */
	FACT_URI,      /* text: the resource */
	FACT_ANCHOR,   /* a: a resource, text: the anchor */
	FACT_DYNAMIC,  /* the same of dynamic ones */
	FACT_SCOPE,    /* a: before, b: last; the scope */
	FACT_REF,      /* about a reference, a: the resource where it stands, b: its scope; the node */
	FACT_MEMBERS,  /* about an object: its members are facts */
	FACT_MEMBER,   /* about an object, text: a key; found: the member */
	FACT_PATTERN,  /* text; the language */
	FACT_PATTERNS, /* about patternProperties; the language of all of them */
	FACT_FORMAT,   /* a: which one; the language */
	FACT_NAMES,    /* a: the literal of a schema for names; the language */
};
struct schema_fact {
	enum schema_fact_kind kind;
	uint32_t a, b, value;
	const struct json *about, *found;
	const char *text; /* borrowed for as long as the schema is read */
	size_t n_text;
};

/* What was said, so that it is said once of each place. */
struct schema_remark {
	const struct json *place;
	const char *why;
};
struct schema_said {
	struct schema_remark remarks[GRAMMAR_MAX_REMARKS];
	size_t n;
};

/* A rule: literals that hold for one value. */
struct schema_rule {
	uint32_t first_literal, n_literals; /* in `literals` */
	uint32_t rule;                      /* of the network */
};

enum { SCHEMA_MAX_ALTERNATIVES = 4000, SCHEMA_MAX_ALL_ALTERNATIVES = 60000 };

struct schema {
	struct grammar *grammar;
	struct table_account *account; /* the grammar's: of all tables here, too */
	struct languages *l;
	struct network *net;
	struct grammar_report *report;
	struct schema_said refusals, notes;
	struct json *document;
	struct arena names, remarks; /* names of resources (account_alloc); what was said */
	struct schema_resource *resources;
	size_t n_resources, max_resources;
	struct schema_anchor *anchors;
	size_t n_anchors, max_anchors;
	struct schema_scope *scopes;
	size_t n_scopes, max_scopes;
	struct schema_node *nodes;
	size_t n_nodes, max_nodes;
	struct table_index node_index;
	struct schema_fact *facts;
	size_t n_facts, max_facts;
	struct table_index fact_index;
	struct schema_rule *rules;
	size_t n_rules, max_rules;
	struct table_index rule_index;
	uint32_t *literals;
	size_t n_literals, max_literals;
	size_t n_alternatives;
	uint64_t n_looks; /* that are no whole step yet */
	bool no_dialect;  /* the document has no $schema */
	bool refused;     /* something was; or memory is short */
};

/* ---- schema_report ---- */

/* Refuses `value`, a part of the document (NULL: all of it). Once for each place. */
void schema_refuse(struct schema *schema, const struct json *value, const char *format, ...) PRINTF_LIKE(3, 4);
void schema_note(struct schema *schema, const struct json *value, const char *format, ...) PRINTF_LIKE(3, 4);
void schema_out_of_memory(struct schema *schema); /* an allocation failed, or the account has no room */
void schema_too_large(struct schema *schema);     /* a bound was met: refuses all of the document */
/* Refuses all of the document where languages or network have failed. */
void schema_say_what_ran_out(struct schema *schema);
/* So many things are looked at, of which a few make a step (languages_allow): whatever is done for each of a list that a
 * schema makes long counts here. False where the schema is refused, now or before. */
bool schema_look(struct schema *schema, uint64_t n);

/* ---- schema_facts ---- */

/* The fact that is known by what `key` has; NULL: none is. */
const struct schema_fact *schema_fact(struct schema *schema, struct schema_fact key);
void schema_learn(struct schema *schema, struct schema_fact fact); /* the first stays where it is known */
/* As json_get, for objects of many members and names with any bytes. */
const struct json *schema_member(struct schema *schema, const struct json *object, const char *name, size_t n_name);

/* ---- schema_document ---- */

/* Finds resources and anchors. */
bool schema_find_resources(struct schema *schema);

/* A schema in place below another one (a keyword's value, or a part of it). */
uint32_t schema_node(struct schema *schema, uint32_t above, const struct json *value);
uint32_t schema_value_node(struct schema *schema, const struct json *value);
/* Where $ref or $dynamicRef leads; NODE_FALSE and a refusal where nowhere. */
uint32_t schema_ref(struct schema *schema, uint32_t above, const struct json *ref, bool dynamic);
enum schema_draft schema_draft(const struct schema *schema, uint32_t node);
bool schema_is_draft7(const struct schema *schema, uint32_t node); /* or older */
/* Does the keyword count in the draft of the schema, beside what else stands there? */
bool schema_keyword_counts(const struct schema *schema, uint32_t node, const struct json *keyword);
/* Refuses a keyword that says something in the draft of the schema, but nothing here. */
void schema_refuse_unsupported(struct schema *schema, uint32_t node, const struct json *keyword);

/* ---- rules ---- */

/* The network's rule for all of the literals at once (the list is sorted and shortened); RULE_DEAD where they contradict
 * each other plainly. */
uint32_t schema_rule_of(struct schema *schema, uint32_t *literals, size_t n_literals);

/* ---- schema_expand ---- */

enum {
	TYPE_NULL = 1,
	TYPE_BOOLEAN = 2,
	TYPE_NUMBER = 4,
	TYPE_STRING = 8,
	TYPE_ARRAY = 16,
	TYPE_OBJECT = 32,
	TYPE_ALL = 63,
};

/* What an atom demands of values of its type (others do not care). `below` is a literal for a part of the value. */
enum atom_kind {
	ATOM_LOWER,         /* number: `value` is a bound; low 1: itself out */
	ATOM_UPPER,         /* number */
	ATOM_INTEGER,       /* number; low 1: without a point or an exponent, as in draft 4 */
	ATOM_FRACTION,      /* number: no integer; low 1: or one with a point, which is none in draft 4 */
	ATOM_MULTIPLE,      /* number: in `language`; low 1: not in it */
	ATOM_AMONG,         /* scalars: one of the array `value` (or `value` itself); low 1: none of them */
	ATOM_TEXT,          /* string: in `language` */
	ATOM_LENGTH,        /* string: low..high characters */
	ATOM_ITEM,          /* array: item number low */
	ATOM_ITEMS,         /* array: items from number low on */
	ATOM_ITEM_COUNT,    /* array: low..high items */
	ATOM_CONTAINS,      /* array: low..high items are `below` */
	ATOM_UNIQUE,        /* array: no two items are equal */
	ATOM_SOME_ITEM,     /* array: an item from number low on is */
	ATOM_OTHER_ITEMS,   /* array: items that no atom of frame `low` speaks of */
	ATOM_MEMBER,        /* object: member `name` */
	ATOM_MATCHING,      /* object: members with names in `language` */
	ATOM_ADDITIONAL,    /* object: members whose names are not keys of `value` and not in `language` */
	ATOM_SOME_MEMBER,   /* object: some member, of those that ATOM_ADDITIONAL (`value` NULL: ATOM_MATCHING) speaks of */
	ATOM_NAMES,         /* object: all names are in `language` */
	ATOM_MEMBER_COUNT,  /* object */
	ATOM_REQUIRED,      /* object: there is a member `name` */
	ATOM_FORBIDDEN,     /* object: there is none */
	ATOM_OTHER_MEMBERS, /* object: members that no atom of frame `low` speaks of */
};

struct atom {
	enum atom_kind kind;
	uint32_t language;
	uint32_t below;
	uint32_t frame; /* the innermost enclosing schema with unevaluated*, for ATOM_OTHER_*; 0: none */
	uint64_t low, high;
	const char *name;
	size_t n_name;
	uint32_t hash;   /* of the name */
	uint32_t before; /* the atom before it with such a name (expansion_named), or without one; or NO_ATOM */
	const struct json *value;
	const struct json *keyword; /* what to refuse when the atom cannot be kept */
};
#define NO_ATOM UINT32_MAX

struct expansion;
/* Called for each alternative, while `atoms` are its own. */
typedef void take_alternative(struct expansion *expansion);

/* A literal that holds for the value itself, and the work whose keyword led to it (NO_WORK: none). `frame` is the frame of
 * its atoms: its own where it has unevaluated*. */
struct work {
	uint32_t literal;
	uint32_t frame, parent;
};
#define NO_WORK UINT32_MAX

/* One of several ways must be gone: of a keyword that holds, or of one of its parts (a dependency); `keyword` NULL: some
 * keyword of a negated literal fails. */
struct choice {
	uint32_t work;
	const struct json *keyword, *part;
	bool done;
};

/* Where an expansion stood, to go back there. */
struct expansion_mark {
	size_t n_atoms, n_work, n_choices, n_frames;
	unsigned types;
};

/* A choice whose ways are being gone, one after the other, each from the mark on. */
struct fork {
	size_t choice, way;         /* the next one */
	bool excluded;              /* of a negated literal: it cannot hold, so nothing more is asked for; or ... */
	const struct json *failing; /* ... the keyword whose ways to fail are being gone */
	struct expansion_mark mark;
};

struct expansion {
	struct schema *schema;
	take_alternative *take;
	uint32_t rule;     /* of take: the network's */
	uint32_t language; /* of take: what was gathered, strings ... */
	uint32_t texts;    /* ... and other scalars; */
	bool others;       /* and there were more */
	unsigned types;
	struct atom *atoms;
	size_t n_atoms, max_atoms;
	uint32_t *named; /* [n_named], a power of two: the last atom with a name of such a hash */
	size_t n_named;
	uint32_t unnamed; /* the last atom without a name */
	struct work *work;
	size_t n_work, max_work;
	struct choice *choices;
	size_t n_choices, max_choices;
	uint32_t *frames; /* [n] the frame around each; the first is none */
	size_t n_frames, max_frames;
	struct fork *forks; /* each met on the way of the one before */
	size_t n_forks, max_forks;
	size_t n_alternatives, n_runs;
	size_t n_visits; /* of a proof that is being tried */
};

/* Calls `take` for each alternative of the literals, for values of the types. */
void schema_expand(struct expansion *expansion, const uint32_t *literals, size_t n_literals);
/* For the files of expanding. */
void expansion_end(struct expansion *expansion);
struct expansion_mark expansion_mark(const struct expansion *expansion);
void expansion_go_back(struct expansion *expansion, struct expansion_mark mark);
uint32_t expansion_node(const struct expansion *expansion, uint32_t work);
void expansion_atom(struct expansion *expansion, uint32_t work, struct atom atom);
void expansion_work(struct expansion *expansion, uint32_t parent, uint32_t literal, const struct json *keyword);
/* The schema that is a keyword's value, or a part of it, must hold or must not. */
void expansion_below(struct expansion *expansion, uint32_t work, const struct json *schema, bool holds);
uint32_t expansion_literal(struct expansion *expansion, uint32_t work, const struct json *schema, bool holds);
void expansion_choice(struct expansion *expansion, struct choice choice);
void expansion_fork(struct expansion *expansion, struct fork fork);
uint32_t expansion_frame(struct expansion *expansion, uint32_t around);
/* The last atom that has the name (ATOM_MEMBER, ATOM_REQUIRED, ATOM_FORBIDDEN), and the one before; or NO_ATOM. */
uint32_t expansion_named(const struct expansion *expansion, const char *name, size_t n_name);
uint32_t expansion_named_before(const struct expansion *expansion, uint32_t atom);
/* The same of those without a name. */
uint32_t expansion_unnamed(const struct expansion *expansion);
uint32_t expansion_unnamed_before(const struct expansion *expansion, uint32_t atom);
bool expansion_requires(const struct expansion *expansion, const char *name, size_t n_name);
/* True when the atom's frame is `frame` or lies in it. */
bool expansion_in_frame(const struct expansion *expansion, const struct atom *atom, uint32_t frame);

/* schema_disjoint: quick proofs, which keep alternatives few. True where the atoms so far contradict the literal, and where
 * those from `first` on contradict others. */
bool expansion_excludes(struct expansion *expansion, uint32_t literal);
bool expansion_is_contradictory(struct expansion *expansion, size_t first);

/* schema_negate: adds what it takes for a keyword to fail in way number `way`; false where there is no such way. */
bool schema_fail_keyword(struct expansion *expansion, uint32_t work, const struct json *keyword, size_t way);
/* The same for a constant that is no scalar, not to be equal to it. */
bool schema_differ(struct expansion *expansion, uint32_t work, const struct json *value, size_t way);
/* Of a schema's `contains`: how many. */
bool schema_contains_range(struct schema *schema, uint32_t node, uint64_t *low, uint64_t *high);
/* Where `items` starts: behind prefixItems. */
uint64_t schema_prefix_length(const struct schema *schema, uint32_t node);

/* ---- keywords' values ---- */

bool schema_key_is(const struct json *member, const char *key);
uint32_t schema_pattern(struct schema *schema, const struct json *pattern, const char *text, size_t n_bytes);
/* All patterns of patternProperties, or LANGUAGE_NONE. */
uint32_t schema_patterns(struct schema *schema, const struct json *properties);
/* Strings of a format, LANGUAGE_NONE and a refusal where it has no such; false where it is not known. */
bool schema_format(struct schema *schema, const struct json *place, const char *name, uint32_t *language);
/* Of such strings those that a text may have: numbers of at most nine digits. A format sets no end to a duration's, or to the
 * fraction of a second; a model that cannot close the string where it would adds zeros, and no client reads what comes of
 * it. */
uint32_t schema_format_written(struct schema *schema, const char *name, uint32_t language);
/* Names that a schema for names takes. */
uint32_t schema_names(struct schema *schema, uint32_t literal);
/* Number of characters, items, members: a whole number at least 0. False with a refusal. */
bool schema_count(struct schema *schema, const struct json *value, uint64_t *count);
uint32_t schema_multiples(struct schema *schema, const struct json *value);
unsigned schema_types(struct schema *schema, const struct json *value, bool *integer);
bool schema_is_type(const struct json *value, enum json_type type); /* false for NULL */
/* A keyword that holds members, for its neighbours: NULL where it is none, or no object, which it is refused for itself. */
const struct json *schema_members(const struct json *schema, const char *keyword);
bool schema_is_scalar(const struct json *value);
bool schema_values_equal(const struct json *a, const struct json *b);

/* ---- alternatives as network ---- */

enum { SCHEMA_NO_MAX_COUNT = 1 << 24 }; /* more than a text can hold */

void schema_write_alternative(struct expansion *expansion);
void schema_write_array(struct expansion *expansion, uint32_t start, uint32_t end);
void schema_write_object(struct expansion *expansion, uint32_t start, uint32_t end);
/* A comma or colon with an optional blank behind it; returns the state before that. */
uint32_t schema_write_mark(struct schema *schema, uint32_t from, char mark, uint32_t to);
/* What fulfils the literals as lexemes: strings, as EDGE_STRING has them, and all else, where each number that needs an
 * exponent is one text. False where there is more, or its numbers have no canonical texts. */
bool schema_scalars(struct schema *schema, const uint32_t *literals, size_t n_literals, uint32_t *strings,
                    uint32_t *texts);

#endif
