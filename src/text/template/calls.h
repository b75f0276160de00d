/* What a template can call: filters, tests, methods and functions are rows of tables. A row names its parameters as Python
 * does, so that arguments arrive by position or by keyword. */
#ifndef TALLOW_TEXT_TEMPLATE_CALLS_H
#define TALLOW_TEXT_TEMPLATE_CALLS_H

#include "text/template/render.h"

struct keyword {
	struct value name; /* a string */
	struct value value;
};

struct arguments {
	const struct value *positional; /* [n_positional] */
	size_t n_positional;
	const struct keyword *keywords; /* [n_keywords] */
	size_t n_keywords;
};

enum { CALL_MAX_SLOTS = 6 };

/* One call: what it is applied to, and its arguments in the order of the row's parameters. */
struct call {
	const struct row *row;
	struct value input;                /* of filters and tests; the object of a method */
	struct value slot[CALL_MAX_SLOTS]; /* VALUE_MISSING where none was given */
	const struct arguments *arguments; /* all, for rows without parameters of their own */
};

struct row {
	const char *name;
	/* Names of the parameters, with spaces between; NULL: any arguments, which the function reads itself. */
	const char *parameters;
	int n_required;
	bool (*run)(struct render *r, const struct call *call, struct value *out);
	/* In place of run: the row makes a generator, and this its next item; VALUE_MISSING: no more. */
	bool (*next)(struct render *r, struct iterator *iterator, struct value *out);
};

const struct row *filter_find(const char *name, size_t n_bytes);
const struct row *test_find(const char *name, size_t n_bytes);
const struct row *global_find(const char *name, size_t n_bytes);
/* A method of the value's type; NULL when it has none of that name. */
const struct row *method_find(const struct value *object, const char *name, size_t n_bytes);

extern const struct row text_filters[], sequence_filters[], number_filters[]; /* each ends with a row without a name */
extern const struct row test_rows[], global_rows[];
extern const struct row string_methods[], string_more_methods[], container_methods[];

bool call_row(struct render *r, const struct row *row, const struct value *input, const struct arguments *arguments,
              struct value *out);
/* Any value; TypeError when it cannot be called. */
bool call_value(struct render *r, const struct value *callee, const struct arguments *arguments, struct value *out);

/* ---- arguments ---- */

static inline bool slot_given(const struct call *call, int slot)
{
	return call->slot[slot].kind != VALUE_MISSING;
}
/* The slot's value as a Python function takes it; *out keeps its default when the slot is empty. TypeError otherwise. */
bool slot_int(struct render *r, const struct call *call, int slot, int64_t *out);
static inline bool slot_true(const struct call *call, int slot)
{
	return value_true(&call->slot[slot]);
}
bool slot_string(struct render *r, const struct call *call, int slot, struct string **out);
/* str() of the input. */
bool input_string(struct render *r, const struct call *call, struct string **out);

/* A path of attributes, "a.b.0"; VALUE_MISSING or none: the item itself. The fallback stands for each part of it that is
 * undefined; NULL, VALUE_MISSING or none: there is no fallback. */
bool attribute_path(struct render *r, const struct value *item, const struct value *path, const struct value *fallback,
                    struct value *out);
/* Sorts stably by keys, one list of keys or one value per item. */
bool sort_items(struct render *r, struct list *items, const struct value *keys, bool reverse);
/* Lower-cased strings, as filters compare them. */
bool ignore_case(struct render *r, const struct value *value, struct value *out);

/* ---- parts of several filters and methods ---- */

bool string_upper(struct render *r, const struct string *s, struct value *out);
bool string_lower(struct render *r, const struct string *s, struct value *out);
bool string_capitalize(struct render *r, const struct string *s, struct value *out);
bool string_strip(struct render *r, struct string *s, const struct value *chars, int sides, struct value *out);
bool string_replace(struct render *r, const struct string *s, const struct string *old, const struct string *new,
                    int64_t count, struct value *out);
bool string_splitlines(struct render *r, const struct string *s, bool keep_ends, struct list **out);
bool string_join(struct render *r, const struct string *between, const struct list *items, bool any, struct value *out);
bool string_center(struct render *r, struct string *s, int64_t width, struct value *out);
bool string_escape(struct render *r, const struct string *s, struct value *out);
/* The text of any value, escaped unless it is safe already. */
bool value_escape(struct render *r, const struct value *value, struct value *out);
static inline bool value_is_safe(const struct value *value)
{
	return value->kind == VALUE_STRING && value->safe;
}
bool string_reverse(struct render *r, const struct string *s, struct value *out);
/* The first place of `part` in bytes [from, end), or SIZE_MAX. */
size_t string_find(const struct string *s, const struct string *part, size_t from, size_t end);
size_t string_find_last(const struct string *s, const struct string *part, size_t from, size_t end);
/* The steps for one search through all of s, or for several that do not overlap. */
bool search_steps(struct render *r, const struct string *s, const struct string *part, bool last);
enum { STRIP_LEFT = 1, STRIP_RIGHT = 2 };
/* int(text, base) and float(text); false: not a number (the rendering goes on). */
bool text_to_int(const char *text, size_t n_bytes, int base, int64_t *out, bool *too_large);
bool text_to_float(const char *text, size_t n_bytes, double *out);
/* The steps for reading a float, writing it or dividing it with a rest: all take time with its exponent. */
bool float_steps(struct render *r, double number);
double double_round(double number, int digits); /* to decimal digits, ties as Python's round breaks them */

/* "%s" % x and "{}".format(x): a safe string escapes what is put into it. */
bool format_percent(struct render *r, const struct value *text, const struct value *arguments, struct value *out);
bool format_braces(struct render *r, const struct value *text, const struct arguments *arguments, struct value *out);
bool format_time(struct render *r, const struct string *format, struct value *out);
/* json.dumps. */
bool json_dump(struct render *r, const struct call *call, struct value *out);

#endif
