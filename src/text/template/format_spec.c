#include "text/template/format_spec.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "text/unicode.h"

enum { MAX_NUMBER = 512 }; /* 309 digits, a point and FORMAT_MAX_PRECISION more */

bool format_read_int(const struct string *s, size_t *at, int64_t *out)
{
	int64_t value = 0;
	for (; *at < s->n_bytes && s->bytes[*at] >= '0' && s->bytes[*at] <= '9'; ++*at) {
		value = value * 10 + (s->bytes[*at] - '0');
		if (value > FORMAT_MAX_WIDTH)
			return false;
	}
	*out = value;
	return true;
}

void format_pad(struct builder *out, const struct format_spec *spec, struct string *text, bool number)
{
	const struct string *fill = spec->fill.n_bytes ? &spec->fill : NULL;
	int64_t missing = pad_missing(text, spec->width);
	char align = spec->align ? spec->align : number ? '>' : '<';
	if (missing == 0 || align == '<') {
		builder_add_string(out, text, 0, text->n_bytes);
		builder_pad(out, fill, missing);
	} else if (align == '=') {
		/* After sign and prefix. */
		size_t head = text->n_bytes && strchr("+- ", text->bytes[0]) ? 1 : 0;
		if (spec->alternate && text->n_bytes >= head + 2 && text->bytes[head] == '0' &&
		    strchr("xXob", text->bytes[head + 1]))
			head += 2;
		builder_add_string(out, text, 0, head);
		builder_pad(out, fill, missing);
		builder_add_string(out, text, head, text->n_bytes);
	} else {
		int64_t left = align == '>' ? missing : missing / 2;
		builder_pad(out, fill, left);
		builder_add_string(out, text, 0, text->n_bytes);
		builder_pad(out, fill, missing - left);
	}
}

/* The digits in groups; those that fill the width have zeros in front, in groups as well, which may make it one longer so
 * as not to begin with the mark. */
static void add_grouped(struct builder *out, const struct format_spec *spec, const char *digits, size_t n_digits,
                        int64_t width, bool from_data)
{
	size_t group = spec->type && strchr("boxX", spec->type) ? 4 : 3, n = n_digits;
	bool fills = spec->align == '=' && spec->fill.n_bytes == 1 && spec->fill.bytes[0] == '0';
	while (fills && (int64_t)(n + (n - 1) / group) < width)
		n++;
	if (!render_step(out->r, n / 8)) {
		out->failed = true;
		return;
	}
	for (size_t i = 0; i < n; i++) {
		if (i > 0 && (n - i) % group == 0)
			builder_add(out, &spec->thousands, 1, from_data);
		builder_add(out, n - i > n_digits ? "0" : &digits[n_digits - (n - i)], 1, from_data);
	}
}

static void integer_digits(uint64_t magnitude, char type, char *out)
{
	if (type == 'b') {
		int n = 0;
		for (int bit = 63; bit >= 0; bit--)
			if (n || magnitude >> bit & 1 || bit == 0)
				out[n++] = (char)('0' + (magnitude >> bit & 1));
		out[n] = 0;
	} else if (type == 'o') {
		sprintf(out, "%" PRIo64, magnitude);
	} else if (type == 'x') {
		sprintf(out, "%" PRIx64, magnitude);
	} else if (type == 'X') {
		sprintf(out, "%" PRIX64, magnitude);
	} else {
		sprintf(out, "%" PRIu64, magnitude);
	}
}

static void add_signed(struct builder *out, const struct format_spec *spec, bool negative, const char *prefix,
                       const char *digits, bool is_float, bool from_data)
{
	char sign = negative ? '-' : spec->sign == '-' ? 0 : spec->sign;
	size_t n_prefix = strlen(prefix), n = strlen(digits);
	/* Of an integer all, of a float those before the point. */
	size_t whole = spec->thousands ? strspn(digits, is_float ? "0123456789" : "0123456789abcdefABCDEF") : 0;
	if (sign)
		builder_add(out, &sign, 1, from_data);
	builder_add(out, prefix, n_prefix, from_data);
	if (whole)
		add_grouped(out, spec, digits, whole, spec->width - (int64_t)((sign != 0) + n_prefix + n - whole), from_data);
	builder_add(out, digits + whole, n - whole, from_data);
}

static bool format_integer(const struct format_spec *spec, const struct value *value, struct builder *out)
{
	char digits[MAX_NUMBER], prefix[3] = "";
	int64_t integer = 0;
	value_integral(value, &integer);
	uint64_t magnitude = integer < 0 ? 0 - (uint64_t)integer : (uint64_t)integer;
	integer_digits(magnitude, spec->type, digits);
	if (spec->alternate && spec->type && strchr("boxX", spec->type))
		sprintf(prefix, "0%c", spec->type);
	if (spec->type != 0 && spec->precision > (int64_t)strlen(digits) && spec->precision <= FORMAT_MAX_PRECISION) {
		size_t n = strlen(digits), missing = (size_t)spec->precision - n;
		memmove(digits + missing, digits, n + 1);
		memset(digits, '0', missing);
	}
	add_signed(out, spec, integer < 0, prefix, digits, false, value->from_data);
	return true;
}

/* "1.50e+02" -> "1.5e+02" */
static void strip_mantissa(char *digits)
{
	char *mark = strchr(digits, 'e'), *end = mark;
	assert(mark);
	if (!memchr(digits, '.', (size_t)(mark - digits)))
		return;
	while (end[-1] == '0')
		end--;
	end -= end[-1] == '.';
	memmove(end, mark, strlen(mark) + 1);
}

static void print_digits(char digits[MAX_NUMBER], bool alternate, char type, int precision, double number)
{
	char pattern[16];
	snprintf(pattern, sizeof pattern, "%%%s.*%c", alternate ? "#" : "", type);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	snprintf(digits, MAX_NUMBER, pattern, precision, number);
#pragma GCC diagnostic pop
}

/* In so many digits as str() would: with an exponent where none would be left behind the point. */
static void plain_digits(char digits[MAX_NUMBER], bool alternate, int precision, double number)
{
	precision = precision ? precision : 1;
	print_digits(digits, alternate, 'e', precision - 1, number);
	if (atoi(strchr(digits, 'e') + 1) != precision - 1) {
		print_digits(digits, alternate, 'g', precision, number);
		if (!strpbrk(digits, ".e"))
			strcat(digits, ".0");
	} else if (!alternate) {
		strip_mantissa(digits);
	}
}

/* As str(), which has a point before an exponent only where digits come between, unless `alternate`. */
static void shortest_digits(char digits[MAX_NUMBER], bool alternate, double number)
{
	float_repr(number, digits);
	char *mark = strchr(digits, 'e');
	if (!alternate || !mark || strchr(digits, '.'))
		return;
	memmove(mark + 1, mark, strlen(mark) + 1);
	*mark = '.';
}

static void float_digits(const struct format_spec *spec, double number, char digits[MAX_NUMBER])
{
	int precision = spec->precision < 0 ? 6 : (int)spec->precision;
	if (spec->type == 0 && spec->precision < 0)
		shortest_digits(digits, spec->alternate, number);
	else if (spec->type == 0)
		plain_digits(digits, spec->alternate, precision, number);
	else if (spec->type == '%')
		print_digits(digits, spec->alternate, 'f', precision, number * 100);
	else
		print_digits(digits, spec->alternate, spec->type == 'n' ? 'g' : spec->type, precision, number);
}

static bool format_float(const struct format_spec *spec, const struct value *value, struct builder *out)
{
	char digits[MAX_NUMBER];
	double number = value_as_double(value);
	bool negative = signbit(number) && !isnan(number);
	if (isnan(number) || isinf(number)) {
		bool upper = spec->type == 'F' || spec->type == 'E' || spec->type == 'G';
		strcpy(digits, isnan(number) ? (upper ? "NAN" : "nan") : (upper ? "INF" : "inf"));
	} else {
		float_digits(spec, fabs(number), digits);
	}
	if (spec->type == '%')
		strcat(digits, "%");
	add_signed(out, spec, negative, "", digits, true, value->from_data);
	return true;
}

bool format_number(struct render *r, const struct format_spec *spec, const struct value *value, struct builder *out)
{
	bool is_float_type = spec->type && strchr("eEfFgGn%", spec->type);
	if (spec->precision > FORMAT_MAX_PRECISION)
		return render_fail(r, "ValueError", "a precision beyond %d is not supported", FORMAT_MAX_PRECISION);
	if (value->kind == VALUE_BIG)
		return render_overflow(r);
	if (spec->type == 'c' && value->kind != VALUE_FLOAT) {
		int64_t code = 0;
		char text[4];
		value_integral(value, &code);
		if (code < 0 || code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF))
			return render_fail(r, "OverflowError", "%%c arg not in range(0x110000)");
		builder_add(out, text, (size_t)utf8_encode((unsigned)code, text), value->from_data);
		return true;
	}
	if (spec->type && !is_float_type && !strchr("bcdoxX", spec->type))
		return render_fail(r, "ValueError", "Unknown format code '%c' for object of type '%s'", spec->type,
		                   value_type_name(value));
	if (value->kind == VALUE_FLOAT && spec->type && !is_float_type)
		return render_fail(r, "ValueError", "Unknown format code '%c' for object of type 'float'", spec->type);
	if (value->kind != VALUE_FLOAT && !(is_float_type && spec->type != 'n'))
		return format_integer(spec, value, out);
	return float_steps(r, value_as_double(value)) && format_float(spec, value, out);
}
