/* Values of a template, as Python has them: strings are counted in characters, integers do not wrap, lists, tuples and
 * dicts are never changed once made (the sandbox forbids it), so that slices and copies share what they can.
 *
 * All memory is the rendering's arena. A false or NULL return means that the rendering has failed (render.h).
 */
#ifndef TALLOW_TEXT_TEMPLATE_VALUES_H
#define TALLOW_TEXT_TEMPLATE_VALUES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct render;
struct node;
struct arguments;
struct scope;
struct row;
struct call;

enum value_kind {
	VALUE_MISSING, /* no value at all: an argument not given, a name not set */
	VALUE_UNDEFINED,
	VALUE_NONE,
	VALUE_BOOL,
	VALUE_INT,
	VALUE_BIG, /* an integer of the conversation beyond 64 bits: its digits; it can only be written */
	VALUE_FLOAT,
	VALUE_STRING,
	VALUE_LIST,
	VALUE_TUPLE,
	VALUE_DICT,
	VALUE_RANGE,
	VALUE_ITERATOR, /* a generator: items can be taken once */
	VALUE_VIEW,     /* keys, values or items of a dict */
	VALUE_NAMESPACE,
	VALUE_MACRO,
	VALUE_CALLABLE, /* a global function, or a method with its object */
	VALUE_LOOP,
	VALUE_CYCLER,
	VALUE_JOINER,
};

enum view_kind { VIEW_KEYS, VIEW_VALUES, VIEW_ITEMS };

struct value {
	unsigned char kind;   /* enum value_kind */
	unsigned char detail; /* of a view: enum view_kind; of an iterator: what Python calls it; of a tuple: a group */
	bool from_data;       /* the conversation's: scalars and containers; strings know it per byte */
	bool safe;            /* of a string: Markup, which escapes what is added to it */
	union {
		bool truth;
		int64_t integer;
		double number;
		struct string *string; /* also of VALUE_BIG */
		struct list *list;     /* also of tuples */
		struct dict *dict;     /* also of views */
		struct range *range;
		struct iterator *iterator;
		struct namespace *namespace;
		struct macro *macro;
		struct callable *callable;
		struct loop *loop;
		struct cycler *cycler;
		struct undefined *undefined;
	};
};

/* Bytes with room behind them: whoever ends at `used` may be appended to in place. */
struct string_room {
	char *bytes;
	unsigned char *marks; /* NULL while all bytes are of one origin */
	size_t used, capacity;
};

enum { CHARS_UNKNOWN = -1 };

struct string {
	const char *bytes; /* valid UTF-8 */
	size_t n_bytes;
	int64_t n_chars;            /* or CHARS_UNKNOWN */
	const unsigned char *marks; /* [n_bytes], 1 = the conversation's; NULL: all as from_data says */
	bool from_data;
	struct string_room *room; /* NULL: none */
};

struct list_room {
	struct value *items;
	size_t used, capacity;
};

struct list {
	struct value *items; /* [n_items] */
	size_t n_items;
	struct list_room *room;
};

struct dict_entry {
	struct value key, value;
	uint64_t hash;
};

struct dict {
	struct dict_entry *entries; /* in the order of insertion */
	size_t n_entries, capacity;
	uint32_t *index; /* open addressing, [index_size] of entry + 1; NULL while small */
	size_t index_size;
};

struct range {
	int64_t start, stop, step;
	size_t n_items;
};

/* An item of it: all fit, but not each product on the way. */
static inline int64_t range_at(const struct range *range, size_t i)
{
	return (int64_t)((uint64_t)range->start + (uint64_t)i * (uint64_t)range->step);
}

/* Generators are lazy in Python: nothing happens before an item is asked for. */
struct iterator {
	const struct call *call; /* what makes the items; NULL: no more than `items` */
	struct iterator *source; /* of the call's input, from the first item on */
	const struct row *row;   /* of map and select: what is applied to each item */
	void *state;             /* what others keep from one item to the next */
	bool running;            /* its row is making an item */
	struct list *items;      /* that are there; NULL: none */
	size_t at;               /* of the next one of them */
};

struct namespace
{
	struct dict *members;
};

struct undefined {
	enum { UNDEFINED_NAME, UNDEFINED_MEMBER, UNDEFINED_HINT, UNDEFINED_UNSAFE } form;
	struct value name;     /* of the variable or member; the hint itself */
	const char *type_name; /* of what has no such member: as object_type_repr writes it */
};

struct macro {
	const struct node *node;
	struct scope *scope; /* where it was defined */
};

struct callable {
	const struct row *row; /* calls.h */
	struct value self;     /* VALUE_MISSING: a global function */
};

struct loop {
	const struct node *node;
	struct list *items;      /* taken so far */
	struct iterator *source; /* of the others; NULL: there are none */
	bool running;            /* its test is looking at an item */
	size_t at;               /* index0 */
	struct value changed;
	int depth0;
	struct scope *scope; /* around the loop */
};

struct cycler {
	struct list *items;
	size_t at;
};

/* ---- making ---- */

static inline struct value value_none(void)
{
	return (struct value){.kind = VALUE_NONE};
}

static inline struct value value_bool(bool truth)
{
	return (struct value){.kind = VALUE_BOOL, .truth = truth};
}

static inline struct value value_int(int64_t integer)
{
	return (struct value){.kind = VALUE_INT, .integer = integer};
}

static inline struct value value_float(double number)
{
	return (struct value){.kind = VALUE_FLOAT, .number = number};
}

static inline struct value value_list(struct list *list)
{
	return (struct value){.kind = VALUE_LIST, .list = list};
}

/* Bytes that outlive the rendering or lie in its arena. */
bool value_text(struct render *r, const char *bytes, size_t n_bytes, bool from_data, struct value *out);
bool value_literal(struct render *r, const char *text, struct value *out); /* NUL-terminated, the template's */
bool value_undefined_name(struct render *r, const char *name, size_t n_bytes, struct value *out);
bool value_undefined_hint(struct render *r, const char *hint, struct value *out); /* the hint is copied */
/* `object` has no member `name`. */
bool value_undefined_member(struct render *r, const struct value *object, const struct value *name, struct value *out);
bool value_undefined_unsafe(struct render *r, const struct value *object, const struct value *name, struct value *out);
/* Fails with what the undefined value stands for. */
bool value_undefined_fail(struct render *r, const struct value *undefined);

struct list *list_new(struct render *r, size_t n_items);
/* Adds to a list that no value is yet. */
bool list_add(struct render *r, struct list *list, const struct value *item);
struct dict *dict_new(struct render *r, size_t capacity);
bool dict_set(struct render *r, struct dict *dict, const struct value *key, const struct value *value);
/* *found is NULL when absent; false: the key cannot be hashed (the rendering has failed). */
bool dict_find(struct render *r, const struct dict *dict, const struct value *key, const struct value **found);
bool dict_find_text(struct render *r, const struct dict *dict, const char *bytes, size_t n_bytes,
                    const struct value **found);
bool value_hashable(const struct value *value);
/* Before something is looked up by it: takes the steps for its length; TypeError when it cannot be hashed. */
bool value_check_key(struct render *r, const struct value *key);
/* An iterator over a list that is there already; `name` an enum iterator_name. */
enum iterator_name { ITERATOR_GENERATOR, ITERATOR_REVERSED };
bool value_iterator(struct render *r, struct list *items, enum iterator_name name, struct value *out);
/* Over whatever has items; an iterator is its own. */
bool iterator_over(struct render *r, const struct value *value, struct iterator **out);
/* The next item; VALUE_MISSING when there is none. */
bool iterator_next(struct render *r, struct iterator *iterator, struct value *out);
/* The next n_max items, or as many as there are. */
bool iterator_take(struct render *r, struct iterator *iterator, size_t n_max, struct list **out);
/* Of a loop: its items up to the n-th, or as many as there are. */
bool loop_take(struct render *r, struct loop *loop, size_t n);

/* ---- asking ---- */

bool value_true(const struct value *value);
const char *value_type_name(const struct value *value);   /* "str", "NoneType" */
const char *value_object_repr(const struct value *value); /* "list object", "None": as Jinja names it in errors */
static inline bool value_is_number(const struct value *v)
{
	return v->kind >= VALUE_BOOL && v->kind <= VALUE_FLOAT && v->kind != VALUE_BIG;
}
/* Of booleans and integers; 0 of others. */
static inline bool value_integral(const struct value *v, int64_t *out)
{
	*out = v->kind == VALUE_INT ? v->integer : v->kind == VALUE_BOOL && v->truth;
	return v->kind == VALUE_INT || v->kind == VALUE_BOOL;
}
double value_as_double(const struct value *value); /* of a number */
static inline bool value_is_text(const struct value *v, const char *text, size_t n)
{
	return v->kind == VALUE_STRING && v->string->n_bytes == n && !__builtin_memcmp(v->string->bytes, text, n);
}
int64_t string_chars(struct string *string);

/* All items of something iterable; an iterator is used up. The list may be shared: it is not to be changed. */
bool value_items(struct render *r, const struct value *value, struct list **out);
bool value_length(struct render *r, const struct value *value, size_t *out);
bool value_equal(struct render *r, const struct value *a, const struct value *b, bool *out);
/* a < b as Python orders; `op` is for the message ("<"). */
bool value_less(struct render *r, const struct value *a, const struct value *b, const char *op, bool *out);
bool value_contains(struct render *r, const struct value *container, const struct value *item, bool *out);

/* ---- strings ---- */

struct builder {
	struct render *r;
	char *bytes;
	unsigned char *marks;
	size_t n_bytes, capacity;
	bool from_data; /* of all bytes while there are no marks */
	bool failed;
};

void builder_add(struct builder *b, const char *bytes, size_t n_bytes, bool from_data);
/* marks as in struct string. */
void builder_add_marked(struct builder *b, const char *bytes, size_t n_bytes, const unsigned char *marks,
                        bool from_data);
void builder_add_string(struct builder *b, const struct string *s, size_t start, size_t end); /* its bytes */
void builder_add_literal(struct builder *b, const char *text);
bool builder_finish(struct builder *b, struct value *out); /* false when any addition failed */

static inline bool string_byte_from_data(const struct string *s, size_t at)
{
	return s->marks ? s->marks[at] : s->from_data;
}
/* Bytes [start, end) of a string, which are shared. */
bool string_slice(struct render *r, const struct string *s, size_t start, size_t end, struct value *out);
size_t string_offset(const struct string *s, int64_t n_chars); /* of a character; n_bytes beyond the end */
bool string_concat(struct render *r, struct string *a, const struct string *b, struct value *out);
/* Python's str() and repr(). */
bool value_str(struct render *r, const struct value *value, struct value *out);
bool value_repr(struct render *r, const struct value *value, struct value *out);
bool value_ascii(struct render *r, const struct value *value, struct value *out); /* ascii() */
void value_write_repr(struct builder *b, const struct value *value);
void value_write_str(struct builder *b, const struct value *value);
size_t float_repr(double number, char out[40]);
/* White space as str.strip and str.split know it. */
bool char_is_python_space(uint32_t code);

#endif
