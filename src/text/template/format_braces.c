/* "{} {name.field[0]!r:>5}".format(...): Python's format strings, with the look-ups that the sandbox allows. */
#include <string.h>

#include "text/template/format_spec.h"
#include "text/unicode.h"

struct braces {
	struct render *r;
	const struct arguments *arguments;
	bool escapes;
	size_t next;            /* of the fields without a number */
	bool automatic, manual; /* both may not be used together */
};

static bool format_text(struct braces *f, const struct string *s, int depth, struct value *out);

static bool fail_value(struct braces *f, const char *message)
{
	return render_fail(f->r, "ValueError", "%s", message);
}

/* ---- the field's value ---- */

static bool is_number(const char *text, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (text[i] < '0' || text[i] > '9')
			return false;
	return n > 0 && n < 9;
}

static int64_t number_of(const char *text, size_t n)
{
	int64_t value = 0;
	for (size_t i = 0; i < n; i++)
		value = value * 10 + (text[i] - '0');
	return value;
}

/* Only an empty field is numbered, and only what is a number as a whole ends that. */
static bool first_value(struct braces *f, const char *name, size_t n, bool whole, struct value *out)
{
	if ((n == 0 && whole) || is_number(name, n)) {
		if (whole)
			*(n == 0 ? &f->automatic : &f->manual) = true;
		if (whole && f->automatic && f->manual)
			return fail_value(f, "cannot switch between manual field specification and automatic field numbering");
		size_t index = n == 0 ? f->next++ : (size_t)number_of(name, n);
		if (index >= f->arguments->n_positional)
			return render_fail(f->r, "IndexError", "Replacement index %zu out of range for positional args tuple",
			                   index);
		*out = f->arguments->positional[index];
		return true;
	}
	if (!render_step(f->r, f->arguments->n_keywords / 8 * (1 + n / 64)))
		return false;
	for (size_t i = 0; i < f->arguments->n_keywords; i++) {
		if (value_is_text(&f->arguments->keywords[i].name, name, n)) {
			*out = f->arguments->keywords[i].value;
			return true;
		}
	}
	return render_fail(f->r, "KeyError", "'%.*s'", (int)(n > 80 ? 80 : n), name);
}

/* name, then .attribute and [item] */
static bool field_value(struct braces *f, const struct string *s, size_t start, size_t end, struct value *out)
{
	size_t at = start;
	while (at < end && s->bytes[at] != '.' && s->bytes[at] != '[')
		at++;
	if (!first_value(f, s->bytes + start, at - start, at == end, out))
		return false;
	while (at < end) {
		struct value key, object = *out;
		bool attribute = s->bytes[at] == '.';
		size_t from = ++at;
		while (at < end && (attribute ? s->bytes[at] != '.' && s->bytes[at] != '[' : s->bytes[at] != ']'))
			at++;
		if (at == from || (!attribute && at == end))
			return fail_value(f, "Empty attribute in format string");
		if (!string_slice(f->r, s, from, at, &key))
			return false;
		if (!attribute && is_number(s->bytes + from, at - from))
			key = value_int(number_of(s->bytes + from, at - from));
		if (!(attribute ? value_attribute(f->r, &object, &key, out) : value_item(f->r, &object, &key, out)))
			return false;
		at += !attribute;
	}
	return true;
}

/* ---- the field's form ---- */

static bool is_align(char c)
{
	return c && strchr("<>=^", c);
}

static bool read_spec(struct braces *f, const struct string *s, struct format_spec *spec)
{
	size_t at = 0, fill = s->n_bytes ? char_length((unsigned char)s->bytes[0]) : 0;
	*spec = (struct format_spec){.precision = -1};
	if (fill && fill < s->n_bytes && is_align(s->bytes[fill])) {
		spec->fill =
		    (struct string){.bytes = s->bytes, .n_bytes = fill, .n_chars = 1, .from_data = string_byte_from_data(s, 0)};
		spec->align = s->bytes[fill];
		at = fill + 1;
	} else if (s->n_bytes && is_align(s->bytes[0])) {
		spec->align = s->bytes[0];
		at = 1;
	}
	if (at < s->n_bytes && strchr("+- ", s->bytes[at]) && s->bytes[at])
		spec->sign = s->bytes[at++];
	if (at < s->n_bytes && s->bytes[at] == '#') {
		spec->alternate = true;
		at++;
	}
	if (at < s->n_bytes && s->bytes[at] == '0') {
		spec->zero = true;
		at++;
	}
	if (!format_read_int(s, &at, &spec->width))
		return fail_value(f, "Too many decimal digits in format string");
	if (at < s->n_bytes && (s->bytes[at] == ',' || s->bytes[at] == '_'))
		spec->thousands = s->bytes[at++];
	if (spec->thousands && at < s->n_bytes && (s->bytes[at] == ',' || s->bytes[at] == '_'))
		return fail_value(f, "only one of ',' and '_' can be specified, and once");
	if (at < s->n_bytes && s->bytes[at] == '.') {
		size_t start = ++at;
		if (!format_read_int(s, &at, &spec->precision) || at == start)
			return fail_value(f, "Format specifier missing precision");
	}
	if (at < s->n_bytes && !(spec->type = s->bytes[at++]))
		return fail_value(f, "Unknown format code '\\x00'");
	if (at < s->n_bytes)
		return fail_value(f, "Invalid format specifier");
	if (spec->thousands && spec->type && !strchr(spec->thousands == ',' ? "deEfFgG%" : "deEfFgG%boxX", spec->type))
		return render_fail(f->r, "ValueError", "Cannot specify '%c' with '%c'.", spec->thousands, spec->type);
	return true;
}

/* What integers do not take, apart from '%' formats. */
static bool check_integer_spec(struct braces *f, const struct format_spec *spec)
{
	if (spec->type && !strchr("bcdnoxX", spec->type))
		return true; /* as a float, or refused */
	if (spec->precision >= 0)
		return fail_value(f, "Precision not allowed in integer format specifier");
	if (spec->type == 'c' && (spec->sign || spec->alternate))
		return fail_value(f, "Sign and alternate form (#) not allowed with integer format specifier 'c'");
	return true;
}

static bool format_string(struct braces *f, struct format_spec *spec, const struct value *value, struct builder *out)
{
	struct value text = *value;
	if (spec->type && spec->type != 's')
		return render_fail(f->r, "ValueError", "Unknown format code '%c' for object of type 'str'", spec->type);
	if (spec->align == '=' || spec->sign || spec->thousands || spec->alternate)
		return fail_value(f, "a string takes no sign, no separators, no alternate form (#) and no '=' alignment");
	if (spec->precision >= 0 && spec->precision < string_chars(value->string) &&
	    !string_slice(f->r, value->string, 0, string_offset(value->string, spec->precision), &text))
		return false;
	if (spec->zero && !spec->fill.n_bytes)
		spec->fill = (struct string){.bytes = "0", .n_bytes = 1, .n_chars = 1};
	format_pad(out, spec, text.string, false);
	return true;
}

static bool format_plain(struct braces *f, const struct value *value, const struct string *text, struct builder *out)
{
	struct format_spec spec;
	struct value digits;
	struct builder number = {.r = f->r};
	bool plain = text->n_bytes == 0;
	if (plain) {
		value_write_str(out, value);
		return true;
	}
	if (!value_is_number(value) && value->kind != VALUE_BIG && value->kind != VALUE_STRING)
		return render_fail(f->r, "TypeError", "unsupported format string passed to %s.__format__",
		                   value_type_name(value));
	if (!read_spec(f, text, &spec))
		return false;
	if (value->kind == VALUE_STRING)
		return format_string(f, &spec, value, out);
	if (value->kind != VALUE_FLOAT && !check_integer_spec(f, &spec))
		return false;
	if (spec.zero && !spec.fill.n_bytes)
		spec.fill = (struct string){.bytes = "0", .n_bytes = 1, .n_chars = 1};
	if (spec.zero && !spec.align)
		spec.align = '=';
	if (!format_number(f->r, &spec, value, &number) || !builder_finish(&number, &digits))
		return false;
	format_pad(out, &spec, digits.string, true);
	return true;
}

static bool format_value(struct braces *f, const struct value *value, const struct string *text, struct builder *out)
{
	struct builder b = {.r = f->r};
	struct value plain, escaped;
	bool safe = value_is_safe(value);
	if (!f->escapes || (safe && text->n_bytes == 0))
		return format_plain(f, value, text, out);
	if (safe)
		return fail_value(f, "Unsupported format specification for Markup.");
	if (!format_plain(f, value, text, &b) || !builder_finish(&b, &plain) ||
	    !string_escape(f->r, plain.string, &escaped))
		return false;
	builder_add_string(out, escaped.string, 0, escaped.string->n_bytes);
	return true;
}

static bool convert(struct braces *f, char conversion, struct value *value)
{
	struct value text;
	if (conversion == 0)
		return true;
	if (!strchr("sra", conversion))
		return fail_value(f, "Unknown conversion specifier");
	bool ok = conversion == 's'   ? value_str(f->r, value, &text)
	          : conversion == 'r' ? value_repr(f->r, value, &text)
	                              : value_ascii(f->r, value, &text);
	*value = ok ? text : *value;
	return ok;
}

/* ---- the whole ---- */

/* The end of a field that starts behind '{': its '}' on the same level; SIZE_MAX: none. */
static size_t field_end(const struct string *s, size_t at)
{
	int depth = 1;
	for (; at < s->n_bytes; at++) {
		depth += (s->bytes[at] == '{') - (s->bytes[at] == '}');
		if (depth == 0)
			return at;
	}
	return SIZE_MAX;
}

static bool format_field(struct braces *f, const struct string *s, size_t start, size_t end, int depth,
                         struct builder *out)
{
	size_t name_end = start, brackets = 0;
	char conversion = 0;
	struct value value = {.kind = VALUE_MISSING}, inner = value, spec = value;
	while (name_end < end && (brackets || (s->bytes[name_end] != '!' && s->bytes[name_end] != ':'))) {
		brackets += s->bytes[name_end] == '[';
		brackets -= brackets && s->bytes[name_end] == ']';
		name_end++;
	}
	if (!field_value(f, s, start, name_end, &value))
		return false;
	size_t at = name_end;
	if (at < end && s->bytes[at] == '!') {
		if (at + 1 >= end)
			return fail_value(f, "end of string while looking for conversion specifier");
		conversion = s->bytes[at + 1];
		at += 2;
		if (at < end && s->bytes[at] != ':')
			return fail_value(f, "expected ':' after conversion specifier");
	}
	at += at < end;
	return convert(f, conversion, &value) && string_slice(f->r, s, at, end, &inner) &&
	       format_text(f, inner.string, depth - 1, &spec) && format_value(f, &value, spec.string, out);
}

static bool format_text(struct braces *f, const struct string *s, int depth, struct value *out)
{
	struct builder b = {.r = f->r};
	if (depth < 0)
		return fail_value(f, "Max string recursion exceeded");
	for (size_t at = 0; at < s->n_bytes && !b.failed;) {
		size_t plain = at;
		while (at < s->n_bytes && s->bytes[at] != '{' && s->bytes[at] != '}')
			at++;
		builder_add_string(&b, s, plain, at);
		if (at == s->n_bytes)
			break;
		if (!render_step(f->r, 1))
			return false;
		if (at + 1 < s->n_bytes && s->bytes[at + 1] == s->bytes[at]) {
			builder_add_string(&b, s, at, at + 1);
			at += 2;
			continue;
		}
		if (s->bytes[at] == '}')
			return fail_value(f, "Single '}' encountered in format string");
		size_t end = field_end(s, at + 1);
		if (end == SIZE_MAX)
			return fail_value(f, at + 1 == s->n_bytes ? "Single '{' encountered in format string"
			                                          : "expected '}' before end of string");
		if (!format_field(f, s, at + 1, end, depth, &b))
			return false;
		at = end + 1;
	}
	return builder_finish(&b, out);
}

bool format_braces(struct render *r, const struct value *text, const struct arguments *arguments, struct value *out)
{
	struct braces f = {.r = r, .arguments = arguments, .escapes = text->safe};
	return format_text(&f, text->string, 2, out);
}
