/* What values look like as text: Python's str() and repr(). */
#include <assert.h>
#include <float.h>
#include <inttypes.h>
#include <locale.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "text/template/calls.h"
#include "text/unicode.h"

static bool reads_back(const char *digits, double number)
{
	double back;
	return text_to_float(digits, strlen(digits), &back) && back == number;
}

/* The fewest digits that read back, as "%e" writes them. Any 15 digits are those of some double, so that these with zeros
 * at the end are the fewest; next to zero, where doubles have fewer bits, it is as many digits as fit into them. */
static void shortest_digits(double number, char digits[40])
{
	int exponent;
	frexp(number, &exponent);
	int n_bits = exponent < DBL_MIN_EXP ? DBL_MANT_DIG - (DBL_MIN_EXP - exponent) : DBL_MANT_DIG;
	int n_safe = (n_bits - 1) * 301 / 1000; /* log10(2) = 0.301 */
	for (int precision = n_safe > 0 ? n_safe - 1 : 0; precision <= 16; precision++) {
		snprintf(digits, 40, "%.*e", precision, number);
		char *mark = strchr(digits, 'e');
		assert(mark);
		/* Above a power of two doubles are twice as far from each other as below it: the nearest 16 digits may be
		 * another double's where they are below it, and one more in the last place not. */
		if (precision == 15 && !reads_back(digits, number) && mark[-1] < '9')
			mark[-1]++;
		if (precision == 16 || reads_back(digits, number))
			return;
	}
}

/* As Python writes them: 1.0, 1e+16, 1e-05. */
size_t float_repr(double number, char out[40])
{
	char digits[40];
	int exponent = 0;
	if (isnan(number) || isinf(number))
		return (size_t)sprintf(out, "%s", isnan(number) ? "nan" : number < 0 ? "-inf" : "inf");
	shortest_digits(number, digits);
	const char *mark = strchr(digits, 'e');
	assert(mark);
	exponent = atoi(mark + 1);
	/* The mantissa without its point and its zeros at the end. */
	char mantissa[24] = "";
	int n = 0;
	for (const char *c = digits; c < mark; c++)
		if (*c >= '0' && *c <= '9')
			mantissa[n++] = *c;
	while (n > 1 && mantissa[n - 1] == '0')
		n--;
	const char *sign = signbit(number) ? "-" : "";
	if (exponent < -4 || exponent >= 16)
		return (size_t)sprintf(out, "%s%c%s%.*se%s%02d", sign, mantissa[0], n > 1 ? "." : "", n - 1, mantissa + 1,
		                       exponent < 0 ? "-" : "+", abs(exponent));
	if (exponent < 0)
		return (size_t)sprintf(out, "%s0.%.*s%.*s", sign, -exponent - 1, "0000", n, mantissa);
	if (n <= exponent + 1)
		return (size_t)sprintf(out, "%s%.*s%.*s.0", sign, n, mantissa, exponent + 1 - n, "0000000000000000");
	return (size_t)sprintf(out, "%s%.*s.%.*s", sign, exponent + 1, mantissa, n - exponent - 1, mantissa + exponent + 1);
}

/* str.isprintable */
static bool is_printable(uint32_t code)
{
	if (code < 0x7F)
		return code >= 0x20;
	switch (utf8proc_category((utf8proc_int32_t)code)) {
	case UTF8PROC_CATEGORY_CC:
	case UTF8PROC_CATEGORY_CF:
	case UTF8PROC_CATEGORY_CS:
	case UTF8PROC_CATEGORY_CO:
	case UTF8PROC_CATEGORY_CN:
	case UTF8PROC_CATEGORY_ZL:
	case UTF8PROC_CATEGORY_ZP:
	case UTF8PROC_CATEGORY_ZS:
		return false;
	default:
		return true;
	}
}

static void write_escape(struct builder *b, uint32_t code, char quote, bool from_data)
{
	char text[16];
	const char *simple = code == '\n'   ? "\\n"
	                     : code == '\r' ? "\\r"
	                     : code == '\t' ? "\\t"
	                     : code == '\\' ? "\\\\"
	                                    : NULL;
	if (simple)
		snprintf(text, sizeof text, "%s", simple);
	else if (code == (uint32_t)quote)
		snprintf(text, sizeof text, "\\%c", quote);
	else
		snprintf(text, sizeof text,
		         code < 0x100     ? "\\x%02" PRIx32
		         : code < 0x10000 ? "\\u%04" PRIx32
		                          : "\\U%08" PRIx32,
		         code);
	builder_add(b, text, strlen(text), from_data);
}

static void write_string_repr(struct builder *b, const struct string *s)
{
	bool single = memchr(s->bytes, '\'', s->n_bytes), twice = memchr(s->bytes, '"', s->n_bytes);
	char quote = single && !twice ? '"' : '\'';
	bool whole = s->from_data && !s->marks;
	size_t done = 0, length;
	if (!render_step(b->r, s->n_bytes / 16))
		b->failed = true;
	builder_add(b, &quote, 1, whole);
	for (size_t at = 0; at < s->n_bytes; at += length) {
		uint32_t code = char_decode(s->bytes + at, &length);
		if (is_printable(code) && code != '\\' && code != (uint32_t)quote)
			continue;
		builder_add_string(b, s, done, at);
		write_escape(b, code, quote, string_byte_from_data(s, at));
		done = at + length;
	}
	builder_add_string(b, s, done, s->n_bytes);
	builder_add(b, &quote, 1, whole);
}

static void write_items(struct builder *b, const struct list *list, const char *open, const char *close, bool from_data)
{
	builder_add(b, open, strlen(open), from_data);
	for (size_t i = 0; i < list->n_items && !b->failed; i++) {
		if (i > 0)
			builder_add(b, ", ", 2, from_data);
		value_write_repr(b, &list->items[i]);
	}
	builder_add(b, close, strlen(close), from_data);
}

static void write_dict(struct builder *b, const struct value *value)
{
	const struct dict *dict = value->dict;
	builder_add(b, "{", 1, value->from_data);
	for (size_t i = 0; i < dict->n_entries && !b->failed; i++) {
		if (i > 0)
			builder_add(b, ", ", 2, value->from_data);
		value_write_repr(b, &dict->entries[i].key);
		builder_add(b, ": ", 2, value->from_data);
		value_write_repr(b, &dict->entries[i].value);
	}
	builder_add(b, "}", 1, value->from_data);
}

static void write_number(struct builder *b, const struct value *value)
{
	char text[64];
	if (value->kind == VALUE_FLOAT && !float_steps(b->r, value->number))
		b->failed = true;
	if (value->kind == VALUE_FLOAT)
		float_repr(value->number, text);
	else
		snprintf(text, sizeof text, "%" PRId64, value->integer);
	builder_add(b, text, strlen(text), value->from_data);
}

static void write_view(struct builder *b, const struct value *value)
{
	struct list *items;
	if (!value_items(b->r, value, &items)) {
		b->failed = true;
		return;
	}
	builder_add_literal(b, value_type_name(value));
	write_items(b, items, "([", "])", value->from_data);
}

static void write_range(struct builder *b, const struct range *range)
{
	char text[100];
	int n = snprintf(text, sizeof text, "range(%" PRId64 ", %" PRId64, range->start, range->stop);
	if (range->step != 1)
		n += snprintf(text + n, sizeof text - (size_t)n, ", %" PRId64, range->step);
	snprintf(text + n, sizeof text - (size_t)n, ")");
	builder_add_literal(b, text);
}

/* Objects that have no text of their own; Python would write an address, too. */
static void write_object(struct builder *b, const struct value *value)
{
	char text[100];
	if (value->kind == VALUE_MACRO) {
		const struct name *name = &b->r->template->names[value->macro->node->name];
		snprintf(text, sizeof text, "<Macro '%.*s'>", (int)(name->n_text > 60 ? 60 : name->n_text), name->text);
	} else if (value->kind == VALUE_LOOP) {
		if (!loop_take(b->r, value->loop, SIZE_MAX)) {
			b->failed = true;
			return;
		}
		snprintf(text, sizeof text, "<LoopContext %zu/%zu>", value->loop->at + 1, value->loop->items->n_items);
	} else {
		snprintf(text, sizeof text, "<%s object>", value_type_name(value));
	}
	builder_add_literal(b, text);
}

static void write_namespace(struct builder *b, const struct value *value)
{
	struct value members = {.kind = VALUE_DICT, .dict = value->namespace->members};
	builder_add_literal(b, "<Namespace ");
	value_write_repr(b, &members);
	builder_add_literal(b, ">");
}

static void write_tuple(struct builder *b, const struct value *value)
{
	write_items(b, value->list, "(", value->list->n_items == 1 ? ",)" : ")", value->from_data);
}

static void write_kind(struct builder *b, const struct value *value)
{
	switch (value->kind) {
	case VALUE_UNDEFINED:
		builder_add_literal(b, "Undefined");
		break;
	case VALUE_NONE:
		builder_add(b, "None", 4, value->from_data);
		break;
	case VALUE_BOOL:
		builder_add(b, value->truth ? "True" : "False", value->truth ? 4 : 5, value->from_data);
		break;
	case VALUE_INT:
	case VALUE_FLOAT:
		write_number(b, value);
		break;
	case VALUE_BIG:
		builder_add_string(b, value->string, 0, value->string->n_bytes);
		break;
	case VALUE_STRING:
		if (value->safe)
			builder_add_literal(b, "Markup(");
		write_string_repr(b, value->string);
		if (value->safe)
			builder_add_literal(b, ")");
		break;
	case VALUE_LIST:
		write_items(b, value->list, "[", "]", value->from_data);
		break;
	case VALUE_TUPLE:
		write_tuple(b, value);
		break;
	case VALUE_DICT:
		write_dict(b, value);
		break;
	case VALUE_VIEW:
		write_view(b, value);
		break;
	case VALUE_RANGE:
		write_range(b, value->range);
		break;
	case VALUE_NAMESPACE:
		write_namespace(b, value);
		break;
	default:
		write_object(b, value);
	}
}

void value_write_repr(struct builder *b, const struct value *value)
{
	if (b->failed || !render_step(b->r, 1) || !render_enter(b->r)) {
		b->failed = true;
		return;
	}
	write_kind(b, value);
	render_leave(b->r);
}

void value_write_str(struct builder *b, const struct value *value)
{
	if (value->kind == VALUE_STRING)
		builder_add_string(b, value->string, 0, value->string->n_bytes);
	else if (value->kind != VALUE_UNDEFINED)
		value_write_repr(b, value);
}

bool value_str(struct render *r, const struct value *value, struct value *out)
{
	struct builder b = {.r = r};
	if (value->kind == VALUE_STRING) {
		*out = *value;
		out->safe = false;
		return true;
	}
	value_write_str(&b, value);
	return builder_finish(&b, out);
}

bool value_repr(struct render *r, const struct value *value, struct value *out)
{
	struct builder b = {.r = r};
	value_write_repr(&b, value);
	return builder_finish(&b, out);
}

bool value_ascii(struct render *r, const struct value *value, struct value *out)
{
	struct builder b = {.r = r};
	struct value repr;
	size_t done = 0, length;
	if (!value_repr(r, value, &repr))
		return false;
	const struct string *s = repr.string;
	for (size_t at = 0; at < s->n_bytes; at += length) {
		uint32_t code = char_decode(s->bytes + at, &length);
		if (code < 0x80)
			continue;
		builder_add_string(&b, s, done, at);
		write_escape(&b, code, 0, string_byte_from_data(s, at));
		done = at + length;
	}
	builder_add_string(&b, s, done, s->n_bytes);
	return builder_finish(&b, out);
}
